//! What the API may answer, and what comes of it.

use serde_json::json;
use wiremock::ResponseTemplate;

use crate::support::{
    API_KEY, Action, RUN_ID, Server, StandIn, api_with_first_response, github, github_at, head, respond, response,
    run_json, run_json_with_url, shell, shell_at,
};

fn ok(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_string(body)
}

#[test]
fn an_answer_of_another_shape_is_unreadable_and_tried_again() {
    for body in [
        "null",
        "{}",
        "{\"export_files\":null}",
        "{\"export_files\":{\"id\":74780,\"status\":5}}",
        "{\"export_files\":{\"id\":-74780,\"status\":\"Available\"}}",
        "{\"export_files\":{\"id\":74780.0,\"status\":\"Available\"}}",
        "{\"export_files\":{\"id\":\"74780x\",\"status\":\"Available\"}}",
        "{\"export_files\":{\"id\":74780,\"status\":\"Available\",\"download_url\":5}}",
        "{\"export_files\":{\"id\":74780,\"status\":\"Available\",\"status\":\"Failed\"}}",
        "{\"export_files\":{\"id\":74780,\"status\":\"Available\"}} and more",
        "\u{feff}{}",
        &"[".repeat(100_000),
        &"{\"a\":".repeat(100_000),
    ] {
        let stand_in = StandIn::start();
        stand_in.next_api_response(ok(body));
        github(&stand_in).run().exited(0);
        assert_eq!(stand_in.api_requests().len(), 2, "{}", &body[..body.len().min(80)]);
    }
}

#[test]
fn fields_that_are_not_known_do_no_harm() {
    let stand_in = StandIn::start();
    let mut answer = run_json("Queued");
    answer["export_files"]["new"] = json!({ "deep": [1, 2, { "er": null }] });
    answer["meta"] = json!([]);
    stand_in.next_api_json(answer);
    github(&stand_in).run().exited(0);
}

/// 155 MB of nothing in less than 1 MiB of gzip (RFC 1951, section 3.2.6): a zero, and then "the last byte 258 times more",
/// which takes 13 bits, again and again.
fn bomb() -> Vec<u8> {
    let (start, zero, again, end) = ("110", "00110000", "1100010100000", "0000000");
    let bits = [start, zero].into_iter().chain(std::iter::repeat_n(again, 600_000)).chain([end]).flat_map(str::bytes);
    let mut packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    let (mut byte, mut count) = (0_u8, 0);
    for bit in bits {
        byte |= (bit - b'0') << count;
        count += 1;
        if count == 8 {
            packed.push(byte);
            (byte, count) = (0, 0);
        }
    }
    packed.push(byte);
    packed
}

#[test]
fn a_bomb_is_not_unpacked() {
    let bomb = bomb();
    assert!(bomb.len() < 1 << 20, "it is no larger than an answer may be");
    let stand_in = StandIn::start();
    let packed = || ResponseTemplate::new(200).insert_header("Content-Encoding", "gzip").set_body_bytes(bomb.clone());
    stand_in.next_api_response(packed()).next_api_response(packed());
    let outcome = shell(&stand_in).with_limited_memory().run().exited(0);
    assert_eq!(outcome.stdout.matches("something that is not JSON").count(), 2, "{}", outcome.stdout);
    assert!(stand_in.api_requests().iter().all(|request| !request.headers.contains_key("accept-encoding")));
}

#[test]
fn a_refusal_without_end_does_not_fill_the_memory() {
    let endless =
        || vec![Action::Send(head(404, &[], 1 << 40)), Action::Repeat(vec![b'x'; 1 << 16], 1 << 14), Action::Close];
    let api = Server::start(move |_| endless());
    let outcome = shell_at(&api.url()).with_limited_memory().run().exited(5);
    outcome.with_error("answered 404 (Not Found);");
    let stand_in = StandIn::start();
    stand_in.next_store_response(|_, _| {
        vec![Action::Send(head(403, &[], 1 << 40)), Action::Repeat(vec![b'x'; 1 << 16], 1 << 14), Action::Close]
    });
    shell(&stand_in).with_limited_memory().run().exited(0);
}

#[test]
fn what_is_not_http_is_a_broken_connection() {
    for (bytes, what) in [
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "another protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n".to_vec(), "a length that is none"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_vec(), "two lengths"),
        (b"HTTP/1.1 999999 Odd\r\n\r\n".to_vec(), "a status that is none"),
        (b"\0\0\0\0\0\0\0\0\r\n\r\n".to_vec(), "nothing"),
    ] {
        let api = api_with_first_response(vec![Action::Send(bytes), Action::Close]);
        let outcome = github_at(&api.url()).run().exited(3);
        assert_eq!(outcome.stdout.matches("; trying again in ").count(), 1, "{what}: {}", outcome.stdout);
    }
}

#[test]
fn headers_without_end_do_not_fill_the_memory() {
    let endless = || {
        let more = b"X-More: and more and more and more and more\r\n".repeat(1000);
        vec![Action::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), Action::Repeat(more, u64::MAX)]
    };
    let api = api_with_first_response(endless());
    let outcome = shell_at(&api.url()).with_limited_memory().run().exited(3);
    assert!(outcome.stdout.contains("message head is too large; trying again in "), "{}", outcome.stdout);
    let stand_in = StandIn::start();
    stand_in.next_store_response(move |_, _| endless());
    let outcome = shell(&stand_in).with_limited_memory().run().exited(0);
    assert!(outcome.stdout.contains("message head is too large; trying again in "), "{}", outcome.stdout);
}

#[test]
fn interim_answers_are_passed_over() {
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let empty = response(200, &[], run_json("Empty List").to_string().as_bytes());
    let api = api_with_first_response(vec![Action::Send(interim), Action::Send(empty)]);
    github_at(&api.url()).run().exited(3);
    assert_eq!(api.requests().len(), 1);
}

#[test]
fn an_answer_without_a_length_is_read_to_its_end() {
    let body = run_json("Empty List").to_string();
    let api = api_with_first_response(vec![
        Action::Send(format!("HTTP/1.0 200 OK\r\n\r\n{body}").into_bytes()),
        Action::Close,
    ]);
    github_at(&api.url()).run().exited(3);
    assert_eq!(api.requests().len(), 1);
}

#[test]
fn a_redirect_that_leads_nowhere_is_an_error_too() {
    for location in [None, Some("http://"), Some("javascript:alert(1)")] {
        let stand_in = StandIn::start();
        let redirect = ResponseTemplate::new(302);
        stand_in.next_api_response(match location {
            Some(location) => redirect.insert_header("Location", location),
            None => redirect,
        });
        github(&stand_in).run().exited(1);
        assert_eq!(stand_in.api_requests().len(), 1);
    }
}

#[test]
fn a_key_that_comes_back_is_not_told() {
    let stand_in = StandIn::start();
    let message = format!("no such key: {API_KEY}");
    stand_in.next_api_response(ResponseTemplate::new(404).set_body_json(json!({ "message": message })));
    github(&stand_in).run().exited(5).with_error("no such key: ***");
    stand_in.next_api_json(run_json(&format!("Odd {API_KEY}")));
    github(&stand_in).run().exited(0);
    let url = format!("{}/{API_KEY}.csv", stand_in.store().url());
    stand_in.next_api_json(run_json_with_url("Available", &url));
    github(&stand_in).run().exited(1).with_error("holds the API key");
}

#[test]
fn an_answer_to_the_start_may_name_any_run_and_only_that_is_waited_for() {
    let stand_in = StandIn::start();
    let mut started = run_json("Queued");
    started["export_files"]["id"] = json!("74780");
    stand_in.next_api_response(ResponseTemplate::new(201).set_body_json(started));
    let run = github(&stand_in).input("export-file-id", "").input("user-identity-id", "305");
    assert_eq!(run.run().exited(0).outputs["export-file-id"], RUN_ID.to_string());
}

#[test]
fn a_start_is_repeated_after_a_fault() {
    let stand_in = StandIn::start();
    stand_in.next_api_status(503).next_api_response(ok("<html>"));
    let run = github(&stand_in).input("export-file-id", "").input("user-identity-id", "305");
    run.run().exited(0);
    let posts = stand_in.api_requests().iter().filter(|request| request.method.as_str() == "POST").count();
    assert_eq!(posts, 3);
}

#[test]
fn white_space_around_a_download_url_is_no_part_of_it() {
    let stand_in = StandIn::start();
    let store = Server::start(|_| respond(200, &[], b"bytes"));
    let url = format!("\n {}/plain.csv\t\r\n", store.url());
    stand_in.next_api_json(run_json_with_url("Available", &url));
    assert_eq!(github(&stand_in).run().exited(0).files(), ["plain.csv"]);
    assert!(store.requests()[0].target.starts_with("/plain.csv?Signature="), "{:?}", store.requests());
}

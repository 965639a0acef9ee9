//! What the API may respond.

use serde_json::json;
use wiremock::ResponseTemplate;

use crate::support::{
    API_KEY, Action, RUN_ID, Server, StandIn, api_with_first_response, github, github_at, head, respond, response,
    run_json, run_json_with_url, shell, shell_at,
};

#[test]
fn ignores_unknown_fields() {
    let stand_in = StandIn::start();
    let mut run = run_json("Queued");
    run["export_files"]["new"] = json!({ "deep": [1, 2, { "er": null }] });
    run["meta"] = json!([]);
    stand_in.next_api_json(run);
    github(&stand_in).run().exited(0);
}

/// Returns 155 MB of zeros in less than 1 MiB of gzip: a zero, then 600,000 times the 13 bits that mean "repeat the last byte
/// 258 times" (RFC 1951, section 3.2.6).
fn gzip_bomb() -> Vec<u8> {
    let (start, zero, repeat, end) = ("110", "00110000", "1100010100000", "0000000");
    let bits = [start, zero].into_iter().chain(std::iter::repeat_n(repeat, 600_000)).chain([end]).flat_map(str::bytes);
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
fn decompresses_nothing() {
    let gzip_bomb = gzip_bomb();
    assert!(gzip_bomb.len() < 1 << 20, "it must be smaller than the limit of a response");
    let stand_in = StandIn::start();
    let packed =
        || ResponseTemplate::new(200).insert_header("Content-Encoding", "gzip").set_body_bytes(gzip_bomb.clone());
    stand_in.next_api_response(packed()).next_api_response(packed());
    let outcome = shell(&stand_in).with_limited_memory().run().exited(0);
    assert_eq!(outcome.stdout.matches("something that is not JSON").count(), 2, "{}", outcome.stdout);
    assert!(stand_in.api_requests().iter().all(|request| !request.headers.contains_key("accept-encoding")));
}

#[test]
fn endless_error_responses_use_little_memory() {
    let endless =
        || vec![Action::Send(head(404, &[], 1 << 40)), Action::Repeat(vec![b'x'; 1 << 16], 1 << 14), Action::Close];
    let api = Server::start(move |_| endless());
    let outcome = shell_at(&api.url()).with_limited_memory().run().exited(5);
    outcome.with_error("responded 404 (Not Found);");
    let stand_in = StandIn::start();
    stand_in.next_store_response(|_, _| {
        vec![Action::Send(head(403, &[], 1 << 40)), Action::Repeat(vec![b'x'; 1 << 16], 1 << 14), Action::Close]
    });
    shell(&stand_in).with_limited_memory().run().exited(0);
}

#[test]
fn endless_headers_use_little_memory() {
    let endless = || {
        let more = b"X-More: and more and more and more and more\r\n".repeat(1000);
        vec![Action::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), Action::Repeat(more, u64::MAX)]
    };
    let api = api_with_first_response(endless());
    let outcome = shell_at(&api.url()).with_limited_memory().run().exited(3);
    assert!(outcome.stdout.contains("message head is too large; retrying in "), "{}", outcome.stdout);
    let stand_in = StandIn::start();
    stand_in.next_store_response(move |_, _| endless());
    let outcome = shell(&stand_in).with_limited_memory().run().exited(0);
    assert!(outcome.stdout.contains("message head is too large; retrying in "), "{}", outcome.stdout);
}

#[test]
fn skips_interim_responses() {
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let empty = response(200, &[], run_json("Empty List").to_string().as_bytes());
    let api = api_with_first_response(vec![Action::Send(interim), Action::Send(empty)]);
    github_at(&api.url()).run().exited(3);
    assert_eq!(api.requests().len(), 1);
}

#[test]
fn accepts_a_response_without_a_length() {
    let body = run_json("Empty List").to_string();
    let api = api_with_first_response(vec![
        Action::Send(format!("HTTP/1.0 200 OK\r\n\r\n{body}").into_bytes()),
        Action::Close,
    ]);
    github_at(&api.url()).run().exited(3);
    assert_eq!(api.requests().len(), 1);
}

#[test]
fn a_redirect_is_an_error_that_names_only_the_origin() {
    let elsewhere = format!("https://elsewhere.example:8443/secret?api_key={API_KEY}");
    for (location, error) in [
        (Some(elsewhere.as_str()), "redirected to https://elsewhere.example:8443;"),
        (Some("/secret"), "redirected to http"),
        (Some("http://"), ""),
        (Some("javascript:alert(1)"), ""),
        (None, ""),
    ] {
        let stand_in = StandIn::start();
        let response = ResponseTemplate::new(302);
        stand_in.next_api_response(match location {
            Some(location) => response.insert_header("Location", location),
            None => response,
        });
        let outcome = github(&stand_in).run().exited(1).with_error(error);
        assert!(!outcome.mentions("secret"), "{}", outcome.stdout);
        assert_eq!(stand_in.api_requests().len(), 1, "{location:?}");
    }
}

#[test]
fn trims_the_download_url() {
    let stand_in = StandIn::start();
    let store = Server::start(|_| respond(200, &[], b"bytes"));
    let url = format!("\n {}/plain.csv\t\r\n", store.url());
    stand_in.next_api_json(run_json_with_url("Available", &url));
    assert_eq!(github(&stand_in).run().exited(0).files(), ["plain.csv"]);
    assert!(store.requests()[0].target.starts_with("/plain.csv?Signature="), "{:?}", store.requests());
}

#[test]
fn rejects_a_response_over_1_mib() {
    let stand_in = StandIn::start();
    stand_in.next_api_response(ResponseTemplate::new(200).set_body_string(" ".repeat((1 << 20) + 1)));
    github(&stand_in).run().exited(1).with_error("more than 1 MiB");
    assert_eq!(stand_in.api_requests().len(), 1);
}

#[test]
fn refusals_end_with_code_5_and_the_message_of_the_api() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in).input("api-key", "wrong").run().exited(5);
    outcome.with_error("responded 401 (Unauthorized)").with_error("check api-key");
    let outcome = github(&stand_in).input("export-file-id", "1").run().exited(5);
    outcome.with_error("responded 404 (Not Found);");
    let outcome = github(&stand_in).by_identity_id().input("user-identity-id", "999").run().exited(5);
    outcome.with_error("User identity '999' not found;").with_error("check user-identity-id and export-id");
    stand_in.next_api_error(403, json!({ "errors": { "schema": ["is odd"] } }));
    github(&stand_in).run().exited(5).with_error("responded 403 (Forbidden): schema: is odd");
}

#[test]
fn rejects_a_response_for_another_run() {
    let stand_in = StandIn::start();
    let url = stand_in.store().url();
    stand_in.next_api_json(json!({ "export_files": { "id": 1, "status": "Available", "download_url": url } }));
    let outcome = github(&stand_in).run().exited(1);
    outcome.with_error("responded with run 1 instead of run 74780");
    assert!(stand_in.store().requests().is_empty());
}

#[test]
fn accepts_ids_in_strings_and_warns_about_another_export() {
    let stand_in = StandIn::start();
    let run = json!({ "export_files": { "id": RUN_ID.to_string(), "export_id": 5, "status": "Queued" } });
    // The first one is the response to the start of the run, the second one to a check.
    stand_in.next_api_json(run.clone()).next_api_json(run);
    let outcome = github(&stand_in).by_identity_id().run().exited(0);
    assert_eq!(outcome.outputs["export-file-id"], RUN_ID.to_string());
    assert!(
        outcome.stdout.contains("the run belongs to export 5 according to WebAdMIT, not to export 86446"),
        "{}",
        outcome.stdout
    );
}

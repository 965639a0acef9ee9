//! Which requests to the API are retried, and when.

use rustix::process::Signal;
use wiremock::ResponseTemplate;

use crate::support::{
    Action, ClosedPort, EXPORT_ID, FILENAME, RUN_ID, Server, StandIn, api_with_first_response, github, github_at, head,
    respond, run_json, run_of_export_json, with_growing_timeout,
};

fn unavailable(headers: &[(&str, &str)]) -> ResponseTemplate {
    headers.iter().fold(ResponseTemplate::new(503), |response, (name, value)| response.insert_header(*name, *value))
}

#[test]
fn retries_temporary_error_statuses_of_the_api() {
    let stand_in = StandIn::with_statuses(&["Queued", "Available"]);
    for code in [408, 425, 429, 500, 502, 503, 504] {
        stand_in.next_api_status(code);
    }
    stand_in.next_api_response(ResponseTemplate::new(403).insert_header("X-RateLimit-Remaining", "0"));
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.read(FILENAME), stand_in.file());
    assert!(outcome.stdout.contains("responded 503 (Service Unavailable); retrying in "), "{}", outcome.stdout);
    assert!(outcome.summary.contains("Recovered from: 1 × 408 from the API"), "{}", outcome.summary);
    assert_eq!(outcome.stdout.matches("::error").count(), 0);
}

#[test]
fn permanent_error_statuses_of_the_api_end_the_step() {
    for (code, exit) in [(400, 1), (401, 5), (403, 5), (404, 5), (405, 1), (410, 1), (422, 1), (501, 1), (505, 1)] {
        let stand_in = StandIn::start();
        stand_in.next_api_status(code);
        github(&stand_in).run().exited(exit);
        assert_eq!(stand_in.api_requests().len(), 1, "{code}");
    }
}

#[test]
fn retries_an_unreadable_response() {
    let bodies = [
        "<html>We are down for maintenance</html>",
        "",
        "null",
        "{}",
        "[1,2]",
        "\u{feff}{}",
        "{\"export_files\":null}",
        "{\"export_files\":[]}",
        "{\"export_files\":{\"id\":74780,\"sta",
        "{\"export_files\":{\"id\":74780}}",
        "{\"export_files\":{\"id\":74780,\"status\":5}}",
        "{\"export_files\":{\"id\":null,\"status\":\"Available\"}}",
        "{\"export_files\":{\"id\":-74780,\"status\":\"Available\"}}",
        "{\"export_files\":{\"id\":74780.0,\"status\":\"Available\"}}",
        "{\"export_files\":{\"id\":\"74780x\",\"status\":\"Available\"}}",
        "{\"export_files\":{\"id\":74780,\"status\":\"Available\",\"download_url\":5}}",
        "{\"export_files\":{\"id\":74780,\"status\":\"Available\",\"status\":\"Failed\"}}",
        "{\"export_files\":{\"id\":74780,\"status\":\"Available\"}} and more",
        &"[".repeat(100_000),
        &"{\"a\":".repeat(100_000),
        // Available, but without a URL.
        &run_json("Available").to_string(),
        &run_of_export_json(RUN_ID, EXPORT_ID, "Available", Some("")).to_string(),
    ];
    for body in bodies {
        let stand_in = StandIn::start();
        stand_in.next_api_response(ResponseTemplate::new(200).set_body_string(body));
        let outcome = github(&stand_in).run().exited(0);
        assert_eq!(stand_in.api_requests().len(), 2, "{}", &body[..body.len().min(80)]);
        assert_eq!(outcome.read(FILENAME), stand_in.file());
        assert!(!outcome.mentions("We are down"), "{}", outcome.stdout);
    }
}

#[test]
fn obeys_retry_after() {
    // The log names each delay. Without `Retry-After` it is at most 50 ms.
    let stand_in = StandIn::start();
    let date = ("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
    stand_in.next_api_response(unavailable(&[("Retry-After", "1")]));
    stand_in.next_api_response(unavailable(&[date, ("Retry-After", "Sun, 06 Nov 1994 08:49:38 GMT")]));
    stand_in.next_api_response(unavailable(&[("Retry-After", "soon")]));
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.stdout.matches("retrying in 1 s\n").count(), 2, "{}", outcome.stdout);
    assert_eq!(outcome.stdout.matches("; retrying in ").count(), 3, "{}", outcome.stdout);
}

#[test]
fn a_retry_after_beyond_the_timeout_ends_the_step() {
    let stand_in = StandIn::start();
    stand_in.next_api_response(unavailable(&[("Retry-After", "7200")]));
    let outcome = github(&stand_in).input("timeout", "30m").run().exited(4);
    outcome.with_error(
        "the server asked to retry after 2 h (Retry-After), but the step times out before that (timeout: 30 min)",
    );
    assert_eq!(stand_in.api_requests().len(), 1);
}

#[test]
fn accepts_a_retry_after_with_any_number_of_digits() {
    for (digits, timeout) in [("99999999999999999999999", "1h"), ("18446744073709551615", "18446744073709551614s")] {
        let stand_in = StandIn::start();
        stand_in.next_api_json(run_json("Queued"));
        stand_in.next_api_response(unavailable(&[("Retry-After", digits)]));
        let outcome = github(&stand_in).input("timeout", timeout).run().exited(4);
        outcome.with_error(
            "the server asked to retry after more than a century (Retry-After), but the step times out before that (timeout: ",
        );
    }
}

#[test]
fn retries_a_broken_connection() {
    for actions in [
        vec![Action::Reset],
        vec![Action::Close],
        vec![Action::Send(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), Action::Reset],
        vec![Action::Send(head(200, &[], 500)), Action::Send(b"{\"export".to_vec()), Action::Close],
    ] {
        let api = api_with_first_response(actions);
        let outcome = github_at(&api.url()).run().exited(3);
        assert_eq!(outcome.outputs["status"], "empty_list");
        assert_eq!(outcome.stdout.matches("; retrying in ").count(), 1, "{}", outcome.stdout);
    }
}

#[test]
fn retries_a_host_that_refuses_connections() {
    let api = ClosedPort::new();
    let cause = format!("cannot connect to {}: connection refused", api.address());
    let run = || github_at(&api.url());
    let outcome = with_growing_timeout(
        |timeout| run().input("timeout", timeout).run(),
        |outcome| outcome.stdout.contains(&cause),
    );
    outcome.exited(4).with_error(&cause).with_error("check base-url");
}

#[test]
fn retries_a_response_that_is_not_http() {
    for (bytes, what) in [
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "another protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n".to_vec(), "an invalid length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_vec(), "two lengths"),
        (b"HTTP/1.1 999999 Odd\r\n\r\n".to_vec(), "an invalid status"),
        (b"\0\0\0\0\0\0\0\0\r\n\r\n".to_vec(), "zero bytes"),
    ] {
        let api = api_with_first_response(vec![Action::Send(bytes), Action::Close]);
        let outcome = github_at(&api.url()).run().exited(3);
        assert_eq!(outcome.stdout.matches("; retrying in ").count(), 1, "{what}: {}", outcome.stdout);
    }
}

#[test]
fn retries_the_start_of_a_run() {
    let stand_in = StandIn::start();
    stand_in.next_api_status(503).next_api_response(ResponseTemplate::new(200).set_body_string("<html>"));
    let step = github(&stand_in).by_identity_id();
    step.run().exited(0);
    let posts = stand_in.api_requests().iter().filter(|request| request.method.as_str() == "POST").count();
    assert_eq!(posts, 3);
}

#[test]
fn obeys_a_long_retry_after_of_the_first_response() {
    for (status, headers, wait) in [
        (429, [("Retry-After", "600"), ("X", "x")], "10 min"),
        (503, [("Retry-After", "Sun, 06 Nov 1994 09:19:37 GMT"), ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")], "30 min"),
        (403, [("Retry-After", "1800"), ("X-RateLimit-Remaining", "0")], "30 min"),
    ] {
        let api = Server::start(move |_| respond(status, &headers, b""));
        let running = github_at(&api.url()).input("timeout", "1h").spawn();
        running.wait_for_stdout(&format!("; retrying in {wait}\n"));
        running.signal(Signal::TERM);
        running.wait().exited(143).with_error("interrupted by SIGTERM");
        assert_eq!(api.requests().len(), 1, "{status}");
    }
}

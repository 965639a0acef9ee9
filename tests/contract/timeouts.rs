//! The input `timeout`: what it ends, and what the error names.

use std::sync::Mutex;
use std::time::Duration;

use wiremock::ResponseTemplate;

use crate::support::{
    Action, FILENAME, Server, StandIn, applicants_csv, displayed, github, github_at, head, respond,
    with_growing_timeout,
};

#[test]
fn names_the_timeout_and_the_last_status() {
    let stand_in = StandIn::with_statuses(&["In Progress"]);
    let run = |timeout: &_| {
        let outcome = github(&stand_in).input("timeout", timeout).run();
        outcome.with_error(&format!("timed out after {}", displayed(timeout)))
    };
    let outcome = with_growing_timeout(run, |outcome| outcome.outputs.contains_key("status")).exited(4);
    assert_eq!(outcome.outputs["status"], "in_progress");
    let outcome = outcome.with_error("last status: in_progress");
    assert_eq!(outcome.files(), [""; 0]);
}

#[test]
fn runs_a_final_check_at_the_timeout() {
    let run = |timeout: &_| {
        let stand_in = StandIn::with_statuses(&["In Progress", "Available"]);
        let run = github(&stand_in).input("poll-interval", "1h").input("timeout", timeout);
        let outcome = run.run();
        // A machine that is too slow for the first check makes no second one.
        assert!(outcome.status.success() || stand_in.api_requests().len() < 2, "{}", outcome.stdout);
        outcome
    };
    assert_eq!(with_growing_timeout(run, |outcome| outcome.status.success()).exited(0).files(), [FILENAME]);
}

#[test]
fn ends_a_stalled_download() {
    let run = |timeout: &_| {
        let stand_in = StandIn::start();
        stand_in.next_store_response(|_, _| {
            vec![Action::Send(head(200, &[], 1000)), Action::Send(vec![b'x'; 500]), Action::Hang]
        });
        let outcome = github(&stand_in).input("timeout", timeout).run().exited(4);
        outcome.with_error(&format!("timed out after {}", displayed(timeout)))
    };
    let words = " during the download, at 500 bytes of 1.0 kB";
    let outcome = with_growing_timeout(run, |outcome| outcome.error().contains(words)).with_error(words);
    assert_eq!((outcome.files().len(), outcome.outputs["status"].as_str()), (0, "available"));
}

#[test]
fn ends_a_request_without_a_response() {
    let api = Server::start(|_| vec![Action::Hang]);
    let run = |timeout: &_| {
        let outcome = github_at(&api.url()).input("timeout", timeout).run().exited(4);
        outcome.with_error(&format!("timed out after {}; no status was received", displayed(timeout)))
    };
    with_growing_timeout(run, |outcome| outcome.error().contains("did not respond in time"))
        .with_error("did not respond in time");
}

#[test]
fn ends_a_backoff_and_names_the_last_error() {
    let api = Server::start(|_| respond(500, &[], b""));
    let run = || github_at(&api.url()).input("poll-interval", "1h");
    let run = |timeout: &_| run().input("timeout", timeout).run().exited(4);
    let outcome = with_growing_timeout(run, |outcome| outcome.error().contains("responded 500"));
    outcome.with_error("last error: 127.0.0.1").with_error("responded 500");
}

#[test]
fn starts_no_run_after_the_timeout() {
    let stand_in = StandIn::start();
    for body in [stand_in.identities_json(), stand_in.exports_json()] {
        let slow = ResponseTemplate::new(200).set_body_json(body);
        stand_in.next_api_response(slow.set_delay(Duration::from_millis(400)));
    }
    let step = github(&stand_in).by_names().input("timeout", "600ms");
    step.run().exited(4).with_error("timed out after 600 ms; no status was received");
    assert!(stand_in.api_requests().iter().all(|request| request.method.as_str() == "GET"), "a run was started");
}

#[test]
fn names_the_last_error_of_the_store() {
    let stand_in = StandIn::builder().url_lifetime(Duration::ZERO).start();
    let run = || github(&stand_in).input("poll-interval", "1h");
    let run = |timeout: &_| {
        let outcome = run().input("timeout", timeout).run().exited(4);
        outcome.with_error(&format!("timed out after {}", displayed(timeout)))
    };
    let outcome = with_growing_timeout(run, |outcome| outcome.error().contains("last error: the store ("));
    outcome
        .with_error(" before the first byte of the file")
        .with_error("last error: the store (")
        .with_error("responded 403 (Forbidden): code AccessDenied")
        .with_error("hint: re-run the step; WebAdMIT keeps the run and its file");
}

#[test]
fn names_the_last_error_before_a_request_without_a_response() {
    let run = |timeout: &_| {
        let first = Mutex::new(Some(respond(503, &[], b"")));
        let api = Server::start(move |_| first.lock().unwrap().take().unwrap_or_else(|| vec![Action::Hang]));
        github_at(&api.url()).by_names().input("timeout", timeout).run().exited(4)
    };
    let words = "responded 503 (Service Unavailable) (2 attempts in ";
    with_growing_timeout(run, |outcome| outcome.error().contains(words)).with_error(words);
}

#[test]
fn suggests_a_longer_timeout_if_the_store_does_not_respond() {
    let run = |timeout: &_| {
        let stand_in = StandIn::start();
        stand_in.next_store_response(|_, _| vec![Action::Hang]);
        github(&stand_in).input("timeout", timeout).run().exited(4)
    };
    let words = "before the first byte of the file; last status: available";
    with_growing_timeout(run, |outcome| outcome.error().contains(words))
        .with_error(words)
        .with_error("hint: set a longer timeout");
}

#[test]
fn ends_a_slow_download() {
    let stand_in = StandIn::with_file(&applicants_csv(500));
    let run = |timeout: &_| {
        stand_in.next_store_response(|_, file| {
            let head = head(200, &[], file.bytes.len());
            vec![Action::Send(head), Action::Drip(file.bytes.clone(), Duration::from_millis(20))]
        });
        github(&stand_in).input("timeout", timeout).run().exited(4)
    };
    let words = " during the download, at ";
    let outcome = with_growing_timeout(run, |outcome| outcome.error().contains(words)).with_error(words);
    assert_eq!(outcome.files(), [""; 0]);
}

#[test]
fn ends_a_look_up() {
    let stand_in = StandIn::start();
    for _ in 0..50 {
        stand_in.next_api_status(503);
    }
    let step = github(&stand_in).by_names().input("timeout", "300ms");
    step.run()
        .exited(4)
        .with_error("new run of export `Nightly Applicants`, identity `SOPHAS`: timed out after 300 ms");
}

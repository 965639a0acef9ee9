//! Interruptions: exit codes 130 and 143.

use std::hint::spin_loop;
use std::sync::Arc;

use rustix::process::Signal;
use wiremock::ResponseTemplate;

use crate::support::{Action, Gate, Server, StandIn, github, github_at, head, respond, shell_at};

#[test]
fn a_signal_while_waiting_ends_the_step_and_writes_the_outputs() {
    for (signal, code, name) in [(Signal::INT, 130, "SIGINT"), (Signal::TERM, 143, "SIGTERM")] {
        let stand_in = StandIn::with_statuses(&["In Progress"]);
        let running = github(&stand_in).input("poll-interval", "1h").spawn();
        running.wait_for_stdout("status: in_progress");
        running.signal(signal);
        let outcome = running.wait().exited(code).with_error(&format!("interrupted by {name}"));
        assert_eq!(outcome.outputs["status"], "in_progress");
        assert!(outcome.summary.contains(name), "{}", outcome.summary);
    }
}

#[test]
fn a_signal_in_the_middle_of_a_download_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let stand_in = StandIn::start();
        stand_in.next_store_response(|_, _| {
            vec![Action::Send(head(200, &[], 1000)), Action::Send(vec![b'x'; 500]), Action::Hang]
        });
        let run = github(&stand_in).input("directory", "new/deep").existing_file("older.csv", b"older");
        let running = run.spawn();
        running.wait_for_stdout("downloading ");
        running.signal(signal);
        let outcome = running.wait().exited(if signal == Signal::INT { 130 } else { 143 });
        assert_eq!(outcome.files(), ["older.csv"]);
        assert_eq!(outcome.outputs["status"], "available");
        assert!(!outcome.outputs.contains_key("path"));
    }
}

#[test]
fn a_signal_at_any_other_moment_ends_the_step_too() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let silent = Server::start(|_| vec![Action::Hang]);
        for run in [shell_at(&silent.url()), shell_at(&silent.url()).by_names()] {
            let before = silent.requests().len();
            let running = run.spawn();
            silent.wait_for_requests(before + 1);
            running.signal(signal);
            assert!(running.wait().exited(code).error().contains("interrupted by SIG"), "before the first answer");
        }
        let stand_in = StandIn::start();
        stand_in.next_api_response(ResponseTemplate::new(503).insert_header("Retry-After", "100"));
        let running = github(&stand_in).input("poll-interval", "1h").spawn();
        running.wait_for_stdout("trying again in ");
        running.signal(signal);
        running.wait().exited(code).with_error("interrupted by SIG");
        stand_in.next_store_response(|_, _| vec![Action::Hang]);
        let running = github(&stand_in).input("directory", "new").spawn();
        stand_in.store().wait_for_requests(1);
        running.signal(signal);
        let outcome =
            running.wait().exited(code).with_error("hint: the run stays in WebAdMIT: take it with export-file-id");
        assert_eq!(
            (outcome.files(), outcome.outputs["status"].as_str()),
            (vec![], "available"),
            "before the store's answer"
        );
    }
}

#[test]
fn a_first_answer_that_asks_for_a_long_wait_is_waited_for() {
    for (status, headers, wait) in [
        (429, [("Retry-After", "600"), ("X", "x")], "10 min"),
        (503, [("Retry-After", "Sun, 06 Nov 1994 09:19:37 GMT"), ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")], "30 min"),
        (403, [("Retry-After", "1800"), ("X-RateLimit-Remaining", "0")], "30 min"),
    ] {
        let api = Server::start(move |_| respond(status, &headers, b""));
        let running = github_at(&api.url()).input("timeout", "1h").spawn();
        running.wait_for_stdout(&format!("; trying again in {wait}\n"));
        running.signal(Signal::TERM);
        running.wait().exited(143).with_error("interrupted by SIGTERM");
        assert_eq!(api.requests().len(), 1, "{status}");
    }
}

/// The rename itself is one call of the system, which no signal divides. So the signal comes at many moments about it, and
/// each time there is one law: what is told is what is there.
#[test]
fn a_signal_about_the_rename_leaves_the_older_file_or_the_whole_new_one() {
    const NAME: &str = "Test-API-Export.csv";
    for moment in 0..40 {
        let (signal, its_code) = if moment % 2 == 0 { (Signal::TERM, 143) } else { (Signal::INT, 130) };
        let (stand_in, gate) = (StandIn::start(), Gate::new());
        let last_byte = Arc::clone(&gate);
        stand_in.next_store_response(move |_, _| {
            let start = [head(200, &[], 1000), vec![b'x'; 999]].concat();
            vec![Action::Send(start), Action::WaitFor(Arc::clone(&last_byte)), Action::Send(b"x".to_vec())]
        });
        let run = github(&stand_in).input("filename", NAME).existing_file(NAME, b"older");
        let running = run.spawn();
        running.wait_for_stdout("downloading ");
        gate.open();
        for _ in 0..moment * 5_000 {
            spin_loop();
        }
        running.signal(signal);
        let outcome = running.wait();
        let (code, is_told) = (outcome.status.code(), outcome.outputs.get("path").is_some_and(|path| path == NAME));
        assert_eq!(outcome.files(), [NAME]);
        assert!(outcome.read(NAME) == if is_told { vec![b'x'; 1000] } else { b"older".to_vec() }, "{}", outcome.stdout);
        assert!(code == Some(its_code) || code == Some(0) && is_told, "{code:?}");
    }
}

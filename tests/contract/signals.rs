//! SIGINT and SIGTERM, which end with the exit codes 130 and 143.

use std::fs;
use std::hint::spin_loop;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use wiremock::ResponseTemplate;

use crate::support::{Action, FILENAME, Gate, Server, StandIn, can_unshare, github, head, shell_at};

#[test]
fn a_signal_between_two_checks_writes_the_outputs() {
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
fn a_signal_during_a_download_removes_the_partial_file() {
    for signal in [Signal::INT, Signal::TERM] {
        let stand_in = StandIn::start();
        stand_in.next_store_response(|_, _| {
            vec![Action::Send(head(200, &[], 1000)), Action::Send(vec![b'x'; 500]), Action::Hang]
        });
        let step = github(&stand_in).input("directory", "new/deep").existing_file("older.csv", b"older");
        let running = step.spawn();
        running.wait_for_stdout("downloading ");
        running.signal(signal);
        let outcome = running.wait().exited(if signal == Signal::INT { 130 } else { 143 });
        assert_eq!(outcome.files(), ["older.csv"]);
        assert_eq!(outcome.outputs["status"], "available");
        assert!(!outcome.outputs.contains_key("path"));
    }
}

#[test]
fn a_signal_during_a_request_or_a_backoff_ends_the_step() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let silent = Server::start(|_| vec![Action::Hang]);
        for run in [shell_at(&silent.url()), shell_at(&silent.url()).by_names()] {
            let before = silent.requests().len();
            let running = run.spawn();
            silent.wait_for_requests(before + 1);
            running.signal(signal);
            assert!(running.wait().exited(code).error().contains("interrupted by SIG"), "before the first response");
        }
        let stand_in = StandIn::start();
        stand_in.next_api_response(ResponseTemplate::new(503).insert_header("Retry-After", "100"));
        let running = github(&stand_in).input("poll-interval", "1h").spawn();
        running.wait_for_stdout("retrying in ");
        running.signal(signal);
        running.wait().exited(code).with_error("interrupted by SIG");
        stand_in.next_store_response(|_, _| vec![Action::Hang]);
        let running = github(&stand_in).input("directory", "new").spawn();
        stand_in.store().wait_for_requests(1);
        running.signal(signal);
        let outcome = running.wait().exited(code).with_error("hint: to download this run later, re-run the step");
        assert_eq!(
            (outcome.files(), outcome.outputs["status"].as_str()),
            (vec![], "available"),
            "before the response of the store"
        );
    }
}

/// The rename is one atomic system call. The signal arrives at many moments around it. Each time, the outputs must say what is
/// at the destination.
#[test]
fn a_signal_around_the_rename_leaves_one_whole_file() {
    for moment in 0..40 {
        let (signal, signal_code) = if moment % 2 == 0 { (Signal::TERM, 143) } else { (Signal::INT, 130) };
        let (stand_in, gate) = (StandIn::start(), Gate::new());
        let last_byte = Arc::clone(&gate);
        stand_in.next_store_response(move |_, _| {
            let start = [head(200, &[], 1000), vec![b'x'; 999]].concat();
            vec![Action::Send(start), Action::WaitFor(Arc::clone(&last_byte)), Action::Send(b"x".to_vec())]
        });
        let step = github(&stand_in).input("filename", FILENAME).existing_file(FILENAME, b"older");
        let running = step.spawn();
        running.wait_for_stdout("downloading ");
        gate.open();
        for _ in 0..moment * 5_000 {
            spin_loop();
        }
        running.signal(signal);
        let outcome = running.wait();
        let (code, is_saved) =
            (outcome.status.code(), outcome.outputs.get("path").is_some_and(|path| path == FILENAME));
        assert_eq!(outcome.files(), [FILENAME]);
        assert!(
            outcome.read(FILENAME) == if is_saved { vec![b'x'; 1000] } else { b"older".to_vec() },
            "{}",
            outcome.stdout
        );
        assert!(code == Some(signal_code) || code == Some(0) && is_saved, "{code:?}");
    }
}

#[test]
fn signals_work_as_process_1() {
    if !can_unshare("--pid") {
        return;
    }
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let stand_in = StandIn::with_statuses(&["In Progress"]);
        let wrapper = ["unshare", "--pid", "--fork", "--map-root-user"];
        let step = github(&stand_in).input("poll-interval", "1h").wrapped_in(&wrapper);
        let running = step.spawn();
        running.wait_for_stdout("status: in_progress");
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.id())).unwrap();
        let child = children.split_whitespace().next().and_then(|id| Pid::from_raw(id.parse().unwrap())).unwrap();
        kill_process(child, signal).unwrap();
        assert_eq!(running.wait().exited(code).outputs["status"], "in_progress");
    }
}

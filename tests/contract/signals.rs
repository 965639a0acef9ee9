//! Interruptions: exit codes 130 and 143.

use std::hint::spin_loop;
use std::sync::Arc;

use rustix::process::Signal;
use wiremock::ResponseTemplate;

use crate::program;
use crate::support::wire::{Gate, head, response};
use crate::support::{Act, Course, Run, StandIn, Wire};

#[test]
fn a_signal_while_waiting_ends_the_step_and_writes_the_outputs() {
    for (signal, code, name) in [(Signal::INT, 130, "SIGINT"), (Signal::TERM, 143, "SIGTERM")] {
        let stand_in = StandIn::builder().course(Course::by_checks(&["In Progress"])).start();
        let running = Run::on_github(program()).against(&stand_in).input("poll-interval", "1h").spawn();
        running.wait_for_line("status: in_progress");
        running.signal(signal);
        let ended = running.end().exited(code).failing_with(&format!("interrupted by {name}"));
        assert_eq!(ended.outputs["status"], "in_progress");
        assert!(ended.summary.contains(name), "{}", ended.summary);
    }
}

#[test]
fn a_signal_in_the_middle_of_a_download_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let stand_in = StandIn::start();
        stand_in.store_next(|_, _| vec![Act::Send(head(200, &[], 1000)), Act::Send(vec![b'x'; 500]), Act::Hang]);
        let run = Run::on_github(program())
            .against(&stand_in)
            .input("directory", "new/deep")
            .file_before("older.csv", b"older");
        let running = run.spawn();
        running.wait_for_line("downloading ");
        running.signal(signal);
        let ended = running.end().exited(if signal == Signal::INT { 130 } else { 143 });
        assert_eq!(ended.files(), ["older.csv"]);
        assert_eq!(ended.outputs["status"], "available");
        assert!(!ended.outputs.contains_key("path"));
    }
}

#[test]
fn a_signal_at_any_other_moment_ends_the_step_too() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let silent = Wire::start(|_| vec![Act::Hang]);
        for run in
            [Run::in_shell(program()).asking(&silent.url()), Run::in_shell(program()).asking(&silent.url()).by_names()]
        {
            let before = silent.requests().len();
            let running = run.spawn();
            silent.wait_for_requests(before + 1);
            running.signal(signal);
            assert!(running.end().exited(code).failure().contains("interrupted by SIG"), "before the first answer");
        }
        let stand_in = StandIn::start();
        stand_in.api_next(ResponseTemplate::new(503).insert_header("Retry-After", "100"));
        let running = Run::on_github(program()).against(&stand_in).input("poll-interval", "1h").spawn();
        running.wait_for_line("trying again in ");
        running.signal(signal);
        running.end().exited(code).failing_with("interrupted by SIG");
        stand_in.store_next(|_, _| vec![Act::Hang]);
        let running = Run::on_github(program()).against(&stand_in).input("directory", "new").spawn();
        stand_in.store().wait_for_requests(1);
        running.signal(signal);
        let ended =
            running.end().exited(code).failing_with("hint: the run stays in WebAdMIT: take it with export-file-id");
        assert_eq!(
            (ended.files(), ended.outputs["status"].as_str()),
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
        let api = Wire::start(move |_| vec![Act::Send(response(status, &headers, b""))]);
        let running = Run::on_github(program()).asking(&api.url()).input("timeout", "1h").spawn();
        running.wait_for_line(&format!("; trying again in {wait}\n"));
        running.signal(Signal::TERM);
        running.end().exited(143).failing_with("interrupted by SIGTERM");
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
        stand_in.store_next(move |_, _| {
            let start = [head(200, &[], 1000), vec![b'x'; 999]].concat();
            vec![Act::Send(start), Act::Await(Arc::clone(&last_byte)), Act::Send(b"x".to_vec())]
        });
        let run = Run::on_github(program()).against(&stand_in).input("filename", NAME).file_before(NAME, b"older");
        let running = run.spawn();
        running.wait_for_line("downloading ");
        gate.open();
        for _ in 0..moment * 5_000 {
            spin_loop();
        }
        running.signal(signal);
        let ended = running.end();
        let (code, is_told) = (ended.status.code(), ended.outputs.get("path").is_some_and(|path| path == NAME));
        assert_eq!(ended.files(), [NAME]);
        assert!(ended.read(NAME) == if is_told { vec![b'x'; 1000] } else { b"older".to_vec() }, "{}", ended.stdout);
        assert!(code == Some(its_code) || code == Some(0) && is_told, "{code:?}");
    }
}

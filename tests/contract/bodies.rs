//! What the store may send, from the first byte to the last.

use std::time::Duration;

use crate::program;
use crate::support::stand_in::{File, answer, made_up_applicants, refusal};
use crate::support::wire::{head, response};
use crate::support::{Act, Course, Run, StandIn};

const FILE: &str = "Test-API-Export.csv";

fn stand_in() -> StandIn {
    StandIn::builder().file(File::new(&made_up_applicants(500))).start()
}

/// Runs against the stand-in, and checks that the whole file came in so many attempts.
#[track_caller]
fn comes_whole(stand_in: &StandIn, attempts: usize) {
    let ended = Run::on_github(program()).against(stand_in).run().exited(0);
    assert_eq!((ended.files(), ended.read(FILE)), (vec![FILE.to_owned()], stand_in.file()));
    assert_eq!(stand_in.store().requests().len(), attempts, "{}", ended.stdout);
}

#[test]
fn every_status_that_is_not_the_file_gets_a_fresh_url() {
    let stand_in = stand_in();
    for status in [403, 404, 500] {
        stand_in.store_next(move |_, _| vec![Act::Send(refusal(status, "AccessDenied"))]);
    }
    stand_in.store_next(|_, _| vec![Act::Send(response(204, &[], b""))]);
    stand_in.store_next(|_, _| vec![Act::Send(response(304, &[], b""))]);
    stand_in.store_next(|_, _| vec![Act::Send(refusal(503, "SlowDown"))]);
    comes_whole(&stand_in, 7);
}

#[test]
fn a_reset_at_any_point_is_overcome() {
    let stand_in = stand_in();
    stand_in.store_next(|_, _| vec![Act::Reset]);
    stand_in.store_next(|_, file| vec![Act::Send(head(200, &[], file.bytes.len())), Act::Reset]);
    stand_in.store_next(|request, file| {
        let whole = answer(request, file, &[]);
        vec![Act::Send(whole[..whole.len() - 1].to_vec()), Act::Reset]
    });
    comes_whole(&stand_in, 4);
}

#[test]
fn a_file_that_cannot_be_resumed_is_started_over() {
    for etag in [None, Some("W/\"weak\"".to_owned()), Some("unquoted".to_owned())] {
        let file = File { etag, ..File::new(&made_up_applicants(500)) };
        let stand_in = StandIn::builder().file(file).start();
        stand_in.store_cuts_after(5000).store_cuts_after(9000);
        comes_whole(&stand_in, 3);
        assert!(stand_in.store().requests().iter().all(|request| request.header("range").is_none()));
    }
}

#[test]
fn a_200_where_a_range_was_asked_is_taken_from_the_beginning() {
    let stand_in = stand_in();
    stand_in.store_cuts_after(5000);
    stand_in.store_next(|_, file| vec![Act::Send(response(200, &[("ETag", "\"other\"")], &file.bytes))]);
    comes_whole(&stand_in, 2);
    assert_eq!(stand_in.store().requests()[1].header("range"), Some("bytes=5000-"));
}

#[test]
fn a_range_that_is_not_satisfiable_and_a_failed_precondition_start_the_file_over() {
    for (status, code) in [(416, "InvalidRange"), (412, "PreconditionFailed")] {
        let stand_in = stand_in();
        stand_in.store_cuts_after(5000).store_next(move |_, _| vec![Act::Send(refusal(status, code))]);
        comes_whole(&stand_in, 3);
        assert_eq!(stand_in.store().requests()[2].header("range"), None, "{status}");
    }
}

#[test]
fn a_part_that_nobody_asked_for_is_not_taken() {
    let stand_in = stand_in();
    stand_in.store_next(|_, file| {
        let range = format!("bytes 0-{}/{}", file.bytes.len() - 1, file.bytes.len());
        vec![Act::Send(response(206, &[("Content-Range", &range)], &file.bytes))]
    });
    comes_whole(&stand_in, 2);
}

#[test]
fn a_part_that_is_longer_than_it_says_is_not_joined() {
    let stand_in = stand_in();
    stand_in.store_cuts_after(5000);
    stand_in.store_next(|_, file| {
        let (total, etag) = (file.bytes.len(), file.etag.clone().unwrap());
        let range = format!("bytes 5000-{}/{total}", total - 1);
        let head = head(206, &[("ETag", &etag), ("Content-Range", &range), ("Transfer-Encoding", "chunked")], 0);
        let body = [&file.bytes[5000..], b"more"].concat();
        vec![
            Act::Send(head),
            Act::Send(format!("{:x}\r\n", body.len()).into_bytes()),
            Act::Send(body),
            Act::Send(b"\r\n0\r\n\r\n".to_vec()),
        ]
    });
    comes_whole(&stand_in, 3);
}

#[test]
fn short_parts_add_up() {
    let stand_in = stand_in();
    stand_in.store_cuts_after(5000);
    stand_in.store_next(|_, file| {
        let (total, etag) = (file.bytes.len(), file.etag.clone().unwrap());
        let range = format!("bytes 5000-5999/{total}");
        vec![Act::Send(response(206, &[("ETag", &etag), ("Content-Range", &range)], &file.bytes[5000..6000]))]
    });
    comes_whole(&stand_in, 3);
    assert_eq!(stand_in.store().requests()[2].header("range"), Some("bytes=6000-"));
}

#[test]
fn what_comes_after_the_announced_end_is_no_part_of_the_file() {
    let stand_in = stand_in();
    stand_in.store_next(|request, file| {
        vec![Act::Send([answer(request, file, &[]), b"and something else".to_vec()].concat()), Act::Close]
    });
    comes_whole(&stand_in, 1);
}

#[test]
fn a_body_that_drips_comes_whole() {
    let stand_in = StandIn::builder().file(File::new(b"drip, drip, drip")).start();
    stand_in.store_next(|request, file| vec![Act::Drip(answer(request, file, &[]), Duration::from_millis(1))]);
    comes_whole(&stand_in, 1);
}

#[test]
fn a_url_that_has_really_expired_is_replaced() {
    let stand_in = StandIn::builder().url_lives(Duration::from_millis(30)).start();
    stand_in.store_next(|request, file| {
        let whole = answer(request, file, &[]);
        vec![Act::Send(whole[..whole.len() / 2].to_vec()), Act::Pause(Duration::from_millis(60)), Act::Close]
    });
    comes_whole(&stand_in, 2);
}

#[test]
fn a_run_that_fails_while_its_file_is_fetched_ends_by_the_rules_for_its_status() {
    for (fail_on, code) in [("failed", 3), ("empty_list", 1)] {
        let stand_in = StandIn::builder().course(Course::by_checks(&["Available", "Failed"])).start();
        stand_in.store_next(|_, _| vec![Act::Send(refusal(404, "NoSuchKey"))]);
        let ended = Run::on_github(program()).against(&stand_in).input("fail-on", fail_on).run().exited(code);
        assert_eq!((ended.files().len(), ended.outputs["status"].as_str()), (0, "failed"));
    }
}

#[test]
fn a_run_that_is_going_again_while_its_file_is_fetched_is_waited_for() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Available", "In Progress", "Available"])).start();
    stand_in.store_next(|_, _| vec![Act::Send(refusal(403, "AccessDenied"))]);
    comes_whole(&stand_in, 2);
}

#[test]
fn retry_after_of_the_store_is_obeyed() {
    let stand_in = stand_in();
    stand_in.store_next(|_, _| vec![Act::Send(response(503, &[("Retry-After", "1")], b"<Code>SlowDown</Code>"))]);
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert!(ended.stdout.contains("code SlowDown; trying again in 1 s\n"), "{}", ended.stdout);
}

//! What the store may send, from the first byte to the last.

use std::sync::LazyLock;
use std::time::Duration;

use crate::program;
use crate::support::stand_in::{File, answer, made_up_applicants, refusal};
use crate::support::wire::{head, response};
use crate::support::{Act, Course, Ended, Gate, Request, Run, StandIn, again, in_time};

const FILE: &str = "Test-API-Export.csv";

/// What the log says once the rest of a file comes over several connections.
const SEVERAL: &str = "going on over 8 connections";

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
    let requests = stand_in.store().requests();
    let ranges: Vec<_> = requests.iter().map(|request| request.header("range").is_some()).collect();
    assert_eq!(ranges, [false, false, false, true], "without a byte there is nothing to continue");
}

#[test]
fn a_cut_before_the_first_byte_leaves_nothing_to_continue() {
    let stand_in = stand_in();
    stand_in.store_cuts_after(0);
    comes_whole(&stand_in, 2);
    assert_eq!(stand_in.store().requests()[1].header("range"), None);
}

#[test]
fn the_attempts_are_counted_in_the_failure() {
    let stand_in = stand_in();
    stand_in.store_next(|_, _| vec![Act::Reset]).store_next(|_, _| vec![Act::Reset]);
    stand_in.store_next(|_, _| vec![Act::Send(response(200, &[("Content-Encoding", "br")], b"x"))]);
    Run::on_github(program()).against(&stand_in).run().exited(1).failing_with("(3 attempts in ");
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
fn a_failed_precondition_without_any_condition_is_a_refusal_like_others() {
    let stand_in = stand_in();
    for status in [412, 416] {
        stand_in.store_next(move |_, _| vec![Act::Send(refusal(status, "PreconditionFailed"))]);
    }
    comes_whole(&stand_in, 3);
}

#[test]
fn a_body_that_drips_is_cut_at_the_timeout() {
    let stand_in = stand_in();
    let run = |timeout: &_| {
        stand_in.store_next(|_, file| {
            let head = head(200, &[], file.bytes.len());
            vec![Act::Send(head), Act::Drip(file.bytes.clone(), Duration::from_millis(20))]
        });
        Run::on_github(program()).against(&stand_in).input("timeout", timeout).run().exited(4)
    };
    let words = " in the download, at ";
    let ended = in_time(run, |ended| ended.failure().contains(words)).failing_with(words);
    assert_eq!(ended.files(), [""; 0]);
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
    let (stand_in, gate) = (stand_in(), Gate::new());
    let expired = gate.clone();
    stand_in.store_next(move |request, file| {
        let whole = answer(request, file, &[]);
        vec![Act::Send(whole[..whole.len() / 2].to_vec()), Act::Await(expired.clone()), Act::Close]
    });
    let running = Run::on_github(program()).against(&stand_in).spawn();
    running.wait_for_line("downloading ");
    stand_in.expire_urls();
    gate.open();
    assert_eq!(running.end().exited(0).read(FILE), stand_in.file());
    assert_eq!((stand_in.store().requests().len(), stand_in.api_requests().len()), (2, 2));
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

/// A file that is large enough for several connections.
static LARGE: LazyLock<File> = LazyLock::new(|| {
    let bytes: Vec<u8> = (0..64_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    File::new(&bytes)
});

/// A store that limits each connection to a rate that any machine can receive eight times.
fn large() -> StandIn {
    StandIn::builder().file(LARGE.clone()).throttle(8_000_000).start()
}

/// Downloads the file until the log has these words. A busy machine can make a rate look unsteady, or several connections
/// no faster than one; then the program rightly keeps to one.
#[track_caller]
fn downloads(stand_in: impl Fn() -> StandIn, words: &str) -> (StandIn, Ended) {
    let play = || {
        let stand_in = stand_in();
        let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
        assert!(ended.read(FILE) == stand_in.file() && ended.files() == [FILE], "{}", ended.stdout);
        (stand_in, ended)
    };
    let (stand_in, ended) = again(play, |(_, ended)| ended.stdout.contains(words));
    assert!(ended.stdout.contains(words), "{}", ended.stdout);
    (stand_in, ended)
}

#[test]
fn a_large_file_comes_over_several_connections_when_one_is_held_back() {
    let (stand_in, _) = downloads(large, SEVERAL);
    let requests = stand_in.store().requests();
    let (first, pieces) = requests.split_first().unwrap();
    assert!(first.header("range").is_none() && pieces.len() > 8);
    assert!(pieces.iter().all(|piece| piece.header("if-match").is_some()));
    assert!(stand_in.store().connections() <= 9, "{} connections", stand_in.store().connections());
    assert_eq!(stand_in.api_requests().len(), 1, "the URL is shared");
}

#[test]
fn pieces_outlive_their_url() {
    let builder = || StandIn::builder().file(LARGE.clone()).throttle(8_000_000).url_serves(12);
    let (stand_in, _) = downloads(|| builder().start(), SEVERAL);
    let (calls, requests) = (stand_in.api_requests().len(), stand_in.store().requests().len());
    assert!(calls > 1 && calls < requests / 2, "{calls} calls for {requests} requests");
}

#[test]
fn a_piece_that_fails_is_fetched_again_by_itself() {
    let stand_in = || {
        let stand_in = large_and_slow();
        stand_in.store_next(|_, _| vec![Act::Reset]);
        stand_in.store_next(|_, _| vec![Act::Send(refusal(403, "AccessDenied"))]);
        stand_in.store_next(|_, _| vec![Act::Send(refusal(503, "SlowDown"))]);
        stand_in
    };
    let (stand_in, _) = downloads(stand_in, "code SlowDown; going on over 7 connections");
    let calls = stand_in.api_requests().len();
    assert!((2..=3).contains(&calls), "{calls} calls: one URL for each that has failed, not one for each piece");
}

/// The same file in a store whose first response is slow until the next request comes, and that limits nothing else.
fn large_and_slow() -> StandIn {
    let stand_in = StandIn::builder().file(LARGE.clone()).start();
    stand_in.store_next(|request, file| slow(answer(request, file, &[]), 1));
    stand_in
}

fn slow(response: Vec<u8>, requests: usize) -> Vec<Act> {
    vec![Act::Slow(response, 3_000_000, requests)]
}

#[test]
fn a_store_that_asks_for_less_keeps_one_connection() {
    let stand_in = || {
        let stand_in = large_and_slow();
        for _ in 0..9 {
            stand_in.store_next(|_, _| vec![Act::Send(refusal(503, "SlowDown"))]);
        }
        stand_in
    };
    let (_, ended) = downloads(stand_in, "going on over 1 connection\n");
    assert!(!ended.stdout.contains("over 0 connections") && !ended.stdout.contains("sent less"), "{}", ended.stdout);
}

#[test]
fn a_store_that_does_not_play_along_is_asked_over_one_connection() {
    let stand_in = || {
        let stand_in = large_and_slow();
        stand_in.store_next(|_, file| vec![Act::Send(response(200, &[], &file.bytes))]);
        stand_in
    };
    let (_, ended) = downloads(stand_in, SEVERAL);
    assert_eq!(ended.stdout.matches("going on over").count(), 1, "{}", ended.stdout);
}

#[test]
fn a_file_that_is_overwritten_while_its_pieces_come_is_started_over_once_and_in_parallel() {
    let mut newer = LARGE.bytes.clone();
    newer.reverse();
    let newer = File::new(&newer);
    let stand_in = || {
        let stand_in = large();
        stand_in.store_next(|request, file| slow(answer(request, file, &[]), 1)).store_replaces(newer.clone());
        stand_in
    };
    let several = |ended: &Ended| ended.stdout.matches(SEVERAL).count();
    let (_, ended) = again(|| downloads(stand_in, SEVERAL), |(_, ended)| several(ended) == 2);
    assert_eq!(ended.stdout.matches("has a new version of the file: starting over").count(), 1, "{}", ended.stdout);
    assert_eq!(several(&ended), 2, "{}", ended.stdout);
    assert!(ended.summary.contains("1 × 412 from the store, 1 fresh URL."), "{}", ended.summary);
}

#[test]
fn a_file_that_is_overwritten_is_reported_the_same_over_one_connection() {
    let stand_in = stand_in();
    stand_in.store_cuts_after(5000).store_next(|_, _| vec![Act::Send(refusal(412, "PreconditionFailed"))]);
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!(ended.stdout.matches("has a new version of the file: starting over").count(), 1, "{}", ended.stdout);
    assert!(ended.summary.contains("1 × 412 from the store"), "{}", ended.summary);
}

/// A response with the status that rclone 1.75 sends with a part.
fn with_200(request: &Request, file: &File) -> Vec<Act> {
    let part = String::from_utf8_lossy(&answer(request, file, &[])).into_owned();
    assert!(part.starts_with("HTTP/1.1 206"), "{part}");
    vec![Act::Send([b"HTTP/1.1 200", &answer(request, file, &[])[12..]].concat())]
}

#[test]
fn a_part_that_is_sent_with_status_200_does_not_become_the_file() {
    let stand_in = stand_in();
    stand_in.store_cuts_after(5000).store_next(with_200);
    comes_whole(&stand_in, 2);
    assert_eq!(stand_in.store().requests()[1].header("range"), Some("bytes=5000-"));
}

#[test]
fn a_200_of_the_same_version_but_another_length_does_not_become_the_file() {
    for etag in [true, false] {
        let stand_in = stand_in();
        stand_in.store_cuts_after(5000).store_next(move |_, file| {
            let tag = file.etag.clone().unwrap();
            let headers = [("ETag", tag.as_str())];
            vec![Act::Send(response(200, if etag { &headers } else { &[] }, &file.bytes[5000..]))]
        });
        comes_whole(&stand_in, 3);
    }
}

#[test]
fn a_content_encoding_that_says_nothing_of_the_body_is_accepted() {
    for encoding in ["aws-chunked", "UTF-8", "aws-chunked, identity"] {
        let stand_in = stand_in();
        stand_in
            .store_next(move |request, file| vec![Act::Send(answer(request, file, &[("Content-Encoding", encoding)]))]);
        let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
        assert!(ended.outputs["size"] == stand_in.file().len().to_string(), "{encoding}");
    }
}

#[test]
fn an_expired_url_is_replaced_without_a_wait_the_first_time() {
    let stand_in = stand_in();
    stand_in.store_next(|_, _| vec![Act::Send(refusal(403, "AccessDenied"))]);
    stand_in.store_next(|_, _| vec![Act::Send(refusal(403, "AccessDenied"))]);
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    let (immediately, later) = ("code AccessDenied; trying a new signed URL\n", "code AccessDenied; trying again in ");
    assert_eq!((ended.stdout.matches(immediately).count(), ended.stdout.matches(later).count()), (1, 1));
    assert_eq!(stand_in.api_requests().len(), 3);
}

#[test]
fn a_url_is_replaced_before_it_expires() {
    let builder = || StandIn::builder().file(LARGE.clone()).throttle(3_000_000);
    let stand_in = || builder().url_lives(Duration::from_secs(2)).url_says_its_expiry().start();
    // A request that a busy machine sends late finds it expired.
    let (stand_in, ended) = again(|| downloads(stand_in, SEVERAL), |(_, ended)| !ended.stdout.contains("403"));
    assert!(stand_in.api_requests().len() > 2 && !ended.stdout.contains("403"), "{}", ended.stdout);
}

#[test]
fn a_store_that_does_not_announce_ranges_is_asked_for_one() {
    let stand_in = || {
        let stand_in = large();
        // The first of the next requests asks for a byte.
        stand_in.store_next(|request, file| slow(without_accept_ranges(&answer(request, file, &[])), 2));
        stand_in
    };
    downloads(stand_in, SEVERAL);
}

#[test]
fn a_store_without_ranges_goes_on_with_its_first_response() {
    let stand_in = || {
        let stand_in = large();
        for _ in 0..2 {
            stand_in.store_next(|_, file| {
                let etag = file.etag.clone().unwrap();
                slow(response(200, &[("ETag", &etag)], &file.bytes), 1)
            });
        }
        stand_in
    };
    let play = || downloads(stand_in, "saved ");
    let (stand_in, ended) = again(play, |(stand_in, _)| stand_in.store().requests().len() > 1);
    assert!(!ended.stdout.contains("going on over"), "{}", ended.stdout);
    assert_eq!(stand_in.store().requests().len(), 2, "the second one finds out");
}

fn without_accept_ranges(response: &[u8]) -> Vec<u8> {
    let header = b"Accept-Ranges: bytes\r\n";
    let at = response.windows(header.len()).position(|window| window == header).unwrap();
    [&response[..at], &response[at + header.len()..]].concat()
}

#[test]
fn a_store_that_gives_a_piece_now_and_then_is_not_given_up() {
    let slow_down = |_: &_, _: &File| vec![Act::Send(refusal(503, "SlowDown"))];
    let stand_in = || {
        let stand_in = large_and_slow();
        for _ in 0..7 {
            stand_in.store_next(slow_down);
        }
        for _ in 0..12 {
            stand_in.store_next(|request, file| vec![Act::Send(answer(request, file, &[]))]).store_next(slow_down);
        }
        stand_in
    };
    downloads(stand_in, SEVERAL);
}

#[test]
fn silence_outlasts_a_file_that_is_begun_again() {
    let stand_in = || {
        let stand_in = large_and_slow();
        let gate = Gate::new();
        let (waits, opens) = (gate.clone(), gate);
        stand_in.store_next(move |_, _| vec![Act::Await(waits.clone()), Act::Send(refusal(412, "PreconditionFailed"))]);
        stand_in.store_next(move |_, _| {
            opens.open();
            vec![Act::Send(response(503, &[("Retry-After", "2")], b"<Code>SlowDown</Code>"))]
        });
        stand_in
    };
    let (_, ended) = downloads(stand_in, SEVERAL);
    let saved = ended.stdout.lines().find(|line| line.contains("  saved ")).unwrap().trim_start();
    let silent = ended.stdout.contains("going on over 7 connections after 2 s");
    assert!(!silent || !["0:00", "0:01"].iter().any(|time| saved.starts_with(time)), "{}", ended.stdout);
}

#[test]
fn retry_after_silences_all_connections() {
    let stand_in = || {
        let stand_in = large_and_slow();
        stand_in.store_next(|_, _| vec![Act::Send(response(503, &[("Retry-After", "2")], b"<Code>SlowDown</Code>"))]);
        stand_in
    };
    let (_, ended) = downloads(stand_in, "code SlowDown; going on over 7 connections after 2 s\n");
    let saved = ended.stdout.lines().find(|line| line.contains("  saved ")).unwrap().trim_start();
    assert!(!["0:00", "0:01"].iter().any(|time| saved.starts_with(time)), "{}", ended.stdout);
}

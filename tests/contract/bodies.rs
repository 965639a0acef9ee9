//! What the store may send, from the first byte to the last.

use std::sync::LazyLock;
use std::time::Duration;

use crate::support::{
    Action, FILENAME, Gate, Outcome, Request, StandIn, StoredFile, applicants_csv, error_response, github, head,
    repeat_until, respond, response, with_growing_timeout, with_status_200,
};

/// What the log says once the rest of a file comes over several connections.
const SEVERAL: &str = "going on over 8 connections";

fn stand_in() -> StandIn {
    StandIn::with_file(&applicants_csv(500))
}

/// Runs against the stand-in, and checks that the whole file came in so many attempts.
#[track_caller]
fn comes_whole(stand_in: &StandIn, attempts: usize) {
    let outcome = github(stand_in).run().exited(0);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], stand_in.file()));
    assert_eq!(stand_in.store().requests().len(), attempts, "{}", outcome.stdout);
}

#[test]
fn every_status_that_is_not_the_file_gets_a_fresh_url() {
    let stand_in = stand_in();
    for status in [403, 404, 500] {
        stand_in.next_store_error(status, "AccessDenied");
    }
    stand_in.next_store_response(|_, _| respond(204, &[], b""));
    stand_in.next_store_response(|_, _| respond(304, &[], b""));
    stand_in.next_store_error(503, "SlowDown");
    comes_whole(&stand_in, 7);
}

#[test]
fn a_reset_at_any_point_is_overcome() {
    let stand_in = stand_in();
    stand_in.next_store_response(|_, _| vec![Action::Reset]);
    stand_in.next_store_response(|_, file| vec![Action::Send(head(200, &[], file.bytes.len())), Action::Reset]);
    stand_in.next_store_response(|request, file| {
        let whole = file.respond(request, &[]);
        vec![Action::Send(whole[..whole.len() - 1].to_vec()), Action::Reset]
    });
    comes_whole(&stand_in, 4);
    let requests = stand_in.store().requests();
    let ranges: Vec<_> = requests.iter().map(|request| request.header("range").is_some()).collect();
    assert_eq!(ranges, [false, false, false, true], "without a byte there is nothing to continue");
}

#[test]
fn a_cut_before_the_first_byte_leaves_nothing_to_continue() {
    let stand_in = stand_in();
    stand_in.cut_next_download_after(0);
    comes_whole(&stand_in, 2);
    assert_eq!(stand_in.store().requests()[1].header("range"), None);
}

#[test]
fn the_attempts_are_counted_in_the_failure() {
    let stand_in = stand_in();
    stand_in.next_store_response(|_, _| vec![Action::Reset]).next_store_response(|_, _| vec![Action::Reset]);
    stand_in.next_store_response(|_, _| respond(200, &[("Content-Encoding", "br")], b"x"));
    github(&stand_in).run().exited(1).with_error("(3 attempts in ");
}

#[test]
fn a_file_that_cannot_be_resumed_is_started_over() {
    for etag in [None, Some("W/\"weak\"".to_owned()), Some("unquoted".to_owned())] {
        let file = StoredFile { etag, ..StoredFile::new(&applicants_csv(500)) };
        let stand_in = StandIn::builder().file(file).start();
        stand_in.cut_next_download_after(5000).cut_next_download_after(9000);
        comes_whole(&stand_in, 3);
        assert!(stand_in.store().requests().iter().all(|request| request.header("range").is_none()));
    }
}

#[test]
fn a_200_where_a_range_was_asked_is_taken_from_the_beginning() {
    let stand_in = stand_in();
    stand_in.cut_next_download_after(5000);
    stand_in.next_store_response(|_, file| respond(200, &[("ETag", "\"other\"")], &file.bytes));
    comes_whole(&stand_in, 2);
    assert_eq!(stand_in.store().requests()[1].header("range"), Some("bytes=5000-"));
}

#[test]
fn a_range_that_is_not_satisfiable_and_a_failed_precondition_start_the_file_over() {
    for (status, code) in [(416, "InvalidRange"), (412, "PreconditionFailed")] {
        let stand_in = stand_in();
        stand_in.cut_next_download_after(5000).next_store_error(status, code);
        comes_whole(&stand_in, 3);
        assert_eq!(stand_in.store().requests()[2].header("range"), None, "{status}");
    }
}

#[test]
fn a_failed_precondition_without_any_condition_is_a_refusal_like_others() {
    let stand_in = stand_in();
    for status in [412, 416] {
        stand_in.next_store_error(status, "PreconditionFailed");
    }
    comes_whole(&stand_in, 3);
}

#[test]
fn a_body_that_drips_is_cut_at_the_timeout() {
    let stand_in = stand_in();
    let run = |timeout: &_| {
        stand_in.next_store_response(|_, file| {
            let head = head(200, &[], file.bytes.len());
            vec![Action::Send(head), Action::Drip(file.bytes.clone(), Duration::from_millis(20))]
        });
        github(&stand_in).input("timeout", timeout).run().exited(4)
    };
    let words = " in the download, at ";
    let outcome = with_growing_timeout(run, |outcome| outcome.error().contains(words)).with_error(words);
    assert_eq!(outcome.files(), [""; 0]);
}

#[test]
fn a_part_that_nobody_asked_for_is_not_taken() {
    let stand_in = stand_in();
    stand_in.next_store_response(|_, file| {
        let range = format!("bytes 0-{}/{}", file.bytes.len() - 1, file.bytes.len());
        respond(206, &[("Content-Range", &range)], &file.bytes)
    });
    comes_whole(&stand_in, 2);
}

#[test]
fn a_part_that_is_longer_than_it_says_is_not_joined() {
    let stand_in = stand_in();
    stand_in.cut_next_download_after(5000);
    stand_in.next_store_response(|_, file| {
        let (total, etag) = (file.bytes.len(), file.etag.clone().unwrap());
        let range = format!("bytes 5000-{}/{total}", total - 1);
        let head = head(206, &[("ETag", &etag), ("Content-Range", &range), ("Transfer-Encoding", "chunked")], 0);
        let body = [&file.bytes[5000..], b"more"].concat();
        vec![
            Action::Send(head),
            Action::Send(format!("{:x}\r\n", body.len()).into_bytes()),
            Action::Send(body),
            Action::Send(b"\r\n0\r\n\r\n".to_vec()),
        ]
    });
    comes_whole(&stand_in, 3);
}

#[test]
fn short_parts_add_up() {
    let stand_in = stand_in();
    stand_in.cut_next_download_after(5000);
    stand_in.next_store_response(|_, file| {
        let (total, etag) = (file.bytes.len(), file.etag.clone().unwrap());
        let range = format!("bytes 5000-5999/{total}");
        respond(206, &[("ETag", &etag), ("Content-Range", &range)], &file.bytes[5000..6000])
    });
    comes_whole(&stand_in, 3);
    assert_eq!(stand_in.store().requests()[2].header("range"), Some("bytes=6000-"));
}

#[test]
fn what_comes_after_the_announced_end_is_no_part_of_the_file() {
    let stand_in = stand_in();
    stand_in.next_store_response(|request, file| {
        vec![Action::Send([file.respond(request, &[]), b"and something else".to_vec()].concat()), Action::Close]
    });
    comes_whole(&stand_in, 1);
}

#[test]
fn a_body_that_drips_comes_whole() {
    let stand_in = StandIn::with_file(b"drip, drip, drip");
    stand_in
        .next_store_response(|request, file| vec![Action::Drip(file.respond(request, &[]), Duration::from_millis(1))]);
    comes_whole(&stand_in, 1);
}

#[test]
fn a_url_that_has_really_expired_is_replaced() {
    let (stand_in, gate) = (stand_in(), Gate::new());
    let expired = gate.clone();
    stand_in.next_store_response(move |request, file| {
        let whole = file.respond(request, &[]);
        vec![Action::Send(whole[..whole.len() / 2].to_vec()), Action::WaitFor(expired.clone()), Action::Close]
    });
    let running = github(&stand_in).spawn();
    running.wait_for_stdout("downloading ");
    stand_in.expire_urls();
    gate.open();
    assert_eq!(running.wait().exited(0).read(FILENAME), stand_in.file());
    assert_eq!((stand_in.store().requests().len(), stand_in.api_requests().len()), (2, 2));
}

#[test]
fn a_run_that_fails_while_its_file_is_fetched_ends_by_the_rules_for_its_status() {
    for (fail_on, code) in [("failed", 3), ("empty_list", 1)] {
        let stand_in = StandIn::with_statuses(&["Available", "Failed"]);
        stand_in.next_store_error(404, "NoSuchKey");
        let outcome = github(&stand_in).input("fail-on", fail_on).run().exited(code);
        assert_eq!((outcome.files().len(), outcome.outputs["status"].as_str()), (0, "failed"));
    }
}

#[test]
fn a_run_that_is_going_again_while_its_file_is_fetched_is_waited_for() {
    let stand_in = StandIn::with_statuses(&["Available", "In Progress", "Available"]);
    stand_in.next_store_error(403, "AccessDenied");
    comes_whole(&stand_in, 2);
}

#[test]
fn retry_after_of_the_store_is_obeyed() {
    let stand_in = stand_in();
    stand_in.next_store_response(|_, _| respond(503, &[("Retry-After", "1")], b"<Code>SlowDown</Code>"));
    let outcome = github(&stand_in).run().exited(0);
    assert!(outcome.stdout.contains("code SlowDown; trying again in 1 s\n"), "{}", outcome.stdout);
}

/// A file that is large enough for several connections.
static LARGE: LazyLock<StoredFile> = LazyLock::new(|| {
    let bytes: Vec<u8> = (0..64_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    StoredFile::new(&bytes)
});

/// A store that limits each connection to a rate that any machine can receive eight times.
fn large() -> StandIn {
    StandIn::builder().file(LARGE.clone()).throttle(8_000_000).start()
}

/// Downloads the file until the log has these words. A busy machine can make a rate look unsteady, or several connections
/// no faster than one; then the program rightly keeps to one.
#[track_caller]
fn downloads(stand_in: impl Fn() -> StandIn, words: &str) -> (StandIn, Outcome) {
    let play = || {
        let stand_in = stand_in();
        let outcome = github(&stand_in).run().exited(0);
        assert!(outcome.read(FILENAME) == stand_in.file() && outcome.files() == [FILENAME], "{}", outcome.stdout);
        (stand_in, outcome)
    };
    let (stand_in, outcome) = repeat_until(play, |(_, outcome)| outcome.stdout.contains(words));
    assert!(outcome.stdout.contains(words), "{}", outcome.stdout);
    (stand_in, outcome)
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
    let builder = || StandIn::builder().file(LARGE.clone()).throttle(8_000_000).requests_per_url(12);
    let (stand_in, _) = downloads(|| builder().start(), SEVERAL);
    let (calls, requests) = (stand_in.api_requests().len(), stand_in.store().requests().len());
    assert!(calls > 1 && calls < requests / 2, "{calls} calls for {requests} requests");
}

#[test]
fn a_piece_that_fails_is_fetched_again_by_itself() {
    let stand_in = || {
        let stand_in = large_and_slow();
        stand_in.next_store_response(|_, _| vec![Action::Reset]);
        stand_in.next_store_error(403, "AccessDenied");
        stand_in.next_store_error(503, "SlowDown");
        stand_in
    };
    let (stand_in, _) = downloads(stand_in, "code SlowDown; going on over 7 connections");
    let calls = stand_in.api_requests().len();
    assert!((2..=3).contains(&calls), "{calls} calls: one URL for each that has failed, not one for each piece");
}

/// The same file in a store whose first response is slow until the next request comes, and that limits nothing else.
fn large_and_slow() -> StandIn {
    let stand_in = StandIn::builder().file(LARGE.clone()).start();
    stand_in.next_store_response(|request, file| slow(file.respond(request, &[]), 1));
    stand_in
}

fn slow(response: Vec<u8>, requests: usize) -> Vec<Action> {
    vec![Action::Throttle { bytes: response, bytes_per_second: 3_000_000, until_requests: requests }]
}

#[test]
fn a_store_that_asks_for_less_keeps_one_connection() {
    let stand_in = || {
        let stand_in = large_and_slow();
        for _ in 0..9 {
            stand_in.next_store_error(503, "SlowDown");
        }
        stand_in
    };
    let (_, outcome) = downloads(stand_in, "going on over 1 connection\n");
    assert!(
        !outcome.stdout.contains("over 0 connections") && !outcome.stdout.contains("sent less"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_store_that_does_not_play_along_is_asked_over_one_connection() {
    let stand_in = || {
        let stand_in = large_and_slow();
        stand_in.next_store_response(|_, file| respond(200, &[], &file.bytes));
        stand_in
    };
    let (_, outcome) = downloads(stand_in, SEVERAL);
    assert_eq!(outcome.stdout.matches("going on over").count(), 1, "{}", outcome.stdout);
}

#[test]
fn a_file_that_is_overwritten_while_its_pieces_come_is_started_over_once_and_in_parallel() {
    let mut newer = LARGE.bytes.clone();
    newer.reverse();
    let newer = StoredFile::new(&newer);
    let stand_in = || {
        let stand_in = large();
        stand_in
            .next_store_response(|request, file| slow(file.respond(request, &[]), 1))
            .replace_file_at_next_request(newer.clone());
        stand_in
    };
    let several = |outcome: &Outcome| outcome.stdout.matches(SEVERAL).count();
    let (_, outcome) = repeat_until(|| downloads(stand_in, SEVERAL), |(_, outcome)| several(outcome) == 2);
    assert_eq!(outcome.stdout.matches("has a new version of the file: starting over").count(), 1, "{}", outcome.stdout);
    assert_eq!(several(&outcome), 2, "{}", outcome.stdout);
    assert!(outcome.summary.contains("1 × 412 from the store, 1 fresh URL."), "{}", outcome.summary);
}

#[test]
fn a_file_that_is_overwritten_is_reported_the_same_over_one_connection() {
    let stand_in = stand_in();
    stand_in.cut_next_download_after(5000).next_store_error(412, "PreconditionFailed");
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.stdout.matches("has a new version of the file: starting over").count(), 1, "{}", outcome.stdout);
    assert!(outcome.summary.contains("1 × 412 from the store"), "{}", outcome.summary);
}

/// A response with the status that rclone 1.75 sends with a part.
fn with_200(request: &Request, file: &StoredFile) -> Vec<Action> {
    let part = file.respond(request, &[]);
    assert!(part.starts_with(b"HTTP/1.1 206"), "{part:?}");
    vec![Action::Send(with_status_200(&part))]
}

#[test]
fn a_part_that_is_sent_with_status_200_does_not_become_the_file() {
    let stand_in = stand_in();
    stand_in.cut_next_download_after(5000).next_store_response(with_200);
    comes_whole(&stand_in, 2);
    assert_eq!(stand_in.store().requests()[1].header("range"), Some("bytes=5000-"));
}

#[test]
fn a_200_of_the_same_version_but_another_length_does_not_become_the_file() {
    for etag in [true, false] {
        let stand_in = stand_in();
        stand_in.cut_next_download_after(5000).next_store_response(move |_, file| {
            let tag = file.etag.clone().unwrap();
            let headers = [("ETag", tag.as_str())];
            respond(200, if etag { &headers } else { &[] }, &file.bytes[5000..])
        });
        comes_whole(&stand_in, 3);
    }
}

#[test]
fn a_content_encoding_that_says_nothing_of_the_body_is_accepted() {
    for encoding in ["aws-chunked", "UTF-8", "aws-chunked, identity"] {
        let stand_in = stand_in();
        stand_in.next_store_response(move |request, file| {
            vec![Action::Send(file.respond(request, &[("Content-Encoding", encoding)]))]
        });
        let outcome = github(&stand_in).run().exited(0);
        assert!(outcome.outputs["size"] == stand_in.file().len().to_string(), "{encoding}");
    }
}

#[test]
fn an_expired_url_is_replaced_without_a_wait_the_first_time() {
    let stand_in = stand_in();
    stand_in.next_store_error(403, "AccessDenied");
    stand_in.next_store_error(403, "AccessDenied");
    let outcome = github(&stand_in).run().exited(0);
    let (immediately, later) = ("code AccessDenied; trying a new signed URL\n", "code AccessDenied; trying again in ");
    assert_eq!((outcome.stdout.matches(immediately).count(), outcome.stdout.matches(later).count()), (1, 1));
    assert_eq!(stand_in.api_requests().len(), 3);
}

#[test]
fn a_url_is_replaced_before_it_expires() {
    let builder = || StandIn::builder().file(LARGE.clone()).throttle(3_000_000);
    let stand_in = || builder().url_lifetime(Duration::from_secs(2)).announces_url_expiry().start();
    // A request that a busy machine sends late finds it expired.
    let (stand_in, outcome) =
        repeat_until(|| downloads(stand_in, SEVERAL), |(_, outcome)| !outcome.stdout.contains("403"));
    assert!(stand_in.api_requests().len() > 2 && !outcome.stdout.contains("403"), "{}", outcome.stdout);
}

#[test]
fn a_store_that_does_not_announce_ranges_is_asked_for_one() {
    let stand_in = || {
        let stand_in = large();
        // The first of the next requests asks for a byte.
        stand_in.next_store_response(|request, file| slow(without_accept_ranges(&file.respond(request, &[])), 2));
        stand_in
    };
    downloads(stand_in, SEVERAL);
}

#[test]
fn a_store_without_ranges_goes_on_with_its_first_response() {
    let stand_in = || {
        let stand_in = large();
        for _ in 0..2 {
            stand_in.next_store_response(|_, file| {
                let etag = file.etag.clone().unwrap();
                slow(response(200, &[("ETag", &etag)], &file.bytes), 1)
            });
        }
        stand_in
    };
    let play = || downloads(stand_in, "saved ");
    let (stand_in, outcome) = repeat_until(play, |(stand_in, _)| stand_in.store().requests().len() > 1);
    assert!(!outcome.stdout.contains("going on over"), "{}", outcome.stdout);
    assert_eq!(stand_in.store().requests().len(), 2, "the second one finds out");
}

fn without_accept_ranges(response: &[u8]) -> Vec<u8> {
    let header = b"Accept-Ranges: bytes\r\n";
    let at = response.windows(header.len()).position(|window| window == header).unwrap();
    [&response[..at], &response[at + header.len()..]].concat()
}

#[test]
fn a_store_that_gives_a_piece_now_and_then_is_not_given_up() {
    let slow_down = |_: &_, _: &StoredFile| vec![Action::Send(error_response(503, "SlowDown"))];
    let stand_in = || {
        let stand_in = large_and_slow();
        for _ in 0..7 {
            stand_in.next_store_response(slow_down);
        }
        for _ in 0..12 {
            stand_in
                .next_store_response(|request, file| vec![Action::Send(file.respond(request, &[]))])
                .next_store_response(slow_down);
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
        stand_in.next_store_response(move |_, _| {
            vec![Action::WaitFor(waits.clone()), Action::Send(error_response(412, "PreconditionFailed"))]
        });
        stand_in.next_store_response(move |_, _| {
            opens.open();
            respond(503, &[("Retry-After", "2")], b"<Code>SlowDown</Code>")
        });
        stand_in
    };
    let (_, outcome) = downloads(stand_in, SEVERAL);
    let saved = outcome.stdout.lines().find(|line| line.contains("  saved ")).unwrap().trim_start();
    let silent = outcome.stdout.contains("going on over 7 connections after 2 s");
    assert!(!silent || !["0:00", "0:01"].iter().any(|time| saved.starts_with(time)), "{}", outcome.stdout);
}

#[test]
fn retry_after_silences_all_connections() {
    let stand_in = || {
        let stand_in = large_and_slow();
        stand_in.next_store_response(|_, _| respond(503, &[("Retry-After", "2")], b"<Code>SlowDown</Code>"));
        stand_in
    };
    let (_, outcome) = downloads(stand_in, "code SlowDown; going on over 7 connections after 2 s\n");
    let saved = outcome.stdout.lines().find(|line| line.contains("  saved ")).unwrap().trim_start();
    assert!(!["0:00", "0:01"].iter().any(|time| saved.starts_with(time)), "{}", outcome.stdout);
}

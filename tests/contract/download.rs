//! Downloads: what the store may respond, over one connection and over several.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::support::{
    Action, FILENAME, Gate, Outcome, Request, StandIn, StoredFile, applicants_csv, body_start, cut, error_response,
    github, head, repeat_until, respond, response, run_json_with_url, sha256_hex,
};

/// The log once the rest of a file arrives over several connections.
const SEVERAL: &str = "continuing with 8 connections";

fn stand_in() -> StandIn {
    StandIn::with_file(&applicants_csv(500))
}

/// Runs a step, and checks that it saved the whole file after this number of requests to the store.
#[track_caller]
fn assert_downloads(stand_in: &StandIn, attempts: usize) -> Outcome {
    let outcome = github(stand_in).run().exited(0);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], stand_in.file()));
    assert_eq!(stand_in.store().requests().len(), attempts, "{}", outcome.stdout);
    outcome
}

#[test]
fn requests_a_new_signed_url_after_every_error_status() {
    let stand_in = stand_in();
    for status in [403, 404, 500] {
        stand_in.next_store_error(status, "AccessDenied");
    }
    stand_in.next_store_response(|_, _| respond(204, &[], b""));
    stand_in.next_store_response(|_, _| respond(304, &[], b""));
    stand_in.next_store_error(503, "SlowDown");
    assert_downloads(&stand_in, 7);
    assert_eq!(stand_in.api_requests().len(), 7);
}

#[test]
fn resumes_after_a_reset() {
    let stand_in = stand_in();
    stand_in.cut_next_download_after(0);
    stand_in.next_store_response(|_, _| vec![Action::Reset]);
    stand_in.next_store_response(|_, file| vec![Action::Send(head(200, &[], file.bytes.len())), Action::Reset]);
    stand_in.next_store_response(|request, file| {
        let whole = file.respond(request, &[]);
        vec![Action::Send(whole[..whole.len() - 1].to_vec()), Action::Reset]
    });
    assert_downloads(&stand_in, 5);
    let requests = stand_in.store().requests();
    let ranges: Vec<_> = requests.iter().map(|request| request.header("range").is_some()).collect();
    assert_eq!(ranges, [false, false, false, false, true], "without a byte there is nothing to resume");
}

#[test]
fn the_error_has_the_number_of_attempts() {
    let stand_in = stand_in();
    stand_in.next_store_response(|_, _| vec![Action::Reset]).next_store_response(|_, _| vec![Action::Reset]);
    stand_in.next_store_response(|_, _| respond(200, &[("Content-Encoding", "br")], b"x"));
    github(&stand_in).run().exited(1).with_error("(3 attempts in ");
}

#[test]
fn restarts_without_a_strong_etag() {
    for etag in [None, Some("W/\"weak\"".to_owned()), Some("unquoted".to_owned())] {
        let file = StoredFile { etag, ..StoredFile::new(&applicants_csv(500)) };
        let stand_in = StandIn::builder().file(file).start();
        stand_in.cut_next_download_after(5000).cut_next_download_after(9000);
        assert_downloads(&stand_in, 3);
        assert!(stand_in.store().requests().iter().all(|request| request.header("range").is_none()));
    }
}

#[test]
fn restarts_with_a_200_of_another_version() {
    let stand_in = stand_in();
    stand_in.cut_next_download_after(5000);
    stand_in.next_store_response(|_, file| respond(200, &[("ETag", "\"other\"")], &file.bytes));
    assert_downloads(&stand_in, 2);
    assert_eq!(stand_in.store().requests()[1].header("range"), Some("bytes=5000-"));
}

#[test]
fn retries_412_and_416_to_a_request_without_a_range() {
    let stand_in = stand_in();
    for status in [412, 416] {
        stand_in.next_store_error(status, "PreconditionFailed");
    }
    assert_downloads(&stand_in, 3);
}

#[test]
fn rejects_a_part_that_was_not_requested() {
    let stand_in = stand_in();
    stand_in.next_store_response(|_, file| {
        let range = format!("bytes 0-{}/{}", file.bytes.len() - 1, file.bytes.len());
        respond(206, &[("Content-Range", &range)], &file.bytes)
    });
    assert_downloads(&stand_in, 2);
}

#[test]
fn rejects_a_part_longer_than_its_content_range() {
    let stand_in = stand_in();
    stand_in.cut_next_download_after(5000);
    stand_in.next_store_response(|_, file| {
        let (total, etag) = (file.bytes.len(), file.etag.clone().unwrap());
        let range = format!("bytes 5000-{}/{total}", total - 1);
        let head = head(206, &[("ETag", &etag), ("Content-Range", &range), ("Transfer-Encoding", "chunked")], 0);
        let body = [&file.bytes[5000..], b"more"].concat();
        vec![Action::Send(head), Action::Send(chunked(&body))]
    });
    assert_downloads(&stand_in, 3);
}

/// Returns a body in one chunk.
fn chunked(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
}

#[test]
fn rejects_a_transfer_coding_in_a_second_header() {
    for coding in ["identity", "gzip"] {
        let stand_in = stand_in();
        stand_in.next_store_response(move |_, file| {
            let head = head(200, &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", coding)], 0);
            vec![Action::Send(head), Action::Send(chunked(&file.bytes)), Action::Close]
        });
        let outcome = github(&stand_in).run().exited(1).with_error("content coding or transfer coding");
        assert_eq!(outcome.files(), [""; 0], "{coding}");
    }
}

#[test]
fn rejects_a_body_whose_chunks_are_not_decoded() {
    // hyper decodes chunks only if the last transfer coding is `chunked`, and otherwise reads until the connection closes.
    for codings in [&["chunked,"][..], &["chunked ,"], &[",chunked,,"], &["chunked", ""], &["chunked", ","]] {
        for length in [None, Some("50")] {
            let stand_in = stand_in();
            stand_in.next_store_response(move |_, _| {
                let codings = codings.iter().map(|&coding| ("Transfer-Encoding", coding));
                let headers: Vec<_> = codings.chain(length.map(|length| ("Content-Length", length))).collect();
                let chunks = b"5\r\nAPPLI\r\n4\r\nCANT\r\n".to_vec();
                vec![Action::Send(head(200, &headers, 0)), Action::Send(chunks), Action::Close]
            });
            let outcome = github(&stand_in).run().exited(1).with_error("content coding or transfer coding");
            assert_eq!(outcome.files(), [""; 0], "{codings:?} {length:?}");
        }
    }
}

#[test]
fn restarts_if_a_200_of_unknown_length_may_be_only_the_rest() {
    for is_cut in [false, true] {
        let stand_in = stand_in();
        stand_in.cut_next_download_after(5000).next_store_response(move |_, file| {
            let etag = file.etag.clone().unwrap();
            let head = head(200, &[("ETag", &etag), ("Transfer-Encoding", "chunked")], 0);
            let body = chunked(&file.bytes[5000..]);
            let sent = if is_cut { &body[..2000] } else { &body };
            vec![Action::Send(head), Action::Send(sent.to_vec()), if is_cut { Action::Reset } else { Action::Close }]
        });
        let outcome = assert_downloads(&stand_in, 3);
        let message = "responded to a request for a part without saying which bytes it sent; starting over";
        assert!(outcome.stdout.contains(message), "{}", outcome.stdout);
        assert_eq!(stand_in.store().requests()[2].header("range"), None, "cut: {is_cut}");
    }
}

#[test]
fn restarts_if_a_complete_body_is_shorter_than_its_content_range() {
    for (status, start) in [(200, 0), (206, 5000)] {
        let stand_in = stand_in();
        stand_in.cut_next_download_after(5000).next_store_response(move |_, file| {
            let (range, etag) = (file.content_range(&(start..file.bytes.len())), file.etag.clone().unwrap());
            let headers = [("ETag", etag.as_str()), ("Content-Range", &range), ("Transfer-Encoding", "chunked")];
            vec![Action::Send(head(status, &headers, 0)), Action::Send(chunked(&file.bytes[9000..]))]
        });
        assert_downloads(&stand_in, 3);
        assert_eq!(stand_in.store().requests()[2].header("range"), None, "{status}");
    }
}

#[test]
fn joins_parts_shorter_than_requested() {
    let stand_in = stand_in();
    stand_in.cut_next_download_after(5000);
    stand_in.next_store_response(|_, file| {
        let (total, etag) = (file.bytes.len(), file.etag.clone().unwrap());
        let range = format!("bytes 5000-5999/{total}");
        respond(206, &[("ETag", &etag), ("Content-Range", &range)], &file.bytes[5000..6000])
    });
    let outcome = assert_downloads(&stand_in, 3);
    let words = "sent only a part of the requested bytes: received 6.0 kB of ";
    assert_eq!(outcome.stdout.matches(words).count(), 1, "{}", outcome.stdout);
    assert_eq!(outcome.stdout.matches("closed too early").count(), 1, "{}", outcome.stdout);
    let recovery = "1 interrupted download at 5.0 kB, 1 unexpected response from the store";
    assert!(outcome.summary.contains(recovery), "{}", outcome.summary);
    assert_eq!(stand_in.store().requests()[2].header("range"), Some("bytes=6000-"));
}

#[test]
fn ignores_bytes_after_the_announced_length() {
    let stand_in = stand_in();
    stand_in.next_store_response(|request, file| {
        vec![Action::Send([file.respond(request, &[]), b"and something else".to_vec()].concat()), Action::Close]
    });
    assert_downloads(&stand_in, 1);
}

#[test]
fn downloads_a_body_that_arrives_byte_by_byte() {
    let stand_in = StandIn::with_file(b"drip, drip, drip");
    stand_in
        .next_store_response(|request, file| vec![Action::Drip(file.respond(request, &[]), Duration::from_millis(1))]);
    assert_downloads(&stand_in, 1);
}

#[test]
fn refreshes_an_expired_signed_url() {
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
fn applies_fail_on_if_the_run_fails_during_the_download() {
    for (fail_on, code) in [("failed", 3), ("empty_list", 1)] {
        let stand_in = StandIn::with_statuses(&["Available", "Failed"]);
        stand_in.next_store_error(404, "NoSuchKey");
        let outcome = github(&stand_in).input("fail-on", fail_on).run().exited(code);
        assert_eq!((outcome.files().len(), outcome.outputs["status"].as_str()), (0, "failed"));
    }
}

#[test]
fn polls_again_if_the_run_restarts_during_the_download() {
    let stand_in = StandIn::with_statuses(&["Available", "In Progress", "Available"]);
    stand_in.next_store_error(403, "AccessDenied");
    assert_downloads(&stand_in, 2);
}

#[test]
fn obeys_retry_after_of_the_store() {
    let stand_in = stand_in();
    stand_in.next_store_response(|_, _| respond(503, &[("Retry-After", "1")], b"<Code>SlowDown</Code>"));
    let outcome = github(&stand_in).run().exited(0);
    assert!(outcome.stdout.contains("code SlowDown; retrying in 1 s\n"), "{}", outcome.stdout);
}

/// A file large enough for several connections.
static LARGE: LazyLock<StoredFile> = LazyLock::new(|| {
    let bytes: Vec<u8> = (0..64_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    StoredFile::new(&bytes)
});

/// Starts a store that limits the rate of each connection. Any machine can receive eight times that rate.
fn throttled() -> StandIn {
    StandIn::builder().file(LARGE.clone()).throttle(8_000_000).start()
}

/// Downloads the file, and repeats that until the log has these words: on a busy machine several connections can be no faster
/// than one, and then the program rightly uses one.
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
fn uses_several_connections_if_one_is_throttled() {
    let (stand_in, _) = downloads(throttled, SEVERAL);
    let requests = stand_in.store().requests();
    let (first, pieces) = requests.split_first().unwrap();
    assert!(first.header("range").is_none() && pieces.len() > 8);
    assert!(pieces.iter().all(|piece| piece.header("if-match").is_some()));
    assert!(stand_in.store().connections() <= 9, "{} connections", stand_in.store().connections());
    assert_eq!(stand_in.api_requests().len(), 1, "the URL is shared");
}

#[test]
fn refreshes_the_signed_url_between_pieces() {
    let builder = || StandIn::builder().file(LARGE.clone()).throttle(8_000_000).requests_per_url(12);
    let (stand_in, _) = downloads(|| builder().start(), SEVERAL);
    let (calls, requests) = (stand_in.api_requests().len(), stand_in.store().requests().len());
    assert!(calls > 1 && calls < requests / 2, "{calls} calls for {requests} requests");
}

#[test]
fn retries_only_the_piece_that_failed() {
    let stand_in = || {
        let stand_in = slow_at_first();
        stand_in.next_store_response(|_, _| vec![Action::Reset]);
        stand_in.next_store_error(403, "AccessDenied");
        stand_in.next_store_error(503, "SlowDown");
        stand_in
    };
    let (stand_in, _) = downloads(stand_in, "code SlowDown; continuing with 7 connections");
    let calls = stand_in.api_requests().len();
    assert!((2..=3).contains(&calls), "{calls} calls: a new URL after an error, not for each piece");
}

/// Starts a store whose first response is slow until the next request. No other response is throttled.
fn slow_at_first() -> StandIn {
    let stand_in = StandIn::builder().file(LARGE.clone()).start();
    stand_in.next_store_response(|request, file| slow(file.respond(request, &[]), 1));
    stand_in
}

/// Sends a response slowly until this number of further requests.
fn slow(response: Vec<u8>, until_requests: usize) -> Vec<Action> {
    vec![Action::Throttle { bytes: response, bytes_per_second: 3_000_000, until_requests }]
}

#[test]
fn slow_down_reduces_the_connections_to_one() {
    let stand_in = || {
        let stand_in = slow_at_first();
        for _ in 0..9 {
            stand_in.next_store_error(503, "SlowDown");
        }
        stand_in
    };
    let (_, outcome) = downloads(stand_in, "continuing with 1 connection\n");
    assert!(
        !outcome.stdout.contains("over 0 connections") && !outcome.stdout.contains("sent less"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn keeps_the_first_response_if_the_store_asks_for_fewer_requests() {
    const REQUESTS: usize = 7;

    let stand_in = || {
        let stand_in = StandIn::builder().file(LARGE.clone()).start();
        // This connection stays as slow as it is until it requests its next piece.
        stand_in.next_store_response(|request, file| slow(file.respond(request, &[]), REQUESTS + 1));
        for _ in 0..REQUESTS {
            stand_in.next_store_error(503, "SlowDown");
        }
        stand_in
    };
    let (stand_in, outcome) = downloads(stand_in, "code SlowDown; continuing with 1 connection\n");
    assert!(!outcome.stdout.contains("no faster"), "{}", outcome.stdout);
    let piece = stand_in.store().requests()[REQUESTS + 1].range(u64::MAX).unwrap();
    assert!(piece.end - piece.start < 2 << 20, "{piece:?} is requested after the one of the first response");
}

#[test]
fn downloads_over_one_connection_if_the_store_ignores_ranges() {
    let stand_in = || {
        let stand_in = slow_at_first();
        stand_in.next_store_response(|_, file| respond(200, &[], &file.bytes));
        stand_in
    };
    let (_, outcome) = downloads(stand_in, SEVERAL);
    assert_eq!(outcome.stdout.matches("continuing with").count(), 1, "{}", outcome.stdout);
}

#[test]
fn restarts_in_parallel_if_the_file_is_overwritten() {
    let mut newer = LARGE.bytes.clone();
    newer.reverse();
    let newer = StoredFile::new(&newer);
    let stand_in = || {
        let stand_in = throttled();
        stand_in
            .next_store_response(|request, file| slow(file.respond(request, &[]), 1))
            .replace_file_at_next_request(newer.clone());
        stand_in
    };
    let several = |outcome: &Outcome| outcome.stdout.matches(SEVERAL).count();
    let (_, outcome) = repeat_until(|| downloads(stand_in, SEVERAL), |(_, outcome)| several(outcome) == 2);
    assert_eq!(outcome.stdout.matches("the file has changed; starting over").count(), 1, "{}", outcome.stdout);
    assert_eq!(several(&outcome), 2, "{}", outcome.stdout);
    assert!(outcome.summary.contains("1 × 412 from the store, 1 new signed URL."), "{}", outcome.summary);
}

#[test]
fn restarts_if_the_file_is_overwritten() {
    let stand_in = stand_in();
    stand_in.cut_next_download_after(5000).next_store_error(412, "PreconditionFailed");
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.stdout.matches("the file has changed; starting over").count(), 1, "{}", outcome.stdout);
    assert!(outcome.summary.contains("1 × 412 from the store"), "{}", outcome.summary);
}

#[test]
fn rejects_a_200_of_another_length() {
    for etag in [true, false] {
        let stand_in = stand_in();
        stand_in.cut_next_download_after(5000).next_store_response(move |_, file| {
            let tag = file.etag.clone().unwrap();
            let headers = [("ETag", tag.as_str())];
            respond(200, if etag { &headers } else { &[] }, &file.bytes[5000..])
        });
        assert_downloads(&stand_in, 3);
    }
}

#[test]
fn accepts_a_content_encoding_that_is_no_coding() {
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
fn refreshes_the_signed_url_at_once_the_first_time() {
    let stand_in = stand_in();
    stand_in.next_store_error(403, "AccessDenied");
    stand_in.next_store_error(403, "AccessDenied");
    let outcome = github(&stand_in).run().exited(0);
    let (immediately, later) = ("code AccessDenied; requesting a new signed URL\n", "code AccessDenied; retrying in ");
    assert_eq!((outcome.stdout.matches(immediately).count(), outcome.stdout.matches(later).count()), (1, 1));
    assert_eq!(stand_in.api_requests().len(), 3);
}

#[test]
fn refreshes_the_signed_url_before_it_expires() {
    let builder = || StandIn::builder().file(LARGE.clone()).throttle(3_000_000);
    let stand_in = || builder().url_lifetime(Duration::from_secs(2)).announces_url_expiry().start();
    // A request that a busy machine sends late finds it expired.
    let (stand_in, outcome) =
        repeat_until(|| downloads(stand_in, SEVERAL), |(_, outcome)| !outcome.stdout.contains("403"));
    assert!(stand_in.api_requests().len() > 2 && !outcome.stdout.contains("403"), "{}", outcome.stdout);
}

#[test]
fn probes_for_ranges_if_the_store_does_not_announce_them() {
    let stand_in = || {
        let stand_in = throttled();
        // The next request asks for one byte.
        stand_in.next_store_response(|request, file| slow(without_accept_ranges(&file.respond(request, &[])), 2));
        stand_in
    };
    downloads(stand_in, SEVERAL);
}

#[test]
fn keeps_the_first_response_of_a_store_without_ranges() {
    let stand_in = || {
        let stand_in = throttled();
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
    assert!(!outcome.stdout.contains("continuing with"), "{}", outcome.stdout);
    assert_eq!(stand_in.store().requests().len(), 2, "the second request shows that the store ignores ranges");
}

#[test]
fn the_probe_for_ranges_reads_one_byte_only() {
    let stand_in = || {
        let stand_in = throttled();
        stand_in.next_store_response(|request, file| slow(without_accept_ranges(&file.respond(request, &[])), 1));
        stand_in.next_store_response(|request, file| {
            let range = requested_range(request, file);
            let (content_range, etag) =
                (file.content_range(&(range.start..range.start + 1)), file.etag.clone().unwrap());
            let headers =
                [("ETag", etag.as_str()), ("Content-Range", &content_range), ("Transfer-Encoding", "chunked")];
            vec![Action::Send(head(206, &headers, 0)), Action::Send(chunked(&file.bytes[..1 << 20]))]
        });
        stand_in
    };
    let play = || downloads(stand_in, "saved ");
    let (_, outcome) = repeat_until(play, |(stand_in, _)| stand_in.store().requests().len() > 1);
    assert!(!outcome.stdout.contains(SEVERAL), "{}", outcome.stdout);
}

#[test]
fn a_huge_announced_length_uses_little_memory() {
    let play = || {
        let stand_in = stand_in();
        // Requests for a part of this version get 412. The next response is the file of the stand-in.
        stand_in.next_store_response(|_, _| {
            let head = head(200, &[("Accept-Ranges", "bytes"), ("ETag", "\"huge\"")], 1 << 48);
            [vec![Action::Send(head)], slow(vec![0; 16 << 20], 1)].concat()
        });
        let running = github(&stand_in).spawn();
        let peak = running.wait_for_peak_memory();
        let outcome = running.wait().exited(0);
        assert_eq!(outcome.read(FILENAME), stand_in.file());
        (peak, outcome)
    };
    let (peak, outcome) = repeat_until(play, |(_, outcome)| outcome.stdout.contains(SEVERAL));
    assert!(outcome.stdout.contains(SEVERAL), "{}", outcome.stdout);
    assert!(peak > 1024 && peak < 64 * 1024, "{peak} KiB");
}

#[test]
fn restarts_if_a_piece_is_shorter_than_its_content_range() {
    let stand_in = || {
        let stand_in = slow_at_first();
        stand_in.next_store_response(|request, file| {
            let part = file.respond(request, &[("Transfer-Encoding", "chunked")]);
            let (head, body) = part.split_at(body_start(&part));
            vec![Action::Send(head.to_vec()), Action::Send(chunked(&body[..body.len() - 1]))]
        });
        stand_in
    };
    let (_, outcome) = downloads(stand_in, SEVERAL);
    let restarts = outcome.stdout.matches("sent less than it had announced; starting over").count();
    assert_eq!(restarts, 1, "{}", outcome.stdout);
}

/// Starts a store with a large file. `respond` gets the number of each request for the last piece.
fn with_last_piece(respond: fn(usize, &Request, &StoredFile) -> Vec<u8>) -> StandIn {
    let stand_in = slow_at_first();
    let requests = Arc::new(AtomicUsize::new(0));
    for _ in 0..200 {
        let requests = Arc::clone(&requests);
        stand_in.next_store_response(move |request, file| {
            let is_last = requested_range(request, file).end == file.bytes.len();
            let response = match is_last && request.header("range").is_some() {
                true => respond(requests.fetch_add(1, Ordering::SeqCst), request, file),
                false => file.respond(request, &[]),
            };
            vec![Action::Send(response)]
        });
    }
    stand_in
}

fn requested_range(request: &Request, file: &StoredFile) -> Range<usize> {
    let total = file.bytes.len();
    request.range(total as u64).map_or(0..total, |range| range.start as usize..range.end as usize)
}

/// Returns a response with the first byte of the requested part.
fn first_byte(request: &Request, file: &StoredFile) -> Vec<u8> {
    let start = requested_range(request, file).start;
    file.part(start..start + 1, &[])
}

/// Plays a scenario until several connections were faster than one, as they are in this store.
#[track_caller]
fn over_several(play: impl Fn() -> Outcome) -> Outcome {
    let several = |outcome: &Outcome| outcome.stdout.contains(SEVERAL) && !outcome.stdout.contains("no faster");
    let outcome = repeat_until(play, several);
    assert!(several(&outcome), "{}", outcome.stdout);
    outcome
}

#[test]
fn backs_off_if_the_store_sends_one_byte_per_url() {
    let stand_in = || {
        with_last_piece(|number, request, file| match number {
            0..24 if number % 2 == 0 => error_response(403, "AccessDenied"),
            0..24 => first_byte(request, file),
            _ => file.respond(request, &[]),
        })
    };
    let outcome = over_several(|| downloads(stand_in, SEVERAL).1);
    let count = |words| outcome.stdout.matches(words).count();
    assert_eq!((count("requesting a new signed URL"), count("retrying in")), (1, 11), "{}", outcome.stdout);
}

#[test]
fn gives_up_on_a_piece_after_eight_attempts_without_a_new_byte() {
    let outcome = over_several(|| {
        let stand_in = with_last_piece(|number, request, file| match number {
            0 => first_byte(request, file),
            _ => error_response(403, "AccessDenied"),
        });
        github(&stand_in).run().exited(1)
    });
    assert_eq!(outcome.files(), [""; 0]);
    outcome.with_error("8 attempts without a new byte").with_error("code AccessDenied");
}

#[test]
fn replaces_all_connections_with_one_if_several_are_no_faster() {
    let stand_in = || {
        let stand_in = StandIn::builder().file(LARGE.clone()).start();
        stand_in.next_store_response(|request, file| slow(file.respond(request, &[]), usize::MAX));
        for _ in 0..7 {
            stand_in.next_store_response(|request, file| {
                vec![Action::Send(cut(&file.respond(request, &[]), 1)), Action::Hang]
            });
        }
        stand_in
    };
    let (stand_in, outcome) = downloads(stand_in, "several connections are no faster");
    assert!(!outcome.stdout.contains("retrying in") && !outcome.summary.contains("stall"), "{}", outcome.stdout);
    assert!(stand_in.store().requests().len() < 20, "the missing bytes are requested in large parts");
}

fn without_accept_ranges(response: &[u8]) -> Vec<u8> {
    let header = b"Accept-Ranges: bytes\r\n";
    let at = response.windows(header.len()).position(|window| window == header).unwrap();
    [&response[..at], &response[at + header.len()..]].concat()
}

#[test]
fn does_not_give_up_while_pieces_arrive() {
    let slow_down = |_: &_, _: &StoredFile| vec![Action::Send(error_response(503, "SlowDown"))];
    let stand_in = || {
        let stand_in = slow_at_first();
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
fn obeys_retry_after_across_a_restart() {
    let stand_in = || {
        let stand_in = slow_at_first();
        let gate = Gate::new();
        let (waits, opens) = (gate.clone(), gate);
        stand_in.next_store_response(move |_, _| {
            // Arrives slowly, so that the program has the other response first.
            let response = error_response(412, "PreconditionFailed");
            vec![Action::WaitFor(waits.clone()), Action::Drip(response, Duration::from_millis(1))]
        });
        stand_in.next_store_response(move |_, _| {
            opens.open();
            respond(503, &[("Retry-After", "2")], b"<Code>SlowDown</Code>")
        });
        stand_in
    };
    // Otherwise, the 412 arrived before the 503, and there was no pause to carry over.
    let (_, outcome) = downloads(stand_in, "continuing with 7 connections after 2 s\n");
    let saved = outcome.stdout.lines().find(|line| line.contains("  saved ")).unwrap().trim_start();
    assert!(!["0:00", "0:01"].iter().any(|time| saved.starts_with(time)), "{}", outcome.stdout);
}

#[test]
fn retry_after_pauses_all_connections() {
    let stand_in = || {
        let stand_in = slow_at_first();
        stand_in.next_store_response(|_, _| respond(503, &[("Retry-After", "2")], b"<Code>SlowDown</Code>"));
        stand_in
    };
    let (_, outcome) = downloads(stand_in, "code SlowDown; continuing with 7 connections after 2 s\n");
    let saved = outcome.stdout.lines().find(|line| line.contains("  saved ")).unwrap().trim_start();
    assert!(!["0:00", "0:01"].iter().any(|time| saved.starts_with(time)), "{}", outcome.stdout);
}

#[test]
fn resumes_after_the_connection_is_cut() {
    let stand_in = StandIn::with_file(&applicants_csv(2000));
    stand_in.cut_next_download_after(10_000).cut_next_download_after(20_000);
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], stand_in.file()));
    let requests = stand_in.store().requests();
    let ranges: Vec<_> = requests.iter().map(|request| request.header("range")).collect();
    assert_eq!(ranges, [None, Some("bytes=10000-"), Some("bytes=30000-")]);
    assert!(requests[1].header("if-match").is_some_and(|tag| tag.starts_with('"')));
    let targets: std::collections::BTreeSet<_> = requests.iter().map(|request| &request.target).collect();
    assert_eq!(targets.len(), 3, "each attempt has a URL of its own");
    assert!(
        outcome
            .summary
            .contains("1 interrupted download at 10.0 kB, 1 interrupted download at 30.0 kB, 2 new signed URLs"),
        "{}",
        outcome.summary
    );
    assert!(outcome.stdout.contains("resuming at 10.0 kB"), "{}", outcome.stdout);
}

#[test]
fn gives_up_after_eight_attempts_without_a_new_byte() {
    let stand_in = StandIn::builder().url_lifetime(std::time::Duration::ZERO).start();
    let outcome = github(&stand_in).existing_file(FILENAME, b"older").run().exited(1);
    assert_eq!(stand_in.store().requests().len(), 8);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], b"older".to_vec()));
    assert_eq!(outcome.outputs["status"], "available");
    outcome.with_error("8 attempts without a new byte").with_error("code AccessDenied");
}

#[test]
fn restarts_with_a_new_version() {
    let newer = StoredFile::new(&applicants_csv(3000));
    for has_etag in [true, false] {
        let stand_in = StandIn::with_file(&applicants_csv(2000));
        let mut newer = newer.clone();
        if !has_etag {
            newer.etag = None;
        }
        let bytes = newer.bytes.clone();
        // The store responds 412 to the If-Match of the older version.
        stand_in.cut_next_download_after(10_000).next_store_response({
            let newer = newer.clone();
            move |request, _| vec![Action::Send(newer.respond(request, &[]))]
        });
        stand_in.next_store_response(move |request, _| vec![Action::Send(newer.respond(request, &[]))]);
        let outcome = github(&stand_in).input("filename", FILENAME).run().exited(0);
        assert_eq!(outcome.read(FILENAME), bytes);
    }
}

#[test]
fn restarts_if_a_part_does_not_fit() {
    let file = StoredFile::new(&applicants_csv(2000));
    let total = file.bytes.len();
    let etag = file.etag.clone().unwrap();
    let good_range = format!("bytes 10000-{}/{total}", total - 1);
    let wrong: [(&str, Vec<(&str, String)>); 8] = [
        ("a changed ETag", vec![("ETag", "\"other\"".to_owned()), ("Content-Range", good_range.clone())]),
        ("a weak ETag", vec![("ETag", format!("W/{etag}")), ("Content-Range", good_range.clone())]),
        ("no ETag", vec![("Content-Range", good_range.clone())]),
        ("no Content-Range", vec![("ETag", etag.clone())]),
        ("another unit", vec![("ETag", etag.clone()), ("Content-Range", good_range.replace("bytes", "lines"))]),
        (
            "several parts",
            vec![
                ("ETag", etag.clone()),
                ("Content-Range", good_range),
                ("Content-Type", "multipart/byteranges; boundary=x".to_owned()),
            ],
        ),
        ("another start", vec![("ETag", etag.clone()), ("Content-Range", format!("bytes 9999-{}/{total}", total - 2))]),
        ("an unknown total", vec![("ETag", etag), ("Content-Range", format!("bytes 10000-{}/*", total - 1))]),
    ];
    for (what, headers) in wrong {
        let stand_in = StandIn::builder().file(file.clone()).start();
        stand_in.cut_next_download_after(10_000).next_store_response(move |_, file| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            respond(206, &headers, vec![b'x'; file.bytes.len() - 10_000])
        });
        let outcome = github(&stand_in).run().exited(0);
        assert_eq!(outcome.read(FILENAME), file.bytes, "{what}");
        assert_eq!(stand_in.store().requests()[2].header("range"), None, "{what}: the file is started over");
    }
}

#[test]
fn rejects_a_body_without_a_verifiable_end() {
    let stand_in = StandIn::start();
    let unverifiable = |_: &_, file: &StoredFile| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        bytes.extend(&file.bytes[..100]);
        vec![Action::Send(bytes), Action::Close]
    };
    let chunked_without_end = |_: &_, _: &StoredFile| {
        vec![
            Action::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n".to_vec()),
            Action::Close,
        ]
    };
    let short = |_: &_, file: &StoredFile| {
        vec![Action::Send(head(200, &[], file.bytes.len())), Action::Send(b"x".to_vec()), Action::Close]
    };
    stand_in.next_store_response(unverifiable).next_store_response(chunked_without_end).next_store_response(short);
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], stand_in.file()));
    assert_eq!(stand_in.store().requests().len(), 4);
}

#[test]
fn accepts_a_complete_chunked_body() {
    let stand_in = StandIn::start();
    stand_in.next_store_response(|_, _| {
        vec![Action::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n".to_vec())]
    });
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.read(&outcome.outputs["path"]), b"abcde");
}

#[test]
fn rejects_a_content_coding() {
    let stand_in = StandIn::start();
    stand_in.next_store_response(|_, _| respond(200, &[("Content-Encoding", "gzip")], b"x"));
    let outcome = github(&stand_in).run().exited(1).with_error("content coding or transfer coding");
    assert_eq!(outcome.files(), [""; 0]);
    // In a second header, and in the response to a range request.
    stand_in.next_store_response(|_, _| {
        respond(200, &[("Content-Encoding", "identity"), ("Content-Encoding", "gzip")], b"x")
    });
    github(&stand_in).run().exited(1).with_error("content coding or transfer coding");
    let stand_in = StandIn::with_file(&applicants_csv(500));
    stand_in.cut_next_download_after(5000).next_store_response(|request, file| {
        vec![Action::Send(file.respond(request, &[("Content-Encoding", "gzip")]))]
    });
    github(&stand_in).run().exited(1).with_error("content coding or transfer coding");
}

#[test]
fn rejects_unusable_download_urls() {
    for url in ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:word@127.0.0.1/x", "not a url"] {
        let stand_in = StandIn::start();
        stand_in.next_api_json(run_json_with_url("Available", url));
        let outcome = github(&stand_in).run().exited(1);
        assert!(outcome.error().contains("sent a download URL that"), "{url}: {}", outcome.error());
    }
}

#[test]
fn summarizes_a_hundred_cuts_in_one_line() {
    let stand_in = StandIn::with_file(&applicants_csv(2000));
    for _ in 0..100 {
        stand_in.cut_next_download_after(1000);
    }
    let outcome = github(&stand_in).input("poll-interval", "1ms").run().exited(0);
    assert_eq!(outcome.read(FILENAME), stand_in.file());
    assert!(
        outcome.summary.contains("1 interrupted download at 10.0 kB, 90 × interrupted download, 100 new signed URLs."),
        "{}",
        outcome.summary
    );
}

#[test]
fn saves_every_byte_as_sent() {
    let every_byte: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for bytes in [&b""[..], b"\r\n\xff\xfe", &every_byte] {
        let stand_in = StandIn::builder().file(StoredFile::new(bytes)).content_type("application/zip").start();
        let outcome = github(&stand_in).run().exited(0);
        assert_eq!(outcome.read(FILENAME), bytes);
        assert_eq!(outcome.outputs["size"], bytes.len().to_string());
        assert_eq!(stand_in.store().requests()[0].header("accept-encoding"), Some("identity"));
    }
}

#[test]
fn logs_the_size_and_the_saved_file() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in).run().exited(0);
    let sha256 = &outcome.outputs["sha256"];
    assert!(outcome.stdout.contains(&format!("downloading {FILENAME}, 2.1 kB from 127.0.0.1:")), "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains(" ago, downloaded in ")
            && outcome.stdout.contains(&format!("saved {FILENAME} (2.1 kB, sha256 {sha256}), created ")),
        "{}",
        outcome.stdout
    );
    assert_eq!(*sha256, sha256_hex(&applicants_csv(40)));
}

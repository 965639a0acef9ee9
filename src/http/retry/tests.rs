use super::*;
use proptest::prelude::*;

const STATE: RetryState = RetryState {
    attempts: Attempts {
        count: 1,
        without_progress: 1,
        consecutive_403s: 0,
        started_at: Duration::ZERO,
        limits: AttemptLimits { max_attempts: None, not_found_until: None },
    },
    has_responded: true,
    timeout: Duration::from_secs(3600),
    poll_interval: Duration::from_secs(15),
    connections: 1,
};

const NOW: Duration = Duration::from_secs(10);

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// The state after this number of attempts without progress.
fn after(without_progress: u32) -> RetryState {
    RetryState { attempts: Attempts { without_progress, ..STATE.attempts }, ..STATE }
}

fn with_403s(consecutive_403s: u32) -> RetryState {
    RetryState { attempts: Attempts { consecutive_403s, ..STATE.attempts }, ..STATE }
}

fn with_limits(state: RetryState, limits: AttemptLimits) -> RetryState {
    RetryState { attempts: Attempts { limits, ..state.attempts }, ..state }
}

fn api_error(kind: ErrorKind) -> RequestError {
    RequestError::new(Endpoint::Api, kind, "", "")
}

fn store_error(kind: ErrorKind) -> RequestError {
    RequestError::new(Endpoint::Store, kind, "", "")
}

#[test]
fn every_status_of_the_api_is_retryable_refused_or_permanent() {
    for status in 100..=599 {
        let expected = match status {
            408 | 425 | 429 | 500 | 502 | 503 | 504 => RetryDecision::Retry(seconds(1)),
            401 | 403 | 404 => RetryDecision::GiveUp(GiveUpReason::Refused),
            _ => RetryDecision::GiveUp(GiveUpReason::NotRetryable),
        };
        assert_eq!(decide(&api_error(ErrorKind::Status(status)), &STATE, NOW, 1.0), expected, "{status}");
        let delay = seconds(u64::from(status != 403));
        let store = decide(&store_error(ErrorKind::Status(status)), &with_403s(1), NOW, 1.0);
        assert_eq!(store, RetryDecision::Retry(delay), "{status}");
    }
}

#[test]
fn only_the_first_403_of_the_store_is_retried_at_once() {
    let error = store_error(ErrorKind::Status(403));
    let mut attempts = Attempts::new(NOW);
    for (error, consecutive_403s) in [(&error, 1), (&error, 2), (&api_error(ErrorKind::Status(403)), 0), (&error, 1)] {
        attempts.record_error(error);
        assert_eq!(attempts.consecutive_403s, consecutive_403s);
    }
    attempts.record_error(&store_error(ErrorKind::UnexpectedEof));
    assert_eq!(attempts.consecutive_403s, 0);
    let decide = |consecutive_403s, retry_after| {
        super::decide(&RequestError { retry_after, ..error.clone() }, &with_403s(consecutive_403s), NOW, 1.0)
    };
    assert_eq!(decide(1, None), RetryDecision::Retry(Duration::ZERO));
    assert_eq!(decide(2, None), RetryDecision::Retry(seconds(1)));
    assert_eq!(decide(1, Some(seconds(3))), RetryDecision::Retry(seconds(3)));
}

#[test]
fn every_other_error_is_retryable_or_permanent() {
    for (kind, is_retryable) in [
        (ErrorKind::Connect, true),
        (ErrorKind::ProxyAuthentication, true),
        (ErrorKind::Timeout, true),
        (ErrorKind::ConnectionLost, true),
        (ErrorKind::Stalled, true),
        (ErrorKind::UnexpectedEof, true),
        (ErrorKind::RateLimited, true),
        (ErrorKind::Unreadable, true),
        (ErrorKind::MissingUrl, true),
        (ErrorKind::Mismatch, true),
        (ErrorKind::UnknownLength, true),
        (ErrorKind::Certificate, false),
        (ErrorKind::Redirect, false),
        (ErrorKind::MissingRedirect, false),
        (ErrorKind::StoreRedirect, false),
        (ErrorKind::TooLarge, false),
        (ErrorKind::WrongRun, false),
        (ErrorKind::InvalidUrl, false),
        (ErrorKind::UnsupportedEncoding, false),
    ] {
        let expected = if is_retryable {
            RetryDecision::Retry(seconds(1))
        } else {
            RetryDecision::GiveUp(GiveUpReason::NotRetryable)
        };
        for error in [api_error(kind), store_error(kind)] {
            assert_eq!(decide(&error, &STATE, NOW, 1.0), expected, "{error:?}");
        }
    }
}

#[test]
fn the_backoff_doubles_up_to_the_poll_interval_with_jitter_down_to_half() {
    for (failures, max) in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 15), (6, 15), (u32::MAX, 15)] {
        let decide = |random| decide(&api_error(ErrorKind::Connect), &after(failures), NOW, random);
        assert_eq!(decide(1.0), RetryDecision::Retry(seconds(max)), "{failures}");
        assert_eq!(decide(0.0), RetryDecision::Retry(seconds(max) / 2), "{failures}");
    }
}

#[test]
fn retry_after_is_honored_unless_it_exceeds_the_timeout() {
    let with = |delay, now| {
        let error = RequestError { retry_after: Some(seconds(delay)), ..api_error(ErrorKind::Status(503)) };
        decide(&error, &STATE, seconds(now), 1.0)
    };
    assert_eq!(with(600, 0), RetryDecision::Retry(seconds(600)));
    assert_eq!(with(3600, 0), RetryDecision::Retry(seconds(3600)));
    assert_eq!(with(3601, 0), RetryDecision::GiveUp(GiveUpReason::RetryAfterTooLong(seconds(3601))));
    assert_eq!(with(600, 3001), RetryDecision::GiveUp(GiveUpReason::RetryAfterTooLong(seconds(600))));
    assert_eq!(with(0, 0), RetryDecision::Retry(seconds(1)), "zero means the usual backoff");
}

#[test]
fn the_first_valid_response_must_come_within_two_minutes() {
    let silent = RetryState { has_responded: false, ..STATE };
    let error = api_error(ErrorKind::Connect);
    assert_eq!(decide(&error, &silent, seconds(119), 1.0), RetryDecision::Retry(seconds(1)));
    let after_five = RetryState { has_responded: false, ..after(5) };
    assert_eq!(decide(&error, &after_five, seconds(110), 1.0), RetryDecision::Retry(seconds(10)));
    assert_eq!(decide(&error, &silent, seconds(120), 1.0), RetryDecision::GiveUp(GiveUpReason::NoFirstResponse));
    assert_eq!(decide(&error, &STATE, seconds(120), 1.0), RetryDecision::Retry(seconds(1)));
    assert_eq!(decide(&store_error(ErrorKind::Connect), &silent, seconds(120), 1.0), RetryDecision::Retry(seconds(1)));
}

#[test]
fn a_response_with_retry_after_shows_that_the_api_is_available() {
    let silent = RetryState { has_responded: false, ..STATE };
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let busy = |delay| RequestError { retry_after: Some(seconds(delay)), ..api_error(ErrorKind::Status(status)) };
        for (delay, now, expected) in [
            (120, 0, RetryDecision::Retry(seconds(120))),
            (600, 0, RetryDecision::Retry(seconds(600))),
            (3600, 0, RetryDecision::Retry(seconds(3600))),
            (600, 1000, RetryDecision::Retry(seconds(600))),
            (0, 1000, RetryDecision::Retry(seconds(1))),
            (3601, 0, RetryDecision::GiveUp(GiveUpReason::RetryAfterTooLong(seconds(3601)))),
        ] {
            assert_eq!(decide(&busy(delay), &silent, seconds(now), 1.0), expected, "{status} {delay}");
        }
        assert!(proves_availability(&busy(0)));
        assert!(!proves_availability(&api_error(ErrorKind::Status(status))));
    }
    assert!(!proves_availability(&RequestError {
        retry_after: Some(seconds(1)),
        ..store_error(ErrorKind::Status(503))
    }));
}

#[test]
fn a_404_right_after_the_start_of_a_run_is_retried() {
    let started = with_limits(STATE, AttemptLimits { not_found_until: Some(seconds(35)), max_attempts: None });
    let not_found = api_error(ErrorKind::Status(404));
    assert_eq!(decide(&not_found, &started, seconds(34), 1.0), RetryDecision::Retry(seconds(1)));
    assert_eq!(decide(&not_found, &started, seconds(35), 1.0), RetryDecision::GiveUp(GiveUpReason::Refused));
    assert_eq!(
        decide(&api_error(ErrorKind::Status(403)), &started, seconds(6), 1.0),
        RetryDecision::GiveUp(GiveUpReason::Refused)
    );
}

#[test]
fn a_store_is_given_up_after_eight_attempts_without_a_new_byte() {
    let error = store_error(ErrorKind::UnexpectedEof);
    assert!(matches!(decide(&error, &after(7), NOW, 1.0), RetryDecision::Retry(_)));
    assert_eq!(decide(&error, &after(8), NOW, 1.0), RetryDecision::GiveUp(GiveUpReason::OutOfAttempts));
    let api = api_error(ErrorKind::Connect);
    assert!(matches!(decide(&api, &after(80), NOW, 1.0), RetryDecision::Retry(_)));
}

#[test]
fn limited_attempts_end_unless_the_api_asks_for_a_delay() {
    let limited =
        |attempts| with_limits(after(attempts), AttemptLimits { max_attempts: Some(4), not_found_until: None });
    let of = |attempts, retry_after| {
        let error = RequestError { retry_after, ..api_error(ErrorKind::Status(500)) };
        decide(&error, &limited(attempts), NOW, 1.0)
    };
    assert_eq!(of(3, None), RetryDecision::Retry(seconds(4)));
    assert_eq!(of(4, None), RetryDecision::GiveUp(GiveUpReason::OutOfAttempts));
    assert_eq!(of(4, Some(seconds(0))), RetryDecision::GiveUp(GiveUpReason::OutOfAttempts));
    assert_eq!(of(9, Some(seconds(60))), RetryDecision::Retry(seconds(60)));
    assert_eq!(of(4, Some(seconds(4000))), RetryDecision::GiveUp(GiveUpReason::RetryAfterTooLong(seconds(4000))));
    let refused = decide(&api_error(ErrorKind::Status(403)), &limited(4), NOW, 1.0);
    assert_eq!(refused, RetryDecision::GiveUp(GiveUpReason::Refused));
    let store = store_error(ErrorKind::UnexpectedEof);
    assert!(matches!(decide(&store, &limited(4), NOW, 1.0), RetryDecision::Retry(_)));
}

#[test]
fn a_store_that_asks_to_slow_down_loses_a_connection_unless_it_is_the_last() {
    let of = |status, retry_after, connections| {
        let error = RequestError { retry_after, ..store_error(ErrorKind::Status(status)) };
        decide(&error, &RetryState { connections, ..STATE }, NOW, 1.0)
    };
    for status in 100..=599 {
        let asks_to_slow_down = [429, 503].contains(&status);
        assert_eq!(
            of(status, None, 2) == RetryDecision::ReduceConcurrency(Duration::ZERO),
            asks_to_slow_down,
            "{status}"
        );
        assert_eq!(
            of(status, Some(seconds(7)), 2) == RetryDecision::ReduceConcurrency(seconds(7)),
            asks_to_slow_down,
            "{status}"
        );
        assert_eq!(of(status, Some(seconds(7)), 1), RetryDecision::Retry(seconds(7)), "{status}");
        assert_eq!(
            of(status, Some(seconds(4000)), 8),
            RetryDecision::GiveUp(GiveUpReason::RetryAfterTooLong(seconds(4000))),
            "{status}"
        );
    }
    let api = api_error(ErrorKind::Status(503));
    assert_eq!(decide(&api, &RetryState { connections: 8, ..STATE }, NOW, 1.0), RetryDecision::Retry(seconds(1)));
    let without_progress = RetryState { connections: 8, ..after(8) };
    assert_eq!(
        decide(&store_error(ErrorKind::Status(503)), &without_progress, NOW, 1.0),
        RetryDecision::GiveUp(GiveUpReason::OutOfAttempts)
    );
}

#[test]
fn the_last_delay_ends_at_the_timeout() {
    let error = api_error(ErrorKind::Connect);
    let state = after(5);
    assert_eq!(decide(&error, &state, seconds(3599), 1.0), RetryDecision::Retry(seconds(1)));
    assert_eq!(decide(&error, &state, seconds(3600), 1.0), RetryDecision::GiveUp(GiveUpReason::TimedOut));
    assert_eq!(decide(&error, &state, seconds(9999), 1.0), RetryDecision::GiveUp(GiveUpReason::TimedOut));
}

#[test]
fn attempts_are_counted_and_those_without_progress_since_the_last_progress() {
    let mut attempts = Attempts::new(NOW);
    let counts = [true, false, false, true, false].map(|made_progress| {
        attempts.record(made_progress);
        (attempts.count, attempts.without_progress)
    });
    assert_eq!(counts, [(1, 0), (2, 1), (3, 2), (4, 0), (5, 1)]);
}

proptest! {
    #[test]
    fn a_backoff_never_exceeds_the_poll_interval_or_the_timeout(
        failures in 0_u32..1000,
        now in 0_u64..4000,
        poll_interval in 1_u64..100_000,
        random in 0.0..=1.0,
        has_responded: bool,
    ) {
        let poll_interval = Duration::from_millis(poll_interval);
        let state = RetryState { has_responded, poll_interval, ..after(failures) };
        if let RetryDecision::Retry(delay) = decide(&api_error(ErrorKind::Timeout), &state, seconds(now), random) {
            prop_assert!(delay <= state.poll_interval && seconds(now) + delay <= state.timeout);
            prop_assert!(has_responded || seconds(now) + delay <= FIRST_RESPONSE_TIMEOUT);
            prop_assert!(!delay.is_zero());
        }
    }

    #[test]
    fn no_retry_after_extends_past_the_timeout(delay: u64) {
        let error = RequestError { retry_after: Some(seconds(delay % 8000)), ..api_error(ErrorKind::Status(503)) };
        if let RetryDecision::Retry(delay) = decide(&error, &STATE, NOW, 0.5) {
            prop_assert!(NOW + delay <= STATE.timeout);
        }
    }
}

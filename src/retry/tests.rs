use super::*;
use proptest::prelude::*;

const STATE: State = State {
    faults: 1,
    answered: true,
    started: None,
    timeout: Duration::from_secs(3600),
    poll_interval: Duration::from_secs(15),
    connections: 1,
    refused: 0,
    most_attempts: None,
};

const NOW: Duration = Duration::from_secs(10);

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn every_status_of_the_api_is_tried_again_refused_or_final() {
    for status in 100..=599 {
        let expected = match status {
            200..=299 | 408 | 425 | 429 | 500 | 502 | 503 | 504 => Next::Again(seconds(1)),
            401 | 403 | 404 => Next::GiveUp(Reason::Refused),
            _ => Next::GiveUp(Reason::Final),
        };
        assert_eq!(next(&Fault::api(Kind::Status(status), ""), &STATE, NOW, 1.0), expected, "{status}");
        let wait = seconds(u64::from(status != 403));
        let store = next(&Fault::store(Kind::Status(status), ""), &State { refused: 1, ..STATE }, NOW, 1.0);
        assert_eq!(store, Next::Again(wait), "{status}");
    }
}

#[test]
fn only_the_first_403_of_the_store_is_retried_at_once() {
    let fault = Fault::store(Kind::Status(403), "");
    let mut attempts = Attempts::none(NOW);
    for (fault, refused) in [(&fault, 1), (&fault, 2), (&Fault::api(Kind::Status(403), ""), 0), (&fault, 1)] {
        attempts.note(fault);
        assert_eq!(attempts.refused, refused);
    }
    attempts.note(&Fault::store(Kind::Cut, ""));
    assert_eq!(attempts.refused, 0);
    let next =
        |refused, retry_after| next(&Fault { retry_after, ..fault.clone() }, &State { refused, ..STATE }, NOW, 1.0);
    assert_eq!(next(1, None), Next::Again(Duration::ZERO));
    assert_eq!(next(2, None), Next::Again(seconds(1)));
    assert_eq!(next(1, Some(seconds(3))), Next::Again(seconds(3)));
}

#[test]
fn every_other_kind_is_tried_again_or_final() {
    for (kind, again) in [
        (Kind::Connect, true),
        (Kind::Timeout, true),
        (Kind::Broken, true),
        (Kind::Stalled, true),
        (Kind::Cut, true),
        (Kind::RateLimited, true),
        (Kind::Unreadable, true),
        (Kind::NoUrl, true),
        (Kind::Mismatch, true),
        (Kind::Unverifiable, true),
        (Kind::Certificate, false),
        (Kind::Redirect, false),
        (Kind::StoreRedirect, false),
        (Kind::TooLarge, false),
        (Kind::OtherRun, false),
        (Kind::BadUrl, false),
        (Kind::Coded, false),
    ] {
        let expected = if again { Next::Again(seconds(1)) } else { Next::GiveUp(Reason::Final) };
        for fault in [Fault::api(kind, ""), Fault::store(kind, "")] {
            assert_eq!(next(&fault, &STATE, NOW, 1.0), expected, "{fault:?}");
        }
    }
}

#[test]
fn waits_double_up_to_the_poll_interval_and_are_jittered_down_to_half() {
    for (faults, most) in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 15), (6, 15), (u32::MAX, 15)] {
        let state = State { faults, ..STATE };
        let wait = |random| next(&Fault::api(Kind::Connect, ""), &state, NOW, random);
        assert_eq!(wait(1.0), Next::Again(seconds(most)), "{faults}");
        assert_eq!(wait(0.0), Next::Again(seconds(most) / 2), "{faults}");
    }
}

#[test]
fn retry_after_is_obeyed_unless_it_reaches_past_the_timeout() {
    let with = |wait, now| {
        let fault = Fault { retry_after: Some(seconds(wait)), ..Fault::api(Kind::Status(503), "") };
        next(&fault, &STATE, seconds(now), 1.0)
    };
    assert_eq!(with(600, 0), Next::Again(seconds(600)));
    assert_eq!(with(3600, 0), Next::Again(seconds(3600)));
    assert_eq!(with(3601, 0), Next::GiveUp(Reason::RetryAfter(seconds(3601))));
    assert_eq!(with(600, 3001), Next::GiveUp(Reason::RetryAfter(seconds(600))));
    assert_eq!(with(0, 0), Next::Again(seconds(1)), "no wait at all is the ordinary one");
}

#[test]
fn an_api_that_never_answered_readably_is_given_two_minutes() {
    let silent = State { answered: false, ..STATE };
    let fault = Fault::api(Kind::Connect, "");
    assert_eq!(next(&fault, &silent, seconds(119), 1.0), Next::Again(seconds(1)));
    assert_eq!(next(&fault, &State { faults: 5, ..silent }, seconds(110), 1.0), Next::Again(seconds(10)));
    assert_eq!(next(&fault, &silent, seconds(120), 1.0), Next::GiveUp(Reason::NeverAnswered));
    assert_eq!(next(&fault, &STATE, seconds(120), 1.0), Next::Again(seconds(1)));
    assert_eq!(next(&Fault::store(Kind::Connect, ""), &silent, seconds(120), 1.0), Next::Again(seconds(1)));
}

#[test]
fn a_response_with_retry_after_counts_as_an_answer() {
    let silent = State { answered: false, ..STATE };
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let busy = |wait| Fault { retry_after: Some(seconds(wait)), ..Fault::api(Kind::Status(status), "") };
        for (wait, now, expected) in [
            (120, 0, Next::Again(seconds(120))),
            (600, 0, Next::Again(seconds(600))),
            (3600, 0, Next::Again(seconds(3600))),
            (600, 1000, Next::Again(seconds(600))),
            (0, 1000, Next::Again(seconds(1))),
            (3601, 0, Next::GiveUp(Reason::RetryAfter(seconds(3601)))),
        ] {
            assert_eq!(next(&busy(wait), &silent, seconds(now), 1.0), expected, "{status} {wait}");
        }
        assert!(is_answer(&busy(0)));
        assert!(!is_answer(&Fault::api(Kind::Status(status), "")));
    }
    assert!(!is_answer(&Fault { retry_after: Some(seconds(1)), ..Fault::store(Kind::Status(503), "") }));
}

#[test]
fn a_404_right_after_the_start_of_a_run_is_tried_again() {
    let started = State { started: Some(seconds(5)), ..STATE };
    let not_found = Fault::api(Kind::Status(404), "");
    assert_eq!(next(&not_found, &started, seconds(34), 1.0), Next::Again(seconds(1)));
    assert_eq!(next(&not_found, &started, seconds(35), 1.0), Next::GiveUp(Reason::Refused));
    assert_eq!(next(&Fault::api(Kind::Status(403), ""), &started, seconds(6), 1.0), Next::GiveUp(Reason::Refused));
}

#[test]
fn a_store_is_given_up_after_eight_attempts_without_a_new_byte() {
    let fault = Fault::store(Kind::Cut, "");
    assert!(matches!(next(&fault, &State { faults: 7, ..STATE }, NOW, 1.0), Next::Again(_)));
    assert_eq!(next(&fault, &State { faults: 8, ..STATE }, NOW, 1.0), Next::GiveUp(Reason::Fruitless));
    let api = Fault::api(Kind::Connect, "");
    assert!(matches!(next(&api, &State { faults: 80, ..STATE }, NOW, 1.0), Next::Again(_)));
}

#[test]
fn a_request_to_the_api_that_is_worth_some_attempts_gets_no_more_unless_the_api_asks_for_a_wait() {
    let of = |faults, wait| {
        let fault = Fault { retry_after: wait, ..Fault::api(Kind::Status(500), "") };
        next(&fault, &State { faults, most_attempts: Some(4), ..STATE }, NOW, 1.0)
    };
    assert_eq!(of(3, None), Next::Again(seconds(4)));
    assert_eq!(of(4, None), Next::GiveUp(Reason::Fruitless));
    assert_eq!(of(4, Some(seconds(0))), Next::GiveUp(Reason::Fruitless));
    assert_eq!(of(9, Some(seconds(60))), Next::Again(seconds(60)));
    assert_eq!(of(4, Some(seconds(4000))), Next::GiveUp(Reason::RetryAfter(seconds(4000))));
    let refused =
        next(&Fault::api(Kind::Status(403), ""), &State { faults: 4, most_attempts: Some(4), ..STATE }, NOW, 1.0);
    assert_eq!(refused, Next::GiveUp(Reason::Refused));
    let store = Fault::store(Kind::Cut, "");
    assert!(matches!(next(&store, &State { faults: 4, most_attempts: Some(4), ..STATE }, NOW, 1.0), Next::Again(_)));
}

#[test]
fn a_store_that_asks_for_less_gets_one_connection_less_as_long_as_there_are_others() {
    let of = |status, wait, connections| {
        let fault = Fault { retry_after: wait, ..Fault::store(Kind::Status(status), "") };
        next(&fault, &State { connections, ..STATE }, NOW, 1.0)
    };
    for status in 100..=599 {
        let asks_for_less = [429, 503].contains(&status);
        assert_eq!(of(status, None, 2) == Next::Fewer(Duration::ZERO), asks_for_less, "{status}");
        assert_eq!(of(status, Some(seconds(7)), 2) == Next::Fewer(seconds(7)), asks_for_less, "{status}");
        assert_eq!(of(status, Some(seconds(7)), 1), Next::Again(seconds(7)), "{status}");
        assert_eq!(of(status, Some(seconds(4000)), 8), Next::GiveUp(Reason::RetryAfter(seconds(4000))), "{status}");
    }
    let api = Fault::api(Kind::Status(503), "");
    assert_eq!(next(&api, &State { connections: 8, ..STATE }, NOW, 1.0), Next::Again(seconds(1)));
    let fruitless = State { connections: 8, faults: 8, ..STATE };
    assert_eq!(next(&Fault::store(Kind::Status(503), ""), &fruitless, NOW, 1.0), Next::GiveUp(Reason::Fruitless));
}

#[test]
fn the_last_wait_ends_at_the_timeout() {
    let fault = Fault::api(Kind::Connect, "");
    let state = State { faults: 5, ..STATE };
    assert_eq!(next(&fault, &state, seconds(3599), 1.0), Next::Again(seconds(1)));
    assert_eq!(next(&fault, &state, seconds(3600), 1.0), Next::GiveUp(Reason::TimedOut));
    assert_eq!(next(&fault, &state, seconds(9999), 1.0), Next::GiveUp(Reason::TimedOut));
}

#[test]
fn retry_after_is_read_in_all_its_forms() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let at = httpdate::parse_http_date(date).unwrap();
    for (value, answered, wait) in [
        ("120", None, Some(120)),
        (" 120 ", None, Some(120)),
        ("0", None, Some(0)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", None, Some(60)),
        ("Sunday, 06-Nov-94 08:50:37 GMT", None, Some(60)),
        ("Sun Nov  6 08:50:37 1994", None, Some(60)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some("nonsense"), Some(60)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", None, Some(0)),
        ("99999999999999999999999", None, Some(u64::MAX)),
        ("-1", None, None),
        ("1.5", None, None),
        ("soon", None, None),
        ("", None, None),
        ("+5", None, None),
    ] {
        assert_eq!(retry_after(value, answered, at), wait.map(seconds), "{value:?}");
    }
}

/// What servers have sent as `Retry-After` and `Date`, or could.
const DATES: [&str; 16] = [
    "120",
    "0",
    "-1",
    "1.5",
    "1e3",
    "+5",
    "0x10",
    "18446744073709551615",
    "99999999999999999999999",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Sun, 06 Nov 1994 08:49:37 +0000",
    "120, 240",
];

proptest! {
    #[test]
    fn a_wait_is_what_is_asked_for_or_none(
        value in crate::corpus::mutated_text(&DATES),
        date in proptest::option::of(crate::corpus::mutated_text(&DATES)),
    ) {
        let wait = retry_after(&value, date.as_deref(), SystemTime::UNIX_EPOCH);
        let digits = !value.trim().is_empty() && value.trim().bytes().all(|byte| byte.is_ascii_digit());
        if digits {
            prop_assert_eq!(wait, Some(seconds(value.trim().parse().unwrap_or(u64::MAX))));
        }
        if !digits && httpdate::parse_http_date(value.trim()).is_err() {
            prop_assert_eq!(wait, None);
        }
    }

    #[test]
    fn a_wait_without_retry_after_never_exceeds_the_poll_interval_or_the_timeout(
        faults in 0_u32..1000,
        now in 0_u64..4000,
        poll_interval in 1_u64..100_000,
        random in 0.0..=1.0,
        answered: bool,
    ) {
        let state = State { faults, answered, poll_interval: Duration::from_millis(poll_interval), ..STATE };
        if let Next::Again(wait) = next(&Fault::api(Kind::Timeout, ""), &state, seconds(now), random) {
            prop_assert!(wait <= state.poll_interval && seconds(now) + wait <= state.timeout);
            prop_assert!(answered || seconds(now) + wait <= FIRST_ANSWER);
            prop_assert!(!wait.is_zero());
        }
    }

    #[test]
    fn no_retry_after_leads_past_the_timeout(value in ".*", date in proptest::option::of(".*")) {
        let wait = retry_after(&value, date.as_deref(), SystemTime::UNIX_EPOCH);
        let fault = Fault { retry_after: wait, ..Fault::api(Kind::Status(503), "") };
        if let Next::Again(wait) = next(&fault, &STATE, NOW, 0.5) {
            prop_assert!(NOW + wait <= STATE.timeout);
        }
    }
}

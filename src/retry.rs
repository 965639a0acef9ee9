//! Whether a fault is worth another try, and after how long.
//!
//! Pure: the time and the random number come in as arguments. The loops that act on it are [`crate::step`] for requests
//! to the API and [`crate::download`] for the file.

use std::time::{Duration, SystemTime};

use crate::fault::{Fault, Kind, Side};

/// How long to wait for the first answer of the API: a readable one, or one with a `Retry-After`. Keeps a mistyped host
/// from taking an hour.
pub const FIRST_ANSWER: Duration = Duration::from_secs(120);

/// So long a 404 after the start of a run is taken for a run that has not got around yet.
pub const RUN_APPEARS: Duration = Duration::from_secs(30);

/// So many attempts in a row may bring no new byte of the file.
pub const FRUITLESS_ATTEMPTS: u32 = 8;

/// What is known when a fault is judged.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Faults in a row, this one included. For the store: attempts in a row that brought no new byte, and 0 for an
    /// attempt that brought some.
    pub faults: u32,
    /// Whether the API has answered in this step: readably, or as [`is_answer`] has it.
    pub answered: bool,
    /// When this tool started the run, as long as no status of it has been read.
    pub started: Option<Duration>,
    /// The bound on the step, from its start.
    pub timeout: Duration,
    /// The longest wait in a fault, unless the server asks for a longer one.
    pub poll_interval: Duration,
    /// How many connections bring the file.
    pub connections: usize,
    /// How many attempts in a row the store refused with 403, this one included.
    pub refused: u32,
    /// How many attempts a request to the API is worth, where that is limited. A wait that the API asks for is obeyed all the
    /// same.
    pub most_attempts: Option<u32>,
}

/// A row of attempts at one thing.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    /// How many there were.
    pub made: u32,
    /// How many of the last ones brought nothing new.
    pub fruitless: u32,
    /// How many of the last ones the store refused with 403: most likely, the signed URL had expired.
    pub refused: u32,
    /// When the first one began.
    pub since: Duration,
    /// How many there may be, where that is limited.
    pub most: Option<u32>,
}

impl Attempts {
    /// None so far.
    #[must_use]
    pub fn none(since: Duration) -> Self {
        Self { made: 0, fruitless: 0, refused: 0, since, most: None }
    }

    /// Counts one more, which brought something new or did not.
    pub fn count(&mut self, gained: bool) {
        self.made += 1;
        self.fruitless = if gained { 0 } else { self.fruitless + 1 };
    }

    /// Notes how the last attempt at the file ended.
    pub fn note(&mut self, fault: &Fault) {
        self.refused = if is_refused_by_store(fault) { self.refused + 1 } else { 0 };
    }
}

/// What happens after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another try after this wait.
    Again(Duration),
    /// One connection less, for the store asks for fewer requests, and none at all for this time.
    Fewer(Duration),
    /// The end of the step.
    GiveUp(Reason),
}

/// Why there is no other try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Another try would end in the same way.
    Final,
    /// The API refuses: 401, 403, 404.
    Refused,
    /// The API has not once answered readably for [`FIRST_ANSWER`].
    NeverAnswered,
    /// The server asks for a wait that reaches past the timeout.
    RetryAfter(Duration),
    /// The timeout is reached.
    TimedOut,
    /// [`FRUITLESS_ATTEMPTS`] attempts at the file brought nothing, or [`State::most_attempts`] at a request to the API.
    Fruitless,
}

/// What a kind of fault means by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Worth another try.
    Again,
    /// The API refuses.
    Refused,
    /// Not worth another try.
    Final,
}

/// Which faults are worth another try. From the store, every status is: the next attempt has another URL.
#[must_use]
pub fn verdict(side: Side, kind: Kind) -> Verdict {
    match (side, kind) {
        (Side::Api, Kind::Status(401 | 403 | 404)) => Verdict::Refused,
        (Side::Api, Kind::Status(200..=299 | 408 | 425 | 429 | 500 | 502 | 503 | 504))
        | (Side::Store, Kind::Status(_)) => Verdict::Again,
        (Side::Api, Kind::Status(_)) => Verdict::Final,
        (_, Kind::Connect | Kind::Timeout | Kind::Broken | Kind::Stalled | Kind::Cut | Kind::RateLimited)
        | (_, Kind::Unreadable | Kind::NoUrl | Kind::Mismatch | Kind::Unverifiable) => Verdict::Again,
        (_, Kind::Certificate | Kind::Redirect | Kind::StoreRedirect | Kind::TooLarge)
        | (_, Kind::OtherRun | Kind::BadUrl | Kind::Coded) => Verdict::Final,
    }
}

/// Whether a fault proves that the API is there: it has answered with a status, and says when to come again.
#[must_use]
pub fn is_answer(fault: &Fault) -> bool {
    fault.side == Side::Api && fault.retry_after.is_some()
}

/// What happens after a fault at the time `now` (since the start of the step). `random` is from 0 to 1.
#[must_use]
pub fn next(fault: &Fault, state: &State, now: Duration, random: f64) -> Next {
    let appears_later = fault.side == Side::Api
        && fault.kind == Kind::Status(404)
        && state.started.is_some_and(|started| now < started + RUN_APPEARS);
    match verdict(fault.side, fault.kind) {
        Verdict::Refused if !appears_later => return Next::GiveUp(Reason::Refused),
        Verdict::Final => return Next::GiveUp(Reason::Final),
        Verdict::Refused | Verdict::Again => {}
    }
    let asks_for_a_wait = fault.retry_after.is_some_and(|wait| !wait.is_zero());
    let is_fruitless = match fault.side {
        Side::Store => state.faults >= FRUITLESS_ATTEMPTS,
        Side::Api => state.most_attempts.is_some_and(|most| state.faults >= most) && !asks_for_a_wait,
    };
    if is_fruitless {
        return Next::GiveUp(Reason::Fruitless);
    }
    let left = state.timeout.saturating_sub(now);
    if left.is_zero() {
        return Next::GiveUp(Reason::TimedOut);
    }
    let must_answer = fault.side == Side::Api && !state.answered && !is_answer(fault);
    let patience = if must_answer { FIRST_ANSWER.saturating_sub(now) } else { left };
    match fault.retry_after {
        Some(wait) if wait > left => Next::GiveUp(Reason::RetryAfter(wait)),
        _ if patience.is_zero() => Next::GiveUp(Reason::NeverAnswered),
        wait if state.connections > 1 && asks_for_less(fault) => Next::Fewer(wait.unwrap_or_default()),
        Some(wait) if !wait.is_zero() => Next::Again(wait),
        // The next attempt has a new signed URL.
        _ if is_refused_by_store(fault) && state.refused <= 1 => Next::Again(Duration::ZERO),
        _ => Next::Again(back_off(state.faults, state.poll_interval, random).min(left).min(patience)),
    }
}

/// Whether a store asks for fewer requests: `503 SlowDown`, or 429.
fn asks_for_less(fault: &Fault) -> bool {
    fault.side == Side::Store && matches!(fault.kind, Kind::Status(429 | 503))
}

/// Whether the store refused a signed URL: an expired one, most likely.
fn is_refused_by_store(fault: &Fault) -> bool {
    fault.side == Side::Store && fault.kind == Kind::Status(403)
}

/// Twice as long after each fault: 1 s, 2 s, 4 s …, never more than the poll interval, and of that a random part from
/// half to all, so that the nightly jobs of many offices do not come back together.
fn back_off(faults: u32, poll_interval: Duration, random: f64) -> Duration {
    let doublings = faults.saturating_sub(1).min(12);
    let full = Duration::from_secs(1 << doublings).min(poll_interval);
    full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

/// The wait that a `Retry-After` asks for (RFC 9110, section 10.2.3): seconds, or a date, which is measured against the
/// answer's own `Date` where there is one, so that a clock that is off does no harm. A date that is past is no wait;
/// nonsense is none at all.
#[must_use]
pub fn retry_after(value: &str, date: Option<&str>, time_of_day: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // So many digits that they do not fit are still a wait longer than any timeout.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let from = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok()).unwrap_or(time_of_day);
    Some(until.duration_since(from).unwrap_or_default())
}

#[cfg(test)]
mod tests;

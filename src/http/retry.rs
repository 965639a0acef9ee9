//! Whether a fault is worth another try, and after how long.
//!
//! Pure: the time and the random number come in as arguments. The loops that act on it are [`crate::context`] for requests
//! to the API and [`crate::download`] for the file.

use std::time::{Duration, SystemTime};

use crate::http::error::{Endpoint, ErrorKind, RequestError};

/// How long to wait for the first answer of the API: a readable one, or one with a `Retry-After`. Keeps a mistyped host
/// from taking an hour.
pub const FIRST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

/// So long a 404 after the start of a run is taken for a run that has not got around yet.
pub const NEW_RUN_NOT_FOUND_PERIOD: Duration = Duration::from_secs(30);

/// So many attempts in a row may bring no new byte of the file.
pub const MAX_ATTEMPTS_WITHOUT_PROGRESS: u32 = 8;

/// What is known when a fault is judged.
#[derive(Clone, Copy, Debug)]
pub struct RetryState {
    /// Faults in a row, this one included. For the store: attempts in a row that brought no new byte, and 0 for an
    /// attempt that brought some.
    pub failures: u32,
    /// Whether the API has answered in this step: readably, or as [`is_response`] has it.
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
    pub max_attempts: Option<u32>,
}

/// A row of attempts at one thing.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    /// How many there were.
    pub made: u32,
    /// How many of the last ones brought nothing new.
    pub without_progress: u32,
    /// How many of the last ones the store refused with 403: most likely, the signed URL had expired.
    pub refused: u32,
    /// When the first one began.
    pub since: Duration,
    /// How many there may be, where that is limited.
    pub max: Option<u32>,
}

impl Attempts {
    /// None so far.
    #[must_use]
    pub fn new(since: Duration) -> Self {
        Self { made: 0, without_progress: 0, refused: 0, since, max: None }
    }

    /// Counts one more, which brought something new or did not.
    pub fn record(&mut self, gained: bool) {
        self.made += 1;
        self.without_progress = if gained { 0 } else { self.without_progress + 1 };
    }

    /// Notes how the last attempt at the file ended.
    pub fn record_error(&mut self, error: &RequestError) {
        self.refused = if is_refused_by_store(error) { self.refused + 1 } else { 0 };
    }
}

/// A request that failed, and the consecutive attempts that ended with it.
#[derive(Clone, Debug)]
pub struct RetryFailure {
    /// The error of the last attempt.
    pub error: RequestError,
    /// The attempts, including the last one.
    pub attempts: Attempts,
    /// How long they took together.
    pub took: Duration,
}

/// What happens after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Another try after this wait.
    Retry(Duration),
    /// One connection less, for the store asks for fewer requests, and none at all for this time.
    ReduceConcurrency(Duration),
    /// The end of the step.
    GiveUp(GiveUpReason),
}

/// Why there is no other try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUpReason {
    /// Another try would end in the same way.
    NotRetryable,
    /// The API refuses: 401, 403, 404.
    Refused,
    /// The API has not once answered readably for [`FIRST_RESPONSE_TIMEOUT`].
    NoFirstResponse,
    /// The server asks for a wait that reaches past the timeout.
    RetryAfterTooLong(Duration),
    /// The timeout is reached.
    TimedOut,
    /// [`MAX_ATTEMPTS_WITHOUT_PROGRESS`] attempts at the file brought nothing, or [`RetryState::max_attempts`] at a request to the API.
    NoProgress,
}

/// What a kind of fault means by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Worth another try.
    Retry,
    /// The API refuses.
    Refused,
    /// Not worth another try.
    NotRetryable,
}

/// Which faults are worth another try. From the store, every status is: the next attempt has another URL.
#[must_use]
pub fn classify(endpoint: Endpoint, kind: ErrorKind) -> ErrorClass {
    match (endpoint, kind) {
        (Endpoint::ApiClient, ErrorKind::Status(401 | 403 | 404)) => ErrorClass::Refused,
        (Endpoint::ApiClient, ErrorKind::Status(200..=299 | 408 | 425 | 429 | 500 | 502 | 503 | 504))
        | (Endpoint::Store, ErrorKind::Status(_)) => ErrorClass::Retry,
        (Endpoint::ApiClient, ErrorKind::Status(_)) => ErrorClass::NotRetryable,
        (
            _,
            ErrorKind::Connect
            | ErrorKind::Timeout
            | ErrorKind::ConnectionLost
            | ErrorKind::Stalled
            | ErrorKind::UnexpectedEof
            | ErrorKind::RateLimited,
        )
        | (_, ErrorKind::Unreadable | ErrorKind::MissingUrl | ErrorKind::Mismatch | ErrorKind::UnknownLength) => {
            ErrorClass::Retry
        }
        (_, ErrorKind::Certificate | ErrorKind::Redirect | ErrorKind::StoreRedirect | ErrorKind::TooLarge)
        | (_, ErrorKind::WrongRun | ErrorKind::InvalidUrl | ErrorKind::UnsupportedEncoding) => ErrorClass::NotRetryable,
    }
}

/// Whether a fault proves that the API is there: it has answered with a status, and says when to come again.
#[must_use]
pub fn is_response(error: &RequestError) -> bool {
    error.endpoint == Endpoint::ApiClient && error.retry_after.is_some()
}

/// What happens after a fault at the time `now` (since the start of the step). `random` is from 0 to 1.
#[must_use]
pub fn decide(error: &RequestError, state: &RetryState, now: Duration, random: f64) -> RetryDecision {
    let appears_later = error.endpoint == Endpoint::ApiClient
        && error.kind == ErrorKind::Status(404)
        && state.started.is_some_and(|started| now < started + NEW_RUN_NOT_FOUND_PERIOD);
    match classify(error.endpoint, error.kind) {
        ErrorClass::Refused if !appears_later => return RetryDecision::GiveUp(GiveUpReason::Refused),
        ErrorClass::NotRetryable => return RetryDecision::GiveUp(GiveUpReason::NotRetryable),
        ErrorClass::Refused | ErrorClass::Retry => {}
    }
    let asks_for_a_wait = error.retry_after.is_some_and(|wait| !wait.is_zero());
    let has_no_progress = match error.endpoint {
        Endpoint::Store => state.failures >= MAX_ATTEMPTS_WITHOUT_PROGRESS,
        Endpoint::ApiClient => state.max_attempts.is_some_and(|max| state.failures >= max) && !asks_for_a_wait,
    };
    if has_no_progress {
        return RetryDecision::GiveUp(GiveUpReason::NoProgress);
    }
    let left = state.timeout.saturating_sub(now);
    if left.is_zero() {
        return RetryDecision::GiveUp(GiveUpReason::TimedOut);
    }
    let must_answer = error.endpoint == Endpoint::ApiClient && !state.answered && !is_response(error);
    let patience = if must_answer { FIRST_RESPONSE_TIMEOUT.saturating_sub(now) } else { left };
    match error.retry_after {
        Some(wait) if wait > left => RetryDecision::GiveUp(GiveUpReason::RetryAfterTooLong(wait)),
        _ if patience.is_zero() => RetryDecision::GiveUp(GiveUpReason::NoFirstResponse),
        wait if state.connections > 1 && asks_to_slow_down(error) => {
            RetryDecision::ReduceConcurrency(wait.unwrap_or_default())
        }
        Some(wait) if !wait.is_zero() => RetryDecision::Retry(wait),
        // The next attempt has a new signed URL.
        _ if is_refused_by_store(error) && state.refused <= 1 => RetryDecision::Retry(Duration::ZERO),
        _ => RetryDecision::Retry(backoff_delay(state.failures, state.poll_interval, random).min(left).min(patience)),
    }
}

/// Whether a store asks for fewer requests: `503 SlowDown`, or 429.
fn asks_to_slow_down(error: &RequestError) -> bool {
    error.endpoint == Endpoint::Store && matches!(error.kind, ErrorKind::Status(429 | 503))
}

/// Whether the store refused a signed URL: an expired one, most likely.
fn is_refused_by_store(error: &RequestError) -> bool {
    error.endpoint == Endpoint::Store && error.kind == ErrorKind::Status(403)
}

/// Twice as long after each fault: 1 s, 2 s, 4 s …, never more than the poll interval, and of that a random part from
/// half to all, so that the nightly jobs of many offices do not come back together.
fn backoff_delay(failures: u32, poll_interval: Duration, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(12);
    let full = Duration::from_secs(1 << doublings).min(poll_interval);
    full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

/// The wait that a `Retry-After` asks for (RFC 9110, section 10.2.3): seconds, or a date, which is measured against the
/// answer's own `Date` where there is one, so that a clock that is off does no harm. A date that is past is no wait;
/// nonsense is none at all.
#[must_use]
pub fn retry_after(value: &str, date: Option<&str>, system_time: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // So many digits that they do not fit are still a wait longer than any timeout.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let from = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok()).unwrap_or(system_time);
    Some(until.duration_since(from).unwrap_or_default())
}

#[cfg(test)]
mod tests;

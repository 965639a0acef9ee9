//! The retry policy: whether a failed request is retried, and after which delay.
//!
//! Pure: the time and the random number are arguments. [`crate::context`] and [`crate::download`] act on the decisions.

use std::time::Duration;

use super::error::{Endpoint, ErrorKind, RequestError};

/// How long to wait for the first valid API response, or one with `Retry-After`. Keeps a mistyped host from using up the
/// whole timeout.
pub(crate) const FIRST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the API may respond 404 for a run that was just started.
pub(crate) const NEW_RUN_NOT_FOUND_PERIOD: Duration = Duration::from_secs(30);

/// Maximum number of consecutive download attempts without a new byte.
pub(crate) const MAX_ATTEMPTS_WITHOUT_PROGRESS: u32 = 8;

/// Maximum exponent of the backoff: its delay is at most 2¹² s before the poll interval limits it.
const MAX_DOUBLINGS: u32 = 12;

/// The state that a decision depends on, besides the error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryState {
    /// The consecutive attempts, including the one that failed.
    pub(crate) attempts: Attempts,
    /// Whether the API has sent a valid response in this step, or one with `Retry-After`.
    pub(crate) has_responded: bool,
    /// Maximum duration of the step.
    pub(crate) timeout: Duration,
    /// Maximum delay, unless the server asks for a longer one.
    pub(crate) poll_interval: Duration,
    /// Number of connections that receive the file.
    pub(crate) connections: usize,
}

/// Limits of consecutive attempts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AttemptLimits {
    /// Maximum number of attempts of an API request. If the API sends `Retry-After`, it is retried regardless.
    pub(crate) max_attempts: Option<u32>,
    /// Until when a 404 of the API is retried, since the start of the step.
    pub(crate) not_found_until: Option<Duration>,
}

/// Consecutive attempts at one operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempts {
    pub(crate) count: u32,
    /// How many of the last attempts made no progress. For the store, progress is a new byte; an API request makes none.
    pub(crate) without_progress: u32,
    /// How many of the last attempts got a 403 from the store, most likely because the signed URL had expired.
    pub(crate) consecutive_403s: u32,
    /// When the first attempt started, since the start of the step.
    pub(crate) started_at: Duration,
    pub(crate) limits: AttemptLimits,
}

impl Attempts {
    /// Attempts that begin now, without limits.
    #[must_use]
    pub(crate) fn new(now: Duration) -> Self {
        Self::with_limits(now, AttemptLimits::default())
    }

    /// Attempts that begin now.
    #[must_use]
    pub(crate) fn with_limits(now: Duration, limits: AttemptLimits) -> Self {
        Self { count: 0, without_progress: 0, consecutive_403s: 0, started_at: now, limits }
    }

    /// Records an attempt.
    pub(crate) fn record(&mut self, made_progress: bool) {
        self.count += 1;
        self.without_progress = if made_progress { 0 } else { self.without_progress + 1 };
    }

    /// Records how the last attempt failed.
    pub(crate) fn record_error(&mut self, error: &RequestError) {
        self.consecutive_403s = if is_403_of_store(error) { self.consecutive_403s + 1 } else { 0 };
    }
}

/// A request that failed, and the consecutive attempts that ended with it.
#[derive(Clone, Debug)]
pub struct RetryFailure {
    /// The error of the last attempt.
    pub(crate) error: RequestError,
    /// The attempts, including the last one.
    pub(crate) attempts: Attempts,
    /// Duration of all attempts.
    pub(crate) elapsed: Duration,
}

/// The decision after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryDecision {
    /// Retries after this delay.
    Retry(Duration),
    /// Closes this connection, because the store asks for fewer requests, and sends no request for this time.
    ReduceConcurrency(Duration),
    /// Ends the operation.
    GiveUp(GiveUpReason),
}

/// Why an operation is not retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUpReason {
    /// Another attempt would fail in the same way.
    NotRetryable,
    /// The API refused the request: 401, 403 or 404.
    Refused,
    /// The API sent no valid response within [`FIRST_RESPONSE_TIMEOUT`].
    NoFirstResponse,
    /// The server asked for a delay that exceeds the timeout.
    RetryAfterTooLong(Duration),
    /// The timeout is reached.
    TimedOut,
    /// No attempt is left: [`MAX_ATTEMPTS_WITHOUT_PROGRESS`] download attempts brought no new byte, or an API request reached its
    /// limit.
    OutOfAttempts,
}

/// How an error is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// It may be temporary.
    Retryable,
    /// The API refused the request: 401, 403 or 404.
    Refused,
    /// Another attempt would fail in the same way.
    Permanent,
}

/// Classifies an error. Every status of the store is retryable: the next attempt has a new signed URL.
#[must_use]
pub(crate) fn classify(endpoint: Endpoint, kind: ErrorKind) -> ErrorClass {
    use ErrorKind as Kind;

    match (endpoint, kind) {
        (Endpoint::Api, Kind::Status(401 | 403 | 404)) => ErrorClass::Refused,
        (Endpoint::Api, Kind::Status(408 | 425 | 429 | 500 | 502 | 503 | 504)) | (Endpoint::Store, Kind::Status(_)) => {
            ErrorClass::Retryable
        }
        (Endpoint::Api, Kind::Status(_)) => ErrorClass::Permanent,
        (_, Kind::Connect | Kind::ProxyAuthentication | Kind::Timeout | Kind::ConnectionLost)
        | (_, Kind::Stalled | Kind::UnexpectedEof | Kind::RateLimited | Kind::Unreadable)
        | (_, Kind::MissingUrl | Kind::Mismatch | Kind::UnknownLength) => ErrorClass::Retryable,
        (_, Kind::Certificate | Kind::Redirect | Kind::MissingRedirect | Kind::StoreRedirect | Kind::TooLarge)
        | (_, Kind::WrongRun | Kind::InvalidUrl | Kind::UnsupportedEncoding) => ErrorClass::Permanent,
    }
}

/// Whether an error shows that the API is available: it said when to retry, or sent a status without the URL.
#[must_use]
pub(crate) fn proves_availability(error: &RequestError) -> bool {
    error.endpoint == Endpoint::Api && (error.retry_after.is_some() || error.kind == ErrorKind::MissingUrl)
}

/// Decides what happens after an error. `now` is the time since the start of the step; `random` is between 0 and 1.
#[must_use]
pub(crate) fn decide(error: &RequestError, state: &RetryState, now: Duration, random: f64) -> RetryDecision {
    let attempts = &state.attempts;
    let run_may_appear = error.endpoint == Endpoint::Api
        && error.kind == ErrorKind::Status(404)
        && attempts.limits.not_found_until.is_some_and(|until| now < until);
    match classify(error.endpoint, error.kind) {
        ErrorClass::Refused if !run_may_appear => return RetryDecision::GiveUp(GiveUpReason::Refused),
        ErrorClass::Permanent => return RetryDecision::GiveUp(GiveUpReason::NotRetryable),
        ErrorClass::Refused | ErrorClass::Retryable => {}
    }

    let asks_for_delay = error.retry_after.is_some_and(|delay| !delay.is_zero());
    let has_no_attempts_left = match error.endpoint {
        Endpoint::Store => attempts.without_progress >= MAX_ATTEMPTS_WITHOUT_PROGRESS,
        Endpoint::Api => {
            attempts.limits.max_attempts.is_some_and(|max| attempts.without_progress >= max) && !asks_for_delay
        }
    };
    if has_no_attempts_left {
        return RetryDecision::GiveUp(GiveUpReason::OutOfAttempts);
    }

    let remaining = state.timeout.saturating_sub(now);
    if remaining.is_zero() {
        return RetryDecision::GiveUp(GiveUpReason::TimedOut);
    }
    let awaits_first_response = error.endpoint == Endpoint::Api && !state.has_responded && !proves_availability(error);
    let limit = if awaits_first_response { FIRST_RESPONSE_TIMEOUT.saturating_sub(now) } else { remaining };

    match error.retry_after {
        Some(delay) if delay > remaining => RetryDecision::GiveUp(GiveUpReason::RetryAfterTooLong(delay)),
        _ if limit.is_zero() => RetryDecision::GiveUp(GiveUpReason::NoFirstResponse),
        delay if state.connections > 1 && asks_to_slow_down(error) => {
            RetryDecision::ReduceConcurrency(delay.unwrap_or_default())
        }
        Some(delay) if !delay.is_zero() => RetryDecision::Retry(delay),
        // No delay, because the next attempt has a new signed URL.
        _ if is_403_of_store(error) && attempts.consecutive_403s <= 1 => RetryDecision::Retry(Duration::ZERO),
        _ => RetryDecision::Retry(
            backoff_delay(attempts.without_progress, state.poll_interval, random).min(remaining).min(limit),
        ),
    }
}

/// Whether the store asks for fewer requests: `503 SlowDown`, or 429.
fn asks_to_slow_down(error: &RequestError) -> bool {
    error.endpoint == Endpoint::Store && matches!(error.kind, ErrorKind::Status(429 | 503))
}

/// Whether the store rejected a signed URL, most likely because it has expired.
fn is_403_of_store(error: &RequestError) -> bool {
    error.endpoint == Endpoint::Store && error.kind == ErrorKind::Status(403)
}

/// Returns the delay: 1 s, 2 s, 4 s …, at most the poll interval, with jitter of up to half of it, so that the nightly jobs of
/// many offices do not retry at the same time.
fn backoff_delay(failures: u32, poll_interval: Duration, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
    let full = Duration::from_secs(1 << doublings).min(poll_interval);
    full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests;

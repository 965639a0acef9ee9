//! Waiting until a run has ended. Knows time and statuses, not HTTP.

use std::time::Duration;

use crate::api::Answer;
use crate::failure::Failure;
use crate::figures;
use crate::step::Step;

/// The first wait between two checks, and the shortest.
const FIRST: Duration = Duration::from_secs(1);

/// The calls that are left are spread over the hour for which they are counted.
const HOUR: Duration = Duration::from_secs(3600);

/// However few calls are left, after this wait there is another check.
const LONGEST_FOR_RATE_LIMIT: Duration = Duration::from_secs(300);

/// Checks at once, and again until the status is terminal. A wait that would reach past the timeout is cut to it, and
/// the check there is the last.
///
/// # Errors
///
/// [`Failure::TimedOut`], or what `check` ends with.
pub async fn until_terminal(
    step: &Step<'_>,
    mut check: impl AsyncFnMut() -> Result<Answer, Failure>,
) -> Result<Answer, Failure> {
    let start = step.clock.now();
    loop {
        let was_last = step.clock.is_over();
        let answer = check().await?;
        if answer.status.is_terminal() {
            return Ok(answer);
        }
        if was_last {
            return Err(Failure::TimedOut);
        }
        let waited = step.clock.now().saturating_sub(start);
        let wait = next_wait(waited, step.service.poll_interval, answer.calls_left);
        step.rest(wait.min(step.clock.left()), || {
            let left = figures::span(step.clock.left());
            format!("still {}; {left} left until the timeout", answer.status)
        })
        .await;
    }
}

/// The wait before the next check: 1 s at first, then a tenth of the time waited so far, never more than the poll
/// interval. So a run that took T is noticed within max(1 s, T/10), and a long run costs few calls. Where a key has few
/// calls left in this hour, the wait is long enough for them to last, up to 5 minutes.
#[must_use]
pub fn next_wait(waited: Duration, poll_interval: Duration, calls_left: Option<u64>) -> Duration {
    let wait = FIRST.max(waited / 10).min(poll_interval);
    let for_rate_limit = match calls_left {
        None => Duration::ZERO,
        Some(0) => LONGEST_FOR_RATE_LIMIT,
        Some(calls) => HOUR.div_f64(calls as f64).min(LONGEST_FOR_RATE_LIMIT),
    };
    wait.max(for_rate_limit)
}

#[cfg(test)]
mod tests;

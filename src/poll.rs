//! Waiting until a run has ended. Knows time and statuses, not HTTP.

use std::time::Duration;

use crate::context::Context;
use crate::error::StepError;
use crate::text::format;
use crate::webadmit::RunResponse;

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
/// [`StepError::TimedOut`], or what `check` ends with.
pub(crate) async fn until_terminal(
    context: &Context<'_>,
    mut check: impl AsyncFnMut() -> Result<RunResponse, StepError>,
) -> Result<RunResponse, StepError> {
    let start = context.deadline.elapsed();
    loop {
        let was_last = context.deadline.has_passed();
        let response = check().await?;
        if response.status.is_terminal() {
            return Ok(response);
        }
        if was_last {
            return Err(StepError::TimedOut);
        }
        let waited = context.deadline.elapsed().saturating_sub(start);
        let wait = next_delay(waited, context.api_config.poll_interval, response.remaining_calls);
        context
            .sleep_with_heartbeat(wait.min(context.deadline.remaining()), || {
                let left = format::duration(context.deadline.remaining());
                format!("still {}; {left} left until the timeout", response.status)
            })
            .await;
    }
}

/// The wait before the next check: 1 s at first, then a tenth of the time waited so far, never more than the poll
/// interval. So a run that took T is noticed within max(1 s, T/10), and a long run costs few calls. Where a key has few
/// calls left in this hour, the wait is long enough for them to last, up to 5 minutes.
#[must_use]
pub fn next_delay(waited: Duration, poll_interval: Duration, remaining_calls: Option<u64>) -> Duration {
    let wait = FIRST.max(waited / 10).min(poll_interval);
    let for_rate_limit = match remaining_calls {
        None => Duration::ZERO,
        Some(0) => LONGEST_FOR_RATE_LIMIT,
        Some(calls) => HOUR.div_f64(calls as f64).min(LONGEST_FOR_RATE_LIMIT),
    };
    wait.max(for_rate_limit)
}

#[cfg(test)]
mod tests;

//! Loop 1: checks a run until its status is terminal. Uses only time and statuses; `check` sends the requests.

use std::time::Duration;

use crate::context::Context;
use crate::error::StepError;
use crate::text::format;
use crate::webadmit::RunResponse;

/// Minimum delay between two checks, and the first one.
const MIN_DELAY: Duration = Duration::from_secs(1);

/// Period of the API's rate limit. The remaining calls are spread over it.
const RATE_LIMIT_PERIOD: Duration = Duration::from_secs(3600);

/// Maximum delay, even if there are few calls left.
const MAX_RATE_LIMIT_DELAY: Duration = Duration::from_secs(300);

/// Checks at once, and repeats until the status is terminal. No delay extends past the timeout; the check at the timeout is
/// the last one.
///
/// # Errors
///
/// [`StepError::TimedOut`], or the error of a check.
pub(crate) async fn until_terminal(
    context: &Context<'_>,
    mut check: impl AsyncFnMut() -> Result<RunResponse, StepError>,
) -> Result<RunResponse, StepError> {
    let start = context.deadline().elapsed();
    loop {
        let is_last = context.deadline().has_passed();
        let response = check().await?;
        if response.status.is_terminal() {
            return Ok(response);
        }
        if is_last {
            return Err(StepError::TimedOut);
        }

        let waited = context.deadline().elapsed().saturating_sub(start);
        let delay = next_delay(waited, context.api_config().poll_interval, response.remaining_calls);
        let heartbeat = || {
            let remaining = format::duration(context.deadline().remaining());
            format!("status: still {}; {remaining} until the timeout", response.status)
        };
        context.sleep_with_heartbeat(delay.min(context.deadline().remaining()), heartbeat).await;
    }
}

/// Returns the delay before the next check: first 1 s, then a tenth of the time waited so far, at most the poll interval.
/// Therefore the end of a run that took T is noticed within max(1 s, T/10), and a long run costs few calls. If the key has few
/// calls left in this hour, the delay spreads them over the hour, up to 5 minutes.
fn next_delay(waited: Duration, poll_interval: Duration, remaining_calls: Option<u64>) -> Duration {
    let delay = MIN_DELAY.max(waited / 10).min(poll_interval);
    let rate_limit_delay = match remaining_calls {
        None => Duration::ZERO,
        Some(0) => MAX_RATE_LIMIT_DELAY,
        Some(calls) => RATE_LIMIT_PERIOD.div_f64(calls as f64).min(MAX_RATE_LIMIT_DELAY),
    };
    delay.max(rate_limit_delay)
}

#[cfg(test)]
mod tests;

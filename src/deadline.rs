//! The time since the start of a step, and until its timeout.

use std::time::Duration;

use tokio::time::Instant;

/// How long after the timeout the last status check, and the download of the file that it finds, may still take.
const GRACE_PERIOD: Duration = Duration::from_secs(10);

/// The start of a step, and its timeout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    start: Instant,
    timeout: Duration,
}

impl Deadline {
    #[must_use]
    pub(crate) fn new(start: Instant, timeout: Duration) -> Self {
        Self { start, timeout }
    }

    /// Time since the start.
    #[must_use]
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Maximum duration of the step.
    #[must_use]
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Time until the timeout; zero if it has passed.
    #[must_use]
    pub(crate) fn remaining(&self) -> Duration {
        self.timeout.saturating_sub(self.elapsed())
    }

    /// Whether the timeout has passed.
    #[must_use]
    pub(crate) fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// Returns how long a status check or a download that starts now may take: until the timeout, but at least as long as the
    /// grace period. Past the timeout, only the rest of the grace period is left. The grace period is never longer than the
    /// timeout itself.
    #[must_use]
    pub(crate) fn remaining_with_grace(&self) -> Duration {
        let grace = GRACE_PERIOD.min(self.timeout);
        let end = self.timeout.saturating_add(grace);
        self.remaining().max(grace.min(end.saturating_sub(self.elapsed())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_is_one_grace_period_of_ten_seconds_past_the_timeout() {
        let seconds = Duration::from_secs;
        for (timeout, elapsed, remaining, with_grace) in [
            (60, 0, 60, 60),
            (60, 49, 11, 11),
            (60, 55, 5, 10),
            (60, 60, 0, 10),
            (60, 64, 0, 6),
            (60, 70, 0, 0),
            (60, 100, 0, 0),
            (4, 0, 4, 4),
            (4, 3, 1, 4),
            (4, 5, 0, 3),
            (4, 9, 0, 0),
        ] {
            let deadline = Deadline::new(Instant::now(), seconds(timeout));
            tokio::time::advance(seconds(elapsed)).await;
            let actual = (deadline.remaining(), deadline.remaining_with_grace());
            assert_eq!(actual, (seconds(remaining), seconds(with_grace)), "{timeout} {elapsed}");
            assert_eq!(deadline.has_passed(), remaining == 0);
        }
    }
}

//! The one clock of a step.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// What is begun at the timeout, or shortly before it, is still given this long: the last check, and the download of
/// a file that it finds.
const GRACE: Duration = Duration::from_secs(10);

/// Time since the start of the step, and what is left of its timeout.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    timeout: Duration,
}

impl Clock {
    /// Starts now. Nothing is bounded before [`Clock::bounded`] is called.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now(), timeout: Duration::MAX }
    }

    /// The same clock with a timeout, counted from its start.
    #[must_use]
    pub fn bounded(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The bound on the step.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What is left until the timeout; nothing when it is over.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.now())
    }

    /// Whether the timeout has been reached.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// How long a check of the run, or the download of its file, that begins now may take: until the timeout, but ten
    /// seconds (or as long as the timeout, where that is shorter) if it begins at the timeout or shortly before it. There
    /// is one such respite in a step: nothing lasts longer than ten seconds past the timeout.
    #[must_use]
    pub fn allowance(&self) -> Duration {
        let grace = GRACE.min(self.timeout);
        let last_end = self.timeout.saturating_add(grace);
        self.left().max(grace.min(last_end.saturating_sub(self.now())))
    }

    /// The time of day, for dates that a server names.
    #[must_use]
    pub fn time_of_day(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_is_one_respite_of_ten_seconds_past_the_timeout() {
        let seconds = Duration::from_secs;
        for (timeout, now, left, allowance) in [
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
            let clock = Clock::start().bounded(seconds(timeout));
            tokio::time::advance(seconds(now)).await;
            assert_eq!((clock.left(), clock.allowance()), (seconds(left), seconds(allowance)), "{timeout} {now}");
            assert_eq!(clock.is_over(), left == 0);
        }
    }
}

//! The one clock of a step.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// What is begun at the timeout, or shortly before it, is still given this long: the last check, and the download of
/// a file that it finds.
const GRACE: Duration = Duration::from_secs(10);

/// Time since the start of the step, and what is left of its timeout.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Instant,
    timeout: Duration,
}

impl Deadline {
    /// Starts now. Nothing is bounded before [`Deadline::bounded`] is called.
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
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The bound on the step.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What is left until the timeout; nothing when it is over.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.timeout.saturating_sub(self.elapsed())
    }

    /// Whether the timeout has been reached.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// How long a check of the run, or the download of its file, that begins now may take: until the timeout, but ten
    /// seconds (or as long as the timeout, where that is shorter) if it begins at the timeout or shortly before it. There
    /// is one such respite in a step: nothing lasts longer than ten seconds past the timeout.
    #[must_use]
    pub fn remaining_with_grace(&self) -> Duration {
        let grace = GRACE.min(self.timeout);
        let last_end = self.timeout.saturating_add(grace);
        self.remaining().max(grace.min(last_end.saturating_sub(self.elapsed())))
    }

    /// The time of day, for dates that a server names.
    #[must_use]
    pub fn system_time(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_is_one_respite_of_ten_seconds_past_the_timeout() {
        let seconds = Duration::from_secs;
        for (timeout, now, left, remaining_with_grace) in [
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
            let deadline = Deadline::start().bounded(seconds(timeout));
            tokio::time::advance(seconds(now)).await;
            assert_eq!(
                (deadline.remaining(), deadline.remaining_with_grace()),
                (seconds(left), seconds(remaining_with_grace)),
                "{timeout} {now}"
            );
            assert_eq!(deadline.has_passed(), left == 0);
        }
    }
}

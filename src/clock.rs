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

    /// How long something that begins now may take: until the timeout, but never less than ten seconds (or than the
    /// timeout itself, where that is shorter). A check at the timeout would otherwise have no time for its answer.
    #[must_use]
    pub fn allowance(&self) -> Duration {
        self.left().max(GRACE.min(self.timeout))
    }

    /// The time of day, for dates that a server names.
    #[must_use]
    pub fn time_of_day(&self) -> SystemTime {
        SystemTime::now()
    }
}

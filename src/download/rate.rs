//! The rate of a transfer, once it has stopped growing. Pure.

use std::time::Duration;

/// A rate that is more than this many times the one before it is still growing.
const GROWTH: f64 = 1.25;

/// Measures the rate of a transfer in consecutive windows of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateMeter {
    window: Duration,
    start: (Duration, u64),
    previous: f64,
    current: Option<f64>,
}

impl RateMeter {
    /// Starts at the time `now` with `received` bytes. With a window of zero, every record completes one, and the first
    /// rate counts as settled.
    pub(super) fn new(window: Duration, now: Duration, received: u64) -> Self {
        let previous = if window.is_zero() { f64::INFINITY } else { 0.0 };
        Self { window, start: (now, received), previous, current: None }
    }

    /// Records that `received` bytes are there at the time `now`.
    pub(super) fn record(&mut self, now: Duration, received: u64) {
        let passed = now.saturating_sub(self.start.0);
        if passed < self.window {
            return;
        }
        self.previous = self.current.unwrap_or(self.previous);
        let bytes = received.saturating_sub(self.start.1);
        self.current = Some(bytes as f64 / passed.max(Duration::from_micros(1)).as_secs_f64());
        self.start = (now, received);
    }

    /// Returns the rate of the last window in bytes per second, if it was no longer growing. A store starts slowly, and
    /// so does TCP: the first rates say nothing about the later ones.
    pub(super) fn settled(&self) -> Option<f64> {
        self.current.filter(|&current| current <= self.previous * GROWTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_once_it_has_stopped_growing() {
        let millis = Duration::from_millis;
        let mut rate = RateMeter::new(millis(50), millis(1000), 100);
        for (now, received, settled) in [
            (1010, 200, None),
            (1049, 900, None),
            (1050, 1100, None),
            (1060, 5000, None),
            (1100, 3100, None),
            (1150, 5500, Some(48_000.0)),
            (1160, 9000, Some(48_000.0)),
            (1250, 6500, Some(10_000.0)),
            (1300, 7125, Some(12_500.0)),
            (1350, 7751, Some(12_520.0)),
            (1400, 9000, None),
            (1500, 9000, Some(0.0)),
            (1550, 9000, Some(0.0)),
        ] {
            rate.record(millis(now), received);
            assert_eq!(rate.settled(), settled, "{now}");
        }
    }

    #[test]
    fn without_a_window_the_first_rate_counts() {
        let mut rate = RateMeter::new(Duration::ZERO, Duration::ZERO, 0);
        assert_eq!(rate.settled(), None);
        rate.record(Duration::ZERO, 1);
        assert_eq!(rate.settled(), Some(1_000_000.0));
    }
}

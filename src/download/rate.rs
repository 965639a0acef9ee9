//! Measures the rate of a transfer, once it is steady. Pure.

use std::time::Duration;

/// A rate is steady if it differs by at most this factor from the one before.
const TOLERANCE: f64 = 1.5;

/// Measures the rate of a transfer in consecutive windows of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateMeter {
    window: Duration,
    start: (Duration, u64),
    previous: Option<f64>,
    current: Option<f64>,
}

impl RateMeter {
    /// Starts at the time `now` with `received` bytes. With a window of zero, every record completes one, and the first
    /// rate counts as steady.
    pub(super) fn new(window: Duration, now: Duration, received: u64) -> Self {
        Self { window, start: (now, received), previous: None, current: None }
    }

    /// Records that `received` bytes are there at the time `now`.
    pub(super) fn record(&mut self, now: Duration, received: u64) {
        let passed = now.saturating_sub(self.start.0);
        if passed < self.window {
            return;
        }
        let bytes = received.saturating_sub(self.start.1);
        self.previous = self.current;
        self.current = Some(bytes as f64 / passed.max(Duration::from_micros(1)).as_secs_f64());
        self.start = (now, received);
    }

    /// Returns the rate of the last window in bytes per second if it is steady. Before that it says nothing: TCP starts
    /// slowly, and some stores send a first burst and then pause (SeaweedFS 4.48).
    pub(super) fn steady(&self) -> Option<f64> {
        let current = self.current?;
        let is_steady = match self.previous {
            None => self.window.is_zero(),
            Some(previous) => current <= previous * TOLERANCE && previous <= current * TOLERANCE,
        };
        is_steady.then_some(current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_once_it_is_steady() {
        let millis = Duration::from_millis;
        let mut rate = RateMeter::new(millis(50), millis(1000), 100);
        for (now, received, steady) in [
            (1010, 200, None),
            (1049, 900, None),
            (1050, 1100, None),
            (1060, 5000, None),
            (1100, 3100, None),
            (1150, 6100, Some(60_000.0)),
            (1160, 9000, Some(60_000.0)),
            (1250, 7100, None),
            (1300, 7433, None),
            (1350, 7783, Some(7000.0)),
            (1400, 8308, Some(10_500.0)),
            (1450, 9096, None),
            (1550, 9096, None),
            (1650, 9096, Some(0.0)),
        ] {
            rate.record(millis(now), received);
            assert_eq!(rate.steady(), steady, "{now}");
        }
    }

    /// Megabytes in each 10 ms of a download from SeaweedFS at 800 MB/s, which looks slow for its first 100 ms.
    #[test]
    fn a_burst_and_a_pause_are_not_a_steady_rate() {
        let mut rate = RateMeter::new(Duration::from_millis(50), Duration::ZERO, 0);
        let (mut now, mut received) = (Duration::ZERO, 0);
        for megabytes in [8, 0, 0, 0, 2, 0, 0, 0, 4, 0, 13, 5, 5, 13, 4, 5, 5, 3, 0, 0, 0, 7, 8, 7, 7, 6, 7, 7, 8, 7] {
            now += Duration::from_millis(10);
            received += megabytes * 1_000_000;
            rate.record(now, received);
            assert!(rate.steady().is_none_or(|rate| rate > 150e6), "{now:?}");
        }
    }

    #[test]
    fn without_a_window_the_first_rate_counts() {
        let mut rate = RateMeter::new(Duration::ZERO, Duration::ZERO, 0);
        assert_eq!(rate.steady(), None);
        rate.record(Duration::ZERO, 1);
        assert_eq!(rate.steady(), Some(1_000_000.0));
    }
}

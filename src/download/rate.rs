//! Measures the rate of a transfer, once it is steady. Pure.

use std::time::Duration;

/// A rate is steady if it differs by at most this factor from the one before.
const TOLERANCE: f64 = 1.5;

/// Length of the slots in which bursts are looked for.
const SLOT: Duration = Duration::from_millis(10);

/// A steady rate counts in spite of bursts after so many windows.
const MAX_WINDOWS: u32 = 8;

/// Measures the rate of a transfer in consecutive windows of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateMeter {
    window: Duration,
    burst: f64,
    windows: u32,
    current: Window,
    complete: Option<Window>,
    previous: Option<Window>,
    slot: (Duration, u64),
}

/// A window of time: when it began and with how many bytes, and what was measured in it, in bytes per second.
#[derive(Clone, Copy, Debug)]
struct Window {
    start: (Duration, u64),
    rate: f64,
    /// The rate of its fastest slot.
    peak: f64,
}

impl RateMeter {
    /// Starts at the time `now` with `received` bytes. A rate of `burst` bytes per second in a slot is a burst. With a window
    /// of zero, every record completes one, and the first rate counts as steady.
    pub(super) fn new(window: Duration, burst: f64, now: Duration, received: u64) -> Self {
        let start = (now, received);
        let current = Window { start, rate: 0.0, peak: 0.0 };
        Self { window, burst, windows: 0, current, complete: None, previous: None, slot: start }
    }

    /// Records that `received` bytes are there at the time `now`.
    pub(super) fn record(&mut self, now: Duration, received: u64) {
        let here = (now, received);
        if now.saturating_sub(self.slot.0) >= SLOT {
            self.current.peak = self.current.peak.max(rate_between(self.slot, here));
            self.slot = here;
        }
        if now.saturating_sub(self.current.start.0) >= self.window {
            self.current.rate = rate_between(self.current.start, here);
            self.previous = self.complete.replace(self.current);
            self.current = Window { start: here, rate: 0.0, peak: 0.0 };
            self.windows += 1;
        }
    }

    /// Returns the rate of the last window in bytes per second if it is steady.
    ///
    /// Before that it says nothing: TCP starts slowly, and SeaweedFS 4.48 sends for up to 270 ms bursts with pauses between
    /// them, and then 1 GB/s.
    pub(super) fn steady(&self) -> Option<f64> {
        let last = self.complete?;
        let Some(previous) = self.previous else { return self.window.is_zero().then_some(last.rate) };
        let is_steady = last.rate <= previous.rate * TOLERANCE && previous.rate <= last.rate * TOLERANCE;
        let has_bursts = last.peak.max(previous.peak) >= self.burst;
        (is_steady && (!has_bursts || self.windows >= MAX_WINDOWS)).then_some(last.rate)
    }
}

fn rate_between((start, before): (Duration, u64), (end, after): (Duration, u64)) -> f64 {
    let time = end.saturating_sub(start).max(Duration::from_micros(1));
    after.saturating_sub(before) as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_once_it_is_steady() {
        let millis = Duration::from_millis;
        let mut rate = RateMeter::new(millis(50), f64::INFINITY, millis(1000), 100);
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

    /// The steady rates of a transfer of so many tenths of a megabyte in each 10 ms, in the order in which they were seen.
    fn steady_rates(tenths: &[u64]) -> Vec<f64> {
        let mut rate = RateMeter::new(Duration::from_millis(50), 150e6, Duration::ZERO, 0);
        let (mut received, mut rates) = (0, Vec::new());
        for (tenths, number) in tenths.iter().zip(1..) {
            received += tenths * 100_000;
            // Nothing is recorded while nothing comes.
            if *tenths > 0 {
                rate.record(Duration::from_millis(10 * number), received);
                rates.extend(rate.steady());
            }
        }
        rates.dedup();
        rates
    }

    #[test]
    fn the_bursts_and_pauses_of_seaweedfs_are_no_steady_rate() {
        for start in [
            &[31, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30, 45, 20, 0, 0, 0, 0, 0, 7][..],
            &[19, 13, 44, 22, 90, 47, 0, 0, 12, 59, 0, 50, 0, 24, 69],
            &[39, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 88, 37, 105],
            &[48, 64, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 27, 30, 7, 25, 24, 62],
            &[29, 0, 26, 70, 56, 0, 0, 0, 0, 0, 0, 0, 21, 123],
            &[55, 13, 3, 28, 19, 0, 0, 4, 30, 0, 26, 10, 24, 0, 0, 0, 10, 52],
        ] {
            let whole = [start, &[100; 20]].concat();
            let rates = steady_rates(&whole);
            assert!(rates.iter().all(|&rate| rate > 150e6), "{start:?}: {rates:?}");
        }
    }

    #[test]
    fn a_limited_connection_is_steady_after_two_windows_and_one_in_bursts_after_eight() {
        assert_eq!(steady_rates(&[2; 10]), [20e6]);
        assert_eq!(steady_rates(&[2; 9]), [0.0; 0]);
        let bursts = [16, 16, 0, 0, 0, 0, 0, 0, 0, 0].repeat(12);
        assert_eq!(steady_rates(&bursts[..80]), [0.0; 0]);
        assert_eq!(steady_rates(&bursts), [32e6]);
    }

    #[test]
    fn without_a_window_the_first_rate_counts() {
        let mut rate = RateMeter::new(Duration::ZERO, f64::INFINITY, Duration::ZERO, 0);
        assert_eq!(rate.steady(), None);
        rate.record(Duration::ZERO, 1);
        assert_eq!(rate.steady(), Some(1_000_000.0));
    }
}

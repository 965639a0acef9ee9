//! Measures the rate of one connection once it is steady, and whether several are faster. Pure.

use std::time::Duration;

/// A rate is steady if it differs by at most this factor from the one before.
const TOLERANCE: f64 = 1.5;

/// Length of the slots in which bursts are measured.
const SLOT: Duration = Duration::from_millis(10);

/// Number of windows after which a steady rate counts in spite of bursts.
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

/// A window of time. Rates are in bytes per second.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// When it began, and how many bytes were received before.
    start: (Duration, u64),
    rate: f64,
    /// The rate of its fastest slot.
    peak: f64,
}

impl RateMeter {
    /// Starts at the time `now` with `received` bytes. A rate of at least `burst` bytes per second in a slot is a burst. With a
    /// window of zero, every record completes one, and the first rate counts as steady.
    pub(super) fn new(window: Duration, burst: f64, now: Duration, received: u64) -> Self {
        let start = (now, received);
        let current = Window { start, rate: 0.0, peak: 0.0 };
        Self { window, burst, windows: 0, current, complete: None, previous: None, slot: start }
    }

    /// Records that `received` bytes were received by the time `now`.
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
    /// Before that, it means little: TCP starts slowly, and SeaweedFS 4.48 sends bursts and pauses for up to 270 ms before it
    /// sends 1 GB/s.
    pub(super) fn steady(&self) -> Option<f64> {
        let last = self.complete?;
        let Some(previous) = self.previous else { return self.window.is_zero().then_some(last.rate) };
        let is_steady = last.rate <= previous.rate * TOLERANCE && previous.rate <= last.rate * TOLERANCE;
        let has_bursts = last.peak.max(previous.peak) >= self.burst;
        (is_steady && (!has_bursts || self.windows >= MAX_WINDOWS)).then_some(last.rate)
    }
}

/// Measures whether several connections are faster than one.
#[derive(Debug)]
pub(super) struct GainMeter {
    single_rate: f64,
    min_gain: f64,
    window: Duration,
    /// Number of connections that have not received their first byte.
    connecting: usize,
    /// When the last connection received its first byte, and how many bytes were received before.
    start: Option<(Duration, u64)>,
}

impl GainMeter {
    /// Measures once `connecting` more connections receive. Several connections are faster if they receive at least `min_gain`
    /// times as many bytes per second as one, `single_rate`.
    pub(super) fn new(single_rate: f64, min_gain: f64, window: Duration, connecting: usize) -> Self {
        Self { single_rate, min_gain, window, connecting, start: None }
    }

    /// Records that a connection has received its first byte, or was closed before.
    pub(super) fn connected(&mut self, now: Duration, received: u64) {
        self.connecting = self.connecting.saturating_sub(1);
        if self.connecting == 0 {
            self.start.get_or_insert((now, received));
        }
    }

    /// Restarts the measurement, because there are fewer connections now.
    pub(super) fn restart(&mut self, now: Duration, received: u64) {
        if let Some(start) = &mut self.start {
            *start = (now, received);
        }
    }

    /// Returns whether several connections are faster, as soon as it is known.
    pub(super) fn is_faster(&self, now: Duration, received: u64) -> Option<bool> {
        let start = self.start?;
        let is_complete = now.saturating_sub(start.0) >= self.window;
        is_complete.then(|| rate_between(start, (now, received)) >= self.single_rate * self.min_gain)
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

    /// Returns the steady rates of a transfer that receives `tenths` of a megabyte in each 10 ms, one after another.
    fn steady_rates(tenths: &[u64]) -> Vec<f64> {
        let mut rate = RateMeter::new(Duration::from_millis(50), 150e6, Duration::ZERO, 0);
        let (mut received, mut rates) = (0, Vec::new());
        for (tenths, number) in tenths.iter().zip(1..) {
            received += tenths * 100_000;
            // Nothing is recorded while nothing is received.
            if *tenths > 0 {
                rate.record(Duration::from_millis(10 * number), received);
                rates.extend(rate.steady());
            }
        }
        rates.dedup();
        rates
    }

    #[test]
    fn bursts_and_pauses_are_not_a_steady_rate() {
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
    fn a_throttled_connection_is_steady_after_two_windows_and_a_bursty_one_after_eight() {
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

    #[test]
    fn the_gain_is_measured_once_all_connections_receive() {
        let millis = Duration::from_millis;
        let mut gain = GainMeter::new(1000.0, 1.2, millis(100), 2);
        gain.connected(millis(500), 300);
        assert_eq!(gain.is_faster(millis(900), 9000), None, "one is still connecting");
        gain.connected(millis(1000), 400);
        gain.connected(millis(1050), 450);
        for (now, received, is_faster) in
            [(1099, 9000, None), (1100, 520, Some(true)), (1100, 519, Some(false)), (1200, 640, Some(true))]
        {
            assert_eq!(gain.is_faster(millis(now), received), is_faster, "{now} {received}");
        }
    }

    #[test]
    fn the_gain_is_measured_again_with_fewer_connections() {
        let millis = Duration::from_millis;
        let mut gain = GainMeter::new(1000.0, 1.2, millis(100), 1);
        gain.restart(millis(400), 200);
        assert_eq!(gain.is_faster(millis(900), 9000), None, "one is still connecting");
        gain.connected(millis(1000), 400);
        gain.restart(millis(1050), 9000);
        assert_eq!(gain.is_faster(millis(1149), 9999), None);
        assert_eq!(gain.is_faster(millis(1150), 9120), Some(true));
        assert_eq!(gain.is_faster(millis(1150), 9119), Some(false));
    }
}

//! When a download uses several connections, and how. Pure.

use std::time::Duration;

/// When and how a download uses several connections.
#[derive(Clone, Copy, Debug)]
pub struct ParallelConfig {
    /// Minimum number of remaining bytes.
    pub min_remaining: u64,
    /// Minimum time that the remaining bytes would take over one connection.
    pub min_time: Duration,
    /// Minimum and maximum length of a piece.
    pub piece: (u64, u64),
    /// Length of the windows in which rates are measured.
    pub window: Duration,
    /// A connection with this rate, in bytes per second, is not limited by the store.
    pub fast: f64,
    /// How many times as fast as one connection several must be.
    pub min_gain: f64,
}

impl Default for ParallelConfig {
    fn default() -> Self {
        Self {
            min_remaining: 32 << 20,
            min_time: Duration::from_secs(1),
            piece: (1 << 20, 16 << 20),
            window: Duration::from_millis(50),
            fast: 150e6,
            min_gain: 1.2,
        }
    }
}

impl ParallelConfig {
    /// Returns whether the remaining bytes should be received over several connections if one receives `rate` bytes per
    /// second.
    pub(super) fn is_worth_it(&self, remaining: u64, rate: f64) -> bool {
        let takes_long = remaining as f64 >= rate * self.min_time.as_secs_f64();
        remaining >= self.min_remaining && rate < self.fast && takes_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_connections_are_used_if_one_is_slow_and_enough_remains() {
        let config = ParallelConfig::default();
        let much = 1 << 30;
        for (remaining, rate, is_worth_it) in [
            (much, 20e6, true),
            (much, 149.9e6, true),
            (much, 150e6, false),
            (much, 0.0, true),
            (32 << 20, 20e6, true),
            ((32 << 20) - 1, 20e6, false),
            (140_000_000, 140e6, true),
            (139_999_999, 140e6, false),
        ] {
            assert_eq!(config.is_worth_it(remaining, rate), is_worth_it, "{remaining} {rate}");
        }
    }
}

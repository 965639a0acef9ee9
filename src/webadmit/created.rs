//! When a file was created.

use std::fmt;
use std::time::{Duration, SystemTime};

/// When a file was created, and how old it was when the server said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreationTime {
    created_at: SystemTime,
    age: Duration,
}

impl CreationTime {
    /// Measures the age against `date`, the `Date` of the same response, so that a wrong local clock does no harm. A time in the
    /// future is an age of zero.
    #[must_use]
    pub(crate) fn new(created_at: SystemTime, date: SystemTime) -> Self {
        Self { created_at, age: date.duration_since(created_at).unwrap_or_default() }
    }

    /// Returns the age of the file when the server sent its response.
    #[must_use]
    pub(crate) fn age(self) -> Duration {
        self.age
    }
}

/// Writes the time as RFC 3339 in UTC, in whole seconds: `2026-11-25T03:50:00Z`.
impl fmt::Display for CreationTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.created_at).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn the_age_is_measured_against_the_date_of_the_response() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for (created_at, date, age) in [(100, 160, 60), (100, 100, 0), (160, 100, 0), (0, 1_795_578_600, 1_795_578_600)]
        {
            assert_eq!(CreationTime::new(at(created_at), at(date)).age(), Duration::from_secs(age));
        }
    }

    #[test]
    fn it_is_written_in_utc_and_whole_seconds() {
        let created_at = UNIX_EPOCH + Duration::from_millis(1_795_578_600_999);
        assert_eq!(CreationTime::new(created_at, created_at).to_string(), "2026-11-25T03:50:00Z");
    }
}

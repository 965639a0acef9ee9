//! When a file was created.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first second of the year 10000, since 1970. RFC 3339 has years of four digits.
const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);

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

/// Parses a time as RFC 3339 with any offset: `2026-11-25T03:50:00Z`, `2026-11-25T03:50:00.000-05:00`.
pub(super) fn parse_time(text: &str) -> Option<SystemTime> {
    let text = text.trim().to_ascii_uppercase();
    if text.ends_with('Z') {
        return humantime::parse_rfc3339(&text).ok();
    }

    let (local, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let two_digits = |text: &str, max: u64| {
        let is_valid = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_valid.then(|| text.parse::<u64>().ok())?.filter(|number| *number <= max)
    };
    let offset_length = Duration::from_secs(two_digits(hours, 23)? * 3600 + two_digits(minutes, 59)? * 60);
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let time = match offset.as_bytes()[0] {
        b'+' => local.checked_sub(offset_length)?,
        b'-' => local.checked_add(offset_length)?,
        _ => return None,
    };
    // The offset can lead to a time that cannot be written: before 1970 or after 9999.
    let is_writable = time.duration_since(UNIX_EPOCH).is_ok_and(|since_1970| since_1970 < YEAR_10000);
    is_writable.then_some(time)
}

/// Writes the time as RFC 3339 in UTC, in whole seconds: `2026-11-25T03:50:00Z`.
impl fmt::Display for CreationTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.created_at).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn a_time_has_any_offset() {
        for (text, utc) in [
            ("2026-11-25T03:50:00Z", Some("2026-11-25T03:50:00Z")),
            (" 2026-11-25t03:50:00.123z ", Some("2026-11-25T03:50:00Z")),
            ("2026-11-25T03:50:00+02:00", Some("2026-11-25T01:50:00Z")),
            ("2026-11-25T03:50:00.000-05:30", Some("2026-11-25T09:20:00Z")),
            ("2026-11-25T03:50:00-00:00", Some("2026-11-25T03:50:00Z")),
            ("9999-12-31T23:59:59Z", Some("9999-12-31T23:59:59Z")),
            ("9999-12-31T23:59:59-00:01", None),
            ("1970-01-01T00:00:00+00:00", Some("1970-01-01T00:00:00Z")),
            ("1970-01-01T00:00:00+00:01", None),
            ("2026-11-25T03:50:00", None),
            ("2026-11-25T03:50:00 02:00", None),
            ("2026-11-25T03:50:00+2:000", None),
            ("2026-11-25T03:50:00+é0:0", None),
            ("2026-11-25", None),
            ("+02:00", None),
            ("yesterday", None),
            ("2026-11-25T03:50:00+24:00", None),
            ("2026-11-25T03:50:00-00:60", None),
            ("", None),
        ] {
            let parsed = parse_time(text).map(|time| CreationTime::new(time, time).to_string());
            assert_eq!(parsed.as_deref(), utc, "{text:?}");
        }
    }

    #[test]
    fn it_is_written_in_utc_and_whole_seconds() {
        let created_at = UNIX_EPOCH + Duration::from_millis(1_795_578_600_999);
        assert_eq!(CreationTime::new(created_at, created_at).to_string(), "2026-11-25T03:50:00Z");
    }

    proptest! {
        #[test]
        fn any_text_is_none_or_a_time_that_can_be_written(
            text in "[0-9TZtz:.+ é-]{0,30}|.*|(1970-01-01|9999-12-31)T[0-2][0-9]:[0-5][0-9]:[0-5][0-9][+-][0-2][0-9]:[0-5][0-9]"
        ) {
            if let Some(time) = parse_time(&text) {
                let _ = CreationTime::new(time, time).to_string();
            }
        }
    }
}

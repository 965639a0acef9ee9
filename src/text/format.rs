//! Formats times and sizes for people.

use std::fmt;
use std::time::Duration;

/// Formats the time since the start of the step like a clock: `0:07`, `12:34`, `1:02:03`.
pub(crate) fn clock(since_start: Duration) -> String {
    let seconds = since_start.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// Formats a duration: `250 ms`, `4.2 s`, `45 s`, `2 min 11 s`, `1 h 30 min`. From ten seconds it is rounded to seconds, from
/// an hour to minutes.
pub(crate) fn duration(time: Duration) -> String {
    // Retry-After can be any number of seconds.
    const CENTURY: Duration = Duration::from_hours(876_600);
    if time > CENTURY {
        return "more than a century".to_owned();
    }

    let tenths = (time.as_millis() + 50) / 100;
    let seconds = time.as_secs() + u64::from(time.subsec_millis() >= 500);
    let minutes = (seconds + 30) / 60;
    let two_units = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else if tenths < 100 {
        format!("{}.{} s", tenths / 10, tenths % 10).replace(".0", "")
    } else if seconds < 60 {
        format!("{seconds} s")
    } else if seconds < 3600 {
        two_units(seconds / 60, "min", seconds % 60, "s")
    } else {
        two_units(minutes / 60, "h", minutes % 60, "min")
    }
}

/// Formats the age of a file in one unit, rounded down: `45 s`, `12 min`, `26 h`, `3 days`, `2 years`.
pub(crate) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match (seconds, seconds / 60, seconds / 3600, seconds / 86_400) {
        (seconds @ 0..60, ..) => format!("{seconds} s"),
        (_, minutes @ 0..60, ..) => format!("{minutes} min"),
        (_, _, hours @ 0..48, _) => format!("{hours} h"),
        (.., days @ 0..730) => format!("{days} days"),
        (.., days) => format!("{} years", days / 365),
    }
}

/// Formats a number of bytes in decimal units: `812 bytes`, `10.2 kB`, `41.0 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") };
    }

    let (mut tenths, mut unit) = (count / 100 + u64::from(count % 100 >= 50), 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths = (tenths + 500) / 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Formats the rate of a transfer: `6.2 MB/s`.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    let millis = time.as_millis().max(1);
    let per_second = u128::from(count) * 1000 / millis;
    format!("{}/s", bytes(u64::try_from(per_second).unwrap_or(u64::MAX)))
}

/// Received and total bytes of a download.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Number of bytes received.
    pub(crate) received: u64,
    /// Size of the file in bytes, if it is known.
    pub(crate) total: Option<u64>,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            Some(total) => write!(f, "{} of {}", bytes(self.received), bytes(total)),
            None => f.write_str(&bytes(self.received)),
        }
    }
}

/// Formats a number of things: `1 check`, `3 checks`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_formatted_for_people() {
        for (millis, at, long) in [
            (0, "0:00", "0 ms"),
            (250, "0:00", "250 ms"),
            (1000, "0:01", "1 s"),
            (4249, "0:04", "4.2 s"),
            (9960, "0:09", "10 s"),
            (59_400, "0:59", "59 s"),
            (59_600, "0:59", "1 min"),
            (131_000, "2:11", "2 min 11 s"),
            (3_600_000, "1:00:00", "1 h"),
            (5_400_000, "1:30:00", "1 h 30 min"),
        ] {
            let time = Duration::from_millis(millis);
            assert_eq!((clock(time).as_str(), duration(time).as_str()), (at, long), "{millis}");
        }
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (26 * 3600, "26 h"),
            (48 * 3600 - 1, "47 h"),
            (48 * 3600, "2 days"),
            (729 * 86400, "729 days"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
        assert_eq!(duration(Duration::MAX), "more than a century");
        assert_eq!(duration(Duration::from_hours(876_600)), "876600 h");
        for (size, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (10_240, "10.2 kB"),
            (999_999, "1.0 MB"),
            (41_000_000, "41.0 MB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(bytes(size), text);
        }
        assert_eq!(rate(12_400_000, Duration::from_secs(2)), "6.2 MB/s");
        assert_eq!((count(1, "check"), count(2, "check")), ("1 check".to_owned(), "2 checks".to_owned()));
    }
}

//! The signed URL of a file, and its lifetime.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Url;

use crate::http;

/// The signed URL of a file. It gives access to the file until it expires, so it has no `Display`, and its `Debug` shows only
/// the origin.
#[derive(Clone)]
pub struct SignedUrl {
    url: Url,
    lifetime: Option<Duration>,
}

impl SignedUrl {
    /// Wraps a URL. `date` is the `Date` of the response that contained it: with it, the lifetime does not depend on this
    /// machine's clock.
    #[must_use]
    pub fn new(url: Url, date: SystemTime) -> Self {
        // A URL cannot have expired when it was issued: the clocks of the API and the store differ, or it is a sample.
        let lifetime = expiry(&url).and_then(|expiry| expiry.duration_since(date).ok()).filter(|left| !left.is_zero());
        Self { url, lifetime }
    }

    /// Returns the URL, which must not be shown.
    pub(crate) fn reveal(&self) -> &Url {
        &self.url
    }

    /// Returns the time from its issue to its expiry, if known.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedUrl({}/…)", http::origin(&self.url))
    }
}

/// Returns when a URL expires: `Expires` in seconds since 1970 (Signature Version 2), or `X-Amz-Date` plus `X-Amz-Expires`
/// seconds (Version 4).
fn expiry(url: &Url) -> Option<SystemTime> {
    let parameter =
        |name: &str| url.query_pairs().find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value));

    if let (Some(date), Some(lifetime)) = (parameter("X-Amz-Date"), parameter("X-Amz-Expires")) {
        return amz_date(&date)?.checked_add(seconds(&lifetime)?);
    }
    UNIX_EPOCH.checked_add(seconds(&parameter("Expires")?)?)
}

fn seconds(text: &str) -> Option<Duration> {
    let is_number = text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten().map(Duration::from_secs)
}

/// Parses `20261125T035000Z`.
fn amz_date(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (year, month, day) = (date.get(..4)?, date.get(4..6)?, date.get(6..)?);
    let (hour, minute, second) = (time.get(..2)?, time.get(2..4)?, time.get(4..)?);

    humantime::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifetime_is_the_time_from_the_date_of_the_response_to_the_expiry_in_the_query() {
        // 2026-11-25T03:50:00Z
        let date = UNIX_EPOCH + Duration::from_secs(1_795_578_600);
        for (query, seconds) in [
            ("Expires=1795578630&Signature=x", Some(30)),
            ("expires=1795578602", Some(2)),
            ("X-Amz-Date=20261125T034950Z&X-Amz-Expires=25&X-Amz-Signature=x", Some(15)),
            ("x-amz-expires=2&x-amz-date=20261125T035000Z", Some(2)),
            ("X-Amz-Date=20261125T235959Z&X-Amz-Expires=1", Some(72_600)),
            ("Expires=1795578600", None),
            ("Expires=1425359248", None),
            ("X-Amz-Date=20261125T034950Z&X-Amz-Expires=10", None),
            ("X-Amz-Date=2026-11-25T03:50Z&X-Amz-Expires=10", None),
            ("X-Amz-Date=20261325T035000Z&X-Amz-Expires=10", None),
            ("X-Amz-Date=€&X-Amz-Expires=10", None),
            ("X-Amz-Date=20261125T035000Z", None),
            ("X-Amz-Expires=10", None),
            ("Expires=-1", None),
            ("Expires=soon", None),
            ("Expires=999999999999999999999", None),
            ("Expires=", None),
            ("", None),
        ] {
            let url = Url::parse(&format!("https://s3.example/x?{query}")).unwrap();
            assert_eq!(SignedUrl::new(url, date).lifetime(), seconds.map(Duration::from_secs), "{query}");
        }
    }

    #[test]
    fn debug_shows_only_the_origin() {
        let url = Url::parse("https://s3.example:444/secretpath?Signature=secret").unwrap();
        assert_eq!(format!("{:?}", SignedUrl::new(url, UNIX_EPOCH)), "SignedUrl(https://s3.example:444/…)");
    }
}

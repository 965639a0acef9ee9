//! Response headers and bodies that both clients read.

use std::time::{Duration, SystemTime};

use reqwest::Response;
use reqwest::header::{DATE, HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER};

/// Returns the value of a header, or `None` if it is missing or not visible ASCII.
#[must_use]
pub(crate) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the delay that `Retry-After` asks for.
#[must_use]
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    parse_retry_after(text(headers, RETRY_AFTER)?, date(headers))
}

/// Parses `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date, which is measured against the [`date`] of the response,
/// so that a wrong local clock does no harm. A date in the past is a delay of zero.
fn parse_retry_after(value: &str, response_date: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit is longer than any timeout.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }

    let until = httpdate::parse_http_date(value).ok()?;
    Some(until.duration_since(response_date).unwrap_or_default())
}

/// Returns the time at which the server sent its response: its `Date`, or else the local time.
#[must_use]
pub(crate) fn date(headers: &HeaderMap) -> SystemTime {
    let date = text(headers, DATE).and_then(|date| httpdate::parse_http_date(date.trim()).ok());
    date.unwrap_or_else(SystemTime::now)
}

/// Returns the time in `Last-Modified`.
#[must_use]
pub(crate) fn last_modified(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, LAST_MODIFIED)?.trim()).ok()
}

/// Returns the body, or `None` if it is larger than `max_size` bytes.
///
/// # Errors
///
/// If the body is interrupted.
pub(crate) async fn read_limited_body(
    mut response: Response,
    max_size: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_size {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_parsed_in_all_its_forms() {
        let response_date = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (value, delay) in [
            ("120", Some(120)),
            (" 120 ", Some(120)),
            ("0", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("+5", None),
        ] {
            assert_eq!(parse_retry_after(value, response_date), delay.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn a_date_in_retry_after_is_measured_against_the_date_of_the_response() {
        let delay = |date| {
            let headers = [(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT"), (DATE, date)];
            retry_after(&headers.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect())
        };
        assert_eq!(delay("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(delay("nonsense"), Some(Duration::ZERO), "the local time is used");
    }

    /// Values of `Retry-After` and `Date` that servers send, or could send.
    const DATES: [&str; 16] = [
        "120",
        "0",
        "-1",
        "1.5",
        "1e3",
        "+5",
        "0x10",
        "18446744073709551615",
        "99999999999999999999999",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "120, 240",
    ];

    proptest! {
        #[test]
        fn a_delay_is_the_requested_one_or_none(
            value in crate::testing::mutated_text(&DATES),
            response_date in crate::testing::mutated_text(&DATES),
        ) {
            let headers = HeaderValue::from_str(&response_date).map(|date| HeaderMap::from_iter([(DATE, date)]));
            let delay = parse_retry_after(&value, date(&headers.unwrap_or_default()));
            let digits = !value.trim().is_empty() && value.trim().bytes().all(|byte| byte.is_ascii_digit());
            if digits {
                prop_assert_eq!(delay, Some(Duration::from_secs(value.trim().parse().unwrap_or(u64::MAX))));
            }
            if !digits && httpdate::parse_http_date(value.trim()).is_err() {
                prop_assert_eq!(delay, None);
            }
        }
    }
}

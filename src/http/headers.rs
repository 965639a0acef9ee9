//! Response headers and bodies that both clients read.

use std::time::{Duration, SystemTime};

use reqwest::Response;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use super::retry;

/// Returns the value of a header, or `None` if it is missing or not visible ASCII.
#[must_use]
pub(crate) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the delay that `Retry-After` asks for.
#[must_use]
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    retry::retry_after(text(headers, RETRY_AFTER)?, text(headers, DATE), SystemTime::now())
}

/// Returns the time at which the server sent its response: its `Date`, or else the local time.
#[must_use]
pub(crate) fn date(headers: &HeaderMap) -> SystemTime {
    let date = text(headers, DATE).and_then(|date| httpdate::parse_http_date(date.trim()).ok());
    date.unwrap_or_else(SystemTime::now)
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

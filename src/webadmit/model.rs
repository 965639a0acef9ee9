//! The types that the API's requests are made of.

use std::fmt;

use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::http;

/// The id of an export, a PDF template, a run, a zip file or an identity: a positive integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Id(pub u64);

impl Id {
    /// Parses the digits of a positive integer.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()?;
        (number > 0).then_some(Self(number))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The API key. It has no `Display`, and its `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct ApiKey(String);

impl ApiKey {
    /// Returns `None` if the text is empty, or has white space, quotes or characters outside of ASCII.
    #[must_use]
    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_valid = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'');
        (!text.is_empty() && text.bytes().all(is_valid)).then(|| Self(text.to_owned()))
    }

    /// The key itself: for masking it, and for finding it where it must not be.
    #[must_use]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// The value of the `x-api-key` header. It is marked as sensitive, so no `Debug` shows it.
    #[must_use]
    pub(crate) fn header(&self) -> HeaderValue {
        // A key is visible ASCII, so the conversion cannot fail; the API would refuse an empty header with 401.
        let mut value = HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

/// The root of the API. Its path ends with `/` and stops before `api/v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl(Url);

impl BaseUrl {
    /// Wraps the root of the API, with or without `/api/v1` at the end. Returns `None` if the path continues after
    /// `/api/v1`.
    #[must_use]
    pub(crate) fn new(mut url: Url) -> Option<Self> {
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/api/v1").unwrap_or(path).trim_end_matches('/').to_owned();
        if path.contains("/api/v1") {
            return None;
        }
        url.set_path(&format!("{path}/"));
        Some(Self(url))
    }

    /// Returns the URL of an endpoint. `path` is relative to `/api/v1/`.
    #[must_use]
    pub(crate) fn endpoint(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}api/v1/{path}", self.0.path()));
        url
    }

    /// Whether requests are encrypted.
    #[must_use]
    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether the API is on this machine and requests are not encrypted.
    #[must_use]
    pub(crate) fn is_plain_loopback(&self) -> bool {
        !self.is_https() && http::is_loopback(&self.0)
    }

    /// The host, with the port unless it is the scheme's default.
    #[must_use]
    pub(crate) fn host(&self) -> String {
        http::host(&self.0)
    }
}

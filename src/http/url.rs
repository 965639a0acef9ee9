//! Properties of URLs.

use std::net::IpAddr;

use reqwest::Url;

use crate::text::sanitize;

/// Returns the host of a URL, with the port unless it is the scheme's default.
#[must_use]
pub(crate) fn host(url: &Url) -> String {
    let name = sanitize::excerpt(url.host_str().unwrap_or_default());
    match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name,
    }
}

/// Returns scheme, host and port of a URL: `https://host:port`.
#[must_use]
pub(crate) fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), host(url))
}

/// Whether a URL contains a user name or a password.
#[must_use]
pub(crate) fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Whether a URL points to this machine: `localhost`, 127.0.0.0/8 or ::1.
#[must_use]
pub(crate) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

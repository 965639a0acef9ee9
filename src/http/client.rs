//! The two HTTP clients, and what their errors mean.
//!
//! One client speaks to the API and follows no redirect. The other speaks to the store; it has never seen the API key,
//! and says nobody where it comes from. Both trust the same certificate authorities and use the proxy that the
//! environment names.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{BaseUrl, host};
use crate::deadline::Deadline;
use crate::http::error::ErrorKind;
use crate::http::retry;
use crate::text::redact::Redactor;
use crate::text::sanitize;

/// How long a server may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a connection has come about, TLS included.
    pub connect: Duration,
    /// Until the next byte comes.
    pub read: Duration,
}

impl Default for Timeouts {
    /// What users are promised: no bytes for 20 s is a fault.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), read: Duration::from_secs(20) }
    }
}

const MAX_REDIRECTS: usize = 5;

/// The clients of one step.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For the API: follows no redirect.
    pub api: Client,
    /// For the store: never sees the API key, and follows up to five redirects.
    pub store: Client,
}

/// Builds both clients. They trust the given authorities and no others. Where the API is asked in plain http on this very
/// machine, no proxy comes between: the key would leave the machine.
///
/// # Errors
///
/// When TLS cannot be set up.
pub fn clients(
    roots: RootCertStore,
    patience: Timeouts,
    base_url: &BaseUrl,
    redactor: &Arc<Redactor>,
) -> anyhow::Result<Clients> {
    let provider = rustls::crypto::ring::default_provider();
    let tls = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = || {
        ClientBuilder::new()
            .tls_backend_preconfigured(tls.clone())
            .user_agent(concat!("webadmit-export/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .connect_timeout(patience.connect)
            .read_timeout(patience.read)
    };
    let api = builder().redirect(Policy::none());
    let api = if base_url.is_plain_loopback() { api.no_proxy() } else { api }.build();
    let redactor = Arc::clone(redactor);
    let store = builder().redirect(Policy::custom(move |attempt| follow(attempt, &redactor))).build();
    let context = "the HTTP client cannot be set up";
    Ok(Clients { api: api.context(context)?, store: store.context(context)? })
}

/// Five redirects at most, never from https to another scheme, and never with a user name or a password.
fn follow(attempt: Attempt<'_>, redactor: &Redactor) -> reqwest::redirect::Action {
    // It can lead to another signed URL.
    redactor.add_signed_url(attempt.url());
    let from_https = attempt.previous().iter().any(|url| url.scheme() == "https");
    let to = attempt.url();
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("redirected more than five times");
    }
    if to.scheme() != "https" && to.scheme() != "http" {
        return attempt.error("redirected to a place that is neither https nor http");
    }
    if to.scheme() == "http" && from_https {
        return attempt.error("redirected from https to a place without it");
    }
    if has_credentials(to) {
        return attempt.error("redirected to a URL with a user name or a password");
    }
    attempt.follow()
}

/// Whether a URL carries a user name or a password.
#[must_use]
pub fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Where a URL points to, without its path and query: `https://host:port`.
#[must_use]
pub fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), host(url))
}

/// What an error before the end of an answer's head is, and what it says: never with a URL.
#[must_use]
pub fn classify_error(error: reqwest::Error) -> (ErrorKind, String) {
    // The URL of a download carries its signature.
    let error = error.without_url();
    if let Some(certificate) = find_in_chain(&error, certificate_problem) {
        return (ErrorKind::Certificate, certificate);
    }
    let cause = find_in_chain(&error, not_tls).unwrap_or_else(|| sanitize::excerpt(&root_cause(&error)));
    match () {
        () if error.is_redirect() => (ErrorKind::StoreRedirect, cause),
        () if error.is_connect() && error.is_timeout() => {
            (ErrorKind::Connect, "it did not come about in time".to_owned())
        }
        () if error.is_connect() => (ErrorKind::Connect, cause),
        () if error.is_timeout() => (ErrorKind::Timeout, "no answer in time".to_owned()),
        () => (ErrorKind::ConnectionLost, cause),
    }
}

/// What an error in the middle of a body is: [`ErrorKind::Stalled`] or [`ErrorKind::UnexpectedEof`], and what it says.
#[must_use]
pub fn classify_body_error(error: reqwest::Error) -> (ErrorKind, String) {
    let error = error.without_url();
    if error.is_timeout() {
        return (ErrorKind::Stalled, "no bytes came for too long".to_owned());
    }
    (ErrorKind::UnexpectedEof, format!("the connection was cut ({})", sanitize::excerpt(&root_cause(&error))))
}

/// The body, unless it is larger than `max` bytes: then `None`.
///
/// # Errors
///
/// When the body breaks off.
pub async fn read_limited_body(mut response: Response, max: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// How long the head of an answer asks to be left alone, where it does.
#[must_use]
pub fn retry_after(headers: &HeaderMap, deadline: &Deadline) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    retry::retry_after(text(RETRY_AFTER)?, text(DATE), deadline.system_time())
}

/// The time at which a server sent its response, for the times that it names: its `Date`, or this machine's time of day.
#[must_use]
pub fn date(headers: &HeaderMap, deadline: &Deadline) -> SystemTime {
    let date = headers.get(DATE).and_then(|value| httpdate::parse_http_date(value.to_str().ok()?.trim()).ok());
    date.unwrap_or_else(|| deadline.system_time())
}

/// A status as messages show it: `503 (ApiConfig Unavailable)`.
#[must_use]
pub fn format_status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} ({reason})", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// What is to be said of a server that does not speak TLS, where that is what an error is about.
fn not_tls(error: &(dyn Error + 'static)) -> Option<String> {
    match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidMessage(_) => {
            Some("it does not speak TLS: is it plain http, or another port?".to_owned())
        }
        _ => None,
    }
}

/// What is wrong with the server's certificate, where that is what an error is about.
fn certificate_problem(error: &(dyn Error + 'static)) -> Option<String> {
    use rustls::CertificateError as Bad;
    let error = match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer | Bad::BadSignature => {
                "it is not signed by an authority that is trusted here".to_owned()
            }
            Bad::Expired | Bad::ExpiredContext { .. } => "it has expired".to_owned(),
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "it was made out to another host".to_owned(),
            Bad::Revoked => "it has been revoked".to_owned(),
            bad if bad.to_string().contains("CaUsedAsEndEntity") => {
                "it is the certificate of an authority, and not one of a server".to_owned()
            }
            bad => format!("it is not valid ({})", sanitize::excerpt(&bad.to_string())),
        },
        rustls::Error::NoCertificatesPresented => "there is none".to_owned(),
        _ => return None,
    };
    Some(error)
}

/// The first thing that `look` finds along the sources of an error. An [`io::Error`] hides what it wraps from
/// [`Error::source`], so its inside is looked at too.
fn find_in_chain<T>(error: &(dyn Error + 'static), look: fn(&(dyn Error + 'static)) -> Option<T>) -> Option<T> {
    let mut next = Some(error);
    while let Some(error) = next {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = look(error).or_else(|| wrapped.and_then(|wrapped| find_in_chain(wrapped, look))) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The words of the innermost source, without the number of the system's error.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    sanitize::without_os_code(&innermost.to_string()).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_be_silent_for_twenty_seconds() {
        let Timeouts { connect, read } = Timeouts::default();
        assert_eq!((connect, read), (Duration::from_secs(10), Duration::from_secs(20)));
    }
}

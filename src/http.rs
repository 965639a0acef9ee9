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

use crate::clean;
use crate::clock::Clock;
use crate::fault::Kind;
use crate::inputs::{BaseUrl, host};
use crate::retry;
use crate::secrets::Secrets;

/// How long a server may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until a connection has come about, TLS included.
    pub connect: Duration,
    /// Until the next byte comes.
    pub silence: Duration,
}

impl Default for Patience {
    /// What users are promised: no bytes for 20 s is a fault.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), silence: Duration::from_secs(20) }
    }
}

const MOST_REDIRECTS: usize = 5;

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
    authorities: RootCertStore,
    patience: Patience,
    base_url: &BaseUrl,
    secrets: &Arc<Secrets>,
) -> anyhow::Result<Clients> {
    let provider = rustls::crypto::ring::default_provider();
    let tls = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let builder = || {
        ClientBuilder::new()
            .tls_backend_preconfigured(tls.clone())
            .user_agent(concat!("webadmit-export/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .connect_timeout(patience.connect)
            .read_timeout(patience.silence)
    };
    let api = builder().redirect(Policy::none());
    let api = if base_url.is_plain_loopback() { api.no_proxy() } else { api }.build();
    let secrets = Arc::clone(secrets);
    let store = builder().redirect(Policy::custom(move |attempt| follow(attempt, &secrets))).build();
    let context = "the HTTP client cannot be set up";
    Ok(Clients { api: api.context(context)?, store: store.context(context)? })
}

/// Five redirects at most, never from https to another scheme, and never with a user name or a password.
fn follow(attempt: Attempt<'_>, secrets: &Secrets) -> reqwest::redirect::Action {
    // It can lead to another signed URL.
    secrets.keep_url(attempt.url());
    let from_https = attempt.previous().iter().any(|url| url.scheme() == "https");
    let to = attempt.url();
    if attempt.previous().len() > MOST_REDIRECTS {
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
pub fn reduce(error: reqwest::Error) -> (Kind, String) {
    // The URL of a download carries its signature.
    let error = error.without_url();
    if let Some(certificate) = find_in_chain(&error, certificate_problem) {
        return (Kind::Certificate, certificate);
    }
    let cause = find_in_chain(&error, not_tls).unwrap_or_else(|| clean::words(&root_cause(&error)));
    match () {
        () if error.is_redirect() => (Kind::StoreRedirect, cause),
        () if error.is_connect() && error.is_timeout() => (Kind::Connect, "it did not come about in time".to_owned()),
        () if error.is_connect() => (Kind::Connect, cause),
        () if error.is_timeout() => (Kind::Timeout, "no answer in time".to_owned()),
        () => (Kind::Broken, cause),
    }
}

/// What an error in the middle of a body is: [`Kind::Stalled`] or [`Kind::Cut`], and what it says.
#[must_use]
pub fn reduce_in_body(error: reqwest::Error) -> (Kind, String) {
    let error = error.without_url();
    if error.is_timeout() {
        return (Kind::Stalled, "no bytes came for too long".to_owned());
    }
    (Kind::Cut, format!("the connection was cut ({})", clean::words(&root_cause(&error))))
}

/// The body, unless it is larger than `most` bytes: then `None`.
///
/// # Errors
///
/// When the body breaks off.
pub async fn small_body(mut response: Response, most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// How long the head of an answer asks to be left alone, where it does.
#[must_use]
pub fn retry_after(headers: &HeaderMap, clock: &Clock) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    retry::retry_after(text(RETRY_AFTER)?, text(DATE), clock.time_of_day())
}

/// The time at which a server sent its response, for the times that it names: its `Date`, or this machine's time of day.
#[must_use]
pub fn date(headers: &HeaderMap, clock: &Clock) -> SystemTime {
    let date = headers.get(DATE).and_then(|value| httpdate::parse_http_date(value.to_str().ok()?.trim()).ok());
    date.unwrap_or_else(|| clock.time_of_day())
}

/// A status as messages show it: `503 (Service Unavailable)`.
#[must_use]
pub fn status_words(status: StatusCode) -> String {
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
    let problem = match error.downcast_ref::<rustls::Error>()? {
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
            bad => format!("it is not valid ({})", clean::words(&bad.to_string())),
        },
        rustls::Error::NoCertificatesPresented => "there is none".to_owned(),
        _ => return None,
    };
    Some(problem)
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
    clean::without_number(&innermost.to_string()).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_be_silent_for_twenty_seconds() {
        let Patience { connect, silence } = Patience::default();
        assert_eq!((connect, silence), (Duration::from_secs(10), Duration::from_secs(20)));
    }
}

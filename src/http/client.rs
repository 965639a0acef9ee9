//! The two HTTP clients.
//!
//! One sends requests to the API and follows no redirect. The other sends requests to the store; it never has the API
//! key, and sends no `Referer`. Both trust the same certificate authorities and use the environment's proxy.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, ClientBuilder};
use rustls::{ClientConfig, RootCertStore};

use super::url::has_credentials;
use crate::text::redact::Redactor;

/// Timeouts of both clients.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For establishing a connection, including TLS.
    pub connect: Duration,
    /// For the next byte of a response.
    pub read: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), read: Duration::from_secs(20) }
    }
}

/// Maximum number of redirects from the store.
const MAX_REDIRECTS: usize = 5;

/// The clients of one step.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For the API; follows no redirect.
    pub(crate) api: Client,
    /// For the store; never has the API key, and follows up to five redirects.
    pub store: Client,
}

/// Builds both clients, which trust only `roots`. With `bypass_proxy`, API requests use no proxy. This is for plain http to
/// a loopback host: a proxy would get the unencrypted key.
///
/// # Errors
///
/// If TLS cannot be set up.
pub fn clients(
    roots: RootCertStore,
    timeouts: Timeouts,
    bypass_proxy: bool,
    redactor: &Arc<Redactor>,
) -> anyhow::Result<Clients> {
    let provider = rustls::crypto::ring::default_provider();
    let tls = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .context("cannot set up TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = || {
        ClientBuilder::new()
            .tls_backend_preconfigured(tls.clone())
            .user_agent(concat!("webadmit-export/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.read)
    };

    let api = builder().redirect(Policy::none());
    let api = if bypass_proxy { api.no_proxy() } else { api };
    let redactor = Arc::clone(redactor);
    let store = builder().redirect(Policy::custom(move |attempt| follow_redirect(attempt, &redactor)));

    let build = |builder: ClientBuilder| builder.build().context("cannot set up the HTTP client");
    Ok(Clients { api: build(api)?, store: build(store)? })
}

/// Follows a redirect from the store, unless it is one too many, leaves https, or carries a user name or a password.
fn follow_redirect(attempt: Attempt<'_>, redactor: &Redactor) -> Action {
    // The target can be a signed URL, too.
    redactor.add_signed_url(attempt.url());

    let was_https = attempt.previous().iter().any(|url| url.scheme() == "https");
    let target = attempt.url();
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("redirected more than five times");
    }
    if target.scheme() != "https" && target.scheme() != "http" {
        return attempt.error("redirected to a URL that is neither https nor http");
    }
    if target.scheme() == "http" && was_https {
        return attempt.error("redirected from https to http");
    }
    if has_credentials(target) {
        return attempt.error("redirected to a URL with a user name or a password");
    }
    attempt.follow()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_sends_nothing_for_twenty_seconds_has_stalled() {
        let Timeouts { connect, read } = Timeouts::default();
        assert_eq!((connect, read), (Duration::from_secs(10), Duration::from_secs(20)));
    }
}

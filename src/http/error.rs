//! Errors of single requests.
//!
//! Every error of the HTTP client, and every response that cannot be used, becomes a [`RequestError`] with an
//! [`ErrorKind`]. [`super::retry`] decides from the kind what happens next.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;

use crate::text::sanitize;

/// The server that a request was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The WebAdMIT API.
    Api,
    /// The store that has the files.
    Store,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Api => "API",
            Self::Store => "store",
        })
    }
}

/// The kind of a request error. [`super::retry::classify`] says which kinds are retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// No connection: name look-up, TCP, proxy or TLS failed.
    Connect,
    /// The proxy requires a user name and a password.
    ProxyAuthentication,
    /// The server's certificate is not trusted.
    Certificate,
    /// No response in time.
    Timeout,
    /// The connection was lost before the end of the response's head, or the response was not HTTP.
    ConnectionLost,
    /// No byte of the body arrived for too long.
    Stalled,
    /// The body ended before its announced end.
    UnexpectedEof,
    /// A status that is not a success.
    Status(u16),
    /// 403 with `X-RateLimit-Remaining: 0`.
    RateLimited,
    /// A successful response of the API that cannot be parsed: a maintenance page, truncated JSON, a missing field.
    Unreadable,
    /// A status that has a file, but no URL for it.
    MissingUrl,
    /// The API redirected.
    Redirect,
    /// The API did not redirect to the file, although it must.
    MissingRedirect,
    /// The API's response is larger than expected.
    TooLarge,
    /// The API responded with another run than the requested one.
    WrongRun,
    /// The signed URL must not be used.
    InvalidUrl,
    /// The store redirected too often, or to a URL that must not be used.
    StoreRedirect,
    /// The store sent the file with a content coding or transfer coding that was not requested.
    UnsupportedEncoding,
    /// The store's response does not match the request: another range, or another length than announced.
    Mismatch,
    /// The store did not announce the length of the body.
    UnknownLength,
}

/// A request that failed, or whose response cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestError {
    /// Where the request was sent.
    pub(crate) endpoint: Endpoint,
    pub(crate) kind: ErrorKind,
    /// Host and port of the server.
    pub(crate) host: String,
    /// The cause or the server's explanation. [`fmt::Display`] inserts it into the sentence for the kind. Sanitized, without a
    /// URL.
    pub(crate) detail: String,
    /// The delay that the server asked for.
    pub(crate) retry_after: Option<Duration>,
}

impl RequestError {
    /// An error without `Retry-After`.
    #[must_use]
    pub(crate) fn new(endpoint: Endpoint, kind: ErrorKind, host: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { endpoint, kind, host: host.into(), detail: detail.into(), retry_after: None }
    }

    /// Returns the error in a few words, as the recovery summary counts it: `503 from the API`. Only errors that are retried are
    /// counted.
    #[must_use]
    pub(crate) fn short_description(&self) -> String {
        let what = match self.kind {
            ErrorKind::Connect => return format!("failed connection to the {}", self.endpoint),
            ErrorKind::ProxyAuthentication => return "proxy authentication".to_owned(),
            ErrorKind::UnexpectedEof => return "interrupted download".to_owned(),
            ErrorKind::Stalled => return "stalled download".to_owned(),
            ErrorKind::Status(status) => status.to_string(),
            ErrorKind::RateLimited => "403 (rate limit)".to_owned(),
            ErrorKind::Timeout => "timeout".to_owned(),
            ErrorKind::ConnectionLost => "lost connection".to_owned(),
            ErrorKind::Unreadable => "unreadable response".to_owned(),
            ErrorKind::MissingUrl => "response without a URL".to_owned(),
            ErrorKind::UnknownLength => "response of unknown length".to_owned(),
            ErrorKind::Mismatch => "unexpected response".to_owned(),
            // These are never retried.
            ErrorKind::Certificate
            | ErrorKind::Redirect
            | ErrorKind::MissingRedirect
            | ErrorKind::StoreRedirect
            | ErrorKind::TooLarge
            | ErrorKind::WrongRun
            | ErrorKind::InvalidUrl
            | ErrorKind::UnsupportedEncoding => "error".to_owned(),
        };
        format!("{what} from the {}", self.endpoint)
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, detail, .. } = self;
        let server = match self.endpoint {
            Endpoint::Api => host.clone(),
            Endpoint::Store => format!("the store ({host})"),
        };
        let is_repeated = matches!(self.kind, ErrorKind::Status(status) if reason_phrase(status) == Some(detail));
        let explanation = if detail.is_empty() || is_repeated { String::new() } else { format!(": {detail}") };

        match self.kind {
            ErrorKind::Connect => write!(f, "cannot connect to {server}{explanation}"),
            ErrorKind::ProxyAuthentication => {
                write!(f, "cannot connect to {server}: the proxy requires a user name and a password")
            }
            ErrorKind::Certificate => write!(f, "cannot verify the certificate of {server}{explanation}"),
            ErrorKind::Timeout => write!(f, "{server} did not respond in time"),
            ErrorKind::ConnectionLost => write!(f, "the connection to {server} was lost{explanation}"),
            ErrorKind::Stalled => write!(f, "{server} stopped sending data{explanation}"),
            ErrorKind::UnexpectedEof => write!(f, "the connection to {server} was closed too early{explanation}"),
            ErrorKind::Status(status) => write!(f, "{server} responded {}{explanation}", describe_status(status)),
            ErrorKind::RateLimited => {
                write!(f, "{server} responded 403: this key has no calls left in this hour{explanation}")
            }
            ErrorKind::Unreadable => write!(f, "{server} sent {detail}"),
            ErrorKind::MissingUrl => write!(f, "{server} responded with status {detail}, but without a download URL"),
            ErrorKind::Redirect => write!(f, "{server} redirected to {detail}"),
            ErrorKind::MissingRedirect => write!(f, "{server} responded {detail} instead of redirecting to the file"),
            ErrorKind::TooLarge => write!(f, "{server} sent more than {detail}"),
            ErrorKind::WrongRun => write!(f, "{server} responded with {detail}"),
            ErrorKind::InvalidUrl => write!(f, "{server} sent a download URL that {detail}"),
            ErrorKind::StoreRedirect
            | ErrorKind::UnsupportedEncoding
            | ErrorKind::Mismatch
            | ErrorKind::UnknownLength => write!(f, "{server} {detail}"),
        }
    }
}

impl Error for RequestError {}

/// Returns a status as messages show it: `503 (Service Unavailable)`.
fn describe_status(status: u16) -> String {
    match reason_phrase(status) {
        Some(reason) => format!("{status} ({reason})"),
        None => status.to_string(),
    }
}

fn reason_phrase(status: u16) -> Option<&'static str> {
    StatusCode::from_u16(status).ok()?.canonical_reason()
}

/// Returns the kind and the detail of an error that occurred before the end of a response's head.
#[must_use]
pub(crate) fn classify_error(error: reqwest::Error) -> (ErrorKind, String) {
    // A signed URL must not reach a message.
    let error = error.without_url();
    if let Some(cause) = find_in_chain(&error, certificate_error) {
        return (ErrorKind::Certificate, cause);
    }

    let cause = find_in_chain(&error, plain_text_server).unwrap_or_else(|| sanitize::excerpt(&root_cause(&error)));
    if error.is_redirect() {
        (ErrorKind::StoreRedirect, cause)
    } else if error.is_connect() && error.is_timeout() {
        (ErrorKind::Connect, "timed out".to_owned())
    } else if error.is_connect() && cause.ends_with("proxy authorization required") {
        // hyper-util has no public type for this error.
        (ErrorKind::ProxyAuthentication, String::new())
    } else if error.is_connect() {
        (ErrorKind::Connect, cause)
    } else if error.is_timeout() {
        (ErrorKind::Timeout, String::new())
    } else {
        (ErrorKind::ConnectionLost, cause)
    }
}

/// Returns the kind and the cause of an error within a body: [`ErrorKind::Stalled`] or [`ErrorKind::UnexpectedEof`].
#[must_use]
pub(crate) fn classify_body_error(error: reqwest::Error) -> (ErrorKind, String) {
    let error = error.without_url();
    if error.is_timeout() {
        return (ErrorKind::Stalled, String::new());
    }
    (ErrorKind::UnexpectedEof, sanitize::excerpt(&root_cause(&error)))
}

/// Explains the error of a server that does not use TLS.
fn plain_text_server(error: &(dyn Error + 'static)) -> Option<String> {
    match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidMessage(_) => {
            Some("the server does not use TLS on this port; is it plain http?".to_owned())
        }
        _ => None,
    }
}

/// Explains why the server's certificate is not trusted.
fn certificate_error(error: &(dyn Error + 'static)) -> Option<String> {
    use rustls::CertificateError as Invalid;

    let cause = match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(invalid) => match invalid {
            Invalid::UnknownIssuer | Invalid::BadSignature => {
                "it is not signed by a trusted certificate authority".to_owned()
            }
            Invalid::Expired | Invalid::ExpiredContext { .. } => "it has expired".to_owned(),
            Invalid::NotValidYet | Invalid::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
            Invalid::NotValidForName | Invalid::NotValidForNameContext { .. } => {
                "it is not valid for this host".to_owned()
            }
            Invalid::Revoked => "it has been revoked".to_owned(),
            invalid => sanitize::excerpt(&invalid.to_string()),
        },
        rustls::Error::NoCertificatesPresented => "the server sent none".to_owned(),
        _ => return None,
    };
    Some(cause)
}

/// Returns the first match along the sources of an error. An [`io::Error`] does not report what it wraps as its
/// [`Error::source`], so its content is searched as well.
fn find_in_chain<T>(error: &(dyn Error + 'static), find: fn(&(dyn Error + 'static)) -> Option<T>) -> Option<T> {
    let mut next = Some(error);
    while let Some(error) = next {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = find(error).or_else(|| wrapped.and_then(|wrapped| find_in_chain(wrapped, find))) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Returns the text of the innermost source.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    sanitize::without_os_code(&innermost.to_string()).to_lowercase()
}

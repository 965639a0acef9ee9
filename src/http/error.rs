//! What can go wrong between the tool and a server.
//!
//! Every foreign error is reduced to a [`ErrorKind`] once, by [`crate::http`] or where an answer is read; [`crate::http::retry`] decides
//! from it what happens next.

use std::time::Duration;

/// Who was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// WebAdMIT's API.
    ApiClient,
    /// The store that holds the export files.
    Store,
}

/// The kinds of faults. Which of them are worth another try is said in [`crate::http::retry::classify`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection: the name could not be looked up, nobody listens, the proxy or TLS did not work.
    Connect,
    /// The server's certificate is not to be trusted.
    Certificate,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer's head was there, or what came was not HTTP.
    ConnectionLost,
    /// The body stopped coming (no bytes for 20 s).
    Stalled,
    /// The body ended before its announced end.
    UnexpectedEof,
    /// A status that is not a success.
    Status(u16),
    /// 403 with `X-RateLimit-Remaining: 0`.
    RateLimited,
    /// The API answered with a success that cannot be read: a maintenance page, cut-off JSON, a missing field.
    Unreadable,
    /// A status that has a file came without a URL.
    MissingUrl,
    /// The API pointed to another place.
    Redirect,
    /// The API's answer is larger than an answer can be.
    TooLarge,
    /// The API answered for another run.
    WrongRun,
    /// The download URL is not one that may be used.
    InvalidUrl,
    /// The store redirected too often, or from https to http.
    StoreRedirect,
    /// The store sent the file in a content coding that nobody asked for.
    UnsupportedEncoding,
    /// The store's answer does not fit what was asked: a range that was not asked for, another length.
    Mismatch,
    /// The store did not say where the body ends.
    UnknownLength,
}

/// One request that did not bring what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// Who was asked.
    pub endpoint: Endpoint,
    /// What kind of fault it is.
    pub kind: ErrorKind,
    /// What happened, for a person, without a full stop: cleaned, without a URL.
    pub message: String,
    /// How long the server asks to be left alone, where it does.
    pub retry_after: Option<Duration>,
}

impl RequestError {
    /// A fault at the API.
    #[must_use]
    pub fn api(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { endpoint: Endpoint::ApiClient, kind, message: message.into(), retry_after: None }
    }

    /// A fault at the store.
    #[must_use]
    pub fn store(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { endpoint: Endpoint::Store, kind, message: message.into(), retry_after: None }
    }

    /// What the fault ledger counts it as: `503 from the API`.
    #[must_use]
    pub fn label(&self) -> String {
        let what = match self.kind {
            ErrorKind::Status(status) => status.to_string(),
            ErrorKind::RateLimited => "403 (rate limit)".to_owned(),
            ErrorKind::Connect => "failed connection".to_owned(),
            ErrorKind::Timeout => "time-out".to_owned(),
            ErrorKind::ConnectionLost => "broken connection".to_owned(),
            ErrorKind::Stalled => "stall".to_owned(),
            ErrorKind::UnexpectedEof => "cut".to_owned(),
            ErrorKind::Unreadable => "unreadable answer".to_owned(),
            ErrorKind::MissingUrl => "answer without a URL".to_owned(),
            ErrorKind::UnknownLength => "answer of unknown length".to_owned(),
            ErrorKind::Mismatch => "answer that did not fit".to_owned(),
            ErrorKind::Certificate => "untrusted certificate".to_owned(),
            ErrorKind::Redirect | ErrorKind::StoreRedirect => "redirect".to_owned(),
            ErrorKind::TooLarge => "oversized answer".to_owned(),
            ErrorKind::WrongRun => "answer for another run".to_owned(),
            ErrorKind::InvalidUrl => "unusable URL".to_owned(),
            ErrorKind::UnsupportedEncoding => "coded answer".to_owned(),
        };
        match self.kind {
            ErrorKind::Connect | ErrorKind::Certificate => format!("{what} to the {}", self.endpoint.name()),
            ErrorKind::UnexpectedEof | ErrorKind::Stalled => what,
            _ => format!("{what} from the {}", self.endpoint.name()),
        }
    }
}

impl Endpoint {
    /// Its name in messages, after "the".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiClient => "API",
            Self::Store => "store",
        }
    }
}

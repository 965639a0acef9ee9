//! What can go wrong between the tool and a server.
//!
//! Every foreign error is reduced to a [`Kind`] once, by [`crate::http`] or where an answer is read; [`crate::retry`] decides
//! from it what happens next.

use std::time::Duration;

/// Who was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// WebAdMIT's API.
    Api,
    /// The store that holds the export files.
    Store,
}

/// The kinds of faults. Which of them are worth another try is said in [`crate::retry::verdict`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection: the name could not be looked up, nobody listens, the proxy or TLS did not work.
    Connect,
    /// The server's certificate is not to be trusted.
    Certificate,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer's head was there, or what came was not HTTP.
    Broken,
    /// The body stopped coming (no bytes for 20 s).
    Stalled,
    /// The body ended before its announced end.
    Cut,
    /// A status that is not a success.
    Status(u16),
    /// 403 with `X-RateLimit-Remaining: 0`.
    RateLimited,
    /// The API answered with a success that cannot be read: a maintenance page, cut-off JSON, a missing field.
    Unreadable,
    /// A status that has a file came without a URL.
    NoUrl,
    /// The API pointed to another place.
    Redirect,
    /// The API's answer is larger than an answer can be.
    TooLarge,
    /// The API answered for another run.
    OtherRun,
    /// The download URL is not one that may be used.
    BadUrl,
    /// The store redirected too often, or from https to http.
    StoreRedirect,
    /// The store sent the file in a content coding that nobody asked for.
    Coded,
    /// The store's answer does not fit what was asked: a range that was not asked for, another length.
    Mismatch,
    /// The store did not say where the body ends.
    Unverifiable,
}

/// One request that did not bring what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who was asked.
    pub side: Side,
    /// What kind of fault it is.
    pub kind: Kind,
    /// What happened, for a person, without a full stop: cleaned, without a URL.
    pub words: String,
    /// How long the server asks to be left alone, where it does.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault at the API.
    #[must_use]
    pub fn api(kind: Kind, words: impl Into<String>) -> Self {
        Self { side: Side::Api, kind, words: words.into(), retry_after: None }
    }

    /// A fault at the store.
    #[must_use]
    pub fn store(kind: Kind, words: impl Into<String>) -> Self {
        Self { side: Side::Store, kind, words: words.into(), retry_after: None }
    }

    /// What the fault ledger counts it as: `503 from the API`.
    #[must_use]
    pub fn label(&self) -> String {
        let what = match self.kind {
            Kind::Status(status) => status.to_string(),
            Kind::RateLimited => "403 (rate limit)".to_owned(),
            Kind::Connect => "failed connection".to_owned(),
            Kind::Timeout => "time-out".to_owned(),
            Kind::Broken => "broken connection".to_owned(),
            Kind::Stalled => "stall".to_owned(),
            Kind::Cut => "cut".to_owned(),
            Kind::Unreadable => "unreadable answer".to_owned(),
            Kind::NoUrl => "answer without a URL".to_owned(),
            Kind::Unverifiable => "answer of unknown length".to_owned(),
            Kind::Mismatch => "answer that did not fit".to_owned(),
            Kind::Certificate => "untrusted certificate".to_owned(),
            Kind::Redirect | Kind::StoreRedirect => "redirect".to_owned(),
            Kind::TooLarge => "oversized answer".to_owned(),
            Kind::OtherRun => "answer for another run".to_owned(),
            Kind::BadUrl => "unusable URL".to_owned(),
            Kind::Coded => "coded answer".to_owned(),
        };
        match self.kind {
            Kind::Connect | Kind::Certificate => format!("{what} to the {}", self.side.name()),
            Kind::Cut | Kind::Stalled => what,
            _ => format!("{what} from the {}", self.side.name()),
        }
    }
}

impl Side {
    /// Its name in messages, after "the".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "API",
            Self::Store => "store",
        }
    }
}

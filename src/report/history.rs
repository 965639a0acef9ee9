//! What has happened so far in a step.
//!
//! It stands outside of the job, so that outputs and summary can be written however the job ends: also when a signal
//! cuts it off.

use std::fmt;
use std::time::Duration;

use crate::config::Id;
use crate::http::error::{Endpoint, ErrorKind};
use crate::http::retry::RetryFailure;
use crate::text::format;
use crate::webadmit::status::Status;

/// When the fault ledger has so many entries, it does not tell any more where the download was cut: a night of a thousand
/// cuts must fit into a line.
const MAX_OFFSETS: usize = 10;

/// The story of one step, as far as it has gone.
#[derive(Debug, Default)]
pub struct History {
    /// The identity that is used, as soon as its id is known.
    pub identity: Option<ResolvedName>,
    /// The export, as soon as its id is known.
    pub export: Option<ResolvedName>,
    /// The run, as soon as it is known.
    pub run: Option<Id>,
    /// When this tool started the run, as long as no status of it has been read. A 404 means little in that time.
    pub started: Option<Duration>,
    /// Whether the API has answered: readably, or with a wait to be obeyed.
    pub answered: bool,
    /// The statuses in the order in which they were seen.
    pub statuses: Vec<StatusChange>,
    /// How many answers told a status.
    pub checks: usize,
    /// When the run was first asked for.
    pub asked: Option<Duration>,
    /// The faults that were followed by another try: what they were, and how often.
    pub retries: Vec<(String, usize)>,
    /// The trouble that the step is in just now.
    pub failure: Option<RetryFailure>,
    /// How far the download is, once it has begun.
    pub progress: Option<Progress>,
    /// The file, once it is in place.
    pub saved: Option<SavedFile>,
}

/// An identity or an export whose id is known, and what it is called, where WebAdMIT was asked for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedName {
    /// Its id.
    pub id: Id,
    /// What it is called.
    pub title: Option<String>,
    /// Whether it is an identity of several that differ in their cycle alone.
    pub is_newest: bool,
}

impl fmt::Display for ResolvedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.title {
            Some(title) => write!(f, "{} ({title})", self.id),
            None => self.id.fmt(f),
        }
    }
}

/// A status and when it was seen, since the start of the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusChange {
    /// The status.
    pub status: Status,
    /// When it was seen first.
    pub first: Duration,
    /// When it was seen last.
    pub last: Duration,
}

/// How far a download is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The bytes that the partial file holds.
    pub held: u64,
    /// The bytes of the whole file, where the store has told.
    pub total: Option<u64>,
}

/// A file in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedFile {
    /// Its path: relative to the workspace where it is inside, else absolute.
    pub path: String,
    /// Its name.
    pub filename: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes in lower-case hexadecimal.
    pub sha256: String,
    /// SHA-256 of the bytes that the store sent: another one when the file was converted.
    pub source_sha256: String,
    /// Its media type, where the store named one.
    pub content_type: Option<String>,
    /// What became of its text.
    pub text: TextEncoding,
    /// How long the download took.
    pub took: Duration,
}

impl SavedFile {
    /// Whether its bytes are others than the store sent.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.sha256 != self.source_sha256
    }
}

/// What became of the text of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextEncoding {
    /// It is as sent, as it was asked for.
    AsSent,
    /// It was converted to UTF-8 from this charset.
    Converted(&'static str),
    /// It is as sent, although UTF-8 was asked for, for this reason.
    NotConverted(String),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            Some(total) => write!(f, "{} of {}", format::bytes(self.held), format::bytes(total)),
            None => f.write_str(&format::bytes(self.held)),
        }
    }
}

impl History {
    /// The last status that was seen.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.statuses.last().map(|seen| &seen.status)
    }

    /// Notes a status. True when it is new or has changed.
    pub fn record_status(&mut self, status: &Status, now: Duration) -> bool {
        self.checks += 1;
        match self.statuses.last_mut() {
            Some(seen) if seen.status == *status => {
                seen.last = now;
                false
            }
            _ => {
                self.statuses.push(StatusChange { status: status.clone(), first: now, last: now });
                true
            }
        }
    }

    /// Notes a fault that is followed by another try.
    pub fn record_retry(&mut self, failure: RetryFailure) {
        let error = &failure.error;
        let label = match error.kind {
            ErrorKind::UnexpectedEof | ErrorKind::Stalled if self.retries.len() < MAX_OFFSETS => {
                let held = self.progress.map_or(0, |progress| progress.held);
                format!("{} at {}", error.label(), format::bytes(held))
            }
            _ => error.label(),
        };
        self.count_retry(label);
        self.failure = Some(failure);
    }

    /// Notes the trouble that there was at the timeout. An answer that was cut off by the timeout itself says less than the
    /// fault before it.
    pub fn record_timeout(&mut self, last: RetryFailure) {
        self.failure = match self.failure.take() {
            Some(before) if last.error.kind == ErrorKind::Timeout && before.error.endpoint == last.error.endpoint => {
                Some(RetryFailure { error: before.error, ..last })
            }
            _ => Some(last),
        };
    }

    /// Notes that this side has done what it should: whatever trouble there was with it is over.
    pub fn clear_failure(&mut self, endpoint: Endpoint) {
        if self.failure.as_ref().is_some_and(|failure| failure.error.endpoint == endpoint) {
            self.failure = None;
        }
    }

    /// Notes one more of something that belongs into the fault ledger.
    pub fn count_retry(&mut self, label: impl Into<String>) {
        let label = label.into();
        match self.retries.iter_mut().find(|(known, _)| *known == label) {
            Some((_, times)) => *times += 1,
            None => self.retries.push((label, 1)),
        }
    }

    /// The fault ledger in one line: `3 × 503 from the API, 1 cut at 41.0 MB, 2 fresh URLs`. Empty when nothing
    /// happened.
    #[must_use]
    pub fn recovery_summary(&self) -> String {
        let entry = |(label, times): &(String, usize)| match (label.as_str(), times) {
            ("fresh URL", 1) => "1 fresh URL".to_owned(),
            ("fresh URL", times) => format!("{times} fresh URLs"),
            (label, 1) if !label.starts_with(|c: char| c.is_ascii_digit()) => format!("1 {label}"),
            (label, times) => format!("{times} × {label}"),
        };
        self.retries.iter().map(entry).collect::<Vec<_>>().join(", ")
    }
}

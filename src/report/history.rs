//! The history of a step. Outputs, summary and messages are made from it, however the step ends.
//!
//! Nothing else depends on it: the loops decide from their own state.

use std::fmt;
use std::time::Duration;

use crate::config::{FetchRequest, IdentitySelector, RunRequest, RunSelector, SourceSelector};
use crate::error::StepError;
use crate::http::error::{Endpoint, ErrorKind};
use crate::http::retry::RetryFailure;
use crate::text::format::{self, Progress};
use crate::text::sanitize;
use crate::webadmit::status::Status;
use crate::webadmit::{CreationTime, Id, RunKind};

/// With this many entries, the recovery summary no longer says where downloads were interrupted. Keeps a thousand
/// interruptions on one line.
const MAX_OFFSETS: usize = 10;

/// Maximum length of a run's label, in characters.
pub(crate) const MAX_LABEL_LENGTH: usize = 60;

/// The history of a step.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The identity, once its id is known.
    pub(crate) identity: Option<ResolvedName>,
    /// Whether the API sent a valid response, or one with `Retry-After`.
    pub(crate) has_responded: bool,
    /// The requests that belong to none of several runs: their retries and the current failure.
    pub(crate) shared: RunHistory,
    /// The requested runs, in the order of the inputs. Empty if the inputs are invalid.
    pub(crate) runs: Vec<RunHistory>,
}

impl History {
    /// The history of a step that has not begun. `request` is `None` if the inputs are invalid.
    #[must_use]
    pub(crate) fn new(request: Option<&FetchRequest>) -> Self {
        let runs: Vec<_> = request.into_iter().flat_map(|request| &request.runs).map(RunHistory::new).collect();
        let kind = runs.first().map(|run| run.kind).unwrap_or_default();
        let identity = match request.and_then(|request| request.identity.as_ref()) {
            Some(IdentitySelector::Id(id)) => Some(ResolvedName::from_id(*id)),
            Some(IdentitySelector::Words(_)) | None => None,
        };
        Self { identity, shared: RunHistory { kind, ..RunHistory::default() }, runs, ..Self::default() }
    }

    /// Returns the history of the run, if a single one is requested.
    #[must_use]
    pub(crate) fn only_run(&self) -> Option<&RunHistory> {
        if let [run] = self.runs.as_slice() { Some(run) } else { None }
    }

    /// Returns the number of runs that were started or selected.
    #[must_use]
    pub(crate) fn known_runs(&self) -> usize {
        self.runs.iter().filter(|run| run.id.is_some()).count()
    }

    /// Returns the history of the run of this kind, if a single one is requested.
    #[must_use]
    pub(crate) fn only_run_of(&self, kind: RunKind) -> Option<&RunHistory> {
        let mut runs = self.runs.iter().filter(|run| run.kind == kind);
        runs.next().filter(|_| runs.next().is_none())
    }

    /// Returns the file, if a single run is requested and has a single file.
    #[must_use]
    pub(crate) fn only_file(&self) -> Option<&SavedFile> {
        if let [file] = self.only_run()?.saved.as_slice() { Some(file) } else { None }
    }

    /// Returns when the file was created, if a single run is requested and has a single file, or one that was too old.
    #[must_use]
    pub(crate) fn created(&self) -> Option<CreationTime> {
        let too_old = || self.only_run()?.too_old_creation_time();
        self.only_file().and_then(|file| file.created).or_else(too_old)
    }

    /// Returns the last status of the run; of several, the first one in this order.
    #[must_use]
    pub(crate) fn status(&self) -> Option<&Status> {
        let statuses = self.runs.iter().filter_map(RunHistory::status);
        statuses.min_by_key(|status| match status {
            Status::Failed => 0,
            Status::EmptyList => 1,
            Status::Unknown(_) => 2,
            Status::Initializing => 3,
            Status::Queued => 4,
            Status::InProgress => 5,
            Status::SuccessWithErrors => 6,
            Status::Available => 7,
        })
    }

    /// Returns the runs that failed: their indices, histories and errors.
    pub(crate) fn failed_runs(&self) -> impl Iterator<Item = (usize, &RunHistory, &StepError)> {
        self.runs.iter().enumerate().filter_map(|(index, run)| Some((index, run, run.error.as_ref()?)))
    }
}

/// The history of a run.
#[derive(Debug, Default)]
pub struct RunHistory {
    /// The kind of the run. In [`History::shared`], the kind that the last request was about.
    pub(crate) kind: RunKind,
    /// The export or template in a few words: its name in WebAdMIT, or before that is known, as the input selects it. Different
    /// for each run.
    pub(crate) label: String,
    /// The export or template, once its id is known.
    pub(crate) source: Option<ResolvedName>,
    /// The id of the run, once it is known.
    pub(crate) id: Option<Id>,
    /// The statuses in order.
    pub(crate) statuses: Vec<StatusChange>,
    /// Number of responses with a status.
    pub(crate) checks: usize,
    /// Time of the first response with a status, since the start of the step.
    pub(crate) first_check: Option<Duration>,
    /// The errors that were retried, and how often each occurred.
    pub(crate) retries: Vec<(String, usize)>,
    /// Number of signed URLs after the first one.
    pub(crate) new_urls: usize,
    /// The current failure, until a request succeeds.
    pub(crate) failure: Option<RetryFailure>,
    /// Progress of the download, once it has started.
    pub(crate) progress: Option<Progress>,
    /// The files that are at their destination.
    pub(crate) saved: Vec<SavedFile>,
    /// Whether nothing is left to do for the run. False if the step ended before.
    pub(crate) is_finished: bool,
    /// Why the run failed.
    pub(crate) error: Option<StepError>,
}

/// An identity, an export or a template, and its name if it was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedName {
    pub(crate) id: Id,
    pub(crate) name: Option<String>,
    /// Whether it is an identity that words selected, and the newest of several that differ only in their cycle.
    pub(crate) is_newest_cycle: bool,
}

impl ResolvedName {
    /// An entry that was given by its id, so its name was not looked up.
    #[must_use]
    pub(crate) fn from_id(id: Id) -> Self {
        Self { id, name: None, is_newest_cycle: false }
    }
}

impl fmt::Display for ResolvedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} ({name})", self.id),
            None => self.id.fmt(f),
        }
    }
}

/// A status, and when it was seen, since the start of the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusChange {
    pub(crate) status: Status,
    pub(crate) first_seen: Duration,
    pub(crate) last_seen: Duration,
}

/// A file at its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedFile {
    /// The position of the file among those of the run.
    pub(crate) position: usize,
    /// Path relative to the workspace if it is inside, else absolute.
    pub path: String,
    /// File name.
    pub filename: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the file in lower-case hexadecimal.
    pub sha256: String,
    /// SHA-256 of the bytes that the store sent. Differs from `sha256` if the file was converted.
    pub source_sha256: String,
    /// Media type, if the store declared one.
    pub content_type: Option<String>,
    /// Whether the text was converted.
    pub encoding: TextEncoding,
    /// When the file was created, if the server says so.
    pub created: Option<CreationTime>,
    /// Duration of the download.
    pub(crate) download_duration: Duration,
}

/// Whether the text of a file was converted to UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextEncoding {
    /// No conversion was requested.
    AsSent,
    /// It is in UTF-8 now.
    Converted(Conversion),
    /// A conversion was requested, but the file is not text, for this reason.
    NotText(String),
    /// A conversion was requested, but was not possible for this reason. The file is text, or its type is unknown.
    NotConverted(String),
}

/// How a text was converted to UTF-8: `converted from windows-1252 to UTF-8`, `no charset declared; already UTF-8`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversion {
    /// The charset of the bytes that the store sent.
    pub charset: &'static str,
    /// Whether the store declared a charset.
    pub is_declared: bool,
    /// Whether the text was UTF-8 with a byte-order mark, which was removed.
    pub has_removed_mark: bool,
    /// What became of the charset that an HTML file declares.
    pub html: HtmlCharset,
}

/// What became of the charset that an HTML file declares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HtmlCharset {
    /// The file is not HTML, or declares no charset or UTF-8.
    #[default]
    Unchanged,
    /// It was another one, and is utf-8 now.
    Changed,
    /// It is another one, and could not be changed.
    NotChanged,
}

impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_declared {
            f.write_str("no charset declared; ")?;
        }
        match (self.charset, self.has_removed_mark) {
            ("UTF-8", false) => f.write_str("already UTF-8")?,
            ("UTF-8", true) => f.write_str("UTF-8; byte-order mark removed")?,
            (charset, _) => write!(f, "converted from {charset} to UTF-8")?,
        }
        match self.html {
            HtmlCharset::Unchanged => Ok(()),
            HtmlCharset::Changed => f.write_str("; charset in the HTML changed to utf-8"),
            HtmlCharset::NotChanged => f.write_str("; charset in the HTML not changed"),
        }
    }
}

impl RunHistory {
    /// The history of a run that was not started yet.
    #[must_use]
    pub(crate) fn new(request: &RunRequest) -> Self {
        let id = if let RunSelector::Id(id) = request.run { Some(id) } else { None };
        let (label, source) = match (&request.source, id) {
            (Some(SourceSelector::Name(name)), _) => (sanitize::truncate(name, MAX_LABEL_LENGTH), None),
            (Some(SourceSelector::Id(source)), _) => (request.to_string(), Some(ResolvedName::from_id(*source))),
            (None, id) => {
                (id.map_or_else(|| request.to_string(), |id| format!("{} {id}", request.kind.run_noun())), None)
            }
        };
        Self { kind: request.kind, label, source, id, ..Self::default() }
    }

    /// The last status.
    #[must_use]
    pub(crate) fn status(&self) -> Option<&Status> {
        self.statuses.last().map(|change| &change.status)
    }

    /// Returns the creation time of the file that was too old to be downloaded.
    #[must_use]
    pub(crate) fn too_old_creation_time(&self) -> Option<CreationTime> {
        if let Some(StepError::TooOld { created, .. }) = self.error { Some(created) } else { None }
    }

    /// Records a status. Returns whether it differs from the last one.
    pub(crate) fn record_status(&mut self, status: &Status, now: Duration) -> bool {
        self.checks += 1;
        self.first_check.get_or_insert(now);
        match self.statuses.last_mut() {
            Some(change) if change.status == *status => {
                change.last_seen = now;
                false
            }
            _ => {
                self.statuses.push(StatusChange { status: status.clone(), first_seen: now, last_seen: now });
                true
            }
        }
    }

    /// Returns how long the run took to reach its last status, counted from the first check.
    #[must_use]
    pub(crate) fn waited(&self) -> Duration {
        let last_change = self.statuses.last().map_or(Duration::ZERO, |change| change.first_seen);
        last_change.saturating_sub(self.first_check.unwrap_or_default())
    }

    /// Records why the run failed. Of several errors, the most severe one stays.
    pub(crate) fn record_error(&mut self, error: StepError) {
        self.error = Some(StepError::more_severe(self.error.take(), error));
    }

    /// Records a failure that is retried.
    pub(crate) fn record_retry(&mut self, failure: RetryFailure) {
        let error = &failure.error;
        let description = match error.kind {
            ErrorKind::UnexpectedEof | ErrorKind::Stalled if self.retries.len() < MAX_OFFSETS => {
                let received = self.progress.map_or(0, |progress| progress.received);
                format!("{} at {}", error.short_description(), format::bytes(received))
            }
            _ => error.short_description(),
        };
        self.count_retry(description);
        self.failure = Some(failure);
    }

    /// Counts an error that is retried.
    pub(crate) fn count_retry(&mut self, description: String) {
        match self.retries.iter_mut().find(|(known, _)| *known == description) {
            Some((_, count)) => *count += 1,
            None => self.retries.push((description, 1)),
        }
    }

    /// Records the failure at the timeout. A request that the timeout itself cut off explains less than the error before
    /// it.
    pub(crate) fn record_timeout(&mut self, last: RetryFailure) {
        self.failure = match self.failure.take() {
            Some(previous)
                if last.error.kind == ErrorKind::Timeout && previous.error.endpoint == last.error.endpoint =>
            {
                Some(RetryFailure { error: previous.error, ..last })
            }
            _ => Some(last),
        };
    }

    /// Records that a request to this endpoint succeeded.
    pub(crate) fn clear_failure(&mut self, endpoint: Endpoint) {
        if self.failure.as_ref().is_some_and(|failure| failure.error.endpoint == endpoint) {
            self.failure = None;
        }
    }

    /// Returns the retried errors on one line: `3 × 503 from the API, 1 interrupted download at 41.0 MB, 2 new signed
    /// URLs`. Empty if there were none.
    #[must_use]
    pub fn recovery_summary(&self) -> String {
        let starts_with_number = |description: &str| description.starts_with(|c: char| c.is_ascii_digit());
        let retries = self.retries.iter().map(|(description, count)| match count {
            1 if !starts_with_number(description) => format!("1 {description}"),
            count => format!("{count} × {description}"),
        });
        let new_urls = (self.new_urls > 0).then(|| format::count(self.new_urls, "new signed URL"));
        retries.chain(new_urls).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversion_says_what_was_changed() {
        let (utf_8, latin) = ("UTF-8", "windows-1252");
        for (charset, is_declared, has_removed_mark, html, text) in [
            (utf_8, true, false, HtmlCharset::Unchanged, "already UTF-8"),
            (utf_8, false, false, HtmlCharset::Unchanged, "no charset declared; already UTF-8"),
            (utf_8, true, true, HtmlCharset::Unchanged, "UTF-8; byte-order mark removed"),
            (utf_8, true, false, HtmlCharset::Changed, "already UTF-8; charset in the HTML changed to utf-8"),
            (latin, true, false, HtmlCharset::Unchanged, "converted from windows-1252 to UTF-8"),
            (latin, false, false, HtmlCharset::Unchanged, "no charset declared; converted from windows-1252 to UTF-8"),
            (
                latin,
                true,
                false,
                HtmlCharset::NotChanged,
                "converted from windows-1252 to UTF-8; charset in the HTML not changed",
            ),
        ] {
            assert_eq!(Conversion { charset, is_declared, has_removed_mark, html }.to_string(), text);
        }
    }
}

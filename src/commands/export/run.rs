//! One run: start or select it, poll it, and download its files.

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;

use super::shared::Shared;
use crate::config::{Action, Encoding, RunRequest, RunSelector};
use crate::context::{Context, RequestLimits};
use crate::download::{DownloadOptions, ParallelConfig, PooledConnection, check_age, download};
use crate::error::{LookupTarget, StepError, Unresolved};
use crate::http::error::{Endpoint, ErrorKind, RequestError};
use crate::http::retry::{AttemptLimits, GiveUpReason, NEW_RUN_NOT_FOUND_PERIOD, RetryFailure};
use crate::poll::{self, Poller};
use crate::report::history::{HtmlCharset, ResolvedName, SavedFile, TextEncoding};
use crate::text::format;
use crate::webadmit::resolve;
use crate::webadmit::status::Status;
use crate::webadmit::{Id, RemoteFile, RunKind, RunRef, RunResponse, SignedUrl};

/// Number of attempts to request the signed URL of one of several files before the other files are downloaded.
const ATTEMPTS_BEFORE_OTHERS: u32 = 3;

/// A run of the request.
pub(super) struct Run<'a> {
    shared: &'a Shared<'a>,
    /// Its index in the request.
    index: usize,
    request: &'a RunRequest,
    identity: Option<Id>,
    context: Context<'a>,
    poller: &'a Poller,
    /// When this step started the run. For some seconds, the API may respond 404.
    started_at: Cell<Option<Duration>>,
    /// Whether a check has seen the run in progress. Then its file is new.
    was_in_progress: Cell<bool>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        shared: &'a Shared<'a>,
        index: usize,
        request: &'a RunRequest,
        identity: Option<Id>,
        context: Context<'a>,
        poller: &'a Poller,
    ) -> Self {
        let (started_at, was_in_progress) = (Cell::new(None), Cell::new(false));
        Self { shared, index, request, identity, context, poller, started_at, was_in_progress }
    }

    /// Does what the step is for with the run, and records what happens in its history, including the error.
    pub(super) async fn execute(self) {
        let request = self.shared.request;
        let result = match request.action {
            _ if request.is_check => self.verify().await,
            Action::Fetch => self.fetch().await,
            Action::Start => self.select().await.map(|_| ()),
        };
        if let Err(error) = &result
            && self.context.is_labelled()
        {
            self.context.line(&format!("failed: {error}"));
        }

        let mut history = self.context.history.borrow_mut();
        history.is_finished = true;
        if let Err(error) = result {
            history.record_error(error);
        }
    }

    /// Fetches the files of the run.
    async fn fetch(&self) -> Result<(), StepError> {
        let run = self.select().await?;
        let (response, connection) = self.poll(run).await?;
        self.download_files(run, &response, connection).await?;

        self.check_status(&response.status)?;
        match response.status {
            Status::Failed => {
                let noun = self.request.kind.run_noun();
                self.context
                    .warning(&format!("the {noun} failed in WebAdMIT, so there is no file; allowed by fail-on"));
            }
            ref status if !status.has_file() => {
                self.context.line(&format!("no file was produced ({status}); allowed by fail-on"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Verifies the run as far as that is possible without starting or downloading anything, and logs what the step would do.
    async fn verify(&self) -> Result<(), StepError> {
        let (noun, directory) = (self.request.kind.run_noun(), self.shared.destination);
        let files = match (&self.shared.request.filename, self.request.kind) {
            (Some(filename), _) => format!("its file as {filename}"),
            (None, RunKind::Export) => "its file".to_owned(),
            (None, RunKind::PdfBatch) => "its files".to_owned(),
        };
        if self.request.run == RunSelector::New {
            self.context.line(&match self.shared.request.action {
                Action::Fetch => format!("would start a {noun}, and save {files} in {directory}"),
                Action::Start => format!("would start a {noun}"),
            });
            return Ok(());
        }

        let run = self.select().await?;
        let (response, _connection) = self.check(run).await?;
        let status = &response.status;
        self.check_status(status)?;
        if self.request.kind == RunKind::PdfBatch && status.has_file() {
            check_age(response.created, self.max_age())?;
        }

        let unless_too_old = match self.max_age() {
            Some(max_age) if status.has_file() => {
                format!(", unless it is older than {}; a check does not request its age", format::age(max_age))
            }
            _ => String::new(),
        };
        self.context.line(&match (status.has_file(), status.is_terminal()) {
            (true, _) => format!("would save {files} in {directory}{unless_too_old}"),
            (false, false) => format!("would wait for the {noun}, and save {files} in {directory}"),
            (false, true) => "would end without a file; allowed by fail-on".to_owned(),
        });
        Ok(())
    }

    /// Returns an error if the status fails the step.
    fn check_status(&self, status: &Status) -> Result<(), StepError> {
        if self.shared.request.fail_on.contains(status) { Err(StepError::Status(status.clone())) } else { Ok(()) }
    }

    /// Returns the maximum age of the files. A run that was in progress during this step has new files.
    fn max_age(&self) -> Option<Duration> {
        let is_limited = self.request.run == RunSelector::Latest && !self.was_in_progress.get();
        self.shared.request.max_age.filter(|_| is_limited)
    }

    /// Starts the run, or selects an existing one.
    async fn select(&self) -> Result<RunRef, StepError> {
        let id = match self.request.run {
            RunSelector::Id(id) => id,
            RunSelector::Latest => self.find_latest().await?,
            RunSelector::New => self.start().await?,
        };
        self.context.history.borrow_mut().id = Some(id);

        match (self.request.kind, self.identity) {
            (RunKind::Export, _) => Ok(RunRef::Export { export: self.source()?, run: id }),
            (RunKind::PdfBatch, identity) => Ok(RunRef::PdfBatch { identity: required(identity)?, batch: id }),
        }
    }

    /// Returns the id of the export or template.
    fn source(&self) -> Result<Id, StepError> {
        let source = self.context.history.borrow().source.as_ref().map(|source| source.id);
        source.ok_or_else(|| anyhow::anyhow!("no {} was given", self.request.kind.source_noun()).into())
    }

    async fn find_latest(&self) -> Result<Id, StepError> {
        let (kind, source) = (self.request.kind, self.source()?);
        let all = self.shared.recent_runs(kind, required(self.identity)?, &self.context).await?;
        let run = resolve::latest(all, source).map_err(|error| {
            StepError::Unresolved(vec![Unresolved { target: LookupTarget::LatestRun(self.index), error }])
        })?;
        self.context.line(&format!("latest {} of {} {source}: {}", kind.run_noun(), kind.source_noun(), run.id));
        Ok(run.id)
    }

    async fn start(&self) -> Result<Id, StepError> {
        let (kind, source, identity) = (self.request.kind, self.source()?, required(self.identity)?);
        let send = async |timeout| self.shared.api.start_run(kind, identity, source, timeout).await;
        let response = self.context.request(RequestLimits::default(), send).await?;

        let id = response.run_id;
        self.context.line(&format!("started {} {id} of {} {source}", kind.run_noun(), kind.source_noun()));
        self.started_at.set(Some(self.context.deadline().elapsed()));
        if self.shared.request.action == Action::Start {
            self.record_source(&response);
            self.record_status(&response.status);
        }
        Ok(id)
    }

    /// Polls the run until its status is terminal. Returns the last response, and the connection that was taken for it.
    async fn poll(&self, run: RunRef) -> Result<(RunResponse, PooledConnection<'a>), StepError> {
        let is_new = self.request.run == RunSelector::New;
        let check = async || {
            let (response, connection) = self.check(run).await?;
            self.was_in_progress.set(self.was_in_progress.get() || !response.status.is_terminal());
            Ok((response.status.clone(), (response, connection)))
        };
        let record = |status: &Status| self.record_status(status);
        poll::until_terminal(&self.context, self.poller, run.id(), is_new, check, record).await
    }

    /// Waits for a connection to the store, but not past the timeout and its grace period.
    async fn acquire_connection(&self) -> Result<PooledConnection<'a>, StepError> {
        let remaining = self.context.deadline().remaining_with_grace();
        if remaining.is_zero() {
            return Err(StepError::TimedOut);
        }
        let acquired = tokio::time::timeout(remaining, self.shared.connections.acquire()).await;
        acquired.map_err(|_| StepError::TimedOut)
    }

    /// Requests the status of the run. A status that has files is an error if the response refers to none. A connection is taken
    /// before each attempt, because the response can have a signed URL, which expires within seconds.
    async fn check(&self, run: RunRef) -> Result<(RunResponse, PooledConnection<'a>), StepError> {
        let not_found_until = self.started_at.get().map(|started_at| started_at + NEW_RUN_NOT_FOUND_PERIOD);
        let attempts = AttemptLimits { not_found_until, max_attempts: None };
        let send = async |connection, timeout| {
            let response = self.request_status(run, timeout).await?;
            if response.status.has_file() && response.files.is_empty() {
                return Err(self.missing_url(&response.status));
            }
            Ok((response, connection))
        };
        let limits = RequestLimits { has_grace_period: true, attempts };
        self.context.request_with(limits, async || self.acquire_connection().await, send).await
    }

    async fn request_status(&self, run: RunRef, timeout: Duration) -> Result<RunResponse, RequestError> {
        let response = self.shared.api.run_status(&run, timeout).await?;
        self.record_source(&response);
        self.record_status(&response.status);
        Ok(response)
    }

    fn missing_url(&self, status: &Status) -> RequestError {
        self.shared.api.error(ErrorKind::MissingUrl, status.name())
    }
}

fn required(identity: Option<Id>) -> Result<Id, StepError> {
    // The inputs require an identity wherever it is used.
    identity.ok_or_else(|| anyhow::anyhow!("no identity was given").into())
}

/// The downloads.
impl<'a> Run<'a> {
    /// Downloads all files of the run, one after another. If one cannot be downloaded, the others are kept. One whose redirect keeps
    /// failing is postponed, so that it does not use up the time of the others.
    async fn download_files(
        &self,
        run: RunRef,
        response: &RunResponse,
        connection: PooledConnection<'a>,
    ) -> Result<(), StepError> {
        let zips: Vec<Id> = match response.files.as_slice() {
            [RemoteFile::Url(url)] => {
                let refresh = async || self.refresh_url(run).await;
                let saved = self.download_file(run, response, url.clone(), refresh, connection).await?;
                self.record_saved(saved);
                self.log_recovery();
                return Ok(());
            }
            files => files.iter().filter_map(RemoteFile::zip).collect(),
        };
        drop(connection);
        if !zips.is_empty() {
            check_age(response.created, self.max_age())?;
        }

        let (mut missing, mut cause) = (Vec::new(), None::<StepError>);
        let total = zips.len();
        let mut queue: VecDeque<(usize, Option<u32>)> =
            (0..total).map(|index| (index, (total > 1).then_some(ATTEMPTS_BEFORE_OTHERS))).collect();
        while let Some((index, max_attempts)) = queue.pop_front() {
            match self.download_zip(run, response, zips[index], max_attempts).await {
                Ok(saved) => self.record_saved(saved),
                Err(error) if total == 1 => return Err(error),
                Err(error) if max_attempts.is_some() && has_no_attempts_left(&error) => queue.push_back((index, None)),
                Err(error) => {
                    self.context.line(&format!("file {} of {total} failed: {error}", index + 1));
                    missing.push(index + 1);
                    if ends_downloads(&error) {
                        missing.extend(queue.drain(..).map(|(index, _)| index + 1));
                    }
                    cause = Some(StepError::more_severe(cause, error));
                }
            }
        }

        let Some(cause) = cause else {
            if total > 0 {
                self.log_recovery();
            }
            return Ok(());
        };
        missing.sort_unstable();
        Err(StepError::MissingFiles { missing, total, cause: Box::new(cause) })
    }

    /// Downloads a zip file. As for a status check, a connection is taken before each request for its signed URL.
    async fn download_zip(
        &self,
        run: RunRef,
        response: &RunResponse,
        zip: Id,
        max_attempts: Option<u32>,
    ) -> Result<SavedFile, StepError> {
        self.context.history.borrow_mut().progress = None;
        let acquire = async || self.acquire_connection().await;
        let (url, connection) = self.request_zip_url(zip, max_attempts, acquire).await?;

        let refresh = async || {
            let (url, ()) = self.request_zip_url(zip, None, async || Ok(())).await?;
            Ok(url)
        };
        self.download_file(run, response, url, refresh, connection).await
    }

    /// Downloads a file over `connection`, which was taken before its `first` signed URL was requested. `refresh` requests the next
    /// one.
    async fn download_file(
        &self,
        run: RunRef,
        response: &RunResponse,
        first: SignedUrl,
        refresh: impl AsyncFnMut() -> Result<SignedUrl, StepError>,
        connection: PooledConnection<'a>,
    ) -> Result<SavedFile, StepError> {
        let shared = self.shared;
        let fallback_name = match run {
            RunRef::Export { run, .. } => format!("export-{run}"),
            RunRef::PdfBatch { batch, .. } => format!("pdf-batch-{batch}.zip"),
        };
        let options = DownloadOptions {
            run: self.index,
            filename: shared.request.filename.as_deref(),
            fallback_name: &fallback_name,
            // A zip file is not text.
            encoding: if self.request.kind == RunKind::Export { shared.request.encoding } else { Encoding::AsSent },
            // The age of a batch was checked before.
            max_age: self.max_age().filter(|_| self.request.kind == RunKind::Export),
            parallel: ParallelConfig::default(),
        };
        let store = &shared.clients.store;
        let download = download(&self.context, store, connection, first, refresh, shared.destination, options);
        let mut saved = match tokio::time::timeout(self.context.deadline().remaining_with_grace(), download).await {
            Ok(result) => result?,
            Err(_) => return Err(StepError::TimedOut),
        };
        shared.record_replaced_files();
        if self.request.kind == RunKind::PdfBatch {
            saved.created = response.created;
        }
        Ok(saved)
    }

    /// Requests a new signed URL for the file of an export.
    async fn refresh_url(&self, run: RunRef) -> Result<SignedUrl, StepError> {
        let send = async |timeout| {
            let response = self.request_status(run, timeout).await?;
            let url = response.url().cloned();
            let has_ended_without_file = response.status.is_terminal() && !response.status.has_file();
            if url.is_none() && !has_ended_without_file {
                return Err(self.missing_url(&response.status));
            }
            Ok((response.status, url))
        };

        let (status, url) = self.context.request(RequestLimits::default(), send).await?;
        match url {
            Some(url) => Ok(url),
            None if self.shared.request.fail_on.contains(&status) => Err(StepError::Status(status)),
            None => Err(StepError::after_one_attempt(self.missing_url(&status), GiveUpReason::NotRetryable)),
        }
    }

    /// Requests the signed URL of a zip file. `acquire` is as in [`Context::request_with`].
    async fn request_zip_url<R>(
        &self,
        zip: Id,
        max_attempts: Option<u32>,
        acquire: impl AsyncFnMut() -> Result<R, StepError>,
    ) -> Result<(SignedUrl, R), StepError> {
        let identity = required(self.identity)?;
        let attempts = AttemptLimits { max_attempts, not_found_until: None };
        let send =
            async |acquired, timeout| self.shared.api.zip_url(identity, zip, timeout).await.map(|url| (url, acquired));
        self.context.request_with(RequestLimits { has_grace_period: true, attempts }, acquire, send).await
    }
}

/// Whether a request to the API was not retried further, because its attempts are limited.
fn has_no_attempts_left(error: &StepError) -> bool {
    let is_api = |failure: &RetryFailure| failure.error.endpoint == Endpoint::Api;
    matches!(error, StepError::Request { failure, reason: GiveUpReason::NoProgress } if is_api(failure))
}

/// Whether the other files would fail as well: the time is up, or the key is refused.
fn ends_downloads(error: &StepError) -> bool {
    let is_key_refused = |failure: &RetryFailure| {
        failure.error.endpoint == Endpoint::Api && failure.error.kind == ErrorKind::Status(401)
    };
    error.is_timeout() || matches!(error, StepError::Request { failure, .. } if is_key_refused(failure))
}

/// The history and the log.
impl Run<'_> {
    /// Records the export or template in a response, and warns if it is another one than the requested one.
    fn record_source(&self, response: &RunResponse) {
        let Some(source) = &response.source else { return };
        let mut history = self.context.history.borrow_mut();
        let is_first = history.checks == 0;
        let name = || source.name.as_ref().map(ToString::to_string);
        match &mut history.source {
            None => history.source = Some(ResolvedName { id: source.id, name: name(), is_newest_cycle: false }),
            Some(requested) if requested.id == source.id && requested.name.is_none() => requested.name = name(),
            Some(requested) if is_first && requested.id != source.id => {
                let (noun, run_noun) = (self.request.kind.source_noun(), self.request.kind.run_noun());
                self.context.warning(&format!(
                    "the {run_noun} belongs to {noun} {} according to WebAdMIT, not to {noun} {}",
                    source.id, requested.id
                ));
            }
            Some(_) => {}
        }
    }

    /// Records a status in the history, and logs what is new.
    fn record_status(&self, status: &Status) {
        let mut history = self.context.history.borrow_mut();
        // GitHub shows at most ten warnings of a step, so there is one for all unknown statuses.
        let is_unknown = |status: &Status| matches!(status, Status::Unknown(_));
        let has_warned = history
            .statuses
            .iter()
            .any(|seen| seen.status == *status || is_unknown(&seen.status) && is_unknown(status));

        if !history.record_status(status, self.context.deadline().elapsed()) {
            return;
        }
        match self.context.is_labelled() {
            true => self.context.line(status.name()),
            false => self.context.line(&format!("status: {status}")),
        }
        match status {
            Status::Unknown(name) if !has_warned => {
                self.context.warning(&format!("unknown status `{name}`; polling continues"));
            }
            Status::SuccessWithErrors if !has_warned => {
                self.context.warning("WebAdMIT reported errors while it created the file; applicants may be missing");
            }
            _ => {}
        }
    }

    fn record_saved(&self, saved: SavedFile) {
        let mut history = self.context.history.borrow_mut();
        let waited = match history.waited() {
            Duration::ZERO => String::new(),
            waited => format!(", waited {}", format::duration(waited)),
        };
        let (path, size, duration) =
            (&saved.path, format::bytes(saved.size), format::duration(saved.download_duration));
        let created = match saved.created {
            Some(created) => format!(", created {} ago", format::age(created.age())),
            None => String::new(),
        };
        let sha256 = &saved.sha256;
        self.context
            .line(&format!("saved {path} ({size}, sha256 {sha256}){created}{waited}, downloaded in {duration}"));

        match &saved.encoding {
            TextEncoding::AsSent => {}
            TextEncoding::Converted(conversion) => {
                self.context.line(&format!("encoding: {conversion}"));
                if let HtmlCharset::NotChanged(reason) = conversion.html {
                    self.context.warning(&format!(
                        "the charset in the HTML was not changed to utf-8: {reason}; the file is in UTF-8, but a browser can show \
                         wrong characters; declare charset=utf-8 wherever it is published, or set encoding to as-sent"
                    ));
                }
            }
            TextEncoding::NotText(reason) => self.context.line(&format!("not converted to UTF-8: {reason}")),
            TextEncoding::NotConverted(reason) => self.context.warning(&format!(
                "not converted to UTF-8: {reason}; the file was saved as the store sent it; find out its charset and convert it in \
                 a later step, or set encoding to as-sent"
            )),
        }
        history.saved.push(saved);
    }

    fn log_recovery(&self) {
        let recovery = self.context.history.borrow().recovery_summary();
        if !recovery.is_empty() {
            self.context.line(&format!("recovered from: {recovery}"));
        }
    }
}

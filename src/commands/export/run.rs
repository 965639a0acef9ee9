//! One run: start or select it, poll it, and download its files.

use std::cell::Cell;
use std::time::Duration;

use super::shared::Shared;
use crate::config::{Encoding, RunRequest, RunSelector};
use crate::context::{Context, RequestLimits};
use crate::download::{DownloadOptions, ParallelConfig, PooledConnection, download};
use crate::error::{LookupTarget, StepError, Unresolved};
use crate::http::error::{ErrorKind, RequestError};
use crate::http::retry::{AttemptLimits, GiveUpReason, NEW_RUN_NOT_FOUND_PERIOD};
use crate::poll::{self, Poller};
use crate::report::history::{ResolvedName, SavedFile, TextEncoding};
use crate::text::format;
use crate::webadmit::resolve;
use crate::webadmit::status::Status;
use crate::webadmit::{Id, RemoteFile, RunKind, RunRef, RunResponse, SignedUrl};

/// A run of the request.
pub(super) struct Run<'a> {
    shared: &'a Shared<'a>,
    /// Its index in the request.
    index: usize,
    request: &'a RunRequest,
    identity: Option<Id>,
    context: Context<'a>,
    poller: &'a Poller,
    /// When this step started the run. Until its first status is read, which clears this, the API may respond 404.
    started_at: Cell<Option<Duration>>,
}

/// A response with a terminal status, and the connection that the files are downloaded over.
struct Finished<'a> {
    response: RunResponse,
    connection: PooledConnection<'a>,
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
        Self { shared, index, request, identity, context, poller, started_at: Cell::new(None) }
    }

    /// Fetches the files of the run, and records what happens in its history, including the error.
    pub(super) async fn fetch(self) {
        let result = self.try_fetch().await;
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

    async fn try_fetch(&self) -> Result<(), StepError> {
        let run = self.select().await?;
        let Finished { response, connection } = self.poll(run).await?;
        self.download_files(run, &response, connection).await?;

        let status = response.status;
        if self.shared.request.fail_on.contains(&status) {
            return Err(StepError::Status(status));
        }
        if !status.has_file() {
            self.context.line(&format!("no file was produced ({status}); allowed by fail-on"));
        }
        Ok(())
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
        Ok(id)
    }

    /// Polls the run until its status is terminal. A connection is taken before each check, because the response can have a signed
    /// URL, which expires within seconds.
    async fn poll(&self, run: RunRef) -> Result<Finished<'a>, StepError> {
        let is_new = self.request.run == RunSelector::New;
        let check = async || {
            let connection = self.acquire_connection().await?;
            let response = self.check(run).await?;
            Ok((response.status.clone(), Finished { response, connection }))
        };
        let record = |status: &Status| self.record_status(status);
        poll::until_terminal(&self.context, self.poller, run.id(), is_new, check, record).await
    }

    /// Waits for a connection to the store, but not past the timeout and its grace period.
    async fn acquire_connection(&self) -> Result<PooledConnection<'a>, StepError> {
        let remaining = self.context.deadline().remaining_with_grace();
        let acquired = tokio::time::timeout(remaining, self.shared.connections.acquire()).await;
        acquired.map_err(|_| StepError::TimedOut)
    }

    /// Requests the status of the run. A status that has files is an error if the response refers to none.
    async fn check(&self, run: RunRef) -> Result<RunResponse, StepError> {
        let not_found_until = self.started_at.get().map(|started_at| started_at + NEW_RUN_NOT_FOUND_PERIOD);
        let attempts = AttemptLimits { not_found_until, max_attempts: None };
        let send = async |timeout| {
            let response = self.request_status(run, timeout).await?;
            if response.status.has_file() && response.files.is_empty() {
                return Err(self.missing_url(&response.status));
            }
            Ok(response)
        };
        self.context.request(RequestLimits { has_grace_period: true, attempts }, send).await
    }

    async fn request_status(&self, run: RunRef, timeout: Duration) -> Result<RunResponse, RequestError> {
        let response = self.shared.api.run_status(&run, timeout).await?;
        self.started_at.set(None);
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
    /// Downloads all files of the run, one after another. If one cannot be downloaded, the others are kept.
    async fn download_files(
        &self,
        run: RunRef,
        response: &RunResponse,
        connection: PooledConnection<'a>,
    ) -> Result<(), StepError> {
        let (total, mut connection) = (response.files.len(), Some(connection));
        let (mut missing, mut cause) = (Vec::new(), None::<StepError>);

        for (index, file) in response.files.iter().enumerate() {
            match self.download_file(run, response, file, connection.take()).await {
                Ok(saved) => self.record_saved(saved),
                Err(error) if total == 1 => return Err(error),
                Err(error) => {
                    self.context.line(&format!("file {} of {total} failed: {error}", index + 1));
                    missing.push(index + 1);
                    cause = Some(StepError::more_severe(cause, error));
                }
            }
        }
        match cause {
            None => {
                if total > 0 {
                    self.log_recovery();
                }
                Ok(())
            }
            Some(cause) => Err(StepError::MissingFiles { missing, total, cause: Box::new(cause) }),
        }
    }

    /// Downloads a file over `connection`, or else waits for a connection first.
    async fn download_file(
        &self,
        run: RunRef,
        response: &RunResponse,
        file: &RemoteFile,
        connection: Option<PooledConnection<'a>>,
    ) -> Result<SavedFile, StepError> {
        let connection = match connection {
            Some(connection) => connection,
            None => self.acquire_connection().await?,
        };
        let first = match file {
            RemoteFile::Url(url) => url.clone(),
            RemoteFile::Zip(zip) => self.request_zip_url(*zip).await?,
        };
        let refresh = async || match file {
            RemoteFile::Url(_) => self.refresh_url(run).await,
            RemoteFile::Zip(zip) => self.request_zip_url(*zip).await,
        };

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
            parallel: ParallelConfig::default(),
        };
        let store = &shared.clients.store;
        let download = download(&self.context, store, connection, first, refresh, shared.destination, options);
        let mut saved = match tokio::time::timeout(self.context.deadline().remaining_with_grace(), download).await {
            Ok(result) => result?,
            Err(_) => return Err(StepError::TimedOut),
        };
        shared.record_replaced_files();
        saved.created_at = response.updated_at.or(saved.created_at);
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

    async fn request_zip_url(&self, zip: Id) -> Result<SignedUrl, StepError> {
        let identity = required(self.identity)?;
        let send = async |timeout| self.shared.api.zip_url(identity, zip, timeout).await;
        self.context.request(RequestLimits { has_grace_period: true, ..RequestLimits::default() }, send).await
    }
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
        self.context.line(&format!("saved {path} ({size}, sha256 {}){waited}, downloaded in {duration}", saved.sha256));

        match &saved.encoding {
            TextEncoding::AsSent => {}
            TextEncoding::Converted(charset) => {
                self.context.line(&format!("encoding: {}", format::conversion(charset, saved.has_changed())));
            }
            TextEncoding::NotConverted(reason) => self.context.line(&format!("not converted to UTF-8: {reason}")),
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

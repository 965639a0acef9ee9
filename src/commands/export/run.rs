//! One run: start or select it, poll it, and download its files.

mod download;
mod record;

use std::cell::Cell;
use std::time::Duration;

use super::shared::Shared;
use crate::config::{Action, Mode, RunRequest, RunSelector};
use crate::context::{Context, RequestLimits};
use crate::download::{PooledConnection, check_age};
use crate::error::{LookupTarget, StepError, Unresolved};
use crate::http::error::{ErrorKind, RequestError};
use crate::http::retry::{AttemptLimits, NEW_RUN_NOT_FOUND_PERIOD};
use crate::poll::{self, Poller};
use crate::text::format;
use crate::webadmit::resolve;
use crate::webadmit::status::Status;
use crate::webadmit::{Id, RunKind, RunRef, RunResponse};

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
    /// Whether there was a warning that the run is of another export or template.
    has_warned_of_source: Cell<bool>,
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
        Self {
            shared,
            index,
            request,
            identity,
            context,
            poller,
            started_at: Cell::default(),
            was_in_progress: Cell::default(),
            has_warned_of_source: Cell::default(),
        }
    }

    /// Fetches, starts or checks the run, and records what happens in its history, including the error.
    pub(super) async fn execute(self) {
        let result = match self.shared.request.mode {
            Mode::Execute(Action::Fetch) => self.fetch().await,
            Mode::Execute(Action::Start) => self.start_or_select().await.map(|_| ()),
            Mode::Check(action) => self.verify(action).await,
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
        let run = self.start_or_select().await?;
        let (response, connection) = self.poll(run).await?;
        self.download_files(run, &response, connection).await?;

        self.apply_fail_on(&response.status)?;
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
    async fn verify(&self, action: Action) -> Result<(), StepError> {
        let (noun, directory) = (self.request.kind.run_noun(), self.shared.destination);
        let files = match (&self.shared.request.filename, self.request.kind) {
            (Some(filename), _) => format!("its file as {filename}"),
            (None, RunKind::Export) => "its file".to_owned(),
            (None, RunKind::PdfBatch) => "its files".to_owned(),
        };
        if self.request.run == RunSelector::New {
            self.context.line(&match action {
                Action::Fetch => format!("would start a {noun}, and save {files} in {directory}"),
                Action::Start => format!("would start a {noun}"),
            });
            return Ok(());
        }

        let run = self.start_or_select().await?;
        let (response, _connection) = self.request_status(run).await?;
        let status = &response.status;
        self.apply_fail_on(status)?;

        let max_age = self.max_age().filter(|_| status.has_file());
        let unless_too_old = match (self.request.kind, max_age) {
            (RunKind::Export, Some(max_age)) => {
                format!(", unless it is older than {}; a check does not verify that", format::duration(max_age))
            }
            _ => String::new(),
        };
        // The response has the age of a batch. The store has that of the file of an export.
        if self.request.kind == RunKind::PdfBatch {
            check_age(response.created, max_age)?;
        }
        self.context.line(&match (status.has_file(), status.is_terminal()) {
            (true, _) => format!("would save {files} in {directory}{unless_too_old}"),
            (false, false) => format!("would wait for the {noun}, and save {files} in {directory}"),
            (false, true) => "would end without a file; allowed by fail-on".to_owned(),
        });
        Ok(())
    }

    /// Returns an error if the status fails the step.
    fn apply_fail_on(&self, status: &Status) -> Result<(), StepError> {
        if self.shared.request.fail_on.contains(status) { Err(StepError::Status(status.clone())) } else { Ok(()) }
    }

    /// Returns the maximum age of the files. A run that was in progress during this step has new files.
    fn max_age(&self) -> Option<Duration> {
        let is_limited = self.request.run == RunSelector::Latest && !self.was_in_progress.get();
        self.shared.request.max_age.filter(|_| is_limited)
    }

    /// Starts the run, or selects an existing one.
    async fn start_or_select(&self) -> Result<RunRef, StepError> {
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
        // Otherwise, the first status check records both.
        if self.shared.request.only_starts() {
            self.record_source(&response);
            self.record_status(&response.status);
        }
        Ok(id)
    }

    /// Polls the run until its status is terminal. Returns the last response, and the connection that was taken for it, if any.
    async fn poll(&self, run: RunRef) -> Result<(RunResponse, Option<PooledConnection<'a>>), StepError> {
        let is_new = self.request.run == RunSelector::New;
        let check = async || {
            let (response, connection) = self.request_status(run).await?;
            self.was_in_progress.set(self.was_in_progress.get() || response.status.is_in_progress());
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
        let acquired = tokio::time::timeout(remaining, self.shared.connections.acquire());
        let heartbeat = || "waiting for a connection to the store, because other downloads use all of them".to_owned();
        self.context.with_heartbeat(acquired, heartbeat).await.map_err(|_| StepError::TimedOut)
    }

    /// Requests the status of the run. A status that has files is an error if the response refers to none. For an export, a
    /// connection is taken before each attempt, because the response can have a signed URL, which expires within seconds.
    async fn request_status(&self, run: RunRef) -> Result<(RunResponse, Option<PooledConnection<'a>>), StepError> {
        let acquire = async || match self.request.kind {
            RunKind::Export => self.acquire_connection().await.map(Some),
            RunKind::PdfBatch => Ok(None),
        };
        let send = async |connection, timeout| {
            let response = self.request_status_once(run, timeout).await?;
            if response.status.has_file() && response.files.is_empty() {
                return Err(self.missing_url(&response.status));
            }
            Ok((response, connection))
        };
        self.context.request_with(self.limits(None), acquire, send).await
    }

    /// Returns the limits of a request about the run or its files.
    fn limits(&self, max_attempts: Option<u32>) -> RequestLimits {
        let not_found_until = self.started_at.get().map(|started_at| started_at + NEW_RUN_NOT_FOUND_PERIOD);
        RequestLimits { has_grace_period: true, attempts: AttemptLimits { max_attempts, not_found_until } }
    }

    async fn request_status_once(&self, run: RunRef, timeout: Duration) -> Result<RunResponse, RequestError> {
        let response = self.shared.api.run_status(&run, timeout).await?;
        self.record_source(&response);
        self.record_status(&response.status);
        Ok(response)
    }

    fn missing_url(&self, status: &Status) -> RequestError {
        self.shared.api.error(ErrorKind::MissingUrl, status.name())
    }
}

pub(super) fn required(identity: Option<Id>) -> Result<Id, StepError> {
    // The inputs require an identity wherever it is used.
    identity.ok_or_else(|| anyhow::anyhow!("no identity was given").into())
}

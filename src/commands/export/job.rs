//! The job: resolve names, start or select a run, poll it, and download its file.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::super::connect;
use crate::config::{ExportRequest, ExportSelector, IdentitySelector, RunSelector};
use crate::context::{Context, RequestLimits};
use crate::download::{ConnectionPool, Destination, DownloadOptions, MAX_CONNECTIONS, ParallelConfig, download};
use crate::error::{LookupTarget, StepError};
use crate::http::Clients;
use crate::http::error::{ErrorKind, RequestError};
use crate::http::retry::{AttemptLimits, Attempts, GiveUpReason, NEW_RUN_NOT_FOUND_PERIOD, RetryFailure};
use crate::poll;
use crate::report::history::{ResolvedName, SavedFile, TextEncoding};
use crate::text::{format, sanitize};
use crate::webadmit::resolve::{self, ResolveError};
use crate::webadmit::status::Status;
use crate::webadmit::{self, ApiClient, Id, RunKind, RunResponse, SignedUrl};

/// Maximum length of a name in messages and in the summary, in characters.
const MAX_SHOWN_NAME_LENGTH: usize = 120;

/// The job of one step: everything that it needs.
pub(super) struct Job<'a> {
    context: Context<'a>,
    api: ApiClient,
    request: &'a ExportRequest,
    clients: &'a Clients,
    destination: &'a Destination,
    connections: ConnectionPool,
    /// The identity, once its id is known.
    identity: &'a RefCell<Option<ResolvedName>>,
}

/// A run of an export.
struct RunRef {
    export_id: Id,
    id: Id,
    /// When this step started the run. Until its first status is read, which clears this, the API may respond 404.
    started_at: Cell<Option<Duration>>,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        context: Context<'a>,
        request: &'a ExportRequest,
        clients: &'a Clients,
        destination: &'a Destination,
        identity: &'a RefCell<Option<ResolvedName>>,
    ) -> Self {
        let api = connect::api_client(&context, clients);
        let connections = ConnectionPool::new(MAX_CONNECTIONS);
        Self { context, api, request, clients, destination, connections, identity }
    }

    /// Does the whole job. The history has what happened, even if the job fails or is dropped.
    ///
    /// # Errors
    ///
    /// The error that ends the step.
    pub(super) async fn execute(&self) -> Result<(), StepError> {
        let run = self.select_run().await?;
        self.context.history.borrow_mut().id = Some(run.id);

        let response = poll::until_terminal(&self.context, async || self.check(&run).await).await?;
        let (status, url) = (&response.status, response.url().cloned());
        if let Some(url) = url {
            let saved = self.download(&run, url).await?;
            self.log_saved(&saved);
            self.context.history.borrow_mut().saved = Some(saved);
        }

        if self.request.fail_on.contains(status) {
            return Err(StepError::Status(response.status));
        }
        if !status.has_file() {
            self.context.line(&format!("no file was produced ({status}); allowed by fail-on"));
        }
        Ok(())
    }

    /// Resolves the names, and starts or selects a run. Nothing is requested for what is given by its id.
    async fn select_run(&self) -> Result<RunRef, StepError> {
        let identity = match &self.request.identity {
            Some(identity) if self.request.uses_identity() => Some(self.resolve_identity(identity).await?),
            _ => None,
        };
        let export = self.resolve_export(&self.request.export, identity).await?;

        let existing = |id| RunRef { export_id: export, id, started_at: Cell::new(None) };
        match (self.request.run, identity) {
            (RunSelector::Id(run), _) => Ok(existing(run)),
            (RunSelector::Latest, Some(identity)) => Ok(existing(self.find_latest_run(identity, export).await?)),
            (RunSelector::New, Some(identity)) => self.start_run(identity, export).await,
            // The inputs require an identity for both.
            (RunSelector::Latest | RunSelector::New, None) => Err(anyhow::anyhow!("no identity was given").into()),
        }
    }

    async fn resolve_identity(&self, selector: &IdentitySelector) -> Result<Id, StepError> {
        let resolved = match selector {
            IdentitySelector::Id(id) => ResolvedName::from_id(*id),
            IdentitySelector::Words(words) => {
                let all = self.request_list(async |timeout| self.api.identities(timeout).await).await?;
                let found = resolve::identity(&all, words).map_err(unresolved(LookupTarget::IdentityWords))?;
                self.context.line(&format!("identity: {}, {}", found.id, found.title()));
                let is_newest_cycle =
                    all.iter().any(|other| other.id != found.id && resolve::differ_only_in_cycle(other, found));
                ResolvedName { id: found.id, name: Some(shorten(&found.title())), is_newest_cycle }
            }
        };

        let id = resolved.id;
        *self.identity.borrow_mut() = Some(resolved);
        Ok(id)
    }

    async fn resolve_export(&self, selector: &ExportSelector, identity: Option<Id>) -> Result<Id, StepError> {
        let resolved = match selector {
            ExportSelector::Id(id) => ResolvedName::from_id(*id),
            ExportSelector::Name(name) => {
                let all = self.request_list(async |timeout| self.api.exports(identity, timeout).await).await?;
                let found = resolve::by_name(&all, name).map_err(unresolved(LookupTarget::ExportName))?;
                self.context.line(&format!("export: {}, {}", found.id, found.name));
                let name = Some(shorten(&found.name.to_string()));
                ResolvedName { id: found.id, name, is_newest_cycle: false }
            }
        };

        let id = resolved.id;
        self.context.history.borrow_mut().export = Some(resolved);
        Ok(id)
    }

    async fn find_latest_run(&self, identity: Id, export: Id) -> Result<Id, StepError> {
        let all =
            self.request_list(async |timeout| self.api.recent_runs(RunKind::Export, identity, timeout).await).await?;
        let run = resolve::latest(&all, export).map_err(unresolved(LookupTarget::LatestRun))?;
        self.context.line(&format!("latest run of export {export}: {}", run.id));
        Ok(run.id)
    }

    async fn request_list<T>(
        &self,
        send: impl AsyncFnMut(Duration) -> Result<T, RequestError>,
    ) -> Result<T, StepError> {
        self.context.request(RequestLimits::default(), send).await
    }

    async fn start_run(&self, identity: Id, export: Id) -> Result<RunRef, StepError> {
        let send = async |timeout| self.api.start_run(RunKind::Export, identity, export, timeout).await;
        let response = self.context.request(RequestLimits::default(), send).await?;
        self.context.line(&format!("started run {} of export {export}", response.run_id));
        Ok(RunRef {
            export_id: export,
            id: response.run_id,
            started_at: Cell::new(Some(self.context.deadline().elapsed())),
        })
    }

    /// Requests the status of the run. A status that has a file without a URL for it is an error.
    async fn check(&self, run: &RunRef) -> Result<RunResponse, StepError> {
        let not_found_until = run.started_at.get().map(|started_at| started_at + NEW_RUN_NOT_FOUND_PERIOD);
        let attempts = AttemptLimits { not_found_until, max_attempts: None };
        let send = async |timeout| {
            let response = self.request_status(run, timeout).await?;
            if response.status.has_file() && response.url().is_none() {
                return Err(self.missing_url(&response.status));
            }
            Ok(response)
        };
        self.context.request(RequestLimits { has_grace_period: true, attempts }, send).await
    }

    /// Requests a new signed URL for the file.
    async fn refresh_url(&self, run: &RunRef) -> Result<SignedUrl, StepError> {
        let started_at = self.context.deadline().elapsed();
        let send = async |timeout| {
            let response = self.request_status(run, timeout).await?;
            let has_ended_without_file = response.status.is_terminal() && !response.status.has_file();
            if response.url().is_none() && !has_ended_without_file {
                return Err(self.missing_url(&response.status));
            }
            Ok(response)
        };

        let response = self.context.request(RequestLimits::default(), send).await?;
        let (status, url) = (response.status.clone(), response.url().cloned());
        match url {
            Some(url) => Ok(url),
            None if self.request.fail_on.contains(&status) => Err(StepError::Status(status)),
            None => {
                let mut attempts = Attempts::new(started_at);
                attempts.record(false);
                let elapsed = self.context.deadline().elapsed() - started_at;
                let failure = RetryFailure { error: self.missing_url(&status), attempts, elapsed };
                Err(StepError::Request { failure: Box::new(failure), reason: GiveUpReason::NotRetryable })
            }
        }
    }

    async fn request_status(&self, run: &RunRef, timeout: Duration) -> Result<RunResponse, RequestError> {
        let reference = webadmit::RunRef::Export { export: run.export_id, run: run.id };
        let response = self.api.run_status(&reference, timeout).await?;
        run.started_at.set(None);
        self.record_status(run.export_id, &response);
        Ok(response)
    }

    fn missing_url(&self, status: &Status) -> RequestError {
        self.api.error(ErrorKind::MissingUrl, status.name())
    }

    async fn download(&self, run: &RunRef, url: SignedUrl) -> Result<SavedFile, StepError> {
        let fallback_name = format!("export-{}", run.id);
        let options = DownloadOptions {
            filename: self.request.filename.as_deref(),
            fallback_name: &fallback_name,
            encoding: self.request.encoding,
            parallel: ParallelConfig::default(),
        };
        let refresh = async || self.refresh_url(run).await;
        let connection = self.connections.acquire().await;
        let download =
            download(&self.context, &self.clients.store, connection, url, refresh, self.destination, options);
        match tokio::time::timeout(self.context.deadline().remaining_with_grace(), download).await {
            Ok(result) => result,
            Err(_) => Err(StepError::TimedOut),
        }
    }

    /// Records a status in the history, and logs what is new.
    fn record_status(&self, export: Id, response: &RunResponse) {
        let RunResponse { status, .. } = response;
        let mut history = self.context.history.borrow_mut();
        let is_first = history.checks == 0;
        // GitHub shows at most ten warnings of a step, so there is one for all unknown statuses.
        let is_unknown = |status: &Status| matches!(status, Status::Unknown(_));
        let has_warned = history
            .statuses
            .iter()
            .any(|seen| seen.status == *status || is_unknown(&seen.status) && is_unknown(status));

        if history.record_status(status, self.context.deadline().elapsed()) {
            self.context.line(&format!("status: {status}"));
            match status {
                Status::Unknown(name) if !has_warned => {
                    self.context.warning(&format!("unknown status `{name}`; polling continues"));
                }
                Status::SuccessWithErrors if !has_warned => {
                    self.context
                        .warning("WebAdMIT reported errors while it created the file; applicants may be missing");
                }
                _ => {}
            }
        }

        if let Some(other) =
            response.source.as_ref().map(|source| source.id).filter(|&other| is_first && other != export)
        {
            self.context
                .warning(&format!("the run belongs to export {other} according to WebAdMIT, not to export {export}"));
        }
    }

    fn log_saved(&self, saved: &SavedFile) {
        let history = self.context.history.borrow();
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

        let recovery = history.recovery_summary();
        if !recovery.is_empty() {
            self.context.line(&format!("recovered from: {recovery}"));
        }
    }
}

fn unresolved(target: LookupTarget) -> impl Fn(ResolveError) -> StepError {
    move |error| StepError::Unresolved { target, error }
}

fn shorten(name: &str) -> String {
    sanitize::truncate(name, MAX_SHOWN_NAME_LENGTH)
}

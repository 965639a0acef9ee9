//! The state that the runs of a step share.

use std::cell::{Cell, RefCell};

use tokio::sync::OnceCell;

use super::super::connect;
use crate::config::FetchRequest;
use crate::context::{Context, RequestLimits, Step};
use crate::download::{ConnectionPool, Destination, MAX_CONNECTIONS};
use crate::error::StepError;
use crate::http::Clients;
use crate::http::error::RequestError;
use crate::http::retry::GiveUpReason;
use crate::report::history::{History, ResolvedName, RunHistory};
use crate::webadmit::lists::ListedRun;
use crate::webadmit::{ApiClient, Id, RunKind};

/// Everything that the runs of a step share.
pub(super) struct Shared<'a> {
    pub(super) step: &'a Step<'a>,
    pub(super) api: ApiClient,
    pub(super) request: &'a FetchRequest,
    pub(super) clients: &'a Clients,
    pub(super) destination: &'a Destination,
    pub(super) connections: ConnectionPool,
    pub(super) histories: &'a Histories,
    /// Whether there was a warning about an unknown status.
    pub(super) has_warned_of_status: Cell<bool>,
    /// The recent runs of the identity, once they have been requested, or why the API refuses the list.
    recent_exports: OnceCell<Result<Vec<ListedRun>, RequestError>>,
    /// The same for batches.
    recent_batches: OnceCell<Result<Vec<ListedRun>, RequestError>>,
}

/// The histories of the runs, while the job is in progress.
#[derive(Debug)]
pub(super) struct Histories {
    /// The identity, once its id is known.
    pub(super) identity: RefCell<Option<ResolvedName>>,
    /// The requests that belong to none of several runs.
    pub(super) shared: RefCell<RunHistory>,
    /// The runs, in the order of the inputs.
    pub(super) runs: Vec<RefCell<RunHistory>>,
}

impl Histories {
    pub(super) fn new(History { identity, shared, runs, .. }: History) -> Self {
        let runs = runs.into_iter().map(RefCell::new).collect();
        Self { identity: RefCell::new(identity), shared: RefCell::new(shared), runs }
    }

    /// Returns the labels of the runs.
    pub(super) fn labels(&self) -> Vec<String> {
        self.runs.iter().map(|run| run.borrow().label.clone()).collect()
    }

    /// Adds the id to labels that several runs have, such as those of an export and a PDF template with the same name.
    pub(super) fn distinguish_labels(&self) {
        let labels = self.labels();
        for (run, label) in self.runs.iter().zip(&labels) {
            let mut run = run.borrow_mut();
            let is_shared = labels.iter().filter(|other| *other == label).count() > 1;
            if let Some(source) = run.source.as_ref().filter(|_| is_shared) {
                run.label = format!("{label} ({} {})", run.kind.source_noun(), source.id);
            }
        }
    }

    /// Returns the history of the step, once the job has ended.
    pub(super) fn finish(self, has_responded: bool) -> History {
        let runs = self.runs.into_iter().map(RefCell::into_inner).collect();
        History { identity: self.identity.into_inner(), has_responded, shared: self.shared.into_inner(), runs }
    }
}

impl<'a> Shared<'a> {
    pub(super) fn new(
        step: &'a Step<'a>,
        request: &'a FetchRequest,
        clients: &'a Clients,
        destination: &'a Destination,
        histories: &'a Histories,
    ) -> Self {
        Self {
            step,
            api: connect::api_client(step, clients),
            request,
            clients,
            destination,
            connections: ConnectionPool::new(MAX_CONNECTIONS),
            histories,
            has_warned_of_status: Cell::default(),
            recent_exports: OnceCell::new(),
            recent_batches: OnceCell::new(),
        }
    }

    /// Returns the recent runs of the identity. They are requested once.
    ///
    /// # Errors
    ///
    /// If the request fails. Unless the API refused it, the next run that needs the list requests it again.
    pub(super) async fn recent_runs(
        &self,
        kind: RunKind,
        identity: Id,
        context: &Context<'_>,
    ) -> Result<&[ListedRun], StepError> {
        let list = match kind {
            RunKind::Export => &self.recent_exports,
            RunKind::PdfBatch => &self.recent_batches,
        };
        let send = async |timeout| self.api.recent_runs(kind, identity, timeout).await;
        let request = async || match context.request(RequestLimits::default(), send).await {
            Ok(runs) => Ok(Ok(runs)),
            Err(StepError::Request { failure, reason: GiveUpReason::Refused }) => Ok(Err(failure.error)),
            Err(error) => Err(error),
        };
        match list.get_or_try_init(request).await? {
            Ok(runs) => Ok(runs),
            Err(error) => Err(StepError::after_one_attempt(error.clone(), GiveUpReason::Refused)),
        }
    }

    /// Records and logs that files of later runs in the inputs were replaced by files of earlier runs with the same path.
    pub(super) fn record_replaced_files(&self) {
        for replaced in self.destination.take_replaced() {
            let histories = &self.histories.runs;
            let Some((history, by)) = histories.get(replaced.run).zip(histories.get(replaced.by)) else { continue };
            let mut history = history.borrow_mut();
            let (path, label, by) = (&replaced.path, &history.label, &by.borrow().label);
            self.step
                .log()
                .line(&format!("{label}: {path} was replaced by the file of {by}, which comes earlier in the inputs"));
            history.saved.retain(|file| file.path != replaced.path);
            history.record_error(StepError::PathConflict { path: replaced.path, other: replaced.by });
        }
    }
}

//! The job: resolve names, then start or select the runs, poll them, and download their files.

use std::convert::Infallible;
use std::rc::Rc;

use futures_util::future::join_all;

use super::names::NameResolver;
use super::run::Run;
use super::shared::Shared;
use crate::error::StepError;
use crate::poll::Poller;
use crate::webadmit::{Id, RunKind};

/// Does the whole job. The error of a run is recorded in its history, and does not stop the other runs. The histories are complete
/// even if the job fails or is cancelled.
///
/// # Errors
///
/// If a name cannot be resolved. Nothing was started then.
pub(super) async fn execute(shared: &Shared<'_>) -> Result<(), StepError> {
    let identity = resolve_names(shared).await?;
    shared.histories.distinguish_labels();

    let (histories, labels) = (&shared.histories.runs, shared.histories.labels());
    let (exports, batches) = (poller(shared, RunKind::Export), poller(shared, RunKind::PdfBatch));
    let runs = shared.request.runs.iter().zip(histories).zip(&labels).enumerate();
    let runs = runs.map(|(index, ((request, history), label))| {
        let context = shared.step.context(history);
        let context = if labels.len() > 1 { context.with_label(label) } else { context };
        let poller = if request.kind == RunKind::Export { &exports } else { &batches };
        Run::new(shared, index, request, identity, context, poller).execute()
    });

    tokio::select! {
        _ = join_all(runs) => Ok(()),
        never = list_statuses(shared, &exports, identity) => match never {},
        never = list_statuses(shared, &batches, identity) => match never {},
    }
}

/// Resolves the names, and returns the identity if it is needed.
async fn resolve_names(shared: &Shared<'_>) -> Result<Option<Id>, StepError> {
    let histories = shared.histories;
    // With a single run, all requests belong to it.
    let history = if let [only] = histories.runs.as_slice() { only } else { &histories.shared };
    let (context, api, request) = (shared.step.context(history), &shared.api, shared.request);
    let resolver = NameResolver { context, api, request, identity: &histories.identity, histories: &histories.runs };
    resolver.resolve().await
}

fn poller(shared: &Shared<'_>, kind: RunKind) -> Poller {
    let has_several_runs = shared.request.runs.iter().filter(|run| run.kind == kind).count() > 1;
    Poller::new(kind, has_several_runs, Rc::clone(shared.api.remaining_calls()))
}

/// Lists the statuses of all runs of a kind, whenever the poller asks for it.
async fn list_statuses(shared: &Shared<'_>, poller: &Poller, identity: Option<Id>) -> Infallible {
    let context = shared.step.context(&shared.histories.shared);
    let list = async |timeout| match identity {
        Some(identity) => shared.api.recent_runs(poller.kind(), identity, timeout).await.map(Some),
        None => Ok(None),
    };
    poller.serve(&context, list).await
}

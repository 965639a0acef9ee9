//! The job itself: find out what is meant, start a run or take one that is there, wait until it has ended, bring its file
//! home.

use std::time::Duration;

use crate::config::{ExportRequest, ExportSelector, Id, IdentitySelector, RunSelector};
use crate::context::Context;
use crate::download::destination::Destination;
use crate::download::parallel::ParallelConfig;
use crate::download::{DownloadOptions, download};
use crate::error::{LookupTarget, StepError};
use crate::http::Clients;
use crate::http::error::{ErrorKind, RequestError};
use crate::http::retry::{Attempts, GiveUpReason, RetryFailure};
use crate::poll;
use crate::report::history::{ResolvedName, SavedFile, TextEncoding};
use crate::text::format;
use crate::text::sanitize;
use crate::webadmit::resolve;
use crate::webadmit::status::Status;
use crate::webadmit::{ApiClient, RunResponse, SignedUrl};

/// So many characters of a name stand in a message.
const MAX_TITLE_LENGTH: usize = 120;

/// Does the job.
///
/// # Errors
///
/// The [`StepError`] that ends the step. What was reached before it is in the journal.
pub(super) async fn run(
    context: &Context<'_>,
    request: &ExportRequest,
    clients: &Clients,
    destination: &Destination,
) -> Result<(), StepError> {
    let api = ApiClient::new(clients.api.clone(), context.api_config, context.deadline, context.log.redactor().clone());
    let made = select_run(context, &api, request).await?;
    context.history.borrow_mut().run = Some(made.run);
    let response = poll::until_terminal(context, async || check_run(context, &api, made).await).await?;
    if let Some(url) = response.url {
        let fresh = async || refresh_url(context, &api, made, request).await;
        let saved = download_export(context, request, clients, destination, url, fresh).await?;
        log_result(context, &saved);
        context.history.borrow_mut().saved = Some(saved);
    }
    let status = response.status;
    if request.fail_on.contains(&status) {
        return Err(StepError::Status(status));
    }
    if !status.has_file() {
        context.log.line(&format!("ended as {status}: there is no file, and fail-on lets that pass"));
    }
    Ok(())
}

/// A run, and the export that it is of.
#[derive(Clone, Copy)]
struct RunRef {
    export: Id,
    run: Id,
}

/// Finds out what the names mean, and which run is to be waited for. An id is taken as it is, so that nothing is asked
/// for what is known.
async fn select_run(context: &Context<'_>, api: &ApiClient, request: &ExportRequest) -> Result<RunRef, StepError> {
    let identity = match &request.identity {
        Some(asked) if request.uses_identity() => Some(identity(context, api, asked).await?),
        _ => None,
    };
    let export = export(context, api, &request.export, identity).await?;
    let run = match (request.run, identity) {
        (RunSelector::Id(run), _) => run,
        (RunSelector::Latest, Some(identity)) => latest(context, api, identity, export).await?,
        (RunSelector::New, Some(identity)) => start(context, api, identity, export).await?,
        (RunSelector::Latest | RunSelector::New, None) => return Err(anyhow::anyhow!("no identity was given").into()),
    };
    Ok(RunRef { export, run })
}

async fn identity(context: &Context<'_>, api: &ApiClient, selector: &IdentitySelector) -> Result<Id, StepError> {
    let known = match selector {
        IdentitySelector::Id(id) => ResolvedName { id: *id, title: None, is_newest: false },
        IdentitySelector::Words(words) => {
            let all = context.request(async |limit| api.identities(limit).await).await?;
            let resolve_error =
                |resolve_error| StepError::Unresolved { target: LookupTarget::IdentityWords, resolve_error };
            let chosen = resolve::identity(&all, words).map_err(resolve_error)?;
            context.log.line(&format!("identity: {}, {}", chosen.id, chosen.title()));
            let is_newest = all.iter().any(|one| one.id != chosen.id && resolve::differ_only_in_cycle(one, chosen));
            ResolvedName {
                id: chosen.id,
                title: Some(sanitize::truncate(&chosen.title(), MAX_TITLE_LENGTH)),
                is_newest,
            }
        }
    };
    let id = known.id;
    context.history.borrow_mut().identity = Some(known);
    Ok(id)
}

async fn export(
    context: &Context<'_>,
    api: &ApiClient,
    selector: &ExportSelector,
    identity: Option<Id>,
) -> Result<Id, StepError> {
    let known = match selector {
        ExportSelector::Id(id) => ResolvedName { id: *id, title: None, is_newest: false },
        ExportSelector::Name(name) => {
            let all = context.request(async |limit| api.exports(identity, limit).await).await?;
            let resolve_error =
                |resolve_error| StepError::Unresolved { target: LookupTarget::ExportName, resolve_error };
            let chosen = resolve::export(&all, name).map_err(resolve_error)?;
            context.log.line(&format!("export: {}, {}", chosen.id, chosen.name));
            ResolvedName {
                id: chosen.id,
                title: Some(sanitize::truncate(&chosen.name.to_string(), MAX_TITLE_LENGTH)),
                is_newest: false,
            }
        }
    };
    let id = known.id;
    context.history.borrow_mut().export = Some(known);
    Ok(id)
}

async fn latest(context: &Context<'_>, api: &ApiClient, identity: Id, export: Id) -> Result<Id, StepError> {
    let all = context.request(async |limit| api.runs(identity, limit).await).await?;
    let resolve_error = |resolve_error| StepError::Unresolved { target: LookupTarget::LatestRun, resolve_error };
    let file = resolve::latest(&all, export).map_err(resolve_error)?;
    context.log.line(&format!("latest: run {} of export {export}", file.id));
    Ok(file.id)
}

async fn start(context: &Context<'_>, api: &ApiClient, identity: Id, export: Id) -> Result<Id, StepError> {
    let started = context.request(async |limit| api.start_run(identity, export, limit).await).await?;
    context.history.borrow_mut().started = Some(context.deadline.elapsed());
    context.log.line(&format!("started: run {} of export {export}", started.run));
    Ok(started.run)
}

/// How far the run is. An answer that promises a file but has no URL for it is a fault.
async fn check_run(context: &Context<'_>, api: &ApiClient, made: RunRef) -> Result<RunResponse, StepError> {
    context
        .request_with_grace(async |limit| {
            let response = api.run_status(made.export, made.run, limit).await?;
            record_status(context, made.export, &response);
            if response.status.has_file() && response.url.is_none() {
                return Err(without_url(api, &response.status));
            }
            Ok(response)
        })
        .await
}

/// Another URL for the file: the last one has expired by now, or will have when it is needed.
async fn refresh_url(
    context: &Context<'_>,
    api: &ApiClient,
    made: RunRef,
    request: &ExportRequest,
) -> Result<SignedUrl, StepError> {
    let since = context.deadline.elapsed();
    let response = context
        .request(async |limit| {
            let response = api.run_status(made.export, made.run, limit).await?;
            record_status(context, made.export, &response);
            let is_over = response.status.is_terminal() && !response.status.has_file();
            if response.url.is_none() && !is_over { Err(without_url(api, &response.status)) } else { Ok(response) }
        })
        .await?;
    match response.url {
        Some(url) => Ok(url),
        None if request.fail_on.contains(&response.status) => Err(StepError::Status(response.status)),
        None => {
            let words = format!("the run turned to {} while its file was on its way", response.status);
            let attempts = Attempts { made: 1, without_progress: 1, ..Attempts::new(since) };
            let failure = RetryFailure {
                error: RequestError::api(ErrorKind::MissingUrl, words),
                attempts,
                took: context.deadline.elapsed() - since,
            };
            Err(StepError::Request { failure, reason: GiveUpReason::NotRetryable })
        }
    }
}

fn without_url(api: &ApiClient, status: &Status) -> RequestError {
    RequestError::api(ErrorKind::MissingUrl, format!("{} answered {status} without a URL", api.host()))
}

async fn download_export(
    context: &Context<'_>,
    request: &ExportRequest,
    clients: &Clients,
    destination: &Destination,
    url: SignedUrl,
    fresh: impl AsyncFnMut() -> Result<SignedUrl, StepError>,
) -> Result<SavedFile, StepError> {
    let run = context.history.borrow().run;
    let fallback_name = run.map_or_else(|| "export".to_owned(), |run| format!("export-{run}"));
    let options = DownloadOptions {
        filename: request.filename.as_deref(),
        fallback_name: &fallback_name,
        encoding: request.encoding,
        parallel: ParallelConfig::default(),
    };
    let download = download(context, &clients.store, url, fresh, destination, options);
    match tokio::time::timeout(context.deadline.remaining_with_grace(), download).await {
        Ok(end) => end,
        Err(_) => Err(StepError::TimedOut),
    }
}

/// Notes an answer in the journal, and tells what is new in it.
fn record_status(context: &Context<'_>, export: Id, response: &RunResponse) {
    let mut history = context.history.borrow_mut();
    let now = context.deadline.elapsed();
    history.answered = true;
    history.started = None;
    let is_first = history.asked.is_none();
    history.asked.get_or_insert(now);
    let is_unknown = |status: &Status| matches!(status, Status::Unknown(_));
    // GitHub shows ten warnings of a step: one for all unknown statuses is enough.
    let warned = history
        .statuses
        .iter()
        .any(|seen| seen.status == response.status || is_unknown(&seen.status) && is_unknown(&response.status));
    if history.record_status(&response.status, now) {
        context.log.line(&format!("status: {}", response.status));
        match &response.status {
            Status::Unknown(name) if !warned => {
                context.log.warning(&format!("`{name}` is no status that this version knows: waiting on"));
            }
            Status::SuccessWithErrors if !warned => {
                context.log.warning("WebAdMIT met errors while it made this file: it may lack applicants");
            }
            _ => {}
        }
    }
    if let Some(named) = response.export.filter(|&named| is_first && named != export) {
        context.log.warning(&format!("the API's answer names export {named}, asked for was export {export}"));
    }
}

fn log_result(context: &Context<'_>, saved: &SavedFile) {
    let history = context.history.borrow();
    let waited = match (history.asked, history.statuses.last()) {
        (Some(asked), Some(seen)) => format::duration(seen.first.saturating_sub(asked)),
        _ => format::duration(Duration::ZERO),
    };
    context.log.line(&format!(
        "saved {} ({}, sha256 {}), waited {waited}, downloaded in {}",
        saved.path,
        format::bytes(saved.size),
        saved.sha256,
        format::duration(saved.took)
    ));
    match &saved.text {
        TextEncoding::AsSent => {}
        TextEncoding::Converted(charset) => {
            context.log.line(&format!("its text: {}", format::conversion(charset, saved.has_changed())))
        }
        TextEncoding::NotConverted(why) => context.log.line(&format!("left as sent, not converted to UTF-8: {why}")),
    }
    let recovery_summary = history.recovery_summary();
    if !recovery_summary.is_empty() {
        context.log.line(&format!("survived on the way: {recovery_summary}"));
    }
}

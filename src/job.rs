//! The job itself: start a run or take the given one, wait until it has ended, bring its file home.

use crate::api::{Answer, Api, DownloadUrl};
use crate::download::destination::Destination;
use crate::download::download;
use crate::download::pieces::Spread;
use crate::failure::Failure;
use crate::fault::{Fault, Kind};
use crate::figures;
use crate::http::Clients;
use crate::inputs::{Id, Run};
use crate::journal::Saved;
use crate::retry::{Attempts, Reason};
use crate::status::Status;
use crate::step::Step;
use crate::wait;

/// Does the job.
///
/// # Errors
///
/// The [`Failure`] that ends the step. What was reached before it is in the journal.
pub async fn run(step: &Step<'_>, clients: &Clients, destination: &Destination) -> Result<(), Failure> {
    let inputs = step.inputs;
    let api = Api::new(clients.api.clone(), inputs.base_url.clone(), inputs.api_key.clone(), step.clock);
    let run = match inputs.run {
        Run::Existing(run) => run,
        Run::StartedBy(identity) => start(step, &api, identity).await?,
    };
    step.journal.borrow_mut().run = Some(run);
    let answer = wait::until_terminal(step, async || ended(step, &api, run).await).await?;
    if let Some(url) = answer.url {
        let saved = bring_home(step, clients, destination, url, async || fresh_url(step, &api, run).await).await?;
        close(step, &saved);
        step.journal.borrow_mut().saved = Some(saved);
    }
    match answer.status {
        status if inputs.fail_on.contains(&status) => Err(Failure::Status(status)),
        _ => Ok(()),
    }
}

async fn start(step: &Step<'_>, api: &Api, identity: Id) -> Result<Id, Failure> {
    let export = step.inputs.export;
    let started = step.ask(async |limit| api.start(identity, export, limit).await).await?;
    let mut journal = step.journal.borrow_mut();
    journal.answered = true;
    journal.started = Some(step.clock.now());
    step.log.line(&format!("started: run {} of export {export}", started.run));
    Ok(started.run)
}

/// How far the run is. An answer that promises a file but has no URL for it is a fault.
async fn ended(step: &Step<'_>, api: &Api, run: Id) -> Result<Answer, Failure> {
    step.ask(async |limit| {
        let answer = api.check(step.inputs.export, run, limit).await?;
        note(step, &answer);
        if answer.status.has_file() && answer.url.is_none() {
            return Err(without_url(api, &answer.status));
        }
        Ok(answer)
    })
    .await
}

/// Another URL for the file: the last one has expired by now, or will have when it is needed.
async fn fresh_url(step: &Step<'_>, api: &Api, run: Id) -> Result<DownloadUrl, Failure> {
    let since = step.clock.now();
    let answer = step
        .ask(async |limit| {
            let answer = api.check(step.inputs.export, run, limit).await?;
            note(step, &answer);
            let is_over = answer.status.is_terminal() && !answer.status.has_file();
            if answer.url.is_none() && !is_over { Err(without_url(api, &answer.status)) } else { Ok(answer) }
        })
        .await?;
    match answer.url {
        Some(url) => Ok(url),
        None if step.inputs.fail_on.contains(&answer.status) => Err(Failure::Status(answer.status)),
        None => {
            let words = format!("the run turned to {} while its file was on its way", answer.status);
            let attempts = Attempts { made: 1, fruitless: 1, since };
            Err(Failure::Fault {
                fault: Fault::api(Kind::NoUrl, words),
                reason: Reason::Final,
                attempts,
                took: step.clock.now() - since,
            })
        }
    }
}

fn without_url(api: &Api, status: &Status) -> Fault {
    Fault::api(Kind::NoUrl, format!("{} answered {status} without a URL", api.host()))
}

async fn bring_home(
    step: &Step<'_>,
    clients: &Clients,
    destination: &Destination,
    url: DownloadUrl,
    fresh: impl AsyncFnMut() -> Result<DownloadUrl, Failure>,
) -> Result<Saved, Failure> {
    let run = step.journal.borrow().run;
    let fallback_name = run.map_or_else(|| "export".to_owned(), |run| format!("export-{run}"));
    let download = download(step, &clients.store, url, fresh, destination, &fallback_name, Spread::default());
    match tokio::time::timeout(step.clock.allowance(), download).await {
        Ok(end) => end,
        Err(_) => Err(Failure::TimedOut { last_fault: None }),
    }
}

/// Notes an answer in the journal, and tells what is new in it.
fn note(step: &Step<'_>, answer: &Answer) {
    let mut journal = step.journal.borrow_mut();
    let now = step.clock.now();
    journal.answered = true;
    journal.started = None;
    let is_first = journal.asked.is_none();
    journal.asked.get_or_insert(now);
    let seen_before = journal.course.iter().any(|seen| seen.status == answer.status);
    if journal.see(&answer.status, now) {
        step.log.line(&format!("status: {}", answer.status));
        match &answer.status {
            Status::Unknown(name) if !seen_before => {
                step.log.warning(&format!("`{name}` is no status that this version knows: waiting on"));
            }
            Status::SuccessWithErrors if !seen_before => {
                step.log.warning("WebAdMIT met errors while it made this file: it may lack applicants");
            }
            _ => {}
        }
    }
    let export = step.inputs.export;
    if let Some(named) = answer.export.filter(|&named| is_first && named != export) {
        step.log.warning(&format!("the API's answer names export {named}, asked for was export {export}"));
    }
}

fn close(step: &Step<'_>, saved: &Saved) {
    let journal = step.journal.borrow();
    let waited = match (journal.asked, journal.course.last()) {
        (Some(asked), Some(seen)) => figures::span(seen.first.saturating_sub(asked)),
        _ => figures::span(std::time::Duration::ZERO),
    };
    step.log.line(&format!(
        "saved {} ({}, sha256 {}), waited {waited}, downloaded in {}",
        saved.path,
        figures::bytes(saved.size),
        saved.sha256,
        figures::span(saved.took)
    ));
    let ledger = journal.ledger();
    if !ledger.is_empty() {
        step.log.line(&format!("survived on the way: {ledger}"));
    }
}

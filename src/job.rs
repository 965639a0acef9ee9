//! The job itself: find out what is meant, start a run or take one that is there, wait until it has ended, bring its file
//! home.

use std::time::Duration;

use crate::api::{Answer, Api, SignedUrl};
use crate::choose;
use crate::clean;
use crate::download::destination::Destination;
use crate::download::parallel::ParallelConfig;
use crate::download::{DownloadOptions, download};
use crate::failure::{Failure, Sought};
use crate::fault::{Fault, Kind};
use crate::figures;
use crate::http::Clients;
use crate::inputs::{Export, Id, Identity, Run, Wanted};
use crate::journal::{Known, Saved, Text, Trouble};
use crate::retry::{Attempts, Reason};
use crate::status::Status;
use crate::step::Step;
use crate::wait;

/// So many characters of a name stand in a message.
const LONGEST_TITLE: usize = 120;

/// Does the job.
///
/// # Errors
///
/// The [`Failure`] that ends the step. What was reached before it is in the journal.
pub async fn run(
    step: &Step<'_>,
    wanted: &Wanted,
    clients: &Clients,
    destination: &Destination,
) -> Result<(), Failure> {
    let api = Api::new(clients.api.clone(), step.service, step.clock, step.log.secrets().clone());
    let made = find(step, &api, wanted).await?;
    step.journal.borrow_mut().run = Some(made.run);
    let answer = wait::until_terminal(step, async || ended(step, &api, made).await).await?;
    if let Some(url) = answer.url {
        let fresh = async || fresh_url(step, &api, made, wanted).await;
        let saved = bring_home(step, wanted, clients, destination, url, fresh).await?;
        close(step, &saved);
        step.journal.borrow_mut().saved = Some(saved);
    }
    let status = answer.status;
    if wanted.fail_on.contains(&status) {
        return Err(Failure::Status(status));
    }
    if !status.has_file() {
        step.log.line(&format!("ended as {status}: there is no file, and fail-on lets that pass"));
    }
    Ok(())
}

/// A run, and the export that it is of.
#[derive(Clone, Copy)]
struct Made {
    export: Id,
    run: Id,
}

/// Finds out what the names mean, and which run is to be waited for. An id is taken as it is, so that nothing is asked
/// for what is known.
async fn find(step: &Step<'_>, api: &Api, wanted: &Wanted) -> Result<Made, Failure> {
    let identity = match &wanted.identity {
        Some(asked) if wanted.uses_identity() => Some(identity(step, api, asked).await?),
        _ => None,
    };
    let export = export(step, api, &wanted.export, identity).await?;
    let run = match (wanted.run, identity) {
        (Run::Existing(run), _) => run,
        (Run::Latest, Some(identity)) => latest(step, api, identity, export).await?,
        (Run::New, Some(identity)) => start(step, api, identity, export).await?,
        (Run::Latest | Run::New, None) => return Err(anyhow::anyhow!("no identity was given").into()),
    };
    Ok(Made { export, run })
}

async fn identity(step: &Step<'_>, api: &Api, asked: &Identity) -> Result<Id, Failure> {
    let known = match asked {
        Identity::Id(id) => Known { id: *id, title: None, is_newest: false },
        Identity::Described(words) => {
            let all = step.ask(async |limit| api.identities(limit).await).await?;
            let unclear = |unclear| Failure::Unclear { sought: Sought::Identity, unclear };
            let chosen = choose::identity(&all, words).map_err(unclear)?;
            step.log.line(&format!("identity: {}, {}", chosen.id, chosen.title()));
            let is_newest = all.iter().any(|one| one.id != chosen.id && choose::differ_only_in_cycle(one, chosen));
            Known { id: chosen.id, title: Some(clean::cut(&chosen.title(), LONGEST_TITLE)), is_newest }
        }
    };
    let id = known.id;
    step.journal.borrow_mut().identity = Some(known);
    Ok(id)
}

async fn export(step: &Step<'_>, api: &Api, asked: &Export, identity: Option<Id>) -> Result<Id, Failure> {
    let known = match asked {
        Export::Id(id) => Known { id: *id, title: None, is_newest: false },
        Export::Named(name) => {
            let all = step.ask(async |limit| api.exports(identity, limit).await).await?;
            let unclear = |unclear| Failure::Unclear { sought: Sought::Export, unclear };
            let chosen = choose::export(&all, name).map_err(unclear)?;
            step.log.line(&format!("export: {}, {}", chosen.id, chosen.name));
            Known { id: chosen.id, title: Some(clean::cut(&chosen.name.to_string(), LONGEST_TITLE)), is_newest: false }
        }
    };
    let id = known.id;
    step.journal.borrow_mut().export = Some(known);
    Ok(id)
}

async fn latest(step: &Step<'_>, api: &Api, identity: Id, export: Id) -> Result<Id, Failure> {
    let all = step.ask(async |limit| api.export_files(identity, limit).await).await?;
    let unclear = |unclear| Failure::Unclear { sought: Sought::Latest, unclear };
    let file = choose::latest(&all, export).map_err(unclear)?;
    step.log.line(&format!("latest: run {} of export {export}", file.id));
    Ok(file.id)
}

async fn start(step: &Step<'_>, api: &Api, identity: Id, export: Id) -> Result<Id, Failure> {
    let started = step.ask(async |limit| api.start(identity, export, limit).await).await?;
    step.journal.borrow_mut().started = Some(step.clock.now());
    step.log.line(&format!("started: run {} of export {export}", started.run));
    Ok(started.run)
}

/// How far the run is. An answer that promises a file but has no URL for it is a fault.
async fn ended(step: &Step<'_>, api: &Api, made: Made) -> Result<Answer, Failure> {
    step.ask_at_last(async |limit| {
        let answer = api.check(made.export, made.run, limit).await?;
        note(step, made.export, &answer);
        if answer.status.has_file() && answer.url.is_none() {
            return Err(without_url(api, &answer.status));
        }
        Ok(answer)
    })
    .await
}

/// Another URL for the file: the last one has expired by now, or will have when it is needed.
async fn fresh_url(step: &Step<'_>, api: &Api, made: Made, wanted: &Wanted) -> Result<SignedUrl, Failure> {
    let since = step.clock.now();
    let answer = step
        .ask(async |limit| {
            let answer = api.check(made.export, made.run, limit).await?;
            note(step, made.export, &answer);
            let is_over = answer.status.is_terminal() && !answer.status.has_file();
            if answer.url.is_none() && !is_over { Err(without_url(api, &answer.status)) } else { Ok(answer) }
        })
        .await?;
    match answer.url {
        Some(url) => Ok(url),
        None if wanted.fail_on.contains(&answer.status) => Err(Failure::Status(answer.status)),
        None => {
            let words = format!("the run turned to {} while its file was on its way", answer.status);
            let attempts = Attempts { made: 1, fruitless: 1, ..Attempts::none(since) };
            let trouble = Trouble { fault: Fault::api(Kind::NoUrl, words), attempts, took: step.clock.now() - since };
            Err(Failure::Fault { trouble, reason: Reason::Final })
        }
    }
}

fn without_url(api: &Api, status: &Status) -> Fault {
    Fault::api(Kind::NoUrl, format!("{} answered {status} without a URL", api.host()))
}

async fn bring_home(
    step: &Step<'_>,
    wanted: &Wanted,
    clients: &Clients,
    destination: &Destination,
    url: SignedUrl,
    fresh: impl AsyncFnMut() -> Result<SignedUrl, Failure>,
) -> Result<Saved, Failure> {
    let run = step.journal.borrow().run;
    let fallback_name = run.map_or_else(|| "export".to_owned(), |run| format!("export-{run}"));
    let options = DownloadOptions {
        filename: wanted.filename.as_deref(),
        fallback_name: &fallback_name,
        encoding: wanted.encoding,
        parallel: ParallelConfig::default(),
    };
    let download = download(step, &clients.store, url, fresh, destination, options);
    match tokio::time::timeout(step.clock.allowance(), download).await {
        Ok(end) => end,
        Err(_) => Err(Failure::TimedOut),
    }
}

/// Notes an answer in the journal, and tells what is new in it.
fn note(step: &Step<'_>, export: Id, answer: &Answer) {
    let mut journal = step.journal.borrow_mut();
    let now = step.clock.now();
    journal.answered = true;
    journal.started = None;
    let is_first = journal.asked.is_none();
    journal.asked.get_or_insert(now);
    let is_unknown = |status: &Status| matches!(status, Status::Unknown(_));
    // GitHub shows ten warnings of a step: one for all unknown statuses is enough.
    let warned = journal
        .course
        .iter()
        .any(|seen| seen.status == answer.status || is_unknown(&seen.status) && is_unknown(&answer.status));
    if journal.see(&answer.status, now) {
        step.log.line(&format!("status: {}", answer.status));
        match &answer.status {
            Status::Unknown(name) if !warned => {
                step.log.warning(&format!("`{name}` is no status that this version knows: waiting on"));
            }
            Status::SuccessWithErrors if !warned => {
                step.log.warning("WebAdMIT met errors while it made this file: it may lack applicants");
            }
            _ => {}
        }
    }
    if let Some(named) = answer.export.filter(|&named| is_first && named != export) {
        step.log.warning(&format!("the API's answer names export {named}, asked for was export {export}"));
    }
}

fn close(step: &Step<'_>, saved: &Saved) {
    let journal = step.journal.borrow();
    let waited = match (journal.asked, journal.course.last()) {
        (Some(asked), Some(seen)) => figures::span(seen.first.saturating_sub(asked)),
        _ => figures::span(Duration::ZERO),
    };
    step.log.line(&format!(
        "saved {} ({}, sha256 {}), waited {waited}, downloaded in {}",
        saved.path,
        figures::bytes(saved.size),
        saved.sha256,
        figures::span(saved.took)
    ));
    match &saved.text {
        Text::AsSent => {}
        Text::From(charset) => {
            step.log.line(&format!("its text: {}", figures::from_charset(charset, saved.has_changed())))
        }
        Text::LeftAsSent(why) => step.log.line(&format!("left as sent, not converted to UTF-8: {why}")),
    }
    let ledger = journal.ledger();
    if !ledger.is_empty() {
        step.log.line(&format!("survived on the way: {ledger}"));
    }
}

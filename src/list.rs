//! `webadmit-export list`: the identities and exports that a key can see, for setting a workflow up.
//!
//! The list goes to stdout and everything else to stderr, so that it can be piped.

use std::cell::RefCell;
use std::io;

use anyhow::Context;
use serde::Serialize;

use crate::api::Api;
use crate::api::lists::{Export, Identity, Label};
use crate::choose;
use crate::clean;
use crate::clock::Clock;
use crate::failure::{self, Asked, Failure};
use crate::http::Clients;
use crate::inputs::{self, Reading, Service};
use crate::journal::Journal;
use crate::log::{self, Log};
use crate::process::{self, Process};
use crate::retry::Reason;
use crate::step::Step;
use crate::trust;

/// The inputs that say how WebAdMIT is asked. The others mean nothing here, and may be anything.
pub const INPUTS: [&str; 6] = ["api-key", "base-url", "timeout", "poll-interval", "allow-http", "ca-file"];

/// How often the exports of one identity are asked for, unless the API asks for a wait: they must not hold up the others
/// until the timeout.
const ATTEMPTS: u32 = 4;

/// How the list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// An identity and its exports.
#[derive(Debug, Serialize)]
struct Entry {
    #[serde(flatten)]
    identity: Identity,
    /// Nothing where the key may not see them, or they could not be had.
    exports: Option<Vec<Export>>,
}

/// Prints the list, and returns the exit code.
#[must_use]
pub fn list(process: &Process, form: Form) -> u8 {
    let clock = Clock::start();
    let log = Log::to(io::stderr(), io::stderr(), process.reader(), clock);
    let reading = inputs::read(&process.variables);
    if let Some(key) = &reading.api_key {
        log.mask(key.reveal());
    }
    let journal = RefCell::new(Journal::default());
    let end = prepare(process, &reading, &log).and_then(|(service, clients)| {
        let step = Step { service, clock: clock.bounded(service.timeout), log: &log, journal: &journal };
        process::until_signalled(async {
            let (entries, incomplete) = gather(&step, &clients).await?;
            let text = if form == Form::Table { table(&entries) } else { json(&entries) };
            // Whoever reads it may be slow: a signal is heeded meanwhile.
            let printed = tokio::task::spawn_blocking(move || log::page(&text)).await;
            printed.context("the list cannot be printed")?.context("the list cannot be written to stdout")?;
            incomplete.map_or(Ok(()), Err)
        })
    });
    let asked = reading.service.as_ref().map(|service| Asked { service, wanted: None });
    end.map_or_else(
        |failure| {
            log.failure(&failure.text(asked, &journal.borrow()));
            failure.code()
        },
        |()| 0,
    )
}

fn prepare<'a>(process: &Process, reading: &'a Reading, log: &Log) -> Result<(&'a Service, Clients), Failure> {
    let mut trust = trust::of_system(&process.variables);
    let mut problems: Vec<_> =
        reading.problems.iter().filter(|problem| INPUTS.contains(&problem.input)).cloned().collect();
    if let Some(path) = &reading.paths.ca_file
        && let Some(problem) = trust.add_input(process.workspace()?.root(), path)
    {
        problems.push(problem);
    }
    match &reading.service {
        Some(service) if problems.is_empty() => Ok((service, process::clients(service, trust, log)?)),
        _ => Err(Failure::Inputs(problems)),
    }
}

/// Asks for the identities, the newest cycle first, and for the exports of each. One whose exports cannot be had does not
/// hide the others; what is missing then comes as a failure beside them. It is none where the key may not see them.
async fn gather(step: &Step<'_>, clients: &Clients) -> Result<(Vec<Entry>, Option<Failure>), Failure> {
    let api = Api::new(clients.api.clone(), step.service, step.clock, step.log.secrets().clone());
    let mut identities = step.ask(async |limit| api.identities(limit).await).await?;
    choose::newest_first(&mut identities);
    if identities.is_empty() {
        step.log.line(
            "this key has no identities: in WebAdMIT, its user needs the permission API Access for each of their identities",
        );
    }

    let (mut entries, mut missing, mut cause) = (Vec::new(), Vec::new(), None);
    let mut has_ended = false;
    for identity in identities {
        let id = identity.id;
        let exports = match has_ended {
            true => Err(Failure::TimedOut),
            false => step.ask_at_most(ATTEMPTS, async |limit| api.exports(Some(id), limit).await).await,
        };
        if let Err(Failure::Fault { trouble, .. }) = &exports {
            let (words, tried) = (&trouble.fault.words, failure::tried(trouble));
            step.log.line(&format!("the exports of identity {id} cannot be listed: {words}{tried}"));
        }
        let exports = match exports {
            Ok(exports) => Some(exports),
            Err(Failure::Fault { reason: Reason::Refused, .. }) => None,
            Err(failure) => {
                // A wait that is too long is one for the next identity, too.
                has_ended |=
                    matches!(failure, Failure::TimedOut | Failure::Fault { reason: Reason::RetryAfter(_), .. });
                missing.push(id);
                cause.get_or_insert(failure);
                None
            }
        };
        entries.push(Entry { identity, exports });
    }
    Ok((entries, cause.map(|cause| Failure::Incomplete { missing, cause: Box::new(cause) })))
}

fn json(entries: &[Entry]) -> String {
    #[derive(Serialize)]
    struct List<'a> {
        user_identities: &'a [Entry],
    }
    // Nothing but numbers and words is in it, so it can always be written.
    clean::json(&serde_json::to_string_pretty(&List { user_identities: entries }).unwrap_or_default())
}

/// Two tables: each row begins with an id, so that no name does.
fn table(entries: &[Entry]) -> String {
    let identities = entries.iter().map(|Entry { identity, .. }| {
        let Identity { id, kind, association, organization, institution, cycle } = identity;
        let [association, cycle, organization, institution, kind] =
            [association, cycle, organization, institution, kind].map(Label::to_string);
        [id.to_string(), association, cycle, organization, institution, kind]
    });
    let head = ["IDENTITY", "ASSOCIATION", "CYCLE", "ORGANIZATION", "INSTITUTION", "TYPE"].map(str::to_owned);
    let identities = columns([head].into_iter().chain(identities).collect());
    let exports = entries.iter().flat_map(|Entry { identity, exports }| {
        exports.iter().flatten().map(|export| {
            let Export { id, name, list_type, format, .. } = export;
            let [name, format, list_type] = [name, format, list_type].map(Label::to_string);
            [id.to_string(), identity.id.to_string(), name, format, list_type]
        })
    });
    let head = ["EXPORT", "IDENTITY", "NAME", "FORMAT", "APPLICANTS"].map(str::to_owned);
    let exports = columns([head].into_iter().chain(exports).collect());
    format!("{identities}\n{exports}")
}

/// Rows of equally wide columns, two spaces apart.
fn columns<const COLUMNS: usize>(rows: Vec<[String; COLUMNS]>) -> String {
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

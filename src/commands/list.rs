//! `webadmit-export list`: the identities and exports that a key can see, for setting a workflow up.
//!
//! The list goes to stdout and everything else to stderr, so that it can be piped.

use std::cell::RefCell;
use std::io;

use anyhow::Context as _;
use serde::Serialize;

use crate::config::{self, ApiConfig, ParsedInputs};
use crate::context::Context;
use crate::deadline::Deadline;
use crate::environment::{self, Environment};
use crate::error::StepError;
use crate::http::Clients;
use crate::http::retry::GiveUpReason;
use crate::http::tls;
use crate::report::history::History;
use crate::report::log::{self, Log};
use crate::report::message::{self, MessageContext};
use crate::text::sanitize;
use crate::webadmit::ApiClient;
use crate::webadmit::lists::{Export, Identity, Label};
use crate::webadmit::resolve;

/// The inputs that say how WebAdMIT is asked. The others mean nothing here, and may be anything.
pub const LIST_INPUTS: [&str; 6] = ["api-key", "base-url", "timeout", "poll-interval", "allow-http", "ca-file"];

/// How often the exports of one identity are asked for, unless the API asks for a wait: they must not hold up the others
/// until the timeout.
const ATTEMPTS: u32 = 4;

/// How the list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
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
pub fn run(environment: &Environment, form: ListFormat) -> u8 {
    let deadline = Deadline::start();
    let log = Log::to(io::stderr(), io::stderr(), environment.ci_system(), deadline);
    let parsed = config::parse(&environment.variables);
    if let Some(key) = &parsed.api_key {
        log.mask(key.reveal());
    }
    let history = RefCell::new(History::default());
    let end = prepare(environment, &parsed, &log).and_then(|(api_config, clients)| {
        let context =
            Context { api_config, deadline: deadline.bounded(api_config.timeout), log: &log, history: &history };
        environment::run_until_signal(async {
            let (entries, incomplete) = gather(&context, &clients).await?;
            let text = if form == ListFormat::Table { table(&entries) } else { json(&entries) };
            // Whoever reads it may be slow: a signal is heeded meanwhile.
            let printed = tokio::task::spawn_blocking(move || log::print_page(&text)).await;
            printed.context("the list cannot be printed")?.context("the list cannot be written to stdout")?;
            incomplete.map_or(Ok(()), Err)
        })
    });
    let asked = parsed.api_config.as_ref().map(|api_config| MessageContext { api_config, request: None });
    end.map_or_else(
        |error| {
            log.error(&message::render(&error, asked, &history.borrow()));
            error.code()
        },
        |()| 0,
    )
}

fn prepare<'a>(
    environment: &Environment,
    parsed: &'a ParsedInputs,
    log: &Log,
) -> Result<(&'a ApiConfig, Clients), StepError> {
    let mut trust_store = tls::from_system(&environment.variables);
    let mut errors: Vec<_> = parsed.errors.iter().filter(|error| LIST_INPUTS.contains(&error.input)).cloned().collect();
    if let Some(path) = &parsed.paths.ca_file
        && let Some(error) = trust_store.add_input(environment.workspace()?.root(), path)
    {
        errors.push(error);
    }
    match &parsed.api_config {
        Some(api_config) if errors.is_empty() => Ok((api_config, environment::clients(api_config, trust_store, log)?)),
        _ => Err(StepError::Inputs(errors)),
    }
}

/// Asks for the identities, the newest cycle first, and for the exports of each. One whose exports cannot be had does not
/// hide the others; what is missing then comes as a failure beside them. It is none where the key may not see them.
async fn gather(context: &Context<'_>, clients: &Clients) -> Result<(Vec<Entry>, Option<StepError>), StepError> {
    let api = ApiClient::new(clients.api.clone(), context.api_config, context.deadline, context.log.redactor().clone());
    let mut identities = context.request(async |limit| api.identities(limit).await).await?;
    resolve::newest_first(&mut identities);
    if identities.is_empty() {
        context.log.line(
            "this key has no identities: in WebAdMIT, its user needs the permission API Access for each of their identities",
        );
    }

    let (mut entries, mut missing, mut cause) = (Vec::new(), Vec::new(), None);
    let mut has_ended = false;
    for identity in identities {
        let id = identity.id;
        let exports = match has_ended {
            true => Err(StepError::TimedOut),
            false => {
                context.request_with_max_attempts(ATTEMPTS, async |limit| api.exports(Some(id), limit).await).await
            }
        };
        if let Err(StepError::Request { failure, .. }) = &exports {
            let (words, tried) = (&failure.error.message, message::tried(failure));
            context.log.line(&format!("the exports of identity {id} cannot be listed: {words}{tried}"));
        }
        let exports = match exports {
            Ok(exports) => Some(exports),
            Err(StepError::Request { reason: GiveUpReason::Refused, .. }) => None,
            Err(error) => {
                // A wait that is too long is one for the next identity, too.
                has_ended |= matches!(
                    error,
                    StepError::TimedOut | StepError::Request { reason: GiveUpReason::RetryAfterTooLong(_), .. }
                );
                missing.push(id);
                cause.get_or_insert(error);
                None
            }
        };
        entries.push(Entry { identity, exports });
    }
    Ok((entries, cause.map(|cause| StepError::Incomplete { missing, cause: Box::new(cause) })))
}

fn json(entries: &[Entry]) -> String {
    #[derive(Serialize)]
    struct List<'a> {
        user_identities: &'a [Entry],
    }
    // Nothing but numbers and words is in it, so it can always be written.
    sanitize::escape_json(&serde_json::to_string_pretty(&List { user_identities: entries }).unwrap_or_default())
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

//! `webadmit-export list`: prints the identities and exports that a key can see.
//!
//! The list goes to stdout and everything else to stderr, so that the list can be piped.

use std::cell::RefCell;
use std::io;

use anyhow::Context as _;
use serde::Serialize;
use tokio::time::Instant;

use super::connect;
use crate::config::{ApiConfig, ParsedInputs};
use crate::context::{Context, RequestLimits, Step};
use crate::environment::Environment;
use crate::error::StepError;
use crate::http::Clients;
use crate::http::retry::{AttemptLimits, GiveUpReason};
use crate::report::history::History;
use crate::report::log::{self, Log};
use crate::report::message::{self, MessageContext};
use crate::text::sanitize;
use crate::webadmit::lists::{Export, Identity, Label};
use crate::webadmit::{ApiClient, Id, resolve};

/// The inputs that this command uses. It ignores all others, valid or not.
const LIST_INPUTS: [&str; 6] = ["api-key", "base-url", "timeout", "poll-interval", "allow-http", "ca-file"];

/// Maximum number of attempts to list the exports of one identity, so that one that keeps failing leaves time for the others.
const MAX_ATTEMPTS: u32 = 4;

/// The output format of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListFormat {
    Table,
    Json,
}

/// An identity and its exports.
#[derive(Debug, Serialize)]
struct ListedIdentity {
    #[serde(flatten)]
    identity: Identity,
    /// Value of the input `identity` that selects it. `None` if only its id does.
    #[serde(rename = "identity")]
    input_value: Option<String>,
    /// `None` if the request for them failed.
    exports: Option<Vec<Export>>,
}

/// Prints the list and returns the exit code.
pub(crate) fn run(environment: &Environment, format: ListFormat) -> u8 {
    let start = Instant::now();
    let log = Log::to(io::stderr(), io::stderr(), environment.ci_system(), start);
    let inputs = super::parse_inputs(environment, &log);

    let (result, history) = match prepare(environment, &inputs, &log) {
        Ok((api_config, clients)) => {
            let run_history = RefCell::default();
            let step = Step::new(api_config, start, &log);
            let result = super::block_on(print_list(&step.context(&run_history), &clients, format));
            let has_responded = step.has_responded();
            (result, History { identity: None, has_responded, run: run_history.into_inner() })
        }
        Err(error) => (Err(error), History::default()),
    };

    let Err(error) = result else { return 0 };
    let context = inputs.api_config.as_ref().map(|api_config| MessageContext { api_config, request: None });
    log.error(&message::render(&error, context, &history));
    error.exit_code().into()
}

/// Returns the configuration and the clients, if all inputs that this command uses are valid.
fn prepare<'a>(
    environment: &Environment,
    inputs: &'a ParsedInputs,
    log: &Log,
) -> Result<(&'a ApiConfig, Clients), StepError> {
    let mut trust_store = connect::system_trust_store(environment);
    let mut errors: Vec<_> = inputs.errors.iter().filter(|error| LIST_INPUTS.contains(&error.input)).cloned().collect();
    if inputs.paths.ca_file.is_some() {
        let workspace = super::find_workspace(environment)?;
        errors.extend(connect::add_ca_file(&mut trust_store, &workspace, inputs));
    }

    match &inputs.api_config {
        Some(api_config) if errors.is_empty() => Ok((api_config, connect::clients(api_config, trust_store, log)?)),
        _ => Err(StepError::Inputs(errors)),
    }
}

async fn print_list(context: &Context<'_>, clients: &Clients, format: ListFormat) -> Result<(), StepError> {
    let api = connect::api_client(context, clients);
    let request = async |timeout| api.identities(timeout).await;
    let mut identities = context.request(RequestLimits::default(), request).await?;
    resolve::sort_newest_first(&mut identities);
    if identities.is_empty() {
        context.line(
            "this key has no identities; in WebAdMIT, its user needs the permission API Access for each identity",
        );
    }
    let (entries, incomplete) = fetch_exports(context, &api, identities).await;

    // On another thread: a signal must end the program even if nobody reads its output.
    let text = if format == ListFormat::Table { table(&entries) } else { json(&entries) };
    let printed = tokio::task::spawn_blocking(move || log::print_page(&text)).await;
    printed.context("cannot print the list")?.context("cannot write to stdout")?;
    incomplete.map_or(Ok(()), Err)
}

/// Requests the exports of each identity. If that fails for some of them, also returns [`StepError::IncompleteList`], except where
/// the API refuses to show them.
async fn fetch_exports(
    context: &Context<'_>,
    api: &ApiClient,
    identities: Vec<Identity>,
) -> (Vec<ListedIdentity>, Option<StepError>) {
    let input_values = resolve::input_values(&identities);
    let (mut entries, mut missing, mut first_error) = (Vec::new(), Vec::new(), None);
    let mut has_ended = false;
    let attempts = AttemptLimits { max_attempts: Some(MAX_ATTEMPTS), not_found_until: None };
    let limits = RequestLimits { has_grace_period: false, attempts };

    for (identity, input_value) in identities.into_iter().zip(input_values) {
        let id = identity.id;
        let result = if has_ended {
            Err(StepError::TimedOut)
        } else {
            let request = async |timeout| api.exports(Some(id), timeout).await;
            context.request(limits, request).await
        };

        let exports = result.map_err(|error| {
            log_failure(context, id, &error);
            has_ended |= ends_list(&error);
            if !is_refusal(&error) {
                missing.push(id);
                first_error.get_or_insert(error);
            }
        });
        entries.push(ListedIdentity { identity, input_value, exports: exports.ok() });
    }
    (entries, first_error.map(|cause| StepError::IncompleteList { missing, cause: Box::new(cause) }))
}

fn log_failure(context: &Context<'_>, identity: Id, error: &StepError) {
    if let StepError::Request { failure, .. } = error {
        let (error, attempts) = (&failure.error, message::describe_attempts(failure));
        context.line(&format!("cannot list the exports of identity {identity}: {error}{attempts}"));
    }
}

fn is_refusal(error: &StepError) -> bool {
    matches!(error, StepError::Request { reason: GiveUpReason::Refused, .. })
}

/// Returns whether requests for other identities would fail as well: the time is up, or will be before the API can be used.
fn ends_list(error: &StepError) -> bool {
    matches!(error, StepError::TimedOut | StepError::Request { reason: GiveUpReason::RetryAfterTooLong(_), .. })
}

fn json(entries: &[ListedIdentity]) -> String {
    #[derive(Serialize)]
    struct List<'a> {
        user_identities: &'a [ListedIdentity],
    }
    // Cannot fail: there are only numbers and strings.
    sanitize::escape_json(&serde_json::to_string_pretty(&List { user_identities: entries }).unwrap_or_default())
}

/// Returns a table of the identities and one of their exports. Each row begins with an id, so that no name begins a line.
fn table(entries: &[ListedIdentity]) -> String {
    let identities = entries.iter().map(|entry| {
        let Identity { id, kind, association, organization, institution, cycle } = &entry.identity;
        let [association, cycle, organization, institution, kind] =
            [association, cycle, organization, institution, kind].map(Label::to_string);
        [id.to_string(), association, cycle, organization, institution, kind, yaml_input(entry)]
    });
    let header =
        ["IDENTITY", "ASSOCIATION", "CYCLE", "ORGANIZATION", "INSTITUTION", "TYPE", "INPUT"].map(str::to_owned);
    let identities = align_columns([header].into_iter().chain(identities).collect());

    let exports = entries.iter().flat_map(|ListedIdentity { identity, exports, .. }| {
        exports.iter().flatten().map(|export| {
            let Export { id, name, list_type, format, .. } = export;
            let [name, format, list_type] = [name, format, list_type].map(Label::to_string);
            [id.to_string(), identity.id.to_string(), name, format, list_type]
        })
    });
    let header = ["EXPORT", "IDENTITY", "NAME", "FORMAT", "APPLICANTS"].map(str::to_owned);
    let exports = align_columns([header].into_iter().chain(exports).collect());

    format!("{identities}\n{exports}")
}

/// Returns the input that selects an identity, as a workflow sets it: `identity: '"SOPHAS"'`.
fn yaml_input(entry: &ListedIdentity) -> String {
    match &entry.input_value {
        Some(value) => format!("identity: '{}'", value.replace('\'', "''")),
        None => format!("user-identity-id: {}", entry.identity.id),
    }
}

/// Returns lines of columns that are two spaces apart.
fn align_columns<const COLUMNS: usize>(rows: Vec<[String; COLUMNS]>) -> String {
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

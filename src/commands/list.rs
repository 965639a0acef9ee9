//! `webadmit-export list`: prints the identities, exports and PDF templates that a key can see.
//!
//! The list goes to stdout and everything else to stderr, so that the list can be piped.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::time::Instant;

use super::connect;
use crate::config::{API_INPUTS, ApiConfig, ParsedInputs};
use crate::context::{Context, RequestLimits, Step};
use crate::environment::Environment;
use crate::error::StepError;
use crate::http::Clients;
use crate::http::error::{ErrorKind, RequestError};
use crate::http::retry::{AttemptLimits, GiveUpReason};
use crate::report::history::History;
use crate::report::log::{self, Log};
use crate::report::message::{self, MessageContext};
use crate::text::sanitize;
use crate::webadmit::lists::{Export, Identity, Label, Template};
use crate::webadmit::{ApiClient, Id, RunKind, resolve};

/// Maximum number of attempts to list the exports or the PDF templates of one identity. A list that keeps failing leaves time for
/// the others.
const MAX_ATTEMPTS: u32 = 4;

/// The output format of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListFormat {
    Table,
    Json,
}

/// An identity, its exports and its PDF templates.
#[derive(Debug, Serialize)]
struct ListedIdentity {
    #[serde(flatten)]
    identity: Identity,
    /// Value of the input `identity` that selects it. `None` if only its id does.
    #[serde(rename = "identity")]
    input_value: Option<String>,
    /// `None` if the request for them failed.
    exports: Option<Vec<Export>>,
    /// `None` if the request for them failed, or the identity has no PDF Manager.
    pdf_templates: Option<Vec<Template>>,
}

/// Prints the list and returns the exit code.
pub(crate) fn run(environment: &Environment, format: ListFormat) -> u8 {
    let start = Instant::now();
    let log = Log::to(io::stderr(), io::stderr(), environment.ci_system(), start);
    let inputs = super::parse_inputs(environment, &log);
    super::warn_unknown_inputs(&inputs, &log);

    let (result, history) = match prepare(environment, &inputs, &log) {
        Ok((api_config, clients)) => {
            let run_history = RefCell::default();
            let step = Step::new(api_config, start, &log);
            let result = super::block_on(print_list(&step, &step.context(&run_history), &clients, format));
            let has_responded = step.has_responded();
            (result, History { has_responded, shared: run_history.into_inner(), ..History::default() })
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
    // The command ignores all other inputs, valid or not.
    let mut errors: Vec<_> = inputs.errors.iter().filter(|error| API_INPUTS.contains(&error.input)).cloned().collect();
    if inputs.paths.ca_file.is_some() {
        let workspace = super::find_workspace(environment)?;
        errors.extend(connect::add_ca_file(&mut trust_store, &workspace, inputs));
    }

    match &inputs.api_config {
        Some(api_config) if errors.is_empty() => Ok((api_config, connect::clients(api_config, trust_store, log)?)),
        _ => Err(StepError::Inputs(errors)),
    }
}

async fn print_list(
    step: &Step<'_>,
    context: &Context<'_>,
    clients: &Clients,
    format: ListFormat,
) -> Result<(), StepError> {
    let api = connect::api_client(step, clients);
    let request = async |timeout| api.identities(timeout).await;
    let mut identities = context.request(RequestLimits::default(), request).await?;
    resolve::sort_newest_first(&mut identities);
    if identities.is_empty() {
        context.line(
            "this key has no identities; in WebAdMIT, its user needs the permission API Access for each identity",
        );
    }
    let (entries, incomplete) = fetch_lists(context, &api, identities).await;

    // On another thread: a signal must end the program even if nobody reads its output.
    let text = if format == ListFormat::Table { table(&entries) } else { json(&entries) };
    let printed = tokio::task::spawn_blocking(move || log::print_page(&text)).await;
    printed.context("cannot print the list")?.context("cannot write to stdout")?;
    incomplete.map_or(Ok(()), Err)
}

/// Requests the exports and the PDF templates of each identity. If that fails for some of them, also returns
/// [`StepError::IncompleteList`], except where the API refuses to show them.
async fn fetch_lists(
    context: &Context<'_>,
    api: &ApiClient,
    identities: Vec<Identity>,
) -> (Vec<ListedIdentity>, Option<StepError>) {
    let input_values = resolve::input_values(&identities);
    let mut requests = ListRequests::new(context);

    let send = async |identity, timeout| api.exports(Some(identity), timeout).await;
    let exports = requests.send_for_each(RunKind::Export, &identities, send).await;
    let send = async |identity, timeout| api.templates(identity, timeout).await;
    let templates = requests.send_for_each(RunKind::PdfBatch, &identities, send).await;

    let entries = identities.into_iter().zip(input_values).zip(exports).zip(templates);
    let entries = entries.map(|(((identity, input_value), exports), pdf_templates)| ListedIdentity {
        identity,
        input_value,
        exports,
        pdf_templates,
    });
    (entries.collect(), requests.into_error())
}

/// The requests for the lists of each identity, and what they did not return.
struct ListRequests<'a> {
    context: &'a Context<'a>,
    missing: Vec<(RunKind, Vec<Id>)>,
    first_error: Option<StepError>,
    /// Whether the time is up, so that no other request is sent.
    has_timed_out: bool,
}

impl<'a> ListRequests<'a> {
    fn new(context: &'a Context<'a>) -> Self {
        Self { context, missing: Vec::new(), first_error: None, has_timed_out: false }
    }

    /// Requests the list of each identity. Returns `None` for one whose list could not be requested, and logs that.
    async fn send_for_each<T>(
        &mut self,
        kind: RunKind,
        identities: &[Identity],
        send: impl AsyncFn(Id, Duration) -> Result<Vec<T>, RequestError>,
    ) -> Vec<Option<Vec<T>>> {
        let attempts = AttemptLimits { max_attempts: Some(MAX_ATTEMPTS), not_found_until: None };
        let limits = RequestLimits { has_grace_period: false, attempts };
        let (mut lists, mut missing, mut unavailable) = (Vec::new(), Vec::new(), Vec::new());

        for &Identity { id, .. } in identities {
            let result = if self.has_timed_out {
                Err(StepError::TimedOut)
            } else {
                self.context.request(limits, async |timeout| send(id, timeout).await).await
            };
            let list = result.map_err(|error| {
                if kind == RunKind::PdfBatch && is_unavailable(&error) {
                    unavailable.push((id, error));
                    return;
                }
                self.log_failure(kind, id, &error);
                self.has_timed_out |= error.is_timeout();
                if !is_refusal(&error) {
                    missing.push(id);
                    self.first_error.get_or_insert(error);
                }
            });
            lists.push(list.ok());
        }

        if let Some((_, error)) = unavailable.first() {
            let ids: Vec<Id> = unavailable.iter().map(|(id, _)| *id).collect();
            let identities = message::join_identities(&ids);
            self.context.line(&format!("PDF Manager is not available for {identities}: {error}"));
        }
        if !missing.is_empty() {
            self.missing.push((kind, missing));
        }
        lists
    }

    fn log_failure(&self, kind: RunKind, identity: Id, error: &StepError) {
        if let StepError::Request { failure, .. } = error {
            let (error, attempts) = (&failure.error, message::describe_attempts(failure));
            let noun = kind.source_noun();
            self.context.line(&format!("cannot list the {noun}s of identity {identity}: {error}{attempts}"));
        }
    }

    fn into_error(self) -> Option<StepError> {
        let missing = self.missing;
        self.first_error.map(|cause| StepError::IncompleteList { missing, cause: Box::new(cause) })
    }
}

fn is_refusal(error: &StepError) -> bool {
    matches!(error, StepError::Request { reason: GiveUpReason::Refused, .. })
}

/// Returns whether an identity has no PDF Manager: the API responds 403 or 404 for its templates.
fn is_unavailable(error: &StepError) -> bool {
    let StepError::Request { failure, .. } = error else { return false };
    matches!(failure.error.kind, ErrorKind::Status(403 | 404))
}

fn json(entries: &[ListedIdentity]) -> String {
    #[derive(Serialize)]
    struct List<'a> {
        user_identities: &'a [ListedIdentity],
    }
    // Cannot fail: there are only numbers and strings.
    sanitize::escape_json(&serde_json::to_string_pretty(&List { user_identities: entries }).unwrap_or_default())
}

/// Returns a table of the identities, one of their exports, and one of their PDF templates unless no identity has PDF Manager.
/// Each row begins with an id, so that no name begins a line.
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

    // The log says why there is none.
    if entries.iter().all(|entry| entry.pdf_templates.is_none()) {
        return format!("{identities}\n{exports}");
    }
    format!("{identities}\n{exports}\n{}", template_table(entries))
}

fn template_table(entries: &[ListedIdentity]) -> String {
    let templates = entries.iter().flat_map(|ListedIdentity { identity, pdf_templates, .. }| {
        pdf_templates.iter().flatten().map(|template| {
            let Template { id, name, list_name, document_source_title } = template;
            let [name, document, list_name] = [name, document_source_title, list_name].map(Label::to_string);
            [id.to_string(), identity.id.to_string(), name, document, list_name]
        })
    });
    let header = ["PDF TEMPLATE", "IDENTITY", "NAME", "DOCUMENT", "APPLICANTS"].map(str::to_owned);
    align_columns([header].into_iter().chain(templates).collect())
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

//! Renders the error that ended a step as a message: what failed and why, what it means for the user's file, and what to do.

use crate::config::{ApiConfig, FetchRequest, InputError, RunRequest, RunSelector};
use crate::error::StepError;
use crate::http::error::Endpoint;
use crate::http::retry::{FIRST_RESPONSE_TIMEOUT, GiveUpReason, RetryFailure};
use crate::report::history::{History, RunHistory};
use crate::report::outputs::OutputPathConflict;
use crate::text::format::{self, duration};
use crate::text::sanitize;
use crate::webadmit::{Id, RunKind};

/// Maximum number of ids, or of numbers of files, in a message.
const MAX_NUMBERS: usize = 20;

/// The configuration of the step that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageContext<'a> {
    pub(crate) api_config: &'a ApiConfig,
    /// What is fetched; `None` for the command `list`.
    pub(crate) request: Option<&'a FetchRequest>,
}

/// Renders the error that ended a step. The first line says what failed and what is on disk; further lines list candidates, and the
/// last one is a hint. `context` is `None` if the inputs are invalid.
#[must_use]
pub(crate) fn render(error: &StepError, context: Option<MessageContext<'_>>, history: &History) -> String {
    match (error, context) {
        (StepError::Inputs(errors), _) => invalid_inputs(errors),
        (StepError::Argument(argument), _) => format!(
            "unexpected argument {argument}; use one of check, list, list --json, --help and --version, and set inputs as environment variables"
        ),
        (error, Some(context)) => {
            let run = history.only_run().map(|_| 0);
            MessageBuilder { context, history, run }.message(error)
        }
        (StepError::Local(error) | StepError::UnwrittenOutputs(error), None) => local_error(error),
        (error, None) => error.to_string(),
    }
}

/// Renders the error of a run, in the same form.
#[must_use]
pub(crate) fn render_run(error: &StepError, context: MessageContext<'_>, history: &History, run: usize) -> String {
    MessageBuilder { context, history, run: Some(run) }.message(error)
}

/// Returns the causes of an error of this machine, without the system's error numbers.
fn local_error(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let causes = causes.iter().map(|cause| sanitize::without_os_code(cause));
    causes.collect::<Vec<_>>().join(": ")
}

fn invalid_inputs(errors: &[InputError]) -> String {
    let lines: Vec<String> = errors.iter().map(InputError::to_string).collect();
    match lines.as_slice() {
        [line] => format!("invalid input {line}; no request was sent and no file was written"),
        lines => {
            format!("{} invalid inputs; no request was sent and no file was written\n{}", lines.len(), lines.join("\n"))
        }
    }
}

/// Renders messages about a step whose inputs are valid.
pub(super) struct MessageBuilder<'a> {
    pub(super) context: MessageContext<'a>,
    pub(super) history: &'a History,
    /// Index of the run that the message is about. `None` if it is about all runs, or about `list`.
    pub(super) run: Option<usize>,
}

impl<'a> MessageBuilder<'a> {
    pub(super) fn message(&self, error: &StepError) -> String {
        let failed = match error {
            StepError::IncompleteList { .. } | StepError::Inputs(_) | StepError::Argument(_) => self.cause(error),
            StepError::Unresolved(names) => self.unresolved_names(names),
            StepError::Status(_) => format!("{} {}", self.subject(), self.cause(error)),
            StepError::Request { .. }
            | StepError::TimedOut
            | StepError::Local(_)
            | StepError::UnwrittenOutputs(_)
            | StepError::Interrupted(_)
            | StepError::MissingFiles { .. }
            | StepError::PathConflict { .. }
            | StepError::TooOld { .. }
            | StepError::UnknownAge => {
                format!("{}: {}", self.subject(), self.cause(error))
            }
        };
        let file_state = self.file_state(error).map(|state| format!("; {state}")).unwrap_or_default();
        let candidates = match error {
            StepError::Unresolved(names) => self.list_candidates(names),
            _ => String::new(),
        };
        let hint = self.hint(error).map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        format!("{failed}{file_state}{candidates}{hint}")
    }

    /// Returns what failed and why, without saying what the step was about.
    pub(super) fn cause(&self, error: &StepError) -> String {
        match error {
            StepError::Request { failure, reason } => self.request_error(failure, *reason),
            StepError::TimedOut => self.timed_out(),
            StepError::IncompleteList { missing, cause } => self.incomplete_list(missing, cause),
            StepError::Unresolved(names) => self.unresolved_names(names),
            StepError::MissingFiles { missing, total, cause } => {
                let files = if missing.len() == 1 { "file" } else { "files" };
                format!("{files} {} of {total} missing: {}", join_numbers(missing), self.cause(cause))
            }
            StepError::PathConflict { path, other } => {
                let label = self.history.runs.get(*other).map_or("another run", |run| run.label.as_str());
                format!("cannot save the file as {path}: {label} has a file of the same path")
            }
            StepError::Status(status) => format!("ended with status {status}"),
            StepError::TooOld { created, max_age } => {
                let (age, limit) = (created.age(), duration(*max_age));
                // An age that is close to the limit is not rounded down to it, and has the same unit.
                let age = if age / 2 < *max_age { duration(age) } else { format::age(age) };
                format!("the latest file is older than max-age ({limit}): created {created}, {age} ago")
            }
            StepError::UnknownAge => format!("{error}, so max-age cannot be checked"),
            StepError::Local(error) | StepError::UnwrittenOutputs(error) => local_error(error),
            StepError::Interrupted(signal) => format!("interrupted by {}", signal.name()),
            StepError::Inputs(_) | StepError::Argument(_) => error.to_string(),
        }
    }

    /// Returns the run that the message is about.
    pub(super) fn run(&self) -> Option<(&'a RunRequest, &'a RunHistory)> {
        let index = self.run?;
        Some((self.context.request?.runs.get(index)?, self.history.runs.get(index)?))
    }

    /// Returns the history of the run that the message is about, or of the requests that belong to no run.
    pub(super) fn run_history(&self) -> &'a RunHistory {
        self.run().map_or(&self.history.shared, |(_, run)| run)
    }

    /// Returns what the step was about: `run 74780 of export 86446`.
    fn subject(&self) -> String {
        let Some(request) = self.context.request else {
            return "cannot list identities, exports and PDF templates".to_owned();
        };
        let Some((run, history)) = self.run() else {
            return format!("{}{}", count_runs(request), self.identity_suffix());
        };

        let (noun, source) = (run.kind.run_noun(), source(run, history));
        match (history.id, run.run) {
            (Some(id), _) if run.source.is_none() && history.source.is_none() => format!("{noun} {id}"),
            (Some(id), _) | (None, RunSelector::Id(id)) => format!("{noun} {id} of {source}"),
            (None, RunSelector::New) => format!("new {noun} of {source}{}", self.identity_suffix()),
            (None, RunSelector::Latest) => format!("latest {noun} of {source}{}", self.identity_suffix()),
        }
    }

    /// Returns `, identity 305`, or nothing if the runs do not need the identity.
    fn identity_suffix(&self) -> String {
        let request = self.context.request.filter(|request| request.uses_identity());
        match (request.and_then(|request| request.identity.as_ref()), &self.history.identity) {
            (None, _) => String::new(),
            (Some(_), Some(resolved)) => format!(", identity {resolved}"),
            (Some(selector), None) => format!(", {selector}"),
        }
    }

    /// Returns what is on disk now, or which runs were started if that is all that the step does.
    fn file_state(&self, error: &StepError) -> Option<String> {
        const UNCHANGED: &str = "no file was written; an existing file was left unchanged";

        let request = self.context.request?;
        let Some((run_request, run)) = self.run() else {
            return Some(describe_result(self.context, self.history, Some(error)));
        };
        // Before the export is resolved, no run is started. A first request that the API refused did not start one either.
        let is_without_run = run_request.run == RunSelector::New
            && run.id.is_none()
            && (request.is_check() || run.source.is_none() || is_refused_at_once(error));
        if request.only_starts() {
            return is_without_run.then(|| "no run was started".to_owned());
        }
        Some(match (run.saved.as_slice(), error) {
            ([saved], _) => format!("the file was saved as {}", saved.path),
            ([_, ..], _) => format!("{} were saved", format::count(run.saved.len(), "file")),
            ([], StepError::PathConflict { .. }) => "the file of this run was not kept".to_owned(),
            ([], StepError::Local(error)) if let Some(OutputPathConflict { path, .. }) = error.downcast_ref() => {
                format!(
                    "no file was written; {path} now contains outputs of this step, and its previous content is lost"
                )
            }
            ([], _) if is_without_run => format!("no run was started and {UNCHANGED}"),
            ([], _) => UNCHANGED.to_owned(),
        })
    }

    fn request_error(&self, failure: &RetryFailure, reason: GiveUpReason) -> String {
        let RetryFailure { error, attempts, elapsed } = failure;
        let attempts_note = describe_attempts(failure);
        match reason {
            GiveUpReason::NoFirstResponse => {
                let host = self.context.api_config.base_url.host();
                format!(
                    "no valid response from {host} within {}: {error}{attempts_note}",
                    duration(FIRST_RESPONSE_TIMEOUT)
                )
            }
            GiveUpReason::RetryAfterTooLong(delay) => format!(
                "{error}; the server asked to retry after {} (Retry-After), but the step times out before that (timeout: {}){}",
                duration(delay),
                duration(self.context.api_config.timeout),
                self.last_status()
            ),
            GiveUpReason::OutOfAttempts if error.endpoint == Endpoint::Store => format!(
                "{error} ({} without a new byte in {})",
                format::count(attempts.without_progress as usize, "attempt"),
                duration(*elapsed)
            ),
            GiveUpReason::NotRetryable
            | GiveUpReason::Refused
            | GiveUpReason::TimedOut
            | GiveUpReason::OutOfAttempts => {
                format!("{error}{attempts_note}")
            }
        }
    }

    /// Returns `the list is incomplete: the exports of identities 305 and 290 are missing: …`.
    fn incomplete_list(&self, missing: &[(RunKind, Vec<Id>)], cause: &StepError) -> String {
        let cause = match cause {
            StepError::Request { failure, reason } => self.request_error(failure, *reason),
            StepError::TimedOut => self.timed_out(),
            other => other.to_string(),
        };
        let lists =
            missing.iter().map(|(kind, ids)| format!("the {}s of {}", kind.source_noun(), join_identities(ids)));
        format!("the list is incomplete: {} are missing: {cause}", lists.collect::<Vec<_>>().join(" and "))
    }

    fn timed_out(&self) -> String {
        let run = self.run_history();
        let activity = match (run.progress, run.status()) {
            (Some(progress), _) => format!(" during the download, at {progress}"),
            (None, Some(status)) if status.has_file() => " before the first byte of the file".to_owned(),
            (None, _) => String::new(),
        };
        let timeout = duration(self.context.api_config.timeout);
        let last_error = match &run.failure {
            Some(failure) => format!("; last error: {}{}", failure.error, describe_attempts(failure)),
            None => String::new(),
        };
        format!("timed out after {timeout}{activity}{}{last_error}", self.last_status())
    }

    fn last_status(&self) -> String {
        match self.run_history().statuses.last() {
            Some(last) => {
                format!("; last status: {} (seen {} after the start)", last.status, format::clock(last.last_seen))
            }
            None if self.run.is_none() => String::new(),
            None => "; no status was received".to_owned(),
        }
    }
}

/// Returns `identity 305`, or `identities 305 and 290`; at most twenty ids.
pub(crate) fn join_identities(ids: &[Id]) -> String {
    let noun = if ids.len() == 1 { "identity" } else { "identities" };
    format!("{noun} {}", join_numbers(ids))
}

/// Returns `305`, `305 and 290`, or `305, 290 and 17`; at most twenty.
fn join_numbers<T: ToString>(numbers: &[T]) -> String {
    let mut parts: Vec<String> = numbers.iter().take(MAX_NUMBERS).map(ToString::to_string).collect();
    if numbers.len() > MAX_NUMBERS {
        parts.push(format!("{} more", numbers.len() - MAX_NUMBERS));
    }
    join(parts)
}

/// Joins parts of a sentence: `305, 290 and 17`.
fn join(mut parts: Vec<String>) -> String {
    match parts.pop() {
        Some(last) if !parts.is_empty() => format!("{} and {last}", parts.join(", ")),
        only => only.unwrap_or_default(),
    }
}

/// Returns ` (3 attempts in 12 s)`; empty for a single attempt.
#[must_use]
pub(crate) fn describe_attempts(failure: &RetryFailure) -> String {
    let RetryFailure { attempts, elapsed, .. } = failure;
    if attempts.count > 1 {
        format!(" ({} in {})", format::count(attempts.count as usize, "attempt"), duration(*elapsed))
    } else {
        String::new()
    }
}

/// Whether the API refused the first request. If that was to start a run, none was started.
fn is_refused_at_once(error: &StepError) -> bool {
    matches!(error, StepError::Request { failure, reason: GiveUpReason::Refused } if failure.attempts.count == 1)
}

/// Returns what is on disk after a step with several runs, or how many were started if that is all that the step does. `error` is the
/// one that ended the step, if there is one.
pub(super) fn describe_result(context: MessageContext<'_>, history: &History, error: Option<&StepError>) -> String {
    let has_no_run = has_no_run(history, error);
    if context.request.is_some_and(FetchRequest::only_starts) {
        return match history.known_runs() {
            0 if has_no_run => "no run was started".to_owned(),
            0 => "WebAdMIT may have started runs".to_owned(),
            1 => "1 run was started".to_owned(),
            started => format!("{started} runs were started"),
        };
    }
    match history.runs.iter().map(|run| run.saved.len()).sum() {
        0 if has_no_run => "no run was started and no file was written; existing files were left unchanged".to_owned(),
        0 => "no file was written; existing files were left unchanged".to_owned(),
        1 => "1 file was saved".to_owned(),
        files => format!("{files} files were saved"),
    }
}

/// Whether it is certain that the step has started no run and has found none. A request that starts a run can succeed although its
/// response is lost. Errors that end the step occur before the first of these requests, except for signals.
pub(super) fn has_no_run(history: &History, error: Option<&StepError>) -> bool {
    let is_interrupted = matches!(error, Some(StepError::Interrupted(_)));
    history.runs.iter().all(|run| {
        let was_not_started = run.error.as_ref().map_or(!is_interrupted, is_refused_at_once);
        run.id.is_none() && (run.source.is_none() || was_not_started)
    })
}

/// Returns the inputs that fetch the runs of a step again: `export-file-id: 74780,74787` and `pdf-batch-id: 42`.
pub(crate) fn inputs_for_all(history: &History) -> Vec<String> {
    let input = |kind: RunKind| {
        let ids = history.runs.iter().filter(|run| run.kind == kind).filter_map(|run| run.id);
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        (!ids.is_empty()).then(|| format!("{}: {}", kind.run_input(), ids.join(",")))
    };
    [RunKind::Export, RunKind::PdfBatch].into_iter().filter_map(input).collect()
}

/// Returns `3 exports`, or `2 exports and 1 PDF template`.
pub(crate) fn count_runs(request: &FetchRequest) -> String {
    count_sources(&request.runs.iter().map(|run| run.kind).collect::<Vec<_>>())
}

pub(super) fn count_sources(kinds: &[RunKind]) -> String {
    let count = |kind: RunKind| match kinds.iter().filter(|other| **other == kind).count() {
        0 => None,
        count => Some(format::count(count, kind.source_noun())),
    };
    [RunKind::Export, RunKind::PdfBatch].into_iter().filter_map(count).collect::<Vec<_>>().join(" and ")
}

/// Returns `export 86446 (Nightly Applicants)`, or what the input says if the id is not known yet.
pub(super) fn source(request: &RunRequest, history: &RunHistory) -> String {
    let noun = request.kind.source_noun();
    history.source.as_ref().map_or_else(|| request.to_string(), |resolved| format!("{noun} {resolved}"))
}

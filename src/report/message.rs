//! Renders the error that ended a step as a message: what failed and why, what it means for the user's file, and what to do.

use crate::config::{ApiConfig, FetchRequest, IdentitySelector, InputError, RunRequest, RunSelector};
use crate::error::{LookupTarget, StepError, Unresolved};
use crate::http::error::Endpoint;
use crate::http::retry::{FIRST_RESPONSE_TIMEOUT, GiveUpReason, RetryFailure};
use crate::report::history::{History, RunHistory};
use crate::report::outputs::OutputPathConflict;
use crate::text::format::{self, duration};
use crate::text::sanitize;
use crate::webadmit::resolve::Candidate;
use crate::webadmit::{Id, RunKind};

/// Maximum number of candidates in a message.
const MAX_CANDIDATES: usize = 20;

/// Maximum number of ids, or of numbers of files, in a message.
const MAX_NUMBERS: usize = 20;

/// Maximum length of a candidate's line, in characters. GitHub shows 4,096 of a message, and twenty lines must fit.
const MAX_LINE_LENGTH: usize = 150;

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
        (StepError::Local(error), None) => local_error(error),
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
            StepError::TooOld { created, max_age } => format!(
                "the latest file is older than max-age ({}): created {created}, {} ago",
                duration(*max_age),
                format::age(created.age())
            ),
            StepError::UnknownAge => format!("{error}, so max-age cannot be checked"),
            StepError::Local(error) => local_error(error),
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
        let Some((run, history)) = self.run() else { return format!("{}, {}", count_runs(request), self.identity()) };

        let (noun, source) = (run.kind.run_noun(), source(run, history));
        match (history.id, run.run) {
            (Some(id), _) if run.source.is_none() && history.source.is_none() => format!("{noun} {id}"),
            (Some(id), _) | (None, RunSelector::Id(id)) => format!("{noun} {id} of {source}"),
            (None, RunSelector::New) => format!("new {noun} of {source}, {}", self.identity()),
            (None, RunSelector::Latest) => format!("latest {noun} of {source}, {}", self.identity()),
        }
    }

    fn identity(&self) -> String {
        let selector = self.context.request.and_then(|request| request.identity.as_ref());
        match (&self.history.identity, selector) {
            (Some(resolved), _) => format!("identity {resolved}"),
            (None, Some(selector)) => selector.to_string(),
            (None, None) => "no identity".to_owned(),
        }
    }

    /// Returns what is on disk now.
    fn file_state(&self, error: &StepError) -> Option<String> {
        const UNCHANGED: &str = "no file was written; an existing file was left unchanged";

        let is_check = self.context.request?.is_check();
        let Some((request, run)) = self.run() else { return Some(files_state(self.history, Some(error))) };
        // Before the export is resolved, no run is started. A first request that the API refused did not start one either.
        let is_without_run = request.run == RunSelector::New
            && run.id.is_none()
            && (is_check || run.source.is_none() || is_refused_at_once(error));
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

    /// Returns which names cannot be resolved, and why if it is a single one.
    fn unresolved_names(&self, names: &[Unresolved]) -> String {
        match names {
            [name] => self.unresolved(name, &self.owner(name.target)),
            names => {
                let identity = self.history.identity.as_ref().map(|identity| format!(" of identity {identity}"));
                format!("{} names{} cannot be resolved", names.len(), identity.unwrap_or_default())
            }
        }
    }

    /// Returns whose exports, for example, a name was looked up among. Begins with a space.
    fn owner(&self, target: LookupTarget) -> String {
        match (target, &self.history.identity) {
            (LookupTarget::Identity, _) => " of this key".to_owned(),
            (_, Some(identity)) => format!(" of identity {identity}"),
            (_, None) => " that this key can see".to_owned(),
        }
    }

    /// Returns ``identity `SOPHAS` not found: none of the 12 identities of this key contains all of these words``. `owner` says whose
    /// identities; it can be empty.
    fn unresolved(&self, name: &Unresolved, owner: &str) -> String {
        let Some(request) = self.context.request else { return String::new() };
        let (matching, total) = (name.error.matching, name.error.total);
        match name.target {
            LookupTarget::Identity => {
                let words = request.identity.as_ref().map(ToString::to_string).unwrap_or_default();
                let is_id = matches!(request.identity, Some(IdentitySelector::Id(_)));
                let explanation = match (matching, total) {
                    (_, 0) => "not found: this key has no identities".to_owned(),
                    (_, 1) if is_id => format!("not found: the only identity{owner} has another id"),
                    _ if is_id => format!("not found among the {total} identities{owner}"),
                    (0, 1) => format!("not found: the only identity{owner} does not contain all of these words"),
                    (0, _) => format!("not found: none of the {total} identities{owner} contains all of these words"),
                    _ => format!(
                        "is ambiguous: {matching} of the {total} identities{owner} contain all of these words and differ in more than their cycle"
                    ),
                };
                format!("{words} {explanation}")
            }
            LookupTarget::Source(run) => {
                let Some(run) = request.runs.get(run) else { return String::new() };
                let noun = run.kind.source_noun();
                let explanation = match (matching, total) {
                    (_, 0) => format!("not found: there are no {noun}s{owner}"),
                    (0, 1) if run.name().is_some() => format!("not found: the only {noun}{owner} has another name"),
                    (0, _) => format!("not found among the {total} {noun}s{owner}"),
                    _ => format!("is ambiguous: {matching} of the {total} {noun}s{owner} have this name"),
                };
                format!("{run} {explanation}")
            }
            LookupTarget::LatestRun(run) => {
                let Some(run) = request.runs.get(run) else { return String::new() };
                let (noun, source_noun) = (run.kind.run_plural(), run.kind.source_noun());
                let explanation = match total {
                    0 => format!("not found: there are no recent {noun}{owner}"),
                    1 => {
                        format!("not found: the only recent {}{owner} is of another {source_noun}", run.kind.run_noun())
                    }
                    _ => format!("not found among the {total} recent {noun}{owner}"),
                };
                format!("{} {explanation}", self.subject())
            }
        }
    }

    /// Returns the candidates for the names, one per line. Every line begins with an id. Several names share the lines, and if there
    /// are too many names, they have none.
    fn list_candidates(&self, names: &[Unresolved]) -> String {
        if let [only] = names {
            let omitted = match only.error.omitted() {
                0 => String::new(),
                omitted => format!("\n  … and {omitted} more"),
            };
            return format!("{}{omitted}", candidate_lines(only, MAX_CANDIDATES));
        }

        let max = MAX_CANDIDATES / names.len().max(1);
        let list = |name: &Unresolved| {
            let candidates = candidate_lines(name, max).replacen('\n', "; ", 1);
            format!("\n{}{candidates}", self.unresolved(name, ""))
        };
        names.iter().map(list).collect()
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
                "{error}; the server asked to retry after {} (Retry-After), which is beyond the timeout of {}{}",
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
            Some(last) => format!("; last status: {} (seen at {})", last.status, format::clock(last.last_seen)),
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

/// Returns at most `max` candidates, one per line. Every line begins with an id.
fn candidate_lines(name: &Unresolved, max: usize) -> String {
    let candidates = &name.error.candidates[..name.error.candidates.len().min(max)];
    let heading = match (name.error.matching, name.target) {
        _ if candidates.is_empty() => return String::new(),
        (0, LookupTarget::LatestRun(_)) => "recent runs, newest first:",
        (0, _) => "closest matches first:",
        _ => "matches:",
    };
    let line = |candidate: &Candidate| {
        format!("\n  {}", sanitize::truncate(&format!("{}  {}", candidate.id, candidate.title), MAX_LINE_LENGTH))
    };
    format!("\n{heading}{}", candidates.iter().map(line).collect::<String>())
}

/// Whether the API refused the first request. If that was to start a run, none was started.
fn is_refused_at_once(error: &StepError) -> bool {
    matches!(error, StepError::Request { failure, reason: GiveUpReason::Refused } if failure.attempts.count == 1)
}

/// Returns what is on disk after a step with several runs. `error` is the one that ended the step, if there is one.
pub(super) fn files_state(history: &History, error: Option<&StepError>) -> String {
    // A request that starts a run can succeed although its response is lost. Errors that end the step occur before the first of
    // these requests, except for signals.
    let is_interrupted = matches!(error, Some(StepError::Interrupted(_)));
    let is_without_run = |run: &RunHistory| {
        let was_not_started = run.error.as_ref().map_or(!is_interrupted, is_refused_at_once);
        run.id.is_none() && (run.source.is_none() || was_not_started)
    };
    match history.runs.iter().map(|run| run.saved.len()).sum() {
        0 if history.runs.iter().all(is_without_run) => {
            "no run was started and no file was written; existing files were left unchanged".to_owned()
        }
        0 => "no file was written; existing files were left unchanged".to_owned(),
        1 => "1 file was saved".to_owned(),
        files => format!("{files} files were saved"),
    }
}

/// Returns the inputs that fetch the runs of a step again: `export-file-id: 74780,74787 and pdf-batch-id: 42`.
pub(crate) fn inputs_for_all(history: &History) -> String {
    let input = |kind: RunKind| {
        let ids = history.runs.iter().filter(|run| run.kind == kind).filter_map(|run| run.id);
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        (!ids.is_empty()).then(|| format!("{}: {}", kind.run_input(), ids.join(",")))
    };
    [RunKind::Export, RunKind::PdfBatch].into_iter().filter_map(input).collect::<Vec<_>>().join(" and ")
}

/// Returns `3 exports`, or `2 exports and 1 PDF template`.
pub(crate) fn count_runs(request: &FetchRequest) -> String {
    let count = |kind: RunKind| match request.runs.iter().filter(|run| run.kind == kind).count() {
        0 => None,
        count => Some(format::count(count, kind.source_noun())),
    };
    [RunKind::Export, RunKind::PdfBatch].into_iter().filter_map(count).collect::<Vec<_>>().join(" and ")
}

/// Returns `export 86446 (Nightly Applicants)`, or what the input says if the id is not known yet.
fn source(request: &RunRequest, history: &RunHistory) -> String {
    let noun = request.kind.source_noun();
    history.source.as_ref().map_or_else(|| request.to_string(), |resolved| format!("{noun} {resolved}"))
}

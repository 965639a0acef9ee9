//! Renders the error that ended a step as a message: what failed and why, what it means for the user's file, and what to do.

use crate::config::{ApiConfig, ExportRequest, InputError, RunSelector};
use crate::error::{LookupTarget, StepError};
use crate::http::error::Endpoint;
use crate::http::retry::{FIRST_RESPONSE_TIMEOUT, GiveUpReason, RetryFailure};
use crate::report::history::History;
use crate::report::outputs::OutputFileConflict;
use crate::text::format::{self, duration};
use crate::text::sanitize;
use crate::webadmit::resolve::{Candidate, ResolveError};
use crate::webadmit::{Id, RunKind};

/// Maximum number of ids in a message.
const MAX_IDS: usize = 20;

/// Maximum length of a candidate's line, in characters. GitHub shows 4,096 of a message, and twenty lines must fit.
const MAX_LINE_LENGTH: usize = 150;

/// The configuration of the step that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageContext<'a> {
    pub(crate) api_config: &'a ApiConfig,
    /// The requested export; `None` for the command `list`.
    pub(crate) request: Option<&'a ExportRequest>,
}

/// Renders the error that ended a step. The first line says what failed and what is on disk; further lines list candidates, and the
/// last one is a hint. `context` is `None` if the inputs are invalid.
#[must_use]
pub(crate) fn render(error: &StepError, context: Option<MessageContext<'_>>, history: &History) -> String {
    match (error, context) {
        (StepError::Inputs(errors), _) => invalid_inputs(errors),
        (StepError::Argument(argument), _) => format!(
            "unknown argument {argument}; use list, list --json, --help or --version, and set inputs as environment variables"
        ),
        (error, Some(context)) => MessageBuilder { context, history }.message(error),
        (StepError::Local(error), None) => local_error(error),
        (error, None) => error.to_string(),
    }
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
}

impl MessageBuilder<'_> {
    fn message(&self, error: &StepError) -> String {
        let failed = match error {
            StepError::Request { failure, reason } => {
                format!("{}: {}", self.subject(), self.request_error(failure, *reason))
            }
            StepError::TimedOut => format!("{}: {}", self.subject(), self.timed_out()),
            StepError::IncompleteList { missing, cause } => self.incomplete_list(missing, cause),
            StepError::Unresolved { target, error } => self.unresolved(*target, error),
            StepError::Status(status) => format!("{} ended with status {status}", self.subject()),
            StepError::Local(error) => format!("{}: {}", self.subject(), local_error(error)),
            StepError::Interrupted(signal) => format!("{}: interrupted by {}", self.subject(), signal.name()),
            StepError::Inputs(_) | StepError::Argument(_) => error.to_string(),
        };
        let file_state = self.file_state(error).map(|state| format!("; {state}")).unwrap_or_default();
        let candidates = match error {
            StepError::Unresolved { target, error } => list_candidates(*target, error),
            _ => String::new(),
        };
        let hint = self.hint(error).map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        format!("{failed}{file_state}{candidates}{hint}")
    }

    /// Returns what the step was about: `run 74780 of export 86446`.
    fn subject(&self) -> String {
        let Some(request) = self.context.request else { return "cannot list identities and exports".to_owned() };
        let export = self.export(request);
        match (self.history.run.id, request.run) {
            (Some(run), _) | (None, RunSelector::Id(run)) => format!("run {run} of {export}"),
            (None, RunSelector::New) => format!("new run of {export}, {}", self.identity()),
            (None, RunSelector::Latest) => format!("latest run of {export}, {}", self.identity()),
        }
    }

    /// Returns `export 86446 (Nightly Applicants)`, or what the input says if the id is not known yet.
    fn export(&self, request: &ExportRequest) -> String {
        let resolved = self.history.run.export.as_ref();
        resolved.map_or_else(|| request.export.to_string(), |resolved| format!("export {resolved}"))
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

        let request = self.context.request?;
        let run = &self.history.run;
        // Before the export is resolved, no run is started. A first request that the API refused did not start one either.
        let is_refused_at_once = matches!(error, StepError::Request { failure, reason: GiveUpReason::Refused } if failure.attempts.count == 1);
        let is_without_run =
            request.run == RunSelector::New && run.id.is_none() && (run.export.is_none() || is_refused_at_once);
        Some(match (&run.saved, error) {
            (Some(saved), _) => format!("the file was saved as {}", saved.path),
            (None, StepError::Local(error)) if error.is::<OutputFileConflict>() => {
                "no file was written; output-file now contains the outputs of this step, in place of what was there before".to_owned()
            }
            (None, _) if is_without_run => format!("no run was started and {UNCHANGED}"),
            (None, _) => UNCHANGED.to_owned(),
        })
    }

    /// Returns ``identity `SOPHAS` not found: none of the 12 identities of this key contains all of these words``.
    fn unresolved(&self, target: LookupTarget, error: &ResolveError) -> String {
        let Some(request) = self.context.request else { return String::new() };
        let what = match target {
            LookupTarget::IdentityWords => request.identity.as_ref().map(ToString::to_string).unwrap_or_default(),
            LookupTarget::ExportName => self.export(request),
            LookupTarget::LatestRun => self.subject(),
        };
        let owner = match (target, &self.history.identity) {
            (LookupTarget::IdentityWords, _) => "of this key".to_owned(),
            (_, Some(identity)) => format!("of identity {identity}"),
            (_, None) => "that this key can see".to_owned(),
        };

        let (matching, total) = (error.matching, error.total);
        let explanation = match (target, matching, total) {
            (LookupTarget::IdentityWords, _, 0) => "not found: this key has no identities".to_owned(),
            (LookupTarget::ExportName, _, 0) => format!("not found: there are no exports {owner}"),
            (LookupTarget::LatestRun, _, 0) => format!("not found: there are no recent runs {owner}"),
            (LookupTarget::IdentityWords, 0, 1) => {
                format!("not found: the only identity {owner} does not contain all of these words")
            }
            (LookupTarget::ExportName, 0, 1) => format!("not found: the only export {owner} has another name"),
            (LookupTarget::LatestRun, _, 1) => format!("not found: the only recent run {owner} is of another export"),
            (LookupTarget::IdentityWords, 0, _) => {
                format!("not found: none of the {total} identities {owner} contains all of these words")
            }
            (LookupTarget::ExportName, 0, _) => format!("not found among the {total} exports {owner}"),
            (LookupTarget::LatestRun, ..) => format!("not found among the {total} recent runs {owner}"),
            (LookupTarget::IdentityWords, ..) => format!(
                "is ambiguous: {matching} of the {total} identities {owner} contain all of these words and differ in more than their cycle"
            ),
            (LookupTarget::ExportName, ..) => {
                format!("is ambiguous: {matching} of the {total} exports {owner} have this name")
            }
        };
        format!("{what} {explanation}")
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
            GiveUpReason::NoProgress if error.endpoint == Endpoint::Store => format!(
                "{error} ({} without a new byte in {})",
                format::count(attempts.without_progress as usize, "attempt"),
                duration(*elapsed)
            ),
            GiveUpReason::NotRetryable | GiveUpReason::Refused | GiveUpReason::TimedOut | GiveUpReason::NoProgress => {
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
        let run = &self.history.run;
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
        match self.history.run.statuses.last() {
            Some(last) => format!("; last status: {} (seen at {})", last.status, format::clock(last.last_seen)),
            None if self.context.request.is_none() => String::new(),
            None => "; no status was received".to_owned(),
        }
    }
}

/// Returns `305`, `305 and 290`, or `305, 290 and 17`; at most twenty ids.
/// Returns `identity 305`, or `identities 305 and 290`.
pub(crate) fn join_identities(ids: &[Id]) -> String {
    let noun = if ids.len() == 1 { "identity" } else { "identities" };
    format!("{noun} {}", join_ids(ids))
}

fn join_ids(ids: &[Id]) -> String {
    let mut parts: Vec<String> = ids.iter().take(MAX_IDS).map(Id::to_string).collect();
    if ids.len() > MAX_IDS {
        parts.push(format!("{} more", ids.len() - MAX_IDS));
    }
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

/// Returns the candidates, one per line. Every line begins with an id.
fn list_candidates(target: LookupTarget, error: &ResolveError) -> String {
    let heading = match (error.matching, target) {
        _ if error.candidates.is_empty() => return String::new(),
        (0, LookupTarget::LatestRun) => "recent runs, newest first:",
        (0, _) => "closest matches first:",
        _ => "matches:",
    };
    let line = |candidate: &Candidate| {
        format!("\n  {}", sanitize::truncate(&format!("{}  {}", candidate.id, candidate.title), MAX_LINE_LENGTH))
    };
    let lines: String = error.candidates.iter().map(line).collect();
    let omitted = match error.omitted() {
        0 => String::new(),
        omitted => format!("\n  … and {omitted} more"),
    };
    format!("\n{heading}{lines}{omitted}")
}

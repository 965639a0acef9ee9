//! Renders what ended a step as a message: what failed and why, what is on disk now, and what to do.

use crate::config::Id;
use crate::config::{ApiConfig, ExportRequest, InputError, RunSelector};
use crate::error::{LookupTarget, StepError};
use crate::http::error::Endpoint;
use crate::http::retry::{FIRST_RESPONSE_TIMEOUT, GiveUpReason, RetryFailure};
use crate::report::history::History;
use crate::text::format::{self, duration};
use crate::text::sanitize;
use crate::webadmit::resolve::{Candidate, ResolveError};

/// What a step was asked for, as far as it could be read.
#[derive(Clone, Copy, Debug)]
pub struct MessageContext<'a> {
    /// How WebAdMIT is asked.
    pub api_config: &'a ApiConfig,
    /// What is to be brought home; nothing where only a list is requested.
    pub request: Option<&'a ExportRequest>,
}

/// Renders what ended a step, in lines: what failed, what is on disk now, and what to do if that is known.
#[must_use]
pub fn render(error: &StepError, context: Option<MessageContext<'_>>, history: &History) -> String {
    match (error, context) {
        (StepError::Inputs(errors), _) => bad_inputs(errors),
        (StepError::Argument(argument), _) => format!(
            "unknown argument {argument}; known are list, list --json, --help and --version, and the inputs come from the environment"
        ),
        (error, Some(context)) => MessageBuilder { context, history }.text(error),
        (StepError::Local(error), None) => local(error),
        (_, None) => "the step was ended before it began".to_owned(),
    }
}

/// What this machine says, cause by cause, without the numbers of the system's errors.
fn local(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let causes = causes.iter().map(|cause| sanitize::without_os_code(cause));
    causes.collect::<Vec<_>>().join(": ")
}

fn bad_inputs(errors: &[InputError]) -> String {
    let lines: Vec<String> = errors.iter().map(InputError::to_string).collect();
    match lines.as_slice() {
        [one] => format!("bad input {one}; nothing was asked of WebAdMIT"),
        many => format!("{} bad inputs; nothing was asked of WebAdMIT\n{}", many.len(), many.join("\n")),
    }
}

/// What a message is made of.
pub(super) struct MessageBuilder<'a> {
    pub(super) context: MessageContext<'a>,
    pub(super) history: &'a History,
}

impl MessageBuilder<'_> {
    fn text(&self, error: &StepError) -> String {
        let happened = match error {
            StepError::Request { failure, reason } => format!("{}: {}", self.run(), self.error(failure, *reason)),
            StepError::TimedOut => format!("{}: {}", self.run(), self.timed_out()),
            StepError::Incomplete { missing, cause } => self.incomplete(missing, cause),
            StepError::Unresolved { target, resolve_error } => self.resolve_error(*target, resolve_error),
            StepError::Status(status) => format!("{} ended as {status}", self.run()),
            StepError::Local(error) => format!("{}: {}", self.run(), local(error)),
            StepError::Interrupted(signal) => format!("{}: interrupted by {}", self.run(), signal.name()),
            StepError::Inputs(_) | StepError::Argument(_) => String::new(),
        };
        let on_disk = self.on_disk(error).map(|on_disk| format!("; {on_disk}")).unwrap_or_default();
        let list = if let StepError::Unresolved { target, resolve_error } = error {
            candidates(*target, resolve_error)
        } else {
            String::new()
        };
        let hint = self.hint(error).map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        format!("{happened}{on_disk}{list}{hint}")
    }

    /// `run 74780 of export 86446`.
    fn run(&self) -> String {
        let Some(request) = self.context.request else { return "the list of identities and exports".to_owned() };
        let export = self.export(request);
        match (self.history.run, request.run) {
            (Some(run), _) | (None, RunSelector::Id(run)) => format!("run {run} of {export}"),
            (None, RunSelector::New) => format!("{export} under {}", self.identity()),
            (None, RunSelector::Latest) => format!("latest file of {export} under {}", self.identity()),
        }
    }

    /// `export 86446 (Nightly Applicants)`, or what was asked for where that is not known yet.
    fn export(&self, request: &ExportRequest) -> String {
        self.history.export.as_ref().map_or_else(|| request.export.to_string(), |known| format!("export {known}"))
    }

    fn identity(&self) -> String {
        let asked = self.context.request.and_then(|request| request.identity.as_ref());
        match (&self.history.identity, asked) {
            (Some(known), _) => format!("identity {known}"),
            (None, Some(asked)) => asked.to_string(),
            (None, None) => "no identity".to_owned(),
        }
    }

    fn on_disk(&self, error: &StepError) -> Option<String> {
        let request = self.context.request?;
        Some(match (&self.history.saved, error) {
            (Some(saved), _) => format!("its file is saved as {}", saved.path),
            (None, StepError::Unresolved { .. } | StepError::Request { reason: GiveUpReason::Refused, .. })
                if request.run == RunSelector::New && self.history.run.is_none() =>
            {
                "nothing was started or saved, and an older file is as it was".to_owned()
            }
            (None, _) => "nothing was saved, and an older file is as it was".to_owned(),
        })
    }

    /// `identity `SOPHAS`: none of the 12 identities of this key has all of these words`.
    fn resolve_error(&self, target: LookupTarget, resolve_error: &ResolveError) -> String {
        let Some(request) = self.context.request else { return String::new() };
        let asked = match target {
            LookupTarget::IdentityWords => request.identity.as_ref().map(ToString::to_string).unwrap_or_default(),
            LookupTarget::ExportName => self.export(request),
            LookupTarget::LatestRun => self.run(),
        };
        let where_from = match (target, &self.history.identity) {
            (LookupTarget::IdentityWords, _) => "of this key".to_owned(),
            (_, Some(known)) => format!("of identity {known}"),
            (_, None) => "that this key can see".to_owned(),
        };
        let (matching, total) = (resolve_error.matching, resolve_error.total);
        let found = match (target, matching, total) {
            (LookupTarget::IdentityWords, _, 0) => "not found: this key can see no identity at all".to_owned(),
            (LookupTarget::ExportName, _, 0) => format!("not found: there are no exports {where_from}"),
            (LookupTarget::LatestRun, _, 0) => "not found: there are no recent files".to_owned(),
            (LookupTarget::IdentityWords, 0, 1) => {
                format!("not found: the only identity {where_from} does not have all of these words")
            }
            (LookupTarget::ExportName, 0, 1) => format!("not found: the only export {where_from} has another name"),
            (LookupTarget::LatestRun, _, 1) => {
                format!("not found: the only recent file {where_from} is one of another export")
            }
            (LookupTarget::IdentityWords, 0, _) => {
                format!("not found: none of the {total} identities {where_from} has all of these words")
            }
            (LookupTarget::ExportName, 0, _) => {
                format!("not found: not among the {total} exports {where_from}")
            }
            (LookupTarget::LatestRun, ..) => {
                format!("not found: not among the {total} recent files {where_from}")
            }
            (LookupTarget::IdentityWords, ..) => format!(
                "found more than once: {matching} of the {total} identities {where_from} have all of these words, and their cycle alone does not tell them apart"
            ),
            (LookupTarget::ExportName, ..) => {
                format!("found more than once: {matching} of the {total} exports {where_from} have this name")
            }
        };
        format!("{asked} {found}")
    }

    fn error(&self, failure: &RetryFailure, reason: GiveUpReason) -> String {
        let RetryFailure { error, attempts, took } = failure;
        let (words, tried) = (&error.message, tried(failure));
        match reason {
            GiveUpReason::NoFirstResponse => {
                let host = self.context.api_config.base_url.host();
                format!("{host} gave no readable answer within {}: {words}{tried}", duration(FIRST_RESPONSE_TIMEOUT))
            }
            GiveUpReason::RetryAfterTooLong(wait) => {
                let asks = format!("{words}, and asks to be left alone for {}", duration(wait));
                format!(
                    "{asks}, which is past the timeout of {}{}",
                    duration(self.context.api_config.timeout),
                    self.last_seen()
                )
            }
            GiveUpReason::NoProgress if error.endpoint == Endpoint::Store => format!(
                "{} in a row brought no new byte, the last one: {words}; gave up after {}",
                format::count(attempts.without_progress as usize, "attempt"),
                duration(*took)
            ),
            GiveUpReason::NotRetryable | GiveUpReason::Refused | GiveUpReason::TimedOut | GiveUpReason::NoProgress => {
                format!("{words}{tried}")
            }
        }
    }

    /// `the list is incomplete: the exports of identities 305 and 290 are missing: …`.
    fn incomplete(&self, missing: &[Id], cause: &StepError) -> String {
        let cause = match cause {
            StepError::Request { failure, reason } => self.error(failure, *reason),
            StepError::TimedOut => self.timed_out(),
            other => return self.text(other),
        };
        let identities = if missing.len() == 1 { "identity" } else { "identities" };
        format!("the list is incomplete: the exports of {identities} {} are missing: {cause}", listed(missing))
    }

    fn timed_out(&self) -> String {
        let doing = match (self.history.progress, self.history.status()) {
            (Some(progress), _) => format!(" in the download, at {progress}"),
            (None, Some(status)) if status.has_file() => " in the download, before its first byte".to_owned(),
            (None, _) => String::new(),
        };
        let timeout = duration(self.context.api_config.timeout);
        let error = match &self.history.failure {
            Some(failure) => format!(", the last fault: {}{}", failure.error.message, tried(failure)),
            None => String::new(),
        };
        format!("timed out after {timeout}{doing}{}{error}", self.last_seen())
    }

    fn last_seen(&self) -> String {
        match self.history.statuses.last() {
            Some(seen) => format!("; its last status was {} (seen at {})", seen.status, format::elapsed(seen.last)),
            None if self.context.request.is_none() => String::new(),
            None => "; no status was seen".to_owned(),
        }
    }
}

/// `305`, `305 and 290`, `305, 290 and 17`. Of very many, not all.
fn listed(ids: &[Id]) -> String {
    const MOST: usize = 20;
    let mut words: Vec<String> = ids.iter().take(MOST).map(Id::to_string).collect();
    if ids.len() > MOST {
        words.push(format!("{} more", ids.len() - MOST));
    }
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{} and {last}", words.join(", ")),
        only => only.unwrap_or_default(),
    }
}

/// How often and how long something was tried, where it was tried more than once.
#[must_use]
pub fn tried(failure: &RetryFailure) -> String {
    let RetryFailure { attempts, took, .. } = failure;
    if attempts.made > 1 {
        format!(" ({} in {})", format::count(attempts.made as usize, "attempt"), duration(*took))
    } else {
        String::new()
    }
}

/// Maximum length of a candidate's line in characters. GitHub shows 4,096 of a message, and twenty lines must fit.
const MAX_LINE_LENGTH: usize = 150;

/// Renders the candidates, one per line. Each line begins with the id.
fn candidates(target: LookupTarget, resolve_error: &ResolveError) -> String {
    let heading = match (resolve_error.matching, target) {
        _ if resolve_error.candidates.is_empty() => return String::new(),
        (0, LookupTarget::LatestRun) => "there are, the newest first:",
        (0, _) => "there are, the nearest first:",
        _ => "these are:",
    };
    let line = |candidate: &Candidate| {
        format!("\n  {}", sanitize::truncate(&format!("{}  {}", candidate.id, candidate.title), MAX_LINE_LENGTH))
    };
    let lines: String = resolve_error.candidates.iter().map(line).collect();
    let omitted = match resolve_error.omitted() {
        0 => String::new(),
        omitted => format!("\n  … and {omitted} more"),
    };

    format!("\n{heading}{lines}{omitted}")
}

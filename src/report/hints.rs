//! The hint: the last line of an error message, which says what the user can do.

use super::message::MessageBuilder;
use crate::config::{IdentitySelector, RunSelector};
use crate::error::{LookupTarget, StepError, Unresolved};
use crate::http::error::{Endpoint, ErrorKind, RequestError};
use crate::report::outputs::OutputPathConflict;
use crate::webadmit::resolve::ResolveError;
use crate::webadmit::status::Status;
use crate::webadmit::{Id, RunKind};

const PROXY_CREDENTIALS: &str =
    "put the proxy's user name and password into its variable, as in HTTPS_PROXY=http://user:password@host:port";

const OUTAGE: &str = "WebAdMIT is having problems; re-run the step later";

const QUOTES: [char; 4] = ['"', '\'', '“', '„'];

impl MessageBuilder<'_> {
    /// Returns the hint for an error, if there is one.
    pub(super) fn hint(&self, error: &StepError) -> Option<String> {
        match error {
            StepError::Request { failure, .. } => Some(self.request_hint(&failure.error)),
            StepError::IncompleteList { cause, .. } => self.hint(cause),
            StepError::Unresolved(names) => Some(self.lookup_hint(names)),
            StepError::TimedOut => Some(self.timeout_hint()),
            StepError::Status(status) => Some(self.status_hint(status)),
            StepError::TooOld { .. } => Some(self.too_old_hint()),
            StepError::UnknownAge => Some(self.unknown_age_hint().to_owned()),
            StepError::MissingFiles { cause, .. } => self.missing_files_hint(cause),
            StepError::PathConflict { .. } => {
                Some("give them other names in WebAdMIT, or fetch them in steps with different directories".to_owned())
            }
            StepError::Local(error) => self.local_hint(error),
            StepError::Interrupted(_) => self.interrupted_hint(),
            StepError::Inputs(_) | StepError::Argument(_) => None,
        }
    }

    fn status_hint(&self, status: &Status) -> String {
        let noun = self.run_history().kind.source_noun();
        match status {
            Status::EmptyList => {
                format!("the {noun} matched no applicants; if that is expected, set fail-on: failed")
            }
            Status::Failed if self.run().is_some_and(|(request, _)| request.run == RunSelector::Latest) => {
                let (run_noun, input) = (self.run_history().kind.run_noun(), self.run_history().kind.run_input());
                format!(
                    "WebAdMIT could not create the file; check the {noun} there; this {run_noun} is the latest until there is a newer one; without {input}, this step starts a {run_noun}"
                )
            }
            Status::Failed => {
                format!("WebAdMIT could not create the file; check the {noun} in WebAdMIT, then re-run the step")
            }
            _ => format!("check the {noun} in WebAdMIT; without success_with_errors in fail-on, the step only warns"),
        }
    }

    fn too_old_hint(&self) -> String {
        let kind = self.run_history().kind;
        let (noun, run_noun, input) = (kind.source_noun(), kind.run_noun(), kind.run_input());
        format!(
            "WebAdMIT disables a schedule after failures; check the schedule of the {noun} there; without {input}, this step starts a {run_noun}"
        )
    }

    fn unknown_age_hint(&self) -> &'static str {
        match self.run_history().kind {
            RunKind::Export => {
                "check whether a proxy removes Last-Modified from the store's response; without max-age, the file is downloaded"
            }
            RunKind::PdfBatch => {
                "WebAdMIT sent no valid updated_at for this batch; without max-age, its files are downloaded"
            }
        }
    }

    fn missing_files_hint(&self, cause: &StepError) -> Option<String> {
        let is_gone =
            matches!(cause, StepError::Request { failure, .. } if failure.error.kind == ErrorKind::Status(404));
        match self.run_history().id {
            Some(id) if is_gone => {
                let (noun, inputs) = (self.run_history().kind.run_noun(), self.inputs_for(id));
                Some(format!("check the {noun} in WebAdMIT, then re-run the step, with {inputs} if it has all files"))
            }
            _ => self.hint(cause),
        }
    }

    fn interrupted_hint(&self) -> Option<String> {
        let run = self.run_history();
        if self.run().is_none() && self.context.request.is_some() {
            return Some("runs in progress continue in WebAdMIT; if you re-run the step, it waits for them".to_owned());
        }
        let id = run.id.filter(|_| run.saved.is_empty() && run.source.is_some())?;
        let (noun, inputs) = (run.kind.run_noun(), self.inputs_for(id));
        Some(match run.status() {
            Some(status) if status.is_terminal() => format!("to download this {noun} later, set {inputs}"),
            _ => format!("the {noun} continues in WebAdMIT; to download it later, set {inputs}"),
        })
    }

    /// Returns the inputs that select this run again: `export-file-id: 74780`.
    fn inputs_for(&self, id: Id) -> String {
        let run = self.run_history();
        let run_input = format!("{}: {id}", run.kind.run_input());
        match &run.source {
            // With several exports, an id of a run is needed for each.
            Some(source) if self.history.runs.len() > 1 => {
                format!("only {}: {} and {run_input}", run.kind.id_input(), source.id)
            }
            _ => run_input,
        }
    }

    fn timeout_hint(&self) -> String {
        let run = self.run_history();
        let noun = run.kind.run_noun();
        match (&run.failure, run.id) {
            (Some(failure), _) => self.request_hint(&failure.error),
            (None, Some(id)) if !run.status().is_some_and(Status::has_file) => {
                let inputs = self.inputs_for(id);
                format!("the {noun} continues in WebAdMIT; set a longer timeout, or {inputs} to wait for this {noun}")
            }
            (None, Some(id)) => {
                format!("set a longer timeout, and {} to download this {noun}", self.inputs_for(id))
            }
            (None, None) => "set a longer timeout".to_owned(),
        }
    }

    fn local_hint(&self, error: &anyhow::Error) -> Option<String> {
        let run = self.run_history();
        let fix = match error.downcast_ref() {
            Some(OutputPathConflict { input, .. }) => format!("set filename, or another {input}"),
            None => "fix the problem".to_owned(),
        };

        match (run.saved.as_slice(), run.id) {
            ([_, ..], _) => Some(format!("later steps do not get the outputs; {fix}, then re-run the step")),
            ([], _) if !self.history.has_responded => {
                Some(format!("no request was sent to WebAdMIT; {fix}, then re-run the step"))
            }
            ([], Some(id)) => {
                let (noun, inputs) = (run.kind.run_noun(), self.inputs_for(id));
                Some(format!("the {noun} is still in WebAdMIT; {fix}, then re-run the step with {inputs}"))
            }
            ([], None) => None,
        }
    }

    fn lookup_hint(&self, names: &[Unresolved]) -> String {
        const LIST: &str = "`command: list` shows everything that the key can see";

        match names {
            [Unresolved { target: LookupTarget::Identity, error }] => list_row_hint(self.words(), "identity", "INPUT")
                .unwrap_or_else(|| format!("{}; {LIST}", self.identity_hint(error))),
            [Unresolved { target: LookupTarget::Source(run), error }] => {
                let Some(run) = self.context.request.and_then(|request| request.runs.get(*run)) else {
                    return LIST.to_owned();
                };
                let Some(name) = run.name() else {
                    let (noun, input) = (run.kind.source_noun(), run.kind.name_input());
                    return format!(
                        "check the id, and whether the identity has this {noun}; ids change with each application cycle, so {input} is safer; {LIST}"
                    );
                };
                list_row_hint(name, run.kind.name_input(), "NAME")
                    .unwrap_or_else(|| format!("{}; {LIST}", self.name_hint(run.kind, name, error)))
            }
            [Unresolved { target: LookupTarget::LatestRun(_), .. }] => {
                let kind = self.run_history().kind;
                let (source, run, input) = (kind.source_noun(), kind.run_noun(), kind.run_input());
                format!(
                    "check in WebAdMIT whether the {source} has run, and under which identity; without {input}, this step starts a {run}"
                )
            }
            names if self.history.identity.is_none() && names.iter().all(|name| name.error.matching > 0) => {
                format!("set identity to the identity that has them, or use ids; {LIST}")
            }
            _ => format!("use the exact names from WebAdMIT, or ids; {LIST}"),
        }
    }

    fn identity_hint(&self, error: &ResolveError) -> &'static str {
        match (error.matching, error.total) {
            _ if error.is_id => "this is an id; set it as user-identity-id, or set identity to words",
            (_, 1..) if self.words().is_empty() => "use an id from this list, or words as identity",
            _ if self.is_yaml() => {
                "set only the value, without `identity:` and without the single quotes, which belong to YAML"
            }
            (_, 0) => "in WebAdMIT, the key's user needs the permission API Access for each identity",
            (0, _) if self.words().contains(QUOTES) => {
                "double quotes match a whole field, such as \"SOPHAS\" \"2026 - 2027\"; without quotes, parts of words match as well"
            }
            (0, _) => "use words from this list",
            _ => {
                "add a word that only the right identity has, or match a whole field with double quotes, in YAML as '\"SOPHAS\"', which does not match SOPHAS Express"
            }
        }
    }

    /// Returns the hint for the name of an export or template.
    fn name_hint(&self, kind: RunKind, name: &str, error: &ResolveError) -> String {
        let (noun, name_input, id_input) = (kind.source_noun(), kind.name_input(), kind.id_input());
        let is_newest_cycle = self.history.identity.as_ref().is_some_and(|identity| identity.is_newest_cycle);
        match error.matching {
            _ if error.is_id => format!("this is an id; set it as {id_input}, or set {name_input} to the name"),
            0 if name.starts_with(QUOTES) => "remove the quotes".to_owned(),
            0 if name.contains([',', ';']) || name.starts_with("- ") => {
                format!("set {name_input} to one name per line, without commas or hyphens between them")
            }
            0 if is_newest_cycle => format!(
                "use the exact name from WebAdMIT; if the new cycle does not have the {noun} yet, add both years of the older cycle to identity"
            ),
            0 => format!("use the exact name from WebAdMIT; the {noun} may belong to another identity"),
            _ if self.history.identity.is_none() => {
                format!("set identity to the identity that has the {noun}, or set {id_input} instead")
            }
            _ => format!("set {id_input} instead, or rename one of them in WebAdMIT"),
        }
    }

    /// Returns the words of the input `identity`.
    fn words(&self) -> &str {
        match self.context.request.and_then(|request| request.identity.as_ref()) {
            Some(IdentitySelector::Words(words)) => words,
            _ => "",
        }
    }

    /// Whether the identity is YAML copied from a list: `identity: '"SOPHAS"'`, or its value with the single quotes.
    fn is_yaml(&self) -> bool {
        let words = self.words();
        words.starts_with("identity:") || words.starts_with('\'') && words.ends_with('\'')
    }

    /// Whether this step started the run.
    fn has_started_run(&self) -> bool {
        self.run().is_some_and(|(request, run)| request.run == RunSelector::New && run.id.is_some())
    }

    /// Whether the first request is one without an id, for a list that every key can see.
    fn starts_with_list(&self) -> bool {
        self.context.request.is_none_or(|request| match &request.identity {
            Some(IdentitySelector::Words(_)) => request.uses_identity(),
            Some(IdentitySelector::Id(_)) => false,
            None => request.runs.iter().any(|run| run.name().is_some()),
        })
    }

    /// Returns the inputs that select the run, and a note on ids if one of them is an id.
    fn selecting_inputs(&self) -> (String, &'static str) {
        const ID_NOTE: &str = "; ids change with each application cycle, names do not";

        let Some(request) = self.context.request else { return ("the key".to_owned(), "") };
        let kind = self.run_history().kind;
        let first_of_kind = || request.runs.iter().find(|run| run.kind == kind);
        let Some(run) = self.run().map(|(run, _)| run).or_else(first_of_kind) else {
            return ("the key".to_owned(), "");
        };
        let (source, is_source_id) = match run.name() {
            Some(_) => (run.kind.name_input(), false),
            None => (run.kind.id_input(), true),
        };
        let (identity, is_identity_id) = match request.identity {
            Some(IdentitySelector::Words(_)) => ("identity", false),
            _ => ("user-identity-id", true),
        };
        match run.run {
            RunSelector::Id(_) if run.kind == RunKind::PdfBatch => {
                (format!("{identity} and {}", run.kind.run_input()), ID_NOTE)
            }
            RunSelector::Id(_) => (format!("{source} and {}", run.kind.run_input()), ID_NOTE),
            RunSelector::Latest | RunSelector::New => {
                let note = if is_source_id || is_identity_id { ID_NOTE } else { "" };
                (format!("{identity} and {source}"), note)
            }
        }
    }

    fn request_hint(&self, error: &RequestError) -> String {
        match (error.endpoint, error.kind) {
            (_, ErrorKind::ProxyAuthentication) => PROXY_CREDENTIALS.to_owned(),
            (Endpoint::Store, ErrorKind::Certificate) => {
                "check the clock of this machine; if a proxy uses its own certificate authority, set ca-file".to_owned()
            }
            (Endpoint::Api, ErrorKind::Certificate) => {
                "check base-url and the clock of this machine; if a proxy or a private host uses its own certificate authority, set ca-file".to_owned()
            }
            (_, ErrorKind::WrongRun | ErrorKind::InvalidUrl | ErrorKind::TooLarge) => {
                "the response was not used; check that base-url is WebAdMIT".to_owned()
            }
            (Endpoint::Api, kind) => self.api_hint(kind),
            (Endpoint::Store, ErrorKind::UnsupportedEncoding | ErrorKind::StoreRedirect) => {
                "check whether a proxy changes the store's responses; it must pass them through unchanged".to_owned()
            }
            (Endpoint::Store, _) => match self.run_history().id {
                Some(id) => {
                    let (noun, inputs) = (self.run_history().kind.run_noun(), self.inputs_for(id));
                    format!("re-run the step with {inputs}; WebAdMIT keeps the {noun} and its file for a while")
                }
                None => "re-run the step".to_owned(),
            },
        }
    }

    fn api_hint(&self, kind: ErrorKind) -> String {
        let (inputs, id_note) = self.selecting_inputs();
        let run = self.run_history();
        let (noun, source_noun, plural) = (run.kind.run_noun(), run.kind.source_noun(), run.kind.run_plural());
        match kind {
            ErrorKind::Status(401) => {
                "the API does not know this key; check api-key, and base-url if it is not the default".to_owned()
            }
            ErrorKind::Status(403) => {
                format!("this key lacks permission; check {inputs}, and the permissions of the key's user in WebAdMIT")
            }
            ErrorKind::Status(404) if self.history.identity.is_none() && self.starts_with_list() => {
                "check that base-url is WebAdMIT".to_owned()
            }
            ErrorKind::Status(404) if self.has_started_run() => {
                format!("WebAdMIT does not find the {noun} that it started; re-run the step later")
            }
            ErrorKind::Status(404) if run.id.is_some() && (run.source.is_some() || run.kind == RunKind::PdfBatch) => {
                format!(
                    "check that the {noun} belongs to this {source_noun} ({inputs}), and that WebAdMIT still has it (it deletes {plural} after a while){id_note}"
                )
            }
            ErrorKind::Status(404) if run.kind == RunKind::PdfBatch => {
                format!("check {inputs}{id_note}; the identity must have PDF Manager and this {source_noun}")
            }
            ErrorKind::Status(404) => {
                format!("check {inputs}{id_note}; the key's user must be able to see the {source_noun}")
            }
            ErrorKind::Status(407) => PROXY_CREDENTIALS.to_owned(),
            ErrorKind::Status(429) | ErrorKind::RateLimited => {
                "this key has no calls left; re-run the step later, and check what else uses the key".to_owned()
            }
            ErrorKind::MissingRedirect => {
                "check whether a proxy follows WebAdMIT's redirects; it must pass them through unchanged".to_owned()
            }
            ErrorKind::Redirect | ErrorKind::Connect | ErrorKind::Unreadable => {
                "check base-url, and whether this machine needs a proxy".to_owned()
            }
            ErrorKind::Status(500..) => OUTAGE.to_owned(),
            ErrorKind::Status(_) => format!("WebAdMIT rejected the request; check {inputs}, and base-url"),
            _ if self.history.has_responded => OUTAGE.to_owned(),
            _ => "check that this machine can reach WebAdMIT, then re-run the step".to_owned(),
        }
    }
}

/// Returns the hint for a value of an input that looks like a row copied from a list: `86446  305  Nightly Applicants`. `column` has
/// the right value.
fn list_row_hint(value: &str, input: &str, column: &str) -> Option<String> {
    let (id, _) = value.trim().split_once("  ")?;
    id.bytes().all(|byte| byte.is_ascii_digit()).then(|| {
        format!("this looks like a row of a list; set {input} to the value in the column {column} of the list")
    })
}

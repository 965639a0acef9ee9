//! The hint: the last line of an error message, which says what the user can do.

use super::message::MessageBuilder;
use crate::config::{Action, FetchRequest, IdentitySelector, Mode, RunSelector};
use crate::error::{LookupTarget, StepError, Unresolved};
use crate::http::error::{Endpoint, ErrorKind, RequestError};
use crate::report::outputs::OutputPathConflict;
use crate::text::normalize;
use crate::webadmit::resolve::ResolveError;
use crate::webadmit::status::Status;
use crate::webadmit::{Id, RunKind};

const PROXY_CREDENTIALS: &str =
    "put the proxy's user name and password into its variable, as in HTTPS_PROXY=http://user:password@host:port";

const OUTAGE: &str = "WebAdMIT is having problems; re-run the step later";

const NETWORK_OUTAGE: &str = "WebAdMIT or the network is having problems; re-run the step later";

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
            StepError::PathConflict { .. } => Some(
                "give the two files different names in WebAdMIT, or fetch them in steps with different directories"
                    .to_owned(),
            ),
            StepError::Local(error) => self.local_hint(error),
            StepError::UnwrittenOutputs(_) => {
                Some("later steps do not get the outputs; fix the problem, then re-run the step".to_owned())
            }
            StepError::Interrupted(_) => self.interrupted_hint(),
            StepError::Inputs(_) | StepError::Argument(_) => None,
        }
    }

    fn status_hint(&self, status: &Status) -> String {
        let noun = self.run_history().kind.source_noun();
        match status {
            Status::EmptyList => {
                let fail_on = self.context.request.map_or(&[][..], |request| &request.fail_on);
                let others = fail_on.iter().filter(|other| *other != status).map(Status::name).collect::<Vec<_>>();
                let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
                format!("the {noun} matched no applicants; if that is expected, set fail-on: {others}")
            }
            Status::Failed => {
                let remedy = self.new_run_remedy();
                format!("WebAdMIT could not create the file; check the {noun} in WebAdMIT, then {remedy}")
            }
            _ => format!("check the {noun} in WebAdMIT; without success_with_errors in fail-on, the step only warns"),
        }
    }

    /// Returns how to get a new run. A step that selects an existing one finds the same one again.
    fn new_run_remedy(&self) -> String {
        let Some((run, _)) = self.run() else { return "re-run the step".to_owned() };
        let (noun, run_input, id_input) = (run.kind.run_noun(), run.kind.run_input(), run.kind.id_input());
        let has_identity = self.context.request.is_some_and(|request| request.identity.is_some());
        match (run.run, &run.source) {
            (RunSelector::New, _) => "re-run the step".to_owned(),
            (RunSelector::Latest, _) => {
                format!("start a new {noun} there, or re-run the step without {}", self.latest_inputs())
            }
            (RunSelector::Id(_), None) => {
                format!("re-run the step with {id_input} instead of {run_input} to start a new {noun}")
            }
            (RunSelector::Id(_), Some(_)) if !has_identity => {
                format!("re-run the step with identity and without {run_input} to start a new {noun}")
            }
            (RunSelector::Id(_), Some(_)) => {
                let only = self.only_this_source("").map(|only| format!("with {only} and ")).unwrap_or_default();
                format!("re-run the step {only}without {run_input} to start a new {noun}")
            }
        }
    }

    fn too_old_hint(&self) -> String {
        let kind = self.run_history().kind;
        let (noun, run_noun, inputs) = (kind.source_noun(), kind.run_noun(), self.latest_inputs());
        format!(
            "WebAdMIT disables a schedule after failures; check the schedule of the {noun} there; without {inputs}, this step starts a {run_noun}"
        )
    }

    /// Returns the inputs to omit so that the step starts a run instead of using the latest one. `max-age` needs `latest`.
    fn latest_inputs(&self) -> String {
        let input = self.run_history().kind.run_input();
        let has_max_age = self.context.request.is_some_and(|request| request.max_age.is_some());
        if has_max_age { format!("{input} and max-age") } else { input.to_owned() }
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
        let Some(id) = self.run_history().id else { return self.hint(cause) };
        match cause {
            StepError::Request { failure, .. } if failure.error.kind == ErrorKind::Status(404) => {
                let (noun, rerun) = (self.run_history().kind.run_noun(), self.rerun(id));
                Some(format!("check the {noun} in WebAdMIT; if it has all files, {rerun}"))
            }
            StepError::Local(error) => Some(self.still_available_hint(error, id)),
            _ => self.hint(cause),
        }
    }

    fn interrupted_hint(&self) -> Option<String> {
        let effect = match self.context.request?.mode {
            Mode::Check(_) => return None,
            Mode::Execute(Action::Start) => "gets their ids",
            Mode::Execute(Action::Fetch) => "waits for them",
        };
        let Some((request, run)) = self.run() else {
            return Some(format!("runs in progress continue in WebAdMIT; if you re-run the step, it {effect}"));
        };

        let id = run.id.filter(|_| run.saved.is_empty() && run.source.is_some())?;
        let (noun, rerun) = (request.kind.run_noun(), self.rerun(id));
        Some(if self.is_in_progress() {
            format!("the {noun} continues in WebAdMIT; to download it later, {rerun}")
        } else {
            format!("to download this {noun} later, {rerun}")
        })
    }

    /// Returns how to fetch this run again: `re-run the step with export-file-id: 74780`.
    fn rerun(&self, id: Id) -> String {
        let has_id = self.run().is_some_and(|(request, _)| matches!(request.run, RunSelector::Id(_)));
        let inputs = self.inputs_for(id);
        match self.context.request.map(|request| request.mode) {
            // The step already has this input.
            _ if has_id && self.history.runs.len() == 1 => "re-run the step".to_owned(),
            Some(Mode::Execute(Action::Start)) => format!("re-run the step with {inputs} instead of wait: false"),
            _ => format!("re-run the step with {inputs}"),
        }
    }

    /// Returns the inputs that select this run again: `export-file-id: 74780`.
    fn inputs_for(&self, id: Id) -> String {
        let run = self.run_history();
        let run_input = format!("{}: {id}", run.kind.run_input());
        self.only_this_source(&format!(" and {run_input}")).unwrap_or(run_input)
    }

    /// Returns the inputs that select only the export of this run, if there are several: `only this export (export-id: 86446)`.
    /// Several exports would need an id of a run for each. `and` is added after the id.
    fn only_this_source(&self, and: &str) -> Option<String> {
        let run = self.run_history();
        let source = run.source.as_ref().filter(|_| self.history.runs.len() > 1)?;
        let (noun, id_input) = (run.kind.source_noun(), run.kind.id_input());
        Some(format!("only this {noun} ({id_input}: {}{and})", source.id))
    }

    fn timeout_hint(&self) -> String {
        let run = self.run_history();
        let noun = run.kind.run_noun();
        let is_check = self.context.request.is_some_and(FetchRequest::is_check);
        match (&run.failure, run.id.map(|id| self.rerun(id))) {
            (Some(failure), _) => self.request_hint(&failure.error),
            (None, Some(rerun)) if !is_check && self.is_in_progress() => {
                format!("the {noun} continues in WebAdMIT; set a longer timeout, or {rerun} to wait for this {noun}")
            }
            (None, Some(rerun)) if !is_check && run.status().is_some_and(Status::has_file) => {
                format!("set a longer timeout, then {rerun} to download this {noun}")
            }
            (None, Some(rerun)) if !is_check => format!("set a longer timeout, or {rerun} to wait for this {noun}"),
            (None, _) => "set a longer timeout".to_owned(),
        }
    }

    fn local_hint(&self, error: &anyhow::Error) -> Option<String> {
        if !self.history.has_responded {
            return Some(format!("no request was sent to WebAdMIT; {}, then re-run the step", self.fix(error)));
        }
        self.run_history().id.map(|id| self.still_available_hint(error, id))
    }

    fn still_available_hint(&self, error: &anyhow::Error, id: Id) -> String {
        let (noun, fix, rerun) = (self.run_history().kind.run_noun(), self.fix(error), self.rerun(id));
        format!("the {noun} is still in WebAdMIT; {fix}, then {rerun}")
    }

    /// Returns how to fix an error of this machine.
    fn fix(&self, error: &anyhow::Error) -> String {
        // Only the file of a single export can have another name.
        let accepts_filename = self.history.only_run().is_some_and(|run| run.kind == RunKind::Export);
        match error.downcast_ref() {
            Some(OutputPathConflict { input, .. }) if accepts_filename => format!("set filename, or another {input}"),
            Some(OutputPathConflict { input, .. }) => format!("set another {input}"),
            None => "fix the problem".to_owned(),
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
                let (source, run, inputs) = (kind.source_noun(), kind.run_noun(), self.latest_inputs());
                format!(
                    "check in WebAdMIT whether the {source} has run, and under which identity; without {inputs}, this step starts a {run}"
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
            (0, _) if normalize(self.words()).contains('"') => {
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
            0 if normalize(name).starts_with(['"', '\'']) => "remove the quotes".to_owned(),
            0 if name.contains("\\n") => {
                "put each name on a line of its own; \\n is not a line break in quotes of a shell, so press Enter there".to_owned()
            }
            0 if name.contains([',', ';']) || name.starts_with("- ") => {
                "use the exact name from WebAdMIT; if these are several names, put each on a line of its own, without commas or hyphens around it".to_owned()
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

    /// Whether the run continues in WebAdMIT, as far as it is known.
    fn is_in_progress(&self) -> bool {
        self.run_history().status().map_or(self.has_started_run(), Status::is_in_progress)
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
        // The URL of a run contains either the export or the identity.
        let (inputs, has_changing_id) = match run.run {
            RunSelector::Id(_) if run.kind == RunKind::PdfBatch => {
                (format!("{identity} and {}", run.kind.run_input()), is_identity_id)
            }
            RunSelector::Id(_) => (format!("{source} and {}", run.kind.run_input()), is_source_id),
            RunSelector::Latest | RunSelector::New => {
                (format!("{identity} and {source}"), is_source_id || is_identity_id)
            }
        };
        (inputs, if has_changing_id { ID_NOTE } else { "" })
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
            (Endpoint::Store, kind) => self.store_hint(kind),
        }
    }

    fn store_hint(&self, kind: ErrorKind) -> String {
        let run = self.run_history();
        let (noun, rerun) = (run.kind.run_noun(), run.id.map(|id| self.rerun(id)));
        let has_downloaded = run.progress.is_some() || self.history.runs.iter().any(|run| !run.saved.is_empty());
        match (kind, rerun) {
            (ErrorKind::Status(404), _) => {
                format!("the store does not have the file; re-run the step later, or {}", self.new_run_remedy())
            }
            (ErrorKind::Connect, rerun) if !has_downloaded => format!(
                "check that a firewall or proxy allows this host, which is not WebAdMIT's; then {}",
                rerun.unwrap_or_else(|| "re-run the step".to_owned())
            ),
            (_, Some(rerun)) => format!("{rerun}; WebAdMIT keeps the {noun} and its file for a while"),
            (_, None) => "re-run the step".to_owned(),
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
                // The URL of a batch contains the identity instead of the template.
                let owner = if run.kind == RunKind::PdfBatch { "identity" } else { source_noun };
                let order =
                    if self.history.runs.len() > 1 { "; ids of several are in the order of the inputs" } else { "" };
                format!(
                    "check that the {noun} belongs to this {owner} ({inputs}), and that WebAdMIT still has it (it deletes {plural} after a while){order}{id_note}"
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
            ErrorKind::Connect if self.history.has_responded => NETWORK_OUTAGE.to_owned(),
            ErrorKind::Unreadable if self.history.has_responded => OUTAGE.to_owned(),
            ErrorKind::Redirect | ErrorKind::Connect | ErrorKind::Unreadable => {
                "check base-url, and whether this machine needs a proxy".to_owned()
            }
            ErrorKind::Status(500..) => OUTAGE.to_owned(),
            ErrorKind::Status(_) => format!("WebAdMIT rejected the request; check {inputs}, and base-url"),
            _ if self.history.has_responded => NETWORK_OUTAGE.to_owned(),
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

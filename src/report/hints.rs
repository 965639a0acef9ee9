//! The hint: the last line of an error message, which says what the user can do.

use super::message::MessageBuilder;
use crate::config::{ExportSelector, IdentitySelector, RunSelector};
use crate::error::{LookupTarget, StepError};
use crate::http::error::{Endpoint, ErrorKind, RequestError};
use crate::report::outputs::OutputFileConflict;
use crate::webadmit::resolve::ResolveError;
use crate::webadmit::status::Status;

const PROXY_CREDENTIALS: &str =
    "put the proxy's user name and password into its variable, as in HTTPS_PROXY=http://user:password@host:port";

const OUTAGE: &str = "WebAdMIT is having problems; re-run the step later";

impl MessageBuilder<'_> {
    /// Returns the hint for an error, if there is one.
    pub(super) fn hint(&self, error: &StepError) -> Option<String> {
        match error {
            StepError::Request { failure, .. } => Some(self.request_hint(&failure.error)),
            StepError::IncompleteList { cause, .. } => self.hint(cause),
            StepError::Unresolved { target, error } => Some(self.lookup_hint(*target, error)),
            StepError::TimedOut => Some(self.timeout_hint()),
            StepError::Status(Status::EmptyList) => {
                Some("the export matched no applicants; if that is expected, set fail-on: failed".to_owned())
            }
            StepError::Status(Status::Failed) => Some(
                "WebAdMIT could not create the file; check the export in WebAdMIT, then re-run the step".to_owned(),
            ),
            StepError::Status(_) => Some(
                "check the export in WebAdMIT; without success_with_errors in fail-on, the step only warns".to_owned(),
            ),
            StepError::Local(error) => self.local_hint(error),
            StepError::Interrupted(_) => self.interrupted_hint(),
            StepError::Inputs(_) | StepError::Argument(_) => None,
        }
    }

    fn interrupted_hint(&self) -> Option<String> {
        let run = &self.history.run;
        let id = run.id.filter(|_| run.saved.is_none())?;
        Some(match run.status() {
            Some(status) if status.is_terminal() => format!("to download this run later, set export-file-id: {id}"),
            _ => format!("the run continues in WebAdMIT; to download it later, set export-file-id: {id}"),
        })
    }

    fn timeout_hint(&self) -> String {
        let run = &self.history.run;
        match (&run.failure, run.id) {
            (Some(failure), _) => self.request_hint(&failure.error),
            (None, Some(id)) if !run.status().is_some_and(Status::has_file) => {
                format!(
                    "the run continues in WebAdMIT; set a longer timeout, or export-file-id: {id} to wait for this run"
                )
            }
            (None, Some(id)) => format!("set a longer timeout, and export-file-id: {id} to download this run"),
            (None, None) => "set a longer timeout".to_owned(),
        }
    }

    fn local_hint(&self, error: &anyhow::Error) -> Option<String> {
        let run = &self.history.run;
        let is_conflict = error.is::<OutputFileConflict>();
        let fix = if is_conflict { "set filename, or another output-file" } else { "fix the problem" };

        match (&run.saved, run.id) {
            (Some(_), _) => Some(format!("later steps do not get the outputs; {fix}, then re-run the step")),
            (None, Some(id)) => {
                Some(format!("the run is still in WebAdMIT; {fix}, then re-run the step with export-file-id: {id}"))
            }
            (None, None) if !self.history.has_responded => {
                Some(format!("no request was sent to WebAdMIT; {fix}, then re-run the step"))
            }
            (None, None) => None,
        }
    }

    fn lookup_hint(&self, target: LookupTarget, error: &ResolveError) -> String {
        if self.is_list_row(target) {
            let (input, column) = match target {
                LookupTarget::IdentityWords => ("identity", "INPUT"),
                LookupTarget::ExportName | LookupTarget::LatestRun => ("export-name", "NAME"),
            };
            return format!(
                "this looks like a row of a list; set {input} to the value in the column {column} of webadmit-export list"
            );
        }

        let is_newest_cycle = self.history.identity.as_ref().is_some_and(|identity| identity.is_newest_cycle);
        let hint = match (target, error.matching, error.total) {
            (LookupTarget::IdentityWords, ..) if error.is_id => {
                "this is an id; set it as user-identity-id, or set identity to words"
            }
            (LookupTarget::ExportName, ..) if error.is_id => {
                "this is an id; set it as export-id, or set export-name to the name"
            }
            (LookupTarget::IdentityWords, ..) if self.is_yaml() => {
                "set only the value, without `identity:` and without the single quotes, which belong to YAML"
            }
            (LookupTarget::IdentityWords, _, 0) => {
                "in WebAdMIT, the key's user needs the permission API Access for each identity"
            }
            (LookupTarget::IdentityWords, 0, _) if self.has_quotes() => {
                "double quotes match a whole field, such as \"SOPHAS\" \"2026 - 2027\"; without quotes, parts of words match as well"
            }
            (LookupTarget::IdentityWords, 0, _) => "use words from this list",
            (LookupTarget::IdentityWords, ..) => {
                "add a word that only the right identity has, or match a whole field with double quotes, in YAML as '\"SOPHAS\"', which does not match SOPHAS Express"
            }
            (LookupTarget::ExportName, 0, _) if self.has_quotes() => "remove the quotes",
            (LookupTarget::ExportName, 0, _) if is_newest_cycle => {
                "use the exact name from WebAdMIT; if the new cycle does not have the export yet, add both years of the older cycle to identity"
            }
            (LookupTarget::ExportName, 0, _) => {
                "use the exact name from WebAdMIT; the export may belong to another identity"
            }
            (LookupTarget::ExportName, ..) if self.history.identity.is_none() => {
                "set identity to the identity that has the export, or set export-id instead"
            }
            (LookupTarget::ExportName, ..) => "set export-id instead, or rename one of them in WebAdMIT",
            (LookupTarget::LatestRun, ..) => {
                return "check in WebAdMIT whether the export has run, and under which identity; without export-file-id, this step starts a run".to_owned();
            }
        };
        format!("{hint}; webadmit-export list shows everything that the key can see")
    }

    /// Whether an input looks like a row copied from a list: `86446  305  Nightly Applicants`.
    fn is_list_row(&self, target: LookupTarget) -> bool {
        let request = self.context.request;
        let text = request.and_then(|request| match (target, &request.identity, &request.export) {
            (LookupTarget::IdentityWords, Some(IdentitySelector::Words(words)), _) => Some(words),
            (LookupTarget::ExportName, _, ExportSelector::Name(name)) => Some(name),
            _ => None,
        });
        let first_column = text.and_then(|text| text.trim().split_once("  "));
        first_column.is_some_and(|(id, _)| id.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// Whether the identity is YAML copied from a list: `identity: '"SOPHAS"'`, or its value with the single quotes.
    fn is_yaml(&self) -> bool {
        match self.context.request.and_then(|request| request.identity.as_ref()) {
            Some(IdentitySelector::Words(words)) => {
                words.starts_with("identity:") || words.starts_with('\'') && words.ends_with('\'')
            }
            _ => false,
        }
    }

    /// Whether the input that was looked up contains quotes.
    fn has_quotes(&self) -> bool {
        const QUOTES: [char; 4] = ['"', '\'', '“', '„'];

        let Some(request) = self.context.request else { return false };
        let name = if let ExportSelector::Name(name) = &request.export { name } else { "" };
        let words = if let Some(IdentitySelector::Words(words)) = &request.identity { words } else { "" };
        let is_name_quoted = name.starts_with(QUOTES);
        match self.history.identity {
            Some(_) => is_name_quoted,
            None => words.contains(QUOTES) || words.is_empty() && is_name_quoted,
        }
    }

    /// Whether this step started the run.
    fn has_started_run(&self) -> bool {
        let is_new = self.context.request.is_some_and(|request| request.run == RunSelector::New);
        is_new && self.history.run.id.is_some()
    }

    /// Whether the first request is one without an id, for a list that every key can see.
    fn starts_with_list(&self) -> bool {
        self.context.request.is_none_or(|request| match (&request.identity, &request.export) {
            (Some(IdentitySelector::Words(_)), _) => request.uses_identity(),
            (Some(IdentitySelector::Id(_)), _) => false,
            (None, export) => matches!(export, ExportSelector::Name(_)),
        })
    }

    /// Returns the inputs that select the run, and a note on ids if one of them is an id.
    fn selecting_inputs(&self) -> (String, &'static str) {
        const ID_NOTE: &str = "; ids change with each application cycle, names do not";

        let Some(request) = self.context.request else { return ("the key".to_owned(), "") };
        let (export, is_export_id) = match request.export {
            ExportSelector::Id(_) => ("export-id", true),
            ExportSelector::Name(_) => ("export-name", false),
        };
        let (identity, is_identity_id) = match request.identity {
            Some(IdentitySelector::Words(_)) => ("identity", false),
            _ => ("user-identity-id", true),
        };
        match request.run {
            RunSelector::Id(_) => (format!("{export} and export-file-id"), ID_NOTE),
            RunSelector::Latest | RunSelector::New if is_export_id || is_identity_id => {
                (format!("{identity} and {export}"), ID_NOTE)
            }
            RunSelector::Latest | RunSelector::New => (format!("{identity} and {export}"), ""),
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
            (Endpoint::Store, _) => match self.history.run.id {
                Some(run) => format!("re-run the step with export-file-id: {run}; WebAdMIT keeps the run and its file for a while"),
                None => "re-run the step".to_owned(),
            },
        }
    }

    fn api_hint(&self, kind: ErrorKind) -> String {
        let (inputs, id_note) = self.selecting_inputs();
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
                "WebAdMIT does not find the run that it started; re-run the step later".to_owned()
            }
            ErrorKind::Status(404) if self.history.run.id.is_some() => {
                format!(
                    "check that the run belongs to this export ({inputs}), and that WebAdMIT still has it (it deletes runs after a while){id_note}"
                )
            }
            ErrorKind::Status(404) => {
                format!("check {inputs}{id_note}; the key's user must be able to see the export")
            }
            ErrorKind::Status(407) => PROXY_CREDENTIALS.to_owned(),
            ErrorKind::Status(429) | ErrorKind::RateLimited => {
                "this key has no calls left; re-run the step later, and check what else uses the key".to_owned()
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

//! What a person can do about a failure: the last line of its message.

use super::message::MessageBuilder;
use crate::config::{ExportSelector, IdentitySelector, RunSelector};
use crate::error::{LookupTarget, StepError};
use crate::http::error::{Endpoint, ErrorKind, RequestError};
use crate::webadmit::resolve::ResolveError;
use crate::webadmit::status::Status;

const PROXY_PASSWORD: &str =
    "a proxy asks for a user name and a password: put them into its variable, as in http://user:password@host:port";

impl MessageBuilder<'_> {
    /// The hint, where one is known.
    pub(super) fn hint(&self, error: &StepError) -> Option<String> {
        match error {
            StepError::Request { failure, .. } => self.request_error_hint(&failure.error),
            StepError::Incomplete { cause, .. } => self.hint(cause),
            StepError::Unresolved { target, resolve_error } => Some(self.name_hint(*target, resolve_error)),
            StepError::TimedOut => match (&self.history.failure, self.history.run) {
                (Some(failure), _) => self.request_error_hint(&failure.error),
                (None, Some(run)) if !self.history.status().is_some_and(Status::has_file) => Some(format!(
                    "the run may still be going on: give a longer timeout, or wait for this very run with export-file-id {run}"
                )),
                (None, Some(run)) => {
                    Some(format!("give a longer timeout, and take this run again with export-file-id {run}"))
                }
                (None, None) => Some("give a longer timeout".to_owned()),
            },
            StepError::Status(Status::EmptyList) => {
                Some("the export found no applicants; where that is in order, set fail-on: failed".to_owned())
            }
            StepError::Status(Status::Failed) => {
                Some("WebAdMIT could not make the file: look at the export there, and run it once more".to_owned())
            }
            StepError::Status(_) => {
                Some("WebAdMIT met errors while it made the file: look at the export there".to_owned())
            }
            StepError::Local(_) if self.history.saved.is_some() => {
                Some("the following steps do not get the outputs: put this right, and run the step again".to_owned())
            }
            StepError::Interrupted(_) if self.history.saved.is_some() => None,
            StepError::Local(_) | StepError::Interrupted(_) => match (self.history.run, error) {
                (Some(run), StepError::Local(_)) => {
                    Some(format!("put this right, and take the run with export-file-id {run}: it stays in WebAdMIT"))
                }
                (Some(run), _) => Some(format!("the run stays in WebAdMIT: take it with export-file-id {run}")),
                // What this machine lacks was found out before the first request.
                (None, StepError::Local(_)) if !self.history.answered => {
                    Some("nothing was asked of WebAdMIT: put this right, and run the step again".to_owned())
                }
                (None, _) => None,
            },
            StepError::Inputs(_) | StepError::Argument(_) => None,
        }
    }

    fn name_hint(&self, target: LookupTarget, resolve_error: &ResolveError) -> String {
        let is_newest = self.history.identity.as_ref().is_some_and(|identity| identity.is_newest);
        let hint = match (target, resolve_error.matching, resolve_error.total) {
            (LookupTarget::IdentityWords, ..) if resolve_error.is_id => {
                "that is an id: give it as user-identity-id, or words instead"
            }
            (LookupTarget::ExportName, ..) if resolve_error.is_id => {
                "that is an id: give it as export-id, or the name instead"
            }
            (LookupTarget::IdentityWords, _, 0) => {
                "in WebAdMIT, the key's user needs the permission API Access for each of their identities"
            }
            (LookupTarget::IdentityWords, 0, _) if self.has_quotes() => {
                "in double quotes stands the whole of one text, such as \"SOPHAS\" \"2026 - 2027\"; without quotes, words and parts of words do"
            }
            (LookupTarget::IdentityWords, 0, _) => "take words from this list",
            (LookupTarget::IdentityWords, ..) => {
                "add a word that only the right one has, or mark a whole text with double quotes, in YAML as '\"SOPHAS\"', which does not fit SOPHAS Express"
            }
            (LookupTarget::ExportName, 0, _) if self.has_quotes() => "leave the quotes out",
            (LookupTarget::ExportName, 0, _) if is_newest => {
                "write the whole name as it stands in WebAdMIT; if this new cycle does not have the export yet, hold on to the older one with both its years in identity"
            }
            (LookupTarget::ExportName, 0, _) => {
                "write the whole name as it stands in WebAdMIT; or is it an export of another identity?"
            }
            (LookupTarget::ExportName, ..) if self.history.identity.is_none() => {
                "say with identity whose export it is, or give its id as export-id instead"
            }
            (LookupTarget::ExportName, ..) => {
                "give its id as export-id instead, or another name to one of them in WebAdMIT"
            }
            (LookupTarget::LatestRun, ..) => {
                "look in WebAdMIT whether and under which identity it was run; without export-file-id this step starts a run itself"
            }
        };
        let list = if target == LookupTarget::LatestRun { "" } else { "; webadmit-export list shows all there is" };
        format!("{hint}{list}")
    }

    /// Whether quotes came along with what was asked for.
    fn has_quotes(&self) -> bool {
        let Some(request) = self.context.request else { return false };
        let name = if let ExportSelector::Name(name) = &request.export { name } else { "" };
        let words = if let Some(IdentitySelector::Words(words)) = &request.identity { words } else { "" };
        match self.history.identity {
            Some(_) => name.starts_with(['"', '\'', '“', '„']),
            None => {
                words.contains(['"', '\'', '“', '„']) || words.is_empty() && name.starts_with(['"', '\'', '“', '„'])
            }
        }
    }

    /// Whether something is looked up before anything is asked that has an id in it.
    fn looks_up(&self) -> bool {
        self.context.request.is_none_or(|request| match (&request.identity, &request.export) {
            (Some(IdentitySelector::Words(_)), _) => request.uses_identity(),
            (Some(IdentitySelector::Id(_)), _) => false,
            (None, export) => matches!(export, ExportSelector::Name(_)),
        })
    }

    /// The inputs that say which run of which export, and a word about their ids where there are some.
    fn ids(&self) -> (String, &'static str) {
        const AN_ID: &str = "ids change with each application cycle, and ";
        let Some(request) = self.context.request else { return ("the key".to_owned(), "") };
        let (export, has_id) = match request.export {
            ExportSelector::Id(_) => ("export-id", true),
            ExportSelector::Name(_) => ("export-name", false),
        };
        let (identity, has_other_id) = match request.identity {
            Some(IdentitySelector::Words(_)) => ("identity", false),
            _ => ("user-identity-id", true),
        };
        match request.run {
            RunSelector::Id(_) => (format!("{export} and export-file-id"), AN_ID),
            RunSelector::Latest | RunSelector::New if has_id || has_other_id => {
                (format!("{identity} and {export}"), AN_ID)
            }
            RunSelector::Latest | RunSelector::New => (format!("{identity} and {export}"), ""),
        }
    }

    fn request_error_hint(&self, error: &RequestError) -> Option<String> {
        let (ids, of_ids) = self.ids();
        let hint = match (error.endpoint, error.kind) {
            (Endpoint::ApiClient, ErrorKind::Status(401)) => {
                "check the api-key: the API does not know it; for another WebAdMIT than the usual one, set base-url, too"
                    .to_owned()
            }
            (Endpoint::ApiClient, ErrorKind::Status(403)) => {
                format!("this key may not do that: check {ids}, and the rights of the key's user in WebAdMIT")
            }
            // Every key has a list of identities, and one of exports.
            (Endpoint::ApiClient, ErrorKind::Status(404)) if self.history.identity.is_none() && self.looks_up() => {
                "check base-url: is that really WebAdMIT?".to_owned()
            }
            (Endpoint::ApiClient, ErrorKind::Status(404)) if self.history.run.is_some() => {
                format!("check {ids}: is that a run of this export? {of_ids}runs go away after a while")
            }
            (Endpoint::ApiClient, ErrorKind::Status(404)) => {
                format!("check {ids}: {of_ids}the key's user must see what is asked for")
            }
            (Endpoint::ApiClient, ErrorKind::Status(407)) => {
                PROXY_PASSWORD.to_owned()
            }
            (_, ErrorKind::Connect) if error.message.contains("proxy authorization required") => PROXY_PASSWORD.to_owned(),
            (Endpoint::ApiClient, ErrorKind::Status(429) | ErrorKind::RateLimited) => {
                "this key has used up its calls for this hour: try again later, and see what else uses it".to_owned()
            }
            (_, ErrorKind::Certificate) => {
                "check base-url and the clock of this machine; where a proxy or a private host has its own authority, give its certificate as ca-file"
                    .to_owned()
            }
            (Endpoint::ApiClient, ErrorKind::Redirect | ErrorKind::Connect | ErrorKind::Unreadable) => {
                "check base-url, and whether a proxy stands between".to_owned()
            }
            (_, ErrorKind::WrongRun | ErrorKind::InvalidUrl | ErrorKind::TooLarge) => {
                "such an answer is never used; is base-url really WebAdMIT?".to_owned()
            }
            (Endpoint::ApiClient, ErrorKind::Status(500..)) => "WebAdMIT has a bad time: run the step again later".to_owned(),
            (Endpoint::ApiClient, ErrorKind::Status(_)) => {
                format!("WebAdMIT does not accept this request: check {ids}, and base-url")
            }
            (Endpoint::Store, ErrorKind::UnsupportedEncoding | ErrorKind::StoreRedirect) => {
                "does a proxy change what passes? It must leave what the store sends as it is".to_owned()
            }
            (Endpoint::Store, _) => match self.history.run {
                Some(run) => format!(
                    "run the step again, with export-file-id {run}: the run and its file stay in WebAdMIT for a while"
                ),
                None => "run the step again".to_owned(),
            },
            (Endpoint::ApiClient, _) if self.history.answered => "WebAdMIT has a bad time: run the step again later".to_owned(),
            (Endpoint::ApiClient, _) => "run the step again; does this machine reach WebAdMIT at all?".to_owned(),
        };
        Some(hint)
    }
}

//! What a person can do about a failure: the last line of its message.

use super::{Failure, Sought, Told};
use crate::choose::Unclear;
use crate::fault::{Fault, Kind, Side};
use crate::inputs::{Export, Identity, Run};
use crate::status::Status;

const PROXY_PASSWORD: &str =
    "a proxy asks for a user name and a password: put them into its variable, as in http://user:password@host:port";

impl Told<'_> {
    /// The hint, where one is known.
    pub(super) fn hint(&self, failure: &Failure) -> Option<String> {
        match failure {
            Failure::Fault { trouble, .. } => self.fault_hint(&trouble.fault),
            Failure::Incomplete { cause, .. } => self.hint(cause),
            Failure::Unclear { sought, unclear } => Some(self.name_hint(*sought, unclear)),
            Failure::TimedOut => match (&self.journal.trouble, self.journal.run) {
                (Some(trouble), _) => self.fault_hint(&trouble.fault),
                (None, Some(run)) if !self.journal.status().is_some_and(Status::has_file) => Some(format!(
                    "the run may still be going on: give a longer timeout, or wait for this very run with export-file-id {run}"
                )),
                (None, Some(run)) => {
                    Some(format!("give a longer timeout, and take this run again with export-file-id {run}"))
                }
                (None, None) => Some("give a longer timeout".to_owned()),
            },
            Failure::Status(Status::EmptyList) => {
                Some("the export found no applicants; where that is in order, set fail-on: failed".to_owned())
            }
            Failure::Status(Status::Failed) => {
                Some("WebAdMIT could not make the file: look at the export there, and run it once more".to_owned())
            }
            Failure::Status(_) => {
                Some("WebAdMIT met errors while it made the file: look at the export there".to_owned())
            }
            Failure::Local(_) if self.journal.saved.is_some() => {
                Some("the following steps do not get the outputs: put this right, and run the step again".to_owned())
            }
            Failure::Interrupted(_) if self.journal.saved.is_some() => None,
            Failure::Local(_) | Failure::Interrupted(_) => match (self.journal.run, failure) {
                (Some(run), Failure::Local(_)) => {
                    Some(format!("put this right, and take the run with export-file-id {run}: it stays in WebAdMIT"))
                }
                (Some(run), _) => Some(format!("the run stays in WebAdMIT: take it with export-file-id {run}")),
                // What this machine lacks was found out before the first request.
                (None, Failure::Local(_)) if !self.journal.answered => {
                    Some("nothing was asked of WebAdMIT: put this right, and run the step again".to_owned())
                }
                (None, _) => None,
            },
            Failure::Inputs(_) | Failure::Argument(_) => None,
        }
    }

    fn name_hint(&self, sought: Sought, unclear: &Unclear) -> String {
        let is_newest = self.journal.identity.as_ref().is_some_and(|identity| identity.is_newest);
        let hint = match (sought, unclear.fitting, unclear.of) {
            (Sought::Identity, ..) if unclear.is_id => "that is an id: give it as user-identity-id, or words instead",
            (Sought::Export, ..) if unclear.is_id => "that is an id: give it as export-id, or the name instead",
            (Sought::Identity, _, 0) => {
                "in WebAdMIT, the key's user needs the permission API Access for each of their identities"
            }
            (Sought::Identity, 0, _) if self.has_quotes() => {
                "in double quotes stands the whole of one text, such as \"SOPHAS\" \"2026 - 2027\"; without quotes, words and parts of words do"
            }
            (Sought::Identity, 0, _) => "take words from this list",
            (Sought::Identity, ..) => {
                "add a word that only the right one has, or mark a whole text with double quotes, in YAML as '\"SOPHAS\"', which does not fit SOPHAS Express"
            }
            (Sought::Export, 0, _) if self.has_quotes() => "leave the quotes out",
            (Sought::Export, 0, _) if is_newest => {
                "write the whole name as it stands in WebAdMIT; if this new cycle does not have the export yet, hold on to the older one with both its years in identity"
            }
            (Sought::Export, 0, _) => {
                "write the whole name as it stands in WebAdMIT; or is it an export of another identity?"
            }
            (Sought::Export, ..) if self.journal.identity.is_none() => {
                "say with identity whose export it is, or give its id as export-id instead"
            }
            (Sought::Export, ..) => "give its id as export-id instead, or another name to one of them in WebAdMIT",
            (Sought::Latest, ..) => {
                "look in WebAdMIT whether and under which identity it was run; without export-file-id this step starts a run itself"
            }
        };
        let list = if sought == Sought::Latest { "" } else { "; webadmit-export list shows all there is" };
        format!("{hint}{list}")
    }

    /// Whether quotes came along with what was asked for.
    fn has_quotes(&self) -> bool {
        let Some(wanted) = self.asked.wanted else { return false };
        let name = if let Export::Named(name) = &wanted.export { name } else { "" };
        let words = if let Some(Identity::Described(words)) = &wanted.identity { words } else { "" };
        match self.journal.identity {
            Some(_) => name.starts_with(['"', '\'', '“', '„']),
            None => {
                words.contains(['"', '\'', '“', '„']) || words.is_empty() && name.starts_with(['"', '\'', '“', '„'])
            }
        }
    }

    /// Whether something is looked up before anything is asked that has an id in it.
    fn looks_up(&self) -> bool {
        self.asked.wanted.is_none_or(|wanted| match (&wanted.identity, &wanted.export) {
            (Some(Identity::Described(_)), _) => wanted.uses_identity(),
            (Some(Identity::Id(_)), _) => false,
            (None, export) => matches!(export, Export::Named(_)),
        })
    }

    /// The inputs that say which run of which export, and a word about their ids where there are some.
    fn ids(&self) -> (String, &'static str) {
        const AN_ID: &str = "ids change with each application cycle, and ";
        let Some(wanted) = self.asked.wanted else { return ("the key".to_owned(), "") };
        let (export, has_id) = match wanted.export {
            Export::Id(_) => ("export-id", true),
            Export::Named(_) => ("export-name", false),
        };
        let (identity, has_other_id) = match wanted.identity {
            Some(Identity::Described(_)) => ("identity", false),
            _ => ("user-identity-id", true),
        };
        match wanted.run {
            Run::Existing(_) => (format!("{export} and export-file-id"), AN_ID),
            Run::Latest | Run::New if has_id || has_other_id => (format!("{identity} and {export}"), AN_ID),
            Run::Latest | Run::New => (format!("{identity} and {export}"), ""),
        }
    }

    fn fault_hint(&self, fault: &Fault) -> Option<String> {
        let (ids, of_ids) = self.ids();
        let hint = match (fault.side, fault.kind) {
            (Side::Api, Kind::Status(401)) => {
                "check the api-key: the API does not know it; for another WebAdMIT than the usual one, set base-url, too"
                    .to_owned()
            }
            (Side::Api, Kind::Status(403)) => {
                format!("this key may not do that: check {ids}, and the rights of the key's user in WebAdMIT")
            }
            // Every key has a list of identities, and one of exports.
            (Side::Api, Kind::Status(404)) if self.journal.identity.is_none() && self.looks_up() => {
                "check base-url: is that really WebAdMIT?".to_owned()
            }
            (Side::Api, Kind::Status(404)) if self.journal.run.is_some() => {
                format!("check {ids}: is that a run of this export? {of_ids}runs go away after a while")
            }
            (Side::Api, Kind::Status(404)) => {
                format!("check {ids}: {of_ids}the key's user must see what is asked for")
            }
            (Side::Api, Kind::Status(407)) => {
                PROXY_PASSWORD.to_owned()
            }
            (_, Kind::Connect) if fault.words.contains("proxy authorization required") => PROXY_PASSWORD.to_owned(),
            (Side::Api, Kind::Status(429) | Kind::RateLimited) => {
                "this key has used up its calls for this hour: try again later, and see what else uses it".to_owned()
            }
            (_, Kind::Certificate) => {
                "check base-url and the clock of this machine; where a proxy or a private host has its own authority, give its certificate as ca-file"
                    .to_owned()
            }
            (Side::Api, Kind::Redirect | Kind::Connect | Kind::Unreadable) => {
                "check base-url, and whether a proxy stands between".to_owned()
            }
            (_, Kind::OtherRun | Kind::BadUrl | Kind::TooLarge) => {
                "such an answer is never used; is base-url really WebAdMIT?".to_owned()
            }
            (Side::Api, Kind::Status(500..)) => "WebAdMIT has a bad time: run the step again later".to_owned(),
            (Side::Api, Kind::Status(_)) => {
                format!("WebAdMIT does not accept this request: check {ids}, and base-url")
            }
            (Side::Store, Kind::Coded | Kind::StoreRedirect) => {
                "does a proxy change what passes? It must leave what the store sends as it is".to_owned()
            }
            (Side::Store, _) => match self.journal.run {
                Some(run) => format!(
                    "run the step again, with export-file-id {run}: the run and its file stay in WebAdMIT for a while"
                ),
                None => "run the step again".to_owned(),
            },
            (Side::Api, _) if self.journal.answered => "WebAdMIT has a bad time: run the step again later".to_owned(),
            (Side::Api, _) => "run the step again; does this machine reach WebAdMIT at all?".to_owned(),
        };
        Some(hint)
    }
}

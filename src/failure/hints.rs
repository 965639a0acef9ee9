//! What a person can do about a failure: the last line of its message.

use super::{Failure, Sought, Told};
use crate::choose::Unclear;
use crate::fault::{Fault, Kind, Side};
use crate::inputs::{Export, Identity, Run};
use crate::status::Status;

impl Told<'_> {
    /// The hint, where one is known.
    pub(super) fn hint(&self, failure: &Failure) -> Option<String> {
        match failure {
            Failure::Fault { trouble, .. } => self.fault_hint(&trouble.fault),
            Failure::Unclear { sought, unclear } => Some(self.name_hint(*sought, unclear)),
            Failure::TimedOut => match (&self.journal.trouble, self.journal.run) {
                (Some(trouble), _) => self.fault_hint(&trouble.fault),
                (None, Some(run)) if !self.journal.status().is_some_and(Status::has_file) => Some(format!(
                    "the run may still be going on: give a longer timeout, or wait for this very run with export-file-id {run}"
                )),
                (None, _) => Some("give a longer timeout".to_owned()),
            },
            Failure::Status(Status::EmptyList) => {
                Some("the export found no applicants; take empty_list out of fail-on where that is in order".to_owned())
            }
            Failure::Status(Status::Failed) => {
                Some("WebAdMIT could not make the file: look at the export there, and run it once more".to_owned())
            }
            Failure::Status(_) => {
                Some("WebAdMIT met errors while it made the file: look at the export there".to_owned())
            }
            Failure::Local(_) | Failure::Interrupted(_) if self.journal.saved.is_some() => None,
            Failure::Local(_) | Failure::Interrupted(_) => match (self.journal.run, failure) {
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
        let hint = match (sought, unclear.fitting, unclear.of) {
            (Sought::Identity, ..) if unclear.is_id => "that is an id: give it as user-identity-id, or words instead",
            (Sought::Export, ..) if unclear.is_id => "that is an id: give it as export-id, or the name instead",
            (Sought::Identity, _, 0) => {
                "in WebAdMIT, the key's user needs the permission API Access for each of their identities"
            }
            (Sought::Identity, 0, _) => "take words from this list",
            (Sought::Identity, ..) => {
                "add a word that only the right one has, or put a whole text into double quotes: \"SOPHAS\" is not \"SOPHAS Express\""
            }
            (Sought::Export, 0, _) if self.was_described() => {
                "write the name as it stands in WebAdMIT; where a new cycle does not have this export yet, add the years of the old one to identity"
            }
            (Sought::Export, 0, _) => {
                "write the name as it stands in WebAdMIT; or is it an export of another identity?"
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

    /// Whether something is looked up before anything is asked that has an id in it.
    fn looks_up(&self) -> bool {
        self.asked.wanted.is_none_or(|wanted| match (&wanted.identity, &wanted.export) {
            (Some(Identity::Described(_)), _) => wanted.uses_identity(),
            (Some(Identity::Id(_)), _) => false,
            (None, export) => matches!(export, Export::Named(_)),
        })
    }

    /// Whether an identity was chosen by words.
    fn was_described(&self) -> bool {
        matches!(self.asked.wanted.and_then(|wanted| wanted.identity.as_ref()), Some(Identity::Described(_)))
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
                "check the api-key: the API does not know it (a trial at another host needs that host's base-url)"
                    .to_owned()
            }
            (Side::Api, Kind::Status(403)) => {
                format!("this key may not do that: check {ids}, and the rights of the key's user in WebAdMIT")
            }
            // Every key has a list of identities, and one of exports.
            (Side::Api, Kind::Status(404)) if self.journal.identity.is_none() && self.looks_up() => {
                "check base-url: is that really WebAdMIT?".to_owned()
            }
            (Side::Api, Kind::Status(404)) => {
                format!("check {ids}: {of_ids}the key's user must see what is asked for")
            }
            (Side::Api, Kind::Status(407)) => {
                "a proxy asks for a user name and a password: they belong into the proxy variable".to_owned()
            }
            (Side::Api, Kind::Status(429) | Kind::RateLimited) => {
                "this key has used up its calls for this hour: what else uses it?".to_owned()
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
                format!("WebAdMIT refuses this request for good: check {ids} and base-url")
            }
            (Side::Store, Kind::Coded | Kind::StoreRedirect) => {
                "stores do not do that: a proxy that stands between must leave its host alone".to_owned()
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

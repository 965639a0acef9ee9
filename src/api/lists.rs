//! The lists that a key can see: its identities, their exports, and the files that were made of them.
//!
//! An entry is only as good as its id: one without is left out. Everything else in it is words for people, cleaned
//! before it gets any further; what is missing is empty.

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{Api, WireId};
use crate::clean;
use crate::fault::Fault;
use crate::inputs::Id;
use crate::status::Status;

/// A list can be long: 8 MiB are some thirty thousand exports.
const LARGEST_LIST: usize = 8 << 20;

/// A standing in WebAdMIT under which a user sees applicants: of one association, one organization, one cycle. Its id is
/// another one in each cycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Its id.
    pub id: Id,
    /// `Admissions User`, `Association User` or `Institution User`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The application service: `SOPHAS`.
    pub association: String,
    /// The school or department.
    pub organization: String,
    /// The university.
    pub institution: String,
    /// The application cycle: `2026 - 2027`.
    pub cycle: String,
}

/// An export, as an office has defined it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Export {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// Which applicants it takes: `all`, `clipboard`, `search`.
    pub list_type: String,
    /// `Comma-Separated Values` and the like.
    pub format: String,
    /// `text/csv;charset=iso-8859-1` and the like.
    pub mime_type: String,
}

/// A file that an export has made, or is making: a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportFile {
    /// Its id.
    pub id: Id,
    /// The export that it is of.
    pub export: Id,
    /// How far it is.
    pub status: Status,
}

impl Api {
    /// The identities of the key's user (`GET /api/v1/user_identities`).
    ///
    /// # Errors
    ///
    /// A [`Fault`] for everything but a list.
    pub async fn identities(&self, limit: Duration) -> Result<Vec<Identity>, Fault> {
        #[derive(Deserialize)]
        struct List {
            user_identities: Vec<Wire>,
        }
        let entries = self.list("user_identities", limit, |list: List| list.user_identities).await?;
        let identity = |entry: Wire| {
            Some(Identity {
                id: entry.id()?,
                kind: self.shown(&entry.kind),
                association: self.shown(&entry.association),
                organization: self.shown(&entry.organization),
                institution: self.shown(&entry.institution),
                cycle: self.shown(&entry.cycle),
            })
        };
        Ok(distinct(entries.into_iter().filter_map(identity), |identity| identity.id))
    }

    /// The exports of an identity (`GET /api/v1/user_identities/:id/exports`), or without one those of all identities
    /// (`GET /api/v1/exports`).
    ///
    /// # Errors
    ///
    /// A [`Fault`] for everything but a list.
    pub async fn exports(&self, identity: Option<Id>, limit: Duration) -> Result<Vec<Export>, Fault> {
        #[derive(Deserialize)]
        struct List {
            exports: Vec<Wire>,
        }
        let path = identity.map_or_else(|| "exports".to_owned(), |id| format!("user_identities/{id}/exports"));
        let entries = self.list(&path, limit, |list: List| list.exports).await?;
        let export = |entry: Wire| {
            Some(Export {
                id: entry.id()?,
                name: self.shown(&entry.name),
                list_type: self.shown(&entry.list_type),
                format: self.shown(&entry.format),
                mime_type: self.shown(&entry.mime_type),
            })
        };
        Ok(distinct(entries.into_iter().filter_map(export), |export| export.id))
    }

    /// The files that were made lately under an identity (`GET /api/v1/user_identities/:id/export_files`).
    ///
    /// # Errors
    ///
    /// A [`Fault`] for everything but a list.
    pub async fn export_files(&self, identity: Id, limit: Duration) -> Result<Vec<ExportFile>, Fault> {
        #[derive(Deserialize)]
        struct List {
            export_files: Vec<Wire>,
        }
        let path = format!("user_identities/{identity}/export_files");
        let entries = self.list(&path, limit, |list: List| list.export_files).await?;
        let file = |entry: Wire| {
            let status = Status::read(&self.conceal(&entry.status.0));
            Some(ExportFile { id: entry.id()?, export: entry.export_id.as_ref()?.read()?, status })
        };
        Ok(distinct(entries.into_iter().filter_map(file), |file| file.id))
    }

    async fn list<T: for<'a> Deserialize<'a>>(
        &self,
        path: &str,
        limit: Duration,
        entries: impl FnOnce(T) -> Vec<Wire>,
    ) -> Result<Vec<Wire>, Fault> {
        let (headers, body) = self.ask(Method::GET, path, limit, LARGEST_LIST).await?;
        Ok(entries(self.parse(&body, &headers, "the list that was asked for")?))
    }

    fn shown(&self, text: &Text) -> String {
        clean::words(&self.conceal(&text.0))
    }
}

/// The entries in their order, each id once.
fn distinct<T>(entries: impl Iterator<Item = T>, id: impl Fn(&T) -> Id) -> Vec<T> {
    let mut seen = std::collections::BTreeSet::new();
    entries.filter(|entry| seen.insert(id(entry))).collect()
}

/// An entry of any of the lists.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    id: Option<WireId>,
    export_id: Option<WireId>,
    name: Text,
    list_type: Text,
    format: Text,
    mime_type: Text,
    status: Text,
    #[serde(rename = "type")]
    kind: Text,
    association: Text,
    organization: Text,
    institution: Text,
    cycle: Text,
}

impl Identity {
    /// What it is called, in one line: what is empty is left out.
    #[must_use]
    pub fn title(&self) -> String {
        let cycle = if self.cycle.is_empty() { String::new() } else { format!("cycle {}", self.cycle) };
        let parts = [&self.association, &cycle, &self.organization, &self.institution];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() { "without a name".to_owned() } else { parts.join(", ") }
    }
}

impl Wire {
    fn id(&self) -> Option<Id> {
        self.id.as_ref()?.read()
    }
}

/// Words. A cycle may come as a number; what is neither is no words.
#[derive(Deserialize, Default)]
#[serde(from = "Said")]
struct Text(String);

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Words(String),
    Number(u64),
    Other(serde::de::IgnoredAny),
}

impl From<Said> for Text {
    fn from(said: Said) -> Self {
        match said {
            Said::Words(words) => Self(words),
            Said::Number(number) => Self(number.to_string()),
            Said::Other(_) => Self::default(),
        }
    }
}

//! The lists that a key can see: its identities, their exports, and the files that were made of them.
//!
//! An entry is only as good as its id: one without is left out. Everything else in it is words for people, cleaned
//! before it gets any further; what is missing is empty.

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Api;
use super::scalar::Scalar;
use crate::clean;
use crate::fault::{Fault, Kind};
use crate::inputs::Id;
use crate::status::Status;

/// A list can be long, but not without end: 8 MiB are some thirty thousand exports.
const LARGEST_LIST: usize = 8 << 20;

/// So many entries are taken of a list: without this bound, 8 MiB of empty ones would become 800 MiB of memory.
const MOST_ENTRIES: usize = 30_000;

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
    /// Its name, fit to be shown.
    pub name: String,
    /// Its name as it is compared with another one: all of it.
    #[serde(skip)]
    pub folded: String,
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
            user_identities: Entries,
        }
        let entries = self.list("user_identities", limit, |list: List| list.user_identities).await?;
        let identity = |entry: Wire| {
            Some(Identity {
                id: entry.id.id()?,
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
            exports: Entries,
        }
        let path = identity.map_or_else(|| "exports".to_owned(), |id| format!("user_identities/{id}/exports"));
        let entries = self.list(&path, limit, |list: List| list.exports).await?;
        let export = |entry: Wire| {
            Some(Export {
                id: entry.id.id()?,
                name: self.shown(&entry.name),
                folded: clean::fold(&entry.name.words()),
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
            export_files: Entries,
        }
        let path = format!("user_identities/{identity}/export_files");
        let entries = self.list(&path, limit, |list: List| list.export_files).await?;
        let file = |entry: Wire| {
            let status = Status::read(&self.secrets.conceal(&entry.status.words()));
            Some(ExportFile { id: entry.id.id()?, export: entry.export_id.id()?, status })
        };
        Ok(distinct(entries.into_iter().filter_map(file), |file| file.id))
    }

    async fn list<T: for<'a> Deserialize<'a>>(
        &self,
        path: &str,
        limit: Duration,
        entries: impl FnOnce(T) -> Entries,
    ) -> Result<Vec<Wire>, Fault> {
        let (headers, body) = self.ask(Method::GET, path, limit, LARGEST_LIST).await?;
        let Entries { kept, more } = entries(self.parse(&body, &headers, "the list that was asked for")?);
        if more {
            let words = format!("{} sent a list of more than {MOST_ENTRIES} entries", self.host());
            return Err(Fault::api(Kind::TooLarge, words));
        }
        Ok(kept)
    }

    fn shown(&self, said: &Scalar) -> String {
        self.words(&said.words())
    }
}

/// The entries in their order, each id once.
fn distinct<T>(entries: impl Iterator<Item = T>, id: impl Fn(&T) -> Id) -> Vec<T> {
    let mut seen = std::collections::BTreeSet::new();
    entries.filter(|entry| seen.insert(id(entry))).collect()
}

/// The entries of a list, as many as are taken.
struct Entries {
    kept: Vec<Wire>,
    /// Whether there were more.
    more: bool,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
                let mut kept = Vec::new();
                while kept.len() < MOST_ENTRIES {
                    let Some(entry) = list.next_element()? else { return Ok(Entries { kept, more: false }) };
                    kept.extend::<Option<Wire>>(entry);
                }
                let more = list.next_element::<IgnoredAny>()?.is_some();
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Entries { kept, more })
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// An entry of any of the lists.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    id: Scalar,
    export_id: Scalar,
    name: Scalar,
    list_type: Scalar,
    format: Scalar,
    mime_type: Scalar,
    status: Scalar,
    #[serde(rename = "type")]
    kind: Scalar,
    association: Scalar,
    organization: Scalar,
    institution: Scalar,
    cycle: Scalar,
}

impl Identity {
    /// What it is called, in one line: what is empty is left out.
    #[must_use]
    pub fn title(&self) -> String {
        let parts = [&self.association, &self.cycle, &self.organization, &self.institution];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() { "without a name".to_owned() } else { parts.join(", ") }
    }
}

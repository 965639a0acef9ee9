//! The lists that a key can see: its identities, their exports, and the files that were made of them.
//!
//! An entry is only as good as its id: one without is left out. Everything else in it is a [`Label`]; what is missing is
//! empty.

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ApiClient;
use super::scalar::Scalar;
use crate::config::Id;
use crate::http::error::{ErrorKind, RequestError};
use crate::text::redact::Redactor;
use crate::text::sanitize;
use crate::webadmit::status::Status;

/// A list can be long, but not without end: 8 MiB are some thirty thousand exports.
const MAX_LIST_SIZE: usize = 8 << 20;

/// So many entries are taken of a list: without this bound, 8 MiB of empty ones would become 800 MiB of memory.
const MAX_ENTRIES: usize = 30_000;

/// A text of an entry. Its `Display` is for people: one line, fit to be shown. Serialized it is for programs, and unchanged.
/// Secrets are in neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// As it was sent, with secrets redacted.
    sent: String,
    /// As it is compared with another text: all of it.
    pub folded: String,
}

impl Label {
    /// Returns the label for a text of the server.
    #[must_use]
    pub fn new(text: &str, redactor: &Redactor) -> Self {
        Self { sent: redactor.redact(text).into_owned(), folded: sanitize::normalize(text) }
    }

    /// Whether there is nothing to be shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sanitize::excerpt(&self.sent))
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.sent)
    }
}

/// A standing in WebAdMIT under which a user sees applicants: of one association, one organization, one cycle. Its id is
/// another one in each cycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Its id.
    pub id: Id,
    /// `Admissions User`, `Association User` or `Institution User`.
    #[serde(rename = "type")]
    pub kind: Label,
    /// The application service: `SOPHAS`.
    pub association: Label,
    /// The school or department.
    pub organization: Label,
    /// The university.
    pub institution: Label,
    /// The application cycle: `2026 - 2027`.
    pub cycle: Label,
}

/// An export, as an office has defined it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Export {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: Label,
    /// Which applicants it takes: `all`, `clipboard`, `search`.
    pub list_type: Label,
    /// `Comma-Separated Values` and the like.
    pub format: Label,
    /// `text/csv;charset=iso-8859-1` and the like.
    pub mime_type: Label,
}

/// A file that an export has made, or is making: a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRun {
    /// Its id.
    pub id: Id,
    /// The export that it is of.
    pub export: Id,
    /// How far it is.
    pub status: Status,
}

impl ApiClient {
    /// The identities of the key's user (`GET /api/v1/user_identities`).
    ///
    /// # Errors
    ///
    /// A [`RequestError`] for everything but a list.
    pub async fn identities(&self, limit: Duration) -> Result<Vec<Identity>, RequestError> {
        let (headers, body) = self.send(Method::GET, "user_identities", limit, MAX_LIST_SIZE).await?;
        self.read_identities(&body, &headers)
    }

    fn read_identities(&self, body: &[u8], headers: &HeaderMap) -> Result<Vec<Identity>, RequestError> {
        #[derive(Deserialize)]
        struct List {
            user_identities: Entries,
        }
        let entries = self.entries(body, headers, |list: List| list.user_identities)?;
        let identity = |entry: Wire| {
            Some(Identity {
                id: entry.id.id()?,
                kind: self.label(&entry.kind),
                association: self.label(&entry.association),
                organization: self.label(&entry.organization),
                institution: self.label(&entry.institution),
                cycle: self.label(&entry.cycle),
            })
        };
        Ok(distinct(entries.into_iter().filter_map(identity), |identity| identity.id))
    }

    /// The exports of an identity (`GET /api/v1/user_identities/:id/exports`), or without one those of all identities
    /// (`GET /api/v1/exports`).
    ///
    /// # Errors
    ///
    /// A [`RequestError`] for everything but a list.
    pub async fn exports(&self, identity: Option<Id>, limit: Duration) -> Result<Vec<Export>, RequestError> {
        let path = identity.map_or_else(|| "exports".to_owned(), |id| format!("user_identities/{id}/exports"));
        let (headers, body) = self.send(Method::GET, &path, limit, MAX_LIST_SIZE).await?;
        self.read_exports(&body, &headers)
    }

    fn read_exports(&self, body: &[u8], headers: &HeaderMap) -> Result<Vec<Export>, RequestError> {
        #[derive(Deserialize)]
        struct List {
            exports: Entries,
        }
        let entries = self.entries(body, headers, |list: List| list.exports)?;
        let export = |entry: Wire| {
            Some(Export {
                id: entry.id.id()?,
                name: self.label(&entry.name),
                list_type: self.label(&entry.list_type),
                format: self.label(&entry.format),
                mime_type: self.label(&entry.mime_type),
            })
        };
        Ok(distinct(entries.into_iter().filter_map(export), |export| export.id))
    }

    /// The files that were made lately under an identity (`GET /api/v1/user_identities/:id/export_files`).
    ///
    /// # Errors
    ///
    /// A [`RequestError`] for everything but a list.
    pub async fn export_files(&self, identity: Id, limit: Duration) -> Result<Vec<ListedRun>, RequestError> {
        let path = format!("user_identities/{identity}/export_files");
        let (headers, body) = self.send(Method::GET, &path, limit, MAX_LIST_SIZE).await?;
        self.read_export_files(&body, &headers)
    }

    fn read_export_files(&self, body: &[u8], headers: &HeaderMap) -> Result<Vec<ListedRun>, RequestError> {
        #[derive(Deserialize)]
        struct List {
            export_files: Entries,
        }
        let entries = self.entries(body, headers, |list: List| list.export_files)?;
        let file = |entry: Wire| {
            let status = Status::read(&self.redactor.redact(&entry.status.words()));
            Some(ListedRun { id: entry.id.id()?, export: entry.export_id.id()?, status })
        };
        Ok(distinct(entries.into_iter().filter_map(file), |file| file.id))
    }

    fn entries<T: for<'a> Deserialize<'a>>(
        &self,
        body: &[u8],
        headers: &HeaderMap,
        entries: impl FnOnce(T) -> Entries,
    ) -> Result<Vec<Wire>, RequestError> {
        let Entries { kept, more } = entries(self.parse(body, headers, "the list that was asked for")?);
        if more {
            let words = format!("{} sent a list of more than {MAX_ENTRIES} entries", self.host());
            return Err(RequestError::api(ErrorKind::TooLarge, words));
        }
        Ok(kept)
    }

    fn label(&self, said: &Scalar) -> Label {
        Label::new(&said.words(), &self.redactor)
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
                while kept.len() < MAX_ENTRIES {
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
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).map(Label::to_string).collect();
        if parts.is_empty() { "without a name".to_owned() } else { parts.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    /// Lists that have been, or could be, seen.
    const LISTS: [&str; 11] = [
        r#"{"href":"/api/v1/exports","exports":[{"id":86446,"name":"Nightly Applicants","list_type":"all","format":"x"}]}"#,
        r#"{"user_identities":[{"id":305,"type":"User","association":"SOPHAS","organization":"x","cycle":"2026 - 2027"}]}"#,
        r#"{"export_files":[{"id":"9","export_id":86446,"status":"In Progress"},{"id":10,"export_id":"5","status":null}]}"#,
        r#"{"exports":[null,{},[],{"id":0},{"id":-1},{"id":1.5},{"id":"+7"},{"id":99999999999999999999}]}"#,
        r#"{"exports":[5,"x",true]}"#,
        r#"{"exports":[{"id":1,"name":{"deep":[[[{}]]]}},{"id":1,"name":"again"}]}"#,
        r#"{"exports":[{"id":2,"name":"\u0000\n::error::x\u2028##[error]y https://s3/x?Signature=z"}]}"#,
        r#"{"exports":{"id":1,"name":"one object"}}"#,
        r#"[{"id":1,"name":"no envelope"}]"#,
        r#"{"exports":[{"id":1,"id":2}]}"#,
        "",
    ];

    #[test]
    fn an_entry_is_taken_for_its_id_and_each_id_once() {
        let api = super::super::client::tests::api("https://api.example");
        let ids = |body: &str| {
            let exports = api.read_exports(body.as_bytes(), &HeaderMap::new());
            exports
                .map(|exports| exports.iter().map(|export| export.id.0).collect::<Vec<_>>())
                .map_err(|error| error.kind)
        };
        assert_eq!(ids(LISTS[0]), Ok(vec![86446]));
        let name = |body: &str| {
            let exports = api.read_exports(body.as_bytes(), &HeaderMap::new()).unwrap();
            (exports[0].name.to_string(), exports[0].name.folded.clone())
        };
        assert_eq!(name(LISTS[0]), ("Nightly Applicants".to_owned(), "nightly applicants".to_owned()));
        assert_eq!(name(LISTS[6]).0, "::error::x # #[error]y https://s3/x?…");
        assert_eq!(ids(LISTS[3]), Ok(vec![]));
        assert_eq!(ids(LISTS[4]), Err(ErrorKind::Unreadable));
        assert_eq!(ids(LISTS[5]), Ok(vec![1]));
        assert_eq!(ids(LISTS[7]), Err(ErrorKind::Unreadable));
        let many = |number: usize| format!("{{\"exports\":[{}{{}}]}}", "{},".repeat(number - 1));
        assert_eq!((ids(&many(MAX_ENTRIES)), ids(&many(MAX_ENTRIES + 1))), (Ok(vec![]), Err(ErrorKind::TooLarge)));
    }

    #[test]
    fn a_label_is_compared_in_full_and_shown_without_secrets() {
        let label = |text: &str| Label::new(text, &Redactor::default());
        let (one, other) = (label("Report  sig=1\n"), label("report sig=2"));
        assert_ne!(one.folded, other.folded);
        assert_eq!((one.to_string().as_str(), one.folded.as_str()), ("Report sig=***", "report sig=1"));
        assert_eq!(serde_json::to_string(&[one, other]).unwrap(), r#"["Report  sig=***\n","report sig=***"]"#);
        assert!(label(" \n").is_empty() && !label("x").is_empty());
    }

    proptest! {
        #[test]
        fn of_no_list_more_is_taken_than_ids_and_clean_words(body in testing::mutated(&LISTS)) {
            let (api, headers) = (super::super::client::tests::api("https://api.example"), HeaderMap::new());
            let exports = api.read_exports(&body, &headers).unwrap_or_default();
            let identities = api.read_identities(&body, &headers).unwrap_or_default();
            let _ = api.read_export_files(&body, &headers);
            let names = exports.iter().map(|export| export.name.to_string());
            for words in names.chain(identities.iter().map(Identity::title)) {
                prop_assert!(!words.chars().any(sanitize::is_unprintable), "{words:?}");
                prop_assert!(!words.contains("##") && !words.contains("Signature=z"), "{words}");
            }
            let sent = serde_json::to_string(&(&exports, &identities)).unwrap();
            prop_assert!(!sent.contains("Signature=z"), "{sent}");
            prop_assert!(exports.iter().all(|export| export.id.0 > 0));
        }
    }
}

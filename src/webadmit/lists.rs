//! The API's lists: the identities that a key can see, their exports, and recent runs.
//!
//! Only an entry's id is required: entries without one are left out. Its texts are [`Label`]s, empty if missing.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::scalar::Scalar;
use super::{ApiClient, Id};
use crate::http::error::{ErrorKind, RequestError};
use crate::text::redact::Redactor;
use crate::text::sanitize;
use crate::webadmit::status::Status;

/// Maximum size of a list in bytes: enough for some thirty thousand exports.
const MAX_LIST_SIZE: usize = 8 << 20;

/// Maximum number of entries of a list. Bounds the memory: 8 MiB of empty entries would otherwise take 800 MiB.
const MAX_ENTRIES: usize = 30_000;

/// A text of an entry, without secrets. `Display` writes it in one line that is safe to show; `Serialize` does not change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Label {
    redacted: String,
    /// The whole text, normalized for comparisons.
    pub(crate) normalized: String,
}

impl Label {
    pub(crate) fn new(text: &str, redactor: &Redactor) -> Self {
        Self { redacted: redactor.redact_prefix(text).into_owned(), normalized: sanitize::normalize(text) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.normalized.is_empty()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sanitize::excerpt(&self.redacted))
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted)
    }
}

/// The role of a user in one organization for one application cycle. Its id differs from cycle to cycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Identity {
    pub(crate) id: Id,
    /// `Admissions User`, `Association User` or `Institution User`.
    #[serde(rename = "type")]
    pub(crate) kind: Label,
    /// The application service, such as `SOPHAS`.
    pub(crate) association: Label,
    /// The school or department.
    pub(crate) organization: Label,
    /// The university.
    pub(crate) institution: Label,
    /// The application cycle, such as `2026 - 2027`.
    pub(crate) cycle: Label,
}

impl Identity {
    /// Returns its association, cycle, organization and institution in one line, without those that are empty.
    pub(crate) fn title(&self) -> String {
        let labels = [&self.association, &self.cycle, &self.organization, &self.institution];
        let texts: Vec<String> = labels.into_iter().filter(|label| !label.is_empty()).map(Label::to_string).collect();

        if texts.is_empty() { "without a name".to_owned() } else { texts.join(", ") }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Export {
    pub(crate) id: Id,
    pub(crate) name: Label,
    /// The applicants that it contains: `all`, `clipboard` or `search`.
    pub(crate) list_type: Label,
    /// The file format, such as `Comma-Separated Values`.
    pub(crate) format: Label,
    /// The media type, such as `text/csv;charset=iso-8859-1`.
    pub(crate) mime_type: Label,
}

/// A run as a list shows it: without a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedRun {
    pub(crate) id: Id,
    pub(crate) export_id: Id,
    pub(crate) status: Status,
}

impl ApiClient {
    /// Requests the identities of the key's user (`GET /api/v1/user_identities`).
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the response is not a list.
    pub(crate) async fn identities(&self, timeout: Duration) -> Result<Vec<Identity>, RequestError> {
        let (headers, body) = self.send(Method::GET, "user_identities", timeout, MAX_LIST_SIZE).await?;
        self.parse_identities(&body, &headers)
    }

    fn parse_identities(&self, body: &[u8], headers: &HeaderMap) -> Result<Vec<Identity>, RequestError> {
        #[derive(Deserialize)]
        struct List {
            user_identities: RawEntries,
        }

        let entries = self.parse_entries(body, headers, |list: List| list.user_identities)?;
        let identity = |entry: RawEntry| {
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

    /// Requests the exports of an identity (`GET /api/v1/user_identities/:id/exports`), or of all identities
    /// (`GET /api/v1/exports`).
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the response is not a list.
    pub(crate) async fn exports(&self, identity: Option<Id>, timeout: Duration) -> Result<Vec<Export>, RequestError> {
        let path = identity.map_or_else(|| "exports".to_owned(), |id| format!("user_identities/{id}/exports"));
        let (headers, body) = self.send(Method::GET, &path, timeout, MAX_LIST_SIZE).await?;
        self.parse_exports(&body, &headers)
    }

    fn parse_exports(&self, body: &[u8], headers: &HeaderMap) -> Result<Vec<Export>, RequestError> {
        #[derive(Deserialize)]
        struct List {
            exports: RawEntries,
        }

        let entries = self.parse_entries(body, headers, |list: List| list.exports)?;
        let export = |entry: RawEntry| {
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

    /// Requests the recent runs of an identity (`GET /api/v1/user_identities/:id/export_files`).
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the response is not a list.
    pub(crate) async fn runs(&self, identity: Id, timeout: Duration) -> Result<Vec<ListedRun>, RequestError> {
        let path = format!("user_identities/{identity}/export_files");
        let (headers, body) = self.send(Method::GET, &path, timeout, MAX_LIST_SIZE).await?;
        self.parse_runs(&body, &headers)
    }

    fn parse_runs(&self, body: &[u8], headers: &HeaderMap) -> Result<Vec<ListedRun>, RequestError> {
        #[derive(Deserialize)]
        struct List {
            export_files: RawEntries,
        }

        let entries = self.parse_entries(body, headers, |list: List| list.export_files)?;
        let run = |entry: RawEntry| {
            let status = Status::parse(&self.redactor.redact_prefix(&entry.status.text()));
            Some(ListedRun { id: entry.id.id()?, export_id: entry.export_id.id()?, status })
        };
        Ok(distinct(entries.into_iter().filter_map(run), |run| run.id))
    }

    fn parse_entries<T: for<'a> Deserialize<'a>>(
        &self,
        body: &[u8],
        headers: &HeaderMap,
        entries: impl FnOnce(T) -> RawEntries,
    ) -> Result<Vec<RawEntry>, RequestError> {
        match entries(self.parse(body, headers, "the requested list")?) {
            RawEntries::Complete(entries) => Ok(entries),
            RawEntries::TooMany => Err(self.error(ErrorKind::TooLarge, format!("{MAX_ENTRIES} entries in a list"))),
        }
    }

    fn label(&self, value: &Scalar) -> Label {
        Label::new(&value.text(), &self.redactor)
    }
}

/// Returns the entries without those whose id occurred before.
fn distinct<T>(entries: impl Iterator<Item = T>, id: impl Fn(&T) -> Id) -> Vec<T> {
    let mut ids = BTreeSet::new();
    entries.filter(|entry| ids.insert(id(entry))).collect()
}

/// An entry of any list.
#[derive(Deserialize, Default)]
#[serde(default)]
struct RawEntry {
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

/// The entries of a list.
enum RawEntries {
    Complete(Vec<RawEntry>),
    /// There are more than [`MAX_ENTRIES`].
    TooMany,
}

impl<'de> Deserialize<'de> for RawEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RawEntriesVisitor)
    }
}

struct RawEntriesVisitor;

impl<'de> Visitor<'de> for RawEntriesVisitor {
    type Value = RawEntries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawEntries, A::Error> {
        let mut entries = Vec::new();
        for _ in 0..MAX_ENTRIES {
            match list.next_element::<Option<RawEntry>>()? {
                Some(entry) => entries.extend(entry),
                None => return Ok(RawEntries::Complete(entries)),
            }
        }
        if list.next_element::<IgnoredAny>()?.is_none() {
            return Ok(RawEntries::Complete(entries));
        }

        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(RawEntries::TooMany)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    /// Lists as an API sends them, or could send them.
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
    fn entries_without_an_id_and_repeated_ids_are_left_out() {
        let api = super::super::client::tests::api("https://api.example");
        let ids = |body: &str| {
            let exports = api.parse_exports(body.as_bytes(), &HeaderMap::new());
            exports
                .map(|exports| exports.iter().map(|export| export.id.0).collect::<Vec<_>>())
                .map_err(|error| error.kind)
        };
        assert_eq!(ids(LISTS[0]), Ok(vec![86446]));
        let name = |body: &str| {
            let exports = api.parse_exports(body.as_bytes(), &HeaderMap::new()).unwrap();
            (exports[0].name.to_string(), exports[0].name.normalized.clone())
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
    fn a_label_is_compared_as_a_whole_and_shown_without_secrets() {
        let label = |text: &str| Label::new(text, &Redactor::default());
        let (one, other) = (label("Report  sig=1\n"), label("report sig=2"));
        assert_ne!(one.normalized, other.normalized);
        assert_eq!((one.to_string().as_str(), one.normalized.as_str()), ("Report sig=***", "report sig=1"));
        assert_eq!(serde_json::to_string(&[one, other]).unwrap(), r#"["Report  sig=***\n","report sig=***"]"#);
        assert!(label(" \n").is_empty() && !label("x").is_empty());
    }

    proptest! {
        #[test]
        fn labels_of_any_list_are_safe_to_show(body in testing::mutated(&LISTS)) {
            let (api, headers) = (super::super::client::tests::api("https://api.example"), HeaderMap::new());
            let exports = api.parse_exports(&body, &headers).unwrap_or_default();
            let identities = api.parse_identities(&body, &headers).unwrap_or_default();
            let _ = api.parse_runs(&body, &headers);
            let names = exports.iter().map(|export| export.name.to_string());
            for text in names.chain(identities.iter().map(Identity::title)) {
                prop_assert!(!text.chars().any(sanitize::is_unprintable), "{text:?}");
                prop_assert!(!text.contains("##") && !text.contains("Signature=z"), "{text}");
            }
            let json = serde_json::to_string(&(&exports, &identities)).unwrap();
            prop_assert!(!json.contains("Signature=z"), "{json}");
            prop_assert!(exports.iter().all(|export| export.id.0 > 0));
        }
    }
}

//! The API's lists: the identities that a key can see, their exports, PDF templates and recent runs.
//!
//! Only an entry's id is required: entries without one are left out. Its texts are [`Label`]s, empty if missing.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize, Serializer};

use super::bounded_list::BoundedList;
use super::scalar::Scalar;
use super::{ApiClient, Id, RunKind};
use crate::http::error::{ErrorKind, RequestError};
use crate::text::redact::Redactor;
use crate::text::{normalize, sanitize};
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
        Self { redacted: redactor.redact_prefix(text).into_owned(), normalized: normalize(text) }
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

/// A template of PDF Manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Template {
    pub(crate) id: Id,
    pub(crate) name: Label,
    /// The list of applicants that it contains.
    pub(crate) list_name: Label,
    /// What it prints of each applicant, such as the full application.
    pub(crate) document_source_title: Label,
}

/// A run as a list shows it: without its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedRun {
    pub(crate) kind: RunKind,
    pub(crate) id: Id,
    /// The export or the template.
    pub(crate) source_id: Option<Id>,
    pub(crate) status: Status,
}

impl ApiClient {
    /// Requests the identities of the key's user (`GET /api/v1/user_identities`).
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the response is not a list.
    pub(crate) async fn identities(&self, timeout: Duration) -> Result<Vec<Identity>, RequestError> {
        let (headers, body) = self.request_list("user_identities", timeout).await?;
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
        let (headers, body) = self.request_list(&path, timeout).await?;
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

    /// Requests the PDF Manager templates of an identity (`GET /api/v1/user_identities/:id/pdf_manager_templates`).
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the response is not a list.
    pub(crate) async fn templates(&self, identity: Id, timeout: Duration) -> Result<Vec<Template>, RequestError> {
        let path = format!("user_identities/{identity}/pdf_manager_templates");
        let (headers, body) = self.request_list(&path, timeout).await?;
        self.parse_templates(&body, &headers)
    }

    fn parse_templates(&self, body: &[u8], headers: &HeaderMap) -> Result<Vec<Template>, RequestError> {
        #[derive(Deserialize)]
        struct List {
            pdf_manager_templates: RawEntries,
        }

        let entries = self.parse_entries(body, headers, |list: List| list.pdf_manager_templates)?;
        let template = |entry: RawEntry| {
            Some(Template {
                id: entry.id.id()?,
                name: self.label(&entry.name),
                list_name: self.label(&entry.list_name),
                document_source_title: self.label(&entry.document_source_title),
            })
        };
        Ok(distinct(entries.into_iter().filter_map(template), |template| template.id))
    }

    /// Requests the recent runs of an identity (`GET /api/v1/user_identities/:id/export_files` or `…/pdf_manager_batches`).
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the response is not a list.
    pub(crate) async fn recent_runs(
        &self,
        kind: RunKind,
        identity: Id,
        timeout: Duration,
    ) -> Result<Vec<ListedRun>, RequestError> {
        let list = match kind {
            RunKind::Export => "export_files",
            RunKind::PdfBatch => "pdf_manager_batches",
        };
        let path = format!("user_identities/{identity}/{list}");
        let (headers, body) = self.request_list(&path, timeout).await?;
        self.parse_runs(kind, &body, &headers)
    }

    fn parse_runs(&self, kind: RunKind, body: &[u8], headers: &HeaderMap) -> Result<Vec<ListedRun>, RequestError> {
        #[derive(Deserialize)]
        struct ExportList {
            export_files: RawEntries,
        }

        #[derive(Deserialize)]
        struct BatchList {
            pdf_manager_batches: RawEntries,
        }

        let entries = match kind {
            RunKind::Export => self.parse_entries(body, headers, |list: ExportList| list.export_files)?,
            RunKind::PdfBatch => self.parse_entries(body, headers, |list: BatchList| list.pdf_manager_batches)?,
        };
        let run = |entry: RawEntry| {
            let (source_id, status) = match kind {
                RunKind::Export => (entry.export_id.id(), entry.status),
                RunKind::PdfBatch => (entry.pdf_manager_template.unwrap_or_default().id.id(), entry.state),
            };
            let status = Status::parse(&self.redactor.redact_prefix(&status.text()));
            Some(ListedRun { kind, id: entry.id.id()?, source_id, status })
        };
        Ok(distinct(entries.into_iter().filter_map(run), |run| run.id))
    }

    async fn request_list(&self, path: &str, timeout: Duration) -> Result<(HeaderMap, Vec<u8>), RequestError> {
        self.send(self.request(Method::GET, path), timeout, MAX_LIST_SIZE).await
    }

    fn parse_entries<T: for<'a> Deserialize<'a>>(
        &self,
        body: &[u8],
        headers: &HeaderMap,
        entries: impl FnOnce(T) -> RawEntries,
    ) -> Result<Vec<RawEntry>, RequestError> {
        match entries(self.parse(body, headers, "the requested list")?) {
            BoundedList::Complete(entries) => Ok(entries.into_iter().flatten().collect()),
            BoundedList::TooLong => Err(self.error(ErrorKind::TooLarge, format!("{MAX_ENTRIES} entries in a list"))),
        }
    }

    pub(super) fn label(&self, value: &Scalar) -> Label {
        Label::new(&value.text(), &self.redactor)
    }
}

/// Returns the entries without those whose id occurred before.
fn distinct<T>(entries: impl Iterator<Item = T>, id: impl Fn(&T) -> Id) -> Vec<T> {
    let mut ids = BTreeSet::new();
    entries.filter(|entry| ids.insert(id(entry))).collect()
}

/// The entries of a list, of which some may be null.
type RawEntries = BoundedList<Option<RawEntry>, MAX_ENTRIES>;

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
    list_name: Scalar,
    document_source_title: Scalar,
    status: Scalar,
    state: Scalar,
    pdf_manager_template: Option<RawReference>,
    #[serde(rename = "type")]
    kind: Scalar,
    association: Scalar,
    organization: Scalar,
    institution: Scalar,
    cycle: Scalar,
}

/// Another object, of which an entry has some fields.
#[derive(Deserialize, Default)]
#[serde(default)]
struct RawReference {
    id: Scalar,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    /// Lists as an API sends them, or could send them.
    const LISTS: [&str; 13] = [
        r#"{"href":"/api/v1/exports","exports":[{"id":86446,"name":"Nightly Applicants","list_type":"all","format":"x"}]}"#,
        r#"{"user_identities":[{"id":305,"type":"User","association":"SOPHAS","organization":"x","cycle":"2026 - 2027"}]}"#,
        r#"{"export_files":[{"id":"9","export_id":86446,"status":"In Progress"},{"id":10,"export_id":"5","status":null}]}"#,
        r#"{"exports":[null,{},[],{"id":0},{"id":-1},{"id":1.5},{"id":"+7"},{"id":99999999999999999999}]}"#,
        r#"{"exports":[5,"x",true]}"#,
        r#"{"exports":[{"id":1,"name":{"deep":[[[{}]]]}},{"id":1,"name":"again"}]}"#,
        r#"{"exports":[{"id":2,"name":"\u0000\n::error::x\u2028##[error]y https://s3/x?Signature=z"}]}"#,
        r#"{"exports":{"id":1,"name":"one object"}}"#,
        r#"{"pdf_manager_templates":[{"href":"/x","id":2,"name":"Offers?Signature=z","list_name":"Accepted","document_source_title":null}]}"#,
        r#"{"pdf_manager_batches":[{"id":42,"state":"in_progress","pdf_manager_template":{"id":2,"name":"x"}},{"id":43,"pdf_manager_template":null}]}"#,
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
    fn recent_runs_and_templates_are_read_as_the_reference_shows_them() {
        let (api, headers) = (super::super::client::tests::api("https://api.example"), HeaderMap::new());
        let runs = |kind, body: &str| {
            let runs = api.parse_runs(kind, body.as_bytes(), &headers).unwrap();
            runs.into_iter().map(|run| (run.id.0, run.source_id.map(|id| id.0), run.status)).collect::<Vec<_>>()
        };
        let unknown = || Status::Unknown("unknown".to_owned());
        assert_eq!(runs(RunKind::Export, LISTS[2]), [(9, Some(86446), Status::InProgress), (10, Some(5), unknown())]);
        assert_eq!(runs(RunKind::PdfBatch, LISTS[9]), [(42, Some(2), Status::InProgress), (43, None, unknown())]);
        let wrong = api.parse_runs(RunKind::Export, LISTS[9].as_bytes(), &headers).map_err(|error| error.kind);
        assert_eq!(wrong, Err(ErrorKind::Unreadable));

        let templates = api.parse_templates(LISTS[8].as_bytes(), &headers).unwrap();
        let Template { id, name, list_name, document_source_title } = &templates[0];
        let texts = [name, list_name, document_source_title].map(Label::to_string);
        assert_eq!((id.0, texts), (2, ["Offers?Signature=***", "Accepted", ""].map(str::to_owned)));
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
            let templates = api.parse_templates(&body, &headers).unwrap_or_default();
            let names = exports.iter().map(|export| &export.name);
            let names = names.chain(templates.iter().map(|template| &template.name)).map(Label::to_string);
            for kind in [RunKind::Export, RunKind::PdfBatch] {
                let runs = api.parse_runs(kind, &body, &headers).unwrap_or_default();
                prop_assert!(runs.iter().all(|run| run.id.0 > 0 && run.kind == kind));
            }
            for text in names.chain(identities.iter().map(Identity::title)) {
                prop_assert!(!text.chars().any(sanitize::is_unprintable), "{text:?}");
                prop_assert!(!text.contains("##") && !text.contains("Signature=z"), "{text}");
            }
            let json = serde_json::to_string(&(&exports, &identities, &templates)).unwrap();
            prop_assert!(!json.contains("Signature=z"), "{json}");
            prop_assert!(exports.iter().all(|export| export.id.0 > 0));
        }
    }
}

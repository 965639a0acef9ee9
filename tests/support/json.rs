//! Objects of the WebAdMIT API, as it sends them. All data is made up.

use serde_json::{Value, json};

use super::leaks::SIGNATURE;

pub const IDENTITY_ID: u64 = 305;
pub const EXPORT_ID: u64 = 86446;
pub const EXPORT_NAME: &str = "Nightly Applicants";
pub const RUN_ID: u64 = 74780;
/// The other export of [`IDENTITY_ID`].
pub const SECOND_EXPORT_ID: u64 = 86447;
pub const SECOND_EXPORT_NAME: &str = "Interviews of the Week";
pub const SECOND_RUN_ID: u64 = 74787;
/// The PDF Manager template of [`IDENTITY_ID`], its batch, and the only zip of that.
pub const PDF_TEMPLATE_ID: u64 = 2;
pub const PDF_TEMPLATE_NAME: &str = "Accepted Offers for Review";
pub const PDF_BATCH_ID: u64 = 42;
pub const PDF_ZIP_ID: u64 = 421;
pub const PDF_ZIP_FILENAME: &str = "Accepted-Offers-for-Review.zip";

/// Returns the run [`RUN_ID`] without a download URL.
pub fn run_json(status: &str) -> Value {
    run_of_export_json(RUN_ID, EXPORT_ID, status, None)
}

/// Returns the run [`RUN_ID`] with a download URL. The URL is signed, so that a test notices where it leaks to.
pub fn run_json_with_url(status: &str, url: &str) -> Value {
    let (bare, space) = url.split_at(url.trim_end().len());
    let signed = format!("{bare}?Signature={SIGNATURE}OfATest0123{space}");
    run_of_export_json(RUN_ID, EXPORT_ID, status, Some(&signed))
}

pub fn run_of_export_json(run: u64, export: u64, status: &str, download_url: Option<&str>) -> Value {
    json!({ "export_files": {
        "id": run,
        "href": format!("/api/v1/exports/{export}/export_files/{run}"),
        "export_id": export,
        "status": status,
        "download_url": download_url,
    }})
}

pub fn identity_json(id: u64, association: &str, organization: &str, cycle: &str) -> Value {
    json!({
        "id": id,
        "type": "Admissions User",
        "association": association,
        "institution": "Demo University",
        "organization": organization,
        "cycle": cycle,
    })
}

/// Returns the list of identities of a user who has only [`IDENTITY_ID`].
pub fn only_identity_json() -> Value {
    identities_json(&[identity_json(IDENTITY_ID, "SOPHAS", "x", "2026")])
}

pub fn identities_json(identities: &[Value]) -> Value {
    json!({ "href": "/api/v1/user_identities", "user_identities": identities })
}

pub fn export_json(id: u64, name: &str) -> Value {
    json!({
        "id": id,
        "name": name,
        "list_type": "all",
        "format": "Comma-Separated Values",
        "mime_type": "text/csv;charset=iso-8859-1",
    })
}

pub fn exports_json(exports: &[Value]) -> Value {
    json!({ "href": "/api/v1/exports", "exports": exports })
}

/// Returns a run as the list of an identity's recent runs has it.
pub fn recent_run_json(run: u64, export: u64, status: &str) -> Value {
    let href = format!("/api/v1/exports/{export}/export_files/{run}");
    json!({ "id": run, "href": href, "export_id": export, "status": status })
}

/// Returns the id of the run of an export that `many_exports` has added.
pub const fn many_run_id(export: u64) -> u64 {
    70_000 + export
}

/// Returns the id of a zip of a PDF Manager batch. The first one has the index 0.
pub fn pdf_zip_id(batch: u64, index: usize) -> u64 {
    batch * 10 + u64::try_from(index).unwrap() + 1
}

/// Returns the path of a zip of [`IDENTITY_ID`], as `download_hrefs` has it.
pub fn pdf_zip_href(zip: u64) -> String {
    format!("/api/v1/user_identities/{IDENTITY_ID}/pdf_manager_zip_files/{zip}/download")
}

/// Returns a PDF Manager template of [`IDENTITY_ID`] as the list has it.
pub fn pdf_template_json(id: u64, name: &str) -> Value {
    json!({
        "href": format!("/api/v1/user_identities/{IDENTITY_ID}/pdf_manager_templates/{id}"),
        "id": id,
        "name": name,
        "list_name": "Accepted Offers",
        "document_source_title": "Full Application",
    })
}

pub fn pdf_templates_json(identity: u64, templates: &[Value]) -> Value {
    let href = format!("/api/v1/user_identities/{identity}/pdf_manager_templates");
    json!({ "href": href, "pdf_manager_templates": templates })
}

/// Returns a PDF Manager batch of [`IDENTITY_ID`].
pub fn pdf_batch_json(
    id: u64,
    template: u64,
    template_name: &str,
    state: &str,
    updated_at: &str,
    hrefs: &[String],
) -> Value {
    let mut batch = listed_pdf_batch_json(id, template, template_name, state, updated_at);
    batch["download_hrefs"] = json!(hrefs);
    json!({ "pdf_manager_batch": batch })
}

/// Returns a PDF Manager batch as the list of an identity's batches has it.
pub fn listed_pdf_batch_json(id: u64, template: u64, template_name: &str, state: &str, updated_at: &str) -> Value {
    json!({
        "href": format!("/api/v1/user_identities/{IDENTITY_ID}/pdf_manager_batches/{id}"),
        "id": id,
        "updated_at": updated_at,
        "state": state,
        "pdf_manager_template": {
            "href": format!("/api/v1/user_identities/{IDENTITY_ID}/pdf_manager_templates/{template}"),
            "id": template,
            "name": template_name,
        },
    })
}

pub fn pdf_batches_json(identity: u64, batches: &[Value]) -> Value {
    let href = format!("/api/v1/user_identities/{identity}/pdf_manager_batches");
    json!({ "href": href, "pdf_manager_batches": batches })
}

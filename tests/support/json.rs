//! Objects of the WebAdMIT API, as it sends them. All data is made up.

use serde_json::{Value, json};

use super::leaks::SIGNATURE;

pub const IDENTITY_ID: u64 = 305;
pub const EXPORT_ID: u64 = 86446;
pub const EXPORT_NAME: &str = "Nightly Applicants";
pub const RUN_ID: u64 = 74780;

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

/// Returns the only identity of a user with a single one.
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

//! What the tests and the examples share: servers that stand in for WebAdMIT and its store, and steps that run the built
//! program against them.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "the tests and the examples use different parts of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends where its support fails"
)]

pub mod certificates;
pub mod json;
pub mod leaks;
pub mod runner;
pub mod server;
pub mod stand_in;
pub mod step;
pub mod store;

pub use certificates::{Authority, Flaw};
pub use json::{
    EXPORT_ID, EXPORT_NAME, IDENTITY_ID, PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_ZIP_FILENAME,
    PDF_ZIP_ID, RUN_ID, SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SECOND_RUN_ID, export_json, exports_json,
    identities_json, identity_json, listed_pdf_batch_json, many_run_id, only_identity_json, pdf_batch_json,
    pdf_batches_json, pdf_template_json, pdf_templates_json, pdf_zip_href, pdf_zip_id, recent_run_json, run_json,
    run_json_with_url, run_of_export_json,
};
pub use leaks::{API_KEY, SIGNATURE};
pub use server::{
    Action, ClosedPort, Gate, Request, Server, UNKNOWN_HOST, body_start, cut, head, respond, response,
    server_without_tls,
};
pub use stand_in::{
    BatchBuilder, Builder, CYCLES, RunBuilder, StandIn, ZipBuilder, api_with_first_response, empty_list,
};
pub use step::{
    ORDINARY_USER, Outcome, Step, can_unshare, displayed, github, github_at, repeat_until, shell, shell_at,
    with_growing_timeout,
};
pub use store::{CREATED_AT, FILENAME, StoredFile, applicants_csv, applicants_zip, error_response, sha256_hex};

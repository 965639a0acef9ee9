//! The inputs as users see them: in action.yml, in `--help` and in messages.

use serde::Deserialize;

/// An input.
pub struct InputSpec {
    /// Its name in kebab-case.
    pub name: &'static str,
    /// Whether it must always be given.
    pub is_required: bool,
    /// Its value if it is not given.
    pub default: Option<&'static str>,
    /// What it means, in one sentence. Details belong to the docs.
    pub description: &'static str,
}

impl InputSpec {
    /// Returns the variable that a shell can set: `INPUT_EXPORT_ID` for `export-id`.
    #[must_use]
    pub fn variable(&self) -> String {
        variable(self.name)
    }
}

/// Returns the variable that a shell can set for an input.
#[must_use]
pub(super) fn variable(input: &str) -> String {
    format!("INPUT_{}", input.replace('-', "_").to_uppercase())
}

/// Declares each input once: its entry in [`INPUTS`], and its field in [`RawInputs`].
macro_rules! inputs {
    ($($field:ident: $name:literal, $is_required:literal, $default:expr, $description:literal;)*) => {
        /// All inputs, in the order of the documentation. A test compares them with action.yml and the README.
        pub const INPUTS: &[InputSpec] = &[
            $(InputSpec { name: $name, is_required: $is_required, default: $default, description: $description },)*
        ];

        /// The values in the environment, trimmed; `None` if empty. An input that nothing reads fails to compile.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        #[deny(dead_code)]
        pub(super) struct RawInputs {
            $(pub(super) $field: Option<String>,)*
        }

        #[cfg(test)]
        pub(super) const FIELDS: &[&str] = &[$(stringify!($field),)*];
    };
}

inputs! {
    api_key: "api-key", true, None,
        "WebAdMIT API key, sent only to the API; store it as a secret.";
    export_name: "export-name", false, None,
        "Name of the export as WebAdMIT shows it, in any letter case; several names, one per line.";
    export_id: "export-id", false, None,
        "Id of the export, instead of export-name; several, separated by commas, spaces or newlines; ids change with each cycle.";
    pdf_template: "pdf-template", false, None,
        "Name of a PDF Manager template, with or without exports; several names, one per line.";
    pdf_template_id: "pdf-template-id", false, None,
        "Id of the PDF Manager template, instead of pdf-template; several as for export-id.";
    identity: "identity", false, None,
        "Words that identify the WebAdMIT identity, such as SOPHAS or PharmCAS 2025 - 2026; the newest is used if identities differ only in their cycle.";
    user_identity_id: "user-identity-id", false, None,
        "Id of the identity, instead of identity; ids change with each cycle.";
    export_file_id: "export-file-id", false, None,
        "Id of an existing run, or latest for the newest one, instead of starting a run; with several exports, latest or an id for each, in the same order.";
    pdf_batch_id: "pdf-batch-id", false, None,
        "Id of an existing PDF Manager batch, or latest, as for export-file-id; an id needs no template.";
    max_age: "max-age", false, None,
        "Maximum age of the latest file, with a unit, such as 26h or 2d; only with latest; an older file is not downloaded and fails the step.";
    wait: "wait", false, Some("true"),
        "Set to false to start the runs and end at once, with their ids as outputs; a later step can fetch their files.";
    base_url: "base-url", false, Some("https://api.webadmit.org"),
        "Root URL of the API; must be https, except for loopback hosts or with allow-http.";
    directory: "directory", false, Some("."),
        "Directory for the files, relative to the workspace; created if missing.";
    filename: "filename", false, None,
        "Name for the file of a single export, instead of the server's file name.";
    encoding: "encoding", false, Some("as-sent"),
        "Set to utf-8 to convert text files to UTF-8, from the charset that the server declares; without one, text that is not UTF-8 is read as windows-1252; as-sent leaves files unchanged.";
    timeout: "timeout", false, Some("1h"),
        "Maximum duration of the whole step, such as 90s, 45m or 1h30m; a plain number is seconds.";
    poll_interval: "poll-interval", false, Some("15s"),
        "Maximum time between two status checks and before a retry, in the same format as timeout; longer if the key has few calls left or the server asks for it.";
    fail_on: "fail-on", false, Some("failed,empty_list"),
        "All statuses that fail the step, separated by commas, spaces or newlines: failed, empty_list, success_with_errors; or none.";
    allow_http: "allow-http", false, Some("false"),
        "Set to true to allow plain http to a host that is not loopback, for tests only.";
    ca_file: "ca-file", false, None,
        "PEM file with additional certificate authorities to trust, relative to the workspace.";
    output_file: "output-file", false, None,
        "File that also gets the outputs, relative to the workspace, and overwritten: a JSON object if its name ends in .json, else `WEBADMIT_<NAME>=value` lines, which omit the outputs paths and files.";
    output_directory: "output-directory", false, None,
        "Directory that also gets a file for each output, named like the output, and empty if the output has no value; relative to the workspace, and created if missing.";
    command: "command", false, None,
        "Set to list to print the identities, exports and PDF templates that the key can see, or to check to verify the inputs without starting a run.";
}

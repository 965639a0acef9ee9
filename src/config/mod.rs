//! The configuration of a step: the environment's variables, parsed into types that cannot hold an invalid value.
//!
//! Pure: nothing here uses the disk or the network. [`crate::workspace`] resolves the paths.

mod input_error;
mod parse;
mod raw;
mod spec;

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

pub(crate) use input_error::{InputError, looks_like_a_key, sort};
use input_error::{InputErrors, quote};
pub(crate) use raw::UnknownInput;
use spec::RawInputs;
use spec::variable;
pub use spec::{INPUTS, InputSpec};

use crate::webadmit::status::Status;
use crate::webadmit::{ApiKey, BaseUrl, Id};

/// How to use the API.
#[derive(Debug)]
pub struct ApiConfig {
    pub(crate) api_key: ApiKey,
    /// The root of the API.
    pub(crate) base_url: BaseUrl,
    /// Maximum duration of the whole step.
    pub(crate) timeout: Duration,
    /// Maximum time between two status checks.
    pub(crate) poll_interval: Duration,
}

/// The export to download.
#[derive(Debug)]
pub(crate) struct ExportRequest {
    pub(crate) export: ExportSelector,
    /// The identity that has the export.
    pub(crate) identity: Option<IdentitySelector>,
    /// The run of the export.
    pub(crate) run: RunSelector,
    /// Name of the file, if not the server's.
    pub(crate) filename: Option<String>,
    /// Whether text is converted.
    pub(crate) encoding: Encoding,
    /// The statuses that fail the step.
    pub(crate) fail_on: Vec<Status>,
}

impl ExportRequest {
    /// Whether the identity is needed: to look up a name, or to start or find a run.
    #[must_use]
    pub(crate) fn uses_identity(&self) -> bool {
        matches!(self.export, ExportSelector::Name(_)) || !matches!(self.run, RunSelector::Id(_))
    }
}

/// The paths in the inputs, not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    /// Directory for the file.
    pub(crate) directory: String,
    /// File with additional certificate authorities.
    pub(crate) ca_file: Option<String>,
    /// File for the outputs.
    pub(crate) output_file: Option<String>,
}

/// How an export is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExportSelector {
    /// `export-id`.
    Id(Id),
    /// `export-name`.
    Name(String),
}

/// How an identity is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdentitySelector {
    /// `user-identity-id`.
    Id(Id),
    /// `identity`: words that occur in its description.
    Words(String),
}

/// How a run of the export is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunSelector {
    /// `export-file-id`.
    Id(Id),
    /// The newest existing run.
    Latest,
    /// A new run.
    New,
}

/// Whether a text file is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The bytes stay as the store sent them.
    AsSent,
    /// Text is converted to UTF-8.
    Utf8,
}

impl fmt::Display for ExportSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "export {id}"),
            Self::Name(name) => write!(f, "export {}", quote(name)),
        }
    }
}

impl fmt::Display for IdentitySelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "identity {id}"),
            Self::Words(words) => write!(f, "identity {}", quote(words)),
        }
    }
}

/// The result of [`parse()`].
#[derive(Debug)]
pub struct ParsedInputs {
    /// The key, even if other inputs are invalid: it is masked before anything is printed.
    pub(crate) api_key: Option<ApiKey>,
    /// The valid paths.
    pub(crate) paths: Paths,
    /// `None` if an input that it needs is invalid.
    pub api_config: Option<ApiConfig>,
    /// `None` if an input that it needs is invalid.
    pub(crate) request: Option<ExportRequest>,
    /// All errors, in the order of [`INPUTS`].
    pub(crate) errors: Vec<InputError>,
    /// `INPUT_…` variables that are not inputs.
    pub(crate) unknown: Vec<UnknownInput>,
}

/// Parses the inputs in the environment and reports all errors at once.
#[must_use]
pub fn parse(variables: &[(OsString, OsString)]) -> ParsedInputs {
    let mut errors = InputErrors::default();
    let (raw, unknown) = raw::collect(variables, &mut errors);

    let api_key = parse_api_key(&raw, &mut errors);
    errors.key.clone_from(&raw.api_key);
    let paths = parse_paths(&raw, &mut errors);
    let api_config = parse_api_config(&raw, api_key.clone(), &mut errors);
    let request = parse_request(&raw, &mut errors);

    let mut errors = errors.found;
    sort(&mut errors);
    ParsedInputs { api_key, paths, api_config, request, errors, unknown }
}

fn parse_api_key(raw: &RawInputs, errors: &mut InputErrors) -> Option<ApiKey> {
    if raw.api_key.is_none() && !errors.has("api-key") {
        let variable = variable("api-key");
        errors.add(
            "api-key",
            format!("missing or empty; check that the secret exists, that its name is spelled the same, and that this job may read it (as a variable: {variable})"),
        );
    }
    errors.accept("api-key", parse::api_key(raw.api_key.as_deref()?))
}

fn parse_paths(raw: &RawInputs, errors: &mut InputErrors) -> Paths {
    let mut parse = |input, value| errors.parse(input, value, parse::path);
    Paths {
        directory: parse("directory", &raw.directory).unwrap_or_default(),
        ca_file: parse("ca-file", &raw.ca_file),
        output_file: parse("output-file", &raw.output_file),
    }
}

fn parse_api_config(raw: &RawInputs, api_key: Option<ApiKey>, errors: &mut InputErrors) -> Option<ApiConfig> {
    let allow_http = errors.parse("allow-http", &raw.allow_http, parse::boolean);
    let base_url =
        errors.parse("base-url", &raw.base_url, |value| parse::base_url(value, allow_http.unwrap_or_default()));
    let timeout = errors.parse("timeout", &raw.timeout, parse::duration);
    let poll_interval = errors.parse("poll-interval", &raw.poll_interval, parse::duration);
    Some(ApiConfig { api_key: api_key?, base_url: base_url?, timeout: timeout?, poll_interval: poll_interval? })
}

fn parse_request(raw: &RawInputs, errors: &mut InputErrors) -> Option<ExportRequest> {
    let filename = errors.parse("filename", &raw.filename, parse::filename);
    let encoding = errors.parse("encoding", &raw.encoding, parse::encoding);
    let fail_on = errors.parse("fail-on", &raw.fail_on, parse::statuses);
    let export = parse_export(raw, errors);
    let identity = parse_identity(raw, errors);
    let run = parse_run(raw, errors);

    Some(ExportRequest { export: export?, identity, run: run?, filename, encoding: encoding?, fail_on: fail_on? })
}

fn parse_export(raw: &RawInputs, errors: &mut InputErrors) -> Option<ExportSelector> {
    errors.require_at_most_one(("export-name", &raw.export_name), ("export-id", &raw.export_id));
    let is_missing = raw.export_name.is_none() && raw.export_id.is_none();
    if is_missing && !errors.has("export-name") && !errors.has("export-id") {
        let (name, id) = (variable("export-name"), variable("export-id"));
        errors.add(
            "export-name",
            format!("missing; give the name of the export, or its id as export-id; webadmit-export list shows both (as variables: {name}, {id})"),
        );
    }

    let name = errors.parse("export-name", &raw.export_name, parse::name);
    let id = errors.parse("export-id", &raw.export_id, parse::id);
    name.map(ExportSelector::Name).or(id.map(ExportSelector::Id))
}

fn parse_identity(raw: &RawInputs, errors: &mut InputErrors) -> Option<IdentitySelector> {
    errors.require_at_most_one(("identity", &raw.identity), ("user-identity-id", &raw.user_identity_id));
    let words = errors.parse("identity", &raw.identity, parse::identity_words);
    let id = errors.parse("user-identity-id", &raw.user_identity_id, parse::id);
    words.map(IdentitySelector::Words).or(id.map(IdentitySelector::Id))
}

fn parse_run(raw: &RawInputs, errors: &mut InputErrors) -> Option<RunSelector> {
    let run = errors.parse("export-file-id", &raw.export_file_id, parse::run);
    let has_identity = raw.identity.is_some() || raw.user_identity_id.is_some();
    let (words, id) = (variable("identity"), variable("user-identity-id"));

    match (&raw.export_file_id, run) {
        (None, _) if ["export-file-id", "identity", "user-identity-id"].iter().any(|input| errors.has(input)) => None,
        (None, _) if !has_identity => {
            let run = variable("export-file-id");
            errors.add(
                "identity",
                format!("missing; give words that identify it, such as SOPHAS, or its id as user-identity-id, or export-file-id to use an existing run; webadmit-export list shows all identities (as variables: {words}, {id}, {run})"),
            );
            None
        }
        (None, _) => Some(RunSelector::New),
        (Some(_), Some(RunSelector::Latest)) if !has_identity => {
            errors.add(
                "export-file-id",
                format!("latest needs an identity; set identity or user-identity-id (as variables: {words}, {id})"),
            );
            None
        }
        (Some(_), run) => run,
    }
}

#[cfg(test)]
mod tests;

//! The configuration of a step: the environment's variables, parsed into types that cannot hold an invalid value.
//!
//! Pure: nothing here uses the disk or the network. [`crate::workspace`] resolves the paths.

mod input_error;
mod parse;
mod raw;
mod runs;
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
use crate::webadmit::{ApiKey, BaseUrl, Id, RunKind};

/// The inputs that every command uses.
pub(crate) const API_INPUTS: [&str; 6] = ["api-key", "base-url", "timeout", "poll-interval", "allow-http", "ca-file"];

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

/// What the step fetches.
#[derive(Debug)]
pub(crate) struct FetchRequest {
    /// The identity that has the exports and templates.
    pub(crate) identity: Option<IdentitySelector>,
    /// The runs, at least one, in the order of the inputs.
    pub(crate) runs: Vec<RunRequest>,
    /// Name of the file, instead of the server's. Only with a single export.
    pub(crate) filename: Option<String>,
    /// Whether text is converted.
    pub(crate) encoding: Encoding,
    /// The statuses that fail the step.
    pub(crate) fail_on: Vec<Status>,
    /// Maximum age of the file of a latest run.
    pub(crate) max_age: Option<Duration>,
    pub(crate) mode: Mode,
}

/// Whether a step executes the request or only checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Execute(Action),
    /// Verifies what can be verified without starting a run, and says what the step would do: `command: check`.
    Check(Action),
}

/// What a step does with the runs that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Starts or selects the runs, waits for them, and downloads their files.
    Fetch,
    /// Only starts the runs: `wait: false`.
    Start,
}

/// A value of the input `command`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    List,
    Check,
}

impl FetchRequest {
    /// Whether a run uses the identity, if one is given.
    #[must_use]
    pub(crate) fn uses_identity(&self) -> bool {
        self.runs.iter().any(RunRequest::uses_identity)
    }

    /// Whether nothing is started or downloaded.
    #[must_use]
    pub(crate) fn is_check(&self) -> bool {
        matches!(self.mode, Mode::Check(_))
    }

    /// Whether runs are only started, without waiting for them.
    #[must_use]
    pub(crate) fn only_starts(&self) -> bool {
        self.mode == Mode::Execute(Action::Start)
    }

    /// Returns the run, if a single one is requested.
    #[must_use]
    pub(crate) fn only_run(&self) -> Option<&RunRequest> {
        if let [run] = self.runs.as_slice() { Some(run) } else { None }
    }
}

/// A run to start or to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunRequest {
    pub(crate) kind: RunKind,
    /// The export or template. `None` only for a PDF batch that is given by its id.
    pub(crate) source: Option<SourceSelector>,
    pub(crate) run: RunSelector,
}

impl RunRequest {
    /// Returns the name of the export or template in the input, unless it is given by its id.
    #[must_use]
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.source {
            Some(SourceSelector::Name(name)) => Some(name),
            Some(SourceSelector::Id(_)) | None => None,
        }
    }

    /// Whether the run uses the identity, if one is given: to look up a name, or to start or find the run. The URL of a PDF batch
    /// contains it.
    #[must_use]
    pub(crate) fn uses_identity(&self) -> bool {
        self.kind == RunKind::PdfBatch || self.name().is_some() || !matches!(self.run, RunSelector::Id(_))
    }
}

/// Writes the export or template as the input selects it: ``export `Nightly Applicants` ``.
impl fmt::Display for RunRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = self.kind.source_noun();
        match &self.source {
            Some(SourceSelector::Id(id)) => write!(f, "{noun} {id}"),
            Some(SourceSelector::Name(name)) => write!(f, "{noun} {}", quote(name)),
            None => f.write_str(noun),
        }
    }
}

/// The paths in the inputs, not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    /// Directory for the files.
    pub(crate) directory: String,
    /// Name of the file, instead of the server's. It is among the paths because the outputs are written even if other inputs are
    /// invalid, and must not replace this file.
    pub(crate) filename: Option<String>,
    /// File with additional certificate authorities.
    pub(crate) ca_file: Option<String>,
    /// File for the outputs.
    pub(crate) output_file: Option<String>,
    /// Directory with a file for each output.
    pub(crate) output_directory: Option<String>,
}

/// How an export or template is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SourceSelector {
    /// `export-id`, `pdf-template-id`.
    Id(Id),
    /// `export-name`, `pdf-template`.
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

/// How a run of an export or template is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunSelector {
    /// `export-file-id`, `pdf-batch-id`.
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
    /// The paths, without those that are invalid.
    pub(crate) paths: Paths,
    /// `None` if an input that it needs is invalid.
    pub api_config: Option<ApiConfig>,
    /// `None` if an input that it needs is invalid.
    pub(crate) request: Option<FetchRequest>,
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
    if let Some(key) = &raw.api_key {
        errors.set_key(key);
    }
    let paths = parse_paths(&raw, &mut errors);
    let api_config = parse_api_config(&raw, api_key.clone(), &mut errors);
    let command = errors.parse("command", &raw.command, parse::command);
    let request = parse_request(&raw, command, paths.filename.clone(), &mut errors);

    if errors.has("command") {
        // Which other inputs the command needs is not known.
        errors.found.retain(|error| error.input == "command" || API_INPUTS.contains(&error.input));
    }
    let mut errors = errors.found;
    sort(&mut errors);
    ParsedInputs { api_key, paths, api_config, request, errors, unknown }
}

/// Returns the command that the input `command` selects. `None` if it is not given, or invalid.
#[must_use]
pub(crate) fn command(variables: &[(OsString, OsString)]) -> Option<Command> {
    let mut errors = InputErrors::default();
    let (raw, _) = raw::collect(variables, &mut errors);
    if errors.has("command") { None } else { parse::command(raw.command.as_deref()?).ok() }
}

/// Sets the variable of an input, and removes its other spellings.
pub(crate) fn replace_input(variables: &mut Vec<(OsString, OsString)>, input: &str, value: &str) {
    variables.retain(|(variable, _)| variable.to_str().and_then(raw::input_name).as_deref() != Some(input));
    variables.push((variable(input).into(), value.into()));
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
    let filename = errors.parse("filename", &raw.filename, parse::filename);
    let mut parse = |input, value| errors.parse(input, value, parse::path);
    Paths {
        directory: parse("directory", &raw.directory).unwrap_or_default(),
        filename,
        ca_file: parse("ca-file", &raw.ca_file),
        output_file: parse("output-file", &raw.output_file),
        output_directory: parse("output-directory", &raw.output_directory),
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

fn parse_request(
    raw: &RawInputs,
    command: Option<Command>,
    filename: Option<String>,
    errors: &mut InputErrors,
) -> Option<FetchRequest> {
    let encoding = errors.parse("encoding", &raw.encoding, parse::encoding);
    let fail_on = errors.parse("fail-on", &raw.fail_on, parse::statuses);
    let identity = parse_identity(raw, errors);
    let runs = runs::parse(raw, errors);
    let max_age = errors.parse("max-age", &raw.max_age, parse::max_age);
    let waits = errors.parse("wait", &raw.wait, parse::boolean);

    let existing = [("export-file-id", &raw.export_file_id), ("pdf-batch-id", &raw.pdf_batch_id)];
    let existing: Vec<(&str, &str)> =
        existing.iter().filter_map(|(input, value)| Some((*input, value.as_deref()?))).collect();
    if let (Some(false), Some((input, _))) = (waits, existing.first()) {
        errors
            .add("wait", format!("`false` only starts new runs, but {input} selects existing ones; omit one of them"));
    }
    if let (Some(_), Some(value)) = (max_age, &raw.max_age)
        && !existing.iter().any(|(_, value)| parse::is_latest(value))
    {
        let reason = "applies only to latest; set export-file-id or pdf-batch-id to latest, or omit max-age";
        errors.add_with_value("max-age", value, reason);
    }
    let action = if waits? { Action::Fetch } else { Action::Start };
    let mode = if command == Some(Command::Check) { Mode::Check(action) } else { Mode::Execute(action) };
    Some(FetchRequest { identity, runs: runs?, filename, encoding: encoding?, fail_on: fail_on?, max_age, mode })
}

fn parse_identity(raw: &RawInputs, errors: &mut InputErrors) -> Option<IdentitySelector> {
    errors.require_at_most_one(("identity", &raw.identity), ("user-identity-id", &raw.user_identity_id));
    let words = errors.parse("identity", &raw.identity, parse::identity_words);
    let id = errors.parse("user-identity-id", &raw.user_identity_id, parse::id);
    words.map(IdentitySelector::Words).or(id.map(IdentitySelector::Id))
}

#[cfg(test)]
mod tests;

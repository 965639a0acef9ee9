//! The inputs: from the variables of the environment to values that cannot be wrong.
//!
//! Pure: nothing here touches the disk or the network. What an input says about the disk is looked at by
//! [`crate::workspace`].

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::text::sanitize;
use crate::webadmit::status::{FAILING, Status};

/// One input as users meet it: in action.yml, in `--help` and in messages.
pub struct InputSpec {
    /// Its name in kebab-case.
    pub name: &'static str,
    /// Whether there is no step without it.
    pub required: bool,
    /// What it is when it is not given.
    pub default: Option<&'static str>,
    /// What it means, in a line or two.
    pub meaning: &'static str,
}

impl InputSpec {
    /// The name of the variable that a shell can write: `INPUT_EXPORT_ID` for `export-id`.
    #[must_use]
    pub fn variable(&self) -> String {
        variable(self.name)
    }
}

/// Every input, in the order in which they are listed. action.yml and the README say the same; a test compares them.
pub const INPUTS: [InputSpec; 16] = [
    InputSpec {
        name: "api-key",
        required: true,
        default: None,
        meaning: "WebAdMIT API key. It is sent to the API and to nothing else; hand it over from a secret.",
    },
    InputSpec {
        name: "export-name",
        required: false,
        default: None,
        meaning: "Name of the export as WebAdMIT shows it, in any letter case; this or export-id is needed. It is looked up among the identity's exports, or with the id of a run and no identity among all.",
    },
    InputSpec {
        name: "export-id",
        required: false,
        default: None,
        meaning: "Instead of export-name: id of the export, a positive integer. It changes with each application cycle.",
    },
    InputSpec {
        name: "identity",
        required: false,
        default: None,
        meaning: "Words, each of which occurs in the identity's association, organization, institution, cycle or type, in any letter case: SOPHAS, PharmCAS 2025 - 2026. A word of digits matches only a whole number. In double quotes: the whole of one of these texts. Of several identities that differ only in their cycle, the newest is taken. A run of the export is started under it, or with export-file-id latest its files are looked through. With export-id and the id of a run it is not used.",
    },
    InputSpec {
        name: "user-identity-id",
        required: false,
        default: None,
        meaning: "Instead of identity: id of the identity, a positive integer. It changes with each application cycle. With export-id and the id of a run it is not used.",
    },
    InputSpec {
        name: "export-file-id",
        required: false,
        default: None,
        meaning: "Instead of starting a run: id of the run to wait for, a positive integer; or latest, the newest file of the export under the identity that already exists.",
    },
    InputSpec {
        name: "base-url",
        required: false,
        default: Some("https://api.webadmit.org"),
        meaning: "Root of the API. https only; http for loopback hosts, or anywhere with allow-http.",
    },
    InputSpec {
        name: "directory",
        required: false,
        default: Some("."),
        meaning: "Where the file goes, relative to the workspace; made when missing. An absolute path can lead to where the following steps do not see it.",
    },
    InputSpec {
        name: "filename",
        required: false,
        default: None,
        meaning: "What the file is called: a single file name, no path in it. By default the server's name for it.",
    },
    InputSpec {
        name: "encoding",
        required: false,
        default: Some("as-sent"),
        meaning: "as-sent or utf-8. With utf-8, text files are converted from the charset that the store names to UTF-8 without a byte-order mark; other files stay as sent.",
    },
    InputSpec {
        name: "timeout",
        required: false,
        default: Some("1h"),
        meaning: "Bound on the whole step: 90s, 45m, 1h30m, 250ms; a bare number is seconds.",
    },
    InputSpec {
        name: "poll-interval",
        required: false,
        default: Some("15s"),
        meaning: "The longest wait between two status checks; same syntax as timeout.",
    },
    InputSpec {
        name: "fail-on",
        required: false,
        default: Some("failed,empty_list"),
        meaning: "Statuses that fail the step, separated by commas, spaces or newlines: any of failed, empty_list, success_with_errors.",
    },
    InputSpec {
        name: "allow-http",
        required: false,
        default: Some("false"),
        meaning: "Allow plain http to a host that is not loopback, for tests against a stand-in.",
    },
    InputSpec {
        name: "ca-file",
        required: false,
        default: None,
        meaning: "PEM file, relative to the workspace, with certificate authorities to trust besides the system's.",
    },
    InputSpec {
        name: "output-file",
        required: false,
        default: None,
        meaning: "Also write the outputs to this file, relative to the workspace, one `WEBADMIT_<NAME>=value` line each, for CI systems other than GitHub. An existing file is overwritten, also when the step fails.",
    },
];

const DEFAULT_BASE_URL: &str = "https://api.webadmit.org";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(15);

/// A value that holds the key is refused; a shorter key than this could stand in a value by chance.
const SHORTEST_KEY: usize = 16;

/// The longest value that a message shows, in characters.
const LONGEST_SHOWN: usize = 80;

/// How WebAdMIT is asked.
#[derive(Debug)]
pub struct ApiConfig {
    /// The key that the API asks for.
    pub api_key: ApiKey,
    /// Where the API is.
    pub base_url: BaseUrl,
    /// The bound on the whole step.
    pub timeout: Duration,
    /// The longest wait between two status checks.
    pub poll_interval: Duration,
}

/// What is to be brought home.
#[derive(Debug)]
pub struct ExportRequest {
    /// The export whose file is wanted.
    pub export: ExportSelector,
    /// The identity that it is looked up and run under.
    pub identity: Option<IdentitySelector>,
    /// Which run of it.
    pub run: RunSelector,
    /// What the file is to be called, where the server's name is not wanted.
    pub filename: Option<String>,
    /// What becomes of a text file.
    pub encoding: Encoding,
    /// The statuses that fail the step.
    pub fail_on: Vec<Status>,
}

impl ExportRequest {
    /// Whether the identity is of use: for a look-up, or to start a run. With two ids everything is said.
    #[must_use]
    pub fn uses_identity(&self) -> bool {
        matches!(self.export, ExportSelector::Name(_)) || !matches!(self.run, RunSelector::Id(_))
    }
}

/// The paths that were asked for, as given: where they lead is for [`crate::workspace`] to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Where the file goes.
    pub directory: String,
    /// A file with further certificate authorities.
    pub ca_file: Option<String>,
    /// A file that the outputs go to as well.
    pub output_file: Option<String>,
}

/// The id of an export, a run or an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Id(pub u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An export, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportSelector {
    /// By its id.
    Id(Id),
    /// By its name.
    Name(String),
}

/// An identity, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentitySelector {
    /// By its id.
    Id(Id),
    /// By words that occur in what it is called.
    Words(String),
}

impl fmt::Display for ExportSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "export {id}"),
            Self::Name(name) => write!(f, "export {}", shown(name)),
        }
    }
}

impl fmt::Display for IdentitySelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "identity {id}"),
            Self::Words(words) => write!(f, "identity {}", shown(words)),
        }
    }
}

/// Which run of the export is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunSelector {
    /// One whose id is known.
    Id(Id),
    /// The newest one that exists.
    Latest,
    /// A new one.
    New,
}

/// What becomes of a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Its bytes stay what they are.
    AsSent,
    /// It is converted to UTF-8.
    Utf8,
}

/// The API key. It has no `Display`, and its `Debug` does not show it.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key itself: for the one header that carries it, for the mask, and for finding it where it must not be.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The value of the header that carries it, marked so that it is not shown in any `Debug`.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        // Parsed from visible ASCII, so the conversion cannot fail; an empty header would be answered with 401.
        let mut value = HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

/// The root of the API: its path ends with `/` and stops before `api/v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// The address of an endpoint below `/api/v1/`.
    #[must_use]
    pub fn endpoint(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}api/v1/{path}", self.0.path()));
        url
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether it is on this very machine, and the connection is not encrypted.
    #[must_use]
    pub fn is_plain_loopback(&self) -> bool {
        !self.is_https() && is_loopback(&self.0)
    }

    /// Host, with the port where it is not the usual one.
    #[must_use]
    pub fn host(&self) -> String {
        host(&self.0)
    }
}

/// The host of a URL, with its port where that is not the usual one of the scheme.
#[must_use]
pub fn host(url: &Url) -> String {
    let name = sanitize::excerpt(url.host_str().unwrap_or_default());
    match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name,
    }
}

/// What is wrong with one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputError {
    /// The input's name.
    pub input: &'static str,
    /// What is wrong with it and what is accepted. Shows the value, never the key.
    pub text: String,
}

impl InputError {
    /// A problem with a value that may be shown.
    #[must_use]
    pub fn with(input: &'static str, value: &str, why: &str) -> Self {
        Self { input, text: format!("{} {why}", shown(value)) }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.input, self.text)
    }
}

/// The values of the inputs as the environment has them: trimmed, and none where they were empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawInputs {
    api_key: Option<String>,
    export_name: Option<String>,
    export_id: Option<String>,
    identity: Option<String>,
    user_identity_id: Option<String>,
    export_file_id: Option<String>,
    base_url: Option<String>,
    directory: Option<String>,
    filename: Option<String>,
    encoding: Option<String>,
    timeout: Option<String>,
    poll_interval: Option<String>,
    fail_on: Option<String>,
    allow_http: Option<String>,
    ca_file: Option<String>,
    output_file: Option<String>,
}

/// An `INPUT_…` variable that means nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownInput {
    /// Its name.
    pub variable: String,
    /// The input that is spelt much like it: a misspelt one, most likely.
    pub meant: Option<&'static str>,
}

impl UnknownInput {
    fn new(variable: &str, name: &str) -> Self {
        /// Two slips in a name of some length are about this alike.
        const ALIKE: f64 = 0.7;
        let alike = INPUTS.iter().map(|input| (strsim::normalized_levenshtein(name, input.name), input.name));
        let nearest = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
        let meant = nearest.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, input)| input);
        Self { variable: sanitize::excerpt(variable), meant }
    }
}

/// What GitHub's runner itself hands over as inputs where an image is used without an action.yml.
const OF_THE_RUNNER: [&str; 2] = ["args", "entrypoint"];

/// What [`read`] found.
#[derive(Debug)]
pub struct ParsedInputs {
    /// The key, also when other inputs are bad: it is masked before anything else is printed.
    pub api_key: Option<ApiKey>,
    /// The paths, those that can be used.
    pub paths: Paths,
    /// How WebAdMIT is asked, when all that says so can be used.
    pub api_config: Option<ApiConfig>,
    /// What is to be brought home, when all that says so can be used.
    pub request: Option<ExportRequest>,
    /// What is wrong, in the order of [`INPUTS`].
    pub errors: Vec<InputError>,
    /// `INPUT_…` variables that mean nothing here.
    pub unknown: Vec<UnknownInput>,
}

/// Reads the inputs from the variables of the environment and reports everything that is wrong with them at once.
///
/// The runner hands `export-id` over as `INPUT_EXPORT-ID`; a shell can only write `INPUT_EXPORT_ID`. Both are read, in
/// any letter case.
#[must_use]
pub fn parse(variables: &[(OsString, OsString)]) -> ParsedInputs {
    let mut errors = InputErrors::default();
    let (raw, unknown) = collect(variables, &mut errors);
    let api_key = api_key_of(&mut errors, raw.api_key.as_deref());
    let api_key = errors.keep("api-key", api_key.map(parse_api_key));
    errors.key.clone_from(&raw.api_key);
    let paths = paths(&raw, &mut errors);
    let api_config = api_config(&raw, api_key.clone(), &mut errors);
    let request = request(&raw, &mut errors);
    let mut errors = errors.found;
    sort(&mut errors);
    ParsedInputs { api_key, paths, api_config, request, errors, unknown }
}

/// Puts problems into the order of [`INPUTS`].
pub fn sort(errors: &mut [InputError]) {
    errors.sort_by_key(|error| INPUTS.iter().position(|spec| spec.name == error.input));
}

/// The variable that a shell can write for an input.
#[must_use]
pub fn variable(input: &str) -> String {
    format!("INPUT_{}", input.replace('-', "_").to_uppercase())
}

/// Picks the inputs out of the variables. Their names lose the prefix and become snake_case.
fn collect(variables: &[(OsString, OsString)], errors: &mut InputErrors) -> (RawInputs, Vec<UnknownInput>) {
    let mut values: Vec<(String, String)> = Vec::new();
    let mut unknown = Vec::new();
    for (variable, value) in variables {
        let Some(name) = variable.to_str().and_then(input_name) else { continue };
        let Some(spec) = INPUTS.iter().find(|spec| spec.name == name) else {
            if !OF_THE_RUNNER.contains(&name.as_str()) {
                unknown.push(UnknownInput::new(&variable.to_string_lossy(), &name));
            }
            continue;
        };
        let Some(value) = value.to_str() else {
            errors.add(spec.name, "its value is not valid UTF-8");
            continue;
        };
        let (key, value) = (name.replace('-', "_"), value.trim());
        match values.iter().find(|(known, _)| *known == key) {
            _ if value.is_empty() => {}
            Some((_, first)) if first == value => {}
            Some(_) => errors.add(
                spec.name,
                "given twice with different values: variables that differ only in letter case, hyphens and underscores mean the same input",
            ),
            None => values.push((key, value.to_owned())),
        }
    }
    unknown.sort_by(|one: &UnknownInput, other| one.variable.cmp(&other.variable));
    // Each field is an optional string and each key comes once, so envy has nothing to object to.
    (envy::from_iter(values).unwrap_or_default(), unknown)
}

/// `export-id` for `INPUT_EXPORT-ID`, `INPUT_EXPORT_ID` and their like.
fn input_name(variable: &str) -> Option<String> {
    let name = variable.to_lowercase().replace(['_', ' '], "-");
    name.strip_prefix("input-").map(str::to_owned)
}

fn api_config(raw: &RawInputs, api_key: Option<ApiKey>, errors: &mut InputErrors) -> Option<ApiConfig> {
    let allow_http = errors.parse_value("allow-http", &raw.allow_http, boolean).unwrap_or(false);
    let base_url = Some(raw.base_url.clone().unwrap_or_else(|| DEFAULT_BASE_URL.to_owned()));
    let base_url = errors.parse_value("base-url", &base_url, |value| parse_base_url(value, allow_http));
    let timeout = errors.parse_value("timeout", &raw.timeout, duration).unwrap_or(DEFAULT_TIMEOUT);
    let poll_interval = errors.parse_value("poll-interval", &raw.poll_interval, duration);
    Some(ApiConfig {
        api_key: api_key?,
        base_url: base_url?,
        timeout,
        poll_interval: poll_interval.unwrap_or(DEFAULT_POLL_INTERVAL),
    })
}

fn request(raw: &RawInputs, errors: &mut InputErrors) -> Option<ExportRequest> {
    let filename = errors.parse_value("filename", &raw.filename, file_name);
    let encoding = errors.parse_value("encoding", &raw.encoding, encoding);
    let fail_on = errors.parse_value("fail-on", &raw.fail_on, statuses);
    let (export, identity) = (which_export(raw, errors), which_identity(raw, errors));
    let run = which_run(raw, errors);
    Some(ExportRequest {
        export: export?,
        identity,
        run: run?,
        filename,
        encoding: encoding.unwrap_or(Encoding::AsSent),
        fail_on: fail_on.unwrap_or_else(|| vec![Status::Failed, Status::EmptyList]),
    })
}

fn paths(raw: &RawInputs, errors: &mut InputErrors) -> Paths {
    let mut parse = |input, value: &Option<String>| errors.parse_value(input, value, path);
    Paths {
        directory: parse("directory", &raw.directory).unwrap_or_else(|| ".".to_owned()),
        ca_file: parse("ca-file", &raw.ca_file),
        output_file: parse("output-file", &raw.output_file),
    }
}

fn which_export(raw: &RawInputs, errors: &mut InputErrors) -> Option<ExportSelector> {
    errors.one_of(("export-name", &raw.export_name), ("export-id", &raw.export_id));
    let is_missing = raw.export_name.is_none() && raw.export_id.is_none();
    if is_missing && !errors.has("export-name") && !errors.has("export-id") {
        let (name, id) = (variable("export-name"), variable("export-id"));
        errors.add(
            "export-name",
            &format!("missing: give the name of the export, or its id as export-id (as variables: {name}, {id})"),
        );
    }
    let name = errors.parse_value("export-name", &raw.export_name, name);
    let id = errors.parse_value("export-id", &raw.export_id, id);
    name.map(ExportSelector::Name).or(id.map(ExportSelector::Id))
}

fn which_identity(raw: &RawInputs, errors: &mut InputErrors) -> Option<IdentitySelector> {
    errors.one_of(("identity", &raw.identity), ("user-identity-id", &raw.user_identity_id));
    let words = errors.parse_value("identity", &raw.identity, words);
    let id = errors.parse_value("user-identity-id", &raw.user_identity_id, id);
    words.map(IdentitySelector::Words).or(id.map(IdentitySelector::Id))
}

fn which_run(raw: &RawInputs, errors: &mut InputErrors) -> Option<RunSelector> {
    let run = errors.parse_value("export-file-id", &raw.export_file_id, run_id);
    let has_identity = raw.identity.is_some() || raw.user_identity_id.is_some();
    let (words, id) = (variable("identity"), variable("user-identity-id"));
    match (&raw.export_file_id, run) {
        (None, _) if ["export-file-id", "identity", "user-identity-id"].iter().any(|input| errors.has(input)) => None,
        (None, _) if !has_identity => {
            let text = format!(
                "missing: give words of it, such as SOPHAS, or its id as user-identity-id; or give export-file-id, to take a run that is there (as variables: {words}, {id}, {})",
                variable("export-file-id"),
            );
            errors.add("identity", &text);
            None
        }
        (None, _) => Some(RunSelector::New),
        (Some(_), Some(RunSelector::Latest)) if !has_identity => {
            let text = format!("latest needs an identity, whose files are looked through: set {words} or {id}");
            errors.add("export-file-id", &text);
            None
        }
        (Some(_), run) => run,
    }
}

fn api_key_of<'a>(errors: &mut InputErrors, value: Option<&'a str>) -> Option<&'a str> {
    if value.is_none() && !errors.has("api-key") {
        let text = format!(
            "missing or empty: is the secret there that it is taken from, spelt the same, and may this job see it? (as a variable: {})",
            variable("api-key")
        );
        errors.add("api-key", &text);
    }
    value
}

/// What is wrong, collected.
#[derive(Default)]
struct InputErrors {
    found: Vec<InputError>,
    key: Option<String>,
}

impl InputErrors {
    fn add(&mut self, input: &'static str, text: &str) {
        self.found.push(InputError { input, text: text.to_owned() });
    }

    /// Whether something is wrong with this input already.
    fn has(&self, input: &str) -> bool {
        self.found.iter().any(|error| error.input == input)
    }

    /// Two inputs say the same thing: only one of them may be given.
    fn one_of(&mut self, first: (&'static str, &Option<String>), second: (&'static str, &Option<String>)) {
        if let (Some(value), Some(other)) = (first.1, second.1) {
            let (value, other) = (self.display_value(value), self.display_value(other));
            let text = format!("{value} is given together with {} {other}: give only one of the two", second.0);
            self.add(first.0, &text);
        }
    }

    /// What a value says; nothing where it is not given, and nothing and a problem more where it cannot be used.
    fn parse_value<T>(
        &mut self,
        input: &'static str,
        value: &Option<String>,
        parse: impl FnOnce(&str) -> Result<T, Rejection>,
    ) -> Option<T> {
        let value = value.as_deref()?;
        if self.key.as_deref().is_some_and(|key| key.len() >= SHORTEST_KEY && value.contains(key)) {
            self.add(input, "holds the API key, which belongs into api-key alone (the value is not shown)");
            return None;
        }
        self.keep(input, Some(parse(value)))
    }

    /// The value, or nothing and a problem more.
    fn keep<T>(&mut self, input: &'static str, parsed: Option<Result<T, Rejection>>) -> Option<T> {
        match parsed? {
            Ok(value) => Some(value),
            Err(Rejection { value, why }) => {
                let shown = value.map(|value| self.display_value(&value)).unwrap_or_default();
                // A part of the value that the reason names is hidden where the value is.
                let parts = why.split('`').map(|part| if self.is_key(part) { "***" } else { part });
                let why = parts.collect::<Vec<_>>().join("`");
                self.add(input, format!("{shown} {why}").trim_start());
                None
            }
        }
    }

    /// A value as a message shows it.
    fn display_value(&self, value: &str) -> String {
        if self.is_key(value) { "a value that looks like a key and is not shown".to_owned() } else { shown(value) }
    }

    /// Whether a value is the key, or what keys look like (32 hexadecimal digits): it stands at the wrong place then,
    /// and a message must not carry it on.
    fn is_key(&self, value: &str) -> bool {
        looks_like_a_key(value) || self.key.as_deref().is_some_and(|key| value.contains(key))
    }
}

/// Whether keys look like something in a text: 32 hexadecimal digits in a row.
#[must_use]
pub fn looks_like_a_key(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_hexdigit()).any(|digits| digits.len() >= 32)
}

/// A value as messages show it.
fn shown(value: &str) -> String {
    format!("`{}`", sanitize::truncate(&sanitize::line(value), LONGEST_SHOWN))
}

/// Why a value is not accepted. A value that must not be shown is left out.
struct Rejection {
    value: Option<String>,
    why: String,
}

fn reject<T>(value: &str, why: impl Into<String>) -> Result<T, Rejection> {
    Err(Rejection { value: Some(value.to_owned()), why: why.into() })
}

fn parse_api_key(value: &str) -> Result<ApiKey, Rejection> {
    if value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'')) {
        return Ok(ApiKey(value.to_owned()));
    }
    let why = "holds white space, quotes or characters that no key has; give the key alone, usually 32 hexadecimal digits (its value is not shown)";
    Err(Rejection { value: None, why: why.to_owned() })
}

fn id(value: &str) -> Result<Id, Rejection> {
    let number = value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten();
    match number {
        Some(number) if number > 0 => Ok(Id(number)),
        _ => reject(value, "is not an id: a positive integer is accepted, such as 74780"),
    }
}

fn run_id(value: &str) -> Result<RunSelector, Rejection> {
    if value.eq_ignore_ascii_case("latest") {
        return Ok(RunSelector::Latest);
    }
    match id(value) {
        Ok(id) => Ok(RunSelector::Id(id)),
        Err(_) => reject(
            value,
            "is neither an id nor latest: a positive integer is accepted, such as 74780, or the word latest",
        ),
    }
}

fn encoding(value: &str) -> Result<Encoding, Rejection> {
    let letters: String = value.to_lowercase().chars().filter(|c| !matches!(c, '-' | '_' | ' ')).collect();
    match letters.as_str() {
        "assent" => Ok(Encoding::AsSent),
        "utf8" => Ok(Encoding::Utf8),
        _ => reject(value, "is neither as-sent nor utf-8; as-sent leaves the charset as it comes"),
    }
}

fn boolean(value: &str) -> Result<bool, Rejection> {
    match value.to_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => reject(value, "is neither true nor false"),
    }
}

fn duration(value: &str) -> Result<Duration, Rejection> {
    const ACCEPTED: &str = "90s, 45m, 1h30m, 250ms, or a bare number of seconds";
    // In humantime `M` is a month; somebody who writes 45M here means minutes.
    let text = value.to_lowercase();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed =
        if digits { text.parse().ok().map(Duration::from_secs) } else { humantime::parse_duration(&text).ok() };
    match parsed {
        Some(Duration::ZERO) => {
            reject(value, format!("is no time at all: it must be more than zero, such as {ACCEPTED}"))
        }
        Some(duration) => Ok(duration),
        None => reject(value, format!("is not a duration: accepted are {ACCEPTED}")),
    }
}

fn statuses(value: &str) -> Result<Vec<Status>, Rejection> {
    let accepted = || FAILING.iter().map(Status::name).collect::<Vec<_>>().join(", ");
    let mut statuses = Vec::new();
    // WebAdMIT's own spelling has spaces in it, which can part two statuses, too.
    let parts = value.split([',', '\n', '\r']).flat_map(|part| match FAILING.contains(&Status::parse(part)) {
        true => vec![part],
        false => part.split_whitespace().collect(),
    });
    for word in parts {
        let status = Status::parse(word);
        if !FAILING.contains(&status) {
            return reject(value, format!("names `{}`, which is not one of {}", sanitize::excerpt(word), accepted()));
        }
        if !statuses.contains(&status) {
            statuses.push(status);
        }
    }
    if statuses.is_empty() {
        reject(value, format!("names no status: any of {} is accepted", accepted()))
    } else {
        Ok(statuses)
    }
}

fn file_name(value: &str) -> Result<String, Rejection> {
    if value.contains(['/', '\\']) {
        return reject(value, "holds a path: a single file name is accepted; the input `directory` says where it goes");
    }
    if value == "." || value == ".." {
        return reject(value, "is a directory, not a file name");
    }
    if value.chars().any(sanitize::is_unprintable) {
        return reject(value, "holds control or bidirectional characters, which no file name here may have");
    }
    if value.len() > 255 {
        return reject(value, format!("is {} bytes long: a file name has at most 255", value.len()));
    }
    Ok(value.to_owned())
}

/// Nothing is called by a longer name than this, in bytes.
const MAX_NAME_LENGTH: usize = 1000;

fn name(value: &str) -> Result<String, Rejection> {
    if value.len() > MAX_NAME_LENGTH {
        return reject(value, format!("is {} bytes long: at most {MAX_NAME_LENGTH} are accepted", value.len()));
    }
    printable(value)
}

fn words(value: &str) -> Result<String, Rejection> {
    // Words may stand on several lines, or come out of a table.
    let value = &value.replace(['\t', '\n', '\r'], " ");
    if sanitize::normalize(value).matches('"').count() % 2 == 1 {
        return reject(value, "has a double quote that is not closed");
    }
    if value.chars().any(char::is_alphanumeric) {
        return name(value);
    }
    reject(value, "has no word in it: words of the identity are accepted, such as SOPHAS")
}

fn path(value: &str) -> Result<String, Rejection> {
    if value.starts_with('~') {
        return reject(
            value,
            "begins with ~, which means nothing here: give a path in the workspace, or an absolute one",
        );
    }
    printable(value)
}

fn printable(value: &str) -> Result<String, Rejection> {
    if value.chars().any(sanitize::is_unprintable) {
        return reject(value, "holds control or bidirectional characters, which it may not have");
    }
    Ok(value.to_owned())
}

fn parse_base_url(value: &str, allow_http: bool) -> Result<BaseUrl, Rejection> {
    let hint = "accepted is the root of the API, such as https://api.webadmit.org";
    let Ok(mut url) = Url::parse(value) else {
        let why = if value.contains("://") { "is not a URL" } else { "does not begin with https://" };
        return reject(value, format!("{why}; {hint}"));
    };
    if !url.username().is_empty() || url.password().is_some() {
        let why = format!("holds a user name or password (it is not shown); {hint}");
        return Err(Rejection { value: None, why });
    }
    match url.scheme() {
        "https" => {}
        "http" if allow_http || is_loopback(&url) => {}
        "http" => {
            let why =
                "would send the key unencrypted: use https (http is for loopback hosts, or set allow-http to true)";
            return reject(value, why);
        }
        _ if url.host_str().is_none() => {
            return reject(value, format!("does not begin with https://; {hint}"));
        }
        scheme => return reject(value, format!("has the scheme `{}`; {hint}", sanitize::excerpt(scheme))),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Rejection { value: None, why: format!("holds a query or a fragment (it is not shown); {hint}") });
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/api/v1").unwrap_or(path).trim_end_matches('/').to_owned();
    if path.contains("/api/v1") {
        return reject(value, format!("goes on after /api/v1: leave that out; {hint}"));
    }
    url.set_path(&format!("{path}/"));
    Ok(BaseUrl(url))
}

/// Whether a URL points to this machine: `localhost`, 127.0.0.0/8 or ::1.
fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;

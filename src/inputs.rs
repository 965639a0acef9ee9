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

use crate::clean;
use crate::status::{FAILING, Status};

/// One input as users meet it: in action.yml, in `--help` and in messages.
pub struct Declaration {
    /// Its name in kebab-case.
    pub name: &'static str,
    /// Whether there is no step without it.
    pub required: bool,
    /// What it is when it is not given.
    pub default: Option<&'static str>,
    /// What it means, in a line or two.
    pub meaning: &'static str,
}

impl Declaration {
    /// The name of the variable that a shell can write: `INPUT_EXPORT_ID` for `export-id`.
    #[must_use]
    pub fn variable(&self) -> String {
        variable(self.name)
    }
}

/// Every input, in the order in which they are listed. action.yml and the README say the same; a test compares them.
pub const DECLARATIONS: [Declaration; 16] = [
    Declaration {
        name: "api-key",
        required: true,
        default: None,
        meaning: "WebAdMIT API key. It is sent to the API and to nothing else; hand it over from a secret.",
    },
    Declaration {
        name: "export-name",
        required: false,
        default: None,
        meaning: "Name of the export as WebAdMIT shows it, in any letter case; this or export-id is needed. It is looked up among the identity's exports, or with the id of a run and no identity among all.",
    },
    Declaration {
        name: "export-id",
        required: false,
        default: None,
        meaning: "Instead of export-name: id of the export, a positive integer. It changes with each application cycle.",
    },
    Declaration {
        name: "identity",
        required: false,
        default: None,
        meaning: "Words, each of which occurs in the identity's association, organization, institution, cycle or type, in any letter case: SOPHAS, PharmCAS 2025 - 2026. A word of digits matches only a whole number. In double quotes: the whole of one of these texts. Of several identities that differ only in their cycle, the newest is taken. A run of the export is started under it, or with export-file-id latest its files are looked through. With export-id and the id of a run it is not used.",
    },
    Declaration {
        name: "user-identity-id",
        required: false,
        default: None,
        meaning: "Instead of identity: id of the identity, a positive integer. It changes with each application cycle. With export-id and the id of a run it is not used.",
    },
    Declaration {
        name: "export-file-id",
        required: false,
        default: None,
        meaning: "Instead of starting a run: id of the run to wait for, a positive integer; or latest, the newest file of the export under the identity that already exists.",
    },
    Declaration {
        name: "base-url",
        required: false,
        default: Some("https://api.webadmit.org"),
        meaning: "Root of the API. https only; http for loopback hosts, or anywhere with allow-http.",
    },
    Declaration {
        name: "directory",
        required: false,
        default: Some("."),
        meaning: "Where the file goes, relative to the workspace; made when missing. An absolute path can lead to where the following steps do not see it.",
    },
    Declaration {
        name: "filename",
        required: false,
        default: None,
        meaning: "What the file is called: a single file name, no path in it. By default the server's name for it.",
    },
    Declaration {
        name: "encoding",
        required: false,
        default: Some("as-sent"),
        meaning: "as-sent or utf-8. With utf-8, text files are converted from the charset that the store names to UTF-8 without a byte-order mark; other files stay as sent.",
    },
    Declaration {
        name: "timeout",
        required: false,
        default: Some("1h"),
        meaning: "Bound on the whole step: 90s, 45m, 1h30m, 250ms; a bare number is seconds.",
    },
    Declaration {
        name: "poll-interval",
        required: false,
        default: Some("15s"),
        meaning: "The longest wait between two status checks; same syntax as timeout.",
    },
    Declaration {
        name: "fail-on",
        required: false,
        default: Some("failed,empty_list"),
        meaning: "Statuses that fail the step, separated by commas, spaces or newlines: any of failed, empty_list, success_with_errors.",
    },
    Declaration {
        name: "allow-http",
        required: false,
        default: Some("false"),
        meaning: "Allow plain http to a host that is not loopback, for tests against a stand-in.",
    },
    Declaration {
        name: "ca-file",
        required: false,
        default: None,
        meaning: "PEM file, relative to the workspace, with certificate authorities to trust besides the system's.",
    },
    Declaration {
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
pub struct Service {
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
pub struct Wanted {
    /// The export whose file is wanted.
    pub export: Export,
    /// The identity that it is looked up and run under.
    pub identity: Option<Identity>,
    /// Which run of it.
    pub run: Run,
    /// What the file is to be called, where the server's name is not wanted.
    pub filename: Option<String>,
    /// What becomes of a text file.
    pub encoding: Encoding,
    /// The statuses that fail the step.
    pub fail_on: Vec<Status>,
}

impl Wanted {
    /// Whether the identity is of use: for a look-up, or to start a run. With two ids everything is said.
    #[must_use]
    pub fn uses_identity(&self) -> bool {
        matches!(self.export, Export::Named(_)) || !matches!(self.run, Run::Existing(_))
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
pub enum Export {
    /// By its id.
    Id(Id),
    /// By its name.
    Named(String),
}

/// An identity, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By its id.
    Id(Id),
    /// By words that occur in what it is called.
    Described(String),
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "export {id}"),
            Self::Named(name) => write!(f, "export {}", shown(name)),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "identity {id}"),
            Self::Described(words) => write!(f, "identity {}", shown(words)),
        }
    }
}

/// Which run of the export is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// One whose id is known.
    Existing(Id),
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
    let name = clean::words(url.host_str().unwrap_or_default());
    match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name,
    }
}

/// What is wrong with one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The input's name.
    pub input: &'static str,
    /// What is wrong with it and what is accepted. Shows the value, never the key.
    pub text: String,
}

impl Problem {
    /// A problem with a value that may be shown.
    #[must_use]
    pub fn with(input: &'static str, value: &str, why: &str) -> Self {
        Self { input, text: format!("{} {why}", shown(value)) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.input, self.text)
    }
}

/// The values of the inputs as the environment has them: trimmed, and none where they were empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Given {
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
pub struct Unknown {
    /// Its name.
    pub variable: String,
    /// The input that is spelt much like it: a misspelt one, most likely.
    pub meant: Option<&'static str>,
}

impl Unknown {
    fn new(variable: &str, name: &str) -> Self {
        /// Two slips in a name of some length are about this alike.
        const ALIKE: f64 = 0.7;
        let alike = DECLARATIONS.iter().map(|input| (strsim::normalized_levenshtein(name, input.name), input.name));
        let nearest = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
        let meant = nearest.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, input)| input);
        Self { variable: clean::words(variable), meant }
    }
}

/// What GitHub's runner itself hands over as inputs where an image is used without an action.yml.
const OF_THE_RUNNER: [&str; 2] = ["args", "entrypoint"];

/// What [`read`] found.
#[derive(Debug)]
pub struct Reading {
    /// The key, also when other inputs are bad: it is masked before anything else is printed.
    pub api_key: Option<ApiKey>,
    /// The paths, those that can be used.
    pub paths: Paths,
    /// How WebAdMIT is asked, when all that says so can be used.
    pub service: Option<Service>,
    /// What is to be brought home, when all that says so can be used.
    pub wanted: Option<Wanted>,
    /// What is wrong, in the order of [`DECLARATIONS`].
    pub problems: Vec<Problem>,
    /// `INPUT_…` variables that mean nothing here.
    pub unknown: Vec<Unknown>,
}

/// Reads the inputs from the variables of the environment and reports everything that is wrong with them at once.
///
/// The runner hands `export-id` over as `INPUT_EXPORT-ID`; a shell can only write `INPUT_EXPORT_ID`. Both are read, in
/// any letter case.
#[must_use]
pub fn read(variables: &[(OsString, OsString)]) -> Reading {
    let mut problems = Problems::default();
    let (given, unknown) = collect(variables, &mut problems);
    let api_key = api_key_of(&mut problems, given.api_key.as_deref());
    let api_key = problems.keep("api-key", api_key.map(parse_api_key));
    problems.key.clone_from(&given.api_key);
    let paths = paths(&given, &mut problems);
    let service = service(&given, api_key.clone(), &mut problems);
    let wanted = wanted(&given, &mut problems);
    let mut problems = problems.found;
    sort(&mut problems);
    Reading { api_key, paths, service, wanted, problems, unknown }
}

/// Puts problems into the order of [`DECLARATIONS`].
pub fn sort(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| DECLARATIONS.iter().position(|declaration| declaration.name == problem.input));
}

/// The variable that a shell can write for an input.
#[must_use]
pub fn variable(input: &str) -> String {
    format!("INPUT_{}", input.replace('-', "_").to_uppercase())
}

/// Picks the inputs out of the variables. Their names lose the prefix and become snake_case.
fn collect(variables: &[(OsString, OsString)], problems: &mut Problems) -> (Given, Vec<Unknown>) {
    let mut values: Vec<(String, String)> = Vec::new();
    let mut unknown = Vec::new();
    for (variable, value) in variables {
        let Some(name) = variable.to_str().and_then(input_name) else { continue };
        let Some(declaration) = DECLARATIONS.iter().find(|declaration| declaration.name == name) else {
            if !OF_THE_RUNNER.contains(&name.as_str()) {
                unknown.push(Unknown::new(&variable.to_string_lossy(), &name));
            }
            continue;
        };
        let Some(value) = value.to_str() else {
            problems.add(declaration.name, "its value is not valid UTF-8");
            continue;
        };
        let (key, value) = (name.replace('-', "_"), value.trim());
        match values.iter().find(|(known, _)| *known == key) {
            _ if value.is_empty() => {}
            Some((_, first)) if first == value => {}
            Some(_) => problems.add(
                declaration.name,
                "given twice with different values: variables that differ only in letter case, hyphens and underscores mean the same input",
            ),
            None => values.push((key, value.to_owned())),
        }
    }
    unknown.sort_by(|one: &Unknown, other| one.variable.cmp(&other.variable));
    // Each field is an optional string and each key comes once, so envy has nothing to object to.
    (envy::from_iter(values).unwrap_or_default(), unknown)
}

/// `export-id` for `INPUT_EXPORT-ID`, `INPUT_EXPORT_ID` and their like.
fn input_name(variable: &str) -> Option<String> {
    let name = variable.to_lowercase().replace(['_', ' '], "-");
    name.strip_prefix("input-").map(str::to_owned)
}

fn service(given: &Given, api_key: Option<ApiKey>, problems: &mut Problems) -> Option<Service> {
    let allow_http = problems.parse("allow-http", &given.allow_http, boolean).unwrap_or(false);
    let base_url = Some(given.base_url.clone().unwrap_or_else(|| DEFAULT_BASE_URL.to_owned()));
    let base_url = problems.parse("base-url", &base_url, |value| parse_base_url(value, allow_http));
    let timeout = problems.parse("timeout", &given.timeout, duration).unwrap_or(DEFAULT_TIMEOUT);
    let poll_interval = problems.parse("poll-interval", &given.poll_interval, duration);
    Some(Service {
        api_key: api_key?,
        base_url: base_url?,
        timeout,
        poll_interval: poll_interval.unwrap_or(DEFAULT_POLL_INTERVAL),
    })
}

fn wanted(given: &Given, problems: &mut Problems) -> Option<Wanted> {
    let filename = problems.parse("filename", &given.filename, file_name);
    let encoding = problems.parse("encoding", &given.encoding, encoding);
    let fail_on = problems.parse("fail-on", &given.fail_on, statuses);
    let (export, identity) = (which_export(given, problems), which_identity(given, problems));
    let run = which_run(given, problems);
    Some(Wanted {
        export: export?,
        identity,
        run: run?,
        filename,
        encoding: encoding.unwrap_or(Encoding::AsSent),
        fail_on: fail_on.unwrap_or_else(|| vec![Status::Failed, Status::EmptyList]),
    })
}

fn paths(given: &Given, problems: &mut Problems) -> Paths {
    let mut parse = |input, value: &Option<String>| problems.parse(input, value, path);
    Paths {
        directory: parse("directory", &given.directory).unwrap_or_else(|| ".".to_owned()),
        ca_file: parse("ca-file", &given.ca_file),
        output_file: parse("output-file", &given.output_file),
    }
}

fn which_export(given: &Given, problems: &mut Problems) -> Option<Export> {
    problems.one_of(("export-name", &given.export_name), ("export-id", &given.export_id));
    let is_missing = given.export_name.is_none() && given.export_id.is_none();
    if is_missing && !problems.has("export-name") && !problems.has("export-id") {
        let (name, id) = (variable("export-name"), variable("export-id"));
        problems.add(
            "export-name",
            &format!("missing: give the name of the export, or its id as export-id (as variables: {name}, {id})"),
        );
    }
    let name = problems.parse("export-name", &given.export_name, name);
    let id = problems.parse("export-id", &given.export_id, id);
    name.map(Export::Named).or(id.map(Export::Id))
}

fn which_identity(given: &Given, problems: &mut Problems) -> Option<Identity> {
    problems.one_of(("identity", &given.identity), ("user-identity-id", &given.user_identity_id));
    let words = problems.parse("identity", &given.identity, words);
    let id = problems.parse("user-identity-id", &given.user_identity_id, id);
    words.map(Identity::Described).or(id.map(Identity::Id))
}

fn which_run(given: &Given, problems: &mut Problems) -> Option<Run> {
    let run = problems.parse("export-file-id", &given.export_file_id, run_id);
    let has_identity = given.identity.is_some() || given.user_identity_id.is_some();
    let (words, id) = (variable("identity"), variable("user-identity-id"));
    match (&given.export_file_id, run) {
        (None, _) if ["export-file-id", "identity", "user-identity-id"].iter().any(|input| problems.has(input)) => None,
        (None, _) if !has_identity => {
            let text = format!(
                "missing: give words of it, such as SOPHAS, or its id as user-identity-id; or give export-file-id, to take a run that is there (as variables: {words}, {id}, {})",
                variable("export-file-id"),
            );
            problems.add("identity", &text);
            None
        }
        (None, _) => Some(Run::New),
        (Some(_), Some(Run::Latest)) if !has_identity => {
            let text = format!("latest needs an identity, whose files are looked through: set {words} or {id}");
            problems.add("export-file-id", &text);
            None
        }
        (Some(_), run) => run,
    }
}

fn api_key_of<'a>(problems: &mut Problems, value: Option<&'a str>) -> Option<&'a str> {
    if value.is_none() && !problems.has("api-key") {
        let text = format!(
            "missing or empty: is the secret there that it is taken from, spelt the same, and may this job see it? (as a variable: {})",
            variable("api-key")
        );
        problems.add("api-key", &text);
    }
    value
}

/// What is wrong, collected.
#[derive(Default)]
struct Problems {
    found: Vec<Problem>,
    key: Option<String>,
}

impl Problems {
    fn add(&mut self, input: &'static str, text: &str) {
        self.found.push(Problem { input, text: text.to_owned() });
    }

    /// Whether something is wrong with this input already.
    fn has(&self, input: &str) -> bool {
        self.found.iter().any(|problem| problem.input == input)
    }

    /// Two inputs say the same thing: only one of them may be given.
    fn one_of(&mut self, first: (&'static str, &Option<String>), second: (&'static str, &Option<String>)) {
        if let (Some(value), Some(other)) = (first.1, second.1) {
            let (value, other) = (self.tell(value), self.tell(other));
            let text = format!("{value} is given together with {} {other}: give only one of the two", second.0);
            self.add(first.0, &text);
        }
    }

    /// What a value says; nothing where it is not given, and nothing and a problem more where it cannot be used.
    fn parse<T>(
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
                let shown = value.map(|value| self.tell(&value)).unwrap_or_default();
                // A part of the value that the reason names is hidden where the value is.
                let parts = why.split('`').map(|part| if self.is_key(part) { "***" } else { part });
                let why = parts.collect::<Vec<_>>().join("`");
                self.add(input, format!("{shown} {why}").trim_start());
                None
            }
        }
    }

    /// A value as a message shows it.
    fn tell(&self, value: &str) -> String {
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
    format!("`{}`", clean::cut(&clean::line(value), LONGEST_SHOWN))
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

fn run_id(value: &str) -> Result<Run, Rejection> {
    if value.eq_ignore_ascii_case("latest") {
        return Ok(Run::Latest);
    }
    match id(value) {
        Ok(id) => Ok(Run::Existing(id)),
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
    let parts = value.split([',', '\n', '\r']).flat_map(|part| match FAILING.contains(&Status::read(part)) {
        true => vec![part],
        false => part.split_whitespace().collect(),
    });
    for word in parts {
        let status = Status::read(word);
        if !FAILING.contains(&status) {
            return reject(value, format!("names `{}`, which is not one of {}", clean::words(word), accepted()));
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
    if value.chars().any(clean::is_unprintable) {
        return reject(value, "holds control or bidirectional characters, which no file name here may have");
    }
    if value.len() > 255 {
        return reject(value, format!("is {} bytes long: a file name has at most 255", value.len()));
    }
    Ok(value.to_owned())
}

/// Nothing is called by a longer name than this, in bytes.
const LONGEST_NAME: usize = 1000;

fn name(value: &str) -> Result<String, Rejection> {
    if value.len() > LONGEST_NAME {
        return reject(value, format!("is {} bytes long: at most {LONGEST_NAME} are accepted", value.len()));
    }
    printable(value)
}

fn words(value: &str) -> Result<String, Rejection> {
    // Words may stand on several lines, or come out of a table.
    let value = &value.replace(['\t', '\n', '\r'], " ");
    if clean::fold(value).matches('"').count() % 2 == 1 {
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
    if value.chars().any(clean::is_unprintable) {
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
        scheme => return reject(value, format!("has the scheme `{}`; {hint}", clean::words(scheme))),
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

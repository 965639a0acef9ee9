//! Parsers of single values.

use std::time::Duration;

use reqwest::Url;

use super::input_error::{Rejection, reject, reject_hidden, reject_part};
use super::{Command, Encoding};
use crate::http;
use crate::text::{normalize, sanitize};
use crate::webadmit::status::{FAILING, Status};
use crate::webadmit::{ApiKey, BaseUrl, Id};

/// Maximum length of `identity`, and of each name in `export-name` and `pdf-template`, in bytes.
const MAX_SELECTOR_LENGTH: usize = 1000;

/// Maximum length of a file name, in bytes.
const MAX_FILENAME_LENGTH: usize = 255;

const NOT_AN_ID: &str = "is not an id; must be a positive integer, such as 74780";

type Parsed<T> = Result<T, Rejection>;

pub(super) fn api_key(value: &str) -> Parsed<ApiKey> {
    if value.contains("${{") {
        return reject_hidden("contains ${{, which was not expanded; check how the secret is passed (value not shown)");
    }
    let reason = "contains white space, quotes or characters that no key has; give only the key, usually 32 hexadecimal digits (value not shown)";
    ApiKey::new(value).map_or_else(|| reject_hidden(reason), Ok)
}

pub(super) fn id(value: &str) -> Parsed<Id> {
    Id::parse(value).map_or_else(|| reject(value, NOT_AN_ID), Ok)
}

/// Parses ids that are separated by commas, spaces or newlines.
pub(super) fn ids(value: &str) -> Parsed<Vec<Id>> {
    parse_ids(value, NOT_AN_ID, "a positive integer, such as 74780")
}

/// The runs that `export-file-id` or `pdf-batch-id` selects.
pub(super) enum RunIds {
    Ids(Vec<Id>),
    /// The newest run of each export or template.
    Latest,
}

pub(super) fn run_ids(value: &str) -> Parsed<RunIds> {
    const ACCEPTED: &str = "must be a positive integer, such as 74780, or latest";

    if is_latest(value) {
        return Ok(RunIds::Latest);
    }
    parse_ids(value, ACCEPTED, "an id; give ids, such as 74780, or only latest").map(RunIds::Ids)
}

pub(super) fn is_latest(value: &str) -> bool {
    value.eq_ignore_ascii_case("latest")
}

/// Parses ids. `reason` rejects a single word, and `expected` says what one of several is not.
fn parse_ids(value: &str, reason: &str, expected: &str) -> Parsed<Vec<Id>> {
    let mut ids = Vec::new();
    for word in words(value) {
        match id(word) {
            Ok(id) if ids.contains(&id) => return reject(word, "is given twice"),
            Ok(id) => ids.push(id),
            Err(_) if word == value => return reject(value, reason),
            Err(_) => return reject_part(value, "contains", word, format!(", which is not {expected}")),
        }
    }
    if ids.is_empty() { reject(value, reason) } else { Ok(ids) }
}

/// Returns the parts of a list that is separated by commas, spaces or newlines.
fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

/// Parses names, one per line.
pub(super) fn names(value: &str) -> Parsed<Vec<String>> {
    let (mut names, mut normalized) = (Vec::new(), Vec::new());
    for line in value.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let key = normalize(line);
        if normalized.contains(&key) {
            return reject(line, "is given twice");
        }
        normalized.push(key);
        names.push(name(line)?);
    }
    Ok(names)
}

pub(super) fn encoding(value: &str) -> Parsed<Encoding> {
    let letters: String = value.to_lowercase().chars().filter(|c| !matches!(c, '-' | '_' | ' ')).collect();
    match letters.as_str() {
        "assent" => Ok(Encoding::AsSent),
        "utf8" => Ok(Encoding::Utf8),
        _ => reject(value, "must be as-sent or utf-8"),
    }
}

pub(super) fn boolean(value: &str) -> Parsed<bool> {
    match value.to_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => reject(value, "must be true or false"),
    }
}

pub(super) fn duration(value: &str) -> Parsed<Duration> {
    const ACCEPTED: &str = "90s, 45m, 1h30m, 250ms, or a plain number of seconds";

    let parsed = if is_number(value) { value.parse().ok().map(Duration::from_secs) } else { duration_with_unit(value) };
    positive_duration(value, parsed, "a duration", ACCEPTED)
}

/// Parses a maximum age. It needs a unit, because nobody means `26` as seconds.
pub(super) fn max_age(value: &str) -> Parsed<Duration> {
    const ACCEPTED: &str = "26h or 2d";

    if is_number(value) {
        return reject(value, format!("has no unit; use an age such as {ACCEPTED}"));
    }
    positive_duration(value, duration_with_unit(value), "an age", ACCEPTED)
}

fn is_number(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit())
}

fn duration_with_unit(value: &str) -> Option<Duration> {
    // humantime reads `M` as months; here, 45M means minutes.
    humantime::parse_duration(&value.to_lowercase()).ok()
}

/// Accepts a parsed duration greater than zero. `noun` and `accepted` say what it should be.
fn positive_duration(value: &str, parsed: Option<Duration>, noun: &str, accepted: &str) -> Parsed<Duration> {
    match parsed {
        Some(Duration::ZERO) => reject(value, format!("must be greater than zero, such as {accepted}")),
        Some(duration) => Ok(duration),
        None => reject(value, format!("is not {noun}; use {accepted}")),
    }
}

pub(super) fn command(value: &str) -> Parsed<Command> {
    match value.to_lowercase().as_str() {
        "list" => Ok(Command::List),
        "check" => Ok(Command::Check),
        _ => reject(value, "must be list or check; omit it to fetch files"),
    }
}

/// Parses the statuses that fail the step. `none` stands for no status.
pub(super) fn statuses(value: &str) -> Parsed<Vec<Status>> {
    let accepted = || FAILING.iter().map(Status::name).chain(["none"]).collect::<Vec<_>>().join(", ");
    if let Some(none) = words(value).find(|word| word.eq_ignore_ascii_case("none")) {
        return match words(value).count() {
            1 => Ok(Vec::new()),
            _ => reject_part(value, "contains", none, ", which cannot be combined with anything else".to_owned()),
        };
    }
    let mut statuses = Vec::new();

    // WebAdMIT's spelling has spaces in it, which can also separate two statuses.
    let parts = value.split([',', '\n', '\r']).flat_map(|part| {
        if FAILING.contains(&Status::parse(part)) { vec![part] } else { part.split_whitespace().collect() }
    });
    for word in parts {
        let status = Status::parse(word);
        if !FAILING.contains(&status) {
            if word == value {
                return reject(value, format!("is not one of {}", accepted()));
            }
            return reject_part(value, "contains", word, format!(", which is not one of {}", accepted()));
        }
        if !statuses.contains(&status) {
            statuses.push(status);
        }
    }

    if statuses.is_empty() {
        return reject(value, format!("contains no status; use any of {}", accepted()));
    }
    Ok(statuses)
}

pub(super) fn filename(value: &str) -> Parsed<String> {
    if value.contains(['/', '\\']) {
        return reject(value, "must be a file name without a path; use the input directory for the path");
    }
    if value == "." || value == ".." {
        return reject(value, "is a directory, not a file name");
    }
    if value.len() > MAX_FILENAME_LENGTH {
        let length = value.len();
        return reject(value, format!("is {length} bytes long; a file name has at most {MAX_FILENAME_LENGTH}"));
    }
    printable(value)
}

pub(super) fn name(value: &str) -> Parsed<String> {
    if value.len() > MAX_SELECTOR_LENGTH {
        return reject(value, format!("is {} bytes long; at most {MAX_SELECTOR_LENGTH} are accepted", value.len()));
    }
    printable(value)
}

/// Parses the words of an identity, which may be on several lines.
pub(super) fn identity_words(value: &str) -> Parsed<String> {
    let value = &value.replace(['\t', '\n', '\r'], " ");
    if normalize(value).matches('"').count() % 2 == 1 {
        return reject(value, "has a double quote that is not closed");
    }
    if !value.chars().any(char::is_alphanumeric) {
        return reject(value, "contains no word; give words of the identity, such as SOPHAS");
    }
    name(value)
}

pub(super) fn path(value: &str) -> Parsed<String> {
    if value.starts_with(['~', '$']) {
        return reject_part(
            value,
            "begins with",
            &value[..1],
            ", which is not expanded; use a path relative to the workspace".to_owned(),
        );
    }
    printable(value)
}

fn printable(value: &str) -> Parsed<String> {
    if value.chars().any(sanitize::is_unprintable) {
        return reject(value, "contains control or bidirectional characters");
    }
    Ok(value.to_owned())
}

pub(super) fn base_url(value: &str, allow_http: bool) -> Parsed<BaseUrl> {
    const ACCEPTED: &str = "give the root of the API, such as https://api.webadmit.org";

    // Text that is not a valid URL can contain a password or a token, too.
    let reject_url = |reason: &str| {
        if value.contains(['@', '?', '#', '%']) {
            reject_hidden(format!("{reason}; {ACCEPTED} (value not shown)"))
        } else {
            reject(value, format!("{reason}; {ACCEPTED}"))
        }
    };
    let Ok(url) = Url::parse(value) else {
        return reject_url(if value.contains("://") { "is not a URL" } else { "does not begin with https://" });
    };
    if http::has_credentials(&url) {
        return reject_hidden(format!("contains a user name or password; {ACCEPTED} (value not shown)"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return reject_hidden(format!("contains a query or a fragment; {ACCEPTED} (value not shown)"));
    }
    match url.scheme() {
        "https" => {}
        "http" if allow_http || http::is_loopback(&url) => {}
        "http" => {
            return reject(
                value,
                "would send the key unencrypted; use https (http is for loopback hosts, or with allow-http)",
            );
        }
        _ if url.host_str().is_none() => return reject_url("does not begin with https://"),
        scheme => return reject_part(value, "has the scheme", scheme, format!("; {ACCEPTED}")),
    }
    match BaseUrl::new(url) {
        Some(base_url) => Ok(base_url),
        None => reject(value, format!("continues after /api/v1; {ACCEPTED}")),
    }
}

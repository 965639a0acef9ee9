//! The file name that the store sends, sanitized. Pure.

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::http::parameters;
use crate::text::sanitize;

/// Maximum length of a file name in bytes.
const MAX_LENGTH: usize = 255;

/// Maximum length of an extension in bytes, including its dot. Anything longer is part of the name.
const MAX_EXTENSION_LENGTH: usize = 24;

/// The characters that GitHub's artifact upload rejects in a file name. Slashes and backslashes are removed with the
/// directories before them.
const REJECTED: [char; 7] = ['"', ':', '<', '>', '|', '*', '?'];

/// Returns the file name in `Content-Disposition`, else in the `response-content-disposition` of the URL, else in the URL's
/// path. `None` if none of them has a usable one.
pub(super) fn from_response(content_disposition: Option<&[u8]>, url: &Url) -> Option<String> {
    let from_header = || from_content_disposition(&decode(content_disposition?));
    let from_query = || {
        let (_, value) = url.query_pairs().find(|(name, _)| name == "response-content-disposition")?;
        from_content_disposition(&value)
    };
    let from_path = || {
        let last = url.path_segments()?.next_back()?;
        sanitize_filename(&percent_decode_str(last).decode_utf8_lossy())
    };
    from_header().or_else(from_query).or_else(from_path)
}

/// Returns the file name in a `Content-Disposition` (RFC 6266): `filename*`, or else `filename`.
fn from_content_disposition(header: &str) -> Option<String> {
    let value = |name| parameters::find(header, name).map(|parameter| parameter.value);
    let extended = value("filename*").and_then(|value| decode_extended(&value));
    let extended = extended.and_then(|name| sanitize_filename(&name));
    extended.or_else(|| value("filename").and_then(|name| sanitize_filename(&name)))
}

/// Returns the name without directories, control and bidirectional characters, leading dots and hyphens, and trailing dots and
/// spaces, in at most 255 bytes. [`REJECTED`] characters become `_`. `None` if no letter or digit is left.
fn sanitize_filename(name: &str) -> Option<String> {
    let name = name.rsplit(['/', '\\']).find(|part| !part.trim().is_empty())?;
    let printable = name.chars().filter(|&c| !sanitize::is_unprintable(c));
    let accepted: String = printable.map(|c| if REJECTED.contains(&c) { '_' } else { c }).collect();
    let is_leading = |c: char| c == '.' || c == '-' || c.is_whitespace();
    let is_trailing = |c: char| c == '.' || c.is_whitespace();
    let name = accepted.trim_start_matches(is_leading).trim_end_matches(is_trailing);
    if !name.chars().any(char::is_alphanumeric) {
        return None;
    }

    let (stem, extension) = split_extension(name);
    let stem = &stem[..stem.floor_char_boundary(MAX_LENGTH - extension.len())];
    Some(if stem.len() + extension.len() < name.len() {
        format!("{}{extension}", stem.trim_end_matches(is_trailing))
    } else {
        name.to_owned()
    })
}

/// Returns a name with a number before its extension, in at most 255 bytes: `applications-2.zip`.
pub(super) fn numbered(name: &str, number: usize) -> String {
    let (stem, extension) = split_extension(name);
    let suffix = format!("-{number}{extension}");
    format!("{}{suffix}", &stem[..stem.floor_char_boundary(MAX_LENGTH - suffix.len())])
}

/// Splits a name before the dot of its extension.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if name.len() - dot <= MAX_EXTENSION_LENGTH => name.split_at(dot),
        _ => (name, ""),
    }
}

/// Decodes `UTF-8''na%C3%AFve.csv` (RFC 8187, section 3.2). ISO-8859-1 is accepted as well, as in RFC 5987.
fn decode_extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    match () {
        () if charset.eq_ignore_ascii_case("utf-8") => String::from_utf8(bytes).ok(),
        () if charset.eq_ignore_ascii_case("iso-8859-1") => Some(latin_1(&bytes)),
        () => None,
    }
}

/// Decodes a header value: as UTF-8 if it is valid, else as ISO-8859-1.
fn decode(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| latin_1(bytes), str::to_owned)
}

fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests;

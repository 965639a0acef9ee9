//! The name of an export file, made of what the store says. Pure.

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::text::sanitize;

/// File systems take so many bytes.
const MAX_LENGTH: usize = 255;

/// An extension longer than this, dot included, is not one.
const MAX_EXTENSION_LENGTH: usize = 24;

/// What GitHub's artifact upload refuses in a name. A slash or a backslash ends a directory and is cut off before.
const REFUSED: [char; 7] = ['"', ':', '<', '>', '|', '*', '?'];

/// A plain file name: of the header `Content-Disposition`, else of the URL's `response-content-disposition`, else of
/// its path. None when nothing usable is there.
#[must_use]
pub fn from_response(content_disposition: Option<&[u8]>, url: &Url) -> Option<String> {
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

/// The name in a `Content-Disposition` (RFC 6266), made plain: `filename*` before `filename`.
#[must_use]
pub fn from_content_disposition(value: &str) -> Option<String> {
    let parameters = parameters(value);
    let find =
        |name: &str| parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let extended = find("filename*").and_then(|value| extended(value)).and_then(|name| sanitize_filename(&name));
    extended.or_else(|| find("filename").and_then(|name| sanitize_filename(name)))
}

/// A name without directories, without control and bidirectional characters, without what GitHub's artifact upload
/// refuses, without a dot or a hyphen in front and a dot or a space behind, and of at most 255 bytes. None when no
/// letter or digit is left.
#[must_use]
pub fn sanitize_filename(name: &str) -> Option<String> {
    let name = name.rsplit(['/', '\\']).find(|part| !part.trim().is_empty())?;
    let printable = name.chars().filter(|&c| !sanitize::is_unprintable(c));
    let accepted: String = printable.map(|c| if REFUSED.contains(&c) { '_' } else { c }).collect();
    let front = |c: char| c == '.' || c == '-' || c.is_whitespace();
    let back = |c: char| c == '.' || c.is_whitespace();
    let name = accepted.trim_start_matches(front).trim_end_matches(back);
    if !name.chars().any(char::is_alphanumeric) {
        return None;
    }
    let (stem, extension) = match name.rfind('.') {
        Some(dot) if name.len() - dot <= MAX_EXTENSION_LENGTH => name.split_at(dot),
        _ => (name, ""),
    };
    let stem = &stem[..stem.floor_char_boundary(MAX_LENGTH - extension.len())];
    Some(if stem.len() + extension.len() < name.len() {
        format!("{}{extension}", stem.trim_end_matches(back))
    } else {
        name.to_owned()
    })
}

/// The parameters of a header value: tokens and quoted strings, with an eye to values that should have been quoted.
fn parameters(value: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // The disposition type comes first; a value that begins with a parameter has none.
    let start = value.find([';', '=']).map_or(value.len(), |at| if value.as_bytes()[at] == b';' { at } else { 0 });
    let mut rest = &value[start..];
    while let Some((name, after)) = rest.split_once('=') {
        // What stands before it without a value is no parameter.
        let name = name.rsplit(';').next().unwrap_or_default().trim().to_owned();
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted),
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        found.push((name, value));
        rest = next.split_once(';').map_or("", |(_, next)| next);
    }
    found
}

/// The text of a quoted string whose opening quote is gone, and what comes from its closing one on.
fn quoted_string(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &text[at..]),
            // A quoted pair. Some servers send a path of Windows instead: then it was no escape.
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => {}
            },
            c => value.push(c),
        }
    }
    (value, "")
}

/// `UTF-8''na%C3%AFve.csv` (RFC 8187, section 3.2). ISO-8859-1 is read too, as its predecessor had it.
fn extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    match () {
        () if charset.eq_ignore_ascii_case("utf-8") => String::from_utf8(bytes).ok(),
        () if charset.eq_ignore_ascii_case("iso-8859-1") => Some(latin_1(&bytes)),
        () => None,
    }
}

/// The bytes of a header value: UTF-8 where they are, else ISO-8859-1.
fn decode(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| latin_1(bytes), str::to_owned)
}

fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests;

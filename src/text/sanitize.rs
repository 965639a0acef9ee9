//! Makes text from servers safe to show.
//!
//! A CI runner executes some of what a program prints as commands: GitHub's runner takes `::name::` at the start of a line and
//! `##[name]` anywhere in it, the one of Azure Pipelines takes `##vso[` anywhere. Therefore a server's text must not start or end
//! a line, and must not contain two number signs in a row.

use std::ops::Range;

use super::encoded::TextForm;

/// Maximum length of an excerpt in characters.
pub const MAX_EXCERPT_LENGTH: usize = 300;

/// Returns a server's text in one line of at most [`MAX_EXCERPT_LENGTH`] characters, made safe as by [`line()`], and without the
/// queries of URLs. It must not be at the start of a line.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || is_unprintable(c)).filter(|word| !word.is_empty());
    let without_queries: Vec<String> = words.map(without_query).collect();
    truncate(&line(&without_queries.join(" ")), MAX_EXCERPT_LENGTH)
}

/// Returns the text in one line in which no runner finds a command, unless it is at the start: line breaks, control and
/// bidirectional characters become spaces, and number signs are separated.
pub(crate) fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        let c = if is_unprintable(c) { ' ' } else { c };
        if c == '#' && line.ends_with('#') {
            line.push(' ');
        }
        line.push(c);
    }
    line
}

/// Returns whether a character does not belong in a line of a log or in a file name: control characters, line and paragraph
/// separators, and characters that change the direction of text (Unicode UAX #9).
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}')
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns the message of an operating system's error without its number.
pub(crate) fn without_os_code(message: &str) -> &str {
    message.split(" (os error").next().unwrap_or_default()
}

/// Returns the text, or its beginning and `…` if it has more than `max_length` characters.
pub(crate) fn truncate(text: &str, max_length: usize) -> String {
    if text.chars().count() <= max_length {
        return text.to_owned();
    }
    let beginning = text.chars().take(max_length.saturating_sub(1));
    beginning.chain(['…']).collect()
}

/// Returns a word without the query of the URL in it. The URL may be percent-encoded, as inside another URL.
fn without_query(word: &str) -> String {
    // In the decoded text, only a URL with an encoded `://` counts. The raw text has all others.
    let raw = query_start(&TextForm::raw(word), |_| true);
    let decoded =
        TextForm::decoded(word).and_then(|form| query_start(&form, |scheme_end| form.has_encoded(scheme_end)));
    let start = raw.into_iter().chain(decoded).min();
    start.map_or_else(|| word.to_owned(), |start| format!("{}?…", &word[..start]))
}

/// Returns where the query of the first URL in a form starts, as a position in the original text. `counts` decides from the
/// range of a `://` whether its URL counts.
fn query_start(form: &TextForm, counts: impl Fn(&Range<usize>) -> bool) -> Option<usize> {
    let text = &form.ascii;
    let mut scheme_ends = text.match_indices("://").map(|(start, found)| start..start + found.len());

    let has_scheme_and_host = |scheme_end: &Range<usize>| {
        text[..scheme_end.start].ends_with(|c: char| c.is_ascii_alphanumeric())
            && text[scheme_end.end..].starts_with(|c| !"/?#".contains(c))
    };
    let host = scheme_ends.find(|scheme_end| has_scheme_and_host(scheme_end) && counts(scheme_end))?.end;

    let start = host + text[host..].find('?')?;
    Some(form.original(&(start..start)).start)
}

/// Returns JSON that is equal for a parser, without runner commands and unprintable characters: in strings, these are written
/// as `\uXXXX`. Line breaks between values stay.
pub(crate) fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for (index, c) in json.char_indices() {
        let rest = &json[index + c.len_utf8()..];
        let starts_command = c == '#' && (rest.starts_with('[') || rest.starts_with("vso["));
        if starts_command || c != '\n' && is_unprintable(c) {
            escaped.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_number_of_an_error_of_the_system_is_removed() {
        let error = std::io::Error::from_raw_os_error(28).to_string();
        assert_eq!(without_os_code(&error), "No space left on device");
        assert_eq!(without_os_code("connection refused"), "connection refused");
    }

    #[test]
    fn an_excerpt_has_no_line_breaks_commands_or_queries() {
        for (text, expected) in [
            ("Not Found", "Not Found"),
            ("  a\r\nb\rc\nd  ", "a b c d"),
            ("x\n::error::y", "x ::error::y"),
            ("##[error]x", "# #[error]x"),
            ("a ##vso[task.complete]", "a # #vso[task.complete]"),
            ("###[x]", "# # #[x]"),
            ("#\u{0}#[x]", "# #[x]"),
            ("left\u{202e}thgir\u{2028}next", "left thgir next"),
            ("see https://s3.example/f?Signature=abc now", "see https://s3.example/f?… now"),
            ("https%3A%2F%2Fs3%2Ff%3FSignature%3Dabc now", "https%3A%2F%2Fs3%2Ff?… now"),
            ("https%3a%2f%2fs3%2ff%3fx", "https%3a%2f%2fs3%2ff?…"),
            ("https%253A%252F%252Fs3%252Ff%253Fx", "https%253A%252F%252Fs3%252Ff%253Fx"),
            ("https%3A//s3/f?x", "https%3A//s3/f?…"),
            ("\"https://[::1]/f?x\"", "\"https://[::1]/f?…"),
            ("https://a.example/%3Fb?c", "https://a.example/%3Fb?…"),
            ("https://a.example/b%3Fc", "https://a.example/b%3Fc"),
            ("https://a.example/https%3A%2F%2Fb%2Fc%3Fd", "https://a.example/https%3A%2F%2Fb%2Fc?…"),
            ("https://a.example/b?c=https%3A%2F%2Fd%2Fe%3Ff", "https://a.example/b?…"),
            ("https://a.example/https%3A%2F%2Fb%2Fc%3Fd?e", "https://a.example/https%3A%2F%2Fb%2Fc?…"),
            ("really?https://a.example/b?c", "really?https://a.example/b?…"),
            ("100%3F", "100%3F"),
            ("really? yes", "really? yes"),
            ("Paid?=Yes", "Paid?=Yes"),
            ("Paid%3F%3DYes", "Paid%3F%3DYes"),
            ("/f?x=1 ://x?y (://x?y) https://?x https:///?x", "/f?x=1 ://x?y (://x?y) https://?x https:///?x"),
        ] {
            assert_eq!(excerpt(text), expected, "{text:?}");
        }
        assert_eq!(excerpt(&"a".repeat(5000)).chars().count(), MAX_EXCERPT_LENGTH);
    }

    #[test]
    fn json_is_escaped_where_it_has_commands_or_unprintable_characters() {
        for (json, escaped) in [
            ("{\n  \"a\": \"b\"\n}", "{\n  \"a\": \"b\"\n}"),
            ("\"##[error] #vso[ # [ #v #\"", "\"#\\u0023[error] \\u0023vso[ # [ #v #\""),
            ("\"\u{7f}\u{85}\u{2028}\u{202e}\u{feff}é\"", "\"\\u007f\\u0085\\u2028\\u202e\\ufeffé\""),
        ] {
            assert_eq!(escape_json(json), escaped);
        }
    }

    proptest! {
        #[test]
        fn escaped_json_has_the_same_value_and_no_command(text in ".*|(?:[#\\[\\\\\"\r\n\u{2028}vso]|.)*") {
            let escaped = escape_json(&serde_json::to_string_pretty(&[&text]).unwrap());
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), [text]);
            prop_assert!(!escaped.contains("##[") && !escaped.contains("##vso["), "{escaped}");
            prop_assert!(!escaped.chars().any(|c| c != '\n' && is_unprintable(c)), "{escaped:?}");
        }

        #[test]
        fn an_excerpt_has_no_query_of_a_url(
            before in "[a-z?=% ]{0,8}",
            after in "[a-zA-Z0-9=&%/?:]{0,20}",
            times in 0..2_usize,
        ) {
            let encode = |url: String| percent_encoding::utf8_percent_encode(&url, percent_encoding::NON_ALPHANUMERIC).to_string();
            let url = (0..times).fold(format!("https://s3.example/f?0secret{after}"), |url, _| encode(url));
            let shown = excerpt(&format!("{before}{url} end"));
            prop_assert!(!shown.contains("0secret") && shown.ends_with("?… end"), "{shown}");
        }

        #[test]
        fn no_text_has_a_line_break_or_a_command_once_sanitized(text in ".*|(?:[#:\\[\r\n\u{2028}vso]|.)*") {
            for line in [excerpt(&text), line(&text)] {
                prop_assert!(!line.contains("##"), "{line:?}");
                prop_assert!(!line.chars().any(is_unprintable), "{line:?}");
            }
            prop_assert!(excerpt(&text).chars().count() <= MAX_EXCERPT_LENGTH);
        }
    }
}

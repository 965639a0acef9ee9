//! Makes words from outside fit to be shown.
//!
//! A CI runner reads what a program prints, and takes some of it as commands: GitHub's takes `::name::` at the start
//! of a line and `##[name]` anywhere in one, Azure's takes `##vso[` anywhere. What a server says is data, so nothing
//! of it may begin a line, end one, or hold two number signs in a row.

use std::ops::Range;

/// The longest piece of a server's words that is shown, in characters.
pub const MAX_EXCERPT_LENGTH: usize = 300;

/// Words of a server: one line, no control or bidirectional characters, no runner command, no more than
/// [`MAX_EXCERPT_LENGTH`] characters. Of a URL in them only the part before its query stays.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let without_queries = text
        .split(|c: char| c.is_whitespace() || is_unprintable(c))
        .filter(|word| !word.is_empty())
        .map(without_query)
        .collect::<Vec<_>>()
        .join(" ");
    truncate(&line(&without_queries), MAX_EXCERPT_LENGTH)
}

/// One line that no runner takes for a command: line breaks, control and bidirectional characters become spaces, and
/// number signs are kept apart. The caller sees to it that the line begins with words of its own.
#[must_use]
pub fn line(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        let c = if is_unprintable(c) { ' ' } else { c };
        if c == '#' && clean.ends_with('#') {
            clean.push(' ');
        }
        clean.push(c);
    }
    clean
}

/// Control characters, line and paragraph separators, and the characters that turn the direction of the text around
/// them (Unicode UAX #9): none of them belongs into a line of a log or into a file name.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}')
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns a text as it is compared with another one: in one letter case, with single spaces, and with plain quotes and
/// dashes. In capitals at first, for `ß` has none of its own.
#[must_use]
pub fn normalize(text: &str) -> String {
    let line = line(text).to_uppercase().to_lowercase();
    let plain: String = line.chars().map(plain).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the quote or dash of a keyboard for a typographic one, and any other character unchanged.
fn plain(c: char) -> char {
    match c {
        '“' | '”' | '„' | '‟' | '«' | '»' | '＂' => '"',
        '‘' | '’' | '‚' | '‛' | '‹' | '›' | 'ʼ' | '＇' => '\'',
        '\u{2010}'..='\u{2015}' | '−' | '﹘' | '﹣' | '－' => '-',
        c => c,
    }
}

/// Of a text no more than this is looked at, in bytes.
const MAX_PREFIX_LENGTH: usize = 16 * 1024;

/// The beginning of a text that can be of any length.
#[must_use]
pub fn prefix(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_PREFIX_LENGTH)]
}

/// What the system says of an error, without its number.
#[must_use]
pub fn without_os_code(words: &str) -> &str {
    words.split(" (os error").next().unwrap_or_default()
}

/// The text, or its beginning with `…` where it has more than `longest` characters.
#[must_use]
pub fn truncate(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(longest.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Returns a word without the query of the URL in it. A URL has a scheme and a host, and may be percent-encoded as a whole,
/// as one URL stands in another.
fn without_query(word: &str) -> String {
    let query = decoded(word).into_iter().enumerate().filter_map(|(times, bytes)| query(&bytes, times)).min();
    query.map_or_else(|| word.to_owned(), |at| format!("{}?…", &word[..at]))
}

/// Returns where the query of a URL begins in a text that was decoded so many times.
fn query(bytes: &[Decoded], times: usize) -> Option<usize> {
    let is_scheme_and_host = |at: usize| {
        let is_url = at > 0
            && bytes[at - 1].byte.is_ascii_alphanumeric()
            && bytes[at..].iter().map(|decoded| decoded.byte).take(3).eq(*b"://")
            && bytes.get(at + 3).is_some_and(|decoded| !b"/?#".contains(&decoded.byte));
        // What was decoded fewer times is a URL by itself, and its query is as plain as it is.
        is_url && bytes[at..at + 3].iter().any(|decoded| decoded.range.len() == 1 + 2 * times)
    };
    let host = (0..bytes.len()).find(|&at| is_scheme_and_host(at))? + 3;
    bytes[host..].iter().find(|decoded| decoded.byte == b'?').map(|decoded| decoded.range.start)
}

/// How many times a text may have been percent-encoded.
const MOST_LAYERS: usize = 3;

/// A byte of a text that was percent-decoded, and where it stands in the text itself.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) byte: u8,
    pub(crate) range: Range<usize>,
}

/// Returns the bytes of a text as it is, decoded once, decoded twice …, until there is nothing more to decode.
pub(crate) fn decoded(text: &str) -> Vec<Vec<Decoded>> {
    let plain = text.bytes().enumerate().map(|(at, byte)| Decoded { byte, range: at..at + 1 });
    let mut layers = vec![plain.collect::<Vec<_>>()];
    while layers.len() <= MOST_LAYERS {
        let outer = &layers[layers.len() - 1];
        let inner = decode(outer);
        if inner.len() == outer.len() {
            break;
        }
        layers.push(inner);
    }
    layers
}

fn decode(outer: &[Decoded]) -> Vec<Decoded> {
    let digit = |at: usize| char::from(outer.get(at)?.byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut inner, mut at) = (Vec::with_capacity(outer.len()), 0);
    while let Some(first) = outer.get(at) {
        match (first.byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                inner.push(Decoded { byte: high << 4 | low, range: first.range.start..outer[at + 2].range.end });
                at += 3;
            }
            _ => {
                inner.push(first.clone());
                at += 1;
            }
        }
    }
    inner
}

/// Returns JSON whose strings begin no runner command and hold nothing unprintable, for a parser the same as before: what
/// could do harm becomes `\uXXXX`. Only strings can hold it, but for the line breaks between them.
#[must_use]
pub fn escape_json(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let rest = &text[at + c.len_utf8()..];
        let begins_command = c == '#' && (rest.starts_with('[') || rest.starts_with("vso["));
        if begins_command || c != '\n' && is_unprintable(c) {
            let units = c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            clean.push_str(&units);
        } else {
            clean.push(c);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_lose_line_breaks_commands_and_queries() {
        for (said, shown) in [
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
            ("https%253A%252F%252Fs3%252Ff%253Fx", "https%253A%252F%252Fs3%252Ff?…"),
            ("https%3A//s3/f?x", "https%3A//s3/f?…"),
            ("\"https://[::1]/f?x\"", "\"https://[::1]/f?…"),
            ("https://a.example/%3Fb?c", "https://a.example/%3Fb?…"),
            ("https://a.example/b%3Fc", "https://a.example/b%3Fc"),
            ("https://a.example/https%3A%2F%2Fb%2Fc%3Fd", "https://a.example/https%3A%2F%2Fb%2Fc?…"),
            ("really?https://a.example/b?c", "really?https://a.example/b?…"),
            ("100%3F", "100%3F"),
            ("really? yes", "really? yes"),
            ("Paid?=Yes", "Paid?=Yes"),
            ("Paid%3F%3DYes", "Paid%3F%3DYes"),
            ("/f?x=1 ://x?y (://x?y) https://?x https:///?x", "/f?x=1 ://x?y (://x?y) https://?x https:///?x"),
        ] {
            assert_eq!(excerpt(said), shown, "{said:?}");
        }
        assert_eq!(excerpt(&"a".repeat(5000)).chars().count(), MAX_EXCERPT_LENGTH);
    }

    #[test]
    fn texts_are_alike_in_any_letter_case_and_with_any_white_space() {
        for (one, other) in [
            (" Nightly  Applicants\n", "nightly applicants"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδοσ"),
            ("Zoë", "ZOË"),
            ("a\u{202e}b", "A B"),
            ("Cohort ##1", "cohort # #1"),
            ("“a” „b‟ «c» ＂d＂", "\"a\" \"b\" \"c\" \"d\""),
            ("‘a’ ‚b‛ ‹c› ʼd＇", "'a' 'b' 'c' 'd'"),
            ("‐‑‒–—―−﹘﹣－", "----------"),
        ] {
            assert_eq!(normalize(one), normalize(other));
        }
        assert_ne!(normalize(&format!("{}a", "x".repeat(400))), normalize(&format!("{}b", "x".repeat(400))));
        assert_ne!(normalize("Report w=1?a"), normalize("Report w=1?b"));
    }

    #[test]
    fn json_is_escaped_where_it_could_do_harm() {
        for (sent, clean) in [
            ("{\n  \"a\": \"b\"\n}", "{\n  \"a\": \"b\"\n}"),
            ("\"##[error] #vso[ # [ #v #\"", "\"#\\u0023[error] \\u0023vso[ # [ #v #\""),
            ("\"\u{7f}\u{85}\u{2028}\u{202e}\u{feff}é\"", "\"\\u007f\\u0085\\u2028\\u202e\\ufeffé\""),
        ] {
            assert_eq!(escape_json(sent), clean);
        }
    }

    proptest! {
        #[test]
        fn escaped_json_says_the_same_without_a_command(text in ".*|(?:[#\\[\\\\\"\r\n\u{2028}vso]|.)*") {
            let escaped = escape_json(&serde_json::to_string_pretty(&[&text]).unwrap());
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), [text]);
            prop_assert!(!escaped.contains("##[") && !escaped.contains("##vso["), "{escaped}");
            prop_assert!(!escaped.chars().any(|c| c != '\n' && is_unprintable(c)), "{escaped:?}");
        }

        #[test]
        fn of_a_url_no_query_is_left(
            before in "[a-z?=% ]{0,8}",
            after in "[a-zA-Z0-9=&%/?:]{0,20}",
            times in 0..3_usize,
        ) {
            let encode = |url: String| percent_encoding::utf8_percent_encode(&url, percent_encoding::NON_ALPHANUMERIC).to_string();
            let url = (0..times).fold(format!("https://s3.example/f?0secret{after}"), |url, _| encode(url));
            let shown = excerpt(&format!("{before}{url} end"));
            prop_assert!(!shown.contains("0secret") && shown.ends_with("?… end"), "{shown}");
        }

        #[test]
        fn nothing_said_can_hold_a_line_break_or_a_command(text in ".*|(?:[#:\\[\r\n\u{2028}vso]|.)*") {
            for clean in [excerpt(&text), line(&text)] {
                prop_assert!(!clean.contains("##"), "{clean:?}");
                prop_assert!(!clean.chars().any(is_unprintable), "{clean:?}");
            }
            prop_assert!(excerpt(&text).chars().count() <= MAX_EXCERPT_LENGTH);
        }
    }
}

//! Makes words from outside fit to be shown.
//!
//! A CI runner reads what a program prints, and takes some of it as commands: GitHub's takes `::name::` at the start
//! of a line and `##[name]` anywhere in one, Azure's takes `##vso[` anywhere. What a server says is data, so nothing
//! of it may begin a line, end one, or hold two number signs in a row.

/// The longest piece of a server's words that is shown, in characters.
pub const LONGEST_WORDS: usize = 300;

/// Words of a server: one line, no control or bidirectional characters, no runner command, no more than
/// [`LONGEST_WORDS`] characters. Of a URL in them only the part before its query stays, for a query can hold a
/// signature.
#[must_use]
pub fn words(text: &str) -> String {
    let without_queries = text
        .split(|c: char| c.is_whitespace() || is_unprintable(c))
        .filter(|word| !word.is_empty())
        .map(without_query)
        .collect::<Vec<_>>()
        .join(" ");
    cut(&line(&without_queries), LONGEST_WORDS)
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
pub fn fold(text: &str) -> String {
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
const MOST_READ: usize = 16 * 1024;

/// The beginning of a text that can be of any length.
#[must_use]
pub fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_READ)]
}

/// What the system says of an error, without its number.
#[must_use]
pub fn without_number(words: &str) -> &str {
    words.split(" (os error").next().unwrap_or_default()
}

/// The text, or its beginning with `…` where it has more than `longest` characters.
#[must_use]
pub fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(longest.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A word without the query of the URL that it is, or looks like: percent-encoded, too, as one URL stands in another.
fn without_query(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    let is_url = |slashes: &str, equals: &str| lower.contains(slashes) || lower.contains(equals);
    let query = |mark, slashes, equals| lower.find(mark).filter(|_| is_url(slashes, equals));
    let at = query("?", "://", "=").into_iter().chain(query("%3f", "%3a%2f%2f", "%3d")).min();
    at.map_or_else(|| word.to_owned(), |at| format!("{}?…", &word[..at]))
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
            ("/f?Signature=abc", "/f?…"),
            ("https%3A%2F%2Fs3%2Ff%3FSignature%3Dabc now", "https%3A%2F%2Fs3%2Ff?… now"),
            ("https%3a%2f%2fs3%2ff%3fx", "https%3a%2f%2fs3%2ff?…"),
            ("100%3F", "100%3F"),
            ("really? yes", "really? yes"),
        ] {
            assert_eq!(words(said), shown, "{said:?}");
        }
        assert_eq!(words(&"a".repeat(5000)).chars().count(), LONGEST_WORDS);
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
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold(&format!("{}a", "x".repeat(400))), fold(&format!("{}b", "x".repeat(400))));
        assert_ne!(fold("Report w=1?a"), fold("Report w=1?b"));
    }

    proptest! {
        #[test]
        fn nothing_said_can_hold_a_line_break_or_a_command(text in ".*|(?:[#:\\[\r\n\u{2028}vso]|.)*") {
            for clean in [words(&text), line(&text)] {
                prop_assert!(!clean.contains("##"), "{clean:?}");
                prop_assert!(!clean.chars().any(is_unprintable), "{clean:?}");
            }
            prop_assert!(words(&text).chars().count() <= LONGEST_WORDS);
        }
    }
}

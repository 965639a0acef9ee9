//! Parameters of a header value: `text/csv; charset=utf-8`, `attachment; filename="a.csv"`. Pure.

use std::ops::Range;

/// A parameter of a header value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a str,
    /// The value without quotes.
    pub(crate) value: String,
    /// Where the parameter is in the header value.
    pub(crate) range: Range<usize>,
}

/// Returns the first parameter with this name, in any letter case.
pub(crate) fn find<'a>(header: &'a str, name: &str) -> Option<Parameter<'a>> {
    parse(header).find(|parameter| parameter.name.eq_ignore_ascii_case(name))
}

/// Parses the parameters after the first semicolon (RFC 9110, section 5.6.6). A header that starts with a parameter is
/// accepted, and so is a value that lacks its quotes: it ends at the next semicolon.
fn parse(header: &str) -> impl Iterator<Item = Parameter<'_>> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let equals = position + header[position..].find('=')?;
        // Whatever has no value is not a parameter.
        let name_start = header[position..equals].rfind(';').map_or(position, |at| position + at + 1);
        let name_start = name_start + leading_white_space(&header[name_start..equals]);
        let name = header[name_start..equals].trim_end();

        let value_start = equals + 1 + leading_white_space(&header[equals + 1..]);
        let rest = &header[value_start..];
        let (value, length) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (value, length) = quoted_string(quoted);
                (value, 1 + length)
            }
            None => {
                let value = rest.split(';').next().unwrap_or_default().trim_end();
                (value.to_owned(), value.len())
            }
        };
        let end = value_start + length;
        position = header[end..].find(';').map_or(header.len(), |at| end + at + 1);
        Some(Parameter { name, value, range: name_start..end })
    })
}

fn leading_white_space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// Returns the text of a quoted string after its opening quote, and its length up to and including the closing one.
fn quoted_string(text: &str) -> (String, usize) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, at + 1),
            // A quoted pair. Some servers send a Windows path instead, whose backslashes are not doubled.
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => {}
            },
            c => value.push(c),
        }
    }
    (value, text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_tokens_quoted_strings_or_unquoted_text() {
        for (header, expected) in [
            ("text/csv;charset=iso-8859-1", &[("charset", "iso-8859-1")][..]),
            ("text/csv; Charset = \"latin1\" ; x=y", &[("Charset", "latin1"), ("x", "y")]),
            ("text/csv;x=\";charset=utf-8;\"; charset=latin1", &[("x", ";charset=utf-8;"), ("charset", "latin1")]),
            ("attachment; filename=two words.csv; x=y", &[("filename", "two words.csv"), ("x", "y")]),
            ("attachment; filename=\"say \\\"hi\\\"\"", &[("filename", "say \"hi\"")]),
            ("attachment; filename=\"C:\\dir\\\\a.csv\"", &[("filename", "C:\\dir\\a.csv")]),
            ("attachment; filename=\"open;x=y", &[("filename", "open;x=y")]),
            ("attachment; filename=\"open\\", &[("filename", "open")]),
            ("attachment; filename=\"a\"b; x=y", &[("filename", "a"), ("x", "y")]),
            ("attachment; inline; x=", &[("x", "")]),
            (";; ; x=\"\"", &[("x", "")]),
            ("x=y;z", &[("x", "y")]),
            ("=;=", &[("", ""), ("", "")]),
            ("text/csv", &[]),
            ("", &[]),
        ] {
            let parsed: Vec<_> = parse(header).collect();
            let parsed: Vec<_> = parsed.iter().map(|parsed| (parsed.name, parsed.value.as_str())).collect();
            assert_eq!(parsed, expected, "{header:?}");
        }
    }

    #[test]
    fn the_range_is_that_of_name_and_value() {
        for (header, part) in [
            ("text/csv;charset=utf-8;x", "charset=utf-8"),
            ("text/csv; charset = \"utf-8\" ; x", "charset = \"utf-8\""),
            ("charset=\"utf-8", "charset=\"utf-8"),
        ] {
            assert_eq!(&header[find(header, "CHARSET").unwrap().range], part);
        }
        assert_eq!(find("text/csv;charset=a;Charset=b", "charset").unwrap().value, "a");
        assert_eq!(find("text/csv;charset*=a", "charset"), None);
    }

    proptest! {
        #[test]
        fn the_parameters_of_any_text_follow_each_other(header in "(?:[;=\"\\\\ é]|[a-z]|.){0,40}") {
            let mut end = 0;
            for Parameter { name, range, .. } in parse(&header) {
                prop_assert!(end <= range.start && range.end <= header.len());
                prop_assert!(header[range.clone()].starts_with(name));
                end = range.end;
            }
        }
    }
}

//! Whether a file is text, and in which charset, by its content type. Pure.
//!
//! Charset labels mean what they mean to browsers (WHATWG Encoding Standard, section 4.2): `iso-8859-1` is windows-1252.

use encoding_rs::Encoding;
use thiserror::Error;

use crate::http::parameters;

/// Why the content type of a file rules out a conversion.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum NotConvertible {
    #[error("the store declared no content type")]
    NoType,
    /// Stores declare it if the upload had no type.
    #[error("{0} may or may not be text")]
    UnknownType(String),
    #[error("{0} is not text")]
    NotText(String),
    #[error("unknown charset {0}")]
    UnknownCharset(String),
}

/// A content type of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextType {
    /// The charset that the store declares.
    pub(super) charset: Option<&'static Encoding>,
    pub(super) is_html: bool,
}

impl TextType {
    /// Parses a content type.
    ///
    /// # Errors
    ///
    /// If a file of this type is not converted.
    pub(super) fn parse(content_type: Option<&str>) -> Result<Self, NotConvertible> {
        let content_type = content_type.unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.is_empty() {
            return Err(NotConvertible::NoType);
        }
        let (main_type, subtype) = media_type.split_once('/').unwrap_or((media_type, ""));
        if subtype.eq_ignore_ascii_case("octet-stream") {
            return Err(NotConvertible::UnknownType(media_type.to_owned()));
        }
        if !main_type.eq_ignore_ascii_case("text") {
            return Err(NotConvertible::NotText(media_type.to_owned()));
        }

        let label = parameters::find(content_type, "charset").map(|charset| charset.value);
        let label = label.filter(|label| !label.trim().is_empty());
        // Browsers know some labels only to replace the whole text.
        let known = |label: String| {
            let charset = Encoding::for_label_no_replacement(label.as_bytes());
            charset.ok_or(NotConvertible::UnknownCharset(label))
        };
        Ok(Self { charset: label.map(known).transpose()?, is_html: subtype.eq_ignore_ascii_case("html") })
    }
}

/// Returns a content type with `charset=utf-8` in place of its charset.
pub(super) fn with_utf8_charset(content_type: &str) -> String {
    match parameters::find(content_type, "charset") {
        Some(charset) => {
            let (before, after) = (&content_type[..charset.range.start], &content_type[charset.range.end..]);
            format!("{before}charset=utf-8{after}")
        }
        None => {
            let media_type = content_type.split(';').next().unwrap_or_default();
            format!("{};charset=utf-8{}", media_type.trim_end(), &content_type[media_type.len()..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charset_is_a_parameter_of_a_text_type() {
        let no_charset = Ok("no charset");
        for (content_type, found) in [
            (Some("text/csv;charset=iso-8859-1"), Ok("windows-1252")),
            (Some("Text/CSV; header=present; Charset=\"ISO-8859-1\""), Ok("windows-1252")),
            (Some("text/plain; charset = latin1 ;x=y"), Ok("windows-1252")),
            (Some("text/html;charset=UTF8"), Ok("UTF-8")),
            (Some("text/csv;charset=utf-16"), Ok("UTF-16LE")),
            (Some("text/csv;charset=shift_jis"), Ok("Shift_JIS")),
            (Some("text/csv"), no_charset),
            (Some("text/csv;charset=klingon"), Err("unknown charset klingon")),
            (Some("text/csv;charset=iso-2022-kr"), Err("unknown charset iso-2022-kr")),
            (Some("text/csv;charset="), no_charset),
            (Some("text/csv; charset=\" \"; x=y"), no_charset),
            (Some("text/csv;x=\";charset=utf-8;\"; charset=latin1"), Ok("windows-1252")),
            (Some("text/csv;x-charset=utf-8;charset=latin1"), Ok("windows-1252")),
            (Some("text/csv;charset=utf-8;charset=latin1"), Ok("UTF-8")),
            (Some("text/csv;x=\";charset=utf-8"), no_charset),
            (Some("text/csv;x=\"\\\";charset=utf-16le;\\\"\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some("text/csv;name=\"a\\\"b\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some("text/csv;name=\"a\\\\\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some(" "), Err("the store declared no content type")),
            (Some(";charset=utf-8"), Err("the store declared no content type")),
            (Some("binary/octet-stream"), Err("binary/octet-stream may or may not be text")),
            (Some("Application/Octet-Stream;charset=utf-8"), Err("Application/Octet-Stream may or may not be text")),
            (Some("application/zip"), Err("application/zip is not text")),
            (Some("application/vnd.ms-excel;charset=iso-8859-1"), Err("application/vnd.ms-excel is not text")),
            (Some("tex€/csv;charset=iso-8859-1"), Err("tex€/csv is not text")),
            (Some("texts"), Err("texts is not text")),
            (None, Err("the store declared no content type")),
        ] {
            let charset = TextType::parse(content_type).map(|text| text.charset.map_or("no charset", Encoding::name));
            assert_eq!(charset.map_err(|error| error.to_string()), found.map_err(str::to_owned), "{content_type:?}");
        }
        for (content_type, is_html) in [("text/html", true), ("TEXT/HTML ;charset=utf-8", true), ("text/htm", false)] {
            assert_eq!(TextType::parse(Some(content_type)).unwrap().is_html, is_html);
        }
    }

    #[test]
    fn the_content_type_of_a_converted_file_has_the_charset_utf_8() {
        for (sent, converted) in [
            ("text/csv;charset=iso-8859-1", "text/csv;charset=utf-8"),
            ("text/csv; Charset=\"latin1\"; header=present", "text/csv; charset=utf-8; header=present"),
            ("text/csv", "text/csv;charset=utf-8"),
            ("text/csv ; header=present", "text/csv;charset=utf-8; header=present"),
            ("text/csv;x=\"open", "text/csv;charset=utf-8;x=\"open"),
            ("text/csv;charset=", "text/csv;charset=utf-8"),
            ("text/csv;x-charset=latin1;charset=latin1", "text/csv;x-charset=latin1;charset=utf-8"),
            ("text/csv;x=\";charset=latin1\";charset=latin1", "text/csv;x=\";charset=latin1\";charset=utf-8"),
        ] {
            assert_eq!(with_utf8_charset(sent), converted);
        }
    }
}

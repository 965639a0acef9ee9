//! The charset that an HTML file declares. Pure.
//!
//! A browser that knows no charset from a server searches the beginning of a file for one: the prescan of the HTML Standard,
//! section 13.2.3.2. This is the same search, so what browsers ignore (a comment, an attribute of another element) is ignored
//! here, too.

use std::ops::Range;

use encoding_rs::{Encoding, UTF_8};

use crate::report::history::HtmlCharset;

/// Number of bytes that browsers search.
const PRESCAN_LENGTH: usize = 1024;

/// Number of bytes that are searched here: the prescan is not the end of a browser's search, and a later charset counts, too.
pub(super) const HEAD_LENGTH: usize = 4096;

/// Replaces the charsets that are declared at the beginning of an HTML file with `utf-8`. The text is in UTF-8 already.
pub(super) fn change_to_utf8(head: &mut Vec<u8>) -> HtmlCharset {
    let others = other_charsets(&head[..head.len().min(PRESCAN_LENGTH)]);
    let mut changed = head.clone();
    for label in others.iter().rev() {
        changed.splice(label.range.clone(), *b"utf-8");
    }
    // A label that was shorter can move the end of an element past the prescan.
    if !others.is_empty() && !prescan(&changed).is_some_and(|label| label.is_utf8()) {
        return HtmlCharset::NotChanged;
    }

    *head = changed;
    let labels = declarations(&head[..head.len().min(HEAD_LENGTH)]);
    let declares_utf8 = labels.iter().any(Label::is_utf8);
    let is_other = |label: &Label| label.encoding.map_or(!declares_utf8, |encoding| encoding != UTF_8);
    match (labels.iter().any(is_other), others.is_empty()) {
        (true, _) => HtmlCharset::NotChanged,
        (false, true) => HtmlCharset::Unchanged,
        (false, false) => HtmlCharset::Changed,
    }
}

/// The label of a charset, and where it is in the file.
#[derive(Debug, PartialEq, Eq)]
struct Label {
    range: Range<usize>,
    /// `None` if no browser knows it.
    encoding: Option<&'static Encoding>,
}

impl Label {
    fn new(bytes: &[u8], range: Range<usize>) -> Self {
        Self { encoding: Encoding::for_label(&bytes[range.clone()]), range }
    }

    fn is_utf8(&self) -> bool {
        self.encoding == Some(UTF_8)
    }
}

/// Returns the charset that a browser finds.
fn prescan(bytes: &[u8]) -> Option<Label> {
    let labels = declarations(&bytes[..bytes.len().min(PRESCAN_LENGTH)]);
    labels.into_iter().find(|label| label.encoding.is_some())
}

/// Returns the known charsets other than UTF-8 that are declared.
fn other_charsets(bytes: &[u8]) -> Vec<Label> {
    let labels = declarations(bytes).into_iter();
    labels.filter(|label| label.encoding.is_some_and(|encoding| encoding != UTF_8)).collect()
}

/// Returns the charsets that `<meta>` elements declare. If browsers know none of them, the one of an XML declaration follows.
///
/// The prescan ends at the first known charset. It is only tentative, so a browser also obeys a later element.
fn declarations(bytes: &[u8]) -> Vec<Label> {
    let mut scanner = Scanner { bytes, position: 0 };
    let mut labels = Vec::new();
    while let Ok(label) = scanner.next_charset() {
        labels.extend(label);
    }
    if labels.iter().all(|label| label.encoding.is_none()) {
        labels.extend(xml_declaration(bytes));
    }
    labels
}

/// The end of the bytes was reached, which ends the search.
struct OutOfBytes;

/// An attribute of an element: where its name and its value are.
struct Attribute {
    name: Range<usize>,
    value: Range<usize>,
}

/// Searches for elements and their attributes as the prescan does.
struct Scanner<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Scanner<'_> {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.position..]
    }

    fn byte(&self) -> Result<u8, OutOfBytes> {
        self.rest().first().copied().ok_or(OutOfBytes)
    }

    fn skip_while(&mut self, condition: impl Fn(u8) -> bool) -> Result<(), OutOfBytes> {
        let length = self.rest().iter().position(|&byte| !condition(byte)).ok_or(OutOfBytes)?;
        self.position += length;
        Ok(())
    }

    /// Moves past the next comment, tag or other byte, and returns the charset that it declares.
    fn next_charset(&mut self) -> Result<Option<Label>, OutOfBytes> {
        let mut label = None;
        match self.rest() {
            [b'<', b'!', b'-', b'-', ..] => {
                // `<!-->` is a complete comment.
                self.position += 2 + find(&self.rest()[2..], b"-->").ok_or(OutOfBytes)? + 2;
            }
            rest if is_meta(rest) => {
                self.position += b"<meta".len();
                label = self.meta()?;
            }
            [b'<', b'/', letter, ..] | [b'<', letter, ..] if letter.is_ascii_alphabetic() => {
                self.skip_while(|byte| !is_white_space(byte) && byte != b'>')?;
                while self.next_attribute()?.is_some() {}
            }
            [b'<', b'!' | b'/' | b'?', ..] => self.skip_while(|byte| byte != b'>')?,
            _ => {}
        }
        self.byte()?;
        self.position += 1;
        Ok(label)
    }

    /// Returns the charset that the attributes of a `<meta>` element declare.
    fn meta(&mut self) -> Result<Option<Label>, OutOfBytes> {
        let bytes = self.bytes;
        let (mut names, mut charset, mut content, mut is_content_type) = (Vec::new(), None, None, false);
        while let Some(Attribute { name, value }) = self.next_attribute()? {
            let name = bytes[name].to_ascii_lowercase();
            match name.as_slice() {
                _ if names.contains(&name) => {}
                b"charset" => charset = Some(Label::new(bytes, value)),
                b"content" => content = charset_of_content(bytes, value),
                b"http-equiv" => is_content_type = bytes[value].eq_ignore_ascii_case(b"content-type"),
                _ => {}
            }
            names.push(name);
        }
        Ok(charset.or(content.filter(|_| is_content_type)))
    }

    /// Returns the next attribute, or `None` at the end of the element.
    fn next_attribute(&mut self) -> Result<Option<Attribute>, OutOfBytes> {
        self.skip_while(|byte| is_white_space(byte) || byte == b'/')?;
        if self.byte()? == b'>' {
            return Ok(None);
        }

        let start = self.position;
        // An equals sign at the beginning is part of the name.
        self.position += 1;
        self.skip_while(|byte| !is_white_space(byte) && !matches!(byte, b'=' | b'/' | b'>'))?;
        let name = start..self.position;
        self.skip_while(is_white_space)?;
        if self.byte()? != b'=' {
            return Ok(Some(Attribute { name, value: self.position..self.position }));
        }
        self.position += 1;
        self.skip_while(is_white_space)?;
        Ok(Some(Attribute { name, value: self.value()? }))
    }

    fn value(&mut self) -> Result<Range<usize>, OutOfBytes> {
        let first = self.byte()?;
        if !matches!(first, b'"' | b'\'') {
            let start = self.position;
            self.skip_while(|byte| !is_white_space(byte) && byte != b'>')?;
            return Ok(start..self.position);
        }

        self.position += 1;
        let start = self.position;
        self.skip_while(|byte| byte != first)?;
        self.position += 1;
        Ok(start..self.position - 1)
    }
}

/// Returns the charset in an attribute such as `text/html; charset=iso-8859-1`.
fn charset_of_content(bytes: &[u8], value: Range<usize>) -> Option<Label> {
    let content = &bytes[value.clone()];
    let skip_white_space = |at: usize| at + content[at..].iter().take_while(|&&byte| is_white_space(byte)).count();
    let mut at = 0;
    loop {
        at = skip_white_space(at + find(&content[at..], b"charset")? + b"charset".len());
        if content.get(at) == Some(&b'=') {
            break;
        }
    }

    at = skip_white_space(at + 1);
    let (start, length) = match content.get(at)? {
        // Without its second quotation mark, there is no label.
        quote @ (b'"' | b'\'') => (at + 1, content[at + 1..].iter().position(|byte| byte == quote).unwrap_or(0)),
        _ => (at, content[at..].iter().take_while(|&&byte| !is_white_space(byte) && byte != b';').count()),
    };
    let start = value.start + start;
    Some(Label::new(bytes, start..start + length))
}

/// Returns the charset of an XML declaration, which browsers use if no `<meta>` element declares one.
fn xml_declaration(bytes: &[u8]) -> Option<Label> {
    const NAME: &[u8] = b"encoding";

    let end = bytes.starts_with(b"<?xml").then(|| bytes.iter().position(|&byte| byte == b'>')).flatten()?;
    let name = bytes[..end].windows(NAME.len()).position(|window| window == NAME)?;
    let mut scanner = Scanner { bytes: &bytes[..end], position: name + NAME.len() };
    scanner.skip_while(is_white_space).ok()?;
    if scanner.byte().ok()? != b'=' {
        return None;
    }
    scanner.position += 1;
    scanner.skip_while(is_white_space).ok()?;
    let is_quoted = matches!(scanner.byte().ok()?, b'"' | b'\'');
    let range = scanner.value().ok().filter(|_| is_quoted)?;
    Some(Label::new(bytes, range)).filter(|label| label.encoding.is_some())
}

/// Returns whether a `<meta>` element begins here.
fn is_meta(bytes: &[u8]) -> bool {
    let follows = bytes.get(b"<meta".len()).is_some_and(|&byte| is_white_space(byte) || byte == b'/');
    follows && bytes[..b"<meta".len()].eq_ignore_ascii_case(b"<meta")
}

/// Returns the position of the first occurrence of an ASCII text, in any letter case.
fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window.eq_ignore_ascii_case(text))
}

fn is_white_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\x0C' | b'\r' | b' ')
}

#[cfg(test)]
mod tests;

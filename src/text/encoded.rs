//! Text that is searched in two forms: raw and percent-decoded.

use std::ops::Range;

/// A raw text, or one that is percent-decoded once, with the positions of its bytes in the original text.
pub(super) struct TextForm {
    /// Has one byte for each byte of the form. A byte that is not ASCII is replaced by NUL.
    pub(super) ascii: String,
    /// The same in lower case.
    pub(super) lower: String,
    /// Where each byte starts in the original text, followed by the length of that text.
    positions: Vec<usize>,
}

impl TextForm {
    /// Returns the raw text.
    pub(super) fn raw(text: &str) -> Self {
        Self::new(text.bytes().map(ascii).collect(), (0..=text.len()).collect())
    }

    /// Returns the percent-decoded text, or `None` if nothing in it is percent-encoded.
    pub(super) fn decoded(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (mut decoded, mut positions) = (String::new(), Vec::new());
        let mut position = 0;

        while let Some(&byte) = bytes.get(position) {
            positions.push(position);
            if let Some(byte) = percent_encoded(&bytes[position..]) {
                decoded.push(ascii(byte));
                position += 3;
            } else {
                decoded.push(ascii(byte));
                position += 1;
            }
        }
        positions.push(text.len());
        (decoded.len() < text.len()).then(|| Self::new(decoded, positions))
    }

    fn new(ascii: String, positions: Vec<usize>) -> Self {
        Self { lower: ascii.to_ascii_lowercase(), ascii, positions }
    }

    /// Returns the raw text and, if anything in it is percent-encoded, the percent-decoded text.
    pub(super) fn all(text: &str) -> impl Iterator<Item = Self> {
        [Some(Self::raw(text)), Self::decoded(text)].into_iter().flatten()
    }

    /// Returns where a range of the form is in the original text.
    pub(super) fn original(&self, range: &Range<usize>) -> Range<usize> {
        self.positions[range.start]..self.positions[range.end]
    }

    /// Returns whether the original text has some of these bytes percent-encoded.
    pub(super) fn has_encoded(&self, range: &Range<usize>) -> bool {
        self.original(range).len() > range.len()
    }
}

fn ascii(byte: u8) -> char {
    if byte.is_ascii() { char::from(byte) } else { '\0' }
}

/// Returns the byte for `%41` at the start of `bytes`.
fn percent_encoded(bytes: &[u8]) -> Option<u8> {
    let &[b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_decoded_once() {
        for (text, decoded) in [
            ("a%41b", Some("aAb")),
            ("%2541%2f%7E", Some("%41/~")),
            ("é%C3%a9%", Some("\0\0\0\0%")),
            ("%4", None),
            ("%4g%%é", None),
            ("", None),
        ] {
            assert_eq!(TextForm::decoded(text).map(|form| form.ascii).as_deref(), decoded, "{text}");
        }
        assert_eq!(TextForm::raw("é%41").ascii, "\0\0%41");
    }

    #[test]
    fn a_range_of_a_form_has_a_range_of_the_original_text() {
        let form = TextForm::decoded("é%41b%43").unwrap();
        assert_eq!(form.ascii, "\0\0AbC");
        for (range, original, has_encoded) in
            [(0..2, 0..2, false), (2..3, 2..5, true), (3..4, 5..6, false), (3..5, 5..9, true), (5..5, 9..9, false)]
        {
            assert_eq!((form.original(&range), form.has_encoded(&range)), (original, has_encoded), "{range:?}");
        }
        assert_eq!(TextForm::raw("é%41").original(&(2..5)), 2..5);
    }
}

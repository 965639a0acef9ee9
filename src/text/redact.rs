//! Removes secrets from text: the API key, signatures, and the values of signature parameters.
//!
//! A server can send any of them back. Text of a server is redacted before it is cut, since a part of a secret cannot be
//! recognized. The log, messages and the step summary are redacted once more.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use reqwest::Url;

use super::encoded::TextForm;
use super::sanitize;

/// Minimum length of a secret. Anything shorter could occur in a text by chance. Keys have 32 characters, signatures at
/// least 28.
const MIN_SECRET_LENGTH: usize = 16;

/// Maximum number of bytes of a signature that are searched for.
const MAX_SIGNATURE_LENGTH: usize = 2048;

/// Number of signatures that are kept. A URL expires after 30 s, and eight connections use fewer URLs in that time.
const MAX_SIGNATURES: usize = 256;

/// Maximum number of bytes of a server's text that are used.
pub(crate) const MAX_TEXT_LENGTH: usize = 16 * 1024;

/// Number of bytes after the maximum length in which the end of a secret is searched for: more than that of a signature
/// whose bytes are all percent-encoded.
const MARGIN: usize = 8 * 1024;

const REDACTED: &str = "***";

/// The secrets of a step. It finds them in any letter case, percent-encoded once, and in base64.
#[derive(Default)]
pub struct Redactor {
    secrets: Mutex<Secrets>,
}

#[derive(Default)]
struct Secrets {
    key: Option<Secret>,
    /// Signatures and tokens of signed URLs, the newest last.
    signatures: VecDeque<Secret>,
}

impl Redactor {
    /// Adds the API key.
    pub(crate) fn set_key(&self, key: &str) {
        self.secrets().key = (key.len() >= MIN_SECRET_LENGTH).then(|| Secret::new(key));
    }

    /// Adds the signature of a URL, and other secrets in its query.
    pub(crate) fn add_signed_url(&self, url: &Url) {
        let mut secrets = self.secrets();
        for (name, value) in url.query_pairs() {
            // The padding of base64 may be left out.
            let value = value.trim_end_matches('=');
            let value = &value[..value.floor_char_boundary(MAX_SIGNATURE_LENGTH)];
            if value.len() < MIN_SECRET_LENGTH || !is_secret_in_signed_url(&name) {
                continue;
            }

            let secret = Secret::new(value);
            if secrets.signatures.iter().any(|known| known.lower == secret.lower) {
                continue;
            }
            secrets.signatures.push_back(secret);
            if secrets.signatures.len() > MAX_SIGNATURES {
                secrets.signatures.pop_front();
            }
        }
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a text contains the API key.
    pub(crate) fn contains_key(&self, text: &str) -> bool {
        self.secrets()
            .key
            .as_ref()
            .is_some_and(|key| TextForm::all(text).any(|form| key.find_in(&form).next().is_some()))
    }

    /// Returns whether a text contains anything that [`Redactor::redact`] replaces.
    pub(crate) fn contains_secret(&self, text: &str) -> bool {
        matches!(self.redact(text), Cow::Owned(_))
    }

    /// Returns the text with `***` in place of every secret, and of the value of every signature parameter, known or not.
    pub(crate) fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let secrets = self.secrets();
        let mut ranges = Vec::new();
        for form in TextForm::all(text) {
            let known = secrets.key.iter().chain(&secrets.signatures);
            let found = known.flat_map(|secret| secret.find_in(&form)).chain(signature_values(&form));
            ranges.extend(found.map(|range| form.original(&range)));
        }
        replace(text, ranges)
    }

    /// Returns the redacted beginning of a text that can be of any length. It does not end with a part of a secret: the
    /// margin in which the secret ends is searched, too, and then removed.
    pub(crate) fn redact_prefix<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = searched_prefix(text);
        let margin = text.len().saturating_sub(MAX_TEXT_LENGTH);

        let mut redacted = self.redact(text);
        let end = redacted.floor_char_boundary(redacted.len().saturating_sub(margin));
        match &mut redacted {
            Cow::Borrowed(text) => *text = &text[..end],
            Cow::Owned(text) => text.truncate(end),
        }
        redacted
    }

    /// Returns a server's text as it can be shown: redacted, in one line, and short.
    pub(crate) fn excerpt(&self, text: &str) -> String {
        sanitize::excerpt(&self.redact_prefix(text))
    }
}

/// Returns the part of a server's text that [`Redactor::redact_prefix`] reads.
pub(crate) fn searched_prefix(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_LENGTH + MARGIN)]
}

/// Returns the text with `***` in place of each range of bytes. Ranges may overlap.
fn replace(text: &str, mut ranges: Vec<Range<usize>>) -> Cow<'_, str> {
    ranges.sort_by_key(|range| range.start);
    let (mut replaced, mut end) = (String::new(), 0);

    for range in ranges {
        let range = text.floor_char_boundary(range.start)..text.ceil_char_boundary(range.end);
        if range.start < end {
            end = end.max(range.end);
        } else if &text[range.clone()] != REDACTED {
            replaced.push_str(&text[end..range.start]);
            replaced.push_str(REDACTED);
            end = range.end;
        }
    }

    if end == 0 {
        return Cow::Borrowed(text);
    }
    replaced.push_str(&text[end..]);
    Cow::Owned(replaced)
}

/// Returns where the values of signature parameters are, in a URL or not.
fn signature_values(form: &TextForm) -> Vec<Range<usize>> {
    let is_in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends_value = |byte: u8| byte.is_ascii_whitespace() || b"&\"'`<>|\\;,#()[]{}".contains(&byte);
    let bytes = form.ascii.as_bytes();
    let mut values = Vec::new();
    let (mut name, mut position) = (0, 0);

    while position < bytes.len() {
        let byte = bytes[position];
        position += 1;
        if is_in_name(byte) {
            continue;
        }
        if byte == b'=' && is_always_redacted(&form.ascii[name..position - 1]) {
            let length = bytes[position..].iter().position(|&byte| ends_value(byte));
            let end = length.map_or(bytes.len(), |length| position + length);
            values.extend((end > position).then_some(position..end));
            position = end;
        }
        name = position;
    }
    values
}

/// Returns whether a parameter of a signed URL has a secret value, which is then redacted wherever it occurs.
fn is_secret_in_signed_url(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "sig" || ["signature", "token", "secret", "credential"].iter().any(|part| name.contains(part))
}

/// Returns whether the value of a parameter in any text is redacted, even if it is not a known secret: `Signature`,
/// `AWSAccessKeyId`, `X-Amz-…` and `sig`. Except for `sig`, other characters may precede the name.
fn is_always_redacted(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "sig" || name.contains("x-amz-") || name.ends_with("signature") || name.ends_with("awsaccesskeyid")
}

struct Secret {
    /// As in [`TextForm::lower`].
    lower: String,
    base64: Vec<String>,
}

impl Secret {
    fn new(secret: &str) -> Self {
        Self { lower: TextForm::raw(secret).lower, base64: base64_forms(secret) }
    }

    /// Returns where the secret is, in any letter case or in base64.
    fn find_in<'a>(&'a self, form: &'a TextForm) -> impl Iterator<Item = Range<usize>> + 'a {
        let range = |(start, found): (usize, &str)| start..start + found.len();
        let plain = form.lower.match_indices(&self.lower).map(range);
        let base64 = self.base64.iter().flat_map(|digits| form.ascii.match_indices(digits.as_str()));
        plain.chain(base64.map(move |found| base64_word(&form.ascii, range(found))))
    }
}

/// Returns the base64 of a secret at any position of the encoded text, in both alphabets: for each offset of its first byte in
/// a group of three, without the digits that depend on other bytes.
fn base64_forms(secret: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for offset in 0..3 {
        let bytes = &secret.as_bytes()[offset..];
        let groups = &bytes[..bytes.len() / 3 * 3];
        forms.extend([STANDARD_NO_PAD.encode(groups), URL_SAFE_NO_PAD.encode(groups)]);
    }
    forms.sort();
    forms.dedup();
    forms
}

/// Returns the whole base64 text around a range of it, since the digits next to a secret encode a part of it.
fn base64_word(text: &str, range: Range<usize>) -> Range<usize> {
    let is_digit = |c: char| c.is_ascii_alphanumeric() || "+/-_=".contains(c);
    let start = text[..range.start].trim_end_matches(is_digit).len();
    let end = text.len() - text[range.end..].trim_start_matches(is_digit).len();
    start..end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "c0ffee00c0ffee11c0ffee22c0ffee33";

    fn redactor() -> Redactor {
        let redactor = Redactor::default();
        redactor.set_key(KEY);
        let query = "AWSAccessKeyId=AKIDMADEUPMADEUP&Expires=1425359248&Signature=ab%2BcdEFghijklmnop%3D&X-Amz-Security-Token=\
            FwoGZXIvYXdzEXAMPLE&Signature=??>>??>>??>>??>>&sig=short&design=an-ordinary-long-word&sig=a-signature-of-azure&response-content-disposition=attachment%3B%20filename%3Da-long-file-name.csv";
        redactor.add_signed_url(&Url::parse(&format!("https://s3.example/x?{query}")).unwrap());
        redactor
    }

    #[test]
    fn a_secret_is_redacted_in_every_encoding() {
        let encoded: String = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for (text, redacted) in [
            (format!("the key {KEY}, twice:{KEY}"), "the key ***, twice:***"),
            (KEY.to_uppercase(), "***"),
            (format!("see x?key={encoded}&y and é"), "see x?key=***&y and é"),
            (format!("é{}%{:x}{}%", &KEY[..5], KEY.as_bytes()[5], &KEY[6..]), "é***%"),
            ("YzBmZmVlMDBjMGZmZWUxMWMwZmZlZTIyYzBmZmVlMzM= x".to_owned(), "*** x"),
            ("é eGMwZmZlZTAwYzBmZmVlMTFjMGZmZWUyMmMwZmZlZTMz, x".to_owned(), "é ***, x"),
            ("(eHhjMGZmZWUwMGMwZmZlZTExYzBmZmVlMjJjMGZmZWUzMw==)".to_owned(), "(***)"),
            (
                "YzBmZmVlMDBjMGZmZWUxMWMwZmZlZTIyYzBmZmVlMzM= eHhjMGZmZWUwMGMwZmZlZTExYzBmZmVlMjJjMGZmZWUzMw"
                    .to_owned(),
                "*** ***",
            ),
            ("AB+CDEFGHIJKLMNOP or ab%2BcdEFghijklmnop%3D".to_owned(), "*** or ***%3D"),
            ("a fwogzxivyxdzexample b".to_owned(), "a *** b"),
            ("A-Signature-of-Azure".to_owned(), "***"),
            // The signature `??>>??>>??>>??>>` in both alphabets.
            ("Pz8+Pj8/Pj4/Pz4+Pz8+Pg== Pz8-Pj8_Pj4_Pz4-Pz8-Pg".to_owned(), "*** ***"),
        ] {
            assert_eq!(redactor().redact(&text), redacted, "{text}");
            assert!(redactor().contains_secret(&text));
            assert!(!redactor().contains_secret(redacted), "{redacted}");
        }
    }

    #[test]
    fn a_secret_that_is_not_ascii_is_redacted() {
        let redactor = Redactor::default();
        redactor.set_key("éé-a-key-of-many-characters-é");
        for (text, redacted) in [
            ("x éé-a-key-of-many-characters-é x", "x *** x"),
            ("%C3%A9é-A-key-of-many-characters-%c3%a9", "***"),
            ("€é-a-key-of-many-characters-€", "***"),
        ] {
            assert_eq!(redactor.redact(text), redacted);
        }
    }

    #[test]
    fn the_value_of_a_signature_parameter_is_redacted() {
        for (text, redacted) in [
            ("Signature=abc", "Signature=***"),
            ("see /f?signature=a%2Bb%3D&x=y now", "see /f?signature=***&x=y now"),
            (
                "https://s3.example/f?AWSAccessKeyId=AKID&Expires=1&Signature=b/c+d=",
                "https://s3.example/f?AWSAccessKeyId=***&Expires=1&Signature=***",
            ),
            (
                "X-Amz-Date=1 x-amz-credential=AKID/1/s3 (X-Amz-Security-Token=t)",
                "X-Amz-Date=*** x-amz-credential=*** (X-Amz-Security-Token=***)",
            ),
            ("%26Signature%3Da%252Bb%26x%3Dy z", "%26Signature%3D***%26x%3Dy z"),
            ("X%2DAmz%2DSignature%3Da+b%26x", "X%2DAmz%2DSignature%3D***%26x"),
            ("https%3A%2F%2Fa%3Fsig%3Db%26c", "https%3A%2F%2Fa%3Fsig%3D***%26c"),
            ("?sig=a&se=b", "?sig=***&se=b"),
            ("`sig=a`|sig=b|\"sig=c\"<sig=d>", "`sig=***`|sig=***|\"sig=***\"<sig=***>"),
            ("no-Signature=Yes \\u0026Signature=a", "no-Signature=*** \\u0026Signature=***"),
            ("Signature=a\u{0}b\u{2028}c d", "Signature=*** d"),
            // The value is shorter in the decoded text.
            ("Signature=abc%26de f", "Signature=*** f"),
            ("Signature=é ü", "Signature=*** ü"),
            ("Signature=***", "Signature=***"),
            ("Signature=***a", "Signature=***"),
            ("Signature=Signature=a", "Signature=***"),
            ("sig%3Da sig=b sig%253Dc", "sig%3D*** sig=*** sig%253Dc"),
            ("sig%3DSignature=a&b", "sig%3D***&b"),
        ] {
            assert_eq!(Redactor::default().redact(text), redacted, "{text}");
            assert!(!Redactor::default().contains_secret(redacted), "{redacted}");
        }
        for text in [
            "Signature",
            "Signature = x",
            "design=x",
            "bigsig=x",
            "sig=&x=y",
            "sig=",
            "Paid?=Yes",
            "sig-x=1",
            "SignatureVersion=2",
            "sig%3",
            "100%",
        ] {
            assert!(matches!(Redactor::default().redact(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn many_parameters_in_one_value_are_read_once() {
        // With one pass for each parameter, this would take minutes.
        let text = "sig=".repeat(1 << 19);
        assert_eq!(Redactor::default().redact(&text), "sig=***");
    }

    #[test]
    fn a_secret_across_the_maximum_length_is_redacted() {
        let redactor = redactor();
        let encoded: String = KEY.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for before in
            [MAX_TEXT_LENGTH - KEY.len(), MAX_TEXT_LENGTH - 20, MAX_TEXT_LENGTH, MAX_TEXT_LENGTH + MARGIN - 20]
        {
            for (secret, after) in [(KEY, 0), (KEY, 10_000), (&encoded, 10_000)] {
                let text = format!("{}{secret}{}", " ".repeat(before), " ".repeat(after));
                let redacted = redactor.redact_prefix(&text);
                assert!(!redacted.contains(&secret[..4]), "{before} {after}: {}", redacted.trim());
                assert!(redacted.len() <= MAX_TEXT_LENGTH, "{}", redacted.len());
                assert_eq!(redactor.excerpt(&text), redacted.trim(), "{before} {after}");
            }
        }

        for text in ["é".repeat(MAX_TEXT_LENGTH), "sig=é ".repeat(MAX_TEXT_LENGTH), "é".to_owned()] {
            let redacted = redactor.redact_prefix(&text);
            assert!(redacted.len() <= text.len().min(MAX_TEXT_LENGTH + MARGIN), "{}", redacted.len());
        }
        assert_eq!(redactor.redact_prefix(&"x".repeat(1 << 20)), "x".repeat(1 << 14));
    }

    #[test]
    fn other_text_stays() {
        for text in [
            "",
            "c0ffee",
            "1425359248",
            "a-long-file-name.csv",
            "an-ordinary-long-word",
            "short",
            "100 % of %41 and %",
            "AKIDMADEUPMADEUP",
            // The beginning of the key in base64, which is too short to be recognized.
            "YzBmZmVlMDBjMGZm",
        ] {
            assert!(matches!(redactor().redact(text), Cow::Borrowed(same) if same == text), "{text}");
            assert!(!redactor().contains_secret(text));
        }
        assert!(redactor().contains_key(KEY) && !redactor().contains_key("ab+cdEFghijklmnop="));
        let none = Redactor::default();
        none.set_key("applicants-2026");
        assert_eq!(none.redact("applicants-2026"), "applicants-2026");
    }

    #[test]
    fn the_beginning_of_a_long_signature_is_kept() {
        let redactor = Redactor::default();
        let long = "x1".repeat(1 << 19);
        redactor.add_signed_url(&Url::parse(&format!("https://s3.example/x?Signature={long}")).unwrap());
        assert_eq!(redactor.secrets().signatures[0].lower.len(), MAX_SIGNATURE_LENGTH);
        assert!(redactor.contains_secret(&long));
    }

    #[test]
    fn the_signatures_of_the_last_urls_are_kept() {
        let redactor = Redactor::default();
        let signature = |number: usize| format!("signature-number-{number:04}");
        for number in (0..MAX_SIGNATURES + 36).chain([MAX_SIGNATURES + 35; 100]) {
            redactor
                .add_signed_url(&Url::parse(&format!("https://s3.example/x?Signature={}", signature(number))).unwrap());
        }
        assert!(
            redactor.contains_secret(&signature(MAX_SIGNATURES + 35))
                && redactor.contains_secret(&signature(36))
                && !redactor.contains_secret(&signature(35))
        );
    }

    proptest! {
        #[test]
        fn an_unknown_signature_is_redacted(
            before in "(?:[a-z?&=%/: ]|.){0,20}",
            name in proptest::sample::select(vec!["Signature", "sig", "AWSAccessKeyId", "X-Amz-Signature", "x-amz-credential"]),
            after in "(?:[&#\"' ].{0,20})?",
            times in 0..2_usize,
        ) {
            let encode = |url: String| percent_encoding::utf8_percent_encode(&url, percent_encoding::NON_ALPHANUMERIC).to_string();
            let parameter = (0..times).fold(format!("&{name}=0aB+/cD9="), |text, _| encode(text));
            let excerpt = Redactor::default().excerpt(&format!("{before}{parameter}{after}"));
            prop_assert!(!excerpt.contains("0aB"), "{excerpt}");
            let redacted = Redactor::default().redact(&excerpt).into_owned();
            prop_assert_eq!(Redactor::default().redact(&redacted), redacted.as_str());
        }

        #[test]
        fn a_secret_is_redacted_wherever_it_is(
            before in ".{0,20}",
            after in ".{0,20}",
            encoding in 0..4_usize,
        ) {
            let secret = match encoding {
                0 => KEY.to_owned(),
                1 => KEY.to_uppercase(),
                2 => KEY.bytes().map(|byte| format!("%{byte:02x}")).collect(),
                _ => STANDARD_NO_PAD.encode(format!("x{KEY}")),
            };
            let redactor = redactor();
            let redacted = redactor.redact(&format!("{before}{secret}{after}")).into_owned();
            prop_assert!(!redacted.contains(&secret) && !redactor.contains_secret(&redacted), "{redacted}");
        }
    }
}

//! What must not be told to anybody: the API key, and what makes a URL a signed one.
//!
//! A server can send either back, raw or in disguise. So whatever a server says goes through [`Redactor::redact`] before
//! it is cut to a length, and whatever this tool tells a person goes through it once more on its way out.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::text::sanitize::{self, Decoded};

/// A key, or a value in the query of a URL, that is shorter than this could stand in a text by chance. Keys have 32
/// characters, signatures 28 and more.
const SHORTEST: usize = 16;

/// Of a value no more than this is kept, in bytes.
const LONGEST_VALUE: usize = 2048;

/// What the names of those values hold that must not be told: `Signature`, `X-Amz-Signature`, `X-Amz-Security-Token`. And
/// there is `sig`, which stands in other words, too.
const TELLING: [&str; 4] = ["signature", "token", "secret", "credential"];

/// A URL lives for less than 30 s; what was in older ones than the last so many is worth nothing.
const MOST_VALUES: usize = 64;

/// So often a text may have been percent-encoded.
const LAYERS: usize = 3;

/// What is shown in the place of a secret.
const REDACTED: &str = "***";

/// What the names of parameters end with whose values sign a URL or say who has signed it. And there is `sig`, which
/// stands at the end of other words, too, and everything that begins with `X-Amz-`.
const SIGNING: [&str; 2] = ["signature", "awsaccesskeyid"];

/// What all parameters of AWS Signature Version 4 begin with.
const SIGNING_PREFIX: &str = "x-amz-";

/// The secrets of one step.
#[derive(Default)]
pub struct Redactor {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    key: Option<Secret>,
    values: VecDeque<Secret>,
}

impl Redactor {
    /// Keeps the API key from being told.
    pub fn set_key(&self, key: &str) {
        self.kept().key = (key.len() >= SHORTEST).then(|| Secret::new(key));
    }

    /// Keeps what signs a URL from being told.
    pub fn add_signed_url(&self, url: &Url) {
        let mut kept = self.kept();
        for (name, value) in url.query_pairs() {
            // What base64 fills up with says nothing, and may be left away.
            let (name, value) = (name.to_ascii_lowercase(), value.trim_end_matches('='));
            let value = &value[..value.floor_char_boundary(LONGEST_VALUE)];
            let is_known = || kept.values.iter().any(|known| known.text == value.to_ascii_lowercase());
            let is_telling = name == "sig" || TELLING.iter().any(|telling| name.contains(telling));
            if value.len() < SHORTEST || !is_telling || is_known() {
                continue;
            }
            kept.values.push_back(Secret::new(value));
            if kept.values.len() > MOST_VALUES {
                kept.values.pop_front();
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the API key is in a text, in one of the usual disguises.
    #[must_use]
    pub fn contains_key(&self, text: &str) -> bool {
        self.kept().key.as_ref().is_some_and(|key| key.is_in(&Disguises::of(text)))
    }

    /// Whether any secret is in a text, in one of the usual disguises.
    #[must_use]
    pub fn contains_secret(&self, text: &str) -> bool {
        matches!(self.redact(text), Cow::Owned(_))
    }

    /// Words of a server, fit to be shown. What must not be told is concealed before they are cut, or half of it would stay.
    #[must_use]
    pub fn excerpt(&self, text: &str) -> String {
        sanitize::excerpt(&self.redact(sanitize::prefix(text)))
    }

    /// The text without the secrets: in the place of each there is `***`, and of one in disguise in the place of the whole
    /// word. A parameter whose name says that it signs something loses its value, known or not.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let kept = self.kept();
        let redactor = || kept.key.iter().chain(kept.values.iter());
        let mut redacted = redact_signatures(text);
        for secret in redactor() {
            if let Some(without) = secret.cut_out_of(&redacted) {
                redacted = Cow::Owned(without);
            }
        }
        let is_disguise = |word: &str| {
            // Most words are too short, and not looked at any closer.
            word.len() >= SHORTEST && {
                let disguises = Disguises::of(word);
                redactor().any(|secret| secret.is_in(&disguises))
            }
        };
        if redacted.split_whitespace().any(is_disguise) {
            let without = redacted.split_inclusive(char::is_whitespace).map(|word| match word.trim_end() {
                bare if is_disguise(bare) => format!("{REDACTED}{}", &word[bare.len()..]),
                _ => word.to_owned(),
            });
            redacted = Cow::Owned(without.collect());
        }
        redacted
    }
}

/// Returns the text with `***` in the place of the value of every signature parameter, in a URL or not, percent-encoded or
/// not: `Signature=…`, `X-Amz-Credential%3D…`.
fn redact_signatures(text: &str) -> Cow<'_, str> {
    if !text.contains(['=', '%']) {
        return Cow::Borrowed(text);
    }
    let layers = sanitize::decoded(text);
    let mut values: Vec<Range<usize>> = layers.iter().flat_map(|bytes| signature_values(bytes, text.len())).collect();
    values.sort_by_key(|value| value.start);
    let (mut redacted, mut end) = (String::new(), 0);
    for value in values {
        if value.start < end {
            // A value inside of another one, which is encoded once less.
            end = end.max(value.end);
        } else if &text[value.clone()] != REDACTED {
            redacted.push_str(&text[end..value.start]);
            redacted.push_str(REDACTED);
            end = value.end;
        }
    }
    if end == 0 {
        return Cow::Borrowed(text);
    }
    redacted.push_str(&text[end..]);
    Cow::Owned(redacted)
}

/// Returns where the values of signature parameters stand in a text of so many bytes.
fn signature_values(bytes: &[Decoded], length: usize) -> Vec<Range<usize>> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends_value = |byte: u8| byte.is_ascii_whitespace() || b"&\"'`<>|\\;,#()[]{}".contains(&byte);
    let mut values = Vec::new();
    let mut name = String::new();
    for (at, decoded) in bytes.iter().enumerate() {
        if is_of_name(decoded.byte) {
            name.push(char::from(decoded.byte.to_ascii_lowercase()));
            continue;
        }
        if decoded.byte == b'=' && is_signing(&name) {
            let end = bytes[at..].iter().find(|decoded| ends_value(decoded.byte));
            let value = decoded.range.end..end.map_or(length, |end| end.range.start);
            values.extend(Some(value).filter(|value| !value.is_empty()));
        }
        name.clear();
    }
    values
}

fn is_signing(name: &str) -> bool {
    name == "sig" || name.contains(SIGNING_PREFIX) || SIGNING.iter().any(|signing| name.ends_with(signing))
}

/// One secret, and what it looks like in base64.
struct Secret {
    /// In lower case.
    text: String,
    in_base64: Vec<String>,
}

impl Secret {
    fn new(secret: &str) -> Self {
        let mut forms = in_base64(secret);
        forms.extend(in_base64(&secret.to_ascii_uppercase()));
        Self { text: secret.to_ascii_lowercase(), in_base64: forms }
    }

    /// The text with `***` in its place, where it stands there undisguised.
    fn cut_out_of(&self, text: &str) -> Option<String> {
        // Of the same length as the text, so that places in the one are places in the other.
        let lower = text.to_ascii_lowercase();
        let mut places = lower.match_indices(&self.text).peekable();
        places.peek()?;
        let (mut without, mut end) = (String::with_capacity(text.len()), 0);
        for (at, _) in places {
            without.push_str(&text[end..at]);
            without.push_str(REDACTED);
            end = at + self.text.len();
        }
        without.push_str(&text[end..]);
        Some(without)
    }

    fn is_in(&self, disguises: &Disguises) -> bool {
        disguises.texts.iter().any(|text| {
            text.to_ascii_lowercase().contains(&self.text) || self.in_base64.iter().any(|digits| text.contains(digits))
        })
    }
}

/// A text, and what is left of it when layers of percent-encoding and invisible characters are taken off.
struct Disguises {
    texts: Vec<String>,
}

impl Disguises {
    fn of(text: &str) -> Self {
        let visible = |text: &str| text.chars().filter(|&c| !is_invisible(c)).collect::<String>();
        let mut texts = vec![visible(text)];
        while texts.len() <= LAYERS {
            let outer = &texts[texts.len() - 1];
            let inner = visible(&percent_decode_str(outer).decode_utf8_lossy());
            if inner == *outer {
                break;
            }
            texts.push(inner);
        }
        Self { texts }
    }
}

/// Characters that are not seen where they stand (Unicode, Default_Ignorable_Code_Point), and what is no character to be
/// shown.
fn is_invisible(c: char) -> bool {
    sanitize::is_unprintable(c)
        || matches!(
            c,
            '\u{AD}' | '\u{34F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{3164}' | '\u{FFA0}'
        )
        || matches!(c, '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{206F}')
        || matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// What base64 makes of a secret that stands anywhere in a text: a form for each place that its first byte can have in a
/// group of three, without the ends that depend on what stands around; in both alphabets (RFC 4648, sections 4 and 5).
fn in_base64(secret: &str) -> Vec<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
    };
    let from = |skip: usize| secret.as_bytes()[skip..].chunks_exact(3).flat_map(group).collect::<String>();
    let mut forms: Vec<String> = (0..3).map(from).collect();
    forms.extend(forms.clone().iter().map(|form| form.replace('+', "-").replace('/', "_")));
    forms.sort();
    forms.dedup();
    forms
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
            FwoGZXIvYXdzEXAMPLE&sig=short&design=an-ordinary-long-word&sig=a-signature-of-azure&response-content-disposition=attachment%3B%20filename%3Da-long-file-name.csv";
        redactor.add_signed_url(&Url::parse(&format!("https://s3.example/x?{query}")).unwrap());
        redactor
    }

    #[test]
    fn a_secret_is_concealed_in_every_disguise() {
        let encoded: String = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let twice = encoded.replace('%', "%25");
        for (text, redacted) in [
            (format!("the key {KEY}, twice:{KEY}"), "the key ***, twice:***"),
            (KEY.to_uppercase(), "***"),
            (format!("see x?key={encoded}&y and more"), "see *** and more"),
            (twice, "***"),
            (format!("{}\u{200e}{}", &KEY[..16], &KEY[16..]), "***"),
            (format!("{}%E2%80%8E{} !", &KEY[..16], &KEY[16..]), "*** !"),
            (KEY.chars().flat_map(|c| [c, '\u{200b}', '\u{fe0f}', '\u{e0041}', '\u{ad}']).collect(), "***"),
            ("QzBGRkVFMDBDMEZGRUUxMUMwRkZFRTIyQzBGRkVFMzM=".to_owned(), "***"),
            ("YzBmZmVlMDBjMGZmZWUxMWMwZmZlZTIyYzBmZmVlMzM= x".to_owned(), "*** x"),
            ("eGMwZmZlZTAwYzBmZmVlMTFjMGZmZWUyMmMwZmZlZTMz".to_owned(), "***"),
            ("eHhjMGZmZWUwMGMwZmZlZTExYzBmZmVlMjJjMGZmZWUzMw==".to_owned(), "***"),
            ("AB+CDEFGHIJKLMNOP or ab%2BcdEFghijklmnop%3D".to_owned(), "*** or ***"),
            ("a fwogzxivyxdzexample b".to_owned(), "a *** b"),
            ("A-Signature-of-Azure".to_owned(), "***"),
        ] {
            assert_eq!(redactor().redact(&text), redacted, "{text}");
            assert!(redactor().contains_secret(&text));
        }
    }

    #[test]
    fn the_value_of_a_signature_parameter_is_redacted_wherever_it_stands() {
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
            ("X%2DAmz%2DSignature%3Da+X%252DAmz%252DDate%253D2%2526x", "X%2DAmz%2DSignature%3D***"),
            ("https%253A%252F%252Fa%253Fsig%253Db%2526c", "https%253A%252F%252Fa%253Fsig%253D***%2526c"),
            ("?sig=a&se=b", "?sig=***&se=b"),
            ("`sig=a`|sig=b|\"sig=c\"<sig=d>", "`sig=***`|sig=***|\"sig=***\"<sig=***>"),
            ("no-Signature=Yes \\u0026Signature=a", "no-Signature=*** \\u0026Signature=***"),
            ("Signature=a\u{0}b\u{2028}c d", "Signature=*** d"),
            ("Signature=é ü", "Signature=*** ü"),
            ("Signature=***", "Signature=***"),
            ("Signature=***a", "Signature=***"),
            ("Signature=Signature=a", "Signature=***"),
            ("sig%3Da sig=b sig%253Dc", "sig%3D*** sig=*** sig%253D***"),
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
    fn what_is_no_secret_stays() {
        for text in [
            "",
            "c0ffee",
            "1425359248",
            "a-long-file-name.csv",
            "an-ordinary-long-word",
            "short",
            "100 % of %41 and %",
            "AKIDMADEUPMADEUP",
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
    fn of_a_value_of_any_length_the_beginning_is_kept() {
        let redactor = Redactor::default();
        let long = "x1".repeat(1 << 19);
        redactor.add_signed_url(&Url::parse(&format!("https://s3.example/x?Signature={long}")).unwrap());
        assert_eq!(redactor.kept().values[0].text.len(), LONGEST_VALUE);
        assert!(redactor.contains_secret(&long));
    }

    #[test]
    fn of_many_urls_the_last_ones_are_kept() {
        let redactor = Redactor::default();
        let signature = |number: usize| format!("signature-number-{number:04}");
        for number in 0..100 {
            redactor
                .add_signed_url(&Url::parse(&format!("https://s3.example/x?Signature={}", signature(number))).unwrap());
        }
        assert!(
            redactor.contains_secret(&signature(99))
                && redactor.contains_secret(&signature(36))
                && !redactor.contains_secret(&signature(35))
        );
    }

    proptest! {
        #[test]
        fn nothing_is_left_of_a_signature_that_nobody_knows(
            before in "(?:[a-z?&=%/: ]|.){0,20}",
            name in proptest::sample::select(vec!["Signature", "sig", "AWSAccessKeyId", "X-Amz-Signature", "x-amz-credential"]),
            after in "(?:[&#\"' ].{0,20})?",
            times in 0..3_usize,
        ) {
            let encode = |url: String| percent_encoding::utf8_percent_encode(&url, percent_encoding::NON_ALPHANUMERIC).to_string();
            let parameter = (0..times).fold(format!("&{name}=0aB+/cD9="), |text, _| encode(text));
            let told = Redactor::default().excerpt(&format!("{before}{parameter}{after}"));
            prop_assert!(!told.contains("0aB"), "{told}");
            let told = Redactor::default().redact(&told).into_owned();
            prop_assert_eq!(Redactor::default().redact(&told), told.as_str());
        }

        #[test]
        fn nothing_is_left_of_a_secret_wherever_it_stands(
            before in ".{0,20}",
            after in ".{0,20}",
            how in 0..4_usize,
        ) {
            let inside = match how {
                0 => KEY.to_owned(),
                1 => KEY.to_uppercase(),
                2 => KEY.bytes().map(|byte| format!("%{byte:02x}")).collect(),
                _ => KEY.bytes().map(|byte| format!("%25{byte:02x}")).collect(),
            };
            let redactor = redactor();
            let told = redactor.redact(&format!("{before}{inside}{after}")).into_owned();
            prop_assert!(!redactor.contains_secret(&told), "{told}");
        }
    }
}

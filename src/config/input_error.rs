//! Input errors. Each names its input, shows the value, and says what is accepted.

use std::fmt;

use super::spec::INPUTS;
use crate::text::redact::Redactor;
use crate::text::sanitize;

/// Maximum length of a value in a message, in characters.
const MAX_SHOWN_VALUE_LENGTH: usize = 80;

/// Why an input cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputError {
    pub(crate) input: &'static str,
    /// The problem, and what is accepted. Shows the value, but never the key.
    pub(crate) message: String,
}

impl InputError {
    /// An error whose message begins with the value.
    #[must_use]
    pub(crate) fn with_value(input: &'static str, value: &str, reason: &str) -> Self {
        Self { input, message: format!("{} {reason}", quote(value)) }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.input, self.message)
    }
}

impl std::error::Error for InputError {}

/// Sorts errors into the order of [`INPUTS`].
pub(crate) fn sort(errors: &mut [InputError]) {
    errors.sort_by_key(|error| INPUTS.iter().position(|spec| spec.name == error.input));
}

/// Whether a text contains what API keys look like: 32 hexadecimal digits in a row.
#[must_use]
pub(crate) fn looks_like_a_key(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_hexdigit()).any(|digits| digits.len() >= 32)
}

/// Returns a value as messages show it.
pub(super) fn quote(value: &str) -> String {
    format!("`{}`", sanitize::truncate(&sanitize::line(value), MAX_SHOWN_VALUE_LENGTH))
}

/// Why a parser rejects a value.
pub(super) struct Rejection {
    /// The value, unless it must not be shown.
    value: Option<String>,
    reason: String,
    /// The part of the value that is wrong, shown after the reason, and an explanation.
    part: Option<(String, String)>,
}

/// Rejects a value that may be shown.
pub(super) fn reject<T>(value: &str, reason: impl Into<String>) -> Result<T, Rejection> {
    Err(Rejection { value: Some(value.to_owned()), reason: reason.into(), part: None })
}

/// Rejects a value because of a part of it: ``contains `x`, which is not …``.
pub(super) fn reject_part<T>(value: &str, reason: &str, part: &str, explanation: String) -> Result<T, Rejection> {
    let part = Some((part.to_owned(), explanation));
    Err(Rejection { value: Some(value.to_owned()), reason: reason.to_owned(), part })
}

/// Rejects a value without showing it.
pub(super) fn reject_hidden<T>(reason: impl Into<String>) -> Result<T, Rejection> {
    Err(Rejection { value: None, reason: reason.into(), part: None })
}

/// Collects the errors of all inputs, so that they are reported at once.
#[derive(Default)]
pub(super) struct InputErrors {
    pub(super) found: Vec<InputError>,
    /// The value of `api-key`, which no message may show.
    key: Option<String>,
    /// Finds the key in other inputs, also in another form.
    redactor: Redactor,
}

impl InputErrors {
    /// Sets the value of `api-key`. From now on, no other input may contain it.
    pub(super) fn set_key(&mut self, key: &str) {
        self.redactor.set_key(key);
        self.key = Some(key.to_owned());
    }

    pub(super) fn add(&mut self, input: &'static str, message: impl Into<String>) {
        self.found.push(InputError { input, message: message.into() });
    }

    /// Adds an error whose message begins with the value.
    pub(super) fn add_with_value(&mut self, input: &'static str, value: &str, reason: &str) {
        let value = self.display_value(value);
        self.add(input, format!("{value} {reason}"));
    }

    /// Whether there is an error of this input.
    pub(super) fn has(&self, input: &str) -> bool {
        self.found.iter().any(|error| error.input == input)
    }

    /// Adds an error if both of two inputs are given that exclude each other.
    pub(super) fn require_at_most_one(
        &mut self,
        (first, value): (&'static str, &Option<String>),
        (second, other): (&'static str, &Option<String>),
    ) {
        if let (Some(value), Some(other)) = (value, other) {
            let (value, other) = (self.display_value(value), self.display_value(other));
            self.add(first, format!("{value} is given together with {second} {other}; give only one of them"));
        }
    }

    /// Parses a value. Returns `None` if it is not given, or is rejected, which adds an error.
    pub(super) fn parse<T>(
        &mut self,
        input: &'static str,
        value: &Option<String>,
        parse: impl FnOnce(&str) -> Result<T, Rejection>,
    ) -> Option<T> {
        let value = value.as_deref()?;
        if self.redactor.contains_key(value) {
            self.add(input, "contains the API key, which belongs only in api-key (value not shown)");
            return None;
        }
        self.accept(input, parse(value))
    }

    /// Returns the parsed value, or adds an error.
    pub(super) fn accept<T>(&mut self, input: &'static str, parsed: Result<T, Rejection>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(Rejection { value, reason, part }) => {
                let value = value.map(|value| self.display_value(&value)).unwrap_or_default();
                let part = part.map(|(part, explanation)| {
                    let part = if self.is_key(&part) { "`***`".to_owned() } else { quote(&part) };
                    format!(" {part}{explanation}")
                });
                self.add(input, format!("{value} {reason}{}", part.unwrap_or_default()).trim_start());
                None
            }
        }
    }

    /// Returns a value as a message shows it.
    fn display_value(&self, value: &str) -> String {
        if self.is_key(value) { "a value that looks like an API key (not shown)".to_owned() } else { quote(value) }
    }

    /// Whether a value contains the key or looks like one: then it was given to the wrong input.
    fn is_key(&self, value: &str) -> bool {
        looks_like_a_key(value)
            || self.redactor.contains_key(value)
            || self.key.as_deref().is_some_and(|key| value.contains(key))
    }
}

//! The words of the input `identity`, and the texts that they match.

use std::fmt;

use crate::text::normalize;

/// The terms of a search. A query matches texts if each of its terms matches one of them.
#[derive(Debug)]
pub(super) struct Query {
    terms: Vec<Term>,
}

/// One term of a search, normalized.
#[derive(Debug, PartialEq, Eq)]
enum Term {
    /// Matches a text that contains it: `soph` matches `sophas`.
    Part(String),
    /// Matches a text that contains the whole number: `2026` matches `2026 - 2027`, and `20` does not.
    Number(String),
    /// Matches a whole text, or a part that the text itself has in double quotes.
    Whole(String),
}

impl Query {
    /// Parses words separated by white space or commas. Double quotes enclose a whole text. A hyphen can join two years.
    pub(super) fn parse(words: &str) -> Self {
        let words = normalize(words);
        let mut rest = words.trim_start_matches(is_separator);
        let mut terms = Vec::new();

        while !rest.is_empty() {
            rest = match quoted(rest) {
                Some((text, after)) => {
                    let text = text.trim();
                    terms.extend((!text.is_empty()).then(|| Term::Whole(text.to_owned())));
                    after
                }
                None => {
                    let (word, after) = rest.split_at(rest.find(is_separator).unwrap_or(rest.len()));
                    terms.extend(word_terms(word));
                    after
                }
            };
            rest = rest.trim_start_matches(is_separator);
        }
        Self { terms }
    }

    pub(super) fn len(&self) -> usize {
        self.terms.len()
    }

    /// Returns whether each term matches one of the texts, which are normalized.
    pub(super) fn matches(&self, texts: &[&str]) -> bool {
        self.terms.iter().all(|term| term.matches(texts))
    }

    /// Returns the terms that match none of several entries, each of which has these texts. Empty if the query has a single term.
    pub(super) fn unmatched_words<const TEXTS: usize>(&self, entries: &[[&str; TEXTS]]) -> Vec<String> {
        if self.len() == 1 {
            return Vec::new();
        }
        let is_unmatched = |term: &&Term| !entries.iter().any(|texts| term.matches(texts));
        self.terms.iter().filter(is_unmatched).map(ToString::to_string).collect()
    }

    /// Returns the number of terms that match one of the texts.
    pub(super) fn matching_terms(&self, texts: &[&str]) -> usize {
        self.terms.iter().filter(|term| term.matches(texts)).count()
    }

    /// Returns the number of terms that match a whole word, number or text.
    pub(super) fn terms_matching_whole_words(&self, texts: &[&str]) -> usize {
        self.terms.iter().filter(|term| term.matches_word(texts)).count()
    }
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || c == ','
}

/// Splits a text that begins with a quoted text into that and the rest.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let (inside, after) = text.strip_prefix('"')?.split_once('"')?;
    (after.is_empty() || after.starts_with(is_separator)).then_some((inside, after))
}

/// Returns the terms of a word: several for `2026-2027`.
fn word_terms(word: &str) -> impl Iterator<Item = Term> {
    let are_years = word.chars().all(|c| c.is_ascii_digit() || c == '-');
    let parts = word.split(move |c| are_years && c == '-').filter(|part| !part.is_empty());

    parts.map(|part| {
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { Term::Number(part.to_owned()) } else { Term::Part(part.to_owned()) }
    })
}

/// Writes the term as the input has it, but normalized.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(text) | Self::Number(text) => f.write_str(text),
            Self::Whole(text) => write!(f, "\"{text}\""),
        }
    }
}

impl Term {
    fn matches(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| match self {
            Self::Part(part) => text.contains(part.as_str()),
            Self::Number(number) => super::numbers(text).any(|digits| digits == number),
            Self::Whole(whole) => text == whole || contains_quoted(text, whole),
        })
    }

    fn matches_word(&self, texts: &[&str]) -> bool {
        match self {
            Self::Part(part) => {
                texts.iter().any(|text| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == part))
            }
            Self::Number(_) | Self::Whole(_) => self.matches(texts),
        }
    }
}

/// Returns whether `text` contains `part` in double quotes.
fn contains_quoted(text: &str, part: &str) -> bool {
    text.match_indices(part).any(|(at, _)| text[..at].ends_with('"') && text[at + part.len()..].starts_with('"'))
}

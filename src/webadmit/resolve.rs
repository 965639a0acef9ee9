//! Which identity, which export and which file is meant by a name.
//!
//! Pure: the lists come in as arguments. A name that means nothing, or more than one thing, is answered with what there
//! is, so that the next try is right.

use std::cmp::Reverse;

use crate::config::Id;
use crate::text::sanitize;
use crate::webadmit::lists::{Export, Identity, ListedRun};

/// So much of a list is shown at most.
const MAX_LINES: usize = 20;

/// The longest line of a list, in characters: GitHub shows 4,096 of a message, and twenty lines are to fit.
const MAX_LINE_LENGTH: usize = 150;

/// Why nothing could be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveError {
    /// How many fit: none, or more than one.
    pub fitting: usize,
    /// How many there are in all.
    pub of: usize,
    /// Whether what was given as a name is the id of one of them.
    pub is_id: bool,
    /// Lines that begin with an id: those that fit, or where none does what there is, the nearest first. At most twenty.
    pub listed: Vec<String>,
    /// How many more there are.
    pub unlisted: usize,
}

impl ResolveError {
    fn new(fitting: usize, ids: impl Iterator<Item = Id>, given: &str, mut lines: Vec<String>) -> Self {
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        let unlisted = lines.len().saturating_sub(MAX_LINES);
        lines.truncate(MAX_LINES);
        let listed = lines.into_iter().map(|line| sanitize::truncate(&line, MAX_LINE_LENGTH)).collect();
        Self { fitting, of: ids.len(), is_id: ids.iter().any(|id| id == given.trim()), listed, unlisted }
    }
}

/// What an identity must have to be the one that is meant, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    /// It occurs in one of its texts: SOPH in SOPHAS.
    Part(String),
    /// It is a number in one of its texts: 2026 in `2026 - 2027`, but not 20 or 26.
    Number(String),
    /// It is one of its texts, from beginning to end.
    Whole(String),
}

/// Whether a character separates words: white space, and as in the lists of this tool commas and brackets, or the mark of
/// a line that was cut.
fn is_apart(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')' | '…')
}

/// The words of the input `identity`. What is in double quotes is a whole text. Years may stand together, as in 2026-2027.
fn terms(words: &str) -> Vec<Term> {
    let words = sanitize::normalize(words);
    let (mut terms, mut rest) = (Vec::new(), words.trim_start_matches(is_apart));
    while !rest.is_empty() {
        let quoted = rest.strip_prefix('"').and_then(|inside| inside.split_once('"'));
        match quoted.filter(|(_, after)| after.is_empty() || after.starts_with(is_apart)) {
            Some((whole, after)) => {
                terms.extend(
                    Some(whole.trim()).filter(|whole| !whole.is_empty()).map(|whole| Term::Whole(whole.to_owned())),
                );
                rest = after;
            }
            None => {
                let (word, after) = rest.split_at(rest.find(is_apart).unwrap_or(rest.len()));
                let is_years = word.chars().all(|c| c.is_ascii_digit() || c == '-');
                let parts = word.split(|c| is_years && c == '-').filter(|part| !part.is_empty());
                terms.extend(parts.map(|part| match part.bytes().all(|byte| byte.is_ascii_digit()) {
                    true => Term::Number(part.to_owned()),
                    false => Term::Part(part.to_owned()),
                }));
                rest = after;
            }
        }
        rest = rest.trim_start_matches(is_apart);
    }
    terms
}

impl Term {
    fn fits(&self, texts: &[String]) -> bool {
        match self {
            Self::Part(part) => texts.iter().any(|text| text.contains(part.as_str())),
            Self::Number(number) => {
                texts.iter().any(|text| text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits == number))
            }
            // Or it stands in quotes there, too.
            Self::Whole(whole) => texts.iter().any(|text| text == whole || text.contains(&format!("\"{whole}\""))),
        }
    }

    /// Whether it stands in a text as a word of its own.
    fn stands_alone(&self, texts: &[String]) -> bool {
        match self {
            Self::Part(part) => {
                texts.iter().any(|text| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == part))
            }
            Self::Number(_) | Self::Whole(_) => self.fits(texts),
        }
    }
}

fn texts(identity: &Identity) -> [String; 5] {
    let Identity { association, organization, institution, cycle, kind, .. } = identity;
    [association, organization, institution, cycle, kind].map(|label| label.folded.clone())
}

/// The identity in which each of the words occurs. Of several that differ only in their cycle, the newest. A row as `list`
/// prints it, or a line of a message, selects the identity that it shows, whatever its words mean elsewhere.
///
/// # Errors
///
/// [`ResolveError`] when there is none, or more than one.
pub fn identity<'a>(all: &'a [Identity], words: &str) -> Result<&'a Identity, ResolveError> {
    if let Some(shown) = identity_of_row(all, words) {
        return Ok(shown);
    }
    let terms = terms(words);
    let occurring = |identity: &Identity| {
        let texts = texts(identity);
        terms.iter().filter(|term| term.fits(&texts)).count()
    };
    let standing_alone = |identity: &Identity| {
        let texts = texts(identity);
        terms.iter().filter(|term| term.stands_alone(&texts)).count()
    };
    let ids = || all.iter().map(|identity| identity.id);
    let mut fitting: Vec<&Identity> = all.iter().filter(|identity| occurring(identity) == terms.len()).collect();
    if fitting.is_empty()
        && let [Term::Number(first), rest @ ..] = terms.as_slice()
        && !rest.is_empty()
        && let Some(line) = all.iter().find(|identity| identity.id.to_string() == *first)
        && rest.iter().all(|term| term.fits(&texts(line)))
    {
        // Words of a line of the list, with the id that it begins with.
        return Ok(line);
    }
    if fitting.is_empty() {
        let mut nearest: Vec<&Identity> = all.iter().collect();
        nearest.sort_by_cached_key(|one| {
            Reverse((occurring(one), nearness(words, &one.title()), years(&one.cycle.folded)))
        });
        return Err(ResolveError::new(0, ids(), words, nearest.into_iter().map(line_of_identity).collect()));
    }
    fitting.sort_by_key(|identity| Reverse(years(&identity.cycle.folded)));
    match fitting.as_slice() {
        [only] => Ok(only),
        [newest, older @ ..]
            if older
                .iter()
                .all(|one| differ_only_in_cycle(newest, one) && is_newer(&newest.cycle.folded, &one.cycle.folded)) =>
        {
            Ok(newest)
        }
        _ => {
            fitting.sort_by_cached_key(|one| Reverse((standing_alone(one), years(&one.cycle.folded))));
            Err(ResolveError::new(fitting.len(), ids(), words, fitting.into_iter().map(line_of_identity).collect()))
        }
    }
}

/// Returns the identity whose row or line was given, word for word: its id, then all of its texts.
fn identity_of_row<'a>(all: &'a [Identity], given: &str) -> Option<&'a Identity> {
    let words = |text: &str| -> Vec<String> {
        sanitize::normalize(text).split(is_apart).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let given = words(given);
    let id = given.first()?;
    let shown = all.iter().find(|identity| identity.id.to_string() == *id)?;
    let line = line_of_identity(shown);
    [sanitize::truncate(&line, MAX_LINE_LENGTH), line].iter().any(|line| words(line) == given).then_some(shown)
}

/// Puts identities into the order of their cycles, the newest first.
pub fn newest_first(identities: &mut [Identity]) {
    identities.sort_by_key(|identity| Reverse(years(&identity.cycle.folded)));
}

/// Whether nothing but their cycle, and their id, tells two identities apart.
#[must_use]
pub fn differ_only_in_cycle(one: &Identity, other: &Identity) -> bool {
    let rest = |identity: &Identity| {
        [&identity.kind, &identity.association, &identity.organization, &identity.institution]
            .map(|label| label.folded.clone())
    };
    rest(one) == rest(other)
}

/// Whether one cycle is newer than another for certain: both are named by as many years of four digits.
fn is_newer(one: &str, other: &str) -> bool {
    let certain = |cycle: &str| {
        let mut numbers = cycle.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
        numbers.all(|digits| digits.len() == 4)
    };
    let (ones, others) = (years(one), years(other));
    ones.len() == others.len() && certain(one) && certain(other) && ones > others
}

/// The years of a cycle, `2026 - 2027`: the later they are, the newer is the cycle.
fn years(cycle: &str) -> Vec<u64> {
    cycle.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn line_of_identity(identity: &Identity) -> String {
    let Identity { id, kind, .. } = identity;
    let kind = if kind.is_empty() { String::new() } else { format!(" ({kind})") };
    format!("{id}  {}{kind}", identity.title())
}

/// The export of this name. Names are compared without regard to case. Where there is none, those that contain all of its
/// words are listed first, and then the most similar ones.
///
/// # Errors
///
/// [`ResolveError`] when there is none, or more than one.
pub fn export<'a>(all: &'a [Export], name: &str) -> Result<&'a Export, ResolveError> {
    let target = sanitize::normalize(name);
    let ids = || all.iter().map(|export| export.id);
    let line = |export: &Export| format!("{}  {}", export.id, export.name);
    let fitting: Vec<&Export> = all.iter().filter(|export| export.name.folded == target).collect();
    match fitting.as_slice() {
        [only] => Ok(only),
        [] => {
            // A line of the list as it stands, with the id that it begins with.
            let (first, rest) = target.split_once(' ').unwrap_or_default();
            if let Some(line) = all.iter().find(|export| export.id.to_string() == first && export.name.folded == rest) {
                return Ok(line);
            }
            let mut nearest: Vec<&Export> = all.iter().collect();
            let terms = terms(&target.replace('"', " "));
            nearest.sort_by_cached_key(|export| {
                let text = std::slice::from_ref(&export.name.folded);
                let (stands_alone, fits) = (|term: &Term| term.stands_alone(text), |term: &Term| term.fits(text));
                Reverse((terms.iter().all(stands_alone), terms.iter().all(fits), nearness(&target, &text[0])))
            });
            Err(ResolveError::new(0, ids(), name, nearest.into_iter().map(line).collect()))
        }
        several => Err(ResolveError::new(several.len(), ids(), name, several.iter().copied().map(line).collect())),
    }
}

/// The newest file of an export: the one with the highest id.
///
/// # Errors
///
/// [`ResolveError`] when there is none.
pub fn latest(all: &[ListedRun], export: Id) -> Result<&ListedRun, ResolveError> {
    all.iter().filter(|file| file.export == export).max_by_key(|file| file.id).ok_or_else(|| {
        let mut files: Vec<&ListedRun> = all.iter().collect();
        files.sort_by_key(|file| Reverse(file.id));
        let line = |file: &&ListedRun| format!("{}  of export {}, {}", file.id, file.export, file.status);
        ResolveError::new(0, all.iter().map(|file| file.id), "latest", files.iter().map(line).collect())
    })
}

/// How alike two texts are, from 0 to 1000, by the pairs of letters that both have: neither a slip of the pen nor another
/// order of the words counts for much. The time that it takes grows with the length of the texts, not with its square.
fn nearness(target: &str, there: &str) -> u32 {
    (strsim::sorensen_dice(&sanitize::normalize(target), &sanitize::normalize(there)) * 1000.0) as u32
}

#[cfg(test)]
mod tests;

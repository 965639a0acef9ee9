//! Resolves names to ids: the identity, the export, the PDF template or the run that an input selects.
//!
//! Pure: the lists are arguments. A name that matches no entry, or more than one, is a [`ResolveError`] with candidates.

use std::cmp::Reverse;

use query::Query;

use super::lists::{Export, Identity, Label, ListedRun, Template};
use crate::text::normalize;
use crate::webadmit::Id;

mod input_value;
mod query;

pub(crate) use input_value::input_values;

/// Maximum number of candidates in an error and its message.
pub(crate) const MAX_CANDIDATES: usize = 20;

/// The error for a name that matches no entry of a list, or more than one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveError {
    /// Number of entries that match: zero, or at least two.
    pub matching: usize,
    /// Number of entries in the list.
    pub total: usize,
    /// Whether the name is the id of an entry.
    pub is_id: bool,
    /// The words that no identity contains. Empty if there is a single word.
    pub unmatched_words: Vec<String>,
    /// The entries that match, or if none does, all entries, best first. At most twenty.
    pub candidates: Vec<Candidate>,
}

/// An entry that may be the intended one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Id of the identity, export, PDF template or run.
    pub id: Id,
    /// Description in one line, safe to show.
    pub title: String,
}

impl ResolveError {
    /// Returns the error for `name`. `ranked` has the entries that match, or all entries if `matching` is 0, best first.
    fn new<T: Entry>(name: &str, all: &[T], matching: usize, ranked: &[&T]) -> Self {
        let candidates = ranked.iter().take(MAX_CANDIDATES);

        Self {
            matching,
            total: all.len(),
            is_id: all.iter().any(|entry| entry.id().to_string() == name.trim()),
            unmatched_words: Vec::new(),
            candidates: candidates.map(|entry| Candidate { id: entry.id(), title: entry.candidate_title() }).collect(),
        }
    }

    /// Returns the number of entries beyond the first twenty candidates.
    pub(crate) fn omitted(&self) -> usize {
        let eligible = if self.matching == 0 { self.total } else { self.matching };
        eligible.saturating_sub(self.candidates.len())
    }
}

/// An entry of a list, as an error shows it.
pub(crate) trait Entry {
    fn id(&self) -> Id;
    fn candidate_title(&self) -> String;
}

/// An entry that has a name.
pub(crate) trait NamedEntry: Entry {
    fn name(&self) -> &Label;
}

impl Entry for Identity {
    fn id(&self) -> Id {
        self.id
    }

    fn candidate_title(&self) -> String {
        if self.kind.is_empty() { self.title() } else { format!("{}, {}", self.title(), self.kind) }
    }
}

impl Entry for Export {
    fn id(&self) -> Id {
        self.id
    }

    fn candidate_title(&self) -> String {
        self.name.to_string()
    }
}

impl NamedEntry for Export {
    fn name(&self) -> &Label {
        &self.name
    }
}

impl Entry for Template {
    fn id(&self) -> Id {
        self.id
    }

    fn candidate_title(&self) -> String {
        self.name.to_string()
    }
}

impl NamedEntry for Template {
    fn name(&self) -> &Label {
        &self.name
    }
}

impl Entry for ListedRun {
    fn id(&self) -> Id {
        self.id
    }

    fn candidate_title(&self) -> String {
        match self.source_id {
            Some(source) => format!("of {} {source}, {}", self.kind.source_noun(), self.status),
            None => self.status.to_string(),
        }
    }
}

/// Returns the identity that the words of the input `identity` select.
///
/// # Errors
///
/// [`ResolveError`] if no identity matches, or several that differ in more than their cycle.
pub(crate) fn identity<'a>(all: &'a [Identity], words: &str) -> Result<&'a Identity, ResolveError> {
    let query = Query::parse(words);
    let mut matching: Vec<&Identity> = all.iter().filter(|identity| query.matches(&texts(identity))).collect();

    let Some(newest) = matching.iter().copied().max_by_key(|identity| years(&identity.cycle.normalized)) else {
        let mut ranked: Vec<&Identity> = all.iter().collect();
        ranked.sort_by_cached_key(|identity| {
            let similarity = similarity(words, &identity.title());
            Reverse((query.matching_terms(&texts(identity)), similarity, years(&identity.cycle.normalized)))
        });
        let unmatched_words = query.unmatched_words(&all.iter().map(texts).collect::<Vec<_>>());
        return Err(ResolveError { unmatched_words, ..ResolveError::new(words, all, 0, &ranked) });
    };
    if matching.iter().all(|other| other.id == newest.id || supersedes(newest, other)) {
        return Ok(newest);
    }

    matching.sort_by_cached_key(|identity| {
        Reverse((query.terms_matching_whole_words(&texts(identity)), years(&identity.cycle.normalized)))
    });
    Err(ResolveError::new(words, all, matching.len(), &matching))
}

/// Returns the texts of an identity that the words of the input `identity` are compared with.
fn texts(identity: &Identity) -> [&str; 5] {
    let Identity { association, organization, institution, cycle, kind, .. } = identity;
    [association, organization, institution, cycle, kind].map(|label| label.normalized.as_str())
}

/// Returns whether an identity is selected in preference to another one that matches as well.
fn supersedes(identity: &Identity, other: &Identity) -> bool {
    differ_only_in_cycle(identity, other) && is_newer(&identity.cycle.normalized, &other.cycle.normalized)
}

/// Returns whether an identity is the newest of several that differ only in their cycle.
pub(crate) fn is_newest_cycle(all: &[Identity], identity: &Identity) -> bool {
    all.iter().any(|other| supersedes(identity, other)) && !all.iter().any(|other| supersedes(other, identity))
}

/// Returns whether two identities have the same texts, except for their cycle.
fn differ_only_in_cycle(one: &Identity, other: &Identity) -> bool {
    one.kind.normalized == other.kind.normalized
        && one.association.normalized == other.association.normalized
        && one.organization.normalized == other.organization.normalized
        && one.institution.normalized == other.institution.normalized
}

/// Returns whether a cycle is certainly newer than another one: both have the same number of years of four digits.
fn is_newer(one: &str, other: &str) -> bool {
    let has_full_years = |cycle: &str| numbers(cycle).all(|digits| digits.len() == 4);
    let (years_of_one, years_of_other) = (years(one), years(other));

    has_full_years(one)
        && has_full_years(other)
        && years_of_one.len() == years_of_other.len()
        && years_of_one > years_of_other
}

/// Returns the years of a cycle such as `2026 - 2027`. Later years are a newer cycle.
fn years(cycle: &str) -> Vec<u64> {
    numbers(cycle).filter_map(|digits| digits.parse().ok()).collect()
}

fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty())
}

/// Sorts identities by their cycle, the newest first.
pub(crate) fn sort_newest_first(identities: &mut [Identity]) {
    identities.sort_by_cached_key(|identity| Reverse(years(&identity.cycle.normalized)));
}

/// Returns the export or the PDF template with this name. Letter case does not matter.
///
/// # Errors
///
/// [`ResolveError`] if no entry has this name, or several have it. If none has, entries whose names contain all words of it
/// are the first candidates, followed by those with similar names.
pub(crate) fn by_name<'a, T: NamedEntry>(all: &'a [T], name: &str) -> Result<&'a T, ResolveError> {
    let normalized = normalize(name);
    let matching: Vec<&T> = all.iter().filter(|entry| entry.name().normalized == normalized).collect();
    if let [only] = matching.as_slice() {
        return Ok(only);
    }
    if !matching.is_empty() {
        return Err(ResolveError::new(name, all, matching.len(), &matching));
    }

    let query = Query::parse(&normalized.replace('"', " "));
    let mut ranked: Vec<&T> = all.iter().collect();
    ranked.sort_by_cached_key(|entry| {
        let name = [entry.name().normalized.as_str()];
        let has_all_words = query.terms_matching_whole_words(&name) == query.len();
        Reverse((has_all_words, query.matches(&name), similarity(&normalized, name[0])))
    });
    Err(ResolveError::new(name, all, 0, &ranked))
}

/// Returns the identity, the export or the PDF template with this id.
///
/// # Errors
///
/// [`ResolveError`] if the list does not have it. Entries with similar ids are the first candidates.
pub(crate) fn by_id<T: Entry>(all: &[T], id: Id) -> Result<&T, ResolveError> {
    all.iter().find(|entry| entry.id() == id).ok_or_else(|| {
        let id = id.to_string();
        let mut ranked: Vec<&T> = all.iter().collect();
        ranked.sort_by_cached_key(|entry| Reverse(similarity(&id, &entry.id().to_string())));
        ResolveError::new(&id, all, 0, &ranked)
    })
}

/// Returns the latest run of an export or a PDF template: the one with the highest id.
///
/// # Errors
///
/// [`ResolveError`] if the list has no run of it.
pub(crate) fn latest(all: &[ListedRun], source: Id) -> Result<&ListedRun, ResolveError> {
    all.iter().filter(|run| run.source_id == Some(source)).max_by_key(|run| run.id).ok_or_else(|| {
        let mut ranked: Vec<&ListedRun> = all.iter().collect();
        ranked.sort_by_key(|run| Reverse(run.id));
        ResolveError::new("latest", all, 0, &ranked)
    })
}

/// Returns how similar two texts are, from 0 to 1000, by the pairs of letters that they share. Neither a typing error nor
/// the order of the words matters much. Takes linear time.
fn similarity(one: &str, other: &str) -> u32 {
    (strsim::sorensen_dice(&normalize(one), &normalize(other)) * 1000.0) as u32
}

#[cfg(test)]
mod tests;

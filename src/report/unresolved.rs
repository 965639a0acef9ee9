//! The part of a message about names that were not found, or are ambiguous, with the candidates for them.

use super::message::{MessageBuilder, count_sources, source};
use crate::config::{IdentitySelector, RunRequest};
use crate::error::{LookupTarget, Unresolved};
use crate::text::sanitize;
use crate::webadmit::RunKind;
use crate::webadmit::resolve::{Candidate, MAX_CANDIDATES};

/// Maximum length of a candidate's line, in characters. GitHub shows 4,096 of a message, and twenty lines must fit.
const MAX_LINE_LENGTH: usize = 150;

/// Maximum length of a line about one of several names, in characters.
const MAX_NAME_LINE_LENGTH: usize = 120;

/// Maximum length of the line with the names that have no line of their own, in characters.
const MAX_OTHERS_LENGTH: usize = 1000;

/// Maximum number of words of `identity` that are shown because no identity contains them.
const MAX_UNMATCHED_WORDS: usize = 5;

/// Maximum length of each of these words, in characters.
const MAX_WORD_LENGTH: usize = 40;

impl<'a> MessageBuilder<'a> {
    /// Returns which names cannot be resolved, and why if it is a single one.
    pub(super) fn unresolved_names(&self, names: &[Unresolved]) -> String {
        match names {
            [name] => self.unresolved(name, &self.owner(name.target)),
            names => {
                let runs = names.iter().filter_map(|name| self.requested_run(name));
                let kinds: Vec<RunKind> = runs.map(|run| run.kind).collect();
                format!("{}{} not found or ambiguous", count_sources(&kinds), self.owner(names[0].target))
            }
        }
    }

    /// Returns the run whose export or template was looked up.
    fn requested_run(&self, name: &Unresolved) -> Option<&'a RunRequest> {
        match name.target {
            LookupTarget::Source(run) | LookupTarget::LatestRun(run) => self.context.request?.runs.get(run),
            LookupTarget::Identity => None,
        }
    }

    /// Returns the owner of the list in which a name was looked up, such as ` of identity 305`. Begins with a space.
    fn owner(&self, target: LookupTarget) -> String {
        match (target, &self.history.identity) {
            (LookupTarget::Identity, _) => " of this key".to_owned(),
            (_, Some(identity)) => format!(" of identity {identity}"),
            (_, None) => " that this key can see".to_owned(),
        }
    }

    /// Returns ``identity `SOPHAS` not found: none of the 12 identities of this key contains all of these words``. `owner` says whose
    /// identities; it can be empty.
    fn unresolved(&self, name: &Unresolved, owner: &str) -> String {
        let Some(request) = self.context.request else { return String::new() };
        let (matching, total) = (name.error.matching, name.error.total);
        match name.target {
            LookupTarget::Identity => {
                let words = request.identity.as_ref().map(ToString::to_string).unwrap_or_default();
                let is_id = matches!(request.identity, Some(IdentitySelector::Id(_)));
                let explanation = match (matching, total) {
                    (_, 0) => "not found: this key has no identities".to_owned(),
                    (_, 1) if is_id => format!("not found: the only identity{owner} has another id"),
                    _ if is_id => format!("not found among the {total} identities{owner}"),
                    (0, 1) => format!("not found: the only identity{owner} does not contain all of these words"),
                    (0, _) => format!("not found: none of the {total} identities{owner} contains all of these words"),
                    _ => format!(
                        "is ambiguous: {} identities{owner} contain all of these words and differ in more than their cycle",
                        matching_of(matching, total)
                    ),
                };
                format!("{words} {explanation}{}", unmatched_words(name))
            }
            LookupTarget::Source(run) => {
                let Some(run) = request.runs.get(run) else { return String::new() };
                let noun = run.kind.source_noun();
                let explanation = match (matching, total) {
                    (_, 0) => format!("not found: there are no {noun}s{owner}"),
                    (0, 1) => {
                        let what = if run.name().is_some() { "name" } else { "id" };
                        format!("not found: the only {noun}{owner} has another {what}")
                    }
                    (0, _) => format!("not found among the {total} {noun}s{owner}"),
                    _ => format!("is ambiguous: {} {noun}s{owner} have this name", matching_of(matching, total)),
                };
                format!("{run} {explanation}")
            }
            LookupTarget::LatestRun(run) => {
                let (Some(request), Some(history)) = (request.runs.get(run), self.history.runs.get(run)) else {
                    return String::new();
                };
                let kind = request.kind;
                let (noun, plural, source_noun) = (kind.run_noun(), kind.run_plural(), kind.source_noun());
                let explanation = match total {
                    0 => format!("not found: there are no recent {plural}{owner}"),
                    1 => format!("not found: the only recent {noun}{owner} is of another {source_noun}"),
                    _ => format!("not found among the {total} recent {plural}{owner}"),
                };
                format!("latest {noun} of {} {explanation}", source(request, history))
            }
        }
    }

    /// Returns the candidates for the names, one per line. Every line begins with an id. Several names share the lines with their
    /// candidates; if there are too many names, they have none.
    pub(super) fn list_candidates(&self, names: &[Unresolved]) -> String {
        if let [only] = names {
            let lines = candidate_lines(only, MAX_CANDIDATES);
            return match only.error.omitted() {
                0 => lines,
                omitted => format!("{lines}\n  … and {omitted} more"),
            };
        }

        let max = (MAX_CANDIDATES / names.len().max(1)).saturating_sub(1);
        let list = |name: &Unresolved| {
            let line = sanitize::truncate(&self.unresolved(name, ""), MAX_NAME_LINE_LENGTH);
            format!("\n{line}{}", candidate_lines(name, max).replacen('\n', "; ", 1))
        };
        let (listed, others) = names.split_at(names.len().min(MAX_CANDIDATES));
        let lines: String = listed.iter().map(list).collect();
        if others.is_empty() {
            return lines;
        }

        let others: Vec<String> =
            others.iter().filter_map(|name| self.requested_run(name)).map(RunRequest::to_string).collect();
        let others_line = format!("… and {} more: {}", others.len(), others.join(", "));
        format!("{lines}\n{}", sanitize::truncate(&others_line, MAX_OTHERS_LENGTH))
    }
}

/// Returns at most `max` candidates, one per line. Every line begins with an id.
fn candidate_lines(name: &Unresolved, max: usize) -> String {
    let candidates = &name.error.candidates[..name.error.candidates.len().min(max)];
    let heading = match (name.error.matching, name.target) {
        _ if candidates.is_empty() => return String::new(),
        (0, LookupTarget::LatestRun(_)) => "recent runs, newest first:",
        (0, _) => "closest matches first:",
        _ => "matches:",
    };
    let line = |candidate: &Candidate| {
        format!("\n  {}", sanitize::truncate(&format!("{}  {}", candidate.id, candidate.title), MAX_LINE_LENGTH))
    };
    format!("\n{heading}{}", candidates.iter().map(line).collect::<String>())
}

/// Returns `2 of the 3`, or `all 3`.
fn matching_of(matching: usize, total: usize) -> String {
    if matching == total { format!("all {total}") } else { format!("{matching} of the {total}") }
}

/// Returns ``; no identity contains `2031` ``, or nothing if each word occurs.
fn unmatched_words(name: &Unresolved) -> String {
    let words = name.error.unmatched_words.iter().take(MAX_UNMATCHED_WORDS);
    let words: Vec<String> = words.map(|word| format!("`{}`", sanitize::truncate(word, MAX_WORD_LENGTH))).collect();
    if words.is_empty() { String::new() } else { format!("; no identity contains {}", words.join(" or ")) }
}

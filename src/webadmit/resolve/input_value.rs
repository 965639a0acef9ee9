//! The value of the input `identity` that selects a given identity.

use super::query::Query;
use super::{supersedes, texts};
use crate::webadmit::lists::{Identity, Label};

/// Maximum of the number of identities times the length of all their texts. Bounds the time, which grows with that product. It is
/// enough for about a thousand identities.
const MAX_WORK: usize = 100_000_000;

/// Maximum length of a value in characters. The input accepts 1,000 bytes.
const MAX_VALUE_LENGTH: usize = 200;

/// Which of organization, institution and type (by index) a value has besides the association; the fewest first.
const DETAILS: [&[usize]; 8] = [&[], &[0], &[1], &[2], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 2]];

/// Returns for each identity a value of the input `identity` that selects it, or `None` if only its id does.
pub(crate) fn input_values(all: &[Identity]) -> Vec<Option<String>> {
    let size: usize = all.iter().flat_map(texts).map(str::len).sum();
    if all.len() * size > MAX_WORK {
        return vec![None; all.len()];
    }

    let value_of = |identity| possible_values(identity).into_iter().find(|value| selects(value, identity, all));
    all.iter().map(value_of).collect()
}

fn selects(value: &str, identity: &Identity, all: &[Identity]) -> bool {
    let query = Query::parse(value);
    let matches = |other| query.matches(&texts(other));

    matches(identity)
        && all.iter().all(|other| other.id == identity.id || !matches(other) || supersedes(identity, other))
}

/// Returns values that may select an identity, the best first: its association in double quotes, with as few of its other
/// texts as possible. The cycle is left out if possible, so that the value selects the next cycle once there is one.
fn possible_values(identity: &Identity) -> Vec<String> {
    let Identity { association, organization, institution, kind, cycle, .. } = identity;
    let details = [organization, institution, kind];
    let mut values = Vec::new();

    for cycle in [None, Some(cycle)] {
        for set in DETAILS {
            let association = Some(association).filter(|association| can_be_quoted(association));
            let labels = association.into_iter().chain(set.iter().map(|&index| details[index])).chain(cycle);
            values.extend(quote(labels));
        }
    }
    values.retain(|value| value.contains(char::is_alphanumeric) && value.chars().count() <= MAX_VALUE_LENGTH);
    values
}

/// Returns the labels in double quotes, if all of them can be quoted.
fn quote<'a>(labels: impl Iterator<Item = &'a Label>) -> Option<String> {
    let quoted = labels.map(|label| can_be_quoted(label).then(|| format!("\"{label}\"")));
    Some(quoted.collect::<Option<Vec<_>>>()?.join(" "))
}

fn can_be_quoted(label: &Label) -> bool {
    !label.is_empty() && !label.normalized.contains('"')
}

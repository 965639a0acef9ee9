//! Collects the input variables from the environment. Nothing is parsed here.

use std::ffi::OsString;

use super::input_error::InputErrors;
use super::spec::{INPUTS, RawInputs};
use crate::text::sanitize;

/// An unknown `INPUT_…` variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownInput {
    pub(crate) variable: String,
    /// The input with a similar name, most likely a misspelled one.
    pub(crate) similar: Option<&'static str>,
}

impl UnknownInput {
    fn new(variable: &str, name: &str) -> Self {
        /// Similarity of two names that differ by two typing errors.
        const MIN_SIMILARITY: f64 = 0.7;

        let similarities = INPUTS.iter().map(|input| (strsim::normalized_levenshtein(name, input.name), input.name));
        let best = similarities.max_by(|(one, _), (other, _)| one.total_cmp(other));
        let similar = best.filter(|(similarity, _)| *similarity >= MIN_SIMILARITY).map(|(_, input)| input);

        Self { variable: sanitize::excerpt(variable), similar }
    }
}

/// Inputs that GitHub's runner sets itself if an image is used without an action.yml.
const RUNNER_INPUTS: [&str; 2] = ["args", "entrypoint"];

/// Returns the values of all inputs, or their defaults, and the unknown variables in alphabetical order.
pub(super) fn collect(variables: &[(OsString, OsString)], errors: &mut InputErrors) -> (RawInputs, Vec<UnknownInput>) {
    let mut values: Vec<(String, String)> = Vec::new();
    let mut unknown = Vec::new();

    for (variable, value) in variables {
        let Some(name) = variable.to_str().and_then(input_name) else { continue };
        let Some(spec) = INPUTS.iter().find(|spec| spec.name == name) else {
            if !RUNNER_INPUTS.contains(&name.as_str()) {
                unknown.push(UnknownInput::new(&variable.to_string_lossy(), &name));
            }
            continue;
        };
        let Some(value) = value.to_str() else {
            if !errors.has(spec.name) {
                errors.add(spec.name, "is not valid UTF-8");
            }
            continue;
        };

        let (field, value) = (name.replace('-', "_"), value.trim());
        match values.iter().find(|(known, _)| *known == field) {
            _ if value.is_empty() => {}
            Some((_, first)) if first == value => {}
            Some(_) if errors.has(spec.name) => {}
            Some(_) => errors.add(
                spec.name,
                "given twice with different values; variables that differ only in letter case, hyphens and underscores are the same input",
            ),
            None => values.push((field, value.to_owned())),
        }
    }

    for spec in INPUTS {
        let field = spec.name.replace('-', "_");
        if let Some(default) = spec.default
            && !values.iter().any(|(known, _)| *known == field)
        {
            values.push((field, default.to_owned()));
        }
    }

    unknown.sort_by(|one: &UnknownInput, other| one.variable.cmp(&other.variable));
    // Every field is an optional string and occurs at most once, so envy cannot fail.
    (envy::from_iter(values).unwrap_or_default(), unknown)
}

/// Returns `export-id` for `INPUT_EXPORT-ID`, `INPUT_EXPORT_ID` and the like.
///
/// GitHub passes `export-id` as `INPUT_EXPORT-ID`; a shell can only set `INPUT_EXPORT_ID`.
pub(super) fn input_name(variable: &str) -> Option<String> {
    let name = variable.to_lowercase().replace(['_', ' '], "-");
    name.strip_prefix("input-").map(str::to_owned)
}

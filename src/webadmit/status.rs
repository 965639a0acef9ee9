//! The status of a run.

use std::fmt;

use crate::text::sanitize;

/// The status of a run.
///
/// The API sends Title Case with spaces for runs of exports (snake_case until 2018), and snake_case for batches. Parsing ignores
/// case, spaces, underscores and hyphens; names are always written in snake_case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The run was accepted.
    Initializing,
    /// The run waits for others to finish.
    Queued,
    /// The run is being executed.
    InProgress,
    /// The file can be downloaded.
    Available,
    /// The file can be downloaded, but WebAdMIT had errors while creating it.
    SuccessWithErrors,
    /// The export contains no applicants; there is no file.
    EmptyList,
    /// The run failed; there is no file.
    Failed,
    /// A status that this version does not know, in snake_case: ASCII letters, digits and underscores, never empty.
    Unknown(String),
}

/// The statuses that `fail-on` accepts, in the order in which messages list them.
pub(crate) const FAILING: [Status; 3] = [Status::Failed, Status::EmptyList, Status::SuccessWithErrors];

/// Maximum length of the name of an unknown status, in characters.
const MAX_UNKNOWN_STATUS_LENGTH: usize = 60;

impl Status {
    /// Parses a status in any of its spellings.
    pub(crate) fn parse(text: &str) -> Self {
        let letters: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-'))
            .flat_map(char::to_lowercase)
            .collect();
        match letters.as_str() {
            "initializing" => Self::Initializing,
            "queued" => Self::Queued,
            "inprogress" => Self::InProgress,
            "available" => Self::Available,
            "successwitherrors" => Self::SuccessWithErrors,
            "emptylist" => Self::EmptyList,
            "failed" => Self::Failed,
            // An excerpt has no query of a URL.
            _ => Self::Unknown(snake_case(&sanitize::excerpt(text))),
        }
    }

    /// Returns its name in snake_case.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Initializing => "initializing",
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Available => "available",
            Self::SuccessWithErrors => "success_with_errors",
            Self::EmptyList => "empty_list",
            Self::Failed => "failed",
            Self::Unknown(name) => name,
        }
    }

    /// Returns whether the status is final. An unknown status is not.
    pub(crate) fn is_terminal(&self) -> bool {
        self.has_file() || matches!(self, Self::EmptyList | Self::Failed)
    }

    /// Returns whether the run is known to be in progress. With an unknown status, it may have ended.
    pub(crate) fn is_in_progress(&self) -> bool {
        matches!(self, Self::Initializing | Self::Queued | Self::InProgress)
    }

    /// Returns whether there is a file to download.
    pub(crate) fn has_file(&self) -> bool {
        matches!(self, Self::Available | Self::SuccessWithErrors)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn snake_case(text: &str) -> String {
    let name = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("_")
        .to_ascii_lowercase();
    // Only ASCII is left, so any byte index is valid.
    let name = &name[..name.len().min(MAX_UNKNOWN_STATUS_LENGTH)];
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_of_a_status_is_parsed() {
        for (spellings, status, terminal, file) in [
            (["Initializing", "initializing", "INITIALIZING"], Status::Initializing, false, false),
            (["Queued", "queued", " Queued "], Status::Queued, false, false),
            (["In Progress", "in_progress", "In-Progress"], Status::InProgress, false, false),
            (["Available", "available", "AVAILABLE"], Status::Available, true, true),
            (
                ["Success With Errors", "success_with_errors", "successWithErrors"],
                Status::SuccessWithErrors,
                true,
                true,
            ),
            (["Empty List", "empty_list", "EMPTY-LIST"], Status::EmptyList, true, false),
            (["Failed", "failed", "FAILED"], Status::Failed, true, false),
        ] {
            for spelling in spellings {
                assert_eq!(Status::parse(spelling), status, "{spelling:?}");
            }
            assert_eq!((status.is_terminal(), status.has_file()), (terminal, file), "{status}");
            assert_eq!(status.is_in_progress(), !terminal, "{status}");
            assert_eq!(Status::parse(status.name()), status);
        }
    }

    #[test]
    fn an_unknown_status_is_not_terminal_and_has_no_file() {
        for (text, name) in [
            ("Almost Available", "almost_available"),
            ("available!", "available"),
            ("Available\n::error::x", "available_error_x"),
            ("", "unknown"),
            ("…", "unknown"),
        ] {
            let status = Status::parse(text);
            assert_eq!(status, Status::Unknown(name.to_owned()), "{text:?}");
            assert!(!status.is_terminal() && !status.has_file() && !status.is_in_progress());
        }
    }

    proptest! {
        #[test]
        fn a_name_is_always_in_snake_case(text in ".*") {
            let status = Status::parse(&text);
            let name = status.name();
            prop_assert!(!name.is_empty() && name.len() <= MAX_UNKNOWN_STATUS_LENGTH);
            prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        }
    }
}

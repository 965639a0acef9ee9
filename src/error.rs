//! The errors that end a step, and the exit codes. [`crate::report::message`] renders the messages.

use std::fmt;
use std::time::Duration;

use crate::config::InputError;
use crate::http::error::RequestError;
use crate::http::retry::{Attempts, GiveUpReason, RetryFailure};
use crate::signals::Signal;
use crate::text::format;
use crate::webadmit::resolve::ResolveError;
use crate::webadmit::status::Status;
use crate::webadmit::{CreationTime, Id, RunKind};

/// An error that ends a step.
#[derive(Debug)]
pub enum StepError {
    /// Invalid inputs.
    Inputs(Vec<InputError>),
    /// An unexpected argument.
    Argument(String),
    /// A failed request.
    Request {
        /// The last error and its attempts.
        failure: Box<RetryFailure>,
        /// Why it is not retried.
        reason: GiveUpReason,
    },
    /// The timeout was reached.
    TimedOut,
    /// Names that were not found, or are ambiguous; at least one.
    Unresolved(Vec<Unresolved>),
    /// The list lacks the exports or the PDF templates of some identities.
    IncompleteList {
        /// The kinds that are incomplete, each with these identities (at least one) in the order of the list.
        missing: Vec<(RunKind, Vec<Id>)>,
        /// The first error.
        cause: Box<StepError>,
    },
    /// Some files of the run are missing.
    MissingFiles {
        /// The numbers of these files, from 1; at least one.
        missing: Vec<usize>,
        /// Number of all files.
        total: usize,
        /// The most severe error; of several, the first.
        cause: Box<StepError>,
    },
    /// A run that comes earlier in the inputs has a file of the same path.
    PathConflict {
        /// The path.
        path: String,
        /// Index of the other run.
        other: usize,
    },
    /// The run ended in a status that fails the step.
    Status(Status),
    /// The file of a latest run is older than allowed.
    TooOld {
        /// When it was created.
        created: CreationTime,
        /// The maximum age.
        max_age: Duration,
    },
    /// `max-age` is set, but the server does not say when the file was created.
    UnknownAge,
    /// An error of this machine, such as a full disk.
    Local(anyhow::Error),
    /// The outputs cannot be written. Other errors may have come before.
    UnwrittenOutputs(anyhow::Error),
    /// A signal.
    Interrupted(Signal),
}

/// A name that was not found, or is ambiguous.
#[derive(Debug)]
pub struct Unresolved {
    /// What was looked up.
    pub target: LookupTarget,
    /// Why it cannot be resolved.
    pub error: ResolveError,
}

/// A part of the request that is looked up in a list of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupTarget {
    /// The input `identity`.
    Identity,
    /// The export or template of the run with this index.
    Source(usize),
    /// `latest`: the newest run of the export or template of the run with this index.
    LatestRun(usize),
}

impl From<anyhow::Error> for StepError {
    fn from(error: anyhow::Error) -> Self {
        Self::Local(error)
    }
}

impl fmt::Display for StepError {
    /// Writes what failed, without the context that [`crate::report::message`] adds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inputs(errors) => f.write_str(&format::count(errors.len(), "invalid input")),
            Self::Argument(argument) => write!(f, "unexpected argument {argument}"),
            Self::Request { failure, .. } => failure.error.fmt(f),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unresolved(names) => match names.as_slice() {
                [Unresolved { target: LookupTarget::LatestRun(_), .. }] => f.write_str("no recent run was found"),
                names => write!(f, "{} cannot be resolved", format::count(names.len(), "name")),
            },
            Self::IncompleteList { .. } => f.write_str("the list is incomplete"),
            Self::MissingFiles { missing, total, .. } => write!(f, "{} of {total} files missing", missing.len()),
            Self::PathConflict { path, .. } => write!(f, "another run has a file with the path {path}"),
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::TooOld { created, .. } => {
                write!(f, "the file is too old: it was created {} ago ({created})", format::age(created.age()))
            }
            Self::UnknownAge => f.write_str("the server does not say when the file was created"),
            Self::Local(error) | Self::UnwrittenOutputs(error) => write!(f, "{error:#}"),
            Self::Interrupted(signal) => write!(f, "interrupted by {}", signal.name()),
        }
    }
}

impl std::error::Error for StepError {}

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Every run ended in a status that is not in `fail-on`.
    Success = 0,
    /// Any other error.
    Other = 1,
    /// Invalid inputs.
    Inputs = 2,
    /// A status in `fail-on`.
    Status = 3,
    /// The timeout.
    TimedOut = 4,
    /// The API refused the request, or a name cannot be resolved.
    RefusedOrUnresolved = 5,
    /// The latest file is too old.
    TooOld = 6,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

impl From<ExitCode> for u8 {
    fn from(code: ExitCode) -> Self {
        code as Self
    }
}

impl ExitCode {
    /// Returns the code of a step with several failures.
    #[must_use]
    pub(crate) fn most_severe(codes: impl IntoIterator<Item = Self>) -> Self {
        codes.into_iter().max_by_key(|code| code.severity()).unwrap_or(Self::Success)
    }

    fn severity(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Status => 1,
            Self::TooOld => 2,
            Self::TimedOut => 3,
            Self::RefusedOrUnresolved => 4,
            Self::Other => 5,
            Self::Inputs => 6,
            Self::Interrupted | Self::Terminated => 7,
        }
    }

    /// All exit codes, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::Other,
        Self::Inputs,
        Self::Status,
        Self::TimedOut,
        Self::RefusedOrUnresolved,
        Self::TooOld,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// Returns the meaning, as `--help` and the README show it.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Success => {
                "Every run ended in a status that is not in `fail-on`; its files, if it has any, are in place."
            }
            Self::Other => "Any other error: network, store, disk.",
            Self::Inputs => "Invalid inputs.",
            Self::Status => "A run ended in a status in `fail-on`; files that exist are downloaded first.",
            Self::TimedOut => "Timed out; the message includes the last status.",
            Self::RefusedOrUnresolved => {
                "The API refused the request (401, 403, 404), or a name was not found or is ambiguous."
            }
            Self::TooOld => "The latest file is older than `max-age`, and was not downloaded.",
            Self::Interrupted => "Interrupted by SIGINT.",
            Self::Terminated => "Interrupted by SIGTERM.",
        }
    }
}

impl StepError {
    /// The error of a request that failed in a single attempt, and is not retried.
    #[must_use]
    pub(crate) fn after_one_attempt(error: RequestError, reason: GiveUpReason) -> Self {
        let mut attempts = Attempts::new(Duration::ZERO);
        attempts.record(false);
        let failure = Box::new(RetryFailure { error, attempts, elapsed: Duration::ZERO });
        Self::Request { failure, reason }
    }

    /// Returns the more severe one of two errors; if they are equally severe, the earlier one.
    #[must_use]
    pub(crate) fn more_severe(earlier: Option<Self>, error: Self) -> Self {
        match earlier {
            Some(earlier) if earlier.exit_code().severity() >= error.exit_code().severity() => earlier,
            _ => error,
        }
    }

    /// Whether the time is up, or will be before the API can be used again.
    #[must_use]
    pub(crate) fn is_timeout(&self) -> bool {
        self.exit_code() == ExitCode::TimedOut
    }

    /// Returns the exit code of the step.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Inputs(_) | Self::Argument(_) => ExitCode::Inputs,
            Self::Status(_) => ExitCode::Status,
            Self::TooOld { .. } => ExitCode::TooOld,
            Self::TimedOut | Self::Request { reason: GiveUpReason::RetryAfterTooLong(_), .. } => ExitCode::TimedOut,
            Self::Request { reason: GiveUpReason::Refused, .. } | Self::Unresolved(_) => ExitCode::RefusedOrUnresolved,
            Self::Request { .. }
            | Self::Local(_)
            | Self::UnwrittenOutputs(_)
            | Self::PathConflict { .. }
            | Self::UnknownAge => ExitCode::Other,
            Self::IncompleteList { cause, .. } | Self::MissingFiles { cause, .. } => cause.exit_code(),
            Self::Interrupted(Signal::Interrupt) => ExitCode::Interrupted,
            Self::Interrupted(Signal::Terminate) => ExitCode::Terminated,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use anyhow::anyhow;

    use super::*;
    use crate::http::error::{Endpoint, ErrorKind, RequestError};
    use crate::http::retry::Attempts;

    fn request(reason: GiveUpReason) -> StepError {
        let error = RequestError::new(Endpoint::Api, ErrorKind::Connect, "", "");
        let failure = RetryFailure { error, attempts: Attempts::new(Duration::ZERO), elapsed: Duration::ZERO };
        StepError::Request { failure: Box::new(failure), reason }
    }

    #[test]
    fn every_exit_code_is_used() {
        let incomplete = StepError::IncompleteList { missing: Vec::new(), cause: Box::new(StepError::TimedOut) };
        let created = CreationTime::new(UNIX_EPOCH, UNIX_EPOCH);
        let errors = [
            (request(GiveUpReason::NotRetryable), ExitCode::Other),
            (StepError::Local(anyhow!("disk full")), ExitCode::Other),
            (StepError::Inputs(Vec::new()), ExitCode::Inputs),
            (StepError::Argument(String::new()), ExitCode::Inputs),
            (StepError::Status(Status::Failed), ExitCode::Status),
            (StepError::UnknownAge, ExitCode::Other),
            (StepError::TooOld { created, max_age: Duration::ZERO }, ExitCode::TooOld),
            (StepError::TimedOut, ExitCode::TimedOut),
            (request(GiveUpReason::RetryAfterTooLong(Duration::MAX)), ExitCode::TimedOut),
            (incomplete, ExitCode::TimedOut),
            (request(GiveUpReason::Refused), ExitCode::RefusedOrUnresolved),
            (StepError::Interrupted(Signal::Interrupt), ExitCode::Interrupted),
            (StepError::Interrupted(Signal::Terminate), ExitCode::Terminated),
        ];
        for (error, code) in &errors {
            assert_eq!(error.exit_code(), *code, "{error}");
        }
        let is_used = |code| code == ExitCode::Success || errors.iter().any(|(_, used)| *used == code);
        assert!(ExitCode::ALL.into_iter().all(is_used));
    }
}

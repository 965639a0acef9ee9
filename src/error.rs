//! How a step can fail: its exit codes, and what a person is told.

use crate::config::{Id, InputError};
use crate::http::retry::{GiveUpReason, RetryFailure};
use crate::webadmit::resolve::ResolveError;
use crate::webadmit::status::Status;

/// Why a step failed.
#[derive(Debug)]
pub enum StepError {
    /// Inputs that cannot be used.
    Inputs(Vec<InputError>),
    /// An argument that means nothing here.
    Argument(String),
    /// A request that ended in an error.
    Request {
        /// The error, and how often it came.
        failure: RetryFailure,
        /// Why there is no other attempt.
        reason: GiveUpReason,
    },
    /// The timeout was reached.
    TimedOut,
    /// A name that means nothing, or more than one thing.
    Unresolved {
        /// What was looked for.
        target: LookupTarget,
        /// What there is.
        resolve_error: ResolveError,
    },
    /// A list that lacks the exports of some identities.
    Incomplete {
        /// These identities, in the order of the list. There is one at least.
        missing: Vec<Id>,
        /// What went wrong first.
        cause: Box<StepError>,
    },
    /// The run ended in a status that fails the step.
    Status(Status),
    /// Something on this machine: the disk, most likely.
    Local(anyhow::Error),
    /// A signal ended the step.
    Interrupted(Interruption),
}

/// What a name is looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupTarget {
    /// The input `identity`.
    IdentityWords,
    /// The input `export-name`.
    ExportName,
    /// `latest` in the input `export-file-id`.
    LatestRun,
}

/// The signals that end a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl From<anyhow::Error> for StepError {
    fn from(error: anyhow::Error) -> Self {
        Self::Local(error)
    }
}

impl StepError {
    /// The exit code. 2: bad inputs. 3: a status in `fail-on`. 4: timed out. 5: the API refused, or a name was not found
    /// or found more than once. 130, 143: a signal.
    /// 1: everything else.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Inputs(_) | Self::Argument(_) => 2,
            Self::Status(_) => 3,
            Self::TimedOut | Self::Request { reason: GiveUpReason::RetryAfterTooLong(_), .. } => 4,
            Self::Request { reason: GiveUpReason::Refused, .. } | Self::Unresolved { .. } => 5,
            Self::Request { .. } | Self::Local(_) => 1,
            Self::Incomplete { cause, .. } => cause.code(),
            Self::Interrupted(Interruption::Interrupt) => 130,
            Self::Interrupted(Interruption::Terminate) => 143,
        }
    }
}

impl Interruption {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

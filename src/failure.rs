//! How a step can fail: its exit codes, and what a person is told.

mod hints;

use crate::choose::Unclear;
use crate::clean;
use crate::fault::Side;
use crate::figures::{self, span};
use crate::inputs::{Id, Problem, Run, Service, Wanted};
use crate::journal::{Journal, Trouble};
use crate::retry::{FIRST_ANSWER, Reason};
use crate::status::Status;

/// Why a step failed.
#[derive(Debug)]
pub enum Failure {
    /// Inputs that cannot be used.
    Inputs(Vec<Problem>),
    /// An argument that means nothing here.
    Argument(String),
    /// A request that ended in a fault.
    Fault {
        /// The fault, and how often it came.
        trouble: Trouble,
        /// Why there is no other attempt.
        reason: Reason,
    },
    /// The timeout was reached.
    TimedOut,
    /// A name that means nothing, or more than one thing.
    Unclear {
        /// What was looked for.
        sought: Sought,
        /// What there is.
        unclear: Unclear,
    },
    /// A list that lacks the exports of some identities.
    Incomplete {
        /// These identities, in the order of the list. There is one at least.
        missing: Vec<Id>,
        /// What went wrong first.
        cause: Box<Failure>,
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
pub enum Sought {
    /// The input `identity`.
    Identity,
    /// The input `export-name`.
    Export,
    /// `latest` in the input `export-file-id`.
    Latest,
}

/// What a step was asked for, as far as it could be read.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// How WebAdMIT is asked.
    pub service: &'a Service,
    /// What is to be brought home; nothing where only a list is wanted.
    pub wanted: Option<&'a Wanted>,
}

/// The signals that end a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Local(error)
    }
}

impl Failure {
    /// The exit code. 2: bad inputs. 3: a status in `fail-on`. 4: timed out. 5: the API refused, or a name was not found
    /// or found more than once. 130, 143: a signal.
    /// 1: everything else.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Inputs(_) | Self::Argument(_) => 2,
            Self::Status(_) => 3,
            Self::TimedOut | Self::Fault { reason: Reason::RetryAfter(_), .. } => 4,
            Self::Fault { reason: Reason::Refused, .. } | Self::Unclear { .. } => 5,
            Self::Fault { .. } | Self::Local(_) => 1,
            Self::Incomplete { cause, .. } => cause.code(),
            Self::Interrupted(Interruption::Interrupt) => 130,
            Self::Interrupted(Interruption::Terminate) => 143,
        }
    }

    /// What is told, in lines: what happened and what is on disk now, and where it is known what to do about it.
    #[must_use]
    pub fn text(&self, asked: Option<Asked<'_>>, journal: &Journal) -> String {
        match (self, asked) {
            (Self::Inputs(problems), _) => bad_inputs(problems),
            (Self::Argument(argument), _) => {
                format!(
                    "unknown argument {argument}; known are list, list --json, --help and --version, and the inputs come from the environment"
                )
            }
            (failure, Some(asked)) => Told { asked, journal }.text(failure),
            (failure, None) => failure.happened_early(),
        }
    }

    fn happened_early(&self) -> String {
        match self {
            Self::Local(error) => local(error),
            _ => "the step was ended before it began".to_owned(),
        }
    }
}

/// What this machine says, cause by cause, without the numbers of the system's errors.
fn local(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let causes = causes.iter().map(|cause| clean::without_number(cause));
    causes.collect::<Vec<_>>().join(": ")
}

fn bad_inputs(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    match lines.as_slice() {
        [one] => format!("bad input {one}; nothing was asked of WebAdMIT"),
        many => format!("{} bad inputs; nothing was asked of WebAdMIT\n{}", many.len(), many.join("\n")),
    }
}

/// What a message is made of.
struct Told<'a> {
    asked: Asked<'a>,
    journal: &'a Journal,
}

impl Told<'_> {
    fn text(&self, failure: &Failure) -> String {
        let happened = match failure {
            Failure::Fault { trouble, reason } => format!("{}: {}", self.run(), self.fault(trouble, *reason)),
            Failure::TimedOut => format!("{}: {}", self.run(), self.timed_out()),
            Failure::Incomplete { missing, cause } => self.incomplete(missing, cause),
            Failure::Unclear { sought, unclear } => self.unclear(*sought, unclear),
            Failure::Status(status) => format!("{} ended as {status}", self.run()),
            Failure::Local(error) => format!("{}: {}", self.run(), local(error)),
            Failure::Interrupted(signal) => format!("{}: interrupted by {}", self.run(), signal.name()),
            Failure::Inputs(_) | Failure::Argument(_) => String::new(),
        };
        let on_disk = self.on_disk(failure).map(|on_disk| format!("; {on_disk}")).unwrap_or_default();
        let list =
            if let Failure::Unclear { sought, unclear } = failure { list(*sought, unclear) } else { String::new() };
        let hint = self.hint(failure).map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        format!("{happened}{on_disk}{list}{hint}")
    }

    /// `run 74780 of export 86446`.
    fn run(&self) -> String {
        let Some(wanted) = self.asked.wanted else { return "the list of identities and exports".to_owned() };
        let export = self.export(wanted);
        match (self.journal.run, wanted.run) {
            (Some(run), _) | (None, Run::Existing(run)) => format!("run {run} of {export}"),
            (None, Run::New) => format!("{export} under {}", self.identity()),
            (None, Run::Latest) => format!("latest file of {export} under {}", self.identity()),
        }
    }

    /// `export 86446 (Nightly Applicants)`, or what was asked for where that is not known yet.
    fn export(&self, wanted: &Wanted) -> String {
        self.journal.export.as_ref().map_or_else(|| wanted.export.to_string(), |known| format!("export {known}"))
    }

    fn identity(&self) -> String {
        let asked = self.asked.wanted.and_then(|wanted| wanted.identity.as_ref());
        match (&self.journal.identity, asked) {
            (Some(known), _) => format!("identity {known}"),
            (None, Some(asked)) => asked.to_string(),
            (None, None) => "no identity".to_owned(),
        }
    }

    fn on_disk(&self, failure: &Failure) -> Option<String> {
        let wanted = self.asked.wanted?;
        Some(match (&self.journal.saved, failure) {
            (Some(saved), _) => format!("its file is saved as {}", saved.path),
            (None, Failure::Unclear { .. } | Failure::Fault { reason: Reason::Refused, .. })
                if wanted.run == Run::New && self.journal.run.is_none() =>
            {
                "nothing was started or saved, and an older file is as it was".to_owned()
            }
            (None, _) => "nothing was saved, and an older file is as it was".to_owned(),
        })
    }

    /// `identity `SOPHAS`: none of the 12 identities of this key has all of these words`.
    fn unclear(&self, sought: Sought, unclear: &Unclear) -> String {
        let Some(wanted) = self.asked.wanted else { return String::new() };
        let asked = match sought {
            Sought::Identity => wanted.identity.as_ref().map(ToString::to_string).unwrap_or_default(),
            Sought::Export => self.export(wanted),
            Sought::Latest => self.run(),
        };
        let where_from = match (sought, &self.journal.identity) {
            (Sought::Identity, _) => "of this key".to_owned(),
            (_, Some(known)) => format!("of identity {known}"),
            (_, None) => "that this key can see".to_owned(),
        };
        let (fitting, of) = (unclear.fitting, unclear.of);
        let found = match (sought, fitting, of) {
            (Sought::Identity, _, 0) => "not found: this key can see no identity at all".to_owned(),
            (Sought::Export, _, 0) => format!("not found: there are no exports {where_from}"),
            (Sought::Latest, _, 0) => "not found: there are no recent files".to_owned(),
            (Sought::Identity, 0, 1) => {
                format!("not found: the only identity {where_from} does not have all of these words")
            }
            (Sought::Export, 0, 1) => format!("not found: the only export {where_from} has another name"),
            (Sought::Latest, _, 1) => {
                format!("not found: the only recent file {where_from} is one of another export")
            }
            (Sought::Identity, 0, _) => {
                format!("not found: none of the {of} identities {where_from} has all of these words")
            }
            (Sought::Export, 0, _) => {
                format!("not found: not among the {of} exports {where_from}")
            }
            (Sought::Latest, ..) => {
                format!("not found: not among the {of} recent files {where_from}")
            }
            (Sought::Identity, ..) => format!(
                "found more than once: {fitting} of the {of} identities {where_from} have all of these words, and their cycle alone does not tell them apart"
            ),
            (Sought::Export, ..) => {
                format!("found more than once: {fitting} of the {of} exports {where_from} have this name")
            }
        };
        format!("{asked} {found}")
    }

    fn fault(&self, trouble: &Trouble, reason: Reason) -> String {
        let Trouble { fault, attempts, took } = trouble;
        let (words, tried) = (&fault.words, tried(trouble));
        match reason {
            Reason::NeverAnswered => {
                let host = self.asked.service.base_url.host();
                format!("{host} gave no readable answer within {}: {words}{tried}", span(FIRST_ANSWER))
            }
            Reason::RetryAfter(wait) => {
                let asks = format!("{words}, and asks to be left alone for {}", span(wait));
                format!("{asks}, which is past the timeout of {}{}", span(self.asked.service.timeout), self.last_seen())
            }
            Reason::Fruitless if fault.side == Side::Store => format!(
                "{} in a row brought no new byte, the last one: {words}; gave up after {}",
                figures::count(attempts.fruitless as usize, "attempt"),
                span(*took)
            ),
            Reason::Final | Reason::Refused | Reason::TimedOut | Reason::Fruitless => format!("{words}{tried}"),
        }
    }

    /// `the list is incomplete: the exports of identities 305 and 290 are missing: …`.
    fn incomplete(&self, missing: &[Id], cause: &Failure) -> String {
        let cause = match cause {
            Failure::Fault { trouble, reason } => self.fault(trouble, *reason),
            Failure::TimedOut => self.timed_out(),
            other => return self.text(other),
        };
        let identities = if missing.len() == 1 { "identity" } else { "identities" };
        format!("the list is incomplete: the exports of {identities} {} are missing: {cause}", listed(missing))
    }

    fn timed_out(&self) -> String {
        let doing = match (self.journal.progress, self.journal.status()) {
            (Some(progress), _) => format!(" in the download, at {progress}"),
            (None, Some(status)) if status.has_file() => " in the download, before its first byte".to_owned(),
            (None, _) => String::new(),
        };
        let timeout = span(self.asked.service.timeout);
        let fault = match &self.journal.trouble {
            Some(trouble) => format!(", the last fault: {}{}", trouble.fault.words, tried(trouble)),
            None => String::new(),
        };
        format!("timed out after {timeout}{doing}{}{fault}", self.last_seen())
    }

    fn last_seen(&self) -> String {
        match self.journal.course.last() {
            Some(seen) => format!("; its last status was {} (seen at {})", seen.status, figures::clock(seen.last)),
            None if self.asked.wanted.is_none() => String::new(),
            None => "; no status was seen".to_owned(),
        }
    }
}

/// `305`, `305 and 290`, `305, 290 and 17`. Of very many, not all.
fn listed(ids: &[Id]) -> String {
    const MOST: usize = 20;
    let mut words: Vec<String> = ids.iter().take(MOST).map(Id::to_string).collect();
    if ids.len() > MOST {
        words.push(format!("{} more", ids.len() - MOST));
    }
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{} and {last}", words.join(", ")),
        only => only.unwrap_or_default(),
    }
}

/// How often and how long something was tried, where it was tried more than once.
#[must_use]
pub fn tried(trouble: &Trouble) -> String {
    let Trouble { attempts, took, .. } = trouble;
    if attempts.made > 1 {
        format!(" ({} in {})", figures::count(attempts.made as usize, "attempt"), span(*took))
    } else {
        String::new()
    }
}

/// What there is, a line each. Every line begins with an id.
fn list(sought: Sought, unclear: &Unclear) -> String {
    let heading = match (unclear.fitting, sought) {
        _ if unclear.listed.is_empty() => return String::new(),
        (0, Sought::Latest) => "there are, the newest first:",
        (0, _) => "there are, the nearest first:",
        _ => "these are:",
    };
    let more = match unclear.unlisted {
        0 => String::new(),
        more => format!("\n  … and {more} more"),
    };
    format!("\n{heading}\n  {}{more}", unclear.listed.join("\n  "))
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

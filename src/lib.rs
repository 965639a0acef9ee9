//! Brings the file of a WebAdMIT export home: waits until a run of the export has ended, downloads its file into the
//! workspace, and tells the CI system about it.
//!
//! ```text
//!  environment
//!       │  inputs        what is asked for, parsed once; workspace, trust: what it says about this machine
//!       ▼
//!    perform             a step: the job, and what is told of it      list    what a key can see, for a person
//!       │                                                              │
//!     job ── api ── lists ── step.ask ◄── retry ◄──────────────────────┘      requests, tried again where it is worth it
//!       │     │
//!       │  choose                                what the names mean
//!       │   wait                                 checks until the status is terminal
//!       │     │  a URL that lives for seconds
//!       │     ▼
//!       │  download ◄── range, name, signed_url  attempts, joined when they are of one version
//!       │     │  parallel                        … of a large file, over several connections
//!       │     │  convert                         … of a text, into UTF-8
//!       │  destination, checksum                 the partial file, renamed into place when it is complete
//!       ▼     ▼
//!    journal                                     what has happened, however it ended
//!       │
//!       ▼
//!  outputs · summary · log · exit code
//! ```
//!
//! What holds everywhere:
//!
//! - The environment is read in `main.rs` and handed in, but for the proxy variables, which the HTTP client reads; the log
//!   prints and nothing else does.
//! - The API key is in the API's client and in no other. A download URL is in the download and in no text. What a server
//!   says of either is concealed by [`secrets`], as it comes in and as anything goes out.
//! - Inputs are parsed once, at the edge. Below it nobody checks them again.
//! - Three loops in three places: a request that is tried again ([`step`]), a run that is polled ([`wait`]), a file that
//!   is resumed ([`download`]; and each piece of a large one in [`download::parallel`]). What they do after a fault is decided
//!   in [`retry`], which is pure.
//! - [`inputs`], [`choose`], [`retry`], [`download::range`], [`download::name`], [`secrets`], [`clean`] and [`figures`] know no
//!   clock, no disk and no network.
//! - Whatever a server says goes through [`clean`] before a person or a runner sees it.
//! - Everything runs on one thread, except for name look-ups, the checksum of a large file, and the conversion of text.
//! - Nothing partial is ever at the destination: a file is renamed into place, complete, or not at all.

use anyhow::Context;
use clock::Clock;
use failure::Failure;
use journal::Journal;
use log::Log;
use process::Process;

pub mod api;
pub mod choose;
pub mod clean;
pub mod clock;
#[cfg(test)]
mod corpus;
pub mod download;
pub mod failure;
pub mod fault;
pub mod figures;
pub mod help;
pub mod http;
pub mod inputs;
pub mod job;
pub mod journal;
pub mod list;
pub mod log;
pub mod outputs;
pub mod perform;
pub mod process;
pub mod retry;
pub mod secrets;
pub mod status;
pub mod step;
pub mod summary;
pub mod trust;
pub mod wait;
pub mod workspace;

/// Does what the process was started for, and returns its exit code.
#[must_use]
pub fn run(process: &Process) -> u8 {
    // Some systems hand over an empty argument where there is none.
    let arguments = process.arguments.iter().filter(|argument| !argument.is_empty());
    let arguments: Vec<_> = arguments.map(|argument| argument.to_string_lossy()).collect();
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    match arguments.as_slice() {
        [] => perform::perform(process),
        ["list"] => list::list(process, list::Form::Table),
        ["list", "--json"] | ["--json", "list"] => list::list(process, list::Form::Json),
        ["--help" | "-h", ..] | ["list", "--help" | "-h"] => show(process, &help::text()),
        ["--version" | "-V", ..] => show(process, help::VERSION),
        several => fail(process, &Failure::Argument(unknown(several))),
    }
}

fn show(process: &Process, text: &str) -> u8 {
    let shown = log::page(text).context("stdout cannot be written");
    shown.map_or_else(|error| fail(process, &Failure::Local(error)), |()| 0)
}

fn fail(process: &Process, failure: &Failure) -> u8 {
    let log = Log::new(process.reader(), Clock::start());
    if let Some(key) = inputs::read(&process.variables).api_key {
        log.mask(key.reveal());
    }
    log.failure(&failure.text(None, &Journal::default()));
    failure.code()
}

/// The first argument that means nothing here, as a message shows it: without a value, for that could be the key.
fn unknown(arguments: &[&str]) -> String {
    let unknown = arguments.iter().find(|argument| !["list", "--json"].contains(argument));
    let unknown = unknown.or(arguments.last()).map_or("", |argument| argument.split('=').next().unwrap_or_default());
    if inputs::looks_like_a_key(unknown) { "that looks like a key".to_owned() } else { clean::words(unknown) }
}

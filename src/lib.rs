//! Brings the file of a WebAdMIT export home: waits until a run of the export has ended, downloads its file into the
//! workspace, and tells the CI system about it.
//!
//! ```text
//!  environment
//!       │  inputs      what is asked for, parsed once; workspace, trust: what it says about this machine
//!       ▼
//!     job ── api ──── step.ask ◄── retry        requests, tried again where a fault is worth it
//!       │     │
//!       │   wait                                checks until the status is terminal
//!       │     │  a URL that lives for seconds
//!       │     ▼
//!       │  download ◄── range, name, source     attempts, joined when they are of one version
//!       │     │  pieces                         … of a large file, over several connections
//!       │  destination                          the partial file, renamed into place when it is complete
//!       ▼     ▼
//!    journal                                    what has happened, however it ended
//!       │
//!       ▼
//!  outputs · summary · log · exit code
//! ```
//!
//! What holds everywhere:
//!
//! - The environment is read in `main.rs` and handed in; the log prints and nothing else does.
//! - The API key is in the API's client and in no other. A download URL is in the download and in no text.
//! - Inputs are parsed once, at the edge. Below it nobody checks them again.
//! - Three loops in three places: a request that is tried again ([`step`]), a run that is polled ([`wait`]), a file that
//!   is resumed ([`download`]). What they do after a fault is decided in [`retry`], which is pure.
//! - [`inputs`], [`retry`], [`download::range`], [`download::name`], [`clean`] and [`figures`] know no clock, no disk and
//!   no network.
//! - Whatever a server says goes through [`clean`] before a person or a runner sees it.
//! - Nothing partial is ever at the destination: a file is renamed into place, complete, or not at all.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use tokio::signal::unix::{SignalKind, signal};

use clock::Clock;
use download::destination::Destination;
use failure::{Failure, Interruption};
use http::{Clients, Patience};
use inputs::{Inputs, Problem, Reading};
use journal::Journal;
use log::{Log, Reader};
use outputs::Receivers;
use step::Step;
use summary::Report;
use trust::Trust;
use workspace::{Workspace, variable};

pub mod api;
pub mod clean;
pub mod clock;
pub mod download;
pub mod failure;
pub mod fault;
pub mod figures;
pub mod help;
pub mod http;
pub mod inputs;
pub mod job;
pub mod journal;
pub mod log;
pub mod outputs;
pub mod retry;
pub mod status;
pub mod step;
pub mod summary;
pub mod trust;
pub mod wait;
pub mod workspace;

/// What the process was given.
#[derive(Debug)]
pub struct Process {
    /// The arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// The working directory.
    pub directory: PathBuf,
}

/// Does what the process was started for, and returns its exit code.
#[must_use]
pub fn run(process: &Process) -> u8 {
    // Some systems hand over an empty argument where there is none.
    match process.arguments.iter().find(|argument| !argument.is_empty()).map(|argument| argument.to_string_lossy()) {
        None => perform(process),
        Some(argument) if matches!(&*argument, "--help" | "-h") => {
            log::page(&help::text());
            0
        }
        Some(argument) if matches!(&*argument, "--version" | "-V") => {
            log::page(help::VERSION);
            0
        }
        Some(argument) => {
            let failure = Failure::Argument(clean::words(&argument));
            Log::new(reader(process), Clock::start()).failure(&failure.text(None, &Journal::default()));
            failure.code()
        }
    }
}

/// One step, from the environment to the exit code.
fn perform(process: &Process) -> u8 {
    let clock = Clock::start();
    let log = Log::new(reader(process), clock);
    let reading = inputs::read(&process.variables);
    if let Some(key) = &reading.api_key {
        log.mask(key.reveal());
    }
    for variable in &reading.unknown {
        log.plain(&format!("ignored: {variable} is none of the inputs, which --help lists"));
    }
    let journal = RefCell::new(Journal::default());
    let end = match prepare(process, &reading, &log) {
        Ok(ready) => ready.run(clock, &log, &journal),
        Err(failure) => Err(failure),
    };
    let journal = journal.into_inner();
    let clock = reading.inputs.as_ref().map_or(clock, |inputs| clock.bounded(inputs.timeout));
    let failure = end.as_ref().err().map(|failure| failure.text(reading.inputs.as_ref(), &journal));
    let report =
        Report { inputs: reading.inputs.as_ref(), journal: &journal, failure: failure.as_deref(), took: clock.now() };
    summarize(process, &report, &log);
    if let Some(text) = &failure {
        log.failure(text);
    }
    end.map_or_else(|failure| failure.code(), |()| 0)
}

fn reader(process: &Process) -> Reader {
    let variable = |name| variable(&process.variables, name);
    match () {
        () if variable("GITHUB_ACTIONS").is_some_and(|value| value == "true") => Reader::GitHub,
        () if variable("TF_BUILD").is_some() => Reader::Azure,
        () => Reader::Other,
    }
}

/// Everything that the job needs, and that could be looked at before the first request.
struct Ready<'a> {
    inputs: &'a Inputs,
    clients: Clients,
    destination: Destination,
    receivers: Receivers,
}

/// Looks at everything that can be looked at before the first request. What is wrong with the inputs is reported
/// together, and before anything else.
fn prepare<'a>(process: &Process, reading: &'a Reading, log: &Log) -> Result<Ready<'a>, Failure> {
    let workspace = Workspace::find(variable(&process.variables, "GITHUB_WORKSPACE"), &process.directory);
    let mut trust = trust::of_system(&process.variables);
    let mut problems = reading.problems.clone();
    let places = workspace.as_ref().ok().map(|workspace| Places::find(workspace, reading, &mut trust, &mut problems));
    inputs::sort(&mut problems);
    let Some(inputs) = reading.inputs.as_ref().filter(|_| problems.is_empty()) else {
        return Err(Failure::Inputs(problems));
    };
    let (workspace, places) = (workspace?, places.unwrap_or_default());
    for complaint in &trust.complaints {
        log.plain(&format!("warning: {complaint}"));
    }
    if inputs.base_url.is_https() && trust.authorities.is_empty() {
        return Err(anyhow!(NO_AUTHORITIES).into());
    }
    let github_output = variable(&process.variables, "GITHUB_OUTPUT");
    Ok(Ready {
        inputs,
        clients: http::clients(trust.authorities, Patience::default())?,
        receivers: Receivers::open(github_output, places.output_file.as_deref(), &workspace)?,
        destination: Destination::prepare(
            &workspace,
            &places.directory,
            inputs.filename.as_deref(),
            places.output_file.as_deref(),
        )?,
    })
}

const NO_AUTHORITIES: &str = "no certificate authorities were found on this machine, so no https server can be trusted; \
    install its ca-certificates package, or name a PEM file with SSL_CERT_FILE or ca-file";

/// Where the paths of the inputs lead.
#[derive(Default)]
struct Places {
    directory: PathBuf,
    output_file: Option<PathBuf>,
}

impl Places {
    fn find(workspace: &Workspace, reading: &Reading, trust: &mut Trust, problems: &mut Vec<Problem>) -> Self {
        let paths = &reading.paths;
        let mut resolve = |input: &'static str, path: &str| match workspace.resolve(path) {
            Ok(resolved) => Some(resolved),
            Err(why) => {
                problems.push(Problem::with(input, path, &why.to_string()));
                None
            }
        };
        let directory = resolve("directory", &paths.directory).unwrap_or_default();
        let output_file = paths.output_file.as_deref().and_then(|path| resolve("output-file", path));
        if let Some(path) = &paths.ca_file
            && let Err(why) = trust.add_file(&workspace.root().join(path))
        {
            problems.push(Problem::with("ca-file", path, why));
        }
        let filename = reading.inputs.as_ref().and_then(|inputs| inputs.filename.as_deref());
        if let (Some(path), Some(filename)) = (&output_file, filename)
            && *path == directory.join(filename)
        {
            problems.push(Problem::with("output-file", &workspace.tell(path), "is the path of the export file too"));
        }
        Self { directory, output_file }
    }
}

impl Ready<'_> {
    /// Does the job until it ends or a signal ends it, and writes the outputs in both cases.
    fn run(self, clock: Clock, log: &Log, journal: &RefCell<Journal>) -> Result<(), Failure> {
        let Self { inputs, clients, destination, mut receivers } = self;
        let step = Step { inputs, clock: clock.bounded(inputs.timeout), log, journal };
        log.plain(&opening(inputs));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let end = runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
            let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
            tokio::select! {
                end = job::run(&step, &clients, &destination) => end,
                _ = interrupt.recv() => Err(Failure::Interrupted(Interruption::Interrupt)),
                _ = terminate.recv() => Err(Failure::Interrupted(Interruption::Terminate)),
            }
        });
        // A look-up of a name that hangs must not hold up the end.
        runtime.shutdown_background();
        drop(destination);
        let outputs = outputs::known(&journal.borrow());
        let written = receivers.write(&outputs);
        tell(log, &outputs);
        match (end, written) {
            (Ok(()), Err(error)) => Err(Failure::Local(error)),
            (end, Err(error)) => {
                log.line(&format!("{error:#}"));
                end
            }
            (end, Ok(())) => end,
        }
    }
}

fn opening(inputs: &Inputs) -> String {
    let (export, host) = (inputs.export, inputs.base_url.host());
    match inputs.run {
        inputs::Run::Existing(run) => format!("{}: run {run} of export {export} at {host}", help::VERSION),
        inputs::Run::StartedBy(identity) => {
            format!("{}: a run of export {export} under identity {identity} at {host}", help::VERSION)
        }
    }
}

fn tell(log: &Log, outputs: &[outputs::Output]) {
    if outputs.is_empty() {
        return;
    }
    log.plain("outputs:");
    for (name, value) in outputs {
        log.plain(&format!("  {name}={value}"));
    }
    for (name, value) in outputs {
        log.hand_over(&outputs::variable(name), value);
    }
}

/// Adds the report to `$GITHUB_STEP_SUMMARY`. A step does not fail over it.
fn summarize(process: &Process, report: &Report<'_>, log: &Log) {
    let Some(path) = variable(&process.variables, "GITHUB_STEP_SUMMARY") else { return };
    let file = OpenOptions::new().append(true).create(true).open(Path::new(path));
    if let Err(error) = file.and_then(|mut file| file.write_all(report.markdown().as_bytes())) {
        log.line(&format!("the step summary cannot be written: {}", workspace::words(&error)));
    }
}

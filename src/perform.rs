//! One step, from the environment to the exit code.

use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::download::destination::Destination;
use crate::failure::{Asked, Failure};
use crate::help;
use crate::http::Clients;
use crate::inputs::{self, Problem, Reading, Run, Service, Unknown, Wanted};
use crate::job;
use crate::journal::Journal;
use crate::log::{Log, Reader};
use crate::outputs::{self, Receivers};
use crate::process::{self, Process};
use crate::step::Step;
use crate::summary::Report;
use crate::trust::{self, Trust};
use crate::workspace::{self, Workspace, variable};

/// Does the step, and returns its exit code.
#[must_use]
pub fn perform(process: &Process) -> u8 {
    let clock = Clock::start();
    let log = Log::new(process.reader(), clock);
    let reading = inputs::read(&process.variables);
    if let Some(key) = &reading.api_key {
        log.mask(key.reveal());
    }
    for (number, Unknown { variable, meant }) in reading.unknown.iter().enumerate() {
        match meant {
            // GitHub shows ten warnings of a step, and there may be others.
            Some(input) if number < 3 => {
                log.warning(&format!("{variable} is no input and is ignored: was {input} meant?"))
            }
            _ => log.plain(&format!("ignored: {variable} is none of the inputs, which --help lists")),
        }
    }
    let journal = RefCell::new(Journal::default());
    let end = match prepare(process, &reading, &log) {
        Ok(ready) => ready.run(clock, &log, &journal),
        Err(failure) => Err(failure),
    };
    let journal = journal.into_inner();
    let asked = reading.service.as_ref().zip(reading.wanted.as_ref());
    let asked = asked.map(|(service, wanted)| Asked { service, wanted: Some(wanted) });
    let clock = asked.map_or(clock, |asked| clock.bounded(asked.service.timeout));
    let failure = end.as_ref().err().map(|failure| failure.text(asked, &journal));
    let report = Report { asked, journal: &journal, failure: failure.as_deref(), took: clock.now() };
    summarize(process, &report, &log);
    if let Some(text) = &failure {
        log.failure(text);
    }
    end.map_or_else(|failure| failure.code(), |()| 0)
}

/// Everything that the job needs, and that could be looked at before the first request.
struct Ready<'a> {
    service: &'a Service,
    wanted: &'a Wanted,
    clients: Clients,
    destination: Destination,
    receivers: Receivers,
}

/// Looks at everything that can be looked at before the first request. What is wrong with the inputs is reported
/// together, and before anything else.
fn prepare<'a>(process: &Process, reading: &'a Reading, log: &Log) -> Result<Ready<'a>, Failure> {
    let workspace = process.workspace();
    let mut trust = trust::of_system(&process.variables);
    let mut problems = reading.problems.clone();
    let places = workspace.as_ref().ok().map(|workspace| Places::find(workspace, reading, &mut trust, &mut problems));
    inputs::sort(&mut problems);
    let asked = reading.service.as_ref().zip(reading.wanted.as_ref());
    let output_file = places.as_ref().and_then(|places| places.output_file.clone());
    let ready = || {
        let Some((service, wanted)) = asked.filter(|_| problems.is_empty()) else {
            return Err(Failure::Inputs(problems));
        };
        let (workspace, places) = (workspace?, places.unwrap_or_default());
        if is_container_action(process) && !places.directory.starts_with(workspace.root()) {
            let directory = workspace.tell(&places.directory);
            log.warning(&format!(
                "directory {directory} is outside of the workspace: the output path will be valid only inside this container, and later steps may not find the file; use a directory relative to the workspace"
            ));
        }
        let clients = process::clients(service, trust, log)?;
        let github_output = variable(&process.variables, "GITHUB_OUTPUT");
        let output_file = places.output_file.as_deref();
        let receivers = Receivers::open(github_output, output_file, &workspace)?;
        let filename = wanted.filename.as_deref();
        let destination = Destination::prepare(&workspace, &places.directory, filename, output_file)?;
        Ok(Ready { service, wanted, clients, destination, receivers })
    };
    ready().inspect_err(|_| {
        // However this step ends, what an earlier one has left is not taken for its outputs.
        if let Some(path) = output_file {
            outputs::forget(&path);
        }
    })
}

/// Whether this is a step of GitHub in a container of its own, which is removed after the step. The runner mounts the
/// workspace there as `/github/workspace` (actions/runner, `ContainerActionHandler.cs`), and nowhere else: in a job with a
/// `container`, and on the machine itself, the following steps see the same paths.
fn is_container_action(process: &Process) -> bool {
    process.reader() == Reader::GitHub
        && variable(&process.variables, "GITHUB_WORKSPACE").is_some_and(|path| path == "/github/workspace")
}

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
        let mut output_file = paths.output_file.as_deref().and_then(|path| resolve("output-file", path));
        if let Some(path) = &paths.ca_file
            && let Some(problem) = trust.add_input(workspace.root(), path)
        {
            problems.push(problem);
        }
        let filename = reading.wanted.as_ref().and_then(|wanted| wanted.filename.as_deref());
        let ca_file = paths.ca_file.as_deref().and_then(|path| workspace.resolve(path).ok());
        let taken = [
            (filename.map(|filename| directory.join(filename)), "is the path of the export file too"),
            (ca_file, "is the ca-file too"),
        ];
        for (taken, why) in taken {
            // Then nothing is written there, and nothing emptied.
            if let Some(path) = output_file.take_if(|path| taken.as_ref() == Some(&*path)) {
                problems.push(Problem::with("output-file", &workspace.tell(&path), why));
            }
        }
        Self { directory, output_file }
    }
}

impl Ready<'_> {
    /// Does the job until it ends or a signal ends it, and writes the outputs in both cases.
    fn run(self, clock: Clock, log: &Log, journal: &RefCell<Journal>) -> Result<(), Failure> {
        let Self { service, wanted, clients, destination, mut receivers } = self;
        let step = Step { service, clock: clock.bounded(service.timeout), log, journal };
        log.plain(&opening(service, wanted));
        let end = process::until_signalled(job::run(&step, wanted, &clients, &destination));
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

fn opening(service: &Service, wanted: &Wanted) -> String {
    let (export, host) = (&wanted.export, service.base_url.host());
    let run = match wanted.run {
        Run::Existing(run) => format!("run {run}"),
        Run::Latest => "latest file".to_owned(),
        Run::New => "a run".to_owned(),
    };
    let identity = match &wanted.identity {
        Some(identity) if wanted.uses_identity() => format!(" under {identity}"),
        _ => String::new(),
    };
    format!("{}: {run} of {export}{identity} at {host}", help::VERSION)
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
    let file = outputs::writable().append(true).create(true).open(Path::new(path));
    if let Err(error) = file.and_then(|mut file| file.write_all(log.secrets().conceal(&report.markdown()).as_bytes())) {
        log.line(&format!("the step summary cannot be written: {}", workspace::words(&error)));
    }
}

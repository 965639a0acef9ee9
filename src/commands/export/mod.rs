//! One step, from the environment to the exit code.

mod job;

use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::commands::help;
use crate::config::{self, ApiConfig, ExportRequest, InputError, ParsedInputs, RunSelector, UnknownInput};
use crate::context::Context;
use crate::deadline::Deadline;
use crate::download::destination::Destination;
use crate::environment::{self, Environment};
use crate::error::StepError;
use crate::http::Clients;
use crate::http::tls::{self, TrustStore};
use crate::report::history::History;
use crate::report::log::{CiSystem, Log};
use crate::report::message::{self, MessageContext};
use crate::report::outputs::{self, OutputSinks};
use crate::report::summary::Report;
use crate::workspace::{self, Workspace, variable};

/// Does the step, and returns its exit code.
#[must_use]
pub fn run(environment: &Environment) -> u8 {
    let deadline = Deadline::start();
    let log = Log::new(environment.ci_system(), deadline);
    let parsed = config::parse(&environment.variables);
    if let Some(key) = &parsed.api_key {
        log.mask(key.reveal());
    }
    for (number, UnknownInput { variable, meant }) in parsed.unknown.iter().enumerate() {
        match meant {
            // GitHub shows ten warnings of a step, and there may be others.
            Some(input) if number < 3 => {
                log.warning(&format!("{variable} is no input and is ignored: was {input} meant?"))
            }
            _ => log.plain(&format!("ignored: {variable} is none of the inputs, which --help lists")),
        }
    }
    let history = RefCell::new(History::default());
    let end = match prepare(environment, &parsed, &log) {
        Ok(ready) => ready.run(deadline, &log, &history),
        Err(error) => Err(error),
    };
    let history = history.into_inner();
    let asked = parsed.api_config.as_ref().zip(parsed.request.as_ref());
    let asked = asked.map(|(api_config, request)| MessageContext { api_config, request: Some(request) });
    let deadline = asked.map_or(deadline, |asked| deadline.bounded(asked.api_config.timeout));
    let error = end.as_ref().err().map(|error| message::render(error, asked, &history));
    let report = Report { asked, history: &history, error: error.as_deref(), took: deadline.elapsed() };
    summarize(environment, &report, &log);
    if let Some(text) = &error {
        log.error(text);
    }
    end.map_or_else(|error| error.code(), |()| 0)
}

/// Everything that the job needs, and that could be looked at before the first request.
struct Ready<'a> {
    api_config: &'a ApiConfig,
    request: &'a ExportRequest,
    clients: Clients,
    destination: Destination,
    sinks: OutputSinks,
}

/// Looks at everything that can be looked at before the first request. What is wrong with the inputs is reported
/// together, and before anything else.
fn prepare<'a>(environment: &Environment, parsed: &'a ParsedInputs, log: &Log) -> Result<Ready<'a>, StepError> {
    let workspace = environment.workspace();
    let mut trust_store = tls::from_system(&environment.variables);
    let mut errors = parsed.errors.clone();
    let places =
        workspace.as_ref().ok().map(|workspace| Places::find(workspace, parsed, &mut trust_store, &mut errors));
    config::sort(&mut errors);
    let asked = parsed.api_config.as_ref().zip(parsed.request.as_ref());
    let output_file = places.as_ref().and_then(|places| places.output_file.clone());
    let ready = || {
        let Some((api_config, request)) = asked.filter(|_| errors.is_empty()) else {
            return Err(StepError::Inputs(errors));
        };
        let (workspace, places) = (workspace?, places.unwrap_or_default());
        if is_container_action(environment) && !places.directory.starts_with(workspace.root()) {
            let directory = workspace.display_path(&places.directory);
            log.warning(&format!(
                "directory {directory} is outside of the workspace: the output path will be valid only inside this container, and later steps may not find the file; use a directory relative to the workspace"
            ));
        }
        let clients = environment::clients(api_config, trust_store, log)?;
        let github_output = variable(&environment.variables, "GITHUB_OUTPUT");
        let output_file = places.output_file.as_deref();
        let sinks = OutputSinks::open(github_output, output_file, &workspace)?;
        let filename = request.filename.as_deref();
        let destination = Destination::prepare(&workspace, &places.directory, filename, output_file)?;
        Ok(Ready { api_config, request, clients, destination, sinks })
    };
    ready().inspect_err(|_| {
        // However this step ends, what an earlier one has left is not taken for its outputs.
        if let Some(path) = output_file {
            outputs::clear_stale(&path);
        }
    })
}

/// Whether this is a step of GitHub in a container of its own, which is removed after the step. The runner mounts the
/// workspace there as `/github/workspace` (actions/runner, `ContainerActionHandler.cs`), and nowhere else: in a job with a
/// `container`, and on the machine itself, the following steps see the same paths.
fn is_container_action(environment: &Environment) -> bool {
    environment.ci_system() == CiSystem::GitHub
        && variable(&environment.variables, "GITHUB_WORKSPACE").is_some_and(|path| path == "/github/workspace")
}

/// Where the paths of the inputs lead.
#[derive(Default)]
struct Places {
    directory: PathBuf,
    output_file: Option<PathBuf>,
}

impl Places {
    fn find(
        workspace: &Workspace,
        parsed: &ParsedInputs,
        trust_store: &mut TrustStore,
        errors: &mut Vec<InputError>,
    ) -> Self {
        let paths = &parsed.paths;
        let mut resolve = |input: &'static str, path: &str| match workspace.resolve(path) {
            Ok(resolved) => Some(resolved),
            Err(why) => {
                errors.push(InputError::with(input, path, &why.to_string()));
                None
            }
        };
        let directory = resolve("directory", &paths.directory).unwrap_or_default();
        let mut output_file = paths.output_file.as_deref().and_then(|path| resolve("output-file", path));
        if let Some(path) = &paths.ca_file
            && let Some(error) = trust_store.add_input(workspace.root(), path)
        {
            errors.push(error);
        }
        let filename = parsed.request.as_ref().and_then(|request| request.filename.as_deref());
        let ca_file = paths.ca_file.as_deref().and_then(|path| workspace.resolve(path).ok());
        let taken = [
            (filename.map(|filename| directory.join(filename)), "is the path of the export file too"),
            (ca_file, "is the ca-file too"),
        ];
        for (taken, why) in taken {
            // Then nothing is written there, and nothing emptied.
            if let Some(path) = output_file.take_if(|path| taken.as_ref() == Some(&*path)) {
                errors.push(InputError::with("output-file", &workspace.display_path(&path), why));
            }
        }
        Self { directory, output_file }
    }
}

impl Ready<'_> {
    /// Does the job until it ends or a signal ends it, and writes the outputs in both cases.
    fn run(self, deadline: Deadline, log: &Log, history: &RefCell<History>) -> Result<(), StepError> {
        let Self { api_config, request, clients, destination, mut sinks } = self;
        let context = Context { api_config, deadline: deadline.bounded(api_config.timeout), log, history };
        log.plain(&opening(api_config, request));
        let end = environment::run_until_signal(job::run(&context, request, &clients, &destination));
        drop(destination);
        let outputs = outputs::collect(&history.borrow());
        let written = sinks.write(&outputs);
        log_outputs(log, &outputs);
        match (end, written) {
            (Ok(()), Err(error)) => Err(StepError::Local(error)),
            (end, Err(error)) => {
                log.line(&format!("{error:#}"));
                end
            }
            (end, Ok(())) => end,
        }
    }
}

fn opening(api_config: &ApiConfig, request: &ExportRequest) -> String {
    let (export, host) = (&request.export, api_config.base_url.host());
    let run = match request.run {
        RunSelector::Id(run) => format!("run {run}"),
        RunSelector::Latest => "latest file".to_owned(),
        RunSelector::New => "a run".to_owned(),
    };
    let identity = match &request.identity {
        Some(identity) if request.uses_identity() => format!(" under {identity}"),
        _ => String::new(),
    };
    format!("{}: {run} of {export}{identity} at {host}", help::VERSION)
}

fn log_outputs(log: &Log, outputs: &[outputs::Output]) {
    if outputs.is_empty() {
        return;
    }
    log.plain("outputs:");
    for (name, value) in outputs {
        log.plain(&format!("  {name}={value}"));
    }
    for (name, value) in outputs {
        log.set_output_variable(&outputs::variable(name), value);
    }
}

/// Adds the report to `$GITHUB_STEP_SUMMARY`. A step does not fail over it.
fn summarize(environment: &Environment, report: &Report<'_>, log: &Log) {
    let Some(path) = variable(&environment.variables, "GITHUB_STEP_SUMMARY") else { return };
    let file = outputs::writable().append(true).create(true).open(Path::new(path));
    if let Err(error) = file.and_then(|mut file| file.write_all(log.redactor().redact(&report.markdown()).as_bytes())) {
        log.line(&format!("the step summary cannot be written: {}", workspace::error_text(&error)));
    }
}

//! The default command: fetches the file of an export.

mod job;
mod prepare;

use std::cell::RefCell;
use std::io::Write;

use tokio::time::Instant;

use crate::commands::help;
use crate::config::{ApiConfig, ExportRequest, ParsedInputs, RunSelector, UnknownInput};
use crate::context::Step;
use crate::environment::Environment;
use crate::error::StepError;
use crate::report::history::History;
use crate::report::log::Log;
use crate::report::message::{self, MessageContext};
use crate::report::outputs::{self, Output};
use crate::report::summary::Summary;
use crate::workspace;
use job::Job;
use prepare::Prepared;

/// Maximum number of unknown inputs that become warnings. GitHub shows at most ten warnings of a step.
const MAX_UNKNOWN_INPUT_WARNINGS: usize = 3;

/// Runs the command, and returns its exit code.
#[must_use]
pub(crate) fn run(environment: &Environment) -> u8 {
    let start = Instant::now();
    let log = Log::new(environment.ci_system(), start);
    let inputs = super::parse_inputs(environment, &log);
    warn_unknown_inputs(&inputs, &log);

    let (result, history) = match prepare::prepare(environment, &inputs, &log) {
        Ok(prepared) => fetch(prepared, start, &log),
        Err(error) => (Err(error), History::default()),
    };

    report(environment, &inputs, &history, result.as_ref().err(), start, &log);
    result.map_or_else(|error| error.exit_code().into(), |()| 0)
}

fn warn_unknown_inputs(inputs: &ParsedInputs, log: &Log) {
    for (index, UnknownInput { variable, similar }) in inputs.unknown.iter().enumerate() {
        let hint = match similar {
            Some(input) => format!("did you mean {input}?"),
            None => "--help lists all inputs".to_owned(),
        };
        let message = format!("unknown input {variable} ignored; {hint}");
        if index < MAX_UNKNOWN_INPUT_WARNINGS {
            log.warning(&message);
        } else {
            log.line(&format!("warning: {message}"));
        }
    }
}

/// Runs the job until it ends or a signal ends it, and writes the outputs.
fn fetch(prepared: Prepared<'_>, start: Instant, log: &Log) -> (Result<(), StepError>, History) {
    let Prepared { api_config, request, clients, destination, mut sinks } = prepared;
    log.plain(&headline(api_config, request));

    let (identity, run_history) = (RefCell::default(), RefCell::default());
    let step = Step::new(api_config, start, log);
    let job = Job::new(step.context(&run_history), request, &clients, &destination, &identity);
    let result = super::block_on(job.execute());
    let has_responded = step.has_responded();
    drop(job);
    drop(destination);

    let history = History { identity: identity.into_inner(), has_responded, run: run_history.into_inner() };
    let outputs = outputs::collect(&history);
    let written = sinks.write(&outputs);
    log_outputs(&outputs, log);
    let result = match (result, written) {
        (Ok(()), Err(error)) => Err(StepError::Local(error)),
        (result, Err(error)) => {
            log.line(&format!("{error:#}"));
            result
        }
        (result, Ok(())) => result,
    };
    (result, history)
}

/// Returns the first line of the log: what is fetched from where.
fn headline(api_config: &ApiConfig, request: &ExportRequest) -> String {
    let (export, host) = (&request.export, api_config.base_url.host());
    let run = match request.run {
        RunSelector::Id(run) => format!("run {run}"),
        RunSelector::Latest => "the latest run".to_owned(),
        RunSelector::New => "a new run".to_owned(),
    };
    let identity = match &request.identity {
        Some(identity) if request.uses_identity() => format!(", {identity}"),
        _ => String::new(),
    };
    format!("{}: fetching {run} of {export}{identity} from {host}", help::VERSION)
}

fn log_outputs(outputs: &[Output], log: &Log) {
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

/// Writes the step summary, and logs the error.
fn report(
    environment: &Environment,
    inputs: &ParsedInputs,
    history: &History,
    error: Option<&StepError>,
    start: Instant,
    log: &Log,
) {
    let context = inputs.api_config.as_ref().zip(inputs.request.as_ref());
    let context = context.map(|(api_config, request)| MessageContext { api_config, request: Some(request) });
    let message = error.map(|error| message::render(error, context, history));

    let summary = Summary { context, history, error: message.as_deref(), total_duration: start.elapsed() };
    write_summary(environment, &summary, log);
    if let Some(message) = &message {
        log.error(message);
    }
}

/// Appends the summary to `$GITHUB_STEP_SUMMARY`. If that fails, the step does not.
fn write_summary(environment: &Environment, summary: &Summary<'_>, log: &Log) {
    let Some(path) = environment.variable("GITHUB_STEP_SUMMARY") else { return };
    let text = summary.markdown();
    let text = log.redactor().redact(&text);
    let file = outputs::writable().append(true).create(true).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
        log.line(&format!("cannot write the step summary: {}", workspace::error_text(&error)));
    }
}

//! The default command, which fetches the files of exports and PDF Manager templates; and `check`, which only verifies.

mod job;
mod names;
mod prepare;
mod run;
mod shared;

use std::io::Write;

use tokio::time::Instant;

use crate::commands::help;
use crate::config::{Action, ApiConfig, FetchRequest, Mode, RunSelector};
use crate::context::Step;
use crate::environment::Environment;
use crate::error::{ExitCode, StepError};
use crate::report::Report;
use crate::report::history::History;
use crate::report::log::Log;
use crate::report::message::{self, MessageContext};
use crate::report::outputs::{self, Output, OutputSinks};
use crate::report::summary::Summary;
use crate::workspace;
use prepare::Prepared;
use shared::{Histories, Shared};

/// Runs the command, and returns its exit code.
#[must_use]
pub(crate) fn run(environment: &Environment) -> u8 {
    execute(environment, None)
}

/// Ends the step because of invalid arguments. The outputs and the step summary are written as for invalid inputs. Returns the exit
/// code.
#[must_use]
pub(crate) fn reject(environment: &Environment, error: StepError) -> u8 {
    execute(environment, Some(error))
}

fn execute(environment: &Environment, argument_error: Option<StepError>) -> u8 {
    let start = Instant::now();
    let log = Log::new(environment.ci_system(), start);
    let inputs = super::parse_inputs(environment, &log);
    super::warn_unknown_inputs(&inputs, &log);

    let (mut sinks, prepared) = prepare::prepare(environment, &inputs, argument_error, &log);
    let (error, history) = match prepared {
        Ok(prepared) => run_job(prepared, start, &log),
        Err(error) => {
            // With invalid inputs, no run was requested, even if the inputs that select runs are valid.
            let request = inputs.request.as_ref().filter(|_| error.exit_code() != ExitCode::Inputs);
            (Some(error), History::new(request))
        }
    };

    let context = inputs.api_config.as_ref().zip(inputs.request.as_ref());
    let context = context.map(|(api_config, request)| MessageContext { api_config, request: Some(request) });
    let report = Report { context, history: &history, error: error.as_ref(), unwritten: None };
    let unwritten = write_outputs(&report, &mut sinks, &log);
    let report = Report { unwritten: unwritten.as_ref(), ..report };
    if let Some(inputs) = report.inputs_for_later() {
        log.plain(&format!("to download the files later, replace wait: false with {}", inputs.join(" and ")));
    }
    report_result(environment, &report, start, &log);
    if report.exit_code() == ExitCode::Success && inputs.request.as_ref().is_some_and(FetchRequest::is_check) {
        log.plain("the check passed; nothing was started or downloaded");
    }
    report.exit_code().into()
}

/// Runs the job until it ends or a signal ends it. Returns the error that ended the step, if there is one.
fn run_job(prepared: Prepared<'_>, start: Instant, log: &Log) -> (Option<StepError>, History) {
    let Prepared { api_config, request, clients, destination } = prepared;
    log.plain(&headline(api_config, request));

    let histories = Histories::new(History::new(Some(request)));
    let step = Step::new(api_config, start, log);
    let shared = Shared::new(&step, request, &clients, &destination, &histories);
    let result = super::block_on(job::execute(&shared));
    drop(shared);
    // If no file was saved, this removes the directories that were created for the files.
    drop(destination);

    (result.err(), histories.finish(step.has_responded()))
}

/// Returns the first line of the log: what is fetched from where.
fn headline(api_config: &ApiConfig, request: &FetchRequest) -> String {
    let what = match request.only_run() {
        Some(only) => {
            let noun = only.kind.run_noun();
            let run = match only.run {
                RunSelector::Id(run) => format!("{noun} {run}"),
                RunSelector::Latest => format!("the latest {noun}"),
                RunSelector::New => format!("a new {noun}"),
            };
            match only.source {
                Some(_) => format!("{run} of {only}"),
                None => run,
            }
        }
        None => message::count_runs(request),
    };
    let identity = match &request.identity {
        Some(identity) if request.uses_identity() => format!(", {identity}"),
        _ => String::new(),
    };
    let (verb, at) = match request.mode {
        Mode::Execute(Action::Fetch) => ("fetching", "from"),
        Mode::Execute(Action::Start) => ("starting", "at"),
        Mode::Check(_) => ("checking the inputs for", "at"),
    };
    format!("{}: {verb} {what}{identity} {at} {}", help::NAME_AND_VERSION, api_config.base_url.host())
}

/// Writes and logs the outputs. Returns the error if they cannot be written.
fn write_outputs(report: &Report<'_>, sinks: &mut OutputSinks, log: &Log) -> Option<StepError> {
    let outputs = outputs::collect(report);
    let written = sinks.write(&outputs);
    log_outputs(&outputs, log);

    written.err().map(StepError::UnwrittenOutputs)
}

fn log_outputs(outputs: &[Output], log: &Log) {
    log.plain("outputs:");
    for (name, value) in outputs::with_value(outputs) {
        log.plain(&format!("  {name}={}", value.join_lines(", ")));
    }
    for (name, value) in outputs::with_value(outputs) {
        log.set_output_variable(&outputs::variable(name), &value.join_lines("\n"));
    }
}

/// Writes the step summary, and logs the error.
fn report_result(environment: &Environment, report: &Report<'_>, start: Instant, log: &Log) {
    let message = report.message();
    let summary = Summary { report: *report, error: message.as_deref(), total_duration: start.elapsed() };
    write_summary(environment, &summary, log);

    for line in report.details() {
        log.plain(&line);
    }
    if let Some(message) = &message {
        log.error(message);
    }
}

/// Appends the summary to `$GITHUB_STEP_SUMMARY`. If that fails, the step does not.
fn write_summary(environment: &Environment, summary: &Summary<'_>, log: &Log) {
    let Some(path) = environment.variable("GITHUB_STEP_SUMMARY") else { return };
    let text = summary.markdown();
    let text = log.redactor().redact(&text);
    let file = outputs::nonblocking_options().append(true).create(true).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
        log.line(&format!("cannot write the step summary: {}", workspace::error_text(&error)));
    }
}

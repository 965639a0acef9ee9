//! Everything that users and later steps get: the log, the outputs, the step summary and the messages.

pub(crate) mod failures;
pub(crate) mod hints;
pub mod history;
pub mod log;
pub(crate) mod message;
pub mod outputs;
pub(crate) mod summary;
mod unresolved;

use crate::error::{ExitCode, StepError};
use history::History;
use message::MessageContext;

/// How a step ended. Outputs, step summary and the error message are made from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report<'a> {
    /// The configuration; `None` if it could not be parsed.
    pub(crate) context: Option<MessageContext<'a>>,
    pub(crate) history: &'a History,
    /// The error that ended the step. The errors of the runs are in the history.
    pub(crate) error: Option<&'a StepError>,
    /// Why the outputs cannot be written.
    pub(crate) unwritten: Option<&'a StepError>,
}

impl Report<'_> {
    /// Returns the exit code of the step.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let runs = self.history.failed_runs().map(|(.., error)| error);
        ExitCode::most_severe(runs.chain(self.error).chain(self.unwritten).map(StepError::exit_code))
    }

    /// Returns the inputs that fetch the files in a later step, in place of `wait: false`, if this one only started the runs.
    pub(crate) fn inputs_for_later(&self) -> Option<Vec<String>> {
        let request = self.context?.request?;
        (request.only_starts() && self.exit_code() == ExitCode::Success).then(|| message::inputs_for_all(self.history))
    }

    /// Returns the error message of the step, if it failed.
    pub(crate) fn message(&self) -> Option<String> {
        let failures = failures::render(self.error, self.context, self.history);
        let unwritten = self.unwritten.map(|error| message::render(error, self.context, self.history));
        let messages: Vec<String> = failures.into_iter().chain(unwritten).collect();
        (!messages.is_empty()).then(|| messages.join("\n"))
    }

    /// Returns the whole messages of the runs that failed, for the log. Empty if a single run is requested: the error message of the
    /// step has everything.
    pub(crate) fn details(&self) -> Vec<String> {
        if self.history.only_run().is_some() {
            return Vec::new();
        }
        let failed = self.history.failed_runs();
        let messages = failed.filter_map(|(index, run, _)| Some((run, self.run_error(index)?.1)));
        messages.flat_map(|(run, text)| lines_of(&run.label, &text)).collect()
    }

    /// Returns why a run failed: its own error, or if it was not finished, the error that ended the step.
    pub(crate) fn run_error(&self, run: usize) -> Option<(ExitCode, String)> {
        let history = self.history.runs.get(run)?;
        let step_error = self.error.filter(|_| !history.is_finished);
        let error = history.error.as_ref().or(step_error)?;
        let message = match self.context {
            Some(context) => message::render_run(error, context, self.history, run),
            None => error.to_string(),
        };
        Some((error.exit_code(), message))
    }
}

/// Returns the lines of a message below a heading.
fn lines_of(heading: &str, message: &str) -> Vec<String> {
    let lines = message.lines().map(|line| format!("  {line}"));
    [format!("failed: {heading}")].into_iter().chain(lines).collect()
}

//! The message about everything that failed in a step. With several runs, it has one line for each that failed.

use crate::config::FetchRequest;
use crate::error::StepError;
use crate::report::history::History;
use crate::report::message::{self, MessageBuilder, MessageContext};
use crate::text::{format, sanitize};

/// Maximum length of the line about a run, in characters. GitHub shows 4,096 of a message.
const MAX_LINE_LENGTH: usize = 180;

/// Maximum number of lines.
const MAX_LINES: usize = 20;

/// Renders everything that failed in a step: the error that ended it, if there is one, and the errors of the runs. Returns `None` if
/// nothing failed.
#[must_use]
pub(crate) fn render(
    error: Option<&StepError>,
    context: Option<MessageContext<'_>>,
    history: &History,
) -> Option<String> {
    if let Some(run) = history.only_run() {
        return error.or(run.error.as_ref()).map(|error| message::render(error, context, history));
    }
    let runs = context.and_then(|context| render_failed_runs(error, context, history));
    let error = error.map(|error| message::render(error, context, history));
    match (error, runs) {
        (Some(error), Some(runs)) => Some(format!("{error}\n{runs}")),
        (error, runs) => error.or(runs),
    }
}

/// Returns which runs failed and why, or `None` if none did.
fn render_failed_runs(error: Option<&StepError>, context: MessageContext<'_>, history: &History) -> Option<String> {
    let failed = history.failed_runs().count();
    if failed == 0 {
        return None;
    }

    let (runs, state) = (format::count(history.runs.len(), "run"), message::describe_result(context, history, error));
    let have_timed_out = history.failed_runs().all(|(.., error)| matches!(error, StepError::TimedOut));
    let is_check = context.request.is_some_and(FetchRequest::is_check);
    let what = if have_timed_out { "timed out" } else { "failed" };
    let mut message = format!("{failed} of {runs} {what}; {state}");
    for (index, run, error) in history.failed_runs().take(MAX_LINES) {
        let cause = MessageBuilder { context, history, run: Some(index) }.cause(error);
        let id = run.id.map(|id| format!("{} {id}", run.kind.run_noun()));
        // The label of a batch without a template is its id.
        let id = id.filter(|id| *id != run.label).map(|id| format!(" ({id})")).unwrap_or_default();
        // The label is a server's text, which must not be at the start of a line.
        let line = sanitize::truncate(&format!("- {}{id}: {cause}", run.label), MAX_LINE_LENGTH);
        message.push_str(&format!("\n{line}"));
    }
    if failed > MAX_LINES {
        message.push_str(&format!("\n… and {} more", failed - MAX_LINES));
    }
    let hint = match message::inputs_for_all(history) {
        // The runs continue in WebAdMIT, and one step can wait for all of them.
        inputs if have_timed_out && !is_check && history.runs.iter().all(|run| run.id.is_some()) => {
            format!("set a longer timeout, or re-run the step with {} to wait for the same runs", inputs.join(" and "))
        }
        _ => "the log has the whole message of each of these runs, and what to do".to_owned(),
    };
    message.push_str(&format!("\nhint: {hint}"));
    Some(message)
}

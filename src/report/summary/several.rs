//! The summary of a step with several runs: a row for each, and a section for each in the diagram.

use super::{MAX_FILES, Summary, code, code_block, describe, headline};
use crate::report::history::RunHistory;
use crate::text::format::{self, duration};
use crate::webadmit::status::Status;
use crate::webadmit::{CreationTime, RunKind};

/// Maximum number of failed runs whose messages are shown. Keeps the summary short; each has up to twenty lines.
const MAX_MESSAGES: usize = 20;

impl Summary<'_> {
    pub(super) fn several_runs(&self) -> Vec<Option<String>> {
        let runs: Vec<&RunHistory> = self.report.history.runs.iter().collect();
        vec![
            Some(headline(&self.outcome_without_fetching().unwrap_or_else(|| self.outcome_of_several()))),
            self.error.map(code_block),
            Some(self.runs_table()),
            Some(self.facts()),
            self.inputs_for_later(),
            self.messages(),
            self.retries_of_several(),
            self.diagram(&runs),
        ]
    }

    fn outcome_of_several(&self) -> String {
        let runs = &self.report.history.runs;
        let failed = self.report.history.failed_runs().count();
        let saved = runs.iter().map(|run| run.saved.len()).sum();
        let files = if saved == 0 { "no file was".to_owned() } else { format::count(saved, "file") };
        let has_failed = runs.iter().any(|run| run.status() == Some(&Status::Failed));
        let has_errors = runs.iter().any(|run| run.status() == Some(&Status::SuccessWithErrors));
        match (self.error, failed) {
            (None, _) if has_errors => {
                format!("⚠️ {files} saved, but WebAdMIT reported errors; applicants may be missing")
            }
            (None, _) if has_failed => format!("⚠️ {files} saved, but runs failed in WebAdMIT"),
            (None, _) if saved == 0 => "✅ No file: see the statuses".to_owned(),
            (None, _) => format!("✅ {files} saved"),
            (Some(_), 0) if saved == 0 => "❌ No file was saved".to_owned(),
            (Some(_), 0) => format!("❌ {files} saved, but the step failed"),
            (Some(_), failed) => format!("❌ {failed} of {} failed; {files} saved", format::count(runs.len(), "run")),
        }
    }

    fn runs_table(&self) -> String {
        let rows: Vec<String> = self.report.history.runs.iter().map(row).collect();
        format!(
            "| | Export | Run | Status | File | Size | Created (UTC) |\n| --- | --- | --- | --- | --- | --- | --- |\n{}",
            rows.join("\n")
        )
    }

    /// Returns what concerns the whole step: identity, API and total time.
    fn facts(&self) -> String {
        let context = self.report.context;
        let identity = context.and_then(|context| self.identity(context.request?));
        let facts = [
            identity.map(|identity| format!("Identity: {identity}")),
            context.map(|context| format!("API: {}", code(&context.api_config.base_url.host()))),
            Some(format!("Total time: {}", duration(self.total_duration))),
        ];
        facts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
    }

    /// Returns the whole messages of the runs that failed, which the error message shortens.
    fn messages(&self) -> Option<String> {
        let failed = self.report.history.failed_runs().take(MAX_MESSAGES);
        let messages = failed.filter_map(|(index, ..)| self.report.run_error(index));
        let messages: Vec<String> = messages.map(|(_, message)| code_block(&message)).collect();
        (!messages.is_empty()).then(|| messages.join("\n\n"))
    }

    fn retries_of_several(&self) -> Option<String> {
        let history = self.report.history;
        let of_run = |run: &RunHistory| (code(&run.label), run.recovery_summary());
        let shared = ("All runs".to_owned(), history.shared.recovery_summary());
        let lines = [shared].into_iter().chain(history.runs.iter().map(of_run)).filter(|(_, text)| !text.is_empty());
        let lines: Vec<String> = lines.map(|(who, text)| format!("- {who}: {text}")).collect();
        (!lines.is_empty()).then(|| format!("{}:\n\n{}", self.recovery_label(), lines.join("\n")))
    }
}

fn row(run: &RunHistory) -> String {
    let outcome = match (&run.error, run.status()) {
        (Some(_), _) => "❌",
        (None, _) if !run.is_finished => "—",
        (None, Some(Status::SuccessWithErrors | Status::Failed)) => "⚠️",
        (None, _) => "✅",
    };
    let source = run.source.as_ref().map_or_else(|| code(&run.label), describe);
    let source = if run.kind == RunKind::Export { source } else { format!("PDF template {source}") };
    let id = run.id.map(|id| id.to_string()).unwrap_or_default();
    let status = run.status().map(|status| code(status.name())).unwrap_or_default();
    let files = || run.saved.iter().take(MAX_FILES);
    let mut paths: Vec<String> = files().map(|file| code(&file.path)).collect();
    let sizes: Vec<String> = files().map(|file| unbroken(&format::bytes(file.size))).collect();
    // The time itself, because the summary is read later.
    let created: Vec<String> = files().map(|file| file.created.map(minute).unwrap_or_default()).collect();
    if run.saved.len() > MAX_FILES {
        paths.push(format!("… and {} more", run.saved.len() - MAX_FILES));
    }
    let [paths, sizes, created] = [paths, sizes, created].map(|cells| cells.join("<br>"));
    format!("| {outcome} | {source} | {id} | {status} | {paths} | {sizes} | {created} |")
}

/// Returns the minute of a time: `2026-11-28 04:19`.
fn minute(created: CreationTime) -> String {
    let minute: String = created.to_string().chars().take("2026-11-28T04:19".len()).collect();
    unbroken(&minute.replace('T', " "))
}

/// Returns a value with no-break spaces and hyphens, so that the lines of the columns stay side by side.
fn unbroken(value: &str) -> String {
    value.replace(' ', "\u{a0}").replace('-', "\u{2011}")
}

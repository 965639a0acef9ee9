//! The step summary: a short Markdown report for people who do not read the log.

use std::time::Duration;

use crate::config::{Action, FetchRequest, IdentitySelector, Mode, RunRequest, RunSelector, SourceSelector};
use crate::report::Report;
use crate::report::history::{ResolvedName, RunHistory, SavedFile, StatusChange, TextEncoding};
use crate::report::message::{self, MessageContext};
use crate::text::format::{self, bytes, duration};
use crate::webadmit::RunKind;
use crate::webadmit::status::Status;

mod several;

/// Minimum duration of a bar in the diagram. A shorter one would be invisible.
const MIN_BAR: Duration = Duration::from_secs(1);

/// Maximum number of files of a run that are shown. GitHub drops a summary over 1 MiB.
const MAX_FILES: usize = 50;

/// The data of the summary.
#[derive(Debug)]
pub(crate) struct Summary<'a> {
    pub(crate) report: Report<'a>,
    /// The error message, if the step failed.
    pub(crate) error: Option<&'a str>,
    /// Duration of the step.
    pub(crate) total_duration: Duration,
}

impl Summary<'_> {
    /// Returns the summary in Markdown. It ends with an empty line, so that the next step's summary starts a new paragraph.
    #[must_use]
    pub(crate) fn markdown(&self) -> String {
        let parts = if self.report.history.runs.len() > 1 { self.several_runs() } else { self.single_run() };
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        format!("{}\n\n", parts.join("\n\n"))
    }

    fn single_run(&self) -> Vec<Option<String>> {
        let Some(run) = self.report.history.only_run() else {
            return vec![Some(headline("❌ No file was saved")), self.error.map(code_block)];
        };
        vec![
            Some(headline(&self.outcome_without_fetching().unwrap_or_else(|| self.outcome(run)))),
            self.error.map(code_block),
            self.report.context.map(|context| self.table(context, run)),
            self.inputs_for_later(),
            self.retries(run),
            self.diagram(&[run]),
        ]
    }

    /// Returns the request, unless its inputs are invalid.
    fn request(&self) -> Option<&FetchRequest> {
        self.report.context?.request
    }

    /// Whether the step waited for the runs and downloaded their files.
    fn has_fetched(&self) -> bool {
        self.request().is_some_and(|request| request.mode == Mode::Execute(Action::Fetch))
    }

    /// Returns the outcome of a check, or of a step that only started the runs.
    fn outcome_without_fetching(&self) -> Option<String> {
        match (self.request()?.mode, self.error) {
            (Mode::Check(_), None) => Some("✅ The check passed; no run was started".to_owned()),
            (Mode::Check(_), Some(_)) => Some("❌ The check failed; no run was started".to_owned()),
            (Mode::Execute(Action::Start), None) => Some(match self.report.history.runs.as_slice() {
                [RunHistory { kind, id: Some(id), .. }] => format!("✅ Started {} {id}", kind.run_noun()),
                runs => format!("✅ Started {}", format::count(runs.len(), "run")),
            }),
            (Mode::Execute(Action::Start), Some(_)) => Some(self.outcome_of_failed_start()),
            (Mode::Execute(Action::Fetch), _) => None,
        }
    }

    fn outcome_of_failed_start(&self) -> String {
        let history = self.report.history;
        let started = history.known_runs();
        match history.runs.as_slice() {
            [RunHistory { kind, id: Some(id), .. }] => {
                format!("❌ Started {} {id}, but the step failed", kind.run_noun())
            }
            _ if message::has_no_run(history, self.report.error) => "❌ No run was started".to_owned(),
            _ if started == 0 => "❌ WebAdMIT may have started runs, but the step failed".to_owned(),
            runs => format!("❌ Started {started} of {}, but the step failed", format::count(runs.len(), "run")),
        }
    }

    fn outcome(&self, run: &RunHistory) -> String {
        let saved = match run.saved.as_slice() {
            [] => None,
            [file] => Some(code(&file.path)),
            files => Some(format::count(files.len(), "file")),
        };
        match (saved, self.error, run.status()) {
            (Some(saved), None, Some(Status::SuccessWithErrors)) => {
                format!("⚠️ {saved} saved, but WebAdMIT reported errors; applicants may be missing")
            }
            (Some(saved), None, _) => format!("✅ {saved} saved"),
            (Some(saved), Some(_), Some(Status::SuccessWithErrors)) => {
                format!("❌ {saved} saved, but the {} ended with status `success_with_errors`", run.kind.run_noun())
            }
            (Some(saved), Some(_), _) => format!("❌ {saved} saved, but the step failed"),
            (None, None, Some(Status::Failed)) => {
                format!("⚠️ No file: the {} failed in WebAdMIT", run.kind.run_noun())
            }
            (None, None, Some(status)) => {
                format!("✅ No file: the {} ended with status {}", run.kind.run_noun(), code(status.name()))
            }
            (None, None, None) => "✅ Done".to_owned(),
            (None, Some(_), _) => "❌ No file was saved".to_owned(),
        }
    }

    fn table(&self, context: MessageContext<'_>, run: &RunHistory) -> String {
        let request = context.request.and_then(|request| Some((request, request.only_run()?)));
        let mut rows = request.map(|(request, only)| self.request_rows(request, only, run)).unwrap_or_default();
        rows.push(("API", code(&context.api_config.base_url.host())));
        if let Some(status) = run.status() {
            rows.push(("Status", format!("{}{}", code(status.name()), checks(run))));
        }
        rows.extend(run.saved.iter().take(MAX_FILES).flat_map(file_rows));
        if run.saved.len() > MAX_FILES {
            rows.push(("Files", format!("… and {} more", run.saved.len() - MAX_FILES)));
        }
        rows.push(("Total time", duration(self.total_duration)));

        let rows: Vec<String> = rows.iter().map(|(name, value)| format!("| {name} | {value} |")).collect();
        format!("| | |\n| --- | --- |\n{}", rows.join("\n"))
    }

    /// Returns the resolved identity, export and run, or else what the inputs select.
    fn request_rows(&self, request: &FetchRequest, only: &RunRequest, run: &RunHistory) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        rows.extend(self.identity(request).map(|identity| ("Identity", identity)));

        let source = match (&run.source, &only.source) {
            (Some(source), _) => Some(describe(source)),
            (None, Some(SourceSelector::Id(id))) => Some(id.to_string()),
            (None, Some(SourceSelector::Name(name))) => Some(code(name)),
            (None, None) => None,
        };
        let (source_title, run_title) = match run.kind {
            RunKind::Export => ("Export", "Run"),
            RunKind::PdfBatch => ("PDF template", "Batch"),
        };
        rows.extend(source.map(|source| (source_title, source)));
        let id = match (only.run, run.id) {
            (RunSelector::Id(run), _) => run.to_string(),
            (RunSelector::New, Some(run)) => format!("{run}, started by this step"),
            (RunSelector::New, None) => "a new one".to_owned(),
            (RunSelector::Latest, Some(run)) => format!("{run}, the latest"),
            (RunSelector::Latest, None) => "the latest".to_owned(),
        };
        rows.push((run_title, id));
        rows
    }

    /// Returns the resolved identity, or else the value of the input.
    fn identity(&self, request: &FetchRequest) -> Option<String> {
        match (&self.report.history.identity, &request.identity) {
            _ if !request.uses_identity() => None,
            (Some(identity), _) => Some(describe(identity)),
            (None, Some(IdentitySelector::Words(words))) => Some(code(words)),
            (None, Some(IdentitySelector::Id(_)) | None) => None,
        }
    }

    fn retries(&self, run: &RunHistory) -> Option<String> {
        let recovery = run.recovery_summary();
        (!recovery.is_empty()).then(|| format!("{}: {recovery}.", self.recovery_label()))
    }

    fn inputs_for_later(&self) -> Option<String> {
        let inputs: Vec<String> = self.report.inputs_for_later()?.iter().map(|input| code(input)).collect();
        Some(format!("To download the files later, replace `wait: false` with {}.", inputs.join(" and ")))
    }

    /// Draws a diagram, unless the step did not wait for the runs.
    fn diagram(&self, runs: &[&RunHistory]) -> Option<String> {
        diagram(runs).filter(|_| self.has_fetched())
    }

    fn recovery_label(&self) -> &'static str {
        if self.error.is_none() { "Recovered from" } else { "Retried" }
    }
}

fn headline(outcome: &str) -> String {
    format!("### WebAdMIT export: {outcome}")
}

fn describe(resolved: &ResolvedName) -> String {
    match &resolved.name {
        Some(name) => format!("{}, {}", resolved.id, code(name)),
        None => resolved.id.to_string(),
    }
}

fn checks(run: &RunHistory) -> String {
    let checks = format::count(run.checks, "check");
    match run.statuses.len() {
        0 | 1 => format!(" ({checks})"),
        _ => format!(", {} after the first check ({checks})", duration(run.waited())),
    }
}

/// Draws the statuses of the runs over time, unless all had ended before the first check. With several runs, each has a section. The
/// times are relative to the start of the step, on an arbitrary day: the diagram shows no dates.
fn diagram(runs: &[&RunHistory]) -> Option<String> {
    let was_in_progress = |run: &&RunHistory| run.statuses.iter().any(|change| !change.status.is_terminal());
    if !runs.iter().any(was_in_progress) {
        return None;
    }

    let with_status = runs.iter().filter(|run| !run.statuses.is_empty());
    let sections: Vec<Vec<String>> = with_status.map(|run| section(run, runs.len() > 1)).collect();
    let title = if runs.len() > 1 { "Statuses of the runs over time" } else { "Statuses of the run over time" };
    let header = format!("gantt\n    accTitle: {title}\n    dateFormat YYYY-MM-DD HH:mm:ss\n    axisFormat %H:%M:%S");
    Some(format!("```mermaid\n{header}\n{}\n```", sections.concat().join("\n")))
}

/// Returns the bars of a run.
fn section(run: &RunHistory, has_title: bool) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if has_title {
        lines.push(format!("    section {}", section_title(run)));
    }
    for (index, change) in run.statuses.iter().enumerate() {
        let end = run.statuses.get(index + 1).map_or(change.last_seen, |next| next.first_seen);
        lines.push(bar(change, end));
    }
    if let (false, Some(last)) = (run.saved.is_empty(), run.statuses.last()) {
        let took: Duration = run.saved.iter().map(|file| file.download_duration).sum();
        let (start, end) = (last.first_seen, last.first_seen + took.max(MIN_BAR));
        lines.push(format!("    download :active, {}, {}", timestamp(start), timestamp(end)));
    }
    lines
}

/// Returns the title of a section. Mermaid has no escapes, so characters with a meaning are replaced.
fn section_title(run: &RunHistory) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.');
    let title: String = run.label.chars().map(|c| if is_plain(c) { c } else { ' ' }).collect();
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    if title.is_empty() { run.kind.run_noun().to_owned() } else { title }
}

fn file_rows(saved: &SavedFile) -> Vec<(&'static str, String)> {
    let mut rows = vec![("File", code(&saved.path)), ("Size", size(saved.size)), ("SHA-256", code(&saved.sha256))];
    match &saved.encoding {
        TextEncoding::AsSent => {}
        TextEncoding::Converted(conversion) => {
            rows.push(("Encoding", conversion.to_string()));
            rows.push(("SHA-256 before conversion", code(&saved.source_sha256)));
        }
        TextEncoding::NotText(reason) | TextEncoding::NotConverted(reason) => {
            rows.push(("Encoding", format!("not converted: {}", code(reason))));
        }
    }
    if let Some(created) = saved.created {
        rows.push(("Created", format!("{} ago ({created})", format::age(created.age()))));
    }
    if let Some(content_type) = &saved.content_type {
        rows.push(("Content type", code(content_type)));
    }
    rows.push((
        "Download",
        format!("{}, {}", duration(saved.download_duration), format::rate(saved.size, saved.download_duration)),
    ));
    rows
}

/// Returns `104.9 MB (104857600 bytes)`, or `16 bytes`.
fn size(count: u64) -> String {
    let short = bytes(count);
    if count < 1000 { short } else { format!("{short} ({count} bytes)") }
}

/// Returns a bar of the diagram, or a milestone for a terminal status. The name of an unknown status has a prefix, so that
/// no text of a server is at a place where Mermaid has keywords.
fn bar(change: &StatusChange, end: Duration) -> String {
    let name = match &change.status {
        Status::Unknown(name) => format!("unknown status {name}"),
        known => known.to_string(),
    };
    let start = timestamp(change.first_seen);
    if change.status.is_terminal() {
        return format!("    {name} :milestone, {start}, 0d");
    }
    format!("    {name} :{start}, {}", timestamp(end.max(change.first_seen + MIN_BAR)))
}

fn timestamp(since_start: Duration) -> String {
    let seconds = since_start.as_secs();
    let (day, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("2000-01-{:02} {hours:02}:{minutes:02}:{:02}", day.min(30) + 1, seconds % 60)
}

/// Returns text as a Markdown code span, also inside a table. Text with a character that would end the span or the cell
/// becomes HTML with entities.
#[must_use]
pub(crate) fn code(text: &str) -> String {
    if !text.is_empty()
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.contains(['`', '|', '\\', '\n', '\r'])
    {
        return format!("`{text}`");
    }
    let escaped: String = text
        .chars()
        .map(|c| if c.is_alphanumeric() || c == ' ' { c.to_string() } else { format!("&#{};", u32::from(c)) })
        .collect();
    format!("<code>{escaped}</code>")
}

/// Returns text as a Markdown code block. Its fence is longer than any run of backticks in the text.
fn code_block(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}")
}

#[cfg(test)]
mod tests;

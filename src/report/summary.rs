//! The step summary: a short Markdown report for people who do not read the log.

use std::time::Duration;

use crate::config::{ExportRequest, ExportSelector, IdentitySelector, RunSelector};
use crate::report::history::{History, ResolvedName, SavedFile, StatusChange, TextEncoding};
use crate::report::message::MessageContext;
use crate::text::format::{self, bytes, duration};
use crate::webadmit::status::Status;

/// Minimum duration of a bar in the diagram. A shorter one would be invisible.
const MIN_BAR: Duration = Duration::from_secs(1);

/// The data of the summary.
#[derive(Debug)]
pub(crate) struct Summary<'a> {
    /// The configuration; `None` if the inputs are invalid.
    pub(crate) context: Option<MessageContext<'a>>,
    pub(crate) history: &'a History,
    /// The error message, if the step failed.
    pub(crate) error: Option<&'a str>,
    /// Duration of the step.
    pub(crate) total_duration: Duration,
}

impl Summary<'_> {
    /// Returns the summary in Markdown. It ends with an empty line, so that the next step's summary starts a new paragraph.
    #[must_use]
    pub(crate) fn markdown(&self) -> String {
        let parts = [
            Some(self.headline()),
            self.error.map(code_block),
            self.context.map(|context| self.table(context)),
            self.retries(),
            self.diagram(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        format!("{}\n\n", parts.join("\n\n"))
    }

    fn headline(&self) -> String {
        let run = &self.history.run;
        let outcome = match (&run.saved, self.error, run.status()) {
            (Some(saved), None, Some(Status::SuccessWithErrors)) => {
                format!("⚠️ {} saved, but WebAdMIT reported errors; applicants may be missing", code(&saved.path))
            }
            (Some(saved), None, _) => format!("✅ {} saved", code(&saved.path)),
            (Some(saved), Some(_), Some(Status::SuccessWithErrors)) => {
                format!("❌ {} saved, but the run ended with status `success_with_errors`", code(&saved.path))
            }
            (Some(saved), Some(_), _) => format!("❌ {} saved, but the step failed", code(&saved.path)),
            (None, None, Some(status)) => format!("✅ No file: the run ended with status {}", code(status.name())),
            (None, None, None) => "✅ Done".to_owned(),
            (None, Some(_), _) => "❌ No file was saved".to_owned(),
        };
        format!("### WebAdMIT export: {outcome}")
    }

    fn table(&self, context: MessageContext<'_>) -> String {
        let mut rows = context.request.map(|request| self.request_rows(request)).unwrap_or_default();
        rows.push(("API", code(&context.api_config.base_url.host())));
        if let Some(status) = self.history.run.status() {
            rows.push(("Status", format!("{}{}", code(status.name()), self.checks())));
        }
        if let Some(saved) = &self.history.run.saved {
            rows.extend(file_rows(saved));
        }
        rows.push(("Total time", duration(self.total_duration)));

        let rows: Vec<String> = rows.iter().map(|(name, value)| format!("| {name} | {value} |")).collect();
        format!("| | |\n| --- | --- |\n{}", rows.join("\n"))
    }

    /// Returns identity, export and run: as they were resolved, or as the inputs select them.
    fn request_rows(&self, request: &ExportRequest) -> Vec<(&'static str, String)> {
        let describe = |resolved: &ResolvedName| match &resolved.name {
            Some(name) => format!("{}, {}", resolved.id, code(name)),
            None => resolved.id.to_string(),
        };
        let mut rows = Vec::new();

        match (&self.history.identity, &request.identity) {
            (Some(identity), _) => rows.push(("Identity", describe(identity))),
            (None, Some(IdentitySelector::Words(words))) => rows.push(("Identity", code(words))),
            (None, Some(IdentitySelector::Id(_)) | None) => {}
        }
        rows.push(match (&self.history.run.export, &request.export) {
            (Some(export), _) => ("Export", describe(export)),
            (None, ExportSelector::Id(id)) => ("Export", id.to_string()),
            (None, ExportSelector::Name(name)) => ("Export", code(name)),
        });
        let run = match (request.run, self.history.run.id) {
            (RunSelector::Id(run), _) => run.to_string(),
            (RunSelector::New, Some(run)) => format!("{run}, started by this step"),
            (RunSelector::New, None) => "a new one".to_owned(),
            (RunSelector::Latest, Some(run)) => format!("{run}, the latest"),
            (RunSelector::Latest, None) => "the latest".to_owned(),
        };
        rows.push(("Run", run));
        rows
    }

    fn checks(&self) -> String {
        let run = &self.history.run;
        let checks = format::count(run.checks, "check");
        match run.statuses.len() {
            0 | 1 => format!(" ({checks})"),
            _ => format!(", {} after the first check ({checks})", duration(run.waited())),
        }
    }

    fn retries(&self) -> Option<String> {
        let recovery = self.history.run.recovery_summary();
        let label = if self.error.is_none() { "Recovered from" } else { "Retried" };
        (!recovery.is_empty()).then(|| format!("{label}: {recovery}."))
    }

    /// Draws the statuses of the run over time, unless it had ended before the first check. The times are relative to the
    /// start of the step, on an arbitrary day: the diagram shows no dates.
    fn diagram(&self) -> Option<String> {
        let run = &self.history.run;
        if run.statuses.iter().all(|change| change.status.is_terminal()) {
            return None;
        }

        let mut bars: Vec<String> = Vec::new();
        for (index, change) in run.statuses.iter().enumerate() {
            let end = run.statuses.get(index + 1).map_or(change.last_seen, |next| next.first_seen);
            bars.push(bar(change, end));
        }
        if let (Some(saved), Some(last)) = (&run.saved, run.statuses.last()) {
            let (start, end) = (last.first_seen, last.first_seen + saved.download_duration.max(MIN_BAR));
            bars.push(format!("    download :active, {}, {}", timestamp(start), timestamp(end)));
        }

        let header = "gantt\n    accTitle: Statuses of the run over time\n    dateFormat YYYY-MM-DD HH:mm:ss\n    axisFormat %H:%M:%S";
        Some(format!("```mermaid\n{header}\n{}\n```", bars.join("\n")))
    }
}

fn file_rows(saved: &SavedFile) -> Vec<(&'static str, String)> {
    let mut rows = vec![("File", code(&saved.path)), ("Size", size(saved.size)), ("SHA-256", code(&saved.sha256))];
    match &saved.encoding {
        TextEncoding::AsSent => {}
        TextEncoding::Converted(charset) => {
            rows.push(("Encoding", format::conversion(charset, saved.has_changed())));
            rows.push(("SHA-256 before conversion", code(&saved.source_sha256)));
        }
        TextEncoding::NotConverted(reason) => rows.push(("Encoding", format!("not converted: {}", code(reason)))),
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

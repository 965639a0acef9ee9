//! The step summary: a short report in Markdown, for people who would rather not read a log.

use std::time::Duration;

use crate::config::{ExportRequest, ExportSelector, IdentitySelector, RunSelector};
use crate::report::history::{History, ResolvedName, SavedFile, StatusChange, TextEncoding};
use crate::report::message::MessageContext;
use crate::text::format::{self, bytes, duration};
use crate::webadmit::status::Status;

/// Everything that the report tells of.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was asked for, unless it could not be read.
    pub asked: Option<MessageContext<'a>>,
    /// What has happened.
    pub history: &'a History,
    /// What went wrong, if it did: lines of text.
    pub error: Option<&'a str>,
    /// How long the step took.
    pub took: Duration,
}

impl Report<'_> {
    /// The report in Markdown. It ends with an empty line, so that the next step's report begins on its own.
    #[must_use]
    pub fn markdown(&self) -> String {
        let parts = [
            Some(self.headline()),
            self.error.map(fenced),
            self.asked.map(|asked| self.table(asked)),
            self.recovery_summary(),
            self.diagram(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        format!("{}\n\n", parts.join("\n\n"))
    }

    fn headline(&self) -> String {
        let outcome = match (&self.history.saved, self.error, self.history.status()) {
            (Some(saved), None, Some(Status::SuccessWithErrors)) => {
                format!("⚠️ {} is here, but WebAdMIT met errors: it may lack applicants", code(&saved.path))
            }
            (Some(saved), None, _) => format!("✅ {} is here", code(&saved.path)),
            (Some(saved), Some(_), Some(status)) => {
                format!("❌ {} is here, but the run ended as {}", code(&saved.path), code(status.name()))
            }
            (Some(saved), Some(_), None) => format!("❌ {} is here, but the step failed", code(&saved.path)),
            (None, None, Some(status)) => format!("✅ The run ended as {}: there is no file", code(status.name())),
            (None, None, None) => "✅ Done".to_owned(),
            (None, Some(_), _) => "❌ No file was saved".to_owned(),
        };
        format!("### WebAdMIT export: {outcome}")
    }

    fn table(&self, asked: MessageContext<'_>) -> String {
        let mut rows = asked.request.map(|request| self.found(request)).unwrap_or_default();
        rows.push(("WebAdMIT", code(&asked.api_config.base_url.host())));
        if let Some(status) = self.history.status() {
            rows.push(("Status", format!("{}{}", code(status.name()), self.waited())));
        }
        if let Some(saved) = &self.history.saved {
            rows.extend(file_rows(saved));
        }
        rows.push(("Whole step", duration(self.took)));
        let rows: Vec<String> = rows.iter().map(|(name, value)| format!("| {name} | {value} |")).collect();
        format!("| Request and result | |\n| --- | --- |\n{}", rows.join("\n"))
    }

    /// Identity, export and run: what they turned out to be, or how they were asked for.
    fn found(&self, request: &ExportRequest) -> Vec<(&'static str, String)> {
        let known = |known: &ResolvedName| match &known.title {
            Some(title) => format!("{}, {}", known.id, code(title)),
            None => known.id.to_string(),
        };
        let mut rows = Vec::new();
        match (&self.history.identity, &request.identity) {
            (Some(identity), _) => rows.push(("Identity", known(identity))),
            (None, Some(IdentitySelector::Words(words))) => rows.push(("Identity", code(words))),
            (None, Some(IdentitySelector::Id(_)) | None) => {}
        }
        rows.push(match (&self.history.export, &request.export) {
            (Some(export), _) => ("Export", known(export)),
            (None, ExportSelector::Id(id)) => ("Export", id.to_string()),
            (None, ExportSelector::Name(name)) => ("Export", code(name)),
        });
        let run = match (request.run, self.history.run) {
            (RunSelector::Id(run), _) => run.to_string(),
            (RunSelector::New, Some(run)) => format!("{run}, started by this step"),
            (RunSelector::New, None) => "to be started".to_owned(),
            (RunSelector::Latest, Some(run)) => format!("{run}, the latest"),
            (RunSelector::Latest, None) => "the latest".to_owned(),
        };
        rows.push(("Run", run));
        rows
    }

    fn waited(&self) -> String {
        let checks = format::count(self.history.checks, "check");
        match (self.history.asked, self.history.statuses.last()) {
            (Some(asked), Some(seen)) if self.history.statuses.len() > 1 => {
                format!(", {} after the first check ({checks})", duration(seen.first.saturating_sub(asked)))
            }
            _ => format!(" ({checks})"),
        }
    }

    fn recovery_summary(&self) -> Option<String> {
        let recovery_summary = self.history.recovery_summary();
        let verb = if self.error.is_none() { "Survived" } else { "Faults" };
        (!recovery_summary.is_empty()).then(|| format!("{verb} on the way: {recovery_summary}."))
    }

    /// The course of the run, where there was something to wait for. The times are those since the start of the step,
    /// on a day that does not matter: the diagram shows no dates.
    fn diagram(&self) -> Option<String> {
        let statuses = &self.history.statuses;
        if statuses.iter().all(|seen| seen.status.is_terminal()) {
            return None;
        }
        let mut bars: Vec<String> = Vec::new();
        for (index, seen) in statuses.iter().enumerate() {
            let until = statuses.get(index + 1).map_or(seen.last, |next| next.first);
            bars.push(bar(seen, until));
        }
        if let (Some(saved), Some(seen)) = (&self.history.saved, statuses.last()) {
            bars.push(format!(
                "    download :active, {}, {}",
                moment(seen.first),
                moment((seen.first + saved.took).max(seen.first + Duration::from_secs(1)))
            ));
        }
        Some(format!(
            "```mermaid\ngantt\n    accTitle: The course of the run\n    dateFormat YYYY-MM-DD HH:mm:ss\n    axisFormat %H:%M:%S\n{}\n```",
            bars.join("\n")
        ))
    }
}

fn file_rows(saved: &SavedFile) -> Vec<(&'static str, String)> {
    let mut rows = vec![("File", code(&saved.path)), ("Size", size(saved.size)), ("SHA-256", code(&saved.sha256))];
    match &saved.text {
        TextEncoding::AsSent => {}
        TextEncoding::Converted(charset) => {
            rows.push(("Text", format::conversion(charset, saved.has_changed())));
            rows.push(("SHA-256 as sent", code(&saved.source_sha256)));
        }
        TextEncoding::NotConverted(why) => rows.push(("Text", format!("as sent, not converted: {}", code(why)))),
    }
    if let Some(content_type) = &saved.content_type {
        rows.push(("Content type", code(content_type)));
    }
    rows.push(("Download", format!("{}, {}", duration(saved.took), format::rate(saved.size, saved.took))));
    rows
}

/// `104.9 MB (104857600 bytes)`, or where the number of bytes is short anyway, that alone: `16 bytes`.
fn size(count: u64) -> String {
    let short = bytes(count);
    if count < 1000 { short } else { format!("{short} ({count} bytes)") }
}

/// A bar of the diagram, or a point for the end of the run. A status that is not known is named as such, so that no
/// word of a server stands where the diagram's language has its own.
fn bar(seen: &StatusChange, until: Duration) -> String {
    let name = match &seen.status {
        Status::Unknown(name) => format!("unknown status {name}"),
        known => known.to_string(),
    };
    if seen.status.is_terminal() {
        return format!("    {name} :milestone, {}, 0d", moment(seen.first));
    }
    let until = until.max(seen.first + Duration::from_secs(1));
    format!("    {name} :done, {}, {}", moment(seen.first), moment(until))
}

fn moment(since_start: Duration) -> String {
    let seconds = since_start.as_secs();
    let (day, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("2000-01-{:02} {hours:02}:{minutes:02}:{:02}", day.min(30) + 1, seconds % 60)
}

/// Text that Markdown shows as it is, inside a table too. Most names fit into a code span. One with a character that
/// ends the span or the cell is written in HTML, each such character as an entity.
#[must_use]
pub fn code(text: &str) -> String {
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

/// Lines of text as a block that nothing in them can end: its fence is longer than any row of backticks in it.
#[must_use]
pub fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}")
}

#[cfg(test)]
mod tests;

//! The output `files`: all files and runs in JSON.

use serde::Serialize;

use crate::report::Report;
use crate::report::history::{RunHistory, SavedFile};
use crate::text::sanitize;
use crate::webadmit::{Id, RunKind};

/// A file, or a run without one. Every key is always present.
#[derive(Serialize)]
struct Entry<'a> {
    kind: &'static str,
    /// Name of the export or template, if it is known.
    name: Option<&'a str>,
    user_identity_id: Option<Id>,
    export_id: Option<Id>,
    export_file_id: Option<Id>,
    pdf_template_id: Option<Id>,
    pdf_batch_id: Option<Id>,
    /// Last status of the run.
    status: Option<&'a str>,
    path: Option<&'a str>,
    filename: Option<&'a str>,
    size: Option<u64>,
    sha256: Option<&'a str>,
    source_sha256: Option<&'a str>,
    content_type: Option<&'a str>,
    created_at: Option<String>,
    /// Why the run failed.
    error: Option<EntryError>,
}

#[derive(Clone, Serialize)]
struct EntryError {
    /// The exit code of a step with only this run.
    code: u8,
    /// What failed and why, in one line.
    message: String,
}

/// Returns the JSON array in one line.
pub(super) fn json(report: &Report<'_>) -> String {
    let runs = report.history.runs.iter().enumerate();
    let entries: Vec<Entry<'_>> = runs.flat_map(|(index, run)| entries_of_run(report, index, run)).collect();
    // Cannot fail: there are only numbers and strings.
    sanitize::escape_json(&serde_json::to_string(&entries).unwrap_or_default())
}

fn entries_of_run<'a>(report: &Report<'a>, index: usize, run: &'a RunHistory) -> Vec<Entry<'a>> {
    let error = report.run_error(index).map(|(code, message)| {
        let first_line = message.lines().next().unwrap_or_default().to_owned();
        EntryError { code: code.into(), message: first_line }
    });
    let files = if run.saved.is_empty() { vec![None] } else { run.saved.iter().map(Some).collect() };
    files.into_iter().map(|file| entry(report, index, run, file, error.clone())).collect()
}

fn entry<'a>(
    report: &Report<'a>,
    index: usize,
    run: &'a RunHistory,
    file: Option<&'a SavedFile>,
    error: Option<EntryError>,
) -> Entry<'a> {
    let source = run.source.as_ref();
    let (source_id, name) = (source.map(|source| source.id), source.and_then(|source| source.name.as_deref()));
    let of_kind = |kind, id: Option<Id>| id.filter(|_| run.kind == kind);
    Entry {
        kind: match run.kind {
            RunKind::Export => "export",
            RunKind::PdfBatch => "pdf_batch",
        },
        name: name.or_else(|| report.context?.request?.runs.get(index)?.name()),
        user_identity_id: report.history.identity.as_ref().map(|identity| identity.id),
        export_id: of_kind(RunKind::Export, source_id),
        export_file_id: of_kind(RunKind::Export, run.id),
        pdf_template_id: of_kind(RunKind::PdfBatch, source_id),
        pdf_batch_id: of_kind(RunKind::PdfBatch, run.id),
        status: run.status().map(|status| status.name()),
        path: file.map(|file| file.path.as_str()),
        filename: file.map(|file| file.filename.as_str()),
        size: file.map(|file| file.size),
        sha256: file.map(|file| file.sha256.as_str()),
        source_sha256: file.map(|file| file.source_sha256.as_str()),
        content_type: file.and_then(|file| file.content_type.as_deref()),
        created_at: file
            .map_or_else(|| run.too_old_creation_time(), |file| file.created)
            .map(|created| created.to_string()),
        error,
    }
}

//! The outputs: values for later steps.

use std::path::{Path, PathBuf};

use crate::report::Report;
use crate::report::history::History;
use crate::webadmit::{Id, RunKind};

mod file_sink;
mod files;
mod formats;
mod sinks;

pub(crate) use file_sink::nonblocking_options;
pub(crate) use formats::OutputFileFormat;
pub(crate) use sinks::OutputSinks;

/// An output as users see it: in action.yml and in `--help`.
pub struct OutputSpec {
    /// Its name in kebab-case.
    pub name: &'static str,
    /// What its value means, in one sentence.
    pub description: &'static str,
    value: fn(&Report<'_>) -> Option<OutputValue>,
}

/// The value of an output. Text from a server was sanitized when it was received, so no line contains a line break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OutputValue {
    Line(String),
    Number(u64),
    /// Any number of lines. Without any, only JSON has a value.
    Lines(Vec<String>),
    /// JSON in one line.
    Json(String),
}

impl OutputValue {
    /// Returns the value in one line, or its lines with this separator.
    pub(crate) fn join_lines(&self, separator: &str) -> String {
        match self {
            Self::Line(text) | Self::Json(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Lines(lines) => lines.join(separator),
        }
    }
}

/// All outputs, in the order in which they are written. A test compares them with action.yml and the README.
pub const OUTPUTS: [OutputSpec; 15] = [
    OutputSpec {
        name: "status",
        description: "Last status of the run in snake_case, also if the step fails or times out; of several runs, the first of failed, empty_list, unknown, initializing, queued, in_progress, success_with_errors and available that occurs.",
        value: |report| line(report.history.status()),
    },
    OutputSpec {
        name: "user-identity-id",
        description: "Id of the identity, once it is known.",
        value: |report| id(Some(report.history.identity.as_ref()?.id)),
    },
    OutputSpec {
        name: "export-id",
        description: "Id of the export, once it is known; only with a single export.",
        value: |report| id(Some(report.history.only_run_of(RunKind::Export)?.source.as_ref()?.id)),
    },
    OutputSpec {
        name: "export-file-id",
        description: "Id of the run, once it is known; only with a single export.",
        value: |report| id(report.history.only_run_of(RunKind::Export)?.id),
    },
    OutputSpec {
        name: "pdf-template-id",
        description: "Id of the PDF Manager template, once it is known; only with a single template.",
        value: |report| id(Some(report.history.only_run_of(RunKind::PdfBatch)?.source.as_ref()?.id)),
    },
    OutputSpec {
        name: "pdf-batch-id",
        description: "Id of the PDF Manager batch, once it is known; only with a single batch.",
        value: |report| id(report.history.only_run_of(RunKind::PdfBatch)?.id),
    },
    OutputSpec {
        name: "path",
        description: "Path of the file, relative to the workspace if it is inside, else absolute; absent, like the next six outputs, if several runs are requested or a batch has several files.",
        value: |report| line(report.history.only_file().map(|file| &file.path)),
    },
    OutputSpec {
        name: "filename",
        description: "Name of the file.",
        value: |report| line(report.history.only_file().map(|file| &file.filename)),
    },
    OutputSpec {
        name: "size",
        description: "Size of the file in bytes.",
        value: |report| Some(OutputValue::Number(report.history.only_file()?.size)),
    },
    OutputSpec {
        name: "sha256",
        description: "SHA-256 of the file, in lower-case hexadecimal.",
        value: |report| line(report.history.only_file().map(|file| &file.sha256)),
    },
    OutputSpec {
        name: "source-sha256",
        description: "SHA-256 of the bytes that the server sent; differs from sha256 only if the file was converted.",
        value: |report| line(report.history.only_file().map(|file| &file.source_sha256)),
    },
    OutputSpec {
        name: "content-type",
        description: "Media type of the file, if the server declared one; with charset=utf-8 if the file was converted.",
        value: |report| line(report.history.only_file()?.content_type.as_ref()),
    },
    OutputSpec {
        name: "created-at",
        description: "Time when the file was created, in UTC, such as 2026-11-28T04:19:31Z, if the server sent one; also if the file was older than max-age.",
        value: |report| line(report.history.created()),
    },
    OutputSpec {
        name: "paths",
        description: "Paths of all saved files, one per line.",
        value: |report| {
            let files = report.history.runs.iter().flat_map(|run| &run.saved);
            Some(OutputValue::Lines(files.map(|file| file.path.clone()).collect()))
        },
    },
    OutputSpec {
        name: "files",
        description: "JSON array with an object for each saved file, and for each run without one, in the order of the inputs.",
        value: |report| Some(OutputValue::Json(files::json(report))),
    },
];

fn line(value: Option<impl ToString>) -> Option<OutputValue> {
    value.map(|value| OutputValue::Line(value.to_string()))
}

fn id(id: Option<Id>) -> Option<OutputValue> {
    id.map(|id| OutputValue::Number(id.0))
}

/// Name and value of an output; `None` if it has no value.
pub(crate) type Output = (&'static str, Option<OutputValue>);

/// Returns all outputs, in the order of [`OUTPUTS`].
pub(crate) fn collect(report: &Report<'_>) -> Vec<Output> {
    OUTPUTS.iter().map(|output| (output.name, (output.value)(report))).collect()
}

/// Returns all outputs of a step that has done nothing yet: without values, except that there are no files.
fn cleared() -> Vec<Output> {
    collect(&Report { context: None, history: &History::default(), error: None, unwritten: None })
}

/// Returns the outputs that have a value as text.
pub(crate) fn with_value(outputs: &[Output]) -> impl Iterator<Item = (&'static str, &OutputValue)> {
    let with_value = outputs.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
    with_value.filter(|(_, value)| !matches!(value, OutputValue::Lines(lines) if lines.is_empty()))
}

/// Returns the name of an output as a variable: `WEBADMIT_EXPORT_FILE_ID` for `export-file-id`.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("WEBADMIT_{}", name.replace('-', "_").to_uppercase())
}

/// The paths in the inputs that get the outputs, resolved.
#[derive(Clone, Debug, Default)]
pub struct OutputPaths {
    pub(crate) output_file: Option<PathBuf>,
    pub(crate) output_file_format: OutputFileFormat,
    pub(crate) output_directory: Option<PathBuf>,
}

impl OutputPaths {
    /// Returns the input that writes to this path: `output-file` or `output-directory`.
    pub(crate) fn input_for(&self, path: &Path) -> Option<&'static str> {
        if self.output_file.as_deref() == Some(path) {
            return Some("output-file");
        }
        self.output_in_directory(path).map(|_| "output-directory")
    }

    /// Returns the name of the output whose file in the output directory has this path, or would have to be a directory above it.
    pub(crate) fn output_in_directory(&self, path: &Path) -> Option<&'static str> {
        let directory = self.output_directory.as_ref()?;
        OUTPUTS.iter().map(|output| output.name).find(|name| path.starts_with(directory.join(name)))
    }
}

/// The file of the export would have the path of a file with outputs, which was cleared when it was opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot save the file as {path}: {input} has {}the same path", if *input == "output-file" { "" } else { "a file of " })]
pub(crate) struct OutputPathConflict {
    pub(crate) path: String,
    /// The input that names the file with outputs, or its directory.
    pub(crate) input: &'static str,
}

//! The outputs: values for later steps.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use rustix::fs::OFlags;

use crate::report::Report;
use crate::webadmit::RunKind;
use crate::workspace::Workspace;

mod files;

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
    /// Several lines. Not written to the output file, whose lines have one value each.
    Lines(Vec<String>),
    /// JSON in one line. Not written to the output file, whose readers limit its size.
    Json(String),
}

impl OutputValue {
    /// Returns the value in one line, or its lines with this separator.
    pub(crate) fn in_one_line(&self, separator: &str) -> String {
        match self {
            Self::Line(text) | Self::Json(text) => text.clone(),
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
        description: "Id of the identity, if one was used.",
        value: |report| line(report.history.identity.as_ref().map(|identity| identity.id)),
    },
    OutputSpec {
        name: "export-id",
        description: "Id of the export, once it is known; only with a single export.",
        value: |report| line(report.history.only_run_of(RunKind::Export)?.source.as_ref().map(|export| export.id)),
    },
    OutputSpec {
        name: "export-file-id",
        description: "Id of the run, once it is known; only with a single export.",
        value: |report| line(report.history.only_run_of(RunKind::Export)?.id),
    },
    OutputSpec {
        name: "pdf-template-id",
        description: "Id of the PDF Manager template, once it is known; only with a single template.",
        value: |report| {
            line(report.history.only_run_of(RunKind::PdfBatch)?.source.as_ref().map(|template| template.id))
        },
    },
    OutputSpec {
        name: "pdf-batch-id",
        description: "Id of the PDF Manager batch, once it is known; only with a single template.",
        value: |report| line(report.history.only_run_of(RunKind::PdfBatch)?.id),
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
        value: |report| line(report.history.only_file().map(|file| file.size)),
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
        description: "When the file was created, in UTC, such as 2026-11-28T04:19:31Z, if the server says so; also if max-age refused the file.",
        value: |report| line(report.history.created()),
    },
    OutputSpec {
        name: "paths",
        description: "Paths of all saved files, one per line.",
        value: |report| {
            let files = report.history.runs.iter().flat_map(|run| &run.saved);
            let paths: Vec<String> = files.map(|file| file.path.clone()).collect();
            (!paths.is_empty()).then_some(OutputValue::Lines(paths))
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

/// Name and value of an output.
pub(crate) type Output = (&'static str, OutputValue);

/// Returns the outputs that have a value.
pub(crate) fn collect(report: &Report<'_>) -> Vec<Output> {
    OUTPUTS.iter().filter_map(|output| Some((output.name, (output.value)(report)?))).collect()
}

/// Returns the name of an output as a variable: `WEBADMIT_EXPORT_FILE_ID` for `export-file-id`.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("WEBADMIT_{}", name.replace('-', "_").to_uppercase())
}

/// The files that get the outputs.
#[derive(Debug, Default)]
pub(crate) struct OutputSinks {
    github_output: Option<File>,
    output_file: Option<File>,
}

impl OutputSinks {
    /// Opens `$GITHUB_OUTPUT` for appending, and clears the output file: later steps must not take the outputs of an earlier
    /// step for those of this one.
    ///
    /// # Errors
    ///
    /// If one of them cannot be opened.
    pub(crate) fn open(
        github_output: Option<&OsStr>,
        output_file: Option<&Path>,
        workspace: &Workspace,
    ) -> anyhow::Result<Self> {
        let create_output_file = |path: &Path| {
            let file = create(path, workspace);
            file.with_context(|| format!("cannot write the output-file {}", workspace.display_path(path)))
        };

        Ok(Self {
            github_output: github_output.map(open_github_output).transpose()?,
            output_file: output_file.map(create_output_file).transpose()?,
        })
    }

    /// Opens `$GITHUB_OUTPUT` for a step that failed before its output file could be opened. If that fails, nothing is written.
    pub(crate) fn open_github_output(path: Option<&OsStr>) -> Self {
        Self { github_output: path.and_then(|path| open_github_output(path).ok()), output_file: None }
    }

    /// Writes the outputs.
    ///
    /// # Errors
    ///
    /// If one of the files cannot be written. The other one is written all the same.
    pub(crate) fn write(&mut self, outputs: &[Output]) -> anyhow::Result<()> {
        let github_output = self.github_output.as_mut().map_or(Ok(()), |file| append(file, outputs));
        let output_file = self.output_file.as_mut().map_or(Ok(()), |file| write_lines(file, outputs));

        github_output.context("cannot write the outputs to GITHUB_OUTPUT")?;
        output_file.context("cannot write the outputs to the output-file")
    }
}

fn open_github_output(path: &OsStr) -> anyhow::Result<File> {
    let file = writable().read(true).append(true).create(true).open(path);
    file.with_context(|| format!("cannot write GITHUB_OUTPUT ({})", Path::new(path).display()))
}

/// The file of the export would have the path of the output file, which was cleared when it was opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot save the file as {0}: output-file has the same path")]
pub(crate) struct OutputFileConflict(pub(crate) String);

/// Clears an output file of an earlier step, for a step that ends before it opens the file. Errors are ignored: that step
/// fails anyway.
pub(crate) fn clear_stale(output_file: &Path) {
    let _ = writable().write(true).truncate(true).open(output_file);
}

/// Returns options that open a file without waiting. Opening a pipe that nobody reads fails.
pub(crate) fn writable() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options
}

fn create(path: &Path, workspace: &Workspace) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        workspace.create_directories(directory)?;
    }
    let file = writable().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    workspace.give_to_owner(&file)?;
    Ok(file)
}

/// Appends outputs for GitHub's runner: `name=value`, or several lines between `name<<DELIMITER` and the delimiter.
fn append(file: &mut File, outputs: &[Output]) -> io::Result<()> {
    let mut text = if ends_within_line(file) { "\n".to_owned() } else { String::new() };
    for (name, value) in outputs {
        match value {
            OutputValue::Line(value) | OutputValue::Json(value) => text.push_str(&format!("{name}={value}\n")),
            OutputValue::Lines(lines) if lines.len() < 2 => text.push_str(&format!("{name}={}\n", lines.concat())),
            OutputValue::Lines(lines) => {
                let mut delimiter = "END".to_owned();
                while lines.contains(&delimiter) {
                    delimiter.push('-');
                }
                text.push_str(&format!("{name}<<{delimiter}\n{}\n{delimiter}\n", lines.join("\n")));
            }
        }
    }
    file.write_all(text.as_bytes())
}

/// Whether an earlier step did not end its last line. False if the file cannot be read, such as a pipe.
fn ends_within_line(file: &mut File) -> bool {
    let mut last = [b'\n'];
    let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last));
    read.is_ok() && last != [b'\n']
}

/// Writes `WEBADMIT_<NAME>=value` lines, the syntax of GitLab's dotenv reports. Bitbucket and Jenkins read it as well.
fn write_lines(file: &mut File, outputs: &[Output]) -> io::Result<()> {
    let lines = outputs.iter().filter_map(|(name, value)| match value {
        OutputValue::Line(value) => Some(format!("{}={value}\n", variable(name))),
        OutputValue::Lines(_) | OutputValue::Json(_) => None,
    });
    file.write_all(lines.collect::<String>().as_bytes())
}

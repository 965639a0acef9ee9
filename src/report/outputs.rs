//! The outputs: values for later steps.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use rustix::fs::OFlags;

use crate::report::history::{History, SavedFile};
use crate::workspace::Workspace;

/// An output as users see it: in action.yml and in `--help`.
pub struct OutputSpec {
    /// Its name in kebab-case.
    pub name: &'static str,
    /// What its value means, in one sentence.
    pub description: &'static str,
    value: fn(&History) -> Option<String>,
}

/// All outputs, in the order in which they are written. A test compares them with action.yml and the README.
pub const OUTPUTS: [OutputSpec; 10] = [
    OutputSpec {
        name: "status",
        description: "Last status of the run in snake_case, also if the step fails or times out.",
        value: |history| history.run.status().map(ToString::to_string),
    },
    OutputSpec {
        name: "user-identity-id",
        description: "Id of the identity, if one was used.",
        value: |history| history.identity.as_ref().map(|identity| identity.id.to_string()),
    },
    OutputSpec {
        name: "export-id",
        description: "Id of the export, once it is known.",
        value: |history| history.run.export.as_ref().map(|export| export.id.to_string()),
    },
    OutputSpec {
        name: "export-file-id",
        description: "Id of the run, once it is known.",
        value: |history| history.run.id.map(|id| id.to_string()),
    },
    OutputSpec {
        name: "path",
        description: "Path of the file, relative to the workspace if it is inside, else absolute.",
        value: |history| saved(history, |file| file.path.clone()),
    },
    OutputSpec {
        name: "filename",
        description: "Name of the file.",
        value: |history| saved(history, |file| file.filename.clone()),
    },
    OutputSpec {
        name: "size",
        description: "Size of the file in bytes.",
        value: |history| saved(history, |file| file.size.to_string()),
    },
    OutputSpec {
        name: "sha256",
        description: "SHA-256 of the file, in lower-case hexadecimal.",
        value: |history| saved(history, |file| file.sha256.clone()),
    },
    OutputSpec {
        name: "source-sha256",
        description: "SHA-256 of the bytes that the server sent; differs from sha256 only if the file was converted.",
        value: |history| saved(history, |file| file.source_sha256.clone()),
    },
    OutputSpec {
        name: "content-type",
        description: "Media type of the file, if the server declared one; with charset=utf-8 if the file was converted.",
        value: |history| history.run.saved.as_ref()?.content_type.clone(),
    },
];

fn saved(history: &History, value: fn(&SavedFile) -> String) -> Option<String> {
    history.run.saved.as_ref().map(value)
}

/// Name and value of an output. The value is a single line: text from a server was sanitized when it was received.
pub(crate) type Output = (&'static str, String);

/// Returns the outputs that have a value.
pub(crate) fn collect(history: &History) -> Vec<Output> {
    OUTPUTS.iter().filter_map(|output| Some((output.name, (output.value)(history)?))).collect()
}

/// Returns the name of an output as a variable: `WEBADMIT_EXPORT_FILE_ID` for `export-file-id`.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("WEBADMIT_{}", name.replace('-', "_").to_uppercase())
}

/// The files that get the outputs.
#[derive(Debug)]
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
        let open_github_output = |path: &OsStr| {
            let file = writable().read(true).append(true).create(true).open(path);
            file.with_context(|| format!("cannot write GITHUB_OUTPUT ({})", Path::new(path).display()))
        };
        let create_output_file = |path: &Path| {
            let file = create(path, workspace);
            file.with_context(|| format!("cannot write the output-file {}", workspace.display_path(path)))
        };

        Ok(Self {
            github_output: github_output.map(open_github_output).transpose()?,
            output_file: output_file.map(create_output_file).transpose()?,
        })
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

/// Appends `name=value` lines for GitHub's runner. The syntax with a delimiter is not needed, because no value has a line
/// break.
fn append(file: &mut File, outputs: &[Output]) -> io::Result<()> {
    let mut text = if ends_within_line(file) { "\n".to_owned() } else { String::new() };
    for (name, value) in outputs {
        text.push_str(&format!("{name}={value}\n"));
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
    let lines: String = outputs.iter().map(|(name, value)| format!("{}={value}\n", variable(name))).collect();
    file.write_all(lines.as_bytes())
}

//! The outputs: what the following steps get to know.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use rustix::fs::OFlags;

use crate::report::history::{History, SavedFile};
use crate::workspace::Workspace;

/// An output, as action.yml and `--help` describe it.
pub struct OutputSpec {
    /// Its name in kebab-case.
    pub name: &'static str,
    /// What its value is.
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

/// The name and the value of an output. The value is one line: text from a server was sanitized when it was received.
pub type Output = (&'static str, String);

/// Returns the outputs that have a value.
#[must_use]
pub(crate) fn collect(history: &History) -> Vec<Output> {
    OUTPUTS.iter().filter_map(|output| Some((output.name, (output.value)(history)?))).collect()
}

/// `WEBADMIT_EXPORT_FILE_ID` for `export-file-id`.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("WEBADMIT_{}", name.replace('-', "_").to_uppercase())
}

/// Where the outputs go besides the log.
#[derive(Debug)]
pub struct OutputSinks {
    github: Option<File>,
    file: Option<File>,
}

impl OutputSinks {
    /// Opens `$GITHUB_OUTPUT` for more, and empties the output file: values of an earlier step must not be taken for
    /// this one's.
    ///
    /// # Errors
    ///
    /// When one of them cannot be written.
    pub fn open(
        github_output: Option<&OsStr>,
        output_file: Option<&Path>,
        workspace: &Workspace,
    ) -> anyhow::Result<Self> {
        let github = match github_output {
            Some(path) => {
                let opened = writable().read(true).append(true).create(true).open(path);
                let context = || format!("GITHUB_OUTPUT ({}) cannot be written", Path::new(path).display());
                Some(opened.with_context(context)?)
            }
            None => None,
        };
        let file = match output_file {
            Some(path) => {
                let context = || format!("the output-file {} cannot be written", workspace.display_path(path));
                Some(create(path, workspace).with_context(context)?)
            }
            None => None,
        };
        Ok(Self { github, file })
    }

    /// Writes the outputs to where they go.
    ///
    /// # Errors
    ///
    /// When one of the files cannot be written; the other one was tried all the same.
    pub fn write(&mut self, outputs: &[Output]) -> anyhow::Result<()> {
        let github = self.github.as_mut().map_or(Ok(()), |file| append(file, outputs));
        let file = self.file.as_mut().map_or(Ok(()), |file| write_lines(file, outputs));
        github.context("the outputs cannot be written to GITHUB_OUTPUT")?;
        file.context("the outputs cannot be written to the output-file")
    }
}

/// Empties an output file that an earlier step has left, where this one ends before it has outputs of its own: they must
/// not be taken for this one's. What cannot be emptied is told when it is to be written.
pub fn clear_stale(output_file: &Path) {
    let _ = writable().write(true).truncate(true).open(output_file);
}

/// How files for outputs are opened: a pipe that nobody reads is an error, and not waited for.
#[must_use]
pub fn writable() -> OpenOptions {
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

/// `name=value` lines, as the runner reads them. No value has a line break, so the form with a delimiter is not needed.
fn append(file: &mut File, outputs: &[Output]) -> io::Result<()> {
    let mut text = if ends_in_mid_line(file) { "\n".to_owned() } else { String::new() };
    for (name, value) in outputs {
        text.push_str(&format!("{name}={value}\n"));
    }
    file.write_all(text.as_bytes())
}

/// Whether an earlier step has left its last line open. What cannot be read, a pipe for one, is taken as it is.
fn ends_in_mid_line(file: &mut File) -> bool {
    let mut last = [b'\n'];
    let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last));
    read.is_ok() && last != [b'\n']
}

/// `WEBADMIT_<NAME>=value` lines: what GitLab's dotenv reports, Bitbucket and Jenkins read.
fn write_lines(file: &mut File, outputs: &[Output]) -> io::Result<()> {
    let lines: String = outputs.iter().map(|(name, value)| format!("{}={value}\n", variable(name))).collect();
    file.write_all(lines.as_bytes())
}

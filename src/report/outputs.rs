//! The outputs: what the following steps get to know.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use rustix::fs::OFlags;

use crate::report::history::History;
use crate::workspace::Workspace;

/// One output as users meet it: in action.yml and in `--help`.
pub struct OutputSpec {
    /// Its name in kebab-case.
    pub name: &'static str,
    /// What its value is, and when there is one.
    pub meaning: &'static str,
}

/// Every output, in the order in which they are written. action.yml says the same; a test compares them.
pub const OUTPUTS: [OutputSpec; 10] = [
    OutputSpec {
        name: "status",
        meaning: "The last status that was seen, in snake_case, also when the step fails or times out.",
    },
    OutputSpec { name: "user-identity-id", meaning: "Id of the identity, when one was used." },
    OutputSpec { name: "export-id", meaning: "Id of the export, whenever it is known." },
    OutputSpec { name: "export-file-id", meaning: "Id of the run, whenever it is known." },
    OutputSpec {
        name: "path",
        meaning: "Path of the saved file: relative to the workspace when inside it, else absolute.",
    },
    OutputSpec { name: "filename", meaning: "Name of the saved file." },
    OutputSpec { name: "size", meaning: "Size of the saved file in bytes." },
    OutputSpec { name: "sha256", meaning: "SHA-256 of the saved file, in lower-case hexadecimal." },
    OutputSpec {
        name: "source-sha256",
        meaning: "SHA-256 of the bytes as the store sent them. It differs from sha256 only where encoding utf-8 has changed the file.",
    },
    OutputSpec {
        name: "content-type",
        meaning: "Media type of the saved file as the store sent it, when it named one; with charset=utf-8 when the file was converted.",
    },
];

/// An output and its value. A value is one line: whatever a server said was cleaned before it got here.
pub type Output = (&'static str, String);

/// The outputs that are known so far. What a server said of them was cleaned, and secrets concealed in it, as it came in; a
/// path is told as it is, or it would lead nowhere.
#[must_use]
pub fn collect(history: &History) -> Vec<Output> {
    let saved = history.saved.as_ref();
    let value = |name: &str| match name {
        "status" => history.status().map(ToString::to_string),
        "user-identity-id" => history.identity.as_ref().map(|identity| identity.id.to_string()),
        "export-id" => history.export.as_ref().map(|export| export.id.to_string()),
        "export-file-id" => history.run.map(|run| run.to_string()),
        "path" => saved.map(|saved| saved.path.clone()),
        "filename" => saved.map(|saved| saved.filename.clone()),
        "size" => saved.map(|saved| saved.size.to_string()),
        "sha256" => saved.map(|saved| saved.sha256.clone()),
        "source-sha256" => saved.map(|saved| saved.source_sha256.clone()),
        "content-type" => saved.and_then(|saved| saved.content_type.clone()),
        _ => None,
    };
    OUTPUTS.iter().filter_map(|output| Some((output.name, value(output.name)?))).collect()
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

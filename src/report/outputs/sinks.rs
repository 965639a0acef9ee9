//! What gets the outputs: GitHub's runner, the output file and the output directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::Context;

use super::file_sink::{FileSink, Link, nonblocking_options, write_to_stream};
use super::{Output, OutputFileFormat, OutputPaths, OutputValue, cleared, formats};
use crate::workspace::Workspace;

/// The files that get the outputs.
#[derive(Debug, Default)]
pub(crate) struct OutputSinks {
    github_output: Option<GithubOutput>,
    output_file: Option<OutputFile>,
    output_directory: Option<OutputDirectory>,
}

impl OutputSinks {
    /// Opens `$GITHUB_OUTPUT`, the output file and the output directory. The latter two are cleared: later steps must not take the
    /// outputs of an earlier step for those of this one. Returns those that could be opened, and the first error. `paths` is empty
    /// if there is no workspace.
    pub(crate) fn open(
        github_output: Option<&OsStr>,
        paths: &OutputPaths,
        workspace: Option<&Workspace>,
    ) -> (Self, anyhow::Result<()>) {
        let mut result = Ok(());
        let github_output = github_output.map(GithubOutput::open);
        let output_file = paths.output_file.as_deref().zip(workspace);
        let output_file =
            output_file.map(|(path, workspace)| OutputFile::open(path, paths.output_file_format, workspace));
        let output_directory = paths.output_directory.as_deref().zip(workspace);
        let output_directory = output_directory.map(|(path, workspace)| OutputDirectory::open(path, workspace));

        let sinks = Self {
            github_output: github_output.and_then(|sink| keep_first_error(sink, &mut result)),
            output_file: output_file.and_then(|sink| keep_first_error(sink, &mut result)),
            output_directory: output_directory.and_then(|(sink, opened)| {
                keep_first_error(opened, &mut result);
                sink
            }),
        };
        (sinks, result)
    }

    /// Writes the outputs.
    ///
    /// # Errors
    ///
    /// The first error. The other files are written all the same.
    pub(crate) fn write(&mut self, outputs: &[Output]) -> anyhow::Result<()> {
        let github_output = self.github_output.as_mut().map_or(Ok(()), |sink| sink.write(outputs));
        let output_file = self.output_file.as_mut().map_or(Ok(()), |sink| sink.write(outputs));
        let output_directory = self.output_directory.as_mut().map_or(Ok(()), |sink| sink.write(outputs));

        github_output.context("cannot write the outputs to GITHUB_OUTPUT")?;
        output_file.context("cannot write the outputs to the output-file")?;
        output_directory.context("cannot write the outputs to the output-directory")
    }
}

/// Returns the value, or keeps the error if it is the first one.
fn keep_first_error<T>(value: anyhow::Result<T>, first: &mut anyhow::Result<()>) -> Option<T> {
    match value {
        Ok(value) => Some(value),
        Err(error) => {
            if first.is_ok() {
                *first = Err(error);
            }
            None
        }
    }
}

/// The file of GitHub's runner, to which steps append their outputs.
#[derive(Debug)]
struct GithubOutput(File);

impl GithubOutput {
    fn open(path: &OsStr) -> anyhow::Result<Self> {
        let file = nonblocking_options().read(true).append(true).create(true).open(path);
        let file = file.with_context(|| format!("cannot write GITHUB_OUTPUT ({})", Path::new(path).display()))?;
        Ok(Self(file))
    }

    fn write(&mut self, outputs: &[Output]) -> io::Result<()> {
        let start = if self.ends_within_line() { "\n" } else { "" };
        write_to_stream(&mut self.0, &format!("{start}{}", formats::github(outputs)))
    }

    /// Whether an earlier step did not end its last line. False if the file cannot be read, such as a pipe.
    fn ends_within_line(&mut self) -> bool {
        let mut last = [b'\n'];
        let read = self.0.seek(SeekFrom::End(-1)).and_then(|_| self.0.read_exact(&mut last));
        read.is_ok() && last != [b'\n']
    }
}

/// A file with all outputs.
#[derive(Debug)]
struct OutputFile {
    file: FileSink,
    format: fn(&[Output]) -> String,
}

impl OutputFile {
    /// Opens and clears the file.
    fn open(path: &Path, format: OutputFileFormat, workspace: &Workspace) -> anyhow::Result<Self> {
        let format = match format {
            OutputFileFormat::Lines => formats::lines,
            OutputFileFormat::Json => formats::json,
        };
        let open = || {
            if let Some(directory) = path.parent() {
                workspace.create_directories(directory)?;
            }
            FileSink::open(path, Link::Followed, &format(&cleared()), workspace)
        };
        let file = open().with_context(|| format!("cannot write the output-file {}", workspace.display_path(path)))?;
        Ok(Self { file, format })
    }

    fn write(&mut self, outputs: &[Output]) -> io::Result<()> {
        self.file.write(&(self.format)(outputs))
    }
}

/// A directory with a file for each output.
#[derive(Debug)]
struct OutputDirectory {
    /// The names of the outputs, and their files.
    files: Vec<(&'static str, FileSink)>,
}

impl OutputDirectory {
    /// Creates the directory if it is missing, and opens and clears the files. Returns the files that could be opened, and the first
    /// error.
    fn open(path: &Path, workspace: &Workspace) -> (Option<Self>, anyhow::Result<()>) {
        let displayed = workspace.display_path(path);
        let created = workspace.create_directories(path);
        let usable =
            created.and_then(|_| if path.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) });
        if let Err(error) = usable.with_context(|| format!("cannot use the output-directory {displayed}")) {
            return (None, Err(error));
        }

        let mut result = Ok(());
        let cleared = cleared();
        let files = cleared.iter().filter_map(|(name, value)| {
            // A link could lead anywhere. The directory itself was checked, its content was not.
            let file = FileSink::open(&path.join(name), Link::Replaced, &text(value.as_ref()), workspace);
            let file = file.with_context(|| format!("cannot write {displayed}/{name} (output-directory)"));
            Some((*name, keep_first_error(file, &mut result)?))
        });
        let files = files.collect();
        (Some(Self { files }), result)
    }

    fn write(&mut self, outputs: &[Output]) -> io::Result<()> {
        let mut result = Ok(());
        for (name, file) in &mut self.files {
            let value = outputs.iter().find(|(output, _)| output == name).and_then(|(_, value)| value.as_ref());
            result = result.and(file.write(&text(value)));
        }
        result
    }
}

/// Returns the content of the file of an output: its value, or nothing if it has none.
fn text(value: Option<&OutputValue>) -> String {
    value.map(|value| value.join_lines("\n")).unwrap_or_default()
}

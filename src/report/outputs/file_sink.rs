//! A file that gets outputs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, Timespec};
use rustix::io::Errno;

use crate::workspace::Workspace;

/// How long to wait for the reader of a full pipe.
const PIPE_TIMEOUT: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// A file that gets outputs.
#[derive(Debug)]
pub(super) enum FileSink {
    /// A regular file. It is replaced with a rename, so that a reader sees the old content or the new one, but never half of it.
    Replaced { path: PathBuf, workspace: Workspace },
    /// A regular file that cannot be replaced, such as one that is mounted into a container.
    Overwritten(File),
    /// A pipe, a device, or a standard stream of this process.
    Stream(File),
}

/// What happens to a link at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Its target gets the outputs.
    Followed,
    /// A regular file replaces it.
    Replaced,
}

impl FileSink {
    /// Opens the file, and clears it if it is a regular one: replaces its content with `cleared`.
    ///
    /// # Errors
    ///
    /// If it cannot be opened or cleared.
    pub(super) fn open(path: &Path, link: Link, cleared: &str, workspace: &Workspace) -> io::Result<Self> {
        let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        let mut replaced = Self::Replaced { path: path.to_owned(), workspace: workspace.clone() };
        if is_link && link == Link::Replaced {
            return replaced.write(cleared).map(|()| replaced);
        }
        if let Some(stream) = standard_stream(path)? {
            return Ok(Self::Stream(stream));
        }

        let file = match nonblocking_options().write(true).create(is_link).mode(0o644).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return replaced.write(cleared).map(|()| replaced);
            }
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Ok(Self::Stream(file));
        }
        if !is_link && replaced.write(cleared).is_ok() {
            return Ok(replaced);
        }

        let mut overwritten = Self::Overwritten(file);
        overwritten.write(cleared)?;
        Ok(overwritten)
    }

    /// Replaces the content of a regular file, or writes to a pipe or device.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) fn write(&mut self, content: &str) -> io::Result<()> {
        match self {
            Self::Replaced { path, workspace } => replace(path, content, workspace),
            Self::Overwritten(file) => overwrite(file, content),
            Self::Stream(file) => write_to_stream(file, content),
        }
    }
}

/// Returns options that open a file without waiting. Opening a pipe that nobody reads fails.
pub(crate) fn nonblocking_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options
}

/// Returns standard output or standard error if it is the file at this path. Opening `/dev/stdout` again fails for another user or a
/// socket, and would overwrite a log that is a regular file.
fn standard_stream(path: &Path) -> io::Result<Option<File>> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(None) };
    let (stdout, stderr) = (io::stdout(), io::stderr());
    for stream in [stdout.as_fd(), stderr.as_fd()] {
        let stream = File::from(stream.try_clone_to_owned()?);
        let stream_metadata = stream.metadata()?;
        if (stream_metadata.dev(), stream_metadata.ino()) == (metadata.dev(), metadata.ino()) {
            return Ok(Some(stream));
        }
    }
    Ok(None)
}

fn replace(path: &Path, content: &str, workspace: &Workspace) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = workspace.create_temporary_file(directory)?;
    file.write_all(content.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

fn overwrite(file: &mut File, content: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    let written = file.write_all(content.as_bytes());
    if written.is_err() {
        // A part of the outputs would be worse than none.
        let _ = file.set_len(0);
    }
    written
}

/// Writes to a file that may have been opened without waiting.
///
/// # Errors
///
/// If it cannot be written, or if it is a full pipe that nobody reads in time.
pub(super) fn write_to_stream(file: &mut File, content: &str) -> io::Result<()> {
    let mut rest = content.as_bytes();
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_reader(file)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_for_reader(pipe: &File) -> io::Result<()> {
    match poll(&mut [PollFd::new(pipe, PollFlags::OUT)], Some(&PIPE_TIMEOUT)) {
        Ok(0) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the pipe is full, and its reader has read nothing for 2 s"))
        }
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

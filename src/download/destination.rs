//! Where the file goes, and the partial file beside it.

use std::cell::Cell;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use encoding_rs::Encoding;
use tempfile::{Builder, NamedTempFile};

use super::checksum::{Checksum, hexadecimal};
use super::convert::{Conversion, Converted};
use crate::figures;
use crate::journal::Text;
use crate::workspace::{Workspace, remove_directories};

/// So much is read back at a time of what came out of order.
const READ_BACK: usize = 256 * 1024;

/// So much of it is hashed and converted before anything else may happen: some hundredths of a second.
const MOST_AT_A_TIME: u64 = 2 << 20;

/// The directory for the file. It was made if it was missing; what was made goes away again if nothing is saved.
#[derive(Debug)]
pub struct Destination {
    workspace: Workspace,
    directory: PathBuf,
    /// A path that is taken: the outputs go there.
    reserved: Option<PathBuf>,
    made: Vec<PathBuf>,
    used: Cell<bool>,
}

/// The partial file: what has come so far, in a hidden file beside the destination. It goes away when it is dropped.
#[derive(Debug)]
pub struct Partial {
    file: NamedTempFile,
    checksum: Checksum,
    held: u64,
    /// What is held behind gaps.
    ahead: Vec<Range<u64>>,
    /// The text in UTF-8, as far as the file is held without a gap, where that is wanted.
    conversion: Option<Conversion>,
}

/// A file in place.
#[derive(Debug)]
pub struct InPlace {
    /// Its path, as it is told to the following steps.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of it, in lower-case hexadecimal.
    pub sha256: String,
    /// SHA-256 of the bytes as they were sent, in lower-case hexadecimal.
    pub source_sha256: String,
    /// What became of its text.
    pub text: Text,
}

impl Destination {
    /// Makes the directory if it is missing, and sees whether files can be made there.
    ///
    /// # Errors
    ///
    /// When they cannot, or when `filename` cannot be put there.
    pub fn prepare(
        workspace: &Workspace,
        directory: &Path,
        filename: Option<&str>,
        reserved: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let told = workspace.tell(directory);
        let told = if told == "." { "the workspace".to_owned() } else { told };
        let made = workspace.make_directories(directory).with_context(|| format!("{told} cannot be made"))?;
        let destination = Self {
            workspace: workspace.clone(),
            directory: directory.to_owned(),
            reserved: reserved.map(Path::to_owned),
            made,
            used: Cell::new(false),
        };
        destination.partial().with_context(|| format!("no file can be made in {told}"))?;
        if let Some(filename) = filename {
            destination.path_of(filename)?;
        }
        Ok(destination)
    }

    /// The path of a file of this name.
    ///
    /// # Errors
    ///
    /// When a directory has that name, or when the outputs go there. A link is no obstacle: it is replaced, not followed.
    pub fn path_of(&self, filename: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(filename);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            bail!(
                "{} is a directory: no file of that name can be put there; give another filename or directory",
                self.workspace.tell(&path)
            );
        }
        if self.reserved.as_ref() == Some(&path) {
            bail!(
                "{} is the output-file: the export file cannot have the same path; give another filename or directory",
                self.workspace.tell(&path)
            );
        }
        Ok(path)
    }

    /// A new partial file.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or not be given to the owner of the workspace.
    pub fn partial(&self) -> anyhow::Result<Partial> {
        Ok(Partial { file: self.hidden()?, checksum: Checksum::new(), held: 0, ahead: Vec::new(), conversion: None })
    }

    /// Has a partial file converted from this charset, from now on: it must be empty.
    ///
    /// # Errors
    ///
    /// When the file for the text cannot be made.
    pub fn convert(&self, partial: &mut Partial, charset: &'static Encoding) -> anyhow::Result<()> {
        let file = self.hidden().context("the file for the converted text cannot be made")?;
        partial.conversion = Some(Conversion::new(charset, file)?);
        Ok(())
    }

    fn hidden(&self) -> anyhow::Result<NamedTempFile> {
        // Made by the temporary file's own rules it would be unreadable to the following steps.
        let readable = fs::Permissions::from_mode(0o644);
        let file = Builder::new()
            .prefix(".webadmit-export-")
            .suffix(".partial")
            .permissions(readable)
            .tempfile_in(&self.directory)?;
        self.workspace.give(file.as_file())?;
        Ok(file)
    }

    /// Puts a complete file into place in one step, whatever stood there, and tells what is there now.
    ///
    /// # Errors
    ///
    /// When it cannot be put there. An older file is as it was then.
    pub fn save(&self, partial: Partial, filename: &str) -> anyhow::Result<InPlace> {
        let path = self.path_of(filename)?;
        let told = self.workspace.tell(&path);
        let source_sha256 = partial.checksum.finish()?;
        let (file, size, sha256, text) = match partial.conversion.map(Conversion::finish).transpose()? {
            None => (partial.file, partial.held, source_sha256.clone(), Text::AsSent),
            Some(Err(why)) => (partial.file, partial.held, source_sha256.clone(), Text::LeftAsSent(why)),
            Some(Ok(Converted { from, file, hash, size })) => (file, size, hexadecimal(hash), Text::From(from)),
        };
        file.persist(&path).map_err(|error| error.error).with_context(|| format!("{told} cannot be put into place"))?;
        self.used.set(true);
        Ok(InPlace { path: told, size, sha256, source_sha256, text })
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if !self.used.get() {
            remove_directories(&self.made);
        }
    }
}

impl Partial {
    /// How many bytes it holds from its beginning on, without a gap. These are hashed.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// How many bytes it holds in all, those behind gaps included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.held + self.ahead.iter().map(|span| span.end - span.start).sum::<u64>()
    }

    /// Puts bytes to their place. No byte comes twice.
    ///
    /// # Errors
    ///
    /// When the disk does not take them.
    pub fn place(&mut self, at: u64, bytes: Bytes) -> anyhow::Result<()> {
        // Written by hand into the file itself: `tokio::fs` can report success on a full disk.
        let written = self.file.as_file().write_all_at(&bytes, at);
        written
            .with_context(|| format!("the disk took no more of the file after {}", figures::bytes(self.received())))?;
        let end = at + bytes.len() as u64;
        if at == self.held {
            // What comes in order is hashed out of memory; reading it back would cost a fifth more.
            self.go_on(bytes)?;
        } else {
            match self.ahead.iter_mut().find(|span| span.end == at) {
                Some(span) => span.end = end,
                None => self.ahead.push(at..end),
            }
        }
        self.catch_up().map(|_| ())
    }

    /// Takes the next bytes without a gap.
    fn go_on(&mut self, bytes: Bytes) -> anyhow::Result<()> {
        self.held += bytes.len() as u64;
        self.conversion.as_mut().map_or(Ok(()), |conversion| conversion.take(&bytes))?;
        self.checksum.update(bytes)
    }

    /// Takes some of what was waiting behind a gap that is closed now: not all at once, for that can be most of the file,
    /// and nothing else could happen meanwhile. True as long as there is more.
    ///
    /// # Errors
    ///
    /// When it cannot be read back, or the disk does not take what becomes of it.
    pub fn catch_up(&mut self) -> anyhow::Result<bool> {
        let Some(index) = self.ahead.iter().position(|span| span.start == self.held) else { return Ok(false) };
        let end = self.ahead[index].end.min(self.held + MOST_AT_A_TIME);
        while self.held < end {
            let length = usize::try_from(end - self.held).map_or(READ_BACK, |left| left.min(READ_BACK));
            let mut part = vec![0; length];
            self.file.as_file().read_exact_at(&mut part, self.held).context("the partial file cannot be read back")?;
            self.go_on(part.into())?;
        }
        self.ahead[index].start = end;
        if self.ahead[index].is_empty() {
            self.ahead.swap_remove(index);
        }
        Ok(self.ahead.iter().any(|span| span.start == self.held))
    }

    /// Forgets everything that it holds.
    ///
    /// # Errors
    ///
    /// When the disk does not play along.
    pub fn start_over(&mut self) -> anyhow::Result<()> {
        // Only where there is something: a file that was ever emptied is written to the disk as it is closed (ext4's
        // auto_da_alloc), which costs a sixth of the whole download.
        if self.received() > 0 {
            self.file.as_file().set_len(0).context("the partial file cannot be emptied")?;
        }
        self.checksum = Checksum::new();
        self.held = 0;
        self.ahead.clear();
        // What comes now may be in another charset.
        self.conversion = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn what_comes_out_of_order_is_held_from_the_moment_its_gap_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::find(None, directory.path()).unwrap();
        let destination = Destination::prepare(&workspace, directory.path(), None, None).unwrap();
        let mut partial = destination.partial().unwrap();
        for (at, bytes, held, received) in [
            (2, &b"cd"[..], 0, 2),
            (4, b"efg", 0, 5),
            (8, b"i", 0, 6),
            (0, b"a", 1, 7),
            (1, b"b", 7, 8),
            (7, b"h", 9, 9),
        ] {
            partial.place(at, Bytes::from_static(bytes)).unwrap();
            assert_eq!((partial.held(), partial.received()), (held, received), "{at}");
        }
        let in_place = destination.save(partial, "file").unwrap();
        assert_eq!(fs::read(directory.path().join("file")).unwrap(), b"abcdefghi");
        assert_eq!(in_place.sha256, hexadecimal(Sha256::new_with_prefix(b"abcdefghi")));
        assert_eq!((in_place.size, in_place.path.as_str(), in_place.text), (9, "file", Text::AsSent));
    }

    #[test]
    fn what_was_waiting_behind_a_gap_is_taken_bit_by_bit() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::find(None, directory.path()).unwrap();
        let destination = Destination::prepare(&workspace, directory.path(), None, None).unwrap();
        let mut partial = destination.partial().unwrap();
        let bytes: Vec<u8> = (0..MOST_AT_A_TIME * 5 / 2).map(|at| (at % 251) as u8).collect();
        let (first, later) = bytes.split_at(1);
        partial.place(1, Bytes::copy_from_slice(later)).unwrap();
        assert!(!partial.catch_up().unwrap(), "there is a gap");
        partial.place(0, Bytes::copy_from_slice(first)).unwrap();
        assert_eq!(partial.held(), 1 + MOST_AT_A_TIME);
        assert_eq!(partial.received(), bytes.len() as u64);
        partial.place(bytes.len() as u64, Bytes::from_static(b"end")).unwrap();
        assert_eq!(partial.held(), 1 + 2 * MOST_AT_A_TIME);
        assert!(!partial.catch_up().unwrap());
        assert_eq!(partial.held(), bytes.len() as u64 + 3);
        let in_place = destination.save(partial, "file").unwrap();
        assert_eq!(in_place.sha256, hexadecimal(Sha256::new_with_prefix([&bytes[..], b"end"].concat())));
    }
}

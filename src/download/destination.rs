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
use super::transcode::{Transcoded, Transcoder};
use crate::report::history::TextEncoding;
use crate::report::outputs::OutputFileConflict;
use crate::text::format;
use crate::workspace::{Workspace, remove_empty_directories};

/// So much is read back at a time of what came out of order.
const READ_BACK: usize = 256 * 1024;

/// So much of it is hashed and converted before anything else may happen: some hundredths of a second.
const CATCH_UP_STEP: u64 = 2 << 20;

/// The directory for the file. It was made if it was missing; what was made goes away again if nothing is saved.
#[derive(Debug)]
pub struct Destination {
    workspace: Workspace,
    directory: PathBuf,
    /// A path that is taken: the outputs go there.
    reserved: Option<PathBuf>,
    created: Vec<PathBuf>,
    is_used: Cell<bool>,
}

/// The partial file: what has come so far, in a hidden file beside the destination. It goes away when it is dropped.
#[derive(Debug)]
pub struct PartialFile {
    file: NamedTempFile,
    checksum: Checksum,
    contiguous_len: u64,
    /// What is held behind gaps.
    out_of_order: Vec<Range<u64>>,
    /// The text in UTF-8, as far as the file is held without a gap, where that is wanted.
    conversion: Option<Transcoder>,
}

/// A file in place.
#[derive(Debug)]
pub struct WrittenFile {
    /// Its path, as it is told to the following steps.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of it, in lower-case hexadecimal.
    pub sha256: String,
    /// SHA-256 of the bytes as they were sent, in lower-case hexadecimal.
    pub source_sha256: String,
    /// What became of its text.
    pub text: TextEncoding,
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
        let told = workspace.display_path(directory);
        let told = if told == "." { "the workspace".to_owned() } else { told };
        let created = workspace.create_directories(directory).with_context(|| format!("{told} cannot be made"))?;
        let destination = Self {
            workspace: workspace.clone(),
            directory: directory.to_owned(),
            reserved: reserved.map(Path::to_owned),
            created,
            is_used: Cell::new(false),
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
                self.workspace.display_path(&path)
            );
        }
        if self.reserved.as_ref() == Some(&path) {
            return Err(OutputFileConflict(self.workspace.display_path(&path)).into());
        }
        Ok(path)
    }

    /// A new partial file.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or not be given to the owner of the workspace.
    pub fn partial(&self) -> anyhow::Result<PartialFile> {
        Ok(PartialFile {
            file: self.create_hidden_file()?,
            checksum: Checksum::new(),
            contiguous_len: 0,
            out_of_order: Vec::new(),
            conversion: None,
        })
    }

    /// Has a partial file converted from this charset, from now on: it must be empty.
    ///
    /// # Errors
    ///
    /// When the file for the text cannot be made.
    pub fn transcode(&self, partial: &mut PartialFile, charset: &'static Encoding) -> anyhow::Result<()> {
        let file = self.create_hidden_file().context("the file for the converted text cannot be made")?;
        partial.conversion = Some(Transcoder::new(charset, file)?);
        Ok(())
    }

    fn create_hidden_file(&self) -> anyhow::Result<NamedTempFile> {
        // Made by the temporary file's own rules it would be unreadable to the following steps.
        let readable = fs::Permissions::from_mode(0o644);
        let file = Builder::new()
            .prefix(".webadmit-export-")
            .suffix(".partial")
            .permissions(readable)
            .tempfile_in(&self.directory)?;
        self.workspace.give_to_owner(file.as_file())?;
        Ok(file)
    }

    /// Puts a complete file into place in one step, whatever stood there, and tells what is there now.
    ///
    /// # Errors
    ///
    /// When it cannot be put there. An older file is as it was then.
    pub fn save(&self, partial: PartialFile, filename: &str) -> anyhow::Result<WrittenFile> {
        let path = self.path_of(filename)?;
        let told = self.workspace.display_path(&path);
        let source_sha256 = partial.checksum.finish()?;
        let (file, size, sha256, text) = match partial.conversion.map(Transcoder::finish).transpose()? {
            None => (partial.file, partial.contiguous_len, source_sha256.clone(), TextEncoding::AsSent),
            Some(Err(why)) => {
                (partial.file, partial.contiguous_len, source_sha256.clone(), TextEncoding::NotConverted(why))
            }
            Some(Ok(Transcoded { from, file, hash, size })) => {
                (file, size, hexadecimal(hash), TextEncoding::Converted(from))
            }
        };
        file.persist(&path).map_err(|error| error.error).with_context(|| format!("{told} cannot be put into place"))?;
        self.is_used.set(true);
        Ok(WrittenFile { path: told, size, sha256, source_sha256, text })
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if !self.is_used.get() {
            remove_empty_directories(&self.created);
        }
    }
}

impl PartialFile {
    /// How many bytes it holds from its beginning on, without a gap. These are hashed.
    #[must_use]
    pub fn contiguous_len(&self) -> u64 {
        self.contiguous_len
    }

    /// How many bytes it holds in all, those behind gaps included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.contiguous_len + self.out_of_order.iter().map(|span| span.end - span.start).sum::<u64>()
    }

    /// Returns the ranges of a file of `total` bytes that are missing, in order.
    pub(super) fn missing_ranges(&self, total: u64) -> Vec<Range<u64>> {
        let mut received = self.out_of_order.clone();
        received.sort_by_key(|range| range.start);

        let starts = [self.contiguous_len].into_iter().chain(received.iter().map(|range| range.end));
        let ends = received.iter().map(|range| range.start).chain([total]);
        starts.zip(ends).map(|(start, end)| start..end).filter(|missing| !missing.is_empty()).collect()
    }

    /// Puts bytes to their place. No byte comes twice.
    ///
    /// # Errors
    ///
    /// When the disk does not take them.
    pub fn write_at(&mut self, at: u64, bytes: Bytes) -> anyhow::Result<()> {
        // Written by hand into the file itself: `tokio::fs` can report success on a full disk.
        let written = self.file.as_file().write_all_at(&bytes, at);
        written
            .with_context(|| format!("the disk took no more of the file after {}", format::bytes(self.received())))?;
        let end = at + bytes.len() as u64;
        if at == self.contiguous_len {
            // What comes in order is hashed out of memory; reading it back would cost a fifth more.
            self.append(bytes)?;
        } else {
            match self.out_of_order.iter_mut().find(|span| span.end == at) {
                Some(span) => span.end = end,
                None => self.out_of_order.push(at..end),
            }
        }
        self.catch_up().map(|_| ())
    }

    /// Takes the next bytes without a gap.
    fn append(&mut self, bytes: Bytes) -> anyhow::Result<()> {
        self.contiguous_len += bytes.len() as u64;
        self.conversion.as_mut().map_or(Ok(()), |conversion| conversion.write(&bytes))?;
        self.checksum.update(bytes)
    }

    /// Takes some of what was waiting behind a gap that is closed now: not all at once, for that can be most of the file,
    /// and nothing else could happen meanwhile. True as long as there is more.
    ///
    /// # Errors
    ///
    /// When it cannot be read back, or the disk does not take what becomes of it.
    pub fn catch_up(&mut self) -> anyhow::Result<bool> {
        let Some(index) = self.out_of_order.iter().position(|span| span.start == self.contiguous_len) else {
            return Ok(false);
        };
        let end = self.out_of_order[index].end.min(self.contiguous_len + CATCH_UP_STEP);
        while self.contiguous_len < end {
            let length = usize::try_from(end - self.contiguous_len).map_or(READ_BACK, |left| left.min(READ_BACK));
            let mut part = vec![0; length];
            self.file
                .as_file()
                .read_exact_at(&mut part, self.contiguous_len)
                .context("the partial file cannot be read back")?;
            self.append(part.into())?;
        }
        self.out_of_order[index].start = end;
        if self.out_of_order[index].is_empty() {
            self.out_of_order.swap_remove(index);
        }
        Ok(self.out_of_order.iter().any(|span| span.start == self.contiguous_len))
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
        self.contiguous_len = 0;
        self.out_of_order.clear();
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
            partial.write_at(at, Bytes::from_static(bytes)).unwrap();
            assert_eq!((partial.contiguous_len(), partial.received()), (held, received), "{at}");
            let missing: u64 = partial.missing_ranges(9).iter().map(|range| range.end - range.start).sum();
            assert_eq!(missing, 9 - received, "{at}");
        }
        let in_place = destination.save(partial, "file").unwrap();
        assert_eq!(fs::read(directory.path().join("file")).unwrap(), b"abcdefghi");
        assert_eq!(in_place.sha256, hexadecimal(Sha256::new_with_prefix(b"abcdefghi")));
        assert_eq!((in_place.size, in_place.path.as_str(), in_place.text), (9, "file", TextEncoding::AsSent));
    }

    #[test]
    fn missing_ranges_are_the_gaps_between_the_received_ones() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::find(None, directory.path()).unwrap();
        let destination = Destination::prepare(&workspace, directory.path(), None, None).unwrap();
        let mut partial = destination.partial().unwrap();
        assert_eq!(partial.missing_ranges(0), []);
        for (at, bytes) in [(6, &b"gh"[..]), (0, b"ab"), (3, b"d"), (4, b"e")] {
            partial.write_at(at, Bytes::from_static(bytes)).unwrap();
        }
        assert_eq!(partial.missing_ranges(20), [2..3, 5..6, 8..20]);
        assert_eq!(partial.missing_ranges(8), [2..3, 5..6]);
    }

    #[test]
    fn what_was_waiting_behind_a_gap_is_taken_bit_by_bit() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::find(None, directory.path()).unwrap();
        let destination = Destination::prepare(&workspace, directory.path(), None, None).unwrap();
        let mut partial = destination.partial().unwrap();
        let bytes: Vec<u8> = (0..CATCH_UP_STEP * 5 / 2).map(|at| (at % 251) as u8).collect();
        let (first, later) = bytes.split_at(1);
        partial.write_at(1, Bytes::copy_from_slice(later)).unwrap();
        assert!(!partial.catch_up().unwrap(), "there is a gap");
        partial.write_at(0, Bytes::copy_from_slice(first)).unwrap();
        assert_eq!(partial.contiguous_len(), 1 + CATCH_UP_STEP);
        assert_eq!(partial.received(), bytes.len() as u64);
        assert_eq!(partial.missing_ranges(bytes.len() as u64), [], "bytes that are not hashed yet are not missing");
        partial.write_at(bytes.len() as u64, Bytes::from_static(b"end")).unwrap();
        assert_eq!(partial.contiguous_len(), 1 + 2 * CATCH_UP_STEP);
        assert!(!partial.catch_up().unwrap());
        assert_eq!(partial.contiguous_len(), bytes.len() as u64 + 3);
        let in_place = destination.save(partial, "file").unwrap();
        assert_eq!(in_place.sha256, hexadecimal(Sha256::new_with_prefix([&bytes[..], b"end"].concat())));
    }
}

//! The partial file: what was received so far, in a hidden file next to the destination.

use std::ops::Range;
use std::os::unix::fs::FileExt;

use anyhow::Context;
use bytes::Bytes;
use tempfile::NamedTempFile;

use super::checksum::{Checksum, hexadecimal};
use super::text_type::TextType;
use super::transcode::Transcoder;
use super::utf8_writer::Transcoded;
use crate::report::history::TextEncoding;
use crate::text::format;

/// Number of bytes that are read back at a time after a gap is closed.
const READ_SIZE: usize = 256 * 1024;

/// Maximum number of bytes that are hashed and converted in one step after a gap is closed, which takes some hundredths of a
/// second.
const CATCH_UP_STEP: u64 = 2 << 20;

/// A file that is being received. It is removed when it is dropped.
#[derive(Debug)]
pub(super) struct PartialFile {
    file: NamedTempFile,
    /// The checksum of the contiguous bytes.
    checksum: Checksum,
    contiguous_len: u64,
    /// The ranges that were received after a gap.
    out_of_order: Vec<Range<u64>>,
    /// The conversion of the contiguous bytes to UTF-8, if it was requested.
    transcoder: Option<Transcoder>,
}

/// A complete file that is not at its destination yet.
#[derive(Debug)]
pub(super) struct CompleteFile {
    pub(super) file: NamedTempFile,
    /// Size in bytes.
    pub(super) size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub(super) sha256: String,
    /// SHA-256 of the bytes that the store sent.
    pub(super) source_sha256: String,
    pub(super) encoding: TextEncoding,
}

impl PartialFile {
    /// Wraps an empty file.
    pub(super) fn new(file: NamedTempFile) -> Self {
        Self { file, checksum: Checksum::new(), contiguous_len: 0, out_of_order: Vec::new(), transcoder: None }
    }

    /// Converts the file to UTF-8, and writes the text to another empty file. Nothing may have been received yet.
    ///
    /// # Errors
    ///
    /// If the system has no thread or file descriptor left.
    pub(super) fn start_conversion(&mut self, text_type: TextType, text: NamedTempFile) -> anyhow::Result<()> {
        let source = self.file.as_file().try_clone().context("cannot open the partial file again")?;
        self.transcoder = Some(Transcoder::new(text_type, source, text)?);
        // Beside the thread of the conversion, one for the checksum would not make the download faster.
        self.checksum = Checksum::without_thread();
        Ok(())
    }

    /// Returns the number of bytes before the first gap.
    pub(super) fn contiguous_len(&self) -> u64 {
        self.contiguous_len
    }

    /// Returns the number of all received bytes.
    pub(super) fn received(&self) -> u64 {
        self.contiguous_len + self.out_of_order.iter().map(|range| range.end - range.start).sum::<u64>()
    }

    /// Returns the ranges of a file of `total` bytes that are missing, in order.
    pub(super) fn missing_ranges(&self, total: u64) -> Vec<Range<u64>> {
        let mut received = self.out_of_order.clone();
        received.sort_by_key(|range| range.start);

        let starts = [self.contiguous_len].into_iter().chain(received.iter().map(|range| range.end));
        let ends = received.iter().map(|range| range.start).chain([total]);
        starts.zip(ends).map(|(start, end)| start..end).filter(|missing| !missing.is_empty()).collect()
    }

    /// Writes bytes that are missing so far.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub(super) fn write_at(&mut self, offset: u64, bytes: Bytes) -> anyhow::Result<()> {
        // `tokio::fs` can report success on a full disk.
        let result = self.file.as_file().write_all_at(&bytes, offset);
        result.with_context(|| format!("cannot write the partial file after {}", format::bytes(self.received())))?;

        let end = offset + bytes.len() as u64;
        if offset == self.contiguous_len {
            // Hashed from memory: reading it back would take a fifth longer.
            self.append(bytes)?;
        } else {
            match self.out_of_order.iter_mut().find(|range| range.end == offset) {
                Some(range) => range.end = end,
                None => self.out_of_order.push(offset..end),
            }
        }
        self.catch_up().map(|_| ())
    }

    /// Hashes and converts the next contiguous bytes.
    fn append(&mut self, bytes: Bytes) -> anyhow::Result<()> {
        self.contiguous_len += bytes.len() as u64;
        if let Some(transcoder) = &mut self.transcoder {
            transcoder.write(&bytes)?;
        }
        self.checksum.update(bytes)
    }

    /// Hashes and converts some of the bytes after a gap that was closed: not all at once, since that can be most of the file,
    /// and nothing else could happen meanwhile. Returns whether there are more.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or the converted text cannot be written.
    pub(super) fn catch_up(&mut self) -> anyhow::Result<bool> {
        let Some(index) = self.out_of_order.iter().position(|range| range.start == self.contiguous_len) else {
            return Ok(false);
        };

        let end = self.out_of_order[index].end.min(self.contiguous_len + CATCH_UP_STEP);
        while self.contiguous_len < end {
            let length = usize::try_from(end - self.contiguous_len).map_or(READ_SIZE, |length| length.min(READ_SIZE));
            let mut bytes = vec![0; length];
            let result = self.file.as_file().read_exact_at(&mut bytes, self.contiguous_len);
            result.context("cannot read the partial file")?;
            self.append(bytes.into())?;
        }

        self.out_of_order[index].start = end;
        if self.out_of_order[index].is_empty() {
            self.out_of_order.swap_remove(index);
        }
        Ok(self.out_of_order.iter().any(|range| range.start == self.contiguous_len))
    }

    /// Drops everything that was received.
    ///
    /// # Errors
    ///
    /// If the partial file cannot be truncated.
    pub(super) fn start_over(&mut self) -> anyhow::Result<()> {
        // An empty file is not truncated: ext4 writes a file that was truncated to the disk when it is closed
        // (auto_da_alloc), which takes a sixth of the whole download.
        if self.received() > 0 {
            self.file.as_file().set_len(0).context("cannot truncate the partial file")?;
        }
        self.checksum = Checksum::new();
        self.contiguous_len = 0;
        self.out_of_order.clear();
        // The next version can have another charset.
        self.transcoder = None;
        Ok(())
    }

    /// Returns the complete file. Waits for checksum and conversion.
    ///
    /// # Errors
    ///
    /// If the converted text cannot be written.
    pub(super) async fn finish(self) -> anyhow::Result<CompleteFile> {
        let source_sha256 = self.checksum.finish()?;
        let encoding = match self.transcoder {
            None => TextEncoding::AsSent,
            Some(transcoder) => match transcoder.finish().await? {
                Ok(Transcoded { conversion, file, hash, size }) => {
                    let (sha256, encoding) = (hexadecimal(hash), TextEncoding::Converted(conversion));
                    return Ok(CompleteFile { file, size, sha256, source_sha256, encoding });
                }
                Err(reason) => TextEncoding::NotConverted(reason),
            },
        };
        let (size, sha256) = (self.contiguous_len, source_sha256.clone());
        Ok(CompleteFile { file: self.file, size, sha256, source_sha256, encoding })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sha2::{Digest, Sha256};

    use super::*;

    fn partial_file() -> PartialFile {
        PartialFile::new(NamedTempFile::new().unwrap())
    }

    #[tokio::test]
    async fn bytes_after_a_gap_count_once_the_gap_is_closed() {
        let mut partial = partial_file();
        for (offset, bytes, contiguous_len, received) in [
            (2, &b"cd"[..], 0, 2),
            (4, b"efg", 0, 5),
            (8, b"i", 0, 6),
            (0, b"a", 1, 7),
            (1, b"b", 7, 8),
            (7, b"h", 9, 9),
        ] {
            partial.write_at(offset, Bytes::from_static(bytes)).unwrap();
            assert_eq!((partial.contiguous_len(), partial.received()), (contiguous_len, received), "{offset}");
            let missing: u64 = partial.missing_ranges(9).iter().map(|range| range.end - range.start).sum();
            assert_eq!(missing, 9 - received, "{offset}");
        }

        let complete = partial.finish().await.unwrap();
        assert_eq!(fs::read(complete.file.path()).unwrap(), b"abcdefghi");
        assert_eq!(complete.sha256, hexadecimal(Sha256::new_with_prefix(b"abcdefghi")));
        assert_eq!((complete.size, complete.encoding), (9, TextEncoding::AsSent));
    }

    #[test]
    fn missing_ranges_are_the_gaps_between_the_received_ones() {
        let mut partial = partial_file();
        assert_eq!(partial.missing_ranges(0), []);
        for (offset, bytes) in [(6, &b"gh"[..]), (0, b"ab"), (3, b"d"), (4, b"e")] {
            partial.write_at(offset, Bytes::from_static(bytes)).unwrap();
        }
        assert_eq!(partial.missing_ranges(20), [2..3, 5..6, 8..20]);
        assert_eq!(partial.missing_ranges(8), [2..3, 5..6]);
    }

    #[tokio::test]
    async fn bytes_after_a_closed_gap_are_hashed_in_steps() {
        let mut partial = partial_file();
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
        let sha256 = partial.finish().await.unwrap().sha256;
        assert_eq!(sha256, hexadecimal(Sha256::new_with_prefix([&bytes[..], b"end"].concat())));
    }
}

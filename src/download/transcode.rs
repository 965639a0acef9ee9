//! Converts text to UTF-8 from the charset that the store declares, while the file is received.
//!
//! Charset labels mean what they mean to browsers (WHATWG Encoding Standard, section 4.2): `iso-8859-1` is windows-1252. A
//! file whose bytes are not valid in its charset stays as sent, so that nothing is lost.

use std::io::Write;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use encoding_rs::{Decoder, DecoderResult, Encoding};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::http::parameters;

/// Number of bytes of text that are written at a time.
const BUFFER_SIZE: usize = 64 * 1024;

/// Number of received bytes that are passed to the thread at a time.
const BATCH_SIZE: usize = 256 * 1024;

/// Number of batches that wait for the thread before the download waits for it, too: 8 MiB, since the bytes after a gap
/// become available all at once.
const QUEUE_LENGTH: usize = 32;

/// Returns the charset of a text file.
///
/// # Errors
///
/// Returns the reason why the file is not converted.
pub(super) fn charset(content_type: Option<&str>) -> Result<&'static Encoding, String> {
    let Some(content_type) = content_type.filter(|content_type| !content_type.trim().is_empty()) else {
        return Err("the store declared no content type".to_owned());
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/")) {
        return Err(format!("{media_type} is not text"));
    }
    let Some(charset) = parameters::find(content_type, "charset") else {
        return Err(format!("the store declared {media_type} without a charset"));
    };

    // Browsers know some labels only to replace the whole text.
    let encoding = Encoding::for_label_no_replacement(charset.value.as_bytes());
    encoding.ok_or_else(|| format!("unknown charset {}", charset.value))
}

/// Returns a content type with `charset=utf-8` in place of its charset.
pub(super) fn with_utf8_charset(content_type: &str) -> String {
    match parameters::find(content_type, "charset") {
        Some(charset) => {
            let (before, after) = (&content_type[..charset.range.start], &content_type[charset.range.end..]);
            format!("{before}charset=utf-8{after}")
        }
        None => content_type.to_owned(),
    }
}

/// Converts a file in a thread of its own: at the rate of a fast store, decoding, hashing and writing take as long as
/// receiving.
#[derive(Debug)]
pub(super) struct Transcoder {
    batch: Vec<u8>,
    /// `None` once all batches are sent.
    queue: Option<SyncSender<Bytes>>,
    thread: Option<JoinHandle<TranscodeResult>>,
}

/// A complete file in UTF-8.
#[derive(Debug)]
pub(super) struct Transcoded {
    /// The charset that the store sent.
    pub(super) from: &'static str,
    pub(super) file: NamedTempFile,
    pub(super) hash: Sha256,
    /// Size in bytes.
    pub(super) size: u64,
}

/// The converted file, the reason why it cannot be converted, or an error of the disk.
type TranscodeResult = anyhow::Result<Result<Transcoded, String>>;

impl Transcoder {
    /// Starts a conversion into an empty file.
    ///
    /// # Errors
    ///
    /// If the system has no thread left.
    pub(super) fn new(charset: &'static Encoding, file: NamedTempFile) -> anyhow::Result<Self> {
        let (queue, batches) = sync_channel::<Bytes>(QUEUE_LENGTH);
        let work = move || {
            let mut writer = Utf8Writer::new(charset, file);
            for batch in batches {
                writer.write(&batch, false)?;
            }
            writer.finish()
        };
        let thread = thread::Builder::new().spawn(work).context("cannot start a thread for the conversion to UTF-8")?;
        Ok(Self { batch: Vec::with_capacity(BATCH_SIZE), queue: Some(queue), thread: Some(thread) })
    }

    /// Converts the next bytes of the file.
    ///
    /// # Errors
    ///
    /// If the text cannot be written.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(BATCH_SIZE - self.batch.len()));
            self.batch.extend_from_slice(part);
            bytes = rest;
            if self.batch.len() == BATCH_SIZE {
                self.send_batch()?;
            }
        }
        Ok(())
    }

    /// Returns the converted file, or the reason why it cannot be converted.
    ///
    /// # Errors
    ///
    /// If the text cannot be written.
    pub(super) fn finish(mut self) -> TranscodeResult {
        self.send_batch()?;
        self.join()
    }

    fn send_batch(&mut self) -> anyhow::Result<()> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_SIZE));
        match &self.queue {
            Some(queue) if queue.send(batch.into()).is_ok() => Ok(()),
            // The thread has ended with an error.
            _ => self.join().map(|_| ()),
        }
    }

    fn join(&mut self) -> TranscodeResult {
        self.queue = None;
        let result = self.thread.take().map(JoinHandle::join);
        result.and_then(Result::ok).unwrap_or_else(|| Err(anyhow!("the conversion to UTF-8 failed unexpectedly")))
    }
}

impl Drop for Transcoder {
    /// Waits until the thread has removed its file.
    fn drop(&mut self) {
        drop(self.join());
    }
}

/// Decodes a text and writes it in UTF-8.
struct Utf8Writer {
    decoder: Decoder,
    file: NamedTempFile,
    hash: Sha256,
    size: u64,
    buffer: Vec<u8>,
    /// Whether all bytes so far are valid in the charset.
    is_valid: bool,
}

impl Utf8Writer {
    fn new(charset: &'static Encoding, file: NamedTempFile) -> Self {
        let (hash, buffer) = (Sha256::new(), vec![0; BUFFER_SIZE]);
        Self { decoder: charset.new_decoder(), file, hash, size: 0, buffer, is_valid: true }
    }

    fn write(&mut self, mut bytes: &[u8], is_last: bool) -> anyhow::Result<()> {
        while self.is_valid {
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, &mut self.buffer, is_last);
            // The decoder removes one byte-order mark. There can be more, and some charsets keep theirs.
            let marks = if self.size == 0 { byte_order_marks(&self.buffer[..written]) } else { 0 };
            let text = &self.buffer[marks..written];
            self.file.as_file_mut().write_all(text).context("cannot write the converted text")?;
            self.hash.update(text);
            self.size += text.len() as u64;

            bytes = &bytes[read..];
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.is_valid = false,
            }
        }
        Ok(())
    }

    fn finish(mut self) -> TranscodeResult {
        self.write(&[], true)?;
        // A byte-order mark takes precedence over the declared charset.
        let from = self.decoder.encoding().name();
        if !self.is_valid {
            return Ok(Err(format!("its bytes are not valid {from}")));
        }
        Ok(Ok(Transcoded { from, file: self.file, hash: self.hash, size: self.size }))
    }
}

/// Returns the length of the byte-order marks at the beginning of a text.
fn byte_order_marks(text: &[u8]) -> usize {
    let mark = "\u{FEFF}".as_bytes();
    mark.len() * text.chunks(mark.len()).take_while(|chunk| *chunk == mark).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn transcode_all(charset: &'static Encoding, parts: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut conversion = Transcoder::new(charset, NamedTempFile::new().unwrap()).unwrap();
        for part in parts {
            conversion.write(part).unwrap();
            assert!(conversion.batch.len() < BATCH_SIZE, "a batch is sent once it is full");
        }
        let converted = conversion.finish().unwrap()?;
        let text = std::fs::read(converted.file.path()).unwrap();
        assert_eq!((converted.size, converted.hash.finalize()), (text.len() as u64, Sha256::digest(&text)));
        Ok(text)
    }

    #[test]
    fn the_charset_is_a_parameter_of_a_text_type() {
        for (content_type, found) in [
            (Some("text/csv;charset=iso-8859-1"), Ok("windows-1252")),
            (Some("Text/CSV; header=present; Charset=\"ISO-8859-1\""), Ok("windows-1252")),
            (Some("text/plain; charset = latin1 ;x=y"), Ok("windows-1252")),
            (Some("text/html;charset=UTF8"), Ok("UTF-8")),
            (Some("text/csv;charset=utf-16"), Ok("UTF-16LE")),
            (Some("text/csv;charset=shift_jis"), Ok("Shift_JIS")),
            (Some("text/csv"), Err("the store declared text/csv without a charset")),
            (Some("text/csv;charset=klingon"), Err("unknown charset klingon")),
            (Some("text/csv;charset=iso-2022-kr"), Err("unknown charset iso-2022-kr")),
            (Some("text/csv;charset="), Err("unknown charset ")),
            (Some("text/csv;x=\";charset=utf-8;\"; charset=latin1"), Ok("windows-1252")),
            (Some("text/csv;x-charset=utf-8;charset=latin1"), Ok("windows-1252")),
            (Some("text/csv;charset=utf-8;charset=latin1"), Ok("UTF-8")),
            (Some("text/csv;x=\";charset=utf-8"), Err("the store declared text/csv without a charset")),
            (Some("text/csv;x=\"\\\";charset=utf-16le;\\\"\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some("text/csv;name=\"a\\\"b\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some("text/csv;name=\"a\\\\\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some(" "), Err("the store declared no content type")),
            (Some("application/zip"), Err("application/zip is not text")),
            (Some("application/vnd.ms-excel;charset=iso-8859-1"), Err("application/vnd.ms-excel is not text")),
            (Some("tex€/csv;charset=iso-8859-1"), Err("tex€/csv is not text")),
            (None, Err("the store declared no content type")),
        ] {
            assert_eq!(charset(content_type).map(Encoding::name), found.map_err(str::to_owned), "{content_type:?}");
        }
    }

    #[test]
    fn the_content_type_of_a_converted_file_has_the_charset_utf_8() {
        for (sent, converted) in [
            ("text/csv;charset=iso-8859-1", "text/csv;charset=utf-8"),
            ("text/csv; Charset=\"latin1\"; header=present", "text/csv; charset=utf-8; header=present"),
            ("text/csv", "text/csv"),
            ("text/csv;x-charset=latin1;charset=latin1", "text/csv;x-charset=latin1;charset=utf-8"),
            ("text/csv;x=\";charset=latin1\";charset=latin1", "text/csv;x=\";charset=latin1\";charset=utf-8"),
        ] {
            assert_eq!(with_utf8_charset(sent), converted);
        }
    }

    #[test]
    fn labels_and_byte_order_marks_mean_what_they_mean_to_browsers() {
        let charset = |label: &str| Encoding::for_label(label.as_bytes()).unwrap();
        for (label, sent, text) in [
            ("iso-8859-1", &b"Zo\xEB, \x80 5, \x93x\x94\r\n"[..], "Zoë, € 5, “x”\r\n"),
            ("iso-8859-1", b"\x81\x8D\x8F\x90\x9D", "\u{81}\u{8D}\u{8F}\u{90}\u{9D}"),
            ("utf-8", "Zoë".as_bytes(), "Zoë"),
            ("utf-8", b"\xEF\xBB\xBFZo\xC3\xAB", "Zoë"),
            ("iso-8859-1", b"\xEF\xBB\xBFZo\xC3\xAB", "Zoë"),
            ("utf-16", b"\xFF\xFEZ\0\xEB\0", "Zë"),
            ("utf-8", b"\xEF\xBB\xBF\xEF\xBB\xBF\xEF\xBB\xBFa\xEF\xBB\xBF", "a\u{FEFF}"),
            ("utf-16le", b"\xFF\xFE\xFF\xFEa\0", "a"),
            ("gb18030", b"\x84\x31\x95\x33a", "a"),
            ("utf-8", b"\xEF\xBB\xBF", ""),
            ("shift_jis", b"\x83\x65\x83\x58\x83\x67", "テスト"),
            ("iso-8859-1", b"", ""),
        ] {
            assert_eq!(transcode_all(charset(label), &[sent]).unwrap(), text.as_bytes(), "{label} {sent:?}");
        }
    }

    #[test]
    fn batches_are_of_limited_size() {
        let part = [b'a'; BATCH_SIZE * 2 / 5];
        assert_eq!(transcode_all(encoding_rs::UTF_8, &[&part[..]; 10]).unwrap(), part.repeat(10));
    }

    #[test]
    fn an_error_of_the_disk_ends_the_conversion() {
        let read_only = tempfile::Builder::new().make(|path| {
            std::fs::write(path, "")?;
            std::fs::File::open(path)
        });
        let (file, path) = read_only.unwrap().into_parts();
        let mut conversion = Transcoder::new(encoding_rs::UTF_8, NamedTempFile::from_parts(file, path)).unwrap();
        let end = (0..100).try_for_each(|_| conversion.write(&[b'a'; BATCH_SIZE]));
        assert_eq!(end.unwrap_err().to_string(), "cannot write the converted text");
    }

    #[test]
    fn invalid_text_is_not_converted() {
        let utf_8 = encoding_rs::UTF_8;
        for parts in [&[&b"a\xFFb"[..]][..], &[b"a\xC3", b"b"], &[b"a\xC3"], &[b"\xEF\xBB\xBFa\xFF", b"much more"]] {
            assert_eq!(transcode_all(utf_8, parts), Err("its bytes are not valid UTF-8".to_owned()), "{parts:?}");
        }
    }

    proptest! {
        #[test]
        fn the_text_does_not_depend_on_the_chunks(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            cuts in proptest::collection::vec(0..300_usize, 0..5),
            times in 1..400_usize,
        ) {
            let bytes = bytes.repeat(times);
            let windows_1252 = encoding_rs::WINDOWS_1252;
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut * times).filter(|&cut| cut <= bytes.len()).collect();
            cuts.sort_unstable();
            let ends = cuts.iter().copied().chain([bytes.len()]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let parts: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect();
            let (whole, _, _) = windows_1252.decode(&bytes);
            let converted = transcode_all(windows_1252, &parts);
            // With a byte-order mark, the text is in another charset, in which its bytes may be invalid.
            if Encoding::for_bom(&bytes).is_none() {
                prop_assert_eq!(converted.unwrap(), whole.as_bytes());
            }
        }
    }
}

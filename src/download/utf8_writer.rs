//! Decodes text and writes it in UTF-8 to a file of its own.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, WINDOWS_1252};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::html_charset;
use super::text_type::TextType;
use crate::report::history::{Conversion, HtmlCharset};

/// Number of bytes of text that are written at a time.
pub(super) const BUFFER_SIZE: usize = 64 * 1024;

/// A complete file in UTF-8.
#[derive(Debug)]
pub(super) struct Transcoded {
    pub(super) conversion: Conversion,
    pub(super) file: NamedTempFile,
    pub(super) hash: Sha256,
    /// Size in bytes.
    pub(super) size: u64,
}

/// The converted file, the reason why it cannot be converted, or an error of the disk.
pub(super) type TranscodeResult = anyhow::Result<Result<Transcoded, String>>;

/// Decodes a text and writes it in UTF-8.
pub(super) struct Utf8Writer {
    text_type: TextType,
    /// The partial file, which is read again if the text is not UTF-8. Has at least the first `received` bytes.
    source: File,
    /// Number of bytes that were passed to [`Utf8Writer::write`].
    received: u64,
    decoder: Decoder,
    buffer: Vec<u8>,
    text: TextFile,
    /// Number of bytes of the text in UTF-8.
    decoded: u64,
    /// Whether the text so far is ASCII.
    is_ascii: bool,
    /// Whether all bytes so far are valid in the charset.
    is_valid: bool,
    is_cancelled: Arc<AtomicBool>,
}

impl Utf8Writer {
    /// Once `is_cancelled` is set, decoding ends with an error.
    pub(super) fn new(text_type: TextType, source: File, file: NamedTempFile, is_cancelled: Arc<AtomicBool>) -> Self {
        Self {
            text_type,
            source,
            received: 0,
            decoder: text_type.charset.unwrap_or(UTF_8).new_decoder(),
            buffer: vec![0; BUFFER_SIZE],
            text: TextFile::new(file, text_type.is_html),
            decoded: 0,
            is_ascii: true,
            is_valid: true,
            is_cancelled,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.received += bytes.len() as u64;
        self.decode(bytes, false)?;
        // Any other text is read again only at the end. That takes long, so the queue would fill up, and the download would wait.
        if self.is_ascii { self.fall_back_to_windows_1252() } else { Ok(()) }
    }

    fn decode(&mut self, mut bytes: &[u8], is_last: bool) -> anyhow::Result<()> {
        while self.is_valid {
            if self.is_cancelled.load(Ordering::Relaxed) {
                bail!("the conversion to UTF-8 was cancelled");
            }
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, &mut self.buffer, is_last);
            // The decoder removes one byte-order mark. There can be more, and some charsets keep theirs.
            let marks = if self.decoded == 0 { byte_order_marks(&self.buffer[..written]) } else { 0 };
            let text = &self.buffer[marks..written];
            self.text.write(text)?;
            self.decoded += text.len() as u64;
            self.is_ascii &= text.is_ascii();

            bytes = &bytes[read..];
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.is_valid = false,
            }
        }
        Ok(())
    }

    /// Decodes the file as windows-1252 if it has no charset and is not valid UTF-8. ASCII is the same in both charsets, so an
    /// ASCII text stays, and only what follows is read again.
    fn fall_back_to_windows_1252(&mut self) -> anyhow::Result<()> {
        if self.is_valid || self.text_type.charset.is_some() || self.has_byte_order_mark()? {
            return Ok(());
        }

        let mut position = self.decoded;
        if !self.is_ascii {
            self.text.clear()?;
            position = 0;
        }
        self.decoder = WINDOWS_1252.new_decoder_without_bom_handling();
        (self.decoded, self.is_valid) = (position, true);

        let mut part = vec![0; BUFFER_SIZE];
        while position < self.received {
            let length = usize::try_from(self.received - position).map_or(part.len(), |length| length.min(part.len()));
            self.source.read_exact_at(&mut part[..length], position).context("cannot read the partial file")?;
            self.decode(&part[..length], false)?;
            position += length as u64;
        }
        Ok(())
    }

    /// Returns whether the file begins with a byte-order mark, which declares the charset.
    fn has_byte_order_mark(&self) -> anyhow::Result<bool> {
        let mut start = [0; 3];
        let length = usize::try_from(self.received).map_or(start.len(), |received| received.min(start.len()));
        self.source.read_exact_at(&mut start[..length], 0).context("cannot read the partial file")?;
        Ok(Encoding::for_bom(&start[..length]).is_some())
    }

    pub(super) fn finish(mut self) -> TranscodeResult {
        self.decode(&[], true)?;
        self.fall_back_to_windows_1252()?;
        // A byte-order mark takes precedence over the declared charset.
        let charset = self.decoder.encoding();
        if !self.is_valid {
            return Ok(Err(format!("its bytes are not valid {}", charset.name())));
        }

        self.text.write_head()?;
        let TextFile { file, hash, size, html, .. } = self.text;
        let conversion = Conversion {
            charset: charset.name(),
            is_declared: self.text_type.charset.is_some(),
            has_removed_mark: charset == UTF_8 && self.decoded < self.received,
            html,
        };
        Ok(Ok(Transcoded { conversion, file, hash, size }))
    }
}

/// The file of the converted text.
struct TextFile {
    file: NamedTempFile,
    hash: Sha256,
    size: u64,
    is_html: bool,
    /// The beginning of an HTML file, until it is complete.
    head: Option<Vec<u8>>,
    html: HtmlCharset,
}

impl TextFile {
    fn new(file: NamedTempFile, is_html: bool) -> Self {
        let head = is_html.then(Vec::new);
        Self { file, hash: Sha256::new(), size: 0, is_html, head, html: HtmlCharset::Unchanged }
    }

    fn write(&mut self, text: &[u8]) -> anyhow::Result<()> {
        match &mut self.head {
            None => self.append(text),
            Some(head) => {
                head.extend_from_slice(text);
                if head.len() < html_charset::HEAD_LENGTH { Ok(()) } else { self.write_head() }
            }
        }
    }

    /// Writes the beginning of an HTML file.
    fn write_head(&mut self) -> anyhow::Result<()> {
        let Some(mut head) = self.head.take() else { return Ok(()) };
        self.html = html_charset::change_to_utf8(&mut head);
        self.append(&head)
    }

    fn append(&mut self, text: &[u8]) -> anyhow::Result<()> {
        self.file.as_file_mut().write_all(text).context("cannot write the converted text")?;
        self.hash.update(text);
        self.size += text.len() as u64;
        Ok(())
    }

    /// Drops the text so far.
    fn clear(&mut self) -> anyhow::Result<()> {
        let file = self.file.as_file_mut();
        file.set_len(0).and_then(|()| file.rewind()).context("cannot truncate the file for the converted text")?;
        (self.hash, self.size) = (Sha256::new(), 0);
        (self.head, self.html) = (self.is_html.then(Vec::new), HtmlCharset::Unchanged);
        Ok(())
    }
}

/// Returns the length of the byte-order marks at the beginning of a text.
fn byte_order_marks(text: &[u8]) -> usize {
    let mark = "\u{FEFF}".as_bytes();
    mark.len() * text.chunks(mark.len()).take_while(|chunk| *chunk == mark).count()
}

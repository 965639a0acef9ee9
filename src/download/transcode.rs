//! Converts text to UTF-8 while the file is received: from the charset that the store declares, or without one from windows-1252
//! unless the text is in UTF-8 already.
//!
//! Charset labels mean what they mean to browsers (WHATWG Encoding Standard, section 4.2): `iso-8859-1` is windows-1252. A
//! file whose bytes are not valid in its charset stays as sent, so that nothing is lost.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, WINDOWS_1252};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use thiserror::Error;

use super::html_charset;
use crate::http::parameters;
use crate::report::history::{Conversion, HtmlCharset};

/// Number of bytes of text that are written at a time.
const BUFFER_SIZE: usize = 64 * 1024;

/// Number of received bytes that are passed to the thread at a time.
const BATCH_SIZE: usize = 256 * 1024;

/// Number of batches that wait for the thread before the download waits for it, too: 8 MiB, since the bytes after a gap
/// become available all at once.
const QUEUE_LENGTH: usize = 32;

/// Why the content type of a file rules out a conversion.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum NotConvertible {
    #[error("the store declared no content type")]
    NoType,
    /// Stores declare it if the upload had no type.
    #[error("{0} can be text or not")]
    UnknownType(String),
    #[error("{0} is not text")]
    NotText(String),
    #[error("unknown charset {0}")]
    UnknownCharset(String),
}

/// A content type of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextType {
    /// The charset that the store declares.
    charset: Option<&'static Encoding>,
    is_html: bool,
}

impl TextType {
    /// Parses a content type.
    ///
    /// # Errors
    ///
    /// If a file of this type is not converted.
    pub(super) fn parse(content_type: Option<&str>) -> Result<Self, NotConvertible> {
        let content_type = content_type.unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.is_empty() {
            return Err(NotConvertible::NoType);
        }
        let (main_type, subtype) = media_type.split_once('/').unwrap_or((media_type, ""));
        if subtype.eq_ignore_ascii_case("octet-stream") {
            return Err(NotConvertible::UnknownType(media_type.to_owned()));
        }
        if !main_type.eq_ignore_ascii_case("text") {
            return Err(NotConvertible::NotText(media_type.to_owned()));
        }

        let label = parameters::find(content_type, "charset").map(|charset| charset.value);
        let label = label.filter(|label| !label.trim().is_empty());
        // Browsers know some labels only to replace the whole text.
        let known = |label: String| {
            let charset = Encoding::for_label_no_replacement(label.as_bytes());
            charset.ok_or(NotConvertible::UnknownCharset(label))
        };
        Ok(Self { charset: label.map(known).transpose()?, is_html: subtype.eq_ignore_ascii_case("html") })
    }
}

/// Returns a content type with `charset=utf-8` in place of its charset.
pub(super) fn with_utf8_charset(content_type: &str) -> String {
    match parameters::find(content_type, "charset") {
        Some(charset) => {
            let (before, after) = (&content_type[..charset.range.start], &content_type[charset.range.end..]);
            format!("{before}charset=utf-8{after}")
        }
        None => {
            let media_type = content_type.split(';').next().unwrap_or_default();
            format!("{};charset=utf-8{}", media_type.trim_end(), &content_type[media_type.len()..])
        }
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
    pub(super) conversion: Conversion,
    pub(super) file: NamedTempFile,
    pub(super) hash: Sha256,
    /// Size in bytes.
    pub(super) size: u64,
}

/// The converted file, the reason why it cannot be converted, or an error of the disk.
type TranscodeResult = anyhow::Result<Result<Transcoded, String>>;

impl Transcoder {
    /// Starts a conversion into an empty file. Bytes that are passed to [`Transcoder::write`] must be in `source` already.
    ///
    /// # Errors
    ///
    /// If the system has no thread left.
    pub(super) fn new(text_type: TextType, source: File, file: NamedTempFile) -> anyhow::Result<Self> {
        let (queue, batches) = sync_channel::<Bytes>(QUEUE_LENGTH);
        let work = move || {
            let mut writer = Utf8Writer::new(text_type, source, file);
            for batch in batches {
                writer.write(&batch)?;
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
    text_type: TextType,
    /// The file as the store sends it, which has at least the bytes that were received.
    source: File,
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
}

impl Utf8Writer {
    fn new(text_type: TextType, source: File, file: NamedTempFile) -> Self {
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
        }
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.received += bytes.len() as u64;
        self.decode(bytes, false)?;
        self.retry_as_windows_1252()
    }

    fn decode(&mut self, mut bytes: &[u8], is_last: bool) -> anyhow::Result<()> {
        while self.is_valid {
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
    fn retry_as_windows_1252(&mut self) -> anyhow::Result<()> {
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

    /// Returns whether the file begins with a byte-order mark, which names the charset.
    fn has_byte_order_mark(&self) -> anyhow::Result<bool> {
        let mut start = [0; 3];
        let length = usize::try_from(self.received).map_or(start.len(), |received| received.min(start.len()));
        self.source.read_exact_at(&mut start[..length], 0).context("cannot read the partial file")?;
        Ok(Encoding::for_bom(&start[..length]).is_some())
    }

    fn finish(mut self) -> TranscodeResult {
        self.decode(&[], true)?;
        self.retry_as_windows_1252()?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn transcode(content_type: &str, parts: &[&[u8]]) -> Result<(Vec<u8>, Conversion), String> {
        let text_type = TextType::parse(Some(content_type)).unwrap();
        let mut source = tempfile::tempfile().unwrap();
        let file = NamedTempFile::new().unwrap();
        let mut conversion = Transcoder::new(text_type, source.try_clone().unwrap(), file).unwrap();
        for part in parts {
            source.write_all(part).unwrap();
            conversion.write(part).unwrap();
            assert!(conversion.batch.len() < BATCH_SIZE, "a batch is sent once it is full");
        }
        let converted = conversion.finish().unwrap()?;
        let text = std::fs::read(converted.file.path()).unwrap();
        assert_eq!((converted.size, converted.hash.finalize()), (text.len() as u64, Sha256::digest(&text)));
        Ok((text, converted.conversion))
    }

    fn transcode_all(charset: &'static Encoding, parts: &[&[u8]]) -> Result<Vec<u8>, String> {
        transcode(&format!("text/csv;charset={}", charset.name()), parts).map(|(text, _)| text)
    }

    #[test]
    fn the_charset_is_a_parameter_of_a_text_type() {
        let no_charset = Ok("no charset");
        for (content_type, found) in [
            (Some("text/csv;charset=iso-8859-1"), Ok("windows-1252")),
            (Some("Text/CSV; header=present; Charset=\"ISO-8859-1\""), Ok("windows-1252")),
            (Some("text/plain; charset = latin1 ;x=y"), Ok("windows-1252")),
            (Some("text/html;charset=UTF8"), Ok("UTF-8")),
            (Some("text/csv;charset=utf-16"), Ok("UTF-16LE")),
            (Some("text/csv;charset=shift_jis"), Ok("Shift_JIS")),
            (Some("text/csv"), no_charset),
            (Some("text/csv;charset=klingon"), Err("unknown charset klingon")),
            (Some("text/csv;charset=iso-2022-kr"), Err("unknown charset iso-2022-kr")),
            (Some("text/csv;charset="), no_charset),
            (Some("text/csv; charset=\" \"; x=y"), no_charset),
            (Some("text/csv;x=\";charset=utf-8;\"; charset=latin1"), Ok("windows-1252")),
            (Some("text/csv;x-charset=utf-8;charset=latin1"), Ok("windows-1252")),
            (Some("text/csv;charset=utf-8;charset=latin1"), Ok("UTF-8")),
            (Some("text/csv;x=\";charset=utf-8"), no_charset),
            (Some("text/csv;x=\"\\\";charset=utf-16le;\\\"\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some("text/csv;name=\"a\\\"b\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some("text/csv;name=\"a\\\\\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some(" "), Err("the store declared no content type")),
            (Some(";charset=utf-8"), Err("the store declared no content type")),
            (Some("binary/octet-stream"), Err("binary/octet-stream can be text or not")),
            (Some("Application/Octet-Stream;charset=utf-8"), Err("Application/Octet-Stream can be text or not")),
            (Some("application/zip"), Err("application/zip is not text")),
            (Some("application/vnd.ms-excel;charset=iso-8859-1"), Err("application/vnd.ms-excel is not text")),
            (Some("tex€/csv;charset=iso-8859-1"), Err("tex€/csv is not text")),
            (Some("texts"), Err("texts is not text")),
            (None, Err("the store declared no content type")),
        ] {
            let charset = TextType::parse(content_type).map(|text| text.charset.map_or("no charset", Encoding::name));
            assert_eq!(charset.map_err(|error| error.to_string()), found.map_err(str::to_owned), "{content_type:?}");
        }
        for (content_type, is_html) in [("text/html", true), ("TEXT/HTML ;charset=utf-8", true), ("text/htm", false)] {
            assert_eq!(TextType::parse(Some(content_type)).unwrap().is_html, is_html);
        }
    }

    #[test]
    fn the_content_type_of_a_converted_file_has_the_charset_utf_8() {
        for (sent, converted) in [
            ("text/csv;charset=iso-8859-1", "text/csv;charset=utf-8"),
            ("text/csv; Charset=\"latin1\"; header=present", "text/csv; charset=utf-8; header=present"),
            ("text/csv", "text/csv;charset=utf-8"),
            ("text/csv ; header=present", "text/csv;charset=utf-8; header=present"),
            ("text/csv;x=\"open", "text/csv;charset=utf-8;x=\"open"),
            ("text/csv;charset=", "text/csv;charset=utf-8"),
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
        let (text_type, source) = (TextType::parse(Some("text/csv")).unwrap(), tempfile::tempfile().unwrap());
        let mut conversion = Transcoder::new(text_type, source, NamedTempFile::from_parts(file, path)).unwrap();
        let end = (0..100).try_for_each(|_| conversion.write(&[b'a'; BATCH_SIZE]));
        assert_eq!(end.unwrap_err().to_string(), "cannot write the converted text");
    }

    #[test]
    fn text_without_a_charset_is_utf_8_or_windows_1252() {
        let invalid = |charset: &str| Err(format!("its bytes are not valid {charset}"));
        for (parts, expected) in [
            (&[&b""[..]][..], Ok(("", "UTF-8", false))),
            (&[b"plain"], Ok(("plain", "UTF-8", false))),
            (&[b"Zo\xC3\xAB"], Ok(("Zoë", "UTF-8", false))),
            (&[b"Zo\xC3", b"\xAB"], Ok(("Zoë", "UTF-8", false))),
            (&[b"\xEF\xBB", b"\xBFZo\xC3\xAB"], Ok(("Zoë", "UTF-8", true))),
            (&[b"\xFF\xFEZ\0\xEB\0"], Ok(("Zë", "UTF-16LE", false))),
            (&[b"\xFE\xFF\0Z\0\xEB"], Ok(("Zë", "UTF-16BE", false))),
            (&[b"\xEB"], Ok(("ë", "windows-1252", false))),
            (&[b"Zo\xEB, \x80"], Ok(("Zoë, €", "windows-1252", false))),
            (&[b"Zo", b"\xEB,", b" \x80"], Ok(("Zoë, €", "windows-1252", false))),
            (&[b"Zo\xC3"], Ok(("ZoÃ", "windows-1252", false))),
            (&[b"Zo\xE2", b"\x82"], Ok(("Zoâ‚", "windows-1252", false))),
            (&[b"Zo\xE2\x82", b",\xAC"], Ok(("Zoâ‚,¬", "windows-1252", false))),
            (&[b"Zo\xC3\xAB ", b"Zo\xEB"], Ok(("ZoÃ« Zoë", "windows-1252", false))),
            (&[b"Zo\xC3\xAB, ", b"x", b"\xC3"], Ok(("ZoÃ«, xÃ", "windows-1252", false))),
            (&[b"\xED\xA0\x80"], Ok(("í\u{A0}€", "windows-1252", false))),
            (&[b"\xFF"], Ok(("ÿ", "windows-1252", false))),
            // A byte-order mark names the charset.
            (&[b"\xEF\xBB\xBFZo\xEB"], invalid("UTF-8")),
            (&[b"\xFF\xFEZ\0\xEB"], invalid("UTF-16LE")),
        ] {
            let converted = transcode("text/csv", parts);
            let converted = converted.map(|(text, conversion)| (String::from_utf8(text).unwrap(), conversion));
            let expected = expected.map(|(text, charset, has_removed_mark)| {
                let html = HtmlCharset::Unchanged;
                (text.to_owned(), Conversion { charset, is_declared: false, has_removed_mark, html })
            });
            assert_eq!(converted, expected, "{parts:?}");
        }
    }

    #[test]
    fn a_long_mixture_is_read_again_from_its_beginning() {
        let valid = "é".repeat(BATCH_SIZE);
        for invalid in [&b"\xE9"[..], b"\xE9 and much more"] {
            let (text, conversion) = transcode("text/csv", &[b"x", valid.as_bytes(), invalid]).unwrap();
            assert_eq!(conversion.charset, "windows-1252");
            let invalid = WINDOWS_1252.decode(invalid).0;
            assert!(text == ["x", &"Ã©".repeat(BATCH_SIZE), &invalid].concat().into_bytes());
        }
    }

    #[test]
    fn a_partial_file_that_cannot_be_read_ends_the_conversion() {
        let text_type = TextType::parse(Some("text/csv")).unwrap();
        let (empty, file) = (tempfile::tempfile().unwrap(), NamedTempFile::new().unwrap());
        let mut conversion = Transcoder::new(text_type, empty, file).unwrap();
        conversion.write(b"Zo\xEB").unwrap();
        assert_eq!(conversion.finish().unwrap_err().to_string(), "cannot read the partial file");
    }

    #[test]
    fn the_charset_of_html_is_changed() {
        let long = "é".repeat(2 * BUFFER_SIZE);
        for (content_type, html, end, is_changed) in [
            ("text/html", "<meta charset=latin1>Zo", &b"\xEB"[..], true),
            ("text/html", "<meta charset=latin1>Zoë", b"", true),
            ("text/html;charset=latin1", "<meta charset=latin1>Zo", b"\xEB", true),
            ("text/html;charset=utf-8", "<meta charset=latin1>Zoë", b"", true),
            ("text/html", "<meta charset=utf-8>Zo", b"\xEB", false),
            ("text/plain;charset=utf-8", "<meta charset=latin1>Zoë", b"", false),
            // Read again from the beginning.
            ("text/html", &["<meta charset=latin1>", &long].concat(), b"\xEB", true),
        ] {
            let sent = [html.as_bytes(), end].concat();
            let (text, conversion) = transcode(content_type, &[&sent[..5], &sent[5..]]).unwrap();
            let is_utf_8 = conversion.charset == "UTF-8";
            let text_before = if is_utf_8 { UTF_8.decode(&sent).0 } else { WINDOWS_1252.decode(&sent).0 };
            let expected =
                if is_changed { text_before.replacen("latin1", "utf-8", 1) } else { text_before.into_owned() };
            assert!(text == expected.as_bytes(), "{content_type} {}", String::from_utf8_lossy(&text));
            assert_eq!(conversion.html == HtmlCharset::Changed, is_changed);
            assert!(!conversion.has_removed_mark);
        }
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
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut * times).filter(|&cut| cut <= bytes.len()).collect();
            cuts.sort_unstable();
            let ends = cuts.iter().copied().chain([bytes.len()]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let parts: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect();
            let (whole, _, _) = WINDOWS_1252.decode(&bytes);
            let converted = transcode_all(WINDOWS_1252, &parts);
            // With a byte-order mark, the text is in another charset, in which its bytes may be invalid.
            if Encoding::for_bom(&bytes).is_none() {
                prop_assert_eq!(converted.unwrap(), whole.as_bytes());
            }
        }

        #[test]
        fn the_charset_does_not_depend_on_the_chunks(
            text in "[ab<é€𝄞]{0,300}",
            invalid in proptest::option::of(any::<prop::sample::Index>()),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
            times in 1..400_usize,
        ) {
            let mut bytes = text.repeat(times).into_bytes();
            if let Some(at) = invalid {
                bytes.insert(at.index(bytes.len() + 1), b'\xE9');
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();

            let (text, conversion) = transcode("text/plain", &parts).unwrap();
            let charset = if std::str::from_utf8(&bytes).is_ok() { UTF_8 } else { WINDOWS_1252 };
            prop_assert_eq!(conversion.charset, charset.name());
            prop_assert!(text == charset.decode_without_bom_handling(&bytes).0.as_bytes());
        }
    }
}

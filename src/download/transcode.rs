//! Text in UTF-8: a text file is converted from the charset that the store names, as its bytes come in order.
//!
//! Labels mean what they mean to browsers (WHATWG Encoding Standard, section 4.2): `iso-8859-1` is windows-1252. A file that
//! turns out not to be text of its charset is left as sent: nothing in it may be lost.

use std::io::Write;
use std::ops::Range;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use encoding_rs::{Decoder, DecoderResult, Encoding};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// So many bytes of text are written at a time.
const BUFFER: usize = 64 * 1024;

/// So many bytes of the file as sent are handed over at a time, and so many times before the download waits: 8 MiB, for
/// what was waiting behind a gap comes all at once.
const BATCH: usize = 256 * 1024;
const BATCHES: usize = 32;

/// The charset of a text file, or why its text stays as sent.
///
/// # Errors
///
/// The reason, as words for a person.
pub fn charset(content_type: Option<&str>) -> Result<&'static Encoding, String> {
    let Some(content_type) = content_type.filter(|sent| !sent.trim().is_empty()) else {
        return Err("the store does not say what kind of file it is".to_owned());
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/")) {
        return Err(format!("{essence} is not text"));
    }
    let Some((_, label)) = parameter(content_type) else { return Err(format!("{essence} comes without a charset")) };
    // Some charsets are known to browsers only as such that nobody reads.
    Encoding::for_label_no_replacement(label.as_bytes()).ok_or_else(|| format!("the charset {label} is not known"))
}

/// The same content type with `charset=utf-8`.
#[must_use]
pub fn with_utf8_charset(content_type: &str) -> String {
    match parameter(content_type) {
        Some((at, _)) => format!("{}charset=utf-8{}", &content_type[..at.start], &content_type[at.end..]),
        None => content_type.to_owned(),
    }
}

/// The parameter `charset`: where it stands, and its value without quotes.
fn parameter(content_type: &str) -> Option<(Range<usize>, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    let ends = content_type.char_indices().filter(|&(_, c)| {
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        c == ';' && !quoted
    });
    let ends: Vec<usize> = ends.map(|(at, _)| at).chain([content_type.len()]).collect();
    ends.windows(2).find_map(|ends| {
        let whole = content_type[ends[0] + 1..ends[1]].trim();
        let (name, value) = whole.split_once('=')?;
        let start = ends[0] + 1 + content_type[ends[0] + 1..].find(whole)?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| (start..start + whole.len(), value.trim().trim_matches('"')))
    })
}

/// A file that is being converted, by a thread of its own: decoding, hashing and writing the text takes as long as the
/// download itself on a fast line, and so it takes little more.
#[derive(Debug)]
pub struct Transcoder {
    batch: Vec<u8>,
    /// Where batches go, until the end.
    batches: Option<SyncSender<Bytes>>,
    thread: Option<JoinHandle<TranscodeResult>>,
}

/// A file in UTF-8, complete.
#[derive(Debug)]
pub struct Transcoded {
    /// The charset that it was in.
    pub from: &'static str,
    /// Its text, in a hidden file beside the destination.
    pub file: NamedTempFile,
    /// SHA-256 of it.
    pub hash: Sha256,
    /// Its length in bytes.
    pub size: u64,
}

/// A converted file, or why it cannot be converted, or what the disk says.
type TranscodeResult = anyhow::Result<Result<Transcoded, String>>;

impl Transcoder {
    /// The beginning of a conversion into an empty file.
    ///
    /// # Errors
    ///
    /// When there can be no other thread.
    pub fn new(charset: &'static Encoding, file: NamedTempFile) -> anyhow::Result<Self> {
        let (batches, received) = sync_channel::<Bytes>(BATCHES);
        let work = move || {
            let mut text = Utf8Writer::new(charset, file);
            for batch in received {
                text.decode(&batch, false)?;
            }
            text.finish()
        };
        let thread = thread::Builder::new().spawn(work).context("no thread for the conversion")?;
        Ok(Self { batch: Vec::with_capacity(BATCH), batches: Some(batches), thread: Some(thread) })
    }

    /// Takes the next bytes of the file as sent.
    ///
    /// # Errors
    ///
    /// When the disk does not take what becomes of them.
    pub fn take(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(BATCH - self.batch.len()));
            self.batch.extend_from_slice(part);
            bytes = rest;
            if self.batch.len() == BATCH {
                self.send_batch()?;
            }
        }
        Ok(())
    }

    /// The whole text, or why there is none.
    ///
    /// # Errors
    ///
    /// When the disk does not take the rest of it.
    pub fn finish(mut self) -> TranscodeResult {
        self.send_batch()?;
        self.join()
    }

    fn send_batch(&mut self) -> anyhow::Result<()> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        match &self.batches {
            Some(batches) if batches.send(batch.into()).is_ok() => Ok(()),
            // Nobody takes batches any more: the disk has said why.
            _ => self.join().map(|_| ()),
        }
    }

    fn join(&mut self) -> TranscodeResult {
        self.batches = None;
        let end = self.thread.take().map(JoinHandle::join);
        end.and_then(Result::ok).unwrap_or_else(|| Err(anyhow!("the conversion has broken off")))
    }
}

impl Drop for Transcoder {
    /// The file of the text is gone before anything else happens.
    fn drop(&mut self) {
        drop(self.join());
    }
}

/// A text that is being made.
struct Utf8Writer {
    decoder: Decoder,
    file: NamedTempFile,
    hash: Sha256,
    size: u64,
    buffer: Vec<u8>,
    is_text: bool,
}

impl Utf8Writer {
    fn new(charset: &'static Encoding, file: NamedTempFile) -> Self {
        let (hash, buffer) = (Sha256::new(), vec![0; BUFFER]);
        Self { decoder: charset.new_decoder(), file, hash, size: 0, buffer, is_text: true }
    }

    fn decode(&mut self, mut bytes: &[u8], is_last: bool) -> anyhow::Result<()> {
        while self.is_text {
            let (end, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, &mut self.buffer, is_last);
            // The decoder takes one mark of the byte order away; in some charsets, or behind it, there can be more.
            let marks = if self.size == 0 { marks(&self.buffer[..written]) } else { 0 };
            let text = &self.buffer[marks..written];
            self.file.as_file_mut().write_all(text).context("the disk took no more of the converted text")?;
            self.hash.update(text);
            self.size += text.len() as u64;
            bytes = &bytes[read..];
            match end {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.is_text = false,
            }
        }
        Ok(())
    }

    fn finish(mut self) -> TranscodeResult {
        self.decode(&[], true)?;
        // A mark at its beginning says more of a text than its label.
        let from = self.decoder.encoding().name();
        if !self.is_text {
            return Ok(Err(format!("its bytes are no text in {from}")));
        }
        Ok(Ok(Transcoded { from, file: self.file, hash: self.hash, size: self.size }))
    }
}

/// How many bytes at the beginning of a text are marks of the byte order.
fn marks(text: &[u8]) -> usize {
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
            conversion.take(part).unwrap();
            assert!(conversion.batch.len() < BATCH, "the memory is constant");
        }
        let converted = conversion.finish().unwrap()?;
        let text = std::fs::read(converted.file.path()).unwrap();
        assert_eq!((converted.size, converted.hash.finalize()), (text.len() as u64, Sha256::digest(&text)));
        Ok(text)
    }

    #[test]
    fn a_charset_is_found_where_the_store_names_one() {
        for (content_type, found) in [
            (Some("text/csv;charset=iso-8859-1"), Ok("windows-1252")),
            (Some("Text/CSV; header=present; Charset=\"ISO-8859-1\""), Ok("windows-1252")),
            (Some("text/plain; charset = latin1 ;x=y"), Ok("windows-1252")),
            (Some("text/html;charset=UTF8"), Ok("UTF-8")),
            (Some("text/csv;charset=utf-16"), Ok("UTF-16LE")),
            (Some("text/csv;charset=shift_jis"), Ok("Shift_JIS")),
            (Some("text/csv"), Err("text/csv comes without a charset")),
            (Some("text/csv;charset=klingon"), Err("the charset klingon is not known")),
            (Some("text/csv;charset=iso-2022-kr"), Err("the charset iso-2022-kr is not known")),
            (Some("text/csv;charset="), Err("the charset  is not known")),
            (Some("text/csv;x=\";charset=utf-8;\"; charset=latin1"), Ok("windows-1252")),
            (Some("text/csv;x-charset=utf-8;charset=latin1"), Ok("windows-1252")),
            (Some("text/csv;charset=utf-8;charset=latin1"), Ok("UTF-8")),
            (Some("text/csv;x=\";charset=utf-8"), Err("text/csv comes without a charset")),
            (Some("text/csv;x=\"\\\";charset=utf-16le;\\\"\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some("text/csv;name=\"a\\\"b\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some("text/csv;name=\"a\\\\\";charset=iso-8859-1"), Ok("windows-1252")),
            (Some(" "), Err("the store does not say what kind of file it is")),
            (Some("application/zip"), Err("application/zip is not text")),
            (Some("application/vnd.ms-excel;charset=iso-8859-1"), Err("application/vnd.ms-excel is not text")),
            (Some("tex€/csv;charset=iso-8859-1"), Err("tex€/csv is not text")),
            (None, Err("the store does not say what kind of file it is")),
        ] {
            assert_eq!(charset(content_type).map(Encoding::name), found.map_err(str::to_owned), "{content_type:?}");
        }
    }

    #[test]
    fn the_content_type_of_a_converted_file_says_utf_8() {
        for (sent, told) in [
            ("text/csv;charset=iso-8859-1", "text/csv;charset=utf-8"),
            ("text/csv; Charset=\"latin1\"; header=present", "text/csv; charset=utf-8; header=present"),
            ("text/csv", "text/csv"),
            ("text/csv;x-charset=latin1;charset=latin1", "text/csv;x-charset=latin1;charset=utf-8"),
            ("text/csv;x=\";charset=latin1\";charset=latin1", "text/csv;x=\";charset=latin1\";charset=utf-8"),
        ] {
            assert_eq!(with_utf8_charset(sent), told);
        }
    }

    #[test]
    fn text_is_read_as_browsers_read_it() {
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
    fn no_more_bytes_wait_than_a_batch_holds() {
        let part = [b'a'; BATCH * 2 / 5];
        assert_eq!(transcode_all(encoding_rs::UTF_8, &[&part[..]; 10]).unwrap(), part.repeat(10));
    }

    #[test]
    fn a_disk_that_takes_no_more_is_an_error_and_not_a_wait() {
        let read_only = tempfile::Builder::new().make(|path| {
            std::fs::write(path, "")?;
            std::fs::File::open(path)
        });
        let (file, path) = read_only.unwrap().into_parts();
        let mut conversion = Transcoder::new(encoding_rs::UTF_8, NamedTempFile::from_parts(file, path)).unwrap();
        let end = (0..100).try_for_each(|_| conversion.take(&[b'a'; BATCH]));
        assert_eq!(end.unwrap_err().to_string(), "the disk took no more of the converted text");
    }

    #[test]
    fn what_is_no_text_of_its_charset_is_not_converted() {
        let utf_8 = encoding_rs::UTF_8;
        for parts in [&[&b"a\xFFb"[..]][..], &[b"a\xC3", b"b"], &[b"a\xC3"], &[b"\xEF\xBB\xBFa\xFF", b"much more"]] {
            assert_eq!(transcode_all(utf_8, parts), Err("its bytes are no text in UTF-8".to_owned()), "{parts:?}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_come(
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
            // A mark at the beginning can make it a text in another charset, which the rest is then no text of.
            if Encoding::for_bom(&bytes).is_none() {
                prop_assert_eq!(converted.unwrap(), whole.as_bytes());
            }
        }
    }
}

use std::io::{PipeReader, Read, Write};
use std::os::fd::OwnedFd;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use futures_util::future::poll_immediate;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::download::utf8_writer::BUFFER_SIZE;
use crate::report::history::{Conversion, HtmlCharset};

fn finish(conversion: Transcoder) -> TranscodeResult {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(conversion.finish())
}

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
    let converted = finish(conversion).unwrap()?;
    let text = std::fs::read(converted.file.path()).unwrap();
    assert_eq!((converted.size, converted.hash.finalize()), (text.len() as u64, Sha256::digest(&text)));
    Ok((text, converted.conversion))
}

fn transcode_all(charset: &'static Encoding, parts: &[&[u8]]) -> Result<Vec<u8>, String> {
    transcode(&format!("text/csv;charset={}", charset.name()), parts).map(|(text, _)| text)
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
    assert_eq!(transcode_all(UTF_8, &[&part[..]; 10]).unwrap(), part.repeat(10));
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
        // A byte-order mark declares the charset.
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
    assert_eq!(finish(conversion).unwrap_err().to_string(), "cannot read the partial file");
}

#[test]
fn a_mixture_is_read_again_only_at_the_end() {
    let text_type = TextType::parse(Some("text/csv")).unwrap();
    let (empty, file) = (tempfile::tempfile().unwrap(), NamedTempFile::new().unwrap());
    let mut conversion = Transcoder::new(text_type, empty, file).unwrap();
    conversion.write("Zoë".as_bytes()).unwrap();
    (0..=2 * QUEUE_LENGTH).for_each(|_| conversion.write(&[b'\xEB'; BATCH_SIZE]).unwrap());
    assert_eq!(finish(conversion).unwrap_err().to_string(), "cannot read the partial file");
}

/// Starts the conversion of this many batches into a pipe, which is full before the text is complete.
fn transcode_into_pipe(batches: usize) -> (Transcoder, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let path = NamedTempFile::new().unwrap().into_temp_path();
    let file = NamedTempFile::from_parts(File::from(OwnedFd::from(writer)), path);
    let text_type = TextType::parse(Some("text/csv;charset=utf-8")).unwrap();
    let mut conversion = Transcoder::new(text_type, tempfile::tempfile().unwrap(), file).unwrap();
    (0..batches).for_each(|_| conversion.write(&[b'a'; BATCH_SIZE]).unwrap());
    (conversion, reader)
}

#[tokio::test]
async fn other_tasks_continue_while_the_conversion_is_finished() {
    let (conversion, mut reader) = transcode_into_pipe(QUEUE_LENGTH);
    let mut finish = Box::pin(conversion.finish());
    assert!(poll_immediate(&mut finish).await.is_none());

    let mut text = Vec::new();
    let reading = thread::spawn(move || reader.read_to_end(&mut text).unwrap());
    let converted = finish.await.unwrap().unwrap();
    assert_eq!(converted.size, (QUEUE_LENGTH * BATCH_SIZE) as u64);
    drop(converted);
    assert_eq!(reading.join().unwrap(), QUEUE_LENGTH * BATCH_SIZE);
}

#[test]
fn a_conversion_that_is_dropped_ends_before_its_text_is_complete() {
    let (conversion, mut reader) = transcode_into_pipe(QUEUE_LENGTH);
    let is_cancelled = Arc::clone(&conversion.is_cancelled);
    let dropping = thread::spawn(move || drop(conversion));
    while !is_cancelled.load(Ordering::Relaxed) {
        thread::yield_now();
    }

    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    assert!(text.len() < 2 * BATCH_SIZE, "{} bytes", text.len());
    dropping.join().unwrap();
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
        let expected = if is_changed { text_before.replacen("latin1", "utf-8", 1) } else { text_before.into_owned() };
        assert!(text == expected.as_bytes(), "{content_type} {}", String::from_utf8_lossy(&text));
        assert_eq!(conversion.html == HtmlCharset::Changed, is_changed);
        assert!(!conversion.has_removed_mark);
    }
}

#[test]
fn invalid_text_is_not_converted() {
    let utf_8 = UTF_8;
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

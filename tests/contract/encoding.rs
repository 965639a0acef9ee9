//! The input `encoding`: conversion to UTF-8.

use rustix::process::Signal;

use crate::support::{
    Action, FILENAME, Outcome, StandIn, Step, StoredFile, applicants_csv, can_unshare, github, head, repeat_until,
    sha256_hex, shell,
};

fn github_utf8(stand_in: &StandIn) -> Step {
    github(stand_in).input("encoding", "utf-8")
}

#[test]
fn converts_a_text_file_to_utf_8() {
    let stand_in = StandIn::start();
    let outcome = github_utf8(&stand_in).run().exited(0);
    let text = String::from_utf8(outcome.read(FILENAME)).unwrap();
    assert!(text.contains("Zoë") && text.contains("Exámple"), "{text}");
    let sent: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(sent, stand_in.file());
    assert_eq!(outcome.outputs["size"], text.len().to_string());
    assert_eq!(outcome.outputs["sha256"], sha256_hex(text.as_bytes()));
    assert_eq!(outcome.outputs["source-sha256"], sha256_hex(&stand_in.file()));
    assert_eq!(outcome.outputs["content-type"], "text/csv;charset=utf-8");
    assert!(outcome.stdout.contains("encoding: converted from windows-1252 to UTF-8"), "{}", outcome.stdout);
    assert!(outcome.summary.contains("| Encoding | converted from windows-1252 to UTF-8 |"), "{}", outcome.summary);
    assert_eq!(outcome.files(), [FILENAME]);
}

#[test]
fn as_sent_changes_no_byte() {
    let stand_in = StandIn::start();
    for encoding in ["", "as-sent"] {
        let outcome = github(&stand_in).input("encoding", encoding).run().exited(0);
        assert_eq!(outcome.read(FILENAME), stand_in.file());
        assert_eq!(outcome.outputs["sha256"], outcome.outputs["source-sha256"]);
        assert_eq!(outcome.outputs["content-type"], "text/csv;charset=iso-8859-1");
        assert!(!outcome.stdout.contains("UTF-8"), "{}", outcome.stdout);
    }
}

/// Fetches a file that the store declares to be of this type.
fn fetch(content_type: &str, bytes: &[u8]) -> Outcome {
    let stand_in = StandIn::builder().file(StoredFile::new(bytes)).content_type(content_type).start();
    let outcome = github_utf8(&stand_in).run().exited(0);
    assert_eq!(outcome.outputs["source-sha256"], sha256_hex(bytes));
    assert_eq!(outcome.files(), [FILENAME]);
    outcome
}

#[test]
fn leaves_other_files_as_sent_and_says_why() {
    for (content_type, bytes, why, is_warning) in [
        ("application/zip", &b"PK\x03\x04\xE9"[..], "application/zip is not text", false),
        ("application/vnd.ms-excel", b"\xD0\xCF\x11\xE0", "application/vnd.ms-excel is not text", false),
        ("application/octet-stream", b"Zo\xEB", "application/octet-stream may or may not be text", true),
        ("text/csv;charset=x-klingon", b"Zo\xEB", "unknown charset x-klingon", true),
        ("text/csv;charset=utf-8", b"Zo\xEB,", "its bytes are not valid UTF-8", true),
        ("text/csv;charset=utf-8", b"Zo\xC3", "its bytes are not valid UTF-8", true),
        ("text/csv", b"\xEF\xBB\xBFZo\xEB", "its bytes are not valid UTF-8", true),
        ("text/html;charset=utf-8", b"<meta charset=latin1>Zo\xEB", "its bytes are not valid UTF-8", true),
        ("", b"Zo\xEB", "the store declared no content type", true),
    ] {
        let outcome = fetch(content_type, bytes);
        assert_eq!(outcome.read(FILENAME), bytes, "{why}");
        assert_eq!(outcome.outputs["sha256"], outcome.outputs["source-sha256"]);
        assert_eq!(
            outcome.outputs.get("content-type").map(String::as_str),
            Some(content_type).filter(|value| !value.is_empty())
        );
        let warning = format!(
            "::warning title=webadmit-export::not converted to UTF-8: {why}; the file was saved as the store sent it; "
        );
        assert_eq!(outcome.stdout.contains(&warning), is_warning, "{}", outcome.stdout);
        let line = format!("not converted to UTF-8: {why}\n");
        assert_eq!(outcome.stdout.contains(&line), !is_warning, "{}", outcome.stdout);
        assert_eq!(outcome.stdout.contains("::warning"), is_warning, "{}", outcome.stdout);
        assert!(outcome.summary.contains(&format!("| Encoding | not converted: `{why}` |")), "{}", outcome.summary);
    }
}

#[test]
fn text_without_a_charset_is_in_utf_8_or_windows_1252() {
    let (valid, windows_1252) = ("already UTF-8", "converted from windows-1252 to UTF-8");
    let utf_8 = "Zoë, 5 €".as_bytes();
    for (content_type, sent, text, what) in [
        ("text/csv", utf_8, "Zoë, 5 €", valid),
        ("text/csv", b"Zo\xEB, 5 \x80", "Zoë, 5 €", windows_1252),
        ("text/csv; header=present", b"Zo\xEB", "Zoë", windows_1252),
        ("text/plain;charset=", b"Zo\xEB", "Zoë", windows_1252),
        ("text/plain; charset=\"\"", utf_8, "Zoë, 5 €", valid),
        ("TEXT/TAB-SEPARATED-VALUES", b"Zo\xEB", "Zoë", windows_1252),
        // One byte that is not valid UTF-8 decides.
        ("text/csv", b"Zo\xC3\xAB, Zo\xEB", "ZoÃ«, Zoë", windows_1252),
        ("text/csv", b"Zo\xC3\xAB, Zo\xC3", "ZoÃ«, ZoÃ", windows_1252),
        ("text/csv", b"plain", "plain", valid),
        ("text/csv", b"", "", valid),
        ("text/csv", b"\xEF\xBB\xBFZo\xC3\xAB", "Zoë", "UTF-8; byte-order mark removed"),
        ("text/csv", b"\xFF\xFEZ\0o\0\xEB\0", "Zoë", "converted from UTF-16LE to UTF-8"),
    ] {
        let outcome = fetch(content_type, sent);
        assert_eq!(String::from_utf8(outcome.read(FILENAME)).unwrap(), text, "{content_type} {sent:?}");
        assert_eq!(outcome.outputs["sha256"], sha256_hex(text.as_bytes()));
        assert_eq!(outcome.outputs["size"], text.len().to_string());
        let content_type = outcome.outputs["content-type"].to_lowercase();
        assert!(content_type.starts_with("text/") && content_type.contains("charset=utf-8"), "{content_type}");
        assert!(!content_type.contains("charset=;") && !content_type.ends_with("charset="), "{content_type}");
        let line = format!("encoding: no charset declared; {what}\n");
        assert!(outcome.stdout.contains(&line), "{what}: {}", outcome.stdout);
        let row = format!("| Encoding | no charset declared; {what} |");
        assert!(outcome.summary.contains(&row), "{what}: {}", outcome.summary);
        assert!(!outcome.stdout.contains("::warning"), "{}", outcome.stdout);
    }
}

/// The bytes of a long text without a charset: lines in UTF-8, and an end.
fn long_text(length: usize, end: &[u8]) -> Vec<u8> {
    let line = "Zoë Exámple,5 €,“quoted”,𝄞\r\n".as_bytes();
    [&line.repeat(length / line.len()), end].concat()
}

/// Returns these bytes as the program should convert them.
fn expected_text(bytes: &[u8]) -> Vec<u8> {
    let charset = if std::str::from_utf8(bytes).is_ok() { encoding_rs::UTF_8 } else { encoding_rs::WINDOWS_1252 };
    charset.decode_without_bom_handling(bytes).0.into_owned().into_bytes()
}

#[test]
fn a_single_invalid_byte_at_the_end_of_20_mb_is_noticed() {
    for (end, charset) in [(&b""[..], "already UTF-8"), (b"\xE9", "converted from windows-1252 to UTF-8")] {
        let sent = long_text(20_000_000, end);
        let outcome = fetch("text/csv", &sent);
        assert!(outcome.read(FILENAME) == expected_text(&sent), "{charset}");
        assert!(outcome.stdout.contains(&format!("encoding: no charset declared; {charset}\n")), "{}", outcome.stdout);
        assert_eq!(outcome.outputs["sha256"], sha256_hex(&expected_text(&sent)));
    }
}

#[test]
fn text_without_a_charset_is_converted_across_cuts_and_versions() {
    for end in [&b""[..], b"\xE9", b"\xE9 and more"] {
        let sent = long_text(100_000, end);
        let stand_in = StandIn::builder().file(StoredFile::new(&sent)).content_type("text/plain").start();
        stand_in.cut_next_download_after(41_001).cut_next_download_after(20_003);
        let outcome = github_utf8(&stand_in).run().exited(0);
        assert!(outcome.stdout.contains("resuming at 41.0 kB"), "{}", outcome.stdout);
        assert!(outcome.read(FILENAME) == expected_text(&sent));
        assert_eq!(outcome.outputs["source-sha256"], sha256_hex(&sent));

        // The other version is valid UTF-8 where this one is not, or the reverse.
        let other = long_text(90_000, if end.is_empty() { b"\xE9" } else { b"" });
        stand_in.cut_next_download_after(sent.len() - 1).replace_file_at_next_request(StoredFile::new(&other));
        let outcome = github_utf8(&stand_in).run().exited(0);
        assert!(outcome.read(FILENAME) == expected_text(&other));
        assert_eq!(outcome.outputs["source-sha256"], sha256_hex(&other));
    }
}

#[test]
fn text_without_a_charset_is_converted_over_several_connections() {
    for end in [&b""[..], b"\xE9"] {
        let (sent, several) = (long_text(40_000_000, end), "continuing with 8 connections");
        let file = StoredFile::new(&sent);
        let play = || {
            let stand_in = StandIn::builder().file(file.clone()).content_type("text/csv").throttle(8_000_000).start();
            let outcome = github_utf8(&stand_in).run().exited(0);
            assert!(outcome.read(FILENAME) == expected_text(&sent), "{}", outcome.stdout);
            assert_eq!(outcome.outputs["source-sha256"], sha256_hex(&sent));
            outcome
        };
        // On a busy machine several connections can be no faster than one.
        let outcome = repeat_until(play, |outcome| outcome.stdout.contains(several));
        assert!(outcome.stdout.contains(several), "{}", outcome.stdout);
    }
}

#[test]
fn changes_the_charset_that_converted_html_declares() {
    let pragma = |charset: &str| {
        format!("<!DOCTYPE html>\n<META HTTP-EQUIV='Content-Type' CONTENT='text/html; charset={charset}'><p>Zoë")
    };
    let windows_1252 = |text: &str| encoding_rs::WINDOWS_1252.encode(text).0.into_owned();
    for (content_type, sent, changed, what) in [
        (
            "text/html;charset=iso-8859-1",
            windows_1252(&pragma("iso-8859-1")),
            pragma("utf-8"),
            "converted from windows-1252 to UTF-8",
        ),
        (
            "text/html",
            windows_1252(&pragma("ISO-8859-1")),
            pragma("utf-8"),
            "no charset declared; converted from windows-1252 to UTF-8",
        ),
        ("text/html", pragma("latin1").into_bytes(), pragma("utf-8"), "no charset declared; already UTF-8"),
        (
            "text/html;charset=utf-8",
            ["\u{FEFF}", &pragma("latin1")].concat().into_bytes(),
            pragma("utf-8"),
            "UTF-8; byte-order mark removed",
        ),
    ] {
        let outcome = fetch(content_type, &sent);
        assert_eq!(String::from_utf8(outcome.read(FILENAME)).unwrap(), changed);
        assert_eq!(outcome.outputs["sha256"], sha256_hex(changed.as_bytes()));
        assert_eq!(outcome.outputs["size"], changed.len().to_string());
        assert_eq!(outcome.outputs["content-type"], "text/html;charset=utf-8");
        let line = format!("encoding: {what}; charset in the HTML changed to utf-8\n");
        assert!(outcome.stdout.contains(&line) && !outcome.stdout.contains("::warning"), "{}", outcome.stdout);
        assert!(
            outcome.summary.contains(&format!("{what}; charset in the HTML changed to utf-8")),
            "{}",
            outcome.summary
        );
    }
}

#[test]
fn leaves_a_charset_in_html_that_no_browser_would_use() {
    for (content_type, html) in [
        ("text/html;charset=utf-8", "<!-- <meta charset=latin1> --><meta charset=utf-8>Zoë"),
        ("text/html", "<meta charset=UTF-8><!-- <meta charset=latin1> -->Zoë"),
        ("text/html", "<p>Zoë"),
        ("text/html", "<meta charset=\"latin1>Zoë"),
        ("text/html", ""),
        ("text/plain", "<meta charset=latin1>Zoë"),
        ("text/csv;charset=utf-8", "<meta charset=latin1>Zoë"),
    ] {
        let outcome = fetch(content_type, html.as_bytes());
        assert_eq!(outcome.read(FILENAME), html.as_bytes());
        assert!(!outcome.stdout.contains("charset in the HTML"), "{}", outcome.stdout);
    }
    let stand_in = StandIn::builder().file(StoredFile::new(b"<meta charset=latin1>")).content_type("text/html").start();
    assert_eq!(github(&stand_in).run().exited(0).read(FILENAME), b"<meta charset=latin1>");
}

#[test]
fn warns_of_a_charset_in_html_that_cannot_be_changed() {
    let too_late = format!("<!--{}--><meta charset=latin1>Zoë", "x".repeat(1000));
    let warning = "::warning title=webadmit-export::the HTML declares another charset, which was not changed to utf-8; \
                   the file is in UTF-8, but ";
    for html in [&*too_late, "<meta charset=klingon>Zoë"] {
        let outcome = fetch("text/html", html.as_bytes());
        assert_eq!(outcome.read(FILENAME), html.as_bytes());
        assert!(outcome.stdout.contains(warning), "{}", outcome.stdout);
        let row = "| Encoding | no charset declared; already UTF-8; charset in the HTML not changed |";
        assert!(outcome.summary.contains(row), "{}", outcome.summary);
    }
}

#[test]
fn removes_a_byte_order_mark() {
    let removed = "UTF-8; byte-order mark removed";
    for (content_type, sent, text) in [
        ("text/csv;charset=utf-8", &b"\xEF\xBB\xBFZo\xC3\xAB"[..], removed),
        ("text/csv;charset=iso-8859-1", b"\xEF\xBB\xBFZo\xC3\xAB", removed),
        ("text/csv;charset=utf-16", b"\xFF\xFEZ\0o\0\xEB\0", "converted from UTF-16LE to UTF-8"),
        ("text/csv;charset=iso-8859-1", b"Zo\xEB", "converted from windows-1252 to UTF-8"),
        ("text/csv;charset=UTF-8", b"Zo\xC3\xAB", "already UTF-8"),
    ] {
        let stand_in = StandIn::builder().file(StoredFile::new(sent)).content_type(content_type).start();
        let outcome = github_utf8(&stand_in).run().exited(0);
        assert_eq!(outcome.read(FILENAME), "Zoë".as_bytes(), "{content_type}");
        assert_eq!(outcome.outputs["content-type"], "text/csv;charset=utf-8");
        assert!(outcome.stdout.contains(&format!("encoding: {text}\n")), "{}", outcome.stdout);
        assert!(outcome.summary.contains(&format!("| Encoding | {text} |")), "{}", outcome.summary);
        let is_same = outcome.outputs["sha256"] == outcome.outputs["source-sha256"];
        assert_eq!(is_same, text == "already UTF-8");
    }
}

#[test]
fn converts_a_resumed_and_a_restarted_download() {
    let stand_in = StandIn::with_file(&applicants_csv(2000));
    stand_in.cut_next_download_after(41_001).cut_next_download_after(20_003);
    let outcome = github_utf8(&stand_in).run().exited(0);
    assert_eq!(outcome.outputs["source-sha256"], sha256_hex(&stand_in.file()));
    let text = String::from_utf8(outcome.read(FILENAME)).unwrap();
    assert_eq!(text.chars().count(), stand_in.file().len());
    let other = applicants_csv(1999);
    stand_in.cut_next_download_after(41_001).replace_file_at_next_request(StoredFile::new(&other));
    let outcome = github_utf8(&stand_in).run().exited(0);
    assert_eq!(outcome.outputs["source-sha256"], sha256_hex(&other));
    assert_eq!(String::from_utf8(outcome.read(FILENAME)).unwrap().chars().count(), other.len());
}

#[test]
fn a_signal_during_a_conversion_removes_the_partial_file() {
    let stand_in = StandIn::start();
    let headers = [("Content-Type", "text/csv;charset=iso-8859-1")];
    stand_in.next_store_response(move |_, _| {
        vec![Action::Send(head(200, &headers, 2_000_000)), Action::Send(vec![b'x'; 1_000_000]), Action::Hang]
    });
    let running = github_utf8(&stand_in).existing_file(FILENAME, b"older").spawn();
    running.wait_for_stdout("downloading ");
    running.signal(Signal::TERM);
    let outcome = running.wait().exited(143);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], b"older".to_vec()));
}

#[test]
fn a_full_disk_during_a_conversion_keeps_the_existing_file() {
    if !can_unshare("--mount") {
        return;
    }
    let stand_in = StandIn::with_file(&[0xE9; 100_000]);
    let outcome = shell(&stand_in).input("encoding", "utf-8").on_small_disk("200k").run().exited(1);
    assert!(outcome.stdout.ends_with("Test-API-Export.csv\nexisting\n"), "{}", outcome.stdout);
    outcome.with_error("cannot write the converted text");
}

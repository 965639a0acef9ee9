//! The input `encoding`: conversion to UTF-8.

use rustix::process::Signal;

use crate::support::{
    Action, FILENAME, StandIn, Step, StoredFile, applicants_csv, can_unshare, github, head, sha256_hex, shell,
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

#[test]
fn leaves_other_files_as_sent_and_logs_why() {
    for (content_type, bytes, why) in [
        ("application/zip", &b"PK\x03\x04\xE9"[..], "application/zip is not text"),
        ("application/vnd.ms-excel", b"\xD0\xCF\x11\xE0", "application/vnd.ms-excel is not text"),
        ("text/csv", b"Zo\xEB", "the store declared text/csv without a charset"),
        ("text/csv;charset=x-klingon", b"Zo\xEB", "unknown charset x-klingon"),
        ("text/csv;charset=utf-8", b"Zo\xEB,", "its bytes are not valid UTF-8"),
        ("text/csv;charset=utf-8", b"Zo\xC3", "its bytes are not valid UTF-8"),
        ("", b"Zo\xEB", "the store declared no content type"),
    ] {
        let stand_in = StandIn::builder().file(StoredFile::new(bytes)).content_type(content_type).start();
        let outcome = github_utf8(&stand_in).run().exited(0);
        assert_eq!(outcome.read(FILENAME), bytes, "{why}");
        assert_eq!(outcome.outputs["sha256"], outcome.outputs["source-sha256"]);
        assert_eq!(
            outcome.outputs.get("content-type").map(String::as_str),
            Some(content_type).filter(|it| !it.is_empty())
        );
        let line = format!("not converted to UTF-8: {why}\n");
        assert!(outcome.stdout.contains(&line) && outcome.files() == [FILENAME], "{why}: {}", outcome.stdout);
        assert!(!outcome.stdout.contains("::warning"), "{}", outcome.stdout);
    }
}

#[test]
fn removes_a_byte_order_mark() {
    let removed = "UTF-8, without its byte-order mark";
    for (content_type, sent, text) in [
        ("text/csv;charset=utf-8", &b"\xEF\xBB\xBFZo\xC3\xAB"[..], removed),
        ("text/csv;charset=iso-8859-1", b"\xEF\xBB\xBFZo\xC3\xAB", removed),
        ("text/csv;charset=utf-16", b"\xFF\xFEZ\0o\0\xEB\0", "converted from UTF-16LE to UTF-8"),
        ("text/csv;charset=iso-8859-1", b"Zo\xEB", "converted from windows-1252 to UTF-8"),
        ("text/csv;charset=UTF-8", b"Zo\xC3\xAB", "in UTF-8 already"),
    ] {
        let stand_in = StandIn::builder().file(StoredFile::new(sent)).content_type(content_type).start();
        let outcome = github_utf8(&stand_in).run().exited(0);
        assert_eq!(outcome.read(FILENAME), "Zoë".as_bytes(), "{content_type}");
        assert_eq!(outcome.outputs["content-type"], "text/csv;charset=utf-8");
        assert!(outcome.stdout.contains(&format!("encoding: {text}\n")), "{}", outcome.stdout);
        assert!(outcome.summary.contains(&format!("| Encoding | {text} |")), "{}", outcome.summary);
        let is_same = outcome.outputs["sha256"] == outcome.outputs["source-sha256"];
        assert_eq!(is_same, text == "in UTF-8 already");
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

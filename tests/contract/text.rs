//! Text in UTF-8: the input `encoding`.

use rustix::process::Signal;

use crate::support::{
    Action, FILENAME, StandIn, Step, StoredFile, applicants_csv, can_unshare, github, head, sha256_hex, shell,
};

fn in_utf_8(stand_in: &StandIn) -> Step {
    github(stand_in).input("encoding", "utf-8")
}

#[test]
fn a_text_file_comes_in_utf_8_when_that_is_asked_for() {
    let stand_in = StandIn::start();
    let outcome = in_utf_8(&stand_in).run().exited(0);
    let text = String::from_utf8(outcome.read(FILENAME)).unwrap();
    assert!(text.contains("Zoë") && text.contains("Exámple"), "{text}");
    let sent: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(sent, stand_in.file());
    assert_eq!(outcome.outputs["size"], text.len().to_string());
    assert_eq!(outcome.outputs["sha256"], sha256_hex(text.as_bytes()));
    assert_eq!(outcome.outputs["source-sha256"], sha256_hex(&stand_in.file()));
    assert_eq!(outcome.outputs["content-type"], "text/csv;charset=utf-8");
    assert!(outcome.stdout.contains("its text: converted from windows-1252 to UTF-8"), "{}", outcome.stdout);
    assert!(outcome.summary.contains("| Text | converted from windows-1252 to UTF-8 |"), "{}", outcome.summary);
    assert_eq!(outcome.files(), [FILENAME]);
}

#[test]
fn without_it_every_byte_stays_and_both_checksums_are_the_same() {
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
fn what_is_no_text_or_of_no_known_charset_stays_as_sent_with_a_line_in_the_log() {
    for (content_type, bytes, why) in [
        ("application/zip", &b"PK\x03\x04\xE9"[..], "application/zip is not text"),
        ("application/vnd.ms-excel", b"\xD0\xCF\x11\xE0", "application/vnd.ms-excel is not text"),
        ("text/csv", b"Zo\xEB", "text/csv comes without a charset"),
        ("text/csv;charset=x-klingon", b"Zo\xEB", "the charset x-klingon is not known"),
        ("text/csv;charset=utf-8", b"Zo\xEB,", "its bytes are no text in UTF-8"),
        ("text/csv;charset=utf-8", b"Zo\xC3", "its bytes are no text in UTF-8"),
        ("", b"Zo\xEB", "the store does not say what kind of file it is"),
    ] {
        let stand_in = StandIn::builder().file(StoredFile::new(bytes)).content_type(content_type).start();
        let outcome = in_utf_8(&stand_in).run().exited(0);
        assert_eq!(outcome.read(FILENAME), bytes, "{why}");
        assert_eq!(outcome.outputs["sha256"], outcome.outputs["source-sha256"]);
        assert_eq!(
            outcome.outputs.get("content-type").map(String::as_str),
            Some(content_type).filter(|it| !it.is_empty())
        );
        let line = format!("left as sent, not converted to UTF-8: {why}\n");
        assert!(outcome.stdout.contains(&line) && outcome.files() == [FILENAME], "{why}: {}", outcome.stdout);
        assert!(!outcome.stdout.contains("::warning"), "{}", outcome.stdout);
    }
}

#[test]
fn a_mark_of_the_byte_order_is_no_part_of_the_text() {
    let removed = "UTF-8, without its byte-order mark";
    for (content_type, sent, text) in [
        ("text/csv;charset=utf-8", &b"\xEF\xBB\xBFZo\xC3\xAB"[..], removed),
        ("text/csv;charset=iso-8859-1", b"\xEF\xBB\xBFZo\xC3\xAB", removed),
        ("text/csv;charset=utf-16", b"\xFF\xFEZ\0o\0\xEB\0", "converted from UTF-16LE to UTF-8"),
        ("text/csv;charset=iso-8859-1", b"Zo\xEB", "converted from windows-1252 to UTF-8"),
        ("text/csv;charset=UTF-8", b"Zo\xC3\xAB", "in UTF-8 already"),
    ] {
        let stand_in = StandIn::builder().file(StoredFile::new(sent)).content_type(content_type).start();
        let outcome = in_utf_8(&stand_in).run().exited(0);
        assert_eq!(outcome.read(FILENAME), "Zoë".as_bytes(), "{content_type}");
        assert_eq!(outcome.outputs["content-type"], "text/csv;charset=utf-8");
        assert!(outcome.stdout.contains(&format!("its text: {text}\n")), "{}", outcome.stdout);
        assert!(outcome.summary.contains(&format!("| Text | {text} |")), "{}", outcome.summary);
        let is_same = outcome.outputs["sha256"] == outcome.outputs["source-sha256"];
        assert_eq!(is_same, text == "in UTF-8 already");
    }
}

#[test]
fn a_text_that_was_cut_is_resumed_and_one_that_changed_is_begun_again() {
    let stand_in = StandIn::with_file(&applicants_csv(2000));
    stand_in.cut_next_download_after(41_001).cut_next_download_after(20_003);
    let outcome = in_utf_8(&stand_in).run().exited(0);
    assert_eq!(outcome.outputs["source-sha256"], sha256_hex(&stand_in.file()));
    let text = String::from_utf8(outcome.read(FILENAME)).unwrap();
    assert_eq!(text.chars().count(), stand_in.file().len());
    let other = applicants_csv(1999);
    stand_in.cut_next_download_after(41_001).replace_file_at_next_request(StoredFile::new(&other));
    let outcome = in_utf_8(&stand_in).run().exited(0);
    assert_eq!(outcome.outputs["source-sha256"], sha256_hex(&other));
    assert_eq!(String::from_utf8(outcome.read(FILENAME)).unwrap().chars().count(), other.len());
}

#[test]
fn a_signal_in_the_middle_of_a_conversion_leaves_nothing_behind() {
    let stand_in = StandIn::start();
    let headers = [("Content-Type", "text/csv;charset=iso-8859-1")];
    stand_in.next_store_response(move |_, _| {
        vec![Action::Send(head(200, &headers, 2_000_000)), Action::Send(vec![b'x'; 1_000_000]), Action::Hang]
    });
    let running = in_utf_8(&stand_in).existing_file(FILENAME, b"older").spawn();
    running.wait_for_stdout("downloading ");
    running.signal(Signal::TERM);
    let outcome = running.wait().exited(143);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], b"older".to_vec()));
}

#[test]
fn a_disk_that_has_no_room_for_the_text_keeps_the_older_file() {
    if !can_unshare("--mount") {
        return;
    }
    let stand_in = StandIn::with_file(&vec![0xE9; 100_000]);
    let small_disk = "mkdir small && mount -t tmpfs -o size=200k none small && echo older > small/Test-API-Export.csv \
        && { \"$0\"; code=$?; ls -A small; cat small/*; exit $code; }";
    let wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", small_disk];
    let run = shell(&stand_in).input("encoding", "utf-8").input("directory", "small");
    let outcome = run.wrapped_in(&wrapper).run().exited(1);
    assert!(outcome.stdout.ends_with("Test-API-Export.csv\nolder\n"), "{}", outcome.stdout);
    outcome.with_error("the disk took no more of the converted text");
}

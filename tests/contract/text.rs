//! Text in UTF-8: the input `encoding`.

use rustix::process::Signal;

use crate::program;
use crate::support::stand_in::{File, made_up_applicants, sha256_of};
use crate::support::wire::head;
use crate::support::{Act, Run, StandIn, has_namespaces};

const FILE: &str = "Test-API-Export.csv";

fn in_utf_8(stand_in: &StandIn) -> Run {
    Run::on_github(program()).against(stand_in).input("encoding", "utf-8")
}

#[test]
fn a_text_file_comes_in_utf_8_when_that_is_asked_for() {
    let stand_in = StandIn::start();
    let ended = in_utf_8(&stand_in).run().exited(0);
    let text = String::from_utf8(ended.read(FILE)).unwrap();
    assert!(text.contains("Zoë") && text.contains("Exámple"), "{text}");
    let sent: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(sent, stand_in.file());
    assert_eq!(ended.outputs["size"], text.len().to_string());
    assert_eq!(ended.outputs["sha256"], sha256_of(text.as_bytes()));
    assert_eq!(ended.outputs["source-sha256"], sha256_of(&stand_in.file()));
    assert_eq!(ended.outputs["content-type"], "text/csv;charset=utf-8");
    assert!(ended.stdout.contains("its text: converted from windows-1252 to UTF-8"), "{}", ended.stdout);
    assert!(ended.summary.contains("| Text | converted from windows-1252 to UTF-8 |"), "{}", ended.summary);
    assert_eq!(ended.files(), [FILE]);
}

#[test]
fn without_it_every_byte_stays_and_both_checksums_are_the_same() {
    let stand_in = StandIn::start();
    for encoding in ["", "as-sent"] {
        let ended = Run::on_github(program()).against(&stand_in).input("encoding", encoding).run().exited(0);
        assert_eq!(ended.read(FILE), stand_in.file());
        assert_eq!(ended.outputs["sha256"], ended.outputs["source-sha256"]);
        assert_eq!(ended.outputs["content-type"], "text/csv;charset=iso-8859-1");
        assert!(!ended.stdout.contains("UTF-8"), "{}", ended.stdout);
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
        let stand_in = StandIn::builder().file(File::new(bytes)).content_type(content_type).start();
        let ended = in_utf_8(&stand_in).run().exited(0);
        assert_eq!(ended.read(FILE), bytes, "{why}");
        assert_eq!(ended.outputs["sha256"], ended.outputs["source-sha256"]);
        assert_eq!(
            ended.outputs.get("content-type").map(String::as_str),
            Some(content_type).filter(|it| !it.is_empty())
        );
        let line = format!("left as sent, not converted to UTF-8: {why}\n");
        assert!(ended.stdout.contains(&line) && ended.files() == [FILE], "{why}: {}", ended.stdout);
        assert!(!ended.stdout.contains("::warning"), "{}", ended.stdout);
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
        let stand_in = StandIn::builder().file(File::new(sent)).content_type(content_type).start();
        let ended = in_utf_8(&stand_in).run().exited(0);
        assert_eq!(ended.read(FILE), "Zoë".as_bytes(), "{content_type}");
        assert_eq!(ended.outputs["content-type"], "text/csv;charset=utf-8");
        assert!(ended.stdout.contains(&format!("its text: {text}\n")), "{}", ended.stdout);
        assert!(ended.summary.contains(&format!("| Text | {text} |")), "{}", ended.summary);
        let is_same = ended.outputs["sha256"] == ended.outputs["source-sha256"];
        assert_eq!(is_same, text == "in UTF-8 already");
    }
}

#[test]
fn a_text_that_was_cut_is_resumed_and_one_that_changed_is_begun_again() {
    let stand_in = StandIn::builder().file(File::new(&made_up_applicants(2000))).start();
    stand_in.store_cuts_after(41_001).store_cuts_after(20_003);
    let ended = in_utf_8(&stand_in).run().exited(0);
    assert_eq!(ended.outputs["source-sha256"], sha256_of(&stand_in.file()));
    let text = String::from_utf8(ended.read(FILE)).unwrap();
    assert_eq!(text.chars().count(), stand_in.file().len());
    let other = made_up_applicants(1999);
    stand_in.store_cuts_after(41_001).store_replaces(File::new(&other));
    let ended = in_utf_8(&stand_in).run().exited(0);
    assert_eq!(ended.outputs["source-sha256"], sha256_of(&other));
    assert_eq!(String::from_utf8(ended.read(FILE)).unwrap().chars().count(), other.len());
}

#[test]
fn a_signal_in_the_middle_of_a_conversion_leaves_nothing_behind() {
    let stand_in = StandIn::start();
    let headers = [("Content-Type", "text/csv;charset=iso-8859-1")];
    stand_in.store_next(move |_, _| {
        vec![Act::Send(head(200, &headers, 2_000_000)), Act::Send(vec![b'x'; 1_000_000]), Act::Hang]
    });
    let running = in_utf_8(&stand_in).file_before(FILE, b"older").spawn();
    running.wait_for_line("downloading ");
    running.signal(Signal::TERM);
    let ended = running.end().exited(143);
    assert_eq!((ended.files(), ended.read(FILE)), (vec![FILE.to_owned()], b"older".to_vec()));
}

#[test]
fn a_disk_that_has_no_room_for_the_text_keeps_the_older_file() {
    if !has_namespaces("--mount") {
        return;
    }
    let stand_in = StandIn::builder().file(File::new(&vec![0xE9; 100_000])).start();
    let small_disk = "mkdir small && mount -t tmpfs -o size=200k none small && echo older > small/Test-API-Export.csv \
        && { \"$0\"; code=$?; ls -A small; cat small/*; exit $code; }";
    let wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", small_disk];
    let run = Run::in_shell(program()).against(&stand_in).input("encoding", "utf-8").input("directory", "small");
    let ended = run.wrapped(&wrapper).run().exited(1);
    assert!(ended.stdout.ends_with("Test-API-Export.csv\nolder\n"), "{}", ended.stdout);
    ended.failing_with("the disk took no more of the converted text");
}

//! The section "Faults": what lets an ordinary bad night pass.

use wiremock::ResponseTemplate;

use crate::program;
use crate::support::stand_in::{File, answer, made_up_applicants, refusal, run_json};
use crate::support::wire::{head, response};
use crate::support::{Act, Course, Nobody, Run, StandIn, Wire, in_time};

const FILE: &str = "Test-API-Export.csv";

fn status(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
}

#[test]
fn each_status_that_is_worth_another_try_gets_one() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Queued", "Available"])).start();
    for code in [408, 425, 429, 500, 502, 503, 504] {
        stand_in.api_next(status(code));
    }
    stand_in.api_next(status(403).insert_header("X-RateLimit-Remaining", "0"));
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!(ended.read(FILE), stand_in.file());
    assert!(ended.stdout.contains("answered 503 (Service Unavailable); trying again in "), "{}", ended.stdout);
    assert!(ended.summary.contains("Survived on the way: 1 × 408 from the API"), "{}", ended.summary);
    assert_eq!(ended.stdout.matches("::error").count(), 0);
}

#[test]
fn other_statuses_of_the_api_end_the_step_at_once() {
    for (code, exit) in [(400, 1), (401, 5), (403, 5), (404, 5), (405, 1), (410, 1), (422, 1), (501, 1), (505, 1)] {
        let stand_in = StandIn::start();
        stand_in.api_next(status(code));
        Run::on_github(program()).against(&stand_in).run().exited(exit);
        assert_eq!(stand_in.api_requests().len(), 1, "{code}");
    }
}

#[test]
fn an_unreadable_answer_is_tried_again() {
    let stand_in = StandIn::start();
    for body in [
        "<html>We are down for maintenance</html>",
        "",
        "{\"export_files\":{\"id\":74780,\"sta",
        "{\"export_files\":{\"id\":74780}}",
        "{\"export_files\":[]}",
        "{\"export_files\":{\"id\":null,\"status\":\"Available\"}}",
        "[1,2]",
    ] {
        stand_in.api_next(status(200).set_body_string(body));
    }
    stand_in.api_next(status(200).set_body_json(run_json("Available", None)));
    stand_in.api_next(status(200).set_body_json(run_json("Available", Some(String::new()))));
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!(ended.read(FILE), stand_in.file());
    assert!(!ended.tells("We are down"), "{}", ended.stdout);
}

#[test]
fn retry_after_is_obeyed_to_the_letter() {
    // The wait that the server asks for is told in the log; an ordinary one would be 50 ms at most.
    let stand_in = StandIn::start();
    stand_in.api_next(status(503).insert_header("Retry-After", "1"));
    stand_in.api_next(
        status(503)
            .insert_header("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
            .insert_header("Retry-After", "Sun, 06 Nov 1994 08:49:38 GMT"),
    );
    stand_in.api_next(status(503).insert_header("Retry-After", "soon"));
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!(ended.stdout.matches("trying again in 1 s\n").count(), 2, "{}", ended.stdout);
    assert_eq!(ended.stdout.matches("; trying again in ").count(), 3, "{}", ended.stdout);
}

#[test]
fn a_retry_after_past_the_timeout_ends_the_step_now_and_names_both() {
    let stand_in = StandIn::start();
    stand_in.api_next(status(503).insert_header("Retry-After", "7200"));
    let ended = Run::on_github(program()).against(&stand_in).input("timeout", "30m").run().exited(4);
    ended.failing_with("asks to be left alone for 2 h, which is past the timeout of 30 min");
    assert_eq!(stand_in.api_requests().len(), 1);
}

#[test]
fn a_wait_of_any_number_of_digits_is_told() {
    for (digits, timeout) in [("99999999999999999999999", "1h"), ("18446744073709551615", "18446744073709551614s")] {
        let stand_in = StandIn::start();
        stand_in.api_next(status(200).set_body_json(run_json("Queued", None)));
        stand_in.api_next(status(503).insert_header("Retry-After", digits));
        let ended = Run::on_github(program()).against(&stand_in).input("timeout", timeout).run().exited(4);
        ended.failing_with("asks to be left alone for more than a century, which is past the timeout of ");
    }
}

#[test]
fn a_night_of_a_hundred_cuts_is_told_in_a_line() {
    let stand_in = StandIn::builder().file(File::new(&made_up_applicants(2000))).start();
    for _ in 0..100 {
        stand_in.store_cuts_after(1000);
    }
    let ended = Run::on_github(program()).against(&stand_in).input("poll-interval", "1ms").run().exited(0);
    assert_eq!(ended.read(FILE), stand_in.file());
    assert!(ended.summary.contains("1 cut at 9.0 kB, 91 × cut."), "{}", ended.summary);
}

#[test]
fn a_connection_that_fails_is_tried_again() {
    let api = Wire::start({
        let count = std::sync::atomic::AtomicUsize::new(0);
        move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => vec![Act::Reset],
            1 => vec![Act::Close],
            2 => vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), Act::Reset],
            3 => vec![Act::Send(head(200, &[], 500)), Act::Send(b"{\"export".to_vec()), Act::Close],
            _ => vec![Act::Send(response(200, &[], run_json("Empty List", None).to_string().as_bytes()))],
        }
    });
    let ended = Run::on_github(program()).asking(&api.url()).run().exited(3);
    assert_eq!(ended.outputs["status"], "empty_list");
    assert_eq!(ended.stdout.matches("; trying again in ").count(), 4, "{}", ended.stdout);
}

#[test]
fn a_host_where_nobody_listens_is_named_with_the_cause() {
    let nobody = Nobody::new();
    let cause = format!("no connection to {}: connection refused", nobody.address());
    let run = || Run::on_github(program()).asking(&nobody.url());
    let ended = in_time(|timeout| run().input("timeout", timeout).run(), |ended| ended.stdout.contains(&cause));
    ended.exited(4).failing_with(&cause).failing_with("check base-url");
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_stopped_with_a_fresh_url() {
    let stand_in = StandIn::builder().file(File::new(&made_up_applicants(2000))).start();
    stand_in.store_cuts_after(10_000).store_cuts_after(20_000);
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!((ended.files(), ended.read(FILE)), (vec![FILE.to_owned()], stand_in.file()));
    let requests = stand_in.store().requests();
    let ranges: Vec<_> = requests.iter().map(|request| request.header("range")).collect();
    assert_eq!(ranges, [None, Some("bytes=10000-"), Some("bytes=30000-")]);
    assert!(requests[1].header("if-match").is_some_and(|tag| tag.starts_with('"')));
    let targets: std::collections::BTreeSet<_> = requests.iter().map(|request| &request.target).collect();
    assert_eq!(targets.len(), 3, "each attempt has a URL of its own");
    assert!(ended.summary.contains("1 cut at 10.0 kB, 2 fresh URLs, 1 cut at 30.0 kB"), "{}", ended.summary);
    assert!(ended.stdout.contains("going on at 10.0 kB"), "{}", ended.stdout);
}

#[test]
fn an_expired_url_is_replaced_by_a_fresh_one() {
    let stand_in = StandIn::start();
    stand_in.store_next(|_, _| vec![Act::Send(refusal(403, "AccessDenied"))]);
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!(ended.read(FILE), stand_in.file());
    assert!(
        ended.stdout.contains("answered 403 (Forbidden), code AccessDenied; trying a new signed URL"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_store_that_never_gives_the_file_is_given_up_after_eight_attempts() {
    let stand_in = StandIn::builder().url_lives(std::time::Duration::ZERO).start();
    let ended = Run::on_github(program()).against(&stand_in).file_before(FILE, b"older").run().exited(1);
    assert_eq!(stand_in.store().requests().len(), 8);
    assert_eq!((ended.files(), ended.read(FILE)), (vec![FILE.to_owned()], b"older".to_vec()));
    assert_eq!(ended.outputs["status"], "available");
    ended.failing_with("8 attempts in a row brought no new byte").failing_with("code AccessDenied");
}

#[test]
fn a_new_version_in_the_middle_of_a_download_starts_the_file_over() {
    let newer = File::new(&made_up_applicants(3000));
    for keeps_etag in [true, false] {
        let stand_in = StandIn::builder().file(File::new(&made_up_applicants(2000))).start();
        let mut newer = newer.clone();
        if !keeps_etag {
            newer.etag = None;
        }
        let bytes = newer.bytes.clone();
        stand_in.store_cuts_after(10_000).store_next({
            let newer = newer.clone();
            move |request, _| vec![Act::Send(answer(request, &newer, &[]))]
        });
        stand_in.store_next(move |request, _| vec![Act::Send(answer(request, &newer, &[]))]);
        let ended = Run::on_github(program()).against(&stand_in).input("filename", FILE).run().exited(0);
        assert_eq!(ended.read(FILE), bytes);
    }
}

#[test]
fn what_does_not_fit_together_is_never_joined() {
    let file = File::new(&made_up_applicants(2000));
    let total = file.bytes.len();
    let etag = file.etag.clone().unwrap();
    let good_range = format!("bytes 10000-{}/{total}", total - 1);
    let wrong: [(&str, Vec<(&str, String)>); 8] = [
        ("a changed ETag", vec![("ETag", "\"other\"".to_owned()), ("Content-Range", good_range.clone())]),
        ("a weak ETag", vec![("ETag", format!("W/{etag}")), ("Content-Range", good_range.clone())]),
        ("no ETag", vec![("Content-Range", good_range.clone())]),
        ("no Content-Range", vec![("ETag", etag.clone())]),
        ("another unit", vec![("ETag", etag.clone()), ("Content-Range", good_range.replace("bytes", "lines"))]),
        (
            "several parts",
            vec![
                ("ETag", etag.clone()),
                ("Content-Range", good_range),
                ("Content-Type", "multipart/byteranges; boundary=x".to_owned()),
            ],
        ),
        ("another start", vec![("ETag", etag.clone()), ("Content-Range", format!("bytes 9999-{}/{total}", total - 2))]),
        ("an unknown total", vec![("ETag", etag), ("Content-Range", format!("bytes 10000-{}/*", total - 1))]),
    ];
    for (what, headers) in wrong {
        let stand_in = StandIn::builder().file(file.clone()).start();
        stand_in.store_cuts_after(10_000).store_next(move |_, file| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            vec![Act::Send(response(206, &headers, &vec![b'x'; file.bytes.len() - 10_000]))]
        });
        let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
        assert_eq!(ended.read(FILE), file.bytes, "{what}");
        assert_eq!(stand_in.store().requests()[2].header("range"), None, "{what}: the file is started over");
    }
}

#[test]
fn a_body_whose_end_is_not_certain_is_not_accepted() {
    let stand_in = StandIn::start();
    let unverifiable = |_: &_, file: &File| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        bytes.extend(&file.bytes[..100]);
        vec![Act::Send(bytes), Act::Close]
    };
    let chunked_without_end = |_: &_, _: &File| {
        vec![Act::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n".to_vec()), Act::Close]
    };
    let short =
        |_: &_, file: &File| vec![Act::Send(head(200, &[], file.bytes.len())), Act::Send(b"x".to_vec()), Act::Close];
    stand_in.store_next(unverifiable).store_next(chunked_without_end).store_next(short);
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!((ended.files(), ended.read(FILE)), (vec![FILE.to_owned()], stand_in.file()));
    assert_eq!(stand_in.store().requests().len(), 4);
}

#[test]
fn a_chunked_body_with_its_end_is_a_whole_file() {
    let stand_in = StandIn::start();
    stand_in.store_next(|_, _| {
        vec![Act::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n".to_vec())]
    });
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!(ended.read(&ended.outputs["path"]), b"abcde");
}

#[test]
fn a_coded_answer_is_an_error() {
    let stand_in = StandIn::start();
    stand_in.store_next(|_, _| vec![Act::Send(response(200, &[("Content-Encoding", "gzip")], b"x"))]);
    let ended = Run::on_github(program()).against(&stand_in).run().exited(1).failing_with("content coding");
    assert_eq!(ended.files(), [""; 0]);
    // In a header of its own, and where only the rest of the file was asked for.
    stand_in.store_next(|_, _| {
        vec![Act::Send(response(200, &[("Content-Encoding", "identity"), ("Content-Encoding", "gzip")], b"x"))]
    });
    Run::on_github(program()).against(&stand_in).run().exited(1).failing_with("content coding");
    let stand_in = StandIn::builder().file(File::new(&made_up_applicants(500))).start();
    stand_in
        .store_cuts_after(5000)
        .store_next(|request, file| vec![Act::Send(answer(request, file, &[("Content-Encoding", "gzip")]))]);
    Run::on_github(program()).against(&stand_in).run().exited(1).failing_with("content coding");
}

#[test]
fn the_api_is_never_followed_to_another_place() {
    let stand_in = StandIn::start();
    for location in ["https://elsewhere.example:8443/secret?path", "/api/v2"] {
        stand_in.api_next(status(302).insert_header("Location", location));
        let ended = Run::on_github(program()).against(&stand_in).run().exited(1).failing_with("redirected to http");
        assert!(!ended.tells("secret"), "{}", ended.stdout);
    }
    assert_eq!(stand_in.api_requests().len(), 2);
}

#[test]
fn a_redirect_of_the_store_is_followed_five_times() {
    let stand_in = StandIn::start();
    for _ in 0..5 {
        stand_in.store_next(|request, _| vec![Act::Send(response(307, &[("Location", &request.target)], b""))]);
    }
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!(ended.read(FILE), stand_in.file());
    for _ in 0..6 {
        stand_in.store_next(|request, _| vec![Act::Send(response(307, &[("Location", &request.target)], b""))]);
    }
    let ended = Run::on_github(program()).against(&stand_in).run().exited(1);
    let host = stand_in.store().url().replace("http://", "");
    ended.failing_with(&format!("the store ({host}) redirected more than five times;"));
}

#[test]
fn a_download_url_that_may_not_be_used_is_refused() {
    for url in ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:word@127.0.0.1/x", "not a url"] {
        let stand_in = StandIn::start();
        stand_in.api_next(status(200).set_body_json(run_json("Available", Some(url.to_owned()))));
        let ended = Run::on_github(program()).against(&stand_in).run().exited(1);
        assert!(ended.failure().contains("handed out a download URL that"), "{url}: {}", ended.failure());
    }
}

#[test]
fn an_answer_larger_than_a_mebibyte_is_refused() {
    let stand_in = StandIn::start();
    stand_in.api_next(status(200).set_body_string(" ".repeat((1 << 20) + 1)));
    Run::on_github(program()).against(&stand_in).run().exited(1).failing_with("more than 1 MiB");
    assert_eq!(stand_in.api_requests().len(), 1);
}

#[test]
fn a_servers_words_are_data_wherever_they_are_shown() {
    let hostile = "x\r\n::error::y\r##[group]z\u{2028}##vso[task.complete]\u{202e} `|` </td> ".repeat(50);
    let stand_in = StandIn::builder()
        .disposition(&format!("attachment; filename*=UTF-8''{}", "%0A::error::a%23%23[b]`|c`.csv"))
        .content_type("text/csv; x=##[error]y")
        .course(Course::by_checks(&["##[error]Odd\n::error::status", "Available"]))
        .start();
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_no_commands(&ended.stdout, &["add-mask", "warning"]);
    assert!(!ended.summary.contains("##["), "{}", ended.summary);
    stand_in.api_next(status(404).set_body_json(serde_json::json!({ "message": hostile })));
    let ended = Run::on_github(program()).against(&stand_in).run().exited(5);
    assert_no_commands(&ended.stdout, &["add-mask", "error"]);
    assert!(ended.failure().chars().count() < 1000, "{}", ended.failure());
}

/// No line that the runner would take for a command but those of these names (`::name::` after any white space at a
/// line's start, where a lone carriage return ends a line too; `##[` and `##vso[` anywhere).
#[track_caller]
fn assert_no_commands(stdout: &str, allowed: &[&str]) {
    for line in stdout.split(['\n', '\r']) {
        let is_allowed = allowed.iter().any(|name| line.starts_with(&format!("::{name}")));
        assert!(is_allowed || !line.trim_start().starts_with("::"), "{line:?}");
        assert!(!line.contains("##[") && !line.contains("##vso["), "{line:?}");
    }
}

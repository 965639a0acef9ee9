//! The section "Faults": what lets an ordinary bad night pass.

use wiremock::ResponseTemplate;

use crate::support::{
    Action, ClosedPort, EXPORT_ID, FILENAME, RUN_ID, Server, StandIn, StoredFile, applicants_csv, github, github_at,
    head, respond, run_json, run_json_with_url, run_of_export_json, with_growing_timeout,
};

fn status(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
}

#[test]
fn each_status_that_is_worth_another_try_gets_one() {
    let stand_in = StandIn::with_statuses(&["Queued", "Available"]);
    for code in [408, 425, 429, 500, 502, 503, 504] {
        stand_in.next_api_status(code);
    }
    stand_in.next_api_response(status(403).insert_header("X-RateLimit-Remaining", "0"));
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.read(FILENAME), stand_in.file());
    assert!(outcome.stdout.contains("answered 503 (Service Unavailable); trying again in "), "{}", outcome.stdout);
    assert!(outcome.summary.contains("Survived on the way: 1 × 408 from the API"), "{}", outcome.summary);
    assert_eq!(outcome.stdout.matches("::error").count(), 0);
}

#[test]
fn other_statuses_of_the_api_end_the_step_at_once() {
    for (code, exit) in [(400, 1), (401, 5), (403, 5), (404, 5), (405, 1), (410, 1), (422, 1), (501, 1), (505, 1)] {
        let stand_in = StandIn::start();
        stand_in.next_api_status(code);
        github(&stand_in).run().exited(exit);
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
        stand_in.next_api_response(status(200).set_body_string(body));
    }
    stand_in.next_api_response(status(200).set_body_json(run_json("Available")));
    stand_in.next_api_response(status(200).set_body_json(run_of_export_json(RUN_ID, EXPORT_ID, "Available", Some(""))));
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.read(FILENAME), stand_in.file());
    assert!(!outcome.mentions("We are down"), "{}", outcome.stdout);
}

#[test]
fn retry_after_is_obeyed_to_the_letter() {
    // The wait that the server asks for is told in the log; an ordinary one would be 50 ms at most.
    let stand_in = StandIn::start();
    stand_in.next_api_response(status(503).insert_header("Retry-After", "1"));
    stand_in.next_api_response(
        status(503)
            .insert_header("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
            .insert_header("Retry-After", "Sun, 06 Nov 1994 08:49:38 GMT"),
    );
    stand_in.next_api_response(status(503).insert_header("Retry-After", "soon"));
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.stdout.matches("trying again in 1 s\n").count(), 2, "{}", outcome.stdout);
    assert_eq!(outcome.stdout.matches("; trying again in ").count(), 3, "{}", outcome.stdout);
}

#[test]
fn a_retry_after_past_the_timeout_ends_the_step_now_and_names_both() {
    let stand_in = StandIn::start();
    stand_in.next_api_response(status(503).insert_header("Retry-After", "7200"));
    let outcome = github(&stand_in).input("timeout", "30m").run().exited(4);
    outcome.with_error("asks to be left alone for 2 h, which is past the timeout of 30 min");
    assert_eq!(stand_in.api_requests().len(), 1);
}

#[test]
fn a_wait_of_any_number_of_digits_is_told() {
    for (digits, timeout) in [("99999999999999999999999", "1h"), ("18446744073709551615", "18446744073709551614s")] {
        let stand_in = StandIn::start();
        stand_in.next_api_response(status(200).set_body_json(run_json("Queued")));
        stand_in.next_api_response(status(503).insert_header("Retry-After", digits));
        let outcome = github(&stand_in).input("timeout", timeout).run().exited(4);
        outcome.with_error("asks to be left alone for more than a century, which is past the timeout of ");
    }
}

#[test]
fn a_night_of_a_hundred_cuts_is_told_in_a_line() {
    let stand_in = StandIn::with_file(&applicants_csv(2000));
    for _ in 0..100 {
        stand_in.cut_next_download_after(1000);
    }
    let outcome = github(&stand_in).input("poll-interval", "1ms").run().exited(0);
    assert_eq!(outcome.read(FILENAME), stand_in.file());
    assert!(outcome.summary.contains("1 cut at 9.0 kB, 91 × cut."), "{}", outcome.summary);
}

#[test]
fn a_connection_that_fails_is_tried_again() {
    let api = Server::start({
        let count = std::sync::atomic::AtomicUsize::new(0);
        move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => vec![Action::Reset],
            1 => vec![Action::Close],
            2 => vec![Action::Send(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), Action::Reset],
            3 => vec![Action::Send(head(200, &[], 500)), Action::Send(b"{\"export".to_vec()), Action::Close],
            _ => respond(200, &[], run_json("Empty List").to_string().as_bytes()),
        }
    });
    let outcome = github_at(&api.url()).run().exited(3);
    assert_eq!(outcome.outputs["status"], "empty_list");
    assert_eq!(outcome.stdout.matches("; trying again in ").count(), 4, "{}", outcome.stdout);
}

#[test]
fn a_host_where_nobody_listens_is_named_with_the_cause() {
    let nobody = ClosedPort::new();
    let cause = format!("no connection to {}: connection refused", nobody.address());
    let run = || github_at(&nobody.url());
    let outcome = with_growing_timeout(
        |timeout| run().input("timeout", timeout).run(),
        |outcome| outcome.stdout.contains(&cause),
    );
    outcome.exited(4).with_error(&cause).with_error("check base-url");
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_stopped_with_a_fresh_url() {
    let stand_in = StandIn::with_file(&applicants_csv(2000));
    stand_in.cut_next_download_after(10_000).cut_next_download_after(20_000);
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], stand_in.file()));
    let requests = stand_in.store().requests();
    let ranges: Vec<_> = requests.iter().map(|request| request.header("range")).collect();
    assert_eq!(ranges, [None, Some("bytes=10000-"), Some("bytes=30000-")]);
    assert!(requests[1].header("if-match").is_some_and(|tag| tag.starts_with('"')));
    let targets: std::collections::BTreeSet<_> = requests.iter().map(|request| &request.target).collect();
    assert_eq!(targets.len(), 3, "each attempt has a URL of its own");
    assert!(outcome.summary.contains("1 cut at 10.0 kB, 2 fresh URLs, 1 cut at 30.0 kB"), "{}", outcome.summary);
    assert!(outcome.stdout.contains("going on at 10.0 kB"), "{}", outcome.stdout);
}

#[test]
fn an_expired_url_is_replaced_by_a_fresh_one() {
    let stand_in = StandIn::start();
    stand_in.next_store_error(403, "AccessDenied");
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.read(FILENAME), stand_in.file());
    assert!(
        outcome.stdout.contains("answered 403 (Forbidden), code AccessDenied; trying a new signed URL"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_store_that_never_gives_the_file_is_given_up_after_eight_attempts() {
    let stand_in = StandIn::builder().url_lifetime(std::time::Duration::ZERO).start();
    let outcome = github(&stand_in).existing_file(FILENAME, b"older").run().exited(1);
    assert_eq!(stand_in.store().requests().len(), 8);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], b"older".to_vec()));
    assert_eq!(outcome.outputs["status"], "available");
    outcome.with_error("8 attempts in a row brought no new byte").with_error("code AccessDenied");
}

#[test]
fn a_new_version_in_the_middle_of_a_download_starts_the_file_over() {
    let newer = StoredFile::new(&applicants_csv(3000));
    for keeps_etag in [true, false] {
        let stand_in = StandIn::with_file(&applicants_csv(2000));
        let mut newer = newer.clone();
        if !keeps_etag {
            newer.etag = None;
        }
        let bytes = newer.bytes.clone();
        stand_in.cut_next_download_after(10_000).next_store_response({
            let newer = newer.clone();
            move |request, _| vec![Action::Send(newer.respond(request, &[]))]
        });
        stand_in.next_store_response(move |request, _| vec![Action::Send(newer.respond(request, &[]))]);
        let outcome = github(&stand_in).input("filename", FILENAME).run().exited(0);
        assert_eq!(outcome.read(FILENAME), bytes);
    }
}

#[test]
fn what_does_not_fit_together_is_never_joined() {
    let file = StoredFile::new(&applicants_csv(2000));
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
        stand_in.cut_next_download_after(10_000).next_store_response(move |_, file| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            respond(206, &headers, vec![b'x'; file.bytes.len() - 10_000])
        });
        let outcome = github(&stand_in).run().exited(0);
        assert_eq!(outcome.read(FILENAME), file.bytes, "{what}");
        assert_eq!(stand_in.store().requests()[2].header("range"), None, "{what}: the file is started over");
    }
}

#[test]
fn a_body_whose_end_is_not_certain_is_not_accepted() {
    let stand_in = StandIn::start();
    let unverifiable = |_: &_, file: &StoredFile| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        bytes.extend(&file.bytes[..100]);
        vec![Action::Send(bytes), Action::Close]
    };
    let chunked_without_end = |_: &_, _: &StoredFile| {
        vec![
            Action::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n".to_vec()),
            Action::Close,
        ]
    };
    let short = |_: &_, file: &StoredFile| {
        vec![Action::Send(head(200, &[], file.bytes.len())), Action::Send(b"x".to_vec()), Action::Close]
    };
    stand_in.next_store_response(unverifiable).next_store_response(chunked_without_end).next_store_response(short);
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], stand_in.file()));
    assert_eq!(stand_in.store().requests().len(), 4);
}

#[test]
fn a_chunked_body_with_its_end_is_a_whole_file() {
    let stand_in = StandIn::start();
    stand_in.next_store_response(|_, _| {
        vec![Action::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n".to_vec())]
    });
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.read(&outcome.outputs["path"]), b"abcde");
}

#[test]
fn a_coded_answer_is_an_error() {
    let stand_in = StandIn::start();
    stand_in.next_store_response(|_, _| respond(200, &[("Content-Encoding", "gzip")], b"x"));
    let outcome = github(&stand_in).run().exited(1).with_error("content coding");
    assert_eq!(outcome.files(), [""; 0]);
    // In a header of its own, and where only the rest of the file was asked for.
    stand_in.next_store_response(|_, _| {
        respond(200, &[("Content-Encoding", "identity"), ("Content-Encoding", "gzip")], b"x")
    });
    github(&stand_in).run().exited(1).with_error("content coding");
    let stand_in = StandIn::with_file(&applicants_csv(500));
    stand_in.cut_next_download_after(5000).next_store_response(|request, file| {
        vec![Action::Send(file.respond(request, &[("Content-Encoding", "gzip")]))]
    });
    github(&stand_in).run().exited(1).with_error("content coding");
}

#[test]
fn the_api_is_never_followed_to_another_place() {
    let stand_in = StandIn::start();
    for location in ["https://elsewhere.example:8443/secret?path", "/api/v2"] {
        stand_in.next_api_response(status(302).insert_header("Location", location));
        let outcome = github(&stand_in).run().exited(1).with_error("redirected to http");
        assert!(!outcome.mentions("secret"), "{}", outcome.stdout);
    }
    assert_eq!(stand_in.api_requests().len(), 2);
}

#[test]
fn a_redirect_of_the_store_is_followed_five_times() {
    let stand_in = StandIn::start();
    for _ in 0..5 {
        stand_in.next_store_response(|request, _| respond(307, &[("Location", &request.target)], b""));
    }
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.read(FILENAME), stand_in.file());
    for _ in 0..6 {
        stand_in.next_store_response(|request, _| respond(307, &[("Location", &request.target)], b""));
    }
    let outcome = github(&stand_in).run().exited(1);
    let host = stand_in.store().url().replace("http://", "");
    outcome.with_error(&format!("the store ({host}) redirected more than five times;"));
}

#[test]
fn a_download_url_that_may_not_be_used_is_refused() {
    for url in ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:word@127.0.0.1/x", "not a url"] {
        let stand_in = StandIn::start();
        stand_in.next_api_response(status(200).set_body_json(run_json_with_url("Available", url)));
        let outcome = github(&stand_in).run().exited(1);
        assert!(outcome.error().contains("handed out a download URL that"), "{url}: {}", outcome.error());
    }
}

#[test]
fn an_answer_larger_than_a_mebibyte_is_refused() {
    let stand_in = StandIn::start();
    stand_in.next_api_response(status(200).set_body_string(" ".repeat((1 << 20) + 1)));
    github(&stand_in).run().exited(1).with_error("more than 1 MiB");
    assert_eq!(stand_in.api_requests().len(), 1);
}

#[test]
fn a_servers_words_are_data_wherever_they_are_shown() {
    let hostile = "x\r\n::error::y\r##[group]z\u{2028}##vso[task.complete]\u{202e} `|` </td> ".repeat(50);
    let stand_in = StandIn::builder()
        .content_disposition(&format!("attachment; filename*=UTF-8''{}", "%0A::error::a%23%23[b]`|c`.csv"))
        .content_type("text/csv; x=##[error]y")
        .statuses(&["##[error]Odd\n::error::status", "Available"])
        .start();
    let outcome = github(&stand_in).run().exited(0);
    assert_no_commands(&outcome.stdout, &["add-mask", "warning"]);
    assert!(!outcome.summary.contains("##["), "{}", outcome.summary);
    stand_in.next_api_response(status(404).set_body_json(serde_json::json!({ "message": hostile })));
    let outcome = github(&stand_in).run().exited(5);
    assert_no_commands(&outcome.stdout, &["add-mask", "error"]);
    assert!(outcome.error().chars().count() < 1000, "{}", outcome.error());
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

//! Makes `docs/faults.md`: for each fault what the tool does, and the very words that it says.
//!
//! The test fails when the page is not what the program says today. `UPDATE_DOCS=1 cargo test --test contract faults_page`
//! writes it anew.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::support::{
    Action, Authority, ClosedPort, Flaw, Outcome, Request, Server, StandIn, Step, StoredFile, UNKNOWN_HOST,
    api_with_first_response, applicants_csv, error_response, github, github_at, head, respond, run_json,
    run_json_with_url, server_without_tls, with_growing_timeout,
};

/// A fault, what the tool does about it, and a night with it.
struct Case {
    fault: &'static str,
    does: &'static str,
    night: fn() -> Outcome,
}

const fn case(fault: &'static str, does: &'static str, night: fn() -> Outcome) -> Case {
    Case { fault, does, night }
}

const CHAPTERS: &[(&str, &[Case])] = &[
    (
        "The inputs",
        &[
            case("Bad inputs", "Nothing is asked of WebAdMIT. Code 2.", bad_inputs),
            case("A path that leads out of the workspace", "Nothing is asked of WebAdMIT. Code 2.", outside),
        ],
    ),
    (
        "The way to WebAdMIT",
        &[
            case("A host that is not known", TWO_MINUTES, unknown_host),
            case("Nobody at `base-url`", TWO_MINUTES, nobody),
            case("A proxy that refuses, or asks for a password", TWO_MINUTES, proxy),
            case("A port where nobody speaks TLS", TWO_MINUTES, without_tls),
            case("An authority that is not known", "Ends at once. Code 1.", unknown_authority),
            case("A certificate that has expired", "Ends at once. Code 1.", expired_certificate),
            case("A certificate of another host", "Ends at once. Code 1.", another_host),
            case("No authorities on this machine", "Found out before the first request. Code 1.", no_authorities),
            case("A connection that breaks", UNTIL_THE_TIMEOUT, broken),
            case("An answer that does not come", UNTIL_THE_TIMEOUT_AND_NOT_WELL, no_answer),
        ],
    ),
    (
        "WebAdMIT's answers",
        &[
            case("A key that is not known", "Ends at once. Code 5.", unknown_key),
            case("Something that the key may not do", "Ends at once. Code 5.", forbidden),
            case(
                "An id that is not known",
                "Ends at once. Code 5. (For 30 s after this step has started a run, a 404 is tried again: the run may not be there yet.)",
                unknown_run,
            ),
            case("A request that is refused for another reason", "Ends at once. Code 1.", refused),
            case("An API that is overloaded or in maintenance", UNTIL_THE_TIMEOUT, overloaded),
            case("An API that asks for more time than there is", "Ends now. Code 4.", retry_after),
            case("A key whose calls are used up", UNTIL_THE_TIMEOUT, used_up),
            case("An answer that cannot be read", UNTIL_THE_TIMEOUT, unreadable),
            case("An answer without end", "Refused, and not kept in memory. Code 1.", endless),
            case("An API that points elsewhere", "Not followed. Code 1.", redirect),
            case("An answer for another run", "Not used. Code 1.", other_run),
            case("An answer for another export", "Told, and used: its run is the right one.", other_export),
            case("A status that is not known", "Told once, and waited on.", unknown_status),
            case("A file without a URL", UNTIL_THE_TIMEOUT, without_url),
            case("A URL that may not be used", "Not used. Code 1.", unusable_url),
        ],
    ),
    (
        "Names",
        &[
            case("An identity that is not found", "Shows what there is. Code 5.", no_identity),
            case("Several identities that fit", "None is guessed. Code 5.", identities),
            case("An export that is not found", "Shows the nearest names. Code 5.", no_export),
            case("Several exports of one name", "None is guessed. Code 5.", exports),
            case("`latest` where there is no file", "Shows the recent files. Code 5.", no_file),
        ],
    ),
    (
        "The run",
        &[
            case("A run that does not end in time", "One last check at the timeout. Code 4.", timeout),
            case("A run that fails", "Code 3.", failed),
            case("An export without applicants", "Code 3, unless `fail-on` says otherwise.", empty_list),
            case(
                "A file that WebAdMIT made with errors",
                "Downloaded, with a warning. Code 0, or 3 if `fail-on` says so.",
                with_errors,
            ),
            case("A run that fails while its file is on its way", "By the rules for its status.", fails_late),
        ],
    ),
    (
        "The download",
        &[
            case("A download that is cut", "Goes on where it stopped, over a fresh URL. The step goes well.", cut),
            case("A URL that has expired", "A fresh one is asked for. The step goes well.", expired),
            case("A store that is overloaded", "Tried again with a fresh URL. The step goes well.", slow_down),
            case("A store that cannot be reached", EIGHT_ATTEMPTS, unreachable_store),
            case("A store that never gives the file", EIGHT_ATTEMPTS, never),
            case("A file that changes while it is downloaded", "Started over. The step goes well.", changed),
            case("A part whose version is not certain", "Not joined: started over. The step goes well.", without_tag),
            case("Another part than was asked for", "Not joined: started over. The step goes well.", another_part),
            case("A part that cannot be had", "Started over. The step goes well.", not_satisfiable),
            case("More than was announced", "Not joined: started over. The step goes well.", too_much),
            case("A body whose end is not certain", "Not taken. The step goes well when a later one is.", no_end),
            case("A file that comes packed", "Not taken. Code 1.", coded),
            case("A redirect that goes on for ever", "Followed five times. Code 1.", redirect_loop),
            case("A redirect to a place without TLS", "Not followed. Code 1.", downgrade),
            case("A download that takes too long", "Cut at the timeout. Code 4.", slow),
            case(
                "A file that cannot be converted to UTF-8",
                "Left as sent, with a line in the log. The step goes well.",
                no_text,
            ),
        ],
    ),
    (
        "This machine",
        &[
            case("A workspace that is not there", "Found out before the first request. Code 1.", no_workspace),
            case("A directory that cannot be written", "Found out before the first request. Code 1.", read_only),
            case("A directory in the file's place", "Left alone. Code 1.", directory),
            case("A disk that takes no more", "Ends at once. Code 1.", full_disk),
            case("Outputs that cannot be written", "Found out before the first request. Code 1.", outputs),
            case("Outputs on a disk that is full", "Told in the end. Code 1.", full_outputs),
            case("A step summary that cannot be written", "Told in the log. The step goes well.", no_summary),
        ],
    ),
    (
        "Interruptions",
        &[
            case("SIGINT while the run is waited for", "Ends within a second, outputs written. Code 130.", interrupted),
            case(
                "SIGTERM in a download",
                "Ends within a second, the partial file removed, outputs written. Code 143.",
                terminated,
            ),
        ],
    ),
];

const TWO_MINUTES: &str =
    "Tried again: for two minutes if the API has not answered once (code 1), else until the timeout (code 4).";
const UNTIL_THE_TIMEOUT: &str = "Tried again, until the timeout. The step goes well as soon as it does.";
const UNTIL_THE_TIMEOUT_AND_NOT_WELL: &str = "Given up after 30 s, and tried again as above.";
const EIGHT_ATTEMPTS: &str = "Given up after eight attempts without a new byte. Code 1.";

/// What takes longer than a test may. The long mode sees these lines come (`long.rs`).
pub(crate) const SILENT_STORE: &str =
    "at 100 bytes of 2.1 kB of the download, no bytes came for too long; retrying in …";
pub(crate) const SILENT_API: &str = "run 74780 of export 86446: API gave no readable answer within 2 min: cannot connect to API: connection refused (… attempts in …); no file was written; an existing file was left unchanged\nhint: check base-url, and whether a proxy stands between";

#[test]
fn the_page_about_faults_says_what_the_program_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, &page).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/faults.md is not what the program says; UPDATE_DOCS=1 writes it anew:\n{page}");
}

fn page() -> String {
    let mut page = String::from(
        "# Faults, and what is said of them\n\n\
         Made by `tests/contract/faults_page.rs` out of what the program really does; do not edit it by hand. Times, ports and\n\
         checksums are left out, and `API` and `STORE` stand for hosts. On GitHub the last lines are the one annotation of the\n\
         step; elsewhere they are on stderr, after `error: `. An older file of the same name is as it was, unless the step goes\n\
         well.\n",
    );
    thread::scope(|scope| {
        let chapters = CHAPTERS.iter().map(|(chapter, cases)| scope.spawn(|| written(chapter, cases)));
        let chapters: Vec<_> = chapters.collect();
        page.extend(chapters.into_iter().map(|chapter| chapter.join().unwrap()));
    });
    let long = [
        (
            "A store that falls silent",
            "After 20 s without a byte, as if it were cut. The step goes well.",
            SILENT_STORE,
        ),
        ("An API that has not answered once", "Given up after two minutes. Code 1.", SILENT_API),
    ];
    page.push_str("\n## What takes its time\n");
    for (fault, does, words) in long {
        page.push_str(&format!("\n### {fault}\n\n{does}\n\n```text\n{words}\n```\n"));
    }
    page
}

fn written(chapter: &str, cases: &[Case]) -> String {
    let mut text = format!("\n## {chapter}\n");
    for Case { fault, does, night } in cases {
        text.push_str(&format!("\n### {fault}\n\n{does}\n\n```text\n{}```\n", words(&night())));
    }
    text
}

/// What is said of faults, without what differs from night to night.
fn words(outcome: &Outcome) -> String {
    let log = outcome.stdout.lines().filter(|line| !line.starts_with("::")).filter(|line| {
        [
            "trying again in",
            "requesting a new signed URL",
            "warning: ",
            "going on at",
            "survived",
            "left as sent",
            "cannot be written",
        ]
        .iter()
        .any(|words| line.contains(words))
    });
    // Of many lines alike the first one is enough.
    let mut lines: Vec<String> = Vec::new();
    for line in log.map(|line| steady(line.trim_start().split_once("  ").map_or(line, |(_, line)| line))) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.extend(outcome.error().lines().map(steady));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A line without the ports, times and paths of this one run.
pub(crate) fn steady(line: &str) -> String {
    let mut line = line.to_owned();
    for (before, until) in [
        ("retrying in ", ";"),
        (" without a new byte in ", ")"),
        ("(seen at ", ")"),
        // Each system has words of its own for a name that is not known.
        ("failed to lookup address information: ", ";("),
    ] {
        if let Some((start, rest)) = line.split_once(before) {
            let rest = &rest[rest.find(|c| until.contains(c)).unwrap_or(rest.len())..];
            line = format!("{start}{before}…{rest}").replace("…(", "… (");
        }
    }
    // A machine that is slow gets a longer timeout.
    if let Some((start, rest)) = line.split_once("timed out after ") {
        let end = [" in the download", "; "].iter().find_map(|end| rest.find(end)).unwrap_or(rest.len());
        line = format!("{start}timed out after …{}", &rest[end..]);
    }
    // How often something can be tried in a short time differs.
    if let Some((start, rest)) = line.split_once(" attempts in ")
        && let Some((start, number)) = start.rsplit_once('(')
        && number.parse::<u32>().is_ok()
    {
        line = format!("{start}(… attempts in …{}", &rest[rest.find(')').unwrap_or(rest.len())..]);
    }
    let words: Vec<String> = line.split(' ').map(without_port).collect();
    words.join(" ")
}

/// A word, with `API` or in brackets `STORE` for a host of this machine and its port.
fn without_port(word: &str) -> String {
    if word.starts_with(UNKNOWN_HOST) {
        return word.replacen(UNKNOWN_HOST, "API", 1);
    }
    for host in ["127.0.0.1:", "localhost:"] {
        if let Some((before, after)) = word.split_once(host) {
            let name = if before.ends_with('(') { "STORE" } else { "API" };
            return format!("{before}{name}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
    }
    word.to_owned()
}

/// A run that is tried again until the timeout.
fn tried_again(run: impl Fn() -> Step) -> Outcome {
    with_growing_timeout(
        |timeout| run().input("timeout", timeout).run(),
        |outcome| outcome.stdout.contains("; retrying in "),
    )
    .exited(4)
}

/// A run that ends at the timeout, with these words.
fn timed_out(run: impl Fn() -> Step, words: &str) -> Outcome {
    with_growing_timeout(|timeout| run().input("timeout", timeout).run(), |outcome| outcome.error().contains(words))
        .exited(4)
}

fn bad_inputs() -> Outcome {
    let run = Step::on_github().input("api-key", "k").input("export-id", "Applicants").input("export-file-id", "74780");
    run.input("base-url", "api.webadmit.org").input("timeout", "one hour").run().exited(2)
}

fn nobody() -> Outcome {
    let nobody = ClosedPort::new();
    tried_again(|| github_at(&nobody.url()))
}

fn outside() -> Outcome {
    let url = format!("https://{UNKNOWN_HOST}");
    github_at(&url).input("directory", "../elsewhere").run().exited(2)
}

fn unknown_host() -> Outcome {
    let url = format!("http://{UNKNOWN_HOST}");
    tried_again(|| github_at(&url).input("allow-http", "true"))
}

fn proxy() -> Outcome {
    let proxy = Server::start(|_| respond(407, &[], b""));
    let address = format!("http://office:proxy-password@127.0.0.1:{}", proxy.port());
    let url = format!("https://{UNKNOWN_HOST}");
    tried_again(|| github_at(&url).env("HTTPS_PROXY", &address))
}

/// A run that trusts this authority and no other.
fn trusting(authority: &Authority, url: &str) -> Step {
    let run = github_at(url).existing_file("system.pem", authority.pem().as_bytes());
    let system = run.workspace().join("system.pem");
    run.env("SSL_CERT_FILE", system)
}

fn without_tls() -> Outcome {
    let url = format!("https://localhost:{}", server_without_tls());
    tried_again(|| trusting(&Authority::new(), &url))
}

fn unknown_authority() -> Outcome {
    let api = Server::start_tls(Authority::new().server(Flaw::None), |_| vec![Action::Close]);
    trusting(&Authority::new(), &api.url()).run().exited(1)
}

fn flawed_certificate(flaw: Flaw) -> Outcome {
    let authority = Authority::new();
    let api = Server::start_tls(authority.server(flaw), |_| vec![Action::Close]);
    trusting(&authority, &api.url()).run().exited(1)
}

fn expired_certificate() -> Outcome {
    flawed_certificate(Flaw::Expired)
}

fn another_host() -> Outcome {
    flawed_certificate(Flaw::AnotherHost)
}

fn no_authorities() -> Outcome {
    let run = github_at(&format!("https://{UNKNOWN_HOST}")).existing_file("empty.pem", b"");
    run.env("SSL_CERT_FILE", "empty.pem").run().exited(1)
}

fn broken() -> Outcome {
    let api = api_with_first_response(vec![Action::Reset]);
    github_at(&api.url()).input("fail-on", "failed").run().exited(0)
}

fn no_answer() -> Outcome {
    let api = Server::start(|_| vec![Action::Hang]);
    timed_out(|| github_at(&api.url()), "last error: ")
}

/// A night on which the API gives this answer first.
fn answered(first: ResponseTemplate) -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_api_response(first);
    github(&stand_in).run()
}

fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn unknown_key() -> Outcome {
    github(&StandIn::start()).input("api-key", "another").run().exited(5)
}

fn unknown_run() -> Outcome {
    github(&StandIn::start()).input("export-file-id", "").input("user-identity-id", "999").run().exited(5)
}

fn forbidden() -> Outcome {
    answered(ResponseTemplate::new(403)).exited(5)
}

fn refused() -> Outcome {
    answered(ResponseTemplate::new(422).set_body_json(json!({ "errors": { "schema": ["is too old"] } }))).exited(1)
}

fn used_up() -> Outcome {
    answered(ResponseTemplate::new(403).insert_header("X-RateLimit-Remaining", "0")).exited(0)
}

fn unreadable() -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_api_response(ResponseTemplate::new(200).set_body_string("{\"export_files\":{\"id\":74780,\"sta"));
    stand_in.next_api_response(ok(&json!({ "export_files": { "id": 74780 } })));
    stand_in.next_api_response(ok(&json!({ "export_files": { "id": "none", "status": "Queued" } })));
    github(&stand_in).run().exited(0)
}

fn endless() -> Outcome {
    answered(ResponseTemplate::new(200).set_body_string(" ".repeat(2 << 20))).exited(1)
}

fn other_export() -> Outcome {
    let mut answer = run_json("Queued");
    answer["export_files"]["export_id"] = json!(1);
    answered(ok(&answer)).exited(0)
}

fn unknown_status() -> Outcome {
    answered(ok(&run_json("Almost There"))).exited(0)
}

fn without_url() -> Outcome {
    answered(ok(&run_json("Available"))).exited(0)
}

fn unusable_url() -> Outcome {
    answered(ok(&run_json_with_url("Available", "ftp://store.example/file"))).exited(1)
}

fn no_identity() -> Outcome {
    github(&StandIn::start()).by_names().input("identity", "SOHPAS").run().exited(5)
}

fn identities() -> Outcome {
    github(&StandIn::start()).by_names().input("identity", "Demo University").run().exited(5)
}

fn no_export() -> Outcome {
    github(&StandIn::start()).by_names().input("export-name", "Nightly Aplicants").run().exited(5)
}

fn exports() -> Outcome {
    github(&StandIn::start()).by_names().input("identity", "").input("export-file-id", "74780").run().exited(5)
}

fn no_file() -> Outcome {
    let stand_in = StandIn::start();
    let files = json!({ "export_files": [{ "id": 74787, "export_id": 86447, "status": "Available" }] });
    let run = github(&stand_in).input("export-file-id", "latest").input("user-identity-id", "305");
    stand_in.next_api_response(ok(&files));
    run.run().exited(5)
}

fn no_text() -> Outcome {
    let stand_in = StandIn::builder().file(StoredFile::new(b"PK")).content_type("application/zip").start();
    github(&stand_in).input("encoding", "utf-8").run().exited(0)
}

fn overloaded() -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_api_status(503).next_api_status(503);
    stand_in.next_api_response(ResponseTemplate::new(200).set_body_raw("<h1>Back soon</h1>", "text/html"));
    github(&stand_in).run().exited(0)
}

fn retry_after() -> Outcome {
    answered(ResponseTemplate::new(429).insert_header("Retry-After", "7200")).exited(4)
}

fn redirect() -> Outcome {
    answered(ResponseTemplate::new(302).insert_header("Location", "https://login.example/sign-in?to=x")).exited(1)
}

fn other_run() -> Outcome {
    answered(ok(&json!({ "export_files": { "id": 1, "status": "Available" } }))).exited(1)
}

fn timeout() -> Outcome {
    let stand_in = StandIn::with_statuses(&["In Progress"]);
    timed_out(|| github(&stand_in), "last status: ")
}

fn failed() -> Outcome {
    github(&StandIn::with_statuses(&["Queued", "Failed"])).run().exited(3)
}

fn empty_list() -> Outcome {
    github(&StandIn::with_statuses(&["Empty List"])).run().exited(3)
}

fn with_errors() -> Outcome {
    let stand_in = StandIn::with_statuses(&["Success With Errors"]);
    github(&stand_in).input("fail-on", "success_with_errors").run().exited(3)
}

fn fails_late() -> Outcome {
    let stand_in = StandIn::with_statuses(&["Available", "Failed"]);
    stand_in.next_store_error(403, "AccessDenied");
    github(&stand_in).run().exited(3)
}

/// A file of some size, which is cut in the middle.
fn cut_in_the_middle() -> StandIn {
    let stand_in = StandIn::with_file(&applicants_csv(2000));
    stand_in.cut_next_download_after(41_000);
    stand_in
}

/// A night on which the store answers so when the rest of the file is asked for.
fn continued_with(act: impl Fn(&Request, &StoredFile) -> Vec<Action> + Send + 'static) -> Outcome {
    let stand_in = cut_in_the_middle();
    stand_in.next_store_response(act);
    github(&stand_in).run().exited(0)
}

/// The rest of the file, with these headers.
fn rest(file: &StoredFile, headers: &[(&str, &str)]) -> Vec<Action> {
    respond(206, headers, &file.bytes[41_000..])
}

fn cut() -> Outcome {
    github(&cut_in_the_middle()).run().exited(0)
}

fn changed() -> Outcome {
    continued_with(|_, _| vec![Action::Send(error_response(412, "PreconditionFailed"))])
}

fn not_satisfiable() -> Outcome {
    continued_with(|_, _| vec![Action::Send(error_response(416, "InvalidRange"))])
}

fn without_tag() -> Outcome {
    continued_with(|_, file| {
        let total = file.bytes.len();
        rest(file, &[("ETag", "W/\"weak\""), ("Content-Range", &format!("bytes 41000-{}/{total}", total - 1))])
    })
}

fn another_part() -> Outcome {
    continued_with(|_, file| {
        let (total, etag) = (file.bytes.len(), file.etag.clone().unwrap());
        rest(file, &[("ETag", &etag), ("Content-Range", &format!("bytes 40000-{}/{total}", total - 1001))])
    })
}

fn too_much() -> Outcome {
    continued_with(|_, file| {
        let (total, etag) = (file.bytes.len(), file.etag.clone().unwrap());
        let range = format!("bytes 41000-{}/{total}", total - 1);
        let head = head(206, &[("ETag", &etag), ("Content-Range", &range), ("Transfer-Encoding", "chunked")], 0);
        let body = [&file.bytes[41_000..], b"more"].concat();
        let size = format!("{:x}\r\n", body.len()).into_bytes();
        vec![Action::Send([head, size, body, b"\r\n0\r\n\r\n".to_vec()].concat())]
    })
}

/// A night on which the store answers so first.
fn stored(act: impl Fn(&Request, &StoredFile) -> Vec<Action> + Send + 'static) -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_store_response(act);
    github(&stand_in).run()
}

fn expired() -> Outcome {
    stored(|_, _| vec![Action::Send(error_response(403, "AccessDenied"))]).exited(0)
}

fn slow_down() -> Outcome {
    stored(|_, _| vec![Action::Send(error_response(503, "SlowDown"))]).exited(0)
}

fn no_end() -> Outcome {
    stored(|_, file| {
        vec![
            Action::Send([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &file.bytes[..100]].concat()),
            Action::Close,
        ]
    })
    .exited(0)
}

fn coded() -> Outcome {
    stored(|_, _| respond(200, &[("Content-Encoding", "gzip")], b"x")).exited(1)
}

fn unreachable_store() -> Outcome {
    let stand_in = StandIn::start();
    let nobody = ClosedPort::new();
    let url = format!("{}/file", nobody.url());
    for _ in 0..8 {
        stand_in.next_api_response(ok(&run_json_with_url("Available", &url)));
    }
    github(&stand_in).run().exited(1)
}

fn never() -> Outcome {
    let stand_in = StandIn::start();
    for _ in 0..8 {
        stand_in.next_store_error(404, "NoSuchKey");
    }
    github(&stand_in).run().exited(1)
}

fn redirect_loop() -> Outcome {
    let stand_in = StandIn::start();
    for _ in 0..6 {
        stand_in.next_store_response(|request, _| respond(307, &[("Location", &request.target)], b""));
    }
    github(&stand_in).run().exited(1)
}

fn downgrade() -> Outcome {
    let authority = Authority::new();
    let elsewhere = [("Location", "http://127.0.0.1:9/file")];
    let store = Server::start_tls(authority.server(Flaw::None), move |_| respond(302, &elsewhere, b""));
    let answer = run_json_with_url("Available", &format!("{}/file", store.url())).to_string();
    let api = Server::start_tls(authority.server(Flaw::None), move |_| respond(200, &[], answer.as_bytes()));
    trusting(&authority, &api.url()).run().exited(1)
}

/// Half of a file, and then nothing more.
fn half(_: &Request, _: &StoredFile) -> Vec<Action> {
    vec![Action::Send(head(200, &[], 1000)), Action::Send(vec![b'x'; 500]), Action::Hang]
}

fn slow() -> Outcome {
    let stand_in = StandIn::start();
    let run = || {
        stand_in.next_store_response(half);
        github(&stand_in)
    };
    timed_out(run, "at 500 bytes of ")
}

fn no_workspace() -> Outcome {
    github(&StandIn::start()).env("GITHUB_WORKSPACE", "/no/such/place").run().exited(1)
}

fn read_only() -> Outcome {
    let run = github(&StandIn::start()).existing_file("sealed/older.csv", b"older").input("directory", "sealed");
    fs::set_permissions(run.workspace().join("sealed"), Permissions::from_mode(0o555)).unwrap();
    let run = run.with_ordinary_user();
    run.run().exited(1)
}

fn directory() -> Outcome {
    github(&StandIn::start()).existing_file("applicants.csv/x", b"").input("filename", "applicants.csv").run().exited(1)
}

fn outputs() -> Outcome {
    github(&StandIn::start()).env("GITHUB_OUTPUT", "/no/such/file").run().exited(1)
}

fn full_disk() -> Outcome {
    let stand_in = StandIn::with_file(&vec![b'x'; 200_000]);
    // No file may grow beyond 64 KiB here, which is as good as a disk that is full.
    let limit = ["bash", "-c", "ulimit -f 64; exec \"$0\""];
    github(&stand_in).wrapped_in(&limit).run().exited(1)
}

fn full_outputs() -> Outcome {
    github(&StandIn::start()).env("GITHUB_OUTPUT", "/dev/full").run().exited(1)
}

fn no_summary() -> Outcome {
    github(&StandIn::start()).env("GITHUB_STEP_SUMMARY", "/no/such/file").run().exited(0)
}

fn interrupted() -> Outcome {
    let stand_in = StandIn::with_statuses(&["In Progress"]);
    let running = github(&stand_in).input("poll-interval", "1h").spawn();
    running.wait_for_stdout("status: in_progress");
    running.signal(Signal::INT);
    running.wait().exited(130)
}

fn terminated() -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_store_response(half);
    let running = github(&stand_in).spawn();
    running.wait_for_stdout("downloading ");
    running.signal(Signal::TERM);
    running.wait().exited(143)
}

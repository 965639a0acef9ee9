//! The scenarios of the entries: what goes wrong with a step.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::support::{
    Action, Authority, BatchBuilder, ClosedPort, EXPORT_NAME, FILENAME, Flaw, Outcome, PDF_BATCH_ID, PDF_TEMPLATE_ID,
    PDF_TEMPLATE_NAME, Request, RunBuilder, SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SECOND_RUN_ID, Server, StandIn, Step,
    StoredFile, UNKNOWN_HOST, api_with_first_response, applicants_csv, error_response, github, github_at, head,
    only_identity_json, pdf_zip_id, respond, run_json, run_json_with_url, server_without_tls, shell,
    with_growing_timeout,
};

/// Plays a step that retries a request until the timeout.
fn retried_until_timeout(run: impl Fn() -> Step) -> Outcome {
    with_growing_timeout(
        |timeout| run().input("timeout", timeout).run(),
        |outcome| outcome.stdout.contains("; retrying in "),
    )
    .exited(4)
}

/// Plays a step that ends at the timeout with these words.
fn ends_at_timeout(run: impl Fn() -> Step, words: &str) -> Outcome {
    with_growing_timeout(|timeout| run().input("timeout", timeout).run(), |outcome| outcome.error().contains(words))
        .exited(4)
}

pub(super) fn invalid_inputs() -> Outcome {
    let run = Step::on_github().input("api-key", "k").input("export-id", "Applicants").input("export-file-id", "74780");
    run.input("base-url", "api.webadmit.org").input("timeout", "one hour").run().exited(2)
}

pub(super) fn connection_refused() -> Outcome {
    let closed_port = ClosedPort::new();
    retried_until_timeout(|| github_at(&closed_port.url()))
}

pub(super) fn outside_workspace() -> Outcome {
    let url = format!("https://{UNKNOWN_HOST}");
    github_at(&url).input("directory", "../elsewhere").run().exited(2)
}

pub(super) fn unknown_host() -> Outcome {
    let url = format!("http://{UNKNOWN_HOST}");
    retried_until_timeout(|| github_at(&url).input("allow-http", "true"))
}

pub(super) fn proxy_authentication() -> Outcome {
    let proxy = Server::start(|_| respond(407, &[], b""));
    let address = format!("http://office:proxy-password@127.0.0.1:{}", proxy.port());
    let url = format!("https://{UNKNOWN_HOST}");
    retried_until_timeout(|| github_at(&url).env("HTTPS_PROXY", &address))
}

/// Prepares a step that trusts only this authority.
fn trusting(authority: &Authority, url: &str) -> Step {
    let run = github_at(url).existing_file("system.pem", authority.pem().as_bytes());
    let system = run.workspace().join("system.pem");
    run.env("SSL_CERT_FILE", system)
}

pub(super) fn without_tls() -> Outcome {
    let url = format!("https://localhost:{}", server_without_tls());
    retried_until_timeout(|| trusting(&Authority::new(), &url))
}

pub(super) fn unknown_authority() -> Outcome {
    let api = Server::start_tls(Authority::new().server(Flaw::None), |_| vec![Action::Close]);
    trusting(&Authority::new(), &api.url()).run().exited(1)
}

fn flawed_certificate(flaw: Flaw) -> Outcome {
    let authority = Authority::new();
    let api = Server::start_tls(authority.server(flaw), |_| vec![Action::Close]);
    trusting(&authority, &api.url()).run().exited(1)
}

pub(super) fn expired_certificate() -> Outcome {
    flawed_certificate(Flaw::Expired)
}

pub(super) fn another_host() -> Outcome {
    flawed_certificate(Flaw::AnotherHost)
}

pub(super) fn no_authorities() -> Outcome {
    let run = github_at(&format!("https://{UNKNOWN_HOST}")).existing_file("empty.pem", b"");
    run.env("SSL_CERT_FILE", "empty.pem").run().exited(1)
}

pub(super) fn connection_lost() -> Outcome {
    let api = api_with_first_response(vec![Action::Reset]);
    github_at(&api.url()).input("fail-on", "failed").run().exited(0)
}

pub(super) fn no_response() -> Outcome {
    let api = Server::start(|_| vec![Action::Hang]);
    ends_at_timeout(|| github_at(&api.url()), "last error: ")
}

/// Plays a step to which the API gives this first response.
fn first_response(first: ResponseTemplate) -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_api_response(first);
    github(&stand_in).run()
}

fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

pub(super) fn unknown_key() -> Outcome {
    github(&StandIn::start()).input("api-key", "another").run().exited(5)
}

pub(super) fn unknown_id() -> Outcome {
    github(&StandIn::start()).input("export-file-id", "").input("user-identity-id", "999").run().exited(5)
}

pub(super) fn forbidden() -> Outcome {
    first_response(ResponseTemplate::new(403)).exited(5)
}

pub(super) fn rejected() -> Outcome {
    first_response(ResponseTemplate::new(422).set_body_json(json!({ "errors": { "schema": ["is too old"] } })))
        .exited(1)
}

pub(super) fn no_calls_left() -> Outcome {
    first_response(ResponseTemplate::new(403).insert_header("X-RateLimit-Remaining", "0")).exited(0)
}

pub(super) fn unreadable() -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_api_response(ResponseTemplate::new(200).set_body_string("{\"export_files\":{\"id\":74780,\"sta"));
    stand_in.next_api_response(ok(&json!({ "export_files": { "id": 74780 } })));
    stand_in.next_api_response(ok(&json!({ "export_files": { "id": "none", "status": "Queued" } })));
    github(&stand_in).run().exited(0)
}

pub(super) fn too_large() -> Outcome {
    first_response(ResponseTemplate::new(200).set_body_string(" ".repeat(2 << 20))).exited(1)
}

pub(super) fn other_export() -> Outcome {
    let mut run = run_json("Queued");
    run["export_files"]["export_id"] = json!(1);
    first_response(ok(&run)).exited(0)
}

pub(super) fn unknown_status() -> Outcome {
    first_response(ok(&run_json("Almost There"))).exited(0)
}

pub(super) fn without_url() -> Outcome {
    first_response(ok(&run_json("Available"))).exited(0)
}

pub(super) fn unusable_url() -> Outcome {
    first_response(ok(&run_json_with_url("Available", "ftp://store.example/file"))).exited(1)
}

pub(super) fn identity_not_found() -> Outcome {
    github(&StandIn::start()).by_names().input("identity", "SOHPAS").run().exited(5)
}

pub(super) fn identity_ambiguous() -> Outcome {
    github(&StandIn::start()).by_names().input("identity", "Demo University").run().exited(5)
}

pub(super) fn export_not_found() -> Outcome {
    github(&StandIn::start()).by_names().input("export-name", "Nightly Aplicants").run().exited(5)
}

pub(super) fn export_ambiguous() -> Outcome {
    github(&StandIn::start()).by_names().input("identity", "").input("export-file-id", "74780").run().exited(5)
}

pub(super) fn no_latest_run() -> Outcome {
    let stand_in = StandIn::start();
    let files = json!({ "export_files": [{ "id": 74787, "export_id": 86447, "status": "Available" }] });
    let run = github(&stand_in).input("export-file-id", "latest").input("user-identity-id", "305");
    stand_in.next_api_response(ok(&files));
    run.run().exited(5)
}

/// Converts a file that the store declares to be of this type.
fn converted(content_type: &str, bytes: &[u8]) -> Outcome {
    let stand_in = StandIn::builder().file(StoredFile::new(bytes)).content_type(content_type).start();
    github(&stand_in).input("encoding", "utf-8").run().exited(0)
}

pub(super) fn not_text() -> Outcome {
    converted("application/zip", b"PK")
}

pub(super) fn unknown_charset() -> Outcome {
    converted("text/csv;charset=klingon", b"Zo\xEB")
}

pub(super) fn invalid_utf_8() -> Outcome {
    converted("text/csv;charset=utf-8", b"Zo\xEB")
}

pub(super) fn no_content_type() -> Outcome {
    converted("", b"Zo\xEB")
}

pub(super) fn late_html_charset() -> Outcome {
    let html = format!("<!--{}--><meta charset=\"iso-8859-1\">", " ".repeat(1024));
    converted("text/html;charset=iso-8859-1", html.as_bytes())
}

pub(super) fn overloaded() -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_api_status(503).next_api_status(503);
    stand_in.next_api_response(ResponseTemplate::new(200).set_body_raw("<h1>Back soon</h1>", "text/html"));
    github(&stand_in).run().exited(0)
}

pub(super) fn retry_after() -> Outcome {
    first_response(ResponseTemplate::new(429).insert_header("Retry-After", "7200")).exited(4)
}

pub(super) fn redirected() -> Outcome {
    first_response(ResponseTemplate::new(302).insert_header("Location", "https://login.example/sign-in?to=x")).exited(1)
}

pub(super) fn other_run() -> Outcome {
    first_response(ok(&json!({ "export_files": { "id": 1, "status": "Available" } }))).exited(1)
}

pub(super) fn timed_out() -> Outcome {
    let stand_in = StandIn::with_statuses(&["In Progress"]);
    ends_at_timeout(|| github(&stand_in).by_identity_id(), "last status: ")
}

pub(super) fn failed() -> Outcome {
    github(&StandIn::with_statuses(&["Queued", "Failed"])).by_identity_id().run().exited(3)
}

pub(super) fn empty_list() -> Outcome {
    github(&StandIn::with_statuses(&["Empty List"])).run().exited(3)
}

pub(super) fn success_with_errors() -> Outcome {
    let stand_in = StandIn::with_statuses(&["Success With Errors"]);
    github(&stand_in).input("fail-on", "success_with_errors").run().exited(3)
}

/// Starts a stand-in that cuts the first download in the middle.
fn cut_in_the_middle() -> StandIn {
    let stand_in = StandIn::with_file(&applicants_csv(2000));
    stand_in.cut_next_download_after(41_000);
    stand_in
}

/// Plays a step to which the store gives this response when the rest of the file is requested.
fn continued_with(handler: impl Fn(&Request, &StoredFile) -> Vec<Action> + Send + 'static) -> Outcome {
    let stand_in = cut_in_the_middle();
    stand_in.next_store_response(handler);
    github(&stand_in).run().exited(0)
}

/// Responds with the rest of the file and these headers.
fn rest(file: &StoredFile, headers: &[(&str, &str)]) -> Vec<Action> {
    respond(206, headers, &file.bytes[41_000..])
}

pub(super) fn interrupted_download() -> Outcome {
    github(&cut_in_the_middle()).run().exited(0)
}

pub(super) fn changed_file() -> Outcome {
    continued_with(|_, _| vec![Action::Send(error_response(412, "PreconditionFailed"))])
}

pub(super) fn range_not_satisfiable() -> Outcome {
    continued_with(|_, _| vec![Action::Send(error_response(416, "InvalidRange"))])
}

pub(super) fn weak_etag() -> Outcome {
    continued_with(|_, file| {
        let total = file.bytes.len();
        rest(file, &[("ETag", "W/\"weak\""), ("Content-Range", &format!("bytes 41000-{}/{total}", total - 1))])
    })
}

pub(super) fn wrong_range() -> Outcome {
    continued_with(|_, file| {
        let (total, etag) = (file.bytes.len(), file.etag.clone().unwrap());
        rest(file, &[("ETag", &etag), ("Content-Range", &format!("bytes 40000-{}/{total}", total - 1001))])
    })
}

pub(super) fn too_long() -> Outcome {
    continued_with(|_, file| {
        let (total, etag) = (file.bytes.len(), file.etag.clone().unwrap());
        let range = format!("bytes 41000-{}/{total}", total - 1);
        let head = head(206, &[("ETag", &etag), ("Content-Range", &range), ("Transfer-Encoding", "chunked")], 0);
        let body = [&file.bytes[41_000..], b"more"].concat();
        let size = format!("{:x}\r\n", body.len()).into_bytes();
        vec![Action::Send([head, size, body, b"\r\n0\r\n\r\n".to_vec()].concat())]
    })
}

/// Plays a step to which the store gives this first response.
fn first_store_response(handler: impl Fn(&Request, &StoredFile) -> Vec<Action> + Send + 'static) -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_store_response(handler);
    github(&stand_in).run()
}

pub(super) fn expired_url() -> Outcome {
    first_store_response(|_, _| vec![Action::Send(error_response(403, "AccessDenied"))]).exited(0)
}

pub(super) fn slow_down() -> Outcome {
    first_store_response(|_, _| vec![Action::Send(error_response(503, "SlowDown"))]).exited(0)
}

pub(super) fn unknown_length() -> Outcome {
    first_store_response(|_, file| {
        vec![
            Action::Send([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &file.bytes[..100]].concat()),
            Action::Close,
        ]
    })
    .exited(0)
}

pub(super) fn content_coding() -> Outcome {
    first_store_response(|_, _| respond(200, &[("Content-Encoding", "gzip")], b"x")).exited(1)
}

pub(super) fn unreachable_store() -> Outcome {
    let stand_in = StandIn::start();
    let closed_port = ClosedPort::new();
    let url = format!("{}/file", closed_port.url());
    for _ in 0..8 {
        stand_in.next_api_response(ok(&run_json_with_url("Available", &url)));
    }
    github(&stand_in).run().exited(1)
}

pub(super) fn missing_file() -> Outcome {
    let stand_in = StandIn::start();
    for _ in 0..8 {
        stand_in.next_store_error(404, "NoSuchKey");
    }
    github(&stand_in).run().exited(1)
}

pub(super) fn redirect_loop() -> Outcome {
    let stand_in = StandIn::start();
    for _ in 0..6 {
        stand_in.next_store_response(|request, _| respond(307, &[("Location", &request.target)], b""));
    }
    github(&stand_in).run().exited(1)
}

pub(super) fn downgrade() -> Outcome {
    let authority = Authority::new();
    let elsewhere = [("Location", "http://127.0.0.1:9/file")];
    let store = Server::start_tls(authority.server(Flaw::None), move |_| respond(302, &elsewhere, b""));
    let run = run_json_with_url("Available", &format!("{}/file", store.url())).to_string();
    let api = Server::start_tls(authority.server(Flaw::None), move |_| respond(200, &[], run.as_bytes()));
    trusting(&authority, &api.url()).run().exited(1)
}

/// Sends half of a file and then nothing more.
fn half(_: &Request, _: &StoredFile) -> Vec<Action> {
    vec![Action::Send(head(200, &[], 1000)), Action::Send(vec![b'x'; 500]), Action::Hang]
}

pub(super) fn slow_download() -> Outcome {
    let stand_in = StandIn::start();
    let run = || {
        stand_in.next_store_response(half);
        github(&stand_in).by_identity_id()
    };
    ends_at_timeout(run, "at 500 bytes of ")
}

pub(super) fn no_workspace() -> Outcome {
    github(&StandIn::start()).env("GITHUB_WORKSPACE", "/no/such/place").run().exited(1)
}

pub(super) fn read_only() -> Outcome {
    let run = github(&StandIn::start()).existing_file("sealed/older.csv", b"older").input("directory", "sealed");
    fs::set_permissions(run.workspace().join("sealed"), Permissions::from_mode(0o555)).unwrap();
    let run = run.with_ordinary_user();
    run.run().exited(1)
}

pub(super) fn directory_in_place() -> Outcome {
    github(&StandIn::start()).existing_file("applicants.csv/x", b"").input("filename", "applicants.csv").run().exited(1)
}

pub(super) fn no_github_output() -> Outcome {
    github(&StandIn::start()).env("GITHUB_OUTPUT", "/no/such/file").run().exited(1)
}

pub(super) fn full_disk() -> Outcome {
    let stand_in = StandIn::with_file(&vec![b'x'; 200_000]);
    // No file may exceed 64 KiB, which has the same effect as a full disk.
    let limit = ["bash", "-c", "ulimit -f 64; exec \"$0\""];
    github(&stand_in).by_identity_id().wrapped_in(&limit).run().exited(1)
}

pub(super) fn full_outputs() -> Outcome {
    github(&StandIn::start()).env("GITHUB_OUTPUT", "/dev/full").run().exited(1)
}

pub(super) fn no_summary() -> Outcome {
    github(&StandIn::start()).env("GITHUB_STEP_SUMMARY", "/no/such/file").run().exited(0)
}

pub(super) fn interrupted() -> Outcome {
    let stand_in = StandIn::with_statuses(&["In Progress"]);
    let running = github(&stand_in).by_identity_id().input("poll-interval", "1h").spawn();
    running.wait_for_stdout("status: in_progress");
    running.signal(Signal::INT);
    running.wait().exited(130)
}

pub(super) fn terminated() -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_store_response(half);
    let running = github(&stand_in).by_identity_id().spawn();
    running.wait_for_stdout("downloading ");
    running.signal(Signal::TERM);
    running.wait().exited(143)
}

pub(super) fn missing_key() -> Outcome {
    github_at("https://localhost").input("api-key", "").run().exited(2)
}

pub(super) fn missing_identity() -> Outcome {
    github_at("https://localhost").input("export-file-id", "").run().exited(2)
}

pub(super) fn max_age_without_latest() -> Outcome {
    github_at("https://localhost").input("max-age", "26h").run().exited(2)
}

pub(super) fn existing_run_without_waiting() -> Outcome {
    github_at("https://localhost").input("wait", "false").run().exited(2)
}

/// Plays a step that downloads the latest file if it is not older than 26 hours.
fn latest(file: StoredFile) -> Outcome {
    let stand_in = StandIn::builder().file(file).start();
    let step = github(&stand_in).by_names().input("export-file-id", "latest");
    step.input("max-age", "26h").run()
}

pub(super) fn too_old() -> Outcome {
    latest(StoredFile::new(b"").aged(Duration::from_hours(24 * 8))).exited(6)
}

pub(super) fn unknown_age() -> Outcome {
    latest(StoredFile::new(b"").last_modified(None)).exited(1)
}

pub(super) fn unknown_input() -> Outcome {
    github(&StandIn::start()).input("export-idd", "86446").run().exited(0)
}

pub(super) fn unknown_argument() -> Outcome {
    github(&StandIn::start()).arg("lists").run().exited(2)
}

pub(super) fn list_row() -> Outcome {
    let row = "86446   305       Nightly Applicants      Comma-Separated Values  all";
    github(&StandIn::start()).by_names().input("export-name", row).run().exited(5)
}

pub(super) fn output_file_in_place() -> Outcome {
    let stand_in = StandIn::start();
    github(&stand_in).existing_file(FILENAME, b"older").input("output-file", FILENAME).run().exited(1)
}

pub(super) fn output_directory_in_place() -> Outcome {
    let stand_in = StandIn::builder().content_disposition("attachment; filename=status").start();
    github(&stand_in).input("output-directory", ".").run().exited(1)
}

pub(super) fn file_in_place_of_output_directory() -> Outcome {
    github(&StandIn::start()).existing_file("results", b"").input("output-directory", "results").run().exited(1)
}

pub(super) fn sealed_output_directory() -> Outcome {
    let run = github(&StandIn::start()).existing_file("results/x", b"").input("output-directory", "results");
    fs::set_permissions(run.workspace().join("results"), Permissions::from_mode(0o555)).unwrap();
    run.with_ordinary_user().run().exited(1)
}

pub(super) fn unread_pipe() -> Outcome {
    let stand_in = StandIn::start();
    let step = shell(&stand_in).input("output-file", "pipe.json");
    // The shell keeps the pipe open for reading, and fills it.
    let script = "mkfifo pipe.json; exec 3<> pipe.json; head -c 65536 /dev/zero >&3; exec \"$0\"";
    step.wrapped_in(&["bash", "-c", script]).run().exited(1)
}

/// Prepares `webadmit-export list`.
fn list(stand_in: &StandIn) -> Step {
    shell(stand_in).input("poll-interval", "1ms").arg("list")
}

pub(super) fn list_refused() -> Outcome {
    list(&StandIn::start()).input("api-key", "another").run().exited(5)
}

pub(super) fn incomplete_list() -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_api_json(stand_in.identities_json());
    for _ in 0..4 {
        stand_in.next_api_status(500);
    }
    list(&stand_in).run().exited(1)
}

pub(super) fn list_forbidden() -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_api_json(stand_in.identities_json()).next_api_status(403);
    list(&stand_in).run().exited(0)
}

pub(super) fn list_without_pdf_manager() -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_api_json(only_identity_json()).next_api_json(stand_in.exports_json()).next_api_status(403);
    list(&stand_in).run().exited(0)
}

/// Plays a step whose inputs are rejected.
fn rejected_step(inputs: &[(&str, &str)]) -> Outcome {
    let step = github_at("https://localhost").by_names();
    inputs.iter().fold(step, |step, (name, value)| step.input(name, value)).run().exited(2)
}

pub(super) fn different_numbers() -> Outcome {
    rejected_step(&[("export-name", "Nightly Applicants\nInterviews of the Week"), ("export-file-id", "74780")])
}

pub(super) fn given_twice() -> Outcome {
    rejected_step(&[("export-name", "Nightly Applicants\nnightly applicants")])
}

pub(super) fn too_many_runs() -> Outcome {
    let ids: Vec<String> = (1..=51).map(|id| id.to_string()).collect();
    rejected_step(&[("export-name", ""), ("export-id", &ids.join(" "))])
}

pub(super) fn filename_for_several() -> Outcome {
    rejected_step(&[("export-name", "Nightly Applicants\nInterviews of the Week"), ("filename", "applicants.csv")])
}

pub(super) fn latest_without_template() -> Outcome {
    rejected_step(&[("export-name", ""), ("pdf-batch-id", "latest")])
}

pub(super) fn several_names_unresolved() -> Outcome {
    let stand_in = StandIn::start();
    let step = github(&stand_in).by_names().input("export-name", "Nightly Aplicants");
    step.input("pdf-template", "Accepted Ofers for Review").run().exited(5)
}

/// Prepares a step that starts runs of two exports and a batch.
fn two_exports_and_a_batch(stand_in: &StandIn) -> Step {
    let names = format!("{EXPORT_NAME}\n{SECOND_EXPORT_NAME}");
    github(stand_in).by_names().input("export-name", &names).input("pdf-template", PDF_TEMPLATE_NAME)
}

pub(super) fn some_runs_failed() -> Outcome {
    let second = |run: RunBuilder| run.statuses(&["Failed"]);
    let batch = |batch: BatchBuilder| batch.statuses(&["empty_list"]);
    let stand_in = StandIn::builder()
        .export(SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SECOND_RUN_ID, second)
        .pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, batch)
        .start();
    two_exports_and_a_batch(&stand_in).run().exited(3)
}

pub(super) fn same_path() -> Outcome {
    two_exports_and_a_batch(&StandIn::start()).input("pdf-template", "").run().exited(1)
}

pub(super) fn statuses_not_listed() -> Outcome {
    let stand_in = StandIn::builder()
        .statuses(&["Queued", "Queued", "Available"])
        .export(SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SECOND_RUN_ID, |run| run.filename("interviews.csv"))
        .start();
    stand_in.every_api_response_to("GET", "/user_identities/305/export_files", ResponseTemplate::new(403));
    two_exports_and_a_batch(&stand_in).input("pdf-template", "").run().exited(0)
}

/// Plays a step that downloads a batch.
fn batch(configure: impl FnOnce(BatchBuilder) -> BatchBuilder) -> Outcome {
    let stand_in = StandIn::builder().pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, configure).start();
    download_batch(&stand_in)
}

fn download_batch(stand_in: &StandIn) -> Outcome {
    let step = github(stand_in).by_names().input("export-name", "").input("pdf-template", PDF_TEMPLATE_NAME);
    step.run().exited(1)
}

pub(super) fn missing_zip() -> Outcome {
    let two_zips = |batch: BatchBuilder| batch.zip("offers-1.zip", b"PK1").zip("offers-2.zip", b"PK2");
    let stand_in = StandIn::builder().pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, two_zips).start();
    for _ in 0..8 {
        let not_found = error_response(404, "NoSuchKey");
        stand_in.next_store_response_of(pdf_zip_id(PDF_BATCH_ID, 1), move |_, _| vec![Action::Send(not_found.clone())]);
    }
    download_batch(&stand_in)
}

pub(super) fn zip_without_redirect() -> Outcome {
    batch(|batch| batch.zip_with("offers.zip", b"PK", |zip| zip.redirect_status(200)))
}

pub(super) fn zip_at_the_api() -> Outcome {
    batch(|batch| batch.zip_with("offers.zip", b"PK", |zip| zip.location("{api}/zips/421")))
}

pub(super) fn unexpected_href() -> Outcome {
    batch(|batch| batch.hrefs(&["/api/v2/zips/421"]))
}

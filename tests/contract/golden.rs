//! Snapshots of what the program does with a single export, as seen from outside and without its messages.
//!
//! Each scenario is a script for the API and the store. Its snapshot in `golden/` has all requests in order with their headers,
//! the exit code, the outputs, and the files in the workspace. A change that keeps the behavior leaves every snapshot as it is.
//! `INSTA_UPDATE=always cargo test --test contract golden` records them again.
//!
//! No snapshot depends on a time, a port or a random number.

use std::collections::VecDeque;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    API_KEY, Action, EXPORT_ID, EXPORT_NAME, FILENAME, IDENTITY_ID, Outcome, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME,
    RUN_ID, Request, SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SIGNATURE, Server, Step, StoredFile, applicants_csv,
    error_response, export_json, exports_json, head, identities_json, identity_json, pdf_template_json,
    pdf_templates_json, respond, response, run_json, run_of_export_json, server, server::EVENT_TIMEOUT, sha256_hex,
};

/// What a server does with one request.
type Response = Vec<Action>;

/// The responses of a server, in the order of the requests. The last one is repeated.
type Script = fn(&Hosts) -> Vec<Response>;

/// The URLs of the servers of a scenario.
struct Hosts {
    store: String,
    elsewhere: String,
}

/// The CI system that runs the step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    GitHub,
    Shell,
    Azure,
}

/// What ends the step.
#[derive(Clone, Copy)]
enum End {
    Itself,
    /// A signal after this number of requests.
    Signal(Signal, usize),
    /// The timeout, after this number of requests. On a machine that is slower, with a longer timeout.
    Timeout(usize),
}

struct Scenario {
    name: &'static str,
    inputs: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
    files_before: &'static [(&'static str, &'static [u8])],
    system: System,
    api: Script,
    store: Script,
    end: End,
}

/// Downloads the file of a run that is given by its ids. The other scenarios differ from this one.
const DEFAULT: Scenario = Scenario {
    name: "",
    inputs: &[],
    arguments: &[],
    files_before: &[],
    system: System::GitHub,
    api: available_each_time,
    store: |_| vec![whole(&csv())],
    end: End::Itself,
};

/// Outputs of an earlier step, longer than those of this step.
const STALE: &[u8] = &[b'x'; 1000];
const NEW_RUN: (&str, &str) = ("export-file-id", "");
const BY_NAMES: [(&str, &str); 4] =
    [("export-name", EXPORT_NAME), ("identity", "SOPHAS"), ("export-id", ""), ("export-file-id", "")];
const LATEST_BY_NAMES: [(&str, &str); 4] = [BY_NAMES[0], BY_NAMES[1], BY_NAMES[2], ("export-file-id", "latest")];
const EXISTING_BY_NAME: [(&str, &str); 2] = [BY_NAMES[0], BY_NAMES[2]];

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "run_by_ids",
        api: |hosts| vec![run("Initializing"), run("Queued"), run("In Progress"), available(hosts)],
        ..DEFAULT
    },
    Scenario {
        name: "statuses_in_snake_case",
        api: |hosts| vec![run("initializing"), run("queued"), run("in_progress"), with_file("available", hosts)],
        ..DEFAULT
    },
    Scenario {
        name: "unknown_status",
        api: |hosts| vec![run("Almost There"), run("Almost There"), available(hosts)],
        ..DEFAULT
    },
    Scenario {
        name: "new_run_by_ids",
        inputs: &[NEW_RUN, ("user-identity-id", "305")],
        api: |hosts| vec![started(201), run("Queued"), available(hosts)],
        ..DEFAULT
    },
    Scenario {
        name: "new_run_by_names",
        inputs: &BY_NAMES,
        api: |hosts| vec![identities(&[SOPHAS]), exports(), started(201), run("Queued"), available(hosts)],
        ..DEFAULT
    },
    Scenario {
        name: "new_run_of_the_newest_cycle",
        inputs: &BY_NAMES,
        api: |hosts| {
            let cycles = [(290, "SOPHAS", "2025 - 2026"), SOPHAS, (311, "PharmCAS", "2027 - 2028")];
            vec![identities(&cycles), exports(), started(200), available(hosts)]
        },
        ..DEFAULT
    },
    Scenario {
        name: "new_run_that_is_not_there_at_once",
        inputs: &[NEW_RUN, ("user-identity-id", "305")],
        api: |hosts| vec![started(201), api_error(404), api_error(404), available(hosts)],
        ..DEFAULT
    },
    Scenario {
        name: "new_run_whose_start_is_repeated",
        inputs: &[NEW_RUN, ("user-identity-id", "305")],
        api: |hosts| vec![api_error(502), started(201), available(hosts)],
        ..DEFAULT
    },
    Scenario {
        name: "existing_run_by_name",
        inputs: &EXISTING_BY_NAME,
        api: |hosts| vec![exports(), available(hosts)],
        ..DEFAULT
    },
    Scenario {
        name: "latest_by_ids",
        inputs: &[("export-file-id", "latest"), ("user-identity-id", "305")],
        api: |hosts| vec![recent_runs(), available(hosts)],
        ..DEFAULT
    },
    Scenario {
        name: "latest_by_names",
        inputs: &LATEST_BY_NAMES,
        api: |hosts| vec![identities(&[SOPHAS]), exports(), recent_runs(), available(hosts)],
        ..DEFAULT
    },
    Scenario { name: "empty_list", api: |_| vec![run("Queued"), run("Empty List")], ..DEFAULT },
    Scenario { name: "failed", api: |_| vec![run("In Progress"), run("Failed")], ..DEFAULT },
    Scenario {
        name: "failed_and_allowed_by_fail_on",
        inputs: &[("fail-on", "empty_list")],
        api: |_| vec![run("failed")],
        ..DEFAULT
    },
    Scenario { name: "success_with_errors", api: |hosts| vec![with_file("Success With Errors", hosts)], ..DEFAULT },
    Scenario {
        name: "success_with_errors_and_fail_on",
        inputs: &[("fail-on", "failed, Success With Errors")],
        api: |hosts| vec![with_file("success_with_errors", hosts)],
        ..DEFAULT
    },
    Scenario { name: "text_in_utf_8", inputs: &[("encoding", "utf-8")], ..DEFAULT },
    Scenario {
        name: "directory_filename_and_output_file",
        inputs: &[
            ("directory", "exports/new"),
            ("filename", "applicants 2026.csv"),
            ("output-file", "reports/out.env"),
        ],
        files_before: &[("exports/older.csv", b"older")],
        ..DEFAULT
    },
    Scenario { name: "older_file_replaced", files_before: &[(FILENAME, b"older")], ..DEFAULT },
    Scenario {
        name: "filename_quoted",
        store: |_| vec![named("attachment; filename=\"../my report; 2026.csv\"", &csv())],
        ..DEFAULT
    },
    Scenario {
        name: "filename_in_rfc_8187",
        store: |_| vec![named("attachment; filename=x.csv; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.csv", &csv())],
        ..DEFAULT
    },
    Scenario { name: "filename_of_the_url", store: |_| vec![named("attachment", &csv())], ..DEFAULT },
    Scenario {
        name: "shell_with_output_file",
        inputs: &[("output-file", "out.env")],
        files_before: &[("out.env", STALE)],
        system: System::Shell,
        ..DEFAULT
    },
    Scenario { name: "azure", system: System::Azure, ..DEFAULT },
    Scenario { name: "zero_bytes", store: |_| vec![whole(&StoredFile { bytes: Vec::new(), ..csv() })], ..DEFAULT },
    Scenario {
        name: "download_resumed",
        store: |_| vec![cut(whole(&csv()), 1000), cut(part(&csv(), 1000), 500), part(&csv(), 1500)],
        ..DEFAULT
    },
    Scenario {
        name: "download_resumed_by_a_200_with_a_range",
        store: |_| vec![cut(whole(&csv()), 1000), with_200(part(&csv(), 1000))],
        ..DEFAULT
    },
    Scenario {
        name: "download_restarted_after_412",
        store: |_| vec![cut(whole(&csv()), 1000), store_error(412, "PreconditionFailed"), whole(&newer())],
        ..DEFAULT
    },
    Scenario {
        name: "download_restarted_after_416",
        store: |_| vec![cut(whole(&csv()), 1000), store_error(416, "InvalidRange"), whole(&newer())],
        ..DEFAULT
    },
    Scenario {
        name: "download_restarted_with_another_etag",
        store: |_| vec![cut(whole(&csv()), 1000), part(&newer(), 1000), whole(&newer())],
        ..DEFAULT
    },
    Scenario {
        name: "download_restarted_with_a_weak_etag",
        store: |_| {
            let weak = StoredFile { etag: Some("W/\"weak\"".to_owned()), ..csv() };
            vec![cut(whole(&weak), 1000), whole(&weak)]
        },
        ..DEFAULT
    },
    Scenario {
        name: "new_url_after_403",
        store: |_| vec![store_error(403, "AccessDenied"), store_error(403, "AccessDenied"), whole(&csv())],
        ..DEFAULT
    },
    Scenario {
        name: "store_that_never_gives_the_file",
        files_before: &[(FILENAME, b"older")],
        store: |_| vec![store_error(404, "NoSuchKey")],
        ..DEFAULT
    },
    Scenario {
        name: "store_redirects_five_times",
        store: |hosts| {
            let to = [&hosts.elsewhere, &hosts.elsewhere, &hosts.store, &hosts.elsewhere, &hosts.store];
            let redirects = to.iter().zip(2..).map(|(host, number)| redirect(&signed(host, "moved", number)));
            redirects.chain([whole(&csv())]).collect()
        },
        ..DEFAULT
    },
    Scenario {
        name: "store_redirects_without_end",
        store: |hosts| vec![redirect(&signed(&hosts.store, "moved", 2))],
        ..DEFAULT
    },
    Scenario {
        name: "content_encoding_of_the_upload",
        store: |_| vec![respond(200, &[("Content-Encoding", "aws-chunked")], b"bytes")],
        ..DEFAULT
    },
    Scenario {
        name: "coded_body",
        store: |_| vec![respond(200, &[("Content-Encoding", "gzip")], b"\x1f\x8b")],
        ..DEFAULT
    },
    Scenario {
        name: "api_recovers",
        api: |hosts| {
            let unreadable = response(200, &[("Content-Type", "text/html")], b"<h1>Back soon</h1>");
            let retry_after = response(503, &[("Retry-After", "1")], b"");
            let used_up = response(403, &[("X-RateLimit-Remaining", "0")], b"");
            let without_url = run("Available");
            vec![
                vec![Action::Send(retry_after)],
                vec![Action::Reset],
                api_error(429),
                vec![Action::Send(used_up)],
                vec![Action::Send(unreadable)],
                without_url,
                available(hosts),
            ]
        },
        ..DEFAULT
    },
    Scenario { name: "api_refuses_with_401", api: |_| vec![api_error(401)], ..DEFAULT },
    Scenario { name: "api_refuses_with_403", api: |_| vec![api_error(403)], ..DEFAULT },
    Scenario { name: "api_refuses_with_404", api: |_| vec![run("Queued"), api_error(404)], ..DEFAULT },
    Scenario { name: "api_refuses_with_422", api: |_| vec![api_error(422)], ..DEFAULT },
    Scenario { name: "api_redirects", api: |hosts| vec![redirect(&format!("{}/sign-in", hosts.elsewhere))], ..DEFAULT },
    Scenario {
        name: "api_responds_for_another_run",
        api: |_| {
            let other = json!({ "export_files": { "id": 1, "export_id": EXPORT_ID, "status": "Available" } });
            vec![api_response(200, &other)]
        },
        ..DEFAULT
    },
    Scenario {
        name: "api_asks_for_more_time_than_there_is",
        inputs: &[("timeout", "30m")],
        api: |_| vec![run("Queued"), respond(503, &[("Retry-After", "7200")], b"")],
        ..DEFAULT
    },
    Scenario {
        name: "timeout",
        // The second check is the last one, at the timeout: without the timeout it would be five minutes later.
        api: |_| {
            let run = run_json("In Progress").to_string();
            vec![respond(200, &[("X-RateLimit-Remaining", "0")], run.as_bytes())]
        },
        end: End::Timeout(2),
        ..DEFAULT
    },
    Scenario {
        name: "bad_inputs",
        inputs: &[("export-id", "eighty"), ("timeout", "never"), ("output-file", "out.env")],
        files_before: &[("out.env", STALE)],
        ..DEFAULT
    },
    Scenario {
        name: "export_not_found",
        inputs: &[("export-name", "Nightly Aplicants"), BY_NAMES[1], BY_NAMES[2], BY_NAMES[3]],
        api: |_| vec![identities(&[SOPHAS]), exports()],
        ..DEFAULT
    },
    Scenario {
        name: "export_ambiguous",
        inputs: &EXISTING_BY_NAME,
        api: |_| {
            let twice = [export_json(80112, EXPORT_NAME), export_json(EXPORT_ID, EXPORT_NAME)];
            let cycles = [(290, "SOPHAS", "2025 - 2026"), SOPHAS];
            vec![api_response(200, &json!({ "exports": twice })), identities(&cycles), exports(), api_error(403)]
        },
        ..DEFAULT
    },
    Scenario {
        name: "identity_not_found",
        inputs: &[BY_NAMES[0], ("identity", "SOHPAS"), BY_NAMES[2], BY_NAMES[3]],
        api: |_| vec![identities(&[SOPHAS])],
        ..DEFAULT
    },
    Scenario {
        name: "identity_ambiguous",
        inputs: &[BY_NAMES[0], ("identity", "Demo University"), BY_NAMES[2], BY_NAMES[3]],
        api: |_| vec![identities(&[SOPHAS, (311, "PharmCAS", "2026 - 2027")])],
        ..DEFAULT
    },
    Scenario {
        name: "latest_without_a_file",
        inputs: &[("export-file-id", "latest"), ("user-identity-id", "305")],
        api: |_| vec![api_response(200, &json!({ "export_files": [] }))],
        ..DEFAULT
    },
    Scenario {
        name: "list",
        arguments: &["list"],
        system: System::Shell,
        api: |_| {
            let identities = identities(&[(290, "SOPHAS", "2025 - 2026"), SOPHAS]);
            vec![identities, exports(), api_error(403), templates(), api_error(403)]
        },
        ..DEFAULT
    },
    Scenario {
        name: "list_that_is_not_complete",
        arguments: &["list"],
        system: System::Shell,
        api: |_| {
            let failed = vec![api_error(500); 4];
            let identities = vec![identities(&[(290, "SOPHAS", "2025 - 2026"), SOPHAS]), exports()];
            [identities, failed.clone(), vec![templates()], failed].concat()
        },
        ..DEFAULT
    },
    Scenario {
        name: "list_as_json",
        arguments: &["list", "--json"],
        system: System::Shell,
        api: |_| {
            let identities = identities(&[(290, "SOPHAS", "2025 - 2026"), SOPHAS]);
            vec![identities, exports(), api_error(403), templates(), api_error(403)]
        },
        ..DEFAULT
    },
    Scenario {
        name: "signal_between_two_checks",
        inputs: &[("output-file", "out.env")],
        api: |_| vec![run("In Progress"), vec![Action::Hang]],
        end: End::Signal(Signal::TERM, 2),
        ..DEFAULT
    },
    Scenario {
        name: "signal_in_the_download",
        inputs: &[("directory", "new/deep")],
        files_before: &[("older.csv", b"older")],
        store: |_| vec![vec![Action::Send(head(200, &[], 1000)), Action::Send(vec![b'x'; 500]), Action::Hang]],
        end: End::Signal(Signal::INT, 2),
        ..DEFAULT
    },
];

fn csv() -> StoredFile {
    StoredFile { etag: Some("\"first\"".to_owned()), ..StoredFile::new(&applicants_csv(40)) }
}

fn newer() -> StoredFile {
    StoredFile { etag: Some("\"second\"".to_owned()), ..StoredFile::new(&applicants_csv(50)) }
}

/// A response with the whole file.
fn whole(file: &StoredFile) -> Response {
    named("attachment; filename=Test-API-Export.csv", file)
}

/// A response with the whole file and this `Content-Disposition`.
fn named(content_disposition: &str, file: &StoredFile) -> Response {
    vec![Action::Send(file.whole(&headers(content_disposition)))]
}

/// A response with the rest of a file, from this byte on.
fn part(file: &StoredFile, from: usize) -> Response {
    let headers = headers("attachment; filename=Test-API-Export.csv");
    vec![Action::Send(file.part(from..file.bytes.len(), &headers))]
}

fn headers(content_disposition: &str) -> [(&str, &str); 2] {
    [("Content-Disposition", content_disposition), ("Content-Type", "text/csv;charset=iso-8859-1")]
}

/// The same response with the status 200, with which rclone sends a part.
fn with_200(response: Response) -> Response {
    let [Action::Send(bytes)] = response.as_slice() else { panic!("only a response in one piece can be changed") };
    vec![Action::Send([b"HTTP/1.1 200", &bytes[12..]].concat())]
}

/// The same response, cut after this number of bytes of its body.
fn cut(response: Response, body: usize) -> Response {
    let [Action::Send(bytes)] = response.as_slice() else { panic!("only a response in one piece can be cut") };
    vec![Action::Send(server::cut(bytes, body)), Action::Close]
}

fn store_error(status: u16, code: &str) -> Response {
    vec![Action::Send(error_response(status, code))]
}

fn redirect(to: &str) -> Response {
    respond(302, &[("Location", to)], b"")
}

/// A response of the API.
fn api_response(status: u16, body: &Value) -> Response {
    let headers = [("Content-Type", "application/json; charset=utf-8"), ("X-RateLimit-Limit", "5000")];
    respond(status, &headers, body.to_string().as_bytes())
}

/// An error of the API.
fn api_error(status: u16) -> Response {
    api_response(status, &json!({ "message": "Made up" }))
}

fn run(status: &str) -> Response {
    api_response(200, &run_json(status))
}

/// A run with a download URL.
fn with_file(status: &str, hosts: &Hosts) -> Response {
    api_response(200, &run_of_export_json(RUN_ID, EXPORT_ID, status, Some(&signed(&hosts.store, "file", 1))))
}

fn available(hosts: &Hosts) -> Response {
    with_file("Available", hosts)
}

/// The same, with another signed URL each time.
fn available_each_time(hosts: &Hosts) -> Vec<Response> {
    let run = |number| run_of_export_json(RUN_ID, EXPORT_ID, "Available", Some(&signed(&hosts.store, "file", number)));
    (1..10).map(|number| api_response(200, &run(number))).collect()
}

fn started(status: u16) -> Response {
    api_response(status, &run_json("Queued"))
}

fn signed(host: &str, path: &str, number: u64) -> String {
    format!(
        "{host}/export_files/reports/{path}.txt?AWSAccessKeyId=AKIDMADEUP&Expires=1425359248&Signature={SIGNATURE}{number:04}%3D"
    )
}

/// The recent runs of the identity. The newest one of the export is neither the first nor the newest of all.
fn recent_runs() -> Response {
    let file = |id, export, status: &str| json!({ "id": id, "export_id": export, "status": status });
    let files = [
        file(RUN_ID - 5, EXPORT_ID, "Available"),
        file(RUN_ID + 7, EXPORT_ID + 1, "Available"),
        file(RUN_ID, EXPORT_ID, "Available"),
        file(RUN_ID - 9, EXPORT_ID, "Failed"),
    ];
    api_response(
        200,
        &json!({ "href": format!("/api/v1/user_identities/{IDENTITY_ID}/export_files"), "export_files": files }),
    )
}

type Identity = (u64, &'static str, &'static str);

const SOPHAS: Identity = (IDENTITY_ID, "SOPHAS", "2026 - 2027");

fn identities(identities: &[Identity]) -> Response {
    let organization = "Demo School of Public Health";
    let identities =
        identities.iter().map(|(id, association, cycle)| identity_json(*id, association, organization, cycle));
    api_response(200, &identities_json(&identities.collect::<Vec<_>>()))
}

fn templates() -> Response {
    let template = pdf_template_json(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME);
    api_response(200, &pdf_templates_json(IDENTITY_ID, &[template]))
}

fn exports() -> Response {
    let exports = [export_json(EXPORT_ID, EXPORT_NAME), export_json(SECOND_EXPORT_ID, SECOND_EXPORT_NAME)];
    api_response(200, &exports_json(&exports))
}

/// A request, after the placeholder of the host that received it.
type RecordedRequest = (&'static str, Request);

/// The rest of a script.
type Responses = Arc<Mutex<VecDeque<Response>>>;

/// The servers of a scenario, and the requests that any of them received.
struct Servers {
    api: Server,
    store: Server,
    elsewhere: Server,
    requests: Receiver<RecordedRequest>,
}

impl Servers {
    fn start(scenario: &'static Scenario) -> Self {
        let (sender, requests) = mpsc::channel();
        let (api_responses, store_responses) = (Responses::default(), Responses::default());
        let serve = |name, responses: &Responses| {
            let (sender, responses) = (sender.clone(), Arc::clone(responses));
            Server::start(move |request| {
                sender.send((name, request.clone())).unwrap();
                let mut responses = responses.lock().unwrap();
                if responses.len() > 1 { responses.pop_front().unwrap() } else { responses[0].clone() }
            })
        };
        // The store's script has the responses of the host to which it redirects, too.
        let (store, elsewhere) = (serve("STORE", &store_responses), serve("ELSEWHERE", &store_responses));
        let api = serve("API", &api_responses);
        let hosts = Hosts { store: store.url(), elsewhere: elsewhere.url() };
        api_responses.lock().unwrap().extend((scenario.api)(&hosts));
        store_responses.lock().unwrap().extend((scenario.store)(&hosts));
        Self { api, store, elsewhere, requests }
    }

    /// Replaces what differs each time with placeholders.
    fn normalize(&self, text: &str) -> String {
        let hosts = [("API", &self.api), ("STORE", &self.store), ("ELSEWHERE", &self.elsewhere)];
        let text = hosts.iter().fold(text.to_owned(), |text, (name, server)| {
            text.replace(server.url().trim_start_matches("http://"), name)
        });
        text.replace(API_KEY, "KEY").replace(concat!("/", env!("CARGO_PKG_VERSION")), "/VERSION")
    }
}

/// Plays a scenario, and returns its record.
fn record(scenario: &'static Scenario) -> String {
    let End::Timeout(number) = scenario.end else { return play(scenario, None).0 };
    let mut records = ["1s", "4s", "16s", "64s"].iter().map(|timeout| play(scenario, Some(timeout)));
    let (record, _) = records.find(|(_, requests)| *requests >= number).unwrap();
    record
}

/// Plays a scenario once, and returns its record and the number of requests.
fn play(scenario: &'static Scenario, timeout: Option<&str>) -> (String, usize) {
    let servers = Servers::start(scenario);
    let step = match scenario.system {
        System::GitHub => Step::on_github(),
        System::Shell => Step::in_shell(),
        System::Azure => Step::in_shell().env("TF_BUILD", "True"),
    };
    let step = step.download_from(&servers.api.url()).input("poll-interval", "10ms");
    let step = scenario.inputs.iter().fold(step, |step, (name, value)| step.input(name, value));
    let step = timeout.iter().fold(step, |step, timeout| step.input("timeout", timeout));
    let step = scenario.arguments.iter().fold(step, |step, argument| step.arg(argument));
    let step = scenario.files_before.iter().fold(step, |step, (path, bytes)| step.existing_file(path, bytes));
    // The modes of the files depend on the umask.
    let running = step.wrapped_in(&["bash", "-c", "umask 022; exec \"$0\" \"$@\""]).spawn();
    let mut requests: Vec<RecordedRequest> = Vec::new();
    if let End::Signal(signal, number) = scenario.end {
        requests.extend((0..number).map(|_| servers.requests.recv_timeout(EVENT_TIMEOUT).unwrap()));
        running.signal(signal);
    }
    let outcome = running.wait();
    // Shown only if the record differs.
    eprintln!("{}:\n{}{}", scenario.name, outcome.stdout, outcome.stderr);
    requests.extend(servers.requests.try_iter());
    (written(scenario, &servers, &requests, &outcome), requests.len())
}

fn written(scenario: &Scenario, servers: &Servers, requests: &[RecordedRequest], outcome: &Outcome) -> String {
    let mut record = String::new();
    for (host, Request { method, target, headers, body }) in requests {
        writeln!(record, "\n{method} {host}{target}").unwrap();
        for (name, value) in headers {
            writeln!(record, "    {name}: {value}").unwrap();
        }
        if !body.is_empty() {
            writeln!(record, "\n    {}", String::from_utf8_lossy(body)).unwrap();
        }
    }
    writeln!(record, "\nexit code {}", outcome.status.code().unwrap()).unwrap();
    let mut section = |title: &str, lines: &str| {
        if !lines.is_empty() {
            let lines: String = lines.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect();
            write!(record, "\n{title}\n{lines}").unwrap();
        }
    };
    section("GITHUB_OUTPUT", &outcome.output_text);
    if scenario.system == System::Azure {
        let variables = outcome.stdout.lines().filter(|line| line.starts_with("##vso[task.setvariable "));
        section("output variables", &variables.map(|line| format!("{line}\n")).collect::<String>());
    }
    if !scenario.arguments.is_empty() {
        section("stdout", &outcome.stdout);
    }
    let files = outcome.files();
    section("workspace", &files.iter().map(|path| described(outcome, path)).collect::<String>());
    for path in files.iter().filter(|path| path.ends_with(".env")) {
        section(path, &String::from_utf8(outcome.read(path)).unwrap());
    }
    without_messages(&servers.normalize(&record))
}

/// Replaces the messages in the output `files`. They are no part of the record.
fn without_messages(text: &str) -> String {
    const START: &str = "\"message\":\"";

    let mut parts = text.split(START);
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut escaped = false;
        let end = part.find(|c: char| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        replaced.push_str(&format!("{START}…{}", &part[end.unwrap_or(0)..]));
    }
    replaced
}

/// Returns the mode, path, size and SHA-256 of a file in the workspace.
fn described(outcome: &Outcome, path: &str) -> String {
    let metadata = fs::symlink_metadata(outcome.workspace().join(path)).unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_dir() {
        return format!("{mode:o} {path}\n");
    }
    let bytes = outcome.read(path);
    format!("{mode:o} {path}, {} bytes, {}\n", bytes.len(), sha256_hex(&bytes))
}

/// Compares scenarios with their snapshots, several at a time.
fn check(is_of_kind: fn(&Scenario) -> bool) {
    let waiting = Mutex::new(SCENARIOS.iter().filter(|scenario| is_of_kind(scenario)));
    let next = || waiting.lock().unwrap().next();
    let check_all = || {
        while let Some(scenario) = next() {
            let mut settings = insta::Settings::clone_current();
            settings.set_snapshot_path("golden");
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            settings.bind(|| insta::assert_snapshot!(scenario.name, record(scenario)));
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(check_all)).collect();
        let ends: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        assert!(ends.iter().all(Result::is_ok), "a scenario differs from its snapshot: see above");
    });
}

#[test]
fn behavior_matches_the_snapshots() {
    check(|scenario| !matches!(scenario.end, End::Signal(..)));
}

#[test]
fn behavior_after_a_signal_matches_the_snapshots() {
    check(|scenario| matches!(scenario.end, End::Signal(..)));
}

#[test]
fn every_snapshot_has_a_scenario() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/golden");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let snapshots = paths.filter(|path| path.extension().is_some_and(|extension| extension == "snap"));
    let names = snapshots.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned());
    let unused: Vec<String> = names.filter(|name| !SCENARIOS.iter().any(|scenario| scenario.name == name)).collect();
    assert_eq!(unused, [""; 0]);
}

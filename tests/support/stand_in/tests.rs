//! Tests of the stand-in itself: what the tests of the program rely on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::StandIn;
use crate::support::json::{
    PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_ZIP_FILENAME, PDF_ZIP_ID, RUN_ID, SECOND_EXPORT_ID,
    SECOND_RUN_ID, many_run_id, pdf_zip_id,
};
use crate::support::leaks::{self, API_KEY};
use crate::support::server::{Action, Gate, Request};

/// A response with its status, head and body.
struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn send_request(method: &str, url: &str, headers: &str, body: &str) -> TcpStream {
    let (host, target) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    let request =
        format!("{method} /{target} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn send(method: &str, url: &str, headers: &str, body: &str) -> Response {
    let mut reader = BufReader::new(send_request(method, url, headers, body));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "no response");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut response = Response { status, head, body: Vec::new() };
    let length = response.header("content-length").unwrap().parse().unwrap();
    reader.by_ref().take(length).read_to_end(&mut response.body).unwrap();
    close(reader.get_ref());
    response
}

/// Closes a connection. Dropping it would not be enough: a process that another test starts at this moment has a copy until it
/// executes its program.
fn close(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Both);
}

fn api(stand_in: &StandIn, method: &str, path: &str, body: &str) -> Response {
    send(method, &format!("{}/api/v1/{path}", stand_in.api_url()), &format!("x-api-key: {API_KEY}\r\n"), body)
}

fn get(stand_in: &StandIn, path: &str) -> Value {
    api(stand_in, "GET", path, "").json()
}

/// Returns the ids and statuses of a list.
fn statuses(list: &Value, key: &str, status: &str) -> Vec<(u64, String)> {
    let entries = list[key].as_array().unwrap().iter();
    entries.map(|entry| (entry["id"].as_u64().unwrap(), entry[status].as_str().unwrap().to_owned())).collect()
}

fn start_batch(stand_in: &StandIn, template: u64) -> Response {
    let body = json!({ "pdf_manager_batch": { "pdf_manager_template_id": template } });
    api(stand_in, "POST", "user_identities/305/pdf_manager_batches", &body.to_string())
}

#[test]
fn every_run_has_its_own_statuses_and_file() {
    let stand_in = StandIn::builder()
        .export(5, "Third", 55, |run| run.statuses(&["Failed"]).file(b"third").filename("third.csv"))
        .export(SECOND_EXPORT_ID, "Second", SECOND_RUN_ID, |run| run.hidden_from_list())
        .statuses(&["Queued", "In Progress", "Available"])
        .start();
    let list = |status: &str| {
        [(74771, "Available"), (RUN_ID, status), (55, "Failed"), (74775, "Failed")].map(|(id, s)| (id, s.to_owned()))
    };
    let recent = || statuses(&get(&stand_in, "user_identities/305/export_files"), "export_files", "status");
    assert_eq!(recent(), list("Queued"));
    assert_eq!(recent(), list("In Progress"));
    assert_eq!(recent(), list("Available"));

    let hidden = get(&stand_in, "exports/86447/export_files/74787");
    assert_eq!(hidden["export_files"]["status"], "Queued");
    assert_eq!(stand_in.file_of(55), b"third");
    assert_eq!(api(&stand_in, "POST", "user_identities/305/exports/5/export_files", "").status, 201);
    assert_eq!(api(&stand_in, "POST", "user_identities/305/exports/5/export_files", "").status, 200);
    assert_eq!(stand_in.exports_json()["exports"][1]["name"], "Second");
}

#[test]
fn the_store_serves_the_file_that_the_url_was_signed_for() {
    let stand_in = StandIn::builder().many_exports(3).start();
    stand_in.cut_next_download_of(many_run_id(2), 10);
    for export in 1..=3 {
        let run = many_run_id(export);
        let run_json = get(&stand_in, &format!("exports/{export}/export_files/{run}"));
        let url = run_json["export_files"]["download_url"].as_str().unwrap();
        let response = send("GET", url, "", "");
        let expected = stand_in.file_of(run);
        assert_eq!(response.body, &expected[..if export == 2 { 10 } else { expected.len() }]);
        assert!(response.head.contains(&format!("filename=\"export-{export}.csv\"")), "{}", response.head);
    }
}

#[test]
fn a_batch_has_zips_that_redirect_to_the_store() {
    let stand_in = StandIn::builder()
        .pdf_template(7, "Two Zips", 70, |batch| {
            let batch = batch.statuses(&["queued", "available"]).without_hrefs_for(1).zip("a.zip", b"first");
            batch.zip_with("a.zip", b"second", |zip| zip.redirect_status(307))
        })
        .start();
    let templates = get(&stand_in, "user_identities/305/pdf_manager_templates");
    assert_eq!(templates["pdf_manager_templates"][0]["name"], PDF_TEMPLATE_NAME);
    assert_eq!(templates["pdf_manager_templates"][1]["id"], 7);

    let started = start_batch(&stand_in, 7);
    assert_eq!((started.status, start_batch(&stand_in, 7).status, start_batch(&stand_in, 8).status), (201, 200, 404));
    assert_eq!(started.json()["pdf_manager_batch"]["download_hrefs"], json!([]));
    assert_eq!(started.json()["pdf_manager_batch"]["pdf_manager_template"]["name"], "Two Zips");
    let list = get(&stand_in, "user_identities/305/pdf_manager_batches");
    let expected = [(33, "available"), (PDF_BATCH_ID, "available"), (37, "failed"), (70, "queued")];
    assert_eq!(statuses(&list, "pdf_manager_batches", "state"), expected.map(|(id, state)| (id, state.to_owned())));
    assert!(!list.to_string().contains("download_hrefs"));

    let check = || get(&stand_in, "user_identities/305/pdf_manager_batches/70")["pdf_manager_batch"].take();
    assert_eq!(check()["download_hrefs"], json!([]));
    let hrefs = check()["download_hrefs"].take();
    for (index, (status, bytes)) in [(302, "first"), (307, "second")].into_iter().enumerate() {
        let href = hrefs[index].as_str().unwrap();
        assert!(href.ends_with(&format!("/pdf_manager_zip_files/{}/download", pdf_zip_id(70, index))), "{href}");
        assert_eq!(send("GET", &format!("{}{href}", stand_in.api_url()), "", "").status, 401);
        let redirect = api(&stand_in, "GET", &href["/api/v1/".len()..], "");
        assert_eq!(redirect.status, status);
        let response = send("GET", redirect.header("location").unwrap(), "", "");
        assert_eq!(response.body, bytes.as_bytes());
        assert!(response.head.contains("filename=\"a.zip\""), "{}", response.head);
    }
}

#[test]
fn a_template_has_one_zip_by_default() {
    let stand_in = StandIn::builder().statuses(&["In Progress", "Success With Errors"]).start();
    let path = format!("user_identities/305/pdf_manager_batches/{PDF_BATCH_ID}");
    assert_eq!(get(&stand_in, &path)["pdf_manager_batch"]["state"], "in_progress");
    let batch = get(&stand_in, &path);
    assert_eq!(batch["pdf_manager_batch"]["state"], "success_with_errors");
    let zip = format!("user_identities/305/pdf_manager_zip_files/{PDF_ZIP_ID}/download");
    assert_eq!(batch["pdf_manager_batch"]["download_hrefs"], json!([format!("/api/v1/{zip}")]));
    let response = send("GET", api(&stand_in, "GET", &zip, "").header("location").unwrap(), "", "");
    assert_eq!(response.body, stand_in.file_of(PDF_ZIP_ID));
    assert!(response.head.contains(PDF_ZIP_FILENAME), "{}", response.head);
}

#[test]
fn a_key_can_be_without_pdf_manager() {
    for status in [403, 404] {
        let stand_in = StandIn::builder().without_pdf_manager(status).start();
        assert_eq!(api(&stand_in, "GET", "user_identities/305/pdf_manager_templates", "").status, status);
        assert_eq!(start_batch(&stand_in, PDF_TEMPLATE_ID).status, status);
    }
}

#[test]
fn a_zip_can_respond_with_anything() {
    let stand_in = StandIn::builder()
        .pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, |batch| {
            let batch = batch.zip_with("a.zip", b"a", |zip| zip.location("{api}/api/v1/exports"));
            batch.zip_with("b.zip", b"b", |zip| zip.redirect_status(200)).hrefs(&["/elsewhere"])
        })
        .start();
    let zip = |index| {
        let zip = pdf_zip_id(PDF_BATCH_ID, index);
        api(&stand_in, "GET", &format!("user_identities/305/pdf_manager_zip_files/{zip}/download"), "")
    };
    assert_eq!(zip(0).header("location"), Some(format!("{}/api/v1/exports", stand_in.api_url()).as_str()));
    assert_eq!((zip(1).status, zip(1).body), (200, b"b".to_vec()));
    let batch = get(&stand_in, "user_identities/305/pdf_manager_batches/42");
    assert_eq!(batch["pdf_manager_batch"]["download_hrefs"], json!(["/elsewhere"]));
}

#[test]
fn a_response_is_for_the_request_that_it_matches() {
    let stand_in = StandIn::start();
    let response = || ResponseTemplate::new(503);
    stand_in.next_api_response_to("GET", "/exports/86447/", response()).every_api_response_to(
        "POST",
        "/86446/",
        response(),
    );
    let check = |export, run| api(&stand_in, "GET", &format!("exports/{export}/export_files/{run}"), "").status;
    assert_eq!([check(86446, RUN_ID), check(86447, SECOND_RUN_ID), check(86447, SECOND_RUN_ID)], [200, 503, 200]);
    let start = || api(&stand_in, "POST", "user_identities/305/exports/86446/export_files", "").status;
    assert_eq!([start(), start()], [503, 503]);
}

#[test]
fn counts_the_responses_that_the_store_sends_at_one_time() {
    let stand_in = StandIn::builder().many_exports(3).start();
    let urls = [1, 2, 3].map(|export| {
        let run = get(&stand_in, &format!("exports/{export}/export_files/{}", many_run_id(export)));
        run["export_files"]["download_url"].as_str().unwrap().to_owned()
    });
    for url in &urls {
        send("GET", url, "", "");
    }
    assert_eq!(stand_in.max_store_responses(), 1);

    // A response that the client waits for counts, and one that it abandons does not.
    let gate = Gate::new();
    for run in [1, 2].map(many_run_id) {
        let for_store = Arc::clone(&gate);
        stand_in.next_store_response_of(run, move |_, file| {
            vec![Action::WaitFor(Arc::clone(&for_store)), Action::Send(file.whole(&[]))]
        });
    }
    let abandoned = send_request("GET", &urls[1], "", "");
    stand_in.store().wait_for_requests(4);
    close(&abandoned);
    std::thread::scope(|scope| {
        scope.spawn(|| send("GET", &urls[0], "", ""));
        stand_in.store().wait_for_requests(5);
        send("GET", &urls[2], "", "");
        send("GET", &urls[2], "", "");
        gate.open();
    });
    assert_eq!(stand_in.max_store_responses(), 2);
}

#[test]
#[should_panic(expected = "the key was sent to another server")]
fn notices_a_key_that_a_redirect_took_to_the_store() {
    leaks::assert_no_leak(&Request {
        method: "GET".to_owned(),
        target: "/pdf_manager_zip_files/zips/421.zip?x=/api/v1/".to_owned(),
        headers: vec![("x-api-key".to_owned(), API_KEY.to_owned())],
        body: Vec::new(),
    });
}

#[test]
fn statuses_by_time_count_from_the_start_of_each_run() {
    let hour = Duration::from_secs(3600);
    let stand_in = StandIn::builder()
        .statuses_by_time(&[(Duration::ZERO, "Queued"), (hour, "Available")])
        .export(5, "Third", 55, |run| run.statuses_by_time(&[(Duration::ZERO, "In Progress"), (hour, "Failed")]))
        .start();
    let list = get(&stand_in, "user_identities/305/export_files");
    let list = statuses(&list, "export_files", "status");
    assert!(
        list.contains(&(RUN_ID, "Queued".to_owned())) && list.contains(&(55, "In Progress".to_owned())),
        "{list:?}"
    );
}

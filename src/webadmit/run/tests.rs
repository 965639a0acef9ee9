use proptest::prelude::*;

use super::super::client::tests::api;
use super::*;
use crate::testing;
use crate::text::sanitize;

fn read(body: &str) -> Result<RunResponse, RequestError> {
    api("https://api.example").read_run(RunKind::Export, body.as_bytes(), &HeaderMap::new())
}

fn read_batch(body: &str) -> Result<RunResponse, RequestError> {
    api("https://api.example").read_run(RunKind::PdfBatch, body.as_bytes(), &HeaderMap::new())
}

/// Returns the ids of the zip files in a response.
fn zips(response: &RunResponse) -> Vec<u64> {
    let RemoteFiles::Zips(zips) = &response.files else { panic!("{response:?}") };
    zips.iter().map(|id| id.0).collect()
}

#[test]
fn a_response_is_read_as_the_reference_shows_it() {
    let body = r#"{"export_files":{"id":74780,"href":"/api/v1/exports/86446/export_files/74780","export_id":86446,
        "status":"Available","download_url":"https://s3.example/x?Signature=y"}}"#;
    let response = read(body).unwrap();
    assert_eq!(response.source, Some(Source { id: Id(86446), name: None }));
    assert_eq!((response.run_id, &response.status, response.created), (Id(74780), &Status::Available, None));
    assert_eq!(response.url().unwrap().reveal().as_str(), "https://s3.example/x?Signature=y");
}

#[test]
fn a_url_is_used_only_with_a_status_that_has_a_file() {
    for (status, taken) in
        [("Available", true), ("Success With Errors", true), ("Queued", false), ("Failed", false), ("Odd", false)]
    {
        let body =
            format!(r#"{{"export_files":{{"id":1,"status":"{status}","download_url":"https://s3.example/x"}}}}"#);
        assert_eq!(read(&body).unwrap().url().is_some(), taken, "{status}");
    }
}

#[test]
fn an_unusable_url_is_an_error_that_does_not_show_it() {
    for (base_url, url, kind) in [
        ("https://api.example", "http://s3.example/secretpath", Some(ErrorKind::InvalidUrl)),
        ("http://localhost", "http://s3.example/secretpath", None),
        ("http://localhost", "https://s3.example/secretpath", None),
        ("http://localhost", "ftp://s3.example/secretpath", Some(ErrorKind::InvalidUrl)),
        ("https://api.example", "https://user:word@s3.example/secretpath", Some(ErrorKind::InvalidUrl)),
        ("https://api.example", "https://s3.example/secretkey0123456", Some(ErrorKind::InvalidUrl)),
        ("https://api.example", "secretpath", Some(ErrorKind::InvalidUrl)),
        ("https://api.example", "https:// /secretpath", Some(ErrorKind::InvalidUrl)),
        ("https://api.example", " https://s3.example/x \n", None),
    ] {
        let body = serde_json::json!({ "export_files": { "id": 1, "status": "available", "download_url": url } });
        match (api(base_url).read_run(RunKind::Export, body.to_string().as_bytes(), &HeaderMap::new()), kind) {
            (Ok(response), None) => assert!(response.url().is_some(), "{url}"),
            (Err(error), Some(kind)) => {
                assert_eq!(error.kind, kind, "{url}");
                let message = error.to_string();
                assert!(!message.contains("secret") && !message.contains("word@"), "{message}");
            }
            (end, _) => panic!("{url}: {end:?}"),
        }
    }
}

#[test]
fn a_batch_is_read_as_the_reference_shows_it() {
    // Its href has another id than its id, and is not used.
    let body = r#"{"pdf_manager_batch":{"href":"/api/v1/user_identities/1/pdf_manager_batches/41","id":42,
        "updated_at":"2016-01-05T16:51:00Z","state":"available",
        "download_hrefs":["/api/v1/user_identities/1/pdf_manager_zip_files/2/download",
            "/api/v1/user_identities/1/pdf_manager_zip_files/1/download",
            "/api/v1/user_identities/1/pdf_manager_zip_files/2/download"],
        "pdf_manager_template":{"href":"/api/v1/user_identities/1/pdf_manager_templates/2","id":2,"name":"Accepted Offers"}}}"#;
    let response = read_batch(body).unwrap();
    assert_eq!((response.run_id, &response.status, zips(&response)), (Id(42), &Status::Available, vec![2, 1]));
    assert_eq!(response.created.unwrap().to_string(), "2016-01-05T16:51:00Z");
    let source = response.source.unwrap();
    assert_eq!((source.id, source.name.unwrap().to_string().as_str()), (Id(2), "Accepted Offers"));
}

#[test]
fn everything_of_a_batch_but_its_id_and_state_may_be_missing() {
    for rest in [
        "",
        r#","download_hrefs":null,"updated_at":null,"pdf_manager_template":null"#,
        r#","download_hrefs":[],"updated_at":"yesterday","pdf_manager_template":{"id":0,"name":"x"}"#,
    ] {
        let response =
            read_batch(&format!(r#"{{"pdf_manager_batch":{{"id":"42","state":"available"{rest}}}}}"#)).unwrap();
        assert_eq!((response.run_id, response.status), (Id(42), Status::Available), "{rest}");
        assert!(response.files.is_empty() && response.source.is_none() && response.created.is_none(), "{rest}");
    }
    for body in [
        r#"{"pdf_manager_batch":{"id":42}}"#,
        r#"{"pdf_manager_batch":{"state":"queued"}}"#,
        r#"{"pdf_manager_batch":{"id":0,"state":"queued"}}"#,
        r#"{"export_files":{"id":42,"status":"queued"}}"#,
    ] {
        assert_eq!(read_batch(body).unwrap_err().kind, ErrorKind::Unreadable, "{body}");
    }
}

/// Returns a batch with a state and `download_hrefs`.
fn batch_with(state: &str, hrefs: serde_json::Value) -> String {
    serde_json::json!({ "pdf_manager_batch": { "id": 42, "state": state, "download_hrefs": hrefs } }).to_string()
}

#[test]
fn an_unexpected_path_of_a_zip_is_an_error_that_shows_no_url() {
    let zip = |id: usize| format!("/api/v1/user_identities/1/pdf_manager_zip_files/{id}/download");
    for (href, message) in [
        (json!("/api/v2/zips/2?Signature=secretsecretsecret"), "is not the path of a PDF Manager zip: /api/v2/zips/2"),
        (json!("/x\n::error::x secretkey0123456"), "is not the path of a PDF Manager zip: /x ::error::x ***"),
        (json!("https://s3.example/secretpath"), "is not the path of a PDF Manager zip"),
        (json!("//s3.example/secretpath"), "is not the path of a PDF Manager zip"),
        (json!("/\\s3.example/secretpath"), "is not the path of a PDF Manager zip"),
        (json!(null), "is not the path of a PDF Manager zip"),
        (json!({ "href": zip(2) }), "is not the path of a PDF Manager zip"),
    ] {
        let error = read_batch(&batch_with("available", json!([zip(1), href]))).unwrap_err();
        assert_eq!(error.to_string(), format!("api.example sent a download URL that {message}"));
        assert!(read_batch(&batch_with("in_progress", json!([href]))).unwrap().files.is_empty(), "{href}");
    }

    let many = |count: usize| read_batch(&batch_with("available", (1..=count).map(zip).collect()));
    assert_eq!(zips(&many(1000).unwrap()).len(), 1000);
    let error = many(1001).unwrap_err();
    assert_eq!(error.to_string(), "api.example sent more than 1000 files of one batch");
}

#[test]
fn a_signature_in_the_response_is_known_before_another_field_is_used() {
    let signed = "https://s3.example/x?Signature=secretsecretsecret";
    let batch = batch_with("secretsecretsecret", json!([signed]));
    let export = json!({ "export_files": { "id": 1, "status": "secretsecretsecret", "download_url": signed } });
    for (kind, body) in [(RunKind::PdfBatch, batch), (RunKind::Export, export.to_string())] {
        let api = api("https://api.example");
        let response = api.read_run(kind, body.as_bytes(), &HeaderMap::new()).unwrap();
        assert_eq!(response.status, Status::Unknown("unknown".to_owned()), "{kind:?}");
        assert!(api.redactor.contains_secret("secretsecretsecret"));
    }
}

/// Responses that were seen, or are possible: complete, truncated and wrong ones.
const CORPUS: [&str; 20] = [
    r#"{"export_files":{"id":1,"status":"available","download_url":"https://s3.example/x"}}"#,
    r#"{"export_files":{"id":"1","status":"Success With Errors","download_url":null}}"#,
    r#"{"export_files":{"id":1e0,"status":""}}"#,
    r#"{"export_files":{"id":99999999999999999999,"status":"Available"}}"#,
    r#"{"export_files":{"id":1,"export_id":{},"status":"\u0000\ud800"}}"#,
    r#"{"export_files":[{"id":1,"status":"Available"}]}"#,
    r#"{"export_file":{"id":1,"status":"Available"}}"#,
    r#"{"export_files":{"id":1,"status":"Available","download_url":"https://[::1"}}"#,
    r#"{"export_files":{"id":1,"status":"Available","download_url":"data:text/csv,x"}}"#,
    r#"{"pdf_manager_batch":{"id":42,"updated_at":"2016-01-05T16:51:00Z","state":"available","download_hrefs":["/api/v1/user_identities/1/pdf_manager_zip_files/2/download"]}}"#,
    r#"{"pdf_manager_batch":{"id":"42","state":"failed","download_hrefs":null,"pdf_manager_template":{"id":2,"name":"x"}}}"#,
    r#"{"pdf_manager_batch":{"id":42,"state":"available","download_hrefs":["https://s3.example/x?Signature=secretsecretsecret"]}}"#,
    r#"{"pdf_manager_batch":{"id":42,"state":"available","download_hrefs":[null,1,{},[],"//x","/\\x","/\u0000/../x"]}}"#,
    r#"{"pdf_manager_batch":{"id":42,"state":"secretsecretsecret","download_hrefs":["/x?Signature=secretsecretsecret"]}}"#,
    r#"{"pdf_manager_batch":{"id":42,"state":7,"download_hrefs":{},"pdf_manager_template":[]}}"#,
    r#"{"pdf_manager_batch":{"id":42,"updated_at":"2016-13-45T99:99:99.999999999999Z","state":"queued"}}"#,
    r#"{"pdf_manager_batches":[{"id":42,"state":"available"}]}"#,
    r#"{"message":"Not Found"}"#,
    "<!DOCTYPE html><title>Maintenance</title>",
    "",
];

proptest! {
    #[test]
    fn any_response_is_read_or_rejected_and_every_url_is_https(body in testing::mutated(&CORPUS)) {
        for kind in [RunKind::Export, RunKind::PdfBatch] {
            match api("https://api.example").read_run(kind, &body, &HeaderMap::new()) {
                Ok(response) => {
                    prop_assert!(response.files.is_empty() || response.status.has_file());
                    match &response.files {
                        RemoteFiles::Export(url) => prop_assert!(
                            kind == RunKind::Export && url.iter().all(|url| url.reveal().scheme() == "https")
                        ),
                        RemoteFiles::Zips(zips) => {
                            prop_assert!(kind == RunKind::PdfBatch && zips.iter().all(|zip| zip.0 > 0));
                        }
                    }
                }
                Err(error) => {
                    prop_assert!(matches!(error.kind, ErrorKind::Unreadable | ErrorKind::InvalidUrl), "{error:?}");
                    prop_assert!(!error.to_string().contains("Signature="), "{error}");
                    prop_assert!(!error.to_string().chars().any(sanitize::is_unprintable), "{error}");
                }
            }
        }
    }
}

use proptest::prelude::*;
use reqwest::header::HeaderValue;

use super::super::client::tests::api;
use super::*;
use crate::testing;

fn read(body: &str) -> Result<RunResponse, RequestError> {
    api("https://api.example").read_run(body.as_bytes(), &HeaderMap::new())
}

#[test]
fn a_response_is_read_as_the_reference_shows_it() {
    let body = r#"{"export_files":{"id":74780,"href":"/api/v1/exports/86446/export_files/74780","export_id":86446,
        "status":"Available","download_url":"https://s3.example/x?Signature=y"}}"#;
    let response = read(body).unwrap();
    assert_eq!((response.run_id, response.export_id, response.status), (Id(74780), Some(Id(86446)), Status::Available));
    assert_eq!(response.url.unwrap().reveal().as_str(), "https://s3.example/x?Signature=y");
}

#[test]
fn a_url_is_used_only_with_a_status_that_has_a_file() {
    for (status, taken) in
        [("Available", true), ("Success With Errors", true), ("Queued", false), ("Failed", false), ("Odd", false)]
    {
        let body =
            format!(r#"{{"export_files":{{"id":1,"status":"{status}","download_url":"https://s3.example/x"}}}}"#);
        assert_eq!(read(&body).unwrap().url.is_some(), taken, "{status}");
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
        match (api(base_url).read_run(body.to_string().as_bytes(), &HeaderMap::new()), kind) {
            (Ok(response), None) => assert!(response.url.is_some(), "{url}"),
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
fn the_remaining_calls_are_a_number_or_nothing() {
    for (value, calls) in [("4999", Some(4999)), (" 0 ", Some(0)), ("many", None), ("-1", None), ("", None)] {
        let headers = HeaderMap::from_iter([(RATE_LIMIT_REMAINING, HeaderValue::from_str(value).unwrap())]);
        let body = r#"{"export_files":{"id":1,"status":"queued"}}"#;
        assert_eq!(
            api("https://api.example").read_run(body.as_bytes(), &headers).unwrap().remaining_calls,
            calls,
            "{value:?}"
        );
    }
}

/// Responses that were seen, or are possible: complete, truncated and wrong ones.
const CORPUS: [&str; 12] = [
    r#"{"export_files":{"id":1,"status":"available","download_url":"https://s3.example/x"}}"#,
    r#"{"export_files":{"id":"1","status":"Success With Errors","download_url":null}}"#,
    r#"{"export_files":{"id":1e0,"status":""}}"#,
    r#"{"export_files":{"id":99999999999999999999,"status":"Available"}}"#,
    r#"{"export_files":{"id":1,"export_id":{},"status":"\u0000\ud800"}}"#,
    r#"{"export_files":[{"id":1,"status":"Available"}]}"#,
    r#"{"export_file":{"id":1,"status":"Available"}}"#,
    r#"{"export_files":{"id":1,"status":"Available","download_url":"https://[::1"}}"#,
    r#"{"export_files":{"id":1,"status":"Available","download_url":"data:text/csv,x"}}"#,
    r#"{"message":"Not Found"}"#,
    "<!DOCTYPE html><title>Maintenance</title>",
    "",
];

proptest! {
    #[test]
    fn any_response_is_read_or_rejected_and_every_url_is_https(body in testing::mutated(&CORPUS)) {
        match api("https://api.example").read_run(&body, &HeaderMap::new()) {
            Ok(response) => {
                prop_assert!(response.url.is_none() || response.status.has_file());
                prop_assert!(response.url.is_none_or(|url| url.reveal().scheme() == "https"));
            }
            Err(error) => prop_assert!(matches!(error.kind, ErrorKind::Unreadable | ErrorKind::InvalidUrl), "{error:?}"),
        }
    }
}

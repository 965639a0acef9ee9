use proptest::prelude::*;
use reqwest::header::HeaderValue;
use rustls::RootCertStore;

use super::*;
use crate::config;
use crate::http::{Timeouts, clients};
use crate::testing;

/// Returns a client that sends no requests.
pub(in crate::webadmit) fn api(base_url: &str) -> ApiClient {
    let variables =
        [("API_KEY", "secretkey0123456"), ("EXPORT_ID", "1"), ("EXPORT_FILE_ID", "2"), ("BASE_URL", base_url)];
    let variables = variables.map(|(name, value)| (format!("INPUT_{name}").into(), value.into()));
    let api_config = config::parse(&variables).api_config.unwrap();
    let clients = clients(RootCertStore::empty(), Timeouts::default(), &api_config.base_url, &Arc::default()).unwrap();
    let redactor = Arc::new(Redactor::default());
    redactor.set_key(api_config.api_key.reveal());
    ApiClient::new(clients.api, &api_config, Deadline::start(), redactor)
}

fn parse_run(body: &str) -> Result<RunResponse, RequestError> {
    api("https://api.example").parse_run(body.as_bytes(), &HeaderMap::new())
}

#[test]
fn a_run_is_parsed_as_in_the_reference() {
    let body = r#"{"export_files":{"id":74780,"href":"/api/v1/exports/86446/export_files/74780","export_id":86446,
        "status":"Available","download_url":"https://s3.example/x?Signature=y"}}"#;
    let response = parse_run(body).unwrap();
    assert_eq!((response.run, response.export, response.status), (Id(74780), Some(Id(86446)), Status::Available));
    assert_eq!(response.url.unwrap().reveal().as_str(), "https://s3.example/x?Signature=y");
}

#[test]
fn a_url_is_used_only_with_a_status_that_has_a_file() {
    for (status, is_used) in
        [("Available", true), ("Success With Errors", true), ("Queued", false), ("Failed", false), ("Odd", false)]
    {
        let body =
            format!(r#"{{"export_files":{{"id":1,"status":"{status}","download_url":"https://s3.example/x"}}}}"#);
        assert_eq!(parse_run(&body).unwrap().url.is_some(), is_used, "{status}");
    }
}

#[test]
fn an_invalid_url_is_an_error_that_does_not_show_it() {
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
        match (api(base_url).parse_run(body.to_string().as_bytes(), &HeaderMap::new()), kind) {
            (Ok(response), None) => assert!(response.url.is_some(), "{url}"),
            (Err(error), Some(kind)) => {
                assert_eq!(error.kind, kind, "{url}");
                assert!(!error.message.contains("secret") && !error.message.contains("word@"), "{}", error.message);
            }
            (result, _) => panic!("{url}: {result:?}"),
        }
    }
}

#[test]
fn the_remaining_calls_are_a_number_or_unknown() {
    for (value, calls) in [("4999", Some(4999)), (" 0 ", Some(0)), ("many", None), ("-1", None), ("", None)] {
        let headers = HeaderMap::from_iter([(RATE_LIMIT_REMAINING, HeaderValue::from_str(value).unwrap())]);
        let body = r#"{"export_files":{"id":1,"status":"queued"}}"#;
        assert_eq!(
            api("https://api.example").parse_run(body.as_bytes(), &headers).unwrap().remaining_calls,
            calls,
            "{value:?}"
        );
    }
}

#[test]
fn the_message_of_an_error_response_is_found() {
    for (body, message) in [
        (r#"{"message":"Not Found"}"#, Some("Not Found")),
        (r#"{"errors":{"schema":["is odd","is old"],"a":[]}}"#, Some("a: ; schema: is odd, is old")),
        (r#"{"message":null,"errors":{"b":["c"]}}"#, Some("b: c")),
        (r#"{"message":" "}"#, None),
        (r#"{"message":5}"#, None),
        (r#"{"errors":"all"}"#, None),
        ("", None),
        ("<html>", None),
    ] {
        assert_eq!(error_message(body.as_bytes()).as_deref(), message, "{body}");
    }
}

/// Responses as an API sends them, or could send them.
const RESPONSES: [&str; 12] = [
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
    fn no_response_causes_a_panic_and_every_used_url_is_https(body in testing::mutated(&RESPONSES)) {
        match api("https://api.example").parse_run(&body, &HeaderMap::new()) {
            Ok(response) => {
                prop_assert!(response.url.is_none() || response.status.has_file());
                prop_assert!(response.url.is_none_or(|url| url.reveal().scheme() == "https"));
            }
            Err(error) => prop_assert!(matches!(error.kind, ErrorKind::Unreadable | ErrorKind::InvalidUrl), "{error:?}"),
        }
        let _ = error_message(&body);
    }
}

use proptest::prelude::*;
use reqwest::header::HeaderValue;
use rustls::RootCertStore;

use super::*;
use crate::corpus;
use crate::http::{Patience, clients};
use crate::inputs;

/// An API at a place that is never asked.
pub(super) fn api(base_url: &str) -> Api {
    let variables =
        [("API_KEY", "secretkey0123456"), ("EXPORT_ID", "1"), ("EXPORT_FILE_ID", "2"), ("BASE_URL", base_url)];
    let variables = variables.map(|(name, value)| (format!("INPUT_{name}").into(), value.into()));
    let service = inputs::read(&variables).service.unwrap();
    let clients = clients(RootCertStore::empty(), Patience::default(), &service.base_url, &Arc::default()).unwrap();
    let secrets = Arc::new(Secrets::default());
    secrets.keep_key(service.api_key.reveal());
    Api::new(clients.api, &service, Clock::start(), secrets)
}

fn read(body: &str) -> Result<Answer, Fault> {
    api("https://api.example").read(body.as_bytes(), &HeaderMap::new())
}

#[test]
fn an_answer_is_read_as_the_reference_shows_it() {
    let body = r#"{"export_files":{"id":74780,"href":"/api/v1/exports/86446/export_files/74780","export_id":86446,
        "status":"Available","download_url":"https://s3.example/x?Signature=y"}}"#;
    let answer = read(body).unwrap();
    assert_eq!((answer.run, answer.export, answer.status), (Id(74780), Some(Id(86446)), Status::Available));
    assert_eq!(answer.url.unwrap().reveal().as_str(), "https://s3.example/x?Signature=y");
}

#[test]
fn a_url_is_taken_only_with_a_status_that_has_a_file() {
    for (status, taken) in
        [("Available", true), ("Success With Errors", true), ("Queued", false), ("Failed", false), ("Odd", false)]
    {
        let body =
            format!(r#"{{"export_files":{{"id":1,"status":"{status}","download_url":"https://s3.example/x"}}}}"#);
        assert_eq!(read(&body).unwrap().url.is_some(), taken, "{status}");
    }
}

#[test]
fn a_url_that_may_not_be_used_is_a_fault_that_does_not_show_it() {
    for (base_url, url, kind) in [
        ("https://api.example", "http://s3.example/secretpath", Some(Kind::BadUrl)),
        ("http://localhost", "http://s3.example/secretpath", None),
        ("http://localhost", "https://s3.example/secretpath", None),
        ("http://localhost", "ftp://s3.example/secretpath", Some(Kind::BadUrl)),
        ("https://api.example", "https://user:word@s3.example/secretpath", Some(Kind::BadUrl)),
        ("https://api.example", "https://s3.example/secretkey0123456", Some(Kind::BadUrl)),
        ("https://api.example", "secretpath", Some(Kind::BadUrl)),
        ("https://api.example", "https:// /secretpath", Some(Kind::BadUrl)),
        ("https://api.example", " https://s3.example/x \n", None),
    ] {
        let body = serde_json::json!({ "export_files": { "id": 1, "status": "available", "download_url": url } });
        match (api(base_url).read(body.to_string().as_bytes(), &HeaderMap::new()), kind) {
            (Ok(answer), None) => assert!(answer.url.is_some(), "{url}"),
            (Err(fault), Some(kind)) => {
                assert_eq!(fault.kind, kind, "{url}");
                assert!(!fault.words.contains("secret") && !fault.words.contains("word@"), "{}", fault.words);
            }
            (end, _) => panic!("{url}: {end:?}"),
        }
    }
}

#[test]
fn the_calls_that_are_left_are_a_number_or_nothing() {
    for (value, calls) in [("4999", Some(4999)), (" 0 ", Some(0)), ("many", None), ("-1", None), ("", None)] {
        let headers = HeaderMap::from_iter([(CALLS_LEFT, HeaderValue::from_str(value).unwrap())]);
        let body = r#"{"export_files":{"id":1,"status":"queued"}}"#;
        assert_eq!(api("https://api.example").read(body.as_bytes(), &headers).unwrap().calls_left, calls, "{value:?}");
    }
}

#[test]
fn what_the_api_says_of_an_error_is_found() {
    for (body, words) in [
        (r#"{"message":"Not Found"}"#, Some("Not Found")),
        (r#"{"errors":{"schema":["is odd","is old"],"a":[]}}"#, Some("a: ; schema: is odd, is old")),
        (r#"{"message":null,"errors":{"b":["c"]}}"#, Some("b: c")),
        (r#"{"message":" "}"#, None),
        (r#"{"message":5}"#, None),
        (r#"{"errors":"all"}"#, None),
        ("", None),
        ("<html>", None),
    ] {
        assert_eq!(said(body.as_bytes()).as_deref(), words, "{body}");
    }
}

/// Answers that have been, or could be, seen: whole ones, cut ones, wrong ones.
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
    fn no_answer_breaks_anything_and_every_url_that_is_taken_is_https(body in corpus::mutated(&CORPUS)) {
        match api("https://api.example").read(&body, &HeaderMap::new()) {
            Ok(answer) => {
                prop_assert!(answer.url.is_none() || answer.status.has_file());
                prop_assert!(answer.url.is_none_or(|url| url.reveal().scheme() == "https"));
            }
            Err(fault) => prop_assert!(matches!(fault.kind, Kind::Unreadable | Kind::BadUrl), "{fault:?}"),
        }
        let _ = said(&body);
    }
}

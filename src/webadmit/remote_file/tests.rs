use proptest::prelude::*;
use reqwest::header::HeaderValue;

use super::super::client::tests::api;
use super::*;
use crate::http::retry::{ErrorClass, classify};
use crate::testing;

fn read(base_url: &str, status: u16, headers: &[(&'static str, &str)]) -> Option<Result<SignedUrl, RequestError>> {
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()));
    api(base_url).read_redirect(StatusCode::from_u16(status).unwrap(), &headers.collect())
}

#[test]
fn only_an_absolute_location_of_a_temporary_redirect_is_used() {
    let location = "https://s3.example/secretpath?Signature=secretsecretsecret";
    for status in [302, 303, 307] {
        let url = read("https://api.example", status, &[("location", location)]).unwrap().unwrap();
        assert_eq!(url.reveal().as_str(), location);
        assert!(read("https://api.example", status, &[]).is_none(), "{status}");
    }
    for status in [300, 301, 304, 305, 308, 401, 403, 404, 429, 500, 503] {
        assert!(read("https://api.example", status, &[("location", location)]).is_none(), "{status}");
    }

    for (status, content_type, kind, class) in [
        (200, "application/zip", ErrorKind::MissingRedirect, ErrorClass::Permanent),
        (200, "", ErrorKind::MissingRedirect, ErrorClass::Permanent),
        (204, "text/html", ErrorKind::MissingRedirect, ErrorClass::Permanent),
        (200, "text/html; charset=utf-8", ErrorKind::Unreadable, ErrorClass::Retryable),
    ] {
        let headers = [("location", location), ("content-type", content_type)];
        let error = read("https://api.example", status, &headers).unwrap().unwrap_err();
        assert_eq!((error.kind, classify(error.endpoint, error.kind)), (kind, class), "{status} {content_type}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn a_location_that_must_not_be_used_is_an_error_that_does_not_show_it() {
    for (base_url, location, reason) in [
        ("https://api.example", "/api/v1/secret", "is not an absolute URL"),
        ("https://api.example", "//s3.example/secret", "is not an absolute URL"),
        ("https://api.example", "secret", "is not an absolute URL"),
        ("https://api.example", "", "is not an absolute URL"),
        ("https://api.example", "http://s3.example/secret", "is plain http, although the API is https"),
        ("https://api.example", "ftp://s3.example/secret", "has the scheme ftp"),
        ("https://api.example", "javascript:secret", "has the scheme javascript"),
        ("https://api.example", "https://user:secret@s3.example/x", "contains a user name or a password"),
        ("https://api.example", "https://s3.example/?x=SecretKey0123456", "contains the API key"),
        ("https://api.example", "https://api.example/secret", "is at the API itself"),
        ("https://api.example/base/api/v1", "https://API.example:443/secret", "is at the API itself"),
        ("http://localhost:3000", "http://localhost:3000/secret", "is at the API itself"),
    ] {
        let error = read(base_url, 302, &[("location", location)]).unwrap().unwrap_err();
        let message = error.to_string();
        assert!(message.contains(&format!("sent a download URL that {reason}")), "{location}: {message}");
        assert!(!message.to_lowercase().contains("secret"), "{location}: {message}");
        assert_eq!(classify(error.endpoint, error.kind), ErrorClass::Permanent);
    }

    for (base_url, location) in [
        ("https://api.example", "https://api.example:8443/x"),
        ("http://localhost:3000", "http://localhost:3001/x"),
        ("http://localhost:3000", "https://localhost:3000/x"),
    ] {
        assert!(read(base_url, 302, &[("location", location)]).unwrap().is_ok(), "{location}");
    }
}

#[test]
fn only_the_id_of_a_zip_is_taken_from_a_path() {
    for (path, id) in [
        ("/api/v1/user_identities/1/pdf_manager_zip_files/2/download", Some(2)),
        ("/api/v1/user_identities/305/pdf_manager_zip_files/18446744073709551615/download", Some(u64::MAX)),
        ("/api/v1/user_identities/305/pdf_manager_zip_files/18446744073709551616/download", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files/0/download", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files/-2/download", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files/+2/download", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files/ 2/download", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files/2x/download", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files/%32/download", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files//download", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files/../2/download", None),
        ("/api/v1/user_identities/../pdf_manager_zip_files/2/download", None),
        ("/api/v1/user_identities/x/pdf_manager_zip_files/2/download", None),
        ("/api/v1/user_identities//pdf_manager_zip_files/2/download", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files/2/download/", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files/2/download?x=1", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files/2/download#x", None),
        ("/api/v1/user_identities/1/pdf_manager_zip_files/2", None),
        ("/api/v1/user_identities/1/exports/2/download", None),
        ("https://api.example/api/v1/user_identities/1/pdf_manager_zip_files/2/download", None),
        ("//elsewhere.example/api/v1/user_identities/1/pdf_manager_zip_files/2/download", None),
        ("api/v1/user_identities/1/pdf_manager_zip_files/2/download", None),
        ("/user_identities/1/pdf_manager_zip_files/2/download", None),
        ("", None),
    ] {
        assert_eq!(zip_id(path), id.map(Id), "{path}");
    }
}

/// Values of `Location` that a server could send.
const LOCATIONS: [&str; 8] = [
    "https://s3.example/pdf_manager/x.zip?AWSAccessKeyId=a&Expires=1425359248&Signature=secretsecretsecret",
    "https://s3.example/x.zip?X-Amz-Date=20261125T034950Z&X-Amz-Expires=25&X-Amz-Signature=secretsecretsecret",
    "https://api.example/login?return_to=secretsecretsecret",
    "http://s3.example/x?Signature=secretsecretsecret",
    "https://user:word@s3.example/?Signature=secretsecretsecret",
    "/api/v1/x?Signature=secretsecretsecret",
    "https:///secretkey0123456",
    "",
];

proptest! {
    #[test]
    fn any_location_is_a_url_of_another_origin_or_an_error_without_it(location in testing::mutated_text(&LOCATIONS)) {
        let Ok(value) = HeaderValue::from_str(&location) else { return Ok(()) };
        let api = api("https://api.example");
        let headers = HeaderMap::from_iter([(LOCATION, value)]);
        match api.read_redirect(StatusCode::FOUND, &headers) {
            Some(Ok(url)) => {
                let url = url.reveal();
                prop_assert!(url.scheme() == "https" && !http::has_credentials(url), "{url}");
                prop_assert!(url.host_str() != Some("api.example") || url.port().is_some(), "{url}");
                prop_assert!(!api.redactor.contains_key(url.as_str()), "{url}");
            }
            Some(Err(error)) => {
                prop_assert_eq!(error.kind, ErrorKind::InvalidUrl);
                // The scheme is shown; it has no secret, unless the mutation puts one there.
                let scheme = location.split(':').next().unwrap_or_default();
                prop_assert!(scheme.contains("secret") || !error.to_string().contains("secretsecret"), "{error}");
            }
            None => prop_assert!(!location.bytes().all(|byte| (32..127).contains(&byte) || byte == b'\t'), "{location}"),
        }
    }
}

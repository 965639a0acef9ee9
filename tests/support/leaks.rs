//! Finds secrets and applicant data where they must not be. Every step and every request of every test is searched.

use super::server::Request;

/// The API key that the stand-in accepts.
pub const API_KEY: &str = "c0ffee00c0ffee11c0ffee22c0ffee33";

/// The start of every signature, so that no test can overlook one.
pub const SIGNATURE: &str = "Signature0Canary";

/// Words in [`super::store::applicants_csv`]: the program, which is in every row, and a last name.
const APPLICANT_DATA: [&str; 2] = ["Made-up Public Health", "Fictitious"];

/// This many characters of a secret count as a leak.
const WINDOW: usize = 16;

/// Returns the secret that a text contains, if any: the key or the start of a signature. Any sixteen characters of it count, in any
/// letter case, also percent-encoded; in base64, only the whole.
pub fn find_secret(text: &[u8]) -> Option<&'static str> {
    let raw = String::from_utf8_lossy(text);
    let lower = raw.to_lowercase();
    let once = percent_encoding::percent_decode_str(&lower).decode_utf8_lossy().to_lowercase();
    let twice = percent_encoding::percent_decode_str(&once).decode_utf8_lossy().to_lowercase();
    let contains = |secret: &str| {
        let secret_lower = secret.to_lowercase();
        let mut windows = (0..=secret.len() - WINDOW).map(|start| &secret_lower[start..start + WINDOW]);
        windows.any(|window| [&lower, &once, &twice].iter().any(|text| text.contains(window)))
            || base64_forms(secret).iter().any(|form| raw.contains(form))
    };
    [API_KEY, SIGNATURE].into_iter().find(|secret| contains(secret))
}

/// Returns the applicant data that a text contains, if any.
pub fn find_applicant_data(text: &str) -> Option<&'static str> {
    APPLICANT_DATA.into_iter().find(|words| text.contains(words))
}

/// Checks that a request has no other secrets than it should have: an API request has the key in its header, also the one for
/// a PDF Manager zip, and any other request has a signature in its query, also the one that a zip's redirect leads to.
#[track_caller]
pub fn assert_no_leak(request: &Request) {
    let is_key = |(name, value): &(String, String)| name.eq_ignore_ascii_case("x-api-key") && value == API_KEY;
    let path = request.target.split('?').next().unwrap_or_default();
    let is_api_request = path.contains("/api/v1/");
    let keys = request.headers.iter().filter(|header| is_key(header)).count();
    assert!(keys <= usize::from(is_api_request), "the key was sent to another server: {}", request.text());

    let mut rest = request.clone();
    rest.headers.retain(|header| !is_key(header));
    if !is_api_request && let Some((path, query)) = request.target.split_once('?') {
        let parameters = query.split('&').filter(|parameter| !parameter.starts_with("Signature="));
        rest.target = format!("{path}?{}", parameters.collect::<Vec<_>>().join("&"));
    }
    assert_eq!(find_secret(rest.text().as_bytes()), None, "a secret in the request {}", request.text());
    assert_eq!(request.header("referer"), None, "the request has a Referer header");
}

/// Returns the base64 of a secret at any position in a text. There are three forms, one for each offset of its first byte in
/// a group of three; characters that depend on the text around it are left out.
fn base64_forms(secret: &str) -> [String; 3] {
    [0, 2, 1].map(|skipped| base64(&secret.as_bytes()[skipped..]))
}

/// Returns the base64 of all complete groups of three bytes.
pub fn base64(bytes: &[u8]) -> String {
    bytes.chunks_exact(3).map(base64_group).collect()
}

fn base64_group(group: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = group.iter().fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
    [18, 12, 6, 0].iter().map(|shift| char::from(DIGITS[bits >> shift & 63])).collect()
}

#[test]
fn finds_a_secret_in_every_encoding() {
    for text in [
        format!("x{API_KEY}y"),
        API_KEY.to_uppercase(),
        API_KEY.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        format!("…{SIGNATURE}"),
        API_KEY[3..25].to_owned(),
        API_KEY.bytes().map(|byte| format!("%25{byte:02x}")).collect(),
        // The key in base64 after zero, one and two bytes.
        "YzBmZmVlMDBjMGZmZWUxMWMwZmZlZTIyYzBmZmVlMzM=".to_owned(),
        "eGMwZmZlZTAwYzBmZmVlMTFjMGZmZWUyMmMwZmZlZTMz".to_owned(),
        "eHhjMGZmZWUwMGMwZmZlZTExYzBmZmVlMjJjMGZmZWUzMw==".to_owned(),
    ] {
        assert!(find_secret(text.as_bytes()).is_some(), "{text}");
    }
    assert_eq!(find_secret(b"no secret: c0ffee"), None);
}

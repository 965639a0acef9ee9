//! Finds secrets where they must not be. Every run of the program in every test is searched.

use super::stand_in::{KEY, SIGNATURE};
use super::wire::Request;

/// So much of a secret is as bad as all of it.
const WINDOW: usize = 16;

/// The secret that a text holds, if any: the key or a signature, or sixteen characters of it in a row, raw in any letter
/// case, percent-encoded, or in base64.
pub fn leak(text: &[u8]) -> Option<&'static str> {
    let raw = String::from_utf8_lossy(text);
    let lower = raw.to_lowercase();
    let once = percent_encoding::percent_decode_str(&lower).decode_utf8_lossy().to_lowercase();
    let twice = percent_encoding::percent_decode_str(&once).decode_utf8_lossy().to_lowercase();
    let holds = |secret: &str| {
        let plain = secret.to_lowercase();
        let mut windows = (0..=plain.len() - WINDOW).map(|start| &plain[start..start + WINDOW]);
        windows.any(|window| [&lower, &once, &twice].iter().any(|text| text.contains(window)))
            || in_base64(secret).iter().any(|part| raw.contains(part))
    };
    [KEY, SIGNATURE].into_iter().find(|secret| holds(secret))
}

/// Checks that a request holds no secret but what belongs there: the key in its header, in a call of the API, or a
/// signature in its place in a URL, in any other request.
#[track_caller]
pub fn check(request: &Request) {
    let is_call = request.target.contains("/api/v1/");
    let own = if is_call { 1 } else { 0 };
    let keys = request.headers.iter().filter(|(name, value)| name.eq_ignore_ascii_case("x-api-key") && value == KEY);
    assert!(keys.count() <= own, "the key came to where it does not belong: {}", request.text());
    let mut rest = request.clone();
    rest.headers.retain(|(name, value)| !(name.eq_ignore_ascii_case("x-api-key") && value == KEY));
    if !is_call && let Some((path, query)) = request.target.split_once('?') {
        let parameters = query.split('&').filter(|parameter| !parameter.starts_with("Signature="));
        rest.target = format!("{path}?{}", parameters.collect::<Vec<_>>().join("&"));
    }
    assert_eq!(leak(rest.text().as_bytes()), None, "a secret in {}", request.text());
    assert_eq!(request.header("referer"), None, "a server was told where the request comes from");
}

/// Words of the made-up applicants, which stand in every export file.
const APPLICANTS: [&str; 2] = ["Made-up Public Health", "Fictitious"];

/// The words of applicants that a text holds, if any.
pub fn applicant(text: &str) -> Option<&'static str> {
    APPLICANTS.into_iter().find(|words| text.contains(words))
}

/// What base64 makes of a secret that stands anywhere in a text: three forms, one for each place that its first byte can
/// have in a group of three, without the ends that depend on what stands around.
fn in_base64(secret: &str) -> Vec<String> {
    (0..3)
        .map(|offset| {
            let skip = (3 - offset) % 3;
            base64(&secret.as_bytes()[skip..])
        })
        .collect()
}

/// What base64 makes of bytes, as far as they fill groups of three.
pub fn base64(bytes: &[u8]) -> String {
    bytes.chunks_exact(3).map(base64_group).collect()
}

fn base64_group(group: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = group.iter().fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
    [18, 12, 6, 0].iter().map(|shift| char::from(DIGITS[bits >> shift & 63])).collect()
}

#[test]
fn a_secret_is_found_in_every_disguise() {
    for text in [
        format!("x{KEY}y"),
        KEY.to_uppercase(),
        KEY.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        format!("…{SIGNATURE}"),
        KEY[3..25].to_owned(),
        KEY.bytes().map(|byte| format!("%25{byte:02x}")).collect(),
        // base64 of the key with nothing, one and two bytes before it
        "YzBmZmVlMDBjMGZmZWUxMWMwZmZlZTIyYzBmZmVlMzM=".to_owned(),
        "eGMwZmZlZTAwYzBmZmVlMTFjMGZmZWUyMmMwZmZlZTMz".to_owned(),
        "eHhjMGZmZWUwMGMwZmZlZTExYzBmZmVlMjJjMGZmZWUzMw==".to_owned(),
    ] {
        assert!(leak(text.as_bytes()).is_some(), "{text}");
    }
    assert_eq!(leak(b"nothing to hide: c0ffee"), None);
}

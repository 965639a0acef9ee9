//! Finds secrets where they must not be. Every run of the program in every test is searched.

use super::stand_in::{KEY, SIGNATURE};

/// The secret that a text holds, if any: the key or a signature, raw in any letter case, percent-encoded, or in base64.
pub fn leak(text: &[u8]) -> Option<&'static str> {
    let lower = String::from_utf8_lossy(text).to_lowercase();
    let decoded = percent_encoding::percent_decode(lower.as_bytes()).decode_utf8_lossy().to_lowercase();
    let raw = String::from_utf8_lossy(text);
    let holds = |secret: &str| {
        let plain = secret.to_lowercase();
        lower.contains(&plain) || decoded.contains(&plain) || in_base64(secret).iter().any(|part| raw.contains(part))
    };
    [KEY, SIGNATURE].into_iter().find(|secret| holds(secret))
}

/// What base64 makes of a secret that stands anywhere in a text: three forms, one for each place that its first byte can
/// have in a group of three, without the ends that depend on what stands around.
fn in_base64(secret: &str) -> Vec<String> {
    (0..3)
        .map(|offset| {
            let skip = (3 - offset) % 3;
            let inner = &secret.as_bytes()[skip..];
            inner.chunks_exact(3).map(base64_group).collect()
        })
        .collect()
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
        // base64 of the key with nothing, one and two bytes before it
        "YzBmZmVlMDBjMGZmZWUxMWMwZmZlZTIyYzBmZmVlMzM=".to_owned(),
        "eGMwZmZlZTAwYzBmZmVlMTFjMGZmZWUyMmMwZmZlZTMz".to_owned(),
        "eHhjMGZmZWUwMGMwZmZlZTExYzBmZmVlMjJjMGZmZWUzMw==".to_owned(),
    ] {
        assert!(leak(text.as_bytes()).is_some(), "{text}");
    }
    assert_eq!(leak(b"nothing to hide: c0ffee"), None);
}

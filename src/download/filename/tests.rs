use super::*;
use proptest::prelude::*;

#[test]
fn file_names_are_sanitized() {
    for (name, expected) in [
        ("Test-API-Export.csv", "Test-API-Export.csv"),
        ("Bewerber für 2026.csv", "Bewerber für 2026.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\file.csv", "file.csv"),
        ("dir/", "dir"),
        ("a\u{0}b\r\nc.csv", "abc.csv"),
        ("invoice\u{202e}vsc.exe", "invoicevsc.exe"),
        ("a\"b:c<d>e|f*g?h.csv", "a_b_c_d_e_f_g_h.csv"),
        ("...hidden.csv", "hidden.csv"),
        ("--force.csv", "force.csv"),
        (" . - x.csv . . ", "x.csv"),
        (".csv", "csv"),
        ("two .csv", "two .csv"),
    ] {
        assert_eq!(sanitize_filename(name).as_deref(), Some(expected), "{name:?}");
    }
    for nothing in ["", ".", "..", "/", "///", "???", "- -", "\u{202e}", "…"] {
        assert_eq!(sanitize_filename(nothing), None, "{nothing:?}");
    }
}

#[test]
fn a_long_name_keeps_its_extension() {
    let long = sanitize_filename(&format!("{}.csv", "ä".repeat(300))).unwrap();
    assert!(long.len() <= MAX_LENGTH && long.len() >= MAX_LENGTH - 1 && long.ends_with("ä.csv"), "{long}");
    assert_eq!(sanitize_filename(&"n".repeat(300)).unwrap().len(), MAX_LENGTH);
    let (stem, no_extension) = ("n".repeat(240), "e".repeat(30));
    assert_eq!(
        sanitize_filename(&format!("{stem}.{no_extension}")).unwrap(),
        format!("{stem}.{}", &no_extension[..14])
    );
    assert_eq!(sanitize_filename(&format!("n.{}", "e".repeat(300))).unwrap().len(), MAX_LENGTH);
    assert_eq!(
        sanitize_filename(&format!("{}.{}.csv", "n".repeat(250), "x".repeat(9))).unwrap(),
        format!("{}.csv", "n".repeat(250))
    );
}

#[test]
fn content_dispositions_are_parsed_leniently() {
    for (value, name) in [
        ("attachment; filename=Test-API-Export.csv", Some("Test-API-Export.csv")),
        ("attachment; filename=\"my_second_test_report.csv\"", Some("my_second_test_report.csv")),
        ("attachment;filename = \"a.csv\" ; size=5", Some("a.csv")),
        ("ATTACHMENT; FILENAME=a.csv", Some("a.csv")),
        ("attachment; inline; filename=a.csv", Some("a.csv")),
        (";; ; filename=a.csv", Some("a.csv")),
        ("attachment; filename=two words.csv; x=y", Some("two words.csv")),
        ("attachment; filename=\"a;b=c.csv\"", Some("a;b=c.csv")),
        ("attachment; filename=\"say \\\"hi\\\".csv\"", Some("say _hi_.csv")),
        ("attachment; filename=\"C:\\dir\\a.csv\"", Some("a.csv")),
        ("attachment; filename=\"open.csv", Some("open.csv")),
        ("attachment; filename=\"plain.csv\"; filename*=UTF-8''na%C3%AFve.csv", Some("naïve.csv")),
        ("attachment; filename*=utf-8'de'%e2%82%ac20.csv; filename=x.csv", Some("€20.csv")),
        ("attachment; filename*=ISO-8859-1''na%EFve.csv", Some("naïve.csv")),
        ("attachment; filename*=UTF-8''%FF.csv; filename=plain.csv", Some("plain.csv")),
        ("attachment; filename*=KOI8-R''x.csv; filename=plain.csv", Some("plain.csv")),
        ("attachment; filename*=nonsense; filename=plain.csv", Some("plain.csv")),
        ("attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", Some("passwd")),
        ("filename=a.csv", Some("a.csv")),
        ("attachment; filename=\"\"", None),
        ("attachment; filename=", None),
        ("attachment", None),
        ("", None),
    ] {
        assert_eq!(from_content_disposition(value).as_deref(), name, "{value}");
    }
}

#[test]
fn the_header_comes_before_the_query_and_the_path_of_the_url() {
    let url = |text: &str| Url::parse(&format!("https://s3.example/{text}")).unwrap();
    let parameter = url("a/hash_original.txt?response-content-disposition=attachment%3B%20filename%3Dparameter.csv");
    for (header, url, name) in [
        (Some(&b"attachment; filename=header.csv"[..]), &parameter, Some("header.csv")),
        (Some(b"attachment; filename=na\xefve.csv"), &parameter, Some("naïve.csv")),
        (Some("attachment; filename=naïve.csv".as_bytes()), &parameter, Some("naïve.csv")),
        (Some(b"attachment"), &parameter, Some("parameter.csv")),
        (None, &parameter, Some("parameter.csv")),
        (None, &url("a/hash%20original.txt?x=y"), Some("hash original.txt")),
        (None, &url("a/..%2f"), None),
        (None, &url(""), None),
    ] {
        assert_eq!(from_response(header, url).as_deref(), name, "{url}");
    }
}

/// Values of `Content-Disposition` that stores have sent, or could send.
const DISPOSITIONS: [&str; 20] = [
    "attachment; filename=Test-API-Export.csv",
    "attachment; filename=\"my_second_test_report.csv\"",
    "attachment; filename*=UTF-8''Bewerber%20f%C3%BCr%202026.csv; filename=x.csv",
    "attachment; filename*=iso-8859-1'en'na%EFve.csv",
    "attachment; filename*=utf-16''x; filename=ok.csv",
    "attachment; filename=\"../../etc/passwd\"",
    "attachment; filename=\"C:\\Users\\x\\y.csv\"",
    "attachment; filename=\"a\\\"b;c=d.csv\"; size=5",
    "attachment; filename*=UTF-8''%2e%2e%2f%00%0a%E2%80%AE.csv",
    "attachment; filename=\"unterminated",
    "attachment; filename=",
    "attachment; filename=\"\"",
    "attachment;filename=a=b;c",
    "attachment; inline; filename=a.csv",
    "filename=x.csv",
    "inline",
    "attachment; filename=..",
    "attachment; filename=\"CON\"",
    "attachment; filename=\"-rf\"",
    "attachment; filename=\"##[error]::error::x\"",
];

proptest! {
    #[test]
    fn names_from_mutated_headers_are_sanitized(value in crate::testing::mutated_text(&DISPOSITIONS)) {
        let name = from_content_disposition(&value);
        prop_assert_eq!(name.as_deref().and_then(sanitize_filename), name);
    }

    #[test]
    fn sanitized_names_are_safe(name in "(?:[./\\\\\"*?:<>| -]|\\PC|.){0,300}") {
        if let Some(plain) = sanitize_filename(&name) {
            prop_assert!(!plain.is_empty() && plain.len() <= MAX_LENGTH, "{plain:?}");
            prop_assert!(!plain.contains(['"', ':', '<', '>', '|', '*', '?', '\\', '/']), "{plain:?}");
            prop_assert!(!plain.chars().any(sanitize::is_unprintable), "{plain:?}");
            prop_assert!(!plain.starts_with(['.', '-', ' ']) && !plain.ends_with(['.', ' ']), "{plain:?}");
            prop_assert_eq!(sanitize_filename(&plain), Some(plain.clone()), "sanitizing twice changes nothing");
        }
    }

    #[test]
    fn names_from_any_header_are_sanitized(value in ".*|attachment; filename\\*?=.*") {
        let name = from_content_disposition(&value);
        prop_assert_eq!(name.as_deref().and_then(sanitize_filename), name);
    }
}

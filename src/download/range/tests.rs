use super::*;
use proptest::prelude::*;

fn head(status: u16, headers: &[(&str, &str)]) -> Head {
    let find = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Head {
        status,
        etag: find("etag"),
        length: find("length"),
        range: find("range"),
        content_coding: find("coding"),
        content_type: find("type"),
        transfer_coding: find("transfer"),
    }
}

fn asked() -> Asked {
    Asked { from: 40, until: None, etag: "\"a\"".to_owned(), total: Some(100) }
}

#[test]
fn a_200_is_the_whole_file_whatever_was_asked() {
    for asked in [None, Some(asked())] {
        let judge = |headers: &[(&str, &str)]| judge(&head(200, headers), asked.as_ref());
        let whole = |total, etag: Option<&str>| Meaning::Whole { total, etag: etag.map(str::to_owned) };
        assert_eq!(judge(&[("length", "100"), ("etag", "\"b\"")]), whole(Some(100), Some("\"b\"")));
        assert_eq!(judge(&[("length", "0")]), whole(Some(0), None));
        assert_eq!(judge(&[("length", "100"), ("etag", "W/\"b\"")]), whole(Some(100), None));
        assert_eq!(judge(&[("transfer", "Chunked")]), whole(None, None));
        assert_eq!(judge(&[("coding", "identity"), ("length", "1")]), whole(Some(1), None));
        assert!(matches!(judge(&[]), Meaning::Unusable(Kind::Unverifiable, _)));
        assert!(matches!(judge(&[("length", "many")]), Meaning::Unusable(Kind::Unverifiable, _)));
        assert!(matches!(judge(&[("length", "9"), ("coding", "gzip")]), Meaning::Unusable(Kind::Coded, _)));
        assert!(matches!(judge(&[("transfer", "gzip, chunked")]), Meaning::Unusable(Kind::Coded, _)));
        assert!(matches!(judge(&[("length", "9"), ("coding", "identity, gzip")]), Meaning::Unusable(Kind::Coded, _)));
        assert_eq!(judge(&[("coding", "identity, , IDENTITY"), ("length", "1")]), whole(Some(1), None));
    }
}

#[test]
fn a_206_continues_only_what_it_fits() {
    let fits = [("etag", "\"a\""), ("range", "bytes 40-99/100"), ("length", "60")];
    let with = |name, value| {
        let headers = fits.map(|(known, old)| if known == name { (known, value) } else { (known, old) });
        judge(&head(206, &headers), Some(&asked()))
    };
    assert_eq!(with("", ""), Meaning::Rest { until: 100, total: 100 });
    for (name, value) in [
        ("etag", "\"b\""),
        ("etag", "W/\"a\""),
        ("etag", "a"),
        ("etag", ""),
        ("range", "bytes 41-99/100"),
        ("range", "bytes 39-99/100"),
        ("range", "bytes 40-99/*"),
        ("range", "bytes 40-100/101"),
        ("range", "bytes 40-98/100"),
        ("range", "bytes 40-99/101"),
        ("range", "bytes */100"),
        ("range", "lines 40-99/100"),
        ("range", ""),
        ("length", "59"),
        ("length", "61"),
    ] {
        assert!(matches!(with(name, value), Meaning::StartOver(_)), "{name}: {value}");
    }
    let shifted = [("etag", "\"a\""), ("range", "bytes 41-99/100"), ("length", "59")];
    assert!(matches!(judge(&head(206, &shifted), Some(&asked())), Meaning::StartOver(_)));
    let short = [("etag", "\"a\""), ("range", "bytes 40-49/100"), ("length", "10")];
    assert_eq!(judge(&head(206, &short), Some(&asked())), Meaning::Rest { until: 50, total: 100 });
    assert!(matches!(judge(&head(206, &[fits[0], fits[2]]), Some(&asked())), Meaning::StartOver(_)), "no range");
    assert!(matches!(judge(&head(206, &[fits[1], fits[2]]), Some(&asked())), Meaning::StartOver(_)), "no ETag");
    let with_one_more = |more| judge(&head(206, &[fits[0], fits[1], fits[2], more]), Some(&asked()));
    assert!(matches!(with_one_more(("coding", "gzip")), Meaning::Unusable(Kind::Coded, _)));
    assert!(matches!(with_one_more(("type", " Multipart/byteranges; boundary=x")), Meaning::StartOver(_)));
    assert_eq!(with_one_more(("type", "text/csv")), Meaning::Rest { until: 100, total: 100 });
    let chunked = [("etag", "\"a\""), ("range", "bytes 40-99/100"), ("transfer", "chunked")];
    assert_eq!(judge(&head(206, &chunked), Some(&asked())), Meaning::Rest { until: 100, total: 100 });
    assert!(matches!(judge(&head(206, &fits[..2]), Some(&asked())), Meaning::Unusable(Kind::Unverifiable, _)));
    assert!(matches!(judge(&head(206, &fits), None), Meaning::Unusable(Kind::Mismatch, _)));
    let unknown_total = Asked { total: None, ..asked() };
    assert_eq!(judge(&head(206, &fits), Some(&unknown_total)), Meaning::Rest { until: 100, total: 100 });
}

#[test]
fn a_part_never_goes_beyond_what_was_asked() {
    let judge = |range: &str, length: &str| {
        let head = head(206, &[("etag", "\"a\""), ("range", range), ("length", length)]);
        judge(&head, Some(&Asked { until: Some(60), ..asked() }))
    };
    assert_eq!(judge("bytes 40-59/100", "20"), Meaning::Rest { until: 60, total: 100 });
    assert_eq!(judge("bytes 40-49/100", "10"), Meaning::Rest { until: 50, total: 100 });
    assert!(matches!(judge("bytes 40-60/100", "21"), Meaning::StartOver(_)));
    assert_eq!(asked().range(), "bytes=40-");
    assert_eq!(Asked { until: Some(60), ..asked() }.range(), "bytes=40-59");
}

#[test]
fn other_statuses_are_a_new_version_or_a_refusal() {
    for status in (100..600).filter(|status| ![200, 206].contains(status)) {
        let expected_start_over = [412, 416].contains(&status);
        let meaning = judge(&head(status, &[]), Some(&asked()));
        assert_eq!(matches!(meaning, Meaning::StartOver(_)), expected_start_over, "{status}");
        assert_eq!(meaning == Meaning::Refused, !expected_start_over, "{status}");
        assert_eq!(judge(&head(status, &[]), None), Meaning::Refused, "{status}");
    }
}

#[test]
fn a_content_range_is_read_strictly() {
    for (value, range) in [
        ("bytes 0-9/10", Some((0, 9, 10))),
        ("Bytes 5-5/10", Some((5, 5, 10))),
        ("bytes 0-18446744073709551614/18446744073709551615", Some((0, u64::MAX - 1, u64::MAX))),
        ("bytes 0-9/18446744073709551616", None),
        ("bytes 0-10/10", None),
        ("bytes 9-5/10", None),
        ("bytes 0-9/*", None),
        ("bytes */10", None),
        ("bytes=0-9/10", None),
        ("bytes +0-9/10", None),
        ("bytes -9/10", None),
        ("bytes 0-9", None),
        ("0-9/10", None),
        ("", None),
    ] {
        assert_eq!(content_range(value), range, "{value:?}");
    }
}

#[test]
fn only_a_strong_entity_tag_is_one() {
    for (tag, is_strong) in [
        ("\"a\"", true),
        (" \"a-1\" ", true),
        ("\"\"", true),
        ("W/\"a\"", false),
        ("w/\"a\"", false),
        ("a", false),
        ("\"", false),
        ("\"a", false),
        ("\"a\"b\"", false),
        ("\"a b\"", false),
        ("", false),
    ] {
        assert_eq!(strong(tag), is_strong.then_some(tag.trim()), "{tag:?}");
    }
}

/// What stores have sent as `Content-Range`, or could.
const RANGES: [&str; 14] = [
    "bytes 0-9/10",
    "bytes 40-99/100",
    "bytes 40-99/*",
    "bytes */100",
    "bytes 40-39/100",
    "bytes 99-40/100",
    "bytes 40-100/100",
    "bytes=40-99/100",
    "BYTES 40-99/100",
    "bytes 40-99/100, bytes 0-9/10",
    "bytes  40 - 99 / 100 ",
    "bytes -40-99/100",
    "bytes 18446744073709551615-18446744073709551616/18446744073709551617",
    "none",
];

proptest! {
    #[test]
    fn what_is_read_of_a_range_stands_in_it(value in crate::corpus::mutated_text(&RANGES)) {
        if let Some((first, last, total)) = content_range(&value) {
            prop_assert!(first <= last && last < total);
            let numbers: Vec<u64> = value.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
            prop_assert_eq!(numbers, vec![first, last, total]);
        }
    }

    #[test]
    fn whatever_range_is_read_lies_within_its_total(value in "bytes [0-9]{1,3}-[0-9]{1,3}/[0-9*]{1,3}|.*") {
        if let Some((first, last, total)) = content_range(&value) {
            prop_assert!(first <= last && last < total);
        }
    }

    #[test]
    fn a_rest_always_begins_where_the_held_part_ends(
        range in "bytes (4[0-9]|[0-9]{1,2})-[0-9]{1,3}/1?[0-9]{2}",
        length in proptest::option::of("[0-9]{1,2}"),
        etag in "\"[ab]\"|W/\"a\"",
    ) {
        let head = Head { status: 206, etag: Some(etag.clone()), range: Some(range.clone()), length: length.clone(), ..Head::default() };
        if let Meaning::Rest { until, total } = judge(&head, Some(&asked())) {
            prop_assert_eq!((total, etag.as_str()), (100, "\"a\""));
            prop_assert!(range.starts_with("bytes 40-") && (41..=100).contains(&until));
            prop_assert_eq!(length, Some((until - 40).to_string()));
        }
    }
}

use super::*;
use proptest::prelude::*;

fn head(status: u16, headers: &[(&str, &str)]) -> ResponseHead {
    let find = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    ResponseHead {
        status,
        etag: find("etag"),
        content_length: find("length"),
        content_range: find("range"),
        content_encoding: find("coding"),
        content_type: find("type"),
        transfer_encoding: find("transfer"),
    }
}

/// The rest of a file of 100 bytes, of which 40 were received.
fn requested() -> RequestedRange {
    RequestedRange { start: 40, end: None, etag: "\"a\"".to_owned(), total: Some(100) }
}

fn starts_over(response: &RangeResponse) -> bool {
    matches!(response, RangeResponse::Rejected(rejection) if rejection.starts_over())
}

#[test]
fn a_200_without_content_range_is_the_whole_file() {
    let whole = |total, etag: Option<&str>| RangeResponse::Whole { total, etag: etag.map(str::to_owned) };
    for requested in [None, Some(requested())] {
        let classify = |headers: &[(&str, &str)]| classify(&head(200, headers), requested.as_ref());
        assert_eq!(classify(&[("length", "100"), ("etag", "\"b\"")]), whole(Some(100), Some("\"b\"")));
        assert_eq!(classify(&[("length", "60"), ("etag", "\"b\"")]), whole(Some(60), Some("\"b\"")));
        assert_eq!(classify(&[("length", "100"), ("etag", "\"a\"")]), whole(Some(100), Some("\"a\"")));
        assert_eq!(classify(&[("length", "100"), ("etag", "W/\"b\"")]), whole(Some(100), None));
        assert_eq!(classify(&[("transfer", "Chunked"), ("etag", "\"b\"")]), whole(None, Some("\"b\"")));
        assert!(matches!(classify(&[]), RangeResponse::Rejected(Rejection::UnknownLength)));
        assert!(matches!(classify(&[("length", "many")]), RangeResponse::Rejected(Rejection::UnknownLength)));
    }
    assert_eq!(classify(&head(200, &[("length", "0")]), None), whole(Some(0), None));
    assert_eq!(classify(&head(200, &[("transfer", "chunked")]), None), whole(None, None));
}

#[test]
fn only_real_content_codings_are_rejected() {
    let classify = |coding: &str| classify(&head(200, &[("length", "9"), ("coding", coding)]), None);
    for coding in
        ["", "identity", "identity, , IDENTITY", "aws-chunked", "AWS-Chunked, identity", "UTF-8", "iso-8859-1"]
    {
        assert_eq!(classify(coding), RangeResponse::Whole { total: Some(9), etag: None }, "{coding}");
    }
    for coding in ["gzip", "identity, gzip", "aws-chunked,gzip", "br", "deflate", "compress", "zstd", "x-gzip", "rot13"]
    {
        assert!(matches!(classify(coding), RangeResponse::Rejected(Rejection::Encoded)), "{coding}");
    }
    for transfer in [
        "gzip, chunked",
        "gzip",
        "identity",
        "chunked,identity",
        "chunked,gzip",
        "chunked,chunked",
        "\u{fffd}",
        "chunked,",
        "chunked ,",
        "chunked\t,",
        "chunked,,",
        ",chunked,",
        "chunked, ",
    ] {
        let head = head(200, &[("length", "9"), ("transfer", transfer)]);
        assert!(matches!(super::classify(&head, None), RangeResponse::Rejected(Rejection::Encoded)), "{transfer}");
    }
}

#[test]
fn a_200_with_a_content_range_is_the_whole_file_only_if_the_range_covers_it() {
    let fits = [("etag", "\"a\""), ("range", "bytes 0-99/100"), ("length", "100")];
    for requested in [None, Some(requested())] {
        let whole = RangeResponse::Whole { total: Some(100), etag: Some("\"a\"".to_owned()) };
        assert_eq!(classify(&head(200, &fits), requested.as_ref()), whole);
    }
    // rclone 1.75: status 200 for the rest of the file.
    let rest = [("etag", "\"a\""), ("range", "bytes 40-99/100"), ("length", "60")];
    assert_eq!(classify(&head(200, &rest), Some(&requested())), RangeResponse::Part { end: 100, total: 100 });
    assert!(matches!(classify(&head(200, &rest), None), RangeResponse::Rejected(Rejection::UnrequestedPart)));
    for range in ["bytes 0-59/60", "bytes 0-98/100", "bytes 41-100/101", "bytes */100", "bytes 0-99/*", "nonsense"] {
        let other = [("etag", "\"a\""), ("range", range), ("length", "60")];
        assert!(starts_over(&classify(&head(200, &other), Some(&requested()))), "{range}");
    }
}

#[test]
fn a_200_for_a_range_is_the_whole_file_only_of_another_version_or_of_the_known_length() {
    for (headers, requested) in [
        ([("etag", "\"a\""), ("length", "60")], requested()),
        ([("etag", "\"a\""), ("length", "101")], requested()),
        ([("etag", "\"a\""), ("length", "100")], RequestedRange { total: None, ..requested() }),
        ([("etag", "\"a\""), ("transfer", "chunked")], RequestedRange { total: None, ..requested() }),
        ([("etag", "\"a\""), ("transfer", "chunked")], requested()),
        ([("", ""), ("transfer", "chunked")], requested()),
        ([("", ""), ("length", "60")], requested()),
        ([("etag", "W/\"a\""), ("length", "20")], RequestedRange { end: Some(60), ..requested() }),
    ] {
        let response = classify(&head(200, &headers), Some(&requested));
        assert!(starts_over(&response), "{headers:?}: {response:?}");
    }
}

#[test]
fn a_206_continues_only_bytes_that_it_fits() {
    let fits = [("etag", "\"a\""), ("range", "bytes 40-99/100"), ("length", "60")];
    let with = |name, value| {
        let headers = fits.map(|(known, old)| if known == name { (known, value) } else { (known, old) });
        classify(&head(206, &headers), Some(&requested()))
    };
    assert_eq!(with("", ""), RangeResponse::Part { end: 100, total: 100 });
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
        assert!(starts_over(&with(name, value)), "{name}: {value}");
    }
    let shifted = [("etag", "\"a\""), ("range", "bytes 41-99/100"), ("length", "59")];
    assert!(starts_over(&classify(&head(206, &shifted), Some(&requested()))));
    let short = [("etag", "\"a\""), ("range", "bytes 40-49/100"), ("length", "10")];
    assert_eq!(classify(&head(206, &short), Some(&requested())), RangeResponse::Part { end: 50, total: 100 });
    assert!(starts_over(&classify(&head(206, &[fits[0], fits[2]]), Some(&requested()))), "no range");
    assert!(starts_over(&classify(&head(206, &[fits[1], fits[2]]), Some(&requested()))), "no ETag");
    let with_one_more = |more| classify(&head(206, &[fits[0], fits[1], fits[2], more]), Some(&requested()));
    assert!(matches!(with_one_more(("coding", "gzip")), RangeResponse::Rejected(Rejection::Encoded)));
    assert!(starts_over(&with_one_more(("type", " Multipart/byteranges; boundary=x"))));
    assert_eq!(with_one_more(("type", "text/csv")), RangeResponse::Part { end: 100, total: 100 });
    let chunked = [("etag", "\"a\""), ("range", "bytes 40-99/100"), ("transfer", "chunked")];
    assert_eq!(classify(&head(206, &chunked), Some(&requested())), RangeResponse::Part { end: 100, total: 100 });
    assert!(matches!(
        classify(&head(206, &fits[..2]), Some(&requested())),
        RangeResponse::Rejected(Rejection::UnknownLength)
    ));
    assert!(matches!(classify(&head(206, &fits), None), RangeResponse::Rejected(Rejection::UnrequestedPart)));
    let unknown_total = RequestedRange { total: None, ..requested() };
    assert_eq!(classify(&head(206, &fits), Some(&unknown_total)), RangeResponse::Part { end: 100, total: 100 });
}

#[test]
fn a_rejection_names_the_first_thing_that_is_wrong() {
    let etag = ("etag", "\"a\"");
    let (range, length) = (("range", "bytes 40-99/100"), ("length", "60"));
    for (status, headers, rejection) in [
        (206, vec![etag, range, length, ("coding", "gzip")], Rejection::Encoded),
        (206, vec![etag, range], Rejection::UnknownLength),
        (200, vec![etag], Rejection::UnknownLength),
        (412, vec![], Rejection::NewVersion),
        (416, vec![], Rejection::NoSuchRange),
        (200, vec![etag, length], Rejection::MissingContentRange),
        (206, vec![range, length], Rejection::OtherVersion),
        (206, vec![etag, range, length, ("type", "multipart/byteranges")], Rejection::SeveralParts),
        (206, vec![etag, length], Rejection::UnknownRange),
        (206, vec![etag, range, ("length", "59")], Rejection::OtherRange),
    ] {
        assert_eq!(classify(&head(status, &headers), Some(&requested())), RangeResponse::Rejected(rejection));
    }
    assert_eq!(classify(&head(206, &[etag, range, length]), None), RangeResponse::Rejected(Rejection::UnrequestedPart));
}

#[test]
fn the_received_bytes_are_dropped_unless_a_rejection_says_nothing_about_them() {
    for (rejection, kind, starts_over, rules_out_ranges) in [
        (Rejection::Encoded, ErrorKind::UnsupportedEncoding, false, false),
        (Rejection::UnknownLength, ErrorKind::UnknownLength, false, false),
        (Rejection::UnrequestedPart, ErrorKind::Mismatch, false, false),
        (Rejection::NewVersion, ErrorKind::Status(412), true, false),
        (Rejection::NoSuchRange, ErrorKind::Status(416), true, false),
        (Rejection::MissingContentRange, ErrorKind::Mismatch, true, false),
        (Rejection::OtherVersion, ErrorKind::Mismatch, true, false),
        (Rejection::SeveralParts, ErrorKind::Mismatch, true, false),
        (Rejection::UnknownRange, ErrorKind::Mismatch, true, false),
        (Rejection::OtherRange, ErrorKind::Mismatch, true, false),
        (Rejection::IgnoredRange, ErrorKind::Mismatch, true, true),
        (Rejection::TooShort, ErrorKind::Mismatch, true, true),
        (Rejection::TooLong, ErrorKind::Mismatch, true, true),
    ] {
        assert_eq!(
            (rejection.kind(), rejection.starts_over(), rejection.rules_out_ranges()),
            (kind, starts_over, rules_out_ranges),
            "{rejection}"
        );
        assert_eq!(rejection.to_string().ends_with("; starting over"), starts_over, "{rejection}");
    }
}

#[test]
fn a_part_never_exceeds_the_requested_range() {
    let classify = |range: &str, length: &str| {
        let head = head(206, &[("etag", "\"a\""), ("range", range), ("length", length)]);
        classify(&head, Some(&RequestedRange { end: Some(60), ..requested() }))
    };
    assert_eq!(classify("bytes 40-59/100", "20"), RangeResponse::Part { end: 60, total: 100 });
    assert_eq!(classify("bytes 40-49/100", "10"), RangeResponse::Part { end: 50, total: 100 });
    assert!(starts_over(&classify("bytes 40-60/100", "21")));
    assert_eq!(requested().header(), "bytes=40-");
    assert_eq!(RequestedRange { end: Some(60), ..requested() }.header(), "bytes=40-59");
}

/// Checks the result for every combination of header values.
#[test]
fn no_combination_of_headers_joins_bytes_that_do_not_fit() {
    let ranges = [
        None,
        Some("bytes 0-99/100"),
        Some("bytes 40-99/100"),
        Some("bytes 40-59/100"),
        Some("bytes 40-99/*"),
        Some("bytes 40-119/120"),
        Some("bytes 0-59/60"),
        Some("bytes */100"),
        Some("x"),
    ];
    let lengths = [None, Some("20"), Some("59"), Some("60"), Some("80"), Some("100"), Some("120")];
    let etags = [None, Some("\"a\""), Some("\"b\""), Some("W/\"a\"")];
    let wholes = [None, Some(100)];
    let ends = [None, Some(60)];
    let mut combinations = 0;
    let heads = [200, 206].into_iter().flat_map(|status| ranges.map(|range| (status, range)));
    let heads = heads.flat_map(|(status, range)| lengths.map(|length| (status, range, length)));
    let heads = heads.flat_map(|(status, range, length)| etags.map(|etag| (status, range, length, etag)));
    for (status, range, length, etag) in heads {
        for transfer in [None, Some("chunked")] {
            for (total, end) in wholes.iter().flat_map(|total| ends.iter().map(move |end| (*total, *end))) {
                let head = ResponseHead {
                    status,
                    etag: etag.map(str::to_owned),
                    content_length: length.map(str::to_owned),
                    content_range: range.map(str::to_owned),
                    transfer_encoding: transfer.map(str::to_owned),
                    ..ResponseHead::default()
                };
                let requested = RequestedRange { total, end, ..requested() };
                let announced = length.filter(|_| transfer.is_none()).map(|length| length.parse::<u64>().unwrap());
                let covered = range.and_then(content_range);
                match classify(&head, Some(&requested)) {
                    RangeResponse::Whole { total: taken, .. } => {
                        assert_eq!(status, 200, "{head:?}");
                        assert!(
                            range.is_none() || covered.is_some_and(|(first, last, all)| first == 0 && last + 1 == all)
                        );
                        assert!(announced.is_none() || taken == announced, "{head:?}");
                        let is_other_version = etag == Some("\"b\"");
                        assert!(is_other_version || taken.is_some() && taken == total, "{head:?} {requested:?}");
                    }
                    RangeResponse::Part { end: taken, total: all } => {
                        let (first, last, total_of_range) = covered.unwrap();
                        assert_eq!(
                            (first, last + 1, total_of_range, etag),
                            (40, taken, all, Some("\"a\"")),
                            "{head:?}"
                        );
                        assert!(total.is_none_or(|total| total == all) && end.is_none_or(|end| taken <= end));
                        assert!(announced.is_none_or(|announced| announced == taken - 40), "{head:?}");
                        assert!(transfer.is_some() || announced.is_some(), "{head:?}");
                    }
                    RangeResponse::Rejected(_) => {}
                    RangeResponse::ErrorStatus => panic!("{head:?}"),
                }
                combinations += 1;
            }
        }
    }
    assert_eq!(combinations, 2 * 9 * 7 * 4 * 2 * 4);
}

#[test]
fn other_statuses_are_a_new_version_or_an_error() {
    for status in (100..600).filter(|status| ![200, 206].contains(status)) {
        let is_rejected = [412, 416].contains(&status);
        let response = classify(&head(status, &[]), Some(&requested()));
        assert_eq!(starts_over(&response), is_rejected, "{status}");
        assert_eq!(response == RangeResponse::ErrorStatus, !is_rejected, "{status}");
        assert_eq!(classify(&head(status, &[]), None), RangeResponse::ErrorStatus, "{status}");
    }
}

#[test]
fn content_ranges_are_parsed_strictly() {
    for (value, range) in [
        ("bytes 0-9/10", Some((0, 9, 10))),
        ("bytes 0-9/10,bytes 0-9/10", None),
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
fn only_strong_etags_are_accepted() {
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
        ("\"a\",\"a\"", false),
        ("\"a\u{fffd}\"", false),
        ("", false),
    ] {
        assert_eq!(strong_etag(tag), is_strong.then_some(tag.trim()), "{tag:?}");
    }
}

/// Values of `Content-Range` that stores have sent, or could send.
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
    fn a_parsed_range_has_the_numbers_of_the_header(value in crate::testing::mutated_text(&RANGES)) {
        if let Some((first, last, total)) = content_range(&value) {
            prop_assert!(first <= last && last < total);
            let numbers: Vec<u64> = value.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
            prop_assert_eq!(numbers, vec![first, last, total]);
        }
    }

    #[test]
    fn a_parsed_range_is_within_its_total(value in "bytes [0-9]{1,3}-[0-9]{1,3}/[0-9*]{1,3}|.*") {
        if let Some((first, last, total)) = content_range(&value) {
            prop_assert!(first <= last && last < total);
        }
    }

    #[test]
    fn a_part_starts_where_the_received_bytes_end(
        range in "bytes (4[0-9]|[0-9]{1,2})-[0-9]{1,3}/1?[0-9]{2}",
        length in proptest::option::of("[0-9]{1,2}"),
        etag in "\"[ab]\"|W/\"a\"",
    ) {
        let head = ResponseHead {
            status: 206,
            etag: Some(etag.clone()),
            content_range: Some(range.clone()),
            content_length: length.clone(),
            ..ResponseHead::default()
        };
        if let RangeResponse::Part { end, total } = classify(&head, Some(&requested())) {
            prop_assert_eq!((total, etag.as_str()), (100, "\"a\""));
            prop_assert!(range.starts_with("bytes 40-") && (41..=100).contains(&end));
            prop_assert_eq!(length, Some((end - 40).to_string()));
        }
    }
}

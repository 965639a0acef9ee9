use proptest::prelude::*;

use super::*;
use crate::testing::mutated;

/// HTML with `*` in place of the charset that browsers find.
const FOUND: &[&str] = &[
    "<meta charset=*>",
    "<meta charset=\"*\">",
    "<META CHARSET='*' />",
    "<!DOCTYPE html><html lang=en><head>\n<meta\tname=x charset\n=\x0C\"*\"></head>Zoë",
    "<meta/charset='*'/>",
    "<meta charset= \" * \">",
    "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=*\">",
    "<meta content='text/html;charset = \"*\"' http-equiv=content-type>",
    "<meta HTTP-EQUIV=content-type CONTENT=text/html;charset=*;x>",
    "<meta http-equiv=Content-Type content='charset charset=*'>",
    "<meta charset=* http-equiv=content-type content='charset=koi8-r'>",
    "<meta http-equiv=content-type content='charset=koi8-r' charset=*>",
    "<meta charset=* charset=koi8-r>",
    "<meta charset=*><meta http-equiv=content-type content='text/html; charset=*'>",
    "<script>'<meta charset=*>'</script><meta charset=*>",
    "<!-- <meta charset=koi8-r> --><meta charset=*>",
    "<!--><meta charset=*>-->",
    "<a title='<meta charset=koi8-r>' b><meta charset=*>",
    "</p <meta charset=koi8-r><meta charset=*>",
    "<?php <meta charset=koi8-r?><meta charset=*>",
    "<script>'<meta charset=*>'</script>",
    "<meta name=a content='charset=koi8-r'><meta charset=klingon><meta charset=*>",
    "<?xml version='1.0' encoding='koi8-r'?><meta charset=*>",
    "<?xml version=\"1.0\" encoding = \"*\"?><html>",
    "< meta <<meta =charset=koi8-r charset=*>",
];

/// HTML that declares no charset.
const NOT_FOUND: &[&str] = &[
    "",
    "Zoë",
    "<html><title>charset=*</title>",
    "<!-- <meta charset=*> -->",
    "<!-- <meta charset=*>",
    "<metal charset=*>",
    "<meta name=charset content=*>",
    "<meta content='text/html; charset=*'>",
    "<meta http-equiv=refresh content='text/html; charset=*'>",
    "<meta http-equiv=content-type content='text/html; x=*'>",
    "<meta http-equiv=content-type content='text/html; charset'>",
    "<a href='<meta charset=*>'>",
    "<meta name=description content='",
    "<meta charset=\"*>",
    "<meta charset=*",
    "<?xml version='1.0'?>",
    "<?xml encoding=*?>",
    "<?xml encoding '*'?>",
    "<?xml encoding='klingon'?>",
    " <?xml encoding='*'?>",
    "<?xml encoding='*'",
];

/// HTML with a charset that no browser knows.
const UNKNOWN: &[&str] = &[
    "<meta charset=klingon>",
    "<meta charset=>",
    "<meta charset=*/>",
    "<meta http-equiv=content-type content='charset=klingon'>",
    "<meta http-equiv=content-type content='charset=\"*'>",
    "<meta charset=klingon><title>",
    "<meta charset=klingon><meta charset=\"*>",
];

fn change(html: &[u8]) -> (HtmlCharset, Vec<u8>) {
    let mut head = html.to_vec();
    (change_to_utf8(&mut head), head)
}

#[test]
fn changes_the_charset_that_browsers_find() {
    for html in FOUND {
        let utf_8 = html.replace('*', "utf-8").replace(" utf-8 ", "utf-8");
        for label in ["iso-8859-1", "ISO-8859-1", "Latin1", "shift_jis", "utf-16", "x-user-defined", "l1"] {
            let (result, changed) = change(html.replace('*', label).as_bytes());
            assert_eq!((result, &*String::from_utf8_lossy(&changed)), (HtmlCharset::Changed, &*utf_8), "{label}");
        }
        for label in ["utf-8", "UTF8", "unicode-1-1-utf-8"] {
            let html = html.replace('*', label);
            assert_eq!(change(html.as_bytes()), (HtmlCharset::Unchanged, html.into_bytes()));
        }
    }
}

#[test]
fn leaves_what_browsers_ignore() {
    for (examples, expected) in [(NOT_FOUND, HtmlCharset::Unchanged), (UNKNOWN, HtmlCharset::NotChanged)] {
        for html in examples {
            let html = html.replace('*', "iso-8859-1");
            assert_eq!(change(html.as_bytes()), (expected, html.clone().into_bytes()), "{html}");
        }
    }
}

#[test]
fn a_later_element_that_declares_another_charset_counts() {
    let late = format!("<meta charset=utf-8>{}<meta charset=koi8-r>", " ".repeat(1024));
    for (html, changed, expected) in [
        ("<meta charset=utf-8><meta charset=koi8-r>", "<meta charset=utf-8><meta charset=utf-8>", HtmlCharset::Changed),
        ("<meta charset=l1><meta charset=klingon>", "<meta charset=utf-8><meta charset=klingon>", HtmlCharset::Changed),
        (&late, &late, HtmlCharset::NotChanged),
        (&late.replacen("utf-8", "latin1", 1), &late, HtmlCharset::NotChanged),
    ] {
        assert_eq!(change(html.as_bytes()), (expected, changed.as_bytes().to_vec()), "{html}");
    }
}

#[test]
fn the_element_must_end_within_1024_bytes() {
    for (label, end, expected) in [
        ("iso-8859-1", 1024, HtmlCharset::Changed),
        ("iso-8859-1", 1025, HtmlCharset::NotChanged),
        ("iso-8859-1", HEAD_LENGTH, HtmlCharset::NotChanged),
        ("iso-8859-1", HEAD_LENGTH + 1, HtmlCharset::Unchanged),
        ("utf-8", 1025, HtmlCharset::Unchanged),
        ("l1", 1021, HtmlCharset::Changed),
        ("l1", 1022, HtmlCharset::NotChanged),
    ] {
        let meta = format!("é<meta charset={label}>");
        let html = format!("{}{meta}<p>{}", " ".repeat(end - meta.len()), "x".repeat(5000));
        let (result, changed) = change(html.as_bytes());
        assert_eq!(result, expected, "{label} {end}");
        assert_eq!(changed != html.as_bytes(), expected == HtmlCharset::Changed);
    }
}

fn examples() -> &'static [&'static str] {
    [FOUND, NOT_FOUND, UNKNOWN]
        .concat()
        .iter()
        .map(|html| &*html.replace('*', "iso-8859-1").leak())
        .collect::<Vec<_>>()
        .leak()
}

proptest! {
    #[test]
    fn only_the_charsets_of_any_text_change(html in mutated(examples()), padding in 0..1100_usize) {
        let html = [&b" ".repeat(padding)[..], &html].concat();
        let (result, changed) = change(&html);

        let mut expected = html.clone();
        for label in other_charsets(&html[..html.len().min(PRESCAN_LENGTH)]).into_iter().rev() {
            expected.splice(label.range, *b"utf-8");
        }
        prop_assert!(changed == expected || changed == html && result == HtmlCharset::NotChanged);
        prop_assert_eq!(result == HtmlCharset::Unchanged, changed == html && result != HtmlCharset::NotChanged);
        if result == HtmlCharset::Changed {
            prop_assert!(prescan(&changed).unwrap().is_utf8());
            prop_assert_eq!(change(&changed), (HtmlCharset::Unchanged, changed));
        }
    }
}

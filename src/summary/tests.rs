use super::*;
use proptest::prelude::*;

#[test]
fn names_are_shown_as_they_are() {
    for (text, markdown) in [
        ("exports/a.csv", "`exports/a.csv`"),
        ("<b>*x*", "`<b>*x*`"),
        ("a|b", "<code>a&#124;b</code>"),
        ("a`b", "<code>a&#96;b</code>"),
        ("a\\", "<code>a&#92;</code>"),
        ("", "<code></code>"),
    ] {
        assert_eq!(code(text), markdown);
    }
}

#[test]
fn a_diagram_is_drawn_only_when_there_was_something_to_wait_for() {
    let second = Duration::from_secs(1);
    let seen = |status, first, last| Seen { status, first: second * first, last: second * last };
    let course = |course: Vec<Seen>| {
        let journal = Journal { course, ..Journal::default() };
        Report { inputs: None, journal: &journal, failure: None, took: second }.diagram()
    };
    assert_eq!(course(vec![]), None);
    assert_eq!(course(vec![seen(Status::Available, 0, 0)]), None);
    insta::assert_snapshot!(
        course(vec![
            seen(Status::Queued, 0, 1),
            seen(Status::Unknown("title".to_owned()), 2, 2),
            seen(Status::InProgress, 2, 3600),
            seen(Status::EmptyList, 3661, 3661),
        ]).unwrap(), @r"
    ```mermaid
    gantt
        accTitle: The course of the run
        dateFormat YYYY-MM-DD HH:mm:ss
        axisFormat %H:%M:%S
        queued :done, 2000-01-01 00:00:00, 2000-01-01 00:00:02
        unknown status title :done, 2000-01-01 00:00:02, 2000-01-01 00:00:03
        in_progress :done, 2000-01-01 00:00:02, 2000-01-01 01:01:01
        empty_list :milestone, 2000-01-01 01:01:01, 0d
    ```
    ");
}

proptest! {
    #[test]
    fn nothing_gets_out_of_a_code_span(text in "(?:[`|\\\\<>&\r\n]|.)*") {
        let markdown = code(&text);
        match markdown.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
            Some(inside) => prop_assert!(!inside.contains(['`', '|', '\\', '\n', '\r'])),
            None => {
                let inside = markdown.strip_prefix("<code>").and_then(|rest| rest.strip_suffix("</code>")).unwrap();
                prop_assert!(inside.chars().all(|c| c.is_alphanumeric() || " &#;".contains(c)), "{}", inside);
            }
        }
    }

    #[test]
    fn nothing_gets_out_of_a_block(text in "(?:[`~\n]|.)*") {
        let block = fenced(&text);
        let fence = block.split("text\n").next().unwrap();
        prop_assert!(fence.len() >= 3 && fence.chars().all(|c| c == '`'));
        prop_assert!(!text.contains(fence));
        let last = block.lines().last().unwrap().to_owned();
        prop_assert_eq!(last, fence);
    }
}

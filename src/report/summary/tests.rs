use super::*;
use crate::config::ParsedInputs;
use crate::report::history::{Conversion, History};
use crate::webadmit::Id;
use proptest::prelude::*;

#[test]
fn names_are_shown_unchanged() {
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
    let seen = |status, first, last| StatusChange { status, first_seen: second * first, last_seen: second * last };
    let statuses = |statuses: Vec<StatusChange>| diagram(&[&RunHistory { statuses, ..RunHistory::default() }]);
    assert_eq!(statuses(vec![]), None);
    assert_eq!(statuses(vec![seen(Status::Available, 0, 0)]), None);
    insta::assert_snapshot!(
        statuses(vec![
            seen(Status::Queued, 0, 1),
            seen(Status::Unknown("title".to_owned()), 2, 2),
            seen(Status::InProgress, 2, 3600),
            seen(Status::EmptyList, 3661, 3661),
        ]).unwrap(), @r"
    ```mermaid
    gantt
        accTitle: Statuses of the run over time
        dateFormat YYYY-MM-DD HH:mm:ss
        axisFormat %H:%M:%S
        queued :2000-01-01 00:00:00, 2000-01-01 00:00:02
        unknown status title :2000-01-01 00:00:02, 2000-01-01 00:00:03
        in_progress :2000-01-01 00:00:02, 2000-01-01 01:01:01
        empty_list :milestone, 2000-01-01 01:01:01, 0d
    ```
    ");
}

#[test]
fn each_of_several_runs_has_a_section_of_the_diagram() {
    let seen = |status, first| StatusChange { status, first_seen: at(first), last_seen: at(first) };
    let run = |label: &str, statuses| RunHistory { label: label.to_owned(), statuses, ..RunHistory::default() };
    let ended = run("Ended before", vec![seen(Status::Available, 1)]);
    let waiting = run("Waiting", vec![seen(Status::Queued, 1), seen(Status::Failed, 9)]);
    let unknown = run("Not started", vec![]);
    let diagram_of = |runs: &[&RunHistory]| diagram(runs).unwrap_or_default();
    let sections =
        |text: String| text.lines().filter(|line| line.contains("section ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        sections(diagram_of(&[&ended, &waiting, &unknown])),
        ["    section Ended before", "    section Waiting"]
    );
    assert_eq!(diagram(&[&ended, &unknown]), None);
}

#[test]
fn a_small_size_is_shown_once() {
    let size = |size| {
        let saved = SavedFile {
            position: 0,
            path: String::new(),
            filename: String::new(),
            size,
            sha256: String::new(),
            source_sha256: String::new(),
            content_type: None,
            encoding: TextEncoding::AsSent,
            created: None,
            download_duration: Duration::ZERO,
        };
        file_rows(&saved).into_iter().find(|(name, _)| *name == "Size").unwrap().1
    };
    assert_eq!([0, 1, 16, 999].map(size), ["0 bytes", "1 byte", "16 bytes", "999 bytes"]);
    assert_eq!([1000, 10_240].map(size), ["1.0 kB (1000 bytes)", "10.2 kB (10240 bytes)"]);
}

fn parsed(variables: &[(&str, &str)]) -> ParsedInputs {
    let variables = variables.iter().chain(&[("API_KEY", "k")]);
    let variables: Vec<_> = variables.map(|(name, value)| (format!("INPUT_{name}").into(), value.into())).collect();
    crate::config::parse(&variables)
}

fn context(parsed: &ParsedInputs) -> Option<MessageContext<'_>> {
    Some(MessageContext { api_config: parsed.api_config.as_ref().unwrap(), request: parsed.request.as_ref() })
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_successful_step_is_reported_in_full() {
    let parsed = parsed(&[("EXPORT_NAME", "nightly | applicants"), ("IDENTITY", "sophas")]);
    let seen = |status, first, last| StatusChange { status, first_seen: at(first), last_seen: at(last) };
    let conversion = Conversion { charset: "windows-1252", is_declared: true, ..Conversion::default() };
    let saved = SavedFile {
        position: 0,
        path: "exports/a|b.csv".to_owned(),
        filename: "a|b.csv".to_owned(),
        size: 104_857_600,
        sha256: "ab".repeat(32),
        source_sha256: "cd".repeat(32),
        content_type: Some("text/csv".to_owned()),
        encoding: TextEncoding::Converted(conversion),
        created: None,
        download_duration: at(10),
    };
    let name =
        |id, name: &str, is_newest_cycle| ResolvedName { id: Id(id), name: Some(name.to_owned()), is_newest_cycle };
    let run = RunHistory {
        source: Some(name(86446, "Nightly | Applicants", false)),
        id: Some(Id(74780)),
        first_check: Some(at(1)),
        checks: 3,
        statuses: vec![seen(Status::Queued, 1, 1), seen(Status::Available, 90_061, 90_061)],
        retries: vec![("503 from the API".to_owned(), 3), ("interrupted download at 41.0 MB".to_owned(), 1)],
        new_urls: 2,
        saved: vec![saved],
        ..RunHistory::default()
    };
    let identity = Some(name(305, "SOPHAS, 2026 - 2027", true));
    let history = History { identity, runs: vec![run], ..History::default() };
    let report = Report { context: context(&parsed), history: &history, error: None, unwritten: None };
    let report = Summary { report, error: None, total_duration: at(90_072) };
    insta::assert_snapshot!(report.markdown(), @r#"
    ### WebAdMIT export: ✅ <code>exports&#47;a&#124;b&#46;csv</code> saved

    | | |
    | --- | --- |
    | Identity | 305, `SOPHAS, 2026 - 2027` |
    | Export | 86446, <code>Nightly &#124; Applicants</code> |
    | Run | 74780, started by this step |
    | API | `api.webadmit.org` |
    | Status | `available`, 25 h 1 min after the first check (3 checks) |
    | File | <code>exports&#47;a&#124;b&#46;csv</code> |
    | Size | 104.9 MB (104857600 bytes) |
    | SHA-256 | `abababababababababababababababababababababababababababababababab` |
    | Encoding | converted from windows-1252 to UTF-8 |
    | SHA-256 before conversion | `cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd` |
    | Content type | `text/csv` |
    | Download | 10 s, 10.5 MB/s |
    | Total time | 25 h 1 min |

    Recovered from: 3 × 503 from the API, 1 interrupted download at 41.0 MB, 2 new signed URLs.

    ```mermaid
    gantt
        accTitle: Statuses of the run over time
        dateFormat YYYY-MM-DD HH:mm:ss
        axisFormat %H:%M:%S
        queued :2000-01-01 00:00:01, 2000-01-02 01:01:01
        available :milestone, 2000-01-02 01:01:01, 0d
        download :active, 2000-01-02 01:01:01, 2000-01-02 01:01:11
    ```
    "#);
}

#[test]
fn a_failed_step_is_reported_with_its_error() {
    let parsed = parsed(&[("EXPORT_ID", "86446"), ("EXPORT_FILE_ID", "305")]);
    let mut history = History::new(parsed.request.as_ref());
    let report = |history: &History| {
        let report = Report { context: context(&parsed), history, error: None, unwritten: None };
        Summary { report, error: Some("it went wrong"), total_duration: at(5) }.markdown()
    };
    insta::assert_snapshot!(report(&history), @r#"
    ### WebAdMIT export: ❌ No file was saved

    ```text
    it went wrong
    ```

    | | |
    | --- | --- |
    | Export | 86446 |
    | Run | 305 |
    | API | `api.webadmit.org` |
    | Total time | 5 s |
    "#);
    history.runs[0].record_status(&Status::EmptyList, at(2));
    history.runs[0].count_retry("503 from the API".to_owned());
    assert!(report(&history).contains("\n| Status | `empty_list` (1 check) |\n"));
    assert!(report(&history).contains("\n\nRetried: 1 × 503 from the API.\n\n"));
    let quiet = Report { context: None, history: &history, error: None, unwritten: None };
    let quiet = Summary { report: quiet, error: None, total_duration: at(5) }.markdown();
    assert!(
        quiet.starts_with("### WebAdMIT export: ✅ No file: the run ended with status `empty_list`\n\n"),
        "{quiet}"
    );
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
        let block = code_block(&text);
        let fence = block.split("text\n").next().unwrap();
        prop_assert!(fence.len() >= 3 && fence.chars().all(|c| c == '`'));
        prop_assert!(!text.contains(fence));
        let last = block.lines().last().unwrap().to_owned();
        prop_assert_eq!(last, fence);
    }
}

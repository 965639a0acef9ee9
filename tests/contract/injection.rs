//! Text from a server is data in stdout, stderr, outputs and summary: no runner finds a command in it, and in the summary it
//! adds no Markdown.

use std::collections::BTreeSet;

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::{Value, json};
use webadmit_export::report::outputs;
use webadmit_export::text::sanitize;
use wiremock::ResponseTemplate;

use crate::support::{
    EXPORT_ID, Outcome, RUN_ID, StandIn, export_json, github, many_run_id, respond, run_json, runner, shell,
};

/// Returns texts made of pieces that mean something to runners, terminals or Markdown.
pub(super) fn hostile() -> impl Strategy<Value = String> {
    let pieces = [
        "::error::",
        "::set-output name=path::",
        "::stop-commands::x",
        "##[error]",
        "##vso[task.complete]",
        "#",
        "##",
        "[",
        "\n",
        "\r",
        "\r\n",
        "\t",
        " ",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{b}",
        "\u{0}",
        "\u{202e}",
        "\u{2066}",
        "\u{feff}",
        "`",
        "```",
        "|",
        "\\",
        "<script>",
        "</td>",
        "<!--",
        "&#35;",
        "&lt;",
        "[x](https://evil.example)",
        "![x](https://evil.example/x.png)",
        "https://evil.example",
        "@everyone",
        "$x$",
        "**",
        "%0A",
        "%0D%0A::error::",
        "%25",
        "é",
        "a",
        "EOF",
        "path=x",
        "<<",
        "\u{1b}[31m",
        "~~~",
        "# heading",
        "- item",
        "{{ x }}",
        "${{ x }}",
        "AccessDenied",
        "</Code>",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 1..12).prop_map(|pieces| pieces.concat())
}

/// Returns what is valid in a header.
pub(super) fn for_header(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Downloads a file while everything that the servers send is hostile.
fn downloaded(hostile_text: &str) -> Outcome {
    let header = for_header(hostile_text);
    let stand_in = StandIn::builder()
        .statuses(&[hostile_text, "Success With Errors"])
        .content_disposition(&format!("attachment; filename=\"{}\"", header.replace('"', "\\\"")))
        .content_type(&format!("text/csv;{header}"))
        .start();
    stand_in.next_api_error(503, json!({ "message": hostile_text }));
    let html = ResponseTemplate::new(200).insert_header("Content-Type", format!("text/html;{header}").as_str());
    stand_in.next_api_response(html.set_body_string(hostile_text));
    let (code, body) = (hostile_text.to_owned(), hostile_text.to_owned());
    stand_in.next_store_response(move |_, _| {
        respond(403, &[("ETag", "\"x\"")], format!("<Error><Code>{code}</Code>{body}").as_bytes())
    });
    github(&stand_in).input("poll-interval", "1ms").input("output-file", "out.env").run()
}

/// Ends with a hostile error message of the API.
fn refused(hostile_text: &str) -> Outcome {
    let stand_in = StandIn::start();
    let mut queued = run_json(hostile_text);
    queued["export_files"]["href"] = json!(hostile_text);
    stand_in.next_api_json(queued);
    stand_in.next_api_error(404, json!({ "errors": { hostile_text: [hostile_text] } }));
    github(&stand_in).input("poll-interval", "1ms").run()
}

/// Ends with a redirect to a hostile URL.
fn redirected(hostile_text: &str) -> Outcome {
    let stand_in = StandIn::with_file(b"x");
    let to = format!("https://{}/{}", for_header(hostile_text), for_header(hostile_text));
    stand_in.next_api_response(ResponseTemplate::new(307).insert_header("Location", to.as_str()));
    github(&stand_in).run()
}

/// Looks names up in lists of hostile ones, without a match.
fn not_found(hostile_text: &str) -> [Outcome; 3] {
    let stand_in = StandIn::start();
    let run = || github(&stand_in).input("poll-interval", "1ms");
    let exports = json!({ "exports": [export_json(7, hostile_text)] });
    let files = json!({ "export_files": [{ "id": 9, "export_id": 8, "status": hostile_text }] });
    stand_in.next_api_json(identities_of(hostile_text));
    let identity = run().by_names().input("identity", "unknown").run();
    stand_in.next_api_json(identities_of(hostile_text)).next_api_json(exports);
    let export = run().by_names().input("identity", "here").input("export-name", "nothing").run();
    stand_in.next_api_json(files);
    let latest = run().input("export-file-id", "latest").input("user-identity-id", "305").run();
    [identity, export, latest]
}

/// Looks several names up in a list of hostile ones, without a match.
fn not_found_at_once(hostile_text: &str) -> Outcome {
    let stand_in = StandIn::start();
    stand_in.next_api_json(identities_of(hostile_text));
    stand_in.next_api_json(json!({ "exports": [export_json(7, hostile_text), export_json(8, hostile_text)] }));
    github(&stand_in).by_names().input("identity", "here").input("export-name", "nothing\nnowhere").run()
}

/// Starts runs of three exports with hostile names. Two have files of the same hostile name, and the API refuses the third.
fn several(hostile_text: &str) -> Outcome {
    let header = for_header(hostile_text);
    let names = ["First", "Second", "Third"].map(|name| format!("{name} {hostile_text}"));
    let stand_in = names.iter().zip(1..).fold(StandIn::builder(), |builder, (name, id)| {
        builder.export(id, name, many_run_id(id), |run| {
            run.statuses(&[hostile_text, "Success With Errors"])
                .content_disposition(&format!("attachment; filename=\"{}\"", header.replace('"', "\\\"")))
                .content_type(&format!("text/csv;{header}"))
        })
    });
    let stand_in = stand_in.start();
    let refusal = json!({ "errors": { hostile_text: [hostile_text] } });
    stand_in.next_api_response_to("POST", "/exports/3/", ResponseTemplate::new(422).set_body_json(refusal));
    let body = hostile_text.to_owned();
    stand_in.next_store_response_of(many_run_id(2), move |_, _| {
        respond(503, &[], format!("<Error><Code>{body}</Code>").as_bytes())
    });

    let names = names.map(|name| sanitize::excerpt(&name)).join("\n");
    let step = github(&stand_in).by_names().input("export-name", &names).input("output-file", "out.env");
    let outcome = step.input("poll-interval", "1ms").run().exited(1);

    let files = outcome.output_files();
    let codes: Vec<_> = files.iter().map(|file| file["error"]["code"].as_u64()).collect();
    assert_eq!(codes, [None, Some(1), Some(1)], "{files:?}");
    let sections = outcome.summary.lines().filter_map(|line| line.strip_prefix("    section "));
    for (section, name) in sections.zip(["First", "Second"]) {
        let is_plain = |c: char| c.is_alphanumeric() || " -_.".contains(c);
        assert!(section.starts_with(name) && section.chars().all(is_plain), "{section}");
    }
    let labelled = outcome.stdout.lines().filter(|line| line.contains("started run ")).count();
    assert_eq!(labelled, 2, "{}", outcome.stdout);
    outcome
}

/// Starts runs of two exports whose names begin with hostile text, outside of GitHub. One fails, so stderr has a line about it.
fn several_in_shell(hostile_text: &str) -> Outcome {
    let start: String = hostile_text.chars().take(40).collect();
    let names = ["first", "second"].map(|name| format!("{start} {name}"));
    let builder = StandIn::builder().export(1, &names[0], many_run_id(1), |run| run);
    let stand_in = builder.export(2, &names[1], many_run_id(2), |run| run.statuses(&["Failed"])).start();

    let names = names.map(|name| sanitize::excerpt(&name)).join("\n");
    let step = shell(&stand_in).by_names().input("export-name", &names).input("poll-interval", "1ms");
    let outcome = step.run().exited(3).with_error("1 of 2 runs failed");
    assert!(outcome.error().contains("ended with status failed"), "{}", outcome.stderr);
    outcome
}

fn identities_of(hostile_text: &str) -> Value {
    json!({ "user_identities": [
        { "id": 5, "type": hostile_text, "association": hostile_text, "organization": hostile_text, "institution": "here", "cycle": hostile_text }
    ]})
}

/// Downloads a file whose identity, export and charset have hostile names.
fn selected(hostile_text: &str) -> Outcome {
    let stand_in = StandIn::builder().content_type(&format!("text/csv;charset={}", for_header(hostile_text))).start();
    let name = sanitize::excerpt(&format!("the {hostile_text}"));
    stand_in.next_api_json(identities_of(hostile_text));
    let exports = json!({ "exports": [export_json(EXPORT_ID, &format!("the {hostile_text}"))] });
    stand_in.next_api_json(exports);
    let step = github(&stand_in).by_names().input("identity", "HERE");
    step.input("export-file-id", &RUN_ID.to_string())
        .input("export-name", &name)
        .input("encoding", "utf-8")
        .run()
        .exited(0)
}

/// Lists hostile names.
fn listed(hostile_text: &str) -> [Outcome; 2] {
    let stand_in = StandIn::start();
    let list = |form: &str| {
        stand_in.next_api_json(identities_of(hostile_text));
        let exports = json!({ "exports": [export_json(7, hostile_text)] });
        stand_in.next_api_json(exports);
        shell(&stand_in).arg("list").arg(form).run().exited(0)
    };
    let [table, as_json] = [list(""), list("--json")];
    let value: Value = serde_json::from_str(&as_json.stdout).unwrap();
    assert_eq!(value["user_identities"][0]["exports"][0]["name"], hostile_text);
    [table, as_json]
}

pub(super) fn assert_harmless(outcome: &Outcome) {
    let allowed = ["add-mask", "warning", "error"];
    for name in runner::commands(&outcome.stdout).iter().chain(&runner::commands(&outcome.stderr)) {
        assert!(allowed.contains(&name.as_str()), "{name} in:\n{}", outcome.stdout);
    }
    let names = outputs::OUTPUTS.map(|output| output.name);
    assert!(outcome.outputs.keys().all(|name| names.contains(&name.as_str())), "{}", outcome.output_text);
    for line in outcome.output_text.lines().chain(outcome.stdout.lines()) {
        let is_short = line.chars().count() < 1500 || line.trim_start().starts_with("files=");
        assert!(!line.chars().any(sanitize::is_unprintable) && is_short, "{line:?}");
    }
    let paths = outcome.outputs.get("paths").map(String::as_str).unwrap_or_default();
    for line in outcome.output_text.lines() {
        // Several paths are between a line with the name and one with the delimiter.
        let is_path = line.starts_with("END") || paths.lines().any(|path| path == line);
        assert!(is_path || names.contains(&line.split(['=', '<']).next().unwrap()), "{}", outcome.output_text);
    }
    if let Some(path) = outcome.files().iter().find(|path| path.ends_with(".env")) {
        let text = String::from_utf8(outcome.read(path)).unwrap();
        assert!(text.lines().all(|line| line.starts_with("WEBADMIT_")), "{text}");
    }
    assert!(!outcome.summary.chars().any(|c| c != '\n' && sanitize::is_unprintable(c)), "{}", outcome.summary);
    if !outcome.summary.is_empty() {
        let files = outcome.output_files();
        // A batch has an entry for each of its files.
        let run =
            |file: &Value| ["export_file_id", "pdf_batch_id", "export_id", "name"].map(|key| file[key].to_string());
        let runs: BTreeSet<_> = files.iter().map(run).collect();
        assert_adds_no_markdown(&outcome.summary, runs.len());
    }
}

fn assert_all_harmless(hostile_text: &str) {
    for outcome in [downloaded(hostile_text), refused(hostile_text), redirected(hostile_text), selected(hostile_text)] {
        assert!(!outcome.summary.is_empty());
        assert_harmless(&outcome);
    }
    for outcome in not_found(hostile_text).into_iter().chain([not_found_at_once(hostile_text)]) {
        assert_eq!(outcome.status.code(), Some(5), "{}", outcome.stdout);
        assert_harmless(&outcome);
    }
    assert_harmless(&several(hostile_text));
    assert_harmless(&several_in_shell(hostile_text));
    listed(hostile_text).iter().for_each(assert_harmless);
}

/// Checks that the summary consists of a heading, one table, paragraphs and code blocks, whatever the servers sent. With several
/// runs, the table has a row for each, and the retries are a list.
fn assert_adds_no_markdown(summary: &str, runs: usize) {
    let (columns, max_lists) = if runs > 1 { (7, 1) } else { (2, 0) };
    let (mut headings, mut tables, mut rows, mut lists) = (0, 0, 0, 0);
    for event in Parser::new_ext(summary, Options::all()) {
        match event {
            Event::Start(Tag::Heading { .. }) => headings += 1,
            Event::Start(Tag::Table(table)) => {
                tables += 1;
                assert_eq!(table.len(), columns, "{summary}");
            }
            Event::Start(Tag::TableRow) => rows += 1,
            Event::Start(Tag::List(None)) => lists += 1,
            Event::Start(Tag::Item) if lists == 1 => {}
            Event::Start(Tag::Paragraph | Tag::CodeBlock(_) | Tag::TableHead | Tag::TableCell) => {}
            Event::Start(tag) => panic!("{tag:?} in:\n{summary}"),
            Event::InlineHtml(html) => {
                assert!(["<code>", "</code>", "<br>"].contains(&&*html), "{html} in:\n{summary}")
            }
            Event::Html(html) => panic!("{html} in:\n{summary}"),
            _ => {}
        }
    }
    assert_eq!((headings, tables), (1, 1), "{summary}");
    assert!(lists <= max_lists && (runs == 1 || rows == runs), "{summary}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(12), ..ProptestConfig::default() })]

    #[test]
    fn any_server_text_is_harmless(hostile_text in hostile()) {
        assert_all_harmless(&hostile_text);
    }
}

/// Returns the number of cases: the usual one, unless `PROPTEST_CASES` sets another.
pub(super) fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

#[test]
fn known_attacks_are_harmless() {
    for hostile_text in [
        "\n::error::x",
        "\r::error::x",
        "x\r\n  ::add-mask::y",
        "##[error]x ##vso[task.setvariable variable=x]y",
        "###[error]",
        "#\u{200b}#[error]",
        "#\u{feff}#[error]",
        "`|`|\\|<b>|",
        "```\n# x\n```",
        "a\\",
        "::error::",
        "%0A::error::x",
        "::stop-commands::x",
    ] {
        assert_all_harmless(hostile_text);
    }
}

#[test]
fn a_percent_encoded_file_name_is_harmless() {
    let stand_in = StandIn::builder()
        .content_disposition("attachment; filename*=UTF-8''%0A::error::a%23%23[b]`|c`.csv")
        .content_type("text/csv; x=##[error]y")
        .start();
    assert_harmless(&github(&stand_in).run().exited(0));
}

#[test]
fn a_long_message_is_cut() {
    let hostile = "x\r\n::error::y\r##[group]z\u{2028}##vso[task.complete]\u{202e} `|` </td> ".repeat(50);
    let outcome = refused(&hostile).exited(5);
    assert_harmless(&outcome);
    assert!(outcome.error().chars().count() < 1000, "{}", outcome.error());
}

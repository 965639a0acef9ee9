//! `webadmit-export list`.

use rustix::process::Signal;
use serde_json::{Value, json};
use webadmit_export::text::sanitize;
use wiremock::ResponseTemplate;

use crate::support::{
    API_KEY, Action, EXPORT_NAME, Server, StandIn, Step, export_json, github, identity_json, pdf_template_json, runner,
    shell, shell_at, with_growing_timeout,
};

fn list(stand_in: &StandIn) -> Step {
    Step::in_shell().input("base-url", &stand_in.api_url()).input("api-key", API_KEY).arg("list")
}

#[test]
fn the_table_shows_the_newest_cycle_first() {
    let stand_in = StandIn::start();
    stand_in.start_next_cycle();
    let outcome = list(&stand_in).run().exited(0);
    insta::assert_snapshot!(outcome.stdout, @r#"
    IDENTITY  ASSOCIATION  CYCLE        ORGANIZATION                  INSTITUTION      TYPE             INPUT
    340       SOPHAS       2027 - 2028  Demo School of Public Health  Demo University  Admissions User  identity: '"SOPHAS"'
    305       SOPHAS       2026 - 2027  Demo School of Public Health  Demo University  Admissions User  identity: '"SOPHAS" "2026 - 2027"'
    311       PharmCAS     2026 - 2027  Demo College of Pharmacy      Demo University  Admissions User  identity: '"PharmCAS"'
    290       SOPHAS       2025 - 2026  Demo School of Public Health  Demo University  Admissions User  identity: '"SOPHAS" "2025 - 2026"'

    EXPORT  IDENTITY  NAME                    FORMAT                  APPLICANTS
    91203   340       Nightly Applicants      Comma-Separated Values  all
    91204   340       Interviews of the Week  Comma-Separated Values  all
    86446   305       Nightly Applicants      Comma-Separated Values  all
    86447   305       Interviews of the Week  Comma-Separated Values  all
    95001   311       Pharmacy Applicants     Comma-Separated Values  all
    80112   290       Nightly Applicants      Comma-Separated Values  all
    80113   290       Interviews of the Week  Comma-Separated Values  all

    PDF TEMPLATE  IDENTITY  NAME                        DOCUMENT          APPLICANTS
    2             305       Accepted Offers for Review  Full Application  Accepted Offers
    "#);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn lists_the_others_if_the_exports_of_one_identity_are_forbidden() {
    let stand_in = StandIn::start();
    let list = |form| {
        let identities =
            json!({ "user_identities": [identity_json(7, "CASPA", "x", "2030"), identity_json(305, "", "", "")] });
        stand_in.next_api_json(identities).next_api_status(403);
        list(&stand_in).arg(form).run().exited(0)
    };
    let table = list("");
    assert!(table.stderr.contains("cannot list the exports of identity 7: "), "{}", table.stderr);
    assert!(table.stdout.contains("\n86446   305       Nightly Applicants"), "{}", table.stdout);
    let value: Value = serde_json::from_str(&list("--json").stdout).unwrap();
    assert_eq!(value["user_identities"][0]["exports"], Value::Null);
    assert_eq!(value["user_identities"][1]["exports"][0]["id"], 86446);
}

/// Sends the identities 305, 311 and 290 next, so that the following responses are for their exports.
fn with_identities(stand_in: &StandIn) -> &StandIn {
    stand_in.next_api_json(stand_in.identities_json())
}

#[test]
fn prints_the_rest_if_some_exports_cannot_be_listed() {
    let stand_in = StandIn::start();
    let list = |form| list(&stand_in).input("poll-interval", "1ms").arg(form);
    let fail = |times| {
        for _ in 0..times {
            stand_in.next_api_status(500);
        }
    };
    with_identities(&stand_in);
    fail(4);
    let outcome = list("").run().exited(1);
    assert_eq!(stand_in.api_requests().len(), 1 + 4 + 2 + 3, "four attempts for one identity");
    insta::assert_snapshot!(outcome.stdout, @r#"
    IDENTITY  ASSOCIATION  CYCLE        ORGANIZATION                  INSTITUTION      TYPE             INPUT
    305       SOPHAS       2026 - 2027  Demo School of Public Health  Demo University  Admissions User  identity: '"SOPHAS"'
    311       PharmCAS     2026 - 2027  Demo College of Pharmacy      Demo University  Admissions User  identity: '"PharmCAS"'
    290       SOPHAS       2025 - 2026  Demo School of Public Health  Demo University  Admissions User  identity: '"SOPHAS" "2025 - 2026"'

    EXPORT  IDENTITY  NAME                    FORMAT                  APPLICANTS
    95001   311       Pharmacy Applicants     Comma-Separated Values  all
    80112   290       Nightly Applicants      Comma-Separated Values  all
    80113   290       Interviews of the Week  Comma-Separated Values  all

    PDF TEMPLATE  IDENTITY  NAME                        DOCUMENT          APPLICANTS
    2             305       Accepted Offers for Review  Full Application  Accepted Offers
    "#);
    for words in [
        "cannot list the exports of identity 305: 127.0.0.1:",
        "responded 500 (Internal Server Error) (4 attempts in ",
        "\nerror: the list is incomplete: the exports of identity 305 are missing: 127.0.0.1:",
        "\nhint: ",
    ] {
        assert!(outcome.stderr.contains(words), "{words}: {}", outcome.stderr);
    }
    // Several, and in JSON. 422 is not retried.
    with_identities(&stand_in);
    fail(4);
    stand_in.next_api_status(422);
    let outcome = list("--json").run().exited(1);
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let exports = |index: usize| &value["user_identities"][index]["exports"];
    assert_eq!((exports(0), exports(1), &exports(2)[0]["id"]), (&Value::Null, &Value::Null, &json!(80112)));
    assert!(outcome.stderr.contains("the exports of identities 305 and 311 are missing: "), "{}", outcome.stderr);
    assert_eq!(stand_in.api_requests().len(), 10 + 1 + 4 + 1 + 1 + 3);
    // After an error that is recovered from, the list is complete.
    with_identities(&stand_in);
    fail(3);
    assert!(list("").run().exited(0).stdout.contains("\n86446   305       Nightly Applicants"));
}

/// Sends the identities 305 and 290 next, and their exports, so that the following responses are for their PDF templates.
fn with_exports(stand_in: &StandIn) -> &StandIn {
    let identities = [identity_json(305, "SOPHAS", "x", "2026"), identity_json(290, "SOPHAS", "x", "2025")];
    stand_in.next_api_json(json!({ "user_identities": identities }));
    let exports = json!({ "exports": [export_json(86446, EXPORT_NAME)] });
    stand_in.next_api_json(exports).next_api_json(json!({ "exports": [] }))
}

#[test]
fn shows_the_pdf_templates_after_the_exports() {
    let stand_in = StandIn::start();
    let templates = [pdf_template_json(2, "Accepted Offers for Review"), pdf_template_json(17, "Interviews")];
    let list = |form| {
        with_exports(&stand_in).next_api_json(json!({ "pdf_manager_templates": templates }));
        stand_in.next_api_json(json!({ "pdf_manager_templates": [] }));
        let outcome = list(&stand_in).arg(form).run().exited(0);
        assert_eq!(outcome.stderr, "");
        outcome.stdout
    };
    insta::assert_snapshot!(list(""), @r#"
    IDENTITY  ASSOCIATION  CYCLE  ORGANIZATION  INSTITUTION      TYPE             INPUT
    305       SOPHAS       2026   x             Demo University  Admissions User  identity: '"SOPHAS"'
    290       SOPHAS       2025   x             Demo University  Admissions User  identity: '"SOPHAS" "2025"'

    EXPORT  IDENTITY  NAME                FORMAT                  APPLICANTS
    86446   305       Nightly Applicants  Comma-Separated Values  all

    PDF TEMPLATE  IDENTITY  NAME                        DOCUMENT          APPLICANTS
    2             305       Accepted Offers for Review  Full Application  Accepted Offers
    17            305       Interviews                  Full Application  Accepted Offers
    "#);
    let requests = stand_in.api_requests();
    let paths: Vec<&str> = requests.iter().map(|request| request.url.path()).collect();
    let path = |identity, list| format!("/api/v1/user_identities/{identity}/{list}");
    let lists = ["exports", "pdf_manager_templates"];
    assert_eq!(paths[1..], lists.iter().flat_map(|list| [path(305, list), path(290, list)]).collect::<Vec<_>>());

    let value: Value = serde_json::from_str(&list("--json")).unwrap();
    let first = &value["user_identities"][0]["pdf_templates"][0];
    let template = json!({
        "id": 2,
        "name": "Accepted Offers for Review",
        "list_name": "Accepted Offers",
        "document_source_title": "Full Application",
    });
    assert_eq!((first, &value["user_identities"][0]["pdf_templates"][1]["id"]), (&template, &json!(17)));
    assert_eq!(value["user_identities"][1]["pdf_templates"], json!([]));
}

#[test]
fn names_the_identities_without_pdf_manager_in_one_line() {
    let stand_in = StandIn::start();
    let list = |form| list(&stand_in).arg(form).run().exited(0);
    for (status, reason) in [(403, "403 (Forbidden)"), (404, "404 (Not Found)")] {
        with_exports(&stand_in).next_api_status(status).next_api_status(status);
        let outcome = list("");
        let host = stand_in.api_url().trim_start_matches("http://").to_owned();
        let words = format!("PDF Manager is not available for identities 305 and 290: {host} responded {reason}\n");
        assert!(outcome.stderr.ends_with(&words) && outcome.stderr.lines().count() == 1, "{}", outcome.stderr);
        assert!(outcome.stdout.contains("\n86446 ") && !outcome.stdout.contains("TEMPLATE"), "{}", outcome.stdout);
    }
    let one = || {
        with_exports(&stand_in).next_api_status(404);
        stand_in.next_api_json(json!({ "pdf_manager_templates": [] }))
    };
    one();
    let outcome = list("");
    assert!(outcome.stderr.contains(" not available for identity 305: "), "{}", outcome.stderr);
    assert!(outcome.stdout.ends_with("\n\nPDF TEMPLATE  IDENTITY  NAME  DOCUMENT  APPLICANTS\n"), "{}", outcome.stdout);
    one();
    let value: Value = serde_json::from_str(&list("--json").stdout).unwrap();
    assert_eq!(value["user_identities"][0]["pdf_templates"], Value::Null);
    assert_eq!(value["user_identities"][1]["pdf_templates"], json!([]));
}

#[test]
fn prints_the_rest_if_some_pdf_templates_cannot_be_listed() {
    let stand_in = StandIn::start();
    with_exports(&stand_in);
    for _ in 0..4 {
        stand_in.next_api_status(500);
    }
    stand_in.next_api_json(json!({ "pdf_manager_templates": [pdf_template_json(17, "Interviews")] }));
    let outcome = list(&stand_in).input("poll-interval", "1ms").run().exited(1);
    assert!(outcome.stdout.contains("\n86446 ") && outcome.stdout.contains("\n17 "), "{}", outcome.stdout);
    for words in [
        "cannot list the PDF templates of identity 305: 127.0.0.1:",
        "responded 500 (Internal Server Error) (4 attempts in ",
        "\nerror: the list is incomplete: the PDF templates of identity 305 are missing: 127.0.0.1:",
    ] {
        assert!(outcome.stderr.contains(words), "{words}: {}", outcome.stderr);
    }
    assert_eq!(stand_in.api_requests().len(), 1 + 2 + 4 + 1);

    with_exports(&stand_in).next_api_status(401).next_api_json(json!({ "pdf_manager_templates": [] }));
    let outcome = list(&stand_in).run().exited(0);
    let words = "cannot list the PDF templates of identity 305: ";
    assert!(outcome.stderr.contains(words) && !outcome.stderr.contains("PDF Manager"), "{}", outcome.stderr);
}

#[test]
fn prints_what_it_has_at_the_timeout() {
    let silent = ResponseTemplate::new(200).set_delay(std::time::Duration::from_secs(60));
    let mut requests = 0;
    let outcome = with_growing_timeout(
        |timeout| {
            let stand_in = StandIn::start();
            let exports = stand_in.exports_json();
            with_identities(&stand_in).next_api_json(exports).next_api_response(silent.clone());
            let outcome = list(&stand_in).input("timeout", timeout).run().exited(4);
            requests = stand_in.api_requests().len();
            outcome
        },
        |outcome| outcome.stdout.contains("\n86446   305 "),
    );
    assert!(
        outcome.stdout.contains("\n290       SOPHAS ") && outcome.stdout.contains("\n86446   305 "),
        "{}",
        outcome.stdout
    );
    let words = "the list is incomplete: the exports of identities 311 and 290 and the PDF templates of identities 305, 311 and 290 are missing: timed out after ";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    assert_eq!(requests, 3, "no request is sent after the timeout");
    let stand_in = StandIn::start();
    // A Retry-After beyond the timeout ends the list, too.
    with_identities(&stand_in).next_api_response(ResponseTemplate::new(429).insert_header("Retry-After", "7200"));
    let outcome = list(&stand_in).run().exited(4);
    for words in [
        "the exports of identities 305, 311 and 290 and the PDF templates of identities 305, 311 and 290 are missing: ",
        "after 2 h (Retry-After), but the step times out before that (timeout: 1 h)",
        "\n305 ",
    ] {
        assert!(outcome.stderr.contains(words) || outcome.stdout.contains(words), "{words}: {}", outcome.stderr);
    }
    assert_eq!(stand_in.api_requests().len(), 2);
}

#[test]
fn reports_a_key_without_identities() {
    let stand_in = StandIn::start();
    for form in ["", "--json"] {
        stand_in.next_api_json(json!({ "user_identities": [] }));
        let outcome = list(&stand_in).arg(form).run().exited(0);
        assert!(outcome.stderr.contains("this key has no identities; "), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("the permission API Access"), "{}", outcome.stderr);
        let is_empty = |value: Value| value["user_identities"] == json!([]);
        assert!(form.is_empty() || is_empty(serde_json::from_str(&outcome.stdout).unwrap()), "{}", outcome.stdout);
    }
    assert!(!list(&stand_in).run().exited(0).stderr.contains("no identities"));
}

#[test]
fn prints_only_json_to_stdout() {
    let stand_in = StandIn::start();
    stand_in.next_api_status(503);
    for arguments in [["--json", ""], ["", "--json"]] {
        let run = arguments.iter().fold(list(&stand_in), |run, argument| run.arg(argument));
        let outcome = run.input("poll-interval", "1ms").run().exited(0);
        let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let identities = value["user_identities"].as_array().unwrap();
        let ids: Vec<_> = identities.iter().map(|identity| identity["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, [305, 311, 290]);
        assert_eq!(identities[0]["association"], "SOPHAS");
        assert_eq!(
            identities[0]["exports"][0],
            json!({
                "id": 86446,
                "name": EXPORT_NAME,
                "list_type": "all",
                "format": "Comma-Separated Values",
                "mime_type": "text/csv;charset=iso-8859-1",
            })
        );
    }
}

#[test]
fn names_are_found_as_the_list_shows_them() {
    let names = ["Paid?=Yes", "Paid?=No", "Ratio 1:2 a=b?", "100%3Fx%3Dy", "Program #[1] ##vso[x] “all”"];
    let stand_in = StandIn::start();
    let lists = || {
        let exports: Vec<Value> = names.iter().zip(1..).map(|(name, id)| export_json(id, name)).collect();
        let identity = identity_json(305, "SOPHAS", "Paid?=Yes", "2026");
        stand_in.next_api_json(json!({ "user_identities": [identity] }));
        stand_in.next_api_json(json!({ "exports": exports }));
    };
    lists();
    let table = list(&stand_in).run().exited(0).stdout;
    assert!(table.contains("  Paid?=Yes     Demo University"), "{table}");
    lists();
    let as_json = list(&stand_in).arg("--json").run().exited(0).stdout;
    let value: Value = serde_json::from_str(&as_json).unwrap();
    let exports = value["user_identities"][0]["exports"].as_array().unwrap();
    for (name, (export, id)) in names.iter().zip(exports.iter().zip(1..)) {
        assert_eq!((export["name"].as_str(), export["id"].as_u64()), (Some(*name), Some(id)));
        let shown = sanitize::excerpt(name);
        assert!(table.contains(&format!("\n{id}       305       {shown}  ")), "{shown}: {table}");
        for name in [name, shown.as_str()] {
            lists();
            let step = shell(&stand_in).by_names().input("export-name", name);
            let outcome = step.input("export-file-id", "1").run();
            assert!(outcome.stdout.contains(&format!("export: {id}, {shown}\n")), "{name}: {}", outcome.stdout);
        }
    }
    lists();
    let step = shell(&stand_in).by_names().input("export-name", "Paid");
    step.run().exited(5).with_error("\n  1  Paid?=Yes\n").with_error("\n  2  Paid?=No\n");
}

#[test]
fn json_has_every_name_unchanged_and_no_runner_command() {
    let long = "a long name ".repeat(100);
    let names = [
        "##[error]x ##vso[task.complete]y ###[z] # [a]",
        "\n::error::x\r\u{85}\u{2028}\u{2029}\u{0}\u{1b}[31m\u{7f}\u{feff}",
        "\u{202e}\u{2066}\u{200e}\u{61c}",
        "  two  spaces\tand \\ \"quotes\" \\#[x] ",
        "see https://demo.example/list?page=1&design=2 and Paid?=Yes",
        &long,
    ];
    let stand_in = StandIn::start();
    let exports: Vec<Value> = names.iter().zip(1..).map(|(name, id)| export_json(id, name)).collect();
    let mut identity = identity_json(305, "SOPHAS", names[0], names[1]);
    identity["institution"] = json!(names[2]);
    let templates: Vec<Value> = names.iter().zip(1..).map(|(name, id)| pdf_template_json(id, name)).collect();
    let lists = || {
        stand_in.next_api_json(json!({ "user_identities": [identity] })).next_api_json(json!({ "exports": exports }));
        stand_in.next_api_json(json!({ "pdf_manager_templates": templates }));
    };
    lists();
    let outcome = list(&stand_in).run().exited(0);
    assert_eq!(runner::commands(&outcome.stdout), [""; 0], "{}", outcome.stdout);
    assert_eq!(outcome.stdout.matches("see https://demo.example/list?").count(), 2, "{}", outcome.stdout);
    lists();
    let outcome = list(&stand_in).arg("--json").run().exited(0);
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let identity = &value["user_identities"][0];
    for entries in [&identity["exports"], &identity["pdf_templates"]] {
        assert!(entries.as_array().unwrap().iter().map(|entry| &entry["name"]).eq(&names), "{entries}");
    }
    for (field, name) in [("organization", names[0]), ("cycle", names[1]), ("institution", names[2])] {
        assert_eq!(identity[field], name);
    }
    assert_eq!(runner::commands(&outcome.stdout), [""; 0], "{}", outcome.stdout);
    assert!(!outcome.stdout.chars().any(|c| c != '\n' && sanitize::is_unprintable(c)), "{:?}", outcome.stdout);
    assert!(
        outcome.stdout.contains("#\\u0023[error]x #\\u0023vso[task.complete]y ##\\u0023[z] # [a]"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn redacts_signatures_in_names() {
    let stand_in = StandIn::start();
    let name = "a X-Amz-Signature=0123abcd&x=y b AWSAccessKeyId%3DAKIDMADEUP%26x c sig=short";
    for (form, shown) in [
        ("", "a X-Amz-Signature=***&x=y b AWSAccessKeyId%3D***%26x c sig=***"),
        ("--json", "\"a X-Amz-Signature=***&x=y b AWSAccessKeyId%3D***%26x c sig=***\""),
    ] {
        let identity = identity_json(305, "SOPHAS", "x", "2026");
        stand_in.next_api_json(json!({ "user_identities": [identity] }));
        stand_in.next_api_json(json!({ "exports": [export_json(1, name)] }));
        stand_in.next_api_json(json!({ "pdf_manager_templates": [pdf_template_json(2, name)] }));
        let outcome = list(&stand_in).arg(form).run().exited(0);
        assert_eq!(outcome.stdout.matches(shown).count(), 2, "{}", outcome.stdout);
    }
}

#[test]
fn validates_only_the_inputs_of_the_api() {
    let stand_in = StandIn::start();
    list(&stand_in).input("export-file-id", "nonsense").input("directory", "../out").run().exited(0);
    let outcome = list(&stand_in).input("api-key", "").input("timeout", "never").input("fail-on", "x").run().exited(2);
    let outcome = outcome.with_error("2 invalid inputs").with_error("api-key: missing").with_error("timeout: `never`");
    assert_eq!(outcome.stdout, "");
    list(&stand_in)
        .input("ca-file", "none.pem")
        .run()
        .exited(2)
        .with_error("ca-file: `none.pem` is not a readable file");
}

#[test]
fn a_refusal_a_timeout_and_a_signal_have_their_exit_codes() {
    let stand_in = StandIn::start();
    let outcome = list(&stand_in).input("api-key", "another").run().exited(5);
    let outcome = outcome.with_error("cannot list identities, exports and PDF templates: ").with_error("check api-key");
    assert!(!outcome.error().contains("saved") && outcome.stdout.is_empty(), "{}", outcome.stderr);
    let silent = || Server::start(|_| vec![Action::Hang]);
    let waiting = |api: &Server| shell_at(&api.url()).arg("list");
    waiting(&silent()).input("timeout", "200ms").run().exited(4).with_error("timed out after 200 ms");
    let api = silent();
    let running = waiting(&api).spawn();
    api.wait_for_requests(1);
    running.signal(Signal::INT);
    running.wait().exited(130).with_error("interrupted by SIGINT");
}

#[test]
fn prints_only_the_list_to_stdout_on_github() {
    let stand_in = StandIn::start();
    let step = github(&stand_in).arg("list").arg("--json");
    let outcome = step.run();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stdout);
    assert!(serde_json::from_str::<Value>(&outcome.stdout).is_ok(), "{}", outcome.stdout);
    assert_eq!((outcome.output_text.as_str(), outcome.summary.as_str()), ("", ""));
}

#[test]
fn rejects_unknown_arguments() {
    let stand_in = StandIn::start();
    list(&stand_in).arg("--yaml").run().exited(2).with_error("unexpected argument --yaml");
    let alone = Step::in_shell().arg("--json").run().exited(2);
    alone.with_error("unexpected argument --json; use one of check, list, list --json, --help and --version");
    list(&stand_in).arg("--json").arg("x").run().exited(2).with_error("unexpected argument x;");
    for arguments in [&["--help"][..], &["--json", "-h"]] {
        let step = arguments.iter().fold(list(&stand_in), |step, argument| step.arg(argument));
        assert!(step.run().exited(0).stdout.contains("Usage:"));
    }
}

#[test]
fn warns_about_an_unknown_input() {
    let stand_in = StandIn::start();
    let outcome = list(&stand_in).input("base-uri", "https://prelaunch.webadmit.org").run().exited(0);
    assert!(
        outcome.stderr.contains("unknown input INPUT_BASE_URI ignored; did you mean base-url?"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_failed_write_of_the_list_is_an_error() {
    let stand_in = StandIn::start();
    let written_to =
        |target: &str, run: Step| run.wrapped_in(&["bash", "-c", &format!("exec \"$0\" \"$@\" {target}")]).run();
    for form in ["", "--json"] {
        let outcome = written_to(">/dev/full", list(&stand_in).arg(form)).exited(1);
        outcome.with_error("cannot write to stdout: No space left on device");
    }
    let help = written_to(">/dev/full", Step::in_shell().arg("--help")).exited(1);
    help.with_error("cannot write to stdout: No space left on device");
    // A reader that closes the pipe is not an error.
    let outcome = written_to("> >(exec true)", list(&stand_in)).exited(0);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn a_signal_ends_a_list_without_a_reader() {
    let stand_in = StandIn::start();
    let identities = [identity_json(305, "SOPHAS", "x", "2026"), identity_json(7, "CASPA", "x", "2025")];
    let many: Vec<Value> = (1..=5000).map(|id| export_json(id, "more than fits into a pipe")).collect();
    stand_in.next_api_json(json!({ "user_identities": identities }));
    stand_in.next_api_json(json!({ "exports": many }));
    stand_in.next_api_status(403);
    let nobody_reads = "mkfifo list && exec 3<>list && exec \"$0\" \"$@\" >list";
    let running = list(&stand_in).wrapped_in(&["bash", "-c", nobody_reads]).spawn();
    running.wait_for_stderr("cannot list the exports of identity 7");
    running.signal(Signal::TERM);
    let outcome = running.wait().exited(143);
    assert!(
        outcome.stderr.contains("\nerror: cannot list identities, exports and PDF templates: interrupted by SIGTERM"),
        "{}",
        outcome.stderr
    );
}

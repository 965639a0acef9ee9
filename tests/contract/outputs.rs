//! The section "Outputs".

use std::fs;

use crate::program;
use crate::support::stand_in::{EXPORT, KEY, RUN};
use crate::support::{Authority, Course, Run, StandIn, UNKNOWN_HOST};

#[test]
fn the_outputs_are_appended_to_what_stands_there() {
    let stand_in = StandIn::start();
    let run = Run::on_github(program()).against(&stand_in);
    let file = run.workspace().parent().unwrap().join("outputs");
    fs::write(&file, "earlier<<END\na\nb\nEND\nopen=line").unwrap();
    let ended = run.run().exited(0);
    let names: Vec<_> = ended.outputs.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "content-type",
            "earlier",
            "export-file-id",
            "export-id",
            "filename",
            "open",
            "path",
            "sha256",
            "size",
            "source-sha256",
            "status"
        ]
    );
    assert_eq!((ended.outputs["open"].as_str(), ended.outputs["earlier"].as_str()), ("line", "a\nb"));
    assert_eq!(ended.outputs["content-type"], "text/csv;charset=iso-8859-1");
    assert_eq!(ended.outputs["size"], stand_in.file().len().to_string());
}

#[test]
fn the_outputs_are_in_the_log_too() {
    let stand_in = StandIn::start();
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    for (name, value) in &ended.outputs {
        assert!(ended.stdout.contains(&format!("\n  {name}={value}\n")), "{name}: {}", ended.stdout);
    }
}

#[test]
fn the_output_file_has_one_plain_line_for_each_output() {
    let stand_in = StandIn::builder().disposition("attachment; filename=two words.csv").start();
    let run =
        Run::in_shell(program()).against(&stand_in).file_before("reports/out.env", b"WEBADMIT_PATH=stale\nmore\n");
    let ended = run.input("output-file", "reports/out.env").run().exited(0);
    let text = String::from_utf8(ended.read("reports/out.env")).unwrap();
    let (sha256, size) = (text.split("WEBADMIT_SHA256=").nth(1).unwrap()[..64].to_owned(), stand_in.file().len());
    assert_eq!(
        text,
        format!(
            "WEBADMIT_STATUS=available\nWEBADMIT_EXPORT_ID={EXPORT}\nWEBADMIT_EXPORT_FILE_ID={RUN}\nWEBADMIT_PATH=two words.csv\n\
             WEBADMIT_FILENAME=two words.csv\nWEBADMIT_SIZE={size}\nWEBADMIT_SHA256={sha256}\n\
             WEBADMIT_SOURCE_SHA256={sha256}\n\
             WEBADMIT_CONTENT_TYPE=text/csv;charset=iso-8859-1\n"
        )
    );
}

#[test]
fn a_failure_has_outputs_too() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Queued", "Failed"])).start();
    let ended = Run::on_github(program()).against(&stand_in).input("output-file", "out.env").run().exited(3);
    assert_eq!(ended.output_text, format!("status=failed\nexport-id={EXPORT}\nexport-file-id={RUN}\n"));
    let lines = format!("WEBADMIT_STATUS=failed\nWEBADMIT_EXPORT_ID={EXPORT}\nWEBADMIT_EXPORT_FILE_ID={RUN}\n");
    assert_eq!(ended.read("out.env"), lines.as_bytes());
}

#[test]
fn a_content_type_that_the_server_does_not_name_is_no_output() {
    let stand_in = StandIn::builder().content_type("").start();
    assert!(!Run::on_github(program()).against(&stand_in).run().exited(0).outputs.contains_key("content-type"));
}

#[test]
fn outputs_that_cannot_be_written_are_found_out_before_the_first_call() {
    let stand_in = StandIn::start();
    let run = || Run::on_github(program()).against(&stand_in);
    run()
        .env("GITHUB_OUTPUT", "/no/such/file")
        .run()
        .exited(1)
        .failing_with("GITHUB_OUTPUT (/no/such/file) cannot be written");
    run()
        .file_before("taken/x", b"")
        .input("output-file", "taken")
        .run()
        .exited(1)
        .failing_with("the output-file taken cannot be written");
    let same = run().input("output-file", "./a.csv").input("filename", "a.csv").run().exited(2);
    same.failing_with("output-file: `a.csv` is the path of the export file too");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn the_export_file_never_takes_the_place_of_the_output_file() {
    let stand_in = StandIn::builder().disposition("attachment; filename=out.env").start();
    let ended = Run::on_github(program()).against(&stand_in).input("output-file", "out.env").run().exited(1);
    let lines = format!("WEBADMIT_STATUS=available\nWEBADMIT_EXPORT_ID={EXPORT}\nWEBADMIT_EXPORT_FILE_ID={RUN}\n");
    assert_eq!(ended.read("out.env"), lines.as_bytes());
}

#[test]
fn outputs_of_an_earlier_step_are_gone_however_this_one_ends() {
    let stand_in = StandIn::start();
    let run = || Run::in_shell(program()).against(&stand_in).input("output-file", "out.env");
    let run = || run().file_before("out.env", b"WEBADMIT_PATH=exports/old.csv\n");
    for (name, value, code) in [("export-id", "", 2), ("timeout", "never", 2), ("api-key", "another", 5)] {
        let ended = run().input(name, value).run().exited(code);
        assert!(!String::from_utf8(ended.read("out.env")).unwrap().contains("old.csv"), "{name}");
    }
    for (name, value) in [("SSL_CERT_FILE", "none.pem"), ("GITHUB_OUTPUT", "/no/such/file")] {
        let ended = run().input("base-url", &format!("https://{UNKNOWN_HOST}")).env(name, value).run().exited(1);
        assert!(ended.read("out.env").is_empty(), "{name}");
    }
    let misled = run().input("output-file", "../out.env").run().exited(2);
    assert!(!misled.read("out.env").is_empty());
}

#[test]
fn a_file_that_is_something_else_is_never_emptied_for_outputs() {
    let authority = Authority::new();
    let stand_in = StandIn::start();
    let run = || Run::in_shell(program()).against(&stand_in).file_before("exports/older.csv", b"older");
    for path in ["exports/older.csv", "exports/../exports/older.csv", "./exports//older.csv"] {
        let run = run().input("output-file", path).input("directory", "exports").input("filename", "older.csv");
        let ended =
            run.run().exited(2).failing_with("output-file: `exports/older.csv` is the path of the export file too");
        assert_eq!(ended.read("exports/older.csv"), b"older", "{path}");
    }
    let run = run().file_before("ca.pem", authority.pem().as_bytes()).input("ca-file", "ca.pem");
    let ended =
        run.input("output-file", "./ca.pem").run().exited(2).failing_with("output-file: `ca.pem` is the ca-file too");
    assert_eq!(ended.read("ca.pem"), authority.pem().as_bytes());
}

#[test]
fn files_of_the_runner_that_are_not_there_yet_are_made() {
    let stand_in = StandIn::start();
    let run = Run::on_github(program()).against(&stand_in);
    let beside = |name: &str| run.workspace().parent().unwrap().join(name);
    let (outputs, summary) = (beside("new-outputs"), beside("new-summary.md"));
    let ended = run.env("GITHUB_OUTPUT", outputs).env("GITHUB_STEP_SUMMARY", summary).run().exited(0);
    assert_eq!(ended.outputs["status"], "available");
    assert!(ended.summary.starts_with("### WebAdMIT export: "), "{}", ended.summary);
}

#[test]
fn a_pipe_that_nobody_reads_is_not_waited_for() {
    let stand_in = StandIn::start();
    let piped = |name: &str| {
        let run = Run::in_shell(program()).against(&stand_in);
        run.wrapped(&["bash", "-c", &format!("mkfifo {name}; exec \"$0\"")])
    };
    piped("out.env")
        .input("output-file", "out.env")
        .run()
        .exited(1)
        .failing_with("the output-file out.env cannot be written");
    piped("ca.pem").input("ca-file", "ca.pem").run().exited(2).failing_with("ca-file: `ca.pem` is not a file");
    let summary = piped("summary").env("GITHUB_STEP_SUMMARY", "summary").run().exited(0);
    assert!(summary.stdout.contains("the step summary cannot be written: "), "{}", summary.stdout);
}

#[test]
fn outputs_that_do_not_arrive_fail_the_step() {
    let stand_in = StandIn::start();
    let to_a_full_disk = Run::on_github(program()).against(&stand_in).input("output-file", "/dev/full");
    to_a_full_disk
        .run()
        .exited(1)
        .failing_with("the outputs cannot be written to the output-file: No space left on device");
    let ended = Run::on_github(program()).against(&stand_in).env("GITHUB_OUTPUT", "/dev/full").run().exited(1);
    ended.failing_with("the outputs cannot be written to GITHUB_OUTPUT").failing_with("its file is saved as");
}

#[test]
fn the_summary_tells_what_was_asked_and_what_came() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Queued", "In Progress", "Available"])).start();
    let ended = Run::on_github(program()).against(&stand_in).input("directory", "exports").run().exited(0);
    let sha256 = &ended.outputs["sha256"];
    for part in [
        "### WebAdMIT export: ✅ `exports/Test-API-Export.csv` is here",
        "| Export | 86446 |",
        "| Run | 74780 |",
        &format!("| SHA-256 | `{sha256}` |"),
        "```mermaid\ngantt\n",
        "    queued :done, ",
        "    in_progress :done, ",
        "    available :milestone, ",
    ] {
        assert!(ended.summary.contains(part), "{part} is not in:\n{}", ended.summary);
    }
    let at_once = Run::on_github(program()).against(&StandIn::start()).run().exited(0);
    assert!(!at_once.summary.contains("mermaid"), "{}", at_once.summary);
}

#[test]
fn the_summary_of_a_failure_has_the_error() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Failed"])).start();
    let ended = Run::on_github(program()).against(&stand_in).run().exited(3);
    assert!(ended.summary.starts_with("### WebAdMIT export: ❌ No file was saved\n"), "{}", ended.summary);
    assert!(ended.summary.contains(&ended.failure()), "{}", ended.summary);
}

#[test]
fn a_summary_that_cannot_be_written_fails_nothing() {
    let stand_in = StandIn::start();
    Run::on_github(program()).against(&stand_in).env("GITHUB_STEP_SUMMARY", "/no/such/file").run().exited(0);
}

#[test]
fn workflow_commands_are_written_on_github_only() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Strange", "Failed"])).start();
    let github = Run::on_github(program()).against(&stand_in).run().exited(3);
    assert!(github.stdout.starts_with(&format!("::add-mask::{KEY}\n")), "{}", github.stdout);
    assert_eq!(github.stdout.matches("::error ").count(), 1);
    assert_eq!(github.stderr, "");

    let stand_in = StandIn::builder().course(Course::by_checks(&["Strange", "Failed"])).start();
    let shell = Run::in_shell(program()).against(&stand_in).run().exited(3);
    assert!(!shell.stdout.contains("::") && !shell.stdout.contains(KEY), "{}", shell.stdout);
    assert!(
        shell.stderr.starts_with("error: run 74780 of export 86446 ended as failed; nothing was saved"),
        "{}",
        shell.stderr
    );
    let not_true = Run::in_shell(program()).against(&stand_in).env("GITHUB_ACTIONS", "yes").run().exited(3);
    assert!(!not_true.stdout.contains("::"), "{}", not_true.stdout);
}

#[test]
fn on_azure_the_outputs_are_variables_for_the_following_steps() {
    let stand_in = StandIn::builder().disposition("attachment; filename=\"100 % sure.csv\"").start();
    let ended = Run::in_shell(program()).against(&stand_in).env("TF_BUILD", "True").run().exited(0);
    for line in [
        "##vso[task.setvariable variable=WEBADMIT_STATUS;isOutput=true]available\n",
        "##vso[task.setvariable variable=WEBADMIT_PATH;isOutput=true]100 %AZP25 sure.csv\n",
        "##vso[task.setvariable variable=WEBADMIT_CONTENT_TYPE;isOutput=true]text/csv;charset=iso-8859-1\n",
    ] {
        assert!(ended.stdout.contains(line), "{line}: {}", ended.stdout);
    }
    for (variable, value) in [("TF_BUILD", ""), ("GITHUB_ACTIONS", "true")] {
        let run = Run::in_shell(program()).against(&stand_in).env("TF_BUILD", "True").env(variable, value);
        assert!(!run.run().exited(0).stdout.contains("##vso["));
    }
    let stand_in = StandIn::builder().course(Course::by_checks(&["Failed"])).start();
    let ended = Run::in_shell(program()).against(&stand_in).env("TF_BUILD", "True").run().exited(3);
    assert!(ended.stdout.contains("variable=WEBADMIT_STATUS;isOutput=true]failed\n"), "{}", ended.stdout);
    assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
}

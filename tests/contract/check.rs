//! `command: check` verifies what it can without starting a run, and `command: list` prints the list.

use crate::support::{
    API_KEY, EXPORT_ID, EXPORT_NAME, FILENAME, IDENTITY_ID, PDF_BATCH_ID, PDF_TEMPLATE_NAME, RUN_ID, StandIn, Step,
    export_json, exports_json, github, only_identity_json, shell,
};

/// Prepares a check of a step.
fn check(step: Step) -> Step {
    step.input("command", "check")
}

/// Checks that no run was started and no file was requested.
#[track_caller]
fn assert_only_read(stand_in: &StandIn) {
    assert!(stand_in.api_requests().iter().all(|request| request.method.as_str() == "GET"));
    assert!(stand_in.store().requests().is_empty());
}

#[test]
fn says_what_a_run_would_do_without_starting_one() {
    let stand_in = StandIn::start();
    let step = github(&stand_in).by_names().input("pdf-template", PDF_TEMPLATE_NAME).input("directory", "exports");
    let outcome = check(step).run().exited(0);
    assert_only_read(&stand_in);
    for line in [
        format!("export: {EXPORT_ID}, {EXPORT_NAME}"),
        format!("{EXPORT_NAME}: would start a run, and save its file in exports"),
        format!("{PDF_TEMPLATE_NAME}: would start a batch, and save its files in exports"),
    ] {
        assert!(outcome.stdout.contains(&line), "{line} is missing:\n{}", outcome.stdout);
    }
    assert!(outcome.files().is_empty());
    assert!(
        outcome.summary.starts_with("### WebAdMIT export: ✅ The check passed; no run was started\n"),
        "{}",
        outcome.summary
    );
    assert_eq!(outcome.outputs["export-id"], EXPORT_ID.to_string());
    assert_eq!(outcome.output_files().len(), 2);
}

#[test]
fn verifies_the_ids_of_new_and_latest_runs() {
    for latest in ["", "latest"] {
        let stand_in = StandIn::start();
        let step = || github(&stand_in).by_identity_id().input("export-file-id", latest);
        check(step()).run().exited(0);
        let outcome = check(step().input("export-id", "999")).run().exited(5);
        let error = outcome.error();
        let nothing_started = if latest.is_empty() { "no run was started and " } else { "" };
        let message = format!("export 999 not found among the 2 exports of identity {IDENTITY_ID} (SOPHAS, ");
        assert!(error.starts_with(&message), "{error}");
        assert!(error.contains(&format!("; {nothing_started}no file was written;")), "{error}");
        assert!(error.contains(&format!("\n  {EXPORT_ID}  {EXPORT_NAME}\n")), "{error}");

        let outcome = check(step().input("user-identity-id", "999")).run().exited(5);
        outcome.with_error("identity 999 not found among the 3 identities of this key; ");
        check(step().input("api-key", "00000000000000000000000000000000")).run().exited(5);

        stand_in.next_api_json(only_identity_json()).next_api_json(exports_json(&[export_json(EXPORT_ID, "a")]));
        let outcome = check(step().input("export-id", "999")).run().exited(5);
        outcome.with_error(
            "export 999 not found: the only export of identity 305 (SOPHAS, 2026, x, Demo University) has another id; ",
        );
        check(step().input("pdf-template-id", "999")).run().exited(5).with_error("PDF template 999 not found");
        assert_only_read(&stand_in);
    }
}

#[test]
fn requests_the_status_of_an_existing_run() {
    for (status, fail_on, code, line) in [
        ("Available", "failed", 0, "would save its file in the workspace"),
        ("In Progress", "failed", 0, "would wait for the run, and save its file in the workspace"),
        ("Failed", "none", 0, "would end without a file; allowed by fail-on"),
        ("Failed", "failed", 3, ""),
        ("Success With Errors", "success_with_errors", 3, ""),
    ] {
        let stand_in = StandIn::with_statuses(&[status]);
        let outcome = check(github(&stand_in)).input("fail-on", fail_on).run().exited(code);
        assert_only_read(&stand_in);
        assert_eq!(stand_in.api_requests().len(), 1, "an id of a run needs no other request");
        assert!(outcome.stdout.contains(line) && outcome.files().is_empty(), "{}", outcome.stdout);
        let verdict = "\nthe check passed; nothing was started or downloaded\n";
        assert_eq!(outcome.stdout.ends_with(verdict), code == 0, "{}", outcome.stdout);
        assert_eq!(outcome.outputs["export-file-id"], RUN_ID.to_string());
    }
    let stand_in = StandIn::start();
    check(github(&stand_in).input("export-file-id", "5")).run().exited(5);
    let step = github(&stand_in).by_identity_id().input("export-file-id", "latest").input("max-age", "26h");
    let outcome = check(step.input("filename", "today.csv")).run().exited(0);
    assert!(
        outcome.stdout.contains("would save its file as today.csv in the workspace, unless it is older than 26 h; a check does not verify that"),
        "{}",
        outcome.stdout
    );
    let step = github(&stand_in).by_identity_id().input("export-id", "").input("export-file-id", "");
    let step = step.input("pdf-batch-id", &PDF_BATCH_ID.to_string());
    check(step).run().exited(0);
    assert_only_read(&stand_in);
}

#[test]
fn a_batch_that_is_too_old_fails_the_check() {
    let stand_in = StandIn::start();
    let step = github(&stand_in).by_names().input("export-name", "").input("pdf-template", PDF_TEMPLATE_NAME);
    check(step.input("pdf-batch-id", "latest").input("max-age", "26h")).run().exited(6);

    // The age of a newer one is known, too.
    let step = github(&stand_in).by_names().input("export-name", "").input("pdf-template", PDF_TEMPLATE_NAME);
    let outcome = check(step.input("pdf-batch-id", "latest").input("max-age", "36500d")).run().exited(0);
    assert!(outcome.stdout.contains("would save its files in the workspace\n"), "{}", outcome.stdout);
}

#[test]
fn reports_names_that_are_not_found() {
    let stand_in = StandIn::start();
    let outcome = check(github(&stand_in).by_names().input("export-name", "Daily")).run().exited(5);
    assert!(outcome.summary.starts_with("### WebAdMIT export: ❌ The check failed; no run was started\n"));
    assert!(outcome.error().contains("export `Daily` not found"), "{}", outcome.error());
}

#[test]
fn verifies_an_identity_that_the_run_does_not_need() {
    let stand_in = StandIn::start();
    for (input, value) in [("identity", "Nonsense"), ("user-identity-id", "999")] {
        check(github(&stand_in).input(input, value)).run().exited(5).with_error("not found");
        // Only a check looks at it.
        let outcome = github(&stand_in).input(input, value).run().exited(0);
        assert!(!outcome.summary.contains("| Identity |"), "{}", outcome.summary);
    }
}

#[test]
fn verifies_the_destination_and_the_outputs() {
    let stand_in = StandIn::start();
    let step = github(&stand_in).existing_file("taken", "a file");
    check(step.input("directory", "taken"))
        .run()
        .exited(1)
        .with_error("cannot create a file in taken: Not a directory");
    let step = github(&stand_in).existing_file("taken/file", "a file");
    check(step.input("output-file", "taken")).run().exited(1).with_error("cannot write the output-file taken");
    assert!(stand_in.api_requests().is_empty());
    let outcome = check(shell(&stand_in).input("output-file", "out.env")).run().exited(0);
    assert!(String::from_utf8(outcome.read("out.env")).unwrap().starts_with("WEBADMIT_STATUS=available\n"));

    let outcome = check(github(&stand_in).existing_file(FILENAME, "existing")).run().exited(0);
    assert_eq!(outcome.read(FILENAME), b"existing");
}

#[test]
fn a_check_of_wait_false_mentions_no_file() {
    let stand_in = StandIn::start();
    let outcome = check(github(&stand_in).by_names()).input("wait", "false").run().exited(0);
    assert!(outcome.stdout.contains("would start a run\n"), "{}", outcome.stdout);
    assert_only_read(&stand_in);
}

#[test]
fn the_argument_check_is_the_same_as_the_input() {
    let stand_in = StandIn::start();
    github(&stand_in).by_names().arg("check").run().exited(0);
    assert_only_read(&stand_in);
    // An argument takes precedence.
    let outcome = github(&stand_in).by_names().input("command", "list").arg("check").run().exited(0);
    assert!(outcome.stdout.contains("would start a run"), "{}", outcome.stdout);
    let outcome = github(&stand_in).by_names().input("command", "check").arg("list").run().exited(0);
    assert!(outcome.stdout.contains("Nightly Applicants"), "{}", outcome.stdout);
}

#[test]
fn the_input_command_prints_the_list() {
    let stand_in = StandIn::start();
    let step = || Step::on_github().input("base-url", &stand_in.api_url()).input("api-key", API_KEY);
    let with_argument = step().arg("list").run().exited(0);
    let with_input = step().input("command", " List ").run().exited(0);
    assert_eq!(with_input.stdout, with_argument.stdout);
    assert!(with_input.stdout.contains("Nightly Applicants"));
    let outcome = step().input("command", "lists").run().exited(2);
    let message = "invalid input command: `lists` must be list or check; omit it to fetch files; no request was sent";
    assert!(outcome.error().starts_with(message), "{}", outcome.error());
    assert!(with_input.summary.is_empty(), "{}", with_input.summary);
}

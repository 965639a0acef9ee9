//! The hints of messages: what they say is true, and helps the next time.

use rustix::process::Signal;
use wiremock::ResponseTemplate;

use crate::support::{
    Action, ClosedPort, EXPORT_ID, EXPORT_NAME, IDENTITY_ID, Outcome, PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME,
    RUN_ID, Server, StandIn, Step, export_json, exports_json, github, identities_json, identity_json, run_json,
    run_json_with_url, shell_at, with_growing_timeout,
};

/// Names and values of inputs.
type Inputs<'a> = &'a [(&'a str, &'a str)];

/// Returns the hint of a step that failed.
#[track_caller]
fn hint(outcome: &Outcome) -> String {
    let error = outcome.error();
    error.lines().last().and_then(|line| line.strip_prefix("hint: ")).unwrap_or_else(|| panic!("{error}")).to_owned()
}

/// Prepares a step that fetches runs of the identity, given by its id, with these inputs.
fn with_inputs(stand_in: &StandIn, inputs: Inputs<'_>) -> Step {
    let step = github(stand_in).by_identity_id().input("export-id", "");
    inputs.iter().fold(step, |step, (name, value)| step.input(name, value))
}

#[test]
fn an_outage_after_a_valid_response_is_not_a_wrong_base_url() {
    let play = |timeout: &str| {
        let stand_in = StandIn::start();
        stand_in.next_api_json(run_json("In Progress"));
        for _ in 0..100 {
            stand_in.next_api_response(ResponseTemplate::new(200).set_body_string("<html>down for maintenance</html>"));
        }
        github(&stand_in).input("timeout", timeout).run().exited(4)
    };
    let outcome = with_growing_timeout(play, |outcome| {
        outcome.error().contains("last status: in_progress") && outcome.error().contains("last error: ")
    });
    assert_eq!(hint(&outcome), "WebAdMIT is having problems; re-run the step later");
}

#[test]
fn a_failed_run_needs_a_new_one() {
    let (export, run) = (EXPORT_ID.to_string(), RUN_ID.to_string());
    let (template, batch) = (PDF_TEMPLATE_ID.to_string(), PDF_BATCH_ID.to_string());
    let cases: [(Inputs<'_>, &str); 7] = [
        (&[("export-id", &export)], "export in WebAdMIT, then re-run the step"),
        (
            &[("export-id", &export), ("export-file-id", "latest")],
            "export in WebAdMIT, then start a new run there, or re-run the step without export-file-id",
        ),
        (
            &[("export-id", &export), ("export-file-id", &run)],
            "export in WebAdMIT, then re-run the step without export-file-id to start a new run",
        ),
        (
            &[("export-id", &export), ("export-file-id", &run), ("user-identity-id", "")],
            "export in WebAdMIT, then re-run the step with identity and without export-file-id to start a new run",
        ),
        (&[("pdf-template-id", &template)], "PDF template in WebAdMIT, then re-run the step"),
        (
            &[("pdf-template-id", &template), ("pdf-batch-id", &batch)],
            "PDF template in WebAdMIT, then re-run the step without pdf-batch-id to start a new batch",
        ),
        (
            &[("pdf-batch-id", &batch)],
            "PDF template in WebAdMIT, then re-run the step with pdf-template-id instead of pdf-batch-id to start a new batch",
        ),
    ];
    let stand_in = StandIn::with_statuses(&["Failed"]);
    for (inputs, words) in cases {
        let outcome = with_inputs(&stand_in, inputs).run().exited(3);
        assert_eq!(hint(&outcome), format!("WebAdMIT could not create the file; check the {words}"));
    }
}

#[test]
fn a_disk_that_fails_at_a_later_zip_is_the_problem() {
    let stand_in = StandIn::builder().pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, |batch| {
        batch.zip("1.zip", b"PK").zip("2.zip", vec![b'x'; 200_000].as_slice())
    });
    let limit = ["bash", "-c", "ulimit -f 64; exec \"$0\""];
    let stand_in = stand_in.start();
    let step = with_inputs(&stand_in, &[("pdf-template-id", &PDF_TEMPLATE_ID.to_string())]);
    let outcome = step.wrapped_in(&limit).run().exited(1).with_error("file 2 of 2 missing: ");
    assert_eq!(outcome.outputs["paths"], "1.zip");
    assert_eq!(
        hint(&outcome),
        "the batch is still in WebAdMIT; fix the problem, then re-run the step with pdf-batch-id: 42"
    );
}

#[test]
fn max_age_is_omitted_together_with_latest() {
    let stand_in = StandIn::start();
    let latest = [("export-id", "86446"), ("export-file-id", "latest"), ("max-age", "1s")];
    let old = with_inputs(&stand_in, &latest).run().exited(6);
    assert!(hint(&old).ends_with("; without export-file-id and max-age, this step starts a run"), "{}", hint(&old));
    with_inputs(&stand_in, &[("export-id", "86446")]).run().exited(0);

    let failed = with_inputs(&StandIn::with_statuses(&["Failed"]), &latest).run().exited(3);
    assert!(hint(&failed).ends_with("or re-run the step without export-file-id and max-age"), "{}", hint(&failed));
}

#[test]
fn suggests_a_filename_only_for_the_file_of_a_single_export() {
    let stand_in = StandIn::builder()
        .pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, |batch| batch.zip("offers.zip", b"PK"));
    let stand_in = stand_in.start();
    let step = with_inputs(&stand_in, &[("pdf-batch-id", "42"), ("output-file", "offers.zip")]);
    let outcome = step.run().exited(1);
    assert_eq!(hint(&outcome), "the batch is still in WebAdMIT; set another output-file, then re-run the step");
}

#[test]
fn the_older_cycle_is_suggested_only_if_the_newest_one_was_chosen() {
    const SUGGESTION: &str = "add both years of the older cycle to identity";

    let stand_in = StandIn::start();
    let step = || github(&stand_in).by_names().input("export-name", "No Such Export");
    step().run().exited(5).with_error(SUGGESTION);
    for step in [
        step().input("identity", "SOPHAS 2025 - 2026"),
        step().input("identity", "").input("user-identity-id", &IDENTITY_ID.to_string()),
        step().input("identity", "").input("user-identity-id", &IDENTITY_ID.to_string()).input("command", "check"),
    ] {
        let outcome = step.run().exited(5).with_error("export `No Such Export` not found");
        assert!(!hint(&outcome).contains(SUGGESTION), "{}", outcome.error());
    }
}

#[test]
fn an_interrupted_run_continues_only_if_that_is_known() {
    let silent = Server::start(|_| vec![Action::Hang]);
    let running = shell_at(&silent.url()).spawn();
    silent.wait_for_requests(1);
    running.signal(Signal::INT);
    assert_eq!(hint(&running.wait().exited(130)), "to download this run later, re-run the step");

    for (status, seen, start) in [
        ("Queued", "status: queued", "the run continues in WebAdMIT; to download it later"),
        ("Odd", "status: odd", "to download this run later"),
    ] {
        let stand_in = StandIn::with_statuses(&[status]);
        let running = github(&stand_in).by_identity_id().input("poll-interval", "1h").spawn();
        running.wait_for_stdout(seen);
        running.signal(Signal::TERM);
        let outcome = running.wait().exited(143);
        assert_eq!(hint(&outcome), format!("{start}, re-run the step with export-file-id: {RUN_ID}"));
    }
}

#[test]
fn an_interrupted_check_of_several_runs_leaves_nothing_running() {
    let silent = Server::start(|_| vec![Action::Hang]);
    let running = shell_at(&silent.url()).by_names().input("export-name", "a\nb").input("command", "check").spawn();
    silent.wait_for_requests(1);
    running.signal(Signal::INT);
    assert!(!running.wait().exited(130).error().contains("hint: "));
}

#[test]
fn an_id_that_is_not_found_names_the_inputs_of_its_url() {
    let (export, by_name) = (EXPORT_ID.to_string(), [("export-name", EXPORT_NAME), ("export-file-id", "5")]);
    let cases: [(Inputs<'_>, &str); 4] = [
        (
            &[("pdf-batch-id", "5")],
            "batch belongs to this identity (user-identity-id and pdf-batch-id), and that WebAdMIT still has it (it deletes batches after a while); ids change with each application cycle, names do not",
        ),
        (
            &[("user-identity-id", ""), ("identity", "SOPHAS"), ("pdf-batch-id", "5")],
            "batch belongs to this identity (identity and pdf-batch-id), and that WebAdMIT still has it (it deletes batches after a while)",
        ),
        (
            &[("export-id", &export), ("export-file-id", "5")],
            "run belongs to this export (export-id and export-file-id), and that WebAdMIT still has it (it deletes runs after a while); ids change with each application cycle, names do not",
        ),
        (
            &by_name,
            "run belongs to this export (export-name and export-file-id), and that WebAdMIT still has it (it deletes runs after a while)",
        ),
    ];
    let stand_in = StandIn::start();
    for (inputs, words) in cases {
        let outcome = with_inputs(&stand_in, inputs).run().exited(5);
        assert_eq!(hint(&outcome), format!("check that the {words}"));
    }
}

#[test]
fn quotes_and_commas_in_names_are_not_always_the_problem() {
    let identity = identity_json(IDENTITY_ID, "SOPHAS", "St. John's University", "2026");
    let identities = identities_json(&[identity]);
    let exports = exports_json(&[export_json(EXPORT_ID, "Applicants, Fall 2026")]);
    for (words, name, start) in [
        ("St. John's SOHPAS", EXPORT_NAME, "use words from this list"),
        ("“St. John’s SOHPAS“", EXPORT_NAME, "double quotes match a whole field"),
        ("SOPHAS", "Applicants, Fal 2026", "use the exact name from WebAdMIT; if these are several names, put each on"),
        ("SOPHAS", "’Applicants’", "remove the quotes"),
        ("SOPHAS", r"Applicants\nInterviews", r"put each name on a line of its own; \n is not a line break in quotes"),
    ] {
        let stand_in = StandIn::start();
        stand_in.next_api_json(identities.clone()).next_api_json(exports.clone());
        let step = github(&stand_in).by_names().input("identity", words).input("export-name", name);
        assert!(hint(&step.run().exited(5)).starts_with(start), "{words} {name}");
    }
}

#[test]
fn an_unreachable_store_can_be_behind_a_firewall() {
    let stand_in = StandIn::start();
    let closed_port = ClosedPort::new();
    let available = run_json_with_url("Available", &format!("{}/file", closed_port.url()));
    for _ in 0..20 {
        stand_in.next_api_json(available.clone());
    }
    let outcome = github(&stand_in).by_identity_id().input("poll-interval", "1ms").run().exited(1);
    let start = "check that a firewall or proxy allows this host, which is not WebAdMIT's; then re-run the step with ";
    assert_eq!(hint(&outcome), format!("{start}export-file-id: {RUN_ID}"));
}

#[test]
fn a_step_that_only_starts_runs_says_how_many_were_started() {
    let stand_in = StandIn::builder().many_exports(3).start();
    let step = || github(&stand_in).by_identity_id().input("wait", "false");
    let refused = || ResponseTemplate::new(403);

    stand_in.next_api_response_to("POST", "/exports/2/", refused());
    let outcome = step().input("export-id", "1 2 3").run().exited(5);
    assert!(outcome.error().starts_with("1 of 3 runs failed; 2 runs were started\n"), "{}", outcome.error());
    let headline = "### WebAdMIT export: ❌ Started 2 of 3 runs, but the step failed\n";
    assert!(outcome.summary.starts_with(headline), "{}", outcome.summary);

    stand_in.next_api_response_to("POST", "/exports/2/", refused());
    let outcome = step().input("export-id", "2").run().exited(5).with_error("; no run was started\n");
    assert!(outcome.summary.starts_with("### WebAdMIT export: ❌ No run was started\n"), "{}", outcome.summary);
    assert!(!outcome.mentions("no file was"), "{}", outcome.error());

    // The response can be lost after WebAdMIT has started the run.
    let busy = ResponseTemplate::new(503).insert_header("Retry-After", "7200");
    stand_in.every_api_response_to("POST", "/export_files", busy);
    let outcome = step().input("export-id", "1 2").run().exited(4);
    let message = "2 of 2 runs failed; WebAdMIT may have started runs\n";
    assert!(outcome.error().starts_with(message), "{}", outcome.error());

    let full = StandIn::start();
    let step = github(&full).by_identity_id().input("wait", "false").env("GITHUB_OUTPUT", "/dev/full");
    let outcome = step.run().exited(1);
    assert!(
        outcome.summary.starts_with(&format!("### WebAdMIT export: ❌ Started run {}", RUN_ID)),
        "{}",
        outcome.summary
    );
    assert_eq!(hint(&outcome), "later steps do not get the outputs; fix the problem, then re-run the step");
}

//! `wait: false` starts runs and ends at once.

use serde_json::{Value, json};

use crate::support::{
    EXPORT_ID, EXPORT_NAME, IDENTITY_ID, PDF_BATCH_ID, PDF_TEMPLATE_NAME, RUN_ID, SECOND_EXPORT_ID, SECOND_EXPORT_NAME,
    SECOND_RUN_ID, StandIn, github,
};

/// Returns the methods of the requests to the API.
fn methods(stand_in: &StandIn) -> Vec<String> {
    stand_in.api_requests().iter().map(|request| request.method.to_string()).collect()
}

#[test]
fn starts_a_run_and_ends_with_its_id_and_first_status() {
    let stand_in = StandIn::with_statuses(&["Failed"]);
    let outcome = github(&stand_in).by_identity_id().input("wait", "false").run().exited(0);
    assert_eq!(methods(&stand_in), ["POST"]);
    assert!(stand_in.store().requests().is_empty() && outcome.files().is_empty());

    let ids = [("user-identity-id", IDENTITY_ID), ("export-id", EXPORT_ID), ("export-file-id", RUN_ID)];
    for (name, id) in ids {
        assert_eq!(outcome.outputs[name], id.to_string(), "{name}");
    }
    assert_eq!(outcome.outputs["status"], "queued");
    let file = &outcome.output_files()[0];
    assert_eq!(
        (&file["export_file_id"], &file["status"], &file["path"]),
        (&json!(RUN_ID), &json!("queued"), &json!(null))
    );
    assert_eq!(file["error"], Value::Null);
    assert!(
        outcome.summary.starts_with(&format!("### WebAdMIT export: ✅ Started run {RUN_ID}\n")),
        "{}",
        outcome.summary
    );
    assert!(!outcome.summary.contains("mermaid"), "{}", outcome.summary);
}

#[test]
fn a_later_step_fetches_the_runs_by_their_ids() {
    let stand_in = StandIn::builder()
        .export(SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SECOND_RUN_ID, |run| run.filename("Interviews.csv"))
        .start();
    let by_names = || {
        github(&stand_in)
            .by_names()
            .input("export-name", &format!("{EXPORT_NAME}\n{SECOND_EXPORT_NAME}"))
            .input("pdf-template", PDF_TEMPLATE_NAME)
    };
    let started = by_names().input("wait", "FALSE").run().exited(0);
    assert!(started.summary.starts_with("### WebAdMIT export: ✅ Started 3 runs\n"), "{}", started.summary);
    let (runs, batch) = (format!("export-file-id: {RUN_ID},{SECOND_RUN_ID}"), format!("pdf-batch-id: {PDF_BATCH_ID}"));
    let in_log = format!("\nto download the files later, replace wait: false with {runs} and {batch}\n");
    assert!(started.stdout.contains(&in_log), "{}", started.stdout);
    let in_summary = format!("To download the files later, replace `wait: false` with `{runs}` and `{batch}`.");
    assert!(started.summary.contains(&in_summary), "{}", started.summary);
    let files = started.output_files();
    assert_eq!(
        (files[0]["export_file_id"].as_u64(), files[1]["export_file_id"].as_u64()),
        (Some(RUN_ID), Some(SECOND_RUN_ID))
    );

    // As `join(fromJSON(…).*.export_file_id)` writes them: null is an empty text.
    let join = |key: &str| {
        let ids = files.iter().map(|file| file[key].as_u64().map(|id| id.to_string()).unwrap_or_default());
        ids.collect::<Vec<_>>().join(",")
    };
    assert_eq!(join("pdf_batch_id"), format!(",,{PDF_BATCH_ID}"));
    let posts = methods(&stand_in).iter().filter(|method| *method == "POST").count();
    let fetched = by_names()
        .input("export-file-id", &join("export_file_id"))
        .input("pdf-batch-id", &join("pdf_batch_id"))
        .run()
        .exited(0);
    assert_eq!(fetched.files().len(), 3);
    assert_eq!(methods(&stand_in).iter().filter(|method| *method == "POST").count(), posts, "no run was started");
}

#[test]
fn an_error_fails_the_step_although_it_does_not_wait() {
    let stand_in = StandIn::start();
    stand_in.next_api_status(401);
    github(&stand_in).by_identity_id().input("wait", "false").run().exited(5);
}

#[test]
fn wait_false_rejects_existing_runs() {
    let stand_in = StandIn::start();
    let with_ids = github(&stand_in);
    let latest = github(&stand_in).by_identity_id().input("export-file-id", "latest");
    let batch = github(&stand_in).by_identity_id().input("pdf-batch-id", "42");
    for (step, input) in [(with_ids, "export-file-id"), (latest, "export-file-id"), (batch, "pdf-batch-id")] {
        let outcome = step.input("wait", "false").run().exited(2);
        let message =
            format!("wait: `false` only starts new runs, but {input} selects existing ones; omit one of them");
        assert!(outcome.error().contains(&message), "{}", outcome.error());
    }
    let outcome = github(&stand_in).by_identity_id().input("wait", "no").run().exited(2);
    assert!(outcome.error().contains("wait: `no` must be true or false"));
    assert!(stand_in.api_requests().is_empty());
}

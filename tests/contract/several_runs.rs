//! Several exports in one step, some of them together with a PDF Manager template.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::support::server::EVENT_TIMEOUT;
use crate::support::{
    Action, BatchBuilder, Builder, CREATED_AT, EXPORT_ID, EXPORT_NAME, FILENAME, Gate, IDENTITY_ID, Outcome,
    PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_ZIP_FILENAME, RUN_ID, SECOND_EXPORT_ID, SECOND_EXPORT_NAME,
    SECOND_RUN_ID, StandIn, Step, error_response, github, head, many_run_id, pdf_batch_json, repeat_until,
    run_of_export_json, sha256_hex, with_growing_timeout,
};

/// All keys of an object in the output `files`.
const KEYS: [&str; 16] = [
    "content_type",
    "created_at",
    "error",
    "export_file_id",
    "export_id",
    "filename",
    "kind",
    "name",
    "path",
    "pdf_batch_id",
    "pdf_template_id",
    "sha256",
    "size",
    "source_sha256",
    "status",
    "user_identity_id",
];

/// The list of all recent runs.
const RECENT_RUNS: &str = "GET /api/v1/user_identities/305/export_files";

/// Prepares a step that starts a run of each of these exports.
fn by_names(stand_in: &StandIn, names: &[&str]) -> Step {
    github(stand_in).by_names().input("export-name", &names.join("\n"))
}

/// Prepares a step that starts runs of the exports that `many_exports` has added.
fn by_many_names(stand_in: &StandIn, number: u64) -> Step {
    let names: Vec<String> = (1..=number).map(|export| format!("Export {export}")).collect();
    github(stand_in).by_names().input("export-name", &names.join("\n"))
}

/// Prepares a step that uses the existing runs of the exports that `many_exports` has added. It needs no identity.
fn by_many_run_ids(stand_in: &StandIn, number: u64) -> Step {
    let ids = |of: fn(u64) -> u64| (1..=number).map(|export| of(export).to_string()).collect::<Vec<_>>().join(",");
    github(stand_in).input("export-id", &ids(|export| export)).input("export-file-id", &ids(many_run_id))
}

/// Returns the output `files`, after checking that every object has all keys.
#[track_caller]
fn files(outcome: &Outcome) -> Vec<Value> {
    let files = outcome.output_files();
    for file in &files {
        assert_eq!(file.as_object().unwrap().keys().collect::<Vec<_>>(), KEYS, "{file}");
    }
    files
}

/// Returns the values of one key of all objects in `files`.
fn values(files: &[Value], key: &str) -> Vec<Value> {
    files.iter().map(|file| file[key].clone()).collect()
}

/// Returns the exit codes of the errors in `files`; 0 for none.
fn codes(outcome: &Outcome) -> Vec<u64> {
    files(outcome).iter().map(|file| file["error"]["code"].as_u64().unwrap_or(0)).collect()
}

/// Returns the method and path of all requests to the API.
fn api_requests(stand_in: &StandIn) -> Vec<String> {
    let requests = stand_in.api_requests();
    requests.iter().map(|request| format!("{} {}", request.method, request.url.path())).collect()
}

/// Returns how many requests to the API begin with these words.
fn count_requests(stand_in: &StandIn, start: &str) -> usize {
    api_requests(stand_in).iter().filter(|request| request.starts_with(start)).count()
}

/// Returns how often a run that `many_exports` has added was checked individually.
fn count_checks(stand_in: &StandIn, export: u64) -> usize {
    count_requests(stand_in, &format!("GET /api/v1/exports/{export}/export_files/"))
}

/// Sends the file of a run once the gate is open. The receiver gets a message when the request arrives with a valid URL.
fn wait_for(stand_in: &StandIn, run: u64, gate: &Arc<Gate>, filename: &str, arrived: &Sender<()>) {
    let (gate, disposition) = (Arc::clone(gate), format!("attachment; filename=\"{filename}\""));
    let arrived = arrived.clone();
    stand_in.next_store_response_of(run, move |_, file| {
        let _ = arrived.send(());
        let whole = file.whole(&[("Content-Disposition", &disposition)]);
        vec![Action::WaitFor(Arc::clone(&gate)), Action::Send(whole)]
    });
}

#[test]
fn names_are_resolved_with_one_list_each_and_all_runs_are_started_first() {
    for number in [1, 2, 12] {
        let stand_in = StandIn::builder().many_exports(number).statuses(&["Queued", "Available"]).start();
        let outcome = by_many_names(&stand_in, number).run().exited(0);

        let requests = api_requests(&stand_in);
        let lists = ["GET /api/v1/user_identities", "GET /api/v1/user_identities/305/exports"];
        assert_eq!(requests[..2], lists);
        assert!(!requests[2..].iter().any(|request| lists.contains(&request.as_str())), "{requests:?}");
        let started = requests.iter().filter(|request| request.starts_with("POST ")).collect::<BTreeSet<_>>();
        assert_eq!(started.len() as u64, number, "{requests:?}");

        let lines: Vec<&str> = outcome.stdout.lines().collect();
        let last_start = lines.iter().rposition(|line| line.contains("started run ")).unwrap();
        let first_download = lines.iter().position(|line| line.contains("downloading ")).unwrap();
        assert!(last_start < first_download, "{}", outcome.stdout);
        let expected: Vec<String> = (1..=number).map(|export| format!("export-{export}.csv")).collect();
        assert_eq!(values(&files(&outcome), "path"), expected);
        for export in 1..=number {
            assert_eq!(outcome.read(&format!("export-{export}.csv")), stand_in.file_of(many_run_id(export)));
        }
    }
}

#[test]
fn accepts_names_by_line_and_ids_in_any_separators() {
    let names = format!("\n  {}  \r\n\n{SECOND_EXPORT_NAME}\n", EXPORT_NAME.to_uppercase());
    let stand_in =
        || StandIn::builder().export(SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SECOND_RUN_ID, |run| run.filename("b.csv"));
    let named: &[(&str, &str)] = &[("export-id", ""), ("export-name", &names), ("user-identity-id", "305")];
    for (inputs, starts) in [
        (&[("export-id", "86446,86447"), ("export-file-id", "74780 74787")][..], 0),
        (&[("export-id", "86446\n86447\n"), ("export-file-id", " 74780 ,\n 74787,")], 0),
        (&[("export-id", "86446 86447"), ("export-file-id", ""), ("user-identity-id", "305")], 2),
        (&[("export-id", "86446\r\n86447"), ("export-file-id", "LATEST"), ("user-identity-id", "305")], 0),
        (&[named, &[("export-file-id", "")]].concat(), 2),
        (&[named, &[("export-file-id", "74780\n74787")]].concat(), 0),
        (&[named, &[("export-file-id", "latest")]].concat(), 0),
    ] {
        let stand_in = stand_in().start();
        let step = inputs.iter().fold(github(&stand_in), |step, (name, value)| step.input(name, value));
        let files = files(&step.run().exited(0));
        assert_eq!(values(&files, "export_id"), [EXPORT_ID, SECOND_EXPORT_ID], "{inputs:?}");
        assert_eq!(values(&files, "export_file_id"), [RUN_ID, SECOND_RUN_ID], "{inputs:?}");
        assert_eq!(values(&files, "path"), [FILENAME, "b.csv"], "{inputs:?}");
        assert_eq!(count_requests(&stand_in, "POST "), starts, "{inputs:?}");
        let is_latest = inputs.iter().any(|(_, value)| value.eq_ignore_ascii_case("latest"));
        if is_latest {
            assert_eq!(count_requests(&stand_in, RECENT_RUNS), 1, "one list for the latest runs of all exports");
        }
    }
}

#[test]
fn the_run_ids_belong_to_the_exports_in_the_same_order() {
    let stand_in = StandIn::builder().many_exports(3).start();
    let step = github(&stand_in).input("export-id", "3 1 2").input("export-file-id", "70003 70001 70002");
    let outcome = step.run().exited(0);
    assert_eq!(values(&files(&outcome), "export_file_id"), [70003, 70001, 70002]);
    assert_eq!(outcome.outputs["paths"], "export-3.csv\nexport-1.csv\nexport-2.csv");
    let swapped = github(&stand_in).input("export-id", "1 2").input("export-file-id", "70002 70001").run().exited(5);
    assert_eq!(codes(&swapped), [5, 5]);
}

#[test]
fn outputs_of_several_runs_are_paths_and_files() {
    let stand_in = StandIn::builder()
        .export(1, "Applicants", 71, |run| run.filename("a b.csv"))
        .export(2, "Nobody", 72, |run| run.statuses(&["In Progress", "Empty List"]))
        .export(3, "Broken", 73, |run| run.statuses(&["Failed"]))
        .export(4, "Partly", 74, |run| run.statuses(&["Success With Errors"]).filename("d.csv").content_type(""))
        .start();
    let step = by_names(&stand_in, &["partly", "nobody", "broken", "applicants"])
        .input("fail-on", "failed,success_with_errors");
    let outcome = step.input("directory", "out").input("output-file", "out.env").run().exited(3);

    // The lines of the cells are not broken.
    assert!(outcome.summary.contains("| 2026\u{2011}11\u{2011}28\u{a0}04:19 |"), "{}", outcome.summary);
    let expected = ["files", "paths", "status", "user-identity-id"];
    assert_eq!(outcome.outputs.keys().collect::<Vec<_>>(), expected);
    assert_eq!(outcome.outputs["status"], "failed");
    assert_eq!(outcome.outputs["paths"], "out/d.csv\nout/a b.csv");
    assert_eq!(outcome.read("out.env"), b"WEBADMIT_STATUS=failed\nWEBADMIT_USER_IDENTITY_ID=305\n");

    let (bytes, absent) = (stand_in.file_of(71), Value::Null);
    let entry = |name: &str, export: u64, run: u64, status: &str| {
        json!({
            "kind": "export", "name": name, "user_identity_id": IDENTITY_ID, "export_id": export, "export_file_id": run,
            "pdf_template_id": absent, "pdf_batch_id": absent, "status": status, "path": absent, "filename": absent,
            "size": absent, "sha256": absent, "source_sha256": absent, "content_type": absent, "created_at": absent,
            "error": absent,
        })
    };
    let saved = |mut entry: Value, filename: &str, content_type: Value| {
        entry["path"] = json!(format!("out/{filename}"));
        entry["filename"] = json!(filename);
        entry["size"] = json!(bytes.len());
        entry["sha256"] = json!(sha256_hex(&bytes));
        entry["source_sha256"] = entry["sha256"].clone();
        entry["content_type"] = content_type;
        entry["created_at"] = json!(CREATED_AT);
        entry
    };
    let mut failed = entry("Broken", 3, 73, "failed");
    failed["error"] = json!({
        "code": 3,
        "message": "run 73 of export 3 (Broken) ended with status failed; no file was written; an existing file was left unchanged",
    });
    let mut partly = saved(entry("Partly", 4, 74, "success_with_errors"), "d.csv", absent.clone());
    partly["error"] = json!({
        "code": 3,
        "message": "run 74 of export 4 (Partly) ended with status success_with_errors; the file was saved as out/d.csv",
    });
    let expected = [
        partly,
        entry("Nobody", 2, 72, "empty_list"),
        failed,
        saved(entry("Applicants", 1, 71, "available"), "a b.csv", json!("text/csv;charset=iso-8859-1")),
    ];
    for (actual, expected) in files(&outcome).iter().zip(&expected) {
        assert_eq!(actual, expected);
    }
    assert_eq!(files(&outcome).len(), 4);
}

#[test]
fn a_single_export_has_paths_and_files_besides_the_other_outputs() {
    let stand_in = StandIn::start();
    let outcome = by_names(&stand_in, &[EXPORT_NAME]).run().exited(0);
    assert_eq!(outcome.outputs["paths"], outcome.outputs["path"]);
    let file = &files(&outcome)[0];
    for (name, value) in outcome.outputs.iter().filter(|(name, _)| !["files", "paths"].contains(&name.as_str())) {
        let actual = &file[name.replace('-', "_")];
        let actual = actual.as_str().map_or_else(|| actual.to_string(), str::to_owned);
        assert_eq!(actual, *value, "{name}");
    }
    assert_eq!(outcome.outputs.len(), 13, "{:?}", outcome.outputs);
}

#[test]
fn the_status_of_several_runs_is_the_first_by_precedence() {
    let precedence = [
        "failed",
        "empty_list",
        "a_status_of_tomorrow",
        "initializing",
        "queued",
        "in_progress",
        "success_with_errors",
        "available",
    ];
    for (index, &first) in precedence[..precedence.len() - 1].iter().enumerate() {
        let others = &precedence[index..];
        // The statuses of the later exports come first in the list, so that the order of the inputs does not matter.
        let builder = others.iter().rev().zip(1..).fold(StandIn::builder(), |builder, (status, id)| {
            builder.export(id, &format!("Export {id}"), many_run_id(id), |run| run.statuses(&[status]).filename(status))
        });
        let stand_in = builder.start();
        let step = by_many_run_ids(&stand_in, others.len() as u64).input("fail-on", "success_with_errors");
        let running = step.spawn();
        // Some of these runs never end, so a signal ends the step.
        for id in 1..=others.len() as u64 {
            running.wait_for_stdout(&format!("export {id}: {}", others[others.len() - id as usize]));
        }
        running.signal(Signal::TERM);
        let outcome = running.wait();
        assert_eq!(outcome.outputs["status"], first, "{}", outcome.stdout);
    }
}

#[test]
fn a_step_that_never_ran_has_no_files() {
    let stand_in = StandIn::start();
    let outcome = by_names(&stand_in, &["a", "b"]).input("timeout", "never").run().exited(2);
    assert_eq!(outcome.output_text, "files=[]\n");
    let refused = by_names(&stand_in, &["a", "b"]).input("api-key", "another").run().exited(5);
    assert_eq!(codes(&refused), [5, 5]);
    assert_eq!(values(&files(&refused), "name"), ["a", "b"]);
    assert!(!refused.outputs.contains_key("paths"));
}

/// How an export fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    None,
    Failed,
    EmptyList,
    /// The API does not know the export.
    NotFound,
    /// The store refuses every signed URL.
    Store,
}

impl Failure {
    fn code(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Failed | Self::EmptyList => 3,
            Self::NotFound => 5,
            Self::Store => 1,
        }
    }

    /// Returns what the message about the run says.
    fn words(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Failed => "ended with status failed",
            Self::EmptyList => "ended with status empty_list",
            Self::NotFound => "404",
            Self::Store => "AccessDenied",
        }
    }
}

/// Starts a stand-in with an export for each of these, and a step that starts a run of each.
fn failing(failures: &[Failure]) -> (StandIn, Step) {
    let builder = failures.iter().zip(1..).fold(StandIn::builder(), |builder, (failure, id)| {
        let last = match failure {
            Failure::Failed => "Failed",
            Failure::EmptyList => "Empty List",
            Failure::None | Failure::NotFound | Failure::Store => "Available",
        };
        let filename = format!("export-{id}.csv");
        builder.export(id, &format!("Export {id}"), many_run_id(id), |run| {
            run.statuses(&["Queued", last]).filename(&filename)
        })
    });
    let stand_in = builder.start();
    for (failure, id) in failures.iter().zip(1..) {
        match failure {
            Failure::NotFound => {
                let not_found = ResponseTemplate::new(404).set_body_json(json!({ "message": "Not Found" }));
                stand_in.next_api_response_to("POST", &format!("/exports/{id}/"), not_found);
            }
            Failure::Store => (0..8).for_each(|_| {
                stand_in.next_store_response_of(many_run_id(id), |_, _| {
                    vec![Action::Send(error_response(403, "AccessDenied"))]
                });
            }),
            Failure::None | Failure::Failed | Failure::EmptyList => {}
        }
    }
    let step = by_many_names(&stand_in, failures.len() as u64);
    (stand_in, step)
}

#[test]
fn one_failure_does_not_stop_the_others_and_the_most_severe_one_gives_the_exit_code() {
    use Failure::{EmptyList, Failed, None, NotFound, Store};

    for (failures, code) in [
        (&[None, Failed][..], 3),
        (&[EmptyList, None, None], 3),
        (&[NotFound, None], 5),
        (&[None, Store], 1),
        (&[Failed, None, NotFound], 5),
        (&[NotFound, Store, None], 1),
        (&[Failed, Store, None, EmptyList], 1),
        (&[None, Failed, EmptyList, NotFound, Store, None], 1),
    ] {
        let (stand_in, step) = failing(failures);
        let outcome = step.run().exited(code);

        assert_eq!(codes(&outcome), failures.iter().map(|failure| failure.code()).collect::<Vec<_>>());
        let saved: Vec<_> = failures.iter().zip(1..).filter(|(failure, _)| **failure == None).collect();
        let expected: Vec<String> = saved.iter().map(|(_, id)| format!("export-{id}.csv")).collect();
        assert_eq!(outcome.files(), expected, "{failures:?}");
        assert_eq!(outcome.outputs["paths"], expected.join("\n"), "{failures:?}");
        for (_, id) in saved {
            assert_eq!(outcome.read(&format!("export-{id}.csv")), stand_in.file_of(many_run_id(id)));
        }
    }
}

#[test]
fn every_failure_is_in_the_annotation_the_summary_and_the_log() {
    use Failure::{EmptyList, Failed, None, NotFound, Store};

    let failures = [None, Failed, EmptyList, NotFound, Store, None];
    let (_stand_in, step) = failing(&failures);
    let outcome = step.run().exited(1);

    let error = outcome.error();
    assert!(error.starts_with("4 of 6 runs failed; 2 files were saved\n"), "{error}");
    for (failure, id) in failures.into_iter().zip(1..) {
        let label = format!("Export {id}");
        let lines: Vec<&str> = error.lines().filter(|line| line.starts_with(&format!("- {label}"))).collect();
        let row = outcome.summary.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{label}`")));
        let row = row.unwrap_or_default();
        if failure == None {
            assert!(lines.is_empty(), "{error}");
            assert!(row.starts_with("| ✅ |") && row.contains(&format!("`export-{id}.csv`")), "{row}");
        } else {
            assert_eq!(lines.len(), 1, "{error}");
            assert!(lines[0].contains(failure.words()), "{error}");
            assert!(row.starts_with("| ❌ |"), "{row}");
        }

        // The whole message of a run that failed is where there is room for it.
        let message = files(&outcome)[id - 1]["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(failure.words()), "{message}");
        assert!(outcome.summary.contains(&message), "{}", outcome.summary);
        if failure != None {
            let in_log = format!("\nfailed: {label}\n  {message}\n  hint: ");
            assert!(outcome.stdout.contains(&in_log), "{in_log}\nis not in:\n{}", outcome.stdout);
        }
        // A run that was not started is not in the diagram.
        let sections = outcome.summary.matches(&format!("\n    section {label}\n")).count();
        assert_eq!(sections, usize::from(failure != NotFound), "{}", outcome.summary);
    }
    assert_eq!(outcome.summary.matches("```mermaid").count(), 1);
}

#[test]
fn says_that_no_run_was_started_only_if_that_is_certain() {
    let (_stand_in, step) = failing(&[Failure::NotFound; 2]);
    let outcome = step.run().exited(5);
    outcome.with_error(
        "2 of 2 runs failed; no run was started and no file was written; existing files were left unchanged",
    );

    // WebAdMIT may have started the run in spite of the error.
    let stand_in = StandIn::builder().many_exports(2).start();
    let busy = ResponseTemplate::new(503).insert_header("Retry-After", "7200");
    stand_in.every_api_response_to("POST", "/export_files", busy);
    let outcome = by_many_names(&stand_in, 2).input("timeout", "20s").run().exited(4);
    outcome.with_error("2 of 2 runs failed; no file was written; existing files were left unchanged");
}

#[test]
fn an_export_without_a_latest_run_fails_alone() {
    let stand_in = StandIn::builder().many_exports(2).export(3, "New", 73, |run| run.hidden_from_list()).start();
    let step = by_names(&stand_in, &["Export 2", "New", "Export 1"]).input("export-file-id", "latest");
    let outcome = step.run().exited(5);
    assert_eq!(codes(&outcome), [0, 5, 0]);
    assert_eq!(outcome.outputs["paths"], "export-2.csv\nexport-1.csv");
    let error = outcome.error();
    let line = "\n- New: latest run of export 3 (New) not found among the 6 recent runs of identity 305 (SOPHAS, ";
    assert!(error.starts_with("1 of 3 runs failed; 2 files were saved\n") && error.contains(line), "{error}");
    assert!(outcome.stdout.contains("  New: failed: no recent run was found\n"), "{}", outcome.stdout);
    assert_eq!(count_requests(&stand_in, "POST "), 0);
}

#[test]
fn a_failed_export_does_not_stop_a_pdf_template() {
    let stand_in = StandIn::builder().export(1, "Broken", 71, |run| run.statuses(&["Failed"])).start();
    let step = by_names(&stand_in, &["Broken"]).input("pdf-template", PDF_TEMPLATE_NAME);
    let outcome = step.run().exited(3);
    assert_eq!(codes(&outcome), [3, 0]);
    assert_eq!(outcome.files(), [PDF_ZIP_FILENAME]);
    assert_eq!(values(&files(&outcome), "kind"), ["export", "pdf_batch"]);
    assert_eq!((&*outcome.outputs["export-file-id"], &*outcome.outputs["pdf-batch-id"]), ("71", "42"));
    assert!(!outcome.outputs.contains_key("path"));
}

/// Returns how often the recent runs were listed, and how often each run was checked individually. On a busy machine, the first
/// runs can wait for the others to be started for longer than the poll interval, so a test repeats this.
fn count_polls(builder: &Builder, number: u64) -> (usize, Vec<usize>) {
    let stand_in = builder.clone().start();
    by_many_names(&stand_in, number).run().exited(0);
    (count_requests(&stand_in, RECENT_RUNS), (1..=number).map(|export| count_checks(&stand_in, export)).collect())
}

#[track_caller]
fn assert_polls(builder: &Builder, number: u64, expected: &(usize, Vec<usize>)) {
    let polls = repeat_until(|| count_polls(builder, number), |polls| polls == expected);
    assert_eq!(polls, *expected, "{number} runs");
}

#[test]
fn polling_several_runs_costs_as_many_requests_as_polling_one() {
    let statuses = ["Queued", "In Progress", "In Progress", "In Progress", "In Progress", "Available"];
    for number in [2, 5, 20] {
        let builder = StandIn::builder().many_exports(number).statuses(&statuses);
        // One request for each status, whatever the number of runs, and one for each signed URL.
        assert_polls(&builder, number, &(statuses.len(), vec![1; number as usize]));
    }
}

#[test]
fn the_last_run_in_progress_is_checked_individually() {
    let (short, long) = (["Queued", "Available"], ["Queued", "In Progress", "In Progress", "In Progress", "Available"]);
    let builder = StandIn::builder().many_exports(3).statuses(&short);
    let builder = builder.export(2, "Export 2", many_run_id(2), |run| run.statuses(&long));
    assert_polls(&builder, 3, &(2, vec![1, 3, 1]));
}

#[test]
fn a_run_that_is_not_in_the_list_is_checked_individually() {
    let statuses = ["Queued", "In Progress", "In Progress", "Available"];
    let builder = StandIn::builder().many_exports(4).statuses(&statuses);
    let builder = builder.export(3, "Export 3", many_run_id(3), |run| run.hidden_from_list());
    assert_polls(&builder, 4, &(statuses.len(), vec![1, 1, statuses.len(), 1]));
}

#[test]
fn without_the_list_every_run_is_checked_individually() {
    let statuses = ["Queued", "In Progress", "In Progress", "Available"];
    for (status, max_lists) in [(403, 1), (404, 1), (422, 1), (500, usize::MAX)] {
        let stand_in = StandIn::builder().many_exports(3).statuses(&statuses).start();
        stand_in.every_api_response_to("GET", "/305/export_files", ResponseTemplate::new(status));
        let outcome = by_many_names(&stand_in, 3).run().exited(0);
        assert_eq!([1, 2, 3].map(|export| count_checks(&stand_in, export)), [statuses.len(); 3], "{status}");
        let lists = count_requests(&stand_in, RECENT_RUNS);
        assert!((1..=max_lists).contains(&lists), "{lists} after {status}");
        assert!(codes(&outcome).iter().all(|&code| code == 0));
    }

    let stand_in = StandIn::builder().many_exports(3).statuses(&statuses).start();
    by_many_run_ids(&stand_in, 3).run().exited(0);
    let requests = api_requests(&stand_in);
    assert!(requests.iter().all(|request| request.starts_with("GET /api/v1/exports/")), "{requests:?}");
    assert_eq!(requests.len(), 3 * statuses.len(), "no identity is needed for existing runs");
}

#[test]
fn warns_once_about_unknown_statuses_of_several_runs() {
    let stand_in = StandIn::builder().many_exports(3).statuses(&["Odd", "Odder", "Available"]).start();
    let outcome = by_many_names(&stand_in, 3).run().exited(0);
    assert_eq!(outcome.stdout.matches("::warning ").count(), 1, "{}", outcome.stdout);
    assert!(outcome.stdout.contains("unknown status `odd"), "{}", outcome.stdout);
}

#[test]
fn warns_about_another_export_after_the_list_has_shown_the_run() {
    let stand_in = StandIn::builder().many_exports(2).statuses(&["In Progress", "In Progress", "Available"]).start();
    let other = run_of_export_json(many_run_id(2), 5, "In Progress", None);
    stand_in.next_api_response_to("GET", "/exports/2/", ResponseTemplate::new(200).set_body_json(other));
    let outcome = by_many_names(&stand_in, 2).run().exited(0);
    let warning = "Export 2: the run belongs to export 5 according to WebAdMIT, not to export 2";
    assert!(outcome.stdout.contains(warning), "{}", outcome.stdout);
}

/// The API asks one run to retry later, and the other runs wait as well. In that time, another run would be checked dozens of
/// times. A shorter Retry-After for another run does not end the wait.
#[test]
fn retry_after_for_one_run_holds_for_all() {
    let busy = |seconds: &str| ResponseTemplate::new(429).insert_header("Retry-After", seconds);
    let statuses = [&["In Progress"; 9][..], &["Available"]].concat();
    for also in [None, Some(busy("1").set_delay(Duration::from_millis(100)))] {
        let stand_in = StandIn::builder().many_exports(3).statuses(&statuses).start();
        stand_in.next_api_response_to("GET", "/exports/2/", busy("3"));
        if let Some(also) = also {
            stand_in.next_api_response_to("GET", "/exports/1/", also);
        }
        by_many_run_ids(&stand_in, 3).run().exited(0);

        let requests = api_requests(&stand_in);
        let mut of_busy = (0..requests.len()).filter(|&at| requests[at].contains("/exports/2/"));
        let (first, second) = (of_busy.next().unwrap(), of_busy.next().unwrap());
        // Those that were sent already, and those of the other runs that are sent first after the pause.
        assert!(second - first - 1 <= 4, "{requests:?}");
    }
}

#[test]
fn retry_after_beyond_the_timeout_ends_the_step() {
    let busy = || ResponseTemplate::new(503).insert_header("Retry-After", "7200");
    for (method, path) in [("GET", "/exports/2/"), ("POST", "/exports/2/"), ("GET", "/305/export_files")] {
        let stand_in = StandIn::builder().many_exports(3).statuses(&["In Progress"]).start();
        stand_in.next_api_response_to(method, path, busy());
        let step = if method == "GET" && path.starts_with("/exports") {
            by_many_run_ids(&stand_in, 3)
        } else {
            by_many_names(&stand_in, 3)
        };
        let outcome = step.input("timeout", "20s").run().exited(4);
        assert_eq!(codes(&outcome), [4; 3], "{method} {path}");
        outcome.with_error("the server asked to retry after 2 h").with_error("(timeout: 20 s)");
    }
}

#[test]
fn runs_that_wait_for_the_requests_of_others_also_obey_retry_after() {
    let stand_in = StandIn::builder().many_exports(20).start();
    let busy = ResponseTemplate::new(429).insert_header("Retry-After", "7200");
    stand_in.every_api_response_to("POST", "/export_files", busy);
    let outcome = by_many_names(&stand_in, 20).input("timeout", "20s").run().exited(4);
    assert_eq!(codes(&outcome), [4; 20]);
    assert_eq!(count_requests(&stand_in, "POST "), 8, "{:?}", api_requests(&stand_in));
}

#[test]
fn the_store_sends_at_most_eight_responses_at_a_time() {
    let (stand_in, gate) = (StandIn::builder().many_exports(20).start(), Gate::new());
    let (arrived, arrivals) = channel();
    for export in 1..=20 {
        wait_for(&stand_in, many_run_id(export), &gate, &format!("export-{export}.csv"), &arrived);
    }
    let running = by_many_names(&stand_in, 20).spawn();
    for _ in 0..8 {
        arrivals.recv_timeout(EVENT_TIMEOUT).unwrap();
    }
    // No connection is free now, so no other signed URL is requested. The first ones expire here.
    assert_eq!(count_requests(&stand_in, "GET /api/v1/exports/"), 8, "{:?}", api_requests(&stand_in));
    stand_in.expire_urls();
    gate.open();

    running.wait().exited(0);
    assert_eq!(stand_in.max_store_responses(), 8);
    assert_eq!(stand_in.store().requests().len(), 20);
    assert_eq!(count_requests(&stand_in, "GET /api/v1/exports/"), 20, "{:?}", api_requests(&stand_in));
}

/// The response to a check of a batch has no signed URL.
#[test]
fn a_batch_is_checked_while_all_connections_are_used() {
    let builder = StandIn::builder().many_exports(8);
    let pdf = |batch: BatchBuilder| batch.statuses(&["in_progress"; 100]);
    let stand_in = builder.pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, pdf).start();
    let (gate, (arrived, arrivals)) = (Gate::new(), channel());
    for export in 1..=8 {
        wait_for(&stand_in, many_run_id(export), &gate, &format!("export-{export}.csv"), &arrived);
    }
    let running = by_many_names(&stand_in, 8).input("pdf-template", PDF_TEMPLATE_NAME).spawn();
    for _ in 0..8 {
        arrivals.recv_timeout(EVENT_TIMEOUT).unwrap();
    }
    let failed = pdf_batch_json(PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, "failed", CREATED_AT, &[]);
    let failed = ResponseTemplate::new(200).set_body_json(failed);
    stand_in.next_api_response_to("GET", "/pdf_manager_batches/", failed);
    running.wait_for_stdout(&format!("{PDF_TEMPLATE_NAME}: failed: "));
    // Silent downloads are retried after 20 s, which frees their connections.
    assert_eq!(stand_in.store().requests().len(), 8, "the batch was checked before");
    gate.open();
    assert_eq!(codes(&running.wait().exited(3)), [0, 0, 0, 0, 0, 0, 0, 0, 3]);
}

/// Starts a stand-in with exports 1 and 2, whose files have the same name.
fn with_the_same_name() -> StandIn {
    let builder = StandIn::builder().export(1, "First", 71, |run| run.file(b"first").filename("same.csv"));
    builder.export(2, "Second", 72, |run| run.file(b"second").filename("same.csv")).start()
}

#[test]
fn of_two_files_with_the_same_path_the_first_in_the_inputs_stays() {
    for (inputs, first_to_finish) in
        [("First\nSecond", 71), ("First\nSecond", 72), ("Second\nFirst", 71), ("Second\nFirst", 72)]
    {
        let (stand_in, gate) = (with_the_same_name(), Gate::new());
        let other = 71 + 72 - first_to_finish;
        wait_for(&stand_in, other, &gate, "same.csv", &channel().0);
        let step = github(&stand_in).by_names().input("export-name", inputs).existing_file("out/same.csv", b"older");
        let running = step.input("directory", "out").spawn();
        running.wait_for_stdout(if first_to_finish == 71 { "First: saved " } else { "Second: saved " });
        gate.open();
        let outcome = running.wait().exited(1);

        let (stays, fails) = inputs.split_once('\n').unwrap();
        let run = if fails == "First" { 71 } else { 72 };
        let conflict =
            format!("{fails} (run {run}): cannot save the file as out/same.csv: {stays} has a file of the same path");
        let outcome = outcome.with_error("1 of 2 runs failed; 1 file was saved\n").with_error(&conflict);
        assert_eq!(outcome.files(), ["out/", "out/same.csv"], "{inputs}, {first_to_finish} first");
        assert_eq!(outcome.read("out/same.csv"), stays.to_lowercase().as_bytes(), "{inputs}, {first_to_finish} first");
        assert_eq!(codes(&outcome), [0, 1], "{inputs}, {first_to_finish} first");
        assert_eq!(values(&files(&outcome), "path"), [json!("out/same.csv"), Value::Null]);
        assert_eq!(outcome.outputs["paths"], "out/same.csv");
        assert_eq!(files(&outcome)[0]["sha256"], sha256_hex(stays.to_lowercase().as_bytes()));
    }
}

#[test]
fn a_path_is_free_if_the_first_run_has_no_file() {
    let stand_in = with_the_same_name();
    for _ in 0..8 {
        stand_in.next_store_response_of(71, |_, _| vec![Action::Send(error_response(403, "AccessDenied"))]);
    }
    let outcome = by_names(&stand_in, &["First", "Second"]).existing_file("same.csv", b"older").run().exited(1);
    assert_eq!(codes(&outcome), [1, 0]);
    assert_eq!((outcome.files(), outcome.read("same.csv")), (vec!["same.csv".to_owned()], b"second".to_vec()));
}

#[test]
fn an_existing_file_stays_until_a_file_is_complete() {
    let (stand_in, gate) = (with_the_same_name(), Gate::new());
    for run in [71, 72] {
        let gate = Arc::clone(&gate);
        stand_in.next_store_response_of(run, move |_, _| {
            let start = [head(200, &[], 10), b"start".to_vec()].concat();
            vec![Action::Send(start), Action::WaitFor(Arc::clone(&gate)), Action::Close]
        });
        for _ in 0..8 {
            stand_in.next_store_response_of(run, |_, _| vec![Action::Send(error_response(403, "AccessDenied"))]);
        }
    }
    let step = by_names(&stand_in, &["First", "Second"]).existing_file("same.csv", b"older");
    let existing = step.workspace().join("same.csv");
    let running = step.spawn();
    stand_in.store().wait_for_requests(2);
    assert_eq!(fs::read(existing).unwrap(), b"older");
    gate.open();

    let outcome = running.wait().exited(1);
    assert_eq!((outcome.files(), outcome.read("same.csv")), (vec!["same.csv".to_owned()], b"older".to_vec()));
    assert_eq!(codes(&outcome), [1, 1]);
}

#[test]
fn names_that_cannot_be_resolved_are_reported_at_once_and_nothing_is_started() {
    let builder = StandIn::builder().many_exports(40).export(41, "Twice", 91, |run| run);
    let stand_in = builder.export(42, " TWICE ", 92, |run| run).start();
    let unknown: Vec<String> = (1..=30).map(|number| format!("Unknown {number}")).collect();
    let unknown: Vec<&str> = unknown.iter().map(String::as_str).collect();
    for names in [&["Export 1", "Export X 2"][..], &["Export Y 1", "Twice", "Export 3", "nothing"], &unknown] {
        let outcome = by_names(&stand_in, names).input("pdf-template", "No Such Template").run().exited(5);
        let error = outcome.error();
        let failing = names.iter().filter(|name| !name.starts_with("Export ")).chain([&"No Such Template"]);
        for name in failing {
            let lines = error.lines().filter(|line| line.contains(&format!("`{name}`"))).count();
            assert_eq!(lines, 1, "{name} in:\n{error}");
        }
        let suggestions = error.lines().filter(|line| line.starts_with("  ")).count();
        assert!(suggestions <= 20, "{suggestions} suggestions:\n{error}");
        assert_eq!(codes(&outcome), vec![5; names.len() + 1]);
        assert_eq!(outcome.outputs["user-identity-id"], "305");
        assert!(outcome.files().is_empty() && !outcome.outputs.contains_key("status"));
    }
    assert_eq!(count_requests(&stand_in, "POST "), 0);
}

#[test]
fn a_message_about_many_long_names_is_whole() {
    let stand_in = StandIn::start();
    let names: Vec<String> = (1..=50).map(|number| format!("{} {number}", "a long name".repeat(9))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for number in [2, 9, 20, 50] {
        let error = by_names(&stand_in, &names[..number]).run().exited(5).error();
        assert!(error.chars().count() < 4096, "{}", error.chars().count());
        assert!(error.contains("\nhint: use the exact names from WebAdMIT, or ids; "), "{error}");
        let lines = error.lines().count() - 2;
        assert!(lines <= 20 || number > 20 && lines == 21, "{error}");
    }
}

#[test]
fn runs_that_need_no_identity_have_none_in_the_message() {
    let stand_in = StandIn::builder().many_exports(2).start();
    for identity in ["", "305"] {
        let step = by_many_run_ids(&stand_in, 2).input("user-identity-id", identity);
        let outcome = step.env("GITHUB_WORKSPACE", "/no/such/place").run().exited(1);
        assert!(outcome.error().starts_with("2 exports: cannot use the workspace "), "{}", outcome.error());
    }
}

#[test]
fn the_hint_about_a_pdf_template_beside_exports_has_its_own_inputs() {
    let stand_in = StandIn::start();
    for (template, hint) in [
        (
            "No Such Template",
            "hint: use the exact name from WebAdMIT; if the new cycle does not have the PDF template yet, ",
        ),
        ("2", "hint: this is an id; set it as pdf-template-id, or set pdf-template to the name"),
        ("2  305  Offers", "hint: this looks like a row of a list; set pdf-template to the value in the column NAME"),
    ] {
        github(&stand_in).by_names().input("pdf-template", template).run().exited(5).with_error(hint);
    }
}

#[test]
fn an_export_and_a_pdf_template_with_the_same_name_have_different_labels() {
    let batch = |batch: BatchBuilder| batch.statuses(&["failed"]);
    let stand_in = StandIn::builder().pdf_template(PDF_TEMPLATE_ID, EXPORT_NAME, PDF_BATCH_ID, batch).start();
    let outcome = github(&stand_in).by_names().input("pdf-template", EXPORT_NAME).run().exited(3);
    for line in [
        format!("  {EXPORT_NAME} (export {EXPORT_ID}): available\n"),
        format!("  {EXPORT_NAME} (PDF template {PDF_TEMPLATE_ID}): failed\n"),
    ] {
        assert!(outcome.stdout.contains(&line), "{line} is not in:\n{}", outcome.stdout);
    }
    let label = format!(
        "\n- {EXPORT_NAME} (PDF template {PDF_TEMPLATE_ID}) (batch {PDF_BATCH_ID}): ended with status failed\n"
    );
    outcome.with_error(&label);
}

/// Starts a stand-in with a run that ends at once, one whose download hangs, and one that stays in progress.
fn with_a_download_that_hangs() -> StandIn {
    let builder = StandIn::builder().many_exports(3);
    let stand_in = builder.export(3, "Export 3", many_run_id(3), |run| run.statuses(&["In Progress"])).start();
    stand_in.next_store_response_of(many_run_id(2), |_, _| {
        vec![Action::Send(head(200, &[], 1000)), Action::Send(vec![b'x'; 500]), Action::Hang]
    });
    stand_in
}

#[track_caller]
fn assert_only_the_first_is_saved(outcome: &Outcome, code: u64) {
    assert_eq!(codes(outcome), [0, code, code], "{}", outcome.stdout);
    assert_eq!(outcome.files(), ["export-1.csv"]);
    assert_eq!(outcome.outputs["paths"], "export-1.csv");
    assert_eq!(outcome.outputs["status"], "in_progress");
    assert_eq!(values(&files(outcome), "status"), ["available", "available", "in_progress"]);
}

#[test]
fn a_signal_writes_the_outputs_and_removes_the_partial_files() {
    for (signal, code, name) in [(Signal::INT, 130, "SIGINT"), (Signal::TERM, 143, "SIGTERM")] {
        let stand_in = with_a_download_that_hangs();
        let running = by_many_names(&stand_in, 3).input("poll-interval", "20ms").spawn();
        running.wait_for_stdout("Export 1: saved ");
        running.wait_for_stdout("Export 2: downloading ");
        running.wait_for_stdout("Export 3: in_progress");
        running.signal(signal);
        let outcome = running.wait().exited(code).with_error(&format!("interrupted by {name}; 1 file was saved"));
        assert_only_the_first_is_saved(&outcome, code as u64);
        assert!(outcome.summary.contains(name), "{}", outcome.summary);
        for row in ["| ✅ | 1, `Export 1` |", "| — | 2, `Export 2` |", "| — | 3, `Export 3` |"] {
            assert!(outcome.summary.contains(row), "{row} is not in:\n{}", outcome.summary);
        }
    }
}

#[test]
fn a_signal_during_many_downloads_removes_every_partial_file() {
    let stand_in = StandIn::builder().many_exports(12).start();
    for run in (1..=12).map(many_run_id) {
        stand_in.next_store_response_of(run, |_, _| {
            vec![Action::Send(head(200, &[], 1000)), Action::Send(vec![b'x'; 500]), Action::Hang]
        });
    }
    let step = by_many_names(&stand_in, 12).input("directory", "new/deep").existing_file("older.csv", b"older");
    let running = step.spawn();
    stand_in.store().wait_for_requests(8);
    running.signal(Signal::TERM);
    let outcome = running.wait().exited(143);
    assert_eq!((outcome.files(), codes(&outcome)), (vec!["older.csv".to_owned()], vec![143; 12]));
}

#[test]
fn a_signal_is_more_severe_than_the_failure_of_a_run() {
    let statuses = [["In Progress"], ["Failed"], ["Empty List"]];
    let stand_in = statuses.iter().zip(1..).fold(StandIn::builder(), |builder, (statuses, id)| {
        builder.export(id, &format!("Export {id}"), many_run_id(id), |run| run.statuses(statuses))
    });
    let stand_in = stand_in.start();
    let running = by_many_names(&stand_in, 3).input("fail-on", "failed").spawn();
    for line in ["Export 1: in_progress", "Export 2: failed: ", "Export 3: no file was produced"] {
        running.wait_for_stdout(line);
    }
    running.signal(Signal::INT);
    let outcome = running.wait().exited(130);
    // The runs that had ended before keep their own results.
    assert_eq!(codes(&outcome), [130, 3, 0]);
    for row in ["| — | 1, `Export 1` |", "| ❌ | 2, `Export 2` |", "| ✅ | 3, `Export 3` |"] {
        assert!(outcome.summary.contains(row), "{row} is not in:\n{}", outcome.summary);
    }
    outcome.with_error("interrupted by SIGINT").with_error("\n- Export 2 (run 70002): ended with status failed");
}

#[test]
fn the_timeout_ends_the_runs_that_have_not_ended() {
    let play = |timeout: &str| {
        let stand_in = with_a_download_that_hangs();
        by_many_names(&stand_in, 3).input("timeout", timeout).run()
    };
    let is_reached = |outcome: &Outcome| {
        ["Export 1: saved ", "Export 2: downloading ", "Export 3: in_progress"]
            .iter()
            .all(|words| outcome.stdout.contains(words))
    };
    let outcome = with_growing_timeout(play, is_reached).exited(4);
    assert_only_the_first_is_saved(&outcome, 4);
    let outcome =
        outcome.with_error("2 of 3 runs timed out; 1 file was saved\n- Export 2 (run 70002): timed out after ");
    let outcome = outcome.with_error("; last status: in_progress (seen 0:");
    let outcome = outcome
        .with_error("hint: set a longer timeout, or re-run the step with export-file-id: 70001,70002,70003 to wait");
    let only = "re-run the step with only this export (export-id: 3 and export-file-id: 70003) to wait for this run";
    assert!(outcome.stdout.contains(only), "{}", outcome.stdout);
}

#[test]
fn invalid_inputs_for_several_runs_are_rejected_before_any_request() {
    let stand_in = StandIn::builder().many_exports(60).start();
    let many =
        |number: usize, separator: &str| (1..=number).map(|id| id.to_string()).collect::<Vec<_>>().join(separator);
    let (ids, names) = (many(51, " "), many(51, "\n"));
    for (inputs, words) in [
        (&[("export-id", "1 2"), ("export-file-id", "7")][..], "export-file-id: has 1 id, but export-id has 2"),
        (&[("export-id", "1"), ("export-file-id", "7 8")], "export-file-id: has 2 ids, but export-id has 1"),
        (
            &[("export-id", ""), ("export-name", "a\nb"), ("export-file-id", "7 8 9")],
            "export-file-id: has 3 ids, but export-name has 2",
        ),
        (&[("export-id", "1 2"), ("export-file-id", "7 latest")], "export-file-id: `7 latest` contains `latest`"),
        (
            &[("export-id", "1 2"), ("export-file-id", "7 8"), ("filename", "a.csv")],
            "filename: `a.csv` is a name for the file of a single export",
        ),
        (
            &[("export-id", ""), ("pdf-template", "a"), ("identity", "SOPHAS"), ("filename", "a.csv")],
            "filename: `a.csv` is a name for the file of a single export",
        ),
        (&[("export-id", "1, 2, 1"), ("export-file-id", "latest")], "export-id: `1` is given twice"),
        (&[("export-id", "1 01"), ("export-file-id", "latest")], "export-id: `01` is given twice"),
        (&[("export-id", "1 2"), ("export-file-id", "7\n7")], "export-file-id: `7` is given twice"),
        (&[("export-id", ""), ("export-name", "Nightly\n b\n NIGHTLY ")], "export-name: `NIGHTLY` is given twice"),
        (&[("export-id", ""), ("export-name", "a\u{a0}b\nA b")], "export-name: `A b` is given twice"),
        (
            &[("export-id", &ids), ("export-file-id", "")],
            "export-id: 51 runs are requested in all; a step fetches at most 50",
        ),
        (
            &[("export-id", ""), ("export-name", &names)],
            "export-name: 51 runs are requested in all; a step fetches at most 50",
        ),
        (
            &[("export-id", &many(50, ",")), ("export-file-id", ""), ("pdf-template", "a")],
            "51 runs are requested in all",
        ),
        (&[("export-id", "1 two 3")], "export-id: `1 two 3` contains `two`, which is not a positive integer"),
        (&[("export-id", "1 2"), ("export-name", "a")], "export-name"),
        (&[("export-id", ", ,")], "export-id: `, ,` is not an id"),
    ] {
        let step = github(&stand_in).input("export-file-id", "").input("user-identity-id", "305");
        let has_words = inputs.iter().any(|(name, _)| *name == "identity");
        let step = if has_words { step.input("user-identity-id", "") } else { step };
        let step = inputs.iter().fold(step, |step, (name, value)| step.input(name, value));
        let outcome = step.run().exited(2).with_error(words);
        assert_eq!((outcome.files(), outcome.output_text.as_str()), (vec![], "files=[]\n"), "{words}");
    }
    assert!(stand_in.api_requests().is_empty());

    by_many_names(&stand_in, 50).run().exited(0);
}

#[test]
fn runs_that_were_just_started_may_be_unknown_for_a_while() {
    let builder = StandIn::builder().many_exports(3);
    let hidden = (1..=3).fold(builder, |builder, id| {
        builder.export(id, &format!("Export {id}"), many_run_id(id), |run| {
            run.hidden_from_list().filename(&format!("export-{id}.csv"))
        })
    });
    let stand_in = hidden.start();
    stand_in.hide_run_for(7);
    assert_eq!(by_many_names(&stand_in, 3).run().exited(0).files(), ["export-1.csv", "export-2.csv", "export-3.csv"]);
    assert_eq!(count_requests(&stand_in, "GET /api/v1/exports/"), 7 + 3);
}

#[test]
fn the_output_file_is_never_replaced() {
    let stand_in = StandIn::builder().export(1, "First", 71, |run| run.filename("out.env"));
    let stand_in = stand_in.export(2, "Second", 72, |run| run.filename("b.csv")).start();
    let outcome = by_names(&stand_in, &["First", "Second"]).input("output-file", "out.env").run().exited(1);
    assert_eq!((codes(&outcome), outcome.files()), (vec![1, 0], vec!["b.csv".to_owned(), "out.env".to_owned()]));
    assert!(outcome.read("out.env").starts_with(b"WEBADMIT_STATUS=available\n"));
    outcome.with_error("\n- First (run 71): cannot save the file as out.env: output-file has the same path");
}

#[test]
fn runs_whose_checks_keep_failing_leave_the_connections_to_the_others() {
    let stand_in = StandIn::builder().many_exports(9).start();
    for export in 1..=8 {
        let without_url = run_of_export_json(many_run_id(export), export, "Available", None);
        let response = ResponseTemplate::new(200).set_body_json(without_url);
        stand_in.every_api_response_to("GET", &format!("/exports/{export}/export_files/"), response);
    }
    let running = by_many_run_ids(&stand_in, 9).spawn();
    running.wait_for_stdout("saved export-9.csv");
    running.signal(Signal::TERM);
    assert_eq!(running.wait().exited(143).files(), ["export-9.csv"]);
}

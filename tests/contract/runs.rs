//! Starting a run, polling it, and what its terminal status means for the step.

use std::sync::Arc;
use std::sync::mpsc::channel;

use wiremock::ResponseTemplate;

use crate::support::server::EVENT_TIMEOUT;
use crate::support::{Action, FILENAME, Gate, RUN_ID, StandIn, error_response, github, run_json, run_json_with_url};

#[test]
fn polls_a_run_and_downloads_its_file() {
    let stand_in = StandIn::with_statuses(&["Initializing", "Queued", "In Progress", "In Progress", "Available"]);
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.files(), [FILENAME]);
    assert_eq!(outcome.read(FILENAME), stand_in.file());
    let paths: Vec<_> = stand_in.api_requests().iter().map(|request| request.url.path().to_owned()).collect();
    assert_eq!(paths, ["/api/v1/exports/86446/export_files/74780"; 5]);
    for line in ["status: initializing", "status: queued", "status: in_progress", "status: available"] {
        assert_eq!(outcome.stdout.matches(line).count(), 1, "{}", outcome.stdout);
    }
}

#[test]
fn accepts_every_spelling_of_a_status() {
    for (sent, code, status) in [
        ("Available", 0, "available"),
        ("available", 0, "available"),
        ("Success With Errors", 0, "success_with_errors"),
        ("success_with_errors", 0, "success_with_errors"),
        ("SUCCESS-WITH-ERRORS", 0, "success_with_errors"),
        ("Empty List", 3, "empty_list"),
        ("empty_list", 3, "empty_list"),
        ("Failed", 3, "failed"),
        ("failed", 3, "failed"),
    ] {
        let stand_in = StandIn::with_statuses(&["In Progress", sent]);
        let outcome = github(&stand_in).run().exited(code);
        assert_eq!(outcome.outputs["status"], status, "{sent}");
        assert_eq!(outcome.files().is_empty(), code == 3, "{sent}");
        assert!(!outcome.mentions("With Errors") && !outcome.mentions("Empty List"));
    }
}

#[test]
fn fail_on_selects_the_statuses_that_fail_the_step() {
    for (sent, fail_on, code) in [
        ("Empty List", "failed", 0),
        ("Failed", "empty_list", 0),
        ("Failed", "FAILED", 3),
        ("Success With Errors", "failed, empty_list\nSuccess With Errors", 3),
        ("Empty List", "Empty List", 3),
        ("Failed", "failed empty_list", 3),
        ("Failed", "failed errors", 2),
        ("Success With Errors", "failed\nsuccess-with-errors", 3),
        ("Available", "failed,empty_list,success_with_errors", 0),
    ] {
        let stand_in = StandIn::with_statuses(&[sent]);
        let outcome = github(&stand_in).input("fail-on", fail_on).run().exited(code);
        let passes = outcome.stdout.contains("allowed by fail-on\n");
        assert_eq!(passes, code == 0 && sent != "Available", "{}", outcome.stdout);
    }
}

#[test]
fn fail_on_none_accepts_every_terminal_status() {
    for status in ["Failed", "Empty List", "Success With Errors"] {
        let stand_in = StandIn::with_statuses(&["Queued", status]);
        let outcome = github(&stand_in).input("fail-on", "None").run().exited(0);
        assert_eq!(outcome.files().is_empty(), status != "Success With Errors");
        let is_warning = outcome.stdout.contains("::warning") && outcome.summary.contains("⚠️");
        assert_eq!(is_warning, status != "Empty List", "{}", outcome.stdout);
    }
    let stand_in = StandIn::start();
    let outcome = github(&stand_in).input("fail-on", "none, failed").run().exited(2);
    let message = "fail-on: `none, failed` contains `none`, which cannot be combined with anything else";
    assert!(outcome.error().contains(message), "{}", outcome.error());
}

#[test]
fn downloads_the_file_before_its_status_fails_the_step() {
    let stand_in = StandIn::with_statuses(&["Success With Errors"]);
    let lenient = github(&stand_in).run().exited(0);
    let headline = format!(
        "### WebAdMIT export: ⚠️ `{FILENAME}` saved, but WebAdMIT reported errors; applicants may be missing\n"
    );
    assert!(lenient.summary.starts_with(&headline), "{}", lenient.summary);
    let outcome = github(&stand_in).input("fail-on", "success_with_errors").run().exited(3);
    assert_eq!(outcome.read(FILENAME), stand_in.file());
    assert_eq!(
        (outcome.outputs["status"].as_str(), outcome.outputs["path"].as_str()),
        ("success_with_errors", FILENAME)
    );
    outcome.with_error(&format!("the file was saved as {FILENAME}"));
}

#[test]
fn warns_once_about_unknown_statuses() {
    let stand_in = StandIn::with_statuses(&["Queued", "Available"]);
    let unknown = run_json_with_url("Almost Available", &format!("{}/x", stand_in.store().url()));
    for _ in 0..3 {
        stand_in.next_api_json(unknown.clone());
    }
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.stdout.matches("::warning ").count(), 1, "{}", outcome.stdout);
    assert!(outcome.stdout.contains("unknown status `almost_available`"), "{}", outcome.stdout);
    assert_eq!(stand_in.store().requests().len(), 1);
    // GitHub shows at most ten warnings of a step.
    for number in 0..20 {
        stand_in.next_api_json(run_json(&format!("Odd {number}")));
    }
    let outcome = github(&stand_in).input("poll-interval", "1ms").run().exited(0);
    assert_eq!(outcome.stdout.matches("::warning ").count(), 1, "{}", outcome.stdout);
    assert!(outcome.stdout.contains("  status: odd_19\n"), "{}", outcome.stdout);
}

#[test]
fn a_new_run_may_be_unknown_when_its_url_is_refreshed() {
    let (stand_in, gate, (arrived, arrivals)) = (StandIn::start(), Gate::new(), channel());
    let expired = vec![Action::WaitFor(Arc::clone(&gate)), Action::Send(error_response(403, "AccessDenied"))];
    stand_in.next_store_response(move |_, _| {
        let _ = arrived.send(());
        expired.clone()
    });
    let running = github(&stand_in).by_identity_id().spawn();
    arrivals.recv_timeout(EVENT_TIMEOUT).unwrap();
    stand_in.next_api_response_to("GET", "/export_files/", ResponseTemplate::new(404));
    gate.open();
    assert_eq!(running.wait().exited(0).read(FILENAME), stand_in.file());
}

#[test]
fn starts_a_run_or_takes_the_one_in_progress() {
    let stand_in = StandIn::with_statuses(&["Queued", "Available"]);
    stand_in.hide_run_for(2);
    for _ in ["201, a new run", "200, the run in progress"] {
        let outcome = github(&stand_in).by_identity_id().run().exited(0);
        assert_eq!(outcome.outputs["export-file-id"], RUN_ID.to_string());
        assert_eq!(outcome.read(FILENAME), stand_in.file());
    }
    let requests = stand_in.api_requests();
    let posts: Vec<_> = requests.iter().filter(|request| request.method.as_str() == "POST").collect();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].url.path(), "/api/v1/user_identities/305/exports/86446/export_files");
}

#[test]
fn starts_no_run_if_one_is_given() {
    let stand_in = StandIn::start();
    github(&stand_in).input("user-identity-id", "999").run().exited(0);
    assert!(stand_in.api_requests().iter().all(|request| request.method.as_str() == "GET"));
}

#[test]
fn polls_less_often_with_few_remaining_calls() {
    // With 18,000 remaining calls, the checks are 200 ms apart, whatever the poll interval is. In 500 ms there are four, after
    // 0, 200, 400 and 500 ms.
    let stand_in = StandIn::builder().statuses(&["Queued"]).remaining_calls(18_000).start();
    github(&stand_in).input("poll-interval", "1ms").input("timeout", "500ms").run().exited(4);
    assert!(stand_in.api_requests().len() <= 4, "{} calls", stand_in.api_requests().len());
}

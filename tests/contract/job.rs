//! The section "The job", and the exit codes of runs that end.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;
use wiremock::ResponseTemplate;

use crate::support::{
    API_KEY, FILENAME, IDENTITY_ID, RUN_ID, Server, StandIn, StoredFile, applicants_csv, displayed, github, respond,
    run_json, run_json_with_url, sha256_hex, with_growing_timeout,
};

#[test]
fn a_run_is_waited_for_and_its_file_brought_home() {
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
fn every_spelling_of_a_status_is_understood() {
    for (said, code, status) in [
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
        let stand_in = StandIn::with_statuses(&["In Progress", said]);
        let outcome = github(&stand_in).run().exited(code);
        assert_eq!(outcome.outputs["status"], status, "{said}");
        assert_eq!(outcome.files().is_empty(), code == 3, "{said}");
        assert!(!outcome.mentions("With Errors") && !outcome.mentions("Empty List"));
    }
}

#[test]
fn fail_on_says_which_statuses_fail_the_step() {
    for (said, fail_on, code) in [
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
        let stand_in = StandIn::with_statuses(&[said]);
        let outcome = github(&stand_in).input("fail-on", fail_on).run().exited(code);
        let passes = outcome.stdout.contains(": there is no file, and fail-on lets that pass\n");
        assert_eq!(passes, code == 0 && said != "Available", "{}", outcome.stdout);
    }
}

#[test]
fn a_file_that_exists_is_downloaded_before_its_status_fails_the_step() {
    let stand_in = StandIn::with_statuses(&["Success With Errors"]);
    let lenient = github(&stand_in).run().exited(0);
    let headline =
        format!("### WebAdMIT export: ⚠️ `{FILENAME}` is here, but WebAdMIT met errors: it may lack applicants\n");
    assert!(lenient.summary.starts_with(&headline), "{}", lenient.summary);
    let outcome = github(&stand_in).input("fail-on", "success_with_errors").run().exited(3);
    assert_eq!(outcome.read(FILENAME), stand_in.file());
    assert_eq!(
        (outcome.outputs["status"].as_str(), outcome.outputs["path"].as_str()),
        ("success_with_errors", FILENAME)
    );
    outcome.with_error(&format!("its file is saved as {FILENAME}"));
}

#[test]
fn a_status_that_is_not_known_is_warned_of_once_and_never_downloaded() {
    let stand_in = StandIn::with_statuses(&["Queued", "Available"]);
    let unknown = run_json_with_url("Almost Available", &format!("{}/x", stand_in.store().url()));
    for _ in 0..3 {
        stand_in.next_api_json(unknown.clone());
    }
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.stdout.matches("::warning ").count(), 1, "{}", outcome.stdout);
    assert!(outcome.stdout.contains("`almost_available` is no status that this version knows"), "{}", outcome.stdout);
    assert_eq!(stand_in.store().requests().len(), 1);
    // GitHub shows ten warnings of a step.
    for number in 0..20 {
        stand_in.next_api_json(run_json(&format!("Odd {number}")));
    }
    let outcome = github(&stand_in).input("poll-interval", "1ms").run().exited(0);
    assert_eq!(outcome.stdout.matches("::warning ").count(), 1, "{}", outcome.stdout);
    assert!(outcome.stdout.contains("  status: odd_19\n"), "{}", outcome.stdout);
}

#[test]
fn a_run_is_started_under_an_identity() {
    let stand_in = StandIn::with_statuses(&["Queued", "Available"]);
    stand_in.hide_run_for(2);
    for _ in ["answered with 201", "answered with 200: the run is going already"] {
        let outcome = github(&stand_in)
            .input("export-file-id", "")
            .input("user-identity-id", &IDENTITY_ID.to_string())
            .run()
            .exited(0);
        assert_eq!(outcome.outputs["export-file-id"], RUN_ID.to_string());
        assert_eq!(outcome.read(FILENAME), stand_in.file());
    }
    let requests = stand_in.api_requests();
    let posts: Vec<_> = requests.iter().filter(|request| request.method.as_str() == "POST").collect();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].url.path(), "/api/v1/user_identities/305/exports/86446/export_files");
}

#[test]
fn an_identity_is_not_used_when_a_run_is_given() {
    let stand_in = StandIn::start();
    github(&stand_in).input("user-identity-id", "999").run().exited(0);
    assert!(stand_in.api_requests().iter().all(|request| request.method.as_str() == "GET"));
}

#[test]
fn the_key_goes_to_the_api_and_to_nothing_else() {
    let stand_in = StandIn::start();
    github(&stand_in).run().exited(0);
    assert!(stand_in.api_requests().iter().all(|request| request.headers["x-api-key"] == API_KEY));
    // That the store has not got it, and that nothing tells it, is seen at the end of every test.
}

#[test]
fn an_older_file_is_replaced_and_a_link_is_not_followed() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in).existing_file(FILENAME, b"older").run().exited(0);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], stand_in.file()));
    let run = github(&stand_in).existing_file("precious.csv", b"precious");
    symlink("precious.csv", run.workspace().join(FILENAME)).unwrap();
    let outcome = run.run().exited(0);
    assert_eq!((outcome.read("precious.csv"), outcome.read(FILENAME)), (b"precious".to_vec(), stand_in.file()));
    assert!(!outcome.workspace().join(FILENAME).is_symlink());
}

#[test]
fn a_destination_that_is_a_directory_is_an_error_before_the_first_call_when_its_name_is_known() {
    let stand_in = StandIn::start();
    let run = || github(&stand_in).existing_file("x.csv/inside", b"");
    let outcome = run().input("filename", "x.csv").run().exited(1).with_error("x.csv is a directory");
    assert_eq!(outcome.files(), ["x.csv/", "x.csv/inside"]);
    assert!(stand_in.api_requests().is_empty());
    let stand_in = StandIn::builder().content_disposition("attachment; filename=x.csv").start();
    let outcome = github(&stand_in).existing_file("x.csv/inside", b"").run().exited(1);
    assert_eq!(outcome.with_error("x.csv is a directory").files(), ["x.csv/", "x.csv/inside"]);
}

#[test]
fn files_and_directories_are_readable_by_the_following_steps() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in).input("directory", "a/b").input("output-file", "c/out.env").run().exited(0);
    let mode = |path: &str| fs::metadata(outcome.workspace().join(path)).unwrap().permissions().mode() & 0o777;
    // The umask of the test's own process takes the same bits away from a file that it makes.
    let probe = outcome.workspace().join("probe");
    fs::write(&probe, "").unwrap();
    let for_files = fs::metadata(&probe).unwrap().permissions().mode() & 0o644;
    assert_eq!([mode("a/b/Test-API-Export.csv"), mode("c/out.env")], [for_files; 2]);
    assert_eq!(mode("a") & 0o700, 0o700);
    assert_eq!([mode("a"), mode("a/b"), mode("c")], [mode("a"); 3]);
    assert_eq!(mode("a") & 0o044, for_files & 0o044);
}

#[test]
fn the_servers_name_becomes_a_plain_one() {
    for (disposition, name) in [
        ("attachment; filename=\"my_second_test_report.csv\"", "my_second_test_report.csv"),
        ("attachment; filename=\"../../etc/passwd\"", "passwd"),
        ("attachment; filename=x.csv; filename*=UTF-8''na%C3%AFve.csv", "naïve.csv"),
        ("attachment; filename=\".a:b|c?.csv \"", "a_b_c_.csv"),
        ("attachment; filename=\"\u{202e}vsc.exe\"", "vsc.exe"),
        ("attachment; filename=\"..\"", "9f86d081884c7d65_original.txt"),
        ("", "9f86d081884c7d65_original.txt"),
    ] {
        let stand_in = StandIn::builder().content_disposition(disposition).start();
        let outcome = github(&stand_in).run().exited(0);
        assert_eq!((outcome.files(), outcome.outputs["filename"].as_str()), (vec![name.to_owned()], name));
    }
}

#[test]
fn a_file_without_any_name_is_called_after_its_run() {
    let stand_in = StandIn::with_statuses(&["Queued", "Available"]);
    // The stand-in's own URLs all have a path, so the store behind this one is a plain server.
    let store = Server::start(|_| respond(200, &[], b"bytes"));
    let answer = run_json_with_url("Available", &format!("{}/", store.url()));
    stand_in.next_api_json(answer);
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.files(), [format!("export-{RUN_ID}")]);
}

#[test]
fn an_answer_for_another_run_is_never_used() {
    let stand_in = StandIn::start();
    let answer = json!({ "export_files": { "id": 1, "status": "Available", "download_url": stand_in.store().url() } });
    stand_in.next_api_json(answer);
    let outcome = github(&stand_in).run().exited(1);
    outcome.with_error("answered for run 1 when it was asked for run 74780");
    assert!(stand_in.store().requests().is_empty());
}

#[test]
fn an_id_in_a_string_counts_and_another_export_is_only_warned_of() {
    let stand_in = StandIn::with_statuses(&["Available"]);
    let answer = json!({ "export_files": { "id": RUN_ID.to_string(), "export_id": 5, "status": "Queued" } });
    stand_in.next_api_json(answer);
    let outcome = github(&stand_in).run().exited(0);
    assert!(outcome.stdout.contains("names export 5, asked for was export 86446"), "{}", outcome.stdout);
}

#[test]
fn the_bytes_on_disk_are_those_that_the_store_sent() {
    let every_byte: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for bytes in [&b""[..], b"\r\n\xff\xfe", &every_byte] {
        let stand_in = StandIn::builder().file(StoredFile::new(bytes)).content_type("application/zip").start();
        let outcome = github(&stand_in).run().exited(0);
        assert_eq!(outcome.read(FILENAME), bytes);
        assert_eq!(outcome.outputs["size"], bytes.len().to_string());
        assert_eq!(stand_in.store().requests()[0].header("accept-encoding"), Some("identity"));
    }
}

#[test]
fn a_refusal_ends_with_code_5_and_the_servers_own_message() {
    let stand_in = StandIn::start();
    let run = || github(&stand_in);
    run()
        .input("api-key", "wrong")
        .run()
        .exited(5)
        .with_error("answered 401 (Unauthorized)")
        .with_error("check the api-key");
    run().input("export-file-id", "1").run().exited(5).with_error("answered 404 (Not Found) and says: Not Found");
    let outcome = run().input("export-file-id", "").input("user-identity-id", "999").run().exited(5);
    outcome.with_error("User identity '999' not found;").with_error("check user-identity-id and export-id");
    stand_in.next_api_response(ResponseTemplate::new(403).set_body_json(json!({ "errors": { "schema": ["is odd"] } })));
    run().run().exited(5).with_error("answered 403 (Forbidden) and says: schema: is odd");
}

#[test]
fn the_timeout_names_how_long_and_the_last_status() {
    let stand_in = StandIn::with_statuses(&["In Progress"]);
    let run = |timeout: &_| {
        let outcome = github(&stand_in).input("timeout", timeout).run();
        outcome.with_error(&format!("timed out after {}", displayed(timeout)))
    };
    let outcome = with_growing_timeout(run, |outcome| outcome.outputs.contains_key("status")).exited(4);
    assert_eq!(outcome.outputs["status"], "in_progress");
    let outcome = outcome.with_error("its last status was in_progress");
    assert_eq!(outcome.files(), [""; 0]);
}

#[test]
fn a_run_that_ends_at_the_timeout_is_noticed_by_the_last_check() {
    let run = |timeout: &_| {
        let stand_in = StandIn::with_statuses(&["In Progress", "Available"]);
        let run = github(&stand_in).input("poll-interval", "1h").input("timeout", timeout);
        let outcome = run.run();
        // Without the first check before the timeout there is no second one.
        assert!(outcome.status.success() || stand_in.api_requests().len() < 2, "{}", outcome.stdout);
        outcome
    };
    assert_eq!(with_growing_timeout(run, |outcome| outcome.status.success()).exited(0).files(), [FILENAME]);
}

#[test]
fn few_calls_left_make_the_waits_longer() {
    // With 18,000 calls left in the hour, the checks are 200 ms apart, whatever the poll interval is: in 500 ms there are
    // those at 0, 200, 400 and 500 ms.
    let stand_in = StandIn::builder().statuses(&["Queued"]).remaining_calls(18_000).start();
    github(&stand_in).input("poll-interval", "1ms").input("timeout", "500ms").run().exited(4);
    assert!(stand_in.api_requests().len() <= 4, "{} calls", stand_in.api_requests().len());
}

#[test]
fn a_download_is_shown_with_its_size_and_ends_with_a_line_that_tells_all() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in).run().exited(0);
    let sha256 = &outcome.outputs["sha256"];
    assert!(outcome.stdout.contains(&format!("downloading {FILENAME}, 2.1 kB from 127.0.0.1:")), "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains(&format!("saved {FILENAME} (2.1 kB, sha256 {sha256}), waited ")),
        "{}",
        outcome.stdout
    );
    assert_eq!(*sha256, sha256_hex(&applicants_csv(40)));
}

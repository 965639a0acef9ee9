//! The section "The job", and the exit codes of runs that end.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;
use wiremock::ResponseTemplate;

use crate::program;
use crate::support::stand_in::{self, File, IDENTITY, KEY, RUN, run_json};
use crate::support::{Course, Run, StandIn, in_time, in_words};

const FILE: &str = "Test-API-Export.csv";

#[test]
fn a_run_is_waited_for_and_its_file_brought_home() {
    let stand_in = StandIn::builder()
        .course(Course::by_checks(&["Initializing", "Queued", "In Progress", "In Progress", "Available"]))
        .start();
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!(ended.files(), [FILE]);
    assert_eq!(ended.read(FILE), stand_in.file());
    let paths: Vec<_> = stand_in.api_requests().iter().map(|request| request.url.path().to_owned()).collect();
    assert_eq!(paths, ["/api/v1/exports/86446/export_files/74780"; 5]);
    for line in ["status: initializing", "status: queued", "status: in_progress", "status: available"] {
        assert_eq!(ended.stdout.matches(line).count(), 1, "{}", ended.stdout);
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
        let stand_in = StandIn::builder().course(Course::by_checks(&["In Progress", said])).start();
        let ended = Run::on_github(program()).against(&stand_in).run().exited(code);
        assert_eq!(ended.outputs["status"], status, "{said}");
        assert_eq!(ended.files().is_empty(), code == 3, "{said}");
        assert!(!ended.tells("With Errors") && !ended.tells("Empty List"));
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
        let stand_in = StandIn::builder().course(Course::by_checks(&[said])).start();
        let ended = Run::on_github(program()).against(&stand_in).input("fail-on", fail_on).run().exited(code);
        let passes = ended.stdout.contains(": there is no file, and fail-on lets that pass\n");
        assert_eq!(passes, code == 0 && said != "Available", "{}", ended.stdout);
    }
}

#[test]
fn a_file_that_exists_is_downloaded_before_its_status_fails_the_step() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Success With Errors"])).start();
    let lenient = Run::on_github(program()).against(&stand_in).run().exited(0);
    let headline =
        format!("### WebAdMIT export: ⚠️ `{FILE}` is here, but WebAdMIT met errors: it may lack applicants\n");
    assert!(lenient.summary.starts_with(&headline), "{}", lenient.summary);
    let ended = Run::on_github(program()).against(&stand_in).input("fail-on", "success_with_errors").run().exited(3);
    assert_eq!(ended.read(FILE), stand_in.file());
    assert_eq!((ended.outputs["status"].as_str(), ended.outputs["path"].as_str()), ("success_with_errors", FILE));
    ended.failing_with(&format!("its file is saved as {FILE}"));
}

#[test]
fn a_status_that_is_not_known_is_warned_of_once_and_never_downloaded() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Queued", "Available"])).start();
    let unknown = run_json("Almost Available", Some(format!("{}/x", stand_in.store().url())));
    for _ in 0..3 {
        stand_in.api_next(ResponseTemplate::new(200).set_body_json(&unknown));
    }
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!(ended.stdout.matches("::warning ").count(), 1, "{}", ended.stdout);
    assert!(ended.stdout.contains("`almost_available` is no status that this version knows"), "{}", ended.stdout);
    assert_eq!(stand_in.store().requests().len(), 1);
    // GitHub shows ten warnings of a step.
    for number in 0..20 {
        stand_in.api_next(ResponseTemplate::new(200).set_body_json(run_json(&format!("Odd {number}"), None)));
    }
    let ended = Run::on_github(program()).against(&stand_in).input("poll-interval", "1ms").run().exited(0);
    assert_eq!(ended.stdout.matches("::warning ").count(), 1, "{}", ended.stdout);
    assert!(ended.stdout.contains("  status: odd_19\n"), "{}", ended.stdout);
}

#[test]
fn a_run_is_started_under_an_identity() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Queued", "Available"])).start();
    stand_in.appears_after(2);
    for _ in ["answered with 201", "answered with 200: the run is going already"] {
        let ended = Run::on_github(program())
            .against(&stand_in)
            .input("export-file-id", "")
            .input("user-identity-id", &IDENTITY.to_string())
            .run()
            .exited(0);
        assert_eq!(ended.outputs["export-file-id"], RUN.to_string());
        assert_eq!(ended.read(FILE), stand_in.file());
    }
    let requests = stand_in.api_requests();
    let posts: Vec<_> = requests.iter().filter(|request| request.method.as_str() == "POST").collect();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].url.path(), "/api/v1/user_identities/305/exports/86446/export_files");
}

#[test]
fn an_identity_is_not_used_when_a_run_is_given() {
    let stand_in = StandIn::start();
    Run::on_github(program()).against(&stand_in).input("user-identity-id", "999").run().exited(0);
    assert!(stand_in.api_requests().iter().all(|request| request.method.as_str() == "GET"));
}

#[test]
fn the_key_goes_to_the_api_and_to_nothing_else() {
    let stand_in = StandIn::start();
    Run::on_github(program()).against(&stand_in).run().exited(0);
    assert!(stand_in.api_requests().iter().all(|request| request.headers["x-api-key"] == KEY));
    // That the store has not got it, and that nothing tells it, is seen at the end of every test.
}

#[test]
fn an_older_file_is_replaced_and_a_link_is_not_followed() {
    let stand_in = StandIn::start();
    let ended = Run::on_github(program()).against(&stand_in).file_before(FILE, b"older").run().exited(0);
    assert_eq!((ended.files(), ended.read(FILE)), (vec![FILE.to_owned()], stand_in.file()));
    let run = Run::on_github(program()).against(&stand_in).file_before("precious.csv", b"precious");
    symlink("precious.csv", run.workspace().join(FILE)).unwrap();
    let ended = run.run().exited(0);
    assert_eq!((ended.read("precious.csv"), ended.read(FILE)), (b"precious".to_vec(), stand_in.file()));
    assert!(!ended.workspace().join(FILE).is_symlink());
}

#[test]
fn a_destination_that_is_a_directory_is_an_error_before_the_first_call_when_its_name_is_known() {
    let stand_in = StandIn::start();
    let run = || Run::on_github(program()).against(&stand_in).file_before("x.csv/inside", b"");
    let ended = run().input("filename", "x.csv").run().exited(1).failing_with("x.csv is a directory");
    assert_eq!(ended.files(), ["x.csv/", "x.csv/inside"]);
    assert!(stand_in.api_requests().is_empty());
    let stand_in = StandIn::builder().disposition("attachment; filename=x.csv").start();
    let ended = Run::on_github(program()).against(&stand_in).file_before("x.csv/inside", b"").run().exited(1);
    assert_eq!(ended.failing_with("x.csv is a directory").files(), ["x.csv/", "x.csv/inside"]);
}

#[test]
fn files_and_directories_are_readable_by_the_following_steps() {
    let stand_in = StandIn::start();
    let ended = Run::on_github(program())
        .against(&stand_in)
        .input("directory", "a/b")
        .input("output-file", "c/out.env")
        .run()
        .exited(0);
    let mode = |path: &str| fs::metadata(ended.workspace().join(path)).unwrap().permissions().mode() & 0o777;
    // The umask of the test's own process takes the same bits away from a file that it makes.
    let probe = ended.workspace().join("probe");
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
        let stand_in = StandIn::builder().disposition(disposition).start();
        let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
        assert_eq!((ended.files(), ended.outputs["filename"].as_str()), (vec![name.to_owned()], name));
    }
}

#[test]
fn a_file_without_any_name_is_called_after_its_run() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Queued", "Available"])).start();
    // The stand-in's own URLs all have a path, so the store behind this one is a plain server.
    let store = crate::support::Wire::start(|_| {
        vec![crate::support::Act::Send(crate::support::wire::response(200, &[], b"bytes"))]
    });
    let answer = run_json("Available", Some(format!("{}/", store.url())));
    stand_in.api_next(ResponseTemplate::new(200).set_body_json(answer));
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!(ended.files(), [format!("export-{RUN}")]);
}

#[test]
fn an_answer_for_another_run_is_never_used() {
    let stand_in = StandIn::start();
    let answer = json!({ "export_files": { "id": 1, "status": "Available", "download_url": stand_in.store().url() } });
    stand_in.api_next(ResponseTemplate::new(200).set_body_json(answer));
    let ended = Run::on_github(program()).against(&stand_in).run().exited(1);
    ended.failing_with("answered for run 1 when it was asked for run 74780");
    assert!(stand_in.store().requests().is_empty());
}

#[test]
fn an_id_in_a_string_counts_and_another_export_is_only_warned_of() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Available"])).start();
    let answer = json!({ "export_files": { "id": RUN.to_string(), "export_id": 5, "status": "Queued" } });
    stand_in.api_next(ResponseTemplate::new(200).set_body_json(answer));
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert!(ended.stdout.contains("names export 5, asked for was export 86446"), "{}", ended.stdout);
}

#[test]
fn the_bytes_on_disk_are_those_that_the_store_sent() {
    let every_byte: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for bytes in [&b""[..], b"\r\n\xff\xfe", &every_byte] {
        let stand_in = StandIn::builder().file(File::new(bytes)).content_type("application/zip").start();
        let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
        assert_eq!(ended.read(FILE), bytes);
        assert_eq!(ended.outputs["size"], bytes.len().to_string());
        assert_eq!(stand_in.store().requests()[0].header("accept-encoding"), Some("identity"));
    }
}

#[test]
fn a_refusal_ends_with_code_5_and_the_servers_own_message() {
    let stand_in = StandIn::start();
    let run = || Run::on_github(program()).against(&stand_in);
    run()
        .input("api-key", "wrong")
        .run()
        .exited(5)
        .failing_with("answered 401 (Unauthorized)")
        .failing_with("check the api-key");
    run().input("export-file-id", "1").run().exited(5).failing_with("answered 404 (Not Found) and says: Not Found");
    let ended = run().input("export-file-id", "").input("user-identity-id", "999").run().exited(5);
    ended.failing_with("User identity '999' not found;").failing_with("check user-identity-id and export-id");
    stand_in.api_next(ResponseTemplate::new(403).set_body_json(json!({ "errors": { "schema": ["is odd"] } })));
    run().run().exited(5).failing_with("answered 403 (Forbidden) and says: schema: is odd");
}

#[test]
fn the_timeout_names_how_long_and_the_last_status() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["In Progress"])).start();
    let run = |timeout: &_| {
        let ended = Run::on_github(program()).against(&stand_in).input("timeout", timeout).run();
        ended.failing_with(&format!("timed out after {}", in_words(timeout)))
    };
    let ended = in_time(run, |ended| ended.outputs.contains_key("status")).exited(4);
    assert_eq!(ended.outputs["status"], "in_progress");
    let ended = ended.failing_with("its last status was in_progress");
    assert_eq!(ended.files(), [""; 0]);
}

#[test]
fn a_run_that_ends_at_the_timeout_is_noticed_by_the_last_check() {
    let run = |timeout: &_| {
        let stand_in = StandIn::builder().course(Course::by_checks(&["In Progress", "Available"])).start();
        let run = Run::on_github(program()).against(&stand_in).input("poll-interval", "1h").input("timeout", timeout);
        let ended = run.run();
        // Without the first check before the timeout there is no second one.
        assert!(ended.status.success() || stand_in.api_requests().len() < 2, "{}", ended.stdout);
        ended
    };
    assert_eq!(in_time(run, |ended| ended.status.success()).exited(0).files(), [FILE]);
}

#[test]
fn few_calls_left_make_the_waits_longer() {
    // With 18,000 calls left in the hour, the checks are 200 ms apart, whatever the poll interval is: in 500 ms there are
    // those at 0, 200, 400 and 500 ms.
    let stand_in = StandIn::builder().course(Course::by_checks(&["Queued"])).calls_left(18_000).start();
    Run::on_github(program())
        .against(&stand_in)
        .input("poll-interval", "1ms")
        .input("timeout", "500ms")
        .run()
        .exited(4);
    assert!(stand_in.api_requests().len() <= 4, "{} calls", stand_in.api_requests().len());
}

#[test]
fn a_download_is_shown_with_its_size_and_ends_with_a_line_that_tells_all() {
    let stand_in = StandIn::start();
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    let sha256 = &ended.outputs["sha256"];
    assert!(ended.stdout.contains(&format!("downloading {FILE}, 2.1 kB from 127.0.0.1:")), "{}", ended.stdout);
    assert!(ended.stdout.contains(&format!("saved {FILE} (2.1 kB, sha256 {sha256}), waited ")), "{}", ended.stdout);
    assert_eq!(*sha256, stand_in::sha256_of(&stand_in::made_up_applicants(40)));
}

//! `max-age` and `created-at`: files that are too old are not downloaded.

use std::time::{Duration, SystemTime};

use serde_json::json;
use wiremock::ResponseTemplate;

use crate::support::{
    Action, CREATED_AT, EXPORT_ID, FILENAME, PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_ZIP_ID, RUN_ID,
    SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SECOND_RUN_ID, StandIn, Step, StoredFile, applicants_csv, cut, github,
    pdf_batch_json, pdf_zip_href,
};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Starts a stand-in whose file has this age by the clock of the store.
fn stand_in_with_age(age: Duration) -> StandIn {
    StandIn::builder().file(StoredFile::new(&applicants_csv(40)).aged(age)).start()
}

/// Prepares a step that downloads the latest file if it is not older than this.
fn latest(stand_in: &StandIn, max_age: &str) -> Step {
    github(stand_in).by_identity_id().input("export-file-id", "latest").input("max-age", max_age)
}

/// Prepares a step that downloads the files of the latest batch if they are not older than this.
fn latest_batch(stand_in: &StandIn, max_age: &str) -> Step {
    let step = github(stand_in).by_names().input("export-name", "").input("pdf-template", PDF_TEMPLATE_NAME);
    step.input("pdf-batch-id", "latest").input("max-age", max_age)
}

#[test]
fn a_file_older_than_max_age_is_not_downloaded() {
    for (age, max_age, code) in [
        (26 * HOUR, "26h", 0),
        (26 * HOUR + Duration::from_secs(1), "26h", 6),
        (HOUR, "2d", 0),
        (49 * HOUR, "2D", 6),
        (Duration::ZERO, "1s", 0),
    ] {
        let stand_in = stand_in_with_age(age);
        let step = latest(&stand_in, max_age)
            .input("directory", "exports")
            .existing_file("exports/Test-API-Export.csv", "existing");
        let outcome = step.run().exited(code);
        let content = outcome.read("exports/Test-API-Export.csv");
        assert_eq!(content == b"existing", code == 6, "{age:?} {max_age}");
        assert_eq!(outcome.files(), ["exports/", "exports/Test-API-Export.csv"]);
        assert_eq!(outcome.outputs["created-at"], CREATED_AT);
        assert_eq!(outcome.outputs.contains_key("path"), code == 0);
        assert_eq!(outcome.output_files()[0]["created_at"], CREATED_AT);
    }
}

#[test]
fn the_message_gives_time_and_age_and_points_to_the_schedule() {
    let stand_in = stand_in_with_age(8 * 24 * HOUR + HOUR);
    let outcome = latest(&stand_in, "26h").run().exited(6);
    let message = outcome.error();
    assert!(
        message.starts_with(&format!(
            "run {RUN_ID} of export {EXPORT_ID}: the latest file is older than max-age (26 h): created {CREATED_AT}, 8 days ago; no file was written; an existing file was left unchanged\nhint: WebAdMIT disables a schedule after failures; check the schedule of the export there; "
        )),
        "{message}"
    );
    let file = &outcome.output_files()[0];
    assert_eq!(
        (&file["path"], &file["status"], &file["error"]["code"]),
        (&json!(null), &json!("available"), &json!(6))
    );

    // An age close to the limit is not rounded down to it, and has the same unit.
    for (age, max_age, words) in [
        (26 * HOUR + 20 * MINUTE, "26h", "max-age (26 h): created {}, 26 h 20 min ago;"),
        (50 * HOUR, "2d", "max-age (48 h): created {}, 50 h ago;"),
    ] {
        let outcome = latest(&stand_in_with_age(age), max_age).run().exited(6);
        outcome.with_error(&words.replace("{}", CREATED_AT));
    }
}

#[test]
fn a_file_that_is_too_old_is_refused_before_its_body_is_read() {
    let stand_in = stand_in_with_age(27 * HOUR);
    // The rest of the body never arrives.
    stand_in
        .next_store_response(|request, file| vec![Action::Send(cut(&file.respond(request, &[]), 10)), Action::Hang]);
    latest(&stand_in, "26h").run().exited(6);
}

#[test]
fn without_a_creation_time_the_age_cannot_be_checked() {
    for last_modified in [None, Some("yesterday"), Some("")] {
        let file = StoredFile::new(&applicants_csv(40)).last_modified(last_modified);
        let stand_in = StandIn::builder().file(file).start();
        let outcome = latest(&stand_in, "26h").run().exited(1);
        assert!(
            outcome.error().contains("the server does not say when the file was created, so max-age cannot be checked")
        );
        assert!(outcome.files().is_empty() && !outcome.outputs.contains_key("created-at"));

        let outcome = latest(&stand_in, "").run().exited(0);
        assert!(!outcome.outputs.contains_key("created-at"));
    }
}

#[test]
fn a_missing_date_means_the_local_clock() {
    for (age, code) in [(25 * HOUR, 0), (27 * HOUR, 6)] {
        let file = StoredFile::new(&applicants_csv(40)).created_at(SystemTime::now() - age);
        let stand_in = StandIn::builder().file(file).start();
        latest(&stand_in, "26h").run().exited(code);
    }
}

#[test]
fn a_creation_time_in_the_future_is_an_age_of_zero() {
    let file = StoredFile::new(&applicants_csv(40)).created_at(SystemTime::now() + 100 * HOUR);
    let stand_in = StandIn::builder().file(file).start();
    let outcome = latest(&stand_in, "1s").run().exited(0);
    assert!(outcome.stdout.contains(", created 0 s ago, "), "{}", outcome.stdout);
}

#[test]
fn a_run_in_progress_has_a_new_file() {
    let file = StoredFile::new(&applicants_csv(40)).last_modified(None);
    let stand_in =
        StandIn::builder().statuses(&["Queued", "In Progress", "In Progress", "Available"]).file(file).start();
    latest(&stand_in, "1s").run().exited(0);
}

#[test]
fn a_run_with_an_unknown_status_may_have_an_old_file() {
    let file = StoredFile::new(&applicants_csv(40)).aged(99 * HOUR);
    let stand_in = StandIn::builder().statuses(&["Available", "Almost There", "Available"]).file(file).start();
    latest(&stand_in, "26h").run().exited(6);
}

#[test]
fn a_run_without_a_file_is_judged_by_fail_on() {
    for (status, fail_on, code) in [("Failed", "failed", 3), ("Empty List", "none", 0)] {
        let stand_in = StandIn::with_statuses(&[status]);
        latest(&stand_in, "1s").input("fail-on", fail_on).run().exited(code);
    }
}

#[test]
fn only_latest_files_have_a_maximum_age() {
    let stand_in = stand_in_with_age(27 * HOUR);
    for step in [github(&stand_in), github(&stand_in).by_identity_id()] {
        let outcome = step.input("max-age", "26h").run().exited(2);
        assert!(outcome.error().contains("max-age: `26h` applies only to latest; set export-file-id"));
    }

    // The batch is given by its id, so only the export has a maximum age.
    let step = latest(&stand_in, "26h").input("pdf-batch-id", &PDF_BATCH_ID.to_string());
    let outcome = step.run().exited(6);
    assert_eq!(outcome.files(), ["Accepted-Offers-for-Review.zip"]);
}

#[test]
fn each_of_several_latest_files_has_an_age_of_its_own() {
    let stand_in = StandIn::builder()
        .file(StoredFile::new(&applicants_csv(40)).aged(27 * HOUR))
        .export(SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SECOND_RUN_ID, |run| {
            run.filename("new.csv").file(StoredFile::new(&applicants_csv(2)).aged(HOUR))
        })
        .start();
    let outcome =
        latest(&stand_in, "26h").input("export-id", &format!("{EXPORT_ID},{SECOND_EXPORT_ID}")).run().exited(6);
    assert_eq!(outcome.files(), ["new.csv"]);
    assert!(!outcome.outputs.contains_key("created-at"));
    let files = outcome.output_files();
    assert_eq!((&files[0]["error"]["code"], &files[1]["error"]), (&json!(6), &json!(null)));
    assert_eq!((&files[0]["created_at"], &files[1]["created_at"]), (&json!(CREATED_AT), &json!(CREATED_AT)));
}

#[test]
fn the_age_of_a_batch_is_measured_against_the_date_of_the_api() {
    let stand_in = StandIn::builder()
        .pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, |batch| batch.updated_at(CREATED_AT))
        .start();
    let path = format!("/pdf_manager_batches/{PDF_BATCH_ID}");
    for (date, code) in [("Sun, 29 Nov 2026 06:19:31 GMT", 0), ("Sun, 29 Nov 2026 06:19:32 GMT", 6)] {
        let hrefs = [pdf_zip_href(PDF_ZIP_ID)];
        let body = pdf_batch_json(PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, "available", CREATED_AT, &hrefs);
        let response = ResponseTemplate::new(200).set_body_json(body).insert_header("Date", date);
        stand_in.next_api_response_to("GET", &path, response);
        let outcome = latest_batch(&stand_in, "26h").run().exited(code);
        assert_eq!(outcome.outputs["created-at"], CREATED_AT);
        assert_eq!(outcome.files().is_empty(), code == 6);
    }
}

#[test]
fn a_batch_without_a_time_fails_if_its_age_is_limited() {
    let stand_in = StandIn::builder()
        .pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, |batch| batch.updated_at("yesterday"))
        .start();
    let outcome =
        latest_batch(&stand_in, "26h").run().exited(1).with_error("WebAdMIT sent no valid updated_at for this batch");
    assert!(outcome.files().is_empty());
}

#[test]
fn log_and_summary_show_the_age_in_everyday_words() {
    let stand_in = stand_in_with_age(3 * HOUR + HOUR / 2);
    let outcome = github(&stand_in).run().exited(0);
    assert!(outcome.stdout.contains(", created 3 h ago, "), "{}", outcome.stdout);
    assert!(outcome.summary.contains(&format!("| Created | 3 h ago ({CREATED_AT}) |")), "{}", outcome.summary);
    assert_eq!(outcome.files(), [FILENAME]);
}

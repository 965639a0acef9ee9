//! PDF Manager: batches of templates, and their zip files, each behind a redirect of the API to the store.

use std::sync::Arc;

use proptest::prelude::*;
use rustix::process::Signal;
use serde_json::{Value, json};
use webadmit_export::text::sanitize;
use wiremock::ResponseTemplate;

use crate::injection::{assert_harmless, cases, for_header, hostile};
use crate::secrets::{disguises, signature};
use crate::support::{
    API_KEY, Action, Authority, BatchBuilder, Builder, CREATED_AT, EXPORT_ID, FILENAME, Flaw, Gate, IDENTITY_ID,
    Outcome, PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_ZIP_FILENAME, PDF_ZIP_ID, RUN_ID, Server, StandIn,
    Step, StoredFile, ZipBuilder, applicants_zip, cut, displayed, error_response, github, github_at, pdf_batch_json,
    pdf_zip_href, pdf_zip_id, respond, sha256_hex, with_growing_timeout,
};

/// A second template, its batch, and the only zip of that.
const SECOND_TEMPLATE_ID: u64 = 7;
const SECOND_TEMPLATE_NAME: &str = "Interview Invitations";
const SECOND_BATCH_ID: u64 = 70;
const SECOND_ZIP_ID: u64 = 701;

/// Names and values of inputs.
type Inputs<'a> = &'a [(&'a str, &'a str)];

/// Prepares a step of an identity without any run.
fn of_identity(step: Step) -> Step {
    let step = step.input("export-id", "").input("export-file-id", "");
    step.input("user-identity-id", &IDENTITY_ID.to_string()).input("poll-interval", "1ms")
}

/// Prepares a step that fetches the batch [`PDF_BATCH_ID`].
fn batch_step(stand_in: &StandIn) -> Step {
    of_identity(github(stand_in)).input("pdf-batch-id", &PDF_BATCH_ID.to_string())
}

/// Configures the batch [`PDF_BATCH_ID`].
fn batch(configure: impl FnOnce(BatchBuilder) -> BatchBuilder) -> Builder {
    StandIn::builder().pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, configure)
}

/// A stand-in with two templates.
fn two_templates() -> StandIn {
    second_template(StandIn::builder(), |batch| batch.zip("Interviews.zip", b"interviews"))
        .pdf_template(9, "Spare", 90, |batch| batch)
        .start()
}

fn second_template(builder: Builder, configure: impl FnOnce(BatchBuilder) -> BatchBuilder) -> Builder {
    builder.pdf_template(SECOND_TEMPLATE_ID, SECOND_TEMPLATE_NAME, SECOND_BATCH_ID, configure)
}

/// Returns one field of all entries of the output `files`.
fn field(outcome: &Outcome, name: &str) -> Vec<Value> {
    outcome.output_files().into_iter().map(|mut file| file[name].take()).collect()
}

/// Returns method and path of the requests to the API about PDF Manager, without the part that is the same for all.
fn pdf_requests(stand_in: &StandIn) -> Vec<String> {
    let prefix = format!("/api/v1/user_identities/{IDENTITY_ID}/pdf_manager_");
    let requests = stand_in.api_requests().into_iter();
    let paths = requests.filter_map(|request| {
        let path = request.url.path().strip_prefix(&prefix)?;
        Some(format!("{} {path}", request.method))
    });
    paths.collect()
}

fn count(requests: &[String], request: &str) -> usize {
    requests.iter().filter(|known| *known == request).count()
}

/// Checks that a message shows nothing of a URL but its origin.
#[track_caller]
fn assert_shows_no_url(text: &str) {
    for words in ["_original", "AWSAccessKeyId", "Expires=", "zips/", "secret"] {
        assert!(!text.contains(words), "{words} is in {text}");
    }
}

/// The ids of a template, its batch and its zip, and the name of the zip.
type Expected = (u64, u64, u64, &'static str);

#[test]
fn selects_templates_and_batches_by_names_and_ids() {
    let first = (PDF_TEMPLATE_ID, PDF_BATCH_ID, PDF_ZIP_ID, PDF_ZIP_FILENAME);
    let second = (SECOND_TEMPLATE_ID, SECOND_BATCH_ID, SECOND_ZIP_ID, "Interviews.zip");
    let cases: [(Inputs<'_>, &[Expected], usize, usize); 11] = [
        (&[("pdf-template", " accepted  offers for REVIEW ")], &[first], 1, 0),
        (&[("pdf-template-id", "7")], &[second], 1, 0),
        (&[("pdf-template", "Interview Invitations\nAccepted Offers for Review")], &[second, first], 2, 0),
        (&[("pdf-template-id", "2, 7")], &[first, second], 2, 0),
        (&[("pdf-template-id", "2"), ("pdf-batch-id", "42")], &[first], 0, 0),
        (&[("pdf-template-id", "7\n2"), ("pdf-batch-id", "70 42")], &[second, first], 0, 0),
        (&[("pdf-template", "Accepted Offers for Review"), ("pdf-batch-id", "42")], &[first], 0, 0),
        (&[("pdf-batch-id", "42")], &[first], 0, 0),
        (&[("pdf-batch-id", "70,42")], &[second, first], 0, 0),
        (&[("pdf-template-id", "2"), ("pdf-batch-id", "latest")], &[first], 0, 1),
        (&[("pdf-template-id", "7,2"), ("pdf-batch-id", "Latest")], &[second, first], 0, 1),
    ];
    for (inputs, expected, starts, lists) in cases {
        let stand_in = two_templates();
        let step = of_identity(github(&stand_in)).input("poll-interval", "1h");
        let outcome = inputs.iter().fold(step, |step, (name, value)| step.input(name, value)).run().exited(0);

        let entries = outcome.output_files();
        assert_eq!(entries.len(), expected.len(), "{inputs:?}");
        for (entry, &(template, batch, zip, filename)) in entries.iter().zip(expected) {
            let ids = [&entry["pdf_template_id"], &entry["pdf_batch_id"], &entry["user_identity_id"]];
            assert_eq!(ids, [&json!(template), &json!(batch), &json!(IDENTITY_ID)], "{inputs:?}");
            assert_eq!((&entry["kind"], &entry["status"]), (&json!("pdf_batch"), &json!("available")));
            assert_eq!([&entry["export_id"], &entry["export_file_id"], &entry["error"]], [&Value::Null; 3]);
            let bytes = stand_in.file_of(zip);
            assert_eq!((&entry["path"], &entry["filename"]), (&json!(filename), &json!(filename)), "{inputs:?}");
            assert_eq!((&entry["size"], &entry["sha256"]), (&json!(bytes.len()), &json!(sha256_hex(&bytes))));
            assert_eq!(outcome.read(filename), bytes);
        }
        let single = |name: &str| outcome.outputs.get(name).map(String::as_str);
        let expected_single = |value: String| if expected.len() == 1 { Some(value) } else { None };
        assert_eq!(single("pdf-template-id"), expected_single(expected[0].0.to_string()).as_deref(), "{inputs:?}");
        assert_eq!(single("pdf-batch-id"), expected_single(expected[0].1.to_string()).as_deref(), "{inputs:?}");
        assert_eq!(single("path"), expected_single(expected[0].3.to_owned()).as_deref(), "{inputs:?}");

        let requests = pdf_requests(&stand_in);
        assert_eq!(count(&requests, "POST batches"), starts, "{inputs:?}: {requests:?}");
        if starts == 0 {
            assert_eq!(count(&requests, "GET batches"), lists, "{inputs:?}: {requests:?}");
        }
        assert_eq!(count(&requests, "GET templates"), usize::from(inputs[0].0 == "pdf-template"), "{requests:?}");
    }
}

#[test]
fn starts_a_batch_of_the_template() {
    let stand_in = two_templates();
    of_identity(github(&stand_in)).input("pdf-template-id", "7").run().exited(0);
    let requests = stand_in.api_requests();
    let start = &requests[0];
    assert_eq!((start.method.as_str(), start.headers["content-type"].as_bytes()), ("POST", &b"application/json"[..]));
    let body: Value = serde_json::from_slice(&start.body).unwrap();
    assert_eq!(body, json!({ "pdf_manager_batch": { "pdf_manager_template_id": 7 } }));
    let expected = ["POST batches", "GET batches/70", "GET zip_files/701/download"];
    assert_eq!(pdf_requests(&stand_in), expected);
    assert!(requests.iter().all(|request| request.headers["x-api-key"] == API_KEY));
}

#[test]
fn takes_the_batch_in_progress_and_waits_for_a_new_one_to_appear() {
    let stand_in = batch(|batch| batch.statuses(&["queued", "available"])).start();
    stand_in.hide_run_for(2);
    for _ in ["201, a new batch", "200, the batch in progress"] {
        let outcome = of_identity(github(&stand_in)).input("pdf-template-id", "2").run().exited(0);
        assert_eq!(outcome.outputs["pdf-batch-id"], PDF_BATCH_ID.to_string());
        assert_eq!(outcome.read(PDF_ZIP_FILENAME), stand_in.file_of(PDF_ZIP_ID));
    }
}

#[test]
fn fetches_an_export_and_a_batch_in_one_step() {
    let stand_in = batch(|batch| batch.updated_at("2026-11-28T03:05:06Z")).start();
    let step = github(&stand_in).input("user-identity-id", &IDENTITY_ID.to_string());
    let outcome = step.input("pdf-template", PDF_TEMPLATE_NAME).run().exited(0);

    assert_eq!(field(&outcome, "kind"), ["export", "pdf_batch"]);
    assert_eq!(field(&outcome, "created_at"), [CREATED_AT, "2026-11-28T03:05:06Z"]);
    assert_eq!(field(&outcome, "name"), [Value::Null, json!(PDF_TEMPLATE_NAME)]);
    assert_eq!(outcome.outputs["paths"], format!("{FILENAME}\n{PDF_ZIP_FILENAME}"));
    assert_eq!(outcome.files(), [PDF_ZIP_FILENAME, FILENAME]);
    for (name, id) in [
        ("export-id", EXPORT_ID),
        ("export-file-id", RUN_ID),
        ("pdf-template-id", PDF_TEMPLATE_ID),
        ("pdf-batch-id", PDF_BATCH_ID),
        ("user-identity-id", IDENTITY_ID),
    ] {
        assert_eq!(outcome.outputs[name], id.to_string(), "{name}");
    }
    for name in ["path", "filename", "size", "sha256", "source-sha256", "content-type"] {
        assert!(!outcome.outputs.contains_key(name), "{name}");
    }
}

#[test]
fn only_a_batch_with_a_single_zip_has_a_path() {
    for zips in 1..=3_u8 {
        let stand_in =
            batch(|batch| (0..zips).fold(batch, |batch, zip| batch.zip(&format!("{zip}.zip"), [zip]))).start();
        let outcome = batch_step(&stand_in).run().exited(0);
        for name in ["path", "filename", "size", "sha256", "source-sha256", "content-type"] {
            assert_eq!(outcome.outputs.contains_key(name), zips == 1, "{name}");
        }
        assert_eq!(outcome.outputs["paths"].lines().count(), usize::from(zips));
        assert_eq!(field(&outcome, "created_at"), vec!["2016-01-05T16:51:00Z"; zips.into()]);
        assert_eq!(outcome.outputs["pdf-batch-id"], PDF_BATCH_ID.to_string());
    }
}

#[test]
fn a_batch_without_a_valid_time_has_no_creation_time() {
    for updated_at in ["", "yesterday", "2016-13-05T16:51:00Z"] {
        let stand_in = batch(|batch| batch.updated_at(updated_at)).start();
        assert_eq!(field(&batch_step(&stand_in).run().exited(0), "created_at"), [Value::Null], "{updated_at}");
    }
}

#[test]
fn one_template_without_a_recent_batch_does_not_stop_the_others() {
    let stand_in = second_template(StandIn::builder(), |batch| batch.hidden_from_list()).start();
    let step = of_identity(github(&stand_in)).input("pdf-template-id", "7,2").input("pdf-batch-id", "latest");
    let outcome = step.run().exited(5).with_error("latest batch of PDF template 7");
    assert_eq!(field(&outcome, "pdf_batch_id"), [Value::Null, json!(PDF_BATCH_ID)]);
    assert_eq!(field(&outcome, "path"), [Value::Null, json!(PDF_ZIP_FILENAME)]);
    assert_eq!(outcome.output_files()[0]["error"]["code"], 5);
}

#[test]
fn equal_names_are_numbered_in_the_order_of_the_zips() {
    let long = |c: &str, length: usize| format!("{}.zip", c.repeat(length));
    let (x, x_2) = (long("x", 251), format!("{}-2.zip", "x".repeat(249)));
    let (e, e_2) = (long("é", 125), format!("{}-2.zip", "é".repeat(124)));
    let cases: [(&[&str], &[&str]); 5] = [
        (&["a.zip", "b.zip", "a.zip", "a.zip", "b.zip"], &["a.zip", "b.zip", "a-2.zip", "a-3.zip", "b-2.zip"]),
        (&["a.zip", "a-2.zip", "a.zip"], &["a.zip", "a-2.zip", "a-3.zip"]),
        (&["no-extension", "no-extension"], &["no-extension", "no-extension-2"]),
        (&[&x, &x], &[&x, &x_2]),
        (&[&e, &e], &[&e, &e_2]),
    ];
    for (sent, expected) in cases {
        let stand_in = batch(|batch| {
            let zips = sent.iter().enumerate();
            zips.fold(batch, |batch, (index, name)| batch.zip(name, format!("zip {index}")))
        });
        let stand_in = stand_in.start();
        // An existing file is replaced, and does not change the names.
        let outcome = batch_step(&stand_in).existing_file(expected[0], "older").run().exited(0);
        assert_eq!(outcome.outputs["paths"].lines().collect::<Vec<_>>(), expected);
        assert_eq!(outcome.files().len(), expected.len());
        for (index, name) in expected.iter().enumerate() {
            assert!(name.len() <= 255, "{name}");
            assert_eq!(outcome.read(name), format!("zip {index}").as_bytes(), "{name}");
        }
    }
}

/// Lets the redirect of a zip fail until the other zips of its batch are saved.
fn postpone(stand_in: &StandIn, zip: u64) {
    for _ in 0..3 {
        let path = format!("/pdf_manager_zip_files/{zip}/");
        stand_in.next_api_response_to("GET", &path, ResponseTemplate::new(500));
    }
}

#[test]
fn equal_names_are_numbered_in_this_order_if_a_zip_is_postponed() {
    // The first ones are postponed until the others are saved.
    let cases: [(usize, &[&str], &[&str]); 5] = [
        (1, &["a.zip", "a.zip"], &["a.zip", "a-2.zip"]),
        (1, &["a.zip", "b.zip", "a.zip", "a.zip"], &["a.zip", "b.zip", "a-2.zip", "a-3.zip"]),
        (1, &["a-2.zip", "a.zip", "a.zip", "a-2.zip"], &["a-2.zip", "a.zip", "a-3.zip", "a-2-2.zip"]),
        (2, &["a.zip", "a.zip", "a.zip", "b.zip"], &["a.zip", "a-2.zip", "a-3.zip", "b.zip"]),
        (1, &["c.zip", "a.zip", "a.zip"], &["c.zip", "a.zip", "a-2.zip"]),
    ];
    for (postponed, sent, expected) in cases {
        let stand_in = batch(|batch| {
            let zips = sent.iter().enumerate();
            zips.fold(batch, |batch, (index, name)| batch.zip(name, format!("zip {index}")))
        });
        let stand_in = stand_in.start();
        (0..postponed).for_each(|index| postpone(&stand_in, pdf_zip_id(PDF_BATCH_ID, index)));
        let outcome = batch_step(&stand_in).existing_file(expected[0], "older").run().exited(0);

        assert_eq!(outcome.outputs["paths"].lines().collect::<Vec<_>>(), expected);
        assert_eq!(field(&outcome, "filename"), field(&outcome, "path"));
        assert_eq!(outcome.files().len(), expected.len());
        for (index, name) in expected.iter().enumerate() {
            assert_eq!(outcome.read(name), format!("zip {index}").as_bytes(), "{name} of {sent:?}");
        }
    }
}

/// Starts a stand-in with two batches that have a zip of the same name. One sends it when the gate opens. Returns the log line
/// that the other one writes when it has saved its own.
fn two_batches_with_the_same_path(
    is_later_first: bool,
    configure_later: impl FnOnce(BatchBuilder) -> BatchBuilder,
) -> (StandIn, Arc<Gate>, &'static str) {
    let builder = batch(|batch| batch.zip("same.zip", b"first").zip("one.zip", b"one"));
    let stand_in = second_template(builder, configure_later).start();
    let (slow, awaited) = match is_later_first {
        true => (PDF_ZIP_ID, "Interview Invitations: saved same.zip"),
        false => (SECOND_ZIP_ID, "Accepted Offers for Review: saved same.zip"),
    };
    let gate = Gate::new();
    let for_store = Arc::clone(&gate);
    stand_in.next_store_response_of(slow, move |_, file| {
        let headers = [("Content-Disposition", "attachment; filename=same.zip")];
        vec![Action::WaitFor(Arc::clone(&for_store)), Action::Send(file.whole(&headers))]
    });
    (stand_in, gate, awaited)
}

/// Prepares a step that fetches new batches of both templates.
fn both_templates(stand_in: &StandIn) -> Step {
    let templates = format!("{PDF_TEMPLATE_NAME}\n{SECOND_TEMPLATE_NAME}");
    of_identity(github(stand_in)).input("pdf-template", &templates)
}

#[test]
fn of_two_batches_with_the_same_path_the_later_one_fails() {
    for is_later_first in [false, true] {
        let (stand_in, gate, awaited) = two_batches_with_the_same_path(is_later_first, |batch| {
            batch.zip("same.zip", b"second").zip("two.zip", b"two")
        });
        let step = both_templates(&stand_in).spawn();
        step.wait_for_stdout(awaited);
        gate.open();

        let outcome = step.wait().exited(1).with_error("same.zip").with_error(SECOND_TEMPLATE_NAME);
        let outcome = outcome.with_error(PDF_TEMPLATE_NAME);
        assert_eq!(outcome.files(), ["one.zip", "same.zip", "two.zip"], "{is_later_first}");
        assert_eq!(outcome.read("same.zip"), b"first");
        assert_eq!(field(&outcome, "path"), ["same.zip", "one.zip", "two.zip"]);
        let codes: Vec<Value> = outcome.output_files().iter().map(|file| file["error"]["code"].clone()).collect();
        assert_eq!(codes, [Value::Null, Value::Null, json!(1)]);
    }
}

#[test]
fn a_postponed_zip_changes_no_name_of_an_earlier_run() {
    for (names, is_earlier_postponed, files) in [
        (
            [&["same-2.zip"][..], &["same.zip", "same.zip"]],
            false,
            &[("same-2.zip", "zip 1 of batch 1"), ("same.zip", "zip 2 of batch 2")][..],
        ),
        ([&["same.zip"], &["same.zip", "same.zip"]], false, &[("same.zip", "zip 1 of batch 1")]),
        (
            [&["same.zip", "same.zip"], &["same-2.zip"]],
            true,
            &[("same-2.zip", "zip 2 of batch 1"), ("same.zip", "zip 1 of batch 1")],
        ),
    ] {
        let zips = |number: usize| {
            move |batch: BatchBuilder| {
                let zips = names[number - 1].iter().zip(1..);
                zips.fold(batch, |batch, (name, zip)| batch.zip(name, format!("zip {zip} of batch {number}")))
            }
        };
        let stand_in = second_template(batch(zips(1)), zips(2)).start();
        let (postponed, awaited) = match is_earlier_postponed {
            true => (PDF_ZIP_ID, format!("{SECOND_TEMPLATE_NAME}: saved {}", names[1][0])),
            false => (SECOND_ZIP_ID, format!("{PDF_TEMPLATE_NAME}: saved {}", names[0][0])),
        };
        postpone(&stand_in, postponed);
        let gate = Gate::new();
        let for_store = Arc::clone(&gate);
        stand_in.next_store_response_of(postponed, move |_, file| {
            let headers = [("Content-Disposition", "attachment; filename=same.zip")];
            vec![Action::WaitFor(Arc::clone(&for_store)), Action::Send(file.whole(&headers))]
        });
        let step = both_templates(&stand_in).spawn();
        step.wait_for_stdout(&awaited);
        gate.open();

        let outcome = step.wait().exited(1).with_error("same").with_error(SECOND_TEMPLATE_NAME);
        let read = |name: &String| (name.clone(), String::from_utf8(outcome.read(name)).unwrap());
        let actual: Vec<_> = outcome.files().iter().map(read).collect();
        let expected: Vec<_> = files.iter().map(|(name, content)| (name.to_string(), content.to_string())).collect();
        assert_eq!(actual, expected, "{}", outcome.stdout);
    }
}

#[test]
fn the_names_of_a_batch_do_not_depend_on_other_runs() {
    for is_later_first in [false, true] {
        let (stand_in, gate, awaited) = two_batches_with_the_same_path(is_later_first, |batch| {
            batch.zip("same.zip", b"second").zip("same.zip", b"third").zip("same-2.zip", b"fourth")
        });
        let step = both_templates(&stand_in).spawn();
        step.wait_for_stdout(awaited);
        gate.open();

        let outcome = step.wait().exited(1);
        assert_eq!(outcome.files(), ["one.zip", "same-2-2.zip", "same-2.zip", "same.zip"], "{is_later_first}");
        assert_eq!((outcome.read("same.zip"), outcome.read("same-2.zip")), (b"first".to_vec(), b"third".to_vec()));
    }
}

#[test]
fn a_path_conflict_takes_precedence_over_fail_on() {
    for is_later_first in [false, true] {
        let (stand_in, gate, awaited) = two_batches_with_the_same_path(is_later_first, |batch| {
            batch.statuses(&["success_with_errors"]).zip("same.zip", b"second").zip("two.zip", b"two")
        });
        // The second zip of the later batch is sent when the path of its first one is taken.
        let taken = Gate::new();
        let for_store = Arc::clone(&taken);
        stand_in.next_store_response_of(SECOND_ZIP_ID + 1, move |_, file| {
            let headers = [("Content-Disposition", "attachment; filename=two.zip")];
            vec![Action::WaitFor(Arc::clone(&for_store)), Action::Send(file.whole(&headers))]
        });
        let step = both_templates(&stand_in).input("fail-on", "success_with_errors").spawn();
        step.wait_for_stdout(awaited);
        gate.open();
        step.wait_for_stdout("Accepted Offers for Review: saved one.zip");
        taken.open();

        let outcome = step.wait().exited(1).with_error("cannot save the file as same.zip");
        assert_eq!(outcome.files(), ["one.zip", "same.zip", "two.zip"], "{is_later_first}");
    }
}

#[test]
fn a_signal_keeps_the_zips_that_are_complete() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let stand_in = batch(|batch| batch.zip("a.zip", b"a").zip("b.zip", applicants_zip(40))).start();
        stand_in.next_store_response_of(PDF_ZIP_ID + 1, |_, file| {
            vec![Action::Send(cut(&file.whole(&[]), 1000)), Action::Hang]
        });
        let step = batch_step(&stand_in).existing_file("b.zip", "older").spawn();
        step.wait_for_stdout("saved a.zip");
        stand_in.store().wait_for_requests(2);
        step.signal(signal);
        let outcome = step.wait().exited(code).with_error("interrupted by SIG");
        assert_eq!(outcome.files(), ["a.zip", "b.zip"]);
        assert_eq!((outcome.read("a.zip"), outcome.read("b.zip")), (b"a".to_vec(), b"older".to_vec()));
        assert_eq!((outcome.outputs["paths"].as_str(), outcome.outputs["pdf-batch-id"].as_str()), ("a.zip", "42"));
    }
}

#[test]
fn a_timeout_keeps_the_zips_that_are_complete() {
    let play = |timeout: &str| {
        let stand_in = batch(|batch| batch.zip("a.zip", b"a").zip("b.zip", b"b").zip("c.zip", b"c")).start();
        stand_in.next_store_response_of(PDF_ZIP_ID + 1, |_, _| vec![Action::Hang]);
        batch_step(&stand_in).input("timeout", timeout).run()
    };
    let outcome = with_growing_timeout(play, |outcome| outcome.stdout.contains("saved a.zip"));
    let outcome = outcome.exited(4).with_error(" of 3 missing: timed out after ");
    assert_eq!((outcome.read("a.zip"), outcome.files().contains(&"b.zip".to_owned())), (b"a".to_vec(), false));
    assert_eq!(outcome.outputs["status"], "available");
}

#[test]
fn a_batch_with_too_many_zips_ends_the_run() {
    let hrefs: Vec<String> = (1..=1001).map(pdf_zip_href).collect();
    let hrefs: Vec<&str> = hrefs.iter().map(String::as_str).collect();
    let stand_in = batch(|batch| batch.hrefs(&hrefs)).start();
    batch_step(&stand_in).run().exited(1).with_error("sent more than 1000 files of one batch");
    assert_eq!(stand_in.api_requests().len(), 1);
}

#[test]
fn a_message_about_many_missing_files_names_twenty() {
    // The stand-in has none of these zips.
    let hrefs: Vec<String> = (1..=30).map(pdf_zip_href).collect();
    let hrefs: Vec<&str> = hrefs.iter().map(String::as_str).collect();
    let stand_in = batch(|batch| batch.hrefs(&hrefs)).start();
    let outcome = batch_step(&stand_in).run().exited(5);
    outcome.with_error("files 1, 2, ").with_error(", 19, 20 and 10 more of 30 missing: ");
}

#[test]
fn follows_the_redirect_to_the_store_without_the_key() {
    for status in [302, 303, 307] {
        let stand_in = batch(|batch| batch.zip_with("a.zip", b"bytes", |zip| zip.redirect_status(status))).start();
        let outcome = batch_step(&stand_in).run().exited(0);
        assert_eq!(outcome.read("a.zip"), b"bytes");
        let requests = stand_in.store().requests();
        assert_eq!(requests.len(), 1);
        assert_eq!((requests[0].header("x-api-key"), requests[0].header("referer")), (None, None));
        assert!(!requests[0].text().contains(API_KEY));
        assert_eq!(pdf_requests(&stand_in), ["GET batches/42", "GET zip_files/421/download"]);
    }
}

#[test]
fn an_unusable_redirect_ends_the_run_and_is_not_followed() {
    let elsewhere = Server::start(|_| respond(200, &[], b"not this"));
    let with_credentials = format!("{}/secret", elsewhere.url().replace("http://", "http://user:secret@"));
    let with_key = format!("{}/secret/{API_KEY}", elsewhere.url());
    let with_encoded_key = format!("{}/secret?x=%63{}", elsewhere.url(), &API_KEY[1..]);
    let signed = "{signed-url}";
    for (status, location, words) in [
        (200, signed, "responded 200 instead of redirecting to the file"),
        (204, signed, "responded 204 instead of redirecting to the file"),
        (301, signed, "redirected to http://127.0.0.1:"),
        (308, signed, "redirected to http://127.0.0.1:"),
        (300, signed, "redirected to http://127.0.0.1:"),
        (302, "/api/v1/secret", "is not an absolute URL"),
        (302, "//127.0.0.1/secret", "is not an absolute URL"),
        (302, "secret.zip", "is not an absolute URL"),
        (302, "", "is not an absolute URL"),
        (302, "{api}/api/v1/secret", "is at the API itself, not at its store"),
        (303, "{api}", "is at the API itself, not at its store"),
        (302, &with_credentials, "contains a user name or a password"),
        (302, &with_key, "contains the API key, which must only be sent to the API"),
        (307, &with_encoded_key, "contains the API key, which must only be sent to the API"),
        (302, "file:///secret", "has the scheme file"),
        (302, "javascript:secret", "has the scheme javascript"),
    ] {
        let zip = |batch: BatchBuilder| {
            batch.zip_with("a.zip", b"bytes", |zip| zip.redirect_status(status).location(location))
        };
        let stand_in = batch(zip).start();
        let outcome = batch_step(&stand_in).run().exited(1).with_error(words);
        assert_shows_no_url(&outcome.error());
        assert!(!outcome.mentions("secret"), "{location}: {}", outcome.stdout);
        assert_eq!(outcome.files(), [] as [&str; 0]);
        assert_eq!(stand_in.api_requests().len(), 2, "{status} {location}");
        assert!(stand_in.store().requests().is_empty(), "{status} {location}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_redirect_without_a_location_ends_the_run() {
    for status in [302, 303, 307] {
        let stand_in = StandIn::start();
        stand_in.next_api_response_to("GET", "/421/download", ResponseTemplate::new(status));
        batch_step(&stand_in).run().exited(1).with_error(&format!("responded {status} ("));
        assert_eq!(stand_in.api_requests().len(), 2);
    }
}

#[test]
fn an_api_with_https_must_redirect_to_https() {
    let authority = Authority::new();
    let plain = Server::start(|_| respond(200, &[], b"not this"));
    let secure = Server::start_tls(authority.server(Flaw::None), |_| respond(200, &[], b"bytes"));
    for (store, code) in [(plain.url(), 1), (secure.url(), 0)] {
        let location = format!("{store}/secret.zip?Signature=Signature0CanaryOfALocation01");
        let api = Server::start_tls(authority.server(Flaw::None), move |request| {
            if request.target.ends_with("/download") {
                return respond(302, &[("Location", &location)], b"");
            }
            let hrefs = [pdf_zip_href(PDF_ZIP_ID)];
            let batch = pdf_batch_json(PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, "available", "", &hrefs);
            respond(200, &[], batch.to_string())
        });
        let step = of_identity(github_at(&api.url())).existing_file("ca.pem", authority.pem());
        let outcome = step.input("ca-file", "ca.pem").input("pdf-batch-id", "42").run().exited(code);
        if code == 0 {
            assert_eq!(outcome.read("secret.zip"), b"bytes");
        } else {
            assert_shows_no_url(&outcome.error());
            outcome.with_error("is plain http, although the API is https");
        }
    }
    assert!(plain.requests().is_empty());
}

#[test]
fn the_zips_of_a_new_batch_may_be_unknown_for_a_while() {
    let stand_in = StandIn::start();
    let missing = || ResponseTemplate::new(404);
    stand_in.next_api_response_to("GET", "/pdf_manager_zip_files/", missing());
    let step = of_identity(github(&stand_in)).input("pdf-template-id", &PDF_TEMPLATE_ID.to_string());
    assert_eq!(step.run().exited(0).read(PDF_ZIP_FILENAME), stand_in.file_of(PDF_ZIP_ID));
    stand_in.next_api_response_to("GET", "/pdf_manager_zip_files/", missing());
    batch_step(&stand_in).run().exited(5);
}

#[test]
fn an_expired_zip_url_gets_a_new_redirect() {
    let stand_in = StandIn::start();
    for _ in 0..2 {
        stand_in.next_store_response_of(PDF_ZIP_ID, |_, _| vec![Action::Send(error_response(403, "AccessDenied"))]);
    }
    let outcome = batch_step(&stand_in).run().exited(0);
    assert_eq!(outcome.read(PDF_ZIP_FILENAME), stand_in.file_of(PDF_ZIP_ID));
    let requests = pdf_requests(&stand_in);
    assert_eq!(count(&requests, "GET zip_files/421/download"), 3, "{requests:?}");
    assert_eq!(count(&requests, "GET batches/42"), 1, "{requests:?}");
    let mut signatures: Vec<String> = stand_in.store().requests().iter().map(signature).collect();
    signatures.dedup();
    assert_eq!(signatures.len(), 3);
}

#[test]
fn an_interrupted_zip_is_resumed_with_a_new_redirect() {
    let zip = applicants_zip(400);
    let stand_in = batch(|batch| batch.zip("a.zip", &zip)).requests_per_url(1).start();
    stand_in.cut_next_download_of(PDF_ZIP_ID, 1000);
    let outcome = batch_step(&stand_in).run().exited(0);
    assert_eq!(outcome.read("a.zip"), zip);
    let requests = stand_in.store().requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].header("range"), Some("bytes=1000-"));
    assert_eq!(requests[1].header("if-match"), StoredFile::new(&zip).etag.as_deref());
    assert_ne!(signature(&requests[0]), signature(&requests[1]));
    assert_eq!(count(&pdf_requests(&stand_in), "GET zip_files/421/download"), 2);
}

#[test]
fn retries_a_redirect_that_fails_for_a_while() {
    let stand_in = StandIn::start();
    stand_in.next_api_response_to("GET", "/421/download", ResponseTemplate::new(503));
    let page = ResponseTemplate::new(200).set_body_raw("<html>", "text/html");
    stand_in.next_api_response_to("GET", "/421/download", page);
    stand_in.next_api_response_to("GET", "/421/download", ResponseTemplate::new(429));
    let outcome = batch_step(&stand_in).run().exited(0);
    assert_eq!(outcome.read(PDF_ZIP_FILENAME), stand_in.file_of(PDF_ZIP_ID));
}

#[test]
fn an_unexpected_href_ends_the_run_and_is_not_requested() {
    let elsewhere = Server::start(|_| respond(200, &[], b"not this"));
    let zip = |id: &str| format!("/api/v1/user_identities/305/pdf_manager_zip_files/{id}/download");
    for href in [
        format!("{}/secret.zip?Signature=Signature0CanaryOfAnHref0123", elsewhere.url()),
        format!("{}{}", elsewhere.url(), zip("421")),
        format!("//{}{}", elsewhere.url().trim_start_matches("http://"), zip("421")),
        format!("/\\{}{}", elsewhere.url().trim_start_matches("http://"), zip("421")),
        format!("{}?x={API_KEY}", zip("421")),
        format!("{}?Signature=Signature0CanaryOfAnHref0123", zip("421")),
        format!("{}#x", zip("421")),
        format!("{}/", zip("421")),
        format!("/api/v1/{API_KEY}"),
        zip("../../exports"),
        zip("%2e%2e"),
        zip("421/../422"),
        zip("four"),
        zip("+421"),
        zip("-421"),
        zip("0"),
        zip(""),
        zip("99999999999999999999"),
        "/api/v1/exports".to_owned(),
        "/api/v1/user_identities/305/../306/pdf_manager_zip_files/421/download".to_owned(),
        "/api/v2/user_identities/305/pdf_manager_zip_files/421/download".to_owned(),
        "user_identities/305/pdf_manager_zip_files/421/download".to_owned(),
        String::new(),
    ] {
        let hrefs = [pdf_zip_href(PDF_ZIP_ID), href.clone()];
        let stand_in = batch(|batch| batch.hrefs(&hrefs.each_ref().map(String::as_str))).start();
        let outcome = batch_step(&stand_in).run().exited(1);
        let outcome = outcome.with_error("sent a download URL that is not the path of a PDF Manager zip");
        assert!(!outcome.mentions("secret"), "{href}: {}", outcome.stdout);
        assert_eq!((outcome.files().len(), stand_in.api_requests().len()), (0, 1), "{href}");
        assert!(stand_in.store().requests().is_empty());
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn only_the_id_of_a_zip_is_taken_from_its_href() {
    let other_identity = "/api/v1/user_identities/999/pdf_manager_zip_files/421/download";
    let zip = pdf_zip_href(PDF_ZIP_ID);
    let stand_in = batch(|batch| batch.hrefs(&[other_identity, &zip, &zip])).start();
    let outcome = batch_step(&stand_in).run().exited(0);
    assert_eq!(outcome.files(), [PDF_ZIP_FILENAME], "a zip that is listed twice is one file");
    assert_eq!(pdf_requests(&stand_in), ["GET batches/42", "GET zip_files/421/download"]);
}

#[test]
fn a_state_with_files_but_without_hrefs_is_retried() {
    for state in ["available", "success_with_errors"] {
        let stand_in = batch(|batch| batch.statuses(&[state]).without_hrefs_for(3)).start();
        let outcome = batch_step(&stand_in).run().exited(0);
        assert_eq!(outcome.read(PDF_ZIP_FILENAME), stand_in.file_of(PDF_ZIP_ID));
        let words = format!("responded with status {state}, but without a download URL; retrying in ");
        assert_eq!(outcome.stdout.matches(&words).count(), 3, "{}", outcome.stdout);
    }

    let stand_in = batch(|batch| batch.without_hrefs_for(usize::MAX)).start();
    let mut last = String::new();
    let play = |timeout: &str| {
        last = displayed(timeout);
        batch_step(&stand_in).input("timeout", timeout).run()
    };
    let outcome = with_growing_timeout(play, |outcome| outcome.stdout.contains("retrying in "));
    let outcome = outcome.exited(4).with_error(&format!("timed out after {last} before the first byte"));
    outcome.with_error("without a download URL");
}

#[test]
fn a_response_for_another_batch_ends_the_run() {
    let stand_in = StandIn::start();
    let hrefs = [pdf_zip_href(PDF_ZIP_ID)];
    let batch = pdf_batch_json(43, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, "available", "", &hrefs);
    stand_in.next_api_json(batch);
    let outcome = batch_step(&stand_in).run().exited(1);
    outcome.with_error("responded with batch 43 instead of batch 42");
    assert_eq!(stand_in.api_requests().len(), 1);
}

#[test]
fn a_batch_of_another_template_is_only_a_warning() {
    let stand_in = batch(|batch| batch.statuses(&["queued", "in_progress", "available"])).start();
    let outcome = batch_step(&stand_in).input("pdf-template-id", "7").run().exited(0);
    let warnings: Vec<&str> = outcome.stdout.lines().filter(|line| line.starts_with("::warning")).collect();
    assert_eq!(warnings.len(), 1, "{}", outcome.stdout);
    let words = "the batch belongs to PDF template 2 according to WebAdMIT, not to PDF template 7";
    assert!(warnings[0].ends_with(words), "{}", warnings[0]);
    assert_eq!(outcome.read(PDF_ZIP_FILENAME), stand_in.file_of(PDF_ZIP_ID));
}

/// Why a zip cannot be fetched.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    /// Its redirect is 404.
    NotFound,
    /// The store refuses every signed URL.
    Store,
    /// Its redirect leads to the API.
    Location,
}

/// The indices of zips that cannot be fetched, and why.
type Refusals<'a> = &'a [(usize, Refusal)];

fn refuse(stand_in: &StandIn, zip: u64, refusal: Refusal) {
    let path = format!("/pdf_manager_zip_files/{zip}/download");
    match refusal {
        Refusal::NotFound => {
            stand_in.every_api_response_to("GET", &path, ResponseTemplate::new(404));
        }
        Refusal::Store => {
            for _ in 0..8 {
                stand_in.next_store_response_of(zip, |_, _| vec![Action::Send(error_response(403, "AccessDenied"))]);
            }
        }
        Refusal::Location => {
            let location = format!("{}/secret", stand_in.api_url());
            let response = ResponseTemplate::new(302).insert_header("Location", location.as_str());
            stand_in.every_api_response_to("GET", &path, response);
        }
    }
}

#[test]
fn the_other_files_of_a_batch_are_kept_if_some_cannot_be_fetched() {
    use Refusal::{Location, NotFound, Store};

    let cases: [(Refusals<'_>, i32, &str); 8] = [
        (&[(1, NotFound)], 5, "file 2 of 3 missing: "),
        (&[(1, Store)], 1, "file 2 of 3 missing: "),
        (&[(1, Location)], 1, "file 2 of 3 missing: "),
        (&[(0, NotFound)], 5, "file 1 of 3 missing: "),
        (&[(0, NotFound), (2, NotFound)], 5, "files 1 and 3 of 3 missing: "),
        (&[(0, NotFound), (2, Store)], 1, "files 1 and 3 of 3 missing: "),
        (&[(0, Store), (2, NotFound)], 1, "files 1 and 3 of 3 missing: "),
        (&[(0, NotFound), (1, NotFound), (2, NotFound)], 5, "files 1, 2 and 3 of 3 missing: "),
    ];
    let names = ["a.zip", "b.zip", "c.zip"];
    for (refused, code, words) in cases {
        let stand_in = batch(|batch| names.iter().fold(batch, |batch, name| batch.zip(name, name))).start();
        for &(index, refusal) in refused {
            refuse(&stand_in, pdf_zip_id(PDF_BATCH_ID, index), refusal);
        }
        let step = names.iter().fold(batch_step(&stand_in), |step, name| step.existing_file(name, "older"));
        let outcome = step.run().exited(code).with_error(words);

        let is_refused = |name: &&&str| refused.iter().any(|(index, _)| names[*index] == **name);
        let kept: Vec<&str> = names.iter().filter(|name| !is_refused(name)).copied().collect();
        for name in &names {
            assert_eq!(outcome.read(name), if is_refused(&name) { "older" } else { name }.as_bytes(), "{name}");
        }
        assert_eq!(outcome.files(), names);
        let state = match kept.len() {
            0 => "no file was written; an existing file was left unchanged",
            1 => "the file was saved as b.zip",
            _ => "2 files were saved",
        };
        let outcome = outcome.with_error(state);
        assert_shows_no_url(&outcome.error());
        let paths: Vec<Value> =
            if kept.is_empty() { vec![Value::Null] } else { kept.iter().map(|name| json!(name)).collect() };
        assert_eq!(field(&outcome, "path"), paths);
        assert!(
            outcome.output_files().iter().all(|file| file["error"]["code"] == code && file["status"] == "available")
        );
        let paths = outcome.outputs.get("paths").map(String::as_str).unwrap_or_default();
        assert_eq!(paths.lines().collect::<Vec<_>>(), kept);
        assert!(outcome.summary.contains(words), "{}", outcome.summary);
        assert!(!outcome.stdout.contains("recovered from"), "{}", outcome.stdout);
    }
}

#[test]
fn a_batch_without_a_known_template_is_named_by_its_id() {
    let stand_in = StandIn::start();
    stand_in.next_api_response_to("GET", "/pdf_manager_batches/42", ResponseTemplate::new(404));
    let outcome = batch_step(&stand_in).run().exited(5).with_error("batch 42: 127.0.0.1:");
    assert!(outcome.stdout.contains(": fetching batch 42, identity 305 from 127.0.0.1:"), "{}", outcome.stdout);
}

#[test]
fn a_missing_file_does_not_stop_the_other_runs() {
    let builder = batch(|batch| batch.zip("a.zip", b"a").zip("b.zip", b"b"));
    let stand_in = second_template(builder, |batch| batch.zip("c.zip", b"c")).start();
    refuse(&stand_in, PDF_ZIP_ID, Refusal::Store);
    let step = github(&stand_in).input("user-identity-id", "305").input("poll-interval", "1ms");
    let outcome = step.input("pdf-template-id", "2,7").run().exited(1);
    let outcome = outcome.with_error("1 of 3 runs failed; 3 files were saved").with_error("file 1 of 2 missing: ");
    assert_eq!(field(&outcome, "path"), [FILENAME, "b.zip", "c.zip"]);
    let codes: Vec<Value> = outcome.output_files().iter().map(|file| file["error"]["code"].clone()).collect();
    assert_eq!(codes, [Value::Null, json!(1), Value::Null]);
    assert!(!outcome.outputs.contains_key("path"));
}

#[test]
fn a_terminal_state_is_judged_by_fail_on() {
    for (state, fail_on, code) in [
        ("available", "", 0),
        ("success_with_errors", "", 0),
        ("success_with_errors", "success_with_errors", 3),
        ("failed", "", 3),
        ("failed", "empty_list", 0),
        ("empty_list", "", 3),
        ("empty_list", "failed", 0),
        ("Empty List", "", 3),
    ] {
        let stand_in = batch(|batch| batch.statuses(&["initializing", "queued", "in_progress", state])).start();
        let outcome = batch_step(&stand_in).input("fail-on", fail_on).run().exited(code);
        let status = state.to_lowercase().replace(' ', "_");
        assert_eq!(outcome.outputs["status"], status);
        for line in ["initializing", "queued", "in_progress", &status] {
            assert_eq!(outcome.stdout.matches(&format!("status: {line}\n")).count(), 1, "{}", outcome.stdout);
        }
        let has_file = ["available", "success_with_errors"].contains(&state);
        assert_eq!(outcome.files().len(), usize::from(has_file), "{state}");
        let code = if code == 0 { Value::Null } else { json!(code) };
        assert_eq!(outcome.output_files()[0]["error"]["code"], code, "{state}");
    }
}

#[test]
fn several_batches_are_polled_with_the_list() {
    let states = ["in_progress"; 20].into_iter().chain(["available"]).collect::<Vec<_>>();
    let configure = |batch: BatchBuilder| batch.statuses(&states);
    let stand_in = second_template(batch(configure), configure).start();
    let step = of_identity(github(&stand_in)).input("poll-interval", "50ms");
    let outcome = step.input("pdf-batch-id", "42 70").run().exited(0);
    assert_eq!(outcome.files().len(), 2);
    let requests = pdf_requests(&stand_in);
    let checks = count(&requests, "GET batches/42") + count(&requests, "GET batches/70");
    // Each is checked once at the start and once at the end, and again if a slow machine lets only one of them wait.
    assert!(count(&requests, "GET batches") > 10 && checks < 20, "{requests:?}");
}

#[test]
fn without_pdf_manager_a_template_name_ends_the_step_before_anything_is_started() {
    for status in [403, 404] {
        let stand_in = StandIn::builder().without_pdf_manager(status).start();
        let step = github(&stand_in).by_names().input("pdf-template", PDF_TEMPLATE_NAME);
        let outcome = step.run().exited(5).with_error(&format!("responded {status} ("));
        let outcome = outcome.with_error("check identity and pdf-template");
        assert!(stand_in.api_requests().iter().all(|request| request.method.as_str() == "GET"));
        assert!(outcome.files().is_empty() && stand_in.store().requests().is_empty());
        assert_eq!(field(&outcome, "path"), [Value::Null, Value::Null]);
        assert!(outcome.output_files().iter().all(|file| file["error"]["code"] == 5), "{}", outcome.output_text);
    }
}

#[test]
fn without_pdf_manager_the_export_beside_a_template_id_is_fetched() {
    for status in [403, 404] {
        let stand_in = StandIn::builder().without_pdf_manager(status).start();
        for batch in ["", "42", "latest"] {
            let step = github(&stand_in).input("user-identity-id", "305").input("pdf-template-id", "2");
            let outcome = step.input("pdf-batch-id", batch).run().exited(5);
            let outcome = outcome.with_error("1 of 2 runs failed; 1 file was saved");
            let outcome = outcome.with_error(&format!("responded {status} ("));
            assert_eq!(outcome.read(FILENAME), stand_in.file());
            assert_eq!(field(&outcome, "path"), [json!(FILENAME), Value::Null]);
            let codes: Vec<Value> = outcome.output_files().iter().map(|file| file["error"]["code"].clone()).collect();
            assert_eq!(codes, [Value::Null, json!(5)]);
        }
    }
}

#[test]
fn redacts_the_signature_of_a_zip_in_store_responses() {
    for index in 0..disguises("").len() {
        let stand_in = StandIn::start();
        let disguised = move |request: &_| disguises(&signature(request)).remove(index);
        stand_in.next_store_response(move |request, _| vec![Action::Send(error_response(403, &disguised(request)))]);
        stand_in.next_store_response(move |request, _| {
            let disposition = format!("attachment; filename=\"{}.zip\"", disguised(request));
            let headers = [("Content-Disposition", disposition.as_str()), ("Content-Type", &disguised(request))];
            respond(200, &headers, b"bytes")
        });
        batch_step(&stand_in).input("output-file", "out.env").run().exited(0);
    }
}

#[test]
fn redacts_the_signature_of_a_location_in_api_responses() {
    const OTHER: &str = "Signature0CanaryOfALocation0123456789";
    for index in 0..disguises("").len() {
        for status in [301, 302, 200] {
            let stand_in = second_template(StandIn::builder(), |batch| batch).start();
            let location = format!("{}/elsewhere?Signature={OTHER}", stand_in.store().url());
            let redirect = ResponseTemplate::new(status).insert_header("Location", location.as_str());
            stand_in.next_api_response_to("GET", "/421/download", redirect);
            let disguised = disguises(OTHER).remove(index);
            let busy = ResponseTemplate::new(503).set_body_json(json!({ "message": disguised }));
            stand_in.next_api_response_to("GET", "/421/download", busy);
            let not_found = ResponseTemplate::new(404).set_body_json(json!({ "message": disguised }));
            stand_in.next_api_response_to("GET", "/421/download", not_found);
            // The store refuses the signature of 302, so that a new redirect is requested.
            let code = if status == 302 { 5 } else { 1 };
            batch_step(&stand_in).input("output-file", "out.env").run().exited(code);
        }
    }
}

#[test]
fn redacts_the_key_in_responses_about_batches() {
    for disguised in disguises(API_KEY) {
        let name = format!("Offers {disguised}");
        let builder = StandIn::builder()
            .pdf_template(2, &name, 42, |batch| batch.statuses(&[&disguised, "available"]).zip("a.zip", b"a"));
        let stand_in = builder.start();
        let not_found = || ResponseTemplate::new(404).set_body_json(json!({ "message": disguised }));
        batch_step(&stand_in).run().exited(0);
        of_identity(github(&stand_in)).input("pdf-template", "unknown").run().exited(5);
        stand_in.next_api_response_to("GET", "/421/download", not_found());
        batch_step(&stand_in).run().exited(5);
        stand_in.next_api_response_to("POST", "/pdf_manager_batches", not_found());
        of_identity(github(&stand_in)).input("pdf-template-id", "2").run().exited(5);
    }
}

/// Fetches batches while everything that the servers send is hostile.
fn hostile_batches(hostile_text: &str) -> Vec<Outcome> {
    let header = for_header(hostile_text);
    let template_name = format!("the {hostile_text}");
    let disposition = format!("attachment; filename=\"{}\"", header.replace('"', "\\\""));
    let zip = |zip: ZipBuilder| zip.content_disposition(&disposition);
    let stand_in = StandIn::builder()
        .pdf_template(PDF_TEMPLATE_ID, &template_name, PDF_BATCH_ID, |batch| {
            let batch = batch.statuses(&[hostile_text, "success_with_errors"]).updated_at(hostile_text);
            batch.zip_with("", b"a", zip).zip_with("", b"b", zip)
        })
        .pdf_template(SECOND_TEMPLATE_ID, hostile_text, SECOND_BATCH_ID, |batch| batch.hrefs(&[hostile_text]))
        .start();
    let refused = || ResponseTemplate::new(404).set_body_json(json!({ "message": hostile_text }));
    let step = || of_identity(github(&stand_in)).input("output-file", "out.env");

    let by_id = step().input("pdf-batch-id", "42").run().exited(0);
    let by_name = step().input("pdf-template", &sanitize::excerpt(&template_name)).run().exited(0);
    let not_found = step().input("pdf-template", "unknown").run().exited(5);
    let no_batch = step().input("pdf-template-id", "99").input("pdf-batch-id", "latest").run().exited(5);
    let unexpected_href = step().input("pdf-template-id", "7").run().exited(1);
    stand_in.next_api_response_to("GET", "/421/download", refused());
    let missing = step().input("pdf-batch-id", "42").run().exited(5);
    let location = format!("https://{header}/{header}");
    let redirect = ResponseTemplate::new(301).insert_header("Location", location.as_str());
    stand_in.next_api_response_to("GET", "/421/download", redirect);
    let redirected = step().input("pdf-batch-id", "42").run().exited(1);
    vec![by_id, by_name, not_found, no_batch, unexpected_href, missing, redirected]
}

fn assert_all_harmless(hostile_text: &str) {
    for outcome in hostile_batches(hostile_text) {
        assert!(!outcome.summary.is_empty());
        assert_harmless(&outcome);
    }
}

#[test]
fn hostile_names_of_templates_and_zips_are_harmless() {
    for hostile_text in [
        "\n::error::x",
        "x\r\n  ::add-mask::y",
        "##[error]x ##vso[task.setvariable variable=x]y",
        "#\u{200b}#[error]",
        "`|`|\\|<b>|",
        "```\n# x\n```",
        "../../a/b.zip",
        "%0A::error::x",
    ] {
        assert_all_harmless(hostile_text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(6), ..ProptestConfig::default() })]

    #[test]
    fn any_text_about_a_batch_is_harmless(hostile_text in hostile()) {
        assert_all_harmless(&hostile_text);
    }
}

#[test]
fn a_zip_stays_in_the_directory_whatever_its_name_is() {
    for (sent, saved) in [
        ("../../up.zip", "up.zip"),
        ("/etc/passwd.zip", "passwd.zip"),
        ("C:\\\\x\\\\y.zip", "y.zip"),
        (".hidden.zip", "hidden.zip"),
        ("-rf.zip", "rf.zip"),
        ("..", "9f86d081884c7d65_original.zip"),
    ] {
        let stand_in = batch(|batch| batch.zip(sent, b"a").zip(sent, b"b")).start();
        let outcome = batch_step(&stand_in).input("directory", "zips").run().exited(0);
        let second = saved.replace(".zip", "-2.zip");
        assert_eq!(outcome.files(), ["zips/".to_owned(), format!("zips/{second}"), format!("zips/{saved}")], "{sent}");
    }
}

#[test]
fn a_link_with_the_name_of_a_zip_is_replaced() {
    let stand_in = batch(|batch| batch.zip("a.zip", b"a").zip("a.zip", b"b")).start();
    let step = batch_step(&stand_in).existing_file("target", "untouched");
    for name in ["a.zip", "a-2.zip"] {
        std::os::unix::fs::symlink("target", step.workspace().join(name)).unwrap();
    }
    let outcome = step.run().exited(0);
    assert_eq!(
        [outcome.read("a.zip"), outcome.read("a-2.zip"), outcome.read("target")],
        [&b"a"[..], b"b", b"untouched"]
    );
}

#[test]
fn rejects_contradictory_pdf_inputs_before_any_request() {
    let stand_in = StandIn::start();
    let identity = ("user-identity-id", "305");
    let cases: [(Inputs<'_>, &str); 14] = [
        (&[identity, ("pdf-template", "Offers"), ("filename", "a.zip")], "filename: `a.zip` "),
        (&[identity, ("pdf-template-id", "2"), ("filename", "a.zip")], "filename: `a.zip` "),
        (&[identity, ("pdf-batch-id", "42"), ("filename", "a.zip")], "filename: `a.zip` "),
        (&[identity, ("export-id", "5"), ("pdf-batch-id", "42"), ("filename", "a.csv")], "filename: `a.csv` "),
        (&[identity, ("pdf-batch-id", "latest")], "pdf-batch-id: latest needs a template"),
        (&[identity, ("export-id", "5"), ("pdf-batch-id", "latest")], "pdf-batch-id: latest needs a template"),
        (&[("pdf-template", "Offers")], "identity: missing; PDF Manager needs it"),
        (&[("pdf-template-id", "2")], "identity: missing; PDF Manager needs it"),
        (&[("pdf-batch-id", "42")], "identity: missing; PDF Manager needs it"),
        (
            &[("export-id", "5"), ("export-file-id", "6"), ("pdf-batch-id", "42")],
            "identity: missing; PDF Manager needs it",
        ),
        (
            &[identity, ("pdf-template-id", "2,7"), ("pdf-batch-id", "42")],
            "pdf-batch-id: has 1 id, but pdf-template-id has 2",
        ),
        (&[identity, ("pdf-template-id", "2,7,2")], "pdf-template-id: "),
        (&[identity, ("pdf-template", "Offers"), ("pdf-template-id", "2")], "pdf-template"),
        (&[identity, ("pdf-batch-id", "42,0")], "pdf-batch-id: "),
    ];
    for (inputs, words) in cases {
        let step = of_identity(github(&stand_in)).input("user-identity-id", "");
        let outcome = inputs.iter().fold(step, |step, (name, value)| step.input(name, value)).run().exited(2);
        let outcome = outcome.with_error(words);
        assert_eq!((outcome.files().len(), outcome.output_text.as_str()), (0, "files=[]\n"), "{inputs:?}");
    }
    assert!(stand_in.api_requests().is_empty());
}

/// Starts a stand-in whose batch has three zips. The redirects of these fail.
fn with_failing_redirects(failing: std::ops::Range<usize>) -> StandIn {
    let batch = |batch: BatchBuilder| batch.zip("a.zip", b"1").zip("b.zip", b"2").zip("c.zip", b"3");
    let stand_in = StandIn::builder().pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, batch).start();
    for index in failing {
        let path = format!("/pdf_manager_zip_files/{}/", pdf_zip_id(PDF_BATCH_ID, index));
        stand_in.every_api_response_to("GET", &path, ResponseTemplate::new(500));
    }
    stand_in
}

#[test]
fn a_redirect_that_keeps_failing_does_not_delay_the_other_zips() {
    let stand_in = with_failing_redirects(0..1);
    let running = batch_step(&stand_in).spawn();
    running.wait_for_stdout("saved c.zip");
    running.signal(Signal::TERM);
    assert_eq!(running.wait().exited(143).files(), ["b.zip", "c.zip"]);
}

#[test]
fn no_zip_is_requested_after_the_timeout() {
    let stand_in = with_failing_redirects(0..3);
    let play = |timeout: &str| batch_step(&stand_in).input("timeout", timeout).run();
    let outcome = with_growing_timeout(play, |outcome| outcome.stdout.contains("available")).exited(4);
    assert_eq!(outcome.stdout.matches(" of 3 failed: ").count(), 1, "{}", outcome.stdout);
    outcome.with_error("files 1, 2 and 3 of 3 missing: timed out after");
}

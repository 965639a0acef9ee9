//! Outputs, output file, step summary, and the commands for GitHub and Azure Pipelines.

use std::fs;

use serde_json::{Map, Value, json};
use webadmit_export::report::outputs::OUTPUTS;

use crate::support::{
    API_KEY, Authority, BatchBuilder, CREATED_AT, EXPORT_ID, EXPORT_NAME, FILENAME, IDENTITY_ID, Outcome, PDF_BATCH_ID,
    PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, RUN_ID, StandIn, UNKNOWN_HOST, github, shell,
};

/// Reads an output file in JSON, after checking that it has every output, in one line.
#[track_caller]
fn read_json(outcome: &Outcome, path: &str) -> Map<String, Value> {
    let text = String::from_utf8(outcome.read(path)).unwrap();
    assert_eq!((text.matches('\n').count(), text.ends_with('\n')), (1, true), "{text}");
    let json: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let mut names = OUTPUTS.map(|output| output.name.replace('-', "_"));
    names.sort();
    assert_eq!(json.keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>(), "{text}");
    json
}

/// Reads the files of an output directory, after checking that there is one for every output.
#[track_caller]
fn read_directory(outcome: &Outcome, path: &str) -> Map<String, Value> {
    let mut names = OUTPUTS.map(|output| output.name);
    names.sort();
    let prefix = format!("{path}/");
    let files = outcome.files();
    let files: Vec<&str> = files.iter().filter_map(|file| file.strip_prefix(&prefix)).collect();
    assert_eq!(files.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>(), names);
    let read = |name: &str| String::from_utf8(outcome.read(&format!("{prefix}{name}"))).unwrap();
    names.iter().map(|name| (name.replace('-', "_"), json!(read(name)))).collect()
}

/// Returns the outputs that have a value, as the names of their keys.
fn with_value(outputs: &Map<String, Value>) -> Vec<&str> {
    let empty = [Value::Null, json!(""), json!([]), json!("[]")];
    outputs.iter().filter(|(_, value)| !empty.contains(value)).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn outputs_are_appended_to_github_output() {
    let stand_in = StandIn::start();
    let step = github(&stand_in);
    let file = step.workspace().parent().unwrap().join("outputs");
    fs::write(&file, "earlier<<END\na\nb\nEND\nopen=line").unwrap();
    let outcome = step.run().exited(0);
    let names: Vec<_> = outcome.outputs.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "content-type",
            "created-at",
            "earlier",
            "export-file-id",
            "export-id",
            "filename",
            "files",
            "open",
            "path",
            "paths",
            "sha256",
            "size",
            "source-sha256",
            "status"
        ]
    );
    assert_eq!((outcome.outputs["open"].as_str(), outcome.outputs["earlier"].as_str()), ("line", "a\nb"));
    assert_eq!(outcome.outputs["content-type"], "text/csv;charset=iso-8859-1");
    assert_eq!(outcome.outputs["size"], stand_in.file().len().to_string());
}

#[test]
fn the_summary_shows_at_most_fifty_files() {
    let batch = |batch: BatchBuilder| (0..60).fold(batch, |batch, zip| batch.zip(&format!("{zip}.zip"), b"PK"));
    let stand_in = StandIn::builder().pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, batch).start();
    let step = github(&stand_in).by_identity_id().input("export-id", "");
    let outcome = step.input("pdf-batch-id", &PDF_BATCH_ID.to_string()).run().exited(0);
    assert_eq!(outcome.files().len(), 60);
    assert_eq!(outcome.summary.matches("\n| File | ").count(), 50, "{}", outcome.summary);
    assert!(outcome.summary.contains("\n| Files | … and 10 more |\n"), "{}", outcome.summary);
}

/// The offset of such a time leads before 1970 or after 9999.
#[test]
fn a_creation_time_that_cannot_be_written_is_unknown() {
    for updated_at in ["9999-12-31T23:59:59-01:00", "1970-01-01T00:00:00+01:00"] {
        let batch = |batch: BatchBuilder| batch.updated_at(updated_at);
        let stand_in = StandIn::builder().pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, batch).start();
        let step = github(&stand_in).by_identity_id().input("export-id", "");
        let outcome = step.input("pdf-batch-id", &PDF_BATCH_ID.to_string()).run().exited(0);
        assert_eq!(outcome.outputs.get("created-at"), None);
        assert_eq!(outcome.output_files()[0]["created_at"], Value::Null);
    }
}

#[test]
fn outputs_are_printed_in_the_log() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in).run().exited(0);
    for (name, value) in &outcome.outputs {
        assert!(outcome.stdout.contains(&format!("\n  {name}={value}\n")), "{name}: {}", outcome.stdout);
    }
}

#[test]
fn the_output_file_has_one_line_per_output() {
    let stand_in = StandIn::builder().content_disposition("attachment; filename=two words.csv").start();
    let step = shell(&stand_in).existing_file("reports/out.env", b"WEBADMIT_PATH=stale\nmore\n");
    let outcome = step.input("output-file", "reports/out.env").run().exited(0);
    let text = String::from_utf8(outcome.read("reports/out.env")).unwrap();
    let (sha256, size) = (text.split("WEBADMIT_SHA256=").nth(1).unwrap()[..64].to_owned(), stand_in.file().len());
    assert_eq!(
        text,
        format!(
            "WEBADMIT_STATUS=available\nWEBADMIT_EXPORT_ID={EXPORT_ID}\nWEBADMIT_EXPORT_FILE_ID={RUN_ID}\nWEBADMIT_PATH=two words.csv\n\
             WEBADMIT_FILENAME=two words.csv\nWEBADMIT_SIZE={size}\nWEBADMIT_SHA256={sha256}\n\
             WEBADMIT_SOURCE_SHA256={sha256}\n\
             WEBADMIT_CONTENT_TYPE=text/csv;charset=iso-8859-1\nWEBADMIT_CREATED_AT={CREATED_AT}\n"
        )
    );
}

#[test]
fn an_output_file_in_json_has_one_object_with_every_output() {
    let stand_in = StandIn::start();
    for name in ["out.json", "reports/OUT.Json", ".json"] {
        let step = github(&stand_in).existing_file(name, b"{\"path\":\"stale.csv\"}").input("output-file", name);
        let outcome = step.by_names().run().exited(0);
        let json = read_json(&outcome, name);
        let files: Value = serde_json::from_str(&outcome.outputs["files"]).unwrap();
        let sha256 = &outcome.outputs["sha256"];
        for (key, value) in [
            ("status", json!("available")),
            ("user_identity_id", json!(IDENTITY_ID)),
            ("export_id", json!(EXPORT_ID)),
            ("export_file_id", json!(RUN_ID)),
            ("pdf_template_id", Value::Null),
            ("pdf_batch_id", Value::Null),
            ("path", json!(FILENAME)),
            ("filename", json!(FILENAME)),
            ("size", json!(stand_in.file().len())),
            ("sha256", json!(sha256)),
            ("source_sha256", json!(sha256)),
            ("content_type", json!("text/csv;charset=iso-8859-1")),
            ("paths", json!([FILENAME])),
            ("files", files),
        ] {
            assert_eq!(json[key], value, "{key}");
        }
        assert_eq!(json["files"][0]["name"], EXPORT_NAME);
    }
    let outcome = github(&stand_in).input("output-file", "out.json.env").run().exited(0);
    assert!(outcome.read("out.json.env").starts_with(b"WEBADMIT_STATUS=available\n"));
}

#[test]
fn the_output_directory_has_a_file_for_every_output() {
    let stand_in = StandIn::start();
    let stale = ["status", "pdf-batch-id", "path", "paths", "files"];
    let step = stale.iter().fold(github(&stand_in), |step, name| {
        step.existing_file(&format!("results/{name}"), b"a stale value that is longer than any other\n".repeat(99))
    });
    let outcome = step.input("output-directory", "results").run().exited(0);
    let files = read_directory(&outcome, "results");
    for output in &OUTPUTS {
        let value = outcome.outputs.get(output.name).map_or("", String::as_str);
        assert_eq!(files[&output.name.replace('-', "_")], value, "{}", output.name);
    }
    assert_eq!((&files["path"], &files["pdf_batch_id"]), (&json!(FILENAME), &json!("")));
}

#[test]
fn all_files_of_several_runs_are_in_json_and_in_the_output_directory() {
    let stand_in = StandIn::builder().export(1, "First", 71, |run| run.filename("a.csv"));
    let stand_in = stand_in.export(2, "Second", 72, |run| run.statuses(&["Failed"]));
    let stand_in = stand_in.export(3, "Third", 73, |run| run.filename("c.csv")).start();
    let step = github(&stand_in).input("export-id", "1 2 3").input("export-file-id", "71 72 73");
    let step = step.input("output-file", "out/all.json").input("output-directory", "out/each").input("directory", "in");
    let outcome = step.run().exited(3);
    let (json, files) = (read_json(&outcome, "out/all.json"), read_directory(&outcome, "out/each"));
    assert_eq!(json["paths"], json!(["in/a.csv", "in/c.csv"]));
    assert_eq!(files["paths"], "in/a.csv\nin/c.csv");
    assert_eq!((&json["path"], &files["path"]), (&Value::Null, &json!("")));
    let codes =
        |files: &Value| files.as_array().unwrap().iter().map(|file| file["error"]["code"].clone()).collect::<Vec<_>>();
    assert_eq!(codes(&json["files"]), [Value::Null, json!(3), Value::Null]);
    assert_eq!(
        json["files"].to_string(),
        serde_json::from_str::<Value>(files["files"].as_str().unwrap()).unwrap().to_string()
    );
}

#[test]
fn json_and_output_directory_are_written_however_the_step_ends() {
    let stand_in = StandIn::with_statuses(&["Queued", "Failed"]);
    let run = || {
        let step = shell(&stand_in).input("output-file", "out.json").input("output-directory", "new/results");
        let step = step.existing_file("out.json", b"{\"path\":\"stale.csv\"}").existing_file("taken", b"");
        step.existing_file("new/results/path", b"stale.csv").existing_file("new/results/files", b"[{}]")
    };
    let ids = ["export_file_id", "export_id", "files"];
    for (name, value, code, expected) in [
        ("poll-interval", "1ms", 3, &["export_file_id", "export_id", "files", "status"][..]),
        ("api-key", "another", 5, &ids),
        ("directory", "taken", 1, &ids),
        ("timeout", "never", 2, &[]),
        ("export-id", "", 2, &[]),
        ("ca-file", "none.pem", 2, &[]),
    ] {
        let outcome = run().input(name, value).run().exited(code);
        let (json, files) = (read_json(&outcome, "out.json"), read_directory(&outcome, "new/results"));
        assert_eq!((with_value(&json), with_value(&files)), (expected.to_vec(), expected.to_vec()), "{name}");
        let codes: Vec<_> =
            json["files"].as_array().unwrap().iter().map(|file| file["error"]["code"].clone()).collect();
        assert_eq!(codes, if code == 2 { vec![] } else { vec![json!(code)] }, "{name}");
        assert_eq!(files["files"] == "[]", code == 2, "{name}");
    }
    for (name, value) in [("SSL_CERT_FILE", "none.pem"), ("GITHUB_OUTPUT", "/no/such/file")] {
        let outcome = run().input("base-url", &format!("https://{UNKNOWN_HOST}")).env(name, value).run().exited(1);
        let (json, files) = (read_json(&outcome, "out.json"), read_directory(&outcome, "new/results"));
        assert_eq!((with_value(&json), with_value(&files)), (ids.to_vec(), ids.to_vec()), "{name}");
        assert_eq!(json["files"][0]["error"]["code"], 1, "{name}");
    }
}

#[test]
fn json_is_escaped() {
    let name = "a #[group]#vso[task] \u{e9}.csv";
    let disposition = format!("attachment; filename=\"{name}\"");
    let stand_in = StandIn::builder().content_disposition(&disposition).content_type("text/x;a=\"\\#[x]\"").start();
    let step = github(&stand_in).input("output-file", "out.json").input("output-directory", "results");
    let outcome = step.run().exited(0);
    let json = read_json(&outcome, "out.json");
    assert_eq!(
        (&json["path"], &json["paths"][0], &json["files"][0]["path"]),
        (&json!(name), &json!(name), &json!(name))
    );
    assert_eq!(json["content_type"], outcome.outputs["content-type"]);
    let text = String::from_utf8(outcome.read("out.json")).unwrap();
    assert!(!text.contains("#[") && !text.contains("#vso["), "{text}");
    assert_eq!(outcome.read("results/path"), name.as_bytes());
}

#[test]
fn a_failed_step_writes_outputs() {
    let stand_in = StandIn::with_statuses(&["Queued", "Failed"]);
    let outcome = github(&stand_in).input("output-file", "out.env").run().exited(3);
    let (outputs, files) = outcome.output_text.split_once("files=").unwrap();
    assert_eq!(outputs, format!("status=failed\nexport-id={EXPORT_ID}\nexport-file-id={RUN_ID}\n"));
    let files: Value = serde_json::from_str(files).unwrap();
    assert_eq!(files[0]["error"]["code"], 3, "{files}");
    let lines = format!("WEBADMIT_STATUS=failed\nWEBADMIT_EXPORT_ID={EXPORT_ID}\nWEBADMIT_EXPORT_FILE_ID={RUN_ID}\n");
    assert_eq!(outcome.read("out.env"), lines.as_bytes());
}

#[test]
fn ids_in_the_inputs_are_outputs_even_if_the_step_fails_early() {
    let step = github(&StandIn::start()).existing_file("taken", "a file").input("directory", "taken");
    let inputs = [("user-identity-id", "305"), ("pdf-template-id", "2"), ("pdf-batch-id", "42")];
    let step = inputs.iter().fold(step, |step, (name, id)| step.input(name, id));
    let outcome = step.run().exited(1);
    let given = [("export-id", EXPORT_ID.to_string()), ("export-file-id", RUN_ID.to_string())];
    let given = inputs.map(|(name, id)| (name, id.to_owned())).into_iter().chain(given);
    for (name, id) in given {
        assert_eq!(outcome.outputs[name], id, "{name}");
    }
}

#[test]
fn without_a_content_type_there_is_no_such_output() {
    let stand_in = StandIn::builder().content_type("").start();
    assert!(!github(&stand_in).run().exited(0).outputs.contains_key("content-type"));
}

#[test]
fn unwritable_outputs_fail_before_the_first_request() {
    let stand_in = StandIn::start();
    let run = || github(&stand_in);
    run()
        .env("GITHUB_OUTPUT", "/no/such/file")
        .run()
        .exited(1)
        .with_error("cannot write GITHUB_OUTPUT (/no/such/file)");
    run()
        .existing_file("taken/x", b"")
        .input("output-file", "taken")
        .run()
        .exited(1)
        .with_error("cannot write the output-file taken");
    let same = run().input("output-file", "./a.csv").input("filename", "a.csv").run().exited(2);
    same.with_error("output-file: `a.csv` is also the path of the export file");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn the_export_file_never_replaces_the_output_file() {
    let stand_in = StandIn::builder().content_disposition("attachment; filename=out.env").start();
    let outcome = github(&stand_in).input("output-file", "out.env").run().exited(1);
    let lines =
        format!("WEBADMIT_STATUS=available\nWEBADMIT_EXPORT_ID={EXPORT_ID}\nWEBADMIT_EXPORT_FILE_ID={RUN_ID}\n");
    assert_eq!(outcome.read("out.env"), lines.as_bytes());
}

#[test]
fn outputs_of_an_earlier_step_are_cleared() {
    let stand_in = StandIn::start();
    let run = || shell(&stand_in).input("output-file", "out.env");
    let run = || run().existing_file("out.env", b"WEBADMIT_PATH=exports/old.csv\n");
    for (name, value, code) in [("export-id", "", 2), ("timeout", "never", 2), ("api-key", "another", 5)] {
        let outcome = run().input(name, value).run().exited(code);
        assert!(!String::from_utf8(outcome.read("out.env")).unwrap().contains("old.csv"), "{name}");
    }
    for (name, value) in [("SSL_CERT_FILE", "none.pem"), ("GITHUB_OUTPUT", "/no/such/file")] {
        let outcome = run().input("base-url", &format!("https://{UNKNOWN_HOST}")).env(name, value).run().exited(1);
        let lines = format!("WEBADMIT_EXPORT_ID={EXPORT_ID}\nWEBADMIT_EXPORT_FILE_ID={RUN_ID}\n");
        assert_eq!(outcome.read("out.env"), lines.as_bytes(), "{name}");
    }
    let misled = run().input("output-file", "../out.env").run().exited(2);
    assert!(!misled.read("out.env").is_empty());
}

#[test]
fn clears_no_file_that_is_not_the_output_file() {
    let authority = Authority::new();
    let stand_in = StandIn::start();
    let run = || shell(&stand_in).existing_file("exports/older.csv", b"older");
    for path in ["exports/older.csv", "exports/../exports/older.csv", "./exports//older.csv"] {
        let run = run().input("output-file", path).input("directory", "exports").input("filename", "older.csv");
        let outcome =
            run.run().exited(2).with_error("output-file: `exports/older.csv` is also the path of the export file");
        assert_eq!(outcome.read("exports/older.csv"), b"older", "{path}");
    }
    // Also if another input is invalid.
    let run = run().input("output-file", "exports/older.csv").input("directory", "exports");
    let outcome = run.input("filename", "older.csv").input("fail-on", "typo").run().exited(2);
    assert_eq!(outcome.read("exports/older.csv"), b"older");
    outcome.with_error("is also the path of the export file").with_error("fail-on: `typo`");

    let run = || shell(&stand_in).existing_file("exports/older.csv", b"older");
    let run = run().existing_file("ca.pem", authority.pem().as_bytes()).input("ca-file", "ca.pem");
    let outcome =
        run.input("output-file", "./ca.pem").run().exited(2).with_error("output-file: `ca.pem` is also the ca-file");
    assert_eq!(outcome.read("ca.pem"), authority.pem().as_bytes());
}

#[test]
fn outputs_with_the_path_of_another_file_are_rejected() {
    let authority = Authority::new();
    let stand_in = StandIn::start();
    let run = || shell(&stand_in).existing_file("out/status", authority.pem()).existing_file("out/path", b"older");
    let run = |inputs: &[(&str, &str)]| inputs.iter().fold(run(), |step, (name, value)| step.input(name, value));
    for (inputs, error) in [
        (
            &[("output-directory", "./out"), ("ca-file", "out/status")][..],
            "output-directory: `out` would contain the output file `status`, which is also the ca-file; use another directory",
        ),
        (
            &[("output-directory", "out"), ("directory", "out"), ("filename", "path")],
            "output-directory: `out` would contain the output file `path`, which is also the path of the export file; use another directory",
        ),
    ] {
        let outcome = run(inputs).run().exited(2).with_error(error);
        assert_eq!(outcome.files(), ["out/", "out/path", "out/status"]);
        assert_eq!((outcome.read("out/status"), outcome.read("out/path")), (authority.pem().into(), b"older".to_vec()));
    }
    for (output_file, error) in [
        ("out/x/../path", "output-file: `out/path` is also the file `path` in the output-directory; use another path"),
        ("out", "output-file: `out` is also the output-directory; use another path"),
    ] {
        let outcome =
            run(&[("output-directory", "out"), ("output-file", output_file)]).run().exited(2).with_error(error);
        // The directory is valid.
        assert!(with_value(&read_directory(&outcome, "out")).is_empty());
    }
    for (inputs, error) in [
        (
            &[("output-file", "new"), ("directory", "new")][..],
            "`new` is also the directory for the files; use another path",
        ),
        (
            &[("output-file", "new"), ("directory", "new/a")],
            "`new` must be a file, but the directory for the files is below it",
        ),
        (
            &[("output-file", "new"), ("output-directory", "new/a")],
            "`new` must be a file, but the output-directory is below it",
        ),
        (
            &[("output-directory", "new"), ("directory", "new/status")],
            "`new` would contain the output file `status`, which is also the directory for the files",
        ),
    ] {
        let outcome = run(inputs).run().exited(2).with_error(error);
        assert!(!outcome.workspace().join("new").is_file(), "{inputs:?}");
    }
    for variable in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"] {
        let step = github(&stand_in).existing_file("runner-file", b"");
        let path = step.workspace().join("runner-file");
        let step = step.env(variable, &path).input("output-file", "runner-file");
        step.run().exited(2).with_error(&format!("output-file: `runner-file` is also {variable}; use another path"));
    }
    let same = run(&[("output-directory", "file"), ("output-file", "file")]).existing_file("file", b"precious");
    assert_eq!(same.run().exited(2).read("file"), b"precious");
    assert!(stand_in.api_requests().is_empty());
    // Another name in the same directory is no conflict.
    let outcome =
        run(&[("output-directory", "out"), ("output-file", "out/all.json"), ("directory", "out")]).run().exited(0);
    assert_eq!(outcome.read("out/path"), format!("out/{FILENAME}").as_bytes());
    read_json(&outcome, "out/all.json");
}

#[test]
fn the_export_file_never_replaces_a_file_in_the_output_directory() {
    let stand_in = StandIn::builder().content_disposition("attachment; filename=status").start();
    let outcome = github(&stand_in).input("output-directory", ".").run().exited(1);
    assert_eq!(outcome.read("status"), b"available");
    outcome
        .with_error(
            "cannot save the file as status: output-directory has a file of the same path; no file was written; ",
        )
        .with_error("status now contains outputs of this step, and its previous content is lost")
        .with_error("set filename, or another output-directory, then re-run the step");
}

#[test]
fn creates_missing_files_of_the_runner() {
    let stand_in = StandIn::start();
    let step = github(&stand_in);
    let beside = |name: &str| step.workspace().parent().unwrap().join(name);
    let (outputs, summary) = (beside("new-outputs"), beside("new-summary.md"));
    let outcome = step.env("GITHUB_OUTPUT", outputs).env("GITHUB_STEP_SUMMARY", summary).run().exited(0);
    assert_eq!(outcome.outputs["status"], "available");
    assert!(outcome.summary.starts_with("### WebAdMIT export: "), "{}", outcome.summary);
}

#[test]
fn does_not_block_on_a_pipe_without_a_reader() {
    let stand_in = StandIn::start();
    let piped = |name: &str| {
        let step = shell(&stand_in);
        step.wrapped_in(&["bash", "-c", &format!("mkfifo {name}; exec \"$0\"")])
    };
    piped("out.env").input("output-file", "out.env").run().exited(1).with_error("cannot write the output-file out.env");
    piped("ca.pem").input("ca-file", "ca.pem").run().exited(2).with_error("ca-file: `ca.pem` is not a readable file");
    let summary = piped("summary").env("GITHUB_STEP_SUMMARY", "summary").run().exited(0);
    assert!(summary.stdout.contains("cannot write the step summary: "), "{}", summary.stdout);
}

#[test]
fn a_failed_write_of_the_outputs_fails_the_step() {
    let stand_in = StandIn::start();
    let to_a_full_disk = github(&stand_in).input("output-file", "/dev/full");
    to_a_full_disk.run().exited(1).with_error("cannot write the outputs to the output-file: No space left on device");
    let outcome = github(&stand_in).env("GITHUB_OUTPUT", "/dev/full").run().exited(1);
    outcome.with_error("cannot write the outputs to GITHUB_OUTPUT").with_error("the file was saved as");
}

#[test]
fn a_failed_write_of_the_outputs_is_reported_besides_other_errors() {
    const HINT: &str = "\nhint: later steps do not get the outputs; fix the problem, then re-run the step";

    let failed = StandIn::with_statuses(&["Failed"]);
    let unknown = github(&failed).by_names().input("identity", "No Such Identity");
    for (step, other) in
        [(github(&failed), "ended with status failed"), (unknown, "identity `No Such Identity` not found")]
    {
        let outcome = step.env("GITHUB_OUTPUT", "/dev/full").run().exited(1).with_error(other);
        let outcome = outcome.with_error("cannot write the outputs to GITHUB_OUTPUT");
        assert!(outcome.error().ends_with(HINT) && !outcome.mentions("is still in WebAdMIT"), "{}", outcome.error());
    }
    let check = github(&StandIn::start()).input("command", "check").env("GITHUB_OUTPUT", "/dev/full").run().exited(1);
    assert!(check.error().ends_with(HINT), "{}", check.error());
    let invalid = github(&failed).input("timeout", "never").env("GITHUB_OUTPUT", "/dev/full").run().exited(2);
    invalid.with_error("invalid input timeout").with_error("cannot write the outputs to GITHUB_OUTPUT");
}

#[test]
fn the_summary_shows_request_and_result() {
    let stand_in = StandIn::with_statuses(&["Queued", "In Progress", "Available"]);
    let outcome = github(&stand_in).input("directory", "exports").run().exited(0);
    let sha256 = &outcome.outputs["sha256"];
    for part in [
        "### WebAdMIT export: ✅ `exports/Test-API-Export.csv` saved",
        "| Export | 86446 |",
        "| Run | 74780 |",
        &format!("| SHA-256 | `{sha256}` |"),
        "```mermaid\ngantt\n",
        "    queued :2000-01-01 ",
        "    in_progress :2000-01-01 ",
        "    available :milestone, ",
    ] {
        assert!(outcome.summary.contains(part), "{part} is not in:\n{}", outcome.summary);
    }
    let at_once = github(&StandIn::start()).run().exited(0);
    assert!(!at_once.summary.contains("mermaid"), "{}", at_once.summary);
}

#[test]
fn the_summary_shows_the_error() {
    let stand_in = StandIn::with_statuses(&["Failed"]);
    let outcome = github(&stand_in).run().exited(3);
    assert!(outcome.summary.starts_with("### WebAdMIT export: ❌ No file was saved\n"), "{}", outcome.summary);
    assert!(outcome.summary.contains(&outcome.error()), "{}", outcome.summary);
}

#[test]
fn an_unwritable_summary_does_not_fail_the_step() {
    let stand_in = StandIn::start();
    github(&stand_in).env("GITHUB_STEP_SUMMARY", "/no/such/file").run().exited(0);
}

#[test]
fn workflow_commands_are_printed_on_github_only() {
    let stand_in = StandIn::with_statuses(&["Strange", "Failed"]);
    let github = github(&stand_in).run().exited(3);
    assert!(github.stdout.starts_with(&format!("::add-mask::{API_KEY}\n")), "{}", github.stdout);
    assert_eq!(github.stdout.matches("::error ").count(), 1);
    assert_eq!(github.stderr, "");

    let stand_in = StandIn::with_statuses(&["Strange", "Failed"]);
    let in_shell = shell(&stand_in).run().exited(3);
    assert!(!in_shell.stdout.contains("::") && !in_shell.stdout.contains(API_KEY), "{}", in_shell.stdout);
    assert!(
        in_shell.stderr.starts_with("error: run 74780 of export 86446 ended with status failed; no file was written"),
        "{}",
        in_shell.stderr
    );
    let not_true = shell(&stand_in).env("GITHUB_ACTIONS", "yes").run().exited(3);
    assert!(!not_true.stdout.contains("::"), "{}", not_true.stdout);
}

#[test]
fn outputs_are_variables_on_azure_pipelines() {
    let stand_in = StandIn::builder().content_disposition("attachment; filename=\"100 % sure.csv\"").start();
    let outcome = shell(&stand_in).env("TF_BUILD", "True").run().exited(0);
    for line in [
        "##vso[task.setvariable variable=WEBADMIT_STATUS;isOutput=true]available\n",
        "##vso[task.setvariable variable=WEBADMIT_PATH;isOutput=true]100 %AZP25 sure.csv\n",
        "##vso[task.setvariable variable=WEBADMIT_CONTENT_TYPE;isOutput=true]text/csv;charset=iso-8859-1\n",
    ] {
        assert!(outcome.stdout.contains(line), "{line}: {}", outcome.stdout);
    }
    for (variable, value) in [("TF_BUILD", ""), ("GITHUB_ACTIONS", "true")] {
        let step = shell(&stand_in).env("TF_BUILD", "True").env(variable, value);
        assert!(!step.run().exited(0).stdout.contains("##vso["));
    }
    let stand_in = StandIn::with_statuses(&["Failed"]);
    let outcome = shell(&stand_in).env("TF_BUILD", "True").run().exited(3);
    assert!(outcome.stdout.contains("variable=WEBADMIT_STATUS;isOutput=true]failed\n"), "{}", outcome.stdout);
    assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
    // A step that cannot begin.
    let outcome = shell(&stand_in).env("TF_BUILD", "True").input("timeout", "never").run().exited(2);
    assert!(outcome.stdout.contains("variable=WEBADMIT_FILES;isOutput=true][]\n"), "{}", outcome.stdout);
    let outcome = shell(&stand_in).env("TF_BUILD", "True").input("output-file", "/dev/null/x").run().exited(1);
    assert!(outcome.stdout.contains("variable=WEBADMIT_EXPORT_ID;isOutput=true]86446\n"), "{}", outcome.stdout);
}

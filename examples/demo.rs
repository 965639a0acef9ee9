//! Shows what the program does: `cargo run --example demo`.
//!
//! Runs the built program as GitHub's runner does, against a stand-in for WebAdMIT and its store on this machine, and prints
//! its log, outputs and step summary. One step fetches two exports and a PDF Manager batch. The applicants in the files are made
//! up.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a demo prints its results, and ends where something fails"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use support::{
    EXPORT_NAME, Outcome, PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, RUN_ID, SECOND_EXPORT_ID,
    SECOND_EXPORT_NAME, SECOND_RUN_ID, StandIn, StoredFile, applicants_csv, applicants_zip, github, pdf_zip_id, shell,
};

fn main() -> ExitCode {
    let program = build_program();
    let stand_in = start_stand_in();

    print_heading("What the key can see (webadmit-export list)");
    print!("{}", shell(&stand_in).program(&program).arg("list").run().stdout);

    print_heading("The log (the runner hides the line with ::add-mask::)");
    let step = github(&stand_in)
        .program(&program)
        .by_names()
        .input("export-name", &format!("{EXPORT_NAME}\n{SECOND_EXPORT_NAME}"))
        .input("pdf-template", PDF_TEMPLATE_NAME)
        .input("encoding", "utf-8")
        .input("poll-interval", "15s")
        .input("directory", "exports")
        .spawn();
    step.follow(|line| print!("{line}"));
    let outcome = step.wait();
    print!("{}", outcome.stderr);

    print_heading("The outputs for the following steps ($GITHUB_OUTPUT)");
    print!("{}", outcome.output_text);

    print_heading("The step summary ($GITHUB_STEP_SUMMARY)");
    println!("{}", outcome.summary.trim_end());

    if !print_comparison(&stand_in, &outcome) {
        return ExitCode::FAILURE;
    }
    outcome.status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn start_stand_in() -> StandIn {
    let seconds = Duration::from_secs;
    let now = SystemTime::now();
    let csv = |rows| StoredFile::new(&applicants_csv(rows)).created_at(now);
    StandIn::builder()
        .statuses_by_time(&[(seconds(0), "Queued"), (seconds(2), "In Progress"), (seconds(5), "Available")])
        .file(csv(12_000))
        .throttle(190_000)
        .export(SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SECOND_RUN_ID, |run| {
            run.statuses_by_time(&[(seconds(0), "Queued"), (seconds(1), "In Progress"), (seconds(3), "Available")])
                .file(csv(2000))
                .filename("Interviews-of-the-Week.csv")
        })
        .pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, |batch| {
            batch
                .statuses_by_time(&[
                    (seconds(0), "initializing"),
                    (seconds(1), "in_progress"),
                    (seconds(4), "available"),
                ])
                .updated_at(&humantime::format_rfc3339_seconds(now).to_string())
                .zip("Accepted-Offers-1.zip", applicants_zip(4000))
                .zip("Accepted-Offers-2.zip", applicants_zip(2000))
        })
        .remaining_calls(5000)
        .start()
}

/// Compares the files that were saved with those in the store, and prints the result.
fn print_comparison(stand_in: &StandIn, outcome: &Outcome) -> bool {
    print_heading("The files");
    let files: Value =
        outcome.outputs.get("files").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let ids = [RUN_ID, SECOND_RUN_ID, pdf_zip_id(PDF_BATCH_ID, 0), pdf_zip_id(PDF_BATCH_ID, 1)];
    let mut are_equal = files.as_array().is_some_and(|files| files.len() == ids.len());

    for (file, id) in files.as_array().into_iter().flatten().zip(ids) {
        let Some(path) = file["path"].as_str() else { return false };
        let mut expected = stand_in.file_of(id);
        if file["kind"] == "export" {
            // The file in the store is in ISO-8859-1, whose bytes are the first characters of Unicode.
            expected = expected.into_iter().map(char::from).collect::<String>().into_bytes();
        }
        let is_equal = outcome.read(path) == expected;
        println!(
            "{path} {}",
            if is_equal { "has the content of the file in the store." } else { "DIFFERS from the file in the store." }
        );
        are_equal &= is_equal;
    }
    are_equal
}

/// Builds the program, which Cargo does not do for an example, and returns its path.
fn build_program() -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--bin", "webadmit-export", "--message-format", "json"]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    // With the variables that Cargo sets for a program that it runs, it would rebuild half of the dependencies.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }

    let output = command.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "the program does not build");
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = parsed.filter_map(|message| message["executable"].as_str().map(str::to_owned));
    programs.next_back().expect("cargo prints the path of the program")
}

fn print_heading(text: &str) {
    println!("\n── {text} ──\n");
}

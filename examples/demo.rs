//! Shows what the program does: `cargo run --example demo`.
//!
//! Runs the built program as GitHub's runner does, against a stand-in for WebAdMIT and its store on this machine, and prints
//! its log, outputs and step summary. The applicants in the file are made up.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a demo prints its results, and ends where something fails"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use support::{StandIn, StoredFile, applicants_csv, github, shell};

fn main() -> ExitCode {
    let program = build_program();
    let stand_in = StandIn::builder()
        .statuses_by_time(&[
            (Duration::ZERO, "Queued"),
            (Duration::from_secs(2), "In Progress"),
            (Duration::from_secs(5), "Available"),
        ])
        .file(StoredFile::new(&applicants_csv(12_000)))
        .throttle(190_000)
        .remaining_calls(5000)
        .start();

    print_heading("Identities and exports of the key (webadmit-export list)");
    print!("{}", shell(&stand_in).program(&program).arg("list").run().stdout);

    print_heading("The log (the runner hides the line with ::add-mask::)");
    let step = github(&stand_in)
        .program(&program)
        .by_names()
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

    let Some(path) = outcome.outputs.get("path") else { return ExitCode::FAILURE };
    print_heading(&format!("The first lines of {path}"));
    let text = String::from_utf8(outcome.read(path)).unwrap_or_default();
    text.lines().take(5).for_each(|line| println!("{line}"));

    // The file in the store is in ISO-8859-1, whose bytes are the first characters of Unicode.
    let expected: String = stand_in.file().into_iter().map(char::from).collect();
    if text != expected {
        println!("\nThe file differs from the one in the store.");
        return ExitCode::FAILURE;
    }
    println!("\nAll {} characters are those of the file in the store.", text.chars().count());
    outcome.status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
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
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = parsed.filter_map(|message| message["executable"].as_str().map(str::to_owned));
    programs.next_back().expect("cargo prints the path of the program")
}

fn print_heading(text: &str) {
    println!("\n── {text} ──\n");
}

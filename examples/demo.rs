//! The first thing to run: `cargo run --example demo`.
//!
//! It starts a stand-in for WebAdMIT and its store on this machine, runs the built program against it as GitHub's
//! runner would, and shows what comes of it. The applicants in the file are made up.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a demo shows something, and ends where it cannot")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use support::stand_in::{File, made_up_applicants};
use support::{Course, Run, StandIn};

fn main() -> ExitCode {
    let program = build();
    let seconds = Duration::from_secs;
    let stand_in = StandIn::builder()
        .course(Course::by_time(&[(seconds(0), "Queued"), (seconds(2), "In Progress"), (seconds(5), "Available")]))
        .file(File::new(&made_up_applicants(12_000)))
        .throttle(190_000)
        .calls_left(5000)
        .start();

    heading("What the key can see (webadmit-export list)");
    print!("{}", Run::in_shell(&program).asking(&stand_in.api_url()).arg("list").run().stdout);

    heading("The log, as it comes (the runner hides the line with the mask)");
    let running = Run::on_github(&program)
        .asking(&stand_in.api_url())
        .by_names()
        .input("encoding", "utf-8")
        .input("poll-interval", "15s")
        .input("directory", "exports")
        .spawn();
    running.follow(|line| print!("{line}"));
    let ended = running.end();
    print!("{}", ended.stderr);

    heading("The outputs for the following steps ($GITHUB_OUTPUT)");
    print!("{}", ended.output_text);

    heading("The step summary ($GITHUB_STEP_SUMMARY), which GitHub renders");
    print!("{}", ended.summary.trim_end());
    println!();

    let Some(path) = ended.outputs.get("path") else { return ExitCode::FAILURE };
    heading(&format!("The first lines of {path}"));
    let text = String::from_utf8(ended.read(path)).unwrap_or_default();
    text.lines().take(5).for_each(|line| println!("{line}"));

    // The stand-in has the file in ISO-8859-1, whose characters are the first ones of Unicode.
    let sent: String = stand_in.file().into_iter().map(char::from).collect();
    if text != sent {
        println!("\nThe file is not the one that the stand-in has!");
        return ExitCode::FAILURE;
    }
    println!("\nAll {} characters are those that the stand-in has sent.", text.chars().count());
    ended.status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Builds the program and tells where it is. Cargo does not do that for an example.
fn build() -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--bin", "webadmit-export", "--message-format", "json"]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    // What Cargo tells a program that it runs would make it build half of the dependencies anew.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let output = command.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "the program could not be built");
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = parsed.filter_map(|message| message["executable"].as_str().map(str::to_owned));
    programs.next_back().expect("cargo tells where the program is")
}

fn heading(text: &str) {
    println!("\n── {text} ──\n");
}

//! Tests what users rely on: runs the built program against servers on loopback.
//!
//! The name of a test says what it proves. A test waits for events, it does not sleep, and it compares no time that depends on
//! the machine.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test ends where something fails")]

#[path = "../support/mod.rs"]
mod support;

mod api_responses;
mod check;
mod command_line;
mod composite;
mod destination;
mod documentation;
mod download;
mod download_properties;
mod encoding;
mod golden;
mod hints;
mod injection;
mod inputs;
mod list;
mod max_age;
mod name_resolution;
mod network;
mod output_files;
mod outputs;
mod pdf_manager;
mod retries;
mod runs;
mod secrets;
mod several_runs;
mod signals;
mod slow;
mod system;
mod timeouts;
mod troubleshooting;
mod wait;

//! The contract: what users can rely on, seen through the built program, against servers on loopback.
//!
//! A test's name is a promise. Where a test waits, it waits for something that happens, and a time that it compares is
//! one that the program was told, not one that a machine happened to need.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test ends where something fails")]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod bodies;
mod command_line;
mod documents;
mod faults;
mod faults_page;
mod golden;
mod injection;
mod inputs;
mod job;
mod list;
mod long;
mod machine;
mod model;
mod names;
mod network;
mod outputs;
mod secrets;
mod signals;
mod text;

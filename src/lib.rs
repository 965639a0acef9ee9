//! Fetches the files of WebAdMIT exports and PDF Manager templates: starts runs of them or takes existing ones, polls each until
//! its status is terminal, downloads its files to the workspace, and reports the results to the CI system. Several runs are
//! fetched at the same time.
//!
//! # Map
//!
//! Modules use only modules below them in this list.
//!
//! ```text
//! commands      export (the default, and check), list, help
//! poll          loop 1: check each run until its status is terminal
//! download      loop 2: attempts, each with a signed URL that has not expired, until the file is complete
//! context       loop 3: one request, retried; the deadline, log and history that all loops share
//! report        log, history, outputs, step summary, messages
//! error         errors that end a step; exit codes
//! config        the environment's variables → typed inputs
//! webadmit      the API: client, data model, runs and their files, lists, names → ids
//! http          both clients, TLS, response headers, request errors, the retry policy
//! environment, workspace, deadline, signals
//! text          redact, sanitize, normalize, format
//! ```
//!
//! `testing` has helpers for unit tests, and can use any module.
//!
//! # Rules
//!
//! - `main.rs` reads the environment and passes it in, except for the proxy variables, which the HTTP client reads. Only
//!   [`report::log`] prints.
//! - Only the API client sends the API key. A signed URL reaches no log and no message. Text from a server is redacted by
//!   [`text::redact`] when it is received, and the log, messages and the step summary are redacted once more.
//! - Text from a server goes through [`text::sanitize`] before a person or a CI runner sees it.
//! - Inputs are parsed once, into types that cannot hold an invalid value.
//! - Each of the three loops is in one place. [`http::retry`] decides what happens after an error.
//! - [`config`], [`webadmit::resolve`], [`http::retry`], [`http::parameters`], `download::range`, `download::parallel_config`,
//!   `download::pieces`, `download::rate`, `download::filename`, `download::age`, `download::text_type`, `download::html_charset`
//!   and [`text`] are pure: they use no clock, no disk and no network.
//! - Everything runs on one thread, except name look-ups, the checksum of a large file, the conversion of text, and printing the
//!   list.
//! - A file is renamed to its destination when it is complete and verified; a partial file never has that name.

#![warn(clippy::too_many_lines)]

use environment::Environment;

pub(crate) mod commands;
pub mod config;
pub mod context;
pub(crate) mod deadline;
pub mod download;
pub mod environment;
pub mod error;
pub mod http;
pub(crate) mod poll;
pub mod report;
pub(crate) mod signals;
#[cfg(test)]
mod testing;
pub mod text;
pub mod webadmit;
pub mod workspace;

/// Runs the command that the arguments name, and returns the exit code of the process.
#[must_use]
pub fn run(environment: &Environment) -> u8 {
    commands::run(environment)
}

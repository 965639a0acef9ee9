//! The contract: what users can rely on, seen through the built program, against servers on loopback.

#[path = "../support/mod.rs"]
mod support;

mod job;

/// The program under test.
fn program() -> &'static str {
    env!("CARGO_BIN_EXE_webadmit-export")
}

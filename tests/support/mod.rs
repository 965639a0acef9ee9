//! What the tests and the demo are made of: servers that play WebAdMIT and its store, and a runner that runs the built
//! program against them.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "the tests and the demo use different parts of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends where its support fails"
)]

pub mod canary;
pub mod certificates;
pub mod run;
pub mod runner;
pub mod stand_in;
pub mod wire;

pub use certificates::{Authority, Flaw};
pub use run::{Ended, Run, again, has_namespaces, in_time, in_words};
pub use stand_in::{Course, StandIn};
pub use wire::{Act, Gate, Nobody, Request, UNKNOWN_HOST, Wire};

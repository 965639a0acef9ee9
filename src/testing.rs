//! Helpers for unit tests: a context, and mutated examples for property tests.

use std::cell::RefCell;
use std::io;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::config::{self, ApiConfig};
use crate::context::Step;
use crate::environment::CiSystem;
use crate::report::history::RunHistory;
use crate::report::log::Log;

/// Everything that a [`Context`](crate::context::Context) borrows.
pub(crate) struct Fixture {
    pub(crate) api_config: ApiConfig,
    pub(crate) start: Instant,
    pub(crate) log: Log,
    pub(crate) history: RefCell<RunHistory>,
}

impl Fixture {
    /// A fixture with these inputs besides the key. The log is discarded.
    pub(crate) fn new(inputs: &[(&str, &str)]) -> Self {
        let start = Instant::now();
        Self::with_log(inputs, start, Log::to(io::sink(), io::sink(), CiSystem::Other, start))
    }

    pub(crate) fn with_log(inputs: &[(&str, &str)], start: Instant, log: Log) -> Self {
        let inputs = [("API_KEY", "k")].iter().chain(inputs);
        let variables: Vec<_> = inputs.map(|(name, value)| (format!("INPUT_{name}").into(), value.into())).collect();
        let api_config = config::parse(&variables).api_config.unwrap();
        Self { api_config, start, log, history: RefCell::default() }
    }

    pub(crate) fn step(&self) -> Step<'_> {
        Step::new(&self.api_config, self.start, &self.log)
    }
}

/// One of the examples: unchanged, with some bytes replaced, with a part of another one inserted, or truncated.
pub(crate) fn mutated(examples: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let example = || proptest::sample::select(examples);
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5);
    let piece = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), proptest::bool::weighted(0.2));
    let end = (any::<prop::sample::Index>(), proptest::bool::weighted(0.3));
    (example(), example(), edits, piece, end).prop_map(|(example, other, edits, (from, to, spliced), (end, cut))| {
        let mut bytes = example.as_bytes().to_vec();
        for (at, byte) in edits.into_iter().filter(|_| !example.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if spliced {
            let piece = &other.as_bytes()[from.index(other.len() + 1)..];
            let at = to.index(bytes.len() + 1);
            bytes.splice(at..at, piece.iter().copied());
        }
        if cut {
            bytes.truncate(end.index(bytes.len() + 1));
        }
        bytes
    })
}

/// The same as text, for headers. Invalid UTF-8 is replaced.
pub(crate) fn mutated_text(examples: &'static [&'static str]) -> impl Strategy<Value = String> {
    mutated(examples).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

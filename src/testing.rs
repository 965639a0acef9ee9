//! Nasty examples for tests that try many more like them: each target keeps a list of what has been seen, or could be.

use proptest::prelude::*;

/// One of the examples: as it is, with some bytes replaced, with a piece of another one in it, or cut short.
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

/// The same as text, for what comes in headers: what is no UTF-8 is replaced.
pub(crate) fn mutated_text(examples: &'static [&'static str]) -> impl Strategy<Value = String> {
    mutated(examples).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

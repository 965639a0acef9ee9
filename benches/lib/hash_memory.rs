//! Hashes a number of MiB of memory, with the same crate as the program. `scripts/benchmark` adds its CPU time to that of
//! tools that do not hash.

use std::process::ExitCode;

use sha2::{Digest, Sha256};

fn main() -> ExitCode {
    let Some(mebibytes) = std::env::args().nth(1).and_then(|argument| argument.parse::<u64>().ok()) else {
        return ExitCode::FAILURE;
    };
    let block = vec![0xa5; 1 << 20];

    let mut hash = Sha256::new();
    for _ in 0..mebibytes {
        hash.update(&block);
    }
    std::hint::black_box(hash.finalize());
    ExitCode::SUCCESS
}

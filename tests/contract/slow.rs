//! Tests that take too long for every run: `cargo test --release --test contract -- --ignored`.

use std::fs::{self, DirEntry};
use std::io;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::troubleshooting::{NO_RESPONSE, STALLED_DOWNLOAD, steady};

use crate::support::{
    Action, ClosedPort, FILENAME, Server, StandIn, github, github_at, head, respond, run_json_with_url,
};

#[test]
#[ignore = "needs 2 GiB of disk and some seconds"]
fn downloads_2_gib_in_under_32_mib_of_memory() {
    for encoding in ["as-sent", "utf-8"] {
        for connections in [1, 8] {
            downloads_2_gib(encoding, connections);
        }
    }
}

/// Downloads 2 GiB that the store makes up as it sends them. It throttles the first response, so that several connections are
/// used, unless it does not announce ranges.
fn downloads_2_gib(encoding: &str, connections: usize) {
    const BLOCK: u64 = 1 << 20;
    const TOTAL: u64 = 2048 * BLOCK;
    let block = || vec![b'\xe9'; BLOCK as usize];
    let headers = [("Content-Type", "text/csv;charset=iso-8859-1"), ("Accept-Ranges", "bytes"), ("ETag", "\"x\"")];
    let store = Server::start(move |request| {
        let range = request.range(TOTAL).unwrap_or(0..TOTAL);
        let length = range.end - range.start;
        if range.start > 0 {
            let content_range = format!("bytes {}-{}/{TOTAL}", range.start, range.end - 1);
            let headers = [&headers[..], &[("Content-Range", &content_range)]].concat();
            let rest = vec![b'\xe9'; (length % BLOCK) as usize];
            let head = head(206, &headers, length as usize);
            return vec![Action::Send(head), Action::Repeat(block(), length / BLOCK), Action::Send(rest)];
        }
        if connections == 1 {
            let head = head(200, &headers[..1], length as usize);
            return vec![Action::Send(head), Action::Repeat(block(), length / BLOCK)];
        }
        let slow = Action::Throttle { bytes: block().repeat(8), bytes_per_second: 3_000_000, until_requests: 1 };
        let head = head(200, &headers, length as usize);
        vec![Action::Send(head), slow, Action::Repeat(block(), length / BLOCK - 8)]
    });
    let url = store.url() + "/file.csv";
    let api = Server::start(move |_| respond(200, &[], run_json_with_url("Available", &url).to_string()));
    let running = github_at(&api.url()).input("encoding", encoding).spawn();
    let peak = running.wait_for_peak_memory();
    eprintln!("peak memory, {encoding}, {connections} connections: {peak} KiB");
    let outcome = running.wait().exited(0);
    assert_eq!(outcome.stdout.contains("continuing with 8 connections"), connections == 8, "{}", outcome.stdout);
    let bytes_per_character = if encoding == "utf-8" { 2 } else { 1 };
    assert_eq!(outcome.outputs["size"], (bytes_per_character * TOTAL).to_string());
    assert!(peak > 1024 && peak < 32 * 1024, "{peak} KiB");
}

#[test]
#[ignore = "needs 6 GiB of disk and half a minute"]
fn converts_2_gib_without_a_charset_in_under_32_mib_of_memory() {
    let (api, _store, length) = serve_long_mixture(2048);
    let running = github_at(&api.url()).input("encoding", "utf-8").spawn();
    let peak = running.wait_for_peak_memory();
    eprintln!("peak memory: {peak} KiB");
    let outcome = running.wait().exited(0);
    assert!(outcome.stdout.contains("no charset declared; converted from windows-1252 to UTF-8"), "{}", outcome.stdout);
    // Each byte is a character of two bytes.
    assert_eq!(outcome.outputs["size"], (2 * length).to_string());
    assert!(peak > 1024 && peak < 32 * 1024, "{peak} KiB");
}

#[test]
#[ignore = "needs 3 GiB of disk and some seconds"]
fn a_signal_ends_the_step_while_a_large_text_is_read_again() {
    let (api, _store, length) = serve_long_mixture(1024);
    let step = github_at(&api.url()).input("encoding", "utf-8");
    let workspace = step.workspace();
    let running = step.spawn();

    let is_complete = |file: io::Result<DirEntry>| {
        file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.len() == length as u64)
    };
    while !fs::read_dir(&workspace).unwrap().any(is_complete) {
        thread::yield_now();
    }
    running.signal(Signal::TERM);
    assert!(running.wait().exited(143).files().is_empty());
}

/// Starts an API and a store with a text of this many MiB without a charset, of which only the last byte is not valid UTF-8.
/// Returns its length in bytes, too.
fn serve_long_mixture(blocks: usize) -> (Server, Server, usize) {
    let valid = "é".repeat(1 << 19).into_bytes();
    let length = blocks * valid.len() + 1;
    let store = Server::start(move |_| {
        let head = head(200, &[("Content-Type", "text/csv")], length);
        vec![Action::Send(head), Action::Repeat(valid.clone(), blocks as u64), Action::Send(b"\xE9".to_vec())]
    });
    let url = store.url() + "/file.csv";
    let api = Server::start(move |_| respond(200, &[], run_json_with_url("Available", &url).to_string()));
    (api, store, length)
}

#[test]
#[ignore = "waits 5 s, the timeout for an error document of the store"]
fn a_slow_error_response_does_not_use_up_the_timeout() {
    let stand_in = StandIn::start();
    stand_in.next_store_response(|_, _| {
        let head = head(403, &[], 100_000);
        vec![Action::Send(head), Action::Drip(b"<Code>Late".repeat(1000), Duration::from_millis(100))]
    });
    let outcome = github(&stand_in).run().exited(0);
    assert!(outcome.stdout.contains("responded 403 (Forbidden); requesting a new signed URL"), "{}", outcome.stdout);
}

#[test]
#[ignore = "waits 20 s, the read timeout of the store"]
fn retries_a_store_that_is_silent_for_20_s() {
    let stand_in = StandIn::start();
    stand_in.next_store_response(|_, file| {
        vec![Action::Send(head(200, &[], file.bytes.len())), Action::Send(file.bytes[..100].to_vec()), Action::Hang]
    });
    stand_in.next_store_response(|_, _| vec![Action::Hang]);
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.read(FILENAME), stand_in.file());
    assert!(outcome.summary.contains("1 stalled download at 100 bytes"), "{}", outcome.summary);
    let is_documented = |line: &str| steady(line).ends_with(STALLED_DOWNLOAD);
    assert!(outcome.stdout.lines().any(is_documented), "{}", outcome.stdout);
}

#[test]
#[ignore = "waits 2 min, the time for a first valid response of the API"]
fn gives_up_on_an_api_that_never_responds() {
    let api = ClosedPort::new();
    let step = github_at(&api.url()).input("poll-interval", "30s");
    let outcome = step.run().exited(1).with_error(&format!("no valid response from {} within 2 min", api.address()));
    assert_eq!(steady(&outcome.error()), NO_RESPONSE);
}

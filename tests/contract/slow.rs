//! Tests that take too long for every run: `cargo test --release --test contract -- --ignored`.

use std::time::Duration;

use crate::faults_page::{SILENT_API, SILENT_STORE, steady};

use crate::support::{Action, ClosedPort, Server, StandIn, github, github_at, head, respond, run_json_with_url};

#[test]
#[ignore = "takes 2 GiB of disk and some seconds"]
fn downloads_2_gib_in_under_32_mib_of_memory() {
    for encoding in ["as-sent", "utf-8"] {
        for connections in [1, 8] {
            two_gibibytes(encoding, connections);
        }
    }
}

/// Made on the fly: a store that gives any part of 2 GiB, over several connections because it holds back the first one.
fn two_gibibytes(encoding: &str, connections: usize) {
    const PART: u64 = 1 << 20;
    const TOTAL: u64 = 2048 * PART;
    let headers = [("Content-Type", "text/csv;charset=iso-8859-1"), ("Accept-Ranges", "bytes"), ("ETag", "\"x\"")];
    let store = Server::start(move |request| {
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let number = |text: &str| text.parse::<u64>().unwrap();
        let (first, end) = range.map_or((0, TOTAL), |(first, last)| (number(first), number(last) + 1));
        let range = format!("bytes {first}-{}/{TOTAL}", end - 1);
        let (status, more) = if first == 0 { (200, vec![]) } else { (206, vec![("Content-Range", range.as_str())]) };
        let headers = if connections == 1 { headers[..1].to_vec() } else { [&headers[..], &more].concat() };
        let length = end - first;
        let mut acts = vec![Action::Send(head(status, &headers, usize::try_from(length).unwrap()))];
        if first == 0 && connections > 1 {
            let bytes = vec![b'\xe9'; (8 * PART) as usize];
            acts.push(Action::Throttle { bytes, bytes_per_second: 3_000_000, until_requests: 1 });
            acts.push(Action::Repeat(vec![b'\xe9'; PART as usize], length / PART - 8));
            return acts;
        }
        acts.push(Action::Repeat(vec![b'\xe9'; PART as usize], length / PART));
        acts.push(Action::Send(vec![b'\xe9'; (length % PART) as usize]));
        acts
    });
    let url = store.url() + "/file.csv";
    let api = Server::start(move |_| respond(200, &[], run_json_with_url("Available", &url).to_string().as_bytes()));
    let running = github_at(&api.url()).input("encoding", encoding).spawn();
    let peak = running.wait_for_peak_memory();
    eprintln!("peak, {encoding}, {connections} connections: {peak} KiB");
    let outcome = running.wait().exited(0);
    assert_eq!(outcome.stdout.contains("going on over 8 connections"), connections == 8, "{}", outcome.stdout);
    let characters = if encoding == "utf-8" { 2 } else { 1 };
    assert_eq!(outcome.outputs["size"], (characters * TOTAL).to_string());
    assert!(peak > 1024 && peak < 32 * 1024, "{peak} KiB");
}

#[test]
#[ignore = "waits for 5 s, as long as a store may take to say why it refuses"]
fn a_slow_error_response_does_not_use_up_the_timeout() {
    let stand_in = StandIn::start();
    stand_in.next_store_response(|_, _| {
        let head = head(403, &[], 100_000);
        vec![Action::Send(head), Action::Drip(b"<Code>Late".repeat(1000), Duration::from_millis(100))]
    });
    let outcome = github(&stand_in).run().exited(0);
    assert!(outcome.stdout.contains("answered 403 (Forbidden); trying a new signed URL"), "{}", outcome.stdout);
}

#[test]
#[ignore = "waits for 20 s, as long as a store may be silent"]
fn retries_a_store_that_is_silent_for_20_s() {
    let stand_in = StandIn::start();
    stand_in.next_store_response(|_, file| {
        vec![Action::Send(head(200, &[], file.bytes.len())), Action::Send(file.bytes[..100].to_vec()), Action::Hang]
    });
    stand_in.next_store_response(|_, _| vec![Action::Hang]);
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.read("Test-API-Export.csv"), stand_in.file());
    assert!(outcome.summary.contains("1 stall at 100 bytes"), "{}", outcome.summary);
    let told = |line: &str| steady(line).ends_with(SILENT_STORE);
    assert!(outcome.stdout.lines().any(told), "{}", outcome.stdout);
}

#[test]
#[ignore = "waits for 2 min, as long as an API may be silent that has never answered"]
fn gives_up_on_an_api_that_never_responds() {
    let nobody = ClosedPort::new();
    let step = github_at(&nobody.url()).input("poll-interval", "30s");
    let outcome =
        step.run().exited(1).with_error(&format!("{} gave no readable answer within 2 min", nobody.address()));
    assert_eq!(steady(&outcome.error()), SILENT_API);
}

//! What takes too long for every run: `cargo test --test contract -- --ignored`.

use std::time::Duration;

use crate::faults_page::{SILENT_API, SILENT_STORE, steady};
use crate::program;
use crate::support::stand_in::run_json;
use crate::support::wire::{head, response};
use crate::support::{Act, Nobody, Run, StandIn, Wire};

#[test]
#[ignore = "takes 2 GiB of disk and some seconds"]
fn two_gibibytes_pass_in_under_32_mib_of_memory() {
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
    let store = Wire::start(move |request| {
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let number = |text: &str| text.parse::<u64>().unwrap();
        let (first, end) = range.map_or((0, TOTAL), |(first, last)| (number(first), number(last) + 1));
        let range = format!("bytes {first}-{}/{TOTAL}", end - 1);
        let (status, more) = if first == 0 { (200, vec![]) } else { (206, vec![("Content-Range", range.as_str())]) };
        let headers = if connections == 1 { headers[..1].to_vec() } else { [&headers[..], &more].concat() };
        let length = end - first;
        let mut acts = vec![Act::Send(head(status, &headers, usize::try_from(length).unwrap()))];
        if first == 0 && connections > 1 {
            acts.push(Act::Slow(vec![b'\xe9'; (8 * PART) as usize], 3_000_000, 1));
            acts.push(Act::Repeat(vec![b'\xe9'; PART as usize], length / PART - 8));
            return acts;
        }
        acts.push(Act::Repeat(vec![b'\xe9'; PART as usize], length / PART));
        acts.push(Act::Send(vec![b'\xe9'; (length % PART) as usize]));
        acts
    });
    let url = store.url() + "/file.csv";
    let api = Wire::start(move |_| {
        vec![Act::Send(response(200, &[], run_json("Available", Some(url.clone())).to_string().as_bytes()))]
    });
    let running = Run::on_github(program()).asking(&api.url()).input("encoding", encoding).spawn();
    let peak = running.peak_until_the_end();
    eprintln!("peak, {encoding}, {connections} connections: {peak} KiB");
    let ended = running.end().exited(0);
    assert_eq!(ended.stdout.contains("going on over 8 connections"), connections == 8, "{}", ended.stdout);
    let characters = if encoding == "utf-8" { 2 } else { 1 };
    assert_eq!(ended.outputs["size"], (characters * TOTAL).to_string());
    assert!(peak > 1024 && peak < 32 * 1024, "{peak} KiB");
}

#[test]
#[ignore = "waits for 5 s, as long as a store may take to say why it refuses"]
fn a_refusal_that_drips_does_not_take_the_whole_timeout() {
    let stand_in = StandIn::start();
    stand_in.store_next(|_, _| {
        let head = head(403, &[], 100_000);
        vec![Act::Send(head), Act::Drip(b"<Code>Late".repeat(1000), Duration::from_millis(100))]
    });
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert!(ended.stdout.contains("answered 403 (Forbidden); trying a new signed URL"), "{}", ended.stdout);
}

#[test]
#[ignore = "waits for 20 s, as long as a store may be silent"]
fn a_store_that_is_silent_for_20_s_is_asked_again() {
    let stand_in = StandIn::start();
    stand_in.store_next(|_, file| {
        vec![Act::Send(head(200, &[], file.bytes.len())), Act::Send(file.bytes[..100].to_vec()), Act::Hang]
    });
    stand_in.store_next(|_, _| vec![Act::Hang]);
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    assert_eq!(ended.read("Test-API-Export.csv"), stand_in.file());
    assert!(ended.summary.contains("1 stall at 100 bytes"), "{}", ended.summary);
    let told = |line: &str| steady(line).ends_with(SILENT_STORE);
    assert!(ended.stdout.lines().any(told), "{}", ended.stdout);
}

#[test]
#[ignore = "waits for 2 min, as long as an API may be silent that has never answered"]
fn an_api_that_never_answers_is_given_up_after_two_minutes() {
    let nobody = Nobody::new();
    let run = Run::on_github(program()).asking(&nobody.url()).input("poll-interval", "30s");
    let ended = run.run().exited(1).failing_with(&format!("{} gave no readable answer within 2 min", nobody.address()));
    assert_eq!(steady(&ended.failure()), SILENT_API);
}

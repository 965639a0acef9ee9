//! What takes too long for every run: `cargo test --test contract -- --ignored`.

use std::fs;

use crate::faults_page::{SILENT_API, SILENT_STORE, steady};
use crate::program;
use crate::support::wire::head;
use crate::support::{Act, Gate, Run, StandIn};

#[test]
#[ignore = "takes 2 GiB of disk and some seconds"]
fn two_gibibytes_pass_in_under_32_mib_of_memory() {
    for encoding in ["as-sent", "utf-8"] {
        two_gibibytes(encoding);
    }
}

fn two_gibibytes(encoding: &str) {
    const PART: usize = 1 << 20;
    const PARTS: u64 = 2048;
    let stand_in = StandIn::start();
    let gate = Gate::new();
    let for_store = gate.clone();
    stand_in.store_next(move |_, _| {
        let headers = [("Content-Type", "text/csv;charset=iso-8859-1")];
        let head = head(200, &headers, PART * usize::try_from(PARTS).unwrap());
        let almost_all = Act::Repeat(vec![b'x'; PART], PARTS - 1);
        vec![Act::Send(head), almost_all, Act::Await(for_store.clone()), Act::Send(vec![b'x'; PART])]
    });
    let running = Run::on_github(program()).against(&stand_in).input("encoding", encoding).spawn();
    // The last part is held back until the program has taken all the others, so that it is still there to be measured.
    let partial = loop {
        let paths = fs::read_dir(running.workspace()).unwrap().flatten().map(|entry| entry.path());
        let is_almost_whole = |path: &std::path::PathBuf| {
            fs::metadata(path).is_ok_and(|metadata| metadata.len() >= (PARTS - 2) * PART as u64)
        };
        if let Some(path) = paths.into_iter().find(is_almost_whole) {
            break path;
        }
        std::thread::yield_now();
    };
    assert!(partial.to_string_lossy().ends_with(".partial"));
    let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    let peak: u64 = peak.unwrap();
    eprintln!("peak, {encoding}: {peak} kB");
    gate.open();
    let ended = running.end().exited(0);
    assert_eq!(ended.outputs["size"], (PARTS * PART as u64).to_string());
    assert!(peak < 32 * 1024, "{peak} kB");
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
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = Run::on_github(program()).asking(&format!("http://{free}")).input("poll-interval", "30s");
    let ended = run.run().exited(1).failing_with(&format!("{free} gave no readable answer within 2 min"));
    assert!(steady(&ended.failure()).starts_with(SILENT_API), "{}", ended.failure());
}

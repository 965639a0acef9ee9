//! A model of the download: any script of a store's misdeeds, against one law. The destination is the older file or
//! exactly one version of the object, never a mixture and never a part, and nothing else is left.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use reqwest::Url;
use rustls::RootCertStore;
use webadmit_export::config::{self, Encoding};
use webadmit_export::context::Context;
use webadmit_export::deadline::Deadline;
use webadmit_export::download::destination::Destination;
use webadmit_export::download::parallel::ParallelConfig;
use webadmit_export::download::{DownloadOptions, download};
use webadmit_export::error::StepError;
use webadmit_export::http::{self, Timeouts};
use webadmit_export::report::history::{History, SavedFile, TextEncoding};
use webadmit_export::report::log::{CiSystem, Log};
use webadmit_export::webadmit::SignedUrl;
use webadmit_export::workspace::Workspace;

use crate::support::{Action, Request, Server, head, respond, response, sha256_hex};

const OLDER: &[u8] = b"the older file";

/// What the store does with one request. Numbers are shares of the file in 1/100.
#[derive(Clone, Debug)]
enum Deed {
    /// What it should.
    Serve,
    /// The same, cut after a share.
    Cut(usize),
    /// The same, with a reset after a share.
    Reset(usize),
    /// The same, and then silence after a share.
    Stall(usize),
    /// Another version from now on.
    NewVersion,
    /// The whole file, whatever was asked.
    Whole,
    /// The same by a store that does not say that it takes ranges.
    NoRanges,
    /// The whole file, chunked, and cut after a share if that is less than all.
    Chunked(usize),
    /// A body that ends with the connection.
    CloseDelimited(usize),
    /// A part that begins so many bytes off.
    OffBy(i8),
    /// A part that is shorter than asked.
    ShortPart(usize),
    /// The right part with a weak ETag, or with none.
    WeakTag,
    NoTag,
    /// The right part with another total.
    OtherTotal,
    /// The right part with a byte more than it says, chunked.
    OneMore,
    /// The right part with status 200, as rclone sends it.
    PartWith200,
    /// The same without `Content-Range`, and with or without an ETag.
    PartAsWhole(bool),
    /// The whole file of the same version, cut short but with a fitting length.
    ShortWhole(usize),
    /// A status.
    Status(u16),
}

fn deed() -> impl Strategy<Value = Deed> {
    let share = 0..=100_usize;
    prop_oneof![
        1 => Just(Deed::Serve),
        5 => share.clone().prop_map(Deed::Cut),
        2 => share.clone().prop_map(Deed::Reset),
        1 => (0..100_usize).prop_map(Deed::Stall),
        3 => Just(Deed::NewVersion),
        1 => Just(Deed::Whole),
        1 => Just(Deed::NoRanges),
        1 => share.clone().prop_map(Deed::Chunked),
        1 => share.clone().prop_map(Deed::CloseDelimited),
        2 => any::<i8>().prop_map(Deed::OffBy),
        2 => share.prop_map(Deed::ShortPart),
        1 => Just(Deed::WeakTag),
        1 => Just(Deed::NoTag),
        1 => Just(Deed::OtherTotal),
        1 => Just(Deed::OneMore),
        2 => Just(Deed::PartWith200),
        2 => any::<bool>().prop_map(Deed::PartAsWhole),
        1 => (0..100_usize).prop_map(Deed::ShortWhole),
        3 => proptest::sample::select(vec![204, 301, 304, 403, 404, 412, 416, 429, 500, 503]).prop_map(Deed::Status),
    ]
}

/// The bytes of a version. Each version differs from the others at every position, so that a mixture shows; some differ
/// in length, too.
fn version(number: usize, size: usize) -> Vec<u8> {
    let size = if number % 2 == 1 { size + size / 3 } else { size };
    (0..size).map(|at| (at as u8).wrapping_mul(31).wrapping_add((number as u8).wrapping_mul(101))).collect()
}

/// What the store says of its files.
const TEXT: (&str, &str) = ("Content-Type", "text/plain;charset=iso-8859-1");

struct Store {
    script: Vec<Deed>,
    version: usize,
    size: usize,
    tagged: bool,
}

impl Store {
    fn serve(&mut self, request: &Request) -> Vec<Action> {
        let deed = if self.script.is_empty() { Deed::Serve } else { self.script.remove(0) };
        if matches!(deed, Deed::NewVersion) {
            self.version += 1;
        }
        let bytes = version(self.version, self.size);
        let total = bytes.len();
        let tag = format!("\"v{}\"", self.version);
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let from: Option<usize> = range.map(|(from, _)| from.parse().unwrap());
        let end = range.and_then(|(_, last)| last.parse::<usize>().ok()).map_or(total, |last| (last + 1).min(total));
        if from.is_some() && request.header("if-match") != Some(&tag) {
            return respond(412, &[], b"");
        }
        let (from, is_part) = (from.unwrap_or(0), from.is_some());
        if from >= end {
            return respond(416, &[], b"");
        }
        let share = |share: usize, of: usize| of * share / 100;
        let whole = |body: &[u8]| {
            let headers = [TEXT, ("Accept-Ranges", "bytes"), ("ETag", tag.as_str())];
            response(200, if self.tagged { &headers } else { &headers[..2] }, body)
        };
        let part = |first: usize, last: usize, total: usize, tag: Option<&str>| {
            let range = format!("bytes {first}-{last}/{total}");
            let mut headers = vec![("Content-Range", range.as_str())];
            headers.extend(tag.map(|tag| ("ETag", tag)));
            let body: Vec<u8> = bytes.iter().copied().cycle().skip(first).take(last - first + 1).collect();
            response(206, &headers, &body)
        };
        let right = || if is_part { part(from, end - 1, total, Some(&tag)) } else { whole(&bytes) };
        let body_start = |answer: &[u8]| answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0) + 4;
        let cut = |answer: Vec<u8>, at: usize| {
            let start = body_start(&answer);
            answer[..start + share(at, answer.len() - start)].to_vec()
        };
        match deed {
            Deed::Serve | Deed::NewVersion => vec![Action::Send(right())],
            Deed::Cut(at) => vec![Action::Send(cut(right(), at)), Action::Close],
            Deed::Reset(at) => vec![Action::Send(cut(right(), at)), Action::Reset],
            Deed::Stall(at) => vec![Action::Send(cut(right(), at)), Action::Hang],
            Deed::Whole => vec![Action::Send(whole(&bytes))],
            Deed::NoRanges => respond(200, &[TEXT, ("ETag", &tag)], &bytes),
            Deed::Chunked(at) => {
                let mut answer = head(200, &[TEXT, ("Transfer-Encoding", "chunked"), ("ETag", &tag)], 0);
                let sent = share(at, total);
                if sent > 0 {
                    answer.extend(format!("{sent:x}\r\n").bytes());
                    answer.extend(&bytes[..sent]);
                    answer.extend(b"\r\n");
                }
                if at == 100 {
                    answer.extend(b"0\r\n\r\n");
                }
                vec![Action::Send(answer), Action::Close]
            }
            Deed::CloseDelimited(at) => {
                let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                vec![Action::Send([head, &bytes[..share(at, total)]].concat()), Action::Close]
            }
            Deed::OffBy(by) => {
                let first = from.saturating_add_signed(isize::from(by)).min(end - 1);
                vec![Action::Send(part(first, end - 1, total, Some(&tag)))]
            }
            Deed::ShortPart(of) => {
                let last = from + share(of, end - from).min(end - from - 1);
                vec![Action::Send(part(from, last, total, Some(&tag)))]
            }
            Deed::WeakTag => vec![Action::Send(part(from, end - 1, total, Some(&format!("W/{tag}"))))],
            Deed::NoTag => vec![Action::Send(part(from, end - 1, total, None))],
            Deed::OtherTotal => vec![Action::Send(part(from, end - 1, total + 1, Some(&tag)))],
            Deed::OneMore => {
                let range = format!("bytes {from}-{}/{total}", end - 1);
                let headers = [("Content-Range", range.as_str()), ("ETag", &tag), ("Transfer-Encoding", "chunked")];
                let mut answer = head(206, &headers, 0);
                answer.extend(format!("{:x}\r\n", end - from + 1).bytes());
                answer.extend(&bytes[from..end]);
                answer.extend(b"x\r\n0\r\n\r\n");
                vec![Action::Send(answer)]
            }
            Deed::PartWith200 => {
                let range = format!("bytes {from}-{}/{total}", end - 1);
                respond(200, &[TEXT, ("Content-Range", &range), ("ETag", &tag)], &bytes[from..end])
            }
            Deed::PartAsWhole(is_tagged) if is_part => {
                let headers = [("ETag", tag.as_str())];
                respond(200, if is_tagged { &headers } else { &[] }, &bytes[from..end])
            }
            Deed::ShortWhole(of) if is_part => respond(200, &[("ETag", &tag)], &bytes[..share(of, total)]),
            Deed::PartAsWhole(_) | Deed::ShortWhole(_) => vec![Action::Send(right())],
            Deed::Status(status) => respond(status, &[], b""),
        }
    }
}

/// One connection, or several as soon as the first byte is there.
fn parallel(connections: usize) -> ParallelConfig {
    parallel_with_gain(connections, 0.0)
}

/// The same; if several connections are not `min_gain` times as fast, one of them goes on.
fn parallel_with_gain(connections: usize, min_gain: f64) -> ParallelConfig {
    let min_remaining = if connections == 1 { u64::MAX } else { 1 };
    let (min_time, window) = (Duration::ZERO, Duration::ZERO);
    ParallelConfig { connections, min_remaining, min_time, piece: (1, 700), window, fast: f64::INFINITY, min_gain }
}

/// What a download came to.
struct Played {
    end: Result<SavedFile, StepError>,
    /// What is at the destination.
    file: Vec<u8>,
    /// How many files are there.
    left: usize,
    /// The number of the newest version.
    versions: usize,
    /// The fault ledger.
    survived: String,
    /// How many requests the store got.
    requests: usize,
}

/// One download by a script.
fn play(script: Vec<Deed>, size: usize, tagged: bool, parallel: ParallelConfig, encoding: Encoding) -> Played {
    // Only where the store falls silent on purpose is it given up soon: on a busy machine it may be slow, too.
    let is_silent = script.iter().any(|deed| matches!(deed, Deed::Stall(_)));
    let silence = if is_silent { Duration::from_millis(60) } else { Duration::from_secs(20) };
    let store = Arc::new(Mutex::new(Store { script, version: 0, size, tagged }));
    let shared = Arc::clone(&store);
    let wire = Server::start(move |request| shared.lock().unwrap().serve(request));
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), OLDER).unwrap();
    let variables = [("API_KEY", "k"), ("POLL_INTERVAL", "1ms")];
    let variables = variables.map(|(name, value)| (format!("INPUT_{name}").into(), value.into()));
    let api_config = config::parse(&variables).api_config.unwrap();
    let deadline = Deadline::start().bounded(api_config.timeout);
    let (log, history) = (Log::to(io::sink(), io::sink(), CiSystem::Other, deadline), RefCell::new(History::default()));
    let context = Context { api_config: &api_config, deadline, log: &log, history: &history };
    let workspace = Workspace::find(None, directory.path()).unwrap();
    let destination = Destination::prepare(&workspace, directory.path(), None, None).unwrap();
    let timeouts = Timeouts { connect: Duration::from_secs(5), read: silence };
    let clients = http::clients(RootCertStore::empty(), timeouts, &api_config.base_url, log.redactor()).unwrap();
    let url = || SignedUrl::new(Url::parse(&format!("{}/object", wire.url())).unwrap(), UNIX_EPOCH);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = DownloadOptions { filename: Some("file"), fallback_name: "other", encoding, parallel };
    let end = runtime.block_on(download(&context, &clients.store, url(), async || Ok(url()), &destination, options));
    let file = fs::read(directory.path().join("file")).unwrap();
    let left = fs::read_dir(directory.path()).unwrap().count();
    let versions = store.lock().unwrap().version;
    let survived = history.borrow().recovery_summary();
    let requests = wire.requests().len();
    Played { end, file, left, versions, survived, requests }
}

fn check(script: &[Deed], size: usize, tagged: bool, parallel: ParallelConfig, encoding: Encoding) {
    let Played { end, file, left, versions, .. } = play(script.to_vec(), size, tagged, parallel, encoding);
    assert_eq!(left, 1, "something is left beside the file");
    match end {
        Err(_) => assert_eq!(file, OLDER, "a failure has touched the older file"),
        Ok(saved) => {
            let in_place = |sent: &[u8]| match &saved.text {
                TextEncoding::Converted(_) => encoding_rs::WINDOWS_1252.decode(sent).0.into_owned().into_bytes(),
                TextEncoding::AsSent | TextEncoding::NotConverted(_) => sent.to_vec(),
            };
            let sent = (0..=versions).map(|number| version(number, size)).find(|sent| in_place(sent) == file);
            let Some(sent) = sent else { panic!("{} bytes are no version of the object", file.len()) };
            assert_eq!((&saved.sha256, &saved.source_sha256), (&sha256_hex(&file), &sha256_hex(&sent)));
            assert_eq!(saved.size, file.len() as u64);
            assert_eq!(saved.text == TextEncoding::AsSent, encoding == Encoding::AsSent);
        }
    }
}

proptest! {
    #[test]
    fn the_destination_has_the_existing_file_or_exactly_one_version(
        script in proptest::collection::vec(deed(), 0..14),
        size in prop_oneof![1..4_usize, 100..5000_usize],
        tagged in proptest::bool::weighted(0.9),
        connections in 1..6_usize,
        min_gain in proptest::sample::select(vec![0.0, 1.0, f64::INFINITY]),
        encoding in proptest::sample::select(vec![Encoding::AsSent, Encoding::Utf8]),
    ) {
        check(&script, size, tagged, parallel_with_gain(connections, min_gain), encoding);
    }
}

#[test]
fn downloads_from_a_correct_store() {
    for connections in [1, 2, 8] {
        let played = play(Vec::new(), 100_000, true, parallel(connections), Encoding::AsSent);
        assert!(played.end.is_ok() && played.file == version(0, 100_000), "{connections}");
        assert_eq!(played.survived, "", "every byte comes once");
    }
}

#[test]
fn resumes_after_any_number_of_cuts() {
    for connections in [1, 4] {
        let played = play(vec![Deed::Cut(20); 30], 5000, true, parallel(connections), Encoding::AsSent);
        assert!(played.end.is_ok(), "{:?}", played.end);
        assert_eq!(played.file, version(0, 5000));
    }
}

#[test]
fn bytes_of_a_new_version_count_as_progress() {
    // The old version comes almost whole; each attempt at the new one brings little, but something.
    let script = [vec![Deed::Cut(90), Deed::NewVersion, Deed::Cut(5)], vec![Deed::Cut(5); 30]].concat();
    let played = play(script, 5000, true, parallel(1), Encoding::AsSent);
    assert_eq!(played.end.unwrap().size, version(1, 5000).len() as u64);
}

#[test]
fn a_new_version_counts_as_progress_even_if_cut_earlier() {
    let cuts = (0..12).map(|number| Deed::Cut(80 - 5 * number));
    let script: Vec<Deed> = cuts.flat_map(|cut| [cut, Deed::NewVersion]).collect();
    let played = play(script, 5000, true, parallel(1), Encoding::AsSent);
    assert!(played.end.is_ok(), "{:?}", played.end);
    assert!(played.file == version(12, 5000));
}

#[test]
fn gives_up_on_a_store_with_endless_versions() {
    let script = vec![vec![Deed::Cut(50), Deed::NewVersion]; 100].concat();
    let played = play(script, 5000, true, parallel(1), Encoding::AsSent);
    assert!(played.end.is_err() && played.file == OLDER && played.requests < 100, "{}", played.requests);
}

#[test]
fn joins_parts_with_status_200() {
    for connections in [1, 4] {
        let script = [vec![Deed::Cut(20)], vec![Deed::PartWith200; 30]].concat();
        let played = play(script, 5000, true, parallel(connections), Encoding::AsSent);
        assert!(played.end.is_ok() && played.file == version(0, 5000), "{connections} connections");
        assert_eq!(played.survived, "1 cut at 1.0 kB, 1 fresh URL", "{connections} connections");
    }
}

#[test]
fn converts_text_across_cuts_and_connections() {
    for connections in [1, 4] {
        let played = play(vec![Deed::Cut(20); 30], 5000, true, parallel(connections), Encoding::Utf8);
        let text = encoding_rs::WINDOWS_1252.decode(&version(0, 5000)).0.into_owned();
        assert_eq!(played.end.unwrap().text, TextEncoding::Converted("windows-1252"));
        assert_eq!(played.file, text.into_bytes());
    }
}

#[test]
fn uses_several_connections_after_a_cut() {
    let played = play(vec![Deed::Cut(20)], 100_000, true, parallel(4), Encoding::AsSent);
    assert!(played.requests > 10, "{}", played.requests);
}

#[test]
fn returns_to_one_connection_if_several_are_no_faster() {
    for connections in [2, 8] {
        let played =
            play(Vec::new(), 1_000_000, true, parallel_with_gain(connections, f64::INFINITY), Encoding::AsSent);
        assert!(played.end.is_ok() && played.file == version(0, 1_000_000), "{connections}");
        assert_eq!(played.survived, "");
        // Pieces of 700 bytes would be more than a thousand.
        assert!(played.requests < 200, "{} requests", played.requests);
    }
}

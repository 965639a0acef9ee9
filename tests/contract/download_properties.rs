//! Properties of the download: whatever a store responds, the destination has the file that was there before or exactly one
//! version of the object, never a mixture or a part, and nothing else is left behind.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use reqwest::Url;
use rustls::RootCertStore;
use webadmit_export::config::{self, Encoding};
use webadmit_export::context::Step;
use webadmit_export::download::{Destination, DownloadOptions, ParallelConfig, download};
use webadmit_export::environment::CiSystem;
use webadmit_export::error::StepError;
use webadmit_export::http::{self, Timeouts};
use webadmit_export::report::history::{RunHistory, SavedFile, TextEncoding};
use webadmit_export::report::log::Log;
use webadmit_export::webadmit::SignedUrl;
use webadmit_export::workspace::Workspace;

use crate::support::{Action, Request, Server, body_start, cut, head, respond, response, sha256_hex};

/// The file at the destination before the download.
const EXISTING: &[u8] = b"the existing file";

/// What the store does with one request. Numbers are percentages of the file or of the requested part.
#[derive(Clone, Debug)]
enum Behavior {
    /// Responds correctly.
    Correct,
    /// Responds correctly, and closes the connection after this share of the body.
    Cut(usize),
    /// Responds correctly, and resets the connection after this share of the body.
    Reset(usize),
    /// Responds correctly, and sends nothing more after this share of the body.
    Stall(usize),
    /// Has another version from now on.
    NewVersion,
    /// Sends the whole file, whatever was requested.
    Whole,
    /// Sends the whole file, and does not announce ranges.
    NoRanges,
    /// Sends the whole file, chunked, up to this share.
    Chunked(usize),
    /// Sends the whole file up to this share, and marks the end by closing the connection.
    CloseDelimited(usize),
    /// Sends a part that starts this many bytes too late or too early.
    OffBy(i8),
    /// Sends a part of this share of the requested one.
    ShortPart(usize),
    /// Sends the requested part with a weak ETag.
    WeakEtag,
    /// Sends the requested part without an ETag.
    NoEtag,
    /// Sends the requested part with another total in `Content-Range`.
    OtherTotal,
    /// Sends the requested part and one more byte, chunked.
    OneMore,
    /// Sends the requested part with the status 200, as rclone does.
    PartWith200,
    /// Sends the requested part with the status 200 and no `Content-Range`; with an ETag or without.
    PartAsWhole(bool),
    /// Sends this share of the file as if it were the whole one, with the ETag of the version.
    ShortWhole(usize),
    /// Responds with this status.
    Status(u16),
}

fn behavior() -> impl Strategy<Value = Behavior> {
    let share = 0..=100_usize;
    prop_oneof![
        1 => Just(Behavior::Correct),
        5 => share.clone().prop_map(Behavior::Cut),
        2 => share.clone().prop_map(Behavior::Reset),
        1 => (0..100_usize).prop_map(Behavior::Stall),
        3 => Just(Behavior::NewVersion),
        1 => Just(Behavior::Whole),
        1 => Just(Behavior::NoRanges),
        1 => share.clone().prop_map(Behavior::Chunked),
        1 => share.clone().prop_map(Behavior::CloseDelimited),
        2 => any::<i8>().prop_map(Behavior::OffBy),
        2 => share.prop_map(Behavior::ShortPart),
        1 => Just(Behavior::WeakEtag),
        1 => Just(Behavior::NoEtag),
        1 => Just(Behavior::OtherTotal),
        1 => Just(Behavior::OneMore),
        2 => Just(Behavior::PartWith200),
        2 => any::<bool>().prop_map(Behavior::PartAsWhole),
        1 => (0..100_usize).prop_map(Behavior::ShortWhole),
        3 => proptest::sample::select(vec![204, 301, 304, 403, 404, 412, 416, 429, 500, 503]).prop_map(Behavior::Status),
    ]
}

/// Returns the bytes of a version. Each version differs from the others at every position, so that a mixture is noticed. Every
/// second one is longer.
fn version(number: usize, size: usize) -> Vec<u8> {
    let size = if number % 2 == 1 { size + size / 3 } else { size };
    (0..size).map(|at| (at as u8).wrapping_mul(31).wrapping_add((number as u8).wrapping_mul(101))).collect()
}

const TEXT: (&str, &str) = ("Content-Type", "text/plain;charset=iso-8859-1");

struct Store {
    script: Vec<Behavior>,
    version: usize,
    size: usize,
    /// Whether a response with the whole file has an ETag.
    has_etag: bool,
}

impl Store {
    fn respond(&mut self, request: &Request) -> Vec<Action> {
        let behavior = if self.script.is_empty() { Behavior::Correct } else { self.script.remove(0) };
        if matches!(behavior, Behavior::NewVersion) {
            self.version += 1;
        }

        let bytes = version(self.version, self.size);
        let total = bytes.len();
        let etag = format!("\"v{}\"", self.version);
        let range = request.range(total as u64).map(|range| range.start as usize..range.end as usize);
        let is_part = range.is_some();
        if is_part && request.header("if-match") != Some(&etag) {
            return respond(412, &[], b"");
        }
        let Range { start, end } = range.unwrap_or(0..total);
        if start >= end {
            return respond(416, &[], b"");
        }

        let percent = |share: usize, of: usize| of * share / 100;
        let whole = |body: &[u8]| {
            let headers = [TEXT, ("Accept-Ranges", "bytes"), ("ETag", etag.as_str())];
            response(200, if self.has_etag { &headers } else { &headers[..2] }, body)
        };
        let part = |first: usize, last: usize, total: usize, etag: Option<&str>| {
            let range = format!("bytes {first}-{last}/{total}");
            let mut headers = vec![("Content-Range", range.as_str())];
            headers.extend(etag.map(|etag| ("ETag", etag)));
            let body: Vec<u8> = bytes.iter().copied().cycle().skip(first).take(last - first + 1).collect();
            response(206, &headers, &body)
        };
        let correct = || if is_part { part(start, end - 1, total, Some(&etag)) } else { whole(&bytes) };
        let cut_correct = |share: usize| {
            let response = correct();
            let length = response.len() - body_start(&response);
            Action::Send(cut(&response, percent(share, length)))
        };
        match behavior {
            Behavior::Correct | Behavior::NewVersion => vec![Action::Send(correct())],
            Behavior::Cut(share) => vec![cut_correct(share), Action::Close],
            Behavior::Reset(share) => vec![cut_correct(share), Action::Reset],
            Behavior::Stall(share) => vec![cut_correct(share), Action::Hang],
            Behavior::Whole => vec![Action::Send(whole(&bytes))],
            Behavior::NoRanges => respond(200, &[TEXT, ("ETag", &etag)], &bytes),
            Behavior::Chunked(share) => {
                let head = head(200, &[TEXT, ("Transfer-Encoding", "chunked"), ("ETag", &etag)], 0);
                let sent = percent(share, total);
                // A chunk of no bytes would be the end of the body.
                let chunk = if sent > 0 { chunk(&bytes[..sent]) } else { Vec::new() };
                let end: &[u8] = if share == 100 { b"0\r\n\r\n" } else { b"" };
                vec![Action::Send([&head, &chunk, end].concat()), Action::Close]
            }
            Behavior::CloseDelimited(share) => {
                let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                vec![Action::Send([head, &bytes[..percent(share, total)]].concat()), Action::Close]
            }
            Behavior::OffBy(by) => {
                let first = start.saturating_add_signed(isize::from(by)).min(end - 1);
                vec![Action::Send(part(first, end - 1, total, Some(&etag)))]
            }
            Behavior::ShortPart(share) => {
                let last = start + percent(share, end - start).min(end - start - 1);
                vec![Action::Send(part(start, last, total, Some(&etag)))]
            }
            Behavior::WeakEtag => vec![Action::Send(part(start, end - 1, total, Some(&format!("W/{etag}"))))],
            Behavior::NoEtag => vec![Action::Send(part(start, end - 1, total, None))],
            Behavior::OtherTotal => vec![Action::Send(part(start, end - 1, total + 1, Some(&etag)))],
            Behavior::OneMore => {
                let range = format!("bytes {start}-{}/{total}", end - 1);
                let headers = [("Content-Range", range.as_str()), ("ETag", &etag), ("Transfer-Encoding", "chunked")];
                let body = [&bytes[start..end], b"x"].concat();
                vec![Action::Send([&head(206, &headers, 0)[..], &chunk(&body), b"0\r\n\r\n"].concat())]
            }
            Behavior::PartWith200 => {
                let range = format!("bytes {start}-{}/{total}", end - 1);
                respond(200, &[TEXT, ("Content-Range", &range), ("ETag", &etag)], &bytes[start..end])
            }
            Behavior::PartAsWhole(has_etag) if is_part => {
                let headers = [("ETag", etag.as_str())];
                respond(200, if has_etag { &headers } else { &[] }, &bytes[start..end])
            }
            Behavior::ShortWhole(share) if is_part => respond(200, &[("ETag", &etag)], &bytes[..percent(share, total)]),
            Behavior::PartAsWhole(_) | Behavior::ShortWhole(_) => vec![Action::Send(correct())],
            Behavior::Status(status) => respond(status, &[], b""),
        }
    }
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Uses one connection, or several as soon as the first byte has arrived.
fn parallel(connections: usize) -> ParallelConfig {
    parallel_with_gain(connections, 0.0)
}

/// Uses one of several connections again if several are not `min_gain` times as fast.
fn parallel_with_gain(connections: usize, min_gain: f64) -> ParallelConfig {
    let min_remaining = if connections == 1 { u64::MAX } else { 1 };
    let (min_time, window) = (Duration::ZERO, Duration::ZERO);
    ParallelConfig { connections, min_remaining, min_time, piece: (1, 700), window, fast: f64::INFINITY, min_gain }
}

/// What a download has left behind.
struct DownloadOutcome {
    result: Result<SavedFile, StepError>,
    /// The file at the destination.
    file: Vec<u8>,
    /// The number of files in the directory.
    files: usize,
    /// The number of the newest version.
    versions: usize,
    /// The errors that it recovered from, as the summary shows them.
    recovery_summary: String,
    /// The number of requests to the store.
    requests: usize,
}

/// Downloads the file from a store that follows a script.
fn play(
    script: Vec<Behavior>,
    size: usize,
    has_etag: bool,
    parallel: ParallelConfig,
    encoding: Encoding,
) -> DownloadOutcome {
    // The timeout is short only where the store stalls on purpose: a busy machine can be slow, too.
    let stalls = script.iter().any(|behavior| matches!(behavior, Behavior::Stall(_)));
    let read_timeout = if stalls { Duration::from_millis(60) } else { Duration::from_secs(20) };
    let store = Arc::new(Mutex::new(Store { script, version: 0, size, has_etag }));
    let shared = Arc::clone(&store);
    let server = Server::start(move |request| shared.lock().unwrap().respond(request));
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), EXISTING).unwrap();
    let variables = [("API_KEY", "k"), ("POLL_INTERVAL", "1ms")];
    let variables = variables.map(|(name, value)| (format!("INPUT_{name}").into(), value.into()));
    let api_config = config::parse(&variables).api_config.unwrap();
    let start = tokio::time::Instant::now();
    let log = Log::to(io::sink(), io::sink(), CiSystem::Other, start);
    let history = RefCell::new(RunHistory::default());
    let step = Step::new(&api_config, start, &log);
    let context = step.context(&history);
    let workspace = Workspace::find(None, directory.path()).unwrap();
    let destination = Destination::prepare(&workspace, directory.path(), None, None).unwrap();
    let timeouts = Timeouts { connect: Duration::from_secs(5), read: read_timeout };
    let clients = http::clients(RootCertStore::empty(), timeouts, true, log.redactor()).unwrap();
    let url = || SignedUrl::new(Url::parse(&format!("{}/object", server.url())).unwrap(), UNIX_EPOCH);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = DownloadOptions { filename: Some("file"), fallback_name: "other", encoding, parallel };
    let result = runtime.block_on(download(&context, &clients.store, url(), async || Ok(url()), &destination, options));
    let file = fs::read(directory.path().join("file")).unwrap();
    let files = fs::read_dir(directory.path()).unwrap().count();
    let versions = store.lock().unwrap().version;
    let recovery_summary = history.borrow().recovery_summary();
    let requests = server.requests().len();
    DownloadOutcome { result, file, files, versions, recovery_summary, requests }
}

fn check(script: &[Behavior], size: usize, has_etag: bool, parallel: ParallelConfig, encoding: Encoding) {
    let DownloadOutcome { result, file, files, versions, .. } =
        play(script.to_vec(), size, has_etag, parallel, encoding);
    assert_eq!(files, 1, "another file was left behind");
    match result {
        Err(_) => assert_eq!(file, EXISTING, "an error changed the existing file"),
        Ok(saved) => {
            let expected = |source: &[u8]| match &saved.encoding {
                TextEncoding::Converted(_) => encoding_rs::WINDOWS_1252.decode(source).0.into_owned().into_bytes(),
                TextEncoding::AsSent | TextEncoding::NotConverted(_) => source.to_vec(),
            };
            let source = (0..=versions).map(|number| version(number, size)).find(|source| expected(source) == file);
            let Some(source) = source else { panic!("{} bytes are no version of the object", file.len()) };
            assert_eq!((&saved.sha256, &saved.source_sha256), (&sha256_hex(&file), &sha256_hex(&source)));
            assert_eq!(saved.size, file.len() as u64);
            assert_eq!(saved.encoding == TextEncoding::AsSent, encoding == Encoding::AsSent);
        }
    }
}

proptest! {
    #[test]
    fn the_destination_has_the_existing_file_or_exactly_one_version(
        script in proptest::collection::vec(behavior(), 0..14),
        size in prop_oneof![1..4_usize, 100..5000_usize],
        has_etag in proptest::bool::weighted(0.9),
        connections in 1..6_usize,
        min_gain in proptest::sample::select(vec![0.0, 1.0, f64::INFINITY]),
        encoding in proptest::sample::select(vec![Encoding::AsSent, Encoding::Utf8]),
    ) {
        check(&script, size, has_etag, parallel_with_gain(connections, min_gain), encoding);
    }
}

#[test]
fn downloads_from_a_correct_store() {
    for connections in [1, 2, 8] {
        let outcome = play(Vec::new(), 100_000, true, parallel(connections), Encoding::AsSent);
        assert!(outcome.result.is_ok() && outcome.file == version(0, 100_000), "{connections}");
        assert_eq!(outcome.recovery_summary, "", "every byte is sent once");
    }
}

#[test]
fn resumes_after_any_number_of_cuts() {
    for connections in [1, 4] {
        let outcome = play(vec![Behavior::Cut(20); 30], 5000, true, parallel(connections), Encoding::AsSent);
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        assert_eq!(outcome.file, version(0, 5000));
    }
}

#[test]
fn bytes_of_a_new_version_count_as_progress() {
    // Nearly all of the old version arrives. Each attempt at the new one receives a few bytes.
    let script = [vec![Behavior::Cut(90), Behavior::NewVersion, Behavior::Cut(5)], vec![Behavior::Cut(5); 30]].concat();
    let outcome = play(script, 5000, true, parallel(1), Encoding::AsSent);
    assert_eq!(outcome.result.unwrap().size, version(1, 5000).len() as u64);
}

#[test]
fn a_new_version_counts_as_progress_even_if_cut_earlier() {
    let cuts = (0..12).map(|number| Behavior::Cut(80 - 5 * number));
    let script: Vec<Behavior> = cuts.flat_map(|cut| [cut, Behavior::NewVersion]).collect();
    let outcome = play(script, 5000, true, parallel(1), Encoding::AsSent);
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert!(outcome.file == version(12, 5000));
}

#[test]
fn gives_up_on_a_store_with_endless_versions() {
    let script = vec![vec![Behavior::Cut(50), Behavior::NewVersion]; 100].concat();
    let outcome = play(script, 5000, true, parallel(1), Encoding::AsSent);
    assert!(outcome.result.is_err() && outcome.file == EXISTING && outcome.requests < 100, "{}", outcome.requests);
}

#[test]
fn joins_parts_with_status_200() {
    for connections in [1, 4] {
        let script = [vec![Behavior::Cut(20)], vec![Behavior::PartWith200; 30]].concat();
        let outcome = play(script, 5000, true, parallel(connections), Encoding::AsSent);
        assert!(outcome.result.is_ok() && outcome.file == version(0, 5000), "{connections} connections");
        assert_eq!(
            outcome.recovery_summary, "1 interrupted download at 1.0 kB, 1 new signed URL",
            "{connections} connections"
        );
    }
}

#[test]
fn converts_text_across_cuts_and_connections() {
    for connections in [1, 4] {
        let outcome = play(vec![Behavior::Cut(20); 30], 5000, true, parallel(connections), Encoding::Utf8);
        let text = encoding_rs::WINDOWS_1252.decode(&version(0, 5000)).0.into_owned();
        assert_eq!(outcome.result.unwrap().encoding, TextEncoding::Converted("windows-1252"));
        assert_eq!(outcome.file, text.into_bytes());
    }
}

#[test]
fn uses_several_connections_after_a_cut() {
    let outcome = play(vec![Behavior::Cut(20)], 100_000, true, parallel(4), Encoding::AsSent);
    assert!(outcome.requests > 10, "{}", outcome.requests);
}

#[test]
fn returns_to_one_connection_if_several_are_no_faster() {
    for connections in [2, 8] {
        let outcome =
            play(Vec::new(), 1_000_000, true, parallel_with_gain(connections, f64::INFINITY), Encoding::AsSent);
        assert!(outcome.result.is_ok() && outcome.file == version(0, 1_000_000), "{connections}");
        assert_eq!(outcome.recovery_summary, "");
        // In pieces of 700 bytes there would be more than a thousand.
        assert!(outcome.requests < 200, "{} requests", outcome.requests);
    }
}

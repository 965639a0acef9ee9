//! Properties of the download: whatever a store responds, the destination has the file that was there before or exactly one
//! version of the object, never a mixture or a part, and nothing else is left behind.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::join_all;
use httpdate::fmt_http_date;
use proptest::prelude::*;
use reqwest::Url;
use rustls::RootCertStore;
use tokio::sync::Notify;
use webadmit_export::config::{self, Encoding};
use webadmit_export::context::Step;
use webadmit_export::download::{ConnectionPool, Destination, DownloadOptions, ParallelConfig, download};
use webadmit_export::environment::CiSystem;
use webadmit_export::error::StepError;
use webadmit_export::http::{self, Timeouts};
use webadmit_export::report::history::{RunHistory, SavedFile, TextEncoding};
use webadmit_export::report::log::Log;
use webadmit_export::webadmit::SignedUrl;
use webadmit_export::workspace::Workspace;

use crate::support::server::EVENT_TIMEOUT;
use crate::support::{Action, Gate, Request, Server, body_start, cut, head, respond, response, sha256_hex};

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

/// The content of the file, and whether the store declares its charset.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// Any bytes, with a charset.
    WithCharset,
    /// Any bytes, without a charset; not valid UTF-8, unless there are only a few.
    WithoutCharset,
    /// UTF-8, without a charset.
    Utf8,
    /// UTF-8 except for the last byte, without a charset.
    NearlyUtf8,
}

impl Content {
    fn content_type(self) -> (&'static str, &'static str) {
        let has_charset = matches!(self, Self::WithCharset);
        ("Content-Type", if has_charset { "text/plain;charset=iso-8859-1" } else { "text/plain" })
    }

    /// Returns the bytes of a version.
    fn version(self, number: usize, size: usize) -> Vec<u8> {
        let bytes = version(number, size);
        if matches!(self, Self::WithCharset | Self::WithoutCharset) {
            return bytes;
        }
        // Characters of two bytes, and one byte at the end of those of an odd length.
        let character =
            |at: usize| [0xC2 + ((at * 7 + number * 11) % 30) as u8, 0x80 + ((at * 31 + number * 13) % 64) as u8];
        let end = [b'a' + (number % 26) as u8];
        let (characters, rest) = (bytes.len() / 2, bytes.len() % 2);
        let mut bytes: Vec<u8> = (0..characters).flat_map(character).chain(end.into_iter().take(rest)).collect();
        if let (Self::NearlyUtf8, Some(last)) = (self, bytes.last_mut()) {
            *last |= 0xC0;
        }
        bytes
    }

    /// Returns the converted text and its charset.
    fn text(self, bytes: &[u8]) -> (Vec<u8>, &'static str) {
        let is_utf_8 = !matches!(self, Self::WithCharset) && std::str::from_utf8(bytes).is_ok();
        let charset = if is_utf_8 { encoding_rs::UTF_8 } else { encoding_rs::WINDOWS_1252 };
        (charset.decode_without_bom_handling(bytes).0.into_owned().into_bytes(), charset.name())
    }
}

/// Returns the bytes of a version. Each version differs from the others at every position, so that a mixture is noticed. Every
/// second one is longer.
fn version(number: usize, size: usize) -> Vec<u8> {
    let size = if number % 2 == 1 { size + size / 3 } else { size };
    (0..size).map(|at| (at as u8).wrapping_mul(31).wrapping_add((number as u8).wrapping_mul(101))).collect()
}

const DAY: Duration = Duration::from_hours(24);

/// The time of the store, since 1970.
const NOW: Duration = Duration::from_hours(24 * 16);

/// Returns when a version was created, since 1970. A later version of the same file was created a day later.
fn creation_time(version: usize) -> Duration {
    (version % 20) as u32 * DAY
}

#[derive(Clone, Debug)]
struct Store {
    script: Vec<Behavior>,
    content: Content,
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

        let bytes = self.content.version(self.version, self.size);
        let content_type = self.content.content_type();
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
            let last_modified = fmt_http_date(UNIX_EPOCH + creation_time(self.version));
            let date = fmt_http_date(UNIX_EPOCH + NOW);
            let mut headers =
                vec![content_type, ("Accept-Ranges", "bytes"), ("Last-Modified", &last_modified), ("Date", &date)];
            headers.extend(self.has_etag.then_some(("ETag", etag.as_str())));
            response(200, &headers, body)
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
            Behavior::NoRanges => respond(200, &[content_type, ("ETag", &etag)], &bytes),
            Behavior::Chunked(share) => {
                let head = head(200, &[content_type, ("Transfer-Encoding", "chunked"), ("ETag", &etag)], 0);
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
                respond(200, &[content_type, ("Content-Range", &range), ("ETag", &etag)], &bytes[start..end])
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

/// Uses several connections as soon as the first byte has arrived.
fn parallel() -> ParallelConfig {
    parallel_with_gain(0.0)
}

/// Returns to one connection if several are not `min_gain` times as fast.
fn parallel_with_gain(min_gain: f64) -> ParallelConfig {
    let (min_time, window) = (Duration::ZERO, Duration::ZERO);
    ParallelConfig { min_remaining: 1, min_time, piece: (1, 700), window, fast: f64::INFINITY, min_gain }
}

/// How files are downloaded.
#[derive(Clone, Copy, Debug)]
struct Settings {
    /// The number of connections that they share.
    connections: usize,
    parallel: ParallelConfig,
    encoding: Encoding,
    max_age: Option<Duration>,
    read_timeout: Duration,
    /// The download that is cancelled when another one ends.
    cancelled: Option<usize>,
}

impl Settings {
    fn new(connections: usize) -> Self {
        // Much longer than any machine needs.
        let (encoding, read_timeout) = (Encoding::AsSent, Duration::from_secs(20));
        Self { connections, parallel: parallel(), encoding, max_age: None, read_timeout, cancelled: None }
    }
}

/// What a download has left behind.
struct DownloadOutcome {
    /// `None` if it was cancelled.
    result: Option<Result<SavedFile, StepError>>,
    /// The file at the destination.
    file: Vec<u8>,
    /// How many downloads had ended before.
    position: usize,
    /// The errors that it recovered from, as the summary shows them.
    recovery_summary: String,
}

/// What several downloads have left behind.
struct Outcomes {
    downloads: Vec<DownloadOutcome>,
    log: String,
}

/// A log that the test reads.
#[derive(Clone, Default)]
struct Lines(Rc<RefCell<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }

    /// Waits until the log has these words.
    async fn wait_for(&self, words: &str) {
        let wait = async {
            while !self.text().contains(words) {
                tokio::task::yield_now().await;
            }
        };
        let result = tokio::time::timeout(EVENT_TIMEOUT, wait).await;
        assert!(result.is_ok(), "{words} is missing:\n{}", self.text());
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Downloads this number of files at once, each from `/` and its index. `start` delays the start of each, and
/// gets the log.
fn download_all(server: &Server, number: usize, settings: Settings, start: impl AsyncFn(usize, &Lines)) -> Outcomes {
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..number).map(|index| format!("file-{index}")).collect();
    names.iter().for_each(|name| fs::write(directory.path().join(name), EXISTING).unwrap());
    let variables = [("API_KEY", "k"), ("POLL_INTERVAL", "1ms")];
    let variables = variables.map(|(name, value)| (format!("INPUT_{name}").into(), value.into()));
    let api_config = config::parse(&variables).api_config.unwrap();
    let (now, lines) = (tokio::time::Instant::now(), Lines::default());
    let log = Log::to(lines.clone(), io::sink(), CiSystem::Other, now);
    let histories: Vec<_> = names.iter().map(|_| RefCell::new(RunHistory::default())).collect();
    let step = Step::new(&api_config, now, &log);
    let workspace = Workspace::find(None, directory.path()).unwrap();
    let destination = Destination::prepare(&workspace, directory.path(), None, None).unwrap();
    let timeouts = Timeouts { connect: Duration::from_secs(5), read: settings.read_timeout };
    let clients = http::clients(RootCertStore::empty(), timeouts, true, log.redactor()).unwrap();
    let pool = ConnectionPool::new(settings.connections);
    let (ended, any_ended) = (Cell::new(0), Notify::new());

    let run = async |index: usize| {
        let context = step.context(&histories[index]);
        let url = || SignedUrl::new(Url::parse(&format!("{}/{index}", server.url())).unwrap(), UNIX_EPOCH);
        let Settings { parallel, encoding, max_age, .. } = settings;
        let filename = Some(names[index].as_str());
        let options =
            DownloadOptions { run: 0, position: 0, filename, fallback_name: "other", encoding, max_age, parallel };
        let run = async {
            start(index, &lines).await;
            let connection = pool.acquire().await;
            download(&context, &clients.store, connection, url(), async || Ok(url()), &destination, options).await
        };
        let result = tokio::select! {
            result = run => Some(result),
            () = any_ended.notified(), if settings.cancelled == Some(index) => None,
        };
        any_ended.notify_waiters();
        (result, ended.replace(ended.get() + 1))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let results = runtime.block_on(join_all((0..number).map(run)));

    let free: Vec<_> = std::iter::from_fn(|| pool.acquire().now_or_never()).collect();
    assert_eq!(free.len(), settings.connections, "a connection was not given back");
    let files = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, number, "another file was left behind");
    let downloads = results.into_iter().enumerate().map(|(index, (result, position))| {
        let file = fs::read(directory.path().join(&names[index])).unwrap();
        DownloadOutcome { result, file, position, recovery_summary: histories[index].borrow().recovery_summary() }
    });
    let downloads = downloads.collect();
    Outcomes { downloads, log: lines.text() }
}

/// What the download of one file has left behind.
struct SingleOutcome {
    result: Result<SavedFile, StepError>,
    file: Vec<u8>,
    recovery_summary: String,
    /// The number of requests to the store.
    requests: usize,
}

/// Downloads a file from a store that follows a script.
fn play(
    script: Vec<Behavior>,
    size: usize,
    connections: usize,
    parallel: ParallelConfig,
    encoding: Encoding,
) -> SingleOutcome {
    let store = Store { script, content: Content::WithCharset, version: 0, size, has_etag: true };
    let settings = Settings { parallel, encoding, ..Settings::new(connections) };
    let (Outcomes { mut downloads, .. }, _, requests) = play_all(vec![store], settings);
    let DownloadOutcome { result, file, recovery_summary, .. } = downloads.remove(0);
    SingleOutcome { result: result.unwrap(), file, recovery_summary, requests }
}

/// Downloads a file from each store. Returns the number of requests to all of them, too.
fn play_all(stores: Vec<Store>, mut settings: Settings) -> (Outcomes, Vec<Store>, usize) {
    // The timeout is short only where the store stalls on purpose: a busy machine can be slow, too.
    let stalls = |store: &Store| store.script.iter().any(|behavior| matches!(behavior, Behavior::Stall(_)));
    if stores.iter().any(stalls) {
        settings.read_timeout = Duration::from_millis(60);
    }
    let number = stores.len();
    let stores = Arc::new(Mutex::new(stores));
    let shared = Arc::clone(&stores);
    let server = Server::start(move |request| shared.lock().unwrap()[index(request)].respond(request));
    let outcomes = download_all(&server, number, settings, async |_, _| ());
    let stores = std::mem::take(&mut *stores.lock().unwrap());
    (outcomes, stores, server.requests().len())
}

/// Returns the index of the file that is requested.
fn index(request: &Request) -> usize {
    request.target[1..].parse().unwrap()
}

/// Downloads a file from each store, and checks what is left behind.
fn check(stores: &[Store], settings: Settings) {
    let (outcomes, stores_after, _) = play_all(stores.to_vec(), settings);
    for ((before, after), outcome) in stores.iter().zip(stores_after).zip(outcomes.downloads) {
        let DownloadOutcome { result, file, .. } = outcome;
        let Some(Ok(saved)) = result else {
            assert_eq!(file, EXISTING, "an error changed the existing file");
            continue;
        };
        let expected = |source: &[u8]| match &saved.encoding {
            TextEncoding::Converted(_) => before.content.text(source).0,
            _ => source.to_vec(),
        };
        // With a maximum age, a version that is older must not be saved.
        let is_accepted =
            |number: &usize| settings.max_age.is_none_or(|max_age| creation_time(*number) + max_age >= NOW);
        let versions = (before.version..=after.version).filter(is_accepted);
        let mut versions = versions.map(|number| before.content.version(number, before.size));
        let Some(source) = versions.find(|source| expected(source) == file) else {
            panic!("{} bytes are no version of the object", file.len());
        };
        match &saved.encoding {
            TextEncoding::Converted(conversion) => assert_eq!(conversion.charset, before.content.text(&source).1),
            TextEncoding::NotConverted(reason) => assert_eq!(reason, "the store declared no content type"),
            other => assert_eq!(*other, TextEncoding::AsSent),
        }
        assert_eq!((&saved.sha256, &saved.source_sha256), (&sha256_hex(&file), &sha256_hex(&source)));
        assert_eq!(saved.size, file.len() as u64);
        assert_eq!(saved.encoding == TextEncoding::AsSent, settings.encoding == Encoding::AsSent);
    }
}

fn content() -> impl Strategy<Value = Content> {
    use Content::{NearlyUtf8, Utf8, WithCharset, WithoutCharset};
    proptest::sample::select(vec![WithCharset, WithoutCharset, Utf8, NearlyUtf8])
}

/// Returns a store with a file whose versions have numbers from `first_version` on.
fn store(first_version: usize) -> impl Strategy<Value = Store> {
    let script = proptest::collection::vec(behavior(), 0..14);
    let size = prop_oneof![1..4_usize, 100..5000_usize];
    let has_etag = proptest::bool::weighted(0.9);
    (script, content(), size, has_etag).prop_map(move |(script, content, size, has_etag)| Store {
        script,
        content,
        version: first_version,
        size,
        has_etag,
    })
}

/// Returns stores with different files.
fn stores() -> impl Strategy<Value = Vec<Store>> {
    (2..5_usize).prop_flat_map(|number| (0..number).map(|index| store(20 * index)).collect::<Vec<_>>())
}

fn settings() -> impl Strategy<Value = Settings> {
    let min_gain = proptest::sample::select(vec![0.0, 1.0, f64::INFINITY]);
    let encoding = proptest::sample::select(vec![Encoding::AsSent, Encoding::Utf8]);
    let max_age = proptest::option::weighted(0.3, (1..=18_u32).prop_map(|days| days * DAY));
    (1..6_usize, min_gain, encoding, max_age).prop_map(|(connections, min_gain, encoding, max_age)| {
        let parallel = parallel_with_gain(min_gain);
        Settings { parallel, encoding, max_age, ..Settings::new(connections) }
    })
}

proptest! {
    #[test]
    fn the_destination_has_the_existing_file_or_exactly_one_version(store in store(0), settings in settings()) {
        check(&[store], settings);
    }

    #[test]
    fn each_destination_has_the_existing_file_or_exactly_one_version(
        stores in stores(),
        settings in settings(),
        cancelled in proptest::option::weighted(0.3, 0..4_usize),
    ) {
        check(&stores, Settings { cancelled, ..settings });
    }
}

proptest! {
    // These cases take longer, because the store is slow.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn a_store_never_sees_more_requests_than_there_are_connections(
        files in proptest::collection::vec(store_with_errors(), 1..6),
        connections in 1..=8_usize,
    ) {
        let parallel = ParallelConfig { min_remaining: MIN_PARALLEL as u64, piece: (500, 700), ..parallel() };
        let settings = Settings { parallel, ..Settings::new(connections) };
        let in_progress = Arc::new(InProgress::default());
        let (stores, counter) = (Mutex::new(files.clone()), Arc::clone(&in_progress));
        let server = Server::start(move |request| {
            let file = &mut stores.lock().unwrap()[index(request)];
            // The response that several connections continue is not received to its end.
            let is_open_ended = request.header("range").is_none_or(|range| range.ends_with('-'));
            let may_be_closed = connections > 1 && file.size >= MIN_PARALLEL && is_open_ended;
            hold(file.respond(request), may_be_closed, counter.count())
        });

        let outcomes = download_all(&server, files.len(), settings, async |_, _| ());
        for (file, outcome) in files.iter().zip(outcomes.downloads) {
            assert!(matches!(outcome.result, Some(Ok(_))), "{:?}", outcome.result);
            assert!(outcome.file == version(file.version, file.size));
        }
        assert!(in_progress.most() <= connections, "{} requests", in_progress.most());
    }
}

/// Files of this size are downloaded over several connections.
const MIN_PARALLEL: usize = 2000;

/// Returns a store that has errors, but always the same version of the file, and sends no more than was requested. The client
/// then closes a connection before the store does only where `may_be_closed` says so, and the requests in progress can be
/// counted.
fn store_with_errors() -> impl Strategy<Value = Store> {
    let first = proptest::sample::select(vec![Behavior::Correct, Behavior::NoRanges, Behavior::Cut(50)]);
    let error = prop_oneof![
        2 => Just(Behavior::Correct),
        2 => (0..100_usize).prop_map(Behavior::Cut),
        1 => (0..100_usize).prop_map(Behavior::Reset),
        1 => proptest::sample::select(vec![403, 500, 503]).prop_map(Behavior::Status),
    ];
    let size = prop_oneof![1..MIN_PARALLEL, MIN_PARALLEL..10_000];
    (first, proptest::collection::vec(error, 0..7), size, 0..100_usize).prop_map(|(first, errors, size, number)| {
        let script = [vec![first], errors].concat();
        // The length of a version with an odd number differs from `size`.
        Store { script, content: Content::WithCharset, version: 2 * number, size, has_etag: true }
    })
}

/// Counts the requests that are in progress.
#[derive(Default)]
struct InProgress {
    requests: Mutex<Vec<Weak<Gate>>>,
    most: AtomicUsize,
}

impl InProgress {
    /// Counts a request. It ends when the server has carried out the action, or has dropped it.
    fn count(&self) -> Action {
        let gate = Gate::new();
        gate.open();
        let mut requests = self.requests.lock().unwrap();
        requests.retain(|request| request.strong_count() > 0);
        requests.push(Arc::downgrade(&gate));
        self.most.fetch_max(requests.len(), Ordering::SeqCst);
        Action::WaitFor(gate)
    }

    /// Returns how many requests were in progress at the same time.
    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Sends a response slowly, and carries out `end` before its last byte or, if the client may close the connection, before its
/// body.
fn hold(mut actions: Vec<Action>, may_be_closed: bool, end: Action) -> Vec<Action> {
    let Action::Send(bytes) = actions.remove(0) else { panic!("no response") };
    let is_cut = !actions.is_empty();
    let held = match (may_be_closed, is_cut) {
        (true, _) => body_start(&bytes).min(bytes.len() - 1),
        (false, true) => bytes.len(),
        (false, false) => bytes.len() - 1,
    };
    let (start, rest) = bytes.split_at(held);
    let slowly = Action::Throttle { bytes: start.to_vec(), bytes_per_second: 400_000, until_requests: usize::MAX };
    [vec![slowly, end, Action::Send(rest.to_vec())], actions].concat()
}

/// A correct store with a file of this size.
fn correct(size: usize) -> Store {
    Store { script: Vec::new(), content: Content::WithCharset, version: 0, size, has_etag: true }
}

#[test]
fn a_small_file_gets_a_connection_while_a_large_one_uses_all() {
    const PIECES: usize = 500;

    let (large, small) = (Mutex::new(correct(700 * PIECES)), Mutex::new(correct(100)));
    let (requests, when_small_starts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let all_used = Arc::new(Notify::new());
    let (counter, count_then, notify) = (Arc::clone(&requests), Arc::clone(&when_small_starts), Arc::clone(&all_used));
    let server = Server::start(move |request| {
        if index(request) == 1 {
            count_then.store(counter.load(Ordering::SeqCst), Ordering::SeqCst);
            return small.lock().unwrap().respond(request);
        }
        if counter.fetch_add(1, Ordering::SeqCst) == 20 {
            notify.notify_one();
        }
        large.lock().unwrap().respond(request)
    });

    let start = async |index, _: &Lines| {
        if index == 1 {
            all_used.notified().await
        }
    };
    let Outcomes { downloads, log } = download_all(&server, 2, Settings::new(8), start);
    assert!(log.contains("continuing with 8 connections"), "{log}");
    for (download, size) in downloads.iter().zip([700 * PIECES, 100]) {
        assert!(download.file == version(0, size) && download.recovery_summary.is_empty());
    }
    let positions: Vec<_> = downloads.iter().map(|download| download.position).collect();
    assert_eq!(positions, [1, 0], "the small file is complete first");
    let (then, all) = (when_small_starts.load(Ordering::SeqCst), requests.load(Ordering::SeqCst));
    assert!(then < all / 2, "{then} of {all} requests");
}

#[test]
fn a_single_connection_that_is_left_has_no_gain_to_measure() {
    let (large, small) = (Mutex::new(correct(30_000)), Mutex::new(correct(100)));
    let (parts, small_started) = (AtomicUsize::new(0), Gate::new());
    let server = Server::start(move |request| {
        if index(request) == 1 {
            small_started.open();
            return small.lock().unwrap().respond(request);
        }
        let response = large.lock().unwrap().respond(request);
        match request.header("range").map(|_| parts.fetch_add(1, Ordering::SeqCst)) {
            // The second connection receives nothing until the first one is given back.
            Some(0) => [vec![Action::WaitFor(Arc::clone(&small_started))], response].concat(),
            _ => response,
        }
    });

    let start = async |index, log: &Lines| {
        if index == 1 {
            log.wait_for("continuing with 2 connections").await;
        }
    };
    let settings = Settings { parallel: parallel_with_gain(f64::INFINITY), ..Settings::new(2) };
    let Outcomes { downloads, log } = download_all(&server, 2, settings, start);
    assert!(downloads[0].file == version(0, 30_000) && downloads[1].file == version(0, 100));
    assert!(!log.contains("no faster"), "{log}");
}

#[test]
fn the_gain_is_not_measured_after_the_store_asked_for_fewer_requests() {
    for connections in [2, 3, 8] {
        let (large, parts) = (Mutex::new(correct(30_000)), AtomicUsize::new(0));
        let server =
            Server::start(move |request| match request.header("range").map(|_| parts.fetch_add(1, Ordering::SeqCst)) {
                Some(0) => respond(503, &[], b""),
                _ => large.lock().unwrap().respond(request),
            });
        let settings = Settings { parallel: parallel_with_gain(f64::INFINITY), ..Settings::new(connections) };
        let Outcomes { downloads, log } = download_all(&server, 1, settings, async |_, _| ());
        assert!(downloads[0].file == version(0, 30_000) && log.contains("responded 503"), "{log}");
        assert!(!log.contains("no faster"), "{log}");
    }
}

#[test]
fn a_probe_for_ranges_uses_a_connection() {
    let (large, small) = (Mutex::new(correct(30_000)), Mutex::new(correct(100)));
    large.lock().unwrap().script.push(Behavior::NoRanges);
    let is_probed = Arc::new(Notify::new());
    let notify = Arc::clone(&is_probed);
    let server = Server::start(move |request| {
        if index(request) == 1 {
            return small.lock().unwrap().respond(request);
        }
        if request.header("range").is_some() {
            notify.notify_one();
            return vec![Action::Hang];
        }
        hold(large.lock().unwrap().respond(request), false, Action::Send(Vec::new()))
    });

    let start = async |index, _: &Lines| {
        if index == 1 {
            is_probed.notified().await
        }
    };
    let Outcomes { downloads, .. } = download_all(&server, 2, Settings::new(2), start);
    assert!(downloads[0].file == version(0, 30_000) && downloads[1].file == version(0, 100));
    let positions: Vec<_> = downloads.iter().map(|download| download.position).collect();
    assert_eq!(positions, [0, 1], "the other file waits until the probe has ended");
}

/// Downloads a large file beside small ones, which start before it. They end when the log has the words `others_end_at`, and
/// another small one starts then. `respond` responds to each request for the large file.
fn downloads_beside_others(
    others: usize,
    others_end_at: &str,
    respond: impl Fn(&Request, Vec<Action>) -> Vec<Action> + Send + Sync + 'static,
) -> Outcomes {
    let (large, small) = (Mutex::new(correct(30_000)), Mutex::new(correct(100)));
    let (small_requests, others_started, others_may_end) = (AtomicUsize::new(0), Arc::new(Notify::new()), Gate::new());
    let (notify, waits) = (Arc::clone(&others_started), Arc::clone(&others_may_end));
    let server = Server::start(move |request| {
        if index(request) == 0 {
            return respond(request, large.lock().unwrap().respond(request));
        }
        if small_requests.fetch_add(1, Ordering::SeqCst) + 1 == others {
            notify.notify_one();
        }
        [vec![Action::WaitFor(Arc::clone(&waits))], small.lock().unwrap().respond(request)].concat()
    });

    let last = others + 1;
    let start = async |index, log: &Lines| match index {
        0 => others_started.notified().await,
        _ if index == last => {
            log.wait_for(others_end_at).await;
            others_may_end.open();
        }
        _ => {}
    };
    let outcomes = download_all(&server, others + 2, Settings::new(8), start);
    assert!(outcomes.downloads[0].file == version(0, 30_000));
    outcomes
}

#[test]
fn a_large_file_uses_connections_that_become_spare() {
    let outcomes = downloads_beside_others(7, "downloading file-0", |request, mut response| {
        if request.header("range").is_none() {
            // Over this connection alone, the file takes longer than the others.
            let Action::Send(bytes) = response.remove(0) else { panic!("no response") };
            return vec![Action::Throttle { bytes, bytes_per_second: 4000, until_requests: usize::MAX }];
        }
        response
    });
    assert!(outcomes.log.contains("continuing with "), "{}", outcomes.log);
}

#[test]
fn a_large_file_uses_more_connections_when_others_end() {
    let (in_progress, all_used) = (InProgress::default(), Gate::new());
    let outcomes = downloads_beside_others(6, "continuing with 2 connections", move |request, response| {
        if request.header("range").is_none() {
            return response;
        }
        let end = in_progress.count();
        if in_progress.most() == 8 {
            all_used.open();
        }
        [vec![Action::WaitFor(Arc::clone(&all_used))], hold(response, false, end)].concat()
    });
    assert_eq!(outcomes.downloads[0].recovery_summary, "", "{}", outcomes.log);
    assert_eq!(outcomes.log.matches("continuing with").count(), 1, "{}", outcomes.log);
}

#[test]
fn a_large_file_uses_no_more_connections_after_the_store_asked_for_fewer_requests() {
    let (in_progress, parts) = (Arc::new(InProgress::default()), AtomicUsize::new(0));
    let counter = Arc::clone(&in_progress);
    downloads_beside_others(6, "continuing with 1 connection\n", move |request, response| {
        if request.header("range").is_none() {
            return response;
        }
        match parts.fetch_add(1, Ordering::SeqCst) {
            0 => respond(503, &[], b""),
            _ => hold(response, false, counter.count()),
        }
    });
    assert_eq!(in_progress.most(), 1);
}

#[test]
fn downloads_from_a_correct_store() {
    for connections in [1, 2, 8] {
        let outcome = play(Vec::new(), 100_000, connections, parallel(), Encoding::AsSent);
        assert!(outcome.result.is_ok() && outcome.file == version(0, 100_000), "{connections}");
        assert_eq!(outcome.recovery_summary, "", "every byte is sent once");
    }
}

#[test]
fn resumes_after_any_number_of_cuts() {
    for connections in [1, 4] {
        let outcome = play(vec![Behavior::Cut(20); 30], 5000, connections, parallel(), Encoding::AsSent);
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        assert_eq!(outcome.file, version(0, 5000));
    }
}

#[test]
fn bytes_of_a_new_version_count_as_progress() {
    // Nearly all of the old version arrives. Each attempt at the new one receives a few bytes.
    let script = [vec![Behavior::Cut(90), Behavior::NewVersion, Behavior::Cut(5)], vec![Behavior::Cut(5); 30]].concat();
    let outcome = play(script, 5000, 1, parallel(), Encoding::AsSent);
    assert_eq!(outcome.result.unwrap().size, version(1, 5000).len() as u64);
}

#[test]
fn a_new_version_counts_as_progress_even_if_cut_earlier() {
    let cuts = (0..12).map(|number| Behavior::Cut(80 - 5 * number));
    let script: Vec<Behavior> = cuts.flat_map(|cut| [cut, Behavior::NewVersion]).collect();
    let outcome = play(script, 5000, 1, parallel(), Encoding::AsSent);
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert!(outcome.file == version(12, 5000));
}

#[test]
fn gives_up_on_a_store_with_endless_versions() {
    let script = vec![vec![Behavior::Cut(50), Behavior::NewVersion]; 100].concat();
    let outcome = play(script, 5000, 1, parallel(), Encoding::AsSent);
    assert!(outcome.result.is_err() && outcome.file == EXISTING && outcome.requests < 100, "{}", outcome.requests);
}

#[test]
fn joins_parts_with_status_200() {
    for connections in [1, 4] {
        let script = [vec![Behavior::Cut(20)], vec![Behavior::PartWith200; 30]].concat();
        let outcome = play(script, 5000, connections, parallel(), Encoding::AsSent);
        assert!(outcome.result.is_ok() && outcome.file == version(0, 5000), "{connections} connections");
        // When it is interrupted, other connections can have received something already.
        let recovery = &outcome.recovery_summary;
        let is_expected =
            recovery.starts_with("1 interrupted download at 1.") && recovery.ends_with(" kB, 1 new signed URL");
        assert!(is_expected, "{connections} connections: {recovery}");
    }
}

#[test]
fn converts_text_across_cuts_and_connections() {
    for (content, charset) in [
        (Content::WithCharset, "windows-1252"),
        (Content::WithoutCharset, "windows-1252"),
        (Content::Utf8, "UTF-8"),
        (Content::NearlyUtf8, "windows-1252"),
    ] {
        for connections in [1, 4] {
            let store = Store { script: vec![Behavior::Cut(20); 30], content, ..correct(5000) };
            let settings = Settings { encoding: Encoding::Utf8, ..Settings::new(connections) };
            let DownloadOutcome { result, file, .. } = play_all(vec![store], settings).0.downloads.remove(0);
            assert!(file == content.text(&content.version(0, 5000)).0, "{content:?}");
            let Ok(SavedFile { encoding: TextEncoding::Converted(conversion), .. }) = result.unwrap() else {
                panic!("{content:?} was not converted");
            };
            assert_eq!(conversion.charset, charset);
        }
    }
}

#[test]
fn uses_several_connections_after_a_cut() {
    let outcome = play(vec![Behavior::Cut(20)], 100_000, 4, parallel(), Encoding::AsSent);
    assert!(outcome.requests > 10, "{}", outcome.requests);
}

#[test]
fn returns_to_one_connection_if_several_are_no_faster() {
    for connections in [2, 8] {
        let outcome = play(Vec::new(), 1_000_000, connections, parallel_with_gain(f64::INFINITY), Encoding::AsSent);
        assert!(outcome.result.is_ok() && outcome.file == version(0, 1_000_000), "{connections}");
        assert_eq!(outcome.recovery_summary, "");
        // In pieces of 700 bytes there would be more than a thousand.
        assert!(outcome.requests < 200, "{} requests", outcome.requests);
    }
}

//! Downloads the file of a run: from signed URLs that expire within seconds to a complete file in place.
//!
//! A loop of attempts. Each one requests what is missing with a signed URL that has not expired; [`range`] classifies the
//! response. The file is put into place when all of its bytes are there and of the same version.

mod checksum;
pub mod destination;
pub mod filename;
pub mod parallel;
pub mod range;
mod rate;
pub mod signed_url;
pub mod transcode;

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, IF_MATCH, RANGE, TRANSFER_ENCODING,
};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::Mutex;

use crate::config::Encoding;
use crate::context::Context;
use crate::error::StepError;
use crate::http::error::{Endpoint, ErrorKind, RequestError, classify_body_error, classify_error};
use crate::http::retry::Attempts;
use crate::http::{self, headers};
use crate::report::history::{SavedFile, TextEncoding};
use crate::text::format::{self, Progress};
use crate::text::redact::{MAX_TEXT_LENGTH, Redactor};
use crate::webadmit::SignedUrl;
use destination::{Destination, PartialFile, WrittenFile};
use parallel::{Parallel, ParallelConfig};
use range::{RangeResponse, RequestedRange, ResponseHead};
use rate::RateMeter;
use signed_url::SignedUrlSource;

/// Interval between two log lines about the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum length of the store's error document that is read: a short XML document.
const MAX_ERROR_LENGTH: usize = 1 << 16;

/// Timeout for reading the store's error document.
const ERROR_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of versions of the file whose bytes count as new. Some stores name another `ETag` in each response:
/// without this bound the attempts would go on until the timeout.
const MAX_VERSIONS: usize = 32;

/// How to save the file.
#[derive(Clone, Copy, Debug)]
pub struct DownloadOptions<'a> {
    /// The file name, instead of the server's.
    pub filename: Option<&'a str>,
    /// The file name if the server has none.
    pub fallback_name: &'a str,
    /// Whether text is converted.
    pub encoding: Encoding,
    /// When and how several connections are used.
    pub parallel: ParallelConfig,
}

/// Downloads the file and puts it into place. `refresh` requests a new signed URL from the API.
///
/// # Errors
///
/// Returns a [`StepError`] if the file cannot be downloaded or stored. The partial file is removed then, and an existing
/// file is left unchanged.
pub async fn download(
    context: &Context<'_>,
    client: &Client,
    first: SignedUrl,
    refresh: impl AsyncFnMut() -> Result<SignedUrl, StepError>,
    destination: &Destination,
    options: DownloadOptions<'_>,
) -> Result<SavedFile, StepError> {
    let started = context.deadline.elapsed();
    let store = Store { context, client, urls: Mutex::new(SignedUrlSource::new(context, first, refresh)) };
    let mut transfer = Transfer::new(destination, options, started)?;
    let mut attempts = Attempts::new(started);
    let mut failed_url = None;

    loop {
        let before = transfer.new_bytes.count;
        let (url, id) = store.signed_url(failed_url).await?;
        failed_url = Some(id);

        let error = match transfer.attempt(&store, &url, id).await {
            Ok(()) => break,
            Err(AttemptError::Request(error) | AttemptError::StartOver(error)) => error,
            Err(AttemptError::Disk(error)) => return Err(StepError::Local(error)),
            Err(AttemptError::Fatal(error)) => return Err(error),
        };

        attempts.record(transfer.new_bytes.count > before);
        attempts.record_error(&error);
        context.back_off(error, attempts).await?;
    }

    transfer.save(context.deadline.elapsed().saturating_sub(started))
}

/// Why an attempt ended before the file was complete.
enum AttemptError {
    /// The store or the connection to it failed. What was received is kept.
    Request(RequestError),
    /// The same, and what was received was dropped.
    StartOver(RequestError),
    /// The disk failed.
    Disk(anyhow::Error),
    /// The step ends.
    Fatal(StepError),
}

impl From<RequestError> for AttemptError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<anyhow::Error> for AttemptError {
    fn from(error: anyhow::Error) -> Self {
        Self::Disk(error)
    }
}

/// The store, and the signed URLs that it is requested with.
struct Store<'a, F> {
    context: &'a Context<'a>,
    client: &'a Client,
    urls: Mutex<SignedUrlSource<F>>,
}

impl<F: AsyncFnMut() -> Result<SignedUrl, StepError>> Store<'_, F> {
    /// Returns a signed URL other than the one with the id `failed`, and its id.
    async fn signed_url(&self, failed: Option<usize>) -> Result<(SignedUrl, usize), StepError> {
        self.urls.lock().await.get(self.context, failed).await
    }

    /// Requests the file, or a part of it.
    async fn request(&self, url: &SignedUrl, range: Option<&RequestedRange>) -> Result<StoreResponse, RequestError> {
        let url = url.reveal();
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            request = request.header(RANGE, range.header()).header(IF_MATCH, &range.etag);
        }
        let response = request.send().await.map_err(|error| connection_error(url, error))?;
        let (meaning, host) = (range::classify(&head(&response), range), http::host(response.url()));
        Ok(StoreResponse { response, meaning, host })
    }

    /// Whether the store answers a range request as it should. Requests a single byte.
    async fn accepts_ranges(&self, mut range: RequestedRange) -> bool {
        let end = range.start + 1;
        range.end = Some(end);
        let Ok((url, _)) = self.signed_url(None).await else { return false };
        let Ok(StoreResponse { response, meaning, .. }) = self.request(&url, Some(&range)).await else { return false };
        let is_part = matches!(meaning, RangeResponse::Part { end: sent, .. } if sent == end);
        // Once the body is read, the connection can be reused. A chunked body could be endless.
        is_part && response.content_length() == Some(1) && response.bytes().await.is_ok()
    }
}

/// A response of the store, and what it means.
struct StoreResponse {
    response: Response,
    meaning: RangeResponse,
    host: String,
}

impl StoreResponse {
    /// Returns the error of a response that invalidates what was received.
    fn start_over(&self, reason: &str) -> RequestError {
        match self.response.status() {
            status if status.is_success() => {
                store_error(ErrorKind::Mismatch, &self.host, format!("{reason}; starting over"))
            }
            status => store_error(ErrorKind::Status(status.as_u16()), &self.host, format!("{reason}; starting over")),
        }
    }

    fn unusable(&self, kind: ErrorKind, reason: &str) -> RequestError {
        store_error(kind, &self.host, reason)
    }

    async fn refusal_error(self, context: &Context<'_>) -> RequestError {
        refusal_error(context, &self.host, self.response).await
    }
}

fn store_error(kind: ErrorKind, host: &str, detail: impl Into<String>) -> RequestError {
    RequestError::new(Endpoint::Store, kind, host, detail)
}

/// The version of the file whose bytes are in the partial file.
#[derive(Default)]
struct Version {
    /// Its strong validator. Without one, what was received cannot be continued.
    etag: Option<String>,
    /// Its length in bytes, if the store has said so.
    total: Option<u64>,
}

/// Counts the bytes that no attempt before has brought: those of a version that was not seen before, and those behind
/// the furthest byte of one that was.
#[derive(Default)]
struct NewBytes {
    count: u64,
    /// The `ETag` of each version, and how many of its bytes were held at most.
    versions: Vec<(Option<String>, u64)>,
    current: usize,
}

impl NewBytes {
    /// Notes which version the next bytes are of.
    fn begin_version(&mut self, etag: Option<&str>) {
        self.current = self.versions.iter().position(|(known, _)| known.as_deref() == etag).unwrap_or_else(|| {
            if self.versions.len() < MAX_VERSIONS {
                self.versions.push((etag.map(str::to_owned), 0));
                return self.versions.len() - 1;
            }
            // Nothing of it counts.
            MAX_VERSIONS
        });
    }

    /// Notes that so many bytes are held. Returns whether some of them are new.
    fn record(&mut self, held: u64) -> bool {
        let Some((_, furthest)) = self.versions.get_mut(self.current).filter(|(_, furthest)| held > *furthest) else {
            return false;
        };
        self.count += held - *furthest;
        *furthest = held;
        true
    }
}

/// What the store says of the file besides its bytes.
#[derive(Default)]
struct Description {
    filename: Option<String>,
    content_type: Option<String>,
    /// The content type of the file once it is converted.
    converted_type: Option<String>,
    /// Why the file is not converted although that was requested.
    not_converted: Option<String>,
}

/// Whether several connections may be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RangeSupport {
    /// The store has not said so; a request can find out.
    Unknown,
    Yes,
    No,
}

/// The partial file, and what is known of the file.
struct Transfer<'a> {
    destination: &'a Destination,
    options: DownloadOptions<'a>,
    partial: PartialFile,
    version: Version,
    new_bytes: NewBytes,
    description: Description,
    /// Host of the last response.
    host: String,
    /// How often the file was started over while several connections were used. From the second time on, one has to do.
    parallel_restarts: u32,
    progress: ProgressLog,
}

impl<'a> Transfer<'a> {
    fn new(destination: &'a Destination, options: DownloadOptions<'a>, now: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            destination,
            options,
            partial: destination.partial()?,
            version: Version::default(),
            new_bytes: NewBytes::default(),
            description: Description::default(),
            host: String::new(),
            parallel_restarts: 0,
            progress: ProgressLog { at: now, held: 0 },
        })
    }

    /// Requests what is missing and receives it. Succeeds only if the file is complete then. `id` is the URL's.
    async fn attempt<F: AsyncFnMut() -> Result<SignedUrl, StepError>>(
        &mut self,
        store: &Store<'_, F>,
        url: &SignedUrl,
        id: usize,
    ) -> Result<(), AttemptError> {
        let requested = self.missing_range();
        if requested.is_none() {
            self.start_over()?;
        }

        let response = store.request(url, requested.as_ref()).await?;
        self.host.clone_from(&response.host);
        match response.meaning {
            RangeResponse::Whole { total, ref etag } => {
                self.start_over()?;
                self.new_bytes.begin_version(etag.as_deref());
                self.version = Version { total, etag: etag.clone() };
                self.describe(&response.response, store.context.log.redactor())?;
                self.log_start(store.context, &response.host);
                self.receive(store, response.response, id, total).await
            }
            RangeResponse::Part { end, total } => {
                self.version.total = Some(total);
                store.context.log.line(&format!("going on at {}", format::bytes(self.partial.contiguous_len())));
                self.receive(store, response.response, id, Some(end)).await
            }
            RangeResponse::StartOver(what) => {
                self.start_over()?;
                Err(AttemptError::StartOver(response.start_over(what)))
            }
            RangeResponse::Unusable(kind, what) => Err(response.unusable(kind, what).into()),
            RangeResponse::Refused => Err(response.refusal_error(store.context).await.into()),
        }
    }

    /// Returns the rest of the file if what was received can be continued; `None` means all of it.
    fn missing_range(&self) -> Option<RequestedRange> {
        let etag = self.version.etag.clone()?;
        let start = self.partial.contiguous_len();
        (start > 0).then_some(RequestedRange { start, end: None, etag, total: self.version.total })
    }

    fn start_over(&mut self) -> anyhow::Result<()> {
        self.version = Version::default();
        self.partial.start_over()
    }

    /// Takes the name and the media type from a response that has the file from its beginning.
    fn describe(&mut self, response: &Response, redactor: &Redactor) -> anyhow::Result<()> {
        let disposition = response.headers().get(CONTENT_DISPOSITION).map(reqwest::header::HeaderValue::as_bytes);
        let disposition = disposition.filter(|value| value.len() <= MAX_TEXT_LENGTH);
        let disposition = disposition.filter(|value| !redactor.contains_secret(&String::from_utf8_lossy(value)));
        let sent_type = headers::text(response.headers(), CONTENT_TYPE);
        let shown = |value: &str| Some(redactor.excerpt(value)).filter(|value| !value.is_empty());
        self.description = Description {
            filename: filename::from_response(disposition, response.url())
                .filter(|name| !redactor.contains_secret(name)),
            content_type: sent_type.and_then(shown),
            converted_type: None,
            not_converted: None,
        };

        if self.options.encoding == Encoding::Utf8 {
            match transcode::charset(sent_type) {
                Ok(charset) => {
                    self.destination.transcode(&mut self.partial, charset)?;
                    self.description.converted_type =
                        sent_type.map(transcode::with_utf8_charset).as_deref().and_then(shown);
                }
                Err(why) => self.description.not_converted = Some(redactor.excerpt(&why)),
            }
        }
        Ok(())
    }

    fn log_start(&self, context: &Context<'_>, host: &str) {
        let name = self.options.filename.or(self.description.filename.as_deref()).unwrap_or("the file");
        let size = self.version.total.map(|total| format!(", {}", format::bytes(total))).unwrap_or_default();
        context.log.line(&format!("downloading {name}{size} from {host}"));
    }

    /// Receives the body. It must end at the offset `end`, or where its chunks say; the file must be complete then. If
    /// the connection turns out to be slow, the rest is received over several.
    async fn receive<F: AsyncFnMut() -> Result<SignedUrl, StepError>>(
        &mut self,
        store: &Store<'_, F>,
        mut response: Response,
        id: usize,
        end: Option<u64>,
    ) -> Result<(), AttemptError> {
        let context = store.context;
        let mut ranges = self.range_support(&response, end);
        let ParallelConfig { window, fast, .. } = self.options.parallel;
        let mut rate = RateMeter::new(window, fast, context.deadline.elapsed(), self.partial.received());
        let mut probe: Option<Pin<Box<dyn Future<Output = bool> + '_>>> = None;

        loop {
            let chunk = match &mut probe {
                None => response.chunk().await,
                Some(probed) => tokio::select! {
                    biased;
                    accepts = probed => {
                        ranges = if accepts { RangeSupport::Yes } else { RangeSupport::No };
                        probe = None;
                        continue;
                    }
                    chunk = response.chunk() => chunk,
                },
            };
            let Some(chunk) = chunk.map_err(|error| self.body_error(error))? else { break };

            let held = self.partial.contiguous_len();
            if end.is_some_and(|end| held + chunk.len() as u64 > end) {
                // What was received before is no more trustworthy than the surplus.
                self.start_over()?;
                return Err(AttemptError::StartOver(self.surplus_error()));
            }
            self.take(context, held, chunk)?;

            rate.record(context.deadline.elapsed(), self.partial.received());
            let Some(rest) = self.missing_range().filter(|_| ranges != RangeSupport::No && probe.is_none()) else {
                continue;
            };
            if !self.options.parallel.is_worth_it(rest.total.unwrap_or(0).saturating_sub(rest.start), rate.steady()) {
                continue;
            }
            if ranges == RangeSupport::Unknown {
                probe = Some(Box::pin(store.accepts_ranges(rest)));
                continue;
            }
            Parallel::new(store, self, rest, rate.steady()).fetch(response, id).await?;
            break;
        }

        let held = self.partial.contiguous_len();
        if end.is_some_and(|end| held < end) {
            // A complete body that contradicts its head can be another part of the file.
            self.start_over()?;
            return Err(AttemptError::StartOver(self.shortfall_error()));
        }
        if self.version.total.is_none_or(|total| held == total) {
            return Ok(());
        }
        Err(self.short_body_error().into())
    }

    /// Whether the rest of a response that ends at `end` could be received over several connections.
    fn range_support(&self, response: &Response, end: Option<u64>) -> RangeSupport {
        if self.parallel_restarts > 1 || end.is_none() || end != self.version.total {
            return RangeSupport::No;
        }
        match headers::text(response.headers(), ACCEPT_RANGES) {
            _ if response.status() == StatusCode::PARTIAL_CONTENT => RangeSupport::Yes,
            Some(unit) if unit.trim().eq_ignore_ascii_case("bytes") => RangeSupport::Yes,
            Some(_) => RangeSupport::No,
            None => RangeSupport::Unknown,
        }
    }

    /// Writes bytes to their place.
    fn take(&mut self, context: &Context<'_>, at: u64, bytes: Bytes) -> anyhow::Result<()> {
        self.partial.write_at(at, bytes)?;
        let progress = self.held_and_total();
        if self.new_bytes.record(progress.received) {
            context.history.borrow_mut().clear_failure(Endpoint::Store);
        }
        self.progress.update(context, progress);
        Ok(())
    }

    fn body_error(&self, error: reqwest::Error) -> RequestError {
        let (kind, cause) = classify_body_error(error);
        let cause = if cause.is_empty() { cause } else { format!(": {cause}") };
        store_error(kind, &self.host, format!("at {}{cause}", self.held_and_total()))
    }

    fn short_body_error(&self) -> RequestError {
        store_error(ErrorKind::UnexpectedEof, &self.host, format!("at {}", self.held_and_total()))
    }

    fn shortfall_error(&self) -> RequestError {
        store_error(ErrorKind::Mismatch, &self.host, "sent less than it had announced; starting over")
    }

    fn surplus_error(&self) -> RequestError {
        store_error(ErrorKind::Mismatch, &self.host, "sent more than it had announced; starting over")
    }

    fn held_and_total(&self) -> Progress {
        Progress { received: self.partial.received(), total: self.version.total }
    }

    /// Puts the complete file into place.
    fn save(self, took: Duration) -> Result<SavedFile, StepError> {
        let Self { destination, options, partial, description, .. } = self;
        let filename = options.filename.or(description.filename.as_deref()).unwrap_or(options.fallback_name).to_owned();
        let WrittenFile { path, size, sha256, source_sha256, text: encoding } = destination.save(partial, &filename)?;
        let encoding = description.not_converted.map_or(encoding, TextEncoding::NotConverted);
        let content_type = match &encoding {
            TextEncoding::Converted(_) => description.converted_type,
            TextEncoding::AsSent | TextEncoding::NotConverted(_) => description.content_type,
        };
        Ok(SavedFile { path, filename, size, sha256, source_sha256, content_type, encoding, download_duration: took })
    }
}

/// Logs now and then how far the download is.
struct ProgressLog {
    at: Duration,
    held: u64,
}

impl ProgressLog {
    fn update(&mut self, context: &Context<'_>, progress: Progress) {
        context.history.borrow_mut().progress = Some(progress);
        let now = context.deadline.elapsed();
        let passed = now.saturating_sub(self.at);
        if passed < PROGRESS_INTERVAL {
            return;
        }
        let share = progress.total.filter(|&total| total > 0).map(|total| {
            let percent = u128::from(progress.received) * 100 / u128::from(total);
            format!(" ({percent} %)")
        });
        let speed = format::rate(progress.received.saturating_sub(self.held), passed);
        context.log.line(&format!("{progress}{}, {speed}", share.unwrap_or_default()));
        *self = Self { at: now, held: progress.received };
    }
}

fn head(response: &Response) -> ResponseHead {
    // A header in several lines means the same as one line with commas (RFC 9110, section 5.3).
    let header = |name| {
        let lines = response.headers().get_all(name).iter();
        let lines = lines.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        lines.reduce(|joined, value| format!("{joined},{value}"))
    };
    ResponseHead {
        status: response.status().as_u16(),
        etag: header(ETAG),
        // The client rejects lengths that contradict each other.
        content_length: headers::text(response.headers(), CONTENT_LENGTH).map(str::to_owned),
        content_range: header(CONTENT_RANGE),
        content_encoding: header(CONTENT_ENCODING),
        content_type: header(CONTENT_TYPE),
        transfer_encoding: header(TRANSFER_ENCODING),
    }
}

fn connection_error(url: &Url, error: reqwest::Error) -> RequestError {
    let (kind, detail) = classify_error(error);
    store_error(kind, &http::host(url), detail)
}

/// Returns the error of a response without the file. Its `<Code>` explains more than the status: `AccessDenied` is an
/// expired URL, `NoSuchKey` a deleted file.
async fn refusal_error(context: &Context<'_>, host: &str, response: Response) -> RequestError {
    let kind = ErrorKind::Status(response.status().as_u16());
    let retry_after = headers::retry_after(response.headers());
    let body = tokio::time::timeout(ERROR_TIMEOUT, headers::read_limited_body(response, MAX_ERROR_LENGTH)).await;
    let body = body.ok().and_then(Result::ok).flatten().unwrap_or_default();
    let code = error_code(&body).filter(|code| !context.log.redactor().contains_secret(code));
    let detail = code.map(|code| format!("code {code}")).unwrap_or_default();
    RequestError { retry_after, ..store_error(kind, host, detail) }
}

/// The `<Code>` of the store's error document: letters and digits alone, so that nothing else can be told by it.
fn error_code(body: &[u8]) -> Option<String> {
    const LONGEST: usize = 48;
    let body = String::from_utf8_lossy(body);
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let plain = !code.is_empty() && code.len() <= LONGEST && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Write;
    use std::rc::Rc;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::{ProgressLog, error_code};
    use crate::environment::CiSystem;
    use crate::report::log::Log;
    use crate::testing;
    use crate::text::format::Progress;

    #[derive(Clone, Default)]
    struct Lines(Rc<RefCell<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_progress_is_logged_every_five_seconds() {
        let (start, lines) = (Instant::now(), Lines::default());
        let log = Log::to(lines.clone(), lines.clone(), CiSystem::Other, start);
        let fixture = testing::Fixture::with_log(&[], start, log);
        let step = fixture.step();
        let context = step.context(&fixture.history);
        let mut progress = ProgressLog { at: start.elapsed(), held: 0 };
        for (millis, held, total) in [
            (0, 1_000_000, Some(80_000_000)),
            (4_999, 9_000_000, Some(80_000_000)),
            (1, 20_000_000, Some(80_000_000)),
            (4_999, 30_000_000, Some(80_000_000)),
            (5_001, 50_000_000, None),
            (5_000, 0, Some(0)),
        ] {
            tokio::time::advance(std::time::Duration::from_millis(millis)).await;
            progress.update(&context, Progress { received: held, total });
        }
        let lines = String::from_utf8(lines.0.borrow().clone()).unwrap();
        assert_eq!(
            lines,
            "  0:05  20.0 MB of 80.0 MB (25 %), 4.0 MB/s\n  0:15  50.0 MB, 3.0 MB/s\n  0:20  0 bytes of 0 bytes, 0 bytes/s\n"
        );
        assert_eq!(fixture.history.borrow().progress, Some(Progress { received: 0, total: Some(0) }));
    }

    #[test]
    fn only_a_plain_code_is_taken_from_the_stores_error() {
        for (body, code) in [
            (
                "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>x</Message></Error>",
                Some("AccessDenied"),
            ),
            ("<Code>NoSuchKey</Code><Code>Other</Code>", Some("NoSuchKey")),
            ("<Code></Code>", None),
            ("<Code>a b</Code>", None),
            ("<Code>::error::x</Code>", None),
            ("<Code>AccessDenied", None),
            ("", None),
        ] {
            assert_eq!(error_code(body.as_bytes()).as_deref(), code, "{body}");
        }
        assert_eq!(error_code(format!("<Code>{}</Code>", "a".repeat(49)).as_bytes()), None);
    }

    /// What stores have sent, or could.
    const ERRORS: [&str; 14] = [
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
        "<Error><Code>NoSuchKey</Code><Key>export_files/1.csv</Key></Error>",
        "\u{feff}<Error><Code>SlowDown</Code></Error>",
        "<Error xmlns=\"http://s3.amazonaws.com/doc/\"><s3:Code>AccessDenied</s3:Code></Error>",
        "<Error><Code lang=\"en\">AccessDenied</Code></Error>",
        "<Error><Code><![CDATA[::error::x]]></Code></Error>",
        "<Error><!-- <Code>Commented</Code> --><Code>Real</Code></Error>",
        "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><Error><Code>&b;</Code></Error>",
        "<Error><Code>\r\n##[error]x</Code></Error>",
        "<Error><Code><Code><Code></Code></Code></Code></Error>",
        "<Error><Code>AccessDenied",
        "</Code><Code>",
        "<\0E\0r\0r\0o\0r\0>\0<\0C\0o\0d\0e\0>\0",
        "{\"error\":{\"code\":\"AuthenticationFailed\"}}",
    ];

    proptest! {
        #[test]
        fn of_no_error_more_than_a_plain_code_is_taken(body in testing::mutated(&ERRORS)) {
            if let Some(code) = error_code(&body) {
                prop_assert!((1..=48).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }

        #[test]
        fn whatever_the_store_says_its_code_is_letters_and_digits(
            before in "(?:<Code>|</Code>|.)*",
            inside in "(?:<Code>|[A-Za-z0-9]|.)*",
            bytes in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let body = [before.as_bytes(), &bytes, b"<Code>", inside.as_bytes(), b"</Code>"].concat();
            if let Some(code) = error_code(&body) {
                prop_assert!((1..=48).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }
    }
}

//! The state of a download that its attempts share, and one attempt over a single connection.

use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode};

use super::connections::PooledConnection;
use super::destination::{Destination, WrittenFile};
use super::partial_file::PartialFile;
use super::progress::ProgressTracker;
use super::range::{RangeResponse, Rejection, RequestedRange};
use super::rate::RateMeter;
use super::signed_url::IssuedUrl;
use super::store::{self, Store, StoreResponse};
use super::text_type::{NotConvertible, TextType, with_utf8_charset};
use super::{AttemptError, DownloadOptions, check_age, filename};
use crate::config::Encoding;
use crate::context::Context;
use crate::error::StepError;
use crate::http::error::RequestError;
use crate::http::headers;
use crate::report::history::{SavedFile, TextEncoding};
use crate::text::format::{self, Progress};
use crate::text::redact::{MAX_TEXT_LENGTH, Redactor};
use crate::webadmit::{CreationTime, SignedUrl};

/// Maximum number of attempts with several connections per file. If the received bytes had to be dropped in each of them, the next
/// attempt uses one connection.
const MAX_PARALLEL_ATTEMPTS: u32 = 2;

/// The partial file, and what is known of the file.
pub(super) struct Transfer<'a> {
    destination: &'a Destination,
    pub(super) options: DownloadOptions<'a>,
    pub(super) partial: PartialFile,
    version: Version,
    description: Description,
    tracker: ProgressTracker,
    /// How many attempts may still use several connections.
    parallel_attempts_left: u32,
}

/// The version of the file whose bytes are in the partial file.
#[derive(Default)]
struct Version {
    /// Its strong validator. Without one, the download cannot be resumed.
    etag: Option<String>,
    /// Its length in bytes, if the store has announced it.
    total: Option<u64>,
}

/// The metadata of the file that the store sends.
#[derive(Default)]
struct Description {
    filename: Option<String>,
    content_type: Option<String>,
    /// The content type of the converted file.
    converted_type: Option<String>,
    /// Why the file is not converted although that was requested.
    not_converted: Option<TextEncoding>,
    created: Option<CreationTime>,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(
        destination: &'a Destination,
        options: DownloadOptions<'a>,
        now: Duration,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            destination,
            options,
            partial: destination.create_partial_file().context("cannot create the partial file")?,
            version: Version::default(),
            description: Description::default(),
            tracker: ProgressTracker::new(now),
            parallel_attempts_left: MAX_PARALLEL_ATTEMPTS,
        })
    }

    /// Requests what is missing and receives it over one connection. Returns the rest of the file if it should be received over
    /// several, or `None` if the file is complete.
    pub(super) async fn attempt<'s, F: AsyncFnMut() -> Result<SignedUrl, StepError>>(
        &mut self,
        store: &Store<'s, F>,
        url: &IssuedUrl,
    ) -> Result<Option<Rest<'s>>, AttemptError> {
        let requested = self.missing_range();
        if requested.is_none() {
            self.start_over()?;
        }

        let (class, response) = store.request(url, requested.as_ref()).await?;
        let context = store.context;
        match class {
            RangeResponse::Whole { total, etag } => {
                self.start_over()?;
                self.tracker.begin_version(etag.as_deref());
                self.version = Version { etag, total };
                self.describe(&response.inner, context.redactor())?;
                check_age(self.description.created, self.options.max_age).map_err(AttemptError::Fatal)?;
                self.log_start(context, &response.host);
                self.receive(store, response, total).await
            }
            RangeResponse::Part { end, total } => {
                self.version.total = Some(total);
                context.line(&format!("resuming at {}", format::bytes(self.partial.contiguous_len())));
                self.receive(store, response, Some(end)).await
            }
            RangeResponse::Rejected(rejection) => Err(self.reject(&response.host, rejection)),
            RangeResponse::ErrorStatus => Err(response.status_error(context).await.into()),
        }
    }

    /// Returns the rest of the file if what was received can be continued. `None` means the whole file.
    fn missing_range(&self) -> Option<RequestedRange> {
        let etag = self.version.etag.clone()?;
        let start = self.partial.contiguous_len();
        (start > 0).then_some(RequestedRange { start, end: None, etag, total: self.version.total })
    }

    /// Drops everything that was received.
    fn start_over(&mut self) -> anyhow::Result<()> {
        self.version = Version::default();
        self.partial.start_over()
    }

    /// Returns the error of a response that cannot be used, and drops what was received if the response casts doubt on it.
    pub(super) fn reject(&mut self, host: &str, rejection: Rejection) -> AttemptError {
        let error = store::rejection_error(host, rejection);
        if !rejection.starts_over() {
            return error.into();
        }
        if rejection.rules_out_ranges() {
            self.parallel_attempts_left = 0;
        }
        match self.start_over() {
            Ok(()) => AttemptError::StartOver(error),
            Err(error) => error.into(),
        }
    }

    /// Records that the file is started over while several connections are used.
    pub(super) fn record_parallel_failure(&mut self) {
        self.parallel_attempts_left = self.parallel_attempts_left.saturating_sub(1);
    }

    /// Records what the response says about the file, and starts the conversion of text.
    fn describe(&mut self, response: &Response, redactor: &Redactor) -> anyhow::Result<()> {
        let disposition = response.headers().get(CONTENT_DISPOSITION).map(HeaderValue::as_bytes);
        let disposition = disposition.filter(|value| value.len() <= MAX_TEXT_LENGTH);
        let disposition = disposition.filter(|value| !redactor.contains_secret(&String::from_utf8_lossy(value)));
        let filename = filename::from_response(disposition, response.url());
        let content_type = headers::text(response.headers(), CONTENT_TYPE);
        let excerpt = |value: &str| Some(redactor.excerpt(value)).filter(|value| !value.is_empty());
        self.description = Description {
            filename: filename.filter(|name| !redactor.contains_secret(name)),
            content_type: content_type.and_then(excerpt),
            converted_type: None,
            not_converted: None,
            created: headers::last_modified(response.headers())
                .map(|created_at| CreationTime::new(created_at, headers::date(response.headers()))),
        };
        if self.options.encoding == Encoding::AsSent {
            return Ok(());
        }

        match TextType::parse(content_type) {
            Ok(text_type) => {
                self.destination.start_conversion(&mut self.partial, text_type)?;
                let converted_type = content_type.map(with_utf8_charset);
                self.description.converted_type = converted_type.as_deref().and_then(excerpt);
            }
            Err(error) => {
                let reason = redactor.excerpt(&error.to_string());
                self.description.not_converted = Some(match error {
                    NotConvertible::NotText(_) => TextEncoding::NotText(reason),
                    _ => TextEncoding::NotConverted(reason),
                });
            }
        }
        Ok(())
    }

    fn log_start(&self, context: &Context<'_>, host: &str) {
        let name = self.options.filename.or(self.description.filename.as_deref()).unwrap_or("the file");
        let size = self.version.total.map(|total| format!(", {}", format::bytes(total))).unwrap_or_default();
        context.line(&format!("downloading {name}{size} from {host}"));
    }

    /// Receives a body that ends at the offset `end`, or if that is unknown with its last chunk. Returns the rest of the file if the
    /// connection is slow and others are spare.
    async fn receive<'s, F: AsyncFnMut() -> Result<SignedUrl, StepError>>(
        &mut self,
        store: &Store<'s, F>,
        mut response: StoreResponse,
        end: Option<u64>,
    ) -> Result<Option<Rest<'s>>, AttemptError> {
        let context = store.context;
        let mut ranges = self.range_support(&response.inner, end);
        let mut meter = RateMeter::new(
            self.options.parallel.window,
            self.options.parallel.fast,
            context.deadline().elapsed(),
            self.partial.received(),
        );

        while let Some(chunk) = ranges.next_chunk(&mut response, || self.progress()).await? {
            let at = self.partial.contiguous_len();
            if end.is_some_and(|end| at + chunk.len() as u64 > end) {
                return Err(self.reject(&response.host, Rejection::TooLong));
            }
            self.write_at(context, at, chunk)?;

            meter.record(context.deadline().elapsed(), self.partial.received());
            let Some(rate) = meter.steady() else { continue };
            if !ranges.may_be_used() || !self.is_parallel_worth_it(rate) {
                continue;
            }
            let Some(RequestedRange { start, etag, total: Some(total), .. }) = self.missing_range() else { continue };
            let Some(spare) = store.connection.pool().try_acquire() else { continue };
            if let RangeSupport::Supported = ranges {
                return Ok(Some(Rest { response, missing: start..total, etag, rate, spare }));
            }
            let byte = RequestedRange { start, end: Some(start + 1), etag, total: Some(total) };
            ranges = RangeSupport::Probing(Box::pin(store.supports_ranges(byte, spare)));
        }

        if end.is_some_and(|end| self.partial.contiguous_len() < end) {
            return Err(self.reject(&response.host, Rejection::TooShort));
        }
        self.check_complete(&response.host)?;
        Ok(None)
    }

    /// Returns an error if bytes of the file are missing although everything that was sent has been received.
    pub(super) fn check_complete(&self, host: &str) -> Result<(), AttemptError> {
        if self.version.total.is_none_or(|total| self.partial.contiguous_len() == total) {
            return Ok(());
        }
        Err(store::incomplete_error(host, self.progress()).into())
    }

    /// Returns whether the rest of a response that ends at the offset `end` can be received over several connections.
    fn range_support<'f>(&self, response: &Response, end: Option<u64>) -> RangeSupport<'f> {
        if self.parallel_attempts_left == 0 || end.is_none() || end != self.version.total {
            return RangeSupport::Unsupported;
        }
        match headers::text(response.headers(), ACCEPT_RANGES) {
            _ if response.status() == StatusCode::PARTIAL_CONTENT => RangeSupport::Supported,
            Some(unit) if unit.trim().eq_ignore_ascii_case("bytes") => RangeSupport::Supported,
            Some(_) => RangeSupport::Unsupported,
            None => RangeSupport::Unknown,
        }
    }

    fn is_parallel_worth_it(&self, rate: f64) -> bool {
        let remaining = self.version.total.unwrap_or(0).saturating_sub(self.partial.contiguous_len());
        self.options.parallel.is_worth_it(remaining, rate)
    }

    /// Writes bytes of the file to the partial file.
    pub(super) fn write_at(&mut self, context: &Context<'_>, at: u64, bytes: Bytes) -> anyhow::Result<()> {
        self.partial.write_at(at, bytes)?;
        let progress = self.progress();
        self.tracker.update(context, progress);
        Ok(())
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { received: self.partial.received(), total: self.version.total }
    }

    /// Returns how many bytes that no earlier attempt had received were received so far.
    pub(super) fn new_bytes(&self) -> u64 {
        self.tracker.new_bytes()
    }

    /// Moves the complete file to its destination.
    pub(super) async fn save(self, download_duration: Duration) -> Result<SavedFile, StepError> {
        let Self { destination, options, partial, description, .. } = self;
        let filename = options.filename.or(description.filename.as_deref()).unwrap_or(options.fallback_name).to_owned();
        let WrittenFile { path, filename, size, sha256, source_sha256, encoding } =
            destination.save(partial.finish().await?, &filename, options.run, options.position)?;

        let encoding = description.not_converted.unwrap_or(encoding);
        let content_type = match &encoding {
            TextEncoding::Converted(_) => description.converted_type,
            _ => description.content_type,
        };
        Ok(SavedFile {
            position: options.position,
            path,
            filename,
            size,
            sha256,
            source_sha256,
            content_type,
            encoding,
            created: description.created,
            download_duration,
        })
    }
}

/// The rest of a file that is being received over a slow connection.
pub(super) struct Rest<'p> {
    /// The response, which is being received already.
    pub(super) response: StoreResponse,
    /// The bytes that are missing.
    pub(super) missing: Range<u64>,
    /// The strong validator of the version that is received.
    pub(super) etag: String,
    /// The rate of the connection in bytes per second.
    pub(super) rate: f64,
    /// A second connection.
    pub(super) spare: PooledConnection<'p>,
}

/// Whether the store supports ranges, so that several connections can be used.
enum RangeSupport<'f> {
    /// The store has not announced it.
    Unknown,
    /// A request finds it out.
    Probing(Pin<Box<dyn Future<Output = bool> + 'f>>),
    Supported,
    Unsupported,
}

impl RangeSupport<'_> {
    fn may_be_used(&self) -> bool {
        matches!(self, Self::Unknown | Self::Supported)
    }

    /// Returns the next bytes of the response. Meanwhile, the probe continues.
    async fn next_chunk(
        &mut self,
        response: &mut StoreResponse,
        progress: impl Fn() -> Progress,
    ) -> Result<Option<Bytes>, RequestError> {
        if let Self::Probing(probe) = self {
            tokio::select! {
                biased;
                is_supported = probe => *self = if is_supported { Self::Supported } else { Self::Unsupported },
                chunk = response.chunk(&progress) => return chunk,
            }
        }
        response.chunk(progress).await
    }
}

//! Downloads the file of a run: from signed URLs that expire within seconds to a complete file at its destination.
//!
//! [`download`] is the loop of attempts. Each attempt requests what is missing with a signed URL that has not expired.
//!
//! ```text
//! transfer                          what the attempts share; one attempt over one connection
//! parallel                          several connections, if one is slow
//! parallel_config                   when they are used (pure)
//! pieces                            which bytes each of them gets (pure)
//! rate                              the rate of one, and whether several are faster (pure)
//! connections                       the connections that all downloads of a step share
//! store, signed_url                 requests to the store, and their URLs
//! range                             what the head of a response means (pure)
//! progress                          which bytes are new; the log lines about the progress
//! destination, partial_file         the file on disk
//! checksum, transcode, utf8_writer  its SHA-256, and its conversion to UTF-8
//! text_type                         whether it is text, and in which charset (pure)
//! html_charset                      the charset that an HTML file declares (pure)
//! filename                          its name (pure)
//! age                               whether it is too old (pure)
//! ```

mod age;
mod checksum;
mod connections;
mod destination;
mod filename;
mod html_charset;
mod parallel;
mod parallel_config;
mod partial_file;
mod pieces;
mod progress;
mod range;
mod rate;
mod signed_url;
mod store;
mod text_type;
mod transcode;
mod transfer;
mod utf8_writer;

use std::time::Duration;

use reqwest::Client;

use crate::config::Encoding;
use crate::context::Context;
use crate::error::StepError;
use crate::http::error::RequestError;
use crate::http::retry::Attempts;
use crate::report::history::SavedFile;
use crate::webadmit::SignedUrl;
pub(crate) use age::check_age;
pub(crate) use connections::MAX_CONNECTIONS;
pub use connections::{ConnectionPool, PooledConnection};
pub use destination::Destination;
pub(crate) use destination::RenamedFile;
use parallel::Parallel;
pub use parallel_config::ParallelConfig;
use signed_url::IssuedUrl;
use store::Store;
use transfer::{Rest, Transfer};

/// How to save the file.
#[derive(Clone, Copy, Debug)]
pub struct DownloadOptions<'a> {
    /// Index of the run in the request. If several runs have files of the same path, the earliest run keeps its file.
    pub run: usize,
    /// The position of the file among those of the run. If several have the same name, it decides which of them gets a number.
    pub position: usize,
    /// The file name, instead of the store's.
    pub filename: Option<&'a str>,
    /// The file name if the store has none.
    pub fallback_name: &'a str,
    /// Whether text is converted.
    pub encoding: Encoding,
    /// The maximum age of the file.
    pub max_age: Option<Duration>,
    /// When and how several connections are used.
    pub parallel: ParallelConfig,
}

/// Downloads the file to its destination. `connection` was taken from the pool before the `first` signed URL was requested.
/// `refresh` requests a new one from the API.
///
/// # Errors
///
/// Returns a [`StepError`] if the file cannot be downloaded or stored. The partial file is removed then, and an existing
/// file is left unchanged.
pub async fn download(
    context: &Context<'_>,
    client: &Client,
    connection: PooledConnection<'_>,
    first: SignedUrl,
    refresh: impl AsyncFnMut() -> Result<SignedUrl, StepError>,
    destination: &Destination,
    options: DownloadOptions<'_>,
) -> Result<SavedFile, StepError> {
    let started = context.deadline().elapsed();
    let store = Store::new(context, client, connection, first, refresh);
    let mut transfer = Transfer::new(destination, options, started)?;
    let mut attempts = Attempts::new(started);
    let mut failed_url = None;

    loop {
        let new_bytes_before = transfer.new_bytes();
        let url = store.signed_url(failed_url).await?;
        failed_url = Some(url.id);

        let error = match attempt(&mut transfer, &store, &url).await {
            Ok(()) => break,
            Err(AttemptError::Request(error) | AttemptError::StartOver(error)) => error,
            Err(AttemptError::Fatal(error)) => return Err(error),
        };

        attempts.record(transfer.new_bytes() > new_bytes_before);
        attempts.record_error(&error);
        context.back_off(error, attempts).await?;
    }

    transfer.save(context.deadline().elapsed().saturating_sub(started)).await
}

/// Requests what is missing and receives it, over several connections if one is slow. Succeeds only if the file is complete.
async fn attempt<F: AsyncFnMut() -> Result<SignedUrl, StepError>>(
    transfer: &mut Transfer<'_>,
    store: &Store<'_, F>,
    url: &IssuedUrl,
) -> Result<(), AttemptError> {
    match transfer.attempt(store, url).await? {
        None => Ok(()),
        Some(rest) => {
            let Rest { response, missing, etag, rate, spare } = rest;
            let host = response.host.clone();
            let parallel = Parallel::new(store, transfer, missing, etag, rate, spare);
            parallel.download(response, url.id).await?;
            drop(parallel);
            transfer.check_complete(&host)
        }
    }
}

/// Why an attempt ended before the file was complete.
enum AttemptError {
    /// A request or its response failed. The received bytes are kept.
    Request(RequestError),
    /// As `Request`, but the received bytes were dropped.
    StartOver(RequestError),
    /// The step ends.
    Fatal(StepError),
}

impl From<RequestError> for AttemptError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

/// The disk failed.
impl From<anyhow::Error> for AttemptError {
    fn from(error: anyhow::Error) -> Self {
        Self::Fatal(StepError::Local(error))
    }
}

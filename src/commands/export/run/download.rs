//! The downloads of a run.

use std::collections::VecDeque;

use super::{Run, required};
use crate::config::Encoding;
use crate::download::{DownloadOptions, ParallelConfig, PooledConnection, check_age, download};
use crate::error::StepError;
use crate::http::error::{Endpoint, ErrorKind};
use crate::http::retry::{GiveUpReason, RetryFailure};
use crate::report::history::SavedFile;
use crate::webadmit::{Id, RemoteFiles, RunKind, RunRef, RunResponse, SignedUrl};

/// Number of attempts to request the signed URL of one of several files before the other files are downloaded.
const ATTEMPTS_BEFORE_OTHERS: u32 = 3;

impl<'a> Run<'a> {
    /// Downloads all files of the run. `connection` was taken for `response`.
    pub(super) async fn download_files(
        &self,
        run: RunRef,
        response: &RunResponse,
        connection: Option<PooledConnection<'a>>,
    ) -> Result<(), StepError> {
        match &response.files {
            RemoteFiles::Export(Some(url)) => {
                let connection = match connection {
                    // For an export, there always is one.
                    Some(connection) => connection,
                    None => self.acquire_connection().await?,
                };
                let refresh = async || self.refresh_url(run).await;
                let saved = self.download_file(run, response, 0, url.clone(), refresh, connection).await?;
                self.record_saved(saved);
                self.log_recovery();
                Ok(())
            }
            RemoteFiles::Zips(zips) if !zips.is_empty() => self.download_zips(run, response, zips).await,
            RemoteFiles::Export(None) | RemoteFiles::Zips(_) => Ok(()),
        }
    }

    /// Downloads zip files, one after another. If one cannot be downloaded, the others are kept. One whose redirect keeps failing is
    /// postponed, so that it does not use up the time of the others.
    async fn download_zips(&self, run: RunRef, response: &RunResponse, zips: &[Id]) -> Result<(), StepError> {
        check_age(response.created, self.max_age())?;

        let (mut missing, mut cause) = (Vec::new(), None::<StepError>);
        let total = zips.len();
        let mut queue: VecDeque<(usize, Option<u32>)> =
            (0..total).map(|index| (index, (total > 1).then_some(ATTEMPTS_BEFORE_OTHERS))).collect();
        while let Some((index, max_attempts)) = queue.pop_front() {
            match self.download_zip(run, response, index, zips[index], max_attempts).await {
                Ok(saved) => self.record_saved(saved),
                Err(error) if total == 1 => return Err(error),
                Err(error) if max_attempts.is_some() && has_no_attempts_left(&error) => queue.push_back((index, None)),
                Err(error) => {
                    self.context.line(&format!("file {} of {total} failed: {error}", index + 1));
                    missing.push(index + 1);
                    if ends_downloads(&error) {
                        missing.extend(queue.drain(..).map(|(index, _)| index + 1));
                    }
                    cause = Some(StepError::more_severe(cause, error));
                }
            }
        }

        let Some(cause) = cause else {
            self.log_recovery();
            return Ok(());
        };
        missing.sort_unstable();
        Err(StepError::MissingFiles { missing, total, cause: Box::new(cause) })
    }

    /// Downloads a zip file of a batch. As for the status check of an export, a connection is taken before its first signed URL is
    /// requested.
    async fn download_zip(
        &self,
        run: RunRef,
        response: &RunResponse,
        position: usize,
        zip: Id,
        max_attempts: Option<u32>,
    ) -> Result<SavedFile, StepError> {
        self.context.history.borrow_mut().progress = None;
        let acquire = async || self.acquire_connection().await;
        let (url, connection) = self.request_zip_url(zip, max_attempts, acquire).await?;

        let refresh = async || {
            let (url, ()) = self.request_zip_url(zip, None, async || Ok(())).await?;
            Ok(url)
        };
        self.download_file(run, response, position, url, refresh, connection).await
    }

    /// Downloads a file over `connection`, which was taken before its `first` signed URL was requested. `refresh` requests the next
    /// one.
    async fn download_file(
        &self,
        run: RunRef,
        response: &RunResponse,
        position: usize,
        first: SignedUrl,
        refresh: impl AsyncFnMut() -> Result<SignedUrl, StepError>,
        connection: PooledConnection<'a>,
    ) -> Result<SavedFile, StepError> {
        let shared = self.shared;
        let fallback_name = match run {
            RunRef::Export { run, .. } => format!("export-{run}"),
            RunRef::PdfBatch { batch, .. } => format!("pdf-batch-{batch}.zip"),
        };
        let options = DownloadOptions {
            run: self.index,
            position,
            filename: shared.request.filename.as_deref(),
            fallback_name: &fallback_name,
            // A zip file is not text.
            encoding: if self.request.kind == RunKind::Export { shared.request.encoding } else { Encoding::AsSent },
            // The age of a batch was checked before.
            max_age: self.max_age().filter(|_| self.request.kind == RunKind::Export),
            parallel: ParallelConfig::default(),
        };
        let store = &shared.clients.store;
        let download = download(&self.context, store, connection, first, refresh, shared.destination, options);
        let result = tokio::time::timeout(self.context.deadline().remaining_with_grace(), download).await;
        self.record_renamed_files();
        shared.record_replaced_files();

        let mut saved = result.unwrap_or(Err(StepError::TimedOut))?;
        if self.request.kind == RunKind::PdfBatch {
            saved.created = response.created;
        }
        Ok(saved)
    }

    /// Requests a new signed URL for the file of an export.
    async fn refresh_url(&self, run: RunRef) -> Result<SignedUrl, StepError> {
        let send = async |timeout| {
            let response = self.request_status_once(run, timeout).await?;
            let url = response.url().cloned();
            let has_ended_without_file = response.status.is_terminal() && !response.status.has_file();
            if url.is_none() && !has_ended_without_file {
                return Err(self.missing_url(&response.status));
            }
            Ok((response.status, url))
        };

        let (status, url) = self.context.request(self.limits(None), send).await?;
        match url {
            Some(url) => Ok(url),
            None => {
                self.apply_fail_on(&status)?;
                Err(StepError::after_one_attempt(self.missing_url(&status), GiveUpReason::NotRetryable))
            }
        }
    }

    /// Requests the signed URL of a zip file. `acquire` is as in [`crate::context::Context::request_with`].
    async fn request_zip_url<R>(
        &self,
        zip: Id,
        max_attempts: Option<u32>,
        acquire: impl AsyncFnMut() -> Result<R, StepError>,
    ) -> Result<(SignedUrl, R), StepError> {
        let identity = required(self.identity)?;
        let send =
            async |acquired, timeout| self.shared.api.zip_url(identity, zip, timeout).await.map(|url| (url, acquired));
        self.context.request_with(self.limits(max_attempts), acquire, send).await
    }
}

/// Whether a request to the API was not retried further, because its attempts are limited.
fn has_no_attempts_left(error: &StepError) -> bool {
    let is_api = |failure: &RetryFailure| failure.error.endpoint == Endpoint::Api;
    matches!(error, StepError::Request { failure, reason: GiveUpReason::OutOfAttempts } if is_api(failure))
}

/// Whether the other files would fail as well: the time is up, or the key is refused.
fn ends_downloads(error: &StepError) -> bool {
    let is_key_refused = |failure: &RetryFailure| {
        failure.error.endpoint == Endpoint::Api && failure.error.kind == ErrorKind::Status(401)
    };
    error.is_timeout() || matches!(error, StepError::Request { failure, .. } if is_key_refused(failure))
}

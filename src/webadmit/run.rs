//! Runs of an export: starting one, and checking its status.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use serde::Deserialize;

use super::client::{ApiClient, MAX_RESPONSE_SIZE, RATE_LIMIT_REMAINING};
use super::scalar::Scalar;
use super::status::Status;
use super::{Id, SignedUrl};
use crate::http::error::{ErrorKind, RequestError};
use crate::http::{self, headers};

/// A response of the API about a run.
#[derive(Debug)]
pub(crate) struct RunResponse {
    pub(crate) run_id: Id,
    /// The export in the response. In the vendor's sample, it differs from the requested one.
    pub(crate) export_id: Option<Id>,
    /// The status of the run.
    pub(crate) status: Status,
    /// The signed URL of the file; only with a status that has a file.
    pub(crate) url: Option<SignedUrl>,
    /// Number of calls that the key has left in this hour.
    pub(crate) remaining_calls: Option<u64>,
}

impl ApiClient {
    /// Requests the status of a run: `GET /api/v1/exports/{export}/export_files/{run}`.
    ///
    /// # Errors
    ///
    /// If the response is not a success, or is about another run.
    pub(crate) async fn run_status(&self, export: Id, run: Id, timeout: Duration) -> Result<RunResponse, RequestError> {
        let response = self.request_run(Method::GET, &format!("exports/{export}/export_files/{run}"), timeout).await?;
        if response.run_id != run {
            let detail = format!("run {} instead of run {run}", response.run_id);
            return Err(self.error(ErrorKind::WrongRun, detail));
        }
        Ok(response)
    }

    /// Starts a run: `POST /api/v1/user_identities/{identity}/exports/{export}/export_files`. Repeating the request is
    /// safe: WebAdMIT responds with the run that is in progress.
    ///
    /// # Errors
    ///
    /// If the response is not a success.
    pub(crate) async fn start_run(
        &self,
        identity: Id,
        export: Id,
        timeout: Duration,
    ) -> Result<RunResponse, RequestError> {
        let path = format!("user_identities/{identity}/exports/{export}/export_files");
        self.request_run(Method::POST, &path, timeout).await
    }

    async fn request_run(&self, method: Method, path: &str, timeout: Duration) -> Result<RunResponse, RequestError> {
        let (headers, body) = self.send(method, path, timeout, MAX_RESPONSE_SIZE).await?;
        self.read_run(&body, &headers)
    }

    fn read_run(&self, body: &[u8], headers: &HeaderMap) -> Result<RunResponse, RequestError> {
        let Envelope { export_files: run } = self.parse(body, headers, "the fields of a run")?;
        let id = run.id.id().ok_or_else(|| self.unreadable(headers, "a run without a valid id"))?;

        // Makes the signature known before any other field is used, because another field may contain it.
        let url = run.download_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        if let Some(url) = url.and_then(|url| Url::parse(url).ok()) {
            self.redactor.add_signed_url(&url);
        }
        let status = Status::parse(&self.redactor.redact_prefix(&run.status));
        let url = url.filter(|_| status.has_file()).map(|url| self.validate_url(url, headers)).transpose()?;

        let remaining_calls = headers::text(headers, RATE_LIMIT_REMAINING).and_then(|calls| calls.trim().parse().ok());
        Ok(RunResponse { run_id: id, export_id: run.export_id.id(), status, url, remaining_calls })
    }

    /// Accepts a URL that is https if the API is, and contains no credentials and no key.
    fn validate_url(&self, url: &str, headers: &HeaderMap) -> Result<SignedUrl, RequestError> {
        let reject = |reason: &str| Err(self.error(ErrorKind::InvalidUrl, reason));
        let Ok(url) = Url::parse(url) else { return reject("is not a URL") };
        match url.scheme() {
            "https" => {}
            "http" if !self.base_url.is_https() => {}
            "http" => return reject("is plain http, although the API is https"),
            scheme => return reject(&format!("has the scheme {}", self.redactor.excerpt(scheme))),
        }
        if http::has_credentials(&url) {
            return reject("contains a user name or a password");
        }
        if self.redactor.contains_key(url.as_str()) {
            return reject("contains the API key, which must only be sent to the API");
        }
        Ok(SignedUrl::new(url, headers::date(headers)))
    }
}

/// The body of a response. In spite of its name, `export_files` is one object.
#[derive(Deserialize)]
struct Envelope {
    export_files: Run,
}

#[derive(Deserialize)]
struct Run {
    id: Scalar,
    #[serde(default)]
    export_id: Scalar,
    status: String,
    download_url: Option<String>,
}

#[cfg(test)]
mod tests;

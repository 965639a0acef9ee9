//! The client of the WebAdMIT API: sends requests and parses responses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::SignedUrl;
use super::scalar::Scalar;
use crate::config::{ApiConfig, ApiKey, BaseUrl, Id};
use crate::deadline::Deadline;
use crate::http;
use crate::http::error::{ErrorKind, RequestError};
use crate::text::redact::Redactor;
use crate::webadmit::status::Status;

/// Maximum size of a response that is not a list, in bytes. Real ones have less than 1 KiB.
const MAX_RESPONSE_SIZE: usize = 1 << 20;

const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// Sends requests with an API key to the API of one host.
pub(crate) struct ApiClient {
    client: Client,
    base_url: BaseUrl,
    key: ApiKey,
    deadline: Deadline,
    pub(super) redactor: Arc<Redactor>,
}

/// The state of a run.
#[derive(Debug)]
pub(crate) struct RunResponse {
    pub(crate) run: Id,
    /// The export in the response. In the reference's sample, it is not the requested one.
    pub(crate) export: Option<Id>,
    pub(crate) status: Status,
    /// The signed URL of the file. `None` if the status has no file, or the API sent no URL.
    pub(crate) url: Option<SignedUrl>,
    /// Number of calls that this key has left in this hour.
    pub(crate) remaining_calls: Option<u64>,
}

impl ApiClient {
    /// Creates a client. The HTTP client must not follow redirects, since it would send the key to another host.
    pub(crate) fn new(client: Client, api_config: &ApiConfig, deadline: Deadline, redactor: Arc<Redactor>) -> Self {
        Self { client, base_url: api_config.base_url.clone(), key: api_config.api_key.clone(), deadline, redactor }
    }

    /// Requests the status of a run (`GET /api/v1/exports/:id/export_files/:id`).
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the response is not the status of this run.
    pub(crate) async fn run_status(&self, export: Id, run: Id, timeout: Duration) -> Result<RunResponse, RequestError> {
        let response = self.request_run(Method::GET, &format!("exports/{export}/export_files/{run}"), timeout).await?;
        if response.run != run {
            let message = format!("{} answered for run {} when it was asked for run {run}", self.host(), response.run);
            return Err(RequestError::api(ErrorKind::WrongRun, message));
        }
        Ok(response)
    }

    /// Starts a run of an export (`POST /api/v1/user_identities/:id/exports/:id/export_files`). If one is in progress,
    /// WebAdMIT returns that one, so the request can be repeated.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the response is not a run.
    pub(crate) async fn start_run(
        &self,
        identity: Id,
        export: Id,
        timeout: Duration,
    ) -> Result<RunResponse, RequestError> {
        let path = format!("user_identities/{identity}/exports/{export}/export_files");
        self.request_run(Method::POST, &path, timeout).await
    }

    /// Returns the host and port of the API.
    pub(crate) fn host(&self) -> String {
        self.base_url.host()
    }

    async fn request_run(&self, method: Method, path: &str, timeout: Duration) -> Result<RunResponse, RequestError> {
        let (headers, body) = self.send(method, path, timeout, MAX_RESPONSE_SIZE).await?;
        self.parse_run(&body, &headers)
    }

    /// Sends a request and returns the headers and the body of a successful response.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        timeout: Duration,
        max_size: usize,
    ) -> Result<(HeaderMap, Vec<u8>), RequestError> {
        let request = self.client.request(method, self.base_url.endpoint(path)).timeout(timeout);
        let response = request.header(KEY_HEADER, self.key.header()).send().await;
        let response = response.map_err(|error| self.connection_error(error))?;

        if !response.status().is_success() {
            return Err(self.status_error(response).await);
        }
        let headers = response.headers().clone();
        Ok((headers, self.read_body(response, max_size).await?))
    }

    async fn read_body(&self, response: Response, max_size: usize) -> Result<Vec<u8>, RequestError> {
        match http::read_limited_body(response, max_size).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => {
                let message = format!("{} sent more than {} MiB in one answer", self.host(), max_size >> 20);
                Err(RequestError::api(ErrorKind::TooLarge, message))
            }
            Err(error) => {
                let (_, cause) = http::classify_body_error(error);
                Err(RequestError::api(ErrorKind::ConnectionLost, format!("in an answer of {}, {cause}", self.host())))
            }
        }
    }

    /// Parses a body as JSON. `content` describes what it should contain, for the error.
    pub(super) fn parse<'a, T: Deserialize<'a>>(
        &self,
        body: &'a [u8],
        headers: &HeaderMap,
        content: &str,
    ) -> Result<T, RequestError> {
        // The parser's message is not used, since it can quote the body.
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => self.unreadable(headers, &format!("JSON that lacks {content}")),
            serde_json::error::Category::Eof => self.unreadable(headers, "an answer that breaks off"),
            _ => self.unreadable(headers, "something that is not JSON: a maintenance page?"),
        })
    }

    fn unreadable(&self, headers: &HeaderMap, sent: &str) -> RequestError {
        let content_type = text(headers, CONTENT_TYPE);
        let content_type = content_type.map(|value| format!(" ({})", self.redactor.excerpt(value)));
        let message = format!("{} sent {sent}{}", self.host(), content_type.unwrap_or_default());
        RequestError::api(ErrorKind::Unreadable, message)
    }

    fn parse_run(&self, body: &[u8], headers: &HeaderMap) -> Result<RunResponse, RequestError> {
        let RunEnvelope { export_files: run } = self.parse(body, headers, "what a run's status needs")?;
        let id = run.id.id().ok_or_else(|| self.unreadable(headers, "an answer whose id is not an id"))?;

        // Before anything else of the response is used: its signature may be in there as well.
        let url = run.download_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        if let Some(url) = url.and_then(|url| Url::parse(url).ok()) {
            self.redactor.add_signed_url(&url);
        }

        let status = Status::parse(&self.redactor.redact_prefix(&run.status));
        let url = url.filter(|_| status.has_file()).map(|url| self.validate_url(url, headers)).transpose()?;
        let remaining_calls = text(headers, RATE_LIMIT_REMAINING).and_then(|calls| calls.trim().parse().ok());
        Ok(RunResponse { run: id, export: run.export_id.id(), status, url, remaining_calls })
    }

    /// Returns the signed URL, if it is https (or the API is not), and contains neither credentials nor the API key.
    fn validate_url(&self, url: &str, headers: &HeaderMap) -> Result<SignedUrl, RequestError> {
        let invalid = |reason: &str| {
            let message = format!("{} handed out a download URL that {reason}", self.host());
            Err(RequestError::api(ErrorKind::InvalidUrl, message))
        };

        let Ok(url) = Url::parse(url) else { return invalid("is not a URL") };
        match url.scheme() {
            "https" => {}
            "http" if !self.base_url.is_https() => {}
            "http" => return invalid("is plain http, although the API is https"),
            scheme => return invalid(&format!("has the scheme {}", self.redactor.excerpt(scheme))),
        }
        if http::has_credentials(&url) {
            return invalid("holds a user name or a password");
        }
        if self.redactor.contains_key(url.as_str()) {
            return invalid("holds the API key, which goes to the API only");
        }
        Ok(SignedUrl::new(url, http::date(headers, &self.deadline)))
    }

    /// Returns the error for a response that is not successful.
    async fn status_error(&self, response: Response) -> RequestError {
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(location) = text(&headers, LOCATION).filter(|_| status.is_redirection()) {
            let target = self.base_url.endpoint("").join(location);
            let target = target.map_or_else(|_| "somewhere that is not a URL".to_owned(), |url| http::origin(&url));
            let message = format!("{} redirected to {}", self.host(), self.redactor.excerpt(&target));
            return RequestError::api(ErrorKind::Redirect, message);
        }

        let mut message = format!("{} answered {}", self.host(), http::format_status(status));
        let has_no_calls = text(&headers, RATE_LIMIT_REMAINING).is_some_and(|calls| calls.trim() == "0");
        let kind = if status == StatusCode::FORBIDDEN && has_no_calls {
            message.push_str(": this key has no calls left in this hour");
            ErrorKind::RateLimited
        } else {
            ErrorKind::Status(status.as_u16())
        };

        if let Ok(Some(body)) = http::read_limited_body(response, MAX_RESPONSE_SIZE).await
            && let Some(sent) = error_message(&body)
        {
            message = format!("{message} and says: {}", self.redactor.excerpt(&sent).trim_end_matches('.'));
        }
        RequestError { retry_after: http::retry_after(&headers, &self.deadline), ..RequestError::api(kind, message) }
    }

    fn connection_error(&self, error: reqwest::Error) -> RequestError {
        let (kind, cause) = http::classify_error(error);
        let message = match kind {
            ErrorKind::Certificate => format!("the certificate of {} cannot be trusted: {cause}", self.host()),
            ErrorKind::Connect => format!("no connection to {}: {cause}", self.host()),
            _ => format!("no answer from {}: {cause}", self.host()),
        };
        RequestError::api(kind, message)
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// A run as the API sends it. `export_files` is one object, in spite of its name.
#[derive(Deserialize)]
struct RunEnvelope {
    export_files: WireRun,
}

#[derive(Deserialize)]
struct WireRun {
    id: Scalar,
    #[serde(default)]
    export_id: Scalar,
    status: String,
    download_url: Option<String>,
}

/// Returns the message of an error response: `{"message":"…"}`, or `{"errors":{"field":["…"]}}` in older parts of the API.
fn error_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        message: Option<String>,
        errors: Option<BTreeMap<String, Vec<String>>>,
    }

    let ErrorBody { message, errors } = serde_json::from_slice(body).ok()?;
    let join = |errors: BTreeMap<String, Vec<String>>| {
        let fields = errors.iter().map(|(field, texts)| format!("{field}: {}", texts.join(", ")));
        fields.collect::<Vec<_>>().join("; ")
    };
    message.or_else(|| errors.map(join)).filter(|message| !message.trim().is_empty())
}

#[cfg(test)]
pub(super) mod tests;

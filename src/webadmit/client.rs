//! WebAdMIT's API: its calls, its wire types, and what they mean.

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

/// An answer of the API is some hundred bytes; one larger than this is something else.
const MAX_RESPONSE_SIZE: usize = 1 << 20;

const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// The API of one host, asked with one key.
pub struct ApiClient {
    client: Client,
    base_url: BaseUrl,
    key: ApiKey,
    deadline: Deadline,
    pub(super) redactor: Arc<Redactor>,
}

/// What the API says of a run.
#[derive(Debug)]
pub struct RunResponse {
    /// The run.
    pub run: Id,
    /// The export that the answer names. The vendor's own sample names another one than was asked for.
    pub export: Option<Id>,
    /// How far the run is.
    pub status: Status,
    /// Where its file can be had, for less than 30 s. Only with a status that has a file.
    pub url: Option<SignedUrl>,
    /// How many calls this key has left in this hour.
    pub remaining_calls: Option<u64>,
}

impl ApiClient {
    /// The API that `api_config` names, asked over a client that follows no redirect.
    #[must_use]
    pub fn new(client: Client, api_config: &ApiConfig, deadline: Deadline, redactor: Arc<Redactor>) -> Self {
        Self { client, base_url: api_config.base_url.clone(), key: api_config.api_key.clone(), deadline, redactor }
    }

    /// Asks how far a run is.
    ///
    /// # Errors
    ///
    /// A [`RequestError`] for everything but an answer for this very run.
    pub async fn run_status(&self, export: Id, run: Id, limit: Duration) -> Result<RunResponse, RequestError> {
        let response = self.call(Method::GET, &format!("exports/{export}/export_files/{run}"), limit).await?;
        if response.run != run {
            let words = format!("{} answered for run {} when it was asked for run {run}", self.host(), response.run);
            return Err(RequestError::api(ErrorKind::WrongRun, words));
        }
        Ok(response)
    }

    /// Starts a run of an export. While one is going on, WebAdMIT answers with that one: repeating the call is safe.
    ///
    /// # Errors
    ///
    /// A [`RequestError`] for everything but an answer that names a run.
    pub async fn start_run(&self, identity: Id, export: Id, limit: Duration) -> Result<RunResponse, RequestError> {
        self.call(Method::POST, &format!("user_identities/{identity}/exports/{export}/export_files"), limit).await
    }

    /// The host that is asked.
    #[must_use]
    pub fn host(&self) -> String {
        self.base_url.host()
    }

    async fn call(&self, method: Method, path: &str, limit: Duration) -> Result<RunResponse, RequestError> {
        let (headers, body) = self.send(method, path, limit, MAX_RESPONSE_SIZE).await?;
        self.read(&body, &headers)
    }

    /// One request, and the body of its answer, which has at most so many bytes.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        limit: Duration,
        max: usize,
    ) -> Result<(HeaderMap, Vec<u8>), RequestError> {
        let request = self.client.request(method, self.base_url.endpoint(path)).timeout(limit);
        let response =
            request.header(KEY_HEADER, self.key.header()).send().await.map_err(|error| self.connection_error(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            let body = self.body(response, max).await?;
            return Ok((headers, body));
        }
        Err(self.refusal_error(status, &headers, response).await)
    }

    async fn body(&self, response: Response, max: usize) -> Result<Vec<u8>, RequestError> {
        match http::read_limited_body(response, max).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => {
                let words = format!("{} sent more than {} MiB in one answer", self.host(), max >> 20);
                Err(RequestError::api(ErrorKind::TooLarge, words))
            }
            Err(error) => {
                let (_, words) = http::classify_body_error(error);
                Err(RequestError::api(ErrorKind::ConnectionLost, format!("in an answer of {}, {words}", self.host())))
            }
        }
    }

    /// What a body of JSON says. `what` names what it should hold.
    pub(super) fn parse<'a, T: Deserialize<'a>>(
        &self,
        body: &'a [u8],
        headers: &HeaderMap,
        what: &str,
    ) -> Result<T, RequestError> {
        // The parser's own words can quote the answer, so only the kind of its error is told.
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => self.unreadable(headers, &format!("JSON that lacks {what}")),
            serde_json::error::Category::Eof => self.unreadable(headers, "an answer that breaks off"),
            _ => self.unreadable(headers, "something that is not JSON: a maintenance page?"),
        })
    }

    fn unreadable(&self, headers: &HeaderMap, what: &str) -> RequestError {
        let sent =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(|sent| self.redactor.excerpt(sent));
        let sent = sent.map(|sent| format!(" ({sent})")).unwrap_or_default();
        RequestError::api(ErrorKind::Unreadable, format!("{} sent {what}{sent}", self.host()))
    }

    fn read(&self, body: &[u8], headers: &HeaderMap) -> Result<RunResponse, RequestError> {
        let Envelope { export_files: wire } = self.parse(body, headers, "what a run's status needs")?;
        let run = wire.id.id().ok_or_else(|| self.unreadable(headers, "an answer whose id is not an id"))?;
        let url = wire.download_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        if let Some(url) = url.and_then(|url| Url::parse(url).ok()) {
            self.redactor.add_signed_url(&url);
        }
        let status = Status::parse(&self.redactor.redact_prefix(&wire.status));
        let url = url.filter(|_| status.has_file()).map(|url| self.usable(url, headers)).transpose()?;
        let remaining_calls =
            headers.get(RATE_LIMIT_REMAINING).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Ok(RunResponse { run, export: wire.export_id.id(), status, url, remaining_calls })
    }

    /// A download URL that keeps the promises: encrypted when the API is, and nothing in it that would be sent along.
    fn usable(&self, url: &str, headers: &HeaderMap) -> Result<SignedUrl, RequestError> {
        let refused = |why: String| {
            Err(RequestError::api(
                ErrorKind::InvalidUrl,
                format!("{} handed out a download URL that {why}", self.host()),
            ))
        };
        let Ok(url) = Url::parse(url) else { return refused("is not a URL".to_owned()) };
        match url.scheme() {
            "https" => {}
            "http" if !self.base_url.is_https() => {}
            "http" => return refused("is plain http, although the API is https".to_owned()),
            scheme => return refused(format!("has the scheme {}", self.redactor.excerpt(scheme))),
        }
        if http::has_credentials(&url) {
            return refused("holds a user name or a password".to_owned());
        }
        if self.redactor.contains_key(url.as_str()) {
            return refused("holds the API key, which goes to the API only".to_owned());
        }
        Ok(SignedUrl::new(url, http::date(headers, &self.deadline)))
    }

    /// What an answer that is not a success means.
    async fn refusal_error(&self, status: StatusCode, headers: &HeaderMap, response: Response) -> RequestError {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        if status.is_redirection()
            && let Some(location) = text(LOCATION)
        {
            let to = self.base_url.endpoint("").join(location);
            let to = to.map_or_else(|_| "somewhere that is not a URL".to_owned(), |url| http::origin(&url));
            let words = format!("{} redirected to {}", self.host(), self.redactor.excerpt(&to));
            return RequestError::api(ErrorKind::Redirect, words);
        }
        let no_calls_left = text(RATE_LIMIT_REMAINING).is_some_and(|calls| calls.trim() == "0");
        let kind = if status == StatusCode::FORBIDDEN && no_calls_left {
            ErrorKind::RateLimited
        } else {
            ErrorKind::Status(status.as_u16())
        };
        let retry_after = http::retry_after(headers, &self.deadline);
        let mut words = format!("{} answered {}", self.host(), http::format_status(status));
        if kind == ErrorKind::RateLimited {
            words.push_str(": this key has no calls left in this hour");
        }
        if let Ok(Some(body)) = http::read_limited_body(response, MAX_RESPONSE_SIZE).await
            && let Some(message) = said(&body)
        {
            words = format!("{words} and says: {}", self.redactor.excerpt(&message).trim_end_matches('.'));
        }
        RequestError { retry_after, ..RequestError::api(kind, words) }
    }

    fn connection_error(&self, error: reqwest::Error) -> RequestError {
        let (kind, cause) = http::classify_error(error);
        let words = match kind {
            ErrorKind::Certificate => format!("the certificate of {} cannot be trusted: {cause}", self.host()),
            ErrorKind::Connect => format!("no connection to {}: {cause}", self.host()),
            _ => format!("no answer from {}: {cause}", self.host()),
        };
        RequestError::api(kind, words)
    }
}

/// The API's answer. `export_files` is one object, in spite of its name.
#[derive(Deserialize)]
struct Envelope {
    export_files: Wire,
}

#[derive(Deserialize)]
struct Wire {
    id: Scalar,
    #[serde(default)]
    export_id: Scalar,
    status: String,
    download_url: Option<String>,
}

/// What the API says of an error: `{"message":"…"}`, or `{"errors":{"field":["…"]}}` in older parts.
fn said(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        message: Option<String>,
        errors: Option<std::collections::BTreeMap<String, Vec<String>>>,
    }
    let refusal_error: Refusal = serde_json::from_slice(body).ok()?;
    let errors = || {
        let errors = refusal_error.errors?;
        let lines = errors.iter().map(|(field, texts)| format!("{field}: {}", texts.join(", ")));
        Some(lines.collect::<Vec<_>>().join("; "))
    };
    refusal_error.message.or_else(errors).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
pub(super) mod tests;

//! The client of the WebAdMIT API: requests, and the errors of responses.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;

use super::model::{ApiKey, BaseUrl};
use crate::http::error::{Endpoint, ErrorKind, RequestError, classify_body_error, classify_error};
use crate::http::{self, headers};
use crate::text::redact::Redactor;

/// Maximum size of a response, in bytes. One with a run has some hundred.
pub(super) const MAX_RESPONSE_SIZE: usize = 1 << 20;

const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// A client of the API on one host, with one key.
pub(crate) struct ApiClient {
    client: Client,
    pub(super) base_url: BaseUrl,
    key: ApiKey,
    pub(super) redactor: Arc<Redactor>,
    /// Number of calls that the key has left in this hour, according to the last response.
    remaining_calls: Rc<Cell<Option<u64>>>,
}

impl ApiClient {
    /// Wraps an HTTP client, which must not follow redirects.
    pub(crate) fn new(client: Client, base_url: BaseUrl, key: ApiKey, redactor: Arc<Redactor>) -> Self {
        Self { client, base_url, key, redactor, remaining_calls: Rc::default() }
    }

    /// Returns the number of calls that the key has left in this hour, according to the last response.
    pub(crate) fn remaining_calls(&self) -> &Rc<Cell<Option<u64>>> {
        &self.remaining_calls
    }

    /// Builds a request with the key. `path` is relative to `/api/v1/`.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.base_url.endpoint(path)).header(KEY_HEADER, self.key.header())
    }

    /// Sends a request, and returns the headers and the body of a successful response. The body has at most `max_size` bytes.
    ///
    /// # Errors
    ///
    /// If there is no response in time, or one that is not a success.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        timeout: Duration,
        max_size: usize,
    ) -> Result<(HeaderMap, Vec<u8>), RequestError> {
        let response = self.exchange(request, timeout).await?;
        if !response.status().is_success() {
            return Err(self.error_response(response).await);
        }

        let headers = response.headers().clone();
        let body = self.read_body(response, max_size).await?;
        Ok((headers, body))
    }

    /// Sends a request, and returns its response of any status, without reading the body.
    ///
    /// # Errors
    ///
    /// If there is no response in time.
    pub(super) async fn exchange(&self, request: RequestBuilder, timeout: Duration) -> Result<Response, RequestError> {
        let response = request.timeout(timeout).send().await.map_err(|error| {
            let (kind, detail) = classify_error(error);
            self.error(kind, detail)
        })?;

        self.remaining_calls.set(remaining_calls(response.headers()));
        if let Some(location) = headers::text(response.headers(), LOCATION) {
            self.redact_signature(location);
        }
        Ok(response)
    }

    async fn read_body(&self, response: Response, max_size: usize) -> Result<Vec<u8>, RequestError> {
        match headers::read_limited_body(response, max_size).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => Err(self.error(ErrorKind::TooLarge, format!("{} MiB in one response", max_size >> 20))),
            Err(error) => Err(match classify_body_error(error) {
                (ErrorKind::Stalled, _) => self.error(ErrorKind::Timeout, ""),
                (_, cause) => self.error(ErrorKind::ConnectionLost, cause),
            }),
        }
    }

    /// Parses a body of JSON. `expected` names what it should contain.
    pub(super) fn parse<'a, T: Deserialize<'a>>(
        &self,
        body: &'a [u8],
        headers: &HeaderMap,
        expected: &str,
    ) -> Result<T, RequestError> {
        use serde_json::error::Category;

        // The parser's message can quote the response, so only its category is used.
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            Category::Data => self.unreadable(headers, &format!("JSON without {expected}")),
            Category::Eof => self.unreadable(headers, "truncated JSON"),
            Category::Syntax | Category::Io => {
                self.unreadable(headers, "something that is not JSON, such as a maintenance page")
            }
        })
    }

    /// Returns the error of a successful response that cannot be read.
    pub(super) fn unreadable(&self, headers: &HeaderMap, what: &str) -> RequestError {
        let content_type = headers::text(headers, CONTENT_TYPE);
        let content_type = content_type.map(|text| format!(" ({})", self.redactor.excerpt(text))).unwrap_or_default();
        self.error(ErrorKind::Unreadable, format!("{what}{content_type}"))
    }

    /// Returns the error of a response that is not a success.
    pub(super) async fn error_response(&self, response: Response) -> RequestError {
        let (status, headers) = (response.status(), response.headers().clone());
        let headers = &headers;
        if status.is_redirection()
            && let Some(location) = headers::text(headers, LOCATION)
        {
            let target = self.base_url.endpoint("").join(location);
            let target = target.map_or_else(|_| "an invalid URL".to_owned(), |url| http::origin(&url));
            return self.error(ErrorKind::Redirect, self.redactor.excerpt(&target));
        }

        let has_no_calls_left = headers::text(headers, RATE_LIMIT_REMAINING).is_some_and(|calls| calls.trim() == "0");
        let kind = match status {
            StatusCode::FORBIDDEN if has_no_calls_left => ErrorKind::RateLimited,
            status => ErrorKind::Status(status.as_u16()),
        };
        let body = headers::read_limited_body(response, MAX_RESPONSE_SIZE).await;
        let message = body.ok().flatten().as_deref().and_then(error_message).unwrap_or_default();
        let detail = self.redactor.excerpt(&message).trim_end_matches('.').to_owned();
        RequestError { retry_after: headers::retry_after(headers), ..self.error(kind, detail) }
    }

    /// Returns an error of this API.
    pub(crate) fn error(&self, kind: ErrorKind, detail: impl Into<String>) -> RequestError {
        RequestError::new(Endpoint::Api, kind, self.base_url.host(), detail)
    }
}

fn remaining_calls(headers: &HeaderMap) -> Option<u64> {
    headers::text(headers, RATE_LIMIT_REMAINING)?.trim().parse().ok()
}

/// Returns the message in an error response: `{"message":"…"}`, or `{"errors":{"field":["…"]}}` in older parts of the API.
fn error_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        message: Option<String>,
        errors: Option<serde_json::Value>,
    }

    let body: ErrorBody = serde_json::from_slice(body).ok()?;
    let errors = || {
        let errors: BTreeMap<String, Vec<String>> = serde_json::from_value(body.errors?).ok()?;
        let lines = errors.iter().map(|(field, texts)| format!("{field}: {}", texts.join(", ")));
        Some(lines.collect::<Vec<_>>().join("; "))
    };
    body.message.or_else(errors).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
pub(super) mod tests {
    use reqwest::header::HeaderValue;
    use rustls::RootCertStore;

    use super::*;
    use crate::http::{Timeouts, clients};

    /// A client that sends no request.
    pub(in crate::webadmit) fn api(base_url: &str) -> ApiClient {
        let redactor = Arc::new(Redactor::default());
        redactor.set_key("secretkey0123456");
        let clients = clients(RootCertStore::empty(), Timeouts::default(), false, &redactor).unwrap();
        let (url, key) = (base_url.parse().unwrap(), ApiKey::new("secretkey0123456").unwrap());
        ApiClient::new(clients.api, BaseUrl::new(url).unwrap(), key, redactor)
    }

    #[test]
    fn the_remaining_calls_are_a_number_or_nothing() {
        for (value, calls) in [("4999", Some(4999)), (" 0 ", Some(0)), ("many", None), ("-1", None), ("", None)] {
            let headers = HeaderMap::from_iter([(RATE_LIMIT_REMAINING, HeaderValue::from_str(value).unwrap())]);
            assert_eq!(remaining_calls(&headers), calls, "{value:?}");
        }
    }

    #[test]
    fn the_message_of_an_error_response_is_found() {
        for (body, message) in [
            (r#"{"message":"Not Found"}"#, Some("Not Found")),
            (r#"{"errors":{"schema":["is odd","is old"],"a":[]}}"#, Some("a: ; schema: is odd, is old")),
            (r#"{"message":null,"errors":{"b":["c"]}}"#, Some("b: c")),
            (r#"{"message":" "}"#, None),
            (r#"{"message":5}"#, None),
            (r#"{"errors":"all"}"#, None),
            (r#"{"message":"Not Found","errors":["odd"]}"#, Some("Not Found")),
            ("", None),
            ("<html>", None),
        ] {
            assert_eq!(error_message(body.as_bytes()).as_deref(), message, "{body}");
        }
    }
}

//! Requests to the store, and the errors of its responses.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, RANGE,
    TRANSFER_ENCODING,
};
use reqwest::{Client, Response};
use tokio::sync::Mutex;

use super::connections::PooledConnection;
use super::range::{self, RangeResponse, Rejection, RequestedRange, ResponseHead};
use super::signed_url::{IssuedUrl, SignedUrlSource};
use crate::context::Context;
use crate::error::StepError;
use crate::http::error::{Endpoint, ErrorKind, RequestError, classify_body_error, classify_error};
use crate::http::{self, headers};
use crate::text::format::Progress;
use crate::webadmit::SignedUrl;

/// Maximum number of bytes that are read of the store's error document, which is short.
const MAX_ERROR_LENGTH: usize = 1 << 16;

/// Timeout for reading the store's error document.
const ERROR_TIMEOUT: Duration = Duration::from_secs(5);

/// The store, and the signed URLs for requests to it.
pub(super) struct Store<'a, F> {
    pub(super) context: &'a Context<'a>,
    client: &'a Client,
    /// The first connection of the download.
    pub(super) connection: PooledConnection<'a>,
    urls: Mutex<SignedUrlSource<F>>,
}

impl<'a, F: AsyncFnMut() -> Result<SignedUrl, StepError>> Store<'a, F> {
    /// A store whose `first` URL was just issued. `refresh` requests the next one from the API.
    pub(super) fn new(
        context: &'a Context<'a>,
        client: &'a Client,
        connection: PooledConnection<'a>,
        first: SignedUrl,
        refresh: F,
    ) -> Self {
        Self { context, client, connection, urls: Mutex::new(SignedUrlSource::new(context, first, refresh)) }
    }

    /// Returns a signed URL that has not expired, other than the one with the id `failed`.
    pub(super) async fn signed_url(&self, failed: Option<usize>) -> Result<IssuedUrl, StepError> {
        self.urls.lock().await.get(self.context, failed).await
    }

    /// Requests the file, or a part of it. Returns what the response is, and the response.
    pub(super) async fn request(
        &self,
        url: &IssuedUrl,
        range: Option<&RequestedRange>,
    ) -> Result<(RangeResponse, StoreResponse), RequestError> {
        let url = url.url.reveal();
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            request = request.header(RANGE, range.header()).header(IF_MATCH, &range.etag);
        }
        let response = request.send().await.map_err(|error| {
            let (kind, detail) = classify_error(error);
            store_error(kind, &http::host(url), detail)
        })?;

        let (class, host) = (range::classify(&head(&response), range), http::host(response.url()));
        Ok((class, StoreResponse { inner: response, host }))
    }

    /// Whether the store supports ranges. Requests a range of a single byte over a spare connection.
    pub(super) async fn supports_ranges(&self, byte: RequestedRange, _spare: PooledConnection<'_>) -> bool {
        let Ok(url) = self.signed_url(None).await else { return false };
        let Ok((class, response)) = self.request(&url, Some(&byte)).await else { return false };

        let is_part = matches!(class, RangeResponse::Part { end, .. } if Some(end) == byte.end);
        // Once the body is read, the connection can be reused. A chunked body could be endless.
        is_part && response.inner.content_length() == Some(1) && response.inner.bytes().await.is_ok()
    }
}

/// A response of the store.
pub(super) struct StoreResponse {
    pub(super) inner: Response,
    /// The host that sent it, which may be the target of a redirect.
    pub(super) host: String,
}

impl StoreResponse {
    /// Returns the next bytes of the body, or `None` at its end. `progress` is for the error.
    pub(super) async fn chunk(&mut self, progress: impl Fn() -> Progress) -> Result<Option<Bytes>, RequestError> {
        self.inner.chunk().await.map_err(|error| {
            let (kind, cause) = classify_body_error(error);
            let cause = if cause.is_empty() { cause } else { format!(": {cause}") };
            store_error(kind, &self.host, format!("at {}{cause}", progress()))
        })
    }

    /// Returns the error of a response with an error status. Its `<Code>` explains more than the status: `AccessDenied` is
    /// an expired URL, `NoSuchKey` a deleted file.
    pub(super) async fn status_error(self, context: &Context<'_>) -> RequestError {
        let Self { inner, host } = self;
        let kind = ErrorKind::Status(inner.status().as_u16());
        let retry_after = headers::retry_after(inner.headers());

        let body = tokio::time::timeout(ERROR_TIMEOUT, headers::read_limited_body(inner, MAX_ERROR_LENGTH)).await;
        let body = body.ok().and_then(Result::ok).flatten().unwrap_or_default();
        let code = error_code(&body).filter(|code| !context.redactor().contains_secret(code));
        let detail = code.map(|code| format!("code {code}")).unwrap_or_default();
        RequestError { retry_after, ..store_error(kind, &host, detail) }
    }
}

/// Returns the error of a response that cannot be used.
pub(super) fn rejection_error(host: &str, rejection: Rejection) -> RequestError {
    store_error(rejection.kind(), host, rejection.to_string())
}

/// Returns the error of a complete response that had only a part of the requested bytes.
pub(super) fn incomplete_error(host: &str, progress: Progress) -> RequestError {
    store_error(ErrorKind::Mismatch, host, format!("sent only a part of the requested bytes: received {progress}"))
}

fn store_error(kind: ErrorKind, host: &str, detail: impl Into<String>) -> RequestError {
    RequestError::new(Endpoint::Store, kind, host, detail)
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

/// Returns the `<Code>` of the store's error document if it consists of letters and digits.
fn error_code(body: &[u8]) -> Option<String> {
    const MAX_LENGTH: usize = 48;

    let body = String::from_utf8_lossy(body);
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_code = (1..=MAX_LENGTH).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    #[test]
    fn an_error_code_consists_of_letters_and_digits() {
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

    /// Error documents that stores have sent, or could send.
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
        fn the_code_of_a_mutated_error_document_is_safe(body in testing::mutated(&ERRORS)) {
            if let Some(code) = error_code(&body) {
                prop_assert!((1..=48).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }

        #[test]
        fn the_code_of_any_error_document_is_safe(
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

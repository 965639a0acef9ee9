//! WebAdMIT's API: its calls, its wire types, and what they mean.

pub mod lists;
mod scalar;
mod signed_url;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Deserialize;

use crate::clean;
use crate::clock::Clock;
use crate::fault::{Fault, Kind};
use crate::http;
use crate::inputs::{ApiKey, BaseUrl, Id, Service};
use crate::secrets::Secrets;
use crate::status::Status;
use scalar::Scalar;
pub use signed_url::SignedUrl;

/// An answer of the API is some hundred bytes; one larger than this is something else.
const LARGEST_ANSWER: usize = 1 << 20;

const CALLS_LEFT: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// The API of one host, asked with one key.
pub struct Api {
    client: Client,
    base_url: BaseUrl,
    key: ApiKey,
    clock: Clock,
    secrets: Arc<Secrets>,
}

/// What the API says of a run.
#[derive(Debug)]
pub struct Answer {
    /// The run.
    pub run: Id,
    /// The export that the answer names. The vendor's own sample names another one than was asked for.
    pub export: Option<Id>,
    /// How far the run is.
    pub status: Status,
    /// Where its file can be had, for less than 30 s. Only with a status that has a file.
    pub url: Option<SignedUrl>,
    /// How many calls this key has left in this hour.
    pub calls_left: Option<u64>,
}

impl Api {
    /// The API that `service` names, asked over a client that follows no redirect.
    #[must_use]
    pub fn new(client: Client, service: &Service, clock: Clock, secrets: Arc<Secrets>) -> Self {
        Self { client, base_url: service.base_url.clone(), key: service.api_key.clone(), clock, secrets }
    }

    /// Asks how far a run is.
    ///
    /// # Errors
    ///
    /// A [`Fault`] for everything but an answer for this very run.
    pub async fn check(&self, export: Id, run: Id, limit: Duration) -> Result<Answer, Fault> {
        let answer = self.call(Method::GET, &format!("exports/{export}/export_files/{run}"), limit).await?;
        if answer.run != run {
            let words = format!("{} answered for run {} when it was asked for run {run}", self.host(), answer.run);
            return Err(Fault::api(Kind::OtherRun, words));
        }
        Ok(answer)
    }

    /// Starts a run of an export. While one is going on, WebAdMIT answers with that one: repeating the call is safe.
    ///
    /// # Errors
    ///
    /// A [`Fault`] for everything but an answer that names a run.
    pub async fn start(&self, identity: Id, export: Id, limit: Duration) -> Result<Answer, Fault> {
        self.call(Method::POST, &format!("user_identities/{identity}/exports/{export}/export_files"), limit).await
    }

    /// The host that is asked.
    #[must_use]
    pub fn host(&self) -> String {
        self.base_url.host()
    }

    async fn call(&self, method: Method, path: &str, limit: Duration) -> Result<Answer, Fault> {
        let (headers, body) = self.ask(method, path, limit, LARGEST_ANSWER).await?;
        self.read(&body, &headers)
    }

    /// One request, and the body of its answer, which has at most so many bytes.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        limit: Duration,
        most: usize,
    ) -> Result<(HeaderMap, Vec<u8>), Fault> {
        let request = self.client.request(method, self.base_url.endpoint(path)).timeout(limit);
        let response =
            request.header(KEY_HEADER, self.key.header()).send().await.map_err(|error| self.connection_fault(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            let body = self.body(response, most).await?;
            return Ok((headers, body));
        }
        Err(self.refusal(status, &headers, response).await)
    }

    async fn body(&self, response: Response, most: usize) -> Result<Vec<u8>, Fault> {
        match http::small_body(response, most).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => {
                let words = format!("{} sent more than {} MiB in one answer", self.host(), most >> 20);
                Err(Fault::api(Kind::TooLarge, words))
            }
            Err(error) => {
                let (_, words) = http::reduce_in_body(error);
                Err(Fault::api(Kind::Broken, format!("in an answer of {}, {words}", self.host())))
            }
        }
    }

    /// What a body of JSON says. `what` names what it should hold.
    fn parse<'a, T: Deserialize<'a>>(&self, body: &'a [u8], headers: &HeaderMap, what: &str) -> Result<T, Fault> {
        // The parser's own words can quote the answer, so only the kind of its error is told.
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => self.unreadable(headers, &format!("JSON that lacks {what}")),
            serde_json::error::Category::Eof => self.unreadable(headers, "an answer that breaks off"),
            _ => self.unreadable(headers, "something that is not JSON: a maintenance page?"),
        })
    }

    fn unreadable(&self, headers: &HeaderMap, what: &str) -> Fault {
        let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(|sent| self.secrets.words(sent));
        let sent = sent.map(|sent| format!(" ({sent})")).unwrap_or_default();
        Fault::api(Kind::Unreadable, format!("{} sent {what}{sent}", self.host()))
    }

    fn read(&self, body: &[u8], headers: &HeaderMap) -> Result<Answer, Fault> {
        let Envelope { export_files: wire } = self.parse(body, headers, "what a run's status needs")?;
        let run = wire.id.id().ok_or_else(|| self.unreadable(headers, "an answer whose id is not an id"))?;
        let url = wire.download_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        if let Some(url) = url.and_then(|url| Url::parse(url).ok()) {
            self.secrets.keep_url(&url);
        }
        let status = Status::read(&self.secrets.conceal(clean::bounded(&wire.status)));
        let url = url.filter(|_| status.has_file()).map(|url| self.usable(url, headers)).transpose()?;
        let calls_left = headers.get(CALLS_LEFT).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Ok(Answer { run, export: wire.export_id.id(), status, url, calls_left })
    }

    /// A download URL that keeps the promises: encrypted when the API is, and nothing in it that would be sent along.
    fn usable(&self, url: &str, headers: &HeaderMap) -> Result<SignedUrl, Fault> {
        let refused = |why: String| {
            Err(Fault::api(Kind::BadUrl, format!("{} handed out a download URL that {why}", self.host())))
        };
        let Ok(url) = Url::parse(url) else { return refused("is not a URL".to_owned()) };
        match url.scheme() {
            "https" => {}
            "http" if !self.base_url.is_https() => {}
            "http" => return refused("is plain http, although the API is https".to_owned()),
            scheme => return refused(format!("has the scheme {}", self.secrets.words(scheme))),
        }
        if http::has_credentials(&url) {
            return refused("holds a user name or a password".to_owned());
        }
        if self.secrets.hold_key(url.as_str()) {
            return refused("holds the API key, which goes to the API only".to_owned());
        }
        Ok(SignedUrl::new(url, http::date(headers, &self.clock)))
    }

    /// What an answer that is not a success means.
    async fn refusal(&self, status: StatusCode, headers: &HeaderMap, response: Response) -> Fault {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        if status.is_redirection()
            && let Some(location) = text(LOCATION)
        {
            let to = self.base_url.endpoint("").join(location);
            let to = to.map_or_else(|_| "somewhere that is not a URL".to_owned(), |url| http::origin(&url));
            let words = format!("{} redirected to {}", self.host(), self.secrets.words(&to));
            return Fault::api(Kind::Redirect, words);
        }
        let no_calls_left = text(CALLS_LEFT).is_some_and(|calls| calls.trim() == "0");
        let kind = if status == StatusCode::FORBIDDEN && no_calls_left {
            Kind::RateLimited
        } else {
            Kind::Status(status.as_u16())
        };
        let retry_after = http::retry_after(headers, &self.clock);
        let mut words = format!("{} answered {}", self.host(), http::status_words(status));
        if kind == Kind::RateLimited {
            words.push_str(": this key has no calls left in this hour");
        }
        if let Ok(Some(body)) = http::small_body(response, LARGEST_ANSWER).await
            && let Some(message) = said(&body)
        {
            words = format!("{words} and says: {}", self.secrets.words(&message).trim_end_matches('.'));
        }
        Fault { retry_after, ..Fault::api(kind, words) }
    }

    fn connection_fault(&self, error: reqwest::Error) -> Fault {
        let (kind, cause) = http::reduce(error);
        let words = match kind {
            Kind::Certificate => format!("the certificate of {} cannot be trusted: {cause}", self.host()),
            Kind::Connect => format!("no connection to {}: {cause}", self.host()),
            _ => format!("no answer from {}: {cause}", self.host()),
        };
        Fault::api(kind, words)
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
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    let errors = || {
        let errors = refusal.errors?;
        let lines = errors.iter().map(|(field, texts)| format!("{field}: {}", texts.join(", ")));
        Some(lines.collect::<Vec<_>>().join("; "))
    };
    refusal.message.or_else(errors).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests;

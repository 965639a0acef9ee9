//! A stand-in for WebAdMIT and for the store that holds its files. All data is made up.

mod api;
mod builder;
mod runs;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;
use wiremock::{MockServer, ResponseTemplate};

use super::json::{EXPORT_ID, EXPORT_NAME, IDENTITY_ID, RUN_ID, SECOND_EXPORT_NAME, identity_json, run_json};
use super::leaks;
use super::server::{Action, Request, Server, cut, respond};
use super::store::{StoredFile, error_response};
use api::MatchedResponse;
pub use builder::{BatchBuilder, Builder, RunBuilder, ZipBuilder};
use runs::{Batch, Run};
use store::{SignedUrl, StoreEvent, StoreFile, respond_as_signed};

/// The ids of one application cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    pub years: &'static str,
    pub identity: u64,
    pub export: u64,
    pub run: u64,
}

/// The cycles of SOPHAS. The stand-in starts in the second one. In the third, every id is another one.
pub const CYCLES: [Cycle; 3] = [
    Cycle { years: "2025 - 2026", identity: 290, export: 80112, run: 61007 },
    Cycle { years: "2026 - 2027", identity: IDENTITY_ID, export: EXPORT_ID, run: RUN_ID },
    Cycle { years: "2027 - 2028", identity: 340, export: 91203, run: 88110 },
];

/// The same user in PharmCAS.
const PHARMCAS: Cycle = Cycle { years: CYCLES[1].years, identity: 311, export: 95001, run: 95501 };

impl Cycle {
    /// Returns its exports as identity, id, name and run.
    fn exports(&self) -> Vec<(u64, u64, &'static str, u64)> {
        let Self { identity, export, run, .. } = *self;
        match *self {
            PHARMCAS => vec![(identity, export, "Pharmacy Applicants", run)],
            _ => {
                vec![(identity, export, EXPORT_NAME, run), (identity, export + 1, SECOND_EXPORT_NAME, run + 7)]
            }
        }
    }

    fn identity_json(self) -> Value {
        let (association, organization) = match self {
            PHARMCAS => ("PharmCAS", "Demo College of Pharmacy"),
            _ => ("SOPHAS", "Demo School of Public Health"),
        };
        identity_json(self.identity, association, organization, self.years)
    }
}

/// A running stand-in. Its servers stop when it is dropped.
pub struct StandIn {
    state: Arc<Mutex<State>>,
    api: MockServer,
    store: Server,
    runtime: tokio::runtime::Runtime,
}

struct State {
    config: Builder,
    api_url: String,
    store_url: String,
    /// Index of the newest cycle.
    cycle: usize,
    runs: Vec<Run>,
    /// The batches of [`IDENTITY_ID`].
    batches: Vec<Batch>,
    /// How many checks get the response 404.
    not_found: usize,
    api_responses: VecDeque<ResponseTemplate>,
    matched_api_responses: Vec<MatchedResponse>,
    /// The files in the store by the ids of their runs and zips.
    files: BTreeMap<u64, StoreFile>,
    signed_urls: Vec<SignedUrl>,
    /// What happens at the next requests, of any file or only of one.
    store_events: Vec<(Option<u64>, StoreEvent)>,
}

impl StandIn {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts a stand-in whose run is available at once.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Starts a stand-in whose run has these statuses. Each check sees the next one, and the last one stays.
    pub fn with_statuses(statuses: &[&str]) -> Self {
        Self::builder().statuses(statuses).start()
    }

    /// Starts a stand-in whose run is available at once, with this file.
    pub fn with_file(bytes: &[u8]) -> Self {
        Self::builder().file(StoredFile::new(bytes)).start()
    }

    pub fn api_url(&self) -> String {
        self.api.uri()
    }

    pub fn store(&self) -> &Server {
        &self.store
    }

    /// Returns the bytes of the file of [`RUN_ID`] in the store.
    pub fn file(&self) -> Vec<u8> {
        self.file_of(RUN_ID)
    }

    /// Returns the bytes of the file of a run, or of a zip.
    pub fn file_of(&self, id: u64) -> Vec<u8> {
        self.state().files[&id].file.bytes.clone()
    }

    /// Returns the list of identities that the API sends.
    pub fn identities_json(&self) -> Value {
        self.state().identities_json()
    }

    /// Returns the list of exports that the API sends for [`IDENTITY_ID`].
    pub fn exports_json(&self) -> Value {
        self.state().exports_of(&[CYCLES[1]])
    }

    /// Invalidates all signed URLs that the API has sent.
    pub fn expire_urls(&self) {
        self.state().signed_urls.clear();
    }

    /// Starts the next application cycle, which has another identity, export and run.
    pub fn start_next_cycle(&self) {
        self.state().cycle += 1;
    }

    /// Adds a response that the API sends instead of its own. Several are sent in this order.
    pub fn next_api_response(&self, response: ResponseTemplate) -> &Self {
        self.state().api_responses.push_back(response);
        self
    }

    /// Adds a response of the API with this body.
    pub fn next_api_json(&self, body: Value) -> &Self {
        self.next_api_response(ResponseTemplate::new(200).set_body_json(body))
    }

    /// Adds a response of the API with this status and no body.
    pub fn next_api_status(&self, status: u16) -> &Self {
        self.next_api_response(ResponseTemplate::new(status))
    }

    /// Adds an error response of the API with this body.
    pub fn next_api_error(&self, status: u16, body: Value) -> &Self {
        self.next_api_response(ResponseTemplate::new(status).set_body_json(body))
    }

    /// Adds a response to the next request with this method whose path contains this text. Takes precedence over
    /// [`Self::next_api_response`]. Several for the same request are sent in this order.
    pub fn next_api_response_to(&self, method: &str, path: &str, response: ResponseTemplate) -> &Self {
        self.add_matched_response(method, path, response, false)
    }

    /// Sends this response to all requests with this method whose path contains this text.
    pub fn every_api_response_to(&self, method: &str, path: &str, response: ResponseTemplate) -> &Self {
        self.add_matched_response(method, path, response, true)
    }

    fn add_matched_response(&self, method: &str, path: &str, response: ResponseTemplate, is_repeated: bool) -> &Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        self.state().matched_api_responses.push(MatchedResponse { method, path, response, is_repeated });
        self
    }

    /// Adds a response that the store sends instead of its own. Several are sent in this order. A request with an invalid
    /// URL is refused all the same.
    pub fn next_store_response(
        &self,
        respond: impl Fn(&Request, &StoredFile) -> Vec<Action> + Send + 'static,
    ) -> &Self {
        self.state().store_events.push((None, StoreEvent::Respond(Box::new(respond))));
        self
    }

    /// Adds a response to the next request for the file of this run or zip.
    pub fn next_store_response_of(
        &self,
        id: u64,
        respond: impl Fn(&Request, &StoredFile) -> Vec<Action> + Send + 'static,
    ) -> &Self {
        self.state().store_events.push((Some(id), StoreEvent::Respond(Box::new(respond))));
        self
    }

    /// Adds an error of the store.
    pub fn next_store_error(&self, status: u16, code: &str) -> &Self {
        let response = error_response(status, code);
        self.next_store_response(move |_, _| vec![Action::Send(response.clone())])
    }

    /// Adds a response of the store that is cut after this number of bytes of its body.
    pub fn cut_next_download_after(&self, body_length: usize) -> &Self {
        self.next_store_response(respond_and_cut(body_length))
    }

    /// Adds a response with the file of this run or zip that is cut after this number of bytes of its body.
    pub fn cut_next_download_of(&self, id: u64, body_length: usize) -> &Self {
        self.next_store_response_of(id, respond_and_cut(body_length))
    }

    /// Replaces the requested file in the store at the next request.
    pub fn replace_file_at_next_request(&self, file: StoredFile) -> &Self {
        self.state().store_events.push((None, StoreEvent::Replace(file)));
        self
    }

    /// Responds with 404 to the next checks of runs and batches.
    pub fn hide_run_for(&self, checks: usize) -> &Self {
        self.state().not_found = checks;
        self
    }

    /// Returns the requests to the API.
    pub fn api_requests(&self) -> Vec<wiremock::Request> {
        self.runtime.block_on(self.api.received_requests()).unwrap_or_default()
    }

    /// Returns how many responses the store was sending at one time, at most.
    pub fn max_store_responses(&self) -> usize {
        self.store.max_concurrent_responses()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for StandIn {
    /// Checks that the API received no secret but the key, and the store never the key, whatever the test was about. The store
    /// checks its own requests for other secrets.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for request in self.store.requests() {
            assert_eq!(request.header("x-api-key"), None, "the key was sent to the store: {}", request.text());
        }
        for request in self.api_requests() {
            let header = |(name, value): (&wiremock::http::HeaderName, &wiremock::http::HeaderValue)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let target = format!("{}?{}", request.url.path(), request.url.query().unwrap_or_default());
            leaks::assert_no_leak(&Request {
                method: request.method.to_string(),
                target,
                headers: request.headers.iter().map(header).collect(),
                body: request.body.clone(),
            });
        }
    }
}

fn respond_and_cut(body_length: usize) -> impl Fn(&Request, &StoredFile) -> Vec<Action> + Send + 'static {
    move |request, file| vec![Action::Send(cut(&respond_as_signed(request, file), body_length)), Action::Close]
}

/// Starts an API that does this at the first request, and responds to all others with the status `Empty List`.
pub fn api_with_first_response(actions: Vec<Action>) -> Server {
    let first = Mutex::new(Some(actions));
    Server::start(move |_| first.lock().unwrap().take().unwrap_or_else(empty_list))
}

/// Responds to a check with the status `Empty List`.
pub fn empty_list() -> Vec<Action> {
    respond(200, &[], run_json("Empty List").to_string())
}

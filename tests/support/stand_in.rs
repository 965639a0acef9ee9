//! A stand-in for WebAdMIT and for the store that holds its files. All data is made up.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Respond, ResponseTemplate};

use super::json::{
    EXPORT_ID, EXPORT_NAME, IDENTITY_ID, RUN_ID, export_json, exports_json, identities_json, identity_json,
    recent_run_json, run_json, run_of_export_json,
};
use super::leaks::{self, API_KEY, SIGNATURE};
use super::server::{Action, Request, Server, cut, respond};
use super::store::{FILENAME, StoredFile, applicants_csv, error_response};

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

/// An export of an identity, and its only run.
#[derive(Clone, Copy)]
struct Export {
    id: u64,
    name: &'static str,
    run: u64,
}

impl Cycle {
    fn exports(self) -> Vec<Export> {
        let Self { export: id, run, .. } = self;
        match self {
            PHARMCAS => vec![Export { id, name: "Pharmacy Applicants", run }],
            _ => vec![
                Export { id, name: EXPORT_NAME, run },
                Export { id: id + 1, name: "Interviews of the Week", run: run + 7 },
            ],
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

/// The statuses of a run, one after another. The last one stays.
#[derive(Clone)]
enum Statuses {
    /// The next one with each check.
    ByCheck(Vec<String>),
    /// Each one from some time after the start of the run.
    ByTime(Vec<(Duration, String)>),
}

impl Statuses {
    fn get(&self, checks: usize, since_start: Duration) -> &str {
        match self {
            Self::ByCheck(statuses) => &statuses[checks.min(statuses.len() - 1)],
            Self::ByTime(statuses) => {
                let reached = statuses.iter().rev().find(|(time, _)| *time <= since_start);
                reached.map_or(&statuses[0].1, |(_, status)| status)
            }
        }
    }
}

/// What the store does with one request.
type StoreResponse = Box<dyn Fn(&Request, &StoredFile) -> Vec<Action> + Send>;

/// What happens at the next request to the store.
enum StoreEvent {
    Respond(StoreResponse),
    /// From now on the store has this file.
    Replace(StoredFile),
}

/// The configuration of a stand-in.
#[derive(Clone)]
pub struct Builder {
    address: IpAddr,
    statuses: Statuses,
    file: StoredFile,
    content_disposition: String,
    content_type: String,
    url_lifetime: Duration,
    requests_per_url: usize,
    announces_url_expiry: bool,
    remaining_calls: u64,
    bytes_per_second: Option<u64>,
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
    store_url: String,
    /// Index of the newest cycle.
    cycle: usize,
    started: Option<Instant>,
    not_found: usize,
    checks: usize,
    signed_urls: Vec<SignedUrl>,
    api_responses: VecDeque<ResponseTemplate>,
    store_events: VecDeque<StoreEvent>,
}

struct SignedUrl {
    signature: String,
    remaining_requests: usize,
    issued: Instant,
}

impl Builder {
    /// Sets the statuses of the run. Each check sees the next one, and the last one stays.
    pub fn statuses(self, statuses: &[&str]) -> Self {
        let statuses = statuses.iter().map(|&status| status.to_owned()).collect();
        Self { statuses: Statuses::ByCheck(statuses), ..self }
    }

    /// Sets the statuses of the run by the time since its start.
    pub fn statuses_by_time(self, statuses: &[(Duration, &str)]) -> Self {
        let statuses = statuses.iter().map(|&(time, status)| (time, status.to_owned())).collect();
        Self { statuses: Statuses::ByTime(statuses), ..self }
    }

    /// Sets the address of this machine on which both servers listen. The default is loopback.
    pub fn address(self, address: IpAddr) -> Self {
        Self { address, ..self }
    }

    pub fn file(self, file: StoredFile) -> Self {
        Self { file, ..self }
    }

    pub fn content_disposition(self, content_disposition: &str) -> Self {
        Self { content_disposition: content_disposition.to_owned(), ..self }
    }

    pub fn content_type(self, content_type: &str) -> Self {
        Self { content_type: content_type.to_owned(), ..self }
    }

    pub fn url_lifetime(self, url_lifetime: Duration) -> Self {
        Self { url_lifetime, ..self }
    }

    /// Limits how many requests a signed URL is valid for.
    pub fn requests_per_url(self, requests_per_url: usize) -> Self {
        Self { requests_per_url, ..self }
    }

    /// Writes the true expiry into the signed URLs, in whole seconds. Otherwise they have a time in the past, like the sample
    /// in WebAdMIT's reference.
    pub fn announces_url_expiry(self) -> Self {
        Self { announces_url_expiry: true, ..self }
    }

    /// Sets the first value of `X-RateLimit-Remaining`. The default is so high that nobody has to wait.
    pub fn remaining_calls(self, remaining_calls: u64) -> Self {
        Self { remaining_calls, ..self }
    }

    /// Limits the rate of each response of the store.
    pub fn throttle(self, bytes_per_second: u64) -> Self {
        Self { bytes_per_second: Some(bytes_per_second), ..self }
    }

    pub fn start(self) -> StandIn {
        let address = self.address;
        let state = Arc::new(Mutex::new(State {
            config: self,
            store_url: String::new(),
            cycle: 1,
            started: None,
            not_found: 0,
            checks: 0,
            signed_urls: Vec::new(),
            api_responses: VecDeque::new(),
            store_events: VecDeque::new(),
        }));

        let for_store = Arc::clone(&state);
        let store = Server::start_at(address, move |request| for_store.lock().unwrap().store(request));
        state.lock().unwrap().store_url = store.url();

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = TcpListener::bind((address, 0)).unwrap();
        let api = runtime.block_on(MockServer::builder().listener(listener).start());
        let responder = Api(Arc::clone(&state));
        runtime.block_on(Mock::given(any()).respond_with(responder).named("WebAdMIT").mount(&api));
        StandIn { state, api, store, runtime }
    }
}

impl StandIn {
    pub fn builder() -> Builder {
        Builder {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            statuses: Statuses::ByCheck(vec!["Available".to_owned()]),
            file: StoredFile::new(&applicants_csv(40)),
            content_disposition: format!("attachment; filename={FILENAME}"),
            content_type: "text/csv;charset=iso-8859-1".to_owned(),
            url_lifetime: Duration::from_secs(30),
            requests_per_url: usize::MAX,
            announces_url_expiry: false,
            remaining_calls: 100_000_000,
            bytes_per_second: None,
        }
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

    /// Returns the bytes of the file in the store.
    pub fn file(&self) -> Vec<u8> {
        self.state().config.file.bytes.clone()
    }

    /// Returns the list of identities that the API sends.
    pub fn identities_json(&self) -> Value {
        self.state().identities_json()
    }

    /// Returns the list of exports that the API sends for [`IDENTITY_ID`].
    pub fn exports_json(&self) -> Value {
        exports_of(&[CYCLES[1]])
    }

    /// Invalidates all signed URLs that the API has sent.
    pub fn expire_urls(&self) {
        self.state().signed_urls.clear();
    }

    /// Starts the next application cycle, which has another identity, export and run.
    pub fn start_next_cycle(&self) {
        let mut state = self.state();
        state.cycle += 1;
        (state.started, state.checks) = (None, 0);
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

    /// Adds a response that the store sends instead of its own. Several are sent in this order. A request with an invalid
    /// URL is refused all the same.
    pub fn next_store_response(
        &self,
        respond: impl Fn(&Request, &StoredFile) -> Vec<Action> + Send + 'static,
    ) -> &Self {
        self.state().store_events.push_back(StoreEvent::Respond(Box::new(respond)));
        self
    }

    /// Adds an error of the store.
    pub fn next_store_error(&self, status: u16, code: &str) -> &Self {
        let response = error_response(status, code);
        self.next_store_response(move |_, _| vec![Action::Send(response.clone())])
    }

    /// Adds a response of the store that is cut after this number of bytes of its body.
    pub fn cut_next_download_after(&self, body_length: usize) -> &Self {
        self.next_store_response(move |request, file| {
            vec![Action::Send(cut(&respond_as_signed(request, file), body_length)), Action::Close]
        })
    }

    /// Replaces the file in the store at the next request.
    pub fn replace_file_at_next_request(&self, file: StoredFile) -> &Self {
        self.state().store_events.push_back(StoreEvent::Replace(file));
        self
    }

    /// Responds with 404 to the next checks of a run.
    pub fn hide_run_for(&self, checks: usize) -> &Self {
        self.state().not_found = checks;
        self
    }

    /// Returns the requests to the API.
    pub fn api_requests(&self) -> Vec<wiremock::Request> {
        self.runtime.block_on(self.api.received_requests()).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for StandIn {
    /// Checks that the API received no secret but the key, whatever the test was about. The store checks its own requests.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
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

struct Api(Arc<Mutex<State>>);

impl Respond for Api {
    fn respond(&self, request: &wiremock::Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        if let Some(response) = state.api_responses.pop_front() {
            return response;
        }
        let response = state.api(request);
        state.config.remaining_calls = state.config.remaining_calls.saturating_sub(1);
        response
            .append_header("X-RateLimit-Limit", "5000")
            .append_header("X-RateLimit-Remaining", state.config.remaining_calls.to_string().as_str())
    }
}

impl State {
    fn api(&mut self, request: &wiremock::Request) -> ResponseTemplate {
        if request.headers.get("x-api-key").is_none_or(|key| key != API_KEY) {
            return ResponseTemplate::new(401);
        }
        let path: Vec<&str> = request.url.path().trim_start_matches("/api/v1/").split('/').collect();
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["user_identities"]) => json_response(self.identities_json()),
            ("GET", ["exports"]) => json_response(exports_of(&self.cycles())),
            ("GET", ["user_identities", identity, "exports"]) => match self.find_identity(identity) {
                Ok(cycle) => json_response(exports_of(&[cycle])),
                Err(response) => *response,
            },
            ("GET", ["user_identities", identity, "export_files"]) => match self.find_identity(identity) {
                Ok(cycle) => json_response(self.recent_runs(cycle)),
                Err(response) => *response,
            },
            ("POST", ["user_identities", identity, "exports", export, "export_files"]) => {
                match self.find_identity(identity) {
                    Ok(cycle) => {
                        find_export(&[cycle], export, None).map_or_else(not_found, |export| self.start(export))
                    }
                    Err(response) => *response,
                }
            }
            ("GET", ["exports", export, "export_files", run]) => {
                find_export(&self.cycles(), export, Some(run)).map_or_else(not_found, |export| self.check(export))
            }
            _ => not_found(),
        }
    }

    /// Returns the identities of the user by their cycles.
    fn cycles(&self) -> Vec<Cycle> {
        [&CYCLES[..=self.cycle], &[PHARMCAS]].concat()
    }

    fn identities_json(&self) -> Value {
        let identities: Vec<Value> = self.cycles().into_iter().map(Cycle::identity_json).collect();
        identities_json(&identities)
    }

    fn find_identity(&self, id: &str) -> Result<Cycle, Box<ResponseTemplate>> {
        let cycle = self.cycles().into_iter().find(|cycle| cycle.identity.to_string() == id);
        cycle.ok_or_else(|| Box::new(message_response(404, &format!("User identity '{id}' not found."))))
    }

    fn start(&mut self, export: Export) -> ResponseTemplate {
        let status = if self.started.is_some() { 200 } else { 201 };
        self.started.get_or_insert_with(Instant::now);
        ResponseTemplate::new(status).set_body_json(run_of_export_json(export.run, export.id, "Queued", None))
    }

    /// Returns the recent runs of an identity, in no order: one of each export, and older ones of its first export.
    fn recent_runs(&self, cycle: Cycle) -> Value {
        let status = self.config.statuses.get(self.checks, Duration::ZERO);
        let mut runs = vec![recent_run_json(cycle.run - 9, cycle.export, "Available")];
        runs.extend(cycle.exports().iter().map(|export| recent_run_json(export.run, export.id, status)));
        runs.push(recent_run_json(cycle.run - 5, cycle.export, "Failed"));
        json!({ "href": format!("/api/v1/user_identities/{}/export_files", cycle.identity), "export_files": runs })
    }

    fn check(&mut self, export: Export) -> ResponseTemplate {
        if self.not_found > 0 {
            self.not_found -= 1;
            return not_found();
        }
        let since_start = self.started.get_or_insert_with(Instant::now).elapsed();
        let status = self.config.statuses.get(self.checks, since_start).to_owned();
        self.checks += 1;
        let letters: String = status.to_lowercase().chars().filter(char::is_ascii_alphabetic).collect();
        let url = ["available", "successwitherrors"].contains(&letters.as_str()).then(|| self.sign());
        json_response(run_of_export_json(export.run, export.id, &status, url.as_deref()))
    }

    /// Returns a new signed URL like the sample in WebAdMIT's reference.
    fn sign(&mut self) -> String {
        let seed = format!("{:?} {} {}", Instant::now(), self.signed_urls.len(), self.store_url);
        let digest: String = Sha256::digest(seed)[..12].iter().map(|byte| format!("{byte:02X}")).collect();
        let signature = format!("{SIGNATURE}{digest}");
        self.signed_urls.push(SignedUrl {
            signature: signature.clone(),
            remaining_requests: self.config.requests_per_url,
            issued: Instant::now(),
        });

        let expiry = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + self.config.url_lifetime;
        let expiry = if self.config.announces_url_expiry { expiry.as_secs() } else { 1_425_359_248 };
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        format!(
            "{}/export_files/reports/000/074/780/9f86d081884c7d65_original.txt?AWSAccessKeyId=AKIDMADEUP&Expires={expiry}\
             &Signature={signature}%3D&response-content-disposition={}&response-content-type={}",
            self.store_url,
            encode(&self.config.content_disposition),
            encode(&self.config.content_type),
        )
    }

    fn store(&mut self, request: &Request) -> Vec<Action> {
        let signature = query_parameter(request, "Signature").unwrap_or_default();
        let lifetime = self.config.url_lifetime;
        let is_valid = |url: &SignedUrl| {
            format!("{}=", url.signature) == signature && url.issued.elapsed() <= lifetime && url.remaining_requests > 0
        };
        let Some(url) = self.signed_urls.iter_mut().find(|url| is_valid(url)) else {
            return vec![Action::Send(error_response(403, "AccessDenied"))];
        };
        url.remaining_requests -= 1;

        match self.store_events.pop_front() {
            Some(StoreEvent::Respond(respond)) => return respond(request, &self.config.file),
            Some(StoreEvent::Replace(file)) => self.config.file = file,
            None => {}
        }
        let bytes = respond_as_signed(request, &self.config.file);
        match self.config.bytes_per_second {
            None => vec![Action::Send(bytes)],
            Some(bytes_per_second) => {
                vec![Action::Throttle { bytes, bytes_per_second, until_requests: usize::MAX }]
            }
        }
    }
}

/// Returns the store's response with the headers that the signed URL asks for.
fn respond_as_signed(request: &Request, file: &StoredFile) -> Vec<u8> {
    let content_disposition = query_parameter(request, "response-content-disposition").unwrap_or_default();
    let content_type = query_parameter(request, "response-content-type").unwrap_or_default();
    let headers = [("Content-Disposition", content_disposition.as_str()), ("Content-Type", content_type.as_str())];
    let headers: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    file.respond(request, &headers)
}

fn query_parameter(request: &Request, name: &str) -> Option<String> {
    let (_, query) = request.target.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| *known == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

fn exports_of(cycles: &[Cycle]) -> Value {
    let exports = cycles.iter().flat_map(|cycle| cycle.exports());
    exports_json(&exports.map(|export| export_json(export.id, export.name)).collect::<Vec<_>>())
}

fn find_export(cycles: &[Cycle], id: &str, run: Option<&str>) -> Option<Export> {
    let mut exports = cycles.iter().flat_map(|cycle| cycle.exports());
    exports.find(|export| export.id.to_string() == id && run.is_none_or(|run| export.run.to_string() == run))
}

fn json_response(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn message_response(status: u16, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "message": message }))
}

fn not_found() -> ResponseTemplate {
    message_response(404, "Not Found")
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

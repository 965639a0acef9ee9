//! A stand-in for WebAdMIT and for the store that holds its files. All of its data is made up.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Respond, ResponseTemplate};

use super::canary;
use super::wire::{self, Act, Request, Wire};

/// The key that the stand-in knows.
pub const KEY: &str = "c0ffee00c0ffee11c0ffee22c0ffee33";
/// What every signature begins with, so that no test can overlook one.
pub const SIGNATURE: &str = "Signature0Canary";
pub const EXPORT: u64 = 86446;
pub const RUN: u64 = 74780;
pub const IDENTITY: u64 = 305;
/// What the export is called, in every cycle.
pub const EXPORT_NAME: &str = "Nightly Applicants";

/// The ids that an office has in one application cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    pub years: &'static str,
    pub identity: u64,
    pub export: u64,
    pub run: u64,
}

/// The cycles of the office. The stand-in begins in the second one; all ids are others in the third.
pub const CYCLES: [Cycle; 3] = [
    Cycle { years: "2025 - 2026", identity: 290, export: 80112, run: 61007 },
    Cycle { years: "2026 - 2027", identity: IDENTITY, export: EXPORT, run: RUN },
    Cycle { years: "2027 - 2028", identity: 340, export: 91203, run: 88110 },
];

/// The same user in another office, since the second cycle.
const OTHER_OFFICE: Cycle = Cycle { years: CYCLES[1].years, identity: 311, export: 95001, run: 95501 };

/// An export that an identity has, and a run of it.
#[derive(Clone, Copy)]
struct Offer {
    export: u64,
    name: &'static str,
    run: u64,
}

impl Cycle {
    /// The exports of its identity.
    fn offers(self) -> Vec<Offer> {
        let Self { export, run, .. } = self;
        match self {
            OTHER_OFFICE => vec![Offer { export, name: "Pharmacy Applicants", run }],
            _ => vec![
                Offer { export, name: EXPORT_NAME, run },
                Offer { export: export + 1, name: "Interviews of the Week", run: run + 7 },
            ],
        }
    }
}

/// How the status of a run goes on.
#[derive(Clone)]
pub enum Course {
    /// By the number of checks: the first check sees the first status, and the last one stays.
    Checks(Vec<String>),
    /// By the time since the start of the run.
    Times(Vec<(Duration, String)>),
}

impl Course {
    pub fn by_checks(statuses: &[&str]) -> Self {
        Self::Checks(statuses.iter().map(|&status| status.to_owned()).collect())
    }

    pub fn by_time(statuses: &[(Duration, &str)]) -> Self {
        Self::Times(statuses.iter().map(|&(time, status)| (time, status.to_owned())).collect())
    }

    fn status(&self, checks: usize, since_start: Duration) -> &str {
        match self {
            Self::Checks(statuses) => &statuses[checks.min(statuses.len() - 1)],
            Self::Times(statuses) => {
                let reached = statuses.iter().rev().find(|(time, _)| *time <= since_start);
                reached.map_or(&statuses[0].1, |(_, status)| status)
            }
        }
    }
}

/// What the store does with one request.
pub type StoreAct = Box<dyn Fn(&Request, &File) -> Vec<Act> + Send>;

/// What happens at the next request to the store.
enum Next {
    Act(StoreAct),
    /// From then on, there is this file.
    Replace(File),
}

/// The file in the store.
#[derive(Clone, Debug)]
pub struct File {
    pub bytes: Vec<u8>,
    /// Its `ETag`, as it is sent.
    pub etag: Option<String>,
}

impl File {
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), etag: Some(format!("\"{}\"", &sha256_of(bytes)[..32])) }
    }
}

/// How a stand-in is made.
pub struct Builder {
    address: IpAddr,
    course: Course,
    file: File,
    disposition: String,
    content_type: String,
    url_lives: Duration,
    url_serves: usize,
    url_says_its_expiry: bool,
    calls_left: u64,
    throttle: Option<u64>,
}

/// The stand-in. Its servers end when it is dropped.
pub struct StandIn {
    state: Arc<Mutex<State>>,
    api: MockServer,
    store: Wire,
    runtime: tokio::runtime::Runtime,
}

struct State {
    cycle: usize,
    course: Course,
    file: File,
    disposition: String,
    content_type: String,
    url_lives: Duration,
    url_serves: usize,
    url_says_its_expiry: bool,
    calls_left: u64,
    throttle: Option<u64>,
    store_url: String,
    started: Option<Instant>,
    not_found: usize,
    checks: usize,
    /// Signatures, for how many more requests each is good, and when it was issued.
    issued: Vec<(String, usize, Instant)>,
    next_answers: VecDeque<ResponseTemplate>,
    next_acts: VecDeque<Next>,
}

impl Builder {
    pub fn course(self, course: Course) -> Self {
        Self { course, ..self }
    }

    /// The address of this machine at which both servers are, where it is not loopback.
    pub fn address(self, address: IpAddr) -> Self {
        Self { address, ..self }
    }

    pub fn file(self, file: File) -> Self {
        Self { file, ..self }
    }

    /// What the signed URL has the store say as `Content-Disposition`.
    pub fn disposition(self, disposition: &str) -> Self {
        Self { disposition: disposition.to_owned(), ..self }
    }

    pub fn content_type(self, content_type: &str) -> Self {
        Self { content_type: content_type.to_owned(), ..self }
    }

    pub fn url_lives(self, url_lives: Duration) -> Self {
        Self { url_lives, ..self }
    }

    /// For how many requests a signed URL is good.
    pub fn url_serves(self, url_serves: usize) -> Self {
        Self { url_serves, ..self }
    }

    /// The signed URLs say when they expire, in whole seconds. Otherwise they name a time in the past, as the vendor's sample
    /// does.
    pub fn url_says_its_expiry(self) -> Self {
        Self { url_says_its_expiry: true, ..self }
    }

    /// What `X-RateLimit-Remaining` begins with. So many that nobody has to wait, unless a test says otherwise.
    pub fn calls_left(self, calls_left: u64) -> Self {
        Self { calls_left, ..self }
    }

    /// How many bytes per second the store sends.
    pub fn throttle(self, bytes_per_second: u64) -> Self {
        Self { throttle: Some(bytes_per_second), ..self }
    }

    pub fn start(self) -> StandIn {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let state = Arc::new(Mutex::new(State {
            cycle: 1,
            course: self.course,
            file: self.file,
            disposition: self.disposition,
            content_type: self.content_type,
            url_lives: self.url_lives,
            url_serves: self.url_serves,
            url_says_its_expiry: self.url_says_its_expiry,
            calls_left: self.calls_left,
            throttle: self.throttle,
            store_url: String::new(),
            started: None,
            not_found: 0,
            checks: 0,
            issued: Vec::new(),
            next_answers: VecDeque::new(),
            next_acts: VecDeque::new(),
        }));
        let for_store = Arc::clone(&state);
        let store = Wire::start_at(self.address, move |request| for_store.lock().unwrap().store(request));
        state.lock().unwrap().store_url = store.url();
        let listener = TcpListener::bind((self.address, 0)).unwrap();
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
            course: Course::by_checks(&["Available"]),
            file: File::new(&made_up_applicants(40)),
            disposition: "attachment; filename=Test-API-Export.csv".to_owned(),
            content_type: "text/csv;charset=iso-8859-1".to_owned(),
            url_lives: Duration::from_secs(30),
            url_serves: usize::MAX,
            url_says_its_expiry: false,
            calls_left: 100_000_000,
            throttle: None,
        }
    }

    /// A stand-in whose run is available at once.
    pub fn start() -> Self {
        Self::builder().start()
    }

    pub fn api_url(&self) -> String {
        self.api.uri()
    }

    pub fn store(&self) -> &Wire {
        &self.store
    }

    pub fn file(&self) -> Vec<u8> {
        self.state().file.bytes.clone()
    }

    /// Puts another version of the file into the store.
    pub fn replace_file(&self, file: File) {
        self.state().file = file;
    }

    /// From now on, no URL that was handed out before is valid.
    pub fn expire_urls(&self) {
        self.state().issued.clear();
    }

    /// Turns to the next application cycle: there is an identity more, and its exports and runs have ids of their own.
    pub fn turn_to_next_cycle(&self) {
        let mut state = self.state();
        state.cycle += 1;
        (state.started, state.checks) = (None, 0);
    }

    /// The next call of the API is answered so, and not as it would be.
    pub fn api_next(&self, answer: ResponseTemplate) -> &Self {
        self.state().next_answers.push_back(answer);
        self
    }

    /// The next request to the store is answered so, and not as it would be. A request with a URL that is not valid any
    /// more is refused all the same.
    pub fn store_next(&self, act: impl Fn(&Request, &File) -> Vec<Act> + Send + 'static) -> &Self {
        self.state().next_acts.push_back(Next::Act(Box::new(act)));
        self
    }

    /// From the next request on, another version of the file is in the store.
    pub fn store_replaces(&self, file: File) -> &Self {
        self.state().next_acts.push_back(Next::Replace(file));
        self
    }

    /// The next answer of the store is what it should be, but is cut after so many bytes of its body.
    pub fn store_cuts_after(&self, bytes: usize) -> &Self {
        self.store_next(move |request, file| {
            let whole = served(request, file);
            let end = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4 + bytes;
            vec![Act::Send(whole[..end.min(whole.len())].to_vec()), Act::Close]
        })
    }

    /// So many checks after the start of a run are answered with 404.
    pub fn appears_after(&self, checks: usize) -> &Self {
        self.state().not_found = checks;
        self
    }

    /// The calls that came to the API: method, path and headers.
    pub fn api_requests(&self) -> Vec<wiremock::Request> {
        self.runtime.block_on(self.api.received_requests()).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for StandIn {
    /// Whatever a test was about: the key came to the API alone, and no signature came back to it. (The store's own requests
    /// are looked at as it ends.)
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for request in self.api_requests() {
            let header = |(name, value): (&wiremock::http::HeaderName, &wiremock::http::HeaderValue)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let target = format!("{}?{}", request.url.path(), request.url.query().unwrap_or_default());
            canary::check(&Request {
                method: request.method.to_string(),
                target,
                headers: request.headers.iter().map(header).collect(),
                body: request.body.clone(),
            });
        }
    }
}

/// The API's side.
struct Api(Arc<Mutex<State>>);

impl Respond for Api {
    fn respond(&self, request: &wiremock::Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        // A scripted answer is sent as it is, with no header of ours.
        if let Some(scripted) = state.next_answers.pop_front() {
            return scripted;
        }
        let answer = state.api(request);
        state.calls_left = state.calls_left.saturating_sub(1);
        answer
            .append_header("X-RateLimit-Limit", "5000")
            .append_header("X-RateLimit-Remaining", state.calls_left.to_string().as_str())
    }
}

impl State {
    fn api(&mut self, request: &wiremock::Request) -> ResponseTemplate {
        if request.headers.get("x-api-key").is_none_or(|key| key != KEY) {
            return ResponseTemplate::new(401);
        }
        let path: Vec<&str> = request.url.path().trim_start_matches("/api/v1/").split('/').collect();
        let is = |text: &str, id: u64| text == id.to_string();
        let mut cycles = CYCLES[..=self.cycle].to_vec();
        cycles.push(OTHER_OFFICE);
        let of = |identity: &str| cycles.iter().find(|cycle| is(identity, cycle.identity)).copied();
        let no_identity = |identity: &str| not_found(&format!("User identity '{identity}' not found."));
        let ok = |body: Value| ResponseTemplate::new(200).set_body_json(body);
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["user_identities"]) => ok(identities_json_of(&cycles)),
            ("GET", ["exports"]) => ok(exports_json_of(&cycles)),
            ("GET", ["user_identities", identity, "exports"]) => {
                of(identity).map_or_else(|| no_identity(identity), |cycle| ok(exports_json_of(&[cycle])))
            }
            ("GET", ["user_identities", identity, "export_files"]) => {
                of(identity).map_or_else(|| no_identity(identity), |cycle| ok(self.files_json(cycle)))
            }
            ("GET", ["exports", export, "export_files", run]) => {
                let mut offers = cycles.into_iter().flat_map(Cycle::offers);
                let offer = offers.find(|offer| is(export, offer.export) && is(run, offer.run));
                offer.map_or_else(|| not_found("Not Found"), |offer| self.check(offer))
            }
            ("POST", ["user_identities", identity, "exports", export, "export_files"]) => match of(identity) {
                Some(cycle) => {
                    let offer = cycle.offers().into_iter().find(|offer| is(export, offer.export));
                    offer.map_or_else(|| not_found("Not Found"), |offer| self.start(offer))
                }
                None => no_identity(identity),
            },
            _ => not_found("Not Found"),
        }
    }

    fn start(&mut self, offer: Offer) -> ResponseTemplate {
        let status = if self.started.is_some() { 200 } else { 201 };
        self.started.get_or_insert_with(Instant::now);
        ResponseTemplate::new(status).set_body_json(run_json_of(offer, "Queued", None))
    }

    /// The recent files of an identity, in no order: older ones of its first export, and a run of each export.
    fn files_json(&self, cycle: Cycle) -> Value {
        let status = self.course.status(self.checks, Duration::ZERO);
        let file = |id: u64, export: u64, status: &str| {
            let href = format!("/api/v1/exports/{export}/export_files/{id}");
            json!({ "id": id, "href": href, "export_id": export, "status": status })
        };
        let mut files = vec![file(cycle.run - 9, cycle.export, "Available")];
        files.extend(cycle.offers().iter().map(|offer| file(offer.run, offer.export, status)));
        files.push(file(cycle.run - 5, cycle.export, "Failed"));
        json!({ "href": format!("/api/v1/user_identities/{}/export_files", cycle.identity), "export_files": files })
    }

    fn check(&mut self, offer: Offer) -> ResponseTemplate {
        if self.not_found > 0 {
            self.not_found -= 1;
            return not_found("Not Found");
        }
        let since_start = self.started.get_or_insert_with(Instant::now).elapsed();
        let status = self.course.status(self.checks, since_start).to_owned();
        self.checks += 1;
        let letters: String = status.to_lowercase().chars().filter(char::is_ascii_alphabetic).collect();
        let url = ["available", "successwitherrors"].contains(&letters.as_str()).then(|| self.sign());
        ResponseTemplate::new(200).set_body_json(run_json_of(offer, &status, url))
    }

    /// A URL as the vendor's sample shows it, good for a while.
    fn sign(&mut self) -> String {
        let seed = format!("{:?} {} {}", Instant::now(), self.issued.len(), self.store_url);
        let digest: String = Sha256::digest(seed)[..12].iter().map(|byte| format!("{byte:02X}")).collect();
        let signature = format!("{SIGNATURE}{digest}");
        self.issued.push((signature.clone(), self.url_serves, Instant::now()));
        let expiry = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + self.url_lives;
        let expiry = if self.url_says_its_expiry { expiry.as_secs() } else { 1_425_359_248 };
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        format!(
            "{}/export_files/reports/000/074/780/9f86d081884c7d65_original.txt?AWSAccessKeyId=AKIDMADEUP&Expires={expiry}\
             &Signature={signature}%3D&response-content-disposition={}&response-content-type={}",
            self.store_url,
            encode(&self.disposition),
            encode(&self.content_type),
        )
    }

    fn store(&mut self, request: &Request) -> Vec<Act> {
        let signature = parameter(request, "Signature").unwrap_or_default();
        let issued = self.issued.iter_mut().find(|(known, ..)| format!("{known}=") == signature);
        match issued {
            None => return vec![Act::Send(refusal(403, "AccessDenied"))],
            Some((.., at)) if at.elapsed() > self.url_lives => return vec![Act::Send(refusal(403, "AccessDenied"))],
            Some((_, requests, _)) if *requests == 0 => return vec![Act::Send(refusal(403, "AccessDenied"))],
            Some((_, requests, _)) => *requests -= 1,
        }
        match self.next_acts.pop_front() {
            Some(Next::Act(act)) => return act(request, &self.file),
            Some(Next::Replace(file)) => self.file = file,
            None => {}
        }
        let bytes = served(request, &self.file);
        match self.throttle {
            None => vec![Act::Send(bytes)],
            Some(per_second) => {
                vec![Act::Slow(bytes, per_second, usize::MAX)]
            }
        }
    }
}

/// What the store answers, with the headers that the URL asks for.
fn served(request: &Request, file: &File) -> Vec<u8> {
    let disposition = parameter(request, "response-content-disposition").unwrap_or_default();
    let content_type = parameter(request, "response-content-type").unwrap_or_default();
    let headers = [("Content-Disposition", disposition.as_str()), ("Content-Type", content_type.as_str())];
    let headers: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    answer(request, file, &headers)
}

/// What a store answers: the file, the part of it that was asked for, or why not.
pub fn answer(request: &Request, file: &File, headers: &[(&str, &str)]) -> Vec<u8> {
    let total = file.bytes.len();
    let mut headers = [&[("Accept-Ranges", "bytes"), ("Server", "AmazonS3")], headers].concat();
    if let Some(etag) = &file.etag {
        headers.push(("ETag", etag));
    }
    if request.header("if-match").is_some_and(|tag| Some(tag) != file.etag.as_deref()) {
        return refusal(412, "PreconditionFailed");
    }
    let Some(range) = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return wire::response(200, &headers, &file.bytes);
    };
    let end = range.1.parse::<usize>().map_or(total, |last| total.min(last + 1));
    match range.0.parse::<usize>() {
        Ok(first) if first < end => {
            let range = format!("bytes {first}-{}/{total}", end - 1);
            headers.push(("Content-Range", &range));
            wire::response(206, &headers, &file.bytes[first..end])
        }
        _ => refusal(416, "InvalidRange"),
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a store says no.
pub fn refusal(status: u16, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>Made up</Message></Error>"
    );
    wire::response(status, &[("Content-Type", "application/xml")], body.as_bytes())
}

/// An API on the wire that does this with the first request, and from then on says that the list is empty.
pub fn api_that_first(acts: Vec<Act>) -> Wire {
    let first = Mutex::new(Some(acts));
    Wire::start(move |_| {
        let empty = wire::response(200, &[], run_json("Empty List", None).to_string().as_bytes());
        first.lock().unwrap().take().unwrap_or_else(|| vec![Act::Send(empty)])
    })
}

/// The object that the API answers with. Its URL, if it has one, is signed, so that no test can overlook where that goes.
pub fn run_json(status: &str, url: Option<String>) -> Value {
    let signed = url.map(|url| match url.trim_end() {
        "" => url,
        bare => format!("{bare}?Signature={SIGNATURE}OfATest0123{}", &url[bare.len()..]),
    });
    run_json_of(CYCLES[1].offers()[0], status, signed)
}

fn run_json_of(Offer { export, run, .. }: Offer, status: &str, url: Option<String>) -> Value {
    json!({ "export_files": {
        "id": run,
        "href": format!("/api/v1/exports/{export}/export_files/{run}"),
        "export_id": export,
        "status": status,
        "download_url": url,
    }})
}

/// An identity as the API lists it.
pub fn identity_json(id: u64, association: &str, organization: &str, cycle: &str) -> Value {
    json!({
        "id": id,
        "type": "Admissions User",
        "association": association,
        "institution": "Demo University",
        "organization": organization,
        "cycle": cycle,
    })
}

/// An export as the API lists it.
pub fn export_json(id: u64, name: &str) -> Value {
    json!({
        "id": id,
        "name": name,
        "list_type": "all",
        "format": "Comma-Separated Values",
        "mime_type": "text/csv;charset=iso-8859-1",
    })
}

/// The identities that the stand-in has at first.
pub fn identities_json() -> Value {
    identities_json_of(&[CYCLES[0], CYCLES[1], OTHER_OFFICE])
}

/// The exports of its identity in the cycle in which it begins.
pub fn exports_json() -> Value {
    exports_json_of(&[CYCLES[1]])
}

fn identities_json_of(cycles: &[Cycle]) -> Value {
    let identities: Vec<Value> = cycles
        .iter()
        .map(|&cycle| {
            let (association, organization) = match cycle {
                OTHER_OFFICE => ("PharmCAS", "Demo College of Pharmacy"),
                _ => ("SOPHAS", "Demo School of Public Health"),
            };
            identity_json(cycle.identity, association, organization, cycle.years)
        })
        .collect();
    json!({ "href": "/api/v1/user_identities", "user_identities": identities })
}

fn exports_json_of(cycles: &[Cycle]) -> Value {
    let offers = cycles.iter().copied().flat_map(Cycle::offers);
    let exports: Vec<Value> = offers.map(|offer| export_json(offer.export, offer.name)).collect();
    json!({ "href": "/api/v1/exports", "exports": exports })
}

fn not_found(message: &str) -> ResponseTemplate {
    ResponseTemplate::new(404).set_body_json(json!({ "message": message }))
}

fn parameter(request: &Request, name: &str) -> Option<String> {
    let (_, query) = request.target.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| *known == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// A CSV file in ISO-8859-1, as WebAdMIT sends them, with applicants that nobody has ever met.
pub fn made_up_applicants(number: usize) -> Vec<u8> {
    const FIRST: [&str; 6] = ["Zoë", "Ángel", "Jürgen", "Noémie", "Bjørn", "Ada"];
    const LAST: [&str; 5] = ["Muster", "Exámple", "Naïve", "Fictitious", "Størk"];
    let mut text = String::from("cas_id,last_name,first_name,program,gpa\r\n");
    for number in 0..number {
        let (first, last) = (FIRST[number % FIRST.len()], LAST[number % LAST.len()]);
        let (whole, tenth) = (2 + number % 2, number * 7 % 10);
        text.push_str(&format!("{:09},{last},{first},Made-up Public Health,{whole}.{tenth}\r\n", 900_000_000 + number));
    }
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

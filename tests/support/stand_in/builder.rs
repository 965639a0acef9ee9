//! The configuration of a stand-in, of its runs, and of its PDF Manager batches.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wiremock::matchers::any;
use wiremock::{Mock, MockServer};

use super::api::Api;
use super::runs::{Batch, Progress, Run, Statuses};
use super::store::StoreFile;
use super::{CYCLES, Cycle, PHARMCAS, StandIn, State};
use crate::support::json::{IDENTITY_ID, PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, many_run_id, pdf_zip_id};
use crate::support::server::Server;
use crate::support::store::{FILENAME, StoredFile, applicants_csv, applicants_zip};

/// The configuration of a stand-in. The settings of a run (statuses, file and its headers, rate) are those of every run that
/// has none of its own, in whatever order they are set.
#[derive(Clone)]
pub struct Builder {
    pub(super) url_lifetime: Duration,
    pub(super) requests_per_url: usize,
    pub(super) announces_url_expiry: bool,
    pub(super) remaining_calls: u64,
    /// The status of all responses about PDF Manager, if the user must not use it.
    pub(super) pdf_manager_error: Option<u16>,
    address: IpAddr,
    run: RunBuilder,
    exports: Vec<Export>,
    templates: Vec<Template>,
}

#[derive(Clone)]
struct Export {
    identity: u64,
    id: u64,
    name: String,
    run: u64,
    settings: RunBuilder,
}

#[derive(Clone)]
struct Template {
    id: u64,
    name: String,
    batch: u64,
    settings: BatchBuilder,
}

impl Default for Builder {
    fn default() -> Self {
        let run = RunBuilder::default()
            .statuses(&["Available"])
            .file(applicants_csv(40))
            .content_disposition(&format!("attachment; filename={FILENAME}"))
            .content_type("text/csv;charset=iso-8859-1");
        let exports = CYCLES.iter().chain([&PHARMCAS]).flat_map(Cycle::exports);
        let exports = exports.map(|(identity, id, name, run)| Export {
            identity,
            id,
            name: name.to_owned(),
            run,
            settings: RunBuilder::default(),
        });
        let exports = exports.collect();
        let builder = Self {
            url_lifetime: Duration::from_secs(30),
            requests_per_url: usize::MAX,
            announces_url_expiry: false,
            remaining_calls: 100_000_000,
            pdf_manager_error: None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            run,
            exports,
            templates: Vec::new(),
        };
        builder.pdf_template(PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, PDF_BATCH_ID, |batch| batch)
    }
}

impl Builder {
    /// Sets the statuses of the runs. Each check sees the next one, and the last one stays. A list counts as one check of each
    /// run in it.
    pub fn statuses(self, statuses: &[&str]) -> Self {
        Self { run: self.run.statuses(statuses), ..self }
    }

    /// Sets the statuses of the runs by the time since the start of each.
    pub fn statuses_by_time(self, statuses: &[(Duration, &str)]) -> Self {
        Self { run: self.run.statuses_by_time(statuses), ..self }
    }

    pub fn file(self, file: impl Into<StoredFile>) -> Self {
        Self { run: self.run.file(file), ..self }
    }

    pub fn content_disposition(self, content_disposition: &str) -> Self {
        Self { run: self.run.content_disposition(content_disposition), ..self }
    }

    pub fn content_type(self, content_type: &str) -> Self {
        Self { run: self.run.content_type(content_type), ..self }
    }

    /// Limits the rate of each response of the store.
    pub fn throttle(self, bytes_per_second: u64) -> Self {
        Self { run: self.run.throttle(bytes_per_second), ..self }
    }

    /// Adds an export of [`IDENTITY_ID`] with one run. Replaces the one with the same id.
    pub fn export(mut self, id: u64, name: &str, run: u64, configure: impl FnOnce(RunBuilder) -> RunBuilder) -> Self {
        let settings = configure(RunBuilder::default());
        let export = Export { identity: IDENTITY_ID, id, name: name.to_owned(), run, settings };
        match self.exports.iter_mut().find(|export| export.id == id) {
            Some(existing) => *existing = export,
            None => self.exports.push(export),
        }
        self
    }

    /// Adds the exports 1 to `number`, named `Export 1` and so on. Each has a run, [`many_run_id`], with a small file of its
    /// own, `export-1.csv` and so on.
    pub fn many_exports(self, number: u64) -> Self {
        (1..=number).fold(self, |builder, id| {
            let file = applicants_csv(usize::try_from(id).unwrap());
            builder.export(id, &format!("Export {id}"), many_run_id(id), |run| {
                run.file(file).filename(&format!("export-{id}.csv"))
            })
        })
    }

    /// Adds a PDF Manager template of [`IDENTITY_ID`] with one batch. Replaces the one with the same id.
    pub fn pdf_template(
        mut self,
        id: u64,
        name: &str,
        batch: u64,
        configure: impl FnOnce(BatchBuilder) -> BatchBuilder,
    ) -> Self {
        let settings = configure(BatchBuilder::default());
        let template = Template { id, name: name.to_owned(), batch, settings };
        match self.templates.iter_mut().find(|template| template.id == id) {
            Some(existing) => *existing = template,
            None => self.templates.push(template),
        }
        self
    }

    /// Responds with this error, 403 or 404, to all requests about PDF Manager.
    pub fn without_pdf_manager(self, status: u16) -> Self {
        Self { pdf_manager_error: Some(status), ..self }
    }

    /// Sets the address of this machine on which both servers listen. The default is loopback.
    pub fn address(self, address: IpAddr) -> Self {
        Self { address, ..self }
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

    pub fn start(self) -> StandIn {
        let address = self.address;
        let state = Arc::new(Mutex::new(self.into_state()));

        let for_store = Arc::clone(&state);
        let store = Server::start_at(address, move |request| for_store.lock().unwrap().store(request));
        state.lock().unwrap().store_url = store.url();

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = TcpListener::bind((address, 0)).unwrap();
        let api = runtime.block_on(MockServer::builder().listener(listener).start());
        state.lock().unwrap().api_url = api.uri();
        let responder = Api(Arc::clone(&state));
        runtime.block_on(Mock::given(any()).respond_with(responder).named("WebAdMIT").mount(&api));
        StandIn { state, api, store, runtime }
    }

    fn into_state(mut self) -> State {
        let mut files = BTreeMap::new();
        let mut add_file = |id: u64, file: StoreFile| {
            assert!(files.insert(id, file).is_none(), "two runs or zips have the id {id}");
        };

        let mut runs = Vec::new();
        for Export { identity, id, name, run, settings } in std::mem::take(&mut self.exports) {
            let settings = settings.or(&self.run);
            add_file(run, settings.store_file(run));
            let progress = Progress::new(settings.statuses.unwrap());
            runs.push(Run {
                identity,
                export: id,
                export_name: name,
                id: run,
                progress,
                is_listed: !settings.is_hidden,
            });
        }

        let mut batches = Vec::new();
        for Template { id, name, batch, mut settings } in std::mem::take(&mut self.templates) {
            if settings.zips.is_empty() {
                settings = settings.zip(&format!("{}.zip", name.replace(' ', "-")), applicants_zip(20));
            }
            for (index, zip) in settings.zips.iter_mut().enumerate() {
                zip.id = pdf_zip_id(batch, index);
                add_file(zip.id, zip.store_file(self.run.bytes_per_second));
            }
            let statuses = settings.statuses.unwrap_or_else(|| self.run.statuses.as_ref().unwrap().in_snake_case());
            batches.push(Batch {
                template: id,
                template_name: name,
                id: batch,
                progress: Progress::new(statuses),
                is_listed: !settings.is_hidden,
                updated_at: settings.updated_at.unwrap_or_else(|| "2016-01-05T16:51:00Z".to_owned()),
                zips: settings.zips,
                hrefs: settings.hrefs,
                checks_without_hrefs: settings.checks_without_hrefs,
            });
        }

        State {
            config: self,
            api_url: String::new(),
            store_url: String::new(),
            cycle: 1,
            runs,
            batches,
            not_found: 0,
            api_responses: VecDeque::new(),
            matched_api_responses: Vec::new(),
            files,
            signed_urls: Vec::new(),
            store_events: Vec::new(),
        }
    }
}

/// The settings of one run. Those that are not set come from the [`Builder`].
#[derive(Clone, Default)]
pub struct RunBuilder {
    statuses: Option<Statuses>,
    file: Option<StoredFile>,
    content_disposition: Option<String>,
    content_type: Option<String>,
    bytes_per_second: Option<u64>,
    is_hidden: bool,
}

impl RunBuilder {
    /// Sets the statuses. Each check sees the next one, and the last one stays. A list counts as a check.
    pub fn statuses(self, statuses: &[&str]) -> Self {
        Self { statuses: Some(Statuses::by_check(statuses)), ..self }
    }

    /// Sets the statuses by the time since the start of the run.
    pub fn statuses_by_time(self, statuses: &[(Duration, &str)]) -> Self {
        Self { statuses: Some(Statuses::by_time(statuses)), ..self }
    }

    pub fn file(self, file: impl Into<StoredFile>) -> Self {
        Self { file: Some(file.into()), ..self }
    }

    /// Sets the name in the `Content-Disposition`.
    pub fn filename(self, filename: &str) -> Self {
        self.content_disposition(&attachment(filename))
    }

    pub fn content_disposition(self, content_disposition: &str) -> Self {
        Self { content_disposition: Some(content_disposition.to_owned()), ..self }
    }

    pub fn content_type(self, content_type: &str) -> Self {
        Self { content_type: Some(content_type.to_owned()), ..self }
    }

    /// Limits the rate of each response of the store.
    pub fn throttle(self, bytes_per_second: u64) -> Self {
        Self { bytes_per_second: Some(bytes_per_second), ..self }
    }

    /// Leaves the run out of the list of recent runs, so that only a check shows its status.
    pub fn hidden_from_list(self) -> Self {
        Self { is_hidden: true, ..self }
    }

    fn or(self, defaults: &Self) -> Self {
        let defaults = defaults.clone();
        Self {
            statuses: self.statuses.or(defaults.statuses),
            file: self.file.or(defaults.file),
            content_disposition: self.content_disposition.or(defaults.content_disposition),
            content_type: self.content_type.or(defaults.content_type),
            bytes_per_second: self.bytes_per_second.or(defaults.bytes_per_second),
            is_hidden: self.is_hidden,
        }
    }

    fn store_file(&self, run: u64) -> StoreFile {
        StoreFile {
            path: store_path("export_files/reports", run, "txt"),
            file: self.file.clone().unwrap(),
            content_disposition: self.content_disposition.clone().unwrap(),
            content_type: self.content_type.clone().unwrap(),
            bytes_per_second: self.bytes_per_second,
        }
    }
}

/// The settings of one PDF Manager batch.
#[derive(Clone, Default)]
pub struct BatchBuilder {
    statuses: Option<Statuses>,
    is_hidden: bool,
    updated_at: Option<String>,
    zips: Vec<ZipBuilder>,
    hrefs: Option<Vec<String>>,
    checks_without_hrefs: usize,
}

impl BatchBuilder {
    /// Sets the values of `state`. Each check sees the next one, and the last one stays. A list counts as a check. The default
    /// is the statuses of the [`Builder`] in snake_case.
    pub fn statuses(self, statuses: &[&str]) -> Self {
        Self { statuses: Some(Statuses::by_check(statuses)), ..self }
    }

    /// Sets the values of `state` by the time since the start of the batch.
    pub fn statuses_by_time(self, statuses: &[(Duration, &str)]) -> Self {
        Self { statuses: Some(Statuses::by_time(statuses)), ..self }
    }

    pub fn updated_at(self, updated_at: &str) -> Self {
        Self { updated_at: Some(updated_at.to_owned()), ..self }
    }

    /// Adds a zip with this file name. The default is one zip, named like the template.
    pub fn zip(self, filename: &str, file: impl Into<StoredFile>) -> Self {
        self.zip_with(filename, file, |zip| zip)
    }

    /// Adds a zip with settings of its own.
    pub fn zip_with(
        mut self,
        filename: &str,
        file: impl Into<StoredFile>,
        configure: impl FnOnce(ZipBuilder) -> ZipBuilder,
    ) -> Self {
        self.zips.push(configure(ZipBuilder {
            id: 0,
            content_disposition: attachment(filename),
            file: file.into(),
            bytes_per_second: None,
            redirect_status: 302,
            location: "{signed-url}".to_owned(),
        }));
        self
    }

    /// Sets the `download_hrefs` that the API sends instead of those of the zips.
    pub fn hrefs(self, hrefs: &[&str]) -> Self {
        Self { hrefs: Some(hrefs.iter().map(|&href| href.to_owned()).collect()), ..self }
    }

    /// Sends no `download_hrefs` to the first checks that see a state with files.
    pub fn without_hrefs_for(self, checks: usize) -> Self {
        Self { checks_without_hrefs: checks, ..self }
    }

    /// Leaves the batch out of the list of recent batches, so that only a check shows its state.
    pub fn hidden_from_list(self) -> Self {
        Self { is_hidden: true, ..self }
    }
}

/// The settings of one zip of a batch.
#[derive(Clone)]
pub struct ZipBuilder {
    pub(super) id: u64,
    pub(super) redirect_status: u16,
    pub(super) location: String,
    content_disposition: String,
    file: StoredFile,
    bytes_per_second: Option<u64>,
}

impl ZipBuilder {
    /// Sets the status of the API's response. With 200, the response is the file itself.
    pub fn redirect_status(self, redirect_status: u16) -> Self {
        Self { redirect_status, ..self }
    }

    /// Sets the `Location` of the redirect. `{api}` becomes the URL of the API, and `{signed-url}` a signed URL of the zip.
    pub fn location(self, location: &str) -> Self {
        Self { location: location.to_owned(), ..self }
    }

    pub fn content_disposition(self, content_disposition: &str) -> Self {
        Self { content_disposition: content_disposition.to_owned(), ..self }
    }

    /// Limits the rate of each response of the store.
    pub fn throttle(self, bytes_per_second: u64) -> Self {
        Self { bytes_per_second: Some(bytes_per_second), ..self }
    }

    fn store_file(&self, bytes_per_second: Option<u64>) -> StoreFile {
        StoreFile {
            path: store_path("pdf_manager_zip_files/zips", self.id, "zip"),
            file: self.file.clone(),
            content_disposition: self.content_disposition.clone(),
            content_type: "application/zip".to_owned(),
            bytes_per_second: self.bytes_per_second.or(bytes_per_second),
        }
    }
}

fn attachment(filename: &str) -> String {
    format!("attachment; filename=\"{filename}\"")
}

/// Returns a path like the sample in WebAdMIT's reference, which has the id in groups of three digits.
fn store_path(directory: &str, id: u64, extension: &str) -> String {
    let (millions, thousands, ones) = (id / 1_000_000, id / 1000 % 1000, id % 1000);
    format!("/{directory}/{millions:03}/{thousands:03}/{ones:03}/9f86d081884c7d65_original.{extension}")
}

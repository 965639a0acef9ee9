//! Runs: starting one, and checking its status.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::json;

use super::bounded_list::BoundedList;
use super::client::{ApiClient, MAX_RESPONSE_SIZE};
use super::created;
use super::kind::{RunKind, RunRef};
use super::lists::Label;
use super::remote_file::{MAX_ZIPS, RemoteFiles};
use super::scalar::Scalar;
use super::status::Status;
use super::{CreationTime, Id, SignedUrl};
use crate::http::error::{ErrorKind, RequestError};
use crate::http::headers;

/// A response of the API about a run.
#[derive(Debug)]
pub(crate) struct RunResponse {
    pub(crate) run_id: Id,
    /// The export or the template in the response.
    pub(crate) source: Option<Source>,
    /// The status of the run.
    pub(crate) status: Status,
    /// The files, only with a status that has files.
    pub(crate) files: RemoteFiles,
    /// When the files were created. Only for a batch; for an export, the store says it.
    pub(crate) created: Option<CreationTime>,
}

/// The export or the template of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// In the vendor's sample, the id of the export differs from the requested one.
    pub(crate) id: Id,
    /// Only that of a template.
    pub(crate) name: Option<Label>,
}

impl ApiClient {
    /// Requests the status of a run: `GET /api/v1/exports/{export}/export_files/{run}`, or
    /// `GET /api/v1/user_identities/{identity}/pdf_manager_batches/{batch}`.
    ///
    /// # Errors
    ///
    /// If the response is not a success, or is about another run.
    pub(crate) async fn run_status(&self, run: &RunRef, timeout: Duration) -> Result<RunResponse, RequestError> {
        let path = match run {
            RunRef::Export { export, run } => format!("exports/{export}/export_files/{run}"),
            RunRef::PdfBatch { identity, batch } => format!("user_identities/{identity}/pdf_manager_batches/{batch}"),
        };
        let response = self.request_run(run.kind(), self.request(Method::GET, &path), timeout).await?;

        if response.run_id != run.id() {
            let noun = run.kind().run_noun();
            let detail = format!("{noun} {} instead of {noun} {}", response.run_id, run.id());
            return Err(self.error(ErrorKind::WrongRun, detail));
        }
        Ok(response)
    }

    /// Starts a run of an export or a template: `POST /api/v1/user_identities/{identity}/exports/{export}/export_files`, or
    /// `POST /api/v1/user_identities/{identity}/pdf_manager_batches`. Repeating the request is safe: WebAdMIT responds with
    /// the run that is in progress.
    ///
    /// # Errors
    ///
    /// If the response is not a success.
    pub(crate) async fn start_run(
        &self,
        kind: RunKind,
        identity: Id,
        source: Id,
        timeout: Duration,
    ) -> Result<RunResponse, RequestError> {
        let request = match kind {
            RunKind::Export => {
                self.request(Method::POST, &format!("user_identities/{identity}/exports/{source}/export_files"))
            }
            RunKind::PdfBatch => {
                let body = json!({ "pdf_manager_batch": { "pdf_manager_template_id": source } });
                self.request(Method::POST, &format!("user_identities/{identity}/pdf_manager_batches"))
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.to_string())
            }
        };
        self.request_run(kind, request, timeout).await
    }

    async fn request_run(
        &self,
        kind: RunKind,
        request: RequestBuilder,
        timeout: Duration,
    ) -> Result<RunResponse, RequestError> {
        let (headers, body) = self.send(request, timeout, MAX_RESPONSE_SIZE).await?;
        self.read_run(kind, &body, &headers)
    }

    fn read_run(&self, kind: RunKind, body: &[u8], headers: &HeaderMap) -> Result<RunResponse, RequestError> {
        match kind {
            RunKind::Export => self.read_export_run(body, headers),
            RunKind::PdfBatch => self.read_pdf_batch(body, headers),
        }
    }

    fn read_export_run(&self, body: &[u8], headers: &HeaderMap) -> Result<RunResponse, RequestError> {
        /// In spite of its name, `export_files` is one object.
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

        let Envelope { export_files: run } = self.parse(body, headers, "the fields of a run")?;
        let run_id = run.id.id().ok_or_else(|| self.unreadable(headers, "a run without a valid id"))?;

        // Redacts the signature before any other field is used, because another field may contain it.
        let url = run.download_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        url.inspect(|url| self.redact_signature(url));
        let status = Status::parse(&self.redactor.redact_prefix(&run.status));
        let url = url.filter(|_| status.has_file()).map(|url| self.validate_url(url, headers)).transpose()?;

        Ok(RunResponse {
            run_id,
            source: run.export_id.id().map(|id| Source { id, name: None }),
            status,
            files: RemoteFiles::Export(url),
            created: None,
        })
    }

    fn read_pdf_batch(&self, body: &[u8], headers: &HeaderMap) -> Result<RunResponse, RequestError> {
        #[derive(Deserialize)]
        struct Envelope {
            pdf_manager_batch: Batch,
        }

        #[derive(Deserialize)]
        struct Batch {
            id: Scalar,
            #[serde(default)]
            updated_at: Scalar,
            state: String,
            download_hrefs: Option<BoundedList<Scalar, MAX_ZIPS>>,
            pdf_manager_template: Option<Template>,
        }

        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Template {
            id: Scalar,
            name: Scalar,
        }

        let Envelope { pdf_manager_batch: batch } = self.parse(body, headers, "the fields of a batch")?;
        let run_id = batch.id.id().ok_or_else(|| self.unreadable(headers, "a batch without a valid id"))?;

        // Redacts signatures first, as above. A path has none, but a response may differ from the reference.
        let hrefs = batch.download_hrefs.unwrap_or_default();
        hrefs.items().iter().for_each(|href| self.redact_signature(&href.text()));
        let status = Status::parse(&self.redactor.redact_prefix(&batch.state));
        let zips = if status.has_file() { self.read_zips(&hrefs)? } else { Vec::new() };

        let source = batch.pdf_manager_template.and_then(|template| {
            let name = Some(self.label(&template.name)).filter(|name| !name.is_empty());
            Some(Source { id: template.id.id()?, name })
        });
        let updated_at = created::parse_time(&batch.updated_at.text());
        Ok(RunResponse {
            run_id,
            source,
            status,
            files: RemoteFiles::Zips(zips),
            created: updated_at.map(|updated_at| CreationTime::new(updated_at, headers::date(headers))),
        })
    }
}

impl RunResponse {
    /// Returns the signed URL of the file of an export, if there is one.
    pub(crate) fn url(&self) -> Option<&SignedUrl> {
        match &self.files {
            RemoteFiles::Export(url) => url.as_ref(),
            RemoteFiles::Zips(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;

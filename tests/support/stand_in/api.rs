//! The API of the stand-in.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wiremock::{Respond, ResponseTemplate};

use super::runs::{Batch, Run, has_files};
use super::{CYCLES, Cycle, PHARMCAS, State};
use crate::support::json::{
    IDENTITY_ID, export_json, exports_json, identities_json, listed_pdf_batch_json, pdf_batch_json, pdf_batches_json,
    pdf_template_json, pdf_templates_json, pdf_zip_href, recent_run_json, run_of_export_json,
};
use crate::support::leaks::API_KEY;

pub(super) struct Api(pub(super) Arc<Mutex<State>>);

/// A response to requests with this method whose path contains this text.
pub(super) struct MatchedResponse {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) response: ResponseTemplate,
    pub(super) is_repeated: bool,
}

impl Respond for Api {
    fn respond(&self, request: &wiremock::Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        if let Some(response) = state.next_response(request) {
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
    /// Returns the response that the test has set for this request, if any.
    fn next_response(&mut self, request: &wiremock::Request) -> Option<ResponseTemplate> {
        let (method, path) = (request.method.as_str(), request.url.path());
        let mut responses = self.matched_api_responses.iter();
        match responses.position(|response| response.method == method && path.contains(&response.path)) {
            Some(at) if self.matched_api_responses[at].is_repeated => {
                Some(self.matched_api_responses[at].response.clone())
            }
            Some(at) => Some(self.matched_api_responses.remove(at).response),
            None => self.api_responses.pop_front(),
        }
    }

    fn api(&mut self, request: &wiremock::Request) -> ResponseTemplate {
        if request.headers.get("x-api-key").is_none_or(|key| key != API_KEY) {
            return ResponseTemplate::new(401);
        }
        let path: Vec<&str> = request.url.path().trim_start_matches("/api/v1/").split('/').collect();
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["user_identities"]) => json_response(self.identities_json()),
            ("GET", ["exports"]) => json_response(self.exports_of(&self.cycles())),
            ("GET", ["exports", export, "export_files", run]) => self.check_run(export, run),
            (method, ["user_identities", identity, path @ ..]) => {
                match self.cycles().into_iter().find(|cycle| cycle.identity.to_string() == *identity) {
                    Some(cycle) => self.api_of_identity(cycle, method, path, &request.body),
                    None => message_response(404, &format!("User identity '{identity}' not found.")),
                }
            }
            _ => not_found(),
        }
    }

    fn api_of_identity(&mut self, cycle: Cycle, method: &str, path: &[&str], body: &[u8]) -> ResponseTemplate {
        if let Some(status) = self.config.pdf_manager_error
            && path[0].starts_with("pdf_manager")
        {
            return message_response(status, if status == 404 { "Not Found" } else { "Forbidden" });
        }
        match (method, path) {
            ("GET", ["exports"]) => json_response(self.exports_of(&[cycle])),
            ("GET", ["export_files"]) => json_response(self.recent_runs(cycle)),
            ("POST", ["exports", export, "export_files"]) => self.start_run(cycle, export),
            ("GET", ["pdf_manager_templates"]) => json_response(self.templates_of(cycle)),
            ("GET", ["pdf_manager_batches"]) => json_response(self.recent_batches(cycle)),
            ("POST", ["pdf_manager_batches"]) => self.start_batch(cycle, body),
            ("GET", ["pdf_manager_batches", batch]) => self.check_batch(cycle, batch),
            ("GET", ["pdf_manager_zip_files", zip, "download"]) => self.redirect_to_zip(cycle, zip),
            _ => not_found(),
        }
    }

    /// Returns the identities of the user by their cycles.
    fn cycles(&self) -> Vec<Cycle> {
        [&CYCLES[..=self.cycle], &[PHARMCAS]].concat()
    }

    pub(super) fn identities_json(&self) -> Value {
        let identities: Vec<Value> = self.cycles().into_iter().map(Cycle::identity_json).collect();
        identities_json(&identities)
    }

    pub(super) fn exports_of(&self, cycles: &[Cycle]) -> Value {
        let runs = cycles.iter().flat_map(|cycle| self.runs.iter().filter(|run| run.identity == cycle.identity));
        exports_json(&runs.map(|run| export_json(run.export, &run.export_name)).collect::<Vec<_>>())
    }

    fn start_run(&mut self, cycle: Cycle, export: &str) -> ResponseTemplate {
        let is_run = |run: &&mut Run| run.identity == cycle.identity && run.export.to_string() == export;
        let Some(run) = self.runs.iter_mut().find(is_run) else { return not_found() };
        let status = run.progress.start();
        ResponseTemplate::new(status).set_body_json(run_of_export_json(run.id, run.export, "Queued", None))
    }

    /// Returns the recent runs of an identity, in no order: one of each export, and older ones of its first export.
    fn recent_runs(&mut self, cycle: Cycle) -> Value {
        let mut runs = vec![recent_run_json(cycle.run - 9, cycle.export, "Available")];
        for run in self.runs.iter_mut().filter(|run| run.identity == cycle.identity && run.is_listed) {
            runs.push(recent_run_json(run.id, run.export, &run.progress.check()));
        }
        runs.push(recent_run_json(cycle.run - 5, cycle.export, "Failed"));
        json!({ "href": format!("/api/v1/user_identities/{}/export_files", cycle.identity), "export_files": runs })
    }

    fn check_run(&mut self, export: &str, run: &str) -> ResponseTemplate {
        let cycles = self.cycles();
        let is_run = |known: &&mut Run| {
            (known.export.to_string().as_str(), known.id.to_string().as_str()) == (export, run)
                && cycles.iter().any(|cycle| cycle.identity == known.identity)
        };
        let Some(run) = self.runs.iter_mut().find(is_run) else { return not_found() };
        if self.not_found > 0 {
            self.not_found -= 1;
            return not_found();
        }

        let (id, export, status) = (run.id, run.export, run.progress.check());
        let url = has_files(&status).then(|| self.sign(id));
        json_response(run_of_export_json(id, export, &status, url.as_deref()))
    }

    /// Returns the PDF Manager templates of an identity. Only [`IDENTITY_ID`] has some.
    fn templates_of(&self, cycle: Cycle) -> Value {
        let batches = self.batches.iter().filter(|_| cycle.identity == IDENTITY_ID);
        let templates: Vec<Value> =
            batches.map(|batch| pdf_template_json(batch.template, &batch.template_name)).collect();
        pdf_templates_json(cycle.identity, &templates)
    }

    fn find_batch(&mut self, cycle: Cycle, is_batch: impl Fn(&Batch) -> bool) -> Option<&mut Batch> {
        self.batches.iter_mut().find(|batch| cycle.identity == IDENTITY_ID && is_batch(batch))
    }

    fn start_batch(&mut self, cycle: Cycle, body: &[u8]) -> ResponseTemplate {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(template) = body["pdf_manager_batch"]["pdf_manager_template_id"].as_u64() else {
            let message = json!({ "errors": { "schema": ["pdf_manager_template_id is missing"] } });
            return ResponseTemplate::new(422).set_body_json(message);
        };
        let Some(batch) = self.find_batch(cycle, |batch| batch.template == template) else { return not_found() };
        let status = batch.progress.start();
        ResponseTemplate::new(status).set_body_json(batch_json(batch, "initializing", &[]))
    }

    /// Returns the recent batches of an identity, in no order: one of each template, and older ones of its first template.
    fn recent_batches(&mut self, cycle: Cycle) -> Value {
        let mut batches = Vec::new();
        for (index, batch) in self.batches.iter_mut().enumerate().filter(|_| cycle.identity == IDENTITY_ID) {
            let mut add = |id, state: &str| {
                batches.push(listed_pdf_batch_json(id, batch.template, &batch.template_name, state, &batch.updated_at));
            };
            if index == 0 {
                add(batch.id - 9, "available");
            }
            if batch.is_listed {
                add(batch.id, &batch.progress.check());
            }
            if index == 0 {
                add(batch.id - 5, "failed");
            }
        }
        pdf_batches_json(cycle.identity, &batches)
    }

    fn check_batch(&mut self, cycle: Cycle, id: &str) -> ResponseTemplate {
        if self.not_found > 0 {
            self.not_found -= 1;
            return not_found();
        }
        let Some(batch) = self.find_batch(cycle, |batch| batch.id.to_string() == id) else { return not_found() };

        let state = batch.progress.check();
        if !has_files(&state) {
            return json_response(batch_json(batch, &state, &[]));
        }
        if batch.checks_without_hrefs > 0 {
            batch.checks_without_hrefs -= 1;
            return json_response(batch_json(batch, &state, &[]));
        }
        let hrefs = batch.zips.iter().map(|zip| pdf_zip_href(zip.id)).collect();
        let hrefs: Vec<String> = batch.hrefs.clone().unwrap_or(hrefs);
        json_response(batch_json(batch, &state, &hrefs))
    }

    fn redirect_to_zip(&mut self, cycle: Cycle, id: &str) -> ResponseTemplate {
        let mut zips = self.batches.iter().filter(|_| cycle.identity == IDENTITY_ID).flat_map(|batch| &batch.zips);
        let Some(zip) = zips.find(|zip| zip.id.to_string() == id).cloned() else { return not_found() };
        if zip.redirect_status == 200 {
            return ResponseTemplate::new(200).set_body_raw(self.files[&zip.id].file.bytes.clone(), "application/zip");
        }
        let location = zip.location.replace("{api}", &self.api_url).replace("{signed-url}", &self.sign(zip.id));
        ResponseTemplate::new(zip.redirect_status).insert_header("Location", location)
    }
}

fn batch_json(batch: &Batch, state: &str, hrefs: &[String]) -> Value {
    pdf_batch_json(batch.id, batch.template, &batch.template_name, state, &batch.updated_at, hrefs)
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

//! The inputs that select the runs: exports, PDF Manager templates, and runs of them.

use super::input_error::InputErrors;
use super::parse::{self, RunIds};
use super::spec::{RawInputs, variable};
use super::{RunRequest, RunSelector, SourceSelector};
use crate::text::format;
use crate::webadmit::RunKind;

/// Maximum number of runs in one step.
const MAX_RUNS: usize = 50;

/// The inputs that select runs of one kind.
struct RunInputs<'a> {
    kind: RunKind,
    names: &'a Option<String>,
    ids: &'a Option<String>,
    runs: &'a Option<String>,
}

/// Parses the inputs that select runs. Returns the runs in the order of the inputs, or `None` if there are errors.
pub(super) fn parse(raw: &RawInputs, errors: &mut InputErrors) -> Option<Vec<RunRequest>> {
    let exports =
        RunInputs { kind: RunKind::Export, names: &raw.export_name, ids: &raw.export_id, runs: &raw.export_file_id };
    let batches = RunInputs {
        kind: RunKind::PdfBatch,
        names: &raw.pdf_template,
        ids: &raw.pdf_template_id,
        runs: &raw.pdf_batch_id,
    };
    require_any(&exports, &batches, errors);
    let runs = [exports.parse(errors), batches.parse(errors)];
    require_identity(raw, &exports, &batches, errors);

    let runs = runs.into_iter().collect::<Option<Vec<_>>>()?.concat();
    limit_number(&exports, &batches, &runs, errors);
    limit_filename(raw, &runs, errors);
    Some(runs)
}

impl RunInputs<'_> {
    fn parse(&self, errors: &mut InputErrors) -> Option<Vec<RunRequest>> {
        let (name_input, id_input, run_input) = (self.kind.name_input(), self.kind.id_input(), self.kind.run_input());
        errors.require_at_most_one((name_input, self.names), (id_input, self.ids));
        let names = errors.parse(name_input, self.names, parse::names);
        let ids = errors.parse(id_input, self.ids, parse::ids);
        let runs = errors.parse(run_input, self.runs, parse::run_ids);
        if [name_input, id_input, run_input].into_iter().any(|input| errors.has(input)) {
            return None;
        }

        let names = names.into_iter().flatten().map(SourceSelector::Name);
        let mut sources: Vec<_> = names.chain(ids.into_iter().flatten().map(SourceSelector::Id)).map(Some).collect();
        if let Some(runs) = &runs
            && sources.is_empty()
        {
            sources = self.runs_without_sources(runs, errors)?;
        }
        let selectors = match runs {
            None => vec![RunSelector::New; sources.len()],
            Some(RunIds::Latest) => vec![RunSelector::Latest; sources.len()],
            Some(RunIds::Ids(ids)) => ids.into_iter().map(RunSelector::Id).collect(),
        };
        if selectors.len() != sources.len() {
            self.reject_different_numbers(selectors.len(), sources.len(), errors);
            return None;
        }

        let request = |(source, run)| RunRequest { kind: self.kind, source, run };
        Some(sources.into_iter().zip(selectors).map(request).collect())
    }

    /// Returns a source for each run if only runs are given: `None` for a batch, because its id is enough.
    fn runs_without_sources(&self, runs: &RunIds, errors: &mut InputErrors) -> Option<Vec<Option<SourceSelector>>> {
        match (self.kind, runs) {
            (RunKind::PdfBatch, RunIds::Ids(ids)) => Some(vec![None; ids.len()]),
            (RunKind::PdfBatch, RunIds::Latest) => {
                errors.add("pdf-batch-id", "latest needs a template; set pdf-template or pdf-template-id");
                None
            }
            // The export is missing, which is an error of its own unless there are PDF inputs.
            (RunKind::Export, _) => {
                if !errors.has("export-name") {
                    errors.add("export-file-id", "needs the export of the run; set export-id or export-name");
                }
                None
            }
        }
    }

    /// Whether any of the inputs is given, valid or not.
    fn is_given(&self) -> bool {
        self.names.is_some() || self.ids.is_some() || self.runs.is_some()
    }

    /// Returns the input that selects the exports or templates.
    fn source_input(&self) -> &'static str {
        match (self.names, self.ids) {
            (Some(_), _) => self.kind.name_input(),
            (None, Some(_)) => self.kind.id_input(),
            (None, None) => self.kind.run_input(),
        }
    }

    fn reject_different_numbers(&self, runs: usize, sources: usize, errors: &mut InputErrors) {
        let noun = self.kind.source_noun();
        let (input, run_noun) = (self.source_input(), self.kind.run_noun());
        errors.add(
            self.kind.run_input(),
            format!(
                "has {}, but {input} has {sources}; give one id for each {noun}, in the same order, or latest for the newest {run_noun} of each",
                format::count(runs, "id")
            ),
        );
    }
}

fn require_any(exports: &RunInputs<'_>, batches: &RunInputs<'_>, errors: &mut InputErrors) {
    let is_missing = exports.names.is_none() && exports.ids.is_none() && !batches.is_given();
    let inputs = ["export-name", "export-id", "pdf-template", "pdf-template-id", "pdf-batch-id"];
    if is_missing && !inputs.iter().any(|input| errors.has(input)) {
        let (name, id, template) = (variable("export-name"), variable("export-id"), variable("pdf-template"));
        errors.add(
            "export-name",
            format!("missing; give the name of the export, or its id as export-id, or a PDF Manager template as pdf-template; `command: list` shows all of them (as variables: {name}, {id}, {template})"),
        );
    }
}

fn require_identity(raw: &RawInputs, exports: &RunInputs<'_>, batches: &RunInputs<'_>, errors: &mut InputErrors) {
    let has_identity = raw.identity.is_some() || raw.user_identity_id.is_some();
    let has_errors = ["export-file-id", "identity", "user-identity-id"].iter().any(|input| errors.has(input));
    if has_identity || has_errors {
        return;
    }

    let (words, id) = (variable("identity"), variable("user-identity-id"));
    match &raw.export_file_id {
        _ if batches.is_given() => errors.add(
            "identity",
            format!("missing; PDF Manager needs it; give words that identify it, such as SOPHAS, or its id as user-identity-id (as variables: {words}, {id})"),
        ),
        None => {
            let run = variable(exports.kind.run_input());
            errors.add(
                "identity",
                format!("missing; give words that identify it, such as SOPHAS, or its id as user-identity-id, or export-file-id to use an existing run; `command: list` shows all identities (as variables: {words}, {id}, {run})"),
            );
        }
        Some(runs) if parse::is_latest(runs) => errors.add(
            "export-file-id",
            format!("latest needs an identity; set identity or user-identity-id (as variables: {words}, {id})"),
        ),
        Some(_) => {}
    }
}

fn limit_number(exports: &RunInputs<'_>, batches: &RunInputs<'_>, runs: &[RunRequest], errors: &mut InputErrors) {
    if runs.len() > MAX_RUNS {
        let input = if exports.is_given() { exports.source_input() } else { batches.source_input() };
        errors.add(input, format!("{} runs are requested in all; a step fetches at most {MAX_RUNS}", runs.len()));
    }
}

fn limit_filename(raw: &RawInputs, runs: &[RunRequest], errors: &mut InputErrors) {
    let may_have_several_files = runs.len() > 1 || runs.iter().any(|run| run.kind == RunKind::PdfBatch);
    if let Some(filename) = raw.filename.as_deref().filter(|_| may_have_several_files && !errors.has("filename")) {
        let reason = "is a name for the file of a single export, but there can be several files; omit it to keep the server's names";
        errors.add_with_value("filename", filename, reason);
    }
}

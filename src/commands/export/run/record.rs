//! What a run records in its history and in the log.

use std::time::Duration;

use super::Run;
use crate::config::{Action, Mode};
use crate::download::RenamedFile;
use crate::report::history::{HtmlCharset, ResolvedName, SavedFile, TextEncoding};
use crate::text::format;
use crate::webadmit::RunResponse;
use crate::webadmit::status::Status;

impl Run<'_> {
    /// Records the export or template in a response, and warns if it differs from the requested one.
    pub(super) fn record_source(&self, response: &RunResponse) {
        let Some(source) = &response.source else { return };
        let mut history = self.context.history.borrow_mut();
        let name = || source.name.as_ref().map(ToString::to_string);
        match &mut history.source {
            None => history.source = Some(ResolvedName { id: source.id, name: name(), is_newest_cycle: false }),
            Some(requested) if requested.id == source.id && requested.name.is_none() => requested.name = name(),
            Some(requested) if requested.id != source.id && !self.has_warned_of_source.replace(true) => {
                let (noun, run_noun) = (self.request.kind.source_noun(), self.request.kind.run_noun());
                self.context.warning(&format!(
                    "the {run_noun} belongs to {noun} {} according to WebAdMIT, not to {noun} {}",
                    source.id, requested.id
                ));
            }
            Some(_) => {}
        }
    }

    /// Records a status in the history, and logs what is new.
    pub(super) fn record_status(&self, status: &Status) {
        let mut history = self.context.history.borrow_mut();
        let is_repeated = history.statuses.iter().any(|seen| seen.status == *status);
        if !history.record_status(status, self.context.deadline().elapsed()) {
            return;
        }
        let prefix = if self.context.is_labelled() { "" } else { "status: " };
        self.context.line(&format!("{prefix}{status}"));
        match status {
            // GitHub shows at most ten warnings of a step, so there is one for all unknown statuses.
            Status::Unknown(name) if !self.shared.has_warned_of_status.replace(true) => {
                let polls = self.shared.request.mode == Mode::Execute(Action::Fetch);
                let next = if polls { "; polling continues" } else { "" };
                self.context.warning(&format!("unknown status `{name}`{next}"));
            }
            Status::SuccessWithErrors if !is_repeated => {
                self.context.warning("WebAdMIT reported errors while it created the file; applicants may be missing");
            }
            _ => {}
        }
    }

    /// Records that saved files were renamed, because an earlier file of the run has their names.
    pub(super) fn record_renamed_files(&self) {
        for RenamedFile { from, to, filename } in self.shared.destination.take_renamed() {
            self.context
                .line(&format!("renamed {from} to {to}, because a file that comes earlier in the batch has its name"));
            let mut history = self.context.history.borrow_mut();
            if let Some(file) = history.saved.iter_mut().find(|file| file.path == from) {
                (file.path, file.filename) = (to, filename);
            }
        }
    }

    /// Records a saved file, and logs it. The outputs have the files of a run in the order of the response, also if one was
    /// postponed.
    pub(super) fn record_saved(&self, saved: SavedFile) {
        let mut history = self.context.history.borrow_mut();
        let waited = match history.waited() {
            Duration::ZERO => String::new(),
            waited => format!(", waited {}", format::duration(waited)),
        };
        let (path, size, duration) =
            (&saved.path, format::bytes(saved.size), format::duration(saved.download_duration));
        let created = match saved.created {
            Some(created) => format!(", created {} ago", format::age(created.age())),
            None => String::new(),
        };
        let sha256 = &saved.sha256;
        self.context
            .line(&format!("saved {path} ({size}, sha256 {sha256}){created}{waited}, downloaded in {duration}"));

        match &saved.encoding {
            TextEncoding::AsSent => {}
            TextEncoding::Converted(conversion) => {
                self.context.line(&format!("encoding: {conversion}"));
                if conversion.html == HtmlCharset::NotChanged {
                    self.context.warning(
                        "the HTML declares another charset, which was not changed to utf-8; the file is in UTF-8, but a browser \
                         can show wrong characters; declare charset=utf-8 wherever it is published, or set encoding to as-sent",
                    );
                }
            }
            TextEncoding::NotText(reason) => self.context.line(&format!("not converted to UTF-8: {reason}")),
            TextEncoding::NotConverted(reason) => self.context.warning(&format!(
                "not converted to UTF-8: {reason}; the file was saved as the store sent it; find out its charset and convert it in \
                 a later step, or set encoding to as-sent"
            )),
        }
        let index = history.saved.partition_point(|other| other.position < saved.position);
        history.saved.insert(index, saved);
    }

    pub(super) fn log_recovery(&self) {
        let recovery = self.context.history.borrow().recovery_summary();
        if !recovery.is_empty() {
            self.context.line(&format!("recovered from: {recovery}"));
        }
    }
}

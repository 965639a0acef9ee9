//! The two kinds of runs: of an export, and of a PDF Manager template.

use super::Id;

/// The kind of a run. Has the nouns for messages, and the names of the inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunKind {
    /// A run of an export: an `export_file` of the API, which has one file.
    #[default]
    Export,
    /// A batch of a PDF Manager template, which has one or more zip files.
    PdfBatch,
}

impl RunKind {
    /// Returns what messages call the source of a run.
    #[must_use]
    pub(crate) fn source_noun(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::PdfBatch => "PDF template",
        }
    }

    /// Returns what messages call a run.
    #[must_use]
    pub(crate) fn run_noun(self) -> &'static str {
        match self {
            Self::Export => "run",
            Self::PdfBatch => "batch",
        }
    }

    /// Returns what messages call several runs.
    #[must_use]
    pub(crate) fn run_plural(self) -> &'static str {
        match self {
            Self::Export => "runs",
            Self::PdfBatch => "batches",
        }
    }

    /// Returns the input that selects the source by its name.
    #[must_use]
    pub(crate) fn name_input(self) -> &'static str {
        match self {
            Self::Export => "export-name",
            Self::PdfBatch => "pdf-template",
        }
    }

    /// Returns the input that selects the source by its id.
    #[must_use]
    pub(crate) fn id_input(self) -> &'static str {
        match self {
            Self::Export => "export-id",
            Self::PdfBatch => "pdf-template-id",
        }
    }

    /// Returns the input that selects an existing run.
    #[must_use]
    pub(crate) fn run_input(self) -> &'static str {
        match self {
            Self::Export => "export-file-id",
            Self::PdfBatch => "pdf-batch-id",
        }
    }
}

/// A run, with the ids that its endpoints need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunRef {
    /// A run of an export.
    Export { export: Id, run: Id },
    /// A batch of a PDF Manager template.
    PdfBatch { identity: Id, batch: Id },
}

impl RunRef {
    pub(crate) fn kind(self) -> RunKind {
        match self {
            Self::Export { .. } => RunKind::Export,
            Self::PdfBatch { .. } => RunKind::PdfBatch,
        }
    }

    /// Returns the id of the run.
    pub(crate) fn id(self) -> Id {
        match self {
            Self::Export { run, .. } => run,
            Self::PdfBatch { batch, .. } => batch,
        }
    }
}

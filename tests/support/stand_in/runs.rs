//! Runs of exports and PDF Manager batches, each with its own statuses.

use std::time::{Duration, Instant};

use super::builder::ZipBuilder;

/// The statuses of a run, one after another. The last one stays.
#[derive(Clone)]
pub(super) enum Statuses {
    /// The next one with each check.
    ByCheck(Vec<String>),
    /// Each one from some time after the start of the run.
    ByTime(Vec<(Duration, String)>),
}

impl Statuses {
    pub(super) fn by_check(statuses: &[&str]) -> Self {
        Self::ByCheck(statuses.iter().map(|&status| status.to_owned()).collect())
    }

    pub(super) fn by_time(statuses: &[(Duration, &str)]) -> Self {
        Self::ByTime(statuses.iter().map(|&(time, status)| (time, status.to_owned())).collect())
    }

    /// Returns the same statuses as PDF Manager spells them.
    pub(super) fn in_snake_case(&self) -> Self {
        let convert = |status: &str| status.to_lowercase().replace(' ', "_");
        match self {
            Self::ByCheck(statuses) => Self::ByCheck(statuses.iter().map(|status| convert(status)).collect()),
            Self::ByTime(statuses) => {
                Self::ByTime(statuses.iter().map(|(time, status)| (*time, convert(status))).collect())
            }
        }
    }

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

/// How far a run has got.
pub(super) struct Progress {
    statuses: Statuses,
    /// The start of the run, or the first check of a run that nobody started.
    started: Option<Instant>,
    was_started_by_request: bool,
    checks: usize,
}

impl Progress {
    pub(super) fn new(statuses: Statuses) -> Self {
        Self { statuses, started: None, was_started_by_request: false, checks: 0 }
    }

    /// Starts the run, unless a request has done that. Returns the status code of the response.
    pub(super) fn start(&mut self) -> u16 {
        if self.was_started_by_request {
            return 200;
        }
        *self =
            Self { started: Some(Instant::now()), was_started_by_request: true, ..Self::new(self.statuses.clone()) };
        201
    }

    /// Returns the status that this check sees.
    pub(super) fn check(&mut self) -> String {
        let since_start = self.started.get_or_insert_with(Instant::now).elapsed();
        let status = self.statuses.get(self.checks, since_start).to_owned();
        self.checks += 1;
        status
    }
}

/// Returns whether a run with this status has files.
pub(super) fn has_files(status: &str) -> bool {
    let letters: String = status.to_lowercase().chars().filter(char::is_ascii_alphabetic).collect();
    ["available", "successwitherrors"].contains(&letters.as_str())
}

/// An export of an identity, and its only run.
pub(super) struct Run {
    pub(super) identity: u64,
    pub(super) export: u64,
    pub(super) export_name: String,
    pub(super) id: u64,
    pub(super) progress: Progress,
    pub(super) is_listed: bool,
}

/// A template of PDF Manager, and its only batch.
pub(super) struct Batch {
    pub(super) template: u64,
    pub(super) template_name: String,
    pub(super) id: u64,
    pub(super) progress: Progress,
    pub(super) is_listed: bool,
    pub(super) updated_at: String,
    pub(super) zips: Vec<ZipBuilder>,
    /// The `download_hrefs` that the API sends instead of those of the zips.
    pub(super) hrefs: Option<Vec<String>>,
    /// How many checks of a batch with files see no `download_hrefs`.
    pub(super) checks_without_hrefs: usize,
}

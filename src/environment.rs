//! What the process was given, and what everything that it does needs of this machine.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::ApiConfig;
use crate::error::{Interruption, StepError};
use crate::http::tls::TrustStore;
use crate::http::{self, Clients, Timeouts};
use crate::report::log::{CiSystem, Log};
use crate::text::sanitize;
use crate::workspace::{Workspace, variable};

/// What the process was given.
#[derive(Debug)]
pub struct Environment {
    /// The arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// The working directory.
    pub directory: PathBuf,
}

impl Environment {
    /// Who reads what it prints.
    #[must_use]
    pub fn ci_system(&self) -> CiSystem {
        let variable = |name| variable(&self.variables, name);
        match () {
            () if variable("GITHUB_ACTIONS").is_some_and(|value| value == "true") => CiSystem::GitHub,
            () if variable("TF_BUILD").is_some() => CiSystem::Azure,
            () => CiSystem::Other,
        }
    }

    /// Where it works.
    ///
    /// # Errors
    ///
    /// When that is not a directory that can be looked at.
    pub fn workspace(&self) -> anyhow::Result<Workspace> {
        Workspace::find(variable(&self.variables, "GITHUB_WORKSPACE"), &self.directory)
    }
}

const NO_AUTHORITIES: &str = "no certificate authorities were found on this machine, so no https server can be trusted; \
    install its ca-certificates package, or name a PEM file with SSL_CERT_FILE or ca-file";

/// The clients that ask with this trust. What could not be read of the system's authorities is told.
///
/// # Errors
///
/// When nothing could be trusted, or TLS cannot be set up.
pub fn clients(api_config: &ApiConfig, trust_store: TrustStore, log: &Log) -> anyhow::Result<Clients> {
    for warning in &trust_store.warnings {
        log.plain(&format!("warning: {warning}"));
    }
    if api_config.base_url.is_https() && trust_store.roots.is_empty() {
        return Err(anyhow!(NO_AUTHORITIES));
    }
    http::clients(trust_store.roots, Timeouts::default(), &api_config.base_url, log.redactor())
}

/// Waits for the end of something on this one thread, or for a signal that ends it before.
///
/// # Errors
///
/// What it ends with, or [`StepError::Interrupted`]; and [`StepError::Local`] where this machine does not give what it needs.
pub fn run_until_signal<T>(work: impl Future<Output = Result<T, StepError>>) -> Result<T, StepError> {
    // The runtime panics where there can be no more threads or files. What was reached until then is told all the same, and
    // the panic in our own words.
    set_hook(Box::new(|_| {}));
    catch_unwind(AssertUnwindSafe(|| run_to_signal(work))).unwrap_or_else(|panic| {
        let words =
            panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let words = sanitize::excerpt(words.unwrap_or("no reason was given"));
        Err(StepError::Local(anyhow!(
            "the program broke off ({words}): does this machine give no more threads or files?"
        )))
    })
}

fn run_to_signal<T>(work: impl Future<Output = Result<T, StepError>>) -> Result<T, StepError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let end = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
        // Unhandled, it ends the process when a file grows beyond a limit; handled, the write says so.
        let _file_size = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).context("SIGXFSZ cannot be handled")?;
        tokio::select! {
            end = work => end,
            _ = interrupt.recv() => Err(StepError::Interrupted(Interruption::Interrupt)),
            _ = terminate.recv() => Err(StepError::Interrupted(Interruption::Terminate)),
        }
    });
    // A look-up of a name that hangs must not hold up the end.
    runtime.shutdown_background();
    end
}

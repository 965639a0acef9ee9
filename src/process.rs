//! What the process was given, and what everything that it does needs of this machine.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::clean;
use crate::failure::{Failure, Interruption};
use crate::http::{self, Clients, Patience};
use crate::inputs::Service;
use crate::log::{Log, Reader};
use crate::trust::Trust;
use crate::workspace::{Workspace, variable};

/// What the process was given.
#[derive(Debug)]
pub struct Process {
    /// The arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// The working directory.
    pub directory: PathBuf,
}

impl Process {
    /// Who reads what it prints.
    #[must_use]
    pub fn reader(&self) -> Reader {
        let variable = |name| variable(&self.variables, name);
        match () {
            () if variable("GITHUB_ACTIONS").is_some_and(|value| value == "true") => Reader::GitHub,
            () if variable("TF_BUILD").is_some() => Reader::Azure,
            () => Reader::Other,
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
pub fn clients(service: &Service, trust: Trust, log: &Log) -> anyhow::Result<Clients> {
    for complaint in &trust.complaints {
        log.plain(&format!("warning: {complaint}"));
    }
    if service.base_url.is_https() && trust.authorities.is_empty() {
        return Err(anyhow!(NO_AUTHORITIES));
    }
    http::clients(trust.authorities, Patience::default(), &service.base_url, log.secrets())
}

/// Waits for the end of something on this one thread, or for a signal that ends it before.
///
/// # Errors
///
/// What it ends with, or [`Failure::Interrupted`]; and [`Failure::Local`] where this machine does not give what it needs.
pub fn until_signalled<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // The runtime panics where there can be no more threads or files. What was reached until then is told all the same, and
    // the panic in our own words.
    set_hook(Box::new(|_| {}));
    catch_unwind(AssertUnwindSafe(|| signalled(work))).unwrap_or_else(|panic| {
        let words =
            panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let words = clean::words(words.unwrap_or("no reason was given"));
        Err(Failure::Local(anyhow!(
            "the program broke off ({words}): does this machine give no more threads or files?"
        )))
    })
}

fn signalled<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let end = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
        // Unhandled, it ends the process when a file grows beyond a limit; handled, the write says so.
        let _file_size = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).context("SIGXFSZ cannot be handled")?;
        tokio::select! {
            end = work => end,
            _ = interrupt.recv() => Err(Failure::Interrupted(Interruption::Interrupt)),
            _ = terminate.recv() => Err(Failure::Interrupted(Interruption::Terminate)),
        }
    });
    // A look-up of a name that hangs must not hold up the end.
    runtime.shutdown_background();
    end
}

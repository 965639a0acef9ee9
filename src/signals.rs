//! The signals that end a step, and the runtime that everything runs on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context as _, anyhow};
use rustix::process::Signal as SystemSignal;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// A signal that ends a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// Runs a future on this thread until it ends, or until a signal ends it.
///
/// # Errors
///
/// If the runtime cannot be started, if the signals cannot be handled, or if the future panics.
pub(crate) fn run_until_signal<F: Future>(work: F) -> anyhow::Result<Result<F::Output, Signal>> {
    // tokio panics if it cannot start a thread. The step still ends with its outputs and a message.
    catch_unwind(AssertUnwindSafe(|| block_on(work))).unwrap_or_else(|_| {
        Err(anyhow!("the program crashed (see above); this machine may be out of threads or file descriptors"))
    })
}

fn block_on<F: Future>(work: F) -> anyhow::Result<Result<F::Output, Signal>> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")?;
    let result = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
        // By default, SIGXFSZ ends the process when a file exceeds the size limit. With a handler, the write returns an error
        // instead.
        let _file_size = signal(SignalKind::from_raw(SystemSignal::XFSZ.as_raw())).context("cannot handle SIGXFSZ")?;

        tokio::select! {
            output = work => Ok(Ok(output)),
            _ = interrupt.recv() => Ok(Err(Signal::Interrupt)),
            _ = terminate.recv() => Ok(Err(Signal::Terminate)),
        }
    });
    // Does not wait for a name look-up that hangs.
    runtime.shutdown_background();
    result
}

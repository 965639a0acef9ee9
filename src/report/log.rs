//! The log: the only module that prints.
//!
//! Every line begins with the program's own words, so that text from a server cannot start a runner command, and is redacted
//! and sanitized. A line that cannot be written is dropped: a closed or full stdout does not end the step.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::environment::CiSystem;
use crate::text::format;
use crate::text::redact::Redactor;
use crate::text::sanitize;

/// The log of a step. Removes secrets from everything that it prints.
pub struct Log {
    redactor: Arc<Redactor>,
    ci_system: CiSystem,
    /// The start of the step.
    start: Instant,
    /// Time of the last line, since the start of the step.
    last_line: Cell<Duration>,
    stdout: RefCell<Box<dyn Write>>,
    stderr: RefCell<Box<dyn Write>>,
}

impl Log {
    /// Creates a log on stdout and stderr. Its lines begin with the time since the start of the step.
    pub(crate) fn new(ci_system: CiSystem, start: Instant) -> Self {
        Self::to(io::stdout(), io::stderr(), ci_system, start)
    }

    /// Creates a log on other streams.
    pub fn to(stdout: impl Write + 'static, stderr: impl Write + 'static, ci_system: CiSystem, start: Instant) -> Self {
        Self {
            redactor: Arc::default(),
            ci_system,
            start,
            last_line: Cell::default(),
            stdout: RefCell::new(Box::new(stdout)),
            stderr: RefCell::new(Box::new(stderr)),
        }
    }

    /// Returns what removes secrets from text.
    pub fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// Prints a line that begins with the time since the start of the step.
    pub(crate) fn line(&self, text: &str) {
        let now = self.start.elapsed();
        self.last_line.set(now);
        self.plain(&format!("{:>6}  {text}", format::clock(now)));
    }

    /// Prints a line without the time: a heading, or a row of a list.
    pub(crate) fn plain(&self, text: &str) {
        self.write(&self.stdout, &sanitize::line(&self.redactor.redact(text)));
    }

    /// Returns the time since the last line that began with the time.
    pub(crate) fn time_since_last_line(&self) -> Duration {
        self.start.elapsed().saturating_sub(self.last_line.get())
    }

    /// Removes the key from everything that is printed from now on, and makes GitHub's runner mask it. Other CI systems do not
    /// know this command and would show it, with the key.
    pub(crate) fn mask(&self, secret: &str) {
        self.redactor.set_key(secret);
        if self.ci_system == CiSystem::GitHub {
            self.write(&self.stdout, &format!("::add-mask::{}", escape(secret)));
        }
    }

    /// Prints a warning. GitHub also shows it on the page of the workflow run.
    pub(crate) fn warning(&self, text: &str) {
        self.line(&format!("warning: {text}"));
        if self.ci_system == CiSystem::GitHub {
            self.write(&self.stdout, &command("warning title=webadmit-export", &self.redactor.redact(text)));
        }
    }

    /// Sets a variable for later steps on Azure Pipelines, which reads them from the log.
    pub(crate) fn set_output_variable(&self, variable: &str, value: &str) {
        if self.ci_system == CiSystem::Azure {
            self.write(&self.stdout, &azure_variable(variable, value));
        }
    }

    /// Prints the error that ends the step, as an annotation on GitHub, and elsewhere as `error: …` on stderr. It can have several
    /// lines; each begins with the program's own words.
    pub(crate) fn error(&self, text: &str) {
        let text = &self.redactor.redact(text);
        match self.ci_system {
            CiSystem::GitHub => self.write(&self.stdout, &command("error title=webadmit-export", text)),
            CiSystem::Azure | CiSystem::Other => {
                let lines: String = text.lines().map(|line| sanitize::line(line) + "\n").collect();
                self.write(&self.stderr, &format!("error: {}", lines.trim_end_matches('\n')));
            }
        }
    }

    fn write(&self, stream: &RefCell<Box<dyn Write>>, line: &str) {
        let _ = print_to(&mut *stream.borrow_mut(), line);
    }
}

/// Prints the result of a command on stdout: the help, or a list.
///
/// # Errors
///
/// If stdout cannot be written. A reader that closes the pipe early, such as `head`, is not an error.
pub(crate) fn print_page(text: &str) -> io::Result<()> {
    match print_to(&mut io::stdout(), text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Returns a workflow command of GitHub with a message.
fn command(name: &str, message: &str) -> String {
    let message = message.lines().map(sanitize::line).collect::<Vec<_>>().join("\n");
    format!("::{name}::{}", escape(&message))
}

/// Escapes the message of a workflow command. The runner decodes `%25`, `%0D` and `%0A` (actions/toolkit,
/// `packages/core/src/command.ts`).
fn escape(message: &str) -> String {
    message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Returns the command of Azure Pipelines that sets a variable for later steps. The value extends to the end of the line. The
/// agent decodes `%AZP25`, `%0D` and `%0A` in it (azure-pipelines-task-lib, `node/taskcommand.ts`).
fn azure_variable(variable: &str, value: &str) -> String {
    let value = value.replace('%', "%AZP25").replace('\r', "%0D").replace('\n', "%0A");
    format!("##vso[task.setvariable variable={variable};isOutput=true]{value}")
}

fn print_to(stream: &mut dyn Write, line: &str) -> io::Result<()> {
    // With a single write, output of other processes cannot end up within the line.
    stream.write_all(format!("{line}\n").as_bytes()).and_then(|()| stream.flush())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_is_a_single_line() {
        assert_eq!(command("error", "50 % done\nhint: x\r\ny"), "::error::50 %25 done%0Ahint: x%0Ay");
    }

    #[test]
    fn the_value_of_an_azure_variable_is_escaped() {
        let line = azure_variable("WEBADMIT_PATH", "a 100%;]##vso[x\r\nb");
        assert_eq!(line, "##vso[task.setvariable variable=WEBADMIT_PATH;isOutput=true]a 100%AZP25;]##vso[x%0D%0Ab");
    }

    proptest! {
        #[test]
        fn no_message_can_start_a_second_command(message in "(?:[:\r\n%#\\[]|.)*") {
            let line = command("error", &message);
            prop_assert!(line.starts_with("::error::"));
            prop_assert!(!line.chars().any(sanitize::is_unprintable) && !line.contains("##["));
        }
    }
}

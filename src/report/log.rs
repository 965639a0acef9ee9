//! The log: the one place that prints.
//!
//! Every line begins with words of our own, so no server can begin one, and passes through [`sanitize::line`]. A closed or
//! full stdout does not stop the job: a line that cannot be written is dropped.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::environment::CiSystem;
use crate::text::format;
use crate::text::redact::Redactor;
use crate::text::sanitize;

/// The log of one step. It keeps the secrets, and nothing that it prints holds one.
pub struct Log {
    redactor: Arc<Redactor>,
    ci_system: CiSystem,
    deadline: Deadline,
    last: Cell<Duration>,
    stdout: RefCell<Box<dyn Write>>,
    stderr: RefCell<Box<dyn Write>>,
}

impl Log {
    /// A log whose lines tell the time since the clock's start.
    #[must_use]
    pub fn new(ci_system: CiSystem, deadline: Deadline) -> Self {
        Self::to(io::stdout(), io::stderr(), ci_system, deadline)
    }

    /// A log that is written to the given streams.
    #[must_use]
    pub fn to(
        stdout: impl Write + 'static,
        stderr: impl Write + 'static,
        ci_system: CiSystem,
        deadline: Deadline,
    ) -> Self {
        let (stdout, stderr) = (RefCell::new(Box::new(stdout) as _), RefCell::new(Box::new(stderr) as _));
        Self { redactor: Arc::default(), ci_system, deadline, last: Cell::new(Duration::ZERO), stdout, stderr }
    }

    /// What must not be told.
    #[must_use]
    pub fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// One line of what happens, with the time since the start before it.
    pub fn line(&self, text: &str) {
        let now = self.deadline.elapsed();
        self.last.set(now);
        self.print(&format!("{:>6}  {text}", format::elapsed(now)));
    }

    /// One line without a time: headings and lists.
    pub fn plain(&self, text: &str) {
        self.print(text);
    }

    /// How long nothing has been said.
    #[must_use]
    pub fn time_since_last_line(&self) -> Duration {
        self.deadline.elapsed().saturating_sub(self.last.get())
    }

    /// Hides the key in everything that is printed from now on, and has the runner do the same. Elsewhere nothing is
    /// printed: there, the command would show the key.
    pub fn mask(&self, secret: &str) {
        self.redactor.set_key(secret);
        if self.ci_system == CiSystem::GitHub {
            self.write(&self.stdout, &format!("::add-mask::{}", escape(secret)));
        }
    }

    /// A line that GitHub also shows at the top of the workflow run.
    pub fn warning(&self, text: &str) {
        self.line(&format!("warning: {text}"));
        if self.ci_system == CiSystem::GitHub {
            self.write(&self.stdout, &command("warning title=webadmit-export", &self.redactor.redact(text)));
        }
    }

    /// Hands an output over to the following steps where that is done by a line of the log: on Azure.
    pub fn set_output_variable(&self, variable: &str, value: &str) {
        if self.ci_system == CiSystem::Azure {
            self.write(&self.stdout, &azure_variable(variable, value));
        }
    }

    /// The failure that ends the step: on GitHub an annotation on stdout, elsewhere `error: …` on stderr. Further
    /// lines of the text are hints.
    pub fn error(&self, text: &str) {
        let text = &self.redactor.redact(text);
        match self.ci_system {
            CiSystem::GitHub => self.write(&self.stdout, &command("error title=webadmit-export", text)),
            CiSystem::Azure | CiSystem::Other => {
                let lines: String = text.lines().map(|line| sanitize::line(line) + "\n").collect();
                self.write(&self.stderr, &format!("error: {}", lines.trim_end_matches('\n')));
            }
        }
    }

    fn print(&self, text: &str) {
        self.write(&self.stdout, &sanitize::line(&self.redactor.redact(text)));
    }

    fn write(&self, stream: &RefCell<Box<dyn Write>>, line: &str) {
        let _ = print_to(&mut *stream.borrow_mut(), line);
    }
}

/// Prints a text of several lines that is what was asked for: `--help`, or a list.
///
/// # Errors
///
/// When it does not arrive. Somebody who has read enough and closes the stream is none.
pub fn print_page(text: &str) -> io::Result<()> {
    match print_to(&mut io::stdout(), text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// A workflow command with a message for people.
fn command(name: &str, message: &str) -> String {
    let message = message.lines().map(sanitize::line).collect::<Vec<_>>().join("\n");
    format!("::{name}::{}", escape(&message))
}

/// The runner decodes `%25`, `%0D` and `%0A` in a command's message, so that is what `%` and line breaks become
/// (actions/toolkit, `packages/core/src/command.ts`).
fn escape(message: &str) -> String {
    message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The command that sets a variable for the following steps. Its value is data up to the end of the line; Azure's agent
/// decodes `%AZP25`, `%0D` and `%0A` in it (azure-pipelines-task-lib, `node/taskcommand.ts`).
fn azure_variable(variable: &str, value: &str) -> String {
    let value = value.replace('%', "%AZP25").replace('\r', "%0D").replace('\n', "%0A");
    format!("##vso[task.setvariable variable={variable};isOutput=true]{value}")
}

fn print_to(stream: &mut dyn Write, line: &str) -> io::Result<()> {
    // One write for the whole line: nothing comes between its parts.
    stream.write_all(format!("{line}\n").as_bytes()).and_then(|()| stream.flush())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_holds_its_message_on_one_line() {
        assert_eq!(command("error", "50 % done\nhint: x\r\ny"), "::error::50 %25 done%0Ahint: x%0Ay");
    }

    #[test]
    fn a_variable_for_azure_is_one_line_that_is_decoded_to_its_value() {
        let line = azure_variable("WEBADMIT_PATH", "a 100%;]##vso[x\r\nb");
        assert_eq!(line, "##vso[task.setvariable variable=WEBADMIT_PATH;isOutput=true]a 100%AZP25;]##vso[x%0D%0Ab");
    }

    proptest! {
        #[test]
        fn no_message_can_begin_a_second_command(message in "(?:[:\r\n%#\\[]|.)*") {
            let line = command("error", &message);
            prop_assert!(line.starts_with("::error::"));
            prop_assert!(!line.chars().any(sanitize::is_unprintable) && !line.contains("##["));
        }
    }
}

//! The commands: export (the default, and `check`), list, help.

use anyhow::Context as _;
use tokio::time::Instant;

use crate::config::{self, Command, ParsedInputs};
use crate::environment::Environment;
use crate::error::StepError;
use crate::report::history::History;
use crate::report::log::{self, Log};
use crate::report::message;
use crate::signals::run_until_signal;
use crate::text::sanitize;
use crate::workspace::Workspace;
use list::ListFormat;

mod connect;
pub(crate) mod export;
pub(crate) mod help;
pub(crate) mod list;

/// Runs the command that the arguments or the input `command` name, and returns the exit code of the process.
#[must_use]
pub(crate) fn run(environment: &Environment) -> u8 {
    // Some systems pass an empty argument instead of none.
    let arguments = environment.arguments.iter().filter(|argument| !argument.is_empty());
    let arguments: Vec<_> = arguments.map(|argument| argument.to_string_lossy()).collect();
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();

    match arguments.as_slice() {
        [] => match config::command(&environment.variables) {
            Some(Command::List) => list::run(environment, ListFormat::Table),
            Some(Command::Check) | None => export::run(environment),
        },
        ["check"] => export::run(&with_command(environment, "check")),
        ["list"] => list::run(environment, ListFormat::Table),
        ["list", "--json"] | ["--json", "list"] => list::run(environment, ListFormat::Json),
        ["--help" | "-h", ..] | ["list" | "check", "--help" | "-h"] => print(environment, &help::text()),
        ["--version" | "-V", ..] => print(environment, help::VERSION),
        arguments => fail(environment, &StepError::Argument(unknown_argument(arguments))),
    }
}

/// Returns the environment with this command as its input `command`. An argument takes precedence over the input.
fn with_command(environment: &Environment, command: &str) -> Environment {
    let mut environment = environment.clone();
    config::replace_input(&mut environment.variables, "command", command);
    environment
}

fn print(environment: &Environment, text: &str) -> u8 {
    let printed = log::print_page(text).context("cannot write to stdout");
    printed.map_or_else(|error| fail(environment, &StepError::Local(error)), |()| 0)
}

fn fail(environment: &Environment, error: &StepError) -> u8 {
    let log = Log::new(environment.ci_system(), Instant::now());
    parse_inputs(environment, &log);
    log.error(&message::render(error, None, &History::default()));
    error.exit_code().into()
}

/// Returns the first unknown argument as a message shows it: without a value, which could be the key.
fn unknown_argument(arguments: &[&str]) -> String {
    let unknown = arguments.iter().find(|argument| !["check", "list", "--json"].contains(argument));
    let unknown = unknown.or(arguments.last()).map_or("", |argument| argument.split('=').next().unwrap_or_default());
    if config::looks_like_a_key(unknown) { "that looks like a key".to_owned() } else { sanitize::excerpt(unknown) }
}

/// Parses the inputs, and masks the key before anything else is logged.
fn parse_inputs(environment: &Environment, log: &Log) -> ParsedInputs {
    let inputs = config::parse(&environment.variables);
    if let Some(key) = &inputs.api_key {
        log.mask(key.reveal());
    }
    inputs
}

/// Finds the workspace.
fn find_workspace(environment: &Environment) -> anyhow::Result<Workspace> {
    Workspace::find(environment.variable("GITHUB_WORKSPACE"), &environment.directory)
}

/// Runs a future until it ends, or until a signal ends it.
fn block_on<T>(work: impl Future<Output = Result<T, StepError>>) -> Result<T, StepError> {
    match run_until_signal(work) {
        Ok(Ok(result)) => result,
        Ok(Err(signal)) => Err(StepError::Interrupted(signal)),
        Err(error) => Err(StepError::Local(error)),
    }
}

//! The commands: export (the default, and `check`), list, help.

use anyhow::Context as _;
use tokio::time::Instant;

use crate::config::{self, Command, ParsedInputs, UnknownInput};
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

/// Maximum number of unknown inputs that become warnings. GitHub shows at most ten warnings of a step.
const MAX_UNKNOWN_INPUT_WARNINGS: usize = 3;

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
        arguments if arguments.iter().any(|argument| matches!(*argument, "--help" | "-h")) => {
            print(environment, &help::text())
        }
        ["--version" | "-V", ..] => print(environment, help::NAME_AND_VERSION),
        arguments => export::reject(environment, StepError::Argument(unexpected_argument(arguments))),
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
    let Err(error) = printed else { return 0 };

    let (log, error) = (Log::new(environment.ci_system(), Instant::now()), StepError::Local(error));
    log.error(&message::render(&error, None, &History::default()));
    error.exit_code().into()
}

/// Returns the first unexpected argument as a message shows it: without a value, which could be the key.
fn unexpected_argument(arguments: &[&str]) -> String {
    let unknown = arguments.iter().find(|argument| !["check", "list", "--json"].contains(argument));
    let argument = unknown.or(arguments.last()).map_or("", |argument| argument.split('=').next().unwrap_or_default());
    if config::looks_like_a_key(argument) { "that looks like a key".to_owned() } else { sanitize::excerpt(argument) }
}

/// Parses the inputs, and masks the key before anything else is logged.
fn parse_inputs(environment: &Environment, log: &Log) -> ParsedInputs {
    let inputs = config::parse(&environment.variables);
    if let Some(key) = &inputs.api_key {
        log.mask(key.reveal());
    }
    inputs
}

fn warn_unknown_inputs(inputs: &ParsedInputs, log: &Log) {
    for (index, UnknownInput { variable, similar }) in inputs.unknown.iter().enumerate() {
        let hint = match similar {
            Some(input) => format!("did you mean {input}?"),
            None => "--help lists all inputs".to_owned(),
        };
        let message = format!("unknown input {variable} ignored; {hint}");
        if index < MAX_UNKNOWN_INPUT_WARNINGS {
            log.warning(&message);
        } else {
            log.line(&format!("warning: {message}"));
        }
    }
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

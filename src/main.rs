//! Passes the arguments, the environment and the working directory to the library, and exits with its code.

use std::process::ExitCode;

use webadmit_export::environment::Environment;
use webadmit_export::run;

fn main() -> ExitCode {
    let environment = Environment {
        arguments: std::env::args_os().skip(1).collect(),
        variables: std::env::vars_os().collect(),
        directory: std::env::current_dir().unwrap_or_default(),
    };
    ExitCode::from(run(&environment))
}

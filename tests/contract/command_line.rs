//! `--help`, `--version`, and unexpected arguments.

use webadmit_export::config;
use webadmit_export::error::ExitCode;
use webadmit_export::report::outputs;

use crate::support::{API_KEY, StandIn, Step, github};

#[test]
fn help_lists_every_input_output_and_exit_code() {
    for argument in ["--help", "-h"] {
        let outcome = Step::in_shell().arg(argument).run().exited(0);
        for input in config::INPUTS {
            assert!(outcome.stdout.contains(&format!("{} ({})", input.variable(), input.name)), "{}", input.name);
        }
        for output in &outputs::OUTPUTS {
            assert!(outcome.stdout.contains(&format!("{} ({})", output.name, outputs::variable(output.name))));
        }
        for code in ExitCode::ALL {
            let line = format!("  {:<5}{}", u8::from(code), code.description());
            assert!(outcome.stdout.contains(&line), "{line}");
        }
        assert!(outcome.stdout.lines().all(|line| line.chars().count() <= 120), "{}", outcome.stdout);
        assert_eq!(outcome.stderr, "");
    }
}

#[test]
fn every_command_has_the_same_help() {
    let help = Step::in_shell().arg("--help").run().exited(0).stdout;
    for command in ["check", "list"] {
        assert_eq!(Step::in_shell().arg(command).arg("--help").run().exited(0).stdout, help, "{command}");
    }
}

#[test]
fn version_prints_name_and_version() {
    for argument in ["--version", "-V"] {
        let outcome = Step::in_shell().arg(argument).run().exited(0);
        assert_eq!(outcome.stdout, concat!("webadmit-export ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

#[test]
fn rejects_unknown_arguments_without_showing_a_key() {
    let outcome = Step::in_shell().arg("--export-id=5").run().exited(2);
    assert!(outcome.error().contains("unexpected argument --export-id;"), "{}", outcome.stderr);
    assert!(outcome.error().contains("--help"), "{}", outcome.stderr);
    // An argument can be the key, whether or not the input has it too.
    for argument in [API_KEY, &format!("--api-key={API_KEY}"), &format!("--api-key{API_KEY}")] {
        for run in [Step::on_github(), Step::in_shell().input("api-key", API_KEY)] {
            run.arg(argument).run().exited(2).with_error("unexpected argument ");
        }
    }
}

#[test]
fn ignores_empty_arguments() {
    let stand_in = StandIn::start();
    github(&stand_in).arg("").run().exited(0);
    Step::on_github().arg("").arg("--version").run().exited(0);
}

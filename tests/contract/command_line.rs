//! `--help`, `--version`, and what is not known.

use webadmit_export::commands::help;
use webadmit_export::config;
use webadmit_export::report::outputs;

use crate::program;
use crate::support::stand_in::KEY;
use crate::support::{Run, StandIn};

#[test]
fn help_lists_every_input_output_and_exit_code() {
    for argument in ["--help", "-h"] {
        let ended = Run::in_shell(program()).arg(argument).run().exited(0);
        for input in &config::INPUTS {
            assert!(ended.stdout.contains(&format!("{} ({})", input.variable(), input.name)), "{}", input.name);
        }
        for output in &outputs::OUTPUTS {
            assert!(ended.stdout.contains(&format!("{} ({})", output.name, outputs::variable(output.name))));
        }
        for (codes, meaning) in help::EXIT_CODES {
            assert!(ended.stdout.contains(codes) && ended.stdout.contains(meaning), "{codes}");
        }
        assert!(ended.stdout.lines().all(|line| line.chars().count() <= 120), "{}", ended.stdout);
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn version_tells_name_and_version() {
    for argument in ["--version", "-V"] {
        let ended = Run::in_shell(program()).arg(argument).run().exited(0);
        assert_eq!(ended.stdout, concat!("webadmit-export ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

#[test]
fn an_unknown_argument_is_bad_input() {
    let ended = Run::in_shell(program()).arg("--export-id=5").run().exited(2);
    assert!(ended.failure().contains("unknown argument --export-id;"), "{}", ended.stderr);
    assert!(ended.failure().contains("--help"), "{}", ended.stderr);
    // It could be the key, which is known from the environment, or not at all.
    for argument in [KEY, &format!("--api-key={KEY}"), &format!("--api-key{KEY}")] {
        for run in [Run::on_github(program()), Run::in_shell(program()).input("api-key", KEY)] {
            run.arg(argument).run().exited(2).failing_with("unknown argument ");
        }
    }
}

#[test]
fn an_empty_argument_is_none() {
    let stand_in = StandIn::start();
    Run::on_github(program()).against(&stand_in).arg("").run().exited(0);
    Run::on_github(program()).arg("").arg("--version").run().exited(0);
}

//! What users read says what the program does.

use std::fs;

use webadmit_export::commands::help;
use webadmit_export::config;
use webadmit_export::report::outputs;

use crate::program;
use crate::support::stand_in::{CYCLES, KEY};
use crate::support::{Run, StandIn};

fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A string in double quotes, which YAML reads as JSON does.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn action_yml_declares_every_input_and_output_in_the_programs_words() {
    let mut inputs = String::from("inputs:\n");
    for input in &config::INPUTS {
        let (name, description, required) = (input.name, quoted(input.meaning), input.required);
        inputs.push_str(&format!("  {name}:\n    description: {description}\n    required: {required}\n"));
        inputs.extend(input.default.map(|default| format!("    default: {}\n", quoted(default))));
    }
    let mut outputs = String::from("outputs:\n");
    for output in &outputs::OUTPUTS {
        outputs.push_str(&format!("  {}:\n    description: {}\n", output.name, quoted(output.meaning)));
    }
    let action = read("action.yml");
    assert!(
        action.contains(&format!("\n{inputs}\n{outputs}\nruns:\n")),
        "action.yml should have:\n{inputs}\n{outputs}"
    );
    let dockerfile = read("Dockerfile");
    let entrypoint = action.lines().find_map(|line| line.trim().strip_prefix("entrypoint: ")).unwrap();
    assert!(dockerfile.contains(&format!("ENTRYPOINT [{}]", quoted(entrypoint))), "{entrypoint}");
}

#[test]
fn the_readme_lists_every_input_output_and_exit_code() {
    let readme = read("README.md");
    for input in &config::INPUTS {
        let default = match input.default {
            Some(default) => format!("`{default}`"),
            None if input.required => "required".to_owned(),
            None => String::new(),
        };
        let row = format!("| `{}` | {default} | {} |", input.name, input.meaning);
        assert!(readme.contains(&row), "the README lacks the row\n{row}");
    }
    for output in &outputs::OUTPUTS {
        let row = format!("| `{}` | `{}` | {} |", output.name, outputs::variable(output.name), output.meaning);
        assert!(readme.contains(&row), "the README lacks the row\n{row}");
    }
    for (codes, meaning) in help::EXIT_CODES {
        let row = format!("| {codes} | {meaning} |");
        assert!(readme.contains(&row), "the README lacks the row\n{row}");
    }
}

/// The inputs of the first workflow in the README.
fn first_workflow(readme: &str) -> Vec<(&str, &str)> {
    let (_, workflow) = readme.split_once("```yaml\n").unwrap();
    let (workflow, _) = workflow.split_once("```").unwrap();
    let (_, step) = workflow.split_once("uses: OWNER/webadmit-export@v1\n").unwrap();
    let lines = step.lines().skip(1).take_while(|line| !line.is_empty());
    lines.map(|line| line.trim().split_once(": ").unwrap()).collect()
}

#[test]
fn the_readmes_first_workflow_has_no_id_and_survives_a_change_of_cycle() {
    let readme = read("README.md");
    let inputs = first_workflow(&readme);
    assert!(inputs.iter().all(|(name, _)| !name.ends_with("-id")) && inputs.len() > 3, "{inputs:?}");
    let stand_in = StandIn::start();
    for cycle in &CYCLES[1..] {
        let run = Run::on_github(program()).input("base-url", &stand_in.api_url());
        let run = inputs.iter().fold(run, |run, (name, value)| {
            run.input(name, value.replace("${{ secrets.WEBADMIT_API_KEY }}", KEY).as_str())
        });
        let ended = run.run().exited(0);
        assert_eq!(ended.outputs["export-id"], cycle.export.to_string());
        assert_eq!(ended.read("exports/Test-API-Export.csv"), stand_in.file());
        stand_in.turn_to_next_cycle();
    }
}

#[test]
fn the_changelog_and_the_manifest_name_the_same_version_or_an_unreleased_one() {
    let changelog = read("CHANGELOG.md");
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## [")?.split(']').next()).unwrap();
    assert!(newest == "Unreleased" || newest == env!("CARGO_PKG_VERSION"), "{newest}");
}

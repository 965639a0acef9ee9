//! What users read says what the program does.

use std::fs;

use webadmit_export::{help, inputs, outputs};

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
    for input in &inputs::DECLARATIONS {
        let (name, description, required) = (input.name, quoted(input.meaning), input.required);
        inputs.push_str(&format!("  {name}:\n    description: {description}\n    required: {required}\n"));
        inputs.extend(input.default.map(|default| format!("    default: {}\n", quoted(default))));
    }
    let mut outputs = String::from("outputs:\n");
    for output in &outputs::DECLARATIONS {
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
    for input in &inputs::DECLARATIONS {
        let default = match input.default {
            Some(default) => format!("`{default}`"),
            None if input.required => "required".to_owned(),
            None => String::new(),
        };
        let row = format!("| `{}` | {default} | {} |", input.name, input.meaning);
        assert!(readme.contains(&row), "the README lacks the row\n{row}");
    }
    for output in &outputs::DECLARATIONS {
        let row = format!("| `{}` | `{}` | {} |", output.name, outputs::variable(output.name), output.meaning);
        assert!(readme.contains(&row), "the README lacks the row\n{row}");
    }
    for (codes, meaning) in help::EXIT_CODES {
        let row = format!("| {codes} | {meaning} |");
        assert!(readme.contains(&row), "the README lacks the row\n{row}");
    }
}

#[test]
fn the_changelog_and_the_manifest_name_the_same_version_or_an_unreleased_one() {
    let changelog = read("CHANGELOG.md");
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## [")?.split(']').next()).unwrap();
    assert!(newest == "Unreleased" || newest == env!("CARGO_PKG_VERSION"), "{newest}");
}

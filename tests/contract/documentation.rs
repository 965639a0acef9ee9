//! The pages and action.yml match the program, and their links lead somewhere.
//!
//! `UPDATE_DOCS=1 cargo test --test contract documentation` writes them.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag};
use webadmit_export::config;
use webadmit_export::error::ExitCode;
use webadmit_export::report::outputs;

use crate::support::{API_KEY, CYCLES, StandIn, Step};

fn absolute(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    let path = absolute(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns a YAML string in double quotes, which has the same syntax as in JSON.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// Compares the text between two markers of a file with what it should be. If UPDATE_DOCS is set, writes the file first.
fn assert_section(path: &str, (begin, end): (&str, &str), expected: &str) {
    let text = read(path);
    let (before, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{path} lacks {begin}"));
    let (section, after) = rest.split_once(end).unwrap_or_else(|| panic!("{path} lacks {end}"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        replace(path, &format!("{before}{begin}{expected}{end}{after}"));
    } else {
        assert_eq!(section, expected, "UPDATE_DOCS=1 cargo test --test contract documentation updates {path}");
    }
}

/// Replaces a file as a whole, because other tests read it at the same time.
pub(crate) fn replace(path: &str, text: &str) {
    let (path, new) = (absolute(path), absolute(&format!("target/{}", path.replace('/', "-"))));
    fs::write(&new, text).unwrap();
    fs::rename(&new, &path).unwrap();
}

#[test]
fn action_yml_declares_every_input_and_output() {
    let mut section = inputs_section();
    section.push_str("\noutputs:\n");
    for output in &outputs::OUTPUTS {
        section.push_str(&format!("  {}:\n    description: {}\n", output.name, quoted(output.description)));
    }
    assert_section("action.yml", ("\ninputs:\n", "\nruns:\n"), &section);
}

/// The composite action has the same inputs and outputs, and `binary-path`. It passes each of them on by name.
#[test]
fn the_action_without_docker_passes_on_every_input_and_output() {
    const PATH: &str = "binary/action.yml";
    const BINARY_PATH: &str = "  binary-path:\n    description: \"Path of a binary on the runner to use instead of downloading \
                               the one of the release; relative to the workspace.\"\n    required: false\n";

    let mut section = inputs_section() + BINARY_PATH + "\noutputs:\n";
    for output in &outputs::OUTPUTS {
        let (name, description) = (output.name, quoted(output.description));
        section.push_str(&format!("  {name}:\n    description: {description}\n"));
        section.push_str(&format!("    value: ${{{{ steps.run.outputs.{name} }}}}\n"));
    }
    assert_section(PATH, ("\ninputs:\n", "\nruns:\n"), &section);

    let inputs = config::INPUTS.iter().map(|input| (input.variable(), input.name));
    let variables = inputs.chain([("BINARY_PATH".to_owned(), "binary-path")]);
    let lines = variables.map(|(variable, name)| format!("        {variable}: ${{{{ inputs.{name} }}}}\n"));
    assert_section(PATH, ("\n      env:\n", "      # exec, "), &lines.collect::<String>());
}

/// Returns the inputs of an action.yml.
fn inputs_section() -> String {
    let mut section = String::new();
    for input in config::INPUTS {
        let (name, description, required) = (input.name, quoted(input.description), input.is_required);
        section.push_str(&format!("  {name}:\n    description: {description}\n    required: {required}\n"));
        section.extend(input.default.map(|default| format!("    default: {}\n", quoted(default))));
    }
    section
}

#[test]
fn action_yml_has_the_entrypoint_of_the_image() {
    let (action, dockerfile) = (read("action.yml"), read("Dockerfile"));
    let entrypoint = action.lines().find_map(|line| line.trim().strip_prefix("entrypoint: ")).unwrap();
    assert!(dockerfile.contains(&format!("ENTRYPOINT [{}]", quoted(entrypoint))), "{entrypoint}");
}

#[test]
fn the_readme_lists_every_input_output_and_exit_code() {
    let rows = config::INPUTS.iter().map(|input| {
        let default = match input.default {
            Some(default) => format!("`{default}`"),
            None if input.is_required => "required".to_owned(),
            None => String::new(),
        };
        format!("| `{}` | {default} | {} |", input.name, input.description)
    });
    assert_table("inputs", "| input | default | description |", rows);

    let rows = outputs::OUTPUTS.iter().map(|output| format!("| `{}` | {} |", output.name, output.description));
    assert_table("outputs", "| output | description |", rows);

    let rows = ExitCode::ALL.iter().map(|&code| format!("| {} | {} |", u8::from(code), code.description()));
    assert_table("exit codes", "| code | meaning |", rows);
}

fn assert_table(name: &str, header: &str, rows: impl Iterator<Item = String>) {
    let columns = header.matches(" | ").count() + 1;
    let rule = format!("|{}", " --- |".repeat(columns));
    let lines: Vec<String> = [header.to_owned(), rule].into_iter().chain(rows).collect();
    let begin = format!("<!-- {name} -->\n");
    assert_section("README.md", (&begin, "<!-- end -->\n"), &format!("\n{}\n\n", lines.join("\n")));
}

/// Returns the inputs of the first example in the README.
fn first_example(readme: &str) -> Vec<(&str, &str)> {
    let (_, example) = readme.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let (_, step) = example.split_once("uses: OWNER/webadmit-export@v1\n").unwrap();
    let lines = step.lines().skip(1).take_while(|line| !line.is_empty());
    lines.map(|line| line.trim().split_once(": ").unwrap()).collect()
}

#[test]
fn the_first_example_of_the_readme_works_in_every_cycle() {
    let readme = read("README.md");
    let inputs = first_example(&readme);
    assert!(inputs.iter().all(|(name, _)| !name.ends_with("-id")) && inputs.len() > 3, "{inputs:?}");
    let stand_in = StandIn::start();
    for cycle in &CYCLES[1..] {
        let step = Step::on_github().input("base-url", &stand_in.api_url());
        let step = inputs.iter().fold(step, |step, (name, value)| {
            step.input(name, value.replace("${{ secrets.WEBADMIT_API_KEY }}", API_KEY).as_str())
        });
        let outcome = step.run().exited(0);
        assert_eq!(outcome.outputs["export-id"], cycle.export.to_string());
        assert_eq!(outcome.read("exports/Test-API-Export.csv"), stand_in.file());
        stand_in.start_next_cycle();
    }
}

#[test]
fn the_newest_version_of_the_changelog_is_unreleased_or_that_of_the_manifest() {
    let changelog = read("CHANGELOG.md");
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## [")?.split(']').next()).unwrap();
    assert!(newest == "Unreleased" || newest == env!("CARGO_PKG_VERSION"), "{newest}");
}

#[test]
fn every_relative_link_of_the_pages_leads_to_a_file_and_a_heading() {
    let pages = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "examples/ci/README.md",
        "examples/engines/README.md",
    ]
    .map(PathBuf::from);
    let docs = fs::read_dir(absolute("docs")).unwrap().map(|entry| Path::new("docs").join(entry.unwrap().file_name()));
    let docs = docs.filter(|page| page.extension().is_some_and(|extension| extension == "md"));

    let mut checked = 0;
    for page in pages.into_iter().chain(docs) {
        let text = read(page.to_str().unwrap());
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event else { continue };
            // Pages of the repository on GitHub, such as the releases, are two levels above the root of the files.
            let levels_up = dest_url.split('/').take_while(|part| *part == "..").count();
            let is_page_of_repository = levels_up == page.parent().unwrap().components().count() + 2;
            if dest_url.contains("://") || is_page_of_repository {
                continue;
            }
            let (file, anchor) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            let path = absolute(target.to_str().unwrap());
            assert!(Path::new(&path).exists(), "{}: {dest_url}", page.display());
            if !anchor.is_empty() {
                assert!(anchors(&fs::read_to_string(path).unwrap()).contains(anchor), "{}: {dest_url}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} links were found");
}

#[test]
fn every_path_that_contributing_names_exists() {
    let text = read("CONTRIBUTING.md");
    let folders = ["src/", "tests/", "scripts/", "docs/", "benches/", "binary/", "examples/", ".ci/", ".github/"];
    let spans = Parser::new_ext(&text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Code(span) => span.split(' ').next().map(str::to_owned),
        _ => None,
    });
    let paths: Vec<String> = spans.filter(|span| folders.iter().any(|folder| span.starts_with(folder))).collect();
    assert!(paths.len() > 40, "only {} paths were found", paths.len());
    for path in paths {
        assert!(Path::new(&absolute(&path)).exists(), "CONTRIBUTING.md names {path}, which does not exist");
    }
}

/// Returns the anchors that GitHub gives the headings of a page.
fn anchors(text: &str) -> HashSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let titles = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    titles.map(|title| title.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

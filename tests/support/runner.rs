//! How GitHub's runner and the Azure agent read what a step writes.
//!
//! - A line ends at `\n`, at `\r\n`, and at a lone `\r`.
//! - `::name::` or `::name key=value::` at the start of a line, after any white space, is a command.
//! - `##[name]` anywhere in a line is a command for GitHub, `##vso[` for Azure.

use std::collections::BTreeMap;

/// Returns the names of the commands in a log.
pub fn commands(log: &str) -> Vec<String> {
    log.split(['\n', '\r']).flat_map(commands_of_line).collect()
}

fn commands_of_line(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Some((name, _)) = line.trim_start().strip_prefix("::").and_then(|rest| rest.split_once("::")) {
        found.push(name.split_whitespace().next().unwrap_or_default().to_owned());
    }
    for marker in ["##[", "##vso["] {
        if line.contains(marker) {
            found.push(marker.to_owned());
        }
    }
    found
}

/// Parses a file of outputs: `name=value`, or `name<<DELIMITER` and lines up to the delimiter.
pub fn parse_outputs(text: &str) -> BTreeMap<String, String> {
    let mut outputs = BTreeMap::new();
    let mut lines = text.lines().filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        match (line.find('='), line.find("<<")) {
            (Some(equals), heredoc) if heredoc.is_none_or(|heredoc| equals < heredoc) => {
                outputs.insert(line[..equals].to_owned(), line[equals + 1..].to_owned());
            }
            (_, Some(heredoc)) => {
                let delimiter = &line[heredoc + 2..];
                let mut value = Vec::new();
                loop {
                    match lines.next() {
                        Some(line) if line == delimiter => break,
                        Some(line) => value.push(line),
                        None => panic!("the runner finds no line {delimiter:?}"),
                    }
                }
                outputs.insert(line[..heredoc].to_owned(), value.join("\n"));
            }
            _ => panic!("the runner rejects the line {line:?}"),
        }
    }
    outputs
}

#[test]
fn finds_commands_where_a_runner_does() {
    for (line, names) in [
        ("::error::x", vec!["error"]),
        ("  \t::warning file=a,line=1::x", vec!["warning"]),
        ("x\r::error::y", vec!["error"]),
        ("x ::error::y", vec![]),
        ("::error", vec![]),
        ("x ##[group]y", vec!["##["]),
        ("x##vso[task.complete]", vec!["##vso["]),
        ("# #[x]", vec![]),
    ] {
        assert_eq!(commands(line), names, "{line:?}");
    }
}

#[test]
#[should_panic(expected = "the runner finds no line \"END\"")]
fn a_value_needs_its_delimiter() {
    parse_outputs("name<<END\nvalue\n");
}

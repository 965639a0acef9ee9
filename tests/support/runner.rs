//! What GitHub's runner and Azure's agent take for a command, written down once.
//!
//! - A line ends at `\n`, at `\r\n`, and at a lone `\r`.
//! - `::name::` or `::name key=value::` at the start of a line, after any white space, is a command.
//! - `##[name]` anywhere in a line is one for GitHub, `##vso[` for Azure.

/// The names of the commands in what a program has printed.
pub fn commands(stdout: &str) -> Vec<String> {
    stdout.split(['\n', '\r']).flat_map(commands_of_line).collect()
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

#[test]
fn commands_are_found_wherever_a_runner_finds_them() {
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

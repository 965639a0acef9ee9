//! The outputs as text: for GitHub's runner, as lines, and as JSON.

use serde_json::Value;

use super::{Output, OutputValue, variable, with_value};
use crate::text::sanitize;

/// What is written to the output file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OutputFileFormat {
    /// `WEBADMIT_<NAME>=value` lines.
    #[default]
    Lines,
    /// One JSON object.
    Json,
}

impl OutputFileFormat {
    /// Returns the format of an output file of this name.
    pub(crate) fn of(output_file: &str) -> Self {
        if output_file.to_ascii_lowercase().ends_with(".json") { Self::Json } else { Self::Lines }
    }
}

/// Returns outputs for GitHub's runner: `name=value`, or several lines between `name<<DELIMITER` and the delimiter.
pub(super) fn github(outputs: &[Output]) -> String {
    let mut text = String::new();
    for (name, value) in with_value(outputs) {
        match value {
            OutputValue::Lines(lines) if lines.len() > 1 => {
                let mut delimiter = "END".to_owned();
                while lines.contains(&delimiter) {
                    delimiter.push('-');
                }
                text.push_str(&format!("{name}<<{delimiter}\n{}\n{delimiter}\n", lines.join("\n")));
            }
            value => text.push_str(&format!("{name}={}\n", value.join_lines("\n"))),
        }
    }
    text
}

/// Returns `WEBADMIT_<NAME>=value` lines, the syntax of GitLab's dotenv reports. Bitbucket and Jenkins read it as well. Outputs of
/// several lines or in JSON are omitted: a line has one value, and some readers limit the size of the file.
pub(super) fn lines(outputs: &[Output]) -> String {
    let lines = with_value(outputs).filter_map(|(name, value)| match value {
        OutputValue::Line(_) | OutputValue::Number(_) => {
            Some(format!("{}={}\n", variable(name), value.join_lines("\n")))
        }
        OutputValue::Lines(_) | OutputValue::Json(_) => None,
    });
    lines.collect()
}

/// Returns a JSON object in one line. It has every output, without a value as null.
pub(super) fn json(outputs: &[Output]) -> String {
    let members = outputs.iter().map(|(name, value)| {
        let value = match value {
            None => Value::Null.to_string(),
            Some(OutputValue::Line(text)) => Value::from(text.as_str()).to_string(),
            Some(OutputValue::Number(number)) => number.to_string(),
            Some(OutputValue::Lines(lines)) => Value::from(lines.as_slice()).to_string(),
            Some(OutputValue::Json(json)) => json.clone(),
        };
        format!("\"{}\":{value}", name.replace('-', "_"))
    });
    let members: Vec<String> = members.collect();
    sanitize::escape_json(&format!("{{{}}}\n", members.join(",")))
}

//! The text of `--help`, made from the tables of inputs, outputs and exit codes.

use crate::config;
use crate::error::ExitCode;
use crate::report::outputs;

/// Maximum length of a line of a description.
const WIDTH: usize = 100;

/// Indentation of a description.
const INDENT: usize = 6;

/// Name and version of the program.
pub(crate) const NAME_AND_VERSION: &str = concat!("webadmit-export ", env!("CARGO_PKG_VERSION"));

/// Returns the text of `--help`.
#[must_use]
pub(crate) fn text() -> String {
    let mut text = format!(
        "{NAME_AND_VERSION}\n\
         Downloads the files of WebAdMIT exports and PDF Manager templates: starts runs or uses existing ones, waits until they\n\
         end, and saves their files. Several runs are fetched at the same time.\n\n\
         Usage: webadmit-export                   download the files of exports and PDF templates\n       \
         webadmit-export check             verify key, names, destination and outputs without starting a run\n       \
         webadmit-export list [--json]     list the identities, exports and PDF templates that the key can see\n       \
         webadmit-export --help | --version\n\n\
         Inputs are environment variables. Files go to the workspace: $GITHUB_WORKSPACE, or else the working directory.\n\
         INPUT_COMMAND=check or list has the same effect as the argument. list needs only api-key, and also uses base-url,\n\
         timeout, poll-interval, allow-http and ca-file.\n\n\
         Inputs:\n"
    );
    for input in config::INPUTS {
        let default = match input.default {
            Some(default) => format!(" [default: {default}]"),
            None if input.is_required => " [required]".to_owned(),
            None => String::new(),
        };
        text.push_str(&entry(
            &format!("{} ({})", input.variable(), input.name),
            &format!("{}{default}", input.description),
        ));
    }
    text.push_str(
        "\n  GitHub's spelling with hyphens (INPUT_EXPORT-ID) and any letter case are accepted. An empty value counts as not\n  \
         given. SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are used as well.\n\n\
         Outputs, written to $GITHUB_OUTPUT, to output-file (as WEBADMIT_STATUS=… and so on, or as JSON), to output-directory,\n\
         to the log, and on Azure Pipelines (TF_BUILD) to output variables:\n",
    );
    for output in &outputs::OUTPUTS {
        text.push_str(&entry(&format!("{} ({})", output.name, outputs::variable(output.name)), output.description));
    }
    text.push_str("\nExit codes:\n");
    for code in ExitCode::ALL {
        text.push_str(&format!("  {:<5}{}\n", u8::from(code), code.description()));
    }
    text
}

/// Returns a name, and its description in indented lines.
fn entry(name: &str, description: &str) -> String {
    let mut text = format!("  {name}\n");
    let mut line = String::new();
    for word in description.split(' ') {
        if INDENT + line.len() + 1 + word.len() > WIDTH {
            text.push_str(&format!("{:INDENT$}{line}\n", ""));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    text.push_str(&format!("{:INDENT$}{line}\n", ""));
    text
}

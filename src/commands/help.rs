//! What `--help` says. It is made of the same tables that the inputs and outputs are read and written by.

use crate::config;
use crate::report::outputs;

const WIDTH: usize = 100;
const INDENT: usize = 6;

/// The name and the version.
pub const VERSION: &str = concat!("webadmit-export ", env!("CARGO_PKG_VERSION"));

/// The text of `--help`.
#[must_use]
pub fn text() -> String {
    let mut text = format!(
        "{VERSION}\n\
         Starts a run of a WebAdMIT export or takes one that is there, waits for it, and brings its file into the workspace.\n\n\
         Usage: webadmit-export                   bring a file home\n       \
         webadmit-export list [--json]     show the identities and exports that the key can see\n       \
         webadmit-export --help | --version\n\n\
         Everything else comes from the environment. The workspace is $GITHUB_WORKSPACE, and where that is not\n\
         set the working directory. The list needs the api-key alone, and obeys base-url, timeout, poll-interval,\n\
         allow-http and ca-file.\n\n\
         Inputs:\n"
    );
    for input in &config::INPUTS {
        let default = match input.default {
            Some(default) => format!(" [default: {default}]"),
            None if input.required => " [required]".to_owned(),
            None => String::new(),
        };
        text.push_str(&entry(
            &format!("{} ({})", input.variable(), input.name),
            &format!("{}{default}", input.meaning),
        ));
    }
    text.push_str(
        "\n  GitHub's own spelling with hyphens (INPUT_EXPORT-ID) and any letter case mean the same. An empty value is\n  \
         the same as none. Obeyed as well: SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.\n\n\
         Outputs, written to $GITHUB_OUTPUT, to output-file (as WEBADMIT_STATUS and so on), to the log, and on Azure\n\
         Pipelines (TF_BUILD) as output variables:\n",
    );
    for output in &outputs::OUTPUTS {
        text.push_str(&entry(&format!("{} ({})", output.name, outputs::variable(output.name)), output.meaning));
    }
    text.push_str("\nExit codes:\n");
    for (codes, meaning) in EXIT_CODES {
        text.push_str(&format!("  {codes:<9}{meaning}\n"));
    }
    text
}

/// The exit codes. The README has the same table; a test compares them.
pub const EXIT_CODES: [(&str, &str); 7] = [
    ("0", "the run ended in a status that is not in fail-on, and its file (if it has one) is in place"),
    ("1", "anything else that went wrong: network, store, disk"),
    ("2", "bad inputs"),
    ("3", "the run ended in a status listed in fail-on (a file that exists is still downloaded first)"),
    ("4", "timed out; the message says how long, and which status was last seen"),
    ("5", "the API refused (401, 403, 404), or a name was not found, or found more than once"),
    ("130, 143", "interrupted by SIGINT, SIGTERM"),
];

fn entry(name: &str, meaning: &str) -> String {
    let mut text = format!("  {name}\n");
    let mut line = String::new();
    for word in meaning.split(' ') {
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

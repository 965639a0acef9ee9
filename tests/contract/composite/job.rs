//! A job of GitHub's runner with one step, which uses `binary/action.yml`, and a release for it.

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use saphyr::{LoadableYamlNode, YamlOwned};
use tempfile::TempDir;

use crate::support::{Action, Authority, Flaw, Outcome, Server, Step, respond, sha256_hex};

/// The program that Cargo has built.
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_webadmit-export");

/// The architecture of this machine, as `uname` prints it.
pub(super) const ARCH: &str = env::consts::ARCH;

pub(super) const VERSION: &str = "9.8.7";

/// Returns a program that is a script.
pub(super) fn script(commands: &str) -> Vec<u8> {
    format!("#!/bin/sh\n{commands}\n").into_bytes()
}

/// Parses the composite action.
fn load_action() -> YamlOwned {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("binary/action.yml")).unwrap();
    YamlOwned::load_from_str(&text).unwrap().remove(0)
}

/// A release with one program. As on GitHub, its address redirects to another one.
pub(super) struct Release {
    pub(super) server: Server,
    authority: Authority,
    program_sha256: String,
    first: Arc<Mutex<VecDeque<Vec<Action>>>>,
}

impl Release {
    pub(super) fn of(program: Vec<u8>) -> Self {
        let (authority, program_sha256) = (Authority::new(), sha256_hex(&program));
        let first: Arc<Mutex<VecDeque<Vec<Action>>>> = Arc::default();
        let for_server = Arc::clone(&first);
        let server = Server::start_tls(authority.server(Flaw::None), move |request| {
            if request.target != "/asset" {
                return respond(302, &[("Location", "/asset")], "");
            }
            let planned = for_server.lock().unwrap().pop_front();
            planned.unwrap_or_else(|| respond(200, &[], &program))
        });
        Self { server, authority, program_sha256, first }
    }

    /// Responds with these to the first requests for the program.
    pub(super) fn respond_first(&self, responses: Vec<Vec<Action>>) {
        self.first.lock().unwrap().extend(responses);
    }

    /// Returns how often the program was requested.
    pub(super) fn downloads(&self) -> usize {
        self.server.requests().iter().filter(|request| request.target == "/asset").count()
    }

    /// Waits until the program was requested this often, each time after a redirect.
    pub(super) fn wait_for_downloads(&self, number: usize) {
        self.server.wait_for_requests(2 * number);
    }

    /// Returns the line that the release commit has for this machine.
    pub(super) fn checksums(&self) -> String {
        let url = self.server.url();
        format!("{ARCH} {VERSION} {} {url}/download/v{VERSION}/program\n", self.program_sha256)
    }
}

/// A job on a runner. Its steps share the cache of tools.
pub(super) struct Job {
    root: TempDir,
    authorities: String,
}

impl Job {
    /// Prepares a job that uses the action of a release.
    pub(super) fn of(release: &Release) -> Self {
        Self::with_checksums(&release.checksums()).trusting(release)
    }

    /// Prepares a job that uses the action with these checksums, after the comments of the file.
    pub(super) fn with_checksums(lines: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let job = Self { root, authorities: String::new() };
        for directory in ["the action", "commands", "tool cache", "temp"] {
            fs::create_dir(job.root.path().join(directory)).unwrap();
        }
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("binary");
        fs::copy(project.join("run"), job.action().join("run")).unwrap();
        let own = fs::read_to_string(project.join("checksums")).unwrap();
        let comments: String =
            own.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        fs::write(job.action().join("checksums"), comments + lines).unwrap();
        job.executable("commands/sleep", script("echo slept $1"));
        job
    }

    /// Makes curl trust the certificate of a release's server.
    pub(super) fn trusting(mut self, release: &Release) -> Self {
        self.authorities = release.authority.pem();
        self
    }

    /// Makes `uname` print this.
    pub(super) fn on_platform(self, platform: &str) -> Self {
        self.executable("commands/uname", script(&format!("echo '{platform}'")));
        self
    }

    fn action(&self) -> PathBuf {
        self.root.path().join("the action")
    }

    pub(super) fn tool_cache(&self) -> PathBuf {
        self.root.path().join("tool cache")
    }

    /// Lists the files in the cache of tools.
    pub(super) fn cached_files(&self) -> Vec<String> {
        let find =
            Command::new("find").args([".", "-type", "f", "-printf", "%P\\n"]).current_dir(self.tool_cache()).output();
        let mut files: Vec<_> = String::from_utf8(find.unwrap().stdout).unwrap().lines().map(str::to_owned).collect();
        files.sort();
        files
    }

    /// Creates a program in the job's directory.
    pub(super) fn executable(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let (source, program) = (self.root.path().join("source"), self.root.path().join(name));
        fs::write(&source, bytes).unwrap();
        self.install(&source, &program);
        program
    }

    /// Copies a file to one that can be executed. Another process does that: the system executes no file that is open for
    /// writing, and a process that another test starts at the same time would inherit the open file.
    pub(super) fn install(&self, source: &Path, program: &Path) {
        assert!(Command::new("install").arg("--mode=755").args([source, program]).status().unwrap().success());
    }

    /// Returns a `PATH` with everything that the action may use, except for one command.
    pub(super) fn path_without(&self, command: &str) -> PathBuf {
        let directory = self.root.path().join("some commands");
        fs::create_dir(&directory).unwrap();
        for needed in ["bash", "chmod", "curl", "mkdir", "mktemp", "mv", "rm", "sha256sum", "uname"] {
            let which = Command::new("bash").args(["-c", "type -P \"$0\"", needed]).output().unwrap().stdout;
            if needed != command {
                let target = String::from_utf8(which).unwrap();
                std::os::unix::fs::symlink(target.trim_end(), directory.join(needed)).unwrap();
            }
        }
        directory
    }

    /// Prepares the step of the composite action, with these inputs.
    pub(super) fn step(&self, with: &[(&str, String)]) -> Step {
        let action = load_action();
        let [step] = action["runs"]["steps"].as_vec().unwrap().as_slice() else { panic!("the action has one step") };
        assert_eq!(step["shell"].as_str(), Some("bash"));
        let script = step["run"].as_str().unwrap();
        assert!(!script.contains("${{"), "{script}");
        let file = self.root.path().join("temp/step.sh");
        fs::write(&file, script).unwrap();

        let mut path = OsString::from(self.root.path().join("commands"));
        path.push(":");
        path.push(env::var_os("PATH").unwrap());
        let mut prepared = Step::on_github().program("bash").env("PATH", path);
        for argument in ["--noprofile", "--norc", "-e", "-o", "pipefail", file.to_str().unwrap()] {
            prepared = prepared.arg(argument);
        }
        prepared = prepared.env("GITHUB_ACTION_PATH", self.action());
        prepared = prepared.env("RUNNER_TOOL_CACHE", self.tool_cache());
        prepared = prepared.env("RUNNER_TEMP", self.root.path().join("temp"));
        if !self.authorities.is_empty() {
            let bundle = self.root.path().join("authorities.pem");
            fs::write(&bundle, &self.authorities).unwrap();
            prepared = prepared.env("CURL_CA_BUNDLE", bundle);
        }

        let inputs = inputs(&action, with);
        for (variable, value) in step["env"].as_mapping().unwrap() {
            let name = expression(value, "inputs.");
            prepared = prepared.env(variable.as_str().unwrap(), inputs[&*name].clone());
        }
        prepared
    }

    /// Returns the outputs of the composite action after its step.
    pub(super) fn outputs(&self, outcome: &Outcome) -> BTreeMap<String, String> {
        let action = load_action();
        let id = action["runs"]["steps"][0]["id"].as_str().unwrap();
        let outputs = action["outputs"].as_mapping().unwrap().iter().map(|(name, output)| {
            let of_step = expression(&output["value"], &format!("steps.{id}.outputs."));
            (name.as_str().unwrap().to_owned(), outcome.outputs.get(&of_step).cloned().unwrap_or_default())
        });
        outputs.collect()
    }
}

/// Returns the values of all inputs: those of the step, defaults, or an empty text.
fn inputs(action: &YamlOwned, with: &[(&str, String)]) -> BTreeMap<String, String> {
    let declared = action["inputs"].as_mapping().unwrap().iter();
    let mut values: BTreeMap<String, String> = declared
        .map(|(name, input)| {
            let default = input.as_mapping_get("default").map_or("", |default| default.as_str().unwrap());
            (name.as_str().unwrap().to_owned(), default.to_owned())
        })
        .collect();
    for (name, value) in with {
        *values.get_mut(*name).unwrap_or_else(|| panic!("{name} is not an input")) = value.clone();
    }
    values
}

/// Returns NAME, if the value is the expression `${{ CONTEXT.NAME }}`.
fn expression(value: &YamlOwned, context: &str) -> String {
    let text = value.as_str().unwrap();
    let inside = text.strip_prefix("${{ ").and_then(|rest| rest.strip_suffix(" }}"));
    let name = inside.and_then(|inside| inside.strip_prefix(context));
    name.unwrap_or_else(|| panic!("{text} is not an expression of {context}")).to_owned()
}

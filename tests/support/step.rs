//! A step that runs the built program as a CI system does: with an environment of its own, a workspace, and files for its
//! outputs.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::os::unix::fs::{chown, lchown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::json::{EXPORT_ID, EXPORT_NAME, IDENTITY_ID, RUN_ID};
use super::leaks::{self, API_KEY};
use super::runner;
use super::server::{EVENT_TIMEOUT, UNKNOWN_HOST};
use super::stand_in::StandIn;
use super::store::FILENAME;

/// The name of the program's copy that another user runs.
const PROGRAM_COPY: &str = "program";

/// A user who is not root and owns nothing.
pub const ORDINARY_USER: u32 = 65_534;

/// Prepares a step on GitHub that downloads the run of a stand-in, given by its ids.
pub fn github(stand_in: &StandIn) -> Step {
    github_at(&stand_in.api_url())
}

/// Prepares the same step with this `base-url`.
pub fn github_at(base_url: &str) -> Step {
    Step::on_github().download_from(base_url)
}

/// Prepares the same step as a shell in any other CI system runs it.
pub fn shell(stand_in: &StandIn) -> Step {
    shell_at(&stand_in.api_url())
}

/// Prepares the same step in a shell, with this `base-url`.
pub fn shell_at(base_url: &str) -> Step {
    Step::in_shell().download_from(base_url)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CiSystem {
    GitHub,
    Shell,
}

/// A step that has not started.
pub struct Step {
    program: PathBuf,
    system: CiSystem,
    root: TempDir,
    variables: BTreeMap<OsString, OsString>,
    arguments: Vec<String>,
    wrapper: Vec<String>,
    user: Option<u32>,
}

impl Step {
    /// Prepares a step without inputs, with the environment that GitHub's runner sets.
    pub fn on_github() -> Self {
        let mut step = Self::new(CiSystem::GitHub);
        for (variable, file) in [("GITHUB_OUTPUT", "outputs"), ("GITHUB_STEP_SUMMARY", "summary.md")] {
            let path = step.root.path().join(file);
            fs::write(&path, "").unwrap();
            step = step.env(variable, path);
        }
        let workspace = step.workspace();
        step.env("GITHUB_WORKSPACE", workspace).env("GITHUB_ACTIONS", "true")
    }

    /// Prepares a step without inputs, with the environment of a shell in any other CI system.
    pub fn in_shell() -> Self {
        Self::new(CiSystem::Shell)
    }

    fn new(system: CiSystem) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("workspace")).unwrap();
        let path = env::var_os("PATH").unwrap_or_default();
        // `scripts/test-image` names a program that runs in the image. The examples set their own.
        let built = option_env!("CARGO_BIN_EXE_webadmit-export").unwrap_or_default();
        Self {
            program: env::var_os("WEBADMIT_EXPORT_PROGRAM").map_or_else(|| built.into(), Into::into),
            system,
            root,
            variables: BTreeMap::from([("PATH".into(), path)]),
            arguments: Vec::new(),
            wrapper: Vec::new(),
            user: None,
        }
    }

    /// Downloads the run [`RUN_ID`], given by its ids, from this API.
    pub fn download_from(self, base_url: &str) -> Self {
        self.input("base-url", base_url)
            .input("api-key", API_KEY)
            .input("export-id", &EXPORT_ID.to_string())
            .input("export-file-id", &RUN_ID.to_string())
            .input("poll-interval", "50ms")
    }

    /// Starts a new run, with export and identity given by name and no ids.
    pub fn by_names(self) -> Self {
        self.new_run().input("export-id", "").input("export-name", EXPORT_NAME).input("identity", "SOPHAS")
    }

    /// Starts a new run, with export and identity given by their ids.
    pub fn by_identity_id(self) -> Self {
        self.new_run().input("user-identity-id", &IDENTITY_ID.to_string())
    }

    fn new_run(self) -> Self {
        self.input("export-file-id", "")
    }

    pub fn program(mut self, program: &str) -> Self {
        self.program = program.into();
        self
    }

    /// Sets an input, as the CI system names its variable.
    pub fn input(self, name: &str, value: &str) -> Self {
        let variable = format!("INPUT_{}", name.to_uppercase());
        let variable = if self.system == CiSystem::GitHub { variable } else { variable.replace('-', "_") };
        self.env(&variable, value)
    }

    pub fn env(mut self, variable: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(variable.into(), value.into());
        self
    }

    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Runs a command that runs the program. The path of the program is its next argument.
    pub fn wrapped_in(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Limits the address space, of which a debug build needs 40 MB at its start. Has no effect if a container runs the
    /// program, because the limit would apply to the container engine.
    pub fn with_limited_memory(self) -> Self {
        if env::var_os("WEBADMIT_EXPORT_PROGRAM").is_some() {
            return self;
        }
        self.wrapped_in(&["bash", "-c", "ulimit -v 120000; exec \"$0\""])
    }

    /// Runs as a user who is not root. If the test runs as root, that is another user, who then owns the workspace and the
    /// runner's files.
    pub fn with_ordinary_user(mut self) -> Self {
        if !geteuid().is_root() {
            return self;
        }
        // The user may not be able to enter the directory in which the program was built.
        let copy = self.root.path().join(PROGRAM_COPY);
        // `cp` runs in another process. If this one had the copy open for writing, a step that starts at the same time would
        // inherit the open file, and the system executes no file that is open for writing.
        assert!(Command::new("cp").args([&self.program, &copy]).status().unwrap().success());
        self.program = copy;
        self.user = Some(ORDINARY_USER);
        self
    }

    /// Saves the file to a new disk of this size, with an existing file. At the end, prints the files on the disk and their
    /// contents. Only for steps in a shell, whose variables have no hyphens: `sh` drops those that have one.
    pub fn on_small_disk(self, size: &str) -> Self {
        let script = format!(
            "mkdir small && mount -t tmpfs -o size={size} none small && echo existing > small/{FILENAME} \
             && {{ \"$0\"; code=$?; ls -A small; cat small/*; exit $code; }}"
        );
        self.input("directory", "small").wrapped_in(&["unshare", "--mount", "--map-root-user", "sh", "-c", &script])
    }

    /// Creates a file in the workspace.
    pub fn existing_file(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.workspace().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    pub fn workspace(&self) -> PathBuf {
        self.root.path().join("workspace")
    }

    /// Checks that the program does not need this machine's resolver, which can be slow or know any name.
    fn assert_no_dns(&self) {
        let variables: Vec<_> = self.variables.iter().map(|(name, value)| (name.to_string_lossy(), value)).collect();
        if variables.iter().any(|(name, _)| name.to_lowercase().ends_with("_proxy")) {
            return;
        }
        let base_urls = variables.iter().filter(|(name, _)| name.to_lowercase().replace('-', "_") == "input_base_url");
        for (_, base_url) in base_urls {
            let url = reqwest::Url::parse(&base_url.to_string_lossy()).ok();
            let host = url.as_ref().and_then(reqwest::Url::host_str).unwrap_or(UNKNOWN_HOST);
            let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
            assert!(is_address || [UNKNOWN_HOST, "localhost"].contains(&host), "the test would look {host} up");
        }
    }

    /// Runs the program until it exits.
    pub fn run(self) -> Outcome {
        self.spawn().wait()
    }

    /// Starts the program.
    pub fn spawn(self) -> RunningStep {
        self.assert_no_dns();

        let program = self.program.display().to_string();
        let mut words = self.wrapper.iter().chain([&program]).chain(&self.arguments);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).env_clear().envs(&self.variables).current_dir(self.workspace());
        if let Some(user) = self.user {
            change_owner(self.root.path(), user);
            command.uid(user).gid(user);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());

        let mut child = command.spawn().unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        RunningStep { child: Program(child), stdout, stderr, variables: self.variables, root: self.root }
    }
}

/// Plays a scenario that ends at the timeout, with longer and longer timeouts until `is_reached` says that it got far enough
/// before that. `play` gets the value of the input.
pub fn with_growing_timeout(mut play: impl FnMut(&str) -> Outcome, is_reached: impl Fn(&Outcome) -> bool) -> Outcome {
    for timeout in ["300ms", "2s", "15s"] {
        let outcome = play(timeout);
        if is_reached(&outcome) {
            return outcome;
        }
    }
    play("50s")
}

/// Returns a timeout of [`with_growing_timeout`] as messages show it.
pub fn displayed(timeout: &str) -> String {
    let unit = timeout.find(|c: char| !c.is_ascii_digit()).unwrap();
    format!("{} {}", &timeout[..unit], &timeout[unit..])
}

/// Plays a scenario up to ten times, until `is_reached`. For what depends on transfer rates, which a busy machine disturbs.
pub fn repeat_until<T>(mut play: impl FnMut() -> T, is_reached: impl Fn(&T) -> bool) -> T {
    for _ in 0..9 {
        let outcome = play();
        if is_reached(&outcome) {
            return outcome;
        }
    }
    play()
}

/// A program that is killed if a test ends before it does.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail if it has exited, as it should have.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A step whose program is running.
pub struct RunningStep {
    child: Program,
    stdout: Lines,
    stderr: Lines,
    variables: BTreeMap<OsString, OsString>,
    root: TempDir,
}

impl RunningStep {
    /// Waits until stdout has a line that contains these words.
    #[track_caller]
    pub fn wait_for_stdout(&self, words: &str) {
        assert!(self.stdout.wait_for(words), "no line with {words:?} in:\n{}", self.stdout.text());
    }

    /// Waits until stderr has a line that contains these words.
    #[track_caller]
    pub fn wait_for_stderr(&self, words: &str) {
        assert!(self.stderr.wait_for(words), "no line with {words:?} in:\n{}", self.stderr.text());
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child.0), signal).unwrap();
    }

    /// Returns the id of the process: the wrapper's, if there is one.
    pub fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Calls `each` with every line of stdout as it arrives, until the program exits.
    pub fn follow(&self, mut each: impl FnMut(&str)) {
        let mut seen = 0;
        loop {
            let (lines, is_complete) = self.stdout.after(seen);
            lines.iter().for_each(|line| each(line));
            seen += lines.len();
            if is_complete && lines.is_empty() {
                return;
            }
        }
    }

    /// Waits until the program exits, and returns the most memory that it used at a time, in KiB.
    pub fn wait_for_peak_memory(&self) -> u64 {
        let mut peak = 0;
        // A process that has exited, but was not waited for, still has a status, without its memory.
        while let Some(so_far) = self.peak_memory() {
            peak = so_far;
            thread::yield_now();
        }
        peak
    }

    fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let mut lines = status.lines();
        lines.find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
    }

    /// Waits until the program exits, and kills it after six minutes. Whatever the test is about, nothing that the step has
    /// left behind may contain a secret or applicant data.
    pub fn wait(mut self) -> Outcome {
        let has_exited = self.stdout.wait_for_end() && self.stderr.wait_for_end();
        if !has_exited {
            let _ = self.child.0.kill();
        }
        let status = self.child.0.wait().unwrap();
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        assert!(has_exited, "the program did not exit:\n{stdout}\n{stderr}");

        let variable = |name: &str| self.variables.get(&OsString::from(name));
        let read = |name: &str| {
            // A device, such as /dev/full, may have no end.
            let path = variable(name).filter(|path| Path::new(path).is_file());
            path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
        };
        let (output_text, summary) = (read("GITHUB_OUTPUT"), read("GITHUB_STEP_SUMMARY"));
        let outputs = runner::parse_outputs(&output_text);
        let masks_key = variable("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        let outcome = Outcome { status, stdout, stderr, outputs, output_text, summary, masks_key, root: self.root };
        outcome.assert_no_leak();
        outcome
    }
}

/// What a step has left behind.
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// The outputs, as the runner reads them from `GITHUB_OUTPUT`.
    pub outputs: BTreeMap<String, String>,
    pub output_text: String,
    pub summary: String,
    /// Whether the program may print the key, in the command that masks it.
    masks_key: bool,
    root: TempDir,
}

impl Outcome {
    /// Checks the exit code.
    #[track_caller]
    pub fn exited(self, code: i32) -> Self {
        let log = format!("{}\n{}", self.stdout, self.stderr);
        assert_eq!(self.status.code(), Some(code), "signal {:?}:\n{log}", self.status.signal());
        self
    }

    /// Checks that the error contains these words: the one annotation on GitHub, elsewhere stderr.
    #[track_caller]
    pub fn with_error(self, words: &str) -> Self {
        let error = self.error();
        assert!(error.contains(words), "{words:?} is not in {error:?}\n{}", self.stdout);
        self
    }

    /// Returns the text of the error, with its line breaks.
    pub fn error(&self) -> String {
        let annotations: Vec<&str> = self.stdout.lines().filter(|line| line.starts_with("::error")).collect();
        match annotations.as_slice() {
            [] => self.stderr.strip_prefix("error: ").unwrap_or_default().trim_end().to_owned(),
            [one] => one.splitn(3, "::").nth(2).unwrap_or_default().replace("%0A", "\n").replace("%25", "%"),
            many => panic!("{} annotations: {many:?}", many.len()),
        }
    }

    /// Returns the output `files`.
    #[track_caller]
    pub fn output_files(&self) -> Vec<Value> {
        serde_json::from_str(&self.outputs["files"]).unwrap()
    }

    pub fn workspace(&self) -> PathBuf {
        self.root.path().join("workspace")
    }

    /// Reads a file of the workspace.
    #[track_caller]
    pub fn read(&self, path: &str) -> Vec<u8> {
        let path = self.workspace().join(path);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), self.stdout))
    }

    /// Lists everything in the workspace, hidden files too. A directory ends with a slash.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        list_files(&self.workspace(), "", &mut found);
        found.sort();
        found
    }

    /// Returns whether anything that the step has left behind contains these words.
    pub fn mentions(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.everything()).contains(words)
    }

    fn assert_no_leak(&self) {
        let commands = [&self.stdout, &self.stderr].map(|text| runner::commands(text)).concat();
        let masks = commands.iter().filter(|name| *name == "add-mask").count();
        assert!(masks <= usize::from(self.masks_key), "{masks} masks:\n{}", self.stdout);
        for text in [&self.stdout, &self.stderr, &self.output_text, &self.summary] {
            assert_eq!(leaks::find_applicant_data(text), None, "applicant data in:\n{text}");
        }
        let everything = self.everything();
        assert_eq!(leaks::find_secret(&everything), None, "a secret in:\n{}", String::from_utf8_lossy(&everything));
    }

    /// Returns everything that the step has left behind, without the command that masks the key: its log, and all files with
    /// their names, in the workspace and beside it.
    fn everything(&self) -> Vec<u8> {
        let mask = format!("::add-mask::{API_KEY}\n");
        let without_mask = |text: &str| if self.masks_key { text.replacen(&mask, "", 1) } else { text.to_owned() };
        let mut everything = without_mask(&self.stdout).into_bytes();
        everything.extend_from_slice(without_mask(&self.stderr).as_bytes());
        for text in [&self.output_text, &self.summary] {
            everything.extend_from_slice(text.as_bytes());
        }
        let mut names = Vec::new();
        list_files(self.root.path(), "", &mut names);
        for name in names.iter().filter(|name| *name != PROGRAM_COPY) {
            everything.extend_from_slice(name.as_bytes());
            let path = self.root.path().join(name);
            // A larger file comes from the store, and the test compares its content. A pipe has no end.
            if fs::metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() < 1 << 20) {
                everything.extend(fs::read(path).unwrap_or_default());
            }
        }
        everything
    }
}

/// Returns whether this machine allows a namespace of this kind (an option of `unshare`) and, for `--mount`, mounts in it. If
/// not, prints that the test is skipped; in CI, fails.
#[track_caller]
pub fn can_unshare(kind: &str) -> bool {
    // A security module can allow the namespace and refuse the mount.
    let command = if kind == "--mount" { "mount -t tmpfs none /tmp" } else { "true" };
    let output = Command::new("unshare").args([kind, "--map-root-user", "sh", "-c", command]).output();
    let is_allowed = output.is_ok_and(|output| output.status.success());
    assert!(is_allowed || env::var_os("CI").is_none(), "unshare {kind} is not allowed, so this test would be skipped");
    if !is_allowed {
        eprintln!("NOT TESTED: unshare {kind} is not allowed on this machine");
    }
    is_allowed
}

/// Makes a user the owner of a directory and everything in it.
fn change_owner(directory: &Path, user: u32) {
    chown(directory, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            change_owner(&entry.path(), user);
        } else {
            lchown(entry.path(), Some(user), Some(user)).unwrap();
        }
    }
}

fn list_files(directory: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let inside = format!("{name}/");
            list_files(&entry.path(), &inside, found);
            found.push(inside);
        } else {
            found.push(name);
        }
    }
}

/// The lines of a stream, which a thread reads as they arrive.
struct Lines {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    received: Mutex<Received>,
    changed: Condvar,
}

#[derive(Default)]
struct Received {
    lines: Vec<String>,
    is_complete: bool,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                for_thread.received.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
                for_thread.changed.notify_all();
                line.clear();
            }
            for_thread.received.lock().unwrap().is_complete = true;
            for_thread.changed.notify_all();
        });
        Self { shared, thread }
    }

    /// Waits for a line that contains these words. Returns false if there is none.
    fn wait_for(&self, words: &str) -> bool {
        let has = |received: &Received| received.lines.iter().any(|line| line.contains(words));
        has(&self.wait_while(|received| !has(received)))
    }

    /// Waits for the end of the stream. Returns false if it does not end.
    fn wait_for_end(&self) -> bool {
        self.wait_while(|_| true).is_complete
    }

    /// Returns the lines after the first `seen`, once there are some or the stream has ended.
    fn after(&self, seen: usize) -> (Vec<String>, bool) {
        let received = self.wait_while(|received| received.lines.len() <= seen);
        (received.lines[seen..].to_vec(), received.is_complete)
    }

    fn wait_while(&self, condition: impl Fn(&Received) -> bool) -> MutexGuard<'_, Received> {
        let received = self.shared.received.lock().unwrap();
        let is_waiting = |received: &mut Received| !received.is_complete && condition(received);
        self.shared.changed.wait_timeout_while(received, 3 * EVENT_TIMEOUT, is_waiting).unwrap().0
    }

    fn text(&self) -> String {
        self.shared.received.lock().unwrap().lines.concat()
    }

    fn finish(self) -> String {
        self.thread.join().unwrap();
        self.shared.received.lock().unwrap().lines.concat()
    }
}

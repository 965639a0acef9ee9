//! Runs the built program as a CI system does: an environment of its own, a workspace, and files for what it tells.

use std::collections::BTreeMap;
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

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::canary;
use super::runner;
use super::stand_in::{EXPORT, EXPORT_NAME, KEY, RUN, StandIn};
use super::wire::{PATIENCE, UNKNOWN_HOST};

/// What the copy of the program is called that another user runs.
const PROGRAM: &str = "program";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    GitHub,
    Shell,
}

/// A run of the program that is being put together.
pub struct Run {
    program: PathBuf,
    place: Place,
    root: TempDir,
    variables: BTreeMap<OsString, OsString>,
    arguments: Vec<String>,
    wrapper: Vec<String>,
    user: Option<u32>,
}

impl Run {
    /// As GitHub's runner does: `INPUT_EXPORT-ID`, `GITHUB_OUTPUT`, `GITHUB_STEP_SUMMARY`.
    pub fn on_github(program: impl AsRef<Path>) -> Self {
        let mut run = Self::new(program.as_ref(), Place::GitHub);
        for (variable, file) in [("GITHUB_OUTPUT", "outputs"), ("GITHUB_STEP_SUMMARY", "summary.md")] {
            let path = run.root.path().join(file);
            fs::write(&path, "").unwrap();
            run = run.env(variable, path);
        }
        let workspace = run.workspace();
        run.env("GITHUB_WORKSPACE", workspace).env("GITHUB_ACTIONS", "true")
    }

    /// As a shell in any other CI system does: `INPUT_EXPORT_ID`, and no files.
    pub fn in_shell(program: impl AsRef<Path>) -> Self {
        Self::new(program.as_ref(), Place::Shell)
    }

    fn new(program: &Path, place: Place) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("workspace")).unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let variables = BTreeMap::from([("PATH".into(), path)]);
        Self {
            program: program.to_owned(),
            place,
            root,
            variables,
            arguments: Vec::new(),
            wrapper: Vec::new(),
            user: None,
        }
    }

    /// Points the program to a stand-in, and asks it for the run that is there.
    pub fn against(self, stand_in: &StandIn) -> Self {
        self.asking(&stand_in.api_url())
    }

    /// Points the program to an API, and asks it for the run that the stand-in knows.
    pub fn asking(self, api_url: &str) -> Self {
        self.input("base-url", api_url)
            .input("api-key", KEY)
            .input("export-id", &EXPORT.to_string())
            .input("export-file-id", &RUN.to_string())
            .input("poll-interval", "50ms")
    }

    /// Asks for a new run by names, and with no id.
    pub fn by_names(self) -> Self {
        self.input("export-id", "")
            .input("export-file-id", "")
            .input("export-name", EXPORT_NAME)
            .input("identity", "SOPHAS")
    }

    /// An input, in the spelling of the place.
    pub fn input(self, name: &str, value: &str) -> Self {
        let variable = format!("INPUT_{}", name.replace(' ', "_").to_uppercase());
        let variable = if self.place == Place::GitHub { variable } else { variable.replace('-', "_") };
        self.env(&variable, value)
    }

    pub fn env(mut self, variable: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(variable.into(), value.into());
        self
    }

    pub fn without(mut self, variable: &str) -> Self {
        self.variables.remove(&OsString::from(variable));
        self
    }

    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Runs another command that runs the program: its path is the wrapper's next argument.
    pub fn wrapped(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Lets the program have so much memory and no more, in addresses: a debug build needs 40 MB of them before it has done
    /// anything. Where a container runs the program, its own means would be limited, so nothing is.
    pub fn in_little_memory(self) -> Self {
        if std::env::var_os("WEBADMIT_EXPORT_PROGRAM").is_some() {
            return self;
        }
        self.wrapped(&["bash", "-c", "ulimit -v 120000; exec \"$0\""])
    }

    /// Runs as another user, to whom the workspace and the files of the runner then belong. Only root can do that.
    pub fn under_user(mut self, user: u32) -> Self {
        // Where the program was built, another user may not be able to look.
        let copy = self.root.path().join(PROGRAM);
        // By another process: a child of a test beside this one would inherit the file that is being written, and a file
        // that somebody has open for writing cannot be run.
        assert!(Command::new("cp").args([&self.program, &copy]).status().unwrap().success());
        self.program = copy;
        self.user = Some(user);
        self
    }

    /// A file that is there before the program runs, in the workspace.
    pub fn file_before(self, path: &str, bytes: &[u8]) -> Self {
        let path = self.workspace().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    pub fn workspace(&self) -> PathBuf {
        self.root.path().join("workspace")
    }

    /// Checks that no name is looked up by the resolver of this machine: it can be slow, or know any name.
    fn looks_nothing_up(&self) {
        let variables: Vec<_> = self.variables.iter().map(|(name, value)| (name.to_string_lossy(), value)).collect();
        if variables.iter().any(|(name, _)| name.to_lowercase().ends_with("_proxy")) {
            return;
        }
        let base_urls = variables.iter().filter(|(name, _)| name.to_lowercase().replace('-', "_") == "input_base_url");
        for (_, base_url) in base_urls {
            let url = reqwest::Url::parse(&base_url.to_string_lossy()).ok();
            let host = url.as_ref().and_then(reqwest::Url::host_str).unwrap_or(UNKNOWN_HOST);
            let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
            assert!(is_address || [UNKNOWN_HOST, "localhost"].contains(&host), "{host} would be looked up");
        }
    }

    /// Runs the program to its end.
    pub fn run(self) -> Ended {
        self.spawn().end()
    }

    /// Starts the program.
    pub fn spawn(self) -> Running {
        self.looks_nothing_up();
        let program = self.program.display().to_string();
        let mut words = self.wrapper.iter().chain([&program]).chain(&self.arguments);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).env_clear().envs(&self.variables).current_dir(self.workspace());
        if let Some(user) = self.user {
            give(self.root.path(), user);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        let mut child = command.spawn().unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Running { child, stdout, stderr, variables: self.variables, root: self.root }
    }
}

/// Plays a scenario that ends at the timeout, and that first has to get somewhere. `play` gets the timeout as an input has it.
/// On a machine that needed more time to get there, the scenario is played again with a longer timeout.
pub fn in_time(mut play: impl FnMut(&str) -> Ended, got_there: impl Fn(&Ended) -> bool) -> Ended {
    for timeout in ["300ms", "2s", "15s"] {
        let ended = play(timeout);
        if got_there(&ended) {
            return ended;
        }
    }
    play("50s")
}

/// Plays a scenario until it has got there, but not for ever. For what depends on rates, which a busy machine disturbs.
pub fn again<T>(mut play: impl FnMut() -> T, got_there: impl Fn(&T) -> bool) -> T {
    for _ in 0..9 {
        let end = play();
        if got_there(&end) {
            return end;
        }
    }
    play()
}

/// A timeout of [`in_time`] as messages have it.
pub fn in_words(timeout: &str) -> String {
    let unit = timeout.find(|c: char| !c.is_ascii_digit()).unwrap();
    format!("{} {}", &timeout[..unit], &timeout[unit..])
}

/// A program that is running.
pub struct Running {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    variables: BTreeMap<OsString, OsString>,
    root: TempDir,
}

impl Running {
    /// Waits until the log has a line with these words.
    #[track_caller]
    pub fn wait_for_line(&self, words: &str) {
        assert!(self.stdout.wait_for(words), "no line with {words:?} in:\n{}", self.stdout.text());
    }

    /// The same for stderr.
    #[track_caller]
    pub fn wait_for_complaint(&self, words: &str) {
        assert!(self.stderr.wait_for(words), "no line with {words:?} in:\n{}", self.stderr.text());
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its process, or where it is wrapped, the wrapper's.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Calls `each` with every line as it comes, until the program ends.
    pub fn follow(&self, mut each: impl FnMut(&str)) {
        let mut seen = 0;
        loop {
            let (lines, ended) = self.stdout.after(seen);
            lines.iter().for_each(|line| each(line));
            seen += lines.len();
            if ended && lines.is_empty() {
                return;
            }
        }
    }

    /// The workspace of the run.
    pub fn workspace(&self) -> PathBuf {
        self.root.path().join("workspace")
    }

    /// The most memory that it has had at a time until its end, in KiB.
    pub fn peak_until_the_end(&self) -> u64 {
        let mut peak = 0;
        // What has ended has no memory any more.
        while let Some(so_far) = self.peak() {
            peak = so_far;
            thread::yield_now();
        }
        peak
    }

    fn peak(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let mut lines = status.lines();
        lines.find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
    }

    /// Waits until the program has ended. One that goes on for six minutes is killed.
    pub fn end(mut self) -> Ended {
        let ended = self.stdout.wait_for_end() && self.stderr.wait_for_end();
        if !ended {
            let _ = self.child.kill();
        }
        let status = self.child.wait().unwrap();
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        assert!(ended, "the program did not end:\n{stdout}\n{stderr}");
        let read = |variable: &str| {
            let path = self.variables.get(&OsString::from(variable));
            // A device, such as /dev/full, may have no end.
            let path = path.filter(|path| Path::new(path).is_file());
            path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
        };
        let (output_text, summary) = (read("GITHUB_OUTPUT"), read("GITHUB_STEP_SUMMARY"));
        let outputs = parse_outputs(&output_text);
        let masks_key = self.variables.get(&OsString::from("GITHUB_ACTIONS")).is_some_and(|value| value == "true");
        let ended = Ended { status, stdout, stderr, outputs, output_text, summary, masks_key, root: self.root };
        let commands = [&ended.stdout, &ended.stderr].map(|text| runner::commands(text)).concat();
        let masks = commands.iter().filter(|name| *name == "add-mask").count();
        assert!(masks <= usize::from(masks_key), "{masks} masks:\n{}", ended.stdout);
        for told in [&ended.stdout, &ended.stderr, &ended.output_text, &ended.summary] {
            assert_eq!(canary::applicant(told), None, "an applicant in:\n{told}");
        }
        let everything = ended.everything();
        assert_eq!(canary::leak(&everything), None, "a secret in:\n{}", String::from_utf8_lossy(&everything));
        ended
    }
}

/// What a run of the program has left behind.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// The outputs, as the runner reads them from `GITHUB_OUTPUT`.
    pub outputs: BTreeMap<String, String>,
    pub output_text: String,
    pub summary: String,
    /// Whether the program may tell the key, in a command that masks it.
    masks_key: bool,
    root: TempDir,
}

impl Ended {
    /// Checks the exit code. When it is another one, everything that was said is shown.
    #[track_caller]
    pub fn exited(self, code: i32) -> Self {
        let said = format!("{}\n{}", self.stdout, self.stderr);
        assert_eq!(self.status.code(), Some(code), "{:?}:\n{said}", self.status.signal());
        self
    }

    /// Checks that the failure was told with these words: as the one annotation on GitHub, else on stderr.
    #[track_caller]
    pub fn failing_with(self, words: &str) -> Self {
        let failure = self.failure();
        assert!(failure.contains(words), "{words:?} is not in {failure:?}\n{}", self.stdout);
        self
    }

    /// The text of the failure, its lines apart.
    pub fn failure(&self) -> String {
        let annotations: Vec<&str> = self.stdout.lines().filter(|line| line.starts_with("::error")).collect();
        match annotations.as_slice() {
            [] => self.stderr.strip_prefix("error: ").unwrap_or_default().trim_end().to_owned(),
            [one] => one.splitn(3, "::").nth(2).unwrap_or_default().replace("%0A", "\n").replace("%25", "%"),
            many => panic!("{} annotations: {many:?}", many.len()),
        }
    }

    pub fn workspace(&self) -> PathBuf {
        self.root.path().join("workspace")
    }

    /// A file of the workspace.
    #[track_caller]
    pub fn read(&self, path: &str) -> Vec<u8> {
        let path = self.workspace().join(path);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), self.stdout))
    }

    /// Everything that is in the workspace, hidden files too; a directory ends with a slash.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.workspace(), "", &mut found);
        found.sort();
        found
    }

    /// Everything that the program has told to anybody, but for the command that masks the key: its output, its files
    /// with their names and contents, in the workspace and beside it.
    pub fn everything(&self) -> Vec<u8> {
        let mask = format!("::add-mask::{KEY}\n");
        let without_mask = |text: &str| if self.masks_key { text.replacen(&mask, "", 1) } else { text.to_owned() };
        let mut everything = without_mask(&self.stdout).into_bytes();
        everything.extend_from_slice(without_mask(&self.stderr).as_bytes());
        for text in [&self.output_text, &self.summary] {
            everything.extend_from_slice(text.as_bytes());
        }
        let mut names = Vec::new();
        list(self.root.path(), "", &mut names);
        for name in names.iter().filter(|name| *name != PROGRAM) {
            everything.extend_from_slice(name.as_bytes());
            let path = self.root.path().join(name);
            // A larger file is one of the store's, and compared with what was sent. A pipe has no end.
            if fs::metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() < 1 << 20) {
                everything.extend(fs::read(path).unwrap_or_default());
            }
        }
        everything
    }

    /// Whether these words are in anything that was told.
    pub fn tells(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.everything()).contains(words)
    }
}

/// Returns whether this machine allows a test a namespace of its own, and mounts in one of the kind `--mount`. Where it does
/// not, the test prints that; in CI it fails.
#[track_caller]
pub fn has_namespaces(kind: &str) -> bool {
    // A security module can allow the namespace and refuse the mount.
    let command = if kind == "--mount" { "mount -t tmpfs none /tmp" } else { "true" };
    let granted = Command::new("unshare").args([kind, "--map-root-user", "sh", "-c", command]).output();
    let granted = granted.is_ok_and(|output| output.status.success());
    assert!(granted || std::env::var_os("CI").is_none(), "unshare {kind} is not allowed, and so a test proves nothing");
    if !granted {
        eprintln!("NOT TESTED: unshare {kind} is not allowed on this machine");
    }
    granted
}

/// Gives a directory and everything in it to a user.
fn give(directory: &Path, user: u32) {
    chown(directory, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            give(&entry.path(), user);
        } else {
            lchown(entry.path(), Some(user), Some(user)).unwrap();
        }
    }
}

fn list(directory: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let inside = format!("{name}/");
            list(&entry.path(), &inside, found);
            found.push(inside);
        } else {
            found.push(name);
        }
    }
}

/// Reads a file of outputs by the runner's rules: `name=value`, or `name<<DELIMITER` and lines up to the delimiter.
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
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
                outputs.insert(line[..heredoc].to_owned(), value.join("\n"));
            }
            _ => panic!("the runner refuses the line {line:?}"),
        }
    }
    outputs
}

/// The lines of a stream, read by a thread as they come.
struct Lines {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                for_thread.said.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
                for_thread.changed.notify_all();
                line.clear();
            }
            for_thread.said.lock().unwrap().ended = true;
            for_thread.changed.notify_all();
        });
        Self { shared, thread }
    }

    /// Waits for a line with these words. False when there is none in the end.
    fn wait_for(&self, words: &str) -> bool {
        let has = |said: &Said| said.lines.iter().any(|line| line.contains(words));
        has(&self.wait_while(|said| !has(said)))
    }

    /// Waits for the end. False when it does not come.
    fn wait_for_end(&self) -> bool {
        self.wait_while(|_| true).ended
    }

    /// The lines after the first so many, once there are some or the stream has ended.
    fn after(&self, seen: usize) -> (Vec<String>, bool) {
        let said = self.wait_while(|said| said.lines.len() <= seen);
        (said.lines[seen..].to_vec(), said.ended)
    }

    fn wait_while(&self, condition: impl Fn(&Said) -> bool) -> MutexGuard<'_, Said> {
        let said = self.shared.said.lock().unwrap();
        let goes_on = |said: &mut Said| !said.ended && condition(said);
        self.shared.changed.wait_timeout_while(said, 3 * PATIENCE, goes_on).unwrap().0
    }

    fn text(&self) -> String {
        self.shared.said.lock().unwrap().lines.concat()
    }

    fn finish(self) -> String {
        self.thread.join().unwrap();
        self.shared.said.lock().unwrap().lines.concat()
    }
}

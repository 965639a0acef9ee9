//! The files with outputs on a disk: replaced as a whole, or written in place if they are pipes, devices or links.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Signal, geteuid};
use serde_json::{Value, json};
use webadmit_export::report::outputs::OUTPUTS;

use crate::support::{
    FILENAME, ORDINARY_USER, Outcome, RUN_ID, StandIn, Step, can_unshare, github, many_run_id, shell,
};

/// Writes the outputs to `out.json`, and to the directory `results`.
fn with_outputs(step: Step) -> Step {
    step.input("output-file", "out.json").input("output-directory", "results")
}

#[track_caller]
fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(bytes)))
}

/// Returns whether a JSON file and the output directory are those of a step that has done nothing yet.
fn is_cleared(workspace: &Path) -> bool {
    let read = |name: &str| fs::read(workspace.join(name)).unwrap();
    let json = json(&read("out.json"));
    let values = json.as_object().unwrap().values();
    let results = OUTPUTS.iter().map(|output| (output.name, read(&format!("results/{}", output.name))));
    values.clone().all(|value| value.is_null() || value == &json!([]))
        && values.count() == OUTPUTS.len()
        && results.into_iter().all(|(name, value)| value == if name == "files" { &b"[]"[..] } else { b"" })
}

#[test]
fn a_signal_leaves_whole_outputs() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let stand_in = StandIn::with_statuses(&["In Progress"]);
        let step = with_outputs(github(&stand_in)).input("poll-interval", "1h").existing_file("results/path", b"stale");
        let step = step.existing_file("out.json", b"{\"path\":\"stale\"}");
        let workspace = step.workspace();
        let running = step.spawn();
        running.wait_for_stdout("status: in_progress");
        assert!(is_cleared(&workspace), "while the step is running");
        running.signal(signal);
        let outcome = running.wait().exited(code);
        let json = json(&outcome.read("out.json"));
        assert_eq!((&json["status"], &json["export_file_id"]), (&json!("in_progress"), &json!(RUN_ID)));
        assert_eq!(json["files"][0]["error"]["code"], code);
        assert_eq!((outcome.read("results/status"), outcome.read("results/path")), (b"in_progress".to_vec(), vec![]));
    }
}

#[test]
fn an_unexpected_argument_leaves_no_outputs_of_an_earlier_step() {
    let step = with_outputs(github(&StandIn::start())).existing_file("results/path", b"stale");
    let outcome = step.existing_file("out.json", b"{\"path\":\"stale\"}").arg("verify").run().exited(2);
    assert!(is_cleared(&outcome.workspace()));
    assert_eq!(outcome.outputs["files"], "[]");
    outcome.with_error("unexpected argument verify; use one of check, list");
}

#[test]
fn sigkill_leaves_no_outputs_of_an_earlier_step() {
    let stand_in = StandIn::with_statuses(&["In Progress"]);
    let step = with_outputs(github(&stand_in)).input("poll-interval", "1h").existing_file("results/path", b"stale");
    let step = step.existing_file("out.json", b"{\"path\":\"stale\"}");
    let running = step.spawn();
    running.wait_for_stdout("status: in_progress");
    running.signal(Signal::KILL);
    assert!(is_cleared(&running.wait().workspace()));
}

#[test]
fn a_reader_sees_the_old_outputs_or_the_new_ones() {
    let stand_in = StandIn::start();
    let files = ["out.json", "results/files"];
    for files in [&files[..], &["out.env"]] {
        let step = files.iter().fold(github(&stand_in), |step, file| step.existing_file(file, b"older"));
        let step = if files.len() > 1 { with_outputs(step) } else { step.input("output-file", "out.env") };
        let workspace = step.workspace();
        let opened: Vec<File> = files.iter().map(|file| File::open(workspace.join(file)).unwrap()).collect();
        let outcome = step.run().exited(0);
        for (mut opened, path) in opened.into_iter().zip(files) {
            let mut older = String::new();
            opened.read_to_string(&mut older).unwrap();
            assert_eq!(older, "older", "{path}");
            let (before, after) = (opened.metadata().unwrap(), fs::metadata(workspace.join(path)).unwrap());
            assert_ne!(before.ino(), after.ino(), "{path}");
            assert!(after.len() > 10, "{path}");
        }
        assert!(!outcome.files().iter().any(|file| file.contains("webadmit-export")), "{:?}", outcome.files());
    }
}

/// Creates a pipe in the workspace, and opens it for reading and writing, so that it has a reader at any time.
fn pipe(step: &Step, name: &str) -> File {
    let path = step.workspace().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Returns a step whose outputs in JSON are larger than the buffer of a pipe.
fn with_large_outputs(stand_in: &StandIn) -> Step {
    let ids = |id: fn(u64) -> u64| (1..=50).map(|export| id(export).to_string()).collect::<Vec<_>>().join(" ");
    let directory = format!("{0}/{0}/{0}", "d".repeat(250));
    let step = github(stand_in).input("export-id", &ids(|export| export)).input("export-file-id", &ids(many_run_id));
    step.input("directory", &directory)
}

#[test]
fn a_pipe_gets_the_whole_json_once() {
    let stand_in = StandIn::builder().many_exports(50).start();
    let step = with_large_outputs(&stand_in).input("output-file", "pipe.json").input("output-directory", "results");
    let (pipe, mut each) = (pipe(&step, "pipe.json"), pipe(&step, "results/status"));
    // The step must wait for the reader again and again.
    fcntl_setpipe_size(&pipe, 4096).unwrap();
    let reader = thread::spawn(move || {
        let mut line = String::new();
        BufReader::new(pipe).read_line(&mut line).unwrap();
        line
    });
    let outcome = step.run().exited(0);
    let line = reader.join().unwrap();
    assert!(line.len() > 1 << 16, "{}", line.len());
    assert_eq!(json(line.as_bytes())["files"], json(outcome.outputs["files"].as_bytes()));
    let mut status = [0; 100];
    let length = each.read(&mut status).unwrap();
    assert_eq!(&status[..length], b"available");
}

#[test]
fn a_pipe_whose_reader_reads_nothing_does_not_block_the_step() {
    let stand_in = StandIn::builder().many_exports(50).start();
    let step = with_large_outputs(&stand_in).input("output-file", "pipe.json");
    let _pipe = pipe(&step, "pipe.json");
    let outcome = step.run().exited(1);
    outcome.with_error(
        "cannot write the outputs to the output-file: the pipe is full, and its reader has read nothing for 2 s",
    );
}

#[test]
fn standard_output_gets_the_outputs_with_the_log() {
    let stand_in = StandIn::start();
    let lines = format!("WEBADMIT_STATUS=available\nWEBADMIT_EXPORT_ID=86446\nWEBADMIT_EXPORT_FILE_ID={RUN_ID}\n");
    let run = |path: &str| shell(&stand_in).input("output-file", path);
    for (path, script) in [
        ("/dev/stdout", "exec \"$0\""),
        ("/dev/fd/1", "exec \"$0\""),
        ("/dev/stdout", "\"$0\" > log; code=$?; cat log; exit $code"),
        ("log", "\"$0\" > log; code=$?; cat log; exit $code"),
        ("/dev/stderr", "\"$0\" 2> errors; code=$?; cat errors; exit $code"),
    ] {
        let outcome = run(path).wrapped_in(&["bash", "-c", script]).run().exited(0);
        assert_eq!(outcome.stdout.matches(&lines).count(), 1, "{path}, {script}: {}", outcome.stdout);
        assert!(outcome.stdout.starts_with("webadmit-export "), "{path}, {script}: {}", outcome.stdout);
    }
    // The user of the step may not open it.
    let step = run("/dev/stdout").wrapped_in(&["bash", "-c", "exec \"$0\" > \"$LOG\""]);
    let log = step.workspace().join("log");
    fs::write(&log, "").unwrap();
    let step = step.env("LOG", &log);
    let outcome = step.with_ordinary_user().run().exited(0);
    assert!(String::from_utf8(outcome.read("log")).unwrap().contains(&lines));
}

#[test]
fn an_open_file_of_the_shell_gets_the_outputs() {
    let stand_in = StandIn::start();
    for script in ["exec \"$0\" 3> third; exit", "exec 3> third; rm third; \"$0\"; cat /dev/fd/3 > third"] {
        let step = shell(&stand_in).input("output-file", "/dev/fd/3").wrapped_in(&["bash", "-c", script]);
        let outcome = step.run().exited(0);
        assert!(outcome.read("third").starts_with(b"WEBADMIT_STATUS=available\n"), "{script}");
    }
}

#[test]
fn the_target_of_a_link_gets_the_outputs() {
    let stand_in = StandIn::start();
    let outside = tempfile::tempdir().unwrap();
    let link = outside.path().join("out.json");
    for (target, shown) in [("/dev/stdout", "\n"), ("missing.json", ""), ("real.json", "")] {
        let step = shell(&stand_in).input("output-file", &link.display().to_string());
        fs::write(outside.path().join("real.json"), "stale").unwrap();
        symlink(target, &link).unwrap();
        let outcome = step.run().exited(0);
        let text =
            if shown.is_empty() { fs::read_to_string(outside.path().join(target)).unwrap() } else { outcome.stdout };
        let object = text.lines().find(|line| line.starts_with('{')).unwrap();
        assert_eq!(json(object.as_bytes())["path"], FILENAME, "{target}");
        assert!(link.is_symlink(), "{target}");
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn a_link_in_the_output_directory_is_replaced() {
    let stand_in = StandIn::start();
    let outside = tempfile::tempdir().unwrap();
    let (victim, missing) = (outside.path().join("victim"), outside.path().join("missing"));
    fs::write(&victim, "precious").unwrap();
    let step = with_outputs(github(&stand_in)).existing_file("results/x", b"");
    symlink(&victim, step.workspace().join("results/status")).unwrap();
    symlink(&missing, step.workspace().join("results/path")).unwrap();
    let outcome = step.run().exited(0);
    assert_eq!((fs::read(victim).unwrap(), missing.exists()), (b"precious".to_vec(), false));
    assert_eq!(
        (outcome.read("results/status"), outcome.read("results/path")),
        (b"available".to_vec(), FILENAME.into())
    );
    assert!(!outcome.workspace().join("results/status").is_symlink());
}

#[test]
fn a_file_that_cannot_be_replaced_is_overwritten() {
    if !can_unshare("--mount") {
        return;
    }
    let stand_in = StandIn::start();
    let script = "mount --bind target.json out.json && mount --bind target results/status && exec \"$0\"";
    let step = ["target.json", "target", "out.json", "results/status"]
        .iter()
        .fold(shell(&stand_in), |step, file| step.existing_file(file, "a stale value\n".repeat(200)));
    let wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", script];
    let outcome = with_outputs(step).wrapped_in(&wrapper).run().exited(0);
    assert_eq!(json(&outcome.read("target.json"))["path"], FILENAME);
    assert_eq!(outcome.read("target"), b"available");
}

#[test]
fn a_file_that_cannot_be_replaced_never_has_half_of_the_outputs() {
    if !can_unshare("--mount") {
        return;
    }
    let stand_in = StandIn::builder().many_exports(50).start();
    let script = "mkdir disk && mount -t tmpfs -o size=16k none disk && echo stale > disk/target \
        && mount --bind disk/target out.json && { \"$0\"; code=$?; wc -c < out.json; exit $code; }";
    let step = with_large_outputs(&stand_in).existing_file("out.json", b"").input("output-file", "out.json");
    let outcome = step.wrapped_in(&["unshare", "--mount", "--map-root-user", "bash", "-c", script]).run().exited(1);
    assert!(outcome.stdout.ends_with("\n0\n"), "{}", outcome.stdout);
    outcome.with_error("cannot write the outputs to the output-file: No space left on device");
}

#[test]
fn an_output_directory_may_be_anywhere() {
    let stand_in = StandIn::start();
    let outside = tempfile::tempdir().unwrap();
    let path = outside.path().join("tekton/results");
    let outcome = github(&stand_in).input("output-directory", &path.display().to_string()).run().exited(0);
    assert_eq!(fs::read_to_string(path.join("path")).unwrap(), FILENAME);
    let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let mut expected = OUTPUTS.map(|output| output.name);
    expected.sort();
    assert_eq!(names, expected, "{}", outcome.stdout);
}

#[test]
fn unwritable_output_directories_fail_before_the_first_request() {
    let stand_in = StandIn::start();
    let run = || github(&stand_in).input("output-directory", "results");
    let outcome = run().existing_file("results", b"precious").run().exited(1);
    assert_eq!(outcome.read("results"), b"precious");
    outcome.with_error("cannot use the output-directory results: not a directory").with_error("no request was sent");

    let outcome = run().existing_file("results/status/x", b"").existing_file("results/path", b"stale").run().exited(1);
    assert_eq!((outcome.read("results/path"), outcome.read("results/export-id")), (vec![], b"86446".to_vec()));
    outcome.with_error("cannot write results/status (output-directory): Is a directory");

    let outcome = run_in_read_only_directory(run().existing_file("results/x", b"")).exited(1);
    outcome.with_error("cannot write results/status (output-directory): Permission denied");
    assert!(stand_in.api_requests().is_empty());
}

/// Runs a step as a user who cannot create files in its output directory `results`.
fn run_in_read_only_directory(step: Step) -> Outcome {
    fs::set_permissions(step.workspace().join("results"), Permissions::from_mode(0o555)).unwrap();
    step.with_ordinary_user().run()
}

#[test]
fn existing_files_in_a_read_only_directory_are_overwritten() {
    let stand_in = StandIn::start();
    let step = github(&stand_in).input("output-directory", "results");
    let step =
        OUTPUTS.iter().fold(step, |step, output| step.existing_file(&format!("results/{}", output.name), b"stale"));
    let outcome = run_in_read_only_directory(step).exited(0);
    assert_eq!((outcome.read("results/status"), outcome.read("results/pdf-batch-id")), (b"available".to_vec(), vec![]));
}

#[test]
fn a_read_only_output_directory_fails_before_the_first_request() {
    if !can_unshare("--mount") {
        return;
    }
    let stand_in = StandIn::start();
    let script = "mkdir disk && mount -t tmpfs none disk && mount -o remount,bind,ro disk && exec \"$0\"";
    let wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", script];
    let outcome = shell(&stand_in).input("output-directory", "disk").wrapped_in(&wrapper).run().exited(1);
    outcome.with_error("cannot write disk/status (output-directory): Read-only file system");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn a_failed_write_to_the_output_directory_fails_the_step() {
    if !can_unshare("--mount") {
        return;
    }
    let stand_in = StandIn::start();
    // A file without content needs no block of the disk.
    let script =
        "mkdir disk && mount -t tmpfs -o size=16k none disk && { \"$0\"; code=$?; head -c 9 disk/status; exit $code; }";
    let wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", script];
    let outcome = shell(&stand_in).input("output-directory", "disk").wrapped_in(&wrapper).run().exited(1);
    assert!(outcome.stdout.ends_with("available"), "{}", outcome.stdout);
    outcome
        .with_error("cannot write the outputs to the output-directory: No space left on device")
        .with_error("the file was saved as");
}

#[test]
fn later_steps_can_read_the_files() {
    let stand_in = StandIn::start();
    let step = with_outputs(github(&stand_in)).existing_file("results/status", b"");
    fs::set_permissions(step.workspace().join("results/status"), Permissions::from_mode(0o600)).unwrap();
    let owner = if geteuid().is_root() { ORDINARY_USER } else { geteuid().as_raw() };
    let group = if geteuid().is_root() { 4321 } else { fs::metadata(step.workspace()).unwrap().gid() };
    chown(step.workspace(), Some(owner), Some(group)).unwrap();
    let outcome = step.wrapped_in(&["bash", "-c", "umask 022; exec \"$0\""]).run().exited(0);
    let metadata = |outcome: &Outcome, path: &str| fs::metadata(outcome.workspace().join(path)).unwrap();
    for path in ["out.json", "results/status", "results/files", "results/pdf-batch-id"] {
        let metadata = metadata(&outcome, path);
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (owner, group, 0o644), "{path}");
    }
}

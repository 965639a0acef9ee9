//! The machine that the step runs on: its disk, its users, its streams, its time.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::program;
use crate::support::stand_in::{exports_json, identities_json};
use crate::support::wire::{head, response};
use crate::support::{Act, Course, Ended, Run, StandIn, Wire, has_namespaces, in_time, in_words};

const FILE: &str = "Test-API-Export.csv";

/// Somebody who is not root and owns nothing.
const SOMEBODY: u32 = 65_534;

#[test]
fn a_full_disk_ends_the_step_and_leaves_the_older_file() {
    if !has_namespaces("--mount") {
        return;
    }
    let file = crate::support::stand_in::File::new(&vec![b'x'; 200_000]);
    let stand_in = StandIn::builder().file(file).start();
    let small_disk = "mkdir small && mount -t tmpfs -o size=64k none small && echo older > small/Test-API-Export.csv \
        && { \"$0\"; code=$?; ls -A small; cat small/*; exit $code; }";
    let wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", small_disk];
    // A shell drops the variables that have a hyphen in their names, as GitHub's have.
    let ended =
        Run::in_shell(program()).against(&stand_in).input("directory", "small").wrapped(&wrapper).run().exited(1);
    assert!(ended.stdout.ends_with("Test-API-Export.csv\nolder\n"), "{}", ended.stdout);
    ended
        .failing_with("the disk took no more of the file")
        .failing_with("nothing was saved, and an older file is as it was");
}

#[test]
fn a_directory_that_cannot_be_written_is_found_out_before_the_first_call() {
    let stand_in = StandIn::start();
    let run = Run::on_github(program())
        .against(&stand_in)
        .file_before("sealed/older.csv", b"older")
        .input("directory", "sealed");
    fs::set_permissions(run.workspace().join("sealed"), Permissions::from_mode(0o555)).unwrap();
    let run = if geteuid().is_root() { run.under_user(SOMEBODY) } else { run };
    let ended = run.run().exited(1).failing_with("no file can be made in sealed: ");
    assert!(stand_in.api_requests().is_empty());
    assert_eq!(ended.files(), ["sealed/", "sealed/older.csv"]);
}

#[test]
fn a_disk_that_is_read_only_is_found_out_before_the_first_call() {
    if !has_namespaces("--mount") {
        return;
    }
    let stand_in = StandIn::start();
    // Without `bind`, mount passes the options of /proc/mounts on, with the owner's id. In an ordinary user's namespace the
    // kernel refuses that id.
    let read_only = "mkdir disk && mount -t tmpfs none disk && echo older > disk/Test-API-Export.csv \
        && mount -o remount,bind,ro disk && { \"$0\"; code=$?; cat disk/*; ls -A disk; exit $code; }";
    let wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", read_only];
    let ended =
        Run::in_shell(program()).against(&stand_in).input("directory", "disk").wrapped(&wrapper).run().exited(1);
    assert!(ended.stdout.ends_with("older\nTest-API-Export.csv\n"), "{}", ended.stdout);
    ended
        .failing_with("no file can be made in disk: Read-only file system")
        .failing_with("nothing was asked of WebAdMIT");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn a_file_that_may_not_grow_is_a_disk_that_takes_no_more() {
    let file = crate::support::stand_in::File::new(&vec![b'x'; 200_000]);
    let stand_in = StandIn::builder().file(file).start();
    let run = Run::on_github(program()).against(&stand_in).file_before(FILE, b"older");
    let ended = run.wrapped(&["bash", "-c", "ulimit -f 64; exec \"$0\""]).run().exited(1);
    assert_eq!((ended.files(), ended.read(FILE)), (vec![FILE.to_owned()], b"older".to_vec()));
    ended.failing_with("the disk took no more of the file after ").failing_with(": File too large");
}

#[test]
fn a_machine_without_open_files_to_give_is_told() {
    let stand_in = StandIn::start();
    for files in 4..16 {
        let limit = format!("ulimit -n {files}; exec \"$0\"");
        let run = |timeout: &_| {
            let run = Run::on_github(program()).against(&stand_in).input("timeout", timeout);
            run.wrapped(&["bash", "-c", &limit]).run()
        };
        let is_told = |ended: &Ended| {
            let failure = ended.failure().to_lowercase();
            failure.contains("too many open files") || failure.contains("the program broke off (")
        };
        // So few that not even its libraries can be loaded, or enough: then there is nothing to be told.
        let works_or_does_not = |ended: &Ended| [Some(0), Some(127)].contains(&ended.status.code());
        let ended = in_time(run, |ended| works_or_does_not(ended) || is_told(ended));
        if works_or_does_not(&ended) {
            continue;
        }
        assert!([Some(1), Some(4)].contains(&ended.status.code()), "{:?}:\n{}", ended.status, ended.stderr);
        assert!(is_told(&ended), "{}", ended.failure());
        assert_eq!(ended.files(), [""; 0]);
    }
}

#[test]
fn outputs_that_nobody_may_write_are_found_out_before_the_first_call() {
    let stand_in = StandIn::start();
    let run = Run::on_github(program()).against(&stand_in).file_before("sealed", b"");
    let sealed = run.workspace().join("sealed");
    fs::set_permissions(&sealed, Permissions::from_mode(0o444)).unwrap();
    let run = run.env("GITHUB_OUTPUT", sealed);
    let run = if geteuid().is_root() { run.under_user(SOMEBODY) } else { run };
    run.run().exited(1).failing_with("GITHUB_OUTPUT (").failing_with("cannot be written: Permission denied");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn a_directory_below_a_file_cannot_be_made() {
    let stand_in = StandIn::start();
    let run = Run::on_github(program()).against(&stand_in).file_before("file", b"").input("directory", "file/below");
    let ended = run.run();
    assert!([Some(1), Some(2)].contains(&ended.status.code()), "{}", ended.stdout);
    assert!(ended.failure().contains("file"), "{}", ended.failure());
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn a_workspace_that_is_not_there_is_named() {
    let ended = Run::on_github(program()).against(&StandIn::start()).env("GITHUB_WORKSPACE", "/no/such/place").run();
    ended.exited(1).failing_with("the workspace /no/such/place cannot be used");
}

#[test]
fn what_root_makes_belongs_to_the_owner_of_the_workspace() {
    let stand_in = StandIn::start();
    let run = Run::on_github(program()).against(&stand_in).input("directory", "a/b").input("output-file", "c/out.env");
    let owner = if geteuid().is_root() { SOMEBODY } else { geteuid().as_raw() };
    let group = if geteuid().is_root() { 4321 } else { fs::metadata(run.workspace()).unwrap().gid() };
    chown(run.workspace(), Some(owner), Some(group)).unwrap();
    let ended = run.run().exited(0);
    for path in ["a", "a/b", "a/b/Test-API-Export.csv", "c", "c/out.env"] {
        let metadata = fs::metadata(ended.workspace().join(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (owner, group), "{path}");
    }
}

#[test]
fn an_ordinary_user_in_somebody_elses_workspace_keeps_its_files() {
    let (user, other) = if geteuid().is_root() { (SOMEBODY, 1234) } else { (geteuid().as_raw(), geteuid().as_raw()) };
    let stand_in = StandIn::start();
    let workspace = tempfile::tempdir().unwrap();
    chown(workspace.path(), Some(other), Some(other)).unwrap();
    fs::set_permissions(workspace.path(), Permissions::from_mode(0o777)).unwrap();
    let run = Run::on_github(program()).against(&stand_in).env("GITHUB_WORKSPACE", workspace.path());
    let run = if geteuid().is_root() { run.under_user(SOMEBODY) } else { run };
    run.run().exited(0);
    assert_eq!(fs::metadata(workspace.path().join(FILE)).unwrap().uid(), user);
}

#[test]
fn the_umask_is_heeded() {
    let stand_in = StandIn::start();
    for (umask, file, directory) in [("022", 0o644, 0o755), ("027", 0o640, 0o750), ("077", 0o600, 0o700)] {
        let script = format!("umask {umask}; exec \"$0\"");
        let run = Run::in_shell(program()).against(&stand_in).input("directory", "a").input("output-file", "b/out.env");
        let ended = run.wrapped(&["sh", "-c", &script]).run().exited(0);
        let mode = |path: &str| fs::metadata(ended.workspace().join(path)).unwrap().mode() & 0o777;
        assert_eq!([mode("a/Test-API-Export.csv"), mode("b/out.env")], [file; 2], "umask {umask}");
        assert_eq!([mode("a"), mode("b")], [directory; 2], "umask {umask}");
    }
}

#[test]
fn a_stdout_that_nobody_reads_does_not_stop_the_job() {
    for script in ["exec \"$0\" >&-", "exec \"$0\" >/dev/full", "exec \"$0\" > >(exec true)"] {
        let ended =
            Run::on_github(program()).against(&StandIn::start()).wrapped(&["bash", "-c", script]).run().exited(0);
        assert_eq!((ended.outputs["path"].as_str(), ended.files()), (FILE, vec![FILE.to_owned()]), "{script}");
    }
}

#[test]
fn signals_reach_it_as_the_first_process_of_a_container() {
    if !has_namespaces("--pid") {
        return;
    }
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let stand_in = StandIn::builder().course(Course::by_checks(&["In Progress"])).start();
        let wrapper = ["unshare", "--pid", "--fork", "--map-root-user"];
        let run = Run::on_github(program()).against(&stand_in).input("poll-interval", "1h").wrapped(&wrapper);
        let running = run.spawn();
        running.wait_for_line("status: in_progress");
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.id())).unwrap();
        let child = children.split_whitespace().next().and_then(|id| Pid::from_raw(id.parse().unwrap())).unwrap();
        kill_process(child, signal).unwrap();
        assert_eq!(running.end().exited(code).outputs["status"], "in_progress");
    }
}

#[test]
fn the_timeout_cuts_a_download() {
    let run = |timeout: &_| {
        let stand_in = StandIn::start();
        stand_in.store_next(|_, _| vec![Act::Send(head(200, &[], 1000)), Act::Send(vec![b'x'; 500]), Act::Hang]);
        let ended = Run::on_github(program()).against(&stand_in).input("timeout", timeout).run().exited(4);
        ended.failing_with(&format!("timed out after {}", in_words(timeout)))
    };
    let words = " in the download, at 500 bytes of 1.0 kB";
    let ended = in_time(run, |ended| ended.failure().contains(words)).failing_with(words);
    assert_eq!((ended.files().len(), ended.outputs["status"].as_str()), (0, "available"));
}

#[test]
fn the_timeout_cuts_an_answer_that_does_not_come() {
    let api = Wire::start(|_| vec![Act::Hang]);
    let run = |timeout: &_| {
        let ended = Run::on_github(program()).asking(&api.url()).input("timeout", timeout).run().exited(4);
        ended.failing_with(&format!("timed out after {}; no status was seen", in_words(timeout)))
    };
    in_time(run, |ended| ended.failure().contains("no answer in time")).failing_with("no answer in time");
}

#[test]
fn the_timeout_cuts_a_wait_after_a_fault() {
    let api = Wire::start(|_| vec![Act::Send(response(500, &[], b""))]);
    let run = || Run::on_github(program()).asking(&api.url()).input("poll-interval", "1h");
    let run = |timeout: &_| run().input("timeout", timeout).run().exited(4);
    let ended = in_time(run, |ended| ended.failure().contains("answered 500"));
    ended.failing_with("the last fault: 127.0.0.1").failing_with("answered 500");
}

#[test]
fn nothing_is_started_after_the_timeout_however_slow_the_look_ups_are() {
    let stand_in = StandIn::start();
    for body in [identities_json(), exports_json()] {
        let slow = wiremock::ResponseTemplate::new(200).set_body_json(body);
        stand_in.api_next(slow.set_delay(std::time::Duration::from_millis(400)));
    }
    let run = Run::on_github(program()).against(&stand_in).by_names().input("timeout", "600ms");
    run.run().exited(4).failing_with("timed out after 600 ms; no status was seen");
    assert!(stand_in.api_requests().iter().all(|request| request.method.as_str() == "GET"), "a run was started");
}

#[test]
fn a_timeout_amid_faults_of_the_store_tells_them() {
    let stand_in = StandIn::builder().url_lives(std::time::Duration::ZERO).start();
    let run = || Run::on_github(program()).against(&stand_in).input("poll-interval", "1h");
    let run = |timeout: &_| {
        let ended = run().input("timeout", timeout).run().exited(4);
        ended.failing_with(&format!("timed out after {}", in_words(timeout)))
    };
    let ended = in_time(run, |ended| ended.failure().contains("the last fault: the store ("));
    ended
        .failing_with(" in the download, before its first byte")
        .failing_with("the last fault: the store (")
        .failing_with("answered 403 (Forbidden), code AccessDenied")
        .failing_with("hint: run the step again, with export-file-id 74780");
}

#[test]
fn the_timeout_does_not_hide_what_was_wrong_before_it() {
    let run = |timeout: &_| {
        let first = Mutex::new(Some(vec![Act::Send(response(503, &[], b""))]));
        let api = Wire::start(move |_| first.lock().unwrap().take().unwrap_or_else(|| vec![Act::Hang]));
        Run::on_github(program()).asking(&api.url()).by_names().input("timeout", timeout).run().exited(4)
    };
    let words = "answered 503 (Service Unavailable) (2 attempts in ";
    in_time(run, |ended| ended.failure().contains(words)).failing_with(words);
}

#[test]
fn a_file_that_does_not_come_is_no_run_that_goes_on() {
    let run = |timeout: &_| {
        let stand_in = StandIn::start();
        stand_in.store_next(|_, _| vec![Act::Hang]);
        Run::on_github(program()).against(&stand_in).input("timeout", timeout).run().exited(4)
    };
    let words = "in the download, before its first byte; its last status was available";
    in_time(run, |ended| ended.failure().contains(words))
        .failing_with(words)
        .failing_with("hint: give a longer timeout");
}

//! The machine that the step runs on: its disk, its users, its streams, its time.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::support::{
    Action, FILENAME, Outcome, Server, StandIn, StoredFile, can_unshare, displayed, github, github_at, head, respond,
    shell, with_growing_timeout,
};

/// Somebody who is not root and owns nothing.
const SOMEBODY: u32 = 65_534;

#[test]
fn a_full_disk_ends_the_step_and_leaves_the_older_file() {
    if !can_unshare("--mount") {
        return;
    }
    let file = StoredFile::new(&vec![b'x'; 200_000]);
    let stand_in = StandIn::builder().file(file).start();
    let small_disk = "mkdir small && mount -t tmpfs -o size=64k none small && echo older > small/Test-API-Export.csv \
        && { \"$0\"; code=$?; ls -A small; cat small/*; exit $code; }";
    let wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", small_disk];
    // A shell drops the variables that have a hyphen in their names, as GitHub's have.
    let outcome = shell(&stand_in).input("directory", "small").wrapped_in(&wrapper).run().exited(1);
    assert!(outcome.stdout.ends_with("Test-API-Export.csv\nolder\n"), "{}", outcome.stdout);
    outcome
        .with_error("the disk took no more of the file")
        .with_error("nothing was saved, and an older file is as it was");
}

#[test]
fn a_directory_that_cannot_be_written_is_found_out_before_the_first_call() {
    let stand_in = StandIn::start();
    let run = github(&stand_in).existing_file("sealed/older.csv", b"older").input("directory", "sealed");
    fs::set_permissions(run.workspace().join("sealed"), Permissions::from_mode(0o555)).unwrap();
    let run = if geteuid().is_root() { run.under_user(SOMEBODY) } else { run };
    let outcome = run.run().exited(1).with_error("no file can be made in sealed: ");
    assert!(stand_in.api_requests().is_empty());
    assert_eq!(outcome.files(), ["sealed/", "sealed/older.csv"]);
}

#[test]
fn a_disk_that_is_read_only_is_found_out_before_the_first_call() {
    if !can_unshare("--mount") {
        return;
    }
    let stand_in = StandIn::start();
    // Without `bind`, mount passes the options of /proc/mounts on, with the owner's id. In an ordinary user's namespace the
    // kernel refuses that id.
    let read_only = "mkdir disk && mount -t tmpfs none disk && echo older > disk/Test-API-Export.csv \
        && mount -o remount,bind,ro disk && { \"$0\"; code=$?; cat disk/*; ls -A disk; exit $code; }";
    let wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", read_only];
    let outcome = shell(&stand_in).input("directory", "disk").wrapped_in(&wrapper).run().exited(1);
    assert!(outcome.stdout.ends_with("older\nTest-API-Export.csv\n"), "{}", outcome.stdout);
    outcome
        .with_error("no file can be made in disk: Read-only file system")
        .with_error("nothing was asked of WebAdMIT");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn a_file_that_may_not_grow_is_a_disk_that_takes_no_more() {
    let file = StoredFile::new(&vec![b'x'; 200_000]);
    let stand_in = StandIn::builder().file(file).start();
    let run = github(&stand_in).existing_file(FILENAME, b"older");
    let outcome = run.wrapped_in(&["bash", "-c", "ulimit -f 64; exec \"$0\""]).run().exited(1);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], b"older".to_vec()));
    outcome.with_error("the disk took no more of the file after ").with_error(": File too large");
}

#[test]
fn a_machine_without_open_files_to_give_is_told() {
    let stand_in = StandIn::start();
    for files in 4..16 {
        let limit = format!("ulimit -n {files}; exec \"$0\"");
        let run = |timeout: &_| {
            let run = github(&stand_in).input("timeout", timeout);
            run.wrapped_in(&["bash", "-c", &limit]).run()
        };
        let is_told = |outcome: &Outcome| {
            let failure = outcome.error().to_lowercase();
            failure.contains("too many open files") || failure.contains("the program broke off (")
        };
        // So few that not even its libraries can be loaded, or enough: then there is nothing to be told.
        let works_or_does_not = |outcome: &Outcome| [Some(0), Some(127)].contains(&outcome.status.code());
        let outcome = with_growing_timeout(run, |outcome| works_or_does_not(outcome) || is_told(outcome));
        if works_or_does_not(&outcome) {
            continue;
        }
        assert!([Some(1), Some(4)].contains(&outcome.status.code()), "{:?}:\n{}", outcome.status, outcome.stderr);
        assert!(is_told(&outcome), "{}", outcome.error());
        assert_eq!(outcome.files(), [""; 0]);
    }
}

#[test]
fn outputs_that_nobody_may_write_are_found_out_before_the_first_call() {
    let stand_in = StandIn::start();
    let run = github(&stand_in).existing_file("sealed", b"");
    let sealed = run.workspace().join("sealed");
    fs::set_permissions(&sealed, Permissions::from_mode(0o444)).unwrap();
    let run = run.env("GITHUB_OUTPUT", sealed);
    let run = if geteuid().is_root() { run.under_user(SOMEBODY) } else { run };
    run.run().exited(1).with_error("GITHUB_OUTPUT (").with_error("cannot be written: Permission denied");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn a_directory_below_a_file_cannot_be_made() {
    let stand_in = StandIn::start();
    let run = github(&stand_in).existing_file("file", b"").input("directory", "file/below");
    let outcome = run.run();
    assert!([Some(1), Some(2)].contains(&outcome.status.code()), "{}", outcome.stdout);
    assert!(outcome.error().contains("file"), "{}", outcome.error());
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn a_workspace_that_is_not_there_is_named() {
    let outcome = github(&StandIn::start()).env("GITHUB_WORKSPACE", "/no/such/place").run();
    outcome.exited(1).with_error("the workspace /no/such/place cannot be used");
}

#[test]
fn what_root_makes_belongs_to_the_owner_of_the_workspace() {
    let stand_in = StandIn::start();
    let run = github(&stand_in).input("directory", "a/b").input("output-file", "c/out.env");
    let owner = if geteuid().is_root() { SOMEBODY } else { geteuid().as_raw() };
    let group = if geteuid().is_root() { 4321 } else { fs::metadata(run.workspace()).unwrap().gid() };
    chown(run.workspace(), Some(owner), Some(group)).unwrap();
    let outcome = run.run().exited(0);
    for path in ["a", "a/b", "a/b/Test-API-Export.csv", "c", "c/out.env"] {
        let metadata = fs::metadata(outcome.workspace().join(path)).unwrap();
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
    let run = github(&stand_in).env("GITHUB_WORKSPACE", workspace.path());
    let run = if geteuid().is_root() { run.under_user(SOMEBODY) } else { run };
    run.run().exited(0);
    assert_eq!(fs::metadata(workspace.path().join(FILENAME)).unwrap().uid(), user);
}

#[test]
fn the_umask_is_heeded() {
    let stand_in = StandIn::start();
    for (umask, file, directory) in [("022", 0o644, 0o755), ("027", 0o640, 0o750), ("077", 0o600, 0o700)] {
        let script = format!("umask {umask}; exec \"$0\"");
        let run = shell(&stand_in).input("directory", "a").input("output-file", "b/out.env");
        let outcome = run.wrapped_in(&["sh", "-c", &script]).run().exited(0);
        let mode = |path: &str| fs::metadata(outcome.workspace().join(path)).unwrap().mode() & 0o777;
        assert_eq!([mode("a/Test-API-Export.csv"), mode("b/out.env")], [file; 2], "umask {umask}");
        assert_eq!([mode("a"), mode("b")], [directory; 2], "umask {umask}");
    }
}

#[test]
fn a_stdout_that_nobody_reads_does_not_stop_the_job() {
    for script in ["exec \"$0\" >&-", "exec \"$0\" >/dev/full", "exec \"$0\" > >(exec true)"] {
        let outcome = github(&StandIn::start()).wrapped_in(&["bash", "-c", script]).run().exited(0);
        assert_eq!(
            (outcome.outputs["path"].as_str(), outcome.files()),
            (FILENAME, vec![FILENAME.to_owned()]),
            "{script}"
        );
    }
}

#[test]
fn signals_reach_it_as_the_first_process_of_a_container() {
    if !can_unshare("--pid") {
        return;
    }
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let stand_in = StandIn::with_statuses(&["In Progress"]);
        let wrapper = ["unshare", "--pid", "--fork", "--map-root-user"];
        let run = github(&stand_in).input("poll-interval", "1h").wrapped_in(&wrapper);
        let running = run.spawn();
        running.wait_for_stdout("status: in_progress");
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.id())).unwrap();
        let child = children.split_whitespace().next().and_then(|id| Pid::from_raw(id.parse().unwrap())).unwrap();
        kill_process(child, signal).unwrap();
        assert_eq!(running.wait().exited(code).outputs["status"], "in_progress");
    }
}

#[test]
fn the_timeout_cuts_a_download() {
    let run = |timeout: &_| {
        let stand_in = StandIn::start();
        stand_in.next_store_response(|_, _| {
            vec![Action::Send(head(200, &[], 1000)), Action::Send(vec![b'x'; 500]), Action::Hang]
        });
        let outcome = github(&stand_in).input("timeout", timeout).run().exited(4);
        outcome.with_error(&format!("timed out after {}", displayed(timeout)))
    };
    let words = " in the download, at 500 bytes of 1.0 kB";
    let outcome = with_growing_timeout(run, |outcome| outcome.error().contains(words)).with_error(words);
    assert_eq!((outcome.files().len(), outcome.outputs["status"].as_str()), (0, "available"));
}

#[test]
fn the_timeout_cuts_an_answer_that_does_not_come() {
    let api = Server::start(|_| vec![Action::Hang]);
    let run = |timeout: &_| {
        let outcome = github_at(&api.url()).input("timeout", timeout).run().exited(4);
        outcome.with_error(&format!("timed out after {}; no status was seen", displayed(timeout)))
    };
    with_growing_timeout(run, |outcome| outcome.error().contains("no answer in time")).with_error("no answer in time");
}

#[test]
fn the_timeout_cuts_a_wait_after_a_fault() {
    let api = Server::start(|_| respond(500, &[], b""));
    let run = || github_at(&api.url()).input("poll-interval", "1h");
    let run = |timeout: &_| run().input("timeout", timeout).run().exited(4);
    let outcome = with_growing_timeout(run, |outcome| outcome.error().contains("answered 500"));
    outcome.with_error("the last fault: 127.0.0.1").with_error("answered 500");
}

#[test]
fn nothing_is_started_after_the_timeout_however_slow_the_look_ups_are() {
    let stand_in = StandIn::start();
    for body in [stand_in.identities_json(), stand_in.exports_json()] {
        let slow = wiremock::ResponseTemplate::new(200).set_body_json(body);
        stand_in.next_api_response(slow.set_delay(std::time::Duration::from_millis(400)));
    }
    let run = github(&stand_in).by_names().input("timeout", "600ms");
    run.run().exited(4).with_error("timed out after 600 ms; no status was seen");
    assert!(stand_in.api_requests().iter().all(|request| request.method.as_str() == "GET"), "a run was started");
}

#[test]
fn a_timeout_amid_faults_of_the_store_tells_them() {
    let stand_in = StandIn::builder().url_lifetime(std::time::Duration::ZERO).start();
    let run = || github(&stand_in).input("poll-interval", "1h");
    let run = |timeout: &_| {
        let outcome = run().input("timeout", timeout).run().exited(4);
        outcome.with_error(&format!("timed out after {}", displayed(timeout)))
    };
    let outcome = with_growing_timeout(run, |outcome| outcome.error().contains("the last fault: the store ("));
    outcome
        .with_error(" in the download, before its first byte")
        .with_error("the last fault: the store (")
        .with_error("answered 403 (Forbidden), code AccessDenied")
        .with_error("hint: run the step again, with export-file-id 74780");
}

#[test]
fn the_timeout_does_not_hide_what_was_wrong_before_it() {
    let run = |timeout: &_| {
        let first = Mutex::new(Some(respond(503, &[], b"")));
        let api = Server::start(move |_| first.lock().unwrap().take().unwrap_or_else(|| vec![Action::Hang]));
        github_at(&api.url()).by_names().input("timeout", timeout).run().exited(4)
    };
    let words = "answered 503 (Service Unavailable) (2 attempts in ";
    with_growing_timeout(run, |outcome| outcome.error().contains(words)).with_error(words);
}

#[test]
fn a_file_that_does_not_come_is_no_run_that_goes_on() {
    let run = |timeout: &_| {
        let stand_in = StandIn::start();
        stand_in.next_store_response(|_, _| vec![Action::Hang]);
        github(&stand_in).input("timeout", timeout).run().exited(4)
    };
    let words = "in the download, before its first byte; its last status was available";
    with_growing_timeout(run, |outcome| outcome.error().contains(words))
        .with_error(words)
        .with_error("hint: give a longer timeout");
}

//! The system that the step runs on: disks, users, resource limits, stdout.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use rustix::process::geteuid;

use crate::support::{FILENAME, ORDINARY_USER, Outcome, StandIn, can_unshare, github, shell, with_growing_timeout};

#[test]
fn a_full_disk_keeps_the_existing_file() {
    if !can_unshare("--mount") {
        return;
    }
    let stand_in = StandIn::with_file(&[b'x'; 200_000]);
    let outcome = shell(&stand_in).on_small_disk("64k").run().exited(1);
    assert!(outcome.stdout.ends_with("Test-API-Export.csv\nexisting\n"), "{}", outcome.stdout);
    outcome
        .with_error("cannot write the partial file")
        .with_error("no file was written; an existing file was left unchanged");
}

#[test]
fn an_unwritable_directory_fails_before_the_first_request() {
    let stand_in = StandIn::start();
    let step = github(&stand_in).existing_file("sealed/older.csv", b"older").input("directory", "sealed");
    fs::set_permissions(step.workspace().join("sealed"), Permissions::from_mode(0o555)).unwrap();
    let step = step.with_ordinary_user();
    let outcome = step.run().exited(1).with_error("cannot create a file in sealed: ");
    assert!(stand_in.api_requests().is_empty());
    assert_eq!(outcome.files(), ["sealed/", "sealed/older.csv"]);
}

#[test]
fn a_read_only_disk_fails_before_the_first_request() {
    if !can_unshare("--mount") {
        return;
    }
    let stand_in = StandIn::start();
    // Without `bind`, mount passes on the options of /proc/mounts, with an owner's id that the kernel rejects in the namespace
    // of an ordinary user.
    let read_only = "mkdir disk && mount -t tmpfs none disk && echo older > disk/Test-API-Export.csv \
        && mount -o remount,bind,ro disk && { \"$0\"; code=$?; cat disk/*; ls -A disk; exit $code; }";
    let wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", read_only];
    let outcome = shell(&stand_in).input("directory", "disk").wrapped_in(&wrapper).run().exited(1);
    assert!(outcome.stdout.ends_with("older\nTest-API-Export.csv\n"), "{}", outcome.stdout);
    outcome.with_error("cannot create a file in disk: Read-only file system").with_error("no request was sent");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn a_file_size_limit_is_reported_like_a_full_disk() {
    let stand_in = StandIn::with_file(&[b'x'; 200_000]);
    let step = github(&stand_in).existing_file(FILENAME, b"older");
    let outcome = step.wrapped_in(&["bash", "-c", "ulimit -f 64; exec \"$0\""]).run().exited(1);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], b"older".to_vec()));
    outcome.with_error("cannot write the partial file after ").with_error(": File too large");
}

#[test]
fn files_of_root_belong_to_the_owner_of_the_workspace() {
    let stand_in = StandIn::start();
    let step = github(&stand_in).input("directory", "a/b").input("output-file", "c/out.env");
    let owner = if geteuid().is_root() { ORDINARY_USER } else { geteuid().as_raw() };
    let group = if geteuid().is_root() { 4321 } else { fs::metadata(step.workspace()).unwrap().gid() };
    chown(step.workspace(), Some(owner), Some(group)).unwrap();
    let outcome = step.run().exited(0);
    for path in ["a", "a/b", "a/b/Test-API-Export.csv", "c", "c/out.env"] {
        let metadata = fs::metadata(outcome.workspace().join(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (owner, group), "{path}");
    }
}

#[test]
fn files_of_an_ordinary_user_stay_its_own() {
    let (user, other) =
        if geteuid().is_root() { (ORDINARY_USER, 1234) } else { (geteuid().as_raw(), geteuid().as_raw()) };
    let stand_in = StandIn::start();
    let workspace = tempfile::tempdir().unwrap();
    chown(workspace.path(), Some(other), Some(other)).unwrap();
    fs::set_permissions(workspace.path(), Permissions::from_mode(0o777)).unwrap();
    let step = github(&stand_in).env("GITHUB_WORKSPACE", workspace.path());
    let step = step.with_ordinary_user();
    step.run().exited(0);
    assert_eq!(fs::metadata(workspace.path().join(FILENAME)).unwrap().uid(), user);
}

#[test]
fn files_and_directories_respect_the_umask() {
    let stand_in = StandIn::start();
    for (umask, file, directory) in [("022", 0o644, 0o755), ("027", 0o640, 0o750), ("077", 0o600, 0o700)] {
        let script = format!("umask {umask}; exec \"$0\"");
        let step = shell(&stand_in).input("directory", "a").input("output-file", "b/out.env");
        let outcome = step.wrapped_in(&["sh", "-c", &script]).run().exited(0);
        let mode = |path: &str| fs::metadata(outcome.workspace().join(path)).unwrap().mode() & 0o777;
        assert_eq!([mode("a/Test-API-Export.csv"), mode("b/out.env")], [file; 2], "umask {umask}");
        assert_eq!([mode("a"), mode("b")], [directory; 2], "umask {umask}");
    }
}

#[test]
fn a_limit_of_open_files_is_reported() {
    let stand_in = StandIn::start();
    let mut reported = 0;
    for files in 4..16 {
        let limit = format!("ulimit -n {files}; exec \"$0\"");
        let run = |timeout: &_| {
            let run = github(&stand_in).input("timeout", timeout);
            run.wrapped_in(&["bash", "-c", &limit]).run()
        };
        let is_reported = |outcome: &Outcome| {
            let error = outcome.error().to_lowercase();
            error.contains("too many open files") || error.contains("the program crashed")
        };
        // With fewer files its libraries cannot be loaded (127), with more it succeeds.
        let has_nothing_to_report = |outcome: &Outcome| [Some(0), Some(127)].contains(&outcome.status.code());
        let outcome = with_growing_timeout(run, |outcome| has_nothing_to_report(outcome) || is_reported(outcome));
        if has_nothing_to_report(&outcome) {
            continue;
        }
        assert!([Some(1), Some(4)].contains(&outcome.status.code()), "{:?}:\n{}", outcome.status, outcome.stderr);
        assert!(is_reported(&outcome), "{}", outcome.error());
        assert_eq!(outcome.files(), [""; 0]);
        reported += 1;
    }
    assert!(reported > 0, "no limit was low enough to be reported");
}

#[test]
fn write_protected_outputs_fail_before_the_first_request() {
    let stand_in = StandIn::start();
    let step = github(&stand_in).existing_file("sealed", b"");
    let sealed = step.workspace().join("sealed");
    fs::set_permissions(&sealed, Permissions::from_mode(0o444)).unwrap();
    let step = step.env("GITHUB_OUTPUT", sealed);
    let step = step.with_ordinary_user();
    step.run().exited(1).with_error("cannot write GITHUB_OUTPUT (").with_error("): Permission denied");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn a_closed_or_full_stdout_does_not_fail_the_step() {
    for script in ["exec \"$0\" >&-", "exec \"$0\" >/dev/full", "exec \"$0\" > >(exec true)"] {
        let outcome = github(&StandIn::start()).wrapped_in(&["bash", "-c", script]).run().exited(0);
        assert_eq!(
            (outcome.outputs["path"].as_str(), outcome.files()),
            (FILENAME, vec![FILENAME.to_owned()]),
            "{script}"
        );
    }
}

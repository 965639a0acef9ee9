//! The destination: workspace, directory and file name.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{
    Action, FILENAME, RUN_ID, Server, StandIn, Step, can_unshare, github, respond, run_json_with_url, shell,
};
use crate::troubleshooting::OUTSIDE_WORKSPACE;

#[test]
fn sanitizes_the_file_name_of_the_server() {
    for (disposition, name) in [
        ("attachment; filename=\"my_second_test_report.csv\"", "my_second_test_report.csv"),
        ("attachment; filename=\"../../etc/passwd\"", "passwd"),
        ("attachment; filename=x.csv; filename*=UTF-8''na%C3%AFve.csv", "naïve.csv"),
        ("attachment; filename=\".a:b|c?.csv \"", "a_b_c_.csv"),
        ("attachment; filename=\"\u{202e}vsc.exe\"", "vsc.exe"),
        ("attachment; filename=\"..\"", "9f86d081884c7d65_original.txt"),
        ("", "9f86d081884c7d65_original.txt"),
    ] {
        let stand_in = StandIn::builder().content_disposition(disposition).start();
        let outcome = github(&stand_in).run().exited(0);
        assert_eq!((outcome.files(), outcome.outputs["filename"].as_str()), (vec![name.to_owned()], name));
    }
}

#[test]
fn names_the_file_after_the_run_if_nothing_else_does() {
    let stand_in = StandIn::start();
    // The URLs of the stand-in have a file name in their path.
    let store = Server::start(|_| respond(200, &[], b"bytes"));
    stand_in.next_api_json(run_json_with_url("Available", &format!("{}/", store.url())));
    let outcome = github(&stand_in).run().exited(0);
    assert_eq!(outcome.files(), [format!("export-{RUN_ID}")]);
}

#[test]
fn ignores_an_oversized_content_disposition() {
    let stand_in = StandIn::start();
    stand_in.next_store_response(|request, file| {
        let disposition = format!("attachment; {}filename=long.csv", "x=y; ".repeat(4000));
        vec![Action::Send(file.respond(request, &[("Content-Disposition", &disposition)]))]
    });
    assert_eq!(github(&stand_in).run().exited(0).files(), [FILENAME]);
}

#[test]
fn replaces_a_file_or_a_link_at_the_destination() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in).existing_file(FILENAME, b"older").run().exited(0);
    assert_eq!((outcome.files(), outcome.read(FILENAME)), (vec![FILENAME.to_owned()], stand_in.file()));
    let step = github(&stand_in).existing_file("precious.csv", b"precious");
    symlink("precious.csv", step.workspace().join(FILENAME)).unwrap();
    let outcome = step.run().exited(0);
    assert_eq!((outcome.read("precious.csv"), outcome.read(FILENAME)), (b"precious".to_vec(), stand_in.file()));
    assert!(!outcome.workspace().join(FILENAME).is_symlink());
}

#[test]
fn a_directory_at_the_destination_is_an_error() {
    let stand_in = StandIn::start();
    let run = || github(&stand_in).existing_file("x.csv/inside", b"");
    let outcome = run().input("filename", "x.csv").run().exited(1).with_error("x.csv is a directory");
    assert_eq!(outcome.files(), ["x.csv/", "x.csv/inside"]);
    assert!(stand_in.api_requests().is_empty());
    let stand_in = StandIn::builder().content_disposition("attachment; filename=x.csv").start();
    let outcome = github(&stand_in).existing_file("x.csv/inside", b"").run().exited(1);
    assert_eq!(outcome.with_error("x.csv is a directory").files(), ["x.csv/", "x.csv/inside"]);
}

#[test]
fn saves_to_directory_and_filename() {
    let stand_in = StandIn::start();
    let run = || github(&stand_in);
    let named = run().input("directory", "a/b").input("filename", "applicants 2026.csv").run().exited(0);
    assert_eq!(named.files(), ["a/", "a/b/", "a/b/applicants 2026.csv"]);
    assert_eq!(named.outputs["path"], "a/b/applicants 2026.csv");
    let elsewhere = tempfile::tempdir().unwrap();
    let absolute = run().input("directory", &elsewhere.path().join("new").display().to_string()).run().exited(0);
    let path = elsewhere.path().canonicalize().unwrap().join("new/Test-API-Export.csv");
    assert_eq!(fs::read(&path).unwrap(), stand_in.file());
    assert_eq!(absolute.outputs["path"], path.display().to_string());
    // Without a container, the following steps see the same path.
    assert!(!absolute.stdout.contains("warning"), "{}", absolute.stdout);
    assert_eq!(absolute.files(), [""; 0]);
}

#[test]
fn rejects_paths_that_leave_the_workspace() {
    let stand_in = StandIn::start();
    let step = github(&stand_in);
    symlink("/tmp", step.workspace().join("link")).unwrap();
    step.input("directory", "link/x")
        .run()
        .exited(2)
        .with_error("leads outside the workspace (through a link); use a path inside it, or an absolute path");
    let step = github(&stand_in);
    step.input("directory", "a/../..")
        .run()
        .exited(2)
        .with_error("leads outside the workspace (through ..); use a path inside it, or an absolute path");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("victim"), "victim").unwrap();
    for path in ["link/out.env", "file.env"] {
        let step = github(&stand_in);
        symlink(elsewhere.path(), step.workspace().join("link")).unwrap();
        symlink(elsewhere.path().join("victim"), step.workspace().join("file.env")).unwrap();
        let outcome = step.input("output-file", path).run().exited(2);
        outcome
            .with_error("output-file: `")
            .with_error("leads outside the workspace (through a link); use a path inside it, or an absolute path");
    }
    assert_eq!(fs::read(elsewhere.path().join("victim")).unwrap(), b"victim");
    assert!(stand_in.api_requests().is_empty());
}

/// Runs a step like a container action: in a root of its own, with the workspace at /github/workspace.
fn in_container(step: Step) -> Step {
    const ROOT: &str = "root=$PWD/../root; workspace=$PWD; mkdir \"$root\" && mount -t tmpfs none \"$root\" || exit
        for entry in /*; do
            if [ \"$entry\" = /outside ]; then continue
            elif [ -L \"$entry\" ]; then cp -P \"$entry\" \"$root$entry\"
            elif [ -d \"$entry\" ]; then mkdir \"$root$entry\" && mount --rbind \"$entry\" \"$root$entry\" || exit
            fi
        done
        mkdir -p \"$root/github/workspace\" && mount --bind \"$workspace\" \"$root/github/workspace\" || exit
        exec chroot \"$root\" \"$0\"";
    let wrapper = ["unshare", "--mount", "--map-root-user", "bash", "-c", ROOT];
    step.env("GITHUB_WORKSPACE", "/github/workspace").wrapped_in(&wrapper)
}

#[test]
fn warns_about_a_path_that_is_valid_only_inside_the_container() {
    // In the tests of the image, the program already runs in a container.
    if std::env::var_os("WEBADMIT_EXPORT_PROGRAM").is_some() || !can_unshare("--mount") {
        return;
    }
    let stand_in = StandIn::start();
    let run = |directory: &str| in_container(github(&stand_in).input("directory", directory));
    let warning = |stdout: &str| stdout.find("::warning title=webadmit-export::");
    for directory in ["/github/runner_temp/exports", "/outside", "/github/workspace/../elsewhere"] {
        let outcome = run(directory).run().exited(0);
        let at = warning(&outcome.stdout).unwrap_or_else(|| panic!("no warning: {}", outcome.stdout));
        let (before, after) = outcome.stdout.split_at(at);
        assert!(!before.contains("run 74780 of export") && warning(&after[1..]).is_none(), "{}", outcome.stdout);
        let path = outcome.outputs["path"].strip_suffix("/Test-API-Export.csv").unwrap();
        let words = OUTSIDE_WORKSPACE.replace("/outside", path);
        assert!(outcome.stdout.contains(&words), "{words}: {}", outcome.stdout);
    }
    for directory in ["exports", "/github/workspace/exports"] {
        let outcome = run(directory).run().exited(0);
        assert_eq!(outcome.outputs["path"], "exports/Test-API-Export.csv");
        assert_eq!(warning(&outcome.stdout), None, "{directory}: {}", outcome.stdout);
    }
    let outcome = run("exports").input("output-file", "/outside/webadmit.env").run().exited(0);
    let warning_text = "::warning title=webadmit-export::output-file /outside/webadmit.env is outside the workspace";
    assert_eq!(outcome.stdout.matches("::warning").count(), 1, "{}", outcome.stdout);
    assert!(outcome.stdout.contains(warning_text), "{}", outcome.stdout);
    let outcome = run("../elsewhere").run().exited(2);
    outcome.with_error("leads outside the workspace (through ..); use a path inside it; no request was sent");
    let elsewhere = run("/outside").env("GITHUB_ACTIONS", "false").run().exited(0);
    assert!(!elsewhere.stdout.contains("is outside the workspace"), "{}", elsewhere.stdout);
    let bad = run("/outside").input("timeout", "never").run().exited(2);
    assert_eq!(warning(&bad.stdout), None, "{}", bad.stdout);
}

#[test]
fn the_path_output_is_relative_inside_the_workspace() {
    let stand_in = StandIn::start();
    let step = github(&stand_in);
    let inside = step.workspace().join("inside").display().to_string();
    assert_eq!(step.input("directory", &inside).run().exited(0).outputs["path"], "inside/Test-API-Export.csv");
}

#[test]
fn accepts_a_workspace_that_is_a_link() {
    let stand_in = StandIn::start();
    let step = github(&stand_in);
    let link = step.workspace().parent().unwrap().join("link");
    symlink(step.workspace(), &link).unwrap();
    let inside = link.join("new/deep").display().to_string();
    let step = step.env("GITHUB_WORKSPACE", &link).input("directory", &inside);
    assert_eq!(step.run().exited(0).outputs["path"], "new/deep/Test-API-Export.csv");
    let step = github(&stand_in);
    let another_path = format!("{}/../workspace/a.csv", step.workspace().display());
    let step = step.input("output-file", &another_path).input("filename", "a.csv");
    step.run().exited(2).with_error("is also the path of the export file");
}

#[test]
fn rejects_links_to_names_with_control_characters() {
    let stand_in = StandIn::start();
    for input in ["directory", "output-file"] {
        let step = github(&stand_in).existing_file("real\npath=evil/x", b"");
        symlink("real\npath=evil", step.workspace().join("exports")).unwrap();
        let outcome = step.input(input, "exports/here").run().exited(2);
        outcome.with_error("leads to a path that is not valid UTF-8 or contains control characters");
    }
}

#[test]
fn the_workspace_defaults_to_the_working_directory() {
    let stand_in = StandIn::start();
    let outcome = shell(&stand_in).input("directory", "out").run().exited(0);
    assert_eq!(outcome.files(), ["out/", "out/Test-API-Export.csv"]);
    assert!(outcome.stdout.contains("path=out/Test-API-Export.csv"), "{}", outcome.stdout);
}

#[test]
fn a_directory_below_a_file_is_an_invalid_input() {
    let stand_in = StandIn::start();
    let step = github(&stand_in).existing_file("file", b"").input("directory", "file/below");
    step.run().exited(2).with_error("directory: `file/below` cannot be used: ");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn a_missing_workspace_is_an_error() {
    let outcome = github(&StandIn::start()).env("GITHUB_WORKSPACE", "/no/such/place").run();
    outcome.exited(1).with_error("cannot use the workspace /no/such/place");
}

#[test]
fn a_directory_that_is_removed_meanwhile_is_reported() {
    let stand_in = StandIn::with_statuses(&["In Progress"]);
    let step = github(&stand_in).input("directory", "out").input("poll-interval", "10ms");
    let workspace = step.workspace();
    let running = step.spawn();
    running.wait_for_stdout("status: in_progress");
    fs::remove_dir(workspace.join("out")).unwrap();
    stand_in.next_api_json(run_json_with_url("Available", &format!("{}/x", stand_in.store().url())));
    let outcome = running.wait().exited(1);
    outcome.with_error("run 74780 of export 86446: cannot create the partial file: No such file or directory");
}

//! The section "Inputs".

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

use crate::support::{
    API_KEY, EXPORT_ID, RUN_ID, StandIn, Step, UNKNOWN_HOST, can_unshare, github, github_at, shell,
    with_growing_timeout,
};

#[test]
fn both_spellings_and_any_letter_case_mean_the_same() {
    let stand_in = StandIn::start();
    for spellings in [
        ["INPUT_API-KEY", "INPUT_EXPORT-ID", "INPUT_EXPORT-FILE-ID", "INPUT_BASE-URL"],
        ["INPUT_API_KEY", "INPUT_EXPORT_ID", "INPUT_EXPORT_FILE_ID", "INPUT_BASE_URL"],
        ["input_api-key", "Input_Export_Id", "INPUT_export-FILE-id", "input_base_url"],
    ] {
        let values = [format!(" {API_KEY}\n"), EXPORT_ID.to_string(), format!("{RUN_ID} "), stand_in.api_url()];
        let run = spellings.iter().zip(values).fold(Step::in_shell(), |run, (name, value)| run.env(name, value));
        run.run().exited(0);
    }
}

#[test]
fn an_empty_input_is_the_same_as_none() {
    let stand_in = StandIn::start();
    let names =
        ["directory", "filename", "timeout", "fail-on", "allow-http", "ca-file", "output-file", "user-identity-id"];
    let run = names.iter().fold(github(&stand_in), |run, name| run.input(name, " "));
    assert_eq!(run.run().exited(0).files(), ["Test-API-Export.csv"]);
}

#[test]
fn all_bad_inputs_are_reported_together_before_any_request() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in)
        .input("export-id", "eighty")
        .input("export-file-id", "-1")
        .input("filename", "a/b.csv")
        .input("directory", "../outside")
        .input("timeout", "0")
        .input("poll-interval", "often")
        .input("fail-on", "failed,sometimes")
        .input("allow-http", "maybe")
        .input("ca-file", "none.pem")
        .input("output-file", "../outputs.env")
        .input("encoding", "ebcdic")
        .run()
        .exited(2);
    let failure = outcome.error();
    for (input, value) in [
        ("export-id", "eighty"),
        ("export-file-id", "-1"),
        ("filename", "a/b.csv"),
        ("directory", "../outside"),
        ("timeout", "0"),
        ("poll-interval", "often"),
        ("fail-on", "failed,sometimes"),
        ("allow-http", "maybe"),
        ("ca-file", "none.pem"),
        ("output-file", "../outputs.env"),
        ("encoding", "ebcdic"),
    ] {
        assert!(failure.contains(&format!("\n{input}: `{value}` ")), "{input} is not in:\n{failure}");
    }
    assert!(failure.starts_with("11 bad inputs"), "{failure}");
    assert!(stand_in.api_requests().is_empty());
    assert_eq!((outcome.files(), outcome.output_text.as_str()), (vec![], ""));
    assert!(outcome.summary.contains("eighty"), "{}", outcome.summary);
}

#[test]
fn a_missing_input_names_the_variable_to_set() {
    let outcome = Step::in_shell().run().exited(2);
    for words in [
        "api-key: missing or empty: is the secret there",
        "INPUT_API_KEY",
        "INPUT_EXPORT_NAME",
        "INPUT_EXPORT_ID",
        "INPUT_EXPORT_FILE_ID",
        "INPUT_IDENTITY",
        "INPUT_USER_IDENTITY_ID",
    ] {
        assert!(outcome.error().contains(words), "{}", outcome.stderr);
    }
    assert_eq!(outcome.stdout, "");
}

#[test]
fn two_ways_of_saying_the_same_thing_are_bad_input() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in)
        .input("export-name", "Nightly Applicants")
        .input("identity", "SOPHAS")
        .input("user-identity-id", "305")
        .run()
        .exited(2);
    outcome
        .with_error("export-name: `Nightly Applicants` is given together with export-id `86446`: ")
        .with_error("identity: `SOPHAS` is given together with user-identity-id `305`: ");
    let latest = github(&stand_in).input("export-file-id", "latest").run().exited(2);
    latest.with_error("export-file-id: latest needs an identity");
    github(&stand_in)
        .input("encoding", "latin1")
        .run()
        .exited(2)
        .with_error("encoding: `latin1` is neither as-sent nor utf-8");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn the_key_in_another_input_is_refused_and_not_shown() {
    let stand_in = StandIn::start();
    for input in ["export-name", "identity", "directory", "output-file", "ca-file", "timeout", "filename"] {
        let run = shell(&stand_in).input(input, &format!("../{API_KEY}"));
        let outcome = run.run().exited(2).with_error(&format!("{input}: holds the API key"));
        assert!(!outcome.mentions(API_KEY));
    }
}

#[test]
fn the_key_is_shown_in_no_message_about_inputs() {
    let stand_in = StandIn::start();
    github(&stand_in)
        .input("export-id", API_KEY)
        .input("filename", &format!("x/{API_KEY}"))
        .input("base-url", &format!("https://{API_KEY}@{UNKNOWN_HOST}"))
        .run()
        .exited(2);
}

#[test]
fn what_is_wrong_with_an_input_is_told_once() {
    let bytes = || OsString::from_vec(vec![b'5', 0xff]);
    let run = Step::in_shell().env("INPUT_API_KEY", bytes()).env("INPUT_EXPORT_ID", bytes());
    let outcome = run.env("INPUT_EXPORT_FILE_ID", bytes()).run().exited(2).with_error("3 bad inputs; ");
    assert_eq!(outcome.error().matches(": its value is not valid UTF-8").count(), 3, "{}", outcome.error());
}

#[test]
fn a_value_that_is_not_utf_8_is_a_bad_input_and_other_variables_may_be_anything() {
    let stand_in = StandIn::start();
    let bytes = OsString::from_vec(vec![b'a', 0xff]);
    let run = || github(&stand_in);
    run().env("INPUT_FILENAME", bytes.clone()).run().exited(2).with_error("filename: its value is not valid UTF-8");
    run().env("SOMETHING_ELSE", bytes).run().exited(0);
}

#[test]
fn every_form_of_the_base_url_leads_to_the_api() {
    let stand_in = StandIn::start();
    for end in ["", "/", "/api/v1", "/api/v1/"] {
        github(&stand_in).input("base-url", &(stand_in.api_url() + end)).run().exited(0);
    }
}

#[test]
fn plain_http_is_for_loopback_unless_it_is_allowed() {
    let url = format!("http://{UNKNOWN_HOST}");
    let run = || github_at(&url);
    run().run().exited(2).with_error(&format!("base-url: `{url}` would send the key unencrypted"));
    let allowed = |timeout: &_| run().input("allow-http", "true").input("timeout", timeout).run();
    let cause = format!("no connection to {UNKNOWN_HOST}");
    let outcome = with_growing_timeout(allowed, |outcome| outcome.stdout.contains(&cause));
    outcome.exited(4).with_error(&cause);
}

#[test]
fn a_directory_that_leads_out_of_the_workspace_is_refused() {
    let stand_in = StandIn::start();
    let run = github(&stand_in);
    symlink("/tmp", run.workspace().join("link")).unwrap();
    run.input("directory", "link/x").run().exited(2).with_error("leads out of the workspace (by a link)");
    let run = github(&stand_in);
    run.input("directory", "a/../..").run().exited(2).with_error("leads out of the workspace (by ..)");
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("victim"), "victim").unwrap();
    for path in ["link/out.env", "file.env"] {
        let run = github(&stand_in);
        symlink(elsewhere.path(), run.workspace().join("link")).unwrap();
        symlink(elsewhere.path().join("victim"), run.workspace().join("file.env")).unwrap();
        let outcome = run.input("output-file", path).run().exited(2);
        outcome.with_error("output-file: `").with_error("leads out of the workspace (by a link)");
    }
    assert_eq!(std::fs::read(elsewhere.path().join("victim")).unwrap(), b"victim");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn the_file_goes_where_it_is_asked_to_go() {
    let stand_in = StandIn::start();
    let run = || github(&stand_in);
    let named = run().input("directory", "a/b").input("filename", "applicants 2026.csv").run().exited(0);
    assert_eq!(named.files(), ["a/", "a/b/", "a/b/applicants 2026.csv"]);
    assert_eq!(named.outputs["path"], "a/b/applicants 2026.csv");
    let elsewhere = tempfile::tempdir().unwrap();
    let absolute = run().input("directory", &elsewhere.path().join("new").display().to_string()).run().exited(0);
    let path = elsewhere.path().canonicalize().unwrap().join("new/Test-API-Export.csv");
    assert_eq!(std::fs::read(&path).unwrap(), stand_in.file());
    assert_eq!(absolute.outputs["path"], path.display().to_string());
    // On the machine itself, the following steps see the same paths.
    assert!(!absolute.stdout.contains("warning"), "{}", absolute.stdout);
    assert_eq!(absolute.files(), [""; 0]);
}

/// As a container action: the workspace is also at /github/workspace, under a root of its own that is gone afterwards.
fn in_container(run: Step) -> Step {
    const ROOT: &str = "root=$PWD/../root; workspace=$PWD; mkdir \"$root\" && mount -t tmpfs none \"$root\" || exit
        for entry in /*; do
            if [ -L \"$entry\" ]; then cp -P \"$entry\" \"$root$entry\"
            elif [ -d \"$entry\" ]; then mkdir \"$root$entry\" && mount --rbind \"$entry\" \"$root$entry\" || exit
            fi
        done
        mkdir -p \"$root/github/workspace\" && mount --bind \"$workspace\" \"$root/github/workspace\" || exit
        exec chroot \"$root\" \"$0\"";
    run.env("GITHUB_WORKSPACE", "/github/workspace").wrapped_in(&[
        "unshare",
        "--mount",
        "--map-root-user",
        "bash",
        "-c",
        ROOT,
    ])
}

#[test]
fn a_path_that_only_the_container_knows_is_warned_of_before_the_first_request() {
    // Another program runs in a container of its own.
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
        let words = format!("directory {path} is outside of the workspace: the output path will be valid only inside");
        assert!(after.contains(&words), "{words}: {}", outcome.stdout);
    }
    for directory in ["exports", "/github/workspace/exports"] {
        let outcome = run(directory).run().exited(0);
        assert_eq!(outcome.outputs["path"], "exports/Test-API-Export.csv");
        assert_eq!(warning(&outcome.stdout), None, "{directory}: {}", outcome.stdout);
    }
    let elsewhere = run("/outside").env("GITHUB_ACTIONS", "false").run().exited(0);
    assert!(!elsewhere.stdout.contains("valid only inside"), "{}", elsewhere.stdout);
    let bad = run("/outside").input("timeout", "never").run().exited(2);
    assert_eq!(warning(&bad.stdout), None, "{}", bad.stdout);
}

#[test]
fn an_absolute_directory_inside_the_workspace_is_told_relative() {
    let stand_in = StandIn::start();
    let run = github(&stand_in);
    let inside = run.workspace().join("inside").display().to_string();
    assert_eq!(run.input("directory", &inside).run().exited(0).outputs["path"], "inside/Test-API-Export.csv");
}

#[test]
fn a_workspace_that_is_reached_by_a_link_is_the_same_workspace() {
    let stand_in = StandIn::start();
    let run = github(&stand_in);
    let link = run.workspace().parent().unwrap().join("link");
    symlink(run.workspace(), &link).unwrap();
    let inside = link.join("new/deep").display().to_string();
    let run = run.env("GITHUB_WORKSPACE", &link).input("directory", &inside);
    assert_eq!(run.run().exited(0).outputs["path"], "new/deep/Test-API-Export.csv");
    let run = github(&stand_in);
    let by_another_way = format!("{}/../workspace/a.csv", run.workspace().display());
    let run = run.input("output-file", &by_another_way).input("filename", "a.csv");
    run.run().exited(2).with_error("is the path of the export file too");
}

#[test]
fn a_place_that_cannot_be_told_in_a_line_is_refused() {
    let stand_in = StandIn::start();
    for input in ["directory", "output-file"] {
        let run = github(&stand_in).existing_file("real\npath=evil/x", b"");
        symlink("real\npath=evil", run.workspace().join("exports")).unwrap();
        let outcome = run.input(input, "exports/here").run().exited(2);
        outcome.with_error("leads to a place whose name holds control characters");
    }
}

#[test]
fn the_workspace_is_the_working_directory_where_github_names_none() {
    let stand_in = StandIn::start();
    let outcome = shell(&stand_in).input("directory", "out").run().exited(0);
    assert_eq!(outcome.files(), ["out/", "out/Test-API-Export.csv"]);
    assert!(outcome.stdout.contains("path=out/Test-API-Export.csv"), "{}", outcome.stdout);
}

#[test]
fn a_misspelt_input_is_told_and_does_no_harm() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in).input("time-out", "1h").run().exited(0);
    let warning = "::warning title=webadmit-export::INPUT_TIME-OUT is no input and is ignored: was timeout meant?\n";
    assert!(outcome.stdout.contains(warning), "{}", outcome.stdout);
}

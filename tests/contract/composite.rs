//! The action without Docker, `binary/action.yml`: its steps run as GitHub's runner runs them, and a server on loopback has the
//! files of the release.

mod job;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use webadmit_export::config;

use self::job::{ARCH, Job, PROGRAM, Release, VERSION, script};
use crate::support::{
    API_KEY, Action, EXPORT_ID, FILENAME, Gate, Outcome, RUN_ID, Server, StandIn, Step, cut, head, respond, response,
    sha256_hex,
};
use crate::troubleshooting::composite::{
    CANNOT_DOWNLOAD, CANNOT_START, CHANGED_BINARY, NO_BINARIES, NO_CACHE, NO_FILE, NO_TOOL, NOT_A_BINARY,
    NOT_EXECUTABLE, OTHER_DOWNLOAD, OTHER_PLATFORM, UNREADABLE_BINARY,
};
use crate::troubleshooting::is_message;

/// What the step of a test prints if it ran the program of the release.
const GREETING: &str = "the program of the release runs";

/// An input of steps that make no request.
const NO_API: (&str, &str) = ("base-url", "http://127.0.0.1:1");

/// Returns a program that only shows that it was run.
fn greeting() -> Vec<u8> {
    script(&format!("echo {GREETING}"))
}

/// Prepares a step whose program makes no request.
fn without_api(job: &Job) -> Step {
    job.step(&[(NO_API.0, NO_API.1.to_owned())])
}

/// Returns the inputs for a program of the runner that makes no request.
fn program_without_api(path: &str) -> Vec<(&'static str, String)> {
    vec![(NO_API.0, NO_API.1.to_owned()), ("binary-path", path.to_owned())]
}

/// Returns the inputs that download the run of a stand-in.
fn inputs_for(stand_in: &StandIn) -> Vec<(&'static str, String)> {
    vec![
        ("api-key", API_KEY.to_owned()),
        ("export-id", EXPORT_ID.to_string()),
        ("export-file-id", RUN_ID.to_string()),
        ("base-url", stand_in.api_url()),
        ("poll-interval", "50ms".to_owned()),
        ("directory", "exports".to_owned()),
    ]
}

/// Returns the same inputs for a program that is a file of the runner.
fn inputs_with_path(stand_in: &StandIn) -> Vec<(&'static str, String)> {
    [inputs_for(stand_in), vec![("binary-path", PROGRAM.to_owned())]].concat()
}

#[track_caller]
fn assert_downloaded(job: &Job, outcome: &Outcome, stand_in: &StandIn) {
    assert_eq!(outcome.read(&format!("exports/{FILENAME}")), stand_in.file());
    let outputs = job.outputs(outcome);
    assert_eq!(outputs["status"], "available");
    assert_eq!(outputs["path"], format!("exports/{FILENAME}"));
    assert_eq!(outputs["sha256"], sha256_hex(&stand_in.file()));
    assert_eq!(outputs["paths"], format!("exports/{FILENAME}"));
    assert_eq!(outputs["pdf-batch-id"], "", "an output that is not set");
    assert!(outputs["files"].starts_with("[{"), "{outputs:?}");
}

/// Checks that the error is this message of the page on troubleshooting.
#[track_caller]
fn assert_error(outcome: &Outcome, message: &str) {
    let error = outcome.error();
    assert!(is_message(&error, message), "{error:?} is not {message:?}\n{}", outcome.stdout);
    assert!(outcome.stdout.contains("::error title=webadmit-export::"), "{}", outcome.stdout);
    assert_eq!(outcome.outputs.get("files").map(String::as_str), Some("[]"), "the output that is always set");
}

#[test]
fn runs_the_downloaded_program_and_then_the_cached_one() {
    let (stand_in, release) = (StandIn::start(), Release::of(fs::read(PROGRAM).unwrap()));
    let job = Job::of(&release);
    for _ in 0..2 {
        let outcome = job.step(&inputs_for(&stand_in)).run().exited(0);
        assert_downloaded(&job, &outcome, &stand_in);
        assert_eq!(release.downloads(), 1);
        assert_eq!(job.cached_files(), [format!("webadmit-export/{VERSION}/{ARCH}/webadmit-export")]);
        assert!(!outcome.stdout.contains("::warning"), "{}", outcome.stdout);
    }
    let user_agent = release.server.requests()[0].header("user-agent").unwrap().to_owned();
    assert!(user_agent.starts_with("curl/"), "{user_agent}");
}

#[test]
fn runs_a_local_program_without_curl_or_checksums() {
    let (stand_in, job) = (StandIn::start(), Job::with_checksums(""));
    let step = job.step(&inputs_with_path(&stand_in)).env("PATH", job.path_without("curl"));
    assert_downloaded(&job, &step.run().exited(0), &stand_in);
    assert_eq!(job.cached_files(), [""; 0]);

    let step = job.step(&program_without_api("tools/a program")).existing_file("tools/a program.sh", greeting());
    job.install(&step.workspace().join("tools/a program.sh"), &step.workspace().join("tools/a program"));
    assert!(step.run().exited(0).stdout.contains(GREETING), "a path is relative to the workspace");
}

#[test]
fn white_space_around_the_path_of_a_local_program_has_no_effect() {
    let release = Release::of(greeting());
    let job = Job::of(&release);
    let program = job.executable("a program", greeting()).display().to_string();
    for path in [format!("{program}\n"), format!(" \t{program} "), format!("\r\n{program}\r\n")] {
        assert!(job.step(&program_without_api(&path)).run().exited(0).stdout.contains(GREETING), "{path:?}");
    }
    assert_eq!(release.downloads(), 0);

    assert!(job.step(&program_without_api(" \n ")).run().exited(0).stdout.contains(GREETING));
    assert_eq!(release.downloads(), 1, "a blank path is no path");
}

#[test]
fn a_local_file_that_is_not_a_binary_is_not_run_as_a_script() {
    let job = Job::with_checksums("");
    for text in [
        "",
        "# only a comment\n",
        "echo run >ran\n",
        "\necho run >ran\n",
        "ELF\necho run >ran\n",
        "#!\necho run >ran\n",
    ] {
        let program = job.executable("program", text).display().to_string();
        let outcome = job.step(&program_without_api(&program)).run().exited(2);
        assert_error(&outcome, NOT_A_BINARY);
        assert_eq!(outcome.files(), [""; 0], "{text:?}");
    }
}

#[test]
fn a_local_program_that_cannot_run_is_an_error() {
    let job = Job::with_checksums("");
    let elf = job.executable("for another platform", b"\x7fELF\0\0\0\0");
    for (path, code, message) in [
        ("missing%41\nfile", 2, NO_FILE),
        ("/", 2, NO_FILE),
        ("plain", 2, NOT_EXECUTABLE),
        (elf.to_str().unwrap(), 1, CANNOT_START),
    ] {
        let step = job.step(&program_without_api(path)).existing_file("plain", greeting());
        let outcome = step.run().exited(code).with_error(path);
        assert_error(&outcome, message);
    }
}

#[test]
fn a_failed_download_is_retried() {
    let program = greeting();
    let whole = response(200, &[], &program);
    let unavailable = || respond(503, &[], "Unavailable");
    let interrupted = vec![Action::Send(cut(&whole, 10)), Action::Close];
    let reset = vec![Action::Send(cut(&whole, 10)), Action::Reset];
    for responses in [vec![unavailable(), unavailable()], vec![interrupted], vec![reset]] {
        let (release, number) = (Release::of(program.clone()), responses.len());
        release.respond_first(responses);
        let job = Job::of(&release);
        let outcome = without_api(&job).run().exited(0);
        assert!(outcome.stdout.contains(GREETING), "{}", outcome.stdout);
        assert_eq!(release.downloads(), number + 1);
        let pauses: Vec<_> = outcome.stdout.lines().filter_map(|line| line.strip_prefix("slept ")).collect();
        assert_eq!(pauses, ["1", "2"][..number]);
        assert_eq!(job.cached_files().len(), 1);
    }
}

#[test]
fn a_download_that_keeps_failing_is_an_error() {
    let program = greeting();
    let interrupted = vec![Action::Send(cut(&response(200, &[], &program), 10)), Action::Close];
    for actions in [respond(404, &[], "Not Found"), interrupted] {
        let release = Release::of(program.clone());
        release.respond_first(vec![actions; 9]);
        let job = Job::of(&release);
        let outcome = without_api(&job).run().exited(1);
        assert_error(&outcome, CANNOT_DOWNLOAD);
        assert!(outcome.stderr.contains("curl: ("), "{}", outcome.stderr);
        assert_eq!((release.downloads(), job.cached_files()), (5, vec![]));
    }
}

#[test]
fn a_download_that_is_too_large_is_interrupted_and_retried() {
    let release = Release::of(greeting());
    let head = Action::Send(b"HTTP/1.1 200 OK\r\n\r\n".to_vec());
    release.respond_first(vec![vec![head, Action::Send(vec![b'x'; 101 << 20]), Action::Close]]);
    let outcome = without_api(&Job::of(&release)).run().exited(0);
    assert!(outcome.stdout.contains(GREETING), "{}", outcome.stdout);
    assert_eq!(release.downloads(), 2);
}

#[test]
fn a_download_with_another_checksum_is_not_run() {
    let program = greeting();
    let until_close = vec![Action::Send(b"HTTP/1.1 200 OK\r\n\r\n#!/bin/sh\n".to_vec()), Action::Close];
    for actions in [respond(200, &[], script("echo another program")), until_close, respond(200, &[], "")] {
        let release = Release::of(program.clone());
        release.respond_first(vec![actions]);
        let job = Job::of(&release);
        let outcome = without_api(&job).run().exited(1).with_error(&format!(", not {}. ", sha256_hex(&program)));
        assert_error(&outcome, OTHER_DOWNLOAD);
        assert!(!outcome.stdout.contains("another program"), "{}", outcome.stdout);
        assert_eq!((release.downloads(), job.cached_files()), (1, vec![]));
    }
}

#[test]
fn a_cached_program_that_was_changed_is_not_run() {
    let release = Release::of(greeting());
    let job = Job::of(&release);
    without_api(&job).run().exited(0);
    let cached = job.tool_cache().join(&job.cached_files()[0]);
    for text in [script("echo another program"), Vec::new()] {
        fs::write(&cached, text).unwrap();
        let outcome = without_api(&job).run().exited(1).with_error(cached.to_str().unwrap());
        assert_error(&outcome, CHANGED_BINARY);
        assert!(!outcome.stdout.contains("another program"), "{}", outcome.stdout);
    }
    fs::remove_file(&cached).unwrap();
    assert!(
        without_api(&job).run().exited(0).stdout.contains(GREETING),
        "after the file was deleted, as the error says"
    );
}

#[test]
fn a_cached_program_that_is_not_a_regular_file_or_cannot_be_read_is_an_error() {
    let release = Release::of(greeting());
    let job = Job::of(&release);
    without_api(&job).run().exited(0);
    let cached = job.tool_cache().join(&job.cached_files()[0]);
    for command in ["mkdir", "mkfifo", "ln --symbolic /dev/zero"] {
        let replace = format!("rm -rf \"$0\" && {command} \"$0\"");
        assert!(Command::new("bash").args(["-c", &replace]).arg(&cached).status().unwrap().success());
        let outcome = without_api(&job).run().exited(1).with_error(cached.to_str().unwrap());
        assert_error(&outcome, UNREADABLE_BINARY);
    }

    fs::remove_file(&cached).unwrap();
    without_api(&job).run().exited(0);
    job.executable("commands/sha256sum", script("echo Input/output error >&2; exit 1")); // root can read any file
    assert_error(&without_api(&job).run().exited(1), UNREADABLE_BINARY);
    assert_eq!(release.downloads(), 2);
}

#[test]
fn a_cached_program_that_is_not_executable_is_made_executable() {
    let release = Release::of(greeting());
    let job = Job::of(&release);
    without_api(&job).run().exited(0);
    let cached = job.tool_cache().join(&job.cached_files()[0]);
    let make_plain = || fs::set_permissions(&cached, Permissions::from_mode(0o644)).unwrap();
    make_plain();
    for _ in 0..2 {
        assert!(without_api(&job).run().exited(0).stdout.contains(GREETING));
    }

    // As for a file of another user, or on a noexec mount.
    make_plain();
    job.executable("commands/chmod", script("exit 1"));
    assert_error(&without_api(&job).run().exited(1).with_error(cached.to_str().unwrap()), CANNOT_START);
    assert_eq!(release.downloads(), 1);
}

#[test]
fn downloads_only_over_https() {
    let plain = Server::start(|_| respond(200, &[], "unexpected"));
    let release = Release::of(greeting());
    release.respond_first(vec![respond(302, &[("Location", &plain.url())], ""); 9]);
    let checksums = release.checksums();
    let without_tls = checksums.replace(&release.server.url(), &plain.url());
    for checksums in [checksums, without_tls] {
        let job = Job::with_checksums(&checksums).trusting(&release);
        assert_error(&without_api(&job).run().exited(1), CANNOT_DOWNLOAD);
    }
    assert_eq!(plain.requests().len(), 0);
}

#[test]
fn verifies_the_certificate_of_the_server() {
    let release = Release::of(greeting());
    let job = Job::with_checksums(&release.checksums());
    assert_error(&without_api(&job).run().exited(1), CANNOT_DOWNLOAD);
}

#[test]
fn jobs_that_share_a_cache_never_run_a_part_of_the_program() {
    let (release, gate) = (Release::of(greeting()), Gate::new());
    let whole = response(200, &[], greeting());
    let (start, rest) = whole.split_at(whole.len() - 5);
    let slow = [start, rest].map(|bytes| Action::Send(bytes.to_vec()));
    release.respond_first(vec![vec![slow[0].clone(), Action::WaitFor(Arc::clone(&gate)), slow[1].clone()]]);

    let job = Job::of(&release);
    let first = without_api(&job).spawn();
    release.wait_for_downloads(1);
    assert!(without_api(&job).run().exited(0).stdout.contains(GREETING));
    assert_eq!(release.downloads(), 2);
    gate.open();
    assert!(first.wait().exited(0).stdout.contains(GREETING));
    assert_eq!(job.cached_files().len(), 1);
}

#[test]
fn a_tool_cache_that_cannot_be_written_is_replaced_by_runner_temp() {
    let release = Release::of(greeting());
    let job = Job::of(&release);
    for _ in 0..2 {
        let step = without_api(&job).env("RUNNER_TOOL_CACHE", "/dev/null");
        assert!(step.run().exited(0).stdout.contains(GREETING));
    }
    assert_eq!((release.downloads(), job.cached_files()), (1, vec![]));

    let step = without_api(&job).env("RUNNER_TOOL_CACHE", "").env("RUNNER_TEMP", "/dev/null");
    let outcome = step.run().exited(1).with_error("RUNNER_TOOL_CACHE (not set) or RUNNER_TEMP (/dev/null)");
    assert_error(&outcome, NO_CACHE);
}

#[test]
fn another_platform_is_an_error() {
    let release = Release::of(greeting());
    for platform in ["Darwin arm64", "Linux armv7l", "Linux riscv64", "MINGW64_NT-10.0-26100 x86_64", "FreeBSD x86_64"]
    {
        let job = Job::of(&release).on_platform(platform);
        let outcome = without_api(&job).run().exited(1).with_error(&format!("no binary for {platform}, "));
        assert_error(&outcome, OTHER_PLATFORM);

        let program = job.executable("program", greeting()).display().to_string();
        assert!(job.step(&program_without_api(&program)).run().exited(0).stdout.contains(GREETING));
    }
    assert_eq!(release.server.requests().len(), 0);
}

#[test]
fn each_platform_has_its_own_program() {
    for platform in ["x86_64", "aarch64"] {
        let release = Release::of(greeting());
        let line = release.checksums();
        let wrong = |arch: &str| line.replacen(ARCH, arch, 1).replace("https:", "https://other.example");
        let right = line.replacen(ARCH, platform, 1);
        let other = wrong(if platform == "x86_64" { "aarch64" } else { "x86_64" });
        for checksums in [[&*right, &*other].concat(), [&*other, &*right].concat()] {
            let job = Job::with_checksums(&checksums).trusting(&release).on_platform(&format!("Linux {platform}"));
            assert!(without_api(&job).run().exited(0).stdout.contains(GREETING));
            assert_eq!(job.cached_files(), [format!("webadmit-export/{VERSION}/{platform}/webadmit-export")]);
        }
    }
}

#[test]
fn the_last_line_of_the_checksums_needs_no_newline() {
    let release = Release::of(greeting());
    let job = Job::with_checksums(release.checksums().trim_end()).trusting(&release);
    assert!(without_api(&job).run().exited(0).stdout.contains(GREETING));
}

#[test]
fn a_missing_tool_is_an_error() {
    for tool in ["curl", "sha256sum"] {
        let job = Job::with_checksums("");
        let step = without_api(&job).env("PATH", job.path_without(tool));
        assert_error(&step.run().exited(1).with_error(tool), NO_TOOL);
    }
}

#[test]
fn a_commit_without_checksums_is_an_error() {
    for checksums in ["", "riscv64 1.0.0 0 https://localhost/\n"] {
        let outcome = without_api(&Job::with_checksums(checksums)).run().exited(1);
        assert_error(&outcome, NO_BINARIES);
    }
}

#[test]
fn a_cancelled_job_removes_the_partial_file_and_sets_its_outputs() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let stand_in = StandIn::start();
        stand_in.next_store_response(|_, _| {
            vec![Action::Send(head(200, &[], 1000)), Action::Send(vec![b'x'; 500]), Action::Hang]
        });
        let job = Job::with_checksums("");
        let running = job.step(&inputs_with_path(&stand_in)).spawn();
        running.wait_for_stdout("downloading ");
        running.signal(signal);
        let outcome = running.wait().exited(code).with_error("interrupted by SIG");
        assert_eq!(outcome.files(), [""; 0]);
        assert_eq!(job.outputs(&outcome)["status"], "available");
        assert_eq!(job.outputs(&outcome)["path"], "");
    }
}

#[test]
fn a_job_that_is_cancelled_while_it_downloads_the_program_leaves_nothing_behind() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let release = Release::of(greeting());
        release.respond_first(vec![vec![Action::Send(head(200, &[], 1000)), Action::Hang]]);
        let job = Job::of(&release);
        let running = without_api(&job).spawn();
        release.wait_for_downloads(1);
        running.signal(signal);
        let outcome = running.wait().exited(code);
        assert_eq!((release.downloads(), job.cached_files()), (1, vec![]));
        assert_eq!(job.outputs(&outcome)["files"], "[]");
    }
}

#[test]
fn a_job_that_is_cancelled_while_it_hashes_the_program_ends() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let hashing = Server::start(|_| vec![Action::Hang]);
        let release = Release::of(greeting());
        let job = Job::of(&release);
        job.executable("commands/sha256sum", script(&format!("exec curl --silent {}", hashing.url())));
        let running = without_api(&job).spawn();
        hashing.wait_for_requests(1);
        running.signal(signal);
        running.wait().exited(code);
        assert_eq!(job.cached_files(), [""; 0]);
    }
}

#[test]
fn a_step_that_fails_sets_its_outputs() {
    let (stand_in, job) = (StandIn::with_statuses(&["Failed"]), Job::with_checksums(""));
    let outcome = job.step(&inputs_with_path(&stand_in)).run().exited(3);
    assert_eq!(job.outputs(&outcome)["status"], "failed");
    assert_eq!(job.outputs(&outcome)["export-file-id"], RUN_ID.to_string());
}

/// The program of this test writes its environment to a file.
#[test]
fn inputs_arrive_unchanged_whatever_they_contain() {
    let job = Job::with_checksums("");
    let program = job.executable("program", script("env --null > environment")).display().to_string();
    let value = |name: &str| {
        let hostile =
            "'a' \"b\" $(touch injected) `touch injected` ${HOME} $$ \\ \\n %41 & | ; < > * ~ # !\n\tsecond \u{e9}";
        format!("{hostile} {name}\n::error::x\n  ")
    };
    let mut inputs: Vec<_> = config::INPUTS.iter().map(|input| (input.name, value(input.name))).collect();
    inputs.push(("binary-path", program.clone()));
    let outcome = job.step(&inputs).run().exited(0);
    assert_eq!(outcome.files(), ["environment"]);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));

    let environment = String::from_utf8(outcome.read("environment")).unwrap();
    for input in config::INPUTS {
        let variable = format!("{}={}", input.variable(), value(input.name));
        assert!(environment.split('\0').any(|entry| entry == variable), "{variable:?} is not in {environment:?}");
    }

    let outcome = job.step(&program_without_api(&program)).run().exited(0);
    let environment = String::from_utf8(outcome.read("environment")).unwrap();
    for input in config::INPUTS.iter().filter(|input| input.name != NO_API.0) {
        let variable = format!("{}={}", input.variable(), input.default.unwrap_or_default());
        assert!(environment.split('\0').any(|entry| entry == variable), "{variable:?} is not in {environment:?}");
    }
}

//! The inputs: spellings, errors, and what is rejected before the first request.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::support::{
    API_KEY, EXPORT_ID, FILENAME, RUN_ID, StandIn, Step, UNKNOWN_HOST, github, github_at, shell, with_growing_timeout,
};

#[test]
fn accepts_both_spellings_in_any_letter_case() {
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
fn empty_inputs_count_as_not_given() {
    let stand_in = StandIn::start();
    let names = [
        "directory",
        "filename",
        "timeout",
        "fail-on",
        "allow-http",
        "ca-file",
        "output-file",
        "output-directory",
        "user-identity-id",
    ];
    let run = names.iter().fold(github(&stand_in), |run, name| run.input(name, " "));
    assert_eq!(run.run().exited(0).files(), [FILENAME]);
}

#[test]
fn reports_all_invalid_inputs_before_any_request() {
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
        .input("output-directory", "x/../..")
        .input("encoding", "ebcdic")
        .run()
        .exited(2);
    let error = outcome.error();
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
        ("output-directory", "x/../.."),
        ("encoding", "ebcdic"),
    ] {
        assert!(error.contains(&format!("\n{input}: `{value}` ")), "{input} is not in:\n{error}");
    }
    assert!(error.starts_with("12 invalid inputs"), "{error}");
    assert!(stand_in.api_requests().is_empty());
    assert_eq!((outcome.files(), outcome.output_text.as_str()), (vec![], "files=[]\n"));
    assert!(outcome.summary.contains("eighty"), "{}", outcome.summary);
}

#[test]
fn names_the_variables_of_missing_inputs() {
    let outcome = Step::in_shell().run().exited(2);
    for words in [
        "api-key: missing or empty; check that the secret exists",
        "INPUT_API_KEY",
        "INPUT_EXPORT_NAME",
        "INPUT_EXPORT_ID",
        "INPUT_EXPORT_FILE_ID",
        "INPUT_IDENTITY",
        "INPUT_USER_IDENTITY_ID",
    ] {
        assert!(outcome.error().contains(words), "{}", outcome.stderr);
    }
    assert_eq!(outcome.stdout, "outputs:\n  files=[]\n");
}

#[test]
fn rejects_contradictory_inputs() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in)
        .input("export-name", "Nightly Applicants")
        .input("identity", "SOPHAS")
        .input("user-identity-id", "305")
        .run()
        .exited(2);
    outcome
        .with_error("export-name: `Nightly Applicants` is given together with export-id `86446`; ")
        .with_error("identity: `SOPHAS` is given together with user-identity-id `305`; ");
    let latest = github(&stand_in).input("export-file-id", "latest").run().exited(2);
    latest.with_error("export-file-id: latest needs an identity");
    github(&stand_in)
        .input("encoding", "latin1")
        .run()
        .exited(2)
        .with_error("encoding: `latin1` must be as-sent or utf-8");
    assert!(stand_in.api_requests().is_empty());
}

#[test]
fn rejects_the_key_in_another_input() {
    let stand_in = StandIn::start();
    for input in
        ["export-name", "identity", "directory", "output-file", "output-directory", "ca-file", "timeout", "filename"]
    {
        let step = shell(&stand_in).input(input, &format!("../{API_KEY}"));
        let outcome = step.run().exited(2).with_error(&format!("{input}: contains the API key"));
        assert!(!outcome.mentions(API_KEY));
    }
}

#[test]
fn no_input_error_shows_the_key() {
    let stand_in = StandIn::start();
    github(&stand_in)
        .input("export-id", API_KEY)
        .input("filename", &format!("x/{API_KEY}"))
        .input("base-url", &format!("https://{API_KEY}@{UNKNOWN_HOST}"))
        .run()
        .exited(2);
}

#[test]
fn rejects_values_that_are_not_utf_8() {
    let bytes = || OsString::from_vec(vec![b'5', 0xff]);
    let step = Step::in_shell().env("INPUT_API_KEY", bytes()).env("INPUT_EXPORT_ID", bytes());
    let outcome = step.env("INPUT_EXPORT_FILE_ID", bytes()).run().exited(2).with_error("3 invalid inputs; ");
    let error = outcome.error();
    assert_eq!(error.matches(": is not valid UTF-8").count(), 3, "each input once: {error}");
    github(&StandIn::start()).env("ANOTHER_VARIABLE", bytes()).run().exited(0);
}

#[test]
fn accepts_every_form_of_the_base_url() {
    let stand_in = StandIn::start();
    for end in ["", "/", "/api/v1", "/api/v1/"] {
        github(&stand_in).input("base-url", &(stand_in.api_url() + end)).run().exited(0);
    }
}

#[test]
fn rejects_plain_http_to_other_hosts_unless_allowed() {
    let url = format!("http://{UNKNOWN_HOST}");
    let run = || github_at(&url);
    run().run().exited(2).with_error(&format!("base-url: `{url}` would send the key unencrypted"));
    let allowed = |timeout: &_| run().input("allow-http", "true").input("timeout", timeout).run();
    let cause = format!("cannot connect to {UNKNOWN_HOST}");
    let outcome = with_growing_timeout(allowed, |outcome| outcome.stdout.contains(&cause));
    outcome.exited(4).with_error(&cause);
}

#[test]
fn warns_about_an_unknown_input() {
    let stand_in = StandIn::start();
    let outcome = github(&stand_in).input("time-out", "1h").run().exited(0);
    let warning = "::warning title=webadmit-export::unknown input INPUT_TIME-OUT ignored; did you mean timeout?\n";
    assert!(outcome.stdout.contains(warning), "{}", outcome.stdout);
}

use super::parse::encoding;
use super::raw::input_name;
use super::spec::FIELDS;
use super::*;
use crate::text::sanitize;
use proptest::prelude::*;

const KEY: &str = "00112233445566778899aabbccddeeff";

/// Returns the variables of a valid step, and these.
fn variables(more: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let needed = [("INPUT_API-KEY", KEY), ("INPUT_EXPORT-ID", "86446"), ("INPUT_EXPORT-FILE-ID", "74780")];
    let needed = needed.iter().filter(|(name, _)| more.iter().all(|(other, _)| input_name(other) != input_name(name)));
    needed.chain(more).map(|(name, value)| (name.into(), value.into())).collect()
}

#[track_caller]
fn accepted(more: &[(&str, &str)]) -> (ApiConfig, FetchRequest) {
    let parsed = parse(&variables(more));
    assert_eq!(parsed.errors, [], "{more:?}");
    (parsed.api_config.unwrap(), parsed.request.unwrap())
}

#[track_caller]
fn api_config(more: &[(&str, &str)]) -> ApiConfig {
    accepted(more).0
}

#[track_caller]
fn request(more: &[(&str, &str)]) -> FetchRequest {
    accepted(more).1
}

/// Returns the only run that these inputs select.
#[track_caller]
fn run(more: &[(&str, &str)]) -> RunRequest {
    request(more).only_run().unwrap().clone()
}

#[track_caller]
fn error(input: &str, value: &str) -> String {
    let parsed = parse(&variables(&[(&variable(input), value)]));
    let [error] = parsed.errors.as_slice() else { panic!("{:?}", parsed.errors) };
    assert_eq!(error.input, input);
    error.message.clone()
}

#[test]
fn omitted_inputs_have_their_declared_defaults() {
    let parsed = parse(&variables(&[("INPUT_FILENAME", ""), ("INPUT_TIMEOUT", "  "), ("PATH", "/bin")]));
    let paths =
        Paths { directory: ".".to_owned(), filename: None, ca_file: None, output_file: None, output_directory: None };
    assert_eq!(parsed.paths, paths);
    let (api_config, request) = (parsed.api_config.unwrap(), parsed.request.unwrap());
    let run = RunRequest {
        kind: RunKind::Export,
        source: Some(SourceSelector::Id(Id(86446))),
        run: RunSelector::Id(Id(74780)),
    };
    assert_eq!(request.runs, [run]);
    assert_eq!((request.identity, request.filename), (None, None));
    assert!(api_config.base_url.is_https());
    let default = |name: &str| INPUTS.iter().find(|declared| declared.name == name).unwrap().default.unwrap();
    assert_eq!(api_config.base_url.endpoint("x").as_str(), format!("{}/api/v1/x", default("base-url")));
    assert_eq!(api_config.timeout, humantime::parse_duration(default("timeout")).unwrap());
    assert_eq!(api_config.poll_interval, humantime::parse_duration(default("poll-interval")).unwrap());
    assert_eq!(Ok(request.encoding), encoding(default("encoding")).map_err(|_| ()));
    let fail_on: Vec<_> = request.fail_on.iter().map(Status::name).collect();
    assert_eq!(fail_on.join(","), default("fail-on"));
    assert_eq!((request.mode, default("wait")), (Mode::Execute(Action::Fetch), "true"));
}

#[test]
fn every_spelling_of_a_variable_is_the_same_input() {
    for spelling in ["INPUT_POLL-INTERVAL", "INPUT_POLL_INTERVAL", "input_poll-interval", "Input_Poll_Interval"] {
        assert_eq!(api_config(&[(spelling, " 7s ")]).poll_interval, Duration::from_secs(7), "{spelling}");
    }
    let same =
        accepted(&[("INPUT_TIMEOUT", "7"), ("input_timeout", "7"), ("INPUT_FAIL_ON", ""), ("INPUT_FAIL-ON", "failed")]);
    assert_eq!((same.0.timeout, same.1.fail_on), (Duration::from_secs(7), vec![Status::Failed]));
    let different = [("INPUT_POLL-INTERVAL", "7"), ("INPUT_POLL_INTERVAL", "8"), ("input_poll_interval", "9")];
    let parsed = parse(&variables(&different));
    assert!(parsed.errors.len() == 1 && parsed.errors[0].message.contains("given twice"), "{:?}", parsed.errors);
}

#[test]
fn a_run_is_started_unless_one_is_given() {
    let no_run = ("INPUT_EXPORT_FILE_ID", "");
    let by_id = ("INPUT_USER_IDENTITY_ID", "305");
    let by_words = ("INPUT_IDENTITY", "PharmCAS 2025");
    let described = Some(IdentitySelector::Words("PharmCAS 2025".to_owned()));
    for (given, run, identity) in [
        (&[no_run, by_id][..], RunSelector::New, Some(IdentitySelector::Id(Id(305)))),
        (&[no_run, by_words], RunSelector::New, described.clone()),
        (&[by_id], RunSelector::Id(Id(74780)), Some(IdentitySelector::Id(Id(305)))),
        (&[by_words, ("INPUT_EXPORT_FILE_ID", "Latest")], RunSelector::Latest, described),
    ] {
        let request = request(given);
        assert_eq!((request.runs[0].run, request.identity), (run, identity));
    }
    let parsed = parse(&variables(&[no_run]));
    let [missing] = &parsed.errors[..] else { panic!("{parsed:?}") };
    assert_eq!(missing.input, "identity");
    for variable in ["INPUT_IDENTITY", "INPUT_USER_IDENTITY_ID", "INPUT_EXPORT_FILE_ID"] {
        assert!(missing.message.contains(variable), "{missing}");
    }
    assert!(error("export-file-id", "latest").contains("latest needs an identity"));
    assert!(error("export-file-id", "newest").contains("must be a positive integer, such as 74780, or latest"));
}

#[test]
fn inputs_that_exclude_each_other_are_rejected() {
    let name = ("INPUT_EXPORT_NAME", "Nightly Applicants");
    let source = run(&[name, ("INPUT_EXPORT_ID", "")]).source;
    assert_eq!(source, Some(SourceSelector::Name("Nightly Applicants".to_owned())));
    for (input, value, other) in [("export-name", "x", "export-id"), ("identity", "SOPHAS", "user-identity-id")] {
        let both = [(variable(input), value), (variable(other), "305")];
        let both: Vec<_> = both.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let [error] = &parse(&variables(&both)).errors[..] else { panic!("not one error") };
        assert_eq!(
            error.to_string(),
            format!("{input}: `{value}` is given together with {other} `305`; give only one of them")
        );
    }
    let key = "0123456789abcdef0123456789abcdef";
    let both = parse(&variables(&[("INPUT_EXPORT_NAME", "x"), ("INPUT_EXPORT_ID", key)]));
    assert!(!format!("{:?}", both.errors).contains(key), "{both:?}");
    let parsed = parse(&variables(&[("INPUT_EXPORT_NAME", "a\u{202e}b"), ("INPUT_EXPORT_ID", "")]));
    assert!(parsed.errors[0].message.contains("bidirectional"), "{parsed:?}");
}

#[test]
fn the_words_of_an_identity_are_checked() {
    for unclosed in ["\"SOPHAS", "“SOPHAS", "«SOPHAS» “"] {
        assert!(error("identity", unclosed).contains("has a double quote that is not closed"), "{unclosed}");
    }
    for control in ["a\u{b}b", "a\u{0}b", "a\u{2028}b", "a\u{202e}b"] {
        assert!(error("identity", control).contains("contains control or bidirectional characters"), "{control:?}");
    }
    let lines = request(&[("INPUT_IDENTITY", "SOPHAS\r\n2026\t- 2027")]).identity;
    assert_eq!(lines, Some(IdentitySelector::Words("SOPHAS  2026 - 2027".to_owned())));
    for nothing in ["-", "\"\"", ", ;", "…"] {
        assert!(error("identity", nothing).contains("contains no word"), "{nothing}");
    }
}

#[test]
fn several_exports_are_requested_by_names_or_ids() {
    let names = ("INPUT_EXPORT_NAME", "Nightly Applicants\n\n  Interviews, of 2026 \r\nX\n");
    let (no_id, no_run, identity) = (("INPUT_EXPORT_ID", ""), ("INPUT_EXPORT_FILE_ID", ""), ("INPUT_IDENTITY", "x"));
    let name = |name: &str| Some(SourceSelector::Name(name.to_owned()));
    let id = |id| Some(SourceSelector::Id(Id(id)));
    let runs =
        |more: &[(&str, &str)]| request(more).runs.into_iter().map(|run| (run.source, run.run)).collect::<Vec<_>>();
    assert_eq!(
        runs(&[names, no_id, no_run, identity]),
        [name("Nightly Applicants"), name("Interviews, of 2026"), name("X")].map(|name| (name, RunSelector::New))
    );
    for ids in ["3,1,2", "3 1 2", " 3,\n1 ,, 2\n", "3\t1\r\n2"] {
        let latest = runs(&[("INPUT_EXPORT_ID", ids), ("INPUT_EXPORT_FILE_ID", "LATEST"), identity]);
        assert_eq!(latest, [3, 1, 2].map(|number| (id(number), RunSelector::Latest)), "{ids:?}");
    }
    let existing = runs(&[("INPUT_EXPORT_ID", "3 1"), ("INPUT_EXPORT_FILE_ID", "9, 7")]);
    assert_eq!(existing, [(id(3), RunSelector::Id(Id(9))), (id(1), RunSelector::Id(Id(7)))]);
}

#[test]
fn pdf_templates_are_requested_besides_exports() {
    let (no_id, no_run, identity) = (("INPUT_EXPORT_ID", ""), ("INPUT_EXPORT_FILE_ID", ""), ("INPUT_IDENTITY", "x"));
    let template = |source, run| RunRequest { kind: RunKind::PdfBatch, source, run };
    let name = |name: &str| Some(SourceSelector::Name(name.to_owned()));
    let by_name = request(&[no_id, no_run, identity, ("INPUT_PDF_TEMPLATE", "A\nB")]).runs;
    assert_eq!(by_name, [template(name("A"), RunSelector::New), template(name("B"), RunSelector::New)]);
    let latest = [no_id, no_run, identity, ("INPUT_PDF_TEMPLATE_ID", "2"), ("INPUT_PDF_BATCH_ID", "latest")];
    assert_eq!(request(&latest).runs, [template(Some(SourceSelector::Id(Id(2))), RunSelector::Latest)]);
    let batches = request(&[no_id, no_run, identity, ("INPUT_PDF_BATCH_ID", "42 43")]);
    assert_eq!(batches.runs, [42, 43].map(|id| template(None, RunSelector::Id(Id(id)))));
    assert!(batches.uses_identity());

    let both = request(&[identity, ("INPUT_PDF_TEMPLATE", "A")]).runs;
    assert_eq!(both.iter().map(|run| run.kind).collect::<Vec<_>>(), [RunKind::Export, RunKind::PdfBatch]);

    for (more, expected) in [
        (&[no_id, no_run, ("INPUT_PDF_TEMPLATE", "A")][..], "identity: missing; PDF Manager needs it;"),
        (
            &[no_id, no_run, identity],
            "export-name: missing; give the name of the export, or its id as export-id, or a PDF",
        ),
        (&[no_id, no_run, identity, ("INPUT_PDF_BATCH_ID", "latest")], "pdf-batch-id: latest needs a template;"),
        (&[no_id, identity, ("INPUT_PDF_TEMPLATE", "A")], "export-file-id: needs the export of the run;"),
        (
            &[no_id, no_run, identity, ("INPUT_PDF_TEMPLATE", "A"), ("INPUT_PDF_BATCH_ID", "1 2")],
            "pdf-batch-id: has 2 ids, but pdf-template has 1; give one id for each PDF template, in the same order, or latest for the newest batch of each",
        ),
        (
            &[no_id, no_run, identity, ("INPUT_PDF_TEMPLATE", "A"), ("INPUT_FILENAME", "x.zip")],
            "filename: `x.zip` is a name for the file of a single export",
        ),
        (
            &[identity, ("INPUT_PDF_TEMPLATE", "A"), ("INPUT_PDF_TEMPLATE_ID", "2")],
            "pdf-template: `A` is given together with pdf-template-id `2`;",
        ),
    ] {
        let errors: Vec<_> = parse(&variables(more)).errors.iter().map(InputError::to_string).collect();
        assert!(errors.len() == 1 && errors[0].starts_with(expected), "{more:?}: {errors:?}");
    }
}

#[test]
fn contradictory_inputs_for_several_runs_are_rejected() {
    let errors = |more: &[(&str, &str)]| {
        let errors = parse(&variables(more)).errors;
        errors.iter().map(InputError::to_string).collect::<Vec<_>>()
    };
    let many = |count: u32| (1..=count).map(|id| id.to_string()).collect::<Vec<_>>().join(" ");
    let (ids, identity, no_run) = ("INPUT_EXPORT_ID", ("INPUT_IDENTITY", "x"), ("INPUT_EXPORT_FILE_ID", ""));
    for (more, expected) in [
        (
            &[(ids, "1 2 3")][..],
            "export-file-id: has 1 id, but export-id has 3; give one id for each export, in the same order, or latest for the newest run of each",
        ),
        (&[("INPUT_EXPORT_FILE_ID", "5 6"), identity], "export-file-id: has 2 ids, but export-id has 1;"),
        (&[(ids, "1 2 1")], "export-id: `1` is given twice"),
        (&[(ids, "1, x")], "export-id: `1, x` contains `x`, which is not a positive integer"),
        (&[("INPUT_EXPORT_FILE_ID", "5 latest")], "export-file-id: `5 latest` contains `latest`, which is not an id"),
        (&[("INPUT_EXPORT_FILE_ID", "5,5")], "export-file-id: `5` is given twice"),
        (&[("INPUT_EXPORT_NAME", "A  b\nc\na B"), (ids, ""), no_run, identity], "export-name: `a B` is given twice"),
        (
            &[(ids, "1 2"), no_run, identity, ("INPUT_FILENAME", "x.csv")],
            "filename: `x.csv` is a name for the file of a single export, but there can be several files;",
        ),
        (&[(ids, &many(51)), no_run, identity], "export-id: 51 runs are requested in all; a step fetches at most 50"),
    ] {
        let errors = errors(more);
        assert!(errors.len() == 1 && errors[0].starts_with(expected), "{more:?}: {errors:?}");
    }
    assert_eq!(request(&[(ids, &many(50)), no_run, identity]).runs.len(), 50);
}

#[test]
fn selectors_are_shown_as_given() {
    let shown = |kind, source| RunRequest { kind, source, run: RunSelector::New }.to_string();
    assert_eq!(shown(RunKind::Export, Some(SourceSelector::Id(Id(5)))), "export 5");
    assert_eq!(shown(RunKind::PdfBatch, Some(SourceSelector::Name("a\n##b".to_owned()))), "PDF template `a # #b`");
    assert_eq!(shown(RunKind::PdfBatch, None), "PDF template");
    let shown = [IdentitySelector::Id(Id(5)).to_string(), IdentitySelector::Words("SOPHAS".to_owned()).to_string()];
    assert_eq!(shown, ["identity 5", "identity `SOPHAS`"]);
}

#[test]
fn an_identity_is_used_for_look_ups_and_new_runs() {
    let (identity, no_run, name) = (("INPUT_IDENTITY", "x"), ("INPUT_EXPORT_FILE_ID", ""), ("INPUT_EXPORT_NAME", "x"));
    assert!(!request(&[identity]).uses_identity());
    assert!(request(&[identity, no_run]).uses_identity());
    assert!(request(&[identity, name, ("INPUT_EXPORT_ID", "")]).uses_identity());
    assert!(request(&[identity, ("INPUT_EXPORT_FILE_ID", "latest")]).uses_identity());
}

#[test]
fn an_encoding_is_as_sent_or_utf_8() {
    for (text, encoding) in [
        ("as-sent", Encoding::AsSent),
        ("As Sent", Encoding::AsSent),
        ("utf-8", Encoding::Utf8),
        ("UTF8", Encoding::Utf8),
    ] {
        assert_eq!(request(&[("INPUT_ENCODING", text)]).encoding, encoding, "{text}");
    }
    assert!(error("encoding", "latin1").contains("`latin1` must be as-sent or utf-8"));
}

#[test]
fn durations_are_parsed_in_all_usual_forms() {
    for (text, millis) in [
        ("90s", 90_000),
        ("45m", 2_700_000),
        ("45M", 2_700_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("250ms", 250),
        ("90", 90_000),
        ("1 hour", 3_600_000),
    ] {
        assert_eq!(api_config(&[("INPUT_TIMEOUT", text)]).timeout, Duration::from_millis(millis), "{text}");
    }
    for text in ["0", "0s", "0ms", "-5", "soon", "1x", "5 5", "1h-3m", "99999999999999999999", "NaN"] {
        let text = error("timeout", text);
        assert!(text.contains("90s, 45m, 1h30m, 250ms"), "{text}");
    }
}

#[test]
fn ids_are_positive_integers() {
    assert_eq!(run(&[("INPUT_EXPORT_ID", "0086446")]).source, Some(SourceSelector::Id(Id(86446))));
    for text in ["0", "-1", "+1", "1.0", "abc", "٣", "18446744073709551616", ","] {
        assert!(error("export-id", text).contains(&format!("`{text}` is not an id")), "{text}");
    }
}

#[test]
fn fail_on_takes_any_separator_and_spelling() {
    for (text, statuses) in [
        ("failed", vec![Status::Failed]),
        ("failed,empty_list", vec![Status::Failed, Status::EmptyList]),
        (
            "Failed\n Empty-List , success_with_errors,failed",
            vec![Status::Failed, Status::EmptyList, Status::SuccessWithErrors],
        ),
    ] {
        assert_eq!(request(&[("INPUT_FAIL_ON", text)]).fail_on, statuses, "{text}");
    }
    assert!(error("fail-on", "failed,available").contains("contains `available`"));
    assert!(error("fail-on", ",").contains("contains no status"));
}

#[test]
fn fail_on_none_stands_alone() {
    for text in ["none", " None ", "none,"] {
        assert_eq!(request(&[("INPUT_FAIL_ON", text)]).fail_on, [], "{text}");
    }
    for text in ["none,failed", "empty_list none", "none none"] {
        let message = error("fail-on", text);
        assert!(message.ends_with("contains `none`, which cannot be combined with anything else"), "{message}");
    }
}

#[test]
fn a_maximum_age_has_a_unit() {
    let latest = [("INPUT_EXPORT_FILE_ID", "latest"), ("INPUT_IDENTITY", "SOPHAS")];
    for (text, hours) in [("26h", 26), ("2d", 48), ("1D 2H", 26), ("90m", 1)] {
        let max_age = request(&[latest[0], latest[1], ("INPUT_MAX_AGE", text)]).max_age.unwrap();
        assert_eq!(max_age.as_secs() / 3600, hours, "{text}");
    }
    for (text, why) in [
        ("26", "`26` has no unit; use an age such as 26h or 2d"),
        ("0d", "`0d` must be greater than zero"),
        ("a day", "`a day` is not an age"),
        ("-1h", "`-1h` is not an age"),
        ("26h", "`26h` applies only to latest"),
    ] {
        assert!(error("max-age", text).starts_with(why), "{text}");
    }
    assert_eq!(request(&latest).max_age, None);
}

#[test]
fn the_mode_depends_on_wait_and_the_command() {
    let new = [("INPUT_EXPORT_FILE_ID", ""), ("INPUT_IDENTITY", "SOPHAS")];
    for (wait, command, mode) in [
        ("", "", Mode::Execute(Action::Fetch)),
        ("True", "", Mode::Execute(Action::Fetch)),
        ("FALSE", "", Mode::Execute(Action::Start)),
        ("", "Check", Mode::Check(Action::Fetch)),
        ("false", "check", Mode::Check(Action::Start)),
    ] {
        let request = request(&[new[0], new[1], ("INPUT_WAIT", wait), ("INPUT_COMMAND", command)]);
        assert_eq!((request.mode, request.is_check()), (mode, matches!(mode, Mode::Check(_))), "{wait} {command}");
    }
    for (text, selected) in
        [("list", Some(Command::List)), ("CHECK", Some(Command::Check)), ("lists", None), ("", None)]
    {
        assert_eq!(command(&variables(&[("INPUT_COMMAND", text)])), selected);
    }
    let twice = variables(&[("INPUT_COMMAND", "list"), ("INPUT_Command", "check")]);
    assert_eq!((command(&twice), parse(&twice).errors[0].input), (None, "command"));
    assert!(error("command", "lists").contains("must be list or check"));
    assert!(error("wait", "false").contains("export-file-id selects existing ones"));
    // All errors are reported at once.
    let all = [("INPUT_EXPORT_ID", "x"), ("INPUT_WAIT", "false"), ("INPUT_MAX_AGE", "26h")];
    let inputs = parse(&variables(&all)).errors.into_iter().map(|error| error.input);
    assert_eq!(inputs.collect::<Vec<_>>(), ["export-id", "max-age", "wait"]);
}

#[test]
fn the_base_url_is_the_root_of_the_api() {
    for (text, endpoint) in [
        ("https://api.webadmit.org", "https://api.webadmit.org/api/v1/x"),
        ("https://api.webadmit.org/", "https://api.webadmit.org/api/v1/x"),
        ("https://api.webadmit.org/api/v1", "https://api.webadmit.org/api/v1/x"),
        ("https://api.webadmit.org/api/v1/", "https://api.webadmit.org/api/v1/x"),
        ("https://proxy.example:8443/webadmit/api/v1/", "https://proxy.example:8443/webadmit/api/v1/x"),
        ("http://localhost:8080", "http://localhost:8080/api/v1/x"),
        ("http://127.0.0.2:8080", "http://127.0.0.2:8080/api/v1/x"),
        ("http://[::1]:8080", "http://[::1]:8080/api/v1/x"),
    ] {
        assert_eq!(api_config(&[("INPUT_BASE_URL", text)]).base_url.endpoint("x").as_str(), endpoint);
    }
    for no in ["false", "False"] {
        accepted(&[("INPUT_ALLOW_HTTP", no)]);
    }
    let with_http = api_config(&[("INPUT_BASE_URL", "http://stand-in:8080"), ("INPUT_ALLOW_HTTP", "True")]);
    assert_eq!((with_http.base_url.is_https(), with_http.base_url.host()), (false, "stand-in:8080".to_owned()));
    for (text, why) in [
        ("api.webadmit.org", "begin with https://"),
        ("api.webadmit.org:443", "begin with https://"),
        ("http://api.webadmit.org", "unencrypted"),
        ("http://localhost.example", "unencrypted"),
        ("ftp://api.webadmit.org", "scheme `ftp`"),
        ("https://", "is not a URL"),
        ("https://user:secret@api.webadmit.org", "user name or password"),
        ("https://secret@api.webadmit.org", "user name or password"),
        ("https://:secret@api.webadmit.org", "user name or password"),
        ("https://api.webadmit.org/#secret", "fragment"),
        ("https://api.webadmit.org/?key=secret", "query"),
        ("http://api.webadmit.org/?key=secret", "query"),
        ("ftp://api.webadmit.org/?key=secret", "query"),
        // A password whose characters should be percent-encoded.
        ("https://user:secret/1@api.webadmit.org", "is not a URL"),
        ("https://user:secret@api.webadmit.org:99999", "is not a URL"),
        ("user:secret@api.webadmit.org", "does not begin with https://"),
        ("api.webadmit.org?key=secret", "does not begin with https://"),
        ("https%3A%2F%2Fuser%3Asecret%40api.webadmit.org", "does not begin with https://"),
        ("https://api.webadmit.org/api/v1/exports/1", "continues after /api/v1"),
    ] {
        let text = error("base-url", text);
        assert!(text.contains(why) && !text.contains("secret"), "{text}");
    }
}

#[test]
fn a_name_has_at_most_1000_bytes() {
    let longest = "n".repeat(1000);
    let source = run(&[("INPUT_EXPORT_NAME", &longest), ("INPUT_EXPORT_ID", "")]).source;
    assert_eq!(source, Some(SourceSelector::Name(longest.clone())));
    assert!(error("identity", &(longest + "n")).contains("is 1001 bytes long"));
}

#[test]
fn a_file_name_is_a_single_name() {
    for name in ["applicants.csv", "Bewerber für 2026.csv", "a:b", "-x", ".hidden", &"n".repeat(255)] {
        assert_eq!(request(&[("INPUT_FILENAME", name)]).filename.as_deref(), Some(name));
    }
    for name in ["a/b.csv", "/x", "..\\x", ".", "..", "a\nb", "a\u{202e}b", &"n".repeat(256)] {
        error("filename", name);
    }
    error("directory", "a\nb");
    for path in ["~", "~/exports", "~office/exports"] {
        assert!(error("directory", path).contains("begins with `~`"), "{path}");
    }
    error("output-file", "a\rb");
    error("output-directory", "a\rb");
    assert_eq!(
        error("filename", "a/b"),
        "`a/b` must be a file name without a path; use the input directory for the path"
    );
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_inputs() {
    let parsed = parse(&[
        ("INPUT_TIMEOUT".into(), "never".into()),
        ("INPUT_ALLOW_HTTP".into(), "perhaps".into()),
        ("INPUT_EXPORT_ID".into(), "x".into()),
    ]);
    let inputs: Vec<_> = parsed.errors.iter().map(|error| error.input).collect();
    assert_eq!(inputs, ["api-key", "export-id", "identity", "timeout", "allow-http"]);
    assert_eq!(parsed.errors[1].to_string(), "export-id: `x` is not an id; must be a positive integer, such as 74780");
}

#[test]
fn the_key_is_never_shown() {
    let parsed = parse(&variables(&[("INPUT_EXPORT_ID", KEY), ("INPUT_FILENAME", &format!("x/{KEY}"))]));
    assert_eq!(parsed.errors.len(), 2);
    assert!(parsed.errors.iter().all(|error| error.message.starts_with("contains the API key")), "{parsed:?}");
    assert!(!format!("{parsed:?}").contains(KEY), "{parsed:?}");
    for input in ["EXPORT_NAME", "IDENTITY", "DIRECTORY", "OUTPUT_FILE", "OUTPUT_DIRECTORY", "CA_FILE"] {
        let parsed = parse(&variables(&[(&format!("INPUT_{input}"), &format!("a {KEY}")), ("INPUT_EXPORT_ID", "")]));
        assert!(!format!("{parsed:?}").contains(KEY) && !parsed.errors.is_empty(), "{parsed:?}");
    }
    let encoded: String = KEY.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for (input, value) in [("directory", KEY.to_uppercase()), ("filename", encoded)] {
        assert!(error(input, &value).starts_with("contains the API key"), "{value}");
    }
    let other = "f".repeat(32);
    assert!(error("export-id", &other).contains("looks like an API key"));
    let parsed = parse(&variables(&[("INPUT_API_KEY", "short key"), ("INPUT_EXPORT_ID", "short key")]));
    assert!(!format!("{parsed:?}").contains("short key"), "{parsed:?}");
    let key = api_config(&[]).api_key;
    assert_eq!((key.reveal(), format!("{key:?}").as_str()), (KEY, "ApiKey(***)"));
    assert!(key.header().is_sensitive() && key.header() == KEY);
}

#[test]
fn a_value_that_is_not_utf_8_is_the_only_error_of_its_input() {
    use std::os::unix::ffi::OsStringExt;

    let invalid = |input: &str| (variable(input).into(), OsString::from_vec(vec![b'5', 0xff]));
    let foreign = (OsString::from_vec(vec![b'X', 0xff]), "not an input".into());
    for inputs in [
        &["api-key", "export-id", "export-file-id"][..],
        &["api-key", "export-name", "identity"],
        &["api-key", "export-id", "user-identity-id"],
    ] {
        let variables: Vec<_> = inputs.iter().map(|input| invalid(input)).chain([foreign.clone()]).collect();
        let expected: Vec<_> = inputs.iter().map(|input| format!("{input}: is not valid UTF-8")).collect();
        let errors: Vec<_> = parse(&variables).errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, expected);
    }
}

#[test]
fn every_input_is_read_into_its_field() {
    let names: Vec<String> = INPUTS.iter().map(|input| input.name.replace('-', "_")).collect();
    assert_eq!(names, FIELDS);
}

#[test]
fn the_variable_of_an_input_is_one_that_a_shell_can_write() {
    assert_eq!(INPUTS[2].variable(), "INPUT_EXPORT_ID");
}

#[test]
fn a_misspelled_input_gets_a_suggestion() {
    let others = ["INPUT_TIME_OUT", "INPUT_ENCODINGS", "input_exportname", "INPUT_COLOUR", "INPUT_ARGS", "INPUTS"];
    let others: Vec<_> = others.iter().map(|&name| (name, "x")).collect();
    let parsed = parse(&variables(&others));
    let unknown: Vec<_> = parsed.unknown.iter().map(|unknown| (unknown.variable.as_str(), unknown.similar)).collect();
    assert_eq!(
        unknown,
        [
            ("INPUT_COLOUR", None),
            ("INPUT_ENCODINGS", Some("encoding")),
            ("INPUT_TIME_OUT", Some("timeout")),
            ("input_exportname", Some("export-name")),
        ]
    );
    assert!(parsed.errors.is_empty());
}

proptest! {
    #[test]
    fn no_value_becomes_a_runner_command_in_a_message(
        index in 0..INPUTS.len(),
        value in "(?:[#:\\[\r\n\u{2028}]|.)*",
    ) {
        let name = INPUTS[index].name;
        for error in parse(&variables(&[(&variable(name), &value)])).errors {
            let text = error.to_string();
            prop_assert!(!text.contains("##[") && !text.contains("##vso["), "{text:?}");
            prop_assert!(!text.chars().any(sanitize::is_unprintable), "{text:?}");
            prop_assert!(text.starts_with(error.input));
        }
    }
}

//! Resolving names to ids: the inputs `export-name` and `identity`, and `export-file-id: latest`.

use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::support::{
    CYCLES, EXPORT_ID, EXPORT_NAME, FILENAME, Outcome, RUN_ID, StandIn, Step, export_json, exports_json, github,
    identities_json, identity_json, only_identity_json, shell,
};

fn by_names(stand_in: &StandIn) -> Step {
    github(stand_in).by_names()
}

fn calls(stand_in: &StandIn) -> Vec<String> {
    let requests = stand_in.api_requests();
    requests.iter().map(|request| format!("{} {}", request.method, request.url.path())).collect()
}

fn outputs<'a>(outcome: &'a Outcome, names: &[&str]) -> Vec<&'a str> {
    names.iter().map(|&name| outcome.outputs[name].as_str()).collect()
}

#[test]
fn suggests_the_column_if_the_input_is_a_row_of_a_list() {
    let stand_in = StandIn::start();
    let row = "86446  305  Nightly Applicants  Comma-Separated Values  all";
    let step = github(&stand_in).by_names().input("export-name", row);
    step.run()
        .exited(5)
        .with_error("hint: this looks like a row of a list; set export-name to the value in the column NAME");
    let row = "305  SOPHAS, 2026 - 2027, Demo School of Public Health";
    let step = github(&stand_in).by_names().input("identity", row);
    step.run().exited(5).with_error("set identity to the value in the column INPUT of the list");
}

#[test]
fn names_work_in_every_cycle() {
    let stand_in = StandIn::with_statuses(&["Queued", "Available"]);
    for cycle in &CYCLES[1..] {
        let outcome = by_names(&stand_in).run().exited(0);
        assert_eq!(outcome.files(), [FILENAME]);
        let ids = [cycle.identity, cycle.export, cycle.run].map(|id| id.to_string());
        assert_eq!(outputs(&outcome, &["user-identity-id", "export-id", "export-file-id"]), ids);
        assert!(
            outcome.stdout.contains(&format!("identity: {}, SOPHAS, {}", ids[0], cycle.years)),
            "{}",
            outcome.stdout
        );
        assert!(outcome.stdout.contains(&format!("export: {}, {EXPORT_NAME}", ids[1])), "{}", outcome.stdout);
        for words in [
            format!("| Identity | {}, `SOPHAS, {}, ", ids[0], cycle.years),
            format!("| Export | {}, `{EXPORT_NAME}` |", ids[1]),
        ] {
            assert!(outcome.summary.contains(&words), "{words}: {}", outcome.summary);
        }
        stand_in.start_next_cycle();
    }
    assert_eq!(
        calls(&stand_in)[..4],
        [
            "GET /api/v1/user_identities",
            "GET /api/v1/user_identities/305/exports",
            "POST /api/v1/user_identities/305/exports/86446/export_files",
            "GET /api/v1/exports/86446/export_files/74780",
        ]
    );
}

#[test]
fn ids_are_not_looked_up() {
    let stand_in = StandIn::start();
    let ids = github(&stand_in).input("identity", "words that fit nothing");
    let outcome = ids.run().exited(0);
    assert_eq!(calls(&stand_in), ["GET /api/v1/exports/86446/export_files/74780"]);
    assert!(!outcome.outputs.contains_key("user-identity-id"));
    let started =
        by_names(&stand_in).input("export-name", "").input("export-id", &EXPORT_ID.to_string()).run().exited(0);
    assert_eq!(outputs(&started, &["user-identity-id", "export-id"]), ["305", "86446"]);
    assert!(!calls(&stand_in).iter().any(|call| call.ends_with("/exports")));
}

#[test]
fn names_ignore_case_and_surrounding_white_space() {
    let stand_in = StandIn::start();
    let step = by_names(&stand_in).input("export-name", " nightly APPLICANTS\n").input("identity", "demo  sophas 2026");
    assert_eq!(step.run().exited(0).outputs["export-id"], EXPORT_ID.to_string());
}

#[test]
fn finds_an_export_without_an_identity() {
    let stand_in = StandIn::start();
    let by_name = || by_names(&stand_in).input("identity", "").input("export-file-id", &RUN_ID.to_string());
    stand_in.next_api_json(exports_json(&[export_json(1, "Another"), export_json(EXPORT_ID, EXPORT_NAME)]));
    by_name().run().exited(0);
    assert_eq!(calls(&stand_in), ["GET /api/v1/exports", "GET /api/v1/exports/86446/export_files/74780"]);
    // Each cycle has an export of this name.
    let outcome = by_name().run().exited(5);
    let outcome =
        outcome.with_error("export `Nightly Applicants` is ambiguous: 2 of the 5 exports that this key can see");
    outcome
        .with_error("\n  80112  Nightly Applicants\n")
        .with_error("\n  86446  Nightly Applicants\n")
        .with_error("hint: set identity to the identity that has the export, or set export-id instead");
    by_name().input("identity", "sophas").run().exited(0);
}

#[test]
fn lists_the_identities_if_none_or_several_match() {
    let stand_in = StandIn::start();
    let outcome = by_names(&stand_in).input("identity", "SOHPAS").run().exited(5);
    let outcome = outcome.with_error(
        "identity `SOHPAS` not found: none of the 3 identities of this key contains all of these words; no run was started and no file was written",
    );
    let outcome = outcome.with_error(
        "\nclosest matches first:\n  305  SOPHAS, 2026 - 2027, Demo School of Public Health, Demo University, Admissions User\n  290  SOPHAS",
    );
    let outcome = outcome.with_error("\nhint: use words from this list");
    assert_eq!(calls(&stand_in), ["GET /api/v1/user_identities"]);
    assert!(outcome.summary.contains("| Identity | `SOHPAS` |"), "{}", outcome.summary);
    let files = outcome.output_files();
    assert_eq!((outcome.outputs.len(), files[0]["error"]["code"].as_u64(), outcome.files()), (1, Some(5), vec![]));
    let outcome = by_names(&stand_in).input("identity", "SOPHAS 2031").run().exited(5);
    outcome.with_error(
        "none of the 3 identities of this key contains all of these words; no identity contains `2031`; no run",
    );
    let several = by_names(&stand_in).input("identity", "demo").run().exited(5);
    several
        .with_error("identity `demo` is ambiguous: all 3 identities of this key contain all of these words")
        .with_error("\nmatches:\n  305  SOPHAS")
        .with_error("\nhint: add a word that only the right identity has, or match");
    stand_in.next_api_json(identities_json(&[]));
    by_names(&stand_in)
        .run()
        .exited(5)
        .with_error("identity `SOPHAS` not found: this key has no identities")
        .with_error("the permission API Access");
}

#[test]
fn chooses_only_between_cycles() {
    let stand_in = StandIn::start();
    let two = [identity_json(1, "SOPHAS", "Nursing", "2026"), identity_json(2, "SOPHAS", "Public Health", "2025")];
    stand_in.next_api_json(identities_json(&two));
    by_names(&stand_in).run().exited(5).with_error("differ in more than their cycle");
    assert_eq!(calls(&stand_in).len(), 1);
}

#[test]
fn lists_the_exports_if_none_or_several_match() {
    let stand_in = StandIn::start();
    let outcome = by_names(&stand_in).input("export-name", "Nightly Aplicants").run().exited(5);
    let outcome = outcome.with_error(
        "export `Nightly Aplicants` not found among the 2 exports of identity 305 (SOPHAS, 2026 - 2027, Demo School of Public Health, Demo University); no run was started and no file was written",
    );
    let outcome = outcome.with_error("\n  86446  Nightly Applicants\n  86447  Interviews of the Week\n");
    assert_eq!(outcome.outputs["user-identity-id"], "305");
    assert!(!outcome.outputs.contains_key("export-id"));
    let (all, twice) = (identity_json(305, "SOPHAS", "x", "2026"), [export_json(1, "a"), export_json(2, "A")]);
    stand_in.next_api_json(identities_json(&[all])).next_api_json(exports_json(&twice));
    by_names(&stand_in)
        .input("export-name", "a")
        .run()
        .exited(5)
        .with_error("all 2 exports of identity 305 (SOPHAS, 2026, x, Demo University) have this name");
}

#[test]
fn suggests_names_that_contain_the_words_first() {
    let stand_in = StandIn::start();
    let names = ["Planner", "Nightly Banner Export of all Applicants", "Panner"];
    let all: Vec<Value> = names.iter().zip(1..).map(|(name, id)| export_json(id, name)).collect();
    stand_in.next_api_json(only_identity_json()).next_api_json(exports_json(&all));
    let outcome = by_names(&stand_in).input("export-name", "Banner").run().exited(5);
    outcome.with_error(
        "closest matches first:\n  2  Nightly Banner Export of all Applicants\n  3  Panner\n  1  Planner\n",
    );
}

#[test]
fn an_error_lists_at_most_twenty_names() {
    let stand_in = StandIn::start();
    let long = "a long name of an export ".repeat(20);
    let many: Vec<Value> = (1..=50).map(|id| export_json(id, &format!("{long}{id}"))).collect();
    stand_in.next_api_json(only_identity_json()).next_api_json(exports_json(&many));
    let outcome = by_names(&stand_in).run().exited(5).with_error("\n  … and 30 more\n");
    let outcome = outcome.with_error("`command: list` shows everything that the key can see");
    assert_eq!(outcome.error().lines().filter(|line| line.contains("a long name")).count(), 20);
    assert!(outcome.error().len() < 4096, "{}", outcome.error().len());
}

#[test]
fn latest_selects_the_newest_file_of_the_export() {
    let stand_in = StandIn::with_statuses(&["In Progress", "In Progress", "Available"]);
    for run in [
        by_names(&stand_in).input("export-file-id", "latest"),
        github(&stand_in).input("export-file-id", "LATEST").input("user-identity-id", "305"),
    ] {
        let outcome = run.run().exited(0);
        assert_eq!(outputs(&outcome, &["user-identity-id", "export-id", "export-file-id"]), ["305", "86446", "74780"]);
        assert_eq!(outcome.read(FILENAME), stand_in.file());
        assert!(outcome.stdout.contains("latest run of export 86446: 74780"), "{}", outcome.stdout);
        assert!(outcome.summary.contains("| Run | 74780, the latest |"), "{}", outcome.summary);
    }
    assert!(!calls(&stand_in).iter().any(|call| call.starts_with("POST")), "nothing is started");
}

#[test]
fn latest_lists_the_recent_files_if_the_export_has_none() {
    let stand_in = StandIn::start();
    let step = by_names(&stand_in).input("export-name", "").input("export-id", "5").input("export-file-id", "latest");
    let outcome = step.run().exited(5);
    outcome
        .with_error("latest run of export 5 not found among the 4 recent runs of identity 305 (SOPHAS, 2026 - 2027, ")
        .with_error(
            "\nrecent runs, newest first:\n  74787  of export 86447, available\n  74780  of export 86446, available\n",
        )
        .with_error("without export-file-id, this step starts a run");
    stand_in.next_api_json(json!({ "export_files": [] }));
    let step = github(&stand_in).input("export-file-id", "latest");
    step.input("user-identity-id", "305")
        .run()
        .exited(5)
        .with_error("latest run of export 86446 not found: there are no recent runs of identity 305");
}

#[test]
fn retries_every_look_up() {
    let rejected = || {
        let bodies =
            [json!({ "user_identities": 5 }), json!({ "exports": "x" }), json!({ "export_files": {} }), json!([])];
        let unreadable = bodies.into_iter().map(|body| ResponseTemplate::new(200).set_body_json(body));
        [ResponseTemplate::new(503), ResponseTemplate::new(200).set_body_string("<html>")].into_iter().chain(unreadable)
    };
    let accepted = [
        only_identity_json(),
        exports_json(&[export_json(EXPORT_ID, EXPORT_NAME)]),
        json!({ "export_files": [{ "id": RUN_ID, "export_id": EXPORT_ID, "status": "Available" }] }),
    ];
    let stand_in = StandIn::start();
    for body in accepted {
        for response in rejected() {
            stand_in.next_api_response(response);
        }
        stand_in.next_api_json(body);
    }
    let outcome = by_names(&stand_in).input("export-file-id", "latest").input("poll-interval", "1ms").run().exited(0);
    for path in ["user_identities", "user_identities/305/exports", "user_identities/305/export_files"] {
        let call = format!("GET /api/v1/{path}");
        assert_eq!(calls(&stand_in).iter().filter(|other| **other == call).count(), 7, "{path}");
    }
    assert!(outcome.stdout.contains("sent JSON without the requested list"), "{}", outcome.stdout);
}

#[test]
fn rejects_a_list_over_8_mib() {
    let oversized = |key: &str| {
        let body = format!("{{\"{key}\":[{}", "{\"id\":1},".repeat(1 << 20));
        ResponseTemplate::new(200).set_body_string(body)
    };
    let stand_in = StandIn::start();
    let (all, one) = (only_identity_json(), exports_json(&[export_json(5, EXPORT_NAME)]));
    let words = "sent more than 8 MiB in one response";
    stand_in.next_api_response(oversized("user_identities"));
    by_names(&stand_in).run().exited(1).with_error(words);
    stand_in.next_api_json(all.clone()).next_api_response(oversized("exports"));
    by_names(&stand_in).run().exited(1).with_error(words);
    stand_in.next_api_json(all).next_api_json(one).next_api_response(oversized("export_files"));
    by_names(&stand_in).input("export-file-id", "latest").run().exited(1).with_error(words);
}

#[test]
fn compares_names_in_full() {
    let stand_in = StandIn::start();
    let long = "a long name ".repeat(30);
    let names = [format!("{long}1"), format!("{long}2"), "Report w=1?a".to_owned(), "Report w=1?b".to_owned()];
    let all: Vec<Value> = names.iter().zip(1..).map(|(name, id)| export_json(id, name)).collect();
    let list = || {
        stand_in.next_api_json(only_identity_json()).next_api_json(exports_json(&all));
        by_names(&stand_in)
    };
    for (name, id) in names.iter().zip(1..) {
        let outcome = list().input("export-name", name).input("export-file-id", "1").run();
        assert!(outcome.stdout.contains(&format!("  export: {id}, ")), "{name}: {}", outcome.stdout);
    }
    list().input("export-name", &format!("{long}3")).run().exited(5).with_error("not found among the 4 exports");
}

#[test]
fn a_refused_look_up_names_the_inputs_to_check() {
    let stand_in = StandIn::start();
    stand_in.next_api_status(401);
    by_names(&stand_in).run().exited(5).with_error("new run of export `Nightly Applicants`, identity `SOPHAS`: ");
    let step = by_names(&stand_in).input("identity", "").input("user-identity-id", "999");
    let outcome = step.run().exited(5).with_error("User identity '999' not found;");
    outcome.with_error("check user-identity-id and export-name; ids change with each application cycle");
    // Every WebAdMIT has the list of identities, so a 404 comes from another server. The hint names only inputs that are set.
    stand_in.next_api_status(404);
    by_names(&stand_in).run().exited(5).with_error("check that base-url is WebAdMIT");
    stand_in.next_api_json(only_identity_json()).next_api_status(404);
    by_names(&stand_in)
        .run()
        .exited(5)
        .with_error("check identity and export-name; the key's user must be able to see");
}

#[test]
fn an_id_in_place_of_a_name_gets_a_hint() {
    let stand_in = StandIn::start();
    let by_id = by_names(&stand_in).input("identity", "305").run().exited(5);
    by_id.with_error("hint: this is an id; set it as user-identity-id, or set identity to words");
    let by_id = by_names(&stand_in).input("export-name", &EXPORT_ID.to_string()).run().exited(5);
    by_id.with_error("hint: this is an id; set it as export-id, or set export-name to the name");
}

#[test]
fn double_quotes_match_a_whole_text() {
    let stand_in = StandIn::start();
    for words in [
        "SOPHAS, 2025 - 2026, Demo School of Public Health, Demo University, Admissions User",
        "SOPHAS       2025 - 2026  Demo School of Public Health  Demo University  Admissions User",
        "\"sophas\" 2025-2026",
    ] {
        let outcome = by_names(&stand_in).input("identity", words).run().exited(0);
        assert_eq!(outcome.outputs["user-identity-id"], "290", "{words}");
    }
    let two = [identity_json(1, "SOPHAS Express", "x", "2026"), identity_json(2, "SOPHAS", "x", "2026")];
    stand_in.next_api_json(identities_json(&two)).next_api_json(exports_json(&[export_json(EXPORT_ID, EXPORT_NAME)]));
    let step = by_names(&stand_in).input("identity", "\"SOPHAS\"").input("export-file-id", &RUN_ID.to_string());
    assert_eq!(step.run().exited(0).outputs["user-identity-id"], "2");
    stand_in.next_api_json(identities_json(&two));
    by_names(&stand_in).run().exited(5).with_error("in YAML as '\"SOPHAS\"', which does not match SOPHAS Express");
}

#[test]
fn the_input_that_the_list_prints_selects_the_identity_of_its_row() {
    let all = [
        identity_json(305, "SOPHAS", "School of Public Health", "2026 – 2027"),
        identity_json(290, "SOPHAS", "School of Public Health", "2025 – 2026"),
        identity_json(7, "Paid?=Yes", "'Friends' (a); ##[b]", "2025–26"),
        identity_json(8, "Paid?=Yes", "School “Demo” of Health", "2025–26"),
        identity_json(9, "SOPHAS Express", "see https://demo.example/?page=1", "2026"),
        identity_json(10, "SOPHAS Express", "see https://demo.example/?page=2", "2026"),
    ];
    let stand_in = StandIn::start();
    let list = |arguments: &[&str]| {
        stand_in.next_api_json(identities_json(&all));
        for _ in &all {
            stand_in.next_api_json(exports_json(&[]));
        }
        let run = shell(&stand_in);
        arguments.iter().fold(run, |run, argument| run.arg(argument)).run().exited(0).stdout
    };
    let table = list(&["list"]);
    let json: Value = serde_json::from_str(&list(&["list", "--json"])).unwrap();
    for (id, input, value) in [
        (305, "identity: '\"SOPHAS\"'", Some("\"SOPHAS\"")),
        (290, "identity: '\"SOPHAS\" \"2025 – 2026\"'", Some("\"SOPHAS\" \"2025 – 2026\"")),
        (7, "identity: '\"Paid?=Yes\" \"''Friends'' (a); # #[b]\"'", Some("\"Paid?=Yes\" \"'Friends' (a); # #[b]\"")),
        // Only their ids can select these.
        (8, "user-identity-id: 8", None),
        (9, "user-identity-id: 9", None),
        (10, "user-identity-id: 10", None),
    ] {
        let row = table.lines().find(|line| line.starts_with(&format!("{id} "))).unwrap();
        assert!(row.ends_with(&format!("  {input}")), "{input}: {table}");
        let entries = json["user_identities"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["id"] == id).unwrap();
        assert_eq!(entry["identity"].as_str(), value, "{entry}");

        let Some(value) = value else { continue };
        stand_in
            .next_api_json(identities_json(&all))
            .next_api_json(exports_json(&[export_json(EXPORT_ID, EXPORT_NAME)]));
        let step = by_names(&stand_in).input("identity", value).input("export-file-id", &RUN_ID.to_string());
        assert_eq!(step.run().exited(0).outputs["user-identity-id"], id.to_string());
    }
}

#[test]
fn a_word_of_digits_matches_whole_numbers_only() {
    let all = [identity_json(305, "SOPHAS", "x", "2026 - 2027"), identity_json(20, "SOPHAS", "y", "")];
    let stand_in = StandIn::start();
    stand_in.next_api_json(identities_json(&all)).next_api_json(exports_json(&[export_json(EXPORT_ID, EXPORT_NAME)]));
    let run = |words: &str| by_names(&stand_in).input("identity", words).input("export-file-id", &RUN_ID.to_string());
    assert_eq!(run("SOPHAS 2026").run().exited(0).outputs["user-identity-id"], "305");
    for words in ["SOPHAS 20", "SOPHAS 202", "SOPHAS 026-2027", "SOPHAS 2026-27"] {
        stand_in.next_api_json(identities_json(&all));
        run(words).run().exited(5).with_error("none of the 2 identities of this key contains all of these words");
    }
}

#[test]
fn typographic_quotes_and_dashes_equal_plain_ones() {
    let stand_in = StandIn::start();
    let identities = [
        identity_json(305, "SOPHAS", "School “Demo” of Health", "2026 – 2027"),
        identity_json(311, "PharmCAS", "School \"Demo\" of Pharmacy’s Friends", "2026 - 2027"),
    ];
    let run = |words: &str, name: &str| {
        let all = [export_json(EXPORT_ID, "Nightly – “all” applicants’ files"), export_json(5, "Nightly")];
        stand_in.next_api_json(identities_json(&identities)).next_api_json(exports_json(&all));
        let run = by_names(&stand_in).input("identity", words).input("export-name", name);
        run.input("export-file-id", &RUN_ID.to_string()).run().exited(0)
    };
    for (words, id) in [
        ("School “Demo” of Health", "305"),
        ("School \"Demo\" of Health", "305"),
        ("School «Demo» of Health", "305"),
        ("health 2026 – 2027", "305"),
        ("health 2026—2027", "305"),
        ("“2026 - 2027” sophas", "305"),
        ("health\t2026\n2027\r\n", "305"),
        ("School “Demo” of Pharmacy‘s", "311"),
        ("pharmacy's 2026‑2027", "311"),
    ] {
        let outcome = run(words, "nightly - \"ALL\" applicants' files");
        assert_eq!(outputs(&outcome, &["user-identity-id", "export-id"]), [id, "86446"], "{words}");
    }
}

#[test]
fn tabs_and_line_breaks_separate_words() {
    let stand_in = StandIn::start();
    let outcome = by_names(&stand_in).input("identity", "SOPHAS\n2025\t-\r\n2026").run().exited(0);
    assert_eq!(outcome.outputs["user-identity-id"], "290");
    assert!(outcome.stdout.contains(", identity `SOPHAS 2025 -  2026`"), "{}", outcome.stdout);
    for words in ["SOPHAS\u{b}2026", "SOPHAS\u{1b}[1m", "SOPHAS\u{2028}2026", "SOP\u{202e}HAS"] {
        let outcome = by_names(&stand_in).input("identity", words).run().exited(2);
        outcome.with_error("identity: `").with_error("contains control or bidirectional characters");
    }
}

#[test]
fn misplaced_quotes_get_a_hint() {
    let stand_in = StandIn::start();
    let all = by_names(&stand_in).input("identity", "\"SOPHAS 2026 - 2027\"").run().exited(5);
    all.with_error("hint: double quotes match a whole field, such as \"SOPHAS\" \"2026 - 2027\"");
    for yaml in ["'SOPHAS'", "'\"SOPHAS\"'", "identity: '\"SOPHAS\"'"] {
        let outcome = by_names(&stand_in).input("identity", yaml).run().exited(5);
        outcome.with_error("hint: set only the value, without `identity:` and without the single quotes");
    }
    for name in ["\"Nightly Applicants\"", "'Nightly Applicants'"] {
        by_names(&stand_in).input("export-name", name).run().exited(5).with_error("hint: remove the quotes");
    }
}

#[test]
fn a_new_cycle_without_the_export_gets_a_hint() {
    let stand_in = StandIn::start();
    stand_in.start_next_cycle();
    let cycles = [identity_json(340, "SOPHAS", "x", "2027 - 2028"), identity_json(305, "SOPHAS", "x", "2026 - 2027")];
    stand_in.next_api_json(identities_json(&cycles)).next_api_json(exports_json(&[]));
    by_names(&stand_in)
        .run()
        .exited(5)
        .with_error("there are no exports of identity 340 (SOPHAS, 2027 - 2028, x, Demo University)")
        .with_error("if the new cycle does not have the export yet, add both years of the older cycle");
}

#[test]
fn handles_a_list_of_20_000_exports() {
    let stand_in = StandIn::start();
    let mut many: Vec<Value> = (1..=20_000).map(|id| export_json(id, &format!("Export number {id}"))).collect();
    many.push(export_json(EXPORT_ID, EXPORT_NAME));
    stand_in.next_api_json(only_identity_json()).next_api_json(exports_json(&many));
    by_names(&stand_in).run().exited(0);
}

#[test]
fn large_lists_use_little_memory() {
    let stand_in = StandIn::start();
    let many = |entry: &str| format!("{{\"user_identities\":[{}{entry}]}}", format!("{entry},").repeat(1 << 21));
    let wide = format!("{{\"user_identities\":[{{\"id\":5,\"cycle\":[{}[]]}}]}}", "[],".repeat(1 << 21));
    let one_text = |text: &str| json!({ "user_identities": [{ "id": 5, "organization": text }] }).to_string();
    for (body, code, words) in [
        (many("{}"), 1, "sent more than 30000 entries in a list"),
        (many("[]"), 1, "sent more than 30000 entries in a list"),
        (wide, 5, "the only identity of this key does not contain all of these words"),
        (one_text(&"a ".repeat(1 << 21)), 5, "the only identity of this key does not contain all of these words"),
        (one_text(&"%41%42 ".repeat(1 << 19)), 5, "the only identity of this key does not contain all of these words"),
    ] {
        stand_in.next_api_response(ResponseTemplate::new(200).set_body_string(body));
        let step = shell(&stand_in).by_names();
        step.with_limited_memory().run().exited(code).with_error(words);
    }
    let wide = json!({ "exports": [{ "id": 5, "name": "a ".repeat((4 << 20) - 100) }] });
    stand_in.next_api_json(only_identity_json()).next_api_json(wide);
    let step = shell(&stand_in).by_names().with_limited_memory();
    step.run()
        .exited(5)
        .with_error("the only export of identity 305 (SOPHAS, 2026, x, Demo University) has another name");
}

#[test]
fn ignores_entries_without_an_id() {
    let stand_in = StandIn::start();
    let mut odd = identity_json(305, "SOPHAS", "x", "2026");
    odd["cycle"] = json!(2026);
    odd["institution"] = Value::Null;
    odd["organization"] = json!({ "name": "x" });
    let mut entries = vec![
        Value::Null,
        json!({}),
        json!({ "id": 0, "association": "SOPHAS" }),
        json!({ "id": null, "association": "SOPHAS" }),
        odd.clone(),
        odd,
    ];
    entries.push(json!({ "id": {}, "association": "SOPHAS", "cycle": "2027" }));
    stand_in.next_api_json(identities_json(&entries));
    let twice = [export_json(EXPORT_ID, EXPORT_NAME), export_json(EXPORT_ID, EXPORT_NAME)];
    stand_in.next_api_json(exports_json(&twice));
    let outcome = by_names(&stand_in).input("identity", "sophas 2026").run().exited(0);
    assert!(outcome.stdout.contains("identity: 305, SOPHAS, 2026\n"), "{}", outcome.stdout);
}

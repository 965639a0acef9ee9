use proptest::prelude::*;

use super::*;
use crate::config::{self, IdentitySelector};
use crate::text::normalize;
use crate::text::redact::Redactor;
use crate::webadmit::RunKind;
use crate::webadmit::lists::Label;
use crate::webadmit::status::Status;

fn label(text: &str) -> Label {
    Label::new(text, &Redactor::default())
}

fn user(id: u64, association: &str, organization: &str, cycle: &str) -> Identity {
    Identity {
        id: Id(id),
        kind: label("Admissions User"),
        association: label(association),
        organization: label(organization),
        institution: label("Demo University"),
        cycle: label(cycle),
    }
}

fn named(id: u64, name: &str) -> Export {
    let [list_type, format, mime_type] = [(); 3].map(|()| Label::default());
    Export { id: Id(id), name: label(name), list_type, format, mime_type }
}

fn five_identities() -> Vec<Identity> {
    vec![
        user(290, "SOPHAS", "School of Public Health", "2025 - 2026"),
        user(305, "SOPHAS", "School of Public Health", "2026 - 2027"),
        user(17, "SOPHAS", "School of Public Health", "2009 - 2010"),
        user(400, "PharmCAS", "College of Pharmacy", "2026 - 2027"),
        user(401, "PharmCAS", "Graduate School", "2026 - 2027"),
    ]
}

fn ids(error: &ResolveError) -> Vec<u64> {
    error.candidates.iter().map(|candidate| candidate.id.0).collect()
}

#[test]
fn words_match_any_text_of_an_identity() {
    for (words, id) in [
        ("SOPHAS", 305),
        ("sophas", 305),
        ("  public   HEALTH sophas ", 305),
        ("SOPHAS 2026", 305),
        ("SOPHAS 2025", 290),
        ("SOPHAS 2009 - 2010", 17),
        ("SOPHAS 2009-2010", 17),
        ("SOPHAS, 2025 - 2026, School of Public Health, Demo University, Admissions User", 290),
        ("PharmCAS Graduate", 401),
        ("Graduate,Demo", 401),
        ("pharmacy", 400),
    ] {
        assert_eq!(identity(&five_identities(), words).map(|found| found.id), Ok(Id(id)), "{words}");
    }
}

#[test]
fn identities_that_differ_in_more_than_their_cycle_are_ambiguous() {
    let error = |all: &[Identity], words| {
        let error = identity(all, words).unwrap_err();
        (error.matching, error.total, ids(&error))
    };
    assert_eq!(error(&five_identities(), "PharmCAS"), (2, 5, vec![400, 401]));
    assert_eq!(error(&five_identities(), "Demo"), (5, 5, vec![305, 400, 401, 290, 17]));

    let twice = [user(1, "SOPHAS", "x", "2026"), user(2, "SOPHAS", "x", "2025"), user(3, "SOPHAS", "X", "2026")];
    assert_eq!(error(&twice, "sophas"), (3, 3, vec![1, 3, 2]));
    let seasons = [user(1, "SOPHAS", "x", "Fall 2026"), user(2, "SOPHAS", "x", "Spring 2026")];
    assert_eq!(error(&seasons, "sophas"), (2, 2, vec![1, 2]));

    let mut cycles = vec![user(1, "SOPHAS", "x", "2026"), user(2, "SOPHAS", "x", "2025")];
    assert_eq!(identity(&cycles, "sophas").unwrap().id, Id(1));
    for change in [
        |identity: &mut Identity| identity.kind = label("Association User"),
        |identity: &mut Identity| identity.association = label("SOPHAS Association"),
        |identity: &mut Identity| identity.organization = label("Association"),
        |identity: &mut Identity| identity.institution = label("Association"),
    ] {
        cycles[1] = user(2, "SOPHAS", "x", "2025");
        change(&mut cycles[1]);
        assert_eq!(error(&cycles, "sophas").0, 2);
        assert_eq!(identity(&cycles, "sophas association").unwrap().id, Id(2));
    }
}

#[test]
fn the_newest_cycle_is_selected_only_if_it_is_certain() {
    let newest = |cycles: [&str; 2]| {
        let all = [user(1, "SOPHAS", "x", cycles[0]), user(2, "SOPHAS", "x", cycles[1])];
        identity(&all, "sophas").map(|found| found.cycle.to_string()).map_err(|error| error.matching)
    };
    for (cycles, selected) in [
        (["2025 - 2026", "2026 - 2027"], Ok("2026 - 2027")),
        (["2026", "2025"], Ok("2026")),
        (["Fall 2027", "Spring 2026"], Ok("Fall 2027")),
        (["Fall 2026", "Spring 2026"], Err(2)),
        (["2026-27", "2026 - 2027"], Err(2)),
        (["24-25", "2023-2024"], Err(2)),
        (["2026-27", "2025-2026"], Err(2)),
        (["2026 - 2027", "2025"], Err(2)),
        (["09/2026", "10/2025"], Err(2)),
        (["Cycle 2: 2024 - 2025", "Cycle 1: 2026 - 2027"], Err(2)),
        (["", "2025"], Err(2)),
        (["", ""], Err(2)),
    ] {
        for cycles in [cycles, [cycles[1], cycles[0]]] {
            assert_eq!(newest(cycles), selected.map(str::to_owned), "{cycles:?}");
        }
    }
}

#[test]
fn double_quotes_match_a_whole_text() {
    let all = [
        user(1, "SOPHAS Express", "School 1", "2026"),
        user(2, "SOPHAS", "School 10", "2026"),
        user(3, "SOPHAS", "School 1", "2026"),
        user(4, "SOPHAS", "School 1", "2025"),
        user(5, "CASPA", "School \"Yes\" of Z", "2025"),
        user(6, "SOPHAS", "‘X’", "2026"),
    ];
    for (words, id) in [
        ("\"sophas\" \"School 1\"", 3),
        ("\"sophas\", \" school  1 \", 2025", 4),
        ("\"SOPHAS Express\"", 1),
        ("\"school 10\"", 2),
        ("“sophas express”", 1),
        ("sophas,school 10,2026", 2),
        ("School \"Yes\" of Z", 5),
        ("«SOPHAS» ‹x› 2026", 6),
    ] {
        assert_eq!(identity(&all, words).map(|found| found.id), Ok(Id(id)), "{words}");
    }

    for words in ["\"school\"", "\"Ye\"", "\"es\"", "\"Yes\" \"of\"", "\"Yes \"of", "3 sophas", "2 pharmacy"] {
        assert_eq!(identity(&all, words).unwrap_err().matching, 0, "{words}");
    }
}

#[test]
fn words_that_no_identity_contains_are_named_unless_there_is_only_one() {
    let all = [user(1, "SOPHAS", "School 1", "2025 - 2026"), user(2, "PharmCAS", "School 2", "2026 - 2027")];
    for (words, unmatched) in [
        ("SOPHAS 2031", &["2031"][..]),
        ("SOHPAS (2026 - 2027)", &["sohpas", "(2026", "2027)"]),
        ("\"School\" SOPHAS", &["\"school\""]),
        ("SOPHAS PharmCAS", &[]),
        ("SOHPAS", &[]),
    ] {
        assert_eq!(identity(&all, words).unwrap_err().unmatched_words, unmatched, "{words}");
    }
}

#[test]
fn identities_that_have_the_words_as_whole_words_are_the_first_candidates() {
    let all = [
        user(1, "SOPHAS Express", "School 1", "2026"),
        user(2, "SOPHAS", "School 10", "2026"),
        user(3, "SOPHAS", "School 1", "2026"),
        user(4, "SOPHAS", "School 1", "2025"),
        user(5, "SOPHASX", "Schools 1", "2027"),
    ];
    let candidates = |words| ids(&identity(&all, words).unwrap_err());
    assert_eq!(candidates("sophas school 1"), [1, 3, 4, 5]);
    assert_eq!(candidates("sophas scho"), [1, 2, 3, 4, 5]);
    assert_eq!(candidates("\"2026\" sophas"), [1, 2, 3]);
}

#[test]
fn a_word_of_digits_matches_only_a_whole_number() {
    let all = [user(305, "SOPHAS", "School 10", "2026 - 2027"), user(20, "SOPHAS", "FY2031/32 (cohort 7)", "")];
    for (words, id) in [
        ("2026", Some(305)),
        ("2027-2026", Some(305)),
        ("10 school", Some(305)),
        ("2031", Some(20)),
        ("fy20", Some(20)),
        ("7", Some(20)),
        ("(cohort 7)", Some(20)),
        ("20", None),
        ("1", None),
        ("026", None),
        ("2026-27", None),
    ] {
        assert_eq!(identity(&all, words).ok().map(|found| found.id.0), id, "{words}");
    }
}

#[test]
fn an_id_instead_of_a_name_is_recognized() {
    for (words, is_id) in
        [("305", true), (" 305 ", true), ("306", false), ("30", false), ("305 x", false), ("7 c", false)]
    {
        assert_eq!(identity(&five_identities(), words).unwrap_err().is_id, is_id, "{words}");
        assert_eq!(by_name(&[named(305, "a"), named(7, "b")], words).unwrap_err().is_id, is_id, "{words}");
    }
}

#[test]
fn similar_identities_are_the_first_candidates() {
    let error = identity(&five_identities(), "SOHPAS public").unwrap_err();
    assert_eq!((error.matching, error.total, error.omitted()), (0, 5, 0));
    let title = "SOPHAS, 2026 - 2027, School of Public Health, Demo University, Admissions User".to_owned();
    assert_eq!(error.candidates[0], Candidate { id: Id(305), title });

    let many: Vec<Identity> = (1..100).map(|id| user(id, "SOPHAS", "x", &format!("Class of {}", 900 + id))).collect();
    let error = identity(&many, "PharmCAS").unwrap_err();
    assert_eq!((error.candidates.len(), error.omitted(), error.candidates[0].id), (20, 79, Id(99)));
    let all: Vec<Identity> = many.into_iter().chain(five_identities()).collect();
    let error = identity(&all, "class").unwrap_err();
    assert_eq!((error.matching, error.total, error.candidates.len(), error.omitted()), (99, 104, 20, 79));

    let none = ResolveError { matching: 0, total: 0, is_id: false, unmatched_words: vec![], candidates: vec![] };
    assert_eq!(identity(&[], "x"), Err(none));
}

#[test]
fn an_identity_without_a_type_has_none_in_its_title() {
    let mut all = vec![user(1, "SOPHAS", "x", "2026")];
    all[0].kind = Label::default();
    assert_eq!(identity(&all, "z").unwrap_err().candidates[0].title, "SOPHAS, 2026, x, Demo University");
}

#[test]
fn identities_are_sorted_by_cycle_the_newest_first() {
    let mut all = five_identities();
    sort_newest_first(&mut all);
    assert_eq!(all.iter().map(|identity| identity.id.0).collect::<Vec<_>>(), [305, 400, 401, 290, 17]);
}

#[test]
fn an_export_is_found_by_its_whole_name() {
    let all = [
        named(1, "Nightly Applicants"),
        named(2, "Nightly Applicants 2"),
        named(3, "Interviews"),
        named(4, "Ärzte"),
        named(5, "INTERVIEWS"),
    ];
    for (name, id) in
        [("Nightly Applicants", 1), (" nightly  APPLICANTS ", 1), ("Nightly applicants 2", 2), ("ÄRZTE", 4)]
    {
        assert_eq!(by_name(&all, name).map(|found| found.id), Ok(Id(id)), "{name}");
    }

    let error = by_name(&all, "interviews").unwrap_err();
    assert_eq!((error.matching, error.total, ids(&error)), (2, 5, vec![3, 5]));
    assert_eq!(error.candidates[1].title, "INTERVIEWS");
    let error = by_name(&all, "Aplicants nightly").unwrap_err();
    assert_eq!((error.matching, error.total, error.candidates[0].id), (0, 5, Id(1)));
    for (name, first) in [("Nightly", 1), ("intervews", 3), ("AERZTE", 4), ("1  Nightly Applicants", 1)] {
        assert_eq!(ids(&by_name(&all, name).unwrap_err())[0], first, "{name}");
    }
}

#[test]
fn identities_that_contain_more_of_the_words_are_the_first_candidates() {
    let all =
        [user(2, "Alpha Organizatio", "", ""), user(1, "Alpha", "An organization whose name has many other words", "")];
    assert_eq!(ids(&identity(&all, "alpha organization 2099").unwrap_err()), [1, 2]);
}

#[test]
fn exports_whose_names_contain_all_words_are_the_first_candidates() {
    let names =
        ["Planner", "Bannerman", "Nightly Banner Export of all Applicants", "Panner", "Interviews 2026 for Banners"];
    let all: Vec<Export> = names.iter().zip(1..).map(|(name, id)| named(id, name)).collect();
    for (name, first) in [
        ("Banner", vec![3, 2, 5]),
        ("banner applicants", vec![3]),
        ("APPLICANTS, “Banner Export”", vec![3]),
        ("“Banner”", vec![3, 2]),
        ("planer", vec![1, 4]),
        ("2026", vec![5]),
        ("banner 202", vec![2]),
    ] {
        let ids = ids(&by_name(&all, name).unwrap_err());
        assert_eq!(ids[..first.len()], first, "{name}: {ids:?}");
    }
}

#[test]
fn templates_are_found_like_exports() {
    let template = |id, name| {
        let [list_name, document_source_title] = [(); 2].map(|()| Label::default());
        Template { id: Id(id), name: label(name), list_name, document_source_title }
    };
    let all = [template(2, "Accepted Offers"), template(7, "Interviews")];
    assert_eq!(by_name(&all, "accepted offers").map(|found| found.id), Ok(Id(2)));
    let error = by_name(&all, "Interview").unwrap_err();
    let candidates = error.candidates.iter().map(|candidate| (candidate.id.0, candidate.title.as_str()));
    assert_eq!(candidates.collect::<Vec<_>>(), [(7, "Interviews"), (2, "Accepted Offers")]);
}

#[test]
fn an_id_that_is_not_found_has_similar_ids_as_candidates() {
    let all = [named(5, "a"), named(86446, "b"), named(86447, "c")];
    assert_eq!(by_id(&all, Id(86447)).map(|found| found.id), Ok(Id(86447)));
    let error = by_id(&all, Id(86448)).unwrap_err();
    assert_eq!((error.matching, error.total, error.is_id, ids(&error)), (0, 3, false, vec![86446, 86447, 5]));
}

#[test]
fn the_latest_run_is_the_one_with_the_highest_id() {
    let run = |id, export, status| ListedRun { kind: RunKind::Export, id: Id(id), source_id: Some(Id(export)), status };
    let all = [
        run(70, 1, Status::Available),
        run(90, 1, Status::Queued),
        run(80, 1, Status::Failed),
        run(95, 2, Status::Available),
    ];
    assert_eq!(latest(&all, Id(1)).unwrap().id, Id(90));

    let error = latest(&all, Id(3)).unwrap_err();
    assert_eq!((error.matching, error.total, ids(&error)), (0, 4, vec![95, 90, 80, 70]));
    assert_eq!(error.candidates[1].title, "of export 1, queued");

    let batch = |id, source_id| ListedRun { kind: RunKind::PdfBatch, id: Id(id), source_id, status: Status::Available };
    let all = [batch(42, Some(Id(2))), batch(43, None), batch(41, Some(Id(2)))];
    assert_eq!(latest(&all, Id(2)).unwrap().id, Id(42));
    let titles = latest(&all, Id(1)).unwrap_err().candidates.into_iter().map(|candidate| candidate.title);
    assert_eq!(
        titles.collect::<Vec<_>>(),
        ["available", "of PDF template 2, available", "of PDF template 2, available"]
    );
}

#[test]
fn the_input_value_is_short_and_leaves_the_newest_cycle_out() {
    let mut all = five_identities();
    all.extend([
        user(1, "SOPHAS Express", "x", "2026"),
        user(2, "CASPA", "Nursing", "Fall 2026"),
        user(3, "CASPA", "Nursing", "Spring 2026"),
        user(4, "", "No \"Association\"", "2024"),
        user(5, "School \"Y\"", "Dental", "2024"),
        user(6, "—", "Optometry", "2024"),
        // Nothing but their ids distinguishes these.
        user(7, "Twins", "x", "2024"),
        user(8, "Twins", "x", "2024"),
        user(9, &"long ".repeat(50), "y", "2024"),
        user(10, "", "Podiatry", "2024"),
    ]);
    all[1].institution = label("Demo’s University");

    let values: Vec<Option<String>> = input_values(&all);
    let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
    assert_eq!(
        values,
        [
            Some("\"SOPHAS\" \"Demo University\""),
            Some("\"SOPHAS\" \"Demo’s University\""),
            Some("\"SOPHAS\" \"2009 - 2010\""),
            Some("\"PharmCAS\" \"College of Pharmacy\""),
            Some("\"PharmCAS\" \"Graduate School\""),
            Some("\"SOPHAS Express\""),
            Some("\"CASPA\" \"Fall 2026\""),
            Some("\"CASPA\" \"Spring 2026\""),
            None,
            Some("\"Dental\""),
            Some("\"—\" \"Optometry\""),
            None,
            None,
            None,
            Some("\"Podiatry\""),
        ]
    );
}

#[test]
fn input_values_are_not_computed_for_very_long_lists() {
    let all = |length| (1..=length).map(|id| user(id, "SOPHAS", "x", &id.to_string())).collect::<Vec<_>>();
    assert!(input_values(&all(100)).iter().all(Option::is_some));
    assert_eq!(input_values(&all(2000)), vec![None; 2000]);
}

/// Resolves a value of the input `identity` as the program does.
fn resolve_input<'a>(all: &'a [Identity], value: &str) -> &'a Identity {
    let variables = [("API_KEY", "secretkey0123456"), ("EXPORT_NAME", "x"), ("IDENTITY", value)];
    let parsed = config::parse(&variables.map(|(name, value)| (format!("INPUT_{name}").into(), value.into())));
    assert!(parsed.errors.is_empty(), "{value}: {:?}", parsed.errors);

    match parsed.request.unwrap().identity {
        Some(IdentitySelector::Words(words)) => identity(all, &words).unwrap(),
        selector => panic!("{selector:?}"),
    }
}

proptest! {
    #[test]
    fn a_result_matches_and_an_error_has_at_most_twenty_candidates(
        names in proptest::collection::vec("[a-c ]{0,3}|.{0,5}", 0..30),
        words in "[a-c ]{1,3}|.{1,5}",
    ) {
        let exports: Vec<Export> = names.iter().zip(1..).map(|(name, id)| named(id, name)).collect();
        match by_name(&exports, &words) {
            Ok(found) => prop_assert_eq!(&found.name.normalized, &normalize(&words)),
            Err(error) => prop_assert!(error.candidates.len() <= 20 && error.matching != 1),
        }

        let identities: Vec<Identity> = names.iter().zip(1..).map(|(name, id)| user(id, name, "", "2026")).collect();
        match identity(&identities, &words) {
            Ok(found) => prop_assert!(Query::parse(&words).matches(&texts(found))),
            Err(error) => prop_assert!(error.candidates.len() <= 20 && error.matching != 1),
        }
    }

    #[test]
    fn every_input_value_selects_its_identity(
        fields in proptest::collection::vec(
            ("[0-3 ]{0,3}|.{0,8}", "[a-c,(#\"“ ]{0,4}", "[ab](\\?Signature=ab)?", "[0-3 –-]{0,6}"), 1..8,
        ),
    ) {
        let mut all = Vec::new();
        for ((association, organization, institution, cycle), id) in fields.iter().zip(1..) {
            let identity = user(id, association, organization, cycle);
            all.push(Identity { institution: label(institution), ..identity });
        }
        for (identity, value) in all.iter().zip(input_values(&all)) {
            if let Some(value) = value {
                prop_assert_eq!(resolve_input(&all, &value).id, identity.id, "{}", value);
            }
        }
    }

    #[test]
    fn every_identity_with_texts_of_its_own_has_an_input_value(
        fields in proptest::collection::btree_set(("A[a-c, (#‘-]{0,2}a", "O[a-c]{0,2}", "I[ab]{0,1}", "201[0-9]"), 1..8),
    ) {
        let mut all = Vec::new();
        for ((association, organization, institution, cycle), id) in fields.iter().zip(1..) {
            let identity = user(id, association, organization, cycle);
            all.push(Identity { institution: label(institution), ..identity });
        }
        let distinct: std::collections::BTreeSet<_> = all.iter().map(texts).collect();
        prop_assume!(distinct.len() == all.len());
        for (identity, value) in all.iter().zip(input_values(&all)) {
            prop_assert_eq!(resolve_input(&all, &value.unwrap()).id, identity.id);
        }
    }
}

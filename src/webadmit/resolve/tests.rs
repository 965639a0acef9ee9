use super::*;
use crate::text::redact::Redactor;
use crate::webadmit::lists::Label;
use crate::webadmit::status::Status;
use proptest::prelude::*;

fn label(text: &str) -> Label {
    Label::new(text, &Redactor::default())
}

fn of(id: u64, association: &str, organization: &str, cycle: &str) -> Identity {
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

fn office() -> Vec<Identity> {
    vec![
        of(290, "SOPHAS", "School of Public Health", "2025 - 2026"),
        of(305, "SOPHAS", "School of Public Health", "2026 - 2027"),
        of(17, "SOPHAS", "School of Public Health", "2009 - 2010"),
        of(400, "PharmCAS", "College of Pharmacy", "2026 - 2027"),
        of(401, "PharmCAS", "Graduate School", "2026 - 2027"),
    ]
}

#[test]
fn an_identity_is_found_by_words_of_any_of_its_texts() {
    for (words, id) in [
        ("SOPHAS", 305),
        ("sophas", 305),
        ("  public   HEALTH sophas ", 305),
        ("SOPHAS 2026", 305),
        ("SOPHAS 2025", 290),
        ("SOPHAS 2009 - 2010", 17),
        ("SOPHAS 2009-2010", 17),
        ("SOPHAS, 2025 - 2026, School of Public Health, Demo University (Admissions User)", 290),
        ("PharmCAS Graduate", 401),
        ("Graduate Demo", 401),
        ("pharmacy", 400),
    ] {
        assert_eq!(identity(&office(), words).map(|found| found.id), Ok(Id(id)), "{words}");
    }
}

#[test]
fn several_identities_are_told_apart_by_their_cycle_alone_or_not_at_all() {
    let ids = |resolve_error: ResolveError| {
        let id = |line: &String| line.split(' ').next().unwrap().parse().unwrap();
        (resolve_error.fitting, resolve_error.of, resolve_error.listed.iter().map(id).collect::<Vec<u64>>())
    };
    let resolve_error = |all: &[Identity], words| ids(identity(all, words).unwrap_err());
    assert_eq!(resolve_error(&office(), "PharmCAS"), (2, 5, vec![400, 401]));
    assert_eq!(resolve_error(&office(), "Demo"), (5, 5, vec![305, 400, 401, 290, 17]));
    let twice = [of(1, "SOPHAS", "x", "2026"), of(2, "SOPHAS", "x", "2025"), of(3, "SOPHAS", "X", "2026")];
    assert_eq!(resolve_error(&twice, "sophas"), (3, 3, vec![1, 3, 2]));
    let seasons = [of(1, "SOPHAS", "x", "Fall 2026"), of(2, "SOPHAS", "x", "Spring 2026")];
    assert_eq!(resolve_error(&seasons, "sophas"), (2, 2, vec![1, 2]));
    let mut kinds = vec![of(1, "SOPHAS", "x", "2026"), of(2, "SOPHAS", "x", "2025")];
    assert_eq!(identity(&kinds, "sophas").unwrap().id, Id(1));
    kinds[1].kind = label("Association User");
    assert_eq!(resolve_error(&kinds, "sophas").0, 2);
    assert_eq!(identity(&kinds, "sophas association").unwrap().id, Id(2));
}

#[test]
fn the_newest_cycle_is_taken_only_where_it_is_certain() {
    let newest = |cycles: [&str; 2]| {
        let all = [of(1, "SOPHAS", "x", cycles[0]), of(2, "SOPHAS", "x", cycles[1])];
        identity(&all, "sophas").map(|one| one.cycle.to_string()).map_err(|resolve_error| resolve_error.fitting)
    };
    for (cycles, taken) in [
        (["2025 - 2026", "2026 - 2027"], Ok("2026 - 2027")),
        (["2026", "2025"], Ok("2026")),
        (["Fall 2027", "Spring 2026"], Ok("Fall 2027")),
        (["Fall 2026", "Spring 2026"], Err(2)),
        (["2026-27", "2026 - 2027"], Err(2)),
        (["24-25", "2023-2024"], Err(2)),
        (["2026 - 2027", "2025"], Err(2)),
        (["09/2026", "10/2025"], Err(2)),
        (["Cycle 2: 2024 - 2025", "Cycle 1: 2026 - 2027"], Err(2)),
        (["", "2025"], Err(2)),
        (["", ""], Err(2)),
    ] {
        for cycles in [cycles, [cycles[1], cycles[0]]] {
            assert_eq!(newest(cycles), taken.map(str::to_owned), "{cycles:?}");
        }
    }
}

#[test]
fn what_is_in_quotes_is_a_whole_text() {
    let all = [
        of(1, "SOPHAS Express", "School 1", "2026"),
        of(2, "SOPHAS", "School 10", "2026"),
        of(3, "SOPHAS", "School 1", "2026"),
        of(4, "SOPHAS", "School 1", "2025"),
        of(5, "CASPA", "School \"Y\" of Z", "2025"),
        of(6, "SOPHAS", "‘X’", "2026"),
    ];
    for (words, id) in [
        ("\"sophas\" \"School 1\"", 3),
        ("\"sophas\", \" school  1 \", 2025", 4),
        ("\"SOPHAS Express\"", 1),
        ("\"school 10\"", 2),
        ("“sophas express”", 1),
        ("sophas,school 10,2026…", 2),
        ("School \"Y\" of Z", 5),
        ("«SOPHAS» ‹x› 2026", 6),
        ("3 sophas, school 1", 3),
        ("4  SOPHAS, 2025, School 1, Demo University (Admissions User)", 4),
    ] {
        assert_eq!(identity(&all, words).map(|found| found.id), Ok(Id(id)), "{words}");
    }
    assert_eq!(identity(&all, "2 pharmacy").unwrap_err().fitting, 0, "an id alone is not enough");
    // Of those that fit, the ones with the words as words of their own come first, then the newest.
    let first = |words| identity(&all, words).unwrap_err().listed.into_iter().map(|line| line[..1].to_owned());
    assert_eq!(first("sophas school 1").collect::<Vec<_>>(), ["1", "3", "4"]);
    assert_eq!(first("sophas scho").collect::<Vec<_>>(), ["1", "2", "3", "4"]);
    assert_eq!(first("\"2026\" sophas").collect::<Vec<_>>(), ["1", "2", "3", "6"]);
    assert_eq!(identity(&all, "\"school\"").unwrap_err().fitting, 0);
}

#[test]
fn a_word_of_digits_is_a_whole_number_of_a_text() {
    let all = [of(305, "SOPHAS", "School 10", "2026 - 2027"), of(20, "SOPHAS", "FY2031/32 (cohort 7)", "")];
    for (words, id) in [
        ("2026", Some(305)),
        ("2027-2026", Some(305)),
        ("10 school", Some(305)),
        ("2031", Some(20)),
        ("fy20", Some(20)),
        ("7", Some(20)),
        ("20", None),
        ("1", None),
        ("026", None),
        ("2026-27", None),
    ] {
        assert_eq!(identity(&all, words).ok().map(|found| found.id.0), id, "{words}");
    }
}

#[test]
fn a_row_selects_the_identity_that_it_shows_whatever_else_its_words_fit() {
    let mut all = vec![of(305, "SOPHAS", "School", "2026 - 2027"), of(20, "SOPHAS", "School", "")];
    all.extend([2026, 2027].map(|id| of(id, "SOPHAS", "School", "")));
    all.push(of(7, "SOPHAS", &"a long name, ".repeat(30), "2026 - 2027"));
    // The words of a line that was cut fit another one as well.
    all.push(of(8, "SOPHAS", &"a long name, ".repeat(30), "7, 2026 - 2027"));
    for one in &all {
        let Identity { id, association, cycle, organization, institution, kind } = one;
        for row in [
            line_of_identity(one),
            sanitize::truncate(&line_of_identity(one), MAX_LINE_LENGTH),
            format!("{id}\t{association}\t{cycle}\t{organization}\t{institution}\t{kind}"),
        ] {
            assert_eq!(identity(&all, &row).map(|found| found.id), Ok(*id), "{row}");
        }
    }
    // A year and words are no row.
    assert_eq!(identity(&all[..3], "2026 SOPHAS School Demo University").map(|found| found.id), Ok(Id(305)));
}

#[test]
fn an_id_in_the_place_of_a_name_is_noticed() {
    for (words, is_id) in
        [("305", true), (" 305 ", true), ("306", false), ("30", false), ("305 x", false), ("7 c", false)]
    {
        assert_eq!(identity(&office(), words).unwrap_err().is_id, is_id, "{words}");
        assert_eq!(export(&[named(305, "a"), named(7, "b")], words).unwrap_err().is_id, is_id, "{words}");
    }
}

#[test]
fn an_identity_that_is_not_found_is_answered_with_the_nearest() {
    let resolve_error = identity(&office(), "SOHPAS public").unwrap_err();
    assert_eq!((resolve_error.fitting, resolve_error.of, resolve_error.unlisted), (0, 5, 0));
    assert_eq!(
        resolve_error.listed[0],
        "305  SOPHAS, 2026 - 2027, School of Public Health, Demo University (Admissions User)"
    );
    let many: Vec<Identity> = (1..100).map(|id| of(id, "SOPHAS", "x", &format!("{}", 1900 + id))).collect();
    let resolve_error = identity(&many, "PharmCAS").unwrap_err();
    assert_eq!((resolve_error.listed.len(), resolve_error.unlisted), (20, 79));
    assert!(resolve_error.listed[0].contains(", 1999, "), "{resolve_error:?}");
    assert_eq!(identity(&[], "x"), Err(ResolveError { fitting: 0, of: 0, is_id: false, listed: vec![], unlisted: 0 }));
}

#[test]
fn the_newest_cycle_is_shown_first() {
    let mut all = office();
    newest_first(&mut all);
    assert_eq!(all.iter().map(|identity| identity.id.0).collect::<Vec<_>>(), [305, 400, 401, 290, 17]);
}

#[test]
fn an_export_is_found_by_its_name_alone() {
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
        assert_eq!(export(&all, name).map(|found| found.id), Ok(Id(id)), "{name}");
    }
    assert_eq!(export(&all, "3  Interviews").unwrap().id, Id(3), "a line of the list as it stands");
    assert_eq!(export(&all, "4  Interviews").unwrap_err().fitting, 0);
    let resolve_error = export(&all, "interviews").unwrap_err();
    assert_eq!(
        (resolve_error.fitting, resolve_error.of, resolve_error.listed),
        (2, 5, vec!["3  Interviews".into(), "5  INTERVIEWS".into()])
    );
    let resolve_error = export(&all, "Aplicants nightly").unwrap_err();
    assert_eq!(
        (resolve_error.fitting, resolve_error.of, resolve_error.listed[0].as_str()),
        (0, 5, "1  Nightly Applicants")
    );
    for (name, nearest) in
        [("Nightly", "1  Nightly Applicants"), ("intervews", "3  Interviews"), ("AERZTE", "4  Ärzte")]
    {
        assert_eq!(export(&all, name).unwrap_err().listed[0], nearest, "{name}");
    }
    let all =
        ["Planner", "Bannerman", "Nightly Banner Export of all Applicants", "Panner", "Interviews 2026 for Banners"];
    let all: Vec<Export> = all.iter().zip(1..).map(|(name, id)| named(id, name)).collect();
    for (name, nearest) in [
        ("Banner", vec![3, 2, 5]),
        ("banner applicants", vec![3]),
        ("APPLICANTS, “Banner Export”", vec![3]),
        ("“Banner”", vec![3, 2]),
        ("planer", vec![1, 4]),
        ("2026", vec![5]),
        ("banner 202", vec![2]),
    ] {
        let listed = export(&all, name).unwrap_err().listed;
        let ids: Vec<u64> = listed.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(ids[..nearest.len()], nearest, "{name}: {listed:?}");
    }
    let long = named(9, &"long ".repeat(100));
    assert_eq!(export(&[long], "x").unwrap_err().listed[0].chars().count(), 150);
}

#[test]
fn the_latest_file_is_the_one_with_the_highest_id() {
    let file = |id, export, status| ListedRun { id: Id(id), export: Id(export), status };
    let all = [
        file(70, 1, Status::Available),
        file(90, 1, Status::Queued),
        file(80, 1, Status::Failed),
        file(95, 2, Status::Available),
    ];
    assert_eq!(latest(&all, Id(1)).unwrap().id, Id(90));
    let resolve_error = latest(&all, Id(3)).unwrap_err();
    assert_eq!((resolve_error.fitting, resolve_error.of), (0, 4));
    assert_eq!(resolve_error.listed[..2], ["95  of export 2, available", "90  of export 1, queued"]);
}

proptest! {
    #[test]
    fn what_is_chosen_fits_and_every_line_begins_with_an_id(
        names in proptest::collection::vec("[a-c ]{0,3}|.{0,5}", 0..30),
        request in "[a-c ]{1,3}|.{1,5}",
    ) {
        let exports: Vec<Export> = names.iter().zip(1..).map(|(name, id)| named(id, &sanitize::excerpt(name))).collect();
        match export(&exports, &request) {
            Ok(found) => prop_assert_eq!(&found.name.folded, &sanitize::normalize(&request)),
            Err(resolve_error) => {
                prop_assert!(resolve_error.listed.len() <= 20 && resolve_error.fitting != 1);
                prop_assert!(resolve_error.listed.iter().all(|line| line.starts_with(|c: char| c.is_ascii_digit())));
            }
        }
        let identities: Vec<Identity> = names.iter().zip(1..).map(|(name, id)| of(id, name, "", "2026")).collect();
        match identity(&identities, &request) {
            Ok(found) => {
                let all = sanitize::normalize(&format!("{} Demo University 2026 Admissions User", found.association));
                let numbers: Vec<&str> = all.split(|c: char| !c.is_ascii_digit()).collect();
                let fits = |term: &Term| match term {
                    Term::Part(text) | Term::Whole(text) => all.contains(text),
                    Term::Number(number) => numbers.contains(&number.as_str()),
                };
                let terms = terms(&request);
                // It can begin with the id, as a line of a list does.
                let by_id = terms.first() == Some(&Term::Number(found.id.to_string())) && terms.len() > 1;
                prop_assert!(terms.iter().skip(usize::from(by_id)).all(fits));
            }
            Err(resolve_error) => prop_assert!(resolve_error.listed.len() <= 20 && resolve_error.fitting != 1),
        }
    }

    #[test]
    fn every_line_selects_its_identity(
        texts in proptest::collection::vec(("[0-3 ]{0,3}|.{0,8}", "[a-c,(\"“ ]{0,4}", "[0-3 –-]{0,6}"), 1..8),
    ) {
        let identity_of = |((association, organization, cycle), id): (&(String, String, String), u64)| {
            of(id, &sanitize::excerpt(association), &sanitize::excerpt(organization), &sanitize::excerpt(cycle))
        };
        let all: Vec<Identity> = texts.iter().zip(1..).map(identity_of).collect();
        for one in &all {
            prop_assert_eq!(identity(&all, &line_of_identity(one)).map(|found| found.id), Ok(one.id));
        }
    }
}

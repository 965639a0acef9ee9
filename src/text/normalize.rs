//! The form in which names are compared.

use super::sanitize;

/// Returns a name in the form in which names are compared: in lower case, with single spaces, and with plain quotes and dashes.
pub(crate) fn normalize(text: &str) -> String {
    // Upper case first: `ß` becomes `ss`.
    let lower = sanitize::line(text).to_uppercase().to_lowercase();
    let plain: String = lower.chars().map(plain_punctuation).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the quote or hyphen of a keyboard for a typographic quote or dash.
fn plain_punctuation(c: char) -> char {
    match c {
        '“' | '”' | '„' | '‟' | '«' | '»' | '＂' => '"',
        '‘' | '’' | '‚' | '‛' | '‹' | '›' | 'ʼ' | '＇' => '\'',
        '\u{2010}'..='\u{2015}' | '−' | '﹘' | '﹣' | '－' => '-',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_white_space_or_typographic_punctuation_are_equal() {
        for (one, other) in [
            (" Nightly  Applicants\n", "nightly applicants"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδοσ"),
            ("Zoë", "ZOË"),
            ("a\u{202e}b", "A B"),
            ("Cohort ##1", "cohort # #1"),
            ("“a” „b‟ «c» ＂d＂", "\"a\" \"b\" \"c\" \"d\""),
            ("‘a’ ‚b‛ ‹c› ʼd＇", "'a' 'b' 'c' 'd'"),
            ("‐‑‒–—―−﹘﹣－", "----------"),
        ] {
            assert_eq!(normalize(one), normalize(other));
        }
        assert_ne!(normalize(&format!("{}a", "x".repeat(400))), normalize(&format!("{}b", "x".repeat(400))));
        assert_ne!(normalize("Report w=1?a"), normalize("Report w=1?b"));
    }
}

//! A value of the API's JSON that is a string or a number.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::text::redact;
use crate::webadmit::Id;

/// A string or a whole number. Any other value is skipped without using memory for it, unlike with an untagged enum, which
/// serde first reads into memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Scalar {
    /// A string, or the beginning of a long one.
    Text(String),
    Number(u64),
    #[default]
    Other,
}

impl Scalar {
    /// Returns the value as an id: a positive number, or a string of its digits.
    pub(super) fn id(&self) -> Option<Id> {
        match self {
            Self::Number(number) => (*number > 0).then_some(Id(*number)),
            Self::Text(text) => Id::parse(text.trim()),
            Self::Other => None,
        }
    }

    /// Returns the value as text. A cycle may be sent as a number.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.to_string().into(),
            Self::Other => "".into(),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(redact::searched_prefix(text).to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Scalar, A::Error> {
        IgnoredAny.visit_seq(list).map(|_| Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scalar, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_texts_are_accepted_as_strings_and_as_numbers() {
        for (json, id, text) in [
            ("74780", Some(74780), "74780"),
            ("\"74780\"", Some(74780), "74780"),
            ("\" 74780 \"", Some(74780), " 74780 "),
            ("\"Zo\\u00eb\"", None, "Zoë"),
            ("\"\"", None, ""),
            ("18446744073709551615", Some(u64::MAX), "18446744073709551615"),
            ("18446744073709551616", None, ""),
            ("\"18446744073709551616\"", None, "18446744073709551616"),
            ("0", None, "0"),
            ("\"+7\"", None, "+7"),
            ("-1", None, ""),
            ("1.0", None, ""),
            ("1e0", None, ""),
            ("true", None, ""),
            ("null", None, ""),
            ("[[1],\"2\"]", None, ""),
            ("{\"id\":1}", None, ""),
        ] {
            let scalar: Scalar = serde_json::from_str(json).unwrap();
            assert_eq!((scalar.id(), scalar.text().as_ref()), (id.map(Id), text), "{json}");
        }
        assert!(serde_json::from_str::<Scalar>("[1,").is_err() && serde_json::from_str::<Scalar>("{\"a\"}").is_err());
    }
}

//! A value of the API's JSON that may be words or a number.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::Id;
use crate::text::sanitize;

/// Words or a number. Whatever else stands there is passed over, and takes no memory however much of it there is: an
/// untagged enum of serde would first build it up in memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Scalar {
    /// Words, or the beginning of very many.
    Words(String),
    /// A whole number that is not negative.
    Number(u64),
    /// Neither.
    #[default]
    Other,
}

impl Scalar {
    /// The id that it is: a positive number, or the digits of one in a string.
    pub(super) fn id(&self) -> Option<Id> {
        let number = match self {
            Self::Number(number) => *number,
            Self::Words(words) if words.trim().bytes().all(|byte| byte.is_ascii_digit()) => {
                words.trim().parse().ok()?
            }
            Self::Words(_) | Self::Other => return None,
        };
        (number > 0).then_some(Id(number))
    }

    /// The words that it is: a cycle may come as a number. What is neither is no words.
    pub(super) fn words(&self) -> Cow<'_, str> {
        match self {
            Self::Words(words) => words.into(),
            Self::Number(number) => number.to_string().into(),
            Self::Other => "".into(),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("words or a number")
    }

    fn visit_str<E: Error>(self, words: &str) -> Result<Scalar, E> {
        Ok(Scalar::Words(sanitize::prefix(words).to_owned()))
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
    fn an_id_and_words_are_read_whichever_way_they_come() {
        for (json, id, words) in [
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
            assert_eq!((scalar.id(), scalar.words().as_ref()), (id.map(Id), words), "{json}");
        }
        assert!(serde_json::from_str::<Scalar>("[1,").is_err() && serde_json::from_str::<Scalar>("{\"a\"}").is_err());
    }
}

//! A JSON list with a maximum length.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A list of at most `MAX` items. Bounds the memory of a response, whose items can take a hundred times their size in JSON.
#[derive(Debug)]
pub(super) enum BoundedList<T, const MAX: usize> {
    Complete(Vec<T>),
    /// There are more items.
    TooLong,
}

impl<T, const MAX: usize> BoundedList<T, MAX> {
    /// Returns the items, or none if there are too many.
    pub(super) fn items(&self) -> &[T] {
        match self {
            Self::Complete(items) => items,
            Self::TooLong => &[],
        }
    }
}

impl<T, const MAX: usize> Default for BoundedList<T, MAX> {
    fn default() -> Self {
        Self::Complete(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for BoundedList<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = BoundedList<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        for _ in 0..MAX {
            match list.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(BoundedList::Complete(items)),
            }
        }
        if list.next_element::<IgnoredAny>()?.is_none() {
            return Ok(BoundedList::Complete(items));
        }

        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(BoundedList::TooLong)
    }
}

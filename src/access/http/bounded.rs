//! Bounds of questions that are kept while they are parsed: an item of a batch takes over what the batch says for all, so
//! whatever may be long there would be held ten thousand times.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::access::pattern::MAX_NAME_BYTES;

/// The most questions of one batch.
pub(super) const MAX_BATCH: usize = 10_000;
/// The longest id of a resource or a subject, in bytes.
const MAX_ID_BYTES: usize = 1024;

/// The questions of a batch: one too many, and the rest is not read.
pub(super) fn batch<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(Batch(PhantomData))
}

/// The same; null: none.
pub(super) fn batch_if_any<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(Batch(PhantomData))
}

struct Batch<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Batch<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX_BATCH}")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut batch = Vec::new();
        while let Some(item) = items.next_element()? {
            if batch.len() == MAX_BATCH {
                return Err(A::Error::custom(format!("expected at most {MAX_BATCH}")));
            }
            batch.push(item);
        }
        Ok(batch)
    }
}

/// A permission's name, one half of it, or a type: no longer than the name of a permission.
pub(super) fn name<'de, T: Text<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    at_most(MAX_NAME_BYTES, deserializer)
}

/// An id.
pub(super) fn id<'de, T: Text<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    at_most(MAX_ID_BYTES, deserializer)
}

fn at_most<'de, T: Text<'de>, D: Deserializer<'de>>(most: usize, deserializer: D) -> Result<T, D::Error> {
    let text = T::deserialize(deserializer)?;
    let is_short = text.text().is_none_or(|text| text.len() <= most);
    is_short.then_some(text).ok_or_else(|| D::Error::custom(format!("expected at most {most} bytes")))
}

/// A text, or none.
pub(super) trait Text<'de>: Deserialize<'de> {
    /// The text, if there is one.
    fn text(&self) -> Option<&str>;
}

impl Text<'_> for Box<str> {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl Text<'_> for String {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl<'de, T: Text<'de>> Text<'de> for Option<T> {
    fn text(&self) -> Option<&str> {
        self.as_ref().and_then(T::text)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local!(static READ: Cell<usize> = const { Cell::new(0) });

    /// Counts how often it is read.
    struct Counted;

    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            READ.set(READ.get() + 1);
            u8::deserialize(deserializer).map(|_| Self)
        }
    }

    #[derive(Deserialize)]
    struct Asked {
        #[serde(deserialize_with = "batch")]
        checks: Vec<Counted>,
    }

    #[test]
    fn of_a_batch_that_is_too_long_no_more_is_read_than_tells_that() {
        for (count, is_good) in [(0, true), (MAX_BATCH, true), (MAX_BATCH + 1, false), (3 * MAX_BATCH, false)] {
            READ.set(0);
            let json = format!(r#"{{"checks":[{}]}}"#, vec!["1"; count].join(","));
            let read = serde_json::from_str::<Asked>(&json).map(|asked| asked.checks.len());
            assert_eq!(read.ok(), is_good.then_some(count), "{count}");
            assert_eq!(READ.get(), count.min(MAX_BATCH + 1), "{count}");
        }
    }

    #[derive(Deserialize, Debug)]
    struct Said {
        #[serde(default, deserialize_with = "name")]
        permission: Option<String>,
        #[serde(default, deserialize_with = "id")]
        id: Option<Box<str>>,
    }

    #[test]
    fn what_is_said_for_all_is_short() {
        let read = |json: String| serde_json::from_str::<Said>(&json).map(|said| (said.permission, said.id));
        assert_eq!(read("{}".into()).unwrap(), (None, None));
        assert_eq!(read(r#"{"permission":null,"id":"a"}"#.into()).unwrap(), (None, Some("a".into())));
        for (member, most) in [("permission", MAX_NAME_BYTES), ("id", MAX_ID_BYTES)] {
            assert!(read(format!(r#"{{"{member}":"{}"}}"#, "a".repeat(most))).is_ok());
            let refused = read(format!(r#"{{"{member}":"{}"}}"#, "a".repeat(most + 1))).unwrap_err();
            assert!(refused.to_string().contains(&format!("at most {most} bytes")), "{refused}");
        }
    }
}

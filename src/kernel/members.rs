//! JSON in which no object has a member twice. A map keeps the last of them and loses the first without a word, and whoever
//! sent both meant something by each; RFC 8259 section 4 leaves open what happens.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Of a name that is there twice so many characters are told.
const TOLD: usize = 100;

/// The members of an object, none of them twice.
#[derive(Debug, Clone)]
pub struct Members<T>(pub BTreeMap<String, T>);

/// A value in which no object has a member twice, at whatever depth.
#[derive(Debug, Clone)]
pub struct Plain(pub Value);

/// An object in which none has a member twice, itself included.
#[derive(Debug, Clone, Default)]
pub struct Object(pub Map<String, Value>);

/// Reads a member that is there, null or not: absent leaves a thing as it is, null clears it.
///
/// # Errors
/// As of what it reads.
pub fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Each(PhantomData)).map(Self)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Each(PhantomData)).map(|members| Self(object(members)))
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything).map(Self)
    }
}

fn object(members: BTreeMap<String, Plain>) -> Map<String, Value> {
    members.into_iter().map(|(name, Plain(value))| (name, value)).collect()
}

struct Each<T>(PhantomData<fn() -> T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Each<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            match members.entry(name) {
                Entry::Vacant(free) => _ = free.insert(map.next_value()?),
                // As derived readers of structs say it.
                Entry::Occupied(there) => {
                    let name: String = there.key().chars().take(TOLD).collect();
                    return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
                }
            }
        }
        Ok(members)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, given: bool) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_i64<E>(self, given: i64) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_u64<E>(self, given: u64) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_f64<E>(self, given: f64) -> Result<Value, E> {
        Ok(Number::from_f64(given).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, given: &str) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_string<E>(self, given: String) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Plain(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        Each(PhantomData).visit_map(map).map(|members| Value::Object(object(members)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Result<Value, String> {
        serde_json::from_str(json).map(|Plain(value)| value).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_there_twice_is_told_at_every_depth() {
        for (json, name) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"a":1,"\u0061":2}"#, "a"),
            (r#"{"":1,"":1}"#, ""),
            (r#"[1,[{"b":{"a":1,"c":2,"a":[]}}]]"#, "a"),
        ] {
            let told = read(json).unwrap_err();
            assert!(told.starts_with(&format!("duplicate field `{name}` at line 1")), "{told}");
        }
        assert!(read(r#"{"a":{"a":1},"A":{"a":1},"b":[{"a":1},{"a":1}]}"#).is_ok());
        assert!(read(&"[".repeat(200)).unwrap_err().starts_with("recursion limit"));
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |below| {
            prop_oneof![
                vec(below.clone(), 0..4).prop_map(Value::from),
                btree_map(".{0,2}", below, 0..4).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn everything_else_is_read_as_serde_json_reads_it(value in anything()) {
            let json = value.to_string();
            prop_assert_eq!(read(&json).unwrap(), serde_json::from_str::<Value>(&json).unwrap());
        }
    }
}

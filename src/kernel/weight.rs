//! How much memory a JSON text takes once it is read: a few bytes of text can come to a hundred times as much.
//!
//! The figures are those of `serde_json` over the standard collections, rather too much than too little.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::kernel::fault::Malformed;

/// What JSON that conditions look at may take, in bytes: about 500 elements of lists, 350 members or 60 objects.
pub const MAX_WEIGHT_BYTES: usize = 48 * 1024;

/// A node of a map: eleven members fit.
const NODE_BYTES: usize = 640;
const MEMBERS_OF_A_NODE: usize = 11;
/// A member of a map with more nodes, which are half full.
const MEMBER_BYTES: usize = 128;
/// An element of a list, while the list grows.
const ELEMENT_BYTES: usize = 96;
const LIST_BYTES: usize = 64;
/// No text is heavier than so many times its length: `{"":0},` is the heaviest.
const HEAVIEST: usize = 128;

/// Refuses a JSON text that would take more than [`MAX_WEIGHT_BYTES`].
///
/// # Errors
/// Saying how much it would take.
pub fn refuse_heavy(json: &str) -> Result<(), Malformed> {
    if json.len() * HEAVIEST <= MAX_WEIGHT_BYTES {
        return Ok(());
    }
    // What cannot be read takes nothing.
    let Weight(found) = serde_json::from_str(json).unwrap_or(Weight(0));
    if found <= MAX_WEIGHT_BYTES {
        return Ok(());
    }
    let expected = "expected fewer or simpler values: these would take";
    Err(Malformed(format!("{expected} {found} bytes of memory, at most {MAX_WEIGHT_BYTES} are allowed")))
}

struct Weight(usize);

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Weigher).map(Self)
    }
}

struct Weigher;

impl<'de> Visitor<'de> for Weigher {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_bool<E>(self, _: bool) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_f64<E>(self, _: f64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_str<E>(self, text: &str) -> Result<usize, E> {
        Ok(text.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<usize, A::Error> {
        let mut bytes = 0;
        while let Some(Weight(element)) = list.next_element()? {
            bytes += element + ELEMENT_BYTES;
        }
        Ok(if bytes == 0 { 0 } else { bytes + LIST_BYTES })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<usize, A::Error> {
        let (mut bytes, mut members) = (0, 0);
        while let Some(Weight(name)) = object.next_key()? {
            bytes += name + object.next_value::<Weight>()?.0;
            members += 1;
        }
        let nodes = match members {
            0 => 0,
            1..=MEMBERS_OF_A_NODE => NODE_BYTES,
            _ => NODE_BYTES + members * MEMBER_BYTES,
        };
        Ok(bytes + nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(piece: &str, count: usize) -> String {
        format!("{{\"a\":[{}]}}", vec![piece; count].join(","))
    }

    #[test]
    fn what_is_heavy_is_refused_and_what_is_ordinary_is_not() {
        for (piece, fits, is_too_much) in
            [("0", 480, 560), ("\"\"", 480, 560), ("{\"\":0}", 60, 80), ("[0]", 180, 205), ("{}", 480, 560)]
        {
            assert_eq!(refuse_heavy(&repeated(piece, fits)), Ok(()), "{piece}");
            assert!(refuse_heavy(&repeated(piece, is_too_much)).is_err(), "{piece}");
        }
        let members: Vec<String> = (0..330).map(|number| format!("\"member{number}\":{number}")).collect();
        assert_eq!(refuse_heavy(&format!("{{{}}}", members.join(","))), Ok(()));
        assert_eq!(refuse_heavy(&format!("{{\"text\":\"{}\"}}", "x".repeat(16_000))), Ok(()));
        assert_eq!(refuse_heavy(&"[".repeat(16_000)), Ok(()), "is not read at all");
    }

    #[test]
    fn nothing_is_heavier_than_is_believed_of_short_texts() {
        for piece in ["{\"\":0}", "[0]", "[[0]]", "{\"\":{\"\":{\"\":{\"\":0}}}}", "[{\"\":0}]"] {
            let Weight(found) = serde_json::from_str(&repeated(piece, 1000)).unwrap();
            assert!(found <= repeated(piece, 1000).len() * HEAVIEST, "{piece}: {found}");
        }
    }
}

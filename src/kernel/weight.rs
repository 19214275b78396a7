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
/// Numbers of fewer digits are all there (IEEE 754 double precision ends after 10^308).
const LONGEST_NUMBER: usize = 300;
/// No text is heavier than so many times its length: `{"":0},` is the heaviest.
const HEAVIEST: usize = 128;

/// Refuses a JSON text that would take more than [`MAX_WEIGHT_BYTES`], or that no value can be made of: it may have a number
/// beyond all that there are, or half of a surrogate pair.
///
/// # Errors
/// Saying how much it would take, or that it cannot be read.
pub fn refuse_heavy(json: &str) -> Result<(), Malformed> {
    if json.len() * HEAVIEST <= MAX_WEIGHT_BYTES && !may_be_unreadable(json) {
        return Ok(());
    }
    let unread =
        |_| Malformed::new("cannot be read: a number is too large, a text is none, or there are too many levels");
    let Weight(found) = serde_json::from_str(json).map_err(unread)?;
    if found <= MAX_WEIGHT_BYTES {
        return Ok(());
    }
    let expected = "expected fewer or simpler values: these would take";
    Err(Malformed(format!("{expected} {found} bytes of memory, at most {MAX_WEIGHT_BYTES} are allowed")))
}

/// Whether it has an escape, an exponent, or room for a number of hundreds of digits: without them all JSON can be read.
fn may_be_unreadable(json: &str) -> bool {
    let bytes = json.as_bytes();
    let is_exponent = |pair: &[u8]| matches!(pair, [b'0'..=b'9', b'e' | b'E']);
    bytes.len() > LONGEST_NUMBER || bytes.contains(&b'\\') || bytes.windows(2).any(is_exponent)
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
        for unreadable in
            [&"[".repeat(16_000), r#"{"a":1e400}"#, r#"{"a":"\ud800"}"#, &format!("{{\"a\":{}}}", "9".repeat(310))]
        {
            assert!(refuse_heavy(unreadable).is_err(), "{unreadable}");
        }
        assert_eq!(refuse_heavy(r#"{"a":"\u00e9\n","b":1e30}"#), Ok(()));
    }

    #[test]
    fn nothing_is_heavier_than_is_believed_of_short_texts() {
        for piece in ["{\"\":0}", "[0]", "[[0]]", "{\"\":{\"\":{\"\":{\"\":0}}}}", "[{\"\":0}]"] {
            let Weight(found) = serde_json::from_str(&repeated(piece, 1000)).unwrap();
            assert!(found <= repeated(piece, 1000).len() * HEAVIEST, "{piece}: {found}");
        }
    }
}

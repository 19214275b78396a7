//! Keyset paging: a limit, and a cursor that names the last thing seen. Never an offset.
//!
//! A cursor ends with a checksum: a text that no answer told is refused by every list, whatever its keys are.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::fault::Malformed;

/// The most items one page holds.
pub const MAX_LIMIT: usize = 1000;
/// The items of a page when the caller names no limit.
pub const DEFAULT_LIMIT: usize = 100;

/// What a caller asks of a list: how many, and after which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    /// At most this many items, 1 to [`MAX_LIMIT`].
    pub limit: usize,
    /// Only keys that sort after this one.
    pub after: Option<Vec<u8>>,
}

impl Paging {
    /// Reads the query's `limit` and `cursor`.
    pub fn parse(limit: Option<usize>, cursor: Option<&str>) -> Result<Self, (&'static str, Malformed)> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if limit == 0 || limit > MAX_LIMIT {
            return Err(("limit", Malformed(format!("expected a number from 1 to {MAX_LIMIT}"))));
        }
        let key = |text| key_in(text).ok_or(("cursor", Malformed::new(NO_CURSOR)));
        let after = cursor.filter(|text| !text.is_empty()).map(key).transpose()?;
        Ok(Self { limit, after })
    }
}

const NO_CURSOR: &str = "expected a cursor from an earlier answer, unchanged";
/// The longest key.
const MOST_KEY_BYTES: usize = 256;

/// The cursor that names this key.
fn cursor_of(key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([key, &crc32c::crc32c(key).to_be_bytes()].concat())
}

/// The key that a cursor names; none of a text that is no cursor.
fn key_in(cursor: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (key, sum) = bytes.split_last_chunk()?;
    (key.len() <= MOST_KEY_BYTES && crc32c::crc32c(key).to_be_bytes() == *sum).then(|| key.to_vec())
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page starts; absent at the end.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page whose next one, if there is one, starts after `last_key`.
    pub fn new(items: Vec<T>, last_key: Option<&[u8]>) -> Self {
        Self { items, next_cursor: last_key.map(cursor_of) }
    }

    /// A list that fits in one page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }

    /// The same page of other items.
    pub fn map<U>(self, shape: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(shape).collect(), next_cursor: self.next_cursor }
    }

    /// Cuts a sorted in-memory list: `key` gives each item's key.
    pub fn of_sorted<I>(sorted: I, paging: &Paging, key: impl Fn(&T) -> Vec<u8>) -> Self
    where
        I: IntoIterator<Item = T>,
    {
        let mut items = Vec::new();
        let mut more = false;
        for item in sorted {
            if paging.after.as_ref().is_some_and(|after| key(&item) <= *after) {
                continue;
            }
            if items.len() == paging.limit {
                more = true;
                break;
            }
            items.push(item);
        }
        let last = if more { items.last().map(&key) } else { None };
        Self::new(items, last.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_visit_everything_once() {
        let all: Vec<u8> = (0..25).collect();
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let paging = Paging::parse(Some(10), cursor.as_deref()).unwrap();
            let page = Page::of_sorted(all.clone(), &paging, |item| vec![*item]);
            seen.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_bad_limit_or_cursor_is_named() {
        assert_eq!(Paging::parse(Some(0), None).unwrap_err().0, "limit");
        assert_eq!(Paging::parse(Some(1001), None).unwrap_err().0, "limit");
        for text in ["%%%", "abc", "AAAA", "____", &cursor_of(b"role")[1..], &cursor_of(&[7; 257])] {
            assert_eq!(Paging::parse(None, Some(text)).unwrap_err().0, "cursor", "{text}");
        }
        assert_eq!(Paging::parse(None, Some(&cursor_of(b""))).unwrap().after, Some(Vec::new()));
    }
}

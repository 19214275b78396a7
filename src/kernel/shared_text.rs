//! Texts that many hold in common, in memory once.

use std::fmt;
use std::ops::Deref;

use internment::ArcIntern;
use serde::{Deserialize, Serialize};

/// A text of which many hold the same, such as what a browser calls itself. All that are equal are one in memory, which is
/// given back with the last of them.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SharedText(ArcIntern<String>);

impl From<&str> for SharedText {
    fn from(text: &str) -> Self {
        Self(ArcIntern::from_ref(text))
    }
}

impl Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SharedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_in_memory_also_when_they_are_read() {
        let first = SharedText::from("a browser");
        let read: SharedText = serde_json::from_str("\"a browser\"").unwrap();
        assert!(std::ptr::eq(&raw const *first, &raw const *read));
        assert_eq!(serde_json::to_string(&read).unwrap(), "\"a browser\"");
        assert_ne!(first, SharedText::from("another"));
    }
}

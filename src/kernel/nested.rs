//! A nested JSON object, written from values by dotted path without anything in between.

use super::sheet::is_below;

/// How long such an object usually is.
const TYPICAL_BYTES: usize = 1024;

/// The object being written. What is below one branch comes together, and no path is above another.
#[derive(Debug)]
pub(super) struct Nested<'a> {
    text: String,
    /// The branch whose members are being written.
    branch: &'a str,
    /// Whether it has none yet.
    is_fresh: bool,
}

impl Default for Nested<'_> {
    fn default() -> Self {
        let mut text = String::with_capacity(TYPICAL_BYTES);
        text.push('{');
        Self { text, branch: "", is_fresh: true }
    }
}

impl<'a> Nested<'a> {
    /// Writes a value, which is JSON.
    pub(super) fn put(&mut self, path: &'a str, json: &str) {
        let (branch, key) = path.rsplit_once('.').unwrap_or(("", path));
        self.enter(branch);
        self.key(key);
        self.text.push_str(json);
        self.is_fresh = false;
    }

    /// Goes to a branch, which is there from now on.
    pub(super) fn enter(&mut self, branch: &'a str) {
        while !(self.branch.is_empty() || self.branch == branch || is_below(branch, self.branch)) {
            self.text.push('}');
            self.is_fresh = false;
            self.branch = self.branch.rsplit_once('.').map_or("", |(above, _)| above);
        }
        let below = branch.get(self.branch.len()..).unwrap_or_default();
        for key in below.split('.').filter(|key| !key.is_empty()) {
            self.key(key);
            self.text.push('{');
            self.is_fresh = true;
        }
        self.branch = branch;
    }

    /// All of it.
    pub(super) fn finish(mut self) -> String {
        self.enter("");
        self.text.push('}');
        self.text
    }

    fn key(&mut self, key: &str) {
        if !self.is_fresh {
            self.text.push(',');
        }
        if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            self.text.extend(["\"", key, "\":"]);
        } else {
            self.text.extend([&serde_json::Value::from(key).to_string(), ":"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::super::sheet::Sheet;
    use super::*;

    fn text<'a>(values: impl Iterator<Item = (&'a str, &'a str)>) -> String {
        let mut nested = Nested::default();
        values.for_each(|(path, json)| nested.put(path, json));
        nested.finish()
    }

    #[test]
    fn branches_are_opened_and_closed_and_keys_are_quoted() {
        let values = [("a.b.c", "1"), ("a.b.d", "[]"), ("a.e", "{}"), ("f\"", "null"), ("g.h.i", "2"), ("g.j.i", "3")];
        let expected = r#"{"a":{"b":{"c":1,"d":[]},"e":{}},"f\"":null,"g":{"h":{"i":2},"j":{"i":3}}}"#;
        assert_eq!(text(values.into_iter()), expected);
        assert_eq!(text([].into_iter()), "{}");
        let mut empty = Nested::default();
        empty.enter("a.b");
        empty.enter("c");
        assert_eq!(empty.finish(), r#"{"a":{"b":{}},"c":{}}"#);
    }

    proptest! {
        #[test]
        fn it_is_the_object_of_the_sheet(leaves in prop::collection::btree_map("[ab]\\.[cd]\\.[a-z\"\\\\é]{1,2}|[ab]\\.e|f", 0..9_u8, 0..9)) {
            let leaves: BTreeMap<String, String> = leaves.into_iter().map(|(path, it)| (path, it.to_string())).collect();
            let sheet: Sheet = leaves.iter().map(|(path, json)| (path.as_str().into(), json.as_str().into())).collect();
            let written: Map<String, Value> = serde_json::from_str(&text(sheet.iter())).unwrap();
            prop_assert_eq!(written, sheet.object());
        }
    }
}

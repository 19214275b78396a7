//! A sheet: values by dotted path, such as `emergency_contact.name`, and what changes one.
//!
//! What is absent of a change stays as it is, null clears a value or everything below a branch (RFC 7396), at every
//! depth. Which paths there are, and what may stand at each, a [`Catalogue`](super::catalogue::Catalogue) says.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Values by path; a value is kept as the text of its JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sheet(BTreeMap<Box<str>, Box<str>>);

/// One step of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Where.
    pub path: Box<str>,
    /// The JSON that is there from now on; `None` clears the value, and everything below it.
    pub to: Option<Box<str>>,
}

/// A change of a sheet: what it does not name it does not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch(pub Vec<Edit>);

/// How one value differs between two sheets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Where.
    pub path: Box<str>,
    /// The JSON before.
    pub before: Option<Box<str>>,
    /// The JSON after.
    pub after: Option<Box<str>>,
}

impl Sheet {
    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The JSON at a path.
    pub fn json(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(Box::as_ref)
    }

    /// The value at a path.
    pub fn value(&self, path: &str) -> Option<Value> {
        self.json(path).and_then(|json| serde_json::from_str(json).ok())
    }

    /// The text at a path, if it is one.
    pub fn text(&self, path: &str) -> Option<String> {
        self.json(path).and_then(|json| serde_json::from_str(json).ok())
    }

    /// Every path and its JSON, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, json)| (path.as_ref(), json.as_ref()))
    }

    /// The paths below a branch, and their JSON.
    pub fn below<'a>(&'a self, branch: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter(move |(path, _)| is_below(path, branch))
    }

    /// Puts JSON at a path.
    pub fn set(&mut self, path: &str, json: &str) {
        self.0.insert(path.into(), json.into());
    }

    /// The sheet after a change.
    #[must_use]
    pub fn merged(&self, patch: &Patch) -> Self {
        let mut merged = self.clone();
        for edit in &patch.0 {
            if let Some(json) = &edit.to {
                merged.0.insert(edit.path.clone(), json.clone());
            } else {
                merged.clear(&edit.path);
            }
        }
        merged
    }

    /// Removes the value at a path, and everything below it: what is there is found by its place, so that many paths of which
    /// nothing is there cost next to nothing.
    fn clear(&mut self, path: &str) {
        self.0.remove(path);
        let branch = format!("{path}.");
        let below = self.0.range::<str, _>((Bound::Included(&*branch), Bound::Unbounded));
        let below: Vec<Box<str>> =
            below.map(|(path, _)| path).take_while(|path| path.starts_with(&branch)).cloned().collect();
        for path in below {
            self.0.remove(&path);
        }
    }

    /// What of this sheet is kept, by path.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(path, _)| keep(path)).map(|(path, json)| (path.clone(), json.clone())).collect())
    }

    /// How another sheet differs from this one, sorted by path.
    pub fn differences(&self, after: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        let (mut old, mut new) = (self.0.iter().peekable(), after.0.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some((before, _)), Some((after, _))) => before.cmp(after),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return differences,
            };
            let before = if order.is_le() { old.next() } else { None };
            let after = if order.is_ge() { new.next() } else { None };
            let json = |entry: Option<(&Box<str>, &Box<str>)>| entry.map(|(_, json)| json.clone());
            if let Some((path, _)) = before.or(after).filter(|_| before != after) {
                differences.push(Difference { path: path.clone(), before: json(before), after: json(after) });
            }
        }
    }

    /// The values as a nested object.
    pub fn object(&self) -> Map<String, Value> {
        let mut object = Map::new();
        for (path, json) in self.iter() {
            place(&mut object, path, serde_json::from_str(json).unwrap_or_default());
        }
        object
    }

    /// Roughly how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(path, json)| path.len() + json.len() + 64).sum()
    }
}

impl FromIterator<(Box<str>, Box<str>)> for Sheet {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Box<str>)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Patch {
    /// The change that clears what stands at these paths and below them.
    pub fn clearing<P: Into<Box<str>>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self(paths.into_iter().map(|path| Edit { path: path.into(), to: None }).collect())
    }

    /// The change that makes every difference what it was before.
    pub fn undoing(differences: &[Difference]) -> Self {
        let edit = |one: &Difference| Edit { path: one.path.clone(), to: one.before.clone() };
        Self(differences.iter().map(edit).collect())
    }
}

/// Puts a value into a nested object; what is no object on the way is replaced.
fn place(object: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        object.insert(path.to_owned(), value);
        return;
    };
    let below = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if !below.is_object() {
        *below = Value::Object(Map::new());
    }
    if let Value::Object(below) = below {
        place(below, rest, value);
    }
}

/// Whether a path is below a branch.
pub fn is_below(path: &str, branch: &str) -> bool {
    path.strip_prefix(branch).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patch(edits: &[(&str, Option<&str>)]) -> Patch {
        Patch(edits.iter().map(|(path, to)| Edit { path: (*path).into(), to: to.map(Into::into) }).collect())
    }

    #[test]
    fn a_change_touches_what_it_names_and_its_differences_undo_it() {
        let first = Sheet::default().merged(&patch(&[("a", Some("1")), ("b.c", Some("2")), ("b.d", Some("3"))]));
        let near =
            first.merged(&patch(&[("b-x", Some("5")), ("bc", Some("6")), ("b.", None), ("b.x", None), ("a.b", None)]));
        assert_eq!(Value::Object(near.object()), json!({ "a": 1, "b": { "c": 2, "d": 3 }, "b-x": 5, "bc": 6 }));
        let second = first.merged(&patch(&[("b", None), ("bc", Some("4"))]));
        assert_eq!(Value::Object(second.object()), json!({ "a": 1, "bc": 4 }));
        let differences = first.differences(&second);
        assert_eq!(differences.iter().map(|one| &*one.path).collect::<Vec<_>>(), ["b.c", "b.d", "bc"]);
        assert_eq!(second.merged(&Patch::undoing(&differences)), first);
    }
}

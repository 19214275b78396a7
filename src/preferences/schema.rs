//! How much work a JSON Schema makes: what it comes to when its references are written out.
//!
//! A validator follows a reference every time that it meets one, so that forty definitions, each of which refers twice to the
//! next, are a million million of them. Counted with what is known already, that is forty additions.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::kernel::fault::Malformed;

/// The most schemas that a schema may come to with its references written out.
pub const MOST_NODES: u64 = 2000;
/// The most references of which each leads to the next: whoever follows them needs a stack.
const MOST_DEEP: usize = 64;

/// Keywords that hold schemas by name.
const NAMED: [&str; 7] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
    "$defs",
    "definitions",
    "propertyDependencies",
];
/// Keywords that hold values, in which nothing is a schema.
const VALUES: [&str; 4] = ["const", "enum", "default", "examples"];
/// Keywords that make what a reference means depend on more than the document it is in.
const UNKNOWN: [&str; 5] = ["$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$recursiveAnchor"];

/// How many schemas a schema comes to with its references written out.
///
/// # Errors
/// When they are more than [`MOST_NODES`], it refers to itself, too deep, or to anything but a place in it.
pub fn nodes(schema: &Value) -> Result<u64, Malformed> {
    Count { root: schema, known: HashMap::new(), depth: 0 }.of(schema, true)
}

/// Whether objects can fit a schema, as far as its keywords for kinds and values say, and those that combine schemas. Its
/// references must have been counted.
pub fn admits_objects(schema: &Value) -> bool {
    admits(schema, schema)
}

fn admits(root: &Value, schema: &Value) -> bool {
    let keywords = match schema {
        Value::Bool(admits) => return *admits,
        Value::Object(keywords) => keywords,
        _ => return true,
    };
    let there = |to: &str| to.strip_prefix('#').and_then(|place| root.pointer(place));
    keywords.iter().all(|(keyword, value)| match (keyword.as_str(), value) {
        ("type", Value::String(kind)) => kind == "object",
        ("type", Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        ("const", value) => value.is_object(),
        ("enum", Value::Array(values)) => values.iter().any(Value::is_object),
        ("allOf", Value::Array(all)) => all.iter().all(|one| admits(root, one)),
        ("anyOf" | "oneOf", Value::Array(some)) => some.iter().any(|one| admits(root, one)),
        ("not", Value::Bool(refuses)) => !refuses,
        ("not", Value::Object(refused)) => !refused.is_empty(),
        ("$ref", Value::String(to)) => there(to).is_none_or(|there| admits(root, there)),
        _ => true,
    })
}

struct Count<'a> {
    root: &'a Value,
    /// By where a reference leads; none: it is being counted.
    known: HashMap<&'a str, Option<u64>>,
    depth: usize,
}

impl<'a> Count<'a> {
    fn of(&mut self, schema: &'a Value, is_root: bool) -> Result<u64, Malformed> {
        let Value::Object(keywords) = schema else { return Ok(1) };
        let mut sum = 1_u64;
        for (keyword, value) in keywords {
            let more = match (keyword.as_str(), value) {
                ("$ref", Value::String(to)) => self.at(to)?,
                ("$id" | "id", Value::String(_)) if !is_root => {
                    return Err(Malformed::new("only the schema itself may have an $id"));
                }
                (word, Value::String(_)) if UNKNOWN.contains(&word) => {
                    return Err(Malformed(format!("{word} is not supported; refer to places, as in #/$defs/name")));
                }
                (word, _) if VALUES.contains(&word) => 0,
                (word, Value::Object(schemas)) if NAMED.contains(&word) => self.of_named(schemas)?,
                (_, Value::Array(schemas)) => self.of_all(schemas.iter().filter(|one| one.is_object()))?,
                (_, Value::Object(_)) => self.of(value, false)?,
                _ => 0,
            };
            sum = sum.saturating_add(more);
            if sum > MOST_NODES {
                let words = format!("with its references written out, it comes to more than {MOST_NODES} schemas");
                return Err(Malformed(words));
            }
        }
        Ok(sum)
    }

    fn of_named(&mut self, schemas: &'a Map<String, Value>) -> Result<u64, Malformed> {
        self.of_all(schemas.values())
    }

    fn of_all(&mut self, schemas: impl Iterator<Item = &'a Value>) -> Result<u64, Malformed> {
        let mut sum = 0_u64;
        for schema in schemas {
            sum = sum.saturating_add(self.of(schema, false)?);
        }
        Ok(sum)
    }

    /// What is at the place that a reference leads to.
    fn at(&mut self, to: &'a str) -> Result<u64, Malformed> {
        match self.known.get(to) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => return Err(Malformed(format!("{to} refers to itself"))),
            None => {}
        }
        let place = to.strip_prefix('#').filter(|place| !place.contains('%'));
        let there = place.and_then(|place| self.root.pointer(place));
        let there = there.ok_or_else(|| Malformed(format!("{to} is no place in this schema, such as #/$defs/name")))?;
        if self.depth == MOST_DEEP {
            return Err(Malformed(format!("more than {MOST_DEEP} references lead from one to the next")));
        }
        self.known.insert(to, None);
        self.depth += 1;
        let count = self.of(there, place == Some(""))?;
        self.depth -= 1;
        self.known.insert(to, Some(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: &Value, expected: Result<u64, &str>) {
        match (nodes(schema), expected) {
            (Ok(found), Ok(count)) => assert_eq!(found, count, "{schema}"),
            (Err(found), Err(words)) => assert!(found.0.contains(words), "{schema}: {found}"),
            (found, expected) => panic!("{schema}: {found:?}, not {expected:?}"),
        }
    }

    /// `width` references in each of so many definitions to the next one.
    fn deep(depth: usize, width: usize) -> Value {
        let to = |at: usize| json!({ "$ref": format!("#/$defs/a{at}") });
        let all = (0..depth).map(|at| (format!("a{at}"), json!({ "allOf": vec![to(at + 1); width] })));
        let all = all.chain([(format!("a{depth}"), json!({ "type": "integer" }))]);
        json!({ "$ref": "#/$defs/a0", "$defs": all.collect::<Map<_, _>>() })
    }

    #[test]
    fn references_count_as_what_they_lead_to() {
        check(&json!({}), Ok(1));
        check(&json!({ "type": "object", "properties": { "a": true, "enum": { "type": "string" } } }), Ok(3));
        check(&json!({ "enum": [{ "$ref": "x" }], "const": { "$id": "x" }, "default": {}, "examples": [{}] }), Ok(1));
        check(&json!({ "anyOf": [{}, {}], "items": {}, "$defs": { "$ref": {} } }), Ok(5));
        check(&json!({ "$id": "https://example.org/x", "$ref": "#/$defs/a", "$defs": { "a": { "not": {} } } }), Ok(5));
        check(&deep(7, 2), Ok(1 + 509 + (1 + 5 + 13 + 29 + 61 + 125 + 253 + 509)));
    }

    #[test]
    fn what_would_take_for_ever_is_refused() {
        check(&deep(40, 2), Err("more than 2000"));
        check(&deep(70, 1), Err("more than 64 references"));
        check(&json!({ "$ref": "#" }), Err("refers to itself"));
        check(&json!({ "properties": { "a": { "$ref": "#/properties/a" } } }), Err("refers to itself"));
        for to in ["#name", "#/$defs/missing", "https://example.org/x", "other", "#/%24defs/a"] {
            check(&json!({ "$ref": to, "$defs": { "a": {} } }), Err("no place"));
        }
        check(&json!({ "$dynamicRef": "#a" }), Err("not supported"));
        check(&json!({ "items": { "$id": "https://example.org/x" } }), Err("an $id"));
    }
}

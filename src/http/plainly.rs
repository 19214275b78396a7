//! What serde complains about, in words for whoever wrote the request: without the names of types, and without positions in
//! a text that was put together by a program. Only ever on the way to a refusal.

use std::borrow::Cow;

/// What is expected, as serde says it and as people do.
const EXPECTED: [(&str, &str); 12] = [
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number, not negative"),
    ("usize", "a whole number, not negative"),
    ("i32", "a whole number"),
    ("i64", "a whole number"),
    ("f64", "a number"),
    ("a boolean", "true or false"),
    ("a map", "an object"),
    ("a sequence", "a list"),
    ("map", "an object"),
];

/// The same complaint, plainly.
pub(super) fn plainly(message: &str) -> String {
    let message = without_place(message);
    if message.starts_with("duplicate field `") {
        return "is there more than once".to_owned();
    }
    if message.starts_with("data did not match any variant") {
        return "has none of the forms that are understood".to_owned();
    }
    let Some((found, expected)) = message.split_once(", expected ") else { return message.to_owned() };
    let is_object =
        ["struct ", "internally tagged enum", "adjacently tagged enum"].iter().any(|it| expected.starts_with(it));
    let known = EXPECTED.iter().find(|(name, _)| *name == expected).map(|(_, words)| *words);
    let expected = if is_object { "an object" } else { known.unwrap_or(expected) };
    // A list in the place of an object is told by its length.
    let found = if found.starts_with("invalid length") && is_object { "invalid type: list" } else { found };
    let found: Cow<'_, str> = match found {
        "invalid type: map" => "invalid type: object".into(),
        "invalid type: sequence" => "invalid type: list".into(),
        other => other.into(),
    };
    format!("{found}, expected {expected}")
}

/// The field that a complaint names instead of its place.
pub(super) fn named(message: &str) -> Option<&str> {
    let rest = ["missing field `", "duplicate field `"].iter().find_map(|begin| message.strip_prefix(begin))?;
    rest.rsplit_once('`').map(|(name, _)| name)
}

/// Without ` at line 1 column 13` at the end.
fn without_place(message: &str) -> &str {
    let is_place = |place: &str| {
        let mut words = place.split(' ');
        let is_number = |word: Option<&str>| word.is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        is_number(words.next()) && words.next() == Some("column") && is_number(words.next()) && words.next().is_none()
    };
    match message.rsplit_once(" at line ") {
        Some((message, place)) if is_place(place) => message,
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_inside_is_told() {
        for (told, plain) in [
            (
                "invalid type: integer `7`, expected a string at line 1 column 13",
                "invalid type: integer `7`, expected a string",
            ),
            ("invalid type: string \"x\", expected struct Tag", "invalid type: string \"x\", expected an object"),
            ("invalid length 1, expected struct Tag with 3 elements", "invalid type: list, expected an object"),
            (
                "invalid value: integer `-1`, expected u64",
                "invalid value: integer `-1`, expected a whole number, not negative",
            ),
            ("invalid type: map, expected a sequence", "invalid type: object, expected a list"),
            ("duplicate field `a` at line 2 column 1", "is there more than once"),
            ("stay at line 1 column x", "stay at line 1 column x"),
            ("expected a time", "expected a time"),
        ] {
            assert_eq!(plainly(told), plain);
        }
        assert_eq!(named("duplicate field `a` at line 1 column 2"), Some("a"));
        assert_eq!(named("duplicate field `a`b` at line 1 column 2"), Some("a`b"));
        assert_eq!(named("unknown field `a`"), None);
    }
}

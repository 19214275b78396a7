//! The catalogue of a sheet: which paths there are, what may stand at each, what stands there when nobody chose.
//!
//! One table is the rule, the default, the JSON Schema and the documentation of every field. A segment `*` of a path is
//! any key.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use serde_json::{Map, Value, json};

use super::fault::{FieldError, Malformed};
use super::nested::Nested;
use super::sheet::{Edit, Patch, Sheet, is_below};

/// More complaints than so many help nobody.
const MOST_COMPLAINTS: usize = 50;
/// So many values can be changed at once.
const MOST_EDITS: usize = 500;
/// The longest key where any key may stand.
const MOST_KEY_BYTES: usize = 64;

/// One field.
#[derive(Debug)]
pub struct Field {
    /// Where it stands.
    pub path: &'static str,
    /// What it is, in words.
    pub about: &'static str,
    /// What may stand there.
    pub rule: Rule,
    /// The JSON that stands there when nobody chose; empty for nothing.
    pub default: &'static str,
}

/// What may stand in a field.
#[derive(Debug)]
pub enum Rule {
    /// One line of so many characters at the most, with something in it.
    Line(usize),
    /// Text of so many characters at the most, also of several lines.
    Text(usize),
    /// True or false.
    Flag,
    /// A whole number from one to the other.
    Whole(i64, i64),
    /// A number from one to the other.
    Number(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// Some of these texts, each once.
    Several(&'static [&'static str]),
    /// A text with a form of its own, in its usual spelling, and the form's name in JSON Schema.
    Form(fn(&str) -> Result<String, Malformed>, &'static str),
    /// The same, where the key above says what is expected.
    Keyed(fn(&str, &str) -> Result<String, Malformed>, &'static str),
    /// JSON with a rule of its own, and its schema.
    Json(fn(&Value) -> Result<Value, Malformed>, fn() -> Value),
}

/// Every field of a sheet.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue(pub &'static [Field]);

impl Catalogue {
    /// The field at a path.
    pub fn find(self, path: &str) -> Option<&'static Field> {
        self.0.iter().find(|field| fits(field.path, path, false))
    }

    fn has_below(self, path: &str) -> bool {
        self.0.iter().any(|field| fits(field.path, path, true))
    }

    /// Reads a change: a nested object, null clears.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path.
    pub fn read(self, given: &Map<String, Value>) -> Result<Patch, Vec<FieldError>> {
        self.read_below("", given)
    }

    /// Reads a change of a branch. Complaints name paths within it.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path.
    pub fn read_below(self, branch: &str, given: &Map<String, Value>) -> Result<Patch, Vec<FieldError>> {
        let (mut edits, mut wrong) = (Vec::new(), Vec::new());
        self.walk(branch, given, &mut edits, &mut wrong);
        if edits.len() + wrong.len() > MOST_EDITS {
            let last = edits.last().map(|edit| edit.path.to_string());
            let last = last.or_else(|| wrong.pop().map(|complaint| complaint.field)).unwrap_or_default();
            wrong = vec![FieldError::new(shortened(last), format!("this is one of more than {MOST_EDITS} values"))];
        }
        if wrong.is_empty() {
            return Ok(Patch(edits));
        }
        wrong.truncate(MOST_COMPLAINTS);
        for complaint in wrong.iter_mut().filter(|complaint| is_below(&complaint.field, branch)) {
            complaint.field.drain(..=branch.len());
        }
        Err(wrong)
    }

    fn walk(self, at: &str, given: &Map<String, Value>, edits: &mut Vec<Edit>, wrong: &mut Vec<FieldError>) {
        for (key, value) in given {
            if edits.len() + wrong.len() > MOST_EDITS {
                return;
            }
            let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            let field = self.find(&path).filter(|_| !key.contains('.'));
            if field.is_some_and(|field| field.path.ends_with(".*")) && !is_key(key) {
                let what = format!("expected a name of a-z, 0-9, _ and -, at most {MOST_KEY_BYTES}");
                wrong.push(FieldError::new(shortened(path), what));
                continue;
            }
            match (field, value) {
                (Some(_), Value::Null) => edits.push(Edit { path: path.into(), to: None }),
                (Some(field), value) => match field.rule.accept(key, value) {
                    Ok(value) => edits.push(Edit { path: path.into(), to: Some(value.to_string().into()) }),
                    Err(malformed) => wrong.push(malformed.at(path)),
                },
                (None, _) if key.contains('.') || !self.has_below(&path) => {
                    wrong.push(FieldError::new(shortened(path), "there is no such field"));
                }
                (None, Value::Null) => edits.push(Edit { path: path.into(), to: None }),
                (None, Value::Object(below)) => self.walk(&path, below, edits, wrong),
                (None, _) => wrong.push(FieldError::new(path, "expected an object")),
            }
        }
    }

    /// What stands where nobody chose.
    pub fn defaults(self) -> Sheet {
        let chosen = self.0.iter().filter(|field| !field.default.is_empty());
        chosen.map(|field| (field.path.into(), field.default.into())).collect()
    }

    /// The values of a sheet as a nested object, with null where there is none.
    pub fn object(self, sheet: &Sheet) -> Map<String, Value> {
        serde_json::from_str(&self.text(sheet, &[])).unwrap_or_default()
    }

    /// The JSON of that object, in the order of the table, with more members (a key and its JSON) after those.
    pub fn text(self, sheet: &Sheet, more: &[(&str, &str)]) -> String {
        let mut text = Nested::default();
        for field in self.0 {
            match field.path.strip_suffix(".*") {
                Some(branch) => {
                    text.enter(branch);
                    sheet.below(branch).for_each(|(path, json)| text.put(path, json));
                }
                None => text.put(field.path, sheet.json(field.path).unwrap_or("null")),
            }
        }
        for (key, json) in more {
            text.put(key, json);
        }
        text.finish()
    }

    /// The JSON Schema (2020-12) of the object.
    pub fn schema(self) -> Value {
        let mut root = branch();
        for field in self.0 {
            let mut schema = field.rule.schema();
            if let Value::Object(schema) = &mut schema {
                schema.insert("description".into(), field.about.into());
                if let Ok(default) = serde_json::from_str::<Value>(field.default) {
                    schema.insert("default".into(), default);
                }
            }
            put_schema(&mut root, field.path, schema);
        }
        root
    }
}

impl Rule {
    /// The value as it is kept.
    fn accept(&self, key: &str, value: &Value) -> Result<Value, Malformed> {
        let text = || value.as_str().ok_or_else(|| Malformed::new("expected a text"));
        match self {
            Self::Line(most) => line(text()?, *most).map(Value::String),
            Self::Text(most) => prose(text()?, *most).map(Value::String),
            Self::Flag if value.is_boolean() => Ok(value.clone()),
            Self::Flag => Err(Malformed::new("expected true or false")),
            Self::Whole(least, most) => value
                .as_i64()
                .filter(|number| (*least..=*most).contains(number))
                .map(Value::from)
                .ok_or_else(|| Malformed(format!("expected a whole number from {least} to {most}"))),
            Self::Number(least, most) => value
                .as_f64()
                .filter(|number| (*least..=*most).contains(number))
                .map(|_| value.clone())
                .ok_or_else(|| Malformed(format!("expected a number from {least} to {most}"))),
            Self::OneOf(words) if words.contains(&text()?) => Ok(value.clone()),
            Self::OneOf(words) => Err(Malformed(format!("expected one of {}", words.join(", ")))),
            Self::Several(words) => several(value, words),
            Self::Form(parse, _) => parse(text()?).map(Value::String),
            Self::Keyed(parse, _) => parse(key, text()?).map(Value::String),
            Self::Json(parse, _) => parse(value),
        }
    }

    fn schema(&self) -> Value {
        match self {
            Self::Line(most) => json!({ "type": ["string", "null"], "minLength": 1, "maxLength": most }),
            Self::Text(most) => json!({ "type": ["string", "null"], "maxLength": most }),
            Self::Flag => json!({ "type": ["boolean", "null"] }),
            Self::Whole(least, most) => json!({ "type": ["integer", "null"], "minimum": least, "maximum": most }),
            Self::Number(least, most) => json!({ "type": ["number", "null"], "minimum": least, "maximum": most }),
            Self::OneOf(words) => {
                let words = words.iter().map(|word| Value::from(*word)).chain([Value::Null]).collect::<Vec<_>>();
                json!({ "type": ["string", "null"], "enum": words })
            }
            Self::Several(words) => {
                json!({ "type": ["array", "null"], "items": { "type": "string", "enum": words }, "uniqueItems": true })
            }
            Self::Form(_, format) | Self::Keyed(_, format) => {
                json!({ "type": ["string", "null"], "format": format })
            }
            Self::Json(_, schema) => schema(),
        }
    }
}

/// One line of text in its normal form (NFC): 1 to `most` characters, of which something shows.
///
/// # Errors
/// In words.
pub fn line(text: &str, most: usize) -> Result<String, Malformed> {
    let text = normal(text);
    let is_good = shows_something(&text) && text.chars().count() <= most && !text.chars().any(is_control);
    is_good.then_some(text).ok_or_else(|| {
        Malformed(format!("expected 1 to {most} characters, some to be seen and none of control; null clears"))
    })
}

/// Whether there is anything to be seen of a text.
pub fn shows_something(text: &str) -> bool {
    text.chars().any(is_visible)
}

/// Whether a character shows something: it is no space, nothing that is passed over where it is shown (Unicode's
/// `Default_Ignorable_Code_Point`), nor the one of Braille without dots.
fn is_visible(c: char) -> bool {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    !(c.is_whitespace() || ignorable.contains(c) || c == '\u{2800}')
}

/// Text of several lines in its normal form (NFC), of at most `most` characters.
///
/// # Errors
/// In words.
fn prose(text: &str, most: usize) -> Result<String, Malformed> {
    let text = normal(text);
    let is_good = text.chars().count() <= most && !text.chars().any(|c| is_control(c) && c != '\n');
    is_good
        .then_some(text)
        .ok_or_else(|| Malformed(format!("expected at most {most} characters without control characters")))
}

/// The normal form of a text (NFC): what is kept of texts that people write.
pub fn normal(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned()
}

/// Control characters, and those that turn the direction of what follows (Unicode UAX 9 section 2).
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

fn several(value: &Value, words: &[&str]) -> Result<Value, Malformed> {
    let wrong = || Malformed(format!("expected a list of some of {}, each once", words.join(", ")));
    let given = value.as_array().ok_or_else(wrong)?;
    // In the table's order, so that two lists of one meaning are one value.
    let chosen: Vec<Value> = words.iter().map(|word| Value::from(*word)).filter(|word| given.contains(word)).collect();
    if chosen.len() == given.len() { Ok(Value::Array(chosen)) } else { Err(wrong()) }
}

fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= MOST_KEY_BYTES
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
}

/// Whether a field's path is this path, or (`above`) something below it.
fn fits(pattern: &str, path: &str, above: bool) -> bool {
    let mut pattern = pattern.split('.');
    for segment in path.split('.') {
        match pattern.next() {
            Some("*") => {}
            Some(word) if word == segment => {}
            _ => return false,
        }
    }
    pattern.next().is_some() == above
}

fn shortened(mut path: String) -> String {
    if let Some((end, _)) = path.char_indices().nth(100) {
        path.truncate(end);
        path.push('…');
    }
    path
}

fn branch() -> Value {
    json!({ "type": ["object", "null"], "properties": {}, "additionalProperties": false })
}

fn put_schema(at: &mut Value, path: &str, schema: Value) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let Value::Object(at) = at else { return };
    if first == "*" {
        at.insert("additionalProperties".into(), schema);
        return;
    }
    let Some(Value::Object(properties)) = at.get_mut("properties") else { return };
    match rest {
        None => {
            properties.insert(first.to_owned(), schema);
        }
        Some(rest) => put_schema(properties.entry(first).or_insert_with(branch), rest, schema),
    }
}

#[cfg(test)]
impl Catalogue {
    /// Whether what is below one branch stands together, and no path is above another: then every field has its place.
    pub(crate) fn is_in_order(self) -> bool {
        let object = Value::Object(self.object(&Sheet::default()));
        let place = |field: &Field| format!("/{}", field.path.trim_end_matches(".*").replace('.', "/"));
        self.0.iter().all(|field| object.pointer(&place(field)).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Catalogue = Catalogue(&[
        Field { path: "name", about: "A name.", rule: Rule::Line(5), default: "" },
        Field { path: "deep.flag", about: "A flag.", rule: Rule::Flag, default: "true" },
        Field { path: "deep.days", about: "Days.", rule: Rule::Several(&["mon", "tue"]), default: "" },
        Field { path: "any.*", about: "Texts.", rule: Rule::Keyed(|_, text| line(text, 3), "text"), default: "" },
    ]);

    fn read(given: &Value) -> Result<Sheet, Vec<String>> {
        let patch = FIELDS.read(given.as_object().unwrap());
        patch
            .map(|patch| Sheet::default().merged(&patch))
            .map_err(|wrong| wrong.into_iter().map(|it| it.field).collect())
    }

    #[test]
    fn every_complaint_comes_at_once_with_its_path() {
        let given = json!({
            "name": "too long", "deep": { "flag": 1, "days": ["mon", "mon"] }, "any": { "A": "x", "b": "long" },
            "other": 1, "deep.flag": true, "": 1,
        });
        let mut wrong = read(&given).unwrap_err();
        wrong.sort();
        assert_eq!(wrong, ["", "any.A", "any.b", "deep.days", "deep.flag", "deep.flag", "name", "other"]);
        assert_eq!(read(&json!({ "deep": [] })).unwrap_err(), ["deep"]);
    }

    #[test]
    fn text_is_kept_in_its_normal_form_and_lists_in_the_order_of_the_table() {
        let sheet = read(&json!({ "name": "e\u{301}", "deep": { "days": ["tue", "mon"] }, "any": { "b": "x" } }));
        let sheet = sheet.unwrap();
        assert_eq!(sheet.text("name").as_deref(), Some("é"));
        assert_eq!(sheet.json("deep.days"), Some(r#"["mon","tue"]"#));
        assert_eq!(sheet.json("any.b"), Some(r#""x""#));
        for bad in ["\u{0}", "\u{202E}abc", " ", "", "\u{200B}", "\u{FEFF} \u{3164}", "\u{2800}"] {
            assert_eq!(read(&json!({ "name": bad })).unwrap_err(), ["name"], "{bad:?}");
        }
    }

    #[test]
    fn so_many_values_are_changed_at_once_and_no_more() {
        let nulls =
            |count: usize| json!({ "any": (0..count).map(|at| (at.to_string(), Value::Null)).collect::<Map<_, _>>() });
        assert!(read(&nulls(500)).is_ok());
        assert_eq!(read(&nulls(501)).unwrap_err(), ["any.99"]);
    }

    #[test]
    fn the_object_of_a_sheet_names_every_field() {
        let field = |path| Field { path, about: "", rule: Rule::Flag, default: "" };
        let reopened: &[Field] = Box::leak(Box::new(["a.b", "c", "a.d"].map(field)));
        assert!(FIELDS.is_in_order() && !Catalogue(reopened).is_in_order());
        let whole = Value::Object(FIELDS.object(&FIELDS.defaults()));
        assert_eq!(whole, json!({ "name": null, "deep": { "flag": true, "days": null }, "any": {} }));
        let sheet: Sheet = [("any.b".into(), "1".into()), ("name".into(), "2".into()), ("gone".into(), "3".into())]
            .into_iter()
            .collect();
        let text = FIELDS.text(&sheet, &[("more", "4")]);
        assert_eq!(text, r#"{"name":2,"deep":{"flag":null,"days":null},"any":{"b":1},"more":4}"#);
    }
}

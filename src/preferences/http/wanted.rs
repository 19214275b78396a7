//! What a request wants to be otherwise: of preferences, or of defaults.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::http::Call;
use crate::kernel::fault::FieldError;
use crate::kernel::sheet::{Edit, Patch};
use crate::preferences::commands::Wanted;
use crate::preferences::fields::FIELDS;
use crate::preferences::model::{CUSTOM, MOST_CUSTOM_BYTES, is_namespace};

/// How large the change of a section may be.
pub(super) const MOST_SECTION_BYTES: usize = 64 * 1024;
/// How large a change of everything may be: as a section, and all that namespaces may hold.
pub(super) const MOST_BYTES: usize = MOST_SECTION_BYTES + MOST_CUSTOM_BYTES;
/// More complaints about namespaces than so many help nobody.
const MOST_COMPLAINTS: usize = 50;

/// Reads a change of everything: a nested object, null clears.
///
/// # Errors
/// Everything that is wrong, each with its path.
pub(super) fn read(call: &Call, mut given: Map<String, Value>) -> Result<Wanted, Vec<FieldError>> {
    let (custom, wrong, clearing) = match given.remove(CUSTOM) {
        None => (BTreeMap::new(), Vec::new(), None),
        // All that is left, whether there is such a namespace or not.
        Some(Value::Null) => (BTreeMap::new(), Vec::new(), Some(Edit { path: CUSTOM.into(), to: None })),
        Some(custom) => {
            let (custom, wrong) = namespaces(call, custom);
            (custom, wrong, None)
        }
    };
    match FIELDS.read(&given) {
        Ok(patch) if wrong.is_empty() => {
            Ok(Wanted { patch: Patch(patch.0.into_iter().chain(clearing).collect()), custom })
        }
        Ok(_) => Err(wrong),
        Err(others) => Err(others.into_iter().chain(wrong).collect()),
    }
}

/// What to change within namespaces. Null clears whatever is left of one, also where there is no such namespace any more.
fn namespaces(call: &Call, custom: Value) -> (BTreeMap<Box<str>, Value>, Vec<FieldError>) {
    let book = call.state.preferences.book.load();
    let Value::Object(given) = custom else {
        return (BTreeMap::new(), vec![FieldError::new(CUSTOM, "expected an object")]);
    };
    let wrong = given.iter().filter_map(|(name, value)| {
        let at = || format!("{CUSTOM}.{}", name.chars().take(100).collect::<String>());
        match value {
            Value::Null if is_namespace(name) => None,
            _ if book.namespace(name).is_none() => Some(FieldError::new(at(), "there is no such namespace")),
            Value::Object(_) => None,
            _ => Some(FieldError::new(at(), "expected an object")),
        }
    });
    let wrong = wrong.take(MOST_COMPLAINTS).collect();
    (given.into_iter().map(|(name, value)| (name.into(), value)).collect(), wrong)
}

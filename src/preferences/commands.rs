//! The writes to somebody's preferences.
//!
//! As with profiles, each write brings the preferences it was prepared on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{ChangeId, SessionId};
use crate::kernel::sheet::{Difference, Edit, Patch, Sheet, is_below};
use crate::preferences::book::{PreferenceBook, Registered};
use crate::preferences::error::PreferenceError;
use crate::preferences::fields;
use crate::preferences::model::{CUSTOM, MOST_CUSTOM_BYTES, MOST_NAMESPACE_BYTES, Preferences, namespace_of};
use crate::preferences::part::PreferencesSet;
use crate::profiles::change::Part;
use crate::profiles::commands::change;
use crate::profiles::part::ProfileEvent;
use crate::user::{User, UserEvent};

/// What somebody wants to be otherwise.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of the fields, and of whole namespaces.
    pub patch: Patch,
    /// Within namespaces, as objects to be merged (RFC 7396); null clears a namespace.
    pub custom: BTreeMap<Box<str>, Value>,
}

impl Wanted {
    /// Whether values of applications are to be looked at, which may take long.
    pub fn fills_namespaces(&self) -> bool {
        let is_custom = |edit: &Edit| edit.to.is_some() && is_below(&edit.path, CUSTOM);
        self.custom.values().any(Value::is_object) || self.patch.0.iter().any(is_custom)
    }

    /// What was chosen after this, by the book's rules; `seen`: what of namespaces is shown to whoever wants it, whoever chose
    /// it. Of defaults nothing is.
    ///
    /// # Errors
    /// Everything that breaks a rule.
    pub fn applied(&self, before: &Sheet, seen: &Sheet, book: &PreferenceBook) -> Result<Sheet, PreferenceError> {
        let own = before.merged(&self.patch);
        let merged = self.custom.iter().filter_map(|(name, given)| merged_namespace(&own, seen, name, given, book));
        let custom = Patch(merged.collect());
        let mut own = own.merged(&custom);
        let mut wrong = fields::complaints(&own);
        let differences = before.differences(&own);
        let fills = |one: &Difference| one.after.is_some() && is_below(&one.path, CUSTOM);
        // Also what is named and is as it was: it may not fit any more.
        let named: BTreeSet<&str> = custom.0.iter().map(|edit| &*edit.path).collect();
        let looked_at =
            own.below(CUSTOM).filter(|(path, json)| named.contains(path) || before.json(path) != Some(json));
        wrong.extend(looked_at.flat_map(|(path, json)| refused(book, path, json)));
        if differences.iter().any(fills) && custom_bytes(&own) > MOST_CUSTOM_BYTES {
            // What is left of namespaces that there are not any more makes room.
            own = own.filtered(|path| book.has(path));
            if custom_bytes(&own) > MOST_CUSTOM_BYTES {
                let what = format!("expected at most {MOST_CUSTOM_BYTES} bytes of JSON in all namespaces together");
                wrong.push(FieldError::new(CUSTOM, what));
            }
        }
        if wrong.is_empty() { Ok(own) } else { Err(PreferenceError::Invalid(wrong)) }
    }
}

/// Gives somebody other preferences, which were prepared on those of before: what is checked at all was checked there, since
/// schemas of applications may take long.
#[derive(Debug, Clone)]
pub struct ChangePreferences {
    /// The preferences it was prepared on.
    pub base: Arc<Preferences>,
    /// What is chosen from then on.
    pub own: Sheet,
    /// The id of the change.
    pub change: ChangeId,
    /// The change that is taken back by this one.
    pub undoes: Option<ChangeId>,
    /// What the audit log calls it.
    pub action: &'static str,
    /// The session that asks.
    pub session: SessionId,
}

impl Command for ChangePreferences {
    type Target = User;
    type Reply = Arc<Preferences>;
    type Refusal = PreferenceError;
    const NAME: &'static str = "change_preferences";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Arc<Preferences>>, PreferenceError> {
        user.refuse_over(self.session, facts)?;
        if user.preferences.version() != self.base.version {
            return Err(PreferenceError::Moved);
        }
        let (id, own) = ((self.change, self.undoes), self.own);
        let Some(change) = change(id, Part::Preferences, &self.base.own, &own, facts) else {
            return Ok(Decision::nothing(self.base));
        };
        let preferences = Arc::new(Preferences { version: self.base.version + 1, own, updated_at: Some(facts.now) });
        let mut marks = user.profiles.marks();
        marks.changes = marks.changes.wrapping_add(1);
        let noted = ProfileEvent { change: Some(change), ..ProfileEvent::of(Some(self.action), marks) };
        let set = UserEvent::Preferences(PreferencesSet(Arc::clone(&preferences)));
        Ok(Decision { events: vec![set, UserEvent::Profile(Box::new(noted))], reply: preferences })
    }
}

fn custom_bytes(own: &Sheet) -> usize {
    own.below(CUSTOM).map(|(_, json)| json.len()).sum()
}

/// What is wrong with the values in a namespace.
fn refused(book: &PreferenceBook, path: &str, json: &str) -> Vec<FieldError> {
    let Some(registered) = namespace_of(path).and_then(|name| book.namespace(name)) else {
        return vec![FieldError::new(path, "there is no such namespace")];
    };
    if json.len() > MOST_NAMESPACE_BYTES {
        return vec![FieldError::new(path, format!("expected at most {MOST_NAMESPACE_BYTES} bytes of JSON"))];
    }
    registered.complaints(&serde_json::from_str(json).unwrap_or_default())
}

/// What a namespace is from then on: what is seen there is changed, so that what is not named of it stays, also where it was
/// not one's own before. None: nothing of it is named.
fn merged_namespace(own: &Sheet, seen: &Sheet, name: &str, given: &Value, book: &PreferenceBook) -> Option<Edit> {
    let path = format!("{CUSTOM}.{name}");
    let Value::Object(given) = given else { return Some(Edit { path: path.into(), to: None }) };
    let seen = seen.value(&path);
    let is_seen = seen.is_some();
    if given.is_empty() && is_seen {
        return None;
    }
    let over = |mut values: Value| {
        merge(&mut values, given);
        values
    };
    let (kept, empty) = (seen.or_else(|| own.value(&path)), Value::Object(Map::new()));
    let merged = over(kept.clone().unwrap_or_else(|| empty.clone()));
    let mut json = merged.to_string();
    // What does not fit its schema any more is not shown: where nothing else is either, whoever changes it begins anew, unless
    // what they add makes it fit.
    let is_hidden = |kept: &Value, there: &Registered| !there.fits(&merged) && !there.fits(kept);
    if !is_seen
        && json.len() <= MOST_NAMESPACE_BYTES
        && let (Some(kept), Some(there)) = (&kept, book.namespace(name))
        && is_hidden(kept, there)
    {
        json = over(empty).to_string();
    }
    Some(Edit { path: path.into(), to: Some(json.into()) })
}

/// Merges as RFC 7396 section 2 says.
fn merge(target: &mut Value, patch: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        match value {
            Value::Null => _ = target.remove(key),
            Value::Object(below) => merge(target.entry(key.clone()).or_insert(Value::Null), below),
            value => _ = target.insert(key.clone(), value.clone()),
        }
    }
}

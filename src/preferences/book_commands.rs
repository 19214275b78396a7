//! The writes to the preference book.

use std::sync::Arc;

use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::RoleId;
use crate::kernel::sheet::Sheet;
use crate::preferences::book::{HeldLayer, PreferenceBook, PreferenceBookEvent, Registered};
use crate::preferences::error::PreferenceError;
use crate::preferences::model::{Layer, MOST_NAMESPACES, Namespace};

/// Opens the book, unless it is open.
#[derive(Debug, Clone)]
pub struct OpenPreferences;

impl Command for OpenPreferences {
    type Target = PreferenceBook;
    type Reply = ();
    type Refusal = PreferenceError;
    const NAME: &'static str = "open_preferences";

    fn decide(self, _: &PreferenceBook, _: &Facts) -> Result<Decision<PreferenceBook, ()>, PreferenceError> {
        Ok(Decision::one(PreferenceBookEvent::Opened, ()))
    }
}

/// Gives the installation, or a role, other defaults, which were prepared on those of before: what is checked at all was
/// checked there, since schemas of applications may take long.
#[derive(Debug, Clone)]
pub struct ChangeDefaults {
    /// Of which role; none: of the installation.
    pub role: Option<RoleId>,
    /// The defaults it was prepared on.
    pub base: Arc<HeldLayer>,
    /// The values from then on.
    pub values: Sheet,
    /// Another priority.
    pub priority: Option<u32>,
}

impl Command for ChangeDefaults {
    type Target = PreferenceBook;
    type Reply = Layer;
    type Refusal = PreferenceError;
    const NAME: &'static str = "change_preference_defaults";

    fn decide(self, book: &PreferenceBook, facts: &Facts) -> Result<Decision<PreferenceBook, Layer>, PreferenceError> {
        let old = self.role.map_or_else(|| Some(book.installation()), |role| book.role(role));
        let old = old.map(|held| Layer::clone(held));
        if old.clone().unwrap_or_default() != **self.base {
            return Err(PreferenceError::Moved);
        }
        let (priority, updated_at) = (self.priority.unwrap_or(self.base.priority), self.base.updated_at);
        let layer = Layer { priority, values: self.values, updated_at };
        if old.as_ref() == Some(&layer) {
            return Ok(Decision::nothing(layer));
        }
        let layer = Layer { updated_at: facts.now, ..layer };
        let event = match self.role {
            Some(role) => PreferenceBookEvent::RoleSet(role, Some(layer.clone())),
            None => PreferenceBookEvent::InstallationSet(layer.clone()),
        };
        Ok(Decision::one(event, layer))
    }
}

/// Removes the defaults of a role.
#[derive(Debug, Clone)]
pub struct RemoveDefaults {
    /// Of which role.
    pub role: RoleId,
    /// What they must still be, where that is demanded.
    pub seen: Option<Layer>,
}

impl Command for RemoveDefaults {
    type Target = PreferenceBook;
    type Reply = ();
    type Refusal = PreferenceError;
    const NAME: &'static str = "remove_preference_defaults";

    fn decide(self, book: &PreferenceBook, _: &Facts) -> Result<Decision<PreferenceBook, ()>, PreferenceError> {
        let base = book.role(self.role).map(|layer| Layer::clone(layer)).unwrap_or_default();
        refuse_stale(self.seen.as_ref(), Some(&base))?;
        if book.role(self.role).is_none() {
            return Ok(Decision::nothing(()));
        }
        Ok(Decision::one(PreferenceBookEvent::RoleSet(self.role, None), ()))
    }
}

/// Registers a namespace, or gives it another schema. What people and defaults have in it stays, and is shown while it fits.
#[derive(Debug, Clone)]
pub struct SetNamespace {
    /// The namespace.
    pub registered: Arc<Registered>,
    /// What it must still be, where that is demanded.
    pub seen: Option<Namespace>,
    /// Whether it must not be there yet.
    pub is_new: bool,
}

impl Command for SetNamespace {
    type Target = PreferenceBook;
    type Reply = Arc<Registered>;
    type Refusal = PreferenceError;
    const NAME: &'static str = "set_preference_namespace";

    fn decide(
        self,
        book: &PreferenceBook,
        _: &Facts,
    ) -> Result<Decision<PreferenceBook, Arc<Registered>>, PreferenceError> {
        let new = &self.registered.namespace;
        let old = book.namespace(&new.name).map(|old| &old.namespace);
        refuse_stale(self.seen.as_ref(), old)?;
        if self.is_new && old.is_some() {
            return Err(PreferenceError::There);
        }
        match book.namespace(&new.name) {
            None if book.namespaces().count() >= MOST_NAMESPACES => return Err(PreferenceError::TooManyNamespaces),
            Some(old) if (&old.namespace.description, &old.namespace.schema) == (&new.description, &new.schema) => {
                return Ok(Decision::nothing(Arc::clone(old)));
            }
            _ => {}
        }
        let event = PreferenceBookEvent::NamespaceSet(Arc::clone(&self.registered));
        Ok(Decision::one(event, self.registered))
    }
}

/// Removes a namespace. What people and defaults have in it is not shown any more.
#[derive(Debug, Clone)]
pub struct RemoveNamespace {
    /// Which.
    pub name: Box<str>,
    /// What it must still be, where that is demanded.
    pub seen: Option<Namespace>,
}

impl Command for RemoveNamespace {
    type Target = PreferenceBook;
    type Reply = ();
    type Refusal = PreferenceError;
    const NAME: &'static str = "remove_preference_namespace";

    fn decide(self, book: &PreferenceBook, _: &Facts) -> Result<Decision<PreferenceBook, ()>, PreferenceError> {
        let old = book.namespace(&self.name).ok_or(PreferenceError::MissingNamespace)?;
        refuse_stale(self.seen.as_ref(), Some(&old.namespace))?;
        Ok(Decision::one(PreferenceBookEvent::NamespaceRemoved(self.name), ()))
    }
}

/// Refuses a write to something that is not any more what was seen of it.
fn refuse_stale<T: PartialEq>(seen: Option<&T>, now: Option<&T>) -> Result<(), PreferenceError> {
    if seen.is_none_or(|seen| now == Some(seen)) { Ok(()) } else { Err(PreferenceError::Stale) }
}

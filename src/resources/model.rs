//! A resource as it is stored, its name, and its line of parents.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::access::pattern::{PermissionName, RESERVED_PREFIX, Scope};
use crate::accounts::model::Properties;
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::Malformed;
use crate::store::codec::Stored;
use crate::store::key::Kind;
use crate::store::{Key, Revision};

/// The longest type, in bytes.
pub const MAX_TYPE_BYTES: usize = 64;
/// The longest id, in bytes, so that an entry of a parent fits the store's keys.
pub const MAX_ID_BYTES: usize = 128;
/// The most parents above one resource.
pub const MOST_ANCESTORS: usize = 16;
/// Ends a type; neither a type nor an id has it inside.
const END: u8 = 0;
const MAX_NAME_BYTES: usize = MAX_TYPE_BYTES + 1 + MAX_ID_BYTES;

/// Names a resource: its type, and its id among those of the type. Short enough to be copied.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "Spelled", into = "Spelled")]
pub struct ResourceName {
    /// The type, [`END`] and the id: they sort by type, then by id.
    bytes: [u8; MAX_NAME_BYTES],
    type_bytes: u8,
    used_bytes: u8,
}

/// A name as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    #[serde(rename = "type")]
    kind: Box<str>,
    id: Box<str>,
}

impl ResourceName {
    /// The resource of this type and id, if they can be those of a stored one.
    pub fn of(kind: &str, id: &str) -> Option<Self> {
        let is_type = kind.len() <= MAX_TYPE_BYTES && PermissionName::of(kind, "x").is_ok();
        let is_id = (1..=MAX_ID_BYTES).contains(&id.len()) && !id.chars().any(char::is_control);
        if !is_type || !is_id || kind.starts_with(RESERVED_PREFIX) {
            return None;
        }
        let mut bytes = [END; MAX_NAME_BYTES];
        bytes.get_mut(..kind.len())?.copy_from_slice(kind.as_bytes());
        let used = kind.len() + 1 + id.len();
        bytes.get_mut(kind.len() + 1..used)?.copy_from_slice(id.as_bytes());
        Some(Self { bytes, type_bytes: u8::try_from(kind.len()).ok()?, used_bytes: u8::try_from(used).ok()? })
    }

    /// Reads a type and an id; a refusal names which of them is wrong.
    ///
    /// # Errors
    /// `type` or `id`, and what is expected of it.
    pub fn parse(kind: &str, id: &str) -> Result<Self, (&'static str, Malformed)> {
        let wrong = |field, what: String| Err((field, Malformed::new(what)));
        if Self::of(kind, "1").is_none() {
            let what = "expected the first half of a permission's name, at most 64 bytes, not one of Sesame's own";
            return wrong("type", what.to_owned());
        }
        match Self::of(kind, id) {
            Some(name) => Ok(name),
            None => wrong("id", format!("expected 1 to {MAX_ID_BYTES} bytes without control characters")),
        }
    }

    /// From what follows the kind in a key.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, id) = std::str::from_utf8(bytes).ok()?.split_once(char::from(END))?;
        Self::of(kind, id)
    }

    /// The bytes that stand for it in keys.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.used_bytes)).unwrap_or_default()
    }

    /// The type.
    pub fn kind(&self) -> &str {
        self.text(0, usize::from(self.type_bytes))
    }

    /// The id.
    pub fn id(&self) -> &str {
        self.text(usize::from(self.type_bytes) + 1, usize::from(self.used_bytes))
    }

    fn text(&self, from: usize, to: usize) -> &str {
        // It was text when it was put in.
        self.bytes.get(from..to).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// Where the resource is.
    pub fn key(&self) -> Key {
        Key::of(Kind::Resource, &[self.bytes()])
    }
}

/// Where the resources of a type are.
pub fn keys_of_type(kind: &str) -> Key {
    Key::of(Kind::Resource, &[kind.as_bytes(), &[END]])
}

/// Behind the resources of a type, and before those of the next.
pub fn behind_type(kind: &str) -> Key {
    Key::of(Kind::Resource, &[kind.as_bytes(), &[END + 1]])
}

/// Where the entries of a parent about its children are: a hash of its name, so that they fit.
pub fn keys_of_children(parent: &ResourceName) -> Key {
    Key::of(Kind::ResourceChild, &[digest(&SHA256, parent.bytes()).as_ref()])
}

/// Where a parent's entry about this child is.
pub fn child_entry(parent: &ResourceName, child: &ResourceName) -> Key {
    Key::of(Kind::ResourceChild, &[digest(&SHA256, parent.bytes()).as_ref(), child.bytes()])
}

/// An entry of a parent: one of its children.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ResourceChild;

impl Stored for ResourceChild {
    const VERSION: u8 = 1;
}

/// A stored resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name, which never changes.
    pub name: ResourceName,
    /// Whose scope it has where it has none of its own.
    pub parent: Option<ResourceName>,
    /// Where it is; everywhere: where its parent is.
    pub scope: Scope,
    /// What conditions may look at; what a caller passes wins.
    pub properties: Properties,
    /// When it came.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes, from 1; the `ETag`.
    pub version: u64,
}

impl Stored for Resource {
    const VERSION: u8 = 1;
}

/// What is known of a name at one revision: the resource, or that there is none.
#[derive(Debug, Default)]
pub struct Known {
    /// The commit that wrote it; 0 if there is none.
    pub revision: Revision,
    /// The resource.
    pub resource: Option<Resource>,
    object: OnceLock<Map<String, Value>>,
    /// How often something of its share of the names had changed when it was not there.
    changes: u64,
}

impl Known {
    /// A resource, as this commit wrote it; or none.
    pub const fn new(revision: Revision, resource: Option<Resource>) -> Self {
        Self { revision, resource, object: OnceLock::new(), changes: 0 }
    }

    /// That there is none, after so many changes of its share of the names: what was absent after as many is the same.
    pub const fn absent(changes: u64) -> Self {
        Self { revision: Revision(0), resource: None, object: OnceLock::new(), changes }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (&self.resource, &other.resource) {
            (Some(_), Some(_)) => self.revision == other.revision,
            (None, None) => self.changes == other.changes,
            _ => false,
        }
    }

    /// The properties, parsed when they are asked for.
    pub fn properties(&self) -> Option<&Map<String, Value>> {
        let resource = self.resource.as_ref()?;
        Some(self.object.get_or_init(|| match resource.properties.object() {
            Value::Object(object) => object,
            _ => Map::new(),
        }))
    }

    /// Whose scope counts where this one has none.
    pub fn heir_of(&self) -> Option<&ResourceName> {
        self.resource.as_ref().filter(|resource| resource.scope.is_everywhere())?.parent.as_ref()
    }
}

/// A resource and those above it, up to the first that has a scope.
#[derive(Debug, Clone)]
pub struct Lineage(Vec<Arc<Known>>);

impl Lineage {
    /// Begins with the resource itself.
    pub fn begin(first: Arc<Known>) -> Self {
        Self(vec![first])
    }

    /// Whose scope is to be looked at next; none: all is known.
    pub fn next(&self) -> Option<ResourceName> {
        self.0.last().filter(|_| self.0.len() <= MOST_ANCESTORS)?.heir_of().copied()
    }

    /// Goes on with a parent.
    pub fn push(&mut self, parent: Arc<Known>) {
        self.0.push(parent);
    }

    /// The resource, if it is stored.
    pub fn resource(&self) -> Option<&Arc<Known>> {
        self.0.first().filter(|known| known.resource.is_some())
    }

    /// Where the resource is: its own scope, or the nearest of those above it.
    pub fn scope(&self) -> Option<&Scope> {
        self.0.last()?.resource.as_ref().map(|resource| &resource.scope).filter(|scope| !scope.is_everywhere())
    }

    /// The newest commit that it is made of.
    pub fn revision(&self) -> Revision {
        self.0.iter().map(|known| known.revision).max().unwrap_or_default()
    }

    /// Whether two readings found the same.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Arc<Known>, &Arc<Known>)| Arc::ptr_eq(one, other) || one.is_same(other);
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(is_same)
    }
}

impl PartialEq for ResourceName {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}
impl Eq for ResourceName {}
impl PartialOrd for ResourceName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ResourceName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes().cmp(other.bytes())
    }
}
impl Hash for ResourceName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.bytes());
    }
}
impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
/// The type, a slash and the id.
impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.id())
    }
}
impl From<ResourceName> for Spelled {
    fn from(name: ResourceName) -> Self {
        Self { kind: name.kind().into(), id: name.id().into() }
    }
}
impl TryFrom<Spelled> for ResourceName {
    type Error = String;

    fn try_from(spelled: Spelled) -> Result<Self, String> {
        Self::parse(&spelled.kind, &spelled.id).map_err(|(field, wrong)| format!("{field}: {}", wrong.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_come_back() {
        let long = "i".repeat(MAX_ID_BYTES);
        for (kind, id) in [("todo", "7"), ("a/b.c", "x y/z"), ("t", &long), (&"k".repeat(MAX_TYPE_BYTES), &long)] {
            let name = ResourceName::parse(kind, id).unwrap();
            assert_eq!((name.kind(), name.id()), (kind, id));
            assert_eq!(ResourceName::from_bytes(name.bytes()), Some(name));
            assert_eq!(name.key().bytes().len(), kind.len() + id.len() + 2);
            assert!(child_entry(&name, &name).bytes().len() <= crate::store::key::MAX_KEY_BYTES);
        }
    }

    #[test]
    fn names_that_cannot_be_stored_are_refused_and_the_part_is_named() {
        let long = "x".repeat(MAX_ID_BYTES + 1);
        for (kind, id, part) in [
            ("", "1", "type"),
            ("a:b", "1", "type"),
            ("a b", "1", "type"),
            ("sesame.users", "1", "type"),
            (&long[..=MAX_TYPE_BYTES], "1", "type"),
            ("todo", "", "id"),
            ("todo", "a\nb", "id"),
            ("todo", &long, "id"),
        ] {
            assert_eq!(ResourceName::parse(kind, id).unwrap_err().0, part, "{kind} {id}");
        }
    }

    #[test]
    fn names_sort_by_type_and_then_by_id() {
        let name = |kind, id| ResourceName::parse(kind, id).unwrap();
        assert!(name("a", "z") < name("a-b", "a"));
        assert!(name("a", "1") < name("a", "10"));
        assert!(keys_of_type("a").bytes() < name("a", "1").key().bytes());
        assert!(name("a", "\u{10ffff}").key().bytes() < behind_type("a").bytes());
        assert!(behind_type("a").bytes() < name("a-b", "1").key().bytes());
    }
}

//! The preference book: what stands where nobody chose, by installation and by role, and the namespaces of
//! applications. An entity like the role book; its newest view is published to one pointer.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonschema::{Draft, PatternOptions, Validator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::actor::aggregate::{Aggregate, Note, Part};
use crate::kernel::fault::{FieldError, Malformed};
use crate::kernel::ids::{BookId, RoleId};
use crate::kernel::sheet::Sheet;
use crate::preferences::model::{CUSTOM, DIALECT, Layer, Namespace, namespace_of};
use crate::preferences::schema;
use crate::preferences::unfit::Unfit;
use crate::store::codec::Stored;
use crate::store::key::Kind;
use crate::store::{Commit, Key, Record, Revision, StoreError, codec};

/// The id of the one preference book of an instance.
pub const THE_PREFERENCES: BookId = BookId::from_uuid(Uuid::from_u128(2));

/// How much memory a pattern of a schema may take when it is compiled.
const MOST_PATTERN_BYTES: usize = 64 * 1024;
/// More complaints than so many help nobody.
const MOST_COMPLAINTS: usize = 20;
/// Where values and schemas together are more than this, complaints are not looked for one by one: whoever collects them
/// holds all of them at once.
const MOST_COMPARED: u64 = 50_000;

/// The preference book. Cheap to clone: entries are shared.
#[derive(Debug, Clone, Default)]
pub struct PreferenceBook {
    version: Revision,
    is_open: bool,
    installation: Arc<HeldLayer>,
    roles: BTreeMap<RoleId, Arc<HeldLayer>>,
    namespaces: BTreeMap<Box<str>, Arc<Registered>>,
}

/// Defaults in memory.
#[derive(Debug, Default)]
pub struct HeldLayer {
    layer: Layer,
    /// What of them was found not to fit last; whoever reads it checks whether it still counts.
    pub unfit: ArcSwap<Unfit>,
}

impl HeldLayer {
    /// These defaults, of which nothing is known yet.
    pub fn of(layer: Layer) -> Self {
        Self { layer, unfit: ArcSwap::default() }
    }
}

impl Deref for HeldLayer {
    type Target = Layer;

    fn deref(&self) -> &Layer {
        &self.layer
    }
}

impl AsRef<Sheet> for HeldLayer {
    fn as_ref(&self) -> &Sheet {
        &self.layer.values
    }
}

/// A namespace with its schema made ready.
pub struct Registered {
    /// The namespace.
    pub namespace: Namespace,
    /// How much work its schema makes, and what does it; none: an earlier version took a schema that makes too much.
    validator: Option<(u64, Validator)>,
}

/// What can happen to the preference book.
#[derive(Debug)]
pub enum PreferenceBookEvent {
    /// It was opened for the first time.
    Opened,
    /// The installation has other defaults.
    InstallationSet(Layer),
    /// A role has other defaults, or none any more.
    RoleSet(RoleId, Option<Layer>),
    /// A namespace came, or is another.
    NamespaceSet(Arc<Registered>),
    /// A namespace is gone.
    NamespaceRemoved(Box<str>),
}

/// The book's own record.
#[derive(Debug, Serialize, Deserialize)]
struct Head;

impl Stored for Head {
    const VERSION: u8 = 1;
}

impl Registered {
    /// Makes a namespace's schema ready: of draft 2020-12, without anything from elsewhere, with patterns that take time in
    /// proportion to the text.
    ///
    /// # Errors
    /// When it is no schema, or one that makes too much work.
    pub fn new(namespace: Namespace) -> Result<Self, Malformed> {
        let schema: Value =
            serde_json::from_str(&namespace.schema).map_err(|error| Malformed::new(error.to_string()))?;
        if schema.get("$schema").is_some_and(|dialect| dialect != DIALECT) {
            return Err(Malformed(format!("$schema can be {DIALECT} alone")));
        }
        schema::nodes(&schema)?;
        if !schema::admits_objects(&schema) {
            return Err(Malformed::new("no object fits it, and values of a namespace are one"));
        }
        Self::stored(namespace)
    }

    /// The same for one that was stored: nothing fits a schema that makes too much work.
    fn stored(namespace: Namespace) -> Result<Self, Malformed> {
        let schema: Value =
            serde_json::from_str(&namespace.schema).map_err(|error| Malformed::new(error.to_string()))?;
        let patterns = PatternOptions::regex().size_limit(MOST_PATTERN_BYTES).dfa_size_limit(MOST_PATTERN_BYTES);
        let options = jsonschema::options().with_draft(Draft::Draft202012).with_pattern_options(patterns).offline();
        let validator = options.build(&schema).map_err(|error| Malformed(format!("not a JSON Schema: {error}")))?;
        let validator = schema::nodes(&schema).ok().map(|nodes| (nodes, validator));
        Ok(Self { namespace, validator })
    }

    /// Whether these values fit its schema. As long as [`complaints`](Self::complaints) takes.
    pub fn fits(&self, values: &Value) -> bool {
        self.validator.as_ref().is_some_and(|(_, validator)| validator.is_valid(values))
    }

    /// What is wrong with these values. Large schemas take their time: not for a mailbox, nor for a worker.
    pub fn complaints(&self, values: &Value) -> Vec<FieldError> {
        let whole = |what: &str| vec![FieldError::new(format!("{CUSTOM}.{}", self.namespace.name), what)];
        let Some((nodes, validator)) = &self.validator else {
            return whole("its schema makes too much work; register another");
        };
        if validator.is_valid(values) {
            return Vec::new();
        }
        if nodes.saturating_mul(count(values)) > MOST_COMPARED {
            return whole("does not fit its schema");
        }
        let complaint = |error: jsonschema::ValidationError<'_>| {
            let at = error.instance_path().to_string().replace('/', ".");
            let message: String = error.to_string().chars().take(300).collect();
            FieldError::new(format!("{CUSTOM}.{}{at}", self.namespace.name), message)
        };
        validator.iter_errors(values).take(MOST_COMPLAINTS).map(complaint).collect()
    }

    /// The schema.
    pub fn schema(&self) -> Value {
        serde_json::from_str(&self.namespace.schema).unwrap_or_default()
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.namespace.fmt(f)
    }
}

impl PreferenceBook {
    /// The installation's defaults.
    pub const fn installation(&self) -> &Arc<HeldLayer> {
        &self.installation
    }

    /// A role's defaults.
    pub fn role(&self, id: RoleId) -> Option<&Arc<HeldLayer>> {
        self.roles.get(&id)
    }

    /// Whether no role has defaults.
    pub fn has_no_roles(&self) -> bool {
        self.roles.is_empty()
    }

    /// A namespace.
    pub fn namespace(&self, name: &str) -> Option<&Arc<Registered>> {
        self.namespaces.get(name)
    }

    /// Whether there is what stands at a path: a namespace, or a field.
    pub fn has(&self, path: &str) -> bool {
        namespace_of(path).is_none_or(|name| self.namespace(name).is_some())
    }

    /// Every namespace, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.namespaces.values()
    }
}

impl Aggregate for PreferenceBook {
    type Id = BookId;
    type Event = PreferenceBookEvent;
    const KIND: &'static str = "preference_book";

    fn id(&self) -> BookId {
        THE_PREFERENCES
    }

    fn vacant(_: BookId) -> Self {
        Self::default()
    }

    fn is_vacant(&self) -> bool {
        !self.is_open
    }

    fn head(id: BookId) -> Key {
        Key::of(Kind::PreferenceBook, &[id.bytes()])
    }

    fn parts(id: BookId) -> Vec<Part> {
        let all = |kind| Part::All(Key::of(kind, &[]));
        vec![Part::One(Self::head(id)), all(Kind::PreferenceLayer), all(Kind::PreferenceNamespace)]
    }

    fn from_records(_: BookId, records: Vec<Record>) -> Result<Self, StoreError> {
        let mut book = Self::default();
        for record in records {
            match record.key.kind() {
                Some(Kind::PreferenceBook) => (book.version, book.is_open) = (record.revision, true),
                Some(Kind::PreferenceLayer) => {
                    let layer = Arc::new(HeldLayer::of(codec::decode(&record.value)?));
                    match record.key.bytes().get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok()) {
                        Some(role) => _ = book.roles.insert(RoleId::from_bytes(role), layer),
                        None => book.installation = layer,
                    }
                }
                Some(Kind::PreferenceNamespace) => {
                    let namespace: Namespace = codec::decode(&record.value)?;
                    let registered = Registered::stored(namespace)
                        .map_err(|error| StoreError::Damaged(format!("{:?}: {error}", record.key)))?;
                    book.namespaces.insert(registered.namespace.name.clone(), Arc::new(registered));
                }
                _ => return Err(StoreError::Damaged(format!("{:?} is not part of a preference book", record.key))),
            }
        }
        Ok(book)
    }

    fn version(&self) -> Revision {
        self.version
    }

    fn stamp(&mut self, revision: Revision) {
        self.version = revision;
    }

    fn apply(&mut self, event: &PreferenceBookEvent) {
        match event {
            PreferenceBookEvent::Opened => self.is_open = true,
            PreferenceBookEvent::InstallationSet(layer) => self.installation = Arc::new(HeldLayer::of(layer.clone())),
            PreferenceBookEvent::RoleSet(id, Some(layer)) => {
                self.roles.insert(*id, Arc::new(HeldLayer::of(layer.clone())));
            }
            PreferenceBookEvent::RoleSet(id, None) => _ = self.roles.remove(id),
            PreferenceBookEvent::NamespaceSet(registered) => {
                self.namespaces.insert(registered.namespace.name.clone(), Arc::clone(registered));
            }
            PreferenceBookEvent::NamespaceRemoved(name) => _ = self.namespaces.remove(name),
        }
    }

    fn record(&self, _: &Self, event: &PreferenceBookEvent, commit: &mut Commit) -> Result<(), StoreError> {
        match event {
            PreferenceBookEvent::Opened => {}
            PreferenceBookEvent::InstallationSet(layer) => commit.put(layer_key(None), codec::encode(layer)?),
            PreferenceBookEvent::RoleSet(id, Some(layer)) => commit.put(layer_key(Some(*id)), codec::encode(layer)?),
            PreferenceBookEvent::RoleSet(id, None) => commit.remove(layer_key(Some(*id))),
            PreferenceBookEvent::NamespaceSet(registered) => {
                commit.put(namespace_key(&registered.namespace.name), codec::encode(&registered.namespace)?);
            }
            PreferenceBookEvent::NamespaceRemoved(name) => commit.remove(namespace_key(name)),
        }
        Ok(())
    }

    fn record_head(&self, commit: &mut Commit) -> Result<(), StoreError> {
        commit.put(Self::head(THE_PREFERENCES), codec::encode(&Head)?);
        Ok(())
    }

    fn note(&self, before: &Self, event: &PreferenceBookEvent) -> Option<Note> {
        let (action, target, before, after) = match event {
            PreferenceBookEvent::Opened => return None,
            PreferenceBookEvent::InstallationSet(layer) => {
                let (old, new) = (told(&before.installation, Some(layer)), told(layer, Some(&before.installation)));
                ("preferences.defaults_set", "installation".to_owned(), Some(old), Some(new))
            }
            PreferenceBookEvent::RoleSet(id, layer) => {
                let (before, after) = (before.role(*id).map(|layer| &***layer), layer.as_ref());
                let old = before.map(|layer| told(layer, after));
                ("preferences.role_defaults_set", id.to_string(), old, after.map(|layer| told(layer, before)))
            }
            PreferenceBookEvent::NamespaceSet(registered) => {
                let name = &registered.namespace.name;
                let old = before.namespace(name).map(|old| old.schema());
                ("preferences.namespace_set", name.to_string(), old, Some(registered.schema()))
            }
            PreferenceBookEvent::NamespaceRemoved(name) => {
                let old = before.namespace(name).map(|old| old.schema());
                ("preferences.namespace_removed", name.to_string(), old, None)
            }
        };
        Some(Note { action, target, before, after })
    }
}

/// What is told of defaults beside others: values of namespaces, which may be large, where they are not the same.
fn told(layer: &Layer, beside: Option<&Layer>) -> Value {
    let is_told = |path: &str| {
        namespace_of(path).is_none() || beside.is_none_or(|beside| beside.values.json(path) != layer.values.json(path))
    };
    json!({ "priority": layer.priority, "values": layer.values.filtered(is_told).object() })
}

/// How many values there are, those within others too.
fn count(values: &Value) -> u64 {
    match values {
        Value::Array(values) => 1 + values.iter().map(count).sum::<u64>(),
        Value::Object(values) => 1 + values.values().map(count).sum::<u64>(),
        _ => 1,
    }
}

/// The installation's own layer has no role.
fn layer_key(role: Option<RoleId>) -> Key {
    role.map_or_else(|| Key::of(Kind::PreferenceLayer, &[]), |role| Key::of(Kind::PreferenceLayer, &[role.bytes()]))
}

fn namespace_key(name: &str) -> Key {
    Key::of(Kind::PreferenceNamespace, &[name.as_bytes()])
}

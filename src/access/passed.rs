//! What a caller tells beside the question itself: for conditions alone.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::access::pattern::Scope;
use crate::kernel::weight::refuse_heavy;
use crate::resources::model::{Known, Lineage, ResourceName};
use crate::store::Revision;

/// The largest object that a caller may pass with a check, in bytes of JSON; what it takes in memory is bounded too.
pub const MAX_TOLD_BYTES: usize = 16 * 1024;

/// An object of JSON, parsed when a condition asks for it. Clones share it.
#[derive(Debug, Clone)]
pub struct Told(Arc<Text>);

#[derive(Debug)]
struct Text {
    json: Box<RawValue>,
    object: OnceLock<Option<Map<String, Value>>>,
}

/// What is stored of the resource that a check is about.
#[derive(Debug, Clone)]
pub struct Standing {
    known: Arc<Known>,
    /// The newest commit that it is made of.
    pub revision: Revision,
    /// Whether the caller asks about it in another place than it is in.
    pub is_elsewhere: bool,
    /// Where it is; everywhere: nowhere in particular.
    pub scope: Scope,
}

impl Standing {
    /// Of a question that passes this scope; none where the resource is not stored.
    pub fn of(lineage: &Lineage, passed: &Scope) -> Option<Self> {
        let known = Arc::clone(lineage.resource()?);
        let scope = lineage.scope().cloned().unwrap_or_default();
        let is_elsewhere = !scope.is_everywhere() && !passed.is_everywhere() && *passed != scope;
        Some(Self { known, revision: lineage.revision(), is_elsewhere, scope })
    }

    /// Of a question that passes no scope about a resource that is here.
    pub fn at(known: Arc<Known>, scope: Scope) -> Self {
        Self { revision: known.revision, known, is_elsewhere: false, scope }
    }

    /// Its name.
    pub fn name(&self) -> Option<&ResourceName> {
        self.known.resource.as_ref().map(|resource| &resource.name)
    }

    /// Its properties.
    pub fn properties(&self) -> Option<&Map<String, Value>> {
        self.known.properties()
    }
}

impl PartialEq for Standing {
    fn eq(&self, other: &Self) -> bool {
        (self.revision, &self.known.resource, &self.scope) == (other.revision, &other.known.resource, &other.scope)
    }
}

/// Everything told with one check, and what is stored of its resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Passed {
    /// What the caller calls the subject's kind; none: `user` or `app`.
    pub subject_type: Option<Box<str>>,
    /// Facts about the subject; they win over stored ones.
    pub subject_properties: Option<Told>,
    /// Facts about what is done.
    pub action_properties: Option<Told>,
    /// The resource's type, where it is not the first half of the permission's name.
    pub resource_type: Option<Box<str>>,
    /// Which resource.
    pub resource_id: Option<Box<str>>,
    /// Facts about the resource; they win over stored ones.
    pub resource_properties: Option<Told>,
    /// Everything else.
    pub context: Option<Told>,
    /// What is stored of the resource; the caller does not say it.
    pub standing: Option<Standing>,
}

impl Passed {
    /// Nothing.
    pub const NOTHING: &'static Self = &Self {
        subject_type: None,
        subject_properties: None,
        action_properties: None,
        resource_type: None,
        resource_id: None,
        resource_properties: None,
        context: None,
        standing: None,
    };
}

impl Told {
    /// The members; none where the text cannot be read, which is refused when it comes.
    pub fn object(&self) -> Option<&Map<String, Value>> {
        self.0.object.get_or_init(|| serde_json::from_str(self.0.json.get()).ok()).as_ref()
    }
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.json.get() == other.0.json.get()
    }
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        if !json.get().starts_with('{') {
            return Err(D::Error::custom("expected an object"));
        }
        if json.get().len() > MAX_TOLD_BYTES {
            let found = json.get().len();
            return Err(D::Error::custom(format!("expected at most {MAX_TOLD_BYTES} bytes of JSON, found {found}")));
        }
        refuse_heavy(json.get()).map_err(D::Error::custom)?;
        Ok(Self(Arc::new(Text { json, object: OnceLock::new() })))
    }
}

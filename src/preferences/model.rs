//! What somebody prefers, and the namespaces of applications.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::sheet::Sheet;
use crate::store::codec::Stored;

/// Where the values of applications stand in a sheet.
pub const CUSTOM: &str = "custom";
/// The most bytes of JSON in one namespace of one person, or of one layer of defaults.
pub const MOST_NAMESPACE_BYTES: usize = 8 * 1024;
/// The most bytes of JSON in all namespaces of one person: 50 changes of it, before and after, are kept. The same for one
/// layer of defaults, which is in memory.
pub const MOST_CUSTOM_BYTES: usize = 64 * 1024;
/// The most bytes of a namespace's JSON Schema.
pub const MOST_SCHEMA_BYTES: usize = 16 * 1024;
/// What namespaces' schemas are written in.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The most namespaces.
pub const MOST_NAMESPACES: usize = 64;

/// What a person chose. What was never written is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// Counts the changes; 0 was never written.
    pub version: u64,
    /// What was chosen, by the paths of [`FIELDS`](super::fields::FIELDS) and, for each namespace, `custom.<name>`.
    pub own: Sheet,
    /// When they were last written.
    pub updated_at: Option<Timestamp>,
}

impl Stored for Preferences {
    const VERSION: u8 = 1;
}

impl AsRef<Sheet> for Preferences {
    fn as_ref(&self) -> &Sheet {
        &self.own
    }
}

/// The version of somebody's preferences, which is in memory with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreferenceMarks {
    /// The version.
    pub version: u64,
}

impl Stored for PreferenceMarks {
    const VERSION: u8 = 1;
}

/// What stands where a person chose nothing: of the installation, or for holders of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Which of several roles counts: the greatest, and of equals the role whose name comes first.
    pub priority: u32,
    /// The values, by the same paths.
    pub values: Sheet,
    /// When it was last written.
    pub updated_at: Timestamp,
}

impl Stored for Layer {
    const VERSION: u8 = 1;
}

impl AsRef<Sheet> for Layer {
    fn as_ref(&self) -> &Sheet {
        &self.values
    }
}

/// A part of the preferences that an application fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its name.
    pub name: Box<str>,
    /// What it is for.
    pub description: Option<Box<str>>,
    /// The JSON Schema of its values, as JSON.
    pub schema: Box<str>,
    /// When it was last written.
    pub updated_at: Timestamp,
}

impl Stored for Namespace {
    const VERSION: u8 = 1;
}

/// The name of the namespace whose values stand at a path, if it is one.
pub fn namespace_of(path: &str) -> Option<&str> {
    path.strip_prefix(CUSTOM)?.strip_prefix('.')
}

/// Whether this may be the name of a namespace: 1 to 64 of `a-z 0-9 _ -`.
pub fn is_namespace(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
}

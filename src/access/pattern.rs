//! The words of access control: permission names, patterns over them, effects and scopes.
//!
//! INVARIANT: a name holds exactly one colon and no asterisk, so a name is never mistaken for a wildcard.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::kernel::fault::Malformed;

/// The longest permission name or pattern, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// The longest scope, in bytes, so that an assignment's key fits the store.
pub const MAX_SCOPE_BYTES: usize = 200;
/// Resources of the product itself begin so; only the product defines permissions on them.
pub const RESERVED_PREFIX: &str = "sesame.";

/// The name of a permission, `resource:action`, such as `documents:read`. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermissionName(Arc<str>);

/// Maps keyed by names are asked with plain text.
impl Borrow<str> for PermissionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PermissionName {
    /// Checks the form: two segments of `A-Z a-z 0-9 . _ - /`, joined by a colon, at most 128 bytes.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let ok = text.len() <= MAX_NAME_BYTES
            && text.split_once(':').is_some_and(|(resource, action)| is_segment(resource) && is_segment(action));
        ok.then(|| Self(text.into())).ok_or_else(|| {
            Malformed::new("expected a name such as documents:read, of letters, digits and . _ - / around one colon")
        })
    }

    /// The name that AuthZEN's `resource.type` and `action.name` mean together.
    pub fn of(resource: &str, action: &str) -> Result<Self, Malformed> {
        Self::parse(&format!("{resource}:{action}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is acted on.
    pub fn resource(&self) -> &str {
        self.0.split_once(':').map_or("", |(resource, _)| resource)
    }

    /// What is done.
    pub fn action(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, action)| action)
    }

    /// Whether only the product itself may define this permission.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED_PREFIX)
    }
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'))
}

/// Which permissions a rule is about: `documents:read`, `documents:*`, `*:read` or `*`.
///
/// A wildcard over resources (`*:read`, `*`) never means the product's own permissions (`sesame.…`): a role meant for
/// the application's documents does not administer Sesame. `sesame.users:*` has to be said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// One permission.
    Exact(PermissionName),
    /// Every action on a resource.
    Resource(Box<str>),
    /// One action on every resource that is not the product's own.
    Action(Box<str>),
    /// Everything that is not the product's own.
    All,
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let wrong =
            || Malformed::new("expected a pattern such as documents:read, documents:*, *:read or *, at most 128 bytes");
        if text.len() > MAX_NAME_BYTES {
            return Err(wrong());
        }
        match text.split_once(':') {
            None if text == "*" => Ok(Self::All),
            None => Err(wrong()),
            Some(("*", "*")) => Ok(Self::All),
            Some((resource, "*")) if is_segment(resource) => Ok(Self::Resource(resource.into())),
            Some(("*", action)) if is_segment(action) => Ok(Self::Action(action.into())),
            Some(_) => PermissionName::parse(text).map(Self::Exact).map_err(|_| wrong()),
        }
    }

    /// Whether the rule is about this permission.
    pub fn matches(&self, name: &PermissionName) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Resource(resource) => name.resource() == &**resource,
            Self::Action(action) => name.action() == &**action && !name.is_reserved(),
            Self::All => !name.is_reserved(),
        }
    }

    /// Whether it is about the product's own permissions: no wildcard over resources is.
    pub fn is_reserved(&self) -> bool {
        match self {
            Self::Exact(name) => name.is_reserved(),
            Self::Resource(resource) => resource.starts_with(RESERVED_PREFIX),
            Self::Action(_) | Self::All => false,
        }
    }
}

impl fmt::Display for PermissionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Resource(resource) => write!(f, "{resource}:*"),
            Self::Action(action) => write!(f, "*:{action}"),
            Self::All => f.write_str("*"),
        }
    }
}

/// A place in a hierarchy of places, such as `org/acme/project/7`; the empty scope is everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Scope(Box<str>);

impl Scope {
    /// Reads a path of non-empty segments of printable text without spaces, joined by `/`; at most 200 bytes.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let ok = text.len() <= MAX_SCOPE_BYTES
            && text.split('/').all(|segment| {
                !segment.is_empty() && !segment.chars().any(|c| c.is_control() || c.is_whitespace() || c == '*')
            });
        ok.then(|| Self(text.into()))
            .ok_or_else(|| Malformed::new("expected a path such as org/acme/project/7, at most 200 bytes"))
    }

    /// The scope that contains every other.
    pub fn everywhere() -> Self {
        Self::default()
    }

    /// Whether this is everywhere.
    pub fn is_everywhere(&self) -> bool {
        self.0.is_empty()
    }

    /// The path; empty for everywhere.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether something given here holds there: the same place or below.
    pub fn contains(&self, other: &Self) -> bool {
        self.is_everywhere()
            || other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// This place and every place that contains it, from everywhere down.
    pub fn lineage(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| at);
        let own = (!self.is_everywhere()).then_some(self.0.len());
        std::iter::once(0).chain(ends).chain(own).map(|end| self.0.get(..end).unwrap_or_default())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a rule gives or takes; a taking rule wins over every giving one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Gives the permission.
    Allow,
    /// Takes it, whatever else gives it.
    Deny,
}

/// Text forms in records and on the wire are the same.
macro_rules! as_text {
    ($($type:ident($from:expr);)+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                $from(&text).map_err(D::Error::custom)
            }
        }
    )+};
}

as_text! {
    PermissionName(PermissionName::parse);
    Pattern(Pattern::parse);
    Scope(|text: &str| if text.is_empty() { Ok(Scope::default()) } else { Scope::parse(text) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        let check = |pattern: &str, name: &str, expected: bool| {
            let matched = Pattern::parse(pattern).unwrap().matches(&PermissionName::parse(name).unwrap());
            assert_eq!(matched, expected, "{pattern} on {name}");
        };
        check("documents:read", "documents:read", true);
        check("documents:read", "documents:write", false);
        check("documents:*", "documents:write", true);
        check("documents:*", "documents.old:write", false);
        check("*:read", "documents:read", true);
        check("*:read", "sesame.users:read", false);
        check("*", "documents:read", true);
        check("*", "sesame.users:read", false);
        check("sesame.users:*", "sesame.users:read", true);
    }

    #[test]
    fn malformed_words_are_refused() {
        for text in ["", ":", "a:", ":b", "a", "a:b:c", "a b:c", "a:*", "*", "ä:b", &format!("a:{}", "b".repeat(128))]
        {
            assert!(PermissionName::parse(text).is_err(), "{text:?}");
        }
        for text in ["", "**", "a*:b", "a:b*", "a:b:*", "*:", ":*"] {
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
        for text in ["", "/", "a/", "/a", "a//b", "a b", "a/*"] {
            assert!(Scope::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_scope_holds_in_its_place_and_below() {
        let scope = |text: &str| Scope::parse(text).unwrap();
        assert!(scope("org/acme").contains(&scope("org/acme")));
        assert!(scope("org/acme").contains(&scope("org/acme/project/7")));
        assert!(!scope("org/acme").contains(&scope("org/acme2")));
        assert!(!scope("org/acme").contains(&scope("org")));
        assert!(Scope::everywhere().contains(&scope("org")));
        assert!(!scope("org").contains(&Scope::everywhere()));
        assert_eq!(scope("a/b/c").lineage().collect::<Vec<_>>(), ["", "a", "a/b", "a/b/c"]);
        assert_eq!(Scope::everywhere().lineage().collect::<Vec<_>>(), [""]);
    }
}

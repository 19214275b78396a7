//! Who may see what of a profile, and what a person consents to.

use std::cell::OnceCell;
use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::access::pattern::{PermissionName, Scope};
use crate::kernel::catalogue::{Catalogue, Field, Rule};
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::Malformed;
use crate::kernel::sheet::Sheet;
use crate::profiles::settings::Settings;
use crate::store::codec::Stored;

/// What a profile consists of for others; each has an audience.
pub const SHOWN: [&str; 10] = [
    "display_name",
    "bio",
    "location",
    "website",
    "social_links",
    "date_of_birth",
    "phone_number",
    "emergency_contact",
    "avatar_url",
    "verified",
];

/// Who may see each.
pub const AUDIENCES: Catalogue = Catalogue(&[
    audience("display_name"),
    audience("bio"),
    audience("location"),
    audience("website"),
    audience("social_links"),
    audience("date_of_birth"),
    audience("phone_number"),
    audience("emergency_contact"),
    audience("avatar_url"),
    audience("verified"),
]);

const fn audience(path: &'static str) -> Field {
    Field { path, about: "Who may see it.", rule: Rule::Json(accept, schema), default: "" }
}

/// Who may see something. The owner, and whoever may read users, always may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Nobody else.
    Nobody,
    /// Everybody who is signed in, and applications with a key.
    SignedIn,
    /// Whoever was given something in the same scope, or in one around it or within it. Denials give nothing.
    SameScope,
    /// Whoever a check of this permission, everywhere and with nothing passed, would allow it.
    HoldersOf(PermissionName),
    /// Everybody.
    Everyone,
}

impl Audience {
    /// Reads the form in which it is kept and written: a word, or an object with the name of a permission.
    pub fn read(value: &Value) -> Result<Self, Malformed> {
        let wrong = || {
            Malformed::new(r#"expected nobody, signed_in, same_scope, everyone or {"permission": "documents:read"}"#)
        };
        match value {
            Value::String(word) => match word.as_str() {
                "nobody" => Ok(Self::Nobody),
                "signed_in" => Ok(Self::SignedIn),
                "same_scope" => Ok(Self::SameScope),
                "everyone" => Ok(Self::Everyone),
                _ => Err(wrong()),
            },
            Value::Object(object) if object.len() == 1 => {
                let name = object.get("permission").and_then(Value::as_str).ok_or_else(wrong)?;
                PermissionName::parse(name).map(Self::HoldersOf)
            }
            _ => Err(wrong()),
        }
    }
}

fn accept(value: &Value) -> Result<Value, Malformed> {
    Audience::read(value).map(|_| value.clone())
}

fn schema() -> Value {
    let permission = json!({
        "type": "object", "properties": { "permission": { "type": "string" } }, "required": ["permission"],
        "additionalProperties": false,
    });
    json!({ "oneOf": [{ "enum": ["nobody", "signed_in", "same_scope", "everyone", null] }, permission] })
}

/// What is known of whoever looks.
pub trait Viewer {
    /// Whether they see everything: the owner, or whoever may read users.
    fn sees_everything(&self) -> bool;
    /// Whether they said who they are.
    fn is_signed_in(&self) -> bool;
    /// Whether they were given something in a scope of the owner.
    fn shares_a_scope(&self) -> bool;
    /// Whether a check would allow them this permission, everywhere and with nothing passed.
    fn holds(&self, permission: &PermissionName) -> bool;
}

/// A viewer of whom what takes work is found out when it is first asked for, and not again: there are many fields.
#[derive(Debug)]
pub struct AskedOnce<V> {
    viewer: V,
    sees_everything: OnceCell<bool>,
    shares_a_scope: OnceCell<bool>,
}

impl<V: Viewer> AskedOnce<V> {
    /// Nothing was asked yet.
    pub const fn of(viewer: V) -> Self {
        Self { viewer, sees_everything: OnceCell::new(), shares_a_scope: OnceCell::new() }
    }
}

impl<V: Viewer> Viewer for AskedOnce<V> {
    fn sees_everything(&self) -> bool {
        *self.sees_everything.get_or_init(|| self.viewer.sees_everything())
    }
    fn is_signed_in(&self) -> bool {
        self.viewer.is_signed_in()
    }
    fn shares_a_scope(&self) -> bool {
        *self.shares_a_scope.get_or_init(|| self.viewer.shares_a_scope())
    }
    fn holds(&self, permission: &PermissionName) -> bool {
        self.viewer.holds(permission)
    }
}

/// Whether one of these places is one of those, or around one, or within one: each is looked at once, however many there
/// are of the others.
pub fn meet<'a>(some: impl Iterator<Item = &'a Scope>, others: impl IntoIterator<Item = &'a Scope>) -> bool {
    let (mut places, mut around) = (HashSet::new(), HashSet::new());
    for scope in some {
        places.insert(scope.as_str());
        around.extend(scope.lineage());
    }
    let is_near = |scope: &Scope| around.contains(scope.as_str()) || scope.lineage().any(|it| places.contains(it));
    others.into_iter().any(is_near)
}

/// Whether a viewer belongs to an audience.
pub fn may_see(audience: &Audience, viewer: &impl Viewer) -> bool {
    viewer.sees_everything()
        || match audience {
            Audience::Nobody => false,
            Audience::SignedIn => viewer.is_signed_in(),
            Audience::SameScope => viewer.is_signed_in() && viewer.shares_a_scope(),
            Audience::HoldersOf(permission) => viewer.holds(permission),
            Audience::Everyone => true,
        }
}

/// The audience of a field: what its owner chose, else the installation's.
pub fn audience_of(field: &str, chosen: &Sheet, settings: &Settings) -> Audience {
    let own = chosen.value(field).and_then(|value| Audience::read(&value).ok());
    own.unwrap_or_else(|| {
        let names = |list: &[String]| list.iter().any(|name| name == field);
        if names(&settings.visible_to_everyone) {
            Audience::Everyone
        } else if names(&settings.visible_to_signed_in) {
            Audience::SignedIn
        } else if names(&settings.visible_in_same_scope) {
            Audience::SameScope
        } else {
            Audience::Nobody
        }
    })
}

/// An audience as it is written.
pub fn told(audience: &Audience) -> Value {
    match audience {
        Audience::Nobody => json!("nobody"),
        Audience::SignedIn => json!("signed_in"),
        Audience::SameScope => json!("same_scope"),
        Audience::HoldersOf(name) => json!({ "permission": name.as_str() }),
        Audience::Everyone => json!("everyone"),
    }
}

/// After so many changes of consents of one person nothing but withdrawing what is granted changes any: what was said is
/// kept, so that whoever said it cannot make it forgotten by saying more.
pub const KEPT_CONSENTS: usize = 500;

/// What a person said about one use of their data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// To what.
    pub purpose: Box<str>,
    /// Whether it was given; else it was refused or withdrawn.
    pub is_granted: bool,
    /// The version of the text that they were shown.
    pub text_version: Box<str>,
    /// When.
    pub at: Timestamp,
    /// Who said so.
    pub by: Actor,
    /// Through what: a word of the application, such as `sign-up-form`.
    pub source: Box<str>,
}

impl Stored for Consent {
    const VERSION: u8 = 1;
}

/// A consent as somebody gives or withdraws it.
#[derive(Debug, Clone)]
pub struct GivenConsent {
    /// To what.
    pub purpose: Box<str>,
    /// Whether it is given.
    pub is_granted: bool,
    /// The version of the text.
    pub text_version: Box<str>,
    /// Through what.
    pub source: Box<str>,
}

/// A short word that programs write: 1 to 64 of `a-z A-Z 0-9 . _ -`.
pub fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// What a viewer may see of everything: members they may not see are absent.
pub fn visible(whole: Map<String, Value>, sees: impl Fn(&str) -> bool) -> Map<String, Value> {
    whole.into_iter().filter(|(name, _)| SHOWN.contains(&name.as_str()) && sees(name)).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Counted(Cell<u32>);

    impl Viewer for &Counted {
        fn sees_everything(&self) -> bool {
            self.0.set(self.0.get() + 1);
            false
        }
        fn is_signed_in(&self) -> bool {
            true
        }
        fn shares_a_scope(&self) -> bool {
            self.0.set(self.0.get() + 100);
            true
        }
        fn holds(&self, _: &PermissionName) -> bool {
            false
        }
    }

    #[test]
    fn every_field_has_a_place_of_its_own() {
        assert!(AUDIENCES.is_in_order());
    }

    #[test]
    fn what_takes_work_is_asked_once_and_only_if_it_matters() {
        let work = Counted::default();
        let viewer = AskedOnce::of(&work);
        assert!((0..10).all(|_| may_see(&Audience::SignedIn, &viewer)));
        assert_eq!(work.0.get(), 1);
        assert!((0..10).all(|_| may_see(&Audience::SameScope, &viewer)));
        assert_eq!(work.0.get(), 101);
    }

    fn place() -> impl Strategy<Value = Scope> {
        vec(prop_oneof!["a", "b", "ab"], 1..4).prop_map(|path| Scope::parse(&path.join("/")).unwrap())
    }

    proptest! {
        #[test]
        fn places_meet_where_one_contains_another(some in vec(place(), 0..6), others in vec(place(), 0..6)) {
            let naive = some.iter().any(|one| others.iter().any(|other| one.contains(other) || other.contains(one)));
            prop_assert_eq!(meet(some.iter(), &others), naive);
        }
    }
}

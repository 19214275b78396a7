//! Whom a check is about, and whom the subjects of AuthZEN mean: which of a user's names a subject of some type may be
//! called by.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroize as _;

use crate::accounts::model::{Account, Name, Nature, subject_text};
use crate::kernel::fault::Malformed;
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::setting::text_setting;
use crate::kernel::text::{Email, ExternalId, Username};

/// Whom a check is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// By id.
    Id(UserId),
    /// By id, if it is a subject of this nature.
    OfNature(UserId, Nature),
    /// By a unique name.
    Named(Name),
    /// By one of several names; the first that somebody bears counts.
    Called(Box<[Name]>),
    /// Whoever is signed in with this token.
    Session(ShownToken),
    /// A user in one of their sessions.
    SessionOf(UserId, SessionId),
    /// Nobody there can be (a name that no subject can bear).
    Nobody,
}

/// The token of somebody's session, as it is shown with a question. Clones share the text, which is wiped when the last
/// of them goes (unless two go at the same instant).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ShownToken(Arc<str>);

/// The longest token that can be one, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;

impl ShownToken {
    /// A text that may be a token.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let is_short = text.len() <= MAX_TOKEN_BYTES;
        is_short.then(|| Self(text.into())).ok_or_else(|| Malformed::new("expected a token of at most 4096 bytes"))
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for ShownToken {
    fn drop(&mut self) {
        if let Some(text) = Arc::get_mut(&mut self.0) {
            text.zeroize();
        }
    }
}

impl fmt::Debug for ShownToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShownToken(…)")
    }
}

impl<'de> Deserialize<'de> for ShownToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = ShownToken;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a token")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ShownToken, E> {
                ShownToken::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// How subjects of one type are looked for: `employee external_id email`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectRule {
    kind: String,
    names: Vec<NameKind>,
}

/// One way to call a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameKind {
    Id,
    ExternalId,
    Username,
    Email,
    App,
}

impl NameKind {
    const ALL: [(&str, Self); 5] = [
        ("id", Self::Id),
        ("external_id", Self::ExternalId),
        ("username", Self::Username),
        ("email", Self::Email),
        ("app", Self::App),
    ];

    fn text(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, kind)| *kind == self).map_or("", |(text, _)| text)
    }

    /// What a subject is called in this way, if it is.
    fn called(self, id: UserId, account: &Account) -> Option<String> {
        let own = |nature| (account.nature == nature).then(|| account.username.to_string());
        match self {
            Self::Id => Some(subject_text(id, account.nature)),
            Self::ExternalId => account.external_id.as_ref().map(ToString::to_string),
            Self::Username => own(Nature::Person),
            Self::Email => account.email.as_ref().map(ToString::to_string),
            Self::App => own(Nature::App),
        }
    }

    fn name(self, text: &str) -> Option<Name> {
        match self {
            Self::Id => None,
            Self::ExternalId => ExternalId::parse(text).ok().map(Name::ExternalId),
            Self::Username => Username::parse(text).ok().map(Name::Username),
            Self::Email => Email::parse(text).ok().map(Name::Email),
            Self::App => Username::parse(text).ok().map(Name::App),
        }
    }
}

impl SubjectRule {
    /// People by every name they have, and applications.
    pub fn usual() -> Vec<Self> {
        let rule = |kind: &str, names: &[NameKind]| Self { kind: kind.to_owned(), names: names.to_vec() };
        let person = [NameKind::Id, NameKind::ExternalId, NameKind::Username, NameKind::Email];
        vec![rule("user", &person), rule("app", &[NameKind::Id, NameKind::App])]
    }

    /// Which subjects it is about: applications, where it knows nothing of people.
    fn nature(&self) -> Nature {
        let is_of_apps = self.names.iter().all(|name| matches!(name, NameKind::Id | NameKind::App));
        if is_of_apps && self.names.contains(&NameKind::App) { Nature::App } else { Nature::Person }
    }
}

/// Whom a subject of this type and id means, by the first rule about the type.
pub fn subject_of(rules: &[SubjectRule], kind: &str, id: &str) -> Subject {
    let Some(rule) = rules.iter().find(|rule| rule.kind == kind) else { return Subject::Nobody };
    if rule.names.contains(&NameKind::Id) {
        let nature = rule.nature();
        if let Ok(id) = UserId::parse_with(nature.id_prefix(), id) {
            return Subject::OfNature(id, nature);
        }
    }
    let mut names: Vec<Name> = rule.names.iter().filter_map(|name| name.name(id)).collect();
    match names.len() {
        0 => Subject::Nobody,
        1 => names.pop().map_or(Subject::Nobody, Subject::Named),
        _ => Subject::Called(names.into()),
    }
}

/// What a subject may be called as one of this type: by the application's own id if the type is known by that, else in the
/// order of the first rule about the type. Somebody else may be meant by it, who is called so in a way that counts before.
pub fn names_of(rules: &[SubjectRule], kind: &str, id: UserId, account: &Account) -> Vec<Box<str>> {
    let Some(rule) = rules.iter().find(|rule| rule.kind == kind) else { return Vec::new() };
    let mut ways = rule.names.clone();
    ways.sort_by_key(|way| *way != NameKind::ExternalId);
    ways.into_iter().filter_map(|way| way.called(id, account)).map(Into::into).collect()
}

/// Which subjects are of this type, by the first rule about it: applications, where it knows nothing of people.
pub fn nature_of(rules: &[SubjectRule], kind: &str) -> Option<Nature> {
    rules.iter().find(|rule| rule.kind == kind).map(SubjectRule::nature)
}

impl FromStr for SubjectRule {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || {
            Malformed::new(
                "expected a type of subject and names it is known by: user id external_id username email app",
            )
        };
        let mut words = text.split_whitespace();
        let kind = words.next().ok_or_else(wrong)?.to_owned();
        let name = |word| NameKind::ALL.iter().find(|(text, _)| *text == word).map(|(_, kind)| *kind).ok_or_else(wrong);
        let names = words.map(name).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() { Err(wrong()) } else { Ok(Self { kind, names }) }
    }
}

impl fmt::Display for SubjectRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        self.names.iter().try_for_each(|name| write!(f, " {}", name.text()))
    }
}

text_setting!(SubjectRule, "a type of subject and names it is known by: user id external_id username email");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_shown_is_in_no_text_about_it() {
        let subject = Subject::Session(ShownToken::parse("ssm_st_secret").unwrap());
        assert_eq!(format!("{subject:?}"), "Session(ShownToken(…))");
        assert!(ShownToken::parse(&"a".repeat(MAX_TOKEN_BYTES)).is_ok());
        assert!(ShownToken::parse(&"a".repeat(MAX_TOKEN_BYTES + 1)).is_err());
    }
}

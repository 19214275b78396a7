//! What assignments and grants have in common on the wire: rules, where and when they hold, who gave them.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::access::escalation::Donor;
use crate::access::model::{Bounds, Given, Rule};
use crate::access::pattern::{Effect, Pattern, Scope};
use crate::access::role_book::RoleBook;
use crate::http::Call;
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;

/// The caller, as somebody who gives or takes.
pub(super) fn donor<'a>(call: &'a Call, book: &'a RoleBook) -> Donor<'a> {
    Donor { book, user: call.caller.user(), now: call.now }
}

/// A rule as a caller writes it: a pattern, meaning allow, or `{effect, pattern}`.
pub(super) struct RuleInput(pub(super) Rule);

/// A rule.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleView {
    pub(super) effect: Effect,
    /// `documents:read`, `documents:*`, `*:read` or `*`.
    #[schema(value_type = String)]
    pub(super) pattern: Pattern,
}

impl From<&Rule> for RuleView {
    fn from(rule: &Rule) -> Self {
        Self { effect: rule.effect, pattern: rule.pattern.clone() }
    }
}

impl<'de> Deserialize<'de> for RuleInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RuleVisitor).map(Self)
    }
}

struct RuleVisitor;

impl<'de> Visitor<'de> for RuleVisitor {
    type Value = Rule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pattern such as documents:read, or {\"effect\": …, \"pattern\": …}")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Rule, E> {
        Pattern::parse(text).map(|pattern| Rule { effect: Effect::Allow, pattern }).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
        let view = RuleView::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Rule { effect: view.effect, pattern: view.pattern })
    }
}

/// The bounds that optional fields mean.
pub(super) fn bounds(scope: Option<Scope>, not_before: Option<Timestamp>, expires_at: Option<Timestamp>) -> Bounds {
    Bounds { scope: scope.unwrap_or_default(), not_before, expires_at }
}

/// A scope as it is shown: none is everywhere.
pub(super) fn shown_scope(scope: &Scope) -> Option<String> {
    (!scope.is_everywhere()).then(|| scope.to_string())
}

/// Who gave something, as an id; none is the service itself.
pub(super) fn giver(given: &Given) -> Option<String> {
    match &given.by {
        Actor::Person(id) => Some(id.to_string()),
        Actor::App(id) => Some(id.text_with("app")),
        Actor::System | Actor::Anonymous => None,
    }
}

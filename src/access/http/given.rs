//! What assignments and grants have in common on the wire: rules, where and when they hold, who gave them.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::access::condition::Condition;
use crate::access::model::Rule;
use crate::access::pattern::{Effect, Pattern, Scope};
use crate::access::product::ProductPermission;
use crate::access::review::change::Change;
use crate::http::{Call, Problem};
use crate::kernel::cause::Actor;
use crate::kernel::fault::FieldError;

/// A rule as a caller writes it: a pattern, meaning allow, or `{effect, pattern, condition?}`. Its condition is not
/// compiled yet.
pub(super) struct RuleInput(RuleView);

/// A rule.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleView {
    pub(super) effect: Effect,
    /// `documents:read`, `documents:*`, `*:read` or `*`.
    #[schema(value_type = String)]
    pub(super) pattern: Pattern,
    /// When it speaks, in CEL; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) condition: Option<String>,
}

impl From<&Rule> for RuleView {
    fn from(rule: &Rule) -> Self {
        let condition = rule.condition.as_ref().map(|condition| condition.source().to_owned());
        Self { effect: rule.effect, pattern: rule.pattern.clone(), condition }
    }
}

impl<'de> Deserialize<'de> for RuleInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RuleVisitor).map(Self)
    }
}

struct RuleVisitor;

impl<'de> Visitor<'de> for RuleVisitor {
    type Value = RuleView;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pattern such as documents:read, or {\"effect\": …, \"pattern\": …}")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RuleView, E> {
        let view = |pattern| RuleView { effect: Effect::Allow, pattern, condition: None };
        Pattern::parse(text).map(view).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RuleView, A::Error> {
        RuleView::deserialize(MapAccessDeserializer::new(map))
    }
}

/// The rules that a caller wrote, their conditions compiled; `field` holds them.
pub(super) async fn rules(call: &Call, field: &str, written: Vec<RuleInput>) -> Result<Vec<Rule>, Problem> {
    let mut rules = Vec::with_capacity(written.len());
    let (mut texts, mut places) = (Vec::new(), Vec::new());
    for (index, RuleInput(RuleView { effect, pattern, condition })) in written.into_iter().enumerate() {
        if let Some(condition) = condition {
            texts.push((format!("{field}[{index}].condition"), condition));
            places.push(index);
        }
        rules.push(Rule { effect, pattern, condition: None });
    }
    for (index, condition) in places.into_iter().zip(conditions(call, texts).await?) {
        if let Some(rule) = rules.get_mut(index) {
            rule.condition = Some(condition);
        }
    }
    Ok(rules)
}

/// Compiles conditions, each with the field that it stands in, where it keeps nobody waiting.
///
/// # Errors
/// 400 that names each field with a condition that cannot be compiled, with line and column.
pub(super) async fn conditions(call: &Call, texts: Vec<(String, String)>) -> Result<Vec<Condition>, Problem> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let compile = move || {
        let (mut made, mut wrong) = (Vec::with_capacity(texts.len()), Vec::new());
        for (field, text) in texts {
            match Condition::parse(&text) {
                Ok(condition) => made.push(condition),
                Err(error) => wrong.push(FieldError::new(field, error.0)),
            }
        }
        if wrong.is_empty() { Ok(made) } else { Err(wrong) }
    };
    call.state.loader.run(compile).await?.map_err(Problem::invalid)
}

/// A body that gives something: what it has of its own, and beside that where and when it holds.
// Not a flattened struct: one forgets where in the body a mistake is, and takes members that nobody knows.
macro_rules! bounded {
    ($(#[$about:meta])* $shown:vis struct $name:ident { $($(#[$of:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(serde::Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        $shown struct $name {
            $($(#[$of])* $field: $kind,)*
            /// Where, such as `org/acme`: there and below. Absent: everywhere.
            #[schema(value_type = Option<String>)]
            scope: Option<$crate::access::pattern::Scope>,
            /// From when; absent: from now on.
            #[schema(value_type = Option<String>, format = DateTime)]
            not_before: Option<$crate::kernel::clock::Timestamp>,
            /// Until when; absent: for ever.
            #[schema(value_type = Option<String>, format = DateTime)]
            expires_at: Option<$crate::kernel::clock::Timestamp>,
        }

        impl $name {
            fn bounds(&self) -> $crate::access::model::Bounds {
                let (scope, not_before, expires_at) = (self.scope.clone(), self.not_before, self.expires_at);
                $crate::access::model::Bounds { scope: scope.unwrap_or_default(), not_before, expires_at }
            }
        }
    };
}
pub(super) use bounded;

/// A scope as it is shown: none is everywhere.
pub(super) fn shown_scope(scope: &Scope) -> Option<String> {
    (!scope.is_everywhere()).then(|| scope.to_string())
}

/// Who gave or approved something, as an id; none is the service itself.
pub(super) fn shown_actor(actor: &Actor) -> Option<String> {
    match actor {
        Actor::Person(id) => Some(id.to_string()),
        Actor::App(id) => Some(id.text_with("app")),
        Actor::System | Actor::Anonymous => None,
    }
}

/// Refuses what tells subjects' names, and how they stand, to whoever may not read subjects.
pub(super) fn refuse_unnamed(call: &Call) -> Result<(), Problem> {
    if call.caller.may(&call.state, ProductPermission::UsersRead, call.now) {
        return Ok(());
    }
    let detail = "this names subjects and needs the permission sesame.users:read too";
    Err(Problem::forbidden("missing-permission", detail))
}

/// What a condition may look at of subjects without asking about what is stored of them.
const OPEN_PATHS: [&str; 2] = ["subject.type", "subject.roles"];

/// Refuses to say whom changes concern that bring a condition about what is stored of subjects, to whoever may not read
/// subjects: asked often enough, the answers would spell it out.
pub(super) fn refuse_sounding(call: &Call, changes: &[Change]) -> Result<(), Problem> {
    let is_about_subjects =
        |path: &String| path.split('.').next() == Some("subject") && !OPEN_PATHS.contains(&path.as_str());
    let sounds = changes.iter().flat_map(Change::conditions).any(|it| it.paths().iter().any(is_about_subjects));
    if !sounds || call.caller.may(&call.state, ProductPermission::UsersRead, call.now) {
        return Ok(());
    }
    let detail = "a condition looks at what is stored of subjects: this needs the permission sesame.users:read too";
    Err(Problem::forbidden("missing-permission", detail))
}

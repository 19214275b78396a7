//! Explanations over HTTP: why an answer is what it is, in words and as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::access::checks::{Ask, Subject};
use crate::access::condition::Truth;
use crate::access::effective::Reason;
use crate::access::explain::Explanation;
use crate::access::http::given::shown_scope;
use crate::access::matched::{Judged, Matched, Miss, Near, Source};
use crate::access::pattern::{Effect, Scope};
use crate::access::product::ProductPermission;
use crate::accounts::model::SubjectId;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Path, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::SessionId;
use crate::store::Revision;

pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/users/{user_id}/permissions/{name}/explain", Who::Holding(ProductPermission::RolesRead), explain)
        .about("Says why a subject has a permission, or what is missing")
        .answers::<ExplainAnswer>(200);
}

/// Why an answer is what it is.
#[derive(Serialize, ToSchema)]
pub(super) struct ExplanationView {
    /// In words.
    summary: String,
    /// What decided; null where nothing spoke.
    decided_by: Option<MatchView>,
    /// What else spoke of the permission here and now.
    also_matched: Vec<MatchView>,
    /// Of a denial: what is nearest to allowing it, nearest first.
    nearest_misses: Vec<MissView>,
}

/// A rule that speaks of the permission.
#[derive(Serialize, ToSchema)]
struct MatchView {
    effect: Effect,
    pattern: String,
    /// The role assigned, then each that is inherited, up to the one that has the rule; empty for a grant.
    role_path: Vec<RoleStep>,
    grant_id: Option<String>,
    /// The condition is one of the permission itself.
    is_of_permission: bool,
    /// Null: everywhere.
    scope: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    condition: Option<JudgedView>,
}

/// A role on the way.
#[derive(Serialize, ToSchema)]
struct RoleStep {
    id: String,
    name: String,
}

/// What a condition came to.
#[derive(Serialize, ToSchema)]
pub(super) struct JudgedView {
    condition: String,
    result: Result3,
    /// Why it could not be evaluated.
    error: Option<String>,
    /// The values that it names.
    #[schema(value_type = Object)]
    values: BTreeMap<String, Value>,
    /// The values that it names and that there are not.
    missing: Vec<String>,
}

/// True, false, or neither.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ConditionResult)]
enum Result3 {
    True,
    False,
    Error,
}

/// Something that would allow it, but for one thing.
#[derive(Serialize, ToSchema)]
struct MissView {
    /// What kind of thing: `condition_failed`, `condition_error`, `expired`, `not_yet_valid`, `scope_too_narrow`,
    /// `inactive_role`, `role_not_activated`, `role_not_held`, `undefined_permission` or `resource_elsewhere`.
    kind: &'static str,
    /// In words.
    message: String,
    /// The rule that would allow it; of a role that is not held only where its condition would not hold either.
    rule: Option<MatchView>,
    /// The role that would allow it, or is inactive, or not in force in this session.
    role: Option<String>,
    /// Whether this is all that is missing: it was tried. What is not enough is named only where nothing is.
    is_enough: bool,
}

impl ExplanationView {
    pub(super) fn of(explanation: &Explanation, permission: &str) -> Self {
        Self {
            summary: summary(explanation, permission),
            decided_by: explanation.decided_by.as_ref().map(MatchView::of),
            also_matched: explanation.also_matched.iter().map(MatchView::of).collect(),
            nearest_misses: explanation.nearest_misses.iter().map(MissView::of).collect(),
        }
    }
}

impl MatchView {
    fn of(matched: &Matched) -> Self {
        let (role_path, grant_id) = match &matched.source {
            Source::Role(path) => (path.as_slice(), None),
            Source::Grant(id) => (&[][..], Some(id.to_string())),
            Source::Permission(_) => (&[][..], None),
        };
        Self {
            effect: matched.rule.effect,
            pattern: matched.rule.pattern.to_string(),
            role_path: role_path
                .iter()
                .map(|(id, name)| RoleStep { id: id.to_string(), name: name.to_string() })
                .collect(),
            grant_id,
            is_of_permission: matches!(matched.source, Source::Permission(_)),
            scope: shown_scope(&matched.bounds.scope),
            not_before: matched.bounds.not_before,
            expires_at: matched.bounds.expires_at,
            condition: matched.condition.as_ref().map(JudgedView::of),
        }
    }
}

impl JudgedView {
    pub(super) fn of(judged: &Judged) -> Self {
        let known = judged.values.iter().filter_map(|(path, value)| Some((path.clone(), value.clone()?)));
        let missing = judged.values.iter().filter(|(_, value)| value.is_none());
        Self {
            condition: judged.condition.source().to_owned(),
            result: match judged.truth {
                Truth::Holds => Result3::True,
                Truth::Fails => Result3::False,
                Truth::Errs => Result3::Error,
            },
            error: judged.error.clone(),
            values: known.collect(),
            missing: missing.map(|(path, _)| path.clone()).collect(),
        }
    }
}

impl MissView {
    fn of(near: &Near) -> Self {
        let Near { miss, is_enough } = near;
        let (matched, name) = match miss {
            Miss::Condition(rule) | Miss::Expired(rule, _) | Miss::NotYet(rule, _) | Miss::OtherScope(rule) => {
                (Some(rule), None)
            }
            Miss::InactiveRole(rule, name) | Miss::NotActivated(rule, name, _) => (Some(rule), Some(name.to_string())),
            Miss::RoleNotHeld(_, name, _, unmet) => (unmet.as_ref(), Some(name.to_string())),
            Miss::UndefinedPermission(_) | Miss::Elsewhere(_) => (None, None),
        };
        Self {
            kind: kind(miss),
            message: whole(near),
            rule: matched.map(MatchView::of),
            role: name,
            is_enough: *is_enough,
        }
    }
}

const fn kind(miss: &Miss) -> &'static str {
    match miss {
        Miss::Condition(Matched { condition: Some(Judged { truth: Truth::Errs, .. }), .. }) => "condition_error",
        Miss::Condition(_) => "condition_failed",
        Miss::Expired(..) => "expired",
        Miss::NotYet(..) => "not_yet_valid",
        Miss::OtherScope(_) => "scope_too_narrow",
        Miss::InactiveRole(..) => "inactive_role",
        Miss::NotActivated(..) => "role_not_activated",
        Miss::RoleNotHeld(..) => "role_not_held",
        Miss::UndefinedPermission(_) => "undefined_permission",
        Miss::Elsewhere(_) => "resource_elsewhere",
    }
}

/// The whole answer in one or two sentences.
fn summary(explanation: &Explanation, permission: &str) -> String {
    let decided = explanation.decided_by.as_ref().map(spoken).unwrap_or_default();
    let besides = explanation.also_matched.iter().filter(|matched| matched.rule.effect == Effect::Allow).count();
    let nearest = explanation.nearest_misses.first().map(|near| format!(" Nearest: {}.", whole(near)));
    let nearest = nearest.unwrap_or_default();
    match explanation.reason {
        Reason::GrantedByRole | Reason::GrantedDirectly => format!("Allowed: {decided}."),
        Reason::DeniedByRole | Reason::DeniedDirectly | Reason::DeniedByConditionError => {
            let wins = if besides == 0 { "" } else { "; a denial wins over every allowance" };
            format!("Denied: {decided}{wins}.")
        }
        Reason::NoMatchingGrant => {
            format!("Denied: nothing that the subject holds here and now allows {permission}.{nearest}")
        }
        Reason::RoleNotActivated => {
            format!("Denied: a role of the subject allows {permission}, and is not in force in this session.{nearest}")
        }
        Reason::ConditionNotMet | Reason::ConditionError => {
            format!("Denied: what would allow {permission} has a condition that does not hold.{nearest}")
        }
        Reason::UnknownSubject => "Denied: there is no such subject.".to_owned(),
        Reason::UnknownPermission => format!("Denied: no permission {permission} is defined.{nearest}"),
        Reason::SubjectSuspended => "Denied: the subject is suspended.".to_owned(),
        Reason::SessionNotActive => "Denied: the session has ended or expired, or never was.".to_owned(),
        Reason::ResourceElsewhere => format!("Denied: the resource is not in the scope that was passed.{nearest}"),
    }
}

/// What a rule says, and how the subject comes to it.
fn spoken(matched: &Matched) -> String {
    let verb = match matched.rule.effect {
        Effect::Allow => "allows",
        Effect::Deny => "denies",
    };
    let place = shown_scope(&matched.bounds.scope).map(|scope| format!(" in {scope}")).unwrap_or_default();
    let condition = matched.condition.as_ref().map(|judged| format!(", its {}", judgement(judged))).unwrap_or_default();
    format!("{} {verb} {}{place}{condition}", holder(matched), matched.rule.pattern)
}

fn holder(matched: &Matched) -> String {
    match &matched.source {
        Source::Grant(id) => format!("the grant {id}"),
        Source::Permission(name) => format!("the permission {name}"),
        Source::Role(path) => {
            let mut names = path.iter().map(|(_, name)| name.to_string());
            let first = names.next().unwrap_or_default();
            names.fold(format!("the role {first}"), |text, name| format!("{text}, which inherits {name},"))
        }
    }
}

fn judgement(judged: &Judged) -> String {
    let values: Vec<String> = judged
        .values
        .iter()
        .map(|(path, value)| match value {
            Some(value) => format!("{path} is {value}"),
            None => format!("there is no {path}"),
        })
        .collect();
    let values = if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
    let result = match judged.truth {
        Truth::Holds => "is true",
        Truth::Fails => "is false",
        Truth::Errs => "cannot be evaluated",
    };
    format!("condition `{}` {result}{values}", judged.condition.source())
}

/// What is missing, and whether more is.
fn whole(near: &Near) -> String {
    let more = if near.is_enough { "" } else { "; that alone would not be enough" };
    format!("{}{more}", message(&near.miss))
}

/// The condition of what a role that is not held would give.
fn besides(unmet: &Matched) -> String {
    let whose = if matches!(unmet.source, Source::Permission(_)) { "the permission's" } else { "its" };
    unmet.condition.as_ref().map(|judged| format!("; besides, {whose} {}", judgement(judged))).unwrap_or_default()
}

fn message(miss: &Miss) -> String {
    match miss {
        Miss::Condition(rule) => match &rule.condition {
            Some(judged) => format!("{} would allow it, but its {}", holder(rule), judgement(judged)),
            None => format!("{} would allow it, but its condition does not hold", holder(rule)),
        },
        Miss::Expired(rule, at) => format!("{} allowed it until {at}", holder(rule)),
        Miss::NotYet(rule, at) => format!("{} allows it from {at} on", holder(rule)),
        Miss::OtherScope(rule) => format!("{} allows it in {} only", holder(rule), rule.bounds.scope),
        Miss::InactiveRole(rule, name) => format!("{} would allow it, but the role {name} is inactive", holder(rule)),
        Miss::NotActivated(rule, _, None) => {
            format!("{} would allow it, but is not in force in this session", holder(rule))
        }
        Miss::NotActivated(rule, _, Some(constraint)) => {
            let holder = holder(rule);
            format!("{holder} would allow it, but the constraint {constraint} keeps it out of this session")
        }
        Miss::RoleNotHeld(_, role, has_chosen, unmet) => {
            let used = if *has_chosen { ", used in this session" } else { "" };
            let more = unmet.as_ref().map(besides).unwrap_or_default();
            format!("the role {role} would allow it{used}, and the subject does not hold it{more}")
        }
        Miss::Elsewhere(scope) => format!("the resource is stored in {scope}: ask there, or without a scope"),
        Miss::UndefinedPermission(names) if names.is_empty() => "no permission of this resource is defined".to_owned(),
        Miss::UndefinedPermission(names) => {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            format!("defined are {}", names.join(", "))
        }
    }
}

/// An answer with its reasons.
#[derive(Serialize, ToSchema)]
struct ExplainAnswer {
    allowed: bool,
    reason: Reason,
    /// The newest change that the answer takes into account.
    revision: u64,
    explanation: ExplanationView,
}

/// A permission of a subject in a path.
#[derive(Deserialize)]
struct PermissionPath {
    user_id: SubjectId,
    name: String,
}

/// Where.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PlaceQuery {
    /// Such as `org/acme/project/7`; absent: everywhere.
    #[param(value_type = Option<String>)]
    scope: Option<Scope>,
    /// In which of the user's sessions; absent: in none, so that all that the user holds counts.
    #[param(value_type = Option<String>)]
    session_id: Option<SessionId>,
}

/// Whether the caller may be told why: an explanation names roles, and shows what is known of the subject and what is
/// stored of the resource.
pub(super) fn may_be_told(call: &Call, ask: &Ask) -> bool {
    let of_resources = call.state.checks.may_name_stored(ask).then_some(ProductPermission::ResourcesRead);
    let needed = [ProductPermission::RolesRead, ProductPermission::UsersRead].into_iter().chain(of_resources);
    needed.into_iter().all(|permission| call.caller.may(&call.state, permission, call.now))
}

/// Refuses an explanation to whoever may not read what it is made of.
pub(super) fn refuse_untold(call: &Call, ask: &Ask) -> Result<(), Problem> {
    if may_be_told(call, ask) {
        return Ok(());
    }
    let detail = "an explanation needs the permissions sesame.roles:read and sesame.users:read, and about a stored \
                  resource sesame.resources:read";
    Err(Problem::forbidden("missing-permission", detail))
}

/// The answer to a question and why, worked out where it keeps no worker.
pub(super) async fn explained(
    call: &Call,
    ask: &Ask,
    at_least: Option<Revision>,
    is_use: bool,
) -> Result<(Explanation, Revision), Problem> {
    let (moment, revision) = call.state.checks.moment(ask, at_least, call.now, is_use).await?;
    Ok((call.state.reviewer.work_in_time(move |is_late| moment.explain(is_late)).await??, revision))
}

async fn explain(call: Call, Path(path): Path<PermissionPath>, Query(query): Query<PlaceQuery>) -> Outcome {
    let (SubjectId(user), scope) = (path.user_id, query.scope.unwrap_or_default());
    let subject = query.session_id.map_or(Subject::Id(user), |session| Subject::SessionOf(user, session));
    let ask = Ask { subject, permission: path.name, scope, passed: None };
    refuse_untold(&call, &ask)?;
    let (explanation, revision) = explained(&call, &ask, None, false).await?;
    let (reason, explanation) = (explanation.reason, ExplanationView::of(&explanation, &ask.permission));
    Ok(Answer::ok(&ExplainAnswer { allowed: reason.allows(), reason, revision: revision.0, explanation }))
}

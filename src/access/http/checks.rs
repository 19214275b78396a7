//! Permission checks, one or many.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::access::checks::{Ask, Subject, Verdict};
use crate::access::effective::Reason;
use crate::access::http::bounded::{self, MAX_BATCH};
use crate::access::http::explanations::{ExplanationView, explained, refuse_untold};
use crate::access::passed::{Passed, Told};
use crate::access::pattern::{PermissionName, Scope};
use crate::access::product::ProductPermission;
use crate::accounts::model::{Name, SubjectId};
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Json, Problem, Routes, Who};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::SessionId;
use crate::kernel::text::{Email, ExternalId, Username};
use crate::store::Revision;

pub(super) fn routes(routes: &mut Routes) {
    let who = Who::Holding(ProductPermission::ChecksRun);
    routes
        .post("/api/v1/permissions/check", who, check)
        .about("Says whether a subject may do something")
        .asked_often()
        .answers::<CheckAnswer>(200);
    routes
        .post("/api/v1/permissions/check/batch", who, check_batch)
        .takes_batches()
        .asked_often()
        .about("Answers up to 10 000 checks from one moment")
        .answers::<BatchAnswer>(200)
        .is_costly();
}

/// Whom a check is about: a subject's id, or one of `{"username"}`, `{"external_id"}`, `{"email"}`, `{"session_token"}`,
/// `{"user_id", "session_id"}`.
#[derive(Clone)]
struct SubjectInput(Subject);

impl<'de> Deserialize<'de> for SubjectInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SubjectVisitor).map(Self)
    }
}

struct SubjectVisitor;

impl<'de> Visitor<'de> for SubjectVisitor {
    type Value = Subject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a subject's id, or an object with one of username, external_id, email, session_token")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Subject, E> {
        SubjectId::parse(text).map(|SubjectId(id)| Subject::Id(id)).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Subject, A::Error> {
        let Some(key) = map.next_key::<String>()? else {
            return Err(A::Error::custom(
                "expected one of username, external_id, email, session_token, or user_id and session_id",
            ));
        };
        let subject = match key.as_str() {
            "username" => Subject::Named(Name::Username(map.next_value::<Username>()?)),
            "external_id" => Subject::Named(Name::ExternalId(map.next_value::<ExternalId>()?)),
            "email" => Subject::Named(Name::Email(map.next_value::<Email>()?)),
            "session_token" => Subject::Session(map.next_value()?),
            "user_id" | "session_id" => return of_session(&key, map),
            other => {
                let known = &["username", "external_id", "email", "session_token", "user_id", "session_id"];
                return Err(A::Error::unknown_field(other, known));
            }
        };
        match map.next_key::<String>()? {
            None => Ok(subject),
            Some(_) => Err(A::Error::custom("expected exactly one way to name the subject")),
        }
    }
}

/// A user in one of their sessions: both ids, in either order; `first` is the key that was read.
fn of_session<'de, A: MapAccess<'de>>(first: &str, mut map: A) -> Result<Subject, A::Error> {
    let (mut user, mut session) = (None, None);
    let mut key = Some(first.to_owned());
    while let Some(name) = key {
        match name.as_str() {
            "user_id" if user.is_none() => user = Some(map.next_value::<SubjectId>()?),
            "session_id" if session.is_none() => session = Some(map.next_value::<SessionId>()?),
            _ => return Err(A::Error::custom("expected exactly one way to name the subject")),
        }
        key = map.next_key()?;
    }
    match (user, session) {
        (Some(SubjectId(user)), Some(session)) => Ok(Subject::SessionOf(user, session)),
        _ => Err(A::Error::custom("expected user_id and session_id together")),
    }
}

/// What is acted on. The type and the action together name the permission. What is stored of the resource of this type
/// and id counts too: its properties where none of the same name are passed, and its scope.
#[derive(Deserialize, ToSchema, Clone)]
#[serde(deny_unknown_fields)]
struct ResourceInput {
    /// The first half of the permission's name.
    #[serde(rename = "type", deserialize_with = "bounded::name")]
    kind: String,
    /// At most 1 024 bytes.
    #[serde(default, deserialize_with = "bounded::id")]
    id: Option<Box<str>>,
    /// Facts about it; at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    properties: Option<Told>,
}

/// One check. In a batch, what an item leaves out is taken from the batch itself.
#[derive(Deserialize, ToSchema, Clone)]
#[serde(deny_unknown_fields)]
struct CheckInput {
    /// An id such as `user_…`, or an object with one of `username`, `external_id`, `email`, `session_token`, or with `user_id`
    /// and `session_id`: of a session only what is in force in it counts.
    #[schema(value_type = Option<Object>)]
    subject: Option<SubjectInput>,
    /// `resource:action`; or give `action` and `resource.type`.
    #[serde(default, deserialize_with = "bounded::name")]
    permission: Option<String>,
    /// The second half of the permission's name.
    #[serde(default, deserialize_with = "bounded::name")]
    action: Option<String>,
    resource: Option<Box<ResourceInput>>,
    /// Where, such as `org/acme/project/7`; absent: where the resource is stored, else everywhere. Another than that of a
    /// stored resource is denied (`resource_elsewhere`).
    #[schema(value_type = Option<String>)]
    scope: Option<Scope>,
    /// What else conditions may look at; at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    context: Option<Told>,
    /// Refuse to answer from a state older than this revision.
    at_least_revision: Option<u64>,
    /// Say why; in a batch it is refused.
    #[serde(default)]
    explain: bool,
}

/// Many checks, and what they have in common.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BatchInput {
    /// Up to 10 000.
    #[serde(deserialize_with = "bounded::batch")]
    checks: Vec<CheckInput>,
    #[schema(value_type = Option<Object>)]
    subject: Option<SubjectInput>,
    #[serde(default, deserialize_with = "bounded::name")]
    permission: Option<String>,
    #[serde(default, deserialize_with = "bounded::name")]
    action: Option<String>,
    resource: Option<Box<ResourceInput>>,
    #[schema(value_type = Option<String>)]
    scope: Option<Scope>,
    /// What else conditions may look at; at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    context: Option<Told>,
    at_least_revision: Option<u64>,
}

/// One answer.
#[derive(Serialize, ToSchema)]
struct CheckAnswer {
    allowed: bool,
    reason: Reason,
    /// The newest change that the answer takes into account.
    revision: u64,
    /// Only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<ExplanationView>,
}

/// One answer of a batch.
#[derive(Serialize, ToSchema)]
struct BatchItem {
    allowed: bool,
    reason: Reason,
}

/// The answers of a batch, in the order of the asks.
#[derive(Serialize, ToSchema)]
struct BatchAnswer {
    results: Vec<BatchItem>,
    /// The newest change that the answers take into account.
    revision: u64,
}

async fn check(call: Call, Json(input): Json<CheckInput>) -> Outcome {
    let at_least = input.at_least_revision.map(Revision);
    let explains = input.explain;
    let ask = ask(input, None, String::new).map_err(|wrong| Problem::invalid(vec![wrong]))?;
    if explains {
        refuse_untold(&call, &ask)?;
        let (explanation, revision) = explained(&call, &ask, at_least, true).await?;
        let (reason, view) = (explanation.reason, ExplanationView::of(&explanation, &ask.permission));
        let (allowed, explanation) = (reason.allows(), Some(view));
        return Ok(Answer::ok(&CheckAnswer { allowed, reason, revision: revision.0, explanation }));
    }
    let verdict = call.state.checks.check(&ask, at_least, call.now).await?;
    Ok(Answer::ok_written(|body| write_verdict(body, verdict)))
}

/// Writes a [`CheckAnswer`] without an explanation.
fn write_verdict(body: &mut Vec<u8>, Verdict { reason, revision }: Verdict) {
    write_reason(body, reason);
    write_revision(body, revision);
}

/// Writes a [`BatchAnswer`] of these reasons.
fn write_verdicts(body: &mut Vec<u8>, reasons: &[Reason], revision: Revision) {
    /// More than most items take.
    const ITEM_BYTES: usize = 56;
    body.reserve(reasons.len() * ITEM_BYTES);
    for (index, reason) in reasons.iter().enumerate() {
        body.extend_from_slice(if index == 0 { br#"{"results":["# } else { b"," });
        write_reason(body, *reason);
        body.push(b'}');
    }
    body.push(b']');
    write_revision(body, revision);
}

/// Writes the first two members of an answer.
fn write_reason(body: &mut Vec<u8>, reason: Reason) {
    let start: &[u8] =
        if reason.allows() { br#"{"allowed":true,"reason":""# } else { br#"{"allowed":false,"reason":""# };
    body.extend_from_slice(start);
    body.extend_from_slice(reason.name().as_bytes());
    body.push(b'"');
}

/// Writes the last member of an answer.
fn write_revision(body: &mut Vec<u8>, revision: Revision) {
    for piece in [r#","revision":"#, itoa::Buffer::new().format(revision.0), "}"] {
        body.extend_from_slice(piece.as_bytes());
    }
}

async fn check_batch(call: Call, Json(batch): Json<BatchInput>) -> Outcome {
    if batch.checks.is_empty() {
        return Err(Problem::invalid(vec![FieldError::new("checks", format!("expected 1 to {MAX_BATCH} checks"))]));
    }
    if let Some(index) = batch.checks.iter().position(|check| check.explain) {
        let wrong = "a batch is not explained; ask this one by itself";
        return Err(Problem::invalid(vec![FieldError::new(format!("checks[{index}].explain"), wrong)]));
    }
    let defaults = CheckInput {
        subject: batch.subject,
        permission: batch.permission,
        action: batch.action,
        resource: batch.resource,
        scope: batch.scope,
        context: batch.context,
        at_least_revision: None,
        explain: false,
    };
    let newest = batch.checks.iter().filter_map(|check| check.at_least_revision).chain(batch.at_least_revision).max();
    let asks: Vec<Ask> = batch
        .checks
        .into_iter()
        .enumerate()
        .map(|(index, input)| ask(input, Some(&defaults), || format!("checks[{index}].")))
        .collect::<Result<_, _>>()
        .map_err(|wrong| Problem::invalid(vec![wrong]))?;
    let (reasons, revision) = call.state.checks.check_all(&asks, newest.map(Revision), call.now).await?;
    Ok(Answer::ok_written(|body| write_verdicts(body, &reasons, revision)))
}

/// The question that the input asks, with what it leaves out taken from the defaults. `place` is where the input stands.
fn ask(input: CheckInput, defaults: Option<&CheckInput>, place: impl Fn() -> String) -> Result<Ask, FieldError> {
    let missing = |field: &str, what: &str| FieldError::new(format!("{}{field}", place()), what);
    let Some(SubjectInput(subject)) = input.subject.or_else(|| defaults?.subject.clone()) else {
        return Err(missing("subject", "is missing"));
    };
    let named_here = input.permission.is_some() || input.action.is_some();
    let resource = input.resource.or_else(|| defaults?.resource.clone());
    let permission = match input.permission {
        Some(_) if input.action.is_some() => {
            return Err(missing("permission", "give either permission, or action and resource.type"));
        }
        Some(permission) => permission,
        None => match defaults {
            Some(CheckInput { permission: Some(permission), .. }) if !named_here => permission.clone(),
            _ => {
                let action = input.action.or_else(|| defaults?.action.clone());
                let (Some(action), Some(resource)) = (action, &resource) else {
                    return Err(missing("permission", "is missing; give permission, or action and resource.type"));
                };
                let name = PermissionName::of(&resource.kind, &action);
                name.map_err(|wrong| missing("action", &wrong.0))?.as_str().to_owned()
            }
        },
    };
    let resource_type = resource.as_ref().map(|one| one.kind.as_str());
    let resource_type = resource_type.filter(|kind| permission.split_once(':').is_none_or(|(own, _)| own != *kind));
    let resource_type = resource_type.map(Into::into);
    let scope = input.scope.or_else(|| defaults?.scope.clone()).unwrap_or_default();
    let (resource_id, resource_properties) = resource.map_or((None, None), |one| (one.id, one.properties));
    let context = input.context.or_else(|| defaults?.context.clone());
    let is_told =
        resource_type.is_some() || resource_id.is_some() || resource_properties.is_some() || context.is_some();
    let passed = is_told
        .then(|| Box::new(Passed { resource_type, resource_id, resource_properties, context, ..Passed::default() }));
    Ok(Ask { subject, permission, scope, passed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_written_by_hand_is_what_the_document_describes() {
        let mut written = Vec::new();
        write_verdicts(&mut written, &Reason::ALL, Revision(7));
        let results = Reason::ALL.map(|reason| BatchItem { allowed: reason.allows(), reason }).into();
        let described = serde_json::to_string(&BatchAnswer { results, revision: 7 }).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), described);
        for reason in Reason::ALL {
            let mut written = Vec::new();
            write_verdict(&mut written, Verdict { reason, revision: Revision(u64::MAX) });
            let described = CheckAnswer { allowed: reason.allows(), reason, revision: u64::MAX, explanation: None };
            assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&described).unwrap());
        }
    }
}

//! The `OpenID` AuthZEN Authorization API 1.0: access evaluation, access evaluations, and the metadata document.
//!
//! A subject's `id` is an id of this product (`user_…`, `app_…`) or the application's own (`external_id`); the
//! permission asked about is `resource.type`, a colon, `action.name`. Members this product does not use are accepted.

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::access::checks::{Ask, Subject};
use crate::access::http::checks::MAX_BATCH;
use crate::access::pattern::Scope;
use crate::access::product::ProductPermission;
use crate::accounts::model::Name;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Json, Problem, Routes, Who};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::UserId;
use crate::kernel::text::ExternalId;

pub(super) fn routes(routes: &mut Routes) {
    let who = Who::Holding(ProductPermission::ChecksRun);
    routes
        .post("/access/v1/evaluation", who, evaluation)
        .content_type_error(StatusCode::BAD_REQUEST)
        .about("AuthZEN access evaluation")
        .answers::<Decision>(200);
    routes
        .post("/access/v1/evaluations", who, evaluations)
        .content_type_error(StatusCode::BAD_REQUEST)
        .takes_batches()
        .about("AuthZEN access evaluations")
        .answers::<Decisions>(200);
    routes
        .get("/.well-known/authzen-configuration", Who::Anyone, metadata)
        .about("AuthZEN metadata: where the policy decision point is")
        .answers::<Metadata>(200);
}

/// A subject or a resource.
#[derive(Deserialize, ToSchema, Clone, Debug)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub(super) kind: String,
    id: String,
    #[serde(default, rename = "properties")]
    #[schema(value_type = Option<Object>)]
    _properties: Option<Map<String, Value>>,
}

/// What the subject wants to do.
#[derive(Deserialize, ToSchema, Clone, Debug)]
pub(super) struct Action {
    pub(super) name: String,
    #[serde(default, rename = "properties")]
    #[schema(value_type = Option<Object>)]
    _properties: Option<Map<String, Value>>,
}

/// One evaluation.
#[derive(Deserialize, ToSchema)]
struct Evaluation {
    subject: Entity,
    action: Action,
    resource: Entity,
    #[serde(default, rename = "context")]
    #[schema(value_type = Option<Object>)]
    _context: Option<Map<String, Value>>,
}

/// One evaluation of several; what it leaves out is taken from the request itself.
#[derive(Deserialize, ToSchema)]
struct Item {
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    #[serde(default, rename = "context")]
    #[schema(value_type = Option<Object>)]
    _context: Option<Map<String, Value>>,
}

/// Several evaluations, and what they have in common.
// Spelled out, not flattened: a flattened struct forgets where in the body a mistake is.
#[expect(clippy::struct_field_names, reason = "the standard's names")]
#[derive(Deserialize, ToSchema)]
struct Evaluations {
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    #[serde(default, rename = "context")]
    #[schema(value_type = Option<Object>)]
    _context: Option<Map<String, Value>>,
    /// Up to 10 000; without any, the request is one evaluation.
    #[serde(default)]
    evaluations: Vec<Item>,
    #[serde(default)]
    options: Options,
}

/// How several are evaluated.
#[derive(Deserialize, ToSchema, Default)]
struct Options {
    #[serde(default)]
    evaluations_semantic: Semantic,
}

/// When to stop.
#[derive(Deserialize, ToSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Semantic {
    /// After the last.
    #[default]
    ExecuteAll,
    /// After the first denial.
    DenyOnFirstDeny,
    /// After the first permit.
    PermitOnFirstPermit,
}

/// One decision.
#[derive(Serialize, ToSchema)]
struct Decision {
    decision: bool,
    /// Only for an evaluation that could not be understood: why it was denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<DecisionContext>,
}

/// What comes with a decision.
#[derive(Serialize, ToSchema)]
struct DecisionContext {
    error: DecisionError,
}

/// Why one evaluation could not be understood.
#[derive(Serialize, ToSchema)]
struct DecisionError {
    status: u16,
    message: String,
}

/// The decisions, in the order of the evaluations.
#[derive(Serialize, ToSchema)]
struct Decisions {
    evaluations: Vec<Decision>,
}

/// Where the policy decision point is.
#[derive(Serialize, ToSchema)]
#[schema(as = AuthzenConfiguration)]
struct Metadata {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
    search_subject_endpoint: String,
    search_action_endpoint: String,
}

impl Action {
    /// An action with nothing but its name.
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), _properties: None }
    }
}

impl Decision {
    const fn plain(decision: bool) -> Self {
        Self { decision, context: None }
    }

    fn denied_because(message: String) -> Self {
        let error = DecisionError { status: 400, message };
        Self { decision: false, context: Some(DecisionContext { error }) }
    }
}

async fn evaluation(call: Call, Json(input): Json<Evaluation>) -> Outcome {
    let ask = ask(&input.subject, &input.action, &input.resource);
    let verdict = call.state.checks.check(&ask, None, call.now).await?;
    Ok(Answer::ok(&Decision::plain(verdict.reason.allows())))
}

async fn evaluations(call: Call, Json(input): Json<Evaluations>) -> Outcome {
    if input.evaluations.len() > MAX_BATCH {
        let wrong = FieldError::new("evaluations", format!("expected at most {MAX_BATCH}"));
        return Err(Problem::invalid(vec![wrong]));
    }
    let defaults = Item { subject: input.subject, action: input.action, resource: input.resource, _context: None };
    if input.evaluations.is_empty() {
        let ask = resolve(&defaults, &defaults)
            .map_err(|field| Problem::invalid(vec![FieldError::new(field, "is missing")]))?;
        let verdict = call.state.checks.check(&ask, None, call.now).await?;
        return Ok(Answer::ok(&Decision::plain(verdict.reason.allows())));
    }
    let resolved: Vec<Result<Ask, &str>> = input.evaluations.iter().map(|item| resolve(item, &defaults)).collect();
    let asks: Vec<Ask> = resolved.iter().filter_map(|ask| ask.as_ref().ok()).cloned().collect();
    let (reasons, _) = call.state.checks.check_all(&asks, None, call.now).await?;
    let mut reasons = reasons.into_iter();
    let mut decisions = Vec::with_capacity(resolved.len());
    for ask in resolved {
        let decision = match ask {
            Ok(_) => Decision::plain(reasons.next().is_some_and(crate::access::effective::Reason::allows)),
            Err(field) => Decision::denied_because(format!("{field} is missing")),
        };
        let allowed = decision.decision;
        decisions.push(decision);
        match input.options.evaluations_semantic {
            Semantic::DenyOnFirstDeny if !allowed => break,
            Semantic::PermitOnFirstPermit if allowed => break,
            _ => {}
        }
    }
    Ok(Answer::ok(&Decisions { evaluations: decisions }))
}

async fn metadata(call: Call) -> Outcome {
    let base = &call.state.settings.public_url;
    Ok(Answer::ok(&Metadata {
        policy_decision_point: base.clone(),
        access_evaluation_endpoint: format!("{base}/access/v1/evaluation"),
        access_evaluations_endpoint: format!("{base}/access/v1/evaluations"),
        search_subject_endpoint: format!("{base}/access/v1/search/subject"),
        search_action_endpoint: format!("{base}/access/v1/search/action"),
    }))
}

/// The question of one item; or the member that neither it nor the request has.
fn resolve(item: &Item, defaults: &Item) -> Result<Ask, &'static str> {
    let subject = item.subject.as_ref().or(defaults.subject.as_ref()).ok_or("subject")?;
    let action = item.action.as_ref().or(defaults.action.as_ref()).ok_or("action")?;
    let resource = item.resource.as_ref().or(defaults.resource.as_ref()).ok_or("resource")?;
    Ok(ask(subject, action, resource))
}

pub(super) fn ask(subject: &Entity, action: &Action, resource: &Entity) -> Ask {
    let permission = format!("{}:{}", resource.kind, action.name);
    Ask { subject: subject_of(subject), permission, scope: Scope::everywhere() }
}

fn subject_of(subject: &Entity) -> Subject {
    if let Ok(id) = UserId::parse_with(&subject.kind, &subject.id)
        && matches!(subject.kind.as_str(), "user" | "app")
    {
        return Subject::Id(id);
    }
    match ExternalId::parse(&subject.id) {
        Ok(id) if subject.kind == "user" => Subject::Named(Name::ExternalId(id)),
        _ => Subject::Nobody,
    }
}

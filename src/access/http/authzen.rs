//! The `OpenID` AuthZEN Authorization API 1.0: access evaluation, access evaluations, and the metadata document.
//!
//! Whom a subject's `type` and `id` mean is a setting (`access.authzen_subjects`); the permission asked about is
//! `resource.type`, a colon, `action.name`. Properties and context are what conditions look at, with what is stored of the
//! resource, whose scope is asked in; other members are accepted, and one that may be left out may be null.

use actix_web::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::access::checks::Ask;
use crate::access::effective::Reason;
use crate::access::http::bounded;
use crate::access::http::explanations::{ExplanationView, explained, may_be_told};
use crate::access::passed::{Passed, Told};
use crate::access::pattern::Scope;
use crate::access::product::ProductPermission;
use crate::access::subject;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Json, Problem, Routes, Who};
use crate::kernel::fault::FieldError;

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
        .answers::<Decisions>(200)
        .is_costly();
    routes
        .get("/.well-known/authzen-configuration", Who::Anyone, metadata)
        .about("AuthZEN metadata: where the policy decision point is")
        .answers::<Metadata>(200);
}

/// A subject or a resource.
#[derive(Deserialize, ToSchema, Clone, Debug)]
pub(super) struct Entity {
    #[serde(rename = "type", deserialize_with = "bounded::name")]
    pub(super) kind: Box<str>,
    /// At most 1 024 bytes.
    #[serde(deserialize_with = "bounded::id")]
    pub(super) id: Box<str>,
    /// What conditions may look at; at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub(super) properties: Option<Told>,
}

/// What the subject wants to do.
#[derive(Deserialize, ToSchema, Clone, Debug)]
pub(super) struct Action {
    #[serde(deserialize_with = "bounded::name")]
    pub(super) name: Box<str>,
    /// What conditions may look at; at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub(super) properties: Option<Told>,
}

/// One evaluation.
#[derive(Deserialize, ToSchema)]
struct Evaluation {
    subject: Entity,
    action: Action,
    resource: Entity,
    /// What conditions may look at; at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    context: Option<Told>,
    options: Option<Options>,
}

/// One evaluation of several; what it leaves out is taken from the request itself, what it says replaces that whole.
#[derive(Deserialize, ToSchema, Default)]
struct Item {
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    #[schema(value_type = Option<Object>)]
    context: Option<Told>,
}

/// One evaluation of several as it came: one that cannot be understood does not spoil the others.
struct Tried(Result<Item, String>);

impl<'de> Deserialize<'de> for Tried {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(json.get()).map_err(|error| error.to_string())))
    }
}

/// Several evaluations, and what they have in common.
// Spelled out, not flattened: a flattened struct forgets where in the body a mistake is.
#[expect(clippy::struct_field_names, reason = "the standard's names")]
#[derive(Deserialize, ToSchema)]
struct Evaluations {
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    #[schema(value_type = Option<Object>)]
    context: Option<Told>,
    /// Up to 10 000; without any, the request is one evaluation.
    #[serde(default, deserialize_with = "bounded::batch_if_any")]
    #[schema(value_type = Option<Vec<Item>>)]
    evaluations: Vec<Tried>,
    options: Option<Options>,
}

/// How it is evaluated.
#[derive(Deserialize, ToSchema, Default)]
struct Options {
    evaluations_semantic: Option<Semantic>,
    /// Say why in the decision's context; of several evaluations only the reason.
    explain: Option<bool>,
}

impl Options {
    fn explains(&self) -> bool {
        self.explain.unwrap_or_default()
    }
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
    /// Where it was asked for, or for an evaluation that could not be understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<DecisionContext>,
}

/// What comes with a decision.
#[derive(Serialize, ToSchema, Default)]
struct DecisionContext {
    /// Why an evaluation that could not be understood was denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<DecisionError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<ExplanationView>,
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
    search_resource_endpoint: String,
    search_action_endpoint: String,
}

impl Action {
    /// An action with nothing but its name.
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.into(), properties: None }
    }
}

impl Decision {
    const fn plain(decision: bool) -> Self {
        Self { decision, context: None }
    }

    fn denied_because(message: String) -> Self {
        let error = DecisionError { status: 400, message };
        Self { decision: false, context: Some(DecisionContext { error: Some(error), ..DecisionContext::default() }) }
    }

    fn because(reason: Reason, explanation: Option<ExplanationView>) -> Self {
        let context = DecisionContext { error: None, reason: Some(reason), explanation };
        Self { decision: reason.allows(), context: Some(context) }
    }
}

async fn evaluation(call: Call, Json(input): Json<Evaluation>) -> Outcome {
    let explains = input.options.as_ref().is_some_and(Options::explains);
    decided(&call, ask(&call, input), explains).await
}

/// The answer to one evaluation.
async fn decided(call: &Call, ask: Ask, explains: bool) -> Outcome {
    if explains {
        let (explanation, _) = explained(call, &ask, None, true).await?;
        // To whom may not read what it is made of, the reason alone.
        let view = may_be_told(call, &ask).then(|| ExplanationView::of(&explanation, &ask.permission));
        return Ok(Answer::ok(&Decision::because(explanation.reason, view)));
    }
    let verdict = call.state.checks.check(&ask, None, call.now).await?;
    Ok(Answer::ok(&Decision::plain(verdict.reason.allows())))
}

async fn evaluations(call: Call, Json(input): Json<Evaluations>) -> Outcome {
    let (subject, action, resource, context) = (input.subject, input.action, input.resource, input.context);
    let defaults = Item { subject, action, resource, context };
    let options = input.options.unwrap_or_default();
    if input.evaluations.is_empty() {
        let one = resolve(Item::default(), &defaults)
            .map_err(|field| Problem::invalid(vec![FieldError::new(field, "is missing")]))?;
        return decided(&call, ask(&call, one), options.explains()).await;
    }
    let mut asks = Vec::with_capacity(input.evaluations.len());
    let mut complaints = Vec::with_capacity(input.evaluations.len());
    for Tried(item) in input.evaluations {
        let evaluation = item.and_then(|item| resolve(item, &defaults).map_err(|field| format!("{field} is missing")));
        complaints.push(evaluation.map(|evaluation| asks.push(ask(&call, evaluation))).err());
    }
    let (reasons, _) = call.state.checks.check_all(&asks, None, call.now).await?;
    let mut reasons = reasons.into_iter();
    let mut decisions = Vec::with_capacity(complaints.len());
    for complaint in complaints {
        let decision = match complaint {
            None => match reasons.next() {
                Some(reason) if options.explains() => Decision::because(reason, None),
                reason => Decision::plain(reason.is_some_and(Reason::allows)),
            },
            Some(complaint) => Decision::denied_because(complaint),
        };
        let allowed = decision.decision;
        decisions.push(decision);
        match options.evaluations_semantic.unwrap_or_default() {
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
        search_resource_endpoint: format!("{base}/access/v1/search/resource"),
        search_action_endpoint: format!("{base}/access/v1/search/action"),
    }))
}

/// One item with what it leaves out; or the member that neither it nor the request has.
fn resolve(item: Item, defaults: &Item) -> Result<Evaluation, &'static str> {
    Ok(Evaluation {
        subject: item.subject.or_else(|| defaults.subject.clone()).ok_or("subject")?,
        action: item.action.or_else(|| defaults.action.clone()).ok_or("action")?,
        resource: item.resource.or_else(|| defaults.resource.clone()).ok_or("resource")?,
        context: item.context.or_else(|| defaults.context.clone()),
        options: None,
    })
}

fn ask(call: &Call, evaluation: Evaluation) -> Ask {
    let Evaluation { subject, action, resource, context, .. } = evaluation;
    asked(call, subject, action, resource, context)
}

/// The question that these members ask.
pub(super) fn asked(call: &Call, subject: Entity, action: Action, resource: Entity, context: Option<Told>) -> Ask {
    let rules = &call.state.access_settings.authzen_subjects;
    Ask {
        subject: subject::subject_of(rules, &subject.kind, &subject.id),
        permission: format!("{}:{}", resource.kind, action.name),
        scope: Scope::everywhere(),
        passed: Some(Box::new(Passed {
            subject_type: Some(subject.kind),
            subject_properties: subject.properties,
            action_properties: action.properties,
            resource_id: Some(resource.id),
            resource_properties: resource.properties,
            context,
            ..Passed::default()
        })),
    }
}

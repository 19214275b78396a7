//! All roles, permissions and constraints as one text over HTTP: read, compared, and made what the text says.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::IF_MATCH;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::book_aggregate::THE_BOOK;
use crate::access::book_commands::RoleDraft;
use crate::access::constraint_commands::ConstraintDraft;
use crate::access::error::{AccessError, HOLDERS_JOIN};
use crate::access::escalation;
use crate::access::http::constraints::KindView;
use crate::access::http::given::{self, RuleInput, RuleView};
use crate::access::http::previews::{BrokenView, broken};
use crate::access::http::roles::SessionTerms;
use crate::access::http::state_foreseen::foreseen;
use crate::access::http::state_subjects::{
    Outcome as SubjectOutcome, Planned, SubjectState, carry_out, planned, take, told_of_takings,
};
use crate::access::model::{Constraint, Permission, Role, Rule};
use crate::access::pattern::{Effect, PermissionName};
use crate::access::product::ProductPermission;
use crate::access::review::change::{Change, ChangeBook};
use crate::access::review::outlook::Outlook;
use crate::access::review::preview::Refused;
use crate::access::review::reviewer::ReviewError;
use crate::access::review::state::{
    Action, Desired, DesiredConstraint, DesiredPermission, DesiredRole, MAX_STEPS, NoWay, Plan, Step, Thing,
};
use crate::access::role_book::{Closure, RoleBook};
use crate::accounts::model::{Nature, subject_text};
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Json, Problem, Query, Routes, Who};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{PermissionId, RoleId, UserId};
use crate::kernel::text::{ConstraintName, Note, RoleName};
use crate::store::Revision;

/// The most subjects of one text.
pub(super) const MAX_SUBJECTS: usize = 1000;

pub(super) fn routes(routes: &mut Routes) {
    let (read, write) = (Who::Holding(ProductPermission::RolesRead), Who::Holding(ProductPermission::RolesWrite));
    routes
        .get("/api/v1/access/state", read, show)
        .about("Every role and permission that is not Sesame's own, and every constraint on roles, by names")
        .answers::<StateView>(200);
    routes
        .put("/api/v1/access/state", write, apply)
        .takes_if_match()
        .takes_batches()
        .about("Makes roles, permissions and constraints what the body says, all of them; with `dry_run`, says what would change and what would be refused")
        .answers::<ChangesView>(200)
        .is_costly();
}

/// A permission.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PermissionState {
    #[schema(value_type = String)]
    name: PermissionName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
    /// In CEL; all of them must be met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<String>,
}

/// A role to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RoleState {
    #[schema(value_type = String)]
    name: RoleName,
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
    /// The names of the roles it inherits from.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    parents: Vec<RoleName>,
    /// Each a pattern, meaning allow, or `{effect, pattern}`.
    #[serde(default)]
    #[schema(value_type = Vec<RuleView>)]
    permissions: Vec<RuleInput>,
    /// Absent: active.
    is_active: Option<bool>,
    #[serde(default)]
    sessions: SessionTerms,
}

/// A constraint on roles.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConstraintState {
    #[schema(value_type = String)]
    name: ConstraintName,
    kind: KindView,
    /// The names of the roles that are kept apart.
    #[schema(value_type = Vec<String>)]
    roles: Vec<RoleName>,
    /// Nobody has so many of them, or more.
    cardinality: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
}

/// Everything that is to be. What is not named is removed; what subjects hold is changed only for those named.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StateInput {
    #[serde(default)]
    permissions: Vec<PermissionState>,
    #[serde(default)]
    roles: Vec<RoleState>,
    #[serde(default)]
    constraints: Vec<ConstraintState>,
    /// Up to 1 000 subjects, each with everything it is to hold; this needs `sesame.assignments:write`.
    #[serde(default)]
    subjects: Vec<SubjectState>,
}

/// A rule in its shortest form: a pattern means allow.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum RuleText {
    Pattern(String),
    Whole(RuleView),
}

/// A role that is.
#[derive(Serialize, ToSchema)]
struct RoleStateView {
    #[schema(value_type = String)]
    name: RoleName,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
    parents: Vec<String>,
    permissions: Vec<RuleText>,
    is_active: bool,
    #[serde(skip_serializing_if = "SessionTerms::are_none")]
    sessions: SessionTerms,
}

/// Everything that is.
#[derive(Serialize, ToSchema)]
struct StateView {
    permissions: Vec<PermissionState>,
    roles: Vec<RoleStateView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    constraints: Vec<ConstraintState>,
}

impl ConstraintState {
    fn of(constraint: &Constraint, book: &RoleBook) -> Self {
        let mut roles: Vec<RoleName> =
            constraint.role_ids.iter().filter_map(|id| Some(book.role(*id)?.name.clone())).collect();
        roles.sort_unstable();
        Self {
            name: constraint.name.clone(),
            kind: constraint.kind.into(),
            roles,
            cardinality: constraint.cardinality,
            description: constraint.description.clone(),
        }
    }

    fn desired(self) -> DesiredConstraint {
        let Self { name, kind, roles, cardinality, description } = self;
        let draft = ConstraintDraft { name, kind: kind.into(), role_ids: Vec::new(), cardinality, description };
        DesiredConstraint { roles, draft }
    }
}

impl PermissionState {
    fn of(permission: &Permission) -> Self {
        let conditions = permission.conditions.iter().map(|condition| condition.source().to_owned()).collect();
        Self { name: permission.name.clone(), description: permission.description.clone(), conditions }
    }
}

impl RuleText {
    fn of(rule: &Rule) -> Self {
        match rule {
            Rule { effect: Effect::Allow, pattern, condition: None } => Self::Pattern(pattern.to_string()),
            rule => Self::Whole(RuleView::from(rule)),
        }
    }
}

impl RoleStateView {
    fn of(role: &Role, book: &RoleBook) -> Self {
        let parents = role.parent_role_ids.iter().filter_map(|parent| Some(book.role(*parent)?.name.to_string()));
        Self {
            name: role.name.clone(),
            description: role.description.clone(),
            parents: parents.collect(),
            permissions: role.rules.iter().map(RuleText::of).collect(),
            is_active: role.is_active,
            sessions: SessionTerms::of(&role.session_terms),
        }
    }
}

/// One thing that changes.
#[derive(Serialize, ToSchema)]
struct ChangeView {
    thing: Thing,
    name: String,
    action: Action,
}

/// What changed, or would.
#[derive(Serialize, ToSchema)]
struct ChangesView {
    /// Whether it is in force; else nothing was written.
    is_applied: bool,
    changes: Vec<ChangeView>,
    /// How many subjects gain something by it.
    subjects_gaining: usize,
    /// How many lose something.
    subjects_losing: usize,
    /// For how many it depends on what a check passes: the resource, the context, the session.
    subjects_depending: usize,
    /// The static constraints that somebody would break. What the roles would join is refused as a whole; whom a subject's
    /// own change would break one for is refused alone, below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    broken_constraints: Vec<BrokenView>,
    /// With `dry_run`: the code with which the whole would be refused for what somebody holds already. What else it would be
    /// refused for, it is refused for at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_be_refused: Option<String>,
    /// The subjects that were named, in their order.
    subjects: Vec<SubjectOutcome>,
}

/// Whether to write.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StateQuery {
    /// Say what would change, and write nothing.
    dry_run: Option<bool>,
}

impl StateView {
    fn of(book: &RoleBook) -> Self {
        let own = book.permissions().filter(|permission| !permission.name.is_reserved());
        let mut permissions: Vec<PermissionState> = own.map(|one| PermissionState::of(one)).collect();
        permissions.sort_by(|one, other| one.name.cmp(&other.name));
        let own = book.roles().filter(|role| !role.is_built_in);
        let mut roles: Vec<RoleStateView> = own.map(|role| RoleStateView::of(role, book)).collect();
        roles.sort_by(|one, other| one.name.cmp(&other.name));
        let mut constraints: Vec<ConstraintState> =
            book.separation().constraints().map(|one| ConstraintState::of(one, book)).collect();
        constraints.sort_by(|one, other| one.name.cmp(&other.name));
        Self { permissions, roles, constraints }
    }
}

async fn show(call: Call) -> Outcome {
    let book = Arc::clone(&call.state.book.load());
    let version = book.version();
    let view = call.state.reviewer.work(move || StateView::of(&book)).await?;
    Ok(Answer::ok(&view).with_etag(version).with_revision(version))
}

async fn apply(call: Call, Query(query): Query<StateQuery>, Json(input): Json<StateInput>) -> Outcome {
    let is_dry = query.dry_run.unwrap_or(false);
    let if_match = call.if_match()?;
    if !is_dry && call.header(IF_MATCH).is_none() {
        let detail = "name the state that this is to replace: the ETag of GET /api/v1/access/state in If-Match";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "if-match-required", detail));
    }
    if !input.subjects.is_empty() && !call.caller.may(&call.state, ProductPermission::AssignmentsWrite, call.now) {
        let needed = ProductPermission::AssignmentsWrite.name();
        return Err(Problem::forbidden("missing-permission", format!("naming subjects needs {needed}")));
    }
    let book = Arc::clone(&call.state.book.load());
    if if_match.is_some_and(|version| version != book.version()) {
        return Err(AccessError::Stale(book.version().0).into());
    }
    let mut desired = desired(&call, input.permissions, input.roles).await?;
    desired.constraints = input.constraints.into_iter().map(ConstraintState::desired).collect();
    let plan = worked_out(&call, &book, desired).await?;
    refuse_escalation(&call, &book, &plan).await?;
    let subjects = planned(&call, &plan.after, input.subjects).await?;
    if is_dry {
        let all: Vec<Change> = changes(&plan.steps).chain(subjects.iter().flat_map(Planned::changes)).collect();
        given::refuse_sounding(&call, &all)?;
    }
    let outlook = outlook(&call, &plan.steps, subjects.iter().flat_map(Planned::changes)).await?;
    let tally = outlook.all;
    let (would_be_refused, version, subjects) = if is_dry {
        let (refusal, subjects) = foreseen(&call, &book, &plan, &subjects).await?;
        (refusal, book.version(), subjects)
    } else {
        let (version, subjects) = carried_out(&call, &book, &plan, subjects).await?;
        (None, version, subjects)
    };
    let shown = |step: Step| ChangeView { thing: step.thing, name: step.name, action: step.action };
    let view = ChangesView {
        is_applied: !is_dry,
        changes: plan.steps.into_iter().map(shown).collect(),
        subjects_gaining: tally.gaining,
        subjects_losing: tally.losing,
        subjects_depending: tally.depending,
        broken_constraints: broken(&outlook),
        would_be_refused,
        subjects,
    };
    Ok(Answer::ok(&view).with_etag(version).with_revision(version))
}

/// Makes the book what it is to be, and then each subject. Where subjects hold what is to be kept apart, and lose it by
/// this very state, that is taken first; whatever else the book could be refused for was looked at by then. If the book
/// is refused all the same, because somebody was quicker, the refusal names what was taken.
async fn carried_out(
    call: &Call,
    book: &RoleBook,
    plan: &Plan,
    subjects: Vec<Planned>,
) -> Result<(Revision, Vec<SubjectOutcome>), Problem> {
    let (if_match, events) = (book.version(), Arc::new(plan.events.clone()));
    let command = ChangeBook { if_match, events, after: Arc::clone(&plan.after) };
    let (permit, taken) = match call.guard_book(&command).await {
        Err(problem) if problem.code() == HOLDERS_JOIN && subjects.iter().any(Planned::takes) => {
            refuse_joined_after_takings(call, plan, subjects.iter()).await?;
            let taken = take(call, &subjects).await;
            (call.guard_book(&command).await, taken)
        }
        guarded => (guarded, Vec::new()),
    };
    let written = match permit {
        Ok(permit) => call.state.books.send_holding(THE_BOOK, command, call.facts(), permit).await.map_err(Into::into),
        Err(problem) => Err(problem),
    };
    match written {
        Ok(done) => Ok((done.revision, carry_out(call, subjects, taken).await)),
        Err(problem) => Err(problem.with_errors(told_of_takings(&taken))),
    }
}

/// Refuses a book by which somebody has together what is kept apart even when everything is taken that the state takes:
/// before anything is, and naming only those.
pub(super) async fn refuse_joined_after_takings(
    call: &Call,
    plan: &Plan,
    subjects: impl Iterator<Item = &Planned>,
) -> Result<(), Problem> {
    let outlook = outlook(call, &plan.steps, subjects.flat_map(Planned::takings)).await?;
    let Some(broken) = outlook.broken.first() else { return Ok(()) };
    let names = |roles: &[RoleId]| {
        let names = roles.iter().filter_map(|role| Some(outlook.book.role(*role)?.name.to_string()));
        names.collect::<Vec<_>>().join(", ")
    };
    let told = |(user, nature, roles): &(UserId, Nature, Vec<RoleId>)| {
        format!("{} ({})", subject_text(*user, *nature), names(roles))
    };
    let refusal = AccessError::HoldersJoin {
        constraint: broken.constraint.name.to_string(),
        cardinality: broken.constraint.cardinality,
        holders: broken.subjects,
        first: broken.first.iter().map(told).collect(),
    };
    Err(refusal.into())
}

/// The way to what is desired, worked out where it keeps neither a worker nor the book's writer.
async fn worked_out(call: &Call, book: &Arc<RoleBook>, desired: Desired) -> Result<Plan, Problem> {
    let (book, facts) = (Arc::clone(book), call.facts());
    let work = move || Plan::work_out(&book, desired, &facts);
    call.state.reviewer.work(work).await?.map_err(|why| match why {
        NoWay::Unsound(why) => why.into(),
        NoWay::Refused(step, why) => refusal(&step, why),
        NoWay::TooMany(steps) => {
            let wrong = format!("{steps} changes are too many at once, at most {MAX_STEPS}");
            Problem::invalid(vec![FieldError::new("roles", wrong)])
        }
    })
}

/// What the body says, as the plan takes it.
async fn desired(call: &Call, permissions: Vec<PermissionState>, roles: Vec<RoleState>) -> Result<Desired, Problem> {
    let mut desired = Desired::default();
    for (at, one) in permissions.into_iter().enumerate() {
        let placed = |(number, text): (usize, String)| (format!("permissions[{at}].conditions[{number}]"), text);
        let texts = one.conditions.into_iter().enumerate().map(placed).collect();
        desired.permissions.push(DesiredPermission {
            id: PermissionId::generate(call.now),
            name: one.name,
            description: one.description,
            conditions: given::conditions(call, texts).await?,
        });
    }
    for (at, role) in roles.into_iter().enumerate() {
        let draft = RoleDraft {
            name: role.name,
            description: role.description,
            parent_role_ids: Vec::new(),
            rules: given::rules(call, &format!("roles[{at}].permissions"), role.permissions).await?,
            is_active: role.is_active.unwrap_or(true),
            session_terms: role.sessions.parsed()?,
        };
        desired.roles.push(DesiredRole { parents: role.parents, draft });
    }
    Ok(desired)
}

/// Says which of the things named it is about.
fn refusal(step: &Step, why: AccessError) -> Problem {
    match why {
        AccessError::Fields(fields) => {
            let kind = match step.thing {
                Thing::Permission => "permissions",
                Thing::Role => "roles",
                Thing::Constraint => "constraints",
            };
            let placed =
                |wrong: FieldError| FieldError::new(format!("{kind}.{}.{}", step.name, wrong.field), wrong.message);
            AccessError::Fields(fields.into_iter().map(placed).collect()).into()
        }
        why => why.into(),
    }
}

/// Refuses what gives, or no longer denies, what the caller does not hold. Others of the same worker have their turn.
async fn refuse_escalation(call: &Call, before: &RoleBook, plan: &Plan) -> Result<(), Problem> {
    let (donor, after) = (call.donor(before), &*plan.after);
    for id in plan.steps.iter().filter_map(|step| step.change.constraint_id()) {
        let named = [before, after].into_iter().filter_map(|book| book.separation().constraint(id));
        for role in named.flat_map(|constraint| &constraint.role_ids) {
            before.closure(*role).or_else(|| after.closure(*role)).map_or(Ok(()), |role| donor.may_constrain(role))?;
        }
        tokio::task::yield_now().await;
    }
    for step in plan.steps.iter().filter(|step| step.thing == Thing::Role) {
        let Some(id) = step.change.role_id() else { continue };
        let reach = match after.role(id) {
            Some(role) => {
                donor.may_say(&role.rules)?;
                escalation::reach_of_role(after, &role.rules, &role.parent_role_ids)
            }
            None => Closure::default(),
        };
        donor.may_give(&reach)?;
        let mut lifted = before.closure(id).map_or_else(Closure::default, |closure| Closure::clone(closure));
        if let Some(closure) = after.closure(id) {
            lifted.deny -= &closure.deny;
        }
        donor.may_take(&lifted)?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// What the steps change.
fn changes(steps: &[Step]) -> impl Iterator<Item = Change> {
    steps.iter().map(|step| Change::Book(step.change.clone()))
}

/// How many gain and lose something by all of it, and the constraints that it breaks; refuses what cannot be.
async fn outlook(call: &Call, steps: &[Step], subjects: impl Iterator<Item = Change>) -> Result<Outlook, Problem> {
    let changes = changes(steps).chain(subjects).collect();
    call.state.reviewer.tally(changes, call.facts()).await.map_err(|error| match error {
        ReviewError::Refused(Refused { change, why }) => match steps.get(change) {
            Some(step) => refusal(step, why),
            None => why.into(),
        },
        error => error.into(),
    })
}

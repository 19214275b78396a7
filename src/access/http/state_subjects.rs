//! The part of an access state that is about subjects: what each that is named is to hold.
//!
//! Each subject is a commit of its own; one that is refused keeps what it held, and the answer says why.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::effective::Holdings;
use crate::access::error::AccessError;
use crate::access::escalation::{Donor, reach};
use crate::access::http::given::{self, RuleInput, bounded};
use crate::access::http::state::MAX_SUBJECTS;
use crate::access::model::{Assignment, Bounds, Grant, Rule};
use crate::access::pattern::Scope;
use crate::access::review::change::{Change, ChangeHoldings, HoldingChange, RoleRef};
use crate::access::role_book::RoleBook;
use crate::accounts::model::{Name, SubjectId};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::Facts;
use crate::http::{Call, Problem};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{GrantId, UserId};
use crate::kernel::text::{ExternalId, RoleName, Username};
use crate::user::User;

/// A subject, by exactly one of its names, and everything that it is to hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubjectState {
    /// `user_…` or `app_…`.
    #[schema(value_type = Option<String>)]
    id: Option<SubjectId>,
    #[schema(value_type = Option<String>)]
    username: Option<Username>,
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    #[serde(default)]
    roles: Vec<HeldRole>,
    #[serde(default)]
    grants: Vec<HeldGrant>,
}

bounded! {
    /// A role to hold.
    struct HeldRole {
        #[schema(value_type = String)]
        role: RoleName,
    }
}

bounded! {
    /// A rule to hold.
    struct HeldGrant {
        /// A pattern, meaning allow, or `{effect, pattern, condition?}`.
        #[schema(value_type = given::RuleView)]
        rule: RuleInput,
    }
}

/// What became of a subject.
#[derive(Serialize, ToSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Fate {
    /// It holds what it should already.
    Unchanged,
    /// It would hold something else.
    WouldChange,
    /// It would hold what it holds.
    WouldBeRefused,
    /// It holds something else now.
    Changed,
    /// It holds what it held before.
    Refused,
}

/// What became of a subject, and why.
#[derive(Serialize, ToSchema)]
#[schema(as = StateOfSubject)]
pub(super) struct Outcome {
    /// `user_…` or `app_…`.
    subject: String,
    status: Fate,
    /// The code of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// The refusal in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Outcome {
    fn refused(self, status: Fate, problem: &Problem) -> Self {
        let (code, detail) = (Some(problem.code().to_owned()), Some(problem.detail().to_owned()));
        Self { status, code, detail, ..self }
    }
}

/// A subject, and the changes that lead to what it is to hold.
pub(super) struct Planned {
    user: Arc<User>,
    changes: Vec<HoldingChange>,
}

impl Planned {
    /// What would become of it if nothing refused it.
    pub(super) fn outlook(&self) -> Outcome {
        let status = if self.changes.is_empty() { Fate::Unchanged } else { Fate::WouldChange };
        Outcome { subject: self.user.id_text(), status, code: None, detail: None }
    }

    /// What would become of it, were it refused for this.
    pub(super) fn outlook_refused(&self, problem: &Problem) -> Outcome {
        self.outlook().refused(Fate::WouldBeRefused, problem)
    }

    /// Whom it is about.
    pub(super) fn user(&self) -> &User {
        &self.user
    }

    /// Those of its changes.
    pub(super) fn those(&self, are_meant: impl Fn(&HoldingChange) -> bool) -> Vec<HoldingChange> {
        self.changes.iter().filter(|change| are_meant(change)).cloned().collect()
    }

    /// Whether something is to be taken from it.
    pub(super) fn takes(&self) -> bool {
        self.changes.iter().any(HoldingChange::takes)
    }

    /// What is to be taken from it, for a preview.
    pub(super) fn takings(&self) -> impl Iterator<Item = Change> {
        self.those(HoldingChange::takes).into_iter().map(|change| Change::Holding(self.user.id(), change))
    }

    /// Its changes, for a preview.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change> {
        self.changes.iter().map(|change| Change::Holding(self.user.id(), change.clone()))
    }
}

/// Finds the subjects, and what has to change of what they hold.
pub(super) async fn planned(
    call: &Call,
    book: &Arc<RoleBook>,
    subjects: Vec<SubjectState>,
) -> Result<Vec<Planned>, Problem> {
    if subjects.len() > MAX_SUBJECTS {
        return Err(Problem::invalid(vec![FieldError::new("subjects", format!("at most {MAX_SUBJECTS}"))]));
    }
    let mut all: Vec<Planned> = Vec::with_capacity(subjects.len());
    for (at, subject) in subjects.into_iter().enumerate() {
        let place = format!("subjects[{at}]");
        let user = found(call, &place, &subject).await?;
        if all.iter().any(|other| other.user.id() == user.id()) {
            return Err(Problem::invalid(vec![FieldError::new(place, "is named twice")]));
        }
        let grants = granted(call, &place, subject.grants).await?;
        let changes = changes(call, book, &user, &place, subject.roles, grants)?;
        all.push(Planned { user, changes });
        // Who holds much is compared with much.
        tokio::task::yield_now().await;
    }
    Ok(all)
}

async fn found(call: &Call, place: &str, subject: &SubjectState) -> Result<Arc<User>, Problem> {
    let by_name = match (&subject.username, &subject.external_id) {
        (Some(username), None) => Some(Name::Username(username.clone())),
        (None, Some(external_id)) => Some(Name::ExternalId(external_id.clone())),
        _ => None,
    };
    let user = match (&subject.id, by_name, subject.username.is_some() || subject.external_id.is_some()) {
        (Some(SubjectId(id)), _, false) => call.state.users.load(*id).await?,
        (None, Some(name), _) => call.state.finder.load(&name, call.now).await?,
        _ => {
            let wrong = FieldError::new(place, "give exactly one of id, username, external_id");
            return Err(Problem::invalid(vec![wrong]));
        }
    };
    user.ok_or_else(|| Problem::invalid(vec![FieldError::new(place, "there is no such subject")]))
}

/// The rules that a subject is to hold, their conditions compiled.
async fn granted(call: &Call, place: &str, grants: Vec<HeldGrant>) -> Result<Vec<(Rule, Bounds)>, Problem> {
    let (mut rules, mut all_bounds) = (Vec::new(), Vec::new());
    for grant in grants {
        all_bounds.push(grant.bounds());
        rules.push(grant.rule);
    }
    let rules = given::rules(call, &format!("{place}.grants"), rules).await?;
    Ok(rules.into_iter().zip(all_bounds).collect())
}

/// From what a subject holds to what it is to hold.
fn changes(
    call: &Call,
    book: &Arc<RoleBook>,
    user: &User,
    place: &str,
    roles: Vec<HeldRole>,
    wanted_grants: Vec<(Rule, Bounds)>,
) -> Result<Vec<HoldingChange>, Problem> {
    let mut wrong = Vec::new();
    let mut wanted: BTreeSet<(RoleName, Scope)> = BTreeSet::new();
    let mut changes = Vec::new();
    for (number, held) in roles.into_iter().enumerate() {
        let bounds = held.bounds();
        let field = format!("{place}.roles[{number}].role");
        let Some(role) = book.role_named(&held.role) else {
            wrong.push(FieldError::new(field, format!("there is no role {}", held.role)));
            continue;
        };
        if !wanted.insert((held.role.clone(), bounds.scope.clone())) {
            wrong.push(FieldError::new(field, "is named twice in this scope"));
        }
        if user.holdings.assignment(role.id, &bounds.scope).is_none_or(|old| old.bounds != bounds) {
            changes.push(HoldingChange::Assign(RoleRef::Name(held.role), bounds));
        }
    }
    let is_wanted = |held: &Assignment| {
        book.role(held.role_id).is_none_or(|role| wanted.contains(&(role.name.clone(), held.bounds.scope.clone())))
    };
    for held in user.holdings.assignments.iter().filter(|held| !is_wanted(held)) {
        changes.push(HoldingChange::Unassign(RoleRef::Id(held.role_id), Some(held.bounds.scope.clone())));
    }
    let is_held = |(rule, bounds): &&(Rule, Bounds)| {
        user.holdings.grants.iter().any(|held| held.rule == *rule && held.bounds == *bounds)
    };
    for (rule, bounds) in wanted_grants.iter().filter(|one| !is_held(one)) {
        changes.push(HoldingChange::Grant(GrantId::generate(call.now), rule.clone(), bounds.clone()));
    }
    let is_wanted =
        |held: &&Grant| wanted_grants.iter().any(|(rule, bounds)| held.rule == *rule && held.bounds == *bounds);
    for held in user.holdings.grants.iter().filter(|held| !is_wanted(held)) {
        changes.push(HoldingChange::Revoke(held.id));
    }
    if wrong.is_empty() { Ok(changes) } else { Err(Problem::invalid(wrong)) }
}

/// Takes from each subject what it is not to hold any more; what became of those from whom something was taken, or was to
/// be, by their place.
pub(super) async fn take(call: &Call, subjects: &[Planned]) -> Vec<(usize, Result<(), Problem>)> {
    let mut taken = Vec::new();
    for (place, planned) in subjects.iter().enumerate() {
        let changes = planned.those(HoldingChange::takes);
        if !changes.is_empty() {
            taken.push((place, change(call, planned.user.id(), changes).await));
        }
    }
    taken
}

/// What was taken, for whoever is refused after all, and from whom nothing could be.
pub(super) fn told_of_takings(taken: &[(usize, Result<(), Problem>)]) -> Vec<FieldError> {
    let told = |(place, became): &(usize, Result<(), Problem>)| {
        let message = match became {
            Ok(()) => {
                "what it is not to hold any more was taken before this was refused, and was not given back".into()
            }
            Err(problem) => format!("nothing was taken: {}", problem.detail()),
        };
        FieldError::new(format!("subjects[{place}]"), message)
    };
    taken.iter().map(told).collect()
}

/// Carries the changes out, one subject after the other; each is in force or refused, whatever becomes of the others.
/// What was `taken` is not taken again.
pub(super) async fn carry_out(
    call: &Call,
    subjects: Vec<Planned>,
    taken: Vec<(usize, Result<(), Problem>)>,
) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(subjects.len());
    let mut taken = taken.into_iter().peekable();
    for (place, planned) in subjects.into_iter().enumerate() {
        let mut outcome = planned.outlook();
        let before = taken.next_if(|(at, _)| *at == place).map(|(_, became)| became);
        let is_left = |change: &HoldingChange| before.is_none() || !change.takes();
        let changes: Vec<HoldingChange> = planned.changes.into_iter().filter(is_left).collect();
        let became = match before {
            Some(Err(problem)) => Err(problem),
            Some(Ok(())) if changes.is_empty() => Ok(()),
            _ if changes.is_empty() => {
                outcomes.push(outcome);
                continue;
            }
            _ => change(call, planned.user.id(), changes).await,
        };
        match became {
            Ok(()) => outcome.status = Fate::Changed,
            Err(problem) => outcome = outcome.refused(Fate::Refused, &problem),
        }
        outcomes.push(outcome);
    }
    outcomes
}

async fn change(call: &Call, user: UserId, changes: Vec<HoldingChange>) -> Result<(), Problem> {
    let book = Arc::clone(&call.state.book.load());
    let command = ChangeHoldings { changes, book: Arc::clone(&book) };
    let before = call.state.users.load(user).await?.ok_or(AccessError::Missing("subject"))?;
    refuse_escalation(&call.donor(&book), &call.facts(), &before, &command)?;
    let command = |book| ChangeHoldings { book, ..command.clone() };
    let (permit, command) = call.guard_by_book(user, command).await?;
    call.state.users.send_holding(user, command, call.facts(), permit).await?;
    Ok(())
}

/// Refuses what gives, or no longer denies, what the donor does not hold; the subject as it would be.
pub(super) fn refuse_escalation(
    donor: &Donor<'_>,
    facts: &Facts,
    before: &User,
    command: &ChangeHoldings,
) -> Result<User, AccessError> {
    let mut after = before.clone();
    crate::access::review::change::apply(command.clone(), &mut after, facts)?;
    let book = donor.book;
    // Other times or another place are something else: what is had for an hour is not had for ever.
    let given = without(&after.holdings, &before.holdings);
    let lifted = without(&before.holdings, &after.holdings);
    donor.may_say(command.changes.iter().filter_map(|change| match change {
        HoldingChange::Grant(_, rule, _) => Some(rule),
        _ => None,
    }))?;
    donor.may_give(&reach(book, &given))?;
    donor.may_take(&reach(book, &lifted))?;
    Ok(after)
}

/// What is held and not, just so, among the others.
fn without(held: &Holdings, others: &Holdings) -> Holdings {
    let is_assigned = |one: &&Assignment| {
        !others.assignments.iter().any(|other| other.role_id == one.role_id && other.bounds == one.bounds)
    };
    let is_granted =
        |one: &&Grant| !others.grants.iter().any(|other| other.rule == one.rule && other.bounds == one.bounds);
    Holdings::new(
        held.assignments.iter().filter(is_assigned).cloned().collect(),
        held.grants.iter().filter(is_granted).cloned().collect(),
    )
}

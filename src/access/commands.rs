//! The writes to what a subject was given.

use std::sync::Arc;

use crate::access::effective::Holdings;
use crate::access::error::AccessError;
use crate::access::model::{Assignment, Bounds, ConstraintKind, Given, Grant, Rule};
use crate::access::part::AccessEvent;
use crate::access::pattern::Scope;
use crate::access::role_book::RoleBook;
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{GrantId, RoleId};
use crate::kernel::text::Note;
use crate::user::part::UserPart as _;
use crate::user::{User, UserEvent};

/// The most assignments, and the most grants, of one subject.
pub const MAX_HELD: usize = 1000;

/// Gives a subject a role, if no static constraint keeps it apart from what the subject holds; giving it again in the same scope replaces its times, giving the same changes nothing.
#[derive(Debug, Clone)]
pub struct AssignRole {
    /// Which role; the caller has seen that it exists.
    pub role_id: RoleId,
    /// Where and when.
    pub bounds: Bounds,
    /// Why, for people.
    pub reason: Option<Note>,
    /// Who agreed.
    pub approved_by: Option<Actor>,
    /// The book whose constraints count.
    pub book: Arc<RoleBook>,
}

impl Command for AssignRole {
    type Target = User;
    type Reply = Assignment;
    type Refusal = AccessError;
    const NAME: &'static str = "assign_role";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Assignment>, AccessError> {
        refuse_empty_time(&self.bounds)?;
        let held = user.holdings.assignment(self.role_id, &self.bounds.scope);
        if let Some(held) = held
            && held.bounds == self.bounds
            && held.given.reason() == self.reason.as_ref()
            && held.given.approved_by() == self.approved_by.as_ref()
        {
            return Ok(Decision::nothing(held.clone()));
        }
        if held.is_none() && user.holdings.assignments.len() >= MAX_HELD {
            return Err(AccessError::TooMany(MAX_HELD));
        }
        let assignment = Assignment {
            role_id: self.role_id,
            bounds: self.bounds,
            given: given(facts, self.reason, self.approved_by),
        };
        let event = AccessEvent::RoleAssigned(assignment.clone());
        if !self.book.separation().marks(self.role_id).is_empty() {
            let mut after = Holdings::clone(&user.holdings);
            after.apply(&event);
            refuse_joined(&self.book, &after.assignments, &[self.role_id], facts.now)?;
        }
        Ok(Decision::one(UserEvent::Access(event), assignment))
    }
}

/// Takes a role back, in one scope or in all.
#[derive(Debug, Clone)]
pub struct UnassignRole {
    /// Which role.
    pub role_id: RoleId,
    /// Only in exactly this scope; none: in every one.
    pub scope: Option<Scope>,
}

impl Command for UnassignRole {
    type Target = User;
    type Reply = ();
    type Refusal = AccessError;
    const NAME: &'static str = "unassign_role";
    const REVOKES: bool = true;

    fn decide(self, user: &User, _: &Facts) -> Result<Decision<User, ()>, AccessError> {
        let events: Vec<_> = user
            .holdings
            .assignments
            .iter()
            .filter(|held| held.role_id == self.role_id)
            .map(|held| &held.bounds.scope)
            .filter(|held| self.scope.as_ref().is_none_or(|wanted| wanted == *held))
            .map(|scope| UserEvent::Access(AccessEvent::RoleUnassigned(self.role_id, scope.clone())))
            .collect();
        if events.is_empty() {
            return Err(AccessError::Missing("assignment"));
        }
        Ok(Decision { events, reply: () })
    }
}

/// Gives a subject a rule of its own.
#[derive(Debug, Clone)]
pub struct GrantRule {
    /// The new grant's id.
    pub id: GrantId,
    /// What it says.
    pub rule: Rule,
    /// Where and when.
    pub bounds: Bounds,
    /// Why, for people.
    pub reason: Option<Note>,
    /// Who agreed.
    pub approved_by: Option<Actor>,
}

impl Command for GrantRule {
    type Target = User;
    type Reply = Grant;
    type Refusal = AccessError;
    const NAME: &'static str = "grant_rule";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Grant>, AccessError> {
        refuse_empty_time(&self.bounds)?;
        if let Some(complaint) = self.rule.complaint() {
            return Err(AccessError::field("condition", complaint));
        }
        let held = user.holdings.grants.iter().find(|held| held.rule == self.rule && held.bounds == self.bounds);
        if let Some(held) = held {
            return Ok(Decision::nothing(held.clone()));
        }
        if user.holdings.grants.len() >= MAX_HELD {
            return Err(AccessError::TooMany(MAX_HELD));
        }
        let grant = Grant {
            id: self.id,
            rule: self.rule,
            bounds: self.bounds,
            given: given(facts, self.reason, self.approved_by),
        };
        Ok(Decision::one(UserEvent::Access(AccessEvent::RuleGranted(grant.clone())), grant))
    }
}

/// Takes a rule back.
#[derive(Debug, Clone)]
pub struct RevokeGrant {
    /// Which grant.
    pub id: GrantId,
}

impl Command for RevokeGrant {
    type Target = User;
    type Reply = ();
    type Refusal = AccessError;
    const NAME: &'static str = "revoke_grant";
    const REVOKES: bool = true;

    fn decide(self, user: &User, _: &Facts) -> Result<Decision<User, ()>, AccessError> {
        user.holdings.grant(self.id).ok_or(AccessError::Missing("grant"))?;
        Ok(Decision::one(UserEvent::Access(AccessEvent::GrantRevoked(self.id)), ()))
    }
}

/// Removes what ended at this moment or before.
#[derive(Debug, Clone)]
pub struct RemoveExpired {
    /// What ended later is kept.
    pub until: Timestamp,
}

/// So much was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Assignments.
    pub assignments: u64,
    /// Grants.
    pub grants: u64,
}

impl Command for RemoveExpired {
    type Target = User;
    type Reply = Removed;
    type Refusal = AccessError;
    const NAME: &'static str = "remove_expired";

    fn decide(self, user: &User, _: &Facts) -> Result<Decision<User, Removed>, AccessError> {
        let is_over = |bounds: &Bounds| bounds.expires_at.is_some_and(|end| end <= self.until);
        let assignments = user.holdings.assignments.iter().filter(|held| is_over(&held.bounds));
        let grants = user.holdings.grants.iter().filter(|held| is_over(&held.bounds));
        let mut events: Vec<_> = assignments
            .map(|held| AccessEvent::AssignmentExpired(held.role_id, held.bounds.scope.clone()))
            .map(UserEvent::Access)
            .collect();
        let assignments = events.len() as u64;
        events.extend(grants.map(|held| UserEvent::Access(AccessEvent::GrantExpired(held.id))));
        let grants = events.len() as u64 - assignments;
        Ok(Decision { events, reply: Removed { assignments, grants } })
    }
}

/// Refuses assignments that join what a static constraint of this book keeps apart; only constraints count that these
/// roles, just given, are about.
///
/// # Errors
/// [`AccessError::DutiesJoined`] with the constraint and the roles.
pub fn refuse_joined(
    book: &RoleBook,
    held: &[Assignment],
    given: &[RoleId],
    now: Timestamp,
) -> Result<(), AccessError> {
    match book.separation().breach(ConstraintKind::Static, held, given, now) {
        Some(breach) => Err(breach.refusal(book)),
        None => Ok(()),
    }
}

fn given(facts: &Facts, reason: Option<Note>, approved_by: Option<Actor>) -> Given {
    Given::silently(facts.cause.actor.clone(), facts.now).with(reason, approved_by)
}

fn refuse_empty_time(bounds: &Bounds) -> Result<(), AccessError> {
    match (bounds.not_before, bounds.expires_at) {
        (Some(start), Some(end)) if end <= start => {
            Err(AccessError::Fields(vec![FieldError::new("expires_at", "must be later than not_before")]))
        }
        _ => Ok(()),
    }
}

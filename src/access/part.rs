//! The access part of a user: events, records, audit notes.

use serde_json::{Value, json};

use crate::access::effective::Holdings;
use crate::access::expiry::{self, Expiring};
use crate::access::holders::{self, GrantHolder, RoleHolder};
use crate::access::model::{Assignment, Grant};
use crate::access::pattern::Scope;
use crate::actor::aggregate::Note;
use crate::kernel::ids::{GrantId, RoleId, UserId};
use crate::store::key::Kind;
use crate::store::{Commit, Key, StoreError, Write, codec};
use crate::user::part::UserPart;

/// What can happen to what a subject was given.
#[derive(Debug)]
pub enum AccessEvent {
    /// It has a role, or has it for another time.
    RoleAssigned(Assignment),
    /// It does not have the role in this scope any more.
    RoleUnassigned(RoleId, Scope),
    /// It was given a rule.
    RuleGranted(Grant),
    /// The rule was taken back.
    GrantRevoked(GrantId),
    /// The role in this scope had ended, and was kept long enough.
    AssignmentExpired(RoleId, Scope),
    /// The rule had ended, and was kept long enough.
    GrantExpired(GrantId),
}

impl Holdings {
    /// The assignment of this role in exactly this scope.
    pub fn assignment(&self, role: RoleId, scope: &Scope) -> Option<&Assignment> {
        self.assignments.iter().find(|one| one.role_id == role && one.bounds.scope == *scope)
    }

    /// The grant with this id.
    pub fn grant(&self, id: GrantId) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.id == id)
    }

    /// Adds the removal of everything to the commit.
    pub fn remove_all(&self, id: UserId, commit: &mut Commit) {
        for assignment in &self.assignments {
            commit.remove(assignment_key(id, assignment.role_id, &assignment.bounds.scope));
            commit.remove(holders::role_entry(assignment.role_id, id, &assignment.bounds.scope));
            commit.writes.extend(Expiring::assignment(id, assignment).map(removal));
        }
        for grant in &self.grants {
            commit.remove(grant_key(id, grant.id));
            commit.remove(holders::grant_entry(&grant.rule.pattern, id, grant.id));
            commit.writes.extend(Expiring::grant(id, grant).map(removal));
        }
    }
}

impl UserPart for Holdings {
    type Event = AccessEvent;

    fn apply(&mut self, event: &AccessEvent) {
        match event {
            AccessEvent::RoleAssigned(new) => {
                let place = self
                    .assignments
                    .binary_search_by(|old| (old.role_id, &old.bounds.scope).cmp(&(new.role_id, &new.bounds.scope)));
                match place {
                    Ok(at) => {
                        if let Some(old) = self.assignments.get_mut(at) {
                            *old = new.clone();
                        }
                    }
                    Err(at) => self.assignments.insert(at, new.clone()),
                }
            }
            AccessEvent::RoleUnassigned(role, scope) | AccessEvent::AssignmentExpired(role, scope) => {
                self.assignments.retain(|one| one.role_id != *role || one.bounds.scope != *scope);
            }
            AccessEvent::RuleGranted(grant) => self.grants.push(grant.clone()),
            AccessEvent::GrantRevoked(id) | AccessEvent::GrantExpired(id) => {
                self.grants.retain(|grant| grant.id != *id);
            }
        }
    }

    fn record(&self, id: UserId, before: &Self, event: &AccessEvent, commit: &mut Commit) -> Result<(), StoreError> {
        match event {
            AccessEvent::RoleAssigned(new) => {
                commit.put(assignment_key(id, new.role_id, &new.bounds.scope), codec::encode(new)?);
                let old = before.assignment(new.role_id, &new.bounds.scope);
                if old.is_none() {
                    let entry = holders::role_entry(new.role_id, id, &new.bounds.scope);
                    commit.put(entry, codec::encode(&RoleHolder)?);
                }
                let old = old.and_then(|old| Expiring::assignment(id, old));
                expiry::replace(old.as_ref(), Expiring::assignment(id, new).as_ref(), commit)?;
            }
            AccessEvent::RoleUnassigned(role, scope) | AccessEvent::AssignmentExpired(role, scope) => {
                commit.remove(assignment_key(id, *role, scope));
                commit.remove(holders::role_entry(*role, id, scope));
                let old = before.assignment(*role, scope).and_then(|old| Expiring::assignment(id, old));
                expiry::replace(old.as_ref(), None, commit)?;
            }
            AccessEvent::RuleGranted(grant) => {
                commit.put(grant_key(id, grant.id), codec::encode(grant)?);
                commit.put(holders::grant_entry(&grant.rule.pattern, id, grant.id), codec::encode(&GrantHolder)?);
                expiry::replace(None, Expiring::grant(id, grant).as_ref(), commit)?;
            }
            AccessEvent::GrantRevoked(grant) | AccessEvent::GrantExpired(grant) => {
                commit.remove(grant_key(id, *grant));
                if let Some(old) = before.grant(*grant) {
                    commit.remove(holders::grant_entry(&old.rule.pattern, id, *grant));
                    expiry::replace(Expiring::grant(id, old).as_ref(), None, commit)?;
                }
            }
        }
        Ok(())
    }

    fn note(&self, subject: String, before: &Self, event: &AccessEvent) -> Option<Note> {
        let (action, before, after) = match event {
            AccessEvent::RoleAssigned(new) => {
                let old = before.assignment(new.role_id, &new.bounds.scope);
                ("access.role_assigned", old.map(told_assignment), Some(told_assignment(new)))
            }
            AccessEvent::RoleUnassigned(role, scope) => {
                ("access.role_unassigned", before.assignment(*role, scope).map(told_assignment), None)
            }
            AccessEvent::RuleGranted(grant) => ("access.granted", None, Some(told_grant(grant))),
            AccessEvent::GrantRevoked(id) => ("access.grant_revoked", before.grant(*id).map(told_grant), None),
            AccessEvent::AssignmentExpired(role, scope) => {
                ("access.assignment_expired", before.assignment(*role, scope).map(told_assignment), None)
            }
            AccessEvent::GrantExpired(id) => ("access.grant_expired", before.grant(*id).map(told_grant), None),
        };
        Some(Note { action, target: subject, before, after })
    }
}

/// The removal of an entry.
fn removal(one: Expiring) -> Write {
    Write { key: one.key(), value: None }
}

fn assignment_key(user: UserId, role: RoleId, scope: &Scope) -> Key {
    Key::of(Kind::Assignment, &[user.bytes(), role.bytes(), scope.as_str().as_bytes()])
}

fn grant_key(user: UserId, grant: GrantId) -> Key {
    Key::of(Kind::Grant, &[user.bytes(), grant.bytes()])
}

fn told_assignment(assignment: &Assignment) -> Value {
    json!({
        "role_id": assignment.role_id,
        "scope": assignment.bounds.scope,
        "not_before": assignment.bounds.not_before,
        "expires_at": assignment.bounds.expires_at,
        "reason": assignment.given.reason(),
        "approved_by": assignment.given.approved_by(),
    })
}

fn told_grant(grant: &Grant) -> Value {
    json!({
        "grant_id": grant.id,
        "effect": grant.rule.effect,
        "pattern": grant.rule.pattern,
        "condition": grant.rule.condition,
        "scope": grant.bounds.scope,
        "not_before": grant.bounds.not_before,
        "expires_at": grant.bounds.expires_at,
        "reason": grant.given.reason(),
        "approved_by": grant.given.approved_by(),
    })
}

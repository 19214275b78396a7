//! Changes that are only looked at: the product's own commands, decided and applied to copies.
//!
//! What a preview refuses the real change refuses too, since it is the same decision.

use std::sync::Arc;

use crate::access::book_aggregate::BookEvent;
use crate::access::book_commands::{
    ChangePermission, ChangeRole, DefinePermission, DefineRole, RemovePermission, RemoveRole,
};
use crate::access::commands::{AssignRole, GrantRule, RevokeGrant, UnassignRole, refuse_joined};
use crate::access::condition::Condition;
use crate::access::constraint_commands::{ChangeConstraint, DefineConstraint, RemoveConstraint};
use crate::access::error::AccessError;
use crate::access::model::{Bounds, Rule};
use crate::access::pattern::{Pattern, Scope};
use crate::access::role_book::RoleBook;
use crate::actor::aggregate::Aggregate;
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::{ConstraintId, GrantId, RoleId, UserId};
use crate::kernel::text::RoleName;
use crate::store::Revision;
use crate::user::{User, UserEvent};

/// A role by id, or by name: one that a change before brings has no id that anybody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleRef {
    /// By id.
    Id(RoleId),
    /// By name.
    Name(RoleName),
}

impl RoleRef {
    /// The role's id in this book.
    pub fn find(&self, book: &RoleBook) -> Option<RoleId> {
        match self {
            Self::Id(id) => book.role(*id).map(|role| role.id),
            Self::Name(name) => book.role_named(name).map(|role| role.id),
        }
    }
}

/// A change to the role book.
#[derive(Debug, Clone)]
pub enum BookChange {
    /// A new role.
    DefineRole(DefineRole),
    /// Another form of a role.
    ChangeRole(ChangeRole),
    /// A role less.
    RemoveRole(RemoveRole),
    /// A new permission.
    DefinePermission(DefinePermission),
    /// Another form of a permission.
    ChangePermission(ChangePermission),
    /// A permission less.
    RemovePermission(RemovePermission),
    /// A new constraint.
    DefineConstraint(DefineConstraint),
    /// Another form of a constraint.
    ChangeConstraint(ChangeConstraint),
    /// A constraint less.
    RemoveConstraint(RemoveConstraint),
}

impl BookChange {
    /// The role it is about.
    pub const fn role_id(&self) -> Option<RoleId> {
        match self {
            Self::DefineRole(command) => Some(command.id),
            Self::ChangeRole(command) => Some(command.id),
            Self::RemoveRole(command) => Some(command.id),
            _ => None,
        }
    }

    /// The constraint it is about.
    pub const fn constraint_id(&self) -> Option<ConstraintId> {
        match self {
            Self::DefineConstraint(command) => Some(command.id),
            Self::ChangeConstraint(command) => Some(command.id),
            Self::RemoveConstraint(command) => Some(command.id),
            _ => None,
        }
    }

    /// The conditions that it brings.
    fn conditions(&self) -> Vec<&Condition> {
        let rules = match self {
            Self::DefineRole(command) => &command.draft.rules,
            Self::ChangeRole(command) => &command.draft.rules,
            Self::DefinePermission(command) => return command.conditions.iter().collect(),
            Self::ChangePermission(command) => return command.conditions.iter().collect(),
            _ => return Vec::new(),
        };
        rules.iter().filter_map(|rule| rule.condition.as_ref()).collect()
    }

    /// What the real change would come to.
    ///
    /// # Errors
    /// What the real change would refuse.
    fn events(self, book: &RoleBook, facts: &Facts) -> Result<Vec<BookEvent>, AccessError> {
        Ok(match self {
            Self::DefineRole(command) => command.decide(book, facts)?.events,
            Self::ChangeRole(command) => command.decide(book, facts)?.events,
            Self::RemoveRole(command) => command.decide(book, facts)?.events,
            Self::DefinePermission(command) => command.decide(book, facts)?.events,
            Self::ChangePermission(command) => command.decide(book, facts)?.events,
            Self::RemovePermission(command) => command.decide(book, facts)?.events,
            Self::DefineConstraint(command) => command.decide(book, facts)?.events,
            Self::ChangeConstraint(command) => command.decide(book, facts)?.events,
            Self::RemoveConstraint(command) => command.decide(book, facts)?.events,
        })
    }

    /// Changes the book as the real change would.
    ///
    /// # Errors
    /// What the real change would refuse.
    pub fn apply(self, book: &mut RoleBook, facts: &Facts) -> Result<Vec<BookEvent>, AccessError> {
        let events = self.events(book, facts)?;
        for event in &events {
            book.apply(event);
        }
        Ok(events)
    }
}

/// Carries out several changes of the book in one commit, all worked out before on the version that it must still be.
#[derive(Debug, Clone)]
pub struct ChangeBook {
    /// The version that they were worked out on.
    pub if_match: Revision,
    /// What happens; no two about one thing.
    pub events: Arc<Vec<BookEvent>>,
    /// What the book becomes by it.
    pub after: Arc<RoleBook>,
}

impl Command for ChangeBook {
    type Target = RoleBook;
    type Reply = ();
    type Refusal = AccessError;
    const NAME: &'static str = "change_book";

    fn decide(self, book: &RoleBook, _: &Facts) -> Result<Decision<RoleBook, ()>, AccessError> {
        if book.version() != self.if_match {
            return Err(AccessError::Stale(book.version().0));
        }
        Ok(Decision { events: Arc::unwrap_or_clone(self.events), reply: () })
    }

    fn foreseen(&self) -> Option<RoleBook> {
        Some(RoleBook::clone(&self.after))
    }
}

/// A change to what one subject was given.
#[derive(Debug, Clone)]
pub enum HoldingChange {
    /// A role more, or for another time.
    Assign(RoleRef, Bounds),
    /// A role less, in one scope or in all.
    Unassign(RoleRef, Option<Scope>),
    /// A rule more.
    Grant(GrantId, Rule, Bounds),
    /// A rule less.
    Revoke(GrantId),
}

impl HoldingChange {
    /// Refuses what names things that this book does not have.
    ///
    /// # Errors
    /// Naming the field.
    pub fn refuse_unknown(&self, book: &RoleBook) -> Result<(), AccessError> {
        match self {
            Self::Assign(role, _) | Self::Unassign(role, _) => {
                role.find(book).map(|_| ()).ok_or_else(|| AccessError::field("role_id", "there is no such role"))
            }
            Self::Grant(_, rule, _) => match &rule.pattern {
                Pattern::Exact(name) if book.permission_named(name.as_str()).is_none() => {
                    Err(AccessError::field("permission", format!("permission {name} is not defined")))
                }
                _ => Ok(()),
            },
            Self::Revoke(_) => Ok(()),
        }
    }

    /// Whether it takes something away.
    pub const fn takes(&self) -> bool {
        matches!(self, Self::Unassign(..) | Self::Revoke(_))
    }

    /// The role that it gives.
    fn given(&self, book: &RoleBook) -> Option<RoleId> {
        match self {
            Self::Assign(role, _) => role.find(book),
            _ => None,
        }
    }

    /// Changes the subject as the real change would; whether that joins what constraints keep apart is for whoever has
    /// made all of several changes to look at.
    ///
    /// # Errors
    /// What the real change would refuse.
    pub fn apply(&self, user: &mut User, book: &RoleBook, facts: &Facts) -> Result<Vec<UserEvent>, AccessError> {
        let found = |role: &RoleRef| role.find(book).ok_or(AccessError::Missing("role"));
        match self {
            Self::Assign(role, bounds) => {
                let (role_id, bounds) = (found(role)?, bounds.clone());
                let command = AssignRole { role_id, bounds, reason: None, approved_by: None, book: Arc::default() };
                apply(command, user, facts)
            }
            Self::Unassign(role, scope) => {
                apply(UnassignRole { role_id: found(role)?, scope: scope.clone() }, user, facts)
            }
            Self::Grant(id, rule, bounds) => {
                let (id, rule, bounds) = (*id, rule.clone(), bounds.clone());
                let command = GrantRule { id, rule, bounds, reason: None, approved_by: None };
                apply(command, user, facts)
            }
            Self::Revoke(id) => apply(RevokeGrant { id: *id }, user, facts),
        }
    }
}

/// Carries out several changes of what one subject holds in one commit.
#[derive(Debug, Clone)]
pub struct ChangeHoldings {
    /// In this order; no two about one thing.
    pub changes: Vec<HoldingChange>,
    /// The book that names roles and whose constraints count.
    pub book: Arc<RoleBook>,
}

impl Command for ChangeHoldings {
    type Target = User;
    type Reply = ();
    type Refusal = AccessError;
    const NAME: &'static str = "change_holdings";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccessError> {
        let (mut after, mut events) = (user.clone(), Vec::new());
        for change in &self.changes {
            change.refuse_unknown(&self.book)?;
            events.extend(change.apply(&mut after, &self.book, facts)?);
        }
        let given: Vec<RoleId> = self.changes.iter().filter_map(|change| change.given(&self.book)).collect();
        refuse_joined(&self.book, &after.holdings.assignments, &given, facts.now)?;
        Ok(Decision { events, reply: () })
    }
}

/// One change of several.
#[derive(Debug, Clone)]
pub enum Change {
    /// To the role book.
    Book(BookChange),
    /// To what this subject holds.
    Holding(UserId, HoldingChange),
}

impl Change {
    /// The conditions that it brings.
    pub fn conditions(&self) -> Vec<&Condition> {
        match self {
            Self::Book(change) => change.conditions(),
            Self::Holding(_, HoldingChange::Grant(_, rule, _)) => rule.condition.iter().collect(),
            Self::Holding(..) => Vec::new(),
        }
    }
}

/// Decides on a copy, and applies what was decided.
///
/// # Errors
/// What the real command would refuse.
pub fn apply<C: Command>(
    command: C,
    target: &mut C::Target,
    facts: &Facts,
) -> Result<Vec<<C::Target as Aggregate>::Event>, C::Refusal> {
    let foreseen = command.foreseen();
    let events = command.decide(target, facts)?.events;
    match foreseen {
        Some(after) => *target = after,
        None => events.iter().for_each(|event| target.apply(event)),
    }
    Ok(events)
}

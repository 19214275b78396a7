//! The writes to the constraints of the role book. Whether somebody holds already what a constraint forbids is looked up
//! before (`access/guardian`): the book knows nobody.

use crate::access::book_aggregate::BookEvent;
use crate::access::error::AccessError;
use crate::access::model::{Constraint, ConstraintKind};
use crate::access::role_book::RoleBook;
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{ConstraintId, RoleId};
use crate::kernel::text::{ConstraintName, Note};

/// The most constraints.
pub const MAX_CONSTRAINTS: usize = 1000;
/// The most roles of one constraint.
pub const MAX_CONSTRAINED: usize = 100;

/// What a caller says of a constraint.
#[derive(Debug, Clone)]
pub struct ConstraintDraft {
    /// Its name.
    pub name: ConstraintName,
    /// What it speaks of.
    pub kind: ConstraintKind,
    /// The roles that it keeps apart.
    pub role_ids: Vec<RoleId>,
    /// So many of them are too many.
    pub cardinality: u32,
    /// For people.
    pub description: Option<Note>,
}

/// Defines a constraint.
#[derive(Debug, Clone)]
pub struct DefineConstraint {
    /// The new constraint's id.
    pub id: ConstraintId,
    /// What it is to be.
    pub draft: ConstraintDraft,
}

impl Command for DefineConstraint {
    type Target = RoleBook;
    type Reply = Constraint;
    type Refusal = AccessError;
    const NAME: &'static str = "define_constraint";

    fn decide(self, book: &RoleBook, facts: &Facts) -> Result<Decision<RoleBook, Constraint>, AccessError> {
        if book.separation().constraints().count() >= MAX_CONSTRAINTS {
            return Err(AccessError::TooMany(MAX_CONSTRAINTS));
        }
        let ConstraintDraft { name, kind, role_ids, cardinality, description } = sound(self.draft, self.id, book)?;
        let constraint = Constraint {
            id: self.id,
            name,
            kind,
            role_ids,
            cardinality,
            description,
            created_at: facts.now,
            updated_at: facts.now,
            version: 1,
        };
        Ok(Decision::one(BookEvent::ConstraintDefined(constraint.clone()), constraint))
    }
}

/// Makes a constraint what the draft says, all of it.
#[derive(Debug, Clone)]
pub struct ChangeConstraint {
    /// Which.
    pub id: ConstraintId,
    /// The version the caller saw.
    pub if_match: Option<u64>,
    /// What it is to be.
    pub draft: ConstraintDraft,
}

impl Command for ChangeConstraint {
    type Target = RoleBook;
    type Reply = Constraint;
    type Refusal = AccessError;
    const NAME: &'static str = "change_constraint";

    fn decide(self, book: &RoleBook, facts: &Facts) -> Result<Decision<RoleBook, Constraint>, AccessError> {
        let old = known(book, self.id, self.if_match)?;
        let ConstraintDraft { name, kind, role_ids, cardinality, description } = sound(self.draft, self.id, book)?;
        let same = Constraint { name, kind, role_ids, cardinality, description, ..old.clone() };
        if same == *old {
            return Ok(Decision::nothing(same));
        }
        let new = Constraint { updated_at: facts.now, version: old.version + 1, ..same };
        Ok(Decision::one(BookEvent::ConstraintDefined(new.clone()), new))
    }
}

/// Removes a constraint.
#[derive(Debug, Clone)]
pub struct RemoveConstraint {
    /// Which.
    pub id: ConstraintId,
    /// The version the caller saw.
    pub if_match: Option<u64>,
}

impl Command for RemoveConstraint {
    type Target = RoleBook;
    type Reply = ();
    type Refusal = AccessError;
    const NAME: &'static str = "remove_constraint";

    fn decide(self, book: &RoleBook, _: &Facts) -> Result<Decision<RoleBook, ()>, AccessError> {
        known(book, self.id, self.if_match)?;
        Ok(Decision::one(BookEvent::ConstraintRemoved(self.id), ()))
    }
}

/// The constraint, if it is the version that the caller saw.
fn known(book: &RoleBook, id: ConstraintId, if_match: Option<u64>) -> Result<&Constraint, AccessError> {
    let constraint = book.separation().constraint(id).ok_or(AccessError::Missing("constraint"))?;
    match if_match {
        Some(version) if version != constraint.version => Err(AccessError::Stale(constraint.version)),
        _ => Ok(constraint),
    }
}

/// The draft with its roles sorted, if it can be the constraint with this id.
fn sound(mut draft: ConstraintDraft, id: ConstraintId, book: &RoleBook) -> Result<ConstraintDraft, AccessError> {
    if book.separation().constraints().any(|other| other.name == draft.name && other.id != id) {
        return Err(AccessError::NameTaken("constraint"));
    }
    let mut wrong = Vec::new();
    for (index, role) in draft.role_ids.iter().enumerate() {
        if book.role(*role).is_none() {
            wrong.push(FieldError::new(format!("role_ids[{index}]"), "there is no such role"));
        }
    }
    draft.role_ids.sort_unstable();
    draft.role_ids.dedup();
    let count = draft.role_ids.len();
    if !(2..=MAX_CONSTRAINED).contains(&count) {
        wrong.push(FieldError::new("role_ids", format!("expected 2 to {MAX_CONSTRAINED} different roles")));
    } else if draft.cardinality < 2 || draft.cardinality as usize > count {
        wrong.push(FieldError::new("cardinality", format!("expected 2 to {count}, the number of its roles")));
    }
    if wrong.is_empty() { Ok(draft) } else { Err(AccessError::Fields(wrong)) }
}

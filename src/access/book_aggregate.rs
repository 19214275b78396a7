//! The role book as an entity: its events, its records, its audit notes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::alike::Alike;
use crate::access::model::{Constraint, Permission, Role};
use crate::access::role_book::RoleBook;
use crate::actor::aggregate::{Aggregate, Note, Part};
use crate::kernel::ids::{BookId, ConstraintId, PermissionId, RoleId};
use crate::store::codec::Stored;
use crate::store::key::Kind;
use crate::store::{Commit, Key, Record, Revision, StoreError, codec};

/// The id of the one role book of an instance.
pub const THE_BOOK: BookId = BookId::from_uuid(Uuid::from_u128(1));

/// What can happen to the role book.
#[derive(Debug, Clone)]
pub enum BookEvent {
    /// The book was opened for the first time.
    Opened,
    /// A permission came, or is described otherwise.
    PermissionDefined(Permission),
    /// A permission is gone.
    PermissionRemoved(PermissionId),
    /// A role came, or is another now.
    RoleDefined(Role),
    /// A role is gone.
    RoleRemoved(RoleId),
    /// A constraint on roles came, or is another now.
    ConstraintDefined(Constraint),
    /// A constraint is gone.
    ConstraintRemoved(ConstraintId),
}

/// The book's own record.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    next_number: u32,
}

impl Stored for Head {
    const VERSION: u8 = 1;
}

impl Aggregate for RoleBook {
    type Id = BookId;
    type Event = BookEvent;
    const KIND: &'static str = "role_book";

    fn id(&self) -> BookId {
        THE_BOOK
    }

    fn vacant(_: BookId) -> Self {
        Self::default()
    }

    fn is_vacant(&self) -> bool {
        !self.is_open
    }

    fn head(id: BookId) -> Key {
        Key::of(Kind::Book, &[id.bytes()])
    }

    fn parts(id: BookId) -> Vec<Part> {
        let all = |kind| Part::All(Key::of(kind, &[]));
        vec![Part::One(Self::head(id)), all(Kind::Permission), all(Kind::Role), all(Kind::Constraint)]
    }

    fn from_records(_: BookId, records: Vec<Record>) -> Result<Self, StoreError> {
        let mut head: Option<(Revision, Head)> = None;
        let (mut permissions, mut roles, mut constraints) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            match record.key.kind() {
                Some(Kind::Book) => head = Some((record.revision, codec::decode(&record.value)?)),
                Some(Kind::Permission) => permissions.push(codec::decode(&record.value)?),
                Some(Kind::Role) => roles.push(codec::decode(&record.value)?),
                Some(Kind::Constraint) => constraints.push(codec::decode(&record.value)?),
                _ => return Err(StoreError::Damaged(format!("{:?} is not part of a role book", record.key))),
            }
        }
        let Some((version, head)) = head else { return Ok(Self::default()) };
        let mut book = Self::of(permissions, roles).with_constraints(constraints);
        book.version = version;
        book.next_number = book.next_number.max(head.next_number);
        Ok(book)
    }

    fn version(&self) -> Revision {
        self.version
    }

    fn stamp(&mut self, revision: Revision) {
        (self.version, self.alike) = (revision, Alike::default());
    }

    fn apply(&mut self, event: &BookEvent) {
        self.alike = Alike::default();
        match event {
            BookEvent::Opened => self.is_open = true,
            BookEvent::PermissionDefined(permission) => self.put_permission(permission.clone()),
            BookEvent::PermissionRemoved(id) => self.remove_permission(*id),
            BookEvent::RoleDefined(role) => self.put_role(role.clone()),
            BookEvent::RoleRemoved(id) => self.remove_role(*id),
            BookEvent::ConstraintDefined(constraint) => self.put_constraint(constraint.id, Some(constraint.clone())),
            BookEvent::ConstraintRemoved(id) => self.put_constraint(*id, None),
        }
    }

    fn record(&self, _: &Self, event: &BookEvent, commit: &mut Commit) -> Result<(), StoreError> {
        match event {
            BookEvent::Opened => {}
            BookEvent::PermissionDefined(permission) => {
                commit.put(permission_key(permission.id), codec::encode(permission)?);
            }
            BookEvent::PermissionRemoved(id) => commit.remove(permission_key(*id)),
            BookEvent::RoleDefined(role) => commit.put(role_key(role.id), codec::encode(role)?),
            BookEvent::RoleRemoved(id) => commit.remove(role_key(*id)),
            BookEvent::ConstraintDefined(one) => commit.put(constraint_key(one.id), codec::encode(one)?),
            BookEvent::ConstraintRemoved(id) => commit.remove(constraint_key(*id)),
        }
        Ok(())
    }

    fn record_head(&self, commit: &mut Commit) -> Result<(), StoreError> {
        commit.put(Self::head(THE_BOOK), codec::encode(&Head { next_number: self.next_number })?);
        Ok(())
    }

    fn note(&self, before: &Self, event: &BookEvent) -> Option<Note> {
        let permission = |id: PermissionId, action| {
            let told = |book: &Self| book.permission(id).map(|permission| told_permission(permission));
            Note { action, target: id.to_string(), before: told(before), after: told(self) }
        };
        let role = |id: RoleId, action| {
            let told = |book: &Self| book.role(id).map(|role| told_role(role));
            Note { action, target: id.to_string(), before: told(before), after: told(self) }
        };
        let constraint = |id: ConstraintId, action| {
            let told = |book: &Self| book.separation().constraint(id).map(|one| told_constraint(one));
            Note { action, target: id.to_string(), before: told(before), after: told(self) }
        };
        match event {
            BookEvent::Opened => None,
            BookEvent::PermissionDefined(one) if one.version == 1 => {
                Some(permission(one.id, "access.permission_defined"))
            }
            BookEvent::PermissionDefined(one) => Some(permission(one.id, "access.permission_changed")),
            BookEvent::PermissionRemoved(id) => Some(permission(*id, "access.permission_removed")),
            BookEvent::RoleDefined(one) if one.version == 1 => Some(role(one.id, "access.role_defined")),
            BookEvent::RoleDefined(one) => Some(role(one.id, "access.role_changed")),
            BookEvent::RoleRemoved(id) => Some(role(*id, "access.role_removed")),
            BookEvent::ConstraintDefined(one) if one.version == 1 => {
                Some(constraint(one.id, "access.constraint_defined"))
            }
            BookEvent::ConstraintDefined(one) => Some(constraint(one.id, "access.constraint_changed")),
            BookEvent::ConstraintRemoved(id) => Some(constraint(*id, "access.constraint_removed")),
        }
    }
}

fn permission_key(id: PermissionId) -> Key {
    Key::of(Kind::Permission, &[id.bytes()])
}

fn role_key(id: RoleId) -> Key {
    Key::of(Kind::Role, &[id.bytes()])
}

fn constraint_key(id: ConstraintId) -> Key {
    Key::of(Kind::Constraint, &[id.bytes()])
}

fn told_constraint(constraint: &Constraint) -> Value {
    json!({
        "name": constraint.name,
        "kind": constraint.kind.text(),
        "role_ids": constraint.role_ids,
        "cardinality": constraint.cardinality,
        "description": constraint.description,
    })
}

fn told_permission(permission: &Permission) -> Value {
    json!({ "name": permission.name, "description": permission.description, "conditions": permission.conditions })
}

fn told_role(role: &Role) -> Value {
    json!({
        "name": role.name,
        "description": role.description,
        "parent_role_ids": role.parent_role_ids,
        "rules": role.rules,
        "is_active": role.is_active,
        "session_terms": role.session_terms,
    })
}

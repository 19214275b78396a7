//! The writes to the role book.

use crate::access::book_aggregate::BookEvent;
use crate::access::condition::Condition;
use crate::access::error::AccessError;
use crate::access::model::{Permission, Role, Rule};
use crate::access::pattern::{Effect, Pattern, PermissionName};
use crate::access::product::{BUILT_IN_ROLES, BuiltInRole, ProductPermission};
use crate::access::role_book::RoleBook;
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{PermissionId, RoleId};
use crate::kernel::text::{Note, RoleName};
use crate::sessions::terms::RoleTerms;

/// The most rules of one role: with 128 bytes each, its audit entry, before and after, fits a record.
pub const MAX_RULES: usize = 5_000;
/// The most conditions of one permission.
pub const MAX_CONDITIONS: usize = 16;
/// The most conditions of one role's rules together, in bytes: so that its record and its audit entry stay within bounds.
pub const MAX_CONDITION_BYTES: usize = 512 * 1024;
/// The most parents of one role.
pub const MAX_PARENTS: usize = 100;

/// Defines a permission.
#[derive(Debug, Clone)]
pub struct DefinePermission {
    /// The new permission's id.
    pub id: PermissionId,
    /// Its name.
    pub name: PermissionName,
    /// For people.
    pub description: Option<Note>,
    /// Under which conditions it can be had.
    pub conditions: Vec<Condition>,
}

impl Command for DefinePermission {
    type Target = RoleBook;
    type Reply = Permission;
    type Refusal = AccessError;
    const NAME: &'static str = "define_permission";

    fn decide(self, book: &RoleBook, facts: &Facts) -> Result<Decision<RoleBook, Permission>, AccessError> {
        if self.name.is_reserved() {
            return Err(AccessError::field("name", "names that begin with sesame. are the product's own"));
        }
        if book.permission_named(self.name.as_str()).is_some() {
            return Err(AccessError::NameTaken("permission"));
        }
        refuse_many(&self.conditions)?;
        let plain = permission(self.id, book.next_number, self.name, self.description, facts);
        let permission = Permission { conditions: self.conditions, ..plain };
        Ok(Decision::one(BookEvent::PermissionDefined(permission.clone()), permission))
    }
}

/// Describes a permission otherwise. Its name stays: roles and grants speak of it by name.
#[derive(Debug, Clone)]
pub struct ChangePermission {
    /// Which.
    pub id: PermissionId,
    /// The version the caller saw.
    pub if_match: Option<u64>,
    /// The name the caller believes it has.
    pub name: PermissionName,
    /// For people.
    pub description: Option<Note>,
    /// Under which conditions it can be had.
    pub conditions: Vec<Condition>,
}

impl Command for ChangePermission {
    type Target = RoleBook;
    type Reply = Permission;
    type Refusal = AccessError;
    const NAME: &'static str = "change_permission";

    fn decide(self, book: &RoleBook, facts: &Facts) -> Result<Decision<RoleBook, Permission>, AccessError> {
        let old = own_permission(book, self.id, self.if_match)?;
        if old.name != self.name {
            return Err(AccessError::field("name", "cannot change: roles and grants speak of it; define another"));
        }
        refuse_many(&self.conditions)?;
        if old.description == self.description && old.conditions == self.conditions {
            return Ok(Decision::nothing(old.clone()));
        }
        let new = Permission {
            description: self.description,
            conditions: self.conditions,
            updated_at: facts.now,
            version: old.version + 1,
            ..old.clone()
        };
        Ok(Decision::one(BookEvent::PermissionDefined(new.clone()), new))
    }
}

/// Removes a permission that no role names exactly.
#[derive(Debug, Clone)]
pub struct RemovePermission {
    /// Which.
    pub id: PermissionId,
    /// The version the caller saw.
    pub if_match: Option<u64>,
}

impl Command for RemovePermission {
    type Target = RoleBook;
    type Reply = ();
    type Refusal = AccessError;
    const NAME: &'static str = "remove_permission";

    fn decide(self, book: &RoleBook, _: &Facts) -> Result<Decision<RoleBook, ()>, AccessError> {
        let permission = own_permission(book, self.id, self.if_match)?;
        let users: Vec<String> = book.roles_naming(&permission.name).map(|role| role.name.to_string()).collect();
        if !users.is_empty() {
            return Err(AccessError::PermissionInUse(users));
        }
        Ok(Decision::one(BookEvent::PermissionRemoved(self.id), ()))
    }
}

/// What a caller says of a role.
#[derive(Debug, Clone)]
pub struct RoleDraft {
    /// Its name.
    pub name: RoleName,
    /// For people.
    pub description: Option<Note>,
    /// The roles it inherits from.
    pub parent_role_ids: Vec<RoleId>,
    /// Its own rules.
    pub rules: Vec<Rule>,
    /// Whether it gives anything.
    pub is_active: bool,
    /// What it demands of sessions.
    pub session_terms: RoleTerms,
}

/// Defines a role.
#[derive(Debug, Clone)]
pub struct DefineRole {
    /// The new role's id.
    pub id: RoleId,
    /// What it is to be.
    pub draft: RoleDraft,
}

impl Command for DefineRole {
    type Target = RoleBook;
    type Reply = Role;
    type Refusal = AccessError;
    const NAME: &'static str = "define_role";

    fn decide(self, book: &RoleBook, facts: &Facts) -> Result<Decision<RoleBook, Role>, AccessError> {
        let draft = sound(self.draft, self.id, book)?;
        let role = Role {
            id: self.id,
            name: draft.name,
            description: draft.description,
            parent_role_ids: draft.parent_role_ids,
            rules: draft.rules,
            is_active: draft.is_active,
            is_built_in: false,
            session_terms: draft.session_terms,
            created_at: facts.now,
            updated_at: facts.now,
            version: 1,
        };
        Ok(Decision::one(BookEvent::RoleDefined(role.clone()), role))
    }
}

/// Makes a role what the draft says, all of it.
#[derive(Debug, Clone)]
pub struct ChangeRole {
    /// Which.
    pub id: RoleId,
    /// The version the caller saw.
    pub if_match: Option<u64>,
    /// What it is to be.
    pub draft: RoleDraft,
}

impl Command for ChangeRole {
    type Target = RoleBook;
    type Reply = Role;
    type Refusal = AccessError;
    const NAME: &'static str = "change_role";

    fn decide(self, book: &RoleBook, facts: &Facts) -> Result<Decision<RoleBook, Role>, AccessError> {
        let old = own_role(book, self.id, self.if_match)?;
        let draft = sound(self.draft, self.id, book)?;
        let same = Role {
            name: draft.name,
            description: draft.description,
            parent_role_ids: draft.parent_role_ids,
            rules: draft.rules,
            is_active: draft.is_active,
            session_terms: draft.session_terms,
            ..old.clone()
        };
        if same == *old {
            return Ok(Decision::nothing(same));
        }
        let new = Role { updated_at: facts.now, version: old.version + 1, ..same };
        Ok(Decision::one(BookEvent::RoleDefined(new.clone()), new))
    }
}

/// Removes a role that no other inherits from and no constraint names. Whoever holds it holds nothing by it any more.
#[derive(Debug, Clone)]
pub struct RemoveRole {
    /// Which.
    pub id: RoleId,
    /// The version the caller saw.
    pub if_match: Option<u64>,
}

impl Command for RemoveRole {
    type Target = RoleBook;
    type Reply = ();
    type Refusal = AccessError;
    const NAME: &'static str = "remove_role";

    fn decide(self, book: &RoleBook, _: &Facts) -> Result<Decision<RoleBook, ()>, AccessError> {
        own_role(book, self.id, self.if_match)?;
        let children: Vec<String> = book.children(self.id).map(|role| role.name.to_string()).collect();
        if !children.is_empty() {
            return Err(AccessError::HasChildren(children));
        }
        let constraints = book.separation().constraints().filter(|one| one.role_ids.contains(&self.id));
        let constraints: Vec<String> = constraints.map(|one| one.name.to_string()).collect();
        if !constraints.is_empty() {
            return Err(AccessError::Constrained(constraints));
        }
        Ok(Decision::one(BookEvent::RoleRemoved(self.id), ()))
    }
}

/// Brings the product's own permissions and built-in roles up to what this program ships.
#[derive(Debug, Clone)]
pub struct SyncBuiltIns {
    /// An id for each of [`ProductPermission::ALL`], used if it is missing.
    pub permission_ids: Vec<PermissionId>,
    /// An id for each of [`BUILT_IN_ROLES`], used if it is missing.
    pub role_ids: Vec<RoleId>,
}

impl Command for SyncBuiltIns {
    type Target = RoleBook;
    type Reply = ();
    type Refusal = AccessError;
    const NAME: &'static str = "sync_built_ins";

    fn decide(self, book: &RoleBook, facts: &Facts) -> Result<Decision<RoleBook, ()>, AccessError> {
        let mut events = Vec::new();
        if !book.is_open {
            events.push(BookEvent::Opened);
        }
        let mut number = book.next_number;
        for (one, id) in ProductPermission::ALL.iter().zip(self.permission_ids) {
            if book.permission_named(one.name()).is_none() {
                let name = PermissionName::parse(one.name()).map_err(|error| AccessError::field("name", error.0))?;
                let about = Note::parse(one.about().trim()).ok();
                events.push(BookEvent::PermissionDefined(permission(id, number, name, about, facts)));
                number += 1;
            }
        }
        for (shipped, id) in BUILT_IN_ROLES.iter().zip(self.role_ids) {
            events.extend(moved_aside(shipped, book, facts)?.map(BookEvent::RoleDefined));
            events.extend(synced(shipped, id, book, facts)?.map(BookEvent::RoleDefined));
        }
        Ok(Decision { events, reply: () })
    }
}

/// An own role that has the name of a shipped one gets another name: nobody who holds it holds the shipped one thereby.
fn moved_aside(shipped: &BuiltInRole, book: &RoleBook, facts: &Facts) -> Result<Option<Role>, AccessError> {
    let parse = |text: &str| RoleName::parse(text).map_err(|error| AccessError::field("name", error.0));
    let Some(own) = book.role_named(&parse(shipped.name)?).filter(|role| !role.is_built_in) else { return Ok(None) };
    let mut name = parse(&format!("{} (own)", shipped.name))?;
    while book.role_named(&name).is_some() {
        name = parse(&format!("{name} (own)"))?;
    }
    Ok(Some(Role { name, updated_at: facts.now, version: own.version + 1, ..Role::clone(own) }))
}

/// The role as it ships, if the book has it otherwise or not at all.
fn synced(shipped: &BuiltInRole, id: RoleId, book: &RoleBook, facts: &Facts) -> Result<Option<Role>, AccessError> {
    let name = RoleName::parse(shipped.name).map_err(|error| AccessError::field("name", error.0))?;
    let rules: Vec<Rule> = shipped
        .permissions
        .iter()
        .map(|permission| PermissionName::parse(permission.name()))
        .map(|name| name.map(|name| Rule { effect: Effect::Allow, pattern: Pattern::Exact(name), condition: None }))
        .collect::<Result<_, _>>()
        .map_err(|error| AccessError::field("rules", error.0))?;
    let old = book.role_named(&name).filter(|old| old.is_built_in);
    if old.is_some_and(|old| old.rules == rules && old.is_active && old.is_built_in) {
        return Ok(None);
    }
    Ok(Some(Role {
        id: old.map_or(id, |old| old.id),
        name,
        description: Note::parse(shipped.about).ok(),
        parent_role_ids: Vec::new(),
        rules,
        is_active: true,
        is_built_in: true,
        session_terms: RoleTerms::default(),
        created_at: old.map_or(facts.now, |old| old.created_at),
        updated_at: facts.now,
        version: old.map_or(1, |old| old.version + 1),
    }))
}

fn permission(
    id: PermissionId,
    number: u32,
    name: PermissionName,
    description: Option<Note>,
    facts: &Facts,
) -> Permission {
    let conditions = Vec::new();
    Permission { id, number, name, description, conditions, created_at: facts.now, updated_at: facts.now, version: 1 }
}

fn refuse_many(conditions: &[Condition]) -> Result<(), AccessError> {
    if conditions.len() > MAX_CONDITIONS {
        return Err(AccessError::field("conditions", format!("at most {MAX_CONDITIONS}")));
    }
    Ok(())
}

/// The permission, if it is not the product's own and is the version that the caller saw.
fn own_permission(book: &RoleBook, id: PermissionId, if_match: Option<u64>) -> Result<&Permission, AccessError> {
    let permission = book.permission(id).ok_or(AccessError::Missing("permission"))?;
    if permission.name.is_reserved() {
        return Err(AccessError::BuiltIn("permission"));
    }
    match if_match {
        Some(version) if version != permission.version => Err(AccessError::Stale(permission.version)),
        _ => Ok(permission),
    }
}

/// The role, if it is not built in and is the version that the caller saw.
fn own_role(book: &RoleBook, id: RoleId, if_match: Option<u64>) -> Result<&Role, AccessError> {
    let role = book.role(id).ok_or(AccessError::Missing("role"))?;
    if role.is_built_in {
        return Err(AccessError::BuiltIn("role"));
    }
    match if_match {
        Some(version) if version != role.version => Err(AccessError::Stale(role.version)),
        _ => Ok(role),
    }
}

/// The draft without repetitions, if it can be the role with this id.
fn sound(mut draft: RoleDraft, id: RoleId, book: &RoleBook) -> Result<RoleDraft, AccessError> {
    if book.role_named(&draft.name).is_some_and(|other| other.id != id) {
        return Err(AccessError::NameTaken("role"));
    }
    let mut wrong = Vec::new();
    if draft.rules.len() > MAX_RULES {
        wrong.push(FieldError::new("permissions", format!("at most {MAX_RULES} rules")));
    }
    let sources =
        draft.rules.iter().filter_map(|rule| rule.condition.as_ref()).map(|condition| condition.source().len());
    if sources.sum::<usize>() > MAX_CONDITION_BYTES {
        wrong.push(FieldError::new("permissions", format!("at most {MAX_CONDITION_BYTES} bytes of conditions")));
    }
    if draft.parent_role_ids.len() > MAX_PARENTS {
        wrong.push(FieldError::new("parent_role_ids", format!("at most {MAX_PARENTS} parents")));
    }
    for (index, parent) in draft.parent_role_ids.iter().enumerate() {
        if *parent != id && book.role(*parent).is_none() {
            wrong.push(FieldError::new(format!("parent_role_ids[{index}]"), "there is no such role"));
        }
    }
    for (index, rule) in draft.rules.iter().enumerate() {
        if let Pattern::Exact(name) = &rule.pattern
            && book.permission_named(name.as_str()).is_none()
        {
            wrong.push(FieldError::new(format!("permissions[{index}]"), format!("permission {name} is not defined")));
        }
        let complaint = rule.complaint();
        wrong.extend(complaint.map(|what| FieldError::new(format!("permissions[{index}].condition"), what)));
    }
    if !wrong.is_empty() {
        return Err(AccessError::Fields(wrong));
    }
    for parent in &draft.parent_role_ids {
        if let Some(path) = book.path(*parent, id) {
            let names = path.iter().map(|role| if *role == id { draft.name.to_string() } else { name_of(book, *role) });
            return Err(AccessError::Cycle(std::iter::once(draft.name.to_string()).chain(names).collect()));
        }
    }
    draft.parent_role_ids.sort_unstable();
    draft.parent_role_ids.dedup();
    let mut seen = std::collections::HashSet::new();
    draft.rules.retain(|rule| seen.insert(rule.clone()));
    Ok(draft)
}

fn name_of(book: &RoleBook, id: RoleId) -> String {
    book.role(id).map_or_else(|| id.to_string(), |role| role.name.to_string())
}

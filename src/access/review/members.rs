//! Who holds a role: given to them, or by way of a role that inherits from it.

use std::collections::BTreeMap;

use crate::access::holders::List;
use crate::access::model::Assignment;
use crate::access::review::search::Row;
use crate::access::review::survey::Question;
use crate::access::role_book::RoleBook;
use crate::accounts::model::Nature;
use crate::actor::aggregate::Aggregate as _;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{RoleId, UserId};
use crate::user::User;

/// The names of the roles from the one that was given to the one asked about.
pub type Way = Vec<String>;

/// One assignment by which a subject holds the role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Person or application.
    pub nature: Nature,
    /// Whether it counts at the moment of the question.
    pub is_in_force: bool,
    /// What was given to it: the role, or one that inherits from it.
    pub assignment: Assignment,
}

impl Row for Member {
    fn bytes(&self) -> usize {
        let words = self.assignment.given.reason().map_or(0, |reason| reason.as_str().len() + 64);
        size_of::<Self>() + self.assignment.bounds.scope.as_str().len() + words
    }
}

/// The role and all that inherit from it, while all on the way are active: an inactive one passes nothing on.
pub fn ways(book: &RoleBook, id: RoleId) -> BTreeMap<RoleId, Way> {
    let name = |id: RoleId| book.role(id).map_or_else(String::new, |role| role.name.to_string());
    let mut ways = BTreeMap::from([(id, vec![name(id)])]);
    let mut waiting = vec![id];
    while let Some(role) = waiting.pop() {
        if book.role(role).is_none_or(|role| !role.is_active) {
            continue;
        }
        let way = ways.get(&role).cloned().unwrap_or_default();
        for child in book.children(role).filter(|child| child.is_active) {
            ways.entry(child.id).or_insert_with(|| {
                waiting.push(child.id);
                std::iter::once(child.name.to_string()).chain(way.iter().cloned()).collect()
            });
        }
    }
    ways
}

/// The roles by which a role is held, without itself.
pub fn heirs_in_force(book: &RoleBook, id: RoleId) -> Vec<RoleId> {
    ways(book, id).into_keys().filter(|role| *role != id).collect()
}

/// The question who holds a role.
pub struct Members {
    /// By which roles.
    pub ways: BTreeMap<RoleId, Way>,
    now: Timestamp,
    bytes: usize,
}

impl Members {
    /// Of this role: those it was given to (`Some(false)`), those who have it by another (`Some(true)`), or both.
    pub fn new(book: &RoleBook, role: RoleId, inherited: Option<bool>, now: Timestamp) -> Self {
        let mut ways = ways(book, role);
        ways.retain(|id, _| inherited.is_none_or(|wanted| wanted == (*id != role)));
        Self { ways, now, bytes: 0 }
    }
}

impl Question for Members {
    type Finding = Vec<Member>;

    fn lists(&self) -> Vec<List> {
        self.ways.keys().copied().map(List::Role).collect()
    }

    fn judge(&mut self, subject: &User) -> Option<Vec<Member>> {
        // They stand in the order of their keys: by role, then by scope.
        let held = subject.holdings.assignments.iter().filter(|held| self.ways.contains_key(&held.role_id));
        let member = |held: &Assignment| Member {
            user: subject.id(),
            nature: subject.nature(),
            is_in_force: subject.is_active() && held.bounds.hold_at(self.now),
            assignment: held.clone(),
        };
        let members: Vec<Member> = held.map(member).collect();
        self.bytes += members.iter().map(Row::bytes).sum::<usize>();
        Some(members).filter(|members| !members.is_empty())
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

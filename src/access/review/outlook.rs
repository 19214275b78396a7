//! What changes would do, over everybody: counted where they are worked out, read page by page.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::Serialize;

use crate::access::model::Constraint;
use crate::access::pattern::{PermissionName, Scope};
use crate::access::review::joined::NAMED;
use crate::access::review::open::Right;
use crate::access::review::shelf::{Place, Weigh};
use crate::access::role_book::RoleBook;
use crate::access::separation::Breach;
use crate::accounts::model::Nature;
use crate::kernel::ids::{ConstraintId, RoleId, UserId};
use crate::store::Revision;

/// One right that is another for a subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The number of the permission.
    pub permission: u32,
    /// Where; and below, down to the next scope in which the subject holds something.
    pub place: Scope,
    /// What it came to.
    pub before: Right,
    /// What it comes to.
    pub after: Right,
}

/// What becomes of a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Whatever a check passes, it was denied and is allowed.
    Gained,
    /// Whatever a check passes, it was allowed and is denied.
    Lost,
    /// It is another for some checks, by what they pass: the resource, the context, the session.
    Depends,
}

impl Difference {
    /// What becomes of the right.
    pub const fn direction(&self) -> Direction {
        match (self.before, self.after) {
            (Right::Denied, Right::Allowed) => Direction::Gained,
            (Right::Allowed, Right::Denied) => Direction::Lost,
            _ => Direction::Depends,
        }
    }
}

/// What changes for one subject.
#[derive(Debug, Clone)]
pub struct Gain {
    /// Person or application.
    pub nature: Nature,
    /// Sorted by permission, then by place. Shared by all who hold the same.
    pub differences: Arc<[Difference]>,
    /// The constraints that the subject would break.
    pub breaches: Box<[Breach]>,
}

/// The names of permissions, by number.
pub type Names = HashMap<u32, PermissionName, RandomState>;

/// What changes would do, over everybody.
#[derive(Debug)]
pub struct Outlook {
    /// As everything is at this revision.
    pub revision: Revision,
    /// Those for whom something is another right, or who would break something, by id.
    pub gains: Vec<(UserId, Gain)>,
    /// The names of the permissions, by number.
    pub names: Names,
    /// The book as it would be.
    pub book: Arc<RoleBook>,
    /// Over all permissions.
    pub all: Tally,
    /// By the name of each permission to which the right of somebody is another.
    pub each: BTreeMap<PermissionName, Tally>,
    /// The constraints that subjects would break, each with who would.
    pub broken: Vec<Broken>,
    bytes: usize,
}

/// A constraint that subjects would break.
#[derive(Debug)]
pub struct Broken {
    /// Which.
    pub constraint: Arc<Constraint>,
    /// How many subjects.
    pub subjects: usize,
    /// The first of them, and the roles of the constraint that they would have together.
    pub first: Vec<(UserId, Nature, Vec<RoleId>)>,
}

/// For how many subjects something is another right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// So many gain something.
    pub gaining: usize,
    /// So many lose something.
    pub losing: usize,
    /// For so many it depends on what a check passes.
    pub depending: usize,
}

impl Tally {
    /// For so many subjects just this is another right.
    fn note(&mut self, differences: &[Difference], subjects: usize) {
        let those = |direction| {
            if differences.iter().any(|one| one.direction() == direction) { subjects } else { 0 }
        };
        self.gaining += those(Direction::Gained);
        self.losing += those(Direction::Lost);
        self.depending += those(Direction::Depends);
    }
}

impl Gain {
    /// About how many bytes it takes, without the differences.
    pub fn own_bytes(&self) -> usize {
        let of_breach = |breach: &Breach| size_of::<Breach>() + size_of_val(&*breach.roles);
        size_of::<(UserId, Self)>() + self.breaches.iter().map(of_breach).sum::<usize>()
    }
}

impl Outlook {
    /// What was found by asking everybody. Takes long where it is much: not for workers.
    pub fn of(revision: Revision, gains: Vec<(UserId, Gain)>, names: Names, book: Arc<RoleBook>) -> Self {
        let own: usize = gains.iter().map(|(_, gain)| gain.own_bytes()).sum();
        // Whoever gains and loses the same is counted at once.
        let mut kinds: HashMap<*const Difference, (&Arc<[Difference]>, usize), RandomState> = HashMap::default();
        for (_, gain) in &gains {
            kinds.entry(gain.differences.as_ptr()).or_insert((&gain.differences, 0)).1 += 1;
        }
        let (mut all, mut each, mut shared) = (Tally::default(), BTreeMap::<PermissionName, Tally>::new(), 0);
        for (differences, subjects) in kinds.into_values() {
            shared += size_of_val(&**differences);
            all.note(differences, subjects);
            for group in differences.chunk_by(|one, next| one.permission == next.permission) {
                if let Some(name) = group.first().and_then(|one| names.get(&one.permission)) {
                    each.entry(name.clone()).or_default().note(group, subjects);
                }
            }
        }
        let broken = broken(&gains);
        let bytes = own + shared + (names.len() + each.len()) * 64;
        Self { revision, gains, names, book, all, each, broken, bytes }
    }

    /// The differences from this place on, at most so many, and where the next ones begin.
    pub fn page(&self, from: Place, limit: usize) -> (Vec<(UserId, Nature, &Difference)>, Option<Place>) {
        let mut found = Vec::new();
        for (item, (user, gain)) in self.gains.iter().enumerate().skip(from.item) {
            let first = if item == from.item { from.part } else { 0 };
            for (part, difference) in gain.differences.iter().enumerate().skip(first) {
                if found.len() == limit {
                    return (found, Some(Place { item, part }));
                }
                found.push((*user, gain.nature, difference));
            }
        }
        (found, None)
    }
}

fn broken(gains: &[(UserId, Gain)]) -> Vec<Broken> {
    let mut broken: BTreeMap<ConstraintId, Broken> = BTreeMap::new();
    let all = gains.iter().flat_map(|(user, gain)| gain.breaches.iter().map(move |breach| (user, gain, breach)));
    for (user, Gain { nature, .. }, Breach { constraint, roles }) in all {
        let new = || Broken { constraint: Arc::clone(constraint), subjects: 0, first: Vec::new() };
        let of_constraint = broken.entry(constraint.id).or_insert_with(new);
        of_constraint.subjects += 1;
        if of_constraint.first.len() < NAMED {
            of_constraint.first.push((*user, *nature, roles.clone()));
        }
    }
    broken.into_values().collect()
}

impl Weigh for Outlook {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

//! What changes would do: who gains and who loses which permissions, and where; and for whom that depends on what a check
//! passes (`open`).
//!
//! A right is compared at every place at which it can differ: everywhere, and in each scope that the subject holds
//! something in; between those places nothing differs. Only who holds a role that comes to something else, or was granted
//! a pattern that means something else, or is named by a change, is looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use roaring::RoaringBitmap;

use crate::access::error::AccessError;
use crate::access::escalation::reach;
use crate::access::holders::List;
use crate::access::model::ConstraintKind;
use crate::access::pattern::{Effect, Pattern, PermissionName, Scope};
use crate::access::review::change::{Change, HoldingChange};
use crate::access::review::conditioned::{OtherNames, givers, reconditioned};
use crate::access::review::open::{Looks, Right, Side};
use crate::access::review::outlook::{Difference, Direction, Gain, Names, Outlook};
use crate::access::review::survey::{Question, Survey};
use crate::access::role_book::{Closure, RoleBook};
use crate::access::separation::{Breach, Separation};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::Facts;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{RoleId, UserId};
use crate::store::Revision;
use crate::user::User;

/// Why one of the changes cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// Its place among the changes.
    pub change: usize,
    /// What the real change would be refused with.
    pub why: AccessError,
}

impl Refused {
    /// The same, with the change's place before the names of the fields.
    pub fn of_several(self) -> Self {
        let Self { change, why } = self;
        let why = match why {
            AccessError::Fields(fields) => {
                let placed =
                    |wrong: FieldError| FieldError::new(format!("changes[{change}].{}", wrong.field), wrong.message);
                AccessError::Fields(fields.into_iter().map(placed).collect())
            }
            why => why,
        };
        Self { change, why }
    }
}

/// The roles somebody holds at one moment, and where.
type Signature = Vec<(RoleId, Scope)>;

/// Each direction, with rights that go in it.
const DIRECTIONS: [(Direction, (Right, Right)); 3] = [
    (Direction::Gained, (Right::Denied, Right::Allowed)),
    (Direction::Lost, (Right::Allowed, Right::Denied)),
    (Direction::Depends, (Right::Depends, Right::Depends)),
];

/// The most kinds of holders whose differences are remembered.
const MOST_REMEMBERED: usize = 50_000;

/// The question what some changes would do.
pub struct Preview {
    before: Arc<RoleBook>,
    after: Arc<RoleBook>,
    facts: Facts,
    /// The permissions that anything differs about.
    touched: RoaringBitmap,
    /// The names of all permissions, by number.
    all_names: Names,
    /// Permissions that are removed and defined again: the new number of each old one.
    renumbered: BTreeMap<u32, u32>,
    /// What conditions see otherwise.
    other_names: OtherNames,
    roles: Vec<RoleId>,
    patterns: BTreeSet<Pattern>,
    own: BTreeMap<UserId, Vec<(usize, HoldingChange)>>,
    seen: BTreeSet<UserId>,
    refusal: Option<Refused>,
    remembered: HashMap<Signature, Arc<[Difference]>, RandomState>,
    /// What the conditions look at.
    looks: Looks,
    /// Where only counts are wanted: what stands for each set of directions, by its bits.
    marks: Option<[Arc<[Difference]>; 8]>,
    /// What was found takes so many bytes, about.
    bytes: usize,
}

impl Preview {
    /// Applies the changes to a copy of this book, in their order; then asks what differs.
    ///
    /// # Errors
    /// What a real change would refuse.
    pub fn new(book: &Arc<RoleBook>, changes: Vec<Change>, facts: Facts) -> Result<Self, Refused> {
        let mut after = RoleBook::clone(book);
        let mut own: BTreeMap<UserId, Vec<(usize, HoldingChange)>> = BTreeMap::new();
        for (number, change) in changes.into_iter().enumerate() {
            let refused = |why| Refused { change: number, why };
            match change {
                Change::Book(change) => drop(change.apply(&mut after, &facts).map_err(refused)?),
                Change::Holding(user, change) => own.entry(user).or_default().push((number, change)),
            }
        }
        for (number, change) in own.values().flatten() {
            change.refuse_unknown(&after).map_err(|why| Refused { change: *number, why })?;
        }
        // What is joined with one of the books is never taken for joined with the other.
        after.stamp(Revision(u64::MAX));
        let mut preview = Self {
            before: Arc::clone(book),
            after: Arc::new(after),
            facts,
            touched: RoaringBitmap::new(),
            all_names: HashMap::default(),
            renumbered: BTreeMap::new(),
            other_names: OtherNames::default(),
            roles: Vec::new(),
            patterns: BTreeSet::new(),
            own,
            seen: BTreeSet::new(),
            refusal: None,
            remembered: HashMap::default(),
            looks: Looks::default(),
            marks: None,
            bytes: 0,
        };
        preview.compare_books();
        Ok(preview)
    }

    /// The same, where it is enough to know who gains and who loses something, and not what.
    #[must_use]
    pub fn counting(self) -> Self {
        let mark = |(before, after)| Difference { permission: u32::MAX, place: Scope::everywhere(), before, after };
        let one_each = DIRECTIONS.map(|(_, rights)| mark(rights));
        let marks = std::array::from_fn(|bits| {
            let has = |at: &usize| bits & 1 << at != 0;
            (0..one_each.len()).filter(has).filter_map(|at| one_each.get(at).cloned()).collect()
        });
        Self { marks: Some(marks), ..self }
    }

    /// What was found by asking everybody. Takes long where it is much: not for workers.
    pub fn outlook(&self, survey: Survey<Gain>) -> Outlook {
        Outlook::of(survey.revision, survey.found, self.names(), Arc::clone(&self.after))
    }

    /// Why a change to a subject cannot be: because of what it holds, or because it is not there.
    pub fn refusal(&mut self) -> Option<Refused> {
        let missing = self.own.iter().find(|(user, _)| !self.seen.contains(user));
        let missing = missing.and_then(|(_, changes)| changes.first()).map(|(number, _)| *number);
        let gone = missing.map(|change| Refused { change, why: AccessError::Missing("subject") });
        self.refusal.take().or(gone)
    }

    /// The names of the permissions that anything differs about, by number.
    fn names(&self) -> Names {
        let all = self.before.permissions().chain(self.after.permissions());
        let touched = all.filter(|permission| self.touched.contains(permission.number));
        touched.map(|permission| (permission.number, permission.name.clone())).collect()
    }

    /// Finds the roles that come to something else, and the patterns that mean something else.
    fn compare_books(&mut self) {
        let (before, after) = (Arc::clone(&self.before), Arc::clone(&self.after));
        let all = before.permissions().chain(after.permissions());
        self.all_names = all.map(|permission| (permission.number, permission.name.clone())).collect();
        let nothing = Closure::default();
        for role in before.roles() {
            let old = before.closure(role.id).map_or(&nothing, Arc::as_ref);
            let new = after.closure(role.id).map_or(&nothing, Arc::as_ref);
            if !std::ptr::eq(old, new) && old != new {
                self.roles.push(role.id);
                self.touched |= old.differing(new);
            }
        }
        let reconditioned = reconditioned(&before, &after);
        for (book, other) in [(&before, &after), (&after, &before)] {
            for permission in book.permissions() {
                let counterpart = other.number_of(permission.name.as_str());
                if counterpart != Some(permission.number) || reconditioned.contains(permission.number) {
                    self.touched.insert(permission.number);
                    self.patterns.extend(patterns_about(&permission.name));
                }
            }
        }
        self.roles.extend(givers(&before, &after, &reconditioned));
        self.other_names = OtherNames::between(&before, &after);
        self.roles.extend(&self.other_names.roles);
        self.touched |= &self.other_names.permissions;
        let renumbered = before.permissions().filter(|one| self.touched.contains(one.number));
        let renumbered = renumbered.filter_map(|one| Some((one.number, after.number_of(one.name.as_str())?)));
        self.renumbered = renumbered.filter(|(old, new)| old != new).collect();
    }

    /// Notes the permissions that what a change gives or takes is about.
    fn touch(&mut self, user: &User) {
        for book in [&self.before, &self.after] {
            let all = reach(book, &user.holdings);
            self.touched |= all.whole(Effect::Allow) | all.whole(Effect::Deny);
        }
    }

    fn differences(&mut self, before: &User, after: &User) -> Arc<[Difference]> {
        let differences = self.compared(before, after);
        if let Some(marks) = &self.marks {
            let has = |direction| differences.iter().any(|one| one.direction() == direction);
            let bit = |(at, (direction, _)): (usize, (Direction, _))| usize::from(has(direction)) << at;
            let bits: usize = DIRECTIONS.into_iter().enumerate().map(bit).sum();
            return marks.get(bits).map(Arc::clone).unwrap_or_default();
        }
        self.bytes += size_of_val(&*differences);
        differences.into()
    }

    fn compared(&mut self, before: &User, after: &User) -> Vec<Difference> {
        let places: BTreeSet<&Scope> = [before, after].into_iter().flat_map(places).collect();
        let everywhere = Scope::everywhere();
        let allowed = |book, user: &User| reach(book, &user.holdings).whole(Effect::Allow);
        let allowed = allowed(&self.before, before) | allowed(&self.after, after);
        // A permission that is removed and defined again is one permission, under its new number.
        let numbers: BTreeSet<u32> = (allowed & &self.touched)
            .into_iter()
            .map(|number| self.renumbered.get(&number).copied().unwrap_or(number))
            .collect();
        let now = self.facts.now;
        let (before, after) = (Side::of(before, &self.before, now), Side::of(after, &self.after, now));
        let mut differences = Vec::new();
        for permission in numbers {
            let Some(name) = self.all_names.get(&permission) else { continue };
            for place in std::iter::once(&everywhere).chain(places.iter().copied()) {
                let was = before.find(name, place, &mut self.looks);
                let is = after.find(name, place, &mut self.looks);
                if was != is {
                    let (before, after) = (was.right(), is.right());
                    differences.push(Difference { permission, place: place.clone(), before, after });
                }
            }
        }
        differences
    }
}

impl Question for Preview {
    type Finding = Gain;

    fn lists(&self) -> Vec<List> {
        let separation = self.after.separation();
        let tightened = Separation::tightened(&self.before, &self.after);
        let bearers = tightened.flat_map(|constraint| separation.bearers(constraint));
        let roles: BTreeSet<RoleId> = self.roles.iter().copied().chain(bearers).collect();
        roles.into_iter().map(List::Role).chain(self.patterns.iter().cloned().map(List::Pattern)).collect()
    }

    fn others(&self) -> BTreeSet<UserId> {
        self.own.keys().copied().collect()
    }

    fn judge(&mut self, subject: &User) -> Option<Gain> {
        let (differences, breaches) = if let Some(changes) = self.own.get(&subject.id()).cloned() {
            self.seen.insert(subject.id());
            let mut after = subject.clone();
            for (number, change) in &changes {
                if let Err(why) = change.apply(&mut after, &self.after, &self.facts) {
                    self.refusal.get_or_insert(Refused { change: *number, why });
                    return None;
                }
            }
            self.touch(subject);
            self.touch(&after);
            (self.differences(subject, &after), self.breaches(&after))
        } else {
            (self.differences_by_roles(subject), self.breaches(subject))
        };
        let is_found = !breaches.is_empty() || !differences.is_empty();
        let gain = is_found.then(|| Gain { nature: subject.nature(), differences, breaches })?;
        self.bytes += gain.own_bytes();
        Some(gain)
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Preview {
    /// What this subject would have together and may not.
    fn breaches(&self, subject: &User) -> Box<[Breach]> {
        let held = &subject.holdings.assignments;
        self.after.separation().breaches(ConstraintKind::Static, held, self.facts.now).collect()
    }

    /// Whether what is given to it may depend on who it is.
    fn is_conditional(&self, subject: &User) -> bool {
        [&self.before, &self.after].into_iter().any(|book| {
            let mut closures = subject.holdings.assignments.iter().filter_map(|held| book.closure(held.role_id));
            book.has_conditional_permissions() || closures.any(|closure| !closure.conditional.is_empty())
        })
    }

    /// Whoever holds the same roles in the same places gains and loses the same.
    fn differences_by_roles(&mut self, subject: &User) -> Arc<[Difference]> {
        let mut same = subject.clone();
        // A copy of its own: what it comes to with one book is kept beside it, and with the other beside the other.
        Arc::make_mut(&mut same.holdings);
        for grant in self.other_names.of_grants(&subject.holdings.grants) {
            let spoken = self.after.bits_of([&grant.rule]);
            self.touched |= spoken.whole(Effect::Allow) | spoken.whole(Effect::Deny);
        }
        let now = self.facts.now;
        let held = &subject.holdings.assignments;
        // What holds at another time gives nothing, and yet is told of in its place.
        let has_others = !subject.holdings.grants.is_empty() || held.iter().any(|held| !held.bounds.hold_at(now));
        if !subject.is_active() || has_others || self.is_conditional(subject) {
            return self.differences(subject, &same);
        }
        let signature: Signature = held.iter().map(|held| (held.role_id, held.bounds.scope.clone())).collect();
        if let Some(known) = self.remembered.get(&signature) {
            return Arc::clone(known);
        }
        let differences = self.differences(subject, &same);
        if self.remembered.len() < MOST_REMEMBERED {
            self.remembered.insert(signature, Arc::clone(&differences));
        }
        differences
    }
}

/// The scopes that a subject holds something in.
fn places(user: &User) -> impl Iterator<Item = &Scope> {
    let assigned = user.holdings.assignments.iter().map(|held| &held.bounds.scope);
    let granted = user.holdings.grants.iter().map(|held| &held.bounds.scope);
    assigned.chain(granted).filter(|scope| !scope.is_everywhere())
}

/// The patterns of grants that speak of this permission.
pub(super) fn patterns_about(name: &PermissionName) -> impl Iterator<Item = Pattern> {
    let all = [
        Pattern::Exact(name.clone()),
        Pattern::Resource(name.resource().into()),
        Pattern::Action(name.action().into()),
        Pattern::All,
    ];
    all.into_iter().filter(|pattern| pattern.matches(name))
}

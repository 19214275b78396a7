//! What one subject may do: its assignments and grants joined with the role book, and the decision from it.
//!
//! Deny wins over allow, whatever the order, the depth or the place; nothing matching is a denial. Time is exact: what
//! has bounds in time is looked at when asked, never joined. Everything else is joined once per view and role book.
//!
//! What speaks on a condition stands apart, and is looked at only when nothing unconditional denies. It fails closed: an
//! allow whose condition errs does not match, a deny whose condition errs denies. What all conditions of one decision may
//! look at together is bounded (`condition/budget`); beyond, they err.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use roaring::RoaringBitmap;
use serde::Serialize;
use smallvec::SmallVec;

use crate::access::activation::Kept;
use crate::access::condition::datum::Variables;
use crate::access::condition::{Condition, Truth};
use crate::access::model::{Assignment, Bounds, Grant};
use crate::access::pattern::{Effect, Scope};
use crate::access::role_book::{Closure, RoleBook};
use crate::kernel::clock::Timestamp;
use crate::kernel::step::step;
use crate::store::Revision;

/// Why a check came out as it did. The names are permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A role of the subject gives it.
    GrantedByRole,
    /// A grant to the subject itself gives it.
    GrantedDirectly,
    /// A role of the subject takes it.
    DeniedByRole,
    /// A grant to the subject itself takes it.
    DeniedDirectly,
    /// Nothing the subject holds here and now speaks of it.
    NoMatchingGrant,
    /// A role of the subject gives it, and is not in force in this session.
    RoleNotActivated,
    /// What would allow it has a condition that is not met.
    ConditionNotMet,
    /// What would allow it has a condition that could not be evaluated.
    ConditionError,
    /// What may deny it has a condition that could not be evaluated.
    DeniedByConditionError,
    /// There is no such subject.
    UnknownSubject,
    /// No such permission is defined.
    UnknownPermission,
    /// The subject is suspended.
    SubjectSuspended,
    /// The session has ended or expired, or never was.
    SessionNotActive,
    /// The resource is stored in another scope than the one that was passed.
    ResourceElsewhere,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::GrantedByRole,
        Self::GrantedDirectly,
        Self::DeniedByRole,
        Self::DeniedDirectly,
        Self::NoMatchingGrant,
        Self::ConditionNotMet,
        Self::ConditionError,
        Self::DeniedByConditionError,
        Self::UnknownSubject,
        Self::UnknownPermission,
        Self::SubjectSuspended,
        Self::SessionNotActive,
        Self::RoleNotActivated,
        Self::ResourceElsewhere,
    ];

    /// The name, as it is written in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GrantedByRole => "granted_by_role",
            Self::GrantedDirectly => "granted_directly",
            Self::DeniedByRole => "denied_by_role",
            Self::DeniedDirectly => "denied_directly",
            Self::NoMatchingGrant => "no_matching_grant",
            Self::ConditionNotMet => "condition_not_met",
            Self::ConditionError => "condition_error",
            Self::DeniedByConditionError => "denied_by_condition_error",
            Self::UnknownSubject => "unknown_subject",
            Self::UnknownPermission => "unknown_permission",
            Self::SubjectSuspended => "subject_suspended",
            Self::SessionNotActive => "session_not_active",
            Self::RoleNotActivated => "role_not_activated",
            Self::ResourceElsewhere => "resource_elsewhere",
        }
    }

    /// Whether this is a reason to allow.
    pub const fn allows(self) -> bool {
        matches!(self, Self::GrantedByRole | Self::GrantedDirectly)
    }
}

/// What a subject was given. Its joined form is kept beside it, and made anew when the role book has changed.
#[derive(Debug, Default)]
pub struct Holdings {
    /// Roles, sorted by role and scope.
    pub assignments: Vec<Assignment>,
    /// Direct grants, by id.
    pub grants: Vec<Grant>,
    joined: ArcSwapOption<Effective>,
    pub(super) in_sessions: Kept,
}

impl Clone for Holdings {
    fn clone(&self) -> Self {
        Self::new(self.assignments.clone(), self.grants.clone())
    }
}

impl Holdings {
    /// These assignments and grants.
    pub fn new(assignments: Vec<Assignment>, grants: Vec<Grant>) -> Self {
        Self { assignments, grants, ..Self::default() }
    }

    /// Decides about the permission with this number, in this place, at this moment. The permission's own conditions are
    /// not looked at.
    pub fn decide(
        &self,
        book: &RoleBook,
        permission: u32,
        scope: &Scope,
        now: Timestamp,
        setting: &dyn Setting,
    ) -> Reason {
        step();
        let joined = self.joined.load();
        match &*joined {
            Some(effective) if effective.book == book.version() => {
                effective.decide(book, permission, scope, now, setting)
            }
            _ => {
                let effective = book.alike.effective(self, book);
                let reason = effective.decide(book, permission, scope, now, setting);
                step();
                self.joined.store(Some(effective));
                reason
            }
        }
    }
}

/// What conditions look at, for the one decision that meets some.
pub trait Setting {
    /// Builds the variables as conditions of what gives, or takes, see them, and shows them.
    fn look(&self, book: &RoleBook, effect: Effect, see: &mut dyn FnMut(&dyn Variables));

    /// What a condition comes to, within what all conditions of the decision may cost; an error is noted.
    fn judge(&self, condition: &Condition, variables: &dyn Variables) -> Truth;
}

/// A subject's holdings joined with one role book.
#[derive(Debug)]
pub(super) struct Effective {
    book: Revision,
    /// What holds everywhere, at any time: most subjects have nothing else.
    everywhere: Held,
    bounded: Option<Box<Bounded>>,
}

/// What does not hold everywhere and always.
#[derive(Debug)]
struct Bounded {
    /// What holds at any time in some place and below, by place, sorted.
    places: Box<[(Scope, Held)]>,
    /// What holds only for a time.
    timed: Box<[Timed]>,
    /// What speaks on a condition, wherever and whenever.
    conditional: Box<[Timed]>,
}

/// What speaks of a permission; the greatest that is found decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Voice {
    AllowedDirectly,
    AllowedByRole,
    DeniedByRole,
    DeniedDirectly,
}

impl Voice {
    const ALL: [Self; 4] = [Self::AllowedDirectly, Self::AllowedByRole, Self::DeniedByRole, Self::DeniedDirectly];

    const fn reason(self) -> Reason {
        match self {
            Self::AllowedDirectly => Reason::GrantedDirectly,
            Self::AllowedByRole => Reason::GrantedByRole,
            Self::DeniedByRole => Reason::DeniedByRole,
            Self::DeniedDirectly => Reason::DeniedDirectly,
        }
    }
}

/// What one assignment or grant comes to.
#[derive(Debug, Clone)]
struct Source {
    closure: Arc<Closure>,
    is_direct: bool,
}

impl Source {
    fn voice(&self, permission: u32) -> Option<Voice> {
        let (allowed, denied) = self.voices();
        if self.closure.deny.contains(permission) {
            Some(denied)
        } else {
            self.closure.allow.contains(permission).then_some(allowed)
        }
    }

    const fn voices(&self) -> (Voice, Voice) {
        if self.is_direct {
            (Voice::AllowedDirectly, Voice::DeniedDirectly)
        } else {
            (Voice::AllowedByRole, Voice::DeniedByRole)
        }
    }
}

/// One assignment or grant with bounds in time.
#[derive(Debug)]
struct Timed {
    bounds: Bounds,
    source: Source,
}

/// Up to so many permissions are written out beside the subject: one read of memory instead of one for each role.
const FEW: u64 = 64;
/// So many of them stand in one piece with what else is joined.
const INLINE: usize = 16;
/// More roles than this in one place are joined into one: a check asks each in turn.
const SEPARATE_CLOSURES: usize = 4;
/// Where the number stands in a written-out entry, above its [`Voice`].
const VOICE_BITS: u32 = 2;

/// What holds in one place.
#[derive(Debug)]
enum Held {
    /// Each permission that is spoken of with the voice, sorted.
    Few(SmallVec<[u32; INLINE]>),
    /// Too many to write out: shared with the role book where it can be.
    Many(Box<[Source]>),
}

impl Held {
    fn of(sources: Vec<Source>) -> Self {
        let spoken = |source: &Source| source.closure.allow.len() + source.closure.deny.len();
        let fits = |bits: &RoaringBitmap| bits.max().is_none_or(|number| number < 1 << (u32::BITS - VOICE_BITS));
        let is_few = sources.iter().map(spoken).sum::<u64>() <= FEW
            && sources.iter().all(|source| fits(&source.closure.allow) && fits(&source.closure.deny));
        if is_few {
            return Self::Few(written_out(&sources));
        }
        let (direct, mut roles): (Vec<_>, Vec<_>) = sources.into_iter().partition(|source| source.is_direct);
        if roles.len() > SEPARATE_CLOSURES {
            roles = vec![joined(&roles)];
        }
        if !direct.is_empty() {
            roles.push(joined(&direct));
        }
        Self::Many(roles.into())
    }

    fn voice(&self, permission: u32) -> Option<Voice> {
        match self {
            Self::Few(entries) => {
                // The last entry about a permission has the greatest voice.
                let behind = entries.partition_point(|entry| entry >> VOICE_BITS <= permission);
                let entry = entries.get(behind.checked_sub(1)?)?;
                let voice = Voice::ALL.get((entry & ((1 << VOICE_BITS) - 1)) as usize).copied();
                voice.filter(|_| entry >> VOICE_BITS == permission)
            }
            Self::Many(sources) => sources.iter().filter_map(|source| source.voice(permission)).max(),
        }
    }
}

fn written_out(sources: &[Source]) -> SmallVec<[u32; INLINE]> {
    let mut entries = Vec::new();
    for source in sources {
        let (allowed, denied) = source.voices();
        for (bits, voice) in [(&source.closure.allow, allowed), (&source.closure.deny, denied)] {
            entries.extend(bits.iter().map(|number| number << VOICE_BITS | voice as u32));
        }
    }
    entries.sort_unstable();
    entries.dedup();
    SmallVec::from_slice(&entries)
}

/// All of one kind as one.
fn joined(sources: &[Source]) -> Source {
    let closures: Vec<_> = sources.iter().map(|source| Arc::clone(&source.closure)).collect();
    let is_direct = sources.first().is_some_and(|source| source.is_direct);
    Source { closure: Closure::joined(&closures), is_direct }
}

impl Effective {
    pub(super) fn join(holdings: &Holdings, book: &RoleBook) -> Self {
        let roles = holdings
            .assignments
            .iter()
            .filter_map(|assignment| Some((&assignment.bounds, Arc::clone(book.closure(assignment.role_id)?))));
        Self::of(book, roles, &holdings.grants)
    }

    /// Of what roles come to, each with its bounds, and of grants.
    pub(super) fn of<'a>(
        book: &RoleBook,
        roles: impl Iterator<Item = (&'a Bounds, Arc<Closure>)>,
        grants: &'a [Grant],
    ) -> Self {
        let roles = roles.map(|(bounds, closure)| (bounds, Source { closure, is_direct: false }));
        let grants = grants.iter().map(|grant| {
            let closure = Arc::new(book.bits_of([&grant.rule]));
            (&grant.bounds, Source { closure, is_direct: true })
        });
        let (mut everywhere, mut places, mut timed) = (Vec::new(), BTreeMap::<_, Vec<_>>::new(), Vec::new());
        let mut conditional = Vec::new();
        for (bounds, source) in roles.chain(grants) {
            if !source.closure.conditional.is_empty() {
                conditional.push(Timed { bounds: bounds.clone(), source: source.clone() });
            }
            if !bounds.are_timeless() {
                timed.push(Timed { bounds: bounds.clone(), source });
            } else if bounds.scope.is_everywhere() {
                everywhere.push(source);
            } else {
                places.entry(bounds.scope.clone()).or_default().push(source);
            }
        }
        let is_bounded = !places.is_empty() || !timed.is_empty() || !conditional.is_empty();
        let bounded = is_bounded.then(|| {
            let places = places.into_iter().map(|(scope, sources)| (scope, Held::of(sources))).collect();
            Box::new(Bounded { places, timed: timed.into(), conditional: conditional.into() })
        });
        Self { book: book.version(), everywhere: Held::of(everywhere), bounded }
    }

    pub(super) fn decide(
        &self,
        book: &RoleBook,
        permission: u32,
        scope: &Scope,
        now: Timestamp,
        setting: &dyn Setting,
    ) -> Reason {
        let voice = self.everywhere.voice(permission);
        match &self.bounded {
            None => reason_of(voice),
            Some(bounded) => bounded.decide(voice, book, permission, scope, now, setting),
        }
    }
}

fn reason_of(voice: Option<Voice>) -> Reason {
    voice.map_or(Reason::NoMatchingGrant, Voice::reason)
}

impl Bounded {
    /// The decision, `voice` being what holds everywhere.
    fn decide(
        &self,
        mut voice: Option<Voice>,
        book: &RoleBook,
        permission: u32,
        scope: &Scope,
        now: Timestamp,
        setting: &dyn Setting,
    ) -> Reason {
        if !self.places.is_empty() {
            for place in scope.lineage() {
                let at = self.places.binary_search_by(|(candidate, _)| candidate.as_str().cmp(place));
                voice = voice.max(at.ok().and_then(|at| self.places.get(at)?.1.voice(permission)));
            }
        }
        for timed in &self.timed {
            if timed.bounds.hold_at(now) && timed.bounds.scope.contains(scope) {
                voice = voice.max(timed.source.voice(permission));
            }
        }
        if !self.conditional.is_empty() {
            let here = |held: &&Timed| held.bounds.hold_at(now) && held.bounds.scope.contains(scope);
            let speaking = Speaking::of(permission, self.conditional.iter().filter(here));
            return speaking.decide(voice, book, setting);
        }
        reason_of(voice)
    }
}

/// What speaks of a permission on a condition, here and now.
#[derive(Default)]
struct Speaking<'a> {
    /// With the reason if the condition holds; what was given directly first, as it counts before roles.
    denies: Vec<(&'a Condition, Reason)>,
    /// The same; roles first.
    allows: Vec<(&'a Condition, Reason)>,
}

impl<'a> Speaking<'a> {
    fn of(permission: u32, held: impl Iterator<Item = &'a Timed>) -> Self {
        let mut speaking = Self::default();
        for Timed { source, .. } in held {
            for rule in source.closure.conditional.iter().filter(|rule| rule.numbers.contains(permission)) {
                let (allowed, denied) = source.voices();
                match rule.effect {
                    Effect::Allow => speaking.allows.push((&rule.condition, allowed.reason())),
                    Effect::Deny => speaking.denies.push((&rule.condition, denied.reason())),
                }
            }
        }
        speaking.denies.sort_by_key(|(_, reason)| *reason != Reason::DeniedDirectly);
        speaking.allows.sort_by_key(|(_, reason)| *reason != Reason::GrantedByRole);
        speaking
    }

    /// `voice` is what speaks without a condition. Nothing is evaluated that cannot decide.
    fn decide(&self, voice: Option<Voice>, book: &RoleBook, setting: &dyn Setting) -> Reason {
        let unconditional = voice.map(Voice::reason);
        let is_settled = match unconditional {
            Some(reason) => !reason.allows() || self.denies.is_empty(),
            None => self.denies.is_empty() && self.allows.is_empty(),
        };
        if is_settled {
            return unconditional.unwrap_or(Reason::NoMatchingGrant);
        }
        let mut decided = None;
        if !self.denies.is_empty() {
            setting.look(book, Effect::Deny, &mut |variables| {
                decided = denial(&self.denies, |condition| setting.judge(condition, variables));
            });
        }
        decided = decided.or(unconditional);
        if decided.is_none() && !self.allows.is_empty() {
            setting.look(book, Effect::Allow, &mut |variables| {
                decided = Some(allowance(&self.allows, |condition| setting.judge(condition, variables)));
            });
        }
        decided.unwrap_or(Reason::NoMatchingGrant)
    }
}

/// A deny that holds, else one that errs.
fn denial(denies: &[(&Condition, Reason)], truth: impl Fn(&Condition) -> Truth) -> Option<Reason> {
    let mut erred = None;
    for (condition, reason) in denies {
        match truth(condition) {
            Truth::Holds => return Some(*reason),
            Truth::Fails => {}
            Truth::Errs => erred = Some(Reason::DeniedByConditionError),
        }
    }
    erred
}

/// An allow that holds, else why none does.
fn allowance(allows: &[(&Condition, Reason)], truth: impl Fn(&Condition) -> Truth) -> Reason {
    let mut missed = Reason::ConditionNotMet;
    for (condition, reason) in allows {
        match truth(condition) {
            Truth::Holds => return *reason,
            Truth::Fails => {}
            Truth::Errs => missed = Reason::ConditionError,
        }
    }
    missed
}

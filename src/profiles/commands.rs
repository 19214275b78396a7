//! The writes to what a person tells, and to who may see it.
//!
//! A profile is not in memory with its user: each write brings the profile it was prepared on, and is refused as
//! [`ProfileError::Moved`] if that is not the user's own any more.

use std::sync::Arc;

use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ChangeId, SessionId};
use crate::kernel::sheet::{Patch, Sheet};
use crate::kernel::text::Note;
use crate::profiles::challenge::ChallengeKind;
use crate::profiles::change::{Change, Part};
use crate::profiles::error::ProfileError;
use crate::profiles::fields;
use crate::profiles::model::{AvatarId, Identity, Marks, Profile};
use crate::profiles::part::ProfileEvent;
use crate::profiles::privacy::{Consent, GivenConsent, KEPT_CONSENTS};
use crate::user::{User, UserEvent};

/// What every write to a profile comes to.
pub(super) type Decided = Result<Decision<User, Arc<Profile>>, ProfileError>;

/// Changes what it names of a profile.
#[derive(Debug, Clone)]
pub struct ChangeProfile {
    /// The profile it was prepared on.
    pub base: Arc<Profile>,
    /// What to change.
    pub patch: Patch,
    /// The id of the change.
    pub change: ChangeId,
    /// The change that is taken back by this one.
    pub undoes: Option<ChangeId>,
    /// The session that asks.
    pub session: SessionId,
}

impl Command for ChangeProfile {
    type Target = User;
    type Reply = Arc<Profile>;
    type Refusal = ProfileError;
    const NAME: &'static str = "change_profile";

    fn decide(self, user: &User, facts: &Facts) -> Decided {
        user.refuse_over(self.session, facts)?;
        let mut marks = unmoved(user, &self.base)?;
        let fields = self.base.fields.merged(&self.patch);
        let wrong = fields::complaints(&fields, facts.now);
        if !wrong.is_empty() {
            let is_undo = self.undoes.is_some();
            return Err(if is_undo { ProfileError::NotValidAnyMore(wrong) } else { ProfileError::Invalid(wrong) });
        }
        let id = (self.change, self.undoes);
        let Some(change) = change(id, Part::Profile, &self.base.fields, &fields, facts) else {
            return Ok(Decision::nothing(self.base));
        };
        let identity = self.base.identity_with(&fields, facts.now);
        let mut profile = Profile { identity, ..next_with(&self.base, fields, facts) };
        // What was verified was another value.
        if change.differences.iter().any(|one| &*one.path == "phone_number") {
            profile.phone_verified_at = None;
            marks.challenges.iter_mut().filter(|it| it.kind == ChallengeKind::Phone).for_each(|it| *it = it.spent());
        }
        let cleared = cleared(&self.base, &profile);
        let action = if self.undoes.is_some() { "profiles.change_undone" } else { "profiles.changed" };
        marks.changes = marks.changes.wrapping_add(1);
        Ok(decided(ProfileEvent { change: Some(change), cleared, ..ProfileEvent::of(Some(action), marks) }, profile))
    }
}

/// Removes what a person told, their pictures, and the memory of its changes. Who may see what, what was consented to, what
/// was found out about who they are, and the memory of how preferences changed stay.
#[derive(Debug, Clone)]
pub struct DeleteProfile {
    /// The profile it was prepared on.
    pub base: Arc<Profile>,
    /// How many changes there were, of preferences too, when it was prepared.
    pub changes: u32,
    /// In which places of their ring those of the profile are.
    pub forgotten: Vec<u8>,
    /// The session that asks.
    pub session: SessionId,
}

impl Command for DeleteProfile {
    type Target = User;
    type Reply = Arc<Profile>;
    type Refusal = ProfileError;
    const NAME: &'static str = "delete_profile";

    fn decide(self, user: &User, facts: &Facts) -> Decided {
        user.refuse_over(self.session, facts)?;
        let mut marks = unmoved(user, &self.base)?;
        let kept = Profile {
            version: self.base.version,
            audiences: self.base.audiences.clone(),
            consents: self.base.consents.clone(),
            identity: self.base.identity_with(&Sheet::default(), facts.now),
            ..Profile::default()
        };
        if marks.changes != self.changes {
            return Err(ProfileError::Moved);
        }
        if kept == *self.base && self.forgotten.is_empty() && marks.avatars().next().is_none() {
            return Ok(Decision::nothing(self.base));
        }
        let profile = Profile { version: next(&self.base, facts).version, ..kept };
        (marks.avatar, marks.former) = (None, Vec::new());
        marks.challenges.iter_mut().for_each(|challenge| *challenge = challenge.spent());
        let (forgotten, cleared) = (self.forgotten, cleared(&self.base, &profile));
        let event = ProfileEvent { forgotten, cleared, ..ProfileEvent::of(Some("profiles.deleted"), marks) };
        Ok(decided(event, profile))
    }
}

/// Changes who may see what it names, and what is consented to.
#[derive(Debug, Clone)]
pub struct ChangePrivacy {
    /// The profile it was prepared on.
    pub base: Arc<Profile>,
    /// Other audiences.
    pub patch: Patch,
    /// What is consented to, or not any more.
    pub consents: Vec<GivenConsent>,
    /// The id of the change.
    pub change: ChangeId,
    /// The change that is taken back by this one.
    pub undoes: Option<ChangeId>,
    /// The session that asks.
    pub session: SessionId,
}

impl Command for ChangePrivacy {
    type Target = User;
    type Reply = Arc<Profile>;
    type Refusal = ProfileError;
    const NAME: &'static str = "change_privacy";

    fn decide(self, user: &User, facts: &Facts) -> Decided {
        user.refuse_over(self.session, facts)?;
        let mut marks = unmoved(user, &self.base)?;
        let audiences = self.base.audiences.merged(&self.patch);
        let id = (self.change, self.undoes);
        let change = change(id, Part::Audiences, &self.base.audiences, &audiences, facts);
        let mut profile = Profile { audiences, ..next(&self.base, facts) };
        let mut consents = Vec::new();
        for given in self.consents {
            let old = profile.consents.get(&given.purpose);
            // What was said already was said then, and through what it was said then.
            if old.is_some_and(|old| (old.is_granted, &old.text_version) == (given.is_granted, &given.text_version)) {
                continue;
            }
            let withdraws = !given.is_granted && old.is_some_and(|old| old.is_granted);
            if usize::from(marks.consent_slot(consents.len())) >= KEPT_CONSENTS && !withdraws {
                return Err(ProfileError::TooManyConsents);
            }
            let GivenConsent { purpose, is_granted, text_version, source } = given;
            let by = facts.cause.actor.clone();
            let consent = Consent { purpose, is_granted, text_version, at: facts.now, by, source };
            profile.consents.insert(consent.purpose.clone(), consent.clone());
            consents.push(consent);
        }
        if change.is_none() && consents.is_empty() {
            return Ok(Decision::nothing(self.base));
        }
        marks.changes = marks.changes.wrapping_add(u32::from(change.is_some()));
        marks.consents = marks.consents.wrapping_add(u32::try_from(consents.len()).unwrap_or_default());
        let granted = profile.consents.values().filter(|consent| consent.is_granted);
        marks.granted = granted.map(|consent| consent.purpose.clone()).collect();
        let event = ProfileEvent { change, consents, ..ProfileEvent::of(Some("profiles.privacy_changed"), marks) };
        Ok(decided(event, profile))
    }
}

/// Gives a profile another picture, or none.
#[derive(Debug, Clone)]
pub struct SetAvatar {
    /// The profile it was prepared on.
    pub base: Arc<Profile>,
    /// The picture.
    pub avatar: Option<AvatarId>,
    /// Pictures that were replaced until then are not kept any more.
    pub kept_since: Timestamp,
    /// The id of the change.
    pub change: ChangeId,
    /// The change that is taken back by this one; its picture must have been kept.
    pub undoes: Option<ChangeId>,
    /// The session that asks.
    pub session: SessionId,
}

impl Command for SetAvatar {
    type Target = User;
    type Reply = Arc<Profile>;
    type Refusal = ProfileError;
    const NAME: &'static str = "set_avatar";

    fn decide(self, user: &User, facts: &Facts) -> Decided {
        user.refuse_over(self.session, facts)?;
        let marks = unmoved(user, &self.base)?;
        let (before, after) = (AvatarId::sheet(marks.avatar), AvatarId::sheet(self.avatar));
        let change = change((self.change, self.undoes), Part::Avatar, &before, &after, facts);
        if change.is_none() {
            return Ok(Decision::nothing(self.base));
        }
        let action = match (self.undoes, self.avatar) {
            (Some(_), Some(avatar)) if !marks.keeps(avatar, self.kept_since) => return Err(ProfileError::PictureGone),
            (Some(_), _) => "profiles.change_undone",
            (None, Some(_)) => "profiles.avatar_set",
            (None, None) => "profiles.avatar_removed",
        };
        let marks = marks.with_avatar(self.avatar, facts.now, self.kept_since);
        let event = ProfileEvent { change, ..ProfileEvent::of(Some(action), marks) };
        Ok(decided(event, next(&self.base, facts)))
    }
}

/// Says what was found out about who a person is, or takes it back.
#[derive(Debug, Clone)]
pub struct ReviewIdentity {
    /// The profile it was prepared on.
    pub base: Arc<Profile>,
    /// Whether the person is who they say, and what was looked at; none: nobody looked.
    pub found: Option<(bool, Note)>,
}

impl Command for ReviewIdentity {
    type Target = User;
    type Reply = Arc<Profile>;
    type Refusal = ProfileError;
    const NAME: &'static str = "review_identity";

    fn decide(self, user: &User, facts: &Facts) -> Decided {
        let marks = unmoved(user, &self.base)?;
        let reviewer = facts.cause.actor.clone();
        let (at, superseded_at) = (facts.now, None);
        let found = |(is_verified, evidence)| Identity { is_verified, evidence, reviewer, at, superseded_at };
        let identity = self.found.map(found);
        if identity.is_none() && self.base.identity.is_none() {
            return Ok(Decision::nothing(self.base));
        }
        let profile = Profile { identity, ..next(&self.base, facts) };
        Ok(decided(ProfileEvent::of(Some("profiles.identity_reviewed"), marks), profile))
    }
}

/// The user's marks, if the write was prepared on the user's own profile.
pub(super) fn unmoved(user: &User, base: &Profile) -> Result<Marks, ProfileError> {
    if user.profiles.version() == base.version { Ok(user.profiles.marks()) } else { Err(ProfileError::Moved) }
}

/// The profile of the next version.
pub(super) fn next(base: &Profile, facts: &Facts) -> Profile {
    next_with(base, base.fields.clone(), facts)
}

/// The profile of the next version, in which a person tells this.
fn next_with(base: &Profile, fields: Sheet, facts: &Facts) -> Profile {
    Profile {
        version: base.version + 1,
        fields,
        audiences: base.audiences.clone(),
        consents: base.consents.clone(),
        phone_verified_at: base.phone_verified_at,
        identity: base.identity.clone(),
        created_at: base.created_at.or(Some(facts.now)),
        updated_at: Some(facts.now),
    }
}

/// What was verified of the profile before and is not of this one.
fn cleared(before: &Profile, after: &Profile) -> Vec<&'static str> {
    let phone = before.phone_verified_at.is_some() && after.phone_verified_at.is_none();
    let identity = before.is_identity_verified() && !after.is_identity_verified();
    [(phone, "phone"), (identity, "identity")].into_iter().filter_map(|(is, mark)| is.then_some(mark)).collect()
}

/// The decision that makes this the profile.
pub(super) fn decided(event: ProfileEvent, profile: Profile) -> Decision<User, Arc<Profile>> {
    let profile = Arc::new(profile);
    let marks = Marks { version: profile.version, ..event.marks };
    let event = ProfileEvent { marks, profile: Some(Arc::clone(&profile)), ..event };
    Decision::one(UserEvent::Profile(Box::new(event)), profile)
}

/// The change from one sheet to the other; none if they are the same.
pub fn change(
    (id, undoes): (ChangeId, Option<ChangeId>),
    part: Part,
    before: &Sheet,
    after: &Sheet,
    facts: &Facts,
) -> Option<Change> {
    let differences = before.differences(after);
    let by = facts.cause.actor.clone();
    (!differences.is_empty()).then_some(Change { id, at: facts.now, by, part, undoes, differences })
}

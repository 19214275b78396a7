//! The writes to profiles.
//!
//! A profile is not in memory with its user: each write brings the profile it was prepared on, and is refused as
//! [`ProfileError::Moved`] if that is not the user's own any more.

use std::sync::Arc;

use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::ChangeId;
use crate::kernel::sheet::{Patch, Sheet};
use crate::profiles::change::{Change, Part};
use crate::profiles::error::ProfileError;
use crate::profiles::fields;
use crate::profiles::model::{Marks, Profile};
use crate::profiles::part::ProfileEvent;
use crate::user::{User, UserEvent};

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
}

impl Command for ChangeProfile {
    type Target = User;
    type Reply = Arc<Profile>;
    type Refusal = ProfileError;
    const NAME: &'static str = "change_profile";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Arc<Profile>>, ProfileError> {
        let marks = unmoved(user, &self.base)?;
        let fields = self.base.fields.merged(&self.patch);
        let wrong = fields::complaints(&fields, facts.now);
        if !wrong.is_empty() {
            return Err(ProfileError::Invalid(wrong));
        }
        let id = (self.change, self.undoes);
        let Some(change) = change(id, Part::Profile, &self.base.fields, &fields, facts) else {
            return Ok(Decision::nothing(self.base));
        };
        let profile = Arc::new(Profile { fields, ..written(&self.base, marks, facts) });
        let action = if self.undoes.is_some() { "profiles.change_undone" } else { "profiles.changed" };
        Ok(decided(action, marks, profile, Some(change)))
    }
}

/// Removes a profile with the memory of its changes.
#[derive(Debug, Clone)]
pub struct DeleteProfile {
    /// The profile it was prepared on.
    pub base: Arc<Profile>,
}

impl Command for DeleteProfile {
    type Target = User;
    type Reply = Arc<Profile>;
    type Refusal = ProfileError;
    const NAME: &'static str = "delete_profile";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Arc<Profile>>, ProfileError> {
        let marks = unmoved(user, &self.base)?;
        let next = written(&self.base, marks, facts);
        let empty = Profile { version: next.version, ..Profile::default() };
        if (Profile { version: empty.version, ..(*self.base).clone() }) == empty && marks.changes == 0 {
            return Ok(Decision::nothing(self.base));
        }
        let profile = Arc::new(empty);
        let marks = Marks { version: profile.version, changes: 0 };
        let event = ProfileEvent {
            action: "profiles.deleted",
            marks,
            profile: Some(Arc::clone(&profile)),
            change: None,
            forgets: true,
        };
        Ok(Decision::one(UserEvent::Profile(Box::new(event)), profile))
    }
}

/// The user's marks, if the write was prepared on the user's own profile.
fn unmoved(user: &User, base: &Profile) -> Result<Marks, ProfileError> {
    let marks = user.profiles.marks();
    if marks.version == base.version { Ok(marks) } else { Err(ProfileError::Moved) }
}

/// The profile of the next version.
fn written(base: &Profile, marks: Marks, facts: &Facts) -> Profile {
    Profile {
        version: marks.version + 1,
        created_at: base.created_at.or(Some(facts.now)),
        updated_at: Some(facts.now),
        ..base.clone()
    }
}

fn decided(
    action: &'static str,
    marks: Marks,
    profile: Arc<Profile>,
    change: Option<Change>,
) -> Decision<User, Arc<Profile>> {
    let changes = marks.changes.wrapping_add(u32::from(change.is_some()));
    let marks = Marks { version: profile.version, changes };
    let event = ProfileEvent { action, marks, profile: Some(Arc::clone(&profile)), change, forgets: false };
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

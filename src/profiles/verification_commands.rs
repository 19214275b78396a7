//! The writes around codes that show that an address or a number is somebody's.

use std::sync::Arc;

use crate::accounts::model::{Account, Name};
use crate::accounts::part::AccountEvent;
use crate::accounts::proof::ProofPurpose;
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::SessionId;
use crate::kernel::text::Email;
use crate::mail::model::Mail;
use crate::profiles::challenge::{Challenge, ChallengeKind, CodeHash, MOST_ATTEMPTS};
use crate::profiles::commands::{next, unmoved};
use crate::profiles::error::ProfileError;
use crate::profiles::model::{Marks, Profile};
use crate::profiles::part::ProfileEvent;
use crate::store::Key;
use crate::user::{User, UserEvent};

/// Notes that a code is sent. What is mailed is in the same commit; what is sent otherwise follows it. The reply is what
/// there was of its kind before.
#[derive(Debug, Clone)]
pub struct SendCode {
    /// What it is about.
    pub kind: ChallengeKind,
    /// The address or the number.
    pub target: Box<str>,
    /// The hash of the code.
    pub code: CodeHash,
    /// The mail.
    pub mail: Option<Mail>,
    /// The session that asks.
    pub session: SessionId,
}

impl Command for SendCode {
    type Target = User;
    type Reply = Option<Challenge>;
    type Refusal = ProfileError;
    const NAME: &'static str = "send_code";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Option<Challenge>>, ProfileError> {
        user.refuse_over(self.session, facts)?;
        let marks = user.profiles.marks();
        let before = marks.challenges.iter().find(|challenge| challenge.kind == self.kind).cloned();
        let challenge = Challenge::next(before.as_ref(), self.kind, &self.target, self.code, facts.now)
            .map_err(|soon| ProfileError::TooSoon(soon.wait_seconds))?;
        let event = ProfileEvent::of(Some("profiles.code_sent"), with(marks, challenge));
        let mut events = vec![UserEvent::Profile(Box::new(event))];
        events.extend(self.mail.map(UserEvent::Mail));
        Ok(Decision { events, reply: before })
    }
}

/// Makes it as if a code had not been noted that could not be sent, unless it was tried meanwhile.
#[derive(Debug, Clone)]
pub struct TakeCodeBack {
    /// What it was about.
    pub kind: ChallengeKind,
    /// Its hash.
    pub code: CodeHash,
    /// What there was of its kind before.
    pub before: Option<Challenge>,
}

impl Command for TakeCodeBack {
    type Target = User;
    type Reply = ();
    type Refusal = ProfileError;
    const NAME: &'static str = "take_code_back";

    fn decide(self, user: &User, _: &Facts) -> Result<Decision<User, ()>, ProfileError> {
        let mut marks = user.profiles.marks();
        let is_it = |one: &Challenge| one.kind == self.kind && one.code == self.code && one.attempts == 0;
        if !marks.challenges.iter().any(is_it) {
            return Ok(Decision::nothing(()));
        }
        marks.challenges.retain(|one| one.kind != self.kind);
        marks.challenges.extend(self.before);
        let event = ProfileEvent::of(Some("profiles.code_not_sent"), marks);
        Ok(Decision::one(UserEvent::Profile(Box::new(event)), ()))
    }
}

/// What became of a code that was shown. Wrong ones are counted, so they are written too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// It was the right one.
    Right(Option<Arc<Profile>>),
    /// It was another; so many tries are left.
    Wrong(u8),
}

/// Shows a code.
#[derive(Debug, Clone)]
pub struct ShowCode {
    /// The profile it was prepared on.
    pub base: Arc<Profile>,
    /// What it is about.
    pub kind: ChallengeKind,
    /// The code, as somebody typed it.
    pub code: Box<str>,
    /// The session that asks.
    pub session: SessionId,
    /// Tells the address before, if another takes its place.
    pub notice: Option<Mail>,
}

impl Command for ShowCode {
    type Target = User;
    type Reply = Shown;
    type Refusal = ProfileError;
    const NAME: &'static str = "show_code";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Shown>, ProfileError> {
        user.refuse_over(self.session, facts)?;
        let marks = unmoved(user, &self.base)?;
        let challenge = marks.challenges.iter().find(|challenge| challenge.kind == self.kind);
        let challenge =
            challenge.filter(|challenge| challenge.is_open(facts.now)).cloned().ok_or(ProfileError::NoCode)?;
        if challenge.code != CodeHash::of(&self.code, &challenge.target) {
            let attempts = challenge.attempts + 1;
            let marks = with(marks, Challenge { attempts, ..challenge });
            let event = ProfileEvent::of(Some("profiles.wrong_code_shown"), marks);
            let reply = Shown::Wrong(MOST_ATTEMPTS.saturating_sub(attempts));
            return Ok(Decision::one(UserEvent::Profile(Box::new(event)), reply));
        }
        let marks = with(marks, challenge.spent());
        match self.kind {
            ChallengeKind::Phone => phone_verified(&self.base, &challenge, marks, facts),
            ChallengeKind::Email => email_verified(user, &challenge, self.notice, marks, facts),
        }
    }

    fn claim_taken(claim: &Key) -> Option<ProfileError> {
        Name::field_of(claim).map(|_| ProfileError::AddressTaken)
    }
}

fn phone_verified(
    base: &Profile,
    challenge: &Challenge,
    marks: Marks,
    facts: &Facts,
) -> Result<Decision<User, Shown>, ProfileError> {
    if base.fields.text("phone_number").as_deref() != Some(&*challenge.target) {
        return Err(ProfileError::NoCode);
    }
    let profile = Arc::new(Profile { phone_verified_at: Some(facts.now), ..next(base, facts) });
    let marks = Marks { version: profile.version, ..marks };
    let event = ProfileEvent {
        profile: Some(Arc::clone(&profile)),
        ..ProfileEvent::of(Some("profiles.phone_verified"), marks)
    };
    Ok(Decision::one(UserEvent::Profile(Box::new(event)), Shown::Right(Some(profile))))
}

/// As a mailed token would (`VerifyEmail`): the address must still be the account's, or wait to become it. Which it does not
/// once the session that asked for it was ended, the password changed, or an administrator gave the account another one.
fn email_verified(
    user: &User,
    challenge: &Challenge,
    notice: Option<Mail>,
    marks: Marks,
    facts: &Facts,
) -> Result<Decision<User, Shown>, ProfileError> {
    let account = user.account().ok_or(ProfileError::Missing)?;
    let email = Email::parse(&challenge.target).map_err(|_| ProfileError::NoCode)?;
    let is_another = account.email.as_ref() != Some(&email);
    if is_another && user.accounts.unverified_email(facts.now) != Some(&email) {
        return Err(ProfileError::NoCode);
    }
    let account = Account { email: Some(email), is_email_verified: true, ..account.changed(facts.now) };
    let spent = user.accounts.spending_but(|proof| proof.purpose != ProofPurpose::VerifyEmail);
    let mut events = vec![UserEvent::Account(AccountEvent::EmailVerified(account))];
    events.extend(spent.map(UserEvent::Account));
    events.push(UserEvent::Profile(Box::new(ProfileEvent::of(None, marks))));
    events.extend(notice.filter(|_| is_another).map(UserEvent::Mail));
    Ok(Decision { events, reply: Shown::Right(None) })
}

/// The marks with this in place of what there was of its kind.
fn with(mut marks: Marks, challenge: Challenge) -> Marks {
    marks.challenges.retain(|other| other.kind != challenge.kind);
    marks.challenges.push(challenge);
    marks
}

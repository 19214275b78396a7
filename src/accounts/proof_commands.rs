//! The writes around mailed tokens and passwords: enrolling, verifying an address, resetting and changing a password.

use crate::accounts::error::AccountError;
use crate::accounts::evidence::Evidence;
use crate::accounts::model::{Account, Credential, Name, Nature, Properties, Status};
use crate::accounts::part::AccountEvent;
use crate::accounts::proof::{MOST_LIVE, Proof, ProofPurpose, SECONDS_OF_MOST, Shown};
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::SessionId;
use crate::kernel::text::{Email, ExternalId, Username};
use crate::mail::model::Mail;
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionOver;
use crate::store::Key;
use crate::user::{User, UserEvent};

/// Between two mails of one purpose to one user there are at least so many seconds.
const SECONDS_BETWEEN_MAILS: i64 = 60;

/// Brings a person into being who proves later that the address is theirs: registered, or invited.
#[derive(Debug, Clone)]
pub struct EnrolUser {
    /// The sign-in name.
    pub username: Username,
    /// The address, if it is theirs already: an invited person's.
    pub email: Option<Email>,
    /// The application's own id.
    pub external_id: Option<ExternalId>,
    /// The password's hash; an invited person has none yet.
    pub credential: Option<Credential>,
    /// What the mailed token proves.
    pub proof: Proof,
    /// The mail.
    pub mail: Mail,
}

impl Command for EnrolUser {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "enrol_user";

    fn decide(self, _: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        let account = Account {
            nature: Nature::Person,
            username: self.username,
            email: self.email,
            is_email_verified: false,
            external_id: self.external_id,
            status: Status::Active,
            properties: Properties::default(),
            created_at: facts.now,
            updated_at: facts.now,
            version: 1,
        };
        let events = vec![
            UserEvent::Account(AccountEvent::Created { account, credential: self.credential }),
            UserEvent::Account(AccountEvent::ProofMade(self.proof)),
            UserEvent::Mail(self.mail),
        ];
        Ok(Decision { events, reply: () })
    }

    fn claim_taken(claim: &Key) -> Option<AccountError> {
        Name::field_of(claim).map(AccountError::NameTaken)
    }
}

/// Whether a mail that was asked for is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mailed {
    /// It is.
    Sent,
    /// It is not, since whom it is for has one; after so many seconds another one would be.
    Before(u64),
}

/// Mails a token to a person, unless one was mailed just before, or as many as are good at once a short while ago: then
/// they have one that is.
#[derive(Debug, Clone)]
pub struct MailProof {
    /// What the token proves.
    pub proof: Proof,
    /// The mail.
    pub mail: Mail,
    /// The session that asks, if one does.
    pub session: Option<SessionId>,
}

/// From when on another token of this purpose is mailed to this address.
pub fn made_again_from(user: &User, purpose: ProofPurpose, email: &Email) -> Timestamp {
    let same = |proof: &&Proof| proof.purpose == purpose && proof.email == *email;
    let mut made: Vec<Timestamp> = user.accounts.proofs.iter().filter(same).map(|proof| proof.made_at).collect();
    made.sort_unstable();
    let seconds_of_most = SECONDS_OF_MOST.min(purpose.lifetime().0);
    let after_last = made.last().map(|last| last.plus_seconds(SECONDS_BETWEEN_MAILS));
    let after_most = made.iter().nth_back(MOST_LIVE - 1).map(|first| first.plus_seconds(seconds_of_most));
    after_last.max(after_most).unwrap_or_default()
}

impl Command for MailProof {
    type Target = User;
    type Reply = Mailed;
    type Refusal = AccountError;
    const NAME: &'static str = "mail_proof";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Mailed>, AccountError> {
        match self.session {
            // Just then it waits for a proof.
            Some(session) if self.proof.purpose == ProofPurpose::Reauthentication => {
                let session = user.sessions.find(session).filter(|session| session.is_active(facts.now));
                session.ok_or(SessionOver)?;
            }
            Some(session) => user.refuse_over(session, facts)?,
            None => {}
        }
        let next = made_again_from(user, self.proof.purpose, &self.proof.email);
        if next > facts.now {
            return Ok(Decision::nothing(Mailed::Before(next.since(facts.now).unsigned_abs().div_ceil(1000))));
        }
        if !user.is_active() {
            return Ok(Decision::nothing(Mailed::Before(SECONDS_BETWEEN_MAILS.unsigned_abs())));
        }
        let proof = Proof { session: self.session, ..self.proof };
        let events = vec![UserEvent::Account(AccountEvent::ProofMade(proof)), UserEvent::Mail(self.mail)];
        Ok(Decision { events, reply: Mailed::Sent })
    }
}

/// Makes an address a person's own: the token that was mailed there was shown.
#[derive(Debug, Clone)]
pub struct VerifyEmail {
    /// The token.
    pub shown: Shown,
    /// Tells the address before, if there was another.
    pub notice: Option<Mail>,
}

impl Command for VerifyEmail {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "verify_email";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        let (account, proof) = proven(user, self.shown, ProofPurpose::VerifyEmail, facts)?;
        let account =
            Account { email: Some(proof.email.clone()), is_email_verified: true, ..account.changed(facts.now) };
        let spent = user.accounts.spending_but(|proof| proof.purpose != ProofPurpose::VerifyEmail);
        let mut events = vec![UserEvent::Account(AccountEvent::EmailVerified(account))];
        events.extend(spent.map(UserEvent::Account));
        events.extend(self.notice.map(UserEvent::Mail));
        Ok(Decision { events, reply: () })
    }

    fn claim_taken(claim: &Key) -> Option<AccountError> {
        Name::field_of(claim).map(AccountError::NameTaken)
    }
}

/// Gives a person another password: the token that was mailed to them was shown. Every session ends.
#[derive(Debug, Clone)]
pub struct ResetPassword {
    /// The token.
    pub shown: Shown,
    /// The new password's hash.
    pub credential: Credential,
    /// Tells the person.
    pub notice: Option<Mail>,
}

impl Command for ResetPassword {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "reset_password";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        let (account, proof) = proven(user, self.shown, ProofPurpose::ResetPassword, facts)?;
        let mut events = Vec::new();
        if account.email.as_ref() != Some(&proof.email) {
            return Err(AccountError::ProofNotValid);
        }
        if !account.is_email_verified {
            let account = Account { is_email_verified: true, ..account.changed(facts.now) };
            events.push(UserEvent::Account(AccountEvent::EmailVerified(account)));
        }
        events.extend(password_set(user, self.credential, EndReason::PasswordReset, None, facts));
        events.extend(self.notice.map(UserEvent::Mail));
        Ok(Decision { events, reply: () })
    }
}

/// Takes an account that an administrator made: the person chooses a password and, if they like, another name.
#[derive(Debug, Clone)]
pub struct AcceptInvitation {
    /// The token.
    pub shown: Shown,
    /// Another sign-in name.
    pub username: Option<Username>,
    /// The password's hash.
    pub credential: Credential,
}

impl Command for AcceptInvitation {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "accept_invitation";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        let (account, proof) = proven(user, self.shown, ProofPurpose::Invitation, facts)?;
        if account.email.as_ref() != Some(&proof.email) {
            return Err(AccountError::ProofNotValid);
        }
        let username = self.username.unwrap_or_else(|| account.username.clone());
        let account = Account { username, is_email_verified: true, ..account.changed(facts.now) };
        let mut events = vec![UserEvent::Account(AccountEvent::EmailVerified(account))];
        events.extend(password_set(user, self.credential, EndReason::PasswordReset, None, facts));
        Ok(Decision { events, reply: () })
    }

    fn claim_taken(claim: &Key) -> Option<AccountError> {
        Name::field_of(claim).map(AccountError::NameTaken)
    }
}

/// Gives a person the password they chose, who just proved who they are. All sessions but theirs end.
#[derive(Debug, Clone)]
pub struct ChangePassword {
    /// What they showed: the password before.
    pub evidence: Evidence,
    /// The new password's hash.
    pub credential: Credential,
    /// The session that asks.
    pub session: SessionId,
    /// Tells the person.
    pub notice: Option<Mail>,
}

impl Command for ChangePassword {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "change_password";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        user.refuse_over(self.session, facts)?;
        if !self.evidence.holds(user) {
            return Err(AccountError::WrongPassword);
        }
        let mut events = password_set(user, self.credential, EndReason::PasswordChanged, Some(self.session), facts);
        events.extend(self.notice.map(UserEvent::Mail));
        Ok(Decision { events, reply: () })
    }
}

/// Another password, what it makes worthless, and the sessions that it ends.
fn password_set(
    user: &User,
    credential: Credential,
    reason: EndReason,
    but: Option<SessionId>,
    facts: &Facts,
) -> Vec<UserEvent> {
    let spent = user.accounts.spending().map(UserEvent::Account);
    let ended = user.sessions.ending(reason, facts, |session| Some(session.id) != but);
    let set = UserEvent::Account(AccountEvent::PasswordSet(credential));
    [Some(set), spent, ended.map(UserEvent::Session)].into_iter().flatten().collect()
}

/// The account and the proof that was shown, if it is good.
fn proven<'a>(
    user: &'a User,
    shown: Shown,
    purpose: ProofPurpose,
    facts: &Facts,
) -> Result<(&'a Account, &'a Proof), AccountError> {
    let account = user.account().filter(|account| account.is_active()).ok_or(AccountError::ProofNotValid)?;
    let proof = user.accounts.find_proof(&shown, purpose, facts.now).ok_or(AccountError::ProofNotValid)?;
    Ok((account, proof))
}

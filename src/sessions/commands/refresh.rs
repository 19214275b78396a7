//! Going on with a session: by its refresh token, or by a new proof of who the person is.

use std::sync::Arc;

use enumset::EnumSet;

use crate::accounts::evidence::Evidence;
use crate::accounts::letters::Letters;
use crate::accounts::part::AccountEvent;
use crate::accounts::proof::{Proof, ProofPurpose, Shown};
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::{SecurityEventId, SessionId};
use crate::kernel::secret::SecretHash;
use crate::kernel::shared_text::SharedText;
use crate::sessions::drift::Drift;
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionError;
use crate::sessions::model::{AuthenticationMethod, Session};
use crate::sessions::part::{SessionChange, SessionEvent};
use crate::sessions::refresh::{Outcome, Refresh, Turn};
use crate::sessions::risk::{Occasion, Oddity, Response, Risk, SecurityEvent};
use crate::user::{User, UserEvent};

/// Takes a refresh token in exchange for the next one.
#[derive(Debug, Clone)]
pub struct RefreshSession {
    /// Of which session.
    pub session: SessionId,
    /// The token, and what would follow.
    pub turn: Turn,
    /// What the client calls itself, for the security event.
    pub user_agent: Option<Box<str>>,
    /// Writes the mail that tells of it.
    pub letters: Arc<Letters>,
}

/// What a refresh token came to.
#[derive(Debug, Clone)]
pub enum Refreshed {
    /// The next token is good.
    Next(Arc<Session>),
    /// It was used before: its session is over.
    Reused,
}

impl Command for RefreshSession {
    type Target = User;
    type Reply = Refreshed;
    type Refusal = SessionError;
    const NAME: &'static str = "refresh_session";
    const REVOKES: bool = true;

    fn has_revoked(reply: &Refreshed) -> bool {
        matches!(reply, Refreshed::Reused)
    }

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Refreshed>, SessionError> {
        let session = user.sessions.find(self.session).filter(|_| user.is_active());
        let session = session.filter(|session| session.is_active(facts.now)).ok_or(SessionError::BadRefreshToken)?;
        let refresh = session.refresh.ok_or(SessionError::BadRefreshToken)?;
        let is_same_program = session.user_agent.as_deref() == self.user_agent.as_deref();
        let turn = Turn { now: facts.now, is_same_program, ..self.turn };
        match refresh.take(&turn) {
            Outcome::Foreign => Err(SessionError::BadRefreshToken),
            Outcome::Repeated | Outcome::Rotated(_) if session.needs_proof => Err(SessionError::ProofNeeded),
            Outcome::Repeated => Ok(Decision::nothing(Refreshed::Next(Arc::clone(session)))),
            Outcome::Rotated(next) => {
                session.touch(facts.now);
                let mut session = session.draft(facts.now);
                session.refresh = Some(next);
                let session = Arc::new(session);
                let event = SessionEvent::Changed(Arc::clone(&session), SessionChange::Refreshed);
                Ok(Decision::one(UserEvent::Session(event), Refreshed::Next(session)))
            }
            Outcome::Reused => {
                let noted = SecurityEvent {
                    id: SecurityEventId::generate(facts.now),
                    at: facts.now,
                    occasion: Occasion::Refresh,
                    risk: Risk::default().with(Oddity::RefreshReused),
                    response: Response::Revoke,
                    session: Some(session.id),
                    device: session.device,
                    ip_address: facts.cause.ip_address,
                    user_agent: self.user_agent,
                };
                let alert = self.letters.alert(user, &noted, facts);
                let alert = alert.map_err(|error| SessionError::Letter(error.to_string()))?.map(UserEvent::Mail);
                let mut events = user.ending(EndReason::RefreshReused, facts, |one| one.id == self.session);
                events.push(UserEvent::Session(SessionEvent::Noted(noted)));
                events.extend(alert);
                Ok(Decision { events, reply: Refreshed::Reused })
            }
        }
    }
}

/// Gives a session other tokens, because its person just proved again who they are. Those before are worth nothing from
/// then on (OWASP ASVS 5.0, 7.2.4), and the program and the network that the proof came from are the session's own.
#[derive(Debug, Clone)]
pub struct RenewSession {
    /// Which.
    pub session: SessionId,
    /// The hash of the new token's secret.
    pub secret: SecretHash,
    /// The family of its refresh tokens from then on, unless it lives in a cookie.
    pub refresh: Refresh,
    /// How they proved it this time.
    pub methods: EnumSet<AuthenticationMethod>,
    /// What they showed: if it does not hold any more, nothing is renewed.
    pub evidence: Evidence,
    /// The program that they showed it with.
    pub user_agent: Option<SharedText>,
    /// The token that was mailed to the person, if they show one.
    pub mailed: Option<Shown>,
}

impl Command for RenewSession {
    type Target = User;
    type Reply = Arc<Session>;
    type Refusal = SessionError;
    const NAME: &'static str = "renew_session";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Arc<Session>>, SessionError> {
        let session = user.sessions.find(self.session).filter(|session| session.is_active(facts.now));
        let session = session.ok_or(SessionError::Missing)?;
        let spent = self.mailed_proof(user, session, facts)?;
        // A password alone proves nothing on a device of which more was asked in another session.
        let is_whole = session.needs_proof || !self.evidence.is_password_alone();
        let mut events = self.evidence.accept(user, facts.now)?;
        events.extend(spent.map(UserEvent::Account));
        let mut renewed = session.draft(facts.now);
        renewed.methods |= self.methods;
        renewed.secret = self.secret;
        renewed.refresh = renewed.refresh.map(|_| self.refresh);
        renewed.authenticated_at = facts.now;
        renewed.needs_proof = false;
        renewed.drift = Drift::default();
        renewed.user_agent = self.user_agent;
        let device = session.device.and_then(|id| user.sessions.find_device(id));
        let proved = device.filter(|device| is_whole || !device.is_suspected());
        let proved = proved.and_then(|device| device.proved(facts.cause.ip_address, facts.now));
        events.extend(proved.map(SessionEvent::DeviceMoved).map(UserEvent::Session));
        let session = Arc::new(renewed);
        events.push(UserEvent::Session(SessionEvent::Changed(Arc::clone(&session), SessionChange::Renewed)));
        Ok(Decision { events, reply: session })
    }
}

impl RenewSession {
    /// A session that looked unusual is proved by more than what whoever stole the password has: a second factor, or, where
    /// there is none, a token that was mailed for this session. Whoever has no address either proves it by the password
    /// alone. What follows of the token.
    fn mailed_proof(
        &self,
        user: &User,
        session: &Session,
        facts: &Facts,
    ) -> Result<Option<AccountEvent>, SessionError> {
        let address = user.account().and_then(|account| account.verified_email());
        if !session.needs_proof || !self.evidence.is_password_alone() || address.is_none() {
            return Ok(None);
        }
        let shown = self.mailed.ok_or(SessionError::MailedProofRequired)?;
        let proof = user.accounts.find_proof(&shown, ProofPurpose::Reauthentication, facts.now);
        let is_own = |proof: &&Proof| proof.session == Some(self.session) && Some(&proof.email) == address;
        proof.filter(is_own).ok_or(SessionError::MailedProofNotValid)?;
        Ok(user.accounts.spending_but(|proof| proof.purpose != ProofPurpose::Reauthentication))
    }
}

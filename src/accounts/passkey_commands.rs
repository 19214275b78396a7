//! The writes to passkeys.

use std::sync::Arc;

use crate::accounts::error::AccountError;
use crate::accounts::factors::Factors;
use crate::accounts::letters::Letters;
use crate::accounts::part::{AccountEvent, FactorChange, PasskeyChange};
use crate::accounts::passkey::{self, MAX_PASSKEYS, Passkey};
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::{DeviceId, PasskeyId, SecurityEventId, SessionId};
use crate::kernel::secret::SecretHash;
use crate::mail::model::Mail;
use crate::sessions::ending::EndReason;
use crate::sessions::part::SessionEvent;
use crate::sessions::risk::{Occasion, Oddity, Response, Risk, SecurityEvent};
use crate::store::Key;
use crate::user::{User, UserEvent};

/// Adds a passkey that was just made. The other sessions end. With the first second factor of an account come recovery
/// codes; the reply is whether these are they.
#[derive(Debug, Clone)]
pub struct AddPasskey {
    /// The passkey.
    pub passkey: Passkey,
    /// The hashes of recovery codes, for whoever has none.
    pub recovery: Vec<SecretHash>,
    /// The session that asks.
    pub session: SessionId,
    /// Tells the person.
    pub notice: Option<Mail>,
}

impl Command for AddPasskey {
    type Target = User;
    type Reply = bool;
    type Refusal = AccountError;
    const NAME: &'static str = "add_passkey";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, bool>, AccountError> {
        user.refuse_over(self.session, facts)?;
        let part = &user.accounts;
        if part.passkeys.len() >= MAX_PASSKEYS {
            return Err(AccountError::TooManyPasskeys);
        }
        if part.passkeys.iter().any(|passkey| self.passkey.last_ceremony <= passkey.last_ceremony) {
            return Err(AccountError::CeremonyOver);
        }
        let is_first = !part.has_second_factor();
        let mut events = vec![UserEvent::Account(AccountEvent::PasskeyChanged(self.passkey, PasskeyChange::Added))];
        if is_first {
            let factors = Factors { recovery: self.recovery, ..part.factors().cloned().unwrap_or_default() };
            let change = FactorChange::CodesRenewed;
            events.push(UserEvent::Account(AccountEvent::FactorsChanged(Some(Box::new(factors)), change)));
        }
        let ended = user.sessions.ending(EndReason::FactorChanged, facts, |session| session.id != self.session);
        events.extend(ended.map(UserEvent::Session));
        events.extend(self.notice.map(UserEvent::Mail));
        Ok(Decision { events, reply: is_first })
    }

    fn claim_taken(claim: &Key) -> Option<AccountError> {
        passkey::is_claim(claim).then_some(AccountError::PasskeyTaken)
    }
}

/// Calls a passkey otherwise.
#[derive(Debug, Clone)]
pub struct RenamePasskey {
    /// Which.
    pub id: PasskeyId,
    /// The version that it must have, if one is demanded.
    pub if_match: Option<u64>,
    /// As its owner calls it from now on.
    pub name: Box<str>,
    /// The session that asks.
    pub session: SessionId,
}

impl Command for RenamePasskey {
    type Target = User;
    type Reply = Passkey;
    type Refusal = AccountError;
    const NAME: &'static str = "rename_passkey";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Passkey>, AccountError> {
        user.refuse_over(self.session, facts)?;
        let passkey = of_version(user, self.id, self.if_match)?;
        if passkey.name == self.name {
            return Ok(Decision::nothing(passkey.clone()));
        }
        let renamed = Passkey { name: self.name, ..passkey.clone() };
        let event = AccountEvent::PasskeyChanged(renamed.clone(), PasskeyChange::Renamed);
        Ok(Decision::one(UserEvent::Account(event), renamed))
    }
}

/// Takes a passkey away. The other sessions end; with the last second factor go the recovery codes.
#[derive(Debug, Clone)]
pub struct RemovePasskey {
    /// Which.
    pub id: PasskeyId,
    /// The version that it must have, if one is demanded.
    pub if_match: Option<u64>,
    /// The session that asks.
    pub session: SessionId,
    /// Tells the person.
    pub notice: Option<Mail>,
}

impl Command for RemovePasskey {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "remove_passkey";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        user.refuse_over(self.session, facts)?;
        let part = &user.accounts;
        of_version(user, self.id, self.if_match)?;
        let mut events = vec![UserEvent::Account(AccountEvent::PasskeysRemoved(vec![self.id]))];
        let totp = part.factors().and_then(|factors| factors.totp.as_ref());
        if part.passkeys.len() == 1 && totp.is_none() && part.factors().is_some() {
            events.push(UserEvent::Account(AccountEvent::FactorsChanged(None, FactorChange::Removed)));
        }
        let ended = user.sessions.ending(EndReason::FactorChanged, facts, |session| session.id != self.session);
        events.extend(ended.map(UserEvent::Session));
        events.extend(self.notice.map(UserEvent::Mail));
        Ok(Decision { events, reply: () })
    }
}

/// The passkey, if it is there, and of the version that is demanded.
fn of_version(user: &User, id: PasskeyId, if_match: Option<u64>) -> Result<&Passkey, AccountError> {
    let passkey = user.accounts.find_passkey(id).ok_or(AccountError::NoPasskey)?;
    match if_match {
        Some(version) if version != passkey.version() => Err(AccountError::StalePasskey(passkey.version())),
        _ => Ok(passkey),
    }
}

/// Notes that somebody signed with a copy of a passkey: the sign-in was refused, its owner should know.
#[derive(Debug, Clone)]
pub struct SuspectPasskey {
    /// On which device, as far as it showed a token.
    pub device: Option<DeviceId>,
    /// With what program.
    pub user_agent: Option<Box<str>>,
    /// Writes the mail that tells the person.
    pub letters: Arc<Letters>,
}

impl Command for SuspectPasskey {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "suspect_passkey";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        let noted = SecurityEvent {
            id: SecurityEventId::generate(facts.now),
            at: facts.now,
            occasion: Occasion::SignIn,
            risk: Risk::default().with(Oddity::PasskeyCloned),
            response: Response::Revoke,
            session: None,
            device: self.device,
            ip_address: facts.cause.ip_address,
            user_agent: self.user_agent,
        };
        let alert = self.letters.alert(user, &noted, facts).map_err(|error| AccountError::Letter(error.to_string()))?;
        let mut events = vec![UserEvent::Session(SessionEvent::Noted(noted))];
        events.extend(alert.map(UserEvent::Mail));
        Ok(Decision { events, reply: () })
    }
}

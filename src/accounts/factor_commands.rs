//! The writes to second factors.

use crate::accounts::error::AccountError;
use crate::accounts::factors::{Factors, TotpFactor, TotpOffer};
use crate::accounts::part::{AccountEvent, FactorChange};
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::SessionId;
use crate::kernel::secret::SecretHash;
use crate::mail::model::Mail;
use crate::sessions::ending::EndReason;
use crate::user::{User, UserEvent};

/// Begins to set up an authenticator app.
#[derive(Debug, Clone)]
pub struct OfferTotp {
    /// The sealed secret.
    pub sealed: Box<[u8]>,
    /// The session that asks.
    pub session: SessionId,
}

impl Command for OfferTotp {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "offer_totp";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        user.refuse_over(self.session, facts)?;
        let factors = user.accounts.factors().cloned().unwrap_or_default();
        if factors.totp.is_some() {
            return Err(AccountError::FactorExists);
        }
        let offer = Some(TotpOffer { sealed: self.sealed, made_at: facts.now });
        Ok(Decision::one(changed(Factors { offer, ..factors }, FactorChange::Offered), ()))
    }
}

/// From now on a code of the app is asked for: it has shown one. The other sessions end.
#[derive(Debug, Clone)]
pub struct ConfirmTotp {
    /// The sealed secret that the code was checked against.
    pub sealed: Box<[u8]>,
    /// The step of the code.
    pub step: u64,
    /// The hashes of the recovery codes.
    pub recovery: Vec<SecretHash>,
    /// The session that asks.
    pub session: SessionId,
    /// Tells the person.
    pub notice: Option<Mail>,
}

impl Command for ConfirmTotp {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "confirm_totp";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        user.refuse_over(self.session, facts)?;
        let offer = user.accounts.factors().and_then(|factors| factors.open_offer(facts.now));
        if offer.is_none_or(|offer| offer.sealed != self.sealed) {
            return Err(AccountError::NothingOffered);
        }
        let totp = TotpFactor { sealed: self.sealed, confirmed_at: facts.now, last_step: self.step };
        let factors = Factors { totp: Some(totp), offer: None, recovery: self.recovery };
        let mut events = vec![changed(factors, FactorChange::Added)];
        let ended = user.sessions.ending(EndReason::FactorChanged, facts, |session| session.id != self.session);
        events.extend(ended.map(UserEvent::Session));
        events.extend(self.notice.map(UserEvent::Mail));
        Ok(Decision { events, reply: () })
    }
}

/// Asks for no code of an app any more. The other sessions end; with the last second factor go the recovery codes.
#[derive(Debug, Clone)]
pub struct RemoveTotp {
    /// The session that asks.
    pub session: SessionId,
    /// Tells the person.
    pub notice: Option<Mail>,
}

impl Command for RemoveTotp {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "remove_totp";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        user.refuse_over(self.session, facts)?;
        let factors = user.accounts.factors().filter(|factors| factors.totp.is_some() || factors.offer.is_some());
        let factors = factors.ok_or(AccountError::NoFactor)?;
        let left = Factors { totp: None, offer: None, ..factors.clone() };
        let left = (!user.accounts.passkeys.is_empty()).then(|| Box::new(left));
        let mut events = vec![UserEvent::Account(AccountEvent::FactorsChanged(left, FactorChange::Removed))];
        let ended = user.sessions.ending(EndReason::FactorChanged, facts, |session| session.id != self.session);
        events.extend(ended.map(UserEvent::Session));
        events.extend(self.notice.map(UserEvent::Mail));
        Ok(Decision { events, reply: () })
    }
}

/// Asks for no second factor any more, whatever it was: an administrator helps somebody who lost theirs. Every session
/// ends.
#[derive(Debug, Clone)]
pub struct RemoveFactors {
    /// Tells the person.
    pub notice: Option<Mail>,
}

impl Command for RemoveFactors {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "remove_factors";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        let passkeys: Vec<_> = user.accounts.passkeys.iter().map(|passkey| passkey.id).collect();
        if user.accounts.factors().is_none() && passkeys.is_empty() {
            return Ok(Decision::nothing(()));
        }
        let mut events = vec![UserEvent::Account(AccountEvent::FactorsChanged(None, FactorChange::Removed))];
        if !passkeys.is_empty() {
            events.push(UserEvent::Account(AccountEvent::PasskeysRemoved(passkeys)));
        }
        events.extend(user.accounts.spending().map(UserEvent::Account));
        let ended = user.sessions.ending(EndReason::FactorChanged, facts, |_| true);
        events.extend(ended.map(UserEvent::Session));
        events.extend(self.notice.map(UserEvent::Mail));
        Ok(Decision { events, reply: () })
    }
}

/// Gives other recovery codes; those before are worth nothing from then on.
#[derive(Debug, Clone)]
pub struct RenewRecoveryCodes {
    /// Their hashes.
    pub recovery: Vec<SecretHash>,
    /// The session that asks.
    pub session: SessionId,
    /// Tells the person.
    pub notice: Option<Mail>,
}

impl Command for RenewRecoveryCodes {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "renew_recovery_codes";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        user.refuse_over(self.session, facts)?;
        if !user.accounts.has_second_factor() {
            return Err(AccountError::NoFactor);
        }
        let factors = Factors { recovery: self.recovery, ..user.accounts.factors().cloned().unwrap_or_default() };
        let mut events = vec![changed(factors, FactorChange::CodesRenewed)];
        events.extend(self.notice.map(UserEvent::Mail));
        Ok(Decision { events, reply: () })
    }
}

fn changed(factors: Factors, change: FactorChange) -> UserEvent {
    UserEvent::Account(AccountEvent::FactorsChanged(Some(Box::new(factors)), change))
}

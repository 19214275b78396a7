//! The accounts' part of a user: events, records, audit notes.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::accounts::factors::Factors;
use crate::accounts::model::{Account, AppListing, Credential, Name, Nature};
use crate::accounts::passkey::Passkey;
use crate::accounts::proof::{MOST_LIVE, Proof, ProofPurpose, Shown, proof_key};
use crate::actor::aggregate::Note;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{PasskeyId, ProofId, UserId};
use crate::kernel::text::Email;
use crate::store::key::Kind;
use crate::store::{Commit, Key, StoreError, codec};
use crate::user::part::UserPart;

/// Who a user is, and how it signs in.
#[derive(Debug, Clone, Default)]
pub struct AccountPart {
    /// The account; none if the user does not exist.
    pub account: Option<Account>,
    /// The password's hash; none for applications and for people without a password.
    pub credential: Option<Credential>,
    /// What the person has beside the password; none for most.
    pub secrets: Option<Arc<Factors>>,
    /// The passkeys, oldest first.
    pub passkeys: Vec<Passkey>,
    /// What may be proven with mailed tokens, oldest first; at most [`MOST_LIVE`] of each purpose, all for one address.
    pub proofs: Vec<Proof>,
}

/// What can happen to an account.
#[derive(Debug)]
pub enum AccountEvent {
    /// It came into being.
    Created {
        /// The account.
        account: Account,
        /// The password's hash.
        credential: Option<Credential>,
    },
    /// Its names or properties are others now.
    Changed(Account),
    /// It may not act any more.
    Suspended(Account),
    /// It may act again.
    Activated(Account),
    /// It has another password.
    PasswordSet(Credential),
    /// The same password is hashed in another way.
    PasswordRehashed(Credential),
    /// A mailed token proved that the address is the person's.
    EmailVerified(Account),
    /// A token was mailed; the oldest ones of its purpose, and those for another address, are worth nothing from then on.
    ProofMade(Proof),
    /// What the person has beside the password is another, and how so.
    FactorsChanged(Option<Box<Factors>>, FactorChange),
    /// A passkey is new or another, and how so.
    PasskeyChanged(Passkey, PasskeyChange),
    /// These passkeys are worth nothing from now on.
    PasskeysRemoved(Vec<PasskeyId>),
    /// These tokens are worth nothing from now on.
    ProofsSpent(Vec<ProofId>),
    /// It is gone, with everything that was the user's.
    Deleted,
}

/// How a second factor is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactorChange {
    /// An app is being set up.
    Offered,
    /// An app is asked for a code from now on.
    Added,
    /// Nothing is asked for any more.
    Removed,
    /// There are other recovery codes.
    CodesRenewed,
    /// A code of the app was used.
    CodeUsed,
    /// A recovery code was used.
    RecoveryCodeUsed,
}

/// How a passkey is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasskeyChange {
    /// It was registered.
    Added,
    /// Its owner calls it otherwise.
    Renamed,
    /// It was used.
    Used,
}

impl UserPart for AccountPart {
    type Event = AccountEvent;

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Created { account, credential } => {
                self.account = Some(account.clone());
                self.credential.clone_from(credential);
            }
            AccountEvent::Changed(account)
            | AccountEvent::Suspended(account)
            | AccountEvent::Activated(account)
            | AccountEvent::EmailVerified(account) => self.account = Some(account.clone()),
            AccountEvent::ProofMade(made) => {
                let displaced = self.displaced(made);
                self.proofs.retain(|proof| !displaced.contains(&proof.id));
                self.proofs.push(made.clone());
            }
            AccountEvent::FactorsChanged(factors, _) => self.secrets = factors.clone().map(Arc::from),
            AccountEvent::PasskeyChanged(changed, _) => {
                match self.passkeys.iter_mut().find(|passkey| passkey.id == changed.id) {
                    Some(passkey) => passkey.clone_from(changed),
                    None => self.passkeys.push(changed.clone()),
                }
            }
            AccountEvent::PasskeysRemoved(gone) => self.passkeys.retain(|passkey| !gone.contains(&passkey.id)),
            AccountEvent::ProofsSpent(spent) => self.proofs.retain(|proof| !spent.contains(&proof.id)),
            AccountEvent::PasswordSet(credential) | AccountEvent::PasswordRehashed(credential) => {
                self.credential = Some(credential.clone());
            }
            AccountEvent::Deleted => *self = Self::default(),
        }
    }

    fn record(&self, id: UserId, before: &Self, event: &AccountEvent, commit: &mut Commit) -> Result<(), StoreError> {
        match event {
            AccountEvent::Created { account, credential } => {
                self.record_names(id, before, commit);
                if let Some(credential) = credential {
                    commit.put(credential_key(id), codec::encode(credential)?);
                }
                if account.nature == Nature::App {
                    commit.put(listing_key(id), codec::encode(&AppListing)?);
                }
            }
            AccountEvent::Changed(_) | AccountEvent::EmailVerified(_) => self.record_names(id, before, commit),
            AccountEvent::ProofMade(made) => {
                before.displaced(made).into_iter().for_each(|proof| commit.remove(proof_key(id, proof)));
                commit.put(proof_key(id, made.id), codec::encode(made)?);
            }
            AccountEvent::FactorsChanged(Some(factors), _) => commit.put(factors_key(id), codec::encode(&**factors)?),
            AccountEvent::FactorsChanged(None, _) => commit.remove(factors_key(id)),
            AccountEvent::PasskeyChanged(passkey, change) => {
                if *change == PasskeyChange::Added {
                    commit.claim(passkey.claim(), id.bytes());
                }
                commit.put(passkey_key(id, passkey.id), codec::encode(passkey)?);
            }
            AccountEvent::PasskeysRemoved(gone) => {
                let gone = before.passkeys.iter().filter(|passkey| gone.contains(&passkey.id));
                gone.for_each(|passkey| remove_passkey(id, passkey, commit));
            }
            AccountEvent::ProofsSpent(spent) => spent.iter().for_each(|proof| commit.remove(proof_key(id, *proof))),
            AccountEvent::Suspended(_) | AccountEvent::Activated(_) => {}
            AccountEvent::PasswordSet(credential) | AccountEvent::PasswordRehashed(credential) => {
                commit.put(credential_key(id), codec::encode(credential)?);
            }
            AccountEvent::Deleted => {
                self.record_names(id, before, commit);
                before.proofs.iter().for_each(|proof| commit.remove(proof_key(id, proof.id)));
                before.passkeys.iter().for_each(|passkey| remove_passkey(id, passkey, commit));
                if before.secrets.is_some() {
                    commit.remove(factors_key(id));
                }
                if before.credential.is_some() {
                    commit.remove(credential_key(id));
                }
                if before.account.as_ref().is_some_and(|account| account.nature == Nature::App) {
                    commit.remove(listing_key(id));
                }
            }
        }
        Ok(())
    }

    fn note(&self, subject: String, before: &Self, event: &AccountEvent) -> Option<Note> {
        let action = match event {
            AccountEvent::Created { .. } => "accounts.created",
            AccountEvent::Changed(_) => "accounts.changed",
            AccountEvent::Suspended(_) => "accounts.suspended",
            AccountEvent::Activated(_) => "accounts.activated",
            AccountEvent::PasswordSet(_) => "accounts.password_set",
            AccountEvent::PasswordRehashed(_) => "accounts.password_rehashed",
            AccountEvent::EmailVerified(_) => "accounts.email_verified",
            AccountEvent::Deleted => "accounts.deleted",
            AccountEvent::FactorsChanged(_, change) => return factor_note(subject, *change),
            AccountEvent::PasskeyChanged(passkey, PasskeyChange::Added) => {
                return Some(passkey_note("accounts.passkey_added", subject, &[], &[passkey]));
            }
            AccountEvent::PasskeyChanged(passkey, PasskeyChange::Renamed) => {
                let old: Vec<_> = before.find_passkey(passkey.id).into_iter().collect();
                return Some(passkey_note("accounts.passkey_renamed", subject, &old, &[passkey]));
            }
            AccountEvent::PasskeysRemoved(gone) => {
                let old: Vec<_> = gone.iter().filter_map(|id| before.find_passkey(*id)).collect();
                return Some(passkey_note("accounts.passkey_removed", subject, &old, &[]));
            }
            // The mail is told, and what the token or the passkey was used for.
            AccountEvent::ProofMade(_)
            | AccountEvent::ProofsSpent(_)
            | AccountEvent::PasskeyChanged(_, PasskeyChange::Used) => return None,
        };
        let told = |part: &Self| part.account.as_ref().map(told);
        Some(Note { action, target: subject, before: told(before), after: told(self) })
    }
}

impl AccountPart {
    /// The proof that was shown, if it is good for this purpose.
    pub fn find_proof(&self, shown: &Shown, purpose: ProofPurpose, now: Timestamp) -> Option<&Proof> {
        self.proofs.iter().find(|proof| shown.is(proof, purpose, now))
    }

    /// The proofs that give way to a newer one of their purpose: for another address, over, or too many.
    fn displaced(&self, made: &Proof) -> Vec<ProofId> {
        let older = self.proofs.iter().filter(|proof| proof.purpose == made.purpose);
        let stays = |proof: &&Proof| proof.email == made.email && made.made_at < proof.expires_at;
        let (staying, mut gone): (Vec<_>, Vec<_>) = older.partition(stays);
        let too_many = (staying.len() + 1).saturating_sub(MOST_LIVE);
        gone.extend(staying.into_iter().take(too_many));
        gone.into_iter().map(|proof| proof.id).collect()
    }

    /// What the person has beside the password.
    pub fn factors(&self) -> Option<&Factors> {
        self.secrets.as_deref()
    }

    /// The passkey with this id.
    pub fn find_passkey(&self, id: PasskeyId) -> Option<&Passkey> {
        self.passkeys.iter().find(|passkey| passkey.id == id)
    }

    /// Whether a password alone does not do.
    pub fn has_second_factor(&self) -> bool {
        !self.passkeys.is_empty() || self.factors().is_some_and(|factors| factors.totp.is_some())
    }

    /// The address that waits to be verified.
    pub fn unverified_email(&self, now: Timestamp) -> Option<&Email> {
        let mut waiting = self.proofs.iter().filter(|proof| proof.purpose == ProofPurpose::VerifyEmail);
        waiting.find(|proof| now < proof.expires_at).map(|proof| &proof.email)
    }

    /// The event after which mailed tokens give the account neither another address nor another password: whoever asked
    /// for them may not be its owner. One for the account's own address stays. None if there is nothing to spend.
    pub fn spending(&self) -> Option<AccountEvent> {
        let own = self.account.as_ref().and_then(|account| account.email.as_ref());
        self.spending_but(|proof| proof.purpose == ProofPurpose::VerifyEmail && own == Some(&proof.email))
    }

    /// The event after which only those mailed tokens are good that `stays` picks; none if there are no others.
    pub fn spending_but(&self, stays: impl Fn(&Proof) -> bool) -> Option<AccountEvent> {
        let spent: Vec<_> = self.proofs.iter().filter(|proof| !stays(proof)).map(|proof| proof.id).collect();
        (!spent.is_empty()).then_some(AccountEvent::ProofsSpent(spent))
    }

    /// Claims the names that are new and gives back those that are not held any more.
    fn record_names(&self, id: UserId, before: &Self, commit: &mut Commit) {
        let claims = |part: &Self| -> Vec<Key> {
            part.account.iter().flat_map(Account::names).map(|name: Name| name.claim()).collect()
        };
        let (old, new) = (claims(before), claims(self));
        for claim in new.iter().filter(|claim| !old.contains(claim)) {
            commit.claim(claim.clone(), id.bytes());
        }
        for claim in old.iter().filter(|claim| !new.contains(claim)) {
            commit.remove(claim.clone());
        }
    }
}

fn credential_key(id: UserId) -> Key {
    Key::of(Kind::Credential, &[id.bytes()])
}

/// What the audit log says of a second factor. That a code was used is told by the session that it began.
fn factor_note(subject: String, change: FactorChange) -> Option<Note> {
    let action = match change {
        FactorChange::Added => "accounts.second_factor_added",
        FactorChange::Removed => "accounts.second_factor_removed",
        FactorChange::CodesRenewed => "accounts.recovery_codes_renewed",
        FactorChange::RecoveryCodeUsed => "accounts.recovery_code_used",
        FactorChange::Offered | FactorChange::CodeUsed => return None,
    };
    Some(Note { action, target: subject, before: None, after: None })
}

/// What the audit log says of passkeys. That one was used is told by the session that it began.
fn passkey_note(action: &'static str, subject: String, before: &[&Passkey], after: &[&Passkey]) -> Note {
    let one = |passkey: &&Passkey| json!({ "passkey_id": passkey.id, "name": passkey.name });
    let told = |all: &[&Passkey]| (!all.is_empty()).then(|| all.iter().map(one).collect());
    Note { action, target: subject, before: told(before), after: told(after) }
}

fn remove_passkey(id: UserId, passkey: &Passkey, commit: &mut Commit) {
    commit.remove(passkey.claim());
    commit.remove(passkey_key(id, passkey.id));
}

fn passkey_key(id: UserId, passkey: PasskeyId) -> Key {
    Key::of(Kind::Passkey, &[id.bytes(), passkey.bytes()])
}

fn factors_key(id: UserId) -> Key {
    Key::of(Kind::Factors, &[id.bytes()])
}

fn listing_key(id: UserId) -> Key {
    Key::of(Kind::AppListing, &[id.bytes()])
}

/// The account as the audit log tells it.
fn told(account: &Account) -> Value {
    json!({
        "username": account.username,
        "email": account.email,
        "email_verified": account.is_email_verified,
        "external_id": account.external_id,
        "status": account.status,
        "properties": account.properties.object(),
    })
}

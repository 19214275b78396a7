//! The accounts' part of a user: events, records, audit notes.

use serde_json::{Value, json};

use crate::accounts::model::{Account, AppListing, Credential, Name, Nature};
use crate::accounts::proof::{Proof, ProofPurpose, Shown};
use crate::actor::aggregate::Note;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ProofId, UserId};
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
    /// What may be proven with mailed tokens; at most one of each purpose.
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
    /// A token was mailed; earlier ones of its purpose are worth nothing from then on.
    ProofMade(Proof),
    /// These tokens are worth nothing from now on.
    ProofsSpent(Vec<ProofId>),
    /// It is gone, with everything that was the user's.
    Deleted,
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
                self.proofs.retain(|proof| proof.purpose != made.purpose);
                self.proofs.push(made.clone());
            }
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
                let older = before.proofs.iter().filter(|proof| proof.purpose == made.purpose);
                older.for_each(|proof| commit.remove(proof_key(id, proof.id)));
                commit.put(proof_key(id, made.id), codec::encode(made)?);
            }
            AccountEvent::ProofsSpent(spent) => spent.iter().for_each(|proof| commit.remove(proof_key(id, *proof))),
            AccountEvent::Suspended(_) | AccountEvent::Activated(_) => {}
            AccountEvent::PasswordSet(credential) | AccountEvent::PasswordRehashed(credential) => {
                commit.put(credential_key(id), codec::encode(credential)?);
            }
            AccountEvent::Deleted => {
                self.record_names(id, before, commit);
                before.proofs.iter().for_each(|proof| commit.remove(proof_key(id, proof.id)));
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
            // The mail is told, and what the token was used for.
            AccountEvent::ProofMade(_) | AccountEvent::ProofsSpent(_) => return None,
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

    /// The address that waits to be verified.
    pub fn unverified_email(&self, now: Timestamp) -> Option<&Email> {
        let mut waiting = self.proofs.iter().filter(|proof| proof.purpose == ProofPurpose::VerifyEmail);
        waiting.find(|proof| now < proof.expires_at).map(|proof| &proof.email)
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

fn proof_key(id: UserId, proof: ProofId) -> Key {
    Key::of(Kind::Proof, &[id.bytes(), proof.bytes()])
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

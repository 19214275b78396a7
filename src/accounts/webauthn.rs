//! Passkeys by WebAuthn level 3 (webauthn-rs): user verification is always required, attestation never asked for.
//!
//! What is needed to verify an answer is kept nowhere: it travels with whoever is asked, as the ceremony's token, under a
//! key that lives as long as this process (HMAC-SHA256). So nobody can make this forget what others were asked by asking
//! for more. Ceremonies are numbered in the order in which they begin, and a passkey takes none that began before, or
//! with, the last one that it answered: that is decided in its owner's actor, so an answer counts once. The library checks
//! challenge, origin, relying party, signature, and the flags.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use webauthn_rs::prelude::{
    DiscoverableAuthentication, Passkey as Key, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential,
    Url, Uuid, Webauthn, WebauthnBuilder, WebauthnError,
};

use crate::accounts::passkey::{Passkey, Shown, Signature};
use crate::accounts::relying_party::{Begun, Ceremonies, CeremonyError, Made, Subject};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::UserId;
use crate::kernel::secret::random_bytes;

/// How long one waits (WebAuthn level 3, recommended timeout).
const SECONDS: i64 = 300;
/// How their tokens begin.
const PREFIX: &str = "ssm_wa_";
/// The bytes of a token's tag.
const TAG_BYTES: usize = 32;
/// So many ceremonies may begin in a millisecond before their numbers run ahead of the clock.
const NUMBERS_PER_MILLISECOND: u64 = 1 << 16;

/// What an answer is verified with.
#[derive(Serialize, Deserialize)]
enum Asked {
    /// A new passkey of this person.
    Registration(UserId, PasskeyRegistration),
    /// A signature: of this person, or of whoever it says.
    Signature(Option<UserId>, DiscoverableAuthentication),
}

/// A ceremony, as its token tells.
#[derive(Serialize, Deserialize)]
struct Ceremony {
    number: u64,
    until: Timestamp,
    asked: Asked,
}

/// The protocol, for one site.
pub struct WebAuthn {
    protocol: Webauthn,
    key: hmac::Key,
    /// The number of the ceremony that began last.
    last: AtomicU64,
}

impl WebAuthn {
    /// For passkeys of `domain` (the relying party's id; empty: the host of the first origin), used on pages of these
    /// origins. `None`: browsers make no passkeys for such a domain, which must be a name.
    ///
    /// # Errors
    /// What is wrong with `passkey_origins` or `passkey_domain`.
    pub fn new(domain: &str, origins: &[String], site: &str) -> Result<Option<Self>, FieldError> {
        let misfit = |why: String| FieldError::new("passkey_domain", why);
        let wrong = |why: String| FieldError::new("passkey_origins", why);
        let read = |origin: &String| Url::parse(origin).map_err(|error| wrong(format!("{origin}: {error}")));
        let origins = origins.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let Some((first, others)) = origins.split_first() else { return Ok(None) };
        let Some(host) = first.domain() else {
            let is_wanted = !domain.is_empty();
            return if is_wanted { Err(misfit(format!("{first} has no domain, but an address"))) } else { Ok(None) };
        };
        let domain = if domain.is_empty() { host } else { domain };
        let builder = WebauthnBuilder::new(domain, first);
        let builder = builder.map_err(|_| misfit(format!("{domain} is not the domain of {first}, or one above it")))?;
        let builder = others.iter().fold(builder.rp_name(site), WebauthnBuilder::append_allowed_origin);
        let protocol = builder.build().map_err(|error| wrong(error.to_string()))?;
        let key = random_bytes::<32>().map_err(|error| wrong(error.to_string()))?;
        Ok(Some(Self { protocol, key: hmac::Key::new(hmac::HMAC_SHA256, &key), last: AtomicU64::new(0) }))
    }

    fn wait(&self, asked: Asked, options: &impl Serialize, now: Timestamp) -> Result<Begun, CeremonyError> {
        let failed = |error: serde_json::Error| CeremonyError::Failed(error.to_string());
        let options = serde_json::to_value(options).map_err(failed)?;
        let options = options.get("publicKey").cloned().unwrap_or_default();
        let ceremony = Ceremony { number: self.number(now), until: now.plus_seconds(SECONDS), asked };
        let mut token = serde_json::to_vec(&ceremony).map_err(failed)?;
        let tag = hmac::sign(&self.key, &token);
        token.extend(tag.as_ref());
        Ok(Begun { ceremony: format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(token)), options })
    }

    /// The number of a ceremony that begins now: greater than all before, also those of an earlier process.
    fn number(&self, now: Timestamp) -> u64 {
        let by_clock = u64::try_from(now.millis()).unwrap_or_default().saturating_mul(NUMBERS_PER_MILLISECOND);
        let next = |last: u64| last.saturating_add(1).max(by_clock);
        self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last))).map_or(by_clock, next)
    }

    /// The ceremony with this token, while it waits.
    fn read(&self, token: &str, now: Timestamp) -> Result<Ceremony, CeremonyError> {
        let bytes = token.strip_prefix(PREFIX).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let bytes = bytes.ok_or(CeremonyError::Over)?;
        let (told, tag) =
            bytes.len().checked_sub(TAG_BYTES).and_then(|at| bytes.split_at_checked(at)).ok_or(CeremonyError::Over)?;
        hmac::verify(&self.key, told, tag).map_err(|_| CeremonyError::Over)?;
        let ceremony: Ceremony =
            serde_json::from_slice(told).map_err(|error| CeremonyError::Failed(error.to_string()))?;
        if now < ceremony.until { Ok(ceremony) } else { Err(CeremonyError::Over) }
    }
}

impl Ceremonies for WebAuthn {
    fn begin_registration(&self, subject: &Subject, now: Timestamp) -> Result<Begun, CeremonyError> {
        let known = subject.passkeys.iter().map(|passkey| passkey.credential_id.to_vec()).collect();
        let (name, owner) = (&subject.username, subject.id);
        let begun = self.protocol.start_passkey_registration(Uuid::from_bytes(*owner.bytes()), name, name, Some(known));
        let (options, state) = begun.map_err(failed)?;
        let mut begun = self.wait(Asked::Registration(owner, state), &options, now)?;
        // A passkey that its authenticator lists signs in without a name; one that it does not is a second factor.
        if let Some(selection) = begun.options.get_mut("authenticatorSelection").and_then(Value::as_object_mut) {
            selection.insert("residentKey".into(), "preferred".into());
        }
        Ok(begun)
    }

    fn finish_registration(&self, shown: &Shown, owner: UserId, now: Timestamp) -> Result<Made, CeremonyError> {
        let answer: RegisterPublicKeyCredential = read(&shown.credential)?;
        let Ceremony { number, asked: Asked::Registration(asked, state), .. } = self.read(&shown.ceremony, now)? else {
            return Err(CeremonyError::Over);
        };
        if asked != owner {
            return Err(CeremonyError::Over);
        }
        let made = self.protocol.finish_passkey_registration(&answer, &state);
        let made = made.map_err(|error| CeremonyError::NotAccepted(error.to_string()))?;
        let state = text(&made)?;
        // The library hands the counter and the flags out as part of what it writes down, and in no other way.
        let written: Value = serde_json::from_str(&state).map_err(|error| CeremonyError::Failed(error.to_string()))?;
        let field = |name: &str| written.get("cred").and_then(|cred| cred.get(name)).cloned().unwrap_or_default();
        Ok(Made {
            credential_id: made.cred_id().as_slice().into(),
            counter: field("counter").as_u64().and_then(|counter| u32::try_from(counter).ok()).unwrap_or_default(),
            is_synced: field("backup_state").as_bool().unwrap_or_default(),
            state,
            ceremony: number,
        })
    }

    fn begin_signature(&self, subject: Option<&Subject>, now: Timestamp) -> Result<Begun, CeremonyError> {
        let (options, state) = self.protocol.start_discoverable_authentication().map_err(failed)?;
        let mut begun = self.wait(Asked::Signature(subject.map(|subject| subject.id), state), &options, now)?;
        if let (Some(subject), Some(options)) = (subject, begun.options.as_object_mut()) {
            let one = |key: &Passkey| json!({ "type": "public-key", "id": URL_SAFE_NO_PAD.encode(&key.credential_id) });
            options.insert("allowCredentials".into(), subject.passkeys.iter().map(one).collect());
        }
        Ok(begun)
    }

    fn owner_of(&self, shown: &Shown) -> Result<Option<UserId>, CeremonyError> {
        let answer: PublicKeyCredential = read(&shown.credential)?;
        let owner = answer.get_user_unique_id().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        Ok(owner.map(UserId::from_bytes))
    }

    fn finish_signature(
        &self,
        shown: &Shown,
        subject: Option<&Subject>,
        now: Timestamp,
    ) -> Result<Signature, CeremonyError> {
        let answer: PublicKeyCredential = read(&shown.credential)?;
        let Ceremony { number, asked: Asked::Signature(asked, state), .. } = self.read(&shown.ceremony, now)? else {
            return Err(CeremonyError::Over);
        };
        let subject = subject.filter(|subject| asked.is_none_or(|asked| asked == subject.id));
        let subject = subject.ok_or(CeremonyError::Wrong)?;
        let is_others = answer.get_user_unique_id().is_some_and(|handle| handle != subject.id.bytes());
        let is_shown = |passkey: &&Passkey| *passkey.credential_id == *answer.get_credential_id();
        let passkey = subject.passkeys.iter().find(is_shown).filter(|_| !is_others).ok_or(CeremonyError::Wrong)?;
        // Its owner's actor has the last word; what was answered before is not to look like a copy of the key.
        if number <= passkey.last_ceremony {
            return Err(CeremonyError::Over);
        }
        let mut key: Key = serde_json::from_str(&passkey.state)
            .map_err(|error| CeremonyError::Failed(format!("what is kept of a passkey cannot be read: {error}")))?;
        let good = self.protocol.finish_discoverable_authentication_v2(&answer, state, &key);
        let good = good.map_err(|error| match error {
            WebauthnError::CredentialPossibleCompromise => CeremonyError::Cloned,
            error => {
                tracing::debug!(%error, "a passkey was refused");
                CeremonyError::Wrong
            }
        })?;
        key.update_credential(&good);
        let (counter, is_synced) = (good.counter(), good.backup_state());
        Ok(Signature { id: passkey.id, counter, is_synced, state: text(&key)?, ceremony: number })
    }
}

fn read<T: DeserializeOwned>(credential: &Value) -> Result<T, CeremonyError> {
    T::deserialize(credential).map_err(|error| CeremonyError::Malformed(error.to_string()))
}

fn text(key: &Key) -> Result<Box<str>, CeremonyError> {
    serde_json::to_string(key).map(Box::from).map_err(|error| CeremonyError::Failed(error.to_string()))
}

fn failed(error: WebauthnError) -> CeremonyError {
    CeremonyError::Failed(error.to_string())
}

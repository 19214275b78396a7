//! Passkeys by WebAuthn level 3 (webauthn-rs): user verification is always required, attestation never asked for.
//!
//! What is needed to verify an answer stays here, in memory, under a token of which only the hash is kept: five minutes,
//! bounded, and for one answer. The library checks challenge, origin, relying party, signature, and the flags.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quick_cache::sync::Cache;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use webauthn_rs::prelude::{
    DiscoverableAuthentication, Passkey as Key, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential,
    Url, Uuid, Webauthn, WebauthnBuilder, WebauthnError,
};

use crate::accounts::passkey::{Passkey, Shown, Signature};
use crate::accounts::relying_party::{Begun, Ceremonies, CeremonyError, Made, Subject};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::kernel::secret::{SecretHash, random_bytes};

/// How many ceremonies are remembered.
const REMEMBERED: usize = 10_000;
/// How long one waits (WebAuthn level 3, recommended timeout).
const SECONDS: i64 = 300;
/// How such tokens begin.
const PREFIX: &str = "ssm_wa_";

/// What an answer is verified with.
#[derive(Clone)]
enum Asked {
    /// A new passkey of this person.
    Registration(UserId, PasskeyRegistration),
    /// A signature: of this person, or of whoever it says.
    Signature(Option<UserId>, DiscoverableAuthentication),
}

/// The protocol, for one site.
pub struct WebAuthn {
    protocol: Webauthn,
    /// Boxed: places are held for as many as there may be.
    waiting: Cache<[u8; 32], Arc<(Asked, Timestamp)>>,
}

impl WebAuthn {
    /// For passkeys of `domain` (the relying party's id; empty: the host of the first origin), used on pages of these
    /// origins. `None`: browsers make no passkeys for such a domain, which must be a name.
    ///
    /// # Errors
    /// What is wrong with the origins or the domain, in words.
    pub fn new(domain: &str, origins: &[String], site: &str) -> Result<Option<Self>, String> {
        let read = |origin: &String| Url::parse(origin).map_err(|error| format!("{origin}: {error}"));
        let origins = origins.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let Some((first, others)) = origins.split_first() else { return Ok(None) };
        let Some(host) = first.domain() else { return Ok(None) };
        let domain = if domain.is_empty() { host } else { domain };
        let builder = WebauthnBuilder::new(domain, first);
        let builder = builder.map_err(|_| format!("{domain} is not the domain of {first}, or one above it"))?;
        let builder = others.iter().fold(builder.rp_name(site), WebauthnBuilder::append_allowed_origin);
        let protocol = builder.build().map_err(|error| error.to_string())?;
        Ok(Some(Self { protocol, waiting: Cache::new(REMEMBERED) }))
    }

    fn wait(&self, asked: Asked, options: &impl Serialize, now: Timestamp) -> Result<Begun, CeremonyError> {
        let options = serde_json::to_value(options).map_err(|error| CeremonyError::Failed(error.to_string()))?;
        let options = options.get("publicKey").cloned().unwrap_or_default();
        let ceremony = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>()?));
        self.waiting.insert(key(&ceremony), Arc::new((asked, now.plus_seconds(SECONDS))));
        Ok(Begun { ceremony, options })
    }

    /// What waits under this token; nothing does any more.
    fn take(&self, ceremony: &str, now: Timestamp) -> Result<Asked, CeremonyError> {
        let (_, waiting) = self.waiting.remove(&key(ceremony)).ok_or(CeremonyError::Over)?;
        let (asked, until) = Arc::unwrap_or_clone(waiting);
        if now < until { Ok(asked) } else { Err(CeremonyError::Over) }
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
        let Asked::Registration(asked, state) = self.take(&shown.ceremony, now)? else {
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
        let Asked::Signature(asked, state) = self.take(&shown.ceremony, now)? else {
            return Err(CeremonyError::Over);
        };
        let subject = subject.filter(|subject| asked.is_none_or(|asked| asked == subject.id));
        let subject = subject.ok_or(CeremonyError::Wrong)?;
        let is_others = answer.get_user_unique_id().is_some_and(|handle| handle != subject.id.bytes());
        let is_shown = |passkey: &&Passkey| *passkey.credential_id == *answer.get_credential_id();
        let passkey = subject.passkeys.iter().find(is_shown).filter(|_| !is_others).ok_or(CeremonyError::Wrong)?;
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
        Ok(Signature { id: passkey.id, counter, is_synced, state: text(&key)? })
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

fn key(text: &str) -> [u8; 32] {
    *SecretHash::of(text.as_bytes()).bytes()
}

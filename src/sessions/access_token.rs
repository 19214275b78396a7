//! Access tokens: EdDSA-signed JWTs (RFC 7519) of the profile `at+jwt` (RFC 9068).
//!
//! A token names a user and a session; it is never enough alone: whoever is shown one looks the session up. A verified
//! token is remembered under a hash of its whole text, so that its signature is checked once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, Header, Validation, crypto, decode, decode_header, encode};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, Kind};
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::secret::{NoRandomness, SecretHash, random_bytes};
use crate::sessions::model::{AuthenticationMethod, Session};
use crate::sessions::signing_keys::SigningKey;

/// The type in a token's header (RFC 9068 section 2.1).
const TYPE: &str = "at+jwt";
/// Longer texts are not tokens of ours.
const MAX_TOKEN_BYTES: usize = 4096;

/// The claims of a token (RFC 9068 section 2.2).
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    exp: i64,
    aud: String,
    sub: UserId,
    client_id: String,
    iat: i64,
    jti: String,
    auth_time: i64,
    /// How the person proved who they are (RFC 8176); for others, so that it is not read back.
    #[serde(skip_deserializing)]
    amr: Vec<&'static str>,
    sid: SessionId,
    /// Which tokens of the session it is among: those before a proof or a choice of roles are worth nothing.
    generation: u64,
}

/// What a verified token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    /// Whose it is.
    pub user: UserId,
    /// The session behind it.
    pub session: SessionId,
    /// Which tokens of the session it is among ([`Session::generation`]).
    pub generation: u64,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// Until when it is valid.
    pub expires_at: Timestamp,
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// No token id.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// No usable key.
    #[error("the access token cannot be signed: {0}")]
    Failed(String),
}

impl Fault for SigningError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoRandomness(error) => error.kind(),
            Self::Failed(_) => Kind::Bug,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::NoRandomness(error) => error.code(),
            Self::Failed(_) => "signing-failed",
        }
    }
}

/// The keys of a moment, and what was verified with them: a key that is gone takes what it verified along.
struct Ring {
    keys: HashMap<String, SigningKey>,
    newest: String,
    verified: Cache<[u8; 32], Spoken>,
}

impl Ring {
    fn of(keys: Vec<SigningKey>, remembered: usize) -> Result<Self, SigningError> {
        let newest = keys.first().map(|key| key.id.clone()).ok_or_else(|| SigningError::Failed("no key".into()))?;
        let keys = keys.into_iter().map(|key| (key.id.clone(), key)).collect();
        Ok(Self { keys, newest, verified: Cache::new(remembered) })
    }
}

/// Signs and verifies access tokens.
pub struct AccessTokens {
    ring: ArcSwap<Ring>,
    issuer: String,
    issuer_json: String,
    lifetime_seconds: i64,
    validation: Validation,
    remembered: usize,
}

impl AccessTokens {
    /// With these keys, the first of which signs, as this issuer; remembers up to `remembered` verified tokens.
    ///
    /// # Errors
    /// When there is no key.
    pub fn new(
        keys: Vec<SigningKey>,
        issuer: String,
        lifetime_seconds: u32,
        remembered: usize,
    ) -> Result<Self, SigningError> {
        // Whoever installed one first installed the same: this program has just this provider.
        let _installed = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.algorithms = vec![Algorithm::EdDSA];
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[&issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are compared with this program's own clock, below.
        validation.validate_exp = false;
        Ok(Self {
            ring: ArcSwap::from_pointee(Ring::of(keys, remembered)?),
            issuer_json: serde_json::Value::from(issuer.as_str()).to_string(),
            issuer,
            lifetime_seconds: i64::from(lifetime_seconds),
            validation,
            remembered,
        })
    }

    /// Signs with the first of these keys, and verifies with all of them, from now on.
    ///
    /// # Errors
    /// When there is no key.
    pub fn replace_keys(&self, keys: Vec<SigningKey>) -> Result<(), SigningError> {
        self.ring.store(Arc::new(Ring::of(keys, self.remembered)?));
        Ok(())
    }

    /// The ids of the keys that verify, in no particular order.
    pub fn key_ids(&self) -> HashSet<String> {
        self.ring.load().keys.keys().cloned().collect()
    }

    /// How long a token is valid, in seconds.
    pub const fn lifetime_seconds(&self) -> i64 {
        self.lifetime_seconds
    }

    /// A token for the session.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn issue(&self, user: UserId, session: &Session, now: Timestamp) -> Result<String, SigningError> {
        let failed = |error: String| SigningError::Failed(error);
        let ring = self.ring.load();
        let key = ring.keys.get(&ring.newest).ok_or_else(|| failed("no key".into()))?;
        let header = Header { typ: Some(TYPE.into()), kid: Some(key.id.clone()), ..Header::new(Algorithm::EdDSA) };
        let expires_at = now.plus_seconds(self.lifetime_seconds).min(session.expires_at);
        let claims = Claims {
            iss: self.issuer.clone(),
            exp: expires_at.seconds(),
            aud: self.issuer.clone(),
            sub: user,
            client_id: "sesame".into(),
            iat: now.seconds(),
            jti: uuid::Uuid::from_bytes(random_bytes()?).to_string(),
            auth_time: session.authenticated_at.seconds(),
            amr: session.methods.iter().map(AuthenticationMethod::amr).collect(),
            sid: session.id,
            generation: session.generation(),
        };
        encode(&header, &claims, &key.signer).map_err(|error| failed(error.to_string()))
    }

    /// What the token says, if we signed it and its time is not over. The session is still to be looked up.
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<Spoken> {
        self.read(token).filter(|spoken| now < spoken.expires_at)
    }

    /// What the token says, if we signed it, whenever that was.
    pub fn read(&self, token: &str) -> Option<Spoken> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let hash = *SecretHash::of(token.as_bytes()).bytes();
        let ring = self.ring.load();
        let spoken = if let Some(spoken) = ring.verified.get(&hash) {
            spoken
        } else {
            let spoken = self.verify_signature(token, &ring)?;
            ring.verified.insert(hash, spoken);
            spoken
        };
        Some(spoken)
    }

    /// What the token says, if its signature was verified lately.
    pub fn remembered(&self, token: &str) -> Option<Spoken> {
        self.ring.load().verified.get(SecretHash::of(token.as_bytes()).bytes())
    }

    fn verify_signature(&self, token: &str, ring: &Ring) -> Option<Spoken> {
        let header = decode_header(token).ok()?;
        if header.typ.as_deref() != Some(TYPE) {
            return None;
        }
        let key = ring.keys.get(header.kid.as_deref()?)?;
        let claims = decode::<Claims>(token, &key.verifier, &self.validation).ok()?.claims;
        Some(Spoken {
            user: claims.sub,
            session: claims.sid,
            generation: claims.generation,
            issued_at: Timestamp::from_millis(claims.iat.saturating_mul(1000)),
            expires_at: Timestamp::from_millis(claims.exp.saturating_mul(1000)),
        })
    }

    /// The public keys, as a JWK set (RFC 7517).
    pub fn key_set(&self) -> Value {
        let ring = self.ring.load();
        let mut keys: Vec<&SigningKey> = ring.keys.values().collect();
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        let jwk = |key: &SigningKey| json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key.id, "x": key.public });
        json!({ "keys": keys.into_iter().map(jwk).collect::<Vec<_>>() })
    }

    /// Who signs.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The same, as it stands in JSON: with quotes.
    pub fn issuer_json(&self) -> &str {
        &self.issuer_json
    }
}

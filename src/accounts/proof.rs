//! What a person may prove with a token that was mailed to them: single-use, short-lived, of which only a hash is kept.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ProofId, SessionId, UserId};
use crate::kernel::secret::SecretHash;
use crate::kernel::text::Email;
use crate::sessions::token::{Purpose, Token};
use crate::store::codec::{self, Stored};
use crate::store::key::Kind;
use crate::store::{Key, StoreError};

/// What a proof is for. Stored: new ones come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProofPurpose {
    /// The address is the person's.
    VerifyEmail,
    /// The person may choose another password.
    ResetPassword,
    /// The person takes the account that was made for them.
    Invitation,
    /// The person reads the account's mail: with the password, they prove again who they are.
    Reauthentication,
}

impl ProofPurpose {
    /// How long it is good for, in seconds and in words.
    pub const fn lifetime(self) -> (i64, &'static str) {
        match self {
            Self::VerifyEmail => (86_400, "24 hours"),
            Self::ResetPassword => (900, "15 minutes"),
            // OWASP ASVS 5.0, 6.5.5.
            Self::Reauthentication => (600, "10 minutes"),
            Self::Invitation => (604_800, "7 days"),
        }
    }
}

/// A token that was mailed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proof {
    /// Its id, which is in the token.
    pub id: ProofId,
    /// The hash of the token's secret.
    pub secret: SecretHash,
    /// What it is for.
    pub purpose: ProofPurpose,
    /// Where it was mailed to.
    pub email: Email,
    /// When.
    pub made_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// The session it was asked for in; none where anybody may ask, or an administrator did.
    pub session: Option<SessionId>,
}

/// The first form of a proof's record.
#[derive(Deserialize)]
struct ProofV1 {
    id: ProofId,
    secret: SecretHash,
    purpose: ProofPurpose,
    email: Email,
    made_at: Timestamp,
    expires_at: Timestamp,
}

impl From<ProofV1> for Proof {
    fn from(old: ProofV1) -> Self {
        let ProofV1 { id, secret, purpose, email, made_at, expires_at } = old;
        Self { id, secret, purpose, email, made_at, expires_at, session: None }
    }
}

impl Stored for Proof {
    const VERSION: u8 = 2;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        (version == 1).then(|| codec::decode_body::<ProofV1>(body).map(Self::from))
    }
}

/// So many tokens of one purpose are good at once, so that nobody makes another's useless by asking for a newer one.
pub const MOST_LIVE: usize = 3;
/// So many are not made in less than this time, or than they are good for: whoever asks in vain has one that is good.
pub const SECONDS_OF_MOST: i64 = 900;

/// A mailed token as somebody shows it: well-formed, not yet believed.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Whose it says it is.
    pub owner: UserId,
    id: ProofId,
    secret: SecretHash,
}

impl Shown {
    /// Reads a token; `None` if the text is not a whole one.
    pub fn parse(text: &str) -> Option<Self> {
        let token = Token::parse(Purpose::Mailed, text)?;
        let (owner, id) = (token.owner(), ProofId::from_bytes(token.part()));
        Some(Self { owner, id, secret: SecretHash::of(token.secret()) })
    }

    /// Where the record of the proof is that it says it is.
    pub fn key(&self) -> Key {
        proof_key(self.owner, self.id)
    }

    /// Whether it is this proof, for this purpose, at this moment.
    pub fn is(&self, proof: &Proof, purpose: ProofPurpose, now: Timestamp) -> bool {
        proof.id == self.id && proof.purpose == purpose && now < proof.expires_at && proof.secret.is_same(&self.secret)
    }
}

/// Where the record of a proof is.
pub fn proof_key(owner: UserId, proof: ProofId) -> Key {
    Key::of(Kind::Proof, &[owner.bytes(), proof.bytes()])
}

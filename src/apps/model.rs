//! API keys: how a service account says who it is.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::KeyId;
use crate::kernel::secret::SecretHash;
use crate::kernel::text::Note;
use crate::store::codec::Stored;

/// The most keys one service account holds at a time.
pub const MAX_KEYS: usize = 20;

/// One API key. Only the hash of its secret is kept; the key itself is shown once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// The hash of its secret.
    pub secret: SecretHash,
    /// For people: where it is used.
    pub description: Option<Note>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is accepted; none: for ever.
    pub expires_at: Option<Timestamp>,
}

impl ApiKey {
    /// Whether it is accepted at this moment.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

impl Stored for ApiKey {
    const VERSION: u8 = 1;
}

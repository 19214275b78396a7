//! API keys: how a service account says who it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::KeyId;
use crate::kernel::secret::SecretHash;
use crate::kernel::text::Note;
use crate::store::StoreError;
use crate::store::codec::{self, Stored};

/// The most keys one service account holds at a time.
pub const MAX_KEYS: usize = 20;

/// A use is noted when the last one noted is so many milliseconds old: keys are presented with every check.
const NOTED_MILLIS: i64 = 60_000;

/// One API key. Only the hash of its secret is kept; the key itself is shown once.
///
/// Its last use moves with its uses and is shared by all views of the application; the record follows in batches.
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
    /// 0: never.
    last_used_millis: Arc<AtomicI64>,
    written_millis: i64,
}

/// The first form of a key's record.
#[derive(Deserialize)]
struct ApiKeyV1 {
    id: KeyId,
    secret: SecretHash,
    description: Option<Note>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
}

impl From<ApiKeyV1> for ApiKey {
    fn from(old: ApiKeyV1) -> Self {
        Self {
            id: old.id,
            secret: old.secret,
            description: old.description,
            created_at: old.created_at,
            expires_at: old.expires_at,
            last_used_millis: Arc::default(),
            written_millis: 0,
        }
    }
}

impl ApiKey {
    /// A key that is made now.
    pub fn made(
        id: KeyId,
        secret: SecretHash,
        description: Option<Note>,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        ApiKeyV1 { id, secret, description, created_at: now, expires_at }.into()
    }

    /// Whether it is accepted at this moment.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// When it was last used, to the minute.
    pub fn last_used(&self) -> Option<Timestamp> {
        let millis = self.last_used_millis.load(Ordering::Relaxed);
        (millis > 0).then(|| Timestamp::from_millis(millis))
    }

    /// Notes a use; only in memory, at most one store a minute.
    pub fn touch(&self, now: Timestamp) {
        if now.millis() - self.last_used_millis.load(Ordering::Relaxed) >= NOTED_MILLIS {
            self.last_used_millis.fetch_max(now.millis(), Ordering::Relaxed);
        }
    }

    /// Whether it was used since its record was written.
    pub fn is_behind(&self) -> bool {
        self.last_used_millis.load(Ordering::Relaxed) > self.written_millis
    }

    /// The same key, to be written now; it shares when it was last used.
    pub fn draft(&self) -> Self {
        Self { written_millis: self.last_used_millis.load(Ordering::Relaxed), ..self.clone() }
    }
}

impl Stored for ApiKey {
    const VERSION: u8 = 2;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        (version == 1).then(|| codec::decode_body::<ApiKeyV1>(body).map(Self::from))
    }
}

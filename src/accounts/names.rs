//! Finding a subject by a unique name: from memory while the subject is resident, else from its claim in the store.
//!
//! The index in memory is a hint of 64 hash bits; what it says is believed only when the subject found bears the name.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::accounts::model::{Account, Name};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::directory::{Directory, LoadError};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::pool::Pool;
use crate::store::{SharedStore, StoreError};
use crate::user::User;

/// The names of resident subjects.
#[derive(Debug, Default)]
pub struct Names {
    residents: DashMap<u64, UserId, RandomState>,
    hasher: RandomState,
}

impl Names {
    /// Follows a change of what is in memory.
    pub fn changed(&self, before: Option<&User>, after: Option<&User>) {
        let account = |user: Option<&User>| user.and_then(User::account).cloned();
        let (old, new) = (account(before), account(after));
        if let (Some(old), Some(new)) = (&old, &new)
            && old.version == new.version
        {
            return;
        }
        if let (Some(old), Some(user)) = (&old, before) {
            for hash in self.hashes(old) {
                self.residents.remove_if(&hash, |_, owner| *owner == user.id());
            }
        }
        if let (Some(new), Some(user)) = (&new, after) {
            for hash in self.hashes(new) {
                self.residents.insert(hash, user.id());
            }
        }
    }

    fn hashes(&self, account: &Account) -> impl Iterator<Item = u64> {
        account.names().map(|name| self.hash(&name))
    }

    fn hash(&self, name: &Name) -> u64 {
        self.hasher.hash_one(name.folded())
    }

    fn hint(&self, name: &Name) -> Option<UserId> {
        self.residents.get(&self.hash(name)).map(|owner| *owner)
    }
}

/// Finds subjects by name.
#[derive(Clone)]
pub struct Finder {
    /// The subjects in memory.
    pub users: Directory<User>,
    /// Their names.
    pub names: Arc<Names>,
    /// Where the claims are.
    pub store: SharedStore,
    /// The threads that read them.
    pub loader: Arc<Pool>,
}

impl Finder {
    /// The subject of this name, if it is in memory.
    pub fn find_resident(&self, name: &Name, now: Timestamp) -> Option<Arc<User>> {
        let owner = self.names.hint(name)?;
        self.users.find(owner, now).filter(|user| bears(user, name))
    }

    /// The subject of this name; `None` if nobody bears it.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn load(&self, name: &Name, now: Timestamp) -> Result<Option<Arc<User>>, LoadError> {
        if let Some(user) = self.find_resident(name, now) {
            return Ok(Some(user));
        }
        let (store, claim) = (Arc::clone(&self.store), name.claim());
        let claimed = self.loader.run(move || store.read(&claim)).await??;
        let Some(claimed) = claimed else { return Ok(None) };
        let owner: [u8; 16] = claimed
            .value
            .as_slice()
            .try_into()
            .map_err(|_| StoreError::Damaged(format!("{:?} does not name a subject", claimed.key)))?;
        let user = self.users.load(UserId::from_bytes(owner)).await?;
        Ok(user.filter(|user| bears(user, name)))
    }
}

fn bears(user: &User, name: &Name) -> bool {
    user.account().is_some_and(|account| account.bears(name))
}

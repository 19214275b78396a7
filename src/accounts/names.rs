//! Finding a subject by a unique name: from memory while the subject is resident, else from its claim in the store.
//!
//! The index in memory is a hint of 64 hash bits; what it says is believed only when the subject found bears the name.
//! Names that nobody bears are remembered too, so that asking by the second of several names need not read the store:
//! exactly, since whoever takes a name is resident while they do.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use prometheus::IntCounter;

use crate::accounts::model::{Account, Name};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::directory::{Directory, LoadError, Surroundings};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::pool::Pool;
use crate::store::{Key, SharedStore, StoreError};
use crate::user::User;

/// The most names that are remembered as nobody's.
const MAX_ABSENT: usize = 100_000;

/// The names of resident subjects.
#[derive(Debug, Default)]
pub struct Names {
    residents: DashMap<u64, UserId, RandomState>,
    /// By class and folded text.
    absent: DashMap<(u8, String), (), RandomState>,
    /// Counts the changes of names.
    changes: AtomicU64,
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
        if let Some(new) = &new {
            self.changes.fetch_add(1, Ordering::SeqCst);
            new.names().for_each(|name| drop(self.absent.remove(&name.folded())));
        }
        if let (Some(new), Some(user)) = (&new, after) {
            for hash in self.hashes(new) {
                self.residents.insert(hash, user.id());
            }
        }
    }

    fn is_absent(&self, name: &Name) -> bool {
        self.absent.contains_key(&name.folded())
    }

    /// Remembers that nobody bears a name, unless names have changed since `changes` was read.
    fn note_absent(&self, name: &Name, changes: u64) {
        if self.absent.len() >= MAX_ABSENT {
            self.absent.clear();
        }
        // Under the lock of the name's shard: a change that comes later finds the entry and removes it.
        let entry = self.absent.entry(name.folded());
        if self.changes.load(Ordering::SeqCst) == changes {
            entry.insert(());
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
    /// Counts the claims that are read.
    reads: IntCounter,
}

impl Finder {
    /// Over this directory, whose store and surroundings these are.
    pub fn new(users: Directory<User>, names: Arc<Names>, around: &Surroundings) -> Self {
        Self {
            users,
            names,
            store: Arc::clone(&around.store),
            loader: Arc::clone(&around.loader),
            reads: around.metrics.name_reads_total.clone(),
        }
    }

    /// The subject of this name, if it is in memory.
    pub fn find_resident(&self, name: &Name, now: Timestamp) -> Option<Arc<User>> {
        let owner = self.names.hint(name)?;
        self.users.find(owner, now).filter(|user| bears(user, name))
    }

    /// The subject of the first of these names that somebody bears, as far as memory knows; `None` when it does not.
    pub fn look(&self, names: &[Name], now: Timestamp) -> Option<Option<Arc<User>>> {
        for name in names {
            if let Some(user) = self.find_resident(name, now) {
                return Some(Some(user));
            }
            if !self.names.is_absent(name) {
                return None;
            }
        }
        Some(None)
    }

    /// The subject of the first of these names that somebody bears.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn load_first(&self, names: &[Name], now: Timestamp) -> Result<Option<Arc<User>>, LoadError> {
        for name in names {
            if self.names.is_absent(name) {
                continue;
            }
            let changes = self.names.changes.load(Ordering::SeqCst);
            match self.load(name, now).await? {
                Some(user) => return Ok(Some(user)),
                None => self.names.note_absent(name, changes),
            }
        }
        Ok(None)
    }

    /// The subject of this name; `None` if nobody bears it.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn load(&self, name: &Name, now: Timestamp) -> Result<Option<Arc<User>>, LoadError> {
        if let Some(user) = self.find_resident(name, now) {
            return Ok(Some(user));
        }
        let Some(owner) = self.claimed(name.claim()).await? else { return Ok(None) };
        let user = self.users.load(owner).await?;
        Ok(user.filter(|user| bears(user, name)))
    }

    /// The same, in a way that does not tell by its work whether there is such a subject, or whether it was in memory:
    /// one claim and one subject are read from the store, whatever comes of it: the subject where it is loaded by that, and
    /// nobody everywhere else. `None` is a text that is no name.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn load_evenly(&self, name: Option<&Name>, now: Timestamp) -> Result<Option<Arc<User>>, LoadError> {
        let nobody = UserId::generate(now);
        let claim = name.map_or_else(|| User::head(nobody), Name::claim);
        let resident = name.and_then(|name| self.find_resident(name, now));
        let claimed = self.claimed(claim).await?;
        let user = match (resident, claimed) {
            (None, Some(owner)) => self.users.load(owner).await?,
            (resident, _) => {
                // Nobody is read in place of who is in memory, too: how much somebody has would take its time.
                self.users.read(nobody).await?;
                resident
            }
        };
        Ok(user.filter(|user| name.is_some_and(|name| bears(user, name))))
    }

    /// Whom the store says a name belongs to.
    async fn claimed(&self, claim: Key) -> Result<Option<UserId>, LoadError> {
        self.reads.inc();
        let store = Arc::clone(&self.store);
        let Some(claimed) = self.loader.run(move || store.read(&claim)).await?? else { return Ok(None) };
        let owner = claimed.value.as_slice().try_into();
        let damaged = |_| StoreError::Damaged(format!("{:?} does not name a subject", claimed.key));
        Ok(Some(UserId::from_bytes(owner.map_err(damaged)?)))
    }
}

fn bears(user: &User, name: &Name) -> bool {
    user.account().is_some_and(|account| account.bears(name))
}

//! Keeps over restarts what is known of the use of permissions: written behind the checks, as last uses of sessions are.
//!
//! Figures stand together in records of a few permissions each, and only records of which something is another are written:
//! so what there is to write is bounded by how many permissions are asked about, however often they are. What was counted
//! since the last writing is lost with a process that does not stop in order.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use crate::access::usage::{Usage, UsageBlock, UsageSince};
use crate::kernel::clock::Timestamp;
use crate::store::key::Kind;
use crate::store::{Commit, CommitError, Key, SharedStore, StoreError, codec};

/// Records of one commit.
const BLOCKS_AT_ONCE: usize = 32;
/// Records read at a time.
const READ_AT_ONCE: usize = 256;

/// What was written last.
pub struct UsageKeeper {
    store: SharedStore,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    since: Option<Timestamp>,
    blocks: BTreeMap<u32, UsageBlock>,
}

impl UsageKeeper {
    /// Reads what was written, by whichever process; from now on is counted where nothing was. May block.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: SharedStore, now: Timestamp) -> Result<(Self, Usage), StoreError> {
        let since = store.read(&since_key())?.map(|record| codec::decode::<UsageSince>(&record.value)).transpose()?;
        let since = since.map(|UsageSince(since)| since);
        let mut blocks = BTreeMap::new();
        let mut after: Option<Key> = None;
        loop {
            let prefix = Key::of(Kind::UsageBlock, &[]);
            let page = store.scan(prefix.bytes(), after.as_ref().map(Key::bytes), READ_AT_ONCE)?;
            for record in &page {
                let number = record.key.bytes().get(1..).and_then(|bytes| bytes.try_into().ok());
                let number = number.map(u32::from_be_bytes);
                let number = number.ok_or_else(|| StoreError::Damaged(format!("{:?} has no number", record.key)))?;
                blocks.insert(number, codec::decode::<UsageBlock>(&record.value)?);
            }
            after = page.last().map(|record| record.key.clone());
            if page.len() < READ_AT_ONCE {
                break;
            }
        }
        let usage = Usage::restored(since.unwrap_or(now), &blocks);
        Ok((Self { store, written: Mutex::new(Written { since, blocks }) }, usage))
    }

    /// Writes what is another than when it was written last.
    ///
    /// # Errors
    /// When the store fails, or is gone: then it is written the next time.
    pub async fn write(&self, usage: &Usage) -> Result<(), CommitError> {
        let mut written = self.written.lock().await;
        let is_new = |(number, block): &(u32, UsageBlock)| written.blocks.get(number) != Some(block);
        let mut due: Vec<(u32, UsageBlock)> = usage.blocks().filter(is_new).collect();
        while !due.is_empty() || written.since.is_none() {
            let some: Vec<_> = due.drain(..due.len().min(BLOCKS_AT_ONCE)).collect();
            let unwritable = |error: StoreError| CommitError::NotWritten(error.to_string());
            let mut commit = Commit::default();
            if written.since.is_none() {
                commit.put(since_key(), codec::encode(&UsageSince(usage.since())).map_err(unwritable)?);
            }
            for (number, block) in &some {
                commit.put(
                    Key::of(Kind::UsageBlock, &[&number.to_be_bytes()]),
                    codec::encode(block).map_err(unwritable)?,
                );
            }
            self.store.commit(commit).await.map_err(|_| CommitError::Unknown)??;
            written.since = Some(usage.since());
            written.blocks.extend(some);
        }
        Ok(())
    }
}

fn since_key() -> Key {
    Key::of(Kind::UsageSince, &[])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::usage::Figures;
    use crate::store::memory::Memory;

    #[test]
    fn what_was_counted_is_read_again_and_written_only_when_it_is_another() {
        let store: SharedStore = Arc::new(Memory::new());
        let at = Timestamp::from_millis;
        let write = |keeper: &UsageKeeper, usage: &Usage| {
            actix_rt::System::new().block_on(keeper.write(usage)).unwrap();
            store.revision()
        };
        let (keeper, usage) = UsageKeeper::open(Arc::clone(&store), at(1000)).unwrap();
        assert_eq!(usage.since(), at(1000));
        let first = write(&keeper, &usage);
        assert_eq!(write(&keeper, &usage), first, "nothing was asked");
        for number in [3, 3, 70, 5000] {
            usage.note(number, number == 3, at(10_000));
        }
        let second = write(&keeper, &usage);
        assert!(second > first && write(&keeper, &usage) == second);
        let (keeper, again) = UsageKeeper::open(Arc::clone(&store), at(99_000)).unwrap();
        assert_eq!((again.since(), again.of(3)), (at(1000), usage.of(3)));
        assert_eq!((again.of(70), again.of(5000)), (usage.of(70), usage.of(5000)));
        assert_eq!((again.of(3).allows, again.of(4)), (2, Figures::default()));
        assert_eq!(write(&keeper, &again), second);
        again.note(3, true, at(20_000));
        assert!(write(&keeper, &again) > second);
        let (_, last) = UsageKeeper::open(Arc::clone(&store), at(99_000)).unwrap();
        assert_eq!((last.of(3).allows, last.of(3).last_allowed), (3, Some(at(20_000))));
    }
}

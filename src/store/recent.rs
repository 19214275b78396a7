//! What was written lately, in memory, in front of an index that follows at its own pace.
//!
//! Readers look here first, so a commit is readable as soon as it is durable, and the index's work is not on the way of
//! an answer: it takes over whole layers, each key once and in key order, which is what a tree is quickest at. Nothing
//! here needs to be durable: the journal is, and a start replays what the index had not taken over. Memory is bounded:
//! whoever writes when there is too much here helps the index first.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use super::index::{Index, Post};
use super::{Change, Key, Record, Revision, StoreError};

/// How long writes gather before the index takes them over: what is written again meanwhile, it takes over once. A start
/// replays as much more.
const GATHER: Duration = Duration::from_millis(500);
/// How long the index is left alone between two looks at a part of it: whoever writes gets its turn.
const REST: Duration = Duration::from_millis(1);
/// Writes that the index takes over in one batch: readers of the index wait for a batch.
#[cfg(not(test))]
const BATCH_WRITES: usize = 512;
/// Few, so that the simulated crashes happen between batches too.
#[cfg(test)]
const BATCH_WRITES: usize = 2;
/// What a write takes in memory beside its key and value.
const OVERHEAD_BYTES: usize = 96;

/// What a key holds after its last write: by which revision, and what; nothing if it was removed.
type Held = (Revision, Option<Box<[u8]>>);

/// Writes up to some revision, the last one of each key.
#[derive(Debug, Default)]
struct Layer {
    writes: BTreeMap<Key, Held>,
    bytes: usize,
    newest: Revision,
}

/// Younger writes, and older ones that the index is taking over.
#[derive(Debug, Default)]
struct Layers {
    young: Layer,
    old: Arc<Layer>,
}

/// An index with its latest writes in front.
pub(super) struct Recent {
    layers: RwLock<Layers>,
    below: Arc<dyn Index>,
    /// One at a time moves a layer.
    following: Mutex<()>,
    /// Half of it for each layer.
    bound_bytes: usize,
    follower: OnceLock<Thread>,
}

impl Layers {
    /// The last write of a key, if it is here.
    fn find(&self, key: &Key) -> Option<&Held> {
        self.young.writes.get(key).or_else(|| self.old.writes.get(key))
    }

    /// The last write of every key that begins with `prefix` and sorts after `after`: in key order, as far as `limit`
    /// values go. What the younger layer removed is no value, so the layers are walked together.
    fn range(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> BTreeMap<Key, Held> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(Key::from_bytes(after)),
            _ => Bound::Included(Key::from_bytes(prefix)),
        };
        let within = |(key, _): &(&Key, &Held)| key.bytes().starts_with(prefix);
        let mut old = self.old.writes.range((start.clone(), Bound::Unbounded)).take_while(within).peekable();
        let mut young = self.young.writes.range((start, Bound::Unbounded)).take_while(within).peekable();
        let mut found = BTreeMap::new();
        let mut values = 0;
        while values < limit {
            let next = match (old.peek(), young.peek()) {
                (Some((older, _)), Some((younger, _))) => match older.cmp(younger) {
                    Ordering::Less => old.next(),
                    Ordering::Equal => old.next().and(young.next()),
                    Ordering::Greater => young.next(),
                },
                (Some(_), None) => old.next(),
                (None, _) => young.next(),
            };
            let Some((key, held)) = next else { break };
            values += usize::from(held.1.is_some());
            found.insert(key.clone(), held.clone());
        }
        found
    }
}

impl Recent {
    /// In front of an index that has everything up to `applied`, with room for about so many bytes of writes.
    pub(super) fn new(below: Arc<dyn Index>, applied: Revision, bound_bytes: usize) -> Self {
        let layers = Layers { young: Layer { newest: applied, ..Layer::default() }, old: Arc::default() };
        Self { layers: RwLock::new(layers), below, following: Mutex::new(()), bound_bytes, follower: OnceLock::new() }
    }

    /// One record.
    pub(super) fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let held = self.read().find(key).cloned();
        // What leaves the layers is in the index before.
        match held {
            Some(held) => Ok(record(key.clone(), held)),
            None => self.below.get(key),
        }
    }

    /// The revision that wrote a record last.
    pub(super) fn revision_of(&self, key: &Key) -> Result<Option<Revision>, StoreError> {
        let held = self.read().find(key).map(|(revision, value)| value.as_ref().map(|_| *revision));
        match held {
            Some(found) => Ok(found),
            None => self.below.revision_of(key),
        }
    }

    /// Records whose key begins with `prefix` and sorts after `after`, at most `limit`.
    pub(super) fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        let mut found = self.read().range(prefix, after, limit);
        let removed = found.values().filter(|(_, value)| value.is_none()).count();
        for record in self.below.scan(prefix, after, limit.saturating_add(removed))? {
            let is_newer = found.get(&record.key).is_none_or(|(revision, _)| record.revision > *revision);
            if is_newer {
                found.insert(record.key, (record.revision, Some(record.value.into())));
            }
        }
        Ok(found.into_iter().filter_map(|(key, held)| record(key, held)).take(limit).collect())
    }

    /// The newest revision that can be read.
    pub(super) fn newest(&self) -> Revision {
        self.read().young.newest
    }

    /// Takes changes over, all of them or none for any reader. They are durable and in the order of their revisions.
    ///
    /// # Errors
    /// When there was no room and the index failed to make some.
    pub(super) fn take(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (bytes, was_empty) = {
            let mut layers = self.write();
            let was_empty = layers.young.writes.is_empty();
            for change in changes {
                layers.young.newest = change.revision;
                for write in change.writes {
                    layers.young.put(write.key, change.revision, write.value);
                }
            }
            (layers.young.bytes, was_empty)
        };
        let layer_bytes = self.bound_bytes / 2;
        if bytes > layer_bytes {
            return self.follow();
        }
        if (was_empty || bytes > layer_bytes / 2)
            && let Some(follower) = self.follower.get()
        {
            follower.unpark();
        }
        Ok(())
    }

    /// Lets the index take over everything that is here now.
    ///
    /// # Errors
    /// When the index fails; what it did not take stays.
    pub(super) fn follow(&self) -> Result<(), StoreError> {
        let _turn = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.set_apart();
        if old.writes.is_empty() {
            return Ok(());
        }
        let mut applied = self.below.applied()?;
        let posts: Vec<Post<'_>> = old.posts().collect();
        let mut batches = posts.chunks(BATCH_WRITES).peekable();
        while let Some(batch) = batches.next() {
            // A crash in between: the revision says up to where all is there; what is newer is replayed over itself.
            if batches.peek().is_none() {
                applied = old.newest;
            }
            self.below.apply(batch, applied)?;
        }
        let done = std::mem::take(&mut self.write().old);
        // Freed behind the lock.
        drop(done);
        Ok(())
    }

    /// Makes what is here the older layer, which the index is to take over next.
    fn set_apart(&self) -> Arc<Layer> {
        let mut layers = self.write();
        let layers = &mut *layers;
        // Something is left only where the index failed before; it comes first.
        if layers.old.writes.is_empty() && !layers.young.writes.is_empty() {
            let empty = Layer { newest: layers.young.newest, ..Layer::default() };
            layers.old = Arc::new(std::mem::replace(&mut layers.young, empty));
        }
        Arc::clone(&layers.old)
    }

    /// Looks at all that is in the index, once after each start; whoever comes later waits for it, or finds it done.
    ///
    /// # Errors
    /// When something that it took over is missing there or older, or it fails.
    pub(super) fn look_through(&self) -> Result<(), StoreError> {
        while !self.below.look_further()? {
            thread::park_timeout(REST);
        }
        Ok(())
    }

    /// Makes everything that is here now durable in the index. Never called from two threads at once.
    ///
    /// # Errors
    /// When the index fails.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.follow()?;
        self.below.flush()
    }

    fn read(&self) -> RwLockReadGuard<'_, Layers> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Layers> {
        self.layers.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.get() {
            follower.unpark();
        }
    }
}

impl Layer {
    fn posts(&self) -> impl Iterator<Item = Post<'_>> {
        let writes = self.writes.iter();
        writes.map(|(key, (revision, value))| Post { key, revision: *revision, value: value.as_deref() })
    }

    fn put(&mut self, key: Key, revision: Revision, value: Option<Vec<u8>>) {
        let size = |key: &Key, value: Option<usize>| key.bytes().len() + value.unwrap_or_default() + OVERHEAD_BYTES;
        let value = value.map(Vec::into_boxed_slice);
        let length = value.as_deref().map(<[u8]>::len);
        match self.writes.entry(key) {
            std::collections::btree_map::Entry::Vacant(place) => {
                self.bytes += size(place.key(), length);
                place.insert((revision, value));
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                let (_, before) = place.insert((revision, value));
                self.bytes += length.unwrap_or_default();
                self.bytes -= before.as_deref().map_or(0, <[u8]>::len);
            }
        }
    }
}

fn record(key: Key, (revision, value): Held) -> Option<Record> {
    value.map(|value| Record { key, revision, value: value.into_vec() })
}

/// Works until the store is gone: lets the index follow when writes have gathered. `halted` hears of a failure, which
/// is the end of it.
pub(super) fn keep_following(recent: &Weak<Recent>, work: impl Fn(&Recent) -> Result<(), StoreError>) {
    if let Some(recent) = recent.upgrade() {
        // Set once: there is one such thread.
        recent.follower.set(thread::current()).ok();
    }
    loop {
        let Some(strong) = recent.upgrade() else { return };
        let is_empty = strong.read().young.writes.is_empty();
        drop(strong);
        if is_empty {
            thread::park();
        }
        // Cut short when much has gathered.
        thread::park_timeout(GATHER);
        let Some(strong) = recent.upgrade() else { return };
        if work(&strong).is_err() {
            return;
        }
    }
}

/// Looks at all that is in the index, unless the store is gone before.
///
/// # Errors
/// When something that it took over is missing there or older, or it fails.
pub(super) fn look_through(recent: &Weak<Recent>) -> Result<(), StoreError> {
    while let Some(strong) = recent.upgrade() {
        if strong.below.look_further()? {
            break;
        }
        drop(strong);
        thread::park_timeout(REST);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Write;
    use super::super::key::Kind;
    use super::super::simulated::SimulatedIndex;
    use super::*;

    fn key(number: u8) -> Key {
        Key::of(Kind::Session, &[&[number / 4, number]])
    }

    /// What is done between looks.
    #[derive(Debug, Clone)]
    enum Step {
        /// Keys written by one commit; whether each is removed.
        Commit(Vec<(u8, bool)>),
        Follow,
        /// The index begins to follow, and comes as far as so many writes.
        Begin(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let commit = prop::collection::vec((0..16_u8, any::<bool>()), 1..5).prop_map(Step::Commit);
        let step = prop_oneof![3 => commit, 1 => Just(Step::Follow), 2 => (0..8_usize).prop_map(Step::Begin)];
        prop::collection::vec(step, 0..30)
    }

    proptest! {
        #[test]
        fn readers_see_the_newest_of_everything_wherever_it_is(
            steps in steps(),
            prefix in 0..5_u8,
            after in prop::option::of(0..16_u8),
            limit in 0..8_usize,
            bound in 100..8000_usize,
        ) {
            let below = Arc::new(SimulatedIndex::default());
            let recent = Recent::new(Arc::clone(&below) as Arc<dyn Index>, Revision(0), bound);
            let mut expected: BTreeMap<Key, Record> = BTreeMap::new();
            let mut newest = Revision(0);
            for step in steps {
                match step {
                    Step::Follow => recent.follow().unwrap(),
                    Step::Begin(count) => {
                        let old = recent.set_apart();
                        let posts: Vec<Post<'_>> = old.posts().take(count).collect();
                        below.apply(&posts, below.applied().unwrap()).unwrap();
                    }
                    Step::Commit(writes) => {
                        newest.0 += 1;
                        let value = |is_removed: bool| (!is_removed).then(|| newest.0.to_be_bytes().to_vec());
                        let mut change = Change { revision: newest, writes: Vec::new() };
                        for (number, is_removed) in writes {
                            let (key, value) = (key(number), value(is_removed));
                            match &value {
                                Some(value) => expected.insert(
                                    key.clone(),
                                    Record { key: key.clone(), revision: newest, value: value.clone() },
                                ),
                                None => expected.remove(&key),
                            };
                            change.writes.push(Write { key, value });
                        }
                        recent.take(vec![change]).unwrap();
                    }
                }
                prop_assert_eq!(recent.newest(), newest);
                for number in 0..16 {
                    let wanted = expected.get(&key(number));
                    prop_assert_eq!(&recent.get(&key(number)).unwrap(), &wanted.cloned());
                    prop_assert_eq!(recent.revision_of(&key(number)).unwrap(), wanted.map(|record| record.revision));
                }
                let prefix = if prefix == 4 { Vec::new() } else { vec![Kind::Session as u8, prefix] };
                let after = after.map(|number| key(number).bytes().to_vec());
                let is_wanted = |record: &&Record| {
                    let bytes = record.key.bytes();
                    bytes.starts_with(&prefix) && after.as_deref().is_none_or(|after| bytes > after)
                };
                let wanted: Vec<Record> = expected.values().filter(is_wanted).take(limit).cloned().collect();
                prop_assert_eq!(recent.scan(&prefix, after.as_deref(), limit).unwrap(), wanted);
            }
            // What the index began to take over, and what came since.
            recent.follow().unwrap();
            recent.flush().unwrap();
            prop_assert_eq!(below.applied().unwrap(), newest);
            prop_assert_eq!(below.scan(&[], None, 99).unwrap(), expected.into_values().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_reader_never_misses_what_moves_into_the_index() {
        let recent = Recent::new(Arc::new(SimulatedIndex::default()), Revision(0), 2000);
        let change = |revision: u64| Change {
            revision: Revision(revision),
            writes: (0..8)
                .map(|number| Write { key: key(number), value: Some(revision.to_be_bytes().to_vec()) })
                .collect(),
        };
        recent.take(vec![change(1)]).unwrap();
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = Revision(1);
                while last < Revision(2000) {
                    let found = recent.get(&key(3)).unwrap().expect("it is always there");
                    assert!(found.revision >= last);
                    last = found.revision;
                    assert_eq!(recent.scan(&[], None, 99).unwrap().len(), 8);
                }
            });
            let follower = scope.spawn(|| {
                while recent.newest() < Revision(2000) {
                    recent.follow().unwrap();
                }
            });
            for revision in 2..=2000 {
                recent.take(vec![change(revision)]).unwrap();
            }
            follower.join().unwrap();
            reader.join().unwrap();
        });
    }
}

//! What an index should hold, known without the journal: how many records, and a sum over all of them.
//!
//! sled passes over a damaged entry of its log in silence, as the end of an old segment, when it opens: records are then
//! missing, or older than they were. The sum is changed by every record that comes, goes or takes another's place, and
//! kept in the same batch as the records; it does not depend on their order. Once after each start all records are
//! counted anew, page by page, while others go on writing. Later nothing is lost in silence: what sled reads carries a
//! checksum.

use aws_lc_rs::digest::{Context, SHA256};

use super::{Record, Revision};

/// So many records, and the sum of their marks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    records: u64,
    marks: u128,
}

impl Tally {
    /// As it is stored.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.records.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.marks.to_be_bytes());
        bytes
    }

    /// As it was stored; nothing if these bytes are none.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (records, marks) = bytes.split_first_chunk::<8>()?;
        Some(Self { records: u64::from_be_bytes(*records), marks: u128::from_be_bytes(marks.try_into().ok()?) })
    }

    /// Adds a record of which the key and the last commit are these.
    pub(super) fn add(&mut self, key: &[u8], revision: Revision) {
        self.records = self.records.wrapping_add(1);
        self.marks = self.marks.wrapping_add(mark(key, revision));
    }

    fn take(&mut self, key: &[u8], revision: Revision) {
        self.records = self.records.wrapping_sub(1);
        self.marks = self.marks.wrapping_sub(mark(key, revision));
    }

    fn change(&mut self, key: &[u8], old: Option<Revision>, new: Option<Revision>) {
        if let Some(old) = old {
            self.take(key, old);
        }
        if let Some(new) = new {
            self.add(key, new);
        }
    }
}

/// What one record adds to the sum. Its value is not looked at: a commit gives a key one value, and sled's pages carry
/// checksums.
fn mark(key: &[u8], revision: Revision) -> u128 {
    let mut context = Context::new(&SHA256);
    context.update(key);
    context.update(&revision.0.to_be_bytes());
    context.finish().as_ref().first_chunk::<16>().map_or(0, |first| u128::from_be_bytes(*first))
}

/// What should be there, and what of it was counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Census {
    due: Tally,
    counted: Tally,
    /// Up to which key.
    up_to: Option<Box<[u8]>>,
    is_over: bool,
}

impl Census {
    /// Nothing is counted yet of what comes to `due`.
    pub(super) fn of(due: Tally) -> Self {
        Self { due, ..Self::default() }
    }

    /// What should be there.
    pub(super) const fn due(&self) -> Tally {
        self.due
    }

    /// Up to which key all is counted.
    pub(super) fn up_to(&self) -> Option<&[u8]> {
        self.up_to.as_deref()
    }

    /// Whether everything was there.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Notes what a key holds from now on, and what it held: what was found there, not what should have been.
    pub(super) fn change(&mut self, key: &[u8], old: Option<Revision>, new: Option<Revision>) {
        self.due.change(key, old, new);
        if self.up_to().is_some_and(|up_to| key <= up_to) {
            self.counted.change(key, old, new);
        }
    }

    /// Counts the records of a page that begins where the one before ended; perhaps it `is_last`.
    ///
    /// # Errors
    /// What is wrong, when they are not in order, or in the end not what should be there.
    pub(super) fn count(&mut self, page: &[Record], is_last: bool) -> Result<(), String> {
        let is_counted = page.first().is_some_and(|first| self.up_to() == Some(first.key.bytes()));
        for record in page.iter().skip(usize::from(is_counted)) {
            let key = record.key.bytes();
            if self.up_to().is_some_and(|up_to| key <= up_to) {
                return Err(format!("{:?} is not where it should be", record.key));
            }
            self.counted.add(key, record.revision);
            self.up_to = Some(key.into());
        }
        if is_last { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), String> {
        let (due, found) = (self.due.records, self.counted.records);
        if due != found {
            return Err(format!("it holds {found} records in place of {due}"));
        }
        if self.due != self.counted {
            return Err("some of its records are not those that were written last".into());
        }
        self.is_over = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::store::Key;

    /// What an index holds: revisions by key.
    type Held = BTreeMap<u8, Revision>;

    fn record(key: u8, revision: Revision) -> Record {
        Record { key: Key::from_bytes(&[key]), revision, value: Vec::new() }
    }

    /// Counts one page.
    fn count(census: &mut Census, held: &Held, limit: usize) -> Result<(), String> {
        let after = census.up_to().and_then(|key| key.first().copied());
        let rest = held.iter().filter(|(key, _)| after.is_none_or(|after| **key >= after));
        let page: Vec<Record> = rest.take(limit).map(|(key, revision)| record(*key, *revision)).collect();
        census.count(&page, page.len() < limit)
    }

    /// Changes a key as the index does.
    fn change(census: &mut Census, held: &mut Held, key: u8, new: Option<Revision>) {
        let old = match new {
            Some(new) => held.insert(key, new),
            None => held.remove(&key),
        };
        census.change(&[key], old, new);
    }

    fn tally(held: &Held) -> Tally {
        let mut tally = Tally::default();
        for (key, revision) in held {
            tally.add(&[*key], *revision);
        }
        tally
    }

    /// What is done between pages: a key and whether it is removed, or nothing but the next page.
    fn steps() -> impl Strategy<Value = Vec<Option<(u8, bool)>>> {
        prop::collection::vec(prop::option::weighted(0.7, (0..30_u8, any::<bool>())), 0..60)
    }

    proptest! {
        #[test]
        fn what_is_there_is_counted_whatever_is_written_meanwhile(
            first in steps(),
            then in steps(),
            limit in 2..5_usize,
            lost in prop::option::of((0..30_u8, any::<bool>())),
        ) {
            let (mut held, mut census, mut newest) = (Held::new(), Census::default(), Revision(1000));
            for (key, is_removed) in first.into_iter().flatten() {
                newest.0 += 1;
                change(&mut census, &mut held, key, (!is_removed).then_some(newest));
            }
            prop_assert_eq!(census.due(), tally(&held));
            let stored = Tally::of_bytes(&census.due().to_bytes()).unwrap();
            prop_assert_eq!(stored, census.due());
            // Something is lost or older when it is opened again.
            let damaged = lost.filter(|(key, _)| held.contains_key(key));
            if let Some((key, is_gone)) = damaged {
                if is_gone { held.remove(&key) } else { held.insert(key, Revision(1)) };
            }
            let mut census = Census::of(stored);
            let mut outcome = Ok(());
            for step in then {
                match step {
                    None => outcome = outcome.and_then(|()| count(&mut census, &held, limit)),
                    Some((key, is_removed)) => {
                        newest.0 += 1;
                        change(&mut census, &mut held, key, (!is_removed).then_some(newest));
                    }
                }
            }
            for _ in 0..40 {
                outcome = outcome.and_then(|()| count(&mut census, &held, limit));
            }
            prop_assert_eq!((outcome.is_err(), census.is_over()), (damaged.is_some(), damaged.is_none()));
            prop_assert_eq!(census.due() == tally(&held), damaged.is_none());
        }
    }

    #[test]
    fn records_out_of_order_are_refused() {
        let mut census = Census::default();
        census.count(&[record(1, Revision(1)), record(3, Revision(2))], false).unwrap();
        census.count(&[record(3, Revision(2)), record(4, Revision(3))], false).unwrap();
        assert!(census.count(&[record(3, Revision(2)), record(5, Revision(4))], false).is_err());
        assert!(census.count(&[record(5, Revision(4)), record(5, Revision(4))], false).is_err());
    }
}

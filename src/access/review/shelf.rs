//! Answers with more than one page, kept until they are read: every page is of the one revision that the answer is of.
//!
//! Bounded in bytes: the oldest answer of the reader who has most kept makes room, so no reader takes what another reads on.
//! After a restart nothing is kept, and a reader begins anew.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::kernel::secret::random_bytes;

/// Where in an answer a page begins: an item, and a place within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The item.
    pub item: usize,
    /// Within the item.
    pub part: usize,
}

/// Names one kept answer; nobody can guess it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket([u8; 16]);

/// How many bytes something takes in memory, about.
pub trait Weigh {
    /// In bytes.
    fn bytes(&self) -> usize;
}

/// Why an answer is not kept, or not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotKept {
    /// It is larger than all that may be kept.
    TooLarge,
    /// The operating system gives no randomness for its ticket.
    NoTicket,
}

struct Kept<T> {
    ticket: Ticket,
    owner: UserId,
    until: Timestamp,
    bytes: usize,
    answer: Arc<T>,
}

/// The kept answers of one kind, oldest first.
pub struct Shelf<T> {
    kept: Mutex<VecDeque<Kept<T>>>,
    most_bytes: usize,
    seconds: i64,
}

impl<T: Weigh> Shelf<T> {
    /// An empty one.
    pub fn new(most_bytes: usize, seconds: u32) -> Self {
        Self { kept: Mutex::new(VecDeque::new()), most_bytes, seconds: i64::from(seconds) }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept<T>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an answer for its reader.
    ///
    /// # Errors
    /// When it is larger than all that may be kept, or there is no randomness.
    pub fn keep(&self, answer: Arc<T>, owner: UserId, now: Timestamp) -> Result<Ticket, NotKept> {
        let bytes = answer.bytes();
        if bytes > self.most_bytes {
            return Err(NotKept::TooLarge);
        }
        let ticket = Ticket(random_bytes().map_err(|_| NotKept::NoTicket)?);
        let mut kept = self.kept();
        kept.retain(|one| now < one.until);
        make_room(&mut kept, self.most_bytes, owner, bytes);
        kept.push_back(Kept { ticket, owner, until: now.plus_seconds(self.seconds), bytes, answer });
        Ok(ticket)
    }

    /// The answer that was kept for this reader, if it still is.
    pub fn find(&self, ticket: Ticket, owner: UserId, now: Timestamp) -> Option<Arc<T>> {
        let kept = self.kept();
        let found = kept.iter().find(|one| one.ticket == ticket && one.owner == owner && now < one.until);
        found.map(|one| Arc::clone(&one.answer))
    }

    /// Forgets what is too old.
    pub fn tidy(&self, now: Timestamp) {
        self.kept().retain(|one| now < one.until);
    }
}

/// What one reader has kept: how many bytes, and which of all answers, oldest first.
#[derive(Default)]
struct Share {
    bytes: usize,
    places: VecDeque<usize>,
}

/// Makes room for so many bytes of this reader: whoever has most with them gives its oldest answer, then whoever has most
/// then; of two who have as much, the reader who wants the room.
fn make_room<T>(kept: &mut VecDeque<Kept<T>>, most_bytes: usize, owner: UserId, bytes: usize) {
    let mut held: usize = kept.iter().map(|one| one.bytes).sum();
    if held + bytes <= most_bytes {
        return;
    }
    let mut shares: BTreeMap<UserId, Share> = BTreeMap::new();
    for (at, one) in kept.iter().enumerate() {
        let share = shares.entry(one.owner).or_default();
        share.bytes += one.bytes;
        share.places.push_back(at);
    }
    shares.entry(owner).or_default().bytes += bytes;
    let size = |(reader, share): (&UserId, &Share)| (share.bytes, *reader == owner, *reader);
    let mut largest: BinaryHeap<_> = shares.iter().map(size).collect();
    let mut going = BTreeSet::new();
    while held + bytes > most_bytes
        && let Some((size, is_owner, reader)) = largest.pop()
    {
        let oldest = shares.get_mut(&reader).and_then(|share| share.places.pop_front());
        let Some((at, one)) = oldest.and_then(|at| Some((at, kept.get(at)?))) else { continue };
        held -= one.bytes;
        going.insert(at);
        largest.push((size - one.bytes, is_owner, reader));
    }
    let mut places = 0..;
    kept.retain(|_| places.next().is_some_and(|at| !going.contains(&at)));
}

/// The text that leads to a page of a kept answer.
pub fn cursor(ticket: Ticket, place: Place) -> String {
    let numbers = [place.item, place.part].map(|number| (number as u64).to_be_bytes());
    URL_SAFE_NO_PAD.encode([&ticket.0[..], numbers.as_flattened()].concat())
}

/// Reads what [`cursor`] wrote.
pub fn parse_cursor(text: &str) -> Option<(Ticket, Place)> {
    let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (ticket, numbers) = bytes.split_first_chunk::<16>()?;
    let mut numbers = numbers.as_chunks::<8>().0.iter().map(|bytes| u64::from_be_bytes(*bytes));
    let mut number = || usize::try_from(numbers.next()?).ok();
    Some((Ticket(*ticket), Place { item: number()?, part: number()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes(usize);

    impl Weigh for Bytes {
        fn bytes(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn answers_are_kept_for_their_reader_for_a_while_within_bounds() {
        let shelf = Shelf::new(100, 10);
        let (now, reader) = (Timestamp::from_millis(0), UserId::generate(Timestamp::from_millis(1)));
        let keep = |bytes, now| shelf.keep(Arc::new(Bytes(bytes)), reader, now);
        let first = keep(60, now).unwrap();
        assert!(shelf.find(first, reader, now).is_some());
        assert!(shelf.find(first, UserId::generate(now), now).is_none(), "it is somebody else's");
        assert!(shelf.find(first, reader, now.plus_seconds(10)).is_none(), "it is too old");
        let second = keep(40, now).unwrap();
        assert!(shelf.find(first, reader, now).is_some() && shelf.find(second, reader, now).is_some());
        let third = keep(50, now).unwrap();
        assert!(shelf.find(first, reader, now).is_none(), "the oldest makes room");
        assert!(shelf.find(second, reader, now).is_some() && shelf.find(third, reader, now).is_some());
        assert_eq!(keep(101, now), Err(NotKept::TooLarge));
        shelf.tidy(now.plus_seconds(10));
        assert!(shelf.kept().is_empty());
    }

    #[test]
    fn a_reader_who_has_most_makes_room_and_takes_nothing_of_others() {
        let shelf = Shelf::new(100, 10);
        let now = Timestamp::from_millis(0);
        let [ann, bob, cid] = [1, 2, 3].map(|at| UserId::generate(Timestamp::from_millis(at)));
        let keep = |reader, bytes| shelf.keep(Arc::new(Bytes(bytes)), reader, now).unwrap();
        let has = |reader, ticket| shelf.find(ticket, reader, now).is_some();
        let of_ann = keep(ann, 40);
        let of_bob: Vec<Ticket> = (0..50).map(|_| keep(bob, 10)).collect();
        assert!(has(ann, of_ann), "bob has had more since");
        let still: Vec<bool> = of_bob.iter().map(|ticket| has(bob, *ticket)).collect();
        assert_eq!((still.iter().filter(|is| **is).count(), &still[44..]), (6, &[true; 6][..]));
        // Who comes new takes of whoever has most, down to what the others have.
        let of_cid = keep(cid, 30);
        assert!(has(ann, of_ann) && has(cid, of_cid));
        assert_eq!(of_bob.iter().filter(|ticket| has(bob, **ticket)).count(), 3);
        // What is larger than any share takes of all, and of them what is needed alone.
        let large = keep(bob, 60);
        assert!(has(bob, large) && !has(ann, of_ann) && has(cid, of_cid));
        assert_eq!(of_bob.iter().filter(|ticket| has(bob, **ticket)).count(), 0);
    }

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let place = Place { item: 7, part: 70_000 };
        let text = cursor(Ticket([9; 16]), place);
        assert_eq!(parse_cursor(&text), Some((Ticket([9; 16]), place)));
        for wrong in ["", "x", &text[1..], "%"] {
            assert_eq!(parse_cursor(wrong), None);
        }
    }
}

//! Answers with more than one page, kept until they are read: every page is of the one revision that the answer is of.
//!
//! Bounded in bytes: the oldest answer makes room. After a restart nothing is kept, and a reader begins anew.

use std::collections::VecDeque;
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
        let mut held: usize = kept.iter().map(|one| one.bytes).sum();
        while held + bytes > self.most_bytes
            && let Some(oldest) = kept.pop_front()
        {
            held -= oldest.bytes;
        }
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
    fn a_cursor_comes_back_as_it_was() {
        let place = Place { item: 7, part: 70_000 };
        let text = cursor(Ticket([9; 16]), place);
        assert_eq!(parse_cursor(&text), Some((Ticket([9; 16]), place)));
        for wrong in ["", "x", &text[1..], "%"] {
            assert_eq!(parse_cursor(wrong), None);
        }
    }
}

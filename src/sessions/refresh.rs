//! Refresh tokens: one family per session, of which exactly one token is good (RFC 9700 section 4.14.2).
//!
//! A token's secret is 16 bytes that name the family and stay, and 16 that change with every use. Whoever shows the
//! family's bytes with other old ones held a token of this family once: a copy is about, and the family ends. Bytes of
//! no family end nothing, so that nobody can end what they never had a token of.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::secret::ShortHash;
use crate::sessions::device::Network;

/// What is kept of a session's refresh tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    family: ShortHash,
    current: ShortHash,
    previous: Option<ShortHash>,
    rotated_at: Timestamp,
    network: Option<Network>,
}

/// A token as presented, and what would follow it.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// The hash of the presented family.
    pub family: ShortHash,
    /// The hash of the presented changing part.
    pub presented: ShortHash,
    /// The hash of what would follow.
    pub successor: ShortHash,
    /// The network it comes from.
    pub network: Option<Network>,
    /// Whether the program is the one that the session belongs to.
    pub is_same_program: bool,
    /// When.
    pub now: Timestamp,
    /// For how long the same client may show the last token again, because the answer was lost.
    pub grace_seconds: u32,
}

/// What a presented token comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The successor is good from now on.
    Rotated(Refresh),
    /// The same client asks again, and the answer is the same: nothing changes.
    Repeated,
    /// A token of this family that is not good any more: somebody has a copy.
    Reused,
    /// No token of this family.
    Foreign,
}

impl Refresh {
    /// A new family with its first token.
    pub const fn begin(family: ShortHash, first: ShortHash, network: Option<Network>, now: Timestamp) -> Self {
        Self { family, current: first, previous: None, rotated_at: now, network }
    }

    /// Whether a token's secret is of this family.
    pub fn is_of_family(&self, secret: &[u8]) -> bool {
        secret.get(..16).is_some_and(|family| self.family.is_same(&ShortHash::of(family)))
    }

    /// Decides what a presented token comes to.
    pub fn take(&self, turn: &Turn) -> Outcome {
        if !self.family.is_same(&turn.family) {
            return Outcome::Foreign;
        }
        if self.current.is_same(&turn.presented) {
            return Outcome::Rotated(Self {
                current: turn.successor,
                previous: Some(turn.presented),
                rotated_at: turn.now,
                network: turn.network,
                ..*self
            });
        }
        let is_in_time = turn.now < self.rotated_at.plus_seconds(i64::from(turn.grace_seconds));
        let is_same_client = turn.is_same_program && turn.network == self.network;
        let is_previous = self.previous.is_some_and(|previous| previous.is_same(&turn.presented));
        if !(is_previous && is_in_time && is_same_client) {
            return Outcome::Reused;
        }
        if self.current.is_same(&turn.successor) {
            return Outcome::Repeated;
        }
        // What was answered first was derived by a process that is gone: it counts no more.
        Outcome::Rotated(Self { current: turn.successor, ..*self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: u32 = 10;

    fn hash(text: &str) -> ShortHash {
        ShortHash::of(text.as_bytes())
    }

    fn turn(presented: &str, successor: &str, second: i64) -> Turn {
        Turn {
            family: hash("family"),
            presented: hash(presented),
            successor: hash(successor),
            network: None,
            is_same_program: true,
            now: Timestamp::default().plus_seconds(second),
            grace_seconds: GRACE,
        }
    }

    fn rotated(refresh: Refresh, turn: &Turn) -> Refresh {
        match refresh.take(turn) {
            Outcome::Rotated(next) => next,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_token_is_good_and_a_lost_answer_is_given_again() {
        let first = Refresh::begin(hash("family"), hash("a"), None, Timestamp::default());
        let second = rotated(first, &turn("a", "b", 100));
        assert_eq!(second.take(&turn("a", "b", 109)), Outcome::Repeated);
        assert_eq!(second.take(&turn("a", "b", 110)), Outcome::Reused, "the grace is over");
        let elsewhere = Turn { is_same_program: false, ..turn("a", "b", 101) };
        assert_eq!(second.take(&elsewhere), Outcome::Reused, "another client");
        let third = rotated(second, &turn("b", "c", 101));
        assert_eq!(third.take(&turn("a", "b", 102)), Outcome::Reused, "older than the last");
        assert_eq!(third.take(&Turn { family: hash("other"), ..turn("c", "d", 102) }), Outcome::Foreign);
    }

    #[test]
    fn after_a_restart_the_answer_given_first_counts_no_more() {
        let first = Refresh::begin(hash("family"), hash("a"), None, Timestamp::default());
        let second = rotated(first, &turn("a", "b", 100));
        let forked = rotated(second, &turn("a", "x", 105));
        assert_eq!(forked.take(&turn("b", "c", 106)), Outcome::Reused);
        assert_eq!(forked.take(&turn("a", "x", 106)), Outcome::Repeated);
        rotated(forked, &turn("x", "y", 106));
    }
}

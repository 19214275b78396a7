//! A code that was sent to an address or a number, to show that it is the person's.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::secret::SecretHash;

/// How long a code is good for.
pub const GOOD_SECONDS: i64 = 600;
/// So many wrong codes, and another has to be sent.
pub const MOST_ATTEMPTS: u8 = 5;
/// Between two codes of one kind there are at least so many seconds.
pub const SECONDS_BETWEEN: i64 = 60;
/// So many codes of one kind are sent to one person in a day: with five tries each, a code of six digits is guessed by
/// one in forty thousand.
pub const MOST_A_DAY: u8 = 5;
const DAY_SECONDS: i64 = 86_400;

/// What a code is about. Stored: new ones come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChallengeKind {
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
}

/// A code that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// What it is about.
    pub kind: ChallengeKind,
    /// The address or the number.
    pub target: Box<str>,
    /// The hash of the code and the target.
    pub code: CodeHash,
    /// How many wrong codes were shown.
    pub attempts: u8,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// How many were sent since `day_began`, this one among them.
    pub sent_in_day: u8,
    /// When the day began in which they are counted.
    pub day_began: Timestamp,
    /// Whether it is over: then it is kept for the count alone, without target and code.
    pub is_spent: bool,
}

/// The hash of a code.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct CodeHash(SecretHash);

impl PartialEq for CodeHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }
}

impl Eq for CodeHash {}

impl CodeHash {
    /// Of a code for a target.
    pub fn of(code: &str, target: &str) -> Self {
        Self(SecretHash::of(format!("{code} {target}").as_bytes()))
    }
}

/// Why no code is sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSoon {
    /// After how many seconds one may be.
    pub wait_seconds: u64,
}

impl Challenge {
    /// A new code, after the one before of its kind.
    ///
    /// # Errors
    /// When one was sent just before, or too many in a day.
    pub fn next(
        before: Option<&Self>,
        kind: ChallengeKind,
        target: &str,
        code: CodeHash,
        now: Timestamp,
    ) -> Result<Self, TooSoon> {
        let (mut sent_in_day, mut day_began) = (0, now);
        if let Some(before) = before {
            let until = |moment: Timestamp| TooSoon { wait_seconds: moment.since(now).unsigned_abs().div_ceil(1000) };
            let next = before.sent_at.plus_seconds(SECONDS_BETWEEN);
            if now < next {
                return Err(until(next));
            }
            let day_ends = before.day_began.plus_seconds(DAY_SECONDS);
            if now < day_ends {
                (sent_in_day, day_began) = (before.sent_in_day, before.day_began);
                if sent_in_day >= MOST_A_DAY {
                    return Err(until(day_ends));
                }
            }
        }
        let sent_in_day = sent_in_day + 1;
        Ok(Self {
            kind,
            target: target.into(),
            code,
            attempts: 0,
            sent_at: now,
            sent_in_day,
            day_began,
            is_spent: false,
        })
    }

    /// What is kept of it when it is over: how many were sent, and when; not to whom, nor what.
    pub fn spent(&self) -> Self {
        Self { target: Box::default(), code: CodeHash::of("", ""), is_spent: true, ..self.clone() }
    }

    /// Whether it can still be met.
    pub fn is_open(&self, now: Timestamp) -> bool {
        !self.is_spent && self.attempts < MOST_ATTEMPTS && now < self.sent_at.plus_seconds(GOOD_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(0).plus_seconds(seconds)
    }

    fn next(before: Option<&Challenge>, seconds: i64) -> Result<Challenge, u64> {
        let code = CodeHash::of("123456", "+4930123456");
        Challenge::next(before, ChallengeKind::Phone, "+4930123456", code, at(seconds)).map_err(|it| it.wait_seconds)
    }

    #[test]
    fn codes_are_sent_at_intervals_and_so_many_a_day() {
        let mut last = next(None, 0).unwrap();
        assert_eq!(next(Some(&last), 59).unwrap_err(), 1);
        for turn in 1..5 {
            last = next(Some(&last), turn * 60).unwrap();
        }
        assert_eq!(next(Some(&last), 300).unwrap_err(), 86_400 - 300);
        assert_eq!(next(Some(&last), 86_400).unwrap().sent_in_day, 1);
    }

    #[test]
    fn a_code_is_good_for_a_time_and_some_tries() {
        let mut code = next(None, 0).unwrap();
        assert!(code.is_open(at(599)) && !code.is_open(at(600)));
        code.attempts = MOST_ATTEMPTS;
        assert!(!code.is_open(at(1)));
        assert_ne!(CodeHash::of("123456", "a"), CodeHash::of("123456", "b"));
    }
}

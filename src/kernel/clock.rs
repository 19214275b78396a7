//! Time: the only room that reads a clock.
//!
//! Wall time is a [`Timestamp`] in milliseconds; it comes from a [`Clock`], which tests hold by hand. Durations of
//! the program's own work come from a [`Stopwatch`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::SignedDuration;
use jiff::civil::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::fault::Malformed;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z. Text form: RFC 3339, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

const SIGN: u64 = 1 << 63;

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down (a JWT `NumericDate`, RFC 7519 section 2).
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time and so many seconds later; saturates.
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Milliseconds from `earlier` to this time; negative if `earlier` is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// As bytes that sort as times do: the sign's bit is turned.
    pub const fn sortable(self) -> [u8; 8] {
        (self.0.cast_unsigned() ^ SIGN).to_be_bytes()
    }

    /// The time in such bytes.
    pub const fn of_sortable(bytes: [u8; 8]) -> Self {
        Self((u64::from_be_bytes(bytes) ^ SIGN).cast_signed())
    }

    /// Reads an RFC 3339 time; any offset is accepted and converted to UTC.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let time = text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond())).ok();
        time.or_else(|| of_last_day(text))
            .ok_or_else(|| Malformed::new("expected an RFC 3339 time such as 2026-01-31T12:00:00Z"))
    }
}

/// The last two days of the year 9999: RFC 3339 knows them, and they stand for "for ever"; instants of the library end before,
/// so that they have a local time everywhere.
fn of_last_day(text: &str) -> Option<Timestamp> {
    let has_time = text.starts_with("9999-12-3") && matches!(text.as_bytes().get(10), Some(b'T' | b't'));
    let local = text.strip_suffix(['Z', 'z']).filter(|_| has_time)?;
    let since = local.parse::<DateTime>().ok()?.duration_since(EPOCH);
    i64::try_from(since.as_millis()).ok().map(Timestamp)
}

/// 1970, where times begin.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(time.0).unwrap_or_default())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => match EPOCH.checked_add(SignedDuration::from_millis(self.0)) {
                Ok(local) => write!(f, "{local:.3}Z"),
                Err(_) => write!(f, "{}ms", self.0),
            },
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            Self::parse(&text).map_err(D::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

/// Where wall time comes from: the system, or a hand in a test. Cheap to clone; clones share the hand.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    hand: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    pub const fn system() -> Self {
        Self { hand: None }
    }

    /// A clock that stands at `start` until [`Clock::advance_seconds`] moves it.
    pub fn held_at(start: Timestamp) -> Self {
        Self { hand: Some(Arc::new(AtomicI64::new(start.0))) }
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    pub fn now(&self) -> Timestamp {
        if let Some(hand) = &self.hand {
            return Timestamp(hand.load(Ordering::SeqCst));
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// Time that only goes forward, from now on: whatever is done to the system's clock, or by the same hand.
    pub fn ticker(&self) -> Ticker {
        let hand = self.hand.as_ref().map(|hand| (Arc::clone(hand), hand.load(Ordering::SeqCst)));
        Ticker { start: Stopwatch::start(), hand }
    }

    /// Moves a held clock forward; the system's clock is not moved by this.
    pub fn advance_seconds(&self, seconds: i64) {
        if let Some(hand) = &self.hand {
            hand.fetch_add(seconds.saturating_mul(1000), Ordering::SeqCst);
        }
    }
}

/// Time since it was made: of the monotonic clock, or of the hand in a test.
#[derive(Debug, Clone)]
pub struct Ticker {
    start: Stopwatch,
    hand: Option<(Arc<AtomicI64>, i64)>,
}

impl Ticker {
    /// Nanoseconds since it was made; saturates after five hundred years.
    pub fn nanos(&self) -> u64 {
        let nanos = self.hand.as_ref().map_or_else(
            || self.start.elapsed().as_nanos(),
            |(hand, start)| {
                let millis = hand.load(Ordering::SeqCst).saturating_sub(*start);
                u128::from(u64::try_from(millis).unwrap_or_default()) * 1_000_000
            },
        );
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// Measures how long something takes, on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Seconds since the start, for histograms.
    pub fn seconds(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_survives_its_text_form() {
        let time = Timestamp::from_millis(1_763_900_000_123);
        assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time);
        assert_eq!(time.to_string(), "2025-11-23T12:13:20.123Z");
        assert_eq!(Timestamp::parse("2025-11-23T13:13:20.123+01:00").unwrap(), time);
        for text in ["yesterday", "9999-12-31Z", "9999-12-32T00:00:00Z", "9999-12-31T23:59:59", "10000-01-01T00:00:00Z"]
        {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
        for text in ["9999-12-31T23:59:59.999Z", "9999-12-30T23:00:00.000Z", "9999-12-30T21:00:00.000Z"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        let last = Timestamp::parse("9999-12-30T21:59:59.999Z").unwrap();
        assert_eq!(Timestamp::parse("9999-12-30T23:59:59.999Z").unwrap().since(last), 7_200_000);
    }

    #[test]
    fn a_held_clock_moves_only_by_hand() {
        let clock = Clock::held_at(Timestamp::from_millis(0));
        let shared = clock.clone();
        let ticker = clock.ticker();
        clock.advance_seconds(2);
        assert_eq!((shared.now(), ticker.nanos()), (Timestamp::from_millis(2000), 2_000_000_000));
    }
}

//! Sign-ins that wait for a second factor: the password was right, and need not be typed again.
//!
//! In memory alone: after a restart people type their password again. Bounded, per account as well, so that whoever knows
//! one password can make nobody else's sign-in be forgotten. A challenge is short-lived, is over after a few tries, and its
//! tries are counted as those of its account are.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;

use crate::accounts::evidence::Evidence;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::kernel::secret::{NoRandomness, SecretHash, random_bytes};
use crate::sessions::token::{Purpose, Token};

/// Of how many accounts sign-ins are remembered.
const ACCOUNTS: usize = 10_000;
/// How many of one account; the newest take the places of the oldest.
const MOST_WAITING: usize = 8;
/// How long one waits.
const SECONDS: i64 = 300;
/// How many codes may be tried before the password must be typed again.
const MOST_TRIES: u32 = 5;

/// A sign-in that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Whose.
    pub user: UserId,
    /// What was shown already.
    pub evidence: Evidence,
    secret: SecretHash,
    until: Timestamp,
    tries: u32,
}

type Shared = Arc<Mutex<Vec<Waiting>>>;

/// The sign-ins that wait.
pub struct Challenges(Cache<UserId, Shared>);

impl Default for Challenges {
    fn default() -> Self {
        Self(Cache::new(ACCOUNTS))
    }
}

impl Challenges {
    /// Lets a sign-in wait; the token by which it goes on.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn make(&self, user: UserId, evidence: Evidence, now: Timestamp) -> Result<String, NoRandomness> {
        let (text, secret) = Token::issue(Purpose::Waiting, user, &random_bytes()?)?;
        self.keep(Waiting { user, evidence, secret, until: now.plus_seconds(SECONDS), tries: 0 }, now);
        Ok(text)
    }

    /// Lets one that was taken wait again, as long and for as many tries as it would have.
    pub fn give_back(&self, waiting: Waiting, now: Timestamp) {
        self.keep(waiting, now);
    }

    fn keep(&self, waiting: Waiting, now: Timestamp) {
        let fresh: Result<_, Infallible> = self.0.get_or_insert_with(&waiting.user, || Ok(Shared::default()));
        let all = fresh.unwrap_or_default();
        let mut all = locked(&all);
        all.retain(|other| now < other.until);
        if all.len() >= MOST_WAITING {
            all.remove(0);
        }
        all.push(waiting);
    }

    /// The sign-in that waits under this token.
    pub fn find(&self, text: &str, now: Timestamp) -> Option<Waiting> {
        self.with(text, |all, at| all.get(at).cloned()).filter(|waiting| now < waiting.until)
    }

    /// Counts a try before it is made, so that many at once are counted too. False: there were too many, and it waits no
    /// more.
    pub fn try_once(&self, text: &str) -> bool {
        let counted = self.with(text, |all, at| {
            let waiting = all.get_mut(at).filter(|waiting| waiting.tries < MOST_TRIES);
            let counted = waiting.map(|waiting| waiting.tries += 1);
            if counted.is_none() {
                all.remove(at);
            }
            counted
        });
        counted.is_some()
    }

    /// Takes it, for whoever is about to go on: of many at once one gets it.
    pub fn take(&self, text: &str, now: Timestamp) -> Option<Waiting> {
        self.with(text, |all, at| Some(all.remove(at))).filter(|waiting| now < waiting.until)
    }

    /// What `act` makes of the one with this token, which is at this place.
    fn with<T>(&self, text: &str, act: impl FnOnce(&mut Vec<Waiting>, usize) -> Option<T>) -> Option<T> {
        let token = Token::parse(Purpose::Waiting, text)?;
        let all = self.0.get(&token.owner())?;
        let mut all = locked(&all);
        let at = all.iter().position(|waiting| waiting.secret.matches(token.secret()))?;
        act(&mut all, at)
    }
}

fn locked(all: &Shared) -> MutexGuard<'_, Vec<Waiting>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::model::Credential;

    fn evidence() -> Evidence {
        Evidence::of_password(Credential { phc: "hash".into(), is_imported: false }, None)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::default().plus_seconds(seconds)
    }

    #[test]
    fn one_account_makes_no_other_wait_in_vain() {
        let challenges = Challenges::default();
        let (ann, eve) = (UserId::generate(at(0)), UserId::generate(at(0)));
        let anns = challenges.make(ann, evidence(), at(0)).unwrap();
        let eves: Vec<_> = (0..20_000).map(|_| challenges.make(eve, evidence(), at(1)).unwrap()).collect();
        assert!(challenges.find(&anns, at(1)).is_some());
        let left: Vec<_> = eves.iter().filter(|text| challenges.find(text, at(1)).is_some()).collect();
        assert_eq!(left.len(), MOST_WAITING);
        assert_eq!(left.last(), eves.last().as_ref());
    }

    #[test]
    fn a_challenge_is_over_after_some_tries_and_in_time() {
        let challenges = Challenges::default();
        let ann = UserId::generate(at(0));
        let text = challenges.make(ann, evidence(), at(0)).unwrap();
        let other = challenges.make(ann, evidence(), at(0)).unwrap();
        assert!((0..MOST_TRIES).all(|_| challenges.try_once(&text)));
        assert!(challenges.find(&text, at(299)).is_some());
        assert!(!challenges.try_once(&text));
        assert!(challenges.find(&text, at(0)).is_none());
        assert!(challenges.find(&other, at(299)).is_some() && challenges.find(&other, at(300)).is_none());
    }

    #[test]
    fn a_challenge_is_taken_once_and_may_be_given_back() {
        let challenges = Challenges::default();
        let text = challenges.make(UserId::generate(at(0)), evidence(), at(0)).unwrap();
        assert!((1..MOST_TRIES).all(|_| challenges.try_once(&text)));
        let taken = challenges.take(&text, at(1)).unwrap();
        assert!(challenges.take(&text, at(1)).is_none() && challenges.find(&text, at(1)).is_none());
        challenges.give_back(taken, at(1));
        assert!(challenges.try_once(&text) && !challenges.try_once(&text));
        let late = challenges.make(UserId::generate(at(0)), evidence(), at(0)).unwrap();
        assert!(challenges.take(&late, at(300)).is_none());
    }
}

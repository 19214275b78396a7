//! Places for uploads that are on their way in: so many for all callers, and few for one, so that nobody takes them all by
//! sending slowly. A place is taken before the body is read and kept until the answer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER};

use super::caller::Caller;
use super::problem::Problem;
use super::settings::Settings;
use crate::actor::aggregate::Aggregate as _;
use crate::kernel::ids::UserId;

/// Who has how many places; whoever does not say who they are is one caller.
pub(super) struct Uploads {
    most: usize,
    most_of_one: usize,
    taken: Mutex<HashMap<Option<UserId>, usize>>,
}

/// A place; dropped, it is free again.
pub(super) struct Place<'a> {
    uploads: &'a Uploads,
    whose: Option<UserId>,
}

impl Uploads {
    pub(super) fn new(settings: &Settings) -> Self {
        let (most, most_of_one) = (settings.max_uploads, settings.max_uploads_per_caller);
        Self { most, most_of_one, taken: Mutex::default() }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// 429 when the caller has as many as one may have, 503 when there is none.
    pub(super) fn take(&self, caller: &Caller) -> Result<Place<'_>, Problem> {
        let whose = caller.user().map(|user| user.id());
        let mut taken = self.taken();
        if taken.get(&whose).is_some_and(|own| *own >= self.most_of_one) {
            let detail = "too many uploads of this caller are on their way in";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-uploads", detail);
            return Err(problem.with_header(RETRY_AFTER, HeaderValue::from(1)));
        }
        if taken.values().sum::<usize>() >= self.most {
            return Err(Problem::busy("too many uploads are on their way in"));
        }
        *taken.entry(whose).or_default() += 1;
        Ok(Place { uploads: self, whose })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Option<UserId>, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.uploads.taken();
        if let Some(own) = taken.get_mut(&self.whose) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.whose);
            }
        }
    }
}

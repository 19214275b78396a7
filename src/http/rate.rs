//! How many requests who may send: each person, each application, and each address from which somebody comes without a
//! valid credential. Answers tell what is left (draft-ietf-httpapi-ratelimit-headers-10); what is too much is answered 429.
//!
//! A request is counted once, before its body is read and its right is looked at. Whose limit is not set costs a branch.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use prometheus::IntCounterVec;

use super::buckets::{Buckets, Left};
use super::caller::Caller;
use super::peer;
use super::problem::{Problem, RATE_LIMIT, RATE_LIMIT_POLICY, rate_limit};
use super::settings::Settings;
use crate::actor::aggregate::Aggregate as _;
use crate::kernel::clock::Clock;
use crate::kernel::customer::network_of;
use crate::metrics::Metrics;

/// So many addresses have a bucket of their own at a time, a few megabytes; those that come then share one. Persons and
/// applications are as many as there are accounts.
const MOST_ADDRESSES: usize = 100_000;

/// Who has sent how many requests lately.
pub struct Rates {
    person: Option<Buckets>,
    app: Option<Buckets>,
    address: Option<Buckets>,
    /// An address came to its end lately: credentials that have to be looked for are counted before that.
    is_tight: AtomicBool,
    refused: IntCounterVec,
}

impl Rates {
    /// As the settings say.
    pub fn new(settings: &Settings, clock: &Clock, metrics: &Metrics) -> Self {
        let buckets = |name, per_minute, most| Buckets::new(name, per_minute, settings.burst_seconds, most, clock);
        Self {
            person: buckets("person", settings.person_requests_per_minute, usize::MAX),
            app: buckets("app", settings.app_requests_per_minute, usize::MAX),
            address: buckets("address", settings.address_requests_per_minute, MOST_ADDRESSES),
            is_tight: AtomicBool::new(false),
            refused: metrics.requests_limited_total.clone(),
        }
    }

    /// Counts a request of this caller; of nobody's nothing is known here. What is left of plenty is not noted where it
    /// would not be told.
    ///
    /// # Errors
    /// 429.
    pub(super) fn count_caller(
        &self,
        request: &HttpRequest,
        caller: &Caller,
        cost: u32,
        is_often: bool,
    ) -> Result<(), Problem> {
        let (buckets, id) = match caller {
            Caller::Nobody => return Ok(()),
            Caller::Person(signed_in) => (&self.person, signed_in.user.id()),
            Caller::App(user) => (&self.app, user.id()),
        };
        let Some(buckets) = buckets else { return Ok(()) };
        self.count(buckets, request, || u128::from_be_bytes(*id.bytes()), cost, is_often).map(drop)
    }

    /// Counts a request without a valid credential.
    ///
    /// # Errors
    /// 429.
    pub(super) fn count_address(&self, request: &HttpRequest, settings: &Settings, cost: u32) -> Result<(), Problem> {
        let Some(buckets) = &self.address else { return Ok(()) };
        let whose = || peer::address_of(request, &settings.trusted_proxies).map_or(0, network_of);
        let left = self.count(buckets, request, whose, cost, false);
        if left.as_ref().map_or(true, |left| *left == Some(0)) {
            self.is_tight.store(true, Ordering::Relaxed);
        }
        left.map(drop)
    }

    /// Whether some address came to its end lately.
    pub(super) fn is_tight(&self) -> bool {
        self.is_tight.load(Ordering::Relaxed)
    }

    /// Forgets whoever may send as much as if they had never come.
    pub fn tidy(&self) {
        self.is_tight.store(false, Ordering::Relaxed);
        self.all().for_each(Buckets::tidy);
    }

    /// Of how many persons, applications and addresses it is known that they came lately.
    pub fn remembered(&self) -> usize {
        self.all().map(Buckets::len).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Buckets> {
        [&self.person, &self.app, &self.address].into_iter().flatten()
    }

    /// How many requests are left; none: it was counted before, or is not.
    fn count(
        &self,
        buckets: &Buckets,
        request: &HttpRequest,
        whose: impl FnOnce() -> u128,
        cost: u32,
        is_often: bool,
    ) -> Result<Option<u32>, Problem> {
        let Some(cost) = NonZeroU32::new(cost).filter(|_| !request.extensions().contains::<Left>()) else {
            return Ok(None);
        };
        match buckets.take(whose(), cost) {
            Ok(left) => {
                if !(is_often && buckets.is_ample(left)) {
                    request.extensions_mut().insert(buckets.left(left));
                }
                Ok(Some(left))
            }
            Err(limit) => {
                self.refused.with_label_values(&[buckets.name()]).inc();
                Err(Problem::too_many_requests(buckets.name(), limit))
            }
        }
    }
}

/// Tells the sender of a request that was counted what is left, unless the answer tells of another bound that was reached. Who
/// asks for what is asked often is told when half is gone.
pub(super) fn tell(request: &HttpRequest, response: &mut HttpResponse, is_often: bool) {
    let extensions = request.extensions();
    let Some(left) = extensions.get::<Left>().filter(|left| !(is_often && left.is_ample)) else { return };
    let headers = response.headers_mut();
    if !headers.contains_key(RATE_LIMIT) {
        headers.insert(RATE_LIMIT_POLICY, left.policy.clone());
        headers.insert(RATE_LIMIT, rate_limit(left.name, left.requests, left.one_more_seconds));
    }
}

//! What checks feel of people who sign in: hashing passwords takes as much processor as there is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use hdrhistogram::Histogram;
use serde_json::json;

use super::load::{Requests, open_loop};
use super::report::{Line, median};
use super::server::{PASSWORD, Server, pause};

const ROUNDS: usize = 5;
const ROUND_TIME: Duration = Duration::from_secs(3);
/// So many people sign in at once, again and again: more than there are threads that hash.
const PEOPLE: usize = 16;

/// The same checks at the same rate, with nobody signing in and with as many as the hash pool can take.
///
/// # Errors
/// When a request fails.
pub(crate) fn beside_checks(sesame: &Server, checks: &Requests, per_second: f64) -> anyhow::Result<Line> {
    let (mut quiet, mut busy, mut sign_ins) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        quiet.push(open_loop(sesame, checks, per_second, ROUND_TIME)?);
        let (times, count) = while_people_sign_in(sesame, || open_loop(sesame, checks, per_second, ROUND_TIME))?;
        busy.push(times);
        sign_ins += count;
    }
    ensure!(sign_ins > 0, "nobody signed in");
    let p99 = |times: &[Histogram<u64>]| {
        median(times.iter().map(|times| times.value_at_quantile(0.99) as f64 / 1000.0).collect())
    };
    let (quiet, busy) = (p99(&quiet), p99(&busy));
    let rate = sign_ins as f64 / (ROUND_TIME.as_secs_f64() * ROUNDS as f64);
    let ratio = busy / quiet;
    Ok(Line {
        what: format!("P13 p99 of a check, open loop, {per_second:.0}/s, beside {rate:.0} sign-ins/s"),
        ours: format!("{busy:.0} µs"),
        beside: format!("without sign-ins {quiet:.0} µs"),
        ratio: format!("{ratio:.2}"),
        target: "≤ 2 ×",
        is_met: ratio <= 2.0,
    })
}

/// Does something while people sign in without a pause; also says how many did.
fn while_people_sign_in<T>(sesame: &Server, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, u64)> {
    let (is_over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..PEOPLE {
            let (is_over, count) = (&is_over, &count);
            scope.spawn(move || {
                let body = json!({ "identifier": format!("person{number}"), "password": PASSWORD });
                while !is_over.load(Ordering::Relaxed) {
                    if ureq::post(sesame.url("/api/v1/auth/login")).send_json(&body).is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        while count.load(Ordering::Relaxed) == 0 {
            pause(Duration::from_millis(1));
        }
        let before = count.load(Ordering::Relaxed);
        let outcome = work();
        let during = count.load(Ordering::Relaxed) - before;
        is_over.store(true, Ordering::Relaxed);
        Ok((outcome?, during))
    })
}

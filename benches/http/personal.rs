//! What people ask about themselves: profile and preferences, read warm, known already, and written.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use futures_util::future::join_all;
use serde_json::json;

use super::ROUND_SECONDS;
use super::ROUNDS;
use super::load::{Requests, closed_loop};
use super::noise::{Noise, felt};
use super::place::stay_on_core;
use super::report::{self, Line, median};
use super::server::{Answers, Server};
use super::world::{Client, World};
use super::{Servers, throughput};
use sesame::kernel::clock::Stopwatch;
use sesame::metrics::Metrics;
use sesame::store::key::Kind;
use sesame::store::settings::Settings;
use sesame::store::{Commit, Expect, Key, Store as _, embedded};

const PROFILE: &str = "/api/v1/users/profile";
const PREFERENCES: &str = "/api/v1/users/preferences";

/// So many clients write at a time.
const WRITERS: usize = 64;
/// Reads a second beside the noise.
const READS_PER_SECOND: f64 = 2_000.0;

/// Reads beside the constant server, which answers the same bytes to everybody; writes beside the store alone; reads
/// while as many people sign in as can.
///
/// # Errors
/// When an answer is not a success.
pub(crate) fn compare(servers: Servers<'_>, world: &World, folder: &Path) -> anyhow::Result<()> {
    let token = world.session_tokens.first().context("nobody is signed in")?;
    for (what, path, most_micros) in [("profile", PROFILE, 200_000.0), ("preferences", PREFERENCES, 100_000.0)] {
        let plain = read(path, token);
        let known =
            Requests { header: Some(("If-None-Match", tag(servers.sesame, path, token)?)), ..read(path, token) };
        report::row(&throughput(servers, (&plain, &plain), folder, &format!("warm GET of {what}"), 0.85)?.1);
        report::row(&throughput(servers, (&known, &plain), folder, &format!("304 of {what}"), 0.90)?.1);
        let felt = felt(servers.sesame, &plain, READS_PER_SECOND, Noise::SignIns)?;
        report::row(&Line {
            what: format!(
                "p99 of a GET of {what}, open loop, {READS_PER_SECOND}/s, beside {:.0} sign-ins/s",
                felt.noise_per_second
            ),
            ours: format!("{:.0} µs", felt.busy_micros),
            beside: format!("without sign-ins {:.0} µs", felt.quiet_micros),
            ratio: format!("{:.2}", felt.busy_micros / felt.quiet_micros),
            target: if most_micros < 150_000.0 { "≤ 100 ms" } else { "≤ 200 ms" },
            is_met: felt.busy_micros <= most_micros,
        });
    }
    writes(servers, world, folder)?.iter().for_each(report::row);
    Ok(())
}

/// Tells something in every field, and has the constant server answer what is then answered.
///
/// # Errors
/// When the server does not answer as it should.
pub(crate) fn fill(admin: &Client<'_>, token: &str, answers: &mut Answers) -> anyhow::Result<()> {
    let profile = json!({
        "display_name": "Ann Lee", "bio": "Reads and writes.", "location": "Bonn", "website": "https://ann.example/",
        "social_links": { "github": "ann" }, "phone_number": "+4930123456",
        "emergency_contact": { "name": "Bob", "email": "bob@example.org" },
    });
    let person = admin.with_key(token);
    person.put(PROFILE, &profile)?;
    person.put(PREFERENCES, &json!({ "theme": { "mode": "dark" }, "locale": { "language": "de" } }))?;
    answers.profile = person.get(PROFILE)?;
    answers.preferences = person.get(PREFERENCES)?;
    Ok(())
}

fn read(path: &'static str, token: &str) -> Requests {
    Requests { method: "GET", path, content_type: None, header: None, calls: vec![(token.into(), String::new())] }
}

fn tag(server: &Server, path: &str, token: &str) -> anyhow::Result<String> {
    let answer = ureq::get(server.url(path)).header("Authorization", format!("Bearer {token}")).call()?;
    Ok(answer.headers().get("etag").context("no tag")?.to_str()?.to_owned())
}

/// Durable changes of profiles by 64 clients, beside as many commits of the same records by 64 writers of the store alone;
/// and beside what one core would do if such a request were a constant answer and such a commit, and nothing else.
fn writes(Servers { sesame, constant }: Servers<'_>, world: &World, folder: &Path) -> anyhow::Result<[Line; 2]> {
    let bodies = ["one", "two", "three"].map(|text| json!({ "bio": text }).to_string());
    let calls = bodies.iter().flat_map(|body| {
        world.session_tokens.iter().map(move |token| (Arc::<str>::from(token.as_str()), body.clone()))
    });
    let (calls, content_type) = (calls.collect(), Some("application/json"));
    let puts = Requests { method: "PUT", path: PROFILE, content_type, header: None, calls }.script(folder, "put")?;
    let token = world.session_tokens.first().context("nobody is signed in")?;
    let constants = read(PROFILE, token).script(folder, "constant")?;
    let (mut ours, mut stores, mut both) = (Vec::new(), Vec::new(), Vec::new());
    let (mut of_store, mut of_both) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let one = closed_loop(sesame, &puts, WRITERS, ROUND_SECONDS)?.per_second;
        let store = std::thread::scope(|scope| scope.spawn(commits_per_second).join());
        let store = store.map_err(|_| anyhow!("the writers panicked"))??;
        let answers = closed_loop(constant, &constants, WRITERS, ROUND_SECONDS)?.per_second;
        let one_after_the_other = (answers.recip() + store.recip()).recip();
        of_store.push(one / store);
        of_both.push(one / one_after_the_other);
        ours.push(one);
        stores.push(store);
        both.push(one_after_the_other);
    }
    let (ours, ratio) = (format!("{:.0}/s", median(ours)), median(of_store));
    let beside_store = Line {
        what: format!("durable PUT of a profile, {WRITERS} clients"),
        ours: ours.clone(),
        beside: format!("store alone {:.0}/s", median(stores)),
        ratio: format!("{ratio:.2}"),
        target: "≥ 0.80 ×",
        is_met: ratio >= 0.8,
    };
    let beside_both = Line {
        what: "the same".to_owned(),
        ours,
        beside: format!("a constant answer and then the store {:.0}/s", median(both)),
        ratio: format!("{:.2}", median(of_both)),
        target: "",
        is_met: true,
    };
    Ok([beside_store, beside_both])
}

/// What a change of a profile writes: the head, the marks, the profile, the change, an audit entry.
/// All of it on one core, as the server is, and for as long: what the index takes over meanwhile is a part of both.
fn commits_per_second() -> anyhow::Result<f64> {
    stay_on_core(0)?;
    let place = tempfile::tempdir()?;
    let store = embedded::open(&place.path().join("store"), &Settings::default(), Arc::new(Metrics::new()?))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let stopwatch = Stopwatch::start();
    let writers = (0..WRITERS as u64).map(|writer| write(&store, writer, stopwatch));
    let counts = runtime.block_on(join_all(writers)).into_iter().collect::<anyhow::Result<Vec<u64>>>()?;
    let seconds = stopwatch.seconds();
    store.close()?;
    Ok(counts.into_iter().sum::<u64>() as f64 / seconds)
}

/// How many commits one writer made.
async fn write(store: &embedded::Embedded, writer: u64, stopwatch: Stopwatch) -> anyhow::Result<u64> {
    let subject = writer.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let head = Key::of(Kind::Account, &[&subject]);
    let mut expected = Expect::Absent(head.clone());
    let mut number = 0_u64;
    while stopwatch.seconds() < f64::from(ROUND_SECONDS) {
        let mut commit = Commit::default();
        commit.expect.push(expected);
        commit.put(head.clone(), vec![1; 160]);
        commit.put(Key::of(Kind::ProfileMarks, &[&subject]), vec![2; 40]);
        commit.put(Key::of(Kind::Profile, &[&subject]), vec![3; 330]);
        commit.put(Key::of(Kind::ProfileChange, &[&subject, &[(number % 50) as u8]]), vec![4; 120]);
        commit.put(Key::of(Kind::Audit, &[&number.to_be_bytes(), &subject]), vec![5; 130]);
        expected = Expect::At(head.clone(), store.commit(commit).await??);
        number += 1;
    }
    Ok(number)
}

//! Durable commits beside a bare loop that appends and syncs the same bytes in groups of the same size, in one run.
//!
//! Budget (P7): with 64 writers at least 0.7 of the bare loop's commits per second. A commit is what a sign-in writes: the
//! subject's head (whose revision is expected), a session, an audit entry. `cargo bench --bench commit`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and ends at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;

use sesame::metrics::Metrics;
use sesame::store::key::Kind;
use sesame::store::settings::Settings;
use sesame::store::{Commit, Expect, Key, Revision, Store as _, embedded};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Writers, commits of a round, rounds. A lone writer waits for every sync: fewer commits take as long. The last row goes
/// on for so long that the index's own pace is what counts: what was written lately no longer fits in memory.
const ROWS: [(usize, usize, usize); 4] = [(1, 1_000, 5), (8, 8_000, 5), (64, 32_000, 5), (64, 400_000, 1)];

/// What one round did.
struct Round {
    commits_per_second: f64,
    groups: u64,
    journal_bytes: u64,
    sync_micros: f64,
}

fn main() {
    println!(
        "writers  commits  commits/group  store commits/s  µs/group  of that sync  bare commits/s  µs/group  ratio   (medians; budget 0.7 at 64 writers)"
    );
    for (writers, commits, rounds) in ROWS {
        let (mut store, mut bare, mut ratios, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut syncs = Vec::new();
        for _ in 0..rounds {
            let place = tempfile::tempdir().unwrap();
            let round = run_store(place.path(), writers, commits / writers);
            let beside = run_bare(place.path(), commits, &round);
            ratios.push(round.commits_per_second / beside);
            sizes.push(commits as f64 / round.groups as f64);
            store.push(round.commits_per_second);
            bare.push(beside);
            syncs.push(round.sync_micros);
        }
        let [size, store, bare, ratio, sync] = [sizes, store, bare, ratios, syncs].map(median);
        let micros = |per_second: f64| size / per_second * 1e6;
        println!(
            "{writers:>7}  {commits:>7}  {size:>13.1}  {store:>15.0}  {:>8.0}  {sync:>12.0}  {bare:>14.0}  {:>8.0}  {ratio:>5.2}",
            micros(store),
            micros(bare)
        );
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// So many writers, each handing in one commit after the other.
fn run_store(place: &Path, writers: usize, each: usize) -> Round {
    let metrics = Arc::new(Metrics::new().unwrap());
    let store = embedded::open(&place.join("store"), &Settings::default(), Arc::clone(&metrics)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let watch = Instant::now();
    runtime.block_on(join_all((0..writers).map(|writer| write(&store, writer as u64, each as u64))));
    let seconds = watch.elapsed().as_secs_f64();
    let journal_bytes = u64::try_from(metrics.journal_bytes.get()).unwrap();
    store.close().unwrap();
    let syncs = &metrics.journal_fsync_seconds;
    Round {
        sync_micros: syncs.get_sample_sum() / syncs.get_sample_count() as f64 * 1e6,
        commits_per_second: (writers * each) as f64 / seconds,
        groups: metrics.commit_batch_commits.get_sample_count(),
        journal_bytes,
    }
}

async fn write(store: &embedded::Embedded, writer: u64, commits: u64) {
    let subject = (writer.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes();
    let head = Key::of(Kind::Account, &[&subject]);
    let mut last: Option<Revision> = None;
    for number in 0..commits {
        let mut commit = Commit::default();
        commit.expect.push(last.map_or(Expect::Absent(head.clone()), |last| Expect::At(head.clone(), last)));
        commit.put(head.clone(), vec![1; 220]);
        commit.put(Key::of(Kind::Session, &[&subject, &number.to_be_bytes()]), vec![2; 200]);
        commit.put(Key::of(Kind::Audit, &[&number.to_be_bytes(), &subject]), vec![3; 180]);
        last = Some(store.commit(commit).await.unwrap().unwrap());
    }
}

/// The same bytes in as many groups; commits per second that this would be.
fn run_bare(place: &Path, commits: usize, round: &Round) -> f64 {
    let group = vec![0x5a_u8; (round.journal_bytes / round.groups) as usize];
    let mut file = OpenOptions::new().create(true).append(true).open(place.join("bare.log")).unwrap();
    let watch = Instant::now();
    for _ in 0..round.groups {
        file.write_all(&group).unwrap();
        file.sync_data().unwrap();
    }
    commits as f64 / watch.elapsed().as_secs_f64()
}

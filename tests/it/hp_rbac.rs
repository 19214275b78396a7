//! Real assignments of real organisations: every pair of the data is allowed, every other pair is denied, before and
//! after a restart.
//!
//! The data are HP Labs' (Ene et al., SACMAT 2008), one `user permission` pair a line (`harness/data`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use sesame::kernel::clock::Stopwatch;

use crate::harness::{Admin, App, Server, data};

/// How many pairs that are not in the data are asked about.
const OTHER_PAIRS: usize = 200_000;
/// Clients that load and ask at a time.
const CLIENTS: usize = 4;
/// Asks of one batch.
const BATCH: usize = 10_000;

/// Who may do what.
type Pairs = BTreeMap<u32, BTreeSet<u32>>;

fn pairs(name: &str) -> Pairs {
    let path = data("hp-rbac").join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut pairs = Pairs::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().unwrap());
        let (user, permission) = (numbers.next().unwrap(), numbers.next().unwrap());
        pairs.entry(user).or_default().insert(permission);
    }
    pairs
}

/// Does something with every item, several clients at a time.
fn for_each<T: Sync>(items: &[T], act: impl Fn(&T) + Sync) {
    let next = Mutex::new(items.iter());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let Some(item) = next.lock().unwrap().next() else { break };
                    act(item);
                }
            });
        }
    });
}

/// Permissions, one role for each distinct set of them, users, and one assignment each.
fn load(admin: &Admin, pairs: &Pairs) {
    let permissions: Vec<u32> = pairs.values().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
    for_each(&permissions, |number| admin.define(&[&permission(*number)]));
    let mut holders: BTreeMap<&BTreeSet<u32>, Vec<u32>> = BTreeMap::new();
    for (user, held) in pairs {
        holders.entry(held).or_default().push(*user);
    }
    let roles: Vec<_> = holders.into_iter().enumerate().collect();
    for_each(&roles, |(index, (held, users))| {
        let names: Vec<String> = held.iter().map(|number| permission(*number)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let role = admin.role(&format!("role {index}"), &names);
        for user in users {
            let new = json!({ "username": format!("u{user}"), "external_id": user.to_string() });
            admin.assign(&admin.create_user(&new), &role);
        }
    });
}

fn permission(number: u32) -> String {
    format!("entitlement-{number}:use")
}

fn asked(user: u32, number: u32) -> Value {
    json!({ "subject": { "external_id": user.to_string() }, "permission": permission(number) })
}

/// Pairs that are not in the data: all of them where they are few, else drawn by lot with a fixed seed.
fn other_pairs(pairs: &Pairs) -> Vec<(u32, u32)> {
    let users: Vec<u32> = pairs.keys().copied().collect();
    let permissions: Vec<u32> = pairs.values().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let is_other = |user: &u32, number: &u32| !pairs[user].contains(number);
    if users.len() * permissions.len() <= OTHER_PAIRS {
        let all = users.iter().flat_map(|user| permissions.iter().map(move |number| (*user, *number)));
        return all.filter(|(user, number)| is_other(user, number)).collect();
    }
    let mut random = StdRng::seed_from_u64(2008);
    let mut drawn = HashSet::new();
    while drawn.len() < OTHER_PAIRS {
        let user = users[random.random_range(0..users.len())];
        let number = permissions[random.random_range(0..permissions.len())];
        if is_other(&user, &number) {
            drawn.insert((user, number));
        }
    }
    drawn.into_iter().collect()
}

/// How many of these pairs were answered otherwise than expected.
fn wrong(app: &App, pairs: &[(u32, u32)], expected: bool) -> usize {
    let count = Mutex::new(0);
    for_each(&pairs.chunks(BATCH).collect::<Vec<_>>(), |chunk| {
        let asks: Vec<Value> = chunk.iter().map(|(user, number)| asked(*user, *number)).collect();
        let answers = app.check_all(&asks);
        assert_eq!(answers.len(), chunk.len());
        *count.lock().unwrap() += answers.into_iter().filter(|allowed| *allowed != expected).count();
    });
    count.into_inner().unwrap()
}

fn holds(name: &str) {
    let pairs = pairs(name);
    let server = Server::durable();
    let admin = server.admin();
    let stopwatch = Stopwatch::start();
    load(&admin, &pairs);
    let loaded = stopwatch.elapsed();
    let app = admin.app("checker", &["checker"]);
    let given: Vec<(u32, u32)> =
        pairs.iter().flat_map(|(user, held)| held.iter().map(move |number| (*user, *number))).collect();
    let others = other_pairs(&pairs);
    let ask = |app: &App, when: &str| {
        let found = (wrong(app, &given, true), wrong(app, &others, false));
        assert_eq!(found, (0, 0), "{name}, {when}: pairs denied, other pairs allowed");
    };
    ask(&app, "as loaded");
    let server = server.restarted();
    ask(&app.at(server.address), "after a restart");
    let (given, others, all) = (given.len(), others.len(), stopwatch.elapsed());
    println!(
        "{name}: {given} pairs allowed, {others} others denied, twice; 0 wrong; loaded in {loaded:.1?} of {all:.1?}"
    );
}

#[test]
fn emea_is_answered_without_a_mistake() {
    holds("emea");
}

#[test]
fn hc_is_answered_without_a_mistake() {
    holds("hc");
}

#[test]
fn domino_is_answered_without_a_mistake() {
    holds("domino");
}

#[test]
fn americas_large_is_answered_without_a_mistake() {
    holds("americas_large");
}

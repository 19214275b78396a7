//! Users in memory: loaded once for all who ask, let go when idle or too many, written to by one after the other.

use std::thread;
use std::time::Duration;

use serde_json::json;

use sesame::kernel::clock::Stopwatch;

use crate::harness::{Admin, PASSWORD, Reply, Server};

/// What the server counts of users under this name.
pub(crate) fn users(server: &Server, name: &str) -> u64 {
    let text = server.state().metrics.render().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{entity=\"user\"}} ")));
    line.map_or(0, |line| line.parse().unwrap())
}

fn resident(server: &Server) -> u64 {
    users(server, "sesame_resident_entities")
}

#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let patience = Stopwatch::start();
    while !is_so() {
        assert!(patience.elapsed() < Duration::from_mins(1), "{what}");
        // Leaves the processor to those who give way to others, as what is waited for may.
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// The answers to so many at once.
pub(crate) fn at_once(count: usize, ask: impl Fn(usize) -> Reply + Sync) -> Vec<Reply> {
    thread::scope(|scope| {
        let ask = &ask;
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || ask(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Ann, who may read reports, and a check of that.
fn ann(admin: &Admin) -> (String, serde_json::Value) {
    admin.define(&["report:read"]);
    let role = admin.role("reader", &["report:read"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &role);
    let ask = json!({ "subject": ann, "permission": "report:read" });
    (ann, ask)
}

#[test]
fn all_who_ask_about_somebody_that_is_not_in_memory_share_one_load() {
    let server = Server::durable();
    let admin = server.admin();
    let (_, ask) = ann(&admin);
    let app = admin.app("shop", &["checker"]);
    let key = app.key.clone();
    let server = server.restarted();
    let app = server.anonymous().bearing(&key);
    // The application itself is loaded by this.
    app.post("/api/v1/permissions/check", &json!({ "subject": { "username": "nobody" }, "permission": "report:read" }))
        .expect(200);
    let before = ["sesame_activations_total", "sesame_entity_reads_total"].map(|name| users(&server, name));
    let replies = at_once(60, |_| app.post("/api/v1/permissions/check", &ask));
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.json()["allowed"] == true));
    let after = ["sesame_activations_total", "sesame_entity_reads_total"].map(|name| users(&server, name));
    assert_eq!(after, before.map(|count| count + 1));
}

#[test]
fn whoever_was_idle_leaves_memory_and_is_the_same_when_asked_about_again() {
    let server = Server::with(|config| config.actors.idle_seconds = 600);
    let admin = server.admin();
    let (ann, ask) = ann(&admin);
    let app = admin.app("shop", &["checker"]);
    let (before, gone) = (resident(&server), users(&server, "sesame_passivations_total"));
    server.clock.advance_seconds(599);
    // The administrator and the application are used all the time, Ann is not.
    let keep_using = || (admin.get("/api/v1/whoami").status, app.get("/api/v1/whoami").status);
    assert_eq!(keep_using(), (200, 200));
    assert_eq!(resident(&server), before);
    server.clock.advance_seconds(1);
    wait_until("nobody leaves", || {
        assert_eq!(keep_using(), (200, 200));
        resident(&server) < before
    });
    let (left, loaded) = (resident(&server), users(&server, "sesame_activations_total"));
    assert_eq!(users(&server, "sesame_passivations_total"), gone + before - left);
    assert!(app.check(&ask).0);
    assert_eq!((resident(&server), users(&server, "sesame_activations_total")), (left + 1, loaded + 1), "Ann was gone");
    admin.get(&format!("/api/v1/users/{ann}")).expect(200);
}

#[test]
fn there_are_at_most_a_sixteenth_more_users_in_memory_than_the_settings_say() {
    const MOST: u64 = 32;
    let server = Server::with(|config| config.actors.max_resident_users = MOST as usize);
    let admin = server.admin();
    admin.define(&["report:read"]);
    let role = admin.role("reader", &["report:read"]);
    let everybody: Vec<String> = (0..150)
        .map(|number| {
            let user = admin.create_user(&json!({ "username": format!("user{number}") }));
            admin.assign(&user, &role);
            user
        })
        .collect();
    wait_until("there are too many", || resident(&server) <= MOST + MOST / 16);
    let app = admin.app("shop", &["checker"]);
    for user in everybody.iter().rev().chain(&everybody) {
        assert!(app.check(&json!({ "subject": user, "permission": "report:read" })).0);
    }
    wait_until("there are too many again", || resident(&server) <= MOST + MOST / 16);
    assert!(users(&server, "sesame_activations_total") > 300, "they come back");
}

#[test]
fn writes_beyond_what_may_wait_for_one_user_are_refused_and_none_is_lost() {
    let server = Server::with(|config| config.actors.mailbox_capacity = 1);
    let admin = server.admin();
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let (mut written, mut refused) = (0, 0);
    while refused == 0 {
        assert!(written < 10_000, "nothing was refused");
        let path = format!("/api/v1/users/{ann}");
        let from = written;
        for reply in at_once(40, |number| admin.patch(&path, &json!({ "properties": { "n": from + number } }))) {
            if reply.status == 200 {
                written += 1;
                continue;
            }
            refused += 1;
            assert_eq!(reply.is_problem(503, "busy").header("retry-after"), Some("1"));
        }
    }
    let etag = admin.get(&format!("/api/v1/users/{ann}"));
    // One of each value that is new; the same value again is no change.
    assert_eq!(etag.header("etag"), Some(&*format!("\"{}\"", written + 1)));
    assert_eq!(admin.patch(&format!("/api/v1/users/{ann}"), &json!({ "properties": {} })).status, 200);
}

#[test]
fn passwords_beyond_what_may_wait_to_be_hashed_are_refused() {
    let server = Server::with(|config| {
        (config.accounts.hash_queue, config.accounts.argon2_memory_kib) = (1, 19_456);
        config.accounts.max_login_attempts = 10_000;
    });
    let admin = server.admin();
    admin.create_user(&json!({ "username": "ann", "password": PASSWORD }));
    let mut refused = 0;
    while refused == 0 {
        for reply in at_once(20, |_| server.anonymous().log_in("ann", PASSWORD)) {
            if reply.status != 200 {
                refused += 1;
                assert_eq!(reply.is_problem(503, "pool-full").header("retry-after"), Some("1"));
            }
        }
    }
    assert_eq!(server.anonymous().log_in("ann", PASSWORD).status, 200);
}

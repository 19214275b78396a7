//! Guessing: made to wait, without telling who exists, and without locking anybody out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Reply, Server};

fn fail(server: &Server, name: &str) -> Reply {
    server.anonymous().log_in(name, "a wrong password")
}

fn server() -> Server {
    let server = Server::with(|config| config.accounts.max_login_attempts = 3);
    server.admin().create_user(&json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD }));
    server
}

#[test]
fn guessing_waits_longer_and_longer_for_known_and_unknown_names_alike() {
    let server = server();
    let waits = |name: &str, seconds: &str| {
        let reply = fail(&server, name);
        assert_eq!(reply.is_problem(429, "too-many-failures").header("retry-after"), Some(seconds), "{name}");
        assert_eq!(reply.header("ratelimit-policy"), Some("\"tries\";q=3;w=900"), "{name}");
        assert_eq!(reply.header("ratelimit"), Some(&*format!("\"tries\";r=0;t={seconds}")), "{name}");
    };
    for name in ["ann", "nobody"] {
        for _ in 0..3 {
            fail(&server, name).is_problem(401, "wrong-credentials");
        }
        waits(name, "30");
    }
    server.anonymous().log_in("ANN", PASSWORD).is_problem(429, "too-many-failures");
    for (waited, wait) in [(30, 60), (60, 120), (120, 240), (240, 480), (480, 900), (900, 900)] {
        server.clock.advance_seconds(waited);
        for name in ["ann", "nobody"] {
            fail(&server, name).is_problem(401, "wrong-credentials");
            waits(name, &wait.to_string());
        }
    }
    server.clock.advance_seconds(1800);
    server.anonymous().sign_in("ann", PASSWORD);
    for _ in 0..3 {
        fail(&server, "ann").is_problem(401, "wrong-credentials");
    }
}

#[test]
fn an_account_has_one_budget_whichever_of_its_names_is_written_and_however() {
    let server = server();
    for name in ["ann", "ANN@example.ORG", "aNN"] {
        fail(&server, name).is_problem(401, "wrong-credentials");
    }
    for name in ["ann", "ann@example.org", "ANN"] {
        fail(&server, name).is_problem(429, "too-many-failures");
    }
    for name in ["nobody@example.org", "NOBODY@example.org", "Nobody@Example.Org"] {
        fail(&server, name).is_problem(401, "wrong-credentials");
    }
    fail(&server, "nobody@EXAMPLE.org").is_problem(429, "too-many-failures");
    fail(&server, "nobody").is_problem(401, "wrong-credentials");
}

#[test]
fn many_guesses_at_once_are_counted_before_they_are_made() {
    let server = server();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guessing: Vec<_> = (0..40).map(|_| scope.spawn(|| fail(&server, "ann").status)).collect();
        guessing.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 37, "{statuses:?}");
}

#[test]
fn one_network_cannot_try_every_name() {
    let server = server();
    for number in 0..30 {
        fail(&server, &format!("user{number}")).is_problem(401, "wrong-credentials");
    }
    let reply = fail(&server, "one.more");
    let policy = reply.is_problem(429, "too-many-failures").header("ratelimit-policy");
    assert_eq!(policy, Some("\"tries\";q=30;w=900"));
    server.clock.advance_seconds(30);
    fail(&server, "one.more").is_problem(401, "wrong-credentials");
}

#[test]
fn an_attacker_in_the_same_network_cannot_lock_the_owner_out_of_a_trusted_device() {
    let server = server();
    let log_in = |token: &Value| {
        let body = json!({ "identifier": "ann", "password": PASSWORD, "device": { "token": token } });
        server.anonymous().post("/api/v1/auth/login", &body)
    };
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    let known = server.anonymous().log_in("ann", PASSWORD).expect(200)["device_token"].clone();
    let trusted = server.anonymous().log_in("ann", PASSWORD).expect(200);
    let device = trusted["session"]["device"]["id"].as_str().unwrap().to_owned();
    ann.patch(&format!("/api/v1/users/devices/{device}"), &json!({ "trusted": true })).expect(200);
    while fail(&server, "ann").status == 401 {}
    server.anonymous().log_in("ann", PASSWORD).is_problem(429, "too-many-failures");
    log_in(&known).is_problem(429, "too-many-failures");
    log_in(&trusted["device_token"]).expect(200);
    // Its budget is its own, and not endless: whoever stole the device guesses no better.
    let guess = json!({ "identifier": "ann", "password": "a guess", "device": { "token": trusted["device_token"] } });
    for _ in 0..3 {
        server.anonymous().post("/api/v1/auth/login", &guess).is_problem(401, "wrong-credentials");
    }
    server.anonymous().post("/api/v1/auth/login", &guess).is_problem(429, "too-many-failures");
    // For another account the device is nobody's.
    server.admin().create_user(&json!({ "username": "bob", "password": PASSWORD }));
    while fail(&server, "bob").status == 401 {}
    let body = json!({ "identifier": "bob", "password": PASSWORD, "device": { "token": trusted["device_token"] } });
    server.anonymous().post("/api/v1/auth/login", &body).is_problem(429, "too-many-failures");
}

#[test]
fn whoever_stole_a_session_uses_up_nothing_of_what_its_trusted_device_may_try() {
    let server = server();
    let owner = server.anonymous().sign_in("ann", PASSWORD);
    owner.patch(&format!("/api/v1/users/devices/{}", owner.device_id), &json!({ "trusted": true })).expect(200);
    let paths = ["/api/v1/auth/reauthenticate", "/api/v1/auth/password/change"];
    let body = |path: &str, password: &str, token: &Value| match path {
        "/api/v1/auth/reauthenticate" => json!({ "password": password, "device_token": token }),
        _ => json!({ "current_password": password, "new_password": "quite another horse", "device_token": token }),
    };
    for path in paths {
        while owner.post(path, &body(path, "a guess", &Value::Null)).status == 401 {}
        owner.post(path, &body(path, PASSWORD, &Value::Null)).is_problem(429, "too-many-failures");
    }
    let again = owner.post(paths[0], &body(paths[0], PASSWORD, &json!(owner.device_token)));
    again.expect(200);
    let owner = owner.with_token(&again.text("session_token"));
    owner.post(paths[1], &body(paths[1], PASSWORD, &json!(owner.device_token))).expect(204);
}

/// The work that one refused sign-in costs, beside the password's hash: what the clock would show, without its noise.
#[test]
fn a_refused_sign_in_costs_the_same_whether_the_account_exists_or_not() {
    let server = Server::durable();
    let admin = server.admin();
    admin.create_user(&json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD }));
    admin.create_user(&json!({ "username": "bob" }));
    let id = admin.create_user(&json!({ "username": "cid", "password": PASSWORD }));
    admin.post(&format!("/api/v1/users/{id}/suspend"), &json!({})).expect(200);
    // From now on nobody is in memory; whoever is tried is, from the second time on.
    let server = server.restarted_with(|config| config.accounts.max_login_attempts = 10_000);
    let metrics = &server.state().metrics;
    let work = |name: &str| {
        let count = || {
            let users = metrics.entity_reads_total.with_label_values(&["user"]).get();
            (metrics.password_hashes_total.get(), metrics.commits_total.get(), metrics.name_reads_total.get(), users)
        };
        let before = count();
        fail(&server, name).is_problem(401, "wrong-credentials");
        let after = count();
        (after.0 - before.0, after.1 - before.1, after.2 - before.2, after.3 - before.3)
    };
    let costs: BTreeMap<&str, _> = ["ann", "bob", "cid", "nobody", "nobody@example.org", "not a name"]
        .into_iter()
        .map(|name| (name, (0..20).map(|_| work(name)).collect::<Vec<_>>()))
        .collect();
    let answered = costs.values().flatten().map(|(hashes, _, names, users)| (*hashes, *names, *users));
    assert!(answered.into_iter().all(|cost| cost == (1, 1, 1)), "one hash, a name and a user read: {costs:?}");
    // What is told to who is under attack is written once, and beside the answers.
    let commits = costs.iter().map(|(name, all)| (*name, all.iter().map(|cost| cost.1).sum::<u64>()));
    assert!(commits.into_iter().all(|(name, count)| count <= u64::from(["ann", "bob"].contains(&name))), "{costs:?}");
}

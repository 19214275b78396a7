//! Passwords: what is accepted, hashes of other systems, hashes that follow the settings.

use serde_json::{Value, json};

use crate::harness::{Admin, PASSWORD, Server};

/// The password behind the hashes below.
const OLD: &str = "pleaseletmein é";
const SCRYPT: &str = "$scrypt$ln=10,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$mFoZlJUlkOTAjuYLmcuV2+a0qnZjOARZudc7ZUuM6yo";
const PBKDF2: &str = "$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHRzYWx0c2FsdA$0j20ONazFX6RJBgZ95rZGmP69v3H9yvQuzWPuJzAT3w";
const BCRYPT: &str = "$2y$04$abcdefghijklmnopqrstuu9Fub9dnL0lxhCHB8E61mae9Q2XiubQq";

/// The audit log's actions about a user, newest first.
fn actions(admin: &Admin, user: &str) -> Vec<String> {
    let page = admin.get(&format!("/api/v1/audit?target={user}")).expect(200);
    page["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn hashes_of_other_systems_let_people_in_and_are_replaced_at_the_first_sign_in() {
    let server = Server::durable();
    let admin = server.admin();
    let hashes = || server.state().metrics.password_hashes_total.get();
    for (number, hash) in [SCRYPT, PBKDF2, BCRYPT].into_iter().enumerate() {
        let name = format!("old{number}");
        let id = admin.create_user(&json!({ "username": name, "password_hash": hash }));
        server.anonymous().log_in(&name, "something else").is_problem(401, "wrong-credentials");
        let before = hashes();
        server.anonymous().sign_in(&name, OLD);
        assert_eq!(hashes() - before, 2, "verified once, made anew once");
        server.anonymous().sign_in(&name, OLD);
        assert_eq!(hashes() - before, 3, "verified once");
        let expected = ["sessions.started", "sessions.started", "accounts.password_rehashed", "accounts.created"];
        let mut actions = actions(&admin, &id);
        // Every sign-in without a device's token is one from a new device.
        actions.retain(|action| action != "sessions.risk_noted");
        assert_eq!(actions, expected);
        assert!(!admin.get("/api/v1/audit").body.contains(hash), "a hash is nobody's business");
    }
    let server = server.restarted();
    server.anonymous().sign_in("old0", OLD);
}

#[test]
fn a_hash_that_is_none_or_too_dear_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    let refused = |user: Value| {
        admin.post("/api/v1/users", &user).is_problem(400, "invalid-input").names_field("password_hash");
    };
    for hash in [
        "",
        "secret",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "$2b$31$abcdefghijklmnopqrstuu9Fub9dnL0lxhCHB8E61mae9Q2XiubQq",
    ] {
        refused(json!({ "username": "ann", "password_hash": hash }));
    }
    refused(json!({ "username": "ann", "password_hash": BCRYPT, "password": PASSWORD }));
}

#[test]
fn a_hash_follows_the_settings_at_the_next_sign_in() {
    let server = Server::durable();
    let admin = server.admin();
    let ann = admin.person("ann");
    let server = server.restarted_with(|config| config.accounts.argon2_memory_kib = 2048);
    let hashes = || server.state().metrics.password_hashes_total.get();
    let admin = server.admin();
    let before = hashes();
    server.anonymous().sign_in("ann", PASSWORD);
    assert_eq!(hashes() - before, 2);
    server.anonymous().sign_in("ann", PASSWORD);
    assert_eq!(hashes() - before, 3);
    assert_eq!(actions(&admin, &ann.id).iter().filter(|action| *action == "accounts.password_rehashed").count(), 1);
}

#[test]
fn what_is_guessed_first_is_no_password() {
    let server = Server::start();
    let admin = server.admin();
    let create = |password: &str| {
        let user = json!({ "username": "annabelle", "email": "ann.lee@example.org", "password": password });
        admin.post("/api/v1/users", &user)
    };
    for password in
        ["password1", "PASSWORD1", "Annabelle", "ann.lee@example.org", "Annabelle1984!", "sesame2026", "7 chars"]
    {
        create(password).is_problem(400, "invalid-input").names_field("password");
    }
    create(&"long enough ".repeat(21)).expect(201);
}

#[test]
fn a_password_is_compared_whole_and_in_normal_form() {
    let server = Server::start();
    let admin = server.admin();
    let long = "x y".repeat(50);
    admin.create_user(&json!({ "username": "ann", "password": format!("{long}é") }));
    server.anonymous().sign_in("ann", &format!("{long}e\u{301}"));
    server.anonymous().log_in("ann", &long).is_problem(401, "wrong-credentials");
    server.anonymous().log_in("ann", &format!("{long}É")).is_problem(401, "wrong-credentials");
}

#[test]
fn a_password_is_good_until_it_is_changed() {
    let server = Server::start();
    server.admin().create_user(&json!({ "username": "ann", "password": PASSWORD }));
    for _ in 0..20 {
        server.clock.advance_seconds(365 * 86_400);
        server.anonymous().sign_in("ann", PASSWORD);
    }
}

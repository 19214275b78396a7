//! One's own password and address: changed, forgotten, reset, verified; and what needs a recent proof of who one is.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::sync::watch;

use sesame::accounts::model::Name;
use sesame::accounts::registration::Registration;
use sesame::actor::command::Facts;
use sesame::kernel::cause::Cause;

use crate::harness::{Admin, PASSWORD, Reply, Server, SignedIn};

const OTHER: &str = "quite another horse";

fn with_ann(server: &Server) -> Admin {
    let admin = server.admin();
    admin.create_user(&json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD }));
    admin
}

fn change(client: &SignedIn, current: &str, new: &str) -> Reply {
    client.post("/api/v1/auth/password/change", &json!({ "current_password": current, "new_password": new }))
}

fn forgot(server: &Server, identifier: &str) -> Reply {
    server.anonymous().post("/api/v1/auth/password/forgot", &json!({ "identifier": identifier }))
}

fn reset(server: &Server, token: &str, password: &str) -> Reply {
    server.anonymous().post("/api/v1/auth/password/reset", &json!({ "token": token, "password": password }))
}

fn verify(server: &Server, token: &str) -> Reply {
    server.anonymous().post("/api/v1/auth/email/verify", &json!({ "token": token }))
}

fn is_alive(session: &SignedIn) -> bool {
    session.get("/api/v1/users/sessions").status == 200
}

#[test]
fn a_changed_password_ends_the_other_sessions_and_is_told_by_mail() {
    let server = Server::durable();
    let admin = with_ann(&server);
    let (own, other) = (server.anonymous().sign_in("ann", PASSWORD), server.anonymous().sign_in("ann", PASSWORD));
    change(&own, "a wrong password", OTHER).is_problem(401, "wrong-credentials");
    change(&own, PASSWORD, "short").is_problem(400, "invalid-input").names_field("new_password");
    change(&own, PASSWORD, "ann@example.org").is_problem(400, "invalid-input").names_field("new_password");
    assert!(is_alive(&other));
    change(&own, PASSWORD, OTHER).expect(204);
    assert!(is_alive(&own));
    other.get("/api/v1/users/sessions").is_problem(401, "session-credentials-changed");
    server.anonymous().log_in("ann", PASSWORD).is_problem(401, "wrong-credentials");
    server.anonymous().sign_in("ann", OTHER);
    let mail = admin.mail("ann@example.org", "password-changed");
    assert!(mail["text"].as_str().unwrap().contains("127.0.0.1"));
    let server = server.restarted();
    server.anonymous().sign_in("ann", OTHER);
}

#[test]
fn sensitive_changes_need_a_recent_proof_of_who_one_is() {
    let server = Server::start();
    with_ann(&server);
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    server.clock.advance_seconds(600);
    let refused = change(&ann, PASSWORD, OTHER);
    let detail = refused.is_problem(401, "reauthentication-required").text("detail");
    assert!(detail.contains("too long ago") && detail.contains("POST /api/v1/auth/reauthenticate"), "{detail}");
    let email = json!({ "email": "ann@example.net" });
    ann.post("/api/v1/auth/email/change", &email).is_problem(401, "reauthentication-required");
    let prove = |password: &str| ann.post("/api/v1/auth/reauthenticate", &json!({ "password": password }));
    prove("a wrong password").is_problem(401, "wrong-credentials");
    let renewed = prove(PASSWORD).expect(200);
    assert_eq!(renewed["session"]["id"], json!(ann.session_id));
    assert_eq!(renewed["session"]["authenticated_at"], "2025-11-23T12:10:00.000Z");
    ann.get("/api/v1/users/sessions").is_problem(401, "unauthenticated");
    let renewed = ann.bearing(renewed["session_token"].as_str().unwrap());
    renewed.post("/api/v1/auth/email/change", &email).expect(202);
    server.clock.advance_seconds(599);
    let change = json!({ "current_password": PASSWORD, "new_password": OTHER });
    renewed.post("/api/v1/auth/password/change", &change).expect(204);
    server
        .anonymous()
        .post("/api/v1/auth/reauthenticate", &json!({ "password": OTHER }))
        .is_problem(401, "unauthenticated");
}

#[test]
fn a_forgotten_password_is_reset_by_a_mailed_token_once() {
    let server = Server::durable();
    let admin = with_ann(&server);
    let session = server.anonymous().sign_in("ann", PASSWORD);
    forgot(&server, "Ann").expect(202);
    let mail = admin.mail("ann@example.org", "reset-password");
    let token = admin.mailed_token("ann@example.org", "reset-password");
    let link = format!("http://127.0.0.1:8080/reset-password#token={token}");
    assert!(mail["text"].as_str().unwrap().contains(&link), "{mail}");
    assert_eq!(mail["expires_at"], "2025-11-23T12:15:00.000Z");
    let server = server.restarted();
    let admin = server.admin();
    reset(&server, &token, "password1").is_problem(400, "invalid-input").names_field("password");
    reset(&server, &token, OTHER).expect(204);
    reset(&server, &token, PASSWORD).is_problem(401, "token-not-valid");
    server
        .anonymous()
        .bearing(&session.session_token)
        .get("/api/v1/users/sessions")
        .is_problem(401, "session-credentials-changed");
    server.anonymous().log_in("ann", PASSWORD).is_problem(401, "wrong-credentials");
    let ann = server.anonymous().sign_in("ann", OTHER);
    let user = admin.get(&format!("/api/v1/users/{}", ann.id)).expect(200);
    assert_eq!(user["email_verified"], true, "whoever had the token reads the mail of that address");
    admin.mail("ann@example.org", "password-changed");
}

#[test]
fn a_mailed_token_is_short_lived_and_for_one_purpose() {
    let server = Server::start();
    let admin = with_ann(&server);
    let token = |minutes: i64| {
        server.clock.advance_seconds(60 * minutes);
        forgot(&server, "ann@example.org").expect(202);
        let moment = server.clock.now().to_string();
        loop {
            let mail = admin.mail("ann@example.org", "reset-password");
            if mail["created_at"] == moment {
                return crate::harness::token_in(mail["text"].as_str().unwrap());
            }
        }
    };
    let second = token(1);
    verify(&server, &second).is_problem(401, "token-not-valid");
    let mut broken = second.clone();
    broken.replace_range(40..41, if &second[40..41] == "A" { "B" } else { "A" });
    for token in ["", "ssm_mt_", "x", &broken, &second[..second.len() - 1], &second.replace("_mt_", "_st_")] {
        reset(&server, token, OTHER).is_problem(401, "token-not-valid");
    }
    server.clock.advance_seconds(900);
    reset(&server, &second, OTHER).is_problem(401, "token-not-valid");
    let admin = server.admin();
    server.clock.advance_seconds(60);
    forgot(&server, "ann").expect(202);
    while admin.mails("ann@example.org").len() < 2 {
        std::thread::yield_now();
    }
    let third = admin.mailed_token("ann@example.org", "reset-password");
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    change(&ann, PASSWORD, OTHER).expect(204);
    reset(&server, &third, PASSWORD).is_problem(401, "token-not-valid");
}

#[test]
fn whoever_asks_for_a_newer_link_takes_none_away_and_three_are_good_at_once() {
    let server = Server::durable();
    let admin = with_ann(&server);
    let tokens = |admin: &Admin| -> Vec<String> {
        let mails = admin.mails("ann@example.org");
        mails.iter().map(|mail| crate::harness::token_in(mail["text"].as_str().unwrap())).collect()
    };
    // Whatever is asked for is answered alike; what comes of it is looked at when it is done.
    let ask = |server: &Server| {
        let state = std::sync::Arc::clone(server.state());
        let facts = Facts { now: state.clock.now(), cause: Cause::system("test") };
        let name = Name::written("ann").unwrap();
        actix_rt::System::new().block_on(async move { state.correspondence.send_reset(Some(&name), facts).await });
        server.clock.advance_seconds(60);
    };
    for (asked, mailed) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 3)] {
        ask(&server);
        assert_eq!(tokens(&admin).len(), mailed, "after {asked}");
    }
    let server = server.restarted();
    let admin = server.admin();
    // The first is over after fifteen minutes, and another one is mailed in its place.
    server.clock.advance_seconds(600);
    let before = tokens(&admin);
    ask(&server);
    let after = tokens(&admin);
    assert_eq!(after.len(), 4);
    let oldest = before.last().unwrap();
    reset(&server, oldest, OTHER).is_problem(401, "token-not-valid");
    let (newest, newer) = (&after[0], &before[0]);
    assert_ne!(newest, newer);
    reset(&server, newer, OTHER).expect(204);
    for spent in &after {
        reset(&server, spent, PASSWORD).is_problem(401, "token-not-valid");
    }
}

#[test]
fn one_account_cannot_have_mail_sent_without_end() {
    let server = Server::with(|config| config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]);
    with_ann(&server);
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    let change = |number: u32| {
        let body = json!({ "email": format!("somebody{number}@example.net") }).to_string();
        let address = format!("198.51.100.{number}");
        ann.call("POST", "/api/v1/auth/email/change", Some(body), &[("X-Forwarded-For", &address)])
    };
    (0..5).for_each(|number| drop(change(number).expect(202)));
    change(5).is_problem(429, "too-many-failures");
}

#[test]
fn a_change_of_address_is_forgotten_with_a_session_that_was_not_to_be_trusted() {
    let server = Server::start();
    let admin = with_ann(&server);
    let begin = |session: &SignedIn, address: &str| {
        session.post("/api/v1/auth/email/change", &json!({ "email": address })).expect(202);
        admin.mailed_token(address, "verify-email")
    };
    let sessions = |id: &str| format!("/api/v1/users/sessions/{id}");
    // A refresh token is shown twice: somebody has a copy.
    let thief = server.anonymous().sign_in("ann", PASSWORD);
    let token = begin(&thief, "thief1@example.net");
    let refresh = json!({ "refresh_token": thief.refresh_token });
    server.anonymous().post("/api/v1/auth/refresh", &refresh).expect(200);
    server.clock.advance_seconds(60);
    server.anonymous().post("/api/v1/auth/refresh", &refresh).is_problem(401, "session-refresh-reused");
    verify(&server, &token).is_problem(401, "token-not-valid");
    // Its owner ends it from another one, or its device.
    let own = server.anonymous().sign_in("ann", PASSWORD);
    for number in 2..4 {
        let thief = server.anonymous().sign_in("ann", PASSWORD);
        let token = begin(&thief, &format!("thief{number}@example.net"));
        let path = if number == 2 {
            sessions(&thief.session_id)
        } else {
            format!("/api/v1/users/devices/{}", thief.device_id)
        };
        own.delete(&path).expect(204);
        verify(&server, &token).is_problem(401, "token-not-valid");
    }
    // What another session began stays, and what its owner began and signed out.
    let token = begin(&own, "ann@example.net");
    let other = server.anonymous().sign_in("ann", PASSWORD);
    own.delete(&sessions(&other.session_id)).expect(204);
    own.post("/api/v1/auth/logout", &json!({})).expect(204);
    verify(&server, &token).expect(204);
}

#[test]
fn forgetting_does_not_tell_whether_the_account_exists() {
    let server = Server::with(|config| config.accounts.max_mail_requests = 100);
    let admin = with_ann(&server);
    let suspended = admin.create_user(&json!({ "username": "cid", "email": "cid@example.org", "password": PASSWORD }));
    admin.post(&format!("/api/v1/users/{suspended}/suspend"), &json!({})).expect(200);
    admin.create_user(&json!({ "username": "bob", "password": PASSWORD }));
    let told = |identifier: &str| {
        let reply = forgot(&server, identifier);
        let names: BTreeSet<_> = reply.headers.iter().map(|(name, _)| name.clone()).collect();
        (reply.status, reply.body, names)
    };
    let first = told("ann");
    assert_eq!((first.0, &*first.1), (202, ""));
    for identifier in ["nobody", "nobody@example.org", "bob", "cid", "not a name", "", "ann"] {
        assert_eq!(told(identifier), first, "{identifier}");
    }
    admin.mail("ann@example.org", "reset-password");
    server.clock.advance_seconds(59);
    told("ann");
    server.clock.advance_seconds(2);
    told("ann");
    while admin.mails("ann@example.org").len() < 2 {
        std::thread::yield_now();
    }
    assert_eq!(admin.mails("ann@example.org").len(), 2, "not twice within a minute");
    assert!(admin.mails("cid@example.org").is_empty());
}

/// The work that a request for mail costs, until it is done with: what the clock would show, without its noise.
#[test]
fn a_forgotten_password_costs_the_same_whether_the_account_exists_or_not() {
    let server = Server::durable();
    let admin = with_ann(&server);
    admin.create_user(&json!({ "username": "bob", "password": PASSWORD }));
    let id = admin.create_user(&json!({ "username": "cid", "email": "cid@example.org", "password": PASSWORD }));
    admin.post(&format!("/api/v1/users/{id}/suspend"), &json!({})).expect(200);
    // From now on nobody is in memory; whoever is asked for is, from the second time on.
    let server = server.restarted_with(|config| config.accounts.max_mail_requests = 10_000);
    let metrics = &server.state().metrics;
    let count = || {
        let users = metrics.entity_reads_total.with_label_values(&["user"]).get();
        (metrics.name_reads_total.get(), users, metrics.password_hashes_total.get(), metrics.commits_total.get())
    };
    let mut written = 0;
    for identifier in
        ["ann", "ann@example.org", "bob", "cid", "cid@example.org", "nobody", "no@example.org", "not a name"]
    {
        for turn in 0..5 {
            let before = count();
            forgot(&server, identifier).expect(202);
            while server.state().correspondence.under_way() > 0 {
                std::thread::yield_now();
            }
            let after = count();
            let read = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
            assert_eq!(read, (1, 1, 0), "{identifier}, turn {turn}: a name and a user are read");
            written += after.3 - before.3;
        }
    }
    assert_eq!(written, 1, "a mail, once within a minute");
}

#[test]
fn whether_an_address_is_taken_costs_the_same_to_find_out() {
    let server = Server::durable();
    with_ann(&server);
    let server = server.restarted_with(|config| config.accounts.registration = Registration::Open);
    let metrics = &server.state().metrics;
    let count = || (metrics.name_reads_total.get(), metrics.entity_reads_total.with_label_values(&["user"]).get());
    let newcomers = ["ann@example.org", "free@example.org", "ann@example.org"];
    for (number, email) in newcomers.into_iter().enumerate() {
        let before = count();
        let body = json!({ "username": format!("new{number}"), "email": email, "password": PASSWORD });
        server.anonymous().post("/api/v1/auth/register", &body).expect(201);
        let after = count();
        assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1), "{email}: a name and a user are read");
    }
}

#[test]
fn mail_is_asked_for_only_so_often() {
    let server = Server::with(|config| config.accounts.max_mail_requests = 2);
    for name in ["ann", "nobody"] {
        forgot(&server, name).expect(202);
        forgot(&server, name).expect(202);
        forgot(&server, name).is_problem(429, "too-many-failures");
    }
}

#[test]
fn requests_for_mail_beyond_what_is_under_way_are_dropped_and_answered_alike() {
    let server = Server::with(|config| config.accounts.max_mail_requests = 10_000);
    let admin = with_ann(&server);
    let correspondence = &server.state().correspondence;
    let (release, held) = watch::channel(());
    // More than there is room for, none of which comes to an end.
    for _ in 0..100 {
        let mut held = held.clone();
        correspondence.later(async move { drop(held.changed().await) });
    }
    assert_eq!(correspondence.under_way(), 64);
    for number in 0..100 {
        let identifier = if number % 2 == 0 { "ann" } else { "nobody" };
        assert_eq!(forgot(&server, identifier).expect(202), Value::Null);
    }
    assert_eq!(correspondence.under_way(), 64, "nothing more is kept");
    drop(release);
    while correspondence.under_way() > 0 {
        std::thread::yield_now();
    }
    assert!(admin.mails("ann@example.org").is_empty(), "what was dropped is not seen to later");
    forgot(&server, "ann").expect(202);
    admin.mail("ann@example.org", "reset-password");
}

#[test]
fn another_address_counts_when_it_is_verified() {
    let server = Server::durable();
    let admin = with_ann(&server);
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    let path = format!("/api/v1/users/{}", ann.id);
    ann.post("/api/v1/auth/email/change", &json!({ "email": "Ann@example.net" })).expect(202);
    let user = admin.get(&path).expect(200);
    assert_eq!((&user["email"], &user["unverified_email"]), (&json!("ann@example.org"), &json!("Ann@example.net")));
    server.anonymous().log_in("ann@example.net", PASSWORD).is_problem(401, "wrong-credentials");
    ann.post("/api/v1/auth/email/resend", &json!({})).expect(202);
    assert_eq!(admin.mails("ann@example.net").len(), 1, "not twice within a minute");
    server.clock.advance_seconds(60);
    ann.post("/api/v1/auth/email/resend", &json!({})).expect(202);
    assert_eq!(admin.mails("ann@example.net").len(), 2);
    let token = admin.mailed_token("ann@example.net", "verify-email");
    verify(&server, &token).expect(204);
    verify(&server, &token).is_problem(401, "token-not-valid");
    let user = admin.get(&path).expect(200);
    assert_eq!((&user["email"], &user["email_verified"]), (&json!("Ann@example.net"), &json!(true)));
    assert_eq!(user["unverified_email"], Value::Null);
    admin.mail("ann@example.org", "email-changed");
    let server = server.restarted();
    server.anonymous().sign_in("ann@example.net", PASSWORD);
    server.anonymous().log_in("ann@example.org", PASSWORD).is_problem(401, "wrong-credentials");
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    ann.post("/api/v1/auth/email/resend", &json!({})).is_problem(409, "no-address");
}

#[test]
fn an_address_of_another_account_is_not_taken_and_not_told() {
    let server = Server::start();
    let admin = with_ann(&server);
    let bob = admin.person("bob");
    bob.post("/api/v1/auth/email/change", &json!({ "email": "bob@example.org" })).expect(202);
    let mine = admin.mailed_token("bob@example.org", "verify-email");
    server.clock.advance_seconds(61);
    bob.post("/api/v1/auth/email/change", &json!({ "email": "ann@example.org" })).expect(202);
    let mail = admin.mail("ann@example.org", "address-in-use");
    assert!(!mail["text"].as_str().unwrap().contains("ssm_mt_"));
    verify(&server, &mine).is_problem(401, "token-not-valid");
    // Two ask for an address that is free: whoever shows the token first has it.
    server.clock.advance_seconds(61);
    let cid = admin.person("cid");
    for (person, name) in [(&bob, "bob"), (&cid, "cid")] {
        let person = if name == "bob" { &server.anonymous().sign_in("bob", PASSWORD) } else { person };
        person.post("/api/v1/auth/email/change", &json!({ "email": "free@example.org" })).expect(202);
    }
    let mails = admin.mails("free@example.org");
    let tokens: Vec<_> = mails.iter().map(|mail| crate::harness::token_in(mail["text"].as_str().unwrap())).collect();
    verify(&server, &tokens[0]).expect(204);
    verify(&server, &tokens[1]).is_problem(409, "name-taken").names_field("email");
}

#[test]
fn whoever_found_an_administrators_browser_open_starts_no_reset_and_reads_no_mailed_token() {
    let server = Server::start();
    let admin = with_ann(&server);
    let id = server.anonymous().sign_in("ann", PASSWORD).id;
    let path = format!("/api/v1/users/{id}/password/reset");
    let app = admin.app("mailer", &["administrator"]);
    let lent = admin.bearing(&admin.access_token);
    lent.post(&path, &json!({})).is_problem(403, "session-token-required");
    lent.get("/api/v1/outbox").is_problem(403, "session-token-required");
    server.clock.advance_seconds(600);
    admin.post(&path, &json!({})).is_problem(401, "reauthentication-required");
    admin.get("/api/v1/outbox").is_problem(401, "reauthentication-required");
    assert!(admin.mails("ann@example.org").is_empty());
    // A key proves it every time.
    app.post(&path, &json!({})).expect(202);
    assert_eq!(app.get("/api/v1/outbox").expect(200)["items"][0]["occasion"], "reset-password");
}

#[test]
fn an_administrator_starts_a_reset_and_does_not_choose_the_password() {
    let server = Server::start();
    let admin = with_ann(&server);
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    admin.post(&format!("/api/v1/users/{}/password/reset", ann.id), &json!({})).expect(202);
    let token = admin.mailed_token("ann@example.org", "reset-password");
    assert!(is_alive(&ann));
    reset(&server, &token, OTHER).expect(204);
    assert!(!is_alive(&ann));
    let bob = admin.create_user(&json!({ "username": "bob", "password": PASSWORD }));
    admin.post(&format!("/api/v1/users/{bob}/password/reset"), &json!({})).is_problem(409, "no-address");
}

#[test]
fn an_administrator_is_told_when_nothing_is_mailed() {
    let server = Server::start();
    let admin = with_ann(&server);
    let ann = server.anonymous().sign_in("ann", PASSWORD).id;
    let cid = admin.created("/api/v1/invitations", &json!({ "email": "cid@example.org" }));
    for (path, to, occasion) in [
        (format!("/api/v1/users/{ann}/password/reset"), "ann@example.org", "reset-password"),
        (format!("/api/v1/users/{cid}/invitation"), "cid@example.org", "invitation"),
    ] {
        server.clock.advance_seconds(60);
        admin.post(&path, &json!({})).expect(202);
        let mailed = admin.mails_about(to, occasion);
        server.clock.advance_seconds(20);
        let refused = admin.post(&path, &json!({}));
        assert_eq!(refused.is_problem(429, "mailed-just-now").header("retry-after"), Some("40"), "{refused:?}");
        assert_eq!(admin.mails_about(to, occasion), mailed);
        // Nobody else is told.
        forgot(&server, "ann").expect(202);
        server.clock.advance_seconds(40);
        admin.post(&path, &json!({})).expect(202);
    }
    admin.post(&format!("/api/v1/users/{ann}/suspend"), &json!({})).expect(200);
    admin.post(&format!("/api/v1/users/{ann}/password/reset"), &json!({})).is_problem(409, "account-suspended");
}

/// What puts out whoever is signed in as somebody.
type Way<'a> = &'a dyn Fn(&SignedIn);

#[test]
fn an_address_that_waits_is_forgotten_when_whoever_asked_for_it_is_put_out() {
    let server = Server::with(|config| config.accounts.max_mail_requests = 100);
    let admin = server.admin();
    let nothing = json!({});
    let ways: [(&str, Way<'_>); 8] = [
        ("password", &|own| drop(change(own, PASSWORD, OTHER).expect(204))),
        ("reset", &|own| {
            admin.post(&format!("/api/v1/users/{}/password/reset", own.id), &nothing).expect(202);
            let token = admin.mailed_token("reset@example.org", "reset-password");
            reset(&server, &token, OTHER).expect(204);
        }),
        ("everywhere", &|own| drop(own.delete("/api/v1/users/sessions/all").expect(200))),
        ("elsewhere", &|own| drop(own.delete("/api/v1/users/sessions/all?keep_current=true").expect(200))),
        ("administrator", &|own| drop(admin.delete(&format!("/api/v1/users/{}/sessions/all", own.id)).expect(200))),
        ("suspended", &|own| {
            admin.post(&format!("/api/v1/users/{}/suspend", own.id), &nothing).expect(200);
            admin.post(&format!("/api/v1/users/{}/activate", own.id), &nothing).expect(200);
        }),
        ("factors", &|own| {
            own.post("/api/v1/auth/mfa/totp", &nothing).expect(200);
            admin.delete(&format!("/api/v1/users/{}/mfa", own.id)).expect(204);
        }),
        ("changed", &|own| {
            let email = json!({ "email": "true@example.org" });
            admin.patch(&format!("/api/v1/users/{}", own.id), &email).expect(200);
        }),
    ];
    for (name, put_out) in ways {
        let (own, planted) = (format!("{name}@example.org"), format!("{name}@example.net"));
        admin.create_user(&json!({ "username": name, "email": own, "password": PASSWORD }));
        let person = server.anonymous().sign_in(name, PASSWORD);
        person.post("/api/v1/auth/email/change", &json!({ "email": planted })).expect(202);
        let token = admin.mailed_token(&planted, "verify-email");
        put_out(&person);
        assert_eq!(verify(&server, &token).status, 401, "{name}");
        let user = admin.get(&format!("/api/v1/users/{}", person.id)).expect(200);
        assert_eq!(user["unverified_email"], Value::Null, "{name}");
    }
    // A token for one's own address goes on.
    let id = admin.create_user(&json!({ "username": "own", "email": "own@example.org", "password": PASSWORD }));
    let person = server.anonymous().sign_in("own", PASSWORD);
    person.post("/api/v1/auth/email/resend", &nothing).expect(202);
    let token = admin.mailed_token("own@example.org", "verify-email");
    change(&person, PASSWORD, OTHER).expect(204);
    verify(&server, &token).expect(204);
    assert_eq!(admin.get(&format!("/api/v1/users/{id}")).expect(200)["email_verified"], true);
}

#[test]
fn an_address_that_an_administrator_changes_is_told_to_the_one_before() {
    let server = Server::start();
    let admin = with_ann(&server);
    let path = format!("/api/v1/users/{}", server.anonymous().sign_in("ann", PASSWORD).id);
    admin.patch(&path, &json!({ "email": "ann@example.org", "username": "Ann" })).expect(200);
    assert_eq!(admin.mails_about("ann@example.org", "email-changed"), 0);
    admin.patch(&path, &json!({ "email": "new@example.org" })).expect(200);
    assert_eq!(admin.mails_about("ann@example.org", "email-changed"), 1);
    assert!(admin.mails("new@example.org").is_empty());
    server.clock.advance_seconds(600);
    admin.patch(&path, &json!({ "email": "own@example.org" })).is_problem(401, "reauthentication-required");
    admin.patch(&path, &json!({ "external_id": "crm-7" })).is_problem(401, "reauthentication-required");
    admin.patch(&path, &json!({ "properties": { "level": 7 } })).expect(200);
}

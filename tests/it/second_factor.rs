//! The second factor: set up, asked for, used once, lost, removed.

use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use crate::harness::{Admin, PASSWORD, Reply, Server, SignedIn};

/// The authenticator app of a person.
struct App(Secret);

impl App {
    /// The code that it shows at this moment, or so many steps later.
    fn code(&self, server: &Server, steps: i64) -> String {
        let totp = Builder::new().with_secret(self.0.clone()).build().unwrap();
        totp.generate(u64::try_from(server.clock.now().seconds() + 30 * steps).unwrap()).to_string()
    }
}

/// A person with an app and recovery codes, signed in.
fn with_factor(server: &Server, name: &str) -> (SignedIn, App, Vec<String>) {
    let user = json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
    server.admin().create_user(&user);
    let person = server.anonymous().sign_in(name, PASSWORD);
    let offer = person.post("/api/v1/auth/mfa/totp", &json!({})).expect(200);
    let app = App(Secret::try_from_base32(offer["secret"].as_str().unwrap()).unwrap());
    assert!(offer["otpauth_uri"].as_str().unwrap().contains(offer["secret"].as_str().unwrap()));
    let confirmed = person.post("/api/v1/auth/mfa/totp/confirm", &json!({ "code": app.code(server, 0) })).expect(200);
    let codes = confirmed["recovery_codes"].as_array().unwrap();
    (person, app, codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect())
}

fn log_in(server: &Server, more: Value) -> Reply {
    let mut body = json!({ "identifier": "ann", "password": PASSWORD });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.anonymous().post("/api/v1/auth/login", &body)
}

fn go_on(server: &Server, challenge: &str, more: Value) -> Reply {
    let mut body = json!({ "challenge": challenge });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.anonymous().post("/api/v1/auth/login", &body)
}

fn challenge(server: &Server) -> String {
    let reply = log_in(server, json!({}));
    reply.is_problem(401, "mfa-required").text("challenge")
}

fn actions(admin: &Admin, user: &str, prefix: &str) -> Vec<String> {
    let page = admin.get(&format!("/api/v1/audit?target={user}&action={prefix}")).expect(200);
    page["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn with_an_app_a_code_is_asked_for_and_no_code_works_twice() {
    let server = Server::durable();
    let (ann, app, _) = with_factor(&server, "ann");
    let shown = ann.get("/api/v1/auth/mfa").expect(200);
    assert_eq!(
        shown,
        json!({
            "totp": true,
            "totp_confirmed_at": "2025-11-23T12:00:00.000Z",
            "passkeys": 0,
            "recovery_codes_left": 10,
        })
    );
    let waiting = challenge(&server);
    go_on(&server, &waiting, json!({ "totp": app.code(&server, 0) })).is_problem(401, "wrong-code");
    server.clock.advance_seconds(30);
    go_on(&server, &waiting, json!({})).is_problem(401, "mfa-required");
    go_on(&server, &waiting, json!({ "totp": app.code(&server, 5) })).is_problem(401, "wrong-code");
    let welcome = go_on(&server, &waiting, json!({ "totp": app.code(&server, 0) })).expect(200);
    assert_eq!(welcome["session"]["authentication_methods"], json!(["pwd", "otp"]));
    go_on(&server, &waiting, json!({ "totp": app.code(&server, 1) })).is_problem(401, "challenge-over");
    log_in(&server, json!({ "totp": app.code(&server, 0) })).is_problem(401, "wrong-code");
    log_in(&server, json!({ "totp": app.code(&server, -1) })).is_problem(401, "wrong-code");
    log_in(&server, json!({ "totp": app.code(&server, 1) })).expect(200);
    let server = server.restarted();
    log_in(&server, json!({ "totp": app.code(&server, 1) })).is_problem(401, "wrong-code");
    server.clock.advance_seconds(60);
    log_in(&server, json!({ "totp": app.code(&server, 0) })).expect(200);
}

#[test]
fn of_many_who_show_one_code_at_once_one_gets_in() {
    let server = Server::with(|config| config.accounts.max_login_attempts = 100);
    let (_, app, codes) = with_factor(&server, "ann");
    server.clock.advance_seconds(30);
    for code in [json!({ "totp": app.code(&server, 0) }), json!({ "recovery_code": codes[3] })] {
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| log_in(&server, code.clone()).status)).collect();
            asking.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 7, "{statuses:?}");
    }
}

#[test]
fn of_many_who_go_on_with_one_challenge_at_once_one_gets_in() {
    let server = Server::with(|config| config.accounts.max_login_attempts = 100);
    let (_, app, codes) = with_factor(&server, "ann");
    for codes in codes.chunks(4).take(2) {
        let waiting = challenge(&server);
        let going_on = |code: &String| go_on(&server, &waiting, json!({ "recovery_code": code })).status;
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let asking: Vec<_> = codes.iter().map(|code| scope.spawn(|| going_on(code))).collect();
            asking.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 3, "{statuses:?}");
    }
    // A code that was used before ends no challenge.
    server.clock.advance_seconds(30);
    log_in(&server, json!({ "totp": app.code(&server, 0) })).expect(200);
    let waiting = challenge(&server);
    go_on(&server, &waiting, json!({ "totp": app.code(&server, 0) })).is_problem(401, "wrong-code");
    go_on(&server, &waiting, json!({ "totp": app.code(&server, 1) })).expect(200);
}

/// Signs in from an address, with a device's token if there is one.
fn log_in_from(server: &Server, address: &str, password: &str, more: Value) -> Reply {
    let mut body = json!({ "identifier": "ann", "password": password });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let headers = [("X-Forwarded-For", address)];
    server.anonymous().call("POST", "/api/v1/auth/login", Some(body.to_string()), &headers)
}

fn behind_a_proxy(attempts: u32) -> Server {
    Server::with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        config.accounts.max_login_attempts = attempts;
    })
}

#[test]
fn codes_are_counted_per_account_wherever_they_come_from() {
    let server = behind_a_proxy(3);
    let (_, app, codes) = with_factor(&server, "ann");
    server.clock.advance_seconds(30);
    let wrong = json!({ "totp": "000000" });
    let addresses = ["192.0.2.1", "198.51.100.1", "203.0.113.1"];
    for address in addresses {
        log_in_from(&server, address, PASSWORD, wrong.clone()).is_problem(401, "wrong-code");
    }
    let refused = log_in_from(&server, "192.0.2.99", PASSWORD, wrong.clone());
    assert_eq!(refused.is_problem(429, "too-many-failures").header("retry-after"), Some("30"));
    for code in [json!({ "totp": app.code(&server, 0) }), json!({ "recovery_code": codes[0] })] {
        log_in_from(&server, "192.0.2.99", PASSWORD, code).is_problem(429, "too-many-failures");
    }
    // The other way in: by the challenge, from anywhere.
    let reply = log_in_from(&server, "192.0.2.98", PASSWORD, json!({}));
    let waiting = reply.is_problem(401, "mfa-required").text("challenge");
    go_on(&server, &waiting, json!({ "totp": app.code(&server, 0) })).is_problem(429, "too-many-failures");
    server.clock.advance_seconds(30);
    log_in_from(&server, "192.0.2.99", PASSWORD, json!({ "totp": app.code(&server, 0) })).expect(200);
    // A right one does not make the wrong ones forgotten.
    log_in_from(&server, "192.0.2.97", PASSWORD, wrong.clone()).is_problem(401, "wrong-code");
    log_in_from(&server, "192.0.2.96", PASSWORD, wrong).is_problem(429, "too-many-failures");
}

#[test]
fn whoever_does_not_know_the_password_makes_no_code_wait_and_a_trusted_device_has_codes_of_its_own() {
    let server = behind_a_proxy(3);
    let (ann, app, _) = with_factor(&server, "ann");
    for number in 0..40 {
        let guess = log_in_from(&server, &format!("198.51.100.{number}"), "a guess", json!({ "totp": "000000" }));
        guess.is_problem(401, "wrong-credentials");
    }
    server.clock.advance_seconds(30);
    let code = json!({ "totp": app.code(&server, 0) });
    let own = log_in_from(&server, "192.0.2.1", PASSWORD, code).expect(200);
    let device = own["session"]["device"]["id"].as_str().unwrap();
    ann.patch(&format!("/api/v1/users/devices/{device}"), &json!({ "trusted": true })).expect(200);
    // Somebody who knows the password, too, spends the account's tries.
    for number in 0..3 {
        let guess = log_in_from(&server, &format!("203.0.113.{number}"), PASSWORD, json!({ "totp": "000000" }));
        guess.is_problem(401, "wrong-code");
    }
    server.clock.advance_seconds(20);
    let code = app.code(&server, 1);
    let elsewhere = log_in_from(&server, "192.0.2.1", PASSWORD, json!({ "totp": code }));
    elsewhere.is_problem(429, "too-many-failures");
    let trusted = json!({ "totp": code, "device": { "token": own["device_token"] } });
    log_in_from(&server, "192.0.2.1", PASSWORD, trusted).expect(200);
    let trusted = json!({ "totp": "000000", "device": { "token": own["device_token"] } });
    for _ in 0..3 {
        log_in_from(&server, "192.0.2.1", PASSWORD, trusted.clone()).is_problem(401, "wrong-code");
    }
    log_in_from(&server, "192.0.2.1", PASSWORD, trusted).is_problem(429, "too-many-failures");
}

#[test]
fn a_challenge_is_over_after_five_codes() {
    let server = behind_a_proxy(100);
    let (_, app, _) = with_factor(&server, "ann");
    let waiting = challenge(&server);
    for _ in 0..5 {
        go_on(&server, &waiting, json!({})).is_problem(401, "mfa-required");
        go_on(&server, &waiting, json!({ "totp": "000000" })).is_problem(401, "wrong-code");
    }
    server.clock.advance_seconds(30);
    let code = json!({ "totp": app.code(&server, 0) });
    go_on(&server, &waiting, code.clone()).is_problem(401, "challenge-over");
    go_on(&server, &waiting, code.clone()).is_problem(401, "challenge-over");
    go_on(&server, &challenge(&server), code).expect(200);
}

#[test]
fn a_recovery_code_works_once_and_can_be_renewed() {
    let server = Server::durable();
    let (ann, _, codes) = with_factor(&server, "ann");
    assert_eq!(codes.len(), 10);
    let welcome = log_in(&server, json!({ "recovery_code": codes[0].to_uppercase() })).expect(200);
    assert_eq!(welcome["session"]["authentication_methods"], json!(["pwd", "recovery"]));
    log_in(&server, json!({ "recovery_code": codes[0] })).is_problem(401, "wrong-code");
    log_in(&server, json!({ "recovery_code": "" })).is_problem(401, "wrong-code");
    let waiting = challenge(&server);
    go_on(&server, &waiting, json!({ "recovery_code": codes[1] })).expect(200);
    assert_eq!(ann.get("/api/v1/auth/mfa").expect(200)["recovery_codes_left"], 8);
    let fresh = ann.post("/api/v1/auth/mfa/recovery-codes", &json!({})).expect(200);
    log_in(&server, json!({ "recovery_code": codes[2] })).is_problem(401, "wrong-code");
    let fresh: Vec<&str> =
        fresh["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    let server = server.restarted();
    log_in(&server, json!({ "recovery_code": fresh[9] })).expect(200);
    let admin = server.admin();
    let used = actions(&admin, &ann.id, "accounts.recovery_code_used");
    assert_eq!(used.len(), 3);
    for code in codes.iter().map(String::as_str).chain(fresh) {
        assert!(!admin.get("/api/v1/audit?limit=1000").body.contains(code), "the audit log holds no codes");
    }
}

#[test]
fn adding_and_removing_an_app_ends_the_other_sessions_and_is_told_by_mail() {
    let server = Server::start();
    let admin = server.admin();
    admin.create_user(&json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD }));
    let (own, other) = (server.anonymous().sign_in("ann", PASSWORD), server.anonymous().sign_in("ann", PASSWORD));
    own.post("/api/v1/auth/mfa/totp/confirm", &json!({ "code": "123456" })).is_problem(409, "nothing-offered");
    own.post("/api/v1/auth/mfa/recovery-codes", &json!({})).is_problem(404, "no-second-factor");
    own.delete("/api/v1/auth/mfa/totp").is_problem(404, "no-second-factor");
    let offer = own.post("/api/v1/auth/mfa/totp", &json!({})).expect(200);
    let app = App(Secret::try_from_base32(offer["secret"].as_str().unwrap()).unwrap());
    server.anonymous().sign_in("ann", PASSWORD);
    let confirm = |code: &str| own.post("/api/v1/auth/mfa/totp/confirm", &json!({ "code": code }));
    confirm(&app.code(&server, 9)).is_problem(400, "wrong-code");
    assert_eq!(other.get("/api/v1/auth/mfa").expect(200)["totp"], false);
    confirm(&app.code(&server, 0)).expect(200);
    other.get("/api/v1/auth/mfa").is_problem(401, "session-credentials-changed");
    own.post("/api/v1/auth/mfa/totp", &json!({})).is_problem(409, "second-factor-exists");
    assert_eq!(admin.mails_about("ann@example.org", "factors-changed"), 1);
    server.clock.advance_seconds(60);
    let other = log_in(&server, json!({ "totp": app.code(&server, 0) })).expect(200);
    own.delete("/api/v1/auth/mfa/totp").expect(204);
    let other = server.anonymous().bearing(other["session_token"].as_str().unwrap());
    other.get("/api/v1/auth/mfa").is_problem(401, "session-credentials-changed");
    admin.mail("ann@example.org", "factors-changed");
    server.anonymous().sign_in("ann", PASSWORD);
    assert_eq!(actions(&admin, &own.id, "accounts.").len(), 3);
}

#[test]
fn an_offer_and_a_challenge_wait_only_so_long() {
    let server = Server::start();
    let (ann, app, _) = with_factor(&server, "ann");
    let waiting = challenge(&server);
    server.clock.advance_seconds(300);
    go_on(&server, &waiting, json!({ "totp": app.code(&server, 0) })).is_problem(401, "challenge-over");
    ann.delete("/api/v1/auth/mfa/totp").expect(204);
    let offer = ann.post("/api/v1/auth/mfa/totp", &json!({})).expect(200);
    let app = App(Secret::try_from_base32(offer["secret"].as_str().unwrap()).unwrap());
    server.clock.advance_seconds(900);
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    let confirm = ann.post("/api/v1/auth/mfa/totp/confirm", &json!({ "code": app.code(&server, 0) }));
    confirm.is_problem(409, "nothing-offered");
    for wrong in ["", "ssm_mf_", "x"] {
        go_on(&server, wrong, json!({ "totp": "123456" })).is_problem(401, "challenge-over");
    }
    let body = json!({ "challenge": "x", "identifier": "ann", "totp": "123456" });
    server.anonymous().post("/api/v1/auth/login", &body).is_problem(400, "invalid-input").names_field("challenge");
}

#[test]
fn guessing_codes_waits_as_guessing_passwords_does() {
    let server = Server::with(|config| config.accounts.max_login_attempts = 3);
    let (_, app, _) = with_factor(&server, "ann");
    for _ in 0..10 {
        challenge(&server);
    }
    let waiting = challenge(&server);
    for steps in 5..8 {
        go_on(&server, &waiting, json!({ "totp": app.code(&server, steps) })).is_problem(401, "wrong-code");
    }
    go_on(&server, &waiting, json!({ "totp": app.code(&server, 1) })).is_problem(429, "too-many-failures");
    log_in(&server, json!({ "totp": app.code(&server, 1) })).is_problem(429, "too-many-failures");
}

#[test]
fn a_password_changed_meanwhile_ends_a_sign_in_that_waits() {
    let server = Server::start();
    let (ann, app, _) = with_factor(&server, "ann");
    let waiting = challenge(&server);
    let change = json!({ "current_password": PASSWORD, "new_password": "quite another horse" });
    ann.post("/api/v1/auth/password/change", &change).expect(204);
    server.clock.advance_seconds(30);
    go_on(&server, &waiting, json!({ "totp": app.code(&server, 0) })).is_problem(401, "wrong-credentials");
}

#[test]
fn neither_a_reset_nor_a_new_proof_goes_around_the_second_factor() {
    let server = Server::start();
    let (ann, app, codes) = with_factor(&server, "ann");
    let admin = server.admin();
    server.clock.advance_seconds(30);
    let prove = |more: Value| {
        let mut body = json!({ "password": PASSWORD });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ann.post("/api/v1/auth/reauthenticate", &body)
    };
    prove(json!({})).is_problem(401, "mfa-required");
    prove(json!({ "totp": app.code(&server, 7) })).is_problem(401, "wrong-code");
    prove(json!({ "totp": app.code(&server, 0) })).expect(200);
    server.anonymous().post("/api/v1/auth/password/forgot", &json!({ "identifier": "ann" })).expect(202);
    let token = admin.mailed_token("ann@example.org", "reset-password");
    let reset = json!({ "token": token, "password": "quite another horse" });
    server.anonymous().post("/api/v1/auth/password/reset", &reset).expect(204);
    server.anonymous().log_in("ann", "quite another horse").is_problem(401, "mfa-required");
    let body = json!({ "identifier": "ann", "password": "quite another horse", "recovery_code": codes[0] });
    server.anonymous().post("/api/v1/auth/login", &body).expect(200);
}

#[test]
fn an_administrator_takes_a_lost_factor_away() {
    let server = Server::start();
    let (ann, _, _) = with_factor(&server, "ann");
    let admin = server.admin();
    let path = format!("/api/v1/users/{}/mfa", ann.id);
    admin.delete(&path).expect(204);
    ann.get("/api/v1/auth/mfa").is_problem(401, "session-credentials-changed");
    server.anonymous().sign_in("ann", PASSWORD);
    admin.delete(&path).expect(204);
    server.clock.advance_seconds(600);
    admin.delete(&path).is_problem(401, "reauthentication-required");
    admin.mail("ann@example.org", "factors-changed");
}

#[test]
fn the_store_holds_no_secret_of_an_app() {
    let server = Server::durable();
    let (_, app, codes) = with_factor(&server, "ann");
    let secret = app.0.as_bytes().to_vec();
    let store = &server.state().store;
    let changes = store.changes_since(sesame::store::Revision(0), 10_000).unwrap();
    let values: Vec<Vec<u8>> =
        changes.into_iter().flat_map(|change| change.writes).filter_map(|write| write.value).collect();
    let holds = |needle: &[u8]| values.iter().any(|value| value.windows(needle.len()).any(|window| window == needle));
    assert!(holds(b"ann@example.org"));
    assert!(!holds(&secret));
    assert!(codes.iter().all(|code| !holds(code.as_bytes()) && !holds(code.replace('-', "").as_bytes())));
}

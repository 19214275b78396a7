//! Showing that an address, a number and a name are somebody's own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use sesame::config::Config;

use crate::harness::{Admin, PASSWORD, Server, SignedIn};
use crate::profiles::PROFILE;

const VERIFICATION: &str = "/api/v1/users/profile/verification";
const CONFIRM: &str = "/api/v1/users/profile/verification/confirm";

/// The code that was mailed last.
fn mailed_code(admin: &Admin, to: &str) -> String {
    let mail = admin.mail(to, "verification-code");
    let mut lines = mail["text"].as_str().unwrap().lines();
    lines.find(|line| line.len() == 6 && line.parse::<u32>().is_ok()).unwrap().to_owned()
}

/// An operator's sender of text messages, which answers with this status and hands over what it was given.
fn sender(status: u16) -> (SocketAddr, Receiver<(String, Value)>) {
    sender_of(vec![status])
}

/// One that answers with these statuses in turn, and with the last one from then on.
fn sender_of(statuses: Vec<u16>) -> (SocketAddr, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, heard) = channel();
    std::thread::spawn(move || {
        let last = *statuses.last().unwrap();
        let statuses = statuses.into_iter().chain(std::iter::repeat(last));
        for (socket, status) in listener.incoming().zip(statuses) {
            let Ok(mut socket) = socket else { return };
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            let message = loop {
                let Ok(read) = socket.read(&mut buffer) else { break None };
                bytes.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((lines, body)) = text.split_once("\r\n\r\n") else { continue };
                let length: usize = lines
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned))
                    .unwrap()
                    .parse()
                    .unwrap();
                if body.len() >= length {
                    break Some((lines.to_owned(), serde_json::from_str(body).unwrap()));
                }
            };
            let location = "Location: http://127.0.0.1:9/\r\n";
            write!(socket, "HTTP/1.1 {status} X\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            let Some(message) = message else { return };
            if told.send(message).is_err() {
                return;
            }
        }
    });
    (address, heard)
}

fn server(address: SocketAddr) -> Server {
    Server::with(|config| send_by(config, address))
}

fn send_by(config: &mut Config, address: SocketAddr) {
    config.profiles.sms_webhook_url = format!("http://{address}/send");
    config.profiles.sms_webhook_secret = "key".parse().unwrap();
    config.profiles.sms_webhook_private = true;
}

fn verified(person: &SignedIn) -> Value {
    person.get(PROFILE).expect(200)["verified"].clone()
}

fn begin(person: &SignedIn) -> crate::harness::Reply {
    person.post(VERIFICATION, &json!({ "kind": "phone" }))
}

fn confirm(person: &SignedIn, code: &str) -> crate::harness::Reply {
    person.post(CONFIRM, &json!({ "kind": "phone", "code": code }))
}

/// Where there is nothing to send, asking for it costs none of the few times that something is sent.
#[test]
fn what_is_refused_is_not_counted_as_sent() {
    let (address, heard) = sender(200);
    let server = Server::with(|config| {
        send_by(config, address);
        config.accounts.max_mail_requests = 1;
    });
    let ann = server.admin().person("ann");
    for _ in 0..10 {
        begin(&ann).is_problem(409, "nothing-to-verify");
        let wrong = json!({ "kind": "phone", "method": "link" });
        ann.post(VERIFICATION, &wrong).is_problem(400, "invalid-input").names_field("method");
    }
    ann.put(PROFILE, &json!({ "phone_number": "+4930123456" })).expect(200);
    begin(&ann).expect(202);
    heard.recv().unwrap();
}

#[test]
fn a_number_is_verified_by_a_code_and_another_number_is_not() {
    let (address, heard) = sender(200);
    let server = server(address);
    let ann = server.admin().person("ann");
    begin(&ann).is_problem(409, "nothing-to-verify");
    confirm(&ann, "000000").is_problem(409, "no-code");
    ann.put(PROFILE, &json!({ "phone_number": "+4930123456" })).expect(200);
    let sent = begin(&ann).expect(202);
    assert_eq!(sent, json!({ "kind": "phone", "expires_at": "2025-11-23T12:10:00.000Z" }));
    let (request, message) = heard.recv().unwrap();
    let code = message["code"].as_str().unwrap();
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) && !request.contains(code));
    assert_eq!((&message["to"], &message["purpose"]), (&json!("+4930123456"), &json!("phone_verification")));
    assert!(
        message["text"].as_str().unwrap().contains(code)
            && request.to_lowercase().contains("sesame-signature: sha256=")
    );
    assert_eq!(verified(&ann)["phone"], false);
    let confirmed = confirm(&ann, code);
    let (right, own) = (confirmed.expect(200), ann.get(PROFILE));
    assert_eq!((&confirmed.body, confirmed.header("etag")), (&own.body, own.header("etag")));
    assert_eq!(right["verified"], json!({ "email": false, "phone": true, "identity": false }));
    confirm(&ann, code).is_problem(409, "no-code");
    begin(&ann).is_problem(409, "verified-already");
    ann.put(PROFILE, &json!({ "bio": "Reads." })).expect(200);
    assert_eq!(verified(&ann)["phone"], true);
    ann.put(PROFILE, &json!({ "phone_number": "+4930123457" })).expect(200);
    assert_eq!(verified(&ann)["phone"], false, "another number was not verified");
    let audit = server.admin().get("/api/v1/audit?limit=1000").expect(200).to_string();
    for action in ["profiles.code_sent", "profiles.phone_verified"] {
        assert!(audit.contains(action), "{action}");
    }
    assert!(!audit.contains(code), "no code in the log");
}

/// Everything that the store has under the keys of this user, as text.
fn stored(server: &Server, person: &SignedIn) -> String {
    let id = sesame::kernel::ids::UserId::parse(&person.id).unwrap();
    let store = &server.state().store;
    let mut found = String::new();
    for kind in 0..=u8::MAX {
        for record in store.scan(&[&[kind], &id.bytes()[..]].concat(), None, 1000).unwrap() {
            found += &String::from_utf8_lossy(&record.value);
        }
    }
    found
}

#[test]
fn what_a_code_was_sent_to_is_forgotten_with_it() {
    const NUMBER: &str = "+4930123456";
    let (address, heard) = sender(200);
    let server = server(address);
    let admin = server.admin();
    let asked = |name: &str| {
        let person = admin.person(name);
        person.put(PROFILE, &json!({ "phone_number": NUMBER })).expect(200);
        begin(&person).expect(202);
        let code = heard.recv().unwrap().1["code"].as_str().unwrap().to_owned();
        assert!(stored(&server, &person).contains(NUMBER));
        (person, code)
    };
    let (deleted, _) = asked("deleted");
    deleted.delete(PROFILE).expect(204);
    // The memory of changes tells what there was before: it goes with the profile.
    let (cleared, _) = asked("cleared");
    cleared.put(PROFILE, &json!({ "phone_number": null })).expect(200);
    cleared.delete(PROFILE).expect(204);
    let (verified, code) = asked("verified");
    confirm(&verified, &code).expect(200);
    verified.delete(PROFILE).expect(204);
    for person in [deleted, cleared, verified] {
        assert!(!stored(&server, &person).contains(NUMBER), "{}", person.id);
        // How many were sent, and when, is not forgotten.
        person.put(PROFILE, &json!({ "phone_number": NUMBER })).expect(200);
        begin(&person).is_problem(429, "too-soon");
    }
}

#[test]
fn tries_and_codes_are_limited() {
    let (address, heard) = sender(200);
    let server = server(address);
    let ann = server.admin().person("ann");
    ann.put(PROFILE, &json!({ "phone_number": "+4930123456" })).expect(200);
    begin(&ann).expect(202);
    let code = heard.recv().unwrap().1["code"].as_str().unwrap().to_owned();
    let wrong = if code == "123456" { "654321" } else { "123456" };
    let soon = begin(&ann);
    soon.is_problem(429, "too-soon");
    assert_eq!(soon.header("retry-after"), Some("60"));
    for _ in 0..5 {
        confirm(&ann, wrong).is_problem(400, "wrong-code").names_field("code");
    }
    confirm(&ann, &code).is_problem(409, "no-code");
    assert_eq!(verified(&ann)["phone"], false);
    server.clock.advance_seconds(60);
    begin(&ann).expect(202);
    let code = heard.recv().unwrap().1["code"].as_str().unwrap().to_owned();
    server.clock.advance_seconds(600);
    confirm(&ann, &code).is_problem(409, "no-code");
}

#[test]
fn a_number_that_changed_meanwhile_is_not_verified_by_the_old_code() {
    let (address, heard) = sender(200);
    let server = server(address);
    let ann = server.admin().person("ann");
    ann.put(PROFILE, &json!({ "phone_number": "+4930123456" })).expect(200);
    begin(&ann).expect(202);
    let code = heard.recv().unwrap().1["code"].as_str().unwrap().to_owned();
    ann.put(PROFILE, &json!({ "phone_number": "+4930999999" })).expect(200);
    confirm(&ann, &code).is_problem(409, "no-code");
    assert_eq!(verified(&ann)["phone"], false);
}

#[test]
fn a_sender_that_fails_is_said_and_redirects_are_not_followed() {
    for status in [500, 302] {
        let (address, _heard) = sender(status);
        let server = server(address);
        let ann = server.admin().person("ann");
        ann.put(PROFILE, &json!({ "phone_number": "+4930123456" })).expect(200);
        let failed = begin(&ann);
        failed.is_problem(503, "webhook-failed");
        assert!(!failed.body.contains("127.0.0.1"), "whom the operator pays is not for everybody: {}", failed.body);
    }
    let server = Server::start();
    let ann = server.admin().person("ann");
    ann.put(PROFILE, &json!({ "phone_number": "+4930123456" })).expect(200);
    begin(&ann).is_problem(409, "verification-unavailable");
    ann.post(VERIFICATION, &json!({ "kind": "phone", "method": "link" }))
        .is_problem(400, "invalid-input")
        .names_field("method");
    ann.post(VERIFICATION, &json!({ "kind": "shoe" })).is_problem(400, "invalid-input").names_field("kind");
}

#[test]
fn a_message_that_could_not_be_sent_costs_nobody_a_code() {
    let (address, heard) = sender_of(vec![500, 200, 503, 400]);
    let server = server(address);
    let ann = server.admin().person("ann");
    ann.put(PROFILE, &json!({ "phone_number": "+4930123456" })).expect(200);
    let code = || heard.recv().unwrap().1["code"].as_str().unwrap().to_owned();
    begin(&ann).is_problem(503, "webhook-failed");
    let lost = code();
    confirm(&ann, &lost).is_problem(409, "no-code");
    // It can be asked for again at once, and that one is good.
    begin(&ann).expect(202);
    let good = code();
    server.clock.advance_seconds(60);
    begin(&ann).is_problem(503, "webhook-failed");
    let lost = code();
    assert_eq!(confirm(&ann, &lost).status, if lost == good { 200 } else { 400 });
    // What the sender does not take of this number counts: it may have cost something, and is no failure of ours.
    begin(&ann).is_problem(503, "webhook-failed");
    let refused = code();
    begin(&ann).is_problem(429, "too-soon");
    confirm(&ann, &good).is_problem(400, "wrong-code");
    confirm(&ann, &refused).expect(200);
}

#[test]
fn outages_of_the_sender_lock_nobody_out_of_the_day() {
    let (address, _heard) = sender_of(vec![503, 503, 503, 503, 503, 503, 200]);
    let server = Server::with(|config| {
        config.profiles.sms_webhook_url = format!("http://{address}/send");
        config.profiles.sms_webhook_private = true;
        config.accounts.max_mail_requests = 100;
    });
    let ann = server.admin().person("ann");
    ann.put(PROFILE, &json!({ "phone_number": "+4930123456" })).expect(200);
    for _ in 0..6 {
        begin(&ann).is_problem(503, "webhook-failed");
    }
    begin(&ann).expect(202);
    begin(&ann).is_problem(429, "too-soon");
}

#[test]
fn whether_an_address_is_taken_shows_in_no_answer() {
    let server = Server::start();
    let admin = server.admin();
    for (name, email) in [("ann", "ann@example.org"), ("bob", "bob@example.org")] {
        admin.create_user(&json!({ "username": name, "password": PASSWORD, "email": email, "email_verified": true }));
    }
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    ann.post("/api/v1/auth/email/change", &json!({ "email": "free@example.org" })).expect(202);
    let free = ann.post(VERIFICATION, &json!({ "kind": "email" }));
    server.clock.advance_seconds(61);
    ann.post("/api/v1/auth/email/change", &json!({ "email": "bob@example.org" })).expect(202);
    let before = admin.mails_about("bob@example.org", "address-in-use");
    let taken = ann.post(VERIFICATION, &json!({ "kind": "email" }));
    assert_eq!((free.expect(202)["kind"].clone(), free.status), (taken.expect(202)["kind"].clone(), taken.status));
    assert_eq!(admin.mails_about("bob@example.org", "verification-code"), 0, "nobody has a code for what is another's");
    assert_eq!(admin.mails_about("bob@example.org", "address-in-use"), before + 1);
    confirm_address(&ann, "123456").is_problem(400, "wrong-code");
}

#[test]
fn a_link_that_was_not_mailed_is_not_said_to_be() {
    let server = Server::start();
    let admin = server.admin();
    admin.create_user(&json!({ "username": "ann", "password": PASSWORD, "email": "ann@example.org" }));
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    let link = || ann.post(VERIFICATION, &json!({ "kind": "email", "method": "link" }));
    link().expect(202);
    let soon = link();
    soon.is_problem(429, "too-soon");
    assert_eq!(soon.header("retry-after"), Some("60"));
    assert_eq!(admin.mails_about("ann@example.org", "verify-email"), 1);
    server.clock.advance_seconds(60);
    link().expect(202);
    assert_eq!(admin.mails_about("ann@example.org", "verify-email"), 2);
}

#[test]
fn an_address_is_verified_by_a_code_or_by_a_link() {
    let server = Server::start();
    let admin = server.admin();
    for (name, by_code) in [("ann", true), ("bob", false)] {
        let email = format!("{name}@example.org");
        admin.create_user(&json!({ "username": name, "password": PASSWORD, "email": email }));
        let person = server.anonymous().sign_in(name, PASSWORD);
        assert_eq!(verified(&person)["email"], false);
        let method = if by_code { "code" } else { "link" };
        person.post(VERIFICATION, &json!({ "kind": "email", "method": method })).expect(202);
        if by_code {
            let body = json!({ "kind": "email", "code": mailed_code(&admin, &email) });
            person.post(CONFIRM, &json!({ "kind": "email", "code": "" })).is_problem(400, "wrong-code");
            assert_eq!(person.post(CONFIRM, &body).expect(200)["verified"]["email"], true);
        } else {
            let token = admin.mailed_token(&email, "verify-email");
            server.anonymous().post("/api/v1/auth/email/verify", &json!({ "token": token })).expect(204);
        }
        assert_eq!(verified(&person)["email"], true);
        person.post(VERIFICATION, &json!({ "kind": "email" })).is_problem(409, "verified-already");
        let other = json!({ "email": format!("other-{name}@example.org") });
        admin.patch(&format!("/api/v1/users/{}", person.id), &other).expect(200);
        assert_eq!(verified(&person)["email"], false, "another address was not verified");
    }
    let nobody = admin.person("carl");
    nobody.post(VERIFICATION, &json!({ "kind": "email" })).is_problem(409, "nothing-to-verify");
}

#[test]
fn an_administrator_says_who_somebody_is_and_another_name_was_not_looked_at() {
    let server = Server::durable();
    let admin = server.admin();
    let ann = admin.person("ann");
    ann.put(PROFILE, &json!({ "display_name": "Ann Lee", "date_of_birth": "1990-12-31" })).expect(200);
    let path = format!("/api/v1/users/{}/profile/identity", ann.id);
    ann.put(&path, &json!({ "state": "verified", "evidence": "me" })).is_problem(403, "missing-permission");
    for evidence in [Value::Null, json!(""), json!(" \n"), json!("\u{200b}")] {
        let nothing = json!({ "state": "verified", "evidence": evidence });
        admin.put(&path, &nothing).is_problem(400, "invalid-input").names_field("evidence");
    }
    admin
        .put(&path, &json!({ "state": "sure", "evidence": "x" }))
        .is_problem(400, "invalid-input")
        .names_field("state");
    let review = json!({ "state": "verified", "evidence": "Passport C01X00T47, seen on a call" });
    let found = admin.put(&path, &review).expect(200);
    assert_eq!((&found["reviewer"], &found["at"]), (&json!(admin.id), &json!("2025-11-23T12:00:00.000Z")));
    let server = server.restarted();
    let (admin, client) = (server.admin(), server.anonymous().bearing(&ann.session_token));
    let own = client.get(PROFILE);
    assert_eq!(own.expect(200)["verified"]["identity"], true);
    assert!(!own.body.contains("Passport"), "what was looked at is for administrators");
    let seen = admin.get(&format!("/api/v1/users/{}/profile", ann.id)).expect(200);
    assert_eq!(seen["identity"], admin.get(&path).expect(200), "it is told in one way");
    assert_eq!(seen["identity"]["evidence"], review["evidence"]);
    client.put(PROFILE, &json!({ "bio": "Reads." })).expect(200);
    assert_eq!(client.get(PROFILE).expect(200)["verified"]["identity"], true);
    client.put(PROFILE, &json!({ "display_name": "Somebody Else" })).expect(200);
    assert_eq!(client.get(PROFILE).expect(200)["verified"]["identity"], false);
    admin.put(&path, &json!({ "state": "rejected", "evidence": "Blurred" })).expect(200);
    admin.put(&path, &json!({ "state": "unverified" })).expect(200);
    let missing = "/api/v1/users/user_01h455vb4pex5vsknk084sn02q/profile/identity";
    admin.put(missing, &review).is_problem(404, "not-found");
    let audit = admin.get("/api/v1/audit?limit=1000").expect(200).to_string();
    assert!(audit.contains("profiles.identity_reviewed") && !audit.contains("Passport"));
}

/// What the audit log has of one kind, oldest first.
fn audited(admin: &Admin, action: &str) -> Vec<Value> {
    let log = admin.get("/api/v1/audit?limit=1000").expect(200);
    let of_kind = log["items"].as_array().unwrap().iter().filter(|entry| entry["action"] == action);
    let mut entries: Vec<Value> = of_kind.map(|entry| entry["after"].clone()).collect();
    entries.reverse();
    entries
}

#[test]
fn a_review_is_not_its_subjects_to_remove() {
    const REJECTED: &str = "Forged passport";
    let server = Server::durable();
    let admin = server.admin();
    let [changing, deleting, rejected, bare] = ["changing", "deleting", "rejected", "bare"].map(|name| {
        let person = admin.person(name);
        if name != "bare" {
            person.put(PROFILE, &json!({ "display_name": "Ann Lee", "date_of_birth": "1990-12-31" })).expect(200);
        }
        person
    });
    let path = |person: &SignedIn| format!("/api/v1/users/{}/profile/identity", person.id);
    let review = |person: &SignedIn, state: &str, evidence: &str| {
        admin.put(&path(person), &json!({ "state": state, "evidence": evidence })).expect(200);
    };
    let found = |admin: &Admin, person: &SignedIn| admin.get(&path(person)).expect(200);
    review(&changing, "verified", "Passport");
    review(&deleting, "verified", "Passport");
    review(&bare, "verified", "Passport");
    review(&rejected, "rejected", REJECTED);
    server.clock.advance_seconds(60);
    let since = "2025-11-23T12:01:00.000Z";

    // Another name, and the one of before: nobody looked at it again.
    changing.put(PROFILE, &json!({ "display_name": "Bob" })).expect(200);
    server.clock.advance_seconds(60);
    changing.put(PROFILE, &json!({ "display_name": "Ann Lee" })).expect(200);
    let now = found(&admin, &changing);
    assert_eq!((&now["state"], &now["evidence"]), (&json!("unverified"), &json!("Passport")), "{now}");
    assert_eq!((&now["reviewer"], &now["superseded_at"]), (&json!(admin.id), &json!(since)));
    assert_eq!(verified(&changing)["identity"], false);
    assert_eq!(
        audited(&admin, "profiles.changed")
            .iter()
            .filter(|it| it["not_verified_any_more"] == json!(["identity"]))
            .count(),
        1
    );

    rejected.put(PROFILE, &json!({ "display_name": "Bob" })).expect(200);
    rejected.put(PROFILE, &json!({ "display_name": "Ann Lee" })).expect(200);
    for person in [&rejected, &deleting, &bare] {
        person.delete(PROFILE).expect(204);
        person.delete(PROFILE).expect(204);
    }
    let server = server.restarted();
    let admin = server.admin();
    let now = found(&admin, &rejected);
    assert_eq!((&now["state"], &now["evidence"]), (&json!("rejected"), &json!(REJECTED)), "{now}");
    let now = found(&admin, &deleting);
    assert_eq!((&now["state"], &now["evidence"]), (&json!("unverified"), &json!("Passport")), "{now}");
    assert_eq!(audited(&admin, "profiles.deleted")[1]["not_verified_any_more"], json!(["identity"]));
    let seen = admin.get(&format!("/api/v1/users/{}/profile", rejected.id)).expect(200);
    assert_eq!((&seen["identity"]["evidence"], &seen["identity"]["state"]), (&json!(REJECTED), &json!("rejected")));
    assert_eq!(found(&admin, &bare)["state"], "verified", "nothing that was looked at is another");
    // Another review takes its place, and an administrator may take it back.
    let path = path(&rejected);
    let anew = admin.put(&path, &json!({ "state": "verified", "evidence": "Seen" })).expect(200);
    assert_eq!((&anew["state"], &anew["superseded_at"]), (&json!("verified"), &Value::Null));
    let none = admin.put(&path, &json!({ "state": "unverified" })).expect(200);
    assert_eq!((&none["state"], &none["evidence"]), (&json!("unverified"), &Value::Null));
}

#[test]
fn a_number_that_comes_back_by_undoing_is_not_verified_by_that() {
    let (address, heard) = sender(200);
    let server = server(address);
    let ann = server.admin().person("ann");
    ann.put(PROFILE, &json!({ "phone_number": "+4930123456" })).expect(200);
    begin(&ann).expect(202);
    let code = heard.recv().unwrap().1["code"].as_str().unwrap().to_owned();
    confirm(&ann, &code).expect(200);
    ann.put(PROFILE, &json!({ "phone_number": "+4930123457" })).expect(200);
    let change = ann.get("/api/v1/users/changes").expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    ann.post(&format!("/api/v1/users/changes/{change}/undo"), &json!({})).expect(204);
    let profile = ann.get(PROFILE).expect(200);
    assert_eq!((&profile["phone_number"], &profile["verified"]["phone"]), (&json!("+4930123456"), &json!(false)));
    assert_eq!(audited(&server.admin(), "profiles.changed")[1]["not_verified_any_more"], json!(["phone"]));
}

#[test]
fn after_five_wrong_codes_an_address_needs_another_one() {
    let server = Server::start();
    let admin = server.admin();
    admin.create_user(&json!({ "username": "ann", "password": PASSWORD, "email": "ann@example.org" }));
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    ann.post(VERIFICATION, &json!({ "kind": "email" })).expect(202);
    let code = mailed_code(&admin, "ann@example.org");
    let wrong = if code == "123456" { "654321" } else { "123456" };
    for left in (0..5).rev() {
        let refused = confirm_address(&ann, wrong);
        refused.is_problem(400, "wrong-code").names_field("code");
        assert!(refused.text("detail").contains(&left.to_string()), "{}", refused.body);
    }
    confirm_address(&ann, &code).is_problem(409, "no-code");
    assert_eq!(verified(&ann)["email"], false);
    server.clock.advance_seconds(60);
    ann.post(VERIFICATION, &json!({ "kind": "email" })).expect(202);
    assert_eq!(confirm_address(&ann, &mailed_code(&admin, "ann@example.org")).expect(200)["verified"]["email"], true);
}

/// Somebody who asked for another address, and was mailed a code there.
fn changing(server: &Server, name: &str) -> (SignedIn, String) {
    let admin = server.admin();
    admin.create_user(&json!({ "username": name, "password": PASSWORD, "email": format!("{name}@example.org") }));
    let person = server.anonymous().sign_in(name, PASSWORD);
    let other = format!("{name}@example.net");
    person.post("/api/v1/auth/email/change", &json!({ "email": other })).expect(202);
    person.post(VERIFICATION, &json!({ "kind": "email" })).expect(202);
    let code = mailed_code(&admin, &other);
    (person, code)
}

fn confirm_address(person: &SignedIn, code: &str) -> crate::harness::Reply {
    person.post(CONFIRM, &json!({ "kind": "email", "code": code }))
}

#[test]
fn another_address_that_a_code_verifies_is_told_to_the_one_before() {
    let server = Server::start();
    let (ann, code) = changing(&server, "ann");
    let admin = server.admin();
    assert_eq!(confirm_address(&ann, &code).expect(200)["verified"]["email"], true);
    let user = admin.get(&format!("/api/v1/users/{}", ann.id)).expect(200);
    assert_eq!((&user["email"], &user["unverified_email"]), (&json!("ann@example.net"), &Value::Null));
    assert_eq!(admin.mails_about("ann@example.org", "email-changed"), 1);
    assert_eq!(admin.mails_about("ann@example.net", "email-changed"), 0);
    let link = admin.mails("ann@example.net").into_iter().find(|mail| mail["occasion"] == "verify-email").unwrap();
    let token = crate::harness::token_in(link["text"].as_str().unwrap());
    let spent = server.anonymous().post("/api/v1/auth/email/verify", &json!({ "token": token }));
    spent.is_problem(401, "token-not-valid");
}

/// What makes an address not wanted any more; who is signed in then.
type Way<'a> = &'a dyn Fn(&SignedIn) -> SignedIn;

#[test]
fn a_code_for_an_address_that_is_not_wanted_any_more_verifies_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let again = |name: &str| server.anonymous().sign_in(name, PASSWORD);
    let ways: [(&str, Way<'_>); 3] = [
        ("changed", &|person| {
            admin.patch(&format!("/api/v1/users/{}", person.id), &json!({ "email": "own@example.org" })).expect(200);
            person.clone()
        }),
        ("ended", &|person| {
            let own = again("ended");
            own.delete(&format!("/api/v1/users/sessions/{}", person.session_id)).expect(204);
            own
        }),
        ("password", &|person| {
            let passwords = json!({ "current_password": PASSWORD, "new_password": "quite another horse" });
            person.post("/api/v1/auth/password/change", &passwords).expect(204);
            person.clone()
        }),
    ];
    for (name, forgotten_by) in ways {
        let (person, code) = changing(&server, name);
        let person = forgotten_by(&person);
        confirm_address(&person, &code).is_problem(409, "no-code");
        let user = admin.get(&format!("/api/v1/users/{}", person.id)).expect(200);
        assert_ne!(user["email"], format!("{name}@example.net"));
        assert_eq!(user["email_verified"], false, "{name}");
    }
}

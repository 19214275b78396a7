//! Registering, and being invited.

use serde_json::{Value, json};
use sesame::accounts::registration::Registration;

use crate::harness::{PASSWORD, Reply, Server};

fn server(rule: Registration) -> Server {
    Server::with(|config| {
        config.accounts.registration = rule;
        config.accounts.max_mail_requests = 100;
    })
}

fn register(server: &Server, username: &str, email: &str, password: &str) -> Reply {
    let newcomer = json!({ "username": username, "email": email, "password": password });
    server.anonymous().post("/api/v1/auth/register", &newcomer)
}

fn verify(server: &Server, token: &str) -> Reply {
    server.anonymous().post("/api/v1/auth/email/verify", &json!({ "token": token }))
}

#[test]
fn whoever_registers_is_there_and_their_address_counts_when_verified() {
    let server = server(Registration::Open);
    let admin = server.admin();
    let user = register(&server, "Ann", "ann@example.org", PASSWORD).expect(201);
    assert_eq!((&user["email"], &user["email_verified"]), (&Value::Null, &json!(false)));
    assert_eq!(user["unverified_email"], "ann@example.org");
    server.anonymous().sign_in("ann", PASSWORD);
    server.anonymous().log_in("ann@example.org", PASSWORD).is_problem(401, "wrong-credentials");
    let token = admin.mailed_token("ann@example.org", "verify-email");
    verify(&server, &token).expect(204);
    server.anonymous().sign_in("ann@example.org", PASSWORD);
    register(&server, "ANN", "other@example.org", PASSWORD).is_problem(409, "name-taken").names_field("username");
    register(&server, "bob", "bob@example.org", "bob").is_problem(400, "invalid-input").names_field("password");
    register(&server, "bob", "bob@example.org", "iloveyou").is_problem(400, "invalid-input").names_field("password");
    register(&server, "bob", "bob", PASSWORD).is_problem(400, "invalid-input").names_field("email");
    let without = |member: &str| {
        let mut newcomer = json!({ "username": "bob", "email": "bob@example.org", "password": PASSWORD });
        newcomer.as_object_mut().unwrap().remove(member);
        server.anonymous().post("/api/v1/auth/register", &newcomer)
    };
    for member in ["username", "email"] {
        without(member).is_problem(400, "invalid-input").names_field(member);
    }
}

#[test]
fn registering_does_not_tell_whose_an_address_is() {
    let server = server(Registration::Open);
    let admin = server.admin();
    admin.create_user(&json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD }));
    let told = |reply: &Reply, name: &str| {
        let body = reply.body.replace(&reply.text("id"), "ID").replace(name, "NAME");
        let mut headers: Vec<_> = reply.headers.iter().map(|(name, _)| name.clone()).collect();
        headers.sort();
        (reply.status, body, headers)
    };
    let hashes = || server.state().metrics.password_hashes_total.get();
    let commits = || server.state().store.revision();
    let before = (hashes(), commits());
    let free = register(&server, "bob", "free@example.org", PASSWORD);
    let between = (hashes(), commits());
    let taken = register(&server, "eve", "ann@example.org", PASSWORD);
    let after = (hashes(), commits());
    let body = |reply: &Reply, name: &str, email: &str| {
        let (status, body, headers) = told(reply, name);
        (status, body.replace(email, "ADDRESS"), headers)
    };
    assert_eq!(body(&free, "bob", "free@example.org"), body(&taken, "eve", "ann@example.org"));
    assert_eq!(between.0 - before.0, after.0 - between.0, "the same hashes");
    assert_eq!(between.1.0 - before.1.0, after.1.0 - between.1.0, "the same commits");
    admin.mail("free@example.org", "verify-email");
    let mail = admin.mail("ann@example.org", "address-in-use");
    assert!(!mail.to_string().contains("ssm_mt_"), "nobody can verify an address of another account");
}

#[test]
fn registration_may_be_closed_or_for_the_invited() {
    for (rule, code) in
        [(Registration::Closed, "registration-closed"), (Registration::Invitation, "invitation-required")]
    {
        let server = server(rule);
        register(&server, "bob", "bob@example.org", PASSWORD).is_problem(403, code);
        let admin = server.admin();
        let invited = admin.post("/api/v1/invitations", &json!({ "email": "cid@example.org" }));
        let user = invited.expect(201);
        assert!(user["username"].as_str().unwrap().starts_with("invited_"));
        let token = admin.mailed_token("cid@example.org", "invitation");
        let accept = |body: Value| server.anonymous().post("/api/v1/auth/register", &body);
        accept(json!({ "invitation": token, "email": "x@example.org", "password": PASSWORD }))
            .is_problem(400, "invalid-input")
            .names_field("email");
        accept(json!({ "invitation": token, "password": "password1" })).is_problem(400, "invalid-input");
        accept(json!({ "invitation": token, "username": "ada", "password": PASSWORD })).is_problem(409, "name-taken");
        let accepted = accept(json!({ "invitation": token, "username": "cid", "password": PASSWORD })).expect(201);
        assert_eq!((&accepted["id"], &accepted["username"]), (&user["id"], &json!("cid")));
        assert_eq!((&accepted["email"], &accepted["email_verified"]), (&json!("cid@example.org"), &json!(true)));
        accept(json!({ "invitation": token, "password": PASSWORD })).is_problem(401, "token-not-valid");
        server.anonymous().sign_in("cid@example.org", PASSWORD);
    }
}

#[test]
fn an_invitation_holds_for_a_week_is_renewed_and_taken_back() {
    let server = server(Registration::Invitation);
    let admin = server.admin();
    let invite = |name: &str| {
        let invitee = json!({ "email": format!("{name}@example.org"), "username": name, "external_id": name });
        admin.created("/api/v1/invitations", &invitee)
    };
    let accept = |token: &str| {
        server.anonymous().post("/api/v1/auth/register", &json!({ "invitation": token, "password": PASSWORD }))
    };
    let (ann, bob) = (invite("ann"), invite("bob"));
    admin.post("/api/v1/invitations", &json!({ "email": "ANN@example.org" })).is_problem(409, "name-taken");
    let (first, other) =
        (admin.mailed_token("ann@example.org", "invitation"), admin.mailed_token("bob@example.org", "invitation"));
    server.anonymous().log_in("ann", "").is_problem(401, "wrong-credentials");
    admin.delete(&format!("/api/v1/users/{bob}")).expect(204);
    accept(&other).is_problem(401, "token-not-valid");
    server.clock.advance_seconds(604_800);
    accept(&first).is_problem(401, "token-not-valid");
    let admin = server.admin();
    admin.post(&format!("/api/v1/users/{ann}/invitation"), &json!({})).expect(202);
    accept(&admin.mailed_token("ann@example.org", "invitation")).expect(201);
    let refused = admin.post(&format!("/api/v1/users/{ann}/invitation"), &json!({}));
    assert!(refused.is_problem(409, "has-password").text("detail").contains("a password already"));
    let bare = admin.create_user(&json!({ "username": "bare" }));
    admin.post(&format!("/api/v1/users/{bare}/invitation"), &json!({})).is_problem(409, "no-address");
}

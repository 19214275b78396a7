//! An instance keeps an administrator, and nobody takes from another what they do not hold themselves.

use std::sync::Arc;

use serde_json::json;

use crate::harness::{Admin, PASSWORD, Server, SignedIn};

/// A person who may assign, define roles and manage users, and nothing else.
fn clerk(admin: &Admin) -> SignedIn {
    let clerk = admin.person("clerk");
    let rights = ["sesame.assignments:write", "sesame.roles:write", "sesame.roles:read", "sesame.users:write"];
    admin.assign(&clerk.id, &admin.role("clerk", &rights));
    clerk
}

/// The id of the instance's own administrator, whom the tests cannot sign in.
fn own_administrator(admin: &Admin) -> String {
    admin.get("/api/v1/users?username=admin").expect(200)["items"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_last_administrator_stays() {
    let server = Server::start();
    let admin = server.admin();
    let role = admin.role_id("administrator");
    let other = own_administrator(&admin);
    // There are two: one of them may go.
    admin.post(&format!("/api/v1/users/{other}/suspend"), &json!({})).expect(200);
    let own = format!("/api/v1/users/{}", admin.id);
    let refused = |reply: crate::harness::Reply| {
        reply.is_problem(409, "last-administrator");
    };
    refused(admin.delete(&format!("{own}/roles/{role}")));
    refused(admin.post(&format!("{own}/roles"), &json!({ "role_id": role, "expires_at": "2030-01-01T00:00:00Z" })));
    refused(admin.post(&format!("{own}/permissions"), &json!({ "permission": "sesame.users:*", "effect": "deny" })));
    let denial = json!([{ "effect": "deny", "pattern": "sesame.roles:write" }]);
    let denying = admin.created("/api/v1/roles", &json!({ "name": "denying", "permissions": denial }));
    refused(admin.post(&format!("{own}/roles"), &json!({ "role_id": denying })));
    // Nor by way of a role that is held already.
    let held = admin.role("held", &[]);
    admin.assign(&admin.id, &held);
    refused(admin.put(&format!("/api/v1/roles/{held}"), &json!({ "name": "held", "permissions": denial })));
    refused(admin.put(&format!("/api/v1/roles/{held}"), &json!({ "name": "held", "parent_role_id": denying })));
    // What takes nothing of it goes on, and so does everything once there is another.
    admin.post(&format!("{own}/permissions"), &json!({ "permission": "*", "effect": "deny" })).expect(201);
    let heir = admin.create_user(&json!({ "username": "heir" }));
    let timed = json!({ "role_id": role, "expires_at": "2030-01-01T00:00:00Z" });
    admin.post(&format!("/api/v1/users/{heir}/roles"), &timed).expect(201);
    refused(admin.delete(&format!("{own}/roles/{role}")));
    admin.assign(&heir, &role);
    admin.delete(&format!("{own}/roles/{role}")).expect(204);
}

/// What is denied tomorrow, or in some session, is denied.
#[test]
fn denials_that_bite_later_or_on_a_condition_count_as_denials() {
    let server = Server::start();
    let admin = server.admin();
    let clerk = clerk(&admin);
    let boss = own_administrator(&admin);
    let denials = [
        json!({ "permission": "sesame.audit:read", "effect": "deny", "not_before": "2999-01-01T00:00:00Z" }),
        json!({ "permission": "sesame.audit:read", "effect": "deny", "condition": "session.risk.level == 'high'" }),
    ];
    let grants = |id: &str| format!("/api/v1/users/{id}/permissions");
    for denial in &denials {
        clerk.post(&grants(&boss), denial).is_problem(403, "not-yours-to-take");
    }
    let rule = |condition: &str| json!({ "effect": "deny", "pattern": "sesame.audit:read", "condition": condition });
    let gentle = json!({ "name": "mild", "permissions": [rule("session.risk.level == 'high'")] });
    let mild = admin.created("/api/v1/roles", &gentle);
    let harsh = json!({ "name": "mild", "permissions": [rule("true"), rule("session.risk.level == 'high'")] });
    clerk.put(&format!("/api/v1/roles/{mild}"), &harsh).is_problem(403, "not-yours-to-take");
    // Nor do they leave an administrator.
    admin.post(&format!("/api/v1/users/{boss}/suspend"), &json!({})).expect(200);
    for denial in &denials {
        admin.post(&grants(&admin.id), denial).is_problem(409, "last-administrator");
    }
    let body = json!({ "role_id": mild });
    admin.post(&format!("/api/v1/users/{}/roles", admin.id), &body).is_problem(409, "last-administrator");
}

/// Who is administrator until tomorrow makes nobody administrator for ever.
#[test]
fn nobody_gives_for_longer_or_more_freely_than_they_hold() {
    let server = Server::start();
    let admin = server.admin();
    let clerk = clerk(&admin);
    let until = |time: &str| json!({ "permission": "sesame.audit:read", "expires_at": time });
    let grants = |id: &str| format!("/api/v1/users/{id}/permissions");
    let plain = admin.create_user(&json!({ "username": "plain" }));
    admin.created(&grants(&clerk.id), &until("2900-01-01T00:00:00Z"));
    clerk.post(&grants(&plain), &json!({ "permission": "sesame.audit:read" })).is_problem(403, "escalation");
    clerk.post(&grants(&plain), &until("2900-01-01T00:00:01Z")).is_problem(403, "escalation");
    clerk.post(&grants(&plain), &until("2900-01-01T00:00:00Z")).expect(201);
    let role = json!({ "name": "auditor", "permissions": ["sesame.audit:read"] });
    clerk.post("/api/v1/roles", &role).is_problem(403, "escalation");
    let conditional = json!({ "permission": "sesame.apps:read", "condition": "now.getFullYear() > 1" });
    admin.created(&grants(&clerk.id), &conditional);
    clerk.post(&grants(&plain), &json!({ "permission": "sesame.apps:read" })).is_problem(403, "escalation");
}

/// A role is edited, rested or removed by those who hold what its holders lose.
#[test]
fn whoever_changes_a_role_takes_nothing_that_they_do_not_hold() {
    let server = Server::start();
    let admin = server.admin();
    let clerk = clerk(&admin);
    admin.define(&["doc:read"]);
    let auditors = admin.role("auditors", &["sesame.audit:read", "doc:read"]);
    let below = admin.created("/api/v1/roles", &json!({ "name": "below", "parent_role_id": auditors }));
    let (path, below) = (format!("/api/v1/roles/{auditors}"), format!("/api/v1/roles/{below}"));
    let refused = |reply: crate::harness::Reply| {
        reply.is_problem(403, "not-yours-to-take");
    };
    refused(clerk.put(&path, &json!({ "name": "auditors", "permissions": ["doc:read"] })));
    refused(clerk.put(&below, &json!({ "name": "below" })));
    refused(clerk.delete(&below));
    admin.put(&path, &json!({ "name": "auditors", "permissions": ["doc:read"] })).expect(200);
    // What is left of it says nothing about Sesame.
    clerk.put(&path, &json!({ "name": "auditors", "permissions": [] })).expect(200);
    clerk.delete(&below).expect(204);
}

/// A change that would be refused when it is looked at is refused, whatever would come of it when its turn comes.
#[test]
fn a_change_for_a_version_that_is_not_there_yet_is_never_let_through_unweighed() {
    let server = Server::start();
    let admin = server.admin();
    let clerk = clerk(&admin);
    let boss = format!("/api/v1/users/{}", own_administrator(&admin));
    for turn in 0..40 {
        let tag = admin.get(&boss).header("etag").unwrap().trim_matches('"').to_owned();
        let version: u64 = tag.parse().unwrap();
        let (change, next) =
            (json!({ "properties": {}, "external_id": format!("x{turn}") }), format!("\"{}\"", version + 1));
        std::thread::scope(|scope| {
            scope.spawn(|| clerk.call("PATCH", &boss, Some(change.to_string()), &[]));
            scope.spawn(|| {
                let reply = clerk.call("DELETE", &boss, None, &[("If-Match", &next)]);
                assert!([403, 412].contains(&reply.status), "{}", reply.status);
            });
        });
        assert_eq!(admin.get(&boss).status, 200);
    }
}

#[test]
fn two_administrators_cannot_end_each_other_at_once() {
    let server = Server::start();
    for _ in 0..20 {
        let admin = server.admin();
        let role = admin.role_id("administrator");
        let other = own_administrator(&admin);
        let ends = |id: &str| format!("/api/v1/users/{id}/roles/{role}");
        let (own, others) = (ends(&admin.id), ends(&other));
        let statuses = std::thread::scope(|scope| {
            [&own, &others].map(|path| scope.spawn(|| admin.delete(path).status)).map(|thread| thread.join().unwrap())
        });
        // Whoever came second was refused, or was no administrator any more.
        assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
        let state = server.state();
        let book = std::sync::Arc::clone(&state.book.load());
        let remaining = [&admin.id, &other].into_iter().filter(|id| {
            let id = sesame::kernel::ids::UserId::parse(id).unwrap();
            let user = state.users.find(id, state.clock.now()).unwrap();
            user.holdings.assignments.iter().any(|held| book.role(held.role_id).is_some_and(|role| role.is_built_in))
        });
        assert_eq!(remaining.count(), 1);
        restore(&server, &admin.id, &other);
    }
}

/// Makes both administrators again, as the instance itself would.
fn restore(server: &Server, one: &str, other: &str) {
    use sesame::access::commands::AssignRole;
    let state = std::sync::Arc::clone(server.state());
    let name = sesame::kernel::text::RoleName::parse("administrator").unwrap();
    let role_id = state.book.load().role_named(&name).unwrap().id;
    let facts =
        sesame::actor::command::Facts { now: state.clock.now(), cause: sesame::kernel::cause::Cause::system("test") };
    for id in [one, other] {
        let id = sesame::kernel::ids::UserId::parse(id).unwrap();
        let bounds = sesame::access::model::Bounds::default();
        let command = AssignRole { role_id, bounds, reason: None, approved_by: None, book: Arc::default() };
        let (state, facts) = (std::sync::Arc::clone(&state), facts.clone());
        actix_rt::System::new().block_on(async move { state.users.send(id, command, facts).await.unwrap() });
    }
}

/// Notes how new a subject is at the moment when this is let go.
struct Witness {
    state: Arc<sesame::http::State>,
    id: sesame::kernel::ids::UserId,
    seen: Arc<std::sync::Mutex<Option<sesame::store::Revision>>>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        let user = self.state.users.find(self.id, self.state.clock.now()).unwrap();
        *self.seen.lock().unwrap() = Some(sesame::actor::aggregate::Aggregate::version(&*user));
    }
}

#[test]
fn a_permit_is_held_until_its_command_is_carried_out_even_if_the_caller_goes_away() {
    use futures_util::FutureExt as _;
    use sesame::access::commands::AssignRole;
    use sesame::actor::aggregate::Aggregate as _;
    let server = Server::durable();
    let admin = server.admin();
    let role_id = sesame::kernel::ids::RoleId::parse(&admin.role("plain", &[])).unwrap();
    let id = sesame::kernel::ids::UserId::parse(&admin.create_user(&json!({ "username": "ann" }))).unwrap();
    let state = Arc::clone(server.state());
    let now = state.clock.now();
    let facts = sesame::actor::command::Facts { now, cause: sesame::kernel::cause::Cause::system("test") };
    actix_rt::System::new().block_on(async move {
        state.users.load(id).await.unwrap();
        let (mut carried_out, mut number) = (0, 0);
        // Whether the command is begun before its caller is gone is up to the machine.
        while number < 200 || carried_out == 0 {
            number += 1;
            assert!(number < 20_000, "nothing was ever carried out");
            let expires_at = Some(now.plus_seconds(number));
            let bounds = sesame::access::model::Bounds { expires_at, ..Default::default() };
            let command = AssignRole { role_id, bounds, reason: None, approved_by: None, book: Arc::default() };
            let seen = Arc::default();
            let witness = Witness { state: Arc::clone(&state), id, seen: Arc::clone(&seen) };
            let before = state.users.find(id, now).unwrap().version();
            let sent = state.users.send_holding(id, command, facts.clone(), witness);
            // Asked, and gone.
            let _ = Box::pin(sent).now_or_never();
            while seen.lock().unwrap().is_none() {
                tokio::task::yield_now().await;
            }
            let then = seen.lock().unwrap().unwrap();
            state.users.settled(id).await;
            let after = state.users.find(id, now).unwrap().version();
            assert_eq!(then, after, "let go before what was begun could be seen");
            carried_out += u32::from(after > before);
        }
    });
}

#[test]
fn nobody_takes_from_another_what_they_do_not_hold() {
    let server = Server::start();
    let admin = server.admin();
    let clerk = clerk(&admin);
    let role = admin.role_id("administrator");
    let boss = own_administrator(&admin);
    let refused = |reply: crate::harness::Reply| {
        reply.is_problem(403, "not-yours-to-take");
    };
    refused(clerk.post(&format!("/api/v1/users/{boss}/suspend"), &json!({})));
    refused(clerk.delete(&format!("/api/v1/users/{boss}")));
    refused(clerk.delete(&format!("/api/v1/users/{boss}/roles/{role}")));
    let denial = |pattern: &str| json!({ "permission": pattern, "effect": "deny" });
    let grants = format!("/api/v1/users/{boss}/permissions");
    refused(clerk.post(&grants, &denial("sesame.audit:read")));
    let denying = json!({ "name": "denying", "permissions": [{ "effect": "deny", "pattern": "sesame.audit:read" }] });
    let denying = admin.created("/api/v1/roles", &denying);
    clerk.post(&format!("/api/v1/users/{boss}/roles"), &json!({ "role_id": denying })).is_problem(403, "escalation");
    let own = admin.role("own", &[]);
    let body = json!({ "name": "own", "permissions": [{ "effect": "deny", "pattern": "sesame.audit:read" }] });
    refused(clerk.put(&format!("/api/v1/roles/{own}"), &body));
    // What they hold themselves they may deny; and of what is not Sesame's, everything.
    clerk.post(&grants, &denial("sesame.users:write")).expect(201);
    clerk.post(&grants, &denial("*")).expect(201);
    let plain = admin.create_user(&json!({ "username": "plain" }));
    clerk.post(&format!("/api/v1/users/{plain}/suspend"), &json!({})).expect(200);
    clerk.delete(&format!("/api/v1/users/{plain}")).expect(204);
    let app = admin.app("powerful", &["administrator"]);
    let warden = admin.person("warden");
    admin.assign(&warden.id, &admin.role("warden", &["sesame.apps:write"]));
    refused(warden.delete(&format!("/api/v1/apps/{}", app.id)));
    refused(warden.post(&format!("/api/v1/apps/{}/suspend", app.id), &json!({})));
    let keys = admin.get(&format!("/api/v1/apps/{}", app.id)).expect(200)["keys"].clone();
    let key = format!("/api/v1/apps/{}/keys/{}", app.id, keys[0]["id"].as_str().unwrap());
    refused(warden.delete(&key));
    assert_eq!(app.get("/api/v1/apps").status, 200);
    // A key outlives the session that made it: it needs a recent proof.
    server.clock.advance_seconds(600);
    let stale = |path: &str, body: serde_json::Value| {
        admin.post(path, &body).is_problem(401, "reauthentication-required");
    };
    stale("/api/v1/apps", json!({ "name": "later" }));
    stale(&format!("/api/v1/apps/{}/keys", app.id), json!({}));
    stale(&format!("{key}/rotate"), json!({}));
    admin.delete(&key).expect(204);
    // Who found a browser open puts nobody out, neither.
    for verb in ["suspend", "activate"] {
        stale(&format!("/api/v1/apps/{}/{verb}", app.id), json!({}));
        stale(&format!("/api/v1/users/{boss}/{verb}"), json!({}));
    }
    for path in [format!("/api/v1/apps/{}", app.id), format!("/api/v1/users/{boss}")] {
        admin.delete(&path).is_problem(401, "reauthentication-required");
    }
    server.admin().delete(&format!("/api/v1/apps/{}", app.id)).expect(204);
}

#[test]
fn an_access_token_does_nothing_that_needs_a_recent_proof() {
    let server = Server::with(|config| config.http.public_url = "https://login.example.org".into());
    let admin = server.admin();
    let app = admin.app("shop", &[]);
    let (ann, role) = (admin.person("ann"), admin.role("idle", &[]));
    admin.assign(&ann.id, &role);
    let routes = sesame::app::routes().table();
    let mut asked: Vec<(String, String)> = routes
        .into_iter()
        .filter(|(_, _, who)| *who == "signed in recently")
        .map(|(method, path, _)| (method, path.replace("{passkey_id}", "pkey_01jd3c8m5ve0f9v6y3p4w2x1kq")))
        .collect();
    assert!(asked.len() > 6, "{asked:?}");
    let (user, app) = (format!("/api/v1/users/{}", ann.id), format!("/api/v1/apps/{}", app.id));
    let more = [
        ("PATCH", user.clone()),
        ("POST", format!("{user}/suspend")),
        ("POST", format!("{user}/activate")),
        ("DELETE", user.clone()),
        ("DELETE", format!("{user}/mfa")),
        ("POST", "/api/v1/apps".into()),
        ("POST", format!("{app}/keys")),
        ("POST", format!("{app}/suspend")),
        ("POST", format!("{app}/activate")),
        ("DELETE", app),
        ("DELETE", format!("{user}/sessions/all")),
        ("DELETE", format!("{user}/devices/{}", ann.device_id)),
        ("DELETE", format!("/api/v1/users/sessions/{}", ann.session_id)),
        ("DELETE", "/api/v1/users/sessions/all".into()),
        ("DELETE", "/api/v1/sessions/all".into()),
    ];
    asked.extend(more.map(|(method, path)| (method.to_owned(), path)));
    let by_access_token = admin.bearing(&admin.access_token);
    by_access_token.get(&user).expect(200);
    for (method, path) in asked {
        let body = match path.as_str() {
            "/api/v1/apps" => json!({ "name": "other" }),
            "/api/v1/auth/password/change" => json!({ "current_password": PASSWORD, "new_password": "quite another" }),
            "/api/v1/auth/email/change" => json!({ "email": "evil@example.org" }),
            "/api/v1/auth/mfa/totp/confirm" => json!({ "code": "123456" }),
            "/api/v1/auth/passkeys" => json!({ "ceremony": "x", "name": "phone", "credential": {} }),
            _ if method == "PATCH" && path.contains("/passkeys/") => json!({ "name": "phone" }),
            _ if method == "PATCH" => json!({ "email": "evil@example.org" }),
            _ => json!({}),
        };
        let body = (method != "DELETE").then(|| body.to_string());
        let refused = by_access_token.call(&method, &path, body, &[]);
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (403, &json!("session-token-required")),
            "{method} {path}"
        );
    }
    ann.get("/api/v1/whoami").expect(200);
}

#[test]
fn nobody_takes_over_the_account_of_who_can_do_more_than_they() {
    let server = Server::start();
    let admin = server.admin();
    let clerk = clerk(&admin);
    let boss = admin.create_user(&json!({ "username": "boss", "email": "boss@example.org" }));
    admin.assign(&boss, &admin.role_id("administrator"));
    let path = format!("/api/v1/users/{boss}");
    let refused = |reply: crate::harness::Reply| {
        reply.is_problem(403, "escalation");
    };
    refused(clerk.patch(&path, &json!({ "email": "clerk@example.org", "email_verified": true })));
    refused(clerk.patch(&path, &json!({ "email_verified": true })));
    refused(clerk.patch(&path, &json!({ "username": "other" })));
    refused(clerk.patch(&path, &json!({ "properties": { "level": 9 } })));
    refused(clerk.delete(&format!("{path}/mfa")));
    refused(clerk.post(&format!("{path}/invitation"), &json!({})));
    refused(clerk.patch(&path, &json!({ "external_id": "crm-1" })));
    // Nor do they let act again who was suspended, by themselves or by an application.
    admin.post(&format!("{path}/suspend"), &json!({})).expect(200);
    refused(clerk.post(&format!("{path}/activate"), &json!({})));
    admin.role("keeper", &["sesame.users:write"]);
    refused(admin.app("keeping", &["keeper"]).post(&format!("{path}/activate"), &json!({})));
    admin.post(&format!("{path}/activate"), &json!({})).expect(200);
    admin.patch(&path, &json!({ "external_id": "crm-1" })).expect(200);
    admin.post(&format!("{path}/invitation"), &json!({})).expect(202);
    // Of who can do less, everything.
    let plain = admin.create_user(&json!({ "username": "plain", "email": "plain@example.org" }));
    let path = format!("/api/v1/users/{plain}");
    clerk.patch(&path, &json!({ "email": "p@example.org", "properties": { "level": 9 } })).expect(200);
    clerk.patch(&path, &json!({ "external_id": "crm-2" })).expect(200);
    clerk.post(&format!("{path}/invitation"), &json!({})).expect(202);
    clerk.delete(&format!("{path}/mfa")).expect(204);
    clerk.post(&format!("{path}/suspend"), &json!({})).expect(200);
    clerk.post(&format!("{path}/activate"), &json!({})).expect(200);
    let grant = json!({ "permission": "sesame.audit:read", "condition": "subject.properties.level > 5" });
    // Nobody makes true what their own rights ask for: such rights are not given.
    admin.post(&format!("/api/v1/users/{}/permissions", clerk.id), &grant).is_problem(400, "invalid-fields");
}

//! Sessions as their owners and administrators see them: lists, ends and reasons, devices, refresh tokens, limits.

use serde_json::{Value, json};

use sesame::sessions::risk::Response;
use sesame::sessions::terms::LimitPolicy;

use crate::harness::{Admin, PASSWORD, Reply, Server, SignedIn};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";

fn with_ann(server: &Server) -> Admin {
    let admin = server.admin();
    admin.create_user(&json!({ "username": "ann", "password": PASSWORD }));
    admin
}

fn sign_in(server: &Server) -> SignedIn {
    server.anonymous().sign_in("ann", PASSWORD)
}

fn items(reply: &Reply) -> Vec<Value> {
    reply.expect(200)["items"].as_array().unwrap().clone()
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["id"].as_str().unwrap()).collect()
}

/// Reasons of what is over, newest first.
fn reasons(client: &SignedIn) -> Vec<String> {
    let ended = items(&client.get("/api/v1/users/sessions?ended=true"));
    ended.iter().map(|session| session["reason"].as_str().unwrap().to_owned()).collect()
}

fn why_refused(server: &Server, token: &str) -> String {
    let reply = server.anonymous().bearing(token).get("/api/v1/whoami");
    assert_eq!(reply.status, 401);
    reply.is_whole_problem().text("code")
}

#[test]
fn people_see_where_they_are_signed_in_and_end_what_they_like() {
    let server = Server::start();
    with_ann(&server);
    let sessions: Vec<_> = (0..4).map(|_| sign_in(&server)).collect();
    let here = &sessions[0];
    let listed = items(&here.get("/api/v1/users/sessions"));
    assert_eq!(ids(&listed), sessions.iter().map(|session| session.session_id.as_str()).collect::<Vec<_>>());
    let current: Vec<_> = listed.iter().map(|session| session["is_current"].as_bool().unwrap()).collect();
    assert_eq!(current, [true, false, false, false]);
    here.delete(&format!("/api/v1/users/sessions/{}", sessions[1].session_id)).expect(204);
    assert_eq!(why_refused(&server, &sessions[1].session_token), "session-revoked");
    assert_eq!(why_refused(&server, &sessions[1].access_token), "session-revoked");
    here.delete(&format!("/api/v1/users/sessions/{}", sessions[1].session_id)).is_problem(404, "not-found");
    assert_eq!(here.delete("/api/v1/users/sessions/all?keep_current=true").expect(200), json!({ "ended": 2 }));
    assert_eq!(here.get("/api/v1/whoami").status, 200);
    assert_eq!(reasons(here), ["revoked_by_owner"; 3]);
    assert_eq!(here.delete("/api/v1/users/sessions/all").expect(200), json!({ "ended": 1 }));
    assert_eq!(why_refused(&server, &here.session_token), "session-revoked");
}

#[test]
fn nobody_sees_or_ends_the_sessions_of_others() {
    let server = Server::start();
    let admin = with_ann(&server);
    let (ann, bob) = (sign_in(&server), admin.person("bob"));
    assert_eq!(ids(&items(&bob.get("/api/v1/users/sessions"))), [bob.session_id.as_str()]);
    bob.delete(&format!("/api/v1/users/sessions/{}", ann.session_id)).is_problem(404, "not-found");
    bob.delete(&format!("/api/v1/users/devices/{}", ann.device_id)).is_problem(404, "not-found");
    let path = format!("/api/v1/users/{}/sessions", ann.id);
    bob.get(&path).is_problem(403, "missing-permission");
    bob.delete(&format!("{path}/{}", ann.session_id)).is_problem(403, "missing-permission");
    bob.delete("/api/v1/sessions/all").is_problem(403, "missing-permission");
    assert_eq!(ann.get("/api/v1/whoami").status, 200);
}

#[test]
fn administrators_end_the_sessions_of_a_user_and_of_everybody() {
    let server = Server::start();
    let admin = with_ann(&server);
    let (one, other, bob) = (sign_in(&server), sign_in(&server), admin.person("bob"));
    let path = format!("/api/v1/users/{}/sessions", one.id);
    assert_eq!(ids(&items(&admin.get(&path))), [one.session_id.as_str(), other.session_id.as_str()]);
    admin.delete(&format!("{path}/{}", one.session_id)).expect(204);
    assert_eq!(why_refused(&server, &one.session_token), "session-revoked");
    let ended = items(&other.get("/api/v1/users/sessions?ended=true"));
    assert_eq!(
        (&ended[0]["reason"], &ended[0]["ended_by"]),
        (&json!("revoked_by_administrator"), &json!("administrator"))
    );
    assert_eq!(admin.delete(&format!("{path}/all")).expect(200), json!({ "ended": 1 }));
    assert_eq!(why_refused(&server, &other.session_token), "session-revoked");
    let ann = sign_in(&server);
    // The same path for oneself, and for others, among whose sessions the one that asks is not.
    let own = format!("/api/v1/users/{}/sessions/all", admin.id);
    admin.delete(&format!("{own}?keep=true")).is_problem(400, "invalid-input").names_field("keep");
    assert_eq!(admin.delete(&format!("{own}?keep_current=true")).expect(200), json!({ "ended": 0 }));
    assert_eq!(admin.get("/api/v1/whoami").status, 200);
    assert_eq!(admin.delete(&format!("{path}/all?keep_current=true")).expect(200), json!({ "ended": 1 }));
    assert_eq!(why_refused(&server, &ann.session_token), "session-revoked");
    let ann = sign_in(&server);
    assert_eq!(admin.delete("/api/v1/sessions/all?keep_current=true").expect(200), json!({ "ended": 2 }));
    for session in [&ann, &bob] {
        assert_eq!(why_refused(&server, &session.session_token), "session-revoked");
    }
    assert_eq!(admin.delete("/api/v1/sessions/all").expect(200), json!({ "ended": 1 }));
    assert_eq!(why_refused(&server, &admin.session_token), "session-revoked");
}

#[test]
fn everything_that_ends_a_session_says_so() {
    let server = Server::with(|config| {
        (config.sessions.idle_timeout_seconds, config.sessions.lifetime_seconds) = (600, 1000);
        config.sessions.max_per_user = 2;
    });
    with_ann(&server);
    let (idle, old) = (sign_in(&server), sign_in(&server));
    server.clock.advance_seconds(500);
    assert_eq!(old.get("/api/v1/whoami").status, 200);
    server.clock.advance_seconds(500);
    assert_eq!(why_refused(&server, &idle.session_token), "session-idle");
    assert_eq!(why_refused(&server, &old.session_token), "session-expired");
    let evicted = sign_in(&server);
    server.clock.advance_seconds(1);
    let (_, last) = (sign_in(&server), sign_in(&server));
    assert_eq!(why_refused(&server, &evicted.session_token), "session-evicted");
    assert_eq!(why_refused(&server, &idle.session_token), "session-idle");
    assert_eq!(why_refused(&server, &old.session_token), "session-expired");
    assert_eq!(reasons(&last), ["evicted", "expired", "idle"]);
    // The administrator was idle too long as well.
    server.admin().post(&format!("/api/v1/users/{}/suspend", last.id), &json!({})).expect(200);
    assert_eq!(why_refused(&server, &last.session_token), "session-suspended");
    let (rest, end) = last.session_token.split_at(last.session_token.len() - 1);
    let forged = format!("{rest}{}", if end == "A" { "Q" } else { "A" });
    assert_eq!(why_refused(&server, &forged), "unauthenticated");
    server.clock.advance_seconds(31 * 86_400);
    assert_eq!(why_refused(&server, &evicted.session_token), "unauthenticated", "it is told for a time only");
}

#[test]
fn who_ended_a_session_is_told_truly_and_administrators_are_told_which_one() {
    let server = Server::with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        config.sessions.max_per_user = 2;
        config.sessions.risk_high = Response::Revoke;
    });
    let (admin, nobody, nothing) = (server.admin(), server.anonymous(), json!({}));
    let (app, form) =
        (admin.app("keeper", &["administrator"]), [("Content-Type", "application/x-www-form-urlencoded")]);
    let sign_in = |name: &str| nobody.sign_in(name, PASSWORD);
    let person = |name: &str| {
        let email = format!("{name}@example.org");
        admin.create_user(&json!({ "username": name, "email": email, "password": PASSWORD }));
        sign_in(name)
    };
    let told = |name: &str, session: &SignedIn, by: &str, id: Option<&str>| {
        let find = |list: &Reply| items(list).into_iter().find(|one| one["id"] == json!(session.session_id)).unwrap();
        let seen = find(&app.get(&format!("/api/v1/users/{}/sessions?ended=true", session.id)));
        assert_eq!((&seen["reason"], &seen["ended_by"]), (&json!(name), &json!(by)), "{seen}");
        assert_eq!(seen["ended_by_id"], json!(id), "{seen}");
        let own = find(&sign_in(name).get("/api/v1/users/sessions?ended=true"));
        assert_eq!((&own["reason"], &own["ended_by"], own.get("ended_by_id")), (&json!(name), &json!(by), None));
    };
    let one = person("signed_out");
    one.post("/api/v1/auth/logout", &nothing).expect(204);
    told("signed_out", &one, "owner", None);
    let one = person("suspended");
    admin.post(&format!("/api/v1/users/{}/suspend", one.id), &nothing).expect(200);
    admin.post(&format!("/api/v1/users/{}/activate", one.id), &nothing).expect(200);
    told("suspended", &one, "administrator", Some(&admin.id));
    let one = person("evicted");
    server.clock.advance_seconds(1);
    let _newer = [sign_in("evicted"), sign_in("evicted")];
    told("evicted", &one, "system", None);
    let one = person("revoked_by_owner");
    sign_in("revoked_by_owner").delete(&format!("/api/v1/users/sessions/{}", one.session_id)).expect(204);
    told("revoked_by_owner", &one, "owner", None);
    let one = person("revoked_by_administrator");
    for (by, id, client) in [("administrator", &admin.id, &**admin), ("app", &app.id, &*app)] {
        let one = if by == "app" { sign_in("revoked_by_administrator") } else { one.clone() };
        client.delete(&format!("/api/v1/users/{}/sessions/{}", one.id, one.session_id)).expect(204);
        told("revoked_by_administrator", &one, by, Some(id));
    }
    let one = person("token_revoked");
    let token = Some(format!("token={}", one.refresh_token));
    assert_eq!(app.call("POST", "/oauth2/revoke", token, &form).status, 200);
    told("token_revoked", &one, "app", Some(&app.id));
    let one = person("device_signed_out");
    sign_in("device_signed_out").delete(&format!("/api/v1/users/devices/{}/sessions", one.device_id)).expect(200);
    told("device_signed_out", &one, "owner", None);
    let one = person("factor_changed");
    one.post("/api/v1/auth/mfa/totp", &nothing).expect(200);
    admin.delete(&format!("/api/v1/users/{}/mfa", one.id)).expect(204);
    told("factor_changed", &one, "administrator", Some(&admin.id));
    let (one, refresh) = (person("refresh_reused"), "/api/v1/auth/refresh");
    let body = json!({ "refresh_token": one.refresh_token });
    nobody.post(refresh, &body).expect(200);
    server.clock.advance_seconds(60);
    nobody.post(refresh, &body).is_problem(401, "session-refresh-reused");
    told("refresh_reused", &one, "system", None);
    let one = person("risk");
    let elsewhere = [("User-Agent", FIREFOX), ("X-Forwarded-For", "203.0.113.9")];
    one.call("GET", "/api/v1/users/sessions", None, &elsewhere).is_problem(401, "session-risk");
    told("risk", &one, "system", None);
    let one = person("idle");
    server.clock.advance_seconds(3600);
    told("idle", &one, "system", None);
}

/// A password that is set is another one afterwards, and a browser that signs in anew is the same.
#[test]
fn who_sets_a_password_or_signs_in_anew_ended_the_session_as_its_owner() {
    let server = Server::start();
    let admin = server.admin();
    admin.create_user(&json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD }));
    let (one, other, new) = (sign_in(&server), sign_in(&server), "quite another horse");
    let change = json!({ "current_password": PASSWORD, "new_password": new });
    one.post("/api/v1/auth/password/change", &change).expect(204);
    server.anonymous().post("/api/v1/auth/password/forgot", &json!({ "identifier": "ann" })).expect(202);
    let token = admin.mailed_token("ann@example.org", "reset-password");
    let reset = json!({ "token": token, "password": PASSWORD });
    server.anonymous().post("/api/v1/auth/password/reset", &reset).expect(204);
    let log_in = |cookie: &str| {
        let body = json!({ "identifier": "ann", "password": PASSWORD, "transport": "cookie" }).to_string();
        let headers = [("Cookie", cookie), ("Sec-Fetch-Site", "same-origin")];
        let reply = server.anonymous().call("POST", "/api/v1/auth/login", Some(body), &headers);
        reply.expect(200);
        reply.headers_named("set-cookie").find(|one| one.starts_with("__Host-sesame=")).unwrap().to_owned()
    };
    let first = log_in("");
    log_in(first.split(';').next().unwrap());
    let ended = items(&admin.get(&format!("/api/v1/users/{}/sessions?ended=true", other.id)));
    let mut told: Vec<_> =
        ended.iter().map(|one| (one["reason"].as_str().unwrap(), one["ended_by"].as_str().unwrap())).collect();
    told.sort_unstable();
    assert_eq!(told, [("password_changed", "owner"), ("password_reset", "owner"), ("replaced", "owner")]);
}

/// What a policy ends is refused as exactly as what somebody revokes, and measured likewise.
#[test]
fn what_a_policy_ends_is_measured_as_what_is_revoked() {
    let server = Server::with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        config.sessions.max_per_user = 2;
        config.sessions.risk_high = Response::Revoke;
    });
    with_ann(&server);
    let metrics = &server.state().metrics;
    let measured = |what: &str, expected: u64, done: &dyn Fn()| {
        let before = metrics.revocation_visible_seconds.get_sample_count();
        done();
        assert_eq!(metrics.revocation_visible_seconds.get_sample_count() - before, expected, "{what}");
    };
    let refresh = |one: &SignedIn| {
        server.anonymous().post("/api/v1/auth/refresh", &json!({ "refresh_token": one.refresh_token })).status
    };
    let one = sign_in(&server);
    measured("room for two", 0, &|| drop(sign_in(&server)));
    server.clock.advance_seconds(1);
    measured("evicted", 1, &|| drop(sign_in(&server)));
    measured("evicted already", 0, &|| assert_eq!(refresh(&one), 401));
    let one = sign_in(&server);
    measured("refreshed", 0, &|| assert_eq!(refresh(&one), 200));
    server.clock.advance_seconds(60);
    measured("reused", 1, &|| assert_eq!(refresh(&one), 401));
    let one = sign_in(&server);
    let ask = |headers: &[(&str, &str)]| one.call("GET", "/api/v1/users/sessions", None, headers).status;
    measured("a new network", 0, &|| assert_eq!(ask(&[("X-Forwarded-For", "203.0.113.9")]), 200));
    measured("another program", 1, &|| {
        assert_eq!(ask(&[("User-Agent", FIREFOX), ("X-Forwarded-For", "203.0.113.9")]), 401);
    });
}

#[test]
fn why_a_session_ended_is_known_after_a_restart() {
    let server = Server::durable();
    with_ann(&server);
    let (one, other) = (sign_in(&server), sign_in(&server));
    one.post("/api/v1/auth/logout", &json!({})).expect(204);
    let server = server.restarted();
    assert_eq!(why_refused(&server, &one.session_token), "session-signed-out");
    let other = server.anonymous().bearing(&other.session_token);
    let ended = items(&other.get("/api/v1/users/sessions?ended=true"));
    assert_eq!((ended.len(), &ended[0]["reason"]), (1, &json!("signed_out")));
}

#[test]
fn a_device_is_recognised_by_its_token_named_trusted_and_signed_out() {
    // The tests' client calls, whatever program signed in.
    let server = Server::with(|config| config.sessions.watch_bearer_tokens = false);
    with_ann(&server);
    let nobody = server.anonymous();
    let body = json!({ "identifier": "ann", "password": PASSWORD, "device": { "name": "laptop" } });
    let laptop = nobody.sign_in_with(&body, &[("User-Agent", FIREFOX)]);
    let body = |token: &str| json!({ "identifier": "ann", "password": PASSWORD, "device": { "token": token } });
    let again = nobody.sign_in_with(&body(&laptop.device_token), &[("User-Agent", FIREFOX)]);
    assert_eq!((&again.device_id, &again.device_token), (&laptop.device_id, &laptop.device_token));
    let phone = nobody.sign_in_with(&body(""), &[("User-Agent", IPHONE)]);
    let devices = items(&laptop.get("/api/v1/users/devices"));
    assert_eq!(ids(&devices), [laptop.device_id.as_str(), phone.device_id.as_str()]);
    let told =
        |device: &Value| ["name", "kind", "os", "browser", "trusted", "is_current"].map(|key| device[key].clone());
    assert_eq!(json!(told(&devices[0])), json!(["laptop", "desktop", "Linux", "Firefox", false, true]));
    assert_eq!(json!(told(&devices[1])), json!([null, "mobile", "iPhone", "Safari", false, false]));
    let path = format!("/api/v1/users/devices/{}", phone.device_id);
    let changed = laptop.patch(&path, &json!({ "name": "phone", "trusted": true })).expect(200);
    assert_eq!((&changed["name"], &changed["trusted"]), (&json!("phone"), &json!(true)));
    laptop.patch(&path, &json!({ "name": "x".repeat(65) })).is_problem(400, "invalid-input").names_field("name");
    laptop.delete(&path).expect(204);
    assert_eq!(why_refused(&server, &phone.session_token), "session-revoked");
    assert_eq!(items(&laptop.get("/api/v1/users/devices")).len(), 1);
    assert_eq!(reasons(&laptop), ["device_signed_out"]);
    let events = items(&laptop.get("/api/v1/users/security-events"));
    let event = &events[0];
    assert_eq!((events.len(), &event["occasion"]), (1, &json!("sign_in")), "the first device is nothing unusual");
    assert_eq!(event["risk"], json!({ "level": "medium", "reasons": ["new_device"] }));
    assert_eq!((&event["response"], &event["session_id"]), (&json!("notify"), &json!(phone.session_id)));
}

#[test]
fn devices_are_changed_only_as_they_were_seen_and_lists_come_in_pages() {
    let server = Server::start();
    let admin = with_ann(&server);
    let all: Vec<_> = (0..5).map(|_| sign_in(&server)).collect();
    let own = &all[0];
    let path = format!("/api/v1/users/devices/{}", own.device_id);
    let seen = items(&own.get("/api/v1/users/devices"))[0]["version"].to_string();
    let send = |method: &str, path: &str, body: Option<&Value>, version: &str| {
        own.call(method, path, body.map(Value::to_string), &[("If-Match", &format!("\"{version}\""))])
    };
    let named = send("PATCH", &path, Some(&json!({ "name": "laptop" })), &seen);
    let version = named.expect(200)["version"].to_string();
    assert_eq!(named.header("etag"), Some(&*format!("\"{version}\"")));
    send("PATCH", &path, Some(&json!({ "trusted": true })), &seen).is_problem(412, "version-mismatch");
    send("DELETE", &path, None, &seen).is_problem(412, "version-mismatch");
    send("PATCH", &path, Some(&json!({ "trusted": true })), &version).expect(200);
    let theirs = format!("/api/v1/users/{}/devices/{}", own.id, own.device_id);
    let stale = admin.call("PATCH", &theirs, Some("{}".into()), &[("If-Match", &format!("\"{version}\""))]);
    stale.is_problem(412, "version-mismatch");
    send("PATCH", &path, Some(&json!({ "trusted": false })), "x").is_problem(400, "invalid-input");
    server.clock.advance_seconds(1);
    for one in &all[1..] {
        one.post("/api/v1/auth/logout", &json!({})).expect(204);
    }
    let lists = ["/api/v1/users/devices", "/api/v1/users/security-events", "/api/v1/users/sessions?ended=true"];
    let others = ["devices", "security-events", "sessions?ended=true"];
    let others = others.map(|list| format!("/api/v1/users/{}/{list}", own.id));
    for (list, by) in lists.iter().map(|list| (*list, own)).chain(others.iter().map(|list| (&**list, &*admin))) {
        let and = if list.contains('?') { '&' } else { '?' };
        let whole = items(&by.get(list));
        assert!(whole.len() >= 4, "{list}: {whole:?}");
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = by.get(&format!("{list}{and}limit=2&cursor={cursor}")).expect(200);
            let found = page["items"].as_array().unwrap();
            assert!(!found.is_empty() && found.len() <= 2, "{list}");
            paged.extend(found.iter().cloned());
            assert!(paged.len() <= whole.len(), "{list} has no end");
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = next.to_owned();
        }
        assert_eq!(ids(&paged), ids(&whole), "{list}");
        by.get(&format!("{list}{and}limit=0")).is_problem(400, "invalid-input").names_field("limit");
        by.get(&format!("{list}{and}page=2")).is_problem(400, "invalid-input").names_field("page");
    }
}

#[test]
fn a_device_is_signed_out_and_known_again_and_administrators_see_to_devices() {
    let server = Server::start();
    let admin = with_ann(&server);
    let (laptop, phone) = (sign_in(&server), sign_in(&server));
    let path = format!("/api/v1/users/devices/{}", phone.device_id);
    laptop.patch(&path, &json!({ "trusted": true })).expect(200);
    assert_eq!(laptop.delete(&format!("{path}/sessions")).expect(200), json!({ "ended": 1 }));
    assert_eq!(laptop.delete(&format!("{path}/sessions")).expect(200), json!({ "ended": 0 }));
    assert_eq!(why_refused(&server, &phone.session_token), "session-revoked");
    assert_eq!(reasons(&laptop), ["device_signed_out"]);
    let body = json!({ "identifier": "ann", "password": PASSWORD, "device": { "token": phone.device_token } });
    let again = server.anonymous().sign_in_with(&body, &[]);
    assert_eq!(again.device_id, phone.device_id);
    // Who is trusted is not decided with a token that others were given, nor long after a proof.
    let borrowed = laptop.bearing(&laptop.access_token);
    borrowed.patch(&path, &json!({ "trusted": false })).is_problem(403, "session-token-required");
    borrowed.patch(&path, &json!({ "name": "mine" })).expect(200);
    let missing = "dev_01h455vb4pex5vsknk084sn02q";
    laptop.delete(&format!("/api/v1/users/devices/{missing}/sessions")).is_problem(404, "not-found");
    // The same for administrators.
    let theirs = |device: &str| format!("/api/v1/users/{}/devices/{device}", laptop.id);
    let changed = admin.patch(&theirs(&phone.device_id), &json!({ "name": "lost", "trusted": false })).expect(200);
    assert_eq!((&changed["name"], &changed["trusted"]), (&json!("lost"), &json!(false)));
    admin.patch(&theirs(missing), &json!({ "trusted": true })).is_problem(404, "not-found");
    let warden = admin.person("warden");
    admin.assign(&warden.id, &admin.role("warden", &["sesame.sessions:write"]));
    warden.patch(&theirs(&phone.device_id), &json!({ "trusted": true })).expect(200);
    let boss = format!("/api/v1/users/{}/devices/{}", admin.id, admin.device_id);
    warden.patch(&boss, &json!({ "trusted": true })).is_problem(403, "escalation");
    warden.patch(&boss, &json!({ "name": "hers" })).expect(200);
    server.clock.advance_seconds(600);
    for (by, path) in [(&laptop, &path), (&*admin, &boss)] {
        by.patch(path, &json!({ "trusted": true })).is_problem(401, "reauthentication-required");
    }
    let body = json!({ "identifier": "ann", "password": PASSWORD, "device": { "token": laptop.device_token } });
    let (laptop, admin) = (server.anonymous().sign_in_with(&body, &[]), server.admin());
    let ended = admin.delete(&format!("{}/sessions", theirs(&phone.device_id))).expect(200);
    assert_eq!(ended, json!({ "ended": 1 }));
    assert_eq!(items(&laptop.get("/api/v1/users/devices")).len(), 2, "it is known");
    server.clock.advance_seconds(600);
    admin.delete(&format!("{}/sessions", theirs(&laptop.device_id))).is_problem(401, "reauthentication-required");
    laptop.delete(&format!("{path}/sessions")).is_problem(401, "reauthentication-required");
}

#[test]
fn a_stolen_or_forged_device_token_makes_nobody_another_device() {
    let server = Server::start();
    let admin = with_ann(&server);
    let (ann, bob) = (sign_in(&server), admin.person("bob"));
    let with = |name: &str, token: &str| {
        let body = json!({ "identifier": name, "password": PASSWORD, "device": { "token": token } });
        server.anonymous().sign_in_with(&body, &[])
    };
    // The same browser is a device of each of its users.
    let shared = with("bob", &ann.device_token);
    assert_eq!((&shared.device_id, &shared.device_token), (&ann.device_id, &ann.device_token));
    assert_ne!(shared.device_id, bob.device_id);
    for token in ["", "ssm_dv_", &ann.session_token, &ann.device_token[..90]] {
        let other = with("ann", token);
        assert_ne!(other.device_id, ann.device_id);
        assert_ne!(other.device_token, token);
    }
}

#[test]
fn a_new_sign_in_takes_the_place_of_the_session_that_came_with_it() {
    let server = Server::start();
    let admin = with_ann(&server);
    let (ann, bob) = (sign_in(&server), admin.person("bob"));
    let log_in = |bearer: &SignedIn| {
        bearer.post("/api/v1/auth/login", &json!({ "identifier": "ann", "password": PASSWORD })).expect(200)
    };
    log_in(&ann);
    assert_eq!(why_refused(&server, &ann.session_token), "session-replaced");
    log_in(&ann);
    log_in(&bob);
    assert_eq!(bob.get("/api/v1/whoami").status, 200, "it is somebody else's");
}

#[test]
fn remembered_sessions_last_longer() {
    let server = Server::start();
    with_ann(&server);
    let body = json!({ "identifier": "ann", "password": PASSWORD, "remember": true });
    let session = server.anonymous().sign_in_with(&body, &[]);
    let shown = session.get("/api/v1/whoami").expect(200)["session"].clone();
    assert_eq!(shown["idle_expires_at"], "2025-12-07T12:00:00.000Z");
    assert_eq!((&shown["expires_at"], &shown["is_remembered"]), (&json!("2025-12-23T12:00:00.000Z"), &json!(true)));
}

#[test]
fn a_full_account_refuses_evicts_the_oldest_or_the_least_recently_used() {
    for (policy, expected) in [
        (LimitPolicy::Deny, [true, true, true, false]),
        (LimitPolicy::EvictOldest, [false, true, true, true]),
        (LimitPolicy::EvictLeastRecent, [true, false, true, true]),
    ] {
        let server = Server::with(|config| {
            (config.sessions.max_per_user, config.sessions.limit_policy) = (3, policy);
        });
        with_ann(&server);
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(sign_in(&server));
            server.clock.advance_seconds(10);
        }
        assert_eq!(sessions[0].get("/api/v1/whoami").status, 200);
        server.clock.advance_seconds(10);
        let last = server.anonymous().log_in("ann", PASSWORD);
        let is_alive = |session: &SignedIn| session.get("/api/v1/whoami").status == 200;
        let mut alive: Vec<bool> = sessions.iter().map(is_alive).collect();
        alive.push(last.status == 200);
        assert_eq!(alive, expected, "{policy}");
        if policy == LimitPolicy::Deny {
            last.is_problem(409, "too-many-sessions");
        }
    }
}

#[test]
fn a_hundred_sign_ins_at_once_leave_as_many_sessions_as_are_allowed() {
    for policy in [LimitPolicy::Deny, LimitPolicy::EvictOldest, LimitPolicy::EvictLeastRecent] {
        let server = Server::with(|config| {
            (config.sessions.max_per_user, config.sessions.limit_policy) = (5, policy);
            (config.accounts.hash_queue, config.accounts.max_login_attempts) = (1000, 1000);
            config.actors.mailbox_capacity = 1000;
        });
        let admin = with_ann(&server);
        let replies: Vec<Reply> = std::thread::scope(|scope| {
            let log_in = || server.anonymous().log_in("ann", PASSWORD);
            let threads: Vec<_> = (0..100).map(|_| scope.spawn(log_in)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let tokens: Vec<String> =
            replies.iter().filter(|reply| reply.status == 200).map(|reply| reply.text("session_token")).collect();
        let app = admin.app("shop", &["checker"]);
        let alive = tokens.iter().filter(|token| app.introspect(token)["active"] == true).count();
        assert_eq!(alive, 5, "{policy}");
        let expected = if policy == LimitPolicy::Deny { 5 } else { 100 };
        assert_eq!(tokens.len(), expected, "{policy}: {:?}", replies.iter().map(|it| it.status).collect::<Vec<_>>());
    }
}

fn refresh(server: &Server, token: &str, user_agent: &str) -> Reply {
    let body = json!({ "refresh_token": token }).to_string();
    server.anonymous().call("POST", "/api/v1/auth/refresh", Some(body), &[("User-Agent", user_agent)])
}

#[test]
fn a_refresh_token_is_good_once_and_a_lost_answer_is_given_again() {
    let server = Server::start();
    with_ann(&server);
    let body = json!({ "identifier": "ann", "password": PASSWORD });
    let session = server.anonymous().sign_in_with(&body, &[("User-Agent", "app/1")]);
    let first = refresh(&server, &session.refresh_token, "app/1");
    let access_token = first.expect(200)["access_token"].as_str().unwrap().to_owned();
    assert_eq!(server.anonymous().bearing(&access_token).get("/api/v1/whoami").status, 200);
    server.clock.advance_seconds(9);
    let again = refresh(&server, &session.refresh_token, "app/1");
    assert_eq!(again.expect(200)["refresh_token"], first.json()["refresh_token"], "the answer was lost");
    let second = refresh(&server, &first.text("refresh_token"), "app/1").text("refresh_token");
    refresh(&server, &first.text("refresh_token"), "another/1").is_problem(401, "session-refresh-reused");
    for token in [&session.refresh_token, &second] {
        refresh(&server, token, "app/1").is_problem(401, "session-refresh-reused");
    }
    assert_eq!(why_refused(&server, &session.session_token), "session-refresh-reused");
    let events = items(&sign_in(&server).get("/api/v1/users/security-events"));
    let reuse = events.iter().find(|event| event["occasion"] == "refresh").unwrap();
    assert_eq!(reuse["risk"], json!({ "level": "high", "reasons": ["refresh_reused"] }));
}

#[test]
fn a_refresh_token_outlives_a_restart_and_never_its_session() {
    let server = Server::durable();
    with_ann(&server);
    let session = sign_in(&server);
    let agent = "ureq/3";
    let next = |server: &Server, token: &str| refresh(server, token, agent).text("refresh_token");
    // The sign-in was by another program name: from here on the client is the same.
    let one = next(&server, &session.refresh_token);
    let server = server.restarted();
    let two = next(&server, &one);
    server.clock.advance_seconds(3600);
    refresh(&server, &two, agent).is_problem(401, "session-idle");
    for token in ["", "x", "ssm_rt_", &session.session_token, &two[..two.len() - 1], &format!("{two}A")] {
        refresh(&server, token, agent).is_problem(401, "invalid-refresh-token");
    }
}

#[test]
fn an_application_revokes_any_token_of_a_session() {
    let server = Server::start();
    let admin = with_ann(&server);
    let app = admin.app("shop", &[]);
    let revoke = |token: &str| {
        let form = Some(format!("token={token}&token_type_hint=access_token"));
        app.call("POST", "/oauth2/revoke", form, &[("Content-Type", "application/x-www-form-urlencoded")])
    };
    for kind in 0..3 {
        let session = sign_in(&server);
        let token = [&session.session_token, &session.access_token, &session.refresh_token][kind];
        assert_eq!(revoke(token).status, 200);
        assert_eq!(why_refused(&server, &session.session_token), "session-revoked");
        assert_eq!(revoke(token).status, 200, "once more changes nothing");
    }
    for token in ["x", "ssm_rt_x", "ssm_st_x", ""] {
        assert_eq!(revoke(token).status, 200, "{token}");
    }
    revoke(&app.key).is_problem(400, "unsupported-token-type");
    let metadata = server.anonymous().get("/.well-known/oauth-authorization-server").expect(200);
    assert_eq!(metadata["revocation_endpoint"], "http://127.0.0.1:8080/oauth2/revoke");
    let none = json!([]);
    assert_eq!((&metadata["response_types_supported"], &metadata["grant_types_supported"]), (&none, &none));
}

#[test]
fn a_session_that_is_used_all_the_time_is_written_once_a_minute() {
    let server = Server::start();
    with_ann(&server);
    let session = sign_in(&server);
    let commits = || server.state().store.revision().0;
    let before = commits();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for _ in 0..600 {
        server.clock.advance_seconds(1);
        assert_eq!(session.get("/api/v1/whoami").status, 200);
        runtime.block_on(sesame::housekeeping::write_last_uses(server.state(), 60_000));
    }
    let minutes = 10;
    let written = commits() - before;
    assert!((minutes - 1..=minutes).contains(&written), "{written} writes in {minutes} minutes");
}

#[test]
fn to_end_other_sessions_one_proves_again_who_one_is() {
    let server = Server::start();
    let admin = with_ann(&server);
    let (own, other) = (sign_in(&server), sign_in(&server));
    server.clock.advance_seconds(600);
    let of_other = format!("/api/v1/users/sessions/{}", other.session_id);
    let device = format!("/api/v1/users/devices/{}", other.device_id);
    for path in [&of_other, &device, "/api/v1/users/sessions/all", "/api/v1/users/sessions/all?keep_current=true"] {
        own.delete(path).is_problem(401, "reauthentication-required");
    }
    for path in [
        format!("/api/v1/users/{}/sessions/all", own.id),
        format!("/api/v1/users/{}/sessions/{}", own.id, own.session_id),
        format!("/api/v1/users/{}/devices/{}", own.id, own.device_id),
        "/api/v1/sessions/all".to_owned(),
    ] {
        admin.delete(&path).is_problem(401, "reauthentication-required");
    }
    let renewed = own.post("/api/v1/auth/reauthenticate", &json!({ "password": PASSWORD })).expect(200);
    server.anonymous().bearing(renewed["session_token"].as_str().unwrap()).delete(&of_other).expect(204);
    own.get("/api/v1/whoami").is_problem(401, "unauthenticated");
    let third = sign_in(&server);
    server.clock.advance_seconds(600);
    third.delete(&format!("/api/v1/users/sessions/{}", third.session_id)).expect(204);
}

#[test]
fn a_new_proof_makes_every_token_before_it_worthless() {
    let server = Server::start();
    with_ann(&server);
    let own = sign_in(&server);
    let old = server.anonymous().bearing(&own.access_token);
    assert_eq!(old.get("/api/v1/whoami").status, 200);
    // In the same second, and in the same millisecond.
    let renewed = own.post("/api/v1/auth/reauthenticate", &json!({ "password": PASSWORD }));
    renewed.expect(200);
    old.get("/api/v1/whoami").is_problem(401, "unauthenticated");
    old.post("/api/v1/auth/mfa/totp", &json!({})).is_problem(401, "unauthenticated");
    refresh(&server, &own.refresh_token, "ureq/3").is_problem(401, "invalid-refresh-token");
    let fresh = server.anonymous().bearing(&renewed.text("access_token"));
    assert_eq!(fresh.get("/api/v1/whoami").status, 200);
    let fresh = server.anonymous().bearing(&renewed.text("session_token"));
    fresh.post("/api/v1/auth/mfa/totp", &json!({})).expect(200);
    let next = refresh(&server, &renewed.text("refresh_token"), "ureq/3");
    next.expect(200);
    let next = server.anonymous().bearing(&next.text("access_token"));
    assert_eq!(next.get("/api/v1/whoami").status, 200);
}

#[test]
fn the_last_256_sessions_say_why_they_are_over_each_by_its_own_number() {
    let server = Server::durable();
    server.admin().create_user(&json!({ "username": "ann", "password": PASSWORD }));
    let log_in = || server.anonymous().sign_in("ann", PASSWORD);
    let kept = log_in();
    let tokens: Vec<_> = (0..260)
        .map(|_| {
            let session = log_in();
            session.post("/api/v1/auth/logout", &json!({})).expect(204);
            session.session_token
        })
        .collect();
    let server = server.restarted();
    let refused = |token: &str| server.anonymous().bearing(token).get("/api/v1/whoami");
    for token in &tokens[4..] {
        refused(token).is_problem(401, "session-signed-out");
    }
    for token in &tokens[..4] {
        refused(token).is_problem(401, "unauthenticated");
    }
    assert_eq!(refused(&kept.session_token).status, 200);
}

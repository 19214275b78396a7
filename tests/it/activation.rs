//! Sessions that use some of their person's roles, and dynamic separation of duty: what is not in force together.

use serde_json::{Value, json};

use crate::harness::{Admin, App, Client, PASSWORD, Reply, Server, SignedIn};

const CONSTRAINTS: &str = "/api/v1/role-constraints";

/// A person who reads by one role, writes by another that inherits it, and reports by a third.
struct Stage {
    server: Server,
    admin: Admin,
    app: App,
    ann: SignedIn,
    reader: String,
    writer: String,
    reporter: String,
}

fn stage() -> Stage {
    staged(Server::start())
}

fn staged(server: Server) -> Stage {
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write", "report:make"]);
    admin.role("witness", &["sesame.roles:read", "sesame.users:read"]);
    let app = admin.app("shop", &["checker", "witness"]);
    let reader = admin.role("reader", &["doc:read"]);
    let heir = json!({ "name": "writer", "parent_role_ids": [reader], "permissions": ["doc:write"] });
    let writer = admin.created("/api/v1/roles", &heir);
    let reporter = admin.role("reporter", &["report:make"]);
    let ann = admin.person("ann");
    admin.assign(&ann.id, &writer);
    admin.assign(&ann.id, &reporter);
    Stage { server, admin, app, ann, reader, writer, reporter }
}

fn path(session: &SignedIn) -> String {
    format!("/api/v1/users/sessions/{}/roles", session.session_id)
}

/// Asks for these roles.
fn choose(session: &SignedIn, roles: &Value) -> Reply {
    session.put(&path(session), &json!({ "role_ids": roles }))
}

/// The token of the session from then on.
#[track_caller]
fn chosen(session: &SignedIn, roles: &Value) -> String {
    let reply = choose(session, roles);
    reply.expect(200);
    reply.text("session_token")
}

/// Whether whoever is signed in with this token may, and why.
#[track_caller]
fn may(app: &App, token: &str, permission: &str) -> (bool, String) {
    app.check(&json!({ "subject": { "session_token": token }, "permission": permission }))
}

/// What of the three permissions is had in the session of this token.
#[track_caller]
fn had(app: &App, token: &str) -> Vec<&'static str> {
    ["doc:read", "doc:write", "report:make"].into_iter().filter(|one| may(app, token, one).0).collect()
}

fn names(roles: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = roles.as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

fn apart(admin: &Admin, name: &str, roles: &[&str]) -> String {
    let body = json!({ "name": name, "kind": "dynamic", "role_ids": roles, "cardinality": 2 });
    admin.created(CONSTRAINTS, &body)
}

#[test]
fn a_session_is_allowed_what_its_chosen_roles_allow_and_its_person_what_all_do() {
    let Stage { server: _server, app, ann, reader, reporter, .. } = stage();
    assert_eq!(had(&app, &ann.session_token), ["doc:read", "doc:write", "report:make"]);
    let token = chosen(&ann, &json!([reporter]));
    assert_eq!(had(&app, &token), ["report:make"]);
    assert_eq!(may(&app, &token, "doc:write"), (false, "role_not_activated".to_owned()));
    assert!(app.allows(&ann.id, "doc:write"), "by id all roles count");
    // A role that is inherited can be chosen without what inherits it.
    let token = chosen(&ann.with_token(&token), &json!([reader]));
    assert_eq!(had(&app, &token), ["doc:read"]);
    let none = chosen(&ann.with_token(&token), &json!([]));
    assert_eq!(had(&app, &none), [""; 0]);
    let all = chosen(&ann.with_token(&none), &Value::Null);
    assert_eq!(had(&app, &all), ["doc:read", "doc:write", "report:make"]);
    // Another session of the same person is another matter.
    assert_eq!(may(&app, &none, "doc:read").1, "session_not_active");
}

#[test]
fn a_session_is_asked_about_by_its_id_too() {
    let Stage { server, admin, app, ann, reader, .. } = stage();
    chosen(&ann, &json!([reader]));
    let ask = |session: &str, permission: &str| {
        app.check(&json!({ "subject": { "user_id": ann.id, "session_id": session }, "permission": permission }))
    };
    assert_eq!(ask(&ann.session_id, "doc:read"), (true, "granted_by_role".to_owned()));
    assert_eq!(ask(&ann.session_id, "doc:write").1, "role_not_activated");
    assert_eq!(ask(&admin.session_id, "doc:read").1, "session_not_active");
    let wrong = |subject: Value| {
        app.post("/api/v1/permissions/check", &json!({ "subject": subject, "permission": "doc:read" }))
            .is_problem(400, "invalid-input");
    };
    wrong(json!({ "session_id": ann.session_id }));
    wrong(json!({ "user_id": ann.id, "session_id": ann.session_id, "username": "ann" }));
    wrong(json!({ "user_id": ann.id, "session_id": ann.session_id, "user_id ": ann.id }));
    server.clock.advance_seconds(400 * 86_400);
    assert_eq!(ask(&ann.session_id, "doc:read").1, "session_not_active");
}

#[test]
fn a_session_in_a_cookie_gets_another_cookie() {
    let Stage { server, ann, reader, .. } = stage();
    let body = json!({ "identifier": "ann", "password": crate::harness::PASSWORD, "transport": "cookie" });
    let welcome = server.anonymous().post("/api/v1/auth/login", &body);
    let id = welcome.expect(200)["session"]["id"].as_str().unwrap().to_owned();
    let cookie = |reply: &Reply| {
        let set = reply.headers_named("set-cookie").find(|cookie| cookie.starts_with("__Host-sesame=")).unwrap();
        set.split(';').next().unwrap().to_owned()
    };
    let own = format!("/api/v1/users/sessions/{id}/roles");
    let put = |cookie: &str| {
        let headers = [("cookie", cookie), ("sec-fetch-site", "same-origin")];
        server.anonymous().call("PUT", &own, Some(json!({ "role_ids": [reader] }).to_string()), &headers)
    };
    let before = cookie(&welcome);
    let chosen = put(&before);
    assert_eq!(
        (names(&chosen.expect(200)["session"]["active_roles"]), chosen.json().get("session_token")),
        (vec!["reader"], None)
    );
    assert_eq!(put(&before).status, 401);
    put(&cookie(&chosen)).expect(200);
    ann.get("/api/v1/users/sessions").expect(200);
}

#[test]
fn a_choice_makes_every_token_of_before_worthless() {
    let Stage { server, app, ann, reader, .. } = stage();
    let reply = choose(&ann, &json!([reader]));
    let answer = reply.expect(200);
    for old in [&ann.session_token, &ann.access_token] {
        ann.bearing(old).get("/api/v1/users/sessions").is_whole_problem();
        assert_eq!(ann.bearing(old).get("/api/v1/users/sessions").status, 401);
    }
    let refresh = |token: &str| server.anonymous().post("/api/v1/auth/refresh", &json!({ "refresh_token": token }));
    let next = refresh(answer["refresh_token"].as_str().unwrap()).expect(200);
    assert_eq!(names(&next["session"]["active_roles"]), ["reader"], "what was chosen outlives a refresh");
    for token in [answer["session_token"].as_str().unwrap(), next["access_token"].as_str().unwrap()] {
        assert_eq!(had(&app, token), ["doc:read"]);
    }
    // The same token is good for one choice only.
    let again = ann.with_token(&reply.text("session_token"));
    let statuses = std::thread::scope(|scope| {
        let ask = || scope.spawn(|| choose(&again, &json!([])).status);
        [ask(), ask()].map(|thread| thread.join().unwrap())
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
}

#[test]
fn a_session_lifts_no_denial_and_keeps_direct_grants() {
    let Stage { server: _server, admin, app, ann, reporter, writer, .. } = stage();
    let denial = json!({ "name": "frozen", "permissions": [{ "effect": "deny", "pattern": "doc:write" }] });
    let frozen = admin.created("/api/v1/roles", &denial);
    admin.assign(&ann.id, &frozen);
    admin.created(&format!("/api/v1/users/{}/permissions", ann.id), &json!({ "permission": "doc:read" }));
    let token = chosen(&ann, &json!([reporter]));
    assert_eq!(may(&app, &token, "doc:read"), (true, "granted_directly".to_owned()));
    assert_eq!(may(&app, &token, "doc:write"), (false, "denied_by_role".to_owned()));
    let token = chosen(&ann.with_token(&token), &json!([writer]));
    assert_eq!(may(&app, &token, "doc:write"), (false, "denied_by_role".to_owned()));
}

#[test]
fn what_conditions_see_of_roles_is_what_is_in_force_and_for_denials_all_that_is_held() {
    let Stage { server: _server, admin, app, ann, reader, reporter, .. } = stage();
    admin.define(&["vault:open", "vault:close"]);
    let rules = |effect: &str, pattern: &str| json!({ "permission": pattern, "effect": effect, "condition": "'reporter' in subject.roles" });
    let grants = format!("/api/v1/users/{}/permissions", ann.id);
    admin.created(&grants, &rules("allow", "vault:open"));
    admin.created(&grants, &json!({ "permission": "vault:close" }));
    admin.created(&grants, &rules("deny", "vault:close"));
    let may = |token: &str, permission| may(&app, token, permission).1;
    assert_eq!(may(&ann.session_token, "vault:open"), "granted_directly");
    let token = chosen(&ann, &json!([reader]));
    assert_eq!(
        (may(&token, "vault:open"), may(&token, "vault:close")),
        ("condition_not_met".into(), "denied_directly".into())
    );
    let token = chosen(&ann.with_token(&token), &json!([reporter]));
    assert_eq!(
        (may(&token, "vault:open"), may(&token, "vault:close")),
        ("granted_directly".into(), "denied_directly".into())
    );
}

#[test]
fn a_session_follows_what_its_person_is_given_and_loses() {
    let Stage { server, admin, app, ann, reader, writer, reporter } = stage();
    let token = chosen(&ann, &json!([reader, reporter]));
    assert_eq!(had(&app, &token), ["doc:read", "report:make"]);
    let extra = admin.role("extra", &["doc:write"]);
    admin.assign(&ann.id, &extra);
    assert_eq!(had(&app, &token), ["doc:read", "report:make"], "what is given later is not chosen");
    admin.unassign(&ann.id, &reporter);
    assert_eq!(had(&app, &token), ["doc:read"]);
    let for_a_while = json!({ "role_id": reporter, "scope": "org", "expires_at": "2025-11-23T12:01:00Z" });
    admin.post(&format!("/api/v1/users/{}/roles", ann.id), &for_a_while).expect(201);
    let ask = json!({ "subject": { "session_token": token }, "permission": "report:make", "scope": "org/a" });
    assert!(app.check(&ask).0);
    server.clock.advance_seconds(60);
    assert_eq!(app.check(&ask), (false, "no_matching_grant".to_owned()));
    admin.unassign(&ann.id, &writer);
    assert_eq!(had(&app, &token), [""; 0], "nothing leads to the reader any more");
}

#[test]
fn roles_that_are_kept_apart_are_in_no_session_together() {
    let Stage { server, admin, app, ann, reader, writer, reporter } = stage();
    let id = apart(&admin, "make or report", &[&writer, &reporter]);
    // At once, in a session that began before: neither of them, until roles are chosen.
    assert_eq!(had(&app, &ann.session_token), [""; 0]);
    assert_eq!(may(&app, &ann.session_token, "doc:write").1, "role_not_activated");
    assert!(app.allows(&ann.id, "doc:write") && app.allows(&ann.id, "report:make"));
    let fresh = server.anonymous().log_in("ann", crate::harness::PASSWORD).expect(200);
    assert_eq!(names(&fresh["session"]["kept_out_roles"]), ["reporter", "writer"]);
    assert_eq!(fresh["session"]["active_roles"], Value::Null);
    assert_eq!(fresh["session"]["kept_out_roles"][0]["kept_out_by"], "make or report");
    let why = format!("/api/v1/users/{}/permissions/doc:write/explain?session_id={}", ann.id, ann.session_id);
    let why = admin.get(&why).expect(200);
    assert_eq!(why["reason"], "role_not_activated");
    let nearest = why["explanation"]["nearest_misses"][0]["message"].as_str().unwrap();
    assert_eq!(
        nearest,
        "the role writer would allow it, but the constraint make or report keeps it out of this session"
    );
    // Who chose one is told of the other, and not of a role that nobody gave it.
    admin.role("stranger", &["doc:write"]);
    let other = server.anonymous().sign_in("ann", crate::harness::PASSWORD);
    let token = chosen(&other, &json!([reporter]));
    let ask = json!({ "subject": { "session_token": token }, "permission": "doc:write", "explain": true });
    let why = admin.post("/api/v1/permissions/check", &ask).expect(200);
    assert_eq!(why["reason"], "role_not_activated");
    assert_eq!(why["explanation"]["nearest_misses"][0]["message"], nearest);
    let refused = choose(&ann, &json!([writer, reporter]));
    let detail = refused.is_problem(409, "separation-of-duty").text("detail");
    for word in ["make or report", "writer", "reporter"] {
        assert!(detail.contains(word), "{detail}");
    }
    let token = chosen(&ann, &json!([writer]));
    assert_eq!(had(&app, &token), ["doc:read", "doc:write"]);
    // What is inherited by a role that is kept apart can be used beside the other.
    let token = chosen(&ann.with_token(&token), &json!([reader, reporter]));
    assert_eq!(had(&app, &token), ["doc:read", "report:make"]);
    // A constraint that comes later counts for what was chosen before.
    apart(&admin, "read or report", &[&reader, &reporter]);
    assert_eq!(had(&app, &token), [""; 0]);
    let own = ann.with_token(&token).get(&path(&ann)).expect(200);
    assert_eq!((names(&own["active"]), names(&own["kept_out"])), (vec![], vec!["reader", "reporter"]));
    let all = admin.get(CONSTRAINTS).expect(200);
    for one in all["items"].as_array().unwrap() {
        admin.delete(&format!("{CONSTRAINTS}/{}", one["id"].as_str().unwrap())).expect(204);
    }
    assert_eq!(had(&app, &token), ["doc:read", "report:make"]);
    admin.get(&format!("{CONSTRAINTS}/{id}")).is_problem(404, "not-found");
}

#[test]
fn what_is_kept_apart_counts_by_inheritance_and_while_both_are_held() {
    let Stage { server, admin, app, ann, reader, writer, reporter } = stage();
    // The writer inherits the reader.
    apart(&admin, "read or report", &[&reader, &reporter]);
    choose(&ann, &json!([writer, reporter])).is_problem(409, "separation-of-duty");
    admin.unassign(&ann.id, &reporter);
    assert_eq!(had(&app, &ann.session_token), ["doc:read", "doc:write"]);
    let later =
        json!({ "role_id": reporter, "not_before": "2025-11-23T12:10:00Z", "expires_at": "2025-11-23T12:20:00Z" });
    admin.post(&format!("/api/v1/users/{}/roles", ann.id), &later).expect(201);
    assert_eq!(had(&app, &ann.session_token), ["doc:read", "doc:write"]);
    choose(&ann, &json!([writer, reporter])).is_problem(403, "role-not-held");
    server.clock.advance_seconds(600);
    assert_eq!(had(&app, &ann.session_token), [""; 0]);
    server.clock.advance_seconds(600);
    assert_eq!(had(&app, &ann.session_token), ["doc:read", "doc:write"]);
}

#[test]
fn rights_over_sesame_are_those_that_are_in_force() {
    let Stage { server, admin, .. } = stage();
    let other = server.admin();
    let plain = admin.role("plain", &[]);
    admin.assign(&admin.id, &plain);
    other.get("/api/v1/users").expect(200);
    let token = chosen(&other, &json!([plain]));
    let narrow = other.bearing(&token);
    narrow.get("/api/v1/users").is_problem(403, "missing-permission");
    assert_eq!(narrow.get("/api/v1/users/me/permissions").expect(200)["items"], json!([]));
    let ann = admin.get("/api/v1/users?username=ann").expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    narrow.get(&format!("/api/v1/users/{ann}/sessions")).is_problem(403, "missing-permission");
    admin.get("/api/v1/users").expect(200);
    // Who holds a role that may assign, but not the others, gives no more than that.
    let clerk = admin.role("clerk", &["sesame.assignments:write"]);
    admin.assign(&admin.id, &clerk);
    let token = chosen(&other.with_token(&token), &json!([clerk]));
    let gift = json!({ "role_id": admin.role_id("administrator") });
    other.bearing(&token).post(&format!("/api/v1/users/{ann}/roles"), &gift).is_problem(403, "escalation");
}

#[test]
fn a_session_chooses_for_itself_alone_and_with_its_own_token() {
    let Stage { server, admin, ann, reader, .. } = stage();
    let other = server.anonymous().sign_in("ann", crate::harness::PASSWORD);
    let body = json!({ "role_ids": [reader] });
    ann.put(&path(&other), &body).is_problem(403, "other-session");
    admin.put(&path(&ann), &body).is_problem(404, "not-found");
    ann.bearing(&ann.access_token).put(&path(&ann), &body).is_problem(403, "session-token-required");
    let foreign = admin.role("foreign", &["doc:read"]);
    let refused = choose(&ann, &json!([reader, foreign]));
    refused.is_problem(403, "role-not-held").names_field("role_ids[1]");
    choose(&ann, &json!(["role_01h455vb4pex5vsknk084sn02q"])).is_problem(403, "role-not-held");
    ann.put(&path(&ann), &json!({})).is_problem(400, "invalid-input");
    ann.put(&path(&ann), &json!({ "role_ids": ["reader"] })).is_problem(400, "invalid-input");
    admin.get(&format!("/api/v1/users/{}/sessions", ann.id)).expect(200);
    choose(&ann, &json!([reader, reader])).expect(200);
}

#[test]
fn the_roles_and_permissions_of_a_session_are_listed() {
    let Stage { server: _server, admin, ann, reader, .. } = stage();
    let own = |client: &Client| client.get(&path(&ann)).expect(200);
    let before = own(&ann);
    assert_eq!((names(&before["active"]), &before["is_chosen"]), (vec!["reporter", "writer"], &json!(false)));
    assert_eq!(names(&before["available"]), ["reader", "reporter", "writer"]);
    let token = chosen(&ann, &json!([reader]));
    let narrow = ann.bearing(&token);
    assert_eq!((names(&own(&narrow)["active"]), &own(&narrow)["is_chosen"]), (vec!["reader"], &json!(true)));
    let of_ann = format!("/api/v1/users/{}", ann.id);
    let session = format!("{of_ann}/sessions/{}", ann.session_id);
    assert_eq!(admin.get(&format!("{session}/roles")).expect(200), own(&narrow));
    let listed = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|one| one["permission"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&admin.get(&format!("{session}/permissions")).expect(200)), ["doc:read"]);
    assert_eq!(listed(&narrow.get("/api/v1/users/me/permissions").expect(200)), ["doc:read"]);
    let effective = admin.get(&format!("{of_ann}/permissions?effective=true")).expect(200);
    assert_eq!(listed(&effective), ["doc:read", "doc:write", "report:make"]);
    let sessions = narrow.get("/api/v1/users/sessions").expect(200);
    assert_eq!(names(&sessions["items"][0]["active_roles"]), ["reader"]);
    let authorized = admin.get(&format!("{of_ann}/authorized-roles")).expect(200);
    let mut roles: Vec<_> = authorized["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["role_name"].as_str().unwrap(), one["is_assigned"].as_bool().unwrap()))
        .collect();
    roles.sort_unstable();
    assert_eq!(roles, [("reader", false), ("reporter", true), ("writer", true)]);
    admin.get(&format!("{of_ann}/sessions/sess_01h455vb4pex5vsknk084sn02q/permissions")).is_problem(404, "not-found");
    narrow.get(&format!("/api/v1/users/sessions/{}/roles", admin.session_id)).is_problem(404, "not-found");
}

#[test]
fn a_denial_names_the_role_that_is_not_in_force() {
    let Stage { server: _server, app, ann, reporter, .. } = stage();
    let token = chosen(&ann, &json!([reporter]));
    let ask = json!({ "subject": { "session_token": token }, "permission": "doc:read", "explain": true });
    let answer = app.post("/api/v1/permissions/check", &ask).expect(200);
    assert_eq!((&answer["allowed"], &answer["reason"]), (&json!(false), &json!("role_not_activated")));
    let miss = &answer["explanation"]["nearest_misses"][0];
    assert_eq!((&miss["kind"], &miss["role"]), (&json!("role_not_activated"), &json!("writer")));
    let path: Vec<&str> =
        miss["rule"]["role_path"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(path, ["writer", "reader"]);
}

#[test]
fn what_was_chosen_is_told_and_outlives_a_restart() {
    let Stage { server, admin, ann, reader, .. } = staged(Server::durable());
    let token = chosen(&ann, &json!([reader]));
    let entries = admin.get("/api/v1/audit?action=sessions.roles_activated").expect(200)["items"].clone();
    assert_eq!((&entries[0]["before"]["role_ids"], &entries[0]["after"]["role_ids"]), (&Value::Null, &json!([reader])));
    let id = apart(&admin, "either", &[&reader, &admin.role_id("reporter")]);
    let server = server.restarted();
    let admin = server.admin();
    let app = admin.app("other", &["checker"]);
    assert_eq!(had(&app, &token), ["doc:read"]);
    assert_eq!(admin.get(&format!("{CONSTRAINTS}/{id}")).expect(200)["kind"], "dynamic");
}

#[test]
fn the_shadow_agrees_about_sessions() {
    let Stage { server, admin, app, ann, writer, reporter, .. } =
        staged(Server::with(|config| config.access.shadow_one_in = 1));
    apart(&admin, "make or report", &[&writer, &reporter]);
    assert_eq!(had(&app, &ann.session_token), [""; 0]);
    let token = chosen(&ann, &json!([reporter]));
    assert_eq!(had(&app, &token), ["report:make"]);
    let metrics = &server.state().metrics;
    let looked = || {
        ["agreed", "outdated", "dropped"]
            .map(|outcome| metrics.shadow_decisions_total.with_label_values(&[outcome]).get())
    };
    while looked().iter().sum::<u64>() < 6 {
        std::thread::yield_now();
    }
    assert_eq!(metrics.shadow_divergences_total.get(), 0);
    assert!(looked()[0] > 0);
    admin.get("/api/v1/users").expect(200);
}

#[test]
fn a_session_begins_with_the_roles_that_it_is_to_use() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write"]);
    let (reader, writer) = (admin.role("reader", &["doc:read"]), admin.role("writer", &["doc:write"]));
    let ann = admin.create_user(&json!({ "username": "ann", "password": PASSWORD }));
    for role in [&reader, &writer] {
        admin.assign(&ann, role);
    }
    let login = |role_ids: Value| json!({ "identifier": "ann", "password": PASSWORD, "role_ids": role_ids });
    let may = |role_ids: Value| {
        let session = server.anonymous().sign_in_with(&login(role_ids), &[]);
        let held = session.get("/api/v1/users/me/permissions").expect(200);
        held["items"].as_array().unwrap().iter().map(|item| item["permission"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(may(json!([reader])), ["doc:read"]);
    assert_eq!(may(json!([writer, reader, writer])), ["doc:read", "doc:write"]);
    assert_eq!((may(json!([])).len(), may(Value::Null).len()), (0, 2));
    // What could not be chosen later cannot be chosen now; and nothing begins then.
    let other = admin.role("other", &[]);
    let sessions =
        || admin.get(&format!("/api/v1/users/{ann}/sessions?limit=100")).expect(200)["items"].as_array().unwrap().len();
    let before = sessions();
    let refused = |role_ids: Value, code: &str, status: u16| {
        let reply = server.anonymous().post("/api/v1/auth/login", &login(role_ids));
        reply.is_problem(status, code);
        reply
    };
    refused(json!([reader, other]), "role-not-held", 403).names_field("role_ids[1]");
    let apart = json!({ "name": "apart", "kind": "dynamic", "cardinality": 2, "role_ids": [reader, writer] });
    admin.created("/api/v1/role-constraints", &apart);
    refused(json!([reader, writer]), "separation-of-duty", 409);
    refused(json!(vec![&reader; 1001]), "invalid-input", 400).names_field("role_ids");
    assert_eq!((sessions(), may(json!([writer]))), (before, vec![json!("doc:write")]));
    // Whose password is wrong is told nothing of roles.
    let wrong = json!({ "identifier": "ann", "password": "not the password", "role_ids": [other] });
    assert_eq!(server.anonymous().post("/api/v1/auth/login", &wrong).status, 401);
}

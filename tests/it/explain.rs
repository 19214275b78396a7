//! Explanations: what decided, what else matched, what is nearest; one example for each reason, kept in `docs/explain.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::golden;
use crate::harness::{Admin, App, Server};

fn stage() -> (Server, Admin, App, String) {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["documents:read", "documents:write", "reports:read"]);
    admin.role("witness", &["sesame.roles:read", "sesame.users:read", "sesame.resources:read"]);
    let app = admin.app("shop", &["checker", "witness"]);
    let ann = admin.create_user(&json!({ "username": "ann", "email": "ann@example.org" }));
    (server, admin, app, ann)
}

#[test]
fn who_may_not_read_roles_and_users_is_told_no_more_than_the_reason() {
    let (_server, admin, witness, ann) = stage();
    let plain = admin.app("plain", &["checker"]);
    let ask = json!({ "subject": ann, "permission": "documents:read", "explain": true });
    witness.post("/api/v1/permissions/check", &ask).expect(200);
    plain.post("/api/v1/permissions/check", &ask).is_problem(403, "missing-permission");
    admin.role("half", &["sesame.roles:read"]);
    let half = admin.app("half", &["half"]);
    let path = format!("/api/v1/users/{ann}/permissions/documents:read/explain");
    half.get(&path).is_problem(403, "missing-permission");
    witness.get(&path).expect(200);
    let trial = json!({ "condition": "subject.email == 'ann@example.org'", "subject": ann });
    half.post("/api/v1/conditions/test", &trial).is_problem(403, "missing-permission");
    witness.post("/api/v1/conditions/test", &trial).expect(200);
}

#[test]
fn what_a_batch_does_not_explain_it_refuses_to() {
    let (_server, _admin, app, ann) = stage();
    let ask = |explain: bool| json!({ "subject": ann, "permission": "documents:read", "explain": explain });
    let batch = |last: bool| {
        let checks = json!({ "checks": [ask(false), ask(last)] });
        app.post("/api/v1/permissions/check/batch", &checks)
    };
    batch(false).expect(200);
    batch(true).is_problem(400, "invalid-input").names_field("checks[1].explain");
}

fn rule(effect: &str, pattern: &str, condition: &str) -> Value {
    json!({ "effect": effect, "pattern": pattern, "condition": condition })
}

fn role(admin: &Admin, body: &Value) -> String {
    admin.created("/api/v1/roles", body)
}

/// Names in the place of ids, which are others in every run: `role_editor`.
struct Names(BTreeMap<String, String>);

impl Names {
    fn put(&mut self, id: &str, name: &str) {
        let (prefix, _) = id.split_once('_').unwrap();
        self.0.insert(id.to_owned(), format!("{prefix}_{name}"));
    }

    fn masked(&self, value: &Value) -> String {
        let mut value = value.clone();
        if let Some(revision) = value.get_mut("revision") {
            *revision = json!(42);
        }
        let text = serde_json::to_string_pretty(&value).unwrap();
        self.0.iter().fold(text, |text, (id, name)| text.replace(id, name))
    }
}

/// One example after another, as a document.
struct Document {
    text: String,
    app: App,
    names: Names,
}

impl Document {
    fn example(&mut self, reason: &str, about: &str, mut ask: Value) -> Value {
        ask["explain"] = json!(true);
        let answer = self.app.post("/api/v1/permissions/check", &ask).expect(200);
        assert_eq!(answer["reason"], reason, "{answer}");
        let (question, said) = (self.names.masked(&ask), self.names.masked(&answer));
        let heading = format!("\n## {reason}\n");
        if !self.text.contains(&heading) {
            self.text.push_str(&heading);
        }
        writeln!(self.text, "\n{about}\n\n```json\n{question}\n```\n\n```json\n{said}\n```").unwrap();
        answer
    }
}

const HEAD: &str = "# Why an answer is what it is

`POST /api/v1/permissions/check` with `\"explain\": true`, and `GET /api/v1/users/{user_id}/permissions/{name}/explain`, say
what decided, what else matched, and of a denial what is nearest to allowing it, nearest first: a condition that does not hold,
a role that is not in force in the session, a time, a scope, an inactive role, a role not held. Each is tried: the decision is
made again as if it were otherwise, and what would not be enough is not named, or, where nothing is enough, marked. Explaining
walks every role and rule, and is much slower than checking. It is for who holds `sesame.roles:read` and
`sesame.users:read`: an explanation names roles and shows what is known of the subject.

Below is one example for each reason. A test asks them and compares this page with what Sesame answers.
";

#[test]
fn every_reason_has_an_example_in_the_documentation() {
    let (server, admin, app, ann) = stage();
    let mut document = Document { text: HEAD.to_owned(), app, names: Names(BTreeMap::new()) };
    document.names.put(&ann, "ann");
    let grants = format!("/api/v1/users/{ann}/permissions");
    let viewer = role(&admin, &json!({ "name": "viewer", "permissions": ["documents:read"] }));
    let editing = rule("allow", "documents:write", "resource.properties.owner == subject.email");
    let editor = role(&admin, &json!({ "name": "editor", "parent_role_id": viewer, "permissions": [editing] }));
    for (id, name) in [(&viewer, "viewer"), (&editor, "editor")] {
        document.names.put(id, name);
    }
    let ask = |permission: &str| json!({ "subject": ann, "permission": permission });
    let with = |owner: &str| {
        let mut ask = ask("documents:write");
        ask["resource"] = json!({ "type": "documents", "id": "7", "properties": { "owner": owner } });
        ask
    };
    document.example("no_matching_grant", "Ann holds nothing yet; two roles would allow it.", ask("documents:read"));
    let about = "Of another permission one role speaks, on a condition that does not hold either.";
    document.example("no_matching_grant", about, with("bob@example.org"));
    admin.assign(&ann, &editor);
    document.example("granted_by_role", "Ann is an editor, and editors are viewers.", ask("documents:read"));
    document.example("condition_not_met", "Editors write what is their own.", with("bob@example.org"));
    document.example("condition_error", "Nobody says whose document it is.", ask("documents:write"));
    let granted = admin.created(&grants, &json!({ "permission": "reports:*" }));
    document.names.put(&granted, "reports");
    document.example("granted_directly", "Ann was given a rule of her own.", ask("reports:read"));
    let frozen = rule("deny", "documents:*", "context.is_frozen");
    let guard = role(&admin, &json!({ "name": "guard", "permissions": [frozen] }));
    document.names.put(&guard, "guard");
    admin.assign(&ann, &guard);
    let mut asked = ask("documents:read");
    asked["context"] = json!({ "is_frozen": true });
    document.example("denied_by_role", "A denial wins over what Ann's other role allows.", asked);
    let about = "A denial whose condition cannot be evaluated denies.";
    document.example("denied_by_condition_error", about, ask("documents:read"));
    let taken = admin.created(&grants, &json!({ "permission": "reports:read", "effect": "deny", "scope": "org/acme" }));
    document.names.put(&taken, "taken");
    let mut asked = ask("reports:read");
    asked["scope"] = json!("org/acme/project/7");
    document.example("denied_directly", "Ann may not read reports of one organisation.", asked);
    document.example("unknown_permission", "A word that nobody has defined.", ask("documents:raed"));
    let mut nobody = ask("documents:read");
    nobody["subject"] = json!({ "username": "nobody" });
    document.example("unknown_subject", "Nobody has this name.", nobody);
    let carl = admin.person("carl");
    document.names.put(&carl.id, "carl");
    admin.assign(&carl.id, &viewer);
    let own = format!("/api/v1/users/sessions/{}/roles", carl.session_id);
    let shown = carl.put(&own, &json!({ "role_ids": [] })).text("session_token");
    let mut narrow = ask("documents:read");
    narrow["subject"] = json!({ "session_token": shown });
    document.names.0.insert(shown, "ssm_st_…".to_owned());
    let about = "Carl is a viewer, and his session uses none of his roles.";
    document.example("role_not_activated", about, narrow);
    let mut signed_out = ask("documents:read");
    signed_out["subject"] = json!({ "session_token": "ssm_st_…" });
    document.example("session_not_active", "The token of a session that is over.", signed_out);
    admin.put("/api/v1/resources/documents/7", &json!({ "scope": "org/acme" })).expect(201);
    let mut elsewhere = ask("documents:read");
    elsewhere["resource"] = json!({ "type": "documents", "id": "7" });
    elsewhere["scope"] = json!("org/beta");
    document.example("resource_elsewhere", "The document is stored in another place than Ann asks for.", elsewhere);
    admin.post(&format!("/api/v1/users/{ann}/suspend"), &json!({})).expect(200);
    document.example("subject_suspended", "Ann is suspended.", ask("documents:read"));
    golden::check("docs/explain.md", &document.text);
    drop(server);
}

/// The kinds of what is nearest, in their order.
fn misses(app: &App, ask: &Value) -> Vec<String> {
    let mut ask = ask.clone();
    ask["explain"] = json!(true);
    let answer = app.post("/api/v1/permissions/check", &ask).expect(200);
    let misses = answer["explanation"]["nearest_misses"].as_array().unwrap().clone();
    misses.iter().map(|miss| miss["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_denial_names_the_nearest_things_missing_in_order() {
    let (server, admin, app, ann) = stage();
    let reader = admin.role("reader", &["documents:read"]);
    let inactive = role(&admin, &json!({ "name": "old", "permissions": ["documents:read"], "is_active": false }));
    let roles = format!("/api/v1/users/{ann}/roles");
    let (late, over) = (admin.role("late", &["documents:read"]), admin.role("over", &["documents:read"]));
    admin.post(&roles, &json!({ "role_id": late, "not_before": "2030-01-01T00:00:00Z" })).expect(201);
    admin.post(&roles, &json!({ "role_id": over, "expires_at": "2025-11-23T12:00:01Z" })).expect(201);
    admin.post(&roles, &json!({ "role_id": reader, "scope": "c" })).expect(201);
    admin.assign(&ann, &inactive);
    admin.role("other", &["documents:read"]);
    let condition = json!({ "permission": "documents:read", "condition": "context.x == 1" });
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &condition);
    server.clock.advance_seconds(2);
    let ask = json!({ "subject": ann, "permission": "documents:read", "context": { "x": 2 } });
    let found = misses(&app, &ask);
    let expected =
        ["condition_failed", "not_yet_valid", "expired", "scope_too_narrow", "inactive_role", "role_not_held"];
    assert_eq!(found, expected);
    let explained = admin.get(&format!("/api/v1/users/{ann}/permissions/documents:read/explain?scope=c/d")).expect(200);
    assert_eq!((&explained["allowed"], &explained["reason"]), (&json!(true), &json!("granted_by_role")));
    assert_eq!(explained["explanation"]["decided_by"]["scope"], "c");
    let summary = explained["explanation"]["summary"].as_str().unwrap();
    assert_eq!(summary, "Allowed: the role reader allows documents:read in c.");
}

/// The kinds of what is nearest, the roles that it names, and whether each is all that is missing.
fn nearest(app: &App, ask: &Value) -> Vec<(String, Option<String>, bool)> {
    let mut ask = ask.clone();
    ask["explain"] = json!(true);
    let answer = app.post("/api/v1/permissions/check", &ask).expect(200);
    assert_eq!(answer["allowed"], false, "{answer}");
    let told = |miss: &Value| {
        let is_enough = miss["is_enough"].as_bool().unwrap();
        let message = miss["message"].as_str().unwrap();
        assert_eq!(message.ends_with("that alone would not be enough"), !is_enough, "{message}");
        (miss["kind"].as_str().unwrap().to_owned(), miss["role"].as_str().map(str::to_owned), is_enough)
    };
    answer["explanation"]["nearest_misses"].as_array().unwrap().iter().map(told).collect()
}

#[test]
fn a_role_is_near_only_if_it_would_be_enough_to_hold_it() {
    let (_server, admin, app, ann) = stage();
    let ask = json!({ "subject": ann, "permission": "documents:read", "context": { "x": 2 } });
    let near = |role: &str| ("role_not_held".to_owned(), Some(role.to_owned()), true);
    let conditional = |name: &str, condition: &str| {
        role(&admin, &json!({ "name": name, "permissions": [rule("allow", "documents:read", condition)] }))
    };
    conditional("closed", "context.x == 1");
    conditional("erring", "context.y == 1");
    conditional("open", "context.x == 2");
    // Its condition is about itself: it holds for whoever holds it.
    conditional("selfish", "'selfish' in subject.roles");
    let forbidding = json!({ "effect": "deny", "pattern": "documents:read" });
    role(&admin, &json!({ "name": "both", "permissions": ["documents:read", forbidding] }));
    assert_eq!(nearest(&app, &ask), [near("open"), near("selfish")]);
    // What a constraint would refuse to ann is not near to her.
    let payer = admin.role("payer", &[]);
    admin.assign(&ann, &payer);
    let apart = json!({
        "name": "four eyes", "kind": "static", "cardinality": 2, "role_ids": [payer, admin.role_id("open")],
    });
    admin.created("/api/v1/role-constraints", &apart);
    assert_eq!(nearest(&app, &ask), [near("selfish")]);
    // Over a denial no role wins.
    let denied = admin.created(
        &format!("/api/v1/users/{ann}/permissions"),
        &json!({ "permission": "documents:*", "effect": "deny" }),
    );
    assert_eq!(nearest(&app, &ask), []);
    admin.delete(&format!("/api/v1/users/{ann}/permissions/{denied}")).expect(204);
    // But one that lifts it by its name alone would.
    let unless = rule("deny", "documents:read", "!('selfish' in subject.roles)");
    let strict = role(&admin, &json!({ "name": "strict", "permissions": [unless] }));
    admin.assign(&ann, &strict);
    assert_eq!(nearest(&app, &ask), [near("selfish")]);
}

#[test]
fn what_is_missing_beside_something_else_is_told_only_where_nothing_is_enough_and_marked() {
    let (server, admin, app, ann) = stage();
    let roles = format!("/api/v1/users/{ann}/roles");
    let reader = admin.role("reader", &["documents:read"]);
    let kinds =
        |ask: &Value| nearest(&app, ask).into_iter().map(|(kind, _, is_enough)| (kind, is_enough)).collect::<Vec<_>>();
    let told = |all: &[(&str, bool)]| all.iter().map(|(kind, is)| ((*kind).to_owned(), *is)).collect::<Vec<_>>();
    let at = |scope: &str| json!({ "subject": ann, "permission": "documents:read", "scope": scope });
    // Another time and another place are two things; and so are two inactive roles.
    let over = json!({ "role_id": reader, "scope": "a", "expires_at": "2025-11-23T12:00:01Z" });
    admin.post(&roles, &over).expect(201);
    let late = json!({ "role_id": reader, "scope": "b", "not_before": "2030-01-01T00:00:00Z" });
    admin.post(&roles, &late).expect(201);
    server.clock.advance_seconds(2);
    let asleep = role(&admin, &json!({ "name": "asleep", "permissions": ["documents:read"], "is_active": false }));
    let heir = json!({ "name": "heir", "parent_role_id": asleep, "permissions": [], "is_active": false });
    admin.assign(&ann, &role(&admin, &heir));
    let all = [("expired", false), ("not_yet_valid", false), ("inactive_role", false)];
    assert_eq!(kinds(&at("c")), told(&all));
    assert_eq!(kinds(&at("a")), told(&[("expired", true)]));
    assert_eq!(kinds(&at("b/x")), told(&[("not_yet_valid", true)]));
    // A condition of the rule and one of the permission.
    let body = json!({ "name": "documents:sign", "conditions": ["context.y == 1"] });
    admin.created("/api/v1/permissions", &body);
    let signing = rule("allow", "documents:sign", "context.x == 1");
    admin.assign(&ann, &role(&admin, &json!({ "name": "signer", "permissions": [signing] })));
    let sign =
        |x: i32, y: i32| json!({ "subject": ann, "permission": "documents:sign", "context": { "x": x, "y": y } });
    assert_eq!(kinds(&sign(2, 2)), told(&[("condition_failed", false)]));
    assert_eq!(kinds(&sign(2, 1)), told(&[("condition_failed", true)]));
    assert_eq!(kinds(&sign(1, 2)), told(&[("condition_failed", true)]));
    // Nothing of it is told where a denial wins anyway.
    admin.created(
        &format!("/api/v1/users/{ann}/permissions"),
        &json!({ "permission": "documents:*", "effect": "deny" }),
    );
    assert_eq!(kinds(&at("c")), []);
    assert_eq!(kinds(&sign(2, 1)), []);
}

#[test]
fn a_role_that_is_not_held_and_whose_condition_does_not_hold_either_is_told_with_it() {
    let (_server, admin, app, ann) = stage();
    admin.assign(&ann, &admin.role("viewer", &["documents:read"]));
    let own = rule("allow", "documents:write", "resource.properties.owner == subject.email");
    let writer = role(&admin, &json!({ "name": "writer", "permissions": [own] }));
    role(&admin, &json!({ "name": "editor", "parent_role_id": writer, "permissions": ["reports:read"] }));
    let explained = |path: &str| {
        let answer = admin.get(&format!("/api/v1/users/{ann}/permissions/{path}/explain")).expect(200);
        answer["explanation"]["nearest_misses"].as_array().unwrap().clone()
    };
    let told = explained("documents:write");
    let said: Vec<_> = told.iter().map(|miss| (miss["role"].as_str().unwrap(), &miss["is_enough"])).collect();
    assert_eq!(said, [("writer", &json!(false)), ("editor", &json!(false))]);
    let unmet = "condition `resource.properties.owner == subject.email` cannot be evaluated: there is no \
                 resource.properties.owner, subject.email is \"ann@example.org\"; that alone would not be enough";
    let message = told[0]["message"].as_str().unwrap();
    assert_eq!(
        message,
        format!("the role writer would allow it, and the subject does not hold it; besides, its {unmet}")
    );
    let of_rule = &told[1]["rule"];
    assert_eq!(of_rule["condition"]["missing"], json!(["resource.properties.owner"]));
    let path: Vec<_> = of_rule["role_path"].as_array().unwrap().iter().map(|step| step["name"].clone()).collect();
    assert_eq!(path, ["editor", "writer"]);
    // Where something is passed, its values are told; and of what is enough nothing more is.
    let with = |owner: &str| {
        let resource = json!({ "type": "documents", "id": "7", "properties": { "owner": owner } });
        json!({ "subject": ann, "permission": "documents:write", "resource": resource, "explain": true })
    };
    let answer = app.post("/api/v1/permissions/check", &with("bob@example.org")).expect(200);
    let miss = &answer["explanation"]["nearest_misses"][0];
    assert_eq!(miss["rule"]["condition"]["values"]["resource.properties.owner"], "bob@example.org", "{miss}");
    let near = |role: &str, is_enough| ("role_not_held".to_owned(), Some(role.to_owned()), is_enough);
    assert_eq!(nearest(&app, &with("ann@example.org")), [near("writer", true), near("editor", true)]);
    // The permission has a condition of its own.
    admin.created("/api/v1/permissions", &json!({ "name": "documents:sign", "conditions": ["context.y == 1"] }));
    admin.role("signer", &["documents:sign"]);
    let told = explained("documents:sign");
    assert_eq!((told.len(), &told[0]["rule"]["is_of_permission"]), (1, &json!(true)));
    assert!(told[0]["message"].as_str().unwrap().contains("besides, the permission's condition `context.y == 1`"));
    // Nothing of it is told where a denial wins anyway.
    let denied = json!({ "permission": "documents:*", "effect": "deny" });
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &denied);
    assert_eq!(explained("documents:write"), [] as [Value; 0]);
}

#[test]
fn in_a_session_that_chose_its_roles_a_role_is_near_if_it_is_chosen_too() {
    let (_server, admin, app, _) = stage();
    let carl = admin.person("carl");
    admin.assign(&carl.id, &admin.role("reader", &["documents:read"]));
    admin.role("other", &["documents:read"]);
    let own = format!("/api/v1/users/sessions/{}/roles", carl.session_id);
    let token = carl.put(&own, &json!({ "role_ids": [] })).text("session_token");
    let ask = json!({ "subject": { "session_token": token }, "permission": "documents:read", "explain": true });
    let answer = app.post("/api/v1/permissions/check", &ask).expect(200);
    let misses = answer["explanation"]["nearest_misses"].as_array().unwrap().clone();
    let told: Vec<_> = misses.iter().map(|miss| miss["message"].as_str().unwrap()).collect();
    let expected = [
        "the role reader would allow it, but is not in force in this session",
        "the role other would allow it, used in this session, and the subject does not hold it",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_condition_is_tried_against_a_sample() {
    let (_server, admin, _app, ann) = stage();
    let trial = |body: &Value| admin.post("/api/v1/conditions/test", body);
    let sample = json!({
        "condition": "subject.email == resource.properties.owner && context.n > 3 && has(context.n)",
        "subject": ann, "resource_properties": { "owner": "ann@example.org" }, "context": { "n": 4 },
    });
    let answer = trial(&sample).expect(200);
    assert_eq!(answer["result"], "true");
    let values =
        json!({ "context.n": 4, "resource.properties.owner": "ann@example.org", "subject.email": "ann@example.org" });
    assert_eq!(answer["values"], values);
    let answer = trial(&json!({ "condition": "context.n > 3", "subject": ann })).expect(200);
    assert_eq!((&answer["result"], &answer["missing"]), (&json!("error"), &json!(["context.n"])));
    trial(&json!({ "condition": "1 +" })).is_problem(400, "invalid-input").names_field("condition");
    let session = trial(&json!({ "condition": "'pwd' in session.authentication_methods" })).expect(200);
    assert_eq!(session["result"], "true");
}

#[test]
fn a_condition_is_tried_in_a_sample_of_a_session() {
    let (_server, admin, _app, ann) = stage();
    let trial = |condition: &str, session: Value, more: Value| {
        let mut body = json!({ "condition": condition, "subject": ann, "session": session });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        admin.post("/api/v1/conditions/test", &body)
    };
    let result = |condition: &str, session: Value| trial(condition, session, json!({})).expect(200)["result"].clone();
    let factors = "'otp' in session.authentication_methods && !('pop' in session.authentication_methods)";
    assert_eq!(result(factors, Value::Null), "error", "about another there is no session");
    assert_eq!(result(factors, json!({})), "false");
    assert_eq!(result(factors, json!({ "authentication_methods": ["pwd", "otp"] })), "true");
    assert_eq!(result(factors, json!({ "authentication_methods": ["otp", "pop"] })), "false");
    let trusted = "session.device.trusted";
    assert_eq!(
        (result(trusted, json!({})), result(trusted, json!({ "device_trusted": true }))),
        ("false".into(), "true".into())
    );
    let risk = "session.risk.level == 'high' && 'impossible_travel' in session.risk.reasons";
    assert_eq!(result(risk, json!({ "risk_reasons": ["new_device"] })), "false");
    assert_eq!(result(risk, json!({ "risk_reasons": ["new_device", "impossible_travel"] })), "true");
    let fresh = "now - session.authenticated_at < duration('5m') && session.created_at < session.authenticated_at";
    let times = |at: &str| json!({ "created_at": "2025-11-23T10:00:00Z", "authenticated_at": at });
    let now = json!({ "now": "2025-11-23T12:00:00Z" });
    let at = |time: &str| trial(fresh, times(time), now.clone()).expect(200)["result"].clone();
    assert_eq!((at("2025-11-23T11:59:00Z"), at("2025-11-23T11:50:00Z")), ("true".into(), "false".into()));
    // About oneself too, whatever one's own session is.
    let own = json!({ "condition": "'pwd' in session.authentication_methods", "session": {} });
    assert_eq!(admin.post("/api/v1/conditions/test", &own).expect(200)["result"], "false");
    let refused = |session: Value| trial("true", session, json!({}));
    let wrong = refused(json!({ "authentication_methods": ["pwd", "sms"], "risk_reasons": ["bad"] }));
    wrong.is_problem(400, "invalid-input").names_field("session.authentication_methods[1]");
    assert!(wrong.body.contains("session.risk_reasons[0]"), "{}", wrong.body);
    refused(json!({ "trusted": true })).is_problem(400, "invalid-input");
}

#[test]
fn what_a_role_comes_to_and_what_a_subject_may_do_are_listed() {
    let (_server, admin, app, _) = stage();
    let bob = admin.person("bob");
    let base = admin.role("base", &["documents:read"]);
    let rules = json!([rule("allow", "documents:write", "context.x"), { "effect": "deny", "pattern": "reports:read" }]);
    let top = role(&admin, &json!({ "name": "top", "parent_role_id": base, "permissions": rules }));
    let listed = admin.get(&format!("/api/v1/roles/{top}/effective-permissions")).expect(200);
    let expected = json!([
        { "permission": "documents:read", "effect": "allow", "is_conditional": false },
        { "permission": "documents:write", "effect": "allow", "is_conditional": true },
        { "permission": "reports:read", "effect": "deny", "is_conditional": false },
    ]);
    assert_eq!(listed["items"], expected);
    admin.post(&format!("/api/v1/users/{}/roles", bob.id), &json!({ "role_id": top, "scope": "org" })).expect(201);
    let list = |query: &str| {
        let page = admin.get(&format!("/api/v1/users/{}/permissions?effective=true{query}", bob.id)).expect(200);
        let names = page["items"].as_array().unwrap().iter().map(|one| one["permission"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!((list(""), list("&scope=org/a")), (Vec::new(), vec!["documents:read".to_owned()]));
    let own = bob.get("/api/v1/users/me/permissions?scope=org");
    own.expect(200);
    let tag = own.header("etag").unwrap().to_owned();
    let again = || bob.call("GET", "/api/v1/users/me/permissions?scope=org", None, &[("If-None-Match", &tag)]);
    assert_eq!(again().status, 304);
    assert!(app.check(&json!({ "subject": bob.id, "permission": "documents:read", "scope": "org" })).0);
    admin.unassign(&bob.id, &top);
    assert_eq!(again().expect(200)["items"], json!([]));
}

#[test]
fn the_pages_of_what_one_subject_has_are_of_one_revision_with_a_total() {
    let (server, admin, _app, _) = stage();
    let bob = admin.person("bob");
    let base = admin.role("base", &["documents:read", "documents:write"]);
    let top = role(&admin, &json!({ "name": "top", "parent_role_id": base, "permissions": ["reports:read"] }));
    let soon = json!({ "role_id": top, "expires_at": "2025-11-23T12:00:10Z" });
    admin.post(&format!("/api/v1/users/{}/roles", bob.id), &soon).expect(201);
    let of_bob = format!("/api/v1/users/{}", bob.id);
    let lists = [
        (true, format!("{of_bob}/permissions?effective=true"), "permission", 3),
        (true, format!("{of_bob}/authorized-roles?"), "role_name", 2),
        (true, format!("{of_bob}/sessions/{}/permissions?", bob.session_id), "permission", 3),
        (false, "/api/v1/users/me/permissions?".to_owned(), "permission", 3),
    ];
    let get = |is_admins: bool, path: &str| if is_admins { admin.get(path) } else { bob.get(path) };
    let firsts: Vec<Value> =
        lists.iter().map(|(whose, path, ..)| get(*whose, &format!("{path}&limit=1")).expect(200)).collect();
    // Time goes on, and ends what bob has; the pages are of one moment.
    server.clock.advance_seconds(20);
    for ((is_admins, path, name, total), first) in lists.iter().zip(&firsts) {
        let (revision, mut page) = (first["revision"].clone(), first.clone());
        let mut found = Vec::new();
        loop {
            assert_eq!((&page["total"], &page["revision"]), (&json!(total), &revision), "{path} {page}");
            found.extend(page["items"].as_array().unwrap().iter().map(|item| item[name].clone()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            page = get(*is_admins, &format!("{path}&limit=1&cursor={next}")).expect(200);
        }
        assert_eq!(found.len(), *total, "{path} {found:?}");
        let anew = get(*is_admins, path).expect(200);
        assert_eq!((&anew["total"], &anew["items"]), (&json!(0), &json!([])), "{path}");
        get(*is_admins, &format!("{path}&cursor=AAAA")).is_problem(400, "invalid-input").names_field("cursor");
    }
    // Whatever changes it is told of: the list is to be read anew.
    admin.role("another", &[]);
    for ((is_admins, path, ..), first) in lists.iter().zip(&firsts) {
        let next = format!("{path}&cursor={}", first["next_cursor"].as_str().unwrap());
        get(*is_admins, &next).is_problem(400, "answer-gone").names_field("cursor");
    }
}

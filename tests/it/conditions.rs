//! Conditions of rules, grants and permissions: what they see, what they refuse, how they fail.

use serde_json::{Value, json};

use crate::harness::{Admin, App, Reply, Server};

fn stage() -> (Server, Admin, App, String) {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write"]);
    let app = admin.app("shop", &["checker"]);
    let ann = admin.create_user(&json!({
        "username": "ann", "email": "ann@example.com", "external_id": "7",
        "properties": { "department": "Sales", "level": 3, "tags": ["a", "b"] },
    }));
    (server, admin, app, ann)
}

/// Gives a role with one rule; the role's id.
fn give(admin: &Admin, user: &str, name: &str, effect: &str, condition: &str) -> String {
    let speaking = json!({ "effect": effect, "pattern": "doc:read", "condition": condition });
    let role = admin.created("/api/v1/roles", &json!({ "name": name, "permissions": [speaking] }));
    admin.assign(user, &role);
    role
}

fn check(app: &App, user: &str, more: &Value) -> (bool, String) {
    let mut ask = json!({ "subject": user, "permission": "doc:read" });
    ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.check(&ask)
}

fn said(allowed: bool, reason: &str) -> (bool, String) {
    (allowed, reason.to_owned())
}

#[test]
fn a_rule_speaks_only_while_its_condition_holds() {
    let (_server, admin, app, ann) = stage();
    give(&admin, &ann, "owner", "allow", "resource.properties.owner == subject.email");
    let of = |owner: Value| json!({ "resource": { "type": "doc", "id": "1", "properties": { "owner": owner } } });
    assert_eq!(check(&app, &ann, &of(json!("ann@example.com"))), said(true, "granted_by_role"));
    assert_eq!(check(&app, &ann, &of(json!("bob@example.com"))), said(false, "condition_not_met"));
    assert_eq!(check(&app, &ann, &json!({})), said(false, "condition_error"));
    let granted = json!({ "permission": "doc:read", "condition": "context.ticket > 100" });
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &granted);
    assert_eq!(check(&app, &ann, &json!({ "context": { "ticket": 101 } })), said(true, "granted_directly"));
    assert_eq!(check(&app, &ann, &json!({ "context": { "ticket": 100 } })), said(false, "condition_error"));
}

#[test]
fn a_condition_that_errs_fails_closed_and_is_counted() {
    let (server, admin, app, ann) = stage();
    let allowing = admin.role("reader", &["doc:read"]);
    admin.assign(&ann, &allowing);
    give(&admin, &ann, "frozen", "deny", "context.frozen");
    assert_eq!(check(&app, &ann, &json!({ "context": { "frozen": false } })), said(true, "granted_by_role"));
    assert_eq!(check(&app, &ann, &json!({ "context": { "frozen": true } })), said(false, "denied_by_role"));
    let errors = || server.state().metrics.condition_errors_total.get();
    assert_eq!(errors(), 0);
    for context in [json!({}), json!({ "frozen": "yes" }), json!({ "frozen": 1 })] {
        assert_eq!(check(&app, &ann, &json!({ "context": context })), said(false, "denied_by_condition_error"));
    }
    assert_eq!(errors(), 3);
}

/// What was told and cannot be read is not taken for absent: `has`, `in` and `size` err over it.
#[test]
fn a_context_that_cannot_be_read_lifts_no_denial_and_allows_nothing() {
    let (_server, admin, app, ann) = stage();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let contexts = [
        r#"{"frozen":true,"title":"\ud800"}"#,
        r#"{"frozen":true,"n":1e999}"#,
        &format!(r#"{{"frozen":true,"n":{deep}}}"#),
    ];
    let told = |context: &str| {
        let body = format!(r#"{{"subject":"{ann}","permission":"doc:read","context":{context}}}"#);
        let answer = app.call("POST", "/api/v1/permissions/check", Some(body), &[]);
        (answer.status, answer.body)
    };
    let refuses = |reason: &str| {
        for context in contexts {
            let (status, text) = told(context);
            assert!(status == 400 && text.contains("context") || text.contains(reason), "{context}: {status} {text}");
        }
    };
    let asking = give(&admin, &ann, "asking", "allow", "!has(context.frozen)");
    refuses("condition_error");
    admin.delete(&format!("/api/v1/roles/{asking}")).expect(204);
    admin.assign(&ann, &admin.role("reader", &["doc:read"]));
    for condition in ["has(context.frozen) && context.frozen", "'frozen' in context", "size(context) > 0"] {
        let denying = give(&admin, &ann, "denying", "deny", condition);
        assert!(told(r#"{"other":1}"#).1.contains(if condition.starts_with("size") {
            "denied_by_role"
        } else {
            "granted_by_role"
        }));
        assert!(told(r#"{"frozen":true}"#).1.contains("denied_by_role"));
        refuses("denied_by_condition_error");
        admin.delete(&format!("/api/v1/users/{ann}/roles/{denying}")).expect(204);
        admin.delete(&format!("/api/v1/roles/{denying}")).expect(204);
    }
}

#[test]
fn a_permission_has_conditions_of_its_own() {
    let (_server, admin, app, ann) = stage();
    let body = json!({ "name": "doc:sign", "conditions": ["context.amount < 1000", "subject.properties.level >= 3"] });
    let id = admin.created("/api/v1/permissions", &body);
    admin.assign(&ann, &admin.role("signer", &["doc:*"]));
    let check = |amount: Value| {
        app.check(&json!({
            "subject": ann, "permission": "doc:sign", "context": { "amount": amount },
        }))
    };
    assert_eq!(check(json!(999)), said(true, "granted_by_role"));
    assert_eq!(check(json!(1000)), said(false, "condition_not_met"));
    assert_eq!(check(json!("many")), said(false, "condition_error"));
    let path = format!("/api/v1/permissions/{id}");
    assert_eq!(admin.get(&path).expect(200)["conditions"], body["conditions"]);
    admin.put(&path, &json!({ "name": "doc:sign", "conditions": ["context.amount < 2000"] })).expect(200);
    assert_eq!(check(json!(1000)), said(true, "granted_by_role"));
    admin.put(&path, &json!({ "name": "doc:sign" })).expect(200);
    assert_eq!(check(json!("many")), said(true, "granted_by_role"));
}

/// What each condition comes to for one ask that tells something of everything.
#[test]
fn conditions_see_subject_action_resource_context_session_and_now() {
    let (server, admin, app, ann) = stage();
    let base = admin.role("base", &[]);
    let inheriting = json!({ "name": "staff", "parent_role_id": base });
    admin.assign(&ann, &admin.created("/api/v1/roles", &inheriting));
    let grants = format!("/api/v1/users/{ann}/permissions");
    let holds = |condition: &str, expected: bool| {
        let id = admin.created(&grants, &json!({ "permission": "doc:read", "condition": condition }));
        let ask = json!({
            "subject": { "type": "user", "id": "7", "properties": { "department": "IT" } },
            "action": { "name": "read", "properties": { "soft": true } },
            "resource": { "type": "doc", "id": "d-1", "properties": { "size": 7, "open": null, "of": { "a": [1, 2] } } },
            "context": { "ip": "10.1.2.3", "ratio": 0.5, "list": ["x", "y"] },
        });
        let reply = app.post("/access/v1/evaluation", &ask).expect(200);
        assert_eq!(reply["decision"], expected, "{condition}");
        admin.delete(&format!("{grants}/{id}")).expect(204);
    };
    for condition in [
        "subject.id == \"7\" && subject.type == 'user' && subject.username == 'ann'",
        "subject.email.endsWith('@example.com')",
        "subject.properties.department == 'IT' && subject.properties.level == 3",
        "'staff' in subject.roles && 'base' in subject.roles && !('x' in subject.roles) && size(subject.roles) == 2",
        "action.name == 'read' && action.properties.soft",
        "resource.type == 'doc' && resource.id == 'd-1' && resource.properties.size * 2 > 13",
        "resource.properties.open == null && resource.properties.of.a[1] == 2 && resource.properties['size'] == 7",
        "context.ip.startsWith('10.') && context.ratio < 1 && context.list[0] in ['x', 'z']",
        "!has(context.nothing) && has(context.list) && has(subject.properties.tags)",
        "context.list.size() == 2 && subject.properties.tags != context.list && context.list == context.list",
        "now > timestamp('2025-11-23T11:59:59Z') && now < timestamp('2025-11-23T12:59:59Z')",
        "now - timestamp('2025-11-23T00:00:00Z') >= duration('12h') && now.getHours() == 12",
        "now.getHours('Europe/Berlin') == 13 && now.getDayOfWeek() == 0",
        "type(context.ip) == string && type(context.list) == list && int('7') == resource.properties.size",
        "!has(session.id)",
        "context.nothing == 1 || true",
    ] {
        holds(condition, true);
    }
    for condition in [
        "subject.properties.department == 'Sales'",
        "context.nothing == 1",
        "context.ip > 1",
        "resource.properties.size",
        "session.risk.level == 'none'",
        "1 / (resource.properties.size - 7) == 1",
    ] {
        holds(condition, false);
    }
    drop(server);
}

#[test]
fn conditions_see_the_session_that_was_shown() {
    let (_server, admin, app, _) = stage();
    let bob = admin.person("bob");
    let condition = "'pwd' in session.authentication_methods && !session.device.trusted \
                     && session.risk.level in ['none', 'low', 'medium'] && now - session.authenticated_at < duration('10m')";
    give(&admin, &bob.id, "fresh", "allow", condition);
    let by = |subject: Value| app.check(&json!({ "subject": subject, "permission": "doc:read" }));
    assert_eq!(by(json!({ "session_token": bob.session_token })), said(true, "granted_by_role"));
    assert_eq!(by(json!(bob.id)), said(false, "condition_error"));
    bob.patch(&format!("/api/v1/users/devices/{}", bob.device_id), &json!({ "trusted": true })).expect(200);
    assert_eq!(by(json!({ "session_token": bob.session_token })), said(false, "condition_not_met"));
}

#[test]
fn a_condition_that_cannot_be_compiled_is_refused_with_its_place() {
    let (_server, admin, _app, ann) = stage();
    let refuse = |condition: &str, place: &str, what: &str| {
        let rules = json!(["doc:read", { "effect": "allow", "pattern": "doc:write", "condition": condition }]);
        let replies: [(Reply, &str); 3] = [
            (admin.post("/api/v1/roles", &json!({ "name": "r", "permissions": rules })), "permissions[1].condition"),
            (
                admin.post(
                    &format!("/api/v1/users/{ann}/permissions"),
                    &json!({ "permission": "doc:read", "condition": condition }),
                ),
                "condition",
            ),
            (
                admin.post("/api/v1/permissions", &json!({ "name": "x:y", "conditions": ["true", condition] })),
                "conditions[1]",
            ),
        ];
        for (reply, field) in replies {
            reply.is_problem(400, "invalid-input").names_field(field);
            let message = &reply.expect(400)["errors"][0]["message"];
            let message = message.as_str().unwrap();
            assert!(message.starts_with(place) && message.contains(what), "{condition}: {message}");
        }
    };
    refuse("subject.id ==", "line 1, column 14", "");
    refuse("true &&\n  subjekt.id == '7'", "line 2, column 3", "there is no variable subjekt");
    refuse("subject.name == 'ann'", "line 1, column 8", "subject has no name");
    refuse("subject == 'ann'", "line 1, column 1", "say which part of subject");
    refuse("frob(subject.id)", "line 1, column 5", "there is no function frob");
    refuse("context.list.all(x, x > 1)", "line 1", "all, exists, exists_one, filter and map");
    refuse("context.list.map(x, x)[0] == 1", "line 1", "all, exists, exists_one, filter and map");
    refuse("['a'] == context.list", "line 1, column 1", "a list can only stand");
    refuse("{'a': 1}['a'] == 1", "line 1, column 1", "maps are not part");
    refuse("1 + 1", "line 1, column 3", "must be true or false");
    refuse(&format!("{}true{}", "(".repeat(200), ")".repeat(200)), "line", "");
    refuse(&format!("{}true", "!(".repeat(30)), "line", "");
    refuse(&format!("1{} == 3", " + 1".repeat(9)), "line 1", "adds at most 8 times");
    let often = |clause: &str, times: usize| vec![clause; times].join(" || ");
    refuse(&often("context.a == context.b", 9), "line 1", "compares at most 8 times");
    refuse(&often("1 in context.a", 9), "line 1", "compares at most 8 times");
    refuse(&format!("context.a in [{}]", ["context.b"; 9].join(", ")), "line 1", "compares at most 8 times");
    refuse(&"a".repeat(1025), "expected at most 1024 bytes", "");
    refuse("", "line 1", "");
}

/// Else whoever writes names and properties would give themselves what is Sesame's.
#[test]
fn what_allows_something_of_sesame_looks_only_at_what_nobody_can_set() {
    let (_server, admin, _app, ann) = stage();
    let grants = format!("/api/v1/users/{ann}/permissions");
    let roles = |condition: &str, name: &str, effect: &str| {
        let rule = json!({ "effect": effect, "pattern": "sesame.users:*", "condition": condition });
        admin.post("/api/v1/roles", &json!({ "name": name, "permissions": ["doc:read", rule] }))
    };
    for condition in [
        "subject.properties.department == 'IT'",
        "subject.username == 'ann'",
        "subject.email == 'ann@example.com'",
        "subject.id == '7'",
        "context.is_fine",
        "session.risk.level == 'low' && 'staff' in subject.roles",
    ] {
        let reply = admin.post(&grants, &json!({ "permission": "sesame.users:read", "condition": condition }));
        reply.is_problem(400, "invalid-fields").names_field("condition");
        roles(condition, "r", "allow").is_problem(400, "invalid-fields").names_field("permissions[1].condition");
    }
    for (index, condition) in
        ["session.risk.level == 'low'", "now.getHours() < 12", "subject.type == 'user'"].into_iter().enumerate()
    {
        admin.post(&grants, &json!({ "permission": "sesame.users:read", "condition": condition })).expect(201);
        roles(condition, &format!("r{index}"), "allow").expect(201);
    }
    // A denial may look at anything, and so may what is not Sesame's.
    roles("context.is_fine", "denying", "deny").expect(201);
    admin.post(&grants, &json!({ "permission": "*", "condition": "context.is_fine" })).expect(201);
}

#[test]
fn what_is_passed_with_a_check_is_bounded() {
    let (_server, _admin, app, ann) = stage();
    let path = "/api/v1/permissions/check";
    let with =
        |context: Value| app.post(path, &json!({ "subject": ann, "permission": "doc:read", "context": context }));
    with(json!({ "text": "x".repeat(16_000) })).expect(200);
    with(json!({ "text": "x".repeat(17_000) })).is_problem(400, "invalid-input").names_field("context");
    with(json!([1])).is_problem(400, "invalid-input").names_field("context");
    let items = json!({ "checks": [{ "subject": ann, "permission": "doc:read", "context": 7 }] });
    let reply = app.post("/api/v1/permissions/check/batch", &items);
    reply.is_problem(400, "invalid-input").names_field("checks[0].context");
}

#[test]
fn conditions_outlive_a_restart() {
    let server = Server::durable();
    let admin = server.admin();
    admin.define(&["doc:read"]);
    let app = admin.app("shop", &["checker"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    give(&admin, &ann, "owner", "allow", "context.key == 'k'");
    let server = server.restarted();
    let app = app.at(server.address);
    assert_eq!(check(&app, &ann, &json!({ "context": { "key": "k" } })), said(true, "granted_by_role"));
    assert_eq!(check(&app, &ann, &json!({ "context": { "key": "x" } })), said(false, "condition_not_met"));
}

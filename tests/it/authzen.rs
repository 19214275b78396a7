//! `OpenID` AuthZEN Authorization API 1.0: the decisions of its "Todo" scenario, and the protocol around them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{App, Reply, Server, data};

/// The scenario's people: external id, name, address, roles.
const PEOPLE: [(&str, &str, &str, &[&str]); 5] = [
    (RICK, "rick", "rick@the-citadel.com", &["admin", "evil_genius"]),
    ("CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "morty", "morty@the-citadel.com", &["editor"]),
    ("CiRmZDI2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "summer", "summer@the-smiths.com", &["editor"]),
    ("CiRmZDM2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "beth", "beth@the-smiths.com", &["viewer"]),
    (JERRY, "jerry", "jerry@the-smiths.com", &["viewer"]),
];
const RICK: &str = "CiRmZDA2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs";
const JERRY: &str = "CiRmZDQ2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs";

/// The scenario's roles: editors change and delete todos of their own, as the resource's `ownerID` says.
fn scenario(server: &Server) -> App {
    let admin = server.admin();
    let (read_user, read_todos, create) = ("user:can_read_user", "todo:can_read_todos", "todo:can_create_todo");
    let (update, delete) = ("todo:can_update_todo", "todo:can_delete_todo");
    admin.define(&[read_user, read_todos, create, update, delete]);
    let inheriting = |name: &str, parent: &str, permissions: &[Value]| {
        admin.created("/api/v1/roles", &json!({ "name": name, "parent_role_id": parent, "permissions": permissions }))
    };
    let viewer = admin.role("viewer", &[read_user, read_todos]);
    let own = |pattern: &str| {
        let condition = "resource.properties.ownerID == subject.email";
        json!({ "effect": "allow", "pattern": pattern, "condition": condition })
    };
    let editor = inheriting("editor", &viewer, &[json!(create), own(update), own(delete)]);
    inheriting("admin", &editor, &[json!(delete)]);
    inheriting("evil_genius", &editor, &[json!(update)]);
    for (external_id, username, email, roles) in PEOPLE {
        let user = admin.create_user(&json!({ "username": username, "email": email, "external_id": external_id }));
        for role in roles {
            admin.assign(&user, &admin.role_id(role));
        }
    }
    admin.app("todo", &["checker"])
}

#[test]
fn the_todo_scenario_is_decided_as_the_standards_body_expects() {
    let text = std::fs::read_to_string(data("authzen-todo").join("decisions.json")).unwrap();
    let server = Server::start();
    let app = scenario(&server);
    let cases: Value = serde_json::from_str(&text).unwrap();
    let mut asked = Vec::new();
    for (kind, path) in [("evaluation", "/access/v1/evaluation"), ("evaluations", "/access/v1/evaluations")] {
        let cases = cases[kind].as_array().unwrap();
        for case in cases {
            let (request, expected) = (&case["request"], &case["expected"]);
            let body = if kind == "evaluation" {
                json!({ "decision": expected }).to_string()
            } else {
                json!({ "evaluations": expected }).to_string()
            };
            let reply = app.post(path, request);
            assert_eq!((reply.status, reply.body), (200, body), "{request}");
        }
        asked.push(cases.len());
    }
    assert_eq!(asked, [40, 3]);
}

fn evaluation(subject: &str, action: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": subject },
        "action": { "name": action },
        "resource": { "type": "todo", "id": "todo-1" },
    })
}

#[test]
fn what_cannot_be_understood_is_400() {
    let server = Server::start();
    let app = scenario(&server);
    let without = |member: &str| {
        let mut body = evaluation(RICK, "can_read_todos");
        body.as_object_mut().unwrap().remove(member);
        body
    };
    let with = |member: &str, value: Value| {
        let mut body = evaluation(RICK, "can_read_todos");
        body[member] = value;
        body
    };
    for path in ["/access/v1/evaluation", "/access/v1/evaluations"] {
        let refused = |body: &Value, field: &str| {
            let reply = app.post(path, body);
            reply.is_problem(400, "invalid-input").names_field(field);
        };
        for member in ["subject", "action", "resource"] {
            refused(&without(member), member);
            refused(&with(member, json!("a text")), member);
            refused(&with(member, json!([])), member);
        }
        refused(&with("subject", json!({ "type": "user" })), "subject.id");
        refused(&with("subject", json!({ "id": RICK })), "subject.type");
        refused(&with("subject", json!({ "type": "user", "id": 7 })), "subject.id");
        refused(&with("action", json!({})), "action.name");
        refused(&with("resource", json!({ "id": "x" })), "resource.type");
        app.post(path, &with("subject", Value::Null)).is_problem(400, "invalid-input");
        let plain = |content_type: &str| {
            let body = Some(evaluation(RICK, "can_read_todos").to_string());
            app.call("POST", path, body, &[("Content-Type", content_type)])
        };
        plain("text/plain").is_problem(400, "unsupported-content-type");
        assert_eq!(plain("application/json; charset=utf-8").status, 200);
        app.call("POST", path, Some("{".into()), &[]).is_problem(400, "malformed-json");
    }
}

#[test]
fn the_protocol_around_a_decision() {
    let server = Server::start();
    let app = scenario(&server);
    let body = evaluation(RICK, "can_read_todos");
    for path in ["/access/v1/evaluation", "/access/v1/evaluations"] {
        server.anonymous().post(path, &body).is_problem(401, "unauthenticated");
        let reply = app.call("POST", path, Some(body.to_string()), &[("X-Request-ID", "bfe9eb29-ab87")]);
        assert_eq!((reply.status, reply.header("x-request-id")), (200, Some("bfe9eb29-ab87")));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.body, r#"{"decision":true}"#);
        let reply = app.get(path);
        assert_eq!(reply.is_problem(405, "method-not-allowed").header("allow"), Some("OPTIONS, POST"));
    }
    let powerless = server.admin().app("powerless", &[]);
    powerless.post("/access/v1/evaluation", &body).is_problem(403, "missing-permission");
}

#[test]
fn members_that_this_product_does_not_use_are_accepted() {
    let server = Server::start();
    let app = scenario(&server);
    let mut body = evaluation(RICK, "can_read_todos");
    body["subject"]["properties"] = json!({ "department": "Sales" });
    body["action"]["properties"] = json!({ "method": "GET" });
    body["resource"]["properties"] = json!({ "status": [1, 2] });
    body["context"] = json!({ "time": "1985-10-26T01:22-07:00" });
    body["com.example.extension"] = json!({ "x": 1 });
    assert_eq!(app.post("/access/v1/evaluation", &body).body, r#"{"decision":true}"#);
    let unknown = |subject: Value| {
        let mut body = body.clone();
        body["subject"] = subject;
        app.post("/access/v1/evaluation", &body).body
    };
    for subject in [json!({ "type": "user", "id": "nobody" }), json!({ "type": "robot", "id": RICK })] {
        assert_eq!(unknown(subject), r#"{"decision":false}"#);
    }
}

/// The decisions of several subjects about one action.
fn decisions(app: &App, semantic: Option<&str>, subjects: &[&str]) -> Vec<bool> {
    let items: Vec<Value> = subjects.iter().map(|id| json!({ "subject": { "type": "user", "id": id } })).collect();
    let mut body = json!({
        "action": { "name": "can_update_todo" },
        "resource": { "type": "todo", "id": "todo-1" },
        "evaluations": items,
    });
    if let Some(semantic) = semantic {
        body["options"] = json!({ "evaluations_semantic": semantic });
    }
    let answer = app.post("/access/v1/evaluations", &body).expect(200);
    answer["evaluations"].as_array().unwrap().iter().map(|one| one["decision"].as_bool().unwrap()).collect()
}

#[test]
fn a_batch_stops_when_its_semantic_says_so() {
    let server = Server::start();
    let app = scenario(&server);
    let (yes, no) = (RICK, JERRY);
    assert_eq!(decisions(&app, None, &[yes, no, yes]), [true, false, true]);
    assert_eq!(decisions(&app, Some("execute_all"), &[yes, no, yes]), [true, false, true]);
    assert_eq!(decisions(&app, Some("deny_on_first_deny"), &[yes, no, yes]), [true, false]);
    assert_eq!(decisions(&app, Some("permit_on_first_permit"), &[no, yes, no]), [false, true]);
    assert_eq!(decisions(&app, Some("deny_on_first_deny"), &[yes, yes]), [true, true]);
    let mut body = evaluation(RICK, "can_read_todos");
    body["evaluations"] = json!([{}]);
    body["options"] = json!({ "evaluations_semantic": "guess" });
    app.post("/access/v1/evaluations", &body).is_problem(400, "invalid-input");
}

#[test]
fn what_an_item_leaves_out_is_taken_from_the_request() {
    let server = Server::start();
    let app = scenario(&server);
    let all = |body: &Value| -> Reply { app.post("/access/v1/evaluations", body) };
    let mut body = evaluation(RICK, "can_update_todo");
    body["evaluations"] = json!([
        {},
        { "subject": { "type": "user", "id": JERRY } },
        { "subject": { "type": "user", "id": JERRY }, "action": { "name": "can_read_todos" } },
        { "resource": { "type": "spaceship", "id": "1" } },
    ]);
    let expected = r#"{"evaluations":[{"decision":true},{"decision":false},{"decision":true},{"decision":false}]}"#;
    assert_eq!(all(&body).body, expected);
    body["evaluations"] = json!([]);
    assert_eq!(all(&body).body, r#"{"decision":true}"#);
    let body = json!({
        "subject": { "type": "user", "id": RICK },
        "action": { "name": "can_update_todo" },
        "evaluations": [{ "resource": { "type": "todo", "id": "1" } }, {}],
    });
    let answer = all(&body).expect(200);
    assert_eq!(answer["evaluations"][0], json!({ "decision": true }));
    assert_eq!(answer["evaluations"][1]["decision"], false);
    assert_eq!(answer["evaluations"][1]["context"]["error"]["status"], 400);
    assert!(answer["evaluations"][1]["context"]["error"]["message"].as_str().unwrap().contains("resource"));
}

#[test]
fn a_batch_is_bounded() {
    let server = Server::start();
    let app = scenario(&server);
    let mut body = evaluation(RICK, "can_read_todos");
    body["evaluations"] = Value::Array(vec![json!({}); 10_000]);
    let answer = app.post("/access/v1/evaluations", &body).expect(200);
    let distinct: BTreeSet<String> = answer["evaluations"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!(distinct, BTreeSet::from([r#"{"decision":true}"#.to_owned()]));
    body["evaluations"].as_array_mut().unwrap().push(json!({}));
    app.post("/access/v1/evaluations", &body).is_problem(400, "invalid-input").names_field("evaluations");
}

#[test]
fn the_metadata_say_where_to_ask() {
    let server = Server::with(|config| config.http.public_url = "https://pdp.example".to_owned());
    let metadata = server.anonymous().get("/.well-known/authzen-configuration").expect(200);
    let expected = json!({
        "policy_decision_point": "https://pdp.example",
        "access_evaluation_endpoint": "https://pdp.example/access/v1/evaluation",
        "access_evaluations_endpoint": "https://pdp.example/access/v1/evaluations",
        "search_subject_endpoint": "https://pdp.example/access/v1/search/subject",
        "search_resource_endpoint": "https://pdp.example/access/v1/search/resource",
        "search_action_endpoint": "https://pdp.example/access/v1/search/action",
    });
    assert_eq!(metadata, expected);
}

//! The certification scenario of the AuthZEN Authorization API 1.0 (openid/authzen, `certification`): the fixture as it is
//! mandated, and the requests of every level word for word. Tests and comments carry the scenario's own section names.

use serde_json::{Value, json};

use crate::authzen_rules::fixture;
use crate::harness::{App, Reply, Server};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";
const SUBJECTS: &str = "/access/v1/search/subject";
const RESOURCES: &str = "/access/v1/search/resource";
const ACTIONS: &str = "/access/v1/search/action";

fn user(id: &str) -> Value {
    json!({ "type": "user", "id": id })
}

fn action(name: &str) -> Value {
    json!({ "name": name })
}

fn record(id: &str) -> Value {
    json!({ "type": "record", "id": id })
}

/// A record with the status that a request says it has.
fn told(id: &str, status: &str) -> Value {
    json!({ "type": "record", "id": id, "properties": { "status": status } })
}

fn bob_as_admin() -> Value {
    json!({ "type": "user", "id": "bob", "properties": { "role": "admin" } })
}

fn evaluation(subject: Value, action: Value, resource: Value) -> Value {
    json!({ "subject": subject, "action": action, "resource": resource })
}

/// The context that the scenario passes, of which no decision depends.
fn context() -> Value {
    json!({ "time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1" })
}

fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

fn without(mut body: Value, path: &str) -> Value {
    let (of, member) = path.rsplit_once('/').unwrap();
    body.pointer_mut(of).unwrap().as_object_mut().unwrap().remove(member).unwrap();
    body
}

/// A success, as JSON.
fn answered(app: &App, path: &str, body: &Value) -> Value {
    let reply = app.post(path, body);
    assert_eq!(reply.header("content-type"), Some("application/json"), "{body}");
    reply.expect(200)
}

fn decides(app: &App, body: &Value, expected: bool) {
    assert_eq!(answered(app, EVALUATION, body)["decision"], expected, "{body}");
}

/// The decisions of a batch, in order.
fn decisions(app: &App, body: &Value) -> Vec<bool> {
    let answer = answered(app, EVALUATIONS, body);
    answer["evaluations"].as_array().unwrap().iter().map(|one| one["decision"].as_bool().unwrap()).collect()
}

/// The names of what was found, each of the kind that was sought.
fn found(answer: &Value, kind: Option<&str>) -> Vec<String> {
    let name = |one: &Value| {
        assert_eq!(one.get("type").and_then(Value::as_str), kind, "{answer}");
        one[if kind.is_some() { "id" } else { "name" }].as_str().unwrap().to_owned()
    };
    answer["results"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn basic_core_and_properties() {
    let server = Server::start();
    let app = fixture(&server);
    let reads = || evaluation(user("alice"), action("read"), record("record-1"));
    // Core decision rules 1 to 4: identifiers alone.
    decides(&app, &reads(), true);
    decides(&app, &evaluation(user("alice"), action("write"), record("record-1")), true);
    decides(&app, &evaluation(user("bob"), action("read"), record("record-1")), true);
    decides(&app, &evaluation(user("bob"), action("write"), record("record-1")), false);
    // Request with optional context.
    decides(&app, &with(reads(), "context", context()), true);
    // Decision rules 5 to 8: by the properties of resource, subject and action.
    decides(&app, &evaluation(user("alice"), action("write"), told("record-2", "archived")), false);
    decides(&app, &evaluation(bob_as_admin(), action("write"), told("record-2", "archived")), true);
    let delete = |soft: bool| json!({ "name": "delete", "properties": { "soft": soft } });
    decides(&app, &evaluation(user("alice"), delete(true), record("record-1")), true);
    decides(&app, &evaluation(user("alice"), delete(false), record("record-1")), false);
    // Request with additional properties.
    let additional = json!({
        "subject": { "type": "user", "id": "alice", "properties": { "department": "Sales", "role": "manager" } },
        "action": { "name": "read", "properties": { "method": "GET" } },
        "resource": { "type": "record", "id": "record-1", "properties": { "status": "active", "owner": "bob" } },
    });
    decides(&app, &additional, true);
    // Request with unknown fields.
    let unknown = with(with(reads(), "foo", json!("bar")), "futureField", json!({ "nested": true }));
    decides(&app, &unknown, true);
    // Idempotency.
    (0..5).for_each(|_| decides(&app, &reads(), true));
}

#[test]
fn batch_core_and_properties() {
    let server = Server::start();
    let app = fixture(&server);
    let (one, two) = (record("record-1"), record("record-2"));
    // Core: an array, fixture decisions, fully specified items, inherited context.
    let array = json!({ "subject": user("alice"), "action": action("read"), "evaluations": [{ "resource": one }, { "resource": two }] });
    assert_eq!(decisions(&app, &array), [true, true]);
    let fixture = json!({
        "subject": user("bob"), "resource": one, "evaluations": [{ "action": action("read") }, { "action": action("write") }],
    });
    assert_eq!(decisions(&app, &fixture), [true, false]);
    let specified = json!({ "evaluations": [
        evaluation(user("alice"), action("read"), one.clone()),
        evaluation(user("bob"), action("write"), one.clone()),
    ] });
    assert_eq!(decisions(&app, &specified), [true, false]);
    let inherited = json!({
        "subject": user("alice"),
        "action": action("read"),
        "context": { "time": "2025-06-27T18:03-07:00" },
        "evaluations": [
            { "resource": one },
            { "resource": two, "context": { "time": "2025-06-27T19:00-07:00", "source": "batch-override" } },
        ],
    });
    assert_eq!(decisions(&app, &inherited), [true, true]);
    // Properties: of resources, of subjects, and defaults that are replaced whole.
    let (active, archived) = (told("record-1", "active"), told("record-2", "archived"));
    let resources = json!({
        "subject": user("alice"), "action": action("write"), "evaluations": [{ "resource": active }, { "resource": archived }],
    });
    assert_eq!(decisions(&app, &resources), [true, false]);
    let subjects = json!({
        "action": action("write"), "resource": archived, "evaluations": [{ "subject": user("alice") }, { "subject": bob_as_admin() }],
    });
    assert_eq!(decisions(&app, &subjects), [false, true]);
    let defaults =
        with(evaluation(user("alice"), action("write"), active), "evaluations", json!([{}, { "resource": archived }]));
    assert_eq!(decisions(&app, &defaults), [true, false]);
    // An item that fails, under execute_all.
    let failing = json!({
        "subject": user("alice"),
        "action": action("read"),
        "options": { "evaluations_semantic": "execute_all" },
        "evaluations": [{ "resource": one }, {}],
    });
    assert_eq!(decisions(&app, &failing), [true, false]);
    // A missing and an empty array.
    let single = evaluation(user("alice"), action("read"), one);
    for body in [single.clone(), with(single, "evaluations", json!([]))] {
        assert_eq!(answered(&app, EVALUATIONS, &body)["decision"], true);
    }
}

fn subject_search() -> Value {
    json!({ "subject": { "type": "user" }, "action": action("read"), "resource": record("record-1") })
}

fn resource_search() -> Value {
    json!({ "subject": user("alice"), "action": action("read"), "resource": { "type": "record" } })
}

fn action_search() -> Value {
    json!({ "subject": user("alice"), "resource": record("record-1") })
}

#[test]
fn search_core() {
    let server = Server::start();
    let app = fixture(&server);
    let of = |path: &str, body: &Value, kind: Option<&str>| found(&answered(&app, path, body), kind);
    // S1 to S3, each with a context and with an id that is to be ignored.
    let (users, records) = (["alice", "bob"], ["record-1", "record-2"]);
    assert_eq!(of(SUBJECTS, &subject_search(), Some("user")), users);
    assert_eq!(of(SUBJECTS, &with(subject_search(), "context", context()), Some("user")), users);
    assert_eq!(of(SUBJECTS, &with(subject_search(), "subject", user("alice")), Some("user")), users);
    assert_eq!(of(RESOURCES, &resource_search(), Some("record")), records);
    assert_eq!(of(RESOURCES, &with(resource_search(), "context", context()), Some("record")), records);
    assert_eq!(of(RESOURCES, &with(resource_search(), "resource", record("record-1")), Some("record")), records);
    assert_eq!(of(ACTIONS, &action_search(), None), ["read", "write"]);
    assert_eq!(of(ACTIONS, &with(action_search(), "context", context()), None), ["read", "write"]);
    // A page limit, then the token alone.
    let first = answered(&app, SUBJECTS, &with(subject_search(), "page", json!({ "limit": 1 })));
    assert_eq!(found(&first, Some("user")), ["alice"]);
    let token = json!({ "token": first["page"]["next_token"] });
    let second = answered(&app, SUBJECTS, &with(subject_search(), "page", token));
    assert_eq!((found(&second, Some("user")), &second["page"]["next_token"]), (vec!["bob".to_owned()], &json!("")));
}

#[test]
fn search_properties() {
    let server = Server::start();
    let app = fixture(&server);
    // S4 to S6.
    let archived = told("record-2", "archived");
    let subjects = json!({ "subject": { "type": "user" }, "action": action("write"), "resource": archived });
    assert_eq!(found(&answered(&app, SUBJECTS, &subjects), Some("user")), ["bob"]);
    let resources = json!({ "subject": bob_as_admin(), "action": action("write"), "resource": { "type": "record" } });
    assert_eq!(found(&answered(&app, RESOURCES, &resources), Some("record")), ["record-2"]);
    let actions = json!({ "subject": bob_as_admin(), "resource": archived });
    assert_eq!(found(&answered(&app, ACTIONS, &actions), None), ["read", "write"]);
}

#[test]
fn searches_without_matches_are_empty() {
    let server = Server::start();
    let app = fixture(&server);
    let spaceship = || json!({ "type": "spaceship" });
    let nobody = || user("nonexistent-user");
    let a_spaceship = || json!({ "type": "spaceship", "id": "1" });
    let cases = [
        (SUBJECTS, with(subject_search(), "resource", record("nonexistent-record"))),
        (SUBJECTS, with(subject_search(), "subject", spaceship())),
        (SUBJECTS, with(subject_search(), "resource", a_spaceship())),
        (RESOURCES, with(resource_search(), "subject", nobody())),
        (RESOURCES, with(resource_search(), "subject", a_spaceship())),
        (RESOURCES, with(resource_search(), "resource", spaceship())),
        (ACTIONS, with(action_search(), "subject", nobody())),
        (ACTIONS, with(action_search(), "subject", a_spaceship())),
        (ACTIONS, with(action_search(), "resource", a_spaceship())),
    ];
    for (number, (path, body)) in cases.iter().enumerate() {
        let answer = answered(&app, path, body);
        // Whoever reads records reads one that is not stored, too.
        let expected = if number == 0 { json!(2) } else { json!(0) };
        assert_eq!(json!(answer["results"].as_array().unwrap().len()), expected, "{path} {body}");
    }
}

#[test]
fn missing_and_wrong_members_are_400() {
    let server = Server::start();
    let app = fixture(&server);
    let single = || evaluation(user("alice"), action("read"), record("record-1"));
    let entities = ["/subject", "/subject/type", "/subject/id", "/resource", "/resource/type", "/resource/id"];
    let mut cases: Vec<(&str, Value)> = Vec::new();
    for path in [EVALUATION, EVALUATIONS] {
        cases.extend(
            entities.iter().chain(&["/action", "/action/name"]).map(|member| (path, without(single(), member))),
        );
        cases.push((path, with(single(), "subject", json!("alice"))));
        cases.push((path, with(single(), "action", json!({ "name": 123 }))));
    }
    let of_subjects =
        ["/subject", "/subject/type", "/action", "/action/name", "/resource", "/resource/type", "/resource/id"];
    cases.extend(of_subjects.map(|member| (SUBJECTS, without(subject_search(), member))));
    let of_resources =
        ["/subject", "/subject/type", "/subject/id", "/action", "/action/name", "/resource", "/resource/type"];
    cases.extend(of_resources.map(|member| (RESOURCES, without(resource_search(), member))));
    cases.extend(entities.map(|member| (ACTIONS, without(action_search(), member))));
    for (path, body) in [(SUBJECTS, subject_search()), (RESOURCES, resource_search()), (ACTIONS, action_search())] {
        cases.push((path, with(body.clone(), "subject", json!("alice"))));
        cases.push((path, with(body, "resource", json!(7))));
    }
    for (path, body) in &cases {
        let reply = app.post(path, body);
        assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("invalid-input")), "{path} {body}");
    }
}

/// The five endpoints, each with a request that it answers.
fn endpoints() -> [(&'static str, Value); 5] {
    let single = evaluation(user("alice"), action("read"), record("record-1"));
    [
        (EVALUATION, single.clone()),
        (EVALUATIONS, single),
        (SUBJECTS, subject_search()),
        (RESOURCES, resource_search()),
        (ACTIONS, action_search()),
    ]
}

#[test]
fn transport_of_all_five_endpoints() {
    let server = Server::start();
    let app = fixture(&server);
    let id = [("X-Request-ID", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716")];
    let echoes = |reply: &Reply| assert_eq!(reply.header("x-request-id"), Some(id[0].1), "{reply:?}");
    for (path, body) in endpoints() {
        let post =
            |body: String, headers: &[(&str, &str)]| app.call("POST", path, Some(body), &[headers, &id].concat());
        let reply = post(with(body.clone(), "foo", json!("bar")).to_string(), &[]);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{path}");
        echoes(&reply);
        for kind in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
            let reply = post(body.to_string(), &[("Content-Type", kind)]);
            echoes(reply.is_problem(400, "unsupported-content-type"));
        }
        for malformed in ["", "not json", "{"] {
            echoes(post(malformed.to_owned(), &[]).is_problem(400, "malformed-json"));
        }
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let reply = app.call(method, path, None, &id);
            echoes(reply.is_problem(405, "method-not-allowed"));
            assert_eq!(reply.header("allow"), Some("OPTIONS, POST"), "{method} {path}");
        }
    }
}

#[test]
fn discovery() {
    let base = "https://pdp.example.com";
    let server = Server::with(|config| config.http.public_url = base.to_owned());
    let reply = server.anonymous().get("/.well-known/authzen-configuration");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let expected = json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}{EVALUATION}"),
        "access_evaluations_endpoint": format!("{base}{EVALUATIONS}"),
        "search_subject_endpoint": format!("{base}{SUBJECTS}"),
        "search_resource_endpoint": format!("{base}{RESOURCES}"),
        "search_action_endpoint": format!("{base}{ACTIONS}"),
    });
    assert_eq!(reply.expect(200), expected);
}

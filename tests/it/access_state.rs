//! Roles and permissions as one text: read, compared, applied; and what everybody holds, exported.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::harness::{Admin, App, Reply, Server, SignedIn};

const STATE: &str = "/api/v1/access/state";

fn put(admin: &Admin, body: &Value, if_match: &str) -> Reply {
    admin.call("PUT", STATE, Some(body.to_string()), &[("If-Match", if_match)])
}

fn etag(admin: &Admin) -> String {
    admin.get(STATE).header("etag").unwrap().to_owned()
}

fn changes(answer: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |one: &Value| ["thing", "name", "action"].map(|field| text(&one[field])).join(" ");
    answer["changes"].as_array().unwrap().iter().map(line).collect()
}

/// Two permissions and two roles.
fn first() -> Value {
    json!({
        "permissions": [{ "name": "doc:read", "description": "Reads" }, { "name": "doc:write" }],
        "roles": [
            // A child may stand before its parent.
            { "name": "writer", "parents": ["reader"], "permissions": ["doc:write"] },
            { "name": "reader", "permissions": ["doc:read", { "effect": "deny", "pattern": "doc:write" }] },
        ],
    })
}

#[test]
fn a_state_is_applied_whole_and_read_back() {
    let server = Server::start();
    let admin = server.admin();
    assert_eq!(admin.get(STATE).expect(200), json!({ "permissions": [], "roles": [] }));
    let dry = admin.put(&format!("{STATE}?dry_run=true"), &first()).expect(200);
    let expected =
        ["permission doc:read defined", "permission doc:write defined", "role reader defined", "role writer defined"];
    assert_eq!((changes(&dry).as_slice(), &dry["is_applied"]), (&expected.map(str::to_owned)[..], &json!(false)));
    assert_eq!(admin.get(STATE).expect(200)["roles"], json!([]), "nothing was written");
    let before = etag(&admin);
    let applied = put(&admin, &first(), &before);
    assert_eq!(changes(&applied.expect(200)), expected);
    assert_eq!(applied.header("etag"), Some(etag(&admin).as_str()));
    let state = admin.get(STATE).expect(200);
    let roles = json!([
        { "name": "reader", "parents": [], "permissions": ["doc:read", { "effect": "deny", "pattern": "doc:write" }], "is_active": true },
        { "name": "writer", "parents": ["reader"], "permissions": ["doc:write"], "is_active": true },
    ]);
    assert_eq!(state["roles"], roles);
    assert_eq!(state["permissions"], json!([{ "name": "doc:read", "description": "Reads" }, { "name": "doc:write" }]));
    // What was read is what is: applied again, nothing changes.
    let again = put(&admin, &state, &etag(&admin)).expect(200);
    assert_eq!(changes(&again), [""; 0]);
    put(&admin, &state, &before).is_problem(412, "version-mismatch");
    admin.put(STATE, &state).is_problem(428, "if-match-required");
}

#[test]
fn what_is_not_named_goes_and_who_loses_by_it_is_counted() {
    let server = Server::start();
    let admin = server.admin();
    put(&admin, &first(), "*").expect(200);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &admin.role_id("reader"));
    let app = admin.app("shop", &["checker"]);
    assert!(app.allows(&ann, "doc:read"));
    // The family is turned around, one permission goes, one changes its words.
    let second = json!({
        "permissions": [{ "name": "doc:read" }],
        "roles": [
            { "name": "reader", "parents": ["writer"] },
            { "name": "writer", "permissions": ["*:read"], "is_active": false, "sessions": { "max_sessions": 3 } },
        ],
    });
    let answer = put(&admin, &second, &etag(&admin)).expect(200);
    let expected =
        ["permission doc:read changed", "role writer changed", "role reader changed", "permission doc:write removed"];
    assert_eq!(changes(&answer), expected);
    assert_eq!((&answer["subjects_gaining"], &answer["subjects_losing"]), (&json!(0), &json!(1)));
    assert!(!app.allows(&ann, "doc:read"));
    let nothing = put(&admin, &json!({}), "*").expect(200);
    assert_eq!(changes(&nothing), ["role reader removed", "role writer removed", "permission doc:read removed"]);
    assert_eq!(admin.get("/api/v1/roles").expect(200)["items"].as_array().unwrap().len(), 2, "the built-in ones");
}

#[test]
fn a_state_that_cannot_be_is_refused_whole() {
    let server = Server::start();
    let admin = server.admin();
    put(&admin, &first(), "*").expect(200);
    let before = admin.get(STATE).expect(200);
    let refused = |body: Value, status, code: &str| {
        let reply = put(&admin, &body, "*");
        reply.is_problem(status, code);
        assert_eq!(admin.get(STATE).expect(200), before);
        reply
    };
    let circle = json!({ "roles": [{ "name": "a", "parents": ["b"] }, { "name": "b", "parents": ["a"] }] });
    assert!(refused(circle, 409, "role-cycle").text("detail").contains("a → b → a"));
    let unknown = json!({ "roles": [{ "name": "a", "permissions": ["doc:burn"] }] });
    refused(unknown, 400, "invalid-fields").names_field("roles.a.permissions[0]");
    let twice = json!({ "roles": [{ "name": "a" }, { "name": "a" }], "permissions": [{ "name": "sesame.x:y" }] });
    let twice = refused(twice, 400, "invalid-fields");
    twice.names_field("permissions[0].name");
    assert!(twice.body.contains("roles[1].name"), "{}", twice.body);
    refused(json!({ "roles": [{ "name": "checker" }] }), 400, "invalid-fields").names_field("roles[0].name");
    let orphan = json!({ "roles": [{ "name": "a", "parents": ["b"] }] });
    refused(orphan, 400, "invalid-fields").names_field("roles[0].parents[0]");
    refused(json!({ "role": [] }), 400, "invalid-input");
    let clerk = admin.person("clerk");
    admin.assign(&clerk.id, &admin.role_id("reader"));
    let body = json!({ "roles": [{ "name": "front", "permissions": ["sesame.audit:read"] }] });
    clerk.put(STATE, &body).is_problem(403, "missing-permission");
    let chief = admin.person("chief");
    let mut with_chief = first();
    with_chief["roles"].as_array_mut().unwrap().push(json!({ "name": "chief", "permissions": ["sesame.roles:write"] }));
    put(&admin, &with_chief, "*").expect(200);
    admin.assign(&chief.id, &admin.role_id("chief"));
    chief.call("PUT", STATE, Some(body.to_string()), &[("If-Match", "*")]).is_problem(403, "escalation");
    let mut denying = with_chief.clone();
    denying["roles"][1]["permissions"] = json!([{ "effect": "deny", "pattern": "sesame.audit:read" }]);
    chief.call("PUT", STATE, Some(denying.to_string()), &[("If-Match", "*")]).is_problem(403, "not-yours-to-take");
    chief.put(&format!("{STATE}?dry_run=true"), &denying).is_problem(403, "not-yours-to-take");
}

#[test]
fn subjects_that_are_named_hold_what_is_said_and_others_are_left_alone() {
    let server = Server::start();
    let admin = server.admin();
    put(&admin, &first(), "*").expect(200);
    let [ann, bob] = ["ann", "bob"].map(|name| admin.create_user(&json!({ "username": name })));
    admin.assign(&ann, &admin.role_id("writer"));
    admin.assign(&bob, &admin.role_id("reader"));
    let others = admin.get("/api/v1/users?username=admin").expect(200)["items"][0]["id"].to_string();
    admin.post(&format!("/api/v1/users/{}/suspend", others.trim_matches('"')), &json!({})).expect(200);
    let mut body = first();
    body["subjects"] = json!([
        { "username": "ann", "roles": [{ "role": "reader", "scope": "org" }], "grants": [{ "rule": "doc:write" }] },
        { "id": admin.id, "roles": [{ "role": "reader" }] },
    ]);
    let dry = admin.put(&format!("{STATE}?dry_run=true"), &body).expect(200);
    assert_eq!(dry["subjects"][0], json!({ "subject": ann, "status": "would_change" }));
    let foreseen = &dry["subjects"][1];
    assert_eq!((&foreseen["status"], &foreseen["code"]), (&json!("would_be_refused"), &json!("last-administrator")));
    let answer = put(&admin, &body, &etag(&admin)).expect(200);
    assert_eq!(answer["subjects"][0], json!({ "subject": ann, "status": "changed" }));
    let refused = &answer["subjects"][1];
    assert_eq!((&refused["status"], &refused["code"]), (&json!("refused"), &json!("last-administrator")));
    let held = admin.get(&format!("/api/v1/users/{ann}/roles")).expect(200);
    let held: Vec<_> = held["items"].as_array().unwrap().iter().map(|one| (&one["role_name"], &one["scope"])).collect();
    assert_eq!(held, [(&json!("reader"), &json!("org"))]);
    let app = admin.app("shop", &["checker"]);
    // The role that denies it holds in org alone; everywhere else the grant does.
    let writes = |place: Value| app.check(&json!({ "subject": ann, "permission": "doc:write", "scope": place })).0;
    assert!(writes(Value::Null) && !writes(json!("org")));
    assert!(app.allows(&bob, "doc:read"));
    body["subjects"] = json!([{ "username": "ann", "roles": [{ "role": "reader", "scope": "org" }], "grants": [{ "rule": "doc:write" }] }]);
    let again = put(&admin, &body, &etag(&admin)).expect(200);
    assert_eq!(again["subjects"][0]["status"], "unchanged");
    body["subjects"] = json!([{ "username": "ann", "roles": [{ "role": "burner" }] }]);
    put(&admin, &body, "*").is_problem(400, "invalid-input").names_field("subjects[0].roles[0].role");
    body["subjects"] = json!([{ "username": "nobody" }]);
    put(&admin, &body, "*").is_problem(400, "invalid-input").names_field("subjects[0]");
    body["subjects"] = json!([{ "username": "ann" }, { "id": ann }]);
    put(&admin, &body, "*").is_problem(400, "invalid-input").names_field("subjects[1]");
}

/// What a comparison says must be what applying it then does: the same refusal of the whole, or the same for each subject.
fn compare(person: &SignedIn, body: &Value) -> [usize; 3] {
    let dry = person.put(&format!("{STATE}?dry_run=true"), body);
    let done = person.call("PUT", STATE, Some(body.to_string()), &[("If-Match", "*")]);
    if done.status != 200 {
        let foreseen =
            if dry.status == 200 { dry.json()["would_be_refused"].clone() } else { dry.json()["code"].clone() };
        assert_eq!(foreseen, done.json()["code"], "{body} {} {}", dry.body, done.body);
        return [1, 0, 0];
    }
    let (dry, done) = (dry.expect(200), done.expect(200));
    assert_eq!(dry["would_be_refused"], Value::Null, "{body} {dry}");
    let subjects = |answer: &Value| answer["subjects"].as_array().unwrap().clone();
    let mut counts = [0; 3];
    assert_eq!(subjects(&dry).len(), subjects(&done).len());
    for (foreseen, became) in subjects(&dry).iter().zip(&subjects(&done)) {
        let (said, status) = (foreseen["status"].as_str().unwrap(), became["status"].as_str().unwrap());
        let expected = match status {
            "changed" => "would_change",
            "refused" => "would_be_refused",
            same => same,
        };
        assert_eq!((said, &foreseen["code"]), (expected, &became["code"]), "{body} {dry} {done}");
        counts[1] += usize::from(status == "changed");
        counts[2] += usize::from(status == "refused");
    }
    counts
}

#[test]
fn a_comparison_foresees_who_would_be_the_last_administrator() {
    let server = Server::start();
    let admin = server.admin();
    let first = admin.get("/api/v1/users?username=admin").expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    admin.post(&format!("/api/v1/users/{first}/suspend"), &json!({})).expect(200);
    let [bob, cid] = ["bob", "cid"].map(|name| admin.person(name));
    admin.assign(&bob.id, &admin.role_id("administrator"));
    let names = |names: &[&str]| names.iter().map(|name| json!({ "role": name })).collect::<Vec<_>>();
    let body = |subjects: &[(&str, &[&str])]| {
        let subject = |(id, roles): &(&str, &[&str])| json!({ "id": id, "roles": names(roles) });
        json!({ "subjects": subjects.iter().map(subject).collect::<Vec<_>>() })
    };
    // Cid is one before the others are none any more; then all three are to be none, and the last of them stays one.
    assert_eq!(compare(&bob, &body(&[(&cid.id, &["administrator"]), (&admin.id, &[])])), [0, 2, 0]);
    assert_eq!(compare(&bob, &body(&[(&cid.id, &[]), (&admin.id, &["checker"]), (&bob.id, &["checker"])])), [0, 2, 1]);
    assert_eq!(compare(&bob, &body(&[(&bob.id, &[]), (&cid.id, &["administrator"])])), [0, 1, 1]);
}

#[test]
fn a_comparison_foresees_what_applying_then_does() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write"]);
    let chief = admin.person("chief");
    let rights = ["sesame.roles:read", "sesame.roles:write", "sesame.assignments:write", "sesame.users:read", "doc:*"];
    let people = ["ann", "bob", "cid"].map(|name| admin.create_user(&json!({ "username": name })));
    let role = || {
        let rules = vec(
            select(&["doc:read", "sesame.users:write", "sesame.roles:read", "-sesame.audit:read", "-doc:read"][..]),
            0..3,
        );
        (rules, prop::option::of(select(&ROLES[..])))
    };
    let held = || (select(&HELD[..]), select(&[None, Some("org")][..]));
    let grant = || select(&["doc:write", "sesame.users:write", "-sesame.audit:read", "-doc:read"][..]);
    let subject = (vec(held(), 0..4), vec(grant(), 0..2));
    let apart = prop::option::of(prop::collection::btree_set(select(&ROLES[..]), 2..3));
    let texts = (vec(role(), ROLES.len()), apart, vec(subject, 0..=people.len()), any::<bool>());
    let counts = std::cell::RefCell::new([0; 3]);
    let foreseen = |(roles, apart, subjects, is_chief): (Vec<_>, Option<BTreeSet<_>>, Vec<_>, bool)| {
        let written = |text: &&str| match text.strip_prefix('-') {
            Some(pattern) => json!({ "effect": "deny", "pattern": pattern }),
            None => json!(text),
        };
        let role = |(number, (rules, parent)): (usize, &(Vec<&str>, Option<&str>))| {
            // None inherits from itself or from one before it.
            let parents: Vec<_> = parent.iter().filter(|parent| **parent > ROLES[number]).collect();
            json!({ "name": ROLES[number], "permissions": rules.iter().map(written).collect::<Vec<_>>(), "parents": parents })
        };
        let mut all: Vec<Value> = roles.iter().enumerate().map(role).collect();
        all.push(json!({ "name": "chief", "permissions": rights }));
        let subject = |(number, (held, grants)): (usize, &Wanted)| {
            let held: BTreeSet<_> = held.iter().collect();
            let held: Vec<_> = held.iter().map(|(role, scope)| json!({ "role": role, "scope": scope })).collect();
            let grants: BTreeSet<_> = grants.iter().collect();
            let grants: Vec<_> = grants.iter().map(|text| json!({ "rule": written(text) })).collect();
            json!({ "id": people[number], "roles": held, "grants": grants })
        };
        let constraint =
            apart.map(|roles| json!({ "name": "apart", "kind": "static", "roles": roles, "cardinality": 2 }));
        let body = json!({
            "permissions": [{ "name": "doc:read" }, { "name": "doc:write" }],
            "roles": all,
            "constraints": Vec::from_iter(constraint),
            "subjects": subjects.iter().enumerate().map(subject).collect::<Vec<_>>(),
        });
        let found = if is_chief && admin.get("/api/v1/roles?name=chief").expect(200)["items"] != json!([]) {
            let given = json!({ "role_id": admin.role_id("chief") });
            admin.post(&format!("/api/v1/users/{}/roles", chief.id), &given);
            compare(&chief, &body)
        } else {
            compare(&admin, &body)
        };
        counts.borrow_mut().iter_mut().zip(found).for_each(|(all, found)| *all += found);
        Ok(())
    };
    // As many as it takes to have met each kind often enough, whatever is drawn.
    for _ in 0..10 {
        let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
        runner.run(&texts, foreseen).unwrap_or_else(|error| panic!("{error}"));
        let [whole, changed, refused] = *counts.borrow();
        if whole > 10 && changed > 30 && refused > 10 {
            break;
        }
    }
    let [whole, changed, refused] = counts.into_inner();
    println!("{whole} refused as a whole, {changed} subjects changed, {refused} refused; each as was foreseen");
    assert!(whole > 10 && changed > 30 && refused > 10, "the texts are too poor: {whole}, {changed}, {refused}");
}

/// What a subject is to hold: roles, each everywhere or in a place, and grants.
type Wanted = (Vec<(&'static str, Option<&'static str>)>, Vec<&'static str>);

const ROLES: [&str; 3] = ["a", "b", "c"];
const HELD: [&str; 5] = ["a", "b", "c", "checker", "administrator"];

#[test]
fn what_is_held_in_one_place_or_later_is_not_made_to_be_held_everywhere_and_now() {
    let server = Server::start();
    let admin = server.admin();
    let power = admin.role("power", &["sesame.users:write"]);
    let deputy = admin.role("deputy", &["sesame.roles:read", "sesame.roles:write", "sesame.assignments:write"]);
    for (name, bounds) in
        [("place", json!({ "scope": "org" })), ("later", json!({ "not_before": "2999-01-01T00:00:00Z" }))]
    {
        let person = admin.person(name);
        admin.assign(&person.id, &deputy);
        let mut assignment = bounds;
        assignment["role_id"] = json!(power);
        admin.post(&format!("/api/v1/users/{}/roles", person.id), &assignment).expect(201);
        let mut body = admin.get(STATE).expect(200);
        body["subjects"] = json!([{ "username": name, "roles": [{ "role": "deputy" }, { "role": "power" }] }]);
        let answer = person.call("PUT", STATE, Some(body.to_string()), &[("If-Match", "*")]).expect(200);
        let outcome = &answer["subjects"][0];
        assert_eq!((&outcome["status"], &outcome["code"]), (&json!("refused"), &json!("escalation")), "{answer}");
    }
}

/// Runs `sesame access` against this server.
fn command(server: &Server, app: &App, arguments: &[&str]) -> Output {
    command_with(server, &app.key, arguments)
}

fn command_with(server: &Server, key: &str, arguments: &[&str]) -> Output {
    let base = format!("http://{}", server.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sesame"));
    command.arg("access").args(arguments).args(["--server", &base]);
    command.env_clear().env("SESAME_API_KEY", key).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_command_line_compares_a_file_with_a_running_server_and_applies_it() {
    let server = Server::start();
    let admin = server.admin();
    let app = admin.app("deployer", &["administrator"]);
    let file = server.folder().join("roles.toml");
    let file_name = file.to_str().unwrap();
    let roles = r#"
[[permissions]]
name = "doc:read"

[[roles]]
name = "reader"
permissions = ["doc:read", { effect = "deny", pattern = "*:burn" }]
sessions = { max_sessions = 2 }

[[roles]]
name = "censor"

[[constraints]]
name = "read or censor"
kind = "static"
roles = ["reader", "censor"]
cardinality = 2
"#;
    std::fs::write(&file, roles).unwrap();
    let diff = command(&server, &app, &["diff", file_name]);
    assert_eq!(
        (diff.status.code(), text(&diff.stdout).as_str()),
        (
            Some(1),
            &*told(&server, "+ permission doc:read\n+ role reader\n+ role censor\n+ constraint read or censor\n")
        ),
        "{diff:?}"
    );
    let apply = command(&server, &app, &["apply", file_name]);
    let applied = format!("{}applied: it is state {} now\n", text(&diff.stdout), tag(&server));
    assert_eq!((apply.status.code(), text(&apply.stdout)), (Some(0), applied), "{apply:?}");
    let diff = command(&server, &app, &["diff", file_name]);
    assert_eq!((diff.status.code(), text(&diff.stdout).as_str()), (Some(0), ""), "{diff:?}");
    // What is shown is a file that changes nothing.
    let shown = command(&server, &app, &["show"]);
    std::fs::write(&file, &shown.stdout).unwrap();
    let diff = command(&server, &app, &["diff", file_name]);
    assert_eq!((diff.status.code(), text(&diff.stdout).as_str()), (Some(0), ""), "{}", text(&shown.stdout));
    assert_eq!(admin.get("/api/v1/roles?name=reader").expect(200)["items"][0]["sessions"]["max_sessions"], 2);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &admin.role_id("reader"));
    admin.assign(&ann, &admin.role_id("checker"));
    let tighter = format!(
        "{roles}\n[[constraints]]\nname = \"x\"\nkind = \"static\"\nroles = [\"reader\", \"checker\"]\ncardinality = 2\n"
    );
    std::fs::write(&file, tighter).unwrap();
    let diff = command(&server, &app, &["diff", file_name]);
    let broken =
        "! constraint x would be broken by 1 subject\n! all of it would be refused (separation-of-duty-holders)\n";
    let expected = told(&server, &format!("+ constraint x\n{broken}"));
    assert_eq!((diff.status.code(), text(&diff.stdout)), (Some(1), expected), "{diff:?}");
    let refused = command(&server, &app, &["apply", file_name]);
    assert!(text(&refused.stderr).contains("separation-of-duty-holders"), "{refused:?}");
    std::fs::write(&file, "[[roles]]\nname = \"x\"\npermissions = [\"doc:burn\"]\n").unwrap();
    let refused = command(&server, &app, &["apply", file_name, "--yes"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("roles.x.permissions[0]"), "{refused:?}");
    let powerless = admin.app("powerless", &[]);
    let refused = command(&server, &powerless, &["show"]);
    assert!(text(&refused.stderr).contains("missing-permission"), "{refused:?}");
}

#[test]
fn a_comparison_that_fails_is_told_apart_from_one_that_finds_something() {
    let server = Server::start();
    let app = server.admin().app("deployer", &["administrator"]);
    let (file, missing) = (server.folder().join("roles.toml"), server.folder().join("none.toml"));
    let (file_name, missing) = (file.to_str().unwrap(), missing.to_str().unwrap());
    let failing = |contents: &str| {
        std::fs::write(&file, contents).unwrap();
        let diff = command(&server, &app, &["diff", file_name]);
        assert_eq!((diff.status.code(), text(&diff.stdout).as_str()), (Some(2), ""), "{diff:?}");
        text(&diff.stderr)
    };
    assert!(failing("[[roles]\n").contains("roles.toml"));
    let said = failing("[[roles]]\nname = \"x\"\n\n[[roles]]\nname = \"y\"\nfoo = 1\n");
    assert!(said.contains("roles[1].foo") && !said.contains("column"), "{said}");
    let said = failing("foo = 1\n");
    assert!(said.contains("foo: ") && !said.contains("column"), "{said}");
    let said = failing("[[roles]]\nname = \"x\"\nparents = [\"nobody-knows\"]\n");
    assert!(said.contains("nobody-knows"), "{said}");
    assert_eq!(command(&server, &app, &["diff", missing]).status.code(), Some(2));
    assert_eq!(command_with(&server, "ssm_ak_x", &["diff", file_name]).status.code(), Some(2));
    let mut unreachable = Command::new(env!("CARGO_BIN_EXE_sesame"));
    unreachable.args(["access", "diff", file_name, "--server", "http://127.0.0.1:1"]);
    assert_eq!(unreachable.env_clear().output().unwrap().status.code(), Some(2));
    assert_eq!(command_with(&server, "ssm_ak_x", &["apply", file_name]).status.code(), Some(1));
}

/// The tag of the state in force, without quotes.
fn tag(server: &Server) -> String {
    etag(&server.admin()).trim_matches('"').to_owned()
}

/// What a diff prints.
fn told(server: &Server, changes: &str) -> String {
    format!("{changes}to be applied with --if-match {}\n", tag(server))
}

#[test]
fn what_is_applied_is_what_was_reviewed_and_nothing_goes_without_a_yes() {
    let server = Server::start();
    let admin = server.admin();
    put(&admin, &first(), "*").expect(200);
    let app = admin.app("deployer", &["administrator"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &admin.role_id("writer"));
    let file = server.folder().join("roles.toml");
    let file_name = file.to_str().unwrap();
    let shown = text(&command(&server, &app, &["show"]).stdout);
    let (before, reviewed) = (admin.get(STATE).expect(200), tag(&server));
    let refused = |why: &str, state: &Value, arguments: &[&str]| {
        let apply = command(&server, &app, &[&["apply", file_name], arguments].concat());
        assert_eq!(apply.status.code(), Some(1), "{apply:?}");
        assert!(text(&apply.stderr).contains(why), "{apply:?}");
        assert_eq!(&admin.get(STATE).expect(200), state);
        text(&apply.stdout)
    };
    // Nothing is removed, but somebody loses what it allowed; and the same with a role that goes.
    std::fs::write(&file, shown.replace("\"doc:read\", ", "")).unwrap();
    assert!(refused("needs --yes", &before, &[]).contains("0 subjects gain, 1 lose"));
    // So it is where somebody loses it in some checks only.
    let frozen = r#"{ effect = "deny", pattern = "doc:read", condition = "context.is_frozen" }, "doc:read", "#;
    std::fs::write(&file, shown.replace("\"doc:read\", ", frozen)).unwrap();
    assert!(refused("needs --yes", &before, &[]).contains("for 1 subjects it depends on what a check passes"));
    std::fs::write(&file, "").unwrap();
    assert!(refused("needs --yes", &before, &[]).starts_with("- role writer\n- role reader\n"));
    // Somebody changes something after the review: what was reviewed is not what would be applied.
    let other = json!({ "name": "doc:burn" });
    admin.created("/api/v1/permissions", &other);
    let changed = admin.get(STATE).expect(200);
    assert_eq!(refused("version-mismatch", &changed, &["--yes", "--if-match", &reviewed]), "", "not even shown");
    refused("version-mismatch", &changed, &["--yes", "--if-match", &format!("\"{reviewed}\"")]);
    let diff = text(&command(&server, &app, &["diff", file_name]).stdout);
    let reviewed = diff.lines().last().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(reviewed, tag(&server));
    let apply = command(&server, &app, &["apply", file_name, "--yes", "--if-match", &reviewed]);
    assert_eq!(apply.status.code(), Some(0), "{apply:?}");
    assert_eq!(admin.get(STATE).expect(200), json!({ "permissions": [], "roles": [] }));
    // With nothing to do, nobody is asked.
    let apply = command(&server, &app, &["apply", file_name]);
    assert_eq!((apply.status.code(), text(&apply.stdout).as_str()), (Some(0), ""), "{apply:?}");
}

#[test]
fn who_has_what_is_exported_and_no_cell_is_a_formula() {
    let server = Server::start();
    let admin = server.admin();
    put(&admin, &first(), "*").expect(200);
    let ann = admin.create_user(&json!({ "username": "ann", "external_id": "=1+1" }));
    let reader = admin.role_id("reader");
    let reason = "@boss said \"yes\", twice";
    let bob = admin.create_user(&json!({ "username": "bob" }));
    let assignment = |by: &str| json!({ "role_id": reader, "scope": "org", "reason": reason, "approved_by": by });
    let (roles, grants) = (format!("/api/v1/users/{ann}/roles"), format!("/api/v1/users/{ann}/permissions"));
    // Who is given something does not agree to it for themselves.
    let granted = json!({ "permission": "doc:*", "approved_by": ann });
    for (path, body) in [(&roles, &assignment(&ann)), (&grants, &granted)] {
        admin.post(path, body).is_problem(400, "invalid-fields").names_field("approved_by");
    }
    admin.post(&roles, &assignment(&bob)).expect(201);
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &json!({ "permission": "doc:*", "effect": "deny" }));
    let all = admin.get("/api/v1/access/export").expect(200);
    let of_ann: Vec<_> = all.as_array().unwrap().iter().filter(|line| line["user_id"] == ann.as_str()).collect();
    let told: Vec<_> =
        of_ann.iter().map(|line| (&line["kind"], &line["what"], &line["scope"], &line["effect"])).collect();
    let expected = [
        (&json!("role"), &json!("reader"), &json!("org"), &Value::Null),
        (&json!("grant"), &json!("doc:*"), &Value::Null, &json!("deny")),
    ];
    assert_eq!(told, expected);
    assert_eq!((&of_ann[0]["external_id"], &of_ann[0]["given_by"]), (&json!("=1+1"), &json!(admin.id)));
    assert_eq!(of_ann[0]["approved_by"], bob.as_str());
    let reply = admin.get("/api/v1/access/export?format=csv");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/csv; charset=utf-8")));
    let lines: Vec<&str> = reply.body.lines().collect();
    assert!(lines[0].starts_with("user_id,username,external_id,status,kind,what,"));
    let line = lines.iter().find(|line| line.contains("ann") && line.contains(",role,")).unwrap();
    assert!(line.starts_with(&format!("{ann},ann,'=1+1,active,role,reader,{reader},,,org,,,")), "{line}");
    assert!(line.ends_with(r#","'@boss said ""yes"", twice""#), "{line}");
    assert_eq!(lines.len(), all.as_array().unwrap().len() + 1);
}

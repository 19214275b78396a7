//! Stored resources across what an operator does: restarts, crashes, backups, an index that has to be built anew.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{Admin, App, PASSWORD, Process, Server};

const WITH_PASSWORD: [(&str, &str); 1] = [("SESAME_ADMIN_PASSWORD", PASSWORD)];
const RULE: &str = "resource.properties.owner == subject.username";

/// Two lists in two places, with three todos in them; whoever owns a todo may read it.
fn fill(admin: &Admin) -> (App, String) {
    admin.define(&["todo:read", "list:read"]);
    let allowing = json!({ "effect": "allow", "pattern": "todo:read", "condition": RULE });
    let role = admin.created("/api/v1/roles", &json!({ "name": "owner", "permissions": [allowing] }));
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let scoped = json!({ "role_id": role, "scope": "org/a" });
    admin.post(&format!("/api/v1/users/{ann}/roles"), &scoped).expect(201);
    for (list, scope) in [("a", "org/a"), ("b", "org/b")] {
        put(admin, "list", list, &json!({ "scope": scope }), 201);
    }
    for (todo, list, owner) in [("1", "a", "ann"), ("2", "a", "bob"), ("3", "b", "ann")] {
        put(admin, "todo", todo, &todo_of(list, owner), 201);
    }
    (admin.app("shop", &["checker"]), ann)
}

fn todo_of(list: &str, owner: &str) -> Value {
    json!({ "parent": { "type": "list", "id": list }, "properties": { "owner": owner } })
}

fn put(admin: &Admin, kind: &str, id: &str, resource: &Value, status: u16) {
    admin.put(&format!("/api/v1/resources/{kind}/{id}"), resource).expect(status);
}

/// Which of four todos she may read, by checks and by a search, and all that is stored.
fn seen(admin: &Admin, app: &App, ann: &str) -> (Vec<bool>, Value, Value) {
    let may = |todo: &str| {
        app.check(&json!({ "subject": ann, "action": "read", "resource": { "type": "todo", "id": todo } })).0
    };
    let search = json!({
        "subject": { "type": "user", "id": "ann" }, "action": { "name": "read" }, "resource": { "type": "todo" },
    });
    let found = app.post("/access/v1/search/resource", &search).expect(200)["results"].clone();
    let stored = admin.get("/api/v1/resources").expect(200)["items"].clone();
    (["1", "2", "3", "4"].map(may).to_vec(), found, stored)
}

fn found(ids: &[&str]) -> Value {
    ids.iter().map(|id| json!({ "type": "todo", "id": id })).collect()
}

#[test]
fn what_was_moved_and_deleted_stays_so_after_a_restart() {
    let server = Server::durable();
    let admin = server.admin();
    let (app, ann) = fill(&admin);
    let (may, results, _) = seen(&admin, &app, &ann);
    assert_eq!((may, results), (vec![true, false, false, false], found(&["1"])));
    // One moves to where she may read, one away from there, one goes, one comes.
    put(&admin, "todo", "3", &todo_of("a", "ann"), 200);
    put(&admin, "todo", "1", &todo_of("b", "ann"), 200);
    admin.delete("/api/v1/resources/todo/2").expect(204);
    put(&admin, "todo", "4", &todo_of("a", "ann"), 201);
    let before = seen(&admin, &app, &ann);
    assert_eq!((&before.0, &before.1), (&vec![false, false, true, true], &found(&["3", "4"])));
    let server = server.restarted();
    let admin = server.admin();
    let app = app.at(server.address);
    assert_eq!(seen(&admin, &app, &ann), before);
    // What stands below something is still known: it cannot go while it has children.
    admin.delete("/api/v1/resources/list/a").is_problem(409, "resource-has-children");
    admin.delete("/api/v1/resources/todo/1").expect(204);
    admin.delete("/api/v1/resources/list/b").expect(204);
    let server = server.restarted();
    server.admin().get("/api/v1/resources/list/b").is_problem(404, "not-found");
    server.admin().get("/api/v1/resources/list/a").expect(200);
}

fn sesame(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sesame"));
    command.arg("--data").arg(folder).args(arguments).current_dir(folder).env_clear().output().unwrap()
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = sesame(folder, arguments);
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out} {error}");
    out.into_owned()
}

/// How many records of a kind a doctor's report counts.
fn counted(report: &str, kind: &str) -> u64 {
    let line = report.lines().find(|line| line.starts_with(&format!("{kind} "))).unwrap_or_else(|| panic!("{report}"));
    line.split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn backups_the_doctor_and_an_index_that_is_built_anew_keep_resources() {
    let (folder, copy, other) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Process::start(folder.path(), &WITH_PASSWORD);
    let admin = Admin(server.anonymous().sign_in("admin", PASSWORD));
    let (app, ann) = fill(&admin);
    admin.delete("/api/v1/resources/todo/2").expect(204);
    put(&admin, "todo", "3", &todo_of("a", "ann"), 200);
    let before = seen(&admin, &app, &ann);
    assert_eq!(before.1, found(&["1", "3"]));
    server.kill();

    let report = succeeds(folder.path(), &["doctor"]);
    assert_eq!((counted(&report, "resources"), counted(&report, "resource_children")), (4, 2), "{report}");
    let backup = copy.path().join("backup");
    succeeds(folder.path(), &["backup", backup.to_str().unwrap()]);
    succeeds(other.path(), &["restore", backup.to_str().unwrap()]);
    let index = std::fs::read_dir(folder.path().join("store")).unwrap().map(Result::unwrap);
    let index = index.filter(|entry| entry.file_type().unwrap().is_dir()).map(|entry| entry.path());
    for part in index.flat_map(|path| std::fs::read_dir(path).unwrap()).map(Result::unwrap) {
        if part.file_type().unwrap().is_file() {
            std::fs::write(part.path(), "not an index").unwrap();
        }
    }
    for data in [&folder, &other] {
        let server = Process::start(data.path(), &WITH_PASSWORD);
        let admin = Admin(server.anonymous().sign_in("admin", PASSWORD));
        let app = app.at(server.address);
        assert_eq!(seen(&admin, &app, &ann), before, "{}", data.path().display());
        server.signal("TERM");
        let (status, _, log) = server.ended();
        assert!(status.success(), "{log}");
        let report = succeeds(data.path(), &["doctor"]);
        assert_eq!((counted(&report, "resources"), counted(&report, "resource_children")), (4, 2), "{report}");
        assert!(report.contains("all is sound"), "{report}");
    }
}

//! Who holds a role: from the index that is written in the commit of each assignment.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use sesame::access::holders;
use sesame::store::key::Kind;
use sesame::store::{Commit, Store};

use crate::harness::{Admin, App, Server};

/// The lines of a list, as `user role path scope`.
fn lines(page: &Value) -> Vec<String> {
    let line = |item: &Value| {
        let path: Vec<&str> = item["path"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let scope = item["scope"].as_str().unwrap_or("everywhere");
        format!("{} {} {scope}", item["username"].as_str().unwrap(), path.join("→"))
    };
    page["items"].as_array().unwrap().iter().map(line).collect()
}

fn inherit(admin: &Admin, name: &str, parents: &[&str]) -> String {
    admin.created("/api/v1/roles", &json!({ "name": name, "parent_role_ids": parents }))
}

#[test]
fn holders_are_told_apart_by_how_they_hold_a_role() {
    let server = Server::start();
    let admin = server.admin();
    let top = inherit(&admin, "top", &[]);
    let middle = inherit(&admin, "middle", &[&top]);
    let bottom = inherit(&admin, "bottom", &[&middle]);
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| admin.create_user(&json!({ "username": name })));
    admin.assign(&ann, &top);
    admin.assign(&ann, &bottom);
    admin.assign(&bob, &middle);
    let timed = json!({ "role_id": top, "scope": "org", "expires_at": "2025-11-23T12:00:10Z", "reason": "trial" });
    admin.post(&format!("/api/v1/users/{cid}/roles"), &timed).expect(201);
    let holders = |query: &str| admin.get(&format!("/api/v1/roles/{top}/users{query}")).expect(200);
    let all = ["ann top everywhere", "ann bottom→middle→top everywhere", "bob middle→top everywhere", "cid top org"];
    assert_eq!(lines(&holders("")), all);
    assert_eq!(lines(&holders("?inherited=false")), [all[0], all[3]]);
    assert_eq!(lines(&holders("?inherited=true")), [all[1], all[2]]);
    let last = holders("")["items"][3].clone();
    assert_eq!(
        (&last["is_in_force"], &last["is_inherited"], &last["reason"]),
        (&json!(true), &json!(false), &json!("trial"))
    );
    assert_eq!(last["assigned_by"], json!(admin.id));
    server.clock.advance_seconds(10);
    assert_eq!(holders("")["items"][3]["is_in_force"], false);
    let mut found = Vec::new();
    let mut cursor = String::new();
    for _ in 0..4 {
        let page = holders(&format!("?limit=1{cursor}"));
        found.extend(lines(&page));
        cursor = page["next_cursor"].as_str().map_or_else(String::new, |next| format!("&cursor={next}"));
    }
    assert_eq!((found.as_slice(), cursor.as_str()), (&all.map(str::to_owned)[..], ""));
    // An inactive role passes nothing on.
    admin
        .put(
            &format!("/api/v1/roles/{middle}"),
            &json!({ "name": "middle", "parent_role_id": top, "is_active": false }),
        )
        .expect(200);
    assert_eq!(lines(&holders("")), [all[0], all[3]]);
    admin.get("/api/v1/roles/role_01h455vb4pex5vsknk084sn02q/users").is_problem(404, "not-found");
    admin.get(&format!("/api/v1/roles/{top}/users?cursor=AAAA")).is_problem(400, "answer-gone").names_field("cursor");
}

#[test]
fn all_pages_of_a_list_of_holders_are_of_the_revision_of_the_first() {
    let server = Server::start();
    let admin = server.admin();
    let top = inherit(&admin, "top", &[]);
    let heirs = ["a", "b", "c"].map(|name| inherit(&admin, name, &[&top]));
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| admin.create_user(&json!({ "username": name })));
    for heir in &heirs {
        admin.assign(&ann, heir);
    }
    admin.assign(&bob, &top);
    let holders = |query: &str| admin.get(&format!("/api/v1/roles/{top}/users{query}"));
    let first = holders("?limit=1").expect(200);
    assert_eq!((&first["total"], lines(&first)), (&json!(4), vec!["ann a→top everywhere".to_owned()]));
    // What changes between two pages is in neither.
    admin.put(&format!("/api/v1/roles/{}", heirs[1]), &json!({ "name": "b" })).expect(200);
    admin.unassign(&bob, &top);
    admin.assign(&cid, &top);
    let next = first["next_cursor"].as_str().unwrap();
    let rest = holders(&format!("?limit=10&cursor={next}")).expect(200);
    assert_eq!(lines(&rest), ["ann b→top everywhere", "ann c→top everywhere", "bob top everywhere"]);
    assert_eq!(
        (&rest["revision"], &rest["total"], &rest["next_cursor"]),
        (&first["revision"], &json!(4), &Value::Null)
    );
    let anew = holders("").expect(200);
    assert_eq!(lines(&anew), ["ann a→top everywhere", "ann c→top everywhere", "cid top everywhere"]);
    assert!(anew["revision"].as_u64() > first["revision"].as_u64() && anew["total"] == 3, "{anew}");
    // It belongs to its question, to its reader, and to a while.
    let other = holders(&format!("?inherited=false&cursor={next}"));
    other.is_problem(400, "invalid-input").names_field("cursor");
    let page = format!("/api/v1/roles/{top}/users?cursor={next}");
    admin.role("witness", &["sesame.roles:read", "sesame.users:read"]);
    admin.app("other", &["witness"]).get(&page).is_problem(400, "answer-gone").names_field("cursor");
    server.clock.advance_seconds(300);
    holders(&format!("?cursor={next}")).is_problem(400, "answer-gone");
}

#[test]
fn who_may_not_read_users_is_told_no_names_of_holders() {
    let server = Server::start();
    let admin = server.admin();
    let role = inherit(&admin, "role", &[]);
    let ann = admin.create_user(&json!({ "username": "ann", "external_id": "7" }));
    admin.assign(&ann, &role);
    admin.role("half", &["sesame.roles:read"]);
    admin.role("witness", &["sesame.roles:read", "sesame.users:read"]);
    let (half, witness) = (admin.app("half", &["half"]), admin.app("whole", &["witness"]));
    for path in [
        format!("/api/v1/roles/{role}/users"),
        "/api/v1/access/export".to_owned(),
        "/api/v1/access/export?format=csv".to_owned(),
        "/api/v1/access/expired".to_owned(),
        "/api/v1/analytics/grants".to_owned(),
    ] {
        half.get(&path).is_problem(403, "missing-permission");
        assert_eq!(witness.get(&path).status, 200, "{path}");
    }
    let nothing = json!({ "name": "role", "permissions": ["sesame.roles:read"] });
    let name = |app: &App| {
        app.post(&format!("/api/v1/roles/{role}/preview"), &nothing).expect(200)["items"][0]["username"].clone()
    };
    assert_eq!((name(&half), name(&witness)), (Value::Null, json!("ann")));
}

#[test]
fn whoever_loses_a_role_or_is_deleted_holds_it_no_more() {
    let server = Server::durable();
    let admin = server.admin();
    let role = inherit(&admin, "role", &[]);
    let [ann, bob] = ["ann", "bob"].map(|name| admin.create_user(&json!({ "username": name })));
    let path = |user: &str| format!("/api/v1/users/{user}/roles");
    for scope in ["org", "x"] {
        admin.post(&path(&ann), &json!({ "role_id": role, "scope": scope })).expect(201);
    }
    admin.assign(&bob, &role);
    admin.assign(&bob, &role);
    let holders = || lines(&admin.get(&format!("/api/v1/roles/{role}/users")).expect(200));
    assert_eq!(holders(), ["ann role org", "ann role x", "bob role everywhere"]);
    admin.delete(&format!("{}/{role}?scope=org", path(&ann))).expect(204);
    assert_eq!(holders(), ["ann role x", "bob role everywhere"]);
    admin.delete(&format!("/api/v1/users/{bob}")).expect(204);
    assert_eq!(holders(), ["ann role x"]);
    let server = server.restarted();
    let admin = server.admin();
    assert_eq!(lines(&admin.get(&format!("/api/v1/roles/{role}/users")).expect(200)), ["ann role x"]);
}

/// Keys of a kind, all of them.
fn keys(store: &dyn Store, kind: Kind) -> BTreeSet<Vec<u8>> {
    store.scan(&[kind as u8], None, 10_000).unwrap().into_iter().map(|record| record.key.bytes().to_vec()).collect()
}

#[test]
fn a_store_of_an_older_version_gets_its_index_at_the_start() {
    let server = Server::durable();
    let admin = server.admin();
    admin.define(&["doc:read"]);
    let role = inherit(&admin, "role", &[]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &role);
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &json!({ "permission": "doc:*" }));
    let store = std::sync::Arc::clone(&server.state().store);
    let whole = [Kind::RoleHolder, Kind::GrantHolder].map(|kind| keys(&*store, kind));
    assert!(whole[0].len() > 3 && whole[1].len() == 1 && whole[0].contains(holders::completion().bytes()));
    let mut commit = Commit::default();
    for key in whole.iter().flatten() {
        commit.remove(sesame::store::Key::from_bytes(key));
    }
    store.commit(commit).blocking_recv().unwrap().unwrap();
    drop(store);
    let server = server.restarted();
    let admin = server.admin();
    assert_eq!([Kind::RoleHolder, Kind::GrantHolder].map(|kind| keys(&*server.state().store, kind)), whole);
    assert_eq!(lines(&admin.get(&format!("/api/v1/roles/{role}/users")).expect(200)), ["ann role everywhere"]);
}

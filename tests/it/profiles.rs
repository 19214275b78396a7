//! Profiles: read, changed in parts, refused field by field, deleted; and a naive merge beside them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::{Map, Value, json};

use crate::harness::{Reply, Server, SignedIn};

pub(crate) const PROFILE: &str = "/api/v1/users/profile";

/// A profile with something in every field.
fn whole() -> Value {
    json!({
        "display_name": "Ann Lee",
        "bio": "Reads.\nWrites.",
        "location": "Köln",
        "website": "https://ann.example/",
        "social_links": { "github": "ann-lee", "mastodon": "https://example.social/@ann", "forum": "https://f.example/a" },
        "date_of_birth": "1990-12-31",
        "phone_number": "+4930123456",
        "emergency_contact": {
            "name": "Bob", "relationship": "Brother", "phone_number": "+4930123457", "email": "bob@example.org",
        },
    })
}

fn nothing() -> Value {
    json!({
        "display_name": null, "bio": null, "location": null, "website": null, "social_links": {},
        "date_of_birth": null, "phone_number": null,
        "emergency_contact": { "name": null, "relationship": null, "phone_number": null, "email": null },
    })
}

/// The fields that a person tells, of the whole answer.
fn told(profile: &Value) -> Value {
    let told = nothing().as_object().unwrap().keys().map(|key| (key.clone(), profile[key].clone())).collect();
    Value::Object(told)
}

fn read(person: &SignedIn) -> Value {
    told(&person.get(PROFILE).expect(200))
}

#[test]
fn a_profile_is_written_whole_read_back_and_deleted() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    let empty = ann.get(PROFILE).expect(200);
    assert_eq!(told(&empty), nothing());
    assert_eq!((&empty["user_id"], &empty["created_at"]), (&json!(ann.id), &Value::Null));
    let written = ann.put(PROFILE, &whole());
    assert_eq!(told(&written.expect(200)), whole());
    assert!(written.header("sesame-revision").is_some());
    assert_eq!(written.json()["created_at"], "2025-11-23T12:00:00.000Z");
    let again = ann.get(PROFILE);
    assert_eq!((again.json(), again.header("etag")), (written.json(), written.header("etag")));
    assert_eq!(told(&admin.person("bob").get(PROFILE).expect(200)), nothing(), "everybody has a profile of their own");

    server.clock.advance_seconds(60);
    let later = ann.put(PROFILE, &json!({ "bio": "Sleeps." })).expect(200);
    assert_eq!(later["created_at"], "2025-11-23T12:00:00.000Z");
    assert_eq!(later["updated_at"], "2025-11-23T12:01:00.000Z");
    ann.delete(PROFILE).expect(204);
    let gone = ann.get(PROFILE).expect(200);
    assert_eq!((told(&gone), &gone["created_at"]), (nothing(), &Value::Null));
    ann.delete(PROFILE).expect(204);
    ann.put(PROFILE, &whole()).expect(200);
    assert_eq!(read(&ann), whole());
}

#[test]
fn a_change_touches_what_it_names_and_null_clears() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    ann.put(PROFILE, &whole()).expect(200);
    let check = |change: Value, expected: &dyn Fn(&mut Value)| {
        let mut after = read(&ann);
        expected(&mut after);
        assert_eq!(told(&ann.put(PROFILE, &change).expect(200)), after, "{change}");
        assert_eq!(read(&ann), after, "{change}");
    };
    check(json!({}), &|_| {});
    check(json!({ "bio": "" }), &|it| it["bio"] = json!(""));
    check(json!({ "website": null }), &|it| it["website"] = Value::Null);
    check(json!({ "social_links": { "github": null, "x": "ann" } }), &|it| {
        let links = it["social_links"].as_object_mut().unwrap();
        links.remove("github");
        links.insert("x".into(), "ann".into());
    });
    check(json!({ "emergency_contact": { "email": null } }), &|it| it["emergency_contact"]["email"] = Value::Null);
    check(json!({ "social_links": null }), &|it| it["social_links"] = json!({}));
    check(json!({ "emergency_contact": null }), &|it| it["emergency_contact"] = nothing()["emergency_contact"].clone());
    check(json!({ "display_name": "e\u{301}" }), &|it| it["display_name"] = json!("é"));
    check(json!({ "website": "https://a.example/e\u{301}" }), &|it| it["website"] = json!("https://a.example/é"));
}

#[test]
fn what_breaks_a_rule_is_named_and_changes_nothing() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    ann.put(PROFILE, &whole()).expect(200);
    let refused = |change: Value, field: &str| {
        ann.put(PROFILE, &change).is_problem(400, "invalid-input").names_field(field);
    };
    let (line, long) = ("x".repeat(101), "x".repeat(2001));
    for (field, bad) in [
        (
            "display_name",
            vec![
                json!(""),
                json!(" "),
                json!(line),
                json!(1),
                json!("a\u{7}"),
                json!(["a"]),
                json!("\u{202E}x"),
                json!("\u{200B}"),
                json!("\u{3164} \u{2800}\u{AD}"),
            ],
        ),
        ("bio", vec![json!(long), json!("\u{0}"), json!(true), json!("a\tb")]),
        ("location", vec![json!(line), json!("a\nb"), json!({})]),
        (
            "website",
            vec![
                json!("ftp://a.example"),
                json!("javascript:alert(1)"),
                json!("example.org"),
                json!("https://u:p@a.example"),
                json!("https://evil.example/\u{202E}moc.knab//:sptth"),
                json!(format!("https://a.example/{}", "x".repeat(255))),
            ],
        ),
        (
            "date_of_birth",
            vec![
                json!("2025-11-23"),
                json!("2030-01-01"),
                json!("1990-02-30"),
                json!("31.12.1990"),
                json!("1700-01-01"),
            ],
        ),
        (
            "phone_number",
            vec![
                json!("030123456"),
                json!("+49 30 123456"),
                json!("+0301234567"),
                json!("+1234567890123456"),
                json!("+49x"),
            ],
        ),
        ("social_links", vec![json!("github"), json!(["github"])]),
        ("emergency_contact", vec![json!("Bob"), json!(7)]),
        ("avatar_url", vec![json!("https://a.example/x.png")]),
        ("verified", vec![json!({ "email": true })]),
        ("created_at", vec![json!("2025-11-23T12:00:00Z")]),
        ("favourite.colour", vec![json!("red")]),
    ] {
        for value in bad {
            refused(json!({ field: value }), field);
        }
    }
    refused(json!({ "social_links": { "github": "https://evil.example/ann" } }), "social_links.github");
    refused(json!({ "social_links": { "forum": "ann" } }), "social_links.forum");
    refused(json!({ "social_links": { "My Forum": "https://f.example" } }), "social_links.My Forum");
    refused(json!({ "emergency_contact": { "phone_number": "1" } }), "emergency_contact.phone_number");
    refused(json!({ "emergency_contact": { "email": "bob" } }), "emergency_contact.email");
    refused(json!({ "emergency_contact": { "name": null } }), "emergency_contact.name");
    refused(json!({ "emergency_contact": { "shoe_size": 9 } }), "emergency_contact.shoe_size");
    let links: Map<String, Value> = (0..21).map(|it| (format!("f{it}"), json!("https://f.example/"))).collect();
    refused(json!({ "social_links": links }), "social_links");
    let both = ann.put(PROFILE, &json!({ "bio": 1, "website": "x", "location": "Bonn" }));
    let fields: Vec<Value> = both.json()["errors"].as_array().unwrap().iter().map(|it| it["field"].clone()).collect();
    assert_eq!(fields, ["bio", "website"], "every complaint comes at once");
    ann.put(PROFILE, &json!([1])).is_problem(400, "invalid-input");
    ann.call("PUT", PROFILE, Some("{".into()), &[]).is_problem(400, "malformed-json");
    ann.call("PUT", PROFILE, Some("bio=x".into()), &[("Content-Type", "text/plain")])
        .is_problem(415, "unsupported-content-type");
    assert_eq!(read(&ann), whole());
}

#[test]
fn a_version_is_asked_for_and_demanded_by_its_tag() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    let first = ann.put(PROFILE, &whole());
    let tag = first.header("etag").unwrap().to_owned();
    let known = |tag: &str| ann.call("GET", PROFILE, None, &[("If-None-Match", tag)]);
    let unchanged = known(&tag);
    assert_eq!((unchanged.status, unchanged.body.as_str(), unchanged.header("etag")), (304, "", Some(&*tag)));
    assert_eq!(known("\"other\"").status, 200);
    let put = |tag: &str, bio: &str| -> Reply {
        ann.call("PUT", PROFILE, Some(json!({ "bio": bio }).to_string()), &[("If-Match", tag)])
    };
    put("\"other\"", "x").is_problem(412, "version-mismatch");
    put("nonsense", "x").is_problem(412, "version-mismatch");
    assert_eq!(put(&tag, "second").status, 200);
    put(&tag, "third").is_problem(412, "version-mismatch");
    ann.call("DELETE", PROFILE, None, &[("If-Match", &tag)]).is_problem(412, "version-mismatch");
    assert_eq!(put("*", "fourth").status, 200);
    let newest = ann.get(PROFILE);
    assert_eq!((newest.json()["bio"].as_str(), known(&tag).status), (Some("fourth"), 200));
    let list = format!("\"other\", {}", newest.header("etag").unwrap());
    assert_eq!(put(&list, "fifth").status, 200);
    // What is shown beside the profile is part of its version.
    let tag = ann.get(PROFILE).header("etag").unwrap().to_owned();
    let email = json!({ "email": "ann@example.org", "email_verified": true });
    admin.patch(&format!("/api/v1/users/{}", ann.id), &email).expect(200);
    let after = known(&tag);
    assert_eq!((after.status, &after.json()["verified"]["email"]), (200, &json!(true)));
}

#[test]
fn many_writers_of_one_profile_all_get_their_turn() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let ann = ann.clone();
            scope.spawn(move || {
                for turn in 0..2 {
                    let link = json!({ "social_links": { format!("f{writer}-{turn}"): "https://f.example/" } });
                    ann.put(PROFILE, &link).expect(200);
                }
            });
        }
    });
    assert_eq!(read(&ann)["social_links"].as_object().unwrap().len(), 16);
}

#[test]
fn a_profile_goes_with_its_user_and_comes_back_after_a_restart() {
    let server = Server::durable();
    let admin = server.admin();
    let (ann, bob) = (admin.person("ann"), admin.person("bob"));
    ann.put(PROFILE, &whole()).expect(200);
    bob.put(PROFILE, &whole()).expect(200);
    let tag = ann.get(PROFILE).header("etag").map(str::to_owned);
    admin.delete(&format!("/api/v1/users/{}", bob.id)).expect(204);
    let server = server.restarted();
    let ann = server.anonymous().bearing(&ann.session_token);
    let reply = ann.get(PROFILE);
    assert_eq!((told(&reply.json()), reply.header("etag").map(str::to_owned)), (whole(), tag));
    let kinds = [sesame::store::key::Kind::Profile, sesame::store::key::Kind::ProfileMarks];
    let store = &server.state().store;
    let left = kinds.map(|kind| store.scan(&[kind as u8], None, 10).unwrap().len());
    assert_eq!(left, [1, 1], "nothing of a deleted user is left");
}

/// A value or null for one path of a profile.
fn edit() -> impl Strategy<Value = (&'static str, Option<&'static str>)> {
    const PATHS: [&str; 15] = [
        "display_name",
        "bio",
        "location",
        "website",
        "date_of_birth",
        "phone_number",
        "social_links",
        "social_links.github",
        "social_links.x",
        "social_links.forum",
        "emergency_contact",
        "emergency_contact.name",
        "emergency_contact.relationship",
        "emergency_contact.email",
        "emergency_contact.phone_number",
    ];
    (select(&PATHS[..]), any::<bool>(), any::<bool>()).prop_map(|(path, clears, other)| {
        let values = match path {
            "website" | "social_links.forum" => ["https://a.example/", "https://b.example/"],
            "date_of_birth" => ["1990-01-01", "2000-02-29"],
            "phone_number" | "emergency_contact.phone_number" => ["+4930123456", "+12125550123"],
            "emergency_contact.email" => ["a@example.org", "b@example.org"],
            "social_links" | "emergency_contact" => return (path, None),
            _ => ["one", "two"],
        };
        (path, (!clears).then_some(values[usize::from(other)]))
    })
}

/// The nested object of these edits; of two on one way the first counts.
fn body(edits: &[(&str, Option<&str>)]) -> Value {
    let mut body = json!({});
    for (path, to) in edits {
        let mut at = &mut body;
        for segment in path.split('.') {
            if at.is_null() {
                break;
            }
            at = at.as_object_mut().unwrap().entry(segment).or_insert_with(|| json!({}));
        }
        if *at == json!({}) {
            *at = to.map_or(Value::Null, Value::from);
        }
    }
    body
}

/// RFC 7396, as its section 2 writes it down.
pub(crate) fn naive_merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            naive_merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The merged object as the API shows it: every field is there.
fn as_shown(merged: &Value) -> Value {
    let mut shown = nothing();
    for (key, value) in merged.as_object().unwrap() {
        match value {
            Value::Object(below) => below.iter().for_each(|(inner, value)| shown[key][inner] = value.clone()),
            value => shown[key] = value.clone(),
        }
    }
    shown
}

#[test]
fn any_sequence_of_changes_is_a_naive_merge_and_survives_a_restart() {
    let server = Server::durable();
    let admin = server.admin();
    let mut ends = Vec::new();
    let cases = Cases { cases: 48, failure_persistence: None, ..Cases::default() };
    let strategy = vec(vec(edit(), 0..5), 1..10);
    let all = std::cell::RefCell::new(&mut ends);
    TestRunner::new(cases)
        .run(&strategy, |changes| {
            let person = admin.person(&format!("p{}", all.borrow().len()));
            let mut merged = json!({});
            for change in &changes {
                let body = body(change);
                let mut next = merged.clone();
                naive_merge(&mut next, &body);
                let contact = &next["emergency_contact"];
                let is_nameless = contact.as_object().is_some_and(|it| !it.is_empty() && !it.contains_key("name"));
                let reply = person.put(PROFILE, &body);
                if is_nameless {
                    prop_assert_eq!(reply.status, 400, "{}", body);
                } else {
                    merged = next;
                    prop_assert_eq!(told(&reply.expect(200)), as_shown(&merged), "{}", body);
                }
                prop_assert_eq!(read(&person), as_shown(&merged), "{}", body);
            }
            all.borrow_mut().push((person.session_token.clone(), merged));
            Ok(())
        })
        .unwrap();
    let server = server.restarted();
    for (token, merged) in ends {
        let profile = server.anonymous().bearing(&token).get(PROFILE).expect(200);
        assert_eq!(told(&profile), as_shown(&merged));
    }
}

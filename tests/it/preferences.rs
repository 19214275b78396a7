//! Preferences: defaults in layers, sections, namespaces, negotiation, quiet hours, changes and taking them back.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::{Map, Value, json};

use crate::harness::{Server, SignedIn};
use crate::profiles::{PROFILE, naive_merge};

const PREFERENCES: &str = "/api/v1/users/preferences";
const CHANGES: &str = "/api/v1/users/changes";

fn read(person: &SignedIn) -> Value {
    person.get(PREFERENCES).expect(200)
}

fn section(name: &str) -> String {
    format!("{PREFERENCES}/{name}")
}

#[test]
fn whoever_chose_nothing_has_the_defaults() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let all = read(&ann);
    assert_eq!(
        all["theme"],
        json!({ "mode": "system", "accent_color": null, "font_family": null, "font_scale": 1.0, "density": "comfortable" })
    );
    assert_eq!(all["locale"]["language"], "en");
    assert_eq!(all["locale"]["timezone"], "UTC");
    let days = json!(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]);
    assert_eq!(
        all["notifications"]["quiet_hours"],
        json!({ "enabled": false, "start": "22:00", "end": "07:00", "days": days })
    );
    assert_eq!(all["notifications"]["email"], json!({ "enabled": true, "frequency": "immediate", "categories": {} }));
    assert_eq!((&all["custom"], &all["updated_at"]), (&json!({}), &Value::Null));
    for name in ["theme", "notifications", "locale", "accessibility", "privacy"] {
        assert_eq!(ann.get(&section(name)).expect(200), all[name], "{name}");
    }
}

#[test]
fn every_field_is_set_read_back_and_cleared() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let defaults = read(&ann);
    let channel = json!({ "enabled": false, "frequency": "weekly", "categories": { "news": true, "billing": false } });
    let chosen = json!({
        "theme": { "mode": "dark", "accent_color": "#3366ff", "font_family": "Inter", "font_scale": 1.5, "density": "compact" },
        "notifications": {
            "email": channel, "push": channel, "sms": channel, "in_app": channel,
            "quiet_hours": { "enabled": true, "start": "21:00", "end": "06:30", "days": ["monday", "sunday"] },
        },
        "locale": {
            "language": "pt-BR", "timezone": "America/Sao_Paulo", "date_format": "DD/MM/YYYY", "time_format": "12h",
            "first_day_of_week": "sunday", "number_format": "1.234,56", "currency": "BRL",
        },
        "accessibility": {
            "reduced_motion": true, "high_contrast": true, "screen_reader": true, "captions": true, "keyboard_only": true,
            "large_text": true, "simple_language": true, "color_vision": "deuteranopia",
        },
        "privacy": {
            "show_online_status": false, "show_last_seen": true, "discoverable": true, "read_receipts": false,
            "personalization": true, "messages_from": "contacts",
        },
    });
    let after = ann.put(PREFERENCES, &chosen).expect(200);
    for (name, values) in chosen.as_object().unwrap() {
        assert_eq!(after[name], *values);
        assert_eq!(ann.get(&section(name)).expect(200), *values);
    }
    assert_eq!(after["updated_at"], "2025-11-23T12:00:00.000Z");
    for (name, values) in chosen.as_object().unwrap() {
        // One field at a time: back to the default, and nothing else changes.
        for field in values.as_object().unwrap().keys() {
            let mut expected = ann.get(&section(name)).expect(200);
            expected[field] = defaults[name][field].clone();
            assert_eq!(ann.put(&section(name), &json!({ field: null })).expect(200), expected, "{name}.{field}");
        }
        assert_eq!(ann.get(&section(name)).expect(200), defaults[name], "{name}");
    }
}

#[test]
fn what_breaks_a_rule_is_named_and_changes_nothing() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let before = read(&ann);
    for (field, bad) in [
        ("theme.mode", json!("pink")),
        ("theme.accent_color", json!("red")),
        ("theme.font_scale", json!(9)),
        ("theme.font_scale", json!("large")),
        ("theme.font_family", json!("")),
        ("theme", json!("dark")),
        ("notifications.email.enabled", json!("yes")),
        ("notifications.email.frequency", json!("never")),
        ("notifications.email.categories.news", json!(1)),
        ("notifications.email.categories.No News", json!(true)),
        ("notifications.fax", json!({ "enabled": true })),
        ("notifications.quiet_hours.start", json!("25:00")),
        ("notifications.quiet_hours.days", json!(["friday", "friday"])),
        ("notifications.quiet_hours.days", json!(["someday"])),
        ("locale.language", json!("xx-nonsense-language")),
        ("locale.language", json!("zz")),
        ("locale.timezone", json!("Europe/Atlantis")),
        ("locale.timezone", json!("../../etc/passwd")),
        ("locale.currency", json!("EURO")),
        ("locale.currency", json!("ABC")),
        ("locale.currency", json!("HRK")),
        ("locale.language", json!("de-Qqaa")),
        ("locale.language", json!("en-Abcd-US")),
        ("locale.language", json!("de-foobar1")),
        ("locale.date_format", json!("<script>")),
        ("locale.first_day_of_week", json!("someday")),
        ("accessibility.captions", json!("on")),
        ("accessibility.colour", json!(true)),
        ("privacy.messages_from", json!("friends")),
        ("updated_at", json!("2025-11-23T12:00:00Z")),
        ("custom.unknown", json!({ "a": 1 })),
        ("custom", json!(7)),
    ] {
        let mut body = json!({});
        let mut at = &mut body;
        let mut segments = field.split('.').peekable();
        while let Some(segment) = segments.next() {
            at[segment] = if segments.peek().is_some() { json!({}) } else { bad.clone() };
            at = &mut at[segment];
        }
        ann.put(PREFERENCES, &body).is_problem(400, "invalid-input").names_field(field);
        if let Some((name, rest)) = field.split_once('.').filter(|(name, _)| *name != "custom") {
            ann.put(&section(name), &body[name]).is_problem(400, "invalid-input").names_field(rest);
        }
    }
    let many: Map<String, Value> = (0..51).map(|it| (format!("c{it}"), json!(true))).collect();
    ann.put(&section("notifications"), &json!({ "push": { "categories": many } }))
        .is_problem(400, "invalid-input")
        .names_field("push.categories");
    ann.put(PREFERENCES, &json!({ "notifications": { "push": { "categories": many } } }))
        .is_problem(400, "invalid-input")
        .names_field("notifications.push.categories");
    let defaults = json!({ "values": { "notifications": { "push": { "categories": many } } } });
    server
        .admin()
        .put("/api/v1/preferences/defaults", &defaults)
        .is_problem(400, "invalid-input")
        .names_field("values.notifications.push.categories");
    assert_eq!(read(&ann), before);
}

#[test]
fn tables_know_spellings() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let given = json!({ "language": "EN-us", "timezone": "europe/berlin" });
    let locale = ann.put(&section("locale"), &given).expect(200);
    assert_eq!((&locale["language"], &locale["timezone"]), (&json!("en-US"), &json!("Europe/Berlin")));
    for (given, kept) in [("en-AQ", "en-AQ"), ("de-1996", "de-1996"), ("iw", "he")] {
        assert_eq!(ann.put(&section("locale"), &json!({ "language": given })).expect(200)["language"], kept);
    }
}

#[test]
fn a_choice_stands_over_roles_over_the_installation_over_the_program() {
    let server = Server::durable();
    let admin = server.admin();
    let ann = admin.person("ann");
    let (first, second) = (admin.role("a-role", &[]), admin.role("b-role", &[]));
    let defaults = |role: &str| format!("/api/v1/roles/{role}/preferences");
    let origin = |path: &str| {
        let all = ann.get(&format!("{PREFERENCES}?origin=true")).expect(200);
        let pointer = format!("/{}", path.replace('.', "/"));
        (all.pointer(&pointer).unwrap().clone(), all["origin"][path].clone())
    };
    let check = |value: &str, source: Value| assert_eq!(origin("locale.language"), (json!(value), source));
    let tag = ann.get(PREFERENCES).header("etag").unwrap().to_owned();
    check("en", json!({ "source": "default" }));

    admin.put("/api/v1/preferences/defaults", &json!({ "values": { "locale": { "language": "fr" } } })).expect(200);
    check("fr", json!({ "source": "installation" }));
    let after = ann.call("GET", PREFERENCES, None, &[("If-None-Match", &tag)]);
    assert_eq!(after.status, 200, "what counts is another, so is its tag");

    admin.put(&defaults(&first), &json!({ "values": { "locale": { "language": "de" } } })).expect(200);
    check("fr", json!({ "source": "installation" }));
    admin.assign(&ann.id, &first);
    check("de", json!({ "source": "role", "role_id": first }));
    assert_eq!(read(&ann)["locale"]["language"], "de", "it holds at once");
    admin.put(&defaults(&second), &json!({ "values": { "locale": { "language": "it" } } })).expect(200);
    admin.assign(&ann.id, &second);
    check("de", json!({ "source": "role", "role_id": first }));
    admin.put(&defaults(&second), &json!({ "priority": 5 })).expect(200);
    assert_eq!(admin.put(&defaults(&second), &json!({ "priority": null })).expect(200)["priority"], 0);
    admin.put(&defaults(&second), &json!({ "priority": 5 })).expect(200);
    check("it", json!({ "source": "role", "role_id": second }));

    ann.put(PREFERENCES, &json!({ "locale": { "language": "es" } })).expect(200);
    check("es", json!({ "source": "own" }));
    let server = server.restarted();
    let (admin, id) = (server.admin(), ann.id.clone());
    let ann = server.anonymous().bearing(&ann.session_token);
    let read = || ann.get(&section("locale")).expect(200)["language"].clone();
    assert_eq!(read(), "es");
    ann.put(PREFERENCES, &json!({ "locale": { "language": null } })).expect(200);
    assert_eq!(read(), "it");
    admin.delete(&defaults(&second)).expect(204);
    assert_eq!(read(), "de");
    admin.unassign(&id, &first);
    assert_eq!(read(), "fr");
}

#[test]
fn a_role_counts_only_while_it_is_held() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    let role = admin.role("shift", &[]);
    admin
        .put(&format!("/api/v1/roles/{role}/preferences"), &json!({ "values": { "theme": { "mode": "dark" } } }))
        .expect(200);
    let body = json!({ "role_id": role, "expires_at": "2025-11-23T12:10:00Z" });
    admin.post(&format!("/api/v1/users/{}/roles", ann.id), &body).expect(201);
    assert_eq!(read(&ann)["theme"]["mode"], "dark");
    server.clock.advance_seconds(600);
    assert_eq!(read(&ann)["theme"]["mode"], "system");
    let missing = "/api/v1/roles/role_01h455vb4pex5vsknk084sn02q/preferences";
    admin.put(missing, &json!({ "values": {} })).is_problem(404, "not-found");
    admin.get(missing).is_problem(404, "not-found");
    admin.delete(missing).is_problem(404, "not-found");
    let defaults = "/api/v1/preferences/defaults";
    admin.put(defaults, &json!({ "priority": 1 })).is_problem(400, "invalid-input").names_field("priority");
    admin
        .put(defaults, &json!({ "values": { "theme": { "mode": "x" } } }))
        .is_problem(400, "invalid-input")
        .names_field("values.theme.mode");
    assert_eq!(admin.get(defaults).expect(200)["updated_at"], Value::Null);
    admin.put(defaults, &json!({ "values": { "theme": { "mode": "light" } } })).expect(200);
    assert_eq!(admin.get(defaults).expect(200)["values"], json!({ "theme": { "mode": "light" } }));
    let cleared = admin.put(defaults, &json!({ "values": null })).expect(200);
    assert_eq!((&cleared["values"], &cleared["updated_at"]), (&json!({}), &json!("2025-11-23T12:10:00.000Z")));
}

#[test]
fn an_application_keeps_its_own_values_under_a_schema() {
    let server = Server::durable();
    let admin = server.admin();
    let ann = admin.person("ann");
    let path = "/api/v1/preferences/namespaces/shop";
    let schema = json!({
        "type": "object",
        "properties": { "view": { "enum": ["grid", "list"] }, "size": { "type": "integer", "minimum": 1 },
                        "note": { "type": "string", "pattern": "^[a-z ]*$" }, "deep": { "type": "object" } },
        "additionalProperties": false,
    });
    admin
        .put(path, &json!({ "schema": { "type": "nonsense" } }))
        .is_problem(400, "invalid-input")
        .names_field("schema");
    admin
        .put(path, &json!({ "schema": { "$ref": "https://example.org/schema.json" } }))
        .is_problem(400, "invalid-input")
        .names_field("schema");
    admin
        .put(path, &json!({ "schema": { "description": "x".repeat(16 * 1024) } }))
        .is_problem(400, "invalid-input")
        .names_field("schema");
    admin.put("/api/v1/preferences/namespaces/Shop!", &json!({ "schema": {} })).is_problem(400, "invalid-input");
    admin.put(path, &json!({ "schema": schema, "description": "The shop" })).expect(200);
    assert_eq!(admin.get("/api/v1/preferences/namespaces").expect(200)["items"][0]["schema"], schema);

    let put = |values: Value| ann.put(PREFERENCES, &json!({ "custom": { "shop": values } }));
    assert_eq!(put(json!({ "view": "grid", "deep": { "a": 1 } })).expect(200)["custom"]["shop"]["view"], "grid");
    let merged = put(json!({ "size": 3, "deep": { "b": 2 } })).expect(200);
    assert_eq!(merged["custom"]["shop"], json!({ "view": "grid", "size": 3, "deep": { "a": 1, "b": 2 } }));
    for (bad, field) in [
        (json!({ "view": "map" }), "custom.shop.view"),
        (json!({ "size": 0 }), "custom.shop.size"),
        (json!({ "note": "UPPER" }), "custom.shop.note"),
        (json!({ "colour": 1 }), "custom.shop"),
        (json!({ "note": "x".repeat(8 * 1024) }), "custom.shop"),
        (json!([]), "custom.shop"),
    ] {
        put(bad).is_problem(400, "invalid-input").names_field(field);
    }
    let all = ann.get(&format!("{PREFERENCES}/schema")).expect(200);
    let mut published = schema.clone();
    published["$id"] = json!(path);
    assert_eq!(all["properties"]["custom"]["properties"]["shop"], published);
    assert_eq!(all["properties"]["theme"]["properties"]["mode"]["default"], "system");
    assert_eq!(put(json!({ "size": null })).expect(200)["custom"]["shop"]["size"], Value::Null);

    let server = server.restarted();
    let (admin, ann) = (server.admin(), server.anonymous().bearing(&ann.session_token));
    let shop = || ann.get(PREFERENCES).expect(200)["custom"].clone();
    assert_eq!(shop()["shop"]["view"], "grid");
    admin.delete(path).expect(204);
    assert_eq!(shop(), json!({}), "what has no schema is not shown");
    admin.delete(path).is_problem(404, "not-found");
    admin.put(path, &json!({ "schema": schema })).expect(200);
    assert_eq!(ann.put(PREFERENCES, &json!({ "custom": { "shop": null } })).expect(200)["custom"], json!({}));
}

#[test]
fn the_published_schema_is_one_and_everything_shown_fits_it() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    let set = |name: &str, schema: &Value| {
        admin.put(&format!("/api/v1/preferences/namespaces/{name}"), &json!({ "schema": schema }))
    };
    // Each refers to a place of its own, by the same name; two call themselves the same.
    let schema = |kind: &str| {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.org/values",
            "type": "object", "properties": { "a": { "$ref": "#/$defs/a0" } }, "additionalProperties": false,
            "$defs": { "a0": { "type": kind } },
        })
    };
    set("shop", &schema("string")).expect(200);
    set("desk", &schema("integer")).expect(200);
    set("any", &json!({})).expect(200);
    for other in ["http://json-schema.org/draft-07/schema#", "https://example.org/mine"] {
        let other = json!({ "$schema": other, "properties": { "a": { "items": [{}] } } });
        set("old", &other).is_problem(400, "invalid-input").names_field("schema");
    }
    let published = ann.get(&format!("{PREFERENCES}/schema")).expect(200);
    let validator = jsonschema::options().offline().build(&published).unwrap();
    let check = |whole: &Value, fits: bool| {
        let wrong: Vec<_> = validator.iter_errors(whole).map(|error| error.to_string()).collect();
        assert_eq!(wrong.is_empty(), fits, "{whole}: {wrong:?}");
    };
    check(&read(&ann), true);
    let body = json!({ "theme": { "mode": "dark" }, "custom": { "shop": { "a": "x" }, "desk": { "a": 1 }, "any": { "b": [] } } });
    check(&body, true);
    ann.put(PREFERENCES, &body).expect(200);
    check(&read(&ann), true);
    for wrong in [
        json!({ "custom": { "shop": { "a": 1 } } }),
        json!({ "custom": { "desk": { "a": "x" } } }),
        json!({ "theme": { "mode": "loud" } }),
        json!({ "other": 1 }),
    ] {
        check(&wrong, false);
        ann.put(PREFERENCES, &wrong).is_problem(400, "invalid-input");
    }
}

#[test]
fn a_schema_that_would_take_for_ever_is_refused_and_a_large_one_says_less() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    let path = "/api/v1/preferences/namespaces/shop";
    let set = |schema: &Value| admin.put(path, &json!({ "schema": schema }));
    let put = |values: Value| ann.put(PREFERENCES, &json!({ "custom": { "shop": values } }));
    // Each refers twice to the next: 2^40 complaints about one value.
    let twice = |to: usize| json!({ "allOf": vec![json!({ "$ref": format!("#/$defs/a{to}") }); 2] });
    let schema = |depth: usize| {
        let all = (0..depth).map(|at| (format!("a{at}"), twice(at + 1)));
        let defs: serde_json::Map<_, _> = all.chain([(format!("a{depth}"), json!({ "type": "string" }))]).collect();
        json!({ "properties": { "a": { "items": { "$ref": "#/$defs/a0" } } }, "$defs": defs })
    };
    set(&schema(40)).is_problem(400, "invalid-input").names_field("schema");
    set(&json!({ "properties": { "a": { "$ref": "#" } } })).is_problem(400, "invalid-input").names_field("schema");
    set(&schema(7)).expect(200);
    put(json!({ "a": ["x", "y"] })).expect(200);
    let few = put(json!({ "a": [1] }));
    few.is_problem(400, "invalid-input").names_field("custom.shop.a.0");
    assert_eq!(few.json()["errors"].as_array().unwrap().len(), 20);
    let many = put(json!({ "a": vec![1; 3000] }));
    many.is_problem(400, "invalid-input").names_field("custom.shop");
    assert_eq!(many.json()["errors"], json!([{ "field": "custom.shop", "message": "does not fit its schema" }]));
}

#[test]
fn a_reset_goes_back_to_the_defaults_of_what_it_names() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    admin.put("/api/v1/preferences/namespaces/shop", &json!({ "schema": {} })).expect(200);
    let chosen =
        json!({ "theme": { "mode": "dark" }, "locale": { "language": "de" }, "custom": { "shop": { "a": 1 } } });
    let reset = |body: Value| ann.post(&format!("{PREFERENCES}/reset"), &body);
    let before = ann.put(PREFERENCES, &chosen).expect(200);
    assert_eq!(reset(json!({ "sections": [] })).expect(200), before, "an empty list names nothing");
    let after = reset(json!({ "sections": ["theme"] })).expect(200);
    assert_eq!((&after["theme"]["mode"], &after["locale"]["language"]), (&json!("system"), &json!("de")));
    let after = reset(json!({ "sections": ["custom.shop"] })).expect(200);
    assert_eq!((&after["custom"], &after["locale"]["language"]), (&json!({}), &json!("de")));
    ann.put(PREFERENCES, &chosen).expect(200);
    let after = reset(json!({ "sections": null })).expect(200);
    assert_eq!((&after["custom"], &after["theme"]["mode"]), (&json!({}), &json!("system")));
    ann.put(PREFERENCES, &chosen).expect(200);
    let after = reset(json!({})).expect(200);
    let own = ann.get(&format!("{PREFERENCES}?origin=true")).expect(200)["origin"].to_string();
    assert!(!own.contains("own"), "{own}");
    assert_eq!((&after["custom"], &after["locale"]["language"]), (&json!({}), &json!("en")));
    reset(json!({ "sections": vec!["theme"; 71] })).is_problem(400, "invalid-input").names_field("sections");
    let links: serde_json::Map<_, _> = (0..501).map(|at| (at.to_string(), Value::Null)).collect();
    ann.put("/api/v1/users/profile", &json!({ "social_links": links }))
        .is_problem(400, "invalid-input")
        .names_field("social_links.99");
    ann.put(&section("notifications"), &json!({ "push": { "categories": links } }))
        .is_problem(400, "invalid-input")
        .names_field("push.categories.99");
    let text = json!({ "theme": "x".repeat(64 * 1024) });
    ann.put(&format!("{PREFERENCES}/theme"), &text).is_problem(413, "body-too-large");
    reset(json!({ "sections": ["theme", "colours"] })).is_problem(400, "invalid-input").names_field("sections[1]");
}

#[test]
fn a_version_is_asked_for_and_demanded_by_its_tag_also_of_a_section() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    for path in [PREFERENCES.to_owned(), section("theme")] {
        let tag = ann.get(&path).header("etag").unwrap().to_owned();
        assert_eq!(ann.call("GET", &path, None, &[("If-None-Match", &tag)]).status, 304);
        let mode = if ann.get(&section("theme")).json()["mode"] == "dark" { "light" } else { "dark" };
        let body = if path == PREFERENCES { json!({ "theme": { "mode": mode } }) } else { json!({ "mode": mode }) };
        let put = || ann.call("PUT", &path, Some(body.to_string()), &[("If-Match", &tag)]);
        put().expect(200);
        put().is_problem(412, "version-mismatch");
        assert_eq!(ann.call("GET", &path, None, &[("If-None-Match", &tag)]).status, 200);
    }
    // Another section is another thing.
    let tag = ann.get(&section("theme")).header("etag").unwrap().to_owned();
    ann.put(&section("locale"), &json!({ "language": "de" })).expect(200);
    assert_eq!(ann.call("GET", &section("theme"), None, &[("If-None-Match", &tag)]).status, 304);
}

#[test]
fn administrators_replace_what_they_saw() {
    let server = Server::start();
    let admin = server.admin();
    let (ann, role) = (admin.person("ann"), admin.role("staff", &[]));
    let mode = |mode: &str| json!({ "values": { "theme": { "mode": mode } } });
    let review = |state: &str| json!({ "state": state, "evidence": "passport" });
    let defaults = "/api/v1/preferences/defaults".to_owned();
    let of_role = format!("/api/v1/roles/{role}/preferences");
    let shop = "/api/v1/preferences/namespaces/shop".to_owned();
    let identity = format!("/api/v1/users/{}/profile/identity", ann.id);
    let (open, shut) = (json!({ "schema": { "type": "object" } }), json!({ "schema": { "maxProperties": 1 } }));
    let matching = |method: &str, path: &str, body: Option<&Value>, tag: &str| {
        admin.call(method, path, body.map(Value::to_string), &[("If-Match", tag)])
    };
    // What is not there is no version of anything.
    matching("PUT", &shop, Some(&open), "*").is_problem(412, "version-mismatch");
    let anew = || admin.call("PUT", &shop, Some(open.to_string()), &[("If-None-Match", "*")]);
    anew().expect(200);
    let there = anew();
    there.is_problem(412, "version-mismatch");
    assert_eq!(there.json()["detail"], "there is one already, and If-None-Match demands that there is none");
    admin.delete(&shop).expect(204);
    for (path, first, second) in [
        (&defaults, mode("dark"), mode("light")),
        (&of_role, mode("dark"), mode("light")),
        (&shop, open.clone(), shut),
        (&identity, review("verified"), review("rejected")),
    ] {
        let written = admin.put(path, &first);
        written.expect(200);
        let tag = written.header("etag").unwrap();
        assert_eq!(admin.get(path).header("etag"), Some(tag), "{path}");
        // Another thing in the same book is not this one.
        admin.put("/api/v1/preferences/namespaces/other", &json!({ "schema": { "title": path } })).expect(200);
        let after = matching("PUT", path, Some(&second), tag).expect(200);
        matching("PUT", path, Some(&first), tag).is_problem(412, "version-mismatch");
        assert_eq!(admin.get(path).expect(200), after, "{path}");
        matching("PUT", path, Some(&second), "*").expect(200);
        if path == &of_role || path == &shop {
            matching("DELETE", path, None, tag).is_problem(412, "version-mismatch");
            let now = admin.get(path).header("etag").unwrap().to_owned();
            matching("DELETE", path, None, &now).expect(204);
        }
    }
}

#[test]
fn the_language_is_negotiated_for_whoever_chose_none() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    let path = format!("{PREFERENCES}/effective-locale");
    let ask = |query: &str, header: &str| {
        let reply = ann.call("GET", &format!("{path}{query}"), None, &[("Accept-Language", header)]);
        assert_eq!(reply.header("vary"), Some("Accept-Language"));
        let body = reply.expect(200);
        (body["language"].as_str().unwrap().to_owned(), body["source"].as_str().unwrap().to_owned())
    };
    let is = |language: &str, source: &str| (language.to_owned(), source.to_owned());
    assert_eq!(ask("", "de-AT, en;q=0.5"), is("de-AT", "accept_language"));
    assert_eq!(ask("?supported=en,de", "de-AT, en;q=0.5"), is("de", "accept_language"));
    assert_eq!(ask("?supported=it", "de-AT, en;q=0.5"), is("it", "supported"));
    assert_eq!(ask("", ""), is("en", "default"));
    admin.put("/api/v1/preferences/defaults", &json!({ "values": { "locale": { "language": "fr" } } })).expect(200);
    assert_eq!(ask("", "*"), is("fr", "default"));
    assert_eq!(ask("", "de"), is("de", "accept_language"));
    ann.put(PREFERENCES, &json!({ "locale": { "language": "es" } })).expect(200);
    assert_eq!(ask("", "de"), is("es", "own"));
    assert_eq!(ask("?supported=de,pt", "de"), is("de", "accept_language"));
    ann.get(&format!("{path}?supported=!!")).is_problem(400, "invalid-input").names_field("supported");
    ann.put(PREFERENCES, &json!({ "locale": { "language": null } })).expect(200);
    // Each spells a language in its own way; the application is answered in its own.
    for (supported, header, found) in [
        ("iw,en", "iw", "iw"),
        ("iw,en", "he-IL", "iw"),
        ("en,in", "id", "in"),
        ("EN-us,tl", "fil", "tl"),
        ("fr,de", "de;Q=0.5, fr; q=0.4", "de"),
    ] {
        assert_eq!(
            ask(&format!("?supported={supported}"), header),
            is(found, "accept_language"),
            "{supported} {header}"
        );
    }
}

#[test]
fn quiet_hours_are_those_of_the_persons_own_zone() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let quiet = || ann.get(&format!("{PREFERENCES}/quiet-hours")).expect(200);
    assert_eq!(quiet(), json!({ "quiet": false, "changes_at": null, "timezone": "UTC" }));
    ann.put(&section("notifications"), &json!({ "quiet_hours": { "enabled": true } })).expect(200);
    assert_eq!(quiet()["changes_at"], "2025-11-23T22:00:00.000Z");
    ann.put(&section("locale"), &json!({ "timezone": "Asia/Tokyo" })).expect(200);
    ann.put(&section("notifications"), &json!({ "quiet_hours": { "start": "21:05" } })).expect(200);
    assert_eq!(quiet()["changes_at"], "2025-11-23T12:05:00.000Z");
    server.clock.advance_seconds(300);
    assert_eq!(quiet(), json!({ "quiet": true, "changes_at": "2025-11-23T22:00:00.000Z", "timezone": "Asia/Tokyo" }));
}

#[test]
fn quiet_hours_that_the_clocks_leave_out_begin_and_end_when_they_are_changed() {
    let server = Server::start();
    server.admin().person("ann");
    let ask = |now: &str, start: &str, end: &str, days: Value| {
        let wanted = sesame::kernel::clock::Timestamp::parse(now).unwrap();
        server.clock.advance_seconds(wanted.since(server.clock.now()) / 1000);
        let ann = server.anonymous().sign_in("ann", crate::harness::PASSWORD);
        ann.put(&section("locale"), &json!({ "timezone": "Europe/Berlin" })).expect(200);
        let hours = json!({ "enabled": true, "start": start, "end": end, "days": days });
        ann.put(&section("notifications"), &json!({ "quiet_hours": hours })).expect(200);
        let quiet = ann.get(&format!("{PREFERENCES}/quiet-hours")).expect(200);
        (quiet["quiet"].as_bool().unwrap(), quiet["changes_at"].as_str().unwrap_or_default().to_owned())
    };
    let is = |quiet: bool, until: &str| (quiet, until.to_owned());
    let sunday = || json!(["sunday"]);
    // On 2026-03-29 it is 03:00 after 01:59.
    assert_eq!(ask("2026-03-22T01:45:00Z", "02:30", "03:30", sunday()), is(true, "2026-03-22T02:30:00.000Z"));
    assert_eq!(ask("2026-03-29T01:15:00Z", "22:00", "02:30", Value::Null), is(false, "2026-03-29T20:00:00.000Z"));
    assert_eq!(ask("2026-03-29T01:15:00Z", "02:30", "03:30", Value::Null), is(true, "2026-03-29T01:30:00.000Z"));
}

fn namespace(name: &str) -> String {
    format!("/api/v1/preferences/namespaces/{name}")
}

#[test]
fn what_is_left_of_removed_namespaces_can_be_cleared_and_is_in_nobodys_way() {
    let server = Server::start();
    let admin = server.admin();
    let register = |name: &str| admin.put(&namespace(name), &json!({ "schema": { "type": "object" } })).expect(200);
    let full = || -> Value {
        let text = "x".repeat(8 * 1024 - 8);
        (0..8).map(|number| (format!("n{number}"), json!({ "a": text }))).collect()
    };
    let people = ["filling", "clearing", "each"].map(|name| admin.person(name));
    for number in 0..8 {
        register(&format!("n{number}"));
    }
    for person in &people {
        person.put(PREFERENCES, &json!({ "custom": full() })).expect(200);
    }
    for number in 0..8 {
        admin.delete(&namespace(&format!("n{number}"))).expect(204);
    }
    register("m");
    let put = |person: &SignedIn, custom: Value| person.put(PREFERENCES, &json!({ "custom": custom }));
    let [filling, clearing, each] = &people;
    // One that there is not cannot be filled, and can be cleared.
    put(each, json!({ "n0": { "a": 1 } })).is_problem(400, "invalid-input").names_field("custom.n0");
    put(each, json!({ "n0": null, "n1": null })).expect(200);
    put(clearing, Value::Null).expect(200);
    assert_eq!(put(filling, json!({ "m": { "a": 1 } })).expect(200)["custom"], json!({ "m": { "a": 1 } }));
    for number in 0..8 {
        register(&format!("n{number}"));
    }
    let left = |person: &SignedIn| read(person)["custom"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(left(each), ["n2", "n3", "n4", "n5", "n6", "n7"]);
    assert!(left(clearing).is_empty());
    assert_eq!(left(filling), ["m"], "what was left made room");
    // Of those that there are, none makes room.
    put(filling, full()).is_problem(400, "invalid-input").names_field("custom");
}

#[test]
fn values_are_shown_only_while_they_fit_the_schema_that_there_is() {
    let server = Server::durable();
    let admin = server.admin();
    let ann = admin.person("ann");
    let of =
        |kind: &str| json!({ "schema": { "properties": { "a": { "type": kind } }, "additionalProperties": false } });
    let register = |admin: &crate::harness::Admin, kind: &str| admin.put(&namespace("shop"), &of(kind)).expect(200);
    register(&admin, "string");
    ann.put(PREFERENCES, &json!({ "custom": { "shop": { "a": "x" } } })).expect(200);
    let tag = ann.get(PREFERENCES).header("etag").unwrap().to_owned();
    let shown = |ann: &SignedIn| {
        let (all, origin) = (read(ann), ann.get(&format!("{PREFERENCES}?origin=true")).expect(200));
        assert_eq!(all["custom"], origin["custom"]);
        assert_eq!(origin["origin"].get("custom.shop").is_some(), all["custom"].get("shop").is_some());
        all["custom"].clone()
    };
    register(&admin, "integer");
    assert_eq!(shown(&ann), json!({}), "a text is no number");
    let put = |custom: Value| {
        let body = json!({ "custom": custom }).to_string();
        ann.call("PUT", PREFERENCES, Some(body), &[("If-Match", &tag)])
    };
    put(json!({ "shop": { "a": 1 } })).is_problem(412, "version-mismatch");
    let as_it_was = json!({ "custom": { "shop": { "a": "x" } } });
    ann.put(PREFERENCES, &as_it_was).is_problem(400, "invalid-input").names_field("custom.shop.a");
    register(&admin, "string");
    assert_eq!(shown(&ann), json!({ "shop": { "a": "x" } }), "and fits again");
    admin.delete(&namespace("shop")).expect(204);
    register(&admin, "integer");
    let server = server.restarted();
    let (ann, admin) = (ann.at(server.address), server.admin());
    assert_eq!(shown(&ann), json!({}));
    ann.put(&section("theme"), &json!({ "mode": "dark" })).expect(200);
    assert_eq!(shown(&ann), json!({}));
    // What is changed is what is shown.
    let strict = json!({ "schema": { "properties": { "b": { "type": "integer" } }, "additionalProperties": false } });
    admin.put(&namespace("shop"), &strict).expect(200);
    let after = ann.put(PREFERENCES, &json!({ "custom": { "shop": { "b": 1 } } })).expect(200);
    assert_eq!(after["custom"]["shop"], json!({ "b": 1 }));
    // What is missing of values that are kept can be added to them.
    let whole = json!({ "schema": { "required": ["b", "c"] } });
    admin.put(&namespace("shop"), &whole).expect(200);
    assert_eq!(shown(&ann), json!({}));
    let after = ann.put(PREFERENCES, &json!({ "custom": { "shop": { "c": 2 } } })).expect(200);
    assert_eq!(after["custom"]["shop"], json!({ "b": 1, "c": 2 }));
}

#[test]
fn a_schema_that_no_object_fits_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    for schema in [
        json!({ "type": "string" }),
        json!({ "type": ["string", "null"] }),
        json!({ "const": 1 }),
        json!({ "enum": ["a", null] }),
        json!({ "allOf": [{}, { "type": "array" }] }),
        json!({ "anyOf": [{ "type": "string" }, false] }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "type": "boolean" } } }),
        json!({ "not": {} }),
    ] {
        let refused = admin.put(&namespace("shop"), &json!({ "schema": schema }));
        refused.is_problem(400, "invalid-input").names_field("schema");
    }
    for schema in [
        json!({ "type": ["object", "null"] }),
        json!({ "enum": [{ "a": 1 }, 7] }),
        json!({ "anyOf": [{ "type": "string" }, { "type": "object" }] }),
        json!({ "not": { "type": "string" } }),
    ] {
        admin.put(&namespace("shop"), &json!({ "schema": schema })).expect(200);
    }
}

#[test]
fn complaints_about_namespaces_are_few_and_so_are_the_bytes_that_are_read() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let many: Map<String, Value> = (0..3000).map(|it| (format!("n{it}"), json!(1))).collect();
    let refused = ann.put(PREFERENCES, &json!({ "custom": many, "theme": { "mode": "loud" } }));
    refused.is_problem(400, "invalid-input").names_field("theme.mode");
    assert_eq!(refused.json()["errors"].as_array().unwrap().len(), 51);
    let large = json!({ "custom": { "shop": { "a": "x".repeat(128 * 1024) } } });
    ann.put(PREFERENCES, &large).is_problem(413, "body-too-large");
}

#[test]
fn defaults_of_a_role_that_is_gone_can_be_removed() {
    let server = Server::start();
    let admin = server.admin();
    let role = admin.role("staff", &[]);
    let path = format!("/api/v1/roles/{role}/preferences");
    let dark = json!({ "values": { "theme": { "mode": "dark" } } });
    admin.put(&path, &dark).expect(200);
    admin.delete(&format!("/api/v1/roles/{role}")).expect(204);
    assert_eq!(admin.get(&path).expect(200)["values"], dark["values"]);
    admin.put(&path, &dark).is_problem(404, "not-found");
    let tag = admin.get(&path).header("etag").unwrap().to_owned();
    admin.call("DELETE", &path, None, &[("If-Match", "\"other\"")]).is_problem(412, "version-mismatch");
    admin.call("DELETE", &path, None, &[("If-Match", &tag)]).expect(204);
    admin.delete(&path).is_problem(404, "not-found");
    admin.get(&path).is_problem(404, "not-found");
}

#[test]
fn what_cannot_be_as_it_was_is_not_undone_and_the_rest_is() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    let of = |kind: &str| json!({ "schema": { "properties": { "a": { "type": kind } } } });
    for name in ["shop", "desk"] {
        admin.put(&namespace(name), &of("string")).expect(200);
    }
    ann.put(PREFERENCES, &json!({ "custom": { "shop": { "a": "x" } } })).expect(200);
    ann.put(PREFERENCES, &json!({ "theme": { "mode": "dark" }, "custom": { "desk": { "a": "y" } } })).expect(200);
    ann.put(PREFERENCES, &json!({ "custom": { "shop": null } })).expect(200);
    let changes = || ann.get(CHANGES).expect(200)["items"].as_array().unwrap().clone();
    let undo = |change: &Value| ann.post(&format!("{CHANGES}/{}/undo", change["id"].as_str().unwrap()), &json!({}));
    let cleared = changes()[0].clone();
    ann.post(&format!("{PREFERENCES}/reset"), &json!({})).expect(200);
    let reset = changes()[0].clone();
    admin.delete(&namespace("shop")).expect(204);
    let gone = undo(&cleared);
    gone.is_problem(409, "not-valid-any-more").names_field("custom.shop");
    // Values that do not fit any more are not put back either.
    admin.put(&namespace("desk"), &of("integer")).expect(200);
    undo(&reset).is_problem(409, "not-valid-any-more").names_field("custom.desk.a");
    admin.delete(&namespace("desk")).expect(204);
    undo(&reset).expect(204);
    let after = read(&ann);
    assert_eq!((&after["theme"]["mode"], &after["custom"]), (&json!("dark"), &json!({})));
    // Of a profile, too: whom to call needs a name.
    ann.put(PROFILE, &json!({ "emergency_contact": { "name": "Bob" } })).expect(200);
    let named = changes()[0].clone();
    ann.put(PROFILE, &json!({ "emergency_contact": { "email": "bob@example.org" } })).expect(200);
    undo(&named).is_problem(409, "not-valid-any-more").names_field("emergency_contact.name");
}

#[test]
fn a_demanded_version_is_compared_strongly_in_every_header() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    for (path, body) in [
        (PROFILE.to_owned(), json!({ "bio": "one" })),
        (PREFERENCES.to_owned(), json!({ "theme": { "mode": "dark" } })),
        (section("locale"), json!({ "language": "de" })),
    ] {
        ann.put(&path, &body).expect(200);
        let tag = ann.get(&path).header("etag").unwrap().to_owned();
        let put = |headers: &[(&str, &str)]| ann.call("PUT", &path, Some(body.to_string()), headers);
        let weak = format!("W/{tag}");
        put(&[("If-Match", &weak)]).is_problem(412, "version-mismatch");
        put(&[("If-Match", &format!("\"a\", {weak}"))]).is_problem(412, "version-mismatch");
        put(&[("If-Match", "\"a\""), ("If-Match", &weak)]).is_problem(412, "version-mismatch");
        put(&[("If-Match", "\"a\""), ("If-Match", &tag)]).expect(200);
        put(&[("If-Match", &tag), ("If-Match", "\"a\"")]).expect(200);
        put(&[("If-Match", &format!("{weak}, {tag}"))]).expect(200);
        // What is asked for is compared weakly.
        assert_eq!(ann.call("GET", &path, None, &[("If-None-Match", &weak)]).status, 304, "{path}");
    }
}

#[test]
fn changes_are_listed_and_one_is_taken_back() {
    let server = Server::durable();
    let ann = server.admin().person("ann");
    ann.put(PROFILE, &json!({ "bio": "one", "location": "Bonn" })).expect(200);
    server.clock.advance_seconds(1);
    ann.put(PREFERENCES, &json!({ "theme": { "mode": "dark" } })).expect(200);
    server.clock.advance_seconds(1);
    ann.put(PROFILE, &json!({ "bio": "two" })).expect(200);
    let server = server.restarted();
    let ann = server.anonymous().bearing(&ann.session_token);
    let list = || ann.get(CHANGES).expect(200)["items"].as_array().unwrap().clone();
    let changes = list();
    assert_eq!(
        changes.iter().map(|it| it["part"].as_str().unwrap()).collect::<Vec<_>>(),
        ["profile", "preferences", "profile"]
    );
    assert_eq!(changes[0]["differences"], json!([{ "path": "bio", "before": "one", "after": "two" }]));
    assert_eq!(changes[1]["differences"], json!([{ "path": "theme.mode", "before": null, "after": "dark" }]));
    let undo = |change: &Value| ann.post(&format!("{CHANGES}/{}/undo", change["id"].as_str().unwrap()), &json!({}));
    // Not while what it changed is another by now, and then nothing of it.
    let refused = undo(&changes[2]);
    refused.is_problem(409, "changed-since").names_field("bio");
    assert_eq!(ann.get(PROFILE).expect(200)["location"], "Bonn");
    undo(&changes[1]).expect(204);
    assert_eq!(ann.get(PREFERENCES).expect(200)["theme"]["mode"], "system");
    undo(&changes[0]).expect(204);
    assert_eq!(ann.get(PROFILE).expect(200)["bio"], "one");
    undo(&changes[2]).expect(204);
    let profile = ann.get(PROFILE).expect(200);
    assert_eq!((&profile["bio"], &profile["location"]), (&Value::Null, &Value::Null));
    let newest = &list()[0];
    assert_eq!(newest["undoes"], changes[2]["id"]);
    undo(newest).expect(204);
    assert_eq!(ann.get(PROFILE).expect(200)["location"], "Bonn", "taking back can be taken back");
    ann.post(&format!("{CHANGES}/chg_01h455vb4pex5vsknk084sn02q/undo"), &json!({})).is_problem(404, "not-found");
    let bob = server.admin().person("bob");
    bob.post(&format!("{CHANGES}/{}/undo", changes[0]["id"].as_str().unwrap()), &json!({}))
        .is_problem(404, "not-found");
    ann.delete(PROFILE).expect(204);
    let left = list();
    let parts: Vec<_> = left.iter().map(|it| it["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["preferences", "preferences"], "whoever removes the profile removes what was in it before");
    undo(&left[0]).expect(204);
    assert_eq!(ann.get(PREFERENCES).expect(200)["theme"]["mode"], "dark");
    ann.put(PROFILE, &json!({ "bio": "three" })).expect(200);
    assert_eq!(list().len(), 4);
    ann.delete(PROFILE).expect(204);
    assert_eq!(list().len(), 3);
}

#[test]
fn fifty_changes_are_kept() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    for turn in 0..60 {
        server.clock.advance_seconds(1);
        ann.put(PROFILE, &json!({ "bio": format!("{turn}") })).expect(200);
    }
    let changes = ann.get(CHANGES).expect(200)["items"].as_array().unwrap().clone();
    assert_eq!(changes.len(), 50);
    assert_eq!(
        (&changes[0]["differences"][0]["after"], &changes[49]["differences"][0]["after"]),
        (&json!("59"), &json!("10"))
    );
    // In pages, each once; a cursor is a place that stays good while others come.
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ann.get(&format!("{CHANGES}?limit=7&cursor={cursor}")).expect(200);
        pages.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(pages, changes);
    let first = ann.get(&format!("{CHANGES}?limit=7")).expect(200);
    for turn in 60..70 {
        ann.put(PROFILE, &json!({ "bio": format!("{turn}") })).expect(200);
    }
    let after = |next: &Value| ann.get(&format!("{CHANGES}?cursor={}", next.as_str().unwrap())).expect(200);
    let rest = after(&first["next_cursor"])["items"].as_array().unwrap().clone();
    assert_eq!(rest, changes[7..40], "ten are not kept any more");
    for turn in 70..120 {
        ann.put(PROFILE, &json!({ "bio": format!("{turn}") })).expect(200);
    }
    assert_eq!(after(&first["next_cursor"]), json!({ "items": [], "next_cursor": null }));
    for (query, field) in
        [("limit=0", "limit"), ("cursor=%25", "cursor"), ("cursor=AAAA", "cursor"), ("page=1", "page")]
    {
        ann.get(&format!("{CHANGES}?{query}")).is_problem(400, "invalid-input").names_field(field);
    }
    // One that is gone is not found, wherever it was.
    let gone = changes[0]["id"].as_str().unwrap();
    ann.post(&format!("{CHANGES}/{gone}/undo"), &json!({})).is_problem(404, "not-found");
}

#[test]
fn what_applications_keep_of_one_person_is_bounded_and_so_is_a_page_of_its_changes() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    for number in 0..10 {
        let path = format!("/api/v1/preferences/namespaces/n{number}");
        admin.put(&path, &json!({ "schema": { "type": "object" } })).expect(200);
    }
    let values = |count: usize, letter: char| -> Value {
        let text = letter.to_string().repeat(8 * 1024 - 8);
        (0..count).map(|number| (format!("n{number}"), json!({ "a": text }))).collect()
    };
    let put = |values: Value| ann.put(PREFERENCES, &json!({ "custom": values }));
    put(values(9, 'a')).is_problem(400, "invalid-input").names_field("custom");
    put(values(8, 'a')).expect(200);
    put(json!({ "n8": { "a": 1 } })).is_problem(400, "invalid-input").names_field("custom");
    put(json!({ "n7": null, "n8": { "a": 1 } })).expect(200);
    put(json!({ "n8": null })).expect(200);
    // As large as they can be, there are few to a page, and all of them come.
    for letter in 'b'..'k' {
        put(values(8, letter)).expect(200);
    }
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let reply = ann.get(&format!("{CHANGES}?cursor={cursor}"));
        let page = reply.expect(200);
        assert!(reply.body.len() < 512 * 1024, "{} bytes", reply.body.len());
        seen.extend(page["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!((seen.len(), once.len()), (12, 12));
    assert!((4..12).contains(&pages), "{pages} pages");
    // The oldest of them is taken back as well as the newest.
    ann.post(&format!("{CHANGES}/{}/undo", seen[0]), &json!({})).expect(204);
    assert_eq!(read(&ann)["custom"]["n0"]["a"].as_str().unwrap().chars().next(), Some('i'));
}

/// A value or null for one path of preferences.
fn edit() -> impl Strategy<Value = (&'static str, Option<Value>)> {
    const PATHS: [&str; 9] = [
        "theme.mode",
        "theme",
        "notifications.email.enabled",
        "notifications.email.categories.news",
        "notifications.email.categories",
        "locale.timezone",
        "locale",
        "accessibility.captions",
        "custom.app",
    ];
    (select(&PATHS[..]), any::<bool>(), any::<bool>()).prop_map(|(path, clears, other)| {
        let value = match path {
            "theme.mode" => json!(["dark", "light"][usize::from(other)]),
            "locale.timezone" => json!(["Europe/Berlin", "Asia/Tokyo"][usize::from(other)]),
            "custom.app" => json!({ (["a", "b"][usize::from(other)]): 1 }),
            "theme" | "locale" | "notifications.email.categories" => return (path, None),
            _ => json!(other),
        };
        (path, (!clears).then_some(value))
    })
}

#[test]
fn any_sequence_of_changes_is_a_naive_merge_over_the_defaults_and_survives_a_restart() {
    let server = Server::durable();
    let admin = server.admin();
    admin.put("/api/v1/preferences/namespaces/app", &json!({ "schema": { "type": "object" } })).expect(200);
    let defaults = admin.get(PREFERENCES).expect(200);
    let over = |own: &Value| {
        let mut all = defaults.clone();
        naive_merge(&mut all, own);
        // Clearing is going back: what is null in the defaults is shown as null.
        all["theme"].as_object_mut().unwrap().entry("accent_color").or_insert(Value::Null);
        all.as_object_mut().unwrap().remove("updated_at");
        all
    };
    let shown = |mut all: Value| {
        all.as_object_mut().unwrap().remove("updated_at");
        all
    };
    let ends = std::cell::RefCell::new(Vec::new());
    let cases = Cases { cases: 32, failure_persistence: None, ..Cases::default() };
    TestRunner::new(cases)
        .run(&vec(edit(), 1..12), |edits| {
            let person = admin.person(&format!("p{}", ends.borrow().len()));
            let mut own = json!({});
            for (path, to) in &edits {
                let mut body = json!({});
                let pointer: Vec<&str> = path.split('.').collect();
                let mut at = &mut body;
                for segment in &pointer[..pointer.len() - 1] {
                    at[*segment] = json!({});
                    at = &mut at[*segment];
                }
                at[*pointer.last().unwrap()] = to.clone().unwrap_or_default();
                naive_merge(&mut own, &body);
                let after = person.put(PREFERENCES, &body).expect(200);
                prop_assert_eq!(shown(after), over(&own), "{}", body);
            }
            ends.borrow_mut().push((person.session_token.clone(), own));
            Ok(())
        })
        .unwrap();
    let server = server.restarted();
    for (token, own) in ends.into_inner() {
        let after = server.anonymous().bearing(&token).get(PREFERENCES).expect(200);
        assert_eq!(shown(after), over(&own));
    }
}

/// A body that names several sections, each whole or in parts, with nulls at whatever depth.
fn sections() -> impl Strategy<Value = Value> {
    let or_null = |value: BoxedStrategy<Value>| prop_oneof![3 => value, 1 => Just(Value::Null)].boxed();
    let flag = || any::<bool>().prop_map(Value::from).boxed();
    let words = |words: &'static [&'static str]| select(words).prop_map(Value::from).boxed();
    // Any of these members, or none.
    let object = |members: Vec<(&'static str, BoxedStrategy<Value>)>| {
        let members = members.into_iter().map(|(name, value)| {
            proptest::option::weighted(0.6, value).prop_map(move |value| value.map(|value| (name.to_owned(), value)))
        });
        let members: Vec<_> = members.collect();
        members.prop_map(|members| Value::Object(members.into_iter().flatten().collect())).boxed()
    };
    let categories = || or_null(object(vec![("news", or_null(flag())), ("billing", or_null(flag()))]));
    let channel = || {
        let frequency = words(&["daily", "weekly"]);
        or_null(object(vec![
            ("enabled", or_null(flag())),
            ("frequency", or_null(frequency)),
            ("categories", categories()),
        ]))
    };
    let hours = or_null(object(vec![("start", or_null(words(&["21:00", "23:00"]))), ("enabled", or_null(flag()))]));
    let deep = object(vec![("x", or_null(flag())), ("y", or_null(flag()))]);
    let app = object(vec![("a", or_null(flag())), ("deep", or_null(deep))]);
    object(vec![
        (
            "theme",
            or_null(object(vec![
                ("mode", or_null(words(&["dark", "light"]))),
                ("font_family", or_null(words(&["A", "B"]))),
            ])),
        ),
        ("notifications", or_null(object(vec![("email", channel()), ("push", channel()), ("quiet_hours", hours)]))),
        (
            "locale",
            or_null(object(vec![("language", or_null(words(&["de", "fr"]))), ("currency", or_null(words(&["EUR"])))])),
        ),
        ("privacy", or_null(object(vec![("discoverable", or_null(flag()))]))),
        ("custom", or_null(object(vec![("app", or_null(app.clone())), ("bar", or_null(app))]))),
    ])
}

/// What is cleared is as if it had never been chosen; null stands where there is no default.
fn over(default: &Value, own: Option<&Value>) -> Value {
    let (Value::Object(default), own) = (default, own.and_then(Value::as_object)) else {
        return own.cloned().unwrap_or_else(|| default.clone());
    };
    let none = Map::new();
    let own = own.unwrap_or(&none);
    let names = default.keys().chain(own.keys());
    names.map(|name| (name.clone(), over(default.get(name).unwrap_or(&Value::Null), own.get(name)))).collect()
}

#[test]
fn requests_of_several_sections_with_nulls_at_any_depth_are_a_naive_merge() {
    let server = Server::start();
    let admin = server.admin();
    for name in ["app", "bar"] {
        admin.put(&namespace(name), &json!({ "schema": { "type": "object" } })).expect(200);
    }
    let mut defaults = admin.get(PREFERENCES).expect(200);
    defaults.as_object_mut().unwrap().remove("updated_at");
    let count = std::cell::Cell::new(0);
    let cases = Cases { cases: 48, failure_persistence: None, ..Cases::default() };
    TestRunner::new(cases)
        .run(&vec(sections(), 1..8), |bodies| {
            count.set(count.get() + 1);
            let person = admin.person(&format!("p{}", count.get()));
            let mut own = json!({});
            for body in &bodies {
                naive_merge(&mut own, body);
                let mut after = person.put(PREFERENCES, body).expect(200);
                after.as_object_mut().unwrap().remove("updated_at");
                prop_assert_eq!(after, over(&defaults, Some(&own)), "{} of {:?}", body, bodies);
            }
            Ok(())
        })
        .unwrap();
}

//! Defaults of installation and roles within the namespaces of applications: whole values in layers, held to the schemas that
//! there are; and a naive model of the layers beside them.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::{Map, Value, json};

use crate::harness::{Admin, Reply, Server, SignedIn};

const PREFERENCES: &str = "/api/v1/users/preferences";
const DEFAULTS: &str = "/api/v1/preferences/defaults";

fn of_role(role: &str) -> String {
    format!("/api/v1/roles/{role}/preferences")
}

fn namespace(name: &str) -> String {
    format!("/api/v1/preferences/namespaces/{name}")
}

fn register(admin: &Admin, name: &str, schema: &Value) {
    admin.put(&namespace(name), &json!({ "schema": schema })).expect(200);
}

/// A schema of objects with nothing but a member `a` of this kind.
fn kind(kind: &str) -> Value {
    json!({ "type": "object", "properties": { "a": { "type": kind } }, "additionalProperties": false })
}

fn set(admin: &Admin, path: &str, custom: Value) -> Reply {
    admin.put(path, &json!({ "values": { "custom": custom } }))
}

/// What somebody is shown of namespaces, and where each comes from.
fn custom(person: &SignedIn) -> (Value, Value) {
    let (all, with_origin) =
        (person.get(PREFERENCES).expect(200), person.get(&format!("{PREFERENCES}?origin=true")).expect(200));
    assert_eq!(all["custom"], with_origin["custom"]);
    let origins = with_origin["origin"].as_object().unwrap().iter();
    let origins: Map<String, Value> =
        origins.filter_map(|(path, origin)| Some((path.strip_prefix("custom.")?.to_owned(), origin.clone()))).collect();
    (all["custom"].clone(), Value::Object(origins))
}

#[test]
fn a_namespace_is_one_value_of_the_person_over_roles_over_the_installation() {
    let server = Server::durable();
    let admin = server.admin();
    let ann = admin.person("ann");
    let (first, second) = (admin.role("a-role", &[]), admin.role("b-role", &[]));
    register(&admin, "shop", &json!({ "type": "object", "required": ["view"] }));
    register(&admin, "desk", &json!({ "type": "object" }));
    let installation = json!({ "source": "installation" });
    let role = |id: &str| json!({ "source": "role", "role_id": id });
    let tag = || ann.get(PREFERENCES).header("etag").unwrap().to_owned();
    let section = || ann.get(&format!("{PREFERENCES}/theme")).header("etag").unwrap().to_owned();
    let (mut before, theme) = (tag(), section());
    let mut is_another = || {
        let after = tag();
        assert_ne!(before, after, "what counts is another, so is its tag");
        before = after;
    };

    let answered =
        set(&admin, DEFAULTS, json!({ "shop": { "view": "grid", "size": 1 }, "desk": { "b": 2 } })).expect(200);
    assert_eq!(answered["values"]["custom"]["shop"], json!({ "view": "grid", "size": 1 }));
    assert_eq!(admin.get(DEFAULTS).expect(200)["values"], answered["values"]);
    is_another();
    let shop_and_desk = json!({ "shop": { "view": "grid", "size": 1 }, "desk": { "b": 2 } });
    let from = json!({ "shop": installation, "desk": installation });
    assert_eq!(custom(&ann), (shop_and_desk, from.clone()));
    admin.assign(&ann.id, &first);
    set(&admin, &of_role(&first), json!({ "shop": { "view": "list" } })).expect(200);
    is_another();
    let values = json!({ "shop": { "view": "list" }, "desk": { "b": 2 } });
    assert_eq!(custom(&ann), (values, json!({ "shop": role(&first), "desk": installation })), "as a whole");
    set(&admin, &of_role(&second), json!({ "shop": { "view": "rows" } })).expect(200);
    admin.assign(&ann.id, &second);
    assert_eq!(custom(&ann).1["shop"], role(&first));
    admin.put(&of_role(&second), &json!({ "priority": 5 })).expect(200);
    is_another();
    assert_eq!(
        (custom(&ann).0["shop"].clone(), custom(&ann).1["shop"].clone()),
        (json!({ "view": "rows" }), role(&second))
    );

    // What a person chooses stands in its place as a whole, with what they saw there and did not name.
    let put = |values: Value| ann.put(PREFERENCES, &json!({ "custom": { "shop": values } }));
    put(json!({ "view": null })).is_problem(400, "invalid-input").names_field("custom.shop");
    put(json!({ "size": 3 })).expect(200);
    assert_eq!(custom(&ann).0["shop"], json!({ "view": "rows", "size": 3 }));
    put(json!({ "view": "map" })).expect(200);
    is_another();
    let own = json!({ "source": "own" });
    let values = json!({ "shop": { "view": "map", "size": 3 }, "desk": { "b": 2 } });
    assert_eq!(custom(&ann), (values.clone(), json!({ "shop": own, "desk": installation })));
    let server = server.restarted();
    let (ann, admin) = (ann.at(server.address), server.admin());
    assert_eq!(custom(&ann), (values, json!({ "shop": own, "desk": installation })));

    // Going back goes back to the defaults.
    ann.post(&format!("{PREFERENCES}/reset"), &json!({ "sections": ["custom.shop"] })).expect(200);
    assert_eq!(custom(&ann).0["shop"], json!({ "view": "rows" }));
    ann.put(PREFERENCES, &json!({ "custom": { "shop": { "view": "map" }, "desk": { "c": 1 } } })).expect(200);
    assert_eq!(custom(&ann).0, json!({ "shop": { "view": "map" }, "desk": { "b": 2, "c": 1 } }));
    ann.put(PREFERENCES, &json!({ "custom": { "desk": null } })).expect(200);
    assert_eq!(custom(&ann).0["desk"], json!({ "b": 2 }));
    ann.post(&format!("{PREFERENCES}/reset"), &json!({})).expect(200);
    assert_eq!(custom(&ann).1, json!({ "shop": role(&second), "desk": installation }));
    admin.delete(&of_role(&second)).expect(204);
    admin.unassign(&ann.id, &first);
    assert_eq!(custom(&ann).1, from);
    assert_eq!(ann.get(&format!("{PREFERENCES}/theme")).header("etag"), Some(&*theme), "a section is another thing");
    // Everything that is shown fits what is published.
    let published = ann.get(&format!("{PREFERENCES}/schema")).expect(200);
    let validator = jsonschema::options().offline().build(&published).unwrap();
    assert!(validator.is_valid(&ann.get(PREFERENCES).expect(200)));
}

#[test]
fn defaults_of_namespaces_are_refused_by_name_and_then_nothing_is_changed() {
    let server = Server::start();
    let admin = server.admin();
    let (ann, role) = (admin.person("ann"), admin.role("staff", &[]));
    register(&admin, "shop", &kind("integer"));
    for number in 0..9 {
        register(&admin, &format!("n{number}"), &json!({ "type": "object" }));
    }
    let text = |bytes: usize| json!({ "b": "x".repeat(bytes) });
    let full: Map<String, Value> = (0..9).map(|number| (format!("n{number}"), text(8 * 1024 - 8))).collect();
    for path in [DEFAULTS.to_owned(), of_role(&role)] {
        set(&admin, &path, json!({ "shop": { "a": 1 } })).expect(200);
        let before = admin.get(&path).expect(200);
        for (wrong, field) in [
            (json!({ "shop": { "a": "x" } }), "values.custom.shop.a"),
            (json!({ "shop": { "c": 1 } }), "values.custom.shop"),
            (json!({ "shop": [] }), "values.custom.shop"),
            (json!({ "shop": 1 }), "values.custom.shop"),
            (json!({ "gone": { "a": 1 } }), "values.custom.gone"),
            (json!({ "a.b": { "a": 1 } }), "values.custom.a.b"),
            (json!({ "A!": null }), "values.custom.A!"),
            (json!([]), "values.custom"),
            (json!("x"), "values.custom"),
            (json!({ "n0": text(8 * 1024) }), "values.custom.n0"),
            (json!({ "shop": { "a": 2 }, "gone": {} }), "values.custom.gone"),
            (Value::Object(full.clone()), "values.custom"),
        ] {
            set(&admin, &path, wrong).is_problem(400, "invalid-input").names_field(field);
        }
        let both = json!({ "values": { "theme": { "mode": "loud" }, "custom": { "gone": {} } } });
        let refused = admin.put(&path, &both);
        let wrong = refused.is_problem(400, "invalid-input").json()["errors"].as_array().unwrap().clone();
        let fields: Vec<_> = wrong.iter().map(|it| it["field"].as_str().unwrap()).collect();
        assert_eq!(fields, ["values.theme.mode", "values.custom.gone"]);
        set(&admin, &path, json!({ "n0": text(128 * 1024) })).is_problem(413, "body-too-large");
        let stale = json!({ "values": { "custom": { "shop": { "a": 2 } } } }).to_string();
        admin.call("PUT", &path, Some(stale.clone()), &[("If-Match", "\"other\"")]).is_problem(412, "version-mismatch");
        ann.put(&path, &json!({ "values": { "custom": { "shop": { "a": 2 } } } }))
            .is_problem(403, "missing-permission");
        assert_eq!(admin.get(&path).expect(200), before);
        let tag = admin.get(&path).header("etag").unwrap().to_owned();
        admin.call("PUT", &path, Some(stale), &[("If-Match", &tag)]).expect(200);
    }
    let missing = of_role("role_01h455vb4pex5vsknk084sn02q");
    set(&admin, &missing, json!({ "shop": { "a": 1 } })).is_problem(404, "not-found");
}

#[test]
fn what_is_named_of_a_default_is_merged_and_null_clears() {
    let server = Server::start();
    let admin = server.admin();
    register(&admin, "shop", &json!({ "type": "object" }));
    register(&admin, "desk", &json!({ "type": "object" }));
    let values = |reply: Reply| reply.expect(200)["values"].get("custom").cloned().unwrap_or_default();
    let first = json!({ "shop": { "a": 1, "deep": { "x": 1 } }, "desk": { "b": 1 } });
    assert_eq!(values(set(&admin, DEFAULTS, first.clone())), first);
    let merged = values(set(&admin, DEFAULTS, json!({ "shop": { "a": null, "deep": { "y": 2 } } })));
    assert_eq!(merged, json!({ "shop": { "deep": { "x": 1, "y": 2 } }, "desk": { "b": 1 } }));
    // Others are not touched by what does not name them.
    let dark = admin.put(DEFAULTS, &json!({ "values": { "theme": { "mode": "dark" } } }));
    assert_eq!(values(dark), merged);
    assert_eq!(values(set(&admin, DEFAULTS, json!({ "shop": null }))), json!({ "desk": { "b": 1 } }));
    assert_eq!(values(set(&admin, DEFAULTS, Value::Null)), Value::Null);
    assert_eq!(admin.get(DEFAULTS).expect(200)["values"], json!({ "theme": { "mode": "dark" } }));
}

#[test]
fn defaults_are_left_out_while_they_do_not_fit_and_the_next_ones_count() {
    let server = Server::durable();
    let admin = server.admin();
    let (ann, bob, role) = (admin.person("ann"), admin.person("bob"), admin.role("staff", &[]));
    admin.assign(&ann.id, &role);
    register(&admin, "shop", &json!({ "type": "object" }));
    set(&admin, DEFAULTS, json!({ "shop": { "a": 1 } })).expect(200);
    set(&admin, &of_role(&role), json!({ "shop": { "a": "x" } })).expect(200);
    bob.put(PREFERENCES, &json!({ "custom": { "shop": { "a": true } } })).expect(200);
    let check = |server: &Server, expected: [(Option<Value>, &str); 2]| {
        for (person, (value, source)) in [&ann, &bob].into_iter().zip(expected) {
            let (values, origins) = custom(&person.at(server.address));
            assert_eq!(values.get("shop"), value.as_ref());
            assert_eq!(origins["shop"]["source"].as_str(), value.map(|_| source));
        }
    };
    check(&server, [(Some(json!({ "a": "x" })), "role"), (Some(json!({ "a": true })), "own")]);
    register(&admin, "shop", &kind("integer"));
    let one = || Some(json!({ "a": 1 }));
    check(&server, [(one(), "installation"), (one(), "installation")]);
    register(&admin, "shop", &kind("string"));
    check(&server, [(Some(json!({ "a": "x" })), "role"), (None, "")]);
    register(&admin, "shop", &kind("null"));
    check(&server, [(None, ""), (None, "")]);
    // What is kept is seen by whoever may change it, and counts again with the schema that it fits.
    assert_eq!(admin.get(DEFAULTS).expect(200)["values"]["custom"], json!({ "shop": { "a": 1 } }));
    let server = server.restarted();
    let admin = server.admin();
    check(&server, [(None, ""), (None, "")]);
    admin.delete(&namespace("shop")).expect(204);
    check(&server, [(None, ""), (None, "")]);
    register(&admin, "shop", &kind("integer"));
    check(&server, [(one(), "installation"), (one(), "installation")]);
    // Whoever changes what does not fit begins anew; what is left of a namespace that is gone is cleared by its name.
    set(&admin, &of_role(&role), json!({ "shop": { "a": 7 } })).expect(200);
    check(&server, [(Some(json!({ "a": 7 })), "role"), (one(), "installation")]);
    admin.delete(&namespace("shop")).expect(204);
    set(&admin, &of_role(&role), json!({ "shop": { "a": 8 } })).is_problem(400, "invalid-input");
    set(&admin, &of_role(&role), json!({ "shop": null })).expect(200);
    assert_eq!(admin.get(&of_role(&role)).expect(200)["values"], json!({}));
    register(&admin, "shop", &json!({}));
    check(&server, [(one(), "installation"), (Some(json!({ "a": true })), "own")]);
}

#[test]
fn what_somebody_saw_of_a_namespace_and_did_not_name_stays_when_they_change_it() {
    let server = Server::durable();
    let admin = server.admin();
    let (ann, role) = (admin.person("ann"), admin.role("staff", &[]));
    let demanding = json!({ "type": "object", "required": ["tab", "wrap"] });
    register(&admin, "editor", &demanding);
    register(&admin, "other", &json!({ "type": "object" }));
    set(&admin, DEFAULTS, json!({ "editor": { "tab": 4, "wrap": true, "deep": { "x": 1, "y": 2 } } })).expect(200);
    let put = |values: Value| ann.put(PREFERENCES, &json!({ "custom": { "editor": values } }));
    let shows = |value: Value, source: &str| {
        let (values, origins) = custom(&ann);
        assert_eq!((&values["editor"], origins["editor"]["source"].as_str()), (&value, Some(source)));
    };
    let changes = || ann.get("/api/v1/users/changes").expect(200)["items"].as_array().unwrap().clone();
    let default = json!({ "tab": 4, "wrap": true, "deep": { "x": 1, "y": 2 } });

    // Whoever names nothing changes nothing, and has chosen nothing.
    let before = ann.get(PREFERENCES).expect(200);
    assert_eq!(put(json!({})).expect(200), before);
    shows(default.clone(), "installation");
    assert_eq!(changes().len(), 0);
    put(json!({ "tab": null })).is_problem(400, "invalid-input").names_field("custom.editor");
    shows(default.clone(), "installation");

    put(json!({ "wrap": false, "deep": { "x": null, "z": 3 } })).expect(200);
    let own = json!({ "tab": 4, "wrap": false, "deep": { "y": 2, "z": 3 } });
    shows(own.clone(), "own");
    let [change] = &changes()[..] else { panic!("one change") };
    assert_eq!(change["differences"], json!([{ "path": "custom.editor", "before": null, "after": own }]));
    // It is one value, their own: other defaults are not in it from then on.
    set(&admin, DEFAULTS, json!({ "editor": { "tab": 8, "new": 1 } })).expect(200);
    shows(own.clone(), "own");
    put(json!({ "tab": 2 })).expect(200);
    shows(json!({ "tab": 2, "wrap": false, "deep": { "y": 2, "z": 3 } }), "own");
    for change in changes() {
        ann.post(&format!("/api/v1/users/changes/{}/undo", change["id"].as_str().unwrap()), &json!({})).expect(204);
    }
    shows(json!({ "tab": 8, "wrap": true, "deep": { "x": 1, "y": 2 }, "new": 1 }), "installation");

    // The role's default is what is seen, while the role is held, and while it fits.
    admin.assign(&ann.id, &role);
    set(&admin, &of_role(&role), json!({ "editor": { "tab": 3, "wrap": false } })).expect(200);
    put(json!({ "wrap": true })).expect(200);
    shows(json!({ "tab": 3, "wrap": true }), "own");
    put(Value::Null).expect(200);
    shows(json!({ "tab": 3, "wrap": false }), "role");
    let narrow = json!({ "type": "object", "required": ["tab", "wrap", "new"] });
    register(&admin, "editor", &narrow);
    put(json!({ "wrap": 7 })).expect(200);
    let seen = json!({ "tab": 8, "wrap": 7, "deep": { "x": 1, "y": 2 }, "new": 1 });
    shows(seen.clone(), "own");

    // What is chosen and does not fit any more is not seen: what is seen stays, whatever would make the other fit.
    register(&admin, "editor", &json!({ "type": "object", "properties": { "wrap": { "type": "boolean" } } }));
    shows(json!({ "tab": 3, "wrap": false }), "role");
    put(json!({})).expect(200);
    put(json!({ "wrap": true })).expect(200);
    shows(json!({ "tab": 3, "wrap": true }), "own");
    let server = server.restarted();
    assert_eq!(custom(&ann.at(server.address)).0, json!({ "editor": { "tab": 3, "wrap": true } }));
}

#[test]
fn a_default_and_what_is_changed_of_it_are_held_to_the_bounds_of_ones_own() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    register(&admin, "shop", &json!({ "type": "object" }));
    set(&admin, DEFAULTS, json!({ "shop": { "b": "x".repeat(8 * 1024 - 8) } })).expect(200);
    let put = |values: Value| ann.put(PREFERENCES, &json!({ "custom": { "shop": values } }));
    put(json!({ "a": 1 })).is_problem(400, "invalid-input").names_field("custom.shop");
    assert_eq!(custom(&ann).1["shop"], json!({ "source": "installation" }));
    put(json!({ "a": 1, "b": null })).expect(200);
    assert_eq!(custom(&ann).0["shop"], json!({ "a": 1 }));
}

#[test]
fn what_is_left_in_namespaces_that_are_gone_makes_room_in_defaults_too() {
    let server = Server::start();
    let admin = server.admin();
    let names: Vec<_> = (0..8).map(|number| format!("n{number}")).collect();
    let text = json!({ "b": "x".repeat(8 * 1024 - 8) });
    let full: Map<String, Value> = names.iter().map(|name| (name.clone(), text.clone())).collect();
    for name in names.iter().map(String::as_str).chain(["more"]) {
        register(&admin, name, &json!({ "type": "object" }));
    }
    set(&admin, DEFAULTS, Value::Object(full)).expect(200);
    set(&admin, DEFAULTS, json!({ "more": { "a": 1 } })).is_problem(400, "invalid-input").names_field("values.custom");
    for name in &names {
        admin.delete(&namespace(name)).expect(204);
    }
    let after = set(&admin, DEFAULTS, json!({ "more": { "a": 1 } })).expect(200);
    assert_eq!(after["values"]["custom"], json!({ "more": { "a": 1 } }));
}

#[test]
fn the_audit_log_tells_which_defaults_of_namespaces_changed() {
    let server = Server::start();
    let admin = server.admin();
    let role = admin.role("staff", &[]);
    for name in ["shop", "desk"] {
        register(&admin, name, &json!({ "type": "object" }));
    }
    for (path, action) in
        [(DEFAULTS.to_owned(), "preferences.defaults_set"), (of_role(&role), "preferences.role_defaults_set")]
    {
        let both =
            json!({ "values": { "theme": { "mode": "dark" }, "custom": { "shop": { "a": 1 }, "desk": { "b": 1 } } } });
        admin.put(&path, &both).expect(200);
        set(&admin, &path, json!({ "shop": { "a": 2 } })).expect(200);
        // What is as it was is not written.
        set(&admin, &path, json!({ "shop": { "a": 2 } })).expect(200);
        let told = admin.get(&format!("/api/v1/audit?action={action}")).expect(200)["items"].clone();
        assert_eq!(told.as_array().unwrap().len(), 2);
        let values = |a: i32| json!({ "theme": { "mode": "dark" }, "custom": { "shop": { "a": a } } });
        assert_eq!((&told[0]["before"]["values"], &told[0]["after"]["values"]), (&values(1), &values(2)));
        assert_eq!(told[1]["after"]["values"], both["values"]);
    }
}

#[test]
fn of_changes_at_once_none_is_lost() {
    let server = Server::start();
    let admin = server.admin();
    let names: Vec<_> = (0..6).map(|number| format!("n{number}")).collect();
    for name in &names {
        register(&admin, name, &json!({ "type": "object" }));
    }
    std::thread::scope(|scope| {
        for name in &names {
            let admin = &admin;
            scope.spawn(move || {
                for number in 0..5 {
                    set(admin, DEFAULTS, json!({ (name.as_str()): { format!("m{number}"): number } })).expect(200);
                }
            });
        }
    });
    let all = json!({ "m0": 0, "m1": 1, "m2": 2, "m3": 3, "m4": 4 });
    let expected: Map<String, Value> = names.into_iter().map(|name| (name, all.clone())).collect();
    assert_eq!(admin.get(DEFAULTS).expect(200)["values"]["custom"], Value::Object(expected));
}

/// Where a value can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Installation,
    First,
    Second,
    Own,
}

const NAMES: [&str; 2] = ["app", "bar"];
/// What `a` is, and whether it has to be there.
type Kind = (&'static str, bool);
const KINDS: [Kind; 3] = [("integer", false), ("string", false), ("integer", true)];

/// A schema of objects with a member `a` of this kind, and any member `b`.
fn schema_of((kind, is_demanded): Kind) -> Value {
    let required: &[&str] = if is_demanded { &["a"] } else { &[] };
    json!({
        "type": "object",
        "properties": { "a": { "type": kind }, "b": true },
        "required": required,
        "additionalProperties": false,
    })
}

/// What can happen.
#[derive(Debug, Clone)]
enum Step {
    Set(Place, &'static str, Option<Value>),
    Mode(Place, Option<&'static str>),
    Clear(Place),
    Register(&'static str, Kind),
    Unregister(&'static str),
    First(bool),
    Priority(u32),
    Remove,
}

fn step() -> impl Strategy<Value = Step> {
    let place = || select(&[Place::Installation, Place::First, Place::Second, Place::Own][..]);
    let (name, kind) = (|| select(&NAMES[..]), select(&KINDS[..]));
    let value = prop_oneof![
        3 => Just(Some(json!({ "a": 1 }))),
        3 => Just(Some(json!({ "a": "x" }))),
        2 => Just(Some(json!({ "b": 1 }))),
        2 => Just(Some(json!({ "b": [2] }))),
        1 => Just(Some(json!({ "a": 3, "b": null }))),
        1 => Just(Some(json!({ "a": null, "b": 4 }))),
        1 => Just(Some(json!({}))),
        1 => Just(None),
    ];
    let mode = proptest::option::of(select(&["dark", "light"][..]));
    prop_oneof![
        8 => (place(), name(), value).prop_map(|(place, name, value)| Step::Set(place, name, value)),
        2 => (place(), mode).prop_map(|(place, mode)| Step::Mode(place, mode)),
        1 => place().prop_map(Step::Clear),
        4 => (name(), kind).prop_map(|(name, kind)| Step::Register(name, kind)),
        1 => name().prop_map(Step::Unregister),
        1 => any::<bool>().prop_map(Step::First),
        1 => (0_u32..3).prop_map(Step::Priority),
        1 => Just(Step::Remove),
    ]
}

/// The layers, as plainly as they can be told.
#[derive(Debug, Default)]
struct Model {
    values: BTreeMap<(Place, &'static str), Value>,
    modes: BTreeMap<Place, &'static str>,
    kinds: BTreeMap<&'static str, Kind>,
    holds_first: bool,
    second_priority: u32,
}

impl Model {
    fn fits(&self, name: &str, value: &Value) -> bool {
        match self.kinds.get(name) {
            None => false,
            Some((kind, is_demanded)) => match value.get("a") {
                Some(a) => {
                    if *kind == "integer" {
                        a.is_i64()
                    } else {
                        a.is_string()
                    }
                }
                None => !is_demanded,
            },
        }
    }

    /// From what counts most. The second role is always held; of equals, the one whose name comes first counts.
    fn order(&self) -> Vec<Place> {
        let roles =
            if self.second_priority > 0 { [Place::Second, Place::First] } else { [Place::First, Place::Second] };
        let held = roles.into_iter().filter(|place| *place != Place::First || self.holds_first);
        [Place::Own].into_iter().chain(held).chain([Place::Installation]).collect()
    }

    /// The value that counts in a namespace, and from where it is.
    fn value(&self, name: &'static str) -> Option<(Place, &Value)> {
        let there = |place| self.values.get(&(place, name)).map(|value| (place, value));
        self.order().into_iter().filter_map(there).find(|(_, value)| self.fits(name, value))
    }

    fn mode(&self) -> &'static str {
        self.order().into_iter().find_map(|place| self.modes.get(&place).copied()).unwrap_or("system")
    }

    /// What a place holds in a namespace after a change of it; none: the change is refused.
    fn changed(&self, place: Place, name: &'static str, value: &Value) -> Option<Value> {
        let kept = self.values.get(&(place, name));
        // People change what they see, wherever it is from.
        if let Some((_, seen)) = self.value(name).filter(|_| place == Place::Own) {
            return Some(otherwise(seen, value)).filter(|merged| self.fits(name, merged));
        }
        // What does not fit begins anew, unless what is added makes it fit.
        let begun = [kept, kept.filter(|kept| !self.fits(name, kept)).map(|_| &Value::Null)];
        let begun = if kept.is_none() { vec![&Value::Null] } else { begun.into_iter().flatten().collect() };
        begun.into_iter().map(|begun| otherwise(begun, value)).find(|merged| self.fits(name, merged))
    }

    /// What is so after a step, if it is not refused, and the status that tells it.
    fn take(&mut self, step: &Step) -> u16 {
        match step {
            Step::Set(place, name, Some(value)) => {
                // Who names nothing of what they see changes nothing.
                if *place == Place::Own && *value == json!({}) && self.value(name).is_some() {
                    return 200;
                }
                let Some(changed) = self.changed(*place, name, value) else { return 400 };
                self.values.insert((*place, name), changed);
            }
            Step::Set(place, name, None) => _ = self.values.remove(&(*place, *name)),
            Step::Mode(place, Some(mode)) => _ = self.modes.insert(*place, mode),
            Step::Mode(place, None) => _ = self.modes.remove(place),
            Step::Clear(place) => self.values.retain(|(at, _), _| at != place),
            Step::Register(name, of) => _ = self.kinds.insert(name, *of),
            Step::Unregister(name) => return if self.kinds.remove(name).is_some() { 204 } else { 404 },
            Step::First(holds) => self.holds_first = *holds,
            Step::Priority(priority) => self.second_priority = *priority,
            Step::Remove => {
                self.values.retain(|(at, _), _| *at != Place::Second);
                self.modes.remove(&Place::Second);
                self.second_priority = 0;
            }
        }
        200
    }
}

/// An object of plain members of which those that are named are others, or gone where null is.
fn otherwise(before: &Value, named: &Value) -> Value {
    let (before, named) = (before.as_object().cloned().unwrap_or_default(), named.as_object().unwrap().clone());
    let left = before.into_iter().filter(|(key, _)| !named.contains_key(key));
    left.chain(named.clone().into_iter().filter(|(_, value)| !value.is_null())).collect()
}

/// Whether of what somebody saw everything is there that they did not name, and what they named is as they said.
fn is_kept(step: &Step, before: &Value, after: &Value) -> bool {
    let Step::Set(Place::Own, changed, Some(named)) = step else { return true };
    NAMES.iter().all(|name| {
        let (before, after) = (before.get(name), after.get(name));
        if name != changed {
            return before == after;
        }
        let (Some(before), Some(after)) = (before, after) else { return before.is_none() };
        let members = ["a", "b"].into_iter();
        members.map(|it| (before.get(it), named.get(it), after.get(it))).all(|(before, named, after)| match named {
            Some(Value::Null) => after.is_none(),
            Some(named) => after == Some(named),
            None => before == after,
        })
    })
}

/// Somebody, who holds the second role and may come to hold the first.
struct Case<'a> {
    admin: &'a Admin,
    person: SignedIn,
    roles: [String; 2],
}

impl Case<'_> {
    fn put(&self, place: Place, body: &Value) -> u16 {
        let reply = match place {
            Place::Own => self.person.put(PREFERENCES, body),
            Place::Installation => self.admin.put(DEFAULTS, &json!({ "values": body })),
            Place::First => self.admin.put(&of_role(&self.roles[0]), &json!({ "values": body })),
            Place::Second => self.admin.put(&of_role(&self.roles[1]), &json!({ "values": body })),
        };
        reply.status
    }

    fn origin(&self, place: Place) -> Value {
        match place {
            Place::Own => json!({ "source": "own" }),
            Place::Installation => json!({ "source": "installation" }),
            Place::First => json!({ "source": "role", "role_id": self.roles[0] }),
            Place::Second => json!({ "source": "role", "role_id": self.roles[1] }),
        }
    }

    /// Does a step and tells its status; `before`: how it was.
    fn take(&self, step: &Step, before: &Model) -> u16 {
        match step {
            Step::Set(place, name, value) => self.put(*place, &json!({ "custom": { (*name): value } })),
            Step::Mode(place, mode) => self.put(*place, &json!({ "theme": { "mode": mode } })),
            Step::Clear(place) => self.put(*place, &json!({ "custom": null })),
            Step::Register(name, of) => self.admin.put(&namespace(name), &json!({ "schema": schema_of(*of) })).status,
            Step::Unregister(name) => self.admin.delete(&namespace(name)).status,
            Step::Priority(priority) => {
                self.admin.put(&of_role(&self.roles[1]), &json!({ "priority": priority })).status
            }
            Step::Remove => {
                let status = self.admin.delete(&of_role(&self.roles[1])).status;
                // There may have been none.
                if [204, 404].contains(&status) { 200 } else { status }
            }
            Step::First(holds) => {
                match (before.holds_first, holds) {
                    (false, true) => self.admin.assign(&self.person.id, &self.roles[0]),
                    (true, false) => self.admin.unassign(&self.person.id, &self.roles[0]),
                    _ => {}
                }
                200
            }
        }
    }
}

#[test]
fn any_layers_of_namespaces_under_any_schemas_are_a_naive_model() {
    let server = Server::start();
    let admin = server.admin();
    let (count, shown) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let cases = Cases { cases: 40, failure_persistence: None, ..Cases::default() };
    TestRunner::new(cases)
        .run(&vec(step(), 1..24), |steps| {
            count.set(count.get() + 1);
            let person = admin.person(&format!("p{}", count.get()));
            let roles = ["a", "b"].map(|name| admin.role(&format!("{name}-role-{}", count.get()), &[]));
            admin.assign(&person.id, &roles[1]);
            let case = Case { admin: &admin, person, roles };
            let (person, mut model) = (&case.person, Model::default());
            assert_eq!(case.put(Place::Installation, &json!({ "custom": null, "theme": { "mode": null } })), 200);
            for name in NAMES {
                register(&admin, name, &schema_of(KINDS[0]));
                model.kinds.insert(name, KINDS[0]);
            }
            for step in &steps {
                let (tag, before) = (person.get(PREFERENCES).header("etag").unwrap().to_owned(), custom(person));
                let status = case.take(step, &model);
                prop_assert_eq!(status, model.take(step), "{:?} of {:?}", step, steps);
                let counts = || NAMES.iter().filter_map(|name| Some((*name, model.value(name)?)));
                let values: Value = counts().map(|(name, (_, value))| (name.to_owned(), value.clone())).collect();
                let origins: Value = counts().map(|(name, (place, _))| (name.to_owned(), case.origin(place))).collect();
                shown.set(shown.get() + counts().count());
                let after = custom(person);
                prop_assert!(status != 200 || is_kept(step, &before.0, &after.0), "{:?} of {:?}", step, steps);
                prop_assert_eq!(&after, &(values, origins), "{:?} of {:?}", step, steps);
                let reply = person.get(PREFERENCES);
                prop_assert_eq!(&reply.expect(200)["theme"]["mode"], model.mode());
                let is_same = reply.header("etag") == Some(&*tag);
                prop_assert!(before.0 == after.0 || !is_same, "what counts is another, so is its tag");
            }
            Ok(())
        })
        .unwrap();
    assert!(shown.get() > 200, "{}", shown.get());
}

//! What a condition can cost at most, whoever writes it and whatever it is asked about.
//!
//! Memory is counted for the one thread that evaluates, so the bound is exact; time is a bench's (`benches/conditional.rs`),
//! which looks for the worst among the same conditions.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::harness::{Admin, App, Server, number};

#[path = "../../benches/hostile.rs"]
mod drawn;

use drawn::{Choices, Hostile};

const MOST_BYTES: u64 = 1 << 20;

#[test]
fn no_condition_takes_more_than_a_mebibyte_or_panics() {
    let cases = u32::try_from(number("SESAME_HOSTILE_CONDITIONS", 48)).unwrap();
    let mut runner = TestRunner::new(Config { cases, max_global_rejects: 65_536, ..Config::default() });
    let asked = |numbers: Vec<u32>| {
        let Some(hostile) = Hostile::draw(&mut Choices(numbers.iter())) else {
            return Err(TestCaseError::reject("no condition"));
        };
        let fresh = hostile.fresh().expect("what is drawn is accepted");
        let counted = allocation_counter::measure(|| _ = std::hint::black_box(fresh.ask()));
        prop_assert!(counted.bytes_max <= MOST_BYTES, "{} bytes: {}", counted.bytes_max, hostile.source);
        Ok(())
    };
    runner.run(&vec(any::<u32>(), 20..120), asked).unwrap();
}

fn stage(condition: &str) -> (Server, Admin, App, String) {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read"]);
    let app = admin.app("shop", &["checker"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let allowing = json!({ "effect": "allow", "pattern": "doc:read", "condition": condition });
    let role = admin.created("/api/v1/roles", &json!({ "name": "reader", "permissions": [allowing] }));
    admin.assign(&ann, &role);
    (server, admin, app, ann)
}

fn check(app: &App, user: &str, context: &Value) -> (bool, String) {
    app.check(&json!({ "subject": user, "permission": "doc:read", "context": context }))
}

#[test]
fn what_is_passed_is_bounded_in_memory_too() {
    let (_server, admin, app, ann) = stage("size(context.list) > 0");
    let with = |list: Vec<Value>| json!({ "subject": ann, "permission": "doc:read", "context": { "list": list } });
    assert_eq!(app.check(&with(vec![json!(0); 800])), (true, "granted_by_role".to_owned()));
    for heavy in [vec![json!(0); 1000], vec![json!({ "a": 0 }); 150]] {
        let refused = app.post("/api/v1/permissions/check", &with(heavy.clone())).expect(400);
        assert!(refused["errors"][0]["field"].as_str().unwrap().starts_with("context"), "{refused}");
        assert!(refused["errors"][0]["message"].as_str().unwrap().contains("bytes of memory"), "{refused}");
        let stored = json!({ "properties": { "list": vec![json!({ "a": 0 }); 150] } });
        let refused = admin.patch(&format!("/api/v1/users/{ann}"), &stored).expect(400);
        assert_eq!(refused["errors"][0]["field"], "properties", "{refused}");
    }
}

#[test]
fn a_condition_that_looks_at_too_much_errs_and_says_so() {
    let terms = ["context.text.contains('y')"; 9].join(" || ");
    let (_server, admin, app, ann) = stage(&format!("{terms} || true"));
    let text = |bytes: usize| json!({ "text": "x".repeat(bytes) });
    assert_eq!(check(&app, &ann, &text(14_000)), (true, "granted_by_role".to_owned()));
    assert_eq!(check(&app, &ann, &text(16_000)), (false, "condition_error".to_owned()));
    let ask = json!({ "subject": ann, "permission": "doc:read", "context": text(16_000), "explain": true });
    let explained = admin.post("/api/v1/permissions/check", &ask).expect(200);
    let error = &explained["explanation"]["nearest_misses"][0]["rule"]["condition"]["error"];
    assert_eq!(error, "the condition looks at more than 131072 bytes");
}

#[test]
fn lists_that_are_looked_through_count() {
    let terms = ["context.x in context.list"; 8].join(" || ");
    let (_server, _admin, app, ann) = stage(&format!("!({terms})"));
    let context = |length: usize| json!({ "x": 1, "list": vec![0; length] });
    assert_eq!(check(&app, &ann, &context(700)), (true, "granted_by_role".to_owned()));
    let (_server, _admin, app, ann) = stage("context.list == context.other && context.list == context.other");
    let context = |length: usize| json!({ "list": vec![0; length], "other": vec![0; length] });
    assert_eq!(check(&app, &ann, &context(400)), (true, "granted_by_role".to_owned()));
    let terms = ["context.list == context.other"; 8].join(" && ");
    let (_server, _admin, app, ann) = stage(&terms);
    assert_eq!(check(&app, &ann, &context(400)), (true, "granted_by_role".to_owned()));
    let texts = |length: usize| {
        let list = vec!["xxxxxxxxxxxxxxxxxxxx"; length];
        json!({ "list": list, "other": list })
    };
    assert_eq!(check(&app, &ann, &texts(200)), (true, "granted_by_role".to_owned()));
    assert_eq!(check(&app, &ann, &texts(340)), (false, "condition_error".to_owned()));
}

#[test]
fn long_texts_are_not_read_as_numbers_and_times() {
    let context = |text: &str| json!({ "text": text });
    for (reading, short, long) in [
        ("duration(context.text) >= duration('1s')", "1h".to_owned(), "0h".repeat(40)),
        ("int(context.text) == 7", "7".to_owned(), format!("{}7", "0".repeat(64))),
        ("double(context.text) == 0.5", "0.5".to_owned(), format!("0.5{}", "0".repeat(64))),
        ("now.getHours(context.text) >= 0", "Europe/Berlin".to_owned(), "x".repeat(65)),
        (
            "timestamp(context.text) < now",
            "2000-01-01T00:00:00Z".to_owned(),
            format!("2000-01-01T00:00:00.{}Z", "0".repeat(64)),
        ),
    ] {
        let (_server, _admin, app, ann) = stage(reading);
        assert_eq!(check(&app, &ann, &context(&short)), (true, "granted_by_role".to_owned()), "{reading}");
        assert_eq!(check(&app, &ann, &context(&long)), (false, "condition_error".to_owned()), "{reading}");
    }
}

#[test]
fn whoever_holds_more_roles_than_conditions_look_at_makes_them_err() {
    let (_server, admin, app, ann) = stage("'reader' in subject.roles");
    assert_eq!(check(&app, &ann, &json!({})), (true, "granted_by_role".to_owned()));
    let heir = |name: &str, parents: &[String]| {
        admin.created("/api/v1/roles", &json!({ "name": name, "parent_role_ids": parents, "permissions": [] }))
    };
    let mut all = heir("r0", &[]);
    for number in 1..499 {
        all = heir(&format!("r{number}"), &[all]);
    }
    admin.assign(&ann, &all);
    assert_eq!(check(&app, &ann, &json!({})), (true, "granted_by_role".to_owned()), "500 of them");
    admin.assign(&ann, &heir("one more", &[]));
    assert_eq!(check(&app, &ann, &json!({})), (false, "condition_error".to_owned()), "501");
}

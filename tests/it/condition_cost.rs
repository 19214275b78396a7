//! What a condition can cost at most, whoever writes it and whatever it is asked about.
//!
//! Memory is counted for the one thread that evaluates, so the bound is exact; time is a bench's (`benches/conditional.rs`),
//! which looks for the worst among the same conditions.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use sesame::access::condition::Truth;
use sesame::access::condition::budget::Allowance;

use crate::access_analytics::{AGREED, wait_for};
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

/// However many conditions one check comes to: once they looked at what all may together, none is evaluated any more, and
/// until then each comes to what it comes to alone.
#[test]
fn the_conditions_of_one_check_share_what_they_may_look_at() {
    let cases = u32::try_from(number("SESAME_HOSTILE_CONDITIONS", 48)).unwrap();
    let mut runner = TestRunner::new(Config { cases: cases / 4, max_global_rejects: 65_536, ..Config::default() });
    let asked = |numbers: Vec<u32>| {
        let Some(hostile) = Hostile::draw(&mut Choices(numbers.iter())) else {
            return Err(TestCaseError::reject("no condition"));
        };
        let fresh = hostile.fresh().expect("what is drawn is accepted");
        let alone = fresh.ask();
        let (allowance, mut evaluated) = (Allowance::whole(), 0);
        while !allowance.is_spent() {
            let found = fresh.ask_within(&allowance);
            let expected = if allowance.is_spent() { Truth::Errs } else { alone };
            prop_assert_eq!(found, expected, "after {}: {}", evaluated, &hostile.source);
            evaluated += 1;
            // Each costs something, whatever it looks at.
            prop_assert!(evaluated <= 64 * 1024 / hostile.source.len() + 1, "{} times: {}", evaluated, &hostile.source);
        }
        prop_assert_eq!(fresh.ask_until_spent(), evaluated);
        let counted = allocation_counter::measure(|| assert_eq!(fresh.ask_within(&allowance), Truth::Errs));
        prop_assert!(counted.bytes_max < 4096, "evaluated all the same: {}", &hostile.source);
        Ok(())
    };
    runner.run(&vec(any::<u32>(), 20..120), asked).unwrap();
}

/// A role with so many rules, each on a condition that reads all of a text four times, and one on nothing of the kind.
fn many_conditions(admin: &Admin, effect: &str, count: usize) -> String {
    let of = |condition: String| json!({ "effect": effect, "pattern": "doc:read", "condition": condition });
    let terms = |number| ["a", "b", "c", "d"].map(|letter| format!("context.text.contains('{letter}{number}')"));
    let reading = |number: usize| of(terms(number).join(" || "));
    let mut rules: Vec<Value> = (0..count).map(reading).collect();
    rules.push(of("context.last".to_owned()));
    admin.created("/api/v1/roles", &json!({ "name": format!("{effect} on many"), "permissions": rules }))
}

#[test]
fn a_check_with_more_conditions_than_may_be_evaluated_fails_closed_says_so_and_is_counted() {
    let server = Server::with(|config| config.access.shadow_one_in = 1);
    let admin = server.admin();
    admin.define(&["doc:read"]);
    let app = admin.app("shop", &["checker"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let errors = || server.state().metrics.condition_errors_total.get();
    let text = |bytes: usize, last: bool| json!({ "text": "x".repeat(bytes), "last": last });
    let (short, long) = (1000, 15_000);
    admin.assign(&ann, &many_conditions(&admin, "allow", 12));
    assert_eq!(check(&app, &ann, &text(short, true)), (true, "granted_by_role".to_owned()));
    assert_eq!(check(&app, &ann, &text(short, false)), (false, "condition_not_met".to_owned()));
    assert_eq!(errors(), 0);
    assert_eq!(check(&app, &ann, &text(long, true)), (false, "condition_error".to_owned()));
    assert_eq!(errors(), 13 - 8, "so many texts fit");
    let ask = json!({ "subject": ann, "permission": "doc:read", "context": text(long, true), "explain": true });
    let explained = admin.post("/api/v1/permissions/check", &ask).expect(200);
    assert_eq!(explained["reason"], "condition_error");
    let misses = explained["explanation"]["nearest_misses"].to_string();
    assert!(misses.contains("the conditions of this check look at more than"), "{misses}");
    admin.assign(&ann, &admin.role("reader", &["doc:read"]));
    assert_eq!(check(&app, &ann, &text(long, true)), (true, "granted_by_role".to_owned()), "nothing to evaluate");
    admin.assign(&ann, &many_conditions(&admin, "deny", 12));
    assert_eq!(check(&app, &ann, &text(short, false)), (true, "granted_by_role".to_owned()));
    assert_eq!(check(&app, &ann, &text(short, true)), (false, "denied_by_role".to_owned()));
    assert_eq!(check(&app, &ann, &text(long, false)), (false, "denied_by_condition_error".to_owned()));
    // A batch has so much for each of its checks.
    let one = |bytes| json!({ "subject": ann, "permission": "doc:read", "context": text(bytes, false) });
    let batch = json!({ "checks": [one(long), one(short), one(long), one(short)] });
    let answer = app.post("/api/v1/permissions/check/batch", &batch).expect(200);
    let allowed: Vec<bool> = answer["results"].as_array().unwrap().iter().map(|one| one["allowed"] == true).collect();
    assert_eq!(allowed, [false, true, false, true]);
    // The shadow, which asks in another order, takes none of this for a wrong answer.
    assert!(app.allows(&app_owner(&admin), "doc:read"));
    wait_for(&server, AGREED, 5);
    assert_eq!(server.anonymous().get("/health/ready").status, 200);
}

/// Somebody who may read on no condition.
fn app_owner(admin: &Admin) -> String {
    let bob = admin.create_user(&json!({ "username": "bob" }));
    admin.assign(&bob, &admin.role_id("reader"));
    bob
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
    assert_eq!(app.check(&with(vec![json!(0); 480])), (true, "granted_by_role".to_owned()));
    for heavy in [vec![json!(0); 600], vec![json!({ "a": 0 }); 150]] {
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
    assert_eq!(check(&app, &ann, &text(7000)), (true, "granted_by_role".to_owned()));
    assert_eq!(check(&app, &ann, &text(8000)), (false, "condition_error".to_owned()));
    let ask = json!({ "subject": ann, "permission": "doc:read", "context": text(8000), "explain": true });
    let explained = admin.post("/api/v1/permissions/check", &ask).expect(200);
    let error = &explained["explanation"]["nearest_misses"][0]["rule"]["condition"]["error"];
    assert_eq!(error, "the condition looks at more than 65536 bytes");
}

#[test]
fn lists_that_are_looked_through_count() {
    let terms = ["context.x in context.list"; 8].join(" || ");
    let (_server, _admin, app, ann) = stage(&format!("!({terms})"));
    let context = |length: usize| json!({ "x": 1, "list": vec![0; length] });
    assert_eq!(check(&app, &ann, &context(400)), (true, "granted_by_role".to_owned()));
    let (_server, _admin, app, ann) = stage("context.list == context.other && context.list == context.other");
    let context = |length: usize| json!({ "list": vec![0; length], "other": vec![0; length] });
    assert_eq!(check(&app, &ann, &context(240)), (true, "granted_by_role".to_owned()));
    let terms = ["context.list == context.other"; 8].join(" && ");
    let (_server, _admin, app, ann) = stage(&terms);
    assert_eq!(check(&app, &ann, &context(200)), (true, "granted_by_role".to_owned()));
    let texts = |length: usize| {
        let list = vec!["xxxxxxxxxxxxxxxxxxxx"; length];
        json!({ "list": list, "other": list })
    };
    assert_eq!(check(&app, &ann, &texts(120)), (true, "granted_by_role".to_owned()));
    assert_eq!(check(&app, &ann, &texts(200)), (false, "condition_error".to_owned()));
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
    for number in 1..249 {
        all = heir(&format!("r{number}"), &[all]);
    }
    admin.assign(&ann, &all);
    assert_eq!(check(&app, &ann, &json!({})), (true, "granted_by_role".to_owned()), "250 of them");
    admin.assign(&ann, &heir("one more", &[]));
    assert_eq!(check(&app, &ann, &json!({})), (false, "condition_error".to_owned()), "251");
}

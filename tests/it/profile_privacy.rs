//! Who sees what of a profile: every field × audience × viewer, and nothing of what is hidden by another way.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::golden;
use crate::harness::{Admin, Client, PASSWORD, Server, SignedIn};
use crate::profiles::PROFILE;

const PRIVACY: &str = "/api/v1/users/profile/privacy";

/// Everything that is shown, each with something in it.
fn owner(admin: &Admin) -> SignedIn {
    let owner = admin.person("olga");
    let profile = json!({
        "display_name": "Olga", "bio": "Reads.", "location": "Bonn", "website": "https://olga.example/",
        "social_links": { "github": "olga" }, "date_of_birth": "1990-12-31", "phone_number": "+4930123456",
        "emergency_contact": { "name": "Bob", "email": "bob@example.org" },
    });
    owner.put(PROFILE, &profile).expect(200);
    owner
}

const FIELDS: [&str; 10] = [
    "display_name",
    "bio",
    "location",
    "website",
    "social_links",
    "date_of_birth",
    "phone_number",
    "emergency_contact",
    "avatar_url",
    "verified",
];

fn in_scope(admin: &Admin, user: &str, role: &str, scope: &str) {
    admin.post(&format!("/api/v1/users/{user}/roles"), &json!({ "role_id": role, "scope": scope })).expect(201);
}

#[test]
fn every_field_is_shown_to_its_audience_and_to_nobody_else() {
    let server = Server::start();
    let admin = server.admin();
    let owner = owner(&admin);
    admin.define(&["staff:see"]);
    let (member, staff) = (admin.role("member", &[]), admin.role("staff", &["staff:see"]));
    in_scope(&admin, &owner.id, &member, "org/acme/team/1");
    let people = ["stranger", "colleague", "neighbour", "employee"].map(|name| admin.person(name));
    let [stranger, colleague, neighbour, employee] = &people;
    in_scope(&admin, &colleague.id, &member, "org/acme");
    in_scope(&admin, &neighbour.id, &member, "org/acme/team/2");
    admin.assign(&employee.id, &staff);
    let (nobody, app) = (server.anonymous(), admin.app("shop", &[]));
    let viewers: [(&str, &Client); 8] = [
        ("nobody", &nobody),
        ("an app", &app),
        ("a stranger", stranger),
        ("around", colleague),
        ("beside", neighbour),
        ("a holder", employee),
        ("the owner", &owner),
        ("an admin", &admin),
    ];
    let path = format!("/api/v1/users/{}/profile", owner.id);
    let audiences = [
        json!("nobody"),
        json!("signed_in"),
        json!("same_scope"),
        json!({ "permission": "staff:see" }),
        json!("everyone"),
    ];
    let hidden: Value = FIELDS.iter().map(|field| ((*field).to_owned(), json!("nobody"))).collect();
    let mut text = String::from("# who sees a field (1) whose audience is this; ");
    writeln!(text, "{}", viewers.map(|(name, _)| name).join(", ")).unwrap();
    for field in FIELDS {
        for audience in &audiences {
            owner.put(PRIVACY, &json!({ "audiences": hidden })).expect(200);
            owner.put(PRIVACY, &json!({ "audiences": { field: audience } })).expect(200);
            let seen = viewers.map(|(name, viewer)| {
                let reply = viewer.get(&path);
                if reply.status == 404 {
                    return "0";
                }
                let body = reply.expect(200);
                let sees_all = ["the owner", "an admin"].contains(&name);
                for other in FIELDS.iter().filter(|other| **other != field && !sees_all) {
                    assert!(body.get(other).is_none(), "{name} sees {other} beside {field}");
                }
                if body.get(field).is_some() { "1" } else { "0" }
            });
            writeln!(text, "{field:<18} {:<26} {}", audience.to_string(), seen.join(" ")).unwrap();
        }
    }
    golden::check("tests/it/golden/profile_privacy.txt", &text);
}

/// The permission's own conditions count, and what denies it, as in a check.
#[test]
fn holders_of_a_permission_are_whom_a_check_allows_it() {
    let server = Server::start();
    let admin = server.admin();
    let owner = owner(&admin);
    let path = format!("/api/v1/users/{}/profile", owner.id);
    let cases = [
        ("hr:plain", json!([]), "allow", true),
        ("hr:met", json!(["true", "!session.device.trusted"]), "allow", true),
        ("hr:unmet", json!(["false"]), "allow", false),
        ("hr:half", json!(["true", "false"]), "allow", false),
        ("hr:erring", json!(["context.is_office"]), "allow", false),
        ("hr:trusted", json!(["session.device.trusted"]), "allow", false),
        ("hr:denied", json!([]), "deny", false),
    ];
    for (permission, conditions, effect, is_seen) in cases {
        admin.post("/api/v1/permissions", &json!({ "name": permission, "conditions": conditions })).expect(201);
        let bob = admin.person(&permission.replace(':', "-"));
        let role = admin.role(&permission.replace(':', "_"), &[permission]);
        admin.assign(&bob.id, &role);
        if effect == "deny" {
            let denial = json!({ "permission": permission, "effect": "deny" });
            admin.post(&format!("/api/v1/users/{}/permissions", bob.id), &denial).expect(201);
        }
        owner.put(PRIVACY, &json!({ "audiences": { "phone_number": { "permission": permission } } })).expect(200);
        let asked = json!({ "subject": { "session_token": bob.session_token }, "permission": permission });
        let checked = admin.post("/api/v1/permissions/check", &asked).expect(200);
        assert_eq!(checked["allowed"], is_seen, "{permission}: {checked}");
        let seen = bob.get(&path).expect(200);
        assert_eq!(seen.get("phone_number").is_some(), is_seen, "{permission}: {seen}");
    }
}

/// Who is banned in a place is not there; nor is who holds nothing there but a role that is switched off.
#[test]
fn who_is_denied_something_in_a_scope_does_not_share_it() {
    const PLACE: &str = "org/acme";
    let server = Server::start();
    let admin = server.admin();
    let owner = owner(&admin);
    admin.define(&["staff:see"]);
    let rules = |rules: Value| json!({ "permissions": rules });
    let denied = json!({ "pattern": "staff:see", "effect": "deny" });
    let sometimes = json!({ "pattern": "staff:see", "effect": "allow", "condition": "false" });
    let role = |name: &str, body: Value| {
        let mut body = body;
        body["name"] = json!(name);
        admin.created("/api/v1/roles", &body)
    };
    let (member, seer) = (role("member", json!({})), role("seer", rules(json!(["staff:see"]))));
    let banned = role("banned", rules(json!([denied])));
    let below = role("below", json!({ "parent_role_ids": [banned] }));
    let (both, maybe) = (role("both", rules(json!([denied, "*:see"]))), role("maybe", rules(json!([sometimes]))));
    let off = role("off", json!({ "permissions": ["staff:see"], "is_active": false }));
    in_scope(&admin, &owner.id, &member, PLACE);
    owner.put(PRIVACY, &json!({ "audiences": { "phone_number": "same_scope" } })).expect(200);
    let path = format!("/api/v1/users/{}/profile", owner.id);
    let shows = |person: &SignedIn| person.get(&path).expect(200).get("phone_number").is_some();
    for (name, role, is_seen) in [
        ("a member", &member, true),
        ("a seer", &seer, true),
        ("a banned one", &banned, false),
        ("one below", &below, false),
        ("one of both", &both, true),
        ("one on a condition", &maybe, true),
        ("one of a role that is off", &off, false),
    ] {
        let person = admin.person(&name.replace(' ', "-"));
        in_scope(&admin, &person.id, role, PLACE);
        assert_eq!(shows(&person), is_seen, "{name}");
    }
    for (effect, is_seen) in [("allow", true), ("deny", false)] {
        let person = admin.person(effect);
        let grant = json!({ "permission": "staff:see", "effect": effect, "scope": PLACE });
        admin.post(&format!("/api/v1/users/{}/permissions", person.id), &grant).expect(201);
        assert_eq!(shows(&person), is_seen, "{effect}");
    }
    // The same holds of the owner's side.
    let colleague = admin.person("colleague");
    in_scope(&admin, &colleague.id, &seer, PLACE);
    assert!(shows(&colleague));
    admin.put(&format!("/api/v1/roles/{member}"), &json!({ "name": "member", "is_active": false })).expect(200);
    assert!(!shows(&colleague));
}

/// What is not yet, or not any more, is not held; what a session did not choose is not in force in it.
#[test]
fn a_scope_is_shared_by_what_holds_now_and_is_in_force() {
    const PLACE: &str = "org/acme";
    let server = Server::start();
    let admin = server.admin();
    let owner = owner(&admin);
    let (member, other) = (admin.role("member", &[]), admin.role("other", &[]));
    in_scope(&admin, &owner.id, &member, PLACE);
    owner.put(PRIVACY, &json!({ "audiences": { "phone_number": "same_scope" } })).expect(200);
    let path = format!("/api/v1/users/{}/profile", owner.id);
    let shows = |person: &Client| person.get(&path).expect(200).get("phone_number").is_some();
    let bob = admin.person("bob");
    let body = json!({
        "role_id": member, "scope": PLACE, "not_before": "2025-11-23T12:01:00Z", "expires_at": "2025-11-23T12:02:00Z",
    });
    admin.post(&format!("/api/v1/users/{}/roles", bob.id), &body).expect(201);
    let seen = [0, 59, 1, 59, 1].map(|seconds| {
        server.clock.advance_seconds(seconds);
        shows(&bob)
    });
    assert_eq!(seen, [false, false, true, true, false]);

    let carl = admin.person("carl");
    in_scope(&admin, &carl.id, &member, PLACE);
    in_scope(&admin, &carl.id, &other, "org/other");
    assert!(shows(&carl));
    let chosen = |roles: &[&str]| {
        let body = json!({ "identifier": "carl", "password": PASSWORD, "role_ids": roles });
        shows(&server.anonymous().sign_in_with(&body, &[]))
    };
    assert!(chosen(&[&member]));
    assert!(!chosen(&[&other]), "where the role that was not chosen holds, this session is not");
}

#[test]
fn what_is_hidden_shows_in_no_tag_time_or_error() {
    let server = Server::start();
    let admin = server.admin();
    let (owner, viewer) = (owner(&admin), admin.person("vera"));
    let path = format!("/api/v1/users/{}/profile", owner.id);
    owner.put(PRIVACY, &json!({ "audiences": { "bio": "nobody", "display_name": "signed_in" } })).expect(200);
    let before = viewer.get(&path);
    server.clock.advance_seconds(60);
    owner.put(PROFILE, &json!({ "bio": "Another.", "phone_number": null })).expect(200);
    let after = viewer.get(&path);
    assert_eq!((after.json(), after.header("etag")), (before.json(), before.header("etag")));
    let tag = before.header("etag").unwrap();
    assert_eq!(viewer.call("GET", &path, None, &[("If-None-Match", tag)]).status, 304);
    for leak in ["Another", "updated_at", "created_at", "1990", "+4930", "sesame-revision"] {
        assert!(!format!("{after:?}").to_lowercase().contains(&leak.to_lowercase()), "{leak}");
    }
    owner.put(PROFILE, &json!({ "display_name": "Olga B." })).expect(200);
    assert_eq!(viewer.call("GET", &path, None, &[("If-None-Match", tag)]).status, 200);
    // Nothing to see is nobody there, in every way.
    owner.put(PRIVACY, &json!({ "audiences": { "display_name": "nobody", "avatar_url": "nobody" } })).expect(200);
    let unseen = viewer.get(&path);
    let missing = viewer.get("/api/v1/users/user_01h455vb4pex5vsknk084sn02q/profile");
    let bare = |reply: &crate::harness::Reply| {
        let mut json = reply.json();
        for member in ["instance", "request_id"] {
            json.as_object_mut().unwrap().remove(member);
        }
        (reply.status, json)
    };
    assert_eq!(bare(&unseen), bare(&missing));
    // No list can be filtered or sorted by what is in a profile.
    for query in ["bio=Reads.", "sort=bio", "location=Bonn", "phone_number=%2B4930123456", "q=Olga"] {
        let field = query.split('=').next().unwrap();
        admin.get(&format!("/api/v1/users?{query}")).is_problem(400, "invalid-input").names_field(field);
        viewer.get(&format!("/api/v1/users?{query}")).is_problem(403, "missing-permission");
    }
}

#[test]
fn null_goes_back_to_the_installations_choice_of_one_field_or_of_all() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let usual = ann.get(PRIVACY).expect(200)["audiences"].clone();
    let consents = json!({ "marketing": { "granted": true, "version": "1" } });
    ann.put(PRIVACY, &json!({ "audiences": { "bio": "everyone", "website": "nobody" }, "consents": consents }))
        .expect(200);
    let one = ann.put(PRIVACY, &json!({ "audiences": { "bio": null } })).expect(200);
    assert_eq!((&one["audiences"]["bio"], &one["audiences"]["website"]), (&usual["bio"], &json!("nobody")));
    let all = ann.put(PRIVACY, &json!({ "audiences": null })).expect(200);
    assert_eq!(all["audiences"], usual);
    // What was said stays said.
    ann.put(PRIVACY, &json!({ "consents": null })).is_problem(400, "invalid-input").names_field("consents");
    assert_eq!(ann.get(PRIVACY).expect(200)["consents"]["marketing"]["granted"], true);
}

#[test]
fn what_was_chosen_can_be_sent_back_when_its_permission_is_gone() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    let id = admin.created("/api/v1/permissions", &json!({ "name": "hr:read" }));
    ann.put(PRIVACY, &json!({ "audiences": { "bio": { "permission": "hr:read" } } })).expect(200);
    admin.delete(&format!("/api/v1/permissions/{id}")).expect(204);
    let shown = ann.get(PRIVACY).expect(200);
    let back = json!({ "audiences": shown["audiences"] });
    assert_eq!(ann.put(PRIVACY, &back).expect(200)["audiences"], shown["audiences"]);
    ann.put(PRIVACY, &json!({ "audiences": { "website": { "permission": "hr:read" } } }))
        .is_problem(400, "invalid-input")
        .names_field("audiences.website");
}

#[test]
fn suspended_people_and_applications_are_not_shown() {
    let server = Server::start();
    let admin = server.admin();
    let (owner, viewer) = (owner(&admin), admin.person("vera"));
    let path = format!("/api/v1/users/{}/profile", owner.id);
    viewer.get(&path).expect(200);
    admin.post(&format!("/api/v1/users/{}/suspend", owner.id), &json!({})).expect(200);
    viewer.get(&path).is_problem(404, "not-found");
    assert_eq!(admin.get(&path).expect(200)["bio"], "Reads.");
    viewer.get(&format!("/api/v1/users/{}/profile", viewer.id)).expect(200);
}

#[test]
fn an_installation_chooses_what_is_shown_where_nobody_chose() {
    let server = Server::with(|config| {
        config.profiles.visible_to_everyone = vec!["bio".into()];
        config.profiles.visible_to_signed_in = Vec::new();
    });
    let admin = server.admin();
    let owner = owner(&admin);
    let path = format!("/api/v1/users/{}/profile", owner.id);
    let seen = server.anonymous().get(&path).expect(200);
    assert_eq!(seen, json!({ "bio": "Reads.", "user_id": owner.id }));
    let shown = owner.get(PRIVACY).expect(200);
    assert_eq!((&shown["audiences"]["bio"], &shown["audiences"]["location"]), (&json!("everyone"), &json!("nobody")));
    owner.put(PRIVACY, &json!({ "audiences": { "bio": "nobody" } })).expect(200);
    server.anonymous().get(&path).is_problem(404, "not-found");
    owner.put(PRIVACY, &json!({ "audiences": { "bio": null } })).expect(200);
    server.anonymous().get(&path).expect(200);
}

#[test]
fn one_looks_at_oneself_as_somebody_else() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["staff:see"]);
    let owner = owner(&admin);
    let audiences = json!({
        "bio": "everyone", "location": "signed_in", "website": "same_scope", "phone_number": { "permission": "staff:see" },
    });
    owner.put(PRIVACY, &json!({ "audiences": audiences })).expect(200);
    let seen = |query: &str| -> Vec<String> {
        let seen = owner.get(&format!("{PRIVACY}/preview?{query}")).expect(200);
        seen.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(seen("as=everyone"), ["bio", "user_id"]);
    assert_eq!(seen("as=signed_in"), ["avatar_url", "bio", "display_name", "location", "user_id"]);
    assert_eq!(seen("as=same_scope"), ["avatar_url", "bio", "display_name", "location", "user_id", "website"]);
    assert_eq!(
        seen("permission=staff:see"),
        ["avatar_url", "bio", "display_name", "location", "phone_number", "user_id"]
    );
    // Who may read users sees everything, whatever the audiences are; what administrators noted is not for its subject.
    assert_eq!(seen("permission=sesame.users:read"), {
        let mut all: Vec<_> = FIELDS.into_iter().chain(["user_id"]).collect();
        all.sort_unstable();
        all
    });
    for wrong in ["", "as=me", "as=everyone&permission=a:b", "permission=x", "permission=staff:sea"] {
        owner.get(&format!("{PRIVACY}/preview?{wrong}")).is_problem(400, "invalid-input");
    }
    // What somebody sees tells what they hold.
    owner.get(&format!("{PRIVACY}/preview?user_id={}", admin.id)).is_problem(403, "missing-permission");
    let own = admin.get(&format!("{PRIVACY}/preview?user_id={}", owner.id)).expect(200);
    assert_eq!(own.as_object().unwrap().keys().collect::<Vec<_>>(), ["avatar_url", "display_name", "user_id"]);
}

#[test]
fn a_preview_as_somebody_is_what_they_see() {
    let server = Server::start();
    let admin = server.admin();
    let boss = admin.person("boss");
    admin.assign(&boss.id, &admin.role_id("administrator"));
    let (stranger, gone) = (admin.person("stranger"), admin.person("gone"));
    admin.put(PROFILE, &json!({ "display_name": "Ada", "bio": "Rules." })).expect(200);
    let review = json!({ "state": "verified", "evidence": "Passport" });
    boss.put(&format!("/api/v1/users/{}/profile/identity", admin.id), &review).expect(200);
    admin.post(&format!("/api/v1/users/{}/suspend", gone.id), &json!({})).expect(200);
    let path = format!("/api/v1/users/{}/profile", admin.id);
    let nobody = server.anonymous();
    let viewers: [(&str, &str, &Client); 5] = [
        ("as", "everyone", &nobody),
        ("user_id", &stranger.id, &stranger),
        ("user_id", &boss.id, &boss),
        ("user_id", &gone.id, &nobody),
        ("user_id", &admin.id, &admin),
    ];
    let hidden: Value = FIELDS.iter().map(|field| ((*field).to_owned(), json!("nobody"))).collect();
    for audiences in [json!({}), hidden, json!({ "bio": "everyone" }), json!({ "bio": "signed_in" })] {
        admin.put(PRIVACY, &json!({ "audiences": audiences })).expect(200);
        for (kind, who, viewer) in &viewers {
            let (real, shown) = (viewer.get(&path), admin.get(&format!("{PRIVACY}/preview?{kind}={who}")));
            assert_eq!(real.status, shown.status, "{kind}={who} {audiences}: {} {}", real.body, shown.body);
            if real.status == 200 {
                assert_eq!(real.json(), shown.json(), "{kind}={who} {audiences}");
            }
        }
    }
}

#[test]
fn audiences_that_are_none_are_named_and_a_change_can_be_taken_back() {
    let server = Server::durable();
    let admin = server.admin();
    let owner = owner(&admin);
    for (field, bad) in [
        ("bio", json!("friends")),
        ("bio", json!({ "permission": "x" })),
        ("bio", json!({ "permission": "a:b", "role": "x" })),
        ("bio", json!(true)),
        ("shoe_size", json!("everyone")),
    ] {
        owner
            .put(PRIVACY, &json!({ "audiences": { field: bad } }))
            .is_problem(400, "invalid-input")
            .names_field(&format!("audiences.{field}"));
    }
    let tag = owner.get(PRIVACY).header("etag").unwrap().to_owned();
    let put = || {
        let body = json!({ "audiences": { "bio": "everyone" } }).to_string();
        owner.call("PUT", PRIVACY, Some(body), &[("If-Match", &tag)])
    };
    put().expect(200);
    put().is_problem(412, "version-mismatch");
    let change = owner.get("/api/v1/users/changes").expect(200)["items"][0].clone();
    assert_eq!((&change["part"], &change["differences"][0]["after"]), (&json!("audiences"), &json!("everyone")));
    let server = server.restarted();
    let owner = server.anonymous().bearing(&owner.session_token);
    assert_eq!(owner.get(PRIVACY).expect(200)["audiences"]["bio"], "everyone");
    let id = change["id"].as_str().unwrap();
    owner.post(&format!("/api/v1/users/changes/{id}/undo"), &json!({})).expect(204);
    assert_eq!(owner.get(PRIVACY).expect(200)["audiences"]["bio"], "nobody");
}

#[test]
fn consents_are_kept_with_version_time_and_source_and_so_is_their_history() {
    let server = Server::durable();
    let admin = server.admin();
    let owner = owner(&admin);
    let put = |consents: Value| owner.put(PRIVACY, &json!({ "consents": consents }));
    assert_eq!(owner.get(PRIVACY).expect(200)["consents"]["analytics"], Value::Null);
    let given = put(json!({ "analytics": { "granted": true, "version": "2025-01", "source": "banner" } })).expect(200);
    let consent = json!({
        "purpose": "analytics", "granted": true, "version": "2025-01", "at": "2025-11-23T12:00:00.000Z", "source": "banner",
    });
    assert_eq!(given["consents"]["analytics"], consent);
    server.clock.advance_seconds(60);
    put(json!({ "analytics": { "granted": true, "version": "2025-01", "source": "banner" } })).expect(200);
    put(json!({ "analytics": { "granted": false, "version": "2025-01" } })).expect(200);
    put(json!({ "fortune_telling": { "granted": true, "version": "1" } }))
        .is_problem(400, "invalid-input")
        .names_field("consents.fortune_telling");
    put(json!({ "marketing": { "granted": true, "version": "a b" } }))
        .is_problem(400, "invalid-input")
        .names_field("consents.marketing.version");
    put(json!({ "marketing": { "granted": true } })).is_problem(400, "invalid-input");
    let server = server.restarted();
    let again = server.anonymous().bearing(&owner.session_token);
    again.delete(PROFILE).expect(204);
    let history = again.get("/api/v1/users/profile/consents").expect(200)["items"].clone();
    let told: Vec<_> =
        history.as_array().unwrap().iter().map(|it| (it["granted"].clone(), it["source"].clone())).collect();
    assert_eq!(told, [(json!(false), json!("api")), (json!(true), json!("banner"))], "also when the profile is gone");
    let user = sesame::kernel::ids::UserId::parse(&owner.id).unwrap();
    let user = server.state().users.find(user, server.clock.now()).unwrap();
    assert!(!user.profiles.marks().consents_to("analytics"));
    let audit = server.admin().get("/api/v1/audit?limit=1000").expect(200).to_string();
    assert!(
        audit.contains("2025-01") && !audit.contains("olga.example"),
        "the log tells consents, not what people tell"
    );
}

const CONSENTS: &str = "/api/v1/users/profile/consents";

#[test]
fn a_consent_that_nobody_is_asked_for_any_more_is_shown_and_can_be_withdrawn() {
    let asked = |purposes: &[&str]| purposes.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let server =
        Server::durable().restarted_with(|config| config.profiles.consents = asked(&["horoscopes", "analytics"]));
    let ann = server.admin().person("ann");
    let given = json!({ "granted": true, "version": "1", "source": "banner" });
    ann.put(PRIVACY, &json!({ "consents": { "horoscopes": given } })).expect(200);
    let server = server.restarted_with(|config| config.profiles.consents = asked(&["analytics"]));
    let ann = ann.at(server.address);
    let shown = ann.get(PRIVACY).expect(200)["consents"].clone();
    assert_eq!((&shown["horoscopes"]["granted"], &shown["analytics"]), (&json!(true), &Value::Null));
    let put = |purpose: &str, granted: bool| {
        ann.put(PRIVACY, &json!({ "consents": { purpose: { "granted": granted, "version": "1" } } }))
    };
    assert_eq!(put("horoscopes", false).expect(200)["consents"]["horoscopes"]["granted"], false);
    assert_eq!(ann.get(CONSENTS).expect(200)["items"][0]["granted"], false);
    // Nobody asks for it, nor for what was never on record.
    for (purpose, granted) in [("horoscopes", true), ("palmistry", false)] {
        put(purpose, granted).is_problem(400, "invalid-input").names_field(&format!("consents.{purpose}"));
    }
}

#[test]
fn what_was_consented_to_is_listed_in_pages_and_nothing_said_later_makes_it_forgotten() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let put = |purpose: &str, granted: bool, version: &str, source: &str| {
        server.clock.advance_seconds(1);
        let given = json!({ "granted": granted, "version": version, "source": source });
        ann.put(PRIVACY, &json!({ "consents": { purpose: given } }))
    };
    put("marketing", true, "1", "sign-up").expect(200);
    // The same once more is nothing new, through whatever it is said.
    put("marketing", true, "1", "banner").expect(200);
    put("marketing", true, "2", "banner").expect(200);
    for turn in 2..500 {
        put("analytics", turn % 2 == 0, "1", "script").expect(200);
    }
    let all = ann.get(&format!("{CONSENTS}?limit=1000")).expect(200);
    let all = all["items"].as_array().unwrap();
    assert_eq!(all.len(), 500);
    let first = json!({
        "purpose": "marketing", "granted": true, "version": "1", "at": "2025-11-23T12:00:01.000Z", "source": "sign-up",
    });
    assert_eq!(all[499], first);
    // The history is full: what is granted is withdrawn, and then nothing else is said.
    put("analytics", true, "1", "script").is_problem(409, "too-many-consents");
    put("analytics", false, "2", "script").is_problem(409, "too-many-consents");
    put("marketing", false, "2", "page").expect(200);
    put("marketing", false, "2", "page").expect(200);
    put("marketing", true, "3", "page").is_problem(409, "too-many-consents");
    // In pages, each once.
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ann.get(&format!("{CONSENTS}?limit=90&cursor={cursor}")).expect(200);
        pages.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((pages.len(), &pages[0]["source"], &pages[1..]), (501, &json!("page"), &all[..]));
    for (query, field) in [("limit=0", "limit"), ("cursor=AAAA", "cursor"), ("page=1", "page")] {
        ann.get(&format!("{CONSENTS}?{query}")).is_problem(400, "invalid-input").names_field(field);
    }
}

#[test]
fn an_audience_holds_a_permission_that_there_is() {
    let server = Server::start();
    let admin = server.admin();
    let owner = owner(&admin);
    let put = || owner.put(PRIVACY, &json!({ "audiences": { "bio": { "permission": "staff:sea" } } }));
    put().is_problem(400, "invalid-input").names_field("audiences.bio");
    admin.define(&["staff:sea"]);
    put().expect(200);
}

//! `Idempotency-Key`: what is sent again is answered as it was, and created once, whatever happens in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use sesame::access::commands::UnassignRole;
use sesame::accounts::registration::Registration;
use sesame::actor::along::Along;
use sesame::actor::command::{Facts, WriteError};
use sesame::kernel::cause::Cause;
use sesame::kernel::ids::{RoleId, UserId};
use sesame::repeats::keeper::{Asked, Met};
use sesame::repeats::model::Place;
use sesame::store::{Expect, Revision};

use crate::harness::{Admin, Client, PASSWORD, Process, Reply, Server, number};

const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";
const DAY: i64 = 86_400;

fn create(client: &Client, path: &str, body: &Value, key: &str) -> Reply {
    client.call("POST", path, Some(body.to_string()), &[("Idempotency-Key", key)])
}

/// Asserts that `again` is the answer `first`, sent once more.
#[track_caller]
fn is_replay(again: &Reply, first: &Reply) {
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    for header in ["content-type", "location", "etag", "sesame-revision"] {
        assert_eq!(again.header(header), first.header(header), "{header}");
    }
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (None, Some("true")));
}

fn count(admin: &Admin, path: &str) -> usize {
    admin.get(path).expect(200)["items"].as_array().unwrap().len()
}

/// Where keys of an app are made: of a thing without a name there may be two alike.
fn keys(app: &str) -> String {
    format!("/api/v1/apps/{app}/keys")
}

/// How many keys an app has beside its first.
fn count_keys(admin: &Client, app: &str) -> usize {
    admin.get(&format!("/api/v1/apps/{app}")).expect(200)["keys"].as_array().unwrap().len() - 1
}

fn till() -> Value {
    json!({ "description": "till" })
}

/// Runs what the server does by itself every ten seconds.
fn remove_old(server: &Server) {
    let (answers, now) = (Arc::clone(&server.state().answers), server.clock.now());
    actix_rt::System::new().block_on(async move { answers.remove_old(now).await }).unwrap();
}

/// How many answers, and entries about their age, the store has.
fn kept(server: &Server) -> (u64, u64) {
    let records = server.state().store.stats(true).unwrap().records;
    let of = |kind: &str| records.iter().find(|(name, _)| *name == kind).map_or(0, |(_, count)| *count);
    (of("kept_answers"), of("kept_answer_ages"))
}

fn metric(server: &Server, outcome: &str) -> u64 {
    let name = format!("sesame_idempotent_requests_total{{outcome=\"{outcome}\"}} ");
    let text = server.state().metrics.render().unwrap();
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[test]
fn the_same_request_is_answered_as_it_was_and_done_once() {
    let server = Server::start();
    let admin = server.admin();
    let reader = json!({ "name": "reader", "permissions": ["*:read"] });
    let first = create(&admin, "/api/v1/roles", &reader, KEY);
    first.expect(201);
    // What it became since is not what was answered.
    let changed = json!({ "name": "writer" });
    admin.put(first.header("location").unwrap(), &changed).expect(200);
    is_replay(&create(&admin, "/api/v1/roles", &reader, KEY), &first);
    is_replay(&create(&admin, "/api/v1/roles", &reader, &format!("\"{KEY}\"")), &first);
    assert_eq!(first.text("name"), "reader");
    let shop = admin.app("shop", &[]).id;
    let first = create(&admin, &keys(&shop), &till(), KEY);
    is_replay(&create(&admin, &keys(&shop), &till(), KEY), &first);
    assert_eq!(count_keys(&admin, &shop), 1);
    // Without a key nothing is remembered.
    for _ in 0..2 {
        assert_eq!(admin.post(&keys(&shop), &till()).header("idempotency-replayed"), None);
    }
    assert_eq!(count_keys(&admin, &shop), 3);
    assert_eq!((metric(&server, "first"), metric(&server, "replayed")), (2, 3));
}

#[test]
fn a_key_is_good_for_one_request() {
    let server = Server::start();
    let admin = server.admin();
    let [shop, store] = ["shop", "store"].map(|name| admin.app(name, &[]).id);
    let other = json!({ "description": "desk" });
    let first = create(&admin, &keys(&shop), &till(), KEY);
    create(&admin, &keys(&shop), &other, KEY).is_problem(422, "idempotency-key-reused");
    create(&admin, &keys(&store), &till(), KEY).is_problem(422, "idempotency-key-reused");
    create(&admin, &format!("{}?x=1", keys(&shop)), &till(), KEY).is_problem(422, "idempotency-key-reused");
    // Not even one that says the same in other bytes.
    let spaced = Some("{ \"description\": \"till\" }".to_owned());
    let spaced = admin.call("POST", &keys(&shop), spaced, &[("Idempotency-Key", KEY)]);
    spaced.is_problem(422, "idempotency-key-reused");
    assert_eq!((count_keys(&admin, &shop), count_keys(&admin, &store)), (1, 0));
    is_replay(&create(&admin, &keys(&shop), &till(), KEY), &first);
    // Keys of another route are others.
    create(&admin, "/api/v1/roles", &json!({ "name": "reader" }), KEY).expect(201);
}

#[test]
fn what_is_no_key_is_refused_by_name_where_keys_are_honoured() {
    let server = Server::start();
    let admin = server.admin();
    let role = json!({ "name": "reader" });
    for wrong in ["", "\"\"", "a b", "\"a", "\"a\";b", &"x".repeat(256)] {
        let reply = create(&admin, "/api/v1/roles", &role, wrong);
        reply.is_problem(400, "invalid-input").names_field("Idempotency-Key");
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
    let reply = admin.call("POST", "/api/v1/roles", Some(role.to_string()), &twice);
    reply.is_problem(400, "invalid-input").names_field("Idempotency-Key");
    create(&admin, "/api/v1/roles", &role, &"x".repeat(255)).expect(201);
    let ask = json!({ "subject": admin.id, "permission": "*:read" });
    assert_eq!(create(&admin, "/api/v1/permissions/check", &ask, "a b").status, 200);
}

#[test]
fn callers_have_keys_of_their_own() {
    let server = Server::start();
    let admin = server.admin();
    let shop = admin.app("shop", &[]).id;
    let app = admin.app("clerk", &["administrator"]);
    let first = create(&admin, &keys(&shop), &till(), KEY);
    let other = create(&app, &keys(&shop), &till(), KEY);
    other.expect(201);
    assert_eq!((other.header("idempotency-replayed"), count_keys(&admin, &shop)), (None, 2));
    // The same person in another session is the same caller.
    is_replay(&create(&server.admin(), &keys(&shop), &till(), KEY), &first);
    is_replay(&create(&app, &keys(&shop), &till(), KEY), &other);
    // Who may not call any more is not answered.
    admin.unassign(&app.id, &admin.role_id("administrator"));
    create(&app, &keys(&shop), &till(), KEY).is_problem(403, "missing-permission");
}

#[test]
fn of_equal_requests_at_a_time_one_is_carried_out() {
    let server = Server::start();
    let admin = server.admin();
    let shop = admin.app("shop", &[]).id;
    for round in 0..4 {
        let key = format!("key-{round}");
        let replies: Vec<Reply> = std::thread::scope(|scope| {
            let ask = || create(&admin, &keys(&shop), &till(), &key);
            let asked: Vec<_> = (0..50).map(|_| scope.spawn(ask)).collect();
            asked.into_iter().map(|reply| reply.join().unwrap()).collect()
        });
        let (done, told): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 201);
        let first: Vec<_> = done.iter().filter(|reply| reply.header("idempotency-replayed").is_none()).collect();
        assert_eq!(first.len(), 1);
        for again in done.iter().filter(|reply| reply.header("idempotency-replayed").is_some()) {
            is_replay(again, first[0]);
        }
        for reply in told {
            assert_eq!(reply.is_problem(409, "idempotency-in-progress").header("retry-after"), Some("1"));
        }
        is_replay(&create(&admin, &keys(&shop), &till(), &key), first[0]);
        assert_eq!(count_keys(&admin, &shop), round + 1);
    }
}

#[test]
fn who_sends_again_what_is_under_way_is_told_to_wait() {
    let server = Server::start();
    let admin = server.admin();
    let caller = Some(UserId::parse(&admin.id).unwrap());
    let (answers, now) = (Arc::clone(&server.state().answers), server.clock.now());
    let met = actix_rt::System::new().block_on(async move {
        answers.meet(Asked { caller, route: "POST /api/v1/roles", key: KEY, parts: &[] }, now).await
    });
    let Ok(Met::First(claim)) = met else { panic!("it is not the first") };
    let role = json!({ "name": "reader" });
    let told = create(&admin, "/api/v1/roles", &role, KEY);
    assert_eq!(told.is_problem(409, "idempotency-in-progress").header("retry-after"), Some("1"));
    drop(claim);
    create(&admin, "/api/v1/roles", &role, KEY).expect(201);
}

/// The store itself refuses a second answer, and with it whatever it tells of.
#[test]
fn a_command_whose_answer_is_kept_already_changes_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let role = admin.role("reader", &["*:read"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &role);
    create(&admin, "/api/v1/roles", &json!({ "name": "writer" }), KEY).expect(201);
    let place = Place::of(Some(UserId::parse(&admin.id).unwrap()), "POST /api/v1/roles", KEY).key();
    assert!(server.state().store.read(&place).unwrap().is_some());
    let (state, id) = (Arc::clone(server.state()), UserId::parse(&ann).unwrap());
    let refused = actix_rt::System::new().block_on(async move {
        let command = UnassignRole { role_id: RoleId::parse(&role).unwrap(), scope: None };
        let facts = Facts { now: state.clock.now(), cause: Cause::system("test") };
        let along = Along::holding(()).writing(move |_, (): &(), commit| {
            commit.expect.push(Expect::Absent(place.clone()));
            commit.put(place.clone(), vec![1]);
            Ok(())
        });
        state.users.send_along(id, command, facts, along).await
    });
    assert!(matches!(refused, Err(WriteError::Repeated)), "{refused:?}");
    assert_eq!(count(&admin, &format!("/api/v1/users/{ann}/roles")), 1);
}

#[test]
fn answers_outlive_a_restart() {
    let server = Server::durable();
    let admin = server.admin();
    let shop = admin.app("shop", &[]).id;
    let first = create(&admin, &keys(&shop), &till(), KEY);
    first.expect(201);
    let server = server.restarted();
    let admin = server.admin();
    is_replay(&create(&admin, &keys(&shop), &till(), KEY), &first);
    create(&admin, &keys(&shop), &json!({}), KEY).is_problem(422, "idempotency-key-reused");
    assert_eq!(count_keys(&admin, &shop), 1);
}

#[test]
fn what_failed_may_be_tried_again_with_its_key() {
    let server = Server::start();
    let admin = server.admin();
    let ann = json!({ "username": "ann" });
    let person = admin.person("bob");
    create(&admin, "/api/v1/users", &json!({ "username": "" }), KEY).is_problem(400, "invalid-input");
    create(&admin, "/api/v1/users", &json!({ "username": "bob" }), KEY).is_problem(409, "name-taken");
    create(&admin, "/api/v1/users", &json!({ "username": "carl", "password": "x" }), KEY)
        .is_problem(400, "invalid-input");
    create(&server.anonymous(), "/api/v1/users", &ann, KEY).is_problem(401, "unauthenticated");
    create(&person, "/api/v1/users", &ann, KEY).is_problem(403, "missing-permission");
    let first = create(&admin, "/api/v1/users", &ann, KEY);
    first.expect(201);
    is_replay(&create(&admin, "/api/v1/users", &ann, KEY), &first);
}

#[test]
fn what_changed_nothing_is_answered_as_it_was_too() {
    let server = Server::start();
    let admin = server.admin();
    let role = admin.role("reader", &["*:read"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let roles = format!("/api/v1/users/{ann}/roles");
    admin.assign(&ann, &role);
    let assignment = json!({ "role_id": role });
    let first = create(&admin, &roles, &assignment, KEY);
    first.expect(201);
    assert_eq!(count(&admin, &format!("/api/v1/audit?action=access.role_assigned&target={ann}")), 1);
    admin.unassign(&ann, &role);
    is_replay(&create(&admin, &roles, &assignment, KEY), &first);
    assert_eq!(count(&admin, &roles), 0);
    // The entity goes on from where it was.
    admin.assign(&ann, &role);
    assert_eq!(count(&admin, &roles), 1);
}

#[test]
fn answers_are_kept_for_a_day_and_then_removed() {
    let server = Server::durable();
    let admin = server.admin();
    let shop = admin.app("shop", &[]).id;
    let first = create(&admin, &keys(&shop), &till(), KEY);
    create(&admin, &keys(&shop), &till(), "another").expect(201);
    server.clock.advance_seconds(DAY - 1);
    remove_old(&server);
    is_replay(&create(&server.admin(), &keys(&shop), &till(), KEY), &first);
    assert_eq!(kept(&server), (2, 2));
    server.clock.advance_seconds(1);
    // Not removed yet, and no longer counted: the key is free for whatever is next.
    let admin = server.admin();
    let next = create(&admin, &keys(&shop), &json!({}), KEY);
    next.expect(201);
    assert_eq!(next.header("idempotency-replayed"), None);
    remove_old(&server);
    assert_eq!((kept(&server), count_keys(&admin, &shop)), ((1, 1), 3));
    is_replay(&create(&admin, &keys(&shop), &json!({}), KEY), &next);
    server.clock.advance_seconds(DAY);
    let server = server.restarted();
    remove_old(&server);
    assert_eq!(kept(&server), (0, 0));
    let text = server.state().metrics.render().unwrap();
    assert!(text.contains("sesame_expired_removed_total{what=\"answer\"} 1"), "{text}");
}

#[test]
fn a_caller_has_room_for_so_many_answers() {
    let server = Server::durable().restarted_with(|config| config.http.max_kept_answers = 2);
    let admin = server.admin();
    let app = admin.app("clerk", &["administrator"]);
    let shop = admin.app("shop", &[]).id;
    let first = create(&admin, &keys(&shop), &till(), "1");
    // What fails takes no room.
    for number in 0..3 {
        let failed = create(&admin, "/api/v1/users", &json!({ "username": "ada" }), &format!("failed-{number}"));
        failed.is_problem(409, "name-taken");
    }
    create(&admin, &keys(&shop), &till(), "2").expect(201);
    let full = create(&admin, &keys(&shop), &till(), "3");
    assert_eq!(full.is_problem(429, "too-many-idempotency-keys").header("retry-after"), Some("60"));
    create(&app, &keys(&shop), &till(), "3").expect(201);
    admin.post(&keys(&shop), &till()).expect(201);
    let server = server.restarted();
    let admin = server.admin();
    create(&admin, &keys(&shop), &till(), "3").is_problem(429, "too-many-idempotency-keys");
    is_replay(&create(&admin, &keys(&shop), &till(), "1"), &first);
    server.clock.advance_seconds(DAY);
    remove_old(&server);
    let admin = server.admin();
    create(&admin, &keys(&shop), &till(), "3").expect(201);
    create(&admin, &keys(&shop), &till(), "4").expect(201);
    create(&admin, &keys(&shop), &till(), "5").is_problem(429, "too-many-idempotency-keys");
}

/// Whether any value that was ever written to the store holds this text.
fn holds(server: &Server, text: &str) -> bool {
    let changes = server.state().store.changes_since(Revision(0), 10_000).unwrap();
    let mut values = changes.into_iter().flat_map(|change| change.writes).filter_map(|write| write.value);
    values.any(|value| value.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[test]
fn a_secret_is_answered_again_to_who_proved_who_they_are_and_is_not_in_the_store() {
    let server = Server::durable();
    let admin = server.admin();
    let shop = json!({ "name": "shop", "roles": ["checker"] });
    let first = create(&admin, "/api/v1/apps", &shop, KEY);
    first.expect(201);
    is_replay(&create(&admin, "/api/v1/apps", &shop, KEY), &first);
    let keys = format!("{}/keys", first.header("location").unwrap());
    let another = create(&admin, &keys, &json!({}), KEY);
    let rotated = create(&admin, &format!("{}/rotate", another.header("location").unwrap()), &json!({}), KEY);
    assert!(holds(&server, "shop"));
    for key in [first.text("key"), another.text("key"), rotated.text("key")] {
        let secret = key.strip_prefix("ssm_ak_").unwrap();
        assert!(!holds(&server, &key) && !holds(&server, secret), "{key}");
    }
    assert!(!holds(&server, KEY));
    server.clock.advance_seconds(700);
    create(&admin, "/api/v1/apps", &shop, KEY).is_problem(401, "reauthentication-required");
    let server = server.restarted();
    is_replay(&create(&server.admin(), "/api/v1/apps", &shop, KEY), &first);
}

#[test]
fn without_the_sealing_key_an_answer_is_lost_and_nothing_is_created_twice() {
    let server = Server::durable();
    let shop = json!({ "name": "shop" });
    let first = create(&server.admin(), "/api/v1/apps", &shop, KEY);
    first.expect(201);
    std::fs::remove_file(server.folder().join("keys/seal.key")).unwrap();
    let server = server.restarted();
    let lost = create(&server.admin(), "/api/v1/apps", &shop, KEY);
    lost.is_problem(409, "idempotency-answer-lost");
    assert_eq!(lost.header("location"), first.header("location"));
    assert_eq!(count(&server.admin(), "/api/v1/apps"), 1);
}

#[test]
fn registering_twice_makes_one_account_and_keeps_no_password() {
    let server = Server::durable().restarted_with(|config| {
        config.accounts.registration = Registration::Open;
        config.accounts.max_mail_requests = 100;
    });
    let nobody = server.anonymous();
    let ann = json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD });
    let first = create(&nobody, "/api/v1/auth/register", &ann, KEY);
    first.expect(201);
    is_replay(&create(&nobody, "/api/v1/auth/register", &ann, KEY), &first);
    // Signed in or not: nobody in particular registers.
    is_replay(&create(&server.admin(), "/api/v1/auth/register", &ann, KEY), &first);
    let guess = json!({ "username": "ann", "email": "ann@example.org", "password": "another password" });
    create(&nobody, "/api/v1/auth/register", &guess, KEY).is_problem(422, "idempotency-key-reused");
    assert!(!holds(&server, PASSWORD));
    let server = server.restarted();
    is_replay(&create(&server.anonymous(), "/api/v1/auth/register", &ann, KEY), &first);
}

/// What a client that sends until it is answered knows: its request, its key, and the answer if there was one.
struct Sent {
    path: String,
    body: Value,
    key: String,
    answer: Option<Reply>,
}

impl Sent {
    /// Sends it; none when the server is gone before it answered.
    fn by(client: &Client, path: &str, body: &Value, key: String) -> Self {
        let mut sent = Self { path: path.to_owned(), body: body.clone(), key, answer: None };
        sent.answer = sent.again(client);
        sent
    }

    fn again(&self, client: &Client) -> Option<Reply> {
        let key = [("Idempotency-Key", self.key.as_str())];
        client.try_call("POST", &self.path, Some(self.body.to_string()), &key).ok()
    }
}

/// Creates apps and keys of theirs until the server is gone; `name` is the writer's.
fn write(admin: &Client, name: &str, answered: &AtomicU64) -> Vec<Sent> {
    let mut all = Vec::new();
    for number in 0..50 {
        let app =
            Sent::by(admin, "/api/v1/apps", &json!({ "name": format!("{name}-{number}") }), format!("{name}.{number}"));
        let id = app.answer.as_ref().map(|reply| reply.text("id"));
        all.push(app);
        let Some(id) = id else { return all };
        for key in 0..15 {
            let key = Sent::by(admin, &keys(&id), &till(), format!("{name}.{number}.{key}"));
            let is_answered = key.answer.is_some();
            all.push(key);
            if !is_answered {
                return all;
            }
            answered.fetch_add(1, Ordering::SeqCst);
        }
    }
    all
}

#[test]
fn a_client_that_asks_a_killed_server_again_creates_nothing_twice() {
    let rounds = number("SESAME_CRASH_ROUNDS", 5);
    let folder = tempfile::tempdir().unwrap();
    let variables = [("SESAME_ADMIN_PASSWORD", PASSWORD)];
    let mut server = Process::start(folder.path(), &variables);
    let mut unanswered = 0;
    for round in 0..rounds {
        let admin = Client::clone(&server.anonymous().sign_in("admin", PASSWORD));
        let answered = AtomicU64::new(0);
        let mut all: Vec<Sent> = std::thread::scope(|scope| {
            let (admin, answered) = (&admin, &answered);
            let write = |number| scope.spawn(move || write(admin, &format!("r{round}w{number}"), answered));
            let at_work: Vec<_> = (0..8).map(write).collect();
            while answered.load(Ordering::SeqCst) < 20 + round * 17 {
                std::thread::yield_now();
            }
            server.kill();
            at_work.into_iter().flat_map(|one| one.join().unwrap()).collect()
        });
        server = Process::start(folder.path(), &variables);
        let admin = Client::clone(&server.anonymous().sign_in("admin", PASSWORD));
        for sent in &mut all {
            let again = sent.again(&admin).unwrap();
            again.expect(201);
            match sent.answer.take() {
                Some(first) => is_replay(&again, &first),
                None => unanswered += 1,
            }
            sent.answer = Some(again);
        }
        for app in all.iter().filter(|sent| sent.path == "/api/v1/apps") {
            let id = app.answer.as_ref().unwrap().text("id");
            let wanted = all.iter().filter(|sent| sent.path == keys(&id)).count();
            assert_eq!(count_keys(&admin, &id), wanted, "round {round}: {id}");
        }
    }
    assert!(unanswered > 0, "no answer was ever lost");
}

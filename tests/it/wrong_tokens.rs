//! Tokens of somebody who is not in memory: wrong ones are refused as nobody's are, and make nobody be loaded; right ones load
//! their owner once, and what is over is told to whoever holds a right one.

use serde_json::{Value, json};

use sesame::kernel::ids::{SessionId, UserId};
use sesame::sessions::token::{Purpose, Token};

use crate::harness::{App, PASSWORD, Reply, Server, SignedIn};
use crate::residents::{at_once, users};

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];

/// Ann with a session that ended and one that did not, a token that was mailed to her, and an application.
struct World {
    server: Server,
    ended: SignedIn,
    alive: SignedIn,
    mailed: String,
    app: App,
}

impl World {
    fn new() -> Self {
        let server = Server::durable();
        let admin = server.admin();
        admin.create_user(&json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD }));
        let [ended, alive] = [(); 2].map(|()| server.anonymous().sign_in("ann", PASSWORD));
        ended.post("/api/v1/auth/logout", &json!({})).expect(204);
        server.anonymous().post("/api/v1/auth/password/forgot", &json!({ "identifier": "ann" })).expect(202);
        let mailed = admin.mailed_token("ann@example.org", "reset-password");
        let app = admin.app("shop", &["checker"]);
        Self { server, ended, alive, mailed, app }
    }

    /// A right token of each kind that opens something of somebody.
    fn kinds(&self) -> [(Purpose, &str); 4] {
        [
            (Purpose::Session, &self.alive.session_token),
            (Purpose::Refresh, &self.alive.refresh_token),
            (Purpose::Mailed, &self.mailed),
            (Purpose::ApiKey, &self.app.key),
        ]
    }

    /// Lets everybody go from memory.
    fn forget_everybody(&self) {
        let (state, now) = (self.server.state(), self.server.clock.now());
        actix_rt::System::new().block_on(state.users.sweep(now, now, usize::MAX, |_| false));
        assert_eq!(self.memory()[0], 0, "somebody stays in memory");
    }

    /// How many users are in memory, were loaded, and were read from the store.
    fn memory(&self) -> [u64; 3] {
        let names = ["sesame_resident_entities", "sesame_activations_total", "sesame_entity_reads_total"];
        names.map(|name| users(&self.server, name))
    }

    fn show(&self, purpose: Purpose, token: &str) -> Reply {
        let nobody = self.server.anonymous();
        match purpose {
            Purpose::Refresh => nobody.post("/api/v1/auth/refresh", &json!({ "refresh_token": token })),
            Purpose::Mailed => {
                let body = json!({ "token": token, "password": "quite another horse" });
                nobody.post("/api/v1/auth/password/reset", &body)
            }
            _ => nobody.bearing(token).get("/api/v1/whoami"),
        }
    }
}

/// Status and body of a refusal, but for what is another with each request.
fn told(reply: &Reply) -> (u16, Value) {
    let mut body = reply.is_whole_problem().json();
    body.as_object_mut().unwrap().remove("request_id");
    (reply.status, body)
}

/// A token with the same owner and part, and another secret.
fn forged(purpose: Purpose, text: &str) -> String {
    let token = Token::parse(purpose, text).unwrap();
    Token::text(purpose, token.owner(), &token.part(), &[7; 32])
}

#[test]
fn a_wrong_token_of_somebody_who_is_not_in_memory_is_refused_as_nobodys_is_and_loads_nobody() {
    let world = World::new();
    let now = world.server.clock.now();
    for (purpose, text) in world.kinds() {
        world.forget_everybody();
        let (before, looked) = (world.memory(), users(&world.server, "sesame_entity_looks_total"));
        let (nobody, never) = (UserId::generate(now), *SessionId::generate(now).bytes());
        let token = Token::parse(purpose, text).unwrap();
        let refusal = told(&world.show(purpose, &Token::text(purpose, nobody, &token.part(), &[7; 32])));
        assert_eq!(refusal.0, 401);
        let secret = token.secret().try_into().unwrap();
        let wrong = [forged(purpose, text), Token::text(purpose, token.owner(), &never, secret)];
        for wrong in &wrong {
            assert_eq!(told(&world.show(purpose, wrong)), refusal);
        }
        assert_eq!(world.memory(), before, "somebody was loaded for a wrong token: {purpose:?}");
        assert_eq!(users(&world.server, "sesame_entity_looks_total"), looked + 3, "{purpose:?}");
        assert!(world.show(purpose, text).status < 300, "the right one: {purpose:?}");
        assert_eq!(world.memory()[1], before[1] + 1);
        // The same answers about somebody who is in memory.
        for wrong in &wrong {
            assert_eq!(told(&world.show(purpose, wrong)), refusal);
        }
    }
}

#[test]
fn what_applications_ask_about_wrong_tokens_loads_nobody() {
    let world = World::new();
    world.forget_everybody();
    let nothing = json!({ "active": false });
    assert_eq!(world.app.introspect("x"), nothing);
    let before = world.memory();
    assert_eq!(before[0], 1, "the application alone is in memory");
    let wrong = forged(Purpose::Session, &world.alive.session_token);
    assert_eq!(world.app.introspect(&wrong), nothing);
    let ask = json!({ "subject": { "session_token": wrong }, "permission": "a:b" });
    assert_eq!(world.app.check(&ask), (false, "session_not_active".to_owned()));
    for wrong in [wrong, forged(Purpose::Refresh, &world.alive.refresh_token)] {
        let form = Some(format!("token={wrong}"));
        assert_eq!(world.app.call("POST", "/oauth2/revoke", form, &FORM).status, 200);
    }
    assert_eq!(world.memory(), before);
    assert_eq!(world.app.introspect(&world.alive.session_token)["active"], true, "it was not revoked");
    assert_eq!(world.memory(), before.map(|count| count + 1));
}

#[test]
fn a_right_token_loads_its_owner_once_for_all_who_show_it_beside_wrong_ones() {
    let world = World::new();
    for (purpose, text) in [(Purpose::Session, &world.alive.session_token), (Purpose::ApiKey, &world.app.key)] {
        world.forget_everybody();
        let (before, wrong) = (world.memory(), forged(purpose, text));
        let replies = at_once(40, |number| world.show(purpose, if number % 2 == 0 { text } else { &wrong }));
        let expected = [200, 401].into_iter().cycle();
        assert!(replies.iter().map(|reply| reply.status).eq(expected.take(40)), "{replies:?}");
        assert_eq!(world.memory(), before.map(|count| count + 1), "{purpose:?}");
    }
}

#[test]
fn what_ended_is_told_to_whoever_holds_its_token_and_its_owner_is_not_loaded_for_it() {
    let world = World::new();
    let over = [(Purpose::Session, &world.ended.session_token), (Purpose::Refresh, &world.ended.refresh_token)];
    let unknown = ["unauthenticated", "invalid-refresh-token"];
    let resident = over.map(|(purpose, text)| told(world.show(purpose, text).is_problem(401, "session-signed-out")));
    world.forget_everybody();
    let before = world.memory();
    for (((purpose, text), unknown), resident) in over.into_iter().zip(unknown).zip(resident) {
        assert_eq!(told(&world.show(purpose, text)), resident);
        world.show(purpose, &forged(purpose, text)).is_problem(401, unknown);
    }
    assert_eq!(world.memory(), before);
    // What was over by itself, and was not ended yet, its owner's view tells.
    world.server.clock.advance_seconds(3600);
    world.forget_everybody();
    let alive = &world.alive.session_token;
    world.show(Purpose::Session, &forged(Purpose::Session, alive)).is_problem(401, "unauthenticated");
    world.show(Purpose::Session, alive).is_problem(401, "session-idle");
    // It is told for a time only.
    world.server.clock.advance_seconds(31 * 86_400);
    for ((purpose, text), unknown) in over.into_iter().zip(unknown) {
        world.forget_everybody();
        world.show(purpose, text).is_problem(401, unknown);
    }
}

//! The largest of everything that may be said fits where it is kept: what a request is let through with is never refused
//! by the store.

use serde_json::{Value, json};
use uuid::Uuid;

use sesame::access::book_aggregate::THE_BOOK;
use sesame::access::book_commands::{
    ChangeRole, MAX_CONDITION_BYTES, MAX_CONDITIONS, MAX_PARENTS, MAX_RULES, RoleDraft,
};
use sesame::access::condition::{Condition, MAX_SOURCE_BYTES};
use sesame::access::constraint_commands::MAX_CONSTRAINED;
use sesame::access::expiry::Expiry;
use sesame::access::holders::{GrantHolder, RoleHolder};
use sesame::access::model::{Assignment, Bounds, Constraint, ConstraintKind, Given, Grant, Permission, Role, Rule};
use sesame::access::pattern::{Effect, MAX_NAME_BYTES, MAX_SCOPE_BYTES, Pattern, PermissionName, Scope};
use sesame::access::role_book::RoleBook;
use sesame::access::usage::{Figures, UsageBlock, UsageSince};
use sesame::accounts::factors::{Factors, RECOVERY_CODES, TotpFactor, TotpOffer};
use sesame::accounts::model::{Account, AppListing, Credential, MAX_PROPERTIES_BYTES, Nature, Properties, Status};
use sesame::accounts::passkey::Passkey;
use sesame::accounts::proof::{Proof, ProofPurpose};
use sesame::actor::aggregate::Aggregate as _;
use sesame::actor::command::{Command as _, Facts};
use sesame::apps::model::ApiKey;
use sesame::audit::model::Entry;
use sesame::kernel::cause::{Actor, Cause};
use sesame::kernel::clock::Timestamp;
use sesame::kernel::ids::{
    ChangeId, ConstraintId, DeviceId, GrantId, KeyId, MailId, PasskeyId, PermissionId, ProofId, RoleId,
    SecurityEventId, SessionId, UserId,
};
use sesame::kernel::secret::{SecretHash, ShortHash};
use sesame::kernel::sheet::{Difference, Sheet};
use sesame::kernel::text::{ConstraintName, Email, ExternalId, Note, RoleName, Username};
use sesame::mail::model::{Delivery, Mail, Occasion as MailOccasion};
use sesame::preferences::model::{
    Layer, MOST_CUSTOM_BYTES, MOST_NAMESPACE_BYTES, MOST_SCHEMA_BYTES, Namespace, PreferenceMarks, Preferences,
};
use sesame::profiles::challenge::{Challenge, ChallengeKind, CodeHash};
use sesame::profiles::change::{Change, Part};
use sesame::profiles::model::{AvatarId, FormerAvatar, Identity, KEPT_AVATARS, Marks, Profile};
use sesame::profiles::privacy::Consent;
use sesame::repeats::model::{AnswerAge, KeptAnswer};
use sesame::resources::model::{Resource, ResourceChild, ResourceName};
use sesame::sessions::agent::{ClientText, Hints};
use sesame::sessions::commands::MAX_CHOSEN;
use sesame::sessions::device::{Device, MAX_NAME_CHARACTERS, Network};
use sesame::sessions::ending::{EndReason, EndedSession, HistoryCount};
use sesame::sessions::model::{Activation, NewSession, Session};
use sesame::sessions::refresh::Refresh;
use sesame::sessions::risk::{Occasion, Response, Risk, SecurityEvent};
use sesame::sessions::terms::RoleTerms;
use sesame::store::codec::{self, MAX_RECORD_BYTES};
use sesame::store::key::Kind;
use sesame::store::{Commit, MAX_COMMIT_BYTES, MAX_SMALL_VALUE_BYTES};

use crate::harness::{PASSWORD, Server};

const NOW: Timestamp = Timestamp::from_millis(1_763_900_000_123);
/// A letter of four bytes.
const WIDE: &str = "𝔊";
const USER: UserId = UserId::from_uuid(Uuid::from_u128(7));

fn wide(characters: usize) -> String {
    WIDE.repeat(characters)
}

fn note() -> Note {
    Note::parse(&wide(1000)).unwrap()
}

fn word() -> Box<str> {
    "w".repeat(64).into()
}

fn email() -> Email {
    let labels = ["d".repeat(63), "e".repeat(63), "f".repeat(58)].join(".");
    Email::parse(&format!("{}@{labels}.org", "l".repeat(63))).unwrap()
}

fn bounds() -> Bounds {
    let scope = Scope::parse(&"s".repeat(MAX_SCOPE_BYTES)).unwrap();
    Bounds { scope, not_before: Some(NOW), expires_at: Some(NOW) }
}

fn given() -> Given {
    Given::silently(Actor::Person(USER), NOW).with(Some(note()), Some(Actor::App(USER)))
}

fn condition() -> Condition {
    let frame = "resource.id == ''".len();
    Condition::parse(&format!("resource.id == '{}'", "c".repeat(MAX_SOURCE_BYTES - frame))).unwrap()
}

fn pattern() -> Pattern {
    Pattern::parse(&format!("{}:*", "p".repeat(MAX_NAME_BYTES - 2))).unwrap()
}

fn properties() -> Properties {
    let object = json!({ "p": "x".repeat(MAX_PROPERTIES_BYTES - r#"{"p":""}"#.len()) });
    Properties::of(object.as_object().unwrap()).unwrap()
}

fn network() -> Network {
    Network::of("2001:db8::1".parse().unwrap())
}

fn client() -> ClientText {
    let (agent, platform, brand) =
        ("u".repeat(300), format!("\"{}\"", "p".repeat(99)), format!("\"{}\"", "b".repeat(99)));
    ClientText::of(Some(&agent), Hints { platform: Some(&platform), mobile: Some("?1"), brands: Some(&brand) })
}

fn session() -> Session {
    let refresh = Refresh::begin(ShortHash::of(b"a"), ShortHash::of(b"b"), Some(network()), NOW);
    let mut session = Session::begin(
        NewSession {
            id: SessionId::from_uuid(Uuid::from_u128(1)),
            secret: SecretHash::of(b"s"),
            lifetime_seconds: u32::MAX,
            idle_seconds: u32::MAX,
            methods: enumset::EnumSet::all(),
            ip_address: Some("2001:db8::1".parse().unwrap()),
            user_agent: client().user_agent,
            device: Some(DeviceId::from_uuid(Uuid::from_u128(2))),
            refresh: Some(refresh),
            is_remembered: true,
        },
        NOW,
    );
    let role_ids = (0..MAX_CHOSEN as u128).map(|number| RoleId::from_uuid(Uuid::from_u128(number))).collect();
    session.activation = Some(std::sync::Arc::new(Activation { role_ids: Some(role_ids), at: NOW }));
    session.drift.program = client().user_agent;
    session
}

/// A role with as many rules as there may be, and as many bytes of conditions.
fn role(name: char) -> Role {
    let mut rules = Vec::with_capacity(MAX_RULES);
    for number in 0..MAX_RULES {
        let condition = Some(condition()).filter(|_| number < MAX_CONDITION_BYTES / MAX_SOURCE_BYTES);
        let pattern = Pattern::parse(&format!("{number:0>width$}:*", width = MAX_NAME_BYTES - 2)).unwrap();
        rules.push(Rule { effect: Effect::Allow, pattern, condition });
    }
    Role {
        id: RoleId::from_uuid(Uuid::from_u128(4)),
        name: RoleName::parse(&format!("{name}{}", wide(127))).unwrap(),
        description: Some(note()),
        parent_role_ids: (0..MAX_PARENTS as u128).map(|number| RoleId::from_uuid(Uuid::from_u128(number))).collect(),
        rules,
        is_active: true,
        is_built_in: false,
        session_terms: RoleTerms {
            idle_timeout_seconds: Some(600),
            lifetime_seconds: Some(600),
            max_sessions: Some(3),
        },
        created_at: NOW,
        updated_at: NOW,
        version: 9,
    }
}

/// What the audit log says when such a role becomes another such role.
fn audit_entry() -> Vec<u8> {
    let before = Role { parent_role_ids: Vec::new(), ..role('a') };
    let after = Role { parent_role_ids: Vec::new(), ..role('b') };
    let book = RoleBook::of(Vec::new(), vec![before.clone()]);
    let facts = Facts { now: NOW, cause: Cause { request_id: "r".repeat(200), ..Cause::system("test") } };
    let draft = RoleDraft {
        name: after.name,
        description: after.description,
        parent_role_ids: after.parent_role_ids,
        rules: after.rules,
        is_active: after.is_active,
        session_terms: after.session_terms,
    };
    let command = ChangeRole { id: before.id, if_match: None, draft };
    let event = command.decide(&book, &facts).unwrap().events.remove(0);
    let mut changed = book.clone();
    changed.apply(&event);
    codec::encode(&Entry::of(changed.note(&book, &event).unwrap(), &facts)).unwrap()
}

fn consent() -> Consent {
    let by = Actor::Person(USER);
    Consent { purpose: word(), is_granted: true, text_version: word(), at: NOW, by, source: word() }
}

/// A sheet of so many values of so many bytes each.
fn sheet(values: usize, bytes: usize) -> Sheet {
    let mut sheet = Sheet::default();
    for number in 0..values {
        sheet.set(&format!("custom.{number:0>57}"), &format!("\"{}\"", "v".repeat(bytes)));
    }
    sheet
}

fn preferences() -> Sheet {
    sheet(MOST_CUSTOM_BYTES / MOST_NAMESPACE_BYTES, MOST_NAMESPACE_BYTES)
}

fn access(kind: Kind) -> Option<Vec<u8>> {
    let encoded = match kind {
        Kind::Assignment => {
            let role_id = RoleId::from_uuid(Uuid::from_u128(4));
            codec::encode(&Assignment { role_id, bounds: bounds(), given: given() })
        }
        Kind::Grant => codec::encode(&Grant {
            id: GrantId::from_uuid(Uuid::from_u128(8)),
            rule: Rule { effect: Effect::Deny, pattern: pattern(), condition: Some(condition()) },
            bounds: bounds(),
            given: given(),
        }),
        Kind::RoleHolder => codec::encode(&RoleHolder),
        Kind::GrantHolder => codec::encode(&GrantHolder),
        Kind::Expiry => codec::encode(&Expiry),
        Kind::Permission => codec::encode(&Permission {
            id: PermissionId::from_uuid(Uuid::from_u128(3)),
            number: u32::MAX,
            name: PermissionName::parse(&format!("{}:a", "p".repeat(MAX_NAME_BYTES - 2))).unwrap(),
            description: Some(note()),
            conditions: vec![condition(); MAX_CONDITIONS],
            created_at: NOW,
            updated_at: NOW,
            version: 2,
        }),
        Kind::Role => codec::encode(&role('a')),
        Kind::Constraint => codec::encode(&Constraint {
            id: ConstraintId::from_uuid(Uuid::from_u128(24)),
            name: ConstraintName::parse(&wide(128)).unwrap(),
            kind: ConstraintKind::Static,
            role_ids: vec![RoleId::from_uuid(Uuid::from_u128(5)); MAX_CONSTRAINED],
            cardinality: 2,
            description: Some(note()),
            created_at: NOW,
            updated_at: NOW,
            version: 3,
        }),
        Kind::Book => {
            let mut commit = Commit::default();
            RoleBook::of(Vec::new(), Vec::new()).record_head(&mut commit).unwrap();
            assert_eq!(commit.writes[0].key, RoleBook::head(THE_BOOK));
            return commit.writes.remove(0).value;
        }
        Kind::Resource => {
            let name = |letter: &str| ResourceName::parse(&letter.repeat(64), &letter.repeat(128)).unwrap();
            codec::encode(&Resource {
                name: name("a"),
                parent: Some(name("b")),
                scope: bounds().scope,
                properties: properties(),
                created_at: NOW,
                updated_at: NOW,
                version: 2,
            })
        }
        Kind::ResourceChild => codec::encode(&ResourceChild),
        Kind::UsageSince => codec::encode(&UsageSince(NOW)),
        Kind::UsageBlock => codec::encode(&UsageBlock(vec![used(); 64].into())),
        Kind::Audit => return Some(audit_entry()),
        _ => return None,
    };
    Some(encoded.unwrap())
}

fn used() -> Figures {
    Figures { allows: u64::MAX, denies: u64::MAX, last_allowed: Some(NOW), last_denied: Some(NOW) }
}

fn accounts(kind: Kind) -> Option<Vec<u8>> {
    let encoded = match kind {
        Kind::Account => codec::encode(&Account {
            nature: Nature::Person,
            username: Username::parse(&"n".repeat(64)).unwrap(),
            email: Some(email()),
            is_email_verified: true,
            external_id: Some(ExternalId::parse(&wide(50)).unwrap()),
            status: Status::Active,
            properties: properties(),
            created_at: NOW,
            updated_at: NOW,
            version: 1,
        }),
        // A hash of another system has at most 512 bytes.
        Kind::Credential => codec::encode(&Credential { phc: "h".repeat(512).into(), is_imported: true }),
        Kind::ApiKey => {
            let id = KeyId::from_uuid(Uuid::from_u128(1));
            codec::encode(&ApiKey::made(id, SecretHash::of(b"s"), Some(note()), Some(NOW), NOW))
        }
        Kind::AppListing => codec::encode(&AppListing),
        Kind::Proof => codec::encode(&Proof {
            session: Some(SessionId::from_uuid(Uuid::from_u128(2))),
            id: ProofId::from_uuid(Uuid::from_u128(20)),
            secret: SecretHash::of(b"secret"),
            purpose: ProofPurpose::ResetPassword,
            email: email(),
            made_at: NOW,
            expires_at: NOW,
        }),
        Kind::Factors => codec::encode(&Factors {
            totp: Some(TotpFactor { sealed: Box::new([1; 64]), confirmed_at: NOW, last_step: 58_796_670 }),
            offer: Some(TotpOffer { sealed: Box::new([4; 64]), made_at: NOW }),
            recovery: vec![SecretHash::of(b"code"); RECOVERY_CODES],
        }),
        Kind::Passkey => codec::encode(&Passkey {
            id: PasskeyId::from_uuid(Uuid::from_u128(23)),
            // WebAuthn, section 4: at most 1 023 bytes.
            credential_id: Box::new([1; 1023]),
            name: wide(64).into(),
            created_at: NOW,
            last_used_at: Some(NOW),
            counter: 7,
            is_synced: true,
            state: "s".repeat(8000).into(),
            last_ceremony: 1,
        }),
        Kind::Claim => return Some(USER.bytes().to_vec()),
        Kind::KeptAnswerAge => codec::encode(&AnswerAge),
        // An answer shows what was made, which a request of a mebibyte asked for.
        Kind::KeptAnswer => codec::encode(&KeptAnswer {
            at: NOW,
            sealed_with: [1; 8],
            fingerprint: [9; 32],
            location: "l".repeat(1000).into(),
            version: Some(1),
            is_secret: true,
            sealed: vec![1; 2 << 20].into(),
        }),
        Kind::Mail => codec::encode(&Mail {
            id: MailId::from_uuid(Uuid::from_u128(21)),
            user: USER,
            to: email(),
            occasion: MailOccasion::ResetPassword,
            subject: "s".repeat(1000).into(),
            text: "t".repeat(100_000).into(),
            html: "h".repeat(100_000).into(),
            created_at: NOW,
            expires_at: Some(NOW),
            delivery: Delivery::Waiting { attempts: 2, not_before: NOW, last_error: Some("e".repeat(1000).into()) },
        }),
        _ => return None,
    };
    Some(encoded.unwrap())
}

fn sessions(kind: Kind) -> Option<Vec<u8>> {
    let (address, agent) = (Some("2001:db8::1".parse().unwrap()), client().user_agent.map(|text| (&*text).into()));
    let encoded = match kind {
        Kind::Session => codec::encode(&session()),
        Kind::Device => {
            let (id, name) = (DeviceId::from_uuid(Uuid::from_u128(11)), wide(MAX_NAME_CHARACTERS));
            let mut device = Device::first_seen(id, SecretHash::of(b"s"), Some(name.into()), client(), address, NOW);
            for number in 0..20 {
                device.move_to(std::net::IpAddr::from([198, 51, number, 1]));
                device.suspect(Risk::default(), Some(std::net::IpAddr::from([203, 0, number, 1])));
            }
            codec::encode(&device)
        }
        Kind::HistoryCount => codec::encode(&HistoryCount(u32::MAX)),
        Kind::EndedSession => codec::encode(&EndedSession {
            id: SessionId::from_uuid(Uuid::from_u128(2)),
            secret: SecretHash::of(b"s"),
            created_at: NOW,
            last_seen: NOW,
            ended_at: NOW,
            reason: EndReason::Evicted,
            by: Actor::Person(USER),
            ip_address: address,
            user_agent: agent,
            device: Some(DeviceId::from_uuid(Uuid::from_u128(11))),
            refresh: session().refresh,
        }),
        Kind::SecurityEvent => codec::encode(&SecurityEvent {
            id: SecurityEventId::from_uuid(Uuid::from_u128(12)),
            at: NOW,
            occasion: Occasion::Request,
            risk: Risk::default(),
            response: Response::StepUp,
            session: Some(SessionId::from_uuid(Uuid::from_u128(2))),
            device: Some(DeviceId::from_uuid(Uuid::from_u128(11))),
            ip_address: address,
            user_agent: agent,
        }),
        _ => return None,
    };
    Some(encoded.unwrap())
}

fn people(kind: Kind) -> Option<Vec<u8>> {
    let encoded = match kind {
        Kind::ProfileMarks => {
            let challenge = |kind| Challenge {
                kind,
                target: email().as_str().into(),
                code: CodeHash::of("123456", "x"),
                attempts: 1,
                sent_at: NOW,
                sent_in_day: 2,
                day_began: NOW,
                is_spent: false,
            };
            // As many purposes as an installation with much to ask has.
            let granted = vec![word(); 500];
            let challenges = vec![challenge(ChallengeKind::Phone), challenge(ChallengeKind::Email)];
            let avatar = Some(AvatarId([7; 16]));
            let former = vec![FormerAvatar { id: AvatarId([8; 16]), change: 49, replaced_at: NOW }; KEPT_AVATARS];
            codec::encode(&Marks { version: 3, changes: 51, consents: 2, granted, avatar, challenges, former })
        }
        Kind::Consent => codec::encode(&consent()),
        Kind::Profile => codec::encode(&Profile {
            version: 3,
            fields: sheet(60, 8000),
            audiences: sheet(60, 160),
            consents: (0..500).map(|number| (format!("{number:0>64}").into(), consent())).collect(),
            phone_verified_at: Some(NOW),
            identity: Some(Identity {
                is_verified: true,
                evidence: note(),
                reviewer: Actor::Person(USER),
                at: NOW,
                superseded_at: Some(NOW),
            }),
            created_at: Some(NOW),
            updated_at: Some(NOW),
        }),
        Kind::ProfileChange => {
            let text = || Some("v".repeat(MOST_NAMESPACE_BYTES).into());
            let difference = Difference { path: word(), before: text(), after: text() };
            codec::encode(&Change {
                id: ChangeId::from_uuid(Uuid::from_u128(30)),
                at: NOW,
                by: Actor::Person(USER),
                part: Part::Preferences,
                undoes: Some(ChangeId::from_uuid(Uuid::from_u128(29))),
                differences: vec![difference; MOST_CUSTOM_BYTES / MOST_NAMESPACE_BYTES],
            })
        }
        Kind::PreferenceMarks => codec::encode(&PreferenceMarks { version: 3 }),
        Kind::Preferences => codec::encode(&Preferences { version: 3, own: preferences(), updated_at: Some(NOW) }),
        Kind::PreferenceBook => return Some(vec![1; 16]),
        Kind::PreferenceLayer => codec::encode(&Layer { priority: 7, values: preferences(), updated_at: NOW }),
        Kind::PreferenceNamespace => codec::encode(&Namespace {
            name: word(),
            description: Some(wide(1000).into()),
            schema: "s".repeat(MOST_SCHEMA_BYTES).into(),
            updated_at: NOW,
        }),
        _ => return None,
    };
    Some(encoded.unwrap())
}

#[test]
fn the_largest_record_of_every_kind_is_taken() {
    for kind in Kind::ALL {
        let record = access(*kind).or_else(|| accounts(*kind)).or_else(|| sessions(*kind)).or_else(|| people(*kind));
        let bytes = record.unwrap_or_else(|| panic!("{kind}: say here what the largest record is")).len();
        let most = if kind.may_be_large() { MAX_RECORD_BYTES as usize } else { MAX_SMALL_VALUE_BYTES };
        assert!(bytes <= most, "{kind}: {bytes} bytes, and at most {most} are taken");
        assert!(bytes < MAX_COMMIT_BYTES / 4);
    }
}

#[test]
fn whatever_a_request_may_say_is_stored() {
    let server = Server::start();
    let admin = server.admin();
    let permission = format!("{}:a", "p".repeat(MAX_NAME_BYTES - 2));
    admin.define(&[&permission]);
    let scope = "s".repeat(MAX_SCOPE_BYTES);
    let ann = admin.create_user(&json!({
        "username": "n".repeat(64), "external_id": wide(50), "email": email().as_str(), "password": PASSWORD,
        "properties": properties().object(),
    }));
    let bounds = |mut body: Value| {
        body["scope"] = json!(scope);
        body["expires_at"] = json!("2031-01-01T00:00:00Z");
        body["reason"] = json!(wide(1000));
        body["approved_by"] = json!(admin.id);
        body
    };
    let role = admin.role(&wide(128), &[&permission]);
    let (held, granted) = (format!("/api/v1/users/{ann}/roles"), format!("/api/v1/users/{ann}/permissions"));
    admin.post(&held, &bounds(json!({ "role_id": role }))).expect(201);
    admin.post(&granted, &bounds(json!({ "permission": permission, "condition": condition().source() }))).expect(201);
    let app = admin.app(&"a".repeat(64), &[]);
    admin.post(&format!("/api/v1/apps/{}/keys", app.id), &json!({ "description": wide(1000) })).expect(201);
    let (kind, id) = ("k".repeat(64), "i".repeat(128));
    let parent = format!("/api/v1/resources/{kind}/{id}");
    admin.put(&parent, &json!({ "scope": scope, "properties": properties().object() })).expect(201);
    let child = json!({ "parent": { "type": kind, "id": id } });
    admin.put(&format!("/api/v1/resources/{kind}/{}", "j".repeat(128)), &child).expect(201);
    let namespace = format!("/api/v1/preferences/namespaces/{}", "n".repeat(64));
    admin.put(&namespace, &json!({ "schema": {}, "description": "d".repeat(1000) })).expect(200);
}

#[test]
fn a_session_may_use_as_many_roles_as_its_person_has() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.person("ann");
    let mut all = Vec::new();
    for group in 0..3 {
        let parents: Vec<String> =
            (0..MAX_PARENTS).map(|number| admin.role(&format!("{group} {number}"), &[])).collect();
        let heir = json!({ "name": format!("heir {group}"), "parent_role_ids": parents });
        let heir = admin.created("/api/v1/roles", &heir);
        admin.assign(&ann.id, &heir);
        all.extend(parents);
    }
    let chosen = ann.put(&format!("/api/v1/users/sessions/{}/roles", ann.session_id), &json!({ "role_ids": all }));
    chosen.expect(200);
    let shown = ann.with_token(&chosen.text("session_token")).get("/api/v1/whoami").expect(200);
    assert_eq!(shown["session"]["id"], json!(ann.session_id));
}

#[test]
fn an_address_that_is_longer_in_small_letters_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    let user = |letters: usize| {
        let domain = format!("{}.{}.org", "Ⱥ".repeat(31), "Ⱥ".repeat(letters));
        json!({ "username": format!("ann{letters}"), "email": format!("ann@{domain}") })
    };
    let grows = (1..100).find(|letters| user(*letters)["email"].as_str().unwrap().to_lowercase().len() > 254).unwrap();
    assert!(user(grows)["email"].as_str().unwrap().len() < 254);
    admin.create_user(&user(grows - 1));
    admin.post("/api/v1/users", &user(grows)).is_problem(400, "invalid-input").names_field("email");
}

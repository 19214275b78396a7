//! The bytes of every kind of record, as released: what an older version wrote must be read for ever.
//!
//! `golden/records/<kind>.<version>.hex` holds one record each. A file of an older version stays when a kind gets a new
//! one; `UPDATE_GOLDEN=1` writes the files of the current versions.

use std::fmt::{Debug, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use uuid::Uuid;

use sesame::access::book_aggregate::THE_BOOK;
use sesame::access::condition::Condition;
use sesame::access::expiry::Expiry;
use sesame::access::holders::{GrantHolder, RoleHolder};
use sesame::access::model::{Assignment, Bounds, Constraint, ConstraintKind, Given, Grant, Permission, Role, Rule};
use sesame::access::pattern::{Effect, Pattern, PermissionName, Scope};
use sesame::access::role_book::RoleBook;
use sesame::access::usage::{Figures, UsageBlock, UsageSince};
use sesame::accounts::factors::{Factors, TotpFactor, TotpOffer};
use sesame::accounts::model::{Account, AppListing, Credential, Nature, Properties, Status};
use sesame::accounts::passkey::Passkey;
use sesame::accounts::proof::{Proof, ProofPurpose};
use sesame::actor::aggregate::Aggregate as _;
use sesame::apps::model::ApiKey;
use sesame::audit::model::Entry;
use sesame::kernel::cause::Actor;
use sesame::kernel::clock::Timestamp;
use sesame::kernel::ids::{
    AuditId, ChangeId, ConstraintId, DeviceId, GrantId, KeyId, MailId, PasskeyId, PermissionId, ProofId, RoleId,
    SecurityEventId, SessionId, UserId,
};
use sesame::kernel::secret::{SecretHash, ShortHash};
use sesame::kernel::sheet::{Difference, Sheet};
use sesame::kernel::text::{ConstraintName, Email, ExternalId, Note, RoleName, Username};
use sesame::mail::model::{self, Delivery, Mail};
use sesame::preferences::model::{Layer, Namespace, PreferenceMarks, Preferences};
use sesame::profiles::challenge::{Challenge, ChallengeKind, CodeHash};
use sesame::profiles::change::{Change, Part};
use sesame::profiles::model::{AvatarId, FormerAvatar, Identity, Marks, Profile};
use sesame::profiles::privacy::Consent;
use sesame::repeats::model::{AnswerAge, KeptAnswer};
use sesame::resources::model::{Resource, ResourceChild, ResourceName};
use sesame::sessions::agent::{ClientText, Hints};
use sesame::sessions::device::{Device, Network};
use sesame::sessions::drift::Drift;
use sesame::sessions::ending::{EndReason, EndedSession, HistoryCount};
use sesame::sessions::model::{Activation, AuthenticationMethod, NewSession, Session};
use sesame::sessions::refresh::Refresh;
use sesame::sessions::risk::{Occasion, Oddity, Response, Risk, SecurityEvent};
use sesame::sessions::terms::RoleTerms;
use sesame::store::codec::{self, Stored};
use sesame::store::{Commit, Record, Revision};

use crate::golden;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_763_900_000_123).plus_seconds(seconds)
}

const fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x019a_b095_d200_7000_8000_0000_0000_0000 + number)
}

fn note(text: &str) -> Note {
    Note::parse(text).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        write!(text, "{byte:02x}{}", if at % 32 == 31 { "\n" } else { "" }).unwrap();
    }
    text + "\n"
}

fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The bytes of a file of records.
fn stored(file: &str) -> Vec<u8> {
    bytes(&std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap())
}

static CHECKED: AtomicUsize = AtomicUsize::new(0);

/// The file's bytes are what this version writes, and mean the value.
fn check<T: Stored + Debug>(kind: &str, value: &T) {
    let file = format!("tests/it/golden/records/{kind}.{}.hex", T::VERSION);
    let written = codec::encode(value).unwrap();
    golden::check(&file, &hex(&written));
    let stored = stored(&file);
    let read: T = codec::decode(&stored).unwrap();
    assert_eq!(format!("{read:?}"), format!("{value:?}"));
    assert_eq!(codec::encode(&read).unwrap(), written);
    for cut in 0..stored.len() {
        assert!(codec::decode::<T>(&stored[..cut]).is_err(), "{kind} cut after {cut} bytes is read");
    }
    let longer: Vec<u8> = stored.iter().copied().chain([0]).collect();
    assert!(codec::decode::<T>(&longer).is_err(), "{kind} with a byte too many is read");
    let mut newer = stored;
    newer[0] = 255;
    assert!(codec::decode::<T>(&newer).is_err(), "{kind} of a version to come is read");
    CHECKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

fn given(by: Actor) -> Given {
    Given::silently(by, at(7)).with(Some(note("on call")), Some(Actor::Person(UserId::from_uuid(id(30)))))
}

fn bounds() -> Bounds {
    Bounds { scope: Scope::parse("org/acme").unwrap(), not_before: Some(at(1)), expires_at: Some(at(2)) }
}

#[test]
fn records_of_accounts() {
    let facts = serde_json::json!({ "department": "Sales", "level": 3 });
    check(
        "account",
        &Account {
            nature: Nature::Person,
            username: Username::parse("Ann").unwrap(),
            email: Some(Email::parse("Ann@example.com").unwrap()),
            is_email_verified: true,
            external_id: Some(ExternalId::parse("crm-7").unwrap()),
            status: Status::Suspended,
            properties: Properties::of(facts.as_object().unwrap()).unwrap(),
            created_at: at(0),
            updated_at: at(60),
            version: 3,
        },
    );
    check("credential", &Credential { phc: "$argon2id$v=19$m=1024,t=1,p=1$c2FsdA$aGFzaA".into(), is_imported: true });
    let old: Credential = codec::decode(&stored("tests/it/golden/records/credential.1.hex")).unwrap();
    assert_eq!((&*old.phc, old.is_imported), ("$argon2id$v=19$m=1024,t=1,p=1$c2FsdA$aGFzaA", false));
    let old: Account = codec::decode(&stored("tests/it/golden/records/account.1.hex")).unwrap();
    assert_eq!((old.username.as_str(), old.version, old.is_email_verified), ("Ann", 3, false));
    check(
        "proof",
        &Proof {
            session: Some(SessionId::from_uuid(id(2))),
            id: ProofId::from_uuid(id(20)),
            secret: SecretHash::of(b"secret"),
            purpose: ProofPurpose::ResetPassword,
            email: Email::parse("Ann@example.com").unwrap(),
            made_at: at(0),
            expires_at: at(900),
        },
    );
    check("mail", &mail());
    check(
        "factors",
        &Factors {
            totp: Some(TotpFactor { sealed: Box::new([1, 2, 3]), confirmed_at: at(0), last_step: 58_796_670 }),
            offer: Some(TotpOffer { sealed: Box::new([4]), made_at: at(60) }),
            recovery: vec![SecretHash::of(b"code")],
        },
    );
    check(
        "passkey",
        &Passkey {
            id: PasskeyId::from_uuid(id(23)),
            credential_id: Box::new([1, 2, 3]),
            name: "My phone".into(),
            created_at: at(0),
            last_used_at: Some(at(60)),
            counter: 7,
            is_synced: true,
            state: r#"{"cred":{}}"#.into(),
            last_ceremony: 115_607_000_000_000_000,
        },
    );
    check("app_listing", &AppListing);
    let key =
        ApiKey::made(KeyId::from_uuid(id(1)), SecretHash::of(b"secret"), Some(note("front")), Some(at(60)), at(0));
    key.touch(at(30));
    check("api_key", &key.draft());
    let old: ApiKey = codec::decode(&stored("tests/it/golden/records/api_key.1.hex")).unwrap();
    assert_eq!((old.id, old.created_at, old.last_used()), (key.id, at(0), None));
    let new = NewSession {
        id: SessionId::from_uuid(id(2)),
        secret: SecretHash::of(b"secret"),
        lifetime_seconds: 2_592_000,
        idle_seconds: 86_400,
        methods: AuthenticationMethod::Password.into(),
        ip_address: Some("2001:db8::1".parse().unwrap()),
        user_agent: Some("Mozilla/5.0".into()),
        device: Some(DeviceId::from_uuid(id(11))),
        refresh: Some(Refresh::begin(ShortHash::of(b"family"), ShortHash::of(b"first"), Some(network()), at(0))),
        is_remembered: true,
    };
    let mut session = Session::begin(new, at(0));
    session.risk = Risk::default().with(Oddity::NewDevice);
    let role_ids = Some(Box::from([RoleId::from_uuid(id(4)), RoleId::from_uuid(id(5))]));
    session.activation = Some(Arc::new(Activation { role_ids, at: at(30) }));
    session.drift.risk = Risk::default().with(Oddity::OtherProgram);
    session.drift.program = Some("curl/8".into());
    check("session", &session);
}

fn network() -> Network {
    Network::of("192.0.2.1".parse().unwrap())
}

#[test]
fn a_session_of_the_second_form_is_read() {
    let old: Session = codec::decode(&stored("tests/it/golden/records/session.2.hex")).unwrap();
    assert_eq!((old.id, old.device), (SessionId::from_uuid(id(2)), Some(DeviceId::from_uuid(id(11)))));
    assert_eq!((old.is_remembered, old.activation), (true, None));
}

#[test]
fn a_session_of_the_first_form_is_read() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/records/session.1.hex");
    let old: Session = codec::decode(&bytes(&std::fs::read_to_string(file).unwrap())).unwrap();
    assert_eq!((old.id, old.idle_seconds, old.created_at), (SessionId::from_uuid(id(2)), 86_400, at(0)));
    assert_eq!((old.user_agent.as_deref(), old.device, old.refresh), (Some("Mozilla/5.0"), None, None));
    assert_eq!((old.last_seen(), old.expires_at), (at(0), at(2_592_000)));
}

#[test]
fn sessions_passkeys_and_proofs_of_the_form_before_are_read() {
    let old: Session = codec::decode(&stored("tests/it/golden/records/session.3.hex")).unwrap();
    assert_eq!((old.id, old.drift), (SessionId::from_uuid(id(2)), Drift::default()));
    assert!(old.risk.has(Oddity::NewDevice) && old.activation.is_some());
    let old: Passkey = codec::decode(&stored("tests/it/golden/records/passkey.1.hex")).unwrap();
    assert_eq!((&*old.name, old.counter, old.last_ceremony), ("My phone", 7, 0));
    let old: Proof = codec::decode(&stored("tests/it/golden/records/proof.1.hex")).unwrap();
    assert_eq!((old.id, old.session), (ProofId::from_uuid(id(20)), None));
}

#[test]
fn devices_of_the_forms_before_are_read() {
    for (version, brand) in [(1, None), (2, Some("Brave"))] {
        let old: Device = codec::decode(&stored(&format!("tests/it/golden/records/device.{version}.hex"))).unwrap();
        assert_eq!((old.id, old.name.as_deref()), (DeviceId::from_uuid(id(11)), Some("laptop")));
        assert_eq!((old.client.brand.as_deref(), old.is_suspected()), (brand, false));
        assert_eq!((old.networks.clone(), old.last_seen()), (vec![network()], at(0)));
    }
}

#[test]
fn a_role_of_the_first_form_is_read() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/records/role.1.hex");
    let old: Role = codec::decode(&bytes(&std::fs::read_to_string(file).unwrap())).unwrap();
    assert_eq!((old.name.as_str(), old.rules.len(), old.version), ("Redaktör", 4, 9));
    assert_eq!(old.session_terms, RoleTerms::default());
}

#[test]
fn records_of_access_before_conditions_and_approvers_are_read() {
    let old: Role = codec::decode(&stored("tests/it/golden/records/role.2.hex")).unwrap();
    assert_eq!((old.name.as_str(), old.rules.len(), old.session_terms.max_sessions), ("Redaktör", 4, Some(3)));
    assert!(old.rules.iter().all(|rule| rule.condition.is_none()));
    let old: Permission = codec::decode(&stored("tests/it/golden/records/permission.1.hex")).unwrap();
    assert_eq!((old.name.as_str(), old.number, old.conditions), ("documents:read", 12, Vec::new()));
    let old: Assignment = codec::decode(&stored("tests/it/golden/records/assignment.1.hex")).unwrap();
    assert_eq!((old.role_id, old.bounds, old.given.approved_by()), (RoleId::from_uuid(id(4)), bounds(), None));
    let old: Grant = codec::decode(&stored("tests/it/golden/records/grant.1.hex")).unwrap();
    assert_eq!((old.id, old.rule.condition, old.given.approved_by()), (GrantId::from_uuid(id(8)), None, None));
}

#[test]
fn records_of_devices_and_of_what_is_over() {
    let hints = Hints { platform: Some("\"Linux\""), mobile: Some("?0"), brands: Some("\"Brave\";v=\"142\"") };
    let client = ClientText::of(Some("Mozilla/5.0"), hints);
    let (device, address) = (DeviceId::from_uuid(id(11)), Some("192.0.2.1".parse().unwrap()));
    let secret = SecretHash::of(b"secret");
    let mut laptop = Device::first_seen(device, secret, Some("laptop".into()), client, address, at(0));
    laptop.suspect(Risk::default().with(Oddity::ImpossibleTravel), Some("203.0.113.9".parse().unwrap()));
    check("device", &laptop);
    check(
        "ended_session",
        &EndedSession {
            id: SessionId::from_uuid(id(2)),
            secret,
            created_at: at(0),
            last_seen: at(60),
            ended_at: at(61),
            reason: EndReason::Evicted,
            by: Actor::Anonymous,
            ip_address: address,
            user_agent: Some("Mozilla/5.0".into()),
            device: Some(device),
            refresh: None,
        },
    );
    check("history_count", &HistoryCount(300));
    check(
        "security_event",
        &SecurityEvent {
            id: SecurityEventId::from_uuid(id(12)),
            at: at(0),
            occasion: Occasion::Request,
            risk: Risk::default().with(Oddity::OtherProgram),
            response: Response::StepUp,
            session: Some(SessionId::from_uuid(id(2))),
            device: None,
            ip_address: address,
            user_agent: None,
        },
    );
}

fn mail() -> Mail {
    Mail {
        id: MailId::from_uuid(id(21)),
        user: UserId::from_uuid(id(7)),
        to: Email::parse("Ann@example.com").unwrap(),
        occasion: model::Occasion::ResetPassword,
        subject: "Choose another password".into(),
        text: "Hello".into(),
        html: "<p>Hello".into(),
        created_at: at(0),
        expires_at: Some(at(900)),
        delivery: Delivery::Waiting { attempts: 2, not_before: at(60), last_error: Some("451 later".into()) },
    }
}

fn condition() -> Condition {
    Condition::parse("resource.properties.owner == subject.id").unwrap()
}

#[test]
fn records_of_profiles() {
    let mut fields = Sheet::default();
    fields.set("bio", r#""Reads.""#);
    fields.set("social_links.github", r#""ann""#);
    check("profile", &profile(fields));
    let old: Profile = codec::decode(&stored("tests/it/golden/records/profile.1.hex")).unwrap();
    assert_eq!((old.version, old.fields.text("bio").as_deref()), (3, Some("Reads.")));
    let old: Profile = codec::decode(&stored("tests/it/golden/records/profile.2.hex")).unwrap();
    let review = old.identity.as_ref().unwrap();
    assert_eq!((review.is_verified, review.at, review.superseded_at), (true, at(2), None));
    assert_eq!((old.consents.len(), old.phone_verified_at, old.updated_at), (1, Some(at(1)), Some(at(60))));
    let old: Marks = codec::decode(&stored("tests/it/golden/records/profile_marks.1.hex")).unwrap();
    assert_eq!((old.version, old.changes), (3, 51));
    let old: Marks = codec::decode(&stored("tests/it/golden/records/profile_marks.2.hex")).unwrap();
    let challenges = old.challenges.len();
    assert_eq!((old.avatar, &*old.granted, challenges), (Some(AvatarId([7; 16])), &["analytics".into()][..], 1));
    let challenge = Challenge {
        kind: ChallengeKind::Phone,
        target: "+4930123456".into(),
        code: CodeHash::of("123456", "+4930123456"),
        attempts: 1,
        sent_at: at(0),
        sent_in_day: 2,
        day_began: at(-60),
        is_spent: false,
    };
    let avatar = Some(AvatarId([7; 16]));
    let granted = vec!["analytics".into()];
    let former = vec![FormerAvatar { id: AvatarId([8; 16]), change: 49, replaced_at: at(5) }];
    let marks = Marks { version: 3, changes: 51, consents: 2, granted, avatar, challenges: vec![challenge], former };
    check("profile_marks", &marks);
    check("consent", &consent());
    check(
        "profile_change",
        &Change {
            id: ChangeId::from_uuid(id(30)),
            at: at(60),
            by: Actor::Person(UserId::from_uuid(id(7))),
            part: Part::Profile,
            undoes: Some(ChangeId::from_uuid(id(29))),
            differences: vec![Difference { path: "bio".into(), before: None, after: Some(r#""Reads.""#.into()) }],
        },
    );
    let after = AvatarId::sheet(Some(AvatarId([7; 16])));
    check(
        "profile_change_of_avatar",
        &Change {
            id: ChangeId::from_uuid(id(31)),
            at: at(60),
            by: Actor::Person(UserId::from_uuid(id(7))),
            part: Part::Avatar,
            undoes: None,
            differences: AvatarId::sheet(Some(AvatarId([8; 16]))).differences(&after),
        },
    );
}

fn consent() -> Consent {
    Consent {
        purpose: "analytics".into(),
        is_granted: true,
        text_version: "2025-01".into(),
        at: at(0),
        by: Actor::Person(UserId::from_uuid(id(7))),
        source: "banner".into(),
    }
}

fn profile(fields: Sheet) -> Profile {
    let mut audiences = Sheet::default();
    audiences.set("bio", r#""everyone""#);
    let reviewer = Actor::Person(UserId::from_uuid(id(9)));
    Profile {
        version: 3,
        fields,
        audiences,
        consents: [("analytics".into(), consent())].into(),
        phone_verified_at: Some(at(1)),
        identity: Some(Identity {
            is_verified: true,
            evidence: note("Passport"),
            reviewer,
            at: at(2),
            superseded_at: Some(at(3)),
        }),
        created_at: Some(at(0)),
        updated_at: Some(at(60)),
    }
}

#[test]
fn records_of_preferences() {
    let mut own = Sheet::default();
    own.set("theme.mode", r#""dark""#);
    own.set("custom.shop", r#"{"view":"grid"}"#);
    check("preferences", &Preferences { version: 3, own: own.clone(), updated_at: Some(at(60)) });
    check("preference_marks", &PreferenceMarks { version: 3 });
    check("preference_layer", &Layer { priority: 7, values: own, updated_at: at(60) });
    check(
        "preference_namespace",
        &Namespace {
            name: "shop".into(),
            description: Some("The shop".into()),
            schema: r#"{"type":"object"}"#.into(),
            updated_at: at(60),
        },
    );
}

#[test]
fn records_of_access() {
    check(
        "permission",
        &Permission {
            id: PermissionId::from_uuid(id(3)),
            number: 12,
            name: PermissionName::parse("documents:read").unwrap(),
            description: Some(note("Reads documents")),
            conditions: vec![condition()],
            created_at: at(0),
            updated_at: at(60),
            version: 2,
        },
    );
    let rule = |effect, pattern: &str| Rule { effect, pattern: Pattern::parse(pattern).unwrap(), condition: None };
    check(
        "role",
        &Role {
            id: RoleId::from_uuid(id(4)),
            name: RoleName::parse("Redaktör").unwrap(),
            description: None,
            parent_role_ids: vec![RoleId::from_uuid(id(5)), RoleId::from_uuid(id(6))],
            rules: vec![
                rule(Effect::Allow, "documents:read"),
                rule(Effect::Deny, "documents:*"),
                rule(Effect::Allow, "*:read"),
                Rule { condition: Some(condition()), ..rule(Effect::Deny, "*") },
            ],
            is_active: true,
            is_built_in: false,
            session_terms: RoleTerms { idle_timeout_seconds: Some(600), lifetime_seconds: None, max_sessions: Some(3) },
            created_at: at(0),
            updated_at: at(60),
            version: 9,
        },
    );
    check(
        "role_constraint",
        &Constraint {
            id: ConstraintId::from_uuid(id(24)),
            name: ConstraintName::parse("Vier Augen").unwrap(),
            kind: ConstraintKind::Static,
            role_ids: vec![RoleId::from_uuid(id(5)), RoleId::from_uuid(id(6))],
            cardinality: 2,
            description: Some(note("who pays does not approve")),
            created_at: at(0),
            updated_at: at(60),
            version: 3,
        },
    );
    check(
        "assignment",
        &Assignment {
            role_id: RoleId::from_uuid(id(4)),
            bounds: bounds(),
            given: given(Actor::Person(UserId::from_uuid(id(7)))),
        },
    );
    check(
        "grant",
        &Grant {
            id: GrantId::from_uuid(id(8)),
            rule: Rule { condition: Some(condition()), ..rule(Effect::Deny, "documents:read") },
            bounds: Bounds::default(),
            given: given(Actor::App(UserId::from_uuid(id(9)))),
        },
    );
    check("role_holder", &RoleHolder);
    check("grant_holder", &GrantHolder);
    check("resource_child", &ResourceChild);
    check("expiry", &Expiry);
    check(
        "resource",
        &Resource {
            name: ResourceName::parse("todo", "7").unwrap(),
            parent: ResourceName::of("folder", "a b"),
            scope: Scope::parse("org/acme").unwrap(),
            properties: Properties::of(serde_json::json!({ "ownerID": "x" }).as_object().unwrap()).unwrap(),
            created_at: at(0),
            updated_at: at(60),
            version: 2,
        },
    );
    check(
        "audit_entry",
        &Entry {
            id: AuditId::from_uuid(id(10)),
            at: at(0),
            actor: Actor::Anonymous,
            action: "sessions.started".into(),
            target: "user_01h455vb4pex5vsknk084sn02q".into(),
            before: None,
            after: Some(r#"{"session_id":"x"}"#.into()),
            ip_address: Some("192.0.2.1".parse().unwrap()),
            request_id: "req-1".into(),
        },
    );
}

#[test]
fn records_of_kept_answers() {
    check("kept_answer_age", &AnswerAge);
    check(
        "kept_answer",
        &KeptAnswer {
            at: at(0),
            sealed_with: [1, 2, 3, 4, 5, 6, 7, 8],
            fingerprint: [9; 32],
            location: "/api/v1/roles/role_01h455vb4pex5vsknk084sn02q".into(),
            version: Some(1),
            is_secret: true,
            sealed: Box::new([10, 11, 12]),
        },
    );
}

#[test]
fn records_of_the_use_of_permissions() {
    check("usage_since", &UsageSince(at(0)));
    let used = Figures { allows: 3, denies: 1, last_allowed: Some(at(5)), last_denied: None };
    check("usage_block", &UsageBlock(Box::new([Figures::default(), used])));
}

#[test]
fn the_record_of_the_role_book() {
    let permission = Permission {
        id: PermissionId::from_uuid(id(3)),
        number: 41,
        name: PermissionName::parse("documents:read").unwrap(),
        description: None,
        conditions: Vec::new(),
        created_at: at(0),
        updated_at: at(0),
        version: 1,
    };
    let mut commit = Commit::default();
    RoleBook::of(vec![permission], Vec::new()).record_head(&mut commit).unwrap();
    let write = commit.writes.remove(0);
    let value = write.value.unwrap();
    golden::check("tests/it/golden/records/book.1.hex", &hex(&value));
    let record = Record { key: write.key, revision: Revision(7), value };
    let book = RoleBook::from_records(THE_BOOK, vec![record]).unwrap();
    assert_eq!((book.version(), book.is_vacant()), (Revision(7), false));
    assert_eq!(crate::aggregates::next_number(&book), 42, "numbers are never used twice, whatever was removed");
}

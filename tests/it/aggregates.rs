//! What the aggregates promise: a role book changed step by step is the book made at once, and what was written down
//! comes back as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use uuid::Uuid;

use sesame::access::book_aggregate::{BookEvent, THE_BOOK};
use sesame::access::book_commands::DefinePermission;
use sesame::access::model::{Assignment, Bounds, Constraint, ConstraintKind, Grant, Permission, Role};
use sesame::access::part::AccessEvent;
use sesame::access::pattern::{PermissionName, Scope};
use sesame::access::role_book::RoleBook;
use sesame::accounts::factors::Factors;
use sesame::accounts::model::{Credential, Status};
use sesame::accounts::part::{AccountEvent, FactorChange};
use sesame::accounts::proof::{Proof, ProofPurpose};
use sesame::actor::aggregate::{Aggregate, Part};
use sesame::actor::command::{Command as _, Facts};
use sesame::apps::model::ApiKey;
use sesame::apps::part::KeyEvent;
use sesame::kernel::cause::Cause;
use sesame::kernel::clock::Timestamp;
use sesame::kernel::ids::{
    ChangeId, ConstraintId, DeviceId, GrantId, KeyId, PermissionId, ProofId, RoleId, SecurityEventId, SessionId, UserId,
};
use sesame::kernel::secret::SecretHash;
use sesame::kernel::sheet::{Edit, Patch, Sheet};
use sesame::kernel::text::Email;
use sesame::preferences::model::Preferences;
use sesame::preferences::part::PreferencesSet;
use sesame::profiles::commands::{ChangeProfile, DeleteProfile};
use sesame::profiles::model::Profile;
use sesame::sessions::agent::ClientText;
use sesame::sessions::device::Device;
use sesame::sessions::ending::EndReason;
use sesame::sessions::model::{AuthenticationMethod, NewSession, Session};
use sesame::sessions::part::SessionEvent;
use sesame::sessions::risk::{Occasion, Oddity, Response, Risk, SecurityEvent};
use sesame::store::key::Kind;
use sesame::store::memory::Memory;
use sesame::store::{Commit, Store as _, codec};
use sesame::user::{User, UserEvent};

use crate::oracle::{RoleModel, RuleModel, account, constraint, given, permission, role, role_id, roles, stored_rule};

const NAMES: [&str; 8] =
    ["doc:read", "doc:write", "note:read", "note:write", "note/7:share", "doc.old:read", "sesame.users:read", "x:y"];

/// A change to a book, by numbers that are made to fit the book of that moment.
#[derive(Debug, Clone)]
enum Change {
    Define(&'static str),
    RemovePermission(Index),
    Roles(Vec<RoleModel>),
    Rename(Index, u8),
    RemoveRole(Index),
    KeepApart(Index, Index),
    RemoveConstraint(Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => select(&NAMES[..]).prop_map(Change::Define),
        1 => any::<Index>().prop_map(Change::RemovePermission),
        4 => roles(6).prop_map(Change::Roles),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(role, name)| Change::Rename(role, name)),
        2 => any::<Index>().prop_map(Change::RemoveRole),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Change::KeepApart(one, other)),
        1 => any::<Index>().prop_map(Change::RemoveConstraint),
    ]
}

/// The entries of a book, kept plainly beside it.
#[derive(Default)]
struct Entries {
    permissions: BTreeMap<PermissionId, Permission>,
    roles: BTreeMap<RoleId, Role>,
    constraints: BTreeMap<ConstraintId, Constraint>,
    numbers_used: u32,
}

impl Entries {
    /// The events that a change means now.
    fn events(&mut self, change: &Change) -> Vec<BookEvent> {
        match change {
            Change::Define(name) => self.define(name).into_iter().collect(),
            Change::RemovePermission(index) => {
                let Some(id) = nth(&self.permissions, *index) else { return Vec::new() };
                self.permissions.remove(&id);
                vec![BookEvent::PermissionRemoved(id)]
            }
            Change::Roles(models) => self.redefine(models),
            Change::Rename(index, name) => {
                let Some(id) = nth(&self.roles, *index) else { return Vec::new() };
                let renamed = self.roles.get_mut(&id).unwrap();
                renamed.name = sesame::kernel::text::RoleName::parse(&format!("{id} {name}")).unwrap();
                vec![BookEvent::RoleDefined(renamed.clone())]
            }
            Change::RemoveRole(index) => {
                let Some(id) = nth(&self.roles, *index) else { return Vec::new() };
                let is_named = self.constraints.values().any(|one| one.role_ids.contains(&id));
                if is_named || self.roles.values().any(|role| role.parent_role_ids.contains(&id)) {
                    return Vec::new();
                }
                self.roles.remove(&id);
                vec![BookEvent::RoleRemoved(id)]
            }
            Change::KeepApart(one, other) => {
                let roles = [one, other].into_iter().filter_map(|index| nth(&self.roles, *index));
                let mut new = constraint(self.constraints.len(), ConstraintKind::Static, &(BTreeSet::new(), 2));
                new.role_ids = roles.collect::<BTreeSet<_>>().into_iter().collect();
                self.constraints.insert(new.id, new.clone());
                vec![BookEvent::ConstraintDefined(new)]
            }
            Change::RemoveConstraint(index) => {
                let Some(id) = nth(&self.constraints, *index) else { return Vec::new() };
                self.constraints.remove(&id);
                vec![BookEvent::ConstraintRemoved(id)]
            }
        }
    }

    fn define(&mut self, name: &str) -> Option<BookEvent> {
        if self.permissions.values().any(|one| one.name.as_str() == name) {
            return None;
        }
        let new = permission(self.numbers_used, name);
        self.numbers_used += 1;
        self.permissions.insert(new.id, new.clone());
        Some(BookEvent::PermissionDefined(new))
    }

    /// Makes the first roles what these models say. Parents have smaller numbers, so no circle ever closes.
    fn redefine(&mut self, models: &[RoleModel]) -> Vec<BookEvent> {
        let mut events = Vec::new();
        for (number, model) in models.iter().enumerate() {
            let version = self.roles.get(&role_id(number)).map_or(1, |old| old.version + 1);
            let new = role(number, model, version);
            self.roles.insert(new.id, new.clone());
            events.push(BookEvent::RoleDefined(new));
        }
        events
    }

    fn book(&self) -> RoleBook {
        let (permissions, roles) = (self.permissions.values().cloned(), self.roles.values().cloned());
        RoleBook::of(permissions.collect(), roles.collect())
            .with_constraints(self.constraints.values().cloned().collect())
    }
}

fn nth<K: Copy, V>(map: &BTreeMap<K, V>, index: Index) -> Option<K> {
    (!map.is_empty()).then(|| *map.keys().nth(index.index(map.len())).unwrap())
}

/// The whole of a book, in a form that can be compared.
type Whole = (Vec<Permission>, Vec<(Role, String)>, Vec<Constraint>);

fn whole(book: &RoleBook) -> Whole {
    let permissions = book.permissions().map(|one| Permission::clone(one)).collect();
    let closure =
        |id| format!("{:?}", book.closure(id).map(|closure| (members(&closure.allow), members(&closure.deny))));
    let told = |id| format!("{} {:?}", closure(id), book.separation().marks(id));
    let roles = book.roles().map(|role| (Role::clone(role), told(role.id))).collect();
    for role in book.roles() {
        assert_eq!(book.role_named(&role.name).map(|found| found.id), Some(role.id));
    }
    for permission in book.permissions() {
        assert_eq!(book.permission_named(permission.name.as_str()), Some(permission));
    }
    // Of a role that is not there, nothing is known.
    (0..10).filter(|number| book.role(role_id(*number)).is_none()).for_each(|number| {
        assert!(book.separation().marks(role_id(number)).is_empty(), "role {number}");
    });
    (permissions, roles, book.separation().constraints().map(|one| Constraint::clone(one)).collect())
}

fn members(bits: &roaring::RoaringBitmap) -> Vec<u32> {
    bits.iter().collect()
}

/// Applies the events, writes them to the store as an actor would, and reads the entity back.
pub(crate) fn written<A: Aggregate>(store: &Memory, before: &A, events: &[A::Event]) -> (A, A) {
    let (mut after, mut commit) = (before.clone(), Commit::default());
    for event in events {
        after.apply(event);
    }
    after.record_head(&mut commit).unwrap();
    for event in events {
        after.record(before, event, &mut commit).unwrap();
    }
    after.stamp(store.commit(commit).blocking_recv().unwrap().unwrap());
    let read = read::<A>(store, after.id());
    (after, read)
}

/// The entity as the store has it.
pub(crate) fn read<A: Aggregate>(store: &Memory, id: A::Id) -> A {
    let records = A::parts(id).into_iter().flat_map(|part| match part {
        Part::One(key) => store.read(&key).unwrap().into_iter().collect(),
        Part::All(prefix) => store.scan(prefix.bytes(), None, 100_000).unwrap(),
    });
    A::from_records(id, records.collect()).unwrap()
}

pub(crate) fn next_number(book: &RoleBook) -> u32 {
    let name = PermissionName::parse("never:defined").unwrap();
    let id = PermissionId::from_uuid(Uuid::from_u128(1 << 100));
    let command = DefinePermission { id, name, description: None, conditions: Vec::new() };
    let facts = Facts { now: Timestamp::default(), cause: Cause::system("test") };
    command.decide(book, &facts).unwrap().reply.number
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_role_book_changed_step_by_step_is_the_book_made_at_once(changes in vec(change(), 1..20)) {
        let (mut entries, store) = (Entries::default(), Memory::new());
        let (mut book, _) = written(&store, &RoleBook::vacant(THE_BOOK), &[BookEvent::Opened]);
        for change in &changes {
            let (after, read) = written(&store, &book, &entries.events(change));
            prop_assert_eq!(whole(&after), whole(&entries.book()), "{:?}", change);
            prop_assert_eq!(whole(&read), whole(&after), "{:?}", change);
            prop_assert_eq!((read.version(), next_number(&read)), (after.version(), next_number(&after)));
            book = after;
        }
    }
}

/// Something that happens to a user.
#[derive(Debug, Clone)]
enum Happening {
    Rename(u8),
    Suspend,
    Password(u8),
    SignIn,
    SignOut(Index),
    IssueKey,
    RevokeKey(Index),
    Assign(usize, &'static str, Option<i64>),
    Unassign(Index),
    Grant(&'static str, &'static str),
    Revoke(Index),
    Device(u8),
    Move(Index, u8),
    Forget(Index),
    Note,
    Proof(bool),
    Spend(Index),
    Factors(bool),
    Profile(u8),
    ForgetProfile,
    Prefer(bool),
    Delete,
}

fn happening() -> impl Strategy<Value = Happening> {
    let scope = || select(&["", "org", "org/acme", "x"][..]);
    prop_oneof![
        1 => any::<u8>().prop_map(Happening::Rename),
        1 => Just(Happening::Suspend),
        1 => any::<u8>().prop_map(Happening::Password),
        3 => Just(Happening::SignIn),
        1 => any::<Index>().prop_map(Happening::SignOut),
        2 => Just(Happening::IssueKey),
        1 => any::<Index>().prop_map(Happening::RevokeKey),
        5 => (0..4_usize, scope(), any::<Option<i64>>()).prop_map(|(a, b, c)| Happening::Assign(a, b, c)),
        2 => any::<Index>().prop_map(Happening::Unassign),
        3 => (select(&["doc:*", "*", "*:read", "doc:read"][..]), scope()).prop_map(|(a, b)| Happening::Grant(a, b)),
        1 => any::<Index>().prop_map(Happening::Revoke),
        2 => any::<u8>().prop_map(Happening::Device),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(device, place)| Happening::Move(device, place)),
        1 => any::<Index>().prop_map(Happening::Forget),
        2 => Just(Happening::Note),
        2 => any::<bool>().prop_map(Happening::Proof),
        1 => any::<Index>().prop_map(Happening::Spend),
        1 => any::<bool>().prop_map(Happening::Factors),
        3 => any::<u8>().prop_map(Happening::Profile),
        1 => Just(Happening::ForgetProfile),
        2 => any::<bool>().prop_map(Happening::Prefer),
        1 => Just(Happening::Delete),
    ]
}

fn bounds(scope: &str, expires_at: Option<i64>) -> Bounds {
    let scope = if scope.is_empty() { Scope::everywhere() } else { Scope::parse(scope).unwrap() };
    Bounds { scope, not_before: None, expires_at: expires_at.map(Timestamp::from_millis) }
}

fn at<T>(list: &[T], index: Index) -> Option<&T> {
    (!list.is_empty()).then(|| &list[index.index(list.len())])
}

/// The event that a happening means for this user; ids grow with `step`, as they do in time.
fn event(user: &User, happening: &Happening, step: u128) -> Option<UserEvent> {
    let uuid = Uuid::from_u128(step);
    let secret = SecretHash::of(&step.to_be_bytes());
    let changed = |status, username: &str| {
        let mut account = account(username, status);
        account.version = user.account().unwrap().version + 1;
        account
    };
    Some(match happening {
        Happening::Rename(number) => {
            UserEvent::Account(AccountEvent::Changed(changed(Status::Active, &format!("u{number}"))))
        }
        Happening::Suspend => {
            UserEvent::Account(AccountEvent::Suspended(changed(Status::Suspended, user.account()?.username.as_str())))
        }
        Happening::Password(text) => UserEvent::Account(AccountEvent::PasswordSet(Credential {
            phc: text.to_string().into(),
            is_imported: false,
        })),
        Happening::SignIn => UserEvent::Session(SessionEvent::Started(Arc::new(session(uuid, secret)))),
        Happening::SignOut(index) => {
            let id = at(&user.sessions.sessions, *index)?.id;
            let facts = Facts { now: Timestamp::default(), cause: Cause::system("test") };
            UserEvent::Session(user.sessions.ending(EndReason::SignedOut, &facts, |session| session.id == id)?)
        }
        Happening::IssueKey => {
            let key = ApiKey::made(KeyId::from_uuid(uuid), secret, None, None, Timestamp::default());
            UserEvent::Key(KeyEvent::Issued(key))
        }
        Happening::RevokeKey(index) => UserEvent::Key(KeyEvent::Revoked(at(&user.keys.keys, *index)?.id)),
        Happening::Assign(role, scope, end) => UserEvent::Access(AccessEvent::RoleAssigned(Assignment {
            role_id: role_id(*role),
            bounds: bounds(scope, *end),
            given: given(),
        })),
        Happening::Unassign(index) => {
            let held = at(&user.holdings.assignments, *index)?;
            UserEvent::Access(AccessEvent::RoleUnassigned(held.role_id, held.bounds.scope.clone()))
        }
        Happening::Grant(pattern, scope) => UserEvent::Access(AccessEvent::RuleGranted(Grant {
            id: GrantId::from_uuid(uuid),
            rule: stored_rule(RuleModel { denies: step.is_multiple_of(2), pattern, condition: None }),
            bounds: bounds(scope, None),
            given: given(),
        })),
        Happening::Revoke(index) => UserEvent::Access(AccessEvent::GrantRevoked(at(&user.holdings.grants, *index)?.id)),
        Happening::Device(place) => {
            let (id, at) = (DeviceId::from_uuid(uuid), Some([10, 0, *place, 1].into()));
            let device = Device::first_seen(id, secret, None, ClientText::default(), at, Timestamp::default());
            UserEvent::Session(SessionEvent::DeviceAdded(Arc::new(device)))
        }
        Happening::Move(index, place) => {
            let mut device = at(&user.sessions.devices, *index)?.draft(Timestamp::default());
            let address = [10, 0, *place, 1].into();
            if place.is_multiple_of(2) {
                device.move_to(address);
            } else {
                device.suspect(Risk::default().with(Oddity::NewNetwork), Some(address));
            }
            UserEvent::Session(SessionEvent::DeviceMoved(Arc::new(device)))
        }
        Happening::Forget(index) => {
            UserEvent::Session(SessionEvent::DevicesForgotten(vec![at(&user.sessions.devices, *index)?.id]))
        }
        Happening::Note => UserEvent::Session(SessionEvent::Noted(SecurityEvent {
            id: SecurityEventId::from_uuid(uuid),
            at: Timestamp::default(),
            occasion: Occasion::Request,
            risk: Risk::default().with(Oddity::NewNetwork),
            response: Response::Log,
            session: None,
            device: None,
            ip_address: None,
            user_agent: None,
        })),
        Happening::Proof(is_reset) => UserEvent::Account(AccountEvent::ProofMade(Proof {
            session: None,
            id: ProofId::from_uuid(uuid),
            secret,
            purpose: if *is_reset { ProofPurpose::ResetPassword } else { ProofPurpose::VerifyEmail },
            email: Email::parse("ann@example.org").unwrap(),
            made_at: Timestamp::default(),
            expires_at: Timestamp::default().plus_seconds(1),
        })),
        Happening::Factors(are_there) => {
            let factors = Factors { recovery: vec![secret], ..Factors::default() };
            let factors = are_there.then(|| Box::new(factors));
            UserEvent::Account(AccountEvent::FactorsChanged(factors, FactorChange::CodesRenewed))
        }
        Happening::Spend(index) => {
            UserEvent::Account(AccountEvent::ProofsSpent(vec![at(&user.accounts.proofs, *index)?.id]))
        }
        Happening::Profile(text) => return profile_event(user, Some(*text), uuid),
        Happening::ForgetProfile => return profile_event(user, None, uuid),
        Happening::Prefer(flag) => {
            let (version, mut own) = (user.preferences.version() + 1, Sheet::default());
            own.set("accessibility.captions", &flag.to_string());
            UserEvent::Preferences(PreferencesSet(Arc::new(Preferences { version, own, updated_at: None })))
        }
        Happening::Delete => UserEvent::Account(AccountEvent::Deleted),
    })
}

/// A profile with this text, or none any more.
fn profile_event(user: &User, text: Option<u8>, uuid: Uuid) -> Option<UserEvent> {
    // Somebody asks who is signed in.
    let (mut user, asking) = (user.clone(), session(uuid, SecretHash::of(b"asking")));
    let session = asking.id;
    user.apply(&UserEvent::Session(SessionEvent::Started(Arc::new(asking))));
    let base = Arc::new(Profile { version: user.profiles.version(), ..Profile::default() });
    let decision = if let Some(text) = text {
        let patch = Patch(vec![Edit { path: "bio".into(), to: Some(format!("\"{text}\"").into()) }]);
        ChangeProfile { base, patch, change: ChangeId::from_uuid(uuid), undoes: None, session }.decide(&user, &facts())
    } else {
        DeleteProfile { base, changes: user.profiles.marks().changes, forgotten: vec![0, 1, 49], session }
            .decide(&user, &facts())
    };
    // Whoever may not act changes nothing.
    decision.ok()?.events.pop()
}

fn facts() -> Facts {
    Facts { now: Timestamp::default(), cause: Cause::system("test") }
}

fn session(id: Uuid, secret: SecretHash) -> Session {
    let new = NewSession {
        id: SessionId::from_uuid(id),
        secret,
        lifetime_seconds: 100,
        idle_seconds: 10,
        methods: AuthenticationMethod::Password.into(),
        ip_address: Some("2001:db8::1".parse().unwrap()),
        user_agent: Some("t/1".into()),
        device: None,
        refresh: None,
        is_remembered: false,
    };
    Session::begin(new, Timestamp::from_millis(5))
}

/// A user in a form that can be compared: every part as its records.
fn told(user: &User) -> (String, Vec<Vec<u8>>) {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    parts.extend(user.accounts.credential.iter().map(|one| codec::encode(one).unwrap()));
    parts.extend(user.sessions.sessions.iter().map(|one| codec::encode(&**one).unwrap()));
    parts.extend(user.sessions.devices.iter().map(|one| codec::encode(&**one).unwrap()));
    parts.extend(user.sessions.history().map(|one| codec::encode(&one).unwrap()));
    parts.extend(user.keys.keys.iter().map(|one| codec::encode(one).unwrap()));
    parts.extend(user.holdings.assignments.iter().map(|one| codec::encode(one).unwrap()));
    parts.extend(user.holdings.grants.iter().map(|one| codec::encode(one).unwrap()));
    parts.push(codec::encode(&user.profiles.marks()).unwrap());
    (format!("{:?} {:?} {}", user.id(), user.account(), user.preferences.version()), parts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_user_written_down_comes_back_as_it_was(happenings in vec(happening(), 1..30)) {
        let store = Memory::new();
        let vacant = User::vacant(UserId::from_uuid(Uuid::from_u128(7)));
        let born = || UserEvent::Account(AccountEvent::Created { account: account("ann", Status::Active), credential: None });
        let (mut user, _) = written(&store, &vacant, &[born()]);
        for (step, happening) in happenings.iter().enumerate() {
            if user.is_vacant() {
                user = written(&store, &vacant, &[born()]).0;
            }
            let Some(event) = event(&user, happening, step as u128) else { continue };
            let (after, read) = written(&store, &user, &[event]);
            prop_assert_eq!(told(&read), told(&after), "{:?}", happening);
            prop_assert_eq!(read.is_vacant(), after.is_vacant());
            if after.is_vacant() {
                let left = [Kind::EndedSession, Kind::SecurityEvent, Kind::HistoryCount, Kind::Device]
                    .into_iter()
                    .chain([Kind::ProfileMarks, Kind::Profile, Kind::ProfileChange, Kind::Preferences, Kind::PreferenceMarks, Kind::Consent])
                    .map(|kind| store.scan(&[kind as u8], None, 10).unwrap().len());
                prop_assert_eq!(left.sum::<usize>(), 0, "what is left of a deleted user");
            } else {
                prop_assert_eq!(read.version(), after.version());
            }
            user = after;
        }
    }
}

//! Models of threads: what is published while others read, in many orders of their steps (shuttle).
//!
//! The code is the product's own: what follows a durable commit (`entity_actor::carried_out`), the published book, the
//! checks with their joins. Each access to what is published is a step before which any other thread may go on
//! (`kernel/step`). The actors, which run one command of an entity after the other, are the threads that write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::future::block_on;
use shuttle::sync::atomic::AtomicBool;
use shuttle::thread;

use crate::access::book_aggregate::THE_BOOK;
use crate::access::checks::{Ask, Checks, Subject};
use crate::access::model::{Assignment, Bounds, Given, Permission, Role, Rule};
use crate::access::part::AccessEvent;
use crate::access::pattern::{Effect, Pattern, PermissionName, Scope};
use crate::access::published::PublishedBook;
use crate::access::role_book::RoleBook;
use crate::accounts::model::{Account, Nature, Properties, Status};
use crate::accounts::names::{Finder, Names};
use crate::accounts::part::AccountEvent;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::directory::{Directory, Surroundings};
use crate::housekeeping;
use crate::kernel::cause::Actor;
use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::ids::{PermissionId, RoleId, SessionId, UserId};
use crate::kernel::secret::SecretHash;
use crate::kernel::step::modelled;
use crate::kernel::text::{RoleName, Username};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::resources::desk::ResourceDesk;
use crate::sessions::access_token::AccessTokens;
use crate::sessions::identity::Identities;
use crate::sessions::model::{Activation, AuthenticationMethod, NewSession, Session};
use crate::sessions::part::SessionEvent;
use crate::sessions::settings::Settings;
use crate::sessions::signing_keys;
use crate::sessions::terms::RoleTerms;
use crate::store::Revision;
use crate::store::memory::Memory;
use crate::user::{User, UserEvent};

/// Orders that each model is run in.
const ORDERS: usize = 3000;
/// Checks of each thread that asks.
const CHECKS: usize = 2;

/// A person who may have one role, which may allow to read; the checks that are asked about it.
struct World {
    users: Directory<User>,
    books: Directory<RoleBook>,
    checks: Checks,
    person: UserId,
    session: SessionId,
    role: RoleId,
    permission: Permission,
    now: Timestamp,
    newest: AtomicU64,
}

impl World {
    fn new() -> Arc<Self> {
        let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new().unwrap()));
        let now = clock.now();
        let around = Surroundings {
            store: Arc::new(Memory::new()),
            clock,
            loader: Arc::new(Pool::new("loader", 1, 1).unwrap()),
            arbiters: Vec::new(),
            metrics: Arc::clone(&metrics),
            mailbox_capacity: 1,
            deadline: std::time::Duration::from_secs(1),
        };
        let (names, published) = (Arc::new(Names::default()), Arc::new(PublishedBook::default()));
        let users = Directory::new(around.clone(), housekeeping::user_watcher(&names, &metrics));
        let books = Directory::new(around.clone(), housekeeping::book_watcher(&published, &metrics));
        let finder = Finder::new(users.clone(), names, &around);
        let keys = vec![signing_keys::create(tempfile::tempdir().unwrap().path(), now).unwrap()];
        let access_tokens = Arc::new(AccessTokens::new(keys, "https://here".into(), 60, 1).unwrap());
        let identities = Identities::new(&users, access_tokens, &Settings::default());
        let resources = Arc::new(ResourceDesk::new(around, 1 << 20).unwrap());
        let checks = Checks::new(finder, identities, books.clone(), published, resources, &metrics);
        let permission = Permission {
            id: PermissionId::generate(now),
            number: 0,
            name: PermissionName::of("paper", "read").unwrap(),
            description: None,
            conditions: Vec::new(),
            created_at: now,
            updated_at: now,
            version: 1,
        };
        let (person, session, role) = (UserId::generate(now), SessionId::generate(now), RoleId::generate(now));
        let newest = AtomicU64::new(0);
        let world = Self { users, books, checks, person, session, role, permission, now, newest };
        world.users.hold(world.user(true));
        world.books.hold(world.book(true));
        Arc::new(world)
    }

    /// The book in which the role allows to read, or nothing.
    fn book(&self, allows: bool) -> RoleBook {
        let pattern = Pattern::Exact(self.permission.name.clone());
        let reading = Rule { effect: Effect::Allow, pattern, condition: None };
        let role = Role {
            id: self.role,
            name: RoleName::parse("reader").unwrap(),
            description: None,
            parent_role_ids: Vec::new(),
            rules: Some(reading).filter(|_| allows).into_iter().collect(),
            is_active: true,
            is_built_in: false,
            session_terms: RoleTerms::default(),
            created_at: self.now,
            updated_at: self.now,
            version: 1,
        };
        RoleBook::of(vec![self.permission.clone()], vec![role])
    }

    /// The person, signed in for that role, who has it or not.
    fn user(&self, has_role: bool) -> User {
        let account = Account {
            nature: Nature::Person,
            username: Username::parse("ada").unwrap(),
            email: None,
            is_email_verified: false,
            external_id: None,
            status: Status::Active,
            properties: Properties::default(),
            created_at: self.now,
            updated_at: self.now,
            version: 1,
        };
        let new = NewSession {
            id: self.session,
            secret: SecretHash::of(b"secret"),
            lifetime_seconds: 1000,
            idle_seconds: 1000,
            methods: AuthenticationMethod::Password.into(),
            ip_address: None,
            user_agent: None,
            device: None,
            refresh: None,
            is_remembered: false,
        };
        let mut session = Session::begin(new, self.now);
        session.activation = Some(Arc::new(Activation { role_ids: Some([self.role].into()), at: self.now }));
        let given = Given::silently(Actor::System, self.now);
        let assignment = Assignment { role_id: self.role, bounds: Bounds::default(), given };
        let mut user = User::vacant(self.person);
        user.apply(&UserEvent::Account(AccountEvent::Created { account, credential: None }));
        user.apply(&UserEvent::Session(SessionEvent::Started(Arc::new(session))));
        if has_role {
            user.apply(&UserEvent::Access(AccessEvent::RoleAssigned(assignment)));
        }
        user
    }

    /// Writes the person, and is answered.
    fn write_user(&self, has_role: bool) {
        self.users.carried_out(self.person, self.user(has_role), self.next());
    }

    /// Writes the book, and is answered.
    fn write_book(&self, allows: bool) {
        self.books.carried_out(THE_BOOK, self.book(allows), self.next());
    }

    fn next(&self) -> Revision {
        Revision(self.newest.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// The questions whose answers must be the same: about the person, and about the person in the session.
    fn asks(&self) -> [Ask; 2] {
        let ask = |subject| Ask { subject, permission: "paper:read".into(), scope: Scope::default(), passed: None };
        [ask(Subject::Id(self.person)), ask(Subject::SessionOf(self.person, self.session))]
    }

    /// Whether the person may read: asked alone, or with both questions in one batch.
    fn allows(&self, turn: usize) -> bool {
        let [plain, in_session] = self.asks();
        match turn % 3 {
            0 => block_on(self.checks.check(&plain, None, self.now)).unwrap().reason.allows(),
            1 => block_on(self.checks.check(&in_session, None, self.now)).unwrap().reason.allows(),
            _ => {
                let asks = [plain, in_session];
                // Where everything changes all the time there is no answer.
                let Ok((reasons, _)) = block_on(self.checks.check_all(&asks, None, self.now)) else { return false };
                assert_eq!(reasons[0].allows(), reasons[1].allows(), "one moment: {reasons:?}");
                reasons[0].allows()
            }
        }
    }
}

/// Runs what writes beside two threads that ask; `look` is given whether the person may read, and what had been told
/// before it was asked.
fn beside_checks(before: fn(&World), write: fn(&World), look: fn(is_allowed: bool, was_told: bool)) {
    let world = World::new();
    modelled(ORDERS, move || {
        before(&world);
        let told = Arc::new(AtomicBool::new(false));
        let asking = (0..2).map(|number| {
            let (world, told) = (Arc::clone(&world), Arc::clone(&told));
            thread::spawn(move || {
                for turn in 0..CHECKS {
                    let was_told = told.load(Ordering::SeqCst);
                    look(world.allows(number + 2 * turn), was_told);
                }
            })
        });
        let asking: Vec<_> = asking.collect();
        write(&world);
        told.store(true, Ordering::SeqCst);
        for one in asking {
            one.join().unwrap();
        }
        (0..3).for_each(|turn| look(world.allows(turn), true));
    });
}

#[test]
fn once_a_role_that_allows_less_is_answered_no_check_allows() {
    beside_checks(
        |world| {
            world.write_user(true);
            world.write_book(true);
            assert!(world.allows(0) && world.allows(1), "joined before");
        },
        |world| world.write_book(false),
        |is_allowed, was_told| assert!(!(is_allowed && was_told)),
    );
}

#[test]
fn once_the_end_of_an_assignment_is_answered_no_check_allows() {
    beside_checks(
        |world| {
            world.write_user(true);
            world.write_book(true);
        },
        |world| world.write_user(false),
        |is_allowed, was_told| assert!(!(is_allowed && was_told)),
    );
}

#[test]
fn once_a_denial_is_lifted_and_answered_every_check_allows() {
    beside_checks(
        |world| {
            world.write_user(true);
            world.write_book(false);
        },
        |world| world.write_book(true),
        |is_allowed, was_told| assert!(is_allowed || !was_told),
    );
}

#[test]
fn what_was_so_at_no_moment_is_answered_by_no_check() {
    beside_checks(
        |world| {
            world.write_user(false);
            world.write_book(true);
        },
        // The role is given once it allows nothing; then it is taken, and allows again.
        |world| {
            world.write_book(false);
            world.write_user(true);
            world.write_user(false);
            world.write_book(true);
        },
        |is_allowed, _| assert!(!is_allowed),
    );
}

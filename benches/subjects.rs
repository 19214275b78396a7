//! Fills a store without the API: the records are the product's own, made by its own aggregates, many users to a commit.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sesame::access::book_aggregate::BookEvent;
use sesame::access::expiry::{self, Expiry};
use sesame::access::holders::{self, RoleHolder};
use sesame::access::model::{Assignment, Bounds, Given, Permission, Role, Rule};
use sesame::access::part::AccessEvent;
use sesame::access::pattern::{Effect, Pattern, PermissionName};
use sesame::access::role_book::RoleBook;
use sesame::accounts::model::{Account, Credential, Nature, Properties, Status};
use sesame::accounts::part::AccountEvent;
use sesame::actor::aggregate::Aggregate as _;
use sesame::kernel::cause::Actor;
use sesame::kernel::clock::Timestamp;
use sesame::kernel::ids::{DeviceId, PermissionId, RoleId, SessionId, UserId};
use sesame::kernel::secret::{SecretHash, ShortHash};
use sesame::kernel::text::{Email, RoleName, Username};
use sesame::sessions::agent::ClientText;
use sesame::sessions::device::{Device, Network};
use sesame::sessions::model::{AuthenticationMethod, NewSession, Session};
use sesame::sessions::part::SessionEvent;
use sesame::sessions::refresh::Refresh;
use sesame::sessions::terms::RoleTerms;
use sesame::store::{Commit, Store, codec};
use sesame::user::{User, UserEvent};

/// So many users are written in one commit: it is bounded in bytes.
pub(crate) const USERS_PER_COMMIT: usize = 500;
/// So many browsers, systems and versions are about.
const BROWSERS: u32 = 1000;
/// Where everybody is.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The hash of a password, as long as one of the default cost.
const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$gZiV/M1gPc22ElAH/Jh1Hw$CWOrkoo7oJBQ/iyh7uJ0LO2aLEfrHwTWllSAxT0zRno";

/// Writes one commit and waits until it is durable.
pub(crate) fn write(store: &dyn Store, commit: Commit) -> anyhow::Result<()> {
    store.commit(commit).blocking_recv()??;
    Ok(())
}

/// A role book with these roles, each a list of names that it allows to `read`; every name is a permission of its own.
pub(crate) fn book(roles: &[Vec<String>], now: Timestamp) -> anyhow::Result<(Commit, Vec<RoleId>)> {
    let name = |resource: &String| PermissionName::of(resource, "read").map_err(anyhow::Error::new);
    let mut permissions = Vec::new();
    for (number, resource) in roles.iter().flatten().enumerate() {
        permissions.push(Permission {
            id: PermissionId::generate(now),
            number: u32::try_from(number)?,
            name: name(resource)?,
            description: None,
            conditions: Vec::new(),
            created_at: now,
            updated_at: now,
            version: 1,
        });
    }
    let mut made = Vec::new();
    for (number, resources) in roles.iter().enumerate() {
        let allow =
            |resource| Ok(Rule { effect: Effect::Allow, pattern: Pattern::Exact(name(resource)?), condition: None });
        made.push(Role {
            id: RoleId::generate(now),
            name: RoleName::parse(&format!("role{number}"))?,
            description: None,
            parent_role_ids: Vec::new(),
            rules: resources.iter().map(allow).collect::<anyhow::Result<_>>()?,
            is_active: true,
            is_built_in: false,
            session_terms: RoleTerms::default(),
            created_at: now,
            updated_at: now,
            version: 1,
        });
    }
    let ids = made.iter().map(|role| role.id).collect();
    let whole = RoleBook::of(permissions.clone(), made.clone());
    let events = permissions.into_iter().map(BookEvent::PermissionDefined);
    let mut commit = Commit::default();
    for event in events.chain(made.into_iter().map(BookEvent::RoleDefined)) {
        whole.record(&RoleBook::default(), &event, &mut commit)?;
    }
    whole.record_head(&mut commit)?;
    // Each assignment below is written with its entry among the holders, and none ends: no start has to look for them.
    commit.put(holders::completion(), codec::encode(&RoleHolder)?);
    commit.put(expiry::completion(), codec::encode(&Expiry)?);
    Ok((commit, ids))
}

/// Adds a person with these roles, everywhere and for ever, who has an address and a password, and is signed in so many
/// times with one browser: what creating and signing in leave.
pub(crate) fn person(
    number: u32,
    roles: &[RoleId],
    sessions: u32,
    now: Timestamp,
    commit: &mut Commit,
) -> anyhow::Result<UserId> {
    let id = UserId::generate(now);
    let account = Account {
        nature: Nature::Person,
        username: Username::parse(&format!("user{number}"))?,
        email: Some(Email::parse(&format!("user{number}@example.org"))?),
        is_email_verified: true,
        external_id: None,
        status: Status::Active,
        properties: Properties::default(),
        created_at: now,
        updated_at: now,
        version: 1,
    };
    let credential = Credential { phc: PHC.into(), is_imported: false };
    let version = number % BROWSERS;
    let browser = format!("Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0");
    let client = ClientText { user_agent: Some(browser.as_str().into()), ..ClientText::default() };
    let (device_id, secret) = (DeviceId::generate(now), SecretHash::of(&number.to_le_bytes()));
    let device = Device::first_seen(device_id, secret, None, client.clone(), Some(ADDRESS), now);
    let hash = |number: u32| ShortHash::of(&number.to_be_bytes());
    let session = |number: u32| {
        let new = NewSession {
            id: SessionId::generate(now),
            secret: SecretHash::of(&number.to_be_bytes()),
            lifetime_seconds: 30 * 86_400,
            idle_seconds: 86_400,
            methods: AuthenticationMethod::Password.into(),
            ip_address: Some(ADDRESS),
            user_agent: client.user_agent.clone(),
            device: Some(device_id),
            refresh: Some(Refresh::begin(hash(number), hash(!number), Some(Network::of(ADDRESS)), now)),
            is_remembered: false,
        };
        UserEvent::Session(SessionEvent::Started(Arc::new(Session::begin(new, now))))
    };
    let given = Given::silently(Actor::System, now);
    let mut events = vec![UserEvent::Account(AccountEvent::Created { account, credential: Some(credential) })];
    events.extend(roles.iter().map(|role_id| {
        let assignment = Assignment { role_id: *role_id, bounds: Bounds::default(), given: given.clone() };
        UserEvent::Access(AccessEvent::RoleAssigned(assignment))
    }));
    if sessions > 0 {
        events.push(UserEvent::Session(SessionEvent::DeviceAdded(Arc::new(device))));
    }
    events.extend((0..sessions).map(|of_the_user| session(number * sessions.max(1) + of_the_user)));
    let vacant = User::vacant(id);
    let mut user = vacant.clone();
    for event in &events {
        user.apply(event);
    }
    for event in &events {
        user.record(&vacant, event, commit)?;
    }
    user.record_head(commit)?;
    Ok(id)
}

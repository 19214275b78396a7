//! Beginning a session: terms, limits, the device, and how unusual it is, in one decision.

use std::collections::HashSet;
use std::sync::Arc;

use crate::access::role_book::RoleBook;
use crate::accounts::evidence::Evidence;
use crate::accounts::letters::Letters;
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::{DeviceId, RoleId, SecurityEventId, SessionId};
use crate::kernel::secret::SecretHash;
use crate::sessions::agent::ClientText;
use crate::sessions::commands::activate::chosen;
use crate::sessions::device::{Device, MAX_DEVICES};
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionError;
use crate::sessions::model::{Activation, NewSession, Session};
use crate::sessions::part::{SessionEvent, SessionPart};
use crate::sessions::risk::{Occasion, Oddity, Policy, Response, Risk, SecurityEvent};
use crate::sessions::terms::{LimitPolicy, Terms};
use crate::user::{User, UserEvent};

/// The device that somebody signs in with, as far as it is known before it is looked up.
#[derive(Debug, Clone)]
pub struct DeviceClaim {
    /// The id, and the hash of the secret, of the token it showed.
    pub shown: Option<(DeviceId, SecretHash)>,
    /// What a new device is to be.
    pub fresh: (DeviceId, SecretHash),
    /// As its owner calls it.
    pub name: Option<Box<str>>,
    /// What it says it is.
    pub client: ClientText,
}

/// Begins a session for a person who just proved who they are.
#[derive(Debug, Clone)]
pub struct StartSession {
    /// The session to begin; its number, which its id tells, and how long it lasts are decided here.
    pub new: NewSession,
    /// What they showed: if it does not hold any more, the sign-in fails.
    pub evidence: Evidence,
    /// How long it may last, and how many there may be, whoever it is.
    pub terms: Terms,
    /// The roles, which may be stricter.
    pub book: Arc<RoleBook>,
    /// The roles that it uses from its beginning (ANSI INCITS 359, `CreateSession`), as if they were chosen then; none: all.
    pub role_ids: Option<Vec<RoleId>>,
    /// The device.
    pub claim: DeviceClaim,
    /// The session that was presented with the sign-in: the new one takes its place.
    pub replaces: Option<SessionId>,
    /// What was found to be unusual before.
    pub risk: Risk,
    /// What to do about what is unusual.
    pub policy: Policy,
    /// Writes the mail that tells of it.
    pub letters: Arc<Letters>,
}

/// What a sign-in came to.
#[derive(Debug, Clone)]
pub enum Begun {
    /// A session.
    Session {
        /// It.
        session: Arc<Session>,
        /// Its device.
        device: Arc<Device>,
        /// So many others ended for it.
        ended: usize,
    },
    /// Nothing: it looked too unlike the owner.
    Refused,
}

impl Command for StartSession {
    type Target = User;
    type Reply = Begun;
    type Refusal = SessionError;
    const NAME: &'static str = "start_session";
    const REVOKES: bool = true;

    fn has_revoked(reply: &Begun) -> bool {
        matches!(reply, Begun::Session { ended: 1.., .. })
    }

    fn decide(mut self, user: &User, facts: &Facts) -> Result<Decision<User, Begun>, SessionError> {
        self.new.id = self.new.id.numbered(user.sessions.next_number());
        let accepted = self.evidence.clone().accept(user, facts.now)?;
        let part = &*user.sessions;
        let terms = strictest(self.terms, user, &self.book, facts);
        let shown = self.shown(part);
        let risk = self.risk.and(shown.oddities(part, facts));
        // What is to be proved on a device is so whatever the policy has become since.
        let response = self.policy.response(risk).max(shown.is_suspected().then_some(Response::StepUp));
        let noted = response.map(|response| self.noted(risk, response, shown.id(), facts));
        let alert = noted.as_ref().map(|noted| self.letters.alert(user, noted, facts));
        let alert = alert.transpose().map_err(|error| SessionError::Letter(error.to_string()))?.flatten();
        let alert = alert.map(UserEvent::Mail);
        if response == Some(Response::Revoke) {
            let noted = noted.map(SessionEvent::Noted).map(UserEvent::Session);
            return Ok(Decision { events: noted.into_iter().chain(alert).collect(), reply: Begun::Refused });
        }
        let is_to_prove = response == Some(Response::StepUp);
        let role_ids = self.role_ids.take().map(|roles| chosen(roles, user, &self.book, facts)).transpose()?;
        let activation = role_ids.map(|roles| Arc::new(Activation { role_ids: Some(roles), at: facts.now }));
        let places = self.places(part, &terms, is_to_prove, facts)?;
        let (device, device_event) = self.device(&shown, is_to_prove.then_some(risk), facts);
        let session = self.session(&device, &terms, (risk, response), activation, facts);
        if device.created_at < facts.now && device_event.is_none() {
            device.seen_at(facts.now);
        }
        let mut events = vec![SessionEvent::Started(Arc::clone(&session))];
        events.extend(part.ending(EndReason::Evicted, facts, |session| places.gone.contains(&session.id)).map(
            |event| match event {
                SessionEvent::Ended(mut ended) => {
                    let replaced = ended
                        .iter_mut()
                        .filter(|one| Some(one.id) == self.replaces && one.reason == EndReason::Evicted);
                    replaced.for_each(|one| one.reason = EndReason::Replaced);
                    SessionEvent::Ended(ended)
                }
                other => other,
            },
        ));
        if matches!(device_event, Some(SessionEvent::DeviceAdded(_))) {
            events.extend(crowded_out(part, &places.gone));
        }
        events.extend(device_event);
        events.extend(noted.map(SessionEvent::Noted));
        let events = accepted.into_iter().chain(events.into_iter().map(UserEvent::Session)).chain(alert).collect();
        Ok(Decision { events, reply: Begun::Session { session, device, ended: places.gone.len() } })
    }
}

/// The sessions that end so that there is room.
struct Places {
    gone: Vec<SessionId>,
}

/// The device that somebody signs in with.
enum Shown<'a> {
    /// One of theirs.
    Known(&'a Arc<Device>),
    /// A new one: its id, and the hash of its secret.
    New((DeviceId, SecretHash)),
}

impl Shown<'_> {
    fn id(&self) -> DeviceId {
        match self {
            Self::Known(device) => device.id,
            Self::New((id, _)) => *id,
        }
    }

    fn is_suspected(&self) -> bool {
        matches!(self, Self::Known(device) if device.is_suspected())
    }

    /// What is unusual about it.
    fn oddities(&self, part: &SessionPart, facts: &Facts) -> Risk {
        let address = facts.cause.ip_address;
        match self {
            Self::Known(known) => {
                let is_elsewhere = address.is_some_and(|address| !known.knows(address));
                known.risk().with_if(is_elsewhere, Oddity::NewNetwork)
            }
            Self::New(_) if part.devices.is_empty() => Risk::NONE,
            Self::New(_) => {
                let is_known = |address| part.devices.iter().any(|device| device.knows(address));
                let is_elsewhere = address.is_some_and(|address| !is_known(address));
                Risk::NONE.with(Oddity::NewDevice).with_if(is_elsewhere, Oddity::NewNetwork)
            }
        }
    }
}

impl StartSession {
    /// Which sessions end: those whose time is over, the one that is replaced, and as many as are too many. One that waits
    /// for a proof gives way first, whatever the policy, and drives out none that does not wait: who knows a password and
    /// no more signs the owner neither out nor away.
    fn places(
        &self,
        part: &SessionPart,
        terms: &Terms,
        is_to_prove: bool,
        facts: &Facts,
    ) -> Result<Places, SessionError> {
        let stays = |session: &&Arc<Session>| session.is_active(facts.now) && Some(session.id) != self.replaces;
        let (mut alive, over): (Vec<_>, Vec<_>) = part.sessions.iter().partition(stays);
        let too_many = (alive.len() + 1).saturating_sub(terms.most_sessions.max(1));
        let may_evict = terms.policy != LimitPolicy::Deny && !is_to_prove;
        alive.retain(|session| may_evict || session.needs_proof);
        if alive.len() < too_many {
            return Err(SessionError::TooManySessions);
        }
        // Cached: they may be used meanwhile. By id where two began or were used at once, so that the choice is always the
        // same.
        alive.sort_by_cached_key(|session| {
            let is_recent = terms.policy == LimitPolicy::EvictLeastRecent;
            let since = if is_recent { session.last_seen() } else { session.created_at };
            (!session.needs_proof, since, session.id)
        });
        let gone = over.into_iter().chain(alive.into_iter().take(too_many)).map(|session| session.id).collect();
        Ok(Places { gone })
    }

    /// The device that was shown.
    fn shown<'a>(&self, part: &'a SessionPart) -> Shown<'a> {
        let Some((id, secret)) = self.claim.shown else { return Shown::New(self.claim.fresh) };
        match part.find_device(id) {
            Some(known) if known.secret.is_same(&secret) => Shown::Known(known),
            // A forged token for a known id.
            Some(_) => Shown::New(self.claim.fresh),
            // A token of another user's device in the same browser is taken over.
            None => Shown::New((id, secret)),
        }
    }

    /// The device that the session begins on, and what happened to it. What is unusual about who is to prove first who they
    /// are stays with it until they do.
    fn device(&self, shown: &Shown<'_>, to_prove: Option<Risk>, facts: &Facts) -> (Arc<Device>, Option<SessionEvent>) {
        let (address, client) = (facts.cause.ip_address, self.claim.client.clone());
        match *shown {
            Shown::New((id, secret)) => {
                let proven_at = address.filter(|_| to_prove.is_none());
                let name = self.claim.name.clone();
                let mut device = Device::first_seen(id, secret, name, client, proven_at, facts.now);
                if let Some(risk) = to_prove {
                    device.suspect(risk, address);
                }
                let device = Arc::new(device);
                (Arc::clone(&device), Some(SessionEvent::DeviceAdded(device)))
            }
            Shown::Known(known) => {
                let is_there = || address.is_none_or(|address| known.meets(address));
                let is_as_before = known.client == client && self.claim.name.is_none() && known.ip_address == address;
                if to_prove.is_none() && is_there() && is_as_before {
                    return (Arc::clone(known), None);
                }
                known.seen_at(facts.now);
                let mut device = known.draft(facts.now);
                device.client = client;
                device.name = self.claim.name.clone().or(device.name);
                match (to_prove, address) {
                    (Some(risk), address) => device.suspect(risk, address),
                    (None, Some(address)) => device.move_to(address),
                    (None, None) => {}
                }
                let device = Arc::new(device);
                (Arc::clone(&device), Some(SessionEvent::DeviceMoved(device)))
            }
        }
    }

    fn session(
        &self,
        device: &Device,
        terms: &Terms,
        (risk, response): (Risk, Option<Response>),
        activation: Option<Arc<Activation>>,
        facts: &Facts,
    ) -> Arc<Session> {
        let (lifetime_seconds, idle_seconds) = if self.new.is_remembered {
            (terms.remembered_lifetime_seconds, terms.remembered_idle_seconds)
        } else {
            (terms.lifetime_seconds, terms.idle_seconds)
        };
        let new = NewSession {
            lifetime_seconds,
            idle_seconds,
            user_agent: device.client.user_agent.clone(),
            device: Some(device.id),
            ..self.new.clone()
        };
        let mut session = Session::begin(new, facts.now);
        session.risk = risk;
        session.activation = activation;
        session.needs_proof = response == Some(Response::StepUp);
        Arc::new(session)
    }

    fn noted(&self, risk: Risk, response: Response, device: DeviceId, facts: &Facts) -> SecurityEvent {
        SecurityEvent {
            id: SecurityEventId::generate(facts.now),
            at: facts.now,
            occasion: Occasion::SignIn,
            risk,
            response,
            session: (response != Response::Revoke).then_some(self.new.id),
            device: Some(device),
            ip_address: facts.cause.ip_address,
            user_agent: self.claim.client.user_agent.as_deref().map(Box::from),
        }
    }
}

/// The terms that hold for this user now: those of every role that is held, its own or inherited, anywhere.
fn strictest(terms: Terms, user: &User, book: &RoleBook, facts: &Facts) -> Terms {
    let held = user.holdings.assignments.iter().filter(|held| held.bounds.hold_at(facts.now));
    let mut waiting: Vec<RoleId> = held.map(|held| held.role_id).collect();
    let (mut terms, mut seen) = (terms, HashSet::new());
    while let Some(id) = waiting.pop() {
        let Some(role) = book.role(id).filter(|role| role.is_active && seen.insert(id)) else { continue };
        terms = terms.tightened(&role.session_terms);
        waiting.extend(&role.parent_role_ids);
    }
    terms
}

/// The devices that are forgotten so that there is room for one more: strange ones first, so that they crowd out nobody's
/// own, by which far places are told; then those without sessions, then those that nobody trusts, then those not seen for
/// longest.
fn crowded_out(part: &SessionPart, gone: &[SessionId]) -> Option<SessionEvent> {
    let too_many = (part.devices.len() + 1).saturating_sub(MAX_DEVICES);
    if too_many == 0 {
        return None;
    }
    let is_used = |device: &Device| {
        part.sessions.iter().any(|session| session.device == Some(device.id) && !gone.contains(&session.id))
    };
    let mut devices: Vec<_> = part.devices.iter().collect();
    devices.sort_by_cached_key(|device| {
        (!device.is_strange(), is_used(device), device.is_trusted, device.last_seen(), device.id)
    });
    Some(SessionEvent::DevicesForgotten(devices.into_iter().take(too_many).map(|device| device.id).collect()))
}

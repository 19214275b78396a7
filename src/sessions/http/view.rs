//! Sessions, devices and security events as they are shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::access::activation::InForce;
use crate::access::model::Constraint;
use crate::access::role_book::RoleBook;
use crate::actor::aggregate::Aggregate as _;
use crate::http::Call;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{DeviceId, RoleId, SecurityEventId, SessionId, UserId};
use crate::kernel::text::RoleName;
use crate::sessions::agent::{Agent, ClientText, Hints};
use crate::sessions::device::Device;
use crate::sessions::ending::EndedSession;
use crate::sessions::model::{AuthenticationMethod, Session};
use crate::sessions::risk::{Risk, SecurityEvent};
use crate::user::User;

/// A session.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own to whoever reads it")]
pub(super) struct SessionView {
    #[schema(value_type = String)]
    pub(super) id: SessionId,
    #[schema(value_type = String)]
    pub(super) user_id: UserId,
    /// Null when the device was forgotten.
    device: Option<DeviceView>,
    ip_address: Option<String>,
    user_agent: Option<String>,
    /// How the person proved who they are (RFC 8176).
    authentication_methods: Vec<&'static str>,
    /// Whether it is the one that asks.
    is_current: bool,
    /// Whether it is alive.
    is_active: bool,
    /// Whether the person asked to stay signed in.
    is_remembered: bool,
    /// The roles that it uses, each with all that it inherits; null: all that its person holds.
    active_roles: Option<Vec<RoleOfSession>>,
    /// Roles that dynamic constraints keep out of it, because too many would be in force together: choose some.
    kept_out_roles: Vec<RoleOfSession>,
    /// Whether it can do nothing until its person proves again who they are.
    needs_proof: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    authenticated_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_activity: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    idle_expires_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    risk: RiskView,
}

impl SessionView {
    /// A session of `user`, as `current` asks for it.
    pub(super) fn of(call: &Call, user: &User, session: &Session, current: Option<SessionId>) -> Self {
        let (now, book) = (call.now, call.state.book.load());
        let in_force = InForce::of(&user.holdings, &book, session.chosen_roles(), now);
        let device = session.device.and_then(|id| user.sessions.find_device(id));
        Self {
            id: session.id,
            user_id: user.id(),
            device: device.map(|device| DeviceView::of(user, device, current)),
            ip_address: session.ip_address.map(|address| address.to_string()),
            user_agent: session.user_agent.as_deref().map(str::to_owned),
            authentication_methods: session.methods.iter().map(AuthenticationMethod::amr).collect(),
            is_current: current == Some(session.id),
            is_active: session.is_active(now),
            is_remembered: session.is_remembered,
            active_roles: session.chosen_roles().map(|_| RoleOfSession::all(&in_force.roles, &book)),
            kept_out_roles: RoleOfSession::kept_out(&in_force, &book),
            needs_proof: session.needs_proof,
            created_at: session.created_at,
            authenticated_at: session.authenticated_at,
            last_activity: session.last_seen(),
            idle_expires_at: session.idle_expires_at(),
            expires_at: session.expires_at,
            risk: RiskView::of(session.risk),
        }
    }
}

/// A role, as sessions show it.
#[derive(Serialize, ToSchema)]
pub(super) struct RoleOfSession {
    #[schema(value_type = String)]
    id: RoleId,
    #[schema(value_type = String)]
    name: RoleName,
    /// The name of a constraint that keeps it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_out_by: Option<String>,
}

impl RoleOfSession {
    pub(super) fn all(roles: &BTreeSet<RoleId>, book: &RoleBook) -> Vec<Self> {
        let role = |id: &RoleId| Some(Self { id: *id, name: book.role(*id)?.name.clone(), kept_out_by: None });
        roles.iter().filter_map(role).collect()
    }

    pub(super) fn kept_out(in_force: &InForce, book: &RoleBook) -> Vec<Self> {
        let role = |(id, constraint): (&RoleId, &Arc<Constraint>)| {
            let kept_out_by = Some(constraint.name.to_string());
            Some(Self { id: *id, name: book.role(*id)?.name.clone(), kept_out_by })
        };
        in_force.kept_out.iter().filter_map(role).collect()
    }
}

/// What is unusual about something.
#[derive(Serialize, ToSchema)]
pub(super) struct RiskView {
    /// `none`, `low`, `medium` or `high`.
    level: &'static str,
    reasons: Vec<&'static str>,
}

impl RiskView {
    fn of(risk: Risk) -> Self {
        Self { level: risk.level().text(), reasons: risk.reasons() }
    }
}

/// A device.
#[derive(Serialize, ToSchema)]
pub(super) struct DeviceView {
    #[schema(value_type = String)]
    id: DeviceId,
    name: Option<String>,
    /// `desktop`, `mobile`, `bot` or `unknown`: what it says it is.
    kind: &'static str,
    os: Option<String>,
    browser: Option<String>,
    /// Its owner said so: failed sign-ins elsewhere do not lock it out.
    trusted: bool,
    /// Of its name and of whether it is trusted: what `If-Match` is compared with.
    version: u64,
    /// Whether it is the one that asks.
    is_current: bool,
    /// Whether whoever signs in on it must prove again who they are, because something about it was unusual.
    needs_proof: bool,
    ip_address: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_seen: Timestamp,
}

impl DeviceView {
    pub(super) fn of(user: &User, device: &Device, current: Option<SessionId>) -> Self {
        let here = |session: &&std::sync::Arc<Session>| session.device == Some(device.id);
        let last_use = user.sessions.sessions.iter().filter(here).map(|session| session.last_seen()).max();
        let agent = Agent::of(&device.client);
        let current = current.and_then(|id| user.sessions.find(id)).and_then(|session| session.device);
        Self {
            id: device.id,
            name: device.name.as_deref().map(str::to_owned),
            kind: agent.kind,
            os: agent.os,
            browser: agent.browser,
            trusted: device.is_trusted,
            version: device.version(),
            is_current: current == Some(device.id),
            needs_proof: device.is_suspected(),
            ip_address: device.ip_address.map(|address| address.to_string()),
            created_at: device.created_at,
            last_seen: last_use.map_or(device.last_seen(), |time| time.max(device.last_seen())),
        }
    }
}

/// A session that is over.
#[derive(Serialize, ToSchema)]
pub(super) struct EndedView {
    #[schema(value_type = String)]
    id: SessionId,
    #[schema(value_type = Option<String>)]
    device_id: Option<DeviceId>,
    ip_address: Option<String>,
    kind: &'static str,
    os: Option<String>,
    browser: Option<String>,
    is_active: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_activity: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    ended_at: Timestamp,
    /// Why, in one word.
    reason: &'static str,
    /// Why, in words.
    explanation: &'static str,
    /// Who ended it: `system` (a policy, or the time), `owner`, `administrator` or `app`.
    ended_by: &'static str,
    /// The id of the administrator or application, told to administrators alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by_id: Option<String>,
}

impl EndedView {
    /// A session of `owner`, to the owner or to an administrator.
    pub(super) fn of(owner: UserId, ended: &EndedSession, to_administrator: bool) -> Self {
        let client = ClientText::of(ended.user_agent.as_deref(), Hints::default());
        let agent = Agent::of(&client);
        Self {
            id: ended.id,
            device_id: ended.device,
            ip_address: ended.ip_address.map(|address| address.to_string()),
            kind: agent.kind,
            os: agent.os,
            browser: agent.browser,
            is_active: false,
            created_at: ended.created_at,
            last_activity: ended.last_seen,
            ended_at: ended.ended_at,
            reason: ended.reason.text(),
            explanation: ended.reason.words(),
            ended_by: ended.ended_by(owner).text(),
            ended_by_id: ended.ended_by(owner).is_another().then(|| ended.by.text()).filter(|_| to_administrator),
        }
    }
}

/// Something about the sessions that the user should know of.
#[derive(Serialize, ToSchema)]
pub(super) struct SecurityEventView {
    #[schema(value_type = String)]
    id: SecurityEventId,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `sign_in`, `request`, `refresh` or `attempt`.
    occasion: &'static str,
    risk: RiskView,
    /// What was done: `log`, `notify`, `step_up` or `revoke`.
    response: &'static str,
    #[schema(value_type = Option<String>)]
    session_id: Option<SessionId>,
    #[schema(value_type = Option<String>)]
    device_id: Option<DeviceId>,
    ip_address: Option<String>,
    os: Option<String>,
    browser: Option<String>,
}

impl SecurityEventView {
    pub(super) fn of(event: &SecurityEvent) -> Self {
        let agent = Agent::of(&ClientText::of(event.user_agent.as_deref(), Hints::default()));
        Self {
            id: event.id,
            at: event.at,
            occasion: event.occasion.text(),
            risk: RiskView::of(event.risk),
            response: event.response.text(),
            session_id: event.session,
            device_id: event.device,
            ip_address: event.ip_address.map(|address| address.to_string()),
            os: agent.os,
            browser: agent.browser,
        }
    }
}

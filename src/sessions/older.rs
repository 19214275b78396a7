//! The older forms of the records of sessions and devices, as they are read for ever.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use enumset::EnumSet;
use serde::Deserialize;

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{DeviceId, SessionId};
use crate::kernel::secret::SecretHash;
use crate::kernel::shared_text::SharedText;
use crate::sessions::agent::ClientText;
use crate::sessions::device::{Device, LastSeen, Network};
use crate::sessions::drift::Drift;
use crate::sessions::model::{Activation, AuthenticationMethod, Session};
use crate::sessions::refresh::Refresh;
use crate::sessions::risk::Risk;

/// The first form of a device's record, whose client told less.
#[derive(Deserialize)]
pub(super) struct DeviceV1 {
    id: DeviceId,
    secret: SecretHash,
    name: Option<Box<str>>,
    client: (Option<SharedText>, Option<SharedText>, bool),
    is_trusted: bool,
    created_at: Timestamp,
    ip_address: Option<IpAddr>,
    networks: Vec<Network>,
    last_seen_millis: i64,
    written_millis: i64,
}

/// The form before anything was to be proved on a device.
#[derive(Deserialize)]
pub(super) struct DeviceV2 {
    id: DeviceId,
    secret: SecretHash,
    name: Option<Box<str>>,
    client: ClientText,
    is_trusted: bool,
    created_at: Timestamp,
    ip_address: Option<IpAddr>,
    networks: Vec<Network>,
    last_seen_millis: i64,
    written_millis: i64,
}

impl From<DeviceV1> for Device {
    fn from(old: DeviceV1) -> Self {
        let (user_agent, platform, is_mobile) = old.client;
        Self::from(DeviceV2 {
            id: old.id,
            secret: old.secret,
            name: old.name,
            client: ClientText { user_agent, platform, is_mobile, brand: None },
            is_trusted: old.is_trusted,
            created_at: old.created_at,
            ip_address: old.ip_address,
            networks: old.networks,
            last_seen_millis: old.last_seen_millis,
            written_millis: old.written_millis,
        })
    }
}

impl From<DeviceV2> for Device {
    fn from(old: DeviceV2) -> Self {
        Self {
            id: old.id,
            secret: old.secret,
            name: old.name,
            client: old.client,
            is_trusted: old.is_trusted,
            created_at: old.created_at,
            ip_address: old.ip_address,
            networks: old.networks,
            last_seen: LastSeen::at(old.last_seen_millis),
            written_millis: old.written_millis,
            suspicion: None,
        }
    }
}

/// The first form of a session's record.
#[derive(Deserialize)]
pub(super) struct SessionV1 {
    id: SessionId,
    secret: SecretHash,
    created_at: Timestamp,
    authenticated_at: Timestamp,
    expires_at: Timestamp,
    idle_seconds: u32,
    methods: EnumSet<AuthenticationMethod>,
    ip_address: Option<IpAddr>,
    user_agent: Option<SharedText>,
    last_seen_millis: Arc<AtomicI64>,
    stored_last_seen_millis: i64,
}

/// The form before roles were chosen.
#[derive(Deserialize)]
pub(super) struct SessionV2 {
    id: SessionId,
    secret: SecretHash,
    created_at: Timestamp,
    authenticated_at: Timestamp,
    expires_at: Timestamp,
    idle_seconds: u32,
    methods: EnumSet<AuthenticationMethod>,
    ip_address: Option<IpAddr>,
    user_agent: Option<SharedText>,
    device: Option<DeviceId>,
    refresh: Option<Refresh>,
    risk: Risk,
    is_remembered: bool,
    needs_proof: bool,
    last_seen_millis: Arc<AtomicI64>,
    written_millis: i64,
}

/// The form before it was compared with what its person proved.
#[derive(Deserialize)]
pub(super) struct SessionV3 {
    id: SessionId,
    secret: SecretHash,
    created_at: Timestamp,
    authenticated_at: Timestamp,
    expires_at: Timestamp,
    idle_seconds: u32,
    methods: EnumSet<AuthenticationMethod>,
    ip_address: Option<IpAddr>,
    user_agent: Option<SharedText>,
    device: Option<DeviceId>,
    refresh: Option<Refresh>,
    risk: Risk,
    is_remembered: bool,
    needs_proof: bool,
    activation: Option<Arc<Activation>>,
    last_seen_millis: Arc<AtomicI64>,
    written_millis: i64,
}

impl From<SessionV1> for Session {
    fn from(old: SessionV1) -> Self {
        Self::from(SessionV2 {
            id: old.id,
            secret: old.secret,
            created_at: old.created_at,
            authenticated_at: old.authenticated_at,
            expires_at: old.expires_at,
            idle_seconds: old.idle_seconds,
            methods: old.methods,
            ip_address: old.ip_address,
            user_agent: old.user_agent,
            device: None,
            refresh: None,
            risk: Risk::default(),
            is_remembered: false,
            needs_proof: false,
            last_seen_millis: old.last_seen_millis,
            written_millis: old.stored_last_seen_millis,
        })
    }
}

impl From<SessionV2> for Session {
    fn from(old: SessionV2) -> Self {
        Self::from(SessionV3 {
            id: old.id,
            secret: old.secret,
            created_at: old.created_at,
            authenticated_at: old.authenticated_at,
            expires_at: old.expires_at,
            idle_seconds: old.idle_seconds,
            methods: old.methods,
            ip_address: old.ip_address,
            user_agent: old.user_agent,
            device: old.device,
            refresh: old.refresh,
            risk: old.risk,
            is_remembered: old.is_remembered,
            needs_proof: old.needs_proof,
            activation: None,
            last_seen_millis: old.last_seen_millis,
            written_millis: old.written_millis,
        })
    }
}

impl From<SessionV3> for Session {
    fn from(old: SessionV3) -> Self {
        Self {
            id: old.id,
            secret: old.secret,
            created_at: old.created_at,
            authenticated_at: old.authenticated_at,
            expires_at: old.expires_at,
            idle_seconds: old.idle_seconds,
            methods: old.methods,
            ip_address: old.ip_address,
            user_agent: old.user_agent,
            device: old.device,
            refresh: old.refresh,
            risk: old.risk,
            is_remembered: old.is_remembered,
            needs_proof: old.needs_proof,
            activation: old.activation,
            drift: Drift::default(),
            last_seen_millis: old.last_seen_millis,
            written_millis: old.written_millis,
        }
    }
}

//! A device that a person signs in from: recognised by a token it keeps, never by its address.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::DeviceId;
use crate::kernel::secret::SecretHash;
use crate::sessions::agent::ClientText;
use crate::store::StoreError;
use crate::store::codec::{self, Stored};

/// The most devices of one user; one more makes that one be forgotten that was not seen for longest.
pub const MAX_DEVICES: usize = 50;
/// The most characters of a device's name.
pub const MAX_NAME_CHARACTERS: usize = 64;
/// So many networks a device is known at; one more, and the oldest is forgotten.
const MAX_NETWORKS: usize = 8;

/// The network an address belongs to: the /24 of IPv4, the /48 of IPv6 (what a site usually has, RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Network(u64);

impl Network {
    /// The network of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u64::from(u32::from(address) >> 8)),
            IpAddr::V6(address) => Self(u64::try_from(u128::from(address) >> 80).unwrap_or_default() | 1 << 63),
        }
    }
}

/// One device of one user. The same browser may be a device of several users; each knows it on its own.
///
/// `last_seen` moves with every use and is shared by all views of the user; the record follows in batches.
#[derive(Debug, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// The hash of its token's secret.
    pub secret: SecretHash,
    /// As its owner calls it.
    pub name: Option<Box<str>>,
    /// What it says it is.
    pub client: ClientText,
    /// Its owner said so: failures elsewhere do not lock it out.
    pub is_trusted: bool,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// Where it was last signed in from.
    pub ip_address: Option<IpAddr>,
    /// Where it was seen, the newest last.
    pub networks: Vec<Network>,
    last_seen_millis: Arc<AtomicI64>,
    written_millis: i64,
}

/// The first form of a device's record, whose client told less.
#[derive(Deserialize)]
struct DeviceV1 {
    id: DeviceId,
    secret: SecretHash,
    name: Option<Box<str>>,
    client: (Option<Arc<str>>, Option<Box<str>>, bool),
    is_trusted: bool,
    created_at: Timestamp,
    ip_address: Option<IpAddr>,
    networks: Vec<Network>,
    last_seen_millis: Arc<AtomicI64>,
    written_millis: i64,
}

impl From<DeviceV1> for Device {
    fn from(old: DeviceV1) -> Self {
        let (user_agent, platform, is_mobile) = old.client;
        Self {
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
        }
    }
}

impl Stored for Device {
    const VERSION: u8 = 2;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        (version == 1).then(|| codec::decode_body::<DeviceV1>(body).map(Self::from))
    }
}

impl Device {
    /// A device seen for the first time.
    pub fn first_seen(
        id: DeviceId,
        secret: SecretHash,
        name: Option<Box<str>>,
        client: ClientText,
        ip_address: Option<IpAddr>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            secret,
            name,
            client,
            is_trusted: false,
            created_at: now,
            ip_address,
            networks: ip_address.map(Network::of).into_iter().collect(),
            last_seen_millis: Arc::new(AtomicI64::new(now.millis())),
            written_millis: now.millis(),
        }
    }

    /// The same device, to be changed and written now; it shares when it was last seen.
    pub fn draft(&self, now: Timestamp) -> Self {
        Self {
            name: self.name.clone(),
            client: self.client.clone(),
            networks: self.networks.clone(),
            last_seen_millis: Arc::clone(&self.last_seen_millis),
            // A use in this very millisecond may still come: it counts as one after the writing.
            written_millis: now.millis() - i64::from(self.last_seen() < now),
            ..*self
        }
    }

    /// The same device, at this address now.
    pub fn moved(&self, address: IpAddr, now: Timestamp) -> Arc<Self> {
        let mut moved = self.draft(now);
        moved.move_to(address);
        Arc::new(moved)
    }

    /// Notes that it is at this address now.
    pub fn move_to(&mut self, address: IpAddr) {
        self.ip_address = Some(address);
        let network = Network::of(address);
        self.networks.retain(|known| *known != network);
        if self.networks.len() >= MAX_NETWORKS {
            self.networks.remove(0);
        }
        self.networks.push(network);
    }

    /// Whether it was seen in the network of this address.
    pub fn knows(&self, address: IpAddr) -> bool {
        self.networks.contains(&Network::of(address))
    }

    /// When it was last seen.
    pub fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(self.last_seen_millis.load(Ordering::Relaxed))
    }

    /// Notes that it was seen at this time; only in memory.
    pub fn seen_at(&self, time: Timestamp) {
        self.last_seen_millis.fetch_max(time.millis(), Ordering::Relaxed);
    }

    /// Whether it was seen since its record was written, and that was at least so many milliseconds ago.
    pub fn is_behind(&self, now: Timestamp, least_millis: i64) -> bool {
        self.last_seen().millis() > self.written_millis && now.millis() - self.written_millis >= least_millis
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_what_a_site_has() {
        let same = |one: &str, other: &str| Network::of(one.parse().unwrap()) == Network::of(other.parse().unwrap());
        assert!(same("192.0.2.1", "192.0.2.254"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.9"));
        assert!(!same("192.0.2.1", "192.0.3.1"));
        assert!(same("2001:db8:1::1", "2001:db8:1:ffff::9"));
        assert!(!same("2001:db8:1::1", "2001:db8:2::1"));
        assert!(!same("0.0.0.1", "::1"));
    }

    #[test]
    fn a_device_remembers_the_networks_it_was_in_last() {
        let at = |number: u8| IpAddr::from([198, 51, number, 1]);
        let (id, now) = (DeviceId::generate(Timestamp::default()), Timestamp::default());
        let secret = SecretHash::of(b"x");
        let mut device = Device::first_seen(id, secret, None, ClientText::default(), Some(at(0)), now);
        for number in [1, 2, 3, 4, 5, 6, 7, 0, 8] {
            device.move_to(at(number));
        }
        assert!(device.knows(at(0)) && device.knows(at(8)) && !device.knows(at(1)));
        assert_eq!(device.networks.len(), MAX_NETWORKS);
    }
}

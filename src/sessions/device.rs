//! A device that a person signs in from: recognised by a token it keeps, never by its address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::DeviceId;
use crate::kernel::secret::SecretHash;
use crate::sessions::agent::ClientText;
use crate::sessions::token::{Purpose, Token};
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

    /// The first address of the network: where it is, as far as anybody can tell.
    fn first_address(self) -> IpAddr {
        match u32::try_from(self.0) {
            Ok(network) => Ipv4Addr::from(network << 8).into(),
            Err(_) => Ipv6Addr::from(u128::from(self.0 & !(1 << 63)) << 80).into(),
        }
    }
}

/// The device that a token says it is: its id, and the hash of its secret.
pub fn shown(token: &str) -> Option<(DeviceId, SecretHash)> {
    let token = Token::parse(Purpose::Device, token)?;
    Some((DeviceId::from_bytes(token.part()), SecretHash::of(token.secret())))
}

/// One device of one user. The same browser may be a device of several users; each knows it on its own.
///
/// `last_seen` moves with every use and is shared by all views of the user, as is the network it was last seen in; the record
/// follows in batches.
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
    last_seen: Arc<LastSeen>,
    written_millis: i64,
}

/// When and where a device was last seen; as a record, when.
#[derive(Debug, Default)]
struct LastSeen {
    millis: AtomicI64,
    /// Of the networks it knows; 0: the last of them.
    network: AtomicU64,
}

impl LastSeen {
    fn at(millis: i64) -> Arc<Self> {
        Arc::new(Self { millis: AtomicI64::new(millis), network: AtomicU64::new(0) })
    }

    /// The same moment, apart from this: where, is not known.
    fn apart(&self) -> Arc<Self> {
        Self::at(self.millis.load(Ordering::Relaxed))
    }
}

impl Serialize for LastSeen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.millis.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LastSeen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AtomicI64::deserialize(deserializer).map(|millis| Self { millis, network: AtomicU64::new(0) })
    }
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
    last_seen_millis: i64,
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
            last_seen: LastSeen::at(old.last_seen_millis),
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
            last_seen: LastSeen::at(now.millis()),
            written_millis: now.millis(),
        }
    }

    /// The same device, to be changed and written now; it shares when and where it was last seen.
    pub fn draft(&self, now: Timestamp) -> Self {
        let mut networks = self.networks.clone();
        let last = self.last_network();
        // The newest last, also of those that it came back to.
        networks.sort_by_key(|network| Some(*network) == last);
        Self {
            name: self.name.clone(),
            client: self.client.clone(),
            networks,
            last_seen: Arc::clone(&self.last_seen),
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
        // Of this device alone until it is the user's: others go on noting where the one before is.
        self.last_seen = self.last_seen.apart();
    }

    /// Whether it was seen in the network of this address.
    pub fn knows(&self, address: IpAddr) -> bool {
        self.networks.contains(&Network::of(address))
    }

    /// The same, and notes that it is there now, if so; only in memory.
    pub fn meets(&self, address: IpAddr) -> bool {
        let network = Network::of(address);
        let is_known = self.networks.contains(&network);
        if is_known && self.last_seen.network.load(Ordering::Relaxed) != network.0 {
            self.last_seen.network.store(network.0, Ordering::Relaxed);
        }
        is_known
    }

    fn last_network(&self) -> Option<Network> {
        let last = Network(self.last_seen.network.load(Ordering::Relaxed));
        Some(last).filter(|last| self.networks.contains(last)).or_else(|| self.networks.last().copied())
    }

    /// Where it was last seen: which may be where it came back to, and need not be where it last signed in from.
    pub fn last_address(&self) -> Option<IpAddr> {
        let network = self.last_network()?;
        let own = self.ip_address.filter(|address| Network::of(*address) == network);
        Some(own.unwrap_or_else(|| network.first_address()))
    }

    /// When it was last seen.
    pub fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(self.last_seen.millis.load(Ordering::Relaxed))
    }

    /// Notes that it was seen at this time; only in memory.
    pub fn seen_at(&self, time: Timestamp) {
        self.last_seen.millis.fetch_max(time.millis(), Ordering::Relaxed);
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
    fn a_device_is_where_it_came_back_to_also_when_it_is_read_again() {
        let at = |text: &str| -> IpAddr { text.parse().unwrap() };
        let (id, now) = (DeviceId::generate(Timestamp::default()), Timestamp::default());
        let (secret, home) = (SecretHash::of(b"x"), at("198.51.100.7"));
        let mut device = Device::first_seen(id, secret, None, ClientText::default(), Some(home), now);
        device.move_to(at("2001:db8:1:2::3"));
        assert_eq!(device.last_address(), Some(at("2001:db8:1:2::3")));
        assert!(device.meets(home) && !device.meets(at("203.0.113.1")));
        let read: Device = codec::decode(&codec::encode(&device.draft(now)).unwrap()).unwrap();
        for device in [&device, &read] {
            assert_eq!(device.last_address(), Some(at("198.51.100.0")));
            assert_eq!(device.ip_address, Some(at("2001:db8:1:2::3")), "where it last signed in from");
        }
        let moved = device.moved(at("203.0.113.1"), now);
        assert_eq!(device.last_address(), Some(at("198.51.100.0")), "the move is not decided yet");
        assert!(moved.meets(at("2001:db8:1::9")));
        assert_eq!(moved.last_address(), Some(at("2001:db8:1::")));
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

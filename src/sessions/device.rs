//! A device that a person signs in from: recognised by a token it keeps, never by its address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::DeviceId;
use crate::kernel::secret::SecretHash;
use crate::sessions::agent::ClientText;
use crate::sessions::older::{DeviceV1, DeviceV2};
use crate::sessions::risk::Risk;
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
#[serde(from = "u64", into = "u64")]
pub struct Network(
    /// Its number and one, so that none takes no room of its own.
    NonZeroU64,
);

impl Network {
    /// The network of an address.
    pub fn of(address: IpAddr) -> Self {
        Self::from(match address.to_canonical() {
            IpAddr::V4(address) => u64::from(u32::from(address) >> 8),
            IpAddr::V6(address) => u64::try_from(u128::from(address) >> 80).unwrap_or_default() | 1 << 63,
        })
    }

    /// The first address of the network: where it is, as far as anybody can tell.
    fn first_address(self) -> IpAddr {
        let number = u64::from(self);
        match u32::try_from(number) {
            Ok(network) => Ipv4Addr::from(network << 8).into(),
            Err(_) => Ipv6Addr::from(u128::from(number & !(1 << 63)) << 80).into(),
        }
    }
}

impl From<u64> for Network {
    fn from(number: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(number))
    }
}

impl From<Network> for u64 {
    fn from(Network(number): Network) -> Self {
        number.get() - 1
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
    /// Where it was seen, the newest last; but where it only was while it was to be proved.
    pub networks: Vec<Network>,
    pub(super) last_seen: Arc<LastSeen>,
    pub(super) written_millis: i64,
    /// What somebody is to prove on it first; none: nothing.
    pub suspicion: Option<Box<Suspicion>>,
}

/// What was unusual about a device when it was answered with `step_up`, until somebody proves on it who they are: it is at
/// risk whoever signs in on it, however often, and where it was seen meanwhile is not where its owner is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// What it was.
    pub risk: Risk,
    /// Where it was seen since, the newest last.
    pub networks: Vec<Network>,
}

/// When and where a device was last seen; as a record, when.
#[derive(Debug, Default)]
pub(super) struct LastSeen {
    millis: AtomicI64,
    /// Of the networks it knows, as it is kept; 0: the last of them.
    network: AtomicU64,
}

impl LastSeen {
    pub(super) fn at(millis: i64) -> Arc<Self> {
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

impl Stored for Device {
    const VERSION: u8 = 3;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        match version {
            1 => Some(codec::decode_body::<DeviceV1>(body).map(Self::from)),
            2 => Some(codec::decode_body::<DeviceV2>(body).map(Self::from)),
            _ => None,
        }
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
            suspicion: None,
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
            suspicion: self.suspicion.clone(),
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
        add(Network::of(address), &mut self.networks);
        // Of this device alone until it is the user's: others go on noting where the one before is.
        self.last_seen = self.last_seen.apart();
    }

    /// The same device, which is to be proved because of this.
    pub fn suspected(&self, risk: Risk, address: Option<IpAddr>, now: Timestamp) -> Arc<Self> {
        let mut suspected = self.draft(now);
        suspected.suspect(risk, address);
        Arc::new(suspected)
    }

    /// Notes that it is to be proved because of this, and is at this address now.
    pub fn suspect(&mut self, risk: Risk, address: Option<IpAddr>) {
        let mut suspicion = self.suspicion.take().unwrap_or_default();
        suspicion.risk = suspicion.risk.and(risk);
        self.ip_address = address.or(self.ip_address);
        if let Some(network) = address.map(Network::of).filter(|network| !self.networks.contains(network)) {
            add(network, &mut suspicion.networks);
        }
        self.suspicion = Some(suspicion);
    }

    /// The same device, whose owner just proved at this address who they are; none if nothing follows of it.
    pub fn proved(&self, address: Option<IpAddr>, now: Timestamp) -> Option<Arc<Self>> {
        let elsewhere = address.filter(|address| !self.knows(*address));
        if self.suspicion.is_none() && elsewhere.is_none() {
            return None;
        }
        let mut proved = self.draft(now);
        proved.suspicion = None;
        if let Some(address) = elsewhere {
            proved.move_to(address);
        }
        Some(Arc::new(proved))
    }

    /// What can be changed of it, as a number: another one when it is another.
    pub fn version(&self) -> u64 {
        let name = self.name.as_deref().unwrap_or_default();
        SecretHash::of(&[&[u8::from(self.is_trusted)], name.as_bytes()].concat()).number()
    }

    /// What is at risk with whoever signs in on it.
    pub fn risk(&self) -> Risk {
        self.suspicion.as_ref().map_or(Risk::NONE, |suspicion| suspicion.risk)
    }

    /// Whether somebody is to prove on it who they are.
    pub const fn is_suspected(&self) -> bool {
        self.suspicion.is_some()
    }

    /// Whether nobody ever was on it whom nothing was asked of, or who proved who they are.
    pub fn is_strange(&self) -> bool {
        self.is_suspected() && self.networks.is_empty()
    }

    /// Whether it was seen in the network of this address since it is to be proved.
    pub fn is_suspected_at(&self, address: IpAddr) -> bool {
        let network = Network::of(address);
        self.suspicion.as_ref().is_some_and(|suspicion| suspicion.networks.contains(&network))
    }

    /// Whether it was seen in the network of this address.
    pub fn knows(&self, address: IpAddr) -> bool {
        self.networks.contains(&Network::of(address))
    }

    /// The same, and notes that it is there now, if so; only in memory.
    pub fn meets(&self, address: IpAddr) -> bool {
        let network = Network::of(address);
        let is_known = self.networks.contains(&network);
        if is_known && self.last_seen.network.load(Ordering::Relaxed) != network.0.get() {
            self.last_seen.network.store(network.0.get(), Ordering::Relaxed);
        }
        is_known
    }

    fn last_network(&self) -> Option<Network> {
        let last = NonZeroU64::new(self.last_seen.network.load(Ordering::Relaxed)).map(Network);
        last.filter(|last| self.networks.contains(last)).or_else(|| self.networks.last().copied())
    }

    /// Where it was last seen, but while it was to be proved: which may be where it came back to, and need not be where it last signed in from.
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

/// Adds the newest of networks; if they are too many, the oldest is forgotten.
fn add(network: Network, networks: &mut Vec<Network>) {
    networks.retain(|known| *known != network);
    if networks.len() >= MAX_NETWORKS {
        networks.remove(0);
    }
    networks.push(network);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::risk::Oddity;

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

    #[test]
    fn where_a_device_is_to_be_proved_is_not_where_its_owner_is() {
        let at = |text: &str| -> IpAddr { text.parse().unwrap() };
        let (home, away, now) = (at("192.0.2.1"), at("203.0.113.9"), Timestamp::default());
        let (id, secret) = (DeviceId::generate(now), SecretHash::of(b"x"));
        let own = Device::first_seen(id, secret, None, ClientText::default(), Some(home), now);
        let odd = Risk::NONE.with(Oddity::ImpossibleTravel);
        let suspected = own.suspected(odd, Some(away), now);
        let suspected = suspected.suspected(Risk::NONE.with(Oddity::NewNetwork), Some(home), now);
        assert_eq!(suspected.risk(), odd.with(Oddity::NewNetwork));
        assert!(!suspected.knows(away) && !suspected.meets(away) && suspected.is_suspected_at(away));
        assert!(suspected.knows(home) && !suspected.is_suspected_at(home), "it was known before");
        assert_eq!(
            (suspected.last_address().map(Network::of), suspected.is_strange()),
            (Some(Network::of(home)), false)
        );
        let proved = suspected.proved(Some(home), now).unwrap();
        assert!(!proved.is_suspected() && !proved.knows(away) && proved.proved(Some(home), now).is_none());
        assert!(suspected.proved(Some(away), now).unwrap().knows(away));
        let mut new = Device::first_seen(id, secret, None, ClientText::default(), None, now);
        new.suspect(odd, Some(away));
        assert!(new.is_strange() && new.last_address().is_none());
    }
}

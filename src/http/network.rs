//! Address ranges, and the address a request really came from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::kernel::fault::Malformed;

/// A range of addresses in CIDR notation (RFC 4632): `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether `address` is in the range. IPv4 addresses mapped into IPv6 count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(one)) => {
                same_prefix(u128::from(range.to_bits()) << 96, u128::from(one.to_bits()) << 96, self.prefix_bits)
            }
            (IpAddr::V6(range), IpAddr::V6(one)) => same_prefix(range.to_bits(), one.to_bits(), self.prefix_bits),
            _ => false,
        }
    }
}

fn same_prefix(one: u128, other: u128, bits: u8) -> bool {
    (one ^ other).leading_zeros() >= u32::from(bits)
}

impl FromStr for Network {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::new("expected an address or a range such as 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = address.parse::<IpAddr>().map_err(|_| malformed())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| malformed()))?;
        if prefix_bits > most {
            return Err(malformed());
        }
        Ok(Self { address, prefix_bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The address of the client: the peer, or behind trusted proxies the last address of `X-Forwarded-For` that is not a
/// trusted proxy's own. `hops` is that list from its end. An entry that is no address ends the search.
pub(super) fn client_address<'a>(peer: IpAddr, hops: impl Iterator<Item = &'a str>, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    for hop in hops {
        if !is_trusted(client) {
            break;
        }
        match parse_hop(hop.trim()) {
            Some(address) => client = address.to_canonical(),
            None => break,
        }
    }
    client
}

/// Some proxies add the port; an IPv6 address then stands in brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, forwarded: &str, expected: &str) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let hops = forwarded.rsplit(',').filter(|hop| !hop.is_empty());
        let client = client_address(peer.parse().unwrap(), hops, &trusted);
        assert_eq!(client.to_string(), expected, "{peer} with {forwarded:?}");
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        check("192.0.2.1", "198.51.100.7", "192.0.2.1");
        check("10.1.2.3", "", "10.1.2.3");
        check("10.1.2.3", "198.51.100.7", "198.51.100.7");
        check("::ffff:10.1.2.3", "198.51.100.7:4711", "198.51.100.7");
        check("10.1.2.3", "203.0.113.9, 198.51.100.7, 10.9.9.9", "198.51.100.7");
        check("fd00::1", "[2001:db8::5]:80", "2001:db8::5");
        check("10.1.2.3", "nonsense, 10.9.9.9", "10.9.9.9");
        check("10.1.2.3", "10.0.0.1, 10.0.0.2", "10.0.0.1");
    }

    #[test]
    fn ranges_are_read_and_checked() {
        for good in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "192.0.2.1", "fd00::/128"] {
            assert!(good.parse::<Network>().is_ok(), "{good}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("255.1.2.3".parse().unwrap()));
        assert!(!"10.0.0.0/8".parse::<Network>().unwrap().contains("11.0.0.0".parse().unwrap()));
    }
}

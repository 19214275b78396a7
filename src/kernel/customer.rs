//! Whose an address is.

use std::net::IpAddr;

/// The part of an address that one customer of a provider usually has: all of IPv4, the /64 of IPv6.
pub fn network_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 | 1 << 127,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &str, other: &str, is_one: bool) {
        let [one, other] = [one, other].map(|text| network_of(text.parse().unwrap()));
        assert_eq!(one == other, is_one);
    }

    #[test]
    fn a_customer_has_one_address_of_version_4_or_64_bits_of_version_6() {
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("2001:db8::1", "2001:db8::ffff:0:0:1", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
        check("0.0.0.1", "0:0:0:1::", false);
    }
}

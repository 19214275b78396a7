//! Where addresses are, from the operator's MaxMind database: a hint, never a proof.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{MaxMindDbError, Reader, geoip2};

use crate::kernel::clock::Timestamp;

/// The mean radius of the earth, in kilometres (IUGG).
const EARTH_KM: f64 = 6371.0;
/// Nearer places prove nothing: databases err by as much.
const LEAST_KM: f64 = 500.0;
/// Faster than this nobody travels: an airliner's speed and a margin, in kilometres per hour.
const MOST_KM_PER_HOUR: f64 = 1000.0;

/// A place on earth, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    latitude: f64,
    longitude: f64,
}

impl Place {
    /// The distance along a great circle, in kilometres (haversine formula).
    pub fn km_to(self, other: Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half = |angle: f64| (angle / 2.0).sin().powi(2);
        let sum = half(to - from) + from.cos() * to.cos() * half((other.longitude - self.longitude).to_radians());
        2.0 * EARTH_KM * sum.sqrt().min(1.0).asin()
    }
}

/// A database of places, held in memory.
pub struct Atlas(Reader<Vec<u8>>);

impl Atlas {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or is no MaxMind database.
    pub fn open(file: &Path) -> Result<Self, MaxMindDbError> {
        Reader::open_readfile(file).map(Self)
    }

    /// Where an address is, if the database knows.
    pub fn place(&self, address: IpAddr) -> Option<Place> {
        let city: geoip2::City<'_> = self.0.lookup(address.to_canonical()).ok()?.decode().ok()??;
        Some(Place { latitude: city.location.latitude?, longitude: city.location.longitude? })
    }

    /// Whether nobody can have come from there to here in this time.
    pub fn is_impossible(&self, from: (IpAddr, Timestamp), to: (IpAddr, Timestamp)) -> bool {
        let (Some(start), Some(end)) = (self.place(from.0), self.place(to.0)) else { return false };
        let (km, hours) = (start.km_to(end), to.1.since(from.1).max(0) as f64 / 3_600_000.0);
        km > LEAST_KM && km > hours * MOST_KM_PER_HOUR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_map() {
        let berlin = Place { latitude: 52.52, longitude: 13.405 };
        let sydney = Place { latitude: -33.868, longitude: 151.209 };
        let paris = Place { latitude: 48.857, longitude: 2.352 };
        let is_about = |km: f64, expected: f64| (km - expected).abs() < expected / 100.0;
        assert!(is_about(berlin.km_to(paris), 878.0), "{}", berlin.km_to(paris));
        assert!(is_about(berlin.km_to(sydney), 16_090.0), "{}", berlin.km_to(sydney));
        assert!(berlin.km_to(berlin) < 0.001);
    }
}

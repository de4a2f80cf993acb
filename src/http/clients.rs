//! How many connections one client has: a listener's are for all of them.

use std::net::{IpAddr, Ipv6Addr};

use crate::task::places::{Place, Places};

/// Clients of one listener, by where they come from.
pub(super) struct Clients {
    places: Places<IpAddr>,
    /// Who comes from an address; nobody in particular for `None`.
    of: fn(IpAddr) -> Option<IpAddr>,
}

/// A connection of a client, until it is dropped.
pub(super) struct Guest {
    _place: Option<Place>,
}

impl Clients {
    /// Clients of whom each has so many connections, out of `all`.
    pub fn new(all: usize, each: usize) -> Self {
        Self { places: Places::new(all, each), of: client }
    }

    /// One connection more from an address; `None` when its client has as many as it may.
    pub fn admit(&self, from: IpAddr) -> Option<Guest> {
        match (self.of)(from) {
            None => Some(Guest { _place: None }),
            Some(client) => self.places.try_take(client).map(|place| Guest { _place: Some(place) }),
        }
    }

    /// The same; everybody is somebody, on this machine, too.
    #[cfg(test)]
    pub fn with_loopback(self) -> Self {
        Self { of: Some, ..self }
    }
}

/// Who comes from an address: that address, or a network of IPv6 that is given to one customer whole.
/// Nobody in particular comes from this machine: a proxy there speaks for everybody.
fn client(from: IpAddr) -> Option<IpAddr> {
    /// The upper half of an address.
    const NETWORK: u128 = !(u64::MAX as u128);
    match from.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() & NETWORK).into()),
        address @ IpAddr::V4(_) => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network() {
        let of = |text: &str| client(text.parse().unwrap()).map(|client| client.to_string());
        assert_eq!(of("203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(of("::ffff:203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1:2::"));
        for here in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(of(here), None);
        }
    }

    #[test]
    fn one_client_leaves_room_for_another() {
        let clients = Clients::new(9, 2);
        let from = |text: &str| clients.admit(text.parse().unwrap());
        let held = [from("2001:db8::1"), from("2001:db8::2")];
        assert!(held.iter().all(Option::is_some));
        assert!(from("2001:db8::3").is_none() && from("2001:db8:0:1::3").is_some());
        let here: Vec<_> = (0..20).map(|_| from("127.0.0.1")).collect();
        assert!(here.iter().all(Option::is_some));
        drop(held);
        assert!(from("2001:db8::3").is_some());
    }
}

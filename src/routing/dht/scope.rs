//! Which addresses belong to the public DHT and which to the local one, and which peers stand
//! together: the same company's addresses count as one voice.
//!
//! Source: ipfs/specs kad-dht (address filters, IP diversity); ranges are those of IANA's registries
//! of special-purpose addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Which of the two DHTs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The public one, `/ipfs/kad/1.0.0`: only addresses that the whole Internet can reach.
    Wan,
    /// That of the local network, `/ipfs/lan/kad/1.0.0`: only addresses that it cannot.
    Lan,
}

impl Scope {
    /// The protocol's name on the wire.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Wan => "/ipfs/kad/1.0.0",
            Self::Lan => "/ipfs/lan/kad/1.0.0",
        }
    }

    /// Whether an address may be told, kept and dialled in this DHT. `loopback` lets addresses of
    /// the own machine into the local one (`Routing.LoopbackAddressesOnLanDHT`).
    pub fn admits(self, addr: &Multiaddr, loopback: bool) -> bool {
        match (self, reach(addr)) {
            (Self::Wan, reach) => reach == Reach::Public,
            (Self::Lan, Reach::Private) => true,
            (Self::Lan, Reach::Loopback) => loopback,
            (Self::Lan, Reach::Public | Reach::Nowhere) => false,
        }
    }

    /// Only the addresses that [`Self::admits`].
    pub fn filter(self, addrs: &[Multiaddr], loopback: bool) -> Vec<Multiaddr> {
        addrs.iter().filter(|addr| self.admits(addr, loopback)).cloned().collect()
    }
}

/// From where an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From everywhere.
    Public,
    /// From the same network.
    Private,
    /// From the same machine.
    Loopback,
    /// Reserved, a group's, or of no network that henge knows.
    Nowhere,
}

/// From where an address can be reached, judged by its first part. A relayed address is as public
/// as its relay.
pub fn reach(addr: &Multiaddr) -> Reach {
    match addr.iter().find(|part| !matches!(part, Protocol::Ip6zone(_))) {
        Some(Protocol::Ip4(ip)) => reach_v4(ip),
        Some(Protocol::Ip6(ip)) => reach_v6(ip),
        Some(
            Protocol::Dns(name)
            | Protocol::Dns4(name)
            | Protocol::Dns6(name)
            | Protocol::Dnsaddr(name),
        ) => reach_name(&name),
        _ => Reach::Nowhere,
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    let [a, b, c, _] = ip.octets();
    match (a, b, c) {
        (127, ..) => Reach::Loopback,
        (10, ..) | (169, 254, _) | (192, 168, _) => Reach::Private,
        (172, 16..=31, _) | (100, 64..=127, _) => Reach::Private,
        (0, ..) | (224..=255, ..) | (198, 18..=19, _) => Reach::Nowhere,
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113) => Reach::Nowhere,
        _ => Reach::Public,
    }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return reach_v4(mapped);
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        [0xfc00..=0xfdff, ..] | [0xfe80..=0xfebf, ..] => Reach::Private,
        [0x2001, 0x0db8, ..] => Reach::Nowhere,
        // IPv4 behind a translator is as public as the IPv4 address.
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            reach_v4(Ipv4Addr::new(a, b, c, d))
        }
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Nowhere,
    }
}

fn reach_name(name: &str) -> Reach {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let under = |top: &str| name == top || name.ends_with(&format!(".{top}"));
    if under("localhost") {
        Reach::Loopback
    } else if under("local") || under("home.arpa") || under("internal") || under("lan") {
        Reach::Private
    } else if name.is_empty() || ["invalid", "example", "test"].iter().any(|top| under(top)) {
        Reach::Nowhere
    } else {
        Reach::Public
    }
}

/// Addresses that count as one voice: IPv4 by /16 (/8 where one company was given all of it), IPv6
/// by /32, which is what a provider is given. Numbers of autonomous systems would be better; a
/// table of them would have to be shipped and kept fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpGroup(u32, bool);

/// /8 blocks of IPv4 given to single companies before 1995 and still theirs.
const OLD_CLASS_A: &[u8] =
    &[6, 7, 9, 11, 12, 17, 19, 21, 22, 26, 28, 29, 30, 33, 38, 48, 53, 55, 56, 73];

/// The group of the first address that has an IP; `None` when none has.
pub fn ip_group(addrs: &[Multiaddr]) -> Option<IpGroup> {
    let ip = |part: Protocol<'_>| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    };
    let ip = addrs.iter().find_map(|addr| addr.iter().find_map(ip))?;
    Some(match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let b = if OLD_CLASS_A.contains(&a) { 0 } else { b };
            IpGroup(u32::from_be_bytes([a, b, 0, 0]), false)
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.octets();
            IpGroup(u32::from_be_bytes([a, b, c, d]), true)
        }
    })
}

impl IpGroup {
    /// A number for rows of the store; groups of IPv4 and IPv6 may share it, which does no harm.
    pub fn tag(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_know_their_reach() {
        for (text, wanted) in [
            ("/ip4/1.2.3.4/tcp/1", Reach::Public),
            ("/ip4/10.2.3.4/tcp/1", Reach::Private),
            ("/ip4/172.32.0.1/tcp/1", Reach::Public),
            ("/ip4/172.31.0.1/tcp/1", Reach::Private),
            ("/ip4/100.64.0.1/tcp/1", Reach::Private),
            ("/ip4/127.0.0.1/udp/1/quic-v1", Reach::Loopback),
            ("/ip4/0.0.0.0/tcp/1", Reach::Nowhere),
            ("/ip4/203.0.113.1/tcp/1", Reach::Nowhere),
            ("/ip6/::1/tcp/1", Reach::Loopback),
            ("/ip6/fe80::1/tcp/1", Reach::Private),
            ("/ip6zone/eth0/ip6/fe80::1/tcp/1", Reach::Private),
            ("/ip6/::ffff:10.0.0.1/tcp/1", Reach::Private),
            ("/ip6/2600::1/tcp/1", Reach::Public),
            ("/ip6/2001:db8::1/tcp/1", Reach::Nowhere),
            ("/ip6/64:ff9b::a00:1/tcp/1", Reach::Private),
            ("/dns4/localhost/tcp/1", Reach::Loopback),
            ("/dns/a.local/tcp/1", Reach::Private),
            ("/dnsaddr/bootstrap.libp2p.io", Reach::Public),
            ("/memory/1", Reach::Nowhere),
        ] {
            assert_eq!(reach(&text.parse().unwrap()), wanted, "{text}");
        }
    }

    #[test]
    fn trap_12_the_public_dht_sees_public_addresses_only() {
        let addrs: Vec<Multiaddr> =
            ["/ip4/1.2.3.4/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"]
                .map(|text| text.parse().unwrap())
                .into();
        assert_eq!(Scope::Wan.filter(&addrs, true), addrs[..1]);
        assert_eq!(Scope::Lan.filter(&addrs, false), addrs[1..2]);
        assert_eq!(Scope::Lan.filter(&addrs, true), addrs[1..]);
    }

    #[test]
    fn groups_are_those_of_one_owner() {
        let group = |text: &str| ip_group(&[text.parse().unwrap()]);
        assert_eq!(group("/ip4/1.2.3.4/tcp/1"), group("/ip4/1.2.99.4/udp/1"));
        assert_ne!(group("/ip4/1.2.3.4/tcp/1"), group("/ip4/1.3.3.4/tcp/1"));
        assert_eq!(group("/ip4/17.2.3.4/tcp/1"), group("/ip4/17.9.3.4/tcp/1"));
        assert_eq!(group("/ip6/2600:1:2::1/tcp/1"), group("/ip6/2600:1:3::1/tcp/1"));
        assert_eq!(group("/dns4/x.org/tcp/1"), None);
    }
}

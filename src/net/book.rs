//! The address book: where peers were last seen, for a while, and never more than fits.
//!
//! In memory; what is worth keeping over a restart is handed to whoever owns the store.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

/// Peers whose addresses are remembered.
const PEERS_MAX: usize = 8192;
/// Addresses remembered of one peer: strangers may claim as many as they like.
const ADDRESSES_MAX: usize = 24;
/// Longest address that is remembered, in bytes.
const ADDRESS_BYTES_MAX: usize = 256;

/// How an address was learned, which says how long it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Told by others: a provider record, a neighbour's answer.
    Hearsay,
    /// Found on the local network.
    Local,
    /// Told by the peer itself.
    Peer,
    /// A connection was made to it.
    Dialled,
    /// Configured: never forgotten.
    Fixed,
}

impl Source {
    fn lifetime(self) -> Option<Duration> {
        match self {
            Self::Hearsay => Some(Duration::from_secs(30 * 60)),
            Self::Local => Some(Duration::from_secs(10 * 60)),
            Self::Peer | Self::Dialled => Some(Duration::from_secs(24 * 3600)),
            Self::Fixed => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Known {
    address: Multiaddr,
    source: Source,
    seen: Instant,
}

impl Known {
    fn is_fresh(&self, now: Instant) -> bool {
        self.source.lifetime().is_none_or(|life| now.saturating_duration_since(self.seen) < life)
    }
}

/// Addresses by peer.
#[derive(Default)]
pub struct Book {
    peers: HashMap<PeerId, Vec<Known>>,
}

impl Book {
    /// Remembers an address. A peer ID at its end is cut off.
    pub fn add(&mut self, now: Instant, peer: PeerId, address: Multiaddr, source: Source) {
        let address = without_peer(address);
        if address.is_empty() || address.len() > ADDRESS_BYTES_MAX {
            return;
        }
        if !self.peers.contains_key(&peer) && self.peers.len() >= PEERS_MAX {
            self.make_room(now);
        }
        let known = self.peers.entry(peer).or_default();
        if let Some(old) = known.iter_mut().find(|old| old.address == address) {
            old.seen = now;
            old.source = old.source.max(source);
            return;
        }
        if known.len() >= ADDRESSES_MAX {
            // The least believed goes, the oldest of those first.
            let least = known.iter().enumerate().min_by_key(|(_, k)| (k.source, k.seen));
            match least.map(|(at, k)| (at, k.source)) {
                Some((at, least)) if least <= source => drop(known.swap_remove(at)),
                _ => return,
            }
        }
        known.push(Known { address, source, seen: now });
    }

    /// A peer's addresses, the most believed first.
    pub fn of(&self, now: Instant, peer: &PeerId) -> Vec<Multiaddr> {
        let Some(known) = self.peers.get(peer) else { return Vec::new() };
        let mut fresh: Vec<&Known> = known.iter().filter(|k| k.is_fresh(now)).collect();
        fresh.sort_by_key(|k| std::cmp::Reverse((k.source, k.seen)));
        fresh.into_iter().map(|k| k.address.clone()).collect()
    }

    /// Every peer and its addresses.
    pub fn all(&self, now: Instant) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let of = |peer: &PeerId| (*peer, self.of(now, peer));
        self.peers.keys().map(of).filter(|(_, addresses)| !addresses.is_empty()).collect()
    }

    /// An address did not answer: others are tried before it from now on.
    pub fn failed(&mut self, peer: &PeerId, address: &Multiaddr) {
        let address = without_peer(address.clone());
        for known in self.peers.get_mut(peer).into_iter().flatten() {
            if known.address == address && known.source != Source::Fixed {
                known.source = Source::Hearsay;
            }
        }
    }

    /// Forgets what is stale; and when nothing is, the peer heard of longest ago.
    fn make_room(&mut self, now: Instant) {
        self.peers.retain(|_, known| {
            known.retain(|k| k.is_fresh(now));
            !known.is_empty()
        });
        if self.peers.len() < PEERS_MAX {
            return;
        }
        let last_seen = |known: &[Known]| {
            let fixed = known.iter().any(|k| k.source == Source::Fixed);
            (fixed, known.iter().map(|k| k.seen).max())
        };
        let oldest = self.peers.iter().min_by_key(|(_, known)| last_seen(known));
        if let Some(peer) = oldest.map(|(peer, _)| *peer) {
            self.peers.remove(&peer);
        }
    }
}

/// An address without the peer ID at its end.
pub fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if let Some(libp2p::multiaddr::Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

/// The peer ID at an address's end.
pub fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(libp2p::multiaddr::Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{}", port % 65536).parse().unwrap()
    }

    #[test]
    fn a_peer_that_claims_many_addresses_costs_no_more() {
        let (mut book, now, peer) = (Book::default(), Instant::now(), PeerId::random());
        book.add(now, peer, address(1), Source::Fixed);
        for port in 2..10_000 {
            book.add(now, peer, address(port), Source::Peer);
        }
        let kept = book.of(now, &peer);
        assert_eq!(kept.len(), ADDRESSES_MAX);
        assert_eq!(kept[0], address(1));
    }

    #[test]
    fn hearsay_is_forgotten_and_configuration_is_not() {
        let (mut book, now, peer) = (Book::default(), Instant::now(), PeerId::random());
        book.add(now, peer, address(1), Source::Hearsay);
        book.add(now, peer, address(2), Source::Fixed);
        let later = now + Duration::from_secs(48 * 3600);
        assert_eq!(book.of(now, &peer).len(), 2);
        assert_eq!(book.of(later, &peer), [address(2)]);
    }

    #[test]
    fn strangers_do_not_push_out_more_than_the_bound() {
        let (mut book, now) = (Book::default(), Instant::now());
        let friend = PeerId::random();
        book.add(now, friend, address(1), Source::Fixed);
        for _ in 0..PEERS_MAX + 10 {
            book.add(now, PeerId::random(), address(2), Source::Hearsay);
        }
        assert!(book.peers.len() <= PEERS_MAX);
        assert_eq!(book.of(now, &friend).len(), 1);
    }
}

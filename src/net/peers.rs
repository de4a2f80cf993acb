//! Who is connected: each peer's connections, what it said of itself, and what it is worth.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, identify};

/// Protocols and addresses of one peer that are looked at: it may claim as many as it likes.
const CLAIMS_MAX: usize = 64;

/// What a peer said of itself (identify 1.0.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// Its public key, libp2p protobuf.
    pub public_key: Vec<u8>,
    /// Its name and version.
    pub agent: String,
    /// The family of protocols.
    pub family: String,
    /// Where it says it listens.
    pub addresses: Vec<Multiaddr>,
    /// What it speaks.
    pub protocols: Vec<String>,
    /// Where it sees us.
    pub observed: Multiaddr,
}

impl Identified {
    pub(super) fn of(info: identify::Info) -> Self {
        let protocols = info.protocols.iter().take(CLAIMS_MAX).map(ToString::to_string);
        Self {
            public_key: info.public_key.encode_protobuf(),
            agent: info.agent_version,
            family: info.protocol_version,
            protocols: protocols.collect(),
            addresses: info.listen_addrs.into_iter().take(CLAIMS_MAX).collect(),
            observed: info.observed_addr,
        }
    }
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The peer's address.
    pub address: Multiaddr,
    /// Whether this node made it.
    pub outbound: bool,
    /// How long it stands.
    pub age: Duration,
}

/// A connected peer.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its ID.
    pub id: PeerId,
    /// Its connections, the oldest first; at least one.
    pub connections: Vec<Connection>,
    /// What it said of itself, once it has.
    pub identified: Option<Arc<Identified>>,
    /// Time of the last ping, there and back.
    pub latency: Option<Duration>,
}

struct Standing {
    id: ConnectionId,
    point: ConnectedPoint,
    since: Instant,
}

#[derive(Default)]
struct Entry {
    connections: Vec<Standing>,
    identified: Option<Arc<Identified>>,
    latency: Option<Duration>,
    values: HashMap<&'static str, u32>,
}

impl Entry {
    fn show(&self, id: PeerId, now: Instant) -> Peer {
        let connection = |c: &Standing| Connection {
            address: c.point.get_remote_address().clone(),
            outbound: c.point.is_dialer(),
            age: now.saturating_duration_since(c.since),
        };
        Peer {
            id,
            connections: self.connections.iter().map(connection).collect(),
            identified: self.identified.clone(),
            latency: self.latency,
        }
    }
}

/// Everybody connected.
#[derive(Default)]
pub struct Peers {
    peers: HashMap<PeerId, Entry>,
}

impl Peers {
    /// A connection stands; whether it is the peer's first.
    pub fn opened(
        &mut self,
        now: Instant,
        peer: PeerId,
        id: ConnectionId,
        point: ConnectedPoint,
    ) -> bool {
        let entry = self.peers.entry(peer).or_default();
        entry.connections.push(Standing { id, point, since: now });
        entry.connections.len() == 1
    }

    /// A connection is gone; whether it was the peer's last.
    pub fn closed(&mut self, peer: &PeerId, id: ConnectionId) -> bool {
        let Some(entry) = self.peers.get_mut(peer) else { return false };
        entry.connections.retain(|connection| connection.id != id);
        let last = entry.connections.is_empty();
        if last {
            self.peers.remove(peer);
        }
        last
    }

    /// Whether there is a connection.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Connections with a peer, or those of them to one address.
    pub fn connections(&self, peer: &PeerId, to: Option<&Multiaddr>) -> Vec<ConnectionId> {
        let entry = self.peers.get(peer);
        let standing = entry.into_iter().flat_map(|entry| entry.connections.iter());
        let wanted = standing.filter(|c| to.is_none_or(|to| c.point.get_remote_address() == to));
        wanted.map(|c| c.id).collect()
    }

    /// A peer said who it is.
    pub fn identified(&mut self, peer: &PeerId, said: Arc<Identified>) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.identified = Some(said);
        }
    }

    /// A ping came back.
    pub fn pinged(&mut self, peer: &PeerId, took: Duration) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.latency = Some(took);
        }
    }

    /// Somebody finds a peer useful; 0 takes it back.
    pub fn value(&mut self, peer: &PeerId, who: &'static str, value: u32) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.values.insert(who, value);
        }
    }

    /// One of them.
    pub fn one(&self, now: Instant, peer: PeerId) -> Option<Peer> {
        self.peers.get(&peer).map(|entry| entry.show(peer, now))
    }

    /// All of them.
    pub fn all(&self, now: Instant) -> Vec<Peer> {
        self.peers.iter().map(|(peer, entry)| entry.show(*peer, now)).collect()
    }

    /// Everybody's ID.
    pub fn ids(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    /// Who is to go when there are more than `high`, so that `low` are left: the least valued
    /// first, of those the youngest; nobody within the grace period, nobody protected.
    pub fn too_many(
        &self,
        now: Instant,
        (low, high): (usize, usize),
        grace: Duration,
        protected: impl Fn(&PeerId) -> bool,
    ) -> Vec<PeerId> {
        let count: usize = self.peers.values().map(|entry| entry.connections.len()).sum();
        if high == 0 || count <= high {
            return Vec::new();
        }
        let mut candidates: Vec<(u32, std::cmp::Reverse<Instant>, PeerId, usize)> = Vec::new();
        for (peer, entry) in &self.peers {
            let Some(since) = entry.connections.iter().map(|c| c.since).min() else { continue };
            if now.saturating_duration_since(since) >= grace && !protected(peer) {
                let worth = entry.values.values().fold(0u32, |sum, v| sum.saturating_add(*v));
                let connections = entry.connections.len();
                candidates.push((worth, std::cmp::Reverse(since), *peer, connections));
            }
        }
        candidates.sort();
        let mut left = count;
        let mut go = Vec::new();
        for (_, _, peer, connections) in candidates {
            if left <= low {
                break;
            }
            left = left.saturating_sub(connections);
            go.push(peer);
        }
        go
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;

    fn point() -> ConnectedPoint {
        ConnectedPoint::Dialer {
            address: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            role_override: Endpoint::Dialer,
            port_use: PortUse::New,
        }
    }

    #[test]
    fn the_least_useful_go_first_and_the_young_stay() {
        let (mut peers, start) = (Peers::default(), Instant::now());
        let ids: Vec<PeerId> = (0..6).map(|_| PeerId::random()).collect();
        for (at, id) in ids.iter().enumerate() {
            assert!(peers.opened(start, *id, ConnectionId::new_unchecked(at), point()));
            peers.value(id, "test", at as u32);
        }
        let now = start + Duration::from_secs(30);
        let young = PeerId::random();
        peers.opened(now, young, ConnectionId::new_unchecked(9), point());
        let grace = Duration::from_secs(20);
        assert!(peers.too_many(now, (3, 7), grace, |_| false).is_empty());
        let go = peers.too_many(now, (4, 6), grace, |peer| *peer == ids[1]);
        assert_eq!(go, [ids[0], ids[2], ids[3]]);
        assert!(peers.too_many(now, (0, 0), grace, |_| false).is_empty());
    }
}

//! Which addresses this node has nothing to do with: `Swarm.AddrFilters`, and transports that are
//! switched off. Refuses before a byte is exchanged, in both directions.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, ToSwarm, dummy};
use libp2p::{Multiaddr, PeerId};

/// Most filters that are kept: each is looked at for each dial.
const FILTERS_MAX: usize = 4096;

/// A block of IP addresses, as in `/ip4/10.0.0.0/ipcidr/8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    ip: IpAddr,
    bits: u8,
}

impl std::str::FromStr for Block {
    type Err = String;

    /// Reads a multiaddr with a mask, or `10.0.0.0/8`.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("invalid address filter {text:?}: expected /ip4/10.0.0.0/ipcidr/8");
        let parts: Vec<&str> = text.split('/').collect();
        let (ip, bits) = match parts.as_slice() {
            ["", "ip4" | "ip6", ip, "ipcidr", bits] | [ip, bits] => (ip, bits),
            _ => return Err(bad()),
        };
        let ip: IpAddr = ip.parse().map_err(|_| bad())?;
        let bits: u8 = bits.parse().map_err(|_| bad())?;
        if u32::from(bits) > width(ip) {
            return Err(bad());
        }
        Ok(Self { ip, bits })
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = if self.ip.is_ipv4() { "ip4" } else { "ip6" };
        write!(f, "/{family}/{}/ipcidr/{}", self.ip, self.bits)
    }
}

impl Block {
    /// Whether an IP address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let shift = width(ip).saturating_sub(u32::from(self.bits));
        let top = |ip| number(ip).checked_shr(shift).unwrap_or(0);
        self.ip.is_ipv4() == ip.is_ipv4() && top(self.ip) == top(ip)
    }
}

fn width(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The IP address that a multiaddr begins with.
pub fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(ip.into(), IpAddr::V4)),
        _ => None,
    }
}

/// Which transports are switched on (`Swarm.Transports.Network`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// TCP without WebSocket.
    pub tcp: bool,
    /// QUIC.
    pub quic: bool,
    /// WebSocket.
    pub websocket: bool,
}

impl Transports {
    /// Whether an address belongs to a transport that is on. Addresses that only a resolver
    /// understands do; what they lead to is looked at again.
    pub fn allow(&self, address: &Multiaddr) -> bool {
        let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|p| wanted(&p));
        if has(|p| matches!(p, Protocol::Ws(_) | Protocol::Wss(_))) {
            return self.websocket;
        }
        if has(|p| matches!(p, Protocol::QuicV1)) {
            return self.quic && !has(|p| matches!(p, Protocol::WebTransport));
        }
        if has(|p| matches!(p, Protocol::Tcp(_))) {
            return self.tcp;
        }
        has(|p| matches!(p, Protocol::Dnsaddr(_)))
    }
}

/// The filters; clones share them.
#[derive(Clone)]
pub struct Filters {
    blocks: Arc<RwLock<Vec<Block>>>,
    transports: Transports,
}

impl Filters {
    /// Filters over the configured blocks.
    pub fn new(blocks: Vec<Block>, transports: Transports) -> Self {
        Self { blocks: Arc::new(RwLock::new(blocks)), transports }
    }

    /// Refuses a block from now on; `false` when there are too many already.
    pub fn add(&self, block: Block) -> bool {
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        if !blocks.contains(&block) {
            if blocks.len() >= FILTERS_MAX {
                return false;
            }
            blocks.push(block);
        }
        true
    }

    /// Lets a block in again.
    pub fn remove(&self, block: &Block) {
        self.blocks.write().unwrap_or_else(PoisonError::into_inner).retain(|b| b != block);
    }

    /// Lets everybody in again.
    pub fn clear(&self) {
        self.blocks.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What is refused.
    pub fn list(&self) -> Vec<Block> {
        self.blocks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether an address may be dialled.
    pub fn allow(&self, address: &Multiaddr) -> bool {
        self.transports.allow(address) && self.allow_from(address)
    }

    /// Whether a connection from an address may come in.
    fn allow_from(&self, address: &Multiaddr) -> bool {
        let Some(ip) = ip_of(address) else { return true };
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        !blocks.iter().any(|block| block.contains(ip))
    }
}

/// An address that a filter refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0} is refused by Swarm.AddrFilters or Swarm.Transports")]
pub struct Refused(Multiaddr);

/// The swarm's side.
pub struct Behaviour(Filters);

impl Behaviour {
    /// A behaviour that applies `filters`.
    pub fn new(filters: Filters) -> Self {
        Self(filters)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        match self.0.allow_from(remote) {
            true => Ok(()),
            false => Err(ConnectionDenied::new(Refused(remote.clone()))),
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    /// Looked at once more here: a name may have led to an address that is refused.
    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        match self.0.allow_from(address) {
            true => Ok(dummy::ConnectionHandler),
            false => Err(ConnectionDenied::new(Refused(address.clone()))),
        }
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: std::convert::Infallible,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, std::convert::Infallible>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_what_is_in_them_and_nothing_else() {
        let block: Block = "/ip4/10.0.0.0/ipcidr/8".parse().unwrap();
        assert!(block.contains("10.255.0.1".parse().unwrap()));
        assert!(!block.contains("11.0.0.1".parse().unwrap()));
        assert!(!block.contains("::1".parse().unwrap()));
        let all: Block = "::/0".parse().unwrap();
        assert!(all.contains("2001:db8::1".parse().unwrap()));
        assert_eq!(block.to_string(), "/ip4/10.0.0.0/ipcidr/8");
        for bad in ["", "/ip4/10.0.0.0", "10.0.0.0/33", "/ip4/x/ipcidr/8", "::/129"] {
            assert!(bad.parse::<Block>().is_err(), "{bad}");
        }
    }

    #[test]
    fn transports_are_told_from_addresses() {
        let only_tcp = Transports { tcp: true, quic: false, websocket: false };
        let allow = |text: &str| only_tcp.allow(&text.parse().unwrap());
        assert!(allow("/ip4/127.0.0.1/tcp/4001"));
        assert!(!allow("/ip4/127.0.0.1/tcp/4001/ws"));
        assert!(!allow("/ip4/127.0.0.1/udp/4001/quic-v1"));
        assert!(allow("/dnsaddr/example.org"));
        assert!(!allow("/ip4/127.0.0.1/udp/4001/webrtc-direct"));
    }

    #[test]
    fn a_mapped_address_does_not_slip_past_its_block() {
        let filters = Filters::new(
            vec!["/ip4/10.0.0.0/ipcidr/8".parse().unwrap()],
            Transports { tcp: true, quic: true, websocket: true },
        );
        assert!(!filters.allow(&"/ip6/::ffff:10.0.0.1/tcp/1".parse().unwrap()));
        assert!(!filters.allow(&"/ip4/10.1.1.1/tcp/1".parse().unwrap()));
        assert!(filters.allow(&"/ip4/127.0.0.1/tcp/1".parse().unwrap()));
    }
}

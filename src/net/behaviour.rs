//! What the swarm is made of: one field a protocol, and what bounds them all.

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{identify, mdns, memory_connection_limits, ping};

use super::filters::Filters;
use super::{NetError, Settings, filters, streams};

/// Connections being made to this node at a time.
const PENDING_IN_MAX: u32 = 256;
/// Connections that this node is making at a time: a lookup may want many at once.
const PENDING_OUT_MAX: u32 = 128;
/// Connections with one peer: both sides may dial at once, over TCP and QUIC.
const PER_PEER_MAX: u32 = 8;
/// What identify calls the family of protocols, as Kubo does.
const PROTOCOL_FAMILY: &str = "ipfs/0.1.0";

/// All protocols of the swarm's own.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    /// Before anything else: who is refused costs nothing.
    filters: filters::Behaviour,
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    /// Who a peer is and what it speaks.
    pub identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    /// Everything else, for whoever speaks it.
    streams: streams::Behaviour,
}

impl Behaviour {
    /// Builds them as the settings say.
    ///
    /// # Errors
    /// When the local network cannot be listened to for mDNS.
    pub fn new(
        settings: &Settings,
        key: &Keypair,
        filters: Filters,
        streams: streams::Streams,
    ) -> Result<Self, NetError> {
        let local = key.public().to_peer_id();
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(PENDING_IN_MAX))
            .with_max_pending_outgoing(Some(PENDING_OUT_MAX))
            .with_max_established_per_peer(Some(PER_PEER_MAX))
            .with_max_established(Some(settings.connections_max));
        // What is announced is decided here (`Addresses.Announce`), not by what is listened on.
        let identify = identify::Config::new(PROTOCOL_FAMILY.into(), key.public())
            .with_agent_version(settings.agent.clone())
            .with_hide_listen_addrs(true);
        let mdns =
            settings.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), local));
        Ok(Self {
            filters: filters::Behaviour::new(filters),
            limits: connection_limits::Behaviour::new(limits),
            memory: memory_connection_limits::Behaviour::with_max_bytes(settings.memory_max_bytes),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            mdns: mdns.transpose().map_err(NetError::Mdns)?.into(),
            streams: streams::Behaviour::new(streams),
        })
    }
}

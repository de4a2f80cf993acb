//! From the configuration to the network's settings: reads the addresses that the configuration
//! keeps as texts, and names the key of one that cannot be read.

use libp2p::multiaddr::Protocol;

use super::BootError;
use crate::config::identity::decode_peer_id;
use crate::config::{Config, Identity};
use crate::net::filters::{Block, Transports};
use crate::net::{self, Encryption, Multiaddr, PeerId, Settings, book};
use crate::node::Node;

/// Connections beyond the high water mark that are still taken, as a factor: the mark is looked
/// at every few seconds, this bound always holds.
const BURST: usize = 8;
/// Connections when there is no high water mark.
const CONNECTIONS_MAX: usize = 4096;
/// Memory of the process above which connections are refused, unless configured: as Kubo, half of
/// the machine's would be more than a node of this kind needs.
const MEMORY_MAX_BYTES: u64 = 4 << 30;

/// What the network is told.
pub fn settings(config: &Config) -> Result<Settings, BootError> {
    let manager = config.conn_mgr()?;
    let connections = match manager.high_water {
        0 => CONNECTIONS_MAX,
        high => high.saturating_mul(BURST),
    };
    let list = |key| config.list(key).unwrap_or_default();
    let (no_announce_blocks, no_announce): (Vec<_>, Vec<_>) =
        list("Addresses.NoAnnounce").into_iter().partition(|text| text.contains("/ipcidr/"));
    let memory = config.max_memory()?.unwrap_or(MEMORY_MAX_BYTES);
    Ok(Settings {
        listen: listen(config)?,
        announce: addresses("Addresses.Announce", &list("Addresses.Announce"))?,
        append_announce: addresses("Addresses.AppendAnnounce", &list("Addresses.AppendAnnounce"))?,
        no_announce: addresses("Addresses.NoAnnounce", &no_announce)?,
        no_announce_blocks: blocks("Addresses.NoAnnounce", &no_announce_blocks)?,
        filters: blocks("Swarm.AddrFilters", &list("Swarm.AddrFilters"))?,
        transports: Transports {
            tcp: config.transport("Swarm.Transports.Network.TCP"),
            quic: config.transport("Swarm.Transports.Network.QUIC"),
            websocket: config.transport("Swarm.Transports.Network.Websocket"),
        },
        encryption: Encryption {
            tls: config.security("Swarm.Transports.Security.TLS"),
            noise: config.security("Swarm.Transports.Security.Noise"),
        },
        mdns: config.flag("Discovery.MDNS.Enabled").unwrap_or(false),
        low_water: manager.low_water,
        high_water: manager.high_water,
        grace: manager.grace,
        idle: net::IDLE_TIME,
        connections_max: u32::try_from(connections).unwrap_or(u32::MAX),
        memory_max_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
        peering: peering(config)?,
        agent: agent(config),
    })
}

/// The same, listening on ports that are free.
pub fn on_any_port(mut settings: Settings) -> Settings {
    let free = |part| match part {
        Protocol::Tcp(_) => Protocol::Tcp(0),
        Protocol::Udp(_) => Protocol::Udp(0),
        other => other,
    };
    let freed = settings.listen.iter().map(|address| address.iter().map(free).collect());
    settings.listen = freed.collect();
    settings
}

/// The same for one errand: nobody can connect, and nobody is looked for.
pub fn quiet(settings: Settings) -> Settings {
    Settings { listen: Vec::new(), mdns: false, peering: Vec::new(), ..settings }
}

/// The key for encryption and signatures.
pub fn key(config: &Config) -> Result<libp2p_identity::Keypair, BootError> {
    Ok(Identity::from_config(config)?.keypair().clone())
}

/// Peers to begin with, and their addresses. Addresses without a peer's ID are refused: whoever
/// answers there could be anybody.
pub fn bootstrap(config: &Config) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, BootError> {
    let mut peers: Vec<(PeerId, Vec<Multiaddr>)> = Vec::new();
    for address in addresses("Bootstrap", &config.bootstrap_peers())? {
        let Some(peer) = book::peer_of(&address) else {
            let cause = format!("{address} does not end in /p2p/<peer ID>");
            return Err(BootError::Address { key: "Bootstrap", cause });
        };
        match peers.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, known)) => known.push(address),
            None => peers.push((peer, vec![address])),
        }
    }
    Ok(peers)
}

fn agent(config: &Config) -> String {
    match config.text("Version.AgentSuffix") {
        Some(suffix) if !suffix.is_empty() => format!("{}/{suffix}", Node::agent()),
        _ => Node::agent(),
    }
}

/// Addresses to listen on. Kubo's defaults name transports that this node does not have: those
/// are passed over.
fn listen(config: &Config) -> Result<Vec<Multiaddr>, BootError> {
    let texts = config.swarm_addresses();
    let known =
        |text: &&String| !text.contains("/webrtc-direct") && !text.contains("/webtransport");
    let texts: Vec<String> = texts.iter().filter(known).cloned().collect();
    addresses("Addresses.Swarm", &texts)
}

fn peering(config: &Config) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, BootError> {
    let key = "Peering.Peers";
    let read = |(id, texts): (String, Vec<String>)| {
        let cause = || format!("{id:?} is not a peer ID");
        let peer = decode_peer_id(&id).ok_or_else(|| BootError::Address { key, cause: cause() })?;
        Ok((peer, addresses(key, &texts)?))
    };
    config.peering_peers().into_iter().map(read).collect()
}

fn addresses(key: &'static str, texts: &[String]) -> Result<Vec<Multiaddr>, BootError> {
    let parse = |text: &String| {
        let cause = |e| format!("{text:?} is not an address: {e}");
        // Older configurations spell a peer's ID with /ipfs/.
        let spelled = text.replace("/ipfs/", "/p2p/");
        spelled.parse().map_err(|e| BootError::Address { key, cause: cause(e) })
    };
    texts.iter().map(parse).collect()
}

fn blocks(key: &'static str, texts: &[String]) -> Result<Vec<Block>, BootError> {
    let parse = |text: &String| text.parse().map_err(|cause| BootError::Address { key, cause });
    texts.iter().map(parse).collect()
}

/// Listeners as `host:port (TCP+UDP)`, those of one host and port together.
pub fn spots(listening: &[Multiaddr]) -> Vec<String> {
    let mut spots: Vec<(String, Vec<&str>)> = Vec::new();
    for address in listening {
        let (mut host, mut port, mut kind) = (String::new(), 0, "");
        for part in address {
            match part {
                Protocol::Ip4(ip) => host = ip.to_string(),
                Protocol::Ip6(ip) => host = format!("[{ip}]"),
                Protocol::Tcp(number) => (port, kind) = (number, "TCP"),
                Protocol::Udp(number) => (port, kind) = (number, "UDP"),
                _ => {}
            }
        }
        let spot = format!("{host}:{port}");
        match spots.iter_mut().find(|(known, _)| *known == spot) {
            Some((_, kinds)) => kinds.push(kind),
            None => spots.push((spot, vec![kind])),
        }
    }
    spots.iter_mut().for_each(|(_, kinds)| kinds.sort_unstable());
    spots.into_iter().map(|(spot, kinds)| format!("{spot} ({})", kinds.join("+"))).collect()
}

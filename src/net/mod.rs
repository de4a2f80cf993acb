//! The network: connections to peers, and streams over them for whoever speaks a protocol.
//!
//! [`Net`] is the handle, [`driver`] the loop on its own thread that owns libp2p's swarm. Knows
//! neither blocks nor records, and never reads the store. Nothing of libp2p's events leaves this
//! room; its names for peers, addresses, protocols and streams do.

mod bandwidth;
mod behaviour;
pub mod book;
mod dials;
mod driver;
pub mod filters;
mod peers;
mod quic;
pub mod streams;
#[cfg(test)]
pub(crate) mod tests;
mod transport;
mod yamux;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
pub use libp2p::swarm::{Stream, StreamProtocol};
pub use libp2p::{Multiaddr, PeerId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::task;
pub use bandwidth::Bandwidth;
use bandwidth::Meter;
pub use book::Source;
pub use dials::DialError;
use driver::Command;
use filters::{Block, Filters, Transports};
pub use peers::{Connection, Identified, Peer};
pub use streams::{Inbound, OpenError, Streams};
pub use transport::Encryption;

/// The usual [`Settings::idle`]. Streams keep their connection for as long as they are open.
pub const IDLE_TIME: Duration = Duration::from_secs(60);
/// Commands that wait for the loop.
const COMMANDS: usize = 256;
/// Events that a subscriber may fall behind.
const EVENTS: usize = 1024;

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The key makes no certificate.
    #[error("the identity cannot be used for encryption: {0}")]
    Key(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// The system's reason.
        cause: String,
    },
    /// None of the addresses can be listened on.
    #[error("none of the addresses in Addresses.Swarm can be listened on: {0}")]
    Deaf(String),
    /// The system's resolver cannot be asked.
    #[error("the system's resolver: {0}")]
    Resolver(io::Error),
    /// The local network cannot be searched.
    #[error("Discovery.MDNS: {0}")]
    Mdns(io::Error),
    /// The system refuses a thread.
    #[error("{0}")]
    Thread(io::Error),
}

/// What the network is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: Vec<Multiaddr>,
    /// Announced instead of what is listened on, when not empty.
    pub announce: Vec<Multiaddr>,
    /// Announced beside it.
    pub append_announce: Vec<Multiaddr>,
    /// Never announced.
    pub no_announce: Vec<Multiaddr>,
    /// Blocks of addresses never announced.
    pub no_announce_blocks: Vec<Block>,
    /// Blocks of addresses this node has nothing to do with.
    pub filters: Vec<Block>,
    /// Transports that are on.
    pub transports: Transports,
    /// Ways of encryption that are on.
    pub encryption: Encryption,
    /// Whether peers on the local network are searched.
    pub mdns: bool,
    /// Connections that are kept when there are too many.
    pub low_water: usize,
    /// Connections that are too many; 0 keeps all.
    pub high_water: usize,
    /// Age below which a connection is not closed for being one too many.
    pub grace: Duration,
    /// A connection over which nothing is open is closed after this.
    pub idle: Duration,
    /// Most connections, whatever they are.
    pub connections_max: u32,
    /// Memory of the process above which no connection is made or taken.
    pub memory_max_bytes: usize,
    /// Peers to stay connected with.
    pub peering: Vec<(PeerId, Vec<Multiaddr>)>,
    /// Name and version that peers are told.
    pub agent: String,
}

/// Something that happened to a peer.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first connection with it stands.
    Connected(PeerId),
    /// The last one is gone.
    Disconnected(PeerId),
    /// It said who it is, for the first time or anew.
    Identified(PeerId, Arc<Identified>),
    /// The subscriber fell behind: what it knows may be stale. [`Net::peers`] tells what holds.
    Lagged,
}

/// Events as they come.
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` when the network has stopped.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Event::Lagged),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// A handle to the network; clones share it.
#[derive(Clone)]
pub struct Net {
    local: PeerId,
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<Event>,
    streams: Streams,
    filters: Filters,
    listening: watch::Receiver<Arc<[Multiaddr]>>,
    announced: watch::Receiver<Arc<[Multiaddr]>>,
    meter: Meter,
}

/// What ends the network: dropping it does not, [`Stop::stop`] does.
pub struct Stop {
    commands: mpsc::Sender<Command>,
    thread: std::thread::JoinHandle<()>,
}

impl Stop {
    /// Closes every connection and waits until the loop has ended.
    pub async fn stop(self) {
        let _ = self.commands.send(Command::Stop).await;
        let _ = task::blocking(move || self.thread.join()).await;
    }
}

impl Net {
    /// Listens, and runs the loop on its own thread. To be called within a runtime, which serves
    /// the sockets.
    ///
    /// # Errors
    /// [`NetError`]: names the address or setting.
    pub async fn start(settings: Settings, key: Keypair) -> Result<(Self, Stop), NetError> {
        let local = key.public().to_peer_id();
        let (commands, asked) = mpsc::channel(COMMANDS);
        let (events, _) = broadcast::channel(EVENTS);
        let (streams, transports) = (Streams::default(), settings.transports);
        let filters = Filters::new(settings.filters.clone(), transports);
        let meter = Meter::default();
        let (listen_out, listening) = watch::channel(Arc::from([]));
        let (announce_out, announced) = watch::channel(Arc::from([]));
        let out = driver::Outputs {
            events: events.clone(),
            listening: listen_out,
            announced: announce_out,
            meter: meter.clone(),
        };
        let mut driver =
            driver::Driver::new(settings, &key, filters.clone(), streams.clone(), asked, out)?;
        driver.listen().await?;
        let runtime = tokio::runtime::Handle::current();
        let thread = task::thread("swarm", move || runtime.block_on(driver.run()));
        let thread = thread.map_err(NetError::Thread)?;
        let stop = Stop { commands: commands.clone(), thread };
        Ok((Self { local, commands, events, streams, filters, listening, announced, meter }, stop))
    }

    /// This node.
    pub fn local(&self) -> PeerId {
        self.local
    }

    /// Streams over connections that stand.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// How much goes over streams: from and to a peer, or all of them.
    pub fn bandwidth(&self, peer: Option<&PeerId>) -> Bandwidth {
        self.meter.bandwidth(peer)
    }

    /// Which addresses are refused.
    pub fn filters(&self) -> &Filters {
        &self.filters
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        Events(self.events.subscribe())
    }

    /// Addresses listened on, without the peer ID.
    pub fn listening(&self) -> Arc<[Multiaddr]> {
        self.listening.borrow().clone()
    }

    /// Addresses that peers are told, without the peer ID; changes wake the watcher.
    pub fn announced(&self) -> watch::Receiver<Arc<[Multiaddr]>> {
        self.announced.clone()
    }

    /// Connects, unless there is a connection. Known addresses are tried beside the given ones.
    ///
    /// # Errors
    /// [`DialError`] says what was tried and why each failed.
    pub async fn connect(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), DialError> {
        let (reply, outcome) = oneshot::channel();
        let gone = |_| DialError::Stopped(peer);
        let connect = Command::Connect { peer, addresses, reply };
        self.commands.send(connect).await.map_err(|_| DialError::Stopped(peer))?;
        outcome.await.map_err(gone)?
    }

    /// Closes connections: all of them, or those to one address. Gives how many there were.
    pub async fn disconnect(&self, peer: PeerId, address: Option<Multiaddr>) -> usize {
        self.ask(|reply| Command::Disconnect { peer, address, reply }).await.unwrap_or(0)
    }

    /// Everybody there is a connection with.
    pub async fn peers(&self) -> Vec<Peer> {
        self.ask(Command::Peers).await.unwrap_or_default()
    }

    /// One of them.
    pub async fn peer(&self, peer: PeerId) -> Option<Peer> {
        self.ask(|reply| Command::Peer { peer, reply }).await.flatten()
    }

    /// Addresses that are known of a peer.
    pub async fn addresses(&self, peer: PeerId) -> Vec<Multiaddr> {
        self.ask(|reply| Command::Addresses { peer, reply }).await.unwrap_or_default()
    }

    /// Every address that is known.
    pub async fn book(&self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        self.ask(Command::Book).await.unwrap_or_default()
    }

    /// Remembers addresses of a peer.
    pub async fn learn(&self, peer: PeerId, addresses: Vec<Multiaddr>, source: Source) {
        let _ = self.commands.send(Command::Learn { peer, addresses, source }).await;
    }

    /// Says how useful a peer is to the caller: the least useful are closed first when there are
    /// too many. Lost when the loop is busy: it is said again soon.
    pub fn value(&self, peer: PeerId, who: &'static str, value: u32) {
        let _ = self.commands.try_send(Command::Value { peer, who, value });
    }

    /// Stays connected with a peer from now on.
    pub async fn peering_add(&self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let _ = self.commands.send(Command::PeeringAdd { peer, addresses }).await;
    }

    /// Does so no longer; whether it did.
    pub async fn peering_remove(&self, peer: PeerId) -> bool {
        self.ask(|reply| Command::PeeringRemove { peer, reply }).await.unwrap_or(false)
    }

    /// With whom it stays connected.
    pub async fn peering(&self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        self.ask(Command::Peering).await.unwrap_or_default()
    }

    /// Asks the loop; `None` when it has stopped.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

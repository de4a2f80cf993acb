//! Peers in this process: one that says whatever bytes a test wants it to, over any protocol, and
//! one that fetches and serves as it should.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use henge::exchange::Exchange as _;
use henge::exchange::bitswap::{self, Bitswap, Search};
use henge::exchange::engine;
use henge::ipld::block::Block;
use henge::ipld::cid::Cid;
use henge::net::filters::Transports;
use henge::net::{Encryption, Multiaddr, Net, PeerId, Settings, Stop, Stream, StreamProtocol};
use henge::store::Store;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};

/// Time to open a stream, or to be let write to one: a flood goes on without those that hang.
const TIME: Duration = Duration::from_secs(5);

/// What a peer of this process is told at its start.
fn settings(listen: &[&str]) -> Settings {
    Settings {
        listen: listen.iter().map(|address| address.parse().unwrap()).collect(),
        announce: Vec::new(),
        append_announce: Vec::new(),
        no_announce: Vec::new(),
        no_announce_blocks: Vec::new(),
        filters: Vec::new(),
        transports: Transports { tcp: true, quic: true, websocket: true },
        encryption: Encryption { tls: true, noise: true },
        mdns: false,
        low_water: 32,
        high_water: 0,
        grace: Duration::from_secs(20),
        idle: henge::net::IDLE_TIME,
        connections_max: 1000,
        memory_max_bytes: usize::MAX,
        peering: Vec::new(),
        agent: "scripted".into(),
    }
}

/// A peer that says what it is told to.
pub struct Scripted {
    pub net: Net,
    /// Whom it is connected with.
    pub victim: PeerId,
    stop: Option<Stop>,
}

impl Scripted {
    /// One that is connected with a node at this address, which ends in the node's ID.
    pub async fn connect(address: &str) -> Self {
        let key = Keypair::generate_ed25519();
        let (net, stop) = Net::start(settings(&[]), key).await.unwrap();
        let victim = dial(&net, address).await;
        Self { net, victim, stop: Some(stop) }
    }

    /// So many of them.
    pub async fn crowd(count: usize, address: &str) -> Vec<Self> {
        join_all((0..count).map(|_| Self::connect(address))).await
    }

    /// Opens a stream; `None` when the other side does not let it.
    pub async fn open(&self, protocol: &'static str) -> Option<Compat<Stream>> {
        let protocols = [StreamProtocol::new(protocol)];
        let opened = self.net.streams().open(self.victim, &protocols);
        let (_, stream) = tokio::time::timeout(TIME, opened).await.ok()?.ok()?;
        Some(stream.compat())
    }

    /// Opens a stream and writes to it; gives it as it is then, also when it was cut off.
    pub async fn say(&self, protocol: &'static str, bytes: &[u8]) -> Option<Compat<Stream>> {
        let mut stream = self.open(protocol).await?;
        pour(&mut stream, bytes).await;
        Some(stream)
    }

    /// Leaves.
    pub async fn leave(mut self) {
        self.stop.take().unwrap().stop().await;
    }
}

/// Writes as much as the other side takes; whether that was all.
pub async fn pour(stream: &mut Compat<Stream>, bytes: &[u8]) -> bool {
    let writing = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    matches!(tokio::time::timeout(TIME, writing).await, Ok(Ok(())))
}

async fn dial(net: &Net, address: &str) -> PeerId {
    let mut address: Multiaddr = address.parse().unwrap();
    let Some(Protocol::P2p(peer)) = address.pop() else { panic!("{address} names nobody") };
    net.connect(peer, vec![address]).await.unwrap();
    peer
}

/// A node with an exchange and nothing else.
pub struct Honest {
    pub net: Net,
    pub store: Store,
    bitswap: Bitswap,
    stops: (bitswap::Stop, Stop),
}

impl Honest {
    /// One that listens on the loopback and finds nobody by itself.
    pub async fn start() -> Self {
        let key = Keypair::generate_ed25519();
        let (net, stop) = Net::start(settings(&["/ip4/127.0.0.1/tcp/0"]), key).await.unwrap();
        let store = Store::in_memory().unwrap();
        let nobody: Search = Arc::new(|_| mpsc::channel(1).1);
        let (bitswap, stop_bitswap) =
            Bitswap::start(net.clone(), store.clone(), nobody, engine::Settings::default());
        Self { net, store, bitswap, stops: (stop_bitswap, stop) }
    }

    /// Connects.
    pub async fn connect(&self, address: &str) {
        dial(&self.net, address).await;
    }

    /// Fetches all of them at once; each is what its name says, or this panics.
    pub async fn fetch(&self, cids: &[Cid]) -> Vec<Block> {
        let session = self.bitswap.session();
        let all = join_all(cids.iter().map(|cid| session.fetch(*cid))).await;
        all.into_iter().map(Result::unwrap).collect()
    }

    /// Leaves.
    pub async fn leave(self) {
        self.stops.0.stop().await;
        self.stops.1.stop().await;
    }
}

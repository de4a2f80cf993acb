//! `swarm`, `ping` and `id`: who is connected, and being connected.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::futures::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::{Error, Node, Results};
use crate::net::filters::Block;
use crate::net::{Identified, OpenError, Stream, StreamProtocol, book};
pub use crate::net::{Multiaddr, Peer, PeerId};
use crate::task;

/// Time in which a peer says who it is, once connected.
const IDENTIFY_TIME: Duration = Duration::from_secs(5);
/// Looks at whether it has.
const IDENTIFY_LOOK: Duration = Duration::from_millis(50);
/// The protocol of `ping` (libp2p specs, ping).
const PING: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");
/// Bytes that go there and back.
const PING_BYTES: usize = 32;
/// Time for them to come back.
const PING_TIME: Duration = Duration::from_secs(10);
/// Time between two pings.
const PING_GAP: Duration = Duration::from_secs(1);
/// Pings waiting for the mouth.
const PINGS: usize = 4;

/// Who a node is.
#[derive(Clone, Debug)]
pub struct Who {
    /// Its ID.
    pub peer: PeerId,
    /// Its public key, libp2p protobuf; empty when it did not say.
    pub public_key: Vec<u8>,
    /// Where it can be reached, with its ID at the end.
    pub addresses: Vec<Multiaddr>,
    /// Its name and version.
    pub agent: String,
    /// What it speaks.
    pub protocols: Vec<String>,
}

/// A peer and perhaps where it is: what an address with an ID at its end says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The peer.
    pub peer: PeerId,
    /// Its address without the ID.
    pub address: Option<Multiaddr>,
}

impl std::str::FromStr for Target {
    type Err = Error;

    /// Reads `/ip4/…/p2p/<id>`, also in the older spelling `/ipfs/<id>`, or `/p2p/<id>`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let spelled = text.replace("/ipfs/", "/p2p/");
        let bad = |why: String| Error::Invalid(format!("invalid peer address {text:?}: {why}"));
        let whole: Multiaddr = spelled.parse().map_err(|e| bad(format!("{e}")))?;
        let peer = book::peer_of(&whole).ok_or_else(|| bad("it has no /p2p/<peer ID>".into()))?;
        let address = book::without_peer(whole);
        Ok(Self { peer, address: Some(address).filter(|address| !address.is_empty()) })
    }
}

impl Node {
    /// Everybody there is a connection with.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub async fn swarm_peers(&self) -> Result<Vec<Peer>, Error> {
        let mut peers = self.network()?.net.peers().await;
        peers.sort_by_key(|peer| peer.id);
        Ok(peers)
    }

    /// Connects with a peer; a connection that stands is enough.
    ///
    /// # Errors
    /// [`Error::Dial`] says what was tried.
    pub async fn swarm_connect(&self, to: &Target) -> Result<(), Error> {
        let net = &self.network()?.net;
        Ok(net.connect(to.peer, to.address.iter().cloned().collect()).await?)
    }

    /// Closes the connections with a peer, or those to the address given.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none.
    pub async fn swarm_disconnect(&self, from: &Target) -> Result<(), Error> {
        let net = &self.network()?.net;
        match net.disconnect(from.peer, from.address.clone()).await {
            0 => Err(Error::Conflict("conn not found".into())),
            _ => Ok(()),
        }
    }

    /// Addresses listened on.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub fn listening(&self) -> Result<Arc<[Multiaddr]>, Error> {
        Ok(self.network()?.net.listening())
    }

    /// Addresses that peers are told.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub fn announced(&self) -> Result<Arc<[Multiaddr]>, Error> {
        Ok(self.network()?.net.announced().borrow().clone())
    }

    /// Every peer whose addresses are known, and they.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub async fn known_addresses(&self) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, Error> {
        let mut known = self.network()?.net.book().await;
        known.sort_by_key(|(peer, _)| *peer);
        Ok(known)
    }

    /// Stays connected with a peer, until told otherwise or restarted.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub async fn peering_add(&self, with: &Target) -> Result<(), Error> {
        let addresses = with.address.iter().cloned().collect();
        self.network()?.net.peering_add(with.peer, addresses).await;
        Ok(())
    }

    /// Does so no longer.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub async fn peering_remove(&self, peer: PeerId) -> Result<bool, Error> {
        Ok(self.network()?.net.peering_remove(peer).await)
    }

    /// With whom the node stays connected.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub async fn peering(&self) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, Error> {
        let mut with = self.network()?.net.peering().await;
        with.sort_by_key(|(peer, _)| *peer);
        Ok(with)
    }

    /// Blocks of addresses the node has nothing to do with.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub fn address_filters(&self) -> Result<Vec<Block>, Error> {
        Ok(self.network()?.net.filters().list())
    }

    /// Refuses one more, until the restart.
    ///
    /// # Errors
    /// A text that is none; too many.
    pub fn address_filter_add(&self, text: &str) -> Result<(), Error> {
        let block = text.parse().map_err(Error::Invalid)?;
        match self.network()?.net.filters().add(block) {
            true => Ok(()),
            false => Err(Error::Conflict("too many address filters".into())),
        }
    }

    /// Lets one in again; `all` for every one.
    ///
    /// # Errors
    /// A text that is none.
    pub fn address_filter_remove(&self, text: &str) -> Result<(), Error> {
        let filters = self.network()?.net.filters();
        match text {
            "all" => filters.clear(),
            _ => filters.remove(&text.parse().map_err(Error::Invalid)?),
        }
        Ok(())
    }

    /// Who a peer is: asks it, connecting if needed.
    ///
    /// # Errors
    /// [`Error::Dial`]; [`Error::Timeout`] when it does not say.
    pub async fn who_is(&self, peer: PeerId) -> Result<Who, Error> {
        let net = &self.network()?.net;
        net.connect(peer, Vec::new()).await?;
        let deadline = Instant::now() + IDENTIFY_TIME;
        loop {
            let shown = net.peer(peer).await;
            if let Some(said) = shown.and_then(|peer| peer.identified) {
                return Ok(who(peer, &said));
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout(format!("{peer} does not say who it is")));
            }
            tokio::time::sleep(IDENTIFY_LOOK).await;
        }
    }

    /// Sends bytes to a peer and back, `count` times, a second apart; gives the time each took.
    /// 0 goes on until the receiver is dropped.
    ///
    /// # Errors
    /// When the peer cannot be reached or does not speak the protocol, at once.
    pub async fn ping(&self, to: &Target, count: u64) -> Result<Results<Duration>, Error> {
        self.swarm_connect(to).await?;
        let net = &self.network()?.net;
        let (_, mut stream) = net.streams().open(to.peer, &[PING]).await?;
        let (out, pongs) = mpsc::channel(PINGS);
        let peer = to.peer;
        task::detach(async move {
            for done in 1.. {
                let pong = ping_once(peer, &mut stream).await;
                let failed = pong.is_err();
                if out.send(pong).await.is_err() || failed || done == count {
                    return;
                }
                tokio::time::sleep(PING_GAP).await;
            }
        });
        Ok(pongs)
    }
}

/// 32 bytes there and back.
async fn ping_once(peer: PeerId, stream: &mut Stream) -> Result<Duration, Error> {
    let sent: [u8; PING_BYTES] = rand::random();
    let started = Instant::now();
    let exchange = async {
        stream.write_all(&sent).await?;
        stream.flush().await?;
        let mut back = [0u8; PING_BYTES];
        stream.read_exact(&mut back).await?;
        Ok::<_, std::io::Error>(back)
    };
    let failed = |why: String| OpenError::Failed(peer, why);
    match tokio::time::timeout(PING_TIME, exchange).await {
        Err(_) => Err(Error::Timeout(format!("{peer} does not answer the ping"))),
        Ok(Err(error)) => Err(failed(error.to_string()).into()),
        Ok(Ok(back)) if back != sent => Err(failed("it sends back other bytes".into()).into()),
        Ok(Ok(_)) => Ok(started.elapsed()),
    }
}

fn who(peer: PeerId, said: &Identified) -> Who {
    let whole = |address: &Multiaddr| {
        let bare = book::without_peer(address.clone());
        bare.with(libp2p::multiaddr::Protocol::P2p(peer))
    };
    Who {
        peer,
        public_key: said.public_key.clone(),
        addresses: said.addresses.iter().map(whole).collect(),
        agent: said.agent.clone(),
        protocols: said.protocols.clone(),
    }
}

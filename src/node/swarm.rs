//! `swarm`, `ping` and `id`: who is connected, and being connected.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::futures::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::{Error, Node, Results};
use crate::exchange::wire::PROTOCOLS;
use crate::net::filters::Block;
pub use crate::net::{Connection, Multiaddr, Peer, PeerId};
use crate::net::{DialError, Identified, OpenError, Stream, StreamProtocol, book};
use crate::routing::Watch;
use crate::task;

/// Time in which a peer says who it is, once connected.
const IDENTIFY_TIME: Duration = Duration::from_secs(5);
/// Looks at whether it has.
const IDENTIFY_LOOK: Duration = Duration::from_millis(50);
/// Time for a peer's addresses to be found.
const FIND_TIME: Duration = Duration::from_secs(10);
/// The protocol of `ping` (libp2p specs, ping).
const PING: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");
/// Bytes that go there and back.
const PING_BYTES: usize = 32;
/// Time for them to come back.
const PING_TIME: Duration = Duration::from_secs(10);
/// Time between two pings.
const PING_GAP: Duration = Duration::from_secs(1);
/// What every node with a network speaks, beside blocks and the DHTs it serves.
const SPOKEN: [&str; 3] = ["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"];
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

impl Who {
    /// What a connected peer said of itself; nothing but its ID before it has.
    pub fn of(peer: &Peer) -> Self {
        let said = peer.identified.as_deref();
        said.map_or_else(|| Self::unknown(peer.id), |said| who(peer.id, said))
    }

    fn unknown(peer: PeerId) -> Self {
        let (public_key, addresses, protocols) = (Vec::new(), Vec::new(), Vec::new());
        Self { peer, public_key, addresses, agent: String::new(), protocols }
    }
}

/// A peer and perhaps where it is: what an address with an ID at its end says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The peer.
    pub peer: PeerId,
    /// Its addresses without the ID.
    pub addresses: Vec<Multiaddr>,
}

impl Target {
    /// A peer whose addresses the node may know.
    pub fn of(peer: PeerId) -> Self {
        Self { peer, addresses: Vec::new() }
    }

    /// Addresses of the same peer together, in the order of their first ones.
    pub fn group(targets: Vec<Self>) -> Vec<Self> {
        let mut grouped: Vec<Self> = Vec::new();
        for target in targets {
            match grouped.iter_mut().find(|known| known.peer == target.peer) {
                Some(known) => known.addresses.extend(target.addresses),
                None => grouped.push(target),
            }
        }
        grouped
    }
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
        let addresses = Some(address).filter(|address| !address.is_empty());
        Ok(Self { peer, addresses: addresses.into_iter().collect() })
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
        self.reach(to.peer, to.addresses.clone()).await
    }

    /// Connects with a peer; one of whom no address is known is looked up.
    async fn reach(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), Error> {
        let network = self.network()?;
        let error = match network.net.connect(peer, addresses).await {
            Err(error @ DialError::NoAddress(_)) => error,
            other => return Ok(other?),
        };
        let (watch, most) = (Watch::default(), FIND_TIME);
        let found = tokio::time::timeout(most, network.routing.find_peer(peer, &watch)).await;
        match found {
            Ok(Ok(found)) => Ok(network.net.connect(peer, found.addrs).await?),
            Ok(Err(_)) | Err(_) => Err(error.into()),
        }
    }

    /// Closes the connections with a peer, or those to the addresses given.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there is none.
    pub async fn swarm_disconnect(&self, from: &Target) -> Result<(), Error> {
        let net = &self.network()?.net;
        let none = |text: &str| Error::Conflict(text.into());
        let standing = net.peer(from.peer).await.ok_or_else(|| none("not connected"))?;
        let mut closed = 0;
        if from.addresses.is_empty() {
            closed = net.disconnect(from.peer, None).await;
        }
        for connection in standing.connections {
            // Connections made by this node carry the ID at the end of their address.
            if from.addresses.contains(&book::without_peer(connection.address.clone())) {
                closed += net.disconnect(from.peer, Some(connection.address)).await;
            }
        }
        if closed == 0 { Err(none("conn not found")) } else { Ok(()) }
    }

    /// This node's addresses, as peers are told, and what it speaks; `None` while it is offline.
    pub fn myself(&self) -> Option<Who> {
        let network = self.network.as_deref()?;
        let (peer, announced) = (network.net.local(), network.net.announced().borrow().clone());
        let addresses = announced.iter().map(|address| whole(peer, address)).collect();
        let blocks = PROTOCOLS.iter().map(|(name, _)| *name);
        let served = network.dhts.iter().filter(|dht| dht.is_server());
        let served = served.map(|dht| dht.scope().protocol());
        let protocols = SPOKEN.into_iter().chain(blocks).chain(served).map(str::to_owned).collect();
        Some(Who { addresses, protocols, agent: Self::agent(), ..Who::unknown(peer) })
    }

    /// What is known of a peer without asking it.
    pub async fn remembered(&self, peer: PeerId) -> Who {
        let Some(network) = self.network.as_deref() else { return Who::unknown(peer) };
        let standing = network.net.peer(peer).await;
        let who = standing.as_ref().map_or_else(|| Who::unknown(peer), Who::of);
        if !who.addresses.is_empty() {
            return who;
        }
        let mut known = network.net.addresses(peer).await;
        // It may not have said yet where it listens.
        let connections = standing.into_iter().flat_map(|standing| standing.connections);
        known.extend(connections.map(|connection| connection.address));
        let addresses = known.iter().map(|address| whole(peer, address)).collect();
        Who { addresses, ..who }
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
        self.network()?.net.peering_add(with.peer, with.addresses.clone()).await;
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
        self.reach(peer, Vec::new()).await?;
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
        let streams = self.network()?.net.streams().clone();
        let (_, mut stream) = streams.open(to.peer, &[PING]).await?;
        let (out, pongs) = mpsc::channel(PINGS);
        let peer = to.peer;
        task::detach(async move {
            for done in 1.. {
                let mut pong = ping_once(peer, &mut stream).await;
                // Some serve one such stream at a time, and drop it for the one that keeps
                // measuring: it is opened again, once.
                if matches!(pong, Err(Error::Open(_)))
                    && let Ok((_, again)) = streams.open(peer, &[PING]).await
                {
                    stream = again;
                    pong = ping_once(peer, &mut stream).await;
                }
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

/// An address with the peer's ID at its end.
fn whole(peer: PeerId, address: &Multiaddr) -> Multiaddr {
    let bare = book::without_peer(address.clone());
    bare.with(libp2p::multiaddr::Protocol::P2p(peer))
}

fn who(peer: PeerId, said: &Identified) -> Who {
    Who {
        peer,
        public_key: said.public_key.clone(),
        addresses: said.addresses.iter().map(|address| whole(peer, address)).collect(),
        agent: said.agent.clone(),
        protocols: said.protocols.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ";

    #[test]
    fn targets_are_read_in_both_spellings_and_grouped() {
        let read = |text: String| text.parse::<Target>().unwrap();
        let new = read(format!("/ip4/127.0.0.1/tcp/1/p2p/{PEER}"));
        assert_eq!(new, read(format!("/ip4/127.0.0.1/tcp/1/ipfs/{PEER}")));
        let bare = read(format!("/p2p/{PEER}"));
        assert_eq!(bare, Target::of(new.peer));
        let other = Target::of(PeerId::random());
        let far = read(format!("/ip4/127.0.0.1/tcp/2/p2p/{PEER}"));
        let both = Target::group(vec![new.clone(), other.clone(), bare, far.clone()]);
        assert_eq!(both[0].addresses, [new.addresses, far.addresses].concat());
        assert_eq!(both[1..], [other]);
        for bad in ["/ip4/127.0.0.1/tcp/1", "", "nonsense", "/ip4/1.2.3/tcp/1/p2p/x"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}

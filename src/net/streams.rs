//! Streams for the protocols above: whoever speaks a protocol opens and accepts raw streams, and
//! moves its bytes in its own tasks.
//!
//! Neither block data nor messages pass through the swarm's task: a handler only negotiates, and
//! hands the stream over through bounded channels. Does not know any protocol.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId,
    FromSwarm, NetworkBehaviour, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

/// Requests for streams that wait for one connection's handler.
const OPENING: usize = 64;
/// Streams of one connection that are negotiated at a time.
const NEGOTIATING: usize = 16;
/// Time to negotiate one stream.
const NEGOTIATION_TIME: Duration = Duration::from_secs(10);
/// Inbound streams that wait for the task that accepts them.
const ACCEPTING: usize = 256;

/// Why a stream could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No connection to the peer.
    #[error("not connected to {0}")]
    NotConnected(PeerId),
    /// The peer speaks none of the protocols.
    #[error("{peer} does not speak {protocol}")]
    Unsupported {
        /// The peer.
        peer: PeerId,
        /// The first protocol asked for.
        protocol: String,
    },
    /// The connection went away, or the peer did not answer in time.
    #[error("no stream to {0}: {1}")]
    Failed(PeerId, String),
}

/// A stream that a peer opened.
#[derive(Debug)]
pub struct Inbound {
    /// Who opened it.
    pub peer: PeerId,
    /// What it speaks.
    pub protocol: StreamProtocol,
    /// The bytes.
    pub stream: Stream,
}

/// Opens and accepts streams; clones share it.
#[derive(Clone, Default)]
pub struct Streams {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    connections: HashMap<PeerId, Vec<Connection>>,
    acceptors: Vec<(StreamProtocol, mpsc::Sender<Inbound>)>,
}

struct Connection {
    id: ConnectionId,
    requests: mpsc::Sender<Request>,
    /// Wakes the handler, so that it looks at what is accepted now.
    waker: Arc<Mutex<Option<Waker>>>,
}

type Opened = Result<(StreamProtocol, Stream), OpenError>;

/// A stream that somebody wants.
#[derive(Debug)]
struct Request {
    protocols: Vec<StreamProtocol>,
    reply: oneshot::Sender<Opened>,
}

impl Streams {
    /// Opens a stream over an existing connection, in the first protocol that the peer speaks.
    ///
    /// # Errors
    /// [`OpenError`]; never dials.
    pub async fn open(&self, peer: PeerId, protocols: &[StreamProtocol]) -> Opened {
        let gone = || OpenError::NotConnected(peer);
        let requests = {
            let shared = self.lock();
            let connections = shared.connections.get(&peer).ok_or_else(gone)?;
            connections.last().ok_or_else(gone)?.requests.clone()
        };
        let (reply, opened) = oneshot::channel();
        let request = Request { protocols: protocols.to_vec(), reply };
        requests.send(request).await.map_err(|_| gone())?;
        opened.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Accepts streams of these protocols from now on; the same receiver gets all of them. When
    /// it is dropped, or falls [`ACCEPTING`] streams behind, further streams are reset.
    pub fn accept(&self, protocols: &[StreamProtocol]) -> mpsc::Receiver<Inbound> {
        let (out, accepted) = mpsc::channel(ACCEPTING);
        let mut shared = self.lock();
        for protocol in protocols {
            shared.acceptors.retain(|(known, _)| known != protocol);
            shared.acceptors.push((protocol.clone(), out.clone()));
        }
        shared.wake_all();
        accepted
    }

    /// Stops accepting streams of these protocols.
    pub fn refuse(&self, protocols: &[StreamProtocol]) {
        let mut shared = self.lock();
        shared.acceptors.retain(|(known, _)| !protocols.contains(known));
        shared.wake_all();
    }

    /// Ends every receiver and every request: the network has stopped. Whoever accepts streams may
    /// hold a handle to the network, and would wait for ever.
    pub(super) fn end(&self) {
        let mut shared = self.lock();
        shared.acceptors.clear();
        shared.connections.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Shared {
    fn wake_all(&self) {
        for connection in self.connections.values().flatten() {
            if let Some(waker) = lock(&connection.waker).take() {
                waker.wake();
            }
        }
    }
}

/// Each holder changes whole values: one that panicked left nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The swarm's side.
pub struct Behaviour {
    streams: Streams,
}

impl Behaviour {
    /// A behaviour that serves `streams`.
    pub fn new(streams: Streams) -> Self {
        Self { streams }
    }

    fn handler(&self, peer: PeerId, id: ConnectionId) -> Handler {
        let (requests, asked) = mpsc::channel(OPENING);
        let waker = Arc::new(Mutex::new(None));
        let connection = Connection { id, requests, waker: Arc::clone(&waker) };
        self.streams.lock().connections.entry(peer).or_default().push(connection);
        Handler { peer, streams: self.streams.clone(), asked, waker, negotiating: 0 }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer, id))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer, id))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let (peer, id) = match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                (peer_id, connection_id)
            }
            _ => return,
        };
        let mut shared = self.streams.lock();
        if let Some(connections) = shared.connections.get_mut(&peer) {
            connections.retain(|connection| connection.id != id);
            if connections.is_empty() {
                shared.connections.remove(&peer);
            }
        }
    }

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

/// One connection's side: negotiates what is asked for and accepted.
pub struct Handler {
    peer: PeerId,
    streams: Streams,
    asked: mpsc::Receiver<Request>,
    waker: Arc<Mutex<Option<Waker>>>,
    negotiating: usize,
}

/// A raw stream in one of several protocols.
pub struct Raw(Vec<StreamProtocol>);

impl UpgradeInfo for Raw {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

type Negotiated = std::future::Ready<Result<(StreamProtocol, Stream), std::convert::Infallible>>;

impl InboundUpgrade<Stream> for Raw {
    type Output = (StreamProtocol, Stream);
    type Error = std::convert::Infallible;
    type Future = Negotiated;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Negotiated {
        std::future::ready(Ok((protocol, stream)))
    }
}

impl OutboundUpgrade<Stream> for Raw {
    type Output = (StreamProtocol, Stream);
    type Error = std::convert::Infallible;
    type Future = Negotiated;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Negotiated {
        std::future::ready(Ok((protocol, stream)))
    }
}

/// What a negotiation is for.
pub struct Wanted {
    protocols: Vec<StreamProtocol>,
    reply: oneshot::Sender<Opened>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = std::convert::Infallible;
    type ToBehaviour = std::convert::Infallible;
    type InboundProtocol = Raw;
    type OutboundProtocol = Raw;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Wanted;

    fn listen_protocol(&self) -> SubstreamProtocol<Raw> {
        let shared = self.streams.lock();
        let names = shared.acceptors.iter().map(|(protocol, _)| protocol.clone()).collect();
        SubstreamProtocol::new(Raw(names), ()).with_timeout(NEGOTIATION_TIME)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Raw, Wanted, std::convert::Infallible>> {
        *lock(&self.waker) = Some(cx.waker().clone());
        while self.negotiating < NEGOTIATING {
            let Poll::Ready(Some(request)) = self.asked.poll_recv(cx) else { break };
            let Request { protocols, reply } = request;
            if reply.is_closed() {
                continue;
            }
            self.negotiating = self.negotiating.saturating_add(1);
            let wanted = Wanted { protocols: protocols.clone(), reply };
            let protocol =
                SubstreamProtocol::new(Raw(protocols), wanted).with_timeout(NEGOTIATION_TIME);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: std::convert::Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Raw, Raw, (), Wanted>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => self.hand_over(protocol.0, protocol.1),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info,
            }) => self.opened(info, Ok(protocol)),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let error = self.why(&info, error);
                self.opened(info, Err(error));
            }
            _ => {}
        }
    }
}

impl Handler {
    /// Gives an inbound stream to whoever accepts its protocol. One that finds no room is reset,
    /// which the other side sees at once.
    ///
    /// It keeps the connection for as long as it is open, as one of our own does: whoever wants
    /// something of us holds one (trap 17). Too many connections are closed by what they are worth.
    fn hand_over(&self, protocol: StreamProtocol, stream: Stream) {
        let shared = self.streams.lock();
        let acceptor = shared.acceptors.iter().find(|(known, _)| *known == protocol);
        let Some((_, acceptor)) = acceptor else { return };
        let peer = self.peer;
        if acceptor.try_send(Inbound { peer, protocol, stream }).is_err() {
            tracing::debug!(%peer, "an inbound stream finds no room");
        }
    }

    fn opened(&mut self, wanted: Wanted, outcome: Opened) {
        self.negotiating = self.negotiating.saturating_sub(1);
        // Whoever asked may have gone; the stream is then reset.
        let _ = wanted.reply.send(outcome);
        // A slot is free: whoever waits for it must be looked at.
        if let Some(waker) = lock(&self.waker).take() {
            waker.wake();
        }
    }

    fn why(
        &self,
        wanted: &Wanted,
        error: StreamUpgradeError<std::convert::Infallible>,
    ) -> OpenError {
        match error {
            StreamUpgradeError::NegotiationFailed => OpenError::Unsupported {
                peer: self.peer,
                protocol: wanted.protocols.first().map(ToString::to_string).unwrap_or_default(),
            },
            StreamUpgradeError::Timeout => OpenError::Failed(self.peer, "timed out".into()),
            StreamUpgradeError::Io(error) => OpenError::Failed(self.peer, error.to_string()),
            StreamUpgradeError::Apply(never) => match never {},
        }
    }
}

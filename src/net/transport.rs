//! How bytes get to a peer: TCP, WebSocket and QUIC, encrypted by TLS or Noise, carrying streams.
//!
//! Every transport is always built; which of them is used is decided by what is listened on and
//! what may be dialled (`filters`).

use std::io;
use std::pin::Pin;
use std::time::Duration;

use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, OrTransport};
use libp2p::core::upgrade::{
    InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo, Version,
};
use libp2p::futures::future::Either;
use libp2p::futures::{AsyncRead, AsyncWrite, Future};
use libp2p::identity::Keypair;
use libp2p::{PeerId, dns, noise, quic, tcp, tls, websocket};

use super::NetError;
use super::bandwidth::Meter;
use super::quic::Connection;
use super::yamux::Yamux;

/// Time for a connection to be made, encrypted and multiplexed.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Silence after which a QUIC connection is lost, in milliseconds. Go's: a peer that believes in
/// 30 seconds must not be cut off after 10.
const QUIC_IDLE_MS: u32 = 30_000;
/// Time between two signs of life on a QUIC connection.
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What the swarm dials and listens with.
pub type Wire = Boxed<(PeerId, StreamMuxerBox)>;

/// Builds all transports.
///
/// # Errors
/// When no certificate can be made of the key.
pub fn build(key: &Keypair, encryption: Encryption, meter: &Meter) -> Result<Wire, NetError> {
    let socket = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let security = Security::new(key, encryption)?;
    // The WebSocket transport resolves names itself: it needs them for the certificate.
    let ws = secured(websocket::Config::new(named(socket())?), security.clone(), meter.clone());
    let counted = meter.clone();
    let quic = quic::tokio::Transport::new(quic_config(key)).map(move |(peer, connection), _| {
        let connection = counted.count(peer, Connection::new(connection));
        (peer, StreamMuxerBox::new(connection))
    });
    let direct = OrTransport::new(quic, secured(socket(), security, meter.clone()));
    let direct = named(direct.map(|either, _| either.into_inner()))?;
    Ok(OrTransport::new(ws, direct).map(|either, _| either.into_inner()).boxed())
}

fn quic_config(key: &Keypair) -> quic::Config {
    let mut config = quic::Config::new(key);
    config.max_idle_timeout = QUIC_IDLE_MS;
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config
}

/// Resolves `/dns*` and `/dnsaddr` addresses. A machine without a resolver's configuration has
/// nobody to ask; addresses by number work there, too.
fn named<T>(inner: T) -> Result<dns::tokio::Transport<T>, NetError> {
    if dns::tokio::Transport::system(()).is_err() {
        let nobody = dns::ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        return Ok(dns::tokio::Transport::custom(inner, nobody, dns::ResolverOpts::default()));
    }
    dns::tokio::Transport::system(inner).map_err(NetError::Resolver)
}

/// Encrypts and multiplexes a stream of bytes, and counts what the streams in it carry.
fn secured<T>(transport: T, security: Security, meter: Meter) -> Wire
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::ListenerUpgrade: Send,
    T::Dial: Send,
{
    transport
        .upgrade(Version::V1Lazy)
        .authenticate(security)
        .multiplex(Yamux)
        .timeout(CONNECT_TIME)
        .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(meter.count(peer, muxer))))
        .boxed()
}

/// Which ways of encryption are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// TLS 1.3.
    pub tls: bool,
    /// Noise XX.
    pub noise: bool,
}

/// TLS and Noise as one upgrade; TLS is tried first.
#[derive(Clone)]
struct Security {
    tls: Option<tls::Config>,
    noise: Option<noise::Config>,
}

impl Security {
    fn new(key: &Keypair, encryption: Encryption) -> Result<Self, NetError> {
        let failed = |cause: &dyn std::fmt::Display| NetError::Key(cause.to_string());
        let tls = encryption.tls.then(|| tls::Config::new(key).map_err(|e| failed(&e)));
        let noise = encryption.noise.then(|| noise::Config::new(key).map_err(|e| failed(&e)));
        Ok(Self { tls: tls.transpose()?, noise: noise.transpose()? })
    }
}

const TLS: &str = "/tls/1.0.0";
const NOISE: &str = "/noise";

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = std::vec::IntoIter<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        let tls = self.tls.iter().map(|_| TLS);
        tls.chain(self.noise.iter().map(|_| NOISE)).collect::<Vec<_>>().into_iter()
    }
}

type Secured<C> = (PeerId, Either<tls::TlsStream<C>, noise::Output<C>>);
type Securing<C> = Pin<Box<dyn Future<Output = io::Result<Secured<C>>> + Send>>;

impl<C> InboundConnectionUpgrade<C> for Security
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Secured<C>;
    type Error = io::Error;
    type Future = Securing<C>;

    fn upgrade_inbound(self, socket: C, name: &'static str) -> Securing<C> {
        Box::pin(async move {
            match (self.tls, self.noise) {
                (Some(tls), _) if name == TLS => {
                    let upgraded = tls.upgrade_inbound(socket, TLS).await;
                    upgraded.map(|(peer, s)| (peer, Either::Left(s))).map_err(io::Error::other)
                }
                (_, Some(noise)) => {
                    let upgraded = noise.upgrade_inbound(socket, NOISE).await;
                    upgraded.map(|(peer, s)| (peer, Either::Right(s))).map_err(io::Error::other)
                }
                _ => Err(io::ErrorKind::Unsupported.into()),
            }
        })
    }
}

impl<C> OutboundConnectionUpgrade<C> for Security
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Secured<C>;
    type Error = io::Error;
    type Future = Securing<C>;

    fn upgrade_outbound(self, socket: C, name: &'static str) -> Securing<C> {
        Box::pin(async move {
            match (self.tls, self.noise) {
                (Some(tls), _) if name == TLS => {
                    let upgraded = tls.upgrade_outbound(socket, TLS).await;
                    upgraded.map(|(peer, s)| (peer, Either::Left(s))).map_err(io::Error::other)
                }
                (_, Some(noise)) => {
                    let upgraded = noise.upgrade_outbound(socket, NOISE).await;
                    upgraded.map(|(peer, s)| (peer, Either::Right(s))).map_err(io::Error::other)
                }
                _ => Err(io::ErrorKind::Unsupported.into()),
            }
        })
    }
}

//! HTTP/1.1 listeners: binding, accepting, bounds on connections and headers, draining.
//!
//! Owns connections; what is answered is the mouth's affair. Header names go out in Title-Case,
//! because Kubo's clients and tests look for them so.

pub mod address;
mod bearer;
mod clients;
pub mod held;
mod patience;
pub mod pieces;
pub mod tls;
pub mod trailers;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use address::Address;
pub use bearer::bearer;
use clients::{Clients, Guest};
pub use held::Held;
use patience::Patient;
pub use pieces::Pieces;
use tls::Keys;
use trailers::{Announcing, NextRequest};

/// Connections of one listener at a time; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 1024;
/// Headers of one request.
const HEADERS_MAX: usize = 128;
/// Bytes of a request's first line and headers together; what is longer than twice that is
/// answered with 431, since hyper looks only before it reads more.
const HEAD_MAX_BYTES: usize = 64 << 10;
/// Time that a client has for a request's head; also how long an idle connection is kept; unless the
/// listener is told another.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// Time for a reader to take one byte of a reply before its connection is closed.
const WRITE_TIME: Duration = Duration::from_secs(300);
/// Wait after an error of accept: out of descriptors, mostly, which passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Something that answers requests; clones serve one connection each.
pub trait Answer: Clone + Send + Sync + 'static {
    /// The reply's body; its error cuts the connection.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers a request; tells `next` when the reply leaves the connection open.
    fn answer(
        &self,
        request: Request<Incoming>,
        next: NextRequest,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Where a request came from, in its extensions; nothing for a Unix socket.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub Option<std::net::SocketAddr>);

/// A bound listener.
pub struct Listener {
    socket: Socket,
    address: Address,
    write_time: Duration,
    head_time: Duration,
    clients: Option<Clients>,
    tls: Option<TlsAcceptor>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds an address. A Unix socket that nobody serves any more is replaced.
    ///
    /// # Errors
    /// Names the address.
    pub async fn bind(address: &Address) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("listen {address}: {e}"));
        match address {
            Address::Tcp(wanted) => {
                let socket = TcpListener::bind(wanted).await.map_err(named)?;
                let address = Address::Tcp(socket.local_addr().map_err(named)?);
                Ok(Self::over(Socket::Tcp(socket), address))
            }
            Address::Unix(path) => {
                if path.exists() && tokio::net::UnixStream::connect(path).await.is_err() {
                    std::fs::remove_file(path).map_err(named)?;
                }
                let socket = UnixListener::bind(path).map_err(named)?;
                Ok(Self::over(Socket::Unix(socket), address.clone()))
            }
        }
    }

    fn over(socket: Socket, address: Address) -> Self {
        let (write_time, head_time) = (WRITE_TIME, HEAD_TIME);
        Self { socket, address, write_time, head_time, clients: None, tls: None }
    }

    /// Where it listens: with the port that the system chose, if it was to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The same listener; a reply waits at most so long for its reader.
    pub fn with_write_time(self, write_time: Duration) -> Self {
        Self { write_time, ..self }
    }

    /// The same listener; a request's head comes within so long, or its connection is closed.
    pub fn with_head_time(self, head_time: Duration) -> Self {
        Self { head_time, ..self }
    }

    /// The same listener; one client has so many connections at a time, and further ones are closed at
    /// once. A client is an IPv4 address or an IPv6 network of 64 bits; whoever comes from this machine
    /// or over a Unix socket is not counted.
    pub fn with_clients(self, each: usize) -> Self {
        Self { clients: Some(Clients::new(CONNECTIONS_MAX, each)), ..self }
    }

    /// The same listener; connections over TCP are encrypted.
    ///
    /// # Errors
    /// Keys that nothing can be encrypted with.
    pub fn with_tls(self, keys: &Arc<Keys>) -> Result<Self, String> {
        Ok(Self { tls: Some(keys.acceptor()?), ..self })
    }

    /// Serves until `stop`, then lets requests in progress end: when this returns, all have.
    pub async fn serve(self, service: impl Answer, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let open = TaskTracker::new();
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&room).acquire_owned() => permit,
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.accept() => accepted,
            };
            let (service, stop) = (service.clone(), stop.clone());
            let (most, head) = (self.write_time, self.head_time);
            match accepted {
                Ok(Connection::Tcp(stream, from)) => {
                    let Some(guest) = self.guest(&from) else { continue };
                    let (tls, from) = (self.tls.clone(), Peer(Some(from)));
                    crate::task::track(&open, async move {
                        let stream = Patient::new(stream, most);
                        match tls {
                            None => converse(stream, from, head, service, stop).await,
                            Some(tls) => encrypted(&tls, stream, from, head, service, stop).await,
                        }
                        drop((permit, guest));
                    });
                }
                Ok(Connection::Unix(stream)) => {
                    crate::task::track(&open, async move {
                        let stream = Patient::new(stream, most);
                        converse(stream, Peer(None), head, service, stop).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        open.close();
        open.wait().await;
        if let Address::Unix(path) = &self.address {
            // Somebody may have cleaned up already.
            let _ = std::fs::remove_file(path);
        }
    }

    /// One connection more; `None` when its client has as many as it may.
    fn guest(&self, from: &std::net::SocketAddr) -> Option<Option<Guest>> {
        let Some(clients) = &self.clients else { return Some(None) };
        let guest = clients.admit(from.ip());
        if guest.is_none() {
            tracing::debug!(%from, address = %self.address, "too many connections of one client");
        }
        guest.map(Some)
    }

    async fn accept(&self) -> io::Result<Connection> {
        Ok(match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, from) = socket.accept().await?;
                stream.set_nodelay(true)?;
                Connection::Tcp(stream, from)
            }
            Socket::Unix(socket) => Connection::Unix(socket.accept().await?.0),
        })
    }
}

enum Connection {
    Tcp(tokio::net::TcpStream, std::net::SocketAddr),
    Unix(tokio::net::UnixStream),
}

/// Serves one connection once it is encrypted; none that is not when the listener stops.
async fn encrypted<S>(
    tls: &TlsAcceptor,
    stream: S,
    from: Peer,
    head: Duration,
    service: impl Answer,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let secured = tokio::select! {
        secured = tls::secure(tls, stream) => secured,
        () = stop.cancelled() => None,
    };
    if let Some(stream) = secured {
        converse(stream, from, head, service, stop).await;
    }
}

/// Serves one connection to its end; on `stop` the request in progress is the last.
async fn converse<S>(
    stream: S,
    from: Peer,
    head: Duration,
    service: impl Answer,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, next) = Announcing::new(stream);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(from);
        let (service, next) = (service.clone(), next.clone());
        async move { Ok::<_, Infallible>(service.answer(request, next).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX_BYTES)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients go away in the middle every day.
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Answers without end, and tells when an answer is given up.
    #[derive(Clone)]
    struct Endless(tokio::sync::mpsc::Sender<()>);

    struct Zeros;

    impl Body for Zeros {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
            std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(
                &[0; 4096],
            )))))
        }
    }

    impl Answer for Endless {
        type Body = Held<Zeros>;

        async fn answer(&self, _: Request<Incoming>, _: NextRequest) -> Response<Held<Zeros>> {
            Response::new(Held::new(Zeros, Some(self.0.clone())))
        }
    }

    #[tokio::test]
    async fn a_reply_waits_for_its_reader_as_long_as_was_said_and_no_longer() {
        let most = Duration::from_millis(300);
        let address = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        let listener = Listener::bind(&address).await.unwrap().with_write_time(most);
        let Address::Tcp(at) = listener.address().clone() else { panic!("no TCP") };
        let (held, mut given_up) = tokio::sync::mpsc::channel(1);
        let stop = CancellationToken::new();
        let serving = crate::task::spawn(listener.serve(Endless(held), stop.clone()));
        let mut reader = tokio::net::TcpStream::connect(at).await.unwrap();
        reader.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(reader.read(&mut [0; 100]).await.unwrap() > 0);
        // The service itself holds the channel, too: it goes with the listener.
        let since = Instant::now();
        stop.cancel();
        assert!(given_up.recv().await.is_none());
        crate::task::join(serving).await;
        let time = since.elapsed();
        assert!(time >= most / 2 && time < Duration::from_secs(20), "{time:?}");
    }

    #[tokio::test]
    async fn one_client_has_no_more_than_its_connections_and_its_time() {
        let head = Duration::from_millis(300);
        let address = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        let listener = Listener::bind(&address).await.unwrap().with_head_time(head);
        let clients = Some(Clients::new(CONNECTIONS_MAX, 2).with_loopback());
        let listener = Listener { clients, ..listener };
        let Address::Tcp(at) = listener.address().clone() else { panic!("no TCP") };
        let stop = CancellationToken::new();
        let (held, _given_up) = tokio::sync::mpsc::channel(1);
        let serving = crate::task::spawn(listener.serve(Endless(held), stop.clone()));
        let connect = || async { tokio::net::TcpStream::connect(at).await.unwrap() };
        // Half a head, twice; whoever comes then is closed at once, and these when their time is over.
        let since = Instant::now();
        let mut slow = [connect().await, connect().await];
        for stream in &mut slow {
            stream.write_all(b"GET / HT").await.unwrap();
        }
        let closed = |read: std::io::Result<usize>| read.map_or(true, |length| length == 0);
        let mut third = connect().await;
        assert!(closed(third.read(&mut [0; 9]).await) && since.elapsed() < head);
        for stream in &mut slow {
            let mut told = Vec::new();
            let _ = stream.read_to_end(&mut told).await;
        }
        assert!(since.elapsed() >= head / 2 && since.elapsed() < Duration::from_secs(20));
        let begun = Instant::now();
        loop {
            let mut again = connect().await;
            let _ = again.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            if !closed(again.read(&mut [0; 100]).await) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "its places are not given back");
        }
        stop.cancel();
        crate::task::join(serving).await;
    }
}

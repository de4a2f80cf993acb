//! The DHT's messages over real streams: asking others, and being asked.
//!
//! A stream that was used is kept for a while and used again: a lookup and the records told after
//! it go to the same peers. Peers keep theirs as well, so many messages are read from each.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};

use super::dht::scope::Scope;
use super::dht::wire::{self, Message};
use super::dht::{Dht, Rpc, RpcError};
use crate::net::{Inbound, Multiaddr, Net, OpenError, PeerId, Stream, StreamProtocol};
use crate::task;

/// Time for a request and its answer, dialling included.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Time for messages that want no answer to be taken: thousands may go out behind one another.
const SEND_TIME: Duration = Duration::from_secs(60);
/// How long a stream is kept for the next message.
const REST_TIME: Duration = Duration::from_secs(30);
/// Streams that are kept.
const RESTING_MAX: usize = 256;
/// How long a peer may keep a stream to us without a message, as in Go.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// Streams of others that are read at a time, and of one of them.
const SERVED_MAX: usize = 1024;
const SERVED_PER_PEER: usize = 16;
/// Bytes read at a time.
const READ_BYTES: usize = 4 << 10;
/// Longest request that is read, in bytes: a record of 10 KiB or the addresses of some peers. With
/// [`SERVED_MAX`] streams, what strangers may keep in memory here.
const REQUEST_MAX_BYTES: usize = 64 << 10;
/// Time for a stream to be closed in good order.
const CLOSE_TIME: Duration = Duration::from_secs(10);

/// A stream and what was read of it beyond the last message.
struct Line {
    stream: Compat<Stream>,
    buffer: BytesMut,
    /// Longest message that may come.
    max_bytes: usize,
}

impl Line {
    fn new(stream: Stream, max_bytes: usize) -> Self {
        Self { stream: stream.compat(), buffer: BytesMut::new(), max_bytes }
    }

    /// Says that nothing more comes. Dropping would reset the stream, and with it what the peer has
    /// not read yet: records that want no answer would be lost (trap 3).
    async fn close(mut self) {
        // The other side may be gone.
        let _ = tokio::time::timeout(CLOSE_TIME, self.stream.shutdown()).await;
    }
}

/// Sends messages of one DHT.
pub struct Asking {
    net: Net,
    protocol: StreamProtocol,
    resting: Arc<Mutex<HashMap<PeerId, (Line, Instant)>>>,
}

impl Asking {
    /// For one of the DHTs.
    pub fn new(net: Net, scope: Scope) -> Self {
        let protocol = StreamProtocol::new(scope.protocol());
        Self { net, protocol, resting: Arc::default() }
    }

    /// Does something with a stream to a peer: with one that rests, else with a new one. One that
    /// rested may be dead by now: a new one is tried then.
    async fn with_line<T>(
        self,
        peer: PeerId,
        addrs: Vec<Multiaddr>,
        work: impl AsyncFn(&mut Line) -> Result<T, RpcError>,
    ) -> Result<T, RpcError> {
        if let Some(mut line) = self.take(&peer)
            && let Ok(done) = work(&mut line).await
        {
            self.rest(peer, line);
            return Ok(done);
        }
        let dialled = self.net.connect(peer, addrs).await;
        dialled.map_err(|e| RpcError::Dial(e.to_string()))?;
        let protocols = std::slice::from_ref(&self.protocol);
        let opened = self.net.streams().open(peer, protocols).await;
        let (_, mut stream) = opened.map_err(|error| match error {
            OpenError::Unsupported { .. } => RpcError::Unsupported,
            other => RpcError::Stream(other.to_string()),
        })?;
        // Whether a connection is worth keeping is not for the DHT to say.
        stream.ignore_for_keep_alive();
        let mut line = Line::new(stream, wire::MESSAGE_MAX_BYTES);
        let done = work(&mut line).await?;
        self.rest(peer, line);
        Ok(done)
    }

    fn take(&self, peer: &PeerId) -> Option<Line> {
        let (line, since) = lock(&self.resting).remove(peer)?;
        if since.elapsed() < REST_TIME {
            return Some(line);
        }
        task::detach(line.close());
        None
    }

    fn rest(&self, peer: PeerId, line: Line) {
        let mut resting = lock(&self.resting);
        if resting.len() >= RESTING_MAX {
            let stale = resting.extract_if(|_, (_, since)| since.elapsed() >= REST_TIME);
            stale.for_each(|(_, (line, _))| task::detach(line.close()));
        }
        let left = match resting.len() < RESTING_MAX {
            true => resting.insert(peer, (line, Instant::now())).map(|(other, _)| other),
            false => Some(line),
        };
        left.into_iter().for_each(|line| task::detach(line.close()));
    }

    fn handle(&self) -> Self {
        let Self { net, protocol, resting } = self;
        Self { net: net.clone(), protocol: protocol.clone(), resting: Arc::clone(resting) }
    }
}

impl Rpc for Asking {
    fn request(
        &self,
        peer: PeerId,
        addrs: Vec<Multiaddr>,
        message: Message,
    ) -> BoxFuture<'static, Result<Message, RpcError>> {
        let (asking, frame) = (self.handle(), message.frame());
        let ask = async move |line: &mut Line| {
            line.stream.write_all(&frame).await.map_err(broken)?;
            line.stream.flush().await.map_err(broken)?;
            let answer = read(line).await?;
            answer.ok_or_else(|| RpcError::Stream("closed without an answer".into()))
        };
        let asked = tokio::time::timeout(REQUEST_TIME, asking.with_line(peer, addrs, ask));
        asked.map(|answer| answer.unwrap_or(Err(RpcError::Timeout))).boxed()
    }

    fn send(
        &self,
        peer: PeerId,
        addrs: Vec<Multiaddr>,
        messages: Vec<Message>,
    ) -> BoxFuture<'static, Result<(), RpcError>> {
        let asking = self.handle();
        let tell = async move |line: &mut Line| {
            for message in &messages {
                line.stream.write_all(&message.frame()).await.map_err(broken)?;
            }
            line.stream.flush().await.map_err(broken)
        };
        let told = tokio::time::timeout(SEND_TIME, asking.with_line(peer, addrs, tell));
        told.map(|told| told.unwrap_or(Err(RpcError::Timeout))).boxed()
    }
}

/// Answers others for as long as the network runs and the DHT is a server.
pub async fn serve(net: Net, dht: Dht) {
    let protocol = StreamProtocol::new(dht.scope().protocol());
    let mut accepted = net.streams().accept(&[protocol]);
    let all = Arc::new(Semaphore::new(SERVED_MAX));
    let mut each: HashMap<PeerId, Arc<Semaphore>> = HashMap::new();
    while let Some(inbound) = accepted.recv().await {
        if each.len() >= SERVED_MAX {
            each.retain(|_, own| own.available_permits() < SERVED_PER_PEER);
        }
        let own = each.entry(inbound.peer);
        let own = own.or_insert_with(|| Arc::new(Semaphore::new(SERVED_PER_PEER)));
        let permits = (Arc::clone(own).try_acquire_owned(), Arc::clone(&all).try_acquire_owned());
        let (Ok(own), Ok(all)) = permits else { continue };
        let dht = dht.clone();
        task::detach(async move {
            let _permits = (own, all);
            let peer = inbound.peer;
            if let Err(error) = answer(&dht, inbound).await {
                tracing::debug!(%peer, "a DHT stream ends: {error}");
            }
        });
    }
}

/// Answers one stream until its end.
async fn answer(dht: &Dht, inbound: Inbound) -> Result<(), RpcError> {
    let Inbound { peer, mut stream, .. } = inbound;
    // Whether a connection is worth keeping is not for the DHT to say.
    stream.ignore_for_keep_alive();
    let mut line = Line::new(stream, REQUEST_MAX_BYTES);
    loop {
        let next = tokio::time::timeout(IDLE_TIME, read(&mut line)).await;
        let Some(message) = next.map_err(|_| RpcError::Timeout)?? else { break };
        let answer = dht.handle(peer, message).await;
        let answer = answer.map_err(|refusal| RpcError::Stream(refusal.to_string()))?;
        if let Some(answer) = answer {
            let writing = async {
                line.stream.write_all(&answer.frame()).await?;
                line.stream.flush().await
            };
            let written = tokio::time::timeout(IDLE_TIME, writing).await;
            written.map_err(|_| RpcError::Timeout)?.map_err(broken)?;
        }
    }
    // The other side may wait for the end.
    line.close().await;
    Ok(())
}

/// The next message of a stream; `None` at its end between two messages.
async fn read(line: &mut Line) -> Result<Option<Message>, RpcError> {
    loop {
        if let Some(frame) = wire::split_frame(&mut line.buffer)? {
            return Ok(Some(Message::decode(frame)?));
        }
        // The frame at its head is not whole yet.
        if line.buffer.len() > line.max_bytes.saturating_add(READ_BYTES) {
            return Err(broken(io::ErrorKind::FileTooLarge.into()));
        }
        line.buffer.reserve(READ_BYTES);
        if line.stream.read_buf(&mut line.buffer).await.map_err(broken)? == 0 {
            return match line.buffer.is_empty() {
                true => Ok(None),
                false => Err(broken(io::ErrorKind::UnexpectedEof.into())),
            };
        }
    }
}

fn broken(error: io::Error) -> RpcError {
    RpcError::Stream(error.to_string())
}

/// Each holder changes whole values: one that panicked left nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

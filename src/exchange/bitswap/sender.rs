//! Writing to one peer: one stream, reused, closed in good order when there is nothing to say.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};

use super::super::wire::{Outgoing, PROTOCOLS, Version, encode};
use super::driver::Input;
use crate::ipld::cid::Cid;
use crate::net::{Net, OpenError, PeerId, Stream, StreamProtocol};
use crate::store::Store;
use crate::task;

/// Messages on their way to one peer: one is written while the next one's blocks are read.
pub const JOBS: usize = 2;
/// A stream that nothing was written to for so long is closed, unless we want something: it keeps
/// the connection.
const REST_TIME: Duration = Duration::from_secs(30);
/// Time for a peer to take some of a message. One that reads nothing holds no memory for longer.
const STALL_TIME: Duration = Duration::from_secs(60);
/// Bytes after which that time begins anew.
const PIECE_BYTES: usize = 256 << 10;

/// What a sender is told at its start.
pub struct Sender {
    /// To whom.
    pub peer: PeerId,
    /// Which of the driver's senders it is: answers of an earlier one are passed over.
    pub turn: u64,
    /// Opens streams.
    pub net: Net,
    /// Where blocks are read.
    pub store: Store,
    /// Where the outcome of each message goes.
    pub inputs: mpsc::Sender<Input>,
    /// Whether anything is wanted of anybody.
    pub wanting: Arc<AtomicBool>,
}

/// A message and the blocks it brings.
struct Ready {
    message: Outgoing,
    blocks: Vec<(Cid, Bytes)>,
    missing: Vec<Cid>,
}

type Writer = (Compat<Stream>, Version);

impl Sender {
    /// Starts the task; it ends when the driver drops the channel.
    pub fn start(self) -> mpsc::Sender<Outgoing> {
        let (give, given) = mpsc::channel(JOBS);
        task::detach(self.run(given));
        give
    }

    async fn run(self, mut given: mpsc::Receiver<Outgoing>) {
        let (ready, mut readied) = mpsc::channel::<Ready>(1);
        let store = self.store.clone();
        task::detach(async move {
            while let Some(message) = given.recv().await {
                if ready.send(read(&store, message).await).await.is_err() {
                    return;
                }
            }
        });
        let mut stream: Option<Writer> = None;
        loop {
            let next = match tokio::time::timeout(REST_TIME, readied.recv()).await {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(_) if self.wanting.load(Ordering::Relaxed) => continue,
                Err(_) => {
                    close(stream.take()).await;
                    continue;
                }
            };
            let sent = self.write(&mut stream, &next).await;
            let (peer, turn) = (self.peer, self.turn);
            let Ready { message, missing, .. } = next;
            let failure = sent.err();
            if failure.is_some() {
                stream = None;
            }
            let input = Input::Sent { peer, turn, message, missing, failure };
            if self.inputs.send(input).await.is_err() {
                break;
            }
        }
        close(stream).await;
    }

    /// Writes one message, over the stream that stands or a new one. A stream that turns out to be
    /// dead before anything of the message went out is replaced once.
    async fn write(&self, stream: &mut Option<Writer>, ready: &Ready) -> Result<(), OpenError> {
        let stood = stream.is_some();
        let failed = |e: io::Error| OpenError::Failed(self.peer, e.to_string());
        if stream.is_none() {
            *stream = Some(self.open().await?);
        }
        let Some((writer, version)) = stream else { return Ok(()) };
        match send(writer, *version, ready).await {
            Err(error) if stood && error.kind() != io::ErrorKind::TimedOut => {
                let (writer, version) = stream.insert(self.open().await?);
                send(writer, *version, ready).await.map_err(failed)
            }
            sent => sent.map_err(failed),
        }
    }

    async fn open(&self) -> Result<Writer, OpenError> {
        let names: Vec<StreamProtocol> =
            PROTOCOLS.iter().map(|(name, _)| StreamProtocol::new(name)).collect();
        let (protocol, stream) = self.net.streams().open(self.peer, &names).await?;
        let version = Version::of_protocol(protocol.as_ref()).unwrap_or(Version::V1_0);
        let told = Input::Speaks { peer: self.peer, version };
        // When the driver is gone, so is the message soon.
        let _ = self.inputs.send(told).await;
        Ok((stream.compat(), version))
    }
}

/// Reads a message's blocks from the store, in one visit.
async fn read(store: &Store, message: Outgoing) -> Ready {
    if message.blocks.is_empty() {
        return Ready { message, blocks: Vec::new(), missing: Vec::new() };
    }
    let wanted = message.blocks.clone();
    let look = move |core: &crate::store::Core| {
        let (mut blocks, mut missing) = (Vec::with_capacity(wanted.len()), Vec::new());
        for cid in wanted {
            match core.get(&cid) {
                Ok(Some(block)) => blocks.push((cid, block.into_parts().1)),
                Ok(None) => missing.push(cid),
                Err(error) => {
                    // The peer is told that it is not here: true, as far as it is concerned.
                    tracing::warn!("cannot serve {cid}: {error}");
                    missing.push(cid);
                }
            }
        }
        (blocks, missing)
    };
    let (blocks, missing) = store.run(look).await;
    Ready { message, blocks, missing }
}

async fn send(writer: &mut Compat<Stream>, version: Version, ready: &Ready) -> io::Result<()> {
    let stalled = |_| io::Error::from(io::ErrorKind::TimedOut);
    for piece in encode(&ready.message, &ready.blocks, version) {
        for part in piece.chunks(PIECE_BYTES) {
            tokio::time::timeout(STALL_TIME, writer.write_all(part)).await.map_err(stalled)??;
        }
    }
    tokio::time::timeout(STALL_TIME, writer.flush()).await.map_err(stalled)?
}

/// Says that nothing more comes. Dropping would reset the stream, and with it what the peer has
/// not read yet (trap 3).
async fn close(stream: Option<Writer>) {
    if let Some((mut writer, _)) = stream {
        let _ = tokio::time::timeout(STALL_TIME, writer.shutdown()).await;
    }
}

//! Reading what peers send: many streams at a time, each to its end.
//!
//! A frame's memory is taken from two budgets before it is read, the peer's and everybody's, so
//! that strangers fill neither by opening many streams.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use super::super::wire::{Message, decode_frame, frame_head};
use super::driver::Input;
use crate::net::{Inbound, PeerId};
use crate::task;

/// Memory for frames of one peer that are being read or wait for the engine, in KiB.
const PEER_KIB: usize = 16 << 10;
/// The same for all peers.
const ALL_KIB: usize = 128 << 10;
/// Streams of one peer that are read at a time; more are reset.
const STREAMS_MAX: usize = 128;
/// Time in which some of a frame has to come, once it has begun.
const STALL_TIME: Duration = Duration::from_secs(60);
/// A frame that takes longer than this is reported as progress.
const SLOW: Duration = Duration::from_millis(500);
/// Bytes read at a time while a frame's length is not known.
const HEAD_BYTES: usize = 8 << 10;

/// What all readers share.
pub struct Readers {
    all: Arc<Semaphore>,
}

/// What the readers of one peer share.
#[derive(Clone)]
pub struct Budget {
    memory: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            memory: Arc::new(Semaphore::new(PEER_KIB)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }
}

/// Memory that a message holds until the engine has seen it.
pub struct Held {
    _peer: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Readers {
    /// Readers without work.
    pub fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL_KIB)) }
    }

    /// Reads a stream until its end, its first error, or nonsense.
    pub fn read(&self, inbound: Inbound, budget: Budget, inputs: mpsc::Sender<Input>) {
        let Ok(permit) = Arc::clone(&budget.streams).try_acquire_owned() else {
            tracing::debug!(peer = %inbound.peer, "too many Bitswap streams");
            return;
        };
        let all = Arc::clone(&self.all);
        task::detach(async move {
            let _permit = permit;
            let peer = inbound.peer;
            let mut frames = Frames {
                peer,
                stream: inbound.stream.compat(),
                buffer: BytesMut::new(),
                budget,
                all,
                inputs,
            };
            while let Some(more) = frames.next().await.transpose() {
                match more {
                    Ok((message, held)) => {
                        let input = Input::Message { peer, message, _held: held };
                        if frames.inputs.send(input).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => return tracing::debug!(%peer, "a Bitswap stream ends: {error}"),
                }
            }
        });
    }
}

/// The frames of one stream.
struct Frames<S> {
    peer: PeerId,
    stream: S,
    buffer: BytesMut,
    budget: Budget,
    all: Arc<Semaphore>,
    inputs: mpsc::Sender<Input>,
}

impl<S: AsyncRead + Unpin> Frames<S> {
    /// The next message, its blocks hashed; `None` at the end of the stream between two frames.
    async fn next(&mut self) -> io::Result<Option<(Message, Held)>> {
        let Some((head, body)) = self.head().await? else { return Ok(None) };
        let held = hold(&self.budget.memory, &self.all, body).await?;
        let whole = head.saturating_add(body);
        self.buffer.reserve(whole.saturating_sub(self.buffer.len()));
        let mut reported = Instant::now();
        while self.buffer.len() < whole {
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if reported.elapsed() > SLOW {
                reported = Instant::now();
                // When the engine is busy, it does not mistake slowness for silence either.
                let _ = self.inputs.try_send(Input::Progress(self.peer));
            }
        }
        let mut frame = self.buffer.split_to(whole);
        let raw = decode_frame(frame.split_off(head).freeze()).map_err(io::Error::other)?;
        Ok(Some((raw.verify(), held)))
    }

    /// Reads the length of the next frame: that of its prefix, and of the message behind it.
    async fn head(&mut self) -> io::Result<Option<(usize, usize)>> {
        loop {
            if let Some(lengths) = frame_head(&self.buffer).map_err(io::Error::other)? {
                return Ok(Some(lengths));
            }
            let begun = !self.buffer.is_empty();
            self.buffer.reserve(HEAD_BYTES);
            // Between two frames a stream may rest for as long as the connection stands.
            let more = match begun {
                true => self.more().await?,
                false => self.stream.read_buf(&mut self.buffer).await? > 0,
            };
            match (more, begun) {
                (true, _) => {}
                (false, false) => return Ok(None),
                (false, true) => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Reads what there is; `false` at the end.
    async fn more(&mut self) -> io::Result<bool> {
        let read = self.stream.read_buf(&mut self.buffer);
        match tokio::time::timeout(STALL_TIME, read).await {
            Ok(read) => Ok(read? > 0),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Takes a frame's memory from both budgets.
async fn hold(peer: &Arc<Semaphore>, all: &Arc<Semaphore>, bytes: usize) -> io::Result<Held> {
    let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    let take = |from: &Arc<Semaphore>| Arc::clone(from).acquire_many_owned(kib);
    let peer = take(peer).await.map_err(io::Error::other)?;
    let all = take(all).await.map_err(io::Error::other)?;
    Ok(Held { _peer: peer, _all: all })
}

#[cfg(test)]
mod tests {
    use super::super::super::wire::{Outgoing, Version, encode};
    use super::*;

    fn frames(bytes: Vec<u8>) -> Frames<io::Cursor<Vec<u8>>> {
        let (inputs, _) = mpsc::channel(1);
        Frames {
            peer: PeerId::random(),
            stream: io::Cursor::new(bytes),
            buffer: BytesMut::new(),
            budget: Budget::default(),
            all: Arc::new(Semaphore::new(ALL_KIB)),
            inputs,
        }
    }

    #[tokio::test]
    async fn trap_01_several_messages_on_one_stream_are_all_read() {
        let one = encode(&Outgoing { full: true, ..Outgoing::default() }, &[], Version::V1_2);
        let mut frames = frames(one.concat().repeat(3));
        for _ in 0..3 {
            assert!(frames.next().await.unwrap().unwrap().0.full);
        }
        assert!(frames.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_frame_that_is_cut_off_or_too_big_ends_the_stream() {
        let cut = frames(vec![200, 1, 10]).next().await;
        assert_eq!(cut.err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
        let big = frames(vec![0xff, 0xff, 0xff, 0xff, 0x7f]).next().await;
        assert!(big.err().unwrap().to_string().contains("too big"));
    }
}

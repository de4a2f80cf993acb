//! Reading what peers send: many streams at a time, each to its end.
//!
//! A peer's frames are begun only as its own budget allows, so that it fills no more than that by
//! opening many streams. The memory of everybody is taken as bytes arrive, never for what a frame's
//! head says: who announces much and sends nothing holds a few KiB. While it is short, whoever stalls
//! or trickles loses its stream ([`Pace`]).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use super::super::wire::{MESSAGE_MAX_BYTES, Message, decode_frame, frame_head};
use super::driver::Input;
use crate::net::{Inbound, PeerId};
use crate::task;

/// Frames of one peer that are being read or wait for the engine, as long as they say they are, in
/// KiB.
const PEER_KIB: usize = 16 << 10;
/// Memory for frames of all peers, in KiB.
const ALL_KIB: usize = 96 << 10;
/// Memory beside it for frames that have begun and find nothing left: each takes all that it still
/// needs. Without, frames that hold a part each could wait for each other.
const REST_KIB: usize = 8 * (MESSAGE_MAX_BYTES >> 10);
/// Below this much of [`ALL_KIB`], memory is short.
const SHORT_KIB: usize = ALL_KIB / 4;
/// Streams of one peer that are read at a time; more are reset.
const STREAMS_MAX: usize = 128;
/// Streams of all peers, and of one, whose frames wait for memory; more are reset. The other side
/// fills a stream's window meanwhile, with 256 KiB that nobody counts.
const WAITING_MAX: usize = 512;
const WAITING_PER_PEER: usize = 32;
/// A frame that takes longer than this is reported as progress.
const SLOW: Duration = Duration::from_millis(500);
/// Bytes read at a time while a frame's length is not known; all that a resting stream holds.
const HEAD_BYTES: usize = 64;
/// Memory with which a frame begins. It doubles whenever that is full.
const STEP_BYTES: usize = 4 << 10;
/// Time between two looks at a frame that does not move.
const LOOK: Duration = Duration::from_secs(1);

/// How long a frame is waited for. Only waiting for the peer counts, not for memory or the engine.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Without any byte.
    stall: Duration,
    /// For the whole frame, however small.
    whole: Duration,
    /// And for each of its bytes as long as at so many a second.
    rate_bytes_s: u64,
}

/// When there is memory for all: eight frames at once over a line of 1 Mbit/s come in time.
const USUAL: Pace =
    Pace { stall: Duration::from_secs(60), whole: Duration::from_secs(60), rate_bytes_s: 16 << 10 };
/// When others wait for memory: a line of 64 KiB/s still meets it.
const SHORT: Pace =
    Pace { stall: Duration::from_secs(2), whole: Duration::from_secs(10), rate_bytes_s: 64 << 10 };

impl Pace {
    fn deadline(self, bytes: usize) -> Duration {
        let thousand = (bytes as u64).saturating_mul(1000);
        let each = Duration::from_millis(thousand.checked_div(self.rate_bytes_s).unwrap_or(0));
        self.whole.saturating_add(each)
    }
}

/// Memory for frames of all peers.
#[derive(Clone)]
struct Memory {
    common: Arc<Semaphore>,
    rest: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// How frames are waited for while there is enough of it, and while it is short.
    paces: (Pace, Pace),
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            common: Arc::new(Semaphore::new(ALL_KIB)),
            rest: Arc::new(Semaphore::new(REST_KIB)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            paces: (USUAL, SHORT),
        }
    }
}

impl Memory {
    fn pace(&self) -> Pace {
        let is_short = self.common.available_permits() < SHORT_KIB;
        if is_short { self.paces.1 } else { self.paces.0 }
    }

    /// Waits for `step` bytes of the common memory, or for all the `missing` ones of the other.
    /// Gives how many there are now.
    async fn more(
        &self,
        step: usize,
        missing: usize,
        budget: &Budget,
        held: &mut Vec<OwnedSemaphorePermit>,
    ) -> io::Result<usize> {
        if let Ok(permit) = Arc::clone(&self.common).try_acquire_many_owned(kib(step)) {
            held.push(permit);
            return Ok(step);
        }
        let _waiting = self.queue(budget)?;
        let common = Arc::clone(&self.common).acquire_many_owned(kib(step));
        let rest = Arc::clone(&self.rest).acquire_many_owned(kib(missing));
        let (bytes, permit) = tokio::select! {
            biased;
            permit = common => (step, permit),
            permit = rest => (missing, permit),
        };
        held.push(permit.map_err(io::Error::other)?);
        Ok(bytes)
    }

    /// Waits until a peer may begin a frame of so many bytes.
    async fn admit(&self, bytes: usize, budget: &Budget) -> io::Result<OwnedSemaphorePermit> {
        let announced = Arc::clone(&budget.announced);
        if let Ok(permit) = Arc::clone(&announced).try_acquire_many_owned(kib(bytes)) {
            return Ok(permit);
        }
        let _waiting = self.queue(budget)?;
        announced.acquire_many_owned(kib(bytes)).await.map_err(io::Error::other)
    }

    /// A place among those that wait.
    fn queue(&self, budget: &Budget) -> io::Result<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let full = |_| io::Error::other("too many streams wait for memory");
        let own = Arc::clone(&budget.waiting).try_acquire_owned().map_err(full)?;
        let all = Arc::clone(&self.waiting).try_acquire_owned().map_err(full)?;
        Ok((own, all))
    }
}

/// What all readers share.
#[derive(Default)]
pub struct Readers {
    memory: Memory,
}

/// What the readers of one peer share.
#[derive(Clone)]
pub struct Budget {
    announced: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            announced: Arc::new(Semaphore::new(PEER_KIB)),
            waiting: Arc::new(Semaphore::new(WAITING_PER_PEER)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }
}

/// Memory that a message holds until the engine has seen it.
pub struct Held {
    _peer: OwnedSemaphorePermit,
    _all: Vec<OwnedSemaphorePermit>,
}

impl Readers {
    /// Readers without work.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a stream until its end, its first error, or nonsense.
    pub fn read(&self, inbound: Inbound, budget: Budget, inputs: mpsc::Sender<Input>) {
        let Ok(permit) = Arc::clone(&budget.streams).try_acquire_owned() else {
            tracing::debug!(peer = %inbound.peer, "too many Bitswap streams");
            return;
        };
        let memory = self.memory.clone();
        task::detach(async move {
            let _permit = permit;
            let peer = inbound.peer;
            let stream = inbound.stream.compat();
            let mut frames = Frames::new(peer, stream, budget, memory, inputs);
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
    memory: Memory,
    inputs: mpsc::Sender<Input>,
    /// Time for which the frame at hand has been waited for, since its beginning.
    waited: Duration,
    reported: Instant,
}

impl<S: AsyncRead + Unpin> Frames<S> {
    fn new(
        peer: PeerId,
        stream: S,
        budget: Budget,
        memory: Memory,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let (waited, reported) = (Duration::ZERO, Instant::now());
        Self { peer, stream, buffer: BytesMut::new(), budget, memory, inputs, waited, reported }
    }

    /// The next message, its blocks hashed; `None` at the end of the stream between two frames.
    async fn next(&mut self) -> io::Result<Option<(Message, Held)>> {
        self.waited = Duration::ZERO;
        let Some((head, body)) = self.head().await? else { return Ok(None) };
        let peer = self.memory.admit(body, &self.budget).await?;
        let whole = head.saturating_add(body);
        let all = self.body(whole).await?;
        let mut frame = self.buffer.split_to(whole);
        // What was read beyond it must not keep the whole frame's memory.
        self.buffer = BytesMut::from(self.buffer.as_ref());
        let raw = decode_frame(frame.split_off(head).freeze()).map_err(io::Error::other)?;
        Ok(Some((raw.verify(), Held { _peer: peer, _all: all })))
    }

    /// Reads until the buffer holds so many bytes. Gives the memory that was taken for them.
    async fn body(&mut self, whole: usize) -> io::Result<Vec<OwnedSemaphorePermit>> {
        let (mut held, mut room) = (Vec::new(), 0usize);
        self.reported = Instant::now();
        while room < whole {
            let missing = whole.saturating_sub(room);
            let step = missing.min(room.max(STEP_BYTES));
            room = room
                .saturating_add(self.memory.more(step, missing, &self.budget, &mut held).await?);
            self.buffer.reserve(room.saturating_sub(self.buffer.len()));
            while self.buffer.len() < room {
                let left = room.saturating_sub(self.buffer.len());
                if !self.more(left, whole).await? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(held)
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
                true => self.more(HEAD_BYTES, 0).await?,
                false => {
                    let mut room = (&mut self.buffer).limit(HEAD_BYTES);
                    self.stream.read_buf(&mut room).await? > 0
                }
            };
            match (more, begun) {
                (true, _) => {}
                (false, false) => return Ok(None),
                (false, true) => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Reads what there is, at most `left` bytes, of a frame of `whole`; `false` at the end.
    async fn more(&mut self, left: usize, whole: usize) -> io::Result<bool> {
        let mut quiet = Duration::ZERO;
        loop {
            let since = tokio::time::Instant::now();
            let mut room = (&mut self.buffer).limit(left);
            let look = LOOK.min(self.memory.pace().stall);
            let read = tokio::time::timeout(look, self.stream.read_buf(&mut room)).await;
            self.waited = self.waited.saturating_add(since.elapsed());
            let pace = self.memory.pace();
            if self.waited > pace.deadline(whole) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match read {
                Ok(read) => {
                    self.report();
                    return Ok(read? > 0);
                }
                Err(_) => quiet = quiet.saturating_add(since.elapsed()),
            }
            if quiet >= pace.stall {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Tells from time to time that the peer is slow, not silent.
    fn report(&mut self) {
        if self.reported.elapsed() > SLOW {
            self.reported = Instant::now();
            // When the engine is busy, it does not mistake slowness for silence either.
            let _ = self.inputs.try_send(Input::Progress(self.peer));
        }
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

//! How much goes over streams, and how fast: of all peers, and of each that is connected.
//!
//! Bytes are counted where streams leave the multiplexer: what encryption and framing add is not in
//! them. Rates are averages that forget with a time constant of one second, as Kubo's.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::futures::{AsyncRead, AsyncWrite};

/// Peers that are remembered beyond those that are connected.
const PEERS_MAX: usize = 4096;
/// Time after which a rate takes what came meanwhile into account.
const TICK: Duration = Duration::from_secs(1);

/// Bytes, and bytes in a second, each way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bandwidth {
    /// Bytes received since the start.
    pub total_in: u64,
    /// Bytes sent since the start.
    pub total_out: u64,
    /// Bytes received in a second.
    pub rate_in: f64,
    /// Bytes sent in a second.
    pub rate_out: f64,
}

/// Counts for everybody; clones share it.
#[derive(Clone, Default)]
pub struct Meter {
    all: Arc<Flows>,
    peers: Arc<Mutex<HashMap<PeerId, Arc<Flows>>>>,
}

impl Meter {
    /// What went from and to a peer, or all of them.
    pub fn bandwidth(&self, peer: Option<&PeerId>) -> Bandwidth {
        let now = Instant::now();
        match peer {
            None => self.all.show(now),
            Some(peer) => {
                let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
                peers.get(peer).map(|flows| flows.show(now)).unwrap_or_default()
            }
        }
    }

    /// A connection whose streams are counted for a peer.
    pub(super) fn count<M>(&self, peer: PeerId, muxer: M) -> Counted<M> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_MAX {
            // Only a connection holds one beside the map.
            peers.retain(|_, flows| Arc::strong_count(flows) > 1);
        }
        let flows = Arc::clone(peers.entry(peer).or_default());
        Counted { inner: muxer, both: [Arc::clone(&self.all), flows] }
    }
}

#[derive(Default)]
struct Flows {
    received: Flow,
    sent: Flow,
}

impl Flows {
    fn show(&self, now: Instant) -> Bandwidth {
        let ((total_in, rate_in), (total_out, rate_out)) =
            (self.received.show(now), self.sent.show(now));
        Bandwidth { total_in, total_out, rate_in, rate_out }
    }
}

/// One direction.
struct Flow {
    total: AtomicU64,
    rate: Mutex<Rate>,
}

impl Default for Flow {
    fn default() -> Self {
        let rate = Rate { at: Instant::now(), total: 0, per_second: 0.0 };
        Self { total: AtomicU64::new(0), rate: Mutex::new(rate) }
    }
}

impl Flow {
    fn note(&self, bytes: usize) {
        self.total.fetch_add(bytes as u64, Ordering::Relaxed);
        // Whoever holds it is rolling it on just now.
        if let Ok(mut rate) = self.rate.try_lock() {
            rate.roll(Instant::now(), self.total.load(Ordering::Relaxed));
        }
    }

    fn show(&self, now: Instant) -> (u64, f64) {
        let total = self.total.load(Ordering::Relaxed);
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.roll(now, total);
        (total, rate.per_second)
    }
}

/// A rate, and the total when it was last looked at.
struct Rate {
    at: Instant,
    total: u64,
    per_second: f64,
}

impl Rate {
    fn roll(&mut self, now: Instant, total: u64) {
        let passed = now.saturating_duration_since(self.at);
        if passed < TICK {
            return;
        }
        let seconds = passed.as_secs_f64();
        let now_per_second = total.saturating_sub(self.total) as f64 / seconds;
        self.per_second += (1.0 - (-seconds).exp()) * (now_per_second - self.per_second);
        (self.at, self.total) = (now, total);
    }
}

/// A connection whose streams are counted.
pub struct Counted<M> {
    inner: M,
    both: [Arc<Flows>; 2],
}

/// A stream whose bytes are counted.
pub struct CountedStream<S> {
    inner: S,
    both: [Arc<Flows>; 2],
}

impl<M: StreamMuxer + Unpin> Counted<M> {
    fn stream(&self, inner: M::Substream) -> CountedStream<M::Substream> {
        CountedStream { inner, both: self.both.clone() }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for Counted<M>
where
    M::Substream: Unpin,
{
    type Substream = CountedStream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, M::Error>> {
        let inner = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(self.stream(inner)))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, M::Error>> {
        let inner = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(self.stream(inner)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.both.iter().for_each(|flows| flows.received.note(count));
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.both.iter().for_each(|flows| flows.sent.note(count));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_follows_what_flows_and_forgets_it() {
        let begin = Instant::now();
        let mut rate = Rate { at: begin, total: 0, per_second: 0.0 };
        for second in 1..=20 {
            rate.roll(begin + Duration::from_secs(second), second * 1000);
        }
        assert!((rate.per_second - 1000.0).abs() < 1.0, "{}", rate.per_second);
        rate.roll(begin + Duration::from_millis(20_500), 1_000_000);
        assert!(rate.per_second < 1001.0, "not before a second has passed");
        rate.roll(begin + Duration::from_secs(40), 20_000);
        assert!(rate.per_second < 1.0, "{}", rate.per_second);
    }

    #[test]
    fn peers_that_are_gone_make_room() {
        let meter = Meter::default();
        let held = meter.count(PeerId::random(), ());
        for _ in 0..2 * PEERS_MAX {
            drop(meter.count(PeerId::random(), ()));
        }
        assert!(meter.peers.lock().unwrap().len() <= PEERS_MAX);
        held.both[1].received.note(7);
        held.both[0].received.note(7);
        assert_eq!(meter.bandwidth(None).total_in, 7);
    }
}

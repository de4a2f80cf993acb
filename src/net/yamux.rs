//! The stream multiplexer of TCP and WebSocket connections: yamux, with windows that a node with
//! thousands of connections can afford.
//!
//! libp2p's own wrapper leaves a connection's windows at 1 GiB; this one says what the bounds are.
//! QUIC brings its own streams.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::futures::{AsyncRead, AsyncWrite};
use yamux::{Connection, ConnectionError, Mode};

/// Streams of one connection at a time. Kubo's Bitswap opens one a message, eight at a time.
const STREAMS_MAX: usize = 256;
/// Bytes that one connection may have received and nobody has read, over all of its streams: the
/// least that yamux allows for this many streams. Enough for 64 MiB/s at one second's distance.
const RECEIVE_WINDOW_BYTES: usize = 64 << 20;
/// Streams that wait to be looked at; the other side's unacknowledged ones are as many at most.
const INBOUND_WAITING_MAX: usize = 256;

/// The upgrade that makes a connection carry streams.
#[derive(Clone, Debug, Default)]
pub struct Yamux;

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(Muxer::new(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(Muxer::new(socket, Mode::Client)))
    }
}

/// A connection that carries streams.
pub struct Muxer<C> {
    connection: Connection<C>,
    /// Streams that arrived while others made progress.
    waiting: VecDeque<yamux::Stream>,
    waker: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin + 'static> Muxer<C> {
    fn new(socket: C, mode: Mode) -> Self {
        let mut config = yamux::Config::default();
        // In this order: yamux checks that every stream could have its first window.
        config.set_max_num_streams(STREAMS_MAX);
        config.set_max_connection_receive_window(Some(RECEIVE_WINDOW_BYTES));
        let connection = Connection::new(socket, config, mode);
        Self { connection, waiting: VecDeque::new(), waker: None }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        self.connection.poll_next_inbound(cx).map(|arrived| match arrived {
            Some(stream) => stream.map_err(failed),
            None => Err(io::ErrorKind::ConnectionAborted.into()),
        })
    }
}

fn failed(error: ConnectionError) -> io::Error {
    match error {
        ConnectionError::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + 'static> StreamMuxer for Muxer<C> {
    type Substream = yamux::Stream;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<yamux::Stream>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let arrived = self.next(cx);
        if arrived.is_pending() {
            self.waker = Some(cx.waker().clone());
        }
        arrived
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<yamux::Stream>> {
        self.connection.poll_new_outbound(cx).map_err(failed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_close(cx).map_err(failed)
    }

    /// Drives every stream; yamux only does so while it is asked for new ones.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        loop {
            match self.next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // Beyond the bound it is dropped, and with that reset.
                Poll::Ready(Ok(stream)) if self.waiting.len() < INBOUND_WAITING_MAX => {
                    self.waiting.push_back(stream);
                }
                Poll::Ready(Ok(_)) => {}
            }
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

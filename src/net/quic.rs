//! QUIC, with a patience that Go's nodes need.
//!
//! A Go node that answers on a stream of its own writes the protocol's name, its message, and
//! closes both directions at once. Over QUIC the second one reaches us as "stop sending", maybe
//! before our half of the negotiation is written; libp2p's negotiation then fails and the message,
//! which is all there, is thrown away. So what is written to an inbound stream that nobody reads
//! any more goes nowhere, as it does over TCP, for as long as it may be the negotiation.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::futures::{AsyncRead, AsyncWrite};
use libp2p::quic;

/// Bytes of a negotiation: two lines of a protocol's name each.
const NEGOTIATION_BYTES: usize = 512;

/// A QUIC connection whose inbound streams forgive.
pub struct Connection(quic::Connection);

impl Connection {
    /// Wraps a connection.
    pub fn new(connection: quic::Connection) -> Self {
        Self(connection)
    }
}

/// A stream of such a connection.
pub struct Stream {
    inner: quic::Stream,
    /// Bytes that may still be written to nobody.
    forgiven: usize,
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = <quic::Connection as StreamMuxer>::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, Self::Error>> {
        let inner = ready!(Pin::new(&mut self.0).poll_inbound(cx))?;
        Poll::Ready(Ok(Stream { inner, forgiven: NEGOTIATION_BYTES }))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, Self::Error>> {
        let inner = ready!(Pin::new(&mut self.0).poll_outbound(cx))?;
        Poll::Ready(Ok(Stream { inner, forgiven: 0 }))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Whether an error of writing only says that the other side does not read.
fn is_stopped(error: &io::Error) -> bool {
    // quinn's kind for it; a connection that is lost has another.
    error.kind() == io::ErrorKind::ConnectionReset
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.inner).poll_write(cx, bytes)) {
            Err(error) if is_stopped(&error) && bytes.len() <= self.forgiven => {
                self.forgiven = self.forgiven.saturating_sub(bytes.len());
                Poll::Ready(Ok(bytes.len()))
            }
            written => {
                if let Ok(count) = written {
                    self.forgiven = self.forgiven.saturating_sub(count);
                }
                Poll::Ready(written)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.inner).poll_close(cx)) {
            Err(error) if is_stopped(&error) => Poll::Ready(Ok(())),
            closed => Poll::Ready(closed),
        }
    }
}

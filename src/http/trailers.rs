//! Letting errors through after a reply has begun.
//!
//! Kubo tells of an error in the middle of a reply in the trailer `X-Stream-Error`, whether or not
//! the client announced `TE: trailers`; Go clients never do, and hyper then drops the trailer. This
//! connection therefore announces it on the client's behalf: it puts the header behind the first
//! line of a request. Where a request begins is told by whoever serves the connection: at its
//! start, and each time a reply leaves the connection open.
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
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The header that is put in.
const TE: &[u8] = b"TE: trailers\r\n";
/// A first line that is longer is left alone: hyper will refuse it.
const LINE_MAX_BYTES: usize = 16 << 10;
/// Bytes read at a time while a first line is looked for.
const READ_BYTES: usize = 8 << 10;

/// Says that the next byte from the client begins a request.
#[derive(Clone, Debug, Default)]
pub struct NextRequest(Arc<AtomicBool>);

impl NextRequest {
    /// The next byte from the client begins a request.
    pub fn begins(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A connection that announces `TE: trailers` for its client.
pub struct Announcing<S> {
    inner: S,
    next: NextRequest,
    /// Bytes of the first line so far, when one is looked for.
    line: Option<usize>,
    /// Read from the client, not yet handed on.
    ready: BytesMut,
}

impl<S> Announcing<S> {
    /// Wraps a connection; its first byte begins a request.
    pub fn new(inner: S) -> (Self, NextRequest) {
        let next = NextRequest::default();
        next.begins();
        (Self { inner, next: next.clone(), line: None, ready: BytesMut::new() }, next)
    }

    /// Takes bytes from the client and puts the header behind the first line once it ends.
    fn take(&mut self, bytes: &[u8]) {
        let Some(seen) = self.line else { return self.ready.extend_from_slice(bytes) };
        match bytes.iter().position(|b| *b == b'\n') {
            Some(end) => {
                let (line, rest) = bytes.split_at(end.saturating_add(1));
                self.ready.extend_from_slice(line);
                self.ready.extend_from_slice(TE);
                self.ready.extend_from_slice(rest);
                self.line = None;
            }
            None => {
                self.ready.extend_from_slice(bytes);
                let seen = seen.saturating_add(bytes.len());
                self.line = (seen < LINE_MAX_BYTES).then_some(seen);
            }
        }
    }

    fn hand_on(&mut self, out: &mut ReadBuf<'_>) {
        let n = self.ready.len().min(out.remaining());
        out.put_slice(&self.ready.split_to(n));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Announcing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ready.has_remaining() {
            self.hand_on(out);
            return Poll::Ready(Ok(()));
        }
        if self.line.is_none() && !self.next.0.load(Ordering::Acquire) {
            return Pin::new(&mut self.inner).poll_read(context, out);
        }
        let mut space = [0; READ_BYTES];
        let mut piece = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.inner).poll_read(context, &mut piece))?;
        if piece.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        if self.next.0.swap(false, Ordering::AcqRel) {
            self.line = Some(0);
        }
        self.take(piece.filled());
        self.hand_on(out);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Announcing<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What comes out of the wrapper for requests written in pieces of `piece` bytes.
    async fn through(requests: &[&str], piece: usize) -> String {
        let (mut client, server) = tokio::io::duplex(64);
        let (mut wrapped, next) = Announcing::new(server);
        let mut seen = String::new();
        for request in requests {
            let text = (*request).to_owned();
            let wanted = text.len() + TE.len();
            let writing = async {
                for part in text.as_bytes().chunks(piece) {
                    client.write_all(part).await.unwrap();
                }
            };
            let mut got = vec![0; wanted];
            let (_, read) = tokio::join!(writing, wrapped.read_exact(&mut got));
            read.unwrap();
            seen.push_str(std::str::from_utf8(&got).unwrap());
            next.begins();
        }
        seen
    }

    #[tokio::test]
    async fn every_request_gets_the_header_behind_its_first_line() {
        let request = "POST /api/v0/id HTTP/1.1\r\nHost: x\r\n\r\n";
        let wanted = "POST /api/v0/id HTTP/1.1\r\nTE: trailers\r\nHost: x\r\n\r\n";
        for piece in [1, 7, 1000] {
            assert_eq!(through(&[request, request], piece).await, wanted.repeat(2));
        }
    }
}

//! How long a reply waits for its reader.
//!
//! A reader that takes no byte for that long loses its connection: what the reply holds (blocks read
//! ahead, locks of the store) is not held for whoever stopped reading and never closed.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A connection whose peer has to take a byte from time to time, while there are any.
pub struct Patient<S> {
    inner: S,
    most: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// Wraps a connection; a write waits at most so long.
    pub fn new(inner: S, most: Duration) -> Self {
        Self { inner, most, waiting: None }
    }

    /// Lets a write through, and ends one that has waited too long.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let most = self.most;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
        waiting.as_mut().poll(context).map(|()| {
            let text = "the reader has stopped reading";
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watch(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const MOST: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_reader_that_sleeps_is_left() {
        let (_reader, server) = tokio::io::duplex(1000);
        let since = Instant::now();
        let error = Patient::new(server, MOST).write_all(&[0; 4000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(since.elapsed() >= MOST && since.elapsed() < 20 * MOST, "{:?}", since.elapsed());
    }

    #[tokio::test]
    async fn a_reader_that_is_only_slow_is_served() {
        let (mut reader, server) = tokio::io::duplex(100);
        let mut server = Patient::new(server, MOST);
        let since = Instant::now();
        let reading = async {
            let mut got = 0;
            while got < 1000 {
                tokio::time::sleep(MOST / 4).await;
                got += reader.read(&mut [0; 100]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(server.write_all(&[0; 1000]), reading);
        written.unwrap();
        assert!(since.elapsed() > MOST);
        // Silence is no sloth.
        tokio::time::sleep(2 * MOST).await;
        server.write_all(&[0; 50]).await.unwrap();
    }
}

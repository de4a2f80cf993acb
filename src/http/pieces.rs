//! A body that is there whole, sent piece by piece: a connection has no more of it than it can write.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use hyper::body::{Body, Frame, SizeHint};

/// Bytes of a piece.
const PIECE_BYTES: usize = 64 << 10;

/// The rest of a body.
#[derive(Debug, Default)]
pub struct Pieces(Bytes);

impl Pieces {
    /// A body of these bytes.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.0.len().min(PIECE_BYTES);
        if length == 0 {
            return Poll::Ready(None);
        }
        // A copy, so that the whole goes with this body, and not with its last piece.
        let piece = Bytes::copy_from_slice(&self.0[..length]);
        self.0.advance(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::trailers::NextRequest;
    use crate::http::{Address, Answer, Held, Listener};
    use http_body_util::BodyExt as _;
    use hyper::body::Incoming;
    use hyper::{Request, Response};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn pieces_are_the_whole() {
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES + 7] {
            let bytes: Bytes = (0..length).map(|n| n as u8).collect::<Vec<u8>>().into();
            let mut body = Pieces::new(bytes.clone());
            assert_eq!(body.size_hint().exact(), Some(length as u64));
            let mut seen = Vec::new();
            while let Some(frame) = body.frame().await {
                let piece = frame.unwrap().into_data().unwrap();
                assert!(piece.len() <= PIECE_BYTES);
                seen.extend_from_slice(&piece);
                assert_eq!(body.is_end_stream(), seen.len() == length);
            }
            assert_eq!(seen, bytes);
        }
    }

    /// Answers with more than a system keeps for a reader that sleeps.
    #[derive(Clone)]
    struct Long(tokio::sync::mpsc::Sender<()>);

    impl Answer for Long {
        type Body = Held<Pieces>;

        async fn answer(&self, _: Request<Incoming>, _: NextRequest) -> Response<Self::Body> {
            let place = self.0.clone();
            Response::new(Held::new(Pieces::new(vec![0; 64 << 20].into()), Some(place)))
        }
    }

    #[tokio::test]
    async fn what_is_held_is_held_until_the_reply_is_sent() {
        let address = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        let listener = Listener::bind(&address).await.unwrap();
        let Address::Tcp(at) = listener.address().clone() else { panic!("no TCP") };
        let (place, _unused) = tokio::sync::mpsc::channel(1);
        let (stop, holders) = (CancellationToken::new(), place.clone());
        let serving = crate::task::spawn(listener.serve(Long(place), stop.clone()));
        let mut reader = tokio::net::TcpStream::connect(at).await.unwrap();
        reader.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(reader.read(&mut [0; 9]).await.unwrap() > 0);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let awake = holders.strong_count();
        // Each handle of the service counts, and the reply: it alone goes while the connection stands.
        let mut left = 64 << 20;
        while left > 0 {
            let length = reader.read(&mut vec![0; 1 << 20]).await.unwrap();
            assert!(length > 0);
            left -= length.min(left);
        }
        let since = std::time::Instant::now();
        while holders.strong_count() >= awake {
            assert!(since.elapsed().as_secs() < 20, "it went before, or never");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        stop.cancel();
        drop(reader);
        crate::task::join(serving).await;
    }
}

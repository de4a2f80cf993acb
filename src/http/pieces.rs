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
    use http_body_util::BodyExt as _;

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
}

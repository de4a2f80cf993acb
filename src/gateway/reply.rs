//! Replies on their way out: bodies that are here, and bodies that come from the node piece by piece.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::sync::mpsc;

use super::error::Refusal;
use crate::node::Error;

/// Pieces of a body; an error cuts the connection, so that nobody takes a part for the whole.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// A body on its way out.
pub enum Outgoing {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece.
    Pieces(Pieces),
    /// Nothing, or nothing any more.
    Done,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Self::Pieces(pieces) = &mut *self {
            let next = pieces.poll_next_unpin(context);
            return next.map(|item| Some(item?.map(Frame::data)));
        }
        match std::mem::replace(&mut *self, Self::Done) {
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Self::Pieces(_) | Self::Done => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(_) => SizeHint::default(),
            Self::Done => SizeHint::with_exact(0),
        }
    }
}

impl Outgoing {
    /// Bytes that are here.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::Done } else { Self::Whole(bytes) }
    }

    /// Bytes as the node sends them.
    pub fn pieces<E>(results: mpsc::Receiver<Result<Bytes, E>>) -> Self
    where
        E: Into<Error> + Send + 'static,
    {
        Self::Pieces(as_pieces(results))
    }
}

/// Bytes as the node sends them, not yet a body.
pub fn as_pieces<E>(mut results: mpsc::Receiver<Result<Bytes, E>>) -> Pieces
where
    E: Into<Error> + Send + 'static,
{
    let pieces = stream::poll_fn(move |context| results.poll_recv(context));
    Box::pin(pieces.map(|piece| piece.map_err(E::into)))
}

/// A reply with headers and a body.
pub fn of(headers: HeaderMap, body: Outgoing) -> Response<Outgoing> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

/// A refusal as a page of plain text.
pub fn refused(refusal: &Refusal, head: bool) -> Response<Outgoing> {
    let text = format!("{}\n", refusal.text);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.extend(refusal.extra.clone());
    let body = if head { Outgoing::Done } else { Outgoing::whole(text) };
    let mut response = of(headers, body);
    *response.status_mut() = refusal.status;
    response
}

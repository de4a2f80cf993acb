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

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
    VARY,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, Sleep};

use super::error::Refusal;
use super::escape;
use crate::node::Error;

/// What a page of ours may do: use its own style, and nothing else.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                          form-action 'none'";
/// The style of all of them.
pub const STYLE: &str = include_str!("respond/listing.css");

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

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The node's trouble.
    #[error(transparent)]
    Node(#[from] Error),
    /// Too long a wait for the next piece.
    #[error("no content came for {0:?}")]
    Stalled(Duration),
    /// The request takes too long.
    #[error("the request took longer than it may")]
    Expired,
}

/// A body within its bounds: how long it may take, and its place among the requests at a time,
/// which it gives back at its end.
pub struct Bounded {
    body: Outgoing,
    /// Longest wait for a piece. The clock runs while the node is awaited, not while the client is.
    patience: Option<Duration>,
    waiting: Option<Pin<Box<Sleep>>>,
    end: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Bounded {
    /// A body that has to come piece by piece within `patience` each, and all of it until `end`.
    pub fn new(
        body: Outgoing,
        patience: Option<Duration>,
        end: Instant,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let end = Box::pin(tokio::time::sleep_until(end));
        Self { body, patience, waiting: None, end, _place: place }
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        if this.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Cut::Expired)));
        }
        if let Poll::Ready(frame) = this.body.poll(context) {
            this.waiting = None;
            return Poll::Ready(frame.map(|frame| Ok(Frame::data(frame?))));
        }
        let Some(patience) = this.patience else { return Poll::Pending };
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        waiting.as_mut().poll(context).map(|()| Some(Err(Cut::Stalled(patience))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.body, Outgoing::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Outgoing::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Outgoing::Pieces(_) => SizeHint::default(),
            Outgoing::Done => SizeHint::with_exact(0),
        }
    }
}

impl Outgoing {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if let Self::Pieces(pieces) = self {
            return pieces.poll_next_unpin(context);
        }
        match std::mem::replace(self, Self::Done) {
            Self::Whole(bytes) => Poll::Ready(Some(Ok(bytes))),
            Self::Pieces(_) | Self::Done => Poll::Ready(None),
        }
    }

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

/// A text as it is, for who asked for headers alone without it.
pub fn text(media: &'static str, text: String, head: bool) -> Response<Outgoing> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    of(headers, if head { Outgoing::Done } else { Outgoing::whole(text) })
}

/// A refusal as a line of plain text, or as a page for a browser.
pub fn refused(refusal: &Refusal, head: bool, page: bool) -> Response<Outgoing> {
    let mut response = match page {
        true => text("text/html; charset=utf-8", error_page(refusal), head),
        false => text("text/plain; charset=utf-8", format!("{}\n", refusal.text), head),
    };
    let headers = response.headers_mut();
    headers.extend(refusal.extra.clone());
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    if page {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    }
    if refusal.passes() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    *response.status_mut() = refusal.status;
    response
}

fn error_page(refusal: &Refusal) -> String {
    let (status, text) = (refusal.status, escape::show(refusal.text.as_bytes()));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{status}</title><style>{STYLE}</style></head><body>\
         <header><h1>{status}</h1><p>{text}</p></header></body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next frame of a body, as `hyper` asks for it.
    async fn next(body: &mut Bounded) -> Option<Result<Bytes, Cut>> {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame.map(|frame| frame.map(|frame| frame.into_data().unwrap()))
    }

    fn body(patience: Duration, lasts: Duration) -> (mpsc::Sender<Result<Bytes, Error>>, Bounded) {
        let (out, pieces) = mpsc::channel(4);
        let end = Instant::now() + lasts;
        (out, Bounded::new(Outgoing::pieces(pieces), Some(patience), end, None))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_body_that_stalls_is_cut_and_a_slow_reader_is_not() {
        let short = Duration::from_millis(50);
        let (out, mut stalling) = body(short, Duration::from_secs(60));
        out.send(Ok(Bytes::from_static(b"a"))).await.unwrap();
        assert_eq!(next(&mut stalling).await.unwrap().unwrap(), "a");
        out.send(Ok(Bytes::from_static(b"b"))).await.unwrap();
        // The reader takes its time: the piece is here all the while.
        tokio::time::sleep(short * 3).await;
        assert_eq!(next(&mut stalling).await.unwrap().unwrap(), "b");
        assert!(matches!(next(&mut stalling).await, Some(Err(Cut::Stalled(_)))));
        let (_out, mut expiring) = body(Duration::from_secs(60), short);
        assert!(matches!(next(&mut expiring).await, Some(Err(Cut::Expired))));
    }

    #[test]
    fn an_error_page_holds_no_markup_of_its_cause() {
        let page = error_page(&Refusal::bad("<script>alert(1)</script>"));
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    }
}

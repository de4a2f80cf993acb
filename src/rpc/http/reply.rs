//! Replies as HTTP: status, headers, bodies, and the trailer that tells of a late failure.
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
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SERVER, TRAILER,
};
use hyper::{Response, StatusCode, header};
use serde_json::Value;

use super::BodyEnd;
use crate::node::KUBO_LEVEL;
use crate::rpc::{Entries, Error, Reply};

/// Where an error goes once the reply has begun.
const STREAM_ERROR: HeaderName = HeaderName::from_static("x-stream-error");
const CHUNKED: HeaderName = HeaderName::from_static("x-chunked-output");
const STREAMED: HeaderName = HeaderName::from_static("x-stream-output");
const LENGTH: HeaderName = HeaderName::from_static("x-content-length");
/// Type of what is said to people.
const TEXT: &str = "text/plain; charset=utf-8";
/// Headers that a page may read and send.
const EXPOSED: &str = "X-Stream-Output, X-Chunked-Output, X-Content-Length";
/// Longest text of an error in a trailer, in bytes: clients bound their headers.
const TRAILER_MAX_BYTES: usize = 2 << 10;

/// A body on its way out.
pub struct Outgoing {
    from: From_,
}

enum From_ {
    Whole(Option<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>),
    Done,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = match &mut self.from {
            From_::Whole(bytes) => Poll::Ready(bytes.take().map(Ok)),
            From_::Stream(stream) => stream.poll_next_unpin(context),
            From_::Done => Poll::Ready(None),
        };
        next.map(|item| match item? {
            Ok(bytes) => Some(Ok(Frame::data(bytes))),
            Err(error) => {
                self.from = From_::Done;
                Some(Ok(Frame::trailers(trailer(&error))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.from, From_::Whole(None) | From_::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From_::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            From_::Stream(_) => SizeHint::default(),
            From_::Done => SizeHint::with_exact(0),
        }
    }
}

fn trailer(error: &Error) -> HeaderMap {
    let mut text: String =
        error.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = text.floor_char_boundary(TRAILER_MAX_BYTES);
    text.truncate(end);
    let fallback = || HeaderValue::from_static("failed");
    let value = HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| fallback());
    HeaderMap::from_iter([(STREAM_ERROR, value)])
}

/// A reply of plain text.
pub fn plain(status: StatusCode, text: &'static str) -> Response<Outgoing> {
    let mut response = whole(status, TEXT, Bytes::from_static(text.as_bytes()));
    if status != StatusCode::OK {
        // The body of a request that was refused is not read.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The reply of a command. A request whose body was not read to its end when the reply begins closes
/// the connection.
pub async fn of(answer: Result<Reply, Error>, end: &BodyEnd) -> Response<Outgoing> {
    let begun = match answer {
        Ok(reply) => begin(reply).await,
        Err(error) => Err(error),
    };
    let mut response = match begun {
        Ok(Reply::Empty) => whole(StatusCode::OK, TEXT, Bytes::new()),
        Ok(Reply::Value(value)) => {
            whole(StatusCode::OK, "application/json", format!("{value}\n").into())
        }
        Ok(Reply::Lines(lines)) => {
            let lines = lines.map(|line| Ok(Bytes::from(format!("{}\n", line?))));
            let mut response = streamed("application/json", Box::pin(lines));
            response.headers_mut().insert(CHUNKED, HeaderValue::from_static("1"));
            response
        }
        Ok(Reply::Object { name, entries }) => streamed("application/json", object(name, entries)),
        Ok(Reply::Bytes { stream, length }) => {
            let mut response = streamed("text/plain", stream);
            response.headers_mut().insert(STREAMED, HeaderValue::from_static("1"));
            if let Some(length) = length {
                response.headers_mut().insert(LENGTH, HeaderValue::from(length));
            }
            response
        }
        Err(error) => failed(&error),
    };
    if !end.is_reached() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Waits for the first item of a stream: an error that comes first still decides the status, as in
/// Kubo. Clients that see no trailers, such as `fetch`, learn of it by that alone.
async fn begin(reply: Reply) -> Result<Reply, Error> {
    Ok(match reply {
        Reply::Lines(lines) => Reply::Lines(begun(lines).await?),
        Reply::Bytes { stream, length } => Reply::Bytes { stream: begun(stream).await?, length },
        Reply::Object { name, entries } => Reply::Object { name, entries: begun(entries).await? },
        whole @ (Reply::Empty | Reply::Value(_)) => whole,
    })
}

/// The text of an object, an entry at a time.
fn object(name: &'static str, entries: Entries) -> Items<Bytes> {
    let mut before = format!("{{{}:{{", Value::from(name));
    let mut none = true;
    let entries = entries.map(Some).chain(stream::once(async { None }));
    Box::pin(entries.map(move |entry| {
        Ok(match entry.transpose()? {
            Some((key, value)) => {
                none = false;
                let before = std::mem::replace(&mut before, ",".into());
                format!("{before}{}:{value}", Value::from(key)).into()
            }
            None if none => Bytes::from_static(b"{}\n"),
            None => Bytes::from_static(b"}}\n"),
        })
    }))
}

type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;

async fn begun<T: Send + 'static>(mut items: Items<T>) -> Result<Items<T>, Error> {
    match items.next().await {
        // Not every stream may be asked again after its end.
        None => Ok(Box::pin(stream::empty())),
        Some(first) => {
            let first = first?;
            Ok(Box::pin(stream::once(async { Ok(first) }).chain(items)))
        }
    }
}

fn failed(error: &Error) -> Response<Outgoing> {
    match error.client {
        // What Kubo's parser refuses it refuses as text.
        true => whole(StatusCode::BAD_REQUEST, TEXT, format!("{}\n", error.message).into()),
        false => {
            let text = format!("{}\n", error.envelope());
            whole(StatusCode::INTERNAL_SERVER_ERROR, "application/json", text.into())
        }
    }
}

fn streamed(
    kind: &'static str,
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>,
) -> Response<Outgoing> {
    let mut response = with_headers(kind, Outgoing { from: From_::Stream(stream) });
    response.headers_mut().insert(TRAILER, HeaderValue::from_static("X-Stream-Error"));
    response
}

/// A reply that is all here.
pub fn whole(status: StatusCode, kind: &'static str, text: Bytes) -> Response<Outgoing> {
    let mut response = with_headers(kind, Outgoing { from: From_::Whole(Some(text)) });
    *response.status_mut() = status;
    response
}

fn with_headers(kind: &'static str, body: Outgoing) -> Response<Outgoing> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    if let Ok(server) = HeaderValue::from_str(&format!("kubo/{KUBO_LEVEL}")) {
        headers.insert(SERVER, server);
    }
    response
}

//! Replies, before they are written to anything.

use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt as _};
use serde_json::Value;
use tokio::sync::mpsc;

use super::Error;

/// JSON values, one a line.
pub type Lines = Pin<Box<dyn Stream<Item = Result<Value, Error>> + Send>>;
/// Raw bytes.
pub type Bytes = Pin<Box<dyn Stream<Item = Result<bytes::Bytes, Error>> + Send>>;

/// What a command answers.
pub enum Reply {
    /// One JSON value.
    Value(Value),
    /// Newline-separated JSON values, as they come.
    Lines(Lines),
    /// Bytes, and how many when that is known.
    Bytes {
        /// The bytes.
        stream: Bytes,
        /// Their number.
        length: Option<u64>,
    },
}

impl Reply {
    /// A reply whose lines are made from results of the node.
    pub fn lines<T, E, F>(results: mpsc::Receiver<Result<T, E>>, mut shape: F) -> Self
    where
        T: Send + 'static,
        E: Send + 'static,
        crate::node::Error: From<E>,
        F: FnMut(T) -> Value + Send + 'static,
    {
        let shaped = receive(results).map(move |item| match item {
            Ok(item) => Ok(shape(item)),
            Err(error) => Err(crate::node::Error::from(error).into()),
        });
        Self::Lines(Box::pin(shaped))
    }

    /// A reply of bytes from the node.
    pub fn bytes<E>(results: mpsc::Receiver<Result<bytes::Bytes, E>>, length: Option<u64>) -> Self
    where
        E: Send + 'static,
        crate::node::Error: From<E>,
    {
        let failed = |error: E| Error::from(crate::node::Error::from(error));
        let stream = Box::pin(receive(results).map(move |item| item.map_err(failed)));
        Self::Bytes { stream, length }
    }

    /// A reply of bytes that are all here.
    pub fn whole(data: bytes::Bytes) -> Self {
        let length = Some(data.len() as u64);
        Self::Bytes { stream: Box::pin(stream::once(async { Ok(data) })), length }
    }
}

/// A channel's items as a stream.
pub(super) fn receive<T: Send + 'static>(
    mut from: mpsc::Receiver<T>,
) -> impl Stream<Item = T> + Send {
    stream::poll_fn(move |context| from.poll_recv(context))
}

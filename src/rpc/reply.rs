//! Replies, before they are written to anything.

use std::io::Write as _;
use std::pin::Pin;

use flate2::Compression;
use flate2::write::GzEncoder;

use futures_util::stream::{self, Stream, StreamExt as _};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::Error;

/// JSON values, one a line.
pub type Lines = Pin<Box<dyn Stream<Item = Result<Value, Error>> + Send>>;
/// Raw bytes.
pub type Bytes = Pin<Box<dyn Stream<Item = Result<bytes::Bytes, Error>> + Send>>;

/// Entries of a JSON object.
pub type Entries = Pin<Box<dyn Stream<Item = Result<(String, Value), Error>> + Send>>;

/// What a command answers.
pub enum Reply {
    /// Nothing but that it is done.
    Empty,
    /// One JSON value.
    Value(Value),
    /// Newline-separated JSON values, as they come.
    Lines(Lines),
    /// One JSON value, `{ <name>: { <entries> } }`, whose entries are written as they come: it may be
    /// larger than memory. Without entries it is `{}`.
    Object {
        /// The name.
        name: &'static str,
        /// What stands under it.
        entries: Entries,
    },
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

    /// The same reply with such an object held whole, for whoever wants a value.
    ///
    /// # Errors
    /// The first among its entries.
    pub async fn held(self) -> Result<Self, Error> {
        let Self::Object { name, mut entries } = self else { return Ok(self) };
        let mut object = Map::new();
        while let Some(entry) = entries.next().await {
            let (key, value) = entry?;
            object.insert(key, value);
        }
        Ok(Self::Value(match object.is_empty() {
            true => Value::Object(object),
            false => json!({ name: object }),
        }))
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

    /// The same bytes under gzip, compressed as they stream by; other replies stay as they are.
    ///
    /// # Errors
    /// For a level outside 1 to 9.
    pub fn gzip(self, level: i64) -> Result<Self, Error> {
        let level = u32::try_from(level).ok().filter(|level| (1..=9).contains(level));
        let refuse = || Error::invalid("compression level must be between 1 and 9");
        let level = level.ok_or_else(refuse)?;
        let Self::Bytes { stream, .. } = self else { return Ok(self) };
        let encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        let packed = stream::unfold(Some((stream, encoder)), |state| async {
            let (mut stream, mut encoder) = state?;
            let failed = |e: std::io::Error| Error { message: e.to_string(), client: false };
            Some(match stream.next().await {
                Some(Ok(piece)) => match encoder.write_all(&piece) {
                    Ok(()) => {
                        (Ok(std::mem::take(encoder.get_mut()).into()), Some((stream, encoder)))
                    }
                    Err(error) => (Err(failed(error)), None),
                },
                Some(Err(error)) => (Err(error), None),
                None => (encoder.finish().map(bytes::Bytes::from).map_err(failed), None),
            })
        });
        Ok(Self::Bytes { stream: Box::pin(packed), length: None })
    }
}

/// A channel's items as a stream.
pub(super) fn receive<T: Send + 'static>(
    mut from: mpsc::Receiver<T>,
) -> impl Stream<Item = T> + Send {
    stream::poll_fn(move |context| from.poll_recv(context))
}

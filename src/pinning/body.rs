//! Reading a request's body within bounds: its length, its time, and how many long ones at a time.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, EXPECT, HeaderMap};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::Refusal;

/// Longest body, in bytes: a thousand entries of meta with a kilobyte each.
pub const BODY_MAX_BYTES: usize = 1 << 20;
/// Time for a body to come whole.
pub const BODY_TIME: Duration = Duration::from_secs(30);
/// Bytes of a body that every connection may send.
const SMALL_BYTES: usize = 64 << 10;
/// Bodies beyond that, at a time; more wait within their time. So all bodies of a listener take no
/// more than its connections times `SMALL_BYTES`, and these.
const LARGE_MAX: usize = 32;

/// Bytes of a body that is too long which are read and dropped. Whoever still sends when it is hung up
/// on never hears why: the refusal is lost with the connection.
const DROPPED_MAX_BYTES: usize = 4 << 20;
/// Rest after which no more of such a body is expected.
const DROPPED_REST: Duration = Duration::from_secs(1);

/// Reads bodies for one listener.
#[derive(Clone)]
pub struct Bodies {
    large: Arc<Semaphore>,
    time: Duration,
}

impl Bodies {
    /// A reader whose bodies have so long.
    pub fn new(time: Duration) -> Self {
        Self { large: Arc::new(Semaphore::new(LARGE_MAX)), time }
    }

    /// All of a body of JSON.
    ///
    /// # Errors
    /// 415, 413, 408; 400 when it breaks off.
    pub async fn json(&self, headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, Refusal> {
        if !is_json(headers) {
            return Err(Refusal::media());
        }
        let read = timeout(self.time, self.read(&mut body)).await;
        let read = read.unwrap_or_else(|_| Err(Refusal::slow(self.time)));
        // Who asks before it sends is not told to go on.
        let sends = !headers.contains_key(EXPECT);
        if matches!(&read, Err(refusal) if refusal.status == StatusCode::PAYLOAD_TOO_LARGE) && sends
        {
            // However that ends, the refusal stands.
            let _ = timeout(self.time, drop_rest(&mut body)).await;
        }
        read
    }

    async fn read(&self, body: &mut Incoming) -> Result<Bytes, Refusal> {
        let told = body.size_hint().lower();
        if told > u64::try_from(BODY_MAX_BYTES).unwrap_or(u64::MAX) {
            return Err(Refusal::large(BODY_MAX_BYTES));
        }
        let (mut whole, mut place) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| Refusal::bad(format!("the body broke off: {e}")))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = whole.len().saturating_add(data.len());
            if length > BODY_MAX_BYTES {
                return Err(Refusal::large(BODY_MAX_BYTES));
            }
            if length > SMALL_BYTES && place.is_none() {
                // It is never closed.
                place = Arc::clone(&self.large).acquire_owned().await.ok();
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.into())
    }
}

/// Reads on, to the end of the body or to what is dropped of one at most.
async fn drop_rest(body: &mut Incoming) {
    let mut left = DROPPED_MAX_BYTES;
    while let Ok(Some(Ok(frame))) = timeout(DROPPED_REST, body.frame()).await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// Whether the body says that it is JSON, with parameters or without.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

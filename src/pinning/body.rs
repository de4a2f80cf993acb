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
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use tokio::sync::Semaphore;

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
    pub async fn json(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Refusal> {
        if !is_json(headers) {
            return Err(Refusal::media());
        }
        let told = body.size_hint().lower();
        if told > u64::try_from(BODY_MAX_BYTES).unwrap_or(u64::MAX) {
            return Err(Refusal::large(BODY_MAX_BYTES));
        }
        let read = tokio::time::timeout(self.time, self.read(body)).await;
        read.unwrap_or_else(|_| Err(Refusal::slow(self.time)))
    }

    async fn read(&self, mut body: Incoming) -> Result<Bytes, Refusal> {
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

/// Whether the body says that it is JSON, with parameters or without.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

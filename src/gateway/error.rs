//! Refusals: a status and a line of plain text that names the cause.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_RANGE, HeaderName, HeaderValue, RETRY_AFTER};

use super::request::METHODS;
use crate::ipld::path::PathError;
use crate::node::{Error, Kind};

/// Longest text of a refusal, in bytes: causes quote what strangers sent.
const TEXT_MAX_BYTES: usize = 2 << 10;

/// Time after which a client that was sent away may come again.
const RETRY_SECS: u32 = 60;

/// Why a request gets no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// One line.
    pub text: String,
    /// A header that belongs to the status.
    pub extra: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A refusal of one line.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        text.truncate(text.floor_char_boundary(TEXT_MAX_BYTES));
        Self { status, text, extra: None }
    }

    /// 400.
    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 404 for an address that leads to no content at all.
    pub fn nothing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "404 page not found")
    }

    /// 429: as many requests are being answered as may be.
    pub fn busy() -> Self {
        let extra = Some((RETRY_AFTER, HeaderValue::from(RETRY_SECS)));
        let text = format!("too many requests: try again in {RETRY_SECS} seconds");
        Self { extra, ..Self::new(StatusCode::TOO_MANY_REQUESTS, text) }
    }

    /// 504: the content did not come in time.
    pub fn late() -> Self {
        let text = "the content could not be retrieved in time";
        Self::new(StatusCode::GATEWAY_TIMEOUT, text)
    }

    /// Whether the next moment may bring another answer: nobody is to keep this one.
    pub fn passes(&self) -> bool {
        matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::GATEWAY_TIMEOUT)
    }

    /// 405, with the methods there are.
    pub fn method() -> Self {
        let extra = Some((ALLOW, HeaderValue::from_static(METHODS)));
        Self { extra, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed") }
    }

    /// 416, with the size there is.
    pub fn range(size: u64) -> Self {
        let value = HeaderValue::from_str(&format!("bytes */{size}")).ok();
        let text = format!("the range is not within the {size} bytes of the content");
        let extra = value.map(|value| (CONTENT_RANGE, value));
        Self { extra, ..Self::new(StatusCode::RANGE_NOT_SATISFIABLE, text) }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(status(error.kind()), error.to_string())
    }
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Self {
        Error::from(error).into()
    }
}

/// The status of a kind of error. What is not here and nobody has is nowhere: 404.
fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Kind::Offline => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Unreachable => StatusCode::BAD_GATEWAY,
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Busy => StatusCode::TOO_MANY_REQUESTS,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::Conflict
        | Kind::Limit
        | Kind::Quota
        | Kind::Corrupt
        | Kind::Cancelled
        | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded() {
        assert_eq!(Refusal::bad("ą".repeat(TEXT_MAX_BYTES)).text.len(), TEXT_MAX_BYTES);
        assert_eq!(status(Kind::NotFound).as_u16(), 404);
    }
}

//! Refusals: a status, a word for programs and a line for people, as the API's `Failure`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Value, json};

use crate::node::service::Refused;
use crate::node::{Error, Kind};

/// Longest line, in bytes: what a stranger wrote is told back no longer than that.
const DETAILS_MAX_BYTES: usize = 1024;

/// Why a request is not done.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The word.
    pub reason: &'static str,
    /// The line.
    pub details: String,
    /// A header that belongs to it.
    pub extra: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A refusal without a header of its own.
    pub fn new(status: StatusCode, reason: &'static str, details: impl Into<String>) -> Self {
        let mut details = details.into();
        details.truncate(details.floor_char_boundary(DETAILS_MAX_BYTES));
        Self { status, reason, details, extra: None }
    }

    /// 400: what was sent cannot be meant.
    pub fn bad(details: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", details)
    }

    /// 401: none, a wrong, expired or revoked token. Which of them is not told.
    pub fn unknown() -> Self {
        let extra = Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        let details = "access token is missing or invalid";
        Self { extra, ..Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", details) }
    }

    /// 404: no such request, or somebody else's.
    pub fn absent(details: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", details)
    }

    /// 405, with the methods there are.
    pub fn method(allowed: &'static str) -> Self {
        let extra = Some((ALLOW, HeaderValue::from_static(allowed)));
        let details = format!("only {allowed} are answered here");
        Self { extra, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", details) }
    }

    /// 408: the body does not come.
    pub fn slow(most: Duration) -> Self {
        let details = format!("the body did not come within {} s", most.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", details)
    }

    /// 413: the body is too long.
    pub fn large(most: usize) -> Self {
        let details = format!("the body is longer than {most} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", details)
    }

    /// 415: the body is no JSON by its own word.
    pub fn media() -> Self {
        let details = "Content-Type: application/json is expected";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", details)
    }

    /// 429: as many are being answered as may be.
    pub fn busy(details: impl Into<String>) -> Self {
        let extra = Some((RETRY_AFTER, HeaderValue::from_static("1")));
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self { extra, ..Self::new(status, "TOO_MANY_REQUESTS", details) }
    }

    /// 503: neither now, nor an error.
    pub fn not_ready(details: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", details)
    }

    /// The body of the reply.
    pub fn body(&self) -> Value {
        json!({ "error": { "reason": self.reason, "details": self.details } })
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self::unknown(),
            Refused::Scope => {
                let details = "this access token does not allow that";
                Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", details)
            }
            Refused::Rate { wait } => {
                let details = format!("too many requests: try again in {wait} s");
                let status = StatusCode::TOO_MANY_REQUESTS;
                let extra = Some((RETRY_AFTER, HeaderValue::from(wait)));
                Self { extra, ..Self::new(status, "TOO_MANY_REQUESTS", details) }
            }
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, reason) = of_kind(error.kind());
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Self::busy(error.to_string());
        }
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            // A tenant can do nothing about it, and need not know the operator's paths.
            tracing::error!(%error, "the pinning service failed");
            return Self::new(status, reason, "the node failed; its operator finds why in the log");
        }
        Self::new(status, reason, error.to_string())
    }
}

/// The status and word of a kind of error.
fn of_kind(kind: Kind) -> (StatusCode, &'static str) {
    match kind {
        Kind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
        Kind::Invalid => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
        Kind::Conflict => (StatusCode::CONFLICT, "CONFLICT"),
        Kind::Unsupported => (StatusCode::NOT_IMPLEMENTED, "NOT_IMPLEMENTED"),
        Kind::Offline | Kind::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        Kind::Unreachable => (StatusCode::BAD_GATEWAY, "UNREACHABLE"),
        Kind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "TIMEOUT"),
        Kind::Limit => (StatusCode::INSUFFICIENT_STORAGE, "INSUFFICIENT_STORAGE"),
        Kind::Quota => (StatusCode::CONFLICT, "INSUFFICIENT_FUNDS"),
        Kind::Busy => (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS"),
        Kind::Denied => (StatusCode::FORBIDDEN, "FORBIDDEN"),
        Kind::Corrupt | Kind::Internal => {
            (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_bounded_and_internals_stay_inside() {
        assert_eq!(Refusal::bad("ą".repeat(9999)).details.len(), DETAILS_MAX_BYTES);
        let error = Error::Io { path: "/secret/place".into(), cause: "x".into() };
        let refusal = Refusal::from(error);
        assert_eq!(refusal.status.as_u16(), 500);
        assert!(!refusal.body().to_string().contains("secret"), "{}", refusal.body());
        let quota = Refusal::from(Error::Quota("full".into()));
        assert_eq!((quota.status.as_u16(), quota.reason), (409, "INSUFFICIENT_FUNDS"));
        let busy = Refusal::from(Error::Busy("many".into()));
        assert_eq!((busy.status.as_u16(), busy.details.as_str()), (429, "many"));
        assert_eq!(busy.extra.unwrap().1, "1");
    }

    #[test]
    fn who_comes_too_often_is_told_when_to_come_again() {
        let refusal = Refusal::from(Refused::Rate { wait: 7 });
        assert_eq!(refusal.status.as_u16(), 429);
        assert_eq!(refusal.details, "too many requests: try again in 7 s");
        assert_eq!(refusal.extra.unwrap().1, "7");
    }
}

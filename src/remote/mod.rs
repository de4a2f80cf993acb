//! A client of the Pinning Service API 1.0.0: pins kept by somebody else.
//!
//! Owns the connection, its bounds, and reading what a service answers, all of which is a
//! stranger's. Does not own which services there are (the configuration does) or what is pinned.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod endpoint;
mod error;
mod model;
mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde::de::DeserializeOwned;

pub use endpoint::{Endpoint, EndpointError};
pub use error::RemoteError;
use error::clean;
use model::Failure;
pub use model::{Filter, NAME_MAX_CHARS, ORIGINS_MAX, Page, Pin, PinStatus, Status};
use wire::{Answer, Wire};

/// Requests of a page. The API allows 1000; services that keep much of each answer these sooner.
const PAGE: usize = 100;
/// Most CIDs in one question, as the API has it.
const CIDS_MAX: usize = 10;
/// Time between two looks at a pin that is not there yet: Kubo's at first, and the longest.
const LOOK_FIRST: Duration = Duration::from_millis(500);
const LOOK_LAST: Duration = Duration::from_secs(5);
/// Times that a service may ask to be left alone in a row before its refusal counts.
const RETRIES: u32 = 10;

/// A service, and the key to it.
pub struct Client {
    service: String,
    wire: Wire,
}

impl Client {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// For a key that no header can carry; it is not shown.
    pub fn new(service: &str, endpoint: Endpoint, key: &str) -> Result<Self, RemoteError> {
        let service = service.to_owned();
        match Wire::new(endpoint, key) {
            Ok(wire) => Ok(Self { service, wire }),
            Err(cause) => Err(RemoteError::Unreachable { service, cause }),
        }
    }

    /// Asks for a pin. The service may have taken it even where this fails.
    ///
    /// # Errors
    /// The service's.
    pub async fn add(&self, pin: &Pin) -> Result<PinStatus, RemoteError> {
        let body = serde_json::to_vec(pin).map_err(|e| self.malformed(&e))?;
        self.ask(Method::POST, "/pins", Some(body.into())).await
    }

    /// How far a request is.
    ///
    /// # Errors
    /// The service's.
    pub async fn status(&self, id: &str) -> Result<PinStatus, RemoteError> {
        self.ask(Method::GET, &below(id), None).await
    }

    /// Takes a request back.
    ///
    /// # Errors
    /// The service's.
    pub async fn delete(&self, id: &str) -> Result<(), RemoteError> {
        self.answer(Method::DELETE, &below(id), None).await.map(drop)
    }

    /// A page of requests, and how many there are.
    ///
    /// # Errors
    /// The service's.
    pub async fn page(&self, filter: &Filter) -> Result<Page, RemoteError> {
        self.ask(Method::GET, &format!("/pins?{}", filter.query()), None).await
    }

    /// How many requests there are in a status.
    ///
    /// # Errors
    /// The service's.
    pub async fn count(&self, status: Status) -> Result<u64, RemoteError> {
        let filter = Filter { status: vec![status], limit: 1, ..Filter::default() };
        Ok(self.page(&filter).await?.count)
    }

    /// Every request that a filter leaves, to be taken a page at a time.
    pub fn pages(&self, filter: Filter) -> Pages<'_> {
        let mut filters: VecDeque<Filter> = VecDeque::new();
        for cids in filter.cids.chunks(CIDS_MAX) {
            filters.push_back(Filter { cids: cids.to_vec(), limit: PAGE, ..filter.clone() });
        }
        if filters.is_empty() {
            filters.push_back(Filter { limit: PAGE, ..filter });
        }
        Pages { client: self, filters }
    }

    /// Looks at a request until it is pinned or failed: twice a second, later less often. A service
    /// that asks to be left alone is.
    ///
    /// # Errors
    /// The service's; another request than was asked for.
    pub async fn until_done(&self, id: &str) -> Result<PinStatus, RemoteError> {
        let (mut wait, mut refused) = (LOOK_FIRST, 0u32);
        loop {
            match self.status(id).await {
                Ok(told) if told.requestid != id => {
                    let other = clean(&told.requestid);
                    return Err(self.malformed(&format!("it tells of the request {other:?}")));
                }
                Ok(told) if matches!(told.status, Status::Pinned | Status::Failed) => {
                    return Ok(told);
                }
                Ok(_) => refused = 0,
                Err(RemoteError::Refused { retry_after: Some(time), .. }) if refused < RETRIES => {
                    refused = refused.saturating_add(1);
                    tokio::time::sleep(time).await;
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(11).checked_div(10).unwrap_or(LOOK_LAST).min(LOOK_LAST);
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        below: &str,
        body: Option<Bytes>,
    ) -> Result<T, RemoteError> {
        let answer = self.answer(method, below, body).await?;
        serde_json::from_slice(&answer.body).map_err(|e| self.malformed(&e))
    }

    async fn answer(
        &self,
        method: Method,
        below: &str,
        body: Option<Bytes>,
    ) -> Result<Answer, RemoteError> {
        let sent = self.wire.send(method, below, body).await;
        let service = || self.service.clone();
        let answer =
            sent.map_err(|cause| RemoteError::Unreachable { service: service(), cause })?;
        match answer.status {
            200..300 => Ok(answer),
            status => Err(RemoteError::Refused {
                service: service(),
                status,
                said: said(&answer),
                retry_after: answer.retry_after,
            }),
        }
    }

    fn malformed(&self, cause: &impl ToString) -> RemoteError {
        RemoteError::Malformed { service: self.service.clone(), cause: clean(&cause.to_string()) }
    }
}

/// Pages of requests, the newest first.
pub struct Pages<'a> {
    client: &'a Client,
    /// Questions that are left; the first of them has how far it has come.
    filters: VecDeque<Filter>,
}

impl Pages<'_> {
    /// The next page; nothing after the last.
    ///
    /// # Errors
    /// The service's; a service that has more and does not give it.
    pub async fn next(&mut self) -> Result<Option<Page>, RemoteError> {
        let Some(mut filter) = self.filters.pop_front() else { return Ok(None) };
        let page = self.client.page(&filter).await?;
        let given = u64::try_from(page.results.len()).unwrap_or(u64::MAX);
        if page.count > given {
            let Some(oldest) = page.results.last().map(|last| last.created.clone()) else {
                let cause = format!("{} requests, and none of them", page.count);
                return Err(self.client.malformed(&cause));
            };
            if filter.before.as_ref() == Some(&oldest) {
                let cause = format!("the page before {oldest:?} ends there, too");
                return Err(self.client.malformed(&cause));
            }
            filter.before = Some(oldest);
            self.filters.push_front(filter);
        }
        Ok(Some(page))
    }
}

/// The path of a request. Its ID is the service's own word, and no part of a path beyond it.
fn below(id: &str) -> String {
    let mut path = String::from("/pins/");
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                path.push(char::from(byte));
            }
            // Dots, too: an ID of two would climb.
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    path
}

/// A refusal's words: the reason and details of the API, or the beginning of whatever it is.
fn said(answer: &Answer) -> String {
    match serde_json::from_slice::<Failure>(&answer.body) {
        Ok(Failure { error }) => {
            format!("reason: {:?}, details: {:?}", clean(&error.reason), clean(&error.details))
        }
        Err(_) => {
            let text = clean(&String::from_utf8_lossy(&answer.body));
            [answer.phrase, &text].join(" ").trim().to_owned()
        }
    }
}

#[cfg(test)]
mod tests;

//! Who reads what: one line a request, for whoever wants to watch.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::net::SocketAddr;

use tokio::sync::mpsc;

/// A request that was answered with content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Where it came from; nothing for a Unix socket.
    pub from: Option<SocketAddr>,
    /// The path that was asked for.
    pub path: String,
}

/// Where visits are told. A watcher that is slow misses some: readers do not wait for it.
#[derive(Clone, Debug, Default)]
pub struct Watch(Option<mpsc::Sender<Visit>>);

impl Watch {
    /// Tells visits to a channel.
    pub fn new(to: mpsc::Sender<Visit>) -> Self {
        Self(Some(to))
    }

    /// Tells one visit, if anybody watches.
    pub fn tell(&self, visit: impl FnOnce() -> Visit) {
        if let Some(to) = &self.0 {
            // Full or gone: the visit is not told.
            let _ = to.try_send(visit());
        }
    }
}

//! Bitswap over real streams and the store: what drives the engine.
//!
//! One task owns the engine ([`driver`]). Each stream that a peer opens has a task that reads it
//! ([`reader`]), each peer one that writes to it ([`sender`]), and one thread puts what was fetched
//! into the store ([`keeper`]). Whoever falls behind holds up those before it: nothing is dropped
//! between a peer's socket and the store but what nobody asked for.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod driver;
mod keeper;
mod reader;
mod sender;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::engine::{self, Engine};
use super::{Exchange, ExchangeError, Progress, Session};
use crate::ipld::block::Block;
use crate::ipld::cid::Cid;
use crate::net::{Multiaddr, Net, PeerId};
use crate::store::Store;
use crate::task;
use driver::{Driver, Input};

/// Inputs that wait for the engine.
const INPUTS: usize = 256;

/// Who may have a block: peers and where they are, as they are found. Dropping the receiver ends
/// the search.
pub type Found = mpsc::Receiver<(PeerId, Vec<Multiaddr>)>;
/// Searches providers of a block.
pub type Search = Arc<dyn Fn(Cid) -> Found + Send + Sync>;

/// A handle to the exchange; clones share it.
#[derive(Clone)]
pub struct Bitswap {
    inputs: mpsc::Sender<Input>,
    sessions: Arc<AtomicU64>,
}

/// Stops the exchange when told to.
pub struct Stop {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Stop {
    /// Ends every fetch and waits until what was fetched is in the store.
    pub async fn stop(self) {
        self.stop.cancel();
        task::join(self.task).await;
    }
}

impl Bitswap {
    /// Serves blocks of `store` to peers of `net`, and fetches others; `search` finds providers.
    pub fn start(
        net: Net,
        store: Store,
        search: Search,
        settings: engine::Settings,
    ) -> (Self, Stop) {
        let (inputs, given) = mpsc::channel(INPUTS);
        let stop = CancellationToken::new();
        let driver = Driver::new(net, store, search, settings, inputs.clone());
        let task = task::spawn(driver.run(given, stop.clone()));
        (Self { inputs, sessions: Arc::default() }, Stop { stop, task })
    }

    /// Asks the engine; `None` when the exchange has stopped.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        // Whoever asked may have gone.
        let ask = Input::Ask(Box::new(move |engine| drop(reply.send(question(engine)))));
        self.inputs.send(ask).await.ok()?;
        answer.await.ok()
    }

    /// What every session that waits for blocks is trying.
    pub async fn fetches(&self) -> Vec<Progress> {
        let (reply, answer) = oneshot::channel();
        let _ = self.inputs.send(Input::Fetches(reply)).await;
        answer.await.unwrap_or_default()
    }
}

impl Exchange for Bitswap {
    fn session(&self) -> Box<dyn Session> {
        let key = self.sessions.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared);
        Box::new(Asking { key, inputs: self.inputs.clone(), shared })
    }

    fn announce_local(&self, blocks: &[(Cid, u32)]) {
        // When the engine is busy peers hear of it when they ask again.
        let _ = self.inputs.try_send(Input::Local(blocks.to_vec()));
    }
}

/// What a session and the driver both hold. The driver ends a session that nobody else holds.
#[derive(Default)]
pub(super) struct Shared;

/// A session's handle.
struct Asking {
    key: u64,
    inputs: mpsc::Sender<Input>,
    shared: Arc<Shared>,
}

impl Session for Asking {
    fn fetch(&self, cid: Cid) -> BoxFuture<'_, Result<Block, ExchangeError>> {
        Box::pin(async move {
            let (reply, fetched) = oneshot::channel();
            let (session, shared) = (self.key, Arc::clone(&self.shared));
            let want = Input::Want { session, shared, cid, reply };
            self.inputs.send(want).await.map_err(|_| ExchangeError::Closed)?;
            let _gone = Withdraw { session, cid, inputs: &self.inputs };
            fetched.await.unwrap_or(Err(ExchangeError::Closed))
        })
    }

    fn progress(&self) -> BoxFuture<'_, Progress> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let _ = self.inputs.send(Input::Status { session: self.key, reply }).await;
            answer.await.unwrap_or_default()
        })
    }
}

/// Says that a caller is gone, whether it got its block or lost interest.
struct Withdraw<'a> {
    session: u64,
    cid: Cid,
    inputs: &'a mpsc::Sender<Input>,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        // When the engine is busy, its next round finds the closed reply.
        let _ = self.inputs.try_send(Input::Gone { session: self.session, cid: self.cid });
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // As above: the next round finds that nobody else holds the session.
        let _ = self.inputs.try_send(Input::Close { session: self.key });
    }
}

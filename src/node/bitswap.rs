//! `bitswap`, and what is being fetched: counters, wantlists, ledgers, and what is tried.

use std::sync::Weak;

use super::swarm::PeerId;
use super::{Error, Node};
pub use crate::exchange::Progress;
use crate::exchange::Session;
use crate::exchange::engine::Engine;
pub use crate::exchange::engine::{Ledger, Stat};
use crate::ipld::cid::Cid;

/// The state of the exchange.
#[derive(Clone, Debug, Default)]
pub struct BitswapStat {
    /// Counters since the start.
    pub counted: Stat,
    /// What is wanted here.
    pub wantlist: Vec<Cid>,
    /// Connected peers that speak Bitswap.
    pub peers: Vec<PeerId>,
}

/// A look at what one request fetches; it does not keep the request going.
pub struct Fetching(Weak<dyn Session>);

impl Fetching {
    /// Whether the request has ended.
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// How it fares; `None` when it has ended.
    pub async fn progress(&self) -> Option<Progress> {
        let session = self.0.upgrade()?;
        Some(session.progress().await)
    }
}

impl Node {
    /// Counters, the own wantlist, and who is asked.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub async fn bitswap_stat(&self) -> Result<BitswapStat, Error> {
        self.engine(|engine| {
            let mut peers: Vec<PeerId> = engine.peers().collect();
            peers.sort_by_key(|peer| peer.to_base58());
            let wantlist = engine.wantlist().copied().collect();
            BitswapStat { counted: engine.stat(), wantlist, peers }
        })
        .await
    }

    /// What is wanted here; or what a connected peer wants of this node.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub async fn wantlist(&self, of: Option<PeerId>) -> Result<Vec<Cid>, Error> {
        let own = self.network()?.net.local();
        self.engine(move |engine| match of.filter(|peer| *peer != own) {
            None => engine.wantlist().copied().collect(),
            Some(peer) => engine.wantlist_of(peer),
        })
        .await
    }

    /// The account with a peer; zeros for one that is not known.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub async fn ledger(&self, peer: PeerId) -> Result<Ledger, Error> {
        self.engine(move |engine| engine.ledger(peer)).await
    }

    /// The accounts with everybody with whom something was exchanged since the start.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub async fn ledgers(&self) -> Result<Vec<(PeerId, Ledger)>, Error> {
        let mut ledgers = self.engine(Engine::ledgers).await?;
        ledgers.sort_by_key(|(peer, _)| *peer);
        Ok(ledgers)
    }

    /// What every request that waits for blocks is trying.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub async fn fetches(&self) -> Result<Vec<Progress>, Error> {
        Ok(self.network()?.exchange.fetches().await)
    }

    /// A look at what this request fetches; `None` for a node that asks nobody.
    pub fn fetching(&self) -> Option<Fetching> {
        self.dag.watch().map(Fetching)
    }

    async fn engine<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Error> {
        // An exchange that has stopped answers nothing more.
        self.network()?.exchange.ask(question).await.ok_or(Error::Offline)
    }
}

//! Announcing: what is here is told to the network, by a strategy.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Error, Node};
use crate::dag::Dag;
use crate::dag::order::Order;
use crate::exchange::Exchange as _;
use crate::ipld::cid::{Cid, Multihash, hash};
use crate::routing::Dht;
use crate::routing::provide::{AllKeys, Provider, Stats};
use crate::store::pins::Listing;
use crate::store::{Mode, Store, StoreError};
use crate::task;

/// Keys on their way to the queue.
const KEYS: usize = 1024;
/// Pins read at a time.
const PINS: usize = 1024;
/// Blocks of a new DAG told to the exchange and to the queue at a time.
const BATCH: usize = 512;

/// Which blocks are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Every block.
    All,
    /// Every block of pinned DAGs.
    Pinned,
    /// The roots of pins.
    Roots,
}

/// Announces what the strategy says.
pub struct Announcer {
    /// The queues and their workers.
    pub provider: Provider,
    /// What is announced.
    pub strategy: Strategy,
    /// Whether a new root is announced at once (`Import.FastProvideRoot`).
    pub roots_at_once: bool,
    /// Whether commands wait for that (`Import.FastProvideWait`).
    pub wait: bool,
}

/// How one operation's roots are announced; what is not set is as for all of them.
pub struct Telling<T> {
    /// Whether at once.
    pub at_once: Option<bool>,
    /// Whether the operation goes on until they are.
    pub wait: Option<bool>,
    /// Dropped when the operation is over.
    pub operation: T,
}

/// What was announced, what waits, and how.
#[derive(Clone, Copy, Debug)]
pub struct ProvideStat {
    /// Counters, and the queues.
    pub counted: Stats,
    /// Time from one round to the next; zero for none.
    pub interval: Duration,
    /// Regions announced at a time.
    pub workers: usize,
    /// How long it goes on.
    pub uptime: Duration,
    /// Peers in the tables of the DHTs.
    pub peers: usize,
}

/// Every key that a strategy announces, for each round anew.
pub fn all_keys(store: Store, strategy: Strategy) -> AllKeys {
    Arc::new(move || {
        let (out, keys) = mpsc::channel(KEYS);
        let store = store.clone();
        task::detach(async move {
            let told = match strategy {
                Strategy::All => store.run(move |core| every_block(core, &out)).await,
                Strategy::Roots => store.run(move |core| roots(core, &out)).await,
                Strategy::Pinned => pinned(&store, &out).await,
            };
            if let Err(error) = told {
                tracing::warn!("not everything is announced again: {error}");
            }
        });
        keys
    })
}

fn every_block(core: &crate::store::Core, out: &mpsc::Sender<Multihash>) -> Result<(), StoreError> {
    core.each_block(&mut |hash, _| out.blocking_send(*hash).is_ok())
}

fn roots(core: &crate::store::Core, out: &mpsc::Sender<Multihash>) -> Result<(), StoreError> {
    core.each_pin(&mut |pin| out.blocking_send(*pin.cid.hash()).is_ok())
}

async fn pinned(store: &Store, out: &mpsc::Sender<Multihash>) -> Result<(), StoreError> {
    let (dag, mut after) = (Dag::new(store.clone()), None);
    loop {
        let page = store.run(move |core| core.pin_page(Listing::All, after.as_ref(), PINS)).await?;
        for pin in page.pins {
            let mut order = Order::new(pin.cid);
            while let Some(visit) = order.next() {
                if out.send(*visit.cid.hash()).await.is_err() {
                    return Ok(()); // Nobody announces any more.
                }
                if pin.mode == Mode::Direct {
                    break;
                }
                // What cannot be read is passed over here; `repo verify` tells of it.
                if let Ok(links) = dag.links(&visit.cid).await {
                    order.below(links.into_iter().map(|(cid, _)| cid).collect());
                }
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

impl Node {
    /// Tells the network of DAGs that have just come here: the root at once, the rest in the
    /// background. Peers that wait for one of their blocks get it. Returns at once.
    pub(super) fn announce<T: Send + 'static>(&self, roots: Vec<Cid>, how: Telling<T>) {
        let node = self.clone();
        let Telling { at_once, wait, operation } = how;
        if self.network.is_none() || roots.is_empty() {
            return;
        }
        task::detach(async move {
            let announcer = node.network().ok().and_then(|network| network.announcer.as_ref());
            let wait = wait.unwrap_or(announcer.is_some_and(|a| a.wait));
            let operation = wait.then_some(operation);
            let first = roots.iter().map(|root| node.announce_root(root, at_once));
            futures_util::future::join_all(first).await;
            drop(operation);
            for root in roots {
                if let Err(error) = node.announce_below(root).await {
                    tracing::warn!("{root} is announced in part: {error}");
                }
            }
        });
    }

    async fn announce_root(&self, root: &Cid, at_once: Option<bool>) {
        if root.hash().code() == hash::IDENTITY {
            return; // Whoever has the CID has the block.
        }
        let Ok(network) = self.network() else { return };
        let asked = |announcer: &&Announcer| at_once.unwrap_or(announcer.roots_at_once);
        let Some(announcer) = network.announcer.as_ref().filter(asked) else { return };
        // It waits in the queue then, and is told when there is somebody to tell.
        if let Err(error) = announcer.provider.provide_now(root.hash()).await {
            tracing::debug!("{root} is not announced yet: {error}");
        }
    }

    /// Every block of a new DAG goes to whoever waits for it and, if the strategy says so, into
    /// the queue.
    async fn announce_below(&self, root: Cid) -> Result<(), Error> {
        let (network, dag) = (self.network()?, self.local());
        let queued = network.announcer.as_ref().filter(|a| a.strategy != Strategy::Roots);
        let mut order = Order::new(root);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let next = order.next();
            if let Some(visit) = next {
                let cid = visit.cid;
                if cid.hash().code() != hash::IDENTITY {
                    batch.push((cid, dag.block_size(&cid).await?));
                }
                order.below(dag.links(&cid).await?.into_iter().map(|(cid, _)| cid).collect());
            }
            if batch.len() == BATCH || next.is_none() {
                let sized = |(cid, size): &(Cid, u64)| (*cid, u32::try_from(*size).unwrap_or(0));
                network.exchange.announce_local(&batch.iter().map(sized).collect::<Vec<_>>());
                if let Some(announcer) = queued {
                    let keys: Vec<Multihash> = batch.iter().map(|(cid, _)| *cid.hash()).collect();
                    announcer.provider.add(&keys).await?;
                }
                batch.clear();
            }
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// What was announced and what waits.
    ///
    /// # Errors
    /// [`Error::Offline`]; [`Error::Unsupported`] when nothing is to be announced.
    pub async fn provide_stat(&self) -> Result<ProvideStat, Error> {
        let (network, provider) = (self.network()?, &self.announcer()?.provider);
        let settings = provider.settings();
        Ok(ProvideStat {
            counted: provider.stats().await?,
            interval: settings.interval,
            workers: settings.workers,
            uptime: provider.uptime(),
            peers: network.dhts.iter().map(Dht::peers).sum(),
        })
    }

    pub(super) fn announcer(&self) -> Result<&Announcer, Error> {
        let off = || Error::Unsupported("nothing is announced: Provide.Enabled is false".into());
        self.network()?.announcer.as_ref().ok_or_else(off)
    }
}

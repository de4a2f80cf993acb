//! The service over a store in memory and peers that are made up: what is found is what a naive filter
//! finds, what is used is what is pinned, and no limit is passed.

#[cfg(test)]
mod asking;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod rebuilt;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod shortage;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod working;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Access, Filter, Limits, PinAsk, Service, Status, Tenant, Working};
use crate::dag::{Dag, Patience};
use crate::exchange::{ExchangeError, Progress, Session};
use crate::ipld::block::{Block, Prefix};
use crate::ipld::cid::{Cid, codec};
use crate::ipld::codec::dag_pb;
use crate::node::{Node, Settings};
use crate::store::{Core, Store, StoreError};
use crate::unixfs::profile::Profile;

/// A node over a store, that remembers nothing but what is there.
fn node(store: &Store) -> Node {
    let settings = Settings {
        peer_id: "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp".into(),
        public_key: String::new(),
        repo_root: "/".into(),
        storage_max: 0,
        import: Profile::V0_2015,
    };
    Node::new(settings, store.clone())
}

/// What opens everything of a tenant with that number.
fn access(service: &Service, number: u32, limits: Limits) -> Access {
    let tenant = Tenant { name: format!("t{number}"), number, created: 0, limits };
    Access::own(service.state().tenants.know(tenant))
}

impl Service {
    /// What a tenant uses: bytes that its pins hold, and bytes promised to what is being fetched.
    async fn used(&self, tenant: &Tenant) -> Result<(u64, u64), StoreError> {
        let (state, number) = (self.state().clone(), tenant.number);
        let work = move |core: &Core| {
            let account = state.account(number);
            drop(account.open(core, &state)?);
            let used = *account.used();
            Ok((used.bytes, used.reserved))
        };
        self.node.store.run(work).await
    }
}

/// A block of so many bytes, made of a number.
fn leaf(n: u64, bytes: usize) -> Block {
    let mut data = vec![0; bytes.max(8)];
    data[..8].copy_from_slice(&n.to_be_bytes());
    Block::hashed(Prefix::v1(codec::RAW), data.into()).unwrap()
}

/// A node that links to blocks, each of which claims a size.
fn parent(children: &[&Block], claim: u64) -> Block {
    let link = |child: &&Block| dag_pb::Link {
        cid: *child.cid(),
        name: Some(Bytes::new()),
        tsize: Some(claim),
    };
    let node = dag_pb::Node { links: children.iter().map(link).collect(), data: None };
    Block::hashed(Prefix::v1(codec::DAG_PB), node.encode().into()).unwrap()
}

fn ask(cid: &Cid) -> PinAsk {
    PinAsk::new(&cid.to_string()).unwrap()
}

/// Everything of a tenant.
fn all() -> Filter {
    Filter { status: Status::ALL.to_vec(), limit: 1000, ..Filter::default() }
}

/// Peers that have every block of a store, and take a while to send one.
#[derive(Clone)]
struct Peers {
    theirs: Store,
    ours: Store,
    delay: Duration,
    sent: Arc<AtomicU64>,
    /// When each block was asked for.
    asked: Asked,
}

type Asked = Arc<Mutex<HashMap<Cid, Instant>>>;

impl Session for Peers {
    fn fetch(&self, cid: Cid) -> BoxFuture<'_, Result<Block, ExchangeError>> {
        self.asked.lock().unwrap().entry(cid).or_insert_with(Instant::now);
        Box::pin(async move {
            tokio::time::sleep(self.delay).await;
            let Some(block) = self.theirs.core().get(&cid)? else {
                return std::future::pending().await;
            };
            self.ours.core().put_unpinned(std::slice::from_ref(&block))?;
            self.sent.fetch_add(block.data().len() as u64, Ordering::Relaxed);
            Ok(block)
        })
    }

    fn progress(&self) -> BoxFuture<'_, Progress> {
        Box::pin(async { Progress::default() })
    }
}

/// A node with such peers, and a count of the bytes that they sent.
fn online(ours: &Store, theirs: &Store, delay: Duration) -> (Node, Arc<AtomicU64>) {
    let (node, sent, _) = watched(ours, theirs, delay);
    (node, sent)
}

/// The same, and when they were asked for what.
fn watched(ours: &Store, theirs: &Store, delay: Duration) -> (Node, Arc<AtomicU64>, Asked) {
    let (sent, asked) = (Arc::<AtomicU64>::default(), Asked::default());
    let (theirs, told) = (theirs.clone(), (Arc::clone(&sent), Arc::clone(&asked)));
    let peers = Peers { theirs, ours: ours.clone(), delay, sent: told.0, asked: told.1 };
    let mut node = node(ours);
    node.dag = Dag::new(ours.clone()).asking(Box::new(peers), Patience::Endless);
    (node, sent, asked)
}

/// A worker, until it is dropped or stopped.
struct Worker {
    stop: CancellationToken,
    done: Option<tokio::task::JoinHandle<()>>,
}

impl Worker {
    fn start(service: &Service, settings: Working) -> Self {
        let (service, stop) = (service.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let done = Some(crate::task::spawn(async move { service.work(settings, stopped).await }));
        Self { stop, done }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        self.done.take().unwrap().await.unwrap();
    }
}

/// Waits until so many requests of a tenant have a status.
async fn until(service: &Service, who: &Access, status: Status, count: u64) {
    let filter = Filter { status: vec![status], limit: 1, ..Filter::default() };
    let since = Instant::now();
    loop {
        let found = service.find(who, &filter).await.unwrap().count;
        if found == count {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{found} of {count} {status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

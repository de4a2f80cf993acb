//! The DHT of IPFS: a table of peers, lookups over it, and a server for others.
//!
//! [`Dht`] is a handle that is cheap to clone. It owns no streams: whoever has them implements
//! [`Rpc`] and hands in what arrives. The parts below are pure or synchronous, and each is tested by
//! itself; this file and `query` join them.

pub mod key;
pub mod lookup;
mod query;
pub mod scope;
pub mod server;
pub mod table;
pub mod validate;
pub mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::Semaphore;

use crate::routing::records::Records;
use crate::store::StoreError;
use key::Key;
use lookup::Origin;
pub use query::{QueryEvent, QueryStep, Watch};
use scope::Scope;
use server::{Known, Now, Refusal, Server, lock};
use table::{BUCKET_PEERS, BucketStat, Inserted, Table};
pub use wire::{Contact, Message};

/// Lookups of one DHT under way at once; further ones wait their turn.
pub const LOOKUPS: usize = 64;
/// Messages of others that are answered at once: the store's threads are shared with everybody.
const ANSWERS: usize = 8;
/// Messages of others that may wait to be answered; more are refused.
const ANSWERS_WAITING: usize = 1024;
/// Peers below which the table counts as too small, and is filled again at the next refresh.
const PEERS_WANTED: usize = 10;
/// Peers of the table that are saved for the next start.
const SAVED: usize = 256;

/// Why a peer gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RpcError {
    /// It could not be reached.
    #[error("could not be dialled: {0}")]
    Dial(String),
    /// It does not speak the protocol: a client, or something else altogether.
    #[error("does not speak the protocol")]
    Unsupported,
    /// The time for an answer is over.
    #[error("gave no answer in time")]
    Timeout,
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Stream(String),
    /// What came is no message.
    #[error(transparent)]
    Wire(#[from] wire::WireError),
}

/// Sends messages to peers: over streams, or in tests over nothing at all.
pub trait Rpc: Send + Sync + 'static {
    /// Sends a message and waits for its answer. Dials if there is no connection; ends within
    /// 10 s. Dropping the future gives the request up.
    fn request(
        &self,
        peer: PeerId,
        addrs: Vec<Multiaddr>,
        message: Message,
    ) -> BoxFuture<'static, Result<Message, RpcError>>;

    /// Sends messages that want no answer (ADD_PROVIDER), one behind the other on one stream. Ends
    /// when they are written and the stream took them.
    fn send(
        &self,
        peer: PeerId,
        addrs: Vec<Multiaddr>,
        messages: Vec<Message>,
    ) -> BoxFuture<'static, Result<(), RpcError>>;
}

/// How a DHT behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Whether it answers others at the start; see [`Dht::set_server`].
    pub server: bool,
    /// `Routing.LoopbackAddressesOnLanDHT`.
    pub loopback: bool,
}

/// Why nothing was found or told.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// The table is empty.
    #[error("no peer of the {0:?} DHT is known")]
    NoPeers(Scope),
    /// This node has no address that others of the DHT could reach: its records would be dropped.
    #[error("this node has no address in the {0:?} DHT: nothing can be announced there")]
    NoAddress(Scope),
    /// Nobody took what was to be told.
    #[error("none of the {asked} nearest peers took the record: {last}")]
    NotTaken {
        /// Peers that were tried.
        asked: usize,
        /// What the last of them said.
        last: String,
    },
    /// The peer or the value was not found.
    #[error("routing: not found")]
    NotFound,
    /// The key does not fit, or the value is not valid.
    #[error(transparent)]
    Invalid(#[from] validate::InvalidValue),
    /// The value kept here is newer.
    #[error("can't replace a newer value with an older value")]
    Older,
    /// A key that is no multihash.
    #[error("only multihashes of at most {} bytes can be provided", wire::KEY_MAX_BYTES)]
    Key,
    /// Nobody is asked: the node is offline.
    #[error("routing is offline")]
    Offline,
    /// The records could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One DHT. Clones share it.
#[derive(Clone)]
pub struct Dht {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Origin,
    rpc: Arc<dyn Rpc>,
    records: Records,
    table: Mutex<Table>,
    known: Mutex<Known>,
    /// Own addresses of the scope.
    own: Mutex<Arc<[Multiaddr]>>,
    server: AtomicBool,
    lookups: Semaphore,
    answers: Semaphore,
    answers_waiting: Semaphore,
}

impl Dht {
    /// A DHT with an empty table.
    pub fn new(
        scope: Scope,
        local: PeerId,
        rpc: Arc<dyn Rpc>,
        records: Records,
        settings: Settings,
    ) -> Self {
        let loopback = settings.loopback;
        let shared = Shared {
            origin: Origin { local, scope, loopback },
            rpc,
            records,
            table: Mutex::new(Table::new(local, scope, loopback)),
            known: Mutex::default(),
            own: Mutex::new(Arc::new([])),
            server: AtomicBool::new(settings.server),
            lookups: Semaphore::new(LOOKUPS),
            answers: Semaphore::new(ANSWERS),
            answers_waiting: Semaphore::new(ANSWERS_WAITING),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Which DHT this is.
    pub fn scope(&self) -> Scope {
        self.shared.origin.scope
    }

    /// Whether this node answers others. A node that does not must not list the protocol in
    /// identify either: that is for whoever owns the streams.
    pub fn is_server(&self) -> bool {
        self.shared.server.load(Ordering::Relaxed)
    }

    /// Becomes a server or a client, as reachability says.
    pub fn set_server(&self, server: bool) {
        self.shared.server.store(server, Ordering::Relaxed);
    }

    /// The answer to a message of `sender`; `None` for one that wants none, where the stream is
    /// then read on.
    ///
    /// # Errors
    /// [`Refusal`]: the stream is to be reset. A client refuses everything.
    pub async fn handle(
        &self,
        sender: PeerId,
        message: Message,
    ) -> Result<Option<Message>, Refusal> {
        if !self.is_server() {
            return Err(Refusal::Client);
        }
        let _waiting = self.shared.answers_waiting.try_acquire().map_err(|_| Refusal::Rate)?;
        // The semaphores are never closed; were one, the answer would only come unbounded.
        let _answering = self.shared.answers.acquire().await.ok();
        let dht = self.clone();
        let work = move |records: &Records| dht.answer(records, sender, message);
        match self.shared.records.run(work).await {
            // Nobody waits for an answer, and more records may follow on the stream: go reads on.
            Err(Refusal::Provider) => Ok(None),
            answer => answer,
        }
    }

    fn answer(
        &self,
        records: &Records,
        sender: PeerId,
        message: Message,
    ) -> Result<Option<Message>, Refusal> {
        let Origin { local, scope, loopback } = self.shared.origin;
        let (own, table, known) = (self.own_addrs(), &self.shared.table, &self.shared.known);
        Server { local, scope, loopback, table, known, own: &own, records }.answer(
            sender,
            message,
            now(),
        )
    }

    /// A peer is connected, and identify said what it is. `addrs` begins with the address of its
    /// connection, which decides its IP group; `serves` says that it lists this DHT's protocol.
    /// Call again when it says something new.
    pub fn on_peer(&self, peer: PeerId, addrs: &[Multiaddr], serves: bool) {
        let Origin { scope, loopback, .. } = self.shared.origin;
        let addrs: Vec<Multiaddr> =
            addrs.iter().filter_map(|addr| wire::bare(&peer, addr.clone())).collect();
        let addrs = scope.filter(&addrs, loopback);
        if serves {
            lock(&self.shared.table).insert(peer, &addrs, Instant::now());
        } else {
            lock(&self.shared.table).remove(&peer);
        }
        lock(&self.shared.known).connected(peer, addrs);
    }

    /// The last connection to a peer is closed. It stays in the table: it can be dialled.
    pub fn on_gone(&self, peer: &PeerId) {
        lock(&self.shared.known).gone(peer);
    }

    /// What others may be told of where this node is; addresses of another scope are left out.
    pub fn set_own_addrs(&self, addrs: &[Multiaddr]) {
        let Origin { local, scope, loopback } = self.shared.origin;
        let addrs: Vec<Multiaddr> =
            addrs.iter().filter_map(|addr| wire::bare(&local, addr.clone())).collect();
        *lock(&self.shared.own) = scope.filter(&addrs, loopback).into();
    }

    /// Own addresses of the scope.
    pub fn own_addrs(&self) -> Arc<[Multiaddr]> {
        Arc::clone(&lock(&self.shared.own))
    }

    /// Peers in the table.
    pub fn peers(&self) -> usize {
        lock(&self.shared.table).len()
    }

    /// The table, bucket by bucket, as `ipfs stats dht` shows it.
    pub fn stats(&self) -> Vec<BucketStat> {
        lock(&self.shared.table).stats()
    }

    /// The records this DHT keeps.
    pub fn records(&self) -> &Records {
        &self.shared.records
    }

    /// The peers of the table that are nearest to a key; nobody is asked.
    pub fn nearest_known(&self, key: &[u8]) -> Vec<Contact> {
        lock(&self.shared.table).closest(&Key::of(key), BUCKET_PEERS, None)
    }

    /// Where a peer is, if it is connected, in the table or was saved; nobody is asked.
    ///
    /// # Errors
    /// The store's.
    pub async fn known_peer(&self, peer: PeerId) -> Result<Option<Contact>, StoreError> {
        if let Some(addrs) = lock(&self.shared.known).addrs(&peer) {
            return Ok(Some(Contact { peer, addrs: addrs.to_vec() }));
        }
        if let Some(entry) = lock(&self.shared.table).get(&peer) {
            return Ok(Some(entry.contact.clone()));
        }
        let Origin { scope, loopback, .. } = self.shared.origin;
        let saved = self.shared.records.run(move |r| r.saved_peer(&peer, unix_now())).await?;
        let fit = saved.map(|c| Contact { peer, addrs: scope.filter(&c.addrs, loopback) });
        Ok(fit.filter(|contact| !contact.addrs.is_empty()))
    }

    /// Offers peers that are not known to serve yet, such as bootstrap peers and those saved:
    /// each is asked for this node's neighbours, and enters the table by answering. Then looks for
    /// itself, which fills the near buckets. Says how many peers the table then has.
    pub async fn bootstrap(&self, mut seeds: Vec<Contact>) -> usize {
        let Origin { local, scope, loopback } = self.shared.origin;
        let saved = self.shared.records.run(|r| r.saved_peers(SAVED, unix_now())).await;
        // Saved peers only make the start faster: without them it goes on.
        seeds.extend(saved.unwrap_or_default().into_iter().take(BUCKET_PEERS));
        for seed in &mut seeds {
            seed.addrs = scope.filter(&seed.addrs, loopback);
        }
        seeds.retain(|seed| !seed.addrs.is_empty() && seed.peer != local);
        let key = Bytes::from(local.to_bytes());
        self.closest_from(seeds, key, &Watch::default()).await;
        lock(&self.shared.table).refreshed(256, Instant::now());
        self.peers()
    }

    /// Refreshes the buckets that are due, one lookup after another, so that a table of 16 buckets
    /// does not start 160 dials at once; then saves peers for the next start. Says how many buckets were refreshed.
    ///
    /// # Errors
    /// The store's, for the saved peers.
    pub async fn refresh(&self) -> Result<usize, StoreError> {
        let due = lock(&self.shared.table).due(Instant::now());
        if due.is_empty() || self.peers() == 0 {
            return Ok(0);
        }
        let local = *lock(&self.shared.table).local_key();
        if self.peers() < PEERS_WANTED {
            let own = Bytes::from(self.shared.origin.local.to_bytes());
            self.closest(own, &Watch::default()).await;
        }
        for bits in &due {
            let target = key::random_peer_at(&local, *bits, &mut rand::rng());
            if let Some(peer) = target {
                self.closest(Bytes::from(peer.to_bytes()), &Watch::default()).await;
            }
            lock(&self.shared.table).refreshed(*bits, Instant::now());
        }
        let near: Vec<Contact> =
            lock(&self.shared.table).closest(&local, SAVED, None).into_iter().collect();
        self.shared.records.run(move |r| r.save_peers(&near, unix_now())).await?;
        Ok(due.len())
    }

    /// A peer answered: it is worth asking again.
    fn answered(&self, contact: &Contact) {
        let mut table = lock(&self.shared.table);
        match table.get(&contact.peer) {
            Some(_) => table.answered(&contact.peer, Instant::now()),
            None => {
                let _: Inserted = table.insert(contact.peer, &contact.addrs, Instant::now());
            }
        }
    }

    /// A peer gave no answer.
    fn failed(&self, peer: &PeerId, error: &RpcError) {
        let mut table = lock(&self.shared.table);
        match error {
            RpcError::Unsupported => drop(table.remove(peer)),
            RpcError::Dial(_) | RpcError::Timeout | RpcError::Stream(_) | RpcError::Wire(_) => {
                table.failed(peer)
            }
        }
    }
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

fn now() -> Now {
    Now { instant: Instant::now(), unix: unix_now() }
}

#[cfg(test)]
pub(super) mod fake;
#[cfg(test)]
mod tests;

//! Announcing what this node has: new things at once, everything again before it is forgotten.
//!
//! Keys wait in two queues of the store, ordered by where they stand in the key space. One lookup
//! finds the peers of a region, and these are told of every key of the region that waits, over one
//! stream each: a million keys cost some thousands of lookups, not a million. What was told leaves
//! the queue in the batch that remembers it, so a restart goes on where the node was stopped.
//!
//! Which keys there are is not known here: whoever starts this gives a stream of them.
//!
//! Source: ipfs/specs src/routing/kad-dht.md (provider records 48 h, announced again every 22 h).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::dht::key::Key;
use super::dht::table::BUCKET_PEERS;
use super::dht::{Contact, Dht, unix_now};
use super::records::{PROVIDER_LIFE_S, Queue, Records, Waiting};
use super::{RoutingError, Watch};
use crate::ipld::cid::Multihash;
use crate::store::StoreError;
use crate::task;

/// Most keys told to the peers of one region at a time; the rest of a denser region takes another
/// lookup. Bounds memory at about 40 bytes a key and worker, and 40 more in flight to each peer.
const REGION_KEYS: usize = 16_384;
/// Keys queued in one batch.
const BATCH_KEYS: usize = 1024;
/// Pause after a region nobody of which could be told.
const PAUSE: Duration = Duration::from_secs(10);
/// How often to look whether a round is due, or an address or peers have come.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Where the rounds stand: when the last one began and when it ended, 8 bytes each.
const ROUND_MARK: &str = "provide-round";
/// Most workers: the first four bits of the key space are shared out among them.
pub const WORKERS_MAX: usize = 16;

/// How things are announced.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Time from the beginning of one round to that of the next (`Provide.DHT.Interval`); zero for
    /// none.
    pub interval: Duration,
    /// Regions announced at the same time (`Provide.DHT.MaxWorkers`): 1 to [`WORKERS_MAX`].
    pub workers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(22 * 3600), workers: 4 }
    }
}

/// Begins a stream of all keys that are to be announced again.
pub type AllKeys = Arc<dyn Fn() -> mpsc::Receiver<Multihash> + Send + Sync>;

/// What was done since the start, and what waits, for `ipfs provide stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys told to at least one peer.
    pub told: u64,
    /// Regions of which nobody could be told.
    pub failed: u64,
    /// Lookups made for regions.
    pub regions: u64,
    /// Keys told, counted once for each peer that took them.
    pub records: u64,
    /// Regions that are being announced.
    pub active: u64,
    /// New keys that wait, counted to a million.
    pub waiting_new: usize,
    /// Keys that wait to be told again, counted to a million.
    pub waiting_again: usize,
    /// When the last round began, in seconds since 1970; 0 for never.
    pub round_began: u64,
    /// When its last key was queued; 0 while that goes on.
    pub round_queued: u64,
}

/// Announces. Clones share everything.
#[derive(Clone)]
pub struct Provider {
    shared: Arc<Shared>,
}

/// Where a worker stands in each queue.
struct Cursor {
    new: [u8; 32],
    again: [u8; 32],
}

struct Shared {
    dhts: Vec<Dht>,
    queues: Records,
    settings: Settings,
    keys: AllKeys,
    wake: Notify,
    told: AtomicU64,
    failed: AtomicU64,
    regions: AtomicU64,
    records: AtomicU64,
    active: AtomicU64,
    since: Instant,
}

impl Provider {
    /// Announces over every one of `dhts` that knows peers and has an address. The queues lie in
    /// `records`; `keys` is called once a round.
    pub fn new(dhts: Vec<Dht>, records: Records, settings: Settings, keys: AllKeys) -> Self {
        let shared = Shared {
            dhts,
            queues: records,
            settings,
            keys,
            wake: Notify::new(),
            told: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            regions: AtomicU64::new(0),
            records: AtomicU64::new(0),
            active: AtomicU64::new(0),
            since: Instant::now(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What it was told at its start.
    pub fn settings(&self) -> Settings {
        self.shared.settings
    }

    /// How long ago that was.
    pub fn uptime(&self) -> Duration {
        self.shared.since.elapsed()
    }

    /// Queues new keys; they are announced in the background, in the order of the key space.
    ///
    /// # Errors
    /// The store's.
    pub async fn add(&self, keys: &[Multihash]) -> Result<(), StoreError> {
        let keys: Vec<Bytes> = keys.iter().map(|key| key.to_bytes().into()).collect();
        for some in keys.chunks(BATCH_KEYS) {
            let some = some.to_vec();
            let queue = move |r: &Records| r.enqueue(Queue::New, &some, unix_now());
            self.shared.queues.run(queue).await?;
        }
        self.shared.wake.notify_waiters();
        Ok(())
    }

    /// Announces one key now, ahead of all that waits: the root of what was just added. A key that
    /// could not be told waits with the others.
    ///
    /// # Errors
    /// Those of [`Dht::provide`]; [`RoutingError::NoAddress`] or [`RoutingError::NoPeers`] where no
    /// DHT can be used.
    pub async fn provide_now(&self, key: &Multihash) -> Result<usize, RoutingError> {
        self.add(std::slice::from_ref(key)).await?;
        let key = Bytes::from(key.to_bytes());
        let (_, took) = self.tell_region(&key, |_| vec![key.clone()]).await?;
        Ok(took)
    }

    /// Forgets everything that waits; says how many keys that were.
    ///
    /// # Errors
    /// The store's.
    pub async fn clear(&self) -> Result<usize, StoreError> {
        self.shared.queues.run(Records::clear_waiting).await
    }

    /// What was done and what waits.
    ///
    /// # Errors
    /// The store's.
    pub async fn stats(&self) -> Result<Stats, StoreError> {
        const COUNTED: usize = 1_000_000;
        let count = |records: &Records| {
            let new = records.count_waiting(Queue::New, COUNTED)?;
            let again = records.count_waiting(Queue::Again, COUNTED)?;
            Ok::<_, StoreError>((new, again, round(records)?))
        };
        let (waiting_new, waiting_again, (began, queued)) = self.shared.queues.run(count).await?;
        Ok(Stats {
            told: self.shared.told.load(Relaxed),
            failed: self.shared.failed.load(Relaxed),
            regions: self.shared.regions.load(Relaxed),
            records: self.shared.records.load(Relaxed),
            active: self.shared.active.load(Relaxed),
            waiting_new,
            waiting_again,
            round_began: began,
            round_queued: queued,
        })
    }

    /// Announces until it is stopped. A region under way is given up, and waits for the next start.
    pub async fn run(&self, stop: CancellationToken) {
        let workers = self.shared.settings.workers.clamp(1, WORKERS_MAX);
        let mut all: Vec<_> = (0..workers)
            .map(|slice| {
                let (provider, stop) = (self.clone(), stop.clone());
                task::spawn(async move {
                    tokio::select! {
                        () = provider.work(slice, workers) => {}
                        () = stop.cancelled() => {}
                    }
                })
            })
            .collect();
        let provider = self.clone();
        all.push(task::spawn(async move {
            tokio::select! {
                () = provider.rounds() => {}
                () = stop.cancelled() => {}
            }
        }));
        for worker in all {
            task::join(worker).await;
        }
    }

    /// Announces what waits in one slice of the key space, region after region and round again.
    async fn work(&self, slice: usize, workers: usize) {
        let (first, end) = slice_of(slice, workers);
        let mut cursor = Cursor { new: first, again: first };
        loop {
            let woken = self.shared.wake.notified();
            // What cannot be read now may be read later.
            let next = match self.is_online() {
                true => self.next_waiting(&cursor, first, end).await.unwrap_or(None),
                false => None,
            };
            let Some((queue, next)) = next else {
                let _ = tokio::time::timeout(LOOK_EVERY, woken).await;
                continue;
            };
            self.shared.active.fetch_add(1, Relaxed);
            let told = self.announce_region(&next, end).await;
            self.shared.active.fetch_sub(1, Relaxed);
            // Not to begin again with a region that fails: it comes round.
            let behind = told.as_ref().map_or_else(|_| after(&next.digest), |last| *last);
            match queue {
                Queue::New => cursor.new = behind,
                Queue::Again => cursor.again = behind,
            }
            if told.is_err() {
                self.shared.failed.fetch_add(1, Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// The next key of a slice and its queue: new ones first, each queue from its cursor on and
    /// then from the slice's beginning.
    async fn next_waiting(
        &self,
        cursor: &Cursor,
        first: [u8; 32],
        end: Option<[u8; 32]>,
    ) -> Result<Option<(Queue, Waiting)>, StoreError> {
        for (queue, from) in [(Queue::New, cursor.new), (Queue::Again, cursor.again)] {
            for from in [from, first] {
                if let Some(next) = self.first_waiting(queue, from, end).await? {
                    return Ok(Some((queue, next)));
                }
            }
        }
        Ok(None)
    }

    /// Whether any DHT could be told something.
    fn is_online(&self) -> bool {
        self.shared.dhts.iter().any(|dht| dht.peers() > 0 && !dht.own_addrs().is_empty())
    }

    async fn first_waiting(
        &self,
        queue: Queue,
        from: [u8; 32],
        end: Option<[u8; 32]>,
    ) -> Result<Option<Waiting>, StoreError> {
        let read = move |records: &Records| records.waiting(queue, &from, 1);
        let first = self.shared.queues.run(read).await?.into_iter().next();
        Ok(first.filter(|waiting| end.is_none_or(|end| waiting.digest < end)))
    }

    /// Announces a key and all that wait in its region, up to `end`; gives the point behind the
    /// last of them.
    async fn announce_region(
        &self,
        first: &Waiting,
        end: Option<[u8; 32]>,
    ) -> Result<[u8; 32], RoutingError> {
        let (target, from) = (Key::from_bytes(first.digest), first.digest);
        let read = move |records: &Records| {
            let new = records.waiting(Queue::New, &from, REGION_KEYS)?;
            Ok::<_, StoreError>((new, records.waiting(Queue::Again, &from, REGION_KEYS)?))
        };
        let (new, again) = self.shared.queues.run(read).await?;
        let within = |bits: u16| {
            let mut keys: Vec<&Waiting> = Vec::new();
            for queue in [&new, &again] {
                keys.extend(queue.iter().take_while(|waiting| {
                    let near = Key::from_bytes(waiting.digest).common_bits(&target) >= bits;
                    near && end.is_none_or(|end| waiting.digest < end)
                }));
            }
            keys.sort_by_key(|waiting| waiting.digest);
            keys.dedup_by_key(|waiting| waiting.digest);
            keys.truncate(REGION_KEYS);
            keys.into_iter().map(|waiting| waiting.hash.clone()).collect()
        };
        let (keys, _) = self.tell_region(&first.hash, within).await?;
        let last = keys.iter().map(|key| *Key::of(key).bytes()).max();
        Ok(after(&last.unwrap_or(first.digest)))
    }

    /// Finds the peers around a key in every DHT that can be used, and tells them of the keys that
    /// `within` gives for a region of so many leading bits. Gives these keys, and how many peers
    /// took them. The keys leave the queues when at least one peer took them.
    async fn tell_region(
        &self,
        key: &Bytes,
        within: impl Fn(u16) -> Vec<Bytes>,
    ) -> Result<(Vec<Bytes>, usize), RoutingError> {
        let mut regions: Vec<(&Dht, Vec<Contact>)> = Vec::new();
        let mut refused = RoutingError::Offline;
        for dht in &self.shared.dhts {
            self.shared.regions.fetch_add(1, Relaxed);
            match dht.region(key, &Watch::default()).await {
                Ok(peers) => regions.push((dht, peers)),
                // The first to refuse is the public one: its reason is worth more.
                Err(error) if matches!(refused, RoutingError::Offline) => refused = error,
                Err(_) => {}
            }
        }
        if regions.is_empty() {
            return Err(refused);
        }
        // The deepest region, so that its keys fit the peers of each DHT.
        let target = Key::of(key);
        let bits = regions.iter().map(|(_, peers)| depth(&target, peers)).max().unwrap_or(0);
        let keys = within(bits);
        let mut took = 0;
        for (dht, peers) in regions {
            match dht.announce(&peers, keys.clone()).await {
                Ok(told) => took += told,
                Err(error) => refused = error,
            }
        }
        if took == 0 {
            return Err(refused);
        }
        self.shared.told.fetch_add(keys.len() as u64, Relaxed);
        let records = (keys.len() as u64).saturating_mul(took as u64);
        self.shared.records.fetch_add(records, Relaxed);
        Ok((keys, took))
    }

    /// Queues all keys once a round, and forgets what was told too long ago to matter.
    async fn rounds(&self) {
        loop {
            // A round that fails is begun again at the next look.
            let _ = self.round_if_due(unix_now()).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Begins a round if one is due, or was interrupted; says how many keys it queued.
    async fn round_if_due(&self, now: u64) -> Result<Option<u64>, StoreError> {
        let interval = self.shared.settings.interval.as_secs();
        if interval == 0 {
            return Ok(None);
        }
        let records = &self.shared.queues;
        let (began, queued) = records.run(round).await?;
        let interrupted = began > 0 && queued == 0;
        if !interrupted && now < began.saturating_add(interval) {
            return Ok(None);
        }
        records.run(move |records| set_round(records, now, 0)).await?;
        // Told within half a round: not due before the next one, well within the 48 hours.
        let recent = now.saturating_sub(interval / 2);
        let mut keys = (self.shared.keys)();
        let mut batch: Vec<Bytes> = Vec::new();
        let mut count = 0;
        loop {
            let key = keys.recv().await;
            let is_last = key.is_none();
            batch.extend(key.map(|key| Bytes::from(key.to_bytes())));
            if batch.len() >= BATCH_KEYS || is_last {
                let some = std::mem::take(&mut batch);
                count += records.run(move |records| queue_old(records, some, recent)).await?;
                self.shared.wake.notify_waiters();
            }
            if is_last {
                break;
            }
        }
        records.run(move |records| set_round(records, now, unix_now().max(1))).await?;
        let before = now.saturating_sub(PROVIDER_LIFE_S);
        records.run(move |records| records.forget_announced(before)).await?;
        Ok(Some(count))
    }
}

/// Queues those keys that were not told since `recent`; says how many.
fn queue_old(records: &Records, keys: Vec<Bytes>, recent: u64) -> Result<u64, StoreError> {
    let mut old = Vec::new();
    for key in keys {
        if records.last_announced(&key)?.is_none_or(|told| told < recent) {
            old.push(key);
        }
    }
    records.enqueue(Queue::Again, &old, unix_now())?;
    Ok(old.len() as u64)
}

/// When the last round began and when its last key was queued.
fn round(records: &Records) -> Result<(u64, u64), StoreError> {
    let mark = records.mark(ROUND_MARK)?;
    let numbers = mark.as_deref().map(|mark| mark.as_chunks::<8>().0);
    let number = |at: usize| numbers.and_then(|n| n.get(at)).map_or(0, |n| u64::from_be_bytes(*n));
    Ok((number(0), number(1)))
}

fn set_round(records: &Records, began: u64, queued: u64) -> Result<(), StoreError> {
    let mark = [began.to_be_bytes(), queued.to_be_bytes()].concat();
    records.set_mark(ROUND_MARK, mark.into())
}

/// Leading bits of the region around a target that its nearest peers serve: all peers that share
/// more bits than the furthest of them are among them. A network smaller than one answer is one
/// region.
fn depth(target: &Key, nearest: &[Contact]) -> u16 {
    if nearest.len() < BUCKET_PEERS {
        return 0;
    }
    let bits = nearest.iter().map(|contact| Key::of_peer(&contact.peer).common_bits(target));
    bits.min().unwrap_or(0).saturating_add(1)
}

/// The part of the key space that a worker has: from where, and up to where; `None` for the end.
fn slice_of(slice: usize, workers: usize) -> ([u8; 32], Option<[u8; 32]>) {
    let point = |part: usize| {
        let mut point = [0; 32];
        let first = u8::try_from(part * 256 / workers).ok()?;
        point[0] = first;
        Some(point)
    };
    (point(slice).unwrap_or_default(), point(slice + 1))
}

/// The next point of the key space; the first one after the last.
fn after(point: &[u8; 32]) -> [u8; 32] {
    let mut next = *point;
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    next
}

#[cfg(test)]
mod tests;

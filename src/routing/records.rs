//! What the DHT keeps for others and of others: provider records, values, peers. Over the store's
//! family `records`; synchronous, like the store.
//!
//! Everything has an end and a cap. Caps are kept without a list in memory: the counts are read
//! once and then carried on, and what must go for the new is found by looking at a few rows.
//!
//! Source: ipfs/specs src/routing/kad-dht.md (provider records 48 h, their addresses 24 h, values
//! 48 h).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod announced;
mod sweep;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use sha2::{Digest as _, Sha256};

use super::dht::scope::{Scope, ip_group};
use super::dht::wire::{ADDRS_MAX, Contact};
use crate::store::keys::record::{self as row, AddressRow, PeerRow, ProviderRow, ValueRow};
use crate::store::records::RecordBatch;
use crate::store::{Core, Store, StoreError};
pub use announced::{Queue, Waiting};
pub use sweep::Swept;

/// Life of a provider record, in seconds.
pub const PROVIDER_LIFE_S: u64 = 48 * 3600;
/// Life of a provider's addresses, in seconds; after it the provider is told without them.
pub const ADDRESS_LIFE_S: u64 = 24 * 3600;
/// Life of a value, in seconds.
pub const VALUE_LIFE_S: u64 = 48 * 3600;
/// Life of a peer seen before, in seconds.
pub const PEER_LIFE_S: u64 = 7 * 24 * 3600;
/// Rows among which the one that goes for a new one is chosen when a table is full.
const SAMPLE_ROWS: usize = 16;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Provider rows of one scope; a row takes about 100 bytes on the disk.
    pub providers: u64,
    /// Provider rows of one multihash.
    pub providers_of_key: usize,
    /// Provider rows of one peer.
    pub providers_of_peer: u32,
    /// Values of one scope, of at most 10 KiB each.
    pub values: u64,
    /// Peers seen before.
    pub peers: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            providers: 1_000_000,
            providers_of_key: 100,
            providers_of_peer: 100_000,
            values: 20_000,
            peers: 20_000,
        }
    }
}

/// What became of a record that somebody sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is new.
    Added,
    /// It was there; it lives on.
    Renewed,
    /// Its sender has as many as one peer may have.
    Refused,
}

/// Rows that are there; what is expired counts until it is swept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Provider rows of this scope.
    pub providers: u64,
    /// Values of this scope.
    pub values: u64,
    /// Peers seen before.
    pub peers: u64,
}

/// The records of one DHT. Clones share everything.
#[derive(Clone)]
pub struct Records {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    scope: u8,
    limits: Limits,
    /// Held by whoever reads rows and then writes; `None` until the rows were counted.
    counts: Mutex<Option<Counts>>,
}

/// What a lookup or a store of values by SHA-256 is keyed by.
fn digest(bytes: &[u8]) -> row::Digest {
    Sha256::digest(bytes).into()
}

impl Records {
    /// The records of a scope in a store.
    pub fn new(store: Store, scope: Scope, limits: Limits) -> Self {
        let scope = match scope {
            Scope::Wan => 0,
            Scope::Lan => 1,
        };
        let shared = Shared { store, scope, limits, counts: Mutex::new(None) };
        Self { shared: Arc::new(shared) }
    }

    /// Runs synchronous work on the records off the async threads.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        let records = self.clone();
        crate::task::blocking(move || work(&records)).await
    }

    fn core(&self) -> Arc<Core> {
        self.shared.store.core()
    }

    /// The lock of whoever reads and then writes, with the counts.
    fn lock(&self) -> Result<(MutexGuard<'_, Option<Counts>>, Counts), StoreError> {
        // Whoever panicked held counts that were still those of the rows: they change after them.
        let mut guard = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = match *guard {
            Some(counts) => counts,
            None => self.count()?,
        };
        *guard = Some(counts);
        Ok((guard, counts))
    }

    /// Rows that are there.
    ///
    /// # Errors
    /// The store's.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        self.lock().map(|(_, counts)| counts)
    }

    /// Remembers until [`PROVIDER_LIFE_S`] from now that a peer has the content under a multihash.
    /// A full key gives up the oldest record of its most crowded IP group, a full table one of a
    /// few rows that are looked at: neither lets the oldest keep the newest out.
    ///
    /// # Errors
    /// The store's.
    pub fn add_provider(
        &self,
        hash: &[u8],
        contact: &Contact,
        now: u64,
    ) -> Result<Kept, StoreError> {
        let (scope, limits, core) = (self.shared.scope, &self.shared.limits, self.core());
        let (digest, peer) = (digest(hash), contact.peer.to_bytes());
        let key = row::provider(scope, &digest, &peer);
        let (mut guard, mut counts) = self.lock()?;
        let mut places = self.addresses(&peer)?;
        let is_new = core.record(&key)?.is_none();
        let mut batch = RecordBatch::default();
        if is_new {
            if places.rows >= limits.providers_of_peer {
                return Ok(Kept::Refused);
            }
            if let Some(victim) = self.provider_to_go(&digest, counts.providers, now)? {
                self.drop_provider(&victim, &mut batch)?;
                counts.providers = counts.providers.saturating_sub(1);
                // The peer's own row may have been the one to go.
                let own = row::split_provider(&victim).is_some_and(|(_, other)| other == peer);
                places.rows = places.rows.saturating_sub(u32::from(own));
            }
            places.rows = places.rows.saturating_add(1);
            counts.providers = counts.providers.saturating_add(1);
        }
        let group = ip_group(&contact.addrs).map_or(0, |group| group.tag());
        let value = ProviderRow { expiry: now.saturating_add(PROVIDER_LIFE_S), group };
        batch.put(key, value.encode());
        places.expiry = now.saturating_add(ADDRESS_LIFE_S);
        places.addrs = write_addrs(&contact.addrs);
        batch.put(row::addresses(scope, &peer), places.encode());
        core.write_records(batch)?;
        *guard = Some(counts);
        Ok(if is_new { Kept::Added } else { Kept::Renewed })
    }

    /// The row that makes room for one more of a multihash, if one must.
    fn provider_to_go(
        &self,
        digest: &row::Digest,
        total: u64,
        now: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let (scope, limits) = (self.shared.scope, &self.shared.limits);
        let prefix = row::providers_of(scope, digest);
        let rows = self.core().records(&prefix, None, limits.providers_of_key)?;
        if rows.len() >= limits.providers_of_key {
            let rows = rows.into_iter().map(|(key, value)| (key, ProviderRow::decode(&value)));
            return Ok(most_crowded(rows.collect(), now));
        }
        if total < limits.providers {
            return Ok(None);
        }
        let start = row::providers_of(scope, &rand::random());
        let rows = self.sample(&row::providers(scope), &start)?;
        let expiry = |value: &Bytes| ProviderRow::decode(value).map_or(0, |row| row.expiry);
        Ok(rows.into_iter().min_by_key(|(_, value)| expiry(value)).map(|(key, _)| key))
    }

    /// A few rows of a table from a random place on.
    fn sample(&self, prefix: &[u8], start: &[u8]) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let rows = self.core().records(prefix, Some(start), SAMPLE_ROWS)?;
        match rows.is_empty() {
            true => self.core().records(prefix, None, SAMPLE_ROWS),
            false => Ok(rows),
        }
    }

    /// Deletes a provider row and takes it off its peer's count.
    fn drop_provider(&self, key: &Bytes, batch: &mut RecordBatch) -> Result<(), StoreError> {
        batch.delete(key.clone());
        if let Some((_, peer)) = row::split_provider(key) {
            self.forget_rows(peer, 1, batch)?;
        }
        Ok(())
    }

    fn forget_rows(
        &self,
        peer: &[u8],
        rows: u32,
        batch: &mut RecordBatch,
    ) -> Result<(), StoreError> {
        let mut places = self.addresses(peer)?;
        places.rows = places.rows.saturating_sub(rows);
        batch.put(row::addresses(self.shared.scope, peer), places.encode());
        Ok(())
    }

    fn addresses(&self, peer: &[u8]) -> Result<AddressRow, StoreError> {
        let value = self.core().record(&row::addresses(self.shared.scope, peer))?;
        Ok(value.and_then(AddressRow::decode).unwrap_or_default())
    }

    /// Those who have the content under a multihash, those whose addresses are known first.
    ///
    /// # Errors
    /// The store's.
    pub fn providers(&self, hash: &[u8], now: u64) -> Result<Vec<Contact>, StoreError> {
        let prefix = row::providers_of(self.shared.scope, &digest(hash));
        let limit = self.shared.limits.providers_of_key;
        let mut found = Vec::new();
        for (key, value) in self.core().records(&prefix, None, limit)? {
            let Some((_, id)) = row::split_provider(&key) else { continue };
            let (Ok(peer), Some(row)) = (PeerId::from_bytes(id), ProviderRow::decode(&value))
            else {
                continue;
            };
            if row.expiry > now {
                let places = self.addresses(id)?;
                let addrs =
                    if places.expiry > now { read_addrs(&places.addrs) } else { Vec::new() };
                found.push(Contact { peer, addrs });
            }
        }
        found.sort_by_key(|contact| contact.addrs.is_empty());
        Ok(found)
    }

    /// Keeps a value until [`VALUE_LIFE_S`] from now. Whether it is valid and better than the one
    /// that is there was decided by `better`, which is asked under the lock.
    ///
    /// # Errors
    /// The store's.
    pub fn put_value(
        &self,
        key: &Bytes,
        value: &Bytes,
        now: u64,
        better: impl FnOnce(Option<&Bytes>) -> bool,
    ) -> Result<bool, StoreError> {
        let (scope, core) = (self.shared.scope, self.core());
        let at = row::value(scope, &digest(key));
        let (mut guard, mut counts) = self.lock()?;
        let old = core.record(&at)?.and_then(ValueRow::decode);
        let alive = old.as_ref().filter(|old| old.key == *key && is_alive(old, now));
        let fresh = ValueRow { received: now, key: key.clone(), value: value.clone() };
        let Some(fresh) = fresh.encode() else { return Ok(false) };
        if !better(alive.map(|old| &old.value)) {
            return Ok(false);
        }
        let mut batch = RecordBatch::default();
        if old.is_none() {
            if counts.values >= self.shared.limits.values {
                let start = row::value(scope, &rand::random());
                let rows = self.sample(&row::values(scope), &start)?;
                let age = |value: Bytes| ValueRow::decode(value).map_or(0, |row| row.received);
                if let Some((victim, _)) = rows.into_iter().min_by_key(|(_, v)| age(v.clone())) {
                    batch.delete(victim);
                    counts.values = counts.values.saturating_sub(1);
                }
            }
            counts.values = counts.values.saturating_add(1);
        }
        batch.put(at, fresh);
        core.write_records(batch)?;
        *guard = Some(counts);
        Ok(true)
    }

    /// The value under a key and when it was received, in seconds since 1970.
    ///
    /// # Errors
    /// The store's.
    pub fn value(&self, key: &[u8], now: u64) -> Result<Option<(Bytes, u64)>, StoreError> {
        let row = self.core().record(&row::value(self.shared.scope, &digest(key)))?;
        let row = row.and_then(ValueRow::decode);
        let alive = row.filter(|row| row.key == key && is_alive(row, now));
        Ok(alive.map(|row| (row.value, row.received)))
    }

    /// Remembers where peers were seen, for the next start.
    ///
    /// # Errors
    /// The store's.
    pub fn save_peers(&self, peers: &[Contact], now: u64) -> Result<(), StoreError> {
        let (mut guard, mut counts) = self.lock()?;
        let core = self.core();
        let mut batch = RecordBatch::default();
        for contact in peers {
            let key = row::peer(&contact.peer.to_bytes());
            if core.record(&key)?.is_none() {
                if counts.peers >= self.shared.limits.peers {
                    continue;
                }
                counts.peers = counts.peers.saturating_add(1);
            }
            let expiry = now.saturating_add(PEER_LIFE_S);
            let value = PeerRow { seen: now, expiry, addrs: write_addrs(&contact.addrs) };
            batch.put(key, value.encode());
        }
        core.write_records(batch)?;
        *guard = Some(counts);
        Ok(())
    }

    /// Where a peer was last seen.
    ///
    /// # Errors
    /// The store's.
    pub fn saved_peer(&self, peer: &PeerId, now: u64) -> Result<Option<Contact>, StoreError> {
        let row = self.core().record(&row::peer(&peer.to_bytes()))?.and_then(PeerRow::decode);
        let row = row.filter(|row| row.expiry > now);
        Ok(row.map(|row| Contact { peer: *peer, addrs: read_addrs(&row.addrs) }))
    }

    /// At most `limit` peers seen before, those seen last first, of the first 20,000 rows.
    ///
    /// # Errors
    /// The store's.
    pub fn saved_peers(&self, limit: usize, now: u64) -> Result<Vec<Contact>, StoreError> {
        let rows = self.core().records(&row::peer(b""), None, 20_000)?;
        let mut found: Vec<(u64, Contact)> = Vec::new();
        for (key, value) in rows {
            let peer = row::split_peer(&key).and_then(|id| PeerId::from_bytes(id).ok());
            let (Some(peer), Some(row)) = (peer, PeerRow::decode(value)) else { continue };
            if row.expiry > now {
                found.push((row.seen, Contact { peer, addrs: read_addrs(&row.addrs) }));
            }
        }
        found.sort_by_key(|(seen, _)| std::cmp::Reverse(*seen));
        Ok(found.into_iter().take(limit).map(|(_, contact)| contact).collect())
    }
}

fn is_alive(row: &ValueRow, now: u64) -> bool {
    row.received.saturating_add(VALUE_LIFE_S) > now
}

/// The oldest row of the IP group that has most rows. What is expired or does not parse goes first.
fn most_crowded(rows: Vec<(Bytes, Option<ProviderRow>)>, now: u64) -> Option<Bytes> {
    let mut groups: HashMap<u32, usize> = HashMap::new();
    for group in rows.iter().filter_map(|(_, row)| row.map(|row| row.group)) {
        let count = groups.entry(group).or_default();
        *count = count.saturating_add(1);
    }
    let rank = |row: &Option<ProviderRow>| {
        row.filter(|row| row.expiry > now).map(|row| {
            let crowd = groups.get(&row.group).copied().unwrap_or(0);
            (std::cmp::Reverse(crowd), row.expiry)
        })
    };
    rows.into_iter().min_by_key(|(_, row)| rank(row)).map(|(key, _)| key)
}

fn write_addrs(addrs: &[Multiaddr]) -> Vec<Bytes> {
    addrs.iter().take(ADDRS_MAX).map(|addr| addr.to_vec().into()).collect()
}

fn read_addrs(addrs: &[Bytes]) -> Vec<Multiaddr> {
    addrs.iter().filter_map(|addr| Multiaddr::try_from(addr.to_vec()).ok()).collect()
}

#[cfg(test)]
mod tests;

//! What this node announced, and what it is still to announce: rows that outlive a restart.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::Bytes;

use super::sweep::PAGE_ROWS;
use super::{Records, digest};
use crate::store::StoreError;
use crate::store::keys::record::{self as row, Digest, TimedHash};
use crate::store::records::RecordBatch;

/// Which announcements go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// What nobody was told of yet.
    New,
    /// What is told again before it is forgotten.
    Again,
}

impl Queue {
    fn number(self) -> u8 {
        match self {
            Self::New => 0,
            Self::Again => 1,
        }
    }
}

/// A multihash that waits to be announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Where it stands in the key space.
    pub digest: Digest,
    /// The multihash in binary.
    pub hash: Bytes,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

impl Records {
    /// Queues multihashes to be announced; one that is queued already keeps its place.
    ///
    /// # Errors
    /// The store's.
    pub fn enqueue(&self, queue: Queue, hashes: &[Bytes], now: u64) -> Result<(), StoreError> {
        let mut batch = RecordBatch::default();
        for hash in hashes {
            let key = row::queued(queue.number(), &digest(hash));
            if self.core().record(&key)?.is_none() {
                batch.put(key, TimedHash { time: now, hash: hash.clone() }.encode());
            }
        }
        self.core().write_records(batch)
    }

    /// At most `limit` multihashes that wait in a queue, in the order of the key space, the first one at or
    /// after the point `from`.
    ///
    /// # Errors
    /// The store's.
    pub fn waiting(
        &self,
        queue: Queue,
        from: &Digest,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        let prefix = row::queued(queue.number(), b"");
        // Pages begin after a key: the row at it is read by itself.
        let start = row::queued(queue.number(), from);
        let mut found = Vec::new();
        if let Some(value) = self.core().record(&start)? {
            found.extend(read_waiting(&start, value));
        }
        let rows = self.core().records(&prefix, Some(&start), limit)?;
        found.extend(rows.into_iter().filter_map(|(key, value)| read_waiting(&key, value)));
        found.truncate(limit);
        Ok(found)
    }

    /// How many multihashes wait, counted to at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub fn count_waiting(&self, queue: Queue, limit: usize) -> Result<usize, StoreError> {
        Ok(self.core().records(&row::queued(queue.number(), b""), None, limit)?.len())
    }

    /// These were announced: they wait no more, and are remembered as told.
    ///
    /// # Errors
    /// The store's.
    pub fn announced(&self, hashes: &[Bytes], now: u64) -> Result<(), StoreError> {
        let mut batch = RecordBatch::default();
        for hash in hashes {
            let digest = digest(hash);
            both(&digest).into_iter().for_each(|key| batch.delete(key));
            let told = TimedHash { time: now, hash: hash.clone() };
            batch.put(row::announced(&digest), told.encode());
        }
        self.core().write_records(batch)
    }

    /// These wait no more, told or not.
    ///
    /// # Errors
    /// The store's.
    pub fn withdraw(&self, hashes: &[Bytes]) -> Result<(), StoreError> {
        let mut batch = RecordBatch::default();
        for hash in hashes {
            both(&digest(hash)).into_iter().for_each(|key| batch.delete(key));
        }
        self.core().write_records(batch)
    }

    /// When a multihash was last announced, in seconds since 1970.
    ///
    /// # Errors
    /// The store's.
    pub fn last_announced(&self, hash: &[u8]) -> Result<Option<u64>, StoreError> {
        let row = self.core().record(&row::announced(&digest(hash)))?.and_then(TimedHash::decode);
        Ok(row.map(|row| row.time))
    }

    /// Deletes the memory of announcements older than `before`, in seconds since 1970, a page at a
    /// time; says how many.
    ///
    /// # Errors
    /// The store's.
    pub fn forget_announced(&self, before: u64) -> Result<u64, StoreError> {
        let (prefix, mut after) = (row::announced(b""), None::<Bytes>);
        let mut gone = 0u64;
        loop {
            let page = self.core().records(&prefix, after.as_deref(), PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(gone) };
            after = Some(last.clone());
            let mut batch = RecordBatch::default();
            for (key, value) in page {
                if TimedHash::decode(value).is_none_or(|row| row.time < before) {
                    batch.delete(key);
                    gone = gone.saturating_add(1);
                }
            }
            self.core().write_records(batch)?;
        }
    }

    /// Forgets everything that waits; says how many.
    ///
    /// # Errors
    /// The store's.
    pub fn clear_waiting(&self) -> Result<usize, StoreError> {
        let mut gone = 0usize;
        for prefix in both(&[]) {
            loop {
                let page = self.core().records(&prefix, None, PAGE_ROWS)?;
                if page.is_empty() {
                    break;
                }
                gone = gone.saturating_add(page.len());
                let mut batch = RecordBatch::default();
                page.into_iter().for_each(|(key, _)| batch.delete(key));
                self.core().write_records(batch)?;
            }
        }
        Ok(gone)
    }

    /// Where a task stood that goes on after a restart.
    ///
    /// # Errors
    /// The store's.
    pub fn mark(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.core().record(&row::mark(name))
    }

    /// Writes down where a task stands.
    ///
    /// # Errors
    /// The store's.
    pub fn set_mark(&self, name: &str, value: Bytes) -> Result<(), StoreError> {
        let mut batch = RecordBatch::default();
        batch.put(row::mark(name), value);
        self.core().write_records(batch)
    }
}

/// The keys of a digest in both queues.
fn both(digest: &[u8]) -> [Bytes; 2] {
    [Queue::New, Queue::Again].map(|queue| row::queued(queue.number(), digest))
}

fn read_waiting(key: &[u8], value: Bytes) -> Option<Waiting> {
    let digest = Digest::try_from(key.get(2..)?).ok()?;
    let TimedHash { time: since, hash } = TimedHash::decode(value)?;
    Some(Waiting { digest, hash, since })
}

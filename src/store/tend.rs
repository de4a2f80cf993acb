//! What a store does by itself, a step at a time: it syncs what nobody waits for, keeps room below
//! its limit, and gives space back while nobody else needs the disk.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::garbage::Freed;
use super::room::Usage;
use super::segments::Extent;
use super::space::IDLE_PERCENT;
use super::{Core, StoreError};

/// Time without a change after which there is nothing better to do.
const QUIET_TIME: Duration = Duration::from_secs(5);
/// Time without a change after which rows leave the log.
const IDLE_TIME: Duration = Duration::from_secs(20);
/// Part of a segment that must be dead before it is emptied beside other work.
const BUSY_PERCENT: u64 = 50;

/// What was done since a store was opened, in blocks, bytes and times.
#[derive(Default)]
pub(super) struct Counters {
    changes: AtomicU64,
    freed_blocks: AtomicU64,
    freed_bytes: AtomicU64,
    evicted_bytes: AtomicU64,
    moved_bytes: AtomicU64,
    reclaimed_bytes: AtomicU64,
    uncompacted: AtomicU64,
}

/// The same, at one moment, with what the store takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// What it takes.
    pub usage: Usage,
    /// Bytes appended to segments, moved ones included.
    pub written_bytes: u64,
    /// Bytes read from segments.
    pub read_bytes: u64,
    /// Blocks that were deleted because nothing held them.
    pub freed_blocks: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// Bytes among them that went because room was needed.
    pub evicted_bytes: u64,
    /// Bytes that were written again because their segment was emptied.
    pub moved_bytes: u64,
    /// Bytes given back to the disk by that.
    pub reclaimed_bytes: u64,
    /// Blocks that are known to be damaged.
    pub quarantined: u64,
    /// Operations in flight.
    pub intents: u64,
}

impl Counters {
    pub fn changed(&self) {
        self.changes.fetch_add(1, Relaxed);
    }

    pub fn freed(&self, blocks: &[Freed]) {
        let bytes = blocks.iter().map(|block| u64::from(block.size)).sum();
        self.freed_blocks.fetch_add(blocks.len() as u64, Relaxed);
        self.uncompacted.fetch_add(blocks.len() as u64, Relaxed);
        self.freed_bytes.fetch_add(bytes, Relaxed);
    }

    pub fn evicted(&self, bytes: u64) {
        self.evicted_bytes.fetch_add(bytes, Relaxed);
    }

    pub fn emptied(&self, moved: u64, reclaimed: u64) {
        self.moved_bytes.fetch_add(moved, Relaxed);
        self.reclaimed_bytes.fetch_add(reclaimed, Relaxed);
    }

    pub fn freed_since_compaction(&self) -> u64 {
        self.uncompacted.load(Relaxed)
    }

    pub fn compacted(&self) {
        self.uncompacted.store(0, Relaxed);
    }
}

/// What tending remembers from one step to the next.
#[derive(Debug)]
pub struct Tending {
    changes: u64,
    since: Instant,
    flushed: bool,
    /// Changes at which nothing could be evicted.
    full_at: Option<u64>,
}

impl Default for Tending {
    fn default() -> Self {
        Self { changes: 0, since: Instant::now(), flushed: false, full_at: None }
    }
}

impl Core {
    /// One step, to be taken about once a second. Each costs at most the emptying of one segment.
    /// `mark` is the part of the limit, in per cent, above which cached blocks are evicted.
    ///
    /// # Errors
    /// The database's.
    pub fn tend(&self, tending: &mut Tending, mark: u64) -> Result<(), StoreError> {
        if self.segments.is_dirty() {
            self.segments.sync()?;
            self.apply(super::change::Change::default(), &self.exclusive())?;
        }
        let changes = self.counters.changes.load(Relaxed);
        if changes != tending.changes {
            *tending = Tending { changes, full_at: tending.full_at, ..Tending::default() };
        }
        let usage = self.usage()?;
        // What is dead comes back without eviction.
        let dead: u64 = self.victims(IDLE_PERCENT).iter().map(Extent::dead).sum();
        let needed = usage.physical.saturating_sub(dead);
        let above = usage.limit > 0 && needed > usage.limit / 100 * mark.min(100);
        if above && tending.full_at != Some(changes) {
            let some = usage.limit / 64;
            // Once there is nothing to evict, there is not before something changes.
            tending.full_at = (self.evict(some)? == 0).then_some(changes);
        }
        let quiet = tending.since.elapsed() >= QUIET_TIME;
        self.reclaim(if quiet || above { IDLE_PERCENT } else { BUSY_PERCENT })?;
        if tending.since.elapsed() >= IDLE_TIME && !tending.flushed {
            self.compact_rows()?;
            self.backend.flush()?;
            tending.flushed = true;
        }
        tending.changes = self.counters.changes.load(Relaxed);
        Ok(())
    }

    /// What the store takes, and what was done since it was opened.
    ///
    /// # Errors
    /// The database's.
    pub fn figures(&self) -> Result<Figures, StoreError> {
        let (written_bytes, read_bytes) = self.segments.traffic();
        let counters = &self.counters;
        Ok(Figures {
            usage: self.usage()?,
            written_bytes,
            read_bytes,
            freed_blocks: counters.freed_blocks.load(Relaxed),
            freed_bytes: counters.freed_bytes.load(Relaxed),
            evicted_bytes: counters.evicted_bytes.load(Relaxed),
            moved_bytes: counters.moved_bytes.load(Relaxed),
            reclaimed_bytes: counters.reclaimed_bytes.load(Relaxed),
            quarantined: self.quarantined() as u64,
            intents: self.intents.count() as u64,
        })
    }
}

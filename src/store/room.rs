//! Room: a limit that holds for everything on the disk, and what gives way before it is met.
//!
//! Whoever appends asks for room first. Records in segments are counted to the byte; rows are
//! measured, and what they may grow by before they are measured again is kept back, with the segment
//! into which others are emptied. When there is no room, dead records go first, then loose blocks
//! that were not used for longest; then the answer is no.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::backend::{BackendError, Taken};
use super::segments::Extent;
use super::{Core, StoreError, lock, rocks};

/// Segments that a limit is divided into, at least.
const PARTS: u64 = 64;
/// Length of a segment, in bytes.
const SEGMENT_BYTES: (u64, u64) = (2 << 20, 256 << 20);
/// Length of the rows' log, in bytes.
const LOG_BYTES: (u64, u64) = (4 << 20, rocks::LOG_MAX_BYTES);
/// Bytes of the disk that are left to others.
const LEFT_FREE_BYTES: (u64, u64) = (4 << 20, 64 << 20);
/// For how long a measure of the rows is good.
const MEASURED_TIME: Duration = Duration::from_millis(50);
/// Measures that are waited for once rows were compacted because there was no room.
const WAITS: usize = 5;
/// Bytes beside the store: configuration, keys, lock.
const BESIDE_BYTES: u64 = 256 << 10;
/// Part of a segment that must be dead before it is emptied because room is needed.
const WORTHWHILE: u64 = 8;

/// How much may be taken, and how much is promised.
pub struct Room {
    /// Most bytes on the disk; 0 for no limit.
    limit: u64,
    /// Size of the disk in bytes.
    disk: u64,
    /// Bytes promised to whoever is appending them.
    promised: AtomicU64,
    /// Rows as they were measured last, and when.
    rows: Mutex<Option<(Instant, Taken)>>,
    /// Held by the one who makes room.
    making: Mutex<()>,
}

/// Bytes promised; they count until this is dropped.
#[must_use]
pub struct Promise<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.room.promised.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// What the repository takes, and of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on the disk: records, rows and what stands beside them.
    pub physical: u64,
    /// Bytes of records that blocks need.
    pub logical: u64,
    /// Bytes of records that nothing needs any more.
    pub garbage: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// The limit in bytes; 0 for none.
    pub limit: u64,
}

impl Room {
    /// Room under a limit in bytes, 0 for none, on a disk of so many.
    pub fn new(limit: u64, disk: u64) -> Self {
        let (promised, rows, making) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        Self { limit, disk, promised, rows, making }
    }

    /// What is divided into segments.
    fn whole(&self) -> u64 {
        if self.limit == 0 { self.disk } else { self.limit.min(self.disk) }
    }

    /// Length at which segments are sealed, in bytes.
    pub fn segment_bytes(&self) -> u64 {
        (self.whole() / PARTS).clamp(SEGMENT_BYTES.0, SEGMENT_BYTES.1)
    }

    /// Most bytes of the rows' log.
    pub fn log_max(&self) -> u64 {
        (self.whole() / PARTS).clamp(LOG_BYTES.0, LOG_BYTES.1)
    }

    /// Bytes of the disk that are left to others.
    fn left_free(&self) -> u64 {
        (self.disk / 20).clamp(LEFT_FREE_BYTES.0, LEFT_FREE_BYTES.1)
    }
}

impl Core {
    /// What the store takes.
    ///
    /// # Errors
    /// The database's.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let (blocks, logical) = self.totals();
        let length = self.segments.length();
        let Taken { tables, log, .. } = self.rows_taken()?;
        let physical = [length, tables, log, BESIDE_BYTES].into_iter().sum();
        let garbage = length.saturating_sub(logical);
        Ok(Usage { physical, logical, garbage, blocks, limit: self.room.limit })
    }

    /// Promises room for so many bytes of records, and makes it if need be. The promise is to be held
    /// until they are appended.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`]; [`BackendError::Full`] when the disk is.
    pub(super) fn make_room(&self, bytes: u64) -> Result<Promise<'_>, StoreError> {
        if let Some(promise) = self.promise(bytes)? {
            return Ok(promise);
        }
        let _making = lock(&self.room.making);
        let mut waited = 0;
        loop {
            if let Some(promise) = self.promise(bytes)? {
                return Ok(promise);
            }
            if self.give_back(bytes)? {
                continue;
            }
            if waited == WAITS || waited == 0 && !self.settle_rows_taken()? {
                return Err(self.no_room(bytes)?);
            }
            // Files that are needed no longer go a moment later.
            std::thread::sleep(MEASURED_TIME);
            *lock(&self.room.rows) = None;
            waited += 1;
        }
    }

    /// Makes tables of the log, if there is much of it, and compacts them if that is worth it: both
    /// take more than what they become. Tells whether anything was done.
    fn settle_rows_taken(&self) -> Result<bool, StoreError> {
        if self.room.limit == 0 {
            return Ok(false);
        }
        let much = self.rows_taken()?.logged >= self.room.log_max() / 4;
        if much {
            self.backend.flush()?;
        }
        Ok(self.compact_rows()? || much)
    }

    /// Bytes that may be taken before the limit, or the disk, is met; negative beyond it.
    fn left(&self) -> Result<i64, StoreError> {
        Ok(self.left_on_disk()?.min(self.left_below_limit()?))
    }

    fn left_on_disk(&self) -> Result<i64, StoreError> {
        let free = self.segments.free_on_disk()?;
        Ok(signed(free).saturating_sub(signed(self.room.left_free())))
    }

    fn left_below_limit(&self) -> Result<i64, StoreError> {
        if self.room.limit == 0 {
            return Ok(i64::MAX);
        }
        let (Taken { tables, log, logged }, log_max) = (self.rows_taken()?, self.room.log_max());
        // What stands in the log becomes tables, and tables are written again when they are
        // compacted. A log lies beside the next one.
        let tables = tables.saturating_add(logged).saturating_mul(2);
        let rows = tables.saturating_add(log.saturating_add(log_max).max(2 * log_max));
        let used = self.segments.length().saturating_add(rows);
        let kept_back = self.segments.target().saturating_add(BESIDE_BYTES);
        let left = self.room.limit.checked_sub(used.saturating_add(kept_back));
        Ok(left.map_or(-1, signed))
    }

    fn promise(&self, bytes: u64) -> Result<Option<Promise<'_>>, StoreError> {
        let promised = self.room.promised.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        let promise = Promise { room: &self.room, bytes };
        let fits = self.left()? >= signed(promised);
        Ok(fits.then_some(promise))
    }

    /// Gives some space back; tells whether any came.
    fn give_back(&self, wanted: u64) -> Result<bool, StoreError> {
        let victims = self.victims(1);
        if let Some(dead) = victims.iter().find(|extent| extent.live == 0) {
            return self.gives(dead);
        }
        let dead: u64 = victims.iter().map(Extent::dead).sum();
        let worth = |extent: &&Extent| extent.dead() >= extent.length / WORTHWHILE;
        let mut worth: Vec<&Extent> = victims.iter().filter(worth).collect();
        worth.sort_by_key(|extent| std::cmp::Reverse(extent.dead()));
        let step = wanted.max(self.segments.target());
        if dead < step && self.evict(step)? > 0 {
            return Ok(true);
        }
        for extent in worth {
            if self.gives(extent)? {
                return Ok(true);
            }
        }
        // What is dead lies scattered: more of it makes a segment worth emptying.
        Ok(self.evict(step)? > 0)
    }

    /// Empties a segment; tells whether it is gone, whoever did it.
    fn gives(&self, extent: &Extent) -> Result<bool, StoreError> {
        Ok(self.empty(extent.id)? > 0 || !self.segments.has(extent.id))
    }

    fn no_room(&self, wanted: u64) -> Result<StoreError, StoreError> {
        let Usage { physical: used, limit, .. } = self.usage()?;
        let by_limit = limit > 0 && self.left_below_limit()? <= self.left_on_disk()?;
        Ok(match by_limit {
            true => StoreError::NoRoom { wanted, used, limit },
            false => BackendError::Full.into(),
        })
    }

    /// Bytes that rows take, as of a moment ago.
    fn rows_taken(&self) -> Result<Taken, StoreError> {
        let mut rows = lock(&self.room.rows);
        if let Some((when, taken)) = *rows
            && when.elapsed() < MEASURED_TIME
        {
            return Ok(taken);
        }
        let taken = self.backend.taken()?;
        *rows = Some((Instant::now(), taken));
        Ok(taken)
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

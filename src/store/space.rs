//! Space comes back: segments that are mostly dead are emptied into others and deleted, and loose
//! blocks that were not used for long are evicted.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::backend::{BackendError, Family};
use super::change::Change;
use super::keys::{self, IndexRow, Place};
use super::segments::recovery::Doubtful;
use super::segments::{Extent, Stream};
use super::{Core, StoreError, lock, this_hour};
use crate::ipld::cid::{self, Multihash};

/// Bytes of records moved together.
const MOVED_BYTES: usize = 4 << 20;
/// Index rows changed while everybody else waits.
const ROWS_TOGETHER: usize = 256;

/// A live record on its way into another segment.
struct Moving {
    hash: Multihash,
    row: IndexRow,
    data: Bytes,
}

impl Core {
    /// Segments of which at least so many per cent are dead and that may be emptied, the deadest
    /// first. One that is appended to is sealed when it is.
    pub(super) fn victims(&self, percent: u64) -> Vec<Extent> {
        let worth = |extent: &Extent| {
            let dead = extent.dead();
            let enough = dead.saturating_mul(100) >= extent.length.saturating_mul(percent);
            dead > 0 && enough && !extent.leased && !extent.damaged
        };
        let mut victims: Vec<Extent> = self.segments.extents().into_iter().filter(worth).collect();
        let share = |extent: &Extent| extent.dead().saturating_mul(1000) / extent.length.max(1);
        victims.sort_by_key(|extent| std::cmp::Reverse(share(extent)));
        victims
    }

    /// Empties the segment of which most is dead, if at least so many per cent of it are; gives the
    /// bytes that came back.
    ///
    /// # Errors
    /// The database's.
    pub fn reclaim(&self, percent: u64) -> Result<u64, StoreError> {
        match self.victims(percent).first() {
            Some(extent) => self.empty(extent.id),
            None => Ok(0),
        }
    }

    /// Moves what lives in a segment elsewhere and deletes it; gives the bytes that came back. A
    /// segment with a live record that cannot be read stays: its block is to be healed or dropped
    /// first.
    pub(super) fn empty(&self, id: u32) -> Result<u64, StoreError> {
        // Two at once would take it away from under each other.
        let _emptying = lock(&self.emptying);
        if !self.segments.has(id) {
            return Ok(0);
        }
        let length = self.segments.seal(id);
        let leased = self.segments.extents().iter().any(|extent| extent.id == id && extent.leased);
        if leased {
            return Ok(0);
        }
        let (mut moving, mut bytes, mut moved, mut broken) = (Vec::new(), 0, 0, false);
        let end = self.segments.scan(id, 0, length, &mut |offset, record| {
            let Ok(record) = record else {
                broken = true;
                return Ok(());
            };
            let place = Place { segment: id, offset };
            let row = self.index_row(&keys::block(&record.hash))?;
            if let Some(row) = row.filter(|row| row.place == place) {
                bytes += record.data.len();
                // Not a slice of what was read: that may hold much that is dead.
                let data = Bytes::copy_from_slice(&record.data);
                moving.push(Moving { hash: record.hash, row, data });
            }
            if bytes >= MOVED_BYTES {
                moved += self.relocate(std::mem::take(&mut moving))?;
                bytes = 0;
            }
            Ok::<_, StoreError>(())
        });
        // A part that the disk does not read is like one that reads as something else.
        let end = match end {
            Err(StoreError::Backend(BackendError::Damaged(cause))) => Some((0, cause)),
            end => end?,
        };
        moved += self.relocate(moving)?;
        if (broken || end.is_some()) && !self.rescue(id, &mut moved)? {
            self.segments.mark_damaged(id, true);
            return Ok(0);
        }
        // Rows that point elsewhere, or nowhere, must outlive a power loss before the bytes go.
        self.sync()?;
        let exclusive = self.exclusive();
        let mut change = Change::default();
        change.rows.delete(Family::Segments, keys::segment(id));
        self.apply(change, &exclusive)?;
        drop(exclusive);
        self.segments.remove(id)?;
        self.counters.emptied(moved, length.saturating_sub(moved));
        Ok(length.saturating_sub(moved))
    }

    /// Writes records anew and points their rows there, where nobody has changed them meanwhile.
    /// Gives the bytes written.
    fn relocate(&self, moving: Vec<Moving>) -> Result<u64, StoreError> {
        if moving.is_empty() {
            return Ok(0);
        }
        let records: Vec<_> =
            moving.iter().map(|record| (record.hash, record.data.clone())).collect();
        let (places, _lease) = self.segments.append(Stream::Moved, &records)?;
        self.segments.sync()?;
        let both: Vec<_> = moving.iter().zip(places).collect();
        for some in both.chunks(ROWS_TOGETHER) {
            let exclusive = self.exclusive();
            let mut change = Change::default();
            for (Moving { hash, row, .. }, place) in some {
                if self.index_row(&keys::block(hash))? == Some(*row) {
                    change.leave_record(hash, *row);
                    change.put_block(hash, IndexRow { place: *place, ..*row });
                }
            }
            self.apply(change, &exclusive)?;
        }
        Ok(super::writer::bytes_of(&records))
    }

    /// Moves what lives in a segment that cannot be read through, found by a pass over the index;
    /// tells whether all of it could be.
    fn rescue(&self, id: u32, moved: &mut u64) -> Result<bool, StoreError> {
        let (mut found, mut whole) = (Vec::new(), true);
        self.each_block(&mut |hash, row| {
            if row.place.segment == id {
                found.push((*hash, row));
            }
            true
        })?;
        for (hash, row) in found {
            match self.segments.read(row.place, &hash, row.size) {
                Ok(data) => *moved += self.relocate(vec![Moving { hash, row, data }])?,
                Err(BackendError::Damaged(_)) => {
                    // It may be gone or written anew by now, or be read at the second look; if not, it
                    // is remembered.
                    match self.to_quarantine(&cid::of_hash(&hash)) {
                        Ok(Some(block)) => {
                            let data = block.into_parts().1;
                            *moved += self.relocate(vec![Moving { hash, row, data }])?;
                        }
                        Ok(None) => {}
                        Err(_) => whole = false,
                    }
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(whole)
    }

    /// Deletes loose blocks, those that were not used for longest first, by the hour, until so many
    /// bytes of records are dead; gives how many are.
    ///
    /// # Errors
    /// The database's.
    pub fn evict(&self, bytes: u64) -> Result<u64, StoreError> {
        match self.knows_garbage() {
            Ok(()) => {}
            Err(StoreError::Incomplete(_) | StoreError::PinsLost) => return Ok(0),
            Err(error) => return Err(error),
        }
        let mut hours: BTreeMap<u32, u64> = BTreeMap::new();
        for row in self.rows(Family::Loose, b"") {
            let (_, value) = row?;
            *hours.entry(keys::split_hour(&value)).or_default() += 1;
        }
        let (blocks, live) = self.totals();
        let mean = live.checked_div(blocks).unwrap_or(0).max(1);
        let (mut freed, mut likely) = (0u64, 0u64);
        let last = hours.keys().next_back().copied();
        for (hour, count) in hours {
            likely = likely.saturating_add(count.saturating_mul(mean));
            if likely < bytes && Some(hour) != last {
                continue;
            }
            self.collect_until(hour, &mut |block| {
                freed = freed.saturating_add(block.size.into());
                freed < bytes
            })?;
            if freed >= bytes {
                break;
            }
        }
        self.counters.evicted(freed);
        Ok(freed)
    }

    /// Remembers that a loose block was used in this hour: once an hour.
    pub(super) fn used(&self, hash: &Multihash) -> Result<(), StoreError> {
        let now = this_hour();
        if self.loose(hash)?.is_some_and(|hour| hour != now) {
            // A row for a block that goes at this moment is dropped by the next collection.
            let exclusive = self.exclusive();
            let mut change = Change::default();
            change.loosen(hash, now);
            self.apply(change, &exclusive)?;
        }
        Ok(())
    }

    /// Reads the ends of segments that a power loss may have taken, and forgets the blocks whose
    /// records did not reach the disk: fetched ones that nothing holds.
    pub(super) fn check_tails(&self, doubtful: &[Doubtful]) -> Result<(), StoreError> {
        let mut broken = Vec::new();
        for tail in doubtful {
            let mut whole = true;
            let end = self.segments.scan(tail.id, tail.from, tail.to, &mut |_, record| {
                whole &= record.is_ok();
                Ok::<_, BackendError>(())
            });
            match end {
                Ok(None) if whole => {}
                Ok(_) | Err(BackendError::Damaged(_)) => broken.push(*tail),
                Err(other) => return Err(other.into()),
            }
        }
        if broken.is_empty() {
            return Ok(());
        }
        let mut lost = Vec::new();
        self.each_block(&mut |hash, row| {
            let at = |tail: &&Doubtful| tail.id == row.place.segment;
            let within = |tail: &Doubtful| u64::from(row.place.offset) >= tail.from;
            let doubted = broken.iter().find(at).is_some_and(within);
            let gone = || {
                let read = self.segments.read(row.place, hash, row.size);
                matches!(read, Err(BackendError::Damaged(_)))
            };
            if doubted && gone() {
                lost.push((*hash, row));
            }
            true
        })?;
        tracing::info!("{} blocks had not reached the disk when it lost power", lost.len());
        let exclusive = self.exclusive();
        let mut change = Change::default();
        lost.iter().for_each(|(hash, row)| change.delete_block(hash, *row));
        self.apply(change, &exclusive)
    }

    /// Gives the space of freed blocks back, as far as it is worth the writing.
    ///
    /// # Errors
    /// The database's.
    pub fn compact(&self) -> Result<(), StoreError> {
        for extent in self.victims(IDLE_PERCENT) {
            self.empty(extent.id)?;
        }
        self.compact_rows().map(drop)
    }

    /// Gives the space of rows back, once enough of them went; tells whether they had.
    pub(super) fn compact_rows(&self) -> Result<bool, StoreError> {
        let freed = self.counters.freed_since_compaction();
        if freed < ROWS_GONE_MIN
            || freed.saturating_mul(ROWS_GONE) < self.totals().0.saturating_add(freed)
        {
            return Ok(false);
        }
        self.counters.compacted();
        self.backend.compact()?;
        Ok(true)
    }
}

/// Part of a segment that must be dead before it is emptied when there is nothing better to do.
pub const IDLE_PERCENT: u64 = 12;
/// Rows that must have gone, at least.
const ROWS_GONE_MIN: u64 = 4096;
/// One row in so many must have gone before all of them are compacted.
const ROWS_GONE: u64 = 8;

//! A change of rows together with what it means for segments: the one way in which index rows come
//! and go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::backend::{Batch, Family};
use super::intents::Intent;
use super::keys::{self, Figure, IndexRow};
use super::segments::record;
use super::{Core, StoreError};
use crate::ipld::cid::Multihash;

/// The exclusive side of the rows' lock: rows that were read stay as they are until it is let go.
pub(super) struct Exclusive<'a>(
    #[allow(dead_code, reason = "held, not used")] RwLockWriteGuard<'a, ()>,
);

/// Counts whatever makes blocks be here that were not. As long as it stands still, what was looked for
/// and absent is absent: nobody need look again.
#[derive(Default)]
pub(super) struct Arrivals(AtomicU64);

/// A moment between two arrivals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(u64);

impl Arrivals {
    /// Now.
    pub fn moment(&self) -> Moment {
        Moment(self.0.load(Ordering::SeqCst))
    }

    /// Something is about to be here. Gives the moments before and after it.
    pub fn come(&self) -> (Moment, Moment) {
        let before = self.0.fetch_add(1, Ordering::SeqCst);
        (Moment(before), Moment(before.wrapping_add(1)))
    }
}

/// What is known of blocks whose rows are to be written.
#[derive(Clone, Copy, Default)]
pub(super) struct Coming {
    /// Since when they have been looked for and absent: they are not looked for again unless something
    /// arrived.
    pub absent: Option<Moment>,
    /// Whether their bytes are on the disk.
    pub synced: bool,
}

/// Rows to write together, and figures that go with them.
#[derive(Default)]
pub(super) struct Change {
    pub rows: Batch,
    figures: BTreeMap<u32, Figure>,
}

impl Change {
    /// Puts the index row of a block.
    pub fn put_block(&mut self, hash: &Multihash, row: IndexRow) {
        let length = record::length(hash, row.size);
        let figure = Figure {
            bytes: signed(length),
            blocks: 1,
            end: u64::from(row.place.offset).saturating_add(length),
            synced: 0,
        };
        self.count(row, figure);
        self.rows.put(Family::Index, keys::block(hash), row.encode());
    }

    /// The block's record is not pointed to any more; the row that pointed there goes or is replaced.
    pub fn leave_record(&mut self, hash: &Multihash, row: IndexRow) {
        let bytes = signed(record::length(hash, row.size)).saturating_neg();
        self.count(row, Figure { bytes, blocks: -1, ..Figure::default() });
    }

    /// Deletes the index row of a block.
    pub fn delete_block(&mut self, hash: &Multihash, row: IndexRow) {
        self.leave_record(hash, row);
        self.rows.delete(Family::Index, keys::block(hash));
    }

    /// Says that nothing may hold the block, which was last used at that hour.
    pub fn loosen(&mut self, hash: &Multihash, hour: u32) {
        self.rows.put(Family::Loose, keys::block(hash), keys::hour(hour));
    }

    /// Says that something holds the block for certain.
    pub fn claim(&mut self, hash: &Multihash) {
        self.rows.delete(Family::Loose, keys::block(hash));
    }

    fn count(&mut self, row: IndexRow, figure: Figure) {
        let sum = self.figures.entry(row.place.segment).or_default();
        *sum = sum.and(figure);
    }
}

fn signed(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

impl Core {
    /// Waits until nobody reads rows to rely on them, and keeps everybody off. For work of a few
    /// milliseconds that never waits for the disk.
    pub(super) fn exclusive(&self) -> Exclusive<'_> {
        Exclusive(self.rows.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps off whoever deletes, while a block is noted and looked for.
    pub(super) fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a block in an intent, and tells what the index says of it: that stays true while the
    /// intent lives. One that was found damaged is not here.
    ///
    /// # Errors
    /// The database's.
    pub fn look(&self, intent: &Intent, hash: &Multihash) -> Result<Option<IndexRow>, StoreError> {
        let _shared = self.shared();
        intent.note(hash);
        self.sound_row(hash)
    }

    /// Begins an intent. What it notes is not deleted before it ends.
    pub fn intend(&self) -> Intent {
        self.intents.begin()
    }

    /// Writes a change. It survives a power loss from the next [`Core::sync`] on.
    ///
    /// # Errors
    /// The database's; nothing has changed then.
    pub(super) fn apply(&self, mut change: Change, _: &Exclusive<'_>) -> Result<(), StoreError> {
        let marks = self.segments.synced_since();
        for (id, synced) in &marks {
            let figure = change.figures.entry(*id).or_default();
            *figure = figure.and(Figure { synced: *synced, ..Figure::default() });
        }
        for (id, figure) in &change.figures {
            change.rows.put(Family::Segments, keys::segment(*id), figure.encode());
        }
        if change.rows.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.backend.write(change.rows) {
            self.segments.tell_again(marks);
            return Err(error.into());
        }
        self.counters.changed();
        self.segments.note(&change.figures);
        Ok(())
    }

    /// Adds the index rows of blocks whose records are written. A block that somebody else put
    /// meanwhile stays as it is; one that was damaged gets its new record, and so does one whose bytes
    /// are not on the disk yet, if these are: what is about to be held must not hang on another's sync.
    /// Gives those that were added and that nothing is known to hold. `coming` is true of what comes
    /// after these, too.
    ///
    /// # Errors
    /// The database's.
    pub(super) fn put_rows<'r>(
        &self,
        rows: impl IntoIterator<Item = &'r (Multihash, IndexRow)>,
        coming: &mut Coming,
        change: &mut Change,
        _: &Exclusive<'_>,
    ) -> Result<Vec<Multihash>, StoreError> {
        let mut new = Vec::new();
        for (hash, row) in rows {
            // In this order: who lifts a quarantine counts first.
            let looked =
                !self.is_quarantined(hash) && coming.absent == Some(self.arrivals.moment());
            let old = if looked { None } else { self.index_row(&keys::block(hash))? };
            match old {
                None => new.push(*hash),
                Some(old) if self.is_quarantined(hash) => {
                    change.leave_record(hash, old);
                    self.segments.mark_damaged(old.place.segment, false);
                }
                Some(old) if coming.synced && !self.is_synced(hash, old) => {
                    change.leave_record(hash, old);
                }
                Some(_) => continue,
            }
            change.put_block(hash, *row);
            self.lift_with(hash, &mut change.rows);
        }
        let (before, after) = self.arrivals.come();
        coming.absent = coming.absent.filter(|moment| *moment == before).map(|_| after);
        Ok(new)
    }

    /// Whether a record is on the disk.
    fn is_synced(&self, hash: &Multihash, row: IndexRow) -> bool {
        let end = u64::from(row.place.offset).saturating_add(record::length(hash, row.size));
        self.segments.synced(row.place.segment) >= end
    }

    /// Waits until everything written before the call is on the disk.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        Ok(self.backend.sync()?)
    }

    /// When the block was last used, if nothing may hold it.
    pub(super) fn loose(&self, hash: &Multihash) -> Result<Option<u32>, StoreError> {
        let row: Option<Bytes> = self.backend.get(Family::Loose, &keys::block(hash))?;
        Ok(row.map(|value| keys::split_hour(&value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid::{digest, hash};
    use crate::store::Store;
    use crate::store::segments::Stream;

    /// A fetch puts a block between an import's sync and its rows: the import's pin would have hung on
    /// bytes that a power loss takes.
    #[test]
    fn a_pin_hung_on_bytes_that_another_had_not_synced() {
        let core = Store::in_memory().unwrap().core();
        let data = Bytes::from_static(b"block");
        let hash = digest(hash::SHA2_256, &data).unwrap();
        let records = [(hash, data)];
        let row = |place| IndexRow { size: 5, flags: 0, place };
        let put = |stream, coming: Coming| {
            let (places, _lease) = core.segments.append(stream, &records).unwrap();
            if stream == Stream::Added {
                core.segments.sync().unwrap();
            }
            let row = row(places[0]);
            (row, move |core: &Core| {
                let (exclusive, mut change) = (core.exclusive(), Change::default());
                let rows = [(hash, row)];
                core.put_rows(&rows, &mut { coming }, &mut change, &exclusive).unwrap();
                core.apply(change, &exclusive).unwrap();
            })
        };
        let absent = Some(core.arrivals.moment());
        let (ours, put_ours) = put(Stream::Added, Coming { absent, synced: true });
        let (fetched, put_fetched) = put(Stream::Fetched, Coming { absent, synced: false });
        put_fetched(&core);
        assert_eq!(core.index_row(&keys::block(&hash)).unwrap(), Some(fetched));
        put_ours(&core);
        assert_eq!(core.index_row(&keys::block(&hash)).unwrap(), Some(ours));
        assert_eq!(core.totals(), (1, record::length(&hash, 5)));
        // On the disk, it stays as it is.
        let (_, put_again) = put(Stream::Added, Coming { absent: None, synced: true });
        put_again(&core);
        assert_eq!(core.index_row(&keys::block(&hash)).unwrap(), Some(ours));
    }
}

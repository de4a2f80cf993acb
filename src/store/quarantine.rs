//! Blocks whose bytes were found lost or changed on the disk: remembered, so that they count as
//! absent, and whoever puts or fetches them writes them anew.
//!
//! Kept in memory and in `meta`, at most [`ROWS_MAX`] of them: a disk that loses more is past
//! healing, and a block beyond the bound is reported at every read all the same. A row is a hint,
//! never the truth: every read of such a block looks at its bytes again, and right ones lift it.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::backend::{Batch, Family};
use super::change::Change;
use super::edges::Held;
use super::{Core, StoreError, keys, lock};
use crate::ipld::block::Block;
use crate::ipld::cid::{self, Cid, Multihash};

/// Blocks that are remembered; about 6 MiB of memory.
pub const ROWS_MAX: usize = 64 << 10;
/// Characters of a cause that are kept.
const CAUSE_MAX: usize = 256;

/// What is known to be damaged.
#[derive(Default)]
pub(super) struct Quarantine {
    known: Mutex<HashSet<Multihash>>,
    /// How many are known: none, nearly always, which every look-up learns without the lock.
    count: AtomicUsize,
}

impl Quarantine {
    /// Takes the lock, does something, and counts again.
    fn change<T>(&self, work: impl FnOnce(&mut HashSet<Multihash>) -> T) -> T {
        let mut known = lock(&self.known);
        let done = work(&mut known);
        self.count.store(known.len(), Ordering::Release);
        done
    }
}

impl Core {
    /// Takes up what earlier processes found. A family `meta` that cannot be read stops nothing
    /// here: what is damaged is found again by whoever reads it.
    pub(super) fn load_quarantine(&self) {
        let rows = self.rows(Family::Meta, keys::META_QUARANTINE).take(ROWS_MAX);
        self.quarantine.change(|known| {
            for row in rows {
                match row {
                    Ok((key, _)) => known.extend(keys::quarantined(&key)),
                    Err(error) => {
                        tracing::info!("cannot read which blocks are damaged: {error}");
                        return;
                    }
                }
            }
        });
    }

    /// Whether the block's bytes were found damaged, and not written anew since.
    pub fn is_quarantined(&self, hash: &Multihash) -> bool {
        self.quarantined() > 0 && lock(&self.quarantine.known).contains(hash)
    }

    /// Number of blocks that are known to be damaged.
    pub fn quarantined(&self) -> usize {
        self.quarantine.count.load(Ordering::Acquire)
    }

    /// Remembers a block as damaged. It is read once more under the lock that lifting takes, since
    /// it may have been written anew since the caller read it; gives it, if so.
    ///
    /// # Errors
    /// The reason of the second look, which is what the caller is to be told.
    pub(super) fn to_quarantine(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        self.quarantine.change(|known| {
            let looked = self.read(cid, true);
            if let Err(error @ StoreError::Corrupt { cause, .. }) = &looked
                && known.len() < ROWS_MAX
                && known.insert(*cid.hash())
            {
                tracing::info!("{error}; it counts as absent until it is put or fetched again");
                self.note(cid.hash(), cause);
            }
            looked
        })
    }

    fn note(&self, hash: &Multihash, cause: &str) {
        let cause: String = cause.chars().take(CAUSE_MAX).collect();
        let mut batch = Batch::default();
        batch.put(Family::Meta, keys::quarantine(hash), cause.into());
        if let Err(unwritten) = self.backend.write(batch) {
            // The disk has worse troubles; the next process finds the block again.
            tracing::info!("cannot note that a block is damaged: {unwritten}");
        }
    }

    /// Adds to a batch that writes or deletes the block: its row in the quarantine goes with it.
    /// [`Self::lifted`] is to follow the write.
    pub(super) fn lift_with(&self, hash: &Multihash, batch: &mut Batch) {
        if self.is_quarantined(hash) {
            batch.delete(Family::Meta, keys::quarantine(hash));
        }
    }

    /// The batch of [`Self::lift_with`] is written.
    pub(super) fn lifted<'a>(&self, hashes: impl IntoIterator<Item = &'a Multihash>) {
        if self.quarantined() > 0 {
            self.quarantine
                .change(|known| hashes.into_iter().for_each(|hash| _ = known.remove(hash)));
        }
    }

    /// A quarantined block read right after all: a cable or a controller, not the disk.
    pub(super) fn lift(&self, hash: &Multihash) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        self.lift_with(hash, &mut batch);
        self.backend.write(batch)?;
        self.arrivals.come();
        self.lifted([hash]);
        Ok(())
    }

    /// Deletes a block whose bytes are damaged, held or not: it can only be fetched again. Edges
    /// stay, since they say what it linked to. Tells whether it went: not while an operation relies on
    /// it.
    ///
    /// # Errors
    /// The database's.
    pub fn drop_damaged(&self, hash: &Multihash) -> Result<bool, StoreError> {
        let exclusive = self.exclusive();
        if self.intents.noted(hash) {
            return Ok(false);
        }
        match self.read(&cid::of_hash(hash), true) {
            Err(StoreError::Corrupt { .. }) => {}
            other => return other.map(|_| false),
        }
        let mut change = Change::default();
        if let Some(row) = self.index_row(&keys::block(hash))? {
            change.delete_block(hash, row);
            self.segments.mark_damaged(row.place.segment, false);
        }
        // One that is held stays known as lost, so that nobody takes for whole what lies above it.
        let held = self.held(hash)? != Held::Not;
        match held {
            true => change.rows.put(Family::Meta, keys::quarantine(hash), "dropped".into()),
            false => change.rows.delete(Family::Meta, keys::quarantine(hash)),
        }
        self.apply(change, &exclusive)?;
        self.quarantine.change(|known| match held {
            true => known.insert(*hash),
            false => known.remove(hash),
        });
        drop(exclusive);
        self.sync()?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::block::Prefix;
    use crate::ipld::cid::codec;
    use crate::store::{Store, Tuning};

    #[test]
    fn wrong_bytes_under_a_right_checksum_are_found_where_reads_are_hashed() {
        let truth = Block::hashed(Prefix::v1(codec::RAW), "truth".into()).unwrap();
        let cid = *truth.cid();
        for hash_on_read in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let tuning = Tuning { hash_on_read, limit: 0 };
            let store = Store::open_with(dir.path(), tuning).unwrap();
            let core = store.core();
            let put = |block: &Block| {
                let mut writer = core.writer();
                writer.put(block).unwrap();
                writer.commit(&[]).unwrap();
            };
            put(&Block::from_store(cid, "a lie".into()));
            let found = core.get(&cid);
            if !hash_on_read {
                assert_eq!(found.unwrap().unwrap().data(), &"a lie");
                continue;
            }
            assert!(matches!(found, Err(StoreError::Corrupt { .. })), "{found:?}");
            assert!(core.is_quarantined(cid.hash()) && core.stat(&cid).unwrap().is_none());
            put(&truth);
            assert_eq!(core.get(&cid).unwrap(), Some(truth.clone()));
        }
    }
}

//! Making rows again: of a database that is damaged, pins are read out, and the rest is told by
//! segments, which name their own records.
//!
//! Blocks that were deleted and whose segment is not come back as loose ones. Edges are made again by
//! walking each pin. A pin below which blocks are missing stays, and while there is one, nothing is
//! collected: what it holds is not known. Records of the network are learned again.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::backend::{Backend as _, BackendError, Family, Row};
use super::change::{Change, Coming};
use super::keys::{Figure, IndexRow, Place};
use super::pin::Pin;
use super::rocks::Rocks;
use super::room::Room;
use super::segments::medium::{Folder, Medium as _};
use super::{Core, ROWS, SEGMENTS, StoreError, keys, this_hour};
use crate::ipld::cid::Multihash;

/// Rows written together.
const ROWS_TOGETHER: usize = 1024;
/// The folder in which rows are made, beside that of the database.
const MADE: &str = "rows.new";

/// Opens the database of a store; one that is damaged, or gone while there are segments, is made again.
///
/// # Errors
/// [`BackendError::Damaged`] names the file where nothing can be read out of what is there: the log, or
/// what lists the tables.
pub fn open(dir: &Path, log_max: u64) -> Result<Rocks, StoreError> {
    let (rows, made) = (dir.join(ROWS), dir.join(MADE));
    let failed = |e: std::io::Error| BackendError::Failed(format!("{}: {e}", dir.display()));
    if made.exists() {
        // A process died while it made them: from the beginning.
        std::fs::remove_dir_all(&made).map_err(failed)?;
    }
    let pins = match Rocks::open(&rows, log_max) {
        Ok(rocks) if Rocks::is_damaged(&rows) => {
            drop(rocks);
            pins_of(&Rocks::salvage(&rows)?)
        }
        Ok(rocks) => {
            let new = rocks.get(Family::Meta, keys::META_LAYOUT)?.is_none();
            let segments = Folder::open(&dir.join(SEGMENTS)).and_then(|folder| folder.list());
            if !new || segments.map_err(failed)?.is_empty() {
                return Ok(rocks);
            }
            tracing::warn!("{} is gone, and all pins with it", rows.display());
            Salvaged::default()
        }
        Err(error @ BackendError::Damaged(_)) => match Rocks::salvage(&rows) {
            Ok(salvaged) => pins_of(&salvaged),
            Err(_) => return Err(error.into()),
        },
        Err(error) => return Err(error.into()),
    };
    tracing::warn!("rows of {} are damaged: making them again from segments", dir.display());
    make(dir, &pins, log_max)?;
    let exchange = rustix::fs::RenameFlags::EXCHANGE;
    let here = rustix::fs::CWD;
    rustix::fs::renameat_with(here, &made, here, &rows, exchange).map_err(|e| failed(e.into()))?;
    std::fs::File::open(dir).and_then(|folder| folder.sync_all()).map_err(failed)?;
    std::fs::remove_dir_all(&made).map_err(failed)?;
    Ok(Rocks::open(&rows, log_max)?)
}

/// What was read out of a damaged database.
#[derive(Default)]
struct Salvaged {
    pins: Vec<Pin>,
    /// Whether one of the two copies could be read to its end.
    all: bool,
    /// Rows of tenants, as they are, but for sums.
    tenants: Vec<Row>,
}

/// Every pin that either copy tells.
fn pins_of(salvaged: &Rocks) -> Salvaged {
    let (mut pins, mut all) = (BTreeMap::new(), false);
    for family in [Family::PinsAgain, Family::Pins] {
        let (rows, whole) = salvaged.readable(family);
        all |= whole;
        for (key, value) in rows {
            if let Ok(pin) = Pin::decode(&key, &value) {
                pins.insert(key, pin);
            }
        }
    }
    let (mut tenants, whole) = salvaged.readable(Family::Tenants);
    // Sums may lack some of what they count: they are made again of what is there.
    tenants.retain(|(key, _)| !keys::tenants::is_sum(key));
    if !whole {
        tracing::warn!("not all rows of tenants could be read: what they asked for may be lost");
    }
    Salvaged { pins: pins.into_values().collect(), all, tenants }
}

/// Makes rows in a folder of their own.
fn make(dir: &Path, salvaged: &Salvaged, log_max: u64) -> Result<(), StoreError> {
    let failed = |e: std::io::Error| BackendError::Failed(format!("{}: {e}", dir.display()));
    let folder = Folder::open(&dir.join(SEGMENTS)).map_err(failed)?;
    let rocks = Rocks::open(&dir.join(MADE), log_max)?;
    let mut known = super::backend::Batch::default();
    for (id, length) in folder.list().map_err(failed)? {
        // Nothing of it is to be cut off before it is read.
        let figure = Figure { end: length, synced: length, ..Figure::default() };
        known.put(Family::Segments, keys::segment(id), figure.encode());
    }
    if !salvaged.all {
        tracing::warn!("pins may have been lost: nothing is collected until `repo verify --drop`");
        known.put(Family::Meta, keys::META_PINS_LOST.into(), bytes::Bytes::new());
    }
    rocks.write(known)?;
    for rows in salvaged.tenants.chunks(ROWS_TOGETHER) {
        let mut again = super::backend::Batch::default();
        rows.iter().for_each(|(key, row)| again.put(Family::Tenants, key.clone(), row.clone()));
        rocks.write(again)?;
    }
    let core = Core::over(Box::new(rocks), Box::new(folder), Room::new(0, u64::MAX))?;
    let blocks = core.index_again()?;
    let mut missing = 0;
    for pin in &salvaged.pins {
        match core.pin(pin) {
            Ok(()) => {}
            Err(
                StoreError::Missing(_) | StoreError::Corrupt { .. } | StoreError::Unreadable { .. },
            ) => {
                missing += 1;
                core.pin_incomplete(pin)?;
            }
            Err(error) => return Err(error),
        }
    }
    let whole = salvaged.pins.len().saturating_sub(missing);
    tracing::warn!("{blocks} blocks found again; {whole} pins are whole, {missing} lack blocks");
    core.backend.flush()?;
    core.sync()
}

impl Core {
    /// Makes index rows of every record that can be read; all blocks are loose. Gives their number.
    fn index_again(&self) -> Result<usize, StoreError> {
        // Of several records of a block in one batch the first counts, of those in several, too.
        let (mut met, mut rows, mut blocks) = (HashSet::new(), Vec::new(), 0);
        for extent in self.segments.extents() {
            let mut from = 0;
            while from < extent.length {
                let scanned =
                    self.segments.scan(extent.id, from, extent.length, &mut |offset, read| {
                        let Ok(record) = read else { return Ok(()) };
                        let place = Place { segment: extent.id, offset };
                        let size = u32::try_from(record.data.len()).unwrap_or(u32::MAX);
                        if met.insert(record.hash) {
                            rows.push((record.hash, IndexRow { size, flags: 0, place }));
                        }
                        if rows.len() >= ROWS_TOGETHER {
                            blocks += self.put_loose(&std::mem::take(&mut rows))?;
                            met.clear();
                        }
                        Ok::<_, StoreError>(())
                    });
                // Where a head is damaged, another record begins somewhere behind it.
                let next = scanned.and_then(|end| match end {
                    Some((at, _)) => {
                        Ok(self.segments.next_record(extent.id, at + 1, extent.length)?)
                    }
                    None => Ok(None),
                });
                match next {
                    Ok(Some(next)) => from = next,
                    Ok(None) => break,
                    Err(StoreError::Backend(BackendError::Damaged(cause))) => {
                        tracing::warn!("the rest of segment {} cannot be read: {cause}", extent.id);
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        blocks += self.put_loose(&rows)?;
        Ok(blocks)
    }

    /// Puts rows of blocks that have none; gives their number.
    fn put_loose(&self, rows: &[(Multihash, IndexRow)]) -> Result<usize, StoreError> {
        let exclusive = self.exclusive();
        let mut change = Change::default();
        let new = self.put_rows(rows, &mut Coming::default(), &mut change, &exclusive)?;
        new.iter().for_each(|hash| change.loosen(hash, this_hour()));
        self.apply(change, &exclusive)?;
        Ok(new.len())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::Store;
    use crate::store::tenants::TenantBatch;

    #[test]
    fn rows_of_tenants_are_taken_over_as_they_are_and_sums_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let row = |n: u32| Bytes::from(n.to_be_bytes().to_vec());
        let core = Store::open(folder.path()).unwrap().core();
        let mut batch = TenantBatch::default();
        (0..3000).for_each(|n| batch.put(row(n), row(n / 2)));
        batch.put(keys::tenants::used(7), row(9));
        batch.put([keys::tenants::holdings(), b"dag"].concat().into(), row(9));
        core.write_tenants(batch).unwrap();
        core.backend.flush().unwrap();
        drop(core);
        std::fs::write(folder.path().join(ROWS).join("DAMAGED"), "").unwrap();
        let core = Store::open(folder.path()).unwrap().core();
        assert!(!Rocks::is_damaged(&folder.path().join(ROWS)));
        let rows = core.tenant_rows(b"", None, 9999).unwrap();
        assert!(rows.into_iter().eq((0..3000).map(|n| (row(n), row(n / 2)))));
    }
}

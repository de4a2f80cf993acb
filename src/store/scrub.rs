//! Scrubbing: reading all segments through, and then all rows, so that what a disk lost is found while
//! others still have it. A round goes on where it stood when the process ends.

use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};

use super::backend::{BackendError, Batch, Family};
use super::keys::{self, IndexRow, Place};
use super::{Core, StoreError};
use crate::ipld::block::Block;
use crate::ipld::cid::{self, Cid, Multihash};

/// Rows read at a time.
const ROWS: usize = 256;

/// What a step of a round may take; it ends with the record or the rows with which it comes to one of
/// the two.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Bytes that are read.
    pub bytes: u64,
    /// Time. Small blocks cost more of it than their bytes say.
    pub time: Duration,
}

/// How far a round has come, and when the last one ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrub {
    /// The segment that is read, and from where on; the first one that is not older.
    pub segment: u32,
    /// Offset of the next record, in bytes.
    pub offset: u64,
    /// When the last round ended, in seconds since 1970; 0 for never.
    pub ended: u64,
    /// Bytes read in this round.
    pub bytes: u64,
    /// Blocks found damaged in this round.
    pub damaged: u64,
    /// Where reading rows stands, once segments are read: the family's place in [`Family::ALL`], and
    /// the key of the last row.
    pub rows: Option<(u8, Bytes)>,
}

/// What a step of a round found.
#[derive(Debug, Default)]
pub struct Scrubbed {
    /// Blocks whose bytes are damaged, and that count as absent.
    pub damaged: Vec<Cid>,
    /// Bytes read.
    pub bytes: u64,
    /// Whether the round is at its end.
    pub ended: bool,
}

impl Scrub {
    /// Whether a round has been begun, and is not at its end.
    pub fn is_begun(&self) -> bool {
        self.segment > 0 || self.offset > 0 || self.rows.is_some()
    }

    /// 36 bytes, big-endian, and behind them what is said of rows: the family and the key.
    fn encode(&self) -> Bytes {
        let numbers = [self.offset, self.ended, self.bytes, self.damaged];
        let mut out = self.segment.to_be_bytes().to_vec();
        out.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        if let Some((family, key)) = &self.rows {
            out.push(*family);
            out.extend_from_slice(key);
        }
        out.into()
    }

    fn decode(mut value: &[u8]) -> Option<Self> {
        let segment = value.try_get_u32().ok()?;
        let mut next = || value.try_get_u64().ok();
        let (offset, ended, bytes, damaged) = (next()?, next()?, next()?, next()?);
        let rows = value.split_first();
        let rows = rows.map(|(family, key)| (*family, Bytes::copy_from_slice(key)));
        Some(Self { segment, offset, ended, bytes, damaged, rows })
    }
}

impl Core {
    /// How far scrubbing has come. One that cannot be read begins anew.
    ///
    /// # Errors
    /// The database's.
    pub fn scrub_state(&self) -> Result<Scrub, StoreError> {
        let row = self.backend.get(Family::Meta, keys::META_SCRUB)?;
        Ok(row.and_then(|value| Scrub::decode(&value)).unwrap_or_default())
    }

    /// Reads a share further, hashes the blocks that are needed, and remembers how far it came. `now` is
    /// in seconds since 1970.
    ///
    /// # Errors
    /// The database's.
    pub fn scrub(&self, share: Share, now: u64) -> Result<Scrubbed, StoreError> {
        let (mut state, since) = (self.scrub_state()?, Instant::now());
        let mut found = Scrubbed::default();
        let enough = |bytes: u64| bytes >= share.bytes || since.elapsed() >= share.time;
        if state.rows.is_none() && self.scrub_segments(&mut state, &mut found, &enough)? {
            state.rows = Some((0, Bytes::new()));
        }
        while let Some((family, after)) = state.rows.take() {
            state.rows = self.scrub_rows(family, &after, &mut found);
            found.ended = state.rows.is_none();
            if enough(found.bytes) {
                break;
            }
        }
        state.bytes = state.bytes.saturating_add(found.bytes);
        state.damaged = state.damaged.saturating_add(found.damaged.len() as u64);
        if found.ended {
            state = Scrub { segment: 0, offset: 0, ended: now, ..state };
        }
        let mut batch = Batch::default();
        batch.put(Family::Meta, keys::META_SCRUB.into(), state.encode());
        self.backend.write(batch)?;
        Ok(found)
    }

    /// Reads records further until that is enough; whether it came to the end of the last segment.
    fn scrub_segments(
        &self,
        state: &mut Scrub,
        found: &mut Scrubbed,
        enough: &dyn Fn(u64) -> bool,
    ) -> Result<bool, StoreError> {
        let extents = self.segments.extents();
        let first = state.segment;
        for extent in extents.iter().filter(|extent| extent.id >= first) {
            let from = if extent.id == state.segment { state.offset } else { 0 };
            state.segment = extent.id;
            state.offset = self.scrub_segment(extent.id, (from, extent.length), found, enough)?;
            if enough(found.bytes) {
                break;
            }
        }
        Ok(extents.last().is_none_or(|extent| {
            extent.id < state.segment
                || (extent.id == state.segment && state.offset >= extent.length)
        }))
    }

    /// Reads some rows of a family; where to go on. What is damaged is noted, and made again at the
    /// next opening: nothing behind it in its family could be reached.
    fn scrub_rows(&self, family: u8, after: &[u8], found: &mut Scrubbed) -> Option<(u8, Bytes)> {
        let name = *Family::ALL.get(usize::from(family))?;
        let after = (!after.is_empty()).then_some(after);
        let page = self.backend.page(name, b"", after, ROWS).unwrap_or_else(|error| {
            tracing::warn!("scrubbing rows: {error}");
            Vec::new()
        });
        let bytes = page.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        found.bytes = found.bytes.saturating_add(bytes as u64);
        let last = page.last().filter(|_| page.len() == ROWS).map(|(key, _)| key.clone());
        let next = last.map_or((family.saturating_add(1), Bytes::new()), |last| (family, last));
        (usize::from(next.0) < Family::ALL.len()).then_some(next)
    }

    /// Reads every row: what is damaged is noted, and made again at the next opening.
    ///
    /// # Errors
    /// [`BackendError::Damaged`], with the first that is.
    pub fn check_rows(&self) -> Result<(), StoreError> {
        Family::ALL
            .into_iter()
            .try_for_each(|family| self.rows(family, b"").try_for_each(|row| row.map(drop)))
    }

    /// Begins a round: counts from nothing.
    ///
    /// # Errors
    /// The database's.
    pub fn begin_scrub(&self) -> Result<(), StoreError> {
        let ended = self.scrub_state()?.ended;
        let mut batch = Batch::default();
        let state = Scrub { ended, ..Scrub::default() };
        batch.put(Family::Meta, keys::META_SCRUB.into(), state.encode());
        Ok(self.backend.write(batch)?)
    }

    /// Reads records from an offset on, at least one if there is; gives where it stopped.
    fn scrub_segment(
        &self,
        id: u32,
        (from, length): (u64, u64),
        found: &mut Scrubbed,
        enough: &dyn Fn(u64) -> bool,
    ) -> Result<u64, StoreError> {
        let mut at = from;
        let scanned = self.segments.scan(id, from, length, &mut |offset, record| {
            if u64::from(offset) > from && enough(found.bytes) {
                return Err(Stop::Enough);
            }
            let Ok(record) = record else { return Err(Stop::Broken) };
            let place = Place { segment: id, offset };
            let size = u32::try_from(record.data.len()).unwrap_or(u32::MAX);
            let read = super::segments::record::length(&record.hash, size);
            at = u64::from(offset).saturating_add(read);
            found.bytes = found.bytes.saturating_add(read);
            let row = self.index_row(&keys::block(&record.hash)).map_err(Stop::Failed)?;
            let needed = row.is_some_and(|row| row.place == place);
            let cid = cid::of_hash(&record.hash);
            if needed && Block::verified(cid, record.data).is_err() {
                found.damaged.extend(self.condemn(&record.hash));
            }
            Ok(())
        });
        match scanned {
            Ok(None) | Err(Stop::Enough) => Ok(at),
            Err(Stop::Failed(error)) => Err(error),
            // What lies behind is found by the index: a pass over it, and the segment is done.
            Ok(Some(_)) | Err(Stop::Broken) => {
                self.scrub_by_index(id, at, found)?;
                found.bytes = found.bytes.saturating_add(length.saturating_sub(at));
                Ok(length)
            }
        }
    }

    fn scrub_by_index(&self, id: u32, from: u64, found: &mut Scrubbed) -> Result<(), StoreError> {
        let mut rows: Vec<(Multihash, IndexRow)> = Vec::new();
        self.each_block(&mut |hash, row| {
            if row.place.segment == id && u64::from(row.place.offset) >= from {
                rows.push((*hash, row));
            }
            true
        })?;
        for (hash, row) in rows {
            let read = self.segments.read(row.place, &hash, row.size);
            let right = |data| Block::verified(cid::of_hash(&hash), data).is_ok();
            if !read.is_ok_and(right) {
                found.damaged.extend(self.condemn(&hash));
            }
        }
        Ok(())
    }

    /// Remembers a block as damaged, if it still is. One that was known is told again: a peer may
    /// have it by now.
    fn condemn(&self, hash: &Multihash) -> Option<Cid> {
        let cid = cid::of_hash(hash);
        let looked = self.to_quarantine(&cid);
        matches!(looked, Err(StoreError::Corrupt { .. })).then_some(cid)
    }
}

/// Why a walk over records ends before the segment does.
enum Stop {
    Enough,
    Broken,
    Failed(StoreError),
}

impl From<BackendError> for Stop {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Damaged(_) => Self::Broken,
            other => Self::Failed(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::block::Prefix;
    use crate::ipld::cid::codec;
    use crate::store::Store;

    #[test]
    fn a_round_in_parts_reads_as_much_as_one_in_a_piece() {
        let store = Store::in_memory().unwrap();
        let core = store.core();
        let mut writer = core.writer();
        for n in 0..1000_u64 {
            let block = Block::hashed(Prefix::v1(codec::RAW), n.to_be_bytes().to_vec().into());
            writer.put(&block.unwrap()).unwrap();
        }
        writer.commit(&[]).unwrap();
        let day = Duration::from_secs(86_400);
        let mut whole = 0;
        for (bytes, time) in [(u64::MAX, day), (u64::MAX, Duration::ZERO), (1, day), (4000, day)] {
            core.begin_scrub().unwrap();
            let (mut steps, mut read) = (0, 0);
            loop {
                let found = core.scrub(Share { bytes, time }, 7).unwrap();
                (steps, read) = (steps + 1, read + found.bytes);
                assert!(found.damaged.is_empty());
                assert_ne!(core.scrub_state().unwrap().is_begun(), found.ended);
                if found.ended {
                    break;
                }
            }
            let state = core.scrub_state().unwrap();
            assert_eq!((state.ended, state.bytes, state.rows), (7, read, None));
            // The row that says how far it is grows by a key.
            whole = whole.max(read);
            assert!(read + 200 > whole && whole > 1000 * 40, "{read} of {whole} bytes");
            assert_eq!(steps == 1, bytes == u64::MAX && time == day, "{steps} steps");
            assert!(steps <= 1020, "{steps} steps: at least a record or a page of rows each");
        }
    }
}

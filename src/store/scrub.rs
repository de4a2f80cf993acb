//! Scrubbing: reading all segments through, so that what a disk lost is found while others still have
//! it. A round goes on where it stood when the process ends.

use bytes::{Buf as _, Bytes};

use super::backend::{BackendError, Batch, Family};
use super::keys::{self, IndexRow, Place};
use super::{Core, StoreError};
use crate::ipld::block::Block;
use crate::ipld::cid::{self, Cid, Multihash};

/// How far a round has come, and when the last one ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// 36 bytes, big-endian.
    fn encode(&self) -> Bytes {
        let rest = [self.offset, self.ended, self.bytes, self.damaged];
        let rest = rest.iter().flat_map(|number| number.to_be_bytes());
        self.segment.to_be_bytes().into_iter().chain(rest).collect()
    }

    fn decode(mut value: &[u8]) -> Option<Self> {
        let segment = value.try_get_u32().ok()?;
        let mut next = || value.try_get_u64().ok();
        let (offset, ended, bytes, damaged) = (next()?, next()?, next()?, next()?);
        Some(Self { segment, offset, ended, bytes, damaged })
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

    /// Reads about so many bytes of records further, hashes those that are needed, and remembers how
    /// far it came. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The database's.
    pub fn scrub(&self, bytes: u64, now: u64) -> Result<Scrubbed, StoreError> {
        let mut state = self.scrub_state()?;
        let mut found = Scrubbed::default();
        let extents = self.segments.extents();
        let first = state.segment;
        for extent in extents.iter().filter(|extent| extent.id >= first) {
            let from = if extent.id == state.segment { state.offset } else { 0 };
            let to = extent.length.min(from.saturating_add(bytes.saturating_sub(found.bytes)));
            state.segment = extent.id;
            state.offset = self.scrub_segment(extent.id, (from, to, extent.length), &mut found)?;
            if found.bytes >= bytes {
                break;
            }
        }
        let last = extents.last().is_none_or(|extent| {
            extent.id < state.segment
                || (extent.id == state.segment && state.offset >= extent.length)
        });
        state.bytes = state.bytes.saturating_add(found.bytes);
        state.damaged = state.damaged.saturating_add(found.damaged.len() as u64);
        if last {
            if let Err(error) = self.check_rows() {
                tracing::warn!("scrubbing rows: {error}");
            }
            found.ended = true;
            state = Scrub { segment: 0, offset: 0, ended: now, ..state };
        }
        let mut batch = Batch::default();
        batch.put(Family::Meta, keys::META_SCRUB.into(), state.encode());
        self.backend.write(batch)?;
        Ok(found)
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

    /// Reads records from one offset to behind another; gives where it stopped.
    fn scrub_segment(
        &self,
        id: u32,
        (from, to, length): (u64, u64, u64),
        found: &mut Scrubbed,
    ) -> Result<u64, StoreError> {
        let mut at = from;
        // The last record that begins before the end of the step is read whole.
        let scanned = self.segments.scan(id, from, length, &mut |offset, record| {
            if u64::from(offset) >= to {
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

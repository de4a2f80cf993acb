//! Garbage: blocks that no pin and no edge holds. Planned by pure reading, freed in small batches.
//!
//! An error while reading is an error of the whole plan, never an empty set: what cannot be read is
//! not known to be garbage.

use bytes::Bytes;

use super::backend::{Batch, Durability, Family};
use super::{Core, StoreError, keys, lock};
use crate::ipld::cid::{Cid, Multihash};

/// Index rows looked at in one step of a plan.
const STEP_ROWS: usize = 1024;

/// A block that nothing holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed {
    /// Which.
    pub hash: Multihash,
    /// Its size in bytes.
    pub size: u32,
}

/// One step of a plan: what to free, and where the next step begins.
#[derive(Debug)]
pub struct PlanStep {
    /// Garbage among the rows of this step.
    pub garbage: Vec<Freed>,
    /// Pass this to the next call; `None` after the last step.
    pub next: Option<Bytes>,
}

impl Core {
    /// Lets go of complete nodes that nothing holds: what a crash between two batches left. Run it
    /// before a plan.
    ///
    /// # Errors
    /// The database's. A node that cannot be read is let go by its rows.
    pub fn release_orphans(&self) -> Result<(), StoreError> {
        let _pinning = lock(&self.pinning);
        let mut last: Option<Multihash> = None;
        let mut unreadable = Vec::new();
        for row in self.rows(Family::Edges, b"") {
            let (key, _) = row?;
            let (hash, rest) =
                keys::split_hash(&key).ok_or_else(|| super::damaged("edges", &key))?;
            let marker = rest.is_empty() && last != Some(hash);
            last = Some(hash);
            if marker {
                self.release(&hash, &mut unreadable)?;
            }
        }
        self.release_unreadable(unreadable)
    }

    /// Deletes payload that operations wrote and died before its blocks existed. Callers make sure
    /// that no operation runs.
    ///
    /// # Errors
    /// The database's.
    pub fn sweep_pending(&self) -> Result<(), StoreError> {
        loop {
            let page = self.backend.page(Family::Meta, keys::META_PENDING, None, STEP_ROWS)?;
            let mut batch = Batch::default();
            for (key, _) in &page {
                let block = key.slice(keys::META_PENDING.len()..);
                if self.index_row(&block)?.is_none() {
                    batch.delete(Family::Payload, block);
                }
                batch.delete(Family::Meta, key.clone());
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.backend.write(batch, Durability::Logged)?;
        }
    }

    /// Looks at the next rows of the index and tells which blocks nothing holds.
    ///
    /// # Errors
    /// The database's.
    pub fn plan_garbage(&self, after: Option<&Bytes>) -> Result<PlanStep, StoreError> {
        let rows = self.backend.page(Family::Index, b"", after.map(Bytes::as_ref), STEP_ROWS)?;
        let full = rows.len() == STEP_ROWS;
        let next = rows.last().filter(|_| full).map(|(key, _)| key.clone());
        let mut garbage = Vec::new();
        for (key, value) in &rows {
            let damaged = || super::damaged("index", key);
            let (hash, _) = keys::split_hash(key).ok_or_else(damaged)?;
            let row = keys::IndexRow::decode(value).ok_or_else(damaged)?;
            if !self.is_held(&hash)? {
                garbage.push(Freed { hash, size: row.size });
            }
        }
        Ok(PlanStep { garbage, next })
    }

    /// Deletes blocks in one batch. Callers make sure that nothing holds them.
    ///
    /// # Errors
    /// The database's.
    pub fn free(&self, blocks: &[Freed]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for block in blocks {
            let key = keys::block(&block.hash);
            batch.delete(Family::Index, key.clone());
            batch.delete(Family::Payload, key);
            self.lift_with(&block.hash, &mut batch);
        }
        self.backend.write(batch, Durability::Logged)?;
        self.lifted(blocks.iter().map(|block| &block.hash));
        Ok(())
    }

    /// Deletes one block that nothing holds; tells whether it was here.
    ///
    /// # Errors
    /// [`StoreError::Pin`] when something holds it, or the database's.
    pub fn remove(&self, cid: &Cid) -> Result<bool, StoreError> {
        let _pinning = lock(&self.pinning);
        let Some(row) = self.index_row(&keys::block(cid.hash()))? else { return Ok(false) };
        if self.is_held(cid.hash())? {
            let how = match self.pin_state(cid)? {
                Some(super::PinState::Indirect(root)) => format!("pinned: indirect via {root}"),
                Some(super::PinState::Pinned(pin)) => match pin.mode {
                    super::Mode::Recursive => "pinned: recursive".to_owned(),
                    super::Mode::Direct => "pinned: direct".to_owned(),
                },
                None => "held by an unfinished operation: run 'repo gc' first".to_owned(),
            };
            return Err(StoreError::Pin(how));
        }
        // It may be an orphan with a marker, which must not outlive the bytes that tell its links.
        let mut unreadable = Vec::new();
        self.release(cid.hash(), &mut unreadable)?;
        self.release_unreadable(unreadable)?;
        self.free(&[Freed { hash: *cid.hash(), size: row.size }])?;
        Ok(true)
    }

    /// Gives the space of freed blocks back to the disk. That of payload stays where it is while
    /// the database would stumble over damage.
    ///
    /// # Errors
    /// The database's.
    pub fn compact(&self) -> Result<(), StoreError> {
        match self.payload_is_damaged()? {
            true => tracing::info!("payload is damaged and not compacted: space stays taken"),
            false => self.backend.compact(Family::Payload)?,
        }
        for family in [Family::Index, Family::Edges] {
            self.backend.compact(family)?;
        }
        Ok(())
    }
}

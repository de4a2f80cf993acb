//! The write path: one durable operation over any number of blocks.
//!
//! Small operations go through the log whole: blocks, index rows, edges and pin in one atomic,
//! synced batch. A large one writes payload without the log, so that content is written once, then
//! flushes it, and only then writes the index rows that make the blocks exist. A crash in between
//! leaves bytes nobody can see.

use std::collections::HashMap;

use bytes::Bytes;

use super::backend::{Batch, Durability, Family};
use super::edges::Blocks;
use super::keys::{self, FLAG_PB_LEAF, IndexRow};
use super::pins::Pin;
use super::{Core, StoreError, this_hour};
use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, Multihash, codec, hash};
use crate::ipld::codec::dag_pb;

/// Payload of an operation that still goes through the log, in bytes.
const SMALL_BYTES: usize = 4 << 20;
/// Index rows held back until their payload is flushed. Bounds memory at about 10 MiB, and what
/// a crash makes an interrupted import do again.
const ROWS_HELD_MAX: usize = 64 << 10;

/// Whether a block was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was not here, or its bytes were damaged.
    New,
    /// It was here already, or came earlier in the same operation.
    Known,
}

/// An operation in progress. Nothing of it is promised before [`Writer::commit`] returns; dropping
/// it leaves at most unpinned blocks.
pub struct Writer<'a> {
    core: &'a Core,
    payload: Batch,
    held: HashMap<Multihash, Held>,
    spilled: bool,
}

/// A block put but not yet visible.
struct Held {
    row: IndexRow,
    /// Its bytes, while they are in no database.
    data: Option<Bytes>,
}

impl Core {
    /// Puts blocks that nothing holds yet: fetched ones. They are here when this returns, and
    /// survive the death of the process; a pin's own batch makes them survive a power loss, as
    /// the log keeps its order. Gives those that were new.
    ///
    /// # Errors
    /// The database's; none of the blocks is then here.
    pub fn put_unpinned(&self, blocks: &[Block]) -> Result<Vec<Cid>, StoreError> {
        let (mut batch, mut new) = (Batch::default(), Vec::new());
        for block in blocks {
            let key = keys::block(block.cid().hash());
            let hash = block.cid().hash();
            if hash.code() == hash::IDENTITY || self.is_sound(hash, &key)? {
                continue;
            }
            self.lift_with(hash, &mut batch);
            batch.put(Family::Payload, key.clone(), block.data().clone());
            batch.put(Family::Index, key, row_of(block).encode());
            new.push(*block.cid());
        }
        if !batch.is_empty() {
            self.write_lifting(batch, &new)?;
        }
        Ok(new)
    }

    /// Begins an operation.
    pub fn writer(&self) -> Writer<'_> {
        Writer { core: self, payload: Batch::default(), held: HashMap::new(), spilled: false }
    }
}

impl Writer<'_> {
    /// Takes a block. Identity blocks carry themselves and are not stored.
    ///
    /// # Errors
    /// The database's; the operation is then to be dropped.
    pub fn put(&mut self, block: &Block) -> Result<Put, StoreError> {
        let hash = block.cid().hash();
        if hash.code() == hash::IDENTITY || self.held.contains_key(hash) {
            return Ok(Put::Known);
        }
        let key = keys::block(hash);
        if self.core.is_sound(hash, &key)? {
            return Ok(Put::Known);
        }
        let row = row_of(block);
        self.payload.put(Family::Payload, key, block.data().clone());
        self.held.insert(*hash, Held { row, data: Some(block.data().clone()) });
        if self.payload.bytes() >= SMALL_BYTES {
            self.spill()?;
        }
        if self.held.len() >= ROWS_HELD_MAX {
            self.settle()?;
        }
        Ok(Put::New)
    }

    /// Makes the operation durable, and `pins` with it: when this returns, a crash loses nothing.
    ///
    /// # Errors
    /// The database's, or what stands in the way of a pin ([`StoreError::Missing`] and the like);
    /// the blocks may then be here, unpinned.
    pub fn commit(mut self, pins: &[Pin]) -> Result<(), StoreError> {
        if self.spilled {
            self.settle()?;
        }
        let mut batch = std::mem::take(&mut self.payload);
        batch.append(self.index_rows());
        self.core.pin_with(pins, &self, batch)?;
        self.core.lifted(self.held.keys());
        Ok(())
    }

    /// Writes the payload gathered so far without the log. Rows that say so go ahead of it, or
    /// nobody could find its bytes again when the operation dies.
    fn spill(&mut self) -> Result<(), StoreError> {
        self.spilled = true;
        let mut pending = Batch::default();
        for (hash, _) in self.held.iter().filter(|(_, held)| held.data.is_some()) {
            pending.put(Family::Meta, keys::pending(hash), Bytes::new());
        }
        self.core.backend.write(pending, Durability::Logged)?;
        let payload = std::mem::take(&mut self.payload);
        self.core.backend.write(payload, Durability::Unlogged)?;
        self.held.values_mut().for_each(|held| held.data = None);
        Ok(())
    }

    /// Makes every block put so far exist: payload to the disk first, then the index rows.
    fn settle(&mut self) -> Result<(), StoreError> {
        self.spill()?;
        self.core.flush_payload()?;
        let rows = self.index_rows();
        self.core.backend.write(rows, Durability::Synced)?;
        self.core.lifted(self.held.keys());
        self.held.clear();
        Ok(())
    }

    fn index_rows(&self) -> Batch {
        let mut rows = Batch::default();
        for (hash, held) in &self.held {
            rows.put(Family::Index, keys::block(hash), held.row.encode());
            self.core.lift_with(hash, &mut rows);
            if self.spilled {
                rows.delete(Family::Meta, keys::pending(hash));
            }
        }
        rows
    }
}

/// Blocks of the operation come before those of the store: a small one is pinned before it exists.
impl Blocks for Writer<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        match self.held.get(cid.hash()).and_then(|held| held.data.clone()) {
            Some(data) => Ok(Some(Block::from_store(*cid, data))),
            None => self.core.get(cid),
        }
    }

    fn row(&self, cid: &Cid) -> Result<Option<IndexRow>, StoreError> {
        match self.held.get(cid.hash()) {
            Some(held) => Ok(Some(held.row)),
            None => self.core.stat(cid),
        }
    }
}

fn row_of(block: &Block) -> IndexRow {
    let size = u32::try_from(block.data().len()).unwrap_or(u32::MAX);
    IndexRow { size, flags: flags_of(block), hour: this_hour() }
}

fn flags_of(block: &Block) -> u8 {
    let leaf = block.cid().codec() == codec::DAG_PB && dag_pb::is_leaf(block.data());
    if leaf { FLAG_PB_LEAF } else { 0 }
}

//! Edges: what keeps a block alive, written down, so that garbage need not be searched for.
//!
//! Invariant: a block is *complete* (has its marker) only if the edges of all its links are written
//! and every child is complete or a leaf. Markers are therefore written bottom-up and removed
//! top-down, each in one batch with its edges, and every crash in between leaves the invariant
//! standing: at worst a complete sub-DAG that nothing holds, which the next GC lets go. Another pin
//! may rely on a marker without looking below it.
//!
//! `docs/adr/0003-edges-and-markers.md` argues the choice.

use std::collections::HashSet;

use bytes::Bytes;

use super::backend::{Batch, Durability, Family};
use super::keys::{self, FLAG_PB_LEAF, IndexRow};
use super::{Core, StoreError};
use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, Multihash, codec, hash};
use crate::ipld::codec as codecs;

/// Rows gathered before they are written, in bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Where blocks of a DAG are read from while it is pinned.
pub trait Blocks {
    /// The block, if it is here.
    ///
    /// # Errors
    /// The store's.
    fn block(&self, cid: &Cid) -> Result<Option<Block>, StoreError>;
    /// Its index row, if it is here.
    ///
    /// # Errors
    /// The store's.
    fn row(&self, cid: &Cid) -> Result<Option<IndexRow>, StoreError>;
}

impl Blocks for Core {
    fn block(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        self.get(cid)
    }

    fn row(&self, cid: &Cid) -> Result<Option<IndexRow>, StoreError> {
        self.stat(cid)
    }
}

/// A node whose children are being visited.
struct Frame {
    cid: Cid,
    children: Vec<Cid>,
    next: usize,
}

impl Core {
    /// Makes the DAG under `root` complete, adding to `batch`; full batches are written on the way.
    /// Costs the part of the DAG that is not complete yet. Memory: one path of the DAG.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Unreadable`], or the database's.
    pub(super) fn complete(
        &self,
        root: &Cid,
        source: &dyn Blocks,
        mut batch: Batch,
    ) -> Result<Batch, StoreError> {
        let mut unwritten: HashSet<Multihash> = HashSet::new();
        let mut stack: Vec<Frame> = Vec::new();
        stack.extend(self.open(root, source, &unwritten)?);
        while let Some(frame) = stack.last_mut() {
            if let Some(child) = frame.children.get(frame.next).copied() {
                frame.next += 1;
                stack.extend(self.open(&child, source, &unwritten)?);
                continue;
            }
            let Some(done) = stack.pop() else { break };
            close(&done, &mut batch);
            unwritten.insert(*done.cid.hash());
            if batch.bytes() >= BATCH_BYTES {
                self.backend.write(std::mem::take(&mut batch), Durability::Logged)?;
                unwritten.clear();
            }
        }
        Ok(batch)
    }

    /// A frame for a node that must be walked; `None` for leaves and for what is complete.
    fn open(
        &self,
        cid: &Cid,
        source: &dyn Blocks,
        unwritten: &HashSet<Multihash>,
    ) -> Result<Option<Frame>, StoreError> {
        if cid.hash().code() == hash::IDENTITY && cid.codec() == codec::RAW {
            return Ok(None);
        }
        let missing = || StoreError::Missing(Box::new(*cid));
        let row = source.row(cid)?.ok_or_else(missing)?;
        let leaf = cid.codec() == codec::DAG_PB && row.flags & FLAG_PB_LEAF != 0;
        if leaf || cid.codec() == codec::RAW || unwritten.contains(cid.hash()) {
            return Ok(None);
        }
        if self.is_complete(cid.hash())? {
            return Ok(None);
        }
        let block = source.block(cid)?.ok_or_else(missing)?;
        Ok(Some(Frame { cid: *cid, children: links(&block)?, next: 0 }))
    }

    /// Removes markers and edges from `root` down, as far as nothing else holds the nodes. Each
    /// node is one batch, logged: a crash leaves complete nodes that GC finds.
    ///
    /// # Errors
    /// The database's, or a block that cannot be read: what lies below it then stays.
    pub(super) fn release(&self, root: &Cid) -> Result<(), StoreError> {
        let mut stack = vec![*root];
        while let Some(cid) = stack.pop() {
            let hash = cid.hash();
            if !self.is_complete(hash)? || self.is_held(hash)? {
                continue;
            }
            let block = self.get(&cid)?.ok_or_else(|| StoreError::Missing(Box::new(cid)))?;
            let children = links(&block)?;
            let mut batch = Batch::default();
            batch.delete(Family::Edges, keys::complete(hash));
            for child in &children {
                batch.delete(Family::Edges, keys::edge(child.hash(), hash));
            }
            self.backend.write(batch, Durability::Logged)?;
            stack.extend(children);
        }
        Ok(())
    }

    /// Whether the block's marker is written.
    pub(super) fn is_complete(&self, hash: &Multihash) -> Result<bool, StoreError> {
        Ok(self.backend.get(Family::Edges, &keys::complete(hash))?.is_some())
    }

    /// Whether a pin names the block or a complete parent links to it.
    pub(super) fn is_held(&self, hash: &Multihash) -> Result<bool, StoreError> {
        if !self.backend.page(Family::Pins, &keys::pin_prefix(hash), None, 1)?.is_empty() {
            return Ok(true);
        }
        Ok(!self.parents(hash, 1)?.is_empty())
    }

    /// At most `limit` complete parents of a block.
    pub(super) fn parents(
        &self,
        hash: &Multihash,
        limit: usize,
    ) -> Result<Vec<Multihash>, StoreError> {
        let prefix = keys::block(hash);
        let marker = Some(prefix.as_ref());
        let rows = self.backend.page(Family::Edges, &prefix, marker, limit)?;
        let parent = |(key, _): &(Bytes, Bytes)| {
            let parent = key.strip_prefix(prefix.as_ref()).and_then(keys::split_hash);
            parent.map(|(hash, _)| hash).ok_or_else(|| super::damaged("edges", key))
        };
        rows.iter().map(parent).collect()
    }
}

/// Edges from each child, and the marker, together.
fn close(frame: &Frame, batch: &mut Batch) {
    let parent = frame.cid.hash();
    for child in &frame.children {
        batch.put(Family::Edges, keys::edge(child.hash(), parent), Bytes::new());
    }
    batch.put(Family::Edges, keys::complete(parent), Bytes::new());
}

/// The links of a block, in order.
fn links(block: &Block) -> Result<Vec<Cid>, StoreError> {
    let mut found = Vec::new();
    let outcome = codecs::links(block.cid().codec(), block.data(), &mut |cid| found.push(cid));
    outcome.map_err(|error| StoreError::Unreadable {
        cid: Box::new(*block.cid()),
        cause: error.to_string(),
    })?;
    Ok(found)
}

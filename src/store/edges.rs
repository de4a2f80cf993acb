//! Edges: what keeps a block alive, written down, so that garbage need not be searched for.
//!
//! Invariant: a block is *complete* (has its marker) only if the edges of all its links are written
//! and every child is complete or a leaf. Markers are therefore written bottom-up and removed
//! top-down, each in one batch with its edges, and every crash in between leaves the invariant
//! standing: at worst a complete sub-DAG that nothing holds, which the next GC lets go. Another pin
//! may rely on a marker without looking below it. A marker speaks for the codecs in its value alone:
//! the same bytes may be a leaf under one and a node under another.
//!
//! `docs/adr/0003-edges-and-markers.md` argues the choice.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::backend::{Batch, Durability, Family};
use super::keys::{self, FLAG_PB_LEAF, IndexRow};
use super::{Core, Mode, Pin, StoreError};
use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, Multihash, codec};
use crate::ipld::codec as codecs;

/// Nodes that cannot be read and are released in one pass over all edges.
const UNREADABLE_MAX: usize = 256;
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

/// DAGs being made complete, in an operation that ends with one batch.
pub(super) struct Completing<'a> {
    core: &'a Core,
    source: &'a dyn Blocks,
    batch: Batch,
    /// Markers in `batch`: what the database does not say yet.
    unwritten: HashMap<Multihash, Vec<u64>>,
    progress: Option<&'a Progress>,
}

/// How far a walk has come, for whoever watches from elsewhere.
#[derive(Debug, Default)]
pub struct Progress {
    blocks: AtomicU64,
    bytes: AtomicU64,
    fetched_blocks: AtomicU64,
    fetched_bytes: AtomicU64,
}

impl Progress {
    fn count(&self, row: &IndexRow) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(row.size.into(), Ordering::Relaxed);
    }

    /// The walk begins again.
    pub fn again(&self) {
        self.blocks.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// So much was fetched before the walk.
    pub fn fetched(&self, blocks: u64, bytes: u64) {
        self.fetched_blocks.fetch_max(blocks, Ordering::Relaxed);
        self.fetched_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Blocks that were looked at, and their bytes: what was fetched is looked at, too.
    pub fn so_far(&self) -> (u64, u64) {
        let most =
            |a: &AtomicU64, b: &AtomicU64| a.load(Ordering::Relaxed).max(b.load(Ordering::Relaxed));
        (most(&self.blocks, &self.fetched_blocks), most(&self.bytes, &self.fetched_bytes))
    }
}

impl<'a> Completing<'a> {
    /// Begins with the batch that makes the blocks exist. Callers hold [`Core::pinning`].
    pub(super) fn new(core: &'a Core, source: &'a dyn Blocks, batch: Batch) -> Self {
        Self { core, source, batch, unwritten: HashMap::new(), progress: None }
    }

    /// Tells of every block that is looked at.
    pub(super) fn telling(self, progress: &'a Progress) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Makes the DAG under `root` complete; full batches are written on the way. Costs the part of
    /// the DAG that is not complete yet. Memory: one path of the DAG.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Unreadable`], or the database's.
    pub(super) fn complete(&mut self, root: &Cid) -> Result<(), StoreError> {
        let mut stack: Vec<Frame> = Vec::new();
        stack.extend(self.open(root)?);
        while let Some(frame) = stack.last_mut() {
            if let Some(child) = frame.children.get(frame.next).copied() {
                frame.next += 1;
                stack.extend(self.open(&child)?);
                continue;
            }
            let Some(done) = stack.pop() else { break };
            self.close(&done)?;
        }
        Ok(())
    }

    /// Whether the block is here, or about to be.
    pub(super) fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        Ok(self.source.row(cid)?.is_some())
    }

    /// What is left to write.
    pub(super) fn finish(self) -> Batch {
        self.batch
    }

    /// A frame for a node that must be walked; `None` for leaves and for what is complete.
    fn open(&self, cid: &Cid) -> Result<Option<Frame>, StoreError> {
        let missing = || StoreError::Missing(Box::new(*cid));
        let Some(row) = self.source.row(cid)? else {
            // A damaged block counts as absent, and says why when it is read.
            self.source.block(cid)?;
            return Err(missing());
        };
        if let Some(progress) = self.progress {
            progress.count(&row);
        }
        let leaf = cid.codec() == codec::DAG_PB && row.flags & FLAG_PB_LEAF != 0;
        if leaf || !codecs::can_link(cid.codec()) {
            return Ok(None);
        }
        if self.walked_as(cid.hash())?.contains(&cid.codec()) {
            return Ok(None);
        }
        let block = self.source.block(cid)?.ok_or_else(missing)?;
        Ok(Some(Frame { cid: *cid, children: links(cid.codec(), &block)?, next: 0 }))
    }

    /// Edges from each child, and the marker, in one batch.
    fn close(&mut self, frame: &Frame) -> Result<(), StoreError> {
        let parent = frame.cid.hash();
        let mut walked = self.walked_as(parent)?;
        walked.push(frame.cid.codec());
        for child in &frame.children {
            self.batch.put(Family::Edges, keys::edge(child.hash(), parent), Bytes::new());
        }
        self.batch.put(Family::Edges, keys::complete(parent), keys::codecs(&walked));
        self.unwritten.insert(*parent, walked);
        if self.batch.bytes() >= BATCH_BYTES {
            self.core.backend.write(std::mem::take(&mut self.batch), Durability::Logged)?;
            self.unwritten.clear();
        }
        Ok(())
    }

    fn walked_as(&self, hash: &Multihash) -> Result<Vec<u64>, StoreError> {
        match self.unwritten.get(hash) {
            Some(codecs) => Ok(codecs.clone()),
            None => self.core.walked_as(hash),
        }
    }
}

impl Core {
    /// Removes markers and edges from `root` down, as far as nothing else holds the nodes. Each
    /// node is one batch, logged: a crash leaves complete nodes that GC finds. A node whose bytes
    /// do not tell its links stays complete, with what lies below it, and is added to
    /// `unreadable`.
    ///
    /// # Errors
    /// The database's.
    pub(super) fn release(
        &self,
        root: &Multihash,
        unreadable: &mut Vec<Multihash>,
    ) -> Result<(), StoreError> {
        let mut stack = vec![*root];
        while let Some(hash) = stack.pop() {
            let walked = self.walked_as(&hash)?;
            if walked.is_empty() || self.is_held_whole(&hash)? {
                continue;
            }
            let Some(children) = self.children(&hash, &walked)? else {
                unreadable.push(hash);
                continue;
            };
            let mut batch = Batch::default();
            batch.delete(Family::Edges, keys::complete(&hash));
            for child in children {
                batch.delete(Family::Edges, keys::edge(&child, &hash));
                stack.push(child);
            }
            self.backend.write(batch, Durability::Logged)?;
        }
        Ok(())
    }

    /// What a node links to under any of the codecs; `None` when its bytes do not tell.
    fn children(
        &self,
        hash: &Multihash,
        walked: &[u64],
    ) -> Result<Option<Vec<Multihash>>, StoreError> {
        let block = match self.get(&Cid::new_v1(codec::RAW, *hash)) {
            Ok(Some(block)) => block,
            Ok(None) | Err(StoreError::Corrupt { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for code in walked {
            match links(*code, &block) {
                Ok(links) => found.extend(links.iter().map(|cid| *cid.hash())),
                Err(StoreError::Unreadable { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(found))
    }

    /// Removes markers and edges of nodes that nothing holds and that cannot be read, and of what
    /// nothing holds then. Their edges name them, so one pass over all edges finds what they link
    /// to: dear, and only damage asks for it. Marker and edges of a node go in one batch, or a node
    /// that is put again could be taken for complete without them. Memory: the edges of
    /// [`UNREADABLE_MAX`] nodes.
    ///
    /// # Errors
    /// The database's.
    pub(super) fn release_unreadable(&self, mut nodes: Vec<Multihash>) -> Result<(), StoreError> {
        while !nodes.is_empty() {
            let rest = nodes.split_off(nodes.len().min(UNREADABLE_MAX));
            let mut batch = Batch::default();
            let mut children = Vec::new();
            for node in &nodes {
                batch.delete(Family::Edges, keys::complete(node));
            }
            let nodes_now: HashSet<Multihash> = nodes.drain(..).collect();
            for row in self.rows(Family::Edges, b"") {
                let (key, _) = row?;
                let damaged = || super::damaged("edges", &key);
                let (child, parent) = keys::split_hash(&key).ok_or_else(damaged)?;
                if parent.is_empty() {
                    continue;
                }
                let (parent, _) = keys::split_hash(parent).ok_or_else(damaged)?;
                if nodes_now.contains(&parent) {
                    batch.delete(Family::Edges, key);
                    children.push(child);
                }
            }
            self.backend.write(batch, Durability::Logged)?;
            nodes = rest;
            for child in children {
                self.release(&child, &mut nodes)?;
            }
        }
        Ok(())
    }

    /// Whether everything below a block is known to be here, without looking.
    ///
    /// # Errors
    /// The database's.
    pub fn is_complete(&self, cid: &Cid) -> Result<bool, StoreError> {
        Ok(self.walked_as(cid.hash())?.contains(&cid.codec()))
    }

    /// The codecs under which the block is complete; none without a marker. One multihash may be
    /// linked to under several, and each of them reads its own links out of the bytes.
    fn walked_as(&self, hash: &Multihash) -> Result<Vec<u64>, StoreError> {
        let key = keys::complete(hash);
        let Some(value) = self.backend.get(Family::Edges, &key)? else { return Ok(Vec::new()) };
        keys::split_codecs(&value).ok_or_else(|| super::damaged("edges", &key))
    }

    /// Whether what lies below the block is held with it. A direct pin, or a pin under a codec
    /// that has no links, keeps the block alone.
    pub(super) fn is_held_whole(&self, hash: &Multihash) -> Result<bool, StoreError> {
        for (key, value) in
            self.backend.page(Family::Pins, &keys::pin_prefix(hash), None, usize::MAX)?
        {
            let pin = Pin::decode(&key, &value)?;
            if pin.mode == Mode::Recursive && codecs::can_link(pin.cid.codec()) {
                return Ok(true);
            }
        }
        Ok(!self.parents(hash, 1)?.is_empty())
    }

    /// Whether a pin names the block or a complete parent links to it.
    pub(super) fn is_held(&self, hash: &Multihash) -> Result<bool, StoreError> {
        if !self.backend.page(Family::Pins, &keys::pin_prefix(hash), None, 1)?.is_empty() {
            return Ok(true);
        }
        Ok(!self.parents(hash, 1)?.is_empty())
    }

    /// At most `limit` complete parents of a block.
    fn parents(&self, hash: &Multihash, limit: usize) -> Result<Vec<Multihash>, StoreError> {
        self.parents_after(hash, None, limit)
    }

    /// The same, from the first one after `after`, in the order of their multihashes.
    pub(super) fn parents_after(
        &self,
        hash: &Multihash,
        after: Option<&Multihash>,
        limit: usize,
    ) -> Result<Vec<Multihash>, StoreError> {
        let prefix = keys::block(hash);
        let last = match after {
            Some(parent) => keys::edge(hash, parent),
            None => keys::complete(hash),
        };
        let rows = self.backend.page(Family::Edges, &prefix, Some(&last), limit)?;
        let parent = |(key, _): &(Bytes, Bytes)| {
            let parent = key.strip_prefix(prefix.as_ref()).and_then(keys::split_hash);
            parent.map(|(hash, _)| hash).ok_or_else(|| super::damaged("edges", key))
        };
        rows.iter().map(parent).collect()
    }
}

/// The links of a block read under a codec, in order.
fn links(code: u64, block: &Block) -> Result<Vec<Cid>, StoreError> {
    let mut found = Vec::new();
    let outcome = codecs::links(code, block.data(), &mut |cid| found.push(cid));
    outcome.map_err(|error| StoreError::Unreadable {
        cid: Box::new(*block.cid()),
        cause: error.to_string(),
    })?;
    Ok(found)
}

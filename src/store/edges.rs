//! Edges: what keeps a block alive, written down, so that garbage need not be searched for.
//!
//! Invariant: a block is *complete* (has its marker) only if the edges of all its links are written
//! and every child is complete or a leaf. Markers are therefore written bottom-up and removed
//! top-down, and every crash in between leaves the invariant standing. Another pin may rely on a
//! marker without looking below it. A marker speaks for the codecs in its value alone: the same bytes
//! may be a leaf under one and a node under another.
//!
//! Second invariant: a block that nothing holds has a row in `loose`. Whoever takes a holder away
//! puts it, whoever adds one may delete it; so garbage is among those rows, and they cost no more
//! than there is of it. `docs/adr/0003-edges-and-markers.md` argues both.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::backend::{Batch, Family};
use super::change::{Change, Coming, Exclusive};
use super::intents::Intent;
use super::keys::{self, IndexRow, Marker};
use super::writer::is_leaf;
use super::{Core, Mode, Pin, StoreError, this_hour};
use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, Multihash, codec};
use crate::ipld::codec as codecs;

/// Edges gathered before they are written, in bytes: everybody else waits while they are.
const BATCH_BYTES: usize = 128 << 10;
/// Index rows written together, for the same reason.
const ROWS_TOGETHER: usize = 512;

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
    /// Whether the block and all below it is known to be here, and to stay while the operation lasts,
    /// without a look at rows.
    fn is_whole_here(&self, _: &Cid) -> bool {
        false
    }
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
    intent: &'a Intent,
    /// Index rows that go ahead of all else, and which of their blocks nothing holds yet.
    rows: Vec<(Multihash, IndexRow)>,
    unheld: HashSet<Multihash>,
    coming: Coming,
    /// Nodes that were closed and that nothing is known to hold: should the operation end here, their
    /// edges are to be found again.
    closed: HashSet<Multihash>,
    /// Edges, and loose rows that they make needless.
    edges: Batch,
    /// Markers that the database does not have yet.
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
    /// Begins with index rows of blocks that are about to exist.
    pub(super) fn new(
        core: &'a Core,
        source: &'a dyn Blocks,
        intent: &'a Intent,
        rows: Vec<(Multihash, IndexRow)>,
    ) -> Self {
        let unheld = rows.iter().map(|(hash, _)| *hash).collect();
        let (edges, unwritten, closed) = (Batch::default(), HashMap::new(), HashSet::new());
        let (coming, progress) = (Coming::default(), None);
        Self { core, source, intent, rows, unheld, coming, closed, edges, unwritten, progress }
    }

    /// What is known of the blocks that are about to exist.
    pub(super) fn coming(self, coming: Coming) -> Self {
        Self { coming, ..self }
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
            self.close(&done.cid, &done.children);
            if self.edges.bytes() >= BATCH_BYTES {
                // Blocks below may be fetched ones: nothing holds them before their bytes are on the
                // disk, or a power loss would leave a node that is complete without them.
                self.core.segments.sync()?;
                self.write(&mut |_| Ok(()))?;
            }
        }
        Ok(())
    }

    /// Writes once there is as much as goes into one batch.
    pub(super) fn write_if_full(&mut self) -> Result<(), StoreError> {
        match self.edges.bytes() >= BATCH_BYTES || self.rows.len() >= ROWS_TOGETHER {
            true => self.write(&mut |_| Ok(())),
            false => Ok(()),
        }
    }

    /// A block is to exist from the next batch on, and to be loose unless something claims it.
    pub(super) fn appear(&mut self, hash: Multihash, row: IndexRow) {
        self.rows.push((hash, row));
        self.unheld.insert(hash);
    }

    /// Whether the block is here, or about to be; it stays.
    pub(super) fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        let _shared = self.core.shared();
        self.intent.note(cid.hash());
        Ok(self.source.row(cid)?.is_some())
    }

    /// A frame for a node that must be walked; `None` for leaves and for what is complete.
    fn open(&self, cid: &Cid) -> Result<Option<Frame>, StoreError> {
        if self.source.is_whole_here(cid) {
            return Ok(None);
        }
        let missing = || StoreError::Missing(Box::new(*cid));
        let (row, done) = {
            let _shared = self.core.shared();
            self.intent.note(cid.hash());
            let row = self.source.row(cid)?;
            // What has no links has no marker: none is looked for.
            let leaf = row.as_ref().is_some_and(|row| is_leaf(cid.codec(), row.flags));
            let done = leaf || row.is_some() && self.is_whole(cid)?;
            (row, done)
        };
        let Some(row) = row else {
            // A damaged block counts as absent, and says why when it is read.
            self.source.block(cid)?;
            return Err(missing());
        };
        if let Some(progress) = self.progress {
            progress.count(&row);
        }
        if done {
            return Ok(None);
        }
        let block = self.source.block(cid)?.ok_or_else(missing)?;
        Ok(Some(Frame { cid: *cid, children: links(cid.codec(), &block)?, next: 0 }))
    }

    /// Edges from each child, and the marker, in one batch. Callers have seen that every child is
    /// complete or a leaf.
    pub(super) fn close(&mut self, node: &Cid, children: &[Cid]) {
        let parent = node.hash();
        for child in children {
            self.edges.put(Family::Edges, keys::edge(child.hash(), parent), Bytes::new());
            self.claim(child.hash());
        }
        self.unwritten.entry(*parent).or_default().push(node.codec());
        self.closed.insert(*parent);
    }

    /// An edge or a pin holds the block from this batch on.
    pub(super) fn claim(&mut self, hash: &Multihash) {
        self.closed.remove(hash);
        if !self.unheld.remove(hash) {
            // It nearly always has a row, so none is looked for: that costs more than to delete it.
            self.edges.delete(Family::Loose, keys::block(hash));
        }
    }

    /// The same for a pin, which holds the block and perhaps nothing below it: the edges of a block
    /// that is complete for another reason must still be found when that is gone.
    pub(super) fn claim_root(&mut self, cid: &Cid, mode: Mode) -> Result<(), StoreError> {
        let whole = mode == Mode::Recursive && codecs::can_link(cid.codec());
        let unlinked =
            !self.unwritten.contains_key(cid.hash()) && self.core.marker(cid.hash())?.is_none();
        if whole || unlinked {
            self.claim(cid.hash());
        }
        Ok(())
    }

    /// Writes what there is, and what `last` adds to it, in one batch. Callers have synced segments
    /// since the last block was looked at.
    pub(super) fn write(
        &mut self,
        last: &mut dyn FnMut(&mut Change) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let exclusive = self.core.exclusive();
        let mut change = Change::default();
        let new = self.core.put_rows(&self.rows, &mut self.coming, &mut change, &exclusive)?;
        for hash in new.iter().filter(|hash| self.unheld.contains(*hash)) {
            change.loosen(hash, this_hour());
        }
        self.closed.drain().for_each(|hash| change.loosen(&hash, this_hour()));
        change.rows.append(std::mem::take(&mut self.edges));
        for (hash, walked) in self.unwritten.drain() {
            let mut codecs = self.core.complete_as(&hash)?;
            codecs.extend(walked);
            codecs.sort_unstable();
            codecs.dedup();
            let marker = Marker { codecs, parting: false };
            change.rows.put(Family::Edges, keys::complete(&hash), marker.encode());
        }
        last(&mut change)?;
        self.core.apply(change, &exclusive)?;
        self.core.lifted(self.rows.iter().map(|(hash, _)| hash));
        self.rows.clear();
        self.unheld.clear();
        Ok(())
    }

    /// Whether all below a block is known to be here. While blocks are known to be lost, one of them may
    /// lie below anything.
    fn is_whole(&self, cid: &Cid) -> Result<bool, StoreError> {
        let whole = self.core.quarantined() == 0;
        Ok(whole && self.walked_as(cid.hash())?.contains(&cid.codec()))
    }

    fn walked_as(&self, hash: &Multihash) -> Result<Vec<u64>, StoreError> {
        match self.unwritten.get(hash) {
            Some(codecs) => Ok([codecs.clone(), self.core.complete_as(hash)?].concat()),
            None => self.core.complete_as(hash),
        }
    }
}

/// Why a block stays, beside what operations in flight rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// With all that lies below it.
    Whole,
    /// Alone: by a direct pin, or one under a codec without links.
    Alone,
    /// It does not.
    Not,
}

impl Core {
    /// What a node links to under any of the codecs; `None` when its bytes do not tell.
    pub(super) fn children(
        &self,
        hash: &Multihash,
        walked: &[u64],
    ) -> Result<Option<Vec<Multihash>>, StoreError> {
        let block = match self.find(&Cid::new_v1(codec::RAW, *hash)) {
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
        found.sort_unstable();
        found.dedup();
        Ok(Some(found))
    }

    /// Whether everything below a block is known to be here, without looking: never while blocks are
    /// known to be lost.
    ///
    /// # Errors
    /// The database's.
    pub fn is_complete(&self, cid: &Cid) -> Result<bool, StoreError> {
        Ok(self.quarantined() == 0 && self.complete_as(cid.hash())?.contains(&cid.codec()))
    }

    /// The codecs under which the block is complete; none without a marker. One multihash may be
    /// linked to under several, and each of them reads its own links out of the bytes.
    fn complete_as(&self, hash: &Multihash) -> Result<Vec<u64>, StoreError> {
        let marker = self.marker(hash)?.filter(|marker| !marker.parting);
        Ok(marker.map_or_else(Vec::new, |marker| marker.codecs))
    }

    /// The marker of a block.
    pub(super) fn marker(&self, hash: &Multihash) -> Result<Option<Marker>, StoreError> {
        let key = keys::complete(hash);
        let Some(value) = self.backend.get(Family::Edges, &key)? else { return Ok(None) };
        Marker::decode(&value).map(Some).ok_or_else(|| super::damaged("edges", &key))
    }

    /// What holds a block. Only under the lock is the answer more than a moment's.
    pub(super) fn held(&self, hash: &Multihash) -> Result<Held, StoreError> {
        match self.parents_after(hash, None, 1)?.is_empty() {
            true => self.pinned(hash),
            false => Ok(Held::Whole),
        }
    }

    /// The same, of pins alone.
    pub(super) fn pinned(&self, hash: &Multihash) -> Result<Held, StoreError> {
        let mut held = Held::Not;
        for (key, value) in
            self.backend.page(Family::Pins, &keys::pin_prefix(hash), None, usize::MAX)?
        {
            let pin = Pin::decode(&key, &value)?;
            if pin.mode == Mode::Recursive && codecs::can_link(pin.cid.codec()) {
                return Ok(Held::Whole);
            }
            held = Held::Alone;
        }
        Ok(held)
    }

    /// Takes some of a node's edges away: at most `limit` of `children`, from `from` on, and the
    /// marker with the last of them. Children are loose from then on. Callers have made sure that
    /// nothing holds the node whole. Gives where to go on; `None` when all is done.
    pub(super) fn part(
        &self,
        node: (&Multihash, &Marker),
        (children, from, limit): (&[Multihash], usize, usize),
        hour: u32,
        (change, _): (&mut Change, &Exclusive<'_>),
    ) -> Option<usize> {
        let (hash, marker) = node;
        let to = children.len().min(from.saturating_add(limit));
        for child in children.get(from..to).unwrap_or_default() {
            change.rows.delete(Family::Edges, keys::edge(child, hash));
            change.loosen(child, hour);
        }
        if to < children.len() {
            let marker = Marker { parting: true, ..marker.clone() };
            change.rows.put(Family::Edges, keys::complete(hash), marker.encode());
            return Some(to);
        }
        change.rows.delete(Family::Edges, keys::complete(hash));
        None
    }

    /// Complete parents of a block, at most `limit` of them, from the first one after `after`, in the
    /// order of their multihashes.
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
pub(super) fn links(code: u64, block: &Block) -> Result<Vec<Cid>, StoreError> {
    let mut found = Vec::new();
    let outcome = codecs::links(code, block.data(), &mut |cid| found.push(cid));
    outcome.map_err(|error| StoreError::Unreadable {
        cid: Box::new(*block.cid()),
        cause: error.to_string(),
    })?;
    Ok(found)
}

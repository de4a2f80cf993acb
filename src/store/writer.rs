//! The write path: one durable operation over any number of blocks.
//!
//! Bytes go to segments as they come, in few large writes. Once they are on the disk, index rows make
//! the blocks exist, and what holds them follows: edges bottom-up, then pins, in the order in which
//! the log keeps them. A crash in between leaves bytes that nobody can see, or blocks that nothing
//! holds and that are known to be loose.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;

use super::change::{Coming, Moment};
use super::edges::{Blocks, Completing, links};
use super::intents::Intent;
use super::keys::{FLAG_PB_LEAF, IndexRow, Place};
use super::pins::Pin;
use super::segments::{Lease, Stream, record};
use super::{Core, StoreError};
use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, Multihash, codec, hash};
use crate::ipld::codec::{self as codecs, dag_pb};

/// Bytes gathered before they are appended to a segment.
const GATHERED_BYTES: usize = 4 << 20;
/// Blocks whose index rows are written with what holds them, in one batch.
const SMALL_BLOCKS: usize = 1 << 10;
/// Index rows held back until their bytes are on the disk, and links of nodes among them. Bounds memory
/// at about 20 MiB, and what a crash makes an interrupted import do again.
const ROWS_HELD_MAX: usize = 64 << 10;
/// Links of a node whose rows are written in one batch with those of its children.
const LINKS_TOGETHER: usize = 1 << 10;
/// Marks that an operation keeps. Bounds memory at about 20 MiB.
const MARKS_MAX: usize = 1 << 20;

/// Whether a block was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was not here, or its bytes were damaged.
    New,
    /// It was here already, or came earlier in the same operation.
    Known,
}

/// An operation in progress. Nothing of it is promised before [`Writer::commit`] returns; dropping
/// it leaves at most loose blocks.
pub struct Writer<'a> {
    core: &'a Core,
    intent: Intent,
    gathered: Vec<(Multihash, Bytes)>,
    gathered_bytes: usize,
    held: HashMap<Multihash, Held>,
    /// Nodes among `held` in the order in which they came, with their links.
    nodes: Vec<(Cid, Vec<Cid>)>,
    links: usize,
    /// Whether what is put is to be pinned.
    to_be_pinned: bool,
    /// Keeps the segments in which blocks of `held` lie.
    leases: Vec<Lease<'a>>,
    /// Since when all of `held` was absent.
    absent: Moment,
    /// Blocks that are visible and whole, and that no node of this operation links to so far: whoever
    /// links to them need not look for each among a million rows.
    whole: Marks,
}

/// Blocks under codecs, 8 bytes each. A mark has 64 bits under a key of its operation, and is only asked
/// for blocks that this links to: nobody can choose two that have the same.
#[derive(Default)]
struct Marks {
    marks: HashSet<u64>,
    keys: RandomState,
}

impl Marks {
    fn mark(&self, cid: &Cid) -> u64 {
        self.keys.hash_one((cid.codec(), cid.hash().code(), cid.hash().digest()))
    }

    /// Forgets nothing, and takes nothing more once there are too many.
    fn insert(&mut self, cid: &Cid) {
        if self.marks.len() < MARKS_MAX {
            self.marks.insert(self.mark(cid));
        }
    }

    fn remove(&mut self, cid: &Cid) {
        self.marks.remove(&self.mark(cid));
    }

    fn contains(&self, cid: &Cid) -> bool {
        !self.marks.is_empty() && self.marks.contains(&self.mark(cid))
    }
}

/// A block put but not yet visible.
struct Held {
    codec: u64,
    size: u32,
    flags: u8,
    /// Where its bytes are; none while they are gathered.
    place: Option<Place>,
    /// Its bytes, while it is cheap to keep them.
    data: Option<Bytes>,
}

impl Held {
    /// The row that makes it visible; none while its bytes are gathered.
    fn row(&self) -> Option<IndexRow> {
        let Self { size, flags, place, .. } = *self;
        place.map(|place| IndexRow { size, flags, place })
    }
}

impl Core {
    /// Puts blocks that nothing holds yet: fetched ones. They are here when this returns, and
    /// survive the death of the process; whoever pins them makes them survive a power loss. Gives
    /// those that were new.
    ///
    /// # Errors
    /// The database's; none of the blocks is then here.
    pub fn put_unpinned(&self, blocks: &[Block]) -> Result<Vec<Cid>, StoreError> {
        let (intent, absent) = (self.intend(), self.arrivals.moment());
        let (mut new, mut records, mut met) = (Vec::new(), Vec::new(), HashSet::new());
        for block in blocks {
            let hash = block.cid().hash();
            let stored = hash.code() != hash::IDENTITY && met.insert(hash);
            if stored && self.look(&intent, hash)?.is_none() {
                new.push(block);
                records.push((*hash, block.data().clone()));
            }
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let _promise = self.make_room(bytes_of(&records))?;
        let (places, _lease) = self.segments.append(Stream::Fetched, &records)?;
        let coming = Coming { absent: Some(absent), synced: false };
        let mut rows = Completing::new(self, self, &intent, Vec::new()).coming(coming);
        for (block, place) in new.iter().zip(places) {
            rows.appear(*block.cid().hash(), row_of(block, place));
            rows.write_if_full()?;
        }
        rows.write(&mut |_| Ok(()))?;
        Ok(new.iter().map(|block| *block.cid()).collect())
    }

    /// Begins an operation.
    pub fn writer(&self) -> Writer<'_> {
        Writer {
            core: self,
            intent: self.intend(),
            gathered: Vec::new(),
            gathered_bytes: 0,
            held: HashMap::new(),
            nodes: Vec::new(),
            links: 0,
            to_be_pinned: false,
            leases: Vec::new(),
            absent: self.arrivals.moment(),
            whole: Marks::default(),
        }
    }
}

impl<'a> Writer<'a> {
    /// Announces that all that is put is to be pinned in the end: edges are then written beside blocks.
    /// What nobody pins is better off loose, block by block: that is how it is evicted.
    #[must_use]
    pub fn to_be_pinned(self) -> Self {
        Self { to_be_pinned: true, ..self }
    }

    /// Takes a block. Identity blocks carry themselves and are not stored.
    ///
    /// # Errors
    /// The database's, or that there is no room; the operation is then to be dropped.
    pub fn put(&mut self, block: &Block) -> Result<Put, StoreError> {
        let hash = block.cid().hash();
        if hash.code() == hash::IDENTITY || self.held.contains_key(hash) {
            return Ok(Put::Known);
        }
        if let Some(row) = self.core.look(&self.intent, hash)? {
            if is_leaf(block.cid().codec(), row.flags) {
                self.whole.insert(block.cid());
            }
            return Ok(Put::Known);
        }
        let data = block.data();
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let (codec, flags) = (block.cid().codec(), flags_of(block));
        let held = Held { codec, size, flags, place: None, data: Some(data.clone()) };
        self.held.insert(*hash, held);
        self.keep_links(block, flags);
        self.gathered_bytes += data.len();
        self.gathered.push((*hash, data.clone()));
        if self.gathered_bytes >= GATHERED_BYTES || self.gathered.len() >= ROWS_HELD_MAX {
            self.append()?;
            // Too large to be kept: whoever walks it reads it again.
            self.held.values_mut().for_each(|held| held.data = None);
            self.core.begin_sync();
        }
        if self.held.len() >= ROWS_HELD_MAX {
            self.settle()?;
        }
        Ok(Put::New)
    }

    /// What the operation relies on: that stays while a clone of this lives, also when the operation
    /// is over.
    pub fn intent(&self) -> Intent {
        self.intent.clone()
    }

    /// Makes the operation durable, and `pins` with it: when this returns, a crash loses nothing.
    ///
    /// # Errors
    /// The database's, or what stands in the way of a pin ([`StoreError::Missing`] and the like);
    /// the blocks may then be here, loose.
    pub fn commit(mut self, pins: &[Pin]) -> Result<(), StoreError> {
        self.append()?;
        let small = self.held.len() <= SMALL_BLOCKS;
        match small {
            true => self.core.segments.sync()?,
            false => self.settle()?,
        }
        let rows = if small { self.rows() } else { Vec::new() };
        self.core.pin_with(pins, &self, &self.intent, rows, self.coming())
    }

    /// Appends what is gathered to a segment.
    fn append(&mut self) -> Result<(), StoreError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let _promise = self.core.make_room(bytes_of(&self.gathered))?;
        let (places, lease) = self.core.segments.append(Stream::Added, &self.gathered)?;
        self.leases.push(lease);
        for ((hash, _), place) in self.gathered.drain(..).zip(places) {
            if let Some(held) = self.held.get_mut(&hash) {
                held.place = Some(place);
            }
        }
        self.gathered_bytes = 0;
        Ok(())
    }

    /// Keeps what a node links to until rows are written. What does not parse has no links here; whoever
    /// pins it is told.
    fn keep_links(&mut self, block: &Block, flags: u8) {
        let room = ROWS_HELD_MAX.saturating_sub(self.links).min(LINKS_TOGETHER);
        if self.to_be_pinned
            && !is_leaf(block.cid().codec(), flags)
            && let Ok(links) = links(block.cid().codec(), block)
            && links.len() <= room
        {
            self.links += links.len();
            self.nodes.push((*block.cid(), links));
        }
    }

    /// Makes every block put so far exist: bytes to the disk first, then the index rows. A node all of
    /// whose children are here and whole gets its edges in one batch with them, so that they are never
    /// loose; what is left over is found by whoever pins it.
    fn settle(&mut self) -> Result<(), StoreError> {
        self.append()?;
        self.core.segments.sync()?;
        let (core, intent) = (self.core, self.intent.clone());
        let mut rows = Completing::new(core, core, &intent, Vec::new()).coming(self.coming());
        let (mut claimed, mut left) = (Marks::default(), Vec::new());
        for node in std::mem::take(&mut self.nodes) {
            if !self.close(&node, &mut claimed, &mut rows)? {
                left.push(node);
            }
        }
        // Archives have nodes before what they link to.
        for node in left.iter().rev() {
            self.close(node, &mut claimed, &mut rows)?;
        }
        self.links = 0;
        for (hash, held) in self.held.drain() {
            if is_leaf(held.codec, held.flags) {
                self.whole.insert(&Cid::new_v1(held.codec, hash));
            }
            if let Some(row) = held.row() {
                rows.appear(hash, row);
            }
            rows.write_if_full()?;
        }
        rows.write(&mut |_| Ok(()))?;
        self.leases.clear();
        self.absent = core.arrivals.moment();
        Ok(())
    }

    /// What is known of `held` once it is synced.
    fn coming(&self) -> Coming {
        Coming { absent: Some(self.absent), synced: true }
    }

    /// Writes a node with its children, if all of them are here and whole; tells whether they are.
    fn close(
        &mut self,
        (node, children): &(Cid, Vec<Cid>),
        claimed: &mut Marks,
        rows: &mut Completing<'_>,
    ) -> Result<bool, StoreError> {
        if !children.iter().all(|child| self.is_whole_here(child) || claimed.contains(child)) {
            return Ok(false);
        }
        for child in children {
            self.appear(child.hash(), rows);
            self.whole.remove(child);
            claimed.insert(child);
        }
        self.appear(node.hash(), rows);
        self.whole.insert(node);
        rows.close(node, children);
        rows.write_if_full()?;
        Ok(true)
    }

    /// The block is to exist with the next batch, unless it does.
    fn appear(&mut self, hash: &Multihash, rows: &mut Completing<'_>) {
        if let Some(row) = self.held.remove(hash).and_then(|held| held.row()) {
            rows.appear(*hash, row);
        }
    }

    fn rows(&self) -> Vec<(Multihash, IndexRow)> {
        self.held.iter().filter_map(|(hash, held)| Some((*hash, held.row()?))).collect()
    }
}

/// Blocks of the operation come before those of the store: a small one is pinned before it exists.
impl Blocks for Writer<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        let data = match self.held.get(cid.hash()) {
            Some(Held { data: Some(data), .. }) => data.clone(),
            Some(Held { place: Some(place), size, .. }) => {
                self.core.segments.read(*place, cid.hash(), *size)?
            }
            _ => return self.core.get(cid),
        };
        Ok(Some(Block::from_store(*cid, data)))
    }

    fn row(&self, cid: &Cid) -> Result<Option<IndexRow>, StoreError> {
        match self.held.get(cid.hash()) {
            Some(held) if held.place.is_some() => Ok(held.row()),
            _ => self.core.stat(cid),
        }
    }

    fn is_whole_here(&self, cid: &Cid) -> bool {
        let held = self.held.get(cid.hash()).map(|held| is_leaf(cid.codec(), held.flags));
        let inline = || cid.hash().code() == hash::IDENTITY && !codecs::can_link(cid.codec());
        // A block that was here, or became visible, may have been found damaged since.
        let whole = || self.core.quarantined() == 0 && self.whole.contains(cid);
        held == Some(true) || whole() || inline()
    }
}

fn row_of(block: &Block, place: Place) -> IndexRow {
    let size = u32::try_from(block.data().len()).unwrap_or(u32::MAX);
    IndexRow { size, flags: flags_of(block), place }
}

fn flags_of(block: &Block) -> u8 {
    let leaf = block.cid().codec() == codec::DAG_PB && dag_pb::is_leaf(block.data());
    if leaf { FLAG_PB_LEAF } else { 0 }
}

/// Whether a block read as that codec has no links.
pub(super) fn is_leaf(code: u64, flags: u8) -> bool {
    let flagged = code == codec::DAG_PB && flags & FLAG_PB_LEAF != 0;
    flagged || !codecs::can_link(code)
}

/// Bytes that records take.
pub(super) fn bytes_of(records: &[(Multihash, Bytes)]) -> u64 {
    let length = |(hash, data): &(Multihash, Bytes)| {
        record::length(hash, u32::try_from(data.len()).unwrap_or(u32::MAX))
    };
    records.iter().map(length).sum()
}

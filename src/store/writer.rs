//! The write path: one durable operation over any number of blocks.
//!
//! Bytes go to segments as they come, in few large writes. Once they are on the disk, index rows make
//! the blocks exist, and what holds them follows: edges bottom-up, then pins, in the order in which
//! the log keeps them. A crash in between leaves bytes that nobody can see, or blocks that nothing
//! holds and that are known to be loose.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;

use super::change::Change;
use super::edges::Blocks;
use super::intents::Intent;
use super::keys::{FLAG_PB_LEAF, IndexRow, Place};
use super::pins::Pin;
use super::segments::{Lease, Stream, record};
use super::{Core, StoreError, this_hour};
use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, Multihash, codec, hash};
use crate::ipld::codec::{self as codecs, dag_pb};

/// Bytes gathered before they are appended to a segment.
const GATHERED_BYTES: usize = 4 << 20;
/// Blocks whose index rows are written with what holds them, in one batch.
const SMALL_BLOCKS: usize = 1 << 10;
/// Index rows held back until their bytes are on the disk. Bounds memory at about 10 MiB, and what a
/// crash makes an interrupted import do again.
const ROWS_HELD_MAX: usize = 64 << 10;
/// Index rows written while everybody else waits.
const ROWS_TOGETHER: usize = 512;

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
    /// Keeps the segments in which blocks of `held` lie.
    leases: Vec<Lease<'a>>,
    /// Marks of blocks of this operation that are visible and have no links: whoever pins them need
    /// not look for each among a million rows. 8 bytes a block.
    leaves: HashSet<u64>,
    keys: RandomState,
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

impl Core {
    /// Puts blocks that nothing holds yet: fetched ones. They are here when this returns, and
    /// survive the death of the process; whoever pins them makes them survive a power loss. Gives
    /// those that were new.
    ///
    /// # Errors
    /// The database's; none of the blocks is then here.
    pub fn put_unpinned(&self, blocks: &[Block]) -> Result<Vec<Cid>, StoreError> {
        let intent = self.intend();
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
        let row = |(block, place): (&&Block, &Place)| (*block.cid().hash(), row_of(block, *place));
        let rows: Vec<_> = new.iter().zip(&places).map(row).collect();
        self.settle_rows(&rows)?;
        Ok(new.iter().map(|block| *block.cid()).collect())
    }

    /// Writes index rows, each block loose, a few at a time.
    fn settle_rows(&self, rows: &[(Multihash, IndexRow)]) -> Result<(), StoreError> {
        for some in rows.chunks(ROWS_TOGETHER) {
            let exclusive = self.exclusive();
            let mut change = Change::default();
            let new = self.put_rows(some, &mut change, &exclusive)?;
            new.iter().for_each(|hash| change.loosen(hash, this_hour()));
            self.apply(change, &exclusive)?;
            self.lifted(some.iter().map(|(hash, _)| hash));
        }
        Ok(())
    }

    /// Begins an operation.
    pub fn writer(&self) -> Writer<'_> {
        Writer {
            core: self,
            intent: self.intend(),
            gathered: Vec::new(),
            gathered_bytes: 0,
            held: HashMap::new(),
            leases: Vec::new(),
            leaves: HashSet::new(),
            keys: RandomState::new(),
        }
    }
}

impl<'a> Writer<'a> {
    /// Takes a block. Identity blocks carry themselves and are not stored.
    ///
    /// # Errors
    /// The database's, or that there is no room; the operation is then to be dropped.
    pub fn put(&mut self, block: &Block) -> Result<Put, StoreError> {
        let hash = block.cid().hash();
        if hash.code() == hash::IDENTITY || self.held.contains_key(hash) {
            return Ok(Put::Known);
        }
        if self.core.look(&self.intent, hash)?.is_some() {
            return Ok(Put::Known);
        }
        let data = block.data();
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let (codec, flags) = (block.cid().codec(), flags_of(block));
        let held = Held { codec, size, flags, place: None, data: Some(data.clone()) };
        self.held.insert(*hash, held);
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
        self.core.pin_with(pins, &self, &self.intent, rows)
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

    /// Makes every block put so far exist: bytes to the disk first, then the index rows.
    fn settle(&mut self) -> Result<(), StoreError> {
        self.append()?;
        self.core.segments.sync()?;
        self.core.settle_rows(&self.rows())?;
        for (hash, held) in self.held.drain() {
            if is_leaf(held.codec, held.flags) {
                self.leaves.insert(self.keys.hash_one((held.codec, hash)));
            }
        }
        self.leases.clear();
        Ok(())
    }

    fn rows(&self) -> Vec<(Multihash, IndexRow)> {
        let row = |(hash, held): (&Multihash, &Held)| {
            let Held { size, flags, place, .. } = *held;
            place.map(|place| (*hash, IndexRow { size, flags, place }))
        };
        self.held.iter().filter_map(row).collect()
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
            Some(Held { size, flags, place: Some(place), .. }) => {
                Ok(Some(IndexRow { size: *size, flags: *flags, place: *place }))
            }
            _ => self.core.stat(cid),
        }
    }

    /// A mark has 64 bits under a key of this operation, and is only asked for blocks that it links to:
    /// nobody can choose two that have the same.
    fn is_leaf_here(&self, cid: &Cid) -> bool {
        self.leaves.contains(&self.keys.hash_one((cid.codec(), *cid.hash())))
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

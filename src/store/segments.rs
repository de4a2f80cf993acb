//! Segments: append-only files that hold the bytes of blocks, each written once.
//!
//! A segment is filled, sealed, and deleted whole when nothing in it is needed any more. What lives
//! in it is told by index rows alone; how much, by its [`Figure`], which changes in the same batch
//! as they do. `docs/adr/0007-segments.md` says why content does not lie in the database.

pub mod medium;
mod reading;
pub mod record;
pub mod recovery;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::backend::BackendError;
use super::barrier::Barrier;
use super::keys::{Figure, Place};
use super::lock;
use crate::ipld::cid::Multihash;
use medium::{Medium, SegmentFile};

/// Records written with one call.
const WRITTEN_TOGETHER: usize = 512;
/// Segment files held open for reading.
const OPEN_MAX: usize = 256;
/// Unsynced bytes above which the disk is told to begin.
const UNSYNCED_BYTES: u64 = 16 << 20;

/// Who writes: what is likely to go together lies together, so that segments die whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// What somebody added or imported.
    Added,
    /// What was fetched, and goes first when room is needed.
    Fetched,
    /// What outlived the segment it lay in.
    Moved,
}

/// What is known of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Its number.
    pub id: u32,
    /// Its length, in bytes.
    pub length: u64,
    /// How much of it index rows point to, in bytes.
    pub live: u64,
    /// How many of them do.
    pub blocks: u64,
    /// Whether nothing is appended to it any more.
    pub sealed: bool,
    /// Whether a live record in it cannot be read.
    pub damaged: bool,
    /// Whether somebody holds places in it that no row tells yet.
    pub leased: bool,
}

/// Places in segments that no row tells yet: while it is held, the segments stay.
pub struct Lease<'a> {
    segments: &'a Segments,
    ids: Vec<u32>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        for id in &self.ids {
            self.segments.change(*id, |segment| segment.leases = segment.leases.saturating_sub(1));
        }
    }
}

impl Extent {
    /// Bytes that nothing points to.
    pub fn dead(&self) -> u64 {
        self.length.saturating_sub(self.live)
    }
}

#[derive(Default)]
struct Segment {
    file: Option<Arc<dyn SegmentFile>>,
    length: u64,
    /// Length that is known to be on the disk.
    synced: u64,
    bytes: i64,
    blocks: i64,
    sealed: bool,
    damaged: bool,
    leases: u32,
}

/// All segments of a store.
pub struct Segments {
    medium: Box<dyn Medium>,
    table: RwLock<BTreeMap<u32, Segment>>,
    /// The segment each stream appends to. Held while it does.
    active: [Mutex<Option<u32>>; 3],
    next: Mutex<u32>,
    barrier: Barrier,
    names_changed: AtomicBool,
    unsynced: AtomicU64,
    /// Synced lengths that no row tells yet.
    to_record: Mutex<Vec<(u32, u64)>>,
    /// The disk refused to sync: what it holds is not known any more.
    failed: AtomicBool,
    /// Length at which a segment is sealed, in bytes.
    target: AtomicU64,
    written: AtomicU64,
    read: AtomicU64,
}

impl Segments {
    /// Bytes that all segments take.
    pub fn length(&self) -> u64 {
        self.shared().values().map(|segment| segment.length).sum()
    }

    /// Blocks and bytes of records that index rows point to.
    pub fn live(&self) -> (u64, u64) {
        let table = self.shared();
        let (blocks, bytes) = table.values().fold((0i64, 0i64), |(blocks, bytes), segment| {
            (blocks.saturating_add(segment.blocks), bytes.saturating_add(segment.bytes))
        });
        (u64::try_from(blocks).unwrap_or(0), u64::try_from(bytes).unwrap_or(0))
    }

    /// Bytes written to and read from segments by this process.
    pub fn traffic(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.read.load(Ordering::Relaxed))
    }

    /// What is known of each segment, oldest first.
    pub fn extents(&self) -> Vec<Extent> {
        let table = self.shared();
        let extent = |(id, segment): (&u32, &Segment)| Extent {
            id: *id,
            length: segment.length,
            live: u64::try_from(segment.bytes).unwrap_or(0),
            blocks: u64::try_from(segment.blocks).unwrap_or(0),
            sealed: segment.sealed,
            damaged: segment.damaged,
            leased: segment.leases > 0,
        };
        table.iter().map(extent).collect()
    }

    /// Whether there is such a segment.
    pub fn has(&self, id: u32) -> bool {
        self.shared().contains_key(&id)
    }

    /// Length at which a segment is sealed, in bytes.
    pub fn target(&self) -> u64 {
        self.target.load(Ordering::Relaxed)
    }

    /// Changes it.
    pub fn set_target(&self, bytes: u64) {
        self.target.store(bytes.max(1), Ordering::Relaxed);
    }

    /// Bytes that may still be written to the device beneath.
    ///
    /// # Errors
    /// The system's.
    pub fn free_on_disk(&self) -> Result<u64, BackendError> {
        self.medium.free().map_err(|error| failed("the folder of segments", &error))
    }

    /// Appends records, and tells where each lies. They survive the death of the process, and a
    /// power loss from the next [`Self::sync`] on.
    ///
    /// # Errors
    /// [`BackendError::Full`] and the rest; nothing of it is then to be pointed to.
    pub fn append(
        &self,
        stream: Stream,
        records: &[(Multihash, Bytes)],
    ) -> Result<(Vec<Place>, Lease<'_>), BackendError> {
        self.not_failed()?;
        let mut lease = Lease { segments: self, ids: Vec::new() };
        let mut slot = lock(&self.active[stream as usize]);
        let mut places = Vec::with_capacity(records.len());
        let mut rest = records;
        while !rest.is_empty() {
            let (id, file, length) = self.tail(&mut slot)?;
            let room = self.target().saturating_sub(length).max(1);
            let (now, later) = rest.split_at(fitting(rest, room));
            let end = self.write(id, &file, length, now, &mut places)?;
            lease.ids.push(id);
            if end >= self.target() {
                *slot = None;
                self.change(id, |segment| segment.sealed = true);
            }
            rest = later;
        }
        Ok((places, lease))
    }

    /// Writes records at the end of a segment; gives its new length. What cannot be written whole
    /// is cut off again, so that the segment can be read through.
    fn write(
        &self,
        id: u32,
        file: &Arc<dyn SegmentFile>,
        length: u64,
        records: &[(Multihash, Bytes)],
        places: &mut Vec<Place>,
    ) -> Result<u64, BackendError> {
        let heads: Vec<Vec<u8>> =
            records.iter().map(|(hash, data)| record::head(hash, data)).collect();
        let (mut parts, mut end) = (Vec::with_capacity(2 * records.len()), length);
        for (head, (_, data)) in heads.iter().zip(records) {
            places.push(Place { segment: id, offset: u32::try_from(end).unwrap_or(u32::MAX) });
            parts.extend([&head[..], &data[..]]);
            end += (head.len() + data.len()) as u64;
        }
        if let Err(error) = file.write_all_at(&parts, length) {
            let _ = file.cut(length);
            return Err(failed(&format!("segment {id}"), &error));
        }
        self.change(id, |segment| {
            segment.length = end;
            segment.leases += 1;
        });
        self.written.fetch_add(end - length, Ordering::Relaxed);
        self.unsynced.fetch_add(end - length, Ordering::Relaxed);
        Ok(end)
    }

    /// The segment that a stream appends to, which is made if there is none.
    fn tail(
        &self,
        slot: &mut Option<u32>,
    ) -> Result<(u32, Arc<dyn SegmentFile>, u64), BackendError> {
        if let Some(id) = *slot {
            let length = self.shared().get(&id).map_or(0, |segment| segment.length);
            return Ok((id, self.file(id)?, length));
        }
        let mut next = lock(&self.next);
        let id = *next;
        let file = self.medium.create(id).map_err(|e| failed(&format!("segment {id}"), &e))?;
        *next += 1;
        self.names_changed.store(true, Ordering::Release);
        let segment = Segment { file: Some(file.clone()), ..Segment::default() };
        self.exclusive().insert(id, segment);
        *slot = Some(id);
        Ok((id, file, 0))
    }

    /// Whether so much is not on the disk yet that it is better told to begin.
    pub fn wants_sync(&self) -> bool {
        self.unsynced.load(Ordering::Relaxed) >= UNSYNCED_BYTES
    }

    /// How much of a segment is known to be on the disk, in bytes; 0 of one that is not there.
    pub fn synced(&self, id: u32) -> u64 {
        self.shared().get(&id).map_or(0, |segment| segment.synced)
    }

    /// Whether something was appended that nobody has synced yet.
    pub fn is_dirty(&self) -> bool {
        self.shared().values().any(|segment| segment.length > segment.synced)
    }

    /// Waits until all that was appended before the call is on the disk. Callers that wait at the
    /// same time share one sync.
    ///
    /// # Errors
    /// The disk's. It may then have lost what it was given without telling again, so the store
    /// takes nothing more until it is opened again.
    pub fn sync(&self) -> Result<(), BackendError> {
        self.not_failed()?;
        self.barrier.pass(|| {
            // The system tells of a failure once: whoever waited for it must hear of it, too.
            self.not_failed()?;
            let synced = self.sync_now();
            if synced.is_err() {
                self.failed.store(true, Ordering::Release);
            }
            synced
        })
    }

    fn sync_now(&self) -> Result<(), BackendError> {
        self.unsynced.store(0, Ordering::Relaxed);
        let dirty: Vec<(u32, u64)> = {
            let table = self.shared();
            let dirty = table.iter().filter(|(_, segment)| segment.length > segment.synced);
            dirty.map(|(id, segment)| (*id, segment.length)).collect()
        };
        let mut synced = Vec::with_capacity(dirty.len());
        for (id, length) in dirty {
            let file = match self.file(id) {
                Err(_) if !self.shared().contains_key(&id) => continue, // Emptied meanwhile.
                file => file?,
            };
            file.sync().map_err(|error| failed(&format!("segment {id}"), &error))?;
            self.change(id, |segment| segment.synced = segment.synced.max(length));
            synced.push((id, length));
        }
        if self.names_changed.swap(false, Ordering::AcqRel) {
            self.medium.sync_names().map_err(|error| failed("the folder of segments", &error))?;
        }
        // Not before their names are on the disk, too.
        lock(&self.to_record).extend(synced);
        Ok(())
    }

    /// What could not be told is to be told again.
    pub fn tell_again(&self, marks: Vec<(u32, u64)>) {
        lock(&self.to_record).extend(marks);
    }

    /// Synced lengths that no row tells yet, each to be told once.
    pub fn synced_since(&self) -> Vec<(u32, u64)> {
        std::mem::take(&mut lock(&self.to_record))
    }

    /// Takes up what a batch that is written changed.
    pub fn note(&self, figures: &BTreeMap<u32, Figure>) {
        let mut table = self.exclusive();
        for (id, figure) in figures {
            if let Some(segment) = table.get_mut(id) {
                segment.bytes = segment.bytes.saturating_add(figure.bytes);
                segment.blocks = segment.blocks.saturating_add(figure.blocks);
            }
        }
    }

    /// The open file of a segment. At most [`OPEN_MAX`] that are sealed stay open.
    fn file(&self, id: u32) -> Result<Arc<dyn SegmentFile>, BackendError> {
        let gone = || BackendError::Damaged(format!("its segment {id} is gone"));
        if let Some(file) = &self.shared().get(&id).ok_or_else(gone)?.file {
            return Ok(file.clone());
        }
        let file = self.medium.open(id).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => gone(),
            _ => failed(&format!("segment {id}"), &error),
        })?;
        let mut table = self.exclusive();
        let open = table.values().filter(|segment| segment.file.is_some()).count();
        if open >= OPEN_MAX {
            let closable = |segment: &&mut Segment| segment.sealed && segment.file.is_some();
            // Any of them: whoever reads it holds it, and it opens again in microseconds.
            if let Some(segment) = table.values_mut().find(closable) {
                segment.file = None;
            }
        }
        table.get_mut(&id).ok_or_else(gone)?.file = Some(file.clone());
        Ok(file)
    }

    /// Seals a segment, whoever appends to it; gives its length.
    pub fn seal(&self, id: u32) -> u64 {
        for slot in &self.active {
            let mut slot = lock(slot);
            if *slot == Some(id) {
                *slot = None;
            }
            self.change(id, |segment| segment.sealed = true);
        }
        self.shared().get(&id).map_or(0, |segment| segment.length)
    }

    /// Remembers whether a live record of a segment cannot be read: then it cannot be emptied.
    pub fn mark_damaged(&self, id: u32, damaged: bool) {
        self.change(id, |segment| segment.damaged = damaged);
    }

    /// Deletes a segment to which no row points any more, on the disk.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, id: u32) -> Result<(), BackendError> {
        self.exclusive().remove(&id);
        self.names_changed.store(true, Ordering::Release);
        match self.medium.remove(id) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(&format!("segment {id}"), &error))
            }
            _ => Ok(()),
        }
    }

    /// Changes a byte of a record behind everybody's back.
    #[cfg(test)]
    pub fn spoil(&self, place: Place, at: u64) {
        let file = self.file(place.segment).unwrap();
        let (mut byte, at) = ([0], u64::from(place.offset) + at);
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[&[!byte[0]]], at).unwrap();
    }

    fn not_failed(&self) -> Result<(), BackendError> {
        match self.failed.load(Ordering::Acquire) {
            true => Err(BackendError::Failed(
                "the disk failed to sync: nothing more is taken until the store is opened again"
                    .into(),
            )),
            false => Ok(()),
        }
    }

    fn change(&self, id: u32, work: impl FnOnce(&mut Segment)) {
        if let Some(segment) = self.exclusive().get_mut(&id) {
            work(segment);
        }
    }

    fn shared(&self) -> RwLockReadGuard<'_, BTreeMap<u32, Segment>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, BTreeMap<u32, Segment>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of the records go into a segment with so much room left: at least one, and the one
/// that crosses its end.
fn fitting(records: &[(Multihash, Bytes)], room: u64) -> usize {
    let mut bytes = 0;
    let ends = records.iter().position(|(hash, data)| {
        bytes += record::length(hash, u32::try_from(data.len()).unwrap_or(u32::MAX));
        bytes >= room
    });
    ends.map_or(records.len(), |last| last + 1).min(WRITTEN_TOGETHER)
}

/// The system's error on something of the store.
fn failed(what: &str, error: &io::Error) -> BackendError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            BackendError::Full
        }
        _ => BackendError::Failed(format!("{what}: {error}")),
    }
}

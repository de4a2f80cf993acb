//! The store: verified blocks, what keeps them alive, and the promise that what was acknowledged
//! is there after any crash.
//!
//! [`Core`] is synchronous and does the work; [`Store`] is its handle for async callers. Knows
//! nothing of files, peers or HTTP. Layout: `docs/storage.md`.

pub mod backend;
mod edges;
mod garbage;
pub mod keys;
mod listing;
pub mod memory;
pub mod pin;
pub mod pins;
mod quarantine;
pub mod records;
pub mod rocks;
#[cfg(test)]
mod testsuite;
mod verify;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, Multihash, codec};
use crate::task;
use backend::{Backend, BackendError, Batch, Durability, Family, Row};
pub use edges::Blocks;
pub use garbage::{Freed, PlanStep};
pub use keys::IndexRow;
pub use pins::{Mode, Pin, PinState};
pub use writer::{Put, Writer};

/// Rows read at a time when a family is walked.
const PAGE_ROWS: usize = 1024;

/// Why the store could not do as told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database's own trouble.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A block's bytes are lost or changed on the disk.
    #[error("block {cid} is corrupt on disk: {cause}")]
    Corrupt {
        /// The block.
        cid: Box<Cid>,
        /// What the database said.
        cause: String,
    },
    /// A DAG that was to be pinned lacks a block.
    #[error("block {0} was not found locally")]
    Missing(Box<Cid>),
    /// A block whose links cannot be read stands in a DAG that was to be pinned.
    #[error("block {cid} cannot be walked: {cause}")]
    Unreadable {
        /// The block.
        cid: Box<Cid>,
        /// The codec's reason.
        cause: String,
    },
    /// The pin asked to be removed or changed is not there, or another one is.
    #[error("{0}")]
    Pin(String),
    /// The directory holds another layout.
    #[error(
        "the store has layout {found}, this henge reads layout {}: use the henge that wrote it",
        keys::LAYOUT
    )]
    Layout {
        /// What the directory says.
        found: String,
    },
}

/// The synchronous store.
pub struct Core {
    backend: Box<dyn Backend>,
    barrier: Mutex<Barrier>,
    /// Held by whoever changes pins and edges: their rows are read, then written.
    pinning: Mutex<()>,
    /// Blocks whose bytes are damaged. Taken last, and never while a DAG is walked.
    quarantine: quarantine::Quarantine,
    /// Whether each block is hashed again when it is read, beyond the checksum.
    hash_on_read: bool,
}

/// How far unlogged payload is known to be on the disk.
#[derive(Default)]
struct Barrier {
    /// Raised by each caller before it waits.
    asked: Arc<std::sync::atomic::AtomicU64>,
    /// Every request up to this one is covered by a finished flush.
    covered: u64,
}

/// A handle to the store for async callers; clones share it.
#[derive(Clone)]
pub struct Store {
    core: Arc<Core>,
}

impl Store {
    /// Opens the store in `dir`, making it if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Layout`] for another layout; [`BackendError::Damaged`] names the file.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::over(Box::new(rocks::Rocks::open(dir)?))
    }

    /// As [`Self::open`]; every block is hashed again when it is read (`Datastore.HashOnRead`).
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_hashing(dir: &Path) -> Result<Self, StoreError> {
        let core = Core::over(Box::new(rocks::Rocks::open(dir)?), true)?;
        Ok(Self { core: Arc::new(core) })
    }

    /// A store that lives as long as the process.
    ///
    /// # Errors
    /// None in practice; the signature is that of every backend.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::over(Box::new(memory::Memory::default()))
    }

    /// A store over any backend.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn over(backend: Box<dyn Backend>) -> Result<Self, StoreError> {
        Ok(Self { core: Arc::new(Core::over(backend, false)?) })
    }

    /// The synchronous store, for work that already runs off the async threads.
    pub fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }

    /// Runs synchronous work on the store off the async threads.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> T {
        let core = self.core();
        task::blocking(move || work(&core)).await
    }

    /// The block, if it is here.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when its checksum fails.
    pub async fn get(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        let cid = *cid;
        self.run(move |core| core.get(&cid)).await
    }
}

impl Core {
    fn over(backend: Box<dyn Backend>, hash_on_read: bool) -> Result<Self, StoreError> {
        let (barrier, pinning) = (Mutex::default(), Mutex::default());
        let quarantine = quarantine::Quarantine::default();
        let core = Self { backend, barrier, pinning, quarantine, hash_on_read };
        core.check_layout()?;
        core.load_quarantine();
        Ok(core)
    }

    /// The block, if it is here. Identity CIDs are always here.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when its checksum fails or its bytes are gone; it counts as absent
    /// from then on, until it is put again.
    pub fn get(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        if let Some(block) = Block::inline(cid) {
            return Ok(Some(block));
        }
        if self.is_quarantined(cid.hash()) {
            let block = self.read(cid, true)?;
            self.lift(cid.hash())?;
            return Ok(block);
        }
        match self.read(cid, self.hash_on_read) {
            Err(StoreError::Corrupt { .. }) => self.to_quarantine(cid),
            other => other,
        }
    }

    /// Reads a block, and hashes it if `hash` says so.
    fn read(&self, cid: &Cid, hash: bool) -> Result<Option<Block>, StoreError> {
        let key = keys::block(cid.hash());
        let corrupt = |cause: String| StoreError::Corrupt { cid: Box::new(*cid), cause };
        if self.index_row(&key)?.is_none() {
            return Ok(None);
        }
        match self.backend.get(Family::Payload, &key) {
            Ok(Some(data)) if hash => {
                Block::verified(*cid, data).map(Some).map_err(|e| corrupt(e.to_string()))
            }
            Ok(Some(data)) => Ok(Some(Block::from_store(*cid, data))),
            Ok(None) => Err(corrupt("its bytes are gone".into())),
            Err(BackendError::Damaged(cause)) => Err(corrupt(cause)),
            Err(other) => Err(other.into()),
        }
    }

    /// What the index says of a block, without touching its bytes. One that was found damaged is
    /// not here: whoever needs it is to get it elsewhere.
    ///
    /// # Errors
    /// The database's.
    pub fn stat(&self, cid: &Cid) -> Result<Option<IndexRow>, StoreError> {
        if let Some(block) = Block::inline(cid) {
            let size = u32::try_from(block.data().len()).unwrap_or(u32::MAX);
            return Ok(Some(IndexRow { size, flags: 0, hour: 0 }));
        }
        match self.is_quarantined(cid.hash()) {
            true => Ok(None),
            false => self.index_row(&keys::block(cid.hash())),
        }
    }

    /// Whether a block is here and need not be written.
    fn is_sound(&self, hash: &Multihash, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.index_row(key)?.is_some() && !self.is_quarantined(hash))
    }

    /// Whether the index knows that the block has no links: no need to open it.
    ///
    /// # Errors
    /// The database's.
    pub fn is_leaf(&self, cid: &Cid) -> Result<bool, StoreError> {
        let flagged = |row: IndexRow| row.flags & keys::FLAG_PB_LEAF != 0;
        Ok(cid.codec() == codec::DAG_PB && self.stat(cid)?.is_some_and(flagged))
    }

    /// Visits each block's key and index row, in key order, until `visit` says `false`.
    ///
    /// # Errors
    /// The database's.
    pub fn each_block(
        &self,
        visit: &mut dyn FnMut(&Multihash, IndexRow) -> bool,
    ) -> Result<(), StoreError> {
        for row in self.rows(Family::Index, b"") {
            let (key, value) = row?;
            let (Some((hash, _)), Some(row)) = (keys::split_hash(&key), IndexRow::decode(&value))
            else {
                return Err(damaged("index", &key));
            };
            if !visit(&hash, row) {
                break;
            }
        }
        Ok(())
    }

    /// Number of blocks and their sizes in bytes, read from the index.
    ///
    /// # Errors
    /// The database's.
    pub fn totals(&self) -> Result<(u64, u64), StoreError> {
        let (mut blocks, mut bytes) = (0, 0);
        self.each_block(&mut |_, row| {
            blocks += 1;
            bytes += u64::from(row.size);
            true
        })?;
        Ok((blocks, bytes))
    }

    /// Bytes of all payload, of blocks and of none. Reads all of it: for tests of small stores.
    #[cfg(test)]
    fn payload_bytes(&self) -> Result<u64, StoreError> {
        self.rows(Family::Payload, b"").map(|row| row.map(|(_, value)| value.len() as u64)).sum()
    }

    fn index_row(&self, key: &[u8]) -> Result<Option<IndexRow>, StoreError> {
        match self.backend.get(Family::Index, key)? {
            None => Ok(None),
            Some(value) => match IndexRow::decode(&value) {
                Some(row) => Ok(Some(row)),
                None => Err(damaged("index", key)),
            },
        }
    }

    /// Every row under a prefix, a page at a time.
    fn rows<'a>(&'a self, family: Family, prefix: &'a [u8]) -> Rows<'a> {
        Rows { core: self, family, prefix, page: Vec::new().into_iter(), last: None, done: false }
    }

    /// Waits until all payload written before the call is on the disk. Callers that wait at the
    /// same time share one flush.
    fn flush_payload(&self) -> Result<(), StoreError> {
        use std::sync::atomic::Ordering::SeqCst;
        let asked = Arc::clone(&lock(&self.barrier).asked);
        let mine = asked.fetch_add(1, SeqCst) + 1;
        let mut barrier = lock(&self.barrier);
        if barrier.covered < mine {
            let upto = asked.load(SeqCst);
            self.backend.flush(Family::Payload)?;
            barrier.covered = upto;
        }
        Ok(())
    }

    /// Reads the layout's number, or writes it into a store that is new.
    fn check_layout(&self) -> Result<(), StoreError> {
        let ours = keys::LAYOUT.to_string();
        match self.backend.get(Family::Meta, keys::META_LAYOUT)? {
            Some(found) if found == ours.as_bytes() => Ok(()),
            Some(found) => {
                Err(StoreError::Layout { found: String::from_utf8_lossy(&found).into_owned() })
            }
            None => {
                let mut batch = Batch::default();
                batch.put(Family::Meta, keys::META_LAYOUT.into(), ours.into());
                Ok(self.backend.write(batch, Durability::Synced)?)
            }
        }
    }
}

/// Walks a family without holding a cursor open between pages.
struct Rows<'a> {
    core: &'a Core,
    family: Family,
    prefix: &'a [u8],
    page: std::vec::IntoIter<Row>,
    last: Option<bytes::Bytes>,
    done: bool,
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.done {
            let after = self.last.as_deref();
            match self.core.backend.page(self.family, self.prefix, after, PAGE_ROWS) {
                Ok(rows) => {
                    self.done = rows.len() < PAGE_ROWS;
                    self.page = rows.into_iter();
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error.into()));
                }
            }
        }
        let row = self.page.next()?;
        self.last = Some(row.0.clone());
        Some(Ok(row))
    }
}

/// A lock whose holder panicked guards nothing half-done: rows change in whole batches.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A row that no version of this layout wrote.
fn damaged(family: &str, key: &[u8]) -> StoreError {
    let key = data_encoding::HEXLOWER.encode(key);
    BackendError::Damaged(format!("row {key} of {family} does not parse")).into()
}

/// Hours since 1970, for the index.
fn this_hour() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / 3600).unwrap_or(u32::MAX)
}

//! The store: verified blocks, what keeps them alive, and the promise that what was acknowledged
//! is there after any crash.
//!
//! [`Core`] is synchronous and does the work; [`Store`] is its handle for async callers. Knows
//! nothing of files, peers or HTTP. Layout: `docs/storage.md`.

pub mod backend;
mod barrier;
mod change;
mod edges;
mod garbage;
pub mod intents;
pub mod keys;
mod listing;
pub mod memory;
pub mod pin;
pub mod pins;
mod quarantine;
mod rebuild;
pub mod records;
pub mod rocks;
pub mod room;
mod rows;
pub mod scrub;
pub mod segments;
mod space;
pub mod tenants;
pub mod tend;
#[cfg(test)]
mod testsuite;
mod verify;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, Multihash, codec};
use crate::task;
use backend::{Backend, BackendError, Batch, Family};
pub use edges::Blocks;
pub use garbage::Freed;
pub use intents::Intent;
pub use keys::IndexRow;
pub use pins::{Mode, Pin, PinState};
use room::Room;
use segments::Segments;
use segments::medium::{Folder, InMemory, Medium};
pub use writer::{Put, Writer};

/// The folder of the database, in that of the store.
const ROWS: &str = "rows";
/// The folder of segments, in that of the store.
const SEGMENTS: &str = "segments";

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
    /// What is garbage is not known while a pin's DAG is not whole.
    #[error(
        "rows of the store were lost and made again, and blocks below the pin {0} are missing: \
         nothing is collected before it is whole (`repo verify --heal`) or removed (`pin rm`)"
    )]
    Incomplete(Box<Cid>),
    /// Pins may have been lost, and what they held must not be.
    #[error(
        "rows of the store were lost and made again, and pins may be missing: nothing is collected \
         before `repo verify --drop` says that this is accepted"
    )]
    PinsLost,
    /// What was to be stored does not fit, and nothing more can be evicted for it.
    #[error(
        "no room for {wanted} bytes: the repository takes {used} of at most {limit} bytes \
         (Datastore.StorageMax), and the rest of it is pinned or in use"
    )]
    NoRoom {
        /// Bytes that were to be written.
        wanted: u64,
        /// Bytes on the disk.
        used: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The pin asked to be removed or changed is not there, or another one is.
    #[error("{0}")]
    Pin(String),
    /// The tenant's request that a change was about is not there any more, or not as it was.
    #[error("the request is not there any more")]
    Gone,
    /// A change would have a tenant hold more bytes than it may: others changed meanwhile.
    #[error("needs more bytes than are left: other requests changed meanwhile")]
    Short,
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
    segments: Arc<Segments>,
    /// Shared by whoever notes a block and looks whether it is here, exclusive for whoever changes
    /// rows. Never held while the disk syncs, and taken before every other lock but `emptying`.
    rows: RwLock<()>,
    intents: intents::Intents,
    room: Room,
    /// Blocks whose bytes are damaged. Taken last, and never while a DAG is walked.
    quarantine: quarantine::Quarantine,
    /// Whether each block is hashed again when it is read, beyond the checksum.
    hash_on_read: bool,
    /// What was done since the store was opened.
    counters: tend::Counters,
    arrivals: change::Arrivals,
    /// Held by the one who empties a segment. Taken before the rows' lock.
    emptying: Mutex<()>,
    /// Tells the thread that syncs ahead of whoever will wait for it.
    sync_ahead: Option<SyncSender<()>>,
    /// What keeps others from the repository. Let go last: a task that is about to end may hold the
    /// store longer than whoever opened it.
    lock: Option<Arc<File>>,
}

/// How a store is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tuning {
    /// Hash every block again when it is read (`Datastore.HashOnRead`).
    pub hash_on_read: bool,
    /// Most bytes that the repository may take on the disk (`Datastore.StorageMax`); 0 for no limit.
    pub limit: u64,
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
        Self::open_with(dir, Tuning::default())
    }

    /// The same, tuned.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(dir: &Path, tuning: Tuning) -> Result<Self, StoreError> {
        Ok(Self { core: Arc::new(Core::open(dir, tuning)?) })
    }

    /// The same, with the lock of the repository that it lies in, which is kept until it is closed.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_locked(dir: &Path, tuning: Tuning, lock: Arc<File>) -> Result<Self, StoreError> {
        let mut core = Core::open(dir, tuning)?;
        core.lock = Some(lock);
        Ok(Self { core: Arc::new(core) })
    }

    /// A store that lives as long as the process.
    ///
    /// # Errors
    /// None in practice; the signature is that of every backend.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::over(Box::new(memory::Memory::default()))
    }

    /// A store over any backend, with its blocks in memory.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn over(backend: Box<dyn Backend>) -> Result<Self, StoreError> {
        Self::over_both(backend, Box::<InMemory>::default())
    }

    /// A store over any backend and any medium.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn over_both(
        backend: Box<dyn Backend>,
        medium: Box<dyn Medium>,
    ) -> Result<Self, StoreError> {
        let core = Core::over(backend, medium, Room::new(0, u64::MAX))?;
        Ok(Self { core: Arc::new(core) })
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
    fn open(dir: &Path, tuning: Tuning) -> Result<Self, StoreError> {
        let failed = |e: std::io::Error| BackendError::Failed(format!("{}: {e}", dir.display()));
        std::fs::create_dir_all(dir).map_err(failed)?;
        // A power loss right after the first add must not take the whole folder with it.
        let above = dir.parent().unwrap_or(dir);
        File::open(above).and_then(|folder| folder.sync_all()).map_err(failed)?;
        let folder = Folder::open(&dir.join(SEGMENTS)).map_err(failed)?;
        let room = Room::new(tuning.limit, folder.size().map_err(failed)?);
        let rocks = rebuild::open(dir, room.log_max())?;
        let mut core = Self::over(Box::new(rocks), Box::new(folder), room)?;
        core.hash_on_read = tuning.hash_on_read;
        core.sync_ahead = Some(sync_ahead(&core.segments).map_err(failed)?);
        Ok(core)
    }

    fn over(
        backend: Box<dyn Backend>,
        medium: Box<dyn Medium>,
        room: Room,
    ) -> Result<Self, StoreError> {
        check_layout(backend.as_ref())?;
        let mut figures = BTreeMap::new();
        for (key, value) in backend.page(Family::Segments, b"", None, usize::MAX)? {
            let parsed = keys::split_segment(&key).zip(keys::Figure::decode(&value));
            let (id, figure) = parsed.ok_or_else(|| damaged("segments", &key))?;
            figures.insert(id, figure);
        }
        let (segments, doubtful) = Segments::open(medium, &figures)?;
        segments.set_target(room.segment_bytes());
        let core = Self {
            backend,
            segments: Arc::new(segments),
            rows: RwLock::default(),
            intents: intents::Intents::default(),
            room,
            quarantine: quarantine::Quarantine::default(),
            hash_on_read: false,
            counters: tend::Counters::default(),
            arrivals: change::Arrivals::default(),
            emptying: Mutex::default(),
            sync_ahead: None,
            lock: None,
        };
        core.check_tails(&doubtful)?;
        core.load_quarantine();
        Ok(core)
    }

    /// The block, if it is here. Identity CIDs are always here.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when its checksum fails or its bytes are gone; it counts as absent
    /// from then on, until it is put again.
    pub fn get(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        let found = self.find(cid)?;
        if found.is_some() {
            self.used(cid.hash())?;
        }
        Ok(found)
    }

    /// The same for the store's own sake: it does not count as a use.
    fn find(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        if let Some(block) = Block::inline(cid) {
            return Ok(Some(block));
        }
        if self.is_quarantined(cid.hash()) {
            let block = self.read(cid, true)?;
            if block.is_some() {
                self.lift(cid.hash())?;
            }
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
        let mut place = None;
        loop {
            let Some(row) = self.index_row(&key)? else { return Ok(None) };
            match self.segments.read(row.place, cid.hash(), row.size) {
                Ok(data) if hash => {
                    let block = Block::verified(*cid, data);
                    return block.map(Some).map_err(|error| corrupt(error.to_string()));
                }
                Ok(data) => return Ok(Some(Block::from_store(*cid, data))),
                // It may have been moved since its row was read.
                Err(BackendError::Damaged(_)) if place.replace(row.place) != Some(row.place) => {}
                Err(BackendError::Damaged(cause)) => return Err(corrupt(cause)),
                Err(other) => return Err(other.into()),
            }
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
            let place = keys::Place { segment: 0, offset: 0 };
            return Ok(Some(IndexRow { size, flags: 0, place }));
        }
        self.sound_row(cid.hash())
    }

    /// The index row of a block that is not known to be damaged.
    fn sound_row(&self, hash: &Multihash) -> Result<Option<IndexRow>, StoreError> {
        match self.is_quarantined(hash) {
            true => Ok(None),
            false => self.index_row(&keys::block(hash)),
        }
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

    /// Number of blocks, and bytes of their records.
    pub fn totals(&self) -> (u64, u64) {
        self.segments.live()
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

    /// Has the disk begin with what will be waited for, once there is enough of it.
    fn begin_sync(&self) {
        if let Some(ahead) = self.sync_ahead.as_ref().filter(|_| self.segments.wants_sync()) {
            // A full channel: it has been told.
            let _ = ahead.try_send(());
        }
    }
}

impl Drop for Core {
    /// Leaves nothing that the next opening has to read before it trusts it.
    fn drop(&mut self) {
        let closed = self.segments.sync().map_err(StoreError::from).and_then(|()| {
            self.apply(change::Change::default(), &self.exclusive())?;
            self.sync()
        });
        if let Err(error) = closed {
            tracing::debug!("closing the store: {error}");
        }
    }
}

/// Starts the thread that syncs segments while more is appended: whoever commits then waits for the
/// rest alone. It ends with the store.
fn sync_ahead(segments: &Arc<Segments>) -> std::io::Result<SyncSender<()>> {
    let (ahead, told) = sync_channel(1);
    let segments = Arc::clone(segments);
    task::thread("store-sync", move || {
        while told.recv().is_ok() {
            // Whoever waits for it hears of a failure.
            let _ = segments.sync();
        }
    })?;
    Ok(ahead)
}

/// Reads the layout's number, or writes it into a store that is new.
fn check_layout(backend: &dyn Backend) -> Result<(), StoreError> {
    let ours = keys::LAYOUT.to_string();
    match backend.get(Family::Meta, keys::META_LAYOUT)? {
        Some(found) if found == ours.as_bytes() => Ok(()),
        Some(found) => {
            Err(StoreError::Layout { found: String::from_utf8_lossy(&found).into_owned() })
        }
        None => {
            let mut batch = Batch::default();
            batch.put(Family::Meta, keys::META_LAYOUT.into(), ours.into());
            backend.write(batch)?;
            Ok(backend.sync()?)
        }
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

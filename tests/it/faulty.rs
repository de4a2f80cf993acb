//! A backend and a medium in memory that die together: after so many writes every further one fails,
//! and what a crash would have taken is not in what the next life finds.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use henge::store::Store;
use henge::store::backend::{Backend, BackendError, Batch, Family, Row, Taken};
use henge::store::memory::Memory;
use henge::store::segments::medium::{Medium, SegmentFile};

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The process dies: what was written is in the page cache.
    Process,
    /// The machine dies: what was written since the last sync is gone.
    Power,
    /// The same, but the log had reached the disk by itself, ahead of files.
    Ahead,
}

type Files = BTreeMap<u32, Vec<u8>>;

/// What is on the disk; clones share it.
#[derive(Clone, Default)]
pub struct Disk {
    rows: Arc<Memory>,
    files: Arc<Mutex<Files>>,
}

/// One life over a disk.
#[derive(Clone)]
pub struct Life(Arc<State>);

struct State {
    disk: Disk,
    death: Death,
    writes_left: AtomicUsize,
    /// What this life sees.
    rows: Memory,
    files: Mutex<Files>,
    /// Batches that are not on the disk yet.
    logged: Mutex<Vec<Batch>>,
    /// Files that are, under names that are not.
    synced: Mutex<Files>,
}

fn copy(from: &Memory) -> Memory {
    let to = Memory::default();
    for family in Family::ALL {
        let mut batch = Batch::default();
        for (key, value) in from.page(family, b"", None, usize::MAX).unwrap() {
            batch.put(family, key, value);
        }
        to.write(batch).unwrap();
    }
    to
}

impl Disk {
    /// The same on a disk of its own.
    pub fn duplicate(&self) -> Self {
        let files = self.files.lock().unwrap().clone();
        Self { rows: Arc::new(copy(&self.rows)), files: Arc::new(Mutex::new(files)) }
    }

    /// A store that dies after `writes` writes.
    pub fn live(&self, death: Death, writes: usize) -> (Store, Life) {
        let files = self.files.lock().unwrap().clone();
        let life = Life(Arc::new(State {
            disk: self.clone(),
            death,
            writes_left: AtomicUsize::new(usize::MAX),
            rows: copy(&self.rows),
            files: Mutex::new(files.clone()),
            logged: Mutex::default(),
            synced: Mutex::new(files),
        }));
        let both = (Box::new(life.clone()), Box::new(life.clone()));
        let store = Store::over_both(both.0, both.1).expect("every start succeeds");
        life.0.writes_left.store(writes, Ordering::SeqCst);
        (store, life)
    }

    /// A store that does not die.
    pub fn open(&self) -> Store {
        self.live(Death::Process, usize::MAX).0
    }

    /// Rows of a family.
    pub fn rows(&self, family: Family) -> Vec<Row> {
        self.rows.page(family, b"", None, usize::MAX).unwrap()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> usize {
        self.files.lock().unwrap().values().map(Vec::len).sum()
    }
}

impl Life {
    /// Whether it died.
    pub fn over(&self) -> bool {
        self.0.writes_left.load(Ordering::SeqCst) == 0
    }

    fn spend(&self) -> io::Result<()> {
        let spend = |left: usize| left.checked_sub(1);
        let spent = self.0.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend);
        spent.map(drop).map_err(|_| io::Error::other("this life is over"))
    }

    fn row_spend(&self) -> Result<(), BackendError> {
        self.spend().map_err(|error| BackendError::Failed(error.to_string()))
    }

    /// A change of files: on the disk at once where only the process dies.
    fn change(&self, work: impl Fn(&mut Files)) -> io::Result<()> {
        self.spend()?;
        work(&mut self.0.files.lock().unwrap());
        if self.0.death == Death::Process {
            work(&mut self.0.disk.files.lock().unwrap());
        }
        Ok(())
    }
}

impl Backend for Life {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        self.0.rows.get(family, key)
    }

    fn page(
        &self,
        family: Family,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, BackendError> {
        self.0.rows.page(family, prefix, after, limit)
    }

    fn each(
        &self,
        family: Family,
        prefix: &[u8],
        from: &[u8],
        look: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), BackendError> {
        self.0.rows.each(family, prefix, from, look)
    }

    fn write(&self, batch: Batch) -> Result<(), BackendError> {
        self.row_spend()?;
        self.0.rows.write(batch.clone())?;
        match self.0.death {
            Death::Power => self.0.logged.lock().unwrap().push(batch),
            Death::Process | Death::Ahead => self.0.disk.rows.write(batch)?,
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), BackendError> {
        self.row_spend()?;
        let mut logged = self.0.logged.lock().unwrap();
        logged.drain(..).try_for_each(|batch| self.0.disk.rows.write(batch))
    }

    fn flush(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn compact(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn taken(&self) -> Result<Taken, BackendError> {
        Ok(Taken::default())
    }
}

impl Medium for Life {
    fn list(&self) -> io::Result<Vec<(u32, u64)>> {
        let files = self.0.files.lock().unwrap();
        Ok(files.iter().map(|(id, bytes)| (*id, bytes.len() as u64)).collect())
    }

    fn create(&self, id: u32) -> io::Result<Arc<dyn SegmentFile>> {
        self.change(|files| _ = files.insert(id, Vec::new()))?;
        self.open(id)
    }

    fn open(&self, id: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let there = self.0.files.lock().unwrap().contains_key(&id);
        let file = there.then(|| Arc::new(File { life: self.clone(), id }));
        Ok(file.ok_or(io::ErrorKind::NotFound)?)
    }

    fn remove(&self, id: u32) -> io::Result<()> {
        self.change(|files| _ = files.remove(&id))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.spend()?;
        let (seen, synced) = (self.0.files.lock().unwrap(), self.0.synced.lock().unwrap());
        let bytes = |id: &u32| synced.get(id).cloned().unwrap_or_default();
        let named = seen.keys().map(|id| (*id, bytes(id))).collect();
        if self.0.death != Death::Process {
            *self.0.disk.files.lock().unwrap() = named;
        }
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

struct File {
    life: Life,
    id: u32,
}

impl SegmentFile for File {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let files = self.life.0.files.lock().unwrap();
        let from = usize::try_from(offset).unwrap();
        let bytes = files.get(&self.id).and_then(|bytes| bytes.get(from..from + out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        self.life.change(|files| {
            let bytes = files.entry(self.id).or_default();
            bytes.resize(usize::try_from(offset).unwrap(), 0);
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.life.spend()?;
        let state = &self.life.0;
        let bytes = state.files.lock().unwrap().get(&self.id).cloned().unwrap_or_default();
        if let Some(named) = state.disk.files.lock().unwrap().get_mut(&self.id) {
            named.clone_from(&bytes);
        }
        state.synced.lock().unwrap().insert(self.id, bytes);
        Ok(())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap();
        self.life.change(|files| files.entry(self.id).or_default().truncate(length))
    }
}

//! A backend in memory that dies: after so many writes every further one fails, and what a crash
//! would have taken is not in what the next life finds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use henge::store::Store;
use henge::store::backend::{Backend, BackendError, Batch, Durability, Family, Row};
use henge::store::memory::Memory;

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The process dies: the log is in the page cache, unlogged rows are gone.
    Process,
    /// The machine dies: logged rows since the last synced batch are gone, too.
    Power,
}

/// What is on the disk; clones share it.
#[derive(Clone, Default)]
pub struct Disk(Arc<Memory>);

/// One life over a disk.
#[derive(Clone)]
pub struct Life(Arc<State>);

struct State {
    disk: Arc<Memory>,
    /// What this life sees.
    seen: Memory,
    death: Death,
    writes_left: AtomicUsize,
    logged: Mutex<Vec<Batch>>,
    unlogged: Mutex<Vec<Batch>>,
}

fn copy(from: &Memory) -> Memory {
    let to = Memory::default();
    for family in Family::ALL {
        let mut batch = Batch::default();
        for (key, value) in from.page(family, b"", None, usize::MAX).unwrap() {
            batch.put(family, key, value);
        }
        to.write(batch, Durability::Synced).unwrap();
    }
    to
}

impl Disk {
    /// The same rows on a disk of their own.
    pub fn duplicate(&self) -> Self {
        Self(Arc::new(copy(&self.0)))
    }

    /// A store that dies after `writes` writes.
    pub fn live(&self, death: Death, writes: usize) -> (Store, Life) {
        let life = Life(Arc::new(State {
            disk: Arc::clone(&self.0),
            seen: copy(&self.0),
            death,
            writes_left: AtomicUsize::new(usize::MAX),
            logged: Mutex::default(),
            unlogged: Mutex::default(),
        }));
        let store = Store::over(Box::new(life.clone())).expect("every start succeeds");
        life.0.writes_left.store(writes, Ordering::SeqCst);
        (store, life)
    }

    /// A store that does not die.
    pub fn open(&self) -> Store {
        self.live(Death::Process, usize::MAX).0
    }

    /// Rows of a family.
    pub fn rows(&self, family: Family) -> Vec<Row> {
        self.0.page(family, b"", None, usize::MAX).unwrap()
    }
}

impl Life {
    /// Whether it died.
    pub fn over(&self) -> bool {
        self.0.writes_left.load(Ordering::SeqCst) == 0
    }

    fn spend(&self) -> Result<(), BackendError> {
        let spend = |left: usize| left.checked_sub(1);
        let spent = self.0.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend);
        spent.map(drop).map_err(|_| BackendError::Failed("this life is over".into()))
    }
}

impl Backend for Life {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        self.0.seen.get(family, key)
    }

    fn page(
        &self,
        family: Family,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, BackendError> {
        self.0.seen.page(family, prefix, after, limit)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), BackendError> {
        self.spend()?;
        let state = &self.0;
        state.seen.write(batch.clone(), durability)?;
        let mut logged = state.logged.lock().unwrap();
        match (durability, state.death) {
            (Durability::Unlogged, _) => state.unlogged.lock().unwrap().push(batch),
            (Durability::Logged, Death::Power) => logged.push(batch),
            _ => {
                for earlier in logged.drain(..).chain([batch]) {
                    state.disk.write(earlier, Durability::Synced)?;
                }
            }
        }
        Ok(())
    }

    fn flush(&self, _: Family) -> Result<(), BackendError> {
        self.spend()?;
        for batch in self.0.unlogged.lock().unwrap().drain(..) {
            self.0.disk.write(batch, Durability::Synced)?;
        }
        Ok(())
    }

    fn compact(&self, _: Family) -> Result<(), BackendError> {
        Ok(())
    }
}

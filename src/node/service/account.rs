//! One tenant's account: its requests by status, what it uses, and changes of its rows. What memory
//! says and what rows say change under one lock.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::State;
use super::index::Index;
use super::quota::{Promise, Used};
use super::request::{Status, priority_of};
use super::row::Row;
use crate::dag::weigh::weigh;
use crate::ipld::cid::Cid;
use crate::store::backend::BackendError;
use crate::store::keys::tenants::{self as keys, Holding};
use crate::store::tenants::{Beside, Joint, TenantBatch};
use crate::store::{Core, StoreError};

/// One tenant's.
#[derive(Debug)]
pub(super) struct Account {
    pub tenant: u32,
    book: Mutex<Book>,
    /// Taken after the book, and changed only with it but for promises.
    used: Mutex<Used>,
}

/// What is known of a tenant's requests.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub index: Index,
    /// When the newest request was made that there ever was, in microseconds since 1970: a fetch that
    /// ends late must not take another request for its own.
    pub newest: u64,
    /// Bytes of the rows of requests that have failed.
    pub failed: u64,
    loaded: bool,
    /// The tenant is being removed: nothing comes in any more.
    pub closed: bool,
}

/// What becomes of a request when a batch is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    /// It is gone; with the priority and time under which it may wait in the queue, and the bytes of
    /// its row if it had failed.
    Gone(u64, i8, u64, u64),
    /// It is pinned.
    Pinned(u64),
    /// It has failed; with the bytes of its row.
    Failed(u64, u64),
}

/// A lock whose holder panicked guards what stands in rows.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A row that no version of this layout wrote.
pub(super) fn damaged(key: &[u8]) -> StoreError {
    let key = data_encoding::HEXLOWER.encode(key);
    BackendError::Damaged(format!("row {key} of tenants does not parse")).into()
}

impl Account {
    pub fn new(tenant: u32) -> Self {
        Self { tenant, book: Mutex::default(), used: Mutex::default() }
    }

    /// The book, read from rows when it is opened first. What was being pinned when the process ended
    /// waits again; it is in the queue when this returns.
    pub fn open(&self, core: &Core, state: &State) -> Result<MutexGuard<'_, Book>, StoreError> {
        let mut book = lock(&self.book);
        if !book.loaded {
            let mut times: [Vec<u64>; 4] = Default::default();
            let (mut waiting, mut failed) = (Vec::new(), 0);
            let used = core.tenant_row(&keys::used(self.tenant))?;
            let mut used = used.and_then(|row| keys::split_used(&row));
            // Nothing is held, or the sums were lost with a damaged database.
            let mut sums = used.is_none().then(Sums::default);
            let requests = keys::requests(self.tenant);
            core.each_tenant_row(&requests, &requests, &mut |key, value| {
                let row = Row::glance(value).ok_or_else(|| damaged(key))?;
                let created = keys::split_created(key).ok_or_else(|| damaged(key))?;
                let mut status = row.status;
                if let Some(sums) = &mut sums {
                    sums.count(&Row::decode(value).ok_or_else(|| damaged(key))?);
                }
                if matches!(status, Status::Queued | Status::Pinning) {
                    let row = Row::decode(value).ok_or_else(|| damaged(key))?;
                    // What kept the node from it may be over.
                    let not_before = if row.hold.is_some() { 0 } else { row.not_before };
                    waiting.push((created, priority_of(&row.meta).unwrap_or(0), not_before));
                    status = Status::Queued;
                }
                if status == Status::Failed {
                    failed += value.len() as u64;
                }
                times[status as usize].push(created);
                Ok(true)
            })?;
            book.index = Index::of_newest_first(times);
            book.failed = failed;
            book.newest = book.index.last().unwrap_or(0);
            if let Some(sums) = sums {
                used = Some(sums.write(core, self.tenant)?);
            }
            lock(&self.used).bytes = used.unwrap_or(0);
            let mut queue = lock(&state.queue);
            for (created, priority, not_before) in waiting {
                queue.push((self.tenant, created), priority, not_before);
            }
            book.loaded = true;
        }
        Ok(book)
    }

    /// What it uses.
    pub fn used(&self) -> MutexGuard<'_, Used> {
        lock(&self.used)
    }
}

/// What a tenant holds, made again of its requests.
#[derive(Default)]
struct Sums(HashMap<Cid, Holding>);

impl Sums {
    /// One request holds its own DAG, or that which it takes the place of.
    fn count(&mut self, row: &Row) {
        let pinned = row.parsed().filter(|_| row.status == Status::Pinned);
        for (cid, bytes, blocks) in [(pinned, row.bytes, row.blocks), (row.keeps, 0, 0)] {
            let Some(cid) = cid else { continue };
            let held = self.0.entry(keys::pinned_as(&cid)).or_default();
            let requests = held.requests.saturating_add(1);
            *held =
                Holding { requests, bytes: held.bytes.max(bytes), blocks: held.blocks.max(blocks) };
        }
    }

    /// Writes the rows; gives the bytes of all.
    fn write(self, core: &Core, tenant: u32) -> Result<u64, StoreError> {
        let (mut rows, mut all) = (TenantBatch::default(), 0_u64);
        for (cid, mut held) in self.0 {
            if held.blocks == 0 {
                // Of what is replaced nothing tells the weight. What cannot be weighed is not whole.
                let weight = weigh(core, &cid, u64::MAX).unwrap_or_default();
                (held.bytes, held.blocks) = (weight.bytes, weight.blocks);
            }
            all = all.saturating_add(held.bytes);
            rows.put(keys::held(&cid, tenant), held.encode());
        }
        if all > 0 {
            rows.put(keys::used(tenant), keys::bytes_used(all));
        }
        if !rows.is_empty() {
            core.log_tenants(rows)?;
        }
        Ok(all)
    }
}

/// A request's row.
pub(super) fn row_of(core: &Core, tenant: u32, created: u64) -> Result<Option<Row>, StoreError> {
    let key = keys::request(tenant, created);
    let Some(value) = core.tenant_row(&key)? else { return Ok(None) };
    Row::decode(&value).map(Some).ok_or_else(|| damaged(&key))
}

/// Puts a request's row and those that find it.
pub(super) fn put_rows(batch: &mut TenantBatch, tenant: u32, created: u64, row: &Row) {
    for key in found_by(tenant, created, row) {
        batch.put(key, Bytes::new());
    }
    batch.put(keys::request(tenant, created), row.encode());
}

/// Deletes the same.
pub(super) fn delete_rows(batch: &mut TenantBatch, tenant: u32, created: u64, row: &Row) {
    for key in found_by(tenant, created, row) {
        batch.delete(key);
    }
    batch.delete(keys::request(tenant, created));
}

fn found_by(tenant: u32, created: u64, row: &Row) -> impl Iterator<Item = Bytes> {
    let cid = row.parsed().map(|cid| keys::by_cid(tenant, &cid, created));
    let name = (!row.name.is_empty()).then(|| keys::by_name(tenant, &row.name, created));
    let expiry = (row.expires > 0).then(|| keys::by_expiry(row.expires, tenant, created));
    [cid, name, expiry].into_iter().flatten()
}

/// DAGs that a change takes hold of and lets go, each counted once whatever the batch does with it.
pub(super) struct Holds<'a> {
    core: &'a Core,
    tenant: u32,
    /// By key: the CID, and the row before and after.
    met: HashMap<Bytes, (Cid, Holding, Holding)>,
}

impl<'a> Holds<'a> {
    fn new(core: &'a Core, tenant: u32) -> Self {
        Self { core, tenant, met: HashMap::new() }
    }

    fn at(&mut self, cid: &Cid) -> Result<&mut Holding, StoreError> {
        let key = keys::held(cid, self.tenant);
        if !self.met.contains_key(&key) {
            let row = match self.core.tenant_row(&key)? {
                Some(row) => Holding::decode(&row).ok_or_else(|| damaged(&key))?,
                None => Holding::default(),
            };
            self.met.insert(key.clone(), (keys::pinned_as(cid), row, row));
        }
        self.met.get_mut(&key).map(|(_, _, after)| after).ok_or_else(|| damaged(&key))
    }

    /// One request more holds the DAG.
    pub fn take(&mut self, cid: &Cid, bytes: u64, blocks: u64) -> Result<(), StoreError> {
        let held = self.at(cid)?;
        *held = Holding { requests: held.requests.saturating_add(1), bytes, blocks };
        Ok(())
    }

    /// One request less does.
    pub fn let_go(&mut self, cid: &Cid) -> Result<(), StoreError> {
        let held = self.at(cid)?;
        held.requests = held.requests.saturating_sub(1);
        Ok(())
    }

    /// Writes the rows; gives what is let go for good, and the bytes used from `used` on.
    fn finish(self, batch: &mut TenantBatch, used: u64) -> (Vec<Cid>, u64) {
        let (mut release, mut bytes) = (Vec::new(), used);
        for (key, (cid, before, after)) in self.met {
            if before == after {
                continue;
            }
            let weight = |held: Holding| if held.requests > 0 { held.bytes } else { 0 };
            bytes = bytes.saturating_sub(weight(before)).saturating_add(weight(after));
            match after.requests {
                0 => {
                    batch.delete(key);
                    release.push(cid);
                }
                _ => batch.put(key, after.encode()),
            }
        }
        match bytes {
            _ if bytes == used => {}
            0 => batch.delete(keys::used(self.tenant)),
            _ => batch.put(keys::used(self.tenant), keys::bytes_used(bytes)),
        }
        (release, bytes)
    }
}

/// What a change writes and does.
#[derive(Default)]
pub(super) struct Planned {
    pub rows: TenantBatch,
    pub effects: Vec<Effect>,
}

/// A change of a tenant's rows beside its pins: planned under the book's lock, which is held until
/// memory says the same as the rows.
pub(super) struct Changing<'a, F> {
    state: &'a State,
    account: &'a Account,
    plan: F,
    /// What a fetch was promised, and uses from now on, within the tenant's limit of bytes.
    promise: Option<(&'a mut Promise, Option<u64>)>,
    held: Option<(MutexGuard<'a, Book>, Vec<Effect>, u64)>,
}

impl<'a, F> Changing<'a, F>
where
    F: FnMut(&Core, &mut Book, &mut Holds<'_>) -> Result<Planned, StoreError>,
{
    pub fn new(state: &'a State, account: &'a Account, plan: F) -> Self {
        Self { state, account, plan, promise: None, held: None }
    }

    /// The same for a fetch that ends. What it was promised may be short by now: others may hold
    /// what it was to take the place of, or hold no longer what it was to share.
    pub fn keeping(self, promise: &'a mut Promise, most: Option<u64>) -> Self {
        Self { promise: Some((promise, most)), ..self }
    }
}

impl<F> Beside for Changing<'_, F>
where
    F: FnMut(&Core, &mut Book, &mut Holds<'_>) -> Result<Planned, StoreError>,
{
    fn rows(&mut self, core: &Core) -> Result<Joint, StoreError> {
        let mut book = self.account.open(core, self.state)?;
        let mut holds = Holds::new(core, self.account.tenant);
        let Planned { mut rows, effects } = (self.plan)(core, &mut book, &mut holds)?;
        let before = *self.account.used();
        let (release, used) = holds.finish(&mut rows, before.bytes);
        if let Some((promise, Some(most))) = &self.promise {
            let others = before.reserved.saturating_sub(promise.bytes);
            if used > before.bytes && used.saturating_add(others) > *most {
                return Err(StoreError::Short);
            }
        }
        self.held = Some((book, effects, used));
        Ok(Joint { rows, release })
    }

    fn written(&mut self) {
        let Some((mut book, effects, bytes)) = self.held.take() else { return };
        let mut used = self.account.used();
        used.bytes = bytes;
        if let Some((promise, _)) = self.promise.take() {
            used.release(std::mem::take(promise));
        }
        drop(used);
        self.state.apply(self.account.tenant, &mut book, &effects);
    }
}

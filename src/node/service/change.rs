//! Requests come and go: taking one in, putting one in the place of another, removing them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::account::{Account, Changing, Effect, Planned, delete_rows, lock, put_rows, row_of};
use super::request::{self, PinAsk, Request, Status, priority_of};
use super::row::Row;
use super::{Access, Service, State, Tenant, quota};
use crate::node::Error;
use crate::store::keys::tenants::pinned_as;
use crate::store::pin::now;
use crate::store::tenants::TenantBatch;
use crate::store::{Core, StoreError};

/// Requests removed in one batch.
const REMOVED_TOGETHER: usize = 128;
/// Microseconds between two requests of a tenant at least.
const TICK: u64 = 1_000;

impl Service {
    /// Takes a request into the queue; durable when this returns.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what cannot be meant; [`Error::Quota`] tells the limit;
    /// [`Error::Denied`] what the token lacks; the store's.
    pub async fn add(&self, who: &Access, ask: PinAsk) -> Result<Request, Error> {
        self.take_in(who, ask, None).await
    }

    /// Puts a request in the place of another, whose DAG is held until the new one's is here or
    /// cannot be had. Both at once, or neither.
    ///
    /// # Errors
    /// As [`Self::add`], and [`Error::Absent`].
    pub async fn replace(&self, who: &Access, id: &str, ask: PinAsk) -> Result<Request, Error> {
        let old = request::split_id(id).ok_or_else(|| absent(id))?;
        self.permitted_id(who, id).await?;
        self.take_in(who, ask, Some((old, id.to_owned()))).await
    }

    /// Whether the token may undo a request: not what it may not make.
    async fn permitted_id(&self, who: &Access, id: &str) -> Result<(), Error> {
        if who.token.cid.is_none() && who.token.name_prefix.is_none() {
            return Ok(());
        }
        let Request { cid, name, .. } = self.request(who, id).await?;
        let Ok(ask) = PinAsk::new(&cid) else { return Ok(()) };
        permitted(who, &PinAsk { name, ..ask })
    }

    async fn take_in(
        &self,
        who: &Access,
        ask: PinAsk,
        old: Option<((u64, u64), String)>,
    ) -> Result<Request, Error> {
        permitted(who, &ask)?;
        ask.check()?;
        let (state, tenant) = (self.state().clone(), Arc::clone(&who.tenant));
        let work = move |core: &Core| {
            let taken = state.take_in(core, &tenant, ask, old)?;
            core.sync_tenants()?;
            Ok::<_, Error>(taken)
        };
        let taken = self.node.store.run(work).await?;
        self.state().wake.notify_one();
        Ok(taken)
    }

    /// Removes a request, and what it alone held; ends its fetch. Durable when this returns.
    ///
    /// # Errors
    /// [`Error::Absent`]; the store's.
    pub async fn remove(&self, who: &Access, id: &str) -> Result<(), Error> {
        let (created, random) = request::split_id(id).ok_or_else(|| absent(id))?;
        self.permitted_id(who, id).await?;
        let (state, tenant) = (self.state().clone(), Arc::clone(&who.tenant));
        let work = move |core: &Core| state.remove(core, &tenant, &[(created, Some(random))]);
        match self.node.store.run(work).await {
            Err(StoreError::Gone) => Err(absent(id)),
            removed => Ok(removed?),
        }
    }

    /// Removes all requests of a tenant, and what they held; nothing comes in for it any more.
    ///
    /// # Errors
    /// The store's; what was removed by then is.
    pub async fn remove_all(&self, tenant: &Arc<Tenant>) -> Result<u64, Error> {
        let mut removed = 0;
        loop {
            let (state, tenant) = (self.state().clone(), Arc::clone(tenant));
            let work = move |core: &Core| {
                let account = state.account(tenant.number);
                let mut book = account.open(core, &state)?;
                book.closed = true;
                let every = Status::ALL.into_iter();
                let mut some: Vec<(u64, Option<u64>)> = every
                    .flat_map(|status| book.index.next(status, None, REMOVED_TOGETHER))
                    .map(|created| (created, None))
                    .collect();
                drop(book);
                some.truncate(REMOVED_TOGETHER);
                if !some.is_empty() {
                    state.remove(core, &tenant, &some)?;
                }
                Ok::<_, StoreError>(some.len() as u64)
            };
            match self.node.store.run(work).await? {
                0 => return Ok(removed),
                some => removed += some,
            }
        }
    }
}

/// No request has that id, or another tenant's has: which of them is not told.
pub(super) fn absent(id: &str) -> Error {
    let shown: String = id.chars().take(40).collect();
    Error::Absent(format!("no pin request {shown:?}"))
}

/// Whether the token may pin this.
fn permitted(who: &Access, ask: &PinAsk) -> Result<(), Error> {
    let denied = |text: String| Err(Error::Denied(text));
    if let Some(cid) = who.token.cid.filter(|cid| pinned_as(cid) != pinned_as(&ask.cid)) {
        return denied(format!("this token pins {cid} alone"));
    }
    if let Some(prefix) = &who.token.name_prefix
        && !ask.name.starts_with(prefix.as_str())
    {
        return denied(format!("this token pins under names that begin with {prefix:?}"));
    }
    Ok(())
}

/// Microseconds since 1970, in whole milliseconds.
fn this_tick() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX / TICK).saturating_mul(TICK)
}

impl State {
    fn take_in(
        &self,
        core: &Core,
        tenant: &Tenant,
        ask: PinAsk,
        old: Option<((u64, u64), String)>,
    ) -> Result<Request, Error> {
        let number = tenant.number;
        let account = self.account(number);
        let mut book = account.open(core, self)?;
        if book.closed {
            return Err(Error::Denied("the tenant is gone".into()));
        }
        let (mut rows, mut effects) = (TenantBatch::default(), Vec::new());
        let (mut keeps, mut live) = (None, book.index.live());
        let mut failed = (book.index.len(Status::Failed), book.failed);
        if let Some(((created, random), id)) = old {
            let row = row_of(core, number, created)?.filter(|row| row.random == random);
            let row = row.ok_or_else(|| absent(&id))?;
            let status = book.index.status(created).ok_or_else(|| absent(&id))?;
            keeps = if status == Status::Pinned { row.parsed() } else { row.keeps };
            live -= u64::from(status != Status::Failed);
            delete_rows(&mut rows, number, created, &row);
            let bytes = failed_bytes(&row);
            failed = (failed.0 - u64::from(bytes > 0), failed.1.saturating_sub(bytes));
            effects.push(going(created, &row));
        }
        quota::may_add(&tenant.limits, live, failed).map_err(Error::Quota)?;
        let priority = ask.priority()?;
        let created = this_tick().max(book.newest.saturating_add(TICK));
        let row = Row {
            status: Status::Queued,
            tries: 0,
            hold: None,
            random: rand::random(),
            not_before: 0,
            expires: ask.expires(now())?.unwrap_or(0),
            bytes: 0,
            blocks: 0,
            cid: ask.written,
            keeps,
            name: ask.name,
            reason: String::new(),
            origins: ask.origins,
            meta: ask.meta,
        };
        put_rows(&mut rows, number, created, &row);
        core.log_tenants(rows)?;
        book.newest = created;
        self.apply(number, &mut book, &effects);
        book.index.insert(Status::Queued, created);
        lock(&self.queue).push((number, created), priority, 0);
        Ok(self.view(&book, number, created, row))
    }

    /// Removes requests; each with the random part of its id, where that is to be compared.
    pub(super) fn remove(
        &self,
        core: &Core,
        tenant: &Tenant,
        some: &[(u64, Option<u64>)],
    ) -> Result<(), StoreError> {
        let account = self.account(tenant.number);
        // Before the lock of the store's rows: a book that is opened first is read.
        drop(account.open(core, self)?);
        let mut change = Changing::new(self, &account, |core, book, holds| {
            let mut planned = Planned::default();
            for (created, random) in some {
                let row = row_of(core, tenant.number, *created)?
                    .filter(|row| random.is_none_or(|random| row.random == random));
                let found = row.zip(book.index.status(*created));
                let Some((row, status)) = found else {
                    // Of several, one may be gone by itself.
                    if random.is_none() {
                        continue;
                    }
                    return Err(StoreError::Gone);
                };
                if status == Status::Pinned
                    && let Some(cid) = row.parsed()
                {
                    holds.let_go(&cid)?;
                }
                if let Some(kept) = &row.keeps {
                    holds.let_go(kept)?;
                }
                delete_rows(&mut planned.rows, tenant.number, *created, &row);
                planned.effects.push(going(*created, &row));
            }
            Ok(planned)
        });
        core.change_beside(&tenant.name, &mut change)
    }

    /// Does to memory what was done to rows.
    pub(super) fn apply(&self, tenant: u32, book: &mut super::account::Book, effects: &[Effect]) {
        for effect in effects {
            match *effect {
                Effect::Gone(created, priority, not_before, failed) => {
                    book.index.remove(created);
                    book.failed = book.failed.saturating_sub(failed);
                    lock(&self.queue).remove((tenant, created), priority, not_before);
                    if let Some(job) = lock(&self.jobs).get(&(tenant, created)) {
                        job.cancel.cancel();
                    }
                }
                Effect::Pinned(created) => book.index.change(created, Status::Pinned),
                Effect::Failed(created, bytes) => {
                    book.index.change(created, Status::Failed);
                    book.failed = book.failed.saturating_add(bytes);
                }
            }
        }
    }

    /// The account of a tenant; its book is closed.
    pub(super) fn account(&self, tenant: u32) -> Arc<Account> {
        let mut accounts = lock(&self.accounts);
        let account = accounts.entry(tenant).or_insert_with(|| Arc::new(Account::new(tenant)));
        Arc::clone(account)
    }
}

/// The request of a row goes.
pub(super) fn going(created: u64, row: &Row) -> Effect {
    let priority = priority_of(&row.meta).unwrap_or(0);
    Effect::Gone(created, priority, row.not_before, failed_bytes(row))
}

/// Bytes of the row of a request that has failed; 0 for any other.
fn failed_bytes(row: &Row) -> u64 {
    match row.status {
        Status::Failed => row.encode().len() as u64,
        _ => 0,
    }
}

//! Finding a tenant's requests: by CID, name, status, time and meta.

use std::collections::BTreeMap;

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::account::{Account, Book, PAGE_ROWS, damaged, lock, row_of};
use super::change::absent;
use super::index::Span;
use super::quota::human;
use super::request::{self, Request, Status};
use super::row::{Row, has_meta};
use super::{Access, Service, State};
use crate::clock;
use crate::ipld::cid::Cid;
use crate::node::Error;
use crate::store::keys::tenants as keys;
use crate::store::pin::now;
use crate::store::{Core, StoreError};

/// How a name is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Match {
    /// The whole name, as it is written.
    #[default]
    Exact,
    /// The whole name, in any case.
    Iexact,
    /// A part of the name, as it is written.
    Partial,
    /// A part of the name, in any case.
    Ipartial,
}

/// What is looked for. A request is found when all of it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Any of these DAGs, in whatever version of the CID; all when there are none.
    pub cids: Vec<Cid>,
    /// The name.
    pub name: Option<(Match, String)>,
    /// Any of these statuses; pinned ones alone when there are none.
    pub status: Vec<Status>,
    /// Made before this, in microseconds since 1970.
    pub before: Option<u64>,
    /// Made after this, in microseconds since 1970.
    pub after: Option<u64>,
    /// Most results, the newest first.
    pub limit: usize,
    /// All of these entries of its meta.
    pub meta: BTreeMap<String, String>,
}

impl Default for Filter {
    /// The ten newest that are pinned.
    fn default() -> Self {
        Self {
            cids: Vec::new(),
            name: None,
            status: Vec::new(),
            before: None,
            after: None,
            limit: 10,
            meta: BTreeMap::new(),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// All that the filter finds, beyond its limit, too.
    pub count: u64,
    /// The newest of them: up to the filter's limit, or as many as take [`PAGE_MAX_BYTES`].
    pub results: Vec<Request>,
}

/// Bytes of rows after which a page ends early: a thousand requests may have 64 MiB of texts. What is
/// left is counted, and found before the last of the page.
pub const PAGE_MAX_BYTES: usize = 4 << 20;

impl Match {
    /// Whether a name is found by a text that [`Self::text`] has prepared.
    fn finds(self, name: &str, text: &str) -> bool {
        match self {
            Self::Exact => name == text,
            Self::Iexact => name.to_lowercase() == text,
            Self::Partial => name.contains(text),
            Self::Ipartial => name.to_lowercase().contains(text),
        }
    }

    fn text(self, text: &str) -> String {
        match self {
            Self::Exact | Self::Partial => text.to_owned(),
            Self::Iexact | Self::Ipartial => text.to_lowercase(),
        }
    }
}

impl Service {
    /// A request by its id.
    ///
    /// # Errors
    /// [`Error::Absent`]; the store's.
    pub async fn request(&self, who: &Access, id: &str) -> Result<Request, Error> {
        let (created, random) = request::split_id(id).ok_or_else(|| absent(id))?;
        let (state, tenant) = (self.state().clone(), who.tenant.number);
        let work = move |core: &Core| {
            let account = state.account(tenant);
            let book = account.open(core, &state)?;
            let row = row_of(core, tenant, created)?.filter(|row| row.random == random);
            Ok::<_, StoreError>(row.map(|row| state.view(&book, tenant, created, row)))
        };
        self.node.store.run(work).await?.ok_or_else(|| absent(id))
    }

    /// Requests that a filter finds, and how many there are. Without a name or meta it costs what it
    /// gives; with a name that is not exact, a look at all names of the tenant; with meta, at all of
    /// its requests that the rest of the filter finds.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, who: &Access, filter: &Filter) -> Result<Found, Error> {
        let (state, tenant, filter) = (self.state().clone(), who.tenant.number, filter.clone());
        let work = move |core: &Core| {
            let account = state.account(tenant);
            Finding::new(&state, core, &account, filter).find()
        };
        Ok(self.node.store.run(work).await?)
    }
}

/// Whether a row, by its key and value, is looked for; `None` for one that does not parse.
type Pick<'a> = dyn Fn(&[u8], &[u8]) -> Option<bool> + 'a;

/// One look through a tenant's requests.
struct Finding<'a> {
    state: &'a State,
    core: &'a Core,
    account: &'a Account,
    filter: Filter,
    statuses: Vec<Status>,
    span: Span,
}

impl<'a> Finding<'a> {
    fn new(state: &'a State, core: &'a Core, account: &'a Account, mut filter: Filter) -> Self {
        if let Some((how, text)) = &mut filter.name {
            *text = how.text(text);
        }
        let mut statuses = filter.status.clone();
        statuses.sort_unstable();
        statuses.dedup();
        if statuses.is_empty() {
            statuses.push(Status::Pinned);
        }
        let span = Span { after: filter.after, before: filter.before };
        Self { state, core, account, filter, statuses, span }
    }

    fn find(&self) -> Result<Found, StoreError> {
        let plain = self.filter.cids.is_empty()
            && self.filter.name.is_none()
            && self.filter.meta.is_empty();
        if plain {
            let book = self.account.open(self.core, self.state)?;
            let count = book.index.count(&self.statuses, self.span);
            let newest = book.index.newest(&self.statuses, self.span, self.filter.limit);
            drop(book);
            return self.found(count, newest.into_iter().map(|(created, _)| created));
        }
        let mut times = match (&self.filter.cids[..], &self.filter.name) {
            ([], Some((Match::Exact, name))) => self.exactly(name)?,
            ([], Some((how, text))) => self.named(*how, text)?,
            ([], None) => self.with_meta()?,
            (cids, _) => self.of_cids(cids)?,
        };
        // The newest first, and each once.
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.dedup();
        let by_cid = !self.filter.cids.is_empty();
        if (by_cid && self.filter.name.is_some())
            || (!self.filter.meta.is_empty() && (by_cid || self.filter.name.is_some()))
        {
            let mut left = Vec::with_capacity(times.len());
            for created in times {
                if self.fits(created)? {
                    left.push(created);
                }
            }
            times = left;
        }
        self.found(times.len() as u64, times.into_iter().take(self.filter.limit))
    }

    /// Those of some requests whose status and time are looked for.
    fn among(&self, times: &mut Vec<u64>) -> Result<(), StoreError> {
        let book = self.account.open(self.core, self.state)?;
        times.retain(|created| book.index.among(*created, &self.statuses, self.span).is_some());
        Ok(())
    }

    /// Pages of rows under a prefix: those that `pick` takes, and whose status and time fit.
    fn pages(&self, prefix: &Bytes, pick: &Pick<'_>) -> Result<Vec<u64>, StoreError> {
        let (mut found, mut after) = (Vec::new(), None::<Bytes>);
        loop {
            let page = self.core.tenant_rows(prefix, after.as_deref(), PAGE_ROWS)?;
            let mut times = Vec::new();
            for (key, value) in &page {
                if pick(key, value).ok_or_else(|| damaged(key))? {
                    times.push(keys::split_created(key).ok_or_else(|| damaged(key))?);
                }
            }
            self.among(&mut times)?;
            found.append(&mut times);
            match page.last() {
                Some((last, _)) if page.len() == PAGE_ROWS => after = Some(last.clone()),
                _ => return Ok(found),
            }
        }
    }

    fn of_cids(&self, cids: &[Cid]) -> Result<Vec<u64>, StoreError> {
        let mut found = Vec::new();
        for cid in cids {
            let prefix = keys::of_cid(self.account.tenant, cid);
            found.append(&mut self.pages(&prefix, &|_, _| Some(true))?);
        }
        Ok(found)
    }

    fn exactly(&self, name: &str) -> Result<Vec<u64>, StoreError> {
        if name.is_empty() {
            return self.nameless();
        }
        let prefix = keys::of_name(self.account.tenant, name);
        self.pages(&prefix, &|key, _| Some(key.len() == prefix.len().saturating_add(8)))
    }

    /// Requests without a name have no rows by name.
    fn nameless(&self) -> Result<Vec<u64>, StoreError> {
        let prefix = keys::requests(self.account.tenant);
        self.pages(&prefix, &|_, row| Some(Row::decode(row)?.name.is_empty()))
    }

    fn named(&self, how: Match, text: &str) -> Result<Vec<u64>, StoreError> {
        if text.is_empty() {
            // Every name has the empty one in it, also the empty one.
            let all = |how| if how == Match::Iexact { self.nameless() } else { self.with_meta() };
            return all(how);
        }
        let prefix = keys::names(self.account.tenant);
        self.pages(&prefix, &|key, _| Some(how.finds(keys::split_name(key)?, text)))
    }

    /// Those with the meta that is looked for; all of them when none is.
    fn with_meta(&self) -> Result<Vec<u64>, StoreError> {
        let prefix = keys::requests(self.account.tenant);
        self.pages(&prefix, &|_, row| has_meta(row, &self.filter.meta))
    }

    /// Whether a request has the name and meta that are looked for.
    fn fits(&self, created: u64) -> Result<bool, StoreError> {
        let Some(row) = row_of(self.core, self.account.tenant, created)? else { return Ok(false) };
        let named = self.filter.name.as_ref().is_none_or(|(how, text)| how.finds(&row.name, text));
        let wanted = |(key, value): (&String, &String)| row.meta.get(key) == Some(value);
        Ok(named && self.filter.meta.iter().all(wanted))
    }

    /// Reads what is given. One that was removed meanwhile is left out, though it was counted.
    fn found(&self, count: u64, newest: impl Iterator<Item = u64>) -> Result<Found, StoreError> {
        let (mut rows, mut bytes) = (Vec::new(), 0usize);
        for created in newest {
            let key = keys::request(self.account.tenant, created);
            let Some(value) = self.core.tenant_row(&key)? else { continue };
            rows.push((created, Row::decode(&value).ok_or_else(|| damaged(&key))?));
            bytes = bytes.saturating_add(value.len());
            if bytes >= PAGE_MAX_BYTES {
                break;
            }
        }
        let book = self.account.open(self.core, self.state)?;
        let view = |(created, row)| self.state.view(&book, self.account.tenant, created, row);
        Ok(Found { count, results: rows.into_iter().map(view).collect() })
    }
}

impl State {
    /// A request as its tenant sees it: the row, and what memory knows better.
    pub(super) fn view(&self, book: &Book, tenant: u32, created: u64, row: Row) -> Request {
        let status = book.index.status(created).unwrap_or(row.status);
        let mut info = BTreeMap::new();
        let details = match status {
            Status::Queued if row.not_before > now() => {
                let at = time_of(row.not_before);
                Some(format!("tried {} times, again at {at}: {}", row.tries, row.reason))
            }
            Status::Queued => {
                let (ahead, all) = (book.index.ahead(created), book.index.len(Status::Queued));
                Some(format!("Queue position: {} of {all}", ahead.saturating_add(1)))
            }
            Status::Pinning => {
                let job = lock(&self.jobs).get(&(tenant, created)).cloned();
                job.map(|job| job.details(&mut info))
            }
            Status::Pinned => {
                info.insert("dag_size".to_owned(), row.bytes.to_string());
                Some(format!("{} blocks, {}", row.blocks, human(row.bytes)))
            }
            Status::Failed => Some(row.reason.clone()),
        };
        if let Some(details) = details {
            info.insert("status_details".to_owned(), details);
        }
        if row.expires > 0 {
            info.insert("pinned_until".to_owned(), time_of(row.expires));
        }
        if row.tries > 0 {
            info.insert("tries".to_owned(), row.tries.to_string());
        }
        Request {
            id: request::id(created, row.random),
            status,
            created,
            cid: row.cid,
            name: row.name,
            origins: row.origins,
            meta: row.meta,
            info,
        }
    }
}

fn time_of(seconds: u64) -> String {
    clock::rfc3339(UNIX_EPOCH + Duration::from_secs(seconds))
}

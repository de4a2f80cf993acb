//! Finding a tenant's requests: by CID, name, status, time and meta.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::account::{Account, Book, damaged, lock, row_of};
use super::change::absent;
use super::index::Span;
use super::request::{self, Request, Status};
use super::row::{self, Row};
use super::{Access, Service, State};
use crate::clock;
use crate::ipld::cid::Cid;
use crate::node::Error;
use crate::size;
use crate::store::keys::tenants as keys;
use crate::store::pin::now;
use crate::store::{Core, StoreError};
use crate::task::places::{Place, Places};

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
    /// The name; an empty one filters nothing, as clients mean it.
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
    /// What their texts take as JSON, in bytes.
    pub bytes: usize,
}

/// Bytes of JSON after which a page ends early: a thousand requests may have 64 MiB of texts. What is
/// left is counted, and found before the last of the page.
pub const PAGE_MAX_BYTES: usize = 4 << 20;
/// The same of a page with a limit of at most [`SHORT_PAGE_ROWS`].
pub const SHORT_PAGE_MAX_BYTES: usize = 1 << 20;
/// Requests of a page that is short.
pub const SHORT_PAGE_ROWS: usize = 100;

/// Rows that are read by their keys, wherever they stand; more are looked through in one pass.
const READS_MAX: usize = 1000;
/// Passes through many rows at a time, and those of one tenant.
const SCANS_MAX: usize = 8;
const SCANS_EACH: usize = 2;
/// How long one more waits.
const SCAN_WAIT: Duration = Duration::from_secs(5);

/// Places for passes through many rows, shared by tenants.
#[derive(Debug)]
pub(super) struct Scans(pub Places<u32>);

impl Default for Scans {
    fn default() -> Self {
        Self(Places::new(SCANS_MAX, SCANS_EACH))
    }
}

/// Times that descend, asked for in that order.
struct Among {
    times: Vec<u64>,
    at: usize,
}

impl Among {
    fn new(times: Vec<u64>) -> Self {
        Self { times, at: 0 }
    }

    /// Whether a time is among them; the next one that is asked for is earlier.
    fn has(&mut self, created: u64) -> bool {
        while self.times.get(self.at).is_some_and(|time| *time > created) {
            self.at = self.at.saturating_add(1);
        }
        self.times.get(self.at) == Some(&created)
    }
}

impl Match {
    /// Whether a name is found by a text that [`Self::prepare`] has prepared.
    fn finds(self, name: &str, text: &str) -> bool {
        match self {
            Self::Exact => name == text,
            Self::Iexact => name.to_lowercase() == text,
            Self::Partial => name.contains(text),
            Self::Ipartial => name.to_lowercase().contains(text),
        }
    }

    fn prepare(self, text: &str) -> String {
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
    /// gives; with a name that is not exact, a look at all names of the tenant; with meta, at those of
    /// its requests that the rest of the filter finds. More than [`READS_MAX`] of them are looked
    /// through in one pass, and few such passes go on at a time: one waits up to [`SCAN_WAIT`].
    ///
    /// # Errors
    /// [`Error::Busy`] when it has waited in vain; the store's.
    pub async fn find(&self, who: &Access, filter: &Filter) -> Result<Found, Error> {
        let tenant = who.tenant.number;
        let mut place = None;
        loop {
            let (state, filter) = (self.state().clone(), filter.clone());
            let work = move |core: &Core| {
                let account = state.account(tenant);
                // A pass that nobody waits for any more goes on, and so does its hold of the place.
                Finding::new(&state, core, &account, filter, place).find()
            };
            if let Some(found) = self.node.store.run(work).await? {
                return Ok(found);
            }
            place = self.state().scans.0.take(tenant, SCAN_WAIT).await;
            if place.is_none() {
                let text = "too many questions of parts of names or of meta at a time";
                return Err(Error::Busy(text.into()));
            }
        }
    }
}

/// Whether a row, by its key, is looked for; `None` for one that does not parse.
type Pick<'a> = dyn Fn(&[u8]) -> Option<bool> + 'a;

/// One look through a tenant's requests. Lists of times stand in the order of the rows: the newest
/// first.
struct Finding<'a> {
    state: &'a State,
    core: &'a Core,
    account: &'a Account,
    filter: Filter,
    statuses: Vec<Status>,
    span: Span,
    /// To look through many rows.
    place: Option<Place>,
}

impl<'a> Finding<'a> {
    fn new(
        state: &'a State,
        core: &'a Core,
        account: &'a Account,
        mut filter: Filter,
        place: Option<Place>,
    ) -> Self {
        filter.name = filter.name.filter(|(_, text)| !text.is_empty());
        if let Some((how, text)) = &mut filter.name {
            *text = how.prepare(text);
        }
        let mut statuses = filter.status.clone();
        statuses.sort_unstable();
        statuses.dedup();
        if statuses.is_empty() {
            statuses.push(Status::Pinned);
        }
        let span = Span { after: filter.after, before: filter.before };
        Self { state, core, account, filter, statuses, span, place }
    }

    /// `None` when there are many rows to look through, and no place for it.
    fn find(&self) -> Result<Option<Found>, StoreError> {
        let Filter { cids, name, meta, limit, .. } = &self.filter;
        let (mut times, unread) = match (&cids[..], name) {
            ([], None) if meta.is_empty() => {
                let book = self.account.open(self.core, self.state)?;
                let count = book.index.count(&self.statuses, self.span);
                let newest = book.index.newest(&self.statuses, self.span, *limit);
                drop(book);
                return self.found(count, newest.into_iter().map(|(created, _)| created)).map(Some);
            }
            ([], Some((Match::Exact, name))) => (self.exactly(name)?, !meta.is_empty()),
            ([], name) => {
                let book = self.account.open(self.core, self.state)?;
                let many = book.index.count(&self.statuses, self.span) > READS_MAX as u64;
                drop(book);
                match (many, name) {
                    (true, _) if self.place.is_none() => return Ok(None),
                    (true, Some((how, text))) if meta.is_empty() => {
                        (self.named(*how, text)?, false)
                    }
                    _ => (self.all()?, true),
                }
            }
            (cids, name) => (self.of_cids(cids)?, name.is_some() || !meta.is_empty()),
        };
        if unread && times.len() > READS_MAX {
            if self.place.is_none() {
                return Ok(None);
            }
            times = self.scan(&times)?;
        } else if unread {
            times = self.read(&times)?;
        }
        self.found(times.len() as u64, times.into_iter().take(*limit)).map(Some)
    }

    /// All whose status and time are looked for.
    fn all(&self) -> Result<Vec<u64>, StoreError> {
        let book = self.account.open(self.core, self.state)?;
        Ok(book.index.times(&self.statuses, self.span))
    }

    /// Requests whose rows under these prefixes `pick` takes, each once, if their status and time are
    /// looked for.
    fn picked(&self, prefixes: &[Bytes], pick: &Pick<'_>) -> Result<Vec<u64>, StoreError> {
        let mut times = Vec::new();
        for prefix in prefixes {
            self.core.each_tenant_row(prefix, prefix, &mut |key, _| {
                if pick(key).ok_or_else(|| damaged(key))? {
                    times.push(keys::split_created(key).ok_or_else(|| damaged(key))?);
                }
                Ok(true)
            })?;
        }
        times.sort_by(|a, b| b.cmp(a));
        times.dedup();
        if times.len() > READS_MAX {
            // The book is not held for so long.
            let mut all = Among::new(self.all()?);
            times.retain(|created| all.has(*created));
        } else {
            let book = self.account.open(self.core, self.state)?;
            times.retain(|created| book.index.among(*created, &self.statuses, self.span).is_some());
        }
        Ok(times)
    }

    fn of_cids(&self, cids: &[Cid]) -> Result<Vec<u64>, StoreError> {
        let prefixes: Vec<Bytes> =
            cids.iter().map(|cid| keys::of_cid(self.account.tenant, cid)).collect();
        self.picked(&prefixes, &|_| Some(true))
    }

    fn exactly(&self, name: &str) -> Result<Vec<u64>, StoreError> {
        let prefix = keys::of_name(self.account.tenant, name);
        let length = prefix.len().saturating_add(8);
        self.picked(&[prefix], &|key| Some(key.len() == length))
    }

    fn named(&self, how: Match, text: &str) -> Result<Vec<u64>, StoreError> {
        let prefix = keys::names(self.account.tenant);
        self.picked(&[prefix], &|key| Some(how.finds(keys::split_name(key)?, text)))
    }

    /// Those of many with the name and meta that are looked for, in one pass.
    fn scan(&self, times: &[u64]) -> Result<Vec<u64>, StoreError> {
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return Ok(Vec::new());
        };
        let (mut among, mut found) = (Among::new(times.to_vec()), Vec::new());
        let prefix = keys::requests(self.account.tenant);
        let from = keys::request(self.account.tenant, *first);
        self.core.each_tenant_row(&prefix, &from, &mut |key, row| {
            let created = keys::split_created(key).ok_or_else(|| damaged(key))?;
            if among.has(created) && self.fits(row).ok_or_else(|| damaged(key))? {
                found.push(created);
            }
            Ok(created > *last)
        })?;
        Ok(found)
    }

    /// The same of few.
    fn read(&self, times: &[u64]) -> Result<Vec<u64>, StoreError> {
        let mut found = Vec::new();
        for created in times {
            let key = keys::request(self.account.tenant, *created);
            let Some(row) = self.core.tenant_row(&key)? else { continue };
            if self.fits(&row).ok_or_else(|| damaged(&key))? {
                found.push(*created);
            }
        }
        Ok(found)
    }

    /// Whether a row has the name and meta that are looked for; `None` for one that does not parse.
    fn fits(&self, row: &[u8]) -> Option<bool> {
        let name = self.filter.name.as_ref();
        let named = |has: &str| name.is_none_or(|(how, text)| how.finds(has, text));
        row::fits(row, named, &self.filter.meta)
    }

    /// Reads what is given. One that was removed meanwhile is left out, though it was counted.
    fn found(&self, count: u64, newest: impl Iterator<Item = u64>) -> Result<Found, StoreError> {
        let (mut rows, mut bytes) = (Vec::new(), 0usize);
        let short = self.filter.limit <= SHORT_PAGE_ROWS;
        let most = if short { SHORT_PAGE_MAX_BYTES } else { PAGE_MAX_BYTES };
        for created in newest {
            let key = keys::request(self.account.tenant, created);
            let Some(value) = self.core.tenant_row(&key)? else { continue };
            rows.push((created, Row::decode(&value).ok_or_else(|| damaged(&key))?));
            bytes = bytes.saturating_add(json_bytes(&value));
            if bytes >= most {
                break;
            }
        }
        let book = self.account.open(self.core, self.state)?;
        let view = |(created, row)| self.state.view(&book, self.account.tenant, created, row);
        Ok(Found { count, results: rows.into_iter().map(view).collect(), bytes })
    }
}

impl State {
    /// A request as its tenant sees it: the row, and what memory knows better.
    pub(super) fn view(&self, book: &Book, tenant: u32, created: u64, row: Row) -> Request {
        let status = book.index.status(created).unwrap_or(row.status);
        let mut info = BTreeMap::new();
        let details = match status {
            Status::Queued if row.not_before > now() => {
                let (at, reason) = (time_of(row.not_before), &row.reason);
                Some(match row.hold {
                    Some(_) => format!("{reason}; again at {at}"),
                    None => format!("tried {} times, again at {at}: {reason}", row.tries),
                })
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
                Some(format!("{} blocks, {}", row.blocks, size::down(row.bytes)))
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

/// About how many bytes the texts of a row take as JSON, where one byte may become six.
fn json_bytes(row: &[u8]) -> usize {
    let of = |byte: &u8| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    row.iter().map(of).sum()
}

fn time_of(seconds: u64) -> String {
    clock::rfc3339(UNIX_EPOCH + Duration::from_secs(seconds))
}

//! Tenants: for whom this node pins, and how much each may use.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::index::Span;
use super::{Access, Filter, Service, Status};
use crate::node::Error;
use crate::store::keys::tenants as keys;
use crate::store::pin::now;
use crate::store::tenants::TenantBatch;
use crate::store::{Core, StoreError};

/// Longest name of a tenant, in bytes. The name is the owner of its pins in the store.
pub const NAME_MAX_BYTES: usize = 64;
/// Most tenants of a node.
const TENANTS_MAX: usize = 100_000;

/// What a tenant may use; `None` for no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Limits {
    /// Bytes of all that it pins. A DAG that several of its requests name counts once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Requests that are queued, being pinned, or pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pins: Option<u64>,
    /// Requests that are being pinned at the same time; more of them wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// Bytes of one DAG.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_bytes: Option<u64>,
    /// Calls a second, over the time of a burst.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

/// Somebody for whom this node pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// 1 to [`NAME_MAX_BYTES`] of `a-z`, `0-9`, `.`, `_` and `-`, the first a letter or digit.
    pub name: String,
    /// Its number in keys of rows; not used again after it.
    pub number: u32,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// What it may use.
    pub limits: Limits,
}

/// A tenant's row, as JSON: there are few of them, and they are read once.
#[derive(Serialize, Deserialize)]
struct Row {
    number: u32,
    created: u64,
    limits: Limits,
}

impl Tenant {
    fn row(&self) -> Bytes {
        let row = Row { number: self.number, created: self.created, limits: self.limits };
        serde_json::to_vec(&row).unwrap_or_default().into()
    }

    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let name = keys::split_tenant(key).filter(|name| check_name(name).is_ok())?.to_owned();
        let Row { number, created, limits } = serde_json::from_slice(value).ok()?;
        Some(Self { name, number, created, limits })
    }
}

/// The tenants there are, by number and by name.
#[derive(Debug, Default)]
pub(super) struct Tenants(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    numbers: BTreeMap<u32, Arc<Tenant>>,
    names: BTreeMap<String, u32>,
}

impl Tenants {
    /// Takes a tenant up, in the place of what was known of it.
    pub fn know(&self, tenant: Tenant) -> Arc<Tenant> {
        let tenant = Arc::new(tenant);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.names.insert(tenant.name.clone(), tenant.number);
        all.numbers.insert(tenant.number, Arc::clone(&tenant));
        tenant
    }

    /// Knows a tenant no longer.
    fn forget(&self, number: u32) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = all.numbers.remove(&number) {
            all.names.remove(&tenant.name);
        }
    }

    /// The tenant with that number.
    pub fn get(&self, number: u32) -> Option<Arc<Tenant>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.numbers.get(&number).cloned()
    }

    /// The tenant of that name.
    pub fn named(&self, name: &str) -> Option<Arc<Tenant>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.numbers.get(all.names.get(name)?).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.numbers.values().cloned().collect()
    }
}

/// What a tenant has here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that are queued, being pinned, pinned, failed.
    pub requests: [u64; 4],
    /// Bytes of all DAGs that it has pinned, each counted once.
    pub logical: u64,
    /// Those of DAGs that nobody else has pinned by the same root.
    pub unique: u64,
    /// Those of DAGs that others have pinned, too.
    pub shared: u64,
}

/// Whether a tenant may be called this.
///
/// # Errors
/// [`Error::Invalid`] tells what a name is.
fn check_name(name: &str) -> Result<(), Error> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = (1..=NAME_MAX_BYTES).contains(&name.len())
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || matches!(byte, b'.' | b'_' | b'-'));
    let shown: String = name.chars().take(80).collect();
    match fits {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "invalid tenant name {shown:?}: 1 to {NAME_MAX_BYTES} of a-z, 0-9, '.', '_' and '-', \
             the first a letter or digit"
        ))),
    }
}

fn absent(name: &str) -> Error {
    Error::Absent(format!("no tenant {:?}", name.chars().take(80).collect::<String>()))
}

impl Service {
    /// Reads the rows of tenants, once for all handles.
    pub(super) fn read_tenants(&self, core: &Core) -> Result<(), StoreError> {
        core.each_tenant_row(keys::tenants(), keys::tenants(), &mut |key, value| {
            match Tenant::read(key, value) {
                Some(tenant) => drop(self.state().tenants.know(tenant)),
                None => tracing::warn!("the row of a tenant does not parse, and opens nothing"),
            }
            Ok(true)
        })
    }

    /// Makes a tenant; durable when this returns.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is none, [`Error::Conflict`] for one that is taken; the
    /// store's.
    pub async fn tenant_add(&self, name: &str, limits: Limits) -> Result<Arc<Tenant>, Error> {
        check_name(name)?;
        self.load().await?;
        let _one = self.state().changing.lock().await;
        if self.state().tenants.named(name).is_some() {
            return Err(Error::Conflict(format!("tenant {name} is there already")));
        }
        if self.state().tenants.all().len() >= TENANTS_MAX {
            return Err(Error::Quota(format!("a node has at most {TENANTS_MAX} tenants")));
        }
        let name = name.to_owned();
        let write = move |core: &Core| {
            let row = core.tenant_row(keys::next_tenant())?;
            let number = row.and_then(|row| keys::split_number(&row)).unwrap_or(1);
            let tenant = Tenant { name, number, created: now(), limits };
            let mut batch = TenantBatch::default();
            batch.put(keys::next_tenant().into(), keys::number(number.saturating_add(1)));
            batch.put(keys::tenant(&tenant.name), tenant.row());
            core.write_tenants(batch)?;
            Ok::<_, StoreError>(tenant)
        };
        let tenant = self.node.store().run(write).await?;
        Ok(self.state().tenants.know(tenant))
    }

    /// All tenants, by name.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant_ls(&self) -> Result<Vec<Arc<Tenant>>, Error> {
        self.load().await?;
        let mut all = self.state().tenants.all();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The tenant of that name.
    ///
    /// # Errors
    /// [`Error::Absent`]; the store's.
    pub async fn tenant(&self, name: &str) -> Result<Arc<Tenant>, Error> {
        self.load().await?;
        self.state().tenants.named(name).ok_or_else(|| absent(name))
    }

    /// Changes what a tenant may use, from the next request on: what is pinned beyond a lower limit
    /// stays. Durable when this returns.
    ///
    /// # Errors
    /// As [`Self::tenant`].
    pub async fn tenant_limits(
        &self,
        name: &str,
        change: impl FnOnce(&mut Limits),
    ) -> Result<Arc<Tenant>, Error> {
        self.load().await?;
        let _one = self.state().changing.lock().await;
        let mut tenant = Tenant::clone(&*self.tenant(name).await?);
        change(&mut tenant.limits);
        let (key, row) = (keys::tenant(&tenant.name), tenant.row());
        let write = move |core: &Core| {
            let mut batch = TenantBatch::default();
            batch.put(key, row);
            core.write_tenants(batch)
        };
        self.node.store().run(write).await?;
        Ok(self.state().tenants.know(tenant))
    }

    /// Removes a tenant, its tokens, and with `force` its requests and what they alone held. Its
    /// tokens open nothing as soon as this begins; one that is interrupted is to be called again.
    ///
    /// # Errors
    /// [`Error::Conflict`] for a tenant with requests without `force`; as [`Self::tenant`].
    pub async fn tenant_rm(&self, name: &str, force: bool) -> Result<(), Error> {
        self.load().await?;
        // To the end: the name is not given to another, nor a token issued for it, while its rows go.
        let _one = self.state().changing.lock().await;
        let tenant = self.tenant(name).await?;
        if !force {
            self.close_empty(&tenant).await?;
        }
        self.revoke_all(name).await?;
        self.remove_all(&tenant).await?;
        let (key, number) = (keys::tenant(name), tenant.number);
        let tokens = self.state().tokens.forget(|token| token.tenant.as_deref() == Some(name));
        let write = move |core: &Core| {
            let mut batch = TenantBatch::default();
            batch.delete(key);
            batch.delete(keys::used(number));
            tokens.iter().for_each(|hash| batch.delete(keys::token(hash)));
            core.write_tenants(batch)
        };
        self.node.store().run(write).await?;
        self.state().tenants.forget(number);
        Ok(())
    }

    /// Lets nothing more in for a tenant that has no requests.
    async fn close_empty(&self, tenant: &Arc<Tenant>) -> Result<(), Error> {
        let (state, number) = (Arc::clone(self.state()), tenant.number);
        let work = move |core: &Core| {
            let account = state.account(number);
            let mut book = account.open(core, &state)?;
            let count = book.index.count(&Status::ALL, Span::default());
            book.closed = count == 0;
            Ok::<_, StoreError>(count)
        };
        match self.node.store().run(work).await? {
            0 => Ok(()),
            count => {
                let name = &tenant.name;
                let why = format!("tenant {name} has {count} requests; --force removes them, too");
                Err(Error::Conflict(why))
            }
        }
    }

    /// What a tenant has here. Looks at every DAG that anybody has pinned.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant_usage(&self, tenant: &Arc<Tenant>) -> Result<Usage, Error> {
        let who = Access::own(Arc::clone(tenant));
        let mut usage = Usage::default();
        let statuses = [Status::Queued, Status::Pinning, Status::Pinned, Status::Failed];
        for (count, status) in usage.requests.iter_mut().zip(statuses) {
            let filter = Filter { status: vec![status], limit: 1, ..Filter::default() };
            *count = self.find(&who, &filter).await?.count;
        }
        let number = tenant.number;
        let (unique, shared) = self.node.store().run(move |core| shares(core, number)).await?;
        (usage.unique, usage.shared) = (unique, shared);
        usage.logical = unique.saturating_add(shared);
        Ok(usage)
    }
}

/// Bytes of what a tenant alone holds, and of what it holds with others: the rows of one DAG stand
/// together.
fn shares(core: &Core, number: u32) -> Result<(u64, u64), StoreError> {
    let (mut unique, mut shared) = (0_u64, 0_u64);
    // The DAG that is looked at: how many hold it, and its bytes if the tenant does.
    let (mut dag, mut holders, mut own) = (Vec::new(), 0_u32, None::<u64>);
    let mut settle = |holders: u32, own: Option<u64>| {
        let sum = if holders > 1 { &mut shared } else { &mut unique };
        *sum = sum.saturating_add(own.unwrap_or_default());
    };
    core.each_tenant_row(keys::holdings(), keys::holdings(), &mut |key, value| {
        let Some((of, tenant)) = keys::split_held(key) else { return Ok(true) };
        if of != dag {
            settle(holders, own);
            (dag, holders, own) = (of.to_vec(), 0, None);
        }
        holders = holders.saturating_add(1);
        if tenant == number {
            own = keys::Holding::decode(value).map(|held| held.bytes);
        }
        Ok(true)
    })?;
    settle(holders, own);
    Ok((unique, shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_rows_read_back() {
        for name in ["a", "0", "acme.example_2-x", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", ".", "A", "a b", "a/b", "ä", "a\0", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        let limits = Limits { bytes: Some(u64::MAX), in_flight: Some(3), ..Limits::default() };
        let tenant = Tenant { name: "acme".into(), number: 7, created: 9, limits };
        let key = keys::tenant(&tenant.name);
        assert_eq!(Tenant::read(&key, &tenant.row()), Some(tenant));
        assert_eq!(Tenant::read(&key, b"{}"), None);
        assert_eq!(Tenant::read(b"tA", b"{}"), None);
    }
}

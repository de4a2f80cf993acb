//! Tenants: for whom this node pins, and how much each may use.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Longest name of a tenant, in bytes. The name is the owner of its pins in the store.
pub const NAME_MAX_BYTES: usize = 64;

/// What a tenant may use; `None` for no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all that it pins. A DAG that several of its requests name counts once.
    pub bytes: Option<u64>,
    /// Requests that are queued, being pinned, or pinned.
    pub pins: Option<u64>,
    /// Requests that are being pinned at the same time; more of them wait.
    pub in_flight: Option<u32>,
    /// Bytes of one DAG.
    pub pin_bytes: Option<u64>,
    /// Calls a second, over the time of a burst.
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

/// The tenants there are, by number.
#[derive(Debug, Default)]
pub(super) struct Tenants(RwLock<BTreeMap<u32, Arc<Tenant>>>);

impl Tenants {
    /// Takes a tenant up, in the place of what was known of it.
    pub fn know(&self, tenant: Tenant) -> Arc<Tenant> {
        let tenant = Arc::new(tenant);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(tenant.number, Arc::clone(&tenant));
        tenant
    }

    /// The tenant with that number.
    pub fn get(&self, number: u32) -> Option<Arc<Tenant>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&number).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.values().cloned().collect()
    }
}

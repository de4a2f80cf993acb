//! What waits in the queue and what is being fetched, for the node's operator.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Service;
use super::account::lock;
use super::audit::Uses;

/// What there is of one tenant in the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The tenant.
    pub tenant: String,
    /// Requests that wait for a worker.
    pub ready: u64,
    /// Requests that wait for another try.
    pub later: u64,
    /// What is being fetched, the oldest request first.
    pub fetching: Vec<Fetching>,
}

/// One fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetching {
    /// The CID as it was written.
    pub cid: String,
    /// What the tenant calls it.
    pub name: String,
    /// Blocks that have come, or were looked at.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the whole DAG, as its root claims them.
    pub size: Option<u64>,
    /// How long it has been going on.
    pub time: Duration,
    /// Whom it asks, and how many providers were found; empty while that is not known.
    pub asking: String,
}

/// What the service holds and does, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Tenants.
    pub tenants: u64,
    /// Requests that wait for a worker.
    pub ready: u64,
    /// Requests that wait for another try.
    pub later: u64,
    /// Requests that are being fetched.
    pub fetching: u64,
    /// Uses of tokens.
    pub uses: Uses,
}

impl Service {
    /// What it holds and does now.
    pub fn figures(&self) -> Figures {
        let state = self.state();
        let lengths = lock(&state.queue).lengths();
        Figures {
            tenants: state.tenants.all().len() as u64,
            ready: lengths.iter().map(|length| length.ready as u64).sum(),
            later: lengths.iter().map(|length| length.later as u64).sum(),
            fetching: lock(&state.jobs).len() as u64,
            uses: state.audit.uses(),
        }
    }

    /// What waits and what is being fetched, by tenant. Nothing where no worker runs.
    pub fn queue(&self) -> Vec<Waiting> {
        let state = self.state();
        let lengths = lock(&state.queue).lengths();
        let mut jobs: Vec<_> =
            lock(&state.jobs).iter().map(|(key, job)| (*key, job.clone())).collect();
        jobs.sort_unstable_by_key(|(key, _)| *key);
        let mut fetching: BTreeMap<u32, Vec<Fetching>> = BTreeMap::new();
        for ((tenant, _), job) in jobs {
            fetching.entry(tenant).or_default().push(job.shown());
        }
        let waiting = lengths.into_iter().filter_map(|length| {
            Some(Waiting {
                tenant: state.tenants.get(length.tenant)?.name.clone(),
                ready: length.ready as u64,
                later: length.later as u64,
                fetching: fetching.remove(&length.tenant).unwrap_or_default(),
            })
        });
        waiting.collect()
    }
}

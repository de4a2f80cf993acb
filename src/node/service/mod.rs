//! The pinning service: a queue of what tenants asked to be pinned, and what each of them holds.
//!
//! [`Service`] is what mouths call. It knows no HTTP. What is told here of a tenant is told to that
//! tenant alone: that somebody else pins the same DAG shows nowhere.

mod account;
pub mod audit;
mod change;
mod end;
pub mod find;
mod index;
mod job;
pub mod listing;
mod queue;
mod quota;
mod rate;
pub mod request;
mod row;
mod scope;
pub mod tenant;
#[cfg(test)]
mod tests;
pub mod token;
mod work;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as Turn, Notify, OnceCell};

use super::{Error, Node};
pub use audit::About;
pub use find::{Filter, Found, Match};
pub use listing::{Fetching, Waiting};
pub use request::{PinAsk, Request, Status};
pub use tenant::{Limits, Tenant, Usage};
pub use token::{Access, Need, Refused, Scopes, Token, TokenAsk, TokenState};

/// Delegates told with a request.
const DELEGATES_MAX: usize = 20;

/// How the queue is worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Working {
    /// DAGs that are fetched at the same time (`Pinning.Service.Workers`).
    pub workers: usize,
    /// Time without a new block after which a fetch is put back (`Pinning.Service.StallTimeout`).
    pub stall: Duration,
    /// Tries before a request has failed (`Pinning.Service.Retries`).
    pub tries: u32,
    /// Whether origins on this machine and in local networks are dialled
    /// (`Pinning.Service.DialPrivate`).
    pub dial_private: bool,
}

impl Default for Working {
    fn default() -> Self {
        Self { workers: 20, stall: Duration::from_secs(120), tries: 5, dial_private: false }
    }
}

/// What every handle to the service shares. What is in the store is read when it is first needed.
///
/// Locks are taken in this order: an account's book, what it uses, and then each of the others by
/// itself. Whoever writes pins has the lock of the store's rows before all of them.
#[derive(Default)]
pub(super) struct State {
    /// For whom it pins.
    tenants: tenant::Tenants,
    /// What opens what.
    tokens: token::Tokens,
    /// Who used it.
    audit: audit::Audit,
    /// Whether tenants and tokens were read.
    loaded: OnceCell<()>,
    /// Held by whoever changes a tenant or a token.
    changing: Turn<()>,
    /// Their requests, by the tenant's number.
    accounts: Mutex<HashMap<u32, Arc<account::Account>>>,
    /// What waits.
    queue: Mutex<queue::Queue>,
    /// What is being fetched.
    jobs: Mutex<HashMap<queue::Key, Arc<job::Job>>>,
    /// Until when nothing new is begun, since the node was full.
    paused: Mutex<Option<Instant>>,
    /// Told when there may be something to fetch.
    wake: Notify,
    /// Looks through many rows at a time.
    scans: find::Scans,
}

impl State {
    /// One whose audit lies in a folder.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { audit: audit::Audit::in_folder(folder), ..Self::default() }
    }
}

/// A handle to the pinning service of a node.
#[derive(Clone)]
pub struct Service {
    node: Node,
}

impl Node {
    /// The pinning service. It is there whether or not anybody uses it, and costs nothing until then.
    pub fn service(&self) -> Service {
        Service { node: self.clone() }
    }
}

impl Service {
    fn state(&self) -> &Arc<State> {
        &self.node.tenancy
    }

    /// Reads who there is, once: before that no secret opens anything.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(&self) -> Result<(), Error> {
        let read = || async {
            let service = self.clone();
            let work = move |core: &crate::store::Core| {
                service.read_tenants(core)?;
                service.read_tokens(core)
            };
            self.node.store().run(work).await
        };
        self.state().loaded.get_or_try_init(read).await?;
        Ok(())
    }

    /// Multiaddrs with which a tenant's own node may connect, each once, 1 to 20: those `told` by the
    /// operator, or this node's own when there are none.
    pub fn delegates(&self, told: &[String]) -> Vec<String> {
        match told.is_empty() {
            true => each_once(self.own_delegates()),
            false => each_once(told.iter().cloned()),
        }
    }

    fn own_delegates(&self) -> Vec<String> {
        let peer = &self.node.settings().peer_id;
        let known = self.node.announced().unwrap_or_default();
        match known.is_empty() {
            true => vec![format!("/p2p/{peer}")],
            false => known.iter().map(|address| format!("{address}/p2p/{peer}")).collect(),
        }
    }
}

/// The first of them, each once.
fn each_once(all: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for address in all {
        if once.len() < DELEGATES_MAX && !once.contains(&address) {
            once.push(address);
        }
    }
    once
}

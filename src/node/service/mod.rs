//! The pinning service: a queue of what tenants asked to be pinned, and what each of them holds.
//!
//! [`Service`] is what mouths call. It knows no HTTP. What is told here of a tenant is told to that
//! tenant alone: that somebody else pins the same DAG shows nowhere.

pub mod audit;
pub mod find;
mod rate;
pub mod request;
pub mod tenant;
pub mod token;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;

use super::{Error, Node};
pub use audit::About;
pub use find::{Filter, Found, Match};
pub use request::{PinAsk, Request, Status};
pub use tenant::{Limits, Tenant, Usage};
pub use token::{Access, Need, Refused, Scopes, Token, TokenAsk};

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
#[derive(Debug, Default)]
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
    changing: Mutex<()>,
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
    fn state(&self) -> &State {
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
        Ok(*self.state().loaded.get_or_try_init(read).await?)
    }

    /// Takes a request into the queue; durable when this returns.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what cannot be meant; [`Error::Quota`] tells the limit; the store's.
    pub async fn add(&self, _who: &Access, _ask: PinAsk) -> Result<Request, Error> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Puts a request in the place of another, whose DAG is held until the new one's is here.
    ///
    /// # Errors
    /// As [`Self::add`], and [`Error::Absent`].
    pub async fn replace(&self, _who: &Access, _id: &str, _ask: PinAsk) -> Result<Request, Error> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Removes a request, and what it alone held; ends its fetch.
    ///
    /// # Errors
    /// [`Error::Absent`]; the store's.
    pub async fn remove(&self, _who: &Access, _id: &str) -> Result<(), Error> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// A request by its id.
    ///
    /// # Errors
    /// [`Error::Absent`]; the store's.
    pub async fn request(&self, _who: &Access, _id: &str) -> Result<Request, Error> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Requests that a filter finds, and how many there are.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, _who: &Access, _filter: &Filter) -> Result<Found, Error> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Multiaddrs of this node, to which a tenant's own node may connect: 1 to 20.
    pub fn delegates(&self) -> Vec<String> {
        const DELEGATES_MAX: usize = 20;
        let peer = &self.node.settings().peer_id;
        let known = self.node.announced().unwrap_or_default();
        let mut all: Vec<String> = known
            .iter()
            .take(DELEGATES_MAX)
            .map(|address| format!("{address}/p2p/{peer}"))
            .collect();
        if all.is_empty() {
            all.push(format!("/p2p/{peer}"));
        }
        all
    }

    /// Works the queue until told to stop.
    pub async fn work(&self, _settings: Working, stop: CancellationToken) {
        stop.cancelled().await;
    }
}

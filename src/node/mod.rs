//! The node: the one API behind every mouth. A behaviour is a method here; a mouth parses, calls
//! and renders.
//!
//! One file a noun. No type here knows HTTP, a terminal or a configuration file.

pub mod add;
pub mod bitswap;
pub mod block;
pub mod car;
pub mod cat;
pub mod dag;
pub mod error;
pub mod gc;
pub mod get;
pub mod ls;
pub mod network;
pub mod pin;
pub mod provide;
pub mod refs;
pub mod repo;
pub mod resolve;
pub mod routing;
pub mod service;
pub mod swarm;
pub mod tend;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::dag::Dag;
use crate::store::Store;
use crate::unixfs::profile::Profile;
// What a mouth hands in and gets back, so that it need not know the rooms below.
pub use crate::dag::import::{Content, Entry, Opened, Source};
pub use crate::dag::resolve::Resolved;
pub use crate::dag::tree::{About, Entries, What};
pub use crate::dag::walk::Step;
pub use crate::unixfs::node::{Meta, Mtime};
pub use error::{Error, Kind};
pub use network::{Bandwidth, Network, Patience};
pub use resolve::Place;

/// The Kubo release whose RPC and command line this node answers.
pub const KUBO_LEVEL: &str = "0.43.0";
/// The repository version of that release, as `version` reports it.
pub const KUBO_REPO: &str = "18";
/// Results on their way to a mouth: a bound for every stream.
const RESULTS: usize = 64;

/// Results as they come; an error is the last item.
pub type Results<T> = mpsc::Receiver<Result<T, Error>>;

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's peer ID, in base58.
    pub peer_id: String,
    /// Its public key, libp2p protobuf in base64.
    pub public_key: String,
    /// The repository, for `repo stat`.
    pub repo_root: PathBuf,
    /// The limit that `repo stat` reports, in bytes.
    pub storage_max: u64,
    /// What `add` does unless told otherwise.
    pub import: Profile,
}

/// A running node; clones share it.
#[derive(Clone)]
pub struct Node {
    settings: Arc<Settings>,
    store: Store,
    /// What a request reads through; [`Self::local`] never asks others.
    dag: Dag,
    /// None while the node is offline.
    network: Option<Arc<Network>>,
    /// What is pinned for others, and who they are.
    tenancy: Arc<service::State>,
}

impl Node {
    /// A node over an open store, offline.
    pub fn new(settings: Settings, store: Store) -> Self {
        let dag = Dag::new(store.clone());
        let tenancy = Arc::new(service::State::in_folder(settings.repo_root.clone()));
        Self { settings: Arc::new(settings), store, dag, network: None, tenancy }
    }

    /// The store, for those who serve blocks out of it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// DAGs as they are here.
    fn local(&self) -> Dag {
        Dag::new(self.store.clone())
    }

    /// What it was told at its start.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its name and version, as peers see it.
    pub fn agent() -> String {
        format!("henge/{}", env!("CARGO_PKG_VERSION"))
    }
}

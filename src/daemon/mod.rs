//! Boot and stop, as two lists to read: from a repository on the disk to a node that answers, and
//! back.

mod network;
mod online;
mod pinning;
mod settings;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::repo::{self, Repo};
use crate::config::{Config, FileError, IdentityError, RepoError, check};
use crate::gateway;
use crate::gateway::visit::Watch;
use crate::http::{Address, Listener};
use crate::metrics::Metrics;
use crate::net;
use crate::node::{KUBO_LEVEL, KUBO_REPO, Node};
use crate::rpc::Router;
use crate::rpc::http::Service;
use crate::rpc::http::handover::{Counter, Desk};
use crate::store::{Store, StoreError, Tuning};
use crate::task;
use online::Online;
use pinning::Pinning;

/// File of a running daemon's repository that tells where its RPC listens.
pub const API_FILE: &str = "api";
/// The same for its gateway.
pub const GATEWAY_FILE: &str = "gateway";
/// Time for requests in progress to end when the daemon stops; after it, whoever is late is left.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// What kept the node from starting.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// A value in the configuration.
    #[error("config: {0}")]
    Config(#[from] FileError),
    /// The identity in the configuration.
    #[error("config: {0}")]
    Identity(#[from] IdentityError),
    /// The importer's settings in the configuration.
    #[error("config: Import: {0}")]
    Import(String),
    /// A listener's address in the configuration.
    #[error("config: {key}: {cause}")]
    Address {
        /// The key.
        key: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// The RPC would be open to everybody.
    #[error(
        "refusing to serve the RPC on {0}: whoever reaches it can do anything. Listen on the \
         loopback, or set API.Authorizations or API.RequireToken"
    )]
    Exposed(Address),
    /// A listener could not be bound, or a file not be written: names it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Whom the pinning service serves cannot be read.
    #[error("tenants and tokens: {0}")]
    Tenants(String),
    /// The network.
    #[error(transparent)]
    Net(#[from] net::NetError),
    /// The store.
    #[error("{path}: {source}")]
    Store {
        /// Its directory.
        path: String,
        /// The reason.
        source: StoreError,
    },
}

/// Brings up a node without listeners over the repository at `root`.
///
/// # Errors
/// Names the file or key; nothing was changed then.
pub fn boot(root: &Path) -> Result<Router, BootError> {
    let (node, repo, _) = bring_up(root)?;
    Ok(Router::new(node, repo, CancellationToken::new()))
}

/// The same without a router: for programs that hold the node themselves. The repository stays
/// locked for as long as its handle lives.
///
/// # Errors
/// As [`boot`].
pub fn open(root: &Path) -> Result<(Node, Repo), BootError> {
    bring_up(root).map(|(node, repo, _)| (node, repo))
}

/// A node without listeners that is online all the same: it connects with whom it is told to,
/// and serves them.
///
/// # Errors
/// As [`boot`]; the network's.
pub async fn visit(root: &Path) -> Result<(Router, Visit), BootError> {
    let place = root.to_owned();
    let (node, repo, config) = task::blocking(move || bring_up(&place)).await?;
    let (node, online) = Online::visit(node, &config).await?;
    Ok((Router::new(node, repo, CancellationToken::new()), Visit(online)))
}

/// What takes such a node offline.
pub struct Visit(Online);

impl Visit {
    /// Waits until what was fetched is in the store, and parts from everybody.
    pub async fn end(self) {
        self.0.stop().await;
    }
}

fn bring_up(root: &Path) -> Result<(Node, Repo, Config), BootError> {
    let repo = Repo::open(root, repo::wait_from_env())?;
    let config = repo.config()?;
    check::check_boot(&config)?;
    let settings = settings::node(&repo, &config)?;
    let tuning = Tuning { hash_on_read: config.hash_on_read(), limit: settings.storage_max };
    let store = open_store(&repo, tuning)?;
    Ok((Node::new(settings, store), repo, config))
}

/// How a daemon starts beside what the configuration says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether a port that is taken is replaced by one that is free.
    pub any_port: bool,
    /// Whether it stays without a network.
    pub offline: bool,
    /// Whether garbage is collected now and then (`--enable-gc`).
    pub collect: bool,
    /// Who is told of visits to the gateway.
    pub watch: Watch,
}

/// A node that serves.
pub struct Daemon {
    root: PathBuf,
    router: Router,
    stop: CancellationToken,
    serving: TaskTracker,
    online: Option<Online>,
}

impl Daemon {
    /// The boot list. Says each step in the words that Kubo's tools wait for; the last of them
    /// comes when everything answers.
    ///
    /// # Errors
    /// The first step that failed; what was begun is undone.
    pub async fn start(
        root: &Path,
        options: Options,
        say: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Self, BootError> {
        let stop = CancellationToken::new();
        say(&versions());
        // Before all that has figures of its own to register.
        let metrics = Metrics::new(KUBO_LEVEL);
        let place = root.to_owned();
        let (node, repo, config) = task::blocking(move || bring_up(&place)).await?;
        say(&format!("PeerID: {}", config.peer_id().unwrap_or_default()));
        let (node, online) = match options.offline {
            true => (node, None),
            false => {
                let (node, online) = Online::start(node, &config, options.any_port).await?;
                (node, Some(online))
            }
        };
        let tend = settings::tend(&config, options.collect)?;
        say_swarm(&node, say);
        let router = Router::new(node.clone(), repo, stop.clone());
        let (apis, bound) = bind("Addresses.API", &config.api_addresses(), &options).await?;
        let (gateways, open) =
            bind("Addresses.Gateway", &config.gateway_addresses(), &options).await?;
        let pinning = Pinning::bind(root, &config, &options).await?;
        node.service().load().await.map_err(|error| BootError::Tenants(error.to_string()))?;
        let guard = settings::guard(&config, &bound)?;
        let pages = gateway::Service::new(
            node.clone(),
            settings::gateway(&config)?,
            options.watch.clone(),
            metrics.clone(),
        );
        let daemon =
            Self { root: root.to_owned(), router, stop, serving: TaskTracker::new(), online };
        task::track(&daemon.serving, node.clone().tend(tend, daemon.stop.clone()));
        let desk = desk(&daemon);
        for api in apis {
            let (router, metrics) = (daemon.router.clone(), metrics.clone());
            let service = Service::new(router, guard.clone(), metrics, desk.clone());
            task::track(&daemon.serving, api.serve(service, daemon.stop.clone()));
        }
        for gateway in gateways {
            task::track(&daemon.serving, gateway.serve(pages.clone(), daemon.stop.clone()));
        }
        let pinned = pinning.as_ref().map(|pinning| pinning.bound.clone()).unwrap_or_default();
        let ending = (&daemon.serving, &daemon.stop);
        let readiness = pinning.map(|pinning| pinning.start(&node, &metrics, ending));
        // The gateway's file first: whoever waits for the RPC expects it to be there.
        match open.iter().find_map(|address| address.reachable().url()) {
            Some(url) => write_file(&daemon.root, GATEWAY_FILE, &url)?,
            // One that was killed may have left its own.
            None => drop(std::fs::remove_file(daemon.root.join(GATEWAY_FILE))),
        }
        match bound.first() {
            Some(first) => write_file(&daemon.root, API_FILE, &first.reachable().to_string())?,
            None => drop(std::fs::remove_file(daemon.root.join(API_FILE))),
        }
        let listening =
            [("RPC API server", &bound), ("Gateway server", &open), ("Pinning service", &pinned)];
        for (what, addresses) in listening {
            addresses.iter().for_each(|at| say(&format!("{what} listening on {at}")));
        }
        if let Some(readiness) = readiness {
            readiness.is_up();
        }
        say("Daemon is ready");
        Ok(daemon)
    }

    /// Cancelling this stops the daemon.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Serves until told to stop; then the stop list, the boot list backwards.
    pub async fn run(self) {
        self.stop.cancelled().await;
        // A client that still finds the file is refused at the socket, and goes on by itself.
        let _ = std::fs::remove_file(self.root.join(API_FILE));
        let _ = std::fs::remove_file(self.root.join(GATEWAY_FILE));
        self.serving.close();
        if tokio::time::timeout(DRAIN_TIME, self.serving.wait()).await.is_err() {
            tracing::warn!("requests still in progress are cut off");
        }
        if let Some(online) = self.online {
            online.stop().await;
        }
        // The last handle: the store is flushed and closed.
        drop(self.router);
    }
}

/// Where commands of this machine hand files over, if they can.
fn desk(daemon: &Daemon) -> Desk {
    let desk = Desk::default();
    match Counter::open(&daemon.root) {
        Ok(counter) => {
            let serving = desk.clone().serve(counter, daemon.stop.clone());
            task::track(&daemon.serving, serving);
        }
        Err(error) => tracing::debug!(%error, "files are not handed over but sent"),
    }
    desk
}

/// Where the swarm listens, in Kubo's words: each host and port once, with what listens there.
fn say_swarm(node: &Node, say: &mut (dyn FnMut(&str) + Send)) {
    let Ok(listening) = node.listening() else {
        return say("Swarm not listening, running in offline mode.");
    };
    let (lines, announced) = (network::spots(&listening), node.announced().unwrap_or_default());
    if lines.is_empty() {
        say("Swarm not listening: peers cannot connect to this node.");
    }
    lines.iter().for_each(|line| say(&format!("Swarm listening on {line}")));
    announced.iter().for_each(|address| tracing::info!("announcing {address}"));
}

/// Binds the listeners of a configured list; also gives where they listen.
async fn bind(
    key: &'static str,
    texts: &[String],
    options: &Options,
) -> Result<(Vec<Listener>, Vec<Address>), BootError> {
    let mut listeners = Vec::with_capacity(texts.len());
    for address in &settings::addresses(key, texts)? {
        let bound = match Listener::bind(address).await {
            Err(error) if options.any_port && error.kind() == ErrorKind::AddrInUse => {
                Listener::bind(&address.on_any_port()).await
            }
            other => other,
        };
        listeners.push(bound?);
    }
    let bound = listeners.iter().map(|listener| listener.address().clone()).collect();
    Ok((listeners, bound))
}

/// What `version --all` prints.
fn versions() -> String {
    format!(
        "Kubo version: {KUBO_LEVEL}-henge-{}\nRepo version: {KUBO_REPO}\n\
         System version: {}/{}\nGolang version: none",
        env!("CARGO_PKG_VERSION"),
        crate::rpc::arch(),
        std::env::consts::OS
    )
}

/// Writes a small file whole, without a newline: readers take it as it is.
fn write_file(root: &Path, name: &str, text: &str) -> Result<(), BootError> {
    let (path, new) = (root.join(name), root.join(format!("{name}.new")));
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(&new, &path)?)
}

fn open_store(repo: &Repo, tuning: Tuning) -> Result<Store, BootError> {
    if !crc32c_in_hardware() {
        tracing::warn!("built without CRC32C in hardware: reading blocks will be slow");
    }
    let path = repo.store_dir();
    let named = |source| BootError::Store { path: path.display().to_string(), source };
    Store::open_locked(&path, tuning, repo.lock()).map_err(named)
}

/// Whether the checksums of the store were compiled for this processor's own instruction.
fn crc32c_in_hardware() -> bool {
    cfg!(not(target_arch = "x86_64")) || cfg!(target_feature = "sse4.2")
}

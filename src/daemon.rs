//! The boot list: from a repository on the disk to a router that answers. Stopping is dropping it:
//! the last handle closes the store, and nothing acknowledged waits for that.

use std::path::Path;

use data_encoding::BASE64;

use crate::config::repo::{self, Repo};
use crate::config::settings::{HamtEstimation, Import};
use crate::config::{Config, FileError, Identity, IdentityError, RepoError, check};
use crate::node::{self, Node, Settings};
use crate::rpc::Router;
use crate::store::{Store, StoreError};
use crate::unixfs::UnixfsError;
use crate::unixfs::directory::Estimate;
use crate::unixfs::profile::Profile;

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
    /// The store.
    #[error("{path}: {source}")]
    Store {
        /// Its directory.
        path: String,
        /// The reason.
        source: StoreError,
    },
}

/// Brings up a node without a network over the repository at `root`, and what serves it.
///
/// # Errors
/// As [`open`].
pub fn boot(root: &Path) -> Result<Router, BootError> {
    let (node, repo) = open(root)?;
    Ok(Router::new(node, repo))
}

/// The node alone, and the repository whose lock guards its store: the node is to go first.
///
/// # Errors
/// Names the file or key; nothing was changed then.
pub fn open(root: &Path) -> Result<(Node, Repo), BootError> {
    let repo = Repo::open(root, repo::wait_from_env())?;
    let config = repo.config()?;
    check::check_boot(&config)?;
    let settings = settings(&repo, &config)?;
    let store = open_store(&repo, config.hash_on_read())?;
    Ok((Node::new(settings, store), repo))
}

fn open_store(repo: &Repo, hash_on_read: bool) -> Result<Store, BootError> {
    if !crc32c_in_hardware() {
        tracing::warn!("built without CRC32C in hardware: reading blocks will be slow");
    }
    let path = repo.store_dir();
    let named = |source| BootError::Store { path: path.display().to_string(), source };
    match hash_on_read {
        true => Store::open_hashing(&path).map_err(named),
        false => Store::open(&path).map_err(named),
    }
}

/// Whether the checksums of the store were compiled for this processor's own instruction.
fn crc32c_in_hardware() -> bool {
    cfg!(not(target_arch = "x86_64")) || cfg!(target_feature = "sse4.2")
}

fn settings(repo: &Repo, config: &Config) -> Result<Settings, BootError> {
    let identity = Identity::from_config(config)?;
    let public = identity.keypair().public().encode_protobuf();
    let free = repo.free_bytes()?;
    Ok(Settings {
        peer_id: identity.peer_id().to_base58(),
        public_key: BASE64.encode(&public),
        repo_root: repo.root().to_owned(),
        storage_max: config.storage_max()?.bytes(free),
        import: import(&config.import()?).map_err(|e| BootError::Import(e.to_string()))?,
    })
}

/// The importer's profile over Kubo's defaults.
fn import(section: &Import) -> Result<Profile, node::Error> {
    let defaults = Profile::V0_2015;
    // The rules between these options are those of the command: written once, in `node::add`.
    let options = node::add::AddOptions {
        cid_version: section.cid_version,
        raw_leaves: section.raw_leaves,
        chunker: section.chunker.clone(),
        hash: section.hash_function.clone(),
        max_file_links: section.file_max_links.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        max_hamt_fanout: section.hamt_fanout.map(u64::from),
        ..Default::default()
    };
    let mut profile = options.profile(defaults)?;
    if section.dag_layout == Some(crate::config::settings::DagLayout::Trickle) {
        return Err(UnixfsError::Setting("the trickle layout is not supported yet".into()).into());
    }
    profile.hamt_threshold = section.hamt_threshold_bytes.unwrap_or(defaults.hamt_threshold);
    profile.hamt_estimate = match section.hamt_estimation {
        None | Some(HamtEstimation::Links) => Estimate::Links,
        Some(HamtEstimation::Block) => Estimate::Block,
        Some(HamtEstimation::Disabled) => Estimate::Disabled,
    };
    Ok(profile)
}

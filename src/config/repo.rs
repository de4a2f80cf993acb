//! The repository's directory: where it is, whether it is one of ours, who holds it, and its
//! configuration file.
//!
//! Owns the files `henge` (the layout version), `config` and `repo.lock`. Does not own what is
//! below `store/`, the keystore, or the `api` and `gateway` files.
//!
//! A directory is a repository once `henge` is in it, which `init` arranges last. What is refused
//! stays untouched: a disk mounted by mistake, or a Kubo repository, must not be changed by looking
//! at it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::file::{Config, FileError, MAX_CONFIG_BYTES};
use super::fresh::{self, Fresh};
use super::identity::{Algorithm, Identity, IdentityError};
use super::profile::{self, ProfileError};
use super::settings::StorageMax;
use super::units::{format_bytes_down, parse_duration_ns};
use super::{disk, program_name};

/// The layout of the repository that this version reads and writes.
pub const LAYOUT: u32 = 2;

const LAYOUT_FILE: &str = "henge";
/// Present only while `init` runs. Renamed to `henge` at its end; left by a crash, it tells a
/// half-made directory, whose key nobody was told yet, from one with somebody's `config` in it.
const INIT_MARK: &str = ".henge.init";
pub(super) const CONFIG_FILE: &str = "config";
const LOCK_FILE: &str = "repo.lock";
const STORE_DIR: &str = "store";
/// Bytes a layout file may have; a version and a newline take two.
const MAX_LAYOUT_BYTES: usize = 64;
/// Names tried for a backup of the config.
const MAX_BACKUPS: u32 = 10_000;
/// What Kubo's `init` writes for `Datastore.StorageMax`, whatever the disk.
const KUBO_STORAGE_MAX: &str = "10GB";

/// Why a repository could not be made, opened, read or written. Each names the path.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// Nothing was made there yet.
    #[error("no IPFS repo found in {path}.\nplease run: '{program} init'", path = .path.display())]
    NoRepo {
        /// Where it was looked for.
        path: PathBuf,
        /// The name we were run under.
        program: &'static str,
    },
    /// It is Kubo's.
    #[error(
        "{path} is a Kubo repository (fs-repo@{version}), which henge does not use in place: it \
         will be imported by '{program} repo migrate --from {path}', which this version does \
         not have yet",
        path = .path.display()
    )]
    KuboRepo {
        /// The repository.
        path: PathBuf,
        /// Its version, as its `version` file spells it.
        version: String,
        /// The name we were run under.
        program: &'static str,
    },
    /// A later henge made it.
    #[error(
        "{path} has layout {found}, but this version knows only up to {LAYOUT}: use a newer henge",
        path = .path.display()
    )]
    NewerLayout {
        /// The repository.
        path: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// An earlier henge made it, and its layout was given up.
    #[error(
        "{path} has layout {found}, which this version (layout {LAYOUT}) no longer reads: export \
         it with the henge that made it",
        path = .path.display()
    )]
    OlderLayout {
        /// The repository.
        path: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// The layout file is there and holds no number.
    #[error("{path} holds no layout version: the repository is damaged", path = .path.display())]
    BadLayout {
        /// The repository.
        path: PathBuf,
    },
    /// Another process holds it.
    #[error("lock {path}: someone else has the lock", path = .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// `init` where there is one.
    #[error("ipfs configuration file already exists!\nReinitializing would overwrite your keys")]
    AlreadyInitialised {
        /// The repository.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{path}: {text}", path = .path.display(), text = io_text(.source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Its configuration cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: FileError,
    },
    /// `init` was given a configuration that cannot be read.
    #[error("the configuration given to init: {0}")]
    GivenConfig(FileError),
    /// `init` was given a peer ID without its key.
    #[error(
        "the configuration given to init names a peer but not its key: leave out Identity.PeerID \
         to get a new one"
    )]
    GivenPeer,
    /// The identity cannot be made or read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// `--profile` names none.
    #[error("invalid configuration profile: {0}")]
    UnknownProfile(String),
    /// A profile cannot be applied.
    #[error(transparent)]
    Profile(ProfileError),
    /// Every name for a backup is taken.
    #[error("{path}: too many backups of the config: remove some", path = .path.display())]
    TooManyBackups {
        /// The configuration file.
        path: PathBuf,
    },
}

/// The two errors that scripts look for, spelled as Go spells them.
fn io_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => error.to_string(),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> RepoError {
    move |source| RepoError::Io { path: path.to_owned(), source }
}

/// Where the repository is: the flag, else `$HENGE_PATH`, else `$IPFS_PATH`, else `~/.henge`. Empty
/// variables count as unset; a leading `~` is the home directory. Says nothing about whether
/// anything is there.
pub fn locate(flag: Option<&Path>) -> PathBuf {
    let env = |name: &str| std::env::var_os(name);
    locate_in(flag, env("HENGE_PATH"), env("IPFS_PATH"), std::env::home_dir())
}

fn locate_in(
    flag: Option<&Path>,
    henge: Option<OsString>,
    ipfs: Option<OsString>,
    home: Option<PathBuf>,
) -> PathBuf {
    let set = |value: Option<OsString>| value.filter(|text| !text.is_empty()).map(PathBuf::from);
    let home = home.unwrap_or_default();
    let chosen = flag.map(Path::to_owned).or_else(|| set(henge)).or_else(|| set(ipfs));
    match chosen {
        None => home.join(".henge"),
        Some(path) => match path.strip_prefix("~") {
            Ok(below) => home.join(below),
            Err(_) => path,
        },
    }
}

/// How long to wait for the repository's lock: `$HENGE_WAIT_REPO_LOCK`, else
/// `$IPFS_WAIT_REPO_LOCK`, as Go duration text. None is not at all: unset, or unreadable (which is
/// logged). As in Kubo, zero or less waits for ever.
pub fn wait_from_env() -> Option<Duration> {
    let text = ["HENGE_WAIT_REPO_LOCK", "IPFS_WAIT_REPO_LOCK"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    wait_from(&text?)
}

fn wait_from(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    match parse_duration_ns(text) {
        Ok(ns) => Some(
            u64::try_from(ns).ok().filter(|ns| *ns > 0).map_or(Duration::MAX, Duration::from_nanos),
        ),
        Err(error) => {
            tracing::error!(%error, "not waiting for the repository's lock");
            None
        }
    }
}

/// What `init` is asked for. No `Debug`: a given configuration may hold a private key.
#[derive(Clone, Default)]
pub struct InitOptions {
    /// The kind of key the new identity has.
    pub algorithm: Algorithm,
    /// Kubo's `--bits`, for RSA. Other keys have one size.
    pub bits: Option<u32>,
    /// Applied in this order.
    pub profiles: Vec<String>,
    /// A configuration to start from instead of the fresh one. Its identity is kept; without one,
    /// one is made. A `Datastore.StorageMax` that is unset, or the `10GB` that Kubo writes unasked,
    /// becomes a share of the disk.
    pub config: Option<Value>,
}

/// Makes a repository: the directory (its parent must exist), `config` (0600), and last `henge`.
/// When it returns, all of it is durable; when it fails or is killed on the way, it can be run
/// again.
///
/// Fails without touching anything where a repository, somebody's `config` or a Kubo repository is;
/// and before writing anything on a bad option, profile or given configuration.
pub fn init(root: &Path, options: &InitOptions) -> Result<Config, RepoError> {
    check_vacant(root)?;
    let config = initial_config(root, options)?;
    let text = config.to_text().map_err(RepoError::GivenConfig)?;
    disk::make_dir(root).map_err(io_error(root))?;
    let _lock = take_lock(root, None)?;
    // Again, now that no other `init` can run.
    check_vacant(root)?;
    let mark = root.join(INIT_MARK);
    disk::write_new(&mark, format!("{LAYOUT}\n").as_bytes()).map_err(io_error(&mark))?;
    disk::sync_dir(root).map_err(io_error(root))?;
    disk::replace_file(root, CONFIG_FILE, text.as_bytes())
        .map_err(io_error(&root.join(CONFIG_FILE)))?;
    let layout = root.join(LAYOUT_FILE);
    fs::rename(&mark, &layout).map_err(io_error(&layout))?;
    disk::sync_dir(root).map_err(io_error(root))?;
    Ok(config)
}

fn check_vacant(root: &Path) -> Result<(), RepoError> {
    if exists(&root.join(LAYOUT_FILE)) {
        return Err(RepoError::AlreadyInitialised { path: root.to_owned() });
    }
    refuse_kubo(root)?;
    if exists(&root.join(CONFIG_FILE)) && !exists(&root.join(INIT_MARK)) {
        return Err(RepoError::AlreadyInitialised { path: root.to_owned() });
    }
    Ok(())
}

/// Links count, also dangling ones: what they would point to is not ours to guess.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn initial_config(root: &Path, options: &InitOptions) -> Result<Config, RepoError> {
    // A new directory will be on the filesystem of its parent.
    let parent =
        root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let place = if root.exists() { root } else { parent };
    let free_bytes = disk::free_bytes(place).map_err(io_error(place))?;
    let storage_max = format_bytes_down(StorageMax::ShareOfFree.bytes(free_bytes));
    let mut config = match &options.config {
        Some(given) => given_config(given, &storage_max, options)?,
        None => fresh_config(&storage_max, options)?,
    };
    for name in &options.profiles {
        profile::apply(&mut config, name).map_err(|error| match error {
            ProfileError::Unknown(name) => RepoError::UnknownProfile(name),
            other => RepoError::Profile(other),
        })?;
    }
    Ok(config)
}

fn fresh_config(storage_max: &str, options: &InitOptions) -> Result<Config, RepoError> {
    let identity = Identity::generate(options.algorithm, options.bits)?;
    let peer_id = identity.peer_id().to_base58();
    let fresh = Fresh { peer_id: &peer_id, private_key: identity.private_key_text(), storage_max };
    Config::from_value(fresh::document(&fresh)).map_err(RepoError::GivenConfig)
}

fn given_config(
    given: &Value,
    storage_max: &str,
    options: &InitOptions,
) -> Result<Config, RepoError> {
    let mut config = Config::from_value(given.clone()).map_err(RepoError::GivenConfig)?;
    let unset = |text: Option<&str>| text.is_none_or(str::is_empty);
    let identity = match (unset(config.text("Identity.PrivKey")), unset(config.peer_id())) {
        (true, true) => Identity::generate(options.algorithm, options.bits)?,
        (true, false) => return Err(RepoError::GivenPeer),
        (false, _) => Identity::from_config(&config)?,
    };
    let chosen = config.text("Datastore.StorageMax").unwrap_or_default();
    let storage_max =
        if chosen.is_empty() || chosen == KUBO_STORAGE_MAX { storage_max } else { chosen }
            .to_owned();
    let edits = [
        ("Identity.PeerID", identity.peer_id().to_base58()),
        ("Identity.PrivKey", identity.private_key_text().to_owned()),
        ("Datastore.StorageMax", storage_max),
    ];
    for (key, text) in edits {
        config.set(key, Value::String(text)).map_err(RepoError::GivenConfig)?;
    }
    Ok(config)
}

/// An open repository. Holds its lock until dropped, and longer where [`Self::lock`] was shared.
#[derive(Debug)]
pub struct Repo {
    root: PathBuf,
    lock: Arc<File>,
}

impl Repo {
    /// Opens a repository and takes its lock. `wait` (see `wait_from_env`) is how long to wait for
    /// another holder; the thread blocks meanwhile. Fails, having changed nothing, where there is
    /// no repository, where Kubo's is, on another layout, and when the lock is held.
    pub fn open(root: &Path, wait: Option<Duration>) -> Result<Repo, RepoError> {
        check_layout(root)?;
        let lock = take_lock(root, wait)?;
        // The holder we waited for may have been a newer version, or gone with the directory.
        check_layout(root)?;
        Ok(Repo { root: root.to_owned(), lock: Arc::new(lock) })
    }

    /// The lock, for whoever may outlive this: nobody else opens the repository while one of its
    /// handles is left.
    pub fn lock(&self) -> Arc<File> {
        Arc::clone(&self.lock)
    }

    /// The directory, as it was given.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the store lives. Not made here.
    pub fn store_dir(&self) -> PathBuf {
        self.root.join(STORE_DIR)
    }

    /// Bytes that this user may still write beside the repository.
    pub fn free_bytes(&self) -> Result<u64, RepoError> {
        disk::free_bytes(&self.root).map_err(io_error(&self.root))
    }

    /// Reads the configuration. Fails when it is missing, damaged, or a known key has the wrong
    /// kind.
    pub fn config(&self) -> Result<Config, RepoError> {
        load_config_file(&self.root.join(CONFIG_FILE))
    }

    /// Replaces the configuration: whole or not at all, durable, mode 0600.
    pub fn save_config(&self, config: &Config) -> Result<(), RepoError> {
        let path = self.root.join(CONFIG_FILE);
        let text =
            config.to_text().map_err(|source| RepoError::Config { path: path.clone(), source })?;
        disk::replace_file(&self.root, CONFIG_FILE, text.as_bytes()).map_err(io_error(&path))
    }

    /// Copies the configuration beside itself, as Kubo does before it applies a profile, and
    /// returns the copy's path: `config-pre-<profile>-<number>`, mode 0600. It holds the private
    /// key.
    pub fn backup_config(&self, profile: &str) -> Result<PathBuf, RepoError> {
        let path = self.root.join(CONFIG_FILE);
        let bytes = disk::read_bounded(&path, MAX_CONFIG_BYTES).map_err(io_error(&path))?;
        let safe: String =
            profile.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let mut names = (1..=MAX_BACKUPS).map(|number| format!("config-pre-{safe}-{number}"));
        let free = names.find(|name| !exists(&self.root.join(name)));
        let name = free.ok_or_else(|| RepoError::TooManyBackups { path: self.root.clone() })?;
        let copy = self.root.join(&name);
        disk::replace_file(&self.root, &name, &bytes).map_err(io_error(&copy))?;
        Ok(copy)
    }
}

/// Reads the configuration of a repository without its lock, so also beside a running daemon.
pub fn load_config(root: &Path) -> Result<Config, RepoError> {
    check_layout(root)?;
    load_config_file(&root.join(CONFIG_FILE))
}

/// Reads a configuration file anywhere, for `--config-file`. At most `MAX_CONFIG_BYTES`.
pub fn load_config_file(path: &Path) -> Result<Config, RepoError> {
    let bytes = disk::read_bounded(path, MAX_CONFIG_BYTES).map_err(io_error(path))?;
    let failed = |source| RepoError::Config { path: path.to_owned(), source };
    let document: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    Config::from_value(Value::Object(document)).map_err(failed)
}

fn take_lock(root: &Path, wait: Option<Duration>) -> Result<File, RepoError> {
    let path = root.join(LOCK_FILE);
    let lock = disk::lock(&path, wait).map_err(io_error(&path))?;
    lock.ok_or(RepoError::Locked { path })
}

/// Says whether this is a repository of our layout. Reads only.
fn check_layout(root: &Path) -> Result<(), RepoError> {
    let path = root.join(LAYOUT_FILE);
    let bytes = match disk::read_bounded(&path, MAX_LAYOUT_BYTES) {
        Ok(bytes) => bytes,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            refuse_kubo(root)?;
            return Err(RepoError::NoRepo { path: root.to_owned(), program: program_name() });
        }
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(RepoError::BadLayout { path });
        }
        Err(source) => return Err(RepoError::Io { path, source }),
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_end();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(found) if digits && found > LAYOUT => {
            Err(RepoError::NewerLayout { path: root.to_owned(), found })
        }
        Ok(found) if digits && found < LAYOUT => {
            Err(RepoError::OlderLayout { path: root.to_owned(), found })
        }
        Ok(_) if digits => Ok(()),
        _ => Err(RepoError::BadLayout { path }),
    }
}

/// Kubo's own signs: its version file beside its datastore's description or directories.
fn refuse_kubo(root: &Path) -> Result<(), RepoError> {
    let version = root.join("version");
    let beside =
        ["datastore_spec", "blocks", "datastore"].iter().any(|name| exists(&root.join(name)));
    if !beside || !version.is_file() {
        return Ok(());
    }
    let version = disk::read_bounded(&version, MAX_LAYOUT_BYTES).unwrap_or_default();
    let version: String =
        String::from_utf8_lossy(&version).chars().filter(char::is_ascii_digit).collect();
    Err(RepoError::KuboRepo { path: root.to_owned(), version, program: program_name() })
}

#[cfg(test)]
mod tests;

//! The repository's root and its configuration file, in Kubo's format.
//!
//! Owns: where the repository is, its layout version and lock (`repo`), the JSON document (`file`),
//! which keys exist (`keys`), what a fresh document holds (`fresh`), the node's identity
//! (`identity`), the profiles (`profile`), what the `config` command does (`command`, `edit`,
//! `expand`), lists that commands change (`lists`), remote pinning services (`services`), and what a
//! daemon refuses to start with (`check`).
//!
//! Does not own: the store below `Repo::store_dir`, the `api` and `gateway` files (the daemon
//! writes them once it listens), the terminal, or what a setting means to the part that uses it.
//! Imports nothing else of the crate.

// Everything here reads what strangers wrote: files from other programs, arguments over the RPC.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod check;
pub mod command;
mod disk;
pub mod edit;
pub mod expand;
pub mod file;
pub mod fresh;
pub mod identity;
pub mod keys;
pub mod kind;
pub mod lists;
pub mod network;
pub mod pinning;
pub mod profile;
pub mod repo;
pub mod services;
pub mod settings;
pub mod units;

use std::ffi::OsStr;
use std::path::Path;

pub use file::{Config, FileError};
pub use identity::{Algorithm, Identity, IdentityError};
pub use repo::{InitOptions, Repo, RepoError, init, load_config, locate, wait_from_env};
pub use settings::{DagLayout, HamtEstimation, Import, StorageMax};

/// The name this program goes by in texts that tell the user what to type: `ipfs` when it runs
/// under that name (a link, so that scripts keep working), else `henge`.
pub fn program_name() -> &'static str {
    program_name_of(std::env::args_os().next().as_deref())
}

fn program_name_of(argv0: Option<&OsStr>) -> &'static str {
    match argv0.and_then(|name| Path::new(name).file_stem()) {
        Some(stem) if stem == "ipfs" => "ipfs",
        _ => "henge",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_called_ipfs_only_under_that_name() {
        assert_eq!(program_name_of(Some(OsStr::new("/usr/bin/ipfs"))), "ipfs");
        assert_eq!(program_name_of(Some(OsStr::new("ipfs.exe"))), "ipfs");
        assert_eq!(program_name_of(Some(OsStr::new("/opt/ipfs/henge"))), "henge");
        assert_eq!(program_name_of(None), "henge");
    }
}

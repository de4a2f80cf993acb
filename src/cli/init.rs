//! `henge init`: the one command that works on a repository that is not there yet.

use std::io::Read as _;
use std::path::PathBuf;

use super::Global;
use super::output::{CliError, line};
use crate::config::identity::Algorithm;
use crate::config::repo::{self, InitOptions};

/// Make a repository.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Init {
    /// A configuration to start with; `-` for standard input.
    #[arg(value_name = "DEFAULT-CONFIG")]
    default_config: Option<PathBuf>,
    /// Kind of key: ed25519 or secp256k1.
    #[arg(long, short = 'a', value_name = "ALGORITHM", default_value = "ed25519")]
    algorithm: String,
    /// Size of the key, for kinds that have one.
    #[arg(long, short = 'b', value_name = "BITS")]
    bits: Option<u32>,
    /// Profiles to apply, separated by commas.
    #[arg(long, short = 'p', value_name = "PROFILES", value_delimiter = ',')]
    profile: Vec<String>,
    /// Add nothing to the new repository; nothing is added anyway.
    #[arg(long, short = 'e', num_args = 0..=1, default_value = "true", default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    empty_repo: bool,
}

const EXAMPLES: &str = "\
Examples:
  henge init                              in ~/.henge, or $HENGE_PATH, or $IPFS_PATH
  henge init --profile=server             for a machine with a public address
  henge init --profile=unixfs-v1-2025     CIDv1, 1 MiB chunks, raw leaves";

impl Init {
    /// What `daemon --init` does.
    pub fn with_profiles(profile: Vec<String>) -> Self {
        let algorithm = "ed25519".to_owned();
        Self { default_config: None, algorithm, bits: None, profile, empty_repo: true }
    }

    /// Makes it, in Kubo's words: other tools read them.
    pub fn run(self, global: &Global) -> Result<(), CliError> {
        let root = repo::locate(global.repo_dir.as_deref());
        let algorithm: Algorithm =
            self.algorithm.parse().map_err(|e| CliError::new(format!("{e}")))?;
        let options = InitOptions {
            algorithm,
            bits: self.bits,
            profiles: self.profile.clone(),
            config: self.given_config()?,
        };
        let config = repo::init(&root, &options).map_err(|e| CliError::new(e.to_string()))?;
        if options.config.is_none() {
            line(format!("generating {} keypair...done", algorithm.name().to_uppercase()))?;
        }
        line(format!("peer identity: {}", config.peer_id().unwrap_or_default()))?;
        line(format!("initializing IPFS node at {}", root.display()))
    }

    fn given_config(&self) -> Result<Option<serde_json::Value>, CliError> {
        let Some(path) = &self.default_config else { return Ok(None) };
        let mut text = String::new();
        let read = match path.as_os_str() == "-" {
            true => std::io::stdin().read_to_string(&mut text).map(drop),
            false => std::fs::read_to_string(path).map(|read| text = read),
        };
        let named = |cause: String| CliError::new(format!("{}: {cause}", path.display()));
        read.map_err(|e| named(e.to_string()))?;
        serde_json::from_str(&text).map(Some).map_err(|e| named(e.to_string()))
    }
}

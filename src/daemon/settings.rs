//! From the configuration to what each part is told at its start: each gets its own settings by
//! value, and knows no configuration file.

use data_encoding::BASE64;

use super::BootError;
use crate::config::repo::Repo;
use crate::config::settings::{DagLayout, HamtEstimation, Import};
use crate::config::{Config, Identity};
use crate::http::Address;
use crate::node::{self, Settings};
use crate::rpc::http::guard::{Authorization, Guard};
use crate::unixfs::directory::Estimate;
use crate::unixfs::profile::Profile;

/// What the node is told.
pub fn node(repo: &Repo, config: &Config) -> Result<Settings, BootError> {
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
        trickle: section.dag_layout == Some(DagLayout::Trickle),
        ..Default::default()
    };
    let mut profile = options.profile(defaults)?;
    profile.hamt_threshold = section.hamt_threshold_bytes.unwrap_or(defaults.hamt_threshold);
    profile.hamt_estimate = match section.hamt_estimation {
        None | Some(HamtEstimation::Links) => Estimate::Links,
        Some(HamtEstimation::Block) => Estimate::Block,
        Some(HamtEstimation::Disabled) => Estimate::Disabled,
    };
    Ok(profile)
}

/// The listeners of a configured list of addresses.
pub fn addresses(key: &'static str, texts: &[String]) -> Result<Vec<Address>, BootError> {
    let parse = |text: &String| text.parse().map_err(|cause| BootError::Address { key, cause });
    texts.iter().map(parse).collect()
}

/// Who may call the RPC. Without secrets only this machine may.
pub fn guard(config: &Config, listeners: &[Address]) -> Result<Guard, BootError> {
    let origins = config
        .get("API.HTTPHeaders.Access-Control-Allow-Origin")
        .and_then(|value| value.as_array())
        .map(|list| list.iter().filter_map(|o| o.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    let authorizations: Vec<Authorization> = config
        .map("API.Authorizations")
        .into_iter()
        .flatten()
        .filter_map(|(_, entry)| {
            let secret = entry.get("AuthSecret")?.as_str()?;
            let paths = entry.get("AllowedPaths")?.as_array()?.iter();
            let paths = paths.filter_map(|p| p.as_str().map(str::to_owned)).collect();
            Some(Authorization::new(secret, paths))
        })
        .collect();
    let open = listeners.iter().find(|address| !address.is_local());
    match (open, authorizations.is_empty()) {
        (Some(address), true) => Err(BootError::Exposed(address.clone())),
        _ => {
            let ports = listeners.iter().filter_map(Address::port).collect();
            Ok(Guard { origins, ports, authorizations })
        }
    }
}

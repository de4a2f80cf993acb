//! From the configuration to what each part is told at its start: each gets its own settings by
//! value, and knows no configuration file.

use data_encoding::BASE64;

use super::BootError;
use crate::config::repo::Repo;
use crate::config::settings::{DagLayout, HamtEstimation, Import};
use crate::config::{Config, FileError, Identity};
use crate::gateway;
use crate::gateway::hostname::{Host, Hosts};
use crate::http::Address;
use crate::node::tend::TendSettings;
use crate::node::{self, Settings};
use crate::rpc::http::guard::{Authorization, Guard};
use crate::unixfs::directory::Estimate;
use crate::unixfs::profile::Profile;

/// What the node is told.
pub fn node(repo: &Repo, config: &Config) -> Result<Settings, BootError> {
    let identity = Identity::from_config(config)?;
    let public = identity.keypair().public().encode_protobuf();
    // What the repository takes counts as free: the limit is of all of it.
    let taken = node::repo::on_disk(repo.root()).unwrap_or(0);
    let free = repo.free_bytes()?.saturating_add(taken);
    Ok(Settings {
        peer_id: identity.peer_id().to_base58(),
        public_key: BASE64.encode(&public),
        repo_root: repo.root().to_owned(),
        storage_max: config.storage_max()?.bytes(free),
        import: import(&config.import()?).map_err(|e| BootError::Import(e.to_string()))?,
    })
}

/// How the store is tended; all garbage is collected now and then only where that was asked for.
pub fn tend(config: &Config, collect: bool) -> Result<TendSettings, BootError> {
    let period = config.gc_period()?;
    Ok(TendSettings {
        watermark: config.gc_watermark_percent()?,
        gc_period: (collect && !period.is_zero()).then_some(period),
        scrub_rate: config.scrub_rate()?,
        scrub_period: config.scrub_period()?,
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
        trickle: section.dag_layout.map(|layout| layout == DagLayout::Trickle),
        max_directory_links: section.directory_max_links,
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

/// What the gateway is told.
///
/// `NoFetch` asks for what a node without a network does anyway.
pub fn gateway(config: &Config) -> Result<gateway::Settings, BootError> {
    let defaults = gateway::Settings::default();
    let flag = |key, default| config.flag(key).unwrap_or(default);
    let mut settings = gateway::Settings {
        root_redirect: config
            .text("Gateway.RootRedirect")
            .filter(|target| !target.is_empty())
            .map(str::to_owned),
        deserialized: flag("Gateway.DeserializedResponses", defaults.deserialized),
        converts: flag("Gateway.AllowCodecConversion", defaults.converts),
        error_pages: !flag("Gateway.DisableHTMLErrors", !defaults.error_pages),
        hosts: hosts(config),
        range_file_max: config
            .size_bytes("Gateway.MaxRangeRequestFileSize")?
            .filter(|bytes| *bytes > 0),
        requests_max: match config.int("Gateway.MaxConcurrentRequests") {
            None => defaults.requests_max,
            // None is not no requests at all, but no bound.
            Some(most) => usize::try_from(most).ok().filter(|most| *most > 0),
        },
        no_fetch: config.flag("Gateway.NoFetch").unwrap_or(false),
        retrieval_time: match config.span("Gateway.RetrievalTimeout")? {
            None => defaults.retrieval_time,
            Some(time) => Some(time).filter(|time| !time.is_zero()),
        },
        request_time: config
            .span("Gateway.MaxRequestDuration")?
            .filter(|time| !time.is_zero())
            .unwrap_or(defaults.request_time),
        added: defaults.added,
    };
    for (name, _) in config.map("Gateway.HTTPHeaders").into_iter().flatten() {
        let values = config.list(&format!("Gateway.HTTPHeaders.{name}")).unwrap_or_default();
        let added = settings.added.add(name, &values);
        let refused = |reason| FileError::Value { key: "Gateway.HTTPHeaders", reason };
        added.map_err(refused)?;
    }
    Ok(settings)
}

/// The hosts of `Gateway.PublicGateways` over Kubo's own; null forgets one of those.
fn hosts(config: &Config) -> Hosts {
    let mut hosts = Hosts::default();
    for (name, entry) in config.map("Gateway.PublicGateways").into_iter().flatten() {
        let Some(entry) = entry.as_object() else {
            hosts.remove(name);
            continue;
        };
        let flag = |key: &str| entry.get(key).and_then(|value| value.as_bool());
        let paths = entry.get("Paths").and_then(|value| value.as_array()).into_iter().flatten();
        hosts.add(Host {
            name: name.clone(),
            paths: paths.filter_map(|path| path.as_str().map(str::to_owned)).collect(),
            subdomains: flag("UseSubdomains").unwrap_or(false),
            deserialized: flag("DeserializedResponses"),
        });
    }
    hosts
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
    let require_token = config.flag("API.RequireToken").unwrap_or(false);
    let open = listeners.iter().find(|address| !address.is_local());
    match (open, authorizations.is_empty() && !require_token) {
        (Some(address), true) => Err(BootError::Exposed(address.clone())),
        _ => {
            let ports = listeners.iter().filter_map(Address::port).collect();
            Ok(Guard { origins, ports, authorizations, require_token })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn told(section: Value) -> gateway::Settings {
        gateway(&Config::from_value(json!({ "Gateway": section })).unwrap()).unwrap()
    }

    #[test]
    fn an_empty_section_gives_kubos_defaults() {
        for section in [json!({}), json!({"RootRedirect": "", "PublicGateways": null})] {
            let settings = told(section);
            assert_eq!(settings.retrieval_time, Some(Duration::from_secs(30)));
            assert_eq!(settings.request_time, Duration::from_secs(3600));
            assert_eq!((settings.requests_max, settings.range_file_max), (Some(4096), None));
            assert!(settings.deserialized && settings.error_pages && !settings.converts);
            assert_eq!((settings.root_redirect, settings.hosts), (None, Hosts::default()));
        }
    }

    #[test]
    fn zero_lifts_bounds_and_other_values_are_taken() {
        let none = told(json!({
            "RetrievalTimeout": "0s", "MaxConcurrentRequests": 0, "MaxRangeRequestFileSize": 0,
            "MaxRequestDuration": "0s",
        }));
        assert_eq!(
            (none.retrieval_time, none.requests_max, none.range_file_max),
            (None, None, None)
        );
        assert_eq!(none.request_time, Duration::from_secs(3600));
        let some = told(json!({
            "RetrievalTimeout": "5s", "MaxConcurrentRequests": 7, "MaxRangeRequestFileSize": "5GiB",
            "MaxRequestDuration": "2m", "DisableHTMLErrors": true, "DeserializedResponses": false,
            "PublicGateways": {"localhost": null},
        }));
        assert_eq!(some.retrieval_time, Some(Duration::from_secs(5)));
        assert_eq!((some.requests_max, some.range_file_max), (Some(7), Some(5 << 30)));
        assert_eq!(some.request_time, Duration::from_secs(120));
        assert!(!some.error_pages && !some.deserialized && some.hosts != Hosts::default());
    }
}

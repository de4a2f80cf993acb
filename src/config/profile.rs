//! Kubo's configuration profiles as data: a name, and the edits it makes.
//!
//! Owns the table and how edits apply. Does not own saving, the backup made before (`repo`), or
//! printing the difference.
//!
//! Profiles that choose a datastore (`init_only`) write the `Datastore.Spec` that Kubo would, so
//! that scripts find what they asked for; they change nothing of ours, because there is one kind of
//! store and it does not read that key. Kubo applies them after init as well and then fails to
//! open; here that is harmless.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use serde_json::{Value, json};

use super::file::{Config, FileError};
use super::fresh;

/// Why a profile was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No profile of this name.
    #[error("{0} is not a profile")]
    Unknown(String),
    /// The configuration does not take one of its values.
    #[error("profile {profile}: {source}")]
    Edit {
        /// The profile's name.
        profile: &'static str,
        /// The reason.
        source: FileError,
    },
    /// It asks for a free port, and the system has none.
    #[error("profile {profile}: no free port: {source}")]
    NoPort {
        /// The profile's name.
        profile: &'static str,
        /// The reason.
        source: std::io::Error,
    },
}

/// One thing a profile does to one key.
#[derive(Debug, Clone, Copy)]
enum Edit {
    /// The key and the JSON text of its new value.
    Set(&'static str, &'static str),
    /// As `Set`, but keeps what is there.
    SetIfUnset(&'static str, &'static str),
    /// A value too long for a line of this table.
    SetTo(&'static str, fn() -> Value),
    /// Back to the default. (Kubo means this too, but its merge with the file on disk keeps the old
    /// value.)
    Unset(&'static str),
    /// Adds the server filters that a list lacks.
    AddFilters(&'static str),
    /// Removes the server filters from a list.
    DropFilters(&'static str),
    /// Sets a list to TCP on one free port.
    RandomPort(&'static str),
}

/// A profile.
#[derive(Debug)]
pub struct Profile {
    /// What `--profile` takes.
    pub name: &'static str,
    /// One line for `config profile --help`.
    pub about: &'static str,
    /// In Kubo only `init` has a use for it.
    pub init_only: bool,
    edits: &'static [Edit],
}

/// A key that a profile changed. None is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The key, with dots.
    pub key: &'static str,
    /// Its value before.
    pub old: Option<Value>,
    /// Its value now.
    pub new: Option<Value>,
}

/// Address ranges that are not reachable from the whole internet (IANA special-purpose registries),
/// as Kubo's `server` profile lists them.
const SERVER_FILTERS: &[&str] = &[
    "/ip4/10.0.0.0/ipcidr/8",
    "/ip4/100.64.0.0/ipcidr/10",
    "/ip4/127.0.0.0/ipcidr/8",
    "/ip4/169.254.0.0/ipcidr/16",
    "/ip4/172.16.0.0/ipcidr/12",
    "/ip4/192.0.0.0/ipcidr/24",
    "/ip4/192.0.2.0/ipcidr/24",
    "/ip4/192.168.0.0/ipcidr/16",
    "/ip4/198.18.0.0/ipcidr/15",
    "/ip4/198.51.100.0/ipcidr/24",
    "/ip4/203.0.113.0/ipcidr/24",
    "/ip4/240.0.0.0/ipcidr/4",
    "/ip6/::/ipcidr/3",
    "/ip6/::1/ipcidr/128",
    "/ip6/100::/ipcidr/64",
    "/ip6/2001:2::/ipcidr/48",
    "/ip6/2001:db8::/ipcidr/32",
    "/ip6/fc00::/ipcidr/7",
    "/ip6/fe80::/ipcidr/10",
];

use Edit::{AddFilters, DropFilters, RandomPort, Set, SetIfUnset, SetTo, Unset};

const UNIXFS_V0_2015: &[Edit] = &[
    Set("Import.CidVersion", "0"),
    Set("Import.UnixFSRawLeaves", "false"),
    Set("Import.UnixFSChunker", r#""size-262144""#),
    Set("Import.HashFunction", r#""sha2-256""#),
    Set("Import.UnixFSFileMaxLinks", "174"),
    Set("Import.UnixFSDirectoryMaxLinks", "0"),
    Set("Import.UnixFSHAMTDirectoryMaxFanout", "256"),
    Set("Import.UnixFSHAMTDirectorySizeThreshold", r#""256KiB""#),
    Set("Import.UnixFSHAMTDirectorySizeEstimation", r#""links""#),
    Set("Import.UnixFSDAGLayout", r#""balanced""#),
];

const UNIXFS_V1_2025: &[Edit] = &[
    Set("Import.CidVersion", "1"),
    Set("Import.UnixFSRawLeaves", "true"),
    Set("Import.UnixFSChunker", r#""size-1048576""#),
    Set("Import.HashFunction", r#""sha2-256""#),
    Set("Import.UnixFSFileMaxLinks", "1024"),
    Set("Import.UnixFSDirectoryMaxLinks", "0"),
    Set("Import.UnixFSHAMTDirectoryMaxFanout", "256"),
    Set("Import.UnixFSHAMTDirectorySizeThreshold", r#""256KiB""#),
    Set("Import.UnixFSHAMTDirectorySizeEstimation", r#""block""#),
    Set("Import.UnixFSDAGLayout", r#""balanced""#),
];

const FLATFS: &[Edit] = &[SetTo("Datastore.Spec", fresh::flatfs_spec)];

/// Every profile, in the order help prints them.
pub const PROFILES: &[Profile] = &[
    Profile {
        name: "announce-off",
        init_only: false,
        about: "Announces nothing to the DHT: only peers already connected find this node's data.",
        edits: &[Set("Provide.Enabled", "false"), Set("Provide.DHT.Interval", r#""0s""#)],
    },
    Profile {
        name: "announce-on",
        init_only: false,
        about: "Announces to the DHT again, every 22 hours (reverts announce-off).",
        edits: &[Set("Provide.Enabled", "true"), Set("Provide.DHT.Interval", r#""22h0m0s""#)],
    },
    Profile {
        name: "autoconf-off",
        init_only: false,
        about: "Takes nothing from the autoconf service: its settings are left empty.",
        edits: &[
            Set("Bootstrap", "null"),
            Set("DNS.Resolvers", "null"),
            Set("Routing.DelegatedRouters", "null"),
            Set("Ipns.DelegatedPublishers", "null"),
            Set("AutoConf.Enabled", "false"),
        ],
    },
    Profile {
        name: "autoconf-on",
        init_only: false,
        about: "Takes bootstrap peers, resolvers and routers from the autoconf service.",
        edits: &[
            Set("Bootstrap", r#"["auto"]"#),
            Set("DNS.Resolvers", r#"{".": "auto"}"#),
            Set("Routing.DelegatedRouters", r#"["auto"]"#),
            Set("Ipns.DelegatedPublishers", r#"["auto"]"#),
            Set("AutoConf.Enabled", "true"),
            SetIfUnset("AutoConf.URL", r#""https://conf.ipfs-mainnet.org/autoconf.json""#),
        ],
    },
    Profile {
        name: "badgerds",
        init_only: true,
        about: "Names a badger datastore in the config; henge's own store is used.",
        edits: &[SetTo("Datastore.Spec", fresh::badger_spec)],
    },
    Profile {
        name: "badgerds-measure",
        init_only: true,
        about: "As badgerds, with metrics.",
        edits: &[SetTo("Datastore.Spec", fresh::badger_measure_spec)],
    },
    Profile {
        name: "default-datastore",
        init_only: true,
        about: "Names the default datastore in the config; henge's own store is used.",
        edits: FLATFS,
    },
    Profile {
        name: "default-networking",
        init_only: false,
        about: "Restores the network settings of a fresh node (reverts test).",
        edits: &[
            SetTo("Addresses.Swarm", swarm_addresses),
            Set("Addresses.Announce", "[]"),
            Set("Addresses.AppendAnnounce", "[]"),
            Set("Addresses.NoAnnounce", "[]"),
            Set("Addresses.API", r#""/ip4/127.0.0.1/tcp/5001""#),
            Set("Addresses.Gateway", r#""/ip4/127.0.0.1/tcp/8080""#),
            Set("Bootstrap", r#"["auto"]"#),
            Unset("AutoConf.Enabled"),
            Unset("AutoConf.URL"),
            Set("Swarm.DisableNatPortMap", "false"),
            Set("Discovery.MDNS.Enabled", "true"),
            Unset("AutoTLS.Enabled"),
        ],
    },
    Profile {
        name: "flatfs",
        init_only: true,
        about: "Names a flatfs datastore in the config; henge's own store is used.",
        edits: FLATFS,
    },
    Profile {
        name: "flatfs-measure",
        init_only: true,
        about: "As flatfs, with metrics.",
        edits: &[SetTo("Datastore.Spec", fresh::flatfs_measure_spec)],
    },
    Profile {
        name: "legacy-cid-v0",
        init_only: false,
        about: "Another name of unixfs-v0-2015.",
        edits: UNIXFS_V0_2015,
    },
    Profile {
        name: "local-discovery",
        init_only: false,
        about: "Finds peers in local networks (reverts server).",
        edits: &[
            DropFilters("Addresses.NoAnnounce"),
            DropFilters("Swarm.AddrFilters"),
            Set("Discovery.MDNS.Enabled", "true"),
            Set("Swarm.DisableNatPortMap", "false"),
        ],
    },
    Profile {
        name: "lowpower",
        init_only: false,
        about: "Fewer connections and no services for others; finding and fetching get slower.",
        edits: &[
            Set("Routing.Type", r#""autoclient""#),
            Set("AutoNAT.ServiceMode", r#""disabled""#),
            Set("Swarm.RelayService.Enabled", "false"),
            Set("Swarm.ConnMgr.Type", r#""basic""#),
            Set("Swarm.ConnMgr.LowWater", "20"),
            Set("Swarm.ConnMgr.HighWater", "40"),
            Set("Swarm.ConnMgr.GracePeriod", r#""1m0s""#),
        ],
    },
    Profile {
        name: "pebbleds",
        init_only: true,
        about: "Names a pebble datastore in the config; henge's own store is used.",
        edits: &[SetTo("Datastore.Spec", fresh::pebble_spec)],
    },
    Profile {
        name: "pebbleds-measure",
        init_only: true,
        about: "As pebbleds, with metrics.",
        edits: &[SetTo("Datastore.Spec", fresh::pebble_measure_spec)],
    },
    Profile {
        name: "randomports",
        init_only: false,
        about: "Listens for peers on a free TCP port instead of 4001.",
        edits: &[RandomPort("Addresses.Swarm")],
    },
    Profile {
        name: "server",
        init_only: false,
        about: "For public addresses: no local discovery, private addresses or port mapping.",
        edits: &[
            AddFilters("Addresses.NoAnnounce"),
            AddFilters("Swarm.AddrFilters"),
            Set("Discovery.MDNS.Enabled", "false"),
            Set("Swarm.DisableNatPortMap", "true"),
        ],
    },
    Profile {
        name: "test",
        init_only: false,
        about: "For tests: loopback only, free ports, no bootstrap peers, no discovery.",
        edits: &[
            Set("Addresses.API", r#""/ip4/127.0.0.1/tcp/0""#),
            Set("Addresses.Gateway", r#""/ip4/127.0.0.1/tcp/0""#),
            Set("Addresses.Swarm", r#"["/ip4/127.0.0.1/tcp/0"]"#),
            Set("Swarm.DisableNatPortMap", "true"),
            Set("Routing.LoopbackAddressesOnLanDHT", "true"),
            Set("Bootstrap", "[]"),
            Set("Discovery.MDNS.Enabled", "false"),
            Set("AutoTLS.Enabled", "false"),
            Set("AutoConf.Enabled", "false"),
            Set("DNS.Resolvers", "{}"),
            Set("Routing.DelegatedRouters", "[]"),
            Set("Ipns.DelegatedPublishers", "[]"),
        ],
    },
    Profile {
        name: "unixfs-v0-2015",
        init_only: false,
        about: "Imports as in 2015: CIDv0, 256 KiB chunks, no raw leaves, 174 links.",
        edits: UNIXFS_V0_2015,
    },
    Profile {
        name: "unixfs-v1-2025",
        init_only: false,
        about: "Imports as in 2025: CIDv1, 1 MiB chunks, raw leaves, 1024 links.",
        edits: UNIXFS_V1_2025,
    },
];

/// Applies a profile and returns what changed, in the profile's order. On an error nothing changes.
/// Fails on an unknown name, on an object key that holds something else, and (`randomports`) when
/// no port can be bound.
pub fn apply(config: &mut Config, name: &str) -> Result<Vec<Change>, ProfileError> {
    let profile = PROFILES.iter().find(|profile| profile.name == name);
    let profile = profile.ok_or_else(|| ProfileError::Unknown(name.to_owned()))?;
    apply_all(config, profile.name, profile.edits)
}

fn apply_all(
    config: &mut Config,
    profile: &'static str,
    edits: &[Edit],
) -> Result<Vec<Change>, ProfileError> {
    let mut edited = config.clone();
    let mut changes = Vec::new();
    for edit in edits {
        changes.extend(apply_edit(&mut edited, profile, *edit)?);
    }
    *config = edited;
    Ok(changes)
}

fn apply_edit(
    config: &mut Config,
    profile: &'static str,
    edit: Edit,
) -> Result<Option<Change>, ProfileError> {
    let failed = |source| ProfileError::Edit { profile, source };
    let (key, new) = match edit {
        Unset(key) => {
            let old = config.remove(key);
            return Ok(old.map(|old| Change { key, old: Some(old), new: None }));
        }
        SetIfUnset(key, _) if config.is_set(key) => return Ok(None),
        Set(key, text) | SetIfUnset(key, text) => {
            (key, serde_json::from_str(text).map_err(|error| failed(error.into()))?)
        }
        SetTo(key, value) => (key, value()),
        AddFilters(key) => (key, json!(with_filters(config.list(key)))),
        DropFilters(key) => (key, json!(without_filters(config.list(key)))),
        RandomPort(key) => {
            let port = free_port().map_err(|source| ProfileError::NoPort { profile, source })?;
            (key, json!([format!("/ip4/0.0.0.0/tcp/{port}"), format!("/ip6/::/tcp/{port}")]))
        }
    };
    let old = config.set(key, new.clone()).map_err(failed)?;
    let changed = old.as_ref() != Some(&new);
    Ok(changed.then_some(Change { key, old, new: Some(new) }))
}

fn with_filters(list: Option<Vec<String>>) -> Vec<String> {
    let mut merged = Vec::new();
    for entry in
        list.unwrap_or_default().into_iter().chain(SERVER_FILTERS.iter().map(ToString::to_string))
    {
        if !merged.contains(&entry) {
            merged.push(entry);
        }
    }
    merged
}

fn without_filters(list: Option<Vec<String>>) -> Vec<String> {
    list.unwrap_or_default()
        .into_iter()
        .filter(|entry| !SERVER_FILTERS.contains(&entry.as_str()))
        .collect()
}

/// A port free at this moment; nothing holds it until the daemon listens.
fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    Ok(listener.local_addr()?.port())
}

fn swarm_addresses() -> Value {
    fresh::addresses().get("Swarm").cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh_config() -> Config {
        let fresh = fresh::Fresh { peer_id: "12D3Koo", private_key: "CAES", storage_max: "123GB" };
        Config::from_value(fresh::document(&fresh)).unwrap()
    }

    #[test]
    fn every_profile_of_kubo_applies_to_a_fresh_and_to_an_empty_config() {
        let names = "server local-discovery test default-networking default-datastore flatfs \
                     flatfs-measure pebbleds pebbleds-measure badgerds badgerds-measure lowpower \
                     announce-off announce-on randomports autoconf-on \
                     autoconf-off unixfs-v0-2015 legacy-cid-v0 unixfs-v1-2025";
        assert_eq!(names.split_whitespace().count(), PROFILES.len());
        for name in names.split_whitespace() {
            for mut config in [fresh_config(), Config::from_value(json!({})).unwrap()] {
                apply(&mut config, name).unwrap();
                config.import().unwrap();
                // A second time changes nothing, but for the port.
                let again = apply(&mut config, name).unwrap();
                assert!(again.is_empty() || name == "randomports", "{name}: {again:?}");
            }
        }
        assert!(PROFILES.is_sorted_by_key(|profile| profile.name));
    }

    #[test]
    fn an_unknown_profile_is_named() {
        let error = apply(&mut fresh_config(), "nope").unwrap_err();
        assert_eq!(error.to_string(), "nope is not a profile");
    }

    #[test]
    fn test_and_its_inverse() {
        let mut config = fresh_config();
        let changes = apply(&mut config, "test").unwrap();
        assert_eq!(config.get("Addresses.API"), Some(&json!("/ip4/127.0.0.1/tcp/0")));
        assert_eq!(config.get("Routing.LoopbackAddressesOnLanDHT"), Some(&json!(true)));
        let first = Change {
            key: "Addresses.API",
            old: Some(json!("/ip4/127.0.0.1/tcp/5001")),
            new: Some(json!("/ip4/127.0.0.1/tcp/0")),
        };
        assert_eq!(changes.first(), Some(&first));
        apply(&mut config, "default-networking").unwrap();
        assert_eq!(config.get("Addresses"), fresh_config().get("Addresses"));
        assert_eq!(config.get("AutoConf.Enabled"), None);
    }

    #[test]
    fn server_filters_come_and_go_without_touching_others() {
        let mut config = fresh_config();
        config
            .set("Swarm.AddrFilters", json!(["/ip4/1.2.3.4/ipcidr/32", "/ip4/10.0.0.0/ipcidr/8"]))
            .unwrap();
        apply(&mut config, "server").unwrap();
        assert_eq!(config.list("Swarm.AddrFilters").unwrap().len(), 20);
        assert_eq!(config.list("Addresses.NoAnnounce").unwrap().len(), 19);
        apply(&mut config, "local-discovery").unwrap();
        assert_eq!(config.get("Swarm.AddrFilters"), Some(&json!(["/ip4/1.2.3.4/ipcidr/32"])));
        assert_eq!(config.get("Addresses.NoAnnounce"), Some(&json!([])));
    }

    #[test]
    fn a_profile_that_fails_halfway_changes_nothing() {
        let mut config = fresh_config();
        let before = config.clone();
        let edits = [Set("Bootstrap", "[]"), Set("Gateway.NoFetch", "5")];
        assert!(apply_all(&mut config, "x", &edits).is_err());
        assert_eq!(config, before);
    }
}

//! The document that `init` writes when it is given none: Kubo's, key for key and in its order.
//!
//! Owns that document and the datastore descriptions that profiles choose from. Tools and scripts
//! written for Kubo read and edit these keys, so they are all present, also where a null or zero
//! says nothing.
//!
//! `Datastore.Spec` describes a flatfs store because Kubo's does and Kubo's Go code refuses a
//! config without one. Nothing here reads it: there is one kind of store.

use serde_json::{Value, json};

/// What `init` puts where the document varies from node to node.
pub struct Fresh<'a> {
    /// Base58.
    pub peer_id: &'a str,
    /// Base64 of the libp2p protobuf.
    pub private_key: &'a str,
    /// A size text such as `123GB`.
    pub storage_max: &'a str,
}

/// The whole document.
pub fn document(fresh: &Fresh<'_>) -> Value {
    let mut document = local(fresh);
    let Value::Object(rest) = network() else { return document };
    if let Some(map) = document.as_object_mut() {
        map.extend(rest);
    }
    document
}

/// The first half, in Kubo's order.
fn local(fresh: &Fresh<'_>) -> Value {
    json!({
        "Identity": {"PeerID": fresh.peer_id, "PrivKey": fresh.private_key},
        "Datastore": {
            "StorageMax": fresh.storage_max,
            "StorageGCWatermark": 90,
            "GCPeriod": "1h",
            "Spec": flatfs_spec(),
            "HashOnRead": false,
            "BloomFilterSize": 0,
            "BlockKeyCacheSize": null,
        },
        "Addresses": addresses(),
        "Mounts": {
            "IPFS": "/ipfs", "IPNS": "/ipns", "MFS": "/mfs",
            "FuseAllowOther": null, "StoreMtime": null, "StoreMode": null,
        },
        "Discovery": {"MDNS": {"Enabled": true}},
        "Routing": {"DelegatedRouters": ["auto"]},
        "Ipns": {
            "RepublishPeriod": "", "RecordLifetime": "", "ResolveCacheSize": 128,
            "DelegatedPublishers": ["auto"],
        },
        "Bootstrap": ["auto"],
        "Gateway": {
            "HTTPHeaders": {},
            "RootRedirect": "",
            "NoFetch": false,
            "NoDNSLink": false,
            "DeserializedResponses": null,
            "AllowCodecConversion": null,
            "DisableHTMLErrors": null,
            "PublicGateways": null,
            "ExposeRoutingAPI": null,
        },
        "API": {"HTTPHeaders": {}},
    })
}

/// The second half.
fn network() -> Value {
    json!({
        "Swarm": {
            "AddrFilters": null,
            "DisableBandwidthMetrics": false,
            "DisableNatPortMap": false,
            "RelayClient": {},
            "RelayService": {},
            "Transports": {"Network": {}, "Security": {}, "Multiplexers": {}},
            "ConnMgr": {},
            "ResourceMgr": {},
        },
        "AutoNAT": {},
        "AutoTLS": {},
        "Pubsub": {"Router": "", "DisableSigning": false},
        "Peering": {"Peers": null},
        "DNS": {"Resolvers": {".": "auto"}},
        "Migration": {},
        "AutoConf": {},
        "Provide": {"DHT": {}},
        "Provider": {},
        "Reprovider": {},
        "HTTPRetrieval": {},
        "Experimental": {
            "FilestoreEnabled": false,
            "UrlstoreEnabled": false,
            "Libp2pStreamMounting": false,
            "P2pHttpProxy": false,
            "OptimisticProvide": false,
            "OptimisticProvideJobsPoolSize": 0,
        },
        "Plugins": {"Plugins": null},
        "Pinning": {"RemoteServices": {}},
        "Import": {
            "CidVersion": null,
            "UnixFSRawLeaves": null,
            "UnixFSChunker": null,
            "HashFunction": null,
            "UnixFSFileMaxLinks": null,
            "UnixFSDirectoryMaxLinks": null,
            "UnixFSHAMTDirectoryMaxFanout": null,
            "UnixFSHAMTDirectorySizeThreshold": null,
            "UnixFSHAMTDirectorySizeEstimation": null,
            "UnixFSDAGLayout": null,
            "BatchMaxNodes": null,
            "BatchMaxSize": null,
            "FastProvideRoot": null,
            "FastProvideDAG": null,
            "FastProvideWait": null,
        },
        "Version": {},
        "Internal": {},
        "Bitswap": {},
    })
}

/// The `Addresses` section of a fresh node; one address is written bare, as Kubo writes it.
pub fn addresses() -> Value {
    json!({
        "Swarm": [
            "/ip4/0.0.0.0/tcp/4001",
            "/ip6/::/tcp/4001",
            "/ip4/0.0.0.0/udp/4001/webrtc-direct",
            "/ip4/0.0.0.0/udp/4001/quic-v1",
            "/ip4/0.0.0.0/udp/4001/quic-v1/webtransport",
            "/ip6/::/udp/4001/webrtc-direct",
            "/ip6/::/udp/4001/quic-v1",
            "/ip6/::/udp/4001/quic-v1/webtransport",
        ],
        "Announce": [],
        "AppendAnnounce": [],
        "NoAnnounce": [],
        "API": "/ip4/127.0.0.1/tcp/5001",
        "Gateway": "/ip4/127.0.0.1/tcp/8080",
    })
}

/// Kubo's description of flatfs blocks beside a leveldb.
pub fn flatfs_spec() -> Value {
    json!({
        "mounts": [
            {
                "mountpoint": "/blocks", "path": "blocks", "prefix": "flatfs.datastore",
                "shardFunc": "/repo/flatfs/shard/v1/next-to-last/2", "sync": false,
                "type": "flatfs",
            },
            {
                "compression": "none", "mountpoint": "/", "path": "datastore",
                "prefix": "leveldb.datastore", "type": "levelds",
            },
        ],
        "type": "mount",
    })
}

/// The same with metrics.
pub fn flatfs_measure_spec() -> Value {
    json!({
        "mounts": [
            {
                "child": {
                    "path": "blocks", "shardFunc": "/repo/flatfs/shard/v1/next-to-last/2",
    "sync": false, "type": "flatfs",
                },
                "mountpoint": "/blocks", "prefix": "flatfs.datastore", "type": "measure",
            },
            {
                "child": {"compression": "none", "path": "datastore", "type": "levelds"},
                "mountpoint": "/", "prefix": "leveldb.datastore", "type": "measure",
            },
        ],
        "type": "mount",
    })
}

/// Kubo's description of a pebble store, but for `formatMajorVersion`, whose value is that of the
/// pebble it was built with.
pub fn pebble_spec() -> Value {
    json!({"path": "pebbleds", "prefix": "pebble.datastore", "type": "pebbleds"})
}

/// The same with metrics.
pub fn pebble_measure_spec() -> Value {
    json!({
        "child": {"path": "pebbleds", "type": "pebbleds"},
        "prefix": "pebble.datastore",
        "type": "measure",
    })
}

/// Kubo's description of a badger store.
pub fn badger_spec() -> Value {
    json!({
        "path": "badgerds", "prefix": "badger.datastore", "syncWrites": false, "truncate": true,
        "type": "badgerds",
    })
}

/// The same with metrics.
pub fn badger_measure_spec() -> Value {
    json!({
        "child": {"path": "badgerds", "syncWrites": false, "truncate": true, "type": "badgerds"},
        "prefix": "badger.datastore",
        "type": "measure",
    })
}

#[cfg(test)]
mod tests {
    use super::super::file::Config;
    use super::*;

    fn fresh() -> Config {
        let fresh = Fresh { peer_id: "12D3Koo", private_key: "CAES", storage_max: "123GB" };
        Config::from_value(document(&fresh)).unwrap()
    }

    #[test]
    fn a_fresh_document_is_kubos() {
        let config = fresh();
        let sections: Vec<_> = config.document().keys().map(String::as_str).collect();
        assert_eq!(sections.first(), Some(&"Identity"));
        assert_eq!(sections.last(), Some(&"Bitswap"));
        assert_eq!(sections.len(), 29);
        assert_eq!(config.text("Datastore.StorageMax"), Some("123GB"));
        assert_eq!(config.api_addresses(), ["/ip4/127.0.0.1/tcp/5001"]);
        assert_eq!(config.bootstrap(), ["auto"]);
    }

    #[test]
    fn every_key_of_it_is_known() {
        fn walk(value: &Value, path: &str) {
            for (name, below) in value.as_object().into_iter().flatten() {
                let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                // `DNS.Resolvers` has a key that is a dot, which no dotted key can name.
                if name != "." {
                    super::super::keys::check_key(&key).unwrap();
                    walk(below, &key);
                }
            }
        }
        walk(&Value::Object(fresh().document().clone()), "");
    }
}

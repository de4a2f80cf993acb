//! Which configuration keys exist and what each may hold, as one table.
//!
//! Owns the names and shapes of Kubo 0.44's configuration. Does not own defaults (`settings`), the
//! starting document (`fresh`), or which values a daemon can run with (`check`).
//!
//! Kubo decodes into Go structs, so a known key of the wrong shape is an error and an unknown one
//! is ignored. The same holds here: `check_types` looks only at what the table names. `null` is
//! valid everywhere and means unset.

use serde_json::{Map, Value};

use super::file::FileError;
use super::kind::Kind;

/// Segments a key may have. The deepest known one has six; the bound is for keys below a free-form
/// one, which would otherwise nest as deep as a stranger's argument is long.
pub const MAX_SEGMENTS: usize = 16;

use Kind::{
    AutoNatMode, Bool, Flag, Free, Gone, Int, List, Objects, Priority, Size, Span, Strings, Text,
};

/// A section, and its keys by kind: names separated by spaces. `*` stands for the keys of a map,
/// which are the user's to choose.
type Section = (&'static str, &'static [(Kind, &'static str)]);

const SECTIONS: &[Section] = &[
    ("Identity", &[(Text, "PeerID PrivKey")]),
    (
        "Datastore",
        &[
            (Text, "StorageMax GCPeriod Type Path"),
            (Size, "ScrubRate"),
            (Span, "ScrubPeriod"),
            (Int, "StorageGCWatermark BloomFilterSize BlockKeyCacheSize"),
            (Bool, "NoSync HashOnRead"),
            (Flag, "WriteThrough"),
            (Free, "Params Spec.*"),
        ],
    ),
    ("Addresses", &[(List, "Swarm Announce AppendAnnounce NoAnnounce"), (Strings, "API Gateway")]),
    ("Mounts", &[(Text, "IPFS IPNS MFS"), (Flag, "FuseAllowOther StoreMtime StoreMode")]),
    ("Discovery.MDNS", &[(Bool, "Enabled")]),
    (
        "Routing",
        &[
            (Text, "Type"),
            (Flag, "AcceleratedDHTClient LoopbackAddressesOnLanDHT"),
            (List, "IgnoreProviders DelegatedRouters"),
            (Free, "Routers.*"),
            (Text, "Methods.*.RouterName"),
        ],
    ),
    (
        "Ipns",
        &[
            (Text, "RepublishPeriod RecordLifetime"),
            (Int, "ResolveCacheSize"),
            (Span, "MaxCacheTTL"),
            (Flag, "UsePubsub"),
            (List, "DelegatedPublishers"),
        ],
    ),
    ("", &[(List, "Bootstrap")]),
    (
        "Gateway",
        &[
            (List, "HTTPHeaders.*"),
            (Text, "RootRedirect DiagnosticServiceURL"),
            (Bool, "NoFetch NoDNSLink"),
            (Flag, "DeserializedResponses AllowCodecConversion DisableHTMLErrors ExposeRoutingAPI"),
            (Span, "RetrievalTimeout MaxRequestDuration"),
            (Int, "MaxConcurrentRequests"),
            (Size, "MaxRangeRequestFileSize"),
        ],
    ),
    (
        "Gateway.PublicGateways.*",
        &[
            (List, "Paths"),
            (Bool, "UseSubdomains NoDNSLink"),
            (Flag, "InlineDNSLink DeserializedResponses"),
        ],
    ),
    (
        "API",
        &[
            (List, "HTTPHeaders.* Authorizations.*.AllowedPaths"),
            (Text, "Authorizations.*.AuthSecret"),
            (Flag, "RequireToken"),
        ],
    ),
    (
        "Swarm",
        &[
            (List, "AddrFilters"),
            (Bool, "DisableBandwidthMetrics DisableNatPortMap"),
            (Flag, "EnableHolePunching"),
            (Flag, "RelayClient.Enabled"),
            (List, "RelayClient.StaticRelays"),
        ],
    ),
    (
        "Swarm.RelayService",
        &[
            (Flag, "Enabled"),
            (Span, "ConnectionDurationLimit ReservationTTL"),
            (Int, "ConnectionDataLimit MaxReservations MaxCircuits BufferSize"),
            (Int, "MaxReservationsPerIP MaxReservationsPerASN"),
        ],
    ),
    (
        "Swarm.Transports",
        &[
            (Flag, "Network.QUIC Network.TCP Network.Websocket Network.Relay"),
            (Flag, "Network.WebTransport Network.WebRTCDirect"),
            (Priority, "Security.TLS Security.Noise Multiplexers.Yamux"),
        ],
    ),
    (
        "Swarm.ConnMgr",
        &[(Text, "Type"), (Int, "LowWater HighWater"), (Span, "GracePeriod SilencePeriod")],
    ),
    (
        "Swarm.ResourceMgr",
        &[
            (Flag, "Enabled"),
            (Gone("limits are set in libp2p-resource-limit-overrides.json"), "Limits"),
            (Size, "MaxMemory"),
            (Int, "MaxFileDescriptors"),
            (List, "Allowlist"),
        ],
    ),
    (
        "AutoNAT",
        &[
            (AutoNatMode, "ServiceMode"),
            (Int, "Throttle.GlobalLimit Throttle.PeerLimit"),
            (Span, "Throttle.Interval"),
        ],
    ),
    (
        "AutoTLS",
        &[
            (Flag, "Enabled AutoWSS SkipDNSLookup ShortAddrs"),
            (Text, "DomainSuffix RegistrationEndpoint RegistrationToken CAEndpoint"),
            (Span, "RegistrationDelay"),
        ],
    ),
    (
        "Pubsub",
        &[
            (Text, "Router SeenMessagesStrategy"),
            (Bool, "DisableSigning"),
            (Flag, "Enabled"),
            (Span, "SeenMessagesTTL"),
        ],
    ),
    ("Peering", &[(Objects, "Peers")]),
    ("DNS", &[(Text, "Resolvers.*"), (Span, "MaxCacheTTL")]),
    ("Migration", &[(List, "DownloadSources"), (Text, "Keep")]),
    (
        "AutoConf",
        &[(Text, "URL"), (Flag, "Enabled TLSInsecureSkipVerify"), (Span, "RefreshInterval")],
    ),
    ("Provide", &[(Flag, "Enabled"), (Text, "Strategy"), (Int, "BloomFPRate")]),
    (
        "Provide.DHT",
        &[
            (Span, "Interval OfflineDelay SendProviderRecordTimeout"),
            (Flag, "SweepEnabled ResumeEnabled"),
            (Int, "MaxWorkers DedicatedPeriodicWorkers DedicatedBurstWorkers"),
            (Int, "MaxProvideConnsPerWorker KeystoreBatchSize"),
        ],
    ),
    // Removed, yet known: `check` names them and says where they moved.
    ("Provider", &[(Flag, "Enabled"), (Text, "Strategy"), (Int, "WorkerCount")]),
    ("Reprovider", &[(Span, "Interval"), (Text, "Strategy")]),
    (
        "HTTPRetrieval",
        &[
            (Flag, "Enabled TLSInsecureSkipVerify"),
            (List, "Allowlist Denylist"),
            (Int, "NumWorkers"),
            (Text, "MaxBlockSize"),
        ],
    ),
    (
        "Experimental",
        &[
            (Bool, "FilestoreEnabled UrlstoreEnabled ShardingEnabled"),
            (Bool, "Libp2pStreamMounting P2pHttpProxy StrategicProviding"),
            (Bool, "OptimisticProvide GatewayOverLibp2p"),
            (Int, "OptimisticProvideJobsPoolSize"),
            (Gone("graphsync is not supported: remove the key"), "GraphsyncEnabled"),
            (Gone("use Routing.AcceleratedDHTClient"), "AcceleratedDHTClient"),
        ],
    ),
    ("Plugins.Plugins.*", &[(Bool, "Disabled"), (Free, "Config")]),
    (
        "Pinning.RemoteServices.*",
        &[
            (Text, "API.Endpoint API.Key Policies.MFS.PinName Policies.MFS.RepinInterval"),
            (Bool, "Policies.MFS.Enable"),
        ],
    ),
    (
        "Pinning.Service",
        &[
            (Strings, "Listen"),
            (Text, "TLS.Certificate TLS.Key"),
            (Int, "Workers Retries"),
            (Span, "StallTimeout"),
            (Flag, "DialPrivate"),
            (List, "Delegates"),
        ],
    ),
    (
        "Import",
        &[
            (Int, "CidVersion UnixFSFileMaxLinks UnixFSDirectoryMaxLinks"),
            (Int, "UnixFSHAMTDirectoryMaxFanout BatchMaxNodes BatchMaxSize"),
            (Flag, "UnixFSRawLeaves FastProvideRoot FastProvideDAG FastProvideWait"),
            (Text, "UnixFSChunker HashFunction UnixFSHAMTDirectorySizeEstimation UnixFSDAGLayout"),
            (Size, "UnixFSHAMTDirectorySizeThreshold"),
        ],
    ),
    (
        "Version",
        &[(Text, "AgentSuffix"), (Flag, "SwarmCheckEnabled"), (Int, "SwarmCheckPercentThreshold")],
    ),
    (
        "Internal",
        &[
            (Text, "UnixFSShardingSizeThreshold Libp2pForceReachability"),
            (Span, "BackupBootstrapInterval ShutdownTimeout"),
            (Int, "MFSNoFlushLimit"),
            (Flag, "CGNATCheck DeadListenerCheck NonPublicAddrPublishing"),
        ],
    ),
    (
        "Internal.Bitswap",
        &[
            (Int, "TaskWorkerCount EngineBlockstoreWorkerCount EngineTaskWorkerCount"),
            (Int, "MaxOutstandingBytesPerPeer"),
            (Int, "ProviderSearchMaxResults WantHaveReplaceSize"),
            (Span, "ProviderSearchDelay"),
        ],
    ),
    (
        "Internal.Bitswap.BroadcastControl",
        &[
            (Flag, "Enable LocalPeers PeeredPeers SendToPendingPeers"),
            (Int, "MaxPeers MaxRandomPeers"),
        ],
    ),
    ("Bitswap", &[(Flag, "Libp2pEnabled ServerEnabled")]),
];

/// A known key as its segments.
type Pattern = Vec<&'static str>;

/// Every known key with its kind; `*` stands for any one segment.
pub fn known() -> impl Iterator<Item = (Pattern, Kind)> {
    SECTIONS.iter().flat_map(|(section, groups)| {
        groups.iter().flat_map(move |(kind, names)| {
            names.split(' ').map(move |name| {
                let above = section.split('.').filter(|part| !part.is_empty());
                (above.chain(name.split('.')).collect(), *kind)
            })
        })
    })
}

/// Says whether `config KEY VALUE` may set this key: a section, a map or a leaf of the table.
/// Segments are compared case by case, as in Kubo; a user's name inside a map may be anything
/// without a dot.
pub fn check_key(key: &str) -> Result<(), FileError> {
    let parts: Vec<&str> = key.split('.').collect();
    if parts.len() > MAX_SEGMENTS {
        return Err(FileError::KeyTooDeep);
    }
    let mut candidates: Vec<(Pattern, Kind)> = known().collect();
    for (depth, part) in parts.iter().enumerate() {
        let through = || parts.get(..=depth).unwrap_or_default().join(".");
        if let Some((_, kind)) = candidates.iter().find(|(pattern, _)| pattern.len() == depth) {
            return match kind {
                Free => Ok(()),
                _ => Err(FileError::NotAMap(parts.get(..depth).unwrap_or_default().join("."))),
            };
        }
        let named = candidates.iter().any(|(pattern, _)| pattern.get(depth) == Some(part));
        let wanted = if named { *part } else { "*" };
        candidates.retain(|(pattern, _)| pattern.get(depth) == Some(&wanted));
        if candidates.is_empty() {
            return Err(FileError::UnknownKey(through()));
        }
    }
    Ok(())
}

/// Checks every known key of a document against its kind. Names match without regard to case,
/// because Go's decoder would read them so. Fails on the first misfit, naming the key.
pub fn check_types(document: &Map<String, Value>) -> Result<(), FileError> {
    known().try_for_each(|(pattern, kind)| check_at(document, &pattern, kind, ""))
}

fn check_at(
    map: &Map<String, Value>,
    pattern: &[&str],
    kind: Kind,
    path: &str,
) -> Result<(), FileError> {
    let Some((first, rest)) = pattern.split_first() else { return Ok(()) };
    for (name, value) in
        map.iter().filter(|(name, _)| *first == "*" || name.eq_ignore_ascii_case(first))
    {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (rest.is_empty(), value) {
            (_, Value::Null) => {}
            (true, value) => kind.check(value).map_err(|expected| misfit(&key, expected, value))?,
            (false, Value::Object(below)) => check_at(below, rest, kind, &key)?,
            (false, value) => return Err(misfit(&key, "an object".to_owned(), value)),
        }
    }
    Ok(())
}

/// The error carries what was found by name only: the value may be a secret.
fn misfit(key: &str, expected: String, found: &Value) -> FileError {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    FileError::Kind { key: key.to_owned(), expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error_of(key: &str) -> String {
        check_key(key).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    fn types(value: &Value) -> String {
        let map = value.as_object().cloned().unwrap_or_default();
        check_types(&map).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn known_keys_pass() {
        for key in [
            "Bootstrap",
            "Gateway",
            "Datastore.StorageMax",
            "Datastore.Spec.mounts",
            "Gateway.PublicGateways.localhost.Paths",
            "Gateway.HTTPHeaders.X-Any",
            "Pinning.RemoteServices.mine.Policies.MFS.Enable",
            "Pinning.Service.TLS.Certificate",
            "Plugins.Plugins.telemetry.Disabled",
            "Plugins.Plugins.telemetry.Config.a.b.c",
            "Internal.Bitswap.BroadcastControl.MaxPeers",
            "Swarm.Transports.Network.QUIC",
            "Routing.Methods.provide.RouterName",
            "DNS.Resolvers.eth",
            "Mounts.MFS",
            "Import.CidVersion",
        ] {
            assert_eq!(error_of(key), "ok", "{key}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_in_kubos_words() {
        assert_eq!(error_of("Foo"), "Foo not found");
        assert_eq!(error_of("Datastore.Nope.More"), "Datastore.Nope not found");
        assert_eq!(error_of("datastore.storagemax"), "datastore not found");
        assert_eq!(error_of("Gateway.NoFetch.More"), "Gateway.NoFetch key is not a map");
        assert_eq!(
            error_of("Gateway.PublicGateways.example.com"),
            "Gateway.PublicGateways.example.com not found"
        );
        assert_eq!(error_of(""), " not found");
        assert!(check_key(&vec!["Plugins"; 1000].join(".")).is_err());
        assert!(matches!(check_key(&"a.".repeat(1_000_000)), Err(FileError::KeyTooDeep)));
    }

    #[test]
    fn misfits_name_the_key_and_not_the_value() {
        let found = types(&json!({"Gateway": {"NoFetch": "secret"}}));
        assert_eq!(
            found,
            "failure to decode config: Gateway.NoFetch: expected a boolean, found a string"
        );
        let found = types(&json!({"identity": {"privkey": 5}}));
        assert!(found.contains("identity.privkey: expected a string, found a number"), "{found}");
        assert!(types(&json!({"Swarm": []})).contains("Swarm: expected an object, found a list"));
        assert!(
            types(&json!({"Swarm": {"ResourceMgr": {"Limits": {"x": 1}}}}))
                .contains("overrides.json")
        );
    }

    #[test]
    fn each_kind_accepts_what_kubo_accepts() {
        for good in [
            json!({"Addresses": {"API": "", "Gateway": ["a", "b"], "Swarm": null}}),
            json!({"Swarm": {"Transports": {"Security": {"TLS": 100, "Noise": false}}}}),
            json!({"Swarm": {"ResourceMgr": {"Limits": {}, "MaxMemory": 1024}}}),
            json!({"Swarm": {"ConnMgr": {"GracePeriod": "default"}}}),
            json!({"AutoNAT": {"ServiceMode": "disabled", "Throttle": null}, "Unknown": 5}),
        ] {
            assert_eq!(types(&good), "ok", "{good}");
        }
        for bad in [
            json!({"Swarm": {"Transports": {"Security": {"TLS": true}}}}),
            json!({"Swarm": {"Transports": {"Security": {"TLS": 0}}}}),
            json!({"Swarm": {"ConnMgr": {"GracePeriod": 20}}}),
            json!({"Swarm": {"ConnMgr": {"LowWater": 1.5}}}),
            json!({"Bootstrap": "auto"}),
            json!({"Bootstrap": [5]}),
            json!({"AutoNAT": {"ServiceMode": "sometimes"}}),
            json!({"Import": {"UnixFSHAMTDirectorySizeThreshold": "huge"}}),
        ] {
            assert_ne!(types(&bad), "ok", "{bad}");
        }
    }
}

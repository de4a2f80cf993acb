//! What the network reads from the configuration: named settings with Kubo's defaults and ranges.
//!
//! Owns defaults and ranges. Addresses stay texts: whoever listens and dials reads them.

use std::time::Duration;

use super::file::{Config, FileError};

/// Kubo's bootstrap peers, for `auto` and `bootstrap add default`.
pub const DEFAULT_BOOTSTRAP: [&str; 7] = [
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
    "/dnsaddr/va1.bootstrap.libp2p.io/p2p/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8",
    "/ip4/104.131.131.82/tcp/4001/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
    "/ip4/104.131.131.82/udp/4001/quic-v1/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
];
/// The placeholder that stands for a default.
pub const AUTO: &str = "auto";

/// Which part this node takes in the DHT (`Routing.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutingType {
    /// Asks; answers on the local network, and on the public one once it can be reached there.
    Auto,
    /// Only asks.
    Client,
    /// Asks and answers.
    Server,
    /// None.
    None,
}

/// Which blocks are announced (`Provide.Strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvideStrategy {
    /// Every block.
    All,
    /// Every pinned block.
    Pinned,
    /// The roots of pins.
    Roots,
}

/// When connections are closed for being too many (`Swarm.ConnMgr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnMgr {
    /// How many are left.
    pub low_water: usize,
    /// How many are too many; 0 means never.
    pub high_water: usize,
    /// Age below which one is left alone.
    pub grace: Duration,
}

impl Config {
    /// `Swarm.ConnMgr`; type `none` keeps everything.
    ///
    /// # Errors
    /// Numbers below zero; a period that is none; an unknown type.
    pub fn conn_mgr(&self) -> Result<ConnMgr, FileError> {
        let count = |key| self.bounded(key, "non-negative", 0, i64::MAX);
        let (low, high) = (count("Swarm.ConnMgr.LowWater")?, count("Swarm.ConnMgr.HighWater")?);
        let grace = self.span("Swarm.ConnMgr.GracePeriod")?.unwrap_or(Duration::from_secs(20));
        let high = match self.text("Swarm.ConnMgr.Type").unwrap_or("basic") {
            "none" => 0,
            "" | "basic" => high.unwrap_or(96),
            other => {
                let reason = format!(r#"must be "basic" or "none", got {other:?}"#);
                return Err(FileError::Value { key: "Swarm.ConnMgr.Type", reason });
            }
        };
        Ok(ConnMgr { low_water: low.unwrap_or(32), high_water: high, grace })
    }

    /// `Routing.Type`.
    ///
    /// # Errors
    /// For types this node does not have.
    pub fn routing_type(&self) -> Result<RoutingType, FileError> {
        match self.text("Routing.Type").unwrap_or_default() {
            "" | "auto" | "dht" => Ok(RoutingType::Auto),
            "autoclient" | "dhtclient" => Ok(RoutingType::Client),
            "dhtserver" => Ok(RoutingType::Server),
            "none" => Ok(RoutingType::None),
            other => {
                let known = "auto, autoclient, dht, dhtclient, dhtserver or none";
                let reason = format!("must be {known}, got {other:?}");
                Err(FileError::Value { key: "Routing.Type", reason })
            }
        }
    }

    /// `Provide.Strategy`; `None` when `Provide.Enabled` is false. What Kubo adds with `+mfs`,
    /// `+unique` and `+entities` changes nothing here: there are no MFS roots yet, and no block is
    /// announced twice.
    pub fn provide_strategy(&self) -> Option<ProvideStrategy> {
        if self.flag("Provide.Enabled") == Some(false) {
            return None;
        }
        let strategy = self.text("Provide.Strategy").unwrap_or("all");
        let has = |token| strategy.split('+').any(|part| part == token);
        Some(match strategy {
            "" | "all" => ProvideStrategy::All,
            _ if has("pinned") => ProvideStrategy::Pinned,
            _ => ProvideStrategy::Roots,
        })
    }

    /// `Provide.DHT.Interval`: how often everything is announced again; zero means once.
    ///
    /// # Errors
    /// A text that is no duration.
    pub fn provide_interval(&self) -> Result<Duration, FileError> {
        let default = Duration::from_secs(22 * 3600);
        Ok(self.span("Provide.DHT.Interval")?.unwrap_or(default))
    }

    /// `Bootstrap`, with `auto` replaced by what it stands for. None with `AutoConf` switched off
    /// stands for nothing.
    pub fn bootstrap_peers(&self) -> Vec<String> {
        let expand = |text: String| match text.as_str() {
            AUTO if self.flag("AutoConf.Enabled") == Some(false) => Vec::new(),
            AUTO => DEFAULT_BOOTSTRAP.map(str::to_owned).to_vec(),
            _ => vec![text],
        };
        self.bootstrap().into_iter().flat_map(expand).collect()
    }

    /// `Peering.Peers`: each peer's ID and addresses.
    pub fn peering_peers(&self) -> Vec<(String, Vec<String>)> {
        let peers = self.get("Peering.Peers").and_then(|value| value.as_array());
        let read = |peer: &serde_json::Value| {
            let id = peer.get("ID")?.as_str()?.to_owned();
            let addresses = peer.get("Addrs").and_then(|list| list.as_array());
            let texts = addresses.into_iter().flatten().filter_map(|a| a.as_str());
            Some((id, texts.map(str::to_owned).collect()))
        };
        peers.into_iter().flatten().filter_map(read).collect()
    }

    /// Whether one transport is on: `Swarm.Transports.Network.<name>`.
    pub fn transport(&self, key: &'static str) -> bool {
        self.flag(key).unwrap_or(true)
    }

    /// Whether one way of encryption is on: `Swarm.Transports.Security.<name>` is a number, or
    /// `false` for off.
    pub fn security(&self, key: &'static str) -> bool {
        self.flag(key) != Some(false)
    }

    /// `Swarm.ResourceMgr.MaxMemory` in bytes.
    ///
    /// # Errors
    /// A text that is no size.
    pub fn max_memory(&self) -> Result<Option<u64>, FileError> {
        self.size_bytes("Swarm.ResourceMgr.MaxMemory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn config(value: Value) -> Config {
        Config::from_value(value).unwrap()
    }

    #[test]
    fn an_empty_document_gives_kubos_defaults() {
        let config = config(json!({}));
        let manager = config.conn_mgr().unwrap();
        assert_eq!((manager.low_water, manager.high_water), (32, 96));
        assert_eq!(manager.grace, Duration::from_secs(20));
        assert_eq!(config.routing_type().unwrap(), RoutingType::Auto);
        assert_eq!(config.provide_strategy(), Some(ProvideStrategy::All));
        assert!(config.transport("Swarm.Transports.Network.QUIC"));
        assert!(config.bootstrap_peers().is_empty());
    }

    #[test]
    fn auto_stands_for_the_default_peers() {
        let auto = config(json!({"Bootstrap": ["auto", "/ip4/127.0.0.1/tcp/1/p2p/x"]}));
        assert_eq!(auto.bootstrap_peers().len(), DEFAULT_BOOTSTRAP.len() + 1);
        let off = config(json!({"Bootstrap": ["auto"], "AutoConf": {"Enabled": false}}));
        assert!(off.bootstrap_peers().is_empty());
    }

    #[test]
    fn what_cannot_be_meant_names_its_key() {
        let error = config(json!({"Routing": {"Type": "carrier"}})).routing_type().unwrap_err();
        assert!(error.to_string().starts_with("Routing.Type: must be"), "{error}");
        let none = config(json!({"Swarm": {"ConnMgr": {"Type": "none", "HighWater": 5}}}));
        assert_eq!(none.conn_mgr().unwrap().high_water, 0);
        assert!(config(json!({"Swarm": {"ConnMgr": {"LowWater": -1}}})).conn_mgr().is_err());
        let strategy = config(json!({"Provide": {"Strategy": "pinned+mfs"}}));
        assert_eq!(strategy.provide_strategy(), Some(ProvideStrategy::Pinned));
        assert_eq!(config(json!({"Provide": {"Enabled": false}})).provide_strategy(), None);
    }

    #[test]
    fn peers_to_stay_with_are_read() {
        let config = config(json!({"Peering": {"Peers": [
            {"ID": "12D3", "Addrs": ["/ip4/1.2.3.4/tcp/1"]}, {"ID": "Qm", "Addrs": null}, {}
        ]}}));
        let peers = config.peering_peers();
        assert_eq!(peers.len(), 2);
        assert_eq!(peers[0], ("12D3".to_owned(), vec!["/ip4/1.2.3.4/tcp/1".to_owned()]));
    }
}

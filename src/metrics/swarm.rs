//! Figures of the network: who is connected, what the exchange moved, how large the DHTs are.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};

use super::described;

/// What there is to tell, counted when it is asked for.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Connected peers.
    pub peers: u64,
    /// Connections by transport, as `/ip4/tcp`.
    pub connections: Vec<(String, u64)>,
    /// Peers in the tables of the DHTs, by their names.
    pub dht_peers: Vec<(&'static str, u64)>,
    /// Counters: name, what it counts, how many.
    pub counters: Vec<(&'static str, &'static str, u64)>,
    /// Blocks that are wanted.
    pub wanted: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Transport {
    transport: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Table {
    dht: &'static str,
}

/// The latest figures; nothing while the node is offline.
#[derive(Clone, Debug, Default)]
pub(super) struct Swarm(pub Arc<Mutex<Option<Figures>>>);

impl Collector for Swarm {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(figures) = figures.as_ref() else { return Ok(()) };
        let connections: u64 = figures.connections.iter().map(|(_, count)| count).sum();
        for (name, help, value) in [
            ("henge_peers", "Connected peers", figures.peers),
            ("henge_connections", "Connections with them", connections),
            ("henge_bitswap_wantlist", "Blocks that are wanted", figures.wanted),
        ] {
            let gauge = ConstGauge::new(value as f64);
            gauge.encode(described(&mut encoder, name, help, &gauge)?)?;
        }
        let transports = Family::<Transport, Gauge>::default();
        for (transport, count) in &figures.connections {
            let labels = Transport { transport: transport.clone() };
            transports.get_or_create(&labels).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        let (name, help) = ("ipfs_p2p_peers_total", "Connections by transport");
        transports.encode(described(&mut encoder, name, help, &transports)?)?;
        let tables = Family::<Table, Gauge>::default();
        for (dht, count) in &figures.dht_peers {
            tables.get_or_create(&Table { dht }).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        let (name, help) = ("henge_dht_peers", "Peers in the tables of the DHTs");
        tables.encode(described(&mut encoder, name, help, &tables)?)?;
        for (name, help, value) in &figures.counters {
            let counter = ConstCounter::new(*value);
            counter.encode(described(&mut encoder, name, help, &counter)?)?;
        }
        Ok(())
    }
}

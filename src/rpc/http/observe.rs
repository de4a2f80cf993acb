//! What is told of requests: the log behind `diag cmds`, and figures for Prometheus.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedSemaphorePermit};

use crate::metrics::{Figures, Metrics};
use crate::node::Node;
use crate::node::routing::BucketStat;
use crate::node::swarm::Multiaddr;
use crate::rpc::requests::Running;

/// What is told of a request whose client was gone before there was a reply.
const GONE: u16 = 499;
/// How old figures of the store may be: counting walks its whole index.
const STORE_FRESH: Duration = Duration::from_secs(60);

/// A request that is being answered; when this is dropped, its reply has ended.
pub struct Answering {
    command: String,
    status: u16,
    since: Instant,
    metrics: Metrics,
    _running: Running,
    _upload: Option<OwnedSemaphorePermit>,
}

impl Answering {
    /// A request has come.
    pub fn new(command: &str, metrics: Metrics, running: Running) -> Self {
        let command = command.to_owned();
        Self {
            command,
            status: GONE,
            since: Instant::now(),
            metrics,
            _running: running,
            _upload: None,
        }
    }

    /// Keeps the right to upload until the reply has ended.
    pub fn keep(&mut self, upload: Option<OwnedSemaphorePermit>) {
        self._upload = upload;
    }

    /// There is a reply of this status.
    pub fn is_answered(&mut self, status: u16) {
        self.status = status;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.metrics.rpc_answered(&self.command, self.status, self.since.elapsed());
    }
}

/// Figures of the store, counted anew when they are old.
#[derive(Clone, Default)]
pub struct StoreFigures(Arc<Mutex<Option<Instant>>>);

impl StoreFigures {
    /// Counts, unless that was done of late or is being done.
    pub async fn refresh(&self, node: &Node, metrics: &Metrics) {
        let Ok(mut counted) = self.0.try_lock() else { return };
        if counted.is_some_and(|at| at.elapsed() < STORE_FRESH) {
            return;
        }
        match node.repo_stat().await {
            Ok(stat) => {
                metrics.store(stat.objects, stat.size, stat.storage_max);
                *counted = Some(Instant::now());
            }
            Err(error) => tracing::warn!(%error, "cannot count the store"),
        }
    }
}

/// What the network does now; `None` while the node is offline.
pub async fn network(node: &Node) -> Option<Figures> {
    let (peers, stat) = (node.swarm_peers().await.ok()?, node.bitswap_stat().await.ok()?);
    let mut connections: BTreeMap<String, u64> = BTreeMap::new();
    for connection in peers.iter().flat_map(|peer| &peer.connections) {
        let count = connections.entry(transport(&connection.address)).or_default();
        *count = count.saturating_add(1);
    }
    let size = |buckets: &[BucketStat]| buckets.iter().map(|b| b.entries.len() as u64).sum();
    let tables = node.dht_stat().unwrap_or_default();
    let bandwidth = node.bandwidth(None).ok()?;
    let counted = stat.counted;
    Some(Figures {
        peers: peers.len() as u64,
        connections: connections.into_iter().collect(),
        dht_peers: tables.iter().map(|table| (table.name, size(&table.buckets))).collect(),
        wanted: stat.wantlist.len() as u64,
        counters: vec![
            ("henge_bitswap_messages_received", "Messages of peers", counted.messages_received),
            ("henge_bitswap_blocks_received", "Blocks that came", counted.blocks_received),
            ("henge_bitswap_blocks_sent", "Blocks that were sent", counted.blocks_sent),
            ("henge_bitswap_bytes_received", "Bytes of blocks that came", counted.data_received),
            ("henge_bitswap_bytes_sent", "Bytes of blocks that were sent", counted.data_sent),
            ("henge_bitswap_dup_blocks", "Blocks that came again", counted.dup_blocks_received),
            ("henge_network_bytes_received", "Bytes of streams that came", bandwidth.total_in),
            ("henge_network_bytes_sent", "Bytes of streams that were sent", bandwidth.total_out),
        ],
    })
}

/// The protocols of an address without their values, as `/ip4/tcp`: words of ours alone.
fn transport(address: &Multiaddr) -> String {
    let names = address.protocol_stack().filter(|name| *name != "p2p");
    names.fold(String::new(), |path, name| format!("{path}/{name}"))
}

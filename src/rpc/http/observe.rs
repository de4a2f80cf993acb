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
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::metrics::{Figures, Metrics, Told};
use crate::node::Node;
use crate::node::routing::BucketStat;
use crate::node::swarm::Multiaddr;
use crate::rpc::requests::Running;

/// What is told of a request whose client was gone before there was a reply.
const GONE: u16 = 499;

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

/// What the store holds now, and did.
pub async fn store(node: &Node, metrics: &Metrics) {
    let (figures, scrub) = match node.store_figures().await {
        Ok(figures) => figures,
        Err(error) => return tracing::warn!(%error, "cannot ask the store for its figures"),
    };
    let usage = figures.usage;
    metrics.store(Told {
        gauges: vec![
            ("henge_store_blocks", "Blocks in the store", usage.blocks),
            ("henge_store_bytes", "Bytes on the disk", usage.physical),
            ("henge_store_logical_bytes", "Bytes of blocks and their names", usage.logical),
            ("henge_store_garbage_bytes", "Bytes that no block needs any more", usage.garbage),
            ("henge_store_limit_bytes", "Bytes that there may be, 0 for any", usage.limit),
            ("henge_store_damaged_blocks", "Blocks known to be damaged", figures.quarantined),
            ("henge_store_operations", "Operations in flight", figures.intents),
            ("henge_store_scrubbed_bytes", "Bytes read in this round of scrubbing", scrub.bytes),
            ("henge_store_scrub_found_blocks", "Blocks it found damaged", scrub.damaged),
            ("henge_store_scrub_ended_seconds", "When the last ended, since 1970", scrub.ended),
        ],
        counters: vec![
            ("henge_store_written_bytes", "Bytes appended to segments", figures.written_bytes),
            ("henge_store_read_bytes", "Bytes read from segments", figures.read_bytes),
            ("henge_store_moved_bytes", "Bytes appended once more", figures.moved_bytes),
            ("henge_store_reclaimed_bytes", "Bytes given back", figures.reclaimed_bytes),
            ("henge_store_freed_blocks", "Blocks that nothing held", figures.freed_blocks),
            ("henge_store_freed_bytes", "Their bytes", figures.freed_bytes),
            ("henge_store_evicted_bytes", "Those that made room", figures.evicted_bytes),
        ],
    });
}

/// What the pinning service holds and does now.
pub fn pins(node: &Node, metrics: &Metrics) {
    let told = node.service().figures();
    let uses = told.uses;
    metrics.pins(Told {
        gauges: vec![
            ("henge_pinning_tenants", "Tenants", told.tenants),
            ("henge_pinning_queued", "Requests that wait for a worker", told.ready),
            ("henge_pinning_delayed", "Requests that wait for another try", told.later),
            ("henge_pinning_fetching", "Requests that are being fetched", told.fetching),
        ],
        counters: vec![
            ("henge_tokens_admitted", "Uses of tokens that were let through", uses.admitted),
            ("henge_tokens_refused_scope", "Uses for what they do not open", uses.scope),
            ("henge_tokens_refused_rate", "Uses that came too often", uses.rate),
            ("henge_tokens_unknown", "Secrets that open nothing", uses.unknown),
        ],
    });
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

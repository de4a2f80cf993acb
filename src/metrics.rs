//! Figures for Prometheus: one registry of the daemon, in which every part has its own.
//!
//! Names of ours begin with `henge_`. Kubo's names stand beside them where a dashboard relies on
//! them and they mean the same; `process_` is what every exporter calls it. Labels are words of
//! this program and never what a client sent: a stranger makes no new series. Other parts bring
//! theirs by [`Metrics::register`].

mod swarm;
mod told;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, text,
};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
pub use prometheus_client::registry::Registry;

use crate::machine;
pub use swarm::Figures;
use swarm::Swarm;
use told::Latest;
pub use told::Told;

/// Type of what [`Metrics::text`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Upper bounds of durations, in seconds: from a look-up in memory to a large download.
const DURATIONS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Rpc {
    command: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Command {
    command: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Gateway {
    kind: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Shape {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Code {
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Version {
    version: &'static str,
    commit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Pinning {
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Verb {
    method: &'static str,
}

type Durations<S> = Family<S, Histogram, fn() -> Histogram>;

fn durations() -> Histogram {
    Histogram::new(DURATIONS)
}

/// The daemon's figures; clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Mutex<Registry>,
    rpc: Family<Rpc, Counter>,
    rpc_seconds: Durations<Command>,
    gateway: Family<Gateway, Counter>,
    gateway_seconds: Durations<Shape>,
    gateway_codes: Family<Code, Counter>,
    gateway_running: Gauge,
    pinning: Family<Pinning, Counter>,
    pinning_seconds: Durations<Verb>,
    pins: Latest,
    store: Latest,
    swarm: Swarm,
}

impl Metrics {
    /// Figures of a daemon that answers for the release `level` of Kubo.
    pub fn new(level: &'static str) -> Self {
        let mut registry = Registry::default();
        let kubo = Family::<Version, Gauge>::default();
        let commit = concat!("henge-", env!("CARGO_PKG_VERSION"));
        kubo.get_or_create(&Version { version: level, commit }).set(1);
        registry.register("ipfs_info", "Kubo's version that is answered for", kubo);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION")), ("kubo", level)]);
        registry.register("henge_build", "What was built", build);
        registry.register_collector(Box::new(Process));
        let swarm = Swarm::default();
        registry.register_collector(Box::new(swarm.clone()));
        let store = Latest::default();
        registry.register_collector(Box::new(store.clone()));
        let pins = Latest::default();
        registry.register_collector(Box::new(pins.clone()));
        let inner = Inner {
            registry: Mutex::default(),
            rpc: Family::default(),
            rpc_seconds: Family::new_with_constructor(durations),
            gateway: Family::default(),
            gateway_seconds: Family::new_with_constructor(durations),
            gateway_codes: Family::default(),
            gateway_running: Gauge::default(),
            pinning: Family::default(),
            pinning_seconds: Family::new_with_constructor(durations),
            pins,
            store,
            swarm,
        };
        inner.register(&mut registry);
        Self(Arc::new(Inner { registry: Mutex::new(registry), ..inner }))
    }

    /// Takes up the figures of another part.
    pub fn register(&self, with: impl FnOnce(&mut Registry)) {
        with(&mut self.0.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A request to the RPC was answered.
    pub fn rpc_answered(&self, command: &str, status: u16, time: Duration) {
        let command = command.to_owned();
        let of_command = Command { command: command.clone() };
        self.0.rpc.get_or_create(&Rpc { command, status }).inc();
        self.0.rpc_seconds.get_or_create(&of_command).observe(time.as_secs_f64());
    }

    /// A request to the pinning service was answered. Methods are the few that it takes, and `other`.
    pub fn pinning_answered(&self, method: &str, status: u16, time: Duration) {
        let known = ["DELETE", "GET", "HEAD", "OPTIONS", "POST"];
        let method = known.into_iter().find(|known| *known == method).unwrap_or("other");
        self.0.pinning.get_or_create(&Pinning { method, status }).inc();
        self.0.pinning_seconds.get_or_create(&Verb { method }).observe(time.as_secs_f64());
    }

    /// What the pinning service holds and does now.
    pub fn pins(&self, figures: Told) {
        *self.0.pins.0.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    /// A request to the gateway has come; it must be told as answered, too.
    pub fn gateway_asked(&self) {
        self.0.gateway_running.inc();
    }

    /// A request to the gateway was answered, or given up.
    pub fn gateway_answered(&self, kind: &'static str, status: u16, time: Duration) {
        self.0.gateway_running.dec();
        self.0.gateway.get_or_create(&Gateway { kind, status }).inc();
        self.0.gateway_codes.get_or_create(&Code { code: status }).inc();
        self.0.gateway_seconds.get_or_create(&Shape { kind }).observe(time.as_secs_f64());
    }

    /// What the store holds now, and did.
    pub fn store(&self, figures: Told) {
        *self.0.store.0.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    /// What the network does now; `None` while the node is offline.
    pub fn network(&self, figures: Option<Figures>) {
        *self.0.swarm.0.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    /// Everything, in Prometheus's text form.
    pub fn text(&self) -> String {
        let registry = self.0.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        // Writing to a string does not fail; what is not written is not told.
        let _ = text::encode(&mut out, &registry);
        out
    }
}

impl Inner {
    fn register(&self, to: &mut Registry) {
        let rpc = "Requests to the RPC that were answered";
        to.register("henge_rpc_requests", rpc, self.rpc.clone());
        let time = "From a request to the end of its reply";
        to.register("henge_rpc_request_duration_seconds", time, self.rpc_seconds.clone());
        let gateway = "Requests to the gateway that were answered, by the form of the reply";
        to.register("henge_gateway_requests", gateway, self.gateway.clone());
        to.register("henge_gateway_request_duration_seconds", time, self.gateway_seconds.clone());
        let codes = "Replies of the gateway, by status";
        to.register("ipfs_http_gw_responses", codes, self.gateway_codes.clone());
        let pinning = "Requests to the pinning service that were answered";
        to.register("henge_pinning_requests", pinning, self.pinning.clone());
        to.register("henge_pinning_request_duration_seconds", time, self.pinning_seconds.clone());
        let running = "Requests to the gateway that are being answered";
        to.register("ipfs_http_gw_concurrent_requests", running, self.gateway_running.clone());
    }
}

/// What the process takes, asked of the system when it is told.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let usage = machine::usage();
        let (started, since) = machine::started();
        let started = started.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(described(&mut encoder, name, help, &gauge)?)
        };
        let uptime = since.elapsed().as_secs_f64();
        gauge("henge_uptime_seconds", "Time since the process began", uptime)?;
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Bytes in memory", usage.resident_bytes),
            ("process_virtual_memory_bytes", "Bytes of address space", usage.virtual_bytes),
            ("process_open_fds", "Open descriptors", usage.open_files),
            ("process_max_fds", "Descriptors that may be open", usage.open_files_max),
            ("process_threads", "Threads", usage.threads),
        ] {
            gauge(name, help, value as f64)?;
        }
        let start = started.as_secs_f64();
        gauge("process_start_time_seconds", "When the process began, since 1970", start)?;
        let cpu = ConstCounter::new(usage.cpu_seconds);
        cpu.encode(described(&mut encoder, "process_cpu_seconds", "Processor time", &cpu)?)
    }
}

fn described<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &'a str,
    metric: &impl EncodeMetric,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, metric.metric_type())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_by_their_names() {
        let metrics = Metrics::new("0.43.0");
        metrics.rpc_answered("cat", 200, Duration::from_millis(3));
        metrics.rpc_answered("cat", 500, Duration::from_secs(7));
        metrics.gateway_asked();
        metrics.gateway_asked();
        metrics.gateway_answered("file", 206, Duration::from_millis(3));
        let gauges =
            vec![("henge_store_blocks", "Blocks", 3), ("henge_store_bytes", "Bytes", 4096)];
        let counters = vec![("henge_store_freed_bytes", "Bytes", 7)];
        metrics.store(Told { gauges, counters });
        let own: Counter = Counter::default();
        metrics.register(|registry| registry.register("henge_swarm_dials", "Dials", own.clone()));
        own.inc();
        let text = metrics.text();
        for line in [
            concat!(
                "henge_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\",kubo=\"0.43.0\"} 1"
            ),
            "henge_rpc_requests_total{command=\"cat\",status=\"200\"} 1",
            "henge_rpc_requests_total{command=\"cat\",status=\"500\"} 1",
            "henge_rpc_request_duration_seconds_bucket{le=\"0.005\",command=\"cat\"} 1",
            "henge_rpc_request_duration_seconds_count{command=\"cat\"} 2",
            "henge_gateway_requests_total{kind=\"file\",status=\"206\"} 1",
            "ipfs_http_gw_responses_total{code=\"206\"} 1",
            "ipfs_http_gw_concurrent_requests 1",
            "henge_store_blocks 3",
            "henge_store_bytes 4096",
            "henge_store_freed_bytes_total 7",
            "henge_swarm_dials_total 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        for name in [
            "ipfs_info{version=\"0.43.0\"",
            "process_open_fds ",
            "process_cpu_seconds_total ",
            "henge_uptime_seconds ",
        ] {
            assert!(text.lines().any(|told| told.starts_with(name)), "{name}");
        }
    }
}

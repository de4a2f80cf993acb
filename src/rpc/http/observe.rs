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

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedSemaphorePermit};

use crate::metrics::Metrics;
use crate::node::Node;
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

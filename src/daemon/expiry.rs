//! Releasing expired pins while the daemon runs, online or not.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::node::Node;

/// Time between two rounds; the first comes at the start.
const ROUND: Duration = Duration::from_secs(3600);

/// Releases what has expired, each hour, until told to stop.
pub async fn run(node: Node, stop: CancellationToken) {
    let mut due = tokio::time::interval(ROUND);
    let rounds = async {
        loop {
            due.tick().await;
            match node.release_expired().await {
                Ok(0) => {}
                Ok(released) => tracing::info!("released {released} pins that had expired"),
                Err(error) => tracing::warn!("expired pins are not released: {error}"),
            }
        }
    };
    // A batch that is being written is written to its end.
    tokio::select! {
        () = stop.cancelled() => {}
        () = rounds => {}
    }
}

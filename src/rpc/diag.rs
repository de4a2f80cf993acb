//! `diag`.

use serde_json::Value;

use super::{Error, Reply, Router};

/// Whether the node does its work: not when it is about to stop, or its store cannot be read.
pub async fn healthy(router: &Router) -> Result<Reply, Error> {
    if router.stop.is_cancelled() {
        return Err(Error { message: "daemon is shutting down".into(), client: false });
    }
    router.node.probe().await?;
    Ok(Reply::Value(Value::String("ok".into())))
}

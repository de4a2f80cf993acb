//! `id`, `version` and `shutdown`.

use serde_json::{Value, json};

use super::{Args, Error, Reply, Router};
use crate::node::{KUBO_LEVEL, KUBO_REPO, Node};

/// Who this node is.
pub async fn id(router: &Router, args: Args) -> Result<Reply, Error> {
    let settings = router.node.settings();
    if let [other, ..] = args.all()
        && *other != settings.peer_id
    {
        return Err(Error {
            message: format!("cannot look up peer {other}: offline"),
            client: false,
        });
    }
    Ok(Reply::Value(json!({
        "ID": settings.peer_id,
        "PublicKey": settings.public_key,
        "Addresses": null,
        "AgentVersion": Node::agent(),
        "Protocols": null,
    })))
}

/// Which Kubo this node answers for, and which henge it is.
pub fn version() -> Value {
    json!({
        "Version": KUBO_LEVEL,
        "Commit": concat!("henge-", env!("CARGO_PKG_VERSION")),
        "Repo": KUBO_REPO,
        "System": format!("{}/{}", arch(), std::env::consts::OS),
        "Golang": "none",
    })
}

/// Tells the daemon to stop; the reply is sent first.
pub fn shutdown(router: &Router) -> Reply {
    router.stop.cancel();
    Reply::Empty
}

/// Go's name for the processor.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

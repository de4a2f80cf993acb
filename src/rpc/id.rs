//! `id`, `version` and `shutdown`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, Error, Reply, Router, peer};
use crate::node::{KUBO_LEVEL, KUBO_REPO, Node};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct IdOptions {
    peerid_base: Option<String>,
    offline: bool,
}

/// Who this node is, or another one.
pub async fn id(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: IdOptions = args.options()?;
    let print = peer::printer(options.peerid_base.as_deref())?;
    let settings = router.node.settings();
    let own = peer::id(&settings.peer_id);
    let other = match args.all() {
        [] => None,
        [text, ..] => {
            let none = || failed(format!("invalid peer id: {text:?}"));
            Some(peer::id(text).ok_or_else(none)?).filter(|other| Some(*other) != own)
        }
    };
    let who = match other {
        None => return Ok(Reply::Value(myself(router, own.as_ref().map(print)))),
        Some(other) if options.offline => router.node.remembered(other).await,
        Some(_) if !router.node.is_online() => {
            return Err(failed(
                "'ipfs id' cannot query information on remote peers without a running daemon; \
                 if you only want to convert --peerid-base, pass --offline option",
            ));
        }
        Some(other) => router.node.who_is(other).await?,
    };
    Ok(Reply::Value(peer::told(&who, print(&who.peer))))
}

fn myself(router: &Router, id: Option<String>) -> Value {
    let settings = router.node.settings();
    let mut told = match router.node.myself() {
        Some(who) => peer::told(&who, String::new()),
        None => {
            json!({ "ID": "", "PublicKey": "", "Addresses": null, "AgentVersion": Node::agent(),
            "Protocols": null, "ProtocolVersion": peer::FAMILY })
        }
    };
    told["ID"] = json!(id.as_ref().unwrap_or(&settings.peer_id));
    told["PublicKey"] = json!(settings.public_key);
    told
}

fn failed(message: impl Into<String>) -> Error {
    Error { message: message.into(), client: false }
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

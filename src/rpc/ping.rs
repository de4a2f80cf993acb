//! `ping`: there and back, line by line.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Args, Error, Reply, Router, peer, reply};
use crate::node::swarm::Target;
use crate::node::{self, Node};
use crate::task;

/// Lines waiting for the reader.
const LINES: usize = 4;

#[derive(Deserialize)]
#[serde(default)]
struct PingOptions {
    #[serde(alias = "n")]
    count: i64,
}

impl Default for PingOptions {
    fn default() -> Self {
        Self { count: 10 }
    }
}

/// Sends bytes to a peer and back, once a second.
pub async fn ping(router: &Router, args: Args) -> Result<Reply, Error> {
    let text = args.some("peer ID")?.first().map(String::as_str).unwrap_or_default();
    let PingOptions { count } = args.options()?;
    if !router.node.is_online() {
        return Err(node::Error::Offline.into());
    }
    let target = target(text)?;
    if target.peer.to_base58() == router.node.settings().peer_id {
        return Err(failed("error: can't ping self"));
    }
    let times = u64::try_from(count).ok().filter(|count| *count > 0);
    let refuse = || failed(format!("ping count must be greater than 0, was {count}"));
    let (times, node) = (times.ok_or_else(refuse)?, router.node.clone());
    let (out, lines) = mpsc::channel(LINES);
    // A reader that is gone ends it.
    task::detach(async move { drop(pings(&node, &target, times, &out).await) });
    Ok(Reply::Lines(Box::pin(reply::receive(lines))))
}

type Out = mpsc::Sender<Result<Value, Error>>;

/// Says every line of it; fails when nobody reads.
async fn pings(
    node: &Node,
    target: &Target,
    times: u64,
    out: &Out,
) -> Result<(), mpsc::error::SendError<Result<Value, Error>>> {
    let line = |text: String| json!({ "Success": true, "Time": 0, "Text": text });
    let known = node.remembered(target.peer).await;
    if target.addresses.is_empty() && known.addresses.is_empty() {
        out.send(Ok(line(format!("Looking up peer {}", target.peer)))).await?;
        if let Err(error) = node.swarm_connect(target).await {
            return out.send(Err(failed(format!("peer lookup failed: {error}")))).await;
        }
    }
    out.send(Ok(line(format!("PING {}.", target.peer)))).await?;
    let bad = |error: node::Error| json!({ "Success": false, "Time": 0, "Text": format!("Ping error: {error}") });
    let (mut done, mut total) = (0u32, Duration::ZERO);
    match node.ping(target, times).await {
        Err(error) => out.send(Ok(bad(error))).await?,
        Ok(mut pongs) => {
            while let Some(pong) = pongs.recv().await {
                let told = match pong {
                    Err(error) => bad(error),
                    Ok(time) => {
                        (done, total) = (done.saturating_add(1), total.saturating_add(time));
                        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                        json!({ "Success": true, "Time": ns, "Text": "" })
                    }
                };
                out.send(Ok(told)).await?;
            }
        }
    }
    out.send(match done {
        0 => Err(failed("ping failed")),
        _ => {
            let average = total.as_secs_f64() * 1000.0 / f64::from(done);
            Ok(line(format!("Average latency: {average:.2}ms")))
        }
    })
    .await
}

/// A peer's ID, or an address that ends in one.
fn target(text: &str) -> Result<Target, Error> {
    let bad = |why: String| failed(format!("failed to parse peer address '{text}': {why}"));
    match text.starts_with('/') {
        true => peer::target(text).map_err(|error| bad(error.message)),
        false => {
            let none = || bad("it is no peer ID".into());
            peer::id(text).map(Target::of).ok_or_else(none)
        }
    }
}

fn failed(message: impl Into<String>) -> Error {
    Error { message: message.into(), client: false }
}

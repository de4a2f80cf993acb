//! `bitswap` and `stats bitswap`: counters, wantlists, ledgers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, Error, Reply, Router, peer};
use crate::ipld::cid::Cid;
use crate::node::bitswap::Ledger;
use crate::node::swarm::PeerId;

#[derive(Default, Deserialize)]
#[serde(default)]
struct WantlistOptions {
    #[serde(alias = "p")]
    peer: Option<String>,
}

/// Counters, what is wanted, and who is asked.
pub async fn stat(router: &Router, args: Args) -> Result<Reply, Error> {
    let stat = router.node.bitswap_stat().await?;
    let peers: Vec<String> = stat.peers.iter().map(|peer| peer.to_base58()).collect();
    let counted = stat.counted;
    Ok(Reply::Value(json!({
        "Wantlist": keys(&args, &stat.wantlist),
        "Peers": peers,
        "BlocksReceived": counted.blocks_received,
        "DataReceived": counted.data_received,
        "DupBlksReceived": counted.dup_blocks_received,
        "DupDataReceived": counted.dup_data_received,
        "MessagesReceived": counted.messages_received,
        "BlocksSent": counted.blocks_sent,
        "DataSent": counted.data_sent,
    })))
}

/// What is wanted here, or what a peer wants.
pub async fn wantlist(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: WantlistOptions = args.options()?;
    // Offline comes first, as in Kubo.
    let own = router.node.wantlist(None).await?;
    let wanted = match options.peer.as_deref().filter(|text| !text.is_empty()) {
        None => own,
        Some(text) => router.node.wantlist(Some(peer::decoded(text)?)).await?,
    };
    Ok(Reply::Value(json!({ "Keys": keys(&args, &wanted) })))
}

/// The account with a peer.
pub async fn ledger(router: &Router, args: Args) -> Result<Reply, Error> {
    let text = args.one("peer")?;
    if !router.node.is_online() {
        return Err(crate::node::Error::Offline.into());
    }
    let peer = peer::decoded(text)?;
    Ok(Reply::Value(account(&peer, &router.node.ledger(peer).await?)))
}

/// Every account in which something stands: henge's own.
pub async fn ledgers(router: &Router) -> Result<Reply, Error> {
    let ledgers = router.node.ledgers().await?;
    let shown: Vec<Value> = ledgers.iter().map(|(peer, ledger)| account(peer, ledger)).collect();
    Ok(Reply::Value(json!({ "Ledgers": shown })))
}

fn account(peer: &PeerId, ledger: &Ledger) -> Value {
    json!({
        "Peer": peer.to_base58(),
        "Value": ledger.debt_ratio,
        "Sent": ledger.sent_bytes,
        "Recv": ledger.received_bytes,
        "Exchanged": ledger.exchanged,
    })
}

/// CIDs as Go writes them in a struct.
fn keys(args: &Args, cids: &[Cid]) -> Value {
    cids.iter().map(|cid| json!({ "/": args.cid(cid) })).collect()
}

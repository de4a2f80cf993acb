//! `stats bw` and `stats dht`: how much goes to and fro, and the tables of the DHTs.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, Error, Reply, Router, peer};
use crate::clock;
use crate::config::units::parse_duration;
use crate::node::Bandwidth;
use crate::node::routing::{BucketStat, Entry};
use crate::node::swarm::{PeerId, Who};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// The least of it: a reply is not to keep a core busy.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

#[derive(Default, Deserialize)]
#[serde(default)]
struct BandwidthOptions {
    #[serde(alias = "p")]
    peer: Option<String>,
    #[serde(alias = "t")]
    proto: Option<String>,
    poll: bool,
    #[serde(alias = "i")]
    interval: Option<String>,
}

/// How much went over streams and how fast it goes: once, or again and again.
pub async fn bandwidth(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: BandwidthOptions = args.options()?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let node = router.node.clone();
    node.bandwidth(None)?;
    let peer = match (given(options.peer), given(options.proto)) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid("please only specify peer OR protocol"));
        }
        (None, Some(_)) => {
            return Err(Error::invalid("bytes are not counted by protocol, but by peer"));
        }
        (peer, None) => peer.as_deref().map(peer::decoded).transpose()?,
    };
    let parse = |text: String| parse_duration(&text).map_err(|e| Error::invalid(e.to_string()));
    let interval = given(options.interval).map(parse).transpose()?;
    let interval = interval.unwrap_or(INTERVAL).max(INTERVAL_MIN);
    let poll = options.poll;
    let lines = stream::unfold(Some(Duration::ZERO), move |wait| {
        let node = node.clone();
        async move {
            tokio::time::sleep(wait?).await;
            let next = poll.then_some(interval);
            Some(match node.bandwidth(peer.as_ref()) {
                Ok(now) => (Ok(told(&now)), next),
                Err(error) => (Err(error.into()), None),
            })
        }
    });
    Ok(Reply::Lines(Box::pin(lines)))
}

fn told(now: &Bandwidth) -> Value {
    json!({
        "TotalIn": now.total_in,
        "TotalOut": now.total_out,
        "RateIn": now.rate_in,
        "RateOut": now.rate_out,
    })
}

/// The tables, a line each: of those DHTs that are named, else of both.
pub async fn dht(router: &Router, args: Args) -> Result<Reply, Error> {
    let stats = router.node.dht_stat()?;
    let names = match args.all() {
        [] => vec!["wan".to_owned(), "lan".to_owned()],
        named => named.to_vec(),
    };
    let peers = router.node.swarm_peers().await?;
    let agents = peers.iter().map(|peer| (peer.id, peer::clean(&Who::of(peer).agent)));
    let agents: HashMap<PeerId, String> = agents.collect();
    let mut lines = Vec::new();
    for name in names {
        let Some(stat) = stats.iter().find(|stat| stat.name == name) else {
            return Err(Error::refused(format!("unknown dht type: {name}")));
        };
        let deepest = stat.buckets.iter().map(|bucket| usize::from(bucket.bits) + 1).max();
        let mut buckets = vec![json!({ "LastRefresh": "", "Peers": null }); deepest.unwrap_or(0)];
        for bucket in &stat.buckets {
            if let Some(place) = buckets.get_mut(usize::from(bucket.bits)) {
                *place = shape(bucket, &agents);
            }
        }
        lines.push(Ok(json!({ "Name": name, "Buckets": buckets })));
    }
    Ok(Reply::Lines(Box::pin(stream::iter(lines))))
}

fn shape(bucket: &BucketStat, agents: &HashMap<PeerId, String>) -> Value {
    let peer = |entry: &Entry| {
        let useful = when(entry.useful);
        json!({
            "ID": entry.contact.peer.to_base58(),
            "Connected": agents.contains_key(&entry.contact.peer),
            "AgentVersion": agents.get(&entry.contact.peer).cloned().unwrap_or_default(),
            "LastUsefulAt": useful,
            "LastQueriedAt": useful,
        })
    };
    let peers: Vec<Value> = bucket.entries.iter().map(peer).collect();
    let refreshed = bucket.refreshed.map(when).unwrap_or_default();
    json!({ "LastRefresh": refreshed, "Peers": peers })
}

/// When that was, to the second.
fn when(at: Instant) -> String {
    let time = SystemTime::now().checked_sub(at.elapsed()).unwrap_or(UNIX_EPOCH);
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    clock::rfc3339(UNIX_EPOCH + Duration::from_secs(seconds))
}

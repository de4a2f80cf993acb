//! `provide` and `stats provide`: what is announced, what waits for it, and announcing at once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, Error, Reply, Router};
use crate::clock;
use crate::ipld::cid;
use crate::node::provide::ProvideStat;

/// A time that is not known, as Go writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// Peers that are told of a key.
const REPLICAS: u64 = 20;

#[derive(Default, Deserialize)]
#[serde(default)]
struct OnceOptions {
    #[serde(alias = "r")]
    recursive: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClearOptions {
    #[serde(alias = "q")]
    quiet: bool,
}

/// What was announced and what waits, in the shape of Kubo's sweeping provider. What this node does
/// not count is zero.
pub async fn stat(router: &Router) -> Result<Reply, Error> {
    let stat = router.node.provide_stat().await?;
    let counted = stat.counted;
    let held = if counted.told == 0 { 0.0 } else { counted.records as f64 / counted.told as f64 };
    let status = if stat.peers > 0 { "online" } else { "disconnected" };
    let (schedule, timing) = rounds(&stat);
    let sweep = json!({
        "closed": false,
        "connectivity": { "status": status, "since": NEVER },
        "queues": {
            "pending_key_provides": counted.waiting_new,
            "pending_region_provides": u8::from(counted.waiting_new > 0),
            "pending_region_reprovides": u8::from(counted.waiting_again > 0),
        },
        "schedule": schedule,
        "workers": workers(&stat),
        "timing": timing,
        "operations": operations(&stat),
        "network": {
            "peers": stat.peers,
            "complete_keyspace_coverage": false,
            "reachable": stat.peers,
            "avg_region_size": 0.0,
            "avg_holders": held,
            "replication_factor": REPLICAS,
        },
    });
    Ok(Reply::Value(json!({ "Sweep": sweep, "Legacy": null, "FullRT": false })))
}

/// What waits to be told again, and when rounds begin.
fn rounds(stat: &ProvideStat) -> (Value, Value) {
    let (began, now) = (stat.counted.round_began, SystemTime::now());
    let start = UNIX_EPOCH.checked_add(Duration::from_secs(began)).filter(|_| began > 0);
    let told = |time: Option<SystemTime>| time.map_or_else(|| NEVER.to_owned(), clock::rfc3339);
    let next = start.filter(|_| !stat.interval.is_zero());
    let next = next.and_then(|start| start.checked_add(stat.interval));
    let offset = start.and_then(|start| now.duration_since(start).ok()).unwrap_or_default();
    let schedule = json!({
        "keys": stat.counted.waiting_again,
        "regions": 0,
        "avg_prefix_length": 0,
        "next_reprovide_at": told(next),
        "next_reprovide_prefix": "",
    });
    let timing = json!({
        "uptime": nanos(stat.uptime),
        "reprovides_interval": nanos(stat.interval),
        "cycle_start": told(start),
        "current_time_offset": nanos(offset),
        "max_reprovide_delay": 0,
    });
    (schedule, timing)
}

fn workers(stat: &ProvideStat) -> Value {
    json!({
        "max": stat.workers,
        "active": stat.counted.active,
        "active_periodic": 0,
        "active_burst": stat.counted.active,
        "dedicated_periodic": 0,
        "dedicated_burst": 0,
        "queued_periodic": 0,
        "queued_burst": 0,
        "max_provide_conns_per_worker": REPLICAS,
    })
}

fn operations(stat: &ProvideStat) -> Value {
    json!({
        "ongoing": {
            "region_provides": stat.counted.active,
            "key_provides": 0,
            "region_reprovides": 0,
            "key_reprovides": 0,
        },
        "past": {
            "records_provided": stat.counted.records,
            "key_provided": stat.counted.told,
            "keys_failed": stat.counted.failed,
            "keys_provided_per_minute": 0.0,
            "keys_reprovided_per_minute": 0.0,
            "reprovide_duration": 0,
            "avg_keys_per_reprovide": 0.0,
            "regions_reprovided_last_cycle": 0,
        },
    })
}

/// Queues blocks for announcing, and tells of each.
pub async fn once(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: OnceOptions = args.options()?;
    if !router.node.is_online() {
        return Err(crate::node::Error::Offline.into());
    }
    let parse = |text: &String| {
        cid::parse(text).map_err(|e| Error::invalid(format!("invalid CID {text:?}: {e}")))
    };
    let cids = args.some("cid")?.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let print = args.printer();
    let queued = router.node.provide_once(cids, options.recursive).await?;
    Ok(Reply::lines(queued, move |cid| json!({ "Queued": print(&cid) })))
}

/// Forgets what waits to be announced; tells how much that was.
pub async fn clear(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: ClearOptions = args.options()?;
    let cleared = router.node.provide_clear().await?;
    Ok(match options.quiet {
        true => Reply::Empty,
        false => Reply::Value(Value::from(cleared)),
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

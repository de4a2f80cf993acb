//! A daemon that has nothing to do but to be connected: what it takes of the machine.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use henge::routing::dht::scope::Scope;
use henge::routing::dht::{Dht, Settings};
use henge::routing::records::{Limits, Records};
use henge::routing::streams::{Asking, serve};
use henge::routing::upkeep;

use crate::harness::soak;
use crate::scripted::Honest;
use crate::swarm::Node;

/// Part of one core that is too much.
const CORE_MAX: f64 = 0.02;
/// Memory that is too much.
const RESIDENT_MAX_BYTES: u64 = 100 << 20;

/// Makes a node a server of the local DHT, too.
fn with_dht(node: &Honest) {
    let rpc = Arc::new(Asking::new(node.net.clone(), Scope::Lan));
    let records = Records::new(node.store.clone(), Scope::Lan, Limits::default());
    let settings = Settings { server: true, loopback: true };
    let dht = Dht::new(Scope::Lan, node.net.local(), rpc, records, settings);
    tokio::spawn(serve(node.net.clone(), dht.clone()));
    tokio::spawn(upkeep::run(node.net.clone(), vec![dht], Vec::new()));
}

/// Time of the processor that each thread of a process has had, in nanoseconds.
fn processor_time(pid: u32) -> HashMap<OsString, u64> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let time = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        Some((thread.file_name(), stat.split(' ').next()?.parse().ok()?))
    };
    threads.filter_map(|thread| time(thread.unwrap())).collect()
}

/// What threads have had since: those that ended meanwhile are not counted, but they are few, and
/// rest for ten seconds before they end.
fn since(pid: u32, before: &HashMap<OsString, u64>) -> Duration {
    let had = |thread: &OsString| before.get(thread).copied().unwrap_or(0);
    let now = processor_time(pid).into_iter();
    Duration::from_nanos(now.map(|(thread, ns)| ns.saturating_sub(had(&thread))).sum())
}

/// Memory that a process holds, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_with_peers_and_nothing_to_do_is_quiet() {
    let (count, time) = match soak() {
        true => (20, Duration::from_secs(300)),
        false => (10, Duration::from_secs(10)),
    };
    let node = Node::start();
    let mut peers = Vec::new();
    for _ in 0..count {
        let peer = Honest::start().await;
        with_dht(&peer);
        peer.connect(&node.address).await;
        // What is idle on both sides is closed after a minute: this connection is to stay.
        peer.net.peering_add(peer.net.peers().await[0].id, vec![]).await;
        peers.push(peer);
    }
    // Greetings, the first looks at the DHT's table.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let (start, before) = (Instant::now(), processor_time(node.pid()));
    tokio::time::sleep(time).await;
    let took = since(node.pid(), &before);
    let part = took.as_secs_f64() / start.elapsed().as_secs_f64();
    let resident = resident(node.pid());
    let connected = node.peers().len();
    println!(
        "{connected} peers, {time:?}: {took:?} of a core ({:.2} %), {} MiB",
        part * 100.0,
        resident >> 20
    );
    assert!(connected > 0, "nobody is connected any more");
    assert!(part < CORE_MAX, "{:.2} % of a core", part * 100.0);
    assert!(resident < RESIDENT_MAX_BYTES, "{} MiB", resident >> 20);
    for peer in peers {
        peer.leave().await;
    }
}

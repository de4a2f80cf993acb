//! The queue of the pinning service between daemons: origins, kills in mid-flight, and what `pin queue`
//! shows.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Daemon, keystream, soak};
use crate::http_client::post;
use crate::pinning_api::{Pinning, address};
use crate::surface::{ABSENT, json_of, lines};
use crate::swarm::Node;

/// Bytes of one DAG.
const DAG_BYTES: usize = 16 << 20;
/// Bytes that a pin in flight may fetch again after a kill.
const AGAIN_BYTES: u64 = 8 << 20;

/// A service that dials origins on this machine.
fn service(more: &[(&str, Value)]) -> Pinning {
    let dial = [("Pinning.Service.DialPrivate", json!(true))];
    Pinning::with(&[&dial, more].concat())
}

/// Kills the daemon and starts it again.
fn restart(pinning: Pinning) -> Pinning {
    let Pinning { repo, daemon, token, .. } = pinning;
    daemon.kill();
    let daemon = Daemon::start(&repo);
    Pinning { address: address(&repo), repo, daemon, token }
}

/// Waits until something holds, two minutes at most.
fn until(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes of blocks that a node has sent.
fn sent(node: &Node) -> u64 {
    post(&node.api(), "/api/v0/bitswap/stat").json()["DataSent"].as_u64().unwrap()
}

#[test]
fn a_kill_in_mid_flight_loses_no_request_and_fetches_little_again() {
    let (dags, kills) = if soak() { (24, 6) } else { (6, 2) };
    let source = Node::start();
    let cids: Vec<String> = (0..dags)
        .map(|n| {
            let content = keystream(&format!("dag {n}"), DAG_BYTES);
            let file = source.repo.file(format!("f{n}"), content);
            source.repo.ok(["add", "-Q", "--cid-version=1", file.to_str().unwrap()])
        })
        .collect();
    let mut pinning = service(&[("Pinning.Service.Workers", json!(4))]);
    let pin = |cid: &String| json!({ "cid": cid, "origins": [source.address] });
    let (last, first) = cids.split_last().unwrap();
    let mut ids: Vec<String> = Vec::new();
    for cid in first {
        ids.push(pinning.add(&pin(cid))["requestid"].as_str().unwrap().to_owned());
    }
    let total = u64::try_from(dags * DAG_BYTES).unwrap();
    let mut killed = 0;
    for n in 0..kills {
        let mark = total * (n + 1) / (kills + 2);
        until("some of it", || sent(&source) >= mark);
        if n == 0 {
            // Acknowledged, and nothing more.
            ids.push(pinning.add(&pin(last))["requestid"].as_str().unwrap().to_owned());
        }
        killed = sent(&source);
        pinning = restart(pinning);
        let all = pinning.ask("GET", "/pins?status=queued,pinning,pinned,failed&limit=1000", None);
        assert_eq!(all.json()["count"], ids.len(), "{}", all.text());
    }
    for id in &ids {
        let told = pinning.settled(id);
        assert_eq!(told["status"], "pinned", "{told}");
        let size: u64 = told["info"]["dag_size"].as_str().unwrap().parse().unwrap();
        assert!((DAG_BYTES as u64..DAG_BYTES as u64 + 10_000).contains(&size), "{told}");
    }
    let again = sent(&source).saturating_sub(total + total / 1000);
    println!(
        "{dags} pins, {kills} kills, the last at {killed} of {total} bytes: {again} sent again"
    );
    assert!(killed < total && again <= AGAIN_BYTES * kills * 4, "{again} bytes were fetched again");
    // All of it is here, though its source is not.
    source.stop();
    for (n, cid) in cids.iter().enumerate() {
        let content = pinning.repo.run(["cat", "--offline", cid]).out;
        assert!(content == keystream(&format!("dag {n}"), DAG_BYTES), "{cid}");
    }
    pinning.repo.ok(["repo", "gc"]);
    assert_eq!(pinning.repo.run(["cat", "--offline", last]).out.len(), DAG_BYTES);
}

#[test]
fn a_full_node_fails_no_request_and_goes_on_when_there_is_room() {
    let (dags, bytes) = (10, 8 << 20);
    let source = Node::start();
    let mut pinning = service(&[
        ("Datastore.StorageMax", json!("64MiB")),
        ("Pinning.Service.Retries", json!(1)),
        ("Pinning.Service.Workers", json!(8)),
    ]);
    for n in 0..dags {
        let file = source.repo.file(format!("f{n}"), keystream(&format!("large {n}"), bytes));
        let cid = source.repo.ok(["add", "-Q", "--cid-version=1", file.to_str().unwrap()]);
        pinning.add(&json!({ "cid": cid, "origins": [source.address] }));
    }
    let count = |pinning: &Pinning, status: &str| {
        let told = pinning.ask("GET", &format!("/pins?status={status}&limit=1000"), None);
        told.json()["count"].as_u64().unwrap()
    };
    let queued = |pinning: &Pinning| pinning.ask("GET", "/pins?status=queued&limit=1000", None);
    let told = "this node is full; it goes on when there is room";
    until("a full node", || queued(&pinning).text().contains(told));
    until("pins", || count(&pinning, "pinned") > 0 && count(&pinning, "pinning") == 0);
    let (pinned, waiting) = (count(&pinning, "pinned"), count(&pinning, "queued"));
    assert_eq!((pinned + waiting, count(&pinning, "failed")), (dags, 0));
    assert!(waiting > 0 && !queued(&pinning).text().contains("tries"));
    println!("{pinned} of {dags} fit");
    // Room comes, and the next start need not wait.
    let all = pinning.ask("GET", "/pins?status=pinned&limit=1000", None).json();
    for request in all["results"].as_array().unwrap() {
        let id = request["requestid"].as_str().unwrap();
        assert_eq!(pinning.ask("DELETE", &format!("/pins/{id}"), None).status, 202);
    }
    pinning = restart(pinning);
    until("more pins", || count(&pinning, "pinned") > 0);
    assert_eq!(count(&pinning, "pinned,queued,pinning"), waiting);
}

#[test]
fn the_queue_is_shown_to_the_operator() {
    let pinning = service(&[("Pinning.Service.StallTimeout", json!("5s"))]);
    let shown = || lines(&pinning.repo, &["pin", "queue"]);
    assert!(shown().concat().is_empty(), "{:?}", shown());
    let request = pinning.add(&json!({ "cid": ABSENT, "name": "lost\u{1b}" }));
    until("a fetch", || shown()[0] == "acme: 0 queued, 0 to be tried again, 1 pinning");
    let fetch = &shown()[1];
    assert!(fetch.starts_with(&format!("  {ABSENT}  0 B in 0 blocks, ")), "{fetch}");
    assert!(fetch.ends_with("  lost\\u{1b}"), "{fetch}");
    let told = json_of(&pinning.repo, &["pin", "queue"]);
    assert_eq!(told["Tenants"][0]["Pinning"][0]["Cid"], ABSENT);
    until("what is tried", || {
        shown().get(2).is_some_and(|line| line.starts_with("    no connected peer to ask; "))
    });
    until("a stall", || shown() == ["acme: 0 queued, 1 to be tried again, 0 pinning"]);
    let id = request["requestid"].as_str().unwrap();
    let told = pinning.ask("GET", &format!("/pins/{id}"), None).json();
    let details = told["info"]["status_details"].as_str().unwrap();
    assert!(details.starts_with("tried 1 times, again at 20"), "{details}");
    assert!(details.contains("no new block within 5s: "), "{details}");
    assert_eq!(pinning.ask("DELETE", &format!("/pins/{id}"), None).status, 202);
    assert!(shown().concat().is_empty(), "{:?}", shown());
}

#[test]
fn whom_a_fetch_asks_is_shown_by_name() {
    let source = Node::start();
    let file = source.repo.file("file", keystream("asked", 400_000));
    let add = ["add", "-Q", "--cid-version=1", "--pin=false", file.to_str().unwrap()];
    let cid = source.repo.ok(add);
    // It has the root, and not all that is below.
    let leaves = source.repo.ok(["refs", &cid]);
    source.repo.ok(["block", "rm", leaves.lines().last().unwrap()]);
    let pinning = service(&[]);
    let asked = json!({ "cid": cid, "origins": [source.address] });
    let request = pinning.add(&asked);
    let asking = format!("asking {}; ", source.address.rsplit('/').next().unwrap());
    let target = format!("/pins/{}", request["requestid"].as_str().unwrap());
    let info = || pinning.ask("GET", &target, None).json()["info"].clone();
    until("a name", || {
        info()["status_details"].as_str().is_some_and(|details| details.contains(&asking))
    });
    let lines = lines(&pinning.repo, &["pin", "queue"]);
    assert!(lines[2].starts_with(&format!("    {asking}")), "{lines:?}");
    assert_eq!(pinning.ask("DELETE", &target, None).status, 202);
}

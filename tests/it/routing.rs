//! Three daemons and the DHT of the loopback: `routing`, `provide`, `stats`, and the figures for
//! Prometheus.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::Repo;
use crate::http_client::{ask, post};
use crate::surface::{ABSENT, HELLO, json_of, lines};
use crate::swarm::Node;

/// A node that takes part in the DHT of the loopback.
fn node() -> Node {
    Node::with(&[
        ("Addresses.Swarm", json!(["/ip4/127.0.0.1/tcp/0"])),
        ("Routing.LoopbackAddressesOnLanDHT", json!(true)),
    ])
}

/// Three in a row: the first and the last are not connected.
fn row() -> [Node; 3] {
    let nodes = [node(), node(), node()];
    nodes[1].connect(&nodes[0]);
    nodes[2].repo.ok(["swarm", "connect", &nodes[1].address]);
    for node in &nodes {
        until("a table", || {
            let tables = json_lines(&node.repo, &["stats", "dht", "lan"]);
            !tables[0]["Buckets"].as_array().unwrap().is_empty()
        });
    }
    nodes
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn json_lines(repo: &Repo, args: &[&str]) -> Vec<Value> {
    let text = repo.ok([args, &["--enc=json"]].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn providers_and_peers_are_found_over_a_third() {
    let [a, _b, c] = row();
    let cid = a.repo.feed(["add", "-Q"], b"hello\n").text();
    assert_eq!(cid, HELLO);
    let told = json_lines(&a.repo, &["routing", "provide", &cid]);
    assert!(told.iter().any(|event| event["Type"] == 0), "{told:?}");
    assert_eq!(lines(&c.repo, &["routing", "findprovs", &cid]), [a.id.as_str()]);
    let events = json_lines(&c.repo, &["routing", "findprovs", "-n", "1", &cid]);
    let found = events.iter().find(|event| event["Type"] == 4).unwrap();
    assert_eq!((&found["ID"], &found["Extra"]), (&json!(""), &json!("")));
    assert_eq!(found["Responses"][0]["ID"], json!(a.id));
    let verbose = c.repo.ok(["routing", "findprovs", "-v", &cid]);
    assert!(verbose.contains(&format!("provider: {}\n\t/ip4/127.0.0.1/tcp/", a.id)), "{verbose}");
    assert!(verbose.contains(": * querying "), "{verbose}");
    assert!(lines(&c.repo, &["routing", "findprovs", ABSENT]).is_empty());
    let (bare, _) = a.address.split_once("/p2p/").unwrap();
    assert!(lines(&c.repo, &["routing", "findpeer", &a.id]).contains(&bare.to_owned()));
    let base36 = c.repo.ok(["id", "-f", "<id>", "--peerid-base=base36", &a.id]);
    assert!(lines(&c.repo, &["routing", "findpeer", &base36]).contains(&bare.to_owned()));
    assert!(c.repo.fails(["routing", "findpeer", "nonsense"]).contains("nonsense"));
    let line = c.repo.fails(["routing", "findprovs", "-n", "0", &cid]);
    assert_eq!(line, "Error: number of providers must be greater than 0");
    let line = a.repo.fails(["routing", "provide", ABSENT]);
    assert_eq!(line, format!("Error: block {ABSENT} not found locally, cannot provide"));
    // What nobody sent is fetched from whom the DHT names.
    assert_eq!(c.repo.ok(["cat", &cid, "--timeout=30s"]), "hello");
    figures(&c);
}

/// What is told of the network's work to dashboards and to people.
fn figures(c: &Node) {
    let text = ask(&c.api(), "GET", "/debug/metrics/prometheus", &[]).text();
    let figure = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(' ').nth(1)?.parse::<f64>().ok())
    };
    assert_eq!(figure("henge_peers "), Some(2.0), "{text}");
    assert_eq!(figure("ipfs_p2p_peers_total{transport=\"/ip4/tcp\"} "), Some(2.0), "{text}");
    assert_eq!(figure("henge_dht_peers{dht=\"lan\"} "), Some(2.0), "{text}");
    assert!(figure("henge_bitswap_blocks_received_total ") >= Some(1.0), "{text}");
    let total = json_of(&c.repo, &["stats", "bw"]);
    assert!(total["TotalIn"].as_u64().unwrap() > 100, "{total}");
    assert!(total["RateIn"].is_f64() && total["TotalOut"].as_u64().unwrap() > 100, "{total}");
    let peer = c.peers()[0].rsplit_once('/').unwrap().1.to_owned();
    let one = json_of(&c.repo, &["stats", "bw", "-p", &peer]);
    assert!(one["TotalIn"].as_u64() < total["TotalIn"].as_u64(), "{one} {total}");
    assert!(c.repo.ok(["stats", "bw"]).starts_with("Bandwidth\nTotalIn: "));
    let line = c.repo.fails(["stats", "bw", "-p", &peer, "-t", "/x"]);
    assert_eq!(line, "Error: please only specify peer OR protocol");
    let table = c.repo.ok(["stats", "dht"]);
    assert!(table.contains("DHT lan (2 peers):") && table.contains("henge/"), "{table}");
    assert!(c.repo.fails(["stats", "dht", "x"]).contains("unknown dht type: x"));
}

#[test]
fn what_is_announced_is_counted() {
    let [a, _b, c] = row();
    a.repo.file("d/f", vec![7; 600_000]);
    a.repo.file("d/g", "hello\n");
    let cid = a.repo.ok(["add", "-r", "-Q", "d"]);
    let said = a.repo.ok(["provide", "once", "-r", &cid]);
    assert!(
        said.starts_with("queued ") && said.ends_with(" CID(s) for immediate provide"),
        "{said}"
    );
    let queued = json_lines(&a.repo, &["provide", "once", HELLO]);
    assert_eq!(queued, [json!({ "Queued": HELLO })]);
    until("providers", || lines(&c.repo, &["routing", "findprovs", HELLO]) == [a.id.as_str()]);
    let sweep = &json_of(&a.repo, &["provide", "stat"])["Sweep"];
    assert_eq!(sweep["connectivity"]["status"], "online", "{sweep}");
    assert!(sweep["operations"]["past"]["key_provided"].as_u64() >= Some(1), "{sweep}");
    assert_eq!(sweep["timing"]["reprovides_interval"], json!(22u64 * 3600 * 1_000_000_000));
    let text = a.repo.ok(["provide", "stat"]);
    for line in ["Provide queue:", "Reprovide queue:", "CIDs scheduled:", "Total CIDs provided:"] {
        assert!(text.contains(line), "{text}");
    }
    let all = a.repo.ok(["stats", "provide", "--all"]);
    assert!(all.starts_with("Connectivity:\n  Status:") && all.contains("\nWorkers:\n"), "{all}");
    assert!(a.repo.ok(["provide", "stat", "-a", "--compact"]).contains("Schedule:"));
    assert!(a.repo.fails(["provide", "stat", "--compact"]).contains("--compact requires --all"));
    let said = a.repo.ok(["provide", "clear"]);
    assert!(said.starts_with("removed ") && said.ends_with(" items from provide queue"), "{said}");
    assert_eq!(a.repo.ok(["provide", "clear", "-q"]), "");
    let line = a.repo.fails(["provide", "once", ABSENT]);
    assert_eq!(line, format!("Error: block {ABSENT} not found locally, cannot provide"));
}

#[test]
fn routing_says_what_it_cannot_do_offline() {
    let repo = Repo::new();
    let key = "/ipns/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8";
    let peer = key.strip_prefix("/ipns/").unwrap();
    for command in [
        &["routing", "findprovs", HELLO][..],
        &["routing", "findpeer", peer],
        &["routing", "provide", HELLO],
        &["provide", "once", HELLO],
        &["provide", "stat"],
        &["stats", "bw"],
        &["stats", "dht"],
    ] {
        let line = repo.fails(command);
        assert!(line.contains("this command must be run in online mode"), "{command:?}: {line}");
    }
    let line = repo.fails(["routing", "get", key]);
    assert!(line.contains("this action must be run in online mode"), "{line}");
    assert_eq!(repo.fails(["routing", "get", "nonsense"]), "Error: invalid key");
    assert_eq!(repo.ok(["provide", "clear"]), "removed 0 items from provide queue");
    repo.file("record", "no record");
    let line = repo.fails(["routing", "put", "--allow-offline", key, "record"]);
    assert!(!line.contains("online mode"), "{line}");
    // Online, a key that nobody has a value of.
    let node = node();
    assert!(node.repo.fails(["routing", "get", key]).starts_with("Error: "));
    assert_eq!(post(&node.api(), "/api/v0/routing/get?arg=x").json()["Message"], "invalid key");
}

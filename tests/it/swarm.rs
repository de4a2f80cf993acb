//! Two daemons on the loopback and what one tells of the other: `swarm`, `ping`, `id`; and
//! `bootstrap`, which needs none.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Daemon, Repo};
use crate::http_client::post;
use crate::surface::{json_of, lines};

/// A peer whose key nobody here has.
const FAR: &str = "12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8";

/// A repository and its daemon.
pub struct Node {
    pub repo: Repo,
    daemon: Option<Daemon>,
    /// Its ID.
    pub id: String,
    /// Its first address, with the ID.
    pub address: String,
}

impl Node {
    /// Starts one that listens for TCP.
    pub fn start() -> Self {
        Self::listening(&["/ip4/127.0.0.1/tcp/0"])
    }

    /// Starts one that listens on these addresses.
    pub fn listening(addresses: &[&str]) -> Self {
        let repo = Repo::for_daemon();
        repo.ok(["config", "--json", "Addresses.Swarm", &json!(addresses).to_string()]);
        let daemon = Daemon::start(&repo);
        let id = repo.ok(["id", "-f", "<id>"]);
        let address = lines(&repo, &["swarm", "addrs", "local", "--id"])[0].clone();
        Self { repo, daemon: Some(daemon), id, address }
    }

    /// Stops it and starts it again where it listened.
    pub fn restart(&mut self, between: impl FnOnce()) {
        let listened = lines(&self.repo, &["swarm", "addrs", "listen"]);
        let listened = json!(listened).to_string();
        self.repo.ok(["config", "--json", "Addresses.Swarm", &listened]);
        self.daemon.take().unwrap().stop();
        between();
        self.daemon = Some(Daemon::start(&self.repo));
    }

    fn api(&self) -> String {
        self.daemon.as_ref().unwrap().api()
    }

    /// Addresses of its connections.
    pub fn peers(&self) -> Vec<String> {
        lines(&self.repo, &["swarm", "peers"])
    }

    /// Waits until so many connections stand.
    fn awaits(&self, count: usize) {
        let since = Instant::now();
        while self.peers().len() != count {
            assert!(since.elapsed() < Duration::from_secs(60), "{:?}", self.peers());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Connects it to another.
    pub fn connect(&self, other: &Self) {
        let said = self.repo.ok(["swarm", "connect", &other.address]);
        assert_eq!(said, format!("connect {} success", other.id));
        other.awaits(1);
    }
}

#[test]
fn two_nodes_connect_tell_of_each_other_and_part() {
    let (a, b) = (Node::start(), Node::start());
    assert_eq!(post(&a.api(), "/api/v0/swarm/peers").json(), json!({ "Peers": null }));
    let legacy = b.address.replace("/p2p/", "/ipfs/");
    let said = lines(&a.repo, &["swarm", "connect", &legacy, &b.address]);
    assert_eq!(said, [format!("connect {} success", b.id)]);
    b.awaits(1);
    assert_eq!(a.peers(), [b.address.as_str()]);
    assert!(a.repo.ok(["swarm", "peers", "--direction"]).ends_with(" outbound"));
    assert!(b.repo.ok(["swarm", "peers", "--direction"]).ends_with(" inbound"));
    let (bare, _) = b.address.split_once("/p2p/").unwrap();
    let plain = json!({ "ID": "", "PublicKey": "", "Addresses": null, "AgentVersion": "",
        "Protocols": null });
    let peer = json!({ "Addr": bare, "Peer": b.id, "Identify": plain });
    assert_eq!(json_of(&a.repo, &["swarm", "peers"]), json!({ "Peers": [peer] }));
    // It says who it is soon after the connection stands.
    let told = json_of(&a.repo, &["id", &b.id]);
    let all = json_of(&a.repo, &["swarm", "peers", "-v"]);
    let all = &all["Peers"][0];
    assert_eq!((&all["Direction"], &all["Identify"]), (&json!(2), &told));
    assert!(all["Latency"] == "n/a" || all["Latency"].as_str().unwrap().ends_with('s'), "{all}");
    let known = json_of(&a.repo, &["swarm", "addrs"]);
    assert_eq!(known["Addrs"][&b.id], json!([bare]), "{known}");
    let text = format!("{} (1)\n\t{bare}", b.id);
    assert!(a.repo.ok(["swarm", "addrs"]).contains(&text));
    let said = a.repo.ok(["swarm", "disconnect", &b.address]);
    assert_eq!(said, format!("disconnect {} success", b.id));
    a.awaits(0);
    b.awaits(0);
    let gone = a.repo.ok(["swarm", "disconnect", &b.address]);
    assert_eq!(gone, format!("disconnect {} failure: not connected", b.id));
    // Its address is known now.
    let by_id = format!("/p2p/{}", b.id);
    a.repo.ok(["swarm", "connect", &by_id]);
    let other = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", b.id);
    let said = a.repo.ok(["swarm", "disconnect", &other]);
    assert_eq!(said, format!("disconnect {} failure: conn not found", b.id));
    // What one command prints is what another one takes.
    let all = a.peers().join("\n");
    let said = a.repo.feed(["swarm", "disconnect"], all.as_bytes());
    assert_eq!(said.text(), format!("disconnect {} success", b.id));
    a.awaits(0);
}

#[test]
fn a_connection_that_cannot_be_made_says_why() {
    let a = Node::start();
    let nobody = format!("/ip4/127.0.0.1/tcp/1/p2p/{FAR}");
    let line = a.repo.fails(["swarm", "connect", &nobody]);
    assert!(line.starts_with(&format!("Error: connect {FAR} failure: ")), "{line}");
    assert!(line.contains("/ip4/127.0.0.1/tcp/1: "), "{line}");
    let line = a.repo.fails(["swarm", "connect", &a.address]);
    assert!(line.contains("myself"), "{line}");
    for bad in ["nonsense", "/ip4/127.0.0.1/tcp/1", "/p2p/nonsense"] {
        assert!(a.repo.fails(["swarm", "connect", bad]).contains(bad));
        assert!(a.repo.fails(["swarm", "peering", "add", bad]).contains(bad));
    }
    let line = a.repo.fails(["swarm", "connect"]);
    assert_eq!(line, "Error: argument \"address\" is required");
}

#[test]
fn id_tells_of_this_node_and_of_others() {
    let (a, b) = (Node::start(), Node::start());
    a.connect(&b);
    let own = json_of(&b.repo, &["id"]);
    assert_eq!((&own["ID"], &own["Addresses"]), (&json!(b.id), &json!([b.address])));
    let spoken = own["Protocols"].as_array().unwrap();
    assert!(spoken.contains(&json!("/ipfs/ping/1.0.0")), "{own}");
    let seen = json_of(&a.repo, &["id", &b.id]);
    for field in ["ID", "PublicKey", "Addresses", "AgentVersion"] {
        assert_eq!(seen[field], own[field]);
    }
    // What it says of itself and what others hear is the same.
    assert_eq!(seen["Protocols"], own["Protocols"]);
    let text = a.repo.run(["id", &b.id]);
    assert!(text.text().contains("\n\t\"AgentVersion\": \"henge/"), "{}", text.text());
    assert_eq!(serde_json::from_slice::<Value>(&text.out).unwrap(), seen);
    let as_cid = a.repo.ok(["id", "--peerid-base=base36", "-f", "<id>", &b.id]);
    assert!(as_cid.starts_with("k51"), "{as_cid}");
    assert_eq!(json_of(&a.repo, &["id", &as_cid]), seen);
    let local = format!("/ip4/127.0.0.1/tcp/1/p2p/{as_cid}");
    assert!(a.repo.ok(["swarm", "disconnect", &local]).ends_with("conn not found"));
    let raw = a.repo.run(["id", "-f", "<addrs>\\n"]);
    assert_eq!(raw.out, format!("{}\n", a.address).as_bytes());
    let offline = json_of(&a.repo, &["--offline", "id", FAR]);
    let nothing = json!({ "ID": FAR, "PublicKey": "", "Addresses": null, "AgentVersion": "",
        "Protocols": null });
    assert_eq!(offline, nothing);
    assert!(a.repo.fails(["id", FAR]).contains(FAR));
    assert!(a.repo.fails(["id", "--peerid-base=nonsense"]).contains("nonsense"));
}

#[test]
fn ping_counts_and_averages() {
    let (a, b) = (Node::start(), Node::start());
    let said = lines(&a.repo, &["ping", "-n", "2", &b.address]);
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(said[0], format!("PING {}.", b.id));
    let between = |line: &str, before: &str, after: &str| {
        let number = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        assert!(number.is_some_and(|number| number.parse::<f64>().is_ok()), "{line}");
    };
    between(&said[1], "Pong received: time=", " ms");
    between(&said[2], "Pong received: time=", " ms");
    between(&said[3], "Average latency: ", "ms");
    // Its address is known now.
    let reply = post(&a.api(), &format!("/api/v0/ping?arg={}&count=1", b.id)).text();
    let lines: Vec<Value> = reply.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let first = json!({ "Success": true, "Time": 0, "Text": format!("PING {}.", b.id) });
    assert_eq!(lines[0], first);
    assert!(lines[1]["Time"].as_u64().unwrap() > 0 && lines[1]["Text"] == "", "{reply}");
    let line = a.repo.fails(["ping", &a.id]);
    assert_eq!(line, "Error: error: can't ping self");
    let line = a.repo.fails(["ping", "-n", "0", &b.id]);
    assert_eq!(line, "Error: ping count must be greater than 0, was 0");
    let line = a.repo.fails(["ping", "nonsense"]);
    assert!(line.starts_with("Error: failed to parse peer address 'nonsense': "), "{line}");
    let said = a.repo.run(["ping", FAR]);
    assert_eq!((said.code, said.text()), (1, format!("Looking up peer {FAR}")));
    assert!(said.err.starts_with("Error: peer lookup failed: "), "{}", said.err);
    let said = a.repo.run(["ping", &format!("/ip4/127.0.0.1/tcp/1/p2p/{FAR}")]);
    assert_eq!((said.code, said.err.as_str()), (1, "Error: ping failed\n"));
    assert!(said.text().contains(&format!("PING {FAR}.\nPing error: ")), "{}", said.text());
}

#[test]
fn peering_comes_back_after_the_other_one_was_away() {
    let (a, mut b) = (Node::start(), Node::start());
    assert_eq!(json_of(&a.repo, &["swarm", "peering", "ls"]), json!({ "Peers": [] }));
    let said = a.repo.ok(["swarm", "peering", "add", &b.address]);
    assert_eq!(said, format!("add {} success", b.id));
    a.awaits(1);
    b.restart(|| a.awaits(0));
    a.awaits(1);
    let (bare, _) = b.address.split_once("/p2p/").unwrap();
    let said = lines(&a.repo, &["swarm", "peering", "ls"]).join("\n");
    assert!(said.starts_with(&format!("{}\n\t{bare}", b.id)), "{said}");
    let said = a.repo.ok(["swarm", "peering", "rm", &b.id]);
    assert_eq!(said, format!("remove {} success", b.id));
    assert_eq!(a.repo.ok(["swarm", "peering", "ls"]), "");
    assert!(a.repo.fails(["swarm", "peering", "rm", "nonsense"]).contains("nonsense"));
}

#[test]
fn filters_refuse_both_ways_and_are_remembered() {
    let (a, b) = (Node::start(), Node::start());
    assert_eq!(json_of(&a.repo, &["swarm", "filters"]), json!({ "Strings": null }));
    let block = "/ip4/127.0.0.0/ipcidr/8";
    assert_eq!(a.repo.ok(["swarm", "filters", "add", block]), block);
    assert_eq!(a.repo.ok(["swarm", "filters"]), block);
    a.repo.fails(["swarm", "connect", &b.address]);
    b.repo.fails(["swarm", "connect", &a.address]);
    let kept = || json_of(&a.repo, &["config", "Swarm.AddrFilters"])["Value"].clone();
    assert_eq!(kept(), json!([block]));
    assert!(a.repo.fails(["swarm", "filters", "add", "nonsense"]).contains("nonsense"));
    assert_eq!(kept(), json!([block]));
    assert_eq!(a.repo.ok(["swarm", "filters", "rm", "/ip4/10.0.0.0/ipcidr/8"]), "");
    assert_eq!(a.repo.ok(["swarm", "filters", "rm", block]), block);
    assert_eq!(kept(), json!([]));
    a.connect(&b);
    let more = ["/ip4/10.0.0.0/ipcidr/8", "/ip6/fc00::/ipcidr/7"];
    assert_eq!(lines(&a.repo, &["swarm", "filters", "add", more[0], more[1]]), more);
    assert_eq!(lines(&a.repo, &["swarm", "filters", "rm", "all"]), more);
    assert_eq!((a.repo.ok(["swarm", "filters"]).as_str(), kept()), ("", Value::Null));
}

#[test]
fn bootstrap_is_edited_without_a_daemon() {
    let repo = Repo::new();
    assert_eq!(repo.ok(["bootstrap"]), "auto");
    assert_eq!(json_of(&repo, &["bootstrap", "list"]), json!({ "Peers": ["auto"] }));
    let usual = lines(&repo, &["bootstrap", "list", "--expand-auto"]);
    assert!(usual.len() > 5 && usual.is_sorted() && !usual.contains(&"auto".to_owned()));
    let shown = json_of(&repo, &["config", "Bootstrap", "--expand-auto"]);
    assert_eq!(shown["Value"].as_array().unwrap().len(), usual.len());
    let shown = json_of(&repo, &["config", "show", "--expand-auto"]);
    assert_eq!(shown["Bootstrap"].as_array().unwrap().len(), usual.len());
    let line = repo.fails(["config", "Bootstrap", "[]", "--json", "--expand-auto"]);
    assert!(line.contains("only be used for reading"), "{line}");
    let mine = format!("/ip4/192.0.2.1/tcp/4001/p2p/{FAR}");
    let line = repo.fails(["bootstrap", "rm", &mine]);
    assert!(line.contains("when using 'auto' placeholder"), "{line}");
    assert_eq!(lines(&repo, &["bootstrap", "add", &mine, &mine]), [format!("added {mine}")]);
    assert_eq!(json_of(&repo, &["bootstrap"]), json!({ "Peers": [mine, "auto"] }));
    let all = [format!("removed {mine}"), "removed auto".to_owned()];
    assert_eq!(lines(&repo, &["bootstrap", "rm", "--all"]), all);
    assert_eq!(json_of(&repo, &["bootstrap"]), json!({ "Peers": null }));
    assert_eq!(lines(&repo, &["bootstrap", "add", "default"]), ["added auto"]);
    repo.ok(["bootstrap", "rm", "all"]);
    let other = format!("/ip4/192.0.2.2/tcp/4001/p2p/{FAR}");
    assert_eq!(lines(&repo, &["bootstrap", "add", &mine, &other]).len(), 2);
    assert_eq!(lines(&repo, &["bootstrap", "rm", &other]), [format!("removed {other}")]);
    let by_id = format!("/p2p/{FAR}");
    assert_eq!(lines(&repo, &["bootstrap", "rm", &by_id]), [format!("removed {mine}")]);
    assert_eq!(repo.fails(["bootstrap", "add"]), "Error: no bootstrap peers to add");
    let line = repo.fails(["bootstrap", "add", "/ip4/192.0.2.1/tcp/1"]);
    assert_eq!(line, "Error: invalid bootstrap address: /ip4/192.0.2.1/tcp/1");
    let line = repo.fails(["bootstrap", "add", &by_id]);
    assert_eq!(line, format!("Error: bootstrap address without a transport: {by_id}"));
    repo.ok(["config", "--bool", "AutoConf.Enabled", "false"]);
    assert!(repo.fails(["bootstrap", "add", "auto"]).contains("AutoConf is disabled"));
}

#[test]
fn without_a_daemon_it_says_so_in_kubos_words() {
    let repo = Repo::new();
    let command = "Error: this command must be run in online mode. Try running 'ipfs daemon' first";
    let action = "this action must be run in online mode, try running 'ipfs daemon' first";
    let far = format!("/ip4/192.0.2.1/tcp/4001/p2p/{FAR}");
    for args in [&["swarm", "peers"][..], &["swarm", "addrs"], &["swarm", "addrs", "local"]] {
        assert_eq!(repo.fails(args), format!("Error: {action}"));
    }
    let line = repo.fails(["swarm", "connect", &far]);
    assert_eq!(line, format!("Error: connect {FAR} failure: {action}"));
    let said = repo.ok(["swarm", "disconnect", &far]);
    assert_eq!(said, format!("disconnect {FAR} failure: {action}"));
    for args in [
        &["swarm", "filters"][..],
        &["swarm", "filters", "add", "/ip4/10.0.0.0/ipcidr/8"],
        &["swarm", "filters", "rm", "all"],
        &["swarm", "peering", "ls"],
        &["swarm", "peering", "add", &far],
        &["swarm", "peering", "rm", FAR],
        &["ping", FAR],
    ] {
        assert_eq!(repo.fails(args), command, "{args:?}");
    }
    let line = repo.fails(["id", FAR]);
    assert!(line.contains("without a running daemon"), "{line}");
    let id = json_of(&repo, &["id"]);
    assert_eq!((&id["Addresses"], &id["Protocols"]), (&Value::Null, &Value::Null));
}

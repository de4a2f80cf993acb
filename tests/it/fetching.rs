//! Fetching from another node: what is told of it while it lasts, when it fails, and afterwards;
//! `--from`; `bitswap`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Repo, keystream, one_line, said};
use crate::http_client::{ask, post};
use crate::surface::{ABSENT, HELLO, json_of, lines};
use crate::swarm::Node;

/// Two connected nodes.
fn pair() -> (Node, Node) {
    let (a, b) = (Node::start(), Node::start());
    b.connect(&a);
    (a, b)
}

/// Waits until something holds, a minute at most.
fn until(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn bitswap_tells_what_came_and_went() {
    let (a, b) = pair();
    let file = a.repo.file("f", keystream("bitswap", 600_000));
    let cid = a.repo.ok(["add", "-Q", file.to_str().unwrap()]);
    assert_eq!(b.repo.run(["cat", &cid]).out, keystream("bitswap", 600_000));
    let (gave, got) =
        (json_of(&a.repo, &["bitswap", "stat"]), json_of(&b.repo, &["stats", "bitswap"]));
    assert_eq!(
        (&gave["BlocksSent"], &got["BlocksReceived"]),
        (&json!(4), &json!(4)),
        "{gave} {got}"
    );
    assert_eq!((&got["Peers"], &got["Wantlist"]), (&json!([a.id]), &json!([])));
    assert!(
        gave["DataSent"].as_u64().unwrap() > 600_000 && gave["DataSent"] == got["DataReceived"]
    );
    let text = lines(&b.repo, &["bitswap", "stat", "-v", "--human"]);
    assert_eq!((text[0].as_str(), text[3].as_str()), ("bitswap status", "\tdata received: 600 kB"));
    assert_eq!(text[text.len() - 2..], ["\tpartners [1]".to_owned(), format!("\t\t{}", a.id)]);
    let ledger = json_of(&b.repo, &["bitswap", "ledger", &a.id]);
    assert_eq!((&ledger["Peer"], &ledger["Recv"]), (&json!(a.id), &got["DataReceived"]));
    let text = a.repo.ok(["bitswap", "ledger", &b.id]);
    assert!(text.contains(&format!("Ledger for {}\nDebt ratio:\t", b.id)), "{text}");
    assert!(text.contains(&format!("Bytes sent:\t{}\n", gave["DataSent"])), "{text}");
    assert!(a.repo.fails(["bitswap", "ledger", "nonsense"]).contains("nonsense"));
}

#[test]
fn what_a_peer_wants_is_listed() {
    let (a, b) = pair();
    let mut child = b.repo.command(["block", "get", ABSENT]).spawn().unwrap();
    until("the want", || lines(&b.repo, &["bitswap", "wantlist"]) == [ABSENT]);
    until("the peer's", || lines(&a.repo, &["bitswap", "wantlist", "-p", &b.id]) == [ABSENT]);
    assert_eq!(
        post(&b.api(), "/api/v0/bitswap/wantlist").json(),
        json!({ "Keys": [{ "/": ABSENT }] })
    );
    assert!(lines(&a.repo, &["bitswap", "wantlist"]).is_empty());
    // A client that goes away takes its want along.
    child.kill().unwrap();
    child.wait().unwrap();
    until("nothing", || lines(&b.repo, &["bitswap", "wantlist"]).is_empty());
    until("here neither", || lines(&a.repo, &["bitswap", "wantlist", "-p", &b.id]).is_empty());
}

#[test]
fn whoever_waits_is_told_what_is_tried() {
    let (_a, b) = pair();
    let since = Instant::now();
    let mut child = b.repo.command(["cat", ABSENT, "--timeout=4s"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    stderr.read_line(&mut first).unwrap();
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    let asked = "asked 1 connected peer: 1 does not have it; searched for providers ";
    assert!(first.starts_with(&format!("waiting for {ABSENT}: {asked}")), "{first}");
    assert!(first.ends_with("found none\n"), "{first}");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    let line = one_line(&crate::harness::Said { err: rest, ..said(ended) });
    let begin = format!("Error: nobody sent block {ABSENT} within 4s: asked 1 connected peer: ");
    assert!(line.starts_with(&begin), "{line}");
    assert!(lines(&b.repo, &["bitswap", "wantlist"]).is_empty());
    assert_eq!(post(&b.api(), "/api/v0/diag/fetches").json(), json!({ "Fetches": [] }));
    for command in [&["get"][..], &["ls"], &["pin", "add"], &["dag", "get"], &["block", "get"]] {
        let said = b.repo.run([command, &[ABSENT, "--timeout=300ms"]].concat());
        assert!(one_line(&said).contains(&format!("nobody sent block {ABSENT}")), "{command:?}");
    }
    assert!(lines(&b.repo, &["bitswap", "wantlist"]).is_empty());
}

#[test]
fn the_gateway_says_what_was_tried() {
    let (a, mut b) = (Node::start(), Node::start());
    b.repo.ok(["config", "Gateway.RetrievalTimeout", "3s"]);
    b.restart(|| ());
    b.connect(&a);
    let answer = ask(&b.gateway(), "GET", &format!("/ipfs/{ABSENT}"), &[]);
    let text = answer.text();
    assert!(answer.status == 504 && text.contains(ABSENT), "{} {text}", answer.status);
    assert!(text.contains("asked 1 connected peer: 1 does not have it"), "{text}");
}

#[test]
fn content_comes_from_the_node_that_is_named() {
    let a = Node::start();
    a.repo.file("d/f", keystream("from", 3 << 20));
    a.repo.file("d/g", "hello\n");
    let cid = a.repo.ok(["add", "-r", "-Q", "d"]);
    let nobody = a.address.replace(&format!("/tcp/{}", port(&a.address)), "/tcp/1");
    // No daemon here: the command itself goes online.
    let alone = Repo::for_daemon();
    let got = alone.ok(["get", &cid, "--from", &nobody, "--from", &a.address, "-o", "copy"]);
    assert!(got.contains("Saving file(s) to copy"), "{got}");
    assert_eq!(std::fs::read(alone.path("copy/f")).unwrap(), keystream("from", 3 << 20));
    a.awaits(0);
    assert_eq!(alone.ok(["cat", &format!("{cid}/g")]), "hello", "it stays in the store");
    let line = alone.fails(["cat", ABSENT, "--from", &nobody]);
    assert!(line.contains(&a.id) && line.contains("/tcp/1"), "{line}");
    // Long enough for a busy machine; what it waits for is told meanwhile.
    let said = alone.run(["cat", ABSENT, "--from", &a.address, "--timeout=3s"]);
    let asked = "within 3s: asked 1 connected peer: 1 does not have it";
    assert!(said.code == 1 && said.err.contains(asked), "{}", said.err);
    assert!(alone.fails(["cat", HELLO, "--from", "nonsense"]).contains("nonsense"));
    // A daemon does it for the command.
    let b = Node::start();
    assert_eq!(b.repo.ok(["cat", &format!("{cid}/g"), "--from", &a.address]), "hello");
    assert_eq!(b.peers(), [a.address.as_str()]);
}

/// The TCP port of an address.
fn port(address: &str) -> &str {
    address.split('/').nth(4).unwrap()
}

#[test]
fn without_a_daemon_nothing_is_told_of_the_network() {
    let repo = Repo::new();
    for command in [
        &["bitswap", "stat"][..],
        &["bitswap", "wantlist"],
        &["bitswap", "ledger", "12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8"],
        &["stats", "bitswap"],
    ] {
        let line = repo.fails(command);
        assert!(line.contains("must be run in online mode"), "{command:?}: {line}");
    }
}

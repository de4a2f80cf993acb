//! Bytes flipped at random in the files that hold content: the node starts every time, each block
//! that was hit is found, no other, and peers heal them. 16 MiB and 40 flips; 256 MiB and 1,000 with
//! `HENGE_SOAK=1`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use henge::ipld::cid::of_hash;
use henge::store::Store;
use henge::store::segments::record;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::damage::{database, flip};
use crate::harness::soak;
use crate::http_client::Connection;
use crate::surface::lines;
use crate::swarm::Node;
use crate::weigh::{self, Kept};

/// Endings of the files in which bytes are flipped.
const KINDS: [&str; 1] = ["seg"];
/// Time for a round of scrubbing and healing.
const SCRUB_TIME: Duration = Duration::from_secs(120);

struct Plan {
    files: usize,
    /// Size of one, in bytes.
    size: usize,
    /// Times that the node is stopped, hit and started again.
    rounds: usize,
    /// Bytes flipped each time.
    flips: usize,
    /// Makes segments short enough that there are some.
    limit: &'static str,
}

impl Plan {
    fn new() -> Self {
        match soak() {
            true => Self { files: 64, size: 4 << 20, rounds: 20, flips: 50, limit: "2GiB" },
            false => Self { files: 16, size: 1 << 20, rounds: 4, flips: 10, limit: "128MiB" },
        }
    }
}

/// Adds the same files to both nodes; gives those that stay.
fn fill(plan: &Plan, a: &Node, b: &Node) -> Vec<Kept> {
    let mut kept = Vec::new();
    for n in 0..plan.files {
        let seed = format!("flips-{n}");
        let [one, other] = [a, b].map(|node| weigh::add(&node.api(), &seed, plan.size).1.unwrap());
        assert_eq!(one.cid, other.cid);
        kept.push(one);
    }
    // Some of it is dead, and hurts nobody when it is hit.
    kept.pop().unwrap().unpin(&a.api());
    a.repo.ok(["repo", "gc", "-q"]);
    kept
}

/// Where the records of blocks lie, and whose they are: their first byte and the one behind, by file.
fn places(root: &Path) -> BTreeMap<PathBuf, Vec<(u64, u64, String)>> {
    let store = Store::open(&root.join("store")).unwrap();
    let mut places = BTreeMap::<_, Vec<_>>::new();
    let visit = &mut |hash: &_, row: henge::store::IndexRow| {
        let path = root.join(format!("store/segments/{:010}.seg", row.place.segment));
        let from = u64::from(row.place.offset);
        let to = from + record::length(hash, row.size);
        places.entry(path).or_default().push((from, to, of_hash(hash).to_string()));
        true
    };
    store.core().each_block(visit).unwrap();
    places
}

/// Flips bytes of a node that is stopped; gives the blocks whose records were hit.
fn hit(root: &Path, flips: usize, rng: &mut ChaCha8Rng) -> BTreeSet<String> {
    let places = places(root);
    let is_data = |path: &Path| KINDS.iter().any(|kind| path.extension() == Some(kind.as_ref()));
    let files: Vec<_> =
        database(root).into_iter().filter(|(path, size)| *size > 0 && is_data(path)).collect();
    let total: u64 = files.iter().map(|(_, size)| size).sum();
    let (mut flipped, mut hit) = (BTreeSet::new(), BTreeSet::new());
    while flipped.len() < flips {
        let mut at = rng.random_range(0..total);
        let (path, _) = files
            .iter()
            .find(|(_, size)| {
                let here = at < *size;
                at -= if here { 0 } else { *size };
                here
            })
            .unwrap();
        if flipped.insert((path.clone(), at)) {
            flip(path, at);
            let records = places.get(path).into_iter().flatten();
            let mut found = records.filter(|(from, to, _)| (*from..*to).contains(&at));
            hit.extend(found.next().map(|(_, _, cid)| cid.clone()));
        }
    }
    hit
}

/// What `repo verify` says is damaged.
fn verified(node: &Node) -> BTreeSet<String> {
    let said = node.repo.run(["repo", "verify"]);
    let text = said.text();
    // "block CID was corrupt (why)"
    let line = |line: &str| line.strip_prefix("block ")?.split(' ').next().map(str::to_owned);
    let found: BTreeSet<String> = text.lines().filter_map(line).collect();
    assert_eq!(said.code, i32::from(!found.is_empty()), "{text} {}", said.err);
    found
}

/// Figures of the node's, all of one moment.
fn figures<const N: usize>(node: &Node, names: [&str; N]) -> [u64; N] {
    let told = Connection::open(&node.api()).request("GET", "/debug/metrics/prometheus", &[]);
    let text = told.text();
    names.map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("henge_store_{name} ")));
        line.unwrap_or_else(|| panic!("no {name}")).parse::<f64>().unwrap() as u64
    })
}

/// `repo verify` finds what was hit, and fetches it.
fn found_by_verify(a: &Node, b: &Node, hit: &BTreeSet<String>) {
    assert_eq!(&verified(a), hit);
    a.connect(b);
    if !hit.is_empty() {
        let told = lines(&a.repo, &["repo", "verify", "--heal", "--heal-timeout=60s"]);
        let (n, last) = (hit.len(), told.last().unwrap());
        assert_eq!(last, &format!("verify complete, {n} blocks corrupt, {n} healed"));
    }
}

/// Scrubbing does the same by itself.
fn found_by_scrubbing(a: &Node, b: &Node, hit: &BTreeSet<String>, before: u64) {
    a.connect(b);
    let since = Instant::now();
    let found = loop {
        let [ended, found] = figures(a, ["scrub_ended_seconds", "scrub_found_blocks"]);
        if ended > before {
            break found;
        }
        assert!(since.elapsed() < SCRUB_TIME, "scrubbing does not end");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(found, hit.len() as u64);
    while figures(a, ["damaged_blocks"]) != [0] {
        assert!(since.elapsed() < SCRUB_TIME, "what scrubbing found is not healed");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn every_flipped_byte_is_found_and_healed() {
    let (plan, seed) = (Plan::new(), rand::random::<u64>());
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let addresses = json!(["/ip4/127.0.0.1/tcp/0"]);
    let settings = [
        ("Addresses.Swarm", addresses.clone()),
        ("Datastore.StorageMax", json!(plan.limit)),
        ("Datastore.ScrubRate", json!("0")),
        ("Datastore.ScrubPeriod", json!("5s")),
    ];
    let (mut a, b) = (Node::with(&settings), Node::with(&[("Addresses.Swarm", addresses)]));
    let (kept, root) = (fill(&plan, &a, &b), a.repo.root());
    let (mut flips, mut found, since) = (0, 0, Instant::now());
    for round in 0..plan.rounds {
        let scrubs = round % 2 == 1;
        let rate = json!(if scrubs { "1GB" } else { "0" }).to_string();
        a.repo.ok(["config", "--json", "Datastore.ScrubRate", &rate]);
        let (mut blocks, [before]) = (BTreeSet::new(), figures(&a, ["scrub_ended_seconds"]));
        a.restart(|| blocks = hit(&root, plan.flips, &mut rng));
        match scrubs {
            true => found_by_scrubbing(&a, &b, &blocks, before),
            false => found_by_verify(&a, &b, &blocks),
        }
        assert_eq!(verified(&a), BTreeSet::new());
        (flips, found) = (flips + plan.flips, found + blocks.len());
    }
    println!("{flips} flips hit {found} blocks, found and healed in {:?}", since.elapsed());
    // Of its own disk, not from the peer.
    b.stop();
    kept.iter().for_each(|kept| kept.reads_back(&a.api()));
    a.stop();
}

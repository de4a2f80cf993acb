//! Many pins in a running daemon, asked over one connection: telling how a block is kept, the first
//! row of a listing, and pinning another DAG do not cost their number. 5,000 pins; a million with
//! `HENGE_SOAK=1`.

use std::time::{Duration, Instant};

use henge::ipld::block::{Block, Prefix};
use henge::ipld::cid::{Cid, codec};
use henge::store::{Core, Mode, Pin, Store};

use crate::harness::{Daemon, Repo, soak};
use crate::http_client::{Connection, head};

/// Pins made in one operation.
const BATCH: u64 = 1000;
/// Requests of each kind; one in a hundred may be slower than the bar.
const REQUESTS: u64 = 200;
/// Listings whose first row is timed.
const LISTINGS: usize = 20;

fn block(n: u64) -> Block {
    Block::hashed(Prefix::v1(codec::RAW), n.to_be_bytes().to_vec().into()).unwrap()
}

/// A dag-cbor list of links, at most 23.
fn node(children: &[Cid]) -> Block {
    let mut bytes = vec![0x80 | u8::try_from(children.len()).unwrap()];
    for child in children {
        let cid = child.to_bytes();
        bytes.extend([0xd8, 42, 0x58, u8::try_from(cid.len() + 1).unwrap(), 0]);
        bytes.extend(cid);
    }
    Block::hashed(Prefix::v1(codec::DAG_CBOR), bytes.into()).unwrap()
}

/// A small DAG, root last: two folders over three leaves, of which none is another one's.
fn dag(n: u64) -> Vec<Block> {
    let leaf = |of| block(u64::MAX - (n * 3 + of));
    let leaves = [leaf(0), leaf(1), leaf(2)];
    let below = node(&[*leaves[0].cid(), *leaves[1].cid()]);
    let root = node(&[*below.cid(), *leaves[2].cid()]);
    leaves.into_iter().chain([below, root]).collect()
}

/// Some pins have names, some expire, far from now.
fn pin(n: u64, block: &Block) -> Pin {
    let name = if n.is_multiple_of(10) { format!("pin {n}") } else { String::new() };
    let expires = n.is_multiple_of(100).then_some(9_000_000_000 + n);
    Pin::new(*block.cid(), Mode::Recursive, &name).unwrap().expiring(expires).unwrap()
}

fn put(core: &Core, blocks: &[Block], pins: &[Pin]) {
    let mut writer = core.writer();
    blocks.iter().for_each(|block| _ = writer.put(block).unwrap());
    writer.commit(pins).unwrap();
}

/// Fills a repository that no daemon has open; also DAGs that are not pinned yet.
fn fill(repo: &Repo, pins: u64) {
    let store = Store::open(&repo.root().join("store")).unwrap();
    let core = store.core();
    for first in (0..pins).step_by(usize::try_from(BATCH).unwrap()) {
        let blocks: Vec<Block> = (first..first + BATCH).map(block).collect();
        let pins = (first..).zip(&blocks).map(|(n, block)| pin(n, block)).collect::<Vec<_>>();
        put(&core, &blocks, &pins);
    }
    let dags: Vec<Block> = (0..REQUESTS).flat_map(dag).collect();
    put(&core, &dags, &[]);
}

/// Waits until a process takes next to no time of the processor: the store compacts what a million
/// pins at a blow have left, and the bars are for a daemon at rest. A minute at most.
fn settle(pid: u32) {
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // Behind the name, which may hold spaces: the 12th and 13th, in hundredths of a second.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let times = fields.split(' ').skip(11).take(2);
        times.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>()
    };
    for _ in 0..120 {
        let before = ticks();
        std::thread::sleep(Duration::from_millis(500));
        if ticks() <= before + 1 {
            return;
        }
    }
}

/// A field of a process's status, in MiB.
fn mib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

/// Sends one request after the other and checks what is answered; gives the time of the slowest but
/// one in a hundred, and prints that of the one in the middle.
fn p99(
    connection: &mut Connection,
    mut target: impl FnMut(u64) -> String,
    status: u16,
    said: &str,
) -> Duration {
    let mut times = Vec::new();
    for n in 0..REQUESTS {
        let target = format!("/api/v0/{}", target(n));
        let since = Instant::now();
        let answer = connection.request("POST", &target, &[]);
        times.push(since.elapsed());
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(said), "{}", answer.text());
    }
    times.sort();
    println!("{said:?}: half of them within {:?}", times[times.len() / 2]);
    times[times.len() * 99 / 100]
}

/// Asks for a listing; the time to its first row.
fn first_row(connection: &mut Connection) -> Duration {
    let since = Instant::now();
    let target = "/api/v0/pin/ls?stream=true&type=recursive";
    connection.write(head("POST", target, &[]).as_bytes());
    assert_eq!(connection.head().0, 200);
    let row = connection.chunk().unwrap();
    let time = since.elapsed();
    let row: serde_json::Value = serde_json::from_slice(row.trim_ascii()).unwrap();
    assert_eq!(row["Type"], "recursive");
    time
}

/// The rest of it; how many rows.
fn rows(connection: &mut Connection) -> usize {
    let mut rows = 0;
    while let Some(chunk) = connection.chunk() {
        rows += chunk.iter().filter(|byte| **byte == b'\n').count();
    }
    assert!(connection.fields().is_empty());
    rows
}

#[test]
fn a_million_pins() {
    let pins: u64 = if soak() { 1_000_000 } else { 5_000 };
    let (repo, since) = (Repo::for_daemon(), Instant::now());
    fill(&repo, pins);
    println!("{pins} pins made in {:?}", since.elapsed());
    let since = Instant::now();
    let daemon = Daemon::offline(&repo);
    println!("ready after {:?}, {} MiB", since.elapsed(), mib(daemon.pid(), "VmRSS:"));
    settle(daemon.pid());
    println!("at rest after {:?}", since.elapsed());
    let mut connection = Connection::open(&daemon.api());
    // Asked of a daemon that was asked before: the first ones also read what finds rows at all.
    let own = |n| format!("pin/ls?arg={}", block(n * (pins / REQUESTS)).cid());
    let cold = p99(&mut connection, own, 200, "recursive");
    let own = |n| format!("pin/ls?arg={}", block(n * (pins / REQUESTS) + 1).cid());
    let hit = p99(&mut connection, own, 200, "recursive");
    let absent = |n| format!("pin/ls?arg={}", block(pins + n).cid());
    let miss = p99(&mut connection, absent, 500, "is not pinned");
    let root = |n| format!("pin/add?arg={}", dag(n).last().unwrap().cid());
    let add = p99(&mut connection, root, 200, "Pins");
    let leaf = |n| format!("pin/ls?arg={}", dag(n)[0].cid());
    let indirect = p99(&mut connection, leaf, 200, "indirect through");
    println!(
        "p99: first hits {cold:?}, hit {hit:?}, miss {miss:?}, indirect {indirect:?}, add {add:?}"
    );
    let mut first = first_row(&mut connection);
    let since = Instant::now();
    // The newline that ends the first row came with it, in a chunk of its own or not.
    let all = rows(&mut connection);
    let (listing, wanted) = (since.elapsed(), usize::try_from(pins + REQUESTS).unwrap());
    assert!((wanted - 1..=wanted).contains(&all), "{all} rows of {wanted}");
    for _ in 0..LISTINGS {
        let mut other = Connection::open(&daemon.api());
        assert_eq!(other.request("POST", "/api/v0/version", &[]).status, 200);
        first = first.max(first_row(&mut other));
    }
    let since = Instant::now();
    let whole = connection.request("POST", "/api/v0/pin/ls?type=recursive", &[]);
    assert_eq!(whole.text().matches("\"Type\"").count(), wanted);
    println!("all of them in one value in {:?}", since.elapsed());
    let (resident, peak) = (mib(daemon.pid(), "VmRSS:"), mib(daemon.pid(), "VmHWM:"));
    println!("first row {first:?}, the others in {listing:?}; {resident} MiB, at most {peak}");
    // Beside other tests, on whatever machine, the bars only catch what costs the number of pins.
    let slack = if soak() { 1 } else { 50 };
    let bar = |ms: u64| Duration::from_millis(ms * slack);
    assert!(hit < bar(1) && miss < bar(1) && indirect < bar(1), "{hit:?} {miss:?} {indirect:?}");
    assert!(first < bar(10) && add < bar(20), "{first:?} {add:?}");
    assert!(resident < 200, "{resident} MiB");
    daemon.stop();
}

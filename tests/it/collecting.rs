//! Collecting costs the garbage and not the store: 400 blocks of garbage among 2,000 and 20,000;
//! 2,000 among 10,000 and 1,000,000 with `HENGE_SOAK=1`. What is added beside it hardly waits, and the
//! space is there again at once.

use std::io::Cursor;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use henge::dag::import::{Content, Entry};
use henge::ipld::block::{Block, Prefix};
use henge::ipld::cid::{Cid, codec};
use henge::node::Meta;
use henge::node::Node;
use henge::node::add::{AddEvent, AddOptions};
use henge::store::{Core, Store, StoreError, Tuning};

use crate::harness::{Daemon, Repo, keystream, open_here, soak};
use crate::store_faults::{collect, node, recursive};
use crate::weigh::{self, MIB, ratio};

/// Links of a node.
const LINKS: usize = 100;
/// Blocks below a pinned root.
const BELOW: u64 = 1000;
/// Adds that are timed.
const ADDS: usize = 200;
/// Collections that are timed.
const ROUNDS: usize = 7;
/// Time to come to rest.
const REST: Duration = Duration::from_secs(300);

struct Plan {
    few: u64,
    many: u64,
    garbage: u64,
    /// Most that collecting among many may cost of what it costs among few.
    times: f64,
    /// Time within which all adds but one in a hundred are done.
    add: Duration,
    /// Most bytes on the disk for each that lives.
    taken: f64,
}

impl Plan {
    fn new() -> Self {
        let ms = Duration::from_millis;
        let (few, many, garbage) =
            if soak() { (10_000, 1_000_000, 2000) } else { (2000, 20_000, 400) };
        // Beside other tests, on whatever machine, the bars only catch what costs the store.
        let (times, add, taken) = if soak() { (3.0, ms(50), 1.2) } else { (8.0, ms(2000), 1.5) };
        Self { few, many, garbage, times, add, taken }
    }
}

/// A block of 1 KiB.
fn block(kind: &str, n: u64) -> Block {
    let bytes = keystream(&format!("collecting-{kind}-{n}"), 1024);
    Block::hashed(Prefix::v1(codec::RAW), bytes.into()).unwrap()
}

/// Blocks below a root, which comes last.
fn tree(kind: &str, from: u64, to: u64) -> Vec<Block> {
    let mut all: Vec<Block> = (from..to).map(|n| block(kind, n)).collect();
    let above = |blocks: &[Block]| {
        let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
        node(Prefix::v1(codec::DAG_PB), &cids)
    };
    let nodes: Vec<Block> = all.chunks(LINKS).map(above).collect();
    let root = above(&nodes);
    all.extend(nodes);
    all.push(root);
    all
}

/// Adds a tree with a pin on its root.
fn add_tree(core: &Core, tree: &[Block]) -> Result<(), StoreError> {
    let mut writer = core.writer();
    tree.iter().try_for_each(|block| writer.put(block).map(drop))?;
    writer.commit(&[recursive(tree.last().unwrap().cid())])
}

/// A repository of so many pinned blocks.
fn filled(blocks: u64) -> Repo {
    let (repo, since) = (Repo::for_daemon(), Instant::now());
    let store = Store::open(&repo.root().join("store")).unwrap();
    for from in (0..blocks).step_by(usize::try_from(BELOW).unwrap()) {
        add_tree(&store.core(), &tree("held", from, from + BELOW)).unwrap();
    }
    println!("{blocks} blocks in {:?}", since.elapsed());
    repo
}

/// Adds garbage, and collects it; gives how long that took.
fn collects(core: &Core, garbage: &[Block]) -> Duration {
    // What an operation in flight may rely on stays: one block in 2,000 or so looks like one.
    let enough = garbage.len() * 99 / 100;
    assert!(core.put_unpinned(garbage).unwrap().len() >= enough);
    let (mut freed, since) = (0, Instant::now());
    core.collect(&mut |_| {
        freed += 1;
        true
    })
    .unwrap();
    let took = since.elapsed();
    assert!(freed >= enough, "{freed} of {}", garbage.len());
    took
}

/// Adds a file of 256 KiB; gives how long that took.
async fn add(node: &Node, n: usize) -> Duration {
    let content = keystream(&format!("collecting-add-{n}"), 256 << 10);
    let content = Content::File(Box::new(Cursor::new(content)));
    let path = vec![Bytes::from_static(b"file")];
    let entry = Entry { path, content, meta: Meta::NONE };
    let (source, since) = (Box::new(std::iter::once(Ok(entry))), Instant::now());
    let options = AddOptions::default();
    let mut events = node.add(source, options).await.unwrap();
    let mut added = false;
    while let Some(event) = events.recv().await {
        added |= matches!(event.unwrap(), AddEvent::Added { .. });
    }
    assert!(added);
    since.elapsed()
}

/// Adds files while garbage comes and goes; gives the times, the fastest first, and the number of
/// collections.
fn adds_beside(node: &Node, garbage: &[Block]) -> (Vec<Duration>, usize) {
    let over = AtomicBool::new(false);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            let (core, mut rounds) = (node.store().core(), 0);
            while !over.load(Ordering::Relaxed) {
                collects(&core, garbage);
                rounds += 1;
            }
            rounds
        });
        let mut times: Vec<_> = (0..ADDS).map(|n| runtime.block_on(add(node, n))).collect();
        over.store(true, Ordering::Relaxed);
        times.sort();
        (times, collecting.join().unwrap())
    })
}

/// What collecting costs in a repository of so many blocks, in the middle, and what an add beside it
/// takes but for one in a hundred.
fn measure(repo: &Repo, plan: &Plan) -> (Duration, Duration) {
    let (node, _lock) = open_here(&repo.root()).unwrap();
    let core = node.store().core();
    let garbage: Vec<Block> = (0..plan.garbage).map(|n| block("dead", n)).collect();
    let mut times: Vec<_> = (0..ROUNDS).map(|_| collects(&core, &garbage)).collect();
    times.sort();
    println!("collecting {}: {times:?}", plan.garbage);
    let (adds, rounds) = adds_beside(&node, &garbage);
    let p99 = adds[ADDS * 99 / 100];
    println!("adds beside {rounds} collections: half within {:?}, p99 {p99:?}", adds[ADDS / 2]);
    core.compact().unwrap();
    (times[ROUNDS / 2], p99)
}

/// Waits until the disk holds little more than what lives, five minutes at most.
fn comes_to_rest(repo: &Repo, plan: &Plan) {
    let daemon = Daemon::offline(repo);
    let since = Instant::now();
    let left = loop {
        let (taken, live) = (weigh::du(&repo.root()), weigh::live(&daemon.api()));
        let left = ratio(taken, live);
        if left <= plan.taken || since.elapsed() > REST {
            println!("{taken} bytes on the disk for {live} that live: {left:.3}");
            break left;
        }
        std::thread::sleep(Duration::from_secs(1));
    };
    println!("{:.3} for each byte of blocks, after {:?}", left * 1066.0 / 1024.0, since.elapsed());
    assert!(left <= plan.taken, "{left:.3}");
    daemon.stop();
}

#[test]
fn collecting_costs_the_garbage_and_not_the_store() {
    let plan = Plan::new();
    let (few, p99_few) = measure(&filled(plan.few), &plan);
    let repo = filled(plan.many);
    let (many, p99_many) = measure(&repo, &plan);
    let times = many.as_secs_f64() / few.as_secs_f64();
    println!("{many:?} among {}, {few:?} among {}: {times:.2}", plan.many, plan.few);
    assert!(times <= plan.times, "{times:.2}");
    assert!(p99_few.max(p99_many) < plan.add, "{p99_few:?} {p99_many:?}");
    comes_to_rest(&repo, &plan);
}

#[test]
fn the_space_of_garbage_is_there_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let tuning = Tuning { limit: 48 * MIB, ..Tuning::default() };
    let store = Store::open_with(&dir.path().join("store"), tuning).unwrap();
    let core = store.core();
    let mut trees = Vec::new();
    for n in 0.. {
        let tree = tree("space", n * BELOW, (n + 1) * BELOW);
        match add_tree(&core, &tree) {
            Ok(()) => trees.push(tree),
            Err(StoreError::NoRoom { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    println!("{} MB fit below 48 MiB", trees.len());
    // The first fill has no rows of what is gone beside it, so a part of that is not asked for again.
    let (mut gone, again) = (trees.len() / 2, trees.len() * 3 / 8);
    assert!(again >= 5, "{again}");
    for round in 0..4 {
        for tree in trees.drain(..gone) {
            core.unpin(tree.last().unwrap().cid(), true).unwrap();
        }
        collect(&core).unwrap();
        for n in 0..again as u64 {
            let tree = tree(&format!("round {round}"), n * BELOW, (n + 1) * BELOW);
            add_tree(&core, &tree).unwrap();
            trees.push(tree);
        }
        gone = again;
    }
    let sound = |block: &Block| core.get(block.cid()).unwrap().as_ref() == Some(block);
    assert!(trees.iter().flatten().all(sound));
}

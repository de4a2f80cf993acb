//! The store's promise under faults: a pinned DAG is whole after a crash at any write, another pin
//! that shares a part of it loses nothing, and what nobody pins is freed.

use std::collections::BTreeSet;

use bytes::Bytes;
use henge::ipld::block::{Block, Prefix};
use henge::ipld::cid::{Cid, Multihash, codec, hash};
use henge::ipld::codec as codecs;
use henge::ipld::codec::dag_pb::{Link, Node};
use henge::store::backend::Family;
use henge::store::{Core, Mode, Pin, StoreError};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::faulty::{Death, Disk};

pub const SHA2_512: u64 = 0x13;

pub fn raw(text: &str) -> Block {
    Block::hashed(Prefix::v1(codec::RAW), Bytes::from(text.to_owned())).unwrap()
}

pub fn node(prefix: Prefix, children: &[Cid]) -> Block {
    let link = |cid: &Cid| Link { cid: *cid, name: Some(Bytes::new()), tsize: None };
    let node = Node { links: children.iter().map(link).collect(), data: None };
    Block::hashed(prefix, node.encode().into()).unwrap()
}

pub fn parent(children: &[&Block]) -> Block {
    let cids: Vec<Cid> = children.iter().map(|block| *block.cid()).collect();
    node(Prefix::v1(codec::DAG_PB), &cids)
}

pub fn recursive(cid: &Cid) -> Pin {
    Pin::new(*cid, Mode::Recursive, "named").unwrap()
}

pub fn add(core: &Core, blocks: &[&Block], pins: &[Pin]) -> Result<(), StoreError> {
    let mut writer = core.writer();
    if !pins.is_empty() {
        writer = writer.to_be_pinned();
    }
    for block in blocks {
        writer.put(block)?;
    }
    writer.commit(pins)
}

pub fn collect(core: &Core) -> Result<(), StoreError> {
    core.collect(&mut |_| true)
}

pub fn pins(core: &Core) -> Vec<Pin> {
    let mut found = Vec::new();
    core.each_pin(&mut |pin| {
        found.push(pin);
        true
    })
    .unwrap();
    found
}

/// Everything that the pins keep, found by reading and hashing it.
pub fn kept(core: &Core) -> BTreeSet<Vec<u8>> {
    let (mut seen, mut hashes) = (BTreeSet::new(), BTreeSet::new());
    for pin in pins(core) {
        let mut stack = vec![pin.cid];
        while let Some(cid) = stack.pop() {
            if !seen.insert((cid.codec(), cid.hash().to_bytes(), pin.mode == Mode::Direct)) {
                continue;
            }
            let found = core.get(&cid).unwrap();
            let block = found.unwrap_or_else(|| panic!("{cid} below {} is lost", pin.cid));
            Block::verified(cid, block.data().clone()).unwrap();
            if cid.hash().code() != hash::IDENTITY {
                hashes.insert(cid.hash().to_bytes());
            }
            if pin.mode == Mode::Recursive {
                codecs::links(cid.codec(), block.data(), &mut |cid| stack.push(cid)).unwrap();
            }
        }
    }
    hashes
}

pub fn present(core: &Core) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    core.each_block(&mut |hash: &Multihash, _| found.insert(hash.to_bytes())).unwrap();
    found
}

/// Removes every pin and all garbage: nothing may be left of anything.
pub fn empties(disk: &Disk, context: &str) {
    let core = disk.open().core();
    for pin in pins(&core) {
        core.unpin(&pin.cid, true).unwrap();
    }
    collect(&core).unwrap();
    assert_eq!(core.totals(), (0, 0), "{context}");
    core.compact().unwrap();
    assert_eq!(disk.bytes(), 0, "{context}: bytes left in segments");
    for family in [Family::Index, Family::Loose, Family::Edges, Family::Pins] {
        assert_eq!(disk.rows(family), [], "{context}: rows left in {}", family.name());
    }
}

/// Lets an operation die at each of its writes, in both ways, and checks each next life.
/// `safe` are pins that the operation does not touch; gives the number of deaths.
fn dies_everywhere(
    name: &str,
    before: &Disk,
    safe: &[Cid],
    operation: impl Fn(&Core) -> Result<(), StoreError>,
) -> usize {
    let mut deaths = 0;
    for death in [Death::Process, Death::Power, Death::Ahead] {
        for writes in 0.. {
            let context = format!("{name}, {death:?} after {writes} writes");
            let disk = before.duplicate();
            let (store, life) = disk.live(death, writes);
            let outcome = operation(&store.core());
            if outcome.is_ok() {
                break;
            }
            assert!(life.over(), "{context}: {outcome:?}");
            deaths += 1;
            let core = disk.open().core();
            assert!(safe.iter().all(|cid| core.pin_row(cid).unwrap().is_some()), "{context}");
            kept(&core);
            // What a crash left is garbage at once, and exactly that.
            let collected = disk.duplicate();
            let core = collected.open().core();
            collect(&core).unwrap();
            assert_eq!(kept(&core), present(&core), "{context}: after gc");
            empties(&collected, &context);
            // The same again, over what the crash left and without a GC in between.
            let again = disk.duplicate();
            let core = again.open().core();
            match operation(&core) {
                Ok(()) | Err(StoreError::Pin(_)) => {}
                Err(error) => panic!("{context}, again: {error}"),
            }
            kept(&core);
            collect(&core).unwrap();
            assert_eq!(kept(&core), present(&core), "{context}: again, after gc");
            empties(&again, &context);
        }
    }
    deaths
}

/// `width` nodes over `leaves` raw blocks each, and a root. Long hashes make many bytes of edges
/// out of few of them: at 16 x 600 they fill more than one batch.
struct Wide {
    blocks: Vec<Block>,
    middle: Vec<Cid>,
    root: Cid,
}

fn wide(name: &str, width: usize, leaves: usize) -> Wide {
    let prefix = |codec| Prefix { hash: SHA2_512, ..Prefix::v1(codec) };
    let (mut blocks, mut middle) = (Vec::new(), Vec::new());
    for m in 0..width {
        let mut children = Vec::new();
        for l in 0..leaves {
            let text = Bytes::from(format!("{name} {m} {l}"));
            let leaf = Block::hashed(prefix(codec::RAW), text).unwrap();
            children.push(*leaf.cid());
            blocks.push(leaf);
        }
        let parent = node(prefix(codec::DAG_PB), &children);
        middle.push(*parent.cid());
        blocks.push(parent);
    }
    let root = node(prefix(codec::DAG_PB), &middle);
    let cid = *root.cid();
    blocks.push(root);
    Wide { blocks, middle, root: cid }
}

fn refs(blocks: &[Block]) -> Vec<&Block> {
    blocks.iter().collect()
}

#[test]
fn a_small_add_dies_anywhere() {
    let (leaf, other) = (raw("leaf"), raw("other"));
    let shared = parent(&[&leaf]);
    let (one, two) = (parent(&[&shared]), parent(&[&shared, &other]));
    let disk = Disk::default();
    add(&disk.open().core(), &[&leaf, &shared, &one], &[recursive(one.cid())]).unwrap();
    let operation =
        |core: &Core| add(core, &[&leaf, &shared, &other, &two], &[recursive(two.cid())]);
    assert!(dies_everywhere("small add", &disk, &[*one.cid()], operation) >= 4);
}

#[test]
fn a_large_add_dies_anywhere() {
    let leaf = |n: u64| {
        let bytes = n.to_be_bytes().repeat(32 << 10);
        Block::hashed(Prefix::v1(codec::RAW), bytes.into()).unwrap()
    };
    let leaves: Vec<Block> = (0..40).map(leaf).collect();
    let root = parent(&refs(&leaves));
    let held = parent(&[&leaves[0], &leaves[39]]);
    let disk = Disk::default();
    let pin = recursive(held.cid());
    add(&disk.open().core(), &[&leaves[0], &leaves[39], &held], &[pin]).unwrap();
    let mut blocks = refs(&leaves);
    blocks.push(&root);
    let operation = |core: &Core| add(core, &blocks, &[recursive(root.cid())]);
    assert!(dies_everywhere("large add", &disk, &[*held.cid()], operation) >= 10);
}

/// Too many blocks for one batch: a DAG of nodes and leaves at random, some leaves in several nodes, and
/// its root. Children come before their nodes.
fn grown(rng: &mut ChaCha8Rng, count: usize) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut free, salt): (Vec<Cid>, u64) = (Vec::new(), rng.random());
    for n in 0..count {
        let block = match free.len() {
            few if few < 3 || rng.random_bool(0.9) => raw(&format!("{salt} {n}")),
            many => {
                let own = rng.random_range(1..many.min(200));
                let mut children = free.split_off(many - own);
                for _ in 0..rng.random_range(0..3) {
                    children.push(*blocks[rng.random_range(0..blocks.len())].cid());
                }
                node(Prefix::v1(codec::DAG_PB), &children)
            }
        };
        free.push(*block.cid());
        blocks.push(block);
    }
    blocks.push(node(Prefix::v1(codec::DAG_PB), &free));
    blocks
}

#[test]
fn an_import_of_many_nodes_dies_anywhere() {
    let seed = rand::random();
    println!("HENGE_SEED={seed}");
    let blocks = grown(&mut ChaCha8Rng::seed_from_u64(seed), 2500);
    let root = *blocks.last().unwrap().cid();
    let held = parent(&[&blocks[0], &blocks[1]]);
    let disk = Disk::default();
    let pin = recursive(held.cid());
    add(&disk.open().core(), &[&blocks[0], &blocks[1], &held], &[pin]).unwrap();
    let operation = |core: &Core| add(core, &refs(&blocks), &[recursive(&root)]);
    assert!(dies_everywhere("many nodes", &disk, &[*held.cid()], operation) >= 10);
}

/// Rows that are written beside blocks are those that a walk writes afterwards, whatever the order in
/// which blocks come.
#[test]
fn an_import_writes_the_edges_that_a_walk_would() {
    let seed = rand::random();
    println!("HENGE_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for round in 0..20 {
        let blocks = grown(&mut rng, 1500 + round * 50);
        let pins = [recursive(blocks.last().unwrap().cid())];
        let mut mixed = refs(&blocks);
        mixed.shuffle(&mut rng);
        let walked: Vec<&Block> = blocks.iter().rev().collect();
        let rows = |order: &[&Block], before: &[&Block]| {
            let disk = Disk::default();
            let core = disk.open().core();
            add(&core, before, &[]).unwrap();
            add(&core, order, &pins).unwrap();
            assert_eq!(disk.rows(Family::Loose), [], "round {round}");
            let index = disk.rows(Family::Index).into_iter().map(|(key, _)| key);
            (index.collect::<Vec<_>>(), disk.rows(Family::Edges))
        };
        let wanted = rows(&walked, &[]);
        assert!(rows(&refs(&blocks), &[]) == wanted, "round {round}");
        assert!(rows(&mixed, &[]) == wanted, "round {round}, mixed");
        // Some are here already, loose: leaves, nodes, and nodes without their leaves.
        let here: Vec<&Block> = mixed.iter().copied().take(1400).collect();
        assert!(rows(&refs(&blocks), &here) == wanted, "round {round}, some here");
    }
}

#[test]
fn pinning_dies_between_its_batches() {
    let dag = wide("pin", 16, 600);
    let disk = Disk::default();
    let core = disk.open().core();
    add(&core, &refs(&dag.blocks), &[recursive(&dag.middle[3])]).unwrap();
    let operation = |core: &Core| core.pin(&recursive(&dag.root));
    let deaths = dies_everywhere("pin", &disk, &[dag.middle[3]], operation);
    assert!(deaths >= 4, "the edges fill several batches: {deaths}");
    let whole = |core: &Core| add(core, &refs(&dag.blocks), &[recursive(&dag.root)]);
    dies_everywhere("add over it", &disk, &[dag.middle[3]], whole);
}

#[test]
fn a_node_was_complete_before_its_fetched_children_were_on_the_disk() {
    let dag = wide("fetched", 4, 600);
    let operation = |core: &Core| {
        core.put_unpinned(&dag.blocks)?;
        core.pin(&recursive(&dag.root))
    };
    assert!(dies_everywhere("fetch and pin", &Disk::default(), &[], operation) >= 8);
}

#[test]
fn a_pin_that_failed_beside_another_left_a_dag_that_nothing_found() {
    let disk = Disk::default();
    let core = disk.open().core();
    let (leaf, absent) = (raw("leaf"), raw("absent"));
    let small = parent(&[&leaf]);
    // Enough edges to be written before what is missing is met.
    let dag = wide("large", 3, 800);
    let large = node(Prefix::v1(codec::DAG_PB), &[dag.root, *absent.cid()]);
    let mut blocks = refs(&dag.blocks);
    blocks.extend([&leaf, &small, &large]);
    add(&core, &blocks, &[]).unwrap();
    let pins = [recursive(small.cid()), recursive(large.cid())];
    assert!(matches!(core.pin_all(&pins), Err(StoreError::Missing(_))));
    assert!(pins.iter().all(|pin| core.pin_row(&pin.cid).unwrap().is_none()));
    drop(core);
    empties(&disk, "after the failure");
}

#[test]
fn unpinning_dies_between_its_batches() {
    let dag = wide("unpin", 16, 40);
    let over = node(Prefix::v1(codec::DAG_PB), &dag.middle[..5]);
    let disk = Disk::default();
    let core = disk.open().core();
    let mut blocks = refs(&dag.blocks);
    blocks.push(&over);
    let safe = [dag.middle[7], *over.cid()];
    let pins = [recursive(&dag.root), recursive(&safe[0]), recursive(&safe[1])];
    add(&core, &blocks, &pins).unwrap();
    let unpin = |core: &Core| core.unpin(&dag.root, true);
    assert!(dies_everywhere("unpin", &disk, &safe, unpin) >= 2);
    let repin = |core: &Core| match core.pin_row(&dag.root)? {
        Some(_) => core.unpin(&dag.root, true).and_then(|()| core.pin(&recursive(&dag.root))),
        None => core.pin(&recursive(&dag.root)),
    };
    assert!(dies_everywhere("unpin and pin again", &disk, &safe, repin) >= 4);
}

#[test]
fn collecting_dies_between_its_batches() {
    let dag = wide("gc", 8, 400);
    let disk = Disk::default();
    let core = disk.open().core();
    let safe = [dag.middle[1], dag.middle[6]];
    let pins = [recursive(&dag.root), recursive(&safe[0]), recursive(&safe[1])];
    add(&core, &refs(&dag.blocks), &pins).unwrap();
    core.unpin(&dag.root, true).unwrap();
    drop(core);
    assert!(dies_everywhere("gc", &disk, &safe, collect) >= 12);
}

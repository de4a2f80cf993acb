//! Collecting beside everything else: nobody waits for it, and what an operation in flight relies on
//! stays, whoever lets go of it meanwhile.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use henge::ipld::block::{Block, Prefix};
use henge::ipld::cid::{Cid, codec};
use henge::store::{Core, Put, Store, StoreError};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::harness::soak;
use crate::store_faults::{add, collect, kept, node, parent, present, raw, recursive};

#[test]
fn what_an_operation_met_or_put_stays_until_it_ends() {
    let store = Store::in_memory().unwrap();
    let core = store.core();
    let (met, put, other) = (raw("met"), raw("put"), raw("other"));
    add(&core, &[&met, &other], &[]).unwrap();
    let mut writer = core.writer();
    assert_eq!(writer.put(&met).unwrap(), Put::Known);
    assert_eq!(writer.put(&put).unwrap(), Put::New);
    collect(&core).unwrap();
    assert!(core.get(met.cid()).unwrap().is_some(), "the operation was told that it is here");
    assert!(core.get(other.cid()).unwrap().is_none());
    assert!(core.remove(met.cid()).unwrap_err().to_string().contains("in use"));
    let root = parent(&[&met, &put]);
    writer.put(&root).unwrap();
    writer.commit(&[recursive(root.cid())]).unwrap();
    collect(&core).unwrap();
    assert_eq!(kept(&core).len(), 3);
}

#[test]
fn what_a_dead_operation_made_visible_is_garbage() {
    let store = Store::in_memory().unwrap();
    let core = store.core();
    let block = |n: u32| {
        Block::hashed(Prefix::v1(codec::RAW), Bytes::from(n.to_be_bytes().to_vec())).unwrap()
    };
    let mut writer = core.writer();
    // Beyond the rows that are held back.
    (0..70_000).for_each(|n| assert_eq!(writer.put(&block(n)).unwrap(), Put::New));
    assert!(core.get(block(7).cid()).unwrap().is_some());
    collect(&core).unwrap();
    assert!(
        (0..70_000).step_by(97).all(|n| n >= 65_536 || core.get(block(n).cid()).unwrap().is_some())
    );
    drop(writer);
    collect(&core).unwrap();
    assert_eq!(core.totals(), (0, 0));
}

#[test]
fn a_block_below_what_was_unpinned_can_be_removed() {
    let store = Store::in_memory().unwrap();
    let core = store.core();
    let leaf = raw("leaf");
    let middle = parent(&[&leaf]);
    let (one, two) = (parent(&[&middle]), parent(&[&middle, &leaf]));
    let pins = [recursive(one.cid()), recursive(two.cid())];
    add(&core, &[&leaf, &middle, &one, &two], &pins).unwrap();
    core.unpin(one.cid(), true).unwrap();
    assert!(core.remove(leaf.cid()).unwrap_err().to_string().contains("indirect"));
    core.unpin(two.cid(), true).unwrap();
    assert!(core.remove(leaf.cid()).unwrap());
    assert!(core.get(one.cid()).unwrap().is_some(), "that one alone");
    assert!(matches!(core.pin(&recursive(one.cid())), Err(StoreError::Missing(_))));
    collect(&core).unwrap();
    assert_eq!(core.totals(), (0, 0));
}

/// Everybody at once, over the same few blocks.
struct Crowd {
    core: Arc<Core>,
    /// Blocks from the bottom up: each links to some before it.
    blocks: Vec<Block>,
    over: AtomicBool,
    pins: AtomicUsize,
    lost: Mutex<Vec<String>>,
}

impl Crowd {
    fn new(core: Arc<Core>, rng: &mut ChaCha8Rng) -> Self {
        let mut blocks: Vec<Block> = (0..20).map(|n| raw(&format!("leaf {n}"))).collect();
        for _ in 0..30 {
            let some: Vec<Cid> = (0..rng.random_range(1..5))
                .map(|_| *blocks[rng.random_range(0..blocks.len())].cid())
                .collect();
            let block = node(Prefix::v1(codec::DAG_PB), &some);
            // Each is pinned by one alone.
            if !blocks.contains(&block) {
                blocks.push(block);
            }
        }
        Self { core, blocks, over: AtomicBool::new(false), pins: 0.into(), lost: Mutex::default() }
    }

    /// Everything below a block, the block last.
    fn below(&self, root: usize) -> Vec<&Block> {
        let (mut wanted, mut found) = (vec![*self.blocks[root].cid()], Vec::new());
        for block in self.blocks[..=root].iter().rev() {
            if wanted.contains(block.cid()) {
                found.push(block);
                let code = block.cid().codec();
                henge::ipld::codec::links(code, block.data(), &mut |cid| wanted.push(cid)).unwrap();
            }
        }
        found.reverse();
        found
    }

    /// Adds, pins and unpins one's own roots; each is whole from its acknowledgement to its unpin.
    fn act(&self, own: &[usize], mut rng: ChaCha8Rng) {
        let mut pinned: Vec<usize> = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            let root = own[rng.random_range(0..own.len())];
            let cid = self.blocks[root].cid();
            if let Some(at) = pinned.iter().position(|p| *p == root) {
                for block in self.below(root) {
                    if !matches!(self.core.get(block.cid()), Ok(Some(_))) {
                        let said = format!("{} below {cid}, which is pinned", block.cid());
                        self.lost.lock().unwrap().push(said);
                    }
                }
                self.core.unpin(cid, true).unwrap();
                pinned.swap_remove(at);
                continue;
            }
            let outcome = match rng.random_range(0..3) {
                0 => self.core.pin(&recursive(cid)),
                1 => {
                    let fetched: Vec<Block> = self.below(root).into_iter().cloned().collect();
                    let intent = self.core.intend();
                    for block in &fetched {
                        self.core.look(&intent, block.cid().hash()).unwrap();
                    }
                    self.core.put_unpinned(&fetched).unwrap();
                    self.core.pin(&recursive(cid))
                }
                _ => add(&self.core, &self.below(root), &[recursive(cid)]),
            };
            match outcome {
                Ok(()) => {
                    self.pins.fetch_add(1, Ordering::Relaxed);
                    pinned.push(root);
                }
                // Not here, and nobody promised that it is.
                Err(StoreError::Missing(_)) => {}
                Err(error) => self.lost.lock().unwrap().push(error.to_string()),
            }
        }
        for root in pinned {
            self.core.unpin(self.blocks[root].cid(), true).unwrap();
        }
    }
}

fn everybody_at_once(store: &Store, time: Duration) {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let crowd = Crowd::new(store.core(), &mut rng);
    let roots: Vec<usize> = (10..crowd.blocks.len()).collect();
    let began = Instant::now();
    let mut rounds = 0;
    std::thread::scope(|scope| {
        for own in roots.chunks(11) {
            let (crowd, rng) = (&crowd, ChaCha8Rng::seed_from_u64(rng.random()));
            scope.spawn(move || crowd.act(own, rng));
        }
        while began.elapsed() < time {
            collect(&crowd.core).unwrap();
            crowd.core.compact().unwrap();
            if rounds % 7 == 0 {
                crowd.core.evict(1 << 20).unwrap();
            }
            rounds += 1;
        }
        crowd.over.store(true, Ordering::Relaxed);
    });
    let pins = crowd.pins.load(Ordering::Relaxed);
    println!("{pins} pins beside {rounds} collections");
    assert_eq!(*crowd.lost.lock().unwrap(), [""; 0]);
    assert!(pins > 20 && rounds > 3, "{pins} {rounds}");
    collect(&crowd.core).unwrap();
    assert_eq!(kept(&crowd.core), present(&crowd.core));
    assert_eq!(crowd.core.totals(), (0, 0));
}

#[test]
fn pins_are_whole_while_everybody_lets_go_and_collects() {
    let seconds = if soak() { 120 } else { 3 };
    everybody_at_once(&Store::in_memory().unwrap(), Duration::from_secs(seconds));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    everybody_at_once(&store, Duration::from_secs(seconds));
}

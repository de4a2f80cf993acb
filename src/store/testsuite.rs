//! What every backend must do, run over each of them, and the store's own behaviour over one.

use bytes::Bytes;

use super::backend::{Backend, Batch, Family};
use super::keys::{Figure, segment};
use super::pins::{Mode, Pin, PinState};
use super::{Core, Freed, Put, Store, StoreError};
use crate::ipld::block::{Block, Prefix};
use crate::ipld::cid::{Cid, codec};
use crate::ipld::codec::dag_pb::{Link, Node};

/// Runs the suite; `open` gives a new backend for each name, or the same one again.
pub fn run<B: Backend>(open: impl Fn(&str) -> B) {
    rows_come_back(&open("rows"));
    pages_follow_one_another(&open("pages"));
    batches_apply_in_order(&open("order"));
    a_store_keeps_what_pins_hold(open("pins"));
    a_shared_subtree_outlives_one_of_its_pins(open("shared"));
    large_operations_are_whole(open("large"));
    a_dead_operation_leaves_no_payload(open("dead"));
    a_damaged_block_is_absent_until_it_is_put_again(open("damaged"));
    damage_in_garbage_holds_nothing(open("damaged garbage"));
    pins_change_all_or_none(open("pins together"));
    another_layout_is_refused(open("layout"));
}

fn put(batch: &mut Batch, key: &str, value: &str) {
    batch.put(Family::Meta, Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
}

fn rows_come_back(backend: &impl Backend) {
    let mut batch = Batch::default();
    put(&mut batch, "a", "1");
    put(&mut batch, "b", "");
    backend.write(batch).unwrap();
    assert_eq!(backend.get(Family::Meta, b"a").unwrap().unwrap(), "1");
    assert_eq!(backend.get(Family::Meta, b"b").unwrap().unwrap(), "");
    assert_eq!(backend.get(Family::Meta, b"c").unwrap(), None);
    assert_eq!(backend.get(Family::Index, b"a").unwrap(), None, "families are apart");
    let mut batch = Batch::default();
    batch.delete(Family::Meta, Bytes::from_static(b"a"));
    backend.write(batch).unwrap();
    assert_eq!(backend.get(Family::Meta, b"a").unwrap(), None);
    for (end, bytes) in [(100, 7), (50, -3), (120, 1)] {
        let figure = Figure { bytes, blocks: 1, end, synced: 0 };
        let mut batch = Batch::default();
        batch.put(Family::Segments, segment(9), figure.encode());
        backend.write(batch).unwrap();
    }
    backend.compact().unwrap();
    let sum = backend.get(Family::Segments, &segment(9)).unwrap().unwrap();
    let wanted = Figure { bytes: 5, blocks: 3, end: 120, synced: 0 };
    assert_eq!(Figure::decode(&sum), Some(wanted), "figures are added to");
}

fn pages_follow_one_another(backend: &impl Backend) {
    let mut batch = Batch::default();
    for n in 0..25 {
        put(&mut batch, &format!("p{n:02}"), "");
    }
    put(&mut batch, "o", "");
    put(&mut batch, "q", "");
    backend.write(batch).unwrap();
    let (mut seen, mut after) = (Vec::new(), None::<Bytes>);
    loop {
        let page = backend.page(Family::Meta, b"p", after.as_deref(), 10).unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page.into_iter().map(|(key, _)| key));
    }
    let wanted: Vec<Bytes> = (0..25).map(|n| format!("p{n:02}").into()).collect();
    assert_eq!(seen, wanted);
    let each = |from: &[u8], most: usize| {
        let mut seen: Vec<Bytes> = Vec::new();
        let mut look = |key: &[u8], value: &[u8]| {
            assert!(value.is_empty());
            seen.push(Bytes::copy_from_slice(key));
            seen.len() < most
        };
        backend.each(Family::Meta, b"p", from, &mut look).unwrap();
        seen
    };
    assert_eq!(each(b"p", usize::MAX), wanted);
    assert_eq!(each(b"p07", usize::MAX), wanted[7..]);
    assert_eq!(each(b"p07x", 3), wanted[8..11]);
    assert!(each(b"p3", usize::MAX).is_empty());
}

fn batches_apply_in_order(backend: &impl Backend) {
    let mut batch = Batch::default();
    put(&mut batch, "k", "old");
    batch.delete(Family::Meta, Bytes::from_static(b"k"));
    put(&mut batch, "k", "new");
    backend.write(batch).unwrap();
    assert_eq!(backend.get(Family::Meta, b"k").unwrap().unwrap(), "new");
}

fn raw(text: &str) -> Block {
    Block::hashed(Prefix::v1(codec::RAW), Bytes::from(text.to_owned())).unwrap()
}

fn parent(children: &[&Block]) -> Block {
    let link = |b: &&Block| Link { cid: *b.cid(), name: Some(Bytes::new()), tsize: None };
    let node = Node { links: children.iter().map(link).collect(), data: None };
    Block::hashed(Prefix::v1(codec::DAG_PB), node.encode().into()).unwrap()
}

fn add(store: &Store, blocks: &[&Block], pin: Option<&Block>) {
    let core = store.core();
    let mut writer = core.writer();
    for block in blocks {
        writer.put(block).unwrap();
    }
    let pin = pin.map(|b| Pin::new(*b.cid(), Mode::Recursive, "").unwrap());
    writer.commit(pin.as_slice()).unwrap();
}

/// Collects, and checks that what is planned is what goes.
fn collect(store: &Store) -> usize {
    let core = store.core();
    let (mut planned, mut freed) = (Vec::new(), Vec::new());
    let mut plan = |block: Freed| {
        planned.push(crate::ipld::cid::of_hash(&block.hash).to_string());
        true
    };
    core.plan_garbage(&mut plan).unwrap();
    let damaged = core.quarantined() > 0;
    let mut free = |block: Freed| {
        freed.push(crate::ipld::cid::of_hash(&block.hash).to_string());
        true
    };
    core.collect(&mut free).unwrap();
    assert_eq!(loose(&core), 0, "what stays is held");
    planned.sort_unstable();
    freed.sort_unstable();
    // What lies below a damaged node is found only when it is let go.
    planned.iter().for_each(|cid| assert!(freed.contains(cid), "{cid}"));
    assert!(planned == freed || damaged, "{planned:?} {freed:?}");
    freed.len()
}

/// Rows of blocks that may be garbage.
fn loose(core: &Core) -> usize {
    core.rows(Family::Loose, b"").count()
}

fn here(store: &Store, block: &Block) -> bool {
    store.core().get(block.cid()).unwrap().is_some_and(|found| found.data() == block.data())
}

fn a_store_keeps_what_pins_hold(backend: impl Backend) {
    let store = Store::over(Box::new(backend)).unwrap();
    let (leaf, loose) = (raw("leaf"), raw("loose"));
    let middle = parent(&[&leaf]);
    let root = parent(&[&middle, &leaf]);
    add(&store, &[&leaf, &middle, &root], Some(&root));
    add(&store, &[&loose], None);
    let core = store.core();
    assert!(
        matches!(core.pin_state(leaf.cid()).unwrap(), Some(PinState::Indirect(c)) if c == *root.cid())
    );
    assert!(core.remove(leaf.cid()).is_err(), "a held block cannot be removed");
    assert_eq!(collect(&store), 1, "only the loose block is garbage");
    assert!(here(&store, &leaf) && here(&store, &root) && !here(&store, &loose));
    let lacking = parent(&[&loose]);
    add(&store, &[&lacking], None);
    let pin = Pin::new(*lacking.cid(), Mode::Recursive, "").unwrap();
    assert!(matches!(core.pin(&pin), Err(StoreError::Missing(c)) if *c == *loose.cid()));
    assert!(core.unpin(leaf.cid(), true).is_err(), "an indirect pin cannot be removed");
    core.unpin(root.cid(), true).unwrap();
    assert_eq!(collect(&store), 4);
    assert_eq!(core.totals(), (0, 0));
}

fn a_shared_subtree_outlives_one_of_its_pins(backend: impl Backend) {
    let store = Store::over(Box::new(backend)).unwrap();
    let leaf = raw("leaf");
    let shared = parent(&[&leaf]);
    let (one, two) = (parent(&[&shared]), parent(&[&shared, &shared]));
    add(&store, &[&leaf, &shared, &one], Some(&one));
    add(&store, &[&leaf, &shared, &two], Some(&two));
    store.core().unpin(one.cid(), true).unwrap();
    assert_eq!(collect(&store), 1);
    assert!(here(&store, &leaf) && here(&store, &shared) && here(&store, &two));
    store.core().unpin(two.cid(), true).unwrap();
    assert_eq!(collect(&store), 3);
}

fn large_operations_are_whole(backend: impl Backend) {
    let store = Store::over(Box::new(backend)).unwrap();
    let core = store.core();
    let mut writer = core.writer();
    let mut leaves = Vec::new();
    for n in 0u64..40 {
        let bytes = n.to_be_bytes().repeat(32 << 10);
        let block = Block::hashed(Prefix::v1(codec::RAW), bytes.into()).unwrap();
        assert_eq!(writer.put(&block).unwrap(), Put::New);
        assert_eq!(writer.put(&block).unwrap(), Put::Known);
        leaves.push(block);
    }
    assert!(!here(&store, &leaves[0]), "nothing exists before the commit");
    let root = parent(&leaves.iter().collect::<Vec<_>>());
    writer.put(&root).unwrap();
    let pin = Pin::new(*root.cid(), Mode::Recursive, "big").unwrap();
    writer.commit(&[pin]).unwrap();
    assert!(leaves.iter().all(|leaf| here(&store, leaf)));
    assert_eq!(collect(&store), 0);
    let mut pins: Vec<(Cid, String)> = Vec::new();
    core.each_pin(&mut |pin| {
        pins.push((pin.cid, pin.name));
        true
    })
    .unwrap();
    assert_eq!(pins, [(*root.cid(), "big".to_owned())]);
}

fn a_dead_operation_leaves_no_payload(backend: impl Backend) {
    let store = Store::over(Box::new(backend)).unwrap();
    let core = store.core();
    let block = |n: u64| {
        let bytes = n.to_be_bytes().repeat(128 << 10);
        Block::hashed(Prefix::v1(codec::RAW), bytes.into()).unwrap()
    };
    let mut dying = core.writer();
    (0..9).for_each(|n| assert_eq!(dying.put(&block(n)).unwrap(), Put::New));
    add(&store, &[&block(0)], Some(&block(0)));
    assert_eq!(core.reclaim(1).unwrap(), 0, "an operation holds places in it");
    drop(dying);
    assert!(core.usage().unwrap().garbage > 4 << 20, "nothing was appended");
    assert_eq!(collect(&store), 0);
    core.compact().unwrap();
    assert!(here(&store, &block(0)), "another operation made this one exist");
    assert_eq!((core.totals().0, core.usage().unwrap().garbage), (1, 0));
}

fn pins_change_all_or_none(backend: impl Backend) {
    let store = Store::over(Box::new(backend)).unwrap();
    let core = store.core();
    let (leaf, other, absent) = (raw("leaf"), raw("other"), raw("absent"));
    let root = parent(&[&leaf]);
    add(&store, &[&leaf, &other, &root], None);
    let named = |block: &Block, name: &str| Pin::new(*block.cid(), Mode::Recursive, name).unwrap();
    core.pin_all(&[named(&root, "one"), named(&other, ""), named(&root, "two")]).unwrap();
    let rows = core.rows(Family::Pins, b"n").count();
    assert_eq!((rows, core.pin_row(root.cid()).unwrap().unwrap().name), (1, "two".to_owned()));
    let both = [*root.cid(), *absent.cid()];
    assert!(core.unpin_all(&both, true).is_err());
    assert!(core.pin_row(root.cid()).unwrap().is_some(), "none of them");
    // A multihash under many codecs: only the last of its pins is recursive.
    for code in 0x300..0x30a {
        let pin = Pin::new(Cid::new_v1(code, *root.cid().hash()), Mode::Direct, "").unwrap();
        core.pin(&pin).unwrap();
    }
    core.unpin(root.cid(), true).unwrap();
    let last = Cid::new_v1(0x70, *root.cid().hash());
    core.pin(&Pin::new(last, Mode::Recursive, "").unwrap()).unwrap();
    let state = core.pin_state(leaf.cid()).unwrap();
    assert!(matches!(state, Some(PinState::Indirect(cid)) if cid == last), "{state:?}");
    core.unpin_all(&[last, *other.cid()], true).unwrap();
    assert_eq!(core.pin_state(leaf.cid()).unwrap(), None);
}

/// Changes a block's bytes behind the store's back.
fn lose(store: &Store, block: &Block) {
    let core = store.core();
    let row = core.stat(block.cid()).unwrap().unwrap();
    core.segments.spoil(row.place, 44);
}

fn a_damaged_block_is_absent_until_it_is_put_again(backend: impl Backend) {
    let store = Store::over(Box::new(backend)).unwrap();
    let core = store.core();
    let (leaf, other) = (raw("leaf"), raw("other"));
    let root = parent(&[&leaf, &other]);
    add(&store, &[&leaf, &other, &root], Some(&root));
    for block in [&leaf, &root] {
        lose(&store, block);
        assert!(core.stat(block.cid()).unwrap().is_some(), "nobody has read it yet");
        for _ in 0..2 {
            assert!(matches!(core.get(block.cid()), Err(StoreError::Corrupt { .. })));
        }
        assert!(core.stat(block.cid()).unwrap().is_none());
        core.load_quarantine();
        assert!(core.is_quarantined(block.cid().hash()), "the row says so");
        assert_eq!(collect(&store), 0, "a pin holds it, and what is below it");
    }
    let pin = Pin::new(*root.cid(), Mode::Recursive, "again").unwrap();
    assert!(matches!(core.pin(&pin), Err(StoreError::Corrupt { .. })));
    assert_eq!(core.put_unpinned(&[leaf.clone(), other.clone()]).unwrap(), [*leaf.cid()]);
    assert!(here(&store, &leaf));
    add(&store, &[&root], Some(&root));
    assert!(here(&store, &root) && core.quarantined() == 0);
    core.load_quarantine();
    assert_eq!(core.quarantined(), 0, "its row is gone");
    assert!(!core.drop_damaged(root.cid().hash()).unwrap(), "it is sound");
    lose(&store, &root);
    assert!(core.drop_damaged(root.cid().hash()).unwrap());
    assert!(core.get(root.cid()).unwrap().is_none() && core.quarantined() == 1, "a pin lacks it");
    add(&store, &[&root], None);
    assert_eq!(collect(&store), 0);
    core.unpin(root.cid(), true).unwrap();
    assert_eq!(collect(&store), 3);
}

fn damage_in_garbage_holds_nothing(backend: impl Backend) {
    let store = Store::over(Box::new(backend)).unwrap();
    let core = store.core();
    let (leaf, kept) = (raw("leaf"), raw("kept"));
    let (bottom, other) = (parent(&[&leaf, &kept]), parent(&[&kept]));
    let middle = parent(&[&bottom]);
    let root = parent(&[&middle, &leaf]);
    add(&store, &[&leaf, &kept, &bottom, &middle, &root], Some(&root));
    add(&store, &[&other], Some(&other));
    // One above the other: the lower is found only when the upper has let it go.
    lose(&store, &middle);
    lose(&store, &bottom);
    core.unpin(root.cid(), true).unwrap();
    assert_eq!(collect(&store), 4);
    assert!(here(&store, &kept) && here(&store, &other) && core.quarantined() == 0);
    assert_eq!(core.totals().0, 2);
    core.unpin(other.cid(), true).unwrap();
    lose(&store, &other);
    assert!(core.remove(other.cid()).unwrap());
    assert_eq!(collect(&store), 1);
}

fn another_layout_is_refused(backend: impl Backend) {
    let mut batch = Batch::default();
    put(&mut batch, "layout", "999");
    backend.write(batch).unwrap();
    let error = Store::over(Box::new(backend)).err().unwrap().to_string();
    assert!(error.contains("999"), "{error}");
}

#[test]
fn memory_passes_the_whole_suite() {
    run(|_| super::memory::Memory::default());
}

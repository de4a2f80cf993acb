//! What the store once got wrong, each named after what went wrong.

use bytes::Bytes;
use henge::ipld::block::{Block, Prefix};
use henge::ipld::cid::{Cid, Version, codec};
use henge::ipld::codec::dag_cbor;
use henge::ipld::codec::value::Value;
use henge::store::{Mode, Pin, StoreError};

use crate::faulty::{Death, Disk};
use crate::store_faults::{add, collect, empties, kept, node, parent, present, raw, recursive};

fn view(block: &Block, codec: u64) -> Cid {
    Cid::new_v1(codec, *block.cid().hash())
}

fn cbor(children: &[&Block]) -> Block {
    let links = children.iter().map(|block| Value::Link(Box::new(*block.cid()))).collect();
    let bytes = dag_cbor::encode(&Value::List(links)).unwrap();
    Block::hashed(Prefix::v1(codec::DAG_CBOR), bytes.into()).unwrap()
}

#[test]
fn a_pin_under_a_codec_without_links_hid_the_links_from_the_next_pin() {
    let leaf = raw("leaf");
    let root = cbor(&[&leaf]);
    let disk = Disk::default();
    let core = disk.open().core();
    add(&core, &[&leaf, &root], &[recursive(&view(&root, codec::CBOR))]).unwrap();
    core.pin(&recursive(root.cid())).unwrap();
    collect(&core).unwrap();
    assert!(core.get(leaf.cid()).unwrap().is_some(), "below an acknowledged pin");
    core.unpin(root.cid(), true).unwrap();
    collect(&core).unwrap();
    assert_eq!(core.totals().0, 1, "the block itself is still pinned as cbor");
    empties(&disk, "cbor");
}

#[test]
fn bytes_that_two_codecs_read_hid_the_links_of_one() {
    let leaf = raw("leaf");
    // As dag-pb: LF tells the data field, `[` its 91 bytes. As dag-json: a list of one link.
    let link = format!("{{\"/\":\"{}\"}}", leaf.cid());
    let bytes = format!("\n[{link:90}]");
    let both = Block::hashed(Prefix::v1(codec::DAG_JSON), Bytes::from(bytes)).unwrap();
    let (pb, as_json) = (view(&both, codec::DAG_PB), view(&both, codec::DAG_JSON));
    for pins in [[pb, as_json], [as_json, pb]] {
        let disk = Disk::default();
        let core = disk.open().core();
        add(&core, &[&leaf, &both], &[]).unwrap();
        pins.iter().for_each(|cid| core.pin(&recursive(cid)).unwrap());
        collect(&core).unwrap();
        assert!(core.get(leaf.cid()).unwrap().is_some(), "pinned below {as_json}");
        pins.iter().for_each(|cid| core.unpin(cid, true).unwrap());
        collect(&core).unwrap();
        empties(&disk, "two codecs, two pins");
        add(&core, &[&leaf, &both], &pins.map(|cid| recursive(&cid))).unwrap();
        collect(&core).unwrap();
        assert!(core.get(leaf.cid()).unwrap().is_some(), "pinned below {as_json} in one go");
        empties(&disk, "two codecs, one operation");
    }
}

#[test]
fn a_raw_pin_of_a_node_left_its_edges_behind() {
    let leaf = raw("leaf");
    let root = parent(&[&leaf]);
    for (first, last) in [(codec::DAG_PB, codec::RAW), (codec::RAW, codec::DAG_PB)] {
        let disk = Disk::default();
        let core = disk.open().core();
        let pins = [codec::DAG_PB, codec::RAW].map(|code| recursive(&view(&root, code)));
        add(&core, &[&leaf, &root], &pins).unwrap();
        core.unpin(&view(&root, first), true).unwrap();
        collect(&core).unwrap();
        assert_eq!(kept(&core), present(&core));
        core.unpin(&view(&root, last), true).unwrap();
        collect(&core).unwrap();
        assert_eq!(core.totals(), (0, 0), "the leaf is held by nothing");
        empties(&disk, "raw and dag-pb");
    }
}

#[test]
fn a_direct_pin_kept_what_lies_below_it() {
    let leaf = raw("leaf");
    let middle = parent(&[&leaf]);
    let root = parent(&[&middle]);
    let disk = Disk::default();
    let core = disk.open().core();
    let direct = Pin::new(*middle.cid(), Mode::Direct, "").unwrap();
    add(&core, &[&leaf, &middle, &root], &[recursive(root.cid()), direct]).unwrap();
    core.unpin(root.cid(), true).unwrap();
    collect(&core).unwrap();
    assert_eq!(kept(&core), present(&core));
    assert_eq!(core.totals().0, 1, "the directly pinned block alone");
    assert!(matches!(core.pin(&recursive(middle.cid())), Err(StoreError::Missing(_))));
    add(&core, &[&leaf], &[]).unwrap();
    core.pin(&recursive(middle.cid())).unwrap();
    collect(&core).unwrap();
    assert_eq!(core.totals().0, 2);
    empties(&disk, "direct");
}

#[test]
fn removing_an_orphaned_root_left_a_marker_that_no_gc_could_pass() {
    let leaf = raw("leaf");
    let root = parent(&[&leaf]);
    let disk = Disk::default();
    let core = disk.open().core();
    add(&core, &[&leaf, &root], &[recursive(root.cid())]).unwrap();
    // The pin is gone, its edges are not.
    let (store, _) = disk.live(Death::Process, 1);
    store.core().unpin(root.cid(), true).unwrap_err();
    let core = disk.open().core();
    assert!(core.remove(root.cid()).unwrap());
    collect(&core).unwrap();
    assert_eq!(core.totals(), (0, 0));
    empties(&disk, "orphan");
}

#[test]
fn a_pin_was_written_though_another_of_the_same_call_failed() {
    let prefix = Prefix { hash: 0x13, ..Prefix::v1(codec::DAG_PB) };
    let leaves: Vec<Block> = (0..9000)
        .map(|n| {
            let text = Bytes::from(format!("leaf {n}"));
            Block::hashed(Prefix { codec: codec::RAW, ..prefix }, text).unwrap()
        })
        .collect();
    let halves = leaves.chunks(100).map(|some| {
        let cids: Vec<Cid> = some.iter().map(|leaf| *leaf.cid()).collect();
        node(prefix, &cids)
    });
    let halves: Vec<Block> = halves.collect();
    let large = parent(&halves.iter().collect::<Vec<_>>());
    let small = parent(&[&leaves[0]]);
    let lost = raw("never put");
    let torn = parent(&[&large, &lost]);
    let disk = Disk::default();
    let core = disk.open().core();
    let blocks: Vec<&Block> = leaves.iter().chain(&halves).chain([&large, &small, &torn]).collect();
    add(&core, &blocks, &[]).unwrap();
    let pins = [recursive(small.cid()), recursive(torn.cid())];
    assert!(matches!(core.pin_all(&pins), Err(StoreError::Missing(_))));
    assert_eq!(core.pin_row(small.cid()).unwrap(), None, "all of them or none");
    empties(&disk, "all or none");
}

#[test]
fn two_versions_of_one_cid_are_two_pins() {
    let leaf = raw("leaf");
    let old = Prefix { version: Version::V0, ..Prefix::v1(codec::DAG_PB) };
    let root = node(old, &[*leaf.cid()]);
    let (v0, v1) = (*root.cid(), view(&root, codec::DAG_PB));
    for (first, last) in [(v0, v1), (v1, v0)] {
        let disk = Disk::default();
        let core = disk.open().core();
        add(&core, &[&leaf, &root], &[recursive(&v0), recursive(&v1)]).unwrap();
        core.unpin(&first, true).unwrap();
        collect(&core).unwrap();
        assert_eq!(core.totals().0, 2, "still pinned as {last}");
        empties(&disk, "two versions");
    }
}

//! Many pins: listing begins at once, and telling how a block is kept, and pinning another one, do
//! not cost their number. 5,000 pins; a million with `HENGE_SOAK=1`.

use std::time::{Duration, Instant};

use henge::ipld::block::{Block, Prefix};
use henge::ipld::cid::{Cid, codec};
use henge::store::{Mode, Pin, PinState, Store};

use crate::harness::soak;

/// Pins made in one operation.
const BATCH: u64 = 1000;

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

fn pin(block: &Block) -> Pin {
    Pin::new(*block.cid(), Mode::Recursive, "").unwrap()
}

/// Resident memory of this process, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let since = Instant::now();
    (work(), since.elapsed())
}

#[test]
fn a_million_pins() {
    let pins: u64 = if soak() { 1_000_000 } else { 5_000 };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let core = store.core();
    let (leaves, rest) = ([block(u64::MAX), block(u64::MAX - 1)], Instant::now());
    for first in (0..pins).step_by(usize::try_from(BATCH).unwrap()) {
        let blocks: Vec<Block> = (first..first + BATCH).map(block).collect();
        let mut writer = core.writer();
        blocks.iter().for_each(|block| _ = writer.put(block).unwrap());
        writer.commit(&blocks.iter().map(pin).collect::<Vec<_>>()).unwrap();
    }
    println!("{pins} pins made in {:?}", rest.elapsed());
    let root = node(&[*leaves[0].cid(), *leaves[1].cid()]);
    let ((), add) = timed(|| {
        let mut writer = core.writer();
        leaves.iter().chain([&root]).for_each(|block| _ = writer.put(block).unwrap());
        writer.commit(&[pin(&root)]).unwrap();
    });
    let ((), first) = timed(|| core.each_pin(&mut |_| false).unwrap());
    let mut count = 0;
    let ((), all) = timed(|| {
        core.each_pin(&mut |_| {
            count += 1;
            true
        })
        .unwrap();
    });
    assert_eq!(count, pins + 1);
    let ask = |cid: &Cid| timed(|| core.pin_state(cid).unwrap());
    let mut times = Vec::new();
    for n in 0..1000 {
        let (state, own) = ask(block(n * (pins / 1000)).cid());
        assert!(matches!(state, Some(PinState::Pinned(_))));
        let (state, absent) = ask(block(pins + n).cid());
        assert_eq!(state, None);
        let (state, indirect) = ask(leaves[0].cid());
        assert_eq!(state, Some(PinState::Indirect(*root.cid())));
        times.extend([own, absent, indirect]);
    }
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    let resident = resident_mib();
    println!("first {first:?}, all {all:?}, state p99 {p99:?}, add {add:?}, {resident} MiB");
    if soak() {
        assert!(first < Duration::from_millis(10) && p99 < Duration::from_millis(1));
        assert!(add < Duration::from_millis(20) && resident < 200);
    }
}

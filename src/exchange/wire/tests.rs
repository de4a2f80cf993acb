//! The wire against itself: round trips, damaged bytes, and the traps of other implementations.

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::ipld::block::{BLOCK_MAX_BYTES, Prefix};
use crate::ipld::cid::{self, codec, hash};

fn block(codec: u64, data: Vec<u8>) -> Block {
    Block::hashed(Prefix::v1(codec), Bytes::from(data)).unwrap()
}

fn joined(pieces: Vec<Bytes>) -> Vec<u8> {
    pieces.concat()
}

/// Takes the length prefix off and reads the rest.
fn read(frame: &[u8]) -> Result<Message, WireError> {
    let (head, len) = frame_head(frame)?.expect("the whole prefix");
    assert_eq!(frame.len(), head + len, "the length prefix tells the length");
    decode_frame(Bytes::copy_from_slice(&frame[head..])).map(RawMessage::verify)
}

fn random_cid(rng: &mut ChaCha8Rng) -> Cid {
    let codes = [hash::SHA2_256, hash::BLAKE3, 0x13, 0xb220, 0xb260];
    let code = codes[rng.random_range(0..codes.len())];
    let digest = cid::digest(code, &rng.random::<u64>().to_le_bytes()).unwrap();
    match code == hash::SHA2_256 && rng.random() {
        true => Cid::new_v0(digest).unwrap(),
        false => Cid::new_v1([codec::RAW, codec::DAG_CBOR, 0x0129][rng.random_range(0..3)], digest),
    }
}

fn random(rng: &mut ChaCha8Rng) -> (Outgoing, Vec<(Cid, Bytes)>) {
    let mut out = Outgoing { full: rng.random(), ..Outgoing::default() };
    for _ in 0..rng.random_range(0..20) {
        out.entries.push(Entry {
            cid: random_cid(rng),
            priority: rng.random(),
            cancel: rng.random(),
            kind: if rng.random() { Kind::Have } else { Kind::Block },
            send_dont_have: rng.random(),
        });
    }
    for _ in 0..rng.random_range(0..20) {
        let presence = if rng.random() { Presence::Have } else { Presence::DontHave };
        out.presences.push((random_cid(rng), presence));
    }
    let mut blocks = Vec::new();
    for _ in 0..rng.random_range(0..5) {
        let mut data = vec![0u8; rng.random_range(0..3000)];
        rng.fill(data.as_mut_slice());
        let hash = [hash::SHA2_256, hash::BLAKE3, 0x13, 0xb260][rng.random_range(0..4)];
        let version = if rng.random() { cid::Version::V0 } else { cid::Version::V1 };
        let prefix = Prefix { version, hash, ..Prefix::v1(codec::DAG_PB) };
        blocks.push(Block::hashed(prefix, Bytes::from(data)).unwrap().into_parts());
    }
    out.blocks = blocks.iter().map(|(cid, _)| *cid).collect();
    out.pending_bytes = rng.random_range(0..i32::MAX);
    (out, blocks)
}

#[test]
fn what_is_written_is_read_again() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..200 {
        let (sent, blocks) = random(&mut rng);
        let message = read(&joined(encode(&sent, &blocks, Version::V1_2))).unwrap();
        assert_eq!(message.wantlist, sent.entries);
        assert_eq!(message.full, sent.full);
        assert_eq!(message.presences, sent.presences);
        assert_eq!(message.pending_bytes, sent.pending_bytes);
        let got: Vec<_> = message.blocks.into_iter().map(Block::into_parts).collect();
        assert_eq!(got, blocks);
        assert_eq!(message.refused, 0);
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..300 {
        let (sent, blocks) = random(&mut rng);
        let good = joined(encode(&sent, &blocks, Version::V1_2));
        for _ in 0..20 {
            let mut bytes = good.clone();
            for _ in 0..rng.random_range(1..8) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            bytes.truncate(rng.random_range(0..=bytes.len()));
            let _ = frame_head(&bytes);
            let _ = decode_frame(Bytes::from(bytes)).map(RawMessage::verify);
        }
    }
}

#[test]
fn trap_02_absent_wantlist_is_accepted() {
    let message = decode_frame(Bytes::from_static(&[0x28, 7])).unwrap().verify();
    assert_eq!((message.pending_bytes, message.wantlist.len()), (7, 0));
    assert_eq!(decode_frame(Bytes::new()).unwrap().verify(), Message::default());
}

#[test]
fn trap_02_an_empty_wantlist_is_written() {
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        assert_eq!(joined(encode(&Outgoing::default(), &[], version)), [2, 0x0a, 0]);
    }
}

#[test]
fn trap_07_each_version_is_told_what_it_can_read() {
    let raw = block(codec::RAW, vec![1; 100]);
    let exotic = Block::hashed(
        Prefix { hash: hash::BLAKE3, ..Prefix::v1(codec::RAW) },
        Bytes::from_static(b"x"),
    );
    let exotic = exotic.unwrap();
    let entry = |cid: &Cid| Entry {
        cid: *cid,
        priority: 1,
        cancel: false,
        kind: Kind::Have,
        send_dont_have: true,
    };
    let sent = Outgoing {
        entries: vec![entry(raw.cid()), entry(exotic.cid())],
        presences: vec![(*raw.cid(), Presence::DontHave)],
        pending_bytes: 5,
        ..Outgoing::default()
    };
    let blocks = [raw.clone().into_parts(), exotic.into_parts()];
    let old = read(&joined(encode(&sent, &blocks, Version::V1_0))).unwrap();
    assert_eq!(old.wantlist.len(), 1);
    assert_eq!(old.wantlist[0].cid.version(), cid::Version::V0);
    assert_eq!((old.wantlist[0].kind, old.wantlist[0].send_dont_have), (Kind::Block, false));
    assert_eq!((old.presences.len(), old.pending_bytes, old.blocks.len()), (0, 0, 1));
    assert_eq!(old.blocks[0].cid().version(), cid::Version::V0);
    assert_eq!(old.blocks[0].cid().hash(), raw.cid().hash());
    let middle = read(&joined(encode(&sent, &blocks, Version::V1_1))).unwrap();
    assert_eq!((middle.wantlist.len(), middle.presences.len(), middle.blocks.len()), (2, 0, 2));
    assert_eq!(middle.wantlist[0].kind, Kind::Block);
}

#[test]
fn block_data_is_neither_copied_in_nor_out() {
    let big = block(codec::RAW, vec![9; 1 << 20]);
    let data = big.data().clone();
    let pieces = encode(&Outgoing::default(), &[big.into_parts()], Version::V1_2);
    assert!(pieces.iter().any(|piece| piece.as_ptr() == data.as_ptr()));
    let frame = Bytes::from(joined(pieces));
    let (head, _) = frame_head(&frame).unwrap().unwrap();
    let message = decode_frame(frame.slice(head..)).unwrap().verify();
    let at = message.blocks[0].data().as_ptr() as usize;
    let range = frame.as_ptr() as usize..frame.as_ptr() as usize + frame.len();
    assert!(range.contains(&at));
}

#[test]
fn trap_07_what_is_too_big_is_refused() {
    let big = block(codec::RAW, vec![0; BLOCK_MAX_BYTES + 1]);
    let message = read(&joined(encode(&Outgoing::default(), &[big.into_parts()], Version::V1_2)));
    let message = message.unwrap();
    assert_eq!((message.blocks.len(), message.refused), (0, 1));
    assert_eq!(frame_head(&[0x81, 0x80, 0x80, 0x02]), Err(WireError::TooBig((4 << 20) + 1)));
    assert_eq!(frame_head(&[0x80, 0x80, 0x80, 0x02]), Ok(Some((4, 4 << 20))));
    assert_eq!(frame_head(&[0x80, 0x80]), Ok(None));
    assert_eq!(frame_head(&[0xff; 11]), Err(WireError::Malformed));
}

#[test]
fn identity_and_unknown_hashes_are_refused() {
    let identity = Block::hashed(
        Prefix { hash: hash::IDENTITY, ..Prefix::v1(codec::RAW) },
        Bytes::from_static(b"inline"),
    );
    let (cid, data) = identity.unwrap().into_parts();
    let sent = Outgoing { presences: vec![(cid, Presence::Have)], ..Outgoing::default() };
    let message = read(&joined(encode(&sent, &[(cid, data.clone())], Version::V1_2))).unwrap();
    assert_eq!((message.blocks.len(), message.presences.len(), message.refused), (0, 0, 2));
    // murmur3 is on no list.
    let strange = Cid::new_v1(codec::RAW, cid::Multihash::wrap(0x22, &[1; 32]).unwrap());
    let message = read(&joined(encode(&Outgoing::default(), &[(strange, data)], Version::V1_2)));
    assert_eq!(message.unwrap().refused, 1);
}

#[test]
fn a_digest_cut_short_is_still_verified() {
    let data = Bytes::from_static(b"short");
    let digest = cid::digest(hash::SHA2_256, &data).unwrap();
    for (len, good) in [(20, true), (19, false), (8, false)] {
        let short = cid::Multihash::wrap(hash::SHA2_256, &digest.digest()[..len]).unwrap();
        let cid = Cid::new_v1(codec::RAW, short);
        let frame = joined(encode(&Outgoing::default(), &[(cid, data.clone())], Version::V1_2));
        let message = read(&frame).unwrap();
        assert_eq!(message.blocks.len(), usize::from(good), "{len}");
        assert!(message.blocks.iter().all(|block| *block.cid() == cid));
    }
}

#[test]
fn case_15_too_many_entries_are_cut_and_too_many_blocks_refused() {
    let cid = *block(codec::RAW, vec![1]).cid();
    let entry = Entry { cid, priority: 1, cancel: false, kind: Kind::Block, send_dont_have: false };
    let sent = Outgoing { entries: vec![entry; ENTRIES_MAX + 10], ..Outgoing::default() };
    let message = read(&joined(encode(&sent, &[], Version::V1_2))).unwrap();
    assert_eq!((message.wantlist.len(), message.refused), (ENTRIES_MAX, 10));
    let blocks = vec![(cid, Bytes::from_static(&[1])); BLOCKS_MAX + 1];
    let frame = joined(encode(&Outgoing::default(), &blocks, Version::V1_2));
    assert_eq!(read(&frame), Err(WireError::TooManyBlocks));
}

//! Chunking and hashing, without a store: beside a copy in memory, and beside bare sha2-256.

use std::hint::black_box;

use bytes::Bytes;
use henge::ipld::block::{Block, Prefix};
use henge::ipld::cid::codec;
use henge::unixfs::chunk::Chunker;
use henge::unixfs::node::Leaf;
use sha2::Digest as _;

use super::clock::{pair, random, time};

/// Size of the input in bytes.
const INPUT: usize = 256 << 20;
/// Kubo's default chunk.
const CHUNK: usize = 262_144;
/// Leaves that are hashed together.
const TOGETHER: usize = 16;
const ROUNDS: usize = 5;

/// Cutting a file into framed leaves, beside copying it.
pub fn chunk() -> anyhow::Result<()> {
    let input = random(INPUT);
    let copy = || {
        Ok(time(|| {
            input.chunks(CHUNK).for_each(|chunk| drop(black_box(chunk.to_vec())));
            Ok(())
        })?
        .0)
    };
    for (name, chunker, leaf) in [
        ("chunk, raw leaves", "default", Leaf::Block),
        ("chunk, dag-pb leaves", "default", Leaf::File),
        ("chunk by buzhash", "buzhash", Leaf::Block),
        ("chunk by rabin", "rabin", Leaf::Block),
    ] {
        let chunker: Chunker = chunker.parse()?;
        let ours = || {
            Ok(time(|| {
                let mut chunks = chunker.blocks(input.as_slice(), leaf);
                while let Some(framed) = chunks.next_block()? {
                    black_box(framed.block);
                }
                Ok(())
            })?
            .0)
        };
        pair(name, "copy in memory", INPUT as u64, ROUNDS, ours, copy)?;
    }
    Ok(())
}

/// Naming blocks on one core, beside the bare hash function.
pub fn hash() -> anyhow::Result<()> {
    let input = Bytes::from(random(INPUT));
    let prefix = Prefix::v1(codec::RAW);
    let blocks: Vec<Bytes> =
        (0..INPUT).step_by(CHUNK).map(|at| input.slice(at..at + CHUNK)).collect();
    let one_by_one = || {
        Ok(time(|| {
            for data in &blocks {
                black_box(Block::hashed(prefix, data.clone())?);
            }
            Ok(())
        })?
        .0)
    };
    let together = || {
        Ok(time(|| {
            for data in blocks.chunks(TOGETHER) {
                let leaves = data.iter().map(|data| (prefix, data.clone())).collect();
                black_box(Block::hashed_many(leaves));
            }
            Ok(())
        })?
        .0)
    };
    let bare = || {
        Ok(time(|| {
            for data in &blocks {
                black_box(sha2::Sha256::digest(data));
            }
            Ok(())
        })?
        .0)
    };
    let beside = "sha2-256, one core";
    pair("hash, one core", beside, INPUT as u64, ROUNDS, one_by_one, bare)?;
    pair("hash, sixteen leaves at a time", beside, INPUT as u64, ROUNDS, together, bare)
}

//! The store alone: durable puts beside a file that is written and synced, gets beside reading that
//! file back from the page cache.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read as _, Seek as _, Write as _};

use bytes::Bytes;
use henge::ipld::block::{Block, Prefix};
use henge::ipld::cid::codec;
use henge::store::Store;

use super::clock::{pair, random, time};

const ROUNDS: usize = 5;
const MIB: usize = 1 << 20;

/// Large blocks in one operation, then small ones; then both read back.
pub fn put_and_get() -> anyhow::Result<()> {
    for (name, size, total) in [("256 KiB", 262_144, 256 * MIB), ("1 KiB", 1024, 32 * MIB)] {
        let blocks = blocks(size, total)?;
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("file");
        let mut round = 0;
        let put = || {
            round += 1;
            let store = Store::open(&dir.path().join(round.to_string()))?;
            let core = store.core();
            Ok(time(|| {
                let mut writer = core.writer();
                for block in &blocks {
                    writer.put(block)?;
                }
                Ok(writer.commit(&[])?)
            })?
            .0)
        };
        let write = || {
            let mut out = File::create(&file)?;
            Ok(time(|| {
                blocks.iter().try_for_each(|block| out.write_all(block.data()))?;
                Ok(out.sync_all()?)
            })?
            .0)
        };
        pair(&format!("put {name}"), "write and fsync", total as u64, ROUNDS, put, write)?;
        let store = Store::open(&dir.path().join("1"))?;
        let core = store.core();
        let get = || {
            Ok(time(|| {
                for block in &blocks {
                    black_box(core.get(block.cid())?);
                }
                Ok(())
            })?
            .0)
        };
        let read = || {
            let mut input = File::open(&file)?;
            input.rewind()?;
            Ok(time(|| {
                for block in &blocks {
                    let mut buffer = vec![0; block.data().len()];
                    input.read_exact(&mut buffer)?;
                    black_box(buffer);
                }
                Ok(())
            })?
            .0)
        };
        pair(&format!("get {name}"), "read from the page cache", total as u64, ROUNDS, get, read)?;
    }
    Ok(())
}

fn blocks(size: usize, total: usize) -> anyhow::Result<Vec<Block>> {
    let input = Bytes::from(random(total));
    let cut = |at: usize| Block::hashed(Prefix::v1(codec::RAW), input.slice(at..at + size));
    Ok((0..total).step_by(size).map(cut).collect::<Result<_, _>>()?)
}

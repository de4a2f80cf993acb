//! Durable adds: beside `dd conv=fsync` of the same file from the page cache, beside the bare store
//! with the same blocks, and beside Kubo 0.22; of many small files; by size; into a full store.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use henge::ipld::block::{Block, Prefix};
use henge::ipld::cid::{Version, codec};
use henge::store::Store;
use henge::unixfs::chunk::fixed::Fixed;
use henge::unixfs::node::Leaf;

use super::clock::{median, pair, random, rate, time};
use super::ground::{Ground, MIB, peak, remove, run, settle, watch};
use super::peers::{Henge, Kubo, Node as _};

const ROUNDS: usize = 5;
/// Kubo's default chunk.
const CHUNK: usize = 262_144;
const SMALL_BYTES: usize = 4096;
/// Small files in one folder.
const A_FOLDER: usize = 1000;
/// Blocks of a store that counts as full.
const FULL: usize = 1_000_000;

/// One file, to a fresh repository each time: in process, and through a daemon.
pub fn add() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let most = std::cell::Cell::new((0, 0));
    let here = || {
        let (taken, peak) = in_process(&ground, "repo")?;
        most.set((most.get().0.max(peak), most.get().1));
        Ok(taken)
    };
    pair("add, in process", "dd conv=fsync", ground.bytes, ROUNDS, here, || dd(&ground))?;
    let through = || {
        let (taken, peak) = by_daemon(&ground)?;
        most.set((most.get().0, most.get().1.max(peak)));
        Ok(taken)
    };
    pair("add, by a daemon", "dd conv=fsync", ground.bytes, ROUNDS, through, || dd(&ground))?;
    let blocks = leaves(&ground.file)?;
    let bare = || bare(&ground, &blocks);
    pair("add, in process", "the store alone", ground.bytes, ROUNDS, here, bare)?;
    drop(blocks);
    match Kubo::library() {
        Ok(_) => {
            let kubo = || kubo(&ground);
            pair("add, in process", "Kubo 0.22", ground.bytes, ROUNDS, here, kubo)?;
        }
        Err(why) => println!("  SKIPPED Kubo: {why}"),
    }
    let (alone, both) = most.get();
    println!("  most memory, MiB: in process {}, client and daemon {}", alone / MIB, both / MIB);
    Ok(())
}

fn in_process(ground: &Ground, repo: &str) -> anyhow::Result<(Duration, u64)> {
    ground.fresh(repo)?;
    settle()?;
    time(|| {
        let mut command = ground.henge(repo, &["add", "-Q", ground.input()?]);
        watch(command.stdout(Stdio::null()).spawn()?)
    })
}

/// The daemon's peak counts with the client's.
fn by_daemon(ground: &Ground) -> anyhow::Result<(Duration, u64)> {
    let dir = tempfile::tempdir()?;
    let daemon = Henge::start(dir.path(), "tcp")?;
    settle()?;
    let (taken, client) = time(|| {
        let mut command = daemon.ask(&["add", "-Q", ground.input()?]);
        watch(command.stdout(Stdio::null()).spawn()?)
    })?;
    Ok((taken, client + peak(daemon.pid())))
}

fn dd(ground: &Ground) -> anyhow::Result<Duration> {
    let copy = ground.dir.path().join("copy");
    remove(&copy)?;
    settle()?;
    let [from, to] = [&ground.file, &copy].map(|p| p.display().to_string());
    let mut command = Command::new("dd");
    command.args([format!("if={from}"), format!("of={to}")]);
    command.args(["bs=1M", "conv=fsync"]).stderr(Stdio::null());
    Ok(time(|| run(&mut command))?.0)
}

/// The blocks, hashed before, to a fresh store.
fn bare(ground: &Ground, blocks: &[Block]) -> anyhow::Result<Duration> {
    let dir = ground.dir.path().join("bare");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    settle()?;
    let (taken, ()) = time(|| {
        let core = Store::open(&dir)?.core();
        let mut writer = core.writer();
        for block in blocks {
            writer.put(block)?;
        }
        Ok(writer.commit(&[])?)
    })?;
    Ok(taken)
}

fn kubo(ground: &Ground) -> anyhow::Result<Duration> {
    let dir = tempfile::tempdir()?;
    let mut kubo = Kubo::start(dir.path(), "tcp")?;
    settle()?;
    Ok(time(|| kubo.add(&ground.file))?.0)
}

/// The leaves that `add` makes of a file.
fn leaves(file: &Path) -> anyhow::Result<Vec<Block>> {
    let prefix = Prefix { version: Version::V0, ..Prefix::v1(codec::DAG_PB) };
    let mut chunks = Fixed::new(File::open(file)?, CHUNK, Leaf::File);
    let mut blocks = Vec::new();
    while let Some(framed) = chunks.next_block()? {
        blocks.push(Block::hashed(prefix, framed.block)?);
    }
    Ok(blocks)
}

/// Small files, a thousand a folder; `HENGE_BENCH_FILES` asks for more than 100,000.
pub fn files() -> anyhow::Result<()> {
    let asked = std::env::var("HENGE_BENCH_FILES").ok().and_then(|text| text.parse().ok());
    let most: usize = asked.unwrap_or(100_000);
    let ground = Ground::with(0)?;
    let mut made = 0;
    for count in [10_000, 100_000, 1_000_000].into_iter().filter(|count| *count <= most) {
        small(&ground.dir.path().join("files"), made, count)?;
        made = count;
        let folder = ground.dir.path().join("files");
        let once = |_| {
            ground.fresh("repo")?;
            settle()?;
            // What was just written is slow to be read the first time, and that is not ours.
            read_all(&folder)?;
            let folder = folder.to_str().context("a path in UTF-8")?;
            time(|| {
                let mut command = ground.henge("repo", &["add", "-Qr", folder]);
                watch(command.stdout(Stdio::null()).spawn()?)
            })
        };
        let runs = (0..3).map(once).collect::<anyhow::Result<Vec<_>>>()?;
        let most = runs.iter().map(|(_, peak)| *peak).max().unwrap_or(0);
        let taken = median(runs.iter().map(|(taken, _)| taken.as_secs_f64()).collect());
        println!(
            "  {count:>9} files of 4 KiB             {taken:>7.2} s   {:>7.0} files/s   {} MiB",
            count as f64 / taken,
            most / MIB
        );
    }
    Ok(())
}

/// Reads every file in the folders of a folder.
fn read_all(folder: &Path) -> anyhow::Result<()> {
    for below in std::fs::read_dir(folder)? {
        for file in std::fs::read_dir(below?.path())? {
            std::hint::black_box(std::fs::read(file?.path())?);
        }
    }
    Ok(())
}

/// Makes files `from..to` below a folder; each of them is another.
fn small(folder: &Path, from: usize, to: usize) -> anyhow::Result<()> {
    for first in (from..to).step_by(A_FOLDER) {
        let below = folder.join(format!("{:04}", first / A_FOLDER));
        std::fs::create_dir_all(&below)?;
        let bytes = random(A_FOLDER * SMALL_BYTES + first);
        for (n, content) in bytes[first..].chunks(SMALL_BYTES).enumerate() {
            std::fs::write(below.join(format!("file-{n:03}")), content)?;
        }
    }
    Ok(())
}

/// What an add costs by its size, and a source tree: this one.
pub fn size() -> anyhow::Result<()> {
    for bytes in [1 << 10, 64 << 10, MIB, 16 * MIB, 256 * MIB] {
        let ground = Ground::with(bytes)?;
        let once = |_| Ok(in_process(&ground, "repo")?.0.as_secs_f64());
        let taken = median((0..ROUNDS).map(once).collect::<anyhow::Result<_>>()?);
        let (ms, mb) = (taken * 1e3, rate(bytes, Duration::from_secs_f64(taken)));
        println!("  {:>9} KiB                       {ms:>8.1} ms   {mb:>7.1} MB/s", bytes >> 10);
    }
    let ground = Ground::with(0)?;
    let once = |_| {
        ground.fresh("repo")?;
        tree(&ground)
    };
    let taken = median((0..ROUNDS).map(once).collect::<anyhow::Result<_>>()?);
    println!("  a source tree, this one          {:>8.1} ms", taken * 1e3);
    Ok(())
}

/// Adds the sources of this project; in seconds.
fn tree(ground: &Ground) -> anyhow::Result<f64> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["src", "tests", "benches", "docs"].map(|name| here.join(name));
    settle()?;
    let mut command = ground.henge("repo", &["add", "-Qr"]);
    Ok(time(|| run(command.args(sources).stdout(Stdio::null())))?.0.as_secs_f64())
}

/// The file and the tree, into a store that holds a million blocks.
pub fn full() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let alone = in_process(&ground, "other")?.0;
    ground.fresh("repo")?;
    fill(&ground.dir.path().join("repo").join("store"))?;
    settle()?;
    let mut command = ground.henge("repo", &["add", "-Q", ground.input()?]);
    let (taken, ()) = time(|| run(command.stdout(Stdio::null())))?;
    println!(
        "  add beside {FULL} blocks          {:>7.0} MB/s   into an empty store {:>7.0} MB/s",
        rate(ground.bytes, taken),
        rate(ground.bytes, alone)
    );
    println!("  a source tree, this one          {:>8.1} ms", tree(&ground)? * 1e3);
    Ok(())
}

/// Puts a million small blocks into the store of a repository.
fn fill(store: &Path) -> anyhow::Result<()> {
    let core = Store::open(store)?.core();
    let mut writer = core.writer();
    for n in 0..FULL {
        let data = [&n.to_be_bytes()[..], &[7; 120]].concat();
        writer.put(&Block::hashed(Prefix::v1(codec::RAW), data.into())?)?;
    }
    Ok(writer.commit(&[])?)
}

//! Reading back: `cat` warm and cold, and CARs out and in.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::clock::{median, pair, rate, time};
use super::ground::{Ground, run, settle};

const ROUNDS: usize = 5;

/// Reading a file from the store, beside `cat`; then with nothing of it in the page cache.
pub fn cat() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    ground.fresh("repo")?;
    let cid = ground.says("repo", &["add", "-Q", ground.input()?])?;
    let ours = || {
        let mut command = ground.henge("repo", &["cat", &cid]);
        Ok(time(|| piped(&mut command))?.0)
    };
    let plain = || {
        let mut command = Command::new("cat");
        command.arg(&ground.file);
        Ok(time(|| piped(&mut command))?.0)
    };
    pair("cat, into a pipe", "cat(1), into a pipe", ground.bytes, ROUNDS, ours, plain)?;
    let cold_ours = || {
        forget(&ground.dir.path().join("repo"))?;
        ours()
    };
    let cold_plain = || {
        forget(&ground.file)?;
        plain()
    };
    pair("cat, cold", "cat(1), cold", ground.bytes, ROUNDS, cold_ours, cold_plain)
}

/// A DAG out to a CAR, and into another repository.
pub fn car() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    ground.fresh("repo")?;
    let cid = ground.says("repo", &["add", "-Q", ground.input()?])?;
    let car = ground.dir.path().join("out.car");
    let path = car.to_str().context("a path in UTF-8")?;
    let out = |_| {
        let file = std::fs::File::create(&car)?;
        let mut command = ground.henge("repo", &["dag", "export", "--progress=false", &cid]);
        Ok(time(|| run(command.stdout(file)))?.0)
    };
    let into = |_| {
        ground.fresh("other")?;
        settle()?;
        let mut command = ground.henge("other", &["dag", "import", path]);
        Ok(time(|| run(command.stdout(Stdio::null())))?.0)
    };
    for (name, taken) in [
        ("dag export, to a file", (0..ROUNDS).map(out).collect::<anyhow::Result<Vec<_>>>()?),
        ("dag import, durable", (0..ROUNDS).map(into).collect::<anyhow::Result<Vec<_>>>()?),
    ] {
        let rates = taken.into_iter().map(|taken| rate(ground.bytes, taken)).collect();
        println!("  {name:<34} {:>7.0} MB/s", median(rates));
    }
    Ok(())
}

/// Reads everything that a command prints: /dev/null would let it skip the work.
fn piped(command: &mut Command) -> anyhow::Result<u64> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut out = child.stdout.take().context("a pipe")?;
    let bytes = std::io::copy(&mut out, &mut std::io::sink())?;
    ensure!(child.wait()?.success());
    Ok(bytes)
}

/// Drops a file, or all files below a folder, from the page cache.
fn forget(path: &std::path::Path) -> anyhow::Result<()> {
    settle()?;
    if path.is_dir() {
        return std::fs::read_dir(path)?.try_for_each(|entry| forget(&entry?.path()));
    }
    let file = std::fs::File::open(path)?;
    Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
}

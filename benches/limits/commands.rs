//! Whole commands: a durable `henge add` beside `dd conv=fsync` of the same file from the page
//! cache, `henge cat` beside `cat`, and the memory that add takes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::clock::{pair, random, time};

const ROUNDS: usize = 5;
const MIB: u64 = 1 << 20;

/// A folder with a file to move.
struct Ground {
    dir: tempfile::TempDir,
    file: PathBuf,
    bytes: u64,
}

impl Ground {
    fn new() -> anyhow::Result<Self> {
        let mib = std::env::var("HENGE_BENCH_MIB").ok().and_then(|text| text.parse().ok());
        let bytes = mib.unwrap_or(1024) * MIB;
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("input");
        std::fs::write(&file, random(bytes as usize))?;
        Ok(Self { dir, file, bytes })
    }

    fn henge(&self, repo: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_henge"));
        command.args(args).env("HENGE_PATH", self.dir.path().join(repo)).stderr(Stdio::null());
        command
    }

    fn fresh(&self, repo: &str) -> anyhow::Result<()> {
        let path = self.dir.path().join(repo);
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        run(self.henge(repo, &["init"]).stdout(Stdio::null()))
    }
}

/// Adding a file, to a fresh repository each time.
pub fn add() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let copy = ground.dir.path().join("copy");
    let peak = std::cell::Cell::new(0);
    let ours = || {
        ground.fresh("repo")?;
        settle()?;
        let file = ground.file.to_str().context("a path in UTF-8")?;
        let (taken, most) = time(|| {
            let child = ground.henge("repo", &["add", "-Q", file]).stdout(Stdio::null()).spawn()?;
            watch(child)
        })?;
        peak.set(peak.get().max(most));
        Ok(taken)
    };
    let dd = || {
        remove(&copy)?;
        settle()?;
        let [from, to] = [&ground.file, &copy].map(|p| p.display().to_string());
        let mut command = Command::new("dd");
        command.args([format!("if={from}"), format!("of={to}")]);
        command.args(["bs=1M", "conv=fsync"]).stderr(Stdio::null());
        Ok(time(|| run(&mut command))?.0)
    };
    pair("add, durable", "dd conv=fsync", ground.bytes, ROUNDS, ours, dd)?;
    println!("  add, peak resident memory          {:>7.0} MiB", peak.get() as f64 / MIB as f64);
    Ok(())
}

/// Reading a file from the store.
pub fn cat() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    ground.fresh("repo")?;
    let file = ground.file.to_str().context("a path in UTF-8")?;
    let added = ground.henge("repo", &["add", "-Q", file]).output()?;
    let cid = String::from_utf8(added.stdout)?.trim().to_owned();
    let ours = || {
        let mut command = ground.henge("repo", &["cat", &cid]);
        Ok(time(|| piped(&mut command))?.0)
    };
    let plain = || {
        let mut command = Command::new("cat");
        command.arg(&ground.file);
        Ok(time(|| piped(&mut command))?.0)
    };
    pair("cat, into a pipe", "cat(1), into a pipe", ground.bytes, ROUNDS, ours, plain)
}

/// Reads everything that a command prints: /dev/null would let it skip the work.
fn piped(command: &mut Command) -> anyhow::Result<u64> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut out = child.stdout.take().context("a pipe")?;
    let bytes = std::io::copy(&mut out, &mut std::io::sink())?;
    ensure!(child.wait()?.success());
    Ok(bytes)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    ensure!(command.status()?.success(), "{command:?}");
    Ok(())
}

/// Waits for a child and gives its peak resident memory in bytes.
fn watch(mut child: Child) -> anyhow::Result<u64> {
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(kib.unwrap_or(0) * 1024);
        if let Some(status) = child.try_wait()? {
            ensure!(status.success());
            return Ok(most);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lets what earlier rounds wrote reach the disk, so that nobody pays for somebody else.
fn settle() -> anyhow::Result<()> {
    run(&mut Command::new("sync"))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

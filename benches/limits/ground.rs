//! A folder with a file to move, and commands in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::clock::random;

/// 2^20 bytes.
pub const MIB: u64 = 1 << 20;

/// A folder that goes with everything in it.
pub struct Ground {
    /// The folder.
    pub dir: tempfile::TempDir,
    /// A file of random bytes in it.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
}

impl Ground {
    /// With the file that `HENGE_BENCH_MIB` asks for: 1 GiB unless told otherwise.
    pub fn new() -> anyhow::Result<Self> {
        let mib = std::env::var("HENGE_BENCH_MIB").ok().and_then(|text| text.parse().ok());
        Self::with(mib.unwrap_or(1024) * MIB)
    }

    /// With a file of this size.
    pub fn with(bytes: u64) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("input");
        std::fs::write(&file, random(bytes as usize))?;
        Ok(Self { dir, file, bytes })
    }

    /// The file, as an argument.
    pub fn input(&self) -> anyhow::Result<&str> {
        self.file.to_str().context("a path in UTF-8")
    }

    /// The binary, on a repository of this name.
    pub fn henge(&self, repo: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_henge"));
        command.args(args).env("HENGE_PATH", self.dir.path().join(repo)).stderr(Stdio::null());
        command
    }

    /// What it prints.
    pub fn says(&self, repo: &str, args: &[&str]) -> anyhow::Result<String> {
        let said = self.henge(repo, args).output()?;
        ensure!(said.status.success(), "henge {args:?}");
        Ok(String::from_utf8(said.stdout)?.trim().to_owned())
    }

    /// An empty repository in the place of what was there.
    pub fn fresh(&self, repo: &str) -> anyhow::Result<()> {
        let path = self.dir.path().join(repo);
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        run(self.henge(repo, &["init"]).stdout(Stdio::null()))
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    ensure!(command.status()?.success(), "{command:?}");
    Ok(())
}

/// Waits for a child and gives its peak resident memory in bytes.
pub fn watch(mut child: Child) -> anyhow::Result<u64> {
    let mut most = 0;
    loop {
        most = most.max(peak(child.id()));
        if let Some(status) = child.try_wait()? {
            ensure!(status.success());
            return Ok(most);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The most memory that a process ever had resident, in bytes; 0 when it is gone.
pub fn peak(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Lets what earlier rounds wrote reach the disk, so that nobody pays for somebody else.
pub fn settle() -> anyhow::Result<()> {
    run(&mut Command::new("sync"))
}

/// Deletes a file if it is there.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

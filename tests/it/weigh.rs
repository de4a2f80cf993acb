//! What a repository takes on the disk and what a process wrote, as the system tells it; and the
//! small talk with a daemon that goes with it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::keystream;
use crate::http_client::{Answer, post, upload};

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;

/// A file whose pin was acknowledged; its content is made again from the seed.
#[derive(Clone, Debug)]
pub struct Kept {
    pub cid: String,
    pub seed: String,
    pub size: usize,
}

impl Kept {
    /// Checks that it reads back byte for byte.
    pub fn reads_back(&self, api: &str) {
        let answer = post(api, &format!("/api/v0/cat?arg={}", self.cid));
        assert!(answer.status == 200 && answer.whole, "{}: {}", self.cid, answer.status);
        assert_eq!(answer.stream_error(), None, "{}", self.cid);
        assert!(answer.body == keystream(&self.seed, self.size), "{} is not what it was", self.cid);
    }

    /// Unpins it.
    pub fn unpin(&self, api: &str) {
        let answer = post(api, &format!("/api/v0/pin/rm?arg={}", self.cid));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Adds a file, pinned; gives the reply, and what is kept if it was taken.
pub fn add(api: &str, seed: &str, size: usize) -> (Answer, Option<Kept>) {
    let answer = upload(api, "/api/v0/add?quieter=true", &keystream(seed, size));
    let told = (answer.status == 200 && answer.stream_error().is_none()).then(|| {
        let cid = answer.json()["Hash"].as_str().unwrap().to_owned();
        Kept { cid, seed: seed.to_owned(), size }
    });
    (answer, told)
}

/// Bytes that everything below a folder takes on the disk, the way `du` counts. What vanishes while
/// it is looked at takes nothing.
pub fn du(root: &Path) -> u64 {
    let own = fs::symlink_metadata(root).map_or(0, |meta| meta.blocks() * 512);
    let Ok(entries) = fs::read_dir(root) else { return own };
    let below = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => du(&entry.path()),
        _ => entry.metadata().map_or(0, |meta| meta.blocks() * 512),
    });
    own + below.sum::<u64>()
}

/// The most that a folder takes until told to stop, looked at ten times a second, and how often it
/// was looked at.
pub fn most(root: &Path, over: &AtomicBool) -> (u64, usize) {
    let (mut most, mut looks) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        most = most.max(du(root));
        looks += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    (most, looks)
}

/// Bytes that a process has had written to disks.
pub fn written(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

/// Whether a folder lies in memory: nothing is then written to a disk.
pub fn in_memory(folder: &Path) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    rustix::fs::statfs(folder).unwrap().f_type as i64 == TMPFS
}

/// Bytes of the disk below a folder that are free.
pub fn free(folder: &Path) -> u64 {
    let stat = rustix::fs::statvfs(folder).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// Bytes of records that blocks need, as the daemon tells.
pub fn live(api: &str) -> u64 {
    let stat = post(api, "/api/v0/repo/stat").json();
    stat["LogicalSize"].as_u64().unwrap_or_else(|| panic!("{stat}"))
}

/// Two decimals of a ratio.
pub fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to as f64
}

//! A damaged or full disk, and repositories that cannot be used: the command says in one line what
//! is wrong and where, never hands out wrong bytes as right ones, and nothing acknowledged is lost.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};

use crate::harness::{Repo, keystream, one_line, said, skip};

/// A repository with files of several sizes.
pub struct Filled {
    pub repo: Repo,
    /// CIDs, and what they hold.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Filled {
    pub fn new() -> Self {
        let repo = Repo::new();
        let files = add_some(&repo, "filled");
        Self { repo, files }
    }

    fn database(&self) -> Vec<(PathBuf, u64)> {
        database(&self.repo.root())
    }

    /// Every file reads back.
    pub fn readable(&self) {
        for (cid, bytes) in &self.files {
            let said = self.repo.run(["cat", cid]);
            assert!(said.code == 0 && &said.out == bytes, "{cid}: {}", said.err);
        }
    }

    /// Every file either reads back or fails in one line; gives the lines.
    fn right_or_refused(&self, what: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for (cid, bytes) in &self.files {
            let said = self.repo.run(["cat", cid]);
            match said.code {
                0 => assert!(&said.out == bytes, "{what}: wrong bytes passed as right"),
                _ => {
                    assert!(bytes.starts_with(&said.out), "{what}: wrong bytes before the error");
                    lines.push(one_line(&said));
                }
            }
        }
        lines
    }
}

/// The files of a repository's database, with their sizes, in the order of their names.
pub fn database(root: &Path) -> Vec<(PathBuf, u64)> {
    let folders =
        ["store/rows", "store/segments"].map(|name| fs::read_dir(root.join(name)).unwrap());
    let sized = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.path(), entry.metadata().unwrap())
    };
    let all = folders.into_iter().flatten().map(sized);
    let files = all.filter(|(_, meta)| meta.is_file()).map(|(path, meta)| (path, meta.len()));
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

/// Adds one small file, one of a block and one of several, and gives their CIDs.
fn add_some(repo: &Repo, seed: &str) -> Vec<(String, Vec<u8>)> {
    let add = |size: usize| {
        let bytes = keystream(&format!("{seed}-{size}"), size);
        let path = repo.file(format!("{seed}-{size}"), &bytes);
        (repo.ok(["add", "-Q", path.to_str().unwrap()]), bytes)
    };
    [100, 100_000, 1_000_000].map(add).into()
}

/// Copies a repository; no process has it open.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default()
}

#[test]
fn a_flipped_byte_in_a_block_is_found_and_the_block_named() {
    let filled = Filled::new();
    // The one block of 100,000 bytes, found by its content.
    let (cid, bytes) = &filled.files[1];
    let (path, at) = place_of(&filled, &bytes[40_000..40_064]);
    flip(&path, at);
    let said = filled.repo.run(["cat", cid]);
    let line = one_line(&said);
    assert!(line.contains(cid.as_str()) && line.contains("corrupt"), "{line}");
    assert!(said.out.is_empty());
    let line = filled.repo.fails(["block", "get", cid]);
    assert!(line.contains(cid.as_str()), "{line}");
    filled.repo.fails(["get", cid, "-o", "out"]);
    for (other, bytes) in [&filled.files[0], &filled.files[2]] {
        let said = filled.repo.run(["cat", other]);
        assert!(said.code == 0 && &said.out == bytes, "{}", said.err);
    }
    flip(&path, at);
    filled.readable();
}

/// Which file of the database holds these bytes, and where.
pub fn place_of(filled: &Filled, needle: &[u8]) -> (PathBuf, u64) {
    place_in(&filled.repo.root(), needle)
}

/// The same in any repository.
pub fn place_in(root: &Path, needle: &[u8]) -> (PathBuf, u64) {
    let find = |(path, _): (PathBuf, u64)| {
        let content = fs::read(&path).unwrap();
        let at = content.windows(needle.len()).position(|window| window == needle)?;
        Some((path, at as u64))
    };
    database(root).into_iter().find_map(find).expect("the bytes lie in the database")
}

/// Inverts a byte; twice is as if nothing had been.
pub fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

#[test]
fn flipped_bytes_anywhere_never_pass_as_right_ones() {
    const FLIPS: usize = 60;
    let filled = Filled::new();
    let pristine = filled.repo.path("pristine");
    copy(&filled.repo.root(), &pristine);
    let mut random = rand::rngs::StdRng::seed_from_u64(11);
    let mut refused = 0;
    for _ in 0..FLIPS {
        let files = filled.database();
        let candidates: Vec<_> = files.iter().filter(|(_, size)| *size > 0).collect();
        let (path, size) = candidates[random.random_range(0..candidates.len())];
        let at = random.random_range(0..*size);
        flip(path, at);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        refused += filled.right_or_refused(&format!("byte {at} of {name}")).len();
        fs::remove_dir_all(filled.repo.root()).unwrap();
        copy(&pristine, &filled.repo.root());
    }
    assert!(refused > 0, "no flip was noticed: the test no longer reaches the content");
    filled.readable();
}

#[test]
fn a_cut_database_file_is_told_and_nothing_else_is_touched() {
    let filled = Filled::new();
    let pristine = filled.repo.path("pristine");
    copy(&filled.repo.root(), &pristine);
    let kinds = |path: &Path| -> String {
        let name = path.file_name().unwrap().to_string_lossy();
        let plain = name.split('-').next().unwrap().to_owned();
        if extension(path).is_empty() { plain } else { extension(path).to_owned() }
    };
    let mut cut: Vec<String> = Vec::new();
    for (path, size) in filled.database() {
        let kind = kinds(&path);
        if size < 2 || !["sst", "seg", "MANIFEST", "CURRENT", "log"].contains(&kind.as_str()) {
            continue;
        }
        fs::File::options().write(true).open(&path).unwrap().set_len(size / 2).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for line in filled.right_or_refused(&name) {
            let store = filled.repo.root().join("store");
            let named = line.contains(store.to_str().unwrap()) || line.contains(&name);
            let blocks = filled.files.iter().any(|(cid, _)| line.contains(cid.as_str()));
            assert!(named || blocks, "{name}: {line}");
        }
        // Putting the file back heals everything. A cut log alone looks like one that a crash ended:
        // opening takes what stands in it, and starts another one.
        let original = pristine.join(path.strip_prefix(filled.repo.root()).unwrap());
        fs::copy(original, &path).unwrap();
        if kind != "log" {
            filled.readable();
        }
        cut.push(kind);
        fs::remove_dir_all(filled.repo.root()).unwrap();
        copy(&pristine, &filled.repo.root());
    }
    for kind in ["sst", "seg", "MANIFEST", "CURRENT", "log"] {
        assert!(cut.iter().any(|found| found == kind), "no {kind} file among {cut:?}");
    }
    filled.readable();
}

#[test]
fn a_flipped_log_is_told_rather_than_taken_for_its_end() {
    const FLIPS: usize = 25;
    let filled = Filled::new();
    let pristine = filled.repo.path("pristine");
    copy(&filled.repo.root(), &pristine);
    let pins = filled.repo.ok(["pin", "ls", "-q", "--type=recursive"]);
    let mut random = rand::rngs::StdRng::seed_from_u64(19);
    let mut refused = 0;
    for _ in 0..FLIPS {
        fs::remove_dir_all(filled.repo.root()).unwrap();
        copy(&pristine, &filled.repo.root());
        let files = filled.database();
        let logs: Vec<_> =
            files.iter().filter(|(path, size)| extension(path) == "log" && *size > 0).collect();
        let (path, size) = logs[random.random_range(0..logs.len())];
        let at = random.random_range(0..*size);
        flip(path, at);
        let said = filled.repo.run(["pin", "ls", "-q", "--type=recursive"]);
        match said.code {
            0 => assert_eq!(said.text(), pins, "byte {at} of {}", path.display()),
            _ => {
                one_line(&said);
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "no flip was noticed: the test no longer reaches the log");
}

/// A small filesystem in memory; unmounted when dropped, also by a failing test.
struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    fn mount(place: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(place).unwrap();
        let size = format!("size={size}");
        let mut mount = Command::new("mount");
        let mounted = quiet(mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place));
        mounted.then(|| Self { place: place.to_owned() })
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(quiet(Command::new("mount").args(["-o", &options]).arg(&self.place)));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        quiet(Command::new("umount").arg(&self.place));
    }
}

fn quiet(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_is_told_and_nothing_acknowledged_is_lost() {
    let repo = Repo { dir: tempfile::tempdir().unwrap() };
    let Some(disk) = SmallDisk::mount(&repo.root(), "64m") else {
        return skip("a_full_disk_is_told", "mounting a tmpfs was refused");
    };
    repo.ok(["init"]);
    // Not the limit that fits the disk: the disk itself.
    repo.ok(["config", "Datastore.StorageMax", "100GB"]);
    let mut files = add_some(&repo, "before");
    let huge = keystream("huge", 200 << 20);
    repo.file("huge", &huge);
    let readable = |files: &[(String, Vec<u8>)]| {
        for (cid, bytes) in files {
            let said = repo.run(["cat", cid]);
            assert!(said.code == 0 && &said.out == bytes, "{cid}: {}", said.err);
        }
    };
    for _ in 0..2 {
        let line = repo.fails(["add", "-Q", "huge"]);
        assert!(line.contains("no space left"), "{line}");
        // Full as it is: what was acknowledged is there.
        readable(&files);
    }
    let pins = repo.ok(["pin", "ls", "-q", "--type=recursive"]);
    assert_eq!(pins.lines().count(), files.len());
    disk.grow("1g");
    files.extend(add_some(&repo, "after"));
    let cid = repo.ok(["add", "-Q", "huge"]);
    let back = repo.run(["cat", &cid]);
    assert!(back.code == 0 && back.out == huge, "{}", back.err);
    readable(&files);
}

#[test]
fn a_repository_that_cannot_be_used_is_told_and_not_touched() {
    let repo = Repo::new();
    repo.file("plain/file", "x");
    repo.file("kubo/version", "18\n");
    repo.file("kubo/datastore_spec", "{}");
    repo.file("kubo/blocks/_README", "x");
    for (layout, text) in [("newer", "999\n"), ("odd", "nonsense"), ("binary", "\u{0}\u{1b}")] {
        copy(&repo.root(), &repo.path(layout));
        repo.file(format!("{layout}/henge"), text);
    }
    for (config, text) in [("garbage", "{ nonsense"), ("list", "[]"), ("wrong", r#"{"Import":3}"#)]
    {
        copy(&repo.root(), &repo.path(config));
        repo.file(format!("{config}/config"), text);
    }
    let cases = [
        ("nowhere", "no IPFS repo found in "),
        ("plain", "no IPFS repo found in "),
        ("plain/file", "no IPFS repo found in "),
        ("kubo", "Kubo repository (fs-repo@18)"),
        ("newer", "999"),
        ("odd", "damaged"),
        ("binary", "damaged"),
        ("garbage", "config"),
        ("list", "config"),
        ("wrong", "Import"),
    ];
    for (name, told) in cases {
        let path = repo.path(name);
        let before = listing(&path);
        for args in [&["pin", "ls"][..], &["config", "show"], &["add", "-Q", "plain/file"]] {
            let args = [&["--repo-dir", path.to_str().unwrap()], args].concat();
            let said = repo.run(&args);
            assert!(said.code == 1 && said.out.is_empty(), "{args:?}: {}", said.text());
            assert!(said.err.starts_with("Error: "), "{}", said.err);
            assert!(said.err.contains(told) && said.err.contains(path.to_str().unwrap()));
            // Kubo's advice for a missing repository takes a second line.
            if !told.starts_with("no IPFS repo") {
                one_line(&said);
            }
        }
        assert_eq!(listing(&path), before, "{name} was changed");
    }
    let said = repo.run(["--repo-dir", "kubo", "init"]);
    assert!(one_line(&said).contains("Kubo repository"), "{}", said.err);
}

/// Names and contents of a folder's files. The lock file says nothing.
fn listing(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let kept = paths.filter(|path| path.is_file() && !path.ends_with("repo.lock"));
    let mut files: Vec<_> = kept.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_locked_repository_is_refused_at_once_or_waited_for() {
    let repo = Repo::new();
    let lock = fs::File::options().write(true).open(repo.root().join("repo.lock")).unwrap();
    lock.lock().unwrap();
    let begun = Instant::now();
    let line = repo.fails(["pin", "ls"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let path = repo.root().join("repo.lock");
    let told = format!("lock {}: someone else has the lock", path.display());
    assert!(line.contains(&told), "{line}");
    let waiting = |time: &str| {
        let mut command = repo.command(["pin", "ls"]);
        command.env("IPFS_WAIT_REPO_LOCK", time);
        command.spawn().unwrap()
    };
    let gives_up = said(waiting("300ms").wait_with_output().unwrap());
    assert!(one_line(&gives_up).contains(&told));
    let begun = Instant::now();
    let child = waiting("5s");
    std::thread::sleep(Duration::from_secs(1));
    lock.unlock().unwrap();
    let said = said(child.wait_with_output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
}

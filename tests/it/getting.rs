//! Getting a folder onto the disk: what its nodes tell of modes and times, and going on with what was
//! interrupted, in process and through a daemon.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use henge::ipld::cid::Cid;
use henge::ipld::codec::dag_pb::{Link, Node};

use crate::harness::{Daemon, Repo, Said, keystream, said, soak};

const MIB: usize = 1 << 20;

fn varint(out: &mut Vec<u8>, tag: u8, mut number: u64) {
    out.push(tag);
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A UnixFS 1.5 payload: the type's number, content, a mode, and a time.
fn payload(kind: u8, data: Option<&[u8]>, mode: Option<u64>, mtime: Option<(i64, u32)>) -> Vec<u8> {
    let mut out = vec![0x08, kind];
    if let Some(data) = data {
        varint(&mut out, 0x12, data.len() as u64);
        out.extend_from_slice(data);
        if kind == 2 {
            varint(&mut out, 0x18, data.len() as u64);
        }
    }
    if let Some(mode) = mode {
        varint(&mut out, 0x38, mode);
    }
    if let Some((seconds, nanos)) = mtime {
        let mut time = Vec::new();
        varint(&mut time, 0x08, seconds as u64);
        if nanos > 0 {
            time.push(0x15);
            time.extend_from_slice(&nanos.to_le_bytes());
        }
        varint(&mut out, 0x42, time.len() as u64);
        out.extend_from_slice(&time);
    }
    out
}

/// Puts a node and gives its CID.
fn put(repo: &Repo, payload: Vec<u8>, links: &[(&str, &str)]) -> String {
    let link = |(name, cid): &(&str, &str)| Link {
        cid: cid.parse::<Cid>().unwrap(),
        name: Some(name.to_string().into()),
        tsize: Some(1),
    };
    let links = links.iter().map(link).collect();
    let block = Node { links, data: Some(payload.into()) }.encode();
    let said = repo.feed(["block", "put", "--cid-codec=dag-pb"], &block);
    assert_eq!(said.code, 0, "{}", said.err);
    said.text()
}

/// A folder whose nodes tell modes and times of every kind.
fn told(repo: &Repo) -> String {
    let file = |mode, mtime| put(repo, payload(2, Some(b"text\n"), mode, mtime), &[]);
    let plain = file(None, None);
    let script = file(Some(0o750), Some((1_700_000_000, 123_456_789)));
    let old = file(Some(0o644), Some((-86_400, 500_000_000)));
    let zero = file(Some(0o400), Some((0, 0)));
    let lent = file(Some(0o6755), Some((1, 0)));
    let link = put(repo, payload(4, Some(b"script"), None, Some((1_600_000_000, 7))), &[]);
    let shut = put(
        repo,
        payload(1, None, Some(0o555), Some((1_500_000_000, 0))),
        &[("lent", &lent), ("zero", &zero)],
    );
    put(
        repo,
        payload(1, None, Some(0o700), Some((1_400_000_000, 1))),
        &[("link", &link), ("old", &old), ("plain", &plain), ("script", &script), ("shut", &shut)],
    )
}

/// Mode, and time in seconds and nanoseconds.
fn stat(path: &Path) -> (u32, i64, i64) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.permissions().mode() & 0o7777, meta.mtime(), meta.mtime_nsec())
}

fn as_told(out: &Path) {
    for (name, meant) in [
        (".", (0o700, 1_400_000_000, 1)),
        ("script", (0o750, 1_700_000_000, 123_456_789)),
        ("old", (0o644, -86_400, 500_000_000)),
        ("shut", (0o555, 1_500_000_000, 0)),
        // Nobody lends the rights of whoever unpacks.
        ("shut/lent", (0o755, 1, 0)),
        ("shut/zero", (0o400, 0, 0)),
    ] {
        assert_eq!(stat(&out.join(name)), meant, "{name}");
    }
    let link = fs::symlink_metadata(out.join("link")).unwrap();
    assert_eq!((link.mtime(), link.mtime_nsec()), (1_600_000_000, 7));
    assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new("script"));
    assert_eq!(fs::read(out.join("plain")).unwrap(), b"text\n");
}

#[test]
fn modes_and_times_come_back_where_nodes_tell_them() {
    let repo = Repo::for_daemon();
    let cid = told(&repo);
    repo.ok(["get", &cid, "-o", "out"]);
    as_told(&repo.path("out"));
    let now = std::time::SystemTime::now();
    let plain = fs::metadata(repo.path("out/plain")).unwrap().modified().unwrap();
    assert!(now.duration_since(plain).unwrap() < Duration::from_secs(60), "nobody told a time");
    // Onto what an earlier one has closed.
    repo.ok(["get", &cid, "-o", "out"]);
    as_told(&repo.path("out"));
    let daemon = Daemon::offline(&repo);
    repo.ok(["get", &cid, "-o", "through"]);
    as_told(&repo.path("through"));
    repo.ok(["get", "-a", &cid, "-o", "all"]);
    let unpacked =
        Command::new("tar").args(["xpf", "all.tar"]).current_dir(repo.dir.path()).output().unwrap();
    assert!(unpacked.status.success(), "{unpacked:?}");
    // GNU tar finds times before 1970 implausible, and says so.
    let said = String::from_utf8(unpacked.stderr).unwrap();
    assert!(said.lines().all(|line| line.contains("/old: implausibly old")), "{said}");
    let tar = repo.path(&cid);
    assert_eq!(stat(&tar.join("script")), (0o750, 1_700_000_000, 123_456_789));
    assert_eq!(stat(&tar.join("old")), (0o644, -86_400, 500_000_000));
    drop(daemon);
    // So that whoever is not root can clean up.
    for out in ["out", "through", &cid] {
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(repo.path(out).join("shut"), open).unwrap();
    }
}

#[test]
fn ls_shows_modes_and_times_where_nodes_tell_them() {
    let repo = Repo::new();
    let cid = told(&repo);
    let long = repo.ok(["ls", "-v", "--long", &cid]);
    let cells: Vec<Vec<&str>> = long.lines().map(|l| l.split_whitespace().collect()).collect();
    let column = |row: usize| (cells[row][0], cells[row][3..].join(" "));
    assert_eq!(cells[0], ["Mode", "Hash", "Size", "ModTime", "Name"]);
    assert_eq!(column(1), ("-", "Sep 13 2020 link".to_owned()));
    assert_eq!(column(2), ("-rw-r--r--", "Dec 31 1969 old".to_owned()));
    assert_eq!(column(3), ("-", "- plain".to_owned()));
    assert_eq!(column(4), ("-rwxr-x---", "Nov 14 2023 script".to_owned()));
    assert_eq!(column(5), ("dr-xr-xr-x", "Jul 14 2017 shut/".to_owned()));
    let json: serde_json::Value =
        serde_json::from_str(&repo.ok(["ls", "--enc=json", &format!("{cid}/shut")])).unwrap();
    let lent = &json["Objects"][0]["Links"][0];
    // Go's mode: setuid and setgid are bits 23 and 22 there.
    assert_eq!((lent["Name"].as_str(), lent["Mode"].as_u64()), (Some("lent"), Some(12_583_405)));
    assert_eq!(lent["ModTime"], "1970-01-01T00:00:01Z");
}

/// A folder of small files around a large one; gives its CID.
fn folder(repo: &Repo) -> (String, usize) {
    let large = if soak() { 1024 * MIB } else { 24 * MIB };
    for (name, size) in [("a/1", 3 * MIB), ("a/2", 10), ("b/large", large), ("c/3", MIB), ("d", 7)]
    {
        repo.file(format!("in/{name}"), keystream(name, size));
    }
    (repo.ok(["add", "-Q", "-r", "in"]), large)
}

fn same(repo: &Repo, out: &str) {
    let diff = Command::new("diff").args(["-r", "in", out]).current_dir(repo.dir.path()).output();
    let diff = diff.unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
    let hidden = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name());
        entries.filter(|name| name.as_encoded_bytes().starts_with(b".")).count()
    };
    assert_eq!(hidden(repo.dir.path()) + hidden(&repo.path(out).join("b")), 0, "left behind");
}

/// `get` under a limit on the size of files, which kills it in the middle of the large one.
fn limited(repo: &Repo, cid: &str, out: &str, limit: usize) -> Said {
    let script = format!("ulimit -c 0; ulimit -f {}; exec \"$@\"", limit / 1024);
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash", env!("CARGO_BIN_EXE_henge"), "get", cid, "-o", out]);
    command.current_dir(repo.dir.path()).env("HENGE_PATH", repo.root());
    said(command.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn a_get_that_was_killed_goes_on_where_it_stopped() {
    let repo = Repo::for_daemon();
    let (cid, large) = folder(&repo);
    let daemon = Daemon::offline(&repo);
    let limit = large / 3 / 1024 * 1024;
    let killed = limited(&repo, &cid, "out", limit);
    assert_ne!(killed.code, 0, "{killed:?}");
    let out = repo.path("out");
    assert!(!out.join("b/large").exists(), "half a file under its name");
    let before = fs::metadata(out.join("a/1")).unwrap();
    let other = repo.run(["get", &format!("{cid}/a"), "-o", "elsewhere"]);
    assert!(!other.err.contains("Going on"), "{}", other.err);
    let again = repo.run(["get", &cid, "-o", "out"]);
    assert_eq!(again.code, 0, "{}", again.err);
    let line = format!("Going on with {cid}/b/large, of which {limit} bytes are here");
    assert!(again.err.contains(&line), "{}", again.err);
    same(&repo, "out");
    let after = fs::metadata(out.join("a/1")).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()), "anew");
    // What is whole begins anew.
    let whole = repo.run(["get", &cid, "-o", "out"]);
    assert!(whole.code == 0 && !whole.err.contains("Going on"), "{}", whole.err);
    same(&repo, "out");
    drop(daemon);
}

#[test]
fn a_get_whose_daemon_dies_goes_on_in_process() {
    let repo = Repo::for_daemon();
    let (cid, _) = folder(&repo);
    let daemon = Daemon::offline(&repo);
    let child = repo.command(["get", &cid, "-o", "out"]).spawn().unwrap();
    let since = Instant::now();
    // Killed at whatever it is doing: the end is the same.
    while !repo.path("out/a/2").exists() && since.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_micros(200));
    }
    daemon.kill();
    let cut = said(child.wait_with_output().unwrap());
    assert!(cut.code == 0 || cut.err.starts_with("Error: "), "{cut:?}");
    let again = repo.run(["get", &cid, "-o", "out"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(again.err.contains("Going on"), cut.code != 0, "{}", again.err);
    same(&repo, "out");
}

#[test]
fn archives_are_named_and_written_whole_or_not_at_all() {
    let repo = Repo::new();
    repo.file("in/a", keystream("a", 3 * MIB));
    let cid = repo.ok(["add", "-Q", "-r", "in"]);
    for (args, name) in [
        (&["-a"][..], "x.tar"),
        (&["-a", "-C"], "x.tar.gz"),
        (&["-a", "-o", "y"], "y.tar"),
        (&["-a", "-C", "-o", "y.tar.gz"], "y.tar.gz"),
    ] {
        let name = name.replace('x', &cid);
        let said = repo.ok(["get", &cid].into_iter().chain(args.iter().copied()));
        assert_eq!(said, format!("Saving archive to {name}"));
        let flags = if args.contains(&"-C") { "tzf" } else { "tf" };
        let listed = Command::new("tar").args([flags, &name]).current_dir(repo.dir.path()).output();
        let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
        assert_eq!(listed.replace("/\n", "\n"), format!("{cid}\n{cid}/a\n"));
    }
    let line = repo.fails(["get", "-C", &cid]);
    assert!(line.contains("file is not regular") && line.contains("--archive"), "{line}");
    // The same DAG makes the same archive.
    repo.ok(["get", "-a", &cid, "-o", "z.tar"]);
    assert!(fs::read(repo.path("z.tar")).unwrap() == fs::read(repo.path("y.tar")).unwrap());
    // A device that was named is written, not replaced.
    let null = fs::metadata("/dev/null").unwrap().rdev();
    repo.ok(["get", &format!("{cid}/a"), "-o", "/dev/null"]);
    assert_eq!(fs::metadata("/dev/null").unwrap().rdev(), null);
}

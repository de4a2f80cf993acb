//! The command line through a daemon: the same words as without one, and nothing acknowledged is
//! lost however the daemon ends.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::statfs;

use crate::add_meta::set_time;
use crate::harness::{Daemon, Repo, Said, keystream, skip, soak};
use crate::http_client::{Connection, head, post, try_upload, upload};
use crate::surface::HELLO;

/// The command lines that are run both ways; `@` is the folder's CID.
const TABLE: &[&[&str]] = &[
    &["add", "hello"],
    &["add", "-Q", "--cid-version=1", "hello"],
    &["add", "-r", "d"],
    &["add", "-w", "hello", "d/sub/b"],
    &["add", "-n", "-q", "hello"],
    &["add", "--chunker=nonsense", "hello"],
    &["add", "--enc=json", "-r", "d"],
    &["cat", "@/a.txt"],
    &["cat", "-o", "2", "-l", "3", "@/a.txt"],
    &["cat", "@/absent"],
    &["cat", "@"],
    &["cat", "nonsense"],
    &["get", "@", "-o", "out"],
    &["ls", "@"],
    &["ls", "--headers", "@"],
    &["ls", "@/absent"],
    &["refs", "@"],
    &["refs", "-r", "-e", "@"],
    &["refs", "local"],
    &["block", "stat", "@"],
    &["block", "get", "@"],
    &["block", "put", "hello"],
    &["block", "rm", "@"],
    &["block", "rm", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"],
    &["block", "stat", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"],
    &["dag", "get", "@"],
    &["dag", "get", "@/nothing"],
    &["pin", "ls"],
    &["pin", "ls", "--type=recursive", "-q"],
    &["pin", "ls", "--type=odd"],
    &["pin", "ls", "@"],
    &["pin", "rm", "@"],
    &["pin", "rm", "@"],
    &["pin", "ls", "@"],
    &["pin", "add", "--name=n", "@"],
    &["pin", "add", "-r=false", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"],
    &["pin", "ls", "--names", "--type=recursive"],
    &["repo", "stat", "-s"],
    &["repo", "gc"],
    &["config", "Datastore.StorageMax"],
    &["config", "Datastore.StorageMax", "7GB"],
    &["config", "Datastore.StorageMax"],
    &["config", "--json", "Import.CidVersion", "1"],
    &["config", "No.Such"],
    &["config", "--bool", "Import.CidVersion", "maybe"],
    &["id", "-f", "<aver>"],
    &["version"],
];

/// A repository for a daemon, and the input of the table.
fn bench() -> Repo {
    let repo = Repo::for_daemon();
    repo.file("hello", "hello\n");
    repo.file("d/a.txt", "hello\n");
    repo.file("d/sub/b", "deep\n");
    // Times of files are told, too.
    for name in ["hello", "d/a.txt", "d/sub/b", "d/sub", "d"] {
        set_time(&repo.path(name), 7);
    }
    // `init` writes a part of the disk's free space, which other tests change.
    repo.ok(["config", "Datastore.StorageMax", "9GB"]);
    repo.ok(["add", "-r", "-Q", "d"]);
    repo
}

fn table(repo: &Repo, folder: &str) -> Vec<Said> {
    let line = |args: &[&str]| -> Vec<String> {
        args.iter().map(|arg| arg.replace('@', folder)).collect()
    };
    TABLE.iter().map(|args| repo.run(line(args))).collect()
}

#[test]
fn commands_say_the_same_with_a_daemon_and_without() {
    let (alone, served) = (bench(), bench());
    let folder = alone.ok(["add", "-n", "-r", "-Q", "d"]);
    let without = table(&alone, &folder);
    let daemon = Daemon::offline(&served);
    let with = table(&served, &folder);
    for ((args, without), with) in TABLE.iter().zip(&without).zip(&with) {
        if args.starts_with(&["repo", "stat"]) {
            assert_eq!((without.code, with.code), (0, 0), "{args:?}");
            continue;
        }
        let tell = |said: &Said| {
            (said.code, String::from_utf8_lossy(&said.out).into_owned(), said.err.clone())
        };
        assert_eq!(tell(with), tell(without), "{args:?}");
    }
    assert_eq!(fs::read(served.path("out/sub/b")).unwrap(), b"deep\n");
    daemon.stop();
}

#[test]
fn a_dead_daemon_s_address_is_passed_over_and_a_named_one_is_not() {
    let repo = bench();
    Daemon::offline(&repo).kill();
    assert!(repo.root().join("api").exists(), "a killed daemon leaves the file");
    assert_eq!(repo.ok(["cat", HELLO]), "hello");
    let line = repo.fails(["cat", HELLO, "--api", "/ip4/127.0.0.1/tcp/1"]);
    assert!(line.contains("/ip4/127.0.0.1/tcp/1"), "{line}");
    repo.fails(["shutdown"]);
    let mut daemon = Daemon::offline(&repo);
    let second = repo.fails(["daemon"]);
    assert!(second.contains("lock"), "{second}");
    assert_eq!(repo.ok(["shutdown"]), "");
    assert!(daemon.wait().success());
    assert!(!repo.root().join("api").exists());
    assert_eq!(repo.ok(["cat", HELLO]), "hello");
}

/// Uploads files of a few sizes until `stop`, and keeps what was acknowledged.
fn adds(api: &str, seed: &str, stop: &AtomicBool, done: &Mutex<Vec<(String, Vec<u8>)>>) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let content = keystream(&format!("{seed}-{n}"), 1 << (8 + n % 12));
        // The daemon ends under it: a broken reply acknowledges nothing.
        let Ok(answer) = try_upload(api, "/api/v0/add", &content) else { return };
        let whole = answer.status == 200 && answer.stream_error().is_none();
        let event = serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
        if let (true, Some(event)) = (whole, event) {
            let cid = event["Hash"].as_str().unwrap().to_owned();
            done.lock().unwrap().push((cid, content));
        }
    }
}

/// Runs two uploaders for a while, ends the daemon by `end`, and gives what was acknowledged.
fn under_traffic(
    daemon: Daemon,
    seed: &str,
    time: Duration,
    end: impl FnOnce(Daemon),
) -> Vec<(String, Vec<u8>)> {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let threads: Vec<_> = (0..2)
        .map(|n| {
            let (api, seed) = (daemon.api(), format!("{seed}-{n}"));
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            std::thread::spawn(move || adds(&api, &seed, &stop, &done))
        })
        .collect();
    std::thread::sleep(time);
    end(daemon);
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    std::mem::take(&mut *done.lock().unwrap())
}

/// Checks through a daemon that everything acknowledged is pinned and whole.
fn kept(api: &str, files: &[(String, Vec<u8>)]) {
    let pins = post(api, "/api/v0/pin/ls?type=recursive").json();
    for (cid, content) in files {
        assert!(pins["Keys"].get(cid).is_some(), "{cid} is not pinned");
        let answer = post(api, &format!("/api/v0/cat?arg={cid}"));
        assert_eq!(answer.stream_error(), None);
        assert!(answer.body == *content, "{cid} is not what was added");
    }
}

#[test]
fn kill_9_under_adds_loses_nothing_acknowledged() {
    let repo = Repo::for_daemon();
    let kills = if soak() { 30 } else { 6 };
    let mut files = Vec::new();
    for round in 0..kills {
        let daemon = Daemon::offline(&repo);
        let time = Duration::from_millis(150 + 37 * (round % 7));
        files.extend(under_traffic(daemon, &format!("kill-{round}"), time, Daemon::kill));
    }
    let daemon = Daemon::offline(&repo);
    assert!(files.len() >= 10, "only {} acknowledged", files.len());
    println!("{kills} kills, {} adds acknowledged", files.len());
    kept(&daemon.api(), &files);
    let gone = post(&daemon.api(), "/api/v0/repo/gc");
    assert_eq!((gone.status, gone.stream_error()), (200, None));
    kept(&daemon.api(), &files);
}

#[test]
fn sigterm_under_traffic_ends_soon_and_clean() {
    let repo = Repo::for_daemon();
    let daemon = Daemon::offline(&repo);
    // A download whose reader sleeps and an upload that never ends keep nothing up.
    let large = upload(&daemon.api(), "/api/v0/add", &keystream("large", 16 << 20)).json();
    let root = large["Hash"].as_str().unwrap().to_owned();
    let mut reader = Connection::open(&daemon.api());
    reader.write(head("POST", &format!("/api/v0/cat?arg={root}"), &[]).as_bytes());
    assert_eq!(reader.head().0, 200);
    let files = under_traffic(daemon, "term", Duration::from_millis(300), |daemon| {
        let (status, time) = daemon.stop();
        println!("SIGTERM under traffic: {time:?}");
        assert!(time < Duration::from_secs(10), "{time:?}");
        assert!(status.success(), "{status}");
    });
    assert!(!files.is_empty());
    drop(reader);
    let daemon = Daemon::offline(&repo);
    kept(&daemon.api(), &files);
}

#[test]
fn events_arrive_while_the_upload_is_still_on_its_way() {
    let repo = Repo::for_daemon();
    let daemon = Daemon::offline(&repo);
    let mut connection = Connection::open(&daemon.api());
    let kind = "multipart/form-data; boundary=edge";
    let headers = [("Content-Type", kind), ("Transfer-Encoding", "chunked")];
    connection.write(head("POST", "/api/v0/add?progress=true", &headers).as_bytes());
    let send = |connection: &mut Connection, bytes: &[u8]| {
        let head = format!("{:x}\r\n", bytes.len());
        connection.write(&[head.as_bytes(), bytes, b"\r\n"].concat());
    };
    let part = |name: &str| {
        format!(
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
        )
    };
    let content = keystream("duplex", 4 << 20);
    send(&mut connection, part("a").as_bytes());
    send(&mut connection, &content[..2 << 20]);
    assert_eq!(connection.head().0, 200);
    let event: serde_json::Value = serde_json::from_slice(&connection.chunk().unwrap()).unwrap();
    assert_eq!(event["Name"], "a");
    assert!(event["Bytes"].as_u64().unwrap() <= 2 << 20, "{event}");
    send(&mut connection, &content[2 << 20..]);
    send(&mut connection, b"\r\n--edge--\r\n");
    connection.write(b"0\r\n\r\n");
    let mut last = Vec::new();
    while let Some(chunk) = connection.chunk() {
        last = chunk;
    }
    assert!(connection.fields().is_empty());
    let last = String::from_utf8(last).unwrap();
    let event: serde_json::Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    let cid = event["Hash"].as_str().unwrap();
    assert!(post(&daemon.api(), &format!("/api/v0/cat?arg={cid}")).body == content);
}

/// Peak of a process's memory, in bytes.
pub fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Writes a file in which no two chunks are the same: what is stored once would flatter the figure.
fn fill(path: &Path, bytes: usize) {
    let mut piece = keystream("gib", 256 << 10);
    let mut file = fs::File::create(path).unwrap();
    for n in 0..bytes / piece.len() {
        piece[..8].copy_from_slice(&n.to_le_bytes());
        std::io::Write::write_all(&mut file, &piece).unwrap();
    }
    file.sync_all().unwrap();
}

#[test]
fn adding_a_gib_through_the_daemon_takes_bounded_memory() {
    if !soak() {
        return;
    }
    let repo = Repo::for_daemon();
    fill(&repo.path("large"), 1 << 30);
    let daemon = Daemon::offline(&repo);
    let since = Instant::now();
    let mut add = repo.command(["add", "-Q", "large"]).spawn().unwrap();
    let mut most = 0;
    while add.try_wait().unwrap().is_none() {
        most = most.max(peak(add.id()));
        std::thread::sleep(Duration::from_millis(10));
    }
    let (time, both) = (since.elapsed(), most + peak(daemon.pid()));
    assert!(add.wait().unwrap().success());
    let since = Instant::now();
    let (from, to) = (repo.path("large"), repo.path("copy"));
    let paths = [format!("if={}", from.display()), format!("of={}", to.display())];
    let dd = std::process::Command::new("dd").args(paths).args(["bs=1M", "conv=fsync"]).output();
    assert!(dd.unwrap().status.success());
    let ratio = time.as_secs_f64() / since.elapsed().as_secs_f64();
    println!("1 GiB through the daemon: {time:?}, {ratio:.2} times dd, {} MiB", both >> 20);
    assert!(both <= 250 << 20, "{} MiB", both >> 20);
}

/// What a process has open below a folder.
fn open_below(pid: u32, folder: &Path) -> Vec<std::path::PathBuf> {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|path| path.starts_with(folder)).collect()
}

#[test]
fn large_files_are_handed_over_and_let_go() {
    let repo = Repo::for_daemon();
    // FUSE, NFS and 9P.
    if [0x6573_5546, 0x6969, 0x0102_1997].contains(&statfs(repo.root().as_path()).unwrap().f_type) {
        return skip("large_files", "files of this filesystem are sent");
    }
    // More than may wait, and small ones between.
    for n in 0..40 {
        repo.file(format!("d/large-{n:02}"), keystream(&format!("large {n}"), 300 << 10));
        repo.file(format!("d/large-{n:02}.note"), format!("{n}"));
    }
    let folder = repo.path("d");
    let alone = Repo::new();
    let cid = alone.ok(["add", "-r", "-n", "-Q", folder.to_str().unwrap()]);
    let daemon = Daemon::offline(&repo);
    assert_eq!(repo.ok(["add", "-r", "-Q", "d"]), cid);
    assert!(open_below(daemon.pid(), &folder).is_empty());
    // One that takes long: it is open in the daemon, and no longer when the command is gone.
    let endless = repo.path("endless");
    fs::File::create(&endless).unwrap().set_len(1 << 40).unwrap();
    let mut adding = repo.command(["add", "-Q", "endless"]).spawn().unwrap();
    let until = |pid: u32, open: bool| {
        let since = Instant::now();
        while open_below(pid, &endless).is_empty() == open {
            assert!(since.elapsed() < Duration::from_secs(30), "open: {open}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(daemon.pid(), true);
    adding.kill().unwrap();
    adding.wait().unwrap();
    until(daemon.pid(), false);
    // Nor are they handed to one daemon and named to another.
    let (elsewhere, address) = (Repo::for_daemon(), fs::read(repo.root().join("api")).unwrap());
    let other = Daemon::offline(&elsewhere);
    fs::copy(elsewhere.root().join("api"), repo.root().join("api")).unwrap();
    assert_eq!(repo.ok(["add", "-r", "-Q", "d"]), cid);
    assert_eq!(elsewhere.ok(["ls", &cid]).lines().count(), 80);
    other.stop();
    fs::write(repo.root().join("api"), address).unwrap();
    // Where nothing takes them, files are sent.
    fs::remove_file(repo.root().join("files.sock")).unwrap();
    assert_eq!(repo.ok(["add", "-r", "-Q", "d"]), cid);
    daemon.kill();
    let daemon = Daemon::offline(&repo);
    assert!(repo.root().join("files.sock").exists());
    assert_eq!(repo.ok(["add", "-r", "-Q", "d"]), cid);
    // Nor does it wait for what it reads itself.
    let mut adding = repo.command(["add", "-Q", "endless"]).spawn().unwrap();
    until(daemon.pid(), true);
    let (status, time) = daemon.stop();
    assert!(status.success() && time < Duration::from_secs(20), "{status} after {time:?}");
    assert!(!adding.wait().unwrap().success());
    assert!(!repo.root().join("files.sock").exists());
}

//! Reading at the speed of the machine: a file through a pipe and over HTTP, ranges far into one, and
//! a folder of a million entries.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use henge::ipld::block::{Block, Prefix};
use henge::ipld::car;
use henge::ipld::cid::codec;
use henge::unixfs::entries::Entries;
use henge::unixfs::node::Meta;
use henge::unixfs::{Entry, UnixfsError, hamt};
use sha2::Digest as _;

use crate::harness::{Daemon, Repo, keystream, soak};
use crate::http_client::{Connection, ask, head};

const MIB: usize = 1 << 20;
/// Rates in bytes a second, and parts of the hash function's, that the full form must reach.
const PLAIN_MIN: f64 = 1.5e9;
const HASHED_MIN: f64 = 0.7;
/// Rounds of which the median counts.
const ROUNDS: usize = 5;
/// Ranges asked for at each place.
const RANGES: usize = 1000;
/// Names looked up in the large folder.
const NAMES: usize = 200;
/// Longest that the slowest but one in a hundred may take.
const FIRST_BYTE_MAX: Duration = Duration::from_millis(5);
/// Peak memory of whoever lists the large folder, in bytes.
const LISTING_MAX_BYTES: u64 = 200 << 20;

/// A piece of a large file: any of them can be made again alone.
fn mebibyte(number: usize) -> Vec<u8> {
    keystream(&format!("reading {number}"), MIB)
}

/// Adds a file of so many mebibytes that never lies anywhere else.
fn add(repo: &Repo, mebibytes: usize) -> String {
    let mut command = repo.command(["add", "-Q", "--cid-version=1"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    (0..mebibytes).for_each(|number| stdin.write_all(&mebibyte(number)).unwrap());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The middle of a few numbers.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Reads all that comes; gives how much.
fn drain(mut from: impl std::io::Read) -> u64 {
    let (mut buffer, mut total) = (vec![0; MIB], 0);
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => return total,
            read => total += read as u64,
        }
    }
}

/// `cat` in a process of its own, into a pipe.
fn piped(repo: &Repo, cid: &str) -> u64 {
    let mut child = repo.command(["cat", cid]).spawn().unwrap();
    let total = drain(child.stdout.take().unwrap());
    assert!(child.wait().unwrap().success());
    total
}

/// The gateway, over a connection of its own.
fn fetched(gateway: &str, cid: &str) -> u64 {
    let mut stream = std::net::TcpStream::connect(gateway).unwrap();
    let request = head("GET", &format!("/ipfs/{cid}"), &[("Connection", "close")]);
    stream.write_all(request.replace("Host: localhost", "Host: 127.0.0.1").as_bytes()).unwrap();
    drain(stream)
}

#[test]
fn a_file_is_read_at_the_speed_of_the_machine() {
    let mebibytes = if soak() { 1024 } else { 32 };
    let size = (mebibytes * MIB) as u64;
    let repo = Repo::for_daemon();
    let cid = add(&repo, mebibytes);
    let one = mebibyte(0);
    let hashing = || {
        let since = Instant::now();
        for _ in 0..256 {
            std::hint::black_box(sha2::Sha256::digest(&one));
        }
        256.0 * MIB as f64 / since.elapsed().as_secs_f64()
    };
    for hashed in ["false", "true"] {
        repo.ok(["config", "--bool", "Datastore.HashOnRead", hashed]);
        let (mut rates, mut parts) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for way in [0, 1] {
            let daemon = (way == 1).then(|| Daemon::start(&repo));
            for _ in 0..ROUNDS {
                let since = Instant::now();
                let read = match &daemon {
                    None => piped(&repo, &cid),
                    Some(daemon) => fetched(&daemon.gateway, &cid),
                };
                let rate = size as f64 / since.elapsed().as_secs_f64();
                assert!(if way == 0 { read == size } else { read > size }, "{read} bytes");
                rates[way].push(rate);
                parts[way].push(rate / hashing());
            }
        }
        for ((way, rates), parts) in ["a pipe", "HTTP"].iter().zip(rates).zip(parts) {
            let (rate, part) = (median(rates), median(parts));
            println!(
                "cat of {mebibytes} MiB into {way}, HashOnRead {hashed}: {:.0} MB/s, {part:.2} of \
                 sha2-256 on one core",
                rate / 1e6
            );
            let enough = if hashed == "true" { part >= HASHED_MIN } else { rate >= PLAIN_MIN };
            assert!(!soak() || enough, "{way}, HashOnRead {hashed}: {rate:.0} B/s, {part:.2}");
        }
    }
}

#[test]
fn the_first_byte_comes_soon_at_the_head_and_far_into_a_large_file() {
    // In full beyond what 32 bits count.
    let (mebibytes, far) = if soak() { (10 << 10, 9_999_999_999) } else { (64, 66_666_666) };
    let repo = Repo::for_daemon();
    let cid = add(&repo, mebibytes);
    let daemon = Daemon::start(&repo);
    let mut connection = Connection::open(&daemon.gateway);
    for start in [0, far] {
        let mut times = Vec::with_capacity(RANGES);
        let content = mebibyte(start / MIB);
        let end = (start % MIB + 1000).min(MIB);
        let length = end - start % MIB;
        for _ in 0..RANGES {
            let (first, body) = connection.range(&format!("/ipfs/{cid}"), start, length);
            times.push(first);
            assert!(body == content[start % MIB..end], "other bytes at {start}");
        }
        times.sort();
        let (middle, late) = (times[RANGES / 2], times[RANGES * 99 / 100]);
        println!(
            "first byte at {start} of {mebibytes} MiB, {RANGES} times: median {middle:?}, p99 \
             {late:?}, slowest {:?}",
            times[RANGES - 1]
        );
        assert!(!soak() || late < FIRST_BYTE_MAX, "p99 {late:?} at {start}");
    }
}

/// A CAR of a folder's nodes alone, none of its files; gives the folder's CID.
fn folder(entries: usize, path: &std::path::Path) -> String {
    let mut made = Entries::default();
    for number in 0..entries {
        let name = name(number);
        let cid = Prefix::v1(codec::RAW).cid(name.as_bytes()).unwrap();
        made.push(name.as_bytes(), Entry { cid, tsize: name.len() as u64 });
    }
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    file.write_all(&car::header(&[])).unwrap();
    let mut emit = |block: Block| -> Result<(), UnixfsError> {
        let (cid, data) = block.into_parts();
        car::section(&cid, data).iter().for_each(|piece| file.write_all(piece).unwrap());
        Ok(())
    };
    let root = hamt::build(&made, 256, Prefix::v1(codec::DAG_PB), &Meta::NONE, &mut emit).unwrap();
    file.flush().unwrap();
    root.cid.to_string()
}

fn name(number: usize) -> String {
    format!("entry number {number}")
}

/// Most memory that a process has had, in bytes; of one that has ended nobody knows.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// Blocks of the folder that a name is found by: the CAR of one block holds those on the way to it.
fn blocks_on_the_way(daemon: &Daemon, folder: &str, number: usize) -> usize {
    let path = format!("/ipfs/{folder}/{}", name(number).replace(' ', "%20"));
    let target = format!("{path}?format=car&dag-scope=block");
    let answer = ask(&daemon.gateway, "GET", &target, &[("Host", "127.0.0.1")]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut reader = car::CarReader::open(answer.body.as_slice()).unwrap();
    let mut sections = 0;
    while let Ok(Some(_)) = reader.next_section() {
        sections += 1;
    }
    sections - 1
}

#[test]
fn a_large_folder_is_listed_from_its_first_entry_and_knows_each_name_by_few_blocks() {
    let entries = if soak() { 1_000_000 } else { 30_000 };
    let repo = Repo::for_daemon();
    let path = repo.path("folder.car");
    let cid = folder(entries, &path);
    repo.ok(["dag", "import", "--local-only", path.to_str().unwrap()]);
    // The names that are looked up are here, so that they can be read.
    let names: Vec<usize> = (0..NAMES).map(|n| n * (entries / NAMES)).collect();
    for number in &names {
        repo.file(format!("named/{number}"), name(*number));
    }
    repo.ok(["add", "-Q", "-r", "--cid-version=1", "named"]);
    let daemon = Daemon::offline(&repo);
    let mut blocks: Vec<usize> =
        names.iter().map(|number| blocks_on_the_way(&daemon, &cid, *number)).collect();
    blocks.sort_unstable();
    let (usual, late, most) = (blocks[NAMES / 2], blocks[NAMES * 99 / 100], blocks[NAMES - 1]);
    // Names that share 32 bits of their hash lie a shard deeper, whoever reads: 216 of a million.
    assert!(usual <= 3 && late <= 4 && most <= 5, "{usual}, {late}, {most} blocks for one name");
    let before = peak(daemon.pid()).unwrap();
    let since = Instant::now();
    let mut connection = Connection::open(&daemon.api());
    let target = format!("/api/v0/ls?arg={cid}&stream=true");
    assert!(connection.write(head("POST", &target, &[]).as_bytes()));
    assert_eq!(connection.head().0, 200);
    let mut lines = connection.chunk().unwrap().iter().filter(|byte| **byte == b'\n').count();
    let first = since.elapsed();
    while let Some(chunk) = connection.chunk() {
        lines += chunk.iter().filter(|byte| **byte == b'\n').count();
    }
    let all = since.elapsed();
    assert_eq!(lines, entries);
    let after = peak(daemon.pid()).unwrap();
    // The command, which sorts what fits and prints the rest as it comes.
    let mut child = repo.command(["ls", &cid]).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut printed = String::new();
    let mut buffer = vec![0; MIB];
    let mut command = 0;
    loop {
        command = command.max(peak(child.id()).unwrap_or(0));
        match out.read(&mut buffer).unwrap() {
            0 => break,
            read if printed.is_empty() => {
                printed = String::from_utf8_lossy(&buffer[..read]).into_owned();
                lines = printed.matches('\n').count();
            }
            read => lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count(),
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(lines, entries);
    // None of the files that it lists was opened: what the folder tells of them is enough.
    let row: Vec<&str> = printed.lines().next().unwrap().splitn(3, ' ').collect();
    assert_eq!(row[1], row[2].len().to_string(), "{row:?}");
    println!(
        "a folder of {entries}: first entry after {first:?}, all after {all:?}; daemon {} MiB at \
         most ({} before), `ls` {} MiB; blocks \
         for one of {NAMES} names: {usual} usually, {late} at p99, {most} at most",
        after >> 20,
        before >> 20,
        command >> 20,
    );
    assert!(first < Duration::from_secs(1), "{first:?} for the first entry");
    assert!(after.max(command) < LISTING_MAX_BYTES, "{after} and {command} bytes");
}

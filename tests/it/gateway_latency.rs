//! How long the first byte of a range takes, wherever in a large file it is.

use std::io::Write as _;
use std::time::Duration;

use crate::harness::{Daemon, Repo, keystream, soak};
use crate::http_client::Connection;

const MIB: usize = 1 << 20;
/// Bytes asked for at once.
const RANGE_BYTES: usize = 64 << 10;
/// Ranges measured.
const RANGES: usize = 200;
/// Longest time that the slowest but one in a hundred may take, in the full form.
const BAR: Duration = Duration::from_millis(10);

/// A piece of the file: any of them can be made again alone.
fn mebibyte(number: usize) -> Vec<u8> {
    keystream(&format!("latency {number}"), MIB)
}

#[test]
fn the_first_byte_of_a_range_comes_soon_from_everywhere() {
    let size_mib = if soak() { 1024 } else { 64 };
    let repo = Repo::for_daemon();
    let path = repo.file("big", b"");
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    (0..size_mib).for_each(|number| file.write_all(&mebibyte(number)).unwrap());
    file.flush().unwrap();
    let cid = repo.ok(["add", "-Q", "--cid-version=1", "big"]);
    let daemon = Daemon::start(&repo);
    let mut connection = Connection::open(&daemon.gateway);
    // The beginning, the middle, and at 99 %; the middle of a mebibyte, which is no block's border.
    let places = [0, size_mib / 2, size_mib * 99 / 100].map(|number| (number, mebibyte(number)));
    let mut times = Vec::with_capacity(RANGES);
    for ((number, content), _) in places.iter().cycle().zip(0..RANGES) {
        let start = number * MIB + MIB / 3;
        let (first, body) = connection.range(&format!("/ipfs/{cid}"), start, RANGE_BYTES);
        times.push(first);
        assert!(body == content[MIB / 3..MIB / 3 + RANGE_BYTES], "other bytes at {start}");
    }
    times.sort();
    let (middle, late) = (times[RANGES / 2], times[RANGES * 99 / 100]);
    println!(
        "first byte of {RANGES} ranges over {size_mib} MiB: median {middle:?}, p99 {late:?}, \
         slowest {:?}",
        times[RANGES - 1]
    );
    assert!(!soak() || late <= BAR, "p99 {late:?}, the bar is {BAR:?}");
}

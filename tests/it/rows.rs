//! Damaged rows: whatever happens to the tables of the database, the node starts, every block is
//! there that is whole on the disk, and pins hold what they held.

use std::fs;
use std::path::PathBuf;

use rand::{RngExt as _, SeedableRng as _};

use crate::damage::{Filled, database, flip, place_of};
use crate::harness::{Said, soak};

fn tables(filled: &Filled) -> Vec<(PathBuf, u64)> {
    let files = database(&filled.repo.root()).into_iter();
    let table = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "sst");
    files.filter(|(path, size)| table(path) && *size > 0).collect()
}

/// Pins, and the blocks that a collection leaves.
fn kept(filled: &Filled) -> (Vec<String>, Vec<String>) {
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let pins = sorted(filled.repo.ok(["pin", "ls", "--type=recursive"]));
    filled.repo.ok(["repo", "gc", "-q"]);
    (pins, sorted(filled.repo.ok(["refs", "local"])))
}

/// Runs what reads rows until nothing of it meets damage: it is told, and made again, where it is met.
fn settles(filled: &Filled) {
    let mut reading = vec![vec!["pin", "ls"], vec!["refs", "local"], vec!["repo", "gc"]];
    reading.extend(filled.files.iter().map(|(cid, _)| vec!["cat", cid]));
    for _ in 0..5 {
        let told: Vec<_> = reading.iter().map(|words| filled.repo.run(words)).collect();
        let failed: Vec<_> = told.into_iter().filter(|said| said.code != 0).collect();
        if failed.is_empty() {
            return;
        }
        let line = |said: &Said| said.err.contains("rows are made again when the store is opened");
        assert!(failed.iter().all(line), "{failed:?}");
    }
    panic!("damage is met again and again");
}

fn told_in_log(filled: &Filled) -> bool {
    let said = filled.repo.run(["pin", "ls", "--type=recursive"]);
    said.code == 0 && said.err.contains("damaged")
}

#[test]
fn a_flipped_byte_in_a_table_never_stops_a_start() {
    let filled = Filled::new();
    let before = kept(&filled);
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let flips = if soak() { 200 } else { 25 };
    for n in 0..flips {
        let tables = tables(&filled);
        let (path, size) = &tables[random.random_range(0..tables.len())];
        // The foot, which is read at the opening, as often as all the rest.
        let from = if n % 2 == 0 { size.saturating_sub(200) } else { 0 };
        let at = random.random_range(from..*size);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        flip(path, at);
        // What is not read is not noticed; what is, is told once, and made again at the next start.
        for _ in 0..2 {
            let _ = filled.repo.run(["repo", "verify"]);
        }
        let said = filled.repo.run(["id", "-f", "<id>"]);
        assert_eq!(said.code, 0, "byte {at} of {size} of {name}: {}", said.err);
        settles(&filled);
        filled.readable();
        assert_eq!(kept(&filled), before, "byte {at} of {size} of {name}");
    }
}

#[test]
fn rows_that_are_gone_are_made_again_and_pins_cannot_be() {
    let filled = Filled::new();
    let (pins, blocks) = kept(&filled);
    assert!(!pins.is_empty());
    fs::remove_dir_all(filled.repo.root().join("store/rows")).unwrap();
    filled.readable();
    let mut found: Vec<String> =
        filled.repo.ok(["refs", "local"]).lines().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, blocks);
    assert_eq!(filled.repo.ok(["pin", "ls", "--type=recursive"]), "");
    // What they held is not to be taken for garbage.
    assert!(filled.repo.fails(["repo", "gc"]).contains("pins may be missing"));
    filled.repo.ok(["repo", "verify", "--drop"]);
    assert_eq!(filled.repo.ok(["repo", "gc", "-q"]).lines().count(), found.len());
}

#[test]
fn a_pin_whose_block_is_lost_with_the_rows_keeps_the_rest() {
    let filled = Filled::new();
    let (pins, blocks) = kept(&filled);
    // The head of a record, and the foot of a table.
    let bytes = &filled.files[1].1;
    let (path, at) = place_of(&filled, &bytes[..64]);
    flip(&path, at - 50);
    let (path, size) = &tables(&filled)[0];
    flip(path, size - 1);
    assert!(told_in_log(&filled));
    let line = filled.repo.fails(["repo", "gc"]);
    assert!(line.contains(&filled.files[1].0) && line.contains("missing"), "{line}");
    let line = filled.repo.fails(["repo", "verify"]);
    assert!(line.contains("1 blocks corrupt"), "{line}");
    for (cid, bytes) in [&filled.files[0], &filled.files[2]] {
        let said = filled.repo.run(["cat", cid]);
        assert!(said.code == 0 && &said.out == bytes, "{}", said.err);
    }
    filled.repo.file("again", bytes);
    filled.repo.ok(["add", "-Q", "again"]);
    assert_eq!(kept(&filled), (pins, blocks));
    filled.readable();
}

//! The disk after a power cut, tried on journals written by hand.

use std::collections::BTreeSet;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::disk::{Disk, Law};
use super::journal::{Intent, Journal, Record};

const CUTS: u64 = 300;

fn created(number: u64, name: &str) -> Record {
    Record::Created { number, name: name.into() }
}

fn wrote(number: u64, at: u64, byte: u8, len: usize) -> Record {
    Record::Wrote { number, at, data: vec![byte; len] }
}

fn renamed(from: &str, to: &str) -> Record {
    Record::Renamed { from: from.into(), to: to.into() }
}

/// A sync from beginning to end; its ticket is the number of the one before, and one.
fn synced(number: u64, ticket: u64) -> [Record; 2] {
    [Record::Syncs { number, ticket }, Record::Synced { ticket }]
}

/// An empty folder, its inode number, and a journal over it.
fn disk(records: impl FnOnce(u64) -> Vec<Record>) -> Disk {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let number = std::fs::metadata(dir.path()).unwrap().ino();
    let journal = Journal { records: records(number), open: None };
    Disk::of(dir.path()).follow(&journal)
}

/// Every outcome for one name: its bytes, if it is there.
fn outcomes(disk: &Disk, law: Law, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    let cut = |luck| disk.cut(law, &mut ChaCha8Rng::seed_from_u64(luck));
    (0..CUTS)
        .map(|luck| cut(luck).paths().get(name).map(|bytes| bytes.unwrap_or_default().to_vec()))
        .collect()
}

const LAWS: [Law; 2] = [Law::Strict, Law::Logged];
const FILE: u64 = u64::MAX;

#[test]
fn what_is_synced_stays() {
    let disk = disk(|root| {
        let mut records = vec![created(FILE, "a"), wrote(FILE, 0, 1, 2000)];
        records.extend(synced(FILE, 1));
        records.extend(synced(root, 2));
        records
    });
    for law in LAWS {
        assert_eq!(outcomes(&disk, law, "a"), BTreeSet::from([Some(vec![1; 2000])]));
    }
}

#[test]
fn what_is_not_synced_may_stay_vanish_or_tear() {
    let disk = disk(|root| {
        let mut records = vec![created(FILE, "a"), wrote(FILE, 0, 1, 600)];
        records.extend(synced(FILE, 1));
        records.extend(synced(root, 2));
        records.extend([wrote(FILE, 600, 2, 1000), wrote(FILE, 0, 3, 100)]);
        records
    });
    for law in LAWS {
        let found = outcomes(&disk, law, "a");
        let old = vec![1; 600];
        let new = [vec![3; 100], vec![1; 500], vec![2; 1000]].concat();
        assert!(found.contains(&Some(old.clone())) && found.contains(&Some(new)));
        // The size without the content, and a sector without its neighbour.
        assert!(found.contains(&Some([old.clone(), vec![0; 1000]].concat())));
        assert!(
            found
                .iter()
                .flatten()
                .any(|bytes| bytes.len() > 1536 && bytes[1030] != bytes[1030 + 512])
        );
        for bytes in found.iter().map(|bytes| bytes.as_ref().expect("its name is synced")) {
            // Sectors are whole, and what was synced is there until it is written over.
            assert!(bytes[100..512].iter().all(|byte| *byte == 1));
            assert!(bytes[..100].iter().all(|byte| *byte == bytes[0]) && bytes[0] != 0);
            assert!(bytes[512..600].iter().all(|byte| *byte == 1), "written before the sync");
            let rest = bytes.get(600..1024).unwrap_or_default();
            assert!(rest.iter().all(|byte| *byte == rest[0]));
        }
    }
}

#[test]
fn what_is_written_during_a_sync_is_not_covered() {
    let disk = disk(|root| {
        let mut records = vec![created(FILE, "a"), Record::Syncs { number: FILE, ticket: 1 }];
        records.extend([wrote(FILE, 0, 1, 10), Record::Synced { ticket: 1 }]);
        records.extend(synced(root, 2));
        records
    });
    assert!(outcomes(&disk, Law::Strict, "a").contains(&Some(Vec::new())));
}

#[test]
fn a_sync_that_did_not_come_back_covers_nothing() {
    let disk = disk(|root| {
        let mut records = vec![created(FILE, "a"), wrote(FILE, 0, 1, 10)];
        records.extend(synced(root, 2));
        records.push(Record::Syncs { number: FILE, ticket: 1 });
        records
    });
    assert!(outcomes(&disk, Law::Strict, "a").contains(&Some(Vec::new())));
}

#[test]
fn a_new_name_needs_its_folder_or_a_log() {
    let disk = disk(|_| {
        let mut records = vec![created(FILE, "a"), wrote(FILE, 0, 1, 10)];
        records.extend(synced(FILE, 1));
        records
    });
    let there = Some(vec![1; 10]);
    assert_eq!(outcomes(&disk, Law::Strict, "a"), BTreeSet::from([None, there.clone()]));
    assert_eq!(outcomes(&disk, Law::Logged, "a"), BTreeSet::from([there]));
}

#[test]
fn a_rename_without_its_folder_may_vanish() {
    let disk = disk(|root| {
        let mut records = vec![created(FILE, "a"), wrote(FILE, 0, 1, 10)];
        records.extend(synced(FILE, 1));
        records.extend([created(FILE - 1, "b"), wrote(FILE - 1, 0, 2, 10)]);
        records.extend(synced(FILE - 1, 2));
        records.extend(synced(root, 3));
        records.push(renamed("b", "a"));
        records
    });
    for law in LAWS {
        let names = BTreeSet::from([Some(vec![1; 10]), Some(vec![2; 10])]);
        assert_eq!(outcomes(&disk, law, "a"), names, "one or the other, whole");
        assert_eq!(outcomes(&disk, law, "b"), BTreeSet::from([None, Some(vec![2; 10])]));
    }
}

#[test]
fn names_go_in_order() {
    let disk = disk(|root| {
        let folder = Record::MadeFolder { number: FILE, name: "f".into() };
        let mut records = vec![folder, created(FILE - 1, "f/a"), created(FILE - 2, "f/b")];
        records.push(Record::Removed { name: "f/a".into() });
        records.extend(synced(root, 1));
        records
    });
    for law in LAWS {
        let cut = |luck| disk.cut(law, &mut ChaCha8Rng::seed_from_u64(luck));
        let found: BTreeSet<String> = (0..CUTS)
            .map(|luck| cut(luck).paths().into_keys().collect::<Vec<_>>().join(" "))
            .collect();
        // The folder's own name is synced, the names in it are not.
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["f", "f f/a", "f f/a f/b", "f f/b"]);
    }
}

#[test]
fn a_folder_that_is_not_synced_takes_what_is_in_it_along() {
    let disk = disk(|_| {
        let folder = Record::MadeFolder { number: FILE, name: "f".into() };
        let mut records = vec![folder, created(FILE - 1, "f/a")];
        records.extend(synced(FILE - 1, 1));
        records.extend(synced(FILE, 2));
        records
    });
    assert!(outcomes(&disk, Law::Strict, "f/a").contains(&None));
    assert!(!outcomes(&disk, Law::Logged, "f/a").contains(&None));
}

#[test]
fn files_are_made_shorter_and_numbers_used_again() {
    let disk = disk(|root| {
        let mut records = vec![created(FILE, "a"), wrote(FILE, 0, 1, 2000)];
        records.extend(synced(FILE, 1));
        records.extend(synced(root, 2));
        records.extend([Record::Resized { number: FILE, len: 0 }, wrote(FILE, 0, 2, 1000)]);
        records
    });
    for bytes in outcomes(&disk, Law::Strict, "a") {
        let bytes = bytes.expect("its name is synced");
        let fresh = bytes.iter().all(|byte| *byte == 2 || *byte == 0) && bytes.len() <= 1000;
        assert!(fresh || bytes == vec![1; 2000], "old blocks or new ones");
    }
    let disk = self::disk(|root| {
        let mut records = vec![created(FILE, "a"), wrote(FILE, 0, 1, 10)];
        records.extend(synced(FILE, 1));
        records.push(Record::Removed { name: "a".into() });
        records.push(created(FILE, "b"));
        records.extend(synced(root, 2));
        records
    });
    assert_eq!(outcomes(&disk, Law::Strict, "a"), BTreeSet::from([None]));
    assert_eq!(outcomes(&disk, Law::Strict, "b"), BTreeSet::from([Some(Vec::new())]));
}

#[test]
fn a_folder_that_does_not_agree_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "1").unwrap();
    let disk = Disk::of(dir.path());
    assert_eq!(disk.strays(dir.path(), None), [""; 0]);
    std::fs::write(dir.path().join("a"), "2").unwrap();
    let open = Intent { number: 0, names: ["a".into(), String::new()] };
    assert_eq!(disk.strays(dir.path(), None), ["a"]);
    assert_eq!(disk.strays(dir.path(), Some(&open)), [""; 0], "it may have been made");
}

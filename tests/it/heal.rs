//! Damaged blocks: GC goes past them, adding the content again writes them anew, and so does
//! anybody who has them; `repo verify` tells of them, deletes them or fetches them.

use serde_json::json;

use crate::damage::{Filled, database, flip, place_in, place_of};
use crate::harness::{Daemon, keystream};
use crate::surface::lines;
use crate::swarm::Node;

#[test]
fn what_is_damaged_is_collected_when_nothing_holds_it() {
    let filled = Filled::new();
    let repo = &filled.repo;
    let (cid, bytes) = &filled.files[2];
    let root = repo.run(["block", "get", cid]).out;
    // The node that says which blocks the file has.
    let (path, at) = place_of(&filled, &root);
    flip(&path, at + 20);
    repo.ok(["pin", "rm", cid]);
    let daemon = Daemon::offline(repo);
    let removed = lines(repo, &["repo", "gc", "-q"]);
    let raw = repo.ok(["cid", "format", "--mc=raw", "-b=base32", cid]);
    assert!(removed.contains(&raw), "{removed:?}");
    assert!(removed.len() > 4, "what it linked to is held by nothing: {removed:?}");
    assert_eq!(lines(repo, &["repo", "gc", "-q"]).len(), 0);
    // The same process goes on writing.
    repo.file("again", bytes);
    assert_eq!(&repo.ok(["add", "-Q", "again"]), cid);
    let said = repo.run(["cat", cid]);
    assert!(said.code == 0 && &said.out == bytes, "{}", said.err);
    daemon.stop();
}

#[test]
fn adding_again_heals_what_is_pinned() {
    let filled = Filled::new();
    let repo = &filled.repo;
    let (cid, bytes) = &filled.files[1];
    let (path, at) = place_of(&filled, &bytes[40_000..40_064]);
    flip(&path, at);
    for _ in 0..2 {
        assert!(repo.fails(["cat", cid]).contains("corrupt"));
        // Known in the next process, too, and GC neither fails nor takes what is pinned.
        assert!(repo.fails(["block", "stat", cid]).contains("corrupt"));
        assert_eq!(lines(repo, &["repo", "gc", "-q"]).len(), 0);
    }
    assert_eq!(repo.run(["repo", "verify"]).code, 1);
    repo.file("again", bytes);
    assert_eq!(&repo.ok(["add", "-Q", "again"]), cid);
    let said = repo.run(["cat", cid]);
    assert!(said.code == 0 && &said.out == bytes, "{}", said.err);
    assert_eq!(repo.run(["repo", "verify"]).code, 0);
}

#[test]
fn repo_verify_drops_what_is_damaged() {
    let filled = Filled::new();
    let repo = &filled.repo;
    let line = repo.fails(["repo", "verify", "--heal"]);
    assert!(line.contains("online mode"), "{line}");
    let (cid, bytes) = &filled.files[1];
    let (path, at) = place_of(&filled, &bytes[40_000..40_064]);
    flip(&path, at);
    let told = lines(repo, &["repo", "verify", "--drop"]);
    assert!(told[0].ends_with(", removed"), "{told:?}");
    assert_eq!(told[1..], ["verify complete, 1 blocks corrupt, 1 removed"]);
    let sound = ["verify complete, all blocks validated."];
    assert_eq!(lines(repo, &["repo", "verify"]), sound);
    assert!(repo.fails(["cat", cid]).contains("not found"));
    // Its pin stands, so the content is kept again as soon as it is back.
    repo.file("again", bytes);
    repo.ok(["add", "-Q", "--pin=false", "again"]);
    assert_eq!(lines(repo, &["repo", "gc", "-q"]).len(), 0);
    let said = repo.run(["cat", cid]);
    assert!(said.code == 0 && &said.out == bytes, "{}", said.err);
}

#[test]
fn peers_heal_what_the_disk_has_lost() {
    let (mut a, b) = (Node::start(), Node::start());
    let files = [keystream("heal-1", 100_000), keystream("heal-2", 100_000)];
    let mut cids = Vec::new();
    for (n, bytes) in files.iter().enumerate() {
        for node in [&a, &b] {
            node.repo.file(format!("file-{n}"), bytes);
            let cid = node.repo.ok(["add", "-Q", &format!("file-{n}")]);
            cids.push(cid);
        }
    }
    let repo_root = a.repo.root();
    a.restart(|| {
        // The log becomes tables and blob files when the store is opened again.
    });
    a.restart(|| {
        for bytes in &files {
            let (path, at) = place_in(&repo_root, &bytes[40_000..40_064]);
            flip(&path, at);
        }
    });
    a.connect(&b);
    let said = a.repo.run(["cat", &cids[0]]);
    assert!(said.code == 0 && said.out == files[0], "{}", said.err);
    let told = lines(&a.repo, &["repo", "verify", "--heal", "--heal-timeout=30s"]);
    assert!(told[0].ends_with(", healed"), "{told:?}");
    assert_eq!(told[1..], ["verify complete, 1 blocks corrupt, 1 healed"]);
    let sound = json!({ "Msg": "verify complete, all blocks validated.", "Progress": 0 });
    assert!(a.repo.ok(["repo", "verify", "--enc=json"]).ends_with(&sound.to_string()));
}

#[test]
fn a_flipped_byte_in_a_segment_never_stops_a_start() {
    use rand::{RngExt as _, SeedableRng as _};
    let filled = Filled::new();
    let repo = &filled.repo;
    repo.ok(["pin", "ls"]);
    let mut random = rand::rngs::StdRng::seed_from_u64(23);
    for _ in 0..12 {
        let data: Vec<_> = database(&repo.root())
            .into_iter()
            .filter(|(path, size)| {
                let kind = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
                *size > 0 && kind == "seg"
            })
            .collect();
        let (path, size) = &data[random.random_range(0..data.len())];
        let at = random.random_range(0..*size);
        flip(path, at);
        let said = repo.run(["id", "-f", "<id>"]);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(said.code, 0, "byte {at} of {size} of {name}: {}", said.err);
        if path.exists() {
            flip(path, at);
        }
    }
}

//! Options of `add`, with a daemon and without, and what is refused.
//!
//! The CIDs are those that Kubo's own tests expect: ipfs/kubo `test/sharness` t0040 and t0046,
//! `test/cli/add_test.go`.

use std::fs;

use serde_json::Value;

use crate::harness::{Daemon, Repo, keystream, skip, soak};

/// `f` with a repository that nobody has open, and then with a daemon over the same.
pub fn both(repo: &Repo, mut f: impl FnMut(&Repo)) {
    f(repo);
    let daemon = Daemon::offline(repo);
    f(repo);
    drop(daemon);
}

/// Each row's words after `add`, and the CID that they give.
pub fn table(repo: &Repo, rows: &[(&str, &str)]) {
    both(repo, |repo| {
        for (words, cid) in rows {
            let args = format!("add -Q {words}");
            assert_eq!(repo.ok(args.split(' ')), *cid, "{words}");
        }
    });
}

#[test]
fn small_blocks_stand_in_their_cids() {
    let repo = Repo::for_daemon();
    repo.file("small", "jkD98jkD975hkD8\n");
    repo.file("large", keystream("inline", 1000));
    let small = "bafkqaedknncdsodknncdsnzvnbvuioak";
    both(&repo, |repo| {
        let add = |words: &[&str]| repo.ok([&["add", "-Q", "--inline"], words].concat());
        assert_eq!(add(&["--raw-leaves", "small"]), small);
        assert_eq!(add(&["--cid-version=1", "small"]), small);
        assert_eq!(repo.ok(["add", "-Q", "--hash=identity", "small"]), small);
        let wrapped = add(&["small"]);
        assert_eq!(repo.ok(["cid", "format", "-f", "%c %h", &wrapped]), "dag-pb identity");
        assert_eq!(repo.ok(["cat", &wrapped]), "jkD98jkD975hkD8");
        assert_eq!(add(&["large"]), repo.ok(["add", "-Q", "large"]));
        let limit =
            |limit: &str| add(&["--raw-leaves", &format!("--inline-limit={limit}"), "small"]);
        assert_eq!((limit("16").as_str(), limit("128").as_str()), (small, small));
        assert!(limit("15").starts_with("bafkrei"));
    });
    let line = repo.fails(["add", "--hash=identity", "large"]);
    assert!(line.contains("digest too large"), "{line}");
}

#[test]
fn a_folder_of_inlined_files_is_whole_wherever_it_goes() {
    let repo = Repo::new();
    for n in 0..20 {
        repo.file(format!("d/{n}"), format!("file {n}\n"));
    }
    repo.file("d/sub/large", keystream("inline", 300_000));
    fs::create_dir(repo.path("d/empty")).unwrap();
    let root = repo.ok(["add", "-Q", "-r", "--inline", "d"]);
    let stored = repo.ok(["refs", "local"]);
    assert!(stored.lines().all(|cid| !cid.starts_with("bafkqa") && !cid.starts_with("bafya")));
    // The root, `sub`, and the three nodes of the large file.
    assert_eq!(stored.lines().count(), 5, "{stored}");
    repo.ok(["repo", "gc"]);
    let refs = repo.ok(["refs", "-r", &root]);
    assert!(refs.lines().filter(|cid| cid.starts_with("bafya")).count() == 21, "{refs}");
    assert_eq!(repo.ok(["pin", "ls", "--type=recursive", "-q"]), root);
    assert_eq!(repo.ok(["cat", &format!("{root}/7")]), "file 7");
    assert_eq!(repo.run(["cat", &format!("{root}/sub/large")]).out, keystream("inline", 300_000));
    repo.ok(["get", &root, "-o", "back"]);
    assert_eq!(fs::read_to_string(repo.path("back/19")).unwrap(), "file 19\n");
    assert!(repo.path("back/empty").is_dir());
    let car = repo.run(["dag", "export", &root]).out;
    let other = Repo::new();
    other.file("in.car", car);
    other.ok(["dag", "import", "in.car"]);
    assert_eq!(other.ok(["cat", &format!("{root}/3")]), "file 3");
    assert_eq!(other.ok(["pin", "verify"]), "");
    repo.ok(["pin", "rm", &root]);
    repo.ok(["repo", "gc"]);
    assert_eq!(repo.ok(["refs", "local"]), "");
    // A pin of what is in its CID holds, too, and needs no block.
    repo.ok(["pin", "add", "bafkqaedknncdsodknncdsnzvnbvuioak"]);
    assert_eq!(repo.ok(["cat", "bafkqaedknncdsodknncdsnzvnbvuioak"]), "jkD98jkD975hkD8");
}

#[test]
fn switches_take_a_value_as_in_kubo() {
    let repo = Repo::new();
    repo.file("d/f", "f\n");
    let cid = repo.ok(["add", "-Q", "-r", "d"]);
    assert_eq!(repo.ok(["add", "-Q=true", "--recursive=1", "--inline=false", "-w=0", "d"]), cid);
    assert!(repo.fails(["add", "--recursive=false", "d"]).contains("use the '-r' flag"));
    let said = repo.run(["add", "--recursive=maybe", "d"]);
    assert!(said.code == 1 && said.err.contains("maybe"), "{}", said.err);
}

#[test]
fn what_hangs_below_an_inlined_node_is_kept() {
    let repo = Repo::new();
    let bytes = keystream("below", 300_000);
    repo.file("f", &bytes);
    repo.file("d/f", &bytes);
    // A root of two links is small enough to stand in its CID, and so is the folder above it.
    let add = |words: &[&str]| {
        repo.ok([&["add", "-Q", "--inline", "--inline-limit=128"], words].concat())
    };
    for (root, file) in [(add(&["f"]), ""), (add(&["-r", "d"]), "/f")] {
        assert_eq!(repo.ok(["cid", "format", "-f", "%h", &root]), "identity");
        repo.ok(["repo", "gc"]);
        assert!(repo.run(["cat", &format!("{root}{file}")]).out == bytes);
        assert_eq!(repo.ok(["refs", "local"]).lines().count(), 2);
        let car = repo.run(["dag", "export", &root]).out;
        let other = Repo::new();
        other.file("in.car", car);
        other.ok(["dag", "import", "in.car"]);
        other.ok(["repo", "gc"]);
        assert!(other.run(["cat", &format!("{root}{file}")]).out == bytes);
    }
    for root in repo.ok(["pin", "ls", "--type=recursive", "-q"]).lines() {
        repo.ok(["pin", "rm", root]);
    }
    repo.ok(["repo", "gc"]);
    assert_eq!(repo.ok(["refs", "local"]), "");
}

#[test]
fn chunks_are_those_of_the_vectors() {
    let repo = Repo::for_daemon();
    let vectors: Value =
        serde_json::from_str(include_str!("../fixtures/chunkers/random.json")).unwrap();
    let len = 4_000_000;
    let stream = keystream("henge-chunkers", len);
    repo.file("f", &stream);
    both(&repo, |repo| {
        for row in vectors["vectors"].as_array().unwrap() {
            let name = row["chunker"].as_str().unwrap().split(' ').next().unwrap();
            let sizes = row["sizes"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap());
            let mut ends = 0;
            // All but the last chunk, which ends where this file does.
            let whole: Vec<u64> = sizes
                .take_while(|size| {
                    ends += size;
                    ends < len as u64
                })
                .collect();
            let chunker = format!("--chunker={name}");
            let cid =
                repo.ok(["add", "-Q", &chunker, "--raw-leaves", "--max-file-links=1024", "f"]);
            let node: Value = serde_json::from_str(&repo.ok(["dag", "get", &cid])).unwrap();
            let links = node["Links"].as_array().unwrap().iter();
            let found: Vec<u64> = links.map(|link| link["Tsize"].as_u64().unwrap()).collect();
            assert_eq!(found[..whole.len()], whole, "{name}");
            assert_eq!(found.iter().sum::<u64>(), len as u64, "{name}");
            assert!(repo.run(["cat", &cid]).out == stream, "{name}");
        }
    });
    repo.file("hello.txt", "Hello Worlds!\n");
    let hello = "QmVr26fY1tKyspEJBniVhqxQeEjhF78XerGiqWAwraVLQH";
    for chunker in ["rabin", "rabin-36-512-1024", "buzhash", "size-64"] {
        assert_eq!(repo.ok(["add", "-Q", "--chunker", chunker, "hello.txt"]), hello, "{chunker}");
    }
}

#[test]
fn many_links_make_a_hamt() {
    let repo = Repo::for_daemon();
    for n in 0..7 {
        repo.file(format!("d/{n}"), format!("file {n}\n"));
    }
    let plain = repo.ok(["add", "-Q", "-r", "d"]);
    both(&repo, |repo| {
        let add = |words: &[&str]| repo.ok([&["add", "-Q", "-r"], words, &["d"]].concat());
        assert_eq!(add(&["--max-directory-links=7"]), plain);
        assert_eq!(add(&["--max-directory-links=0"]), plain);
        let hamt = add(&["--max-directory-links=6"]);
        assert_ne!(hamt, plain);
        assert_ne!(add(&["--max-directory-links=6", "--max-hamt-fanout=8"]), hamt);
        assert_eq!(repo.ok(["cat", &format!("{hamt}/6")]), "file 6");
        assert_eq!(repo.ok(["ls", &hamt]).lines().count(), 7);
    });
    let hamt = repo.ok(["add", "-Q", "-r", "--max-directory-links=1", "d"]);
    let set = |key: &str, value: &str| repo.ok(["config", "--json", key, value]);
    // The same trie, whatever asked for it.
    set("Import.UnixFSDirectoryMaxLinks", "6");
    assert_eq!(repo.ok(["add", "-Q", "-r", "d"]), hamt);
    assert_eq!(repo.ok(["add", "-Q", "-r", "--max-directory-links=9", "d"]), plain);
    set("Import.UnixFSHAMTDirectorySizeEstimation", "\"disabled\"");
    assert_eq!(repo.ok(["add", "-Q", "-r", "d"]), hamt);
    set("Import.UnixFSHAMTDirectorySizeThreshold", "\"0\"");
    assert_eq!(repo.ok(["add", "-Q", "-r", "d"]), plain, "0 switches it off");
    set("Import.UnixFSDirectoryMaxLinks", "0");
    set("Import.UnixFSHAMTDirectorySizeThreshold", "\"1B\"");
    set("Import.UnixFSHAMTDirectorySizeEstimation", "\"links\"");
    assert_eq!(repo.ok(["add", "-Q", "-r", "d"]), hamt);
}

/// Sets keys of the configuration, adds `f`, and puts the configuration back.
fn configured(repo: &Repo, keys: &[(&str, &str)], words: &[&str]) -> String {
    let file = repo.root().join("config");
    let before = fs::read(&file).unwrap();
    for (key, value) in keys {
        repo.ok(["config", "--json", key, value]);
    }
    let cid = repo.ok([&["add", "-Q"], words, &["f"]].concat());
    fs::write(file, before).unwrap();
    cid
}

#[test]
fn the_configuration_decides_what_no_option_does() {
    let repo = Repo::new();
    repo.file("f", "hello world");
    let v0 = "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD";
    let v1 = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    let v1_nodes = "bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa";
    let sha2_512 = "bafkrgqbqt3gerhas23vuzrapkdeqf4vu2dwxp3srdj6hvg6nhsug2tgyn6mj3u23yx7utftq3i2ckw2fwdh5qmhid5qf3t35yvkc5e5ottlw6";
    let version = ("Import.CidVersion", "1");
    let hash = ("Import.HashFunction", "\"sha2-512\"");
    let raw = |value| ("Import.UnixFSRawLeaves", value);
    for (keys, words, cid) in [
        (&[][..], &[][..], v0),
        (&[("Import.CidVersion", "0")], &[], v0),
        (&[version], &[], v1),
        (&[version], &["--cid-version=0"], v0),
        (&[version, raw("false")], &[], v1_nodes),
        (&[version, raw("false")], &["--raw-leaves"], v1),
        (&[version], &["--raw-leaves=false"], v1_nodes),
        (&[raw("true")], &[], v1),
        (&[hash], &[], sha2_512),
        (&[hash], &["--hash=sha2-256"], v0),
        (&[hash], &["--hash=SHA2-256", "--cid-version=1"], v1),
        (&[("Import.UnixFSDAGLayout", "\"trickle\"")], &["--trickle=false"], v0),
        (&[("Import.UnixFSChunker", "\"buzhash\"")], &[], v0),
    ] {
        assert_eq!(configured(&repo, keys, words), cid, "{keys:?} {words:?}");
    }
    let trickle = configured(&repo, &[("Import.UnixFSDAGLayout", "\"trickle\"")], &[]);
    assert_eq!(trickle, repo.ok(["add", "-Q", "-t", "f"]));
    let cut = configured(&repo, &[("Import.UnixFSChunker", "\"size-4\"")], &[]);
    assert_eq!(cut, repo.ok(["add", "-Q", "-s", "size-4", "f"]));
    let links = configured(&repo, &[("Import.UnixFSFileMaxLinks", "2")], &["-s", "size-4"]);
    assert_eq!(links, repo.ok(["add", "-Q", "-s", "size-4", "--max-file-links=2", "f"]));
    assert_ne!(links, cut);
    // A mode needs a node: what was only implied gives way, what was asked for does not.
    let mode = configured(&repo, &[version], &["--mode=0600"]);
    assert_eq!(repo.ok(["cid", "format", "-f", "%c", &mode]), "dag-pb");
    repo.ok(["config", "--json", "Import.UnixFSRawLeaves", "true"]);
    let line = repo.fails(["add", "--mode=0600", "f"]);
    assert!(line.contains("raw-leaves can't be used with UnixFS metadata"), "{line}");
    repo.ok(["config", "--json", "Import.UnixFSChunker", "\"rabin-1-2-3\""]);
    let line = repo.fails(["add", "f"]);
    assert!(line.contains("Import") && line.contains("rabin-1-2-3"), "{line}");
}

#[test]
fn what_does_not_go_together_is_refused_in_one_line() {
    let repo = Repo::for_daemon();
    repo.file("f", "f\n");
    fs::create_dir(repo.path("d")).unwrap();
    let long = format!("--pin-name={}", "n".repeat(256));
    let rows: [(&[&str], &str); 20] = [
        (
            &["--inline", "--inline-limit=129"],
            "inline-limit 129 exceeds maximum allowed size of 128",
        ),
        (&["--raw-leaves", "--preserve-mode"], "raw-leaves can't be used with UnixFS metadata"),
        (&["--raw-leaves", "--mtime=1"], "raw-leaves can't be used with UnixFS metadata"),
        (&["--mtime-nsecs=1"], "option \"mtime-nsecs\" requires \"mtime\""),
        (&["--mtime=1", "--mtime-nsecs=1000000000"], "mtime-nsecs: from 0 to 999999999"),
        (&["--mode=9z"], "mode"),
        (&["--mode=-1"], "mode"),
        (&["--pin=false", "--pin-name=n"], "pin-name option requires pin to be set"),
        (&["-n", "--pin-name=n"], "pin-name option requires pin to be set"),
        (&[&long], "name"),
        (&["--nocopy"], "nocopy: the filestore is not supported"),
        (&["--fscache"], "fscache: the filestore is not supported"),
        (&["--to-files=/x"], "to-files: the files API (MFS) is not supported yet"),
        (&["--hash=md5"], "potentially insecure hash functions not allowed: md5"),
        (&["--hash=nonsense"], "unrecognized hash function: \"nonsense\""),
        (&["--cid-version=0", "--hash=blake3"], "CIDv0 only supports sha2-256"),
        (&["--chunker=rabin-12-512-1024"], "chunker \"rabin-12-512-1024\""),
        (&["--max-hamt-fanout=12"], "max-hamt-fanout"),
        (&["--max-file-links=1"], "max-file-links"),
        (&["--ignore-rules-path=absent"], "ignore-rules-path absent"),
    ];
    both(&repo, |repo| {
        for (words, told) in &rows {
            let said = repo.run([&["add"], *words, &["f"]].concat());
            assert!(said.code == 1 && said.err.contains(told), "{words:?}: {}", said.err);
            // What does not even parse is told with a hint.
            assert!(said.err.lines().count() == 1 || said.err.starts_with("error: invalid value"));
        }
        assert!(repo.fails(["add", "d"]).contains("use the '-r' flag"));
    });
    assert_eq!(repo.ok(["pin", "ls", "-q"]), "");
    // Nothing of these is an error, and all of it changes nothing.
    let plain = repo.ok(["add", "-Q", "f"]);
    let same = [
        "--mtime-nsecs=0",
        "--inline-limit=500",
        "--fast-provide-root=false",
        "--fast-provide-dag",
        "--fast-provide-wait",
        "--pin-name=n",
    ];
    assert_eq!(repo.ok([&["add", "-Q"], &same[..], &["f"]].concat()), plain);
    assert!(repo.ok(["pin", "ls", "--names"]).contains(" n"));
}

#[test]
fn every_hash_function_that_kubo_takes_makes_blocks_that_are_read() {
    let repo = Repo::new();
    repo.file("f", "hello world");
    let listed = repo.ok(["cid", "hashes"]);
    let mut tried = 0;
    for name in listed.lines().map(str::trim).filter(|name| *name != "identity") {
        let hash = format!("--hash={name}");
        let cid = repo.ok(["add", "-Q", "--cid-version=1", &hash, "f"]);
        assert_eq!(repo.ok(["cid", "format", "-f", "%h", &cid]), name);
        assert_eq!(repo.ok(["cat", &cid]), "hello world", "{name}");
        tried += 1;
    }
    assert_eq!(tried, 72);
    repo.ok(["repo", "verify"]);
}

#[test]
fn a_layer_of_1024_links_is_kubos() {
    if !soak() {
        return skip("a_layer_of_1024_links_is_kubos", "256 MiB, made only with HENGE_SOAK=1");
    }
    let repo = Repo::new();
    repo.file("f", keystream("hello world", 256 << 20));
    let cid = repo.ok(["add", "-Q", "-n", "--max-file-links=1024", "f"]);
    assert_eq!(cid, "QmbBftNHWmjSWKLC49dMVrfnY8pjrJYntiAXirFJ7oJrNk");
}

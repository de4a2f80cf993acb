//! Options of `add`: each against CIDs that Kubo's own tests expect, with a daemon and without, and
//! what is refused.
//!
//! The CIDs are from ipfs/kubo `test/sharness` (t0040, t0042, t0044, t0046, t0047) and `test/cli`
//! (add_test.go).

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::Value;

use crate::harness::{Daemon, Repo, keystream, skip, soak};
use crate::http_client::{Connection, head};

/// `f` with a repository that nobody has open, and then with a daemon over the same.
fn both(repo: &Repo, mut f: impl FnMut(&Repo)) {
    f(repo);
    let daemon = Daemon::offline(repo);
    f(repo);
    drop(daemon);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Of what stands there itself, not of what it leads to.
fn set_time(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Each row's words after `add`, and the CID that they give.
fn table(repo: &Repo, rows: &[(&str, &str)]) {
    both(repo, |repo| {
        for (words, cid) in rows {
            let args = format!("add -Q {words}");
            assert_eq!(repo.ok(args.split(' ')), *cid, "{words}");
        }
    });
}

#[test]
fn files_and_symlinks_carry_modes_and_times() {
    let repo = Repo::for_daemon();
    let file = repo.file("f", "");
    set_mode(&file, 0o640);
    set_time(&file, 1_604_320_482);
    symlink("nothing", repo.path("l")).unwrap();
    set_time(&repo.path("l"), 1_604_320_482);
    let plain = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH";
    let mode = "QmchD3BN8TQ3RW6jPLxSaNkqvfuj7syKhzTRmL4EpyY1Nz";
    table(
        &repo,
        &[
            ("f", plain),
            ("--mode=0 --mtime=0 f", plain),
            ("--preserve-mode f", "QmQLgxypSNGNFTuUPGCecq6dDEjb6hNB5xSyVmP3cEuNtq"),
            ("--preserve-mtime f", "QmQ6kErEW8kztQFV8vbwNU8E4dmtGsYpRiboiLxUEwibvj"),
            (
                "--preserve-mode --preserve-mtime f",
                "QmYkvboLsvLFcSYmqVJRxvBdYRQLroLv9kELf3LRiCqBri",
            ),
            ("--preserve-mtime l", "QmbJwotgtr84JxcnjpwJ86uZiyMoxbZuNH4YrdJMypkYaB"),
            (
                "--preserve-mode --preserve-mtime l",
                "QmbJwotgtr84JxcnjpwJ86uZiyMoxbZuNH4YrdJMypkYaB",
            ),
            ("--mode=0764 f", mode),
            ("--mode=0o764 --preserve-mode f", mode),
            ("--mode=500 f", mode),
            ("--mode=0x1f4 f", mode),
            ("--mtime=1603539720 f", "QmT3aY4avDcYXCWpU8CJzqUkW7YEuEsx36S8cTNoLcuK1B"),
            (
                "--mtime=1603539720 --mtime-nsecs=54321 f",
                "QmaKH8H5rXBUBCX4vdxi7ktGQEL7wejV7L9rX2qpZjwncz",
            ),
            (
                "--mode=0764 --mtime=1603539720 --mtime-nsecs=54321 f",
                "QmUkxrtBA8tPjwCYz1HrsoRfDz6NgKut3asVeHVQNH4C8L",
            ),
            ("--mtime=1603539720 l", "QmV1Uot2gy4bhY9yvYiZxhhchhyYC6MKKoGV1XtWNmpCLe"),
            ("--mode=0764 --mtime=1603539720 l", "QmV1Uot2gy4bhY9yvYiZxhhchhyYC6MKKoGV1XtWNmpCLe"),
            (
                "--mtime=1603539720 --mtime-nsecs=54321 l",
                "QmPHYCxYvvHj6VxiPNJ3kXxcPsnJLDYUJqsDJWjvytmrmY",
            ),
        ],
    );
}

/// The folder of Kubo's tests.
fn tree(repo: &Repo) {
    const BEGIN: i64 = 1_655_158_632;
    let path = |name: &str| repo.path(format!("t/{name}"));
    for folder in ["dir1", "dir2/sub1/sub2", "dir3"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    for file in ["dir2/sub1/sub2/file3", "dir3/file2", "file1"] {
        fs::write(path(file), "").unwrap();
    }
    symlink("../sub2/file3", path("dir2/sub1/link1")).unwrap();
    let entries = [
        ("dir2/sub1/sub2/file3", 0o644, 10),
        ("dir2/sub1/link1", 0, 20),
        ("dir2/sub1/sub2", 0o755, 30),
        ("dir2/sub1", 0o755, 40),
        ("dir2", 0o755, 50),
        ("dir3/file2", 0o644, 60),
        ("dir3", 0o755, 70),
        ("file1", 0o644, 80),
        ("dir1", 0o755, 90),
        ("", 0o700, 0),
    ];
    for (name, mode, after) in entries {
        if mode != 0 {
            set_mode(&path(name), mode);
        }
        set_time(&path(name), BEGIN + after);
    }
}

#[test]
fn folders_carry_modes_and_times() {
    let repo = Repo::for_daemon();
    tree(&repo);
    table(
        &repo,
        &[
            ("-r t/dir1", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"),
            ("-r --preserve-mode t/dir1", "QmRviohgafvCsbkiTgfQFipbuXJ6k1YtoiaQW4quttJPKu"),
            ("-r --preserve-mtime t/dir1", "QmYMy7CZGb498QFSQBF5ZFwv1FYbrAtYZMe4VxhDXxAcvf"),
            ("-r --mode=0713 t/dir1", "QmQ1ABnw2iip7sj23EzzBZ9T77KyyfESP6SUboiXPyzNQe"),
            ("-r --mtime=1603539720 t/dir1", "QmfWitW6F13WHFXLbJzXRYmwrS1p4gaAJAfucUSMytRPn3"),
            (
                "-r --mtime=1603539720 --mtime-nsecs=54321 t/dir1",
                "QmZFdCLJay31hT3Tx1LygJ7XfiLEs3qLCXtbeBfhf38aZg",
            ),
        ],
    );
    let all: [(&[&str], [&str; 10]); 3] = [
        (
            &["--preserve-mode", "--preserve-mtime"],
            [
                "QmRCG3Pprg4jbhfYBzVzfJVyneFHnBquPGXwvXU3jSuf5j",
                "QmReHCn4BSJJdtd6Le8Hd8Puai6TmgpPCYb13wyM7FD9AD",
                "QmSioyvQuXetxg7uo8FswGn9XKKEsisDq1HTMzGyWbw2R6",
                "QmTMoVgJKhPrz9DfkvT132mxyBXNae5azXQ42WbM9abdSE",
                "QmVzXqpuQGCAgRwEbGuE9xe8Fidi1HEXaPKsQEFEbPJW9j",
                "QmW6Nqy2nziduAp3UGx2a52gtSUsYzhVcZMuPdxBRnwCyP",
                "QmeQwX5qAX18fcPDxDdkfM6ttuFCZetF5hgeUa6ov8D5oc",
                "QmefofUNwC2U3Xp87rB1x8Aws6AdsDuoXR7B9u2RkEZ4dQ",
                "Qmeu24TFarJwLzJgMTDYDJTr4BMGnzafoSnfxov1513abW",
                "Qmf82bbFg2e8HmcqiewutVVw5NoMpiXZD57LpLdC1poBuH",
            ],
        ),
        (
            &["--mode=0753"],
            [
                "QmNZ5cyx3f6maXkczwhh3ufjDCh9f3k9zrDhX218ZZGvoV",
                "QmRqtFVLkXfWJuqWtYiCPthgomo3gouno8uvMeGAyCVaWS",
                "QmSkrWNcyDA7s1qiT6Ps7ey4zcB7uBH3sqGcKRfW4UMKhM",
                "QmSkrWNcyDA7s1qiT6Ps7ey4zcB7uBH3sqGcKRfW4UMKhM",
                "QmSkrWNcyDA7s1qiT6Ps7ey4zcB7uBH3sqGcKRfW4UMKhM",
                "QmZNAZXB6JyJ1cK9h1uJEK4XDo1CKsSuHMPGUUMrzDXCQz",
                "QmbSz6GyS8MNR4M9xtCteuGVJQRYkCXLbW174Fdy8jtaoZ",
                "QmccnAQQeJGtmtgZoi3hpEmgdxbuX1ao2hQmrKmmwQnCn9",
                "QmeTZoiAiduFY2hXaNQP4ehiE71BrQFEnrqduBZ5ZjHuFy",
                "Qmf13KNurvAHUfMBhMWvZuftmUikhhGY7ohWVaBDDndFMz",
            ],
        ),
        (
            &["--mtime=1603539720"],
            [
                "QmPCGFZ8ZFowAwfWdCeGsr9wSbGXwZiHW3bZ7XSYcc1Zby",
                "QmT3aY4avDcYXCWpU8CJzqUkW7YEuEsx36S8cTNoLcuK1B",
                "QmT3aY4avDcYXCWpU8CJzqUkW7YEuEsx36S8cTNoLcuK1B",
                "QmT3aY4avDcYXCWpU8CJzqUkW7YEuEsx36S8cTNoLcuK1B",
                "QmUGMu9epCEz5HMsuJFgpJxxt3HoahsTQcC65Jje6LNqYF",
                "QmXhzoPKuqmkqbyr4kJFznFRXtGwriCXKGFPr4vviyK3aV",
                "QmZ5wKCcL11TckypuDTKLLNFP6JMCBJRCn385XKQQ6PCLt",
                "Qmdw3hiAxn6R5MRkkdzLdFvZUa2WJeLCTXXCyB8byFsHSA",
                "QmedF4m2Y8341azfkpvaHSkxbSrZa4fo6FT25h6sRUVkpq",
                "QmfWitW6F13WHFXLbJzXRYmwrS1p4gaAJAfucUSMytRPn3",
            ],
        ),
    ];
    both(&repo, |repo| {
        for (options, cids) in &all {
            let said = repo.ok([&["add", "-qr"], *options, &["t"]].concat());
            let mut said: Vec<&str> = said.lines().collect();
            said.sort_unstable();
            assert_eq!(said, cids, "{options:?}");
        }
    });
}

#[test]
fn a_file_of_several_chunks_carries_its_mode_in_the_root_alone() {
    let repo = Repo::new();
    repo.file("f", keystream("mode", 3000));
    for layout in ["--trickle=false", "--trickle"] {
        let add = |more: &[&str]| {
            repo.ok([
                &["add", "-Q", "--chunker=size-100", "--max-file-links=5", layout],
                more,
                &["f"],
            ]
            .concat())
        };
        let (plain, carrying) = (add(&[]), add(&["--mode=0600"]));
        let refs = |cid: &str| repo.ok(["refs", "-r", cid]);
        assert_ne!(plain, carrying);
        assert_eq!(refs(&plain), refs(&carrying), "{layout}");
        assert_eq!(repo.run(["cat", &carrying]).out, keystream("mode", 3000));
    }
    // Exactly one full node, and one leaf more.
    for size in [500, 501] {
        repo.file("f", keystream("mode", size));
        let words = ["add", "-Q", "--chunker=size-100", "--max-file-links=5", "--mtime=7", "f"];
        let cid = repo.ok(words);
        assert_eq!(repo.run(["cat", &cid]).out.len(), size);
        let node: Value = serde_json::from_str(&repo.ok(["dag", "get", &cid])).unwrap();
        let links = node["Links"].as_array().unwrap().len();
        assert_eq!(links, if size == 500 { 5 } else { 2 });
        let data = data_encoding::BASE64_NOPAD
            .decode(node["Data"]["/"]["bytes"].as_str().unwrap().as_bytes())
            .unwrap();
        assert!(data.ends_with(&[0x42, 2, 8, 7]), "{data:x?}");
    }
}

#[test]
fn what_is_hidden_or_ignored_stays_out() {
    let repo = Repo::for_daemon();
    for (name, text) in [
        (".gitignore", "mars.txt\n"),
        ("mars.txt", "Hello Mars\n"),
        ("venus.txt", "Hello Venus\n"),
        (".pluto.txt", "Hello Pluto\n"),
        (".charon.txt", "Hello Charon\n"),
        (".asteroids/ceres.txt", "Hello Ceres\n"),
        (".asteroids/pallas.txt", "Hello Pallas\n"),
    ] {
        repo.file(format!("planets/{name}"), text);
    }
    repo.file(".vimrc", "set nocompatible\n");
    let ceres = "added QmcAREBcjgnUpKfyFmUGnfajA1NQS5ydqRp7WfqZ6JF8Dx planets/.asteroids/ceres.txt";
    let pallas =
        "added QmZ5eaLybJ5GUZBNwy24AA9EEDTDpA4B8qXnuN3cGxu2uF planets/.asteroids/pallas.txt";
    let charon = "added QmaowqjedBkUrMUXgzt9c2ZnAJncM9jpJtkFfgdFstGr5a planets/.charon.txt";
    let rules = "added QmPHrRjTH8FskN3C2iv6BLekDT94o23KSL2u5qLqQqGhVH planets/.gitignore";
    let pluto = "added QmU4zFD5eJtRBsWC63AvpozM9Atiadg9kPVTuTrnCYJiNF planets/.pluto.txt";
    let mars = "added QmZy3khu7qf696i5HtkgL2NotsCZ8wzvNZJ1eUdA5n8KaV planets/mars.txt";
    let venus = "added QmQnv4m3Q5512zgVtpbJ9z85osQrzZzGRn934AGh6iVEXz planets/venus.txt";
    let asteroids = "added Qmf6rbs5GF85anDuoxpSAdtuZPM9D2Yt3HngzjUVSQ7kDV planets/.asteroids";
    let root = |cid: &str| format!("added {cid} planets");
    let (plain, all) = (
        root("QmR8nD1Vzk5twWVC6oShTHvv7mMYkVh6dApCByBJyV2oj3"),
        root("QmczhHaXyb3bc9APMxe4MXbr87V5YDLKLaw3DZX3fK7HrK"),
    );
    let (ignoring, more) = (
        root("QmaRsiaCYvc65RqHVAcv2tqyjZgQYgvaNqW1tQGsjfy4N5"),
        root("QmemuMahjSh7eYLY3hbz2q8sqMPnbQzBQeUdosqNiWChE6"),
    );
    let file = "--ignore-rules-path=planets/.gitignore";
    both(&repo, |repo| {
        let add = |words: &[&str]| repo.ok([&["add", "-r"], words, &["planets"]].concat());
        assert_eq!(add(&[]), [mars, venus, &plain].join("\n"));
        let every = [ceres, pallas, charon, rules, pluto, mars, venus, asteroids, &all];
        assert_eq!(add(&["--hidden"]), every.join("\n"));
        let git = [ceres, pallas, charon, rules, pluto, venus, asteroids, &ignoring];
        assert_eq!(add(&["-H", file]), git.join("\n"));
        let both = ["-H", file, "--ignore", ".asteroids", "--ignore=venus.txt"];
        assert_eq!(add(&both), [charon, rules, pluto, &more].join("\n"));
        assert_eq!(add(&["-H", file, "--ignore=.asteroids/", "--ignore=v*"]), add(&both));
        let given = "added QmT4uMRDCN7EMpFeqwvKkboszbqeW1kWVGrBxBuCGqZcQc .vimrc";
        assert_eq!(repo.ok(["add", "--ignore=.vimrc", ".vimrc"]), given);
    });
}

#[test]
fn symlinks_are_followed_where_that_was_asked_for() {
    let repo = Repo::for_daemon();
    repo.file("d/target.txt", "target\n");
    repo.file("d/sub/deep/nested.txt", "nested\n");
    symlink("target.txt", repo.path("d/link.txt")).unwrap();
    symlink("nested.txt", repo.path("d/sub/deep/link.txt")).unwrap();
    symlink("sub", repo.path("d/folder")).unwrap();
    repo.file("e/target.txt", "target\n");
    repo.file("e/link.txt", "target\n");
    for name in ["sub", "folder"] {
        repo.file(format!("e/{name}/deep/nested.txt"), "nested\n");
        repo.file(format!("e/{name}/deep/link.txt"), "nested\n");
    }
    symlink("d", repo.path("to-d")).unwrap();
    both(&repo, |repo| {
        let add = |words: &[&str]| repo.ok([&["add", "-r", "-Q"], words].concat());
        let (file, followed) = (add(&["d/target.txt"]), add(&["e"]));
        assert_ne!(add(&["d/link.txt"]), file);
        assert_eq!(add(&["--dereference-args", "d/link.txt"]), file);
        assert_eq!(add(&["--dereference-symlinks", "d/link.txt"]), file);
        assert_eq!(add(&["--dereference-symlinks", "d"]), followed);
        assert_eq!(add(&["--dereference-symlinks", "to-d"]), followed);
        assert_eq!(add(&["--dereference-args", "to-d"]), add(&["d"]));
        let named = repo.ok(["add", "--dereference-args", "d/link.txt"]);
        assert_eq!(named, format!("added {file} target.txt"), "called as what it leads to");
    });
    // Back up, and to nowhere.
    symlink("..", repo.path("d/sub/up")).unwrap();
    let line = repo.fails(["add", "-r", "--dereference-symlinks", "d"]);
    assert!(line.contains("symlinks lead from") && line.contains("sub/up"), "{line}");
    fs::remove_file(repo.path("d/sub/up")).unwrap();
    symlink("nowhere", repo.path("d/gone")).unwrap();
    let line = repo.fails(["add", "-r", "--dereference-symlinks", "d"]);
    assert!(line.contains("d/gone: no such file or directory"), "{line}");
}

#[test]
fn empty_folders_stay_unless_told_otherwise() {
    let repo = Repo::for_daemon();
    repo.file("d/f", "f\n");
    repo.file("plain/f", "f\n");
    fs::create_dir_all(repo.path("d/empty")).unwrap();
    fs::create_dir_all(repo.path("alone/empty")).unwrap();
    fs::create_dir_all(repo.path("only-ignored")).unwrap();
    repo.file("only-ignored/sub/x.o", "x");
    let empty = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
    both(&repo, |repo| {
        let add = |words: &[&str]| repo.ok([&["add", "-r", "-Q"], words].concat());
        assert_eq!(add(&["d"]), add(&["-E", "d"]));
        assert_ne!(add(&["d"]), add(&["--empty-dirs=false", "d"]));
        assert_eq!(add(&["plain"]), add(&["--empty-dirs=false", "d"]));
        assert_eq!(add(&["--empty-dirs=false", "alone"]), empty);
        assert_eq!(add(&["--empty-dirs=false", "alone/empty"]), empty, "a root stays");
        let said = repo.ok(["add", "-r", "--empty-dirs=false", "--ignore=*.o", "only-ignored"]);
        assert_eq!(said, format!("added {empty} only-ignored"));
    });
}

#[test]
fn standard_input_gets_the_name_it_is_given() {
    let repo = Repo::for_daemon();
    repo.file("a.txt", "hello\n");
    let hello = "QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN";
    both(&repo, |repo| {
        let feed = |words: &[&str]| repo.feed([&["add"], words].concat(), b"hello\n").text();
        assert_eq!(feed(&[]), format!("added {hello} {hello}"));
        assert_eq!(feed(&["--stdin-name=n.txt"]), format!("added {hello} n.txt"));
        assert_eq!(feed(&["--stdin-name=n.txt", "-"]), format!("added {hello} n.txt"));
        let wrapped = feed(&["-w", "--stdin-name=n.txt", "-", "a.txt", "./a.txt"]);
        let folder = wrapped.lines().last().unwrap().split(' ').nth(1).unwrap().to_owned();
        assert_eq!(repo.ok(["ls", &folder]), format!("{hello} 6 a.txt\n{hello} 6 n.txt"));
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
    assert!(stored.lines().all(|cid| !cid.starts_with("bafkqa") && !cid.starts_with("bafyqa")));
    // The root, `sub`, and the three nodes of the large file.
    assert_eq!(stored.lines().count(), 5, "{stored}");
    repo.ok(["repo", "gc"]);
    let refs = repo.ok(["refs", "-r", &root]);
    assert!(refs.lines().filter(|cid| cid.starts_with("bafyqa")).count() == 21, "{refs}");
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
            let line = repo.fails([&["add"], *words, &["f"]].concat());
            assert!(line.contains(told), "{words:?}: {line}");
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

/// Parts of an upload: parameters behind `file`, content type, name and content.
fn body(parts: &[(&str, &str, &str, &str)]) -> Vec<u8> {
    let part = |(params, kind, name, content): &(&str, &str, &str, &str)| {
        format!(
            "--edge\r\nContent-Disposition: form-data; name=\"file{params}\"; \
             filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n{content}\r\n"
        )
    };
    (parts.iter().map(part).collect::<String>() + "--edge--\r\n").into_bytes()
}

#[test]
fn uploads_carry_modes_and_times_as_kubos_clients_write_them() {
    let repo = Repo::for_daemon();
    let daemon = Daemon::offline(&repo);
    let add = |query: &str, parts: &[(&str, &str, &str, &str)]| {
        let body = body(parts);
        let length = body.len().to_string();
        let kind = "multipart/form-data; boundary=edge";
        let headers = [("Content-Type", kind), ("Content-Length", length.as_str())];
        let mut connection = Connection::open(&daemon.api());
        connection.write(head("POST", &format!("/api/v0/add?{query}"), &headers).as_bytes());
        connection.write(&body);
        connection.answer()
    };
    let file = "application/octet-stream";
    let one = [("?mode=0640&mtime=1604320482", file, "f", "")];
    let kept = add("preserve-mode=true&preserve-mtime=true", &one).json();
    assert_eq!(kept["Hash"], "QmYkvboLsvLFcSYmqVJRxvBdYRQLroLv9kELf3LRiCqBri");
    assert_eq!((&kept["Mode"], &kept["Mtime"]), (&"0640".into(), &1_604_320_482.into()));
    assert_eq!(kept.get("MtimeNsecs"), None);
    // What comes with it is told, and kept only where that was asked for.
    let plain = add("", &one).json();
    assert_eq!(plain["Hash"], "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
    assert_eq!(plain["Mode"], "0640");
    let without = add("preserve-mode=true&preserve-mtime=true", &[("", file, "f", "")]).json();
    assert_eq!(without["Hash"], plain["Hash"]);
    assert_eq!((without.get("Mode"), without.get("Mtime")), (None, None));
    // A folder, in Go's bits; and one that is only implied, which has nothing of its own.
    let folder = [("?mode=020000000755", "application/x-directory", "d", "")];
    let kept = add("preserve-mode=true", &folder).json();
    assert_eq!(kept["Hash"], "QmRviohgafvCsbkiTgfQFipbuXJ6k1YtoiaQW4quttJPKu");
    let implied = add("mode=0755&preserve-mode=true", &[("", file, "d/f", "x")]);
    assert!(implied.text().lines().count() == 2, "{}", implied.text());
    for bad in ["?mode=8", "?mtime=soon", "?mtime=1&mtime-nsecs=1000000000"] {
        let refused = add("", &[(bad, file, "f", "")]);
        assert!(refused.text().contains("invalid name of a part"), "{bad}: {}", refused.text());
    }
}

#[test]
fn a_pipe_that_is_named_is_read() {
    let repo = Repo::new();
    let pipe = repo.path("pipe");
    rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let feeding = std::thread::spawn(move || fs::write(pipe, "hello\n").unwrap());
    let said = repo.ok(["add", "pipe"]);
    assert_eq!(said, "added QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN pipe");
    feeding.join().unwrap();
    fs::create_dir(repo.path("d")).unwrap();
    fs::rename(repo.path("pipe"), repo.path("d/pipe")).unwrap();
    let line = repo.fails(["add", "-r", "d"]);
    assert!(line.contains("unrecognized file type for d/pipe"), "{line}");
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

#[test]
fn times_of_the_disk_are_kept_to_the_nanosecond() {
    let repo = Repo::new();
    let path = repo.file("f", "");
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_603_539_720, 54_321);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    let kept = "QmaKH8H5rXBUBCX4vdxi7ktGQEL7wejV7L9rX2qpZjwncz";
    assert_eq!(repo.ok(["add", "-Q", "--preserve-mtime", "f"]), kept);
    let row: Value = serde_json::from_str(&repo.ok(["add", "--enc=json", "f"])).unwrap();
    assert_eq!((&row["Mtime"], &row["MtimeNsecs"]), (&1_603_539_720.into(), &54_321.into()));
}

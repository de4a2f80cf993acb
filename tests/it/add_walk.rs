//! What `add` takes of the disk: hidden and ignored files, symlinks, empty folders, pipes.
//!
//! The CIDs are those that Kubo's own tests expect: ipfs/kubo `test/sharness` t0042.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::CWD;

use crate::add_options::both;
use crate::harness::Repo;

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
    assert!(
        line.contains("symlinks lead from") && line.contains("/up to a folder above it"),
        "{line}"
    );
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
fn a_pipe_that_is_named_is_read() {
    let repo = Repo::new();
    let pipe = repo.path("pipe");
    rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let feeding = std::thread::spawn(move || fs::write(pipe, "hello\n").unwrap());
    let said = repo.ok(["add", "--preserve-mode", "pipe"]);
    assert_eq!(said, "added QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN pipe");
    feeding.join().unwrap();
    fs::create_dir(repo.path("d")).unwrap();
    fs::rename(repo.path("pipe"), repo.path("d/pipe")).unwrap();
    let line = repo.fails(["add", "-r", "d"]);
    assert!(line.contains("unrecognized file type for d/pipe"), "{line}");
}

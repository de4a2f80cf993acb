//! What commands print and how they end, against what Kubo's print: other programs read it.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Repo;

/// CIDs that Kubo gives to the content below.
pub const HELLO: &str = "QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN";
pub const DEEP: &str = "QmRSmZi9vaPTEP2y39ZbknpxoXoGRXxiiiwmVQFmTFJEUF";
pub const LINK: &str = "QmS9U51FvTAqDDVLJ5okMzeLjsEeg8JEG1rPmSq2oPahF6";
pub const SUB: &str = "QmTJ7PahWsjnezpXzrruQsxDdGd9tZGxEizfaz9tJjZH5V";
pub const FOLDER: &str = "QmU71KPCmpaQSwBMPTiwvxvgCHF4aV1dZ3xHNn6ekehBMG";
/// The empty folder, which nothing here adds.
pub const ABSENT: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

/// A repository, and beside it a folder of a file, a symlink, a hidden file and a subfolder.
fn bench() -> Repo {
    let repo = Repo::new();
    repo.file("hello", "hello\n");
    repo.file("d/a.txt", "hello\n");
    repo.file("d/.hidden", "hidden\n");
    repo.file("d/sub/b", "deep\n");
    std::os::unix::fs::symlink("a.txt", repo.path("d/link")).unwrap();
    repo
}

/// The same with the folder added.
pub fn filled() -> Repo {
    let repo = bench();
    assert_eq!(repo.ok(["add", "-r", "-Q", "d"]), FOLDER);
    repo
}

/// Runs a command that must succeed; gives its output as lines and checks that stderr, a pipe,
/// stays empty: no progress bar, no log.
pub fn lines(repo: &Repo, args: &[&str]) -> Vec<String> {
    let said = repo.run(args);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{args:?}");
    said.text().lines().map(str::to_owned).collect()
}

/// A command's reply as it stands.
pub fn json_of(repo: &Repo, args: &[&str]) -> Value {
    serde_json::from_str(&repo.ok([args, &["--enc", "json"]].concat())).unwrap()
}

#[test]
fn add_prints_what_it_was_told_to() {
    let repo = bench();
    assert_eq!(lines(&repo, &["add", "hello"]), [format!("added {HELLO} hello")]);
    assert_eq!(lines(&repo, &["add", "-q", "hello"]), [HELLO]);
    assert_eq!(lines(&repo, &["add", "-Q", "hello"]), [HELLO]);
    assert!(lines(&repo, &["add", "--silent", "hello"]).is_empty());
    let whole = [
        format!("added {HELLO} d/a.txt"),
        format!("added {LINK} d/link"),
        format!("added {DEEP} d/sub/b"),
        format!("added {SUB} d/sub"),
        format!("added {FOLDER} d"),
    ];
    assert_eq!(lines(&repo, &["add", "-r", "d"]), whole);
    for flag in ["-H", "--hidden"] {
        let hidden = lines(&repo, &["add", "-r", flag, "d"]);
        assert!(hidden[0].ends_with(" d/.hidden") && hidden.len() == 6, "{hidden:?}");
        assert!(!hidden[5].contains(FOLDER));
    }
    // By name, whatever the order; `-w` ends with the folder around it all, which has no name.
    let wrapped = repo.run(["add", "-w", "hello", "d/sub/b"]);
    let cid = repo.ok(["add", "-Q", "-w", "hello", "d/sub/b"]);
    assert_eq!(
        String::from_utf8_lossy(&wrapped.out),
        format!("added {DEEP} b\nadded {HELLO} hello\nadded {cid} \n")
    );
    assert_eq!(repo.ok(["cat", &format!("{cid}/b")]), "deep");
}

#[test]
fn standard_input_is_named_by_its_cid() {
    let repo = bench();
    for args in [&["add"][..], &["add", "-"]] {
        assert_eq!(repo.feed(args, b"hello\n").text(), format!("added {HELLO} {HELLO}"));
    }
    assert_eq!(repo.feed(["add", "-Q"], b"hello\n").text(), HELLO);
    let said = repo.feed(["add", "-Q", "-w"], b"hello\n");
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(repo.ok(["cat", &format!("{}/{HELLO}", said.text())]), "hello");
}

#[test]
fn each_argument_of_add_is_finished_before_the_next() {
    let repo = bench();
    let printed = lines(&repo, &["add", "-r", "d", "hello"]);
    assert_eq!(printed[4..], [format!("added {FOLDER} d"), format!("added {HELLO} hello")]);
    assert_eq!(lines(&repo, &["add", "-Q", "-r", "d", "hello"]), [HELLO]);
    let pins = lines(&repo, &["pin", "ls", "-q", "--type=recursive"]);
    assert_eq!(pins.len(), 2);
}

#[test]
fn files_of_one_name_from_two_folders_are_both_added() {
    let repo = bench();
    repo.file("other/a.txt", "other\n");
    let printed = lines(&repo, &["add", "-q", "d/a.txt", "other/a.txt"]);
    assert_eq!(printed[0], HELLO);
    assert_eq!(repo.ok(["cat", &printed[1]]), "other");
    repo.file("other/sub/c", "c\n");
    let printed = lines(&repo, &["add", "-r", "-q", "d/sub", "other/sub"]);
    assert_eq!((printed.len(), printed[1].as_str()), (4, SUB));
    // In one folder they cannot both be.
    assert!(repo.fails(["add", "-w", "d/a.txt", "other/a.txt"]).contains("a.txt"));
}

#[test]
fn pins_of_add_have_names_or_are_left_out() {
    let repo = bench();
    repo.ok(["add", "-Q", "--pin=false", "d/sub/b"]);
    assert!(lines(&repo, &["pin", "ls"]).is_empty());
    repo.ok(["add", "-Q", "--pin-name=greeting", "hello"]);
    assert_eq!(lines(&repo, &["pin", "ls"]), [format!("{HELLO} recursive")]);
    let named = [format!("{HELLO} recursive greeting")];
    assert_eq!(lines(&repo, &["pin", "ls", "--names"]), named);
    assert_eq!(lines(&repo, &["pin", "ls", "--name=reet"]), named);
    assert!(lines(&repo, &["pin", "ls", "--name=other"]).is_empty());
    assert!(repo.ok(["add", "-n", "-Q", "d/a.txt"]) == HELLO);
}

#[test]
fn cat_counts_over_all_files() {
    let repo = filled();
    let deep = format!("{FOLDER}/sub/b");
    let cut = |offset: &str, length: &str| {
        let said = repo.run(["cat", "-o", offset, "-l", length, HELLO, &deep]);
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        String::from_utf8(said.out).unwrap()
    };
    assert_eq!(cut("0", "100"), "hello\ndeep\n");
    assert_eq!(cut("2", "5"), "llo\nd");
    assert_eq!(cut("7", "2"), "ee");
    assert_eq!((cut("11", "5"), cut("500", "5"), cut("3", "0")), Default::default());
    assert_eq!(repo.ok(["cat", &format!("/ipfs/{FOLDER}//sub/../a.txt")]), "hello");
}

#[test]
fn ls_prints_columns() {
    let repo = filled();
    let rows = [format!("{HELLO} 6 a.txt"), format!("{LINK} 0 link"), format!("{SUB} - sub/")];
    assert_eq!(lines(&repo, &["ls", FOLDER]), rows);
    assert_eq!(lines(&repo, &["ls", "--stream", FOLDER]), rows);
    let headed = lines(&repo, &["ls", "-v", FOLDER]);
    assert_eq!(headed[0], format!("{:46} Size Name", "Hash"));
    assert_eq!(headed[1], format!("{HELLO} 6    a.txt"));
    let unsized_ = lines(&repo, &["ls", "--size=false", FOLDER]);
    assert_eq!(unsized_[2], format!("{SUB} sub/"));
    let several = lines(&repo, &["ls", SUB, FOLDER]);
    let expected = [format!("{SUB}:"), format!("{DEEP} 5 b"), String::new(), format!("{FOLDER}:")];
    assert_eq!(several[..4], expected);
    assert!(lines(&repo, &["ls", HELLO]).is_empty());
    let reply = json_of(&repo, &["ls", &format!("{FOLDER}/sub")]);
    let link = json!({
        "Name": "b", "Hash": DEEP, "Size": 5, "Type": 2, "Target": "", "Mode": 0,
        "ModTime": "0001-01-01T00:00:00Z",
    });
    assert_eq!(reply["Objects"][0]["Hash"], format!("{FOLDER}/sub"));
    assert_eq!(reply["Objects"][0]["Links"], json!([link]));
}

#[test]
fn refs_walks_as_far_as_asked() {
    let repo = filled();
    let top = [HELLO, LINK, SUB];
    assert_eq!(lines(&repo, &["refs", FOLDER]), top);
    assert_eq!(lines(&repo, &["refs", "-r", FOLDER]), [HELLO, LINK, SUB, DEEP]);
    assert_eq!(lines(&repo, &["refs", "-r", "--max-depth=1", FOLDER]), top);
    assert!(lines(&repo, &["refs", "-r", "--max-depth=0", FOLDER]).is_empty());
    assert_eq!(lines(&repo, &["refs", "-e", SUB]), [format!("{SUB} -> {DEEP}")]);
    let formatted = lines(&repo, &["refs", "--format=<linkname>:<src>:<dst>", SUB]);
    assert_eq!(formatted, [format!("b:{SUB}:{DEEP}")]);
    let twice = repo.file("twice/x", "same\n");
    fs::copy(&twice, repo.path("twice/y")).unwrap();
    let cid = repo.ok(["add", "-Q", "-r", "twice"]);
    assert_eq!(lines(&repo, &["refs", "-r", &cid]).len(), 2);
    assert_eq!(lines(&repo, &["refs", "-r", "-u", &cid]).len(), 1);
    let local = lines(&repo, &["refs", "local"]);
    assert!(local.len() == 7 && local.iter().all(|cid| cid.starts_with("bafkrei")), "{local:?}");
}

#[test]
fn blocks_go_in_and_out_alone() {
    let repo = filled();
    let raw = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am";
    assert_eq!(repo.feed(["block", "put"], b"hello\n").text(), raw);
    assert_eq!(repo.run(["block", "get", raw]).out, b"hello\n");
    assert_eq!(lines(&repo, &["block", "stat", raw]), [format!("Key: {raw}"), "Size: 6".into()]);
    assert_eq!(json_of(&repo, &["block", "stat", raw]), json!({ "Key": raw, "Size": 6 }));
    assert_eq!(lines(&repo, &["block", "rm", raw]), [format!("removed {raw}")]);
    assert!(repo.fails(["block", "get", raw]).contains(raw));
    let said = repo.run(["block", "rm", raw]);
    assert_eq!(said.code, 1);
    let missing = format!("cannot remove {raw}: ipld: could not find {raw}\n");
    assert_eq!(said.err, missing + "Error: some blocks not removed\n");
    lines(&repo, &["block", "rm", "-f", raw]);
    assert!(lines(&repo, &["block", "rm", "-f", "-q", raw]).is_empty());
    for held in [FOLDER, SUB] {
        let said = repo.run(["block", "rm", held]);
        assert!(said.code == 1 && said.err.contains("pinned"), "{}", said.err);
        assert_eq!(repo.run(["block", "get", held]).code, 0);
    }
    repo.feed(["block", "put", "--pin"], b"hello\n");
    assert!(repo.ok(["pin", "ls", "-q", "-t", "recursive"]).contains(raw));
}

#[test]
fn dag_get_prints_dag_json() {
    let repo = filled();
    let node: Value = serde_json::from_str(&repo.ok(["dag", "get", SUB])).unwrap();
    let link = json!({ "Hash": { "/": DEEP }, "Name": "b", "Tsize": 13 });
    assert_eq!(node, json!({ "Data": { "/": { "bytes": "CAE" } }, "Links": [link] }));
    let raw = repo.run(["dag", "get", "--output-codec=dag-pb", SUB]);
    assert_eq!(raw.out, repo.run(["block", "get", SUB]).out);
}

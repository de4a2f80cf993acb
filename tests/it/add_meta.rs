//! Permissions and times that `add` keeps or sets, with a daemon and without.
//!
//! The CIDs are those that Kubo's own tests expect: ipfs/kubo `test/sharness` t0047.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::Value;

use crate::add_options::{both, table};
use crate::harness::{Daemon, Repo, keystream};
use crate::http_client::{Answer, Connection, head};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Of what stands there itself, not of what it leads to.
pub fn set_time(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
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

/// When the folder of Kubo's tests was made.
const BEGIN: i64 = 1_655_158_632;

/// What is in it: names, permissions (a symlink has none), and seconds later than itself.
const ENTRIES: [(&str, u32, i64); 10] = [
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

/// Makes it, called `t`.
fn tree(repo: &Repo) {
    let path = |name: &str| repo.path(format!("t/{name}"));
    for folder in ["dir1", "dir2/sub1/sub2", "dir3"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    for file in ["dir2/sub1/sub2/file3", "dir3/file2", "file1"] {
        fs::write(path(file), "").unwrap();
    }
    symlink("../sub2/file3", path("dir2/sub1/link1")).unwrap();
    for (name, mode, after) in ENTRIES {
        if mode != 0 {
            set_mode(&path(name), mode);
        }
        set_time(&path(name), BEGIN + after);
    }
}

/// Options, and the CIDs of everything in [`tree`] under them, sorted.
const TREES: [(&[&str], [&str; 10]); 3] = [
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
    both(&repo, |repo| {
        for (options, cids) in &TREES {
            let said = repo.ok([&["add", "-qr"], *options, &["t"]].concat());
            let mut said: Vec<&str> = said.lines().collect();
            said.sort_unstable();
            assert_eq!(said, cids, "{options:?}");
        }
    });
}

#[test]
fn what_add_keeps_get_gives_back() {
    let repo = Repo::for_daemon();
    tree(&repo);
    let mut round = 0;
    both(&repo, |repo| {
        for version in ["--cid-version=0", "--cid-version=1"] {
            let words = ["add", "-Q", "-r", "--preserve-mode", "--preserve-mtime", version, "t"];
            let cid = repo.ok(words);
            round += 1;
            let copy = format!("copy{round}");
            repo.ok(["get", &cid, "-o", &copy]);
            for (name, mode, after) in ENTRIES {
                let meta = fs::symlink_metadata(repo.path(&copy).join(name)).unwrap();
                assert_eq!(meta.mtime(), BEGIN + after, "{name} {version}");
                assert!(mode == 0 || meta.mode() & 0o7777 == mode, "{name} {version}");
            }
        }
    });
}

#[test]
fn a_file_of_several_chunks_carries_its_mode_in_the_root_alone() {
    let repo = Repo::new();
    // The CIDs of ipfs-unixfs-importer 17.
    let bytes: Vec<u8> = (0..500).map(|i| u8::try_from((i * 7 + i * i) % 251).unwrap()).collect();
    repo.file("f", bytes);
    let meta = ["--mode=0640", "--mtime=1604320482", "--mtime-nsecs=77"];
    for (trickle, cid) in [
        ("--trickle=false", "QmTdr7GPPuKhr58w1dqJQAwNXK44FueyohfxZmH7EDEwdc"),
        ("--trickle", "QmQnwiKW71oQGfznV7YAsjScrCW8kjZ971mVpMZtNeGNMF"),
    ] {
        let shape = ["add", "-Q", "-s", "size-100", "--max-file-links=5", trickle];
        assert_eq!(repo.ok([&shape[..], &meta, &["f"]].concat()), cid);
    }
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

/// A part of an upload: parameters behind `file`, content type, name and content.
type Part<'a> = (&'a str, &'a str, &'a str, &'a str);

fn upload(daemon: &Daemon, query: &str, parts: &[Part<'_>]) -> Answer {
    let part = |(params, kind, name, content): &Part<'_>| {
        format!(
            "--edge\r\nContent-Disposition: form-data; name=\"file{params}\"; \
             filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n{content}\r\n"
        )
    };
    let body = parts.iter().map(part).collect::<String>() + "--edge--\r\n";
    let length = body.len().to_string();
    let kind = "multipart/form-data; boundary=edge";
    let headers = [("Content-Type", kind), ("Content-Length", length.as_str())];
    let mut connection = Connection::open(&daemon.api());
    connection.write(head("POST", &format!("/api/v0/add?{query}"), &headers).as_bytes());
    connection.write(body.as_bytes());
    connection.answer()
}

#[test]
fn uploads_carry_modes_and_times_as_kubos_clients_write_them() {
    let repo = Repo::for_daemon();
    let daemon = Daemon::offline(&repo);
    let add = |query: &str, parts: &[Part<'_>]| upload(&daemon, query, parts);
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
fn a_folder_carries_the_same_plain_and_as_a_hamt() {
    let repo = Repo::for_daemon();
    let daemon = Daemon::offline(&repo);
    let (names, texts): (Vec<String>, Vec<String>) =
        (0..30).map(|n| (format!("d/{n}"), format!("file {n}\n"))).unzip();
    let folder = ("?mode=020000000711&mtime=1604320482", "application/x-directory", "d", "");
    let file = |(name, text)| ("", "application/octet-stream", name, text);
    let files = names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).map(file);
    let parts: Vec<Part<'_>> = std::iter::once(folder).chain(files).collect();
    // The CIDs are those of ipfs-unixfs-importer 17.
    for (query, cid) in [
        ("", "QmTSWcPM8jc8FRwxhMDBaiA5UBbAaSPy17gHidyqUhsV5C"),
        ("&max-directory-links=3", "QmTpzhwLy13hH8sUoESSMMQyJZPqzFz7dKfPoXsj2Te7cn"),
    ] {
        let query = format!("preserve-mode=true&preserve-mtime=true{query}");
        let said = upload(&daemon, &query, &parts).text();
        let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert_eq!((&last["Name"], &last["Hash"]), (&"d".into(), &cid.into()), "{query}");
    }
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

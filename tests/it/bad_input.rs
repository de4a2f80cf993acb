//! Bad input: whatever is wrong with an argument, a path, a file or an option, the command ends
//! with one line that names it and exit code 1; it does not panic, and nothing is lost.
//!
//! Trouble with the disk and with the repository itself is in `damage.rs`.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::harness::{Repo, Said, keystream, one_line, said, skip};

/// The CID of a block that no test adds.
const ABSENT: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nm";

/// Every command that takes a path, up to where the path goes.
const PATH_COMMANDS: &[&[&str]] = &[
    &["cat"],
    &["get"],
    &["ls"],
    &["ls", "--stream"],
    &["refs"],
    &["refs", "-r"],
    &["block", "get"],
    &["block", "stat"],
    &["dag", "get"],
    &["pin", "add"],
    &["pin", "add", "-r=false"],
    &["pin", "rm"],
    &["pin", "ls"],
];

/// A repository with content that must outlive everything a test does to it.
pub struct Kept {
    pub repo: Repo,
    /// A folder of `big` and `sub/small`.
    pub folder: String,
    /// What `big` holds.
    pub bytes: Vec<u8>,
    pins: String,
}

impl Kept {
    pub fn new() -> Self {
        let repo = Repo::new();
        let bytes = keystream("kept", 300_000);
        repo.file("kept/big", &bytes);
        repo.file("kept/sub/small", "small\n");
        let folder = repo.ok(["add", "-Q", "-r", "kept"]);
        let pins = repo.ok(["pin", "ls"]);
        Self { repo, folder, bytes, pins }
    }

    /// Nothing was pinned or unpinned, and everything reads back.
    pub fn intact(&self) {
        assert_eq!(self.repo.ok(["pin", "ls"]), self.pins);
        let said = self.repo.run(["cat", &format!("{}/big", self.folder)]);
        assert!(said.code == 0 && said.out == self.bytes, "{}", said.err);
        assert_eq!(self.repo.ok(["cat", &format!("{}/sub/small", self.folder)]), "small");
    }

    /// The command with one more argument fails; gives its line.
    fn refuses(&self, command: &[&str], argument: &str) -> String {
        let said = self.repo.run(command.iter().copied().chain([argument]));
        assert!(said.out.is_empty(), "{command:?} {argument:?}: {}", said.text());
        one_line(&said)
    }
}

/// No control character may reach a terminal.
fn printable(line: &str) {
    assert!(!line.chars().any(char::is_control), "{line:?}");
}

#[test]
fn a_malformed_cid_is_named_by_every_command() {
    let kept = Kept::new();
    let long = "z".repeat(10_000);
    let bad: &[(&str, &str)] = &[
        ("", "\"\""),
        ("/", "\"/\""),
        ("nonsense", "nonsense"),
        ("Qm", "Qm"),
        ("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3N", "QmUNLLs"),
        ("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyk", "bafkrei"),
        ("/ipfs/", "/ipfs/"),
        ("/ipfs/nonsense/a", "nonsense"),
        ("/foo/bar", "/foo/bar"),
        ("a\nb\u{1b}[31m\u{7}", "a\\nb\\u{1b}[31m\\u{7}"),
        ("水", "水"),
        (&long, "zzzzzzzz"),
    ];
    for command in PATH_COMMANDS {
        for (text, named) in bad {
            let line = kept.refuses(command, text);
            assert!(line.contains(named), "{command:?} {text:?}: {line}");
            assert!(line.len() < 400, "{command:?}: a line of {} bytes", line.len());
            printable(&line);
        }
    }
    for text in ["", "nonsense", "a\nb"] {
        let line = kept.refuses(&["block", "rm"], text);
        assert!(line.contains(&format!("{text:?}")), "{line}");
    }
    kept.intact();
}

#[test]
fn a_cid_that_is_not_here_is_named_by_every_command() {
    let kept = Kept::new();
    for command in PATH_COMMANDS {
        let unpinned = command.starts_with(&["pin", "rm"]) || command.starts_with(&["pin", "ls"]);
        for text in [ABSENT.to_owned(), format!("/ipfs/{ABSENT}"), format!("{ABSENT}/a/b")] {
            let line = kept.refuses(command, &text);
            // Whether a CID is pinned is known without its block; Kubo's `pin rm` names nothing.
            match unpinned && !text.ends_with("/b") {
                true => assert!(line.contains("not pinned"), "{command:?}: {line}"),
                false => assert!(line.contains(ABSENT), "{command:?}: {line}"),
            }
        }
    }
    let said = kept.repo.run(["block", "rm", ABSENT]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains(ABSENT) && said.err.contains("some blocks not removed"));
    kept.intact();
}

#[test]
fn names_and_climbing_paths_are_refused() {
    let kept = Kept::new();
    for command in PATH_COMMANDS {
        for name in
            ["example.com", "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"]
        {
            let line = kept.refuses(command, &format!("/ipns/{name}"));
            assert!(line.contains(name), "{line}");
        }
        printable(&kept.refuses(command, "/ipns/a\nb\u{1b}[2J"));
        for climb in ["/..", "/sub/../..", "/sub/../../kept"] {
            let line = kept.refuses(command, &format!("{}{climb}", kept.folder));
            assert!(line.contains("'..' climbs above the root"), "{line}");
        }
    }
    kept.intact();
}

#[test]
fn a_path_past_its_end_names_the_segment() {
    let kept = Kept::new();
    let commands = PATH_COMMANDS.iter().copied();
    for command in commands {
        for (path, segment) in [
            ("big/past", "\"past\""),
            ("sub/small/past/further", "\"past\""),
            ("missing", "\"missing\""),
            ("sub/missing/x", "\"missing\""),
            ("sub/mis\u{1b}sing", "\"mis\\u{1b}sing\""),
        ] {
            let line = kept.refuses(command, &format!("{}/{path}", kept.folder));
            assert!(line.contains(&format!("no link named {segment} under Qm")), "{line}");
        }
    }
    assert!(kept.refuses(&["cat"], &kept.folder).contains("this dag node is a directory"));
    let folder = format!("{}/sub", kept.folder);
    assert!(kept.refuses(&["cat"], &folder).contains("this dag node is a directory"));
    let big = format!("{}/big", kept.folder);
    for option in ["--offset", "--length"] {
        let line = kept.refuses(&["cat", option, "-1"], &big);
        assert!(line.contains("cannot specify negative") && line.contains(&option[2..]), "{line}");
    }
    kept.intact();
}

#[test]
fn one_bad_path_among_good_ones_changes_nothing() {
    let kept = Kept::new();
    let small = format!("{}/sub/small", kept.folder);
    let missing = format!("{}/missing", kept.folder);
    for command in [["pin", "add"], ["pin", "rm"], ["pin", "ls"]] {
        let good = if command[1] == "add" { &small } else { &kept.folder };
        assert!(
            one_line(&kept.repo.run([&command[..], &[good, &missing]].concat()))
                .contains("missing")
        );
    }
    let said = kept.repo.run(["cat", &small, &missing]);
    assert!(one_line(&said).contains("missing") && said.out.is_empty());
    kept.intact();
}

#[test]
fn what_cannot_be_added_is_named_and_nothing_is_pinned() {
    let kept = Kept::new();
    let repo = &kept.repo;
    repo.file("fifo/a", "a");
    let made = Command::new("mkfifo").arg(repo.path("fifo/pipe")).status().unwrap();
    assert!(made.success());
    repo.file("sock/a", "a");
    let _listener = UnixListener::bind(repo.path("sock/it")).unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["add", "missing"], "lstat missing: no such file or directory"),
        (&["add", "-r", "kept", "missing"], "lstat missing: no such file or directory"),
        (&["add", "kept/big/past"], "lstat kept/big/past"),
        (&["add", "kept"], "'kept' is a directory, use the '-r' flag"),
        (&["add", "kept/big", "kept"], "'kept' is a directory, use the '-r' flag"),
        (&["add", "-r", "fifo"], "unrecognized file type for fifo/pipe"),
        (&["add", "-r", "sock"], "unrecognized file type for sock/it"),
        (&["add", "-w", "-r", "kept", "sock"], "unrecognized file type for sock/it"),
        (&["add", "mis\nsing\u{1b}"], "lstat mis\\nsing\\u{1b}: no such file or directory"),
        (&["block", "put", "missing"], "lstat missing"),
        (&["block", "put", "kept"], "'kept' is a directory"),
        (&["init", "missing.json"], "missing.json"),
    ];
    for (args, named) in cases {
        let line = repo.fails(args.iter().copied());
        assert!(line.contains(named), "{args:?}: {line}");
        printable(&line);
    }
    // What stood before the bad entry may have been told already; its pin must not be there.
    kept.intact();
}

#[test]
fn an_unreadable_file_is_named_and_nothing_is_pinned() {
    let kept = Kept::new();
    let secret = kept.repo.file("d/secret", "x");
    kept.repo.file("d/a", "a");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o0)).unwrap();
    let Some(run) = ordinary_user(&kept.repo) else {
        return skip("an_unreadable_file_is_named", "permissions do not bind root, no setpriv");
    };
    for args in [["add", "-r", "d"], ["add", "-Q", "d/secret"], ["block", "put", "d/secret"]] {
        let line = one_line(&run(&args));
        assert!(line.contains("open d/secret: permission denied"), "{line}");
    }
    std::fs::set_permissions(kept.repo.path("d"), std::fs::Permissions::from_mode(0o0)).unwrap();
    let line = one_line(&run(&["add", "-r", "d"]));
    assert!(line.contains("open d: permission denied"), "{line}");
    std::fs::set_permissions(kept.repo.path("d"), std::fs::Permissions::from_mode(0o755)).unwrap();
    kept.intact();
}

/// How to run a command as somebody whom permissions bind; `None` when nobody can be had.
fn ordinary_user(repo: &Repo) -> Option<impl Fn(&[&str]) -> Said> {
    const NOBODY: &str = "65534";
    let root = rustix::process::geteuid().is_root();
    let drop_to = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
    // The binary may lie where only root may look: a copy stands beside the repository.
    let program = repo.path("henge");
    if root {
        std::fs::copy(env!("CARGO_BIN_EXE_henge"), &program).unwrap();
        let given = Command::new("chown").args(["-R", NOBODY]).arg(repo.dir.path()).status();
        let tried = Command::new("setpriv").args(drop_to).arg(&program).arg("version").output();
        let able = tried.is_ok_and(|output| output.status.success());
        if !able || !given.is_ok_and(|status| status.success()) {
            return None;
        }
    }
    Some(move |args: &[&str]| match root {
        false => repo.run(args),
        true => {
            let mut command = Command::new("setpriv");
            command.args(drop_to).arg(&program).args(args).current_dir(repo.dir.path());
            said(command.env("HENGE_PATH", repo.root()).output().unwrap())
        }
    })
}

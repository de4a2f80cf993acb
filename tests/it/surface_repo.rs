//! The rest of what commands print, against Kubo's: getting files onto the disk, pins, the
//! repository, the configuration, and the options that every command has.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Repo, one_line};
use crate::surface::{ABSENT, DEEP, FOLDER, HELLO, LINK, SUB, filled, json_of, lines};

#[test]
fn get_writes_where_it_was_told_to() {
    let repo = filled();
    assert_eq!(lines(&repo, &["get", &format!("{FOLDER}/a.txt")]), ["Saving file(s) to a.txt"]);
    assert_eq!(fs::read(repo.path("a.txt")).unwrap(), b"hello\n");
    assert_eq!(lines(&repo, &["get", FOLDER]), [format!("Saving file(s) to {FOLDER}")]);
    same_folder(&repo, FOLDER);
    for _ in 0..2 {
        // Onto itself: what stands there is replaced.
        assert_eq!(lines(&repo, &["get", "-o", "out", FOLDER]), ["Saving file(s) to out"]);
        same_folder(&repo, "out");
    }
    repo.file("file", "something longer than the new content\n");
    lines(&repo, &["get", HELLO, "-o", "file"]);
    assert_eq!(fs::read(repo.path("file")).unwrap(), b"hello\n");
    lines(&repo, &["get", HELLO, "-o", "out"]);
    assert_eq!(fs::read(repo.path("out").join(HELLO)).unwrap(), b"hello\n");
    lines(&repo, &["get", LINK, "-o", "link"]);
    assert_eq!(fs::read_link(repo.path("link")).unwrap().to_str(), Some("a.txt"));
    assert!(repo.fails(["get", HELLO, "-o", "no/such/place"]).contains("no/such/place"));
}

fn same_folder(repo: &Repo, name: &str) {
    let root = repo.path(name);
    assert_eq!(fs::read(root.join("a.txt")).unwrap(), b"hello\n");
    assert_eq!(fs::read(root.join("sub/b")).unwrap(), b"deep\n");
    assert_eq!(fs::read_link(root.join("link")).unwrap().to_str(), Some("a.txt"));
    assert_eq!(fs::read_dir(root).unwrap().count(), 3);
}

#[test]
fn archives_open_with_tar_and_gzip() {
    let repo = filled();
    let tool = |args: &[&str]| {
        let output = Command::new(args[0]).args(&args[1..]).current_dir(repo.dir.path()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let said = lines(&repo, &["get", "-a", FOLDER]);
    assert_eq!(said, [format!("Saving archive to {FOLDER}.tar")]);
    tool(&["tar", "xf", &format!("{FOLDER}.tar")]);
    same_folder(&repo, FOLDER);
    lines(&repo, &["get", "-a", "-C", FOLDER, "-o", "all.tar.gz"]);
    fs::remove_dir_all(repo.path(FOLDER)).unwrap();
    tool(&["tar", "xzf", "all.tar.gz"]);
    same_folder(&repo, FOLDER);
    let said = lines(&repo, &["get", "-C", "-l", "9", HELLO]);
    assert_eq!(said, [format!("Saving archive to {HELLO}.gz")]);
    assert_eq!(tool(&["gzip", "-dc", &format!("{HELLO}.gz")]), b"hello\n");
}

#[test]
fn a_name_from_a_stranger_cannot_drive_the_terminal_by_an_error() {
    let repo = Repo::new();
    repo.file("d/x\u{1b}[31m\ny", "x");
    let cid = repo.ok(["add", "-Q", "-r", "d"]);
    fs::create_dir_all(repo.path("out/x\u{1b}[31m\ny")).unwrap();
    let line = repo.fails(["get", &cid, "-o", "out"]);
    assert!(line.contains("x\\u{1b}[31m\\ny"), "{line:?}");
    let listed = repo.ok(["ls", &cid]);
    assert!(listed.ends_with("1 x\\u{1b}[31m\\ny"), "{listed:?}");
}

#[test]
fn a_get_that_fails_early_ends_with_its_line() {
    // It once died of SIGABRT, when the reading that nobody wanted any more was cut off.
    let repo = Repo::new();
    repo.file("big", vec![7; 3_000_000]);
    let cid = repo.ok(["add", "-Q", "big"]);
    for _ in 0..10 {
        let line = repo.fails(["get", "-C", "-l", "0", &cid]);
        assert_eq!(line, "Error: compression level must be between 1 and 9");
        // Whether so short a time is over before the file is read is a matter of luck.
        let said = repo.run(["--timeout=5ms", "cat", &cid]);
        match said.code {
            0 => assert_eq!(said.out.len(), 3_000_000),
            _ => assert_eq!(one_line(&said), "Error: context deadline exceeded"),
        }
    }
}

#[test]
fn pins_are_listed_by_how_they_keep() {
    let repo = filled();
    let all = lines(&repo, &["pin", "ls"]);
    assert_eq!(all[0], format!("{FOLDER} recursive"));
    let mut below: Vec<String> = lines(&repo, &["pin", "ls", "-q", "--type=indirect"]);
    below.sort();
    assert_eq!(below, [DEEP, LINK, SUB, HELLO]);
    assert_eq!(all.len(), 5);
    assert_eq!(lines(&repo, &["pin", "ls", SUB]), [format!("{SUB} indirect through {FOLDER}")]);
    let direct = lines(&repo, &["pin", "add", "-r=false", HELLO]);
    assert_eq!(direct, [format!("pinned {HELLO} directly")]);
    assert_eq!(lines(&repo, &["pin", "ls", "-t", "direct"]), [format!("{HELLO} direct")]);
    let named = lines(&repo, &["pin", "add", "--name=greeting", HELLO]);
    assert_eq!(named, [format!("pinned {HELLO} recursively")]);
    let line = repo.fails(["pin", "add", "-r=false", HELLO]);
    assert_eq!(line, format!("Error: pin: {HELLO} already pinned recursively"));
    let line = repo.fails(["pin", "add", ABSENT]);
    let told = "block was not found locally (offline): ipld: could not find";
    assert_eq!(line, format!("Error: pin: {told} {ABSENT}"));
    let keys = json_of(&repo, &["pin", "ls", "--names", "-t", "recursive"]);
    assert_eq!(keys["Keys"][HELLO], json!({ "Type": "recursive", "Name": "greeting" }));
    assert_eq!(keys["Keys"].as_object().unwrap().len(), 2);
    let line = repo.fails(["pin", "ls", "--type=direct", FOLDER]);
    assert_eq!(line, format!("Error: path '{FOLDER}' is not pinned"));
    let line = repo.fails(["pin", "ls", "--type=odd"]);
    assert_eq!(
        line,
        "Error: invalid type 'odd', must be one of {direct, indirect, recursive, all}"
    );
}

#[test]
fn pins_are_removed_only_where_they_are() {
    let repo = filled();
    let line = repo.fails(["pin", "rm", SUB]);
    assert_eq!(line, "Error: not pinned or pinned indirectly");
    let line = repo.fails(["pin", "rm", "-r=false", FOLDER]);
    assert!(line.contains("is pinned recursively"), "{line}");
    assert_eq!(lines(&repo, &["pin", "rm", FOLDER]), [format!("unpinned {FOLDER}")]);
    assert_eq!(repo.fails(["pin", "rm", FOLDER]), "Error: not pinned or pinned indirectly");
    assert!(lines(&repo, &["pin", "ls"]).is_empty());
    assert_eq!(json_of(&repo, &["pin", "ls"]), json!({}));
    assert_eq!(json_of(&repo, &["pin", "add", FOLDER]), json!({ "Pins": [FOLDER] }));
}

#[test]
fn collection_keeps_what_is_pinned() {
    let repo = filled();
    let loose = repo.file("loose", "loose\n");
    let loose = repo.ok(["add", "-Q", "--pin=false", loose.to_str().unwrap()]);
    let removed = lines(&repo, &["repo", "gc"]);
    assert!(removed.len() == 1 && removed[0].starts_with("removed bafkrei"), "{removed:?}");
    assert!(repo.fails(["cat", &loose]).contains(&loose));
    assert_eq!(repo.ok(["cat", &format!("{FOLDER}/sub/b")]), "deep");
    assert!(lines(&repo, &["repo", "gc"]).is_empty());
    repo.ok(["pin", "rm", FOLDER]);
    repo.ok(["pin", "add", SUB]);
    let gone = lines(&repo, &["repo", "gc", "-q"]);
    assert!(gone.len() == 3 && gone.iter().all(|cid| cid.starts_with("bafkrei")), "{gone:?}");
    assert_eq!(repo.ok(["cat", &format!("{SUB}/b")]), "deep");
    repo.ok(["pin", "rm", SUB]);
    let event = repo.ok(["repo", "gc", "--enc=json"]);
    let first: Value = serde_json::from_str(event.lines().next().unwrap()).unwrap();
    // A key alone: an `Error`, even an empty one, is an error to clients.
    assert!(first["Key"]["/"].is_string() && first.as_object().unwrap().len() == 1, "{first}");
}

#[test]
fn repo_stat_counts() {
    let repo = filled();
    let shown = lines(&repo, &["repo", "stat"]);
    let fields: Vec<&str> = shown.iter().map(|line| line.split(':').next().unwrap()).collect();
    let kubo = ["NumObjects", "RepoSize", "StorageMax", "RepoPath", "Version"];
    assert_eq!((&fields[..5], &fields[5..]), (&kubo[..], &["Logical", "Garbage"][..]));
    assert_eq!(shown[0], "NumObjects: 5");
    assert_eq!(shown[4], "Version:    fs-repo@18");
    assert_eq!(lines(&repo, &["repo", "stat", "-s"]).len(), 2);
    assert!(lines(&repo, &["repo", "stat", "-s", "-H"])[0].contains("iB"));
    let reply = json_of(&repo, &["repo", "stat"]);
    assert_eq!(reply["RepoPath"], repo.root().to_str().unwrap());
    assert!(reply["RepoSize"].is_u64() && reply["StorageMax"].is_u64(), "{reply}");
}

#[test]
fn the_configuration_is_read_and_set() {
    let repo = Repo::new();
    repo.ok(["config", "Datastore.StorageMax", "200GB"]);
    assert_eq!(repo.ok(["config", "Datastore.StorageMax"]), "200GB");
    assert!(lines(&repo, &["config", "--json", "Import.CidVersion", "1"]).is_empty());
    assert_eq!(repo.ok(["config", "Import.CidVersion"]), "1");
    assert_eq!(repo.feed(["add", "-Q"], b"hello\n").text().len(), 59);
    repo.ok(["config", "--bool", "Swarm.DisableNatPortMap", "true"]);
    assert_eq!(repo.ok(["config", "Swarm.DisableNatPortMap"]), "true");
    let line = repo.fails(["config", "Identity.PrivKey"]);
    assert_eq!(line, "Error: cannot show or change private key through API");
    let shown: Value = serde_json::from_str(&repo.ok(["config", "show"])).unwrap();
    assert_eq!(shown["Datastore"]["StorageMax"], "200GB");
    assert!(shown["Identity"]["PeerID"].is_string() && shown["Identity"]["PrivKey"].is_null());
    let file = fs::read_to_string(repo.root().join("config")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let key = file["Identity"]["PrivKey"].as_str().unwrap();
    assert!(key.len() > 40 && !repo.ok(["config", "show"]).contains(key));
}

#[test]
fn init_says_what_it_made_and_never_makes_it_twice() {
    let repo = Repo { dir: tempfile::tempdir().unwrap() };
    let said = lines(&repo, &["init", "--profile=server,unixfs-v1-2025"]);
    let place = repo.root();
    assert_eq!(said[0], "generating ED25519 keypair...done");
    assert!(said[1].starts_with("peer identity: 12D3KooW"), "{}", said[1]);
    assert_eq!(said[2..], [format!("initializing IPFS node at {}", place.display())]);
    assert_eq!(repo.ok(["id", "-f", "<id>"]), said[1].strip_prefix("peer identity: ").unwrap());
    assert_eq!(repo.ok(["config", "Import.UnixFSChunker"]), "size-1048576");
    let config = fs::read(place.join("config")).unwrap();
    let again = repo.run(["init"]);
    let told = "ipfs configuration file already exists!\nReinitializing would overwrite your keys";
    assert_eq!((again.code, again.err), (1, format!("Error: {told}\n")));
    assert_eq!(fs::read(place.join("config")).unwrap(), config);
}

#[test]
fn the_node_tells_who_it_is() {
    let repo = Repo::new();
    let id: Value = serde_json::from_str(&repo.ok(["id"])).unwrap();
    let fields: Vec<&String> = id.as_object().unwrap().keys().collect();
    let told = ["ID", "PublicKey", "Addresses", "AgentVersion", "Protocols", "ProtocolVersion"];
    assert_eq!(fields, told);
    assert_eq!(repo.ok(["id", "--format=<id> <aver>"]), {
        format!("{} {}", id["ID"].as_str().unwrap(), id["AgentVersion"].as_str().unwrap())
    });
    let number = repo.ok(["version", "-n"]);
    assert_eq!(number.split('.').count(), 3);
    assert!(repo.ok(["version"]).ends_with(&format!(" version {number}")));
    assert_eq!(repo.ok(["version", "--repo"]), "18");
    let all = repo.ok(["version", "--all"]);
    assert!(all.starts_with("Kubo version: ") && all.lines().count() == 4, "{all}");
    assert_eq!(json_of(&repo, &["version"])["Version"], number);
}

#[test]
fn options_of_every_command_work_on_each() {
    let repo = filled();
    let v1 = "bafybeiffndsajwhk3lwjewwdxqntmjm4b5wxaaanokonsggenkbw6slwk4";
    assert_eq!(lines(&repo, &["--cid-base=base32", "add", "-q", "hello"]), [v1]);
    assert_eq!(lines(&repo, &["ls", "--cid-base=base32", FOLDER])[0], format!("{v1} 6 a.txt"));
    assert_eq!(lines(&repo, &["--upgrade-cidv0-in-output", "add", "-q", "hello"]), [v1]);
    assert_eq!(repo.ok(["cat", v1]), "hello");
    assert_eq!(lines(&repo, &["--timeout=30s", "--offline", "cat", HELLO]), ["hello"]);
    let mut added = json_of(&repo, &["add", "--progress=false", "hello"]);
    // Kubo tells the time of the file, too.
    let (time, nanos) = (added["Mtime"].take(), added["MtimeNsecs"].take());
    assert!(time.as_i64() > Some(1_700_000_000) && nanos.as_u64() < Some(1_000_000_000));
    added.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let plain = json!({ "Name": "hello", "Hash": HELLO, "Size": "14", "Mode": "0644" });
    assert_eq!(added, plain);
    let elsewhere = repo.path("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    lines(&repo, &["--repo-dir", elsewhere, "init"]);
    assert!(lines(&repo, &["-c", elsewhere, "pin", "ls"]).is_empty());
}

#[test]
fn help_is_an_answer_and_shows_examples() {
    let repo = Repo { dir: tempfile::tempdir().unwrap() };
    for command in ["add", "cat", "get", "ls", "refs", "config", "init"] {
        let help = lines(&repo, &[command, "--help"]).join("\n");
        assert!(help.contains("Examples:\n  henge "), "{command}: {help}");
    }
    for args in [&["--help"][..], &["help"], &["block", "--help"], &["pin", "ls", "-h"]] {
        assert!(lines(&repo, args).join("\n").contains("Usage: "), "{args:?}");
    }
    assert_eq!(repo.run([] as [&str; 0]).code, 1);
    let said = repo.run(["nonsense"]);
    assert!(said.code == 1 && said.err.contains("nonsense"), "{}", said.err);
}

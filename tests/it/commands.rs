//! What further commands print, against Kubo's: resolving, verifying, the repository's facts, and
//! those that need no repository.

use serde_json::{Value, json};

use crate::damage::{Filled, flip, place_of};
use crate::harness::{Repo, one_line};
use crate::surface::{ABSENT, DEEP, FOLDER, HELLO, SUB, filled, json_of, lines};

#[test]
fn resolve_prints_the_path_of_the_last_block() {
    let repo = filled();
    assert_eq!(lines(&repo, &["resolve", &format!("{FOLDER}/sub/b")]), [format!("/ipfs/{DEEP}")]);
    assert_eq!(lines(&repo, &["resolve", "-r", HELLO]), [format!("/ipfs/{HELLO}")]);
    let v1 = repo.ok(["resolve", "--cid-base=base32", HELLO]);
    assert!(v1.starts_with("/ipfs/bafybei"), "{v1}");
    // The answer is in the base of the question.
    let folder = repo.ok(["resolve", "--cid-base=base36", FOLDER]);
    let deep = repo.ok(["resolve", "--cid-base=base36", DEEP]);
    assert_eq!(repo.ok(["resolve", &format!("{folder}/sub/b")]), deep);
    let reply = json_of(&repo, &["resolve", &format!("/ipfs/{FOLDER}/sub")]);
    assert_eq!(reply, json!({ "Path": format!("/ipfs/{SUB}") }));
    let line = repo.fails(["resolve", &format!("{FOLDER}/none")]);
    assert_eq!(line, format!("Error: no link named \"none\" under {FOLDER}"));
    assert!(repo.fails(["resolve", "/ipns/example.com"]).contains("names are not supported yet"));
    // What is left inside a block's data stays behind its CID.
    let data = "bafyqae5bmfrgcylcmnsgkzlgm5uguztf"; // Not a block of anybody's.
    assert!(repo.run(["resolve", &format!("{data}/a")]).code == 1);
}

#[test]
fn a_pin_moves_with_its_name() {
    let repo = filled();
    repo.ok(["pin", "add", "--name=mine", FOLDER]);
    let said = lines(&repo, &["pin", "update", FOLDER, SUB]);
    assert_eq!(said, [format!("updated {FOLDER} to {SUB}")]);
    let pins = lines(&repo, &["pin", "ls", "-t", "recursive", "--names"]);
    assert_eq!(pins, [format!("{SUB} recursive mine")]);
    let reply = json_of(&repo, &["pin", "update", "--unpin=false", SUB, FOLDER]);
    assert_eq!(reply, json!({ "Pins": [SUB, FOLDER] }));
    assert_eq!(lines(&repo, &["pin", "ls", "-t", "recursive", "-q"]).len(), 2);
    let line = repo.fails(["pin", "update", SUB, FOLDER]);
    assert_eq!(line, "Error: 'to' cid was already recursively pinned");
    let line = repo.fails(["pin", "update", HELLO, SUB]);
    assert_eq!(line, "Error: 'from' cid was not recursively pinned already");
    assert!(repo.fails(["pin", "update", SUB, ABSENT]).contains(ABSENT));
    lines(&repo, &["pin", "update", SUB, SUB]);
    repo.ok(["pin", "rm", FOLDER]);
    // What the pin that moved away had held is garbage, and nothing else.
    assert_eq!(lines(&repo, &["repo", "gc", "-q"]).len(), 3);
    assert_eq!(repo.ok(["cat", &format!("{SUB}/b")]), "deep");
}

#[test]
fn pin_verify_tells_which_blocks_a_pin_lacks() {
    let repo = filled();
    assert!(lines(&repo, &["pin", "verify"]).is_empty());
    assert_eq!(lines(&repo, &["pin", "verify", "--verbose"]), [format!("{FOLDER} ok")]);
    let reply = json_of(&repo, &["pin", "verify", "--verbose"]);
    assert_eq!(reply, json!({ "Cid": FOLDER, "Ok": true }));
    let line = repo.fails(["pin", "verify", "--verbose", "-q"]);
    let told = "the --verbose and --quiet options can not be used at the same time";
    assert_eq!(line, format!("Error: {told}"));
    assert!(lines(&repo, &["pin", "verify", "-q"]).is_empty());
}

#[test]
fn the_repository_tells_its_version_and_blocks() {
    let repo = filled();
    assert_eq!(lines(&repo, &["repo", "version"]), ["henge repo version fs-repo@18"]);
    assert_eq!(lines(&repo, &["repo", "version", "-q"]), ["fs-repo@18"]);
    assert_eq!(json_of(&repo, &["repo", "version"]), json!({ "Version": "18" }));
    assert_eq!(lines(&repo, &["repo", "ls"]), lines(&repo, &["refs", "local"]));
    let facts = |noun: &str, verb: &str| lines(&repo, &[noun, verb])[0].clone();
    assert_eq!(facts("stats", "repo"), facts("repo", "stat"));
    assert_eq!(lines(&repo, &["stats", "repo", "-s"]).len(), 2);
}

#[test]
fn repo_verify_names_each_corrupt_block() {
    let filled = Filled::new();
    let repo = &filled.repo;
    assert_eq!(lines(repo, &["repo", "verify"]), ["verify complete, all blocks validated."]);
    let events = repo.ok(["repo", "verify", "--enc=json"]);
    let blocks = lines(repo, &["refs", "local"]).len();
    assert!(events.starts_with(&json!({ "Msg": "", "Progress": blocks }).to_string()), "{events}");
    let (cid, bytes) = &filled.files[1];
    let (path, at) = place_of(&filled, &bytes[40_000..40_064]);
    flip(&path, at);
    let said = repo.run(["repo", "verify"]);
    let told = said.text();
    assert_eq!((said.code, said.err.as_str()), (1, "Error: verify complete, 1 blocks corrupt\n"));
    let raw = lines(repo, &["cid", "format", "--mc=raw", "-b=base32", cid]).join("");
    assert!(told.starts_with(&format!("block {raw} was corrupt (")), "{told}");
    assert_eq!(told.lines().count(), 1);
}

/// A folder in which no repository was ever made.
fn nowhere() -> Repo {
    Repo { dir: tempfile::tempdir().unwrap() }
}

#[test]
fn cids_are_converted_without_a_repository() {
    let repo = nowhere();
    let v0 = "QmS4ustL54uo8FzR9455qaxZwuMiUhyvMcX9Ba8nUH4uVv";
    let b32 = "bafybeibxm2nsadl3fnxv2sxcxmxaco2jl53wpeorjdzidjwf5aqdg7wa6u";
    assert_eq!(lines(&repo, &["cid", "base32", v0]), [b32]);
    assert_eq!(lines(&repo, &["cid", "format", "-v", "0", b32]), [v0]);
    let facts = lines(&repo, &["cid", "format", "-f", "%P %b", v0]);
    assert_eq!(facts, ["cidv0-dag-pb-sha2-256-32 base58btc"]);
    let fed = repo.feed(["cid", "base32"], format!("{v0}\n {b32} \n\n").as_bytes());
    assert_eq!((fed.code, fed.text()), (0, format!("{b32}\n{b32}")));
    // One that is none does not stop the others.
    let said = repo.run(["cid", "base32", "none", v0]);
    assert_eq!((said.code, said.text()), (1, b32.to_owned()));
    assert!(said.err.starts_with("none: invalid CID \"none\": "), "{}", said.err);
    assert!(said.err.ends_with("\nError: errors while displaying some entries\n"));
    let reply = json_of(&repo, &["cid", "base32", v0]);
    assert_eq!(reply, json!({ "CidStr": v0, "Formatted": b32, "ErrorMsg": "" }));
    let emoji = repo.ok(["cid", "format", "-b", "base256emoji", b32]);
    assert_eq!(lines(&repo, &["cid", "format", "-b", "base32", &emoji]), [b32]);
    assert_eq!(one_line(&repo.feed(["cid", "base32"], b"")), "Error: argument \"cid\" is required");
}

#[test]
fn cid_inspect_tells_every_part() {
    let repo = nowhere();
    let v0 = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR";
    let v1 = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    let digest = "c3c4733ec8affd06cf9e9ff50ffc6bcd2ec85a6170004bb709669c31de94391a";
    let told = lines(&repo, &["cid", "inspect", v0]);
    let expected = [
        format!("CID:        {v0}"),
        "Version:    0".into(),
        "Multibase:  base58btc (implicit)".into(),
        "Multicodec: dag-pb (0x70, implicit)".into(),
        "Multihash:  sha2-256 (0x12, implicit)".into(),
        "  Length:   32 bytes".into(),
        format!("  Digest:   {digest}"),
        format!("CIDv0:      {v0}"),
        format!("CIDv1:      {v1}"),
    ];
    assert_eq!(told, expected);
    let told = lines(&repo, &["cid", "inspect", "bafkqabdumvzxi"]);
    assert_eq!(told[2], "Multibase:  base32 (b)");
    assert_eq!(told[7], "CIDv0:      not possible, requires dag-pb (0x70), got raw (0x55)");
    let reply = json_of(&repo, &["cid", "inspect", v1]);
    assert_eq!((&reply["multibase"]["prefix"], &reply["cidV0"]), (&json!("b"), &json!(v0)));
    assert_eq!(reply["multihash"]["length"], 32);
    assert!(repo.fails(["cid", "inspect", "garbage"]).contains("invalid CID"));
    let said = repo.run(["cid", "inspect", "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"]);
    assert!(said.code == 1 && said.err.contains("PeerID") && said.err.contains("\n  k51"));
}

#[test]
fn bases_codecs_and_hashes_are_listed_as_kubo_lists_them() {
    let repo = nowhere();
    let raw = |args: &[&str]| String::from_utf8(repo.run(args).out).unwrap();
    let bases = raw(&["cid", "bases", "--prefix", "--numeric"]);
    assert!(bases.starts_with("        0  identity\n0      48  base2\nb      98  base32\n"));
    assert!(bases.ends_with("Z      90  base58flickr\n🚀  128640  base256emoji\n"), "{bases}");
    assert_eq!(lines(&repo, &["multibase", "list"]).len(), 21);
    assert!(raw(&["cid", "bases", "--prefix"]).contains("\nz  base58btc\n"));
    let supported = raw(&["cid", "codecs", "-s", "-n"]);
    assert!(supported.starts_with("   81  cbor\n   85  raw\n") && supported.lines().count() == 9);
    assert_eq!(lines(&repo, &["cid", "codecs"]).len(), 44);
    let hashes = raw(&["cid", "hashes", "--numeric"]);
    assert!(hashes.ends_with("45664  blake2s-256\n") && hashes.contains("   86  dbl-sha2-256\n"));
    assert_eq!(json_of(&repo, &["cid", "codecs"])[0], json!({ "Code": 81, "Name": "cbor" }));
}

#[test]
fn multibase_goes_there_and_back() {
    let repo = nowhere();
    let feed = |args: &[&str], input: &str| repo.feed(args, input.as_bytes());
    assert_eq!(feed(&["multibase", "encode"], "hello").out, b"uaGVsbG8");
    assert_eq!(feed(&["multibase", "encode", "-b", "base16"], "hello").out, b"f68656c6c6f");
    assert_eq!(feed(&["multibase", "decode"], "f68656c6c6f").out, b"hello");
    assert_eq!(feed(&["multibase", "transcode"], "f68656c6c6f").out, b"uaGVsbG8");
    repo.file("text", "uaGVsbG8");
    assert_eq!(repo.run(["multibase", "transcode", "text", "-b", "z"]).text(), "zCn8eVZg");
    let line = one_line(&feed(&["multibase", "decode"], "?"));
    assert!(line.starts_with("Error: failed to decode multibase: "), "{line}");
    assert!(repo.fails(["multibase", "encode", "text", "-b", "odd"]).contains("\"odd\""));
    repo.file("large", vec![1; 100_000]);
    assert!(repo.fails(["multibase", "encode", "large", "-b", "base58btc"]).contains("base58btc"));
}

#[test]
fn commands_lists_what_the_command_line_takes() {
    let repo = nowhere();
    let told = lines(&repo, &["commands"]);
    assert!(told.is_sorted() && told[0] == "henge", "{told:?}");
    for command in ["pin update", "refs local", "config profile apply", "commands completion zsh"] {
        assert!(told.contains(&format!("henge {command}")), "{command}");
    }
    // Every one of them is there, and says how it is used.
    for command in told.iter().skip(1) {
        let words: Vec<&str> = command.split(' ').skip(1).chain(["--help"]).collect();
        assert!(repo.ok(&words).contains("Usage: "), "{command}");
    }
    let flags = lines(&repo, &["commands", "--flags"]);
    let quiet = "henge pin verify --quiet / henge pin verify -q".to_owned();
    assert!(flags.contains(&quiet) && flags.len() > told.len(), "{flags:?}");
    let tree = json_of(&repo, &["commands"]);
    let below = tree["Subcommands"].as_array().unwrap();
    let pin = below.iter().find(|command| command["Name"] == "pin").unwrap();
    assert!(pin["Options"].is_array() && pin["Subcommands"].is_array(), "{pin}");
    assert_eq!(tree["Options"][0]["Names"][0], "repo-dir");
}

#[test]
fn shells_get_their_completions() {
    let repo = nowhere();
    for (shell, sign) in
        [("bash", "complete -F"), ("zsh", "#compdef henge"), ("fish", "complete -c henge")]
    {
        let script = repo.ok(["commands", "completion", shell]);
        assert!(script.contains(sign) && script.contains("verify"), "{shell}");
    }
}

#[test]
fn a_configuration_is_replaced_but_for_its_identity() {
    let repo = Repo::new();
    let (id, key) = (repo.ok(["id", "-f", "<id>"]), private_key(&repo));
    let mut shown: Value = serde_json::from_str(&repo.ok(["config", "show"])).unwrap();
    shown["Datastore"]["StorageMax"] = json!("123GB");
    shown["Identity"]["PeerID"] = json!("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA");
    repo.file("mine.json", shown.to_string());
    assert!(lines(&repo, &["config", "replace", "mine.json"]).is_empty());
    assert_eq!(repo.ok(["config", "Datastore.StorageMax"]), "123GB");
    assert_eq!((repo.ok(["id", "-f", "<id>"]), private_key(&repo)), (id, key.clone()));
    shown["Identity"]["PrivKey"] = json!(key);
    repo.file("mine.json", shown.to_string());
    repo.fails(["config", "replace", "mine.json"]);
    repo.file("mine.json", "no json");
    repo.fails(["config", "replace", "mine.json"]);
    assert_eq!(repo.ok(["config", "Datastore.StorageMax"]), "123GB");
}

fn private_key(repo: &Repo) -> String {
    let text = std::fs::read_to_string(repo.root().join("config")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    config["Identity"]["PrivKey"].as_str().unwrap().to_owned()
}

#[test]
fn a_profile_is_applied_after_a_copy_was_made() {
    let repo = Repo::new();
    let copies = || {
        let entries = std::fs::read_dir(repo.root()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("config-pre-")).collect::<Vec<String>>()
    };
    let told = lines(&repo, &["config", "profile", "apply", "server", "--dry-run"]);
    assert!(told.contains(&"- Swarm.DisableNatPortMap: false".to_owned()), "{told:?}");
    assert!(told.contains(&"+ Swarm.DisableNatPortMap: true".to_owned()), "{told:?}");
    assert_eq!(
        (repo.ok(["config", "Swarm.DisableNatPortMap"]).as_str(), copies().len()),
        ("false", 0)
    );
    assert_eq!(lines(&repo, &["config", "profile", "apply", "server"]), told);
    assert_eq!(repo.ok(["config", "Swarm.DisableNatPortMap"]), "true");
    assert_eq!(copies(), ["config-pre-server-1"]);
    let reply = json_of(&repo, &["config", "profile", "apply", "server", "--dry-run"]);
    assert_eq!(reply["OldCfg"], reply["NewCfg"]);
    assert!(reply["OldCfg"]["Identity"]["PrivKey"].is_null());
    let line = repo.fails(["config", "profile", "apply", "nope"]);
    assert_eq!(line, "Error: nope is not a profile");
}

#[test]
fn a_node_that_works_says_so() {
    let repo = Repo::new();
    assert_eq!(lines(&repo, &["diag", "healthy"]), ["ok"]);
    assert_eq!(json_of(&repo, &["diag", "healthy"]), json!("ok"));
    repo.fails(["--api=/ip4/127.0.0.1/tcp/1", "diag", "healthy"]);
    assert_eq!(nowhere().run(["diag", "healthy"]).code, 1);
}

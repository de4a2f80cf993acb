//! What further commands print, against Kubo's: resolving, verifying, the repository's facts, and
//! those that need no repository.

use serde_json::json;

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

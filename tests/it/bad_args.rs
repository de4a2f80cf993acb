//! Garbage in every argument and option: named, exit code 1, no panic, nothing lost.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};

use crate::bad_input::Kept;
use crate::harness::one_line;

/// Command lines that cannot be meant, and what the complaint must name.
const BAD_OPTIONS: &[(&[&str], &str)] = &[
    (&["add", "-s", "nonsense", "f"], "nonsense"),
    (&["add", "-s", "size-0", "f"], "size-0"),
    (&["add", "-s", "size--1", "f"], "size--1"),
    (&["add", "-s", "size-99999999999999999999", "f"], "size-99999999999999999999"),
    (&["add", "--hash", "nonsense", "f"], "nonsense"),
    (&["add", "--hash=sha2-512", "--cid-version=0", "f"], "sha2-256"),
    (&["add", "--cid-version=2", "f"], "2"),
    (&["add", "--cid-version=-1", "f"], "--cid-version"),
    (&["add", "--cid-version=x", "f"], "--cid-version"),
    (&["add", "--raw-leaves=maybe", "f"], "--raw-leaves"),
    (&["add", "--pin=maybe", "f"], "--pin"),
    (&["add", "--max-file-links=0", "f"], "max-file-links"),
    (&["add", "--max-file-links=1", "f"], "max-file-links"),
    (&["add", "--max-file-links=100000", "f"], "max-file-links"),
    (&["add", "--max-file-links=x", "f"], "--max-file-links"),
    (&["add", "--max-hamt-fanout=7", "f"], "max-hamt-fanout"),
    (&["add", "--max-hamt-fanout=100", "f"], "max-hamt-fanout"),
    (&["add", "--max-hamt-fanout=2048", "f"], "max-hamt-fanout"),
    (&["add", "--nonsense", "f"], "--nonsense"),
    (&["cat", "-o", "x", "CID"], "--offset"),
    (&["cat", "-l", "9223372036854775808", "CID"], "--length"),
    (&["get", "-C", "-l", "0", "CID/big"], "compression level"),
    (&["get", "-C", "-l", "10", "CID/big"], "compression level"),
    (&["get", "-l", "x", "CID"], "--compression-level"),
    (&["ls", "--size=maybe", "CID"], "--size"),
    (&["refs", "-e", "--format=x", "CID"], "format"),
    (&["refs", "--max-depth=x", "CID"], "--max-depth"),
    (&["refs", "local", "more"], "local"),
    (&["block", "put", "--cid-codec=nonsense", "f"], "nonsense"),
    (&["block", "put", "--mhtype=nonsense", "f"], "nonsense"),
    (&["block", "put", "--format=v0", "--cid-codec=raw", "f"], "cid-codec"),
    (&["block", "put", "--mhlen=x", "f"], "--mhlen"),
    (&["block", "rm"], "<CID>"),
    (&["block"], "block"),
    (&["dag", "get", "--output-codec=nonsense", "CID"], "nonsense"),
    (&["pin", "ls", "--type=nonsense"], "nonsense"),
    (&["pin", "add", "--recursive=maybe", "CID"], "--recursive"),
    (&["repo", "nonsense"], "nonsense"),
    (&["repo", "gc", "more"], "more"),
    (&["config", "No.Such.Key"], "No not found"),
    (&["config", "No.Such.Key", "x"], "No"),
    (&["config", "--json", "Import.CidVersion", "{"], "json"),
    (&["config", "Import.CidVersion", "one"], "Import.CidVersion"),
    (&["config", "", "x"], "config value"),
    (&["config"], "KEY"),
    (&["id", "nonsense"], "nonsense"),
    (&["id", "--peerid-base=nonsense"], "nonsense"),
    (&["swarm", "connect", "nonsense"], "nonsense"),
    (&["swarm", "peering", "add", "/ip4/127.0.0.1/tcp/1"], "/ip4/127.0.0.1/tcp/1"),
    (&["swarm", "peering", "rm"], "<PEER>"),
    (&["swarm", "filters", "add"], "<BLOCK>"),
    (&["ping", "--count=x", "CID"], "--count"),
    (&["bootstrap", "add", "nonsense"], "nonsense"),
    (&["bootstrap", "nonsense"], "nonsense"),
    (&["init", "--profile=nonsense"], "nonsense"),
    (&["init", "--algorithm=nonsense"], "nonsense"),
    (&["init", "--bits=x"], "--bits"),
    (&["version", "more"], "more"),
    (&["nonsense"], "nonsense"),
    (&["--cid-base=nonsense", "pin", "ls"], "nonsense"),
    (&["--cid-base=", "pin", "ls"], "multibase"),
    (&["--enc=nonsense", "pin", "ls"], "nonsense"),
    (&["--timeout=nonsense", "pin", "ls"], "nonsense"),
    (&["--timeout=-1s", "pin", "ls"], "--timeout"),
    (&["--timeout=", "pin", "ls"], "--timeout"),
    (&["--repo-dir=/no/such/place", "pin", "ls"], "/no/such/place"),
    (&["--nonsense"], "--nonsense"),
];

#[test]
fn a_bad_option_is_named() {
    let kept = Kept::new();
    kept.repo.file("f", "f");
    for (args, named) in BAD_OPTIONS {
        let args: Vec<String> = args.iter().map(|arg| arg.replace("CID", &kept.folder)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // `init` must not meet a repository before it has read its options.
        let said = match args[0] {
            "init" => kept.repo.run([&args[..], &["--repo-dir", "fresh"]].concat()),
            _ => kept.repo.run(&args),
        };
        assert_eq!(said.code, 1, "{args:?}: {:?} {:?}", said.text(), said.err);
        assert!(said.err.contains(named), "{args:?}: {}", said.err);
        assert!(!said.err.contains("panicked") && said.out.is_empty(), "{args:?}: {}", said.err);
        if said.err.starts_with("Error: ") && !said.err.contains("please run") {
            one_line(&said);
        }
    }
    assert!(!kept.repo.path("fresh").exists());
    kept.intact();
}

/// What random command lines begin with.
const COMMANDS: &str = "add,cat,get,ls,refs,block put,block get,block stat,dag get,pin add,pin ls,\
    repo stat,config,config show,id,version,init,help,refs local,swarm peers,swarm connect,\
    swarm filters add,swarm addrs local,swarm peering rm,ping,bootstrap,bootstrap add,bootstrap rm";

/// What they go on with. Nothing here deletes or unpins, so what was kept before must be there
/// afterwards; and no path leads out of the temporary folder.
const WORDS: &str = "f d CID CID/sub CID/big CID/missing /ipfs/CID /ipns/x - -- -r -q -Q -n -w -H \
    -a -C -o -l -t -s -p -e -u -f -D -c --enc=json --cid-base=base32 --cid-base=z --timeout=5s \
    --timeout=0 --pin=false --only-hash --cid-version=1 --hash=blake3 --chunker=size-7 --type=all \
    --names --stream --offset=3 --length=0 --max-depth=-1 --format=<src> --json --bool \
    Import.CidVersion Datastore.StorageMax Identity -1 0 18446744073709551616 水 {} null %s%n \
    --help --version --- -xyz = add pin";

/// Words that are hard to see.
const ODD: &[&str] = &["", " ", "\n", "\u{1b}[2J", "a b"];

#[test]
fn random_command_lines_end_in_0_or_1() {
    const RUNS: usize = 300;
    const MOST: Duration = Duration::from_secs(20);
    let kept = Kept::new();
    kept.repo.file("f", "f");
    kept.repo.file("d/x", "x");
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    let commands: Vec<&str> = COMMANDS.split(',').collect();
    let words: Vec<&str> = WORDS.split_whitespace().chain(ODD.iter().copied()).collect();
    let begun = Instant::now();
    let (mut ran, mut worked) = (0, 0);
    while ran < RUNS && begun.elapsed() < MOST {
        let command = commands[random.random_range(0..commands.len())];
        let more =
            (0..random.random_range(0..5)).map(|_| words[random.random_range(0..words.len())]);
        let args = command.split(' ').chain(more).map(|word| word.replace("CID", &kept.folder));
        let args: Vec<String> = args.collect();
        let said = kept.repo.feed(&args, b"input\n");
        assert!(matches!(said.code, 0 | 1), "{args:?} ended with {}: {}", said.code, said.err);
        assert!(!said.err.contains("panicked"), "{args:?}: {}", said.err);
        assert!(said.code == 0 || !said.err.is_empty(), "{args:?} failed silently");
        ran += 1;
        worked += usize::from(said.code == 0);
    }
    assert!(worked >= ran / 10, "only {worked} of {ran} were good ones");
    assert!(ran >= 100, "only {ran} command lines in {MOST:?}");
    let pins = kept.repo.ok(["pin", "ls", "-q"]);
    assert!(pins.lines().any(|cid| cid == kept.folder), "{pins}");
    let said = kept.repo.run(["cat", &format!("{}/big", kept.folder)]);
    assert!(said.code == 0 && said.out == kept.bytes, "{}", said.err);
}

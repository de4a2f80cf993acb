//! Incidents of this field, each made again: what brought another implementation down is refused
//! here with a line, within bounds of memory and stack. `docs/interop.md` lists them.
//!
//! Those of names of files and of terminals have further tests beside their code.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use henge::exchange::wire::decode_frame;
use henge::gateway::redirects;
use henge::ipld::block::{Block, Prefix};
use henge::ipld::car;
use henge::ipld::cid::{self, Cid, codec, hash};
use henge::ipld::codec::dag_pb::{Link, Node, put_varint};
use henge::ipld::codec::{Value, decode, encode};
use henge::unixfs::node::{directory_payload, shard_payload};

use crate::harness::{Daemon, Repo, one_line};
use crate::http_client::ask;

/// Commands that walk what lies below a CID.
const WALKERS: &[&[&str]] = &[
    &["cat"],
    &["get"],
    &["ls"],
    &["refs", "-r"],
    &["pin", "add"],
    &["dag", "get"],
    &["dag", "stat"],
    &["dag", "export"],
];

/// Stores bytes under a codec, whatever they are.
fn put(repo: &Repo, codec: &str, bytes: &[u8]) -> String {
    let said = repo.feed(["block", "put", "--cid-codec", codec, "--allow-big-block"], bytes);
    assert_eq!(said.code, 0, "{}", said.err);
    said.text()
}

fn link(name: &[u8], cid: &str) -> Link {
    let name = Some(Bytes::copy_from_slice(name));
    Link { cid: cid::parse(cid).unwrap(), name, tsize: Some(1) }
}

/// A folder with these entries, which may have any names.
fn folder(repo: &Repo, entries: &[(&str, &str)]) -> String {
    let links = entries.iter().map(|(name, cid)| link(name.as_bytes(), cid)).collect();
    put(repo, "dag-pb", &Node { links, data: Some(directory_payload()) }.encode())
}

fn shard(bitfield: &[u8], fanout: u64, links: Vec<Link>) -> Vec<u8> {
    Node { links, data: Some(shard_payload(bitfield, fanout)) }.encode()
}

/// Runs on little stack, and gives the most heap that was held at one time.
fn measured(run: impl FnOnce() + Send) -> u64 {
    let mut used = 0;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(128 << 10);
        let measure = || used = allocation_counter::measure(run).bytes_max;
        thread.spawn_scoped(scope, measure).unwrap().join().unwrap();
    });
    used
}

/// A CAR of these blocks without a root.
fn car_of(blocks: &[(Cid, Bytes)]) -> Vec<u8> {
    let mut out = car::header(&[]).to_vec();
    for (cid, data) in blocks {
        car::section(cid, data.clone()).iter().for_each(|piece| out.extend_from_slice(piece));
    }
    out
}

/// CVE-2022-2584, GHSA-g3vv-g2j5-45f2, GHSA-mcq2-w56r-5w2w.
#[test]
fn incident_01_a_malformed_dag_pb_block_is_refused_by_whoever_walks_it() {
    let repo = Repo::new();
    let child = repo.feed(["add", "-Q"], b"child").text();
    let good = Node { links: vec![link(b"a", &child)], data: Some(directory_payload()) }.encode();
    // A link without its hash, one whose hash is no CID, one cut off, and a field there is not.
    let no_cid = [&good[..4], &[0xff], &good[5..]].concat();
    let bad: [&[u8]; 4] = [b"\x12\x02\x18\x01", &no_cid, &good[..good.len() / 2], b"\x22\0"];
    for block in bad {
        let cid = put(&repo, "dag-pb", block);
        for command in WALKERS {
            let said = repo.run(command.iter().copied().chain([cid.as_str()]));
            let line = said.err.lines().last().unwrap_or_default();
            assert_eq!(said.code, 1, "{command:?}: {}", said.text());
            assert!(line.contains("byte ") && line.contains(&cid), "{command:?}: {}", said.err);
        }
    }
}

/// CVE-2023-23625, CVE-2023-23631.
#[test]
fn incident_02_hamt_shards_of_impossible_fanout_are_refused() {
    let repo = Repo::new();
    let child = repo.feed(["add", "-Q"], b"child").text();
    for fanout in [0, 1, 4, 7, 12, 255, 257, 2048, 1 << 20, 1 << 62, u64::MAX] {
        let cid = put(&repo, "dag-pb", &shard(&[1], fanout, vec![link(b"00a", &child)]));
        for command in ["ls", "get"] {
            let line = repo.fails([command, &cid]);
            assert!(line.contains("fanout"), "{fanout}: {line}");
        }
        let line = repo.fails(["cat", &format!("{cid}/a")]);
        assert!(line.contains("fanout") || line.contains("no link"), "{fanout}: {line}");
    }
}

/// CVE-2023-23626.
#[test]
fn incident_03_a_bitfield_of_any_size_changes_nothing() {
    let repo = Repo::new();
    let child = repo.feed(["add", "-Q"], b"child").text();
    let long = vec![0xff; 100_000];
    for bitfield in [&b""[..], &[0], &[0xff; 31], &[0xff; 32], &[0xff; 33], &long] {
        let cid = put(&repo, "dag-pb", &shard(bitfield, 256, vec![link(b"00a", &child)]));
        let said = repo.ok(["ls", &cid]);
        assert!(said.starts_with(&child) && said.ends_with(" a"), "{}: {said}", bitfield.len());
    }
}

/// CVE-2022-23495.
#[test]
fn incident_04_what_cannot_be_hashed_is_an_error() {
    let repo = Repo::new();
    repo.file("f", "x");
    repo.file("long", [7_u8; 129]);
    repo.file("j", "{}");
    for args in [
        &["add", "--hash=nope", "f"][..],
        &["add", "--hash=0xdead", "f"],
        &["add", "--hash=identity", "--raw-leaves", "long"],
        &["block", "put", "--mhtype=nope", "f"],
        &["block", "put", "--mhtype=identity", "long"],
        &["dag", "put", "--hash=nope", "j"],
        &["dag", "put", "--store-codec=nope", "j"],
        &["dag", "put", "--store-codec=git-raw", "j"],
    ] {
        repo.fails(args.iter().copied());
    }
    for code in [0xdead, 0x22, 1 << 62] {
        let prefix = Prefix { hash: code, ..Prefix::v1(codec::RAW) };
        assert!(Block::hashed(prefix, Bytes::from_static(b"x")).is_err(), "0x{code:x}");
        // From a peer: prefix of version, codec, hash function and length, then the data.
        let mut prefix = vec![1, 0x55];
        put_varint(&mut prefix, code);
        put_varint(&mut prefix, 32);
        let block = [&[0x0a, prefix.len() as u8][..], &prefix, &[0x12, 1, b'x']].concat();
        let frame = [&[0x1a, block.len() as u8][..], &block].concat();
        let message = decode_frame(frame.into()).map(|raw| raw.verify());
        assert!(message.is_ok_and(|m| m.blocks.is_empty() && m.refused == 1), "0x{code:x}");
    }
}

/// CVE-2023-22460.
#[test]
fn incident_05_bytes_have_a_form_in_dag_json_and_none_in_json() {
    let repo = Repo::new();
    // [h'00ff', {"a": h''}]
    let cid = put(&repo, "dag-cbor", b"\x82\x42\0\xff\xa1\x61a\x40");
    let line = repo.fails(["dag", "get", "--output-codec=json", &cid]);
    assert!(line.contains("no bytes"), "{line}");
    for output in ["dag-json", "dag-cbor", "cbor"] {
        let said = repo.run(["dag", "get", &format!("--output-codec={output}"), &cid]);
        assert_eq!(said.code, 0, "{output}: {}", said.err);
    }
    assert_eq!(
        repo.ok(["dag", "get", &cid]),
        r#"[{"/":{"bytes":"AP8"}},{"a":{"/":{"bytes":""}}}]"#
    );
    assert_eq!(repo.ok(["dag", "get", &format!("{cid}/0")]), r#"{"/":{"bytes":"AP8"}}"#);
}

/// CVE-2026-35480, GHSA-378j-3jfj-8r9f.
#[test]
fn incident_06_a_declared_length_reserves_nothing() {
    let repo = Repo::new();
    for head in [0x5b, 0x7b, 0x9b, 0xbb_u8] {
        for length in [1 << 20, 1 << 32, 1 << 61, u64::MAX] {
            // Alone, and as the last of many that are open.
            for before in [&b""[..], &[0x81; 1000]] {
                let block = Bytes::from([before, &[head], &length.to_be_bytes(), b"aaaa"].concat());
                let used = measured(|| {
                    let error = decode(codec::DAG_CBOR, &block).unwrap_err().to_string();
                    assert!(error.contains("too early"), "{error}");
                });
                assert!(used < 256 << 10, "{used} bytes for 0x{head:x} of {length}");
                if before.is_empty() {
                    let cid = put(&repo, "dag-cbor", &block);
                    assert!(repo.fails(["dag", "get", &cid]).contains("byte 0"));
                }
            }
        }
    }
}

/// CVE-2026-42328, GHSA-w239-58x2-q8p5, RUSTSEC-2019-0025.
#[test]
fn incident_07_a_million_levels_are_refused() {
    let repo = Repo::new();
    let levels = |unit: &[u8]| Bytes::from(unit.repeat(1_000_000));
    for (name, code, block) in [
        ("dag-cbor", codec::DAG_CBOR, levels(b"\x81")),
        ("dag-cbor", codec::DAG_CBOR, levels(b"\xa1\x61a")),
        ("dag-cbor", codec::DAG_CBOR, levels(b"\xd8\x2a")),
        ("cbor", codec::CBOR, levels(b"\x81")),
        ("dag-jose", codec::DAG_JOSE, levels(b"\x81")),
        ("dag-json", codec::DAG_JSON, levels(b"[")),
        ("dag-json", codec::DAG_JSON, levels(b"{\"a\":")),
        ("json", codec::JSON, levels(b"{\"/\":")),
    ] {
        let used = measured(|| {
            let error = decode(code, &block).unwrap_err().to_string();
            assert!(error.contains("nesting") || error.contains("tag"), "{error}");
        });
        assert!(used < 1 << 20, "{name}: {used} bytes");
        let cid = put(&repo, name, &block);
        for args in [["dag", "get", &cid], ["dag", "stat", &cid]] {
            let said = repo.run(args);
            // Plain JSON and CBOR have no links, and nobody reads them to find some.
            let leaf = args[1] == "stat" && matches!(name, "json" | "cbor");
            assert_eq!(said.code, i32::from(!leaf), "{args:?}: {}", said.err);
        }
        let input = repo.file("input", &block);
        let from = format!("--input-codec={name}");
        repo.fails(["dag", "put", &from, input.to_str().unwrap()]);
    }
    let mut deep = Value::Null;
    for _ in 0..1024 {
        deep = Value::List(vec![deep]);
    }
    let written = Bytes::from(encode(codec::DAG_CBOR, &deep).unwrap());
    measured(|| drop(decode(codec::DAG_CBOR, &written).unwrap()));
}

/// GHSA-9x4h-8wgm-8xfg, GHSA-f2gr-7299-487h.
#[test]
fn incident_08_broken_cars_import_nothing() {
    let repo = Repo::new();
    let pins = repo.ok(["pin", "ls"]);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/car");
    for name in [
        "badheaderlength.car",
        "badsectionlength.car",
        "sample-corrupt-pragma.car",
        "sample-rootless-v42.car",
        "sample-v1-tailing-corrupt-section.car",
        "sample-v1-with-zero-len-section2.car",
    ] {
        let line = repo.fails(["dag".as_ref(), "import".as_ref(), fixtures.join(name).as_os_str()]);
        assert!(line.contains("byte "), "{name}: {line}");
    }
    let plain = std::fs::read(fixtures.join("carv1-basic.car")).unwrap();
    let v2 = std::fs::read(fixtures.join("carv2-basic.car")).unwrap();
    let put_at = |at: usize, number: u64| {
        let mut bytes = v2.clone();
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    let section = |length: &[u8]| [&car::header(&[])[..], length, &plain[100..]].concat();
    for bytes in [
        // Data that begins or ends beyond every file; lengths of nine bytes and more.
        put_at(27, u64::MAX),
        put_at(35, u64::MAX),
        put_at(27, 0),
        section(&[0xff; 9]),
        section(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        section(&[0x80, 0]),
        section(&[0xff, 0xff, 0xff, 0x03]),
    ] {
        let used = measured(|| {
            let read = || {
                let mut reader = car::CarReader::open(bytes.as_slice())?;
                while reader.next_section()?.is_some() {}
                Ok::<_, car::CarError>(())
            };
            assert!(read().is_err());
        });
        assert!(used < 4 << 20, "{used} bytes");
        let said = repo.feed(["dag", "import"], &bytes);
        assert!(one_line(&said).contains("byte "), "{}", said.err);
    }
    assert_eq!(repo.ok(["pin", "ls"]), pins);
}

/// boxo#1018, IPIP-512.
#[test]
fn incident_09_identity_cids_hold_128_bytes_everywhere() {
    let repo = Repo::for_daemon();
    let daemon = Daemon::offline(&repo);
    let bytes = |size: u8| [&[1, 0x55, 0, size | 0x80, 1][..], &vec![b'x'; size.into()]].concat();
    let text = |size: u8| multibase(&bytes(size));
    assert_eq!(repo.ok(["cat", &text(128)]), "x".repeat(128));
    assert_eq!(ask(&daemon.gateway, "GET", &format!("/ipfs/{}", text(128)), &[]).status, 200);
    for size in [129, 160, 240] {
        for command in [&["cat"][..], &["block", "get"], &["pin", "add"], &["dag", "get"], &["ls"]]
        {
            repo.fails(command.iter().copied().chain([text(size).as_str()]));
        }
        assert_eq!(ask(&daemon.gateway, "GET", &format!("/ipfs/{}", text(size)), &[]).status, 400);
        assert!(cid::from_bytes(&bytes(size)).is_err() && cid::parse(&text(size)).is_err());
        // In a CAR, in a block, and in a want.
        let section = [&bytes(size)[..], b"data"].concat();
        let mut archive = car::header(&[]).to_vec();
        put_varint(&mut archive, section.len() as u64);
        archive.extend(&section);
        assert!(one_line(&repo.feed(["dag", "import"], &archive)).contains("byte "));
        let linked =
            [&[0xd8, 0x2a, 0x58, bytes(size).len() as u8 + 1, 0][..], &bytes(size)].concat();
        assert!(decode(codec::DAG_CBOR, &linked.into()).is_err());
        let mut entry = vec![0x0a];
        put_varint(&mut entry, bytes(size).len() as u64);
        entry.extend(bytes(size));
        let list = [&[0x0a][..], &varint(entry.len()), &entry].concat();
        let frame = [&[0x0a][..], &varint(list.len()), &list].concat();
        let message = decode_frame(frame.into());
        assert!(message.is_ok_and(|raw| raw.verify().wantlist.is_empty()), "a want of {size}");
    }
}

fn varint(number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, number as u64);
    out
}

fn multibase(bytes: &[u8]) -> String {
    henge::ipld::multibase::encode(henge::ipld::multibase::Base::Base32Lower, bytes)
}

/// boxo#393; DAGs that go down without end; `_redirects` without bound.
#[test]
fn incident_10_shards_and_dags_that_lead_nowhere_come_to_an_end() {
    let repo = Repo::new();
    let child = repo.feed(["add", "-Q"], b"child").text();
    // Labels too short for a slot; a slot that leads to what is no shard.
    let short = put(&repo, "dag-pb", &shard(&[1], 256, vec![link(b"0", &child)]));
    let file = put(&repo, "dag-pb", &shard(&[1], 256, vec![link(b"00", &child)]));
    for cid in [&short, &file] {
        repo.fails(["ls", cid]);
        repo.fails(["cat", &format!("{cid}/a")]);
    }
    // Shards below shards, deeper than a hash has bits: every slot leads on.
    let mut below = put(&repo, "dag-pb", &shard(&[1], 256, vec![link(b"00a", &child)]));
    for _ in 0..12 {
        let slots = (0..256).map(|slot| link(format!("{slot:02X}").as_bytes(), &below)).collect();
        below = put(&repo, "dag-pb", &shard(&[0xff; 32], 256, slots));
    }
    let line = repo.fails(["cat", &format!("{below}/a")]);
    assert!(line.contains("deep"), "{line}");
    // A chain of 50,000 blocks.
    let mut blocks: Vec<(Cid, Bytes)> = Vec::new();
    for _ in 0..50_000 {
        let above = blocks.last().map_or(Value::Null, |(cid, _)| Value::Link(Box::new(*cid)));
        let data = Bytes::from(encode(codec::DAG_CBOR, &Value::List(vec![above])).unwrap());
        let cid = Cid::new_v1(codec::DAG_CBOR, cid::digest(hash::SHA2_256, &data).unwrap());
        blocks.push((cid, data));
    }
    let top = blocks.last().unwrap().0.to_string();
    let said = repo.feed(["dag", "import"], &car_of(&blocks));
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(repo.ok(["refs", "-r", &top]).lines().count(), 49_999);
    repo.ok(["pin", "add", &top]);
    assert!(repo.ok(["dag", "stat", "--progress=false", &top]).contains("50000"));
    // Rules of 64 KiB that name what they caught as often as they can.
    let rule = format!("/:a /{}\n", ":a".repeat(30_000));
    let rules = redirects::parse(&rule).unwrap();
    let path = format!("/{}", "x".repeat(60_000));
    let used = measured(|| assert!(redirects::find(&rules, &path).is_err()));
    assert!(used < 1 << 20, "{used} bytes");
}

/// CVE-2020-26279; what an archive says by itself is tested where it is unpacked.
#[test]
fn incident_11_names_of_entries_lead_nowhere() {
    let repo = Repo::new();
    let evil = repo.feed(["add", "-Q"], b"evil").text();
    for name in ["..", "../evil", "/evil", "a/../../evil", "/etc/evil", ".", "", "a/b"] {
        let cid = folder(&repo, &[(name, &evil)]);
        let work = repo.path("work");
        std::fs::create_dir_all(&work).unwrap();
        let said = repo.run(["get", "-o", "work/out", &cid]);
        assert!(said.code == 0 || said.err.starts_with("Error: "), "{name}: {}", said.err);
        for place in [repo.path("evil"), work.join("evil"), "/evil".into(), "/etc/evil".into()] {
            assert!(!place.exists(), "{name} was written to {}", place.display());
        }
        std::fs::remove_dir_all(work).unwrap();
    }
}

/// CVE-2020-26283.
#[test]
fn incident_12_names_do_not_reach_the_terminal_as_they_are() {
    let repo = Repo::new();
    let child = repo.feed(["add", "-Q"], b"child").text();
    let name = "a\u{1b}[31m\u{7}\r\u{9b}2J\u{202e}";
    let cid = folder(&repo, &[(name, &child)]);
    for args in [&["ls", &cid][..], &["refs", "--format=<linkname>", &cid]] {
        let said = repo.run(args.iter().copied());
        assert_eq!(said.code, 0, "{}", said.err);
        let shown = said.text();
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!shown.contains(control), "{args:?}: {shown:?}");
    }
    let line = repo.fails(["cat", &format!("{cid}/{name}x")]);
    assert!(!line.contains(char::is_control), "{line:?}");
}

/// RUSTSEC-2020-0068.
#[test]
fn incident_13_hashes_cut_off_or_too_long_are_refused() {
    let digest = [7; 32];
    let whole = [&[1, 0x55, 0x12, 32][..], &digest].concat();
    assert!(cid::from_bytes(&whole).is_ok());
    for cut in 0..whole.len() {
        assert!(cid::from_bytes(&whole[..cut]).is_err(), "{cut} bytes of a CID");
    }
    let long = [0xff; 20];
    for bytes in [
        // Lengths that do not fit, numbers of ten bytes and more, numbers longer than they need be.
        [&[1, 0x55, 0x12, 33][..], &digest].concat(),
        [&[1, 0x55, 0x12, 0xff, 0x7f][..], &digest].concat(),
        [&[1, 0x55, 0x12][..], &long].concat(),
        [&[1, 0x55][..], &long].concat(),
        [&[1][..], &long].concat(),
        long.to_vec(),
        [&[1, 0x55, 0x12, 0xa0, 0][..], &digest].concat(),
        [&[1, 0xd5, 0, 0x12, 32][..], &digest].concat(),
        [&[2, 0x55, 0x12, 32][..], &digest].concat(),
        [&[0x12, 31][..], &digest].concat(),
        [&[0x12, 33][..], &digest].concat(),
    ] {
        let mut told = String::new();
        let used = measured(|| {
            if let Err(error) = cid::from_bytes(&bytes) {
                let _ = write!(told, "{error}");
            }
        });
        assert!(!told.is_empty() && used < 16 << 10, "{bytes:x?}: {told:?}, {used} bytes");
        let _ = cid::split(&bytes);
    }
    assert!(cid::parse(&"z".repeat(1_000_000)).is_err());
}

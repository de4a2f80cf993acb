//! CARs through the binary: out of one repository, into another, and refused.

use std::path::PathBuf;

use crate::harness::{Repo, keystream, one_line};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/car").join(name)
}

/// Imports a fixture, which must fail with nothing pinned; gives the line.
fn refused(repo: &Repo, name: &str) -> String {
    let line = one_line(&repo.run(["dag".as_ref(), "import".as_ref(), fixture(name).as_os_str()]));
    assert_eq!(repo.ok(["pin", "ls", "-q"]), "", "{name}");
    line
}

#[test]
fn a_dag_travels_from_one_repository_to_another() {
    let (from, to) = (Repo::new(), Repo::new());
    let content = keystream("car", 3_000_000);
    from.file("d/big", &content);
    from.file("d/again", &content);
    from.file("d/small", "hello\n");
    let cid = from.ok(["add", "-r", "-Q", "--cid-version=1", "d"]);
    let car = from.run(["dag", "export", &cid]);
    assert_eq!(car.code, 0, "{}", car.err);
    assert!(car.out.len() < 3_100_000, "twins go out once: {}", car.out.len());
    let said = to.feed(["dag", "import", "--stats"], &car.out);
    assert_eq!(said.code, 0, "{}", said.err);
    let text = said.text();
    assert!(
        text.starts_with(&format!("Pinned root\t{cid}\tsuccess\nImported 15 blocks (")),
        "{text}"
    );
    assert_eq!(to.run(["cat", &format!("{cid}/big")]).out, content);
    assert_eq!(to.ok(["pin", "ls", "-q", "--type=recursive"]), cid);
    assert_eq!(to.run(["dag", "export", &cid]).out, car.out);
    let (one, other) = (from.ok(["dag", "stat", &cid]), to.ok(["dag", "stat", &cid]));
    assert_eq!(one, other);
    assert!(one.contains("Unique Blocks: 15\nShared Size: 0 (0 B)\nRatio: 1.000000"), "{one}");
}

#[test]
fn the_vectors_are_imported_and_their_roots_pinned() {
    for (name, blocks) in
        [("carv2-basic.car", 5), ("sample-unixfs-v2.car", 3), ("simple-unixfs.car", 22)]
    {
        let repo = Repo::new();
        let path = fixture(name);
        let args = ["dag", "import", "--stats", "--enc=json", path.to_str().unwrap()];
        let said = repo.ok(args);
        let (roots, stats) = said.rsplit_once('\n').unwrap();
        assert!(stats.starts_with(&format!("{{\"Stats\":{{\"BlockCount\":{blocks},")), "{said}");
        for line in roots.lines() {
            assert!(line.ends_with("\"},\"PinErrorMsg\":\"\"}}"), "{name}: {line}");
        }
        let pins = repo.ok(["pin", "ls", "-q", "--type=recursive"]);
        assert_eq!(pins.lines().count(), roots.lines().count(), "{name}");
    }
}

#[test]
fn broken_cars_are_one_line_with_the_offset() {
    let repo = Repo::new();
    for (name, text) in [
        ("badheaderlength.car", "byte 0: a header of"),
        ("badsectionlength.car", "byte 18: a section of"),
        ("sample-corrupt-pragma.car", "byte 16: the data ends inside the header"),
        ("sample-rootless-v42.car", "byte 0: CAR version 42"),
        ("sample-v1-tailing-corrupt-section.car", "byte 479894: the data ends inside a section"),
        ("sample-v1-with-zero-len-section2.car", "byte 20819: a section of zero bytes"),
    ] {
        let line = refused(&repo, name);
        assert!(line.contains(text) && line.contains(name), "{line}");
    }
}

#[test]
fn a_dag_that_lacks_blocks_is_imported_but_not_pinned() {
    let repo = Repo::new();
    let name = "simple-unixfs-missing-blocks.car";
    let line = refused(&repo, name);
    assert!(line.starts_with("Error: pinning root \""), "{line}");
    assert!(line.contains("FAILED: block was not found locally (offline): ipld: "), "{line}");
    let root = line.split('"').nth(1).unwrap();
    let said = repo.run(["dag", "export", root]);
    assert!(one_line(&said).contains("block was not found locally"));
    let path = fixture(name);
    let partial = repo.run(["dag", "export", "--local-only", root]).out;
    let other = Repo::new();
    assert_eq!(other.feed(["dag", "import", "--local-only"], &partial).code, 0);
    assert_eq!(other.ok(["refs", "local"]), repo.ok(["refs", "local"]));
    let missing = other.ok(["refs", "--missing", root]);
    assert!(!missing.is_empty());
    let all: Vec<&str> = missing.lines().collect();
    let said = repo.run(["dag", "export", "--local-only", root]).err;
    let named = said.lines().filter_map(|line| line.strip_prefix("missing "));
    assert_eq!(named.collect::<Vec<_>>(), all, "{said}");
    assert!(all.iter().all(|cid| repo.run(["block", "stat", "--offline", cid]).code == 1));
    let both = ["dag", "import", "--local-only", "--pin-roots=true", path.to_str().unwrap()];
    assert!(other.fails(both).contains("cannot be combined"));
}

#[test]
fn a_block_that_is_not_what_its_cid_says_is_refused_by_name() {
    let repo = Repo::new();
    let mut bytes = std::fs::read(fixture("carv1-basic.car")).unwrap();
    bytes[363] ^= 1; // In the block of 4 bytes whose section begins at byte 325.
    let line = one_line(&repo.feed(["dag", "import"], &bytes));
    let cid = "bafkreifw7plhl6mofk6sfvhnfh64qmkq73oeqwl6sloru6rehaoujituke";
    assert_eq!(
        line,
        format!("Error: import failed: byte 325: block {cid} does not match its hash")
    );
    assert_eq!(repo.ok(["pin", "ls"]), "");
}

#[test]
fn data_goes_in_and_is_named_as_kubo_names_it() {
    let repo = Repo::new();
    repo.file("a.json", r#"{"foo":"bar"}"#);
    repo.file("b.json", r#"{"foo":"baz"}"#);
    assert_eq!(
        repo.ok(["dag", "put", "a.json", "b.json"]),
        "bafyreiblaotetvwobe7cu2uqvnddr6ew2q3cu75qsoweulzku2egca4dxq\n\
         bafyreibqp7zvp6dvrqhtkbwuzzk7jhtmfmngtiqjajqpm6gtw55o7kqzfi"
    );
    let data = r#"{"Data":{"/":{"bytes":"AAECAwQ"}},"Links":[]}"#;
    for (codec, cid) in [
        ("dag-cbor", "bafyreieculsmrexh3ty5jentbvuku452o27mst4h2tq2rb2zntqhgcstji"),
        ("dag-pb", "bafybeibazl2z4vqp2tmwcfag6wirmtpnomxknqcgrauj7m2yisrz3qjbom"),
        ("dag-json", "baguqeerajwksxu3lxpomdwxvosl542zl3xknhjgxtq3277gafrhl6vdw5tcq"),
    ] {
        let said = repo.feed(["dag", "put", "--store-codec", codec], data.as_bytes());
        assert_eq!(said.text(), cid, "{}", said.err);
    }
    let inner = repo.feed(["dag", "put"], b"{\"data\":123}\n").text();
    let outer = format!("{{\"obj\":{{\"/\":\"{inner}\"}}}}");
    let outer = repo.feed(["dag", "put", "--pin"], outer.as_bytes()).text();
    assert_eq!(repo.ok(["dag", "resolve", &format!("{outer}/obj/data")]), format!("{inner}/data"));
    assert_eq!(
        repo.ok(["dag", "resolve", "--enc=json", &format!("{outer}/obj")]),
        format!("{{\"Cid\":{{\"/\":\"{inner}\"}},\"RemPath\":\"\"}}")
    );
    assert_eq!(
        repo.ok(["dag", "stat", "--enc=json", &inner, &outer]),
        format!(
            "{{\"UniqueBlocks\":2,\"TotalSize\":54,\"SharedSize\":8,\"Ratio\":1.1481482,\
             \"DagStats\":[{{\"Cid\":\"{inner}\",\"Size\":8,\"NumBlocks\":1}},\
             {{\"Cid\":\"{outer}\",\"Size\":54,\"NumBlocks\":2}}]}}"
        )
    );
}

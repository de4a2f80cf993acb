//! Parts of DAGs as CARs: which blocks are in them, in which order, and what the headers say.

use henge::ipld::car::CarReader;

use crate::gateway_fixtures::Fixtures;
use crate::harness::{Daemon, Repo};
use crate::http_client::{Answer, ask};

const TWO_FILES: &str = "bafybeietjm63oynimmv5yyqay33nui4y4wx6u3peezwetxgiwvfmelutzu";
const MIXED: &str = "bafybeidh6k2vzukelqtrjsmd4p52cpmltd2ufqrdtdg6yigi73in672fwu";
const TWINS: &str = "bafybeihchr7vmgjaasntayyatmp5sv6xza57iy2h4xj7g46bpjij6yhrmy";
const DOCUMENT: &str = "bafyreidy4q6mmetut5jzc54ambsfnatbyoujmwbfzyyolqw24majazwgha";
const HOLE: &str = "QmYhmPjhFjYFyaoiuNzYv8WGavpSRDwdHWe5B4M5du5Rtk";
const HAMTS: &str = "bafybeid3fd2xxdcd3dbj7trb433h2aqssn6xovjbwnkargjv7fuog4xjdi";
const HAMT: &str = "bafybeignui4g7l6cvqyy4t6vnbl2fjtego4ejmpcia77jhhwnksmm4bejm";
/// Shards of that folder, in its order.
const SHARDS: [&str; 2] = [
    "bafybeiccgo7euew77gkqkhezn3pozfrciiibqz2u3spdqmgjvd5wqskipm",
    "bafybeihjydob4eq5j4m43whjgf5cgftthc42kjno3g24sa3wcw7vonbmfy",
];
const SUBDIR: &str = "bafybeicnmple4ehlz3ostv2sbojz3zhh5q7tz5r2qkfdpqfilgggeen7xm";
const ASCII: &str = "bafkreifkam6ns4aoolg3wedr4uzrs3kvq66p4pecirz6y2vlrngla62mxm";
const HELLO: &str = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";
const MULTI: &str = "bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa";
/// Four chunks of 256 bytes, one of 2.
const CHUNKS: [&str; 5] = [
    "bafkreie5noke3mb7hqxukzcy73nl23k6lxszxi5w3dtmuwz62wnvkpsscm",
    "bafkreih4ephajybraj6wnxsbwjwa77fukurtpl7oj7t7pfq545duhot7cq",
    "bafkreigu7buvm3cfunb35766dn7tmqyh2um62zcio63en2btvxuybgcpue",
    "bafkreicll3huefkc3qnrzeony7zcfo7cr3nbx64hnxrqzsixpceg332fhe",
    "bafkreifst3pqztuvj57lycamoi7z34b4emf7gawxs74nwrc2c7jncmpaqm",
];

/// The blocks of a CAR, in order.
fn blocks(page: &Answer) -> Vec<String> {
    assert!(page.status == 200 && page.whole, "{} {}", page.status, page.text());
    let mut car = CarReader::open(page.body.as_slice()).unwrap();
    let mut cids = Vec::new();
    while let Some(section) = car.next_section().unwrap() {
        cids.push(section.cid.to_string());
    }
    cids
}

/// One list of several parts.
fn all_of(parts: &[&[&str]]) -> Vec<String> {
    parts.concat().into_iter().map(str::to_owned).collect()
}

/// Asks for CARs and compares their blocks.
fn check(all: &Fixtures, rows: &[(String, Vec<String>)]) {
    for (path, expected) in rows {
        let page = all.get(&format!("/ipfs/{path}"), &[]);
        assert_eq!(&blocks(&page), expected, "{path}");
        let head = all.head(&format!("/ipfs/{path}"), &[]);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.field("Etag"), page.field("Etag"));
    }
}

#[test]
fn the_blocks_along_the_path_come_first() {
    let all = Fixtures::new();
    let resolved = all.repo.ok(["resolve", &format!("/ipfs/{TWO_FILES}/subdir")]);
    let subdir = resolved.trim_start_matches("/ipfs/");
    let row = |path: &str, parts: &[&[&str]]| (path.to_owned(), all_of(parts));
    check(
        &all,
        &[
            row(
                &format!("{TWO_FILES}/subdir/ascii.txt?format=car"),
                &[&[TWO_FILES, subdir, ASCII]],
            ),
            row(&format!("{DOCUMENT}/files/single?format=car"), &[&[DOCUMENT, HELLO]]),
            row(&format!("{DOCUMENT}/files/multiblock?format=car"), &[&[DOCUMENT, MULTI], &CHUNKS]),
            row(&format!("{TWO_FILES}/subdir?format=car&dag-scope=block"), &[&[TWO_FILES, subdir]]),
            row(
                &format!("{HAMTS}/hamtDir/exampleA?format=car"),
                &[&[HAMTS, HAMT, SHARDS[1], MULTI], &CHUNKS],
            ),
            row(
                &format!("{HAMTS}/hamtDir/exampleA?format=car&dag-scope=block"),
                &[&[HAMTS, HAMT, SHARDS[1], MULTI]],
            ),
            // A path that ends inside a block leads to that block.
            row(&format!("{DOCUMENT}/cats?format=car&dag-scope=block"), &[&[DOCUMENT]]),
        ],
    );
    let absent = all.get(&format!("/ipfs/{TWO_FILES}/subdir/none?format=car"), &[]);
    assert_eq!(absent.status, 404);
}

#[test]
fn an_entity_is_a_whole_file_or_one_folder() {
    let all = Fixtures::new();
    let row = |path: &str, parts: &[&[&str]]| (format!("{path}dag-scope=entity"), all_of(parts));
    check(
        &all,
        &[
            row(&format!("{TWO_FILES}?format=car&"), &[&[TWO_FILES]]),
            row(&format!("{HAMT}?format=car&"), &[&[HAMT], &SHARDS]),
            row(&format!("{MIXED}/subdir/ascii.txt?format=car&"), &[&[MIXED, SUBDIR, ASCII]]),
            row(
                &format!("{MIXED}/subdir/multiblock.txt?format=car&"),
                &[&[MIXED, SUBDIR, MULTI], &CHUNKS],
            ),
            row(&format!("{DOCUMENT}?format=car&"), &[&[DOCUMENT]]),
            row(&format!("{MULTI}?format=car&entity-bytes=0:*&"), &[&[MULTI], &CHUNKS]),
            // A folder has no bytes.
            row(&format!("{HAMT}?format=car&entity-bytes=0:5&"), &[&[HAMT], &SHARDS]),
        ],
    );
    let whole = format!("{MIXED}/subdir?format=car&dag-scope=all");
    check(&all, &[(whole, all_of(&[&[MIXED, SUBDIR, ASCII, HELLO, MULTI], &CHUNKS]))]);
}

#[test]
fn of_a_part_of_a_file_only_what_covers_it_is_sent() {
    let all = Fixtures::new();
    for (span, chunks) in [
        ("512:*", 2..5),
        ("512:1023", 2..4),
        ("512:-256", 2..4),
        ("-5:*", 3..5),
        ("-9999:*", 0..5),
        ("-9999:-3", 0..4),
        ("0:0", 0..1),
        ("255:256", 0..2),
        ("1025:99999", 4..5),
        ("1026:*", 0..0),
        ("99999:999999", 0..0),
        ("600:-900", 0..0),
    ] {
        // The span alone says that an entity is meant.
        let path = format!("{MULTI}?format=car&entity-bytes={span}");
        check(&all, &[(path, all_of(&[&[MULTI], &CHUNKS[chunks]]))]);
    }
    let leaf = |span: &str, cid: &str| {
        let path = format!("{HOLE}?format=car&dag-scope=entity&entity-bytes={span}");
        (path, all_of(&[&[HOLE, cid]]))
    };
    check(
        &all,
        &[
            leaf("0:1000", "QmPKt7ptM2ZYSGPUc8PmPT2VBkLDK3iqpG9TBJY7PCE9rF"),
            leaf("2200:*", "QmWXY482zQdwecnfBsj78poUUuPXvyw2JAFAEMw4tzTavV"),
        ],
    );
    // A hole inside the part cuts the stream, so that nobody takes it for whole.
    let cut = all.get(&format!("/ipfs/{HOLE}?format=car&entity-bytes=1000:1100"), &[]);
    assert!(cut.status == 200 && !cut.whole);
}

#[test]
fn repeats_and_order_are_as_asked_and_told() {
    let all = Fixtures::new();
    let once = all_of(&[&[TWINS, ASCII, HELLO, MULTI], &CHUNKS]);
    let each = all_of(&[&[TWINS, ASCII, ASCII, HELLO, MULTI], &CHUNKS]);
    let car = |parameters: &str| format!("application/vnd.ipld.car; version=1; {parameters}");
    let path = format!("/ipfs/{TWINS}");
    for (query, accept, told, expected) in [
        ("", "order=dfs; dups=y", "order=dfs; dups=y", &each),
        ("", "order=dfs; dups=n", "order=dfs; dups=n", &once),
        ("", "order=unk", "order=unk; dups=n", &once),
        ("?format=car", "order=dfs; dups=y", "order=dfs; dups=y", &each),
        ("?format=car&car-dups=n", "dups=y", "order=dfs; dups=n", &once),
        ("?format=car&car-dups=y&car-order=unk", "dups=n", "order=unk; dups=y", &each),
    ] {
        let page = all.get(&format!("{path}{query}"), &[("Accept", &car(accept))]);
        assert_eq!(page.field("Content-Type"), car(told), "{query} {accept}");
        assert_eq!(&blocks(&page), expected, "{query} {accept}");
    }
    let asked = all.get(&path, &[("Accept", &car("dups=y"))]);
    let location = format!("{path}?format=car&car-version=1&car-dups=y");
    assert_eq!(asked.field("Content-Location"), location);
    // Of an identity CID nothing is sent but the header.
    let inline = "/ipfs/bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa?format=car&car-dups=y";
    assert_eq!(blocks(&all.get(inline, &[])), Vec::<String>::new());
    assert_eq!(blocks(&all.get("/ipfs/bafkqaaa?format=car", &[])), Vec::<String>::new());
    for bad in
        ["dag-scope=some", "car-dups=maybe", "car-order=bfs", "car-version=2", "entity-bytes=5"]
    {
        assert_eq!(all.get(&format!("{path}?format=car&{bad}"), &[]).status, 400, "{bad}");
    }
    assert_eq!(all.get(&path, &[("Accept", &car("dups=x"))]).status, 400);
}

#[test]
fn each_car_has_a_tag_and_a_name_of_its_own() {
    let all = Fixtures::new();
    let mut tags = std::collections::HashSet::new();
    for query in [
        "",
        "&dag-scope=block",
        "&dag-scope=entity",
        "&entity-bytes=0:5",
        "&entity-bytes=0:6",
        "&car-dups=y",
        "&car-order=unk",
    ] {
        let path = format!("/ipfs/{MIXED}/subdir/multiblock.txt?format=car{query}");
        let page = all.get(&path, &[]);
        let tag = page.field("Etag").to_owned();
        assert!(tag.starts_with(&format!("W/\"{MIXED}.car.")) && tag.ends_with('"'), "{tag}");
        assert!(tags.insert(tag.clone()), "{query}");
        let known = all.get(&path, &[("If-None-Match", &tag)]);
        assert_eq!((known.status, known.body.len()), (304, 0), "{query}");
        let name = format!("{MIXED}_multiblock.txt.car");
        for (name, value) in [
            (
                "Content-Disposition",
                format!("attachment; filename=\"{name}\"; filename*=UTF-8''{name}"),
            ),
            ("X-Content-Type-Options", "nosniff".into()),
            ("Accept-Ranges", "none".into()),
            ("Cache-Control", "public, max-age=29030400, immutable".into()),
            ("X-Ipfs-Path", format!("/ipfs/{MIXED}/subdir/multiblock.txt")),
            ("X-Ipfs-Roots", format!("{MIXED},{SUBDIR},{MULTI}")),
        ] {
            assert_eq!(page.field(name), value, "{name}");
        }
    }
    // Another path to the same file is another CAR.
    let direct = all.get(&format!("/ipfs/{MULTI}?format=car"), &[]);
    assert!(tags.insert(direct.field("Etag").to_owned()));
}

#[test]
fn a_file_that_repeats_itself_is_sent_once_or_each_time() {
    let repo = Repo::for_daemon();
    // Eight chunks of the same bytes under nodes of two: every level repeats.
    repo.file("zeros", vec![0; 8 * 1024]);
    let args =
        ["add", "-Q", "--cid-version=1", "--chunker=size-1024", "--max-file-links=2", "zeros"];
    let root = repo.ok(args);
    let links = |cid: &str| repo.ok(["refs", cid]).lines().next().unwrap().to_owned();
    let upper = links(&root);
    let lower = links(&upper);
    let leaf = links(&lower);
    let daemon = Daemon::start(&repo);
    let get = |query: &str| {
        let page = ask(&daemon.gateway, "GET", &format!("/ipfs/{root}?format=car{query}"), &[]);
        blocks(&page)
    };
    let once = [&root, &upper, &lower, &leaf];
    for query in ["", "&dag-scope=entity", "&entity-bytes=0:*", "&entity-bytes=1:-2"] {
        assert_eq!(get(query), once.map(String::clone), "{query}");
    }
    // Its left half in part, its right half whole: nothing is missing, nothing comes twice.
    assert_eq!(get("&entity-bytes=3000:*"), once.map(String::clone));
    let each = get("&car-dups=y");
    assert_eq!(each, get("&car-dups=y&dag-scope=entity"));
    let count = |cid: &String| each.iter().filter(|met| *met == cid).count();
    assert_eq!(once.map(count), [1, 2, 4, 8]);
    assert_eq!(each[..4], once.map(String::clone));
    assert_eq!(get("&car-dups=y&entity-bytes=3000:5000").len(), 1 + 2 + 2 + 3);
}

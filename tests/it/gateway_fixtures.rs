//! The gateway over DAGs that others made, asked what the conformance suite of the specifications
//! asks. What needs mutable names waits for them.

use std::path::PathBuf;

use crate::harness::{Daemon, Repo};
use crate::http_client::{Answer, ask};

const LISTED: &str = "bafybeig6ka5mlwkl4subqhaiatalkcleo4jgnr3hqwvpmsqfca27cijp3i";
const JSON_CBOR: &str = "bafybeiafyvqlazbbbtjnn6how5d6h6l6rxbqc4qgpbmteaiskjrffmyy4a";
const SYMLINK: &str = "QmWvY6FaqFMS89YAQ9NAPjVP4WZKA1qbHbicc9HeSKQTgt";
const FILES: &str = "bafybeihchr7vmgjaasntayyatmp5sv6xza57iy2h4xj7g46bpjij6yhrmy";
const PERCENT: &str = "bafybeig675grnxcmshiuzdaz2xalm6ef4thxxds6o6ypakpghm5kghpc34";
const SPECIAL: &str = "bafybeiebgctytpwjp7suihumuyckgbx2wuofmjjncavkamhjen3jpd7vda";
const HOLE: &str = "QmYhmPjhFjYFyaoiuNzYv8WGavpSRDwdHWe5B4M5du5Rtk";
const HAMT: &str = "bafybeid3fd2xxdcd3dbj7trb433h2aqssn6xovjbwnkargjv7fuog4xjdi/hamtDir";
const DAG_JSON: &str = "baguqeeram5ujjqrwheyaty3w5gdsmoz6vittchvhk723jjqxk7hakxkd47xq";
const DAG_CBOR: &str = "bafyreibs4utpgbn7uqegmd2goqz4bkyflre2ek2iwv743fhvylwi4zeeim";
const PLAIN_JSON: &str = "bagaaierajjsnhsxqlgfrvknlt7z2heoljcgfv37cn45tu7mhmr23x3ekiboq";
const PLAIN_CBOR: &str = "bafireif3aymeikgfbofx533yf5vlx4kimzq6zmzmpra2mnzfsfnmv4hchm";
const TAR_INSIDE: &str = "bafybeibfevfxlvxp5vxobr5oapczpf7resxnleb7tkqmdorc4gl5cdva3y";
const TAR_OUTSIDE: &str = "bafybeicaj7kvxpcv4neaqzwhrqqmdstu4dhrwfpknrgebq6nzcecfucvyu";
const RAW_BLOCK: &str = "bafybeie72edlprgtlwwctzljf6gkn2wnlrddqjbkxo3jomh4n7omwblxly";
const SUBDOMAIN: &str = "QmYiPNLU7Hc739sqcBH5DgVmk5mKTQVzKSqvJJeNGWTgrE";

/// A daemon over all the fixtures.
pub struct Fixtures {
    pub repo: Repo,
    pub daemon: Daemon,
}

impl Fixtures {
    pub fn new() -> Self {
        let repo = Repo::for_daemon();
        Self::import(&repo);
        let daemon = Daemon::start(&repo);
        Self { repo, daemon }
    }

    /// Imports every CAR; one of them lacks a block, so nothing is pinned.
    pub fn import(repo: &Repo) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gateway");
        let cars = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut args = vec![PathBuf::from("dag"), "import".into(), "--local-only".into()];
        args.extend(cars);
        assert!(args.len() > 20);
        repo.ok(args);
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(&self.daemon.gateway, "GET", path, headers)
    }

    pub fn head(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(&self.daemon.gateway, "HEAD", path, headers)
    }
}

#[test]
fn folders_are_listed_with_the_links_that_tools_look_for() {
    let all = Fixtures::new();
    let root = all.get(&format!("/ipfs/{LISTED}/"), &[]).text();
    assert!(root.contains("Index of") && !root.contains("..</a>"), "{root}");
    let moved = all.get(&format!("/ipfs/{LISTED}/%C4%85/%C4%99"), &[]);
    let target = format!("/ipfs/{LISTED}/%C4%85/%C4%99/");
    assert_eq!((moved.status, moved.field("Location")), (301, target.as_str()));
    let page = all.get(&target, &[]);
    assert!(page.field("Etag").starts_with("\"DirIndex-"), "{}", page.field("Etag"));
    assert_eq!(
        page.field("Cache-Control"),
        "public, max-age=604800, stale-while-revalidate=2678400"
    );
    let text = page.text();
    let at = format!("/ipfs/{LISTED}");
    for part in [
        format!("/ipfs/<a href=\"{at}\">{LISTED}</a>/<a href=\"{at}/%C4%85\">ą</a>/"),
        format!("/<a href=\"{at}/%C4%85/%C4%99\">ę</a>"),
        format!("<a href=\"{at}/%C4%85/%C4%99/..\">..</a>"),
        format!("<a href=\"{at}/%C4%85/%C4%99/file-%C5%BA%C5%82.txt\">file-źł.txt</a>"),
        "<a class=\"ipfs-hash\" translate=\"no\" \
         href=\"/ipfs/bafkreialihlqnf5uwo4byh4n3cmwlntwqzxxs2fg5vanqdi3d7tb2l5xkm?filename=file-%25C5%25BA%25C5%2582.txt\">"
            .to_owned(),
    ] {
        assert!(text.contains(&part), "{part}\n{text}");
    }
    for (path, status) in [
        (format!("{at}/i-do-not-exist"), 404),
        (format!("{at}/%C4%85/%C4%99/.."), 301),
        (format!("{at}/%C4%85/%C4%99/../../"), 200),
        (format!("{at}/../{LISTED}/"), 400),
        (format!("/ipfs/{SPECIAL}/foo%3F%20%23%3C%27/file.txt"), 200),
        (format!("/ipfs/{SPECIAL}/foo%3F%20%23%3C%27/bar/"), 200),
        (format!("/ipfs/{HAMT}/"), 200),
        (format!("/ipfs/{HAMT}/exampleD-hamt-collide-exampleB-seed-364"), 200),
        (format!("/ipfs/{HAMT}/06exampleB"), 404),
    ] {
        assert_eq!(all.get(&path, &[]).status, status, "{path}");
    }
    let special = all.get(&format!("/ipfs/{SPECIAL}/"), &[]).text();
    assert!(special.contains("foo? #&lt;&#39;</a>"), "{special}");
    let shards = all.get(&format!("/ipfs/{HAMT}/"), &[]).text();
    assert_eq!(shards.matches("class=\"ipfs-hash\"").count(), 4, "{shards}");
}

#[test]
fn symlinks_and_strange_names_are_served() {
    let all = Fixtures::new();
    let link = all.get(&format!("/ipfs/{SYMLINK}/bar"), &[]);
    assert_eq!((link.text().as_str(), link.field("Content-Type")), ("foo", "inode/symlink"));
    let raw = all.get(&format!("/ipfs/{SYMLINK}?format=raw"), &[]);
    assert_eq!(raw.body, all.repo.run(["block", "get", SYMLINK]).out);
    let listed = all.get(&format!("/ipfs/{SYMLINK}/"), &[]).text();
    assert!(listed.contains(">foo<") && listed.contains(">bar<"), "{listed}");
    let name = "Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt";
    let file = all.get(&format!("/ipfs/{PERCENT}/{name}"), &[]);
    assert_eq!(file.text(), "hello from a percent encoded filename\n");
    assert_eq!(all.get(&format!("/ipfs/{PERCENT}/Portugal%2C"), &[]).status, 404);
}

#[test]
fn parts_of_files_are_served_around_holes() {
    let all = Fixtures::new();
    let path = format!("/ipfs/{FILES}/ascii.txt");
    let whole = all.get(&path, &[]);
    assert_eq!(whole.text(), "hello application/vnd.ipld.car\n");
    assert_eq!(whole.field("Accept-Ranges"), "bytes");
    for (range, told, span) in [
        ("bytes=6-16", "bytes 6-16/31", 6..17),
        ("bytes=-3", "bytes 28-30/31", 28..31),
        ("bytes=6-16,0-4", "bytes 6-16/31", 6..17),
        ("bytes=40-,0-4", "bytes 0-4/31", 0..5),
    ] {
        let part = all.get(&path, &[("Range", range)]);
        assert_eq!((part.status, part.field("Content-Range")), (206, told), "{range}");
        assert_eq!(part.body, whole.body[span], "{range}");
    }
    let hole = format!("/ipfs/{HOLE}");
    for (range, told) in [
        ("bytes=997-1000", "bytes 997-1000/3072"),
        ("bytes=2200-2201", "bytes 2200-2201/3072"),
        ("bytes=-1", "bytes 3071-3071/3072"),
    ] {
        let part = all.get(&hole, &[("Range", range)]);
        assert_eq!((part.status, part.field("Content-Range"), part.whole), (206, told, true));
    }
    assert!(!all.get(&hole, &[("Range", "bytes=1000-1100")]).whole);
}

#[test]
fn json_is_told_by_its_bytes_and_data_by_its_codec() {
    let all = Fixtures::new();
    let file = "bafkreibrppizs3g7axs2jdlnjua6vgpmltv7k72l7v7sa6mmht6mne3qqe";
    let (raw, json) = (("Accept", "application/vnd.ipld.raw"), ("Accept", "application/json"));
    for (path, headers) in [
        (format!("/ipfs/{file}"), None),
        (format!("/ipfs/{file}"), Some(json)),
        (format!("/ipfs/{file}?format=json"), Some(raw)),
        (format!("/ipfs/{JSON_CBOR}/%C4%85/%C4%99/t.json"), None),
    ] {
        let page = all.get(&path, headers.as_slice());
        assert_eq!(page.field("Content-Type"), "application/json", "{path}");
        assert_eq!(page.text(), "{ \"test\": \"i am a plain json file\" }\n");
    }
    for (cid, asked, media, saved) in [
        (PLAIN_JSON, "", "application/json", "inline"),
        (PLAIN_JSON, "?format=json", "application/json", "inline"),
        (PLAIN_CBOR, "", "application/cbor", "attachment"),
        (PLAIN_CBOR, "?format=cbor", "application/cbor", "attachment"),
        (DAG_JSON, "", "application/vnd.ipld.dag-json", "inline"),
        (DAG_JSON, "?format=dag-json", "application/vnd.ipld.dag-json", "inline"),
        (DAG_JSON, "?format=json", "application/json", "inline"),
        (DAG_CBOR, "", "application/vnd.ipld.dag-cbor", "attachment"),
        (DAG_CBOR, "?format=cbor", "application/cbor", "attachment"),
        (DAG_CBOR, "?format=dag-cbor", "application/vnd.ipld.dag-cbor", "attachment"),
    ] {
        let path = format!("/ipfs/{cid}{asked}");
        let (page, head) = (all.get(&path, &[]), all.head(&path, &[]));
        assert_eq!(page.body, all.repo.run(["block", "get", cid]).out, "{path}");
        let part = all.get(&path, &[("Range", "bytes=1-3")]);
        assert_eq!((part.status, part.body.as_slice()), (206, &page.body[1..4]), "{path}");
        let (short, ending) = (media.rsplit(['/', '.']).next().unwrap(), &media[media.len() - 4..]);
        let dispose =
            format!("{saved}; filename=\"{cid}.{ending}\"; filename*=UTF-8''{cid}.{ending}");
        for (name, value) in [
            ("Content-Type", media),
            ("Content-Disposition", &dispose),
            ("Etag", &format!("\"{cid}.{short}\"")),
            ("Content-Length", &page.body.len().to_string()),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "public, max-age=29030400, immutable"),
            ("X-Ipfs-Path", &format!("/ipfs/{cid}")),
            ("X-Ipfs-Roots", cid),
        ] {
            assert_eq!(page.field(name), value, "{path} {name}");
            assert_eq!(head.field(name), value, "HEAD {path} {name}");
        }
        let known = page.field("Etag").to_owned();
        assert_eq!(all.get(&path, &[("If-None-Match", &known)]).status, 304, "{path}");
    }
}

#[test]
fn data_is_followed_but_not_translated() {
    let all = Fixtures::new();
    let utf8 = "bafkreialihlqnf5uwo4byh4n3cmwlntwqzxxs2fg5vanqdi3d7tb2l5xkm";
    for (path, status) in [
        (format!("/ipfs/{DAG_JSON}/foo?format=dag-json"), 501),
        (format!("/ipfs/{DAG_JSON}/foo/link/bar?format=dag-json"), 200),
        (format!("/ipfs/{DAG_JSON}/foo/i-do-not-exist"), 404),
        (format!("/ipfs/{DAG_CBOR}/foo?format=dag-cbor"), 501),
        (format!("/ipfs/{DAG_CBOR}/foo/link/bar?format=dag-cbor"), 200),
        (format!("/ipfs/{DAG_CBOR}/foo/i-do-not-exist"), 404),
        (format!("/ipfs/{DAG_JSON}?format=dag-cbor"), 406),
        (format!("/ipfs/{DAG_CBOR}?format=dag-json"), 406),
        (format!("/ipfs/{utf8}?format=dag-json"), 406),
        (format!("/ipfs/{utf8}?format=dag-cbor"), 406),
        (format!("/ipfs/{PLAIN_JSON}?format=dag-json"), 406),
    ] {
        assert_eq!(all.get(&path, &[]).status, status, "{path}");
    }
    for media in ["dag-json", "dag-cbor"] {
        let accept = format!("application/vnd.ipld.{media}");
        let page = all.get(&format!("/ipfs/{utf8}"), &[("Accept", &accept)]);
        assert_eq!(page.status, 406, "{media}");
    }
    let json = all.get(&format!("/ipfs/{DAG_JSON}/foo/link/bar"), &[]);
    assert_eq!(json.text(), "{\"hello\":\"this is not a link\"}");
    let cbor = all.get(&format!("/ipfs/{DAG_CBOR}/foo/link/bar"), &[]);
    assert_eq!(cbor.body, b"\xa1\x65hello\x72this is not a link");
}

#[test]
fn raw_blocks_come_with_their_headers() {
    let all = Fixtures::new();
    let cid = all.repo.ok(["resolve", &format!("/ipfs/{RAW_BLOCK}/dir/ascii.txt")]);
    let path = cid.as_str();
    let bare = path.trim_start_matches("/ipfs/");
    let block = all.repo.run(["block", "get", bare]).out;
    for (query, headers) in
        [("?format=raw", None), ("", Some(("Accept", "application/vnd.ipld.raw")))]
    {
        let page = all.get(&format!("{path}{query}"), headers.as_slice());
        assert_eq!(page.body, block);
        for (name, value) in [
            ("Content-Type", "application/vnd.ipld.raw"),
            ("Content-Length", &block.len().to_string()),
            ("X-Content-Type-Options", "nosniff"),
            ("Etag", &format!("\"{bare}.raw\"")),
            ("X-Ipfs-Path", path),
            ("X-Ipfs-Roots", bare),
            ("Cache-Control", "public, max-age=29030400, immutable"),
        ] {
            assert_eq!(page.field(name), value, "{name}");
        }
        assert!(page.field("Content-Disposition").starts_with("attachment;"));
        let named =
            format!("{path}{query}{}filename=f.bin", if query.is_empty() { "?" } else { "&" });
        let named = all.get(&named, headers.as_slice());
        assert!(named.field("Content-Disposition").contains("attachment; filename=\"f.bin\""));
    }
    // What nobody holds, and what every CID of its kind holds itself.
    let cached = ("Cache-Control", "only-if-cached");
    let absent = "/ipfs/QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN";
    for (path, status) in [(absent, 412), (path, 200), ("/ipfs/bafkqaaa?format=raw", 200)] {
        assert_eq!(all.get(path, &[cached]).status, status, "{path}");
        assert_eq!(all.head(path, &[cached]).status, status, "{path}");
    }
}

#[test]
fn archives_hold_no_name_that_leads_out_of_them() {
    let all = Fixtures::new();
    let names = |page: &Answer| -> Vec<String> {
        let mut archive = ::tar::Archive::new(page.body.as_slice());
        let members = archive
            .entries()
            .unwrap()
            .map(|member| member.unwrap().path().unwrap().to_string_lossy().into_owned());
        members.collect()
    };
    let page = all.get(&format!("/ipfs/{LISTED}?format=tar"), &[]);
    assert!(page.status == 200 && page.whole);
    assert!(names(&page).contains(&format!("{LISTED}/ą/ę/file-źł.txt")), "{:?}", names(&page));
    assert_eq!(page.field("Etag"), format!("W/\"{LISTED}.x-tar\""));
    let saved = all
        .get(&format!("/ipfs/{LISTED}?format=tar&filename=test%D1%82%D0%B5%D1%81%D1%82.tar"), &[]);
    assert_eq!(
        saved.field("Content-Disposition"),
        "attachment; filename=\"test____.tar\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.tar"
    );
    let inside = all.get(&format!("/ipfs/{TAR_INSIDE}?format=tar"), &[]);
    assert!(names(&inside).contains(&format!("{TAR_INSIDE}/foobar/file")), "{:?}", names(&inside));
    let outside = all.get(&format!("/ipfs/{TAR_OUTSIDE}?format=tar"), &[]);
    assert_eq!(outside.status, 400, "{}", outside.text());
}

#[test]
fn a_host_of_its_own_holds_one_root() {
    let all = Fixtures::new();
    let port = all.daemon.gateway.rsplit(':').next().unwrap();
    let host = format!("localhost:{port}");
    let cid = |path: &str| {
        let found = all.repo.ok(["resolve", &format!("/ipfs/{SUBDOMAIN}/{path}")]);
        found.trim_start_matches("/ipfs/").to_owned()
    };
    let (v1, v0, long, dir) = (
        cid("hello-CIDv1"),
        cid("hello-CIDv0"),
        cid("hello-CIDv1_TOO_LONG"),
        cid("testdirlisting"),
    );
    let (own, folder) = (format!("{v1}.ipfs.{host}"), format!("{dir}.ipfs.{host}"));
    let as_v1 = cid("hello-CIDv0to1");
    for (at, path, status, location) in [
        (&host, format!("/ipfs/{v1}/"), 301, format!("http://{own}/")),
        (&host, format!("/ipfs/{v0}/"), 301, format!("http://{as_v1}.ipfs.{host}/")),
        (&host, format!("/ipfs/{dir}/hello"), 301, format!("http://{folder}/hello")),
        (&host, format!("/ipfs/{long}/"), 400, String::new()),
        (&format!("{long}.ipfs.{host}"), "/".into(), 400, String::new()),
        (&host, "/ipfs/QmInvalidCID".into(), 400, String::new()),
        (&own, "/".into(), 200, String::new()),
        (&own, format!("/ipfs/{v1}/"), 404, String::new()),
        (&folder, "/ipfs/file.txt".into(), 200, String::new()),
        (&folder, "/ipfs/ipns/bar".into(), 200, String::new()),
        (&folder, "/ipfs".into(), 301, "/ipfs/".into()),
    ] {
        let page = all.get(&path, &[("Host", at)]);
        let found = (page.status, page.field("Location"));
        assert_eq!(found, (status, location.as_str()), "{at} {path}: {}", page.text());
    }
    let listing = all.get("/ipfs/ipns/", &[("Host", &folder)]).text();
    for part in [
        "<a href=\"/ipfs/ipns/..\">..</a>".to_owned(),
        "<a href=\"/ipfs/ipns/bar\">bar</a>".to_owned(),
        format!(
            "/ipfs/<a href=\"//{host}/ipfs/{dir}\">{dir}</a>/<a href=\"//{host}/ipfs/{dir}/ipfs\">ipfs</a>"
        ),
    ] {
        assert!(listing.contains(&part), "{part}\n{listing}");
    }
    let secure = [("Host", host.as_str()), ("X-Forwarded-Proto", "https")];
    let moved = all.get(&format!("/ipfs/{v1}/"), &secure);
    assert_eq!(moved.field("Location"), format!("https://{own}/"));
}

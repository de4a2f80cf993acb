//! The gateway as a browser meets it: a daemon, and plain HTTP.

use crate::harness::{Daemon, Repo, keystream};
use crate::http_client::{Answer, ask, send};

/// A daemon over a folder of everything.
struct Site {
    repo: Repo,
    daemon: Daemon,
    /// The folder.
    root: String,
    /// Its file `big.bin`.
    big: Vec<u8>,
}

impl Site {
    fn new() -> Self {
        let repo = Repo::for_daemon();
        let big = keystream("gateway", 700_000);
        repo.file("tree/big.bin", &big);
        repo.file("tree/hello.txt", "hello\n");
        repo.file("tree/page", "<!DOCTYPE html><p>hi");
        repo.file("tree/empty", "");
        repo.file("tree/site/index.html", "<p>index</p>");
        repo.file("tree/plain/sub dir/ą.txt", "x");
        repo.file("tree/plain/<img src=x onerror=alert(1)>&\"'.txt", "x");
        repo.file("tree/plain/\u{202e}gnp.exe\n", "x");
        std::os::unix::fs::symlink("hello.txt", repo.path("tree/link")).unwrap();
        let root = repo.ok(["add", "-r", "-Q", "tree"]);
        let daemon = Daemon::offline(&repo);
        Self { repo, daemon, root, big }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(&self.daemon.gateway, "GET", path, headers)
    }

    /// The path of something in the folder.
    fn path(&self, name: &str) -> String {
        format!("/ipfs/{}/{name}", self.root)
    }

    fn cid(&self, name: &str) -> String {
        let listed = self.repo.ok(["ls", &self.root]);
        let line = listed.lines().find(|line| line.ends_with(&format!(" {name}")));
        line.unwrap().split(' ').next().unwrap().to_owned()
    }
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

#[test]
fn files_come_with_what_caches_and_browsers_want_to_know() {
    let site = Site::new();
    let (path, cid) = (site.path("hello.txt"), site.cid("hello.txt"));
    for method in ["GET", "HEAD"] {
        let page = ask(&site.daemon.gateway, method, &path, &[]);
        assert_eq!(page.status, 200);
        for (name, value) in [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", "6"),
            ("Accept-Ranges", "bytes"),
            ("Etag", format!("\"{cid}\"").as_str()),
            ("Cache-Control", "public, max-age=29030400, immutable"),
            ("X-Ipfs-Path", &path),
            ("X-Ipfs-Roots", &format!("{},{cid}", site.root)),
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS"),
            ("Content-Disposition", ""),
        ] {
            assert_eq!(page.field(name), value, "{method} {name}");
        }
        let body = if method == "HEAD" { "" } else { "hello\n" };
        assert_eq!(page.text(), body);
    }
    for (name, media) in [
        ("big.bin", "application/octet-stream"),
        ("page", "text/html"),
        ("empty", "text/plain; charset=utf-8"),
        ("link", "inode/symlink"),
        ("hello.txt?filename=a.png", "image/png"),
    ] {
        assert_eq!(site.get(&site.path(name), &[]).field("Content-Type"), media, "{name}");
    }
    assert_eq!(site.get(&site.path("big.bin"), &[]).body, site.big);
    assert_eq!(site.get(&site.path("empty"), &[]).body, b"");
    assert_eq!(site.get(&site.path("link"), &[]).text(), "hello.txt");
    let saved = site.get(&site.path("hello.txt?download=true&filename=%C4%85.txt"), &[]);
    let wanted = "attachment; filename=\"_.txt\"; filename*=UTF-8''%C4%85.txt";
    assert_eq!(saved.field("Content-Disposition"), wanted);
}

#[test]
fn ranges_are_parts_of_the_file() {
    let site = Site::new();
    let (path, size) = (site.path("big.bin"), site.big.len());
    for (range, span) in [
        ("bytes=0-0", 0..1),
        ("bytes=0-999", 0..1000),
        ("bytes=262100-262200", 262_100..262_201),
        ("bytes=262144-", 262_144..size),
        ("bytes=-7", size - 7..size),
        ("bytes=699999-800000", 699_999..size),
        ("bytes=6-16,0-4", 6..17),
    ] {
        let page = site.get(&path, &[("Range", range)]);
        assert_eq!(page.status, 206, "{range}");
        let told = format!("bytes {}-{}/{size}", span.start, span.end - 1);
        assert_eq!(page.field("Content-Range"), told);
        assert_eq!(page.body, site.big[span], "{range}");
    }
    for whole in ["bytes=0-1,x", "bytes=5-2", "lines=1-2"] {
        assert_eq!(site.get(&path, &[("Range", whole)]).status, 200, "{whole}");
    }
    let outside = site.get(&path, &[("Range", "bytes=700000-")]);
    assert_eq!(outside.status, 416);
    assert_eq!(outside.field("Content-Range"), "bytes */700000");
    let other = site.get(&path, &[("Range", "bytes=0-1"), ("If-Range", "\"other\"")]);
    assert_eq!((other.status, other.body.len()), (200, size));
}

#[test]
fn a_client_that_has_it_gets_nothing() {
    let site = Site::new();
    let (path, cid) = (site.path("hello.txt"), site.cid("hello.txt"));
    let dir = site.path("plain/");
    let listing = site.get(&dir, &[]).field("Etag").to_owned();
    assert!(listing.starts_with("\"DirIndex-"), "{listing}");
    for (path, tag, status) in [
        (&path, format!("\"{cid}\""), 304),
        (&path, format!("\"x\", W/\"{cid}\""), 304),
        (&path, "*".into(), 304),
        (&path, "\"x\"".into(), 200),
        (&dir, listing, 304),
        (&format!("{path}?format=raw"), format!("\"{cid}.raw\""), 304),
        (&format!("{path}?format=raw"), format!("\"{cid}\""), 200),
    ] {
        let page = site.get(path, &[("If-None-Match", &tag)]);
        assert_eq!(page.status, status, "{path} {tag}");
        assert_eq!(page.body.is_empty(), status == 304);
    }
    let absent = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    let cached = ("Cache-Control", "only-if-cached");
    assert_eq!(site.get(absent, &[cached]).status, 412);
    assert_eq!(site.get(&path, &[cached]).status, 200);
}

#[test]
fn folders_show_their_index_or_their_entries() {
    let site = Site::new();
    let moved = site.get(&site.path("plain/sub%20dir?x=y"), &[]);
    assert_eq!(moved.status, 301);
    assert_eq!(moved.field("Location"), site.path("plain/sub%20dir/?x=y"));
    let index = site.get(&site.path("site/"), &[]);
    assert_eq!((index.text().as_str(), index.field("Content-Type")), ("<p>index</p>", "text/html"));
    assert_eq!(index.field("Cache-Control"), "public, max-age=29030400, immutable");
    let listing = site.get(&site.path("plain/"), &[]);
    let text = listing.text();
    assert!(listing.whole && listing.status == 200 && text.ends_with("</html>\n"), "{text}");
    assert!(!listing.field("Cache-Control").contains("immutable"));
    assert!(listing.field("Content-Security-Policy").starts_with("default-src 'none'"));
    // Every tag on the page is ours.
    assert!(!text.contains("<img") && !text.contains("<script") && !text.contains('\u{202e}'));
    assert!(text.contains("&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#39;.txt"), "{text}");
    // A name that was escaped leads to its file.
    let links = text.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let inside: Vec<&str> = links.filter(|link| link.contains("/plain/")).collect();
    assert_eq!(inside.len(), 4, "the folder above and three entries: {text}");
    for link in inside {
        let status = site.get(link, &[]).status;
        assert_eq!(
            status,
            if link.ends_with("dir") || link.ends_with("..") { 301 } else { 200 },
            "{link}"
        );
    }
    let head = ask(&site.daemon.gateway, "HEAD", &site.path("plain/"), &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn formats_are_served_or_refused_by_name() {
    let site = Site::new();
    let cid = site.cid("hello.txt");
    let node = site.repo.feed(["block", "put", "--cid-codec=dag-json"], b"{\"a\":[1]}").text();
    let path = format!("/ipfs/{cid}");
    let raw = site.get(&format!("{path}?format=raw"), &[]);
    assert_eq!(raw.body, site.repo.run(["block", "get", &cid]).out);
    let saved = format!("attachment; filename=\"{cid}.bin\"; filename*=UTF-8''{cid}.bin");
    for (name, value) in [
        ("Content-Type", "application/vnd.ipld.raw"),
        ("Content-Disposition", saved.as_str()),
        ("X-Content-Type-Options", "nosniff"),
        ("Etag", &format!("\"{cid}.raw\"")),
        ("Content-Location", ""),
    ] {
        assert_eq!(raw.field(name), value, "{name}");
    }
    let part = site.get(&format!("{path}?format=raw"), &[("Range", "bytes=1-3")]);
    assert_eq!((part.status, part.body.as_slice()), (206, &raw.body[1..4]));
    let accepted = site.get(&path, &[("Accept", "application/vnd.ipld.raw")]);
    assert_eq!(accepted.body, raw.body);
    assert_eq!(accepted.field("Content-Location"), format!("{path}?format=raw"));
    let tar = site.get(&site.path("site/?format=tar"), &[]);
    let mut archive = ::tar::Archive::new(tar.body.as_slice());
    let names =
        archive.entries().unwrap().map(|member| member.unwrap().path().unwrap().into_owned());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["site", "site/index.html"].map(std::path::PathBuf::from)
    );
    assert!(tar.whole && tar.field("Etag").starts_with("W/\""));
    assert_eq!(tar.field("Content-Type"), "application/x-tar");
    let json = site.get(&format!("/ipfs/{node}"), &[]);
    assert_eq!((json.text().as_str(), json.status), ("{\"a\":[1]}", 200));
    assert_eq!(json.field("Content-Type"), "application/vnd.ipld.dag-json");
    for (path, status) in [
        (format!("/ipfs/{node}?format=dag-json"), 200),
        (format!("/ipfs/{node}?format=dag-cbor"), 406),
        (format!("/ipfs/{node}?format=json"), 200),
        (format!("/ipfs/{node}?format=cbor"), 406),
        (format!("/ipfs/{node}?format=tar"), 400),
        (format!("/ipfs/{node}/a/0"), 501),
        (format!("/ipfs/{node}/b"), 404),
        (format!("{path}?format=dag-json"), 406),
        (format!("{path}?format=json"), 200),
        (format!("{path}?format=car&dag-scope=some"), 400),
        (format!("{path}?format=car&car-version=2"), 400),
        (format!("{path}?format=ipns-record"), 400),
        (format!("{path}?format=zip"), 400),
    ] {
        assert_eq!(site.get(&path, &[]).status, status, "{path}");
    }
}

#[test]
fn what_cannot_be_served_is_refused_in_a_line() {
    let site = Site::new();
    let absent = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    for (method, path, status) in [
        ("GET", absent, 404),
        ("HEAD", absent, 404),
        ("GET", &site.path("none"), 404),
        ("GET", &site.path("hello.txt/x"), 404),
        ("GET", "/ipfs/nonsense", 400),
        ("GET", "/ipfs/%ff", 400),
        ("GET", &site.path("%2e%2e/x"), 400),
        ("GET", &site.path("plain/%00%0d%0a"), 404),
        ("GET", &site.path(&"a/".repeat(5000)), 404),
        ("GET", &site.path(&"a/".repeat(10_000)), 400),
        ("GET", "/ipns/example.com", 501),
        ("GET", "/", 404),
        ("GET", "/api/v0/id", 404),
        ("POST", "/api/v0/id", 405),
        ("POST", &site.path("hello.txt"), 405),
        ("DELETE", &site.path("hello.txt"), 405),
        ("OPTIONS", &site.path("hello.txt"), 200),
    ] {
        let page = ask(&site.daemon.gateway, method, path, &[]);
        assert_eq!(page.status, status, "{method} {path}");
        assert_eq!(page.field("Access-Control-Allow-Origin"), "*");
        let lines = if method == "HEAD" || method == "OPTIONS" { 0 } else { 1 };
        assert_eq!(page.text().lines().count(), lines, "{}", page.text());
    }
    let worker = [("Service-Worker", "script")];
    assert_eq!(site.get(&format!("/ipfs/{}", site.root), &worker).status, 400);
    assert_eq!(site.get(&site.path("hello.txt"), &worker).status, 200);
    // Bounds hold, and the gateway goes on.
    let long = "x".repeat(200 << 10);
    assert_eq!(site.get("/", &[("X-Long", &long)]).status, 431);
    assert_eq!(send(&site.daemon.gateway, b"nonsense\r\n\r\n", false).status, 400);
    assert_eq!(site.get(&site.path("hello.txt"), &[]).status, 200);
    assert_eq!(site.daemon.stop().0.code(), Some(0));
    assert!(!site.repo.root().join("gateway").exists());
}

#[test]
fn each_root_has_an_origin_on_localhost() {
    let site = Site::new();
    let host = format!("localhost:{}", port(&site.daemon.gateway));
    let v1 =
        site.repo.ok(["add", "-r", "-Q", "--cid-version=1", "--raw-leaves=false", "-n", "tree"]);
    let moved = site.get(&site.path("hello.txt?x=y"), &[("Host", &host)]);
    assert_eq!(moved.status, 301);
    let target = moved.field("Location");
    let rest = target.strip_prefix("http://").unwrap();
    let (own, path) = rest.split_once('/').unwrap();
    let label = own.strip_suffix(&format!(".ipfs.{host}")).unwrap();
    assert!(label.starts_with("bafybei") && path == "hello.txt?x=y", "{target} {v1}");
    let page = site.get("/hello.txt", &[("Host", own)]);
    assert_eq!(page.text(), "hello\n");
    assert_eq!(page.field("X-Ipfs-Path"), format!("/ipfs/{label}/hello.txt"));
    let folder = site.get("/plain", &[("Host", own)]);
    assert_eq!((folder.status, folder.field("Location")), (301, "/plain/"));
    let listing = site.get("/plain/", &[("Host", own)]).text();
    assert!(listing.contains("href=\"/plain/sub%20dir\""), "{listing}");
    assert_eq!(site.get("/api/v0/id", &[("Host", own)]).status, 404);
    // No path leads to another host.
    let folder = site.get("//plain", &[("Host", own)]);
    assert_eq!((folder.status, folder.field("Location")), (301, "/plain/"));
    let v0 = format!("{}.ipfs.{host}", site.root);
    let moved = site.get("/", &[("Host", &v0)]);
    assert_eq!(moved.field("Location"), format!("http://{own}/"));
}

#[test]
fn a_file_with_a_hole_is_not_taken_for_a_whole_one() {
    let repo = Repo::for_daemon();
    repo.file("big", keystream("hole", 600_000));
    let root = repo.ok(["add", "-Q", "--pin=false", "big"]);
    let leaves = repo.ok(["refs", &root]);
    let last = leaves.lines().last().unwrap();
    repo.ok(["block", "rm", last]);
    let daemon = Daemon::offline(&repo);
    let path = format!("/ipfs/{root}");
    let page = ask(&daemon.gateway, "GET", &path, &[]);
    assert!(page.status == 200 && !page.whole, "{} bytes", page.body.len());
    let part = ask(&daemon.gateway, "GET", &path, &[("Range", "bytes=0-99999")]);
    assert!(part.status == 206 && part.whole && part.body.len() == 100_000);
    let tar = ask(&daemon.gateway, "GET", &format!("{path}?format=tar"), &[]);
    assert!(tar.status == 200 && !tar.whole);
}

#[test]
fn a_whole_dag_comes_as_the_car_that_export_writes() {
    let site = Site::new();
    let root = site.path("");
    let cid = root.trim_start_matches("/ipfs/").trim_end_matches('/').to_owned();
    let car = site.get(&format!("/ipfs/{cid}?format=car"), &[]);
    assert!(car.status == 200 && car.whole, "{}", car.text());
    assert!(car.field("Content-Type").starts_with("application/vnd.ipld.car; version=1"));
    assert_eq!(car.field("X-Content-Type-Options"), "nosniff");
    let exported = site.repo.run(["dag", "export", &cid]);
    assert_eq!((exported.code, &exported.out), (0, &car.body));
    let asked = site.get(&format!("/ipfs/{cid}"), &[("Accept", "application/vnd.ipld.car")]);
    assert_eq!(asked.body, car.body);
}

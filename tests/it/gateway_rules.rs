//! The gateway under rules: those of a site (`_redirects`) and those of its operator (`Gateway.*`).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::gateway_fixtures::Fixtures;
use crate::harness::{Daemon, Repo, keystream};
use crate::http_client::{Answer, ask};

/// A daemon over one folder, asked at the folder's own host.
struct Own {
    daemon: Daemon,
    host: String,
    root: String,
    _repo: Repo,
}

impl Own {
    fn new(files: &[(&str, &str)]) -> Self {
        let repo = Repo::for_daemon();
        for (name, content) in files {
            repo.file(format!("site/{name}"), content);
        }
        let root = repo.ok(["add", "-r", "-Q", "--cid-version=1", "site"]);
        let daemon = Daemon::start(&repo);
        let port = daemon.gateway.rsplit(':').next().unwrap().to_owned();
        Self { host: format!("{root}.ipfs.localhost:{port}"), daemon, root, _repo: repo }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let host = ("Host", self.host.as_str());
        ask(&self.daemon.gateway, "GET", path, &[&[host], headers].concat())
    }
}

const RULES: &str = "/redirect-one /one.html\n/302 /two.html 302\n/200-index /index.html 200\n\
                     /posts/:year/:title /articles/:year/:title 301\n/splat/* /other/:splat 301\n\
                     /away/* https://example.com/:splat 307\n/folder /articles 200\n\
                     /not-found/* /404.html 404\n/gone/* /410.html 410\n/unavail/* /451.html 451\n\
                     /lost/* /nowhere.html 404\n/* /index.html 200\n";

#[test]
fn a_sites_own_rules_stand_in_for_what_is_not_there() {
    let site = Own::new(&[
        ("_redirects", RULES),
        ("index.html", "my index"),
        ("one.html", "my one"),
        ("404.html", "my 404"),
        ("410.html", "my 410"),
        ("451.html", "my 451"),
        ("articles/a.html", "an article"),
    ]);
    for (path, status, location, body) in [
        ("/one.html", 200, "", "my one"),
        ("/redirect-one", 301, "/one.html", ""),
        ("/redirect-one/?a=b", 301, "/one.html?a=b", ""),
        ("/302", 302, "/two.html", ""),
        ("/200-index", 200, "", "my index"),
        ("/posts/2022/hello", 301, "/articles/2022/hello", ""),
        ("/splat/a/b.html?x#y", 301, "/other/a/b.html?x", ""),
        ("/away/x", 307, "https://example.com/x", ""),
        ("/not-found/x", 404, "", "my 404"),
        ("/gone/x", 410, "", "my 410"),
        ("/unavail/x", 451, "", "my 451"),
        ("/catch-all", 200, "", "my index"),
        ("/articles/a.html", 200, "", "an article"),
        // The page of an error is not there itself: that is the error then.
        ("/lost/x", 404, "", "no link named \"nowhere.html\""),
    ] {
        let page = site.get(path, &[]);
        assert_eq!((page.status, page.field("Location")), (status, location), "{path}");
        assert!(page.text().starts_with(body), "{path}: {}", page.text());
    }
    let custom = site.get("/not-found/x", &[("Range", "bytes=0-1")]);
    assert_eq!((custom.status, custom.text().as_str()), (404, "my 404"));
    assert_eq!(custom.field("Cache-Control"), "public, max-age=29030400, immutable");
    assert_eq!(custom.field("Content-Type"), "text/html");
    let tag = site.get("/catch-all", &[]).field("Etag").to_owned();
    assert_eq!(site.get("/catch-all", &[("If-None-Match", &tag)]).status, 304);
    // A folder in place of a path has the address that was asked for.
    let folder = site.get("/folder", &[]);
    assert_eq!((folder.status, folder.field("Location")), (301, "/folder/"));
    assert!(site.get("/folder/", &[]).text().contains("a.html"));
    // Other forms, and hosts that all sites share, know no rules.
    assert_eq!(site.get("/catch-all?format=raw", &[]).status, 404);
    let shared = format!("/ipfs/{}/redirect-one", site.root);
    assert_eq!(ask(&site.daemon.gateway, "GET", &shared, &[]).status, 404);
}

#[test]
fn rules_that_cannot_be_read_are_told() {
    for (rules, cause) in [
        ("/a /b 301!\n".to_owned(), "invalid status code"),
        ("/a /b 999\n".to_owned(), "unsupported status code"),
        ("/a /b\n".repeat(20_000), "redirects file size cannot exceed 65536 bytes"),
    ] {
        let site = Own::new(&[("_redirects", &rules), ("found.html", "my found")]);
        let page = site.get("/not-found", &[]);
        assert_eq!(page.status, 500);
        let text = page.text();
        assert!(text.starts_with("could not parse _redirects:") && text.contains(cause), "{text}");
        assert_eq!(site.get("/found.html", &[]).text(), "my found");
    }
}

/// A daemon with settings, over a file of 1,000,000 bytes and a small one.
fn configured(settings: &[(&str, &str)]) -> (Repo, Daemon, String, String) {
    let repo = Repo::for_daemon();
    for (key, value) in settings {
        repo.ok(["config", "--json", key, value]);
    }
    repo.file("big", keystream("rules", 1_000_000));
    repo.file("small", "hello\n");
    let [big, small] = ["big", "small"].map(|name| repo.ok(["add", "-Q", name]));
    let daemon = Daemon::start(&repo);
    (repo, daemon, format!("/ipfs/{big}"), format!("/ipfs/{small}"))
}

#[test]
fn operators_decide_what_is_served() {
    let (_repo, daemon, big, small) = configured(&[
        ("Gateway.RootRedirect", "\"/ipfs/bafkqaaa\""),
        (
            "Gateway.HTTPHeaders",
            r#"{"X-Any": ["a", "b"], "Access-Control-Allow-Origin": ["https://x.example"]}"#,
        ),
        ("Gateway.AllowCodecConversion", "true"),
        ("Gateway.DisableHTMLErrors", "true"),
        ("Gateway.MaxRangeRequestFileSize", "500000"),
    ]);
    let get = |path: &str, headers: &[(&str, &str)]| ask(&daemon.gateway, "GET", path, headers);
    let root = get("/", &[]);
    assert_eq!((root.status, root.field("Location")), (302, "/ipfs/bafkqaaa"));
    let page = get(&small, &[]);
    assert_eq!(page.field("X-Any"), "a");
    assert_eq!(page.field("Access-Control-Allow-Origin"), "https://x.example");
    let json = get(&format!("{small}?format=dag-json"), &[]);
    assert_eq!(json.field("Content-Type"), "application/vnd.ipld.dag-json");
    assert!(json.text().starts_with("{\"Data\":"), "{}", json.text());
    let refused = get("/ipfs/nonsense", &[("Accept", "text/html")]);
    assert_eq!(refused.field("Content-Type"), "text/plain; charset=utf-8");
    assert_eq!(refused.field("X-Any"), "a");
    let range = [("Range", "bytes=0-1")];
    assert_eq!(get(&big, &range).status, 501);
    assert_eq!(get(&small, &range).status, 206);
    assert_eq!(get(&big, &[]).body.len(), 1_000_000);
    let version = get("/version", &[]).text();
    let ours = env!("CARGO_PKG_VERSION");
    assert_eq!(version, format!("Commit: henge-{ours}\nClient Version: henge/{ours}\n"));
}

#[test]
fn a_gateway_may_serve_only_what_clients_can_check() {
    let (_repo, daemon, _, small) = configured(&[
        ("Gateway.DeserializedResponses", "false"),
        (
            "Gateway.PublicGateways",
            r#"{"open.example": {"Paths": ["/ipfs"], "DeserializedResponses": true},
                "flat.example": {"Paths": ["/ipns"]},
                "sub.example": {"Paths": ["/ipfs"], "UseSubdomains": true, "DeserializedResponses": true},
                "localhost": null}"#,
        ),
    ]);
    let from = |host: &str, path: &str| ask(&daemon.gateway, "GET", path, &[("Host", host)]);
    let own = {
        let moved = from("sub.example", &small);
        assert_eq!(moved.status, 301);
        moved.field("Location").to_owned()
    };
    let label = own.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    for (host, path, status) in [
        ("127.0.0.1", small.clone(), 406),
        ("127.0.0.1", format!("{small}?format=raw"), 200),
        ("127.0.0.1", format!("{small}?format=car"), 200),
        ("127.0.0.1", format!("{small}/x?format=raw"), 406),
        ("127.0.0.1", format!("{small}?format=tar"), 406),
        // No host of its own any more.
        ("localhost", small.clone(), 406),
        ("open.example", small.clone(), 200),
        ("flat.example", small.clone(), 404),
        ("flat.example", "/ipns/example.com?format=ipns-record".into(), 501),
        (&label, "/".into(), 200),
    ] {
        let page = from(host, &path);
        assert_eq!(page.status, status, "{host} {path}: {}", page.text());
    }
}

#[test]
fn requests_beyond_the_bound_are_sent_away() {
    let (_repo, daemon, big, small) = configured(&[("Gateway.MaxConcurrentRequests", "1")]);
    // A reader that stops in the middle holds the one place.
    let mut slow = TcpStream::connect(&daemon.gateway).unwrap();
    // A million bytes may fit into the buffers of the sockets: enough of them do not.
    let request = format!("GET {big} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(64);
    slow.write_all(request.as_bytes()).unwrap();
    slow.read_exact(&mut [0; 1000]).unwrap();
    let mut busy = ask(&daemon.gateway, "GET", &small, &[]);
    // Between two of its requests the place is free for a moment.
    for _ in 0..100 {
        if busy.status == 429 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        busy = ask(&daemon.gateway, "GET", &small, &[]);
    }
    assert_eq!((busy.status, busy.field("Retry-After")), (429, "60"));
    assert_eq!(busy.field("Cache-Control"), "no-store");
    drop(slow);
    let since = std::time::Instant::now();
    while ask(&daemon.gateway, "GET", &small, &[]).status != 200 {
        assert!(since.elapsed().as_secs() < 20, "the place is not given back");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn headers_that_http_does_not_carry_keep_the_daemon_from_starting() {
    let repo = Repo::for_daemon();
    repo.ok(["config", "--json", "Gateway.HTTPHeaders", r#"{"X Y": ["a"]}"#]);
    let said = repo.run(["daemon"]);
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("Gateway.HTTPHeaders: \"X Y\" is no name of a header"),
        "{}",
        said.err
    );
}

#[test]
fn browsers_get_pages_of_data_and_of_errors() {
    let all = Fixtures::new();
    let html = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    for cid in [
        "baguqeeram5ujjqrwheyaty3w5gdsmoz6vittchvhk723jjqxk7hakxkd47xq",
        "bafyreibs4utpgbn7uqegmd2goqz4bkyflre2ek2iwv743fhvylwi4zeeim",
    ] {
        let moved = all.get(&format!("/ipfs/{cid}"), &html);
        assert_eq!((moved.status, moved.field("Location")), (301, &*format!("/ipfs/{cid}/")));
        let page = all.get(&format!("/ipfs/{cid}/"), &html);
        assert!(page.field("Etag").starts_with("\"DagIndex-"), "{}", page.field("Etag"));
        assert_eq!(page.field("Content-Type"), "text/html; charset=utf-8");
        assert_eq!(page.field("Content-Disposition"), "");
        assert!(!page.field("Cache-Control").contains("immutable"));
        assert_eq!(page.field("Vary"), "Accept");
        let text = page.text();
        assert!(text.contains("\"foo\": {") && text.ends_with("</html>\n"), "{text}");
        let link = text.split("<pre>").nth(1).unwrap().split("href=\"").nth(1).unwrap();
        let link = link.split('"').next().unwrap();
        assert_eq!(all.get(&format!("{link}/"), &html).status, 200, "{link}");
        let tag = page.field("Etag").to_owned();
        let known = [html[0], ("If-None-Match", &tag)];
        assert_eq!(all.get(&format!("/ipfs/{cid}/"), &known).status, 304);
        for (query, media) in [("?format=raw", "raw"), ("?download=true", "dag-")] {
            let page = all.get(&format!("/ipfs/{cid}{query}"), &html);
            assert!(page.field("Content-Type").contains(media), "{query}");
        }
    }
    let refused = all.get("/ipfs/%3Cscript%3E", &html);
    assert_eq!((refused.status, refused.field("Content-Type")), (400, "text/html; charset=utf-8"));
    assert!(!refused.text().contains("<script") && refused.text().contains("400 Bad Request"));
    assert!(refused.field("Content-Security-Policy").starts_with("default-src 'none'"));
    let names = all.get("/ipns/example.com", &[]);
    assert_eq!(names.status, 501);
    assert!(names.text().contains("names are not supported yet"), "{}", names.text());
}

#[test]
fn files_that_know_their_time_tell_it() {
    let all = Fixtures::new();
    let file = "/ipfs/bafybeidtgvwresstoqmkivwqbufitafctwfy2fnevv6hj67zfflv6qlesi";
    let page = all.get(file, &[]);
    let date = "Mon, 13 Jun 2022 22:18:12 GMT";
    assert_eq!(page.field("Last-Modified"), date);
    for (header, value, status) in [
        ("If-Modified-Since", date, 304),
        ("If-Modified-Since", "Mon, 13 Jun 2022 22:18:11 GMT", 200),
        ("If-Modified-Since", "yesterday", 200),
    ] {
        let page = all.get(file, &[(header, value)]);
        assert_eq!((page.status, page.body.is_empty()), (status, true), "{value}");
    }
    // A tag says more than a date.
    let both = [("If-Modified-Since", date), ("If-None-Match", "\"other\"")];
    assert_eq!(all.get(file, &both).status, 200);
    let folder = "/ipfs/bafybeifup24mfbx6iv4xo7k664gzlezzurdnyb36pogxulrb7ed23cxtym/";
    let listing = all.get(folder, &[("If-Modified-Since", "Sun, 01 Jan 2040 00:00:00 GMT")]);
    assert_eq!((listing.status, listing.field("Last-Modified")), (200, ""));
}

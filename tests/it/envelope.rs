//! The envelope of the RPC, byte by byte: status, header names, bodies and trailers as Kubo's.

use std::path::Path;

use crate::harness::{Daemon, Repo, keystream};
use crate::http_client::{Answer, Connection, head, multipart, post, upload};
use crate::surface::HELLO;

const EXPOSED: &str = "X-Stream-Output, X-Chunked-Output, X-Content-Length";

/// A daemon over a fresh repository with one small file.
fn served() -> (Repo, Daemon, String) {
    let repo = Repo::for_daemon();
    let daemon = Daemon::offline(&repo);
    let api = daemon.api();
    let added = upload(&api, "/api/v0/add", b"hello\n");
    assert_eq!(added.json()["Hash"], HELLO, "{added:?}");
    (repo, daemon, api)
}

/// A file of two chunks of which the second is gone.
fn torn(api: &str) -> String {
    let added = upload(api, "/api/v0/add?pin=false", &keystream("torn", 300_000)).json();
    let root = added["Hash"].as_str().unwrap().to_owned();
    let refs = post(api, &format!("/api/v0/refs?arg={root}")).text();
    let second: serde_json::Value = serde_json::from_str(refs.lines().nth(1).unwrap()).unwrap();
    let leaf = second["Ref"].as_str().unwrap();
    let removed = post(api, &format!("/api/v0/block/rm?arg={leaf}"));
    assert_eq!(removed.json(), serde_json::json!({ "Hash": leaf }));
    root
}

fn set(repo: &Repo, key: &str, json: &str) {
    repo.ok(["config", "--json", key, json]);
}

#[test]
fn replies_have_kubo_s_headers() {
    let (_repo, _daemon, api) = served();
    let cat = format!("/api/v0/cat?arg={HELLO}");
    for (target, kind, marks) in [
        ("/api/v0/version", "application/json", [None, None, None]),
        ("/api/v0/refs/local", "application/json", [Some("1"), None, None]),
        (cat.as_str(), "text/plain", [None, Some("1"), Some("6")]),
    ] {
        let answer = post(&api, target);
        assert_eq!(answer.status, 200, "{target}");
        let found = ["X-Chunked-Output", "X-Stream-Output", "X-Content-Length"];
        assert_eq!(found.map(|name| answer.header(name)), marks, "{answer:?}");
        for (name, value) in [
            ("Content-Type", kind),
            ("Access-Control-Allow-Headers", EXPOSED),
            ("Access-Control-Expose-Headers", EXPOSED),
            ("Vary", "Origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{target}: {answer:?}");
        }
        assert!(answer.header("Server").unwrap().starts_with("kubo/"), "{answer:?}");
        let streams = marks != [None; 3];
        assert_eq!(answer.header("Trailer").is_some(), streams, "{answer:?}");
        assert_eq!(answer.header("Transfer-Encoding").is_some(), streams, "{answer:?}");
        assert_eq!((answer.stream_error(), answer.body.last()), (None, Some(&b'\n')));
    }
}

#[test]
fn refusals_are_kubo_s() {
    let (_repo, _daemon, api) = served();
    let said = |method: &str, target: &str| {
        let answer = Connection::open(&api).request(method, target, &[]);
        let kind = answer.header("Content-Type").unwrap_or_default().to_owned();
        (answer.status, kind, answer.text())
    };
    let text = |status, text: &str| (status, "text/plain; charset=utf-8".into(), text.into());
    let unknown = text(404, "404 page not found\n");
    for target in ["/api/v0/nothing", "/api/v0/daemon", "/api/v0", "/", "/api/v0/"] {
        assert_eq!(said("POST", target), unknown, "{target}");
    }
    assert_eq!(said("POST", "/api/v0/cat"), text(400, "argument \"ipfs-path\" is required\n"));
    assert_eq!(said("POST", "/api/v0/add"), text(400, "file argument 'path' is required\n"));
    for method in ["GET", "PUT", "DELETE"] {
        let refused = Connection::open(&api).request(method, "/api/v0/version", &[]);
        assert_eq!((refused.status, refused.header("Allow")), (405, Some("OPTIONS, POST")));
        assert_eq!(refused.text(), "405 - Method Not Allowed\n");
    }
    let head = Connection::open(&api).request("OPTIONS", "/api/v0/version", &[]);
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    // A command that fails says so in JSON.
    let (status, kind, body) =
        said("POST", "/api/v0/pin/rm?arg=QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    assert_eq!((status, kind.as_str()), (500, "application/json"));
    let error: serde_json::Value = serde_json::from_str(&body).unwrap();
    let wanted = serde_json::json!(
        { "Message": "not pinned or pinned indirectly", "Code": 0, "Type": "error" }
    );
    assert_eq!(error, wanted);
}

#[test]
fn booleans_and_scalars_of_a_query_are_read_as_kubo_reads_them() {
    let (_repo, _daemon, api) = served();
    let streams = |query: &str| {
        let answer = post(&api, &format!("/api/v0/pin/ls?{query}"));
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        answer.header("X-Chunked-Output").is_some()
    };
    for yes in ["stream", "stream=", "stream=1", "stream=true", "stream=T", "s=1"] {
        assert!(streams(yes), "{yes}");
    }
    for no in ["stream=0", "stream=false", "s=F", "", "nothing=7&nothing=8&timeout=1000ms"] {
        assert!(!streams(no), "{no}");
    }
    for (query, said) in [
        ("pin/ls?stream=maybe", "could not convert value \"maybe\" to type \"bool\""),
        ("pin/ls?stream=1&stream=1", "expected key stream to have only a single value"),
        ("cat?arg=x&length=many", "could not convert value \"many\""),
        ("cat?arg=x&offset=1&offset=2", "expected key offset"),
    ] {
        let answer = post(&api, &format!("/api/v0/{query}"));
        assert!(answer.status == 400 && answer.text().starts_with(said), "{query}: {answer:?}");
    }
}

/// What the parser of arguments and options refuses is text with status 400; whatever a command
/// finds wrong while it runs is JSON with status 500, also when the caller is to blame.
#[test]
fn the_parser_refuses_with_400_and_a_command_with_500() {
    let (_repo, _daemon, api) = served();
    for (query, said) in [
        ("pin/add", "argument \"ipfs-path\" is required"),
        ("block/put", "file argument 'data' is required"),
        ("config/replace", "file argument 'file' is required"),
        ("dag/put", "file argument 'object data' is required"),
        ("cat?arg=x&length=", "could not convert empty value to type \"int64\""),
        (
            "pin/ls?stream=no",
            "could not convert value \"no\" to type \"bool\" (for option \"-stream\")",
        ),
        ("add?cid-version=1&cid-version=0", "expected key cid-version to have only a single value"),
    ] {
        let answer = post(&api, &format!("/api/v0/{query}"));
        let kind = answer.header("Content-Type");
        assert_eq!((answer.status, kind), (400, Some("text/plain; charset=utf-8")), "{query}");
        assert!(answer.text().starts_with(said), "{query}: {answer:?}");
    }
    for (query, said) in [
        ("cat?arg=nonsense", "nonsense"),
        ("pin/ls?type=odd", "invalid type 'odd'"),
        ("pin/ls?arg=nonsense", "nonsense"),
        ("block/stat?arg=nonsense", "nonsense"),
        ("id?cid-base=base1", "base1"),
        ("config?arg=No.Such", "No not found"),
        ("dag/get?arg=QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN&output-codec=odd", "odd"),
    ] {
        let answer = post(&api, &format!("/api/v0/{query}"));
        assert_eq!(answer.status, 500, "{query}: {answer:?}");
        let error = answer.json();
        assert_eq!((&error["Code"], &error["Type"]), (&0.into(), &"error".into()), "{query}");
        assert!(error["Message"].as_str().unwrap().contains(said), "{query}: {error}");
    }
    for query in
        ["add?chunker=nonsense", "add?hash=odd", "block/put?mhtype=odd", "dag/put?store-codec=odd"]
    {
        let answer = upload(&api, &format!("/api/v0/{query}"), b"hello\n");
        assert_eq!((answer.status, &answer.json()["Type"]), (500, &"error".into()), "{query}");
    }
}

#[test]
fn an_upload_closes_the_connection_only_when_it_was_not_read_to_its_end() {
    let (_repo, _daemon, api) = served();
    let mut connection = Connection::open(&api);
    let (kind, body) = multipart("f", b"hello\n");
    let length = body.len().to_string();
    for query in ["add", "add?progress=true", "block/put", "add?chunker=nonsense", "add"] {
        let headers = [("Content-Type", kind), ("Content-Length", length.as_str())];
        connection.write(head("POST", &format!("/api/v0/{query}"), &headers).as_bytes());
        connection.write(&body);
        let answer = connection.answer();
        if answer.header("Connection").is_some() {
            // A command that refuses reads nothing; whether the little that was sent had arrived
            // by then is a matter of time.
            assert_eq!(query, "add?chunker=nonsense");
            connection = Connection::open(&api);
        }
    }
    // In chunks, of which the last comes late: the reply waits for it, but not long.
    let headers = [("Content-Type", kind), ("Transfer-Encoding", "chunked")];
    let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat();
    for (ends, closes) in [(true, None), (false, Some("close"))] {
        connection.write(head("POST", "/api/v0/add", &headers).as_bytes());
        connection.write(&chunk);
        if ends {
            connection.write(b"0\r\n\r\n");
        }
        let answer = connection.answer();
        assert_eq!((answer.status, answer.header("Connection")), (200, closes));
    }
    // The reply begins while the upload is on its way.
    let mut connection = Connection::open(&api);
    let (kind, body) = multipart("f", &keystream("early", 8 << 20));
    let length = body.len().to_string();
    let headers = [("Content-Type", kind), ("Content-Length", length.as_str())];
    connection.write(head("POST", "/api/v0/add?progress=true", &headers).as_bytes());
    connection.write(&body[..4 << 20]);
    let (status, fields) = connection.head();
    let closes = fields.iter().any(|(name, value)| name == "Connection" && value == "close");
    assert!(status == 200 && closes, "{fields:?}");
    // A body that no command asked for.
    let mut connection = Connection::open(&api);
    connection.write(head("POST", "/api/v0/version", &[("Content-Length", "5")]).as_bytes());
    assert_eq!(connection.answer().header("Connection"), Some("close"));
}

#[test]
fn arguments_repeat_and_may_stand_in_the_path() {
    let (_repo, _daemon, api) = served();
    let twice = post(&api, &format!("/api/v0/cat?arg={HELLO}&arg={HELLO}"));
    assert_eq!(twice.text(), "hello\nhello\n");
    let part = post(&api, &format!("/api/v0/cat?arg={HELLO}&o=1&l=3"));
    assert_eq!((part.text().as_str(), part.header("X-Content-Length")), ("ell", Some("3")));
    let pinned = post(&api, &format!("/api/v0/pin/add/{HELLO}?name=a%20b+c"));
    assert_eq!(pinned.json()["Pins"][0], HELLO);
    let named = post(&api, &format!("/api/v0/pin/ls/{HELLO}?names=1"));
    assert_eq!(named.json()["Keys"][HELLO]["Name"], "a b c");
    let many = post(&api, &format!("/api/v0/block/stat?arg={HELLO}&arg={HELLO}"));
    assert_eq!(many.status, 400);
}

#[test]
fn a_failure_in_the_middle_is_told_in_the_trailer_on_a_kept_connection_too() {
    let (_repo, _daemon, api) = served();
    let root = torn(&api);
    let mut connection = Connection::open(&api);
    for round in 0..3 {
        let fine = connection.request("POST", "/api/v0/version", &[("Content-Length", "0")]);
        assert_eq!((fine.status, fine.stream_error()), (200, None), "round {round}");
        let broken = connection.request("POST", &format!("/api/v0/cat?arg={root}"), &[]);
        assert_eq!(broken.status, 200);
        assert_eq!(broken.body, keystream("torn", 300_000)[..262_144], "round {round}");
        let said = broken.stream_error().unwrap_or_else(|| panic!("no trailer: {broken:?}"));
        assert!(
            said.contains("block was not found locally") || said.contains("could not find"),
            "{said}"
        );
        let whole = connection.request("POST", &format!("/api/v0/cat?arg={HELLO}"), &[]);
        assert_eq!((whole.text().as_str(), whole.stream_error()), ("hello\n", None));
    }
    let lines = connection.request("POST", &format!("/api/v0/refs?arg={root}&recursive=true"), &[]);
    assert_eq!(lines.status, 200);
}

#[test]
fn a_request_that_carries_te_already_is_served_the_same() {
    let (_repo, _daemon, api) = served();
    let root = torn(&api);
    let headers = [("TE", "trailers"), ("Connection", "TE")];
    let broken =
        Connection::open(&api).request("POST", &format!("/api/v0/cat?arg={root}"), &headers);
    assert!(broken.stream_error().is_some(), "{broken:?}");
}

#[test]
fn pages_from_elsewhere_are_refused_and_allowed_ones_told_so() {
    let repo = Repo::for_daemon();
    set(&repo, "API.HTTPHeaders", r#"{"Access-Control-Allow-Origin": ["https://good.example"]}"#);
    let daemon = Daemon::offline(&repo);
    let api = daemon.api();
    let ask = |method: &str, headers: &[(&str, &str)]| {
        Connection::open(&api).request(method, "/api/v0/version", headers)
    };
    let own = format!("http://localhost:{}", api.rsplit_once(':').unwrap().1);
    let echo = |answer: &Answer| answer.header("Access-Control-Allow-Origin").map(str::to_owned);
    for origin in ["https://good.example", own.as_str()] {
        for method in ["POST", "OPTIONS"] {
            let answer = ask(method, &[("Origin", origin)]);
            assert_eq!((answer.status, echo(&answer).as_deref()), (200, Some(origin)));
        }
    }
    for refused in [
        [("Origin", "https://evil.example")],
        [("Referer", "https://evil.example/x")],
        [("User-Agent", "Mozilla/5.0 (X11) Firefox/130")],
    ] {
        let answer = ask("POST", &refused);
        assert_eq!((answer.status, echo(&answer)), (403, None), "{refused:?}");
    }
    assert_eq!(ask("POST", &[("User-Agent", "curl/8")]).status, 200);
    assert_eq!(ask("POST", &[("User-Agent", "Mozilla/5.0 Electron/30")]).status, 200);
}

#[test]
fn secrets_open_what_they_name() {
    let repo = Repo::for_daemon();
    let secrets = r#"{"one": {"AuthSecret": "bearer:t0ken", "AllowedPaths": ["/api/v0/version"]}}"#;
    set(&repo, "API.Authorizations", secrets);
    let daemon = Daemon::offline(&repo);
    let status = |target: &str, headers: &[(&str, &str)]| {
        Connection::open(&daemon.api()).request("POST", target, headers).status
    };
    let secret = [("Authorization", "Bearer t0ken")];
    assert_eq!(status("/api/v0/version", &[]), 403);
    assert_eq!(status("/api/v0/version", &[("Authorization", "Bearer other")]), 403);
    assert_eq!(status("/api/v0/version", &secret), 200);
    assert_eq!(status("/api/v0/id", &secret), 403);
    assert!(repo.fails(["id"]).contains("403"));
    let with = |secret: &str| repo.run(["refs", "local", "--api-auth", secret]).code;
    assert_eq!((with("bearer:t0ken"), with("bearer:other")), (1, 1));
}

#[test]
fn a_listener_that_others_reach_needs_secrets() {
    let repo = Repo::for_daemon();
    set(&repo, "Addresses.API", "\"/ip4/0.0.0.0/tcp/0\"");
    let line = repo.fails(["daemon"]);
    assert!(line.contains("API.Authorizations") && line.contains("refusing"), "{line}");
    assert!(!repo.root().join("api").exists());
    let secrets = r#"{"one": {"AuthSecret": "bearer:t", "AllowedPaths": ["/api/v0"]}}"#;
    set(&repo, "API.Authorizations", secrets);
    let daemon = Daemon::offline(&repo);
    assert!(daemon.api().starts_with("127.0.0.1:"), "{}", daemon.api());
}

#[test]
fn a_unix_socket_serves_the_same() {
    let repo = Repo::for_daemon();
    let socket = repo.path("rpc.sock");
    set(&repo, "Addresses.API", &format!("\"/unix{}\"", socket.display()));
    let daemon = Daemon::offline(&repo);
    repo.file("hello", "hello\n");
    assert_eq!(repo.ok(["add", "-Q", "hello"]), HELLO);
    let named = format!("/unix{}", socket.display());
    assert_eq!(repo.ok(["cat", HELLO, "--api", &named]), "hello");
    daemon.stop();
    assert!(!Path::new(&socket).exists());
    assert_eq!(repo.ok(["cat", HELLO]), "hello");
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let (_repo, _daemon, api) = served();
    let long = "x".repeat(200 << 10);
    let large = Connection::open(&api).request("POST", "/api/v0/version", &[("X-Long", &long)]);
    assert_eq!(large.status, 431);
    let target = format!("/api/v0/cat?arg={long}");
    let uri = Connection::open(&api).request("POST", &target, &[]);
    assert!(matches!(uri.status, 414 | 431), "{uri:?}");
    let mut garbage = Connection::open(&api);
    garbage.write(b"\x16\x03\x01 no http at all\r\n\r\n");
    assert_eq!(garbage.answer().status, 400);
    assert_eq!(post(&api, "/api/v0/version").status, 200);
}

#[test]
fn clients_that_go_away_leave_nothing_behind() {
    let (_repo, _daemon, api) = served();
    let added = upload(&api, "/api/v0/add?pin=false", &keystream("large", 16 << 20)).json();
    let root = added["Hash"].as_str().unwrap();
    for _ in 0..4 {
        let mut leaver = Connection::open(&api);
        leaver.write(head("POST", &format!("/api/v0/cat?arg={root}"), &[]).as_bytes());
        assert_eq!(leaver.head().0, 200);
        assert!(leaver.chunk().is_some());
    }
    // Uploads that stop: in the head of a part, and in the middle of a file.
    for piece in [
        "--edge\r\nContent-Dis",
        "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nhalf",
    ] {
        let mut leaver = Connection::open(&api);
        let kind = "multipart/form-data; boundary=edge";
        let headers = [("Content-Type", kind), ("Content-Length", "1000")];
        leaver.write(head("POST", "/api/v0/add", &headers).as_bytes());
        leaver.write(piece.as_bytes());
    }
    // Collection takes the gate alone, so it ends only when all of those have let go.
    let gone = post(&api, "/api/v0/repo/gc");
    assert_eq!((gone.status, gone.stream_error()), (200, None));
    assert!(gone.text().lines().count() >= 64, "{}", gone.text().lines().count());
    assert_eq!(post(&api, &format!("/api/v0/cat?arg={HELLO}")).text(), "hello\n");
}

#[test]
fn an_add_tells_its_progress_only_when_asked() {
    let (_repo, _daemon, api) = served();
    let content = keystream("progress", 2 << 20);
    let told = |query: &str| {
        let text = upload(&api, &format!("/api/v0/add?{query}"), &content).text();
        text.lines().filter(|line| line.contains("\"Bytes\"")).count()
    };
    assert_eq!((told(""), told("progress=false"), told("pin=0&progress=0")), (0, 0, 0));
    assert!(told("progress=true") > 0 && told("p=1") > 0);
}

#[test]
fn a_compression_level_that_is_not_used_may_be_any() {
    let (_repo, _daemon, api) = served();
    let get = |query: &str| post(&api, &format!("/api/v0/get?arg={HELLO}&{query}"));
    let plain = get("archive=true&compress=false&compression-level=-1");
    assert_eq!((plain.status, &plain.body[512..518]), (200, &b"hello\n"[..]));
    let refused = get("compress=true&compression-level=-1");
    assert_eq!(refused.json()["Message"], "compression level must be between 1 and 9");
    assert_eq!(get("compress=true&compression-level=9").body[..2], [0x1f, 0x8b]);
}

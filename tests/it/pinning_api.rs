//! The pinning service over HTTP: its schema, its refusals, its bounds; and our own `pin remote` against
//! it.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Daemon, Repo, keystream, said};
use crate::http_client::{Answer, Connection, head};
use crate::surface::{ABSENT, HELLO, lines};
use crate::swarm::Node;

const IDENTITY: &str = "bafkqaaa";

/// A daemon with a pinning service, and a token of a tenant.
pub struct Pinning {
    pub repo: Repo,
    pub daemon: Daemon,
    /// Host and port.
    pub address: String,
    pub token: String,
}

/// A token of a tenant, to pin with unless it is said.
pub fn token(repo: &Repo, tenant: &str, more: &[&str]) -> String {
    let tenant = format!("--tenant={tenant}");
    let more = if more.is_empty() { &["--scope=pin"] } else { more };
    let told = repo.ok([&["token", "issue", "--enc=json", &tenant], more].concat());
    let told: Value = serde_json::from_str(&told).unwrap();
    told["Secret"].as_str().unwrap().to_owned()
}

/// Where a daemon says that its service listens.
pub fn address(repo: &Repo) -> String {
    let log = std::fs::read_to_string(repo.path("daemon.log")).unwrap();
    let line = log.lines().find_map(|line| line.strip_prefix("Pinning service listening on "));
    let parts: Vec<&str> = line.unwrap().split('/').collect();
    format!("{}:{}", parts[2], parts[4])
}

impl Pinning {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With further settings.
    pub fn with(settings: &[(&str, Value)]) -> Self {
        let repo = Repo::for_daemon();
        repo.ok(["config", "Pinning.Service.Listen", "/ip4/127.0.0.1/tcp/0"]);
        for (key, value) in settings {
            repo.ok(["config", "--json", key, &value.to_string()]);
        }
        repo.ok(["tenant", "add", "acme"]);
        let token = token(&repo, "acme", &[]);
        let daemon = Daemon::start(&repo);
        let address = address(&repo);
        Self { repo, daemon, address, token }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks with the token and a body.
    pub fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Answer {
        let text = body.map(ToString::to_string).unwrap_or_default();
        self.raw(method, target, &[("Content-Type", "application/json")], text.as_bytes())
    }

    fn raw(&self, method: &str, target: &str, more: &[(&str, &str)], body: &[u8]) -> Answer {
        let (bearer, length) = (format!("Bearer {}", self.token), body.len().to_string());
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(more);
        if !body.is_empty() {
            headers.push(("Content-Length", &length));
        }
        let mut connection = Connection::open(&self.address);
        connection.write(head(method, target, &headers).as_bytes());
        connection.write(body);
        connection.answer()
    }

    pub fn add(&self, pin: &Value) -> Value {
        let answer = self.ask("POST", "/pins", Some(pin));
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()
    }

    /// Waits until a request has ended.
    pub fn settled(&self, id: &str) -> Value {
        let since = Instant::now();
        loop {
            let told = self.ask("GET", &format!("/pins/{id}"), None).json();
            if told["status"] == "pinned" || told["status"] == "failed" {
                return told;
            }
            assert!(since.elapsed() < Duration::from_secs(60), "{told}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The word and line of a refusal, which is nothing but them.
fn failure(answer: &Answer) -> (String, String) {
    assert_eq!(answer.field("Content-Type"), "application/json");
    let told = answer.json();
    let text = |name: &str| told["error"][name].as_str().unwrap().to_owned();
    assert_eq!(told, json!({"error": {"reason": text("reason"), "details": text("details")}}));
    (text("reason"), text("details"))
}

fn refused(answer: &Answer, status: u16, reason: &str, word: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let (said, details) = failure(answer);
    assert!(said == reason && details.contains(word), "{said}: {details}");
}

#[test]
fn a_pin_lives_through_the_api() {
    let service = Pinning::start();
    let pin = json!({
        "cid": IDENTITY, "name": "ą \u{0}", "meta": {"app": "x"},
        "origins": ["/ip4/203.0.113.1/tcp/1/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ"],
    });
    let told = service.add(&pin);
    assert_eq!(told["pin"], pin);
    let delegates = told["delegates"].as_array().unwrap();
    assert!((1..=20).contains(&delegates.len()), "{told}");
    let id = told["requestid"].as_str().unwrap();
    assert_eq!(service.settled(id)["status"], "pinned");
    let list = |query: &str| service.ask("GET", &format!("/pins?{query}"), None).json();
    let found = list("");
    assert_eq!((&found["count"], &found["results"][0]["requestid"]), (&json!(1), &json!(id)));
    assert_eq!(found["results"][0]["created"], told["created"]);
    for (query, count) in [
        ("name=%C4%85%20%00", 1),
        ("name=%C4%84&match=ipartial", 1),
        ("name=x&match=partial", 0),
        ("meta=%7B%22app%22:%22x%22%7D", 1),
        ("meta[app]=y", 0),
        ("status=queued,pinning,failed", 0),
        (&format!("cid={IDENTITY}"), 1),
        (&format!("cid={HELLO}"), 0),
        ("before=2020-01-01T00:00:00Z", 0),
        ("after=2020-01-01T00:00:00%2B02:00", 1),
    ] {
        assert_eq!(list(query)["count"], count, "{query}");
    }
    let second = json!({"cid": HELLO, "name": "other"});
    let replaced = service.ask("POST", &format!("/pins/{id}"), Some(&second));
    assert_eq!(replaced.status, 202, "{}", replaced.text());
    let new = replaced.json()["requestid"].as_str().unwrap().to_owned();
    assert!(new != id && service.ask("GET", &format!("/pins/{id}"), None).status == 404);
    let gone = service.ask("DELETE", &format!("/pins/{new}"), None);
    assert!(gone.status == 202 && gone.body.is_empty(), "{} {}", gone.status, gone.text());
    assert_eq!(service.ask("DELETE", &format!("/pins/{new}"), None).status, 404);
    assert_eq!(list("status=queued,pinning,pinned,failed")["count"], 0);
}

#[test]
fn requests_that_cannot_be_meant_are_refused_with_a_reason() {
    let service = Pinning::start();
    let json_type = ("Content-Type", "application/json");
    let post = |body: &str| service.raw("POST", "/pins", &[json_type], body.as_bytes());
    for (body, word) in [
        ("", "no Pin"),
        ("{", "no Pin"),
        ("{\"cid\":\"nonsense\"}", "nonsense"),
        (&json!({"cid": IDENTITY, "name": "x".repeat(256)}).to_string(), "name"),
        (&json!({"cid": IDENTITY, "origins": ["x"]}).to_string(), "origins"),
        (&json!({"cid": IDENTITY, "meta": {"x": 1}}).to_string(), "no Pin"),
        (&"[".repeat(1 << 19), "no Pin"),
    ] {
        refused(&post(body), 400, "BAD_REQUEST", word);
    }
    for query in
        ["limit=0", "cid=x", "status=odd", "before=x", "meta=x", "match=x", "name=a&name=b"]
    {
        let answer = service.ask("GET", &format!("/pins?{query}"), None);
        refused(&answer, 400, "BAD_REQUEST", query.split('=').next().unwrap());
    }
    let pin = json!({"cid": IDENTITY}).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let answer = service.raw("POST", "/pins", &[("Content-Type", kind)], pin.as_bytes());
        refused(&answer, 415, "UNSUPPORTED_MEDIA_TYPE", "application/json");
    }
    let kind = [("Content-Type", "Application/JSON; charset=utf-8")];
    assert_eq!(service.raw("POST", "/pins", &kind, pin.as_bytes()).status, 202);
    let long = format!("{pin}{}", " ".repeat(1 << 20));
    refused(&post(&long), 413, "PAYLOAD_TOO_LARGE", "1048576");
    let chunked = [json_type, ("Transfer-Encoding", "chunked")];
    let mut connection = Connection::open(&service.address);
    let bearer = format!("Bearer {}", service.token);
    let headers = [&[("Authorization", bearer.as_str())][..], &chunked].concat();
    connection.write(head("POST", "/pins", &headers).as_bytes());
    let piece = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
    (0..20).for_each(|_| _ = connection.write(piece.as_bytes()));
    refused(&connection.answer(), 413, "PAYLOAD_TOO_LARGE", "1048576");
    for (method, target, allowed) in [
        ("DELETE", "/pins", "GET, OPTIONS, POST"),
        ("PUT", "/pins/x", "DELETE, GET, OPTIONS, POST"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
    ] {
        let answer = service.raw(method, target, &[], b"");
        refused(&answer, 405, "METHOD_NOT_ALLOWED", allowed);
        assert_eq!(answer.field("Allow"), allowed);
    }
    for target in ["/", "/pins/", "/pins/a/b", "/api/v0/id"] {
        refused(&service.raw("GET", target, &[], b""), 404, "NOT_FOUND", "");
    }
    for id in ["x", "00000000-0000-0000-0000-000000000000", "..", "%00", &"x".repeat(10_000)] {
        refused(&service.ask("GET", &format!("/pins/{id}"), None), 404, "NOT_FOUND", "");
    }
    let mut connection = Connection::open(&service.address);
    let bare = connection.request("GET", "/pins", &[]);
    refused(&bare, 401, "UNAUTHORIZED", "access token");
    assert_eq!(bare.field("WWW-Authenticate"), "Bearer");
    let wrong = connection.request("GET", "/pins/x", &[("Authorization", "Bearer wrong")]);
    refused(&wrong, 401, "UNAUTHORIZED", "access token");
}

#[test]
fn quotas_and_rates_are_told_with_their_own_statuses() {
    let service = Pinning::start();
    service.repo.ok(["tenant", "limits", "acme", "--max-pins=2"]);
    let pin = json!({"cid": IDENTITY});
    let made = [service.add(&pin), service.add(&pin)];
    let full = service.ask("POST", "/pins", Some(&pin));
    assert_eq!((full.status, failure(&full).0.as_str()), (409, "INSUFFICIENT_FUNDS"));
    // In the place of one of them it still fits; and without one of them.
    let at = format!("/pins/{}", made[0]["requestid"].as_str().unwrap());
    let replaced = service.ask("POST", &at, Some(&pin));
    assert_eq!(replaced.status, 202, "{}", replaced.text());
    let at = format!("/pins/{}", made[1]["requestid"].as_str().unwrap());
    assert_eq!(service.ask("DELETE", &at, None).status, 202);
    service.add(&pin);
    service.repo.ok(["tenant", "limits", "acme", "--max-rate=1"]);
    let mut asked = (0..20).map(|_| service.ask("GET", "/pins", None));
    let refused = asked.find(|answer| answer.status != 200).expect("a refusal");
    assert_eq!((refused.status, failure(&refused).0.as_str()), (429, "TOO_MANY_REQUESTS"));
    let wait: u64 = refused.field("Retry-After").parse().unwrap();
    assert_eq!(wait, 1);
    std::thread::sleep(Duration::from_secs(wait));
    assert_eq!(service.ask("GET", "/pins", None).status, 200);
}

/// Whoever sends all of a body before it listens, as proxies do, hears that it was too long.
#[test]
fn a_body_that_is_too_long_is_heard() {
    let service = Pinning::start();
    let bearer = format!("Bearer {}", service.token);
    let body = " ".repeat(3 << 20);
    let length = body.len().to_string();
    let own = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    for more in [("Content-Length", length.as_str()), ("Transfer-Encoding", "chunked")] {
        let mut connection = Connection::open(&service.address);
        connection.write(head("POST", "/pins", &[&own[..], &[more]].concat()).as_bytes());
        match more.0 {
            "Content-Length" => assert!(connection.write(body.as_bytes())),
            _ => {
                let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
                assert!(connection.write(chunk.as_bytes()));
            }
        }
        refused(&connection.answer(), 413, "PAYLOAD_TOO_LARGE", "1048576");
    }
    // Beyond what is dropped it is hung up on; who asks first need not send.
    let asks = [&own[..], &[("Content-Length", "9999999"), ("Expect", "100-continue")]].concat();
    let mut connection = Connection::open(&service.address);
    connection.write(head("POST", "/pins", &asks).as_bytes());
    refused(&connection.answer(), 413, "PAYLOAD_TOO_LARGE", "1048576");
}

#[test]
fn slow_and_many_clients_are_bounded() {
    let service = Pinning::start();
    let resident = || {
        let path = format!("/proc/{}/status", service.daemon.pid());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let before = resident();
    let bearer = format!("Bearer {}", service.token);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Content-Length", "1000000"),
    ];
    let since = Instant::now();
    // Each of them sends most of a large body, and stops.
    let slow: Vec<Connection> = (0..300)
        .map(|_| {
            let mut connection = Connection::open(&service.address);
            connection.write(head("POST", "/pins", &headers).as_bytes());
            connection.write(" ".repeat(60 << 10).as_bytes());
            connection
        })
        .collect();
    // Others are served meanwhile.
    assert_eq!(
        service.settled(service.add(&json!({"cid": IDENTITY}))["requestid"].as_str().unwrap())["status"],
        "pinned"
    );
    let grown = resident().saturating_sub(before);
    println!("300 slow clients: {grown} MiB more");
    assert!(grown < 100, "{grown} MiB");
    for mut connection in slow {
        let answer = connection.answer();
        assert_eq!((answer.status, failure(&answer).0.as_str()), (408, "REQUEST_TIMEOUT"));
    }
    let time = since.elapsed();
    assert!(time >= Duration::from_secs(29) && time < Duration::from_secs(50), "{time:?}");
}

#[test]
fn long_pages_end_early_and_lose_nothing() {
    let service = Pinning::start();
    let meta =
        json!({"a": "x".repeat(16 << 10), "b": "y".repeat(16 << 10), "c": "z".repeat(16 << 10)});
    let made: Vec<String> = (0..200)
        .map(|n| service.add(&json!({"cid": IDENTITY, "name": n.to_string(), "meta": meta})))
        .map(|told| told["requestid"].as_str().unwrap().to_owned())
        .collect();
    made.iter().for_each(|id| drop(service.settled(id)));
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let answer = service.ask("GET", &format!("/pins?limit=1000{before}"), None);
        assert!(answer.status == 200 && answer.body.len() < 5 << 20, "{}", answer.body.len());
        let page = answer.json();
        let results = page["results"].as_array().unwrap();
        let ids = results.iter().map(|told| told["requestid"].as_str().unwrap().to_owned());
        seen.extend(ids);
        if page["count"] == results.len() {
            break;
        }
        before = format!("&before={}", results.last().unwrap()["created"].as_str().unwrap());
    }
    seen.reverse();
    assert_eq!(seen, made);
}

#[test]
fn pages_of_every_origin_may_ask_and_probes_need_no_token() {
    let service = Pinning::start();
    let mut connection = Connection::open(&service.address);
    let origin = ("Origin", "https://app.example");
    let asked = connection.request(
        "OPTIONS",
        "/pins/x",
        &[
            origin,
            ("Access-Control-Request-Method", "DELETE"),
            ("Access-Control-Request-Headers", "authorization,content-type"),
        ],
    );
    assert_eq!(asked.status, 204);
    for (name, value) in [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "DELETE, GET, OPTIONS, POST"),
        ("Access-Control-Allow-Headers", "Authorization, Content-Type, User-Agent"),
    ] {
        assert_eq!(asked.field(name), value);
    }
    let refused = connection.request("GET", "/pins", &[origin]);
    assert_eq!((refused.status, refused.field("Access-Control-Allow-Origin")), (401, "*"));
    for target in ["/healthz", "/readyz"] {
        assert_eq!(connection.request("GET", target, &[]).status, 200, "{target}");
    }
    let (status, _) = service.daemon.stop();
    assert!(status.success());
}

#[test]
fn our_own_client_pins_at_our_own_service() {
    let service = Pinning::with(&[("Pinning.Service.DialPrivate", json!(true))]);
    let other = Node::start();
    other.repo.ok(["pin", "remote", "service", "add", "svc", &service.url(), &service.token]);
    let file = other.repo.file("f", keystream("remote", 3_000_000));
    let cid = other.repo.ok(["add", "-Q", file.to_str().unwrap()]);
    let said = lines(&other.repo, &["pin", "remote", "add", "--service=svc", "--name=f", &cid]);
    assert_eq!(said, [format!("CID:    {cid}"), "Name:   f".into(), "Status: pinned".into()]);
    let stored = service.repo.run(["cat", "--offline", &cid]);
    assert!(stored.out == keystream("remote", 3_000_000), "{}", stored.err);
    let ls = |more: &[&str]| {
        lines(&other.repo, &[&["pin", "remote", "ls", "--service=svc"], more].concat())
    };
    assert_eq!(ls(&[]), [format!("{cid}\tpinned\tf")]);
    let stat = lines(&other.repo, &["pin", "remote", "service", "ls", "--stat"]);
    assert_eq!(stat, [format!("svc {} 0/0/1/0", service.url())]);
    let background = ["pin", "remote", "add", "--service=svc", "--background", ABSENT];
    lines(&other.repo, &background);
    assert_eq!(ls(&["--status=queued,pinning"]).len(), 1);
    for n in 0..120 {
        service.add(&json!({"cid": IDENTITY, "name": format!("n{n}")}));
    }
    assert_eq!(ls(&["--status=queued,pinning,pinned,failed"]).len(), 122);
    other.repo.ok(["pin", "remote", "rm", "--service=svc", &format!("--cid={cid}")]);
    assert!(ls(&[&format!("--cid={cid}")]).is_empty());
    let all = "--status=queued,pinning,pinned,failed";
    other.repo.ok(["pin", "remote", "rm", "--service=svc", all, "--force"]);
    assert!(ls(&[all]).is_empty());
}

/// A certificate for the loopback and its key, as files.
fn certificate(repo: &Repo, name: &str) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    repo.file(format!("{name}.pem"), made.cert.pem());
    repo.file(format!("{name}.key"), made.key_pair.serialize_pem());
}

#[test]
fn https_is_spoken_and_certificates_are_replaced() {
    let repo = Repo::for_daemon();
    certificate(&repo, "tls");
    for (key, value) in [
        ("Listen", "/ip4/127.0.0.1/tcp/0".to_owned()),
        ("TLS.Certificate", repo.path("tls.pem").display().to_string()),
        ("TLS.Key", repo.path("tls.key").display().to_string()),
    ] {
        repo.ok(["config", &format!("Pinning.Service.{key}"), &value]);
    }
    repo.ok(["tenant", "add", "acme"]);
    let secret = token(&repo, "acme", &[]);
    let daemon = Daemon::start(&repo);
    let url = format!("https://{}", address(&repo));
    let client = Repo::new();
    client.ok(["pin", "remote", "service", "add", "svc", &url, &secret]);
    let ask = |trusted: &str| {
        let mut command = client.command(["pin", "remote", "service", "ls", "--stat"]);
        command.env("SSL_CERT_FILE", repo.path(trusted)).env_remove("SSL_CERT_DIR");
        let said = said(command.output().unwrap());
        said.text().rsplit(' ').next().unwrap().to_owned()
    };
    std::fs::copy(repo.path("tls.pem"), repo.path("first.pem")).unwrap();
    certificate(&repo, "other");
    assert_eq!((ask("first.pem").as_str(), ask("other.pem").as_str()), ("0/0/0/0", "invalid"));
    for end in ["pem", "key"] {
        std::fs::copy(repo.path(format!("other.{end}")), repo.path(format!("tls.{end}"))).unwrap();
    }
    daemon.signal(rustix::process::Signal::HUP);
    let since = Instant::now();
    while ask("other.pem") != "0/0/0/0" {
        assert!(since.elapsed() < Duration::from_secs(20), "the certificate stays");
    }
    assert_eq!(ask("first.pem"), "invalid");
    // What is no key leaves what was there.
    std::fs::write(repo.path("tls.key"), "nothing").unwrap();
    daemon.signal(rustix::process::Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ask("other.pem"), "0/0/0/0");
    drop(daemon);
    let failed = one_start(&repo);
    assert!(failed.contains("Pinning.Service.TLS") && failed.contains("tls.key"), "{failed}");
}

/// What a daemon says that does not start.
fn one_start(repo: &Repo) -> String {
    let output = Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_henge"), "daemon"])
        .env("HENGE_PATH", repo.root())
        .output()
        .unwrap();
    std::io::stdout().write_all(&output.stderr).unwrap();
    crate::harness::one_line(&said(output))
}

/// A token of one more tenant, made while the daemon runs.
pub fn token_online(service: &Pinning, tenant: &str) -> String {
    service.repo.ok(["tenant", "add", tenant]);
    token(&service.repo, tenant, &[])
}

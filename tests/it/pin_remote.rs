//! `pin remote` against a service in this process, with the words and shapes that Kubo's own tests look
//! for.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{Daemon, Repo};
use crate::surface::{HELLO, json_of, lines};

const TOKEN: &str = "testauthtoken";

/// A pinning service that keeps what it is told and does nothing.
#[derive(Clone)]
struct Fake {
    url: String,
    pins: Arc<Mutex<Vec<Value>>>,
}

impl Fake {
    /// Starts one whose new requests have this status. It ends with the process.
    fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/api/v1", listener.local_addr().unwrap());
        let fake = Self { url, pins: Arc::default() };
        let service = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let service = service.clone();
                std::thread::spawn(move || service.serve(&stream, status));
            }
        });
        fake
    }

    fn serve(&self, stream: &TcpStream, status: &str) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let (mut head, mut length) = (Vec::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
                let line = line.trim_end().to_owned();
                if line.is_empty() {
                    break;
                }
                if let Some(n) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = n.parse().unwrap();
                }
                head.push(line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let (code, reply) = self.answer(&head, &body, status);
            let reply = reply.to_string();
            let length = reply.len();
            let mut stream = stream;
            write!(stream, "HTTP/1.1 {code} X\r\nContent-Length: {length}\r\n\r\n{reply}").ok()?;
        }
    }

    fn answer(&self, head: &[String], body: &[u8], status: &str) -> (u16, Value) {
        let refuse = |code, reason: &str, details: &str| {
            (code, json!({ "error": { "reason": reason, "details": details } }))
        };
        if !head.iter().any(|line| line == &format!("authorization: Bearer {TOKEN}")) {
            return refuse(401, "UNAUTHORIZED", "access denied");
        }
        let words: Vec<&str> = head[0].split(' ').collect();
        let (path, query) = words[1].split_once('?').unwrap_or((words[1], ""));
        let mut pins = self.pins.lock().unwrap();
        let id = path.strip_prefix("/api/v1/pins/");
        let at = pins.iter().position(|pin| pin["requestid"].as_str() == id);
        match (words[0], path, at) {
            ("GET", "/api/v1/pins", _) => (200, page(&pins, query)),
            ("POST", "/api/v1/pins", _) => {
                let (pin, n): (Value, _) = (serde_json::from_slice(body).unwrap(), pins.len());
                pins.push(json!({
                    "requestid": format!("id-{n}"), "status": status, "pin": pin,
                    "created": format!("2020-07-27T17:32:28.{n:03}Z"),
                    "delegates": ["/ip4/127.0.0.1/tcp/1/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ", "x"],
                    "info": {"status_details": "no\u{1b}body has it"},
                }));
                (202, pins[n].clone())
            }
            ("GET", _, Some(at)) => (200, pins[at].clone()),
            ("DELETE", _, Some(at)) => {
                pins[at]["status"] = "deleted".into();
                (202, Value::Null)
            }
            _ => refuse(404, "NOT_FOUND", "nothing"),
        }
    }

    fn set(&self, at: usize, status: &str) {
        self.pins.lock().unwrap()[at]["status"] = status.into();
    }
}

/// The filters that the client knows.
fn page(pins: &[Value], query: &str) -> Value {
    let pairs: Vec<(String, String)> = serde_html_form::from_str(query).unwrap();
    let given = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
    let among = |name: &str, value: &Value| {
        given(name).is_none_or(|all| all.split(',').any(|one| Some(one) == value.as_str()))
    };
    let found = pins.iter().rev().filter(|pin| {
        among("status", &pin["status"])
            && among("cid", &pin["pin"]["cid"])
            && given("name").is_none_or(|name| pin["pin"]["name"].as_str() == Some(name))
            && given("before").is_none_or(|time| pin["created"].as_str().unwrap() < time)
    });
    let found: Vec<&Value> = found.collect();
    // A service may give fewer than were asked for.
    let limit = given("limit").unwrap().parse::<usize>().unwrap().min(3);
    json!({ "count": found.len(), "results": found.iter().take(limit).collect::<Vec<_>>() })
}

/// A repository with a service in its configuration.
fn with(fake: &Fake) -> Repo {
    let repo = Repo::for_daemon();
    repo.ok(["pin", "remote", "service", "add", "svc", &fake.url, TOKEN]);
    repo.file("hello", "hello\n");
    assert_eq!(repo.ok(["add", "-Q", "hello"]), HELLO);
    repo
}

#[test]
fn services_are_kept_and_their_keys_never_shown() {
    let fake = Fake::start("pinned");
    let repo = with(&fake);
    let add = |name: &str, url: &str| {
        ["pin", "remote", "service", "add", name, url, "key"].map(str::to_owned)
    };
    assert!(repo.fails(add("svc", "https://x")).contains("service already present"));
    let url = "service endpoint must be a valid HTTP URL";
    for bad in ["invalid-service.example.com", "xyz://invalid-service.example.com"] {
        assert!(repo.fails(add("bad", bad)).contains(url), "{bad}");
    }
    assert!(repo.fails(add("bad", "https://x/pins")).contains("without the /pins suffix"));
    assert!(repo.fails(add("bad", "https://x?a=b")).contains("without any query parameters"));
    repo.ok(add("bad", &format!("{}/invalidpath//", fake.url)));
    let service = ["pin", "remote", "service"];
    let listed = lines(&repo, &[&service[..], &["ls"]].concat());
    assert_eq!(listed, [format!("bad {}/invalidpath", fake.url), format!("svc {}", fake.url)]);
    let stat = lines(&repo, &[&service[..], &["ls", "--stat"]].concat());
    assert_eq!(stat[0], format!("bad {}/invalidpath invalid", fake.url));
    // Columns of a width: the URL that is shorter is filled up.
    assert!(stat[1].starts_with("svc ") && stat[1].ends_with(" 0/0/0/0"), "{}", stat[1]);
    let told = json_of(&repo, &[&service[..], &["ls", "--stat"]].concat());
    assert_eq!(told["RemoteServices"][0]["Stat"], json!({"Status": "invalid"}));
    let counts = json!({"Queued": 0, "Pinning": 0, "Pinned": 0, "Failed": 0});
    assert_eq!(told["RemoteServices"][1]["Stat"], json!({"Status": "valid", "PinCount": counts}));
    assert!(
        json_of(&repo, &[&service[..], &["ls"]].concat())["RemoteServices"][1]["Stat"].is_null()
    );
    let kept = std::fs::read_to_string(repo.root().join("config")).unwrap();
    let config: Value = serde_json::from_str(&kept).unwrap();
    let policies = json!({"MFS": {"Enable": false, "PinName": "", "RepinInterval": ""}});
    assert_eq!(config["Pinning"]["RemoteServices"]["svc"]["Policies"], policies);
    assert!(kept.contains(TOKEN) && !repo.ok(["config", "show"]).contains(TOKEN));
    repo.ok(["pin", "remote", "service", "rm", "bad"]);
    repo.ok(["pin", "remote", "service", "rm", "never"]);
    assert_eq!(lines(&repo, &[&service[..], &["ls"]].concat()).len(), 1);
}

#[test]
fn a_pin_is_added_listed_and_removed() {
    let fake = Fake::start("pinned");
    let repo = with(&fake);
    let daemon = Daemon::start(&repo);
    let add = |name: &str, cid: &str| {
        let name = format!("--name={name}");
        lines(&repo, &["pin", "remote", "add", "--service=svc", &name, cid])
    };
    let said = add("my pin", HELLO);
    assert_eq!(
        said,
        [format!("CID:    {HELLO}"), "Name:   my pin".into(), "Status: pinned".into()]
    );
    // What is here is offered with our own addresses; what is not, is not.
    let pins = fake.pins.lock().unwrap().clone();
    let origins = pins[0]["pin"]["origins"].as_array().unwrap();
    assert!(origins.iter().all(|o| o.as_str().unwrap().contains("/p2p/12D3KooW")), "{pins:?}");
    assert!(!origins.is_empty() && origins.len() <= 20);
    let absent = "bafkreih2fzgdpa5jodoz2amarwcxbrbqyvqj3bxaj6jsbwcxxfd5anyk5y";
    add("absent", absent);
    assert!(fake.pins.lock().unwrap()[1]["pin"].get("origins").is_none());
    for n in 0..6 {
        add(&format!("n{n}"), HELLO);
    }
    // Three a page, so three pages.
    let listed = lines(&repo, &["pin", "remote", "ls", "--service=svc"]);
    assert_eq!(listed.len(), 8);
    assert_eq!(listed[7], format!("{HELLO}\tpinned\tmy pin"));
    fake.set(2, "queued");
    fake.set(3, "failed");
    let ls =
        |more: &[&str]| lines(&repo, &[&["pin", "remote", "ls", "--service=svc"], more].concat());
    assert_eq!(ls(&["--status=queued,failed"]).len(), 2);
    assert_eq!(ls(&["--status=queued", "--status=pinned"]).len(), 7);
    assert_eq!(ls(&[&format!("--cid={absent},{absent}")]), [format!("{absent}\tpinned\tabsent")]);
    assert_eq!(ls(&["--name=n5"]), [format!("{HELLO}\tpinned\tn5")]);
    let told = json_of(&repo, &["pin", "remote", "ls", "--service=svc", "--name=n5"]);
    assert_eq!(told, json!({"Status": "pinned", "Cid": HELLO, "Name": "n5"}));
    let several = repo.fails(["pin", "remote", "rm", "--service=svc"]);
    assert_eq!(
        several,
        "Error: multiple remote pins are matching this query, add --force to confirm the bulk removal"
    );
    assert_eq!(ls(&[]).len(), 6);
    repo.ok(["pin", "remote", "rm", "--service=svc", "--name=n5"]);
    assert_eq!(ls(&[]).len(), 5);
    repo.ok(["pin", "remote", "rm", "--service=svc", "--force=true"]);
    assert!(ls(&[]).is_empty() && ls(&["--status=queued,failed"]).len() == 2);
    let shown = repo.ok(["diag", "cmds", "--verbose"]);
    assert!(!shown.contains(TOKEN));
    drop(daemon);
}

#[test]
fn waiting_ends_when_the_service_gives_up() {
    let fake = Fake::start("failed");
    let repo = with(&fake);
    let _daemon = Daemon::start(&repo);
    let said = repo.fails(["pin", "remote", "add", "--service=svc", HELLO]);
    let words = "Error: remote service failed to pin requestid=\"id-0\": no";
    assert!(said.starts_with(words) && !said.contains('\u{1b}'), "{said}");
    // In the background it is only asked for.
    let said = lines(&repo, &["pin", "remote", "add", "--service=svc", "--background=true", HELLO]);
    assert_eq!(said[2], "Status: failed");
    let slow = with(&Fake::start("pinning"));
    let said = slow.fails(["pin", "remote", "add", "--service=svc", "--timeout=2s", HELLO]);
    assert!(said.contains("requestid=\"id-0\" remains on remote service"), "{said}");
}

#[test]
fn refusals_and_mistakes_are_one_clear_line() {
    let fake = Fake::start("pinned");
    let repo = with(&fake);
    for (name, url, key) in [
        ("stranger", fake.url.as_str(), "othertoken"),
        ("lost", &format!("{}/invalid-path", fake.url), TOKEN),
        ("nowhere", "https://invalid-service.invalid", TOKEN),
        ("dead", "http://127.0.0.1:1", TOKEN),
    ] {
        repo.ok(["pin", "remote", "service", "add", name, url, key]);
    }
    let ls = |more: &[&str]| repo.fails([&["pin", "remote", "ls"], more].concat());
    for (args, words) in [
        (&["--service=stranger"][..], "access denied"),
        (&["--service=lost"], "404"),
        (&["--service=nowhere"], "no such host"),
        (&["--service=dead"], "pinning service \"dead\": dial 127.0.0.1:1"),
        (&[], "a service name must be passed"),
        (&["--service="], "remote pinning service name not specified"),
        (&["--service=other"], "service not known"),
        (&["--service=svc", "--cid=x"], "CID \"x\" cannot be parsed"),
        (&["--service=svc", "--status=odd"], "status \"odd\" is not valid"),
        (
            &["--service=svc", &format!("--name={}", "x".repeat(256))],
            "name cannot be longer than 255",
        ),
    ] {
        let said = ls(args);
        assert!(said.contains(words) && !said.contains("othertoken"), "{said}");
    }
    let said = repo.fails(["pin", "remote", "rm", "--service=lost"]);
    assert!(said.starts_with("Error: error while listing remote pins: "), "{said}");
    let offline = lines(&repo, &["pin", "remote", "add", "--service=svc", HELLO]);
    assert!(offline[0].starts_with("WARNING: the local node is offline"), "{offline:?}");
}

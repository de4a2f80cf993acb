//! What each token opens: every route of the pinning service and every command of the RPC, against
//! every kind of token; and that nothing tells of another tenant's pins.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Daemon, Repo};
use crate::http_client::{Answer, Connection, head};
use crate::pinning_api::address;

/// Commands of the RPC that read: a token of any scope opens them.
const READ: &[&str] = &[
    "bitswap/ledger",
    "bitswap/stat",
    "bitswap/wantlist",
    "block/get",
    "block/stat",
    "cat",
    "cid/base32",
    "cid/bases",
    "cid/codecs",
    "cid/format",
    "cid/hashes",
    "cid/inspect",
    "commands",
    "dag/export",
    "dag/get",
    "dag/resolve",
    "dag/stat",
    "diag/fetches",
    "diag/healthy",
    "get",
    "id",
    "log/ls",
    "ls",
    "multibase/decode",
    "multibase/encode",
    "multibase/list",
    "multibase/transcode",
    "pin/ls",
    "pin/verify",
    "ping",
    "provide/stat",
    "refs",
    "refs/local",
    "repo/ls",
    "repo/stat",
    "repo/version",
    "resolve",
    "routing/findpeer",
    "routing/findprovs",
    "routing/get",
    "stats/bitswap",
    "stats/bw",
    "stats/dht",
    "stats/provide",
    "stats/repo",
    "swarm/addrs",
    "swarm/addrs/listen",
    "swarm/addrs/local",
    "swarm/peers",
    "version",
];
/// Those that add and pin.
const PIN: &[&str] = &[
    "add",
    "block/put",
    "dag/import",
    "dag/put",
    "pin/add",
    "pin/remote/add",
    "pin/remote/ls",
    "pin/remote/rm",
    "pin/rm",
    "pin/update",
    "provide/once",
    "routing/provide",
];
/// Those that only the operator's own administrator may run.
const ADMIN: &[&str] = &[
    "block/rm",
    "bootstrap",
    "bootstrap/add",
    "bootstrap/list",
    "bootstrap/rm",
    "bootstrap/rm/all",
    "config",
    "config/profile/apply",
    "config/replace",
    "config/show",
    "diag/cmds",
    "diag/cmds/clear",
    "diag/cmds/set-time",
    "diag/ledgers",
    "diag/sys",
    "log/level",
    "log/tail",
    "pin/queue",
    "pin/remote/service/add",
    "pin/remote/service/ls",
    "pin/remote/service/rm",
    "provide/clear",
    "repo/gc",
    "repo/verify",
    "routing/put",
    "shutdown",
    "swarm/connect",
    "swarm/disconnect",
    "swarm/filters",
    "swarm/filters/add",
    "swarm/filters/rm",
    "swarm/peering/add",
    "swarm/peering/ls",
    "swarm/peering/rm",
    "tenant/add",
    "tenant/limits",
    "tenant/ls",
    "tenant/rm",
    "tenant/usage",
    "token/issue",
    "token/ls",
    "token/revoke",
];
/// Commands of the line that are no commands of the RPC.
const LOCAL: &[&str] = &[
    "bitswap",
    "block",
    "cid",
    "commands/completion",
    "commands/completion/bash",
    "commands/completion/fish",
    "commands/completion/zsh",
    "config/edit",
    "config/profile",
    "daemon",
    "dag",
    "diag",
    "init",
    "log",
    "multibase",
    "pin",
    "pin/remote",
    "pin/remote/service",
    "provide",
    "repo",
    "routing",
    "share",
    "stats",
    "swarm",
    "swarm/peering",
    "tenant",
    "token",
];

const CID: &str = "bafkqaaa";
const OTHER: &str = "bafkqaalb";

/// A daemon whose RPC wants tokens, and a token of every kind.
struct Doors {
    repo: Repo,
    daemon: Daemon,
    service: String,
}

/// Issues a token while no daemon runs; its secret.
fn issue(repo: &Repo, args: &[&str]) -> String {
    repo.ok([&["token", "issue"], args].concat())
}

impl Doors {
    fn start(repo: Repo) -> Self {
        let secret = r#"{"own": {"AuthSecret": "bearer:own", "AllowedPaths": ["/api/v0"]}}"#;
        for (key, value) in [
            ("Pinning.Service.Listen", "\"/ip4/127.0.0.1/tcp/0\""),
            ("API.RequireToken", "true"),
            ("API.Authorizations", secret),
        ] {
            repo.ok(["config", "--json", key, value]);
        }
        let daemon = Daemon::offline(&repo);
        let service = address(&repo);
        Self { repo, daemon, service }
    }

    fn rpc(&self, connection: &mut Connection, command: &str, secret: Option<&str>) -> u16 {
        // Nothing runs: a time that is none is refused behind the door.
        let target = format!("/api/v0/{command}?timeout=nonsense");
        let bearer = secret.map(|secret| format!("Bearer {secret}"));
        let headers: Vec<(&str, &str)> =
            bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        let answer = connection.request("POST", &target, &headers);
        if answer.field("Connection") == "close" {
            *connection = Connection::open(&self.daemon.api());
        }
        answer.status
    }

    fn pins(&self, method: &str, target: &str, secret: Option<&str>, body: &str) -> Answer {
        let (bearer, length) = (secret.map(|s| format!("Bearer {s}")), body.len().to_string());
        let mut headers = vec![("Content-Type", "application/json"), ("Content-Length", &length)];
        headers.extend(bearer.iter().map(|bearer| ("Authorization", bearer.as_str())));
        let mut connection = Connection::open(&self.service);
        connection.write(head(method, target, &headers).as_bytes());
        connection.write(body.as_bytes());
        connection.answer()
    }

    fn add(&self, secret: &str, cid: &str, name: &str) -> Value {
        let body = json!({ "cid": cid, "name": name }).to_string();
        let answer = self.pins("POST", "/pins", Some(secret), &body);
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()
    }
}

/// Every command of the line, as paths.
fn commands(tree: &Value, above: &str, out: &mut Vec<String>) {
    for command in tree["Subcommands"].as_array().into_iter().flatten() {
        let name = command["Name"].as_str().unwrap();
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
        commands(command, &path, out);
        out.push(path);
    }
}

#[test]
fn each_command_opens_to_the_scopes_that_are_enough_and_to_no_other() {
    let repo = Repo::for_daemon();
    repo.ok(["tenant", "add", "acme"]);
    let revoked = issue(&repo, &["--scope=admin"]);
    let id = repo.ok(["token", "ls", "--enc=json"]);
    let id: Value = serde_json::from_str(&id).unwrap();
    repo.ok(["token", "revoke", id["Tokens"][0]["Id"].as_str().unwrap()]);
    let expired = issue(&repo, &["--scope=admin", "--expires-in=1s"]);
    let of = |args: &[&str]| Some(issue(&repo, args));
    // Who, and whether reading, pinning and administering opens.
    let callers = [
        ("none", None, [false, false, false]),
        ("wrong", Some("hgt_wrong".to_owned()), [false; 3]),
        ("revoked", Some(revoked), [false; 3]),
        ("expired", Some(expired), [false; 3]),
        ("read", of(&["--scope=read"]), [true, false, false]),
        ("pin", of(&["--scope=pin"]), [true, true, false]),
        ("admin", of(&["--scope=admin"]), [true; 3]),
        ("read and pin", of(&["--scope=read,pin"]), [true, true, false]),
        ("a tenant's, read", of(&["--tenant=acme", "--scope=read"]), [false; 3]),
        ("a tenant's, pin", of(&["--tenant=acme", "--scope=pin"]), [false; 3]),
        ("of the configuration", Some("own".to_owned()), [true; 3]),
    ];
    sleep(Duration::from_millis(1100));
    let doors = Doors::start(repo);
    let mut connection = Connection::open(&doors.daemon.api());
    for (scope, names) in [READ, PIN, ADMIN].iter().enumerate() {
        for command in *names {
            for (who, secret, opens) in &callers {
                let status = doors.rpc(&mut connection, command, secret.as_deref());
                let opened = status != 403;
                assert_eq!(opened, opens[scope], "{command} for {who}: {status}");
                assert!(status != 404, "{command} is no command");
            }
        }
    }
    // No command is missing from the table.
    let answer = connection.request("POST", "/api/v0/commands", &[("Authorization", "Bearer own")]);
    let mut all = Vec::new();
    commands(&answer.json(), "", &mut all);
    assert!(all.len() > 100, "{}", all.len());
    for command in all {
        let known = [READ, PIN, ADMIN, LOCAL].iter().any(|list| list.contains(&command.as_str()));
        assert!(known, "{command} is in no list");
        // What stands behind a command in a path is its argument.
        let above = command.match_indices('/').map(|(at, _)| &command[..at]);
        let listed = |name: &str| [READ, PIN, ADMIN].iter().any(|list| list.contains(&name));
        if LOCAL.contains(&command.as_str()) && above.into_iter().any(listed) {
            continue;
        }
        let there = doors.rpc(&mut connection, &command, Some("own")) != 404;
        assert_eq!(there, !LOCAL.contains(&command.as_str()), "{command}");
    }
    doors.daemon.stop();
}

#[test]
fn both_doors_tell_the_same_wait() {
    let repo = Repo::for_daemon();
    repo.ok(["tenant", "add", "acme"]);
    let own = issue(&repo, &["--scope=read", "--max-rate=1"]);
    let theirs = issue(&repo, &["--tenant=acme", "--scope=read", "--max-rate=1"]);
    let doors = Doors::start(repo);
    let refused = |ask: &dyn Fn() -> Answer| {
        let answer = (0..20).map(|_| ask()).find(|answer| answer.status == 429);
        answer.expect("a refusal").field("Retry-After").to_owned()
    };
    let of_rpc = refused(&|| {
        let bearer = format!("Bearer {own}");
        let headers = [("Authorization", bearer.as_str())];
        Connection::open(&doors.daemon.api()).request("POST", "/api/v0/version", &headers)
    });
    let of_pins = refused(&|| doors.pins("GET", "/pins", Some(&theirs), ""));
    assert_eq!((of_rpc.as_str(), of_pins.as_str()), ("1", "1"));
    doors.daemon.stop();
}

/// What a secret opens of a request that another has made: looking at lists, at it, making one,
/// replacing it and removing it.
fn tried(doors: &Doors, pin: &str, secret: &str, body: &str) -> [u16; 5] {
    let secret = Some(secret);
    let id = doors.add(pin, CID, "ci/1")["requestid"].as_str().unwrap().to_owned();
    let replaced = doors.pins("POST", &format!("/pins/{id}"), secret, body);
    let id = match replaced.status {
        202 => replaced.json()["requestid"].as_str().unwrap().to_owned(),
        _ => id,
    };
    let one = format!("/pins/{id}");
    [
        doors.pins("GET", "/pins", secret, "").status,
        doors.pins("GET", &one, secret, "").status,
        doors.pins("POST", "/pins", secret, body).status,
        replaced.status,
        doors.pins("DELETE", &one, secret, "").status,
    ]
}

#[test]
fn each_route_of_the_service_opens_to_the_tokens_that_are_enough() {
    let repo = Repo::for_daemon();
    repo.ok(["tenant", "add", "acme"]);
    repo.ok(["tenant", "add", "other"]);
    let revoked = issue(&repo, &["--tenant=acme", "--scope=pin"]);
    let listed: Value = serde_json::from_str(&repo.ok(["token", "ls", "--enc=json"])).unwrap();
    repo.ok(["token", "revoke", listed["Tokens"][0]["Id"].as_str().unwrap()]);
    let expired = issue(&repo, &["--tenant=acme", "--scope=pin", "--expires-in=1s"]);
    let gone = {
        repo.ok(["tenant", "add", "gone"]);
        let secret = issue(&repo, &["--tenant=gone", "--scope=pin"]);
        repo.ok(["tenant", "rm", "gone"]);
        repo.ok(["tenant", "add", "gone"]);
        secret
    };
    let of = |args: &[&str]| issue(&repo, args);
    let pin = of(&["--tenant=acme", "--scope=pin"]);
    let bound = format!("--cid={CID}");
    // Who; status of looking at lists, at one request, of making, replacing and removing one.
    let callers = [
        ("wrong", "hgt_wrong".to_owned(), [401; 5]),
        ("revoked", revoked, [401; 5]),
        ("expired", expired, [401; 5]),
        ("of a tenant that is gone", gone, [401; 5]),
        ("the operator's", of(&["--scope=admin"]), [401; 5]),
        ("read", of(&["--tenant=acme", "--scope=read"]), [200, 200, 403, 403, 403]),
        (
            "for another CID",
            of(&["--tenant=acme", "--scope=pin", &format!("--cid={OTHER}")]),
            [200, 200, 403, 403, 403],
        ),
        (
            "for other names",
            of(&["--tenant=acme", "--scope=pin", "--name-prefix=x/"]),
            [200, 200, 403, 403, 403],
        ),
        ("another tenant's", of(&["--tenant=other", "--scope=pin"]), [200, 404, 202, 404, 404]),
        ("for this CID", of(&["--tenant=acme", "--scope=pin", &bound]), [200, 200, 202, 202, 202]),
        (
            "for such names",
            of(&["--tenant=acme", "--scope=pin", "--name-prefix=ci/"]),
            [200, 200, 202, 202, 202],
        ),
        ("pin", pin.clone(), [200, 200, 202, 202, 202]),
    ];
    sleep(Duration::from_millis(1100));
    let doors = Doors::start(repo);
    let body = json!({ "cid": CID, "name": "ci/1" }).to_string();
    for (who, secret, statuses) in callers {
        let told = tried(&doors, &pin, &secret, &body);
        assert_eq!(told, statuses, "{who}");
    }
    for (method, target) in
        [("GET", "/pins"), ("POST", "/pins"), ("GET", "/pins/a"), ("DELETE", "/pins/a")]
    {
        assert_eq!(doors.pins(method, target, None, &body).status, 401, "{method} {target}");
    }
    let log = std::fs::read_to_string(doors.repo.root().join("audit.log")).unwrap();
    assert!(log.contains("POST /pins") && log.contains("refused: scope"), "{log}");
    assert!(!log.contains("hgt_") && !log.contains(&pin), "a secret in the audit");
    doors.daemon.stop();
}

/// Without what differs by itself: ids, times, and a date in headers.
fn bare(answer: &Answer, id: &str) -> (u16, String, Vec<(String, String)>) {
    let headers = answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
    (answer.status, answer.text().replace(id, "ID"), headers.cloned().collect())
}

#[test]
fn nothing_tells_of_another_tenant_s_pins() {
    let repo = Repo::for_daemon();
    for tenant in ["acme", "other"] {
        repo.ok(["tenant", "add", tenant]);
    }
    let acme = issue(&repo, &["--tenant=acme", "--scope=pin"]);
    let other = issue(&repo, &["--tenant=other", "--scope=pin"]);
    let doors = Doors::start(repo);
    let theirs = doors.add(&acme, CID, "secret plan")["requestid"].as_str().unwrap().to_owned();
    // An id like theirs that is nobody's.
    let last = if theirs.ends_with('0') { "1" } else { "0" };
    let nobodys = format!("{}{last}", &theirs[..theirs.len() - 1]);
    for (method, body) in [("GET", ""), ("DELETE", ""), ("POST", r#"{"cid": "bafkqaaa"}"#)] {
        let [a, b] = [&theirs, &nobodys].map(|id| {
            let answer = doors.pins(method, &format!("/pins/{id}"), Some(&other), body);
            assert_eq!(answer.status, 404);
            bare(&answer, id)
        });
        assert_eq!(a, b, "{method}");
    }
    for query in
        ["", "?cid=bafkqaaa", "?name=secret%20plan", "?status=queued,pinning,pinned,failed"]
    {
        let found = doors.pins("GET", &format!("/pins{query}"), Some(&other), "").json();
        assert_eq!(found, json!({ "count": 0, "results": [] }), "{query}");
    }
    // What is here by another's pin is told like what is here by one's own.
    let shape = |told: &Value| {
        let info = told["info"].as_object().map(|info| info.keys().cloned().collect::<Vec<_>>());
        (told["status"].clone(), told["pin"]["cid"].clone(), info)
    };
    let (first, second) = (doors.add(&other, CID, ""), doors.add(&acme, CID, ""));
    assert_eq!(shape(&first), shape(&second));
    doors.daemon.stop();
}

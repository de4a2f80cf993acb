//! What a node tells of itself to whoever runs it: what runs, what it logs, figures, the machine.

use serde_json::{Value, json};

use crate::harness::{Daemon, Repo, keystream};
use crate::http_client::{Connection, ask, head, post, upload};
use crate::surface::{ABSENT, HELLO, json_of, lines};

/// A daemon over a fresh repository.
fn served() -> (Repo, Daemon, String) {
    let repo = Repo::for_daemon();
    let daemon = Daemon::offline(&repo);
    let api = daemon.api();
    (repo, daemon, api)
}

fn names(value: &Value) -> Vec<&String> {
    value.as_object().unwrap().keys().collect()
}

#[test]
fn diag_sys_tells_of_the_machine_in_kubo_s_shape() {
    let repo = Repo::new();
    let told = json_of(&repo, &["diag", "sys"]);
    let parts =
        ["diskinfo", "environment", "ipfs_commit", "ipfs_version", "memory", "net", "runtime"];
    assert_eq!(names(&told), parts);
    assert_eq!(names(&told["diskinfo"]), ["free_space", "fstype", "total_space"]);
    assert_eq!(told["environment"]["HENGE_PATH"], repo.root().display().to_string());
    assert_eq!(names(&told["memory"]), ["swap", "virt"]);
    assert_eq!(told["net"]["online"], false);
    let addresses = told["net"]["interface_addresses"].as_array().unwrap();
    assert!(addresses.contains(&"/ip4/127.0.0.1".into()), "{addresses:?}");
    assert!(told["runtime"]["numcpu"].as_u64().unwrap() > 0);
    assert!(told["diskinfo"]["total_space"].as_u64() >= told["diskinfo"]["free_space"].as_u64());
    // Text is the same line.
    assert_eq!(lines(&repo, &["diag", "sys"]).len(), 1);
}

#[test]
fn diag_cmds_lists_what_runs_and_what_ran() {
    let (repo, _daemon, api) = served();
    let entries = || post(&api, "/api/v0/diag/cmds").json();
    let of = |command: &str| {
        let entries = entries();
        let found = entries.as_array().unwrap().iter().rfind(|e| e["Command"] == command);
        found.cloned()
    };
    upload(&api, "/api/v0/add?pin=false", b"hello\n");
    let added = of("add").unwrap();
    let fields = ["StartTime", "EndTime", "Active", "Command", "Options", "Args", "ID"];
    assert_eq!(names(&added), fields);
    assert_eq!((&added["Active"], &added["Options"]), (&false.into(), &json!({ "pin": "false" })));
    assert_eq!(of("diag/cmds").unwrap()["Active"], true);
    // A download that nobody reads runs.
    let large = upload(&api, "/api/v0/add", &vec![7; 16 << 20]).json();
    let root = large["Hash"].as_str().unwrap();
    let mut reader = Connection::open(&api);
    reader.write(head("POST", &format!("/api/v0/cat?arg={root}"), &[]).as_bytes());
    assert_eq!(reader.head().0, 200);
    let running = of("cat").unwrap();
    assert_eq!((&running["Active"], &running["Args"]), (&true.into(), &json!([root])));
    assert_eq!(running["EndTime"], "0001-01-01T00:00:00Z");
    let table = lines(&repo, &["diag", "cmds", "-v"]);
    let columns: Vec<&str> = table[0].split_whitespace().collect();
    let wanted = ["ID", "Command", "Arguments", "Options", "Active", "StartTime", "RunTime"];
    assert_eq!(columns, wanted);
    let row = table.iter().find(|line| line.contains(" cat ")).unwrap();
    assert!(row.contains(&format!("[{root}]")) && row.contains("true"), "{row}");
    assert!(lines(&repo, &["diag", "cmds"])[0].starts_with("Command"));
    drop(reader);
    assert!(lines(&repo, &["diag", "cmds", "clear"]).is_empty());
    assert!(of("add").is_none());
    assert!(lines(&repo, &["diag", "cmds", "set-time", "0s"]).is_empty());
    post(&api, "/api/v0/version");
    assert!(of("version").is_none());
    assert!(repo.fails(["diag", "cmds", "set-time", "soon"]).contains("soon"));
    // Secrets that are set are not shown.
    repo.ok(["diag", "cmds", "set-time", "1h"]);
    repo.ok(["config", "--json", "API.HTTPHeaders", r#"{"X-Mine": ["secret"]}"#]);
    assert!(of("config").is_some() && !entries().to_string().contains("secret"));
}

#[test]
fn what_tells_of_a_daemon_needs_one() {
    let repo = Repo::new();
    for command in ["diag cmds", "log level", "log tail"] {
        let line = repo.fails(command.split(' '));
        assert_eq!(line, format!("Error: command must be run on the daemon: [{command}]"));
    }
    assert!(lines(&repo, &["log", "ls"]).contains(&"store".to_owned()));
}

#[test]
fn log_levels_are_told_and_changed() {
    let (repo, _daemon, api) = served();
    assert_eq!(lines(&repo, &["log", "level"]), ["warn"]);
    assert_eq!(post(&api, "/api/v0/log/level").json(), json!({ "Levels": { "": "warn" } }));
    let said = lines(&repo, &["log", "level", "store", "debug"]);
    assert_eq!(said, ["Changed log level of 'store' to 'debug'"]);
    assert_eq!(lines(&repo, &["log", "level", "store"]), ["debug"]);
    assert_eq!(lines(&repo, &["log", "level"]), ["warn"]);
    let all = lines(&repo, &["log", "level", "all"]);
    assert!(all.contains(&"(default): warn".into()) && all.contains(&"store: debug".into()));
    let reply = post(&api, "/api/v0/log/level?arg=*").json();
    assert_eq!(reply["Levels"]["(default)"], "warn");
    let reply = post(&api, "/api/v0/log/level?arg=all&arg=error").json();
    assert_eq!(reply, json!({ "Message": "Changed log level of '*' to 'error'\n" }));
    assert_eq!(lines(&repo, &["log", "level", "store"]), ["error"]);
    repo.ok(["log", "level", "rpc", "fatal"]);
    repo.ok(["log", "level", "rpc", "default"]);
    assert_eq!(lines(&repo, &["log", "level", "rpc"]), ["error"]);
    assert!(repo.fails(["log", "level", "nothing"]).contains("No such logger"));
    assert!(repo.fails(["log", "level", "store", "odd"]).contains("unrecognized level: \"odd\""));
    let listed = post(&api, "/api/v0/log/ls").json();
    assert!(listed["Strings"].as_array().unwrap().contains(&"gateway".into()), "{listed}");
}

#[test]
fn log_tail_sends_lines_as_they_are_logged() {
    let (_repo, daemon, api) = served();
    post(&api, "/api/v0/log/level?arg=all&arg=info");
    let tail = |query: &str| {
        let mut reader = Connection::open(&api);
        reader.write(head("POST", &format!("/api/v0/log/tail?{query}"), &[]).as_bytes());
        let (status, headers) = reader.head();
        let streams = headers.iter().any(|(name, _)| name == "X-Stream-Output");
        assert!(status == 200 && streams, "{headers:?}");
        reader
    };
    let (mut all, mut errors) = (tail(""), tail("log-level=error"));
    for _ in 0..3 {
        post(&api, "/api/v0/log/level?arg=store&arg=info");
        let line: Value = serde_json::from_slice(&all.chunk().unwrap()).unwrap();
        assert_eq!(names(&line), ["level", "ts", "logger", "caller", "msg"]);
        assert_eq!((&line["level"], &line["logger"]), (&"info".into(), &"rpc".into()));
        assert_eq!(line["msg"], "Changed log level of 'store' to 'info'");
    }
    assert_eq!(post(&api, "/api/v0/log/tail?log-level=odd").status, 500);
    // The node's end is the log's.
    let (status, time) = daemon.stop();
    assert!(status.success() && time.as_secs() < 5, "{status} {time:?}");
    while all.chunk().is_some() {}
    assert!(errors.chunk().is_none());
}

#[test]
fn a_reader_of_the_log_that_sleeps_holds_nothing_up() {
    let (_repo, _daemon, api) = served();
    post(&api, "/api/v0/log/level?arg=all&arg=info");
    let mut sleeper = Connection::open(&api);
    sleeper.write(head("POST", "/api/v0/log/tail", &[]).as_bytes());
    assert_eq!(sleeper.head().0, 200);
    let mut busy = Connection::open(&api);
    for _ in 0..4000 {
        let target = "/api/v0/log/level?arg=store&arg=info";
        assert_eq!(busy.request("POST", target, &[]).status, 200);
    }
    // Whether lines were lost depends on how much the system keeps between the two; each that
    // comes is whole.
    for _ in 0..100 {
        let chunk = sleeper.chunk().unwrap();
        let line: Value = serde_json::from_slice(&chunk).unwrap();
        assert!(line["msg"].is_string(), "{line}");
    }
}

#[test]
fn figures_are_told_to_prometheus() {
    let (repo, daemon, api) = served();
    upload(&api, "/api/v0/add", b"hello\n");
    post(&api, &format!("/api/v0/cat?arg={HELLO}"));
    post(&api, "/api/v0/cat?arg=nonsense");
    for (path, status) in [(format!("/ipfs/{HELLO}"), 200), ("/ipfs/nonsense".into(), 400)] {
        assert_eq!(ask(&daemon.gateway, "GET", &path, &[]).status, status, "{path}");
    }
    let scrape = || Connection::open(&api).request("GET", "/debug/metrics/prometheus", &[]);
    // A figure is told when the reply has ended, which the client may know first.
    let since = std::time::Instant::now();
    let told = loop {
        let told = scrape();
        if told.text().contains("henge_gateway_requests_total{kind=\"refusal\"") {
            break told;
        }
        assert!(since.elapsed().as_secs() < 10, "{}", told.text());
    };
    let kind = told.header("Content-Type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = told.text();
    for line in [
        "henge_rpc_requests_total{command=\"add\",status=\"200\"} 1",
        "henge_rpc_requests_total{command=\"cat\",status=\"200\"} 1",
        "henge_rpc_requests_total{command=\"cat\",status=\"500\"} 1",
        "henge_rpc_request_duration_seconds_count{command=\"cat\"} 2",
        "henge_gateway_requests_total{kind=\"file\",status=\"200\"} 1",
        "henge_gateway_requests_total{kind=\"refusal\",status=\"400\"} 1",
        "ipfs_http_gw_responses_total{code=\"200\"} 1",
        "ipfs_http_gw_concurrent_requests 0",
        "henge_store_blocks 1",
        "# TYPE henge_rpc_request_duration_seconds histogram",
        "# EOF",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}\n{text}");
    }
    for name in ["process_resident_memory_bytes", "process_open_fds", "henge_store_limit_bytes"] {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        assert!(line.unwrap().parse::<f64>().unwrap() > 0.0, "{name}");
    }
    assert_eq!(post(&api, "/debug/metrics/prometheus").status, 405);
    let page = [("Origin", "https://evil.example")];
    let refused = Connection::open(&api).request("GET", "/debug/metrics/prometheus", &page);
    assert_eq!(refused.status, 403);
    drop(daemon);
    let secrets = r#"{"one": {"AuthSecret": "bearer:t", "AllowedPaths": ["/debug/metrics"]}}"#;
    repo.ok(["config", "--json", "API.Authorizations", secrets]);
    let daemon = Daemon::offline(&repo);
    let with = |headers: &[(&str, &str)]| {
        let mut connection = Connection::open(&daemon.api());
        connection.request("GET", "/debug/metrics/prometheus", headers).status
    };
    assert_eq!((with(&[]), with(&[("Authorization", "Bearer t")])), (403, 200));
}

#[test]
fn pin_add_tells_its_progress_when_asked() {
    let (repo, _daemon, api) = served();
    let added = upload(&api, "/api/v0/add?pin=false", &keystream("pins", 4 << 20)).json();
    let root = added["Hash"].as_str().unwrap();
    let answer = post(&api, &format!("/api/v0/pin/add?progress=true&arg={root}"));
    assert_eq!(answer.header("X-Chunked-Output"), Some("1"));
    let events: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [progress @ .., last] = events.as_slice() else { panic!("no events") };
    assert_eq!(last, &json!({ "Pins": [root] }));
    let told = progress.last().unwrap();
    assert_eq!(told["Progress"], 17, "the root and 16 chunks: {told}");
    assert!(told["Bytes"].as_u64().unwrap() > 4 << 20, "{told}");
    // Without asking it is one value.
    let plain = post(&api, &format!("/api/v0/pin/add?arg={root}"));
    assert_eq!((plain.header("X-Chunked-Output"), plain.json()), (None, json!({ "Pins": [root] })));
    let said = repo.run(["pin", "add", "--progress", root]);
    assert_eq!((said.code, said.text()), (0, format!("pinned {root} recursively")));
    assert!(said.err.starts_with("Fetched/Processed 1 nodes ("), "{}", said.err);
    // An error before anything was found decides the status.
    let failed = post(&api, &format!("/api/v0/pin/add?progress=true&arg={ABSENT}"));
    assert_eq!(failed.status, 500, "{failed:?}");
    assert!(failed.json()["Message"].as_str().unwrap().starts_with("pin: "), "{failed:?}");
}

#[test]
fn the_configuration_is_edited_by_the_editor_of_the_environment() {
    let repo = Repo::new();
    let edit = |editor: &str| {
        crate::harness::said(
            repo.command(["config", "edit"]).env("EDITOR", editor).output().unwrap(),
        )
    };
    let config = || std::fs::read_to_string(repo.root().join("config")).unwrap();
    let before = config();
    let said = edit(r#"sed -i 's/"StorageMax": "[^"]*"/"StorageMax": "7GB"/'"#);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(repo.ok(["config", "Datastore.StorageMax"]), "7GB");
    assert_ne!(config(), before);
    let edited = config();
    // An editor that fails, or leaves what is no configuration, changes nothing.
    for (editor, why) in [("false", "the editor failed"), ("echo nonsense >", "config-edit-")] {
        let line = crate::harness::one_line(&edit(editor));
        assert!(line.contains(why), "{editor}: {line}");
        assert_eq!(config(), edited, "{editor}");
    }
    assert!(crate::harness::one_line(&edit("")).contains("$EDITOR not set"));
    let mode = std::fs::metadata(repo.root().join("config")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
}

#[test]
fn auto_is_expanded_where_that_is_asked_for() {
    let repo = Repo::new();
    let shown = |args: &[&str]| -> Value { serde_json::from_str(&repo.ok(args)).unwrap() };
    assert_eq!(shown(&["config", "Routing.DelegatedRouters"]), json!(["auto"]));
    assert_eq!(shown(&["config", "--expand-auto", "Routing.DelegatedRouters"]), json!([]));
    assert_eq!(shown(&["config", "show"])["Ipns"]["DelegatedPublishers"], json!(["auto"]));
    let expanded = shown(&["config", "show", "--expand-auto"]);
    assert_eq!(expanded["Ipns"]["DelegatedPublishers"], json!([]));
    assert_eq!(expanded["DNS"]["Resolvers"], json!({}));
    let line = repo.fails(["config", "--expand-auto", "Datastore.StorageMax", "7GB"]);
    assert!(line.contains("only be used for reading"), "{line}");
}

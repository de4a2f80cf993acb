//! What pins have beyond Kubo's: labels, an expiry; and what of it `pin ls` shows and looks for.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Daemon, Repo};
use crate::http_client::post;
use crate::surface::{ABSENT, DEEP, FOLDER, HELLO, SUB, filled, json_of, lines};

/// The rows of a stream.
fn rows(api: &str, query: &str) -> Vec<Value> {
    let answer = post(api, &format!("/api/v0/pin/ls?stream=true&{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn labels_are_kept_shown_and_looked_for() {
    let repo = filled();
    let labels = ["--label=app=web", "--label=env=a=b"];
    repo.ok([&["pin", "add", "--name=site", FOLDER], &labels[..]].concat());
    repo.ok(["pin", "add", "--label=app=web", HELLO]);
    let find = |filters: &[&str]| lines(&repo, &[&["pin", "ls", "-q"], filters].concat());
    assert_eq!(find(&["--label=app=web"]).len(), 2);
    assert_eq!(find(&labels), [FOLDER]);
    assert_eq!(find(&["--label=app=web", "--name=si"]), [FOLDER]);
    assert_eq!(find(&["--label=app=web", "--name=none"]), [""; 0]);
    assert_eq!(find(&["--label=app=we"]), [""; 0]);
    assert_eq!(find(&["--label=app=web", "-t", "direct"]), [""; 0]);
    // As Kubo prints it, unless asked for more.
    assert_eq!(lines(&repo, &["pin", "ls", HELLO]), [format!("{HELLO} recursive")]);
    let long = repo.ok(["pin", "ls", "-l", FOLDER]);
    let begins = format!("{FOLDER} recursive site created=2");
    assert!(long.starts_with(&begins) && long.ends_with("Z label:app=web label:env=a=b"), "{long}");
    let reply = json_of(&repo, &["pin", "ls", "--names", FOLDER]);
    let shown = &reply["Keys"][FOLDER];
    assert_eq!(shown["Labels"], json!({ "app": "web", "env": "a=b" }));
    assert!(shown["Created"].as_str().unwrap().ends_with('Z') && shown["Expires"].is_null());
    // They go with the pin, and away with one that replaces it.
    repo.ok(["pin", "update", FOLDER, SUB]);
    assert_eq!(find(&labels), [SUB]);
    repo.ok(["pin", "add", SUB]);
    assert_eq!(find(&labels), [""; 0]);
    assert_eq!(
        json_of(&repo, &["pin", "ls", SUB])["Keys"][SUB],
        json!({ "Type": "recursive", "Name": "" })
    );
    repo.ok(["pin", "rm", HELLO]);
    assert_eq!(find(&["--label=app=web"]), [""; 0]);
}

#[test]
fn labels_and_times_that_are_none_are_refused() {
    let repo = filled();
    for label in ["app", "=web"] {
        let line = repo.fails(["pin", "add", &format!("--label={label}"), HELLO]);
        assert_eq!(line, format!("Error: pin: invalid label {label:?}: expected key=value"));
        repo.fails(["pin", "ls", &format!("--label={label}")]);
    }
    let long = format!("--label={}=v", "k".repeat(65));
    assert!(repo.fails(["pin", "add", &long, HELLO]).contains("1 to 64 bytes"));
    let many: Vec<String> = (0..33).map(|n| format!("--label={n}=v")).collect();
    let args = ["pin", "add", HELLO].into_iter().chain(many.iter().map(String::as_str));
    assert!(repo.fails(args).contains("at most 32"));
    for time in ["12", "0", "0s", "-1h", "1d", ""] {
        let line = repo.fails(["pin", "add", &format!("--expire-in={time}"), HELLO]);
        assert!(line.starts_with("Error: invalid expire-in: "), "{line}");
    }
    assert_eq!(lines(&repo, &["pin", "ls", "-t", "recursive", "-q"]), [FOLDER]);
}

#[test]
fn an_expired_pin_holds_until_it_is_released() {
    let repo = filled();
    repo.ok(["pin", "add", "--expire-in=1s", "--name=short", SUB]);
    repo.ok(["pin", "add", "--expire-in=12h", HELLO]);
    repo.ok(["pin", "rm", FOLDER]);
    let shown = json_of(&repo, &["pin", "ls", "-t", "recursive"]);
    assert!(shown["Keys"][HELLO]["Expires"].as_str().is_some_and(|time| time.ends_with('Z')));
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(repo.ok(["pin", "ls", SUB]), format!("{SUB} recursive"), "nobody released it yet");
    let gone = lines(&repo, &["repo", "gc", "-q"]);
    assert_eq!(gone.len(), 4, "both folders, a link and a file: {gone:?}");
    assert!(repo.fails(["pin", "ls", SUB]).contains("is not pinned"));
    assert!(repo.fails(["pin", "rm", SUB]).contains("not pinned"));
    assert!(repo.fails(["cat", DEEP]).contains(DEEP));
    assert_eq!(lines(&repo, &["pin", "ls"]), [format!("{HELLO} recursive")]);
    assert_eq!(repo.ok(["cat", HELLO]), "hello");
    // A pin made again without a time stays for good.
    repo.ok(["pin", "add", HELLO]);
    let kept = json_of(&repo, &["pin", "ls", HELLO]);
    assert_eq!(kept["Keys"][HELLO], json!({ "Type": "recursive", "Name": "" }));
}

#[test]
fn a_daemon_releases_what_has_expired() {
    let repo = Repo::for_daemon();
    repo.file("a", "a\n");
    repo.file("b", "b\n");
    let [a, b] = ["a", "b"].map(|name| repo.ok(["add", "-Q", "--pin=false", name]));
    repo.ok(["pin", "add", "--expire-in=1s", &a]);
    repo.ok(["pin", "add", "--expire-in=1h", &b]);
    std::thread::sleep(Duration::from_millis(2100));
    let daemon = Daemon::offline(&repo);
    let since = Instant::now();
    while rows(&daemon.api(), "type=recursive").len() > 1 {
        assert!(since.elapsed() < Duration::from_secs(30), "{a} is not released");
        std::thread::sleep(Duration::from_millis(20));
    }
    let left = rows(&daemon.api(), "names=true");
    assert_eq!((left.len(), &left[0]["Cid"]), (1, &json!(b)));
    assert!(left[0]["Expires"].is_string() && left[0]["Name"].is_null(), "{left:?}");
    assert_eq!(repo.ok(["cat", &a]), "a", "GC frees it, nobody else");
}

#[test]
fn a_listing_of_more_than_a_page_has_every_pin_once() {
    let repo = Repo::for_daemon();
    let root = repo.path("many");
    for n in 0..2100 {
        repo.file(root.join(format!("{n}")), format!("{n}\n"));
    }
    let folder = repo.ok(["add", "-rQ", "--pin=false", "many"]);
    let daemon = Daemon::offline(&repo);
    let files = lines(&repo, &["refs", &folder]);
    assert_eq!(files.len(), 2100);
    for some in files.chunks(300) {
        let args: Vec<String> = some.iter().map(|cid| format!("arg={cid}")).collect();
        let answer = post(&daemon.api(), &format!("/api/v0/pin/add?name=file&{}", args.join("&")));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let cids = |query: &str| {
        let listed = rows(&daemon.api(), query).into_iter();
        let mut cids: Vec<String> =
            listed.map(|row| row["Cid"].as_str().unwrap().to_owned()).collect();
        cids.sort();
        cids
    };
    let mut wanted = files.clone();
    wanted.sort();
    assert_eq!(cids("type=recursive"), wanted);
    assert_eq!(cids("name=il"), wanted);
    repo.ok(["pin", "add", &folder]);
    assert_eq!(cids("type=indirect"), [""; 0], "each is pinned itself");
    for cid in &files[..100] {
        assert_eq!(post(&daemon.api(), &format!("/api/v0/pin/rm?arg={cid}")).status, 200);
    }
    let mut below = files[..100].to_vec();
    below.sort();
    assert_eq!(cids("type=indirect"), below);
    assert_eq!(cids("").len(), 2101);
    let keys = post(&daemon.api(), "/api/v0/pin/ls").json();
    assert_eq!(keys["Keys"].as_object().unwrap().len(), 2101);
    assert_eq!(lines(&repo, &["pin", "verify", "--verbose"]).len(), 2001);
}

#[test]
fn telling_how_a_block_is_kept_asks_nobody() {
    let repo = Repo::for_daemon();
    let daemon = Daemon::start(&repo);
    let since = Instant::now();
    let answer = post(&daemon.api(), &format!("/api/v0/pin/ls?arg={ABSENT}"));
    assert!(answer.text().contains("is not pinned"), "{}", answer.text());
    let answer = post(&daemon.api(), &format!("/api/v0/pin/ls?arg={ABSENT}/a"));
    assert!(answer.status == 500 && answer.text().contains(ABSENT), "{}", answer.text());
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

//! `henge share`: one command from a folder to a link.

use std::io::{BufRead as _, BufReader};

use crate::harness::Repo;
use crate::http_client;

#[test]
fn a_folder_becomes_a_link_that_opens() {
    // Its own settings would listen and ask around beyond the loopback.
    let repo = Repo::for_daemon();
    repo.file("photos/a.txt", "hello\n");
    let mut child = repo.command(["share", "photos"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let link = lines.by_ref().find(|line| line.starts_with("http://")).expect("a link");
    let (host, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let listing = http_client::ask(host, "GET", &format!("/{path}/"), &[]);
    assert!(listing.status == 200 && listing.text().contains("a.txt"), "{}", listing.text());
    let file = http_client::ask(host, "GET", &format!("/{path}/a.txt"), &[]);
    assert_eq!((file.status, file.text().as_str()), (200, "hello\n"));
    let remote = lines.by_ref().find(|line| line.contains(" --from ")).expect("a command");
    let seen = lines.by_ref().find(|line| line.contains("reads")).expect("who is reading");
    assert!(seen.starts_with("127.0.0.1 reads /ipfs/"), "{seen}");
    // The command for another machine, on this one.
    let other = Repo::new();
    let words: Vec<&str> = remote.split(' ').collect();
    assert_eq!((words[0], words[1]), ("henge", "get"), "{remote}");
    other.ok([&words[1..], &["-o", "copy"]].concat());
    assert_eq!(std::fs::read(other.path("copy/a.txt")).unwrap(), b"hello\n");
    let id = other.ok(["id", "-f", "<id>"]);
    let told = lines.by_ref().find(|line| line.contains("has fetched")).expect("who fetches");
    assert!(told.starts_with(&format!("{id} has fetched ")), "{told}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(repo.ok(["pin", "ls", "-q", "--type=recursive"]).len() > 40, "it stays pinned");
}

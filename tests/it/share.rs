//! `henge share`: one command from a folder to a link.

use std::io::{BufRead as _, BufReader};

use crate::harness::Repo;
use crate::http_client;

#[test]
fn a_folder_becomes_a_link_that_opens() {
    let repo = Repo::absent();
    repo.file("photos/a.txt", "hello\n");
    let mut child = repo.command(["share", "photos"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let link = lines.by_ref().find(|line| line.starts_with("http://")).expect("a link");
    let (host, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let listing = http_client::ask(host, "GET", &format!("/{path}/"), &[]);
    assert!(listing.status == 200 && listing.text().contains("a.txt"), "{}", listing.text());
    let file = http_client::ask(host, "GET", &format!("/{path}/a.txt"), &[]);
    assert_eq!((file.status, file.text().as_str()), (200, "hello\n"));
    let seen = lines.by_ref().find(|line| line.contains("reads")).expect("who is reading");
    assert!(seen.starts_with("127.0.0.1 reads /ipfs/"), "{seen}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(repo.ok(["pin", "ls", "-q", "--type=recursive"]).len() > 40, "it stays pinned");
}

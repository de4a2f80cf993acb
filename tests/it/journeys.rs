//! What a newcomer does, from end to end, with the binary.

use std::io::Write as _;

use crate::harness::{Repo, keystream, soak};

#[test]
fn a_folder_goes_in_and_comes_out() {
    let repo = Repo::new();
    repo.file("d/a.txt", "hello\n");
    repo.file("d/sub/b", "deep\n");
    std::os::unix::fs::symlink("a.txt", repo.path("d/link")).unwrap();
    let added = repo.ok(["add", "-r", "d"]);
    let last = added.lines().last().unwrap();
    let cid = last.strip_prefix("added ").unwrap().strip_suffix(" d").unwrap();
    assert_eq!(repo.ok(["cat", &format!("{cid}/sub/b")]), "deep");
    let listed = repo.ok(["ls", cid]);
    assert!(listed.ends_with("sub/") && listed.lines().count() == 3, "{listed}");
    repo.ok(["get", cid, "-o", "out"]);
    assert_eq!(std::fs::read(repo.path("out/link")).unwrap(), b"hello\n");
    assert_eq!(std::fs::read_link(repo.path("out/link")).unwrap().to_str(), Some("a.txt"));
    assert_eq!(repo.ok(["pin", "ls", "-q", "--type=recursive"]), cid);
    repo.ok(["pin", "rm", cid]);
    assert_eq!(repo.ok(["repo", "gc"]).lines().count(), 5);
    assert!(repo.fails(["cat", &format!("{cid}/a.txt")]).contains("not found"));
}

#[test]
fn a_file_larger_than_memory_allows_is_added_in_bounded_memory() {
    const PEAK_MAX: u64 = 200 << 20;
    let size = if soak() { 1 << 30 } else { 384 << 20 };
    let repo = Repo::new();
    let piece = keystream("large", 1 << 20);
    let mut file = std::fs::File::create(repo.path("large")).unwrap();
    for n in 0..size / piece.len() as u64 {
        file.write_all(&n.to_be_bytes()).unwrap();
        file.write_all(&piece[8..]).unwrap();
    }
    let mut child = repo.command(["add", "-Q", "large"]).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    assert!(peak > 16 << 20, "the peak was not seen: {peak}");
    assert!(peak <= PEAK_MAX, "{} MiB for a file of {} MiB", peak >> 20, size >> 20);
}

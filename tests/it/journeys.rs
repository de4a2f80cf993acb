//! What a newcomer does, from end to end, with the binary.

use crate::harness::Repo;

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

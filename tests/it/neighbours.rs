//! Nodes with the configuration that `init` writes, on a network of their own: they find each
//! other by mDNS. The network is made by the test, and nothing of it leaves this machine.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Repo, keystream, skip};

/// A network namespace; it goes with this.
struct Namespace(String);

impl Namespace {
    /// Runs a command of iproute2; whether it did what it was told.
    fn ip(arguments: &[&str]) -> bool {
        let said = Command::new("ip").args(arguments).stderr(Stdio::null()).status();
        said.is_ok_and(|status| status.success())
    }

    fn new(name: String) -> Option<Self> {
        Self::ip(&["netns", "add", &name]).then_some(Self(name))
    }

    /// Gives one end of a cable an address in here.
    fn plug(&self, end: &str, address: &str) {
        let Self(name) = self;
        assert!(Self::ip(&["link", "set", end, "netns", name]));
        for rest in [
            vec!["link", "set", "lo", "up"],
            vec!["addr", "add", address, "dev", end],
            vec!["link", "set", end, "up"],
            vec!["route", "add", "default", "dev", end],
        ] {
            assert!(Self::ip(&[vec!["-n", name.as_str()], rest].concat()));
        }
    }

    /// A command of henge in here.
    fn henge(&self, repo: &Repo, arguments: &[&str]) -> Command {
        let inside = repo.command(arguments);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(inside.get_program()).args(inside.get_args());
        for (key, value) in inside.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command
    }

    fn says(&self, repo: &Repo, arguments: &[&str]) -> Vec<u8> {
        self.henge(repo, arguments).output().unwrap().stdout
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        Self::ip(&["netns", "del", &self.0]);
    }
}

/// A daemon that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn neighbours_find_each_other_without_being_told() {
    let test = "neighbours_find_each_other";
    let own = |what: &str| format!("{what}{}", std::process::id());
    let names = (Namespace::new(own("henge-a")), Namespace::new(own("henge-b")));
    let (Some(a), Some(b)) = names else {
        return skip(test, "network namespaces cannot be made here");
    };
    let ends = (own("ha"), own("hb"));
    if !Namespace::ip(&["link", "add", &ends.0, "type", "veth", "peer", "name", &ends.1]) {
        return skip(test, "pairs of network devices cannot be made here");
    }
    a.plug(&ends.0, "10.211.7.1/24");
    b.plug(&ends.1, "10.211.7.2/24");
    let repos = [Repo::absent(), Repo::absent()];
    let start = |space: &Namespace, repo: &Repo| {
        repo.ok(["init"]);
        // Nobody outside is asked, whatever this machine's network would allow.
        repo.ok(["config", "--json", "Bootstrap", "[]"]);
        let mut command = space.henge(repo, &["daemon"]);
        Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let _daemons = [start(&a, &repos[0]), start(&b, &repos[1])];
    let since = Instant::now();
    loop {
        let peers = String::from_utf8(a.says(&repos[0], &["swarm", "peers"])).unwrap();
        if peers.contains("/ip4/10.211.7.2/") {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "no neighbour was found: {peers:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let content = keystream(test, 3 << 20);
    let path = repos[1].file("content", &content);
    let added = b.says(&repos[1], &["add", "-Q", path.to_str().unwrap()]);
    let cid = String::from_utf8(added).unwrap();
    let got = a.says(&repos[0], &["--timeout=30s", "cat", cid.trim()]);
    assert!(got == content, "{} bytes came", got.len());
}

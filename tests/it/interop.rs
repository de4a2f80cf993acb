//! Henge with Kubo and with Helia, over each transport that both speak: connections, blocks, and
//! provider records.

use std::time::{Duration, Instant};

use crate::harness::{keystream, skip, soak};
use crate::peers::Peer;
use crate::peers::Transport::{self, Quic, Tcp, Ws};
use crate::peers::helia::Helia;
use crate::peers::kubo::Kubo;
use crate::surface::lines;
use crate::swarm::Node;

/// Bytes that are fetched: the small form and the full one.
const BYTES: (usize, usize) = (8 << 20, 64 << 20);

/// An implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Henge,
    Kubo,
    Helia,
}

use Who::{Helia as Js, Henge, Kubo as Go};

/// Who fetches from whom, over what.
const FETCHES: &[(Who, Who, Transport)] = &[
    (Henge, Go, Tcp),
    (Go, Henge, Tcp),
    (Henge, Go, Quic),
    (Go, Henge, Quic),
    (Henge, Go, Ws),
    (Go, Henge, Ws),
    (Henge, Js, Tcp),
    (Js, Henge, Tcp),
    (Henge, Js, Ws),
    (Js, Henge, Ws),
    (Henge, Henge, Tcp),
];

/// A node of any of them.
enum Party {
    Ours(Box<Node>),
    Theirs(Peer),
}

impl Party {
    /// Starts one that listens for one transport.
    fn start(who: Who, transport: Transport) -> Result<Self, String> {
        Ok(match who {
            Who::Henge => Self::Ours(Box::new(Node::listening(&[transport.listen()]))),
            Who::Kubo => Self::Theirs(Kubo::start(&[transport])?),
            Who::Helia => Self::Theirs(Helia::start(&[transport], false)?),
        })
    }

    /// Starts one that keeps and asks for records of the local network's DHT.
    fn in_dht(who: Who) -> Result<Self, String> {
        match who {
            Who::Helia => Ok(Self::Theirs(Helia::start(&[Tcp], true)?)),
            other => Self::start(other, Tcp),
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Ours(node) => &node.id,
            Self::Theirs(peer) => &peer.id,
        }
    }

    fn address(&self) -> &str {
        match self {
            Self::Ours(node) => &node.address,
            Self::Theirs(peer) => &peer.addresses[0],
        }
    }

    fn connect(&mut self, address: &str) {
        match self {
            Self::Ours(node) => drop(node.repo.ok(["swarm", "connect", address])),
            Self::Theirs(peer) => peer.connect(address),
        }
    }

    fn is_connected(&mut self, id: &str) -> bool {
        match self {
            Self::Ours(node) => node.peers().iter().any(|peer| peer.ends_with(id)),
            Self::Theirs(peer) => peer.is_connected(id),
        }
    }

    /// Waits until it is connected with a peer, or is not any more.
    fn awaits(&mut self, id: &str, connected: bool) {
        let since = Instant::now();
        while self.is_connected(id) != connected {
            assert!(since.elapsed() < Duration::from_secs(30), "connected with {id}: {connected}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn add(&mut self, content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("content");
        std::fs::write(&path, content).unwrap();
        match self {
            Self::Ours(node) => node.repo.ok(["add".as_ref(), "-Q".as_ref(), path.as_os_str()]),
            Self::Theirs(peer) => peer.add(&path),
        }
    }

    fn fetch(&mut self, cid: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("content");
        match self {
            Self::Ours(node) => {
                let said = node.repo.run(["--timeout=120s", "cat", cid]);
                assert_eq!(said.code, 0, "{}", said.err);
                said.out
            }
            Self::Theirs(peer) => {
                peer.get(cid, &path);
                std::fs::read(&path).unwrap()
            }
        }
    }
}

/// Both parties; else what the one that is not here says.
fn both(test: &str, one: Who, other: Who, transport: Transport) -> Option<(Party, Party)> {
    match (Party::start(one, transport), Party::start(other, transport)) {
        (Ok(one), Ok(other)) => Some((one, other)),
        (Err(why), _) | (_, Err(why)) => {
            skip(test, &why);
            None
        }
    }
}

/// One fetches from the other what only that one has.
fn fetch(test: &str, fetcher: Who, provider: Who, transport: Transport) {
    let Some((mut to, mut from)) = both(test, fetcher, provider, transport) else { return };
    let bytes = if soak() { BYTES.1 } else { BYTES.0 };
    let content = keystream(&format!("{fetcher:?} {provider:?} {transport:?}"), bytes);
    let cid = from.add(&content);
    to.connect(from.address());
    let since = Instant::now();
    assert!(to.fetch(&cid) == content, "{fetcher:?} from {provider:?} over {transport:?}");
    let rate = (bytes >> 20) as f64 / since.elapsed().as_secs_f64();
    println!("{fetcher:?} from {provider:?} over {transport:?}: {rate:.0} MiB/s");
}

/// Each connects with the other, and both know; henge's `ping` and `id` work.
fn meet(test: &str, theirs: Who, transport: Transport) {
    let Some((mut we, mut they)) = both(test, Henge, theirs, transport) else { return };
    let (our_id, their_id) = (we.id().to_owned(), they.id().to_owned());
    let (our_address, their_address) = (we.address().to_owned(), they.address().to_owned());
    we.connect(&their_address);
    they.awaits(&our_id, true);
    let Party::Ours(node) = &we else { panic!("henge is ours") };
    assert_eq!(node.peers(), [their_address.as_str()], "{transport:?}");
    let said = lines(&node.repo, &["ping", "-n", "2", &their_id]);
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(said[0], format!("PING {their_id}."));
    let agent = node.repo.ok(["id", "-f", "<aver>", &their_id]);
    let name = if theirs == Who::Kubo { "kubo/" } else { "helia/" };
    assert!(agent.contains(name), "{agent}");
    node.repo.ok(["swarm", "disconnect", &their_address]);
    they.awaits(&our_id, false);
    they.connect(&our_address);
    we.awaits(&their_id, true);
    assert!(they.is_connected(&our_id));
    if let (Who::Helia, Party::Theirs(helia)) = (theirs, &mut they) {
        assert!(helia.ping(&our_address) < 10_000.0);
    }
}

#[test]
fn henge_and_kubo_connect_over_each_transport() {
    for transport in [Tcp, Quic, Ws] {
        meet("henge_and_kubo_connect", Go, transport);
    }
}

#[test]
fn henge_and_helia_connect_over_each_transport() {
    for transport in [Tcp, Ws] {
        meet("henge_and_helia_connect", Js, transport);
    }
}

/// A control: what fails below does not fail because of the drivers.
#[test]
fn kubo_and_helia_fetch_from_each_other() {
    fetch("kubo_and_helia_fetch", Go, Js, Tcp);
    fetch("kubo_and_helia_fetch", Js, Go, Tcp);
}

#[test]
fn blocks_go_both_ways_between_implementations() {
    for (fetcher, provider, transport) in FETCHES {
        fetch("blocks_go_both_ways", *fetcher, *provider, *transport);
    }
}

/// Who fetches, who stands between, who provides: by the DHT alone, since the first and the last
/// know only the one between them.
const ROUTES: &[(Who, Who, Who)] = &[
    (Henge, Henge, Henge),
    (Henge, Go, Henge),
    (Henge, Go, Go),
    (Go, Henge, Go),
    (Go, Go, Henge),
    (Henge, Js, Js),
    (Js, Henge, Js),
    (Js, Js, Henge),
];

/// Time from asking to having it.
const FOUND_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn content_is_found_by_the_dht_alone_with_henge_in_each_place() {
    let test = "content_is_found_by_the_dht_alone";
    for (fetcher, between, provider) in ROUTES {
        let parties = [fetcher, between, provider].map(|who| Party::in_dht(*who));
        let [mut wants, mut hub, mut has] = match parties {
            [Ok(wants), Ok(hub), Ok(has)] => [wants, hub, has],
            [Err(why), ..] | [_, Err(why), _] | [.., Err(why)] => {
                skip(test, &why);
                continue;
            }
        };
        for end in [&mut wants, &mut has] {
            end.connect(hub.address());
            hub.awaits(end.id(), true);
        }
        // Each learns what the other speaks a moment after the connection stands.
        std::thread::sleep(Duration::from_secs(1));
        let row = format!("{fetcher:?} by {between:?} from {provider:?}");
        let content = keystream(&row, 1 << 20);
        let cid = has.add(&content);
        if let (Who::Helia, Party::Theirs(helia)) = (provider, &mut has) {
            helia.provide(&cid);
        }
        // The others announce by themselves.
        std::thread::sleep(Duration::from_secs(1));
        // Looking around in the DHT may have brought them together already, and does so again: apart
        // they go.
        for _ in 0..20 {
            for (one, other) in [(&wants, &has), (&has, &wants)] {
                if let Party::Ours(node) = one {
                    node.repo.run(["swarm", "disconnect", &format!("/p2p/{}", other.id())]);
                }
            }
            if !matches!(wants, Party::Ours(_)) || !wants.is_connected(has.id()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let known = wants.is_connected(has.id());
        assert!(!known || !matches!(wants, Party::Ours(_)), "{row}: still connected");
        let since = Instant::now();
        assert!(wants.fetch(&cid) == content, "{row}");
        assert!(since.elapsed() < FOUND_WITHIN, "{row}: {:?}", since.elapsed());
        println!("{row}: {:.2} s", since.elapsed().as_secs_f64());
    }
}

#[test]
fn a_dht_of_helia_leads_from_one_henge_to_another() {
    let test = "a_dht_of_helia_leads";
    let mut helia = match Helia::start(&[Tcp], true) {
        Ok(helia) => helia,
        Err(why) => return skip(test, &why),
    };
    let (has, wants) = (Node::start(), Node::start());
    let content = keystream(test, 1 << 20);
    has.repo.ok(["swarm", "connect", &helia.addresses[0]]);
    wants.repo.ok(["swarm", "connect", &helia.addresses[0]]);
    let cid = has.repo.feed(["add", "-Q"], &content).text();
    let since = Instant::now();
    while !helia.providers(&cid, 1).contains(&has.id) {
        assert!(since.elapsed() < Duration::from_secs(60), "{cid} was never announced");
    }
    let said = wants.repo.run(["--timeout=60s", "cat", &cid]);
    assert!(said.code == 0 && said.out == content, "{}", said.err);
    assert!(wants.peers().iter().any(|peer| peer.ends_with(&has.id)), "{:?}", wants.peers());
}

#[test]
fn henge_finds_what_helia_provides() {
    let test = "henge_finds_what_helia_provides";
    let start = || Helia::start(&[Tcp], true);
    let (mut hub, mut has) = match (start(), start()) {
        (Ok(hub), Ok(has)) => (hub, has),
        (Err(why), _) | (_, Err(why)) => return skip(test, &why),
    };
    let wants = Node::start();
    let content = keystream(test, 1 << 20);
    let cid = has.add(&wants.repo.file("content", &content));
    has.connect(&hub.addresses[0]);
    let since = Instant::now();
    while hub.providers(&cid, 1) != [has.id.as_str()] {
        assert!(since.elapsed() < Duration::from_secs(60), "{cid} was never announced");
        // It may not know yet that the other one keeps records.
        has.provide(&cid);
    }
    wants.repo.ok(["swarm", "connect", &hub.addresses[0]]);
    let said = wants.repo.run(["--timeout=60s", "cat", &cid]);
    assert!(said.code == 0 && said.out == content, "{}", said.err);
}

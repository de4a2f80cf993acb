//! A daemon among peers that mean it harm: each row is a way of theirs, with the memory that the
//! daemon may take meanwhile. Beside it an honest peer fetches, and must not notice.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use henge::exchange::wire::{Outgoing, Version, encode};
use henge::ipld::block::{Block, Prefix};
use henge::ipld::cid::{Cid, codec};
use henge::routing::dht::wire::{Contact, Kind, Message};
use tokio::io::AsyncReadExt as _;

use crate::daemon::peak;
use crate::harness::{keystream, soak};
use crate::http_client::post;
use crate::scripted::{Honest, Scripted, pour};
use crate::surface::lines;
use crate::swarm::Node;

const BITSWAP: &str = "/ipfs/bitswap/1.2.0";
const LAN_KAD: &str = "/ipfs/lan/kad/1.0.0";
/// The head of a frame of 4 MiB, the longest that is read.
const HEAD_4_MIB: [u8; 4] = [0x80, 0x80, 0x80, 0x02];
/// Time that a row's peers have; then they are cut off.
const ATTACK_TIME: Duration = Duration::from_secs(20);

/// What a row's peers work with.
struct Arena {
    /// The daemon's address.
    address: String,
    /// What it serves.
    content: Vec<Cid>,
    /// The full form.
    full: bool,
}

impl Arena {
    fn count(&self, small: usize, full: usize) -> usize {
        if self.full { full } else { small }
    }
}

type Attack = for<'a> fn(&'a Arena) -> BoxFuture<'a, ()>;

/// The way, and the most memory in MiB that the daemon may hold meanwhile, whose own is about 60.
const ROWS: &[(&str, Attack, u64)] = &[
    ("nobody", |_| async {}.boxed(), 200),
    ("garbage", |arena| garbage(arena).boxed(), 200),
    ("frames cut off", |arena| cut_off(arena).boxed(), 200),
    ("a message of 5 MiB", |arena| too_big(arena).boxed(), 200),
    ("blocks that nobody asked for", |arena| unsolicited(arena).boxed(), 200),
    ("10,000 wants of each kind", |arena| wants(arena).boxed(), 200),
    ("streams opened and left", |arena| left(arena).boxed(), 200),
    ("frames of 4 MiB announced", |arena| announced(arena).boxed(), 200),
    ("comes and goes", |arena| comes_and_goes(arena).boxed(), 200),
    ("says who it is without end", |arena| pushes(arena).boxed(), 200),
    ("asks and reads nothing", |arena| sleepers(arena).boxed(), 200),
    ("provider records", |arena| providers(arena).boxed(), 200),
    ("questions to the DHT", |arena| questions(arena).boxed(), 200),
    ("DHT messages of 4 MiB begun", |arena| dht_begun(arena).boxed(), 200),
    ("streams filled behind frames that stall", |arena| filled(arena).boxed(), 400),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hostile_peers_cost_little_and_hold_nobody_up() {
    rows("/ip4/127.0.0.1/tcp/0", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hostile_peers_over_quic_do_no_better() {
    // A QUIC connection may hold 10 MB that its peer has not acknowledged, and libp2p has no setting
    // for less: rows have up to 16 peers, 64 in the full form.
    rows("/ip4/127.0.0.1/udp/0/quic-v1", if soak() { 640 } else { 160 }).await;
}

/// All rows against one daemon; `more` MiB are added to each one's bound.
async fn rows(listen: &str, more: u64) {
    henge::machine::raise_open_files();
    let full = soak();
    let node = Node::listening(&[listen]);
    let bytes = if full { 64 << 20 } else { 8 << 20 };
    let root = {
        let file = node.repo.file("served", keystream("hostile", bytes));
        node.repo.ok(["add".as_ref(), "-Q".as_ref(), file.as_os_str()])
    };
    let content = lines(&node.repo, &["refs", "-r", &root]);
    let content: Vec<Cid> = content.iter().map(|cid| cid.parse().unwrap()).collect();
    let arena = Arena { address: node.address.clone(), content, full };
    let mut usual = Duration::ZERO;
    let only = std::env::var("HENGE_ROW").unwrap_or_default();
    for (at, (name, attack, bound)) in ROWS.iter().enumerate() {
        if at > 0 && !name.contains(&only) {
            continue;
        }
        node.forget_peak();
        let took = beside(attack(&arena), &arena, bytes).await;
        let mib = peak(node.pid()) >> 20;
        println!("{name}: the honest fetch took {took:.1?}, the daemon {mib} MiB at most");
        usual = if at == 0 { took } else { usual };
        // Attackers and honest peers share the machine's cores with the daemon here.
        assert!(took < usual * 5 + Duration::from_secs(6), "{name}: {took:?}, usually {usual:?}");
        assert!(mib <= bound + more, "{name}: {mib} MiB");
        node.is_sound(name);
    }
}

/// Fetches again and again while an attack lasts; gives the longest time that took.
async fn beside(attack: BoxFuture<'_, ()>, arena: &Arena, bytes: usize) -> Duration {
    let mut attack = std::pin::pin!(tokio::time::timeout(ATTACK_TIME, attack));
    let mut longest = Duration::ZERO;
    loop {
        let mut fetching = std::pin::pin!(fetch(arena, bytes));
        tokio::select! {
            took = &mut fetching => longest = longest.max(took),
            _ = &mut attack => return longest.max(fetching.await),
        }
    }
}

/// Fetches everything as a fresh peer, and gives the time that took.
async fn fetch(arena: &Arena, bytes: usize) -> Duration {
    let (since, honest) = (Instant::now(), Honest::start().await);
    honest.connect(&arena.address).await;
    let got = honest.fetch(&arena.content).await;
    let took = since.elapsed();
    let sum: usize = got.iter().map(|block| block.data().len()).sum();
    assert!(sum >= bytes, "{sum} bytes of {bytes}");
    honest.leave().await;
    took
}

async fn garbage(arena: &Arena) {
    let bytes = keystream("garbage", 64 << 10);
    for peer in Scripted::crowd(4, &arena.address).await {
        for at in 0..arena.count(100, 1000) {
            let part = &bytes[at * 31 % 4096..][..1 + at * 97 % 50_000];
            let (bitswap, kad) = tokio::join!(peer.say(BITSWAP, part), peer.say(LAN_KAD, part));
            drop((bitswap, kad));
        }
        peer.leave().await;
    }
}

async fn cut_off(arena: &Arena) {
    let peer = Scripted::connect(&arena.address).await;
    for at in 0..arena.count(200, 2000) {
        let mut bytes = vec![0xe8, 0x07];
        bytes.resize(2 + at % 999, 0x0a);
        if let Some(mut stream) = peer.say(BITSWAP, &bytes).await {
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
        }
    }
    peer.leave().await;
}

async fn too_big(arena: &Arena) {
    let peer = Scripted::connect(&arena.address).await;
    let mut bytes = vec![0x80, 0x80, 0xc0, 0x02];
    bytes.resize(5 << 20, 0);
    for _ in 0..arena.count(5, 50) {
        let mut stream = peer.open(BITSWAP).await.expect("a stream");
        pour(&mut stream, &bytes).await;
        let mut answer = [0; 1];
        let end = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer)).await;
        assert!(!matches!(end, Ok(Ok(1))), "a message that is too big was answered");
        assert!(end.is_ok(), "its stream stands");
    }
    peer.leave().await;
}

async fn unsolicited(arena: &Arena) {
    let block = |n: u8| Block::hashed(Prefix::v1(codec::RAW), vec![n; 1 << 20].into()).unwrap();
    let blocks: Vec<Block> = (0..3).map(block).collect();
    let named: Vec<_> = blocks.iter().map(|b| (*b.cid(), b.data().clone())).collect();
    let message = encode(&Outgoing::default(), &named, Version::V1_2).concat();
    let crowd = Scripted::crowd(4, &arena.address).await;
    let rounds = arena.count(8, 100);
    join_all(crowd.iter().map(|peer| async {
        let Some(mut stream) = peer.open(BITSWAP).await else { return };
        for _ in 0..rounds {
            pour(&mut stream, &message).await;
        }
    }))
    .await;
    join_all(crowd.into_iter().map(Scripted::leave)).await;
}

/// A want for whatever bytes stand for a CID: the field of a message's wantlist.
fn entry(cid: &[u8]) -> Vec<u8> {
    let mut body = vec![0x0a];
    varint(&mut body, cid.len());
    body.extend(cid);
    body.extend([0x10, 1, 0x28, 1]);
    let mut entry = vec![0x0a];
    varint(&mut entry, body.len());
    entry.extend(body);
    entry
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A whole frame that asks for these.
fn wantlist(cids: &[Vec<u8>]) -> Vec<u8> {
    let list: Vec<u8> = cids.iter().flat_map(|cid| entry(cid)).collect();
    let mut message = vec![0x0a];
    varint(&mut message, list.len());
    message.extend(list);
    let mut frame = Vec::new();
    varint(&mut frame, message.len());
    frame.extend(message);
    frame
}

async fn wants(arena: &Arena) {
    // sha2-256; sha2-512 of 168 bytes and more, which there is not; identity, short and long.
    let kinds: [(&[u8], usize); 4] = [
        (&[1, 0x55, 0x12, 32], 32),
        (&[1, 0x55, 0x13, 0xc8, 1], 200),
        (&[1, 0x55, 0, 40], 40),
        (&[1, 0x55, 0, 0xc8, 1], 200),
    ];
    let noise = keystream("wants", 10_000 * 8 + 200);
    let crowd = Scripted::crowd(arena.count(2, 20), &arena.address).await;
    for (head, len) in kinds {
        let cid = |at: usize| [head, &noise[at * 8..][..len]].concat();
        let all: Vec<Vec<u8>> = (0..10_000).map(cid).collect();
        let frames: Vec<u8> = all.chunks(2500).flat_map(wantlist).collect();
        join_all(crowd.iter().map(|peer| peer.say(BITSWAP, &frames))).await;
    }
    join_all(crowd.into_iter().map(Scripted::leave)).await;
}

async fn left(arena: &Arena) {
    let crowd = Scripted::crowd(arena.count(4, 10), &arena.address).await;
    join_all(crowd.iter().map(|peer| async {
        // What a connection carries at a time; left by being dropped, and opened again.
        for _ in 0..arena.count(5, 10) {
            let opened = join_all((0..100).map(|_| peer.open(BITSWAP))).await;
            assert!(opened.iter().flatten().count() > 0, "no stream at all");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }))
    .await;
    join_all(crowd.into_iter().map(Scripted::leave)).await;
}

async fn announced(arena: &Arena) {
    let crowd = Scripted::crowd(arena.count(16, 80), &arena.address).await;
    let mut held = Vec::new();
    for peer in &crowd {
        held.extend(join_all((0..125).map(|_| peer.say(BITSWAP, &HEAD_4_MIB))).await);
    }
    let open = held.iter().flatten().count();
    assert!(open >= crowd.len() * 100, "{open} streams");
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(held);
    join_all(crowd.into_iter().map(Scripted::leave)).await;
}

async fn filled(arena: &Arena) {
    let crowd = Scripted::crowd(arena.count(16, 40), &arena.address).await;
    let mut filled = HEAD_4_MIB.to_vec();
    filled.resize(250 << 10, 0);
    let held = join_all(crowd.iter().map(|peer| async {
        // All that it may announce at a time; the others wait behind.
        let mut held = join_all((0..4).map(|_| peer.say(BITSWAP, &HEAD_4_MIB))).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        held.extend(join_all((0..120).map(|_| peer.say(BITSWAP, &filled))).await);
        held
    }))
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(held);
    join_all(crowd.into_iter().map(Scripted::leave)).await;
}

async fn comes_and_goes(arena: &Arena) {
    let (crowd, noise) = (Scripted::crowd(4, &arena.address).await, keystream("goes", 8000));
    let cid = |at: usize| [&[1, 0x55, 0x12, 32][..], &noise[at..][..32]].concat();
    let asked = wantlist(&(0..1000).map(cid).collect::<Vec<_>>());
    join_all(crowd.iter().map(|peer| async {
        for _ in 0..arena.count(25, 500) {
            drop(peer.say(BITSWAP, &asked).await);
            peer.net.disconnect(peer.victim, None).await;
            // The daemon may still believe in the connection that is gone.
            let _ = peer.net.connect(peer.victim, vec![]).await;
        }
    }))
    .await;
    join_all(crowd.into_iter().map(Scripted::leave)).await;
}

async fn pushes(arena: &Arena) {
    let crowd = Scripted::crowd(4, &arena.address).await;
    join_all(crowd.iter().map(|peer| async {
        for at in 0..arena.count(100, 2000) {
            // Addresses and protocols, other ones each time, as many as a message takes.
            let mut said = Vec::new();
            for n in 0..100u8 {
                let port = (at as u16).to_be_bytes();
                said.extend([0x12, 8, 4, 10, 1, 2, n, 6, port[0], port[1]]);
                said.extend([0x1a, 6, b'/', b'x', b'/', b'0' + n % 10, port[0] | 0x40, b'y']);
            }
            let mut frame = Vec::new();
            varint(&mut frame, said.len());
            frame.extend(said);
            drop(peer.say("/ipfs/id/push/1.0.0", &frame).await);
        }
    }))
    .await;
    join_all(crowd.into_iter().map(Scripted::leave)).await;
}

async fn sleepers(arena: &Arena) {
    let all: Vec<Vec<u8>> = arena.content.iter().map(Cid::to_bytes).collect();
    let frame = wantlist(&all);
    let crowd = Scripted::crowd(arena.count(16, 64), &arena.address).await;
    let mut accepted = Vec::new();
    for peer in &crowd {
        // The daemon's stream is taken, and nothing of it is read.
        let names = [henge::net::StreamProtocol::new(BITSWAP)];
        accepted.push(peer.net.streams().accept(&names));
        drop(peer.say(BITSWAP, &frame).await);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    join_all(crowd.into_iter().map(Scripted::leave)).await;
}

async fn providers(arena: &Arena) {
    let crowd = Scripted::crowd(4, &arena.address).await;
    let noise = keystream("providers", 20_000);
    let others: Vec<_> = (0..50).map(|_| henge::net::PeerId::random()).collect();
    join_all(crowd.iter().map(|peer| async {
        for own in [true, false] {
            let Some(mut stream) = peer.open(LAN_KAD).await else { return };
            for at in 0..arena.count(1000, 10_000) {
                let key = [&[0x12, 32][..], &noise[at % 10_000..][..32]].concat();
                let who = if own { peer.net.local() } else { others[at % others.len()] };
                let addrs = vec!["/ip4/192.168.7.7/tcp/4001".parse().unwrap()];
                let record = Message::add_provider(key, Contact { peer: who, addrs });
                if !pour(&mut stream, &record.frame()).await {
                    break;
                }
            }
        }
    }))
    .await;
    join_all(crowd.into_iter().map(Scripted::leave)).await;
}

async fn questions(arena: &Arena) {
    let crowd = Scripted::crowd(4, &arena.address).await;
    let noise = keystream("questions", 4096);
    join_all(crowd.iter().map(|peer| async {
        let Some(mut stream) = peer.open(LAN_KAD).await else { return };
        let asked: Vec<u8> = (0..arena.count(2500, 25_000))
            .flat_map(|at| Message::new(Kind::FindNode, noise[at % 4000..][..32].to_vec()).frame())
            .collect();
        // None of the answers is read.
        pour(&mut stream, &asked).await;
    }))
    .await;
    join_all(crowd.into_iter().map(Scripted::leave)).await;
}

async fn dht_begun(arena: &Arena) {
    let crowd = Scripted::crowd(arena.count(8, 60), &arena.address).await;
    let mut begun = HEAD_4_MIB.to_vec();
    begun.resize(2 << 20, 0);
    let mut held = Vec::new();
    for peer in &crowd {
        held.extend(join_all((0..16).map(|_| peer.say(LAN_KAD, &begun))).await);
    }
    drop(held);
    join_all(crowd.into_iter().map(Scripted::leave)).await;
}

/// Says HAVE to whatever a daemon asks for, and sends other bytes.
async fn lie(peer: &Scripted) {
    let names = [henge::net::StreamProtocol::new(BITSWAP)];
    let mut accepted = peer.net.streams().accept(&names);
    let wrong = Block::hashed(Prefix::v1(codec::RAW), vec![9; 200_000].into()).unwrap();
    let block = [(*wrong.cid(), wrong.data().clone())];
    let message = encode(&Outgoing::default(), &block, Version::V1_2).concat();
    let Some(mut answers) = peer.open(BITSWAP).await else { return };
    while let Some(inbound) = accepted.recv().await {
        let mut asked = tokio_util::compat::FuturesAsyncReadCompatExt::compat(inbound.stream);
        let mut some = vec![0; 64 << 10];
        while asked.read(&mut some).await.is_ok_and(|count| count > 0) {
            // The bytes of another block, under the name of none that is wanted.
            if !pour(&mut answers, &message).await {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_daemon_that_fetches_is_neither_led_astray_nor_starved() {
    henge::machine::raise_open_files();
    let full = soak();
    let (node, maker) = (Node::start(), crate::harness::Repo::new());
    let bytes = if full { 64 << 20 } else { 8 << 20 };
    let content = keystream("astray", bytes);
    let file = maker.file("content", &content);
    let root = maker.ok(["add".as_ref(), "-Q".as_ref(), file.as_os_str()]);
    let honest = Honest::start().await;
    let mut names = lines(&maker, &["refs", "-r", &root]);
    names.push(root.clone());
    for name in names {
        let data = maker.run(["block", "get", &name]).out;
        let block = Block::verified(name.parse().unwrap(), data.into()).unwrap();
        honest.store.core().put_unpinned(&[block]).unwrap();
    }
    let crowd = Scripted::crowd(if full { 80 } else { 16 }, &node.address).await;
    let mut held = Vec::new();
    for peer in &crowd {
        held.extend(join_all((0..125).map(|_| peer.say(BITSWAP, &HEAD_4_MIB))).await);
    }
    let liars = Scripted::crowd(4, &node.address).await;
    let lying = join_all(liars.iter().map(lie));
    honest.connect(&node.address).await;
    let since = Instant::now();
    let api = node.api();
    let fetching =
        tokio::task::spawn_blocking(move || post(&api, &format!("/api/v0/cat?arg={root}")).body);
    tokio::select! {
        got = fetching => assert!(got.unwrap() == content, "other bytes"),
        _ = lying => panic!("the liars were cut off"),
        () = tokio::time::sleep(Duration::from_secs(40)) => panic!("it was not fetched"),
    }
    let mib = peak(node.pid()) >> 20;
    println!("fetched among liars in {:.1?}; the daemon {mib} MiB at most", since.elapsed());
    assert!(mib <= 200, "{mib} MiB");
    node.is_sound("liars");
    // None of them holds it up when it stops, either.
    let (well, took) = tokio::task::spawn_blocking(|| node.stop()).await.unwrap();
    assert!(well && took < Duration::from_secs(10), "{well} {took:?}");
    println!("stopped among them in {took:.1?}");
}

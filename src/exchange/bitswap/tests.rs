//! The exchange over real streams: with another node, and with a peer that says what the test
//! wants it to.

use std::time::{Duration, Instant};

use bytes::Bytes;
use libp2p::identity::Keypair;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};

use super::super::wire::{
    Message, Outgoing, PROTOCOLS, Presence, Version, decode_frame, encode, frame_head,
};
use super::*;
use crate::ipld::block::Prefix;
use crate::ipld::cid::codec;
use crate::net::tests::settings;
use crate::net::{self, Inbound, Stop as NetStop, Stream, StreamProtocol};

const TCP: &[&str] = &["/ip4/127.0.0.1/tcp/0"];
const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    net: Net,
    store: Store,
    bitswap: Bitswap,
    stop: Stop,
    _net_stop: NetStop,
}

/// A node that finds nobody by itself.
async fn node(idle: Duration) -> Node {
    let (net, net_stop) = peer(idle).await;
    let store = Store::in_memory().unwrap();
    let nobody: Search = Arc::new(|_| mpsc::channel(1).1);
    let settings = engine::Settings::default();
    let (bitswap, stop) = Bitswap::start(net.clone(), store.clone(), nobody, settings);
    Node { net, store, bitswap, stop, _net_stop: net_stop }
}

/// Streams without anybody behind them.
async fn peer(idle: Duration) -> (Net, NetStop) {
    let settings = net::Settings { idle, ..settings(TCP) };
    Net::start(settings, Keypair::generate_ed25519()).await.unwrap()
}

fn blocks(count: usize, bytes: usize) -> Vec<Block> {
    let block = |n: usize| {
        let data: Vec<u8> = n.to_le_bytes().into_iter().cycle().take(bytes).collect();
        Block::hashed(Prefix::v1(codec::RAW), data.into()).unwrap()
    };
    (0..count).map(block).collect()
}

fn names() -> Vec<StreamProtocol> {
    PROTOCOLS.iter().map(|(name, _)| StreamProtocol::new(name)).collect()
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap()
}

/// Fetches all of them at once.
fn fetch(node: &Node, blocks: &[Block]) -> tokio::task::JoinHandle<()> {
    let (session, wanted) = (node.bitswap.session(), blocks.to_vec());
    task::spawn(async move {
        let each = wanted.iter().map(|block| session.fetch(*block.cid()));
        let got = futures_util::future::join_all(each).await;
        for (got, wanted) in got.into_iter().zip(&wanted) {
            assert_eq!(got.unwrap().data(), wanted.data());
        }
    })
}

/// One message as it goes over the line.
fn frame(message: &Outgoing, blocks: &[Block]) -> Vec<u8> {
    let blocks: Vec<(Cid, Bytes)> =
        blocks.iter().map(|block| (*block.cid(), block.data().clone())).collect();
    encode(message, &blocks, Version::V1_2).concat()
}

async fn open(net: &Net, to: PeerId) -> Compat<Stream> {
    net.streams().open(to, &names()).await.unwrap().1.compat()
}

/// Reads one message; `None` at the end of the stream.
async fn read(stream: &mut Compat<Stream>) -> Option<Message> {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        if let Some(lengths) = frame_head(&bytes).unwrap() {
            break lengths;
        }
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return None,
            Err(error) => panic!("{error}"),
        }
    };
    bytes.resize(head + body, 0);
    stream.read_exact(&mut bytes[head..]).await.unwrap();
    Some(decode_frame(Bytes::from(bytes).slice(head..)).unwrap().verify())
}

/// Waits until a node wants so many blocks of a peer, and gives what it said.
async fn wants(accepted: &mut mpsc::Receiver<Inbound>, count: usize) {
    let mut stream = accepted.recv().await.unwrap().stream.compat();
    let mut seen = 0;
    while seen < count {
        seen += read(&mut stream).await.unwrap().wantlist.len();
    }
    // The stream stays: the node would take its end for a peer that reads nothing.
    task::detach(async move { while read(&mut stream).await.is_some() {} });
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_01_a_peer_that_keeps_one_stream_is_heard_to_the_end() {
    let node = node(net::IDLE_TIME).await;
    let (scripted, _stop) = peer(net::IDLE_TIME).await;
    let mut accepted = scripted.streams().accept(&names());
    scripted.connect(node.net.local(), node.net.listening().to_vec()).await.unwrap();
    let all = blocks(1, 1000);
    let fetching = fetch(&node, &all);
    in_time(wants(&mut accepted, 1)).await;
    let mut stream = open(&scripted, node.net.local()).await;
    let have = Outgoing { presences: vec![(*all[0].cid(), Presence::Have)], ..Outgoing::default() };
    stream.write_all(&frame(&have, &[])).await.unwrap();
    stream.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    stream.write_all(&frame(&Outgoing::default(), &all)).await.unwrap();
    stream.flush().await.unwrap();
    in_time(task::join(fetching)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_03_a_slow_reader_gets_everything_before_the_end() {
    let node = node(net::IDLE_TIME).await;
    let all = blocks(3, 600 << 10);
    node.store.core().put_unpinned(&all).unwrap();
    let (scripted, _stop) = peer(net::IDLE_TIME).await;
    let mut accepted = scripted.streams().accept(&names());
    scripted.connect(node.net.local(), node.net.listening().to_vec()).await.unwrap();
    let entry = |block: &Block| super::super::wire::Entry {
        cid: *block.cid(),
        priority: 1,
        cancel: false,
        kind: super::super::wire::Kind::Block,
        send_dont_have: true,
    };
    let ask = Outgoing { entries: all.iter().map(entry).collect(), ..Outgoing::default() };
    let mut stream = open(&scripted, node.net.local()).await;
    stream.write_all(&frame(&ask, &[])).await.unwrap();
    // Asked, and never more: our own half is closed in good order, too.
    stream.shutdown().await.unwrap();
    let mut answers = in_time(accepted.recv()).await.unwrap().stream.compat();
    // What is on its way is read only after the other side has closed down.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stopping = task::spawn(node.stop.stop());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut got = 0;
    while let Some(message) = in_time(read(&mut answers)).await {
        got += message.blocks.len();
    }
    assert!(got >= 1, "nothing before the end");
    in_time(task::join(stopping)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_04_a_stream_for_each_message_and_64_at_once() {
    let node = node(net::IDLE_TIME).await;
    let (scripted, _stop) = peer(net::IDLE_TIME).await;
    let mut accepted = scripted.streams().accept(&names());
    scripted.connect(node.net.local(), node.net.listening().to_vec()).await.unwrap();
    let all = blocks(64, 10_000);
    let fetching = fetch(&node, &all);
    in_time(wants(&mut accepted, 64)).await;
    let mut streams = Vec::new();
    for _ in &all {
        streams.push(open(&scripted, node.net.local()).await);
    }
    for (stream, block) in streams.iter_mut().zip(&all) {
        let one = frame(&Outgoing::default(), std::slice::from_ref(block));
        stream.write_all(&one).await.unwrap();
        stream.shutdown().await.unwrap();
    }
    in_time(task::join(fetching)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_more_blocks_than_can_wait_holds_nobody_up() {
    let node = node(net::IDLE_TIME).await;
    let (scripted, _stop) = peer(net::IDLE_TIME).await;
    let mut accepted = scripted.streams().accept(&names());
    scripted.connect(node.net.local(), node.net.listening().to_vec()).await.unwrap();
    let all = blocks(3000, 200);
    let fetching = fetch(&node, &all);
    in_time(wants(&mut accepted, 1)).await;
    // Whether it was asked for them or not: they are wanted.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut stream = open(&scripted, node.net.local()).await;
    stream.write_all(&frame(&Outgoing::default(), &all)).await.unwrap();
    stream.flush().await.unwrap();
    in_time(task::join(fetching)).await;
    in_time(node.stop.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_08_a_fetch_goes_on_at_once_after_a_reconnect() {
    let (a, b) = (node(net::IDLE_TIME).await, node(net::IDLE_TIME).await);
    let all = blocks(400, 100_000);
    b.store.core().put_unpinned(&all).unwrap();
    for round in 0..4 {
        a.net.connect(b.net.local(), b.net.listening().to_vec()).await.unwrap();
        let part = &all[round * 100..][..100];
        let fetching = fetch(&a, part);
        while a.store.get(part[5].cid()).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Either side may be the one that leaves.
        let (who, whom) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        who.net.disconnect(whom.net.local(), None).await;
        while !a.net.peers().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let since = Instant::now();
        a.net.connect(b.net.local(), b.net.listening().to_vec()).await.unwrap();
        in_time(task::join(fetching)).await;
        assert!(since.elapsed() < Duration::from_secs(5), "{round}: {:?}", since.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_17_a_connection_with_a_want_is_not_closed_for_being_idle() {
    let idle = Duration::from_secs(1);
    let (a, b) = (node(idle).await, node(idle).await);
    let all = blocks(1, 1000);
    a.net.connect(b.net.local(), b.net.listening().to_vec()).await.unwrap();
    let fetching = fetch(&a, &all);
    let (c, d) = (node(idle).await, node(idle).await);
    c.net.connect(d.net.local(), d.net.listening().to_vec()).await.unwrap();
    tokio::time::sleep(idle * 5).await;
    assert_eq!((a.net.peers().await.len(), b.net.peers().await.len()), (1, 1));
    assert_eq!(c.net.peers().await.len(), 0, "nothing is wanted here");
    b.store.core().put_unpinned(&all).unwrap();
    b.bitswap.announce_local(&[(*all[0].cid(), 1000)]);
    tokio::time::timeout(Duration::from_secs(2), task::join(fetching)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_came_by_other_ways_unheard_is_found() {
    let node = node(net::IDLE_TIME).await;
    let all = blocks(1000, 100);
    let fetching = fetch(&node, &all);
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Nobody says so.
    node.store.core().put_unpinned(&all).unwrap();
    in_time(task::join(fetching)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_is_in_the_store_when_the_exchange_has_stopped() {
    let (a, b) = (node(net::IDLE_TIME).await, node(net::IDLE_TIME).await);
    let all = blocks(200, 50_000);
    b.store.core().put_unpinned(&all).unwrap();
    a.net.connect(b.net.local(), b.net.listening().to_vec()).await.unwrap();
    in_time(task::join(fetch(&a, &all))).await;
    // A want that nobody answers does not hold it up, and ends.
    let (session, nowhere) = (a.bitswap.session(), *blocks(300, 7)[299].cid());
    let waiting = task::spawn(async move { session.fetch(nowhere).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    tokio::time::timeout(Duration::from_secs(5), a.stop.stop()).await.unwrap();
    assert!(matches!(task::join(waiting).await, Err(ExchangeError::Closed)));
    for block in &all {
        assert!(a.store.core().stat(block.cid()).unwrap().is_some());
    }
}

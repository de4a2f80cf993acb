//! Two nodes of this room with each other, over real sockets on the loopback.

use std::time::Duration;

use libp2p::futures::{AsyncReadExt, AsyncWriteExt};

use super::*;

const ECHO: StreamProtocol = StreamProtocol::new("/test/echo/1");

pub(crate) fn settings(listen: &[&str]) -> Settings {
    Settings {
        listen: listen.iter().map(|address| address.parse().unwrap()).collect(),
        announce: Vec::new(),
        append_announce: Vec::new(),
        no_announce: Vec::new(),
        no_announce_blocks: Vec::new(),
        filters: Vec::new(),
        transports: Transports { tcp: true, quic: true, websocket: true },
        encryption: Encryption { tls: true, noise: true },
        mdns: false,
        low_water: 32,
        high_water: 96,
        grace: Duration::from_secs(20),
        idle: IDLE_TIME,
        connections_max: 1000,
        memory_max_bytes: usize::MAX,
        peering: Vec::new(),
        agent: "test".into(),
    }
}

async fn node(settings: Settings) -> (Net, Stop) {
    Net::start(settings, Keypair::generate_ed25519()).await.unwrap()
}

/// Sends back whatever comes, on every stream.
fn echo(net: &Net) {
    let mut accepted = net.streams().accept(&[ECHO]);
    task::detach(async move {
        while let Some(inbound) = accepted.recv().await {
            task::detach(async move {
                let (reader, mut writer) = inbound.stream.split();
                libp2p::futures::io::copy(reader, &mut writer).await.unwrap();
                writer.close().await.unwrap();
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_16_both_ends_write_20_mib_at_once_over_every_transport() {
    let all = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0/ws", "/ip4/127.0.0.1/udp/0/quic-v1"];
    let (server, stop_server) = node(settings(&all)).await;
    echo(&server);
    let addresses = server.listening();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    for address in addresses.iter() {
        let (client, stop) = node(settings(&[])).await;
        client.connect(server.local(), vec![address.clone()]).await.unwrap();
        let (_, stream) = client.streams().open(server.local(), &[ECHO]).await.unwrap();
        // More than every window, in both directions at once: a muxer that reads only after it
        // has written stands still here (trap 16).
        let sent = vec![7u8; 20 << 20];
        let (mut reader, mut writer) = stream.split();
        let (expected, mut got) = (sent.clone(), Vec::new());
        let sending = task::spawn(async move {
            writer.write_all(&sent).await.unwrap();
            writer.close().await.unwrap();
        });
        let reading = reader.read_to_end(&mut got);
        tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap().unwrap();
        task::join(sending).await;
        assert!(got == expected, "{address}");
        stop.stop().await;
    }
    stop_server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_that_fails_says_what_was_tried_and_why() {
    let (client, stop) = node(settings(&[])).await;
    let (other, stop_other) = node(settings(&["/ip4/127.0.0.1/tcp/0"])).await;
    let nobody = PeerId::random();
    assert_eq!(client.connect(nobody, vec![]).await, Err(DialError::NoAddress(nobody)));
    let closed: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let error = client.connect(nobody, vec![closed]).await.unwrap_err().to_string();
    assert!(error.contains("/ip4/127.0.0.1/tcp/1: Connection refused"), "{error}");
    let wrong = client.connect(nobody, other.listening().to_vec()).await.unwrap_err().to_string();
    assert!(wrong.contains(&format!("{} answers there", other.local())), "{wrong}");
    assert!(!wrong.contains('\n'), "{wrong}");
    stop.stop().await;
    stop_other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_learn_who_the_other_is_and_that_it_left() {
    let (a, stop_a) = node(settings(&["/ip4/127.0.0.1/tcp/0"])).await;
    let (b, stop_b) = node(settings(&["/ip4/127.0.0.1/tcp/0"])).await;
    echo(&a);
    let mut events = b.events();
    b.connect(a.local(), a.listening().to_vec()).await.unwrap();
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap() {
            Some(Event::Identified(peer, said)) => {
                assert_eq!(peer, a.local());
                assert!(said.protocols.contains(&ECHO.to_string()), "{said:?}");
                assert_eq!(said.addresses, a.listening().to_vec());
                break;
            }
            Some(event) => seen.push(event),
            None => panic!("the network stopped"),
        }
    }
    assert!(matches!(seen[..], [Event::Connected(peer)] if peer == a.local()), "{seen:?}");
    let shown = b.peers().await;
    assert_eq!(shown.len(), 1);
    assert!(shown[0].connections[0].outbound);
    stop_a.stop().await;
    let left = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap();
    assert!(matches!(left, Some(Event::Disconnected(_))), "{left:?}");
    stop_b.stop().await;
}

/// Reads a message with its length before it, as identify has them.
async fn framed(stream: &mut Stream) -> Vec<u8> {
    let mut len = [0u8; 2];
    stream.read_exact(&mut len).await.unwrap();
    assert!(len[0] >= 0x80 && len[1] < 0x80, "a message of 128 bytes to 16 KiB: {len:?}");
    let mut message = vec![0; usize::from(len[0] & 0x7f) | usize::from(len[1]) << 7];
    stream.read_exact(&mut message).await.unwrap();
    message
}

/// The fields of a protobuf message that hold bytes: numbers and contents.
fn fields(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while let [tag, rest @ ..] = bytes {
        assert_eq!(tag & 7, 2, "identify has no other kind");
        let (len, rest) = match rest {
            [low, high, rest @ ..] if *low >= 0x80 => {
                (usize::from(low & 0x7f) | usize::from(*high) << 7, rest)
            }
            [len, rest @ ..] => (usize::from(*len), rest),
            [] => panic!("cut off"),
        };
        all.push((tag >> 3, rest[..len].to_vec()));
        bytes = &rest[len..];
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_14_no_signed_peer_record_is_told() {
    let (a, stop_a) = node(settings(&["/ip4/127.0.0.1/tcp/0"])).await;
    let (b, stop_b) = node(settings(&[])).await;
    b.connect(a.local(), a.listening().to_vec()).await.unwrap();
    let identify = StreamProtocol::new("/ipfs/id/1.0.0");
    let (_, mut stream) = b.streams().open(a.local(), &[identify]).await.unwrap();
    let said = fields(&framed(&mut stream).await);
    // A public key and an address, and no envelope, whose domain Go and JavaScript would refuse.
    for (number, wanted) in [(1, true), (2, true), (8, false)] {
        assert_eq!(said.iter().any(|(n, _)| *n == number), wanted, "{number}: {said:?}");
    }
    let named = said.iter().filter(|(number, _)| *number == 2);
    assert!(named.clone().all(|(_, address)| !address.is_empty()), "{said:?}");
    stop_a.stop().await;
    stop_b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_15_what_a_peer_says_of_others_is_not_learned() {
    let (a, stop_a) = node(settings(&["/ip4/127.0.0.1/tcp/0"])).await;
    let (liar, stop_liar) = node(settings(&[])).await;
    let victim = Keypair::generate_ed25519().public();
    let other = victim.to_peer_id();
    let mut events = a.events();
    liar.connect(a.local(), a.listening().to_vec()).await.unwrap();
    while !matches!(events.next().await, Some(Event::Identified(..))) {}
    let trap: Multiaddr = "/ip4/192.0.2.66/tcp/4001".parse().unwrap();
    let of_other = trap.clone().with(libp2p::multiaddr::Protocol::P2p(other));
    let lies: [Vec<(u8, Vec<u8>)>; 2] = [
        // An address of somebody else, under its own key.
        vec![(1, liar_key(&liar, &a).await), (2, of_other.to_vec())],
        // Somebody else's key.
        vec![(1, victim.encode_protobuf()), (2, trap.to_vec())],
    ];
    for lie in lies {
        let push = StreamProtocol::new("/ipfs/id/push/1.0.0");
        let (_, mut stream) = liar.streams().open(a.local(), &[push]).await.unwrap();
        let mut body = Vec::new();
        for (number, bytes) in &lie {
            body.extend([number << 3 | 2, u8::try_from(bytes.len()).unwrap()]);
            body.extend(bytes);
        }
        body.insert(0, u8::try_from(body.len()).unwrap());
        stream.write_all(&body).await.unwrap();
        stream.close().await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(a.addresses(other).await.is_empty());
    let said = a.peer(liar.local()).await.unwrap().identified.unwrap();
    assert_ne!(said.public_key, victim.encode_protobuf());
    let book = a.book().await;
    let all = book.iter().flat_map(|(_, addresses)| addresses);
    assert_eq!(all.filter(|address| **address == of_other).count(), 0, "{book:?}");
    assert!(a.addresses(liar.local()).await.iter().all(|address| *address != trap), "{book:?}");
    stop_a.stop().await;
    stop_liar.stop().await;
}

/// The key under which `to` knows a peer.
async fn liar_key(liar: &Net, to: &Net) -> Vec<u8> {
    to.peer(liar.local()).await.unwrap().identified.unwrap().public_key.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_accepts_streams_hears_that_the_network_has_stopped() {
    let (net, stop) = node(settings(&[])).await;
    // It holds a handle, as tasks do that open streams, too.
    let mut accepted = net.streams().accept(&[ECHO]);
    stop.stop().await;
    let end = tokio::time::timeout(Duration::from_secs(5), accepted.recv()).await;
    assert!(matches!(end, Ok(None)));
    drop(net);
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_06_who_is_useful_survives_when_there_are_too_many() {
    let crowded = Settings {
        low_water: 2,
        high_water: 4,
        grace: Duration::ZERO,
        ..settings(&["/ip4/127.0.0.1/tcp/0"])
    };
    let (server, stop_server) = node(crowded).await;
    let mut clients = Vec::new();
    for at in 0..8 {
        let (client, stop) = node(settings(&[])).await;
        client.connect(server.local(), server.listening().to_vec()).await.unwrap();
        while server.peer(client.local()).await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if at == 3 || at == 5 {
            server.value(client.local(), "bitswap", 30);
        }
        clients.push((client, stop));
    }
    let since = std::time::Instant::now();
    while server.peers().await.len() > 4 {
        assert!(since.elapsed() < Duration::from_secs(20), "nobody was let go");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut left: Vec<PeerId> = server.peers().await.iter().map(|peer| peer.id).collect();
    let mut useful = vec![clients[3].0.local(), clients[5].0.local()];
    left.sort();
    useful.sort();
    assert_eq!(left, useful);
    for (_, stop) in clients {
        stop.stop().await;
    }
    stop_server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_come_and_go_pile_up_nothing_behind_a_dial() {
    let mut dials = super::dials::Dials::default();
    let (peer, mut tried) = (PeerId::random(), 0);
    for port in 0..10_000u16 {
        let address: Multiaddr = format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap();
        tried += dials.join(peer, vec![address.clone(), address], oneshot::channel().0).len();
    }
    loop {
        let next = dials.failed(&peer, DialError::NoAddress(peer));
        tried += next.len();
        if next.is_empty() {
            break;
        }
    }
    assert!(tried <= 66, "{tried}");
}

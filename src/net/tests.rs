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
async fn bytes_go_there_and_back_over_every_transport() {
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
